//! Error numbers, as a type. errno(3).

/// A kernel error number, 1 to 4095.
///
/// A newtype with constants, not an enum: the kernel may answer with a number that no table here has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(pub u16);

macro_rules! errnos {
    ($($name:ident = $value:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`, ", stringify!($value), ".")]
            pub const $name: Errno = Errno($value);)*

            /// Returns the symbolic name, or `None` for a number without one here.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1; ENOENT = 2; ESRCH = 3; EINTR = 4; EIO = 5; ENXIO = 6; E2BIG = 7; ENOEXEC = 8; EBADF = 9;
    ECHILD = 10; EAGAIN = 11; ENOMEM = 12; EACCES = 13; EFAULT = 14; EBUSY = 16; EEXIST = 17; ENODEV = 19;
    ENOTDIR = 20; EISDIR = 21; EINVAL = 22; ENFILE = 23; EMFILE = 24; ENOTTY = 25; EFBIG = 27; ENOSPC = 28;
    ESPIPE = 29; EROFS = 30; EPIPE = 32; ERANGE = 34; ENOSYS = 38; ENOMSG = 42; EIDRM = 43; EPROTO = 71;
    EOVERFLOW = 75; EMSGSIZE = 90; EOPNOTSUPP = 95; ECONNRESET = 104; ENOTCONN = 107; ETIMEDOUT = 110;
    ECONNREFUSED = 111;
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

impl Errno {
    /// Turns a system call's raw answer into a value or an error number.
    pub fn decode(raw: isize) -> Result<usize, Errno> {
        if (-4095..0).contains(&raw) { Err(Errno(raw.unsigned_abs() as u16)) } else { Ok(raw as usize) }
    }

    /// The raw answer that a system call would give for this error.
    pub fn encode(self) -> isize {
        -(self.0 as isize)
    }
}
