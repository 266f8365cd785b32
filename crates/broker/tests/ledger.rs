//! What processes attach and detach without asking, and what their ledgers say of it.

mod support;

use ring3_abi::ipc::{IPC_CREAT, IPC_PRIVATE};
use ring3_abi::shm::SHM_DEST;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::ledger::{Deed, OWN_TOKEN, ROOM, new_token};
use ring3_engine::life::{self, PAGE};
use ring3_wire::Op;
use ring3_wire::reply::{Attached, Lease};
use ring3_wire::request::{self, Limit};
use std::os::fd::OwnedFd;
use support::{Broker, Client, is_root};

const NEW: i32 = IPC_CREAT | 0o666;

/// A process's page, as it writes it.
struct Ledger {
    file: OwnedFd,
    page: u64,
    written: u64,
}

impl Ledger {
    fn of(client: &Client) -> Ledger {
        let life = client.call(Op::Life, &()).expect("a life");
        let (_, page) = life::place(u32::try_from(life.value).expect("a number")).expect("a life");
        let mut ledger =
            Ledger { file: life.fd.expect("a file"), page: u64::from(page) * PAGE as u64, written: 0 };
        ledger.written = ledger.count(0);
        ledger
    }

    fn count(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::pread(&self.file, &mut bytes, self.page + at), Ok(8));
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        assert_eq!(rustix::io::pwrite(&self.file, bytes, self.page + at), Ok(bytes.len()));
    }

    fn say(&mut self, written: u64) {
        self.written = written;
        self.put(0, &written.to_ne_bytes());
    }

    /// Writes an entry and counts it.
    fn write(&mut self, deed: Deed, id: IpcId, token: u64) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let stamp = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
        self.line(&[stamp.to_ne_bytes(), 5_u64.to_ne_bytes(), token.to_ne_bytes()].concat(), id, deed as u32);
    }

    /// The same about something new.
    fn make(&mut self, kind: Kind, id: IpcId, size: u64, key: i32) {
        let token = new_token(size, key).expect("small");
        let numbers = [0_u64.to_ne_bytes(), 5_u64.to_ne_bytes(), token.to_ne_bytes()].concat();
        self.line_of(&numbers, id, Deed::Make as u32 | (kind as u32) << 8 | 0o600 << 16);
    }

    fn line(&mut self, numbers: &[u8], id: IpcId, deed: u32) {
        self.line_of(numbers, id, deed | (Kind::Shm as u32) << 8);
    }

    fn line_of(&mut self, numbers: &[u8], id: IpcId, deed: u32) {
        let line = [numbers, &id.to_ne_bytes(), &deed.to_ne_bytes()].concat();
        self.put(64 + 32 * (self.written % ROOM), &line);
        self.say(self.written + 1);
    }
}

/// Attaches, and asks for leave to do it alone the next time; answers for which version of the entry that is given.
fn attach_again(client: &Client, id: IpcId) -> (u64, u64) {
    let got = client.call(Op::Attach, &request::Attach { id, flags: 0, again: 1 }).expect("attached");
    (got.value.cast_unsigned(), got.read::<Attached>().version)
}

#[test]
fn what_a_process_has_done_alone_counts() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (body, other) = broker.embodied(1000, 1000);
    // Without a life nobody would know whether its ledger is read.
    assert_eq!(attach_again(&other, segment).1, 0);
    let mut ledger = Ledger::of(&other);
    let (_, version) = attach_again(&other, segment);
    assert_ne!(version, 0);
    ledger.write(Deed::Attach, segment, OWN_TOKEN | 1);
    let state = me.segment(segment);
    assert_eq!((state.nattch, state.lpid, state.atime), (3, other.pid.cast_signed(), 5));
    // Both at once: nobody has seen it in between.
    me.attach(segment, 0).expect("attached");
    ledger.write(Deed::Attach, segment, OWN_TOKEN | 2);
    ledger.write(Deed::Detach, segment, OWN_TOKEN | 2);
    let state = me.segment(segment);
    assert_eq!((state.nattch, state.lpid, state.dtime), (4, other.pid.cast_signed(), 5));
    // It is taken back as if it had never been.
    me.attach(segment, 0).expect("attached");
    ledger.write(Deed::Attach, segment, OWN_TOKEN | 3);
    ledger.write(Deed::Undo, segment, OWN_TOKEN | 3);
    let state = me.segment(segment);
    assert_eq!((state.nattch, state.lpid), (5, me.pid.cast_signed()));
    assert_eq!(ledger.count(8), ledger.written);
    // What it wrote last comes before its end.
    ledger.write(Deed::Attach, segment, OWN_TOKEN | 4);
    let pid = body.kill();
    let state = me.segment(segment);
    assert_eq!((state.nattch, state.lpid), (2, pid.cast_signed()));
}

#[test]
fn they_come_in_the_order_of_their_stamps() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let two = [broker.embodied(1000, 1000), broker.embodied(1001, 1001)];
    let mut ledgers = [Ledger::of(&two[0].1), Ledger::of(&two[1].1)];
    two.iter().for_each(|(_, client)| assert_ne!(attach_again(client, segment).1, 0));
    for round in 0..40_u64 {
        let order = [round % 2, (round + 1) % 2];
        order.iter().for_each(|&n| ledgers[n as usize].write(Deed::Attach, segment, OWN_TOKEN | round));
        let last = two[order[1] as usize].1.pid;
        let state = me.segment(segment);
        assert_eq!((state.nattch, state.lpid), (2 + 2 * (round + 1), last.cast_signed()));
    }
}

#[test]
fn a_removed_segment_goes_with_the_last_detach_that_nobody_was_asked_about() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (_body, other) = broker.embodied(1000, 1000);
    let mut ledger = Ledger::of(&other);
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (token, _) = attach_again(&other, segment);
    other.detach(token.cast_signed());
    // It is attached when it is removed, though the broker has not been told.
    ledger.write(Deed::Attach, segment, OWN_TOKEN | 1);
    assert_eq!(me.remove(Kind::Shm, segment), Ok(()));
    assert_eq!(me.segment(segment).perm.mode & SHM_DEST, SHM_DEST);
    ledger.write(Deed::Detach, segment, OWN_TOKEN | 1);
    other.note(Op::Read, &());
    assert_eq!(me.stat(Kind::Shm, segment, request::StatBy::Id).err(), Some(Errno::EINVAL));
    // The same where segments go without being removed, and their maker has gone.
    let (body, maker) = broker.embodied(1000, 1000);
    let segment = maker.get(Kind::Shm, 2, NEW, 4096).expect("made");
    body.kill();
    let (token, _) = attach_again(&other, segment);
    ledger.write(Deed::Detach, segment, token);
    assert_eq!(me.set_limit(Limit::ShmRmidForced, 1), Ok(()));
    assert_eq!(me.stat(Kind::Shm, segment, request::StatBy::Id).err(), Some(Errno::EINVAL));
}

#[test]
fn what_was_written_before_a_broker_is_killed_is_read_by_the_next() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (_body, other) = broker.embodied(1000, 1000);
    let mut ledger = Ledger::of(&other);
    attach_again(&other, segment);
    for round in 0..200 {
        ledger.write(Deed::Attach, segment, OWN_TOKEN | round);
        if round % 20 == 0 {
            broker.replace();
        }
        assert_eq!(me.segment(segment).nattch, round + 2);
    }
}

#[test]
fn nonsense_concerns_nobody() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (_body, other) = broker.embodied(1000, 1000);
    let mut ledger = Ledger::of(&other);
    let secret = me.get(Kind::Shm, IPC_PRIVATE, 0o600, 4096).expect("made");
    let segment = me.get(Kind::Shm, 1, NEW, 4096).expect("made");
    let (mine, _) = attach_again(&me, secret);
    attach_again(&other, segment);
    // Not allowed, not there, not of its own making, twice, somebody else's.
    for (deed, id, token) in [
        (Deed::Attach, secret, OWN_TOKEN | 1),
        (Deed::Attach, -1, OWN_TOKEN | 2),
        (Deed::Attach, i32::MAX, OWN_TOKEN | 3),
        (Deed::Attach, segment, 77),
        (Deed::Attach, segment, OWN_TOKEN | 4),
        (Deed::Attach, segment, OWN_TOKEN | 4),
        (Deed::Detach, secret, mine),
        (Deed::Undo, secret, mine),
    ] {
        ledger.write(deed, id, token);
    }
    ledger.line(&[0xff; 24], segment, 9);
    ledger.line(&[0xff; 24], segment, Deed::Attach as u32);
    assert_eq!((me.segment(secret).nattch, me.segment(segment).nattch), (1, 3));
    // Counts that lie are bounded by the room.
    for lie in [u64::MAX, 0, ledger.written + 10_000_000, 1 << 63] {
        ledger.say(lie);
        assert_eq!(me.segment(secret).nattch, 1);
        assert!(me.segment(segment).nattch <= 3 + 4 * ROOM);
    }
    drop(_body);
    me.settle(other.pid);
    assert_eq!(me.segment(secret).nattch, 1);
}

/// Asks for a lease.
fn lease(client: &Client, kind: Kind) -> Lease {
    let ask = request::Get { kind: kind.into(), key: IPC_PRIVATE, flags: 0o600, lease: 1, size: 1 };
    let got = client.call(Op::Get, &ask).expect("a lease");
    assert_eq!(got.value, -1);
    got.read()
}

#[test]
fn leased_identifiers_are_what_would_have_come() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (body, other) = broker.embodied(0, 0);
    let mut ledger = Ledger::of(&other);
    let first = me.get(Kind::Sem, IPC_PRIVATE, 0o600, 1).expect("made");
    let given = lease(&other, Kind::Sem);
    assert_eq!((given.first, given.count > 10), (first + 1, true));
    // Two, of which one goes unseen.
    ledger.make(Kind::Sem, given.first, 3, 0);
    ledger.make(Kind::Sem, given.first + 1, 1, 77);
    ledger.line_of(&[0; 24], given.first, Deed::Remove as u32 | (Kind::Sem as u32) << 8);
    assert_eq!(me.get(Kind::Sem, 77, 0, 0), Ok(given.first + 1));
    assert_eq!(me.stat(Kind::Sem, given.first, request::StatBy::Id).err(), Some(Errno::EINVAL));
    let state = me.stat(Kind::Sem, given.first + 1, request::StatBy::Id).expect("there");
    assert_eq!(state.read::<ring3_abi::sem::Semid>().perm.mode & 0o777, 0o600);
    // Somebody else makes one: the lease is over.
    assert_eq!(me.get(Kind::Sem, IPC_PRIVATE, 0o600, 1), Ok(given.first + 2));
    ledger.make(Kind::Sem, given.first + 3, 1, 0);
    assert_eq!(me.get(Kind::Sem, IPC_PRIVATE, 0o600, 1), Ok(given.first + 3));
    // What was made before its maker's end is there after it, also for another broker.
    let given = lease(&other, Kind::Msg);
    ledger.make(Kind::Msg, given.first, 0, 5);
    let dead = broker.standing_still(|| body.kill());
    broker.replace();
    me.settle(dead);
    assert_eq!(me.get(Kind::Msg, 5, 0, 0), Ok(given.first));
}

#[test]
fn a_lease_allows_nothing_that_asking_would_not() {
    if !is_root() {
        return;
    }
    let broker = Broker::new();
    let me = broker.own();
    let (_body, other) = broker.embodied(0, 0);
    let mut ledger = Ledger::of(&other);
    let taken = me.get(Kind::Sem, 9, 0o600 | IPC_CREAT, 1).expect("made");
    let given = lease(&other, Kind::Sem);
    let remove = |ledger: &mut Ledger, id| {
        ledger.line_of(&[0; 24], id, Deed::Remove as u32 | (Kind::Sem as u32) << 8);
    };
    // Out of turn, too large, with a key that is taken, beyond the lease, of another kind; somebody else's removed.
    ledger.make(Kind::Sem, given.first + 1, 1, 0);
    ledger.make(Kind::Sem, given.first, u64::from(u32::MAX), 0);
    ledger.make(Kind::Sem, given.first, 1, 9);
    ledger.make(Kind::Sem, given.first + given.count as i32, 1, 0);
    ledger.make(Kind::Msg, given.first, 0, 0);
    remove(&mut ledger, taken);
    remove(&mut ledger, given.first + 5);
    assert_eq!(me.get(Kind::Sem, 9, 0, 0), Ok(taken));
    assert_eq!(me.stat(Kind::Sem, given.first, request::StatBy::Id).err(), Some(Errno::EINVAL));
    assert_eq!(me.get(Kind::Sem, IPC_PRIVATE, 0o600, 1), Ok(given.first));
    // No more than the limits leave.
    me.set_limit(Limit::Msgmni, 3).expect("allowed");
    assert_eq!(lease(&other, Kind::Msg).count, 3);
    me.set_limit(Limit::Semmns, 20).expect("allowed");
    assert_eq!(lease(&other, Kind::Sem).room, 18);
    // Of a user with a share nobody can say what it may make.
    let (_guest, guest) = broker.embodied(1000, 1000);
    Ledger::of(&guest);
    let ask = request::Get { kind: Kind::Msg.into(), key: IPC_PRIVATE, flags: 0o600, lease: 1, size: 0 };
    assert!(guest.call(Op::Get, &ask).expect("made").value >= 0);
}
