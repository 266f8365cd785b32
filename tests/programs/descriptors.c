/* A process that has no descriptor free. System V IPC needs none: not at the first call, not at the first use of an object, not to attach, not in threads, in
   children, in calls that sleep. */
#include "check.h"
#include <sched.h>
#include <sys/resource.h>

enum { PAGE = 4096, LIMIT = 64 };

/* Lowers the soft limit; the hard one stays. */
static void limit(rlim_t soft) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = soft;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Uses all descriptors up. The last one opened can be given back. */
static int fill(void) {
    int last = -1, next;
    limit(LIMIT);
    while ((next = open("/", O_RDONLY | O_CLOEXEC)) >= 0) last = next;
    CHECK(errno == EMFILE);
    return last;
}

static int operate(int set, int num, int by, int flags) {
    struct sembuf op = {(unsigned short)num, (short)by, (short)flags};
    return semop(set, &op, 1);
}

static unsigned long attached(int segment) {
    struct shmid_ds state;
    CHECK(shmctl(segment, IPC_STAT, &state) == 0);
    return state.shm_nattch;
}

static void use_set(void) {
    int set = semget(IPC_PRIVATE, 3, 0600);
    CHECK(set >= 0 && operate(set, 0, 1, 0) == 0 && operate(set, 1, 2, SEM_UNDO) == 0);
    CHECK(semctl(set, 1, GETVAL) == 2 && semctl(set, 2, SETVAL, 5) == 0 && semctl(set, 2, GETVAL) == 5);
    CHECK(operate(set, 0, -1, IPC_NOWAIT) == 0);
    FAILS(operate(set, 0, -1, IPC_NOWAIT), EAGAIN);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    FAILS(operate(set, 0, 1, 0), EINVAL);
}

static void use_queue(void) {
    struct message m = {1, "t"};
    struct msqid_ds state;
    int queue = msgget(IPC_PRIVATE, 0600);
    CHECK(queue >= 0 && msgsnd(queue, &m, 5, 0) == 0 && msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == 1);
    CHECK(msgrcv(queue, &m, 3000, 0, 0) == 5);
    FAILS(msgrcv(queue, &m, 3000, 0, IPC_NOWAIT), ENOMSG);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0);
}

static void use_segment(void) {
    int segment = shmget(IPC_PRIVATE, PAGE, 0600);
    char *at = shmat(segment, 0, 0), *other = shmat(segment, 0, SHM_RDONLY);
    CHECK(segment >= 0 && at != (char *)-1 && other != (char *)-1 && attached(segment) == 2);
    if (at != (char *)-1 && other != (char *)-1) {
        at[7] = 'x';
        CHECK(other[7] == 'x');
    }
    CHECK(shmdt(other) == 0 && attached(segment) == 1 && shmctl(segment, IPC_RMID, 0) == 0 && shmdt(at) == 0);
    FAILS(shmat(segment, 0, 0), EINVAL);
}

static void use(void) {
    use_set();
    use_queue();
    use_segment();
    /* Nothing is left behind that the program could meet: no thread, no descriptor. */
    CHECK(unshare(CLONE_THREAD) == 0);
    FAILS(open("/", O_RDONLY), EMFILE);
}

static void first_set(void) {
    fill();
    use_set();
    use();
}

static void first_queue(void) {
    fill();
    use_queue();
    use();
}

static void first_segment(void) {
    fill();
    use_segment();
    use();
}

/* The process has been in use before. */
static void later(void) {
    use_set();
    fill();
    use();
}

/* A descriptor comes free, and is used up again. */
static void comes_free(void) {
    int last = fill();
    use_queue();
    CHECK(close(last) == 0);
    use_set();
    use_segment();
    int next, got = 0;
    for (next = 0; next >= 0; got += next >= 0) next = open("/", O_RDONLY);
    CHECK(got <= 1);
    use();
}

static void no_number(void) {
    limit(0);
    use();
}

static void no_number_later(void) {
    use_set();
    limit(0);
    use();
}

static void few_numbers(void) {
    for (int n = 1; n < 8; n++) {
        pid_t child = fork();
        if (child == 0) {
            failed = 0;
            limit((rlim_t)n);
            while (open("/", O_RDONLY) >= 0) {
            }
            use();
            _exit(failed != 0);
        }
        CHECK(status_of(child) == 0);
    }
}

/* What another process made, used by one that has no descriptor: from its first call on. */
static void second_process(int warm) {
    int set = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600), segment = shmget(IPC_PRIVATE, PAGE, 0600);
    struct message m = {3, "first"};
    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && operate(set, 0, 1, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        if (warm) use_set();
        fill();
        CHECK(msgsnd(queue, &m, 6, 0) == 0 && operate(set, 0, -1, 0) == 0 && operate(set, 1, 4, SEM_UNDO) == 0);
        CHECK(attached(segment) == 2);
        char *again = shmat(segment, 0, 0);
        CHECK(again != (char *)-1 && attached(segment) == 3 && shmdt(at) == 0 && attached(segment) == 2);
        again[0] = 'y';
        pid_t grandchild = fork();
        if (grandchild == 0) {
            failed = 0;
            CHECK(attached(segment) == 3 && again[0] == 'y' && operate(set, 1, -1, SEM_UNDO) == 0);
            CHECK(shmdt(again) == 0 && attached(segment) == 2);
            _exit(failed != 0);
        }
        CHECK(status_of(grandchild) == 0 && attached(segment) == 2 && semctl(set, 1, GETVAL) == 4);
        _exit(failed != 0);
    }
    CHECK(msgrcv(queue, &m, 100, 3, 0) == 6 && status_of(child) == 0);
    CHECK(attached(segment) == 1 && at[0] == 'y' && semctl(set, 1, GETVAL) == 0);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0 && shmdt(at) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
}

static void cold_peer(void) {
    second_process(0);
}

static void warm_peer(void) {
    second_process(1);
}

/* A parent that was never known, and its children. */
static void children(void) {
    fill();
    int segment = shmget(IPC_PRIVATE, PAGE, 0600);
    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && attached(segment) == 1);
    for (int n = 0; n < 3; n++) {
        pid_t child = fork();
        if (child == 0) {
            failed = 0;
            CHECK(attached(segment) == 2);
            use();
            at[n] = 'z';
            _exit(failed != 0);
        }
        CHECK(status_of(child) == 0 && attached(segment) == 1 && at[n] == 'z');
    }
    pid_t child = vfork();
    if (child == 0) _exit(0);
    CHECK(status_of(child) == 0 && attached(segment) == 1);
    CHECK(shmdt(at) == 0 && attached(segment) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
}

static int use_beside(void *unused) {
    (void)unused;
    use_set();
    use_queue();
    use_segment();
    return 0;
}

/* Processes that run in another's memory. */
static void company(void) {
    static char stack[2][256 * 1024] __attribute__((aligned(16)));
    int set = semget(IPC_PRIVATE, 1, 0600);
    fill();
    for (int n = 0; n < 5; n++) {
        int beside = clone(use_beside, stack[0] + sizeof stack[0], CLONE_VM | SIGCHLD, 0);
        int first = clone(use_beside, stack[1] + sizeof stack[1], CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
        CHECK(beside > 0 && first > 0);
        use_set();
        use_segment();
        CHECK(status_of(beside) == 0 && status_of(first) == 0);
    }
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    use();
}

static void *use_in_thread(void *unused) {
    (void)unused;
    for (int n = 0; n < 10; n++) {
        use_set();
        use_queue();
        use_segment();
    }
    return 0;
}

static void threads(void) {
    pthread_t thread[4];
    fill();
    for (int n = 0; n < 4; n++) CHECK(pthread_create(&thread[n], 0, use_in_thread, 0) == 0);
    for (int n = 0; n < 4; n++) CHECK(pthread_join(thread[n], 0) == 0);
    use();
}

static volatile int caught;

static void note(int sig) {
    (void)sig;
    caught++;
}

/* Calls that sleep: woken, interrupted, and ended by the object's end. */
static void sleepers(void) {
    int set = semget(IPC_PRIVATE, 1, 0600), queue = msgget(IPC_PRIVATE, 0600);
    struct message m = {1, "w"};
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        fill();
        CHECK(operate(set, 0, -2, 0) == 0);
        handle(SIGALRM, note, SA_RESTART);
        alarm_in(20000);
        FAILS(msgrcv(queue, &m, 100, 0, 0), EINTR);
        CHECK(caught == 1);
        alarm_in(20000);
        FAILS(operate(set, 0, -1, 0), EINTR);
        CHECK(caught == 2);
        CHECK(msgsnd(queue, &m, 2, 0) == 0);
        FAILS(operate(set, 0, -1, 0), EIDRM);
        _exit(failed != 0);
    }
    CHECK(operate(set, 0, 2, 0) == 0);
    CHECK(msgrcv(queue, &m, 100, 0, 0) == 2);
    while (semctl(set, 0, GETNCNT) == 0) sched_yield();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && status_of(child) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
}

/* Signals that come all the time, while it is used. */
static void signals(void) {
    struct itimerval timer = {{0, 150}, {0, 150}}, stop = {{0, 0}, {0, 0}};
    handle(SIGALRM, note, SA_RESTART);
    fill();
    setitimer(ITIMER_REAL, &timer, 0);
    for (int n = 0; n < 20; n++) {
        use_set();
        use_segment();
    }
    setitimer(ITIMER_REAL, &stop, 0);
    CHECK(caught > 0);
    use();
}

/* A new program starts with as many descriptors as it got. */
static void executed(const char *self) {
    pid_t child = fork();
    if (child == 0) {
        use_set();
        fill();
        int segment = shmget(IPC_PRIVATE, PAGE, 0600);
        char id[16], *at = shmat(segment, 0, 0);
        snprintf(id, sizeof id, "%d", segment);
        CHECK(at != (char *)-1 && attached(segment) == 1);
        execl(self, self, id, (char *)0);
        _exit(9);
    }
    CHECK(status_of(child) == 0);
}

static void part(void (*run)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        run();
        _exit(failed != 0);
    }
    int before = failed;
    CHECK(status_of(child) == 0);
    if (failed != before) printf("in the part before this line\n");
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc > 1) {
        fill();
        CHECK(attached(atoi(argv[1])) == 0 && shmctl(atoi(argv[1]), IPC_RMID, 0) == 0);
        use();
        return checked();
    }
    part(first_set);
    part(first_queue);
    part(first_segment);
    part(later);
    part(comes_free);
    part(no_number);
    part(no_number_later);
    part(few_numbers);
    part(cold_peer);
    part(warm_peer);
    part(children);
    part(company);
    part(threads);
    part(sleepers);
    part(signals);
    executed(argv[0]);
    return checked();
}
