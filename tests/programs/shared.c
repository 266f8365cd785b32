/* Whose memory, whose undo: children of vfork and of clone with CLONE_VM, which run in this memory under a number of their own, and
   CLONE_SYSVSEM, with which they owe together with it. */
#define _GNU_SOURCE
#include <sched.h>
#include "check.h"

#ifndef CLONE_SYSVSEM
#define CLONE_SYSVSEM 0x40000
#endif

static int set, queue, segment;
static char stacks[2][262144] __attribute__((aligned(16)));

static int nattch(void) {
    struct shmid_ds state;
    return shmctl(segment, IPC_STAT, &state) ? -1 : (int)state.shm_nattch;
}

static int lspid(void) {
    struct msqid_ds state;
    return msgctl(queue, IPC_STAT, &state) ? -1 : (int)state.msg_lspid;
}

static int add(int num, int by, int flags) {
    struct sembuf op = {num, by, flags};
    return semop(set, &op, 1);
}

static int value(int num) { return semctl(set, num, GETVAL); }

static void reset(void) {
    unsigned short values[2] = {10, 0};
    CHECK(semctl(set, 0, SETALL, values) == 0);
}

/* A vfork child has its own number, undo and end; its parent goes on as before. */
static void vforks(int known) {
    struct message message = {3, "x"};
    volatile int inside = 0, again = 0;
    reset();
    if (known) CHECK(add(0, -1, SEM_UNDO) == 0);
    pid_t child = vfork();
    if (child == 0) {
        add(0, -2, SEM_UNDO);
        add(1, 3, SEM_UNDO);
        msgsnd(queue, &message, 1, 0);
        inside = value(0);
        again = semctl(set, 0, GETPID) == getpid();
        _exit(0);
    }
    CHECK(status_of(child) == 0 && again);
    CHECK(inside == 10 - known - 2 && value(0) == 10 - known && value(1) == 0);
    CHECK(semctl(set, 0, GETPID) == child && lspid() == child);
    CHECK(msgrcv(queue, &message, 1, 0, 0) == 1);
    CHECK(add(0, -1, 0) == 0 && semctl(set, 0, GETPID) == getpid());
    CHECK(value(0) == 10 - known - 1);
    if (known) CHECK(add(0, 1, SEM_UNDO) == 0);
}

/* What a vfork child attaches is its parent's. */
static void vfork_attaches(void) {
    static void *volatile at;
    pid_t child = vfork();
    if (child == 0) {
        at = shmat(segment, 0, 0);
        _exit(at == (void *)-1);
    }
    CHECK(status_of(child) == 0 && nattch() == 1);
    strcpy(at, "here");
    CHECK(shmdt(at) == 0 && nattch() == 0);
    CHECK((at = shmat(segment, 0, 0)) != (void *)-1 && nattch() == 1);
    child = vfork();
    if (child == 0) _exit(shmdt(at) != 0);
    CHECK(status_of(child) == 0 && nattch() == 0);
    FAILS(shmdt(at), EINVAL);
}

/* A vfork child that is killed in the middle of calls leaves nothing locked; what it has attached stays in its parent's memory. */
static void vfork_killed(void) {
    for (volatile int n = 0; n < 40; n++) {
        pid_t child = vfork();
        if (child == 0) {
            struct itimerspec soon = {{0, 0}, {0, 20000 + n * 30000}};
            struct sigevent event;
            timer_t timer;
            memset(&event, 0, sizeof event);
            event.sigev_notify = SIGEV_SIGNAL;
            event.sigev_signo = SIGKILL;
            timer_create(CLOCK_MONOTONIC, &event, &timer);
            timer_settime(timer, 0, &soon, 0);
            for (;;) {
                int other = semget(0x52340, 1, IPC_CREAT | 0600);
                add(0, 1, SEM_UNDO);
                add(0, -1, SEM_UNDO);
                semctl(other, 0, IPC_RMID);
                shmdt(shmat(segment, 0, 0));
            }
        }
        int status = status_of(child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK(add(0, 1, SEM_UNDO) == 0 && add(0, -1, SEM_UNDO) == 0);
        struct semid_ds state;
        CHECK(semctl(set, 0, IPC_STAT, &state) == 0);
    }
    int other = semget(0x52340, 0, 0);
    if (other >= 0) semctl(other, 0, IPC_RMID);
    reset();
    CHECK(shmdt(shmat(segment, 0, 0)) == 0);
}

static volatile sig_atomic_t handled;
static void on_alarm(int sig) { handled += sig == SIGALRM; }

static void handler_after_vfork(void) {
    handle(SIGALRM, on_alarm, 0);
    handled = 0;
    alarm_in(20000);
    FAILS(add(1, -1, 0), EINTR);
    CHECK(handled == 1);
    signal(SIGALRM, SIG_DFL);
}

/* vfork and exec, and vfork that fails to exec. */
static void vfork_executes(void) {
    for (volatile int n = 0; n < 20; n++) {
        pid_t child = vfork();
        if (child == 0) {
            if (n & 1) add(0, 1, 0);
            execl("/bin/true", "true", (char *)0);
            _exit(9);
        }
        CHECK(status_of(child) == 0);
        child = vfork();
        if (child == 0) {
            execl("/nonexistent", "true", (char *)0);
            _exit(add(0, -1, 0) == 0 ? 9 : 8);
        }
        CHECK(WEXITSTATUS(status_of(child)) == 9 && add(0, 1, 0) == 0 && semctl(set, 0, GETPID) == getpid());
    }
    reset();
}

/* By clone's flags: whether what child and parent owe is one. */
static int owes(void *unused) {
    add(0, -2, SEM_UNDO);
    add(1, 1, SEM_UNDO);
    return unused != 0;
}

static void by_flags(void) {
    static const int flags[] = {0, CLONE_VM, CLONE_VM | CLONE_FILES | CLONE_FS, CLONE_VM | CLONE_VFORK, CLONE_SYSVSEM,
        CLONE_VM | CLONE_SYSVSEM, CLONE_VM | CLONE_VFORK | CLONE_SYSVSEM};
    for (unsigned n = 0; n < sizeof flags / sizeof *flags; n++) {
        int together = (flags[n] & CLONE_SYSVSEM) != 0;
        reset();
        pid_t child = clone(owes, stacks[0] + sizeof stacks[0], flags[n] | SIGCHLD, 0);
        CHECK(child > 0 && status_of(child) == 0);
        CHECK(value(0) == (together ? 8 : 10) && value(1) == together && semctl(set, 0, GETPID) == child);
    }
    /* What is left is due at this process's end: its parent looks (see main). */
}

/* The child outlives its parent, and owes for both. */
static int outlives(void *go) {
    char byte;
    CHECK(add(1, 1, SEM_UNDO) == 0);
    _exit(read(*(int *)go, &byte, 1) == 0 && value(0) == 8 && value(1) == 1 ? 0 : 1);
}

static void last_of_two(int flags) {
    int go[2], told[2], byte = 0;
    reset();
    CHECK(pipe(go) == 0 && pipe(told) == 0);
    pid_t first = fork();
    if (first == 0) {
        close(go[1]);
        add(0, -2, SEM_UNDO);
        clone(outlives, stacks[0] + sizeof stacks[0], flags | SIGCHLD, go);
        for (int n = 0; n < 2000 && value(1) == 0; n++) usleep(1000);
        _exit(0);
    }
    CHECK(status_of(first) == 0 && value(0) == 8 && value(1) == 1);
    close(go[0]);
    close(told[1]);
    close(go[1]);
    /* The grandchild holds told[1] until it ends. */
    CHECK(read(told[0], &byte, 1) == 0);
    for (int n = 0; n < 2000 && value(0) != 10; n++) usleep(1000);
    CHECK(value(0) == 10 && value(1) == 0);
    close(told[0]);
}

/* A child in this memory uses each mechanism while its parent does, too. */
static int works(void *unused) {
    struct message message = {5, "y"};
    for (int n = 0; n < 300; n++) {
        if (add(0, 1, 0) || msgsnd(queue, &message, 1, 0)) return 1;
    }
    void *at = shmat(segment, 0, 0);
    int other = semget(IPC_PRIVATE, 1, 0600);
    if (at == (void *)-1 || other < 0 || semctl(other, 0, IPC_RMID)) return 2;
    strcpy(at, "left");
    return unused != 0;
}

static void in_one_memory(void) {
    struct message message;
    struct shmid_ds state;
    int before = nattch();
    reset();
    pid_t child = clone(works, stacks[0] + sizeof stacks[0], CLONE_VM | SIGCHLD, 0);
    for (int n = 0; n < 300; n++) CHECK(msgrcv(queue, &message, 1, 5, 0) == 1);
    CHECK(status_of(child) == 0 && value(0) == 310 && semctl(set, 0, GETPID) == child && nattch() == before + 1);
    CHECK(shmctl(segment, IPC_STAT, &state) == 0 && state.shm_lpid == child);
    void *at = shmat(segment, 0, 0);
    CHECK(nattch() == before + 2 && strcmp(at, "left") == 0 && shmdt(at) == 0 && nattch() == before + 1);
    CHECK(add(0, -1, 0) == 0 && semctl(set, 0, GETPID) == getpid());
}

/* unshare settles at once what nobody else owes. */
static void unshares(void) {
    reset();
    pid_t child = fork();
    if (child == 0) {
        CHECK(add(0, -3, SEM_UNDO) == 0 && unshare(CLONE_SYSVSEM) == 0 && value(0) == 10);
        CHECK(add(0, -4, SEM_UNDO) == 0 && syscall(SYS_unshare, CLONE_SYSVSEM) == 0 && value(0) == 10);
        CHECK(add(0, -1, SEM_UNDO) == 0);
        _exit(failed);
    }
    CHECK(status_of(child) == 0 && value(0) == 10);
}

static int leaves_first(void *unused) {
    add(0, -2, SEM_UNDO);
    return unshare(CLONE_SYSVSEM) || value(0) != 8 || add(1, 1, SEM_UNDO) || unused;
}

static void unshares_among_others(void) {
    reset();
    pid_t child = fork();
    if (child == 0) {
        child = clone(leaves_first, stacks[0] + sizeof stacks[0], CLONE_SYSVSEM | SIGCHLD, 0);
        /* What it owed with us is ours; what it owed after that was its own. */
        CHECK(status_of(child) == 0 && value(0) == 8 && value(1) == 0);
        _exit(failed);
    }
    CHECK(status_of(child) == 0 && value(0) == 10);
}

int main(void) {
    set = semget(IPC_PRIVATE, 2, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    segment = shmget(IPC_PRIVATE, 4096, 0600);
    /* A process that has not used IPC before, whose child does. */
    pid_t child = fork();
    if (child == 0) {
        vforks(0);
        vfork_attaches();
        _exit(failed);
    }
    CHECK(status_of(child) == 0);
    vforks(0);
    vforks(1);
    vfork_attaches();
    vfork_executes();
    vfork_killed();
    handler_after_vfork();
    child = fork();
    if (child == 0) {
        by_flags();
        _exit(failed);
    }
    CHECK(status_of(child) == 0 && value(0) == 10 && value(1) == 0);
    last_of_two(CLONE_SYSVSEM);
    last_of_two(CLONE_SYSVSEM | CLONE_VM);
    in_one_memory();
    handler_after_vfork();
    unshares();
    unshares_among_others();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
