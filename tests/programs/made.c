/* Objects that are made and removed one after the other, by one process and by several in turn: identifiers, keys, contents and counts as if each were the first. */
#include "check.h"

enum { MANY = 200 };

static int index_of(int id) { return id % 32768; }

/* The next identifier of an order in which nobody else makes anything. */
static void follows(int before, int after) {
    CHECK(after >= 0 && (after == before + 1 || (after / 32768 == before / 32768 + 1 && index_of(after) == 0)));
}

static int sets_in_use(int *highest) {
    struct seminfo info;
    *highest = semctl(0, 0, SEM_INFO, &info);
    return info.semusz;
}

static void in_order(void) {
    int last = semget(IPC_PRIVATE, 1, 0600), highest;
    CHECK(last >= 0 && semctl(last, 0, IPC_RMID) == 0);
    for (int i = 0; i < MANY; i++) {
        int id = semget(IPC_PRIVATE, 1 + i % 7, 0600);
        follows(last, id);
        last = id;
        if (i % 11 == 0)
            CHECK(sets_in_use(&highest) == 1 && highest == index_of(id));
        CHECK(semctl(id, 0, IPC_RMID) == 0);
        FAILS(semctl(id, 0, IPC_RMID), EINVAL);
        FAILS(semctl(id, 0, GETVAL), EINVAL);
    }
    CHECK(sets_in_use(&highest) == 0);
    last = msgget(IPC_PRIVATE, 0600);
    CHECK(last >= 0 && msgctl(last, IPC_RMID, 0) == 0);
    for (int i = 0; i < MANY; i++) {
        int id = msgget(IPC_PRIVATE, 0600);
        follows(last, id);
        last = id;
        CHECK(msgctl(id, IPC_RMID, 0) == 0);
        FAILS(msgctl(id, IPC_RMID, 0), EINVAL);
    }
    last = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK(last >= 0 && shmctl(last, IPC_RMID, 0) == 0);
    for (int i = 0; i < MANY; i++) {
        int id = shmget(IPC_PRIVATE, 1 + 5000 * (i % 3), 0600);
        follows(last, id);
        last = id;
        CHECK(shmctl(id, IPC_RMID, 0) == 0);
        FAILS(shmctl(id, IPC_RMID, 0), EINVAL);
    }
}

/* They are what was asked for. */
static void used(void) {
    for (int i = 0; i < 60; i++) {
        time_t before = time(0);
        int set = semget(IPC_PRIVATE, 3, 0640), queue = msgget(IPC_PRIVATE, 0604), segment = shmget(IPC_PRIVATE, 5000, 0660);
        struct semid_ds set_now;
        struct msqid_ds queue_now;
        struct shmid_ds segment_now;
        struct sembuf up = {1, 2, i % 2 ? SEM_UNDO : 0};
        struct message text = {7, "text"};
        CHECK(semctl(set, 0, IPC_STAT, &set_now) == 0 && set_now.sem_nsems == 3 && (set_now.sem_perm.mode & 0777) == 0640);
        CHECK(set_now.sem_ctime >= before - 1 && set_now.sem_ctime <= time(0) && set_now.sem_perm.cuid == geteuid());
        CHECK(semop(set, &up, 1) == 0 && semctl(set, 1, GETVAL) == 2 && semctl(set, 1, GETPID) == getpid());
        CHECK(msgctl(queue, IPC_STAT, &queue_now) == 0 && queue_now.msg_qnum == 0 && (queue_now.msg_perm.mode & 0777) == 0604);
        CHECK(msgsnd(queue, &text, 5, 0) == 0 && msgrcv(queue, &text, sizeof text.text, 0, IPC_NOWAIT) == 5);
        CHECK(shmctl(segment, IPC_STAT, &segment_now) == 0 && segment_now.shm_segsz == 5000 && segment_now.shm_cpid == getpid());
        char *at = shmat(segment, 0, 0);
        CHECK(at != (char *)-1 && at[4999] == 0);
        at[4999] = 1;
        CHECK(shmdt(at) == 0);
        CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    }
}

static void keys(void) {
    for (int i = 0; i < 60; i++) {
        int set = semget(0x6d00 + i, 1, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(set >= 0);
        FAILS(semget(0x6d00 + i, 1, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
        CHECK(semget(0x6d00 + i, 1, IPC_CREAT | 0600) == set && semget(0x6d00 + i, 0, 0) == set);
        if (i % 3 == 0)
            CHECK(semctl(set, 0, SETVAL, 5) == 0 && semctl(set, 0, GETVAL) == 5);
        CHECK(semctl(set, 0, IPC_RMID) == 0);
        FAILS(semget(0x6d00 + i, 0, 0), ENOENT);
    }
    /* The same key again and again. */
    for (int i = 0; i < 100; i++) {
        int queue = msgget(0x6e00, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(queue >= 0 && msgctl(queue, IPC_RMID, 0) == 0);
    }
    FAILS(msgget(0x6e00, 0), ENOENT);
    FAILS(semget(0x6f00, 0, IPC_CREAT | 0600), EINVAL);
    FAILS(semget(IPC_PRIVATE, 0, 0600), EINVAL);
    FAILS(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
}

/* What one makes the other sees at once, and in whose order they make does not matter. */
static void in_turn(void) {
    int there[2], back[2], set, last = -1;
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct { int name, key; } order;
        close(there[1]);
        while (read(there[0], &order, sizeof order) == sizeof order) {
            int answer = -1;
            switch (order.key) {
            case -1: answer = semctl(order.name, 0, IPC_RMID); break;
            case -2: answer = semctl(order.name, 0, SETVAL, 3) == 0 && semctl(order.name, 0, GETVAL) == 3 ? 0 : -1; break;
            case -3: answer = semget(IPC_PRIVATE, 1, 0600); break;
            case -4: { int highest; answer = sets_in_use(&highest); break; }
            default: answer = semget(order.key, 1, 0);
            }
            CHECK(write(back[1], &answer, sizeof answer) == sizeof answer);
        }
        _exit(0);
    }
#define ASK(n, k)                                                                         \
    ({                                                                                    \
        struct { int name, key; } order = {n, k};                                         \
        int answer = -2;                                                                  \
        CHECK(write(there[1], &order, sizeof order) == sizeof order && read(back[0], &answer, sizeof answer) == sizeof answer); \
        answer;                                                                           \
    })
    for (int i = 0; i < 150; i++) {
        int key = 0x7000 + i, from = i % 5;
        set = semget(i % 2 ? key : IPC_PRIVATE, 1, IPC_CREAT | 0600);
        if (last >= 0)
            follows(last, set);
        last = set;
        if (from == 0)
            CHECK(ASK(set, -2) == 0 && semctl(set, 0, GETVAL) == 3);
        if (from == 1)
            CHECK(ASK(0, key) == (i % 2 ? set : -1));
        if (from == 2)
            CHECK(ASK(0, -4) == 1);
        if (from == 3) {
            int other = ASK(0, -3);
            follows(last, other);
            last = other;
            CHECK(semctl(other, 0, IPC_RMID) == 0);
        }
        if (i % 7 == 0) {
            CHECK(ASK(set, -1) == 0);
            FAILS(semctl(set, 0, IPC_RMID), EINVAL);
        } else {
            CHECK(semctl(set, 0, IPC_RMID) == 0);
            CHECK(ASK(set, -1) == -1);
        }
        CHECK(ASK(0, -4) == 0);
    }
    close(there[1]);
    CHECK(status_of(child) == 0);
}

/* What the dead have made stays; what a forked child knows it can use. */
static void left(void) {
    int ends[2], id, highest;
    for (int round = 0; round < 30; round++) {
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 3 + round % 5; i++) {
                id = semget(IPC_PRIVATE, 2, 0600);
                if (i < 2 + round % 5)
                    semctl(id, 0, IPC_RMID);
            }
            CHECK(write(ends[1], &id, sizeof id) == sizeof id);
            if (round % 2)
                kill(getpid(), SIGKILL);
            execl("/bin/true", "true", (char *)0);
        }
        CHECK(read(ends[0], &id, sizeof id) == sizeof id);
        CHECK(semctl(id, 1, GETVAL) == 0 && sets_in_use(&highest) == 1);
        CHECK(status_of(child) == (round % 2 ? SIGKILL : 0));
        CHECK(semctl(id, 0, IPC_RMID) == 0);
        close(ends[0]);
        close(ends[1]);
    }
    for (int i = 0; i < 30; i++) {
        id = semget(IPC_PRIVATE, 1, 0600);
        pid_t child = fork();
        if (child == 0)
            _exit(semctl(id, 0, SETVAL, 4) || semctl(id, 0, IPC_RMID));
        CHECK(status_of(child) == 0);
        FAILS(semctl(id, 0, IPC_RMID), EINVAL);
    }
}

/* An owner that is not any more. */
static void owners(void) {
    if (geteuid())
        return;
    pid_t child = fork();
    if (child == 0) {
        struct semid_ds now;
        int mine = -1;
        for (int i = 0; i < 5; i++)
            mine = semget(IPC_PRIVATE, 1, 0600);
        CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
        FAILS(semctl(mine, 0, IPC_RMID), EPERM);
        FAILS(semctl(mine, 0, GETVAL), EACCES);
        for (int i = 0; i < 5; i++) {
            int id = semget(IPC_PRIVATE, 1, 0600);
            CHECK(semctl(id, 0, IPC_STAT, &now) == 0 && now.sem_perm.cuid == 65534 && now.sem_perm.gid == 65534);
            CHECK(semctl(id, 0, IPC_RMID) == 0);
        }
        _exit(failed != 0);
    }
    CHECK(status_of(child) == 0);
    for (int index = 0, highest; sets_in_use(&highest) && index <= 64; index++) {
        struct semid_ds now;
        int id = semctl(index, 0, SEM_STAT, &now);
        if (id >= 0)
            CHECK(semctl(id, 0, IPC_RMID) == 0);
    }
}

static void *makes(void *arg) {
    for (int i = 0; i < 300; i++) {
        int id = semget(IPC_PRIVATE, 1, 0600);
        if (id < 0 || semctl(id, 0, i % 9 ? IPC_RMID : SETVAL, 1) || (i % 9 == 0 && semctl(id, 0, IPC_RMID)))
            return (void *)1;
    }
    return arg;
}

static void threads(void) {
    pthread_t all[4];
    void *result;
    int highest;
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&all[i], 0, makes, 0) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(all[i], &result) == 0 && result == 0);
    CHECK(sets_in_use(&highest) == 0);
}

int main(void) {
    int highest;
    /* The machine's own: others may use it. */
    if (sets_in_use(&highest) != 0) {
        puts("there are sets already");
        return 77;
    }
    in_order();
    used();
    keys();
    in_turn();
    left();
    owners();
    threads();
    return checked();
}
