/* Queue, set and segment between two processes, with nothing else that a tool which watches the program could stumble over. The scripts for
   such tools (valgrind.sh, sanitizers.sh) build it, too. */
#include "check.h"

static void child(int queue, int set, int segment) {
    struct sembuf wait = {0, -1, 0}, up = {1, 1, 0};
    struct message message;
    char *memory = shmat(segment, 0, 0);
    memset(&message, 0, sizeof message);
    int good = memory != (void *)-1 && semop(set, &wait, 1) == 0 && memory[4000] == 7;
    good = good && msgrcv(queue, &message, sizeof message.text, -9, 0) == 6 && !strcmp(message.text, "hello");
    memory[0] = 8;
    good = good && shmdt(memory) == 0 && semop(set, &up, 1) == 0;
    _exit(!good);
}

int main(void) {
    int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 2, 0600), segment = shmget(IPC_PRIVATE, 8192, 0600);
    struct sembuf up = {0, 1, SEM_UNDO}, wait = {1, -1, 0};
    struct timespec brief = {0, 1000};
    struct message message;
    struct msqid_ds queued;
    struct shmid_ds attached;
    char *memory = shmat(segment, 0, 0);
    CHECK(queue >= 0 && set >= 0 && segment >= 0 && memory != (void *)-1);
    pid_t pid = fork();
    if (pid == 0) child(queue, set, segment);
    memset(&message, 0, sizeof message);
    memset(&queued, 0, sizeof queued);
    memset(&attached, 0, sizeof attached);
    message.type = 5;
    strcpy(message.text, "hello");
    memory[4000] = 7;
    CHECK(msgsnd(queue, &message, 6, 0) == 0);
    CHECK(semop(set, &up, 1) == 0);
    CHECK(semop(set, &wait, 1) == 0);
    CHECK(status_of(pid) == 0);
    CHECK(memory[0] == 8);
    FAILS(semtimedop(set, &wait, 1, &brief), EAGAIN);
    FAILS(msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT), ENOMSG);
    CHECK(msgctl(queue, IPC_STAT, &queued) == 0 && queued.msg_lrpid == pid && queued.msg_qnum == 0);
    CHECK(shmctl(segment, IPC_STAT, &attached) == 0 && attached.shm_nattch == 1);
    CHECK(shmdt(memory) == 0);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0 && shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
