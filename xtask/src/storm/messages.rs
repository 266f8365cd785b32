//! Senders and receivers: every message has a number, a length and a text that the number decides.
//!
//! Lanes have one receiver each and share two queues by type; the last lane is a queue of its own that several receive from.

use super::chance::{Chance, mix};
use super::ledger::{CAPACITY, INTENT, Ledger, Phase, RECEIVED, SENT, Slot, WORKERS, Wrong};
use super::worker::Work;
use crate::ipc::{self, Message};
use std::io;
use std::sync::atomic::Ordering::SeqCst;

/// The longest text.
pub(super) const TEXT: usize = 2048;

/// The message that tells a receiver that the round is over.
const FAREWELL: u64 = u64::MAX;

/// How many lanes there are: one for every other receiver, and the common one.
pub(super) fn lanes(ledger: &Ledger) -> usize {
    (ledger.count() / 4).div_ceil(2) + 1
}

/// Whether a slot's process is a receiver.
pub(super) fn receives(at: usize) -> bool {
    at < WORKERS && at % 4 == 1
}

/// The lane of the n-th receiver.
pub(super) fn lane_of(ledger: &Ledger, receiver: usize) -> usize {
    if receiver.is_multiple_of(2) { receiver / 2 } else { lanes(ledger) - 1 }
}

/// The lane that a message goes.
pub(super) fn destination(ledger: &Ledger, number: u64) -> usize {
    (mix(number) >> 8) as usize % lanes(ledger)
}

/// A lane's queue.
fn queue(ledger: &Ledger, lane: usize) -> i32 {
    let at = if lane + 1 == lanes(ledger) { 2 } else { lane % 2 };
    ledger.queues[at].load(SeqCst)
}

/// What a number's message looks like.
fn compose(ledger: &Ledger, number: u64) -> (Message<TEXT>, usize) {
    let lane = destination(ledger, number);
    let common = lane + 1 == lanes(ledger);
    let mtype = if common { 1 + (mix(number) % 5) as i64 } else { lane as i64 + 1 };
    let mut message = Message::new(mtype);
    let words = 2 + (mix(number) >> 40) as usize % if number.is_multiple_of(16) { 250 } else { 20 };
    fill(&mut message.text[..words * 8], number);
    (message, words * 8)
}

fn fill(text: &mut [u8], number: u64) {
    let len = text.len() as u64;
    for (at, word) in text.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = match at {
            0 => number,
            1 => mix(number ^ len),
            _ => mix(number.wrapping_add(at as u64)),
        }
        .to_ne_bytes();
    }
}

/// The number of a message that is whole.
fn number_of(ledger: &Ledger, message: &Message<TEXT>, len: usize) -> Option<u64> {
    let number = u64::from_ne_bytes(*message.text.first_chunk::<8>()?);
    if number == FAREWELL {
        return Some(number);
    }
    ledger.mark(number)?;
    let (meant, size) = compose(ledger, number);
    (size == len && meant.mtype == message.mtype && meant.text[..size] == message.text[..len])
        .then_some(number)
}

/// Sends the slot's next message.
pub(super) fn send(work: &mut Work<'_>) -> io::Result<()> {
    let (ledger, slot) = (work.ledger, work.slot);
    let next = slot.next.load(SeqCst);
    if next as usize >= CAPACITY {
        return work.rest();
    }
    slot.next.store(next + 1, SeqCst);
    let number = (work.at as u64) << 32 | next;
    let Some(mark) = ledger.mark(number) else { return Ok(()) };
    let (message, len) = compose(ledger, number);
    let queue = queue(ledger, destination(ledger, number));
    mark.fetch_or(INTENT, SeqCst);
    work.station("msgsnd");
    loop {
        let flags = if work.chance.below(8) == 0 { libc::IPC_NOWAIT } else { 0 };
        let sent = ipc::msgsnd(queue, &message, len, flags);
        if ipc::failed(&sent, libc::EINTR) || ipc::failed(&sent, libc::EAGAIN) {
            if ledger.closes(work.at) {
                return Ok(());
            }
            continue;
        }
        sent?;
        break;
    }
    mark.fetch_or(SENT, SeqCst);
    slot.done();
    Ok(())
}

/// Receives one message of the slot's lane.
pub(super) fn receive(work: &mut Work<'_>) -> io::Result<()> {
    let (ledger, slot) = (work.ledger, work.slot);
    let lane = lane_of(ledger, work.at / 4);
    let wish = wish(ledger, lane, &mut work.chance);
    let mut message = Message::new(0);
    work.station("msgrcv");
    slot.set_phase(Phase::Receiving(lane));
    let got = ipc::msgrcv(queue(ledger, lane), &mut message, wish, 0);
    if ipc::failed(&got, libc::EINTR) {
        slot.set_phase(Phase::Idle);
        return Ok(());
    }
    take(ledger, slot, &message, got?, lane);
    Ok(())
}

/// Which of the messages of a lane is wanted: the common one's in any way that takes every one in the end.
fn wish(ledger: &Ledger, lane: usize, chance: &mut Chance) -> i64 {
    if lane + 1 < lanes(ledger) {
        return lane as i64 + 1;
    }
    [0, 0, -5, -7][chance.below(4)]
}

/// Looks at what came and marks it.
fn take(ledger: &Ledger, slot: &Slot, message: &Message<TEXT>, len: usize, lane: usize) {
    let Some(number) = number_of(ledger, message, len) else {
        slot.set_phase(Phase::Idle);
        ledger.report(Wrong::Torn, &format!("a message of {len} bytes, type {}", message.mtype));
        return;
    };
    if number != FAREWELL {
        slot.set_phase(Phase::Got(number));
        mark(ledger, number, lane);
    }
    slot.set_phase(Phase::Idle);
    slot.done();
}

/// Marks a receipt.
fn mark(ledger: &Ledger, number: u64, lane: usize) {
    let Some(mark) = ledger.mark(number) else { return };
    let before = mark.fetch_add(RECEIVED, SeqCst);
    if before & INTENT == 0 {
        ledger.report(Wrong::Torn, &format!("message {number:#x} was never sent"));
    }
    if before >= RECEIVED {
        ledger.report(Wrong::Doubled, &format!("message {number:#x} came twice (lane {lane})"));
    }
}

/// What a dead receiver leaves: the lane that may miss a message by it.
pub(super) fn settle(ledger: &Ledger, slot: &Slot) -> Option<usize> {
    let phase = slot.phase();
    slot.set_phase(Phase::Idle);
    match phase {
        Phase::Idle => None,
        Phase::Receiving(lane) => Some(lane),
        Phase::Got(number) => {
            let mark = ledger.mark(number)?;
            if mark.load(SeqCst) < RECEIVED {
                mark.fetch_add(RECEIVED, SeqCst);
            }
            None
        }
    }
}

/// Wakes a lane's receiver for the end.
pub(super) fn farewell(ledger: &Ledger, lane: usize) {
    let mut message = Message::<TEXT>::new(if lane + 1 == lanes(ledger) { 1 } else { lane as i64 + 1 });
    message.text[..8].copy_from_slice(&FAREWELL.to_ne_bytes());
    // A full queue has something for the receiver anyhow.
    let _ = ipc::msgsnd(queue(ledger, lane), &message, 16, libc::IPC_NOWAIT);
}

/// Empties the queues when nobody is left, then looks at every number: missing ones must be accounted for by `doubts`, which counts, for
/// each lane, the receivers that died in msgrcv. Returns how many of the missing those took along.
pub(super) fn close(ledger: &Ledger, slot: &Slot, doubts: &[u64]) -> io::Result<u64> {
    for queue in &ledger.queues {
        drain(ledger, slot, queue.load(SeqCst))?;
    }
    let mut missing = vec![0u64; lanes(ledger)];
    for sender in (0..ledger.count()).filter(|at| at % 4 == 0) {
        for next in 0..ledger.slots[sender].next.load(SeqCst) {
            let number = (sender as u64) << 32 | next;
            let mark = ledger.mark(number).map_or(0, |mark| mark.load(SeqCst));
            if mark & SENT != 0 && mark < RECEIVED {
                missing[destination(ledger, number)] += 1;
            }
        }
    }
    for (lane, (missing, doubts)) in missing.iter().zip(doubts).enumerate() {
        for _ in *doubts..*missing {
            let what = format!("lane {lane}: {missing} messages, {doubts} receivers died in msgrcv");
            ledger.report(Wrong::Lost, &what);
        }
    }
    Ok(missing.iter().sum())
}

fn drain(ledger: &Ledger, slot: &Slot, queue: i32) -> io::Result<()> {
    let (mut left, _) = ipc::queue_state(queue)?;
    loop {
        let mut message = Message::<TEXT>::new(0);
        let got = ipc::msgrcv(queue, &mut message, 0, libc::IPC_NOWAIT);
        if ipc::failed(&got, libc::ENOMSG) {
            break;
        }
        left = left.wrapping_sub(1);
        take(ledger, slot, &message, got?, 0);
    }
    let after = ipc::queue_state(queue)?;
    if left != 0 || after != (0, 0) {
        ledger.report(Wrong::Torn, &format!("a queue's counts: {left} too many, emptied {after:?}"));
    }
    Ok(())
}
