//! shmat and shmdt of a segment that this process has had before, without asking: it maps what it has a spare mapping of, and writes into its ledger
//! what it does (`engine/src/ledger.rs`; `broker/src/shm/ledger.rs` reads it).
//!
//! # Invariants
//! A1. What is written counts from the moment when it is written. Only after that the directory is looked at: if the segment, or what becomes of it with its last
//!     attachment, has changed, the entry is taken back and the broker asked. The broker changes the directory first and reads ledgers then (G5 there).
//! A2. Nothing is done here while somebody else may have done something to the segment that the broker has not heard: an end, or a note that is on its way.
//!     It would take effect after this, though it came before.
//! A3. A range is unmapped only if the kernel says that it is all of the attachment and nothing else.
//!
//! # Death
//! Between the entry and the mapping: attached, and detached by the end, as in the kernel. Between unmapping and the entry: the end detaches.
#![allow(unsafe_code)]

use crate::object::attachments::{self, Part};
use crate::object::flags::Flags;
use crate::object::mappings::{self, Mapping};
use crate::object::spare::{self, Spare};
use crate::process::identity::{self, Home, Identity};
use crate::process::own_ledger::{self, Line};
use crate::process::{self, connection, directory, lives, own_life, own_maps};
use crate::thread::section;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use ring3_abi::ipc::index_of;
use ring3_abi::shm::SHM_DEST;
use ring3_abi::{IpcId, Kind};
use ring3_engine::ledger::{Deed, Ledger, OWN_TOKEN};
use ring3_engine::life::Notes;
use ring3_os::map::{self, Locking};
use ring3_os::seccomp;
use ring3_wire::Op;
use ring3_wire::request::Limit;

/// The last token that this memory has given. Copied by fork: a child's tokens differ from those it has inherited.
static LAST: AtomicU64 = AtomicU64::new(0);

/// What may be done now without asking.
struct Free {
    ledger: Ledger<'static>,
    spare: Spare,
}

impl Free {
    /// If the broker allows it for this segment, and nobody has done anything that it has not heard (A2). `Home::attach` is held.
    fn to_use(id: IpcId, page: &Identity, home: &Home) -> Option<Free> {
        let spare = spare::find(id)?;
        let (epoch, apart) = home.epoch_and_apart();
        let alike = spare.epoch == epoch && !apart && page.pid() != 0 && !seccomp::is_filtered();
        if !alike || home.locking() != Locking::No || !is_unchanged(&spare) {
            return None;
        }
        own_life::held(page)?;
        let ledger = own_life::ledger(page)?;
        // An attach may have to be taken back.
        (ledger.has_room(2) && is_heard(id, page)).then_some(Free { ledger, spare })
    }

    /// Writes down what is done, and answers whether it stands (A1).
    fn write(&self, deed: Deed, token: u64) -> bool {
        let line = Line { deed, kind: Kind::Shm, id: self.spare.id, token, mode: 0 };
        own_ledger::write(self.ledger, line) && is_unchanged(&self.spare)
    }
}

/// Whether the segment, and the limit that makes segments go with their last attachment, are what they were.
fn is_unchanged(spare: &Spare) -> bool {
    spare.is_current() && process::limit_at_once(Limit::ShmRmidForced) == Some(0)
}

/// Whether the broker has heard all that others, and this process by notes, have done to a segment (A2).
fn is_heard(id: IpcId, page: &Identity) -> bool {
    let Some((index, directory)) = index_of(id).zip(directory::whole(Kind::Shm).ok()) else {
        return false;
    };
    let Some((entry, segment)) = directory.segment(index) else { return false };
    if entry.id != id || segment.more || entry.mode & SHM_DEST != 0 {
        return false;
    }
    let own = page.life.number();
    let mut others = segment.holders.iter().filter(|&&life| life != 0 && life != own);
    own_life::notes(page).is_some_and(Notes::are_done) && others.all(|&life| lives::is_heard(life))
}

/// Attaches a segment anywhere with this protection.
pub(super) fn attach(id: IpcId, protection: usize, read_only: bool) -> Option<usize> {
    let page = identity::current();
    let home = identity::known_home().filter(|_| page.pid() != 0)?;
    let section = section::enter();
    let _held = home.attach.hold(&section);
    let free = Free::to_use(id, page, home).filter(|free| free.spare.protection == protection)?;
    let token = OWN_TOKEN | LAST.fetch_add(1, Relaxed).wrapping_add(1);
    let done = free.write(Deed::Attach, token).then(|| map_it(&free.spare, token, read_only)).flatten();
    if done.is_none() {
        free.write(Deed::Undo, token);
    }
    own_ledger::have_read(free.ledger);
    done
}

fn map_it(spare: &Spare, token: u64, read_only: bool) -> Option<usize> {
    let (len, id, file) = (spare.len, spare.id, spare.file);
    let addr = spare::double(spare).ok()?;
    let flags = Flags::attached(spare.protection, read_only, Locking::No);
    let part = Part { addr, len, offset: 0, token, origin: token, size: len, id, flags, file };
    if attachments::add(part).is_err() {
        // SAFETY: mapped above; nobody knows it yet.
        let _ = unsafe { map::unmap(addr, len) };
        return None;
    }
    Some(addr)
}

/// Detaches what is attached at an address, if that is a whole attachment of which nothing was cut. Answers whether it was done. `Home::attach` is held.
pub(super) fn detach(addr: usize, home: &Home) -> bool {
    let page = identity::current();
    let Some(part) = attachments::all().find(|part| part.addr == addr) else { return false };
    let is_whole = part.offset == 0
        && part.len == part.size
        && part.token != 0
        && !attachments::all().any(|other| other.origin == part.origin && other.addr != addr);
    if !is_whole || page.pid() == 0 {
        return false;
    }
    let Some(free) = Free::to_use(part.id, page, home) else { return false };
    if free.spare.file != part.file || !is_mapped(&part, home) {
        return false;
    }
    // SAFETY: the program asks for it, and it is nothing but the segment (A3).
    if unsafe { map::unmap(part.addr, part.len) }.is_err() {
        return false;
    }
    attachments::remove(addr);
    if free.write(Deed::Detach, part.token) {
        own_ledger::have_read(free.ledger);
    } else {
        // It may have been the last one of a segment that was removed.
        connection::notify(Op::Read, &());
    }
    true
}

/// Whether the kernel has all of a part mapped as it is written down, and nothing of it more or less (A3).
fn is_mapped(part: &Part, home: &Home) -> bool {
    let wanted = Mapping { start: part.addr, end: part.end(), offset: 0, file: part.file };
    own_maps::descriptor(home).and_then(|maps| mappings::covering(maps, part.addr)) == Ok(wanted)
}

/// What a segment was attached with by the broker's leave: kept so that the next attach needs none.
pub(super) fn remember(fd: i32, home: &Home, part: &Part, protection: usize, version: u64) {
    let (epoch, apart) = home.epoch_and_apart();
    if version != 0 && !apart && home.locking() == Locking::No {
        let (id, len, file) = (part.id, part.size, part.file);
        spare::keep(fd, Spare { id, base: 0, len, protection, epoch, version, file });
    }
}

/// Whether the broker is to be asked for leave to attach a segment without asking the next time. `Home::attach` is held.
pub(super) fn is_wanted(id: IpcId, page: &Identity) -> bool {
    spare::may_come_again(id) && own_life::held(page).is_some()
}
