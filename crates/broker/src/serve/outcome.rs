//! What comes of a request: committed first, then told. state/mod.rs.
//!
//! # Invariants
//! U1. An outcome is told after the commit of what the request changed. The commit has the outcome, too, so that it can be told by another broker: beside the
//!     number of the packet that is in hand, or as an answer that is owed to a connection.
//! U2. What was received for a client stays in the queue's region until it was told: that outcome is not committed as long as its packet is in hand, but found
//!     in the region again.

use super::Server;
use super::client::{Answer, Request};
use crate::failure::Failure;
use crate::life::ConnId;
use crate::msg;
use crate::state::part::{self, BROKER};
use crate::state::{self, Batch, Book, Hand, InHand, Keep, Sheet, is_changed, keep};
use ring3_abi::Errno;
use ring3_wire::Reply;
use rustix::io::Errno as Os;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

/// What a request gave: an answer, or an error and its value.
pub(super) type Outcome = Result<Answer, (Errno, i64)>;

/// An outcome as it is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) tag: u32,
    pub(super) errno: u32,
    pub(super) value: i64,
    pub(super) body: Vec<u8>,
    /// The number of the descriptor beside it, which others may name, too.
    pub(super) fd: Option<RawFd>,
}
keep!(Told { tag, errno, value, body, fd });

/// What came of a packet.
#[derive(Debug)]
pub(super) struct Done {
    /// The packet's number.
    pub(super) number: u64,
    pub(super) told: Option<Told>,
}
keep!(Done { number, told });

impl Told {
    fn new(tag: u32, outcome: &Outcome) -> Told {
        let told = Told::whole(tag, outcome);
        told.fd.into_iter().for_each(state::held::named);
        told
    }

    fn whole(tag: u32, outcome: &Outcome) -> Told {
        match outcome {
            Ok(answer) => Told {
                tag,
                errno: 0,
                value: answer.value,
                body: answer.body.clone(),
                fd: answer.fd.as_ref().map(|fd| fd.as_raw_fd()),
            },
            Err((errno, value)) => {
                Told { tag, errno: u32::from(errno.0), value: *value, body: Vec::new(), fd: None }
            }
        }
    }

    /// Its head.
    pub(super) fn head(&self) -> Reply {
        Reply { tag: self.tag, errno: self.errno, value: self.value }
    }
}

/// Writes what [`Told::new`] would be, without making it.
fn put_told(tag: u32, outcome: &Outcome, out: &mut Vec<u8>) {
    let (errno, value, body, fd) = match outcome {
        Ok(answer) => (0, answer.value, answer.body.as_slice(), answer.fd.as_ref().map(|fd| fd.as_raw_fd())),
        Err((errno, value)) => (u32::from(errno.0), *value, [].as_slice(), None),
    };
    (tag, errno, value, body.len()).put(out);
    out.extend_from_slice(body);
    fd.into_iter().for_each(state::held::named);
    fd.put(out);
}

impl Server {
    /// A packet that gets no answer now is done.
    pub(super) fn noted(&mut self, request: Request) {
        if let Some(in_hand) = request.in_hand.as_ref().filter(|_| is_changed()) {
            self.commit_done(Some((in_hand, None)));
        }
        drop(request);
    }

    /// A request is done: commits it and tells its outcome. `lasts`: the outcome is found again as long as the packet is in hand (U2).
    pub(super) fn finish(&mut self, request: Request, tag: u32, outcome: Outcome, lasts: bool) {
        let Some(in_hand) = request.in_hand.as_ref() else { return self.tell(request.conn, tag, outcome) };
        if is_changed() {
            let told = if lasts && outcome.is_ok() { None } else { Some((in_hand, Some((tag, &outcome)))) };
            self.commit_done(told);
        }
        let (conn, pid) = (request.conn, request.creds.pid);
        self.reply(conn, tag, &outcome);
        // DEATH: the packet is done before the text's room is given back, or the next broker would receive another one.
        drop(request);
        if let Ok(Answer { then: Some(then), .. }) = &outcome {
            msg::proxy::release(self.spaces.of_mut(pid), then);
        }
    }

    /// Commits and tells the outcome of a request whose packet is not in hand any more.
    pub(super) fn tell(&mut self, conn: ConnId, tag: u32, outcome: Outcome) {
        let Some(owner) = self.conns.get(&conn).map(|there| there.owner) else { return };
        self.owed.insert(conn, Told::new(tag, &outcome));
        self.commit();
        self.reply(conn, tag, &outcome);
        self.owed.remove(&conn);
        if let (Ok(Answer { then: Some(then), .. }), Some(pid)) = (&outcome, owner) {
            msg::proxy::release(self.spaces.of_mut(pid), then);
        }
    }

    /// Commits what was changed.
    pub(super) fn commit(&mut self) {
        if is_changed() {
            self.commit_done(None);
        } else {
            self.recorded.clear();
            state::held::close_dropped();
        }
    }

    /// The same, and that a packet is done, with the outcome that is to be told. What came of packets before stands in their places' records and means
    /// nothing any more.
    fn commit_done(&mut self, done: Option<(&InHand, Option<(u32, &Outcome)>)>) {
        let hand = Rc::clone(&self.spaces.root().host.hand);
        let write_done = |batch: &mut Batch| {
            let Some((in_hand, told)) = done else { return };
            let place = in_hand.place as u32;
            let record = |out: &mut Vec<u8>| {
                in_hand.number.put(out);
                told.is_some().put(out);
                if let Some((tag, outcome)) = told {
                    put_told(tag, outcome, out);
                }
            };
            batch.of(BROKER, part::DONE).write(&|out| place.put(out), Some(&record));
        };
        let write = |server: &mut Server, batch: &mut Batch| {
            server.each_sheet(&mut |space, part, sheet| state::write_noted(space, part, sheet, batch));
            write_done(batch);
        };
        let committed = hand.commit(self, write, |server, batch, flush| {
            let mut outcome = Ok(());
            server.each_sheet(&mut |space, part, sheet| {
                outcome = outcome.and_then(|()| state::write_all(space, part, sheet, batch, flush));
            });
            write_done(batch);
            outcome
        });
        match committed {
            Ok(_) => self.spaces.all_mut().for_each(|(_, ns)| ns.committed()),
            Err(_) => self.failed = Some(Failure::when("commit to the state")(Os::NOSPC)),
        }
        self.recorded.clear();
    }

    /// Shows all parts of the state, each with its namespace's number and its own.
    fn each_sheet(&mut self, each: &mut dyn FnMut(u64, u8, &mut dyn Sheet)) {
        for (_, ns) in self.spaces.all_mut() {
            let space = ns.number();
            ns.each_sheet(&mut |part, sheet| each(space, part, sheet));
        }
        let lives = Rc::clone(&self.spaces.root().lives);
        each(BROKER, part::LIVES, lives.borrow_mut().sheet());
        self.each_own_sheet(&mut |part, sheet| each(BROKER, part, sheet));
        for (part, sheet) in self.spaces.sheets() {
            each(BROKER, part, sheet);
        }
    }

    /// Shows the parts that are the broker's own, each with its number.
    pub(super) fn each_own_sheet(&mut self, each: &mut dyn FnMut(u8, &mut dyn Sheet)) {
        each(part::CONNS, &mut self.conns);
        each(part::LAST_CONN, &mut self.last_conn);
        each(part::SLEEPING, &mut self.sleeping);
        each(part::DEFERRED, &mut self.later);
        each(part::WRITTEN, &mut self.written);
        each(part::OWED, &mut self.owed);
        each(part::OVER, &mut self.over);
    }

    /// Writes everything for the first time.
    pub(super) fn begin(&mut self, hand: &Hand) -> Result<(), Failure> {
        state::changed();
        self.commit();
        hand.begin_reign();
        hand.memory.make_good();
        hand.begin_to_keep();
        self.post_lookout();
        self.failed.take().map_or(Ok(()), Err)
    }
}
