//! IPC_STAT, SHM_STAT and SHM_STAT_ANY of a segment, from what the directory tells. shmctl(2); kernel: shmctl_stat().
//!
//! The broker is asked if it may know better: somebody has the segment attached who has ended, has announced a change that is not done yet, or can
//! do either unseen (`engine/src/directory/segment.rs`, G2); and about whatever is to be refused.

use crate::object::{attachments, record};
use crate::process::{self, credentials, directory, identity, lives, own_life};
use crate::syscall::get;
use crate::thread::section;
use ring3_abi::ipc::{IPCMNI, READ};
use ring3_abi::shm::{SHM_DEST, Shmid};
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::directory::{Directory, Entry, Segment};
use ring3_os::user::UserPtr;
use ring3_wire::request::{Limit, StatBy};

const KIND: Kind = Kind::Shm;

/// How often a segment that changes meanwhile is looked at again.
const LOOKS: u32 = 4;

/// Does the command that finds the segment in this way.
pub(super) fn stat(id: IpcId, by: StatBy, arg: UserPtr<Shmid>) -> Result<usize, Errno> {
    match seen(id, by)? {
        Some((entry, segment)) => {
            arg.write(&segment.shmid(get::perm(&entry), entry.size))?;
            Ok(if by == StatBy::Id { 0 } else { entry.id as usize })
        }
        None => get::stat(KIND, id, by, arg),
    }
}

/// The segment, if this process may know it and knows what the broker does.
fn seen(id: IpcId, by: StatBy) -> Result<Option<(Entry, Segment)>, Errno> {
    let page = process::ready()?;
    // With shm_rmid_forced the end of a segment's creator shows, too.
    if process::users_abroad() || process::pids_abroad() || process::limit(Limit::ShmRmidForced)? != 0 {
        return Ok(None);
    }
    let index = id as usize % IPCMNI;
    let directory = directory::whole(KIND)?;
    let _section = section::enter();
    for _ in 0..LOOKS {
        let Some((entry, segment)) = directory.segment(index) else { return Ok(None) };
        if by == StatBy::Id && entry.id != id || by != StatBy::Id && id as usize >= IPCMNI {
            return Ok(None);
        }
        if by != StatBy::IndexAny && !may_read(&entry) {
            return Ok(None);
        }
        let is_known = !segment.more && entry.mode & SHM_DEST == 0;
        let mut holders = segment.holders.iter().filter(|&&life| life != 0);
        if !is_known || !holders.all(|&life| lives::is_quiet(life, page)) {
            if attachments::any() {
                // Once this process has a life, nobody needs to ask about what it has attached.
                own_life::hold(page);
            }
            return Ok(None);
        }
        if is_still(directory, index, &entry, &segment) {
            return Ok(Some((entry, segment)));
        }
    }
    Ok(None)
}

/// Whether nothing has changed since a segment was read: then all that is quiet was so at that moment.
fn is_still(directory: Directory<'_>, index: usize, entry: &Entry, segment: &Segment) -> bool {
    directory.segment(index).is_some_and(|now| now == (*entry, *segment))
}

fn may_read(entry: &Entry) -> bool {
    match record::find(KIND, entry.id, identity::current()) {
        Some(object) => object.permit(READ).is_ok(),
        None => credentials::granted(entry) & READ == READ,
    }
}
