//! The rows: what is measured and what the contract asks for.

use super::measure::Figure;
use super::{crowd, scene, together};
use std::time::Duration;

/// A row of the table.
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) what: &'static str,
    /// How many times faster than the kernel ring3 must at least be.
    pub(crate) target: f64,
    /// Measures it for about so long.
    pub(crate) measure: fn(Duration) -> Figure,
}

/// All rows, in the order of the contract.
pub(crate) static ROWS: [Row; 35] = [
    row("sem-pair", "semop down+up", 10.0, scene::sem_pair),
    row("sem-undo", "semop down+up, SEM_UNDO", 6.0, scene::sem_undo),
    row("sem-8", "semop of 8 operations, down+up", 4.0, scene::sem_eight),
    row("msg-64", "msgsnd+msgrcv, 64 B", 8.0, scene::msg_small),
    row("msg-8k", "msgsnd+msgrcv, 8 KiB", 2.5, scene::msg_large),
    row("msg-type", "the same by type, 10,000 others queued", 300.0, scene::msg_by_type),
    row("rt-sem-2cpu", "round trip by semaphores, two CPUs", 50.0, together::trip_sem_two_cpus),
    row("rt-msg-2cpu", "round trip by queues, two CPUs", 50.0, together::trip_msg_two_cpus),
    row("rt-sem-1cpu", "round trip by semaphores, one CPU", 0.9, together::trip_sem_one_cpu),
    row("rt-msg-1cpu", "round trip by queues, one CPU", 0.9, together::trip_msg_one_cpu),
    row("rt-sem-free", "round trip by semaphores, unpinned", 0.9, together::trip_sem_unpinned),
    row("rt-msg-free", "round trip by queues, unpinned", 0.9, together::trip_msg_unpinned),
    row("rt-sem-busy", "round trip by semaphores, CPUs busy", 0.9, together::trip_sem_busy),
    row("rt-msg-busy", "round trip by queues, CPUs busy", 0.9, together::trip_msg_busy),
    row("stream-64", "one-way stream, 64 B, two processes", 8.0, together::stream),
    row("mutex-2", "mutex by semaphore, 2 processes, 2 CPUs", 30.0, together::mutex_two),
    row("mutex-8", "mutex by semaphore, 8 processes, 2 CPUs", 10.0, together::mutex_eight),
    row("waiters-100", "one post for 100 waiters, until all answer", 3.0, crowd::waiters),
    row("four-four", "4 senders, 4 receivers on a queue, 64 B", 3.0, crowd::four_and_four),
    row("getval", "semctl GETVAL", 2.0, scene::getval),
    row("stat-sem", "semctl IPC_STAT", 2.0, scene::stat_sem),
    row("stat-msg", "msgctl IPC_STAT", 2.0, scene::stat_msg),
    row("stat-shm", "shmctl IPC_STAT", 2.0, scene::stat_shm),
    row("walk-shm", "SHM_STAT of 1,000 segments", 3.0, scene::walk_segments),
    row("get", "semget of an existing key", 2.0, scene::get_existing),
    row("shm-attach", "shmat+shmdt, untouched", 1.0, scene::attach_untouched),
    row("shm-touch", "shmat+shmdt, 1 MiB, one page touched", 1.0, scene::attach_touched),
    row("shm-1000", "shmat+shmdt of 1,000 in turn, again", 1.0, scene::attach_many),
    row("new-sem", "new private set + IPC_RMID", 1.0, scene::new_set),
    row("new-msg", "new private queue + IPC_RMID", 1.0, scene::new_queue),
    row("new-shm", "new private segment + IPC_RMID", 1.0, scene::new_segment),
    row("new-key", "new set with a key + IPC_RMID", 0.5, scene::new_with_key),
    row("fork-10", "fork+exit, ten attached segments", 0.8, scene::fork_attached),
    row("fork-0", "fork+exit, no System V object in use", 0.95, scene::fork_plain),
    row("spawn-true", "start and end of /bin/true", 0.95, scene::spawn_true),
];

const fn row(name: &'static str, what: &'static str, target: f64, measure: fn(Duration) -> Figure) -> Row {
    Row { name, what, target, measure }
}
