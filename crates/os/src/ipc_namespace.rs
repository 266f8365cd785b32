//! Files opened in a fresh IPC namespace. ipc_namespaces(7), user_namespaces(7), clone(2).
//!
//! The kernel looks /proc/sys/kernel/shmmax and its like up in the IPC namespace of whoever walks the path, and the opened file stays that
//! namespace's (since Linux 5.19). So a child in a namespace of its own opens the files and hands them to its parent, which need not go there.

use crate::arch::{nr, syscall};
use crate::fd;
use crate::file;
use crate::socket::{self, Wait};
use core::ffi::CStr;
use ring3_abi::Errno;

const CLONE_NEWIPC: usize = 0x0800_0000;
const CLONE_NEWUSER: usize = 0x1000_0000;

/// What is to be opened, and how.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The files.
    pub paths: &'a [&'a CStr],
    /// What is written to the first of them, in the new namespace.
    pub mark: &'a [u8],
    /// The line of /proc/self/uid_map that makes the caller root in a user namespace, if it may not make an IPC namespace without one.
    pub uid_map: &'a [u8],
}

/// Opens files in a new IPC namespace. One packet with a descriptor (`O_PATH`) for each path, and one with the namespace itself, lie in the
/// other end of `to` when it returns.
///
/// # Errors
/// `EPERM`, `ENOSPC` where the caller may not make a namespace; `EIO` if a file could not be opened or written there.
pub fn open_in_new(order: Order<'_>, to: i32) -> Result<(), Errno> {
    let done = in_child(CLONE_NEWIPC, || hand_over(order, to));
    if done != Err(Errno::EPERM) {
        return done;
    }
    in_child(CLONE_NEWIPC | CLONE_NEWUSER, || {
        write(c"/proc/self/uid_map", order.uid_map)?;
        hand_over(order, to)
    })
}

fn hand_over(order: Order<'_>, to: i32) -> Result<(), Errno> {
    if let Some(first) = order.paths.first() {
        write(first, order.mark)?;
    }
    for path in order.paths {
        let opened = file::open_path(file::HERE, path.as_ptr() as usize)?;
        socket::send(to, &[b"f"], None, Some(opened.raw()), Wait::DontWait)?;
    }
    let namespace = fd::open_read(c"/proc/self/ns/ipc")?;
    socket::send(to, &[b"n"], None, Some(namespace.raw()), Wait::DontWait).map(|_| ())
}

fn write(path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let opened = file::open_write(path)?;
    file::write(opened.raw(), text).map(|_| ())
}

/// Runs `work` in a child in new namespaces, and waits for its end.
fn in_child(namespaces: usize, work: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    const WALL: usize = 0x4000_0000;
    // SAFETY: a child on a copy of our memory, without a signal at its end. It takes no lock and needs no heap before it exits.
    let child = Errno::decode(unsafe { syscall(nr::CLONE, [namespaces, 0, 0, 0, 0, 0]) })?;
    if child == 0 {
        let status = usize::from(work().is_err());
        loop {
            // SAFETY: ends this process.
            unsafe { syscall(nr::EXIT_GROUP, [status, 0, 0, 0, 0, 0]) };
        }
    }
    let mut status = 0i32;
    loop {
        // SAFETY: the kernel writes one number of ours.
        let raw = unsafe { syscall(nr::WAIT4, [child, (&raw mut status) as usize, WALL, 0, 0, 0]) };
        match Errno::decode(raw) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) if status == 0 => return Ok(()),
            Ok(_) => return Err(Errno::EIO),
        }
    }
}
