//! What can be done at once: a short message that fits is sent, one that is there is received, and nobody sleeps who must be served. msgop(2).
//!
//! Whatever is different is seen before anything is changed, or the change is dropped, and the caller goes the long way (`send.rs`,
//! `receive.rs`), which finds every error in its order.
//!
//! # Death
//! As on the long way: one change, whose journal the lock's next holder rolls back.

use super::Queue;
use super::layout::{FEW_CHANGES, INLINE, JOURNAL, QUEUE_HEADER, Slot};
use super::receive::Selection;
use crate::atomic::Relaxed;
use crate::error::{Error, Result};
use crate::host::{Caller, Host};
use crate::journal::{Entry, Tx};
use crate::lock;
use crate::region::{Array, Link, bytes};
use ring3_abi::msg::MSG_EXCEPT;

/// A type, and a text of up to [`SHORT`] bytes behind it, as a program's memory has them. Behind the text's end the words are the sender's, or zero.
pub type Short = [u64; 1 + INLINE / 8];

/// The longest text of a [`Short`], bytes.
pub const SHORT: usize = INLINE;

impl<'r> Queue<'r> {
    /// The same queue for one short change: whose headers and journal are reckoned from the region's base alone, so that the compiler knows where in the region each of
    /// their fields lies, and needs few registers.
    #[inline(always)]
    fn at_hand(&self) -> Option<Queue<'r>> {
        let journal: &[Entry; FEW_CHANGES] = self.region.at(JOURNAL).ok()?;
        let (header, own) = (self.region.at(0).ok()?, self.region.at(QUEUE_HEADER).ok()?);
        Some(Queue { header, own, journal: Array::of(journal), ..*self })
    }

    /// msgsnd of a text of `len` bytes. Answers whether it was sent; if not, nothing has happened.
    #[inline(always)]
    pub fn send_at_once<H: Host>(&self, host: &H, who: Caller, now: i64, letter: &Short, len: usize) -> bool {
        let Some(queue) = self.at_hand() else { return false };
        let Some(_locked) = lock::lock_at_once(queue.header, host, who) else { return false };
        if len > SHORT || !queue.fits(len) || !queue.own.receivers.is_empty() {
            return false;
        }
        let mut tx = queue.change();
        let sent = queue.put_short(&mut tx, letter, len, queue.stamp(who.pid, now)).is_ok();
        if sent {
            tx.commit();
        }
        sent
    }

    #[inline(always)]
    fn put_short(&self, tx: &mut Tx<'r>, letter: &Short, len: usize, stamp: u64) -> Result<()> {
        let [mtype, text @ ..] = letter;
        // A new type's leaf is made on the long way.
        let (near, leaf) = self.leaf_for(*mtype)?.ok_or(Error::Full)?;
        let (link, slot) = self.take_short(tx)?;
        slot.mtype.store(*mtype, Relaxed);
        slot.size.store(len as u32, Relaxed);
        bytes::write_all(&slot.text, text);
        tx.set64(&self.own.sent, stamp)?;
        self.line_up(tx, link, slot, len as u32)?;
        self.stand(tx, link, slot, near, leaf, *mtype)
    }

    /// msgrcv of a message whose text a slot holds. Answers how many bytes of text the caller gets in `out`; if none, nothing has happened.
    #[inline(always)]
    pub fn receive_at_once<H: Host>(
        &self,
        host: &H,
        who: Caller,
        now: i64,
        selection: Selection,
        out: &mut Short,
    ) -> Option<usize> {
        let queue = self.at_hand()?;
        let _locked = lock::lock_at_once(queue.header, host, who)?;
        let link = queue.find_at_once(selection)?;
        let slot = queue.slot(link).ok()?;
        let size = slot.size.load(Relaxed);
        if size as usize > SHORT || size as usize > selection.size || !queue.own.senders.is_empty() {
            return None;
        }
        let [mtype, text @ ..] = out;
        *mtype = slot.mtype.load(Relaxed);
        bytes::read_all(&slot.text, text);
        let mut tx = queue.change();
        queue.take_out_short(&mut tx, link, slot, size, queue.stamp(who.pid, now)).ok()?;
        tx.commit();
        Some(size as usize)
    }

    /// The message for a selection, where no walk is needed: not with MSG_EXCEPT.
    #[inline(always)]
    fn find_at_once(&self, selection: Selection) -> Option<Link<Slot>> {
        match selection.msgtyp {
            0 => Some(self.first()),
            t if t < 0 => self.first_of_lowest(selection.limit() as u64).ok(),
            _ if selection.flags & MSG_EXCEPT != 0 => None,
            t => self.first_of_type(t as u64).ok(),
        }
    }

    #[inline(always)]
    fn take_out_short(
        &self,
        tx: &mut Tx<'r>,
        link: Link<Slot>,
        slot: &Slot,
        size: u32,
        stamp: u64,
    ) -> Result<()> {
        // A leaf that goes with its last message is felled on the long way.
        let step = self.step_out(link, slot)?.ok_or(Error::Full)?;
        self.leave_line(tx, link, slot, size)?;
        tx.set64(step.0, step.1)?;
        tx.set64(&self.own.taken, stamp)?;
        self.give_short(tx, link, slot)
    }
}
