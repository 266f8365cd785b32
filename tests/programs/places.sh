#!/usr/bin/env bash
# Directories for namespaces whose path the dynamic linker would cut or change in LD_PRELOAD, or that has no room in a socket's address.
set -u
command -v ipcmk >/dev/null || { echo "no ipcmk"; exit 77; }
ring3=${RUN%% *}
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0
fail() { echo "$*"; failed=1; }
export RING3_DIR
long=$(printf 'x%.0s' {1..200})
for place in 'a b' ' ' 'a:b' '$LIB' 'x/${ORIGIN}/y' '$PLATFORM' $'new\nline' $'a\ttab' "$long/$long" 'größe' 'relative'; do
    for RING3_DIR in "$dir/$place" "$place"; do
        out=$($ring3 run -q -- bash -c 'ipcmk -Q >/dev/null; env ipcs -q | grep -c ^0x; test -S "$RING3_SOCKET" && grep -c libring3.so /proc/self/maps >/dev/null && echo there' 2>&1)
        [ "$out" = $'1\nthere' ] || fail "$place: $out"
        [ -z "$(find "$place" -mindepth 1)" ] || fail "$place: left $(find "$place" -mindepth 1)"
    done
    # The other commands find a namespace there, and it goes when it is stopped.
    $ring3 serve --daemon kept || { fail "$place: serve"; continue; }
    out=$($ring3 run --in kept -- ipcmk -S 3 2>&1; $ring3 ls --in kept | grep -c 'semaphores'; $ring3 rm --in kept --all >/dev/null; $ring3 stop kept 2>&1)
    [ "$out" = $'Semaphore id: 0\n1' ] || fail "$place: $out"
    [ -z "$(find "$place" -mindepth 1 ! -name .lock)" ] || fail "$place: left $(find "$place" -mindepth 1)"
done
# On a file system that is mounted noexec the agent lies elsewhere; where there is no other place, that is said and nothing runs.
export ring3 dir
if unshare -m true 2>/dev/null; then
    unshare -m bash -c '
        mkdir -p "$dir/no exec" "$dir/bin"
        mount -t tmpfs -o noexec,mode=755 none "$dir/no exec"
        out=$(RING3_DIR="$dir/no exec" $ring3 run -q -- bash -c "ipcmk -Q >/dev/null; ipcs -q | grep -c ^0x" 2>&1)
        [ "$out" = 1 ] || { echo "noexec: $out"; exit 1; }
        for place in /tmp /var/tmp; do mount --bind $place $place && mount -o remount,bind,noexec $place; done
        cd /tmp && mount -t tmpfs -o noexec,mode=755 none "$dir/no exec" && mount -t tmpfs none "$dir/bin" || exit 1
        cp /proc/self/fd/9 "$dir/bin/ring3"; chmod 755 "$dir/bin/ring3"
        out=$(RING3_DIR="$dir/no exec" "$dir/bin/ring3" run -q -- echo ran 2>&1) && { echo "noexec: $out"; exit 1; }
        for place in /tmp /var/tmp; do rmdir "$place/ring3-$(id -u)" 2>/dev/null && { echo "left $place/ring3-$(id -u)"; exit 1; }; done
        case $out in *"programs cannot map the agent"*noexec*) ;; *) echo "noexec: $out"; exit 1 ;; esac
    ' 9<"$ring3" || failed=1
fi
# Nobody's link is left.
for home in /run/ring3 "${XDG_RUNTIME_DIR:-/nowhere}/ring3" "/tmp/ring3-$(id -u)"; do
    for link in "$home"/dir-*; do
        [ -L "$link" ] && case $(readlink "$link") in "$dir"/*) fail "left $link" ;; esac
    done
done
exit $failed
