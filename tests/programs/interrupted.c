/* A signal in the middle of a process's first call, after every so many instructions of it: the handler calls too, and what it has begun is
   there when the interrupted call goes on, and after it. The process traces its child for that; nothing of the child calls libc before. */
#include "check.h"
#include <sys/ptrace.h>

#ifdef __x86_64__

enum { STEPS = 2600, EVERY = 31 };

static int segment = -1;
static void *volatile attached;

static void attach(int sig) {
    (void)sig;
    segment = shmget(IPC_PRIVATE, 4096, 0600);
    attached = shmat(segment, 0, 0);
}

static __attribute__((naked)) void restore(void) {
    __asm__("mov $15, %eax\n syscall");
}

static long kernel(long number, long a, long b, long c, long d) {
    register long fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
}

static int child(void) {
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        unsigned long mask;
    } action = {attach, 0x04000000, restore, 0};
    kernel(SYS_rt_sigaction, SIGUSR1, (long)&action, 0, 8);
    kernel(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
    kernel(SYS_kill, kernel(SYS_getpid, 0, 0, 0, 0), SIGSTOP, 0, 0);
    int set = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf up = {0, 1, SEM_UNDO};
    struct shmid_ds state = {.shm_nattch = 0};
    CHECK(set >= 0 && semop(set, &up, 1) == 0 && semctl(set, 0, GETVAL) == 1);
    /* On the kernel the first call has fewer instructions than are stepped: the signal is still to come. */
    while (!attached) kernel(SYS_sched_yield, 0, 0, 0, 0);
    CHECK(segment >= 0 && attached != (void *)-1);
    CHECK(shmctl(segment, IPC_STAT, &state) == 0 && state.shm_nattch == 1);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    return checked();
}

/* Lets a child go on to its next stop, or its end. */
static int next(int how, pid_t pid, int sig) {
    int status = -1;
    ptrace(how, pid, 0, sig);
    waitpid(pid, &status, 0);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 2) return child();
    for (int steps = 0; steps < STEPS; steps += EVERY) {
        int status = -1;
        pid_t pid = vfork();
        if (pid == 0) {
            execl(argv[0], argv[0], "child", (char *)0);
            _exit(98);
        }
        waitpid(pid, &status, WUNTRACED);
        for (int n = 0; n < steps && WIFSTOPPED(status); n++) status = next(PTRACE_SINGLESTEP, pid, 0);
        CHECK(WIFSTOPPED(status));
        for (int sig = SIGUSR1; WIFSTOPPED(status); sig = WSTOPSIG(status)) status = next(PTRACE_CONT, pid, sig);
        if (status) printf("after %d instructions: status %x\n", steps, status);
        CHECK(status == 0);
    }
    return checked();
}

#else

int main(void) {
    printf("left out: the dynamic linker gets the library ready on this machine\n");
    return 0;
}

#endif
