/* Programs started with arguments and environments that lead nowhere: the kernel's answer, and the caller goes on. execve(2). */
#include "check.h"
#include <sys/resource.h>

static char *page; /* the last one that is there; behind it is nothing */
static char **at_the_end; /* two pointers at its end */

static char *const echo[] = {"/bin/sh", "-c", "exit 7", 0};

/* glibc's posix_spawn counts the arguments before it asks the kernel. */
#ifdef __GLIBC__
static const int counts_by_itself = 1;
#else
static const int counts_by_itself = 0;
#endif

enum way { EXECVE, EXECV, EXECVPE, FEXECVE, EXECVEAT, SPAWN, SPAWNP, BY_NUMBER, VFORKED, WAYS };

/* What starting a program with them gives: an errno, or minus the status that it ended with. */
static int start(enum way way, const char *path, char *const *argv, char *const *envp) {
    pid_t child = 0;
    if (way == SPAWN || way == SPAWNP) {
        int why = (way == SPAWN ? posix_spawn : posix_spawnp)(&child, path, 0, 0, argv, envp);
        if (why) return why;
    } else {
        int volatile *said = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        child = way == VFORKED ? vfork() : fork();
        if (child == 0) {
            int fd = way == FEXECVE ? open(path, O_RDONLY | O_CLOEXEC) : -1;
            errno = 0;
            switch (way) {
            case EXECV: execv(path, argv); break;
            case EXECVPE: execvpe(path, argv, envp); break;
            case FEXECVE: fexecve(fd, argv, envp); break;
            case EXECVEAT: syscall(SYS_execveat, AT_FDCWD, path, argv, envp, 0); break;
            case BY_NUMBER: syscall(SYS_execve, path, argv, envp); break;
            default: execve(path, argv, envp); break;
            }
            *said = errno;
            _exit(99);
        }
        int status = status_of(child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 99) return *said;
        return WIFEXITED(status) ? -WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
    int status = status_of(child);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The string at the end of the page, without its NUL: it runs into nothing. */
static char *unended(const char *text) {
    static char *memory;
    memory = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + 4096, 4096, PROT_NONE);
    return memcpy(memory + 4096 - strlen(text), text, strlen(text));
}

static void all(void) {
    char *nowhere = (char *)16, *unmapped = page + 4096;
    char *bad[] = {nowhere, 0}, *bad_later[] = {"A=1", "LANG=C", unmapped, 0}, *huge[] = {(char *)~0UL, 0};
    char *preload[] = {unended("LD_PRELOAD=/nowhere/libnothing.so:/a/b"), 0}, *prefix[] = {unended("LD_PRE"), 0};
    char *socket[] = {unended("RING3_SOCKET=/x"), 0}, *one[] = {unended("R"), 0};
    at_the_end[0] = "A=1", at_the_end[1] = "B=2";
    char *const *none[] = {(char **)8, (char **)unmapped, (char **)(~0UL - 7), (char **)1, at_the_end};
    char *const *envs[] = {bad, bad_later, huge, preload, prefix, socket, one};
    for (enum way way = 0; way < WAYS; way++) {
        for (size_t n = 0; n < sizeof none / sizeof *none; n++) {
            if (way != EXECV) CHECK(start(way, "/bin/sh", echo, none[n]) == EFAULT);
            if (!(counts_by_itself && (way == SPAWN || way == SPAWNP)))
                CHECK(start(way, "/bin/sh", none[n], environ) == EFAULT);
        }
        for (size_t n = 0; n < sizeof envs / sizeof *envs && way != EXECV; n++)
            CHECK(start(way, "/bin/sh", echo, envs[n]) == EFAULT);
        CHECK(start(way, "/bin/sh", bad_later, environ) == EFAULT);
        CHECK(start(way, "/bin/sh", echo, environ) == -7);
        /* The path is looked at first. */
        if (way != FEXECVE) CHECK(start(way, "/nowhere/at/all", bad, bad) == ENOENT);
        if (way != EXECVPE && way != SPAWNP && way != FEXECVE) CHECK(start(way, nowhere, echo, environ) == EFAULT);
    }
    /* None at all is an empty one. */
    CHECK(start(EXECVE, "/bin/sh", echo, 0) == -7);
    CHECK(start(VFORKED, "/bin/sh", echo, 0) == -7);
    CHECK(start(SPAWN, "/bin/sh", echo, 0) == -7);
    CHECK(start(EXECVEAT, "/bin/sh", echo, 0) == -7);
}

/* Too many, and too long a one. */
static void large(void) {
    size_t count = 4 << 20;
    char **many = malloc((count + 1) * sizeof *many);
    for (size_t n = 0; n < count; n++) many[n] = "";
    many[count] = 0;
    CHECK(start(EXECVE, "/bin/sh", echo, many) == E2BIG);
    CHECK(start(VFORKED, "/bin/sh", echo, many) == E2BIG);
    CHECK(start(SPAWN, "/bin/sh", echo, many) == E2BIG);
    /* Before that all pointers are counted. */
    CHECK(start(EXECVE, "/bin/sh", (char **)8, many) == EFAULT);
    char *longest = malloc((128 << 10) + 1), *with[] = {longest, 0};
    memset(longest, ':', 128 << 10);
    memcpy(longest, "LD_PRELOAD=", 11);
    longest[128 << 10] = 0;
    CHECK(start(EXECVE, "/bin/sh", echo, with) == E2BIG);
    free(longest);
    free(many);
}

static char **volatile changing;
static volatile int over;

/* Fills the last entry with strings of all kinds and lengths, and takes it away. */
static void *change(void *unused) {
    static char *const kinds[] = {"A=1", "LD_PRELOAD=/a:/b/c/d/e/f:/g", "LD_PRELOAD=", "RING3_SOCKET=", "L", ""};
    for (unsigned n = 0; !over; n++) {
        changing[0] = kinds[n % 6];
        changing[1] = n % 7 ? kinds[n / 6 % 6] : 0;
        changing[2] = n % 5 ? 0 : kinds[n % 4];
    }
    return unused;
}

/* An environment that another thread changes gives one thing or another. */
static void changed(void) {
    char *env[] = {0, 0, 0, 0};
    pthread_t other;
    changing = env;
    CHECK(pthread_create(&other, 0, change, 0) == 0);
    for (int n = 0; n < 200; n++) {
        pid_t child;
        CHECK(posix_spawn(&child, "/nowhere", 0, 0, echo, env) == ENOENT);
        if (n % 50 == 0) CHECK(start(VFORKED, "/nowhere", echo, env) == ENOENT);
    }
    over = 1;
    pthread_join(other, 0);
}

int main(void) {
    page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(page + 4096, 4096, PROT_NONE) == 0);
    at_the_end = (char **)(page + 4096) - 2;
    all();
    large();
    changed();
    /* Again where the library is at work. */
    int id = semget(IPC_PRIVATE, 1, 0600);
    CHECK(id >= 0);
    all();
    large();
    CHECK(semctl(id, 0, IPC_RMID) == 0);
    return checked();
}
