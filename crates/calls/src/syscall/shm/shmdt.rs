//! shmdt. shmop(2); kernel: ipc/shm.c, ksys_shmdt().

use crate::object::attachments::{self, Part};
use crate::object::mappings::{self, Mapping};
use crate::object::parts;
use crate::process::identity;
use crate::process::{self, deputy};
use crate::syscall::shm::again;
use crate::thread::section;
use ring3_abi::Errno;
use ring3_os::map;

/// shmdt(2): unmaps what is left of the attachment whose first byte is, or would be, at `addr`. kernel: ksys_shmdt().
pub fn shmdt(addr: usize) -> Result<usize, Errno> {
    if !addr.is_multiple_of(map::PAGE) || !attachments::any() {
        return Err(Errno::EINVAL);
    }
    process::ready()?;
    let home = identity::home()?;
    let section = section::enter();
    let _held = home.attach.hold(&section);
    if again::detach(addr, home) || unmap_at(addr) { Ok(0) } else { Err(Errno::EINVAL) }
}

/// Unmaps the first mapping at or above `addr` that is as far above it as into its segment, and all others of the same shmat of
/// which that is true. Answers whether there was one.
fn unmap_at(addr: usize) -> bool {
    let mut found: Option<Part> = None;
    // Mappings side by side go at once.
    let (mut from, mut to) = (addr, addr);
    // No mapping above is one of a segment.
    let Some(mut last) = attachments::all().map(|p| p.end()).max() else { return false };
    let mut visit = |mapping: Mapping| {
        if mapping.start >= last {
            return false;
        }
        if mapping.start.checked_sub(addr) != Some(mapping.offset) {
            return mapping.end < last;
        }
        let inside = |p: &Part| p.file == mapping.file && p.addr <= mapping.start && mapping.start < p.end();
        let Some(part) = attachments::all().find(inside) else { return mapping.end < last };
        let first = *found.get_or_insert(part);
        last = addr.saturating_add(first.size);
        if mapping.start >= last {
            return false;
        }
        if part.origin == first.origin {
            // SAFETY: a mapping of the segment that the program asks to be unmapped.
            if unsafe { map::unmap(mapping.start, mapping.end - mapping.start) }.is_err() {
                // It is sealed, and stays; the kernel goes on as well.
                return mapping.end < last;
            }
            if mapping.start != to {
                if to > from {
                    parts::gone(from, to);
                }
                from = mapping.start;
            }
            to = mapping.end;
        }
        mapping.end < last
    };
    // Without a descriptor it fails before it visits anything.
    if deputy::provided(|| mappings::walk(addr, &mut visit)).is_err() {
        // The kernel cannot be asked: there is no /proc (chroot), or no permission. What was written down must do.
        parts::walk(addr, visit);
    }
    if to > from {
        parts::gone(from, to);
    }
    found.is_some()
}
