/* A process that is stopped in the middle of its calls holds nobody up: others on the same objects go on while it is stopped. Its parent sees no other stop and
   no other going on than it made, and nothing is lost or doubled; not either if the process that leads it out of its call is killed at that. signal(7), waitid(2). */
#include "check.h"

enum { WORKERS = 2 };
static int set, queue;
static struct shared { long done[WORKERS + 1]; volatile int over, round, kills; } *shared;

static int add(int num, int by) {
    struct sembuf op[2] = {{(unsigned short)num, (short)by, SEM_UNDO}, {(unsigned short)num, (short)-by, SEM_UNDO}};
    return semop(set, op, 2);
}

/* Sends to itself and receives; counts in one semaphore what it has done. */
static void work(int number) {
    struct message out = {number + 1, ""}, in;
    while (!shared->over) {
        out.text[0] = (char)shared->done[number];
        if (add(0, 1) || msgsnd(queue, &out, 900, 0) || msgrcv(queue, &in, sizeof in.text, number + 1, 0) != 900) _exit(1);
        if (in.text[0] != out.text[0]) _exit(2);
        shared->done[number]++;
    }
    _exit(0);
}

static pid_t start(int number) {
    pid_t child = fork();
    if (child == 0) work(number);
    return child;
}

/* What the parent sees of the child now: a code of waitid's, or 0. */
static int seen(pid_t child) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)child, &info, WSTOPPED | WCONTINUED | WEXITED | WNOHANG)) return -1;
    return info.si_pid == 0 ? 0 : info.si_code;
}

static long ms_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether every worker that is not stopped does some more. Answers how long it took, or -1 after five seconds. */
static long others_go_on(void) {
    long before[WORKERS], began = ms_now();
    memcpy(before, shared->done, sizeof before);
    while (ms_now() - began < 5000) {
        int going = 0;
        for (int i = 0; i < WORKERS; i++) going += shared->done[i] > before[i] + 2;
        if (going == WORKERS) return ms_now() - began;
        usleep(500);
    }
    return -1;
}

/* Kills whoever traces the child, one time in each round, as far as it is quick enough. Counts in `kills`. */
static void be_hostile_to_tracers(pid_t child) {
    char name[64], text[4096];
    snprintf(name, sizeof name, "/proc/%d/status", child);
    for (int last = -1; !shared->over;) {
        int file = open(name, O_RDONLY), tracer = 0;
        ssize_t len = file < 0 ? -1 : read(file, text, sizeof text - 1);
        if (file >= 0) close(file);
        if (len > 0) {
            text[len] = 0;
            char *line = strstr(text, "TracerPid:");
            if (line) tracer = atoi(line + 10);
        }
        if (tracer > 0 && last != shared->round && kill(tracer, SIGKILL) == 0) last = shared->round, shared->kills++;
    }
    _exit(0);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 60;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    set = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600);
    CHECK(set >= 0 && queue >= 0);
    pid_t workers[WORKERS], child = start(WORKERS);
    for (int i = 0; i < WORKERS; i++) workers[i] = start(i);
    pid_t hostile = 0;
    long longest = 0;
    srand(7);
    for (int round = 0; round < rounds; round++) {
        siginfo_t info;
        if (round == rounds / 2 && (hostile = fork()) == 0) be_hostile_to_tracers(child);
        shared->round = round;
        usleep((unsigned)(500 + rand() % 3000));
        kill(child, SIGSTOP);
        CHECK(waitid(P_PID, (id_t)child, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED);
        long before = shared->done[WORKERS], took = others_go_on();
        CHECK(took >= 0);
        if (took > longest) longest = took;
        CHECK(shared->done[WORKERS] == before && seen(child) == 0);
        kill(child, SIGCONT);
        CHECK(waitid(P_PID, (id_t)child, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED);
        long began = ms_now();
        while (shared->done[WORKERS] == before && ms_now() - began < 5000) usleep(500);
        CHECK(shared->done[WORKERS] > before && seen(child) == 0);
    }
    shared->over = 1;
    CHECK(status_of(child) == 0);
    for (int i = 0; i < WORKERS; i++) CHECK(status_of(workers[i]) == 0);
    CHECK(status_of(hostile) == 0);
    struct msqid_ds state;
    CHECK(msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == 0);
    CHECK(semctl(set, 0, GETVAL) == 0);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0);
    printf("longest wait beside a stopped process: %ld ms; %d tracers killed\n", longest, shared->kills);
    return checked();
}
