//! What processes have together: their memory, and with it what is attached there; what they owe at their end. clone(2); kernel: copy_mm(),
//! copy_semundo().
//!
//! # Invariants
//! Z1. Processes in one memory introduce the same image number, and the kernel does not say that their memories differ. What is held of that
//!     memory is held by one of them; when that one ends, by another.
//! Z2. Processes of one group owe together. Each has accounts of its own; at its end they become another's.

use super::process::{Image, Process, share_memory};
use crate::namespace::Namespace;
use ring3_abi::Pid;

impl Namespace {
    /// Finds out with whom a process that introduces an image shares its memory (Z1). Asked while it lives: a dead one has none.
    pub(super) fn note_memory(&mut self, pid: Pid, image: u64) {
        let alike = |(other, there): &(&Pid, &Process)| {
            **other != pid && there.image == Image::Known(image) && !there.is_dead()
        };
        let neighbour = self.processes.iter().filter(alike).find(|(other, _)| share_memory(pid, **other));
        let memory = neighbour.and_then(|(_, there)| there.memory).unwrap_or_else(|| {
            self.last.change().memory += 1;
            self.last.memory
        });
        if let Some(process) = self.processes.get_mut(&pid) {
            process.memory = Some(memory);
        }
    }

    /// The living processes that run in the same memory as `pid`, but for itself (Z1).
    pub(crate) fn neighbours(&self, pid: Pid) -> Vec<Pid> {
        let Some(memory) = self.processes.get(&pid).and_then(|process| process.memory) else {
            return Vec::new();
        };
        let shares = |(other, there): &(&Pid, &Process)| {
            **other != pid && there.memory == Some(memory) && !there.is_dead()
        };
        self.processes.iter().filter(shares).map(|(other, _)| *other).collect()
    }

    /// A living process that owes together with `pid` (Z2).
    pub(crate) fn undo_heir(&self, pid: Pid) -> Option<Pid> {
        let group = self.processes.get(&pid)?.undo_group?;
        let shares = |(other, process): &(&Pid, &Process)| {
            **other != pid && process.undo_group == Some(group) && !process.is_dead()
        };
        self.processes.iter().find(shares).map(|(other, _)| *other)
    }
}
