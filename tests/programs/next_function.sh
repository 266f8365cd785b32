#!/usr/bin/env bash
# dlsym(RTLD_NEXT) looks behind the library that asks, also with the agent's dlsym in between; and Python's ctypes takes libc by handle.
set -eu
command -v gcc >/dev/null || { echo "no gcc"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >wrapper.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
/* Stands in front of libc's getppid: it must find that one, not itself. */
int getppid(void) {
    int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "getppid");
    return next && next != getppid ? next() : -7;
}
void *wrapper(void) { return (void *)getppid; }
C
cat >main.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/sem.h>
#include <unistd.h>
void *wrapper(void);
int main(void) {
    int set = semget(IPC_PRIVATE, 1, 0600);
    printf("%d %d %d\n", set >= 0 && semctl(set, 0, IPC_RMID) == 0, getppid() > 0,
           dlsym(RTLD_NEXT, "getppid") == wrapper() && dlsym(RTLD_DEFAULT, "getppid") == wrapper());
    return 0;
}
C
gcc -shared -fPIC -O1 -fno-optimize-sibling-calls -o libwrapper.so wrapper.c -ldl
gcc -O1 -o main main.c -L. -lwrapper -Wl,-rpath,"$dir" -ldl
[ "$($RUN ./main 2>&1)" = "1 1 1" ] || { $RUN ./main; exit 1; }
# The wrapper before the agent and behind it.
[ "$($RUN env LD_PRELOAD="$dir/libwrapper.so" ./main 2>&1)" = "1 1 1" ] || { echo "preloaded"; exit 1; }

command -v python3 >/dev/null && python3 -c 'import ctypes' 2>/dev/null || { echo "no python3 with ctypes"; exit 77; }
out=$($RUN python3 -c '
import ctypes
rows = lambda: open("/proc/sysvipc/sem").read().count("\n")
for name in (None, "libc.so.6"):
    libc, before = ctypes.CDLL(name), rows()
    made = libc.semget(0, 1, 0o600)
    print(made >= 0, rows() - before, libc.semctl(made, 0, 0))' 2>&1)
[ "$out" = $'True 1 0\nTrue 1 0' ] || { echo "$out"; exit 1; }
