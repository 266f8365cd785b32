#!/usr/bin/env bash
# Programs built with sanitizers: their runtimes, which stand around the same calls, start, find nothing in the agent, and the calls go to
# the namespace. gcc's AddressSanitizer is a library that wants to be the first of all; other runtimes are in the program itself.
set -eu
command -v gcc >/dev/null || { echo "no gcc"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
echo 'int main(void) { return 0; }' >"$dir/probe.c"
cat >"$dir/leave.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/msg.h>
int main(void) { printf("%d\n", msgget(IPC_PRIVATE, 0600) >= 0); free(malloc(3)); return 0; }
C
ran=0
for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    for kind in address undefined thread leak memory "address -static-libasan" "address -shared-libasan"; do
        # A kind that this compiler does not know, or whose runtime is not installed.
        # shellcheck disable=SC2086
        $compiler -w -fsanitize=$kind -o "$dir/probe" "$dir/probe.c" 2>/dev/null && "$dir/probe" >"$dir/out" 2>&1 || continue
        # shellcheck disable=SC2086
        $compiler -g -O1 -pthread -w -fsanitize=$kind -o "$dir/leave" "$dir/leave.c"
        # shellcheck disable=SC2086
        $compiler -g -O1 -pthread -w -fsanitize=$kind -o "$dir/three_kinds" "$here/three_kinds.c"
        for prefix in "" "env ASAN_OPTIONS=detect_stack_use_after_return=1"; do
            # shellcheck disable=SC2086
            $RUN $prefix "$dir/three_kinds" >"$dir/out" 2>&1 || { echo "$compiler, $kind"; cat "$dir/out"; exit 1; }
        done
        # Its queue is the namespace's.
        out=$($RUN sh -c "$dir/leave; ipcs -q | grep -c ^0x; ipcrm --all=msg" 2>&1)
        [ "$out" = $'1\n1' ] || { echo "$compiler, $kind: $out"; exit 1; }
        ran=$((ran + 1))
    done
done
[ $ran -gt 0 ] || { echo "no sanitizer"; exit 77; }
# They still find what they are for.
cat >"$dir/bad.c" <<'C'
#include <stdlib.h>
#include <sys/sem.h>
int main(int argc, char **argv) {
    (void)argv;
    volatile char *p = malloc(4);
    semget(IPC_PRIVATE, 1, 0600);
    p[3 + argc] = 1;
    free((void *)p);
    return 0;
}
C
if gcc -g -w -fsanitize=address -o "$dir/bad" "$dir/bad.c" 2>/dev/null; then
    $RUN "$dir/bad" >"$dir/out" 2>&1 && { echo "an overflow was not found"; exit 1; }
    grep -q heap-buffer-overflow "$dir/out" || { cat "$dir/out"; exit 1; }
fi
