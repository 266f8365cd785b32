//! The entries of a caller's environment, as far as they can be read. environ(7); kernel: copy_strings().
//!
//! They may lead nowhere, and change while they are read.

use ring3_abi::Errno;
use ring3_os::user::Careful;

/// A list of strings that ends with a null pointer: arguments, an environment.
pub type Strings = *const *const u8;

/// The dynamic linker's list of libraries to load first.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// The entries of a caller's environment, whose strings may lead nowhere.
pub(super) struct Entries {
    at: usize,
    careful: Careful,
}

impl Entries {
    pub(super) fn of(envp: Strings) -> Entries {
        Entries { at: envp as usize, careful: Careful::new() }
    }

    /// The next entry; none behind the last one. # Errors: `EFAULT`.
    pub(super) fn next(&mut self) -> Result<Option<usize>, Errno> {
        if self.at == 0 {
            return Ok(None);
        }
        let entry: usize = self.careful.read(self.at)?;
        self.at = if entry == 0 { 0 } else { self.at.wrapping_add(size_of::<usize>()) };
        Ok((entry != 0).then_some(entry))
    }
}

/// Whether a string begins with these bytes. Most end the question with their first or second: environments are long, and every program's
/// start pays for them. # Errors: `EFAULT`.
pub(super) fn begins(careful: &mut Careful, text: usize, with: &[u8]) -> Result<bool, Errno> {
    for (n, byte) in with.iter().enumerate() {
        if careful.read::<u8>(text.wrapping_add(n))? != *byte {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The longest string that the kernel takes, with its NUL. kernel: MAX_ARG_STRLEN.
const LONGEST: usize = 32 * ring3_os::map::PAGE;

/// Whether a byte stands between two entries of a preload list.
pub(super) fn separates(byte: u8) -> bool {
    byte == b':' || byte == b' '
}

/// What an LD_PRELOAD says.
pub(super) struct Preload {
    /// The string's length.
    pub(super) len: usize,
    /// It names the library.
    pub(super) named: bool,
}

impl Preload {
    /// Reads it. # Errors: `EFAULT`; `E2BIG` if it is longer than the kernel takes.
    pub(super) fn read(careful: &mut Careful, text: usize, library: &[u8]) -> Result<Preload, Errno> {
        let mut found = Preload { len: PRELOAD.len(), named: false };
        // How much of the entry was like the library's name; none once it was not.
        let mut alike = Some(0);
        while found.len < LONGEST {
            let byte: u8 = careful.read(text.wrapping_add(found.len))?;
            if byte == 0 || separates(byte) {
                found.named |= alike == Some(library.len());
                alike = Some(0);
            } else {
                alike = alike.filter(|n| library.get(*n) == Some(&byte)).map(|n| n + 1);
            }
            if byte == 0 {
                return Ok(found);
            }
            found.len += 1;
        }
        Err(Errno::E2BIG)
    }

    /// Whether it names nothing but the library.
    pub(super) fn is_only(&self, library: &[u8]) -> bool {
        self.named && self.len == PRELOAD.len() + library.len()
    }
}
