/* What IPC_STAT, SHM_STAT and SHM_STAT_ANY tell of segments that other processes attach, detach, inherit, and leave by exec, exit or a kill. Each step's outcome
   is known before it is looked at, so it must show at once, to whoever looks. */
#include "check.h"

enum { PEERS = 5, SEGMENTS = 3, STEPS = 3500, DEEP = 40, END = 201 };

/* What a peer is told to do, through memory that needs no System V call. */
enum { NOTHING, ATTACH, DETACH, FORK, LOOK, REAP, EXEC, LEAVE };

struct peer {
    volatile int order, which, child;
    volatile pid_t pid;
    /* Closed by its end, or by exec: the conductor has the other end. */
    int pipe;
    /* What it must find. */
    volatile long expected;
    void *at[SEGMENTS][DEEP];
    int depth[SEGMENTS];
    /* What its child, which sleeps until it is killed, has inherited. */
    int inherited[SEGMENTS];
};

static struct shared {
    struct peer peers[PEERS];
    int ids[SEGMENTS];
    volatile int wrong;
} *shared;

/* How many of the peers do anything: few enough that the others can know of all of them, or more. */
static int active;

/* What must be true. */
static long count[SEGMENTS];
static pid_t last[SEGMENTS];

static int rand_below(unsigned n) {
    static unsigned long long state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static void peer_main(struct peer *me) {
    for (;;) {
        int order = me->order, s = me->which, child;
        struct shmid_ds state;
        switch (order) {
        case NOTHING:
            sched_yield();
            continue;
        case ATTACH:
            me->at[s][me->depth[s]] = shmat(shared->ids[s], 0, me->child ? SHM_RDONLY : 0);
            if (me->at[s][me->depth[s]] == (void *)-1)
                _exit(9);
            me->depth[s]++;
            break;
        case DETACH:
            if (shmdt(me->at[s][--me->depth[s]]))
                _exit(10);
            /* fall through */
        case LOOK:
            if (shmctl(shared->ids[s], IPC_STAT, &state))
                _exit(11);
            if ((long)state.shm_nattch != me->expected)
                shared->wrong++;
            break;
        case FORK:
            child = fork();
            if (child == 0) {
                close(END);
                for (;;)
                    pause();
            }
            me->child = child;
            memcpy(me->inherited, me->depth, sizeof me->depth);
            break;
        case REAP:
            kill(me->child, SIGKILL);
            waitpid(me->child, 0, 0);
            me->child = 0;
            break;
        case EXEC:
            me->order = NOTHING;
            execl("/proc/self/exe", "looked", "peer", (char *)0);
            _exit(12);
        case LEAVE:
            _exit(0);
        }
        __sync_synchronize();
        me->order = NOTHING;
    }
}

static void start(struct peer *peer) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup3(ends[1], END, O_CLOEXEC);
        close(ends[1]);
        peer_main(peer);
    }
    close(ends[1]);
    peer->pipe = ends[0];
    peer->pid = child;
}

/* Waits until a peer's program is over, without asking the kernel for its end. */
static void over(struct peer *peer) {
    char byte;
    CHECK(read(peer->pipe, &byte, 1) == 0);
    close(peer->pipe);
}

static void tell(struct peer *peer, int order, int which) {
    peer->which = which;
    peer->expected = count[which] - (order == DETACH);
    __sync_synchronize();
    peer->order = order;
    while (peer->order != NOTHING)
        sched_yield();
}

/* A process that ends, or executes another program, closes what it has. */
static void closes(struct peer *peer) {
    for (int s = 0; s < SEGMENTS; s++) {
        if (peer->depth[s])
            last[s] = peer->pid;
        count[s] -= peer->depth[s];
        peer->depth[s] = 0;
    }
}

/* So does its child, of which nobody knows the number any more. */
static void child_closes(struct peer *peer, int known) {
    for (int s = 0; s < SEGMENTS; s++) {
        if (peer->inherited[s])
            last[s] = known ? peer->child : -1;
        count[s] -= peer->inherited[s];
        peer->inherited[s] = 0;
    }
}

static void look(int s, int how) {
    struct shmid_ds state;
    int index = shared->ids[s] % 32768;
    if (how == 0)
        CHECK(shmctl(shared->ids[s], IPC_STAT, &state) == 0);
    else
        CHECK(shmctl(index, how == 1 ? SHM_STAT : SHM_STAT_ANY, &state) == shared->ids[s]);
    CHECK((long)state.shm_nattch == count[s]);
    if (last[s] >= 0)
        CHECK(state.shm_lpid == last[s]);
    CHECK(state.shm_cpid == getpid() && state.shm_segsz == 4096);
}

static void step(int n) {
    struct peer *peer = &shared->peers[rand_below(active)];
    int s = rand_below(SEGMENTS), order = rand_below(40);
    if (order < 14 && peer->depth[s] < DEEP) {
        tell(peer, ATTACH, s);
        count[s]++;
        last[s] = peer->pid;
    } else if (order < 28 && peer->depth[s]) {
        tell(peer, DETACH, s);
        count[s]--;
        last[s] = peer->pid;
    } else if (order < 32) {
        tell(peer, LOOK, s);
    } else if (order < 35 && !peer->child) {
        tell(peer, FORK, s);
        for (int i = 0; i < SEGMENTS; i++) {
            count[i] += peer->inherited[i];
            if (peer->inherited[i])
                last[i] = peer->pid;
        }
    } else if (order < 36 && peer->child) {
        pid_t child = peer->child;
        tell(peer, REAP, s);
        peer->child = child;
        child_closes(peer, 1);
        peer->child = 0;
    } else if (order < 37 && !peer->child) {
        closes(peer);
        peer->order = EXEC;
        while (peer->order != NOTHING)
            sched_yield();
        if (peer->pipe >= 0) {
            over(peer);
            look(s, n % 3);
        }
        /* From now on an end of it shows by its death alone. */
        tell(peer, LOOK, s);
        peer->pipe = -1;
    } else if (order < 39 && !peer->child) {
        if (n % 2) {
            kill(peer->pid, SIGKILL);
        } else {
            peer->order = LEAVE;
        }
        closes(peer);
        if (peer->pipe >= 0) {
            over(peer);
            look(s, n % 3);
        }
        waitpid(peer->pid, 0, 0);
        peer->order = NOTHING;
        start(peer);
    }
    look(rand_below(SEGMENTS), n % 3);
    look(s, n % 2);
}

int main(int argc, char **argv) {
    int fd = 200;
    if (argc > 1) {
        shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        for (int i = 0; i < PEERS; i++)
            if (shared->peers[i].pid == getpid())
                peer_main(&shared->peers[i]);
        return 13;
    }
    (void)argv;
    int made = memfd_create("looked", 0);
    CHECK(dup2(made, fd) == fd && ftruncate(fd, sizeof *shared) == 0);
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int s = 0; s < SEGMENTS; s++)
        CHECK((shared->ids[s] = shmget(IPC_PRIVATE, 4096, 0600)) >= 0);
    for (int i = 0; i < PEERS; i++)
        start(&shared->peers[i]);
    for (active = 2; active <= PEERS; active += active - 1)
        for (int n = 0; n < STEPS && !failed; n++)
            step(n);
    for (int i = 0; i < PEERS; i++) {
        struct peer *peer = &shared->peers[i];
        if (peer->child)
            tell(peer, REAP, 0);
        kill(peer->pid, SIGKILL);
        waitpid(peer->pid, 0, 0);
        child_closes(peer, 0);
        closes(peer);
    }
    for (int s = 0; s < SEGMENTS; s++) {
        last[s] = -1;
        look(s, 0);
        CHECK(shmctl(shared->ids[s], IPC_RMID, 0) == 0);
        struct shmid_ds state;
        FAILS(shmctl(shared->ids[s], IPC_STAT, &state), EINVAL);
    }
    CHECK(shared->wrong == 0);
    return checked();
}
