/* unshare, setns and clone with CLONE_NEWIPC: a namespace of its own in both directions, whether the process was known before or not.
   ARGUMENTS see KEY: what this program does when it starts itself. */
#include "check.h"
#include <sched.h>

enum { KEY = 0x55331, INNER = 0x55332 };
static int set, queue, segment;
static char *self;

/* A step of the child's that the parent waits for, and the other way round. */
static int to_parent[2], to_child[2];

static void tell(const int *pipe) { CHECK(write(pipe[1], "x", 1) == 1); }

static void hear(const int *pipe) {
    char byte;
    CHECK(read(pipe[0], &byte, 1) == 1);
}

static int lines_of(const char *path) {
    FILE *file = fopen(path, "r");
    int count = 0, c;
    while (file && (c = getc(file)) != EOF) count += c == '\n';
    if (file) fclose(file);
    return count;
}

static unsigned long nattch(void) {
    struct shmid_ds state;
    memset(&state, 0xff, sizeof state);
    CHECK(shmctl(segment, IPC_STAT, &state) == 0);
    return state.shm_nattch;
}

/* Nothing of the parent's namespace is here, and everything begins anew. */
static void nothing_here(void) {
    struct sembuf up = {0, 1, IPC_NOWAIT};
    struct message m = {1, "x"};
    FAILS(semget(KEY, 1, 0600), ENOENT);
    FAILS(semop(set, &up, 1), EINVAL);
    FAILS(semctl(set, 0, GETVAL), EINVAL);
    FAILS(msgsnd(queue, &m, 1, IPC_NOWAIT), EINVAL);
    FAILS(shmat(segment, 0, 0), EINVAL);
    CHECK(lines_of("/proc/sysvipc/sem") == 1 && lines_of("/proc/sysvipc/msg") == 1 && lines_of("/proc/sysvipc/shm") == 1);
}

/* A set of this namespace, which the parent must not see; the first identifier of a new namespace is 0. */
static void make_own(int first) {
    int own = semget(INNER, 1, IPC_CREAT | IPC_EXCL | 0600);
    struct sembuf up = {0, 5, 0};
    CHECK(own >= 0 && (!first || own == 0));
    CHECK(semop(own, &up, 1) == 0 && semctl(own, 0, GETVAL) == 5);
}

static void use(void) {
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
    struct message m = {1, "x"};
    CHECK(semop(set, &up, 1) == 0 && semop(set, &down, 1) == 0);
    CHECK(msgsnd(queue, &m, 1, 0) == 0 && msgrcv(queue, &m, 1, 0, 0) == 1);
}

/* unshare by a process that is not known yet, and by one that has everything open. */
static void unshares(int known) {
    pid_t child = fork();
    if (child == 0) {
        if (known) use();
        CHECK(unshare(CLONE_NEWIPC) == 0);
        nothing_here();
        make_own(1);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            CHECK(semget(INNER, 1, 0600) == 0);
            _exit(checked());
        }
        CHECK(status_of(grandchild) == 0);
        char *args[] = {self, "see", 0};
        execv("/proc/self/exe", args);
        _exit(99);
    }
    CHECK(status_of(child) == 0);
    FAILS(semget(INNER, 1, 0600), ENOENT);
    use();
}

/* Adjustments are applied when the namespace is left; attachments stay. */
static void leaves(void) {
    pid_t child = fork();
    if (child == 0) {
        struct sembuf owed = {0, 3, SEM_UNDO};
        char *at = shmat(segment, 0, 0);
        CHECK(at != (char *)-1 && semop(set, &owed, 1) == 0 && semctl(set, 0, GETVAL) == 3);
        CHECK(unshare(CLONE_NEWIPC) == 0);
        strcpy(at, "still there");
        tell(to_parent);
        hear(to_child);
        /* A fork shares what is attached, wherever that belongs; so does detaching. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            tell(to_parent);
            hear(to_child);
            CHECK(shmdt(at) == 0);
            tell(to_parent);
            hear(to_child);
            _exit(checked());
        }
        CHECK(status_of(grandchild) == 0);
        CHECK(shmdt(at) == 0);
        tell(to_parent);
        hear(to_child);
        _exit(checked());
    }
    hear(to_parent);
    CHECK(semctl(set, 0, GETVAL) == 0);
    CHECK(nattch() == 1);
    tell(to_child);
    hear(to_parent);
    CHECK(nattch() == 2);
    tell(to_child);
    hear(to_parent);
    CHECK(nattch() == 1);
    tell(to_child);
    hear(to_parent);
    CHECK(nattch() == 0);
    tell(to_child);
    CHECK(status_of(child) == 0);
}

/* There and back again. */
static void returns(void) {
    pid_t child = fork();
    if (child == 0) {
        int home = open("/proc/self/ns/ipc", O_RDONLY), other;
        use();
        CHECK(home >= 0 && unshare(CLONE_NEWIPC) == 0);
        other = open("/proc/self/ns/ipc", O_RDONLY);
        make_own(1);
        CHECK(setns(home, CLONE_NEWIPC) == 0);
        CHECK(semget(KEY, 1, 0600) == set);
        use();
        FAILS(semget(INNER, 1, 0600), ENOENT);
        CHECK(other >= 0 && setns(other, 0) == 0);
        FAILS(semget(KEY, 1, 0600), ENOENT);
        CHECK(setns(home, 0) == 0);
        use();
        _exit(checked());
    }
    CHECK(status_of(child) == 0);
}

static int cloned(void *unused) {
    (void)unused;
    nothing_here();
    make_own(1);
    return checked();
}

static void clones(void) {
    static char stack[1 << 16] __attribute__((aligned(16)));
    pid_t child = clone(cloned, stack + sizeof stack, CLONE_NEWIPC | SIGCHLD, 0);
    CHECK(child > 0 && status_of(child) == 0);
    child = syscall(SYS_clone, CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(cloned(0));
    CHECK(child > 0 && status_of(child) == 0);
    FAILS(semget(INNER, 1, 0600), ENOENT);
    use();
}

int main(int argc, char **argv) {
    self = argv[0];
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc > 1) {
        CHECK(semget(INNER, 1, 0600) == 0 && semctl(0, 0, GETVAL) == 5 && semctl(0, 0, IPC_RMID) == 0);
        return checked();
    }
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWIPC) ? 1 : 0);
    if (status_of(child) != 0) {
        puts("no IPC namespaces for this user here");
        return 77;
    }
    set = semget(KEY, 1, IPC_CREAT | 0600), queue = msgget(KEY, IPC_CREAT | 0600), segment = shmget(KEY, 4096, IPC_CREAT | 0600);
    void *at = shmat(segment, 0, 0);
    CHECK(set >= 0 && queue >= 0 && segment >= 0 && at != (void *)-1 && pipe(to_parent) == 0 && pipe(to_child) == 0);
    unshares(0);
    unshares(1);
    shmdt(at);
    at = shmat(segment, 0, 0);
    clones();
    returns();
    shmdt(at);
    CHECK(nattch() == 0);
    leaves();
    CHECK(semctl(set, 0, GETVAL) == 0 && nattch() == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
