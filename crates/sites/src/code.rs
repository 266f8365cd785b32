//! What is known of each byte of the code: who decoded an instruction that begins there, and what arrives there.

use crate::image::Image;

/// The linear decoding of the section has an instruction that begins here.
pub(crate) const SWEPT: u8 = 1;
/// A decoding from a start that something else vouches for has one, too.
pub(crate) const VOUCHED: u8 = 2;
/// Something jumps or points here.
pub(crate) const ENTERED: u8 = 4;
/// An instruction has this address as a number: it may compare it with where a thread is.
pub(crate) const COMPARED: u8 = 8;

/// One byte of notes for each byte of code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pieces: Vec<Vec<u8>>,
}

impl Notes {
    /// Notes that say nothing but what the file points at.
    pub(crate) fn of(image: &Image) -> Notes {
        let mut notes = Notes { pieces: image.code.iter().map(|piece| vec![0; piece.bytes.len()]).collect() };
        for address in &image.pointed {
            notes.add(image, *address, ENTERED);
        }
        notes
    }

    fn place(image: &Image, address: u64) -> Option<(usize, usize)> {
        let number = image.code.iter().position(|piece| piece.from(address).is_some())?;
        Some((number, usize::try_from(address - image.code[number].address).ok()?))
    }

    /// Adds a note, if the address is in the code.
    pub(crate) fn add(&mut self, image: &Image, address: u64, note: u8) {
        if let Some((piece, at)) = Notes::place(image, address) {
            self.pieces[piece][at] |= note;
        }
    }

    /// The notes of an address; none where there is no code.
    pub(crate) fn at(&self, image: &Image, address: u64) -> u8 {
        Notes::place(image, address)
            .and_then(|(piece, at)| self.pieces.get(piece)?.get(at).copied())
            .unwrap_or(0)
    }

    /// Whether both decodings have an instruction that begins here.
    pub(crate) fn agree(&self, image: &Image, address: u64) -> bool {
        self.at(image, address) & (SWEPT | VOUCHED) == SWEPT | VOUCHED
    }

    /// Whether both decodings have one instruction in these bytes and none inside of it.
    pub(crate) fn agree_on(&self, image: &Image, start: u64, len: usize) -> bool {
        let inside = (1..len as u64).all(|n| self.at(image, start + n) & (SWEPT | VOUCHED) == 0);
        self.agree(image, start) && inside
    }
}
