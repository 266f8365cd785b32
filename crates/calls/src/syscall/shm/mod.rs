//! Shared memory segments: one file a call. shmget(2), shmop(2), shmctl(2); kernel: ipc/shm.c.
//!
//! Arguments are checked in the kernel's order, with the kernel's error numbers. A segment is a file of the broker's; what is attached of it
//! is in `crate::object::attachments`.

mod again;
mod look;
mod shmat;
mod shmctl;
mod shmdt;
mod shmget;

pub use shmat::shmat;
pub use shmctl::shmctl;
pub use shmdt::shmdt;
pub use shmget::shmget;
