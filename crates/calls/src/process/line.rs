//! A descriptor that a process keeps, and which file that must be: its end of its connection (B1 in `connection.rs`), its own mappings (`own_maps.rs`).

use core::sync::atomic::{
    AtomicI32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use ring3_abi::Errno;
use ring3_os::fd::{self, Fd, Identity as File};
use ring3_os::process as os;

/// The lowest number our end takes. High enough that programs which count descriptors from 3 do not meet it, and below 64, the kernel's first
/// table of descriptors: making that larger waits for every CPU in a process with threads, and every fork would copy it.
const FLOOR: i32 = 50;

/// The descriptor. All zero is none.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number + 1.
    fd: AtomicI32,
    dev: AtomicU64,
    ino: AtomicU64,
    /// The image that made it (`Home::image`): a forked child's copy is its parent's still.
    image: AtomicU64,
}

impl Line {
    /// The image of a connection over which none has introduced itself.
    pub(super) const NOT_INTRODUCED: u64 = 0;

    /// No connection.
    pub(super) const fn new() -> Line {
        Line {
            fd: AtomicI32::new(0),
            dev: AtomicU64::new(0),
            ino: AtomicU64::new(0),
            image: AtomicU64::new(0),
        }
    }

    /// The descriptor's number, if there may be one.
    #[inline]
    pub(super) fn number(&self) -> Option<i32> {
        self.fd.load(Relaxed).checked_sub(1).filter(|fd| *fd >= 0)
    }

    /// The descriptor, if it is still ours (B1).
    pub(super) fn get(&self) -> Option<i32> {
        // ORDERING: Acquire pairs with keep(): the identity belongs to the number.
        let fd = self.fd.load(Acquire) - 1;
        let file = File { dev: self.dev.load(Relaxed), ino: self.ino.load(Relaxed) };
        (fd >= 0 && fd::identify(fd) == Ok(file)).then_some(fd)
    }

    /// The descriptor, if it is still ours and this image made it.
    pub(super) fn get_of(&self, image: u64) -> Option<i32> {
        self.get().filter(|_| self.image.load(Relaxed) == image)
    }

    /// Makes a socket the connection, under a high number, where programs that count descriptors do not meet it.
    pub(super) fn keep(&self, line: Fd, image: u64) -> Result<i32, Errno> {
        let floor = FLOOR.min(os::descriptor_limit() as i32 - 8).max(3);
        self.keep_here(fd::duplicate_above(line.raw(), floor).unwrap_or(line), image)
    }

    /// The image that made it.
    pub(super) fn image(&self) -> u64 {
        self.image.load(Relaxed)
    }

    /// Makes a socket the connection of an image under the number that it has.
    pub(super) fn keep_here(&self, line: Fd, image: u64) -> Result<i32, Errno> {
        let file = fd::identify(line.raw())?;
        self.fd.store(0, Relaxed);
        self.dev.store(file.dev, Relaxed);
        self.ino.store(file.ino, Relaxed);
        self.image.store(image, Relaxed);
        let raw = line.into_raw();
        // ORDERING: Release: see get().
        self.fd.store(raw + 1, Release);
        Ok(raw)
    }

    /// Closes our end, if it is still ours.
    pub(super) fn hang_up(&self) {
        if let Some(line) = self.get() {
            fd::close(line);
        }
        self.fd.store(0, Relaxed);
    }

    /// Leaves the descriptor to whoever takes its number.
    pub(super) fn forget(&self) {
        self.fd.store(0, Relaxed);
    }
}
