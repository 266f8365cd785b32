/* Whoever learns that a process has ended, in whatever way, finds its SEM_UNDO applied and its attachments gone; and while the process lives, in whatever
   way its threads end and its program is replaced, finds neither. exit(2); kernel: do_exit(). */
#include "check.h"
#include <poll.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/signalfd.h>

enum { ROUNDS = 40 };
static int set, segment, line[2];
static char numbers[2][16], *self;

static int nattch(void) {
    struct shmid_ds state;
    return shmctl(segment, IPC_STAT, &state) ? -1 : (int)state.shm_nattch;
}

static int operate(int num, int add, int flags) {
    struct sembuf op = {(unsigned short)num, (short)add, (short)flags};
    return semop(set, &op, 1);
}

static void take(void) {
    if (operate(0, -1, SEM_UNDO)) _exit(50);
}

static void *taker(void *unused) {
    take();
    return unused;
}

static void *sleeper(void *unused) {
    pause();
    return unused;
}

static pthread_t in_thread(void *(*run)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, 0, run, 0)) _exit(51);
    return thread;
}

/* Says that it is ready, and waits to be killed. */
static void ready(void) {
    if (write(line[1], "x", 1) != 1) _exit(52);
    for (;;) pause();
}

/* Kills a process. Signals to anything that is no single other process would go far astray. */
static void end(pid_t process) {
    if (process <= 1 || process == getpid() || kill(process, SIGKILL)) {
        perror("nobody to kill");
        exit(1);
    }
}

static pid_t forked(void) {
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    return child;
}

/* A child that runs this; only it has the writing end of the pipe. */
static pid_t start(void (*run)(void)) {
    CHECK(pipe2(line, 0) == 0);
    pid_t child = forked();
    if (child == 0) {
        close(line[0]);
        run();
        _exit(0);
    }
    close(line[1]);
    return child;
}

static void await_ready(void) {
    char byte;
    CHECK(read(line[0], &byte, 1) == 1);
}

static void await_end(void) {
    char byte;
    CHECK(read(line[0], &byte, 1) == 0);
}

static int value(void) {
    return semctl(set, 0, GETVAL);
}

static void over(pid_t child) {
    CHECK(waitpid(child, 0, 0) == child);
    close(line[0]);
    CHECK(value() == 1);
}

/* A process that ends by itself, seen in each way. The first look differs from round to round. */
static void take_and_attach(void) {
    take();
    if (shmat(segment, 0, 0) == (void *)-1) _exit(53);
}

static void take_and_die(void) {
    take_and_attach();
    raise(SIGKILL);
}

static void only_attach(void) {
    if (shmat(segment, 0, 0) == (void *)-1) _exit(54);
}

static void lock_and_take(void) {
    int file = open(self, O_RDONLY);
    if (flock(file, LOCK_EX)) _exit(55);
    take_and_attach();
    ready();
}

static int is_zombie(pid_t child) {
    char path[40], text[400] = {0}, *name;
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    int file = open(path, O_RDONLY);
    ssize_t len = read(file, text, sizeof text - 1);
    close(file);
    return len > 0 && (name = strrchr(text, ')')) && name[2] == 'Z';
}

static void learn(int way, pid_t child, int signals, const sigset_t *mask) {
    struct signalfd_siginfo info;
    if (way == 0) await_end();
    if (way == 1) CHECK(sigwaitinfo(mask, 0) == SIGCHLD);
    if (way == 2) CHECK(read(signals, &info, sizeof info) == sizeof info);
    if (way == 3) {
        struct pollfd end = {(int)syscall(SYS_pidfd_open, child, 0), POLLIN, 0};
        CHECK(poll(&end, 1, -1) == 1);
        close(end.fd);
    }
    if (way == 4) {
        while (!is_zombie(child)) continue;
    }
}

static void seen(int look) {
    unsigned short values[2] = {9, 9};
    union { unsigned short *array; } all = {values};
    if (look == 0) CHECK(value() == 1);
    if (look == 1) CHECK(operate(0, -1, IPC_NOWAIT) == 0 && operate(0, 1, 0) == 0);
    if (look == 2) CHECK(semctl(set, 0, GETALL, all) == 0 && values[0] == 1);
    if (look == 3) CHECK(operate(0, -1, IPC_NOWAIT | SEM_UNDO) == 0 && operate(0, 1, SEM_UNDO) == 0);
    if (look == 4) {
        struct sembuf ops[] = {{0, -1, IPC_NOWAIT}, {1, 0, 0}, {0, 1, 0}};
        CHECK(semop(set, ops, 3) == 0);
    }
    CHECK(nattch() == 0);
    CHECK(value() == 1);
}

static void each_way(void) {
    struct timespec now = {0, 0};
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, 0);
    int signals = signalfd(-1, &mask, 0);
    for (int n = 0; n < 5 * ROUNDS; n++) {
        pid_t child = start(n & 1 ? take_and_die : take_and_attach);
        learn(n % 5, child, signals, &mask);
        seen(n / 5 % 5);
        over(child);
        sigtimedwait(&mask, 0, &now);
    }
    close(signals);
    sigprocmask(SIG_UNBLOCK, &mask, 0);
    for (int n = 0; n < ROUNDS; n++) {
        pid_t child = start(only_attach);
        await_end();
        CHECK(nattch() == 0);
        over(child);
        child = start(lock_and_take);
        await_ready();
        CHECK(value() == 0 && nattch() == 1);
        int file = open(self, O_RDONLY);
        end(child);
        CHECK(flock(file, LOCK_EX) == 0);
        seen(n % 5);
        close(file);
        over(child);
    }
}

/* Several threads: the one whose operation it was goes on, or ends before the others, or the first one ends. */
static void thread_takes(void) {
    in_thread(sleeper);
    pthread_join(in_thread(taker), 0);
    ready();
}

static void another_gives_and_takes(void) {
    pthread_join(in_thread(taker), 0);
    in_thread(sleeper);
    /* This thread's operations take the place of the thread that has ended. */
    if (operate(0, 1, SEM_UNDO) || operate(0, -1, SEM_UNDO)) _exit(56);
    ready();
}

static void *take_and_be_ready(void *unused) {
    take();
    ready();
    return unused;
}

static void one_takes(void) {
    take();
    ready();
}

static void first_thread_ends(void) {
    in_thread(take_and_be_ready);
    pthread_exit(0);
}

static void all_threads_go_on(void) {
    in_thread(sleeper);
    in_thread(take_and_be_ready);
    for (;;) pause();
}

/* A thread that has ended, then a forked child that takes. */
static void child_of_a_taker(void) {
    if (operate(1, 1, SEM_UNDO)) _exit(57);
    if (forked() == 0) {
        take();
        ready();
    }
    /* The child's end is learnt from the pipe alone. */
    close(line[1]);
    for (;;) pause();
}

/* Robust mutexes of the program's own stand in the same list of the kernel's. */
static pthread_mutex_t *mutexes;

static void make_mutexes(void) {
    pthread_mutexattr_t how;
    mutexes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(mutexes != MAP_FAILED);
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    for (int n = 0; n < 4; n++) CHECK(pthread_mutex_init(mutexes + n, &how) == 0);
}

static void with_mutexes(void) {
    pthread_mutex_lock(mutexes);
    pthread_mutex_lock(mutexes + 1);
    take();
    pthread_mutex_unlock(mutexes);
    pthread_mutex_lock(mutexes + 2);
    pthread_mutex_lock(mutexes + 3);
    pthread_mutex_unlock(mutexes + 2);
    ready();
}

/* Programs that are replaced: the undo is kept, and is applied at the end of the one that follows. */
static void another_program(char *mode) {
    char *args[] = {self, mode, numbers[0], numbers[1], 0};
    fcntl(line[1], F_SETFD, 0);
    dup2(line[1], 3);
    execv(self, args);
    _exit(58);
}

static void replaced(void) {
    take();
    another_program("idle");
}

static void replaced_by_one_that_calls(void) {
    take();
    another_program("call");
}

static void *replace(void *unused) {
    take();
    another_program("idle");
    return unused;
}

static void replaced_by_a_thread(void) {
    in_thread(replace);
    for (;;) pause();
}

static void replaced_after_a_failure(void) {
    char *none[] = {0};
    take();
    execv("/nothing/there", none);
    ready();
}

static void lives_then_dies(void (*run)(void)) {
    for (int n = 0; n < ROUNDS / 4; n++) {
        pid_t child = start(run);
        await_ready();
        for (int look = 0; look < 3; look++) CHECK(value() == 0);
        FAILS(operate(0, -1, IPC_NOWAIT), EAGAIN);
        end(child);
        await_end();
        CHECK(value() == 1);
        over(child);
    }
}

static void grandchild(void) {
    for (int n = 0; n < ROUNDS / 4; n++) {
        int before = semctl(set, 1, GETVAL);
        pid_t child = start(child_of_a_taker), of_child;
        await_ready();
        CHECK(value() == 0 && semctl(set, 1, GETVAL) == before + 1);
        of_child = semctl(set, 0, GETPID);
        end(of_child);
        await_end();
        CHECK(value() == 1 && semctl(set, 1, GETVAL) == before + 1);
        end(child);
        over(child);
        CHECK(semctl(set, 1, GETVAL) == before);
    }
}

static void robust(void) {
    make_mutexes();
    for (int n = 0; n < ROUNDS / 4; n++) {
        pid_t child = start(with_mutexes);
        await_ready();
        end(child);
        await_end();
        CHECK(value() == 1);
        for (int m = 0; m < 4; m++) {
            int expect = m == 1 || m == 3 ? EOWNERDEAD : 0;
            CHECK(pthread_mutex_lock(mutexes + m) == expect);
            if (expect) pthread_mutex_consistent(mutexes + m);
            pthread_mutex_unlock(mutexes + m);
        }
        over(child);
    }
}

/* More processes than a file of the broker's has room for, all with something to give back. */
enum { MANY = 150 };

static void crowd(void) {
    pid_t children[MANY];
    union { int value; } many = {MANY};
    CHECK(semctl(set, 0, SETVAL, many) == 0 && pipe(line) == 0);
    for (int n = 0; n < MANY; n++) {
        if ((children[n] = forked()) == 0) {
            close(line[0]);
            take();
            ready();
        }
    }
    close(line[1]);
    for (int n = 0; n < MANY; n++) await_ready();
    CHECK(value() == 0);
    for (int n = 0; n < MANY; n++) end(children[n]);
    await_end();
    CHECK(value() == MANY);
    for (int n = 0; n < MANY; n++) CHECK(waitpid(children[n], 0, 0) == children[n]);
    close(line[0]);
    many.value = 1;
    CHECK(semctl(set, 0, SETVAL, many) == 0);
}

/* A PID namespace: the kernel knows a thread there by another number. */
static void in_a_namespace(void) {
    pid_t leader = forked();
    if (leader == 0) {
        /* Who may make none has nothing to see. The first process in it has the number 1, and ends the others when it ends. */
        if (unshare(CLONE_NEWPID)) _exit(0);
        pid_t first = forked();
        if (first != 0) _exit(status_of(first) != 0);
        lives_then_dies(thread_takes);
        lives_then_dies(one_takes);
        printf("%s", failed ? "in a PID namespace\n" : "");
        exit(checks == 0 || failed);
    }
    CHECK(status_of(leader) == 0);
}

/* The end of a process that took and gave back is an operation, too: its time is seen by whoever has learnt of the end. */
enum { GAVE_BACK = 24 };

static void last_operation(void) {
    int sets[GAVE_BACK], ends[GAVE_BACK], gos[GAVE_BACK], early = 0;
    struct sembuf there_and_back[] = {{0, 1, SEM_UNDO}, {0, -1, SEM_UNDO}};
    for (int n = 0; n < GAVE_BACK; n++) {
        int go[2], end[2], done[2];
        char byte;
        CHECK(pipe(go) == 0);
        CHECK((sets[n] = semget(IPC_PRIVATE, 1, 0600)) >= 0 && pipe(end) == 0 && pipe(done) == 0);
        if (fork() == 0) {
            int bad = semop(sets[n], there_and_back, 2);
            if (write(done[1], "d", 1) != 1 || read(go[0], &byte, 1) != 1) bad = 1;
            _exit(bad);
        }
        close(end[1]), close(done[1]);
        CHECK(read(done[0], &byte, 1) == 1);
        CHECK(semctl(sets[n], 0, GETVAL) == 0);
        close(done[0]), close(go[0]);
        ends[n] = end[0], gos[n] = go[1];
        CHECK(fcntl(ends[n], F_SETFL, O_NONBLOCK) == 0);
    }
    /* They end in a later second than that of their operation, well after its beginning: the kernel's clock of seconds may be some ticks late. */
    struct timespec later = {time(0) + 2, 100000000};
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &later, 0);
    for (int n = 0; n < GAVE_BACK; n++) {
        struct semid_ds state;
        char byte;
        CHECK(write(gos[n], "g", 1) == 1);
        while (read(ends[n], &byte, 1) != 0) continue;
        CHECK(semctl(sets[n], 0, IPC_STAT, &state) == 0);
        early += state.sem_otime < later.tv_sec;
        close(ends[n]), close(gos[n]);
    }
    CHECK(early == 0);
    for (int n = 0, status; n < GAVE_BACK; n++) CHECK(wait(&status) > 0 && status == 0);
    for (int n = 0; n < GAVE_BACK; n++) CHECK(semctl(sets[n], 0, IPC_RMID) == 0);
}

int main(int count, char **args) {
    self = realpath("/proc/self/exe", 0);
    if (count > 3) {
        set = atoi(args[2]);
        line[1] = 3;
        if (!strcmp(args[1], "call") && semctl(set, 0, GETVAL) != 0) return 60;
        ready();
    }
    set = semget(IPC_PRIVATE, 2, 0600);
    segment = shmget(IPC_PRIVATE, 4096, 0600);
    snprintf(numbers[0], sizeof numbers[0], "%d", set);
    snprintf(numbers[1], sizeof numbers[1], "%d", segment);
    CHECK(set >= 0 && segment >= 0 && operate(0, 1, 0) == 0);
    each_way();
    lives_then_dies(one_takes);
    lives_then_dies(thread_takes);
    lives_then_dies(another_gives_and_takes);
    lives_then_dies(first_thread_ends);
    lives_then_dies(all_threads_go_on);
    lives_then_dies(replaced);
    lives_then_dies(replaced_by_one_that_calls);
    lives_then_dies(replaced_by_a_thread);
    lives_then_dies(replaced_after_a_failure);
    grandchild();
    robust();
    crowd();
    in_a_namespace();
    last_operation();
    CHECK(semctl(set, 0, IPC_RMID) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
