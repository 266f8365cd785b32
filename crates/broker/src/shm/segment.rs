//! A shared memory segment: one memfd, and who is attached. shmget(2), shmop(2), shmctl(2); kernel: newseg(), ipc/shm.c.
//!
//! The memory is the program's own; the broker maps it only to keep its pages (SHM_LOCK) or to reserve huge ones.
//!
//! SHM_LOCK brings no page in, as in the kernel: what has contents is locked in the broker's mapping at once, what gets contents later
//! within a second (`refresh`). Resident pages are counted as they are; Linux 6.18 itself counts a huge page 512 times over.

use crate::failure::errno;
use crate::life::Holder;
use crate::policy::creds::{Capability, Creds};
use crate::regions::{Mapping, cached_pages, memory_file, read_only, seal};
use crate::state::{Held, Keep};
use ring3_abi::shm::{SHM_HUGE_MASK, SHM_HUGE_SHIFT, SHM_HUGETLB, SHM_NORESERVE, SHM_RDONLY};
use ring3_abi::{Errno, Key, Pid, Uid};
use ring3_engine::directory::Segment as Told;
use rustix::fs::{MemfdFlags, SealFlags, SeekFrom};
use rustix::mm::MapFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Size of a small page.
pub(super) const PAGE: u64 = 4096;

/// Memory kept by SHM_LOCK.
#[derive(Debug)]
pub(super) struct Locked {
    /// Whose locked memory it counts as.
    pub(super) user: Uid,
    /// Keeps the pages, if they could be kept again after another broker.
    mapping: Option<Mapping>,
}

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    file: Rc<Held>,
    /// Size as asked for, bytes.
    pub(super) size: u64,
    /// Page size of the file, bytes.
    pub(super) page: u64,
    pub(super) atime: i64,
    pub(super) dtime: i64,
    pub(super) ctime: i64,
    pub(super) cpid: Pid,
    pub(super) lpid: Pid,
    pub(super) nattch: u64,
    /// Who has it attached, and how often.
    pub(super) holders: BTreeMap<Holder, u64>,
    /// Who may attach it without asking (`again.rs`).
    pub(super) readers: BTreeSet<Pid>,
    pub(super) locked: Option<Locked>,
    /// The process that made it is alive: with shm_rmid_forced the segment then lives without attachments.
    pub(super) fostered: bool,
}

/// The mapping that keeps pages is made again.
impl Keep for Segment {
    fn put(&self, out: &mut Vec<u8>) {
        self.file.put(out);
        (self.size, self.page, self.nattch, self.fostered).put(out);
        (self.atime, self.dtime, self.ctime).put(out);
        (self.cpid, self.lpid).put(out);
        self.locked.as_ref().map(|locked| locked.user).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Segment> {
        let file = Rc::new(Held::get(from)?);
        let (size, page, nattch, fostered) = Keep::get(from)?;
        let (atime, dtime, ctime) = Keep::get(from)?;
        let (cpid, lpid) = Keep::get(from)?;
        let user = Option::<Uid>::get(from)?;
        let locked = user.map(|user| Locked { user, mapping: None });
        Some(Segment {
            file,
            size,
            page,
            atime,
            dtime,
            ctime,
            cpid,
            lpid,
            nattch,
            holders: BTreeMap::new(),
            readers: BTreeSet::new(),
            locked,
            fostered,
        })
    }
}

/// Small pages in `size` bytes.
pub(super) fn pages_in(size: u64) -> u64 {
    size / PAGE + u64::from(!size.is_multiple_of(PAGE))
}

impl Segment {
    /// Makes the file of a segment.
    ///
    /// # Errors
    /// `EINVAL` for a huge page size that the machine has not or a size no file can have; `EPERM` for huge pages without CAP_IPC_LOCK or
    /// the group of vm.hugetlb_shm_group; `ENOMEM`.
    pub(super) fn create(key: Key, size: u64, flags: i32, creds: &Creds, now: i64) -> Result<Segment, Errno> {
        let name = format!("SYSV{key:08x}");
        let (file, page) = match flags & SHM_HUGETLB {
            0 => (memory_file(&name, MemfdFlags::empty())?, PAGE),
            _ => huge_file(&name, flags, creds)?,
        };
        let len = size.checked_next_multiple_of(page).filter(|&len| i64::try_from(len).is_ok());
        let len = len.ok_or(Errno::EINVAL)?;
        if page == PAGE {
            commit(len, flags)?;
        }
        rustix::fs::ftruncate(&file, len).map_err(errno)?;
        seal(&file, SealFlags::GROW)?;
        if page != PAGE && flags & SHM_NORESERVE == 0 {
            // Mapping a file of huge pages reserves them, and they stay reserved for the file.
            Mapping::new(&file, len as usize, MapFlags::empty())?;
        }
        Ok(Segment {
            file: Rc::new(file.into()),
            size,
            page,
            atime: 0,
            dtime: 0,
            ctime: now,
            cpid: creds.pid,
            lpid: 0,
            nattch: 0,
            holders: BTreeMap::new(),
            readers: BTreeSet::new(),
            locked: None,
            fostered: true,
        })
    }

    /// What is told of it, but for who has it attached.
    pub(super) fn told(&self) -> Told {
        Told {
            nattch: self.nattch,
            atime: self.atime,
            dtime: self.dtime,
            ctime: self.ctime,
            cpid: self.cpid,
            lpid: self.lpid,
            ..Told::default()
        }
    }

    /// The processes that have it attached.
    pub(super) fn processes(&self) -> Vec<Pid> {
        self.holders.keys().filter_map(|holder| holder.process()).collect()
    }

    /// A process maps it once more. kernel: shm_open().
    pub(super) fn opened(&mut self, pid: Pid, now: i64) {
        self.nattch += 1;
        self.atime = now;
        self.lpid = pid;
    }

    /// A process has mapped it, and has not any more.
    pub(super) fn passed(&mut self, pid: Pid, atime: i64, dtime: i64) {
        (self.atime, self.dtime, self.lpid) = (atime, dtime, pid);
    }

    /// A descriptor to attach it by.
    pub(super) fn descriptor(&self, shmat_flags: i32) -> Result<Rc<Held>, Errno> {
        if shmat_flags & SHM_RDONLY != 0 {
            read_only(&*self.file).map(|file| Rc::new(file.into()))
        } else {
            Ok(self.file.clone())
        }
    }

    /// Length of the file, bytes.
    fn len(&self) -> u64 {
        self.size.next_multiple_of(self.page)
    }

    /// Whether it has huge pages, which are never swapped.
    pub(super) fn is_huge(&self) -> bool {
        self.page != PAGE
    }

    /// Pages in memory and pages swapped out.
    pub(super) fn resident(&self) -> (u64, u64) {
        let held =
            rustix::fs::fstat(&*self.file).map_or(0, |stat| stat.st_blocks.cast_unsigned() * 512 / PAGE);
        if self.is_huge() {
            return (held, 0);
        }
        let cached = cached_pages(&*self.file).map_or(held, |pages| pages.min(held));
        (cached, held - cached)
    }

    /// Keeps its pages in memory: those with contents now, the rest when [`Segment::refresh`] finds them.
    pub(super) fn lock(&mut self, user: Uid) -> Result<(), Errno> {
        self.locked = Some(Locked { user, mapping: Some(self.keep_pages()?) });
        Ok(())
    }

    fn keep_pages(&self) -> Result<Mapping, Errno> {
        let mapping = Mapping::new(&*self.file, self.len() as usize, MapFlags::NORESERVE)?;
        mapping.lock(&self.contents())?;
        Ok(mapping)
    }

    /// Keeps them as the last broker did, and answers on whose account.
    pub(super) fn lock_again(&mut self) -> Option<Uid> {
        let user = self.locked.as_ref()?.user;
        self.locked = Some(Locked { user, mapping: self.keep_pages().ok() });
        Some(user)
    }

    /// Keeps pages too that got contents since.
    pub(super) fn refresh(&self) {
        if let Some(mapping) = self.locked.as_ref().and_then(|locked| locked.mapping.as_ref()) {
            mapping.populate(&self.contents());
        }
    }

    /// The ranges (offset, length) of the file that have contents.
    fn contents(&self) -> Vec<(usize, usize)> {
        // Descriptors of clients share this one's file position, but nobody uses it.
        let mut ranges = Vec::new();
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(&*self.file, SeekFrom::Data(at)) {
            let end = rustix::fs::seek(&*self.file, SeekFrom::Hole(start)).unwrap_or(self.len());
            if end <= start {
                break;
            }
            ranges.push((start as usize, (end - start) as usize));
            at = end;
        }
        ranges
    }
}

/// kernel: hugetlb_file_setup().
fn huge_file(name: &str, flags: i32, creds: &Creds) -> Result<(OwnedFd, u64), Errno> {
    let log = flags >> SHM_HUGE_SHIFT & SHM_HUGE_MASK;
    let size = MemfdFlags::from_bits_retain(log.cast_unsigned() << SHM_HUGE_SHIFT);
    let file = memory_file(name, MemfdFlags::HUGETLB | size).map_err(|failed| match failed {
        Errno::ENODEV => Errno::EINVAL,
        other => other,
    })?;
    if !creds.capable(Capability::IpcLock) && !creds.in_group(huge_group()) {
        return Err(Errno::EPERM);
    }
    let page = rustix::fs::fstat(&file).map_err(errno)?.st_blksize.cast_unsigned();
    Ok((file, page.max(PAGE)))
}

fn huge_group() -> u32 {
    number_in("/proc/sys/vm/hugetlb_shm_group").and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether the machine would account for so much memory, as it does when the kernel makes a segment (a memfd is not accounted for before
/// its pages are touched). kernel: __vm_enough_memory().
fn commit(len: u64, flags: i32) -> Result<(), Errno> {
    let policy = number_in("/proc/sys/vm/overcommit_memory").unwrap_or(0);
    let room = match policy {
        0 if flags & SHM_NORESERVE == 0 => {
            let info = rustix::system::sysinfo();
            (info.totalram + info.totalswap).saturating_mul(u64::from(info.mem_unit))
        }
        2 => meminfo("CommitLimit:").saturating_sub(meminfo("Committed_AS:")).saturating_mul(1024),
        _ => u64::MAX,
    };
    if len > room { Err(Errno::ENOMEM) } else { Ok(()) }
}

fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}
