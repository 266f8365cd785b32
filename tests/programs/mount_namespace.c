/* A mount namespace in which nothing of ring3's is to be seen: a process and its children go on by the connection that they have. */
#include "check.h"
#include <libgen.h>
#include <sched.h>
#include <sys/mount.h>

static int set;

static void use(void) {
    struct sembuf up = {0, 1, SEM_UNDO};
    int queue = msgget(IPC_PRIVATE, 0600);
    CHECK(semop(set, &up, 1) == 0);
    CHECK(queue >= 0 && msgctl(queue, IPC_RMID, 0) == 0);
}

int main(void) {
    char *socket = getenv("RING3_SOCKET");
    setvbuf(stdout, 0, _IONBF, 0);
    set = semget(IPC_PRIVATE, 1, 0600);
    CHECK(set >= 0);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0)) _exit(77);
        if (socket && mount("none", dirname(strdup(socket)), "tmpfs", 0, 0)) _exit(77);
        CHECK(!socket || access(socket, F_OK) == -1);
        use();
        pid_t grandchild = fork();
        if (grandchild == 0) {
            use();
            _exit(checked());
        }
        CHECK(status_of(grandchild) == 0 && semctl(set, 0, GETVAL) == 1);
        _exit(checked());
    }
    int status = status_of(child);
    CHECK(status == 0 || status == 77 << 8);
    CHECK(semctl(set, 0, GETVAL) == 0 && semctl(set, 0, IPC_RMID) == 0);
    if (status == 77 << 8) {
        puts("no mount namespaces for this user here");
        return failed ? 1 : 77;
    }
    return checked();
}
