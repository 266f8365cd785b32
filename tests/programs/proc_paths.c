/* What was opened counts, not how it was spelled: the files of /proc by other paths, other calls and other flags. */
#include "check.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#ifndef RESOLVE_NO_XDEV
struct open_how {
    unsigned long long flags, mode, resolve;
};
#endif

static const char *DIR_ = "/proc/sys/kernel";

/* What a descriptor reads, as a number; it is closed. */
static long number(int fd) {
    char text[64] = "";
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atol(text);
}

static void set(int fd, const char *text) {
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static long now(void) {
    return number(open("/proc/sys/kernel/shmmni", O_RDONLY));
}

/* Spellings of one file. */
static void spellings(const char *link, const char *links) {
    char path[300];
    set(open("/proc/sys/kernel/shmmni", O_WRONLY | O_CREAT | O_TRUNC, 0666), "77\n");
    CHECK(chdir("/proc/sys") == 0);
    CHECK(number(open("kernel/shmmni", O_RDONLY)) == 77);
    set(open("kernel/../kernel//shmmni", O_WRONLY), "78");
    CHECK(now() == 78);
    CHECK(chdir("kernel") == 0 && number(open("shmmni", O_RDONLY)) == 78 && number(open("./shmmni", O_RDONLY)) == 78);
    CHECK(number(open("/proc//sys/kernel/shmmni", O_RDONLY)) == 78);
    CHECK(number(open("/proc/self/root/proc/sys/kernel/shmmni", O_RDONLY)) == 78);
    CHECK(number(open("/proc/thread-self/root//proc/../proc/sys/kernel/shmmni", O_RDONLY)) == 78);
    int dir = open(DIR_, O_RDONLY | O_DIRECTORY), proc = open("/proc", O_PATH);
    CHECK(number(openat(dir, "shmmni", O_RDONLY)) == 78 && number(openat(proc, "sys/kernel/shmmni", O_RDONLY)) == 78);
    struct open_how how = {.flags = O_RDWR};
    set(syscall(SYS_openat2, dir, "shmmni", &how, sizeof how), "79");
    CHECK(now() == 79 && number(syscall(SYS_openat, dir, "shmmni", O_RDONLY)) == 79);
    /* By links: to the file under its own name, to the directory, and to be written under any name. */
    snprintf(path, sizeof path, "%s/shmmni", links);
    CHECK(symlink("/proc/sys/kernel", link) == 0 && symlink("/proc/sys/kernel/shmmni", path) == 0);
    CHECK(number(open(path, O_RDONLY)) == 79);
    FAILS(open(path, O_RDONLY | O_NOFOLLOW), ELOOP);
    snprintf(path, sizeof path, "%s/shmmni", link);
    set(open(path, O_WRONLY), "80");
    CHECK(now() == 80);
    snprintf(path, sizeof path, "%s/any", links);
    CHECK(symlink("/proc/sys/kernel/shmmni", path) == 0);
    set(open(path, O_WRONLY), "81");
    CHECK(now() == 81);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("82", file) >= 0 && fclose(file) == 0 && now() == 82);
    file = fopen("shmmni", "r+");
    CHECK(file && fscanf(file, "%*d") == 0 && (rewind(file), fputs("83", file)) >= 0 && fclose(file) == 0 && now() == 83);
    file = fopen("shmmni", "a");
    CHECK(file && fputs("84", file) >= 0 && fclose(file) == 0 && now() == 84);
    close(dir), close(proc);
}

/* What open's flags do is what they do to the kernel's file. */
static void flags(void) {
    FAILS(open("shmmni", O_RDONLY | O_DIRECTORY), ENOTDIR);
    FAILS(open("shmmni", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS(open("shmmni/", O_RDONLY), ENOTDIR);
    FAILS((long)fopen("shmmni", "wx") ? 0 : -1, EEXIST);
    int fd = open("shmmni", O_WRONLY | O_APPEND | O_NONBLOCK);
    CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) == (O_WRONLY | O_APPEND | O_NONBLOCK));
    set(fd, "85");
    fd = open("shmmni", O_PATH);
    char byte;
    CHECK(fd >= 0);
    FAILS(read(fd, &byte, 1), EBADF);
    close(fd);
    /* The number is the lowest that is free. */
    fd = dup(0);
    close(fd);
    CHECK(open("shmmni", O_RDONLY) == fd && close(fd) == 0);
    FAILS(open((char *)8, O_RDONLY), EFAULT);
}

/* One descriptor read, sought and written. */
static void one_descriptor(void) {
    char text[64] = "";
    int fd = open("shmmni", O_RDWR), other = open("shmmni", O_RDONLY);
    /* The kernel gives a limit by one read from its beginning, whole or not. */
    CHECK(read(fd, text, 2) == 2 && memcmp(text, "85", 2) == 0 && read(fd, text, 9) == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, "86\n", 3) == 3);
    CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, text, sizeof text) == 3 && memcmp(text, "86\n", 3) == 0);
    CHECK(pread(other, text, sizeof text, 0) == 3 && memcmp(text, "86\n", 3) == 0);
    FAILS(pwrite(fd, "x", 1, 0), EINVAL);
    FAILS(pwrite(fd, "99999", 5, 0), EINVAL);
    CHECK(pread(fd, text, sizeof text, 0) == 3 && memcmp(text, "86\n", 3) == 0);
    struct shminfo info;
    CHECK(shmctl(0, IPC_INFO, (void *)&info) >= 0 && info.shmmni == 86);
    CHECK(pwrite(fd, "87", 2, 0) == 2 && shmctl(0, IPC_INFO, (void *)&info) >= 0 && info.shmmni == 87);
    close(fd), close(other);
}

/* A descriptor and its path say the same of the file. */
static void same(const char *path, mode_t mode) {
    struct stat by_path, by_fd, by_empty;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && stat(path, &by_path) == 0 && fstat(fd, &by_fd) == 0);
    CHECK(by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino && by_fd.st_mode == by_path.st_mode);
    CHECK(by_fd.st_mode == (S_IFREG | mode) && by_fd.st_size == 0 && by_fd.st_nlink == 1 && by_fd.st_uid == 0);
    CHECK(fstatat(fd, "", &by_empty, AT_EMPTY_PATH) == 0 && by_empty.st_ino == by_path.st_ino);
#ifdef __GLIBC__
    struct statx x;
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0);
    CHECK(x.stx_ino == by_path.st_ino && x.stx_mode == by_path.st_mode && x.stx_size == 0 && x.stx_nlink == 1);
#endif
    CHECK(syscall(SYS_fstat, fd, &by_empty) == 0 && by_empty.st_ino == by_path.st_ino);
    close(fd);
}

/* A segment's table holds the segment, whichever way it was opened. */
static void tables(void) {
    int id = shmget(IPC_PRIVATE, 12345, 0600), found = 0;
    char line[300];
    CHECK(chdir("/proc/sysvipc") == 0);
    FILE *file = fopen("../sysvipc/shm", "r");
    CHECK(file && fgets(line, sizeof line, file));
    while (file && fgets(line, sizeof line, file)) found += atoi(line + 11) == id;
    CHECK(found == 1 && file && fclose(file) == 0);
    CHECK(access("shm", R_OK) == 0 && faccessat(AT_FDCWD, "../sysvipc/sem", R_OK, 0) == 0);
    FAILS(access("shm", X_OK), EACCES);
    int fd = open("shm", O_WRONLY);
    FAILS(write(fd, "1", 1), EIO);
    close(fd);
    CHECK(shmctl(id, IPC_RMID, 0) == 0);
}

/* Another mount of /proc, where there is none at the usual place. */
static void elsewhere(const char *dir) {
    int pid = fork(), status;
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)) _exit(0);
        CHECK(mount("proc", dir, "proc", 0, 0) == 0 && chdir(dir) == 0 && chroot("..") == 0);
        FAILS(open("/proc/sys/kernel/shmmni", O_RDONLY), ENOENT);
        CHECK(number(open("sys/kernel/shmmni", O_RDONLY)) == 87 && chdir("sys/kernel") == 0);
        set(open("shmmni", O_WRONLY), "88");
        CHECK(number(open("../kernel/shmmni", O_RDONLY)) == 88);
        _exit(failed);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void) {
    char links[] = "/tmp/proc-paths-XXXXXX", link[60], path[80];
    CHECK(mkdtemp(links));
    snprintf(link, sizeof link, "%s/kernel", links);
    spellings(link, links);
    flags();
    one_descriptor();
    same("/proc/sysvipc/shm", 0444);
    same("/proc/sysvipc/msg", 0444);
    same("/proc/sys/kernel/shmmni", 0644);
    same("/proc/sys/kernel/sem", 0644);
    tables();
    snprintf(path, sizeof path, "%s/mount", links);
    CHECK(mkdir(path, 0700) == 0);
    elsewhere(path);
    CHECK(rmdir(path) == 0);
    const char *names[] = {"kernel", "shmmni", "any"};
    for (int i = 0; i < 3; i++) snprintf(path, sizeof path, "%s/%s", links, names[i]), unlink(path);
    CHECK(rmdir(links) == 0);
    return checked();
}
