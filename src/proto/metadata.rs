//! Name/value pairs of a file: the text of commands 13 and 15 and of `-m` files
//! (storage.md 3.9).
//!
//! Names and values are bytes: clients choose the encoding. The storage decides what happens
//! to the file; here is only how lists are read, printed and merged.

use alloc::vec::Vec;

/// Bytes of a name that are kept; the rest is cut off without a word, as the reference does.
pub const NAME_LEN_MAX: usize = 64;
/// Bytes of a value that are kept.
pub const VALUE_LEN_MAX: usize = 256;

const RECORD_END: u8 = 0x01;
const NAME_END: u8 = 0x02;

/// One name with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// A list of pairs, sorted by name. A name may stand in it more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pairs: Vec<Pair>,
}

impl Metadata {
    /// A list out of pairs; cuts what is too long and sorts.
    pub fn new(pairs: impl IntoIterator<Item = Pair>) -> Self {
        let mut pairs: Vec<Pair> = pairs.into_iter().collect();
        for pair in &mut pairs {
            pair.name.truncate(NAME_LEN_MAX);
            pair.value.truncate(VALUE_LEN_MAX);
        }
        // Stable: equal names keep the order in which they were sent.
        pairs.sort_by(|a, b| a.name.cmp(&b.name));
        Self { pairs }
    }

    /// Reads the text of a request. Records without a value separator are dropped.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = text.split(|b| *b == RECORD_END).filter_map(|record| {
            let mut parts = record.splitn(2, |b| *b == NAME_END);
            let (name, value) = (parts.next()?, parts.next()?);
            Some(Pair { name: name.to_vec(), value: value.to_vec() })
        });
        Self::new(pairs)
    }

    /// Reads a metadata file. One that the reference wrote may have garbage behind a zero byte.
    pub fn parse_file(content: &[u8]) -> Self {
        Self::parse(content.split(|b| *b == 0).next().unwrap_or(content))
    }

    /// The text of these pairs, without a separator after the last.
    pub fn print(&self) -> Vec<u8> {
        let records = self.pairs.iter().map(|p| [&p.name[..], &p.value].join(&NAME_END));
        records.collect::<Vec<_>>().join(&RECORD_END)
    }

    /// This list with `newer` laid over it: for equal names the newer values stay.
    pub fn merge(self, newer: Self) -> Self {
        let replaced =
            |pair: &Pair| newer.pairs.binary_search_by(|n| n.name.cmp(&pair.name)).is_ok();
        let mut pairs: Vec<Pair> = self.pairs.into_iter().filter(|p| !replaced(p)).collect();
        pairs.extend(newer.pairs);
        Self::new(pairs)
    }

    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_printed_without_a_last_separator() {
        for (text, want) in [
            (&b"width\x02160\x01author\x02Ann"[..], &b"author\x02Ann\x01width\x02160"[..]),
            (b"a\x02\x01no separator\x01\x02b", b"\x02b\x01a\x02"),
            (b"a\x02b\x02c", b"a\x02b\x02c"),
            (b"b\x022\x01a\x021\x01b\x021", b"a\x021\x01b\x022\x01b\x021"),
            (b"", b""),
            (b"\x01\x01", b""),
        ] {
            assert_eq!(Metadata::parse(text).print(), want, "{text:?}");
        }
    }

    #[test]
    fn long_names_and_values_are_cut() {
        let text = [&[b'n'; 65][..], b"\x02", &[b'v'; 257]].concat();
        let list = Metadata::parse(&text);
        assert_eq!((list.pairs()[0].name.len(), list.pairs()[0].value.len()), (64, 256));
    }

    #[test]
    fn merging_lets_the_new_value_win() {
        let old = Metadata::parse(b"a\x021\x01b\x022\x01c\x023");
        let new = Metadata::parse(b"d\x024\x01b\x0220");
        assert_eq!(old.merge(new).print(), b"a\x021\x01b\x0220\x01c\x023\x01d\x024");
    }

    #[test]
    fn garbage_behind_a_zero_byte_is_ignored_in_files() {
        assert_eq!(Metadata::parse_file(b"a\x021\0\x01z\x029").print(), b"a\x021");
        assert!(Metadata::parse_file(b"").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn printing_and_parsing_settle(text: Vec<u8>) {
            let once = Metadata::parse(&text);
            assert_eq!(Metadata::parse(&once.print()), once);
        }
    }
}
