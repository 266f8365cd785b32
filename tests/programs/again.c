/* Segments that are attached again and again: counted, timed and refused as the first time, whatever else is done to them and their mappings meanwhile. */
#include "check.h"
#include <dirent.h>

enum { PAGE = 4096, PAGES = 4, LEN = PAGES * PAGE, TIMES = 8 };

static int segment;

static struct shmid_ds state(void) {
    struct shmid_ds now;
    memset(&now, 0, sizeof now);
    CHECK(shmctl(segment, IPC_STAT, &now) == 0);
    return now;
}

static void counts(long nattch, pid_t lpid) {
    struct shmid_ds now = state();
    CHECK((long)now.shm_nattch == nattch && now.shm_lpid == lpid);
}

static void begin(void) { CHECK((segment = shmget(IPC_PRIVATE, LEN, 0666)) >= 0); }

static void end(void) {
    struct shmid_ds now;
    CHECK(shmctl(segment, IPC_RMID, 0) == 0);
    FAILS(shmctl(segment, IPC_STAT, &now), EINVAL);
}

/* So often that no later attach is the first one. */
static void use(void) {
    for (int i = 0; i < TIMES; i++) {
        char *at = shmat(segment, 0, 0);
        CHECK(at != (char *)-1 && shmdt(at) == 0);
    }
}

static int writes_at(char *at) {
    int ends[2], wrote;
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    wrote = read(ends[0], at, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return wrote;
}

static void contents_and_counts(void) {
    begin();
    time_t start = time(0);
    for (int i = 0; i < 300; i++) {
        int *at = shmat(segment, 0, 0);
        CHECK(at != (int *)-1 && at[0] == i && at[LEN / 4 - 1] == -i);
        at[0] = i + 1;
        at[LEN / 4 - 1] = -i - 1;
        if (i % 7 == 0)
            counts(1, getpid());
        CHECK(shmdt(at) == 0);
        FAILS(shmdt(at), EINVAL);
    }
    counts(0, getpid());
    struct shmid_ds now = state();
    CHECK(now.shm_atime >= start - 1 && now.shm_dtime >= start - 1 && now.shm_dtime <= time(0));
    end();
}

static void several_at_once(void) {
    char *at[40];
    begin();
    use();
    for (int i = 0; i < 40; i++) {
        CHECK((at[i] = shmat(segment, 0, i % 3 ? 0 : SHM_RDONLY)) != (char *)-1);
        counts(i + 1, getpid());
        CHECK(writes_at(at[i]) == (i % 3 != 0));
    }
    for (int i = 0; i < 40; i += 2)
        CHECK(shmdt(at[i]) == 0);
    counts(20, getpid());
    for (int i = 1; i < 40; i += 2)
        CHECK(at[i][0] == 'x' && shmdt(at[i]) == 0);
    counts(0, getpid());
    end();
}

/* What nobody but the kernel has seen. */
static void mapped_behind_our_back(void) {
    begin();
    use();
    char *at = shmat(segment, 0, 0);
    CHECK(syscall(SYS_munmap, at, LEN) == 0);
    FAILS(shmdt(at), EINVAL);
    at = shmat(segment, 0, 0);
    CHECK(syscall(SYS_mmap, at, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)at);
    at[0] = 7;
    FAILS(shmdt(at), EINVAL);
    CHECK(at[0] == 7 && munmap(at, LEN) == 0);
    at = shmat(segment, 0, 0);
    CHECK(syscall(SYS_mmap, at + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)at + PAGE);
    at[PAGE] = 9;
    CHECK(shmdt(at) == 0 && at[PAGE] == 9);
    FAILS(shmdt(at), EINVAL);
    CHECK(munmap(at + PAGE, PAGE) == 0);
    end();
}

static void cut(void) {
    begin();
    use();
    char *at = shmat(segment, 0, 0);
    CHECK(mprotect(at + PAGE, PAGE, PROT_READ) == 0);
    counts(3, getpid());
    CHECK(shmdt(at) == 0);
    counts(0, getpid());
    at = shmat(segment, 0, 0);
    CHECK(munmap(at + 2 * PAGE, PAGE) == 0);
    counts(2, getpid());
    CHECK(shmdt(at) == 0);
    counts(0, getpid());
    use();
    counts(0, getpid());
    end();
}

static void forked(void) {
    begin();
    use();
    char *at = shmat(segment, 0, 0);
    pid_t child = fork();
    if (child == 0) {
        counts(2, getppid());
        CHECK(shmdt(at) == 0);
        counts(1, getpid());
        use();
        counts(1, getpid());
        at = shmat(segment, 0, 0);
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(shmdt(at) != 0 || failed != 0);
        CHECK(status_of(grandchild) == 0);
        counts(2, grandchild);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    counts(1, child);
    use();
    counts(1, getpid());
    CHECK(shmdt(at) == 0);
    end();
}

/* Two that take turns; then one is killed while it is at it. */
static void others(void) {
    int there[2], back[2];
    char byte = 0;
    begin();
    use();
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 60; i++) {
            if (read(there[0], &byte, 1) != 1)
                _exit(1);
            char *at = shmat(segment, 0, 0);
            if (at == (char *)-1 || (i % 2 && shmdt(at)) || write(back[1], &byte, 1) != 1)
                _exit(2);
        }
        for (;;)
            shmdt(shmat(segment, 0, 0));
    }
    for (int i = 0; i < 60; i++) {
        CHECK(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
        if (i % 5 == 0)
            counts((i + 2) / 2, child);
        char *at = shmat(segment, 0, 0);
        if (i % 5 == 0)
            counts((i + 2) / 2 + 1, getpid());
        CHECK(shmdt(at) == 0);
    }
    use();
    kill(child, SIGKILL);
    CHECK(status_of(child) == SIGKILL);
    counts(0, child);
    use();
    counts(0, getpid());
    end();
}

static void removed(void) {
    struct shmid_ds now;
    begin();
    use();
    char *at = shmat(segment, 0, 0);
    pid_t child = fork();
    if (child == 0)
        _exit(shmctl(segment, IPC_RMID, 0) != 0);
    CHECK(status_of(child) == 0);
    CHECK(state().shm_perm.mode & SHM_DEST);
    /* It goes with its last attachment. */
    char *more = shmat(segment, 0, 0);
    CHECK(more != (char *)-1 && shmdt(at) == 0);
    counts(1, getpid());
    CHECK(shmdt(more) == 0);
    FAILS(shmctl(segment, IPC_STAT, &now), EINVAL);
    FAILS(shmat(segment, 0, 0), EINVAL);
    /* Removed by one while another is at it. */
    for (int round = 0; round < 20; round++) {
        begin();
        use();
        child = fork();
        if (child == 0) {
            while ((at = shmat(segment, 0, 0)) != (char *)-1)
                shmdt(at);
            _exit(errno != EINVAL && errno != EIDRM);
        }
        usleep(round * 300);
        CHECK(shmctl(segment, IPC_RMID, 0) == 0);
        CHECK(status_of(child) == 0);
        FAILS(shmctl(segment, IPC_STAT, &now), EINVAL);
    }
}

/* A right that is taken away counts from then on. */
static void rights(void) {
    if (geteuid())
        return;
    int there[2], back[2];
    char byte = 0;
    begin();
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(setresuid(65534, 65534, 65534) == 0);
        use();
        CHECK(write(back[1], &byte, 1) == 1 && read(there[0], &byte, 1) == 1);
        FAILS(shmat(segment, 0, 0), EACCES);
        CHECK(shmdt(shmat(segment, 0, SHM_RDONLY)) == 0);
        _exit(failed != 0);
    }
    CHECK(read(back[0], &byte, 1) == 1);
    struct shmid_ds now = state();
    now.shm_perm.mode = 0644;
    CHECK(shmctl(segment, IPC_SET, &now) == 0);
    CHECK(write(there[1], &byte, 1) == 1);
    CHECK(status_of(child) == 0);
    /* So do rights that the process itself gives up. */
    now.shm_perm.mode = 0600;
    CHECK(shmctl(segment, IPC_SET, &now) == 0);
    child = fork();
    if (child == 0) {
        use();
        CHECK(setresuid(65534, 65534, 65534) == 0);
        FAILS(shmat(segment, 0, 0), EACCES);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    end();
}

static void *attaches(void *arg) {
    for (int i = 0; i < 500; i++) {
        char *at = shmat(segment, 0, 0);
        if (at == (char *)-1 || shmdt(at))
            return (void *)1;
    }
    return arg;
}

static void threads(void) {
    pthread_t all[4];
    void *result;
    begin();
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&all[i], 0, attaches, 0) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(all[i], &result) == 0 && result == 0);
    counts(0, getpid());
    end();
}

/* A program that closes whatever descriptors there are. */
static void closed(void) {
    begin();
    use();
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    use();
    for (int fd = 40; fd < 60; fd++)
        CHECK(dup2(1, fd) == fd);
    use();
    for (int fd = 40; fd < 60; fd++)
        CHECK(close(fd) == 0);
    CHECK(syscall(SYS_close_range, 3, ~0u, 0) == 0);
    use();
#ifdef __GLIBC__
    close_range(3, ~0u, 0);
    use();
#endif
    counts(0, getpid());
    pid_t child = fork();
    if (child == 0) {
        use();
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    end();
}

static void descriptor_flags(void) {
    /* What a forked child has inherited of ours is gone in another program. */
    begin();
    use();
    pid_t child = fork();
    if (child == 0) {
        use();
        execl("/bin/sh", "sh", "-c", "for fd in /proc/self/fd/*; do case $(readlink $fd) in */maps) exit 1;; esac; done; exit 0", (char *)0);
        _exit(9);
    }
    CHECK(status_of(child) == 0);
    end();
}

int main(void) {
    contents_and_counts();
    several_at_once();
    mapped_behind_our_back();
    cut();
    forked();
    others();
    removed();
    rights();
    threads();
    closed();
    descriptor_flags();
    return checked();
}
