//! What calls wrote, as text: structures field by field, messages, memory, files.
//!
//! Process numbers are written `{p:N}` and times `{t:N}`; the driver, who knows the workers and the clock's marks, replaces
//! them by what can be compared.

use super::names::ROOM;
use super::perform::{FILL, Outcome};
use ring3_abi::ipc::{IPC_INFO, IPC_STAT, IpcPerm};
use ring3_abi::{msg, sem, shm};
use std::fmt::Write;

/// Fills memory of the worker's own before a call.
pub(crate) fn prepare(at: i64, len: usize) {
    // SAFETY: callers name OUT with at most ROOM bytes, which the worker mapped writable.
    unsafe { std::ptr::write_bytes(at as usize as *mut u8, FILL, len) };
}

/// Reads a structure that a call filled, if it was told to fill OUT.
fn read<T: Copy>(at: i64, out: i64) -> Option<T> {
    // SAFETY: OUT is mapped, aligned, and the structures are plain integers: any bytes will do.
    (at == out).then(|| unsafe { std::ptr::read(at as usize as *const T) })
}

/// Fields of an IPC_SET literal: `uid gid mode qbytes`, each an i64.
fn fields(literal: &[u8]) -> [i64; 4] {
    let mut all = [0; 4];
    for (field, bytes) in all.iter_mut().zip(literal.chunks_exact(8)) {
        *field = i64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    all
}

fn fill_perm(perm: &mut IpcPerm, literal: &[u8]) {
    let [uid, gid, mode, _] = fields(literal);
    (perm.uid, perm.gid, perm.mode) = (uid as u32, gid as u32, mode as u32);
}

pub(crate) fn fill_msqid(set: &mut msg::Msqid, literal: &[u8]) {
    fill_perm(&mut set.perm, literal);
    set.qbytes = fields(literal)[3] as u64;
}

pub(crate) fn fill_semid(set: &mut sem::Semid, literal: &[u8]) {
    fill_perm(&mut set.perm, literal);
}

pub(crate) fn fill_shmid(set: &mut shm::Shmid, literal: &[u8]) {
    fill_perm(&mut set.perm, literal);
}

fn perm(p: &IpcPerm) -> String {
    format!(
        "key={:#x} uid={} gid={} cuid={} cgid={} mode={:#o} seq={}",
        p.key, p.uid, p.gid, p.cuid, p.cgid, p.mode, p.seq
    )
}

/// A queue's structure.
pub(crate) fn msqid(q: &msg::Msqid) -> String {
    format!(
        "{} qnum={} cbytes={} qbytes={} lspid={{p:{}}} lrpid={{p:{}}} stime={{t:{}}} rtime={{t:{}}} ctime={{t:{}}}",
        perm(&q.perm),
        q.qnum,
        q.cbytes,
        q.qbytes,
        q.lspid,
        q.lrpid,
        q.stime,
        q.rtime,
        q.ctime
    )
}

/// A set's structure.
pub(crate) fn semid(s: &sem::Semid) -> String {
    format!("{} nsems={} otime={{t:{}}} ctime={{t:{}}}", perm(&s.perm), s.nsems, s.otime, s.ctime)
}

/// A segment's structure.
pub(crate) fn shmid(m: &shm::Shmid) -> String {
    format!(
        "{} segsz={} nattch={} cpid={{p:{}}} lpid={{p:{}}} atime={{t:{}}} dtime={{t:{}}} ctime={{t:{}}}",
        perm(&m.perm),
        m.segsz,
        m.nattch,
        m.cpid,
        m.lpid,
        m.atime,
        m.dtime,
        m.ctime
    )
}

pub(crate) fn msgctl(cmd: i32, at: i64, out: i64) -> String {
    match cmd {
        IPC_STAT | msg::MSG_STAT | msg::MSG_STAT_ANY => read(at, out).map(|q| msqid(&q)),
        IPC_INFO | msg::MSG_INFO => read::<msg::Msginfo>(at, out).map(|i| format!("{i:?}")),
        _ => None,
    }
    .unwrap_or_default()
}

pub(crate) fn semctl(cmd: i32, at: i64, out: i64) -> String {
    match cmd {
        IPC_STAT | sem::SEM_STAT | sem::SEM_STAT_ANY => read(at, out).map(|s| semid(&s)),
        IPC_INFO | sem::SEM_INFO => read::<sem::Seminfo>(at, out).map(|i| format!("{i:?}")),
        sem::GETALL => (at == out).then(|| values(at)),
        _ => None,
    }
    .unwrap_or_default()
}

/// GETALL's values: as many as were written over the filling.
fn values(at: i64) -> String {
    let value = |i: usize| {
        // SAFETY: `prepare` filled 65600 bytes of OUT, and i stays below 32800.
        unsafe { std::ptr::read((at as usize as *const u16).add(i)) }
    };
    let all: Vec<u16> = (0..32800).map(value).take_while(|&v| v != 0xa5a5).collect();
    if all.len() <= 24 { format!("{all:?}") } else { format!("{} values, sum {:x}", all.len(), digest(&all)) }
}

fn digest<T: Copy + Into<u64>>(all: &[T]) -> u64 {
    all.iter().fold(0xcbf2_9ce4_8422_2325, |h, &v| (h ^ v.into()).wrapping_mul(0x100_0000_01b3))
}

pub(crate) fn shmctl(cmd: i32, at: i64, out: i64) -> String {
    match cmd {
        IPC_STAT | shm::SHM_STAT | shm::SHM_STAT_ANY => read(at, out).map(|m| shmid(&m)),
        IPC_INFO => read::<shm::Shminfo>(at, out).map(|i| format!("{i:?}")),
        shm::SHM_INFO => read::<shm::ShmInfo>(at, out).map(|i| format!("{i:?}")),
        _ => None,
    }
    .unwrap_or_default()
}

/// Bytes, short or as a sum.
pub(crate) fn bytes(all: &[u8]) -> String {
    match all.first() {
        Some(&first) if all.len() > 16 && all.iter().all(|&b| b == first) => {
            format!("{}*{}", first.escape_ascii(), all.len())
        }
        _ if all.len() > 48 => {
            format!("{}… {} bytes, sum {:x}", all[..16].escape_ascii(), all.len(), digest(all))
        }
        _ => format!("\"{}\"", all.escape_ascii()),
    }
}

/// A received message, and whether anything else was written.
pub(crate) fn message(ret: i64, at: i64, size: usize) -> String {
    let room = size.min(ROOM - 64) + 64;
    // SAFETY: `prepare` filled so many bytes of OUT.
    let all = unsafe { std::slice::from_raw_parts(at as usize as *const u8, room) };
    let end = if ret < 0 { 0 } else { 8 + ret as usize };
    let over = if all.iter().skip(end).any(|&b| b != FILL) { " and wrote more" } else { "" };
    if ret < 0 {
        return over.to_string();
    }
    let mtype = i64::from_ne_bytes(all[..8].try_into().unwrap_or_default());
    format!("type {mtype} {}{over}", bytes(all.get(8..end).unwrap_or_default()))
}

/// Reads memory as a program would, but answers EFAULT instead of dying.
pub(crate) fn peek(at: i64, len: usize) -> Outcome {
    let mut buffer = vec![0u8; len];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len };
    let remote = libc::iovec { iov_base: at as usize as *mut libc::c_void, iov_len: len };
    // SAFETY: the kernel checks the remote range, the local one is ours.
    let got = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    let mut outcome = Outcome::plain(got as i64);
    if got >= 0 {
        outcome.text = bytes(&buffer[..got as usize]);
    }
    outcome
}

/// Writes memory as a program would, but answers EFAULT instead of dying.
pub(crate) fn poke(at: i64, len: usize, byte: u8) -> Outcome {
    let mut buffer = vec![byte; len];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len };
    let remote = libc::iovec { iov_base: at as usize as *mut libc::c_void, iov_len: len };
    // SAFETY: scripts write to segments they attached.
    let put =
        unsafe { libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    Outcome::plain(put as i64)
}

fn failed(error: &std::io::Error) -> Outcome {
    Outcome { ret: -1, errno: error.raw_os_error().unwrap_or(0), text: String::new() }
}

/// Writes to a file, which is opened to be read, too, if `reads`.
pub(crate) fn write(path: &str, text: &str, reads: bool) -> Outcome {
    use std::io::Write;
    let opened = std::fs::OpenOptions::new().write(true).read(reads).open(path);
    let done = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    match done {
        Ok(()) => Outcome { ret: 0, errno: 0, text: String::new() },
        Err(e) => failed(&e),
    }
}

pub(crate) fn file(path: &str) -> Outcome {
    match std::fs::read_to_string(path) {
        Ok(text) => Outcome { ret: 0, errno: 0, text: table(&text) },
        Err(e) => failed(&e),
    }
}

/// Reads a file by a symbolic link of another name.
pub(crate) fn by_link(path: &str, name: &str) -> Outcome {
    let link = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    if let Err(e) = std::os::unix::fs::symlink(path, &link) {
        return failed(&e);
    }
    let outcome = file(&link.to_string_lossy());
    let _ = std::fs::remove_file(&link);
    outcome
}

/// What /proc/self/maps calls the mappings whose name has this part.
pub(crate) fn mapped(part: &str) -> Outcome {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let names = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let text = names.filter(|name| name.contains(part)).collect::<Vec<_>>().join(" ");
    Outcome { ret: 0, errno: 0, text }
}

/// How many lines a table has more when it is read again by the same descriptor, after a segment was made.
pub(crate) fn kept(path: &str) -> Outcome {
    use std::io::{Read, Seek};
    let lines = |file: &mut std::fs::File| {
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).map(|_| text.lines().count() as i64)
    };
    let counted = std::fs::File::open(path).and_then(|mut file| {
        let before = lines(&mut file)?;
        // SAFETY: numbers only.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 1, 0o600) };
        let after = lines(&mut file);
        // SAFETY: no structure is asked for.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        Ok(after? - before)
    });
    counted.map_or_else(|e| failed(&e), |more| Outcome { ret: 0, errno: 0, text: format!("{more} more") })
}

/// A table of /proc/sysvipc with its process numbers and times marked; other files as they are.
pub(crate) fn table(text: &str) -> String {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let names: Vec<&str> = head.split_whitespace().collect();
    let mut out = head.replace('\t', " ");
    for line in lines {
        out.push_str(" / ");
        // The layout counts too: programs read these files by column.
        for (i, word) in line.split_whitespace().enumerate() {
            let _ = match names.get(i).copied().unwrap_or_default() {
                "lspid" | "lrpid" | "cpid" | "lpid" => write!(out, "{{p:{word}}} "),
                "stime" | "rtime" | "ctime" | "otime" | "atime" | "dtime" => write!(out, "{{t:{word}}} "),
                _ => write!(out, "{word} "),
            };
        }
        if names.len() > 4 {
            let _ = write!(out, "[{}]", layout(line));
        }
    }
    out
}

/// The columns' widths, without what varies in them: where each word ends.
fn layout(line: &str) -> String {
    let ends = line.char_indices().filter(|&(i, c)| {
        !c.is_whitespace() && line[i + c.len_utf8()..].chars().next().is_none_or(char::is_whitespace)
    });
    ends.map(|(i, _)| i.to_string()).collect::<Vec<_>>().join(",")
}
