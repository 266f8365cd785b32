//! Which instructions of a file enter the kernel, and which of them are certain.

use crate::arch::{aarch64, x86_64};
use crate::code::Notes;
use crate::image::{Image, Machine};

/// Why a site stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The section's decoding alone has it: no known start leads there.
    Unreached,
    /// The decodings do not agree about it.
    Disputed,
    /// It returns from a signal's handler, and unwinders know it by its bytes.
    Sigreturn,
    /// Somebody compares a thread's place with its address, as cancellation does.
    Compared,
    /// It is `int 0x80` or `sysenter`: another table of calls.
    OtherDoor,
    /// What a jump would overwrite is jumped to or pointed at.
    Entered,
    /// Its neighbours cannot be elsewhere.
    Crowded,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 7] = [
        Reason::Unreached,
        Reason::Disputed,
        Reason::Sigreturn,
        Reason::Compared,
        Reason::OtherDoor,
        Reason::Entered,
        Reason::Crowded,
    ];
}

/// A site that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where it is.
    pub address: u64,
    /// Why.
    pub reason: Reason,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The addresses of proven sites, in order (S2).
    pub proven: Vec<u64>,
    /// The others, in order.
    pub left: Vec<Left>,
    /// What the plan needs to know of the bytes around them.
    pub(crate) notes: Notes,
}

/// Finds the sites of a file.
pub fn find(image: &Image) -> Found {
    match image.machine {
        Machine::X86 => x86_64::find(image),
        Machine::Arm => aarch64::find(image),
    }
}
