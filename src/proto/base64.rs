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
    let mut slots = out.iter_mut();
    for group in text.chunks(4) {
        let mut bits = 0;
        for (byte, shift) in group.iter().zip([18, 12, 6, 0]) {
            bits |= value_of(*byte)? << shift;
        }
        let [_, bytes @ ..] = u32::to_be_bytes(bits);
        for (byte, slot) in bytes.into_iter().zip(slots.by_ref()) {
            *slot = byte;
        }
    }
    Some(out)
}

/// By ranges and not by a search: the nginx module decodes a name for every download.
fn value_of(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
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
