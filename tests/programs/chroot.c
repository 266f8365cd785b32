/* A process that has changed its root: nothing of the namespace's is to be found there, and no /proc. Detaching, the first use, a child that
   closes every descriptor, and descriptors closed and replaced by every call there is for it. */
#include "check.h"
#include <grp.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static int nattch(int id) {
    struct shmid_ds state;
    return shmctl(id, IPC_STAT, &state) ? -1 : (int)state.shm_nattch;
}

static int operate(int set, int by, int flags) {
    struct sembuf op = {0, by, flags};
    return semop(set, &op, 1);
}

static void leave(const char *where) { CHECK(chroot(where) == 0 && chdir("/") == 0 && access("/proc", F_OK) != 0); }

/* Runs a part in a child of its own. */
static void part(void (*run)(const char *), const char *where) {
    pid_t child = fork();
    if (child == 0) {
        run(where);
        if (failed) checked();
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
}

static void detach(const char *where) {
    int id = shmget(IPC_PRIVATE, 4 * 4096, 0600);
    char *first = shmat(id, 0, 0), *second = shmat(id, 0, 0);
    leave(where);
    CHECK(shmdt(first + 4096) == -1 && shmdt(first) == 0 && nattch(id) == 1);
    CHECK(munmap(second + 4096, 4096) == 0 && nattch(id) == 2);
    second[0] = second[8192] = 1;
    CHECK(shmdt(second) == 0 && nattch(id) == 0);
    FAILS(shmdt(second), EINVAL);
    CHECK(shmctl(id, IPC_RMID, 0) == 0);
}

static void use(void) {
    int set = semget(IPC_PRIVATE, 1, 0600), id = shmget(IPC_PRIVATE, 4096, 0600);
    struct message m = {1, "t"};
    char *at;
    CHECK(set >= 0 && operate(set, 1, SEM_UNDO) == 0 && operate(set, -1, IPC_NOWAIT) == 0);
    CHECK((at = shmat(id, 0, 0)) != (char *)-1 && nattch(id) == 1 && shmdt(at) == 0);
    int queue = msgget(IPC_PRIVATE, 0600);
    CHECK(msgsnd(queue, &m, 1, 0) == 0 && msgrcv(queue, &m, 1, 0, 0) == 1);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && shmctl(id, IPC_RMID, 0) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
}

static void first_use(const char *where) {
    leave(where);
    use();
}

static void first_use_by_another(const char *where) {
    leave(where);
    CHECK(setgroups(0, 0) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    use();
}

static void by_number(const char *where) {
    CHECK(syscall(SYS_chroot, where) == 0);
    use();
}

static void in_child(const char *where) {
    leave(where);
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 3; fd < 1024; fd++) close(fd);
        use();
        child = fork();
        if (child == 0) {
            use();
            _exit(failed != 0);
        }
        CHECK(status_of(child) == 0);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
}

/* Replaces every number below a limit by a copy of descriptor 0, and gives them up again. */
static void replace(int (*copy)(int to)) {
    for (int fd = 3; fd < 300; fd++) CHECK(copy(fd) == fd && fcntl(fd, F_GETFD) >= 0);
    for (int fd = 3; fd < 300; fd++) CHECK(close(fd) == 0);
    use();
}

static int by_dup2(int to) { return dup2(0, to); }
static int by_dup3(int to) { return dup3(0, to, O_CLOEXEC); }
static int by_syscall(int to) { return (int)syscall(SYS_dup3, 0, to, O_CLOEXEC); }

static void close_all(const char *where) {
    leave(where);
    for (int fd = 3; fd < 1024; fd++) close(fd);
    use();
    for (int fd = 3; fd < 1024; fd++) syscall(SYS_close, fd);
    use();
    /* Older kernels have no close_range. */
    if (syscall(SYS_close_range, 3u, ~0u, 0) == 0) {
        use();
        CHECK(syscall(SYS_close_range, 3u, ~0u, 4) == 0);
        use();
        CHECK(syscall(SYS_close_range, 3u, ~0u, 2) == 0);
    }
    use();
#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 34)
    closefrom(3);
    use();
#endif
#endif
    replace(by_dup2);
    replace(by_dup3);
    replace(by_syscall);
    /* What is closed is closed: the lowest free number is the one that a program expects. */
    CHECK(dup(0) == 3 && close(3) == 0);
    FAILS(close(3), EBADF);
}

int main(void) {
    char where[] = "/tmp/ring3-root-XXXXXX";
    setvbuf(stdout, 0, _IONBF, 0);
    if (geteuid() != 0) {
        printf("only root may change its root\n");
        return checked();
    }
    CHECK(mkdtemp(where) != 0 && chmod(where, 0755) == 0);
    part(detach, where);
    part(first_use, where);
    part(first_use_by_another, where);
    part(by_number, where);
    part(in_child, where);
    part(close_all, where);
    CHECK(rmdir(where) == 0);
    return checked();
}
