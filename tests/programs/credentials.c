/* Credentials are a thread's: what one thread gives up by a bare system call, the others keep; what libc's functions change, all threads lose.
   And none of them has what another thread may do, however the object is mapped already. */
#include "check.h"
#include <grp.h>
#include <sys/fsuid.h>

#define NOBODY 65534

static int set, queue, readable, foreign;
static pthread_barrier_t turn;

static void next(void) { pthread_barrier_wait(&turn); }

static int post(int id) {
    struct sembuf op = {0, 1, 0};
    return semop(id, &op, 1);
}

static int send(int id) {
    struct message message = {1, "x"};
    return msgsnd(id, &message, 1, IPC_NOWAIT);
}

/* All that the object's owner may do and others may not. */
static void may(void) {
    struct semid_ds state;
    struct message message;
    void *at;
    CHECK(post(set) == 0 && semctl(set, 0, GETVAL) > 0 && semctl(set, 0, SETVAL, 1) == 0);
    CHECK(send(queue) == 0 && msgrcv(queue, &message, 1, 0, IPC_NOWAIT) == 1);
    CHECK(semctl(set, 0, IPC_STAT, &state) == 0 && semctl(set, 0, IPC_SET, &state) == 0);
    CHECK(post(readable) == 0 && semctl(readable, 0, GETVAL) > 0);
    int segment = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK((at = shmat(segment, 0, 0)) != (void *)-1 && shmdt(at) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
}

static void may_not(void) {
    struct semid_ds state;
    struct message message;
    FAILS(post(set), EACCES);
    FAILS(semctl(set, 0, GETVAL), EACCES);
    FAILS(semctl(set, 0, SETVAL, 1), EACCES);
    FAILS(semctl(set, 0, IPC_STAT, &state), EACCES);
    FAILS(semctl(set, 0, IPC_RMID), EPERM);
    FAILS(send(queue), EACCES);
    FAILS(msgrcv(queue, &message, 1, 0, IPC_NOWAIT), EACCES);
    FAILS(msgctl(queue, IPC_RMID, 0), EPERM);
    FAILS(post(readable), EACCES);
    CHECK(semctl(readable, 0, GETVAL) >= 0);
}

static void *drops_user(void *unused) {
    next();
    CHECK(syscall(SYS_setresuid, -1, NOBODY, -1) == 0);
    may_not();
    next();
    next();
    may_not();
    CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0);
    may();
    return unused;
}

static void *drops_capabilities(void *unused) {
    /* <linux/capability.h>, which musl has not: version 3, this thread; effective, permitted and inheritable, twice. */
    unsigned head[2] = {0x20080522, 0}, none[6] = {0};
    next();
    CHECK(syscall(SYS_capset, head, none) == 0);
    FAILS(post(foreign), EACCES);
    next();
    next();
    FAILS(post(foreign), EACCES);
    return unused;
}

/* The thread is the first to open the objects, with less than the others may have. */
static void *opens_first(void *unused) {
    CHECK(syscall(SYS_setresuid, -1, NOBODY, -1) == 0);
    readable = semget(0x52331, 1, 0);
    CHECK(readable >= 0 && semctl(readable, 0, GETVAL) == 0);
    FAILS(post(readable), EACCES);
    next();
    next();
    FAILS(post(readable), EACCES);
    return unused;
}

static void *drops_file_user(void *unused) {
    setfsuid(NOBODY);
    setfsgid(NOBODY);
    next();
    may();
    next();
    next();
    return unused;
}

static void *watches(void *unused) {
    next();
    may();
    next();
    next();
    may_not();
    return unused;
}

/* Runs a thread up to its second meeting, `meanwhile` here, and the rest of the thread. */
static void beside(void *(*thread)(void *), void (*meanwhile)(void)) {
    pthread_t other;
    CHECK(pthread_create(&other, 0, thread, 0) == 0);
    next();
    if (thread != opens_first) next();
    meanwhile();
    next();
    CHECK(pthread_join(other, 0) == 0);
}

static void foreign_post(void) { CHECK(post(foreign) == 0 && post(foreign) == 0); }

static void all_threads_drop(void) {
    CHECK(seteuid(NOBODY) == 0);
    may_not();
}

/* Supplementary groups, changed by a bare call too. */
static void groups(void) {
    gid_t group = 777;
    int of_group = semget(IPC_PRIVATE, 1, 0);
    struct semid_ds state;
    CHECK(semctl(of_group, 0, IPC_STAT, &state) == 0);
    state.sem_perm.gid = group;
    state.sem_perm.mode = 0060;
    CHECK(semctl(of_group, 0, IPC_SET, &state) == 0 && setgroups(1, &group) == 0);
    CHECK(syscall(SYS_setresgid, -1, NOBODY, -1) == 0);
    CHECK(syscall(SYS_setresuid, -1, NOBODY, -1) == 0 && post(of_group) == 0);
    CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0 && syscall(SYS_setgroups, 0, 0) == 0);
    CHECK(syscall(SYS_setresuid, -1, NOBODY, -1) == 0);
    FAILS(post(of_group), EACCES);
    CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0 && setegid(0) == 0 && semctl(of_group, 0, IPC_RMID) == 0);
}

/* What a forked child keeps is its own thread's. */
static void *forks(void *unused) {
    CHECK(syscall(SYS_setresuid, -1, NOBODY, -1) == 0);
    pid_t child = fork();
    if (child == 0) {
        int refused = post(set) == -1 && errno == EACCES;
        _exit(refused && syscall(SYS_setresuid, -1, 0, -1) == 0 && post(set) == 0 ? 0 : 1);
    }
    CHECK(status_of(child) == 0);
    next();
    next();
    next();
    return unused;
}

int main(void) {
    if (geteuid() != 0) return checked();
    pid_t child = fork();
    if (child == 0) {
        if (setresuid(NOBODY, NOBODY, NOBODY)) _exit(1);
        _exit(semget(0x52330, 1, IPC_CREAT | 0600) < 0);
    }
    CHECK(status_of(child) == 0);
    foreign = semget(0x52330, 0, 0);
    set = semget(IPC_PRIVATE, 1, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    readable = semget(0x52331, 1, IPC_CREAT | 0644);
    pthread_barrier_init(&turn, 0, 2);

    beside(opens_first, may);
    may();
    foreign_post();
    beside(drops_file_user, may);
    beside(drops_user, may);
    beside(drops_capabilities, foreign_post);
    may();
    beside(forks, may);
    groups();
    beside(watches, all_threads_drop);
    CHECK(seteuid(0) == 0);
    may();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && semctl(foreign, 0, IPC_RMID) == 0 && semctl(readable, 0, IPC_RMID) == 0);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
