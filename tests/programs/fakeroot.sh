#!/usr/bin/env bash
# fakeroot's daemon and its clients talk by a queue and a semaphore; it sets LD_PRELOAD itself.
set -eu
fakeroot=$(command -v fakeroot-sysv) || { echo "no fakeroot-sysv"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"; touch a b c
out=$($RUN "$fakeroot" bash -c 'chown 1234:5678 a; chmod 4755 b; chown -R 7:8 c; stat -c "%n %u:%g %a" a b c' 2>&1)
[ "$(echo "$out" | grep -c -e '^a 1234:5678' -e '^b .* 4755$' -e '^c 7:8')" = 3 ] || { echo "$out"; exit 1; }
