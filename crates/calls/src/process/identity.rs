//! Who the processes in this memory are to the broker: one page that fork wipes.
//!
//! Most memories have one process, the owner. A child of vfork, or of clone with CLONE_VM, is a *guest*: it has another number, and a connection, an
//! undo list and credentials of its own, but the objects and attachments are the memory's, and so are the locks of their tables. While
//! there are guests the memory is *in company*: [`current`] answers nobody, so that nothing that is kept of the owner or a thread is taken for the
//! caller's, and `mine` asks the kernel which of them calls.
//!
//! # Invariants
//! I1. `pid` is 0 until the broker has welcomed this very process. A forked child's page is zero (MADV_WIPEONFORK), so no path out of
//!     fork, known or unknown, leaves a child with its parent's name, locks or opened objects.
//! I2. The epoch is never the same again after registration, a change of credentials, or a guest's leaving: what was opened in another epoch is
//!     opened anew.
//! I3. `apart` is stored before the epoch that it holds for begins. It is 0 while all threads are known to have the same credentials, and
//!     there are no guests.
//! I4. A guest's place is taken before the guest makes its first call, and given back when the guest has ended or executed another program.
//! I5. `abroad` belongs to the registration, and changes with an epoch only.
//!
//! # Death
//! Of a guest: its place stays taken until its parent has waited for it, which costs the others a question to the kernel at each call; then the
//! locks that it held are freed. A vfork child leaves its parent's thread-local memory as it was; its parent mends that (`after_vfork`).

use crate::process::life_state::OwnLife;
use crate::process::line::Line;
use crate::thread::lock::Lock;
use crate::thread::memory;
use crate::thread::section::{self, ThreadState};
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};
use ring3_abi::{Errno, Pid};
use ring3_os::map::{self, Locking};
use ring3_os::process as os;
use ring3_wire::reply::{ABROAD_PIDS, ABROAD_USERS, Welcome};

/// One process.
#[derive(Debug)]
pub struct Identity {
    pub(super) pid: AtomicU32,
    /// Its number as it sees it itself; 0 nobody's place, `guests::RESERVED` for a guest that has not begun.
    pub(super) here: AtomicU32,
    epoch: AtomicU32,
    tag: AtomicU32,
    /// `Welcome::abroad` (I5).
    abroad: AtomicU32,
    /// Guards the connection.
    pub(crate) rpc: Lock,
    /// The process's life.
    pub(crate) life: OwnLife,
    /// A guest's connection.
    pub(super) line: Line,
    /// What a guest begins with: function, argument, and the token by which its parent announced it.
    pub(crate) start: [AtomicUsize; 2],
    /// See `start`.
    pub(crate) token: AtomicU64,
}

/// The most processes in one memory.
const PLACES: usize = 1 + section::MOST_BESIDE;

/// The page.
#[derive(Debug)]
pub struct Home {
    image: AtomicU64,
    /// [`THREADS`], [`GUESTS`].
    apart: AtomicU32,
    /// vfork children that may be at work.
    pub(super) vforks: AtomicU32,
    /// 1: in company.
    company: AtomicU32,
    /// The process whose memory this is (`thread/memory.rs`).
    settled: AtomicU32,
    /// Guards changes of the table of objects.
    pub(crate) objects: Lock,
    /// Guards the table of attachments.
    pub(crate) attach: Lock,
    /// How the kernel locks what this memory maps (mlockall(2)): a [`Locking`]'s number. Fork wipes it, as the kernel does.
    locking: AtomicU32,
    pub(super) places: [Identity; PLACES],
}
const _: () = assert!(size_of::<Home>() <= map::PAGE);

/// Threads may have credentials of their own (`credentials.rs`).
pub(super) const THREADS: u32 = 1;
/// Guests have.
pub(super) const GUESTS: u32 = 2;

static NOBODY: Identity = Identity {
    pid: AtomicU32::new(0),
    here: AtomicU32::new(0),
    epoch: AtomicU32::new(0),
    tag: AtomicU32::new(0),
    abroad: AtomicU32::new(0),
    rpc: Lock::new(),
    life: OwnLife::new(),
    line: Line::new(),
    start: [const { AtomicUsize::new(0) }; 2],
    token: AtomicU64::new(0),
};

/// The owner, or nobody: before the first use, and in company.
static CURRENT: AtomicPtr<Identity> = AtomicPtr::new((&raw const NOBODY).cast_mut());

static HOME: AtomicPtr<Home> = AtomicPtr::new(core::ptr::null_mut());

/// The owner's connection. Copied by fork: the child adopts by it.
static OWNERS_LINE: Line = Line::new();

/// The last epoch that any image of this memory had (I2). Copied by fork, unlike the page.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The calling process, if it needs no question to the kernel to know; else nobody.
#[inline]
pub fn current() -> &'static Identity {
    // ORDERING: Acquire pairs with review(): the page is mapped before it is published.
    // SAFETY: NOBODY, or in the page that home() mapped and nobody ever unmaps.
    unsafe { &*CURRENT.load(Acquire) }
}

/// The page, if it is there.
pub(crate) fn known_home() -> Option<&'static Home> {
    // ORDERING: Acquire pairs with home(): the page is mapped before it is published.
    // SAFETY: null, or the page that home() mapped and nobody ever unmaps.
    unsafe { HOME.load(Acquire).as_ref() }
}

/// The page, mapped if need be. # Errors: `ENOMEM`; `EINVAL` on kernels without MADV_WIPEONFORK.
pub(crate) fn home() -> Result<&'static Home, Errno> {
    if let Some(home) = known_home() {
        return Ok(home);
    }
    let page = map::wiped_on_fork(map::PAGE)?.cast::<Home>();
    // ORDERING: Release publishes the mapping; the loser of a race unmaps its own page.
    if HOME.compare_exchange(core::ptr::null_mut(), page.as_ptr(), AcqRel, Acquire).is_err() {
        // SAFETY: mapped above and known to nobody.
        let _ = unsafe { map::unmap(page.as_ptr() as usize, map::PAGE) };
    }
    known_home().ok_or(Errno::ENOMEM)
}

/// The calling process, if it has a place.
pub(crate) fn known() -> Option<&'static Identity> {
    let page = current();
    if page.pid() != 0 {
        return Some(page);
    }
    let home = known_home()?;
    if home.in_company() { home.find(os::pid()) } else { Some(home.owner()) }
}

/// The calling process, with a place if need be. # Errors: as [`home`]; `ENOSYS` if all places are taken.
pub(crate) fn mine() -> Result<&'static Identity, Errno> {
    let home = home()?;
    let owner = home.owner();
    if !home.in_company() && (owner.pid() != 0 || memory::is_ours()) {
        return Ok(owner);
    }
    let me = os::pid();
    match home.find(me) {
        Some(there) => Ok(there),
        None if memory::is_ours() => {
            owner.here.store(me, Relaxed);
            Ok(owner)
        }
        None => home.take(me).ok_or(Errno::ENOSYS),
    }
}

/// Whether the caller is a guest that has a place.
pub(crate) fn is_guest() -> bool {
    known().is_some_and(|me| !me.is_owner())
}

/// Whether there may be guests.
pub(crate) fn in_company() -> bool {
    known_home().is_some_and(Home::in_company)
}

/// This thread's number. Asked from the kernel once a thread and registration, since a forked child has its parent's memory.
#[inline]
pub fn tid() -> Pid {
    tid_of(section::thread())
}

/// [`tid`], by this thread's state.
#[inline(always)]
pub(crate) fn tid_of(thread: &ThreadState) -> Pid {
    let epoch = current().epoch();
    if epoch != 0 && thread.tid_epoch.load(Relaxed) == epoch {
        return thread.tid.load(Relaxed);
    }
    ask_tid(thread, epoch)
}

#[cold]
#[inline(never)]
fn ask_tid(thread: &ThreadState, epoch: u32) -> Pid {
    let tid = match thread.stood_in_for.load(Relaxed) {
        0 => os::tid(),
        tid => tid,
    };
    if epoch != 0 {
        thread.tid.store(tid, Relaxed);
        thread.tid_epoch.store(epoch, Relaxed);
    }
    tid
}

impl Identity {
    /// The process number as the broker knows it; 0 before registration and in a forked child.
    #[inline]
    pub fn pid(&self) -> Pid {
        // ORDERING: Acquire pairs with welcome(): who sees the number sees the directory.
        self.pid.load(Acquire)
    }

    /// The epoch (I2) of the owner's memory; 0 like the pid.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// A tag for the next request.
    pub(crate) fn next_tag(&self) -> u32 {
        self.tag.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Whether it is the owner of this memory.
    pub(crate) fn is_owner(&self) -> bool {
        known_home().is_none_or(|home| core::ptr::eq(self, home.owner()))
    }

    /// Its connection.
    pub(super) fn line(&self) -> &Line {
        if self.is_owner() { &OWNERS_LINE } else { &self.line }
    }

    /// The connection that a process inherited: its parent's.
    pub(super) fn inherited() -> &'static Line {
        &OWNERS_LINE
    }

    /// Whether users and groups have other ids to this process than to the broker: then the broker decides what the process may do.
    pub(super) fn users_abroad(&self) -> bool {
        self.abroad.load(Relaxed) & ABROAD_USERS != 0
    }

    /// Whether processes have other numbers to this process than in regions: the broker translates.
    pub(super) fn pids_abroad(&self) -> bool {
        self.abroad.load(Relaxed) & ABROAD_PIDS != 0
    }

    /// Whether the broker's answer calls this process what it was called before.
    pub(super) fn is_welcomed_as_before(&self, welcome: &Welcome) -> bool {
        self.pid() == welcome.pid && self.abroad.load(Relaxed) == welcome.abroad
    }

    /// Takes what the broker answered when this process introduced itself.
    pub(super) fn welcome(&self, welcome: &Welcome, home: &'static Home) {
        if self.is_owner() {
            memory::settle(&home.settled);
        }
        self.abroad.store(welcome.abroad, Relaxed);
        home.renew();
        // ORDERING: Release: see pid().
        self.pid.store(welcome.pid, Release);
        home.review();
    }

    /// A guest begins, on its own stack.
    pub(crate) fn begin(&self) {
        if let Some(n) = known_home().and_then(|home| home.guest_number(self)) {
            section::begin_beside(n);
        }
        self.here.store(os::pid(), Relaxed);
    }
}

impl Home {
    /// The owner's place.
    pub(crate) fn owner(&self) -> &Identity {
        let [owner, ..] = &self.places;
        owner
    }

    pub(super) fn guests(&self) -> &[Identity] {
        let [_, guests @ ..] = &self.places;
        guests
    }

    /// The place of a process, by its own number.
    fn find(&self, here: Pid) -> Option<&Identity> {
        self.places.iter().find(|place| place.here.load(Relaxed) == here)
    }

    /// The bit of a process among those that use an object (`object/record.rs`).
    pub(crate) fn bit(&self, me: &Identity) -> u32 {
        self.places.iter().position(|place| core::ptr::eq(place, me)).map_or(0, |place| 1 << place)
    }

    /// The bit of the owner.
    pub(crate) const OWNER: u32 = 1;

    /// The random number of this memory, the same for all in it.
    pub(crate) fn image(&self) -> u64 {
        let known = self.image.load(Relaxed);
        if known != 0 {
            return known;
        }
        let fresh = os::random() | 1;
        match self.image.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(image) => image,
        }
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

    /// Whether there may be guests.
    pub(crate) fn in_company(&self) -> bool {
        // ORDERING: Acquire pairs with review(): whoever sees company sees the guests' places.
        self.company.load(Acquire) != 0
    }

    /// The epoch, and whether threads or guests may have credentials of their own in it (I3).
    pub(crate) fn epoch_and_apart(&self) -> (u32, bool) {
        let epoch = self.owner().epoch();
        // ORDERING: Acquire pairs with the Release of renew().
        fence(Acquire);
        (epoch, self.apart.load(Relaxed) != 0)
    }

    /// Whether threads of the owner are known to have credentials of their own.
    pub(super) fn threads_apart(&self) -> bool {
        self.apart.load(Relaxed) & THREADS != 0
    }

    /// Says whether threads, or guests, may have credentials of their own, and begins another epoch.
    pub(super) fn set_apart(&self, which: u32, apart: bool) {
        if apart {
            self.apart.fetch_or(which, Relaxed);
        } else {
            self.apart.fetch_and(!which, Relaxed);
        }
        self.renew();
    }

    /// Begins another epoch.
    pub(crate) fn renew(&self) {
        let mut next = EPOCH.fetch_add(1, Relaxed).wrapping_add(1);
        if next == 0 {
            next = EPOCH.fetch_add(1, Relaxed).wrapping_add(1);
        }
        // ORDERING: Release: see epoch_and_apart().
        self.owner().epoch.store(next, Release);
    }

    /// Finds out whether the memory is in company, and says so.
    pub(super) fn review(&self) {
        // ORDERING: Acquire pairs with the store that takes or frees a place.
        let guests = self.guests().iter().any(|guest| guest.here.load(Acquire) != 0);
        let company = guests || self.vforks.load(Relaxed) != 0;
        if !guests && self.apart.load(Relaxed) & GUESTS != 0 {
            self.set_apart(GUESTS, false);
        }
        // ORDERING: Release pairs with in_company().
        self.company.store(u32::from(company), Release);
        section::set_any_beside(guests);
        let current = if company { &NOBODY } else { self.owner() };
        // ORDERING: Release publishes the page.
        CURRENT.store(core::ptr::from_ref(current).cast_mut(), Release);
    }
}
