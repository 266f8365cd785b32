//! Other processes' lives: whether all live that have adjustments in a set, or a segment attached. `engine/src/life.rs`.
//!
//! Files of lives are mapped for reading when a life in them is first met, and stay mapped.
#![allow(unsafe_code)]

use crate::process::connection;
use crate::process::deputy;
use crate::process::identity::Identity;
use crate::process::own_life;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::Region;
use ring3_engine::ledger::Ledger;
use ring3_engine::life::{self, Life, Lives, Notes};
use ring3_engine::sem::Set;
use ring3_os::map;
use ring3_wire::{Op, request};
use zerocopy::IntoBytes;

/// How many files are mapped; who has a life in a later one is asked about.
const FILES: usize = 512;
static MAPPED: [AtomicPtr<u8>; FILES] = [const { AtomicPtr::new(null_mut()) }; FILES];

/// Whether nobody with adjustments in the set may have ended. One load if nobody has any; if one process alone has, its word is read, and nothing else.
#[inline]
pub(crate) fn all_live(set: &Set<'_>, page: &Identity) -> bool {
    !set.has_adjustments() || others_live(set, page)
}

/// Whether nobody but this process has adjustments in the set, and it has: one process in turn with itself. No: [`all_live`] tells.
#[inline(always)]
pub(crate) fn own_alone(set: &Set<'_>, page: &Identity) -> bool {
    set.only_life().is_some_and(|life| life != 0 && life == page.life.number())
}

#[inline(never)]
fn others_live(set: &Set<'_>, page: &Identity) -> bool {
    let own = page.life.number();
    let lives = |life: Life| life != 0 && life == own || is_seen_held(life);
    set.only_life().is_some_and(lives) || look(set, page)
}

/// Looks at all of them, and maps what is not mapped yet.
#[inline(never)]
fn look(set: &Set<'_>, page: &Identity) -> bool {
    let own = page.life.number();
    let is_held = |life: Life| life != 0 && life == own || is_held(life);
    !set.doubtful(is_held).any(|pid| pid != page.pid())
}

/// Before a call that shows the time of the last operation: the end of whoever has a row counts as one, adjustments in it or not.
pub(crate) fn settle_in_time(id: IpcId, set: &Set<'_>, page: &Identity) {
    let own = page.life.number();
    let is_held = |life: Life| life != 0 && life == own || is_held(life);
    if set.doubtful_in_time(is_held).any(|pid| pid != page.pid()) {
        ask_to_settle(id);
    }
}

/// Has the broker settle those with adjustments in the set that have ended, if there may be any: before a call looks at the set.
#[inline]
pub(crate) fn settle(id: IpcId, set: &Set<'_>, page: &Identity) {
    if !all_live(set, page) {
        ask_to_settle(id);
    }
}

#[cold]
#[inline(never)]
fn ask_to_settle(id: IpcId) {
    // Without a broker nothing is settled any more, and calls that need none go on.
    let _ = connection::ask(Op::SettleSet, &request::Object { kind: Kind::Sem.into(), id });
}

/// Whether the broker knows all that the process of a life has done to its attachments: it lives, and what it has announced, or done by itself, is heard.
pub(crate) fn is_quiet(life: Life, page: &Identity) -> bool {
    let is_own = life == page.life.number();
    let heard = if is_own { own_life::notes(page).is_some_and(Notes::are_done) } else { is_heard(life) };
    heard && is_read(life, page)
}

/// Whether all that the process of a life has done by itself is read. Of one that has ended, too, nobody says that here.
pub(crate) fn is_read(life: Life, page: &Identity) -> bool {
    let is_all = |ledger: Ledger<'_>| ledger.unread() == 0;
    if life == page.life.number() {
        return own_life::ledger(page).is_some_and(is_all);
    }
    is_held(life) && seen(life).is_some_and(|(lives, page)| lives.ledger(page).is_ok_and(is_all))
}

/// Whether the process of a life lives, and what it has announced is done. What it has done by itself may be unread.
pub(crate) fn is_heard(life: Life) -> bool {
    let done = |(lives, page): (Lives<'_>, u32)| lives.notes(page).is_ok_and(Notes::are_done);
    is_held(life) && seen(life).is_some_and(done)
}

/// Whether a life is held. What cannot be seen is not.
fn is_held(life: Life) -> bool {
    let Some((file, _)) = life::place(life) else { return false };
    let Some(mapped) = MAPPED.get(file as usize) else { return false };
    // ORDERING: Acquire pairs with map_file().
    (!mapped.load(Acquire).is_null() || deputy::provided(|| map_file(file, mapped)).is_ok())
        && is_seen_held(life)
}

/// The same of a life whose file is mapped; `false` if it is not.
#[inline]
fn is_seen_held(life: Life) -> bool {
    seen(life).is_some_and(|(lives, page)| lives.is_held(page))
}

/// A life's file and its page there, if the file is mapped.
#[inline]
fn seen(life: Life) -> Option<(Lives<'static>, u32)> {
    let (file, page) = life::place(life)?;
    // ORDERING: Acquire pairs with map_file().
    let base = NonNull::new(MAPPED.get(file as usize)?.load(Acquire))?;
    // SAFETY: R1: map_file() mapped life::LEN bytes of a file that cannot shrink, for ever; R3: whoever calls only reads.
    let region = unsafe { Region::new(base, life::LEN) };
    Lives::new(region).ok().map(|lives| (lives, page))
}

#[cold]
fn map_file(file: u32, mapped: &AtomicPtr<u8>) -> Result<NonNull<u8>, Errno> {
    let mut buf: connection::Small = [0; 256];
    let answer = connection::fetch(Op::Lives, request::Lives { file }.as_bytes(), &[], &mut buf)?;
    let fd = answer.descriptor()?;
    let base = map::shared(fd.raw(), 0, life::LEN, map::PROT_READ)?;
    // ORDERING: Release publishes the mapping.
    match mapped.compare_exchange(null_mut(), base.as_ptr(), AcqRel, Acquire) {
        Ok(_) => Ok(base),
        Err(other) => {
            // SAFETY: mapped above and known to nobody.
            let _ = unsafe { map::unmap(base.as_ptr() as usize, life::LEN) };
            NonNull::new(other).ok_or(Errno::ENOMEM)
        }
    }
}
