/* Signal handlers: what a program installs it reads back, calls that sleep end with EINTR and leave nothing behind, bad pointers give EFAULT, and the
   program's own faults stay its own. */
#include "check.h"

static const int RESTORER = 0x04000000; /* libc shows it in sa_flags */
static int set, queue;
static volatile int got, value, code;
static void *volatile address;
static sigjmp_buf out;

static void count(int sig) {
    (void)sig;
    got++;
}

static void look(int sig, siginfo_t *info, void *context) {
    (void)context;
    got++;
    value = info->si_value.sival_int;
    code = info->si_code;
    address = &sig;
}

static void jump(int sig) {
    (void)sig;
    siglongjmp(out, 1);
}

static void operate(int sig) {
    struct sembuf up = {1, 1, 0};
    (void)sig;
    got++;
    CHECK(semop(set, &up, 1) == 0);
}

static void fault(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    got++;
    address = info->si_addr;
    siglongjmp(out, 2);
}

static int flags_of(int sig) {
    struct sigaction now;
    CHECK(sigaction(sig, 0, &now) == 0);
    return now.sa_flags & ~RESTORER;
}

static void *handler_of(int sig) {
    struct sigaction now;
    CHECK(sigaction(sig, 0, &now) == 0);
    return (void *)now.sa_handler;
}

static void read_back(void) {
    struct sigaction new, old;
    memset(&new, 0, sizeof new);
    new.sa_handler = count;
    new.sa_flags = SA_RESTART | SA_NODEFER;
    sigaddset(&new.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGUSR1, &new, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGUSR1, 0, &old) == 0 && old.sa_handler == count);
    CHECK((old.sa_flags & ~RESTORER) == (SA_RESTART | SA_NODEFER));
    CHECK(sigismember(&old.sa_mask, SIGUSR2) == 1 && sigismember(&old.sa_mask, SIGUSR1) == 0);

    CHECK(signal(SIGUSR1, SIG_IGN) == count);
    CHECK(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    CHECK(signal(SIGUSR1, count) == SIG_DFL);
    CHECK(flags_of(SIGUSR1) == SA_RESTART);
    CHECK(siginterrupt(SIGUSR1, 1) == 0);
    CHECK(flags_of(SIGUSR1) == 0);
    signal(SIGUSR1, count);
#ifdef __GLIBC__
    CHECK(flags_of(SIGUSR1) == 0);
#endif
    siginterrupt(SIGUSR1, 0);
    signal(SIGUSR1, count);
    CHECK(flags_of(SIGUSR1) == SA_RESTART);

    FAILS(signal(0, count), EINVAL);
    FAILS(signal(65, count), EINVAL);
    FAILS(signal(SIGKILL, count), EINVAL);
    CHECK(sigaction(SIGKILL, 0, &old) == 0);
    FAILS(sigaction(-3, 0, &old), EINVAL);
    /* libc's own signals are none to a program. */
    FAILS(sigaction(32, &new, 0), EINVAL);
    FAILS(sigaction(33, 0, &old), EINVAL);
#ifdef __GLIBC__
    CHECK(sigaction(34, 0, &old) == 0);
    CHECK(sigset(SIGUSR2, SIG_HOLD) == SIG_DFL);
    CHECK(sigset(SIGUSR2, count) == SIG_HOLD);
    CHECK(sigset(SIGUSR2, SIG_DFL) == count);
    CHECK(sigignore(SIGUSR2) == 0);
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    CHECK(sysv_signal(SIGUSR2, count) == SIG_DFL);
    CHECK(flags_of(SIGUSR2) == (int)(SA_RESETHAND | SA_NODEFER));
    got = 0;
    raise(SIGUSR2);
    CHECK(got == 1 && handler_of(SIGUSR2) == (void *)SIG_DFL);
#else
    FAILS(sigaction(34, 0, &old), EINVAL);
#endif
    handle(SIGUSR2, count, SA_RESETHAND);
    got = 0;
    raise(SIGUSR2);
    CHECK(got == 1 && handler_of(SIGUSR2) == (void *)SIG_DFL);
}

static void arguments(void) {
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction new;
    union sigval with = {.sival_int = 77};
    sigaltstack(&alternate, 0);
    memset(&new, 0, sizeof new);
    new.sa_sigaction = look;
    new.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGRTMIN + 3, &new, 0) == 0);
    got = 0;
    CHECK(sigqueue(getpid(), SIGRTMIN + 3, with) == 0);
    CHECK(got == 1 && value == 77 && code == SI_QUEUE);
    CHECK((char *)address > stack && (char *)address < stack + sizeof stack);
}

static void interrupted(void) {
    struct sembuf down = {0, -1, 0};
    struct message m;
    struct timespec soon = {0, 60000000};
    for (int restart = 0; restart < 2; restart++) {
        handle(SIGALRM, count, restart ? SA_RESTART : 0);
        got = 0;
        alarm_in(20000);
        FAILS(semop(set, &down, 1), EINTR);
        CHECK(got == 1 && semctl(set, 0, GETNCNT) == 0);
        got = 0;
        alarm_in(20000);
        FAILS(msgrcv(queue, &m, sizeof m.text, 0, 0), EINTR);
        CHECK(got == 1);
    }
    handle(SIGALRM, SIG_IGN, 0);
    alarm_in(20000);
    FAILS(semtimedop(set, &down, 1, &soon), EAGAIN);
}

static void jumped_out(void) {
    struct sembuf down = {0, -1, 0};
    struct message m = {1, "abc"};
    struct msqid_ds state;
    handle(SIGALRM, jump, 0);
    for (volatile int n = 0; n < 5; n++) {
        if (!sigsetjmp(out, 1)) {
            alarm_in(5000);
            semop(set, &down, 1);
            CHECK(!"came back");
        }
        CHECK(semctl(set, 0, GETNCNT) == 0);
    }
    if (!sigsetjmp(out, 1)) {
        alarm_in(5000);
        msgrcv(queue, &m, sizeof m.text, 0, 0);
        CHECK(!"came back");
    }
    CHECK(msgsnd(queue, &m, 4, 0) == 0);
    CHECK(msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == 1);
    CHECK(msgrcv(queue, &m, sizeof m.text, 0, IPC_NOWAIT) == 4);
    /* A handler that makes calls of its own. */
    handle(SIGALRM, operate, SA_RESTART);
    got = 0;
    alarm_in(5000);
    FAILS(semop(set, &down, 1), EINTR);
    CHECK(got == 1 && semctl(set, 1, GETVAL) == 1);
}

/* Calls under a rain of signals whose handler makes calls too. */
static void storm(void) {
    struct itimerval often = {{0, 70}, {0, 70}}, never = {{0, 0}, {0, 0}};
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, SEM_UNDO};
    struct message m = {1, "abc"};
    got = 0;
    setitimer(ITIMER_REAL, &often, 0);
    for (int n = 0; n < 30000 && failed < 20; n++) {
        int len = n % sizeof m.text, had;
        while (semop(set, &up, 1)) CHECK(errno == EINTR);
        while (semop(set, &down, 1)) CHECK(errno == EINTR);
        m.type = 1 + n;
        while (msgsnd(queue, &m, len, 0)) CHECK(errno == EINTR);
        while ((had = msgrcv(queue, &m, sizeof m.text, 0, 0)) < 0) CHECK(errno == EINTR);
        CHECK(had == len && m.type == 1 + n);
    }
    setitimer(ITIMER_REAL, &never, 0);
    CHECK(got > 10 && semctl(set, 0, GETVAL) == 0 && semctl(set, 1, GETVAL) == 1 + got);
    handle(SIGALRM, SIG_DFL, 0);
}

static void bad_pointers(void) {
    void *nowhere = (void *)8;
    struct sembuf down = {0, -1, 0};
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *edge = page + 4096;
    FAILS(semop(set, nowhere, 1), EFAULT);
    FAILS(msgsnd(queue, nowhere, 8, 0), EFAULT);
    FAILS(msgctl(queue, IPC_STAT, nowhere), EFAULT);
    FAILS(semctl(set, 0, GETALL, nowhere), EFAULT);
    FAILS(semtimedop(set, &down, 1, nowhere), EFAULT);
    CHECK(mprotect(edge, 4096, PROT_NONE) == 0);
    *(long *)(edge - 16) = 5;
    CHECK(msgsnd(queue, edge - 16, 8, 0) == 0);
    FAILS(msgsnd(queue, edge - 16, 9, 0), EFAULT);
    FAILS(msgsnd(queue, edge - 16, 5000, 0), EFAULT);
    FAILS(msgrcv(queue, edge - 8, 8, 0, IPC_NOWAIT), EFAULT);
    FAILS(msgrcv(queue, page, 8, 0, IPC_NOWAIT), ENOMSG);
}

static void own_faults(void) {
    struct sigaction new;
    memset(&new, 0, sizeof new);
    new.sa_sigaction = fault;
    for (volatile int once = 0; once < 2; once++) {
        int flags = SA_SIGINFO | (once ? (int)SA_RESETHAND : 0);
        new.sa_flags = flags;
        CHECK(sigaction(SIGSEGV, &new, 0) == 0);
        CHECK(handler_of(SIGSEGV) == (void *)fault && flags_of(SIGSEGV) == flags);
        FAILS(semop(set, (void *)8, 1), EFAULT);
        got = 0;
        if (!sigsetjmp(out, 1)) {
            *(volatile int *)16 = 1;
            CHECK(!"came back");
        }
        CHECK(got == 1 && address == (void *)16);
        CHECK(handler_of(SIGSEGV) == (once ? (void *)SIG_DFL : (void *)fault));
        FAILS(semop(set, (void *)8, 1), EFAULT);
    }
    signal(SIGSEGV, SIG_DFL);
}

/* How a child ends that faults, or is sent a fault's signal. */
static int end_of(int ignores, int sent) {
    pid_t child = fork();
    if (child == 0) {
        semctl(set, 0, GETVAL);
        signal(SIGSEGV, ignores ? SIG_IGN : SIG_DFL);
        if (semop(set, (void *)8, 1) != -1 || errno != EFAULT) _exit(99);
        if (sent) raise(SIGSEGV);
        else *(volatile int *)16 = 1;
        _exit(handler_of(SIGSEGV) == (void *)SIG_IGN ? 7 : 98);
    }
    return status_of(child);
}

static void usual(int sig) {
    (void)sig;
}

/* A vfork child's dispositions are its own, and it reads them back; so is what a forked child sets, over its parent's handler. */
static void children(void) {
    for (volatile int way = 0; way < 2; way++) {
        handle(SIGUSR2, usual, SA_RESTART);
        signal(SIGHUP, SIG_IGN);
        pid_t child = way ? vfork() : fork();
        if (child == 0) {
            int wrong = handler_of(SIGUSR2) != (void *)usual || handler_of(SIGHUP) != (void *)SIG_IGN;
            wrong |= (signal(SIGUSR2, SIG_DFL) != usual) << 1 | (handler_of(SIGUSR2) != (void *)SIG_DFL) << 2;
            wrong |= (signal(SIGHUP, usual) != SIG_IGN) << 3 | (handler_of(SIGHUP) != (void *)usual) << 4;
            _exit(wrong);
        }
        CHECK(status_of(child) == 0);
        CHECK(handler_of(SIGUSR2) == (void *)usual && handler_of(SIGHUP) == (void *)SIG_IGN);
        /* The same handler again, after another disposition. */
        CHECK(signal(SIGUSR2, SIG_IGN) == usual && signal(SIGUSR2, usual) == SIG_IGN);
        CHECK(raise(SIGUSR2) == 0 && handler_of(SIGUSR2) == (void *)usual);
        CHECK(signal(SIGUSR2, SIG_DFL) == usual && signal(SIGHUP, SIG_DFL) == SIG_IGN);
    }
}

/* rt_sigaction(2) by its number, as runtimes without libc's function call it: read back as given, and served like any other. */
static void by_number(void) {
#ifdef __x86_64__
    struct {
        void (*handler)(int);
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } before, given, now;
    memset(&now, 0, sizeof now);
    handle(SIGUSR2, count, 0);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, 0, &before, 8) == 0 && before.handler == count);
    given = before;
    given.handler = operate;
    given.flags |= SA_RESTART;
    given.mask = 1ul << (SIGUSR1 - 1);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, &given, &now, 8) == 0 && now.handler == count);
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, 0, &now, 8) == 0 && memcmp(&now, &given, sizeof now) == 0);
    CHECK(handler_of(SIGUSR2) == (void *)operate && flags_of(SIGUSR2) == SA_RESTART);
    FAILS(syscall(SYS_rt_sigaction, SIGUSR2, 0, &now, 4), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, SIGUSR2, 8, 0, 8), EFAULT);
    FAILS(syscall(SYS_rt_sigaction, 65, 0, &now, 8), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, SIGKILL, &given, 0, 8), EINVAL);
    /* The two of libc's own are the program's to set by number. */
    CHECK(syscall(SYS_rt_sigaction, 33, 0, &now, 8) == 0);
    struct sembuf down = {0, -1, 0};
    handle(SIGALRM, count, 0);
    CHECK(syscall(SYS_rt_sigaction, SIGALRM, 0, &given, 8) == 0);
    given.flags |= SA_RESTART;
    CHECK(syscall(SYS_rt_sigaction, SIGALRM, &given, 0, 8) == 0);
    got = 0;
    alarm_in(20000);
    FAILS(semop(set, &down, 1), EINTR);
    CHECK(got == 1);
#endif
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    read_back();
    children();
    arguments();
    set = semget(IPC_PRIVATE, 2, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(set >= 0 && queue >= 0);
    by_number();
    interrupted();
    jumped_out();
    storm();
    bad_pointers();
    own_faults();
    CHECK(WTERMSIG(end_of(0, 0)) == SIGSEGV);
    CHECK(WTERMSIG(end_of(1, 0)) == SIGSEGV);
    CHECK(WTERMSIG(end_of(0, 1)) == SIGSEGV);
    CHECK(end_of(1, 1) == 7 << 8);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
