//! What arrives: events, packets, notes that are done at once, requests that come into line.

use super::client::{Arrival, Request};
use super::route::Note;
use super::{BURST, Server, Source};
use crate::failure::Failure;
use crate::life::ConnId;
use ring3_abi::Pid;
use ring3_wire::decode;
use rustix::event::epoll;
use rustix::fs::Timespec;
use rustix::io::Errno;

impl Server {
    /// Takes what has arrived: notes are done at once, requests put into line.
    pub(super) fn sweep(&mut self, patience: Option<Timespec>) -> Result<(), Failure> {
        let mut found = Vec::with_capacity(64);
        match epoll::wait(&self.events, rustix::buffer::spare_capacity(&mut found), patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::when("wait for events")(errno)),
        }
        let mut written = false;
        // What did not fit into the hand may be anything.
        self.may_have_ended |= found.len() == found.capacity();
        for event in found {
            match Source::decode(event.data) {
                Source::Listener => self.accept(),
                Source::Keeper => self.keeper_called(),
                Source::Deaths => {
                    // In its turn: the events are in the order in which things happened, and an image may have been replaced after this.
                    self.may_have_ended = true;
                    self.settle_if_ended();
                }
                Source::Pipe => written = true,
                Source::Lookout => self.lookout_at = Some(0),
                Source::Conn(conn) => self.read(conn),
            }
        }
        self.settle_if_ended();
        self.drain_written(written);
        Ok(())
    }

    /// Reads a connection up to its next request, which is put into line.
    pub(crate) fn read(&mut self, conn: ConnId) {
        // A request that is done again may have been answered before, and the next be here already: that one has to wait.
        if self.line.iter().any(|request| request.again && request.conn == conn) {
            return;
        }
        for _ in 0..BURST {
            let Some(there) = self.conns.get(&conn) else { return };
            match there.receive(conn, &self.inbox) {
                Arrival::Packet(request) => {
                    if !self.take_in(request) {
                        return;
                    }
                }
                Arrival::Nothing => return,
                Arrival::Over => return self.hang_up(conn),
                Arrival::NoPlace if self.line.is_empty() => return,
                Arrival::NoPlace => self.defer_line(),
            }
        }
    }

    /// Does a note at once, and puts a request into line. Answers whether its connection may be read on.
    pub(super) fn take_in(&mut self, request: Request) -> bool {
        let conn = request.conn;
        if request.fd.is_some() {
            self.spaces.root().host.hand.keep();
        }
        let Ok(packet) = decode(&request.bytes) else {
            self.hang_up(conn);
            return false;
        };
        self.own(conn, request.creds.pid);
        match self.note(&request, &packet) {
            Note::Done => self.noted(request),
            Note::WantsAnswer if !self.has_in_hand(conn) => {
                self.line.push_back(request);
                return false;
            }
            Note::Broken | Note::WantsAnswer => {
                self.hang_up(conn);
                return false;
            }
        }
        true
    }

    /// Whether a request of this connection waits for its answer (V2).
    fn has_in_hand(&self, conn: ConnId) -> bool {
        let waiting = self.later.values().map(|deferred| &deferred.request);
        self.line.iter().chain(waiting).any(|request| request.conn == conn)
            || self.sleeping.contains_key(&conn)
    }

    /// The first known process to speak on a connection owns it.
    fn own(&mut self, conn: ConnId, pid: Pid) {
        if self.conns.get(&conn).is_none_or(|there| there.owner.is_some()) {
            return;
        }
        if let Some(process) = self.spaces.of_mut(pid).processes.derived_mut(&pid)
            && let Some(there) = self.conns.get_mut(&conn)
        {
            there.owner = Some(pid);
            process.conns.insert(conn);
        }
    }
}
