#!/usr/bin/env bash
# Kernel IPC namespaces made by tools: each has objects of its own, which go with it; a named namespace is joined from any of them.
set -eu
for tool in unshare nsenter ipcmk ipcs; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
unshare -i true 2>/dev/null || { echo "no IPC namespaces for this user here"; exit 77; }
ring3=${RUN%% run *}
name=t$$
trap '$ring3 stop $name >/dev/null 2>&1 || true' EXIT
count='ipcs -q | grep -c "^0x" || true'
out=$($RUN bash -c '
  ipcmk -Q >/dev/null; count() { ipcs -q | grep -c "^0x" || true; }; count
  unshare -i sh -c "ipcmk -Q >/dev/null; ipcmk -Q >/dev/null; '"$count"'"
  unshare -i sh -c "'"$count"'"
  unshare -i sleep 60 & there=$!
  until [ "$(readlink /proc/$there/ns/ipc)" != "$(readlink /proc/self/ns/ipc)" ]; do sleep 0.01; done
  nsenter --ipc=/proc/$there/ns/ipc ipcmk -Q >/dev/null
  nsenter --ipc=/proc/$there/ns/ipc sh -c "'"$count"'"
  nsenter --ipc=/proc/$there/ns/ipc ipcmk -Q >/dev/null
  nsenter --ipc=/proc/$there/ns/ipc sh -c "'"$count"'"
  kill $there; count; ipcrm -a' 2>&1)
want='1
2
0
1
2
1'
[ "$out" = "$want" ] || { printf 'got:\n%s\nwant:\n%s\n' "$out" "$want"; exit 1; }
# Root of a user namespace may set the limits of the IPC namespace that it owns, and sees itself as its objects' owner.
if setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Uri true 2>/dev/null; then
  out=$($RUN setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Uri sh -c '
    ipcmk -Q >/dev/null; echo 7 >/proc/sys/kernel/msgmni; cat /proc/sys/kernel/msgmni; awk "NR==2{print \$8,\$10}" /proc/sysvipc/msg' 2>&1)
  [ "$out" = $'7\n0 0' ] || { printf 'root of a user namespace, got:\n%s\n' "$out"; exit 1; }
fi
# Objects of a namespace that is gone are nobody's leak.
out=$($RUN unshare -i ipcmk -Q 2>&1 | grep -v '^Message queue' || true)
[ -z "$out" ] || { printf 'got:\n%s\nwant nothing\n' "$out"; exit 1; }
# A named one is the same for all who join it, wherever they are; what they make a namespace of is not.
$ring3 serve $name --daemon >/dev/null
unshare -i $ring3 run --in $name -- ipcmk -Q >/dev/null
out=$($ring3 run --in $name -- sh -c "$count"; unshare -i $ring3 run --in $name -- sh -c "$count; unshare -i sh -c '$count'")
[ "$out" = $'1\n1\n0' ] || { printf 'joined, got:\n%s\n' "$out"; exit 1; }
# Whoever may not administer it joins one's own processes alone: the others that are in it stay where they are.
if [ "$(id -u)" = 0 ]; then
  $ring3 stop $name >/dev/null
  export RING3_DIR=$(mktemp -d); chmod 755 "$RING3_DIR"; trap '$ring3 stop $name >/dev/null 2>&1; rm -rf "$RING3_DIR"' EXIT
  $ring3 serve $name --daemon >/dev/null
  $ring3 run --in $name -- ipcmk -Q >/dev/null
  out=$($ring3 run --in $name -- unshare -i sh -c "ipcmk -Q >/dev/null; ipcmk -Q >/dev/null; $count
    setpriv --reuid 65534 --regid 65534 --clear-groups $ring3 run --in $name -- sh -c '$count'; $count")
  [ "$out" = $'2\n1\n2' ] || { printf 'joined by a stranger, got:\n%s\n' "$out"; exit 1; }
fi
