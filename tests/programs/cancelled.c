/* pthread_cancel: msgsnd and msgrcv are cancellation points, semop is none; a cancelled call leaves no sleeper behind. */
#include "check.h"

static int set, queue;
static volatile int cleaned, go;

static void clean(void *nothing) {
    (void)nothing;
    cleaned++;
}

static void *receive(void *nothing) {
    struct message m;
    pthread_cleanup_push(clean, 0);
    msgrcv(queue, &m, 8, 5, 0);
    pthread_cleanup_pop(0);
    return nothing;
}

static void *receive_unmoved(void *nothing) {
    struct message m;
    (void)nothing;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
    return (void *)(long)msgrcv(queue, &m, 8, 5, 0);
}

static void *send_late(void *nothing) {
    struct message m = {5, ""};
    while (!go) usleep(100);
    msgsnd(queue, &m, 8, 0);
    return nothing;
}

static void *down(void *nothing) {
    struct sembuf op = {0, -1, 0};
    (void)nothing;
    return (void *)(long)semop(set, &op, 1);
}

static unsigned long queued(void) {
    struct msqid_ds state;
    CHECK(msgctl(queue, IPC_STAT, &state) == 0);
    return state.msg_qnum;
}

int main(void) {
    struct message m = {5, ""};
    struct sembuf up = {0, 1, 0};
    pthread_t thread, other;
    void *result;
    setvbuf(stdout, 0, _IONBF, 0);
    set = semget(IPC_PRIVATE, 1, 0600);
    queue = msgget(IPC_PRIVATE, 0600);
    for (int n = 0; n < 20; n++) {
        cleaned = 0;
        pthread_create(&thread, 0, receive, 0);
        usleep(n < 10 ? n * 100 : 20000);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED && cleaned <= 1 && (n < 10 || cleaned == 1));
        CHECK(msgsnd(queue, &m, 4, 0) == 0 && queued() == 1);
        CHECK(msgrcv(queue, &m, 8, 5, IPC_NOWAIT) == 4);
    }
    /* Cancelled before the call. */
    pthread_create(&thread, 0, send_late, 0);
    pthread_cancel(thread);
    go = 1;
    pthread_join(thread, &result);
    CHECK(result == PTHREAD_CANCELED && queued() == 0);
#ifdef __GLIBC__
    /* musl interrupts calls that cannot be cancelled. */
    pthread_create(&other, 0, receive_unmoved, 0);
    pthread_create(&thread, 0, receive, 0);
    usleep(20000);
    pthread_cancel(thread);
    pthread_cancel(other);
    pthread_join(thread, &result);
    CHECK(result == PTHREAD_CANCELED);
    usleep(20000);
    CHECK(msgsnd(queue, &m, 3, 0) == 0);
    pthread_join(other, &result);
    CHECK(result == (void *)3);
    pthread_create(&thread, 0, down, 0);
    while (semctl(set, 0, GETNCNT) != 1) usleep(100);
    pthread_cancel(thread);
    usleep(20000);
    CHECK(semctl(set, 0, GETNCNT) == 1);
    CHECK(semop(set, &up, 1) == 0);
    pthread_join(thread, &result);
    CHECK(result == 0);
#else
    (void)other, (void)up, (void)down, (void)receive_unmoved;
#endif
    CHECK(semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, 0) == 0);
    return checked();
}
