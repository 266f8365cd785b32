//! Packets in hand: each lies in a place of the state's memory from the system call that receives it until what it asks for is done and told.
//!
//! # Death
//! Before that call a packet is in its socket; after it, in its place (`ring3_os::packet`). Whoever goes on does what the packets in hand ask for, in the
//! order of their numbers, but for those of which the last commit says that they are done (`Done`): of these it tells the outcome, perhaps once more. A
//! client drops an answer that it does not wait for.

use super::memory::{Memory, PLACES};
use crate::life::ConnId;
use ring3_abi::Errno;
use ring3_engine::atomic::Relaxed;
use ring3_os::packet::Arrival;
use ring3_os::socket::Received;
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// The places.
#[derive(Debug)]
pub(crate) struct Inbox {
    memory: Rc<Memory>,
    /// Those that are empty; the last one is used next, because its pages are there.
    empty: RefCell<Vec<usize>>,
}

/// A packet in hand. Dropped, its place is empty: what it asked for is done, or it asked for nothing.
#[derive(Debug)]
pub(crate) struct InHand {
    inbox: Rc<Inbox>,
    pub(crate) place: usize,
    /// Its number: they rise.
    pub(crate) number: u64,
}

/// What a try to receive gave.
#[derive(Debug)]
pub(crate) enum Got {
    Packet(InHand, Received, Vec<u8>),
    Nothing,
    Over,
    /// Every place is taken.
    Full,
}

impl Inbox {
    /// The places of a memory, and the packets that are in hand there, the oldest first.
    pub(crate) fn new(memory: &Rc<Memory>) -> (Rc<Inbox>, Vec<(ConnId, InHand)>) {
        let (full, empty): (Vec<usize>, Vec<usize>) =
            (0..PLACES).rev().partition(|n| memory.place(*n).is_full());
        let inbox = Rc::new(Inbox { memory: Rc::clone(memory), empty: RefCell::new(empty) });
        let in_hand = |place: usize| {
            let ticket = memory.ticket(place)?;
            let (conn, number) = (ConnId(ticket.conn.load(Relaxed)), ticket.number.load(Relaxed));
            Some((conn, InHand { inbox: Rc::clone(&inbox), place, number }))
        };
        let mut found: Vec<(ConnId, InHand)> = full.into_iter().filter_map(in_hand).collect();
        found.sort_by_key(|(_, packet)| packet.number);
        (inbox, found)
    }

    /// The number for what comes next.
    pub(crate) fn next_number(&self) -> u64 {
        let last = &self.memory.head().last_packet;
        let number = last.load(Relaxed) + 1;
        last.store(number, Relaxed);
        number
    }

    /// Receives a connection's next packet.
    pub(crate) fn receive(self: &Rc<Inbox>, conn: ConnId, fd: &impl AsRawFd) -> Result<Got, Errno> {
        let Some(place) = self.empty.borrow().last().copied() else { return Ok(Got::Full) };
        let Some(ticket) = self.memory.ticket(place) else { return Ok(Got::Full) };
        let number = self.next_number();
        // DEATH: these mean nothing while the place is empty.
        ticket.conn.store(conn.0, Relaxed);
        ticket.number.store(number, Relaxed);
        let there = self.memory.place(place);
        Ok(match there.receive(fd.as_raw_fd())? {
            Arrival::Nothing => Got::Nothing,
            Arrival::Over => Got::Over,
            Arrival::Packet => {
                self.empty.borrow_mut().pop();
                let (received, bytes) = there.packet();
                Got::Packet(InHand { inbox: Rc::clone(self), place, number }, received, bytes)
            }
        })
    }
}

impl InHand {
    /// The packet once more.
    pub(crate) fn packet(&self) -> (Received, Vec<u8>) {
        self.inbox.memory.place(self.place).packet()
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.inbox.memory.place(self.place).empty();
        self.inbox.empty.borrow_mut().push(self.place);
    }
}
