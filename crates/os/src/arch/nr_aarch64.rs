//! System call numbers of aarch64.
#![allow(missing_docs, reason = "each is the kernel's __NR_ of the same name")]

macro_rules! numbers {
    ($($name:ident = $n:literal;)*) => { $(pub const $name: usize = $n;)* };
}

numbers! {
    GETCWD = 17; FSTATFS = 44; READLINKAT = 78; NEWFSTATAT = 79; OPENAT2 = 437;
    FCNTL = 25; IOCTL = 29; OPENAT = 56; CLOSE = 57; READ = 63; WRITE = 64; PREAD64 = 67; PPOLL = 73; FSTAT = 80; CAPGET = 90; CAPSET = 91;
    EXIT_GROUP = 94; WAITID = 95; PTRACE = 117; RT_SIGTIMEDWAIT = 137; SETNS = 268; FUTEX = 98; SET_ROBUST_LIST = 99; GET_ROBUST_LIST = 100; CLOCK_GETTIME = 113; SCHED_YIELD = 124; KILL = 129; TGKILL = 131; RT_SIGACTION = 134; RT_SIGPROCMASK = 135;
    SETREGID = 143; SETGID = 144; SETREUID = 145; SETUID = 146; SETRESUID = 147; GETRESUID = 148; SETRESGID = 149; SETFSUID = 151; SETFSGID = 152;
    GETGROUPS = 158; SETGROUPS = 159; PRCTL = 167; GETCPU = 168; GETPID = 172; GETPPID = 173; GETUID = 174; GETEUID = 175; GETGID = 176; GETEGID = 177; GETTID = 178;
    MSGGET = 186; MSGCTL = 187; MSGRCV = 188; MSGSND = 189; SEMGET = 190; SEMCTL = 191; SEMTIMEDOP = 192; SEMOP = 193;
    SHMGET = 194; SHMCTL = 195; SHMAT = 196; SHMDT = 197; SOCKET = 198; SOCKETPAIR = 199; BIND = 200; LISTEN = 201; CONNECT = 203; SENDTO = 206;
    RECVFROM = 207; SETSOCKOPT = 208; GETSOCKOPT = 209; SHUTDOWN = 210; SENDMSG = 211; RECVMSG = 212; RECVMMSG = 243; MUNMAP = 215; MREMAP = 216; CLONE = 220;
    EXECVE = 221; MMAP = 222; MPROTECT = 226; MADVISE = 233; RT_TGSIGQUEUEINFO = 240; ACCEPT4 = 242; WAIT4 = 260; KCMP = 272; CLONE3 = 435; UNSHARE = 97; PRLIMIT64 = 261;
    MLOCK = 228; MUNLOCK = 229; MLOCKALL = 230; MUNLOCKALL = 231; MINCORE = 232; REMAP_FILE_PAGES = 234; MBIND = 235; MLOCK2 = 284; PKEY_MPROTECT = 288;
    PROCESS_MADVISE = 440; MSEAL = 462;
    RT_SIGRETURN = 139; SECCOMP = 277;
    DUP3 = 24; PIVOT_ROOT = 41; CHROOT = 51; CLOSE_RANGE = 436; GETRANDOM = 278; MEMFD_CREATE = 279; STATX = 291;
}

/// aarch64 has no dup2: a number that no call has.
pub const DUP2: usize = usize::MAX;

/// aarch64 has no fork: a number that no call has.
pub const FORK: usize = usize::MAX - 1;
/// Nor open.
pub const OPEN: usize = usize::MAX - 2;
/// Nor creat.
pub const CREAT: usize = usize::MAX - 3;

/// What a filter of system calls sees of the machine (AUDIT_ARCH_AARCH64).
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The vDSO's names of clock_gettime, getcpu and time; it has neither of the last two.
pub(crate) const VDSO_NAMES: [&core::ffi::CStr; 3] =
    [c"__kernel_clock_gettime", c"__kernel_getcpu", c"__kernel_time"];

/// Which word of the general registers (NT_PRSTATUS) is the program counter.
pub(crate) const COUNTER: usize = 32;
/// In which set of registers, and at which word of it, the thread pointer is: NT_ARM_TLS has nothing else in front.
pub(crate) const THREAD_POINTER: (usize, usize) = (0x401, 0);
