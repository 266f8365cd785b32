//! ELF images of 64 bits as they lie in memory: the dynamic section, and symbols by name. elf(5).
//!
//! The reader of an image trusts its loader, the kernel or the dynamic linker: every read stays inside what its headers name.

/// Reads a T at an address of an image.
///
/// # Safety
/// The address lies in the mapped image.
unsafe fn peek<T: Copy>(at: usize) -> T {
    // SAFETY: by the caller's promise; alignment is not assumed.
    unsafe { (at as *const T).read_unaligned() }
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_PHDR: u32 = 6;

/// Length of a program header, bytes.
const SEGMENT_LEN: usize = 56;

/// An image's program headers.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    at: usize,
    count: usize,
}

impl Segments {
    /// Headers at an address (AT_PHDR), so many (AT_PHNUM).
    ///
    /// # Safety
    /// They are there, and their image stays mapped.
    pub unsafe fn new(at: usize, count: usize) -> Segments {
        Segments { at, count }
    }

    /// The headers of the image whose ELF header is at an address.
    ///
    /// # Safety
    /// It is there, and stays mapped.
    pub unsafe fn of(base: usize) -> Segments {
        // SAFETY: by the caller's promise; the ELF header says where the program headers are and how many.
        unsafe {
            Segments { at: base + peek::<u64>(base + 32) as usize, count: peek::<u16>(base + 56).into() }
        }
    }

    /// The first header of a kind.
    fn first(&self, kind: u32) -> Option<usize> {
        // SAFETY: new()'s and of()'s callers promise `count` headers.
        (0..self.count)
            .map(|n| self.at + n * SEGMENT_LEN)
            .find(|&header| unsafe { peek::<u32>(header) } == kind)
    }

    /// Where a header says that its segment lies: the address that the image was linked at.
    fn address(header: usize) -> usize {
        // SAFETY: first() answers addresses of headers.
        unsafe { peek::<u64>(header + 16) as usize }
    }

    /// The image, loaded where its ELF header is at `base`; without a base, where its own headers say (PT_PHDR).
    pub fn image(&self, base: Option<usize>) -> Option<Image> {
        let slide = match base {
            Some(base) => {
                let load = self.first(PT_LOAD)?;
                // SAFETY: a program header; its second word of eight bytes is the segment's offset in the file.
                let offset = unsafe { peek::<u64>(load + 8) } as usize;
                base.wrapping_add(offset).wrapping_sub(Self::address(load))
            }
            None => self.at.wrapping_sub(Self::address(self.first(PT_PHDR)?)),
        };
        let section = slide.wrapping_add(Self::address(self.first(PT_DYNAMIC)?));
        // SAFETY: the dynamic section lies in a segment that is mapped.
        Some(unsafe { Image::new(section, slide) })
    }
}

/// What of an image's dynamic section leads to its symbols: addresses, 0 for what is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Image {
    slide: usize,
    strings: usize,
    symbols: usize,
    hash: usize,
    gnu_hash: usize,
    versions: usize,
    debug: usize,
}

impl Image {
    /// The image with the dynamic section at an address, loaded `slide` behind where it was linked.
    ///
    /// # Safety
    /// That is so, and the image stays mapped while this is used.
    pub unsafe fn new(section: usize, slide: usize) -> Image {
        let mut image = Image { slide, ..Image::default() };
        let mut entry = section;
        loop {
            // SAFETY: the dynamic section ends with an entry of tag 0, where this loop ends.
            let (tag, value) = unsafe { (peek::<u64>(entry), peek::<u64>(entry + 8) as usize) };
            // A dynamic linker may have made addresses of the section's words, or not.
            let at = if value < slide { value + slide } else { value };
            match tag {
                0 => return image,
                4 => image.hash = at,
                5 => image.strings = at,
                6 => image.symbols = at,
                21 => image.debug = value,
                0x6fff_fef5 => image.gnu_hash = at,
                0x6fff_fff0 => image.versions = at,
                _ => {}
            }
            entry += 16;
        }
    }

    /// What the dynamic linker left for debuggers (DT_DEBUG); 0 if nothing.
    pub fn debug(&self) -> usize {
        self.debug
    }

    /// The address of a symbol that the image defines, in its default version.
    pub fn symbol(&self, name: &[u8]) -> Option<usize> {
        if self.strings == 0 || self.symbols == 0 {
            return None;
        }
        // SAFETY: new()'s caller promises an image; its tables are where its dynamic section says.
        let index = unsafe { if self.gnu_hash != 0 { self.hashed(name) } else { self.listed(name) } }?;
        // SAFETY: for the same reason as the block above.
        let value = unsafe { peek::<u64>(self.entry(index) + 8) } as usize;
        Some(self.slide.wrapping_add(value))
    }

    fn entry(&self, index: usize) -> usize {
        self.symbols + index * 24
    }

    /// Whether a symbol is the one: defined, of this name, not only for programs linked against an older version.
    unsafe fn is(&self, index: usize, name: &[u8]) -> bool {
        const HIDDEN: u16 = 0x8000;
        let entry = self.entry(index);
        // SAFETY: by the caller's promise an entry of the table; the tables have as many. A string is read up to its first difference.
        unsafe {
            let text = self.strings + peek::<u32>(entry) as usize;
            peek::<u16>(entry + 6) != 0
                && (self.versions == 0 || peek::<u16>(self.versions + index * 2) & HIDDEN == 0)
                && name.iter().enumerate().all(|(n, byte)| peek::<u8>(text + n) == *byte)
                && peek::<u8>(text + name.len()) == 0
        }
    }

    /// Looks through the hash table of DT_GNU_HASH.
    unsafe fn hashed(&self, name: &[u8]) -> Option<usize> {
        let hash = name.iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add((*byte).into()));
        let table = self.gnu_hash;
        // SAFETY: the table's own sizes bound every read; a chain ends with an odd word.
        unsafe {
            let (buckets, first) = (peek::<u32>(table) as usize, peek::<u32>(table + 4) as usize);
            let (words, shift) = (peek::<u32>(table + 8) as usize, peek::<u32>(table + 12));
            let filter = peek::<u64>(table + 16 + (hash as usize / 64).checked_rem(words)? * 8);
            if filter >> (hash % 64) & filter >> (hash.checked_shr(shift)? % 64) & 1 == 0 {
                return None;
            }
            let bucket = table + 16 + words * 8;
            let chain = bucket + buckets * 4;
            let mut index = peek::<u32>(bucket + (hash as usize).checked_rem(buckets)? * 4) as usize;
            while index >= first {
                let word = peek::<u32>(chain + (index - first) * 4);
                if word | 1 == hash | 1 && self.is(index, name) {
                    return Some(index);
                }
                if word & 1 == 1 {
                    return None;
                }
                index += 1;
            }
            None
        }
    }

    /// Looks at every symbol that DT_HASH counts.
    unsafe fn listed(&self, name: &[u8]) -> Option<usize> {
        if self.hash == 0 {
            return None;
        }
        // SAFETY: the second word of a hash table is the number of symbols.
        let count = unsafe { peek::<u32>(self.hash + 4) } as usize;
        // SAFETY: one of the table's entries.
        (0..count).find(|&index| unsafe { self.is(index, name) })
    }
}
