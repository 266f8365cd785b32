/* Objects whose permission changes again and again while threads and processes use them: each change moves the object to other memory.
   Nothing is lost or doubled: ups and downs, messages, whoever sleeps. */
#include "check.h"

enum { THREADS = 3, PROCESSES = 2, CHANGES = 400, TOKENS = 4 };

static int set, queue;

/* Shared by all: a count that semaphore 0 guards, the same count kept by each thread for itself and added up, and whether it is over. */
static struct shared {
    volatile long guarded, rounds;
    volatile int over;
} *shared;

static int operate(int num, int by) {
    struct sembuf op = {num, by, 0};
    return semop(set, &op, 1);
}

static void *work(void *failures) {
    long bad = 0;
    struct message m;
    long n = 0;
    for (; !shared->over; n++) {
        bad += operate(0, -1) != 0;
        shared->guarded = shared->guarded + 1;
        bad += operate(0, 1) != 0;
        bad += operate(1, 1) != 0;
        bad += operate(1, -1) != 0;
        bad += msgrcv(queue, &m, sizeof m.text, 0, 0) < 1;
        bad += msgsnd(queue, &m, n % 7 ? 1 : sizeof m.text, 0) != 0;
    }
    __atomic_add_fetch((long *)failures, bad, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&shared->rounds, n, __ATOMIC_SEQ_CST);
    return 0;
}

static void *change(void *nothing) {
    struct semid_ds of_set;
    struct msqid_ds of_queue;
    CHECK(semctl(set, 0, IPC_STAT, &of_set) == 0 && msgctl(queue, IPC_STAT, &of_queue) == 0);
    for (int n = 0; n < CHANGES; n++) {
        of_set.sem_perm.mode = n & 1 ? 0600 : 0660;
        CHECK(semctl(set, 0, IPC_SET, &of_set) == 0);
        of_queue.msg_perm.mode = n & 2 ? 0600 : 0640;
        CHECK(msgctl(queue, IPC_SET, &of_queue) == 0);
        usleep(300);
    }
    shared->over = 1;
    return nothing;
}

static long crowd(void) {
    static pthread_t threads[THREADS];
    long failures = 0;
    for (int n = 0; n < THREADS; n++) CHECK(pthread_create(&threads[n], 0, work, &failures) == 0);
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], 0);
    return failures;
}

int main(void) {
    struct message m = {1, "t"};
    struct msqid_ds state;
    pthread_t changer;
    pid_t children[PROCESSES];
    setvbuf(stdout, 0, _IONBF, 0);
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    set = semget(IPC_PRIVATE, 2, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(operate(0, 1) == 0);
    for (int n = 0; n < TOKENS; n++, m.type++) CHECK(msgsnd(queue, &m, 1, 0) == 0);
    for (int n = 0; n < PROCESSES; n++) {
        children[n] = fork();
        if (children[n] == 0) _exit(crowd() != 0);
    }
    CHECK(pthread_create(&changer, 0, change, 0) == 0);
    CHECK(crowd() == 0);
    for (int n = 0; n < PROCESSES; n++) CHECK(status_of(children[n]) == 0);
    pthread_join(changer, 0);
    CHECK(shared->guarded == shared->rounds && shared->rounds > CHANGES);
    CHECK(semctl(set, 0, GETVAL) == 1 && semctl(set, 1, GETVAL) == 0);
    CHECK(semctl(set, 0, GETNCNT) == 0 && msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == TOKENS);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
