//! What stands in files: /proc/sysvipc, /proc/sys/kernel. proc(5).

pub(super) const CASES: &str = r"
case /proc/sysvipc when nothing is there
0: cat(|/proc/sysvipc/msg|)
0: cat(|/proc/sysvipc/sem|)
0: cat(|/proc/sysvipc/shm|)
0: access(|/proc/sysvipc/msg|, R_OK)
0: access(|/proc/sysvipc/sem|, F_OK)
0: access(|/proc/sysvipc/none|, F_OK)
1: become(1000, 1000)
1: cat(|/proc/sysvipc/shm|)
1: write(|/proc/sysvipc/msg|, |1|)

case /proc/sysvipc: who writes to it
0: write(|/proc/sysvipc/msg|, |1|)
0: write(|/proc/sysvipc/sem|, |1|)
0: write(|/proc/sysvipc/shm|, |1|)
1: become(1000, 1000)
1: write(|/proc/sysvipc/shm|, |1|)
1: write(|/proc/sysvipc/shm|, |1|, |reads|)

case /proc/sysvipc: who writes to what is to be read, too
deviates proc-write
0: write(|/proc/sysvipc/msg|, |1|, |reads|)

case /proc/sysvipc: read by other paths
0: m = shmget(IPC_PRIVATE, 77, 0640)
0: cat(|/proc//sysvipc/../sysvipc/shm|)
0: cat(|/proc/self/root/proc/sysvipc/shm|)
0: cat(|/proc/self/../thread-self/root/proc/./sysvipc/shm|)
0: write(|/proc/self/root/proc/sys/kernel/shmmni|, |4095|)
0: cat(|/proc/sys/../sys/kernel//shmmni|)
0: sysctl(|../../sys/kernel/shmmni|, |4094|)
0: sysctl(|shmmni|)

case /proc/sysvipc: read again by one descriptor
deviates proc-kept
0: cat(|/proc/sysvipc/shm|, |kept|)

case /proc/sysvipc: read by a link of another name
deviates proc-link
0: shmget(IPC_PRIVATE, 77, 0640)
0: cat(|/proc/sysvipc/shm|, |link|)

case /proc/sysvipc
0: q = msgget(-5, IPC_CREAT|0640)
0: msgsnd(q, {1 abc}, _, 0)
1: msgrcv(q, OUT, 9, 0, 0)
0: msgsnd(q, {1 abcde}, _, 0)
0: r = msgget(0x7fffffff, IPC_CREAT|07777)
0: s = semget(0x12345678, 31000, IPC_CREAT|0600)
0: semop(s, [0+1], _)
0: t = semget(IPC_PRIVATE, 1, 0)
0: m = shmget(INT_MIN, 123456789, IPC_CREAT|0600)
0: a = shmat(m, AT, 0)
0: poke(a+4000, 200, 1)
0: shmctl(m, SHM_LOCK, NULL)
0: n = shmget(5, 1, IPC_CREAT|0666)
0: b = shmat(n, NULL, 0)
0: shmctl(n, IPC_RMID, NULL)
0: msgctl(r, IPC_SET, {uid=1000 gid=4294967294 mode=0700 qbytes=5})
0: cat(|/proc/sysvipc/msg|)
0: cat(|/proc/sysvipc/sem|)
0: cat(|/proc/sysvipc/shm|)
1: become(1000, 1000)
1: cat(|/proc/sysvipc/msg|)
1: cat(|/proc/sysvipc/sem|)
1: cat(|/proc/sysvipc/shm|)

case /proc/self/maps: what a segment is called
deviates maps-name
0: m = shmget(0x1234abcd, 4096, IPC_CREAT|0600)
0: shmat(m, NULL, 0)
0: cat(|/proc/self/maps|, |SYSV|)

case /proc/self/maps: a segment that was attached twice
deviates maps-spare
0: m = shmget(IPC_PRIVATE, 4096, 0600)
0: a = shmat(m, NULL, 0)
0: shmdt(a)
0: b = shmat(m, NULL, 0)
0: shmdt(b)
0: cat(|/proc/self/maps|, |SYSV|)

case limits: defaults
0: sysctl(|msgmax|)
0: sysctl(|msgmnb|)
0: sysctl(|msgmni|)
0: sysctl(|sem|)
0: sysctl(|shmmax|)
0: sysctl(|shmall|)
0: sysctl(|shmmni|)
0: sysctl(|shm_rmid_forced|)
0: sysctl(|auto_msgmni|)
0: sysctl(|msg_next_id|)
0: sysctl(|sem_next_id|)
0: sysctl(|shm_next_id|)

case limits: an ordinary user reads, but does not write
1: become(1000, 1000)
1: sysctl(|msgmax|)
1: sysctl(|msgmax|, |5|)
1: sysctl(|sem|, |1 2 3 4|)
1: sysctl(|msg_next_id|, |4|)
1: sysctl(|msg_next_id|)

case limits: set and read again
0: sysctl(|msgmax|, |100|)
0: sysctl(|msgmax|)
0: sysctl(|msgmnb|, |  200  |)
0: sysctl(|msgmnb|)
0: sysctl(|msgmni|, |32768|)
0: sysctl(|msgmni|)
0: sysctl(|shmmax|, |18446744073709551615|)
0: sysctl(|shmmax|)
0: sysctl(|shmall|, |1000|)
0: sysctl(|shmall|)
0: sysctl(|shmmni|, |32768|)
0: sysctl(|shmmni|)
0: sysctl(|shm_rmid_forced|, |1|)
0: sysctl(|shm_rmid_forced|)
0: sysctl(|sem|, |100 200 30 40|)
0: sysctl(|sem|)
0: sysctl(|sem|, |100 200|)
0: sysctl(|sem|)
0: sysctl(|sem|, |7|)
0: sysctl(|sem|)
0: sysctl(|auto_msgmni|, |1|)
0: sysctl(|auto_msgmni|)
0: sysctl(|auto_msgmni|, |0|)

case limits: what is refused
0: sysctl(|msgmni|, |32769|)
0: sysctl(|msgmni|)
0: sysctl(|msgmni|, |-1|)
0: sysctl(|msgmax|, |-1|)
0: sysctl(|msgmax|, |x|)
0: sysctl(|msgmax|)
0: sysctl(|shmmni|, |40000|)
0: sysctl(|shmmni|)
0: sysctl(|shm_rmid_forced|, |2|)
0: sysctl(|shm_rmid_forced|)
0: sysctl(|sem|, |-1 1 1 1|)
0: sysctl(|sem|, |1 2 3 50000|)
0: sysctl(|sem|)
0: sysctl(|auto_msgmni|, |2|)
0: sysctl(|shmmax|, |-1|)
0: sysctl(|shmmax|, |18446744073709551616|)
0: sysctl(|msgmnb|, |8x|)
0: sysctl(|sem|, |-1 5 x 6|)
0: sysctl(|sem|)

case limits: a wish that is refused
deviates sysctl-einval
0: sysctl(|msg_next_id|, |-2|)
0: sysctl(|msg_next_id|)

case limits: access
0: access(|/proc/sys/kernel/msgmax|, R_OK)
0: access(|/proc/sys/kernel/msgmax|, W_OK)
0: access(|/proc/sys/kernel/sem|, W_OK)
1: become(1000, 1000)
1: access(|/proc/sys/kernel/msgmax|, R_OK)
1: access(|/proc/sys/kernel/msgmax|, W_OK)
";
