//! What the kernel keeps of a mapping's use, as far as it decides whether two mappings may be one. mprotect(2), madvise(2), mlock(2), mbind(2),
//! mseal(2); kernel: `vm_flags`, is_mergeable_vma().

use ring3_os::map::{Locking, PROT_EXEC, PROT_READ, PROT_WRITE};

/// A mapping's use: bits 0 to 2 its protection, then the bits below, from bit 16 the protection key, from bit 32 the memory policy (a hash).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u64);

const PROTECTION: u64 = 7;
const DONTFORK: u64 = 1 << 3;
const DONTDUMP: u64 = 1 << 4;
const RANDOM: u64 = 1 << 5;
const SEQUENTIAL: u64 = 1 << 6;
const HUGE: u64 = 1 << 7;
const NO_HUGE: u64 = 1 << 8;
const LOCKED: u64 = 1 << 9;
const ON_FAULT: u64 = 1 << 10;
const SEALED: u64 = 1 << 11;
/// Attached with SHM_RDONLY: never to be made writable.
const READ_ONLY: u64 = 1 << 12;
const KEY_SHIFT: u32 = 16;
const KEY: u64 = 0xffff << KEY_SHIFT;
const POLICY_SHIFT: u32 = 32;
const POLICY: u64 = 0xffff_ffff << POLICY_SHIFT;

/// How a call changes the flags of the mappings in its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    clear: u64,
    set: u64,
}

impl Flags {
    /// Those of a segment that was just attached.
    pub(crate) fn attached(protection: usize, read_only: bool, locking: Locking) -> Flags {
        let rest = if read_only { READ_ONLY } else { 0 };
        Flags(protection as u64 & PROTECTION | rest | Change::locking(locking).set)
    }

    /// Those that remap_file_pages leaves: it maps the file anew. kernel: do_mmap().
    pub(crate) fn remapped(self) -> Flags {
        Flags(self.0 & (PROTECTION | READ_ONLY | LOCKED))
    }

    /// Those that a forked child's mapping has: its memory is not locked. kernel: dup_mmap().
    pub(crate) fn forked(self) -> Flags {
        Flags(self.0 & !(LOCKED | ON_FAULT))
    }

    /// Whether a forked child has no such mapping.
    pub(crate) fn stays_behind(self) -> bool {
        self.0 & DONTFORK != 0
    }

    /// Whether the mapping can be neither changed nor taken away (mseal(2)).
    pub(crate) fn is_sealed(self) -> bool {
        self.0 & SEALED != 0
    }

    /// Whether the kernel refuses a change: it stops there, and has changed what lies before.
    pub(crate) fn refuses(self, change: Change) -> bool {
        let protects = change.clear & PROTECTION != 0;
        let writes = change.set & PROT_WRITE as u64 != 0;
        protects && (self.is_sealed() || writes && self.0 & READ_ONLY != 0)
    }

    /// With a change.
    pub(crate) fn with(self, change: Change) -> Flags {
        Flags(self.0 & !change.clear | change.set)
    }
}

impl Change {
    /// mprotect's.
    pub(crate) fn protection(protection: usize) -> Change {
        let bits = protection & (PROT_READ | PROT_WRITE | PROT_EXEC);
        Change { clear: PROTECTION, set: bits as u64 }
    }

    /// pkey_mprotect's; key -1 leaves the key.
    pub(crate) fn protection_and_key(protection: usize, key: i32) -> Change {
        let Change { clear, set } = Change::protection(protection);
        match u64::try_from(key) {
            Ok(key) => Change { clear: clear | KEY, set: set | key << KEY_SHIFT & KEY },
            Err(_) => Change { clear, set },
        }
    }

    /// mlock's and munlock's.
    pub(crate) fn locking(locking: Locking) -> Change {
        let set = match locking {
            Locking::No => 0,
            Locking::Now => LOCKED,
            Locking::OnFault => LOCKED | ON_FAULT,
        };
        Change { clear: LOCKED | ON_FAULT, set }
    }

    /// mseal's.
    pub(crate) fn seal() -> Change {
        Change { clear: 0, set: SEALED }
    }

    /// mbind's: two policies are the same if mode and nodes are.
    pub(crate) fn policy(hash: u32) -> Change {
        Change { clear: POLICY, set: u64::from(hash) << POLICY_SHIFT }
    }

    /// madvise's. `None`: this advice changes no mapping. kernel: madvise_vma_behavior().
    pub(crate) fn advice(advice: i32) -> Option<Change> {
        let (clear, set) = match advice {
            0 => (RANDOM | SEQUENTIAL, 0),
            1 => (SEQUENTIAL, RANDOM),
            2 => (RANDOM, SEQUENTIAL),
            10 => (0, DONTFORK),
            11 => (DONTFORK, 0),
            14 => (NO_HUGE, HUGE),
            15 => (HUGE, NO_HUGE),
            16 => (0, DONTDUMP),
            17 => (DONTDUMP, 0),
            _ => return None,
        };
        Some(Change { clear, set })
    }
}
