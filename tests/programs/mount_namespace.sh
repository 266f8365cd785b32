#!/usr/bin/env bash
# Where the agent's file is not to be seen a new program runs without the agent, and the trace says so.
set -eu
for tool in unshare mount; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
unshare -m mount -t tmpfs none /mnt 2>/dev/null || { echo "no mount namespaces for this user here"; exit 77; }
log=$(mktemp) && trap 'rm -f "$log"' EXIT
RING3_LOG=debug RING3_LOG_FILE=$log $RUN unshare -m sh -c '
  /bin/true; mount -t tmpfs none "${RING3_SOCKET%/*}"; exec /bin/echo on' 2>/dev/null | grep -qx on
[ "$(grep -c 'exec without the agent' "$log")" = 1 ] || { echo "the trace has:"; cat "$log"; exit 1; }
