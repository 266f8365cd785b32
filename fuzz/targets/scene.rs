//! What the engine's targets share: a region on the heap, which the sanitizer watches the ends of, a host that never sleeps, and the input as numbers.

use ring3_engine::atomic::AtomicU32;
use ring3_engine::{Caller, Deadline, Host, Parked, Region, WaitWord};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Memory of a region.
pub struct Memory(NonNull<u8>, Layout);

impl Memory {
    /// Zeroed, at a page's start.
    pub fn new(len: usize) -> Memory {
        let layout = Layout::from_size_align(len, 4096).expect("a region's size");
        // SAFETY: the size is not zero.
        Memory(NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory"), layout)
    }

    /// The region.
    pub fn region(&self) -> Region<'_> {
        // SAFETY: R1, R2: the memory lives as long as self, is page-aligned, and only regions and `write` touch it, by one thread.
        unsafe { Region::new(self.0, self.1.size()) }
    }

    /// A hostile peer writes there; the state word stays, for a removed object answers nothing.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let at = 8 + at % (self.1.size() - 8);
        let len = bytes.len().min(self.1.size() - at);
        // SAFETY: the range was cut to the memory, and no reference to it is held.
        unsafe { self.0.add(at).copy_from_nonoverlapping(NonNull::from(bytes).cast(), len) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in new() with this layout.
        unsafe { dealloc(self.0.as_ptr(), self.1) }
    }
}

/// A host that lets every park end at once.
pub struct Still;

impl Host for Still {
    fn now(&self) -> i64 {
        1_000_000
    }

    fn park(&self, _: WaitWord<'_>, _: Deadline) -> Parked {
        Parked::TimedOut
    }

    fn wake(&self, _: &AtomicU32, _: u32, _: &AtomicU32) {}
}

/// One of a few callers.
pub fn who(number: u8) -> Caller {
    let pid = 100 + u32::from(number % 5);
    Caller { pid, tid: pid, life: 0 }
}

/// The input, from which numbers are taken; none are left at its end.
pub struct Input<'i>(pub &'i [u8]);

impl<'i> Input<'i> {
    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes.
    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// So many bytes, or what is left.
    pub fn bytes(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Why a park ended.
    pub fn why(&mut self) -> Option<Parked> {
        Some([Parked::Woken, Parked::Interrupted, Parked::TimedOut][usize::from(self.byte()? % 3)])
    }
}

/// A hostile write: a place that is often in the header or among the first tickets, and some bytes, often a small number.
pub fn scribble(memory: &Memory, input: &mut Input<'_>) -> Option<()> {
    let place = usize::from(input.word()?);
    let place = if place & 1 == 0 { place >> 1 & 0x1ff } else { place >> 1 & !7 };
    let length = input.byte()?;
    if length < 64 {
        memory.write(place, &u32::from(length).to_ne_bytes());
    } else {
        memory.write(place, input.bytes(usize::from(length & 15) + 1));
    }
    Some(())
}
