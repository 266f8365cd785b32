/* /proc/sysvipc and /proc/sys/kernel, by every call that opens a file or asks about one. */
#include "check.h"
#ifdef __GLIBC__
extern int __open64(const char *, int, ...);
#else
#define creat64 creat
#endif

static int number_in(const char *path, int flags) {
    char text[32] = "";
    int fd = open(path, flags);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    CHECK(!(fcntl(fd, F_GETFD) & FD_CLOEXEC) == !(flags & O_CLOEXEC));
    close(fd);
    return atoi(text);
}

int main(void) {
    const char *limit = "/proc/sys/kernel/msgmni";
    char line[300];
    int rows = 0, set = semget(IPC_PRIVATE, 1, 0600), fd;
    struct stat state;
    setvbuf(stdout, 0, _IONBF, 0);
    FILE *file = fopen("/proc/sysvipc/sem", "r");
    CHECK(file && fgets(line, sizeof line, file) && strstr(line, "semid"));
    while (file && fgets(line, sizeof line, file)) rows++;
    CHECK(rows >= 1 && file && fclose(file) == 0);
    file = freopen("/proc/sys/kernel/msgmax", "r", stdin);
    CHECK(file && fgets(line, sizeof line, file) && atoi(line) == 8192);
    CHECK(stat("/proc/sysvipc/shm", &state) == 0 && S_ISREG(state.st_mode) && (state.st_mode & 0777) == 0444);
    CHECK(lstat(limit, &state) == 0 && (state.st_mode & 0777) == 0644);
    CHECK(fstatat(AT_FDCWD, "/proc/sysvipc/msg", &state, 0) == 0);
#ifdef __GLIBC__
    struct statx extended;
    CHECK(statx(AT_FDCWD, "/proc/sysvipc/msg", 0, STATX_BASIC_STATS, &extended) == 0 && (extended.stx_mode & 0777) == 0444);
#endif
    CHECK(access("/proc/sys/kernel/shmmax", R_OK | W_OK) == 0);
    FAILS(access("/proc/sysvipc/shm", X_OK), EACCES);
    CHECK(faccessat(AT_FDCWD, "/proc/sysvipc/msg", R_OK, 0) == 0);

    CHECK(number_in(limit, O_RDONLY) == 32000);
    fd = open(limit, O_RDWR);
    CHECK(fd >= 0 && write(fd, "31000\n", 6) == 6 && close(fd) == 0);
    CHECK(number_in(limit, O_RDONLY | O_CLOEXEC) == 31000);
    file = fopen(limit, "w");
    CHECK(file && fprintf(file, "32000") == 5 && fclose(file) == 0);
    CHECK(number_in(limit, O_RDONLY) == 32000);
    fd = creat(limit, 0600);
    CHECK(fd >= 0 && write(fd, "31999", 5) == 5 && close(fd) == 0);
    CHECK(number_in(limit, O_RDONLY) == 31999);
    fd = creat64(limit, 0600);
    CHECK(fd >= 0 && write(fd, "32000", 5) == 5 && close(fd) == 0);
#ifdef __GLIBC__
    fd = __open64(limit, O_RDONLY);
    CHECK(fd >= 0 && read(fd, line, sizeof line) == 6 && memcmp(line, "32000\n", 6) == 0 && close(fd) == 0);
#endif
    FAILS(open("/proc/sysvipc/none", O_RDONLY), ENOENT);
    CHECK(open("/dev/null", O_RDONLY) >= 0 && access("/proc/self/status", R_OK) == 0);
    CHECK(semctl(set, 0, IPC_RMID) == 0);
    return checked();
}
