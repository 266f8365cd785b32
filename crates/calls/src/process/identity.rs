//! Who this process is to the broker: one page that fork wipes.
//!
//! # Invariants
//! I1. `pid` is 0 until the broker has welcomed this very process. A forked child's page is zero (MADV_WIPEONFORK), so no path out of
//!     fork, known or unknown, leaves a child with its parent's name, locks or opened objects.
//! I2. `epoch` is never the same again after registration or a change of credentials: what was opened in another epoch is opened anew.
//! I3. `apart` is stored before the epoch that it holds for begins. It is 0 while all threads are known to have the same credentials.

use crate::process::life_state::OwnLife;
use crate::thread::lock::Lock;
use crate::thread::section::{self, ThreadState};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};
use ring3_abi::{Errno, Pid};
use ring3_os::map::{self, Locking};

/// The page.
#[derive(Debug)]
#[repr(C)]
pub struct Identity {
    pid: AtomicU32,
    epoch: AtomicU32,
    image: AtomicU64,
    tag: AtomicU32,
    /// Guards the connection.
    pub(crate) rpc: Lock,
    /// Guards changes of the table of objects.
    pub(crate) objects: Lock,
    /// Guards the table of attachments.
    pub(crate) attach: Lock,
    /// How the kernel locks what this process maps (mlockall(2)): a [`Locking`]'s number. Fork wipes it, as the kernel does.
    locking: AtomicU32,
    /// The process's life.
    pub(crate) life: OwnLife,
    /// 1: threads may have credentials of their own (`credentials.rs`).
    apart: AtomicU32,
}

static NOBODY: Identity = Identity {
    pid: AtomicU32::new(0),
    epoch: AtomicU32::new(0),
    image: AtomicU64::new(0),
    tag: AtomicU32::new(0),
    rpc: Lock::new(),
    objects: Lock::new(),
    attach: Lock::new(),
    locking: AtomicU32::new(0),
    life: OwnLife::new(),
    apart: AtomicU32::new(0),
};

static PAGE: AtomicPtr<Identity> = AtomicPtr::new((&raw const NOBODY).cast_mut());

/// The last epoch that any image of this memory had (I2). Copied by fork, unlike the page.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The page as it is; nobody's before the first use.
#[inline]
pub fn current() -> &'static Identity {
    // ORDERING: Acquire pairs with own(): the page is mapped before it is published.
    // SAFETY: NOBODY, or a page that own() mapped and nobody ever unmaps.
    unsafe { &*PAGE.load(Acquire) }
}

/// The process's own page, mapped if need be. # Errors: `ENOMEM`; `EINVAL` on kernels without MADV_WIPEONFORK.
pub(crate) fn own() -> Result<&'static Identity, Errno> {
    let nobody = (&raw const NOBODY).cast_mut();
    if PAGE.load(Acquire) == nobody {
        let page = map::wiped_on_fork(map::PAGE)?.cast::<Identity>();
        // ORDERING: Release publishes the mapping; the loser of a race unmaps its own page.
        if PAGE.compare_exchange(nobody, page.as_ptr(), AcqRel, Acquire).is_err() {
            // SAFETY: mapped above and known to nobody.
            let _ = unsafe { map::unmap(page.as_ptr() as usize, map::PAGE) };
        }
    }
    Ok(current())
}

/// This thread's number. Asked from the kernel once a thread and registration, since a forked child has its parent's memory.
#[inline]
pub fn tid() -> Pid {
    let thread = section::thread();
    let epoch = current().epoch();
    if epoch != 0 && thread.tid_epoch.load(Relaxed) == epoch {
        return thread.tid.load(Relaxed);
    }
    ask_tid(thread, epoch)
}

#[cold]
fn ask_tid(thread: &ThreadState, epoch: u32) -> Pid {
    let tid = ring3_os::process::tid();
    thread.tid.store(tid, Relaxed);
    thread.tid_epoch.store(epoch, Relaxed);
    tid
}

impl Identity {
    /// The process number as the broker knows it; 0 before registration and in a forked child.
    #[inline]
    pub fn pid(&self) -> Pid {
        // ORDERING: Acquire pairs with welcome(): who sees the number sees the directory.
        self.pid.load(Acquire)
    }

    /// The epoch (I2); 0 like the pid.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// The random number of this image.
    pub fn image(&self) -> u64 {
        self.image.load(Relaxed)
    }

    /// A tag for the next request.
    pub(crate) fn next_tag(&self) -> u32 {
        self.tag.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// How the kernel locks what is mapped from now on.
    pub(crate) fn locking(&self) -> Locking {
        match self.locking.load(Relaxed) {
            0 => Locking::No,
            1 => Locking::Now,
            _ => Locking::OnFault,
        }
    }

    /// Notes what mlockall or munlockall has said of what is mapped later.
    pub(crate) fn set_locking(&self, locking: Locking) {
        self.locking.store(locking as u32, Relaxed);
    }

    /// Takes the name that the broker gave.
    pub(crate) fn welcome(&self, pid: Pid, image: u64) {
        self.image.store(image, Relaxed);
        self.renew();
        // ORDERING: Release: see pid().
        self.pid.store(pid, Release);
    }

    /// The epoch, and whether threads may have credentials of their own in it (I3).
    pub(crate) fn epoch_and_apart(&self) -> (u32, bool) {
        let epoch = self.epoch.load(Relaxed);
        // ORDERING: Acquire pairs with the Release of renew().
        fence(Acquire);
        (epoch, self.apart.load(Relaxed) != 0)
    }

    /// Says whether threads may have credentials of their own, and begins another epoch.
    pub(crate) fn set_apart(&self, apart: bool) {
        self.apart.store(u32::from(apart), Relaxed);
        self.renew();
    }

    /// Begins another epoch.
    pub(crate) fn renew(&self) {
        let mut next = EPOCH.fetch_add(1, Relaxed).wrapping_add(1);
        if next == 0 {
            next = EPOCH.fetch_add(1, Relaxed).wrapping_add(1);
        }
        // ORDERING: Release: see epoch_and_apart().
        self.epoch.store(next, Release);
    }
}
