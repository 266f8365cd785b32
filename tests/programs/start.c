/* The first call of a process: whatever it is and whoever makes it, what the program had prepared is as it was, and the calls after it are
   served. Each case is a process that has called nothing of ours before. */
#include "check.h"

extern char **environ;
static char self[4096];

static int works(void) {
    int set = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf up = {0, 1, 0};
    return set >= 0 && semop(set, &up, 1) == 0 && semctl(set, 0, GETVAL) == 1 && semctl(set, 0, IPC_RMID) == 0;
}

/* An environment that is gone. */
static int cleared(void) {
    environ = 0;
    return works();
}

/* One that is written over, as setproctitle does. */
static int overwritten(void) {
    for (char **entry = environ; *entry; entry++) memset(*entry, 'x', strlen(*entry));
    return works();
}

static void *work(void *start) {
    pthread_barrier_wait(start);
    return works() ? self : 0;
}

/* Threads at once. */
static int threads(void) {
    enum { MANY = 8 };
    pthread_t thread[MANY];
    pthread_barrier_t start;
    int good = 0;
    pthread_barrier_init(&start, 0, MANY);
    for (int n = 0; n < MANY; n++) pthread_create(&thread[n], 0, work, &start);
    for (int n = 0; n < MANY; n++) {
        void *worked = 0;
        pthread_join(thread[n], &worked);
        good += worked != 0;
    }
    return good == MANY;
}

static void nothing(int sig) {
    (void)sig;
}

/* A vfork child: what it changes is its own, and its parent is not taken for it. */
static int vforked(void) {
    pid_t child = vfork();
    if (child == 0) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = nothing;
        sigaction(SIGUSR1, &action, 0);
        execl(self, "start", "works", (char *)0);
        _exit(99);
    }
    struct sigaction now;
    return status_of(child) == 0 && works() && sigaction(SIGUSR1, 0, &now) == 0 && now.sa_handler == SIG_DFL && works();
}

/* A child that came by a bare system call has memory of its own. */
static int bare(void) {
#ifdef SYS_fork
    pid_t child = syscall(SYS_fork);
#else
    pid_t child = fork();
#endif
    if (child == 0) _exit(works() ? 0 : 1);
    return status_of(child) == 0 && works();
}

/* A thread that is not the first. */
static void *alone(void *unused) {
    (void)unused;
    return vforked() && works() ? self : 0;
}

static int in_thread(void) {
    pthread_t thread;
    void *worked = 0;
    return pthread_create(&thread, 0, alone, 0) == 0 && pthread_join(thread, &worked) == 0 && worked;
}

/* Arguments in more registers than most calls have, and behind them. */
static int arguments(void) {
    char *none[] = {0};
    pid_t child = vfork();
    if (child == 0) {
        execle(self, "start", "counts", "2", "3", "4", "5", "6", "7", "8", (char *)0, none);
        _exit(99);
    }
    return status_of(child) == 0 && works();
}

static const struct {
    const char *name;
    int (*run)(void);
} cases[] = {{"works", works},     {"cleared", cleared},     {"overwritten", overwritten}, {"threads", threads},
             {"vforked", vforked}, {"in_thread", in_thread}, {"arguments", arguments},     {"bare", bare}};

int main(int argc, char **argv) {
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) return 2;
    self[len] = 0;
    if (argc == 9 && !strcmp(argv[1], "counts")) return strcmp(argv[8], "8") || !works();
    if (argc == 2) {
        for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
            if (!strcmp(argv[1], cases[n].name)) return !cases[n].run();
        return 3;
    }
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        pid_t child = fork();
        if (child == 0) {
            execl(self, "start", cases[n].name, (char *)0);
            _exit(98);
        }
        int status = status_of(child);
        if (status) printf("%s: status %x\n", cases[n].name, status);
        CHECK(status == 0);
    }
    return checked();
}
