#!/usr/bin/env bash
# Programs under valgrind: its checkers find nothing in the agent, and the calls go where they should. valgrind answers some questions about
# the process with its own address space.
set -eu
for tool in valgrind gcc; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
for name in three_kinds handles cancelled deferred; do
    gcc -g -O1 -pthread -w -o "$dir/$name" "$here/$name.c" -ldl
    timeout -k 1 120 $RUN valgrind -q --error-exitcode=9 --vgdb=no "$dir/$name" >"$dir/out" 2>&1 || { echo "$name: $?"; cat "$dir/out"; exit 1; }
    # What it says of a file that it cannot read, or of a system call that it does not know.
    if grep -E 'WARNING|unhandled' "$dir/out"; then exit 1; fi
done
for tool in helgrind drd; do
    $RUN valgrind -q --tool=$tool --error-exitcode=9 --vgdb=no "$dir/three_kinds" >"$dir/out" 2>&1 || { echo "$tool"; cat "$dir/out"; exit 1; }
done
# It is the namespace's queue that a program makes there.
out=$($RUN sh -c "valgrind -q --vgdb=no $(command -v ipcmk) -Q >/dev/null; ipcs -q | grep -c ^0x; ipcrm --all=msg" 2>&1)
[ "$out" = 1 ] || { echo "$out"; exit 1; }
