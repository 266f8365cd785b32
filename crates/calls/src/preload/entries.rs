//! The entries of a caller's environment, as far as they can be read. environ(7); kernel: copy_strings().
//!
//! They may lead nowhere, and change while they are read.

use ring3_abi::Errno;
use ring3_os::user::{Careful, UserPtr};

/// A list of strings that ends with a null pointer: arguments, an environment.
pub type Strings = *const *const u8;

/// The dynamic linker's list of libraries to load first.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";

/// The entries of a caller's environment, whose strings may lead nowhere.
pub(super) struct Entries {
    at: Option<UserPtr<usize>>,
    careful: Careful,
}

impl Entries {
    pub(super) fn of(envp: Strings) -> Entries {
        Entries { at: UserPtr::claim(envp as usize).given(), careful: Careful::new() }
    }

    /// The next entry; none behind the last one. # Errors: `EFAULT`.
    pub(super) fn next(&mut self) -> Result<Option<UserPtr<u8>>, Errno> {
        let Some(at) = self.at else { return Ok(None) };
        let entry = UserPtr::claim(self.careful.read(at)?).given();
        self.at = if entry.is_some() { Some(at.nth(1)?) } else { None };
        Ok(entry)
    }
}

/// Whether a string begins with these bytes. Most end the question with their first or second: environments are long, and every program's
/// start pays for them. # Errors: `EFAULT`.
pub(super) fn begins(careful: &mut Careful, text: UserPtr<u8>, with: &[u8]) -> Result<bool, Errno> {
    for (n, byte) in with.iter().enumerate() {
        if careful.read(text.nth(n)?)? != *byte {
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
    pub(super) fn read(careful: &mut Careful, text: UserPtr<u8>, library: &[u8]) -> Result<Preload, Errno> {
        let mut found = Preload { len: PRELOAD.len(), named: false };
        // How much of the entry was like the library's name; none once it was not.
        let mut alike = Some(0);
        while found.len < LONGEST {
            let byte = careful.read(text.nth(found.len)?)?;
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
