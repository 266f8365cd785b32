#!/usr/bin/env bash
# A program that installs a filter of system calls and uses no IPC is nothing to the broker; once it uses IPC it is served.
set -eu
command -v gcc >/dev/null || { echo "no gcc"; exit 77; }
ring3=${RUN%% run *}; name=t$$
dir=$(mktemp -d)
trap '$ring3 stop $name >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
cat >"$dir/idle.c" <<'END'
#include <stdio.h>
#include <sys/msg.h>
#include <sys/prctl.h>
int main(void) {
    struct { unsigned short code; unsigned char yes, no; unsigned value; } allow = {6, 0, 0, 0x7fff0000};
    struct { unsigned short len; void *filter; } program = {1, &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program)) return 77;
    printf("filtered\n"), fflush(stdout);
    if (getchar() == 'x') return 0;
    int id = msgget(IPC_PRIVATE, 0600);
    printf("%d\n", id >= 0), fflush(stdout);
    getchar();
    return msgctl(id, IPC_RMID, 0);
}
END
gcc -w -o "$dir/idle" "$dir/idle.c"
$ring3 serve $name --daemon >/dev/null
coproc $ring3 run --in $name -- "$dir/idle"
read -r said <&"${COPROC[0]}" || { echo "no filters here"; exit 77; }
# The broker ends although the program is there: it holds nothing.
$ring3 stop $name >/dev/null 2>"$dir/err" || { cat "$dir/err"; exit 1; }
echo x >&"${COPROC[1]}"; wait $COPROC_PID
$ring3 serve $name --daemon >/dev/null
coproc $ring3 run --in $name -- "$dir/idle"
read -r said <&"${COPROC[0]}"; printf y >&"${COPROC[1]}"; read -r said <&"${COPROC[0]}"
[ "$said" = 1 ] || { echo "not served: $said"; exit 1; }
if $ring3 stop $name >/dev/null 2>&1; then echo "ended although a program holds something"; exit 1; fi
echo >&"${COPROC[1]}"; wait $COPROC_PID
