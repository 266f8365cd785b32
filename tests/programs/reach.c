/* Which programs are started with the agent: those that can reach one of its functions. The agent is seen in a program's mappings; on the
   kernel nobody has it. */
#include "check.h"

extern char **environ;

static int has(pid_t child, const char *name) {
    char path[64], line[4096];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    FILE *maps = fopen(path, "r");
    while (maps && !found && fgets(line, sizeof line, maps)) found = strstr(line, name) != 0;
    if (maps) fclose(maps);
    return found;
}

/* Whether a program that waits has the agent: libraries are mapped in order, and libc comes after it. Ends the program. */
static int has_agent(pid_t child) {
    for (int n = 0; n < 10000 && child > 0; n++) {
        /* Before exec it is this program. */
        if (!has(child, program_invocation_short_name) && has(child, "libc.so.6")) break;
        usleep(1000);
    }
    int found = child > 0 && has(child, "libc.so.6") ? has(child, "libring3.so") : -1;
    kill(child, SIGKILL);
    status_of(child);
    return found;
}

enum how { FORK, VFORK, SPAWN };

/* Starts a program whose standard input never ends and never comes. */
static pid_t start(enum how how, char *path, char *argument, char **environment) {
    static int ends[2] = {-1, -1};
    char *arguments[] = {path, argument, 0};
    pid_t child = -1;
    if (ends[0] < 0) {
        CHECK(pipe(ends) == 0 && dup2(ends[0], 0) == 0);
        fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    }
    if (how == SPAWN) {
        posix_spawn(&child, path, 0, 0, arguments, environment);
        return child;
    }
    child = how == FORK ? fork() : vfork();
    if (child == 0) {
        execve(path, arguments, environment);
        _exit(99);
    }
    return child;
}

static void copy(const char *from, const char *to) {
    char command[256];
    snprintf(command, sizeof command, "cp %s %s", from, to);
    CHECK(system(command) == 0);
}

static int agent; /* 1 under ring3 */

/* A file's program is looked at again when it has become another's, however well it was known. */
static void replaced(void) {
    char path[] = "/tmp/ring3-copy-XXXXXX";
    struct stat now;
    CHECK(mkdtemp(path) != 0);
    char file[64];
    snprintf(file, sizeof file, "%s/program", path);
    copy("/bin/sleep", file);
    CHECK(has_agent(start(VFORK, file, "60", environ)) == 0);
    do usleep(100000);
    while (stat(file, &now) == 0 && time(0) < now.st_ctime + 3);
    for (int n = 0; n < 3; n++) CHECK(has_agent(start(VFORK, file, "60", environ)) == 0);
    copy("/bin/cat", file);
    CHECK(has_agent(start(VFORK, file, "-", environ)) == agent);
    CHECK(unlink(file) == 0 && rmdir(path) == 0);
}

/* One that brings code into programs, and one that asks for traces. */
static void with(char *variable, int expected) {
    char *environment[1000];
    int count = 0;
    for (char **entry = environ; *entry && count < 998; entry++) environment[count++] = *entry;
    environment[count++] = variable;
    environment[count] = 0;
    CHECK(has_agent(start(FORK, "/bin/sleep", "60", environment)) == expected);
}

int main(void) {
    char *none[] = {0};
    agent = getenv("RING3_LIB") != 0;
    for (enum how how = FORK; how <= SPAWN; how++) {
        /* Twice: looked at, and remembered. */
        for (int n = 0; n < 2; n++) {
            CHECK(has_agent(start(how, "/bin/sleep", "60", environ)) == 0);
            CHECK(has_agent(start(how, "/bin/cat", "-", environ)) == agent);
            CHECK(has_agent(start(how, "/bin/cat", "-", none)) == agent);
            CHECK(has_agent(start(how, "/bin/sleep", "60", none)) == 0);
        }
    }
    with("NOTHING=1", 0);
    with("LD_LIBRARY_PATH=/nowhere", 0);
    with("LD_AUDIT=/nowhere", agent);
    with("GCONV_PATH=/nowhere", agent);
    with("RING3_LOG=quiet", agent);
    replaced();
    return checked();
}
