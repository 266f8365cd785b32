//! What the directory tells of a segment beside its slot: how many have it attached, since when, and whose end would change that.
//!
//! # Invariants
//! G1. A row's version is odd while the row or the segment's slot is being written, so that both are read as they were at one moment.
//! G2. Whoever has the segment attached is named by its life, or `more` is set. So a reader that finds all of them alive, and all that they have
//!     announced ([`crate::life::Notes`]) done, knows what the broker knows; any other asks the broker.
//!
//! # Death
//! As of a slot: a version that stays odd makes readers ask.

use super::layout::{self, HOLDERS, SegmentRow};
use super::{Directory, Entry, PATIENCE, Writer};
use crate::atomic::{Acquire, Relaxed, Release, fence};
use crate::error::Result;
use crate::life::Life;
use ring3_abi::ipc::IpcPerm;
use ring3_abi::shm::Shmid;
use ring3_abi::{Kind, Pid};

/// A segment's state, as far as its slot does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Mappings.
    pub nattch: u64,
    /// Last shmat, seconds since 1970; 0 never.
    pub atime: i64,
    /// Last shmdt, likewise.
    pub dtime: i64,
    /// Creation or last change, likewise.
    pub ctime: i64,
    /// Creator.
    pub cpid: Pid,
    /// Process of the last shmat or shmdt; 0 none.
    pub lpid: Pid,
    /// Lives of those that have it attached; 0 none.
    pub holders: [Life; HOLDERS],
    /// Others have it attached, too.
    pub more: bool,
}

impl Segment {
    /// The kernel's structure of it.
    pub fn shmid(&self, perm: IpcPerm, segsz: u64) -> Shmid {
        Shmid {
            perm,
            segsz,
            atime: self.atime,
            dtime: self.dtime,
            ctime: self.ctime,
            cpid: self.cpid.cast_signed(),
            lpid: self.lpid.cast_signed(),
            nattch: self.nattch,
            ..Shmid::default()
        }
    }
}

impl Directory<'_> {
    /// The segment at an index: its slot and its row at one moment. `None`: there is none, or it is being changed; the broker knows.
    pub fn segment(self, index: usize) -> Option<(Entry, Segment)> {
        let row = layout::segment(self.region, index).ok()?;
        for _ in 0..PATIENCE {
            // ORDERING: Acquire pairs with the Release that made the version even.
            let version = row.version.load(Acquire);
            if version.is_multiple_of(2) {
                let segment = read(row);
                let entry = self.entry(Kind::Shm, index);
                // ORDERING: the fence keeps the loads above before the second look; pairs with the one in hold().
                fence(Acquire);
                if row.version.load(Relaxed) == version {
                    return entry.map(|entry| (entry, segment));
                }
            }
            core::hint::spin_loop();
        }
        None
    }
}

fn read(row: &SegmentRow) -> Segment {
    Segment {
        nattch: row.nattch.load(Relaxed),
        atime: row.atime.load(Relaxed) as i64,
        dtime: row.dtime.load(Relaxed) as i64,
        ctime: row.ctime.load(Relaxed) as i64,
        cpid: row.cpid.load(Relaxed),
        lpid: row.lpid.load(Relaxed),
        holders: [0, 1, 2].map(|at| row.holders.get(at).map_or(0, |life| life.load(Relaxed))),
        more: row.more.load(Relaxed) != 0,
    }
}

impl<'r> Writer<'r> {
    fn segment_row(self, index: usize) -> Result<&'r SegmentRow> {
        layout::segment(self.reader().region, index)
    }

    /// Says that a segment's slot is about to change: readers wait until [`Writer::put_segment`].
    ///
    /// # Errors
    /// `Spoiled` if there is no such index.
    pub fn hold_segment(self, index: usize) -> Result<()> {
        let row = self.segment_row(index)?;
        row.version.store(row.version.load(Relaxed) | 1, Relaxed);
        // ORDERING: the fence keeps what follows behind the odd version; pairs with the one in segment().
        fence(Release);
        Ok(())
    }

    /// Writes a segment's row.
    ///
    /// # Errors
    /// `Spoiled` if there is no such index.
    pub fn put_segment(self, index: usize, segment: &Segment) -> Result<()> {
        self.hold_segment(index)?;
        let row = self.segment_row(index)?;
        row.nattch.store(segment.nattch, Relaxed);
        row.atime.store(segment.atime as u64, Relaxed);
        row.dtime.store(segment.dtime as u64, Relaxed);
        row.ctime.store(segment.ctime as u64, Relaxed);
        row.cpid.store(segment.cpid, Relaxed);
        row.lpid.store(segment.lpid, Relaxed);
        for (place, life) in row.holders.iter().zip(segment.holders) {
            place.store(life, Relaxed);
        }
        row.more.store(u32::from(segment.more), Relaxed);
        let even = row.version.load(Relaxed).wrapping_add(1);
        // ORDERING: Release pairs with segment()'s Acquire: who sees the even version sees the row and the slot.
        row.version.store(even, Release);
        Ok(())
    }
}
