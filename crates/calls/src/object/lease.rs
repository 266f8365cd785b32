//! Identifiers that this process was leased, and gives to objects that it makes (`broker/src/object/lease.rs`).
//!
//! Such an object is there for everybody from the moment when it is in the ledger: whoever names it to the broker has it made. Until then it is a name, and
//! removing it is another line in the ledger.
//!
//! # Invariants
//! E1. Leases change, and the ledger is written, under `Home::attach` only.
//! E2. A lease is good in the epoch it was given in (same process, same credentials, same namespace), while the directory shows its turn. What was written in it is
//!     taken back if the turn has changed by then; the broker changes the turn first and reads then.
//! E3. An object is removed without asking only if the directory does not show it: nobody has asked for it. If it is shown when that was written down, the broker
//!     is asked for something, and has read it when it answers.

use crate::process::identity::{self, Identity};
use crate::process::own_ledger::{self, Line};
use crate::process::{connection, directory, own_life};
use crate::thread::section;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use ring3_abi::ipc::{IPC_PRIVATE, index_of};
use ring3_abi::{Errno, IpcId, Key, Kind};
use ring3_engine::ledger::{Deed, Ledger, new_token};
use ring3_wire::reply;
use ring3_wire::{Op, request};

/// A lease of a kind's identifiers.
struct Held {
    epoch: AtomicU32,
    /// Of the directory (E2).
    turn: AtomicU64,
    first: AtomicI32,
    count: AtomicU32,
    /// How many were given.
    given: AtomicU32,
    /// What the rest may hold together.
    room: AtomicU64,
    largest: AtomicU64,
    /// Which of those that were given are not removed, as far as this process knows.
    there: AtomicU64,
    /// The keys of those that were given.
    keys: [AtomicI32; MOST as usize],
}

/// A bit for each identifier.
const MOST: u32 = u64::BITS;

static LEASES: [Held; Kind::ALL.len()] = [const {
    Held {
        epoch: AtomicU32::new(0),
        turn: AtomicU64::new(0),
        first: AtomicI32::new(0),
        count: AtomicU32::new(0),
        given: AtomicU32::new(0),
        room: AtomicU64::new(0),
        largest: AtomicU64::new(0),
        there: AtomicU64::new(0),
        keys: [const { AtomicI32::new(0) }; MOST as usize],
    }
}; Kind::ALL.len()];

/// How often this memory has made something of a kind by asking.
static ASKED: [AtomicU32; Kind::ALL.len()] = [const { AtomicU32::new(0) }; Kind::ALL.len()];

/// Something that is to be made. Of its key the directory knows nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    pub(crate) mode: u16,
    /// As the ledger has it.
    pub(crate) size: u64,
    /// What it takes of the lease's room.
    pub(crate) takes: u64,
}

impl Held {
    /// Whether something with a key was made that may be there still.
    fn has_key(&self, key: Key) -> bool {
        let there = self.there.load(Relaxed);
        let mut numbered = (0..self.given.load(Relaxed)).zip(&self.keys);
        key != IPC_PRIVATE && numbered.any(|(n, its)| there >> n & 1 != 0 && its.load(Relaxed) == key)
    }

    /// Whether it is good (E2).
    fn is_good(&self, kind: Kind) -> bool {
        directory::head().is_ok_and(|head| head.lease_turn(kind) == self.turn.load(Relaxed))
    }

    /// The ledger to write in, if the lease is good for the process that calls.
    fn ledger(&self, kind: Kind, page: &Identity) -> Option<Ledger<'static>> {
        let (epoch, apart) = identity::known_home()?.epoch_and_apart();
        if page.pid() == 0 || apart || epoch != self.epoch.load(Relaxed) || !self.is_good(kind) {
            return None;
        }
        own_life::held(page)?;
        own_life::ledger(page).filter(|ledger| ledger.has_room(2))
    }
}

/// Makes something by a lease, if this process has one; answers its identifier.
pub(crate) fn make(new: New) -> Option<IpcId> {
    let (held, page) = (LEASES.get(new.kind as usize)?, identity::current());
    // Most have none.
    if held.given.load(Relaxed) >= held.count.load(Relaxed) || page.pid() == 0 {
        return None;
    }
    let section = section::enter();
    let _held = identity::known_home()?.attach.hold(&section);
    let (given, room) = (held.given.load(Relaxed), held.room.load(Relaxed));
    let is_room =
        given < held.count.load(Relaxed) && new.takes <= room && new.size <= held.largest.load(Relaxed);
    let ledger = held.ledger(new.kind, page).filter(|_| is_room && !held.has_key(new.key))?;
    // Looked for once more, now that the lease is seen to be good: nobody else makes one.
    if new.key != IPC_PRIVATE && directory::whole(new.kind).ok()?.by_key(new.kind, new.key).is_some() {
        return None;
    }
    let token = new_token(new.size, new.key)?;
    let id = held.first.load(Relaxed).checked_add_unsigned(given)?;
    let line = Line { deed: Deed::Make, kind: new.kind, id, token, mode: new.mode };
    if !own_ledger::write(ledger, line) || !held.is_good(new.kind) {
        own_ledger::write(ledger, Line { deed: Deed::Unmake, ..line });
        held.count.store(0, Relaxed);
        return None;
    }
    held.keys.get(given as usize)?.store(new.key, Relaxed);
    held.given.store(given + 1, Relaxed);
    held.room.store(room - new.takes, Relaxed);
    held.there.store(held.there.load(Relaxed) | 1 << given, Relaxed);
    own_ledger::have_read(ledger);
    Some(id)
}

/// Removes what was made so, if nobody has seen it (E3). `None`: the broker is to be asked.
pub(crate) fn remove(kind: Kind, id: IpcId) -> Option<Result<usize, Errno>> {
    let (held, page) = (LEASES.get(kind as usize)?, identity::current());
    let number = id.checked_sub(held.first.load(Relaxed)).filter(|n| (0..MOST as i32).contains(n))?;
    if held.there.load(Relaxed) >> number & 1 == 0 || page.pid() == 0 {
        return None;
    }
    let section = section::enter();
    let home = identity::known_home()?;
    let attach = home.attach.hold(&section);
    let there = held.there.load(Relaxed);
    let ledger = held.ledger(kind, page).filter(|_| there >> number & 1 != 0 && is_unseen(kind, id))?;
    held.there.store(there & !(1 << number), Relaxed);
    let line = Line { deed: Deed::Remove, kind, id, token: 0, mode: 0 };
    if own_ledger::write(ledger, line) && held.is_good(kind) && is_unseen(kind, id) {
        own_ledger::have_read(ledger);
        return Some(Ok(0));
    }
    drop(attach);
    // What was written may have been too late.
    Some(match connection::ask(Op::Remove, &request::Object { kind: kind.into(), id }) {
        Ok(_) | Err(Errno::EINVAL | Errno::EIDRM) => Ok(0),
        Err(errno) => Err(errno),
    })
}

/// Whether the directory does not show an object.
fn is_unseen(kind: Kind, id: IpcId) -> bool {
    let Some((index, directory)) = index_of(id).zip(directory::whole(kind).ok()) else { return false };
    directory.is_free(kind, index)
}

/// Whether to ask for a lease instead of the next object: it is not the first one.
pub(crate) fn is_wanted(kind: Kind, page: &Identity) -> bool {
    let Some(asked) = ASKED.get(kind as usize) else { return false };
    // By its life others know whether there is something that they cannot see.
    asked.fetch_add(1, Relaxed) != 0 && own_life::hold(page) != 0
}

/// Keeps what came with the answer.
pub(crate) fn keep(kind: Kind, lease: &reply::Lease) {
    let Some((held, home)) = LEASES.get(kind as usize).zip(identity::known_home()) else { return };
    let section = section::enter();
    let _held = home.attach.hold(&section);
    let (epoch, apart) = home.epoch_and_apart();
    // Threads may have asked at the same time: the last turn counts.
    if apart || lease.count > MOST || lease.turn <= held.turn.load(Relaxed) {
        return;
    }
    held.count.store(0, Relaxed);
    held.epoch.store(epoch, Relaxed);
    held.turn.store(lease.turn, Relaxed);
    held.first.store(lease.first, Relaxed);
    held.room.store(lease.room, Relaxed);
    held.largest.store(lease.largest, Relaxed);
    held.there.store(0, Relaxed);
    held.given.store(0, Relaxed);
    held.count.store(lease.count, Relaxed);
}

/// Sees to it that the directory shows what others have made by leases: before a call that tells how much there is.
pub(crate) fn settle(kind: Kind) {
    let Ok(head) = directory::head() else { return };
    let lessee = head.lessee(kind);
    if lessee != 0 && !crate::process::lives::is_read(lessee, identity::current()) {
        // Any answer will do: the broker reads before it answers.
        let _ = connection::ask(Op::Limits, &());
    }
}
