/* A process that has given its user up has no page of that user's processes any more, under whatever name, and goes on as its new user: with
   adjustments that are undone at its end, attachments that are counted, objects that it makes. */
#include "check.h"
#include <grp.h>

#define NOBODY 65534

static int set, segment;

/* How many mappings have such a protection and such a name. */
static int mapped(const char *protection, const char *name) {
    char line[512];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) count += strstr(line, protection) && strstr(line, name);
    if (maps) fclose(maps);
    return count;
}

/* How many pages of files of lives it may write to. */
static int pages(void) { return mapped("rw-s", "ring3-lives"); }

/* How many such pages a process has that has left adjustments: natively none. */
static int usual(void) { return mapped("r-xp", "libring3.so") > 0; }

static int change(int by, int undo) {
    struct sembuf op = {0, by, undo};
    return semop(set, &op, 1);
}

static int nattch(void) {
    struct shmid_ds state;
    return shmctl(segment, IPC_STAT, &state) ? -1 : (int)state.shm_nattch;
}

/* Attaches and makes things again and again, so that it need not ask for them. */
static void work(void) {
    void *at[3];
    for (int round = 0; round < 8; round++) {
        for (int n = 0; n < 3; n++) CHECK((at[n] = shmat(segment, 0, 0)) != (void *)-1);
        CHECK(nattch() >= 3);
        for (int n = 0; n < 3; n++) CHECK(shmdt(at[n]) == 0);
        int queue = msgget(IPC_PRIVATE, 0600);
        CHECK(queue >= 0 && msgctl(queue, IPC_RMID, 0) == 0);
    }
}

static void give_up(void) { CHECK(setgroups(0, 0) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0); }

/* In a process of its own that has done something before. */
static void later(int keeps) {
    void *at = shmat(segment, 0, 0);
    CHECK(at != (void *)-1);
    work();
    CHECK(change(3, SEM_UNDO) == 0);
    CHECK(pages() == usual());
    if (keeps) {
        /* It may become that user again. */
        CHECK(setresuid(NOBODY, NOBODY, 0) == 0 && pages() == usual());
        CHECK(seteuid(0) == 0 && change(1, SEM_UNDO) == 0 && change(-1, SEM_UNDO) == 0);
    }
    give_up();
    CHECK(pages() == 0);
    work();
    CHECK(change(2, SEM_UNDO) == 0 && semctl(set, 0, GETVAL) == 15 && nattch() == 3);
    CHECK(pages() == usual());
    work();
    if (keeps) {
        CHECK(shmdt(at) == 0);
        exit(failed != 0);
    }
    if (failed == 0) kill(getpid(), SIGKILL);
    exit(1);
}

/* In a forked child, which has its parent's page. */
static void at_once(void) {
    give_up();
    CHECK(pages() == 0);
    work();
    CHECK(change(2, SEM_UNDO) == 0 && semctl(set, 0, GETVAL) == 12);
    exit(failed != 0);
}

static void run(void (*what)(int), int with, int expected) {
    pid_t child = fork();
    if (child == 0) what(with);
    int status = status_of(child);
    CHECK(status == expected);
    CHECK(semctl(set, 0, GETVAL) == 10 && nattch() == 1);
}

static void forked(int unused) {
    (void)unused;
    at_once();
}

int main(void) {
    setbuf(stdout, 0);
    if (geteuid() != 0) return checked();
    set = semget(IPC_PRIVATE, 1, 0666);
    segment = shmget(IPC_PRIVATE, 10000, 0666);
    CHECK(change(9, 0) == 0 && change(1, SEM_UNDO) == 0);
    void *at = shmat(segment, 0, 0);
    CHECK(at != (void *)-1);
    work();
    for (int round = 0; round < 3; round++) {
        run(later, 0, SIGKILL);
        run(later, 1, 0);
        run(forked, 0, 0);
    }
    CHECK(shmctl(segment, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0);
    return checked();
}
