//! The base64 variant of file ids: `A-Z a-z 0-9 - _`, no padding (storage.md 2.2).

use alloc::string::String;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How many characters `bytes` bytes become, without padding.
pub const fn encoded_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(encoded_len(bytes.len()));
    for group in bytes.chunks(3) {
        let mut bits = 0;
        for (byte, shift) in group.iter().zip([16, 8, 0]) {
            bits |= u32::from(*byte) << shift;
        }
        for shift in [18, 12, 6, 0].into_iter().take(encoded_len(group.len())) {
            let index = (bits >> shift) & 63;
            out.extend(ALPHABET.get(index as usize).map(|b| char::from(*b)));
        }
    }
    out
}

/// The `N` bytes that `text` encodes. Refuses another length and characters outside the
/// alphabet, which the reference skips; the unused low bits of the last character are ignored.
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != encoded_len(N) {
        return None;
    }
    let mut out = [0; N];
    let mut seen = 0;
    let (groups, rest) = text.as_chunks::<4>();
    let (slots, last) = out.as_chunks_mut::<3>();
    for (group, slot) in groups.iter().zip(slots) {
        let [_, bytes @ ..] = bits_of(*group, &mut seen).to_be_bytes();
        *slot = bytes;
    }
    // One byte or two are left, in two or three characters; what is behind them counts as `A`.
    let mut group = [b'A'; 4];
    for (slot, byte) in group.iter_mut().zip(rest) {
        *slot = *byte;
    }
    let [_, bytes @ ..] = bits_of(group, &mut seen).to_be_bytes();
    for (slot, byte) in last.iter_mut().zip(bytes) {
        *slot = byte;
    }
    (seen & NONE == 0).then_some(out)
}

/// The 24 bits of four characters; `seen` gathers what their values have.
fn bits_of(group: [u8; 4], seen: &mut u8) -> u32 {
    group.into_iter().fold(0, |bits, byte| {
        let value = value_of(byte);
        *seen |= value;
        bits << 6 | u32::from(value)
    })
}

/// What [`value_of`] gives for a character outside the alphabet: more than six bits.
const NONE: u8 = 0x80;

/// The place of each character in [`ALPHABET`]. A table, looked at without branches: the nginx
/// module decodes a name for every download.
static VALUES: [u8; 256] = values();

const fn values() -> [u8; 256] {
    let mut table = [NONE; 256];
    let (mut place, mut rest) = (0u8, ALPHABET.as_slice());
    while let [byte, behind @ ..] = rest {
        let (_, from) = table.split_at_mut(*byte as usize);
        if let [slot, ..] = from {
            *slot = place;
        }
        (place, rest) = (place.wrapping_add(1), behind);
    }
    table
}

fn value_of(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        let id = [0x25u32, 0x10100, 0x100].map(u32::to_be_bytes).concat();
        assert_eq!(encode(&id), "AAAAJQABAQAAAAEA");
        assert_eq!(decode::<12>(b"AAAAJQABAQAAAAEA").as_ref().map(|b| &b[..]), Some(&id[..]));
        assert_eq!(encode(&1u32.to_be_bytes()), "AAAAAQ");
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode(b"-_8"), Some([0xfb, 0xff]));
        assert_eq!(encode(&[]), "");
        assert_eq!(decode(b""), Some([]));
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        assert_eq!(decode::<2>(b"-_8."), None);
        assert_eq!(decode::<2>(b"-_"), None);
        assert_eq!(decode::<2>(b"-/8"), None);
        assert_eq!(decode::<2>(b"-\xff8"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes: [u8; 20]) {
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
