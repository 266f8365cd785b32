//! The sys layer: one function a system call, with the kernel's arguments and the kernel's results.
//!
//! Every front door calls these functions: the agent's exported symbols now, doors that are entered by number later (`syscall/table.rs`).
//! Nothing here allocates, panics, or calls a libc.
//!
//! The rooms lie on top of each other; each uses only those below it, and `cargo xtask layers` checks that:
//!
//! | room | what it knows | what it must not know |
//! | --- | --- | --- |
//! | `syscall` | the calls: arguments, order of errors, what follows | |
//! | `object` | what an identifier names in this process, its mappings, how a call sleeps on it | any call |
//! | `preload` | what environment a new program gets, and which ones exec may start without the agent | any object or call |
//! | `process` | who this process is to the broker, and the connection to it | any object |
//! | `thread` | sections, signal handlers, spinning and sleeping | the broker, and that there is one |
//!
//! # Lock order
//! Four locks, all in the identity page: `attach` → `objects` of the memory, then `life` → `rpc` of the process. All are taken in a section only.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod object;
pub mod preload;
pub mod process;
pub mod syscall;
pub mod thread;
