/* A program that allows itself only the calls it makes (seccomp(2)), IPC's among them and none of those that ring3 makes for it: IPC goes on, and what the
   program forbade stays forbidden. Every scene is a child's, since a filter is for ever; the parent is the other side. */
#include "check.h"
#include <stdint.h>
#include <sys/prctl.h>

/* musl comes without the kernel's headers: linux/filter.h, linux/seccomp.h. */
struct sock_filter {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};
struct sock_fprog {
    unsigned short len;
    struct sock_filter *filter;
};
enum { LOAD_NUMBER = 0x20, LOAD_CONSTANT = 0x00, EQUAL = 0x15, COPY_X = 0x87, RETURN = 0x06 };
#define RET_KILL_PROCESS 0x80000000u
#define RET_ERRNO 0x00050000u
#define RET_ALLOW 0x7fff0000u
enum { SET_MODE_FILTER = 1, MODE_FILTER = 2, FLAG_TSYNC = 1, FLAG_NEW_LISTENER = 8 };

enum { PAGE = 4096, TAKEN = 0, USED, POSTED, SIGNALLED, SEMS };
enum how { PRCTL, SECCOMP, TSYNC };

static int set, queue, segment;
static volatile sig_atomic_t signals;

static const int ipc[] = {SYS_read,   SYS_write,  SYS_writev, SYS_exit,   SYS_exit_group, SYS_rt_sigreturn, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
                          SYS_msgctl, SYS_semget, SYS_semop,  SYS_semctl, SYS_semtimedop, SYS_shmget,       SYS_shmat,  SYS_shmdt,  SYS_shmctl};
/* What fork, wait and another filter take beside. */
static const int more[] = {SYS_clone,   SYS_wait4,           SYS_set_robust_list, SYS_rt_sigprocmask, SYS_gettid,
                           SYS_seccomp, SYS_set_tid_address, SYS_prctl,           435 /* clone3 */,
#ifdef SYS_fork
                           SYS_fork,
#endif
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static struct sock_filter instruction(int code, unsigned value, int yes, int no) {
    return (struct sock_filter){(unsigned short)code, (unsigned char)yes, (unsigned char)no, value};
}

static long seccomp(int flags, const void *program) { return syscall(SYS_seccomp, SET_MODE_FILTER, flags, program); }

static long install(enum how how, const void *program) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    switch (how) {
    case PRCTL: return prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0);
    case SECCOMP: return seccomp(0, program);
    default: return seccomp(FLAG_TSYNC, program);
    }
}

/* Allows IPC, and more if asked; everything else ends so. */
static long allow(enum how how, int with_more, unsigned otherwise) {
    struct sock_filter filter[80];
    unsigned short n = 0;
    filter[n++] = instruction(LOAD_NUMBER, 0, 0, 0);
    for (size_t i = 0; i < COUNT(ipc) + (with_more ? COUNT(more) : 0); i++) {
        filter[n++] = instruction(EQUAL, i < COUNT(ipc) ? ipc[i] : more[i - COUNT(ipc)], 0, 1);
        filter[n++] = instruction(RETURN, RET_ALLOW, 0, 0);
    }
    filter[n++] = instruction(RETURN, otherwise, 0, 0);
    struct sock_fprog program = {n, filter};
    return install(how, &program);
}

static int operate(int num, int by, int flags) {
    struct sembuf op = {(unsigned short)num, (short)by, (short)flags};
    return semop(set, &op, 1);
}

static long attached(void) {
    struct shmid_ds about;
    return shmctl(segment, IPC_STAT, &about) ? -1 : (long)about.shm_nattch;
}

static void on_signal(int sig) {
    (void)sig;
    signals++;
}

/* What needs nobody else. */
static void use(void) {
    struct message m = {1, "text"};
    CHECK(msgsnd(queue, &m, 4, 0) == 0 && msgrcv(queue, &m, 3000, 0, 0) == 4);
    FAILS(msgrcv(queue, &m, 3000, 0, IPC_NOWAIT), ENOMSG);
    FAILS(msgsnd(queue, (void *)8, 4, 0), EFAULT);
    CHECK(operate(USED, 2, 0) == 0 && operate(USED, -2, SEM_UNDO) == 0 && operate(USED, 2, SEM_UNDO) == 0);
    CHECK(semctl(set, USED, SETVAL, 0) == 0 && semctl(set, USED, GETVAL) == 0);
    struct timespec soon = {0, 2000000};
    struct sembuf op = {USED, -1, 0};
    FAILS(semtimedop(set, &op, 1, &soon), EAGAIN);

    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && attached() == 1);
    at[PAGE] = 'x';
    const char *read_only = shmat(segment, 0, SHM_RDONLY);
    CHECK(read_only != (char *)-1 && read_only[PAGE] == 'x' && attached() == 2);
    CHECK(shmdt(at) == 0 && attached() == 1 && shmdt(read_only) == 0 && attached() == 0);
    FAILS(shmdt(at), EINVAL);
    /* At an address, over what is there. */
    CHECK(shmat(segment, at, 0) == at && shmat(segment, at, SHM_REMAP) == at && attached() == 1 && shmdt(at) == 0);

    int fresh = semget(IPC_PRIVATE, 3, 0600), box = msgget(IPC_PRIVATE, 0600), memory = shmget(IPC_PRIVATE, PAGE, 0600);
    CHECK(fresh >= 0 && box >= 0 && memory >= 0);
    CHECK(semctl(fresh, 2, SETVAL, 7) == 0 && semctl(fresh, 2, GETVAL) == 7 && msgsnd(box, &m, 1, 0) == 0);
    CHECK(semctl(fresh, 0, IPC_RMID) == 0 && msgctl(box, IPC_RMID, 0) == 0 && shmctl(memory, IPC_RMID, 0) == 0);
}

/* What waits for the parent. */
static void wait_for_parent(void) {
    CHECK(operate(POSTED, -1, 0) == 0);
    FAILS(operate(SIGNALLED, -1, 0), EINTR);
    CHECK(signals == 1);
}

/* What the program has not allowed itself fails, however it asks: also what ring3 does for itself. */
static void stays_forbidden(void) {
    static char page[2 * PAGE] __attribute__((aligned(PAGE)));
    struct sigaction action;
    FAILS(open("/dev/null", O_RDONLY), EPERM);
    FAILS(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0), EPERM);
    /* musl calls it ENOMEM. */
    CHECK(mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && (errno == EPERM || errno == ENOMEM));
    FAILS(syscall(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EPERM);
    FAILS(munmap(page, PAGE), EPERM);
    FAILS(syscall(SYS_munmap, page, PAGE), EPERM);
    FAILS(mremap(page, PAGE, PAGE, 0), EPERM);
    FAILS(mprotect(page, PAGE, PROT_READ), EPERM);
    FAILS(madvise(page, PAGE, MADV_DONTFORK), EPERM);
    FAILS(sigaction(SIGUSR2, 0, &action), EPERM);
    FAILS(sigaction(SIGSEGV, 0, &action), EPERM);
    FAILS(close(1), EPERM);
    FAILS(dup(1), EPERM);
    FAILS(prctl(40, page), EPERM);
    FAILS(syscall(SYS_prctl, 40, page, 0, 0, 0), EPERM);
    for (size_t i = 0; i < 9; i++) {
        static const int numbers[] = {SYS_getpid, SYS_gettid,     SYS_geteuid, SYS_sched_yield, SYS_futex,
                                      SYS_sendmsg, SYS_recvmsg, SYS_socket,  SYS_fstat};
        FAILS(syscall(numbers[i], -1, 0, 0, 0, 0, 0), EPERM);
    }
}

/* The parent's side of wait_for_parent(). */
static void serve(pid_t child) {
    while (semctl(set, POSTED, GETNCNT) != 1) usleep(200);
    CHECK(operate(POSTED, 1, 0) == 0);
    while (semctl(set, SIGNALLED, GETNCNT) != 1) usleep(200);
    kill(child, SIGUSR1);
}

static void scene(enum how how, int warm, unsigned otherwise) {
    CHECK(semctl(set, TAKEN, SETVAL, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        signals = 0;
        if (warm) use();
        CHECK(allow(how, 0, otherwise) == 0);
        use();
        wait_for_parent();
        CHECK(operate(TAKEN, -1, SEM_UNDO) == 0);
        CHECK(shmat(segment, 0, 0) != (void *)-1);
        if (otherwise == (RET_ERRNO | EPERM)) stays_forbidden();
        fflush(stdout);
        if (!failed && otherwise == RET_KILL_PROCESS) syscall(SYS_getpid);
        _exit(failed != 0);
    }
    serve(child);
    int status = status_of(child);
    if (otherwise == RET_KILL_PROCESS)
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    else
        CHECK(status == 0);
    /* What the process held is given back, and gone. */
    CHECK(semctl(set, TAKEN, GETVAL) == 1 && attached() == 0);
}

static void *threads_use(void *unused) {
    CHECK(operate(POSTED, -1, 0) == 0);
    use();
    FAILS(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0), EPERM);
    CHECK(operate(TAKEN, -1, SEM_UNDO) == 0);
    CHECK(operate(SIGNALLED, 1, 0) == 0);
    for (;;) operate(POSTED, -1, 0);
    return unused;
}

/* TSYNC filters a thread that is asleep in a call. */
static void threaded(void) {
    CHECK(semctl(set, TAKEN, SETVAL, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, threads_use, 0) == 0);
        while (semctl(set, POSTED, GETNCNT) != 1) usleep(200);
        CHECK(allow(TSYNC, 0, RET_ERRNO | EPERM) == 0);
        CHECK(operate(POSTED, 1, 0) == 0 && operate(SIGNALLED, -1, 0) == 0);
        use();
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    CHECK(semctl(set, TAKEN, GETVAL) == 1 && attached() == 0);
}

/* A filtered process forks, and adds another filter. */
static void family(unsigned otherwise) {
    CHECK(semctl(set, TAKEN, SETVAL, 2) == 0);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        CHECK(allow(PRCTL, 1, otherwise) == 0);
        CHECK(shmat(segment, 0, 0) != (void *)-1);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            CHECK(attached() == 2 && operate(TAKEN, -1, SEM_UNDO) == 0);
            CHECK(allow(SECCOMP, 0, otherwise) == 0);
            CHECK(operate(TAKEN, -1, SEM_UNDO) == 0 && semctl(set, TAKEN, GETVAL) == 0);
            _exit(failed != 0);
        }
        CHECK(grandchild > 0 && status_of(grandchild) == 0);
        CHECK(attached() == 1 && semctl(set, TAKEN, GETVAL) == 2);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    CHECK(attached() == 0);
}

/* A filter starts with 0 in its registers; the kernel's word on a filter is about the program's own. */
static void details(void) {
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        struct sock_filter zero[] = {instruction(EQUAL, 0, 0, 3), instruction(COPY_X, 0, 0, 0),
                                     instruction(EQUAL, 0, 0, 1), instruction(RETURN, RET_ALLOW, 0, 0),
                                     instruction(RETURN, RET_KILL_PROCESS, 0, 0)};
        struct sock_filter bad[] = {instruction(0xffff, 0, 0, 0), instruction(RETURN, RET_ALLOW, 0, 0)};
        struct sock_filter endless[] = {instruction(LOAD_CONSTANT, 0, 0, 0)};
        static struct sock_filter longest[4096];
        for (size_t i = 0; i < COUNT(longest); i++) longest[i] = zero[3];
        struct sock_fprog none = {0, zero}, nowhere = {4, (void *)8}, wrong = {2, bad}, open_end = {1, endless}, good = {5, zero};
        struct sock_fprog longer = {4097, longest}, all = {4096, longest};
        for (enum how how = PRCTL; how <= TSYNC; how++) {
            FAILS(install(how, (void *)8), EFAULT);
            FAILS(install(how, 0), EFAULT);
            FAILS(install(how, &none), EINVAL);
            FAILS(install(how, &nowhere), EFAULT);
            FAILS(install(how, &wrong), EINVAL);
            FAILS(install(how, &open_end), EINVAL);
            FAILS(install(how, &longer), EINVAL);
        }
        FAILS(seccomp(1 << 20, &good), EINVAL);
        FAILS(syscall(SYS_seccomp, 77, 0, 0), EINVAL);
        FAILS(prctl(PR_SET_SECCOMP, 77, &good, 0, 0), EINVAL);
        CHECK(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0);
        CHECK(install(PRCTL, &good) == 0 && install(SECCOMP, &all) == 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2);
        CHECK(seccomp(FLAG_NEW_LISTENER, &good) > 2);
        CHECK(syscall(SYS_getpid) == getpid() && syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0) > 2);
        use();
        fflush(stdout);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
}

/* A fault of the program's own still ends it as it does without ring3, though it may not change what a signal does. */
static void faults(void) {
    pid_t child = fork();
    if (child == 0) {
        CHECK(allow(PRCTL, 0, RET_ERRNO | EPERM) == 0);
        FAILS(msgsnd(queue, (void *)8, 4, 0), EFAULT);
        *(volatile char *)8 = 1;
        _exit(0);
    }
    int status = status_of(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void) {
    static char room[BUFSIZ];
    setvbuf(stdout, room, _IOLBF, sizeof room);
    signal(SIGCHLD, SIG_DFL);
    set = semget(IPC_PRIVATE, SEMS, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    segment = shmget(IPC_PRIVATE, 2 * PAGE, 0600);
    CHECK(set >= 0 && queue >= 0 && segment >= 0);
    handle(SIGUSR1, on_signal, SA_RESTART);
    for (enum how how = PRCTL; how <= TSYNC; how++)
        for (int warm = 0; warm < 2; warm++) {
            scene(how, warm, RET_ERRNO | EPERM);
            scene(how, warm, RET_KILL_PROCESS);
        }
    threaded();
    family(RET_ERRNO | EPERM);
    family(RET_KILL_PROCESS);
    details();
    faults();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
