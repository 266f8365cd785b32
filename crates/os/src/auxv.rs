//! What the kernel told the program at its start: the auxiliary vector. getauxval(3).

use crate::arch::{nr, own_syscall};

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
    /// What the kernel says: by prctl since Linux 6.4, in /proc before.
    pub fn read() -> Option<Vector> {
        Vector::each().next()
    }

    /// The same from each source that has one, the likelier first.
    ///
    /// prctl is the quicker one, but it speaks of the program that the kernel started. An emulator (valgrind) that runs this program inside
    /// itself passes the call on, and answers the file with its program's vector. It is a static program: it has no dynamic linker.
    pub fn each() -> impl Iterator<Item = Vector> {
        let asked = Vector::ask();
        let is_likely =
            asked.as_ref().is_some_and(|vector| vector.get(AT_BASE).is_some_and(|base| base != 0));
        let (first, last) = if is_likely { (asked, None) } else { (None, asked) };
        let file = core::iter::once_with(Vector::from_file).flatten();
        first.into_iter().chain(file).chain(last)
    }

    fn ask() -> Option<Vector> {
        const PR_GET_AUXV: usize = 0x4155_5856;
        let mut words = [0usize; WORDS];
        let (at, len) = (words.as_mut_ptr() as usize, size_of_val(&words));
        // SAFETY: the words are ours and as long as we say.
        let raw = unsafe { own_syscall(nr::PRCTL, [PR_GET_AUXV, at, len, 0, 0, 0]) };
        (raw > 0).then_some(Vector(words))
    }

    fn from_file() -> Option<Vector> {
        let mut words = [0usize; WORDS];
        let file = crate::fd::open_read(c"/proc/self/auxv").ok()?;
        // SAFETY: the words, as the bytes they are made of.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size_of::<[usize; WORDS]>())
        };
        crate::fd::read(file.raw(), bytes).ok()?;
        Some(Vector(words))
    }

    /// The value of a tag.
    pub fn get(&self, tag: usize) -> Option<usize> {
        self.0.chunks_exact(2).take_while(|pair| pair[0] != 0).find(|pair| pair[0] == tag).map(|pair| pair[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_say_the_same() {
        let file = Vector::from_file().unwrap();
        assert!(file.get(AT_PHDR).is_some());
        if let Some(asked) = Vector::ask() {
            assert_eq!(asked.0, file.0);
        }
        assert_eq!(Vector::read().unwrap().0, file.0);
    }
}
