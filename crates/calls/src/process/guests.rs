//! The guests of a memory: how they come and go. vfork(2), clone(2) with CLONE_VM; kernel: copy_mm(), mm_release().
//!
//! The invariants are those of `identity.rs`: a guest's place is taken before its first call, and given back when it has ended or executed
//! another program (I4); each coming and going begins another epoch (I2).
//!
//! # Death
//! Of a guest: whoever waits for it, or finds its number gone, gives its place back and frees the locks that it held.

use crate::process::identity::{GUESTS, Home, Identity};
use crate::thread::section;
use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use ring3_abi::{Errno, Pid};
use ring3_os::process as os;

/// The place of a guest that has not begun.
const RESERVED: u32 = u32::MAX;

impl Home {
    pub(super) fn guest_number(&self, guest: &Identity) -> Option<usize> {
        self.guests().iter().position(|place| core::ptr::eq(place, guest))
    }

    /// Frees the locks that a process held by the name of a thread's state when it ended.
    fn free_locks(&self, name: usize) {
        for lock in
            [&self.objects, &self.attach].into_iter().chain(self.places.iter().map(|place| &place.rpc))
        {
            lock.release_of(name);
        }
    }

    /// Takes a place for a guest.
    pub(super) fn take(&self, here: u32) -> Option<&Identity> {
        // ORDERING: the acquire half pairs with the Release that frees a place: the last guest's state is cleared.
        let free = |place: &&Identity| place.here.compare_exchange(0, here, AcqRel, Relaxed).is_ok();
        let place = self.guests().iter().find(free)?;
        self.set_apart(GUESTS, true);
        self.review();
        Some(place)
    }

    /// A place for a guest that the caller is about to make (I4). # Errors: `EAGAIN`, as from the kernel at a limit of processes.
    pub(crate) fn reserve(&self) -> Result<&Identity, Errno> {
        self.note_owner();
        self.take(RESERVED).ok_or(Errno::EAGAIN)
    }

    /// Gives a guest's place back (I4).
    pub(crate) fn release(&self, guest: &Identity) {
        if let Some(n) = self.guest_number(guest) {
            self.free_locks(section::end_beside(n));
        }
        // Where the table of descriptors is shared, the guest's connection is still open.
        guest.line.hang_up();
        guest.pid.store(0, Relaxed);
        // ORDERING: Release pairs with whoever finds the place free: the guest's state was cleared before.
        guest.here.store(0, Release);
        self.renew();
        self.review();
    }

    /// Gives back the places of guests that have ended and that somebody has waited for.
    pub(crate) fn release_the_dead(&self) {
        for guest in self.guests() {
            let here = guest.here.load(Relaxed);
            if here != 0 && here != RESERVED && !os::exists(here) {
                self.release(guest);
            }
        }
    }

    /// Notes the owner's number while only the owner can be the caller.
    fn note_owner(&self) {
        if !self.in_company() {
            self.owner().here.store(os::pid(), Relaxed);
        }
    }

    /// Before vfork, in the process that calls it.
    pub(crate) fn before_vfork(&self) {
        self.note_owner();
        section::thread().vforks.fetch_add(1, Relaxed);
        self.vforks.fetch_add(1, Relaxed);
        self.review();
    }

    /// After vfork, in the process that called it: child `pid` has ended, executed another program, or never was.
    pub(crate) fn after_vfork(&self, pid: Option<Pid>) {
        self.free_locks(section::mend());
        if let Some(guest) =
            pid.and_then(|pid| self.guests().iter().find(|guest| guest.here.load(Relaxed) == pid))
        {
            self.release(guest);
        }
        let counted = &section::thread().vforks;
        // Not one that began before the page was there.
        if counted.load(Relaxed) != 0 {
            counted.fetch_sub(1, Relaxed);
            self.vforks.fetch_sub(1, Relaxed);
        }
        self.review();
    }
}
