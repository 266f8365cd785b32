//! What of the descriptors outlives all brokers and lookouts: copies in the queues of sockets that somebody else has (a service manager's store, sd_notify(3)).
//!
//! Descriptors are kept in drawers, each for [`ROOM`] numbers: a pair of sockets, of which one has a single packet waiting that says which numbers are kept and has
//! the descriptors beside it (SCM_RIGHTS). The manager has both sockets, and so the packet, and what is in it, for as long as it likes. It is told of a drawer
//! once; what changes in it is two system calls here.
//!
//! The first drawer has what is no record's: the state's memory, the listener, and what else whoever starts the broker needs again.
//!
//! # Invariants
//! L1. Before a record that names a descriptor is committed, its drawer has it under that number.
//! L2. A drawer's last packet counts, and is whole.
//!
//! # Death
//! Before a drawer's new packet is sent, the old one counts; behind that, before the old one is taken out, the new one does. A drawer that was made and not noted is another's
//! stray; the manager has one more then, in which nothing is.

use super::held;
use super::memory::Memory;
use crate::failure::errno;
use ring3_abi::Errno;
use ring3_engine::atomic::{AtomicU64, Relaxed};
use rustix::fs::fstat;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

/// Numbers in a drawer: as many as one packet takes in passing.
const ROOM: usize = 64;
/// Drawers; the first is not for numbers.
pub(super) const DRAWERS: usize = 1024;
/// Words of a packet: its mark, the drawer, the other socket's inode, how many numbers, and these.
const WORDS: usize = 4 + ROOM;
const MARK: u64 = 0x5233_5601;

/// Whoever keeps a descriptor when all who have it are dead.
pub trait Store: Debug + Send {
    /// Keeps it.
    ///
    /// # Errors
    /// It cannot be reached.
    fn keep(&mut self, fd: BorrowedFd<'_>) -> io::Result<()>;
}

/// What a broker keeps descriptors with.
#[derive(Debug)]
pub struct Keeping {
    /// Where the drawers are given to.
    pub store: Box<dyn Store>,
    /// What whoever starts a broker needs again, beside the listener.
    pub also: Vec<RawFd>,
}

/// The drawers, as a broker has them.
#[derive(Debug)]
pub(crate) struct Vault {
    store: RefCell<Box<dyn Store>>,
    seat: Vec<RawFd>,
}

impl Vault {
    /// The drawers of a state whose listener is this.
    pub(crate) fn new(keeping: Keeping, memory: &Memory, listener: RawFd) -> Vault {
        held::begin_to_keep();
        let seat = [memory.descriptor(), listener].into_iter().chain(keeping.also).collect();
        Vault { store: RefCell::new(keeping.store), seat }
    }

    /// Keeps what whoever goes on has to begin with. What another broker has put into the other drawers is looked through at the next update.
    pub(crate) fn begin(&self, memory: &Memory) -> Result<(), Errno> {
        for drawer in 1..DRAWERS {
            if slot(memory, drawer)?.load(Relaxed) != 0 {
                held::touch((drawer - 1) * ROOM);
            }
        }
        self.fill(memory, 0, &self.seat)
    }

    /// Brings the drawers up to date (L1).
    pub(crate) fn update(&self, memory: &Memory) -> Result<(), Errno> {
        for (drawer, numbers) in held::take_moved(ROOM) {
            self.fill(memory, drawer + 1, &numbers)?;
        }
        Ok(())
    }

    /// Takes everything out: the namespace ends, and whoever is connected is to see that at once.
    pub(crate) fn clear(&self, memory: &Memory) -> Result<(), Errno> {
        for drawer in 0..DRAWERS {
            let word = slot(memory, drawer)?.load(Relaxed);
            if word != 0 {
                drop_all_but(0, borrow((word >> 32) as RawFd - 1)?).map_err(errno)?;
            }
        }
        Ok(())
    }

    /// Puts these into a drawer, and what was there out of it.
    fn fill(&self, memory: &Memory, drawer: usize, numbers: &[RawFd]) -> Result<(), Errno> {
        let slot = slot(memory, drawer)?;
        let word = slot.load(Relaxed);
        if word == 0 && numbers.is_empty() {
            return Ok(());
        }
        let (inner, outer) = if word == 0 {
            self.make(slot)?
        } else {
            ((word >> 32) as RawFd - 1, (word & 0xffff_ffff) as RawFd)
        };
        let (inner, outer) = (borrow(inner)?, borrow(outer)?);
        let mut words = vec![MARK, drawer as u64, fstat(outer).map_err(errno)?.st_ino];
        words.push(numbers.len() as u64);
        words.extend(numbers.iter().map(|&number| u64::from(number.cast_unsigned())));
        words.resize(WORDS, 0);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let fds = numbers.iter().map(|&number| borrow(number)).collect::<Result<Vec<_>, _>>()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::ENOMEM);
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(outer, &[IoSlice::new(&bytes)], &mut control, flags).map_err(errno)?;
        drop_all_but(1, inner).map_err(errno)
    }

    /// Makes a drawer, gives it to the store, and notes it.
    fn make(&self, slot: &AtomicU64) -> Result<(RawFd, RawFd), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (inner, outer) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(errno)?;
        let mut store = self.store.borrow_mut();
        store.keep(inner.as_fd()).and_then(|()| store.keep(outer.as_fd())).map_err(|_| Errno::EIO)?;
        // They are never closed: the memory has their numbers.
        let (inner, outer) = (inner.into_raw_fd(), outer.into_raw_fd());
        slot.store((inner as u64 + 1) << 32 | outer as u64, Relaxed);
        Ok((inner, outer))
    }
}

/// The sockets of all drawers of a state.
pub(crate) fn sockets(memory: &Memory) -> Vec<RawFd> {
    let both = |word: u64| [(word >> 32) as RawFd - 1, (word & 0xffff_ffff) as RawFd];
    let words = (0..DRAWERS).filter_map(|drawer| slot(memory, drawer).ok());
    words.map(|slot| slot.load(Relaxed)).filter(|&word| word != 0).flat_map(both).collect()
}

/// Where the memory has a drawer's sockets: the one with the packet, + 1, and the other one; 0 there is none.
fn slot(memory: &Memory, drawer: usize) -> Result<&AtomicU64, Errno> {
    memory.drawer(drawer).ok_or(Errno::ENOSPC)
}

fn borrow<'f>(number: RawFd) -> Result<BorrowedFd<'f>, Errno> {
    crate::regions::borrowed(number).ok_or(Errno::EBADF)
}

/// Takes every packet but the last ones out of a drawer. What was beside them goes with them.
fn drop_all_but(last: u64, inner: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut one = [0; WORDS * 8];
    while waiting(inner)? > last {
        recv(inner, &mut one[..], RecvFlags::DONTWAIT)?;
    }
    Ok(())
}

/// How many packets are in a drawer.
fn waiting(inner: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(inner)? / (WORDS as u64 * 8))
}

/// What was in the drawers of a namespace whose processes are all dead, in this process now, each descriptor under the number that it had.
#[derive(Debug)]
pub struct Unpacked {
    /// The state.
    pub memory: Memory,
    /// Its listener.
    pub listener: RawFd,
    /// What else was kept with it ([`Keeping::also`]).
    pub also: Vec<RawFd>,
    /// What this process had before.
    pub own: Vec<OwnedFd>,
}

/// A drawer's packet, read.
struct Content {
    drawer: usize,
    outer: u64,
    numbers: Vec<RawFd>,
    fds: Vec<OwnedFd>,
}

/// Unpacks what a store gave back (`serve::unpack`).
pub(crate) fn unpack(sockets: Vec<OwnedFd>, own: Vec<OwnedFd>) -> Result<Unpacked, Errno> {
    let mut drawers: BTreeMap<usize, (Content, OwnedFd)> = BTreeMap::new();
    let mut others = BTreeMap::new();
    for socket in sockets {
        match content(&socket)? {
            Some(content) => _ = drawers.insert(content.drawer, (content, socket)),
            None => _ = others.insert(fstat(&socket).map_err(errno)?.st_ino, socket),
        }
    }
    let numbers = drawers.values().flat_map(|(content, _)| content.numbers.iter());
    let highest = numbers.copied().max().ok_or(Errno::EIO)?;
    // Out of the way of all of them.
    let away = |fd: OwnedFd| rustix::io::fcntl_dupfd_cloexec(&fd, highest + 1).map_err(errno);
    let own = own.into_iter().map(away).collect::<Result<Vec<_>, _>>()?;
    let (mut words, mut kept) = (Vec::new(), Vec::new());
    for (drawer, (content, inner)) in drawers {
        let outer = others.remove(&content.outer).ok_or(Errno::EIO)?;
        words.push((drawer, away(inner)?, away(outer)?));
        for (number, fd) in content.numbers.into_iter().zip(content.fds) {
            kept.push((drawer == 0, number, away(fd)?));
        }
    }
    drop(others);
    let (mut seat, mut placed) = (Vec::new(), BTreeSet::new());
    for (is_seat, number, fd) in kept {
        let at = rustix::io::fcntl_dupfd_cloexec(&fd, number).map_err(errno)?.into_raw_fd();
        if at != number {
            return Err(Errno::EIO);
        }
        placed.insert(number);
        if is_seat {
            seat.push(number);
        }
    }
    let [memory, listener, also @ ..] = &seat[..] else { return Err(Errno::EIO) };
    let memory = Memory::found(*memory)?;
    (0..DRAWERS).filter_map(|drawer| memory.drawer(drawer)).for_each(|slot| slot.store(0, Relaxed));
    for (drawer, inner, outer) in words {
        let word = (inner.into_raw_fd() as u64 + 1) << 32 | outer.into_raw_fd() as u64;
        slot(&memory, drawer)?.store(word, Relaxed);
    }
    memory.keep_beside(|fd| placed.contains(&fd));
    Ok(Unpacked { listener: *listener, also: also.to_vec(), own, memory })
}

/// What is in a drawer; `None`: nothing, or this is the other socket.
fn content(socket: &OwnedFd) -> Result<Option<Content>, Errno> {
    drop_all_but(1, socket.as_fd()).map_err(errno)?;
    if waiting(socket.as_fd()).map_err(errno)? == 0 {
        return Ok(None);
    }
    let mut bytes = [0; WORDS * 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).map_err(errno)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            fds.extend(more);
        }
    }
    let words: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?))).collect();
    let [mark, drawer, outer, count, numbers @ ..] = &words[..] else { return Err(Errno::EIO) };
    let numbers: Vec<RawFd> = numbers.iter().take(*count as usize).map(|&number| number as RawFd).collect();
    if *mark != MARK || numbers.len() != fds.len() {
        return Err(Errno::EIO);
    }
    Ok(Some(Content { drawer: *drawer as usize, outer: *outer, numbers, fds }))
}
