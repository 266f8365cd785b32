#!/usr/bin/env bash
# Programs of 32 bits: their dynamic linker cannot load the agent, and does not get to see it, so that it has nothing to complain about.
set -eu
command -v gcc >/dev/null || { echo "no gcc"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >narrow.c <<'C'
#include <stdio.h>
#include <stdlib.h>
int main(void) { puts(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "none"); return 0; }
C
gcc -m32 -o narrow narrow.c 2>/dev/null && ./narrow >out 2>&1 || { echo "no gcc -m32"; exit 77; }
echo 'int nothing;' >nothing.c
gcc -m32 -shared -o libnothing.so nothing.c
cat >starts.c <<'C'
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    char *words[] = {argv[2], 0};
    pid_t child;
    if (argc < 3) return 2;
    if (!strcmp(argv[1], "spawn")) return posix_spawn(&child, argv[2], 0, 0, words, environ) || wait(0) != child;
    child = strcmp(argv[1], "fork") ? vfork() : fork();
    if (child == 0) {
        !strcmp(argv[1], "path") ? execvp(argv[2], words) : execv(argv[2], words);
        _exit(9);
    }
    return wait(0) != child;
}
C
gcc -w -o starts starts.c
for how in fork vfork path spawn; do
    out=$($RUN ./starts $how "$dir/narrow" 2>&1)
    [ "$out" = none ] || { echo "$how: $out"; exit 1; }
done
# Others that are preloaded stay, in their order; and the next program of 64 bits that the shell starts has the agent.
out=$($RUN env LD_PRELOAD="$dir/libnothing.so" sh -c './narrow; ./narrow; ./starts fork ./narrow; ipcs -q | wc -l; cat /proc/$$/maps | grep -c libring3' 2>&1 |
    grep -v "libnothing.so' from LD_PRELOAD cannot be preloaded")
[ "$(echo "$out" | head -3 | sort -u)" = "$dir/libnothing.so" ] || { echo "$out"; exit 1; }
[ "$(echo "$out" | tail -1)" -gt 0 ] || { echo "$out"; exit 1; }
# As CMD itself, that is said, once.
out=$($RUN ./narrow 2>&1)
[ "$(echo "$out" | wc -l)" = 2 ] || { echo "$out"; exit 1; }
echo "$out" | grep -q '^ring3: ./narrow is a program of 32 bits' && echo "$out" | grep -qx none || { echo "$out"; exit 1; }
out=$(PATH=$dir:$PATH $RUN narrow 2>&1)
echo "$out" | grep -q '^ring3: narrow is a program of 32 bits' || { echo "$out"; exit 1; }
