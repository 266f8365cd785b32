//! Going on where another broker was killed. state/mod.rs says what that leaves; this file does what the table there says.
//!
//! # Invariants
//! Z1. Nobody is answered before what the last broker had half done in a region and in hand is finished, but for those whose requests were in hand, too.
//! Z2. What this does may be cut short by a death, too: each step can be done twice.

use super::Server;
use super::client::Request;
use crate::config::Config;
use crate::failure::Failure;
use crate::host::BrokerHost;
use crate::life::{ConnId, End};
use crate::mechanism;
use crate::namespace::{Namespace, Trouble};
use crate::object::Object;
use crate::object::open::arrive;
use crate::policy::quota::Quota;
use crate::regions;
use crate::spaces::Spaces;
use crate::state::part::{self, BROKER};
use crate::state::vault::{self, Vault};
use crate::state::{Hand, InHand, Inbox, Memory, Records, Table, begin_to_read, is_claimed, strays};
use ring3_abi::{IpcId, Kind, Pid};
use ring3_engine::object::is_moved;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno as Os;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

impl Server {
    /// The broker that goes on from a state.
    pub(super) fn resume(mut config: Config, memory: &Memory) -> Result<Server, Failure> {
        let damaged = Failure::when("read the state that the last broker left");
        begin_to_read();
        let listener = config.listener.as_raw_fd();
        let vault = config.keeping.take().map(|keeping| Vault::new(keeping, memory, listener));
        let hand = Hand::new(Rc::new(memory.again()), vault);
        hand.begin_to_keep();
        let host = BrokerHost::new(Rc::clone(&hand), Quota::new(config.share));
        let records = Records::read(memory).map_err(|_| damaged(Os::UCLEAN))?;
        let spaces = Spaces::restore(&records, &host).ok_or_else(|| damaged(Os::UCLEAN))?;
        let (inbox, in_hand) = Inbox::new(&hand.memory);
        let mut server = Server::new(config, spaces, inbox)?;
        server.restore(&records).ok_or_else(|| damaged(Os::UCLEAN))?;
        if let Some(lookout) = &server.lookout {
            let mut ours = lookout.descriptors();
            ours.extend(server.descriptors(&hand, &in_hand));
            // Those that are no connections are closed here.
            strays(&ours).into_iter().for_each(|stray| server.let_in_again(stray));
        }
        server.mend(&hand);
        hand.begin_reign();
        server.commit();
        server.go_on(in_hand);
        server.commit();
        server.hear_lookout();
        Ok(server)
    }

    /// Takes in the broker's own records, and makes again what follows from all.
    fn restore(&mut self, records: &Records) -> Option<()> {
        let mut whole = Some(());
        self.each_own_sheet(&mut |part, sheet| {
            whole = whole.and_then(|()| records.fill(BROKER, part, sheet))
        });
        whole?;
        records.fill(BROKER, part::DONE, &mut self.done)?;
        let lives = Rc::clone(&self.spaces.root().lives);
        records.fill(BROKER, part::LIVES, lives.borrow_mut().sheet())?;
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in all {
            let there = self.conns.get(&conn)?;
            self.doors.count(there.maker);
            self.watch(&there.fd, super::Source::Conn(conn)).ok()?;
            let owner = there.owner;
            if let Some(process) = owner.and_then(|pid| self.spaces.of_mut(pid).processes.derived_mut(&pid)) {
                process.conns.insert(conn);
            }
        }
        for written in self.written.values() {
            self.watch(&written.fd, super::Source::Pipe).ok()?;
        }
        let spaces = &self.spaces;
        for (_, sleeping) in self.sleeping.all_derived_mut() {
            let ns = spaces.at(sleeping.space);
            sleeping.creds.authority = ns.authority.clone();
        }
        self.restore_processes()
    }

    fn restore_processes(&mut self) -> Option<()> {
        for (_, ns) in self.spaces.all() {
            for (&pid, process) in ns.processes.iter() {
                let data = EventData::new_u64(u64::from(pid));
                match epoll::add(&self.deaths, &process.pidfd, data, EventFlags::IN) {
                    Ok(()) | Err(Os::EXIST) => {}
                    Err(_) => return None,
                }
                if process.leaving {
                    self.leaving.insert(pid);
                }
            }
            if let Some(files) = ns.opened_limits() {
                let _ =
                    epoll::add(&self.events, files.events(), super::Source::Pipe.encode(), EventFlags::IN);
            }
        }
        self.may_have_ended = true;
        // They may have been settled, but for what was in debt: what is told of a dead one is told again, and changes nothing.
        self.restless = true;
        Some(())
    }

    /// The descriptors that this process has beside those that records name.
    fn descriptors(&self, hand: &Hand, in_hand: &[(ConnId, InHand)]) -> Vec<RawFd> {
        let mut all = vec![self.listener.as_raw_fd(), self.events.as_raw_fd(), self.deaths.as_raw_fd()];
        all.push(hand.memory.descriptor());
        all.extend(vault::sockets(&hand.memory));
        all.extend(self.keeper.as_ref().map(|keeper| keeper.voice().as_raw_fd()));
        all.extend(self.doors.descriptor());
        all.extend(in_hand.iter().filter_map(|(_, packet)| packet.packet().0.fd));
        let told = self.done.values().filter_map(|done| done.told.as_ref()).chain(self.owed.values());
        all.extend(told.filter_map(|told| told.fd));
        all
    }

    /// Finishes what the last broker had half done in regions and in the directories (Z1).
    fn mend(&mut self, hand: &Hand) {
        let (dead, touched) = (hand.last_broker(), hand.touched());
        for (_, ns) in self.spaces.all_mut() {
            if let Some((space, kind, index)) = touched
                && space == ns.number()
                && let Some(id) = ns.names(kind).from(index).filter(|_| dead != 0)
            {
                settle_broker(ns, kind, id, dead);
            }
            ns.mend();
        }
        self.unmended = true;
    }

    /// Writes the directories anew where the last broker has left something half written. What was in hand has been done then, so that nobody who looks
    /// there for himself sees it undone in between.
    pub(super) fn mend_directories(&mut self) {
        if std::mem::take(&mut self.unmended) {
            self.spaces.all_mut().for_each(|(_, ns)| ns.mend_directory());
            self.publish_writers();
        }
    }

    /// Goes on with what the last broker had in hand: tells what is committed, and puts the rest into line.
    fn go_on(&mut self, in_hand: Vec<(ConnId, InHand)>) {
        let owed: Vec<ConnId> = self.owed.keys().copied().collect();
        for conn in owed {
            if let Some(told) = self.owed.remove(&conn) {
                self.tell_again(conn, &told);
            }
        }
        for (conn, packet) in in_hand {
            let place = packet.place as u32;
            if self.done.get(&place).is_some_and(|done| done.number == packet.number) {
                if let Some(told) = self.done.remove(&place).and_then(|done| done.told) {
                    self.tell_again(conn, &told);
                }
                continue;
            }
            // It may stand in a record already.
            if self.later.contains_key(&packet.number) || !self.conns.contains_key(&conn) {
                continue;
            }
            let (got, bytes) = packet.packet();
            if let Some(request) = Request::of(conn, &got, bytes, packet) {
                self.take_in(Request { again: true, ..request });
            }
        }
        self.done = Table::default();
    }

    fn tell_again(&mut self, conn: ConnId, told: &super::outcome::Told) {
        let taken = self.conns.get(&conn).is_none_or(|there| {
            let fd = told.fd.and_then(regions::borrowed);
            // One that is gone was told before: its sender closed it.
            (told.fd.is_some() && fd.is_none()) || there.send_parts(&told.head(), &told.body, fd)
        });
        if !taken {
            self.hang_up(conn);
        }
        if let Some(fd) = told.fd.filter(|fd| !is_claimed(*fd)) {
            drop(regions::inherited(fd));
        }
    }

    /// Listens to the lookout that was made before this broker went on: it has every mapping that this one was forked with.
    fn hear_lookout(&mut self) {
        let Some(lookout) = &self.lookout else { return };
        let voice = lookout.voice();
        let heard = voice.is_some_and(|voice| self.watch(voice, super::Source::Lookout).is_ok());
        self.watched = self.spaces.made();
        self.lookout_at = if heard { None } else { Some(0) };
    }

    /// Sees to it that there is a lookout that has every directory mapped, or none.
    pub(crate) fn keep_watched(&mut self) {
        if self.watched != self.spaces.made() && self.lookout_at.is_none() {
            self.lookout_at = Some(0);
        }
        if self.lookout_at.is_some_and(|at| crate::host::monotonic() >= at) {
            self.post_lookout();
        }
    }

    /// Puts a lookout in the place of the last one.
    pub(super) fn post_lookout(&mut self) {
        let Some(mut lookout) = self.lookout.take() else { return self.lookout_at = None };
        if let Some(voice) = lookout.voice() {
            let _ = epoll::delete(&self.events, voice);
        }
        let posted = lookout.post(&self.memory_again());
        let heard = posted.is_ok()
            && lookout.voice().is_some_and(|voice| self.watch(voice, super::Source::Lookout).is_ok());
        self.watched = self.spaces.made();
        self.lookout_at = if heard { None } else { Some(crate::host::monotonic() + super::LOOKOUT_PAUSE) };
        self.lookout = Some(lookout);
    }

    fn memory_again(&mut self) -> Memory {
        self.spaces.root().host.hand.memory.again()
    }
}

/// Settles in an object's region what the last broker left there: its lock, its half change, and those whom it should have woken.
fn settle_broker(ns: &mut Namespace, kind: Kind, id: IpcId, dead: Pid) {
    let mechanism = mechanism::of(kind);
    let _ = mechanism.settle(ns, id, dead, End::Image);
}

impl Namespace {
    /// Makes good what the last broker left half done: a move, a range that nobody needs, the directory, limits that were written meanwhile.
    fn mend(&mut self) {
        for kind in Kind::ALL {
            let moving = self.names(kind).iter().filter(|(_, object)| object.next.is_some());
            let moving: Vec<IpcId> = moving.map(|(id, _)| id).collect();
            for id in moving {
                self.end_move(kind, id);
            }
        }
        for range in self.arenas.left() {
            self.arenas.retire(range);
        }
        if let Some(limits) = self.standing_limits() {
            self.apply_limits(limits);
        }
    }

    fn end_move(&mut self, kind: Kind, id: IpcId) {
        let moved = self.region(kind, id).is_ok_and(|(region, _)| is_moved(region));
        if moved {
            let _: Result<(), Trouble> = arrive(self, kind, id);
        } else if let Some(next) = self.names_mut(kind).get_mut(id).and_then(|object| object.next.take()) {
            self.arenas.retire(next.range);
        }
    }

    fn mend_directory(&mut self) {
        let Some(directory) = self.directory() else { return };
        directory.set_limits(self.limits());
        for (kind, mechanism) in mechanism::all() {
            let names = self.names(kind);
            let entry = |index: usize| {
                let id = names.at(i32::try_from(index).ok()?)?;
                names.get(id).map(Object::entry)
            };
            let highest = directory.reader().usage(kind).1.max(names.highest().map(|index| index as u32));
            for index in 0..=highest.map_or(0, |index| index as usize) {
                mechanism.publishing(directory, index);
            }
            let _ = directory.mend(kind, names.highest().unwrap_or(0), entry);
            for index in 0..=highest.map_or(0, |index| index as usize) {
                let id = i32::try_from(index).ok().and_then(|index| names.at(index));
                // Where there is none, no identifier names one.
                mechanism.published(self, directory, index, id.unwrap_or(-1));
            }
            directory.set_usage(kind, names.in_use() as u32, names.highest().map(|index| index as u32));
            mechanism.publish_totals(self, directory);
        }
    }
}
