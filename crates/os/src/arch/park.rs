//! Sleeping on a word, with no moment in which an interrupt is lost.

#[cfg_attr(target_arch = "aarch64", path = "park_aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "park_x86_64.rs")]
mod machine;

unsafe extern "C" {
    fn ring3_park(
        word: *const u32,
        op: usize,
        value: usize,
        timeout: *const [i64; 2],
        interrupted: *const u32,
    ) -> isize;
    static ring3_park_begin: u8;
    static ring3_park_end: u8;
    static ring3_park_interrupted: u8;
}

/// FUTEX_WAIT_BITSET on a word that processes share.
const WAIT_BITSET: usize = 9;
/// A timeout makes the wait end with EINTR under SA_RESTART too, so there always is one: 2^55 ns is a year.
const FAR: u64 = 1 << 60;

/// Sleeps while `*word == expect` and `*interrupted == 0`, until `deadline` (CLOCK_MONOTONIC, ns). The kernel's answer: 0, -EAGAIN, -ETIMEDOUT, -EINTR.
///
/// # Safety
/// Both pointers are valid for the call's length.
pub unsafe fn park(word: *const u32, expect: u32, deadline: u64, interrupted: *const u32) -> isize {
    let at = deadline.min(FAR);
    let timeout = [(at / 1_000_000_000) as i64, (at % 1_000_000_000) as i64];
    // SAFETY: by the caller's promise; the timeout lives through the call.
    unsafe { ring3_park(word, WAIT_BITSET, expect as usize, &raw const timeout, interrupted) }
}

/// Where a thread that a handler interrupted at `pc` must go on: to the wait's EINTR exit, if it was about to sleep.
pub fn unpark(pc: usize) -> Option<usize> {
    let (begin, end) = (&raw const ring3_park_begin as usize, &raw const ring3_park_end as usize);
    (begin..end).contains(&pc).then_some(&raw const ring3_park_interrupted as usize)
}
