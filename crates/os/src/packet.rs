//! A packet that is received right into memory which outlives the receiver. recvmmsg(2), unix(7); kernel: do_recvmmsg(), unix_dgram_recvmsg(), put_cmsg().
//!
//! # Death
//! One system call takes the packet from its socket and writes its bytes, what came beside it and its length to the place. A signal that kills is acted on
//! when the call returns, so a packet is in its socket, or the place has all of it: the length, written last, says which. A descriptor beside it has been
//! put into the table before the place names it. (The kernel gives a copy up for a signal only where it must wait for a page; the place's head is written
//! before each call, and its other pages stay once they were touched.)

use crate::arch::{nr, own_syscall};
use crate::socket::{Received, collect};
use core::sync::atomic::{AtomicU32, Ordering};
use ring3_abi::Errno;

/// Longest packet.
pub const LONGEST: usize = 64 * 1024;

/// The kernel's struct mmsghdr with all that it points to.
#[repr(C, align(64))]
pub struct Place {
    name: u64,
    name_len: u64,
    vector: u64,
    vector_len: u64,
    control: u64,
    control_len: u64,
    flags: u32,
    pad: u32,
    /// Written last by the kernel; not 0: there is a packet.
    len: AtomicU32,
    /// The descriptor that came beside it, + 1, once the rest was looked through.
    fd: AtomicU32,
    base: u64,
    base_len: u64,
    beside: [u64; 8],
    bytes: [u8; LONGEST],
}

/// Length of what comes beside a packet.
const BESIDE: usize = 56;
/// In `fd`: there was none.
const NONE: u32 = u32::MAX;

/// What came of a try to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The place has a packet.
    Packet,
    /// There is none now.
    Nothing,
    /// The other end has hung up.
    Over,
}

/// Receives the next packet into an empty place, without waiting.
///
/// # Safety
/// The place is writable, stays where it is through the call, and no reference to it exists.
///
/// # Errors
/// The kernel's, but for there being nothing.
pub unsafe fn receive_at(fd: i32, place: *mut Place) -> Result<Arrival, Errno> {
    const DONT_WAIT: usize = 0x40;
    const CLOSE_ON_EXEC: usize = 0x4000_0000;
    // SAFETY: by the caller's promise these are writable words; the kernel writes within the lengths given.
    let raw = unsafe {
        (&raw mut (*place).name).write(0);
        (&raw mut (*place).name_len).write(0);
        (&raw mut (*place).vector).write((&raw mut (*place).base) as u64);
        (&raw mut (*place).vector_len).write(1);
        (&raw mut (*place).control).write((&raw mut (*place).beside) as u64);
        (&raw mut (*place).control_len).write(BESIDE as u64);
        (&raw mut (*place).flags).write(0);
        (&raw mut (*place).fd).write(AtomicU32::new(0));
        (&raw mut (*place).base).write((&raw mut (*place).bytes) as u64);
        (&raw mut (*place).base_len).write(LONGEST as u64);
        own_syscall(nr::RECVMMSG, [fd as usize, place as usize, 1, DONT_WAIT | CLOSE_ON_EXEC, 0, 0])
    };
    match Errno::decode(raw) {
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Arrival::Nothing),
        Err(errno) => Err(errno),
        // SAFETY: the place is readable, too, by the caller's promise.
        Ok(_) if unsafe { length(place) } == 0 => Ok(Arrival::Over),
        Ok(_) => Ok(Arrival::Packet),
    }
}

/// How long the packet in a place is; 0: there is none.
///
/// # Safety
/// The place is readable.
pub unsafe fn length(place: *const Place) -> usize {
    // SAFETY: by the caller's promise; an atomic may be read through a shared reference.
    let len = unsafe { &(*place).len }.load(Ordering::Relaxed) as usize;
    len.min(LONGEST)
}

/// What came: the packet's bytes are copied to `bytes`. Asked twice, it answers the same.
///
/// # Safety
/// The place is readable and writable, and has a packet. `bytes` has room for its length.
pub unsafe fn received(place: *mut Place, bytes: *mut u8) -> Received {
    const CUT: u32 = 0x8 | 0x20; // MSG_CTRUNC, MSG_TRUNC
    // SAFETY: by the caller's promise; the copies stay within the place.
    unsafe {
        let len = length(place);
        core::ptr::copy_nonoverlapping((&raw const (*place).bytes).cast(), bytes, len);
        let beside = (&raw const (*place).beside).read();
        let mut control = [0u8; BESIDE];
        core::ptr::copy_nonoverlapping(beside.as_ptr().cast(), control.as_mut_ptr(), BESIDE);
        let cut = (&raw const (*place).flags).read() & CUT != 0;
        let mut found = Received { len, cut, ..Received::default() };
        let known = (*place).fd.load(Ordering::Relaxed);
        let control_len = ((&raw const (*place).control_len).read() as usize).min(BESIDE);
        collect(&control, control_len, &mut found, known == 0);
        match known {
            // DEATH: from here on the others, which collect() has closed, are not closed again: their numbers may be others' then.
            0 => (*place).fd.store(found.fd.map_or(NONE, |fd| fd as u32 + 1), Ordering::Relaxed),
            NONE => found.fd = None,
            fd => found.fd = Some(fd as i32 - 1),
        }
        found
    }
}

/// Empties a place: what was in it is done.
///
/// # Safety
/// The place is writable.
pub unsafe fn empty(place: *const Place) {
    // SAFETY: by the caller's promise; an atomic may be written through a shared reference.
    // ORDERING: Release keeps what was done about the packet before its end.
    unsafe { &(*place).len }.store(0, Ordering::Release);
}

/// Forgets the descriptor that came beside the packet in a place unless it is one of those that are there: the table that it was put into is gone. One that was
/// not looked for yet is gone, too.
///
/// # Safety
/// The place is readable and writable.
pub unsafe fn keep_beside(place: *const Place, is_there: impl Fn(i32) -> bool) {
    // SAFETY: by the caller's promise; an atomic may be read and written through a shared reference.
    let fd = unsafe { &(*place).fd };
    let known = fd.load(Ordering::Relaxed);
    if known == 0 || known != NONE && !is_there(known as i32 - 1) {
        fd.store(NONE, Ordering::Relaxed);
    }
}
