#!/usr/bin/env bash
# A process outside of the broker's PID namespace, of which the kernel tells the broker no number: it is refused, and nobody else notices.
set -eu
for tool in unshare ipcmk ipcs; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
unshare --pid --fork --mount-proc true 2>/dev/null || { echo "no PID namespaces for this user here"; exit 77; }
ring3=${RUN%% run *}
dir=$(mktemp -d); export RING3_DIR=$dir/base; mkdir "$RING3_DIR"
mkfifo "$dir/go" "$dir/over"
unshare --pid --fork --mount-proc bash -c '
  '"$ring3"' serve inner --daemon >/dev/null; ipcs() { '"$ring3"' run --in inner -- ipcs -q | grep -c "^0x" || true; }
  '"$ring3"' run --in inner -- ipcmk -Q >/dev/null; ipcs; echo >'"$dir"'/go; read <'"$dir"'/over
  '"$ring3"' run --in inner -- ipcmk -Q >/dev/null; ipcs; '"$ring3"' rm --in inner --all >/dev/null 2>&1; '"$ring3"' stop inner >/dev/null' >"$dir/inside" 2>&1 &
inside=$!
read <"$dir/go"
# The command says so; a program that has the environment gets ENOSYS, as where there is no System V IPC.
said=$($ring3 run --in inner -- ipcmk -Q 2>&1) && said="served: $said"
lib=$RING3_DIR/inner
program=$(env LD_PRELOAD="$lib/libring3.so" RING3_SOCKET="$lib/sock" RING3_LIB="$lib/libring3.so" ipcmk -Q 2>&1) && program="served: $program"
echo >"$dir/over"
wait $inside || true
inside=$(cat "$dir/inside"); rm -rf "$dir"
[ "$inside" = $'1\n2' ] || { printf 'inside: %s\n' "$inside"; exit 1; }
case $said in *"hung up"*) ;; *) echo "the command: $said"; exit 1;; esac
case $program in *"Function not implemented"*) ;; *) echo "a program: $program"; exit 1;; esac
