//! Who asks, and what they may; `engine::perm` decides. kernel: ipcctl_obtain_check(), ipc/util.c; credentials(7), capabilities(7).
//!
//! Process, effective user and effective group come with each packet and the kernel vouches for them. Supplementary groups and
//! capabilities belong to a thread and are read from /proc only when the rest does not decide.
//!
//! # Invariants
//! C1. Rights are those of the sender when it sent. By the time that /proc is read it may run another program, with a set-user-ID bit or
//!     capabilities of the file's. So what is read counts only if it comes with the user and the group that the packet came with, and, for anybody
//!     but root, if the thread's image has not got its rights by an exec: the kernel gives the files of such an image in /proc to root
//!     (PR_SET_DUMPABLE(2const)). An image that changed its own user has that mark too; it counts if it is still the one that maps the directory.
//! C2. Root's own capabilities count as they are read: who was root when it sent could have had them by executing any program.

use crate::abroad::pids;
use crate::abroad::place::{self, Kind, Place};
use crate::life::maps_directory;
use crate::object::Perm;
use crate::state::Keep;
use ring3_abi::{Errno, Gid, Pid, Uid};
use ring3_engine::Caller;
use ring3_engine::perm::{Ids, ipcperms};
use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

/// A capability's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Capability {
    IpcLock = 14,
    IpcOwner = 15,
    SysAdmin = 21,
    SysResource = 24,
    CheckpointRestore = 40,
}

/// What /proc says of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Real user: whose locked memory counts.
    pub(crate) real_uid: Uid,
    /// Effective user and group.
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// Its user namespace; `None` if that cannot be seen.
    user_space: Option<Place>,
    /// Capabilities that are effective there.
    capabilities: u64,
}

/// The user namespaces whose capabilities count for an object: the one that owns the object's namespace and those above it. `None`: the broker's
/// own alone.
pub(crate) type Authority = Option<Rc<[Place]>>;

/// A request's sender.
#[derive(Clone, Debug)]
pub(crate) struct Creds {
    /// The process.
    pub(crate) pid: Pid,
    /// The thread, as it claims and by its own number. It can only name one of its own process.
    pub(crate) tid: Pid,
    /// Effective user.
    pub(crate) uid: Uid,
    /// Effective group.
    pub(crate) gid: Gid,
    /// Where the sender's capabilities count: what the namespace says that the request goes to.
    pub(crate) authority: Authority,
    /// The inode of the directory that an image of the sender's that has introduced itself maps; 0 not known.
    pub(crate) directory: u64,
    status: OnceCell<Status>,
}

/// What /proc says is read again, from a thread that waits still; where its capabilities count, its namespace says.
impl Keep for Creds {
    fn put(&self, out: &mut Vec<u8>) {
        [self.pid, self.tid, self.uid, self.gid].put(out);
        self.directory.put(out);
    }

    fn get(from: &mut &[u8]) -> Option<Creds> {
        let [pid, tid, uid, gid] = Keep::get(from)?;
        Some(Creds { directory: Keep::get(from)?, ..Creds::new(pid, tid, uid, gid) })
    }
}

impl Creds {
    /// Takes what came with a packet.
    pub(crate) fn new(pid: Pid, tid: Pid, uid: Uid, gid: Gid) -> Creds {
        Creds {
            pid,
            tid: if tid == 0 { pid } else { tid },
            uid,
            gid,
            authority: None,
            directory: 0,
            status: OnceCell::new(),
        }
    }

    /// A thread that asks nothing just now, as /proc has it; nobody in particular if it has gone.
    pub(crate) fn of_thread(thread: Caller, authority: &Authority) -> Creds {
        let read = pids::thread(thread.pid, thread.tid).and_then(|tid| Status::read(thread.pid, tid));
        let status = read.unwrap_or_default();
        let mut creds = Creds::new(thread.pid, thread.tid, status.uid, status.gid);
        creds.authority = authority.clone();
        // Nobody has set it before.
        let _ = creds.status.set(status);
        creds
    }

    /// The same as the engine's caller.
    pub(crate) fn caller(&self) -> Caller {
        Caller { pid: self.pid, tid: self.tid, life: 0 }
    }

    /// What /proc says, as far as it counts (C1); otherwise what came with the packet, and nothing else.
    pub(crate) fn status(&self) -> &Status {
        let vouched = || Status { real_uid: self.uid, uid: self.uid, gid: self.gid, ..Status::default() };
        self.status.get_or_init(|| self.read_status().unwrap_or_else(vouched))
    }

    fn read_status(&self) -> Option<Status> {
        let tid = pids::thread(self.pid, self.tid)?;
        let read = || Status::read(self.pid, tid).filter(|now| (now.uid, now.gid) == (self.uid, self.gid));
        let status = read()?;
        if self.uid == 0 {
            return Some(status);
        }
        // In turn, so that no two programs of the sender's can stand for one.
        for _ in 0..2 {
            let plain = is_owned_by(self.pid, tid, self.uid)?;
            if !plain && !maps_directory(self.pid, self.directory) || read()? != status {
                return None;
            }
        }
        Some(status)
    }

    /// Whether a group is the effective or a supplementary one. kernel: in_group_p().
    pub(crate) fn in_group(&self, gid: Gid) -> bool {
        self.gid == gid || self.status().groups.contains(&gid)
    }

    /// Whether a capability is effective where it counts. kernel: ns_capable().
    pub(crate) fn capable(&self, capability: Capability) -> bool {
        let status = self.status();
        let counts = match &self.authority {
            None => status.user_space == place::own(Kind::User),
            Some(places) => status.user_space.is_some_and(|place| places.contains(&place)),
        };
        counts && status.capabilities >> capability as u32 & 1 == 1
    }

    /// Whether all of `flags`' permission bits, in whichever of the three positions, are granted.
    pub(crate) fn permits(&self, perm: &Perm, flags: i32) -> bool {
        let wanted = ring3_abi::ipc::requested(flags);
        let ids = Ids { euid: self.uid, egid: self.gid };
        let is_member = |groups: [Gid; 2]| groups.iter().any(|gid| self.status().groups.contains(gid));
        let capable = || self.capable(Capability::IpcOwner);
        ipcperms(ids, &perm.owners(), wanted, is_member, capable) == wanted
    }

    /// The same as a result.
    ///
    /// # Errors
    /// `EACCES`.
    pub(crate) fn permit(&self, perm: &Perm, flags: i32) -> Result<(), Errno> {
        if self.permits(perm, flags) { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Whether the caller may change or remove the object.
    pub(crate) fn controls(&self, perm: &Perm) -> bool {
        self.uid == perm.cuid || self.uid == perm.uid || self.capable(Capability::SysAdmin)
    }
}

/// Who has neither a name nor a right.
impl Default for Status {
    fn default() -> Status {
        Status {
            real_uid: u32::MAX,
            uid: u32::MAX,
            gid: u32::MAX,
            groups: Vec::new(),
            user_space: None,
            capabilities: 0,
        }
    }
}

impl Status {
    fn read(pid: Pid, tid: Pid) -> Option<Status> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
        let mut status = Status::parse(&text);
        status.user_space = place::place(Kind::User, pid);
        Some(status)
    }

    fn parse(text: &str) -> Status {
        let mut status = Status::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(':') else { continue };
            match name {
                "Uid" => {
                    let mut ids = numbers(rest);
                    status.real_uid = ids.next().unwrap_or(u32::MAX);
                    status.uid = ids.next().unwrap_or(u32::MAX);
                }
                "Gid" => status.gid = numbers(rest).nth(1).unwrap_or(u32::MAX),
                "Groups" => status.groups = numbers(rest).collect(),
                "CapEff" => status.capabilities = u64::from_str_radix(rest.trim(), 16).unwrap_or(0),
                _ => {}
            }
        }
        status
    }
}

/// Whether a thread's files in /proc are its own, not root's (C1).
fn is_owned_by(pid: Pid, tid: Pid, user: Uid) -> Option<bool> {
    // Of the directories the kernel does not tell.
    let file = fs::metadata(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    Some(file.uid() == user)
}

fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok())
}

/// The soft limit of locked memory of a process, bytes; `None` unlimited. What cannot be read counts as 0.
pub(crate) fn locked_memory_limit(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    match line.and_then(|rest| rest.split_ascii_whitespace().next()) {
        Some("unlimited") => None,
        Some(number) => Some(number.parse().unwrap_or(0)),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(who: (Uid, Gid, &[Gid], u64), mode: u32, flags: i32, want: bool) {
        let perm = Perm { uid: 10, gid: 20, cuid: 11, cgid: 21, mode, ..Perm::default() };
        let creds = Creds::new(1, 1, who.0, who.1);
        let status = Status {
            real_uid: who.0,
            uid: who.0,
            gid: who.1,
            groups: who.2.to_vec(),
            user_space: place::own(Kind::User),
            capabilities: who.3,
        };
        creds.status.set(status).expect("not read yet");
        assert_eq!(creds.permits(&perm, flags), want, "{who:?} mode {mode:o} flags {flags:o}");
    }

    #[test]
    fn owner_group_others_and_the_capability() {
        check((10, 0, &[], 0), 0o600, 0o600, true);
        check((11, 0, &[], 0), 0o400, 0o200, false);
        check((10, 20, &[], 0), 0o066, 0o400, false);
        check((12, 20, &[], 0), 0o060, 0o006, true);
        check((12, 0, &[21], 0), 0o040, 0o004, true);
        check((12, 0, &[21], 0), 0o004, 0o004, false);
        check((12, 0, &[22], 0), 0o004, 0o004, true);
        check((12, 0, &[], 0), 0o660, 0o004, false);
        check((12, 0, &[], 1 << 15), 0, 0o666, true);
        check((12, 0, &[], 0), 0, 0o1000, true);
    }

    #[test]
    fn status_is_read_from_its_text() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t7\t8\t9\t9\nGroups:\t5 6 \nCapEff:\t0000000000008000\n";
        let want = Status {
            real_uid: 1,
            uid: 2,
            gid: 8,
            groups: vec![5, 6],
            user_space: None,
            capabilities: 1 << 15,
        };
        assert_eq!(Status::parse(text), want);
    }
}
