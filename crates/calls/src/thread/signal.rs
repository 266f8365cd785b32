//! The program's signal handlers, wrapped. sigaction(2); kernel: do_sigaction(), handle_signal().
//!
//! The kernel knows the agent's wrapper; the program reads back what it installed. Why: `docs/signals-and-sections.md`.
//!
//! # Invariants
//! G1. Where the kernel's handler is the wrapper, the table says what the program wants; else the kernel does. So a disposition that is no
//!     handler is not written down, and a shell's forked child, which sets such ones before exec, copies no page for it.
//! G2. The table belongs to one process. A vfork child shares its memory but not its dispositions: it goes straight to the kernel
//!     and leaves the table alone (`memory::is_ours`).
//! G3. Once armed, the kernel's handler of SIGSEGV and SIGBUS is the wrapper, whatever the program wants.

pub use crate::thread::disposition::{Action, libc_keeps};
use crate::thread::disposition::{Disposition, disposition, is_libc_signal};
use crate::thread::kept::again;
use crate::thread::memory;
use crate::thread::section::{self, ThreadState};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use ring3_abi::Errno;
use ring3_os::arch::signal::{Frame, restorer};
use ring3_os::arch::{self, nr, own_syscall, syscall};
use ring3_os::user::UserPtr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Default action.
pub const SIG_DFL: usize = 0;
/// Ignored.
pub const SIG_IGN: usize = 1;
/// The handler takes three arguments.
pub const SA_SIGINFO: u64 = 4;
/// Interrupted calls go on, where they can.
pub const SA_RESTART: u64 = 0x1000_0000;
/// The handler runs on the alternate stack, if there is one.
const SA_ONSTACK: u64 = 0x0800_0000;
/// The signal is not blocked in its own handler.
pub const SA_NODEFER: u64 = 0x4000_0000;
/// Once only.
pub const SA_RESETHAND: u64 = 0x8000_0000;
const SA_RESTORER: u64 = 0x0400_0000;

const SIGBUS: i32 = 7;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGSTOP: i32 = 19;
/// The flags that the kernel knows; it forgets others. kernel: UAPI_SA_FLAGS.
const KNOWN_FLAGS: u64 = 0xdc00_0807;
/// Those that an instruction raises: blocked, they would end the process.
const SYNCHRONOUS: u64 = bit(4) | bit(5) | bit(SIGBUS) | bit(8) | bit(SIGSEGV);
const fn bit(sig: i32) -> u64 {
    1 << (sig - 1)
}

/// Whether SIGSEGV and SIGBUS serve the agent's copies (G3).
static ARMED: AtomicU32 = AtomicU32::new(0);

/// Which instruction a change of dispositions enters the kernel by (`ring3_os::seccomp`).
type Enter = unsafe fn(usize, [usize; 6]) -> isize;

/// The program's call: its filter decides.
const PROGRAM: Enter = syscall;
/// The agent's own.
const OWN: Enter = own_syscall;

/// rt_sigaction as the kernel has it.
fn kernel_action(
    enter: Enter,
    sig: i32,
    new: Option<&Action>,
    old: Option<&mut Action>,
) -> Result<(), Errno> {
    let new = new.map_or(0, |action| core::ptr::from_ref(action) as usize);
    let old = old.map_or(0, |action| core::ptr::from_mut(action) as usize);
    // SAFETY: both are null or structures of ours; the handlers named are the program's, or the wrapper.
    let raw = unsafe { enter(nr::RT_SIGACTION, [sig as usize, new, old, 8, 0, 0]) };
    Errno::decode(raw).map(|_| ())
}

fn wrapper_address() -> usize {
    wrapper as *const () as usize
}

/// What the kernel is told for a disposition: the wrapper in place of a handler. SA_RESETHAND is the wrapper's to do, since a deferred
/// signal comes twice. Where only the agent wants the signal (G3) it comes on the alternate stack, if the program has one,
/// and blocks nothing: a fault in a copy is no event of the program's.
fn told(sig: i32, action: &Action) -> Action {
    let wrapped = action.handler != SIG_DFL && action.handler != SIG_IGN;
    let armed = ARMED.load(Relaxed) != 0 && (sig == SIGSEGV || sig == SIGBUS);
    let (flags, mask) = match (wrapped, armed) {
        (true, _) => ((action.flags | SA_SIGINFO) & !SA_RESETHAND, action.mask),
        (false, true) => (SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESTART, 0),
        (false, false) => return *action,
    };
    Action { handler: wrapper_address(), flags: flags | SA_RESTORER, restorer: restorer(), mask }
}

/// What the program wants of a signal, as the kernel has it and the table before that was asked (G1).
fn wanted(kernel: Action, table: Option<Action>) -> Action {
    table.filter(|_| kernel.handler == wrapper_address()).unwrap_or(kernel)
}

/// What the program wants of a signal now.
fn current(enter: Enter, sig: i32) -> Result<Action, Errno> {
    let place = disposition(sig)?;
    let mut kernel = Action::default();
    kernel_action(enter, sig, None, Some(&mut kernel))?;
    Ok(wanted(kernel, place.read()))
}

/// sigaction as libc's function does it, which gives each action a restorer.
///
/// # Errors
/// `EINVAL`: no such signal, or one that cannot be caught.
pub fn sigaction(sig: i32, new: Option<&Action>) -> Result<Action, Errno> {
    let given = |new: &Action| Action { flags: new.flags | SA_RESTORER, restorer: restorer(), ..*new };
    exchange(PROGRAM, sig, new.map(given).as_ref())
}

/// rt_sigaction by its number, with the kernel's structures at the caller's addresses (null: none).
///
/// # Errors
/// As [`sigaction`]; `EINVAL` for a mask of another size than the kernel's; `EFAULT`.
pub fn rt_sigaction(
    sig: i32,
    new: UserPtr<Action>,
    old: UserPtr<Action>,
    mask_size: usize,
) -> Result<usize, Errno> {
    if mask_size != size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    let wanted = new.given().map(UserPtr::read).transpose()?;
    let was = if is_libc_signal(sig) {
        let mut was = Action::default();
        kernel_action(PROGRAM, sig, wanted.as_ref(), Some(&mut was))?;
        was
    } else {
        exchange(PROGRAM, sig, wanted.as_ref())?
    };
    if let Some(old) = old.given() {
        old.write(&was)?;
    }
    Ok(0)
}

/// Changes what the program wants of a signal, and answers what it wanted.
fn exchange(enter: Enter, sig: i32, new: Option<&Action>) -> Result<Action, Errno> {
    let place = disposition(sig)?;
    let Some(new) = new else { return current(enter, sig) };
    let before = place.read();
    let told = if sig == SIGKILL || sig == SIGSTOP || !memory::is_ours() {
        *new
    } else {
        let mask = new.mask & !(bit(SIGKILL) | bit(SIGSTOP));
        let new = Action { flags: new.flags & KNOWN_FLAGS, mask, ..*new };
        let told = told(sig, &new);
        // The table first: a signal that comes in between finds the new handler, as after the call.
        if told.handler == wrapper_address() && before != Some(new) {
            place.write(&new);
        }
        told
    };
    let mut kernel = Action::default();
    kernel_action(enter, sig, Some(&told), Some(&mut kernel))?;
    Ok(wanted(kernel, before))
}

/// libc's `struct sigaction` on 64-bit machines: handler, 128 bytes of mask, flags, restorer.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LibcAction {
    handler: usize,
    mask: [u64; 16],
    flags: i32,
    pad: i32,
    restorer: usize,
}

/// sigaction with libc's structures at the caller's addresses (null: none).
///
/// # Errors
/// As [`sigaction`]; `EFAULT`.
pub fn libc_sigaction(sig: i32, new: UserPtr<LibcAction>, old: UserPtr<LibcAction>) -> Result<(), Errno> {
    let kernels = |a: LibcAction| {
        let flags = u64::from(a.flags as u32);
        Action { handler: a.handler, flags, restorer: 0, mask: a.mask[0] }
    };
    let wanted = new.given().map(UserPtr::read).transpose()?.map(kernels);
    let was = sigaction(sig, wanted.as_ref())?;
    let Some(old) = old.given() else { return Ok(()) };
    // Only the first word of the mask is the kernel's; the others stay as the caller has them, as libc leaves them.
    old.field(offset_of!(LibcAction, handler))?.write(&was.handler)?;
    old.field(offset_of!(LibcAction, mask))?.write(&was.mask)?;
    old.field(offset_of!(LibcAction, flags))?.write(&(was.flags as i32))?;
    old.field(offset_of!(LibcAction, restorer))?.write(&was.restorer)
}

/// Makes bad pointers give EFAULT: SIGSEGV and SIGBUS come to the wrapper from now on.
pub fn arm_faults() {
    if ARMED.load(Relaxed) != 0 || !memory::is_ours() {
        return;
    }
    let _section = section::enter();
    for sig in [SIGSEGV, SIGBUS] {
        if let Ok(action) = current(OWN, sig)
            && let Ok(place) = disposition(sig)
        {
            place.write(&action);
            ARMED.store(1, Relaxed);
            let _ = kernel_action(OWN, sig, Some(&told(sig, &action)), None);
        }
    }
}

/// Around exec: a handler becomes the default by itself, an ignored signal must stay ignored although the wrapper stands for it.
pub(crate) fn before_exec(leaving: bool) {
    if ARMED.load(Relaxed) == 0 {
        return;
    }
    for sig in [SIGSEGV, SIGBUS] {
        if let Ok(action) = current(OWN, sig)
            && action.handler == SIG_IGN
        {
            let action = if leaving { action } else { told(sig, &action) };
            let _ = kernel_action(OWN, sig, Some(&action), None);
        }
    }
}

/// What the kernel calls for every handler of the program.
unsafe extern "C" fn wrapper(sig: i32, info: *mut u8, context: *mut u8) {
    // SAFETY: the kernel's third argument.
    let frame = unsafe { Frame::new(context) };
    // SAFETY: si_code is the third word of a siginfo_t; positive: raised by the kernel for an instruction.
    let raised_here = bit(sig) & SYNCHRONOUS != 0 && unsafe { info.cast::<i32>().add(2).read() } > 0;
    if raised_here && let Some(exit) = arch::copy::fixup(frame.pc()) {
        frame.set_pc(exit);
        return;
    }
    let thread = section::thread();
    if thread.puts_off() && !raised_here {
        // Deferred (N1): blocked for the interrupted context, so the kernel keeps it until the section's end. All is blocked
        // before the mask is noted: of frames on top of each other the outermost, whose mask is the program's, notes last.
        // SAFETY: the kernel's siginfo_t.
        unsafe { block_and_put_off(thread, sig, info) };
        thread.defer(frame.mask());
        frame.set_mask(!SYNCHRONOUS | bit(sig));
        return;
    }
    section::conclude(thread);
    if let Some(exit) = arch::unpark(frame.pc()) {
        frame.set_pc(exit);
    }
    let Ok(Some(action)) = disposition(sig).map(Disposition::read) else { return };
    // SAFETY: the program's own handler, called as the kernel would.
    unsafe { run(sig, info, context, &action, raised_here) };
}

/// Blocks the signal for the rest of this handler too (SA_NODEFER), then sends it again; or keeps it, where it would not stay blocked.
unsafe fn block_and_put_off(thread: &ThreadState, sig: i32, info: *const u8) {
    let all = !SYNCHRONOUS | bit(sig);
    // SAFETY: SIG_BLOCK with a mask of ours.
    unsafe { own_syscall(nr::RT_SIGPROCMASK, [0, (&raw const all) as usize, 0, 8, 0, 0]) };
    // SAFETY: by the caller's promise.
    unsafe {
        if arch::is_emulated() {
            thread.kept.keep(sig, info);
        } else {
            again(sig, info);
        }
    }
}

/// Does what the program wants of a signal.
unsafe fn run(sig: i32, info: *mut u8, context: *mut u8, action: &Action, raised_here: bool) {
    match action.handler {
        SIG_IGN if !raised_here => {}
        SIG_DFL | SIG_IGN => {
            // Only faults come here: the default ends the process, at the instruction if it raised the signal.
            let plain = Action { handler: SIG_DFL, flags: SA_RESTORER, restorer: restorer(), mask: 0 };
            let _ = kernel_action(OWN, sig, Some(&plain), None);
            if !raised_here {
                // SAFETY: the kernel's siginfo_t.
                unsafe { again(sig, info) };
            }
        }
        handler => {
            if action.flags & SA_RESETHAND != 0 {
                let _ = exchange(OWN, sig, Some(&Action { handler: SIG_DFL, ..*action }));
            }
            section::thread().handler_begins();
            // SAFETY: the program installed this address as a handler of this form; extra arguments are harmless in the C ABI.
            let handler: unsafe extern "C" fn(i32, *mut u8, *mut u8) =
                unsafe { core::mem::transmute(handler) };
            // SAFETY: as the kernel would call it.
            unsafe { handler(sig, info, context) };
        }
    }
}
