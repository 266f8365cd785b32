//! System call numbers of x86-64.
#![allow(missing_docs, reason = "each is the kernel's __NR_ of the same name")]

macro_rules! numbers {
    ($($name:ident = $n:literal;)*) => { $(pub const $name: usize = $n;)* };
}

numbers! {
    READ = 0; WRITE = 1; OPEN = 2; GETCWD = 79; CREAT = 85; FSTATFS = 138; NEWFSTATAT = 262; READLINKAT = 267; OPENAT2 = 437; PREAD64 = 17; CLOSE = 3; FSTAT = 5; MMAP = 9; MPROTECT = 10; MUNMAP = 11; RT_SIGACTION = 13; RT_SIGPROCMASK = 14;
    IOCTL = 16; SCHED_YIELD = 24; MREMAP = 25; MADVISE = 28; SHMGET = 29; SHMAT = 30; SHMCTL = 31; GETPID = 39;
    SOCKET = 41; CONNECT = 42; SENDTO = 44; RECVFROM = 45; SENDMSG = 46; RECVMSG = 47; RECVMMSG = 299; SHUTDOWN = 48; BIND = 49; LISTEN = 50; SOCKETPAIR = 53; SETSOCKOPT = 54; GETSOCKOPT = 55;
    SEMGET = 64; SEMOP = 65; SEMCTL = 66; SHMDT = 67; MSGGET = 68; MSGSND = 69; MSGRCV = 70; MSGCTL = 71; FCNTL = 72;
    EXECVE = 59; GETUID = 102; GETGID = 104; GETEUID = 107; GETEGID = 108; GETGROUPS = 115; CAPGET = 125; PRCTL = 157; GETTID = 186; FUTEX = 202;
    SEMTIMEDOP = 220; CLOCK_GETTIME = 228; EXIT_GROUP = 231; TGKILL = 234; OPENAT = 257; PPOLL = 271; ACCEPT4 = 288; RT_TGSIGQUEUEINFO = 297; PRLIMIT64 = 302;
    CLONE = 56; VFORK = 58; CLONE3 = 435; UNSHARE = 272; FORK = 57; WAIT4 = 61; KILL = 62; SETUID = 105; SETGID = 106; SETREUID = 113; SETREGID = 114; SETGROUPS = 116; SETRESUID = 117; GETRESUID = 118; SETRESGID = 119; SETFSUID = 122; SETFSGID = 123; CAPSET = 126; GETPPID = 110;
    MINCORE = 27; MLOCK = 149; MUNLOCK = 150; MLOCKALL = 151; MUNLOCKALL = 152; REMAP_FILE_PAGES = 216; MBIND = 237; MLOCK2 = 325; PKEY_MPROTECT = 329;
    PROCESS_MADVISE = 440; MSEAL = 462;
    RT_SIGRETURN = 15; SECCOMP = 317;
    DUP2 = 33; PIVOT_ROOT = 155; CHROOT = 161; DUP3 = 292; CLOSE_RANGE = 436;
    WAITID = 247; PTRACE = 101; RT_SIGTIMEDWAIT = 128; SETNS = 308; SET_ROBUST_LIST = 273; GET_ROBUST_LIST = 274; GETCPU = 309; KCMP = 312; GETRANDOM = 318; MEMFD_CREATE = 319; STATX = 332;
}

/// What a filter of system calls sees of the machine (AUDIT_ARCH_X86_64).
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// The vDSO's names of clock_gettime, getcpu and time.
pub(crate) const VDSO_NAMES: [&core::ffi::CStr; 3] =
    [c"__vdso_clock_gettime", c"__vdso_getcpu", c"__vdso_time"];

/// Which word of the general registers (NT_PRSTATUS) is the program counter.
pub(crate) const COUNTER: usize = 16;
/// In which set of registers, and at which word of it, the thread pointer is: fs_base among the general ones.
pub(crate) const THREAD_POINTER: (usize, usize) = (1, 21);
