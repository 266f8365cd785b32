#!/usr/bin/env bash
# The C programs of this directory, or the one that is named, built with each libc that is here: handlers, cancellation, life and death, /proc files.
set -u
here=$(cd "$(dirname "$0")" && pwd)
command -v gcc >/dev/null || { echo "no gcc"; exit 77; }
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
failed=0
for compiler in gcc musl-gcc; do
    command -v $compiler >/dev/null || continue
    for source in "$here"/${1-*}.c; do
        program=$scratch/$(basename "$source" .c)
        $compiler -O1 -pthread -Wall -Wextra -Wno-deprecated-declarations -Wno-dangling-pointer -o "$program" "$source" -ldl || exit 1
        said=$(timeout 60 ${RUN-} "$program" 2>&1) && continue
        # 77: the machine does not allow what the program tries.
        [ $? = 77 ] && { printf 'left out: %s: %s\n' "$(basename "$source")" "$said"; continue; }
        printf '%s: %s:\n%s\n' $compiler "$(basename "$source")" "$said"
        failed=1
    done
done
exit $failed
