/* What the C programs here share: CHECK counts and says what failed; main ends with checked(). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int checks, failed;

#define CHECK(what)                                                                                   \
    do {                                                                                              \
        checks++;                                                                                     \
        if (!(what)) {                                                                                \
            failed++;                                                                                 \
            printf("%s:%d: %s (errno %d %s)\n", __FILE__, __LINE__, #what, errno, strerror(errno));  \
        }                                                                                             \
    } while (0)

/* The call fails with this errno. */
#define FAILS(call, why) \
    do {                 \
        errno = 0;       \
        CHECK((long)(call) == -1 && errno == (why)); \
    } while (0)

static inline int checked(void) {
    printf("%d checks, %d failed\n", checks, failed);
    return failed != 0;
}

struct message {
    long type;
    char text[3000];
};

/* Waits for a child and returns its status. */
static inline int status_of(pid_t child) {
    int status = -1;
    return waitpid(child, &status, 0) == child ? status : -2;
}

/* Sends SIGALRM once, so many microseconds from now. */
static inline void alarm_in(int us) {
    struct itimerval timer = {{0, 0}, {0, us}};
    setitimer(ITIMER_REAL, &timer, 0);
}

static inline void handle(int sig, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    CHECK(sigaction(sig, &action, 0) == 0);
}
