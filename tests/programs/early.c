/* What a program sees of a call that is still on its way to sleep: a signal that comes while the call waits for somebody else than its
   object ends it with EINTR where it would sleep; and a process in state S sleeps on its object, so that it is counted and removed there. */
#include "check.h"

enum { ROUNDS = 60 };

static void nothing(int sig) {
    (void)sig;
}

/* The state letter of a process. */
static char state(pid_t pid) {
    char path[40], text[300];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) return '?';
    text[len] = 0;
    char *end = strrchr(text, ')');
    return end ? end[2] : '?';
}

static void until_asleep(pid_t pid) {
    for (int n = 0; n < 5000000 && state(pid) != 'S'; n++) sched_yield();
}

/* The namespace's broker: a sibling of this process; 0 on the kernel. */
static pid_t broker(void) {
    char path[60], list[300] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", getppid(), getppid());
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, list, sizeof list - 1) < 0) return 0;
    close(fd);
    for (char *word = strtok(list, " "); word; word = strtok(0, " ")) {
        char name[64] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", word);
        if ((fd = open(path, O_RDONLY)) < 0) continue;
        if (read(fd, name, sizeof name - 1) > 0 && !strncmp(name, "ring3 broker", 12)) {
            close(fd);
            return atoi(word);
        }
        close(fd);
    }
    return 0;
}

static int queue, full, set, *go;

static long receive(void) {
    struct message m;
    return msgrcv(queue, &m, sizeof m.text, 0, 0);
}

static long send(void) {
    struct message m = {1, ""};
    return msgsnd(full, &m, 100, 0);
}

static long operate(void) {
    struct sembuf down = {0, -1, 0};
    return semop(set, &down, 1);
}

static long operate_undo(void) {
    struct sembuf both[2] = {{0, -1, SEM_UNDO}, {1, 0, 0}};
    return semop(set, both, 2);
}

/* The child's first call of all, with the broker stopped: the signal comes while the call still asks it. */
static void signalled_early(long (*call)(void), pid_t asked) {
    *(volatile int *)go = 0;
    pid_t child = fork();
    if (child == 0) {
        handle(SIGUSR1, nothing, SA_RESTART);
        *(volatile int *)go = 1;
        errno = 0;
        _exit(call() == -1 ? errno : 0);
    }
    if (asked) kill(asked, SIGSTOP);
    while (!*(volatile int *)go) sched_yield();
    until_asleep(child);
    kill(child, SIGUSR1);
    /* The kernel has given the signal to the child by now. */
    usleep(1000);
    if (asked) kill(asked, SIGCONT);
    int status = -1, n = 0;
    while (waitpid(child, &status, WNOHANG) == 0 && n++ < 5000) usleep(1000);
    CHECK(n < 5000);
    if (n >= 5000) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EINTR);
}

/* A child that is in state S is counted, and ends by the removal. */
static void asleep_is_asleep(void) {
    int own = semget(IPC_PRIVATE, 1, 0600);
    *(volatile int *)go = 0;
    pid_t child = fork();
    if (child == 0) {
        struct sembuf down = {0, -1, 0};
        *(volatile int *)go = 1;
        _exit(semop(own, &down, 1) == -1 ? errno : 0);
    }
    while (!*(volatile int *)go) sched_yield();
    until_asleep(child);
    CHECK(semctl(own, 0, GETNCNT) == 1);
    CHECK(semctl(own, 0, IPC_RMID) == 0);
    int status = status_of(child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EIDRM);
}

int main(void) {
    struct msqid_ds settings;
    struct message m = {1, ""};
    go = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    queue = msgget(IPC_PRIVATE, 0600);
    full = msgget(IPC_PRIVATE, 0600);
    set = semget(IPC_PRIVATE, 2, 0600);
    CHECK(queue >= 0 && full >= 0 && set >= 0);
    CHECK(msgctl(full, IPC_STAT, &settings) == 0);
    settings.msg_qbytes = 200;
    CHECK(msgctl(full, IPC_SET, &settings) == 0 && msgsnd(full, &m, 150, 0) == 0);
    pid_t asked = broker();
    long (*calls[])(void) = {receive, send, operate, operate_undo};
    for (int n = 0; n < 4; n++) signalled_early(calls[n], asked);
    for (int n = 0; n < ROUNDS; n++) asleep_is_asleep();
    CHECK(msgctl(queue, IPC_RMID, 0) == 0 && msgctl(full, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0);
    return checked();
}
