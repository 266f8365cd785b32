//! How a program that has segments attached may use its memory: mprotect(2), madvise(2), process_madvise(2), mlock(2), mlockall(2), mbind(2),
//! mseal(2). Each may cut an attachment in two (`object/cuts.rs`).

use crate::object::flags::Change;
use crate::object::{attachments, cuts, record, spare};
use crate::process::{directory, identity, own_life};
use crate::syscall::memory::{changing, rounded};
use crate::thread::{memory, section};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use ring3_abi::Errno;
use ring3_os::arch::nr;
use ring3_os::map::{self, Locking};
use ring3_os::user::UserPtr;

/// Runs a call about a range, and accounts for what it has changed.
fn using(
    addr: usize,
    len: usize,
    change: Change,
    number: usize,
    arguments: [usize; 6],
) -> Result<usize, Errno> {
    let from = addr & !(map::PAGE - 1);
    let to = from.saturating_add(rounded(len.saturating_add(addr - from)));
    changing(
        // SAFETY: the program's own call, about its own memory.
        || unsafe { map::change(number, arguments) },
        |done| {
            match done {
                Ok(_) => cuts::change(from, to, change),
                // The kernel goes on behind a hole with advice; it gives up there with protection and locks.
                Err(Errno::ENOMEM) if number == nr::MADVISE => cuts::change(from, to, change),
                Err(Errno::EAGAIN) if number == nr::MLOCK || number == nr::MLOCK2 => {
                    cuts::change(from, to, change)
                }
                Err(Errno::ENOMEM | Errno::EACCES | Errno::EPERM) if number != nr::MSEAL => {
                    cuts::change_up_to_fault(from, to, change, map::is_mapped);
                }
                Err(_) => {}
            }
            done
        },
    )
}

/// mprotect(2) for the program.
pub fn mprotect(addr: usize, len: usize, prot: usize) -> Result<usize, Errno> {
    using(addr, len, Change::protection(prot), nr::MPROTECT, [addr, len, prot, 0, 0, 0])
}

/// pkey_mprotect(2) for the program.
pub fn pkey_mprotect(addr: usize, len: usize, prot: usize, key: i32) -> Result<usize, Errno> {
    let change = Change::protection_and_key(prot, key);
    using(addr, len, change, nr::PKEY_MPROTECT, [addr, len, prot, key as usize, 0, 0])
}

/// madvise(2) for the program.
pub fn madvise(addr: usize, len: usize, advice: i32) -> Result<usize, Errno> {
    let change = Change::advice(advice).unwrap_or_default();
    using(addr, len, change, nr::MADVISE, [addr, len, advice as usize, 0, 0, 0])
}

/// process_madvise(2) for the program. Advice that cuts mappings is for the caller's own alone.
pub fn process_madvise(
    process: i32,
    ranges: UserPtr<[usize; 2]>,
    count: usize,
    advice: i32,
    flags: usize,
) -> Result<usize, Errno> {
    let arguments = [process as usize, ranges.addr(), count, advice as usize, flags, 0];
    changing(
        // SAFETY: the program's own call; the kernel checks the pointer.
        || unsafe { map::change(nr::PROCESS_MADVISE, arguments) },
        |done| {
            let (Ok(mut left), Some(change)) = (done, Change::advice(advice)) else { return done };
            for n in 0..count {
                let Ok([addr, len]) = ranges.nth(n).and_then(UserPtr::read) else {
                    break;
                };
                cuts::change(addr, addr.saturating_add(rounded(len).min(left)), change);
                left = left.saturating_sub(rounded(len));
            }
            done
        },
    )
}

/// mlock(2) for the program.
pub fn mlock(addr: usize, len: usize) -> Result<usize, Errno> {
    using(addr, len, Change::locking(Locking::Now), nr::MLOCK, [addr, len, 0, 0, 0, 0])
}

/// mlock2(2) for the program.
pub fn mlock2(addr: usize, len: usize, flags: usize) -> Result<usize, Errno> {
    let locking = if flags == 0 { Locking::Now } else { Locking::OnFault };
    using(addr, len, Change::locking(locking), nr::MLOCK2, [addr, len, flags, 0, 0, 0])
}

/// munlock(2) for the program.
pub fn munlock(addr: usize, len: usize) -> Result<usize, Errno> {
    using(addr, len, Change::locking(Locking::No), nr::MUNLOCK, [addr, len, 0, 0, 0, 0])
}

const MCL_CURRENT: usize = 1;
const MCL_FUTURE: usize = 2;
const MCL_ONFAULT: usize = 4;

/// mlockall(2) for the program.
pub fn mlockall(flags: usize) -> Result<usize, Errno> {
    let locking = if flags & MCL_ONFAULT == 0 { Locking::Now } else { Locking::OnFault };
    let current = (flags & MCL_CURRENT != 0).then_some(locking);
    let later = if flags & MCL_FUTURE != 0 { locking } else { Locking::No };
    all(nr::MLOCKALL, flags, current, later)
}

/// munlockall(2) for the program.
pub fn munlockall() -> Result<usize, Errno> {
    all(nr::MUNLOCKALL, 0, Some(Locking::No), Locking::No)
}

fn all(number: usize, flags: usize, current: Option<Locking>, later: Locking) -> Result<usize, Errno> {
    changing(
        || {
            // They are no more the program's than the kernel's memory is, and would count.
            spare::sweep(true);
            // SAFETY: numbers only.
            unsafe { map::change(number, [flags, 0, 0, 0, 0, 0]) }
        },
        |done| {
            if let (Ok(_), Some(locking)) = (done, current) {
                cuts::change(0, usize::MAX, Change::locking(locking));
            }
            done
        },
    )
    .inspect(|_| {
        if memory::is_ours() {
            keep_out(current.is_some_and(|locking| locking != Locking::No), later);
        }
    })
}

/// Keeps our own memory out of what is locked, as the kernel's is.
fn keep_out(locked: bool, later: Locking) {
    map::set_kernel_locks(later != Locking::No);
    let section = section::enter();
    let Ok(home) = identity::home() else { return };
    let _held = home.objects.hold(&section);
    home.set_locking(later);
    if locked {
        IMAGE.unlock();
        directory::unlock();
        own_life::unlock();
        spare::unlock();
        record::unlock();
    }
}

/// Where the agent itself lies, once it is known.
pub struct Image {
    addr: AtomicUsize,
    len: AtomicUsize,
}

/// The agent's.
pub static IMAGE: Image = Image { addr: AtomicUsize::new(0), len: AtomicUsize::new(0) };

impl Image {
    /// Notes where it lies.
    pub fn lies_at(&self, addr: usize, len: usize) {
        self.addr.store(addr, Relaxed);
        self.len.store(len, Relaxed);
    }

    fn unlock(&self) {
        map::unlock(self.addr.load(Relaxed), self.len.load(Relaxed));
    }
}

/// mseal(2) for the program.
pub fn mseal(addr: usize, len: usize, flags: usize) -> Result<usize, Errno> {
    using(addr, len, Change::seal(), nr::MSEAL, [addr, len, flags, 0, 0, 0])
}

/// mbind(2) for the program.
pub fn mbind(arguments: [usize; 6]) -> Result<usize, Errno> {
    let [addr, len, mode, nodes, bits, _] = arguments;
    // Nobody asks what the policy is while nothing is attached.
    let hash = if attachments::any() { policy(mode, UserPtr::claim(nodes), bits) } else { 0 };
    using(addr, len, Change::policy(hash), nr::MBIND, arguments)
}

/// A number for a memory policy: 0 for the default one.
fn policy(mode: usize, nodes: UserPtr<u64>, bits: usize) -> u32 {
    const WORDS: usize = 16;
    if mode == 0 {
        return 0;
    }
    // FNV-1a over the mode and the words of the mask that are not 0, with their places.
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x100_0000_01b3);
    let mut hash = step(0xcbf2_9ce4_8422_2325, mode as u64);
    for n in 0..bits.div_ceil(64).min(WORDS) {
        match nodes.nth(n).and_then(UserPtr::read) {
            Ok(0) | Err(_) => {}
            Ok(word) => hash = step(step(hash, n as u64), word),
        }
    }
    (hash >> 32) as u32 | 1
}
