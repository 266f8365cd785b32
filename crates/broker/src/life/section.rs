//! Whether a stopped thread is in a section of the agent's, as its own memory says, and a system call at that section's end.
//!
//! The agent keeps a thread's state in a thread-local block. How far that is from the thread pointer the dynamic linker has written to a word of the agent's
//! image, which a relocation names. elf(5); crates/os/src/arch/tls.rs, crates/calls/src/thread/section.rs (N1).
//!
//! All of that is memory of the thread's own process, which may have put there what it likes: it is read with bounds, and names places of that process alone.
//!
//! # Death
//! [`Section::ends_with_a_call`] leaves what a signal leaves that the section has put off: after any of its stores the section's end sets the mask that was
//! there before.

use ring3_abi::Errno;
use ring3_os::arch::{SECTION_DEFERRED, SECTION_DEPTH, SECTION_MASK, elf};
use ring3_os::tracing::Tracee;
use std::ops::Range;

const WORD: usize = size_of::<usize>();
/// `\x7fELF`, a 64-bit file of little-endian words.
const MAGIC: u64 = 0x0102_464c_457f;
const MAGIC_BYTES: u64 = (1 << 48) - 1;
/// Where a file says where its segments' headers are, and how many; how long one is.
const HEADERS: usize = 32;
const COUNT: usize = 56;
const HEADER: usize = 56;
/// Kinds of segments: PT_LOAD, PT_DYNAMIC.
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
/// Tags of the dynamic segment: DT_NULL, DT_RELA, DT_RELASZ.
const NULL: usize = 0;
const RELOCATIONS: usize = 7;
const RELOCATIONS_LEN: usize = 8;
/// Length of a relocation.
const RELOCATION: usize = 24;
/// The most of each that are looked at.
const MOST_SEGMENTS: usize = 16;
const MOST_ENTRIES: usize = 64;
const MOST_RELOCATIONS: usize = 4096;

/// A thread's state.
#[derive(Debug)]
pub(super) struct Section {
    at: usize,
}

impl Section {
    /// That of a thread of a process whose agent begins at `base`; `None` if the thread is in no section, or that cannot be seen.
    pub(super) fn of(tracee: &Tracee, base: usize) -> Option<Section> {
        let distance = tracee.peek(distance_at(tracee, base)?).ok()?;
        let at = tracee.thread_pointer().ok()?.wrapping_add(distance);
        Some(Section { at }).filter(|section| at % WORD == 0 && section.is_open(tracee))
    }

    /// Whether the thread is in it still.
    pub(super) fn is_open(&self, tracee: &Tracee) -> bool {
        self.word(tracee, SECTION_DEPTH).is_ok_and(|word| word as u32 != 0)
    }

    /// Has the section end with a system call, which sets the mask of signals to this.
    pub(super) fn ends_with_a_call(&self, tracee: &Tracee, mask: u64) -> Result<(), Errno> {
        const SHIFT: usize = (SECTION_DEFERRED - SECTION_DEPTH) * 8;
        let word = self.word(tracee, SECTION_DEPTH)?;
        if word >> SHIFT == 0 {
            // DEATH: in this order.
            tracee.poke(self.at.wrapping_add(SECTION_MASK), mask as usize)?;
            tracee.poke(self.at.wrapping_add(SECTION_DEPTH), word | 1 << SHIFT)?;
        }
        Ok(())
    }

    fn word(&self, tracee: &Tracee, at: usize) -> Result<usize, Errno> {
        tracee.peek(self.at.wrapping_add(at))
    }
}

/// Where the word with the block's distance from the thread pointer is.
fn distance_at(tracee: &Tracee, base: usize) -> Option<usize> {
    let image = Image { tracee, base };
    let relocation = match image.segments()? {
        Segments { relocations: Some(named), .. } => image.first_in(named)?,
        Segments { end, .. } => image.last_before(end)?,
    };
    image.word(relocation).map(|at| base.wrapping_add(at))
}

/// The agent's image in a process.
#[derive(Clone, Copy, Debug)]
struct Image<'t> {
    tracee: &'t Tracee,
    base: usize,
}

/// What its headers say.
#[derive(Debug)]
struct Segments {
    /// Where its dynamic section has its relocations; `None` if they are hidden from the dynamic linker, and then they are the image's end
    /// (crates/agent/layout.ld).
    relocations: Option<Range<usize>>,
    end: usize,
}

impl Image<'_> {
    fn word(&self, at: usize) -> Option<usize> {
        self.tracee.peek(at).ok()
    }

    fn offset(&self, at: usize) -> Option<usize> {
        self.word(self.base.wrapping_add(at))
    }

    fn segments(&self) -> Option<Segments> {
        if self.offset(0)? as u64 & MAGIC_BYTES != MAGIC {
            return None;
        }
        let (first, count) = (self.offset(HEADERS)?, self.offset(COUNT)? & 0xffff);
        let (mut relocations, mut end) = (None, 0);
        for n in 0..count.min(MOST_SEGMENTS) {
            let header = first.wrapping_add(n * HEADER);
            let kind = self.offset(header)? as u64 & 0xffff_ffff;
            let start = self.offset(header.wrapping_add(2 * WORD))?;
            if kind == LOAD {
                end = end.max(start.wrapping_add(self.offset(header.wrapping_add(4 * WORD))?));
            } else if kind == DYNAMIC {
                relocations = self.named_relocations(start);
            }
        }
        Some(Segments { relocations, end: self.base.wrapping_add(end) })
    }

    fn named_relocations(&self, dynamic: usize) -> Option<Range<usize>> {
        let (mut first, mut len) = (None, 0);
        for n in 0..MOST_ENTRIES {
            let entry = dynamic.wrapping_add(n * 2 * WORD);
            match self.offset(entry)? {
                NULL => break,
                RELOCATIONS => first = self.offset(entry.wrapping_add(WORD)),
                RELOCATIONS_LEN => len = self.offset(entry.wrapping_add(WORD))?,
                _ => {}
            }
        }
        // Some dynamic linkers make it an address.
        let first = first.map(|at| if at < self.base { self.base.wrapping_add(at) } else { at })?;
        Some(first..first.wrapping_add(len))
    }

    /// The relocation's kind.
    fn kind(&self, relocation: usize) -> Option<u32> {
        self.word(relocation.wrapping_add(WORD)).map(|info| info as u32)
    }

    fn first_in(&self, relocations: Range<usize>) -> Option<usize> {
        let mut few = relocations.step_by(RELOCATION).take(MOST_RELOCATIONS);
        few.find(|&at| self.kind(at) == Some(elf::THREAD_DISTANCE))
    }

    /// From the last one back: there are two kinds.
    fn last_before(&self, end: usize) -> Option<usize> {
        let mut at = end;
        for _ in 0..MOST_RELOCATIONS {
            at = at.wrapping_sub(RELOCATION);
            match self.kind(at)? {
                elf::THREAD_DISTANCE => return Some(at),
                elf::ADDRESS => {}
                _ => break,
            }
        }
        None
    }
}
