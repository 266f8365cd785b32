/* A process that has next to nothing left to use: addresses, data, memory to lock, descriptors. The kernel needs none of it for queues and semaphores, and of
   memory to lock what a segment has. */
#include "check.h"
#include <sys/resource.h>

enum { PAGE = 4096 };

/* A number of /proc/self/status, in bytes. */
static long status_value(const char *name) {
    /* Without stdio, which maps memory of its own. */
    static char text[8192];
    int file = open("/proc/self/status", O_RDONLY);
    ssize_t len = read(file, text, sizeof text - 1);
    CHECK(len > 0 && close(file) == 0);
    text[len > 0 ? len : 0] = 0;
    const char *found = strstr(text, name);
    long kilobytes = found ? atol(found + strlen(name)) : -1;
    return kilobytes * 1024;
}

static void limit(int which, long value) {
    struct rlimit limit = {(rlim_t)value, (rlim_t)value};
    CHECK(setrlimit(which, &limit) == 0);
}

static int operate(int set, int num, int by, int flags) {
    struct sembuf op = {(unsigned short)num, (short)by, (short)flags};
    return semop(set, &op, 1);
}

static void use(int key) {
    struct message m = {1, "t"};
    int set = semget(key, 3, IPC_CREAT | 0600), queue = msgget(key, IPC_CREAT | 0600);
    CHECK(set >= 0 && queue >= 0 && semget(key, 0, 0) == set && msgget(key, 0) == queue);
    CHECK(operate(set, 0, 1, 0) == 0 && operate(set, 1, 2, SEM_UNDO) == 0 && operate(set, 0, -1, IPC_NOWAIT) == 0);
    CHECK(semctl(set, 1, GETVAL) == 2 && semctl(set, 2, SETVAL, 5) == 0 && semctl(set, 2, GETVAL) == 5);
    FAILS(operate(set, 0, -1, IPC_NOWAIT), EAGAIN);
    CHECK(msgsnd(queue, &m, 1, 0) == 0 && msgrcv(queue, &m, 3000, 0, 0) == 1);
    FAILS(msgrcv(queue, &m, 3000, 0, IPC_NOWAIT), ENOMSG);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
}

static void attach(void) {
    int segment = shmget(IPC_PRIVATE, PAGE, 0600);
    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && shmctl(segment, IPC_RMID, 0) == 0 && shmdt(at) == 0);
}

static void addresses(void) {
    limit(RLIMIT_AS, status_value("VmSize:") + 1024 * 1024);
    use(0x7101);
    attach();
}

static void data(void) {
    limit(RLIMIT_DATA, status_value("VmData:") + 200 * 1024);
    use(0x7102);
    attach();
}

/* What the program maps is locked, as it asked for; nothing else is. */
static void locks(void) {
    limit(RLIMIT_MEMLOCK, 8 << 20);
    FAILS(semget(0x7104, 0, 0), ENOENT);
    if (geteuid() == 0) CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    long before = status_value("VmLck:");
    int segment = shmget(IPC_PRIVATE, 5 * PAGE, 0600);
    use(0x7103);
    CHECK(status_value("VmLck:") == before);
    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && status_value("VmLck:") == before + 5 * PAGE);
    CHECK(shmdt(at) == 0 && shmctl(segment, IPC_RMID, 0) == 0 && status_value("VmLck:") == before);
    CHECK(munlockall() == 0 && status_value("VmLck:") == 0);
}

/* What was mapped before is locked as far as it is the program's. Without a limit, which counts all addresses here. */
static void locks_later(void) {
    if (geteuid() != 0) return;
    CHECK(mlockall(MCL_CURRENT) == 0);
    long before = status_value("VmLck:");
    CHECK(before > 0 && munlockall() == 0 && status_value("VmLck:") == 0);
    int segment = shmget(IPC_PRIVATE, 5 * PAGE, 0600), set = semget(IPC_PRIVATE, 1, 0600);
    char *at = shmat(segment, 0, 0);
    CHECK(operate(set, 0, 1, 0) == 0 && mlockall(MCL_CURRENT) == 0);
    long after = status_value("VmLck:");
    CHECK(after >= before + 5 * PAGE && after < before + 20 * PAGE);
    CHECK(munlockall() == 0 && shmdt(at) == 0 && operate(set, 0, -1, 0) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
}

/* No descriptor is free: what is attached can be detached, and what is open be used. */
static void descriptors(void) {
    int segment = shmget(IPC_PRIVATE, 4 * PAGE, 0600), set = semget(IPC_PRIVATE, 1, 0600);
    char *first = shmat(segment, 0, 0), *second = shmat(segment, 0, 0);
    struct shmid_ds state;
    CHECK(first != (char *)-1 && second != (char *)-1 && operate(set, 0, 1, 0) == 0);
    limit(RLIMIT_NOFILE, 64);
    while (open("/", O_RDONLY) >= 0) {
    }
    CHECK(errno == EMFILE && shmdt(first) == 0 && munmap(second + PAGE, PAGE) == 0);
    CHECK(shmctl(segment, IPC_STAT, &state) == 0 && state.shm_nattch == 2);
    CHECK(shmdt(second) == 0 && operate(set, 0, -1, IPC_NOWAIT) == 0);
    FAILS(shmdt(second), EINVAL);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0);
}

static void part(void (*run)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        run();
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
}

/* Objects with high indexes, keys among them: more of what is known of a namespace is mapped as it is needed. */
static void many(void) {
    enum { COUNT = 300 };
    static int ids[COUNT];
    for (int n = 0; n < COUNT; n++) CHECK((ids[n] = semget(0x720000 + n, 1, IPC_CREAT | 0600)) >= 0);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        for (int n = COUNT - 1; n >= 0; n--) CHECK(semget(0x720000 + n, 1, 0) == ids[n] && operate(ids[n], 0, 1, 0) == 0);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    for (int n = 0; n < COUNT; n++) CHECK(operate(ids[n], 0, -1, IPC_NOWAIT) == 0 && semctl(ids[n], 0, IPC_RMID) == 0);
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    part(addresses);
    part(data);
    part(locks);
    part(locks_later);
    part(descriptors);
    part(many);
    return checked();
}
