/* Who executes another program lets its segments go then, and not when somebody finds out: what others let go afterwards comes after it. A forked child keeps the connection
   of its parent open, so no hang-up tells of the exec. */
#include "check.h"
#include <sched.h>
#include <sys/prctl.h>

static int sleeps(void *nothing) {
    (void)nothing;
    while (pause()) {
    }
    return 0;
}

/* Attaches, has a child, and executes this program again, which says so. */
static void executes(int segment, int ready, int shares) {
    static char stack[1 << 16];
    char number[12];
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    shmat(segment, 0, 0);
    if (shares)
        clone(sleeps, stack + sizeof stack, CLONE_SYSVSEM | SIGCHLD, 0);
    else if (fork() == 0)
        sleeps(0);
    if (write(ready, "a", 1) != 1)
        _exit(1);
    snprintf(number, sizeof number, "%d", ready);
    execl("/proc/self/exe", "exec_order", number, (char *)0);
    _exit(1);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        if (write(atoi(argv[1]), "x", 1) != 1)
            return 1;
        return sleeps(0);
    }
    for (int round = 0; round < 40; round++) {
        int ends[2], segment = shmget(IPC_PRIVATE, 4096, 0600);
        char byte;
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0)
            executes(segment, ends[1], round % 2);
        CHECK(read(ends[0], &byte, 1) == 1 && byte == 'a');
        void *at = shmat(segment, 0, 0);
        CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
        CHECK((round % 4 < 2 ? munmap(at, 4096) : shmdt(at)) == 0);
        struct shmid_ds state;
        CHECK(shmctl(segment, IPC_STAT, &state) == 0);
        CHECK(state.shm_lpid == getpid());
        /* What the child's child has inherited. */
        CHECK(state.shm_nattch == 1);
        kill(-child, SIGKILL);
        waitpid(child, 0, 0);
        CHECK(shmctl(segment, IPC_RMID, 0) == 0);
        close(ends[0]);
        close(ends[1]);
    }
    return checked();
}
