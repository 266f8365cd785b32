//! Each machine's instructions, as far as a process can ask them about themselves.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use super::signal::{Frame, restorer};
use super::{copy, nr, park, syscall, thread_block, unpark, with_stack};
use core::ptr::without_provenance_mut as at;
use std::vec::Vec;

#[test]
fn copies_every_length() {
    let from: Vec<u8> = (0..2100_usize).map(|n| (n % 251) as u8 + 1).collect();
    for len in (0..300).chain([1023, 1024, 1025, 2048, 2099]) {
        for skew in [0, 1, 7] {
            let mut to = std::vec![0; len + skew + 1];
            // SAFETY: both are longer than that.
            unsafe { copy::copy_to_user(to[skew..].as_mut_ptr(), from.as_ptr(), len) }.unwrap();
            assert_eq!(to[skew..skew + len], from[..len]);
            assert!(to[..skew].iter().chain(&to[skew + len..]).all(|byte| *byte == 0));
        }
    }
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
type Action = [usize; 4];
const SIGSEGV: usize = 11;
const SIGUSR1: usize = 10;
/// SA_SIGINFO and SA_RESTORER.
const FLAGS: usize = 0x4 | 0x0400_0000;

/// Sends a faulting copy to its exit, and blocks a signal on the way back.
unsafe extern "C" fn on_fault(_: i32, _: *mut u8, context: *mut u8) {
    // SAFETY: the kernel's third argument.
    let frame = unsafe { Frame::new(context) };
    frame.set_pc(copy::fixup(frame.pc()).unwrap_or(0));
    frame.set_mask(frame.mask() | 1 << (SIGUSR1 - 1));
}

fn sigaction(new: Option<&Action>, old: Option<&mut Action>) {
    let (new, old) =
        (new.map_or(0, |new| new.as_ptr() as usize), old.map_or(0, |old| old.as_mut_ptr() as usize));
    // SAFETY: the handlers are whole functions, and the structures the kernel's.
    assert_eq!(unsafe { syscall(nr::RT_SIGACTION, [SIGSEGV, new, old, 8, 0, 0]) }, 0);
}

#[test]
fn a_fault_in_a_copy_is_efault() {
    let mut before = [0; 4];
    sigaction(Some(&[on_fault as *const () as usize, FLAGS, restorer(), 0]), Some(&mut before));
    let mut here = [0; 2000];
    for len in [1, 4, 8, 16, 2000] {
        // SAFETY: nothing is mapped at 8, so nothing is changed.
        let (to, from) = unsafe {
            let to = copy::copy_to_user(at(8), here.as_ptr(), len);
            (to, copy::copy_from_user(here.as_mut_ptr(), at(8), len))
        };
        assert_eq!((to, from), (Err(ring3_abi::Errno::EFAULT), Err(ring3_abi::Errno::EFAULT)));
    }
    sigaction(Some(&before), None);
    let mut mask = 0_u64;
    // SAFETY: the kernel writes the mask and changes nothing.
    unsafe { syscall(nr::RT_SIGPROCMASK, [0, 0, (&raw mut mask) as usize, 8, 0, 0]) };
    assert_eq!(mask >> (SIGUSR1 - 1) & 1, 1);
    assert_eq!((copy::fixup(0), unpark(0)), (None, None));
}

#[test]
fn parks() {
    let (word, set, clear) = (7, 1, 0);
    let wait = |expect, deadline, interrupted: &u32| {
        // SAFETY: references are valid.
        unsafe { park(&raw const word, expect, deadline, interrupted) }
    };
    assert_eq!(wait(8, u64::MAX, &clear), -11);
    assert_eq!(wait(7, 1, &clear), -110);
    assert_eq!(wait(7, u64::MAX, &set), -4);
}

#[test]
fn every_thread_has_its_block() {
    let mine = thread_block();
    let other = std::thread::spawn(|| {
        let block = thread_block();
        // SAFETY: the thread's own.
        let bytes = unsafe { core::slice::from_raw_parts(block, super::THREAD_BLOCK_LEN) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        // SAFETY: its first byte, by the thread whose it is.
        unsafe { block.write(1) };
        block as usize
    });
    let other = other.join().unwrap();
    assert_eq!((mine as usize % 64, other % 64), (0, 0));
    assert!(mine == thread_block() && mine as usize != other);
    // SAFETY: this thread's own.
    assert_eq!(unsafe { mine.read() }, 0);
}

/// Fills the memory and answers what is written at `context`.
unsafe extern "C" fn fill(context: *mut u8, memory: *mut u8) -> isize {
    // SAFETY: with_stack's promise, for the length that the test asks for.
    unsafe {
        memory.write_bytes(0xff, 5000);
        if (memory as usize).is_multiple_of(64) { context.cast::<isize>().read() } else { -1 }
    }
}

#[test]
fn memory_on_the_stack() {
    let mut answer = 42_isize;
    // SAFETY: a thread's stack has room for that.
    assert_eq!(unsafe { with_stack(5000, fill, (&raw mut answer).cast()) }, 42);
    assert_eq!(answer, 42);
}
