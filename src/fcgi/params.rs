//! Name/value pairs: the CGI variables of a request, and the names in a GET_VALUES record.
//!
//! Called by `request` with whatever part of a stream has arrived. Never looks at what a name
//! or a value means and never turns either into text: a header may hold any bytes.

use alloc::vec::Vec;
use core::ops::Range;

/// The most a stream of pairs may hold. Reaching a limit refuses the request, not the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamLimits {
    /// Pairs in one stream.
    pub pairs_max: usize,
    /// Bytes of the whole stream, the encoded lengths included.
    pub bytes_max: usize,
    /// Bytes of one name.
    pub name_bytes_max: usize,
    /// Bytes of one value.
    pub value_bytes_max: usize,
}

/// Room made for the pairs of a request at once: web servers send about so many.
const PAIRS_USUAL: usize = 32;

/// Why a stream of pairs was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The bytes do not fit `bytes_max`.
    #[error("parameters exceed {max} bytes")]
    TooManyBytes { max: usize },
    /// One pair more than `pairs_max`.
    #[error("more than {max} parameters")]
    TooManyPairs { max: usize },
    /// A name announces more than `name_bytes_max`.
    #[error("a parameter name of {got} bytes exceeds {max}")]
    NameTooLong { got: usize, max: usize },
    /// A value announces more than `value_bytes_max`.
    #[error("a parameter value of {got} bytes exceeds {max}")]
    ValueTooLong { got: usize, max: usize },
    /// The stream ended inside a pair.
    #[error("the parameters end inside a pair")]
    Cut,
}

/// Where one pair lies in `Params::bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    name: Range<usize>,
    value: Range<usize>,
}

/// A complete stream of pairs, in the order they came. One buffer holds them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    bytes: Vec<u8>,
    pairs: Vec<Pair>,
}

impl Params {
    /// Pairs that did not come from a stream, for tests of whoever reads them.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut params = Self::default();
        for (name, value) in pairs {
            let name_at = params.bytes.len();
            params.bytes.extend_from_slice(name);
            let value_at = params.bytes.len();
            params.bytes.extend_from_slice(value);
            let end = params.bytes.len();
            params.pairs.push(Pair { name: name_at..value_at, value: value_at..end });
        }
        params
    }

    /// The value of `name`, byte for byte. Of a repeated name the first counts, so that nothing
    /// a client adds later can displace what the web server set.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// All pairs as (name, value).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().filter_map(|pair| {
            Some((self.bytes.get(pair.name.clone())?, self.bytes.get(pair.value.clone())?))
        })
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// Collects a stream of pairs that arrives in pieces cut anywhere.
///
/// Memory follows what arrived: an announced length is compared with its limit and allocates
/// nothing. The buffer grows by doubling, so it takes at most twice `bytes_max`.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: ParamLimits,
    params: Params,
    /// Where in `params.bytes` the first incomplete pair begins.
    next: usize,
}

impl Decoder {
    /// A decoder that has seen nothing yet and holds no memory.
    pub fn new(limits: ParamLimits) -> Self {
        Self { limits, params: Params::default(), next: 0 }
    }

    /// Takes the next piece. After an error the decoder must be dropped.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ParamsError> {
        let max = self.limits.bytes_max;
        if max.saturating_sub(self.params.bytes.len()) < piece.len() {
            return Err(ParamsError::TooManyBytes { max });
        }
        self.params.bytes.extend_from_slice(piece);
        if self.params.pairs.capacity() == 0 {
            self.params.pairs.reserve(PAIRS_USUAL.min(self.limits.pairs_max));
        }
        while let Some(pair) = self.next_pair()? {
            if self.params.pairs.len() >= self.limits.pairs_max {
                return Err(ParamsError::TooManyPairs { max: self.limits.pairs_max });
            }
            self.next = pair.value.end;
            self.params.pairs.push(pair);
        }
        Ok(())
    }

    /// The end of the stream: all pairs, unless the last one is cut.
    pub fn finish(self) -> Result<Params, ParamsError> {
        let whole = self.next == self.params.bytes.len();
        if whole { Ok(self.params) } else { Err(ParamsError::Cut) }
    }

    /// The pair at `next`, or None while a part of it is missing.
    fn next_pair(&self) -> Result<Option<Pair>, ParamsError> {
        let all = &self.params.bytes;
        let Some(start) = all.get(self.next..) else { return Ok(None) };
        let Some((name_len, rest)) = decode_length(start) else { return Ok(None) };
        if name_len > self.limits.name_bytes_max {
            let max = self.limits.name_bytes_max;
            return Err(ParamsError::NameTooLong { got: name_len, max });
        }
        let Some((value_len, rest)) = decode_length(rest) else { return Ok(None) };
        if value_len > self.limits.value_bytes_max {
            let max = self.limits.value_bytes_max;
            return Err(ParamsError::ValueTooLong { got: value_len, max });
        }
        let name_at = all.len().saturating_sub(rest.len());
        let value_at = name_at.saturating_add(name_len);
        let end = value_at.saturating_add(value_len);
        let complete = end <= all.len();
        Ok(complete.then_some(Pair { name: name_at..value_at, value: value_at..end }))
    }
}

/// Reads a length of one byte (0 to 127) or four (top bit set, 31 bits), and returns the rest.
/// None means that bytes are missing.
fn decode_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short, rest @ ..] if *short < 0x80 => Some((usize::from(*short), rest)),
        [a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([a & 0x7f, *b, *c, *d]);
            // On a machine whose usize cannot hold it the value is refused by any limit.
            Some((usize::try_from(length).unwrap_or(usize::MAX), rest))
        }
        _ => None,
    }
}

/// Appends one pair in its shortest form. Lengths above 2^31 - 1 cannot be expressed: such a
/// pair is left out and false returned.
pub fn encode_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> bool {
    let (Some(name_len), Some(value_len)) = (length_of(name), length_of(value)) else {
        return false;
    };
    encode_length(out, name_len);
    encode_length(out, value_len);
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    true
}

/// A length that fits the 31 bits of the format.
fn length_of(bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.len()).ok().filter(|length| *length < 1 << 31)
}

fn encode_length(out: &mut Vec<u8>, length: u32) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => out.extend_from_slice(&(length | 1 << 31).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const LIMITS: ParamLimits =
        ParamLimits { pairs_max: 8, bytes_max: 1024, name_bytes_max: 200, value_bytes_max: 700 };

    fn decode(limits: ParamLimits, pieces: &[&[u8]]) -> Result<Params, ParamsError> {
        let mut decoder = Decoder::new(limits);
        for piece in pieces {
            decoder.push(piece)?;
        }
        decoder.finish()
    }

    fn pairs(params: &Params) -> Vec<(&[u8], &[u8])> {
        params.iter().collect()
    }

    #[test]
    fn the_four_forms_of_a_pair_are_frozen() {
        // Specification section 3.4: lengths of 11, 14, 41 and 44 bytes.
        let (short, long) = (vec![b'v'; 127], vec![b'w'; 128]);
        for (name, value, head) in [
            (&b"N"[..], &b""[..], vec![1, 0]),
            (b"NAME", &short, vec![4, 127]),
            (b"NAME", &long, vec![4, 0x80, 0, 0, 128]),
            (&long, b"x", vec![0x80, 0, 0, 128, 1]),
            (&long, &long, vec![0x80, 0, 0, 128, 0x80, 0, 0, 128]),
        ] {
            let mut bytes = Vec::new();
            assert!(encode_pair(&mut bytes, name, value));
            assert_eq!(bytes, [&head, name, value].concat());
            let params = decode(LIMITS, &[&bytes]).unwrap();
            assert_eq!(pairs(&params), [(name, value)]);
        }
    }

    #[test]
    fn the_long_form_of_a_short_length_is_understood() {
        let bytes = [0x80, 0, 0, 1, 0x80, 0, 0, 2, b'N', b'o', b'k'];
        assert_eq!(decode(LIMITS, &[&bytes]).unwrap().get(b"N"), Some(&b"ok"[..]));
    }

    #[test]
    fn bytes_that_are_not_text_stay_as_they_are() {
        let mut bytes = Vec::new();
        assert!(encode_pair(&mut bytes, b"\xff\x00", b"\xc3\x28"));
        let params = decode(LIMITS, &[&bytes]).unwrap();
        assert_eq!(params.get(b"\xff\x00"), Some(&b"\xc3\x28"[..]));
        assert_eq!(params.len(), 1);
        assert!(!params.is_empty());
    }

    #[test]
    fn the_first_of_equal_names_counts() {
        let params = decode(LIMITS, &[b"\x01\x01Aa", b"\x01\x01Ab"]).unwrap();
        assert_eq!(params.get(b"A"), Some(&b"a"[..]));
        assert_eq!(pairs(&params), [(&b"A"[..], &b"a"[..]), (b"A", b"b")]);
        assert_eq!(params.get(b"B"), None);
    }

    #[test]
    fn limits_hold_at_their_value_and_refuse_one_more() {
        let pair = |name: usize, value: usize| {
            let mut bytes = Vec::new();
            assert!(encode_pair(&mut bytes, &vec![b'n'; name], &vec![b'v'; value]));
            bytes
        };
        assert!(decode(LIMITS, &[&pair(200, 0)]).is_ok());
        let too_long = ParamsError::NameTooLong { got: 201, max: 200 };
        assert_eq!(decode(LIMITS, &[&pair(201, 0)]), Err(too_long));
        assert!(decode(LIMITS, &[&pair(0, 700)]).is_ok());
        let too_long = ParamsError::ValueTooLong { got: 701, max: 700 };
        assert_eq!(decode(LIMITS, &[&pair(0, 701)]), Err(too_long));

        let eight = [0u8; 16];
        assert_eq!(decode(LIMITS, &[&eight]).unwrap().len(), 8);
        let nine = [0u8; 18];
        assert_eq!(decode(LIMITS, &[&nine]), Err(ParamsError::TooManyPairs { max: 8 }));

        let exact = pair(0, 500);
        let tight = ParamLimits { bytes_max: exact.len(), ..LIMITS };
        assert!(decode(tight, &[&exact]).is_ok());
        let short = ParamLimits { bytes_max: exact.len() - 1, ..LIMITS };
        let refused = ParamsError::TooManyBytes { max: exact.len() - 1 };
        assert_eq!(decode(short, &[&exact]), Err(refused));
        assert_eq!(decode(ParamLimits { bytes_max: 0, ..LIMITS }, &[]).unwrap().len(), 0);
    }

    #[test]
    fn an_announced_length_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::new(LIMITS);
        let got = (1 << 31) - 1;
        let error = decoder.push(&[0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(error, ParamsError::NameTooLong { got, max: 200 });
        let error = Decoder::new(LIMITS).push(&[1, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(error, ParamsError::ValueTooLong { got, max: 700 });
    }

    #[test]
    fn every_cut_inside_a_pair_is_an_error() {
        let mut bytes = Vec::new();
        assert!(encode_pair(&mut bytes, b"NAME", &[b'v'; 130]));
        for cut in 1..bytes.len() {
            assert_eq!(decode(LIMITS, &[&bytes[..cut]]), Err(ParamsError::Cut), "cut at {cut}");
        }
    }

    fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..len_max)
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            list in proptest::collection::vec((bytes(200), bytes(200)), 0..3),
            cuts in proptest::collection::vec(0usize..1024, 0..6),
        ) {
            let mut bytes = Vec::new();
            for (name, value) in &list {
                prop_assert!(encode_pair(&mut bytes, name, value));
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let limits = ParamLimits { bytes_max: 4096, ..LIMITS };
            let params = decode(limits, &pieces).unwrap();
            let expected: Vec<(&[u8], &[u8])> =
                list.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            prop_assert_eq!(pairs(&params), expected);
        }

        #[test]
        fn any_bytes_end_in_a_value_or_an_error(bytes in bytes(600)) {
            let mut decoder = Decoder::new(LIMITS);
            for byte in &bytes {
                if decoder.push(&[*byte]).is_err() {
                    return Ok(());
                }
                prop_assert!(decoder.params.bytes.capacity() <= 2 * LIMITS.bytes_max);
                prop_assert!(decoder.params.pairs.len() <= LIMITS.pairs_max);
            }
            if let Ok(params) = decoder.finish() {
                prop_assert!(params.iter().count() == params.len());
            }
        }
    }
}
