//! Which bytes around each proven site a jump takes the place of.
//!
//! A jump is five bytes, `syscall` is two. So instructions before it, or behind it, or both go to the trampoline as well: those before it if that is enough, as few as possible.
//!
//! # Invariants
//! P1. A range is whole instructions that both decodings have, in one piece, with the site among them.
//! P2. Nothing arrives inside of a range (S3), and no two ranges overlap.
//! P3. All instructions of a range but the site go on to the next one and mean the same everywhere (S4).

use crate::Error;
use crate::arch::x86_64;
use crate::code::ENTERED;
use crate::find::{Found, Left, Reason};
use crate::image::{Image, Machine, Piece};
use std::ops::Range;

/// Length of the jump.
pub const JUMP: usize = 5;

/// Length of `syscall`.
pub const SYSCALL: usize = 2;

/// Most instructions behind a site that are moved.
const MOST_BEHIND: usize = 3;

/// What the trampoline of a site has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Special {
    /// Nothing. Its number may still be any: only a constant nearby was looked at.
    #[default]
    None,
    /// fork or clone: it may return on another stack.
    Clone,
    /// vfork: two processes return on one stack.
    Vfork,
    /// clone3.
    Clone3,
}

impl Special {
    /// What the call of this number is.
    fn of(number: Option<u32>) -> Special {
        match number {
            Some(56 | 57) => Special::Clone,
            Some(58) => Special::Vfork,
            Some(435) => Special::Clone3,
            _ => Special::None,
        }
    }
}

/// A site that can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the replaced range begins in the file.
    pub offset: u64,
    /// Where it begins by the file's addresses.
    pub address: u64,
    /// The instructions before the site that are replaced.
    pub before: Vec<u8>,
    /// Those behind it.
    pub after: Vec<u8>,
    /// What its trampoline has to know.
    pub special: Special,
}

impl Site {
    /// The address of the `syscall` itself.
    pub fn syscall(&self) -> u64 {
        self.address + self.before.len() as u64
    }

    /// How many bytes are replaced.
    pub fn size(&self) -> usize {
        self.before.len() + SYSCALL + self.after.len()
    }

    /// The addresses that are replaced.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.size() as u64
    }

    /// What is there.
    pub fn code(&self) -> Vec<u8> {
        [&self.before[..], &[0x0f, 0x05], &self.after[..]].concat()
    }
}

/// What can be replaced, and what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The sites to replace, in order.
    pub sites: Vec<Site>,
    /// The others, in order.
    pub left: Vec<Left>,
}

/// Plans the replacement of what was found.
///
/// # Errors
/// `NoPlans` for a machine whose jumps are not known here.
pub fn plan(image: &Image, found: &Found) -> Result<Plan, Error> {
    if image.machine != Machine::X86 {
        return Err(Error::NoPlans(image.machine));
    }
    let mut plan = Plan { sites: Vec::new(), left: found.left.clone() };
    let mut free = 0;
    for site in &found.proven {
        match (Room { image, found, free }).around(*site) {
            Ok(range) => {
                free = range.end;
                plan.sites.extend(describe(image, found, *site, range));
            }
            Err(reason) => plan.left.push(Left { address: *site, reason }),
        }
    }
    plan.left.sort_by_key(|left| left.address);
    Ok(plan)
}

/// Where a range may lie.
struct Room<'r, 'd> {
    image: &'r Image<'d>,
    found: &'r Found,
    /// The end of the range before it.
    free: u64,
}

impl Room<'_, '_> {
    /// The range around a site: as little as possible behind it, then as little as possible before it.
    fn around(&self, site: u64) -> Result<Range<u64>, Reason> {
        if self.is_entered(site + 1) {
            return Err(Reason::Entered);
        }
        let mut entered = false;
        let mut end = site + SYSCALL as u64;
        for _ in 0..=MOST_BEHIND {
            match self.before(site, end) {
                Ok(range) => return Ok(range),
                Err(reason) => entered |= reason == Reason::Entered,
            }
            // An address that is entered can be a range's end, not its middle.
            if self.is_entered(end) {
                entered = true;
                break;
            }
            let Some(next) = x86_64::decode(self.image, end) else { break };
            match self.movable(&next) {
                Ok(()) => end = next.next_ip(),
                Err(reason) => {
                    entered |= reason == Reason::Entered;
                    break;
                }
            }
        }
        Err(if entered { Reason::Entered } else { Reason::Crowded })
    }

    /// The shortest range that ends at `end`, has the site in it and is long enough.
    fn before(&self, site: u64, end: u64) -> Result<Range<u64>, Reason> {
        let mut start = site;
        while end - start < JUMP as u64 {
            if self.is_entered(start) {
                return Err(Reason::Entered);
            }
            let previous = x86_64::before(self.image, &self.found.notes, start).ok_or(Reason::Crowded)?;
            self.movable(&previous)?;
            if previous.ip() < self.free {
                return Err(Reason::Crowded);
            }
            start = previous.ip();
        }
        let whole = |piece: &Piece| piece.address <= start && end <= piece.end();
        if self.image.code.iter().any(whole) { Ok(start..end) } else { Err(Reason::Crowded) }
    }

    fn is_entered(&self, address: u64) -> bool {
        self.found.notes.at(self.image, address) & ENTERED != 0
    }

    /// Whether an instruction can be elsewhere: it is certain, nothing arrives in its middle, and it means the same there.
    fn movable(&self, instruction: &iced_x86::Instruction) -> Result<(), Reason> {
        let (start, len) = (instruction.ip(), instruction.len());
        if (1..len as u64).any(|n| self.is_entered(start + n)) {
            return Err(Reason::Entered);
        }
        let certain = self.found.notes.agree_on(self.image, start, len);
        if certain && x86_64::moves(instruction) { Ok(()) } else { Err(Reason::Crowded) }
    }
}

/// The site with what is around it.
fn describe(image: &Image, found: &Found, site: u64, range: Range<u64>) -> Option<Site> {
    let piece = image.code.iter().find(|piece| piece.from(range.start).is_some())?;
    let code = piece.from(range.start)?.get(..(range.end - range.start) as usize)?;
    let (before, rest) = code.split_at((site - range.start) as usize);
    Some(Site {
        offset: piece.offset + (range.start - piece.address),
        address: range.start,
        before: before.to_vec(),
        after: rest[SYSCALL..].to_vec(),
        special: Special::of(x86_64::number(image, &found.notes, site)),
    })
}

#[cfg(test)]
mod tests;
