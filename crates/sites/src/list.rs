//! A plan as bytes: what is kept for a file, so that it need not be decoded again.
//!
//! Whoever keeps it may be wrong, and the file may have been changed in place. So bytes become a [`Claim`], and only [`Claim::verify`], which compares them with the
//! file's code, makes a [`List`] of it: of all its sites or of none.
//!
//! ```text
//!        0: "R3SITES" and a zero          24: sum of everything from 32 on, and of what is before 24
//!        8: version, how many sites       32: the file: its kind, the length of its name, 38 bytes for the name
//!       16: length of the whole           72: the sites, each: offset, address, before, after, special, a zero, the code replaced
//! ```
//! Integers are little-endian.
//!
//! # Invariants
//! K1. One byte changed anywhere changes the sum, so the list is refused.
//! K2. Sites are in order of their addresses and do not overlap; each is as long as a jump, and has `syscall` where it says.
//! K3. There is nothing behind the last site.

use crate::Error;
use crate::plan::{JUMP, Plan, SYSCALL, Site, Special};

/// What a list begins with.
const MAGIC: [u8; 8] = *b"R3SITES\0";

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Where the sum is, and what it is of.
const SUM: usize = 24;
/// Where what the sum is of goes on.
const BEHIND_SUM: usize = 32;
/// Room for a file's name.
const NAME: usize = 38;
/// Where the sites begin.
const SITES: usize = 72;
/// The most bytes that a range can have: no instruction has more than 15, and no plan more than three on either side.
const LONGEST_RANGE: usize = 128;

/// Which file a list is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By its build-id, 38 bytes of it at most.
    BuildId(Vec<u8>),
    /// By where it is and when it was changed.
    File {
        /// The device.
        device: u64,
        /// The inode.
        inode: u64,
        /// Its length.
        size: u64,
        /// When it was changed, nanoseconds since 1970.
        changed: i64,
    },
}

impl Identity {
    /// The identity by a build-id, if that is one that a list can have.
    pub fn of(build_id: &[u8]) -> Option<Identity> {
        (1..=NAME).contains(&build_id.len()).then(|| Identity::BuildId(build_id.to_vec()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (kind, name) = match self {
            Identity::BuildId(id) => (1, id[..id.len().min(NAME)].to_vec()),
            Identity::File { device, inode, size, changed } => {
                (2, [*device, *inode, *size, *changed as u64].map(u64::to_le_bytes).concat())
            }
        };
        out.extend([kind, name.len() as u8]);
        out.extend(&name);
        out.resize(SITES, 0);
    }

    fn read(bytes: &[u8; NAME + 2]) -> Option<Identity> {
        let (name, rest) = bytes[2..].split_at_checked(usize::from(bytes[1]))?;
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        match bytes[0] {
            1 => Identity::of(name),
            2 => {
                let mut name = Bytes(name);
                let [device, inode, size, changed] = [name.u64()?, name.u64()?, name.u64()?, name.u64()?];
                name.0.is_empty().then_some(Identity::File { device, inode, size, changed: changed as i64 })
            }
            _ => None,
        }
    }
}

/// Bytes read from front to back.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn site(&mut self) -> Option<Site> {
        let (offset, address) = (self.u64()?, self.u64()?);
        let (before, after) = (usize::from(self.u8()?), usize::from(self.u8()?));
        let special = match self.u8()? {
            0 => Special::None,
            1 => Special::Clone,
            2 => Special::Vfork,
            3 => Special::Clone3,
            _ => return None,
        };
        let spare = self.u8()?;
        let code = self.take(before + SYSCALL + after)?;
        let site = Site {
            offset,
            address,
            before: code[..before].to_vec(),
            after: code[before + SYSCALL..].to_vec(),
            special,
        };
        let fits = spare == 0 && code.len() >= JUMP && code.len() <= LONGEST_RANGE;
        let ends = address.checked_add(LONGEST_RANGE as u64).and(offset.checked_add(LONGEST_RANGE as u64));
        (fits && ends.is_some() && code == site.code()).then_some(site)
    }
}

/// FNV-1a: each step can be undone, so one byte that is another makes another sum (K1).
fn sum(bytes: &[u8]) -> u64 {
    let parts = [&bytes[..SUM], &bytes[BEHIND_SUM..]];
    parts
        .concat()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A list that fits its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    identity: Identity,
    sites: Vec<Site>,
}

/// A list as somebody gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(List);

impl List {
    /// The list of a plan that was just made of a file.
    pub fn new(identity: Identity, plan: &Plan) -> List {
        List { identity, sites: plan.sites.clone() }
    }

    /// Which file it is of.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its sites, in order.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Writes it.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.sites.len() as u32).to_le_bytes());
        out.resize(BEHIND_SUM, 0);
        self.identity.write(&mut out);
        for site in &self.sites {
            out.extend(site.offset.to_le_bytes());
            out.extend(site.address.to_le_bytes());
            out.extend([site.before.len() as u8, site.after.len() as u8, site.special as u8, 0]);
            out.extend(site.code());
        }
        let len = out.len() as u64;
        out[16..SUM].copy_from_slice(&len.to_le_bytes());
        let sum = sum(&out);
        out[SUM..BEHIND_SUM].copy_from_slice(&sum.to_le_bytes());
        out
    }
}

impl Claim {
    /// Reads a list.
    ///
    /// # Errors
    /// `List`: it is not whole, of another version, or not as it was written.
    pub fn read(bytes: &[u8]) -> Result<Claim, Error> {
        let refuse = |why| Error::List(why);
        if bytes.len() < SITES {
            return Err(refuse("too short"));
        }
        let mut head = Bytes(bytes);
        if head.array() != Some(MAGIC) || head.u32() != Some(VERSION) {
            return Err(refuse("of another version"));
        }
        let count = head.u32().ok_or(refuse("too short"))?;
        if head.u64() != Some(bytes.len() as u64) || head.u64() != Some(sum(bytes)) {
            return Err(refuse("its length or its sum is another"));
        }
        let identity = head.array().and_then(|name| Identity::read(&name)).ok_or(refuse("of no file"))?;
        let mut sites: Vec<Site> = Vec::new();
        for _ in 0..count {
            let site = head.site().ok_or(refuse("a site that cannot be"))?;
            if sites.last().is_some_and(|last| last.range().end > site.address) {
                return Err(refuse("its sites are not in order"));
            }
            sites.push(site);
        }
        if !head.0.is_empty() {
            return Err(refuse("something is behind its sites"));
        }
        Ok(Claim(List { identity, sites }))
    }

    /// Compares it with the file that it is to be used for.
    ///
    /// # Errors
    /// `OtherFile`, `OtherCode`: then nothing of it is to be used.
    pub fn verify(self, identity: &Identity, file: &[u8]) -> Result<List, Error> {
        if self.0.identity != *identity {
            return Err(Error::OtherFile);
        }
        for site in &self.0.sites {
            let start = usize::try_from(site.offset).ok();
            let code = start.and_then(|start| file.get(start..start.checked_add(site.size())?));
            if code != Some(&site.code()[..]) {
                return Err(Error::OtherCode(site.offset));
            }
        }
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn site() -> impl Strategy<Value = (u8, Vec<u8>, Vec<u8>, u8)> {
        let bytes = |least| prop::collection::vec(any::<u8>(), least..20);
        (1..200_u8, bytes(3), bytes(0), 0..4_u8)
    }

    fn identity() -> impl Strategy<Value = Identity> {
        let named = prop::collection::vec(any::<u8>(), 1..NAME + 1).prop_map(Identity::BuildId);
        let place = any::<(u64, u64, u64, i64)>();
        let placed =
            place.prop_map(|(device, inode, size, changed)| Identity::File { device, inode, size, changed });
        prop_oneof![named, placed]
    }

    /// A list and a file that it fits: the gaps between its sites are zeros.
    fn pair() -> impl Strategy<Value = (List, Vec<u8>)> {
        (identity(), prop::collection::vec(site(), 0..20)).prop_map(|(identity, parts)| {
            let (mut file, mut sites) = (Vec::new(), Vec::new());
            for (gap, before, after, special) in parts {
                file.resize(file.len() + usize::from(gap), 0);
                let specials = [Special::None, Special::Clone, Special::Vfork, Special::Clone3];
                let offset = file.len() as u64;
                let special = specials[usize::from(special)];
                let site = Site { offset, address: offset + 0x1000, before, after, special };
                file.extend(site.code());
                sites.push(site);
            }
            (List { identity, sites }, file)
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read((list, file) in pair()) {
            let claim = Claim::read(&list.write()).unwrap();
            prop_assert_eq!(claim.verify(list.identity(), &file).unwrap(), list);
        }

        #[test]
        fn one_changed_byte_is_refused((list, _) in pair(), at: prop::sample::Index, by in 1..=255_u8) {
            let mut bytes = list.write();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(Claim::read(&bytes).is_err());
        }

        #[test]
        fn a_cut_or_longer_list_is_refused((list, _) in pair(), at: prop::sample::Index, more in 1..100_usize) {
            let mut bytes = list.write();
            prop_assert!(Claim::read(&bytes[..at.index(bytes.len())]).is_err());
            bytes.resize(bytes.len() + more, 0);
            prop_assert!(Claim::read(&bytes).is_err());
        }

        #[test]
        fn anything_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Claim::read(&bytes).is_err());
        }

        #[test]
        fn a_well_summed_lie_is_read_without_a_panic((list, file) in pair(), at: prop::sample::Index, by in 1..=255_u8) {
            let mut bytes = list.write();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let right = sum(&bytes);
            bytes[SUM..BEHIND_SUM].copy_from_slice(&right.to_le_bytes());
            if let Ok(list) = Claim::read(&bytes).and_then(|claim| claim.verify(list.identity(), &file)) {
                for site in list.sites() {
                    let start = site.offset as usize;
                    prop_assert_eq!(&file[start..start + site.size()], &site.code()[..]);
                }
            }
        }

        #[test]
        fn a_file_with_another_byte_at_a_site_is_refused((list, file) in pair(), by in 1..=255_u8) {
            for site in list.sites() {
                let mut file = file.clone();
                file[site.offset as usize + site.size() - 1] ^= by;
                let claim = Claim::read(&list.write()).unwrap();
                prop_assert_eq!(claim.verify(list.identity(), &file), Err(Error::OtherCode(site.offset)));
            }
        }
    }

    #[test]
    fn the_list_of_another_file_is_refused() {
        let list = List::new(Identity::BuildId(vec![1, 2, 3]), &Plan::default());
        let claim = Claim::read(&list.write()).unwrap();
        assert_eq!(claim.verify(&Identity::BuildId(vec![1, 2, 4]), &[]), Err(Error::OtherFile));
    }

    #[test]
    fn sites_that_overlap_are_refused() {
        let site = |offset| Site {
            offset,
            address: offset,
            before: vec![0xb8, 1, 0, 0, 0],
            after: Vec::new(),
            special: Special::None,
        };
        let read = |sites| Claim::read(&List { identity: Identity::BuildId(vec![1]), sites }.write());
        assert!(read(vec![site(0), site(7)]).is_ok());
        assert_eq!(read(vec![site(0), site(6)]), Err(Error::List("its sites are not in order")));
        assert_eq!(read(vec![site(9), site(0)]), Err(Error::List("its sites are not in order")));
    }
}
