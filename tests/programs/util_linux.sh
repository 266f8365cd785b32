#!/usr/bin/env bash
# util-linux's own tools see what they make, and the machine's tables stay empty of it.
set -eu
for tool in ipcmk ipcs ipcrm lsipc; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
out=$($RUN bash -c '
  m=$(ipcmk -M 12345 -p 0640 | sed "s/.*: //"); q=$(ipcmk -Q | sed "s/.*: //"); s=$(ipcmk -S 7 -p 0604 | sed "s/.*: //")
  ipcs -m | awk -v i=$m "\$2==i{print \$4,\$5,\$6}"; ipcs -s | awk -v i=$s "\$2==i{print \$4,\$5}"
  awk -v i=$m "\$2==i{print \$3,\$4}" /proc/sysvipc/shm; lsipc -q --noheadings | wc -l
  echo 7 >/proc/sys/kernel/msgmni; cat /proc/sys/kernel/msgmni
  ipcrm -m $m -q $q -s $s; ipcs | grep -c "^0x" || true' 2>&1)
want='640 12345 0
604 7
640 12345
1
7
0'
[ "$out" = "$want" ] || { printf 'got:\n%s\nwant:\n%s\n' "$out" "$want"; exit 1; }
