/* Objects that outgrow the region they began in: undo rows, sleepers, messages, bytes. Each case needs more than a new region has. */
#include "check.h"

enum { OWNERS = 100, SLEEPERS = 1200, WIDE = 32000 };

static int set, queue;

static void limit(const char *name, const char *value) {
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(value, file) >= 0 && fclose(file) == 0);
}

static void *down(void *nothing) {
    struct sembuf op = {0, -1, 0};
    return (void *)(long)(semop(set, &op, 1) == 0 ? nothing == 0 : 0);
}

static void *receive(void *type) {
    struct message m;
    return (void *)(long)(msgrcv(queue, &m, 8, (long)type, 0) == 2 && m.type == (long)type);
}

/* Starts threads, waits until all sleep as `asleep` counts them, lets them go, and counts those that came back well. */
static void sleepers(void *(*body)(void *), int by_number, int (*asleep)(void), void (*let_go)(void)) {
    static pthread_t threads[SLEEPERS];
    pthread_attr_t small;
    void *result;
    int well = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (long n = 0; n < SLEEPERS; n++)
        CHECK(pthread_create(&threads[n], &small, body, by_number ? (void *)(n + 1) : 0) == 0);
    while (asleep() != SLEEPERS) usleep(1000);
    let_go();
    for (int n = 0; n < SLEEPERS; n++) {
        pthread_join(threads[n], &result);
        well += (long)result == 1;
    }
    CHECK(well == SLEEPERS);
}

static int sleeping_below(void) { return semctl(set, 0, GETNCNT); }

static void raise_all(void) {
    struct sembuf op = {0, SLEEPERS, 0};
    CHECK(semop(set, &op, 1) == 0 && semctl(set, 0, GETVAL) == 0);
}

/* Receivers are counted nowhere: a thread sleeps when /proc says so. All but the main one do here. */
static int sleeping_in_tasks(void) {
    char path[64], line[512];
    int asleep = 0;
    FILE *list = popen("ls /proc/$PPID/task", "r");
    if (!list) return -1;
    while (fgets(line, sizeof line, list)) {
        int tid = atoi(line);
        if (tid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
        FILE *stat = fopen(path, "r");
        if (stat && fgets(line, sizeof line, stat)) {
            const char *after = strrchr(line, ')');
            asleep += after && after[2] == 'S';
        }
        if (stat) fclose(stat);
    }
    pclose(list);
    return asleep;
}

static void send_to_each(void) {
    struct message m = {0, "x"};
    for (m.type = SLEEPERS; m.type > 0; m.type--) CHECK(msgsnd(queue, &m, 2, 0) == 0);
}

/* More processes owe the set something than it has rows for at first. */
static void undo_rows(void) {
    struct sembuf up = {WIDE - 1, 1, SEM_UNDO};
    pid_t owners[OWNERS];
    int gate[2];
    char byte;
    set = semget(IPC_PRIVATE, WIDE, 0600);
    CHECK(set >= 0 && pipe(gate) == 0);
    for (int n = 0; n < OWNERS; n++) {
        owners[n] = fork();
        if (owners[n] == 0) {
            close(gate[1]);
            up.sem_num = WIDE - 1 - n % 2;
            _exit(semop(set, &up, 1) == 0 && read(gate[0], &byte, 1) == 0 ? 0 : 1);
        }
    }
    while (semctl(set, WIDE - 1, GETVAL) + semctl(set, WIDE - 2, GETVAL) != OWNERS) usleep(1000);
    kill(owners[0], SIGKILL);
    CHECK(WIFSIGNALED(status_of(owners[0])) && semctl(set, WIDE - 1, GETVAL) == OWNERS / 2 - 1);
    close(gate[1]);
    for (int n = 1; n < OWNERS; n++) CHECK(status_of(owners[n]) == 0);
    close(gate[0]);
    CHECK(semctl(set, WIDE - 1, GETVAL) == 0 && semctl(set, WIDE - 2, GETVAL) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
}

static char long_text[8 + 900000];

static void *send_long(void *nothing) {
    (void)nothing;
    *(long *)long_text = 7;
    memset(long_text + 8, 'l', 900000);
    return (void *)(long)msgsnd(queue, long_text, 900000, 0);
}

/* As many messages as the queue takes; then a longer queue and a longer message than it was made for, by a sender that sleeps. */
static void messages(void) {
    static char received[8 + 900000];
    struct message m = {3, ""};
    struct msqid_ds state;
    pthread_t thread;
    void *result;
    int sent = 0;
    queue = msgget(IPC_PRIVATE, 0600);
    while (msgsnd(queue, &m, 0, IPC_NOWAIT) == 0) sent++;
    CHECK(errno == EAGAIN && sent == 16384);
    for (; sent > 0; sent--) CHECK(msgrcv(queue, &m, 0, 0, IPC_NOWAIT) == 0);
    limit("msgmax", "1000000");
    pthread_create(&thread, 0, send_long, 0);
    while (sleeping_in_tasks() != 1) usleep(1000);
    CHECK(msgctl(queue, IPC_STAT, &state) == 0 && state.msg_qnum == 0);
    limit("msgmnb", "2000000");
    state.msg_qbytes = 1500000;
    CHECK(msgctl(queue, IPC_SET, &state) == 0);
    pthread_join(thread, &result);
    CHECK(result == 0 && msgctl(queue, IPC_STAT, &state) == 0 && state.__msg_cbytes == 900000);
    CHECK(msgrcv(queue, received, 900000, 0, 0) == 900000 && memcmp(received, long_text, sizeof received) == 0);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0);
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    undo_rows();
    set = semget(IPC_PRIVATE, 1, 0600);
    sleepers(down, 0, sleeping_below, raise_all);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    queue = msgget(IPC_PRIVATE, 0600);
    sleepers(receive, 1, sleeping_in_tasks, send_to_each);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0);
    messages();
    return checked();
}
