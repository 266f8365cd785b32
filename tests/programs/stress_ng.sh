#!/usr/bin/env bash
# stress-ng's System V stressors, verifying.
set -eu
command -v stress-ng >/dev/null || { echo "no stress-ng"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
for one in "--msg 2" "--sem-sysv 2" "--shm-sysv 2 --shm-sysv-bytes 1M"; do
  # shellcheck disable=SC2086
  $RUN stress-ng --temp-path "$dir" --timeout 2s --verify --metrics-brief $one >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
  grep -q 'successful run completed' "$dir/log" || { cat "$dir/log"; exit 1; }
done
