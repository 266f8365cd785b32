/* Somebody who may alter an object writes nonsense over its memory while others sleep on it: IPC_RMID removes it all the same and wakes them
   all. On the kernel, which has no such memory, nobody writes anything. */
#include "check.h"

#ifdef SYS_pause
#define PAUSE SYS_pause
#else
#define PAUSE SYS_ppoll
#endif

enum { SLEEPERS = 3, ROUNDS = 12 };

static int set, queue;

/* Sleeps on the queue or the set, until it is removed. */
static void sleeper(int n) {
    struct message m;
    struct sembuf op = {n, -1, 0};
    alarm(20);
    if (n % 2) errno = semop(set, &op, 1) == -1 ? errno : 0;
    else errno = msgrcv(queue, &m, sizeof m.text, 5, 0) == -1 ? errno : 0;
    _exit(errno == EIDRM || errno == EINVAL ? 0 : 1);
}

/* Whether a process sleeps in a call that a sleeper sleeps in. */
static int asleep(pid_t pid) {
    char path[64], text[64] = "";
    sprintf(path, "/proc/%d/syscall", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0) {
        printf("%s: %s\n", path, strerror(errno));
        exit(77);
    }
    close(fd);
    long call = strtol(text, 0, 10);
    return text[0] != 'r' && (call == SYS_futex || call == SYS_msgrcv || call == SYS_semop || call == SYS_semtimedop);
}

/* Writes over what the objects' memory is, as far as this process may write it. */
static void scribble(int round) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long from, to;
    while (maps && fgets(line, sizeof line, maps)) {
        int of_queue = strstr(line, "ring3-msg") != 0, of_set = strstr(line, "ring3-sem") != 0;
        if (!strstr(line, "rw-s") || !(of_queue | of_set) || sscanf(line, "%lx-%lx", &from, &to) != 2) continue;
        unsigned *words = (unsigned *)from;
        unsigned long count = (to - from) / sizeof *words;
        for (unsigned long at = 0; at < count; at++) {
            /* Patterns: nothing at all; all ones; this process as the lock's holder and everybody's; small numbers; only the tables' lengths; nonsense. */
            switch (round % 6) {
            case 0: words[at] = 0; break;
            case 1: words[at] = ~0u; break;
            case 2: words[at] = getpid(); break;
            case 3: words[at] = at % 7; break;
            case 4: if (at >= 17 && at < 40) words[at] = 0; break;
            case 5: words[at] = 2654435761u * (at + round); break;
            }
        }
    }
    if (maps) fclose(maps);
}

static void round_of(int round) {
    struct message m = {1, "text"};
    struct sembuf up = {0, 1, 0};
    pid_t sleepers[SLEEPERS];
    queue = msgget(IPC_PRIVATE, 0666);
    set = semget(IPC_PRIVATE, SLEEPERS + 1, 0666);
    CHECK(queue >= 0 && set >= 0);
    for (int n = 0; n < SLEEPERS; n++)
        if (!(sleepers[n] = fork())) sleeper(n + 1);
    for (int n = 0; n < SLEEPERS; n++)
        while (!asleep(sleepers[n])) usleep(1000);
    pid_t hostile = fork();
    if (!hostile) {
        if (msgsnd(queue, &m, 4, IPC_NOWAIT) || semop(set, &up, 1)) _exit(1);
        scribble(round);
        for (;;) pause();
    }
    /* It has written when it pauses. */
    char path[64], text[64];
    sprintf(path, "/proc/%d/syscall", hostile);
    for (long call = -1; call != PAUSE;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        if (got <= 0) break;
        text[got] = 0;
        call = text[0] == 'r' ? -1 : strtol(text, 0, 10);
    }
    CHECK(msgctl(queue, IPC_RMID, 0) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    for (int n = 0; n < SLEEPERS; n++) {
        int status = status_of(sleepers[n]);
        CHECK(status == 0);
        if (status) printf("round %d, sleeper %d: %x\n", round, n, status);
    }
    kill(hostile, SIGKILL);
    status_of(hostile);
}

int main(void) {
    for (int round = 0; round < ROUNDS; round++) round_of(round);
    return checked();
}
