//! Makes one call, as an ordinary program would: through libc, with the addresses the script names.

use super::names::{self, ROOM};
use super::script::Op;
use super::show;
use super::slot::Call;
use super::sys;
use super::worker::{self, Worker};
use libc::{c_int, c_void};
use std::ffi::CStr;

/// What a call gave.
pub(crate) struct Outcome {
    pub(crate) ret: i64,
    pub(crate) errno: i32,
    pub(crate) text: String,
}

impl Outcome {
    /// A libc result: -1 means errno.
    pub(crate) fn plain(ret: i64) -> Outcome {
        let errno = if ret == -1 { sys::errno() } else { 0 };
        Outcome { ret, errno, text: String::new() }
    }

    fn with(ret: i64, text: impl FnOnce() -> String) -> Outcome {
        let mut outcome = Outcome::plain(ret);
        if ret != -1 {
            outcome.text = text();
        }
        outcome
    }
}

/// The arguments as numbers; literals are copied to the worker's own memory and are their address.
struct Args {
    at: [i64; 8],
    /// Length of each literal, -1: a number.
    len: [i64; 8],
    count: usize,
    out: i64,
}

impl Args {
    fn take(who: usize, call: &Call) -> Args {
        let base = names::BASE + who as i64 * names::STRIDE;
        let mut args = Args { at: [0; 8], len: [-1; 8], count: call.count as usize, out: base + names::OUT };
        for (i, value) in call.args.iter().enumerate().take(args.count) {
            args.len[i] = value.len;
            args.at[i] = value.number;
            if let Ok(len) = usize::try_from(value.len) {
                let bytes = &call.data[value.number as usize..][..len];
                args.at[i] = base + (i * ROOM) as i64;
                // SAFETY: the worker mapped ARGS buffers of ROOM bytes at base; a literal fits (DATA < ROOM).
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), args.at[i] as *mut u8, len) };
            }
        }
        args
    }

    fn int(&self, i: usize) -> c_int {
        self.at[i] as c_int
    }

    fn pointer<T>(&self, i: usize) -> *mut T {
        self.at[i] as usize as *mut T
    }

    fn text(&self, i: usize) -> &CStr {
        if self.len[i] < 0 {
            return c"";
        }
        // SAFETY: text literals end in NUL, and `take` copied them to memory of ours.
        unsafe { CStr::from_ptr(self.pointer(i)) }
    }

    /// The literal's bytes.
    fn literal(&self, i: usize) -> &[u8] {
        // SAFETY: `take` copied so many bytes there.
        unsafe { std::slice::from_raw_parts(self.pointer(i), self.len[i].max(0) as usize) }
    }
}

/// What OUT is filled with before each call, to see what the call wrote.
pub(crate) const FILL: u8 = 0xa5;

/// Makes the call.
pub(crate) fn perform(me: Worker, op: Op, call: &Call) -> Outcome {
    let args = Args::take(me.who, call);
    match op {
        Op::Msgget | Op::Msgsnd | Op::Msgrcv | Op::Msgctl => message(op, &args),
        Op::Semget | Op::Semop | Op::Semtimedop | Op::Semctl => semaphore(op, &args),
        Op::Shmget | Op::Shmat | Op::Shmdt | Op::Shmctl => segment(op, &args),
        Op::Peek | Op::Poke | Op::Mmap | Op::Munmap | Op::Mprotect | Op::Mremap | Op::Fill => {
            memory(op, &args)
        }
        Op::Fork | Op::Vfork | Op::Thread | Op::Exec | Op::Exit | Op::Wait => life(me, op, &args),
        Op::Become | Op::Seteuid | Op::Setegid | Op::CapDrop | Op::Handler | Op::Rlimit | Op::Unshare => {
            attributes(op, &args)
        }
        Op::Hide => Outcome::plain(sys::hide_directory(std::env::var_os("RING3_LIB"))),
        Op::Forbid => Outcome::plain(sys::forbid(libc::SYS_msgsnd)),
        Op::Ftok | Op::Sysctl | Op::Cat | Op::Write | Op::Access => files(op, &args),
    }
}

fn message(op: Op, args: &Args) -> Outcome {
    match op {
        // SAFETY: takes numbers only.
        Op::Msgget => Outcome::plain(i64::from(unsafe { libc::msgget(args.int(0), args.int(1)) })),
        Op::Msgsnd => {
            // SAFETY: a bad pointer is the point of some scripts: the kernel, and ring3, answer EFAULT.
            let ret = unsafe { libc::msgsnd(args.int(0), args.pointer(1), args.at[2] as usize, args.int(3)) };
            Outcome::plain(i64::from(ret))
        }
        Op::Msgrcv => receive(args),
        _ => {
            let cmd = args.int(1);
            let mut set = ring3_abi::msg::Msqid::default();
            let buffer = if args.len[2] >= 0 {
                show::fill_msqid(&mut set, args.literal(2));
                (&raw mut set).cast()
            } else {
                show::prepare(args.out, 256);
                args.pointer::<libc::msqid_ds>(2)
            };
            // SAFETY: for the same reason as the block above.
            let ret = i64::from(unsafe { libc::msgctl(args.int(0), cmd, buffer) });
            Outcome::with(ret, || show::msgctl(cmd, buffer as i64, args.out))
        }
    }
}

fn receive(args: &Args) -> Outcome {
    show::prepare(args.out, (args.at[2].clamp(0, ROOM as i64 - 64) + 64) as usize);
    let (id, size, mtype, flags) = (args.int(0), args.at[2] as usize, args.at[3], args.int(4));
    // SAFETY: as in `message`.
    let ret = unsafe { libc::msgrcv(id, args.pointer::<c_void>(1), size, mtype, flags) };
    let mut outcome = Outcome::plain(ret as i64);
    if args.at[1] == args.out {
        outcome.text = show::message(ret as i64, args.out, size);
    }
    outcome
}

fn semaphore(op: Op, args: &Args) -> Outcome {
    match op {
        Op::Semget => {
            // SAFETY: takes numbers only.
            Outcome::plain(i64::from(unsafe { libc::semget(args.int(0), args.int(1), args.int(2)) }))
        }
        Op::Semop => {
            // SAFETY: a bad pointer is the point of some scripts: the kernel, and ring3, answer EFAULT.
            let ret = unsafe { libc::semop(args.int(0), args.pointer(1), args.at[2] as usize) };
            Outcome::plain(i64::from(ret))
        }
        Op::Semtimedop => {
            // SAFETY: for the same reason as the block above.
            let ret =
                unsafe { semtimedop(args.int(0), args.pointer(1), args.at[2] as usize, args.pointer(3)) };
            Outcome::plain(i64::from(ret))
        }
        _ => {
            let cmd = args.int(2);
            let mut set = ring3_abi::sem::Semid::default();
            let mut arg = args.at[3];
            if cmd == libc::IPC_SET && args.len[3] >= 0 {
                show::fill_semid(&mut set, args.literal(3));
                arg = (&raw mut set) as i64;
            } else if args.count > 3 && arg == args.out {
                show::prepare(args.out, if cmd == ring3_abi::sem::GETALL { 65600 } else { 256 });
            }
            // SAFETY: for the same reason as the block above.
            let ret = i64::from(unsafe { libc::semctl(args.int(0), args.int(1), cmd, arg) });
            if cmd == ring3_abi::sem::GETPID && ret != -1 {
                return Outcome { ret: 0, errno: 0, text: format!("{{p:{ret}}}") };
            }
            Outcome::with(ret, || show::semctl(cmd, arg, args.out))
        }
    }
}

fn segment(op: Op, args: &Args) -> Outcome {
    match op {
        Op::Shmget => {
            // SAFETY: takes numbers only.
            Outcome::plain(i64::from(unsafe { libc::shmget(args.int(0), args.at[1] as usize, args.int(2)) }))
        }
        Op::Shmat => {
            // SAFETY: scripts attach at free addresses, or over mappings of their own.
            let at = unsafe { libc::shmat(args.int(0), args.pointer(1), args.int(2)) } as i64;
            let mut outcome = Outcome::plain(at);
            if at != -1 {
                let aligned = if at & 4095 == 0 { "addr" } else { "unaligned" };
                outcome.text = names::place(at).unwrap_or_else(|| aligned.to_string());
            }
            outcome
        }
        // SAFETY: scripts detach what they attached.
        Op::Shmdt => Outcome::plain(i64::from(unsafe { libc::shmdt(args.pointer(0)) })),
        _ => {
            let cmd = args.int(1);
            let mut set = ring3_abi::shm::Shmid::default();
            let buffer = if args.len[2] >= 0 {
                show::fill_shmid(&mut set, args.literal(2));
                (&raw mut set).cast()
            } else {
                if args.at[2] == args.out {
                    show::prepare(args.out, 256);
                }
                args.pointer::<libc::shmid_ds>(2)
            };
            // SAFETY: a bad pointer is the point of some scripts: the kernel, and ring3, answer EFAULT.
            let ret = i64::from(unsafe { libc::shmctl(args.int(0), cmd, buffer) });
            Outcome::with(ret, || show::shmctl(cmd, buffer as i64, args.out))
        }
    }
}

fn memory(op: Op, args: &Args) -> Outcome {
    let len = args.at[1] as usize;
    match op {
        Op::Peek => show::peek(args.at[0], len),
        Op::Poke => show::poke(args.at[0], len, args.at[2] as u8),
        Op::Fill => {
            show::prepare(args.at[0], len.min(ROOM));
            Outcome::plain(0)
        }
        Op::Mmap => {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            // SAFETY: scripts map at AT, where nothing but their own is.
            let at = unsafe { libc::mmap(args.pointer(0), len, args.int(2), flags, -1, 0) } as i64;
            Outcome::plain(if at == -1 { -1 } else { 0 })
        }
        // SAFETY: scripts unmap what they attached.
        Op::Munmap => Outcome::plain(i64::from(unsafe { libc::munmap(args.pointer(0), len) })),
        Op::Mremap => {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            // SAFETY: scripts move what they attached to where nothing is.
            let at =
                unsafe { libc::mremap(args.pointer(0), len, len, flags, args.pointer::<c_void>(2)) } as i64;
            Outcome::plain(if at == -1 { -1 } else { 0 })
        }
        // SAFETY: scripts protect what they attached.
        _ => Outcome::plain(i64::from(unsafe { libc::mprotect(args.pointer(0), len, args.int(2)) })),
    }
}

fn life(me: Worker, op: Op, args: &Args) -> Outcome {
    let who = args.at[0] as usize;
    match op {
        Op::Fork => match sys::fork() {
            Ok(0) => Worker { who, ..me }.serve(),
            Ok(_) => Outcome::plain(0),
            Err(_) => Outcome::plain(-1),
        },
        Op::Vfork => spawn_true(),
        Op::Thread => {
            std::thread::spawn(move || Worker { who, ..me }.serve_thread());
            Outcome::plain(0)
        }
        // A privileged start drops LD_PRELOAD: only scripts that mean it do that.
        Op::Exec if args.at[0] == 0 && sys::is_privileged_start() => {
            Outcome { ret: -1, errno: libc::ECANCELED, text: String::new() }
        }
        Op::Exec => {
            let (who, fd) = (me.who.to_string(), me.fd.to_string());
            sys::exec_self(&["ring3-oracle", "worker", &who, &fd]);
            Outcome::plain(-1)
        }
        // SAFETY: ends the process, as a program's exit() would; other threads of a worker only sleep.
        Op::Exit => unsafe { libc::exit(args.int(0)) },
        _ => match sys::wait(args.at[0] as u32, true) {
            Ok(how) => Outcome { ret: 0, errno: 0, text: how.unwrap_or_default() },
            Err(_) => Outcome::plain(-1),
        },
    }
}

/// posix_spawn of /bin/true, as `system` and friends do it.
fn spawn_true() -> Outcome {
    match std::process::Command::new("/bin/true").status() {
        Ok(status) => Outcome { ret: 0, errno: 0, text: status.to_string() },
        Err(e) => Outcome { ret: -1, errno: e.raw_os_error().unwrap_or(0), text: String::new() },
    }
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

unsafe extern "C" {
    fn semtimedop(id: c_int, sops: *mut libc::sembuf, nsops: usize, timeout: *const libc::timespec) -> c_int;
    fn capget(header: *mut CapHeader, data: *mut CapData) -> c_int;
    fn capset(header: *mut CapHeader, data: *const CapData) -> c_int;
}

fn drop_capability(number: usize) -> Outcome {
    let mut header = CapHeader { version: 0x2008_0522, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 fills two data structures, and both live through the call.
    if unsafe { capget(&raw mut header, data.as_mut_ptr()) } != 0 {
        return Outcome::plain(-1);
    }
    if let Some(data) = data.get_mut(number / 32) {
        data.effective &= !(1 << (number % 32));
    }
    // SAFETY: for the same reason as the block above.
    Outcome::plain(i64::from(unsafe { capset(&raw mut header, data.as_ptr()) }))
}

fn attributes(op: Op, args: &Args) -> Outcome {
    let (first, second) = (args.at[0] as u32, args.at[1] as u32);
    match op {
        Op::Become => {
            let groups: Vec<u32> = args.at.iter().take(args.count).skip(2).map(|&g| g as u32).collect();
            // SAFETY: the list lives through the call; the others take numbers only.
            let ret = unsafe {
                libc::setgroups(groups.len(), groups.as_ptr())
                    | libc::setresgid(second, second, second)
                    | libc::setresuid(first, first, first)
            };
            Outcome::plain(i64::from(ret))
        }
        // SAFETY: takes numbers only.
        Op::Seteuid => Outcome::plain(i64::from(unsafe { libc::seteuid(first) })),
        // SAFETY: takes numbers only.
        Op::Setegid => Outcome::plain(i64::from(unsafe { libc::setegid(first) })),
        Op::CapDrop => drop_capability(first as usize),
        Op::Handler => Outcome::plain(worker::handle(args.int(0))),
        // SAFETY: takes numbers only.
        Op::Unshare => Outcome::plain(i64::from(unsafe { libc::unshare(libc::CLONE_SYSVSEM) })),
        _ => {
            let limit = libc::rlimit { rlim_cur: args.at[1] as u64, rlim_max: args.at[1] as u64 };
            // SAFETY: the structure lives through the call.
            Outcome::plain(i64::from(unsafe { libc::setrlimit(args.at[0] as _, &raw const limit) }))
        }
    }
}

fn files(op: Op, args: &Args) -> Outcome {
    let path = args.text(0);
    match op {
        // SAFETY: the path is a C string.
        Op::Ftok => Outcome::plain(i64::from(unsafe { libc::ftok(path.as_ptr(), args.int(1)) })),
        // SAFETY: the path is a C string.
        Op::Access => Outcome::plain(i64::from(unsafe { libc::access(path.as_ptr(), args.int(1)) })),
        Op::Cat if args.count > 1 => match (path.to_bytes(), args.text(1).to_bytes()) {
            (b"/proc/self/maps", _) => show::mapped(&args.text(1).to_string_lossy()),
            (_, b"kept") => show::kept(&path.to_string_lossy()),
            _ => show::by_link(&path.to_string_lossy(), &args.text(1).to_string_lossy()),
        },
        Op::Cat => show::file(&path.to_string_lossy()),
        Op::Write => show::write(&path.to_string_lossy(), &args.text(1).to_string_lossy(), args.count > 2),
        _ => {
            let path = format!("/proc/sys/kernel/{}", path.to_string_lossy());
            if args.count > 1 {
                show::write(&path, &args.text(1).to_string_lossy(), false)
            } else {
                show::file(&path)
            }
        }
    }
}
