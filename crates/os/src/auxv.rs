//! What the kernel told the program at its start: the auxiliary vector. getauxval(3).

use crate::arch::{nr, syscall};

/// Address of the program's headers.
pub const AT_PHDR: usize = 3;
/// How many there are.
pub const AT_PHNUM: usize = 5;
/// Address of the dynamic linker's image; 0 if the kernel loaded none.
pub const AT_BASE: usize = 7;
/// Address of the vDSO's image.
pub const AT_SYSINFO_EHDR: usize = 33;

/// Words that are read: pairs of a tag and a value. The kernel has about 25 pairs.
const WORDS: usize = 128;

/// The vector.
#[derive(Debug)]
pub struct Vector([usize; WORDS]);

impl Vector {
    /// Asks the kernel: prctl since Linux 6.4, /proc before.
    pub fn read() -> Option<Vector> {
        const PR_GET_AUXV: usize = 0x4155_5856;
        let mut words = [0usize; WORDS];
        let (at, len) = (words.as_mut_ptr() as usize, size_of_val(&words));
        // SAFETY: the words are ours and as long as we say.
        let raw = unsafe { syscall(nr::PRCTL, [PR_GET_AUXV, at, len, 0, 0, 0]) };
        if raw <= 0 {
            let file = crate::fd::open_read(c"/proc/self/auxv").ok()?;
            // SAFETY: the same memory, as the bytes it is made of.
            let bytes = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), len) };
            crate::fd::read(file.raw(), bytes).ok()?;
        }
        Some(Vector(words))
    }

    /// The value of a tag.
    pub fn get(&self, tag: usize) -> Option<usize> {
        self.0.chunks_exact(2).take_while(|pair| pair[0] != 0).find(|pair| pair[0] == tag).map(|pair| pair[1])
    }
}
