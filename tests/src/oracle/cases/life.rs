//! Processes that come, go, change and stop in the middle of things: svipc(7), fork(2), execve(2), exit(2), signal(7), clone(2).

pub(super) const CASES: &str = r"
case adjustments are not inherited by fork
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0+2u], _)
1: fork(4)
4: exit(0)
0: semctl(s, 0, GETVAL)
1: wait(4)
0: semctl(s, 0, GETVAL)
1: fork(5)
5: semop(s, [0+4u], _)
kill 1
0: semctl(s, 0, GETVAL)
kill 5
0: semctl(s, 0, GETVAL)

case adjustments are kept over exec
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0+2u], _)
1: exec()
0: semctl(s, 0, GETVAL)
1: semop(s, [0+1u], _)
1: exec()
1: exec()
1: exit(0)
0: semctl(s, 0, GETVAL)
0: semctl(s, 0, GETPID)

case exec ends the other threads, and what they waited for
0: s = semget(IPC_PRIVATE, 2, 0600)
0: q = msgget(IPC_PRIVATE, 0600)
1: semop(s, [1+1u], _)
1: thread(4)
1: thread(5)
4: semop(s, [0-1], _)
5: msgrcv(q, OUT, 9, 0, 0)
1: exec()
0: semctl(s, 0, GETNCNT)
0: semop(s, [0+1], _)
0: msgsnd(q, {1 a}, _, 0)
0: semctl(s, 0, GETALL, OUT)
0: msgctl(q, IPC_STAT, OUT)
1: exit(0)
0: semctl(s, 0, GETALL, OUT)

case a forked child uses what the parent opened
0: s = semget(IPC_PRIVATE, 1, 0600)
0: q = msgget(IPC_PRIVATE, 0600)
0: semop(s, [0+1], _)
0: msgsnd(q, {1 a}, _, 0)
0: fork(4)
4: semop(s, [0-1], _)
4: msgrcv(q, OUT, 9, 0, 0)
4: semctl(s, 0, GETPID)
4: msgctl(q, IPC_STAT, OUT)
4: fork(5)
5: semop(s, [0-1], _)
0: semop(s, [0+1], _)
0: semctl(s, 0, GETPID)
4: exit(3)
0: wait(4)

case a killed child's adjustment is settled when its parent has reaped it
0: s = semget(IPC_PRIVATE, 1, 0600)
0: fork(4)
4: semop(s, [0+3u], _)
kill 4
0: wait(4)
0: semctl(s, 0, GETVAL)
0: fork(4)
4: semop(s, [0+3u], _)
4: exit(0)
0: wait(4)
0: semctl(s, 0, GETVAL)

case a sleeping parent, its child goes on
0: s = semget(IPC_PRIVATE, 1, 0600)
1: fork(4)
1: semop(s, [0-1], _)
4: semop(s, [0+1u], _)
4: exit(0)
1: wait(4)
0: semctl(s, 0, GETVAL)

case SIGKILL of everything at once
0: s = semget(IPC_PRIVATE, 2, 0600)
0: q = msgget(IPC_PRIVATE, 0600)
0: m = shmget(IPC_PRIVATE, 4096, 0600)
1: semop(s, [0+1u], _)
1: shmat(m, AT, 0)
1: msgrcv(q, OUT, 9, 0, 0)
2: semop(s, [0+2u 1+1u], _)
2: shmat(m, AT, 0)
2: semop(s, [1-9], _)
kill 1
kill 2
0: semctl(s, 0, GETALL, OUT)
0: shmctl(m, IPC_STAT, OUT)
0: msgsnd(q, {1 a}, _, 0)
0: msgctl(q, IPC_STAT, OUT)

case credentials survive exec
0: s = semget(IPC_PRIVATE, 1, 0600)
1: become(1000, 1000)
1: semop(s, [0+1], _)
1: exec()
1: semop(s, [0+1], _)
1: t = semget(IPC_PRIVATE, 1, 0600)
1: semctl(t, 0, IPC_STAT, OUT)

case a privileged start leaves the namespace
deviates secure-exec
0: s = semget(IPC_PRIVATE, 1, 0666)
1: seteuid(1000)
1: exec(1)
1: semctl(s, 0, GETVAL)

case an inherited handler, an idle worker, a second signal
0: s = semget(IPC_PRIVATE, 1, 0600)
1: handler(SA_RESTART)
1: fork(4)
signal 4
4: semop(s, [0-1], _)
signal 4
4: semop(s, [0-1], _)
signal 4
signal 4
0: semctl(s, 0, GETNCNT)

case stopped while sleeping in msgrcv, continued
0: q = msgget(IPC_PRIVATE, 0600)
1: msgrcv(q, OUT, 9, 0, 0)
stop 1
cont 1
0: msgsnd(q, {1 a}, _, 0)

case stopped while sleeping in msgsnd, continued
0: q = msgget(IPC_PRIVATE, 0600)
0: msgctl(q, IPC_SET, {uid=0 gid=0 mode=0600 qbytes=1})
0: msgsnd(q, {1 a}, _, 0)
1: msgsnd(q, {1 b}, _, 0)
stop 1
cont 1
0: msgrcv(q, OUT, 9, 0, 0)
0: msgrcv(q, OUT, 9, 0, IPC_NOWAIT)

case stopped while sleeping in semop, continued
deviates semop-stop
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0-1], _)
stop 1
cont 1
0: semop(s, [0+1], _)

case a stopped sleeper keeps its place and is served: semop
deviates stopped-sleeper
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0-1], _)
2: semop(s, [0-1], _)
stop 1
0: semctl(s, 0, GETNCNT)
0: semop(s, [0+1], _)
0: semctl(s, 0, GETNCNT)

case a stopped sleeper keeps its place and is served: msgrcv
deviates stopped-sleeper
0: q = msgget(IPC_PRIVATE, 0600)
1: msgrcv(q, OUT, 9, 0, 0)
2: msgrcv(q, OUT, 9, 0, 0)
stop 1
0: msgsnd(q, {1 a}, _, 0)
cont 1
0: msgsnd(q, {1 b}, _, 0)

case unshare(CLONE_SYSVSEM) settles at once
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0+2u], _)
1: unshare_sem(0)
0: semctl(s, 0, GETVAL)
1: semop(s, [0+3u], _)
1: exit(0)
0: semctl(s, 0, GETVAL)

case a thread with adjustments of its own
deviates thread-undo
0: s = semget(IPC_PRIVATE, 1, 0600)
1: thread(4)
4: unshare_sem(0)
4: semop(s, [0+2u], _)
1: exec()
0: semctl(s, 0, GETVAL)

case exec where the agent's file is not to be seen
deviates hidden-agent
0: s = semget(IPC_PRIVATE, 1, 0600)
1: semop(s, [0+2], _)
1: hide()
1: semctl(s, 0, GETVAL)
1: exec()
1: semctl(s, 0, GETVAL)

case a filter of the program's own forbids msgsnd
deviates own-filter
0: q = msgget(IPC_PRIVATE, 0600)
1: forbid()
1: msgsnd(q, {1 a}, _, 0)
0: msgrcv(q, OUT, 9, 0, IPC_NOWAIT)

case no descriptor is free, and none can be
deviates no-descriptor
0: s = semget(IPC_PRIVATE, 1, 0600)
1: capdrop(24)
1: rlimit(7, 1)
1: semop(s, [0+1], _)
1: semctl(s, 0, GETVAL)

case ftok
0: ftok(|/|, 1)
0: ftok(|/nonexistent|, 1)
0: ftok(|/etc/passwd/x|, 1)
0: ftok(|/|, 256)
0: ftok(|/|, 257)
0: ftok(|/|, 0)
";
