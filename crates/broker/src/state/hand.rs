//! What the broker is about: the object that it has in its hand, the call that it does for somebody, and the records that it is about to commit.

use super::log::{self, Batch, Full};
use super::memory::Memory;
use super::table;
use super::vault::Vault;
use super::{Sheet, held};
use crate::namespace::Namespace;
use ring3_abi::ipc::index_of;
use ring3_abi::{Errno, IpcId, Kind, Pid};
use ring3_engine::atomic::Relaxed;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// It.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) memory: Rc<Memory>,
    batch: RefCell<Batch>,
    call: Cell<u64>,
    /// What keeps the descriptors when all that have them are dead, if anything does.
    vault: Option<Vault>,
    /// The vault is not what it should be, and no use any more.
    unkept: Cell<bool>,
}

/// The namespace, by its number, the kind and the index of an object.
pub(crate) type Touched = (u64, Kind, usize);

impl Hand {
    /// One over a memory.
    pub(crate) fn new(memory: Rc<Memory>, vault: Option<Vault>) -> Rc<Hand> {
        let (batch, call, unkept) = (RefCell::default(), Cell::new(0), Cell::new(false));
        Rc::new(Hand { memory, batch, call, vault, unkept })
    }

    /// Whether descriptors are kept for whoever goes on when all brokers and lookouts are dead.
    pub(crate) fn is_keeping(&self) -> bool {
        self.vault.is_some()
    }

    /// Keeps what whoever goes on then has to begin with.
    pub(crate) fn begin_to_keep(&self) {
        self.kept(|vault| vault.begin(&self.memory));
    }

    /// Keeps what records are about to name, and no more what none names.
    pub(crate) fn keep(&self) {
        self.kept(|vault| vault.update(&self.memory));
    }

    /// Keeps nothing any more.
    pub(crate) fn let_go(&self) {
        self.kept(|vault| vault.clear(&self.memory));
    }

    /// One failure, and what is kept is not what the state says: who would go on from it finds that out.
    fn kept(&self, keep: impl FnOnce(&Vault) -> Result<(), Errno>) {
        if let Some(vault) = self.vault.as_ref().filter(|_| !self.unkept.get()) {
            self.unkept.set(keep(vault).is_err());
        }
    }

    /// Says in whose region the broker does something from now on. DEATH: that region may have its lock, and sleepers that were served and not woken.
    #[inline]
    pub(crate) fn touch(&self, space: u64, kind: Kind, id: IpcId) {
        let index = index_of(id).unwrap_or(0) as u64;
        self.memory.head().touched.store((space << 24 | (kind as u64) << 16 | index) + 1, Relaxed);
    }

    /// The object that the last broker touched last.
    pub(crate) fn touched(&self) -> Option<Touched> {
        let word = self.memory.head().touched.load(Relaxed).checked_sub(1)?;
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u64 == word >> 16 & 0xff)?;
        Some((word >> 24, kind, (word & 0xffff) as usize))
    }

    /// This process serves from now on.
    pub(crate) fn begin_reign(&self) {
        self.memory.head().broker.store(std::process::id(), Relaxed);
        self.memory.head().touched.store(0, Relaxed);
    }

    /// The process that served before.
    pub(crate) fn last_broker(&self) -> Pid {
        self.memory.head().broker.load(Relaxed)
    }

    /// This broker does not die of what it has to do.
    pub(crate) fn has_done_something(&self) {
        let takeovers = &self.memory.head().takeovers;
        if takeovers.load(Relaxed) != 0 {
            takeovers.store(0, Relaxed);
        }
    }

    /// The call of this number begins, or (0) has ended: what it does in a region leaves a receipt there.
    pub(crate) fn begin(&self, number: u64) {
        self.call.set(number);
    }

    /// The number of the call that is being done.
    #[inline]
    pub(crate) fn call(&self) -> u64 {
        self.call.get()
    }

    /// Commits what was noted. `write` writes what is to be written first and the notes; `write_all` everything, if the log is to begin anew. Nothing noted
    /// costs nothing.
    pub(crate) fn commit<T>(
        &self,
        from: &mut T,
        write: impl FnOnce(&mut T, &mut Batch),
        write_all: impl FnOnce(
            &mut T,
            &mut Batch,
            &mut dyn FnMut(&mut Batch) -> Result<(), Full>,
        ) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let mut batch = self.batch.borrow_mut();
        batch.clear();
        write(from, &mut batch);
        self.keep();
        if log::commit(&self.memory, &batch, log::Room::Usual).is_err() {
            log::renew(&self.memory, &mut batch, |batch, flush| write_all(from, batch, flush))?;
        }
        table::settled();
        held::close_dropped();
        Ok(())
    }

    /// Commits what was noted of one namespace, in the middle of a request.
    pub(crate) fn commit_part(&self, ns: &mut Namespace) -> Result<(), Errno> {
        let mut batch = self.batch.borrow_mut();
        batch.clear();
        let space = ns.number();
        ns.each_sheet(&mut |part, sheet| write_noted(space, part, sheet, &mut batch));
        self.keep();
        log::commit(&self.memory, &batch, log::Room::All).map_err(|Full| Errno::ENOMEM)
    }
}

/// Writes what was noted in a part.
pub(crate) fn write_noted(space: u64, part: u8, sheet: &mut dyn Sheet, batch: &mut Batch) {
    if sheet.is_noted() {
        sheet.write_noted(batch.of(space, part));
    }
}

/// Writes everything of a part.
pub(crate) fn write_all(
    space: u64,
    part: u8,
    sheet: &dyn Sheet,
    batch: &mut Batch,
    flush: &mut dyn FnMut(&mut Batch) -> Result<(), Full>,
) -> Result<(), Full> {
    sheet.write_all(batch.of(space, part));
    if log::is_long(batch) { flush(batch) } else { Ok(()) }
}
