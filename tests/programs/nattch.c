/* nattch counts mappings: what every call that cuts, joins, moves or locks a segment's mappings makes of it, and which of them a forked child has.
   The numbers are the kernel's. */
#include "check.h"
#include <sys/resource.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define MOVES (MREMAP_MAYMOVE | MREMAP_FIXED)

enum { PAGE = 4096, PAGES = 8, ARENA = 96 };

static int segment;
/* Room of our own, with nothing of anybody's around the segment in its middle. */
static char *arena, *at, *aside;
static unsigned char seen[ARENA];

static int nattch(void) {
    struct shmid_ds state;
    return shmctl(segment, IPC_STAT, &state) ? -errno : (int)state.shm_nattch;
}

static void clear(void) {
    CHECK(mmap(arena, ARENA * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == arena);
}

static void begin(void) {
    segment = shmget(IPC_PRIVATE, PAGES * PAGE, 0600);
    clear();
    CHECK(shmat(segment, at, SHM_REMAP) == at && nattch() == 1);
}

static void end(void) {
    clear();
    CHECK(nattch() == 0 || nattch() == -EINVAL);
    shmctl(segment, IPC_RMID, 0);
}

/* The call succeeds, or fails with this errno; then there are so many mappings. */
#define STEP(call, why, count)                                                                                       \
    do {                                                                                                             \
        errno = 0;                                                                                                   \
        long got_ = (long)(call);                                                                                    \
        int why_ = got_ == -1 ? errno : 0, count_ = nattch();                                                        \
        checks++;                                                                                                    \
        if (why_ != (why) || count_ != (count)) {                                                                    \
            failed++;                                                                                                \
            printf("%s:%d: %s: errno %d, not %d; nattch %d, not %d\n", __FILE__, __LINE__, #call, why_, (why), count_, (count)); \
        }                                                                                                            \
    } while (0)
#define P(n) (at + (n) * PAGE)
#define ALL (PAGES * PAGE)
#define RW (PROT_READ | PROT_WRITE)

static void protection(void) {
    begin();
    STEP(mprotect(P(0), PAGE, PROT_NONE), 0, 2);
    STEP(mprotect(P(0), PAGE, RW), 0, 2);
    STEP(mprotect(P(2), PAGE, PROT_READ), 0, 4);
    STEP(mprotect(P(3), PAGE, PROT_READ), 0, 4);
    STEP(mprotect(P(2), PAGE, RW), 0, 4);
    STEP(mprotect(P(0), ALL, PROT_READ), 0, 4);
    STEP(mprotect(P(0), ALL, RW), 0, 4);
    STEP(shmdt(at), 0, 0);
    end();
    begin();
    STEP(mprotect(P(2), 2 * PAGE, PROT_READ), 0, 3);
    STEP(mprotect(P(1), PAGE, PROT_READ), 0, 3);
    STEP(mprotect(P(4), PAGE, PROT_READ), 0, 3);
    STEP(mprotect(P(2), PAGE, RW), 0, 5);
    STEP(mprotect(P(0), ALL, PROT_READ), 0, 5);
    STEP(syscall(SYS_mprotect, P(7), PAGE, RW), 0, 6);
    end();
    begin();
    STEP(mprotect(P(2), 20 * PAGE, PROT_READ), 0, 2);
    STEP(syscall(SYS_mprotect, P(3) + 1, PAGE, RW), EINVAL, 2);
    STEP(mprotect(P(3), 0, RW), 0, 2);
    STEP(munmap(P(5), PAGE), 0, 3);
    STEP(mprotect(P(3), 4 * PAGE, RW), ENOMEM, 4);
    STEP(mprotect(P(4), 3 * PAGE, RW), ENOMEM, 4);
    end();
    begin();
    shmdt(at);
    STEP(shmat(segment, at, SHM_RDONLY | SHM_REMAP), 0, 1);
    STEP(mprotect(P(1), PAGE, RW), EACCES, 1);
    STEP(mprotect(P(1), PAGE, PROT_NONE), 0, 3);
    STEP(mprotect(P(0), ALL, RW), EACCES, 3);
    STEP(mprotect(P(2), PAGE, PROT_READ | PROT_EXEC), 0, 4);
    end();
}

static void advice(void) {
    struct iovec ranges[2] = {{P(1), PAGE}, {P(4), PAGE}};
    begin();
    STEP(madvise(P(0), PAGE, MADV_DONTFORK), 0, 2);
    STEP(madvise(P(0), PAGE, MADV_DOFORK), 0, 2);
    STEP(madvise(P(1), PAGE, MADV_DONTDUMP), 0, 3);
    STEP(madvise(P(1), PAGE, MADV_DODUMP), 0, 3);
    STEP(madvise(P(3), PAGE, MADV_RANDOM), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_SEQUENTIAL), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_NORMAL), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_WILLNEED), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_DONTNEED), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_REMOVE), 0, 5);
    STEP(madvise(P(3), PAGE, MADV_FREE), EINVAL, 5);
    STEP(madvise(P(3), PAGE, MADV_WIPEONFORK), EINVAL, 5);
    STEP(madvise(P(7), PAGE, 12345), EINVAL, 5);
    STEP(madvise(P(7), 2 * PAGE, MADV_DONTFORK), 0, 6);
    munmap(P(5), PAGE);
    STEP(madvise(P(0), ALL, MADV_RANDOM), ENOMEM, 7);
    STEP(madvise(P(6), PAGE, MADV_NORMAL), 0, 7);
    end();
    begin();
    CHECK(posix_madvise(P(1), PAGE, POSIX_MADV_RANDOM) == 0 && nattch() == 3);
    CHECK(posix_madvise(P(1), PAGE, POSIX_MADV_NORMAL) == 0 && nattch() == 3);
    CHECK(posix_madvise(P(1) + 1, PAGE, POSIX_MADV_NORMAL) == EINVAL && posix_madvise(P(5), PAGE, POSIX_MADV_DONTNEED) == 0 && nattch() == 3);
    end();
    begin();
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    /* Older kernels give advice about oneself by another number only. */
    if (syscall(SYS_process_madvise, self, ranges, 2, MADV_DONTFORK, 0) == 2 * PAGE) {
        CHECK(nattch() == 5);
        STEP(syscall(SYS_process_madvise, self, ranges, 2, MADV_DONTFORK, 0), 0, 5);
        STEP(syscall(SYS_process_madvise, self, ranges, 2, MADV_COLD, 0), 0, 5);
    }
    close(self);
    end();
}

static void locks(void) {
    begin();
    STEP(mlock(P(1), PAGE), 0, 3);
    STEP(munlock(P(1), PAGE), 0, 3);
    STEP(mlock(P(2) + 100, 1), 0, 4);
    STEP(syscall(SYS_mlock2, P(4), PAGE, 1), 0, 6);
    STEP(mlock(P(4), PAGE), 0, 6);
    STEP(munlock(P(0), ALL), 0, 6);
    STEP(mlock(P(0), ALL), 0, 6);
    STEP(munlockall(), 0, 6);
    STEP(mlock(P(5), PAGE), 0, 7);
    munmap(P(6), PAGE);
    STEP(mlock(P(2), ALL), ENOMEM, 7);
    end();
    begin();
    CHECK(mlock(P(2), 2 * PAGE) == 0 && nattch() == 3);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        /* A child's memory is not locked, and stays cut. */
        STEP(munlock(P(1), 4 * PAGE), 0, 6);
        STEP(mlock(P(2), PAGE), 0, 7);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0 && nattch() == 3);
    end();
    begin();
    CHECK(mlockall(MCL_FUTURE) == 0);
    shmdt(at);
    STEP(shmat(segment, at, SHM_REMAP), 0, 1);
    STEP(mlock(P(1), PAGE), 0, 1);
    STEP(munlock(P(1), PAGE), 0, 3);
    CHECK(munlockall() == 0);
    end();
}

static void moves(void) {
    begin();
    STEP(mremap(P(0), ALL, 4 * PAGE, 0), 0, 1);
    STEP(mremap(P(0), 4 * PAGE, 16 * PAGE, MOVES, aside), 0, 1);
    end();
    begin();
    STEP(mremap(P(0), 0, ALL, MOVES, aside), 0, 2);
    STEP(munmap(aside, PAGE), 0, 2);
    STEP(shmdt(aside), 0, 1);
    STEP(shmdt(at), 0, 0);
    end();
    begin();
    STEP(mremap(P(2), 2 * PAGE, 2 * PAGE, MOVES | MREMAP_DONTUNMAP, aside), 0, 2);
    STEP(shmdt(at), 0, 1);
    STEP(munmap(aside, 2 * PAGE), 0, 0);
    end();
    begin();
    STEP(mremap(P(2), 2 * PAGE, 2 * PAGE, MOVES, aside), 0, 3);
    STEP(mremap(P(0), 2 * PAGE, 2 * PAGE, MOVES, aside + 2 * PAGE), 0, 3);
    STEP(shmdt(aside), EINVAL, 3);
    end();
    /* What comes back is joined to what it was cut from. */
    begin();
    STEP(mremap(P(2), 2 * PAGE, 2 * PAGE, MOVES, aside), 0, 3);
    STEP(mremap(aside, 2 * PAGE, 2 * PAGE, MOVES, P(2)), 0, 2);
    STEP(mremap(P(0), 2 * PAGE, 2 * PAGE, MOVES, aside), 0, 3);
    STEP(mremap(aside, 2 * PAGE, 2 * PAGE, MOVES, P(0)), 0, 2);
    end();
    /* Several mappings at once neither move nor grow. */
    begin();
    mprotect(P(2), PAGE, PROT_READ);
    STEP(mremap(P(0), ALL, ALL, MOVES, aside), EFAULT, 3);
    STEP(mremap(P(0), ALL, 4 * PAGE, MOVES, aside), EFAULT, 3);
    STEP(mremap(P(0), ALL, ALL + PAGE, MREMAP_MAYMOVE), EFAULT, 3);
    STEP(mremap(P(0), ALL, ALL, MREMAP_MAYMOVE), 0, 3);
    STEP(mremap(P(0), ALL, 0, MOVES, aside), EINVAL, 3);
    STEP(mremap(P(0), ALL, PAGE, 0), 0, 1);
    end();
    begin();
    shmctl(segment, IPC_RMID, 0);
    STEP(mremap(P(0), 0, PAGE, MOVES, aside), 0, 2);
    STEP(munmap(P(0), ALL), 0, 1);
    STEP(munmap(aside, PAGE), 0, -EINVAL);
    end();
}

static void remaps(void) {
    begin();
    for (int n = 0; n < PAGES; n++) *P(n) = (char)n;
    STEP(remap_file_pages(P(0), PAGE, 0, 4, 0), 0, 2);
    CHECK(*P(0) == 4);
    STEP(remap_file_pages(P(2), 2 * PAGE, 0, 2, 0), 0, 3);
    STEP(remap_file_pages(P(0), ALL, 0, 0, 0), 0, 1);
    CHECK(*P(0) == 0);
    STEP(remap_file_pages(P(0), 0, 0, 1, 0), EINVAL, 1);
    STEP(remap_file_pages(P(0), PAGE, PROT_READ, 1, 0), EINVAL, 1);
    STEP(syscall(SYS_remap_file_pages, P(1) + 100, PAGE, 0, 6, 0), 0, 3);
    STEP(shmdt(at), 0, 1);
    end();
    begin();
    mprotect(P(0), PAGE, PROT_READ);
    STEP(remap_file_pages(P(0), 2 * PAGE, 0, 0, 0), EINVAL, 2);
    end();
    begin();
    madvise(P(0), 2 * PAGE, MADV_DONTFORK);
    STEP(remap_file_pages(P(0), PAGE, 0, 4, 0), 0, 3);
    STEP(remap_file_pages(P(1), PAGE, 0, 1, 0), 0, 2);
    STEP(remap_file_pages(P(1), PAGE, 0, 1, 0), 0, 2);
    end();
    /* The last mapping of a removed segment takes it away before there is a new one. */
    begin();
    shmctl(segment, IPC_RMID, 0);
    STEP(remap_file_pages(P(0), 7 * PAGE, 0, 0, 0), 0, 1);
    STEP(remap_file_pages(P(0), 7 * PAGE, 0, 1, 0), 0, 2);
    STEP(remap_file_pages(P(0), ALL, 0, 0, 0), EINVAL, -EINVAL);
    FAILS(mincore(P(0), PAGE, seen), ENOMEM);
    end();
}

static void sealed(void) {
    begin();
    if (syscall(SYS_mseal, P(1), PAGE, 0)) {
        /* Before Linux 6.10. */
        end();
        return;
    }
    CHECK(nattch() == 3);
    STEP(mprotect(P(0), ALL, PROT_READ), EPERM, 3);
    STEP(mprotect(P(0), PAGE, PROT_READ), 0, 3);
    STEP(mprotect(P(1), PAGE, PROT_READ), EPERM, 3);
    STEP(madvise(P(0), ALL, MADV_DONTFORK), 0, 3);
    STEP(munmap(P(0), ALL), EPERM, 3);
    STEP(remap_file_pages(P(0), ALL, 0, 0, 0), EINVAL, 3);
    STEP(mremap(P(0), ALL, 4 * PAGE, 0), 0, 3);
    STEP(shmat(segment, at, SHM_REMAP), EPERM, 3);
    STEP(shmdt(at), 0, 1);
    STEP(shmctl(segment, IPC_RMID, 0), 0, 1);
}

static void policies(void) {
    unsigned long node = 1;
    begin();
    if (syscall(SYS_mbind, P(1), PAGE, 2, &node, 64, 0) == 0) {
        CHECK(nattch() == 3);
        STEP(syscall(SYS_mbind, P(1), PAGE, 0, 0, 0, 0), 0, 3);
        STEP(syscall(SYS_mbind, P(3), PAGE, 1, &node, 64, 0), 0, 5);
        STEP(syscall(SYS_mbind, P(4), PAGE, 1, &node, 64, 0), 0, 5);
    }
    end();
}

static void children(void) {
    int ready[2], go[2];
    char byte = 0;
    begin();
    CHECK(pipe(ready) == 0 && pipe(go) == 0 && madvise(P(2), 2 * PAGE, MADV_DONTFORK) == 0 && nattch() == 3);
    pid_t child = fork();
    if (child == 0) {
        failed = 0;
        CHECK(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        /* The parent is gone from the segment. */
        CHECK(nattch() == 2);
        FAILS(mincore(P(2), PAGE, seen), ENOMEM);
        STEP(mprotect(P(4), PAGE, PROT_READ), 0, 3);
        STEP(shmdt(at), 0, -EINVAL);
        _exit(failed != 0);
    }
    CHECK(read(ready[0], &byte, 1) == 1 && nattch() == 5);
    shmctl(segment, IPC_RMID, 0);
    STEP(shmdt(at), 0, 2);
    CHECK(write(go[1], &byte, 1) == 1 && status_of(child) == 0 && nattch() == -EINVAL);
    end();
    begin();
    CHECK(madvise(at, ALL, MADV_DONTFORK) == 0);
    child = fork();
    if (child == 0) {
        failed = 0;
        CHECK(nattch() == 1);
        STEP(shmdt(at), EINVAL, 1);
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0 && nattch() == 1);
    end();
    /* More mappings that stay behind than one message names. */
    segment = shmget(IPC_PRIVATE, PAGE, 0600);
    char *many[150];
    for (int n = 0; n < 150; n++) {
        many[n] = shmat(segment, 0, 0);
        CHECK(many[n] != (char *)-1 && (n == 0 || madvise(many[n], PAGE, MADV_DONTFORK) == 0));
    }
    child = fork();
    if (child == 0) _exit(nattch() != 151);
    CHECK(status_of(child) == 0 && nattch() == 150);
    for (int n = 0; n < 150; n++) CHECK(shmdt(many[n]) == 0);
    end();
}

/* An address that rounds to a page that is taken. */
static void places(void) {
    begin();
    STEP(shmat(segment, aside + 100, SHM_RND), EINVAL, 1);
    STEP(shmat(segment, P(4), 0), EINVAL, 1);
    STEP(shmat(segment, aside + 100, SHM_RND | SHM_REMAP), 0, 2);
    STEP(shmat(segment, aside + 4 * PAGE, SHM_REMAP), 0, 3);
    STEP(mprotect(aside, 12 * PAGE, PROT_READ), 0, 3);
    STEP(shmat(segment, P(4) + 1, SHM_RND | SHM_REMAP), 0, 4);
    munmap(aside, 20 * PAGE);
    STEP(shmat(segment, aside + 100, SHM_RND), 0, 3);
    end();
}

int main(void) {
    struct rlimit stack;
    setvbuf(stdout, 0, _IONBF, 0);
    /* Locks are tried as they are: with no limit in the way. */
    if (getrlimit(RLIMIT_MEMLOCK, &stack) == 0) {
        stack.rlim_cur = stack.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &stack);
    }
    arena = mmap(0, ARENA * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    at = arena + 16 * PAGE;
    aside = arena + 64 * PAGE;
    protection();
    advice();
    locks();
    moves();
    remaps();
    policies();
    children();
    places();
    sealed();
    return checked();
}
