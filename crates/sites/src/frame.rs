//! What the unwind tables say of the code: where each function begins and ends, which are the frames of signals, and where exceptions land.
//!
//! # Invariants
//! F1. No number of the tables is used as a place before it is compared with what the place lies in.
//! F2. Tables that cannot be read to their end are an error: what they point at would not be known.

use crate::Error;

/// What a frame's description says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The first address.
    pub(crate) start: u64,
    /// The address behind the last.
    pub(crate) end: u64,
    /// It is what a signal handler returns to.
    pub(crate) signal: bool,
    /// Where its table of landing pads is.
    pub(crate) pads: Option<u64>,
}

/// How a value is written, and from where it counts (DW_EH_PE).
#[derive(Clone, Copy)]
struct Encoding(u8);

impl Encoding {
    const OMITTED: u8 = 0xff;

    fn is_omitted(self) -> bool {
        self.0 == Encoding::OMITTED
    }

    /// The same width, counted from nowhere.
    fn plain(self) -> Encoding {
        Encoding(self.0 & 0x0f)
    }
}

/// What a common entry says of the frames that name it.
#[derive(Clone, Copy)]
struct Common {
    /// How their addresses are written.
    addresses: Encoding,
    /// How the addresses of their tables of landing pads are written.
    pads: Encoding,
    /// Their augmentation has a length.
    sized: bool,
    signal: bool,
}

/// A part of the file as it is mapped, read from front to back.
#[derive(Clone, Copy)]
struct Reader<'d> {
    bytes: &'d [u8],
    address: u64,
    at: usize,
}

impl<'d> Reader<'d> {
    fn new(bytes: &'d [u8], address: u64) -> Reader<'d> {
        Reader { bytes, address, at: 0 }
    }

    fn here(&self) -> u64 {
        self.address.wrapping_add(self.at as u64)
    }

    fn wrong(&self) -> Error {
        Error::Frames(self.here())
    }

    fn take(&mut self, len: usize) -> Result<&'d [u8], Error> {
        let end = self.at.checked_add(len).ok_or(self.wrong())?;
        let taken = self.bytes.get(self.at..end).ok_or(self.wrong())?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    /// A number of so many bytes, its sign not looked at.
    fn word(&mut self, len: usize) -> Result<u64, Error> {
        let mut whole = [0; 8];
        whole[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(whole))
    }

    /// A number in groups of seven bits, and how many bits there were.
    fn groups(&mut self) -> Result<(u64, u32, u8), Error> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            if shift >= 64 {
                return Err(self.wrong());
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok((value, shift, byte));
            }
        }
    }

    fn unsigned(&mut self) -> Result<u64, Error> {
        Ok(self.groups()?.0)
    }

    fn signed(&mut self) -> Result<u64, Error> {
        let (value, shift, last) = self.groups()?;
        let negative = last & 0x40 != 0 && shift < 64;
        Ok(if negative { value | u64::MAX << shift } else { value })
    }

    /// A value as an encoding says; zero stays zero, which means "none".
    fn encoded(&mut self, how: Encoding) -> Result<u64, Error> {
        let from = self.here();
        let value = match how.0 & 0x0f {
            0x00 | 0x04 | 0x0c => self.word(8)?,
            0x01 => self.unsigned()?,
            0x02 => self.word(2)?,
            0x03 => self.word(4)?,
            0x09 => self.signed()?,
            0x0a => self.word(2)? as i16 as u64,
            0x0b => self.word(4)? as i32 as u64,
            _ => return Err(self.wrong()),
        };
        // Among what is refused: the address of a place that has the value.
        match how.0 & 0xf0 {
            _ if value == 0 => Ok(0),
            0x00 => Ok(value),
            0x10 => Ok(from.wrapping_add(value)),
            _ => Err(self.wrong()),
        }
    }

    /// The next entry: the rest of it, and where its second word, a distance back to the common entry, is.
    fn entry(&mut self) -> Result<Option<Reader<'d>>, Error> {
        let len = match self.word(4)? {
            0 => return Ok(None),
            0xffff_ffff => self.word(8)?,
            len => len,
        };
        let start = self.at;
        self.take(usize::try_from(len).map_err(|_| self.wrong())?)?;
        Ok(Some(Reader { bytes: &self.bytes[..self.at], address: self.address, at: start }))
    }
}

/// Reads `.eh_frame`.
pub(crate) fn read(bytes: &[u8], address: u64) -> Result<Vec<Frame>, Error> {
    let mut table = Reader::new(bytes, address);
    let mut frames = Vec::new();
    // Several tables may stand one behind the other, each with a zero at its end (crtend.o's is the last).
    while table.at < bytes.len() {
        let Some(mut entry) = table.entry()? else { continue };
        let from = entry.at;
        let back = entry.word(4)?;
        if back == 0 {
            continue;
        }
        let at = usize::try_from(back).ok().and_then(|back| from.checked_sub(back)).ok_or(entry.wrong())?;
        let common = common(Reader { bytes, address, at })?;
        frames.extend(frame(entry, common)?);
    }
    Ok(frames)
}

/// Reads the common entry that begins here.
fn common(mut at: Reader) -> Result<Common, Error> {
    let mut entry = at.entry()?.ok_or(at.wrong())?;
    if entry.word(4)? != 0 {
        return Err(entry.wrong());
    }
    let version = entry.byte()?;
    if !matches!(version, 1 | 3) {
        return Err(entry.wrong());
    }
    let mut letters = Vec::new();
    loop {
        match entry.byte()? {
            0 => break,
            letter => letters.push(letter),
        }
    }
    entry.unsigned()?;
    entry.signed()?;
    if version == 1 {
        u64::from(entry.byte()?)
    } else {
        entry.unsigned()?
    };
    let mut said =
        Common { addresses: Encoding(0), pads: Encoding(Encoding::OMITTED), sized: false, signal: false };
    for letter in letters {
        match letter {
            b'z' => {
                said.sized = true;
                entry.unsigned()?;
            }
            b'R' => said.addresses = Encoding(entry.byte()?),
            b'L' => said.pads = Encoding(entry.byte()?),
            b'P' => {
                let how = Encoding(entry.byte()?);
                // Where it points matters to nobody here; how long it is does.
                entry.encoded(how.plain())?;
            }
            b'S' => said.signal = true,
            b'B' => {}
            _ => return Err(entry.wrong()),
        }
    }
    Ok(said)
}

/// Reads a frame's entry behind its second word. One that begins at zero is of code that the linker dropped.
fn frame(mut entry: Reader, common: Common) -> Result<Option<Frame>, Error> {
    let start = entry.encoded(common.addresses)?;
    let len = entry.encoded(common.addresses.plain())?;
    let end = start.checked_add(len).ok_or(entry.wrong())?;
    let mut pads = None;
    if common.sized {
        entry.unsigned()?;
        if !common.pads.is_omitted() {
            pads = Some(entry.encoded(common.pads)?).filter(|pads| *pads != 0);
        }
    }
    Ok((start != 0 && len != 0).then_some(Frame { start, end, signal: common.signal, pads }))
}

/// Reads a frame's table of landing pads, whose bytes begin at its address.
pub(crate) fn landing_pads(bytes: &[u8], address: u64, frame: &Frame) -> Result<Vec<u64>, Error> {
    let mut table = Reader::new(bytes, address);
    let base = match Encoding(table.byte()?) {
        omitted if omitted.is_omitted() => frame.start,
        how => table.encoded(how)?,
    };
    if !Encoding(table.byte()?).is_omitted() {
        table.unsigned()?;
    }
    let how = Encoding(table.byte()?);
    let len = usize::try_from(table.unsigned()?).map_err(|_| table.wrong())?;
    let end = table.at.checked_add(len).ok_or(table.wrong())?;
    let mut pads = Vec::new();
    while table.at < end {
        table.encoded(how)?;
        table.encoded(how)?;
        let pad = table.encoded(how)?;
        table.unsigned()?;
        if pad != 0 {
            pads.push(base.wrapping_add(pad));
        }
    }
    Ok(pads)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with one common entry ("zR", addresses relative to themselves, four bytes) and one frame.
    fn table() -> Vec<u8> {
        let mut bytes = vec![16, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0, 0, 0];
        bytes.extend([16, 0, 0, 0, 24, 0, 0, 0]);
        bytes.extend((0x100_i32 - 28).to_le_bytes());
        bytes.extend([0x30, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_frame_is_read() {
        let frames = read(&table(), 0x1000).unwrap();
        assert_eq!(frames, [Frame { start: 0x1100, end: 0x1130, signal: false, pads: None }]);
    }

    #[test]
    fn a_table_that_is_cut_or_points_out_of_itself_is_refused() {
        let whole = table();
        assert!(read(&whole[..30], 0x1000).is_err());
        let mut out = whole.clone();
        out[24] = 200;
        assert!(read(&out, 0x1000).is_err());
        let mut letters = whole.clone();
        letters[10] = b'?';
        assert!(read(&letters, 0x1000).is_err());
        for (at, instead) in [(8, 4), (16, 0x9b)] {
            let mut other = whole.clone();
            other[at] = instead;
            assert!(read(&other, 0x1000).is_err(), "{at}");
        }
        let more = [&whole[..], &[0, 0]].concat();
        assert_eq!(read(&more, 0x1000), Err(Error::Frames(0x1000 + whole.len() as u64)));
    }

    #[test]
    fn landing_pads_are_read() {
        let frame = Frame { start: 0x4000, end: 0x4100, signal: false, pads: Some(0x9000) };
        let bytes = [0xff, 0xff, 0x01, 8, 0, 5, 0x40, 0, 5, 5, 0, 0];
        assert_eq!(landing_pads(&bytes, 0x9000, &frame).unwrap(), [0x4040]);
        assert!(landing_pads(&bytes[..8], 0x9000, &frame).is_err());
    }

    #[test]
    fn negative_groups_are_extended() {
        assert_eq!(Reader::new(&[0x78], 0).signed().unwrap(), -8_i64 as u64);
        assert_eq!(Reader::new(&[0xff, 0x00], 0).signed().unwrap(), 127);
        assert!(Reader::new(&[0xff; 12], 0).unsigned().is_err());
    }
}
