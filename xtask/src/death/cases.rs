//! Every case: what is stepped through and killed.

use super::msg::{Act as Msg, MsgCase};
use super::object::{Act, Kind, ObjectCase};
use super::scene::Case;
use super::sem::{Act as Sem, SemCase};
use super::sysv::Sop;

/// An operation without undo.
const fn op(number: u16, change: i16) -> Sop {
    Sop(number, change, false)
}

/// An operation with SEM_UNDO.
const fn undo(number: u16, change: i16) -> Sop {
    Sop(number, change, true)
}

/// Several operations; the same semaphore twice.
const FOUR: &[Sop] = &[op(0, -1), op(2, 2), op(1, -3), op(0, -1)];
/// The same with undo.
const FOUR_UNDONE: &[Sop] = &[undo(0, -1), undo(2, 2), undo(1, -3), undo(0, -1)];
/// Semaphore 0 up by one.
const UP: &[Sop] = &[op(0, 1)];
/// Semaphore 0 down by one.
const DOWN: &[Sop] = &[op(0, -1)];
/// Semaphore 0 down by one, with undo.
const DOWN_UNDONE: &[Sop] = &[undo(0, -1)];
/// Waits for semaphore 0 to be zero.
const ZERO: &[Sop] = &[op(0, 0)];
/// Down on two semaphores at once.
const BOTH: &[Sop] = &[op(0, -1), op(1, -1)];

/// Semaphores.
static SEM: &[SemCase] = &[
    SemCase { name: "sem-up", act: Sem::Semop(UP), calm: true, ..SemCase::DEFAULT },
    SemCase { name: "sem-down", act: Sem::Semop(DOWN), calm: true, ..SemCase::DEFAULT },
    SemCase { name: "sem-zero", initial: &[0, 1], act: Sem::Semop(ZERO), calm: true, ..SemCase::DEFAULT },
    SemCase { name: "sem-up-locked", act: Sem::Semop(UP), ..SemCase::DEFAULT },
    SemCase { name: "sem-zero-locked", initial: &[0, 1], act: Sem::Semop(ZERO), ..SemCase::DEFAULT },
    SemCase { name: "sem-first-call", act: Sem::Semop(UP), cold: true, ..SemCase::DEFAULT },
    SemCase { name: "sem-several", act: Sem::Semop(FOUR), ..SemCase::DEFAULT },
    SemCase { name: "sem-undo", act: Sem::Semop(DOWN_UNDONE), ..SemCase::DEFAULT },
    SemCase { name: "sem-undo-up", act: Sem::Semop(&[undo(0, 1)]), ..SemCase::DEFAULT },
    SemCase { name: "sem-undo-several", act: Sem::Semop(FOUR_UNDONE), ..SemCase::DEFAULT },
    SemCase {
        name: "sem-undo-held",
        held: &[undo(0, -2), undo(1, 1)],
        act: Sem::Semop(&[undo(0, 1)]),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-undo-held-waited-for",
        initial: &[2],
        held: &[undo(0, -2)],
        waiters: &[&[op(0, -3)]],
        act: Sem::Semop(UP),
        ..SemCase::DEFAULT
    },
    SemCase { name: "sem-wake", initial: &[0], waiters: &[DOWN], act: Sem::Semop(UP), ..SemCase::DEFAULT },
    SemCase {
        name: "sem-wake-several",
        initial: &[0],
        waiters: &[DOWN, DOWN, DOWN],
        act: Sem::Semop(&[op(0, 2)]),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-together",
        initial: &[0, 0],
        waiters: &[DOWN, &[op(1, -1)], DOWN, DOWN, DOWN],
        act: Sem::Semop(&[op(0, 3)]),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-complex",
        initial: &[0, 0],
        waiters: &[BOTH, DOWN],
        act: Sem::Semop(&[op(0, 2), op(1, 1)]),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-chain",
        initial: &[0, 0],
        waiters: &[&[op(1, -1)], &[op(0, -1), op(1, 1)]],
        act: Sem::Semop(UP),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-zero",
        initial: &[1],
        waiters: &[ZERO, ZERO],
        act: Sem::Semop(DOWN),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-zero-undo",
        initial: &[1],
        waiters: &[ZERO],
        act: Sem::Semop(DOWN_UNDONE),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-wake-undo",
        initial: &[0],
        waiters: &[DOWN],
        act: Sem::Semop(&[undo(0, 1)]),
        ..SemCase::DEFAULT
    },
    SemCase { name: "sem-blocked", initial: &[0], act: Sem::Semop(DOWN), complete: UP, ..SemCase::DEFAULT },
    SemCase {
        name: "sem-blocked-zero",
        initial: &[1],
        act: Sem::Semop(ZERO),
        complete: DOWN,
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-blocked-undo",
        initial: &[0],
        act: Sem::Semop(DOWN_UNDONE),
        complete: UP,
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-blocked-several",
        initial: &[1, 0],
        act: Sem::Semop(BOTH),
        complete: &[op(1, 1)],
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-blocked-before-another",
        initial: &[0],
        act: Sem::Semop(DOWN),
        behind: &[DOWN],
        complete: UP,
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-blocked-after-another",
        initial: &[0],
        waiters: &[DOWN],
        act: Sem::Semop(DOWN),
        complete: &[op(0, 2)],
        ..SemCase::DEFAULT
    },
    SemCase { name: "sem-timed-out", initial: &[0], act: Sem::Timed(DOWN, 1), ..SemCase::DEFAULT },
    SemCase {
        name: "sem-setval",
        initial: &[0, 4],
        waiters: &[DOWN],
        act: Sem::SetVal(0, 3),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-setval-undo",
        holder: &[undo(0, -1), undo(1, 2)],
        act: Sem::SetVal(0, 7),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-setall",
        initial: &[0, 0, 4],
        waiters: &[BOTH],
        act: Sem::SetAll(&[2, 2, 0]),
        ..SemCase::DEFAULT
    },
    SemCase {
        name: "sem-setall-undo",
        holder: &[undo(0, -1), undo(1, 2)],
        act: Sem::SetAll(&[5, 6, 7]),
        ..SemCase::DEFAULT
    },
    SemCase { name: "sem-getall", ..SemCase::DEFAULT },
    SemCase { name: "sem-rmid", initial: &[0], waiters: &[DOWN, DOWN], act: Sem::Remove, ..SemCase::DEFAULT },
];

/// A message that is short.
const SHORT: usize = 64;
/// A message that is long.
const LONG: usize = 8192;
/// Three messages of different types.
const THREE: &[(i64, usize)] = &[(5, 40), (2, SHORT), (2, 30)];

/// Message queues.
static MSG: &[MsgCase] = &[
    MsgCase { name: "msg-send", act: Msg::Send(3, SHORT), queued: &[(1, 10)], ..MsgCase::DEFAULT },
    MsgCase { name: "msg-send-empty", act: Msg::Send(3, 0), ..MsgCase::DEFAULT },
    MsgCase { name: "msg-send-long", act: Msg::Send(3, LONG), ..MsgCase::DEFAULT },
    MsgCase { name: "msg-send-first-call", act: Msg::Send(3, SHORT), cold: true, ..MsgCase::DEFAULT },
    MsgCase { name: "msg-send-many-types", act: Msg::Send(3, SHORT), queued: THREE, ..MsgCase::DEFAULT },
    MsgCase { name: "msg-send-known-type", act: Msg::Send(2, 80), queued: THREE, ..MsgCase::DEFAULT },
    MsgCase {
        name: "msg-send-to-sleeper",
        waiters: &[Msg::Receive(LONG, 0, 0)],
        act: Msg::Send(3, SHORT),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-send-long-to-sleeper",
        waiters: &[Msg::Receive(LONG, 3, 0)],
        act: Msg::Send(3, LONG),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-send-past-sleepers",
        waiters: &[Msg::Receive(8, 0, 0), Msg::Receive(LONG, 9, 0), Msg::Receive(LONG, -3, 0)],
        act: Msg::Send(3, SHORT),
        ..MsgCase::DEFAULT
    },
    MsgCase { name: "msg-receive", queued: THREE, act: Msg::Receive(LONG, 0, 0), ..MsgCase::DEFAULT },
    MsgCase {
        name: "msg-receive-only",
        queued: &[(1, 20)],
        act: Msg::Receive(LONG, 0, 0),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-long",
        queued: &[(1, LONG)],
        act: Msg::Receive(LONG, 0, 0),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-cut",
        queued: &[(1, LONG)],
        act: Msg::Receive(100, 0, libc::MSG_NOERROR),
        ..MsgCase::DEFAULT
    },
    MsgCase { name: "msg-receive-type", queued: THREE, act: Msg::Receive(LONG, 2, 0), ..MsgCase::DEFAULT },
    MsgCase { name: "msg-receive-lowest", queued: THREE, act: Msg::Receive(LONG, -4, 0), ..MsgCase::DEFAULT },
    MsgCase {
        name: "msg-receive-except",
        queued: THREE,
        act: Msg::Receive(LONG, 5, libc::MSG_EXCEPT),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-first-call",
        queued: THREE,
        act: Msg::Receive(LONG, 0, 0),
        cold: true,
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-makes-room",
        limit: 128,
        queued: &[(1, 100), (1, 20)],
        waiters: &[Msg::Send(4, SHORT)],
        act: Msg::Receive(LONG, 0, 0),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-makes-room-long",
        limit: 8200,
        queued: &[(1, LONG)],
        waiters: &[Msg::Send(4, LONG)],
        act: Msg::Receive(LONG, 0, 0),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-blocked",
        act: Msg::Receive(LONG, 0, 0),
        complete: Some(Msg::Send(2, SHORT)),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-long-blocked",
        act: Msg::Receive(LONG, 2, 0),
        complete: Some(Msg::Send(2, LONG)),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-receive-blocked-after-another",
        waiters: &[Msg::Receive(LONG, 9, 0)],
        act: Msg::Receive(LONG, -5, 0),
        complete: Some(Msg::Send(2, SHORT)),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-send-blocked",
        limit: 128,
        queued: &[(1, 100)],
        act: Msg::Send(2, SHORT),
        complete: Some(Msg::Receive(LONG, 0, 0)),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-send-long-blocked",
        limit: 8200,
        queued: &[(1, LONG)],
        act: Msg::Send(2, LONG),
        complete: Some(Msg::Receive(LONG, 0, 0)),
        ..MsgCase::DEFAULT
    },
    MsgCase { name: "msg-stat", queued: THREE, ..MsgCase::DEFAULT },
    MsgCase {
        name: "msg-limit-raised",
        limit: 100,
        queued: &[(1, 100)],
        waiters: &[Msg::Send(4, SHORT)],
        act: Msg::Limit(300),
        ..MsgCase::DEFAULT
    },
    MsgCase {
        name: "msg-rmid",
        limit: 100,
        queued: &[(1, 100)],
        waiters: &[Msg::Send(4, SHORT), Msg::Receive(LONG, 9, 0)],
        act: Msg::Remove,
        ..MsgCase::DEFAULT
    },
];

/// Objects as a whole.
static OBJECT: &[ObjectCase] = &[
    ObjectCase { name: "shm-attach", act: Act::Attach(0) },
    ObjectCase { name: "shm-attach-readonly", act: Act::Attach(libc::SHM_RDONLY) },
    ObjectCase { name: "shm-attach-again", act: Act::AttachAgain },
    ObjectCase { name: "shm-detach", act: Act::Detach },
    ObjectCase { name: "shm-detach-again", act: Act::DetachAgain },
    ObjectCase { name: "shm-detach-last", act: Act::DetachLast(false) },
    ObjectCase { name: "shm-detach-last-again", act: Act::DetachLast(true) },
    ObjectCase { name: "shm-rmid", act: Act::RemoveSegment },
    ObjectCase { name: "shm-get", act: Act::Make(Kind::Segment, false) },
    ObjectCase { name: "shm-get-key", act: Act::Make(Kind::Segment, true) },
    ObjectCase { name: "sem-get", act: Act::Make(Kind::Set, false) },
    ObjectCase { name: "sem-get-key", act: Act::Make(Kind::Set, true) },
    ObjectCase { name: "msg-get", act: Act::Make(Kind::Queue, false) },
    ObjectCase { name: "msg-get-key", act: Act::Make(Kind::Queue, true) },
    ObjectCase { name: "shm-get-leased", act: Act::MakeAgain(Kind::Segment, false) },
    ObjectCase { name: "sem-get-leased", act: Act::MakeAgain(Kind::Set, false) },
    ObjectCase { name: "sem-get-leased-key", act: Act::MakeAgain(Kind::Set, true) },
    ObjectCase { name: "msg-get-leased", act: Act::MakeAgain(Kind::Queue, false) },
    ObjectCase { name: "shm-remove-leased", act: Act::RemoveAgain(Kind::Segment) },
    ObjectCase { name: "sem-remove-leased", act: Act::RemoveAgain(Kind::Set) },
    ObjectCase { name: "msg-remove-leased", act: Act::RemoveAgain(Kind::Queue) },
    ObjectCase { name: "life-fork", act: Act::Fork },
    ObjectCase { name: "life-exec", act: Act::Exec },
    ObjectCase { name: "life-exit", act: Act::Exit },
];

/// Returns all of them.
pub(super) fn all() -> Vec<&'static dyn Case> {
    let sem = SEM.iter().map(|case| case as &dyn Case);
    let msg = MSG.iter().map(|case| case as &dyn Case);
    let object = OBJECT.iter().map(|case| case as &dyn Case);
    sem.chain(msg).chain(object).collect()
}

/// Returns the semaphore case of this name.
pub(super) fn sem(name: &str) -> Option<&'static SemCase> {
    SEM.iter().find(|case| case.name == name)
}

/// Returns the queue case of this name.
pub(super) fn msg(name: &str) -> Option<&'static MsgCase> {
    MSG.iter().find(|case| case.name == name)
}
