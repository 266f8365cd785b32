/* A process that a debugger holds in the middle of a call, where nobody else can lead it out: others on the same object get ETIMEDOUT after ten seconds, and
   the next at once; IPC_STAT works; and when the debugger lets it go all go on, and nothing is lost or doubled. ptrace(2). */
#include "check.h"
#include <sys/ptrace.h>

static int set, queue;

/* Adds to the first semaphore and sends itself messages until it is killed. */
static void work(volatile int *over) {
    struct message text = {1, ""};
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
    while (!*over)
        if (semop(set, &up, 1) || msgsnd(queue, &text, 64, 0) || msgrcv(queue, &text, 64, 1, 0) != 64 || semop(set, &down, 1)) _exit(1);
    _exit(0);
}

/* What a call of another process on each of both comes to. */
static int probe(void) {
    struct message text = {2, ""};
    struct sembuf up[2] = {{1, 1, 0}, {1, -1, 0}};
    if (semop(set, up, 2)) return errno;
    if (msgsnd(queue, &text, 1, IPC_NOWAIT)) return errno;
    return msgrcv(queue, &text, 1, 2, IPC_NOWAIT) == 1 ? 0 : errno;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Runs a probe in another process; -1 if it has not ended after so many seconds, and its number is left in `left`. */
static int probe_for(double seconds, pid_t *left) {
    pid_t child = fork();
    if (child == 0) _exit(probe());
    int status = 0;
    for (double began = now(); now() - began < seconds; usleep(500))
        if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
    *left = child;
    return -1;
}

int main(void) {
    volatile int *over = mmap(NULL, sizeof *over, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    set = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600);
    CHECK(set >= 0 && queue >= 0 && probe() == 0);
    pid_t worker = fork(), left = 0;
    if (worker == 0) work(over);
    if (ptrace(PTRACE_SEIZE, worker, NULL, NULL)) {
        kill(worker, SIGKILL);
        printf("this process may not trace\n");
        return 77;
    }
    int outcome = 0;
    srand((unsigned)getpid());
    for (int round = 0; round < 2000 && outcome == 0; round++) {
        int status;
        usleep((unsigned)(100 + rand() % 1000));
        ptrace(PTRACE_INTERRUPT, worker, NULL, NULL);
        CHECK(waitpid(worker, &status, __WALL) == worker && WIFSTOPPED(status));
        outcome = probe_for(0.5, &left);
        if (outcome == 0) ptrace(PTRACE_CONT, worker, NULL, NULL);
    }
    /* Somewhere it holds one of both. */
    CHECK(outcome == -1);
    double began = now();
    int status = 0;
    CHECK(waitpid(left, &status, 0) == left && WIFEXITED(status) && WEXITSTATUS(status) == ETIMEDOUT);
    double first = now() - began;
    CHECK(first > 8 && first < 20);
    began = now();
    CHECK(probe() == ETIMEDOUT && now() - began < 2);
    struct semid_ds sems;
    struct msqid_ds messages;
    began = now();
    CHECK(semctl(set, 0, IPC_STAT, &sems) == 0 && msgctl(queue, IPC_STAT, &messages) == 0 && now() - began < 2);
    *over = 1;
    CHECK(ptrace(PTRACE_DETACH, worker, NULL, NULL) == 0);
    CHECK(status_of(worker) == 0);
    CHECK(probe() == 0 && semctl(set, 0, GETVAL) == 0 && semctl(set, 1, GETVAL) == 0);
    CHECK(msgctl(queue, IPC_STAT, &messages) == 0 && messages.msg_qnum == 0);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0);
    return checked();
}
