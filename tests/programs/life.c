/* fork, vfork, exec, posix_spawn, system, wait, setuid, closefrom: what a process starts is in the namespace too, whatever environment it
   gives, and a parent that has reaped a child finds its death settled. */
#include "check.h"

extern char **environ;
static int set, segment, pipes[2];
static char number[32], *self;

static int nattch(void) {
    struct shmid_ds state;
    return shmctl(segment, IPC_STAT, &state) ? -1 : (int)state.shm_nattch;
}

/* What this program does when it starts itself: is the segment there? */
static int see(const char *id) {
    struct shmid_ds state;
    if (shmctl(atoi(id), IPC_STAT, &state)) return 10;
    return state.shm_segsz == 5000 ? 0 : 11;
}

#define STARTS(way)                         \
    do {                                    \
        pid_t child = fork();               \
        if (child == 0) { way; _exit(99); } \
        CHECK(status_of(child) == 0);       \
        child = vfork();                    \
        if (child == 0) { way; _exit(99); } \
        CHECK(status_of(child) == 0);       \
    } while (0)

static void start(char **env) {
    char *args[] = {"life", "see", number, 0};
    pid_t child;
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    STARTS(execve(self, args, env));
    STARTS(execle(self, "life", "see", number, (char *)0, env));
    STARTS(execle(self, "life", "see", number, "1", "2", "3", "4", "5", "6", "7", (char *)0, env));
    STARTS(execvpe(self, args, env));
    STARTS(fexecve(fd, args, env));
    STARTS(syscall(SYS_execve, self, args, env));
    CHECK(posix_spawn(&child, self, 0, 0, args, env) == 0 && status_of(child) == 0);
    CHECK(posix_spawnp(&child, self, 0, 0, args, env) == 0 && status_of(child) == 0);
    close(fd);
}

static void starts(void) {
    char *none[] = {0}, *some[] = {"A=1", "LD_PRELOAD=", 0}, *args[] = {"life", "see", number, 0};
    start(environ);
    start(none);
    start(some);
    STARTS(execv(self, args));
    STARTS(execvp(self, args));
    STARTS(execl(self, "life", "see", number, (char *)0));
    STARTS(execlp(self, "life", "see", number, (char *)0));
    pid_t child = fork();
    if (child == 0) {
        char command[4200];
        snprintf(command, sizeof command, "%s see %s", self, number);
        clearenv();
        if (system(command)) _exit(50);
        clearenv();
        FILE *stream = popen(command, "r");
        _exit(stream && pclose(stream) == 0 ? 0 : 51);
    }
    CHECK(status_of(child) == 0);
    FAILS(execl("/nonexistent", "x", (char *)0), ENOENT);
}

/* What a child says of nattch. */
static int heard(void) {
    char byte = -1;
    CHECK(read(pipes[0], &byte, 1) == 1);
    return byte;
}

static void say(void) {
    char byte = nattch();
    CHECK(write(pipes[1], &byte, 1) == 1);
}

static void attachments(void) {
    char *at = shmat(segment, 0, 0);
    pid_t child;
    CHECK(at != (void *)-1 && nattch() == 1);
    if ((child = fork()) == 0) say(), pause();
    CHECK(heard() == 2 && nattch() == 2);
    kill(child, SIGKILL);
    status_of(child);
    CHECK(nattch() == 1);
    if ((child = fork()) == 0) _exit(0);
    status_of(child);
    CHECK(nattch() == 1);
    if ((child = fork()) == 0) {
        execl("/bin/cat", "cat", (char *)0);
        _exit(1);
    }
    for (int n = 0; n < 1000 && nattch() != 1; n++) usleep(1000);
    CHECK(nattch() == 1);
    kill(child, SIGKILL);
    status_of(child);
    if ((child = vfork()) == 0) {
        execl("/bin/true", "true", (char *)0);
        _exit(1);
    }
    CHECK(status_of(child) == 0 && nattch() == 1);
    if ((child = vfork()) == 0) _exit(3);
    CHECK(status_of(child) == 3 << 8 && nattch() == 1);
#ifdef SYS_fork
    if ((child = syscall(SYS_fork)) == 0) _exit(nattch());
    CHECK(status_of(child) == 2 << 8 && nattch() == 1);
#endif
    /* A child's child, of a child that made no call. */
    if ((child = fork()) == 0) {
        if (daemon(0, 0)) _exit(1);
        /* The child between may still be on its way out. */
        for (int n = 0; n < 1000 && nattch() == 3; n++) usleep(1000);
        say();
        _exit(0);
    }
    status_of(child);
    CHECK(heard() == 2);
    for (int n = 0; n < 1000 && nattch() != 1; n++) usleep(1000);
    FAILS(execl("/nonexistent", "x", (char *)0), ENOENT);
    CHECK(nattch() == 1 && shmdt(at) == 0 && nattch() == 0);
}

static void settled(void) {
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, SEM_UNDO};
    siginfo_t info;
    pid_t child;
    for (int n = 0; n < 200; n++) {
        if ((child = fork()) == 0) {
            semop(set, &up, 1);
            shmat(segment, 0, 0);
            if (n & 1) kill(getpid(), SIGKILL);
            _exit(0);
        }
        if (n & 2) status_of(child);
        else CHECK(waitid(P_PID, child, &info, WEXITED) == 0);
        CHECK(semctl(set, 0, GETVAL) == 0 && nattch() == 0);
    }
    /* Not inherited by fork, kept over exec. */
    semop(set, &up, 1);
    if ((child = fork()) == 0) _exit(0);
    status_of(child);
    CHECK(semctl(set, 0, GETVAL) == 1 && semop(set, &down, 1) == 0);
    if ((child = fork()) == 0) {
        semop(set, &up, 1);
        execl("/bin/sleep", "sleep", "0.3", (char *)0);
        _exit(1);
    }
    usleep(150000);
    CHECK(semctl(set, 0, GETVAL) == 1);
    status_of(child);
    CHECK(semctl(set, 0, GETVAL) == 0);
}

/* A child that has used the namespace, then closes every descriptor; `again` opens others in their place. */
static int closes(int again) {
    pid_t child = fork();
    if (child == 0) {
        semctl(set, 0, GETVAL);
        for (int fd = 3; fd < 1024; fd++) {
            close(fd);
            if (again) open("/dev/null", O_RDWR);
        }
        _exit(nattch() == 0 && semctl(set, 0, GETVAL) == 0 ? 0 : 9);
    }
    return status_of(child);
}

/* A child that has used a private set, then becomes another user. */
static int refused(int how) {
    int own = semget(IPC_PRIVATE, 1, 0600);
    pid_t child = fork();
    if (child == 0) {
        int before = semctl(own, 0, GETVAL), is;
        if (how == 0) is = setuid(65534);
        else if (how == 1) is = seteuid(65534);
        else is = syscall(SYS_setresuid, 65534, 65534, 65534);
        int after = semctl(own, 0, GETVAL) == -1 && errno == EACCES;
        int back = how != 1 || (seteuid(0) == 0 && semctl(own, 0, GETVAL) == 0);
        _exit(before == 0 && is == 0 && after && back ? 0 : 1);
    }
    int status = status_of(child);
    CHECK(semctl(own, 0, IPC_RMID) == 0);
    return status;
}

int main(int argc, char **argv) {
    if (argc > 2) return see(argv[2]);
    setvbuf(stdout, 0, _IONBF, 0);
    self = realpath("/proc/self/exe", 0);
    set = semget(IPC_PRIVATE, 1, 0600);
    segment = shmget(IPC_PRIVATE, 5000, 0600);
    CHECK(set >= 0 && segment >= 0 && pipe(pipes) == 0);
    snprintf(number, sizeof number, "%d", segment);
    starts();
    attachments();
    settled();
    CHECK(closes(0) == 0);
    CHECK(closes(1) == 0);
    for (int how = 0; how < 3 && geteuid() == 0; how++) CHECK(refused(how) == 0);
    CHECK(syscall(SYS_semctl, set, 0, GETVAL, 0) == 0);
    FAILS(syscall(SYS_shmdt, 4096), EINVAL);
    CHECK(syscall(SYS_getpid) == getpid());
    FAILS(syscall(SYS_close, -1), EBADF);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
