/* Functions of libc's by a handle: dlopen and dlsym, dlvsym, as interpreters call C (ctypes, FFI). They are the functions that the program
   is linked with. A pseudo-handle sees its caller. */
#include "check.h"
#include <dlfcn.h>

#define SAME(name) CHECK(dlsym(handle, #name) == (void *)(name))

static void same(void *handle) {
    SAME(msgget); SAME(msgsnd); SAME(msgrcv); SAME(msgctl); SAME(semget); SAME(semop); SAME(semtimedop); SAME(semctl);
    SAME(shmget); SAME(shmat); SAME(shmdt); SAME(shmctl); SAME(syscall);
    SAME(fork); SAME(execve); SAME(open); SAME(sigaction); SAME(waitpid); SAME(dlsym);
    /* Not ours to serve. */
    SAME(getpid); SAME(strlen);
}

/* An object made by handle is seen by name, and can be used by both. */
static void works(void *handle) {
    int (*get)(key_t, int, int) = (int (*)(key_t, int, int))dlsym(handle, "semget");
    int (*op)(int, struct sembuf *, size_t) = (int (*)(int, struct sembuf *, size_t))dlsym(handle, "semop");
    int (*ctl)(int, int, int, ...) = (int (*)(int, int, int, ...))dlsym(handle, "semctl");
    long (*call)(long, ...) = (long (*)(long, ...))dlsym(handle, "syscall");
    struct sembuf up = {0, 3, 0};
    int set = get(IPC_PRIVATE, 1, 0600);
    CHECK(set >= 0 && op(set, &up, 1) == 0);
    CHECK(semctl(set, 0, GETVAL) == 3 && ctl(set, 0, GETVAL) == 3);
    CHECK(call(SYS_semop, set, &up, 1) == 0 && semctl(set, 0, GETVAL) == 6);
    CHECK(ctl(set, 0, IPC_RMID) == 0);
    FAILS(semctl(set, 0, GETVAL), EINVAL);
}

static void missing(void *handle) {
    dlerror();
    CHECK(dlsym(handle, "ring3_has_no_such_name") == 0 && dlerror());
    CHECK(dlsym(handle, "msgget") && !dlerror());
    CHECK(dlsym(RTLD_DEFAULT, "ring3_has_no_such_name") == 0 && dlerror());
    CHECK(dlsym(RTLD_NEXT, "ring3_has_no_such_name") == 0 && dlerror());
}

int main(void) {
    const char *names[] = {0, "libc.so.6", "libc.so"};
    int opened = 0;
    void *handle;
    for (int n = 0; n < 3; n++) {
        handle = dlopen(names[n], RTLD_LAZY);
        if (!handle) continue;
        opened++;
        same(handle);
        works(handle);
        missing(handle);
    }
    CHECK(opened >= 2);
    handle = RTLD_DEFAULT;
    same(handle);
    works(handle);
    handle = RTLD_NEXT;
    same(handle);
    works(handle);
#ifdef __GLIBC__
    handle = dlopen("libc.so.6", RTLD_LAZY);
    const char *version = sizeof(long) == 8 && dlvsym(handle, "semget", "GLIBC_2.2.5") ? "GLIBC_2.2.5" : "GLIBC_2.17";
    CHECK(dlvsym(handle, "semget", version) == (void *)semget);
    CHECK(dlvsym(handle, "shmat", version) == (void *)shmat);
    CHECK(dlvsym(handle, "semget", "GLIBC_9.9") == 0);
    CHECK(dlvsym(RTLD_NEXT, "getpid", version) == (void *)getpid);
#endif
    return checked();
}
