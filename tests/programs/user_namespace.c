/* A process in another user namespace: the kernel's ids decide what it may do, it sees and sets ids of its own namespace, and its capabilities
   count for nothing outside. ARGUMENT inside: what the program started there does. */
#include "check.h"
#include <sched.h>

enum { UNMAPPED = 65534 };
static int queue, set, segment, locked;

static void put(const char *file, const char *text) {
    int fd = open(file, O_WRONLY);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static struct msqid_ds stat_of(int id) {
    struct msqid_ds state;
    memset(&state, 0, sizeof state);
    CHECK(msgctl(id, IPC_STAT, &state) == 0);
    return state;
}

/* The user that /proc/sysvipc/msg gives a queue. */
static int listed(int id) {
    char line[300];
    int user = -1, found;
    FILE *file = fopen("/proc/sysvipc/msg", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%*d %d %*o %*u %*u %*u %*u %d", &found, &user) == 2 && found == id) break;
    if (file) fclose(file);
    return user;
}

static void use(void) {
    struct message m = {7, "x"};
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
    CHECK(msgsnd(queue, &m, 1, 0) == 0 && msgrcv(queue, &m, 1, 0, 0) == 1);
    CHECK(semop(set, &up, 1) == 0 && semop(set, &down, 1) == 0);
    char *at = shmat(segment, 0, 0);
    CHECK(at != (char *)-1 && shmdt(at) == 0);
    CHECK(msgget(0x55321, 0600) == queue);
    int own = msgget(IPC_PRIVATE, 0600);
    CHECK(own >= 0 && stat_of(own).msg_perm.cuid == getuid() && msgctl(own, IPC_RMID, 0) == 0);
}

/* Nobody here has CAP_IPC_OWNER where the namespace of the queues belongs. */
static void refused(void) {
    struct message m = {1, "x"};
    FAILS(msgget(0x55322, 0600), EACCES);
    FAILS(msgsnd(locked, &m, 1, IPC_NOWAIT), EACCES);
    FAILS(msgctl(locked, IPC_STAT, &(struct msqid_ds){0}), EACCES);
}

static void unmapped(void) {
    CHECK(getuid() == UNMAPPED && geteuid() == UNMAPPED);
    use();
    refused();
    struct msqid_ds state = stat_of(queue);
    CHECK(state.msg_perm.uid == UNMAPPED && state.msg_perm.cuid == UNMAPPED && state.msg_perm.gid == UNMAPPED);
    CHECK(listed(queue) == UNMAPPED);
    FAILS(msgctl(queue, IPC_SET, &state), EINVAL);
    state.msg_perm.uid = 0;
    FAILS(msgctl(queue, IPC_SET, &state), EINVAL);
}

static void mapped(unsigned user, unsigned group) {
    char map[40];
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "5 %u 1", user);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "6 %u 1", group);
    put("/proc/self/gid_map", map);
    CHECK(getuid() == 5 && getgid() == 6);
    use();
    refused();
    struct msqid_ds state = stat_of(queue);
    CHECK(state.msg_perm.uid == 5 && state.msg_perm.cuid == 5 && state.msg_perm.gid == 6 && state.msg_perm.cgid == 6);
    CHECK(listed(queue) == 5);
    state.msg_perm.mode = 0640;
    CHECK(msgctl(queue, IPC_SET, &state) == 0 && stat_of(queue).msg_perm.mode == 0640);
    state.msg_perm.uid = 4;
    FAILS(msgctl(queue, IPC_SET, &state), EINVAL);
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    unsigned user = geteuid(), group = getegid();
    if (argc > 4) {
        queue = atoi(argv[1]), set = atoi(argv[2]), segment = atoi(argv[3]), locked = atoi(argv[4]);
        unmapped();
        return checked();
    }
    pid_t child = fork();
    if (child == 0) _exit(unshare(CLONE_NEWUSER) ? 1 : 0);
    if (status_of(child) != 0) {
        puts("no user namespaces here");
        return 77;
    }
    queue = msgget(0x55321, 0600 | IPC_CREAT), set = semget(IPC_PRIVATE, 1, 0600), segment = shmget(IPC_PRIVATE, 4096, 0600);
    locked = msgget(0x55322, IPC_CREAT);
    CHECK(queue >= 0 && set >= 0 && segment >= 0 && locked >= 0);
    for (int known = 0; known < 2; known++) {
        if ((child = fork()) == 0) {
            if (known) use();
            CHECK(unshare(CLONE_NEWUSER) == 0);
            unmapped();
            _exit(checked());
        }
        CHECK(status_of(child) == 0);
        if ((child = fork()) == 0) {
            if (known) use();
            CHECK(unshare(CLONE_NEWUSER) == 0);
            mapped(user, group);
            _exit(checked());
        }
        CHECK(status_of(child) == 0);
    }
    if ((child = fork()) == 0) {
        char numbers[4][16], *args[] = {argv[0], numbers[0], numbers[1], numbers[2], numbers[3], 0};
        for (int i = 0; i < 4; i++) snprintf(numbers[i], sizeof *numbers, "%d", (int[]){queue, set, segment, locked}[i]);
        CHECK(unshare(CLONE_NEWUSER) == 0);
        execv("/proc/self/exe", args);
        _exit(99);
    }
    CHECK(status_of(child) == 0);
    struct msqid_ds state = stat_of(queue);
    CHECK(state.msg_perm.uid == user && state.msg_perm.gid == group && state.msg_perm.mode == 0640);
    CHECK(msgctl(queue, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0 && msgctl(locked, IPC_RMID, 0) == 0);
    return checked();
}
