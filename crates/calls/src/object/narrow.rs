//! Lets regions go that the process has no right to any more, and the page of its life with the user that it belongs to (`own_life.rs`, F6). setuid(2), capset(2), unshare(2).
//!
//! Each call is refused by the new rights anyway (`record.rs`, O2). But code of the program's own, or whoever takes the program over, could
//! still read and write what is mapped: a server that gives its rights up would keep what it gave up.
//!
//! # Invariants
//! N1. A region is let go only when no call can be inside: as in `reclaim.rs`, R2. A process with several threads, a sleeping call or company keeps its
//!     mappings until they are replaced.
//! N2. A forked child that the broker does not know yet has opened nothing: it loses the mappings of its parent, and opens what it uses. The broker
//!     counts it among those who may have the regions until it lets the records go.

use crate::object::open::release;
use crate::object::reclaim;
use crate::object::record::{self, Object};
use crate::process::identity;
use crate::process::{self, credentials, own_life};
use crate::thread::{memory, section};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Release;
use ring3_os::map;

/// What is mapped and not allowed goes. After the change.
pub(crate) fn narrow() {
    let Some(home) = identity::known_home().filter(|home| !home.in_company()) else { return };
    if !(record::is_any_mapped() || own_life::has_pages()) || !memory::is_ours() {
        return;
    }
    let section = section::enter();
    if !process::registered() {
        own_life::leave(home, &section);
        forget_parents();
    } else if reclaim::is_idle() && !home.epoch_and_apart().1 {
        own_life::leave(home, &section);
        let _held = home.objects.hold(&section);
        give_up();
    }
}

/// In a process that the broker knows (N1). `Home::objects` is held.
fn give_up() {
    record::each(|cell, object| {
        if object.len != 0 && !may_keep(object) {
            // ORDERING: Release keeps what was read of the record before it is gone, as in `open.rs`.
            cell.record.store(null_mut(), Release);
            release(cell, object);
        }
    });
}

/// Whether a mapping allows no more than this process may do.
fn may_keep(object: &Object) -> bool {
    // In another user namespace only the broker knows; it is asked at the next use.
    !process::users_abroad() && object.is_within(credentials::granted(&object.entry))
}

/// In a forked child (N2).
fn forget_parents() {
    record::each(|_, object| {
        if object.len != 0 {
            // SAFETY: the mapping is the record's own; nothing of this process is inside a call, and a record of another image is not used.
            let _ = unsafe { map::blank(object.base, object.len) };
        }
    });
}
