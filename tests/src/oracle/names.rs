//! The words that scripts use for numbers, as the manual pages write them.

/// Where a worker's scratch memory starts; each worker has [`STRIDE`] bytes of its own there.
pub(crate) const BASE: i64 = 0x2000_0000_0000;
/// Distance between two workers' scratch memory.
pub(crate) const STRIDE: i64 = 0x1000_0000;
/// Size of one scratch buffer.
pub(crate) const ROOM: usize = 256 * 1024;
/// Scratch buffers for arguments: `ARGS` of [`ROOM`] bytes each from the worker's start.
pub(crate) const ARGS: usize = 8;
/// Offset of the buffer that calls fill.
pub(crate) const OUT: i64 = 0x40_0000;
/// Offset of a page that may only be read.
pub(crate) const READ_ONLY: i64 = 0x80_0000;
/// Offset of the end of a writable page with nothing mapped behind it.
pub(crate) const EDGE: i64 = 0xa0_1000;
/// Offset of memory that is not mapped.
pub(crate) const BAD: i64 = 0xc0_0000;
/// Where scripts attach segments at a given address: the same in each worker, nothing is mapped there.
pub(crate) const ATTACH: i64 = BASE + 0x10_0000_0000;
/// Size of that range.
pub(crate) const ATTACH_LEN: i64 = 0x10_0000_0000;

const NAMES: &[(&str, i64)] = &[
    ("IPC_PRIVATE", 0),
    ("IPC_CREAT", 0o1000),
    ("IPC_EXCL", 0o2000),
    ("IPC_NOWAIT", 0o4000),
    ("IPC_RMID", 0),
    ("IPC_SET", 1),
    ("IPC_STAT", 2),
    ("IPC_INFO", 3),
    ("MSG_NOERROR", 0o10000),
    ("MSG_EXCEPT", 0o20000),
    ("MSG_COPY", 0o40000),
    ("MSG_STAT", 11),
    ("MSG_INFO", 12),
    ("MSG_STAT_ANY", 13),
    ("SEM_UNDO", 0x1000),
    ("GETPID", 11),
    ("GETVAL", 12),
    ("GETALL", 13),
    ("GETNCNT", 14),
    ("GETZCNT", 15),
    ("SETVAL", 16),
    ("SETALL", 17),
    ("SEM_STAT", 18),
    ("SEM_INFO", 19),
    ("SEM_STAT_ANY", 20),
    ("SHM_LOCK", 11),
    ("SHM_UNLOCK", 12),
    ("SHM_STAT", 13),
    ("SHM_INFO", 14),
    ("SHM_STAT_ANY", 15),
    ("SHM_RDONLY", 0o10000),
    ("SHM_RND", 0o20000),
    ("SHM_REMAP", 0o40000),
    ("SHM_EXEC", 0o100000),
    ("SHM_HUGETLB", 0o4000),
    ("SHM_NORESERVE", 0o10000),
    ("SHM_HUGE_2MB", 21 << 26),
    ("SHM_HUGE_1GB", 30 << 26),
    ("SHM_HUGE_SHIFT", 26),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_IPC_LOCK", 14),
    ("CAP_IPC_OWNER", 15),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", 24),
    ("SA_RESTART", 0x1000_0000),
    ("PROT_NONE", 0),
    ("PROT_READ", 1),
    ("PROT_WRITE", 2),
    ("PROT_EXEC", 4),
    ("RLIMIT_MEMLOCK", 8),
    ("O_RDONLY", 0),
    ("O_WRONLY", 1),
    ("O_RDWR", 2),
    ("O_TRUNC", 0o1000),
    ("R_OK", 4),
    ("W_OK", 2),
    ("F_OK", 0),
    ("INT_MAX", i32::MAX as i64),
    ("INT_MIN", i32::MIN as i64),
    ("LONG_MAX", i64::MAX),
    ("LONG_MIN", i64::MIN),
    ("NULL", 0),
    ("KERNEL", -0x8000_0000_0000),
    ("AT", ATTACH),
];

/// The number that `name` stands for in a call by worker `who`.
pub(crate) fn lookup(name: &str, who: usize) -> Option<i64> {
    let own = BASE + who as i64 * STRIDE;
    match name {
        "OUT" => Some(own + OUT),
        "RO" => Some(own + READ_ONLY),
        "EDGE" => Some(own + EDGE),
        "BAD" => Some(own + BAD),
        "BUF" => Some(own + (ARGS as i64 - 1) * ROOM as i64),
        _ => NAMES.iter().find(|(known, _)| *known == name).map(|&(_, value)| value),
    }
}

/// The address as scripts write it, if it lies where they attach segments.
pub(crate) fn place(address: i64) -> Option<String> {
    (ATTACH..ATTACH + ATTACH_LEN).contains(&address).then(|| format!("AT+{:#x}", address - ATTACH))
}
