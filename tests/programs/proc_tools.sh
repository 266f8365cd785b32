#!/usr/bin/env bash
# Everyday tools on the files of /proc do what they do on the kernel's, and the machine keeps its own limits: root, an ordinary user, and
# where the kernel lets nobody have a namespace.
set -u
for tool in unshare python3 setpriv; do command -v $tool >/dev/null || { echo "no $tool"; exit 77; }; done
[ "$(id -u)" = 0 ] && unshare -i true 2>/dev/null || { echo "no root that may make an IPC namespace"; exit 77; }
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"; cd "$scratch" || exit 1
machine() { head -n 99 /proc/sys/kernel/{shmmax,shmall,shmmni,msgmax,msgmnb,msgmni,sem}; }
machine >machine
failed=0
compare() { # name, what it should have printed, what it printed
    cmp -s "$2" "$3" || { echo "$1:"; diff "$2" "$3"; failed=1; }
}

cat >tools <<'END'
K=/proc/sys/kernel V=/proc/sysvipc
mkdir out; cd out
show() { printf '%s: ' "$*"; "$@" 2>&1; echo "= $?"; }
ipcmk -M 100 >/dev/null; ipcmk -Q >/dev/null; ipcmk -S 3 >/dev/null
for f in msg sem shm; do
    show cp $V/$f $f; show install -m 600 $V/$f $f.2; show dd if=$V/$f of=$f.3 status=none; show tee $f.4 <$V/$f >/dev/null
    for copy in $f $f.2 $f.3 $f.4; do show cmp $V/$f $copy; done
    show wc -l $V/$f; show tail -n 1 $V/$f | awk '{print $1, $3}'; (cd $V; show sort $f | wc -l; cd ..; head -n 1 sysvipc/$f)
    show stat -c '%F %s %a %U %h' $V/$f; show test -s $V/$f; show test -r $V/$f; show test -x $V/$f; show readlink -f $V/../sysvipc/$f
done
tar cf - -C / proc/sysvipc 2>&1 | tar tf - | sort; find $V -type f -exec wc -l {} + | sort
for f in msgmax msgmnb shmmax shmall; do
    echo 5555 >$K/$f; cat $K/$f; echo 6666 >>$K/$f; cat $K/$f; printf 7777 | tee $K/$f; cat $K/$f; printf 8888 | dd of=$K/$f status=none; cat $K/$f
    echo 4444 >value; show cp value $K/$f; cat $K/$f; (echo abc >$K/$f) 2>&1; (echo -1 >$K/$f) 2>&1; cat $K/$f
    (cd $K; echo 0x100 >$f; cat ./$f ../kernel/$f); (cd /proc; cat sys//kernel/$f; cat /proc/self/root/proc/sys/kernel/$f)
    show stat -c '%F %s %a %U %h' $K/$f; show test -w $K/$f; show dd if=$K/$f bs=1 count=2 status=none; show cp $K/$f .; cat $f
done
echo 1 2 3 40000 >$K/sem; cat $K/sem; echo 250 32000 100 128 >$K/sem; cat $K/sem; ipcs -l | grep -v -e ' = 1844' -e 'kbytes'
if command -v busybox >/dev/null; then busybox sysctl -w kernel.shmmni=99; busybox sysctl -n kernel.shmmni; cat $K/shmmni; fi
if command -v sysctl >/dev/null; then sysctl -w kernel.msgmni=98; sysctl -n kernel.msgmni; cat $K/msgmni; fi
python3 - <<'PY'
import os
path = '/proc/sys/kernel/shmmni'
with open(path, 'r+') as f:
    before = f.read(); f.seek(0); f.write('66'); f.flush(); f.seek(0); print(before, f.read())
fd = os.open(path, os.O_RDWR)
print(os.pread(fd, 9, 0), os.pread(fd, 9, 1), os.lseek(fd, 1, os.SEEK_SET), os.read(fd, 9))
print(os.fstat(fd).st_ino == os.stat(path).st_ino, os.path.samestat(os.fstat(fd), os.lstat(path)))
PY
END
unshare -i --kill-child -f bash tools >kernel 2>&1; rm -rf out
$RUN bash tools >ring3 2>&1; rm -rf out
sed -i '/^ring3: /d' ring3
grep -q 6666 kernel || { echo "the tools said nothing"; cat kernel; exit 1; }
compare "tools" kernel ring3

# An ordinary user has a namespace of their own, and its limits, as in a user namespace.
cat >own <<'END'
K=/proc/sys/kernel
cd $K; echo 55 >shmmni; cat shmmni $K/shmmni; (echo x >shmmni) 2>/dev/null; echo $?; printf 56 | dd of=../kernel/shmmni status=none
cat shmmni; cp shmmni "$1" && cat "$1"; cp /proc/sysvipc/shm "$1" && wc -l <"$1"; test -w shmmni; echo $?
END
mkdir -m 777 user
as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups env RING3_DIR="$scratch/user/ns$1" $RUN bash own "$scratch/user/copy$1"; }
ring3=${RUN%% *}
if setpriv --reuid 1000 --regid 1000 --clear-groups test -x "$ring3" && setpriv --reuid 1000 --regid 1000 --clear-groups unshare -Ui true 2>/dev/null; then
    printf '55\n55\n1\n56\n56\n1\n0\n' >want
    as_user 1 >got 2>&1; compare "an ordinary user" want got
fi
# Without a namespace of the kernel's a bad number is not refused, and not set.
if unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_ipc_namespaces' 2>/dev/null; then
    printf '55\n55\n0\n56\n56\n1\n0\n' >want
    unshare -Ur sh -c "echo 0 >/proc/sys/user/max_ipc_namespaces; RING3_DIR=$scratch/none exec $RUN bash own $scratch/copy" >got 2>&1
    compare "no namespace to be had" want got
fi
machine | cmp -s - machine || { echo "the machine's own limits changed"; failed=1; }
exit $failed
