//! The namespace's lives: for each process that may have adjustments, a page whose word the kernel marks when the process ends. `engine/src/life.rs` says what it
//! is and how it is used.
//!
//! # Invariants
//! Y1. A file of lives belongs to one user: who may write one life of it may write all, and a process is given one of its user's alone. What others can
//!     spoil by that is their user's own.
//! Y2. A life that was taken is given back when everything that its process left is settled, not before (E3).
//! Y3. All namespaces of a broker have the same: a process that comes into another keeps its life.

use crate::failure::errno;
use crate::namespace::{Namespace, Trouble};
use crate::policy::creds::Creds;
use crate::regions::{Mapping, copy, memory_file, read_only, seal};
use crate::serve::client::Answer;
use crate::state::{Held, Keep, Sheet, Table};
use ring3_abi::{Errno, Uid};
use ring3_engine::ledger::Ledger;
use ring3_engine::life::{self, Life, PAGES};
use ring3_wire::request;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::MapFlags;

/// A file of lives.
#[derive(Debug)]
struct LifeFile {
    owner: Uid,
    file: Held,
    /// The same, for reading.
    reader: Held,
    mapping: Mapping,
    /// Which pages are taken.
    taken: u64,
}

/// The mapping is made again.
impl Keep for LifeFile {
    fn put(&self, out: &mut Vec<u8>) {
        self.owner.put(out);
        self.file.put(out);
        self.reader.put(out);
        self.taken.put(out);
    }

    fn get(from: &mut &[u8]) -> Option<LifeFile> {
        let (owner, file, reader) = (Uid::get(from)?, Held::get(from)?, Held::get(from)?);
        let mapping = Mapping::new(&file, life::LEN, MapFlags::empty()).ok()?;
        Some(LifeFile { owner, file, reader, mapping, taken: u64::get(from)? })
    }
}
const _: () = assert!(PAGES == u64::BITS);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    /// By number, from 0.
    files: Table<u32, LifeFile>,
}

impl LifeFile {
    fn create(owner: Uid) -> Result<LifeFile, Errno> {
        let file = memory_file("ring3-lives", MemfdFlags::empty())?;
        rustix::fs::ftruncate(&file, life::LEN as u64).map_err(errno)?;
        let mapping = Mapping::new(&file, life::LEN, MapFlags::empty())?;
        seal(&file, SealFlags::GROW)?;
        Ok(LifeFile { owner, reader: read_only(&file)?.into(), file: file.into(), mapping, taken: 0 })
    }

    fn lives(&self) -> Option<life::Lives<'_>> {
        self.mapping.region(0, life::LEN).and_then(|region| life::Lives::new(region).ok())
    }
}

impl Lives {
    /// Takes a life for a process of a user.
    pub(crate) fn take(&mut self, owner: Uid) -> Result<Life, Errno> {
        let has_room = |(_, file): &(&u32, &LifeFile)| file.owner == owner && file.taken != u64::MAX;
        let at = match self.files.iter().find(has_room) {
            Some((at, _)) => *at,
            None => {
                let next = self.files.len() as u32;
                self.files.insert(next, LifeFile::create(owner)?);
                next
            }
        };
        let file = self.files.get_mut(&at).ok_or(Errno::ENOMEM)?;
        let page = file.taken.trailing_ones();
        file.taken |= 1 << page;
        Ok(life::number(at, page))
    }

    /// Gives a life back (Y2).
    pub(crate) fn give_back(&mut self, life: Life) {
        let Some((file, page)) = life::place(life) else { return };
        let Some(file) = self.files.get_mut(&file) else { return };
        if let Some(lives) = file.lives() {
            lives.clear(page);
        }
        file.taken &= !(1 << page);
    }

    /// Whether a life is held: its process lives. What is no life is not held.
    pub(crate) fn is_held(&self, life: Life) -> bool {
        let Some((file, page)) = life::place(life) else { return false };
        let lives = self.files.get(&file).and_then(LifeFile::lives);
        lives.is_some_and(|lives| lives.is_held(page))
    }

    /// A note of a life's process is done.
    pub(crate) fn note_done(&self, life: Life, number: u32) {
        let Some((file, page)) = life::place(life) else { return };
        let lives = self.files.get(&file).and_then(LifeFile::lives);
        if let Some(notes) = lives.and_then(|lives| lives.notes(page).ok()) {
            notes.note_done(number);
        }
    }

    /// The ledger of a life's process.
    pub(crate) fn ledger(&self, life: Life) -> Option<Ledger<'_>> {
        let (file, page) = life::place(life)?;
        self.files.get(&file)?.lives()?.ledger(page).ok()
    }

    /// The user whose file a life is in.
    pub(crate) fn owner(&self, life: Life) -> Option<Uid> {
        let (file, _) = life::place(life)?;
        self.files.get(&file).map(|file| file.owner)
    }

    /// A descriptor of a life's file, for writing.
    pub(crate) fn writer(&self, life: Life) -> Result<Held, Errno> {
        let (file, _) = life::place(life).ok_or(Errno::EINVAL)?;
        let file = self.files.get(&file).ok_or(Errno::EINVAL)?;
        copy(&file.file)
    }

    /// A descriptor of a file, for reading.
    pub(crate) fn reader(&self, file: u32) -> Result<Held, Errno> {
        let file = self.files.get(&file).ok_or(Errno::EINVAL)?;
        copy(&file.reader)
    }

    /// The part of the state.
    pub(crate) fn sheet(&mut self) -> &mut dyn Sheet {
        &mut self.files
    }
}

/// The caller's life. One that it got as another user is kept for it until it ends, but not given to it.
pub(crate) fn life(ns: &mut Namespace, creds: &Creds) -> Result<Answer, Trouble> {
    let mut lives = ns.lives.borrow_mut();
    let process = ns.processes.get_mut(&creds.pid).ok_or(Errno::EPROTO)?;
    let has = process.lives.iter().position(|life| lives.owner(*life) == Some(creds.uid));
    // The last one is what it has now.
    let life = match has {
        Some(at) => process.lives.remove(at),
        None => lives.take(creds.uid)?,
    };
    process.lives.push(life);
    let writer = lives.writer(life)?;
    drop(lives);
    ns.seen_otherwise(creds.pid);
    Ok(Answer::value(i64::from(life)).passing(writer))
}

/// A file of lives, for reading.
pub(crate) fn lives(ns: &Namespace, ask: &request::Lives) -> Result<Answer, Trouble> {
    Ok(Answer::default().passing(ns.lives.borrow().reader(ask.file)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_lives_are_in_files_of_its_own() {
        let mut lives = Lives::default();
        let of_one: Vec<Life> = (0..PAGES + 1).map(|_| lives.take(1).unwrap()).collect();
        let other = lives.take(2).unwrap();
        assert_eq!((lives.owner(of_one[0]), lives.owner(other)), (Some(1), Some(2)));
        assert_eq!(life::place(of_one[PAGES as usize]), Some((1, 0)));
        assert_eq!(life::place(other), Some((2, 0)));
        lives.give_back(of_one[7]);
        assert_eq!(lives.take(1), Ok(of_one[7]));
        assert!(!lives.is_held(0) && !lives.is_held(other) && !lives.is_held(u32::MAX));
    }
}
