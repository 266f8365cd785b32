//! aarch64: `svc #0` is one word, and words are aligned. So it is found by its mask; whether a word is code, a function's range says.
//!
//! Finding only: the jump that replaces one (`b`, four bytes, 128 MiB either way) is not planned yet.

use crate::find::{Found, Left, Reason};
use crate::image::Image;

/// `svc #0`.
const SVC: u32 = 0xd400_0001;

/// Finds the words that are `svc #0` in functions, and counts those that are in none.
pub(crate) fn find(image: &Image) -> Found {
    let mut found = Found::default();
    for piece in &image.code {
        let skipped = (piece.address.wrapping_neg() & 3) as usize;
        let words = piece.bytes.get(skipped..).unwrap_or_default().chunks_exact(4).enumerate();
        for (number, word) in words {
            if u32::from_le_bytes([word[0], word[1], word[2], word[3]]) != SVC {
                continue;
            }
            let address = piece.address + skipped as u64 + number as u64 * 4;
            let within = |functions: &[crate::image::Function]| {
                functions.iter().any(|function| (function.start..function.end).contains(&address))
            };
            if within(&image.signal_frames) {
                found.left.push(Left { address, reason: Reason::Sigreturn });
            } else if within(&image.functions) {
                found.proven.push(address);
            } else {
                found.left.push(Left { address, reason: Reason::Unreached });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Machine, Piece};

    #[test]
    fn only_the_word_itself_in_a_function_is_found() {
        let words = [SVC, 0xd65f_03c0, 0xd400_0021, SVC, 0xd400_0002, SVC];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        // The same bytes off their alignment are something else.
        bytes.extend([0, 0, 1, 0, 0, 0xd4, 0, 0]);
        let mut image =
            Image::of(Machine::Arm, vec![Piece { address: 0x1000, offset: 0, bytes: &bytes }], Vec::new());
        image.function(0x1000, 0x1010);
        let found = find(&image);
        assert_eq!(found.proven, [0x1000, 0x100c]);
        assert_eq!(found.left, [Left { address: 0x1014, reason: Reason::Unreached }]);
    }
}
