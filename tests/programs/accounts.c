/* nattch while children attach and detach: whatever call is asked, and whenever, the answer lies between the attachments that there must be
   and those that there may be. */
#include "check.h"
#include <stdatomic.h>

enum { CHILDREN = 20, ROUNDS = 40, LOOKS = 4000 };

static struct {
    atomic_int attaching, attached, detaching, detached, done;
} *all;

static int child(int segment) {
    for (int n = 0; n < ROUNDS; n++) {
        all->attaching++;
        char *at = shmat(segment, 0, 0);
        if (at == (void *)-1) return 1;
        all->attached++;
        if (n % 8 == 0) sched_yield();
        all->detaching++;
        if (shmdt(at) != 0) return 2;
        all->detached++;
    }
    all->done++;
    return 0;
}

/* Asks by one of the two calls; tells the bounds of the moment. */
static int look(int segment, int index, int *least, int *most) {
    struct shmid_ds state;
    int attached = all->attached, detached = all->detached;
    int done = index < 0 ? shmctl(segment, IPC_STAT, &state) : shmctl(index, SHM_STAT, &state);
    *least = attached - all->detaching;
    *most = all->attaching - detached;
    return done == -1 ? -1 : (int)state.shm_nattch;
}

int main(void) {
    int index = -1, least, most;
    struct shmid_ds state;
    all = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int segment = shmget(IPC_PRIVATE, 4096, 0600);
    CHECK(segment >= 0);
    for (int n = 0; n < 64 && index < 0; n++)
        if (shmctl(n, SHM_STAT, &state) == segment) index = n;
    CHECK(index >= 0);
    for (int n = 0; n < CHILDREN; n++)
        if (fork() == 0) _exit(child(segment));
    for (int n = 0; n < LOOKS && all->done < CHILDREN; n++) {
        int nattch = look(segment, n % 2 ? index : -1, &least, &most);
        if (nattch < least || nattch > most) {
            CHECK(!"nattch is out of its bounds");
            printf("%s: nattch %d, at least %d, at most %d\n", n % 2 ? "SHM_STAT" : "IPC_STAT", nattch, least, most);
        }
    }
    for (int n = 0; n < CHILDREN; n++) {
        int status = -1;
        CHECK(wait(&status) > 0 && status == 0);
    }
    CHECK(look(segment, -1, &least, &most) == 0 && look(segment, index, &least, &most) == 0);
    CHECK(shmctl(segment, IPC_RMID, 0) == 0);
    return checked();
}
