/* A call that sleeps leaves its queue before anybody can know of its process's end: what is posted or sent afterwards is not spent on the dead, and
   what the dead wanted to send does not come. exit(2); kernel: do_semtimedop(), do_msgrcv(), do_msgsnd(), in which a killed sleeper takes itself out. */
#include "check.h"
#include <sched.h>

enum { ROUNDS = 60, FEW = 8, SMALL = 100, LARGE = 2500 };
static int set, queue, line[2], go[2], size = SMALL;
static char *self;
static struct message out = {7, ""}, in;

/* What a process sleeps in, and how it ends. */
enum call { TAKE, TAKE_UNDO, ZERO, RECEIVE, SEND, CALLS };
static enum call call;

static int operate(int num, int add, int flags) {
    struct sembuf op = {(unsigned short)num, (short)add, (short)flags};
    return semop(set, &op, 1);
}

static int sleep_in_call(void) {
    if (call == TAKE) return operate(0, -1, 0);
    if (call == TAKE_UNDO) return operate(0, -1, SEM_UNDO);
    if (call == ZERO) return operate(1, 0, 0);
    if (call == RECEIVE) return (int)msgrcv(queue, &in, sizeof in.text, 7, 0);
    return msgsnd(queue, &out, size, 0);
}

/* The calling thread's number, told to the parent, which waits until the thread sleeps. */
static void tell(void) {
    pid_t me = (pid_t)syscall(SYS_gettid);
    if (write(line[1], &me, sizeof me) != sizeof me) _exit(50);
}

static void *sleeper(void *unused) {
    tell();
    sleep_in_call();
    _exit(51);
    return unused;
}

/* Waits for the parent's word. */
static void await_go(void) {
    char byte;
    close(go[1]);
    if (read(go[0], &byte, 1) != 1) _exit(52);
}

static pthread_t in_thread(void *(*run)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, 0, run, 0)) _exit(53);
    return thread;
}

static void alone(void) {
    sleeper(0);
}

static void beside_a_thread(void) {
    in_thread(sleeper);
    for (;;) pause();
}

static void *exit_at_word(void *unused) {
    await_go();
    _exit(0);
    return unused;
}

static void first_sleeps_other_exits(void) {
    in_thread(exit_at_word);
    sleeper(0);
}

static void other_sleeps_first_exits(void) {
    in_thread(sleeper);
    exit_at_word(0);
}

static void *exec_at_word(void *unused) {
    char *args[] = {self, "idle", 0};
    await_go();
    execv(self, args);
    _exit(54);
    return unused;
}

static void first_sleeps_other_executes(void) {
    in_thread(exec_at_word);
    sleeper(0);
}

static void other_sleeps_first_executes(void) {
    in_thread(sleeper);
    exec_at_word(0);
}

/* Several threads asleep at once, all of which go. */
static void many_threads(void) {
    for (int n = 0; n < 3; n++) in_thread(sleeper);
    sleeper(0);
}

/* Calls that ended before: by a handler that returns, by one that jumps away. */
static sigjmp_buf back;

static void nothing(int sig) {
    (void)sig;
}

static void jump(int sig) {
    siglongjmp(back, sig);
}

/* The third word of the thread's list: what its libc was about to lock or to unlock. */
static void *pending(void) {
    void **head = 0;
    size_t len = 0;
    return syscall(SYS_get_robust_list, 0, &head, &len) == 0 && head ? head[2] : 0;
}

static void interrupt_calls(void) {
    handle(SIGALRM, nothing, 0);
    alarm_in(2000);
    if (sleep_in_call() != -1 || errno != EINTR || pending()) _exit(55);
    handle(SIGALRM, jump, 0);
    if (sigsetjmp(back, 1) == 0) {
        alarm_in(2000);
        sleep_in_call();
        _exit(56);
    }
    if (pending()) _exit(57);
}

static void after_interruptions(void) {
    interrupt_calls();
    sleeper(0);
}

/* A call inside a handler that has interrupted another one. */
static void sleep_again(int sig) {
    (void)sig;
    sleeper(0);
}

static void in_a_handler(void) {
    handle(SIGALRM, sleep_again, 0);
    alarm_in(2000);
    sleep_in_call();
    _exit(58);
}

/* A forked child of a process that has slept. */
static pid_t forked(void) {
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    return child;
}

static void child_of_a_sleeper(void) {
    interrupt_calls();
    pid_t child = forked();
    if (child == 0) sleeper(0);
    close(line[1]);
    await_go();
    kill(child, SIGKILL);
    _exit(status_of(child) != SIGKILL);
}

/* Robust mutexes of the program's own stand in the same list of the kernel's. */
static pthread_mutex_t *mutex;

static void with_a_mutex(void) {
    pthread_mutex_lock(mutex);
    sleeper(0);
}

static void make_mutex(void) {
    pthread_mutexattr_t how;
    mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    CHECK(mutex != MAP_FAILED && pthread_mutex_init(mutex, &how) == 0);
}

static void renew_mutex(void) {
    CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
    pthread_mutex_consistent(mutex);
    pthread_mutex_unlock(mutex);
}

/* Kills a process. Signals to anything that is no single other process would go far astray. */
static void end(pid_t process) {
    if (process <= 1 || process == getpid() || kill(process, SIGKILL)) {
        perror("nobody to kill");
        exit(1);
    }
}

static char state_of(pid_t process, pid_t thread) {
    char path[60], text[400] = {0}, *name;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", process, thread);
    int file = open(path, O_RDONLY);
    ssize_t len = read(file, text, sizeof text - 1);
    close(file);
    return len > 0 && (name = strrchr(text, ')')) ? name[2] : '?';
}

static int waiting(void) {
    return semctl(set, call == ZERO ? 1 : 0, call == ZERO ? GETZCNT : GETNCNT);
}

/* How many messages the queue has. */
static int queued(void) {
    struct msqid_ds state;
    return msgctl(queue, IPC_STAT, &state) ? -1 : (int)state.msg_qnum;
}

static int in_namespace;

static void await_sleepers(pid_t child, int count) {
    pid_t thread;
    for (int n = 0; n < count; n++) {
        CHECK(read(line[0], &thread, sizeof thread) == sizeof thread);
        /* A thread's number in another namespace says nothing here. */
        if (call >= RECEIVE && !in_namespace && child)
            while (state_of(child, thread) != 'S') continue;
        else if (call >= RECEIVE)
            usleep(3000);
    }
    if (call < RECEIVE)
        while (waiting() < count) continue;
}

/* What holds once the sleepers are gone. */
static void nobody_gets_it(int round) {
    union { int value; } zero = {0};
    if (call < RECEIVE && (round & 1)) CHECK(waiting() == 0);
    if (call == TAKE || call == TAKE_UNDO) {
        CHECK(operate(0, 1, 0) == 0);
        CHECK(operate(0, -1, IPC_NOWAIT) == 0);
    }
    if (call == ZERO) {
        CHECK(operate(1, -1, 0) == 0 && operate(1, 1, 0) == 0);
        CHECK(semctl(set, 1, GETZCNT) == 0 && semctl(set, 1, GETPID) == getpid());
    }
    if (call == RECEIVE) {
        CHECK(msgsnd(queue, &out, size, 0) == 0 && queued() == 1);
        CHECK(msgrcv(queue, &in, sizeof in.text, 0, IPC_NOWAIT) == size);
    }
    if (call == SEND) {
        CHECK(msgrcv(queue, &in, sizeof in.text, 0, IPC_NOWAIT) == size);
        FAILS(msgrcv(queue, &in, sizeof in.text, 0, IPC_NOWAIT), ENOMSG);
        CHECK(queued() == 0);
    }
    CHECK(semctl(set, 0, GETVAL) == 0 && (call >= RECEIVE || waiting() == 0));
    CHECK(semctl(set, 0, SETVAL, zero) == 0);
}

/* Makes the call sleep. */
static void prepare(void) {
    struct msqid_ds state;
    CHECK(msgctl(queue, IPC_STAT, &state) == 0);
    state.msg_qbytes = call == SEND ? size : 8192;
    CHECK(msgctl(queue, IPC_SET, &state) == 0);
    if (call == SEND) CHECK(msgsnd(queue, &out, size, IPC_NOWAIT) == 0);
}

/* How a run ends: killed, or at the parent's word. */
enum ending { KILLED, AT_WORD, BY_EXEC };

static void play(void (*run)(void), int sleepers, enum ending ending, int rounds) {
    for (int n = 0; n < rounds && !failed; n++) {
        char byte = 'x';
        prepare();
        CHECK(pipe2(line, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
        pid_t child = forked();
        if (child == 0) {
            close(line[0]);
            run();
            _exit(59);
        }
        close(line[1]);
        close(go[0]);
        await_sleepers(run == child_of_a_sleeper ? 0 : child, sleepers);
        if (ending == KILLED) end(child);
        else CHECK(write(go[1], &byte, 1) == 1);
        CHECK(read(line[0], &byte, 1) == 0);
        nobody_gets_it(n);
        if (ending == BY_EXEC) end(child);
        int status = status_of(child);
        CHECK(status == (ending == AT_WORD ? 0 : SIGKILL));
        close(line[0]);
        close(go[1]);
        if (run == with_a_mutex) renew_mutex();
    }
    if (failed) {
        printf("call %d, %d bytes\n", call, size);
        exit(checked());
    }
}

static void each_end(enum call first, int rounds) {
    for (call = first; call < CALLS; call++) {
        play(alone, 1, KILLED, rounds);
        play(beside_a_thread, 1, KILLED, FEW);
        play(first_sleeps_other_exits, 1, AT_WORD, FEW);
        play(other_sleeps_first_exits, 1, AT_WORD, FEW);
        play(first_sleeps_other_executes, 1, BY_EXEC, FEW);
        play(other_sleeps_first_executes, 1, BY_EXEC, FEW);
        play(many_threads, 4, KILLED, FEW);
        play(after_interruptions, 1, KILLED, FEW);
        play(in_a_handler, 1, KILLED, FEW);
        play(child_of_a_sleeper, 1, AT_WORD, FEW);
        play(with_a_mutex, 1, KILLED, FEW);
    }
}

/* A living sleeper behind a dead one gets what comes. */
static void the_next_one_gets_it(void) {
    for (call = TAKE; call < CALLS; call++) {
        if (call == ZERO || call == SEND) continue;
        for (int n = 0; n < FEW; n++) {
            prepare();
            CHECK(pipe2(line, O_CLOEXEC) == 0);
            pid_t first = forked();
            if (first == 0) sleeper(0);
            await_sleepers(first, 1);
            pid_t second = forked();
            if (second == 0) {
                tell();
                _exit(sleep_in_call() == -1);
            }
            if (call < RECEIVE) while (waiting() < 2) continue;
            await_sleepers(second, 1);
            close(line[1]);
            end(first);
            CHECK(status_of(first) == SIGKILL);
            if (call < RECEIVE) CHECK(operate(0, 1, 0) == 0);
            else CHECK(msgsnd(queue, &out, size, 0) == 0);
            CHECK(status_of(second) == 0);
            if (call == TAKE_UNDO) CHECK(operate(0, -1, IPC_NOWAIT) == 0);
            close(line[0]);
        }
    }
}

/* Who is stopped lives. */
static void stopped(void) {
    call = RECEIVE;
    prepare();
    CHECK(pipe2(line, O_CLOEXEC) == 0);
    pid_t child = forked();
    int status;
    if (child == 0) {
        tell();
        _exit(sleep_in_call() != SMALL);
    }
    await_sleepers(child, 1);
    CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    CHECK(kill(child, SIGCONT) == 0);
    CHECK(msgsnd(queue, &out, SMALL, 0) == 0);
    CHECK(status_of(child) == 0);
}

/* A thread that is cancelled asleep, and goes on holding nothing. */
static void cancelled(void) {
    call = RECEIVE;
    prepare();
    for (int n = 0; n < FEW; n++) {
        CHECK(pipe2(line, O_CLOEXEC) == 0);
        pthread_t thread = in_thread(sleeper);
        await_sleepers(getpid(), 1);
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, 0) == 0);
        CHECK(msgsnd(queue, &out, SMALL, 0) == 0 && msgrcv(queue, &in, sizeof in.text, 0, IPC_NOWAIT) == SMALL);
        close(line[0]);
        close(line[1]);
    }
}

/* A PID namespace: the kernel knows a thread there by another number. */
static void in_a_pid_namespace(void) {
    pid_t leader = forked();
    if (leader == 0) {
        /* Who may make none has nothing to see. The first process in it has the number 1, and ends the others when it ends. */
        if (unshare(CLONE_NEWPID)) _exit(0);
        pid_t first = forked();
        if (first != 0) _exit(status_of(first) != 0);
        in_namespace = 1;
        for (call = TAKE; call < CALLS; call++) {
            play(alone, 1, KILLED, FEW);
            play(other_sleeps_first_exits, 1, AT_WORD, FEW);
        }
        exit(failed != 0);
    }
    CHECK(status_of(leader) == 0);
}

int main(int count, char **args) {
    int rounds = count > 1 ? atoi(args[1]) : ROUNDS;
    /* The program that follows another: "idle". */
    if (rounds == 0) for (;;) pause();
    self = realpath("/proc/self/exe", 0);
    set = semget(IPC_PRIVATE, 2, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(set >= 0 && queue >= 0 && operate(1, 1, 0) == 0);
    make_mutex();
    each_end(TAKE, rounds);
    size = LARGE;
    each_end(RECEIVE, FEW);
    size = SMALL;
    the_next_one_gets_it();
    stopped();
    cancelled();
    in_a_pid_namespace();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
