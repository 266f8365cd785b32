/* Process numbers are those of the reader's PID namespace, and a process in a namespace below is reaped, forked and trusted as any other. */
#include "check.h"
#include <sched.h>

static int set, queue, segment;

static int own_pid(void) { return getpid(); }

static struct msqid_ds queue_state(void) {
    struct msqid_ds state;
    memset(&state, 0xff, sizeof state);
    CHECK(msgctl(queue, IPC_STAT, &state) == 0);
    return state;
}

static struct shmid_ds segment_state(int id) {
    struct shmid_ds state;
    memset(&state, 0xff, sizeof state);
    CHECK(shmctl(id, IPC_STAT, &state) == 0);
    return state;
}

/* What /proc/sysvipc/msg says of the last sender. */
static int listed(void) {
    char line[300];
    int sender = -1, found;
    FILE *file = fopen("/proc/sysvipc/msg", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%*d %d %*o %*u %*u %d", &found, &sender) == 2 && found == queue) break;
    if (file) fclose(file);
    return sender;
}

static void leave_marks(void) {
    struct sembuf up = {0, 1, 0}, owed = {1, 1, SEM_UNDO};
    struct message m = {1, "x"};
    CHECK(semop(set, &up, 1) == 0 && semop(set, &owed, 1) == 0);
    CHECK(msgsnd(queue, &m, 1, 0) == 0);
    CHECK(shmat(segment, 0, 0) != (void *)-1);
}

/* A child with its parent's attachments whose own first act is to be killed. */
static void child_that_does_nothing(void) {
    long before = segment_state(segment).shm_nattch;
    int go[2];
    char byte;
    CHECK(pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        syscall(SYS_read, go[0], &byte, 1);
        for (;;) syscall(SYS_pause);
    }
    close(go[0]);
    CHECK(segment_state(segment).shm_nattch > (unsigned long)before);
    kill(child, SIGKILL);
    CHECK(status_of(child) == SIGKILL);
    CHECK(segment_state(segment).shm_nattch == (unsigned long)before);
    close(go[1]);
}

/* A capability is looked up by thread, whatever that thread is called here. */
static void *capable(void *locked) {
    void *at = shmat(*(int *)locked, 0, 0);
    CHECK(at != (void *)-1 && shmdt(at) == 0);
    return 0;
}

static void inside(int locked) {
    CHECK(own_pid() == 1);
    /* The one outside has no number here. */
    CHECK(semctl(set, 0, GETPID) == 0 && queue_state().msg_lspid == 0 && segment_state(segment).shm_cpid == 0 && listed() == 0);
    leave_marks();
    CHECK(semctl(set, 0, GETPID) == 1 && semctl(set, 1, GETPID) == 1);
    CHECK(queue_state().msg_lspid == 1 && queue_state().msg_lrpid == 0 && listed() == 1);
    CHECK(segment_state(segment).shm_lpid == 1 && segment_state(segment).shm_cpid == 0);
    int own = shmget(IPC_PRIVATE, 1, 0600);
    CHECK(segment_state(own).shm_cpid == 1 && segment_state(own).shm_lpid == 0);
    CHECK(shmctl(own, IPC_RMID, 0) == 0);

    /* A child here: reaped, its death is settled; what it was called is known still. */
    int value = semctl(set, 1, GETVAL);
    pid_t child = fork();
    if (child == 0) {
        leave_marks();
        _exit(checked());
    }
    CHECK(child > 1 && status_of(child) == 0);
    CHECK(semctl(set, 1, GETVAL) == value);
    CHECK(semctl(set, 0, GETPID) == child && semctl(set, 1, GETPID) == child);
    CHECK(queue_state().msg_lspid == child && listed() == child && segment_state(segment).shm_lpid == child);
    child_that_does_nothing();

    if (locked >= 0) {
        capable(&locked);
        pthread_t thread;
        CHECK(pthread_create(&thread, 0, capable, &locked) == 0 && pthread_join(thread, 0) == 0);
    }
}

/* A namespace below this one: each level has its own number. */
static void below(void) {
    CHECK(unshare(CLONE_NEWPID) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(own_pid() == 1);
        leave_marks();
        CHECK(semctl(set, 0, GETPID) == 1 && queue_state().msg_lspid == 1);
        _exit(checked());
    }
    CHECK(status_of(child) == 0);
    CHECK(semctl(set, 0, GETPID) == child && queue_state().msg_lspid == child && listed() == child);
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWPID) ? 1 : 0);
    if (status_of(child) != 0) {
        puts("no PID namespaces here");
        return 77;
    }
    set = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600), segment = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK(set >= 0 && queue >= 0 && segment >= 0);
    leave_marks();
    /* Only a capability opens this one, and not everybody has it here. */
    int locked = shmget(IPC_PRIVATE, 4096, 0), mine = locked;
    void *at = shmat(locked, 0, 0);
    if (at == (void *)-1) locked = -1;
    else CHECK(shmdt(at) == 0);
    int me = own_pid();
    CHECK(unshare(CLONE_NEWPID) == 0);
    child = fork();
    if (child == 0) {
        inside(locked);
        below();
        _exit(checked());
    }
    CHECK(status_of(child) == 0);
    /* Nothing of the numbers in there is left out here. */
    CHECK(semctl(set, 0, GETPID) > 1 && semctl(set, 0, GETPID) != me && queue_state().msg_lspid == semctl(set, 0, GETPID));
    CHECK(segment_state(segment).shm_cpid == me && segment_state(segment).shm_lpid == child);
    CHECK(semctl(set, 1, GETVAL) == 1 && segment_state(segment).shm_nattch == 1);
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    CHECK(shmctl(mine, IPC_RMID, 0) == 0);
    return checked();
}
