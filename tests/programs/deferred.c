/* Handlers that come while the agent is busy with the broker: each runs once, in order, under the mask that the program set. */
#include "check.h"

static int set, order, last;
static volatile int real, alarms;

static void tick(int sig) {
    (void)sig;
    alarms++;
}

static void hear(int sig, siginfo_t *info, void *context) {
    struct sembuf up = {1, 1, IPC_NOWAIT};
    sigset_t mask;
    (void)context;
    real++;
    order += info->si_value.sival_int != last + 1;
    last = info->si_value.sival_int;
    sigprocmask(SIG_BLOCK, 0, &mask);
    CHECK(sigismember(&mask, sig) && !sigismember(&mask, SIGTERM));
    CHECK(semop(set, &up, 1) == 0);
}

/* Sends COUNT numbered signals, and others between them. */
enum { COUNT = 3000 };

static void send_to(pid_t parent) {
    for (int n = 1; n <= COUNT; n++) {
        union sigval number = {.sival_int = n};
        while (sigqueue(parent, SIGRTMIN + 1, number)) usleep(50);
        if (n % 3 == 0) kill(parent, SIGUSR1);
        if (n % 8 == 0) usleep(50);
    }
    _exit(0);
}

int main(void) {
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, SEM_UNDO};
    struct message m = {1, ""};
    struct sigaction action;
    sigset_t before, after;
    int queue = msgget(IPC_PRIVATE, 0600);
    setvbuf(stdout, 0, _IONBF, 0);
    set = semget(IPC_PRIVATE, 2, 0600);
    handle(SIGALRM, tick, SA_RESTART | SA_NODEFER);
    handle(SIGUSR1, tick, SA_RESTART);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = hear;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGRTMIN + 1, &action, 0) == 0);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    sigprocmask(SIG_SETMASK, &before, 0);

    pid_t child = fork();
    if (child == 0) send_to(getppid());
    setitimer(ITIMER_REAL, &often, 0);
    while (waitpid(child, 0, WNOHANG) != child) {
        int other = semget(IPC_PRIVATE, 1, 0600), segment = shmget(IPC_PRIVATE, 4096, 0600);
        CHECK(other >= 0 && semctl(other, 0, IPC_RMID) == 0);
        char *at = shmat(segment, 0, 0);
        CHECK(at != (void *)-1 && (*at = 1) && shmdt(at) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
        while (semop(set, &up, 1)) CHECK(errno == EINTR);
        while (semop(set, &down, 1)) CHECK(errno == EINTR);
        while (msgsnd(queue, &m, 64, 0)) CHECK(errno == EINTR);
        while (msgrcv(queue, &m, 64, 0, 0) < 0) CHECK(errno == EINTR);
    }
    setitimer(ITIMER_REAL, &never, 0);
    sigprocmask(SIG_BLOCK, 0, &after);
    CHECK(real == COUNT && order == 0 && alarms > 0 && semctl(set, 1, GETVAL) == COUNT);
    for (int sig = 1; sig < 65; sig++) CHECK(sigismember(&before, sig) == sigismember(&after, sig));
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
