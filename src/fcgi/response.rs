//! What we send: records appended to a buffer, ready for one write.
//!
//! Called by the owner of a connection. Never writes to a socket, and never decides what a
//! request is answered.

use alloc::vec::Vec;

use crate::params::encode_pair;
use crate::record::{CONTENT_BYTES_MAX, Header, Kind, ProtocolStatus, RequestId};

/// The most content put into one record of a long stream: a multiple of eight, so that only
/// the last record of a stream is padded.
const STREAM_CONTENT_BYTES: usize = CONTENT_BYTES_MAX & !7;

/// Whether records end at a multiple of eight bytes, as the specification recommends
/// (section 3.3), or where their content ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// No padding: the fewest bytes.
    None,
    /// Up to seven zero bytes.
    #[default]
    Eight,
}

impl Padding {
    fn after(self, content_len: usize) -> u8 {
        match self {
            Self::None => 0,
            Self::Eight => u8::try_from(content_len.wrapping_neg() & 7).unwrap_or(0),
        }
    }
}

/// A record whose content is still being appended. It must be the last thing in its buffer.
#[derive(Debug)]
#[must_use = "a record that is not closed has no length"]
pub struct OpenRecord {
    kind: Kind,
    id: RequestId,
    /// Where the header stands.
    at: usize,
}

impl OpenRecord {
    /// Leaves room for the header; the content follows by appending to `out`.
    pub fn begin(out: &mut Vec<u8>, kind: Kind, id: RequestId) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0; Header::LEN]);
        Self { kind, id, at }
    }

    /// Bytes of content that still fit.
    pub fn room(&self, out: &[u8]) -> usize {
        CONTENT_BYTES_MAX.saturating_sub(self.content_len(out))
    }

    /// Writes the header and the padding. More content than a record can hold is cut off and
    /// false returned. An empty record is removed: in a stream it would mean the end.
    pub fn close(self, out: &mut Vec<u8>, padding: Padding) -> bool {
        let appended = self.content_len(out);
        let len = appended.min(CONTENT_BYTES_MAX);
        let end = self.at.saturating_add(Header::LEN).saturating_add(len);
        if len == 0 {
            out.truncate(self.at);
            return true;
        }
        out.truncate(end);
        let padding_len = padding.after(len);
        let content_len = u16::try_from(len).unwrap_or(u16::MAX);
        let header = Header { kind: self.kind as u8, id: self.id, content_len, padding_len };
        if let Some(room) = out.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            *room = header.encode();
        }
        out.resize(end.saturating_add(usize::from(padding_len)), 0);
        len == appended
    }

    fn content_len(&self, out: &[u8]) -> usize {
        out.len().saturating_sub(self.at).saturating_sub(Header::LEN)
    }
}

/// Appends a part of the response. An empty one appends nothing.
pub fn stdout(out: &mut Vec<u8>, id: RequestId, content: &[u8], padding: Padding) {
    stream(out, Kind::Stdout, id, content, padding);
}

/// Appends a message for the web server's log. An empty one appends nothing.
pub fn stderr(out: &mut Vec<u8>, id: RequestId, content: &[u8], padding: Padding) {
    stream(out, Kind::Stderr, id, content, padding);
}

fn stream(out: &mut Vec<u8>, kind: Kind, id: RequestId, content: &[u8], padding: Padding) {
    for piece in content.chunks(STREAM_CONTENT_BYTES) {
        let record = OpenRecord::begin(out, kind, id);
        out.extend_from_slice(piece);
        let fits = record.close(out, padding);
        debug_assert!(fits, "a piece is shorter than a record");
    }
}

/// Appends the end of the response stream.
pub fn stdout_end(out: &mut Vec<u8>, id: RequestId) {
    let kind = Kind::Stdout as u8;
    out.extend_from_slice(&Header { kind, id, content_len: 0, padding_len: 0 }.encode());
}

/// Appends the end of the message stream. Needed only if there was a message.
pub fn stderr_end(out: &mut Vec<u8>, id: RequestId) {
    let kind = Kind::Stderr as u8;
    out.extend_from_slice(&Header { kind, id, content_len: 0, padding_len: 0 }.encode());
}

/// Appends the end of a request: the last that is said about it.
pub fn end_request(out: &mut Vec<u8>, id: RequestId, app_status: u32, status: ProtocolStatus) {
    let kind = Kind::EndRequest as u8;
    out.extend_from_slice(&Header { kind, id, content_len: 8, padding_len: 0 }.encode());
    out.extend_from_slice(&app_status.to_be_bytes());
    out.extend_from_slice(&[status as u8, 0, 0, 0]);
}

/// Appends the answer to GET_VALUES. Pairs that do not fit into one record are left out.
pub fn get_values_result<'a>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    let mut content = Vec::new();
    for (name, value) in pairs {
        let before = content.len();
        let fits = encode_pair(&mut content, name, value) && content.len() <= CONTENT_BYTES_MAX;
        if !fits {
            content.truncate(before);
        }
    }
    let content_len = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let padding_len = Padding::Eight.after(content.len());
    let (kind, id) = (Kind::GetValuesResult as u8, RequestId::CONNECTION);
    out.extend_from_slice(&Header { kind, id, content_len, padding_len }.encode());
    out.extend_from_slice(&content);
    out.resize(out.len().saturating_add(usize::from(padding_len)), 0);
}

/// Appends the answer to a management record of a type that we do not know.
pub fn unknown_type(out: &mut Vec<u8>, kind: u8) {
    let (ours, id) = (Kind::UnknownType as u8, RequestId::CONNECTION);
    out.extend_from_slice(&Header { kind: ours, id, content_len: 8, padding_len: 0 }.encode());
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const ID: RequestId = RequestId(0x0201);

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn records_are_frozen() {
        let hello = written(|out| stdout(out, ID, b"hello", Padding::Eight));
        assert_eq!(hello, b"\x01\x06\x02\x01\x00\x05\x03\x00hello\0\0\0");
        let hello = written(|out| stderr(out, ID, b"hello", Padding::None));
        assert_eq!(hello, b"\x01\x07\x02\x01\x00\x05\x00\x00hello");
        assert_eq!(written(|out| stdout_end(out, ID)), b"\x01\x06\x02\x01\0\0\0\0");
        assert_eq!(written(|out| stderr_end(out, ID)), b"\x01\x07\x02\x01\0\0\0\0");
        assert_eq!(
            written(|out| end_request(out, ID, 0x0a0b_0c0d, ProtocolStatus::Overloaded)),
            b"\x01\x03\x02\x01\0\x08\0\0\x0a\x0b\x0c\x0d\x02\0\0\0"
        );
        assert_eq!(
            written(|out| unknown_type(out, 99)),
            b"\x01\x0b\0\0\0\x08\0\0\x63\0\0\0\0\0\0\0"
        );
        let pairs = [(&b"FCGI_MPXS_CONNS"[..], &b"1"[..])];
        assert_eq!(
            written(|out| get_values_result(out, pairs)),
            b"\x01\x0a\0\0\0\x12\x06\0\x0f\x01FCGI_MPXS_CONNS1\0\0\0\0\0\0"
        );
        assert_eq!(written(|out| get_values_result(out, [])), b"\x01\x0a\0\0\0\0\0\0");
    }

    #[test]
    fn long_content_is_split_and_only_the_end_is_padded() {
        let content: Vec<u8> = (0..200_001u32).map(|n| n as u8).collect();
        for (padding, want) in [(Padding::Eight, 7u8), (Padding::None, 0)] {
            let out = written(|out| stdout(out, ID, &content, padding));
            let mut rest = &out[..];
            let (mut joined, mut paddings) = (Vec::new(), Vec::new());
            while let Some((head, tail)) = rest.split_first_chunk() {
                let header = Header::decode(head).unwrap();
                assert_eq!((header.kind, header.id), (6, ID));
                let (len, pad) = (usize::from(header.content_len), header.padding_len);
                joined.extend_from_slice(&tail[..len]);
                paddings.push(pad);
                rest = &tail[len + usize::from(pad)..];
            }
            assert!(rest.is_empty());
            assert_eq!(joined, content);
            assert_eq!(paddings, [0, 0, 0, want]);
        }
    }

    #[test]
    fn a_record_holds_65535_bytes_and_no_more() {
        for (len, fits) in [(65_535, true), (65_536, false)] {
            let mut out = vec![9];
            let record = OpenRecord::begin(&mut out, Kind::Stdout, ID);
            assert_eq!(record.room(&out), 65_535);
            out.resize(out.len() + len, b'x');
            assert_eq!(record.room(&out), 0);
            assert_eq!(record.close(&mut out, Padding::Eight), fits);
            assert_eq!(out[..9], [9, 1, 6, 2, 1, 0xff, 0xff, 1, 0]);
            assert_eq!(out.len(), 1 + 8 + 65_535 + 1);
        }
    }

    #[test]
    fn an_empty_piece_does_not_end_the_stream() {
        assert_eq!(written(|out| stdout(out, ID, b"", Padding::Eight)), b"");
        let mut out = vec![7];
        let record = OpenRecord::begin(&mut out, Kind::Stdout, ID);
        assert!(record.close(&mut out, Padding::Eight));
        assert_eq!(out, [7]);
    }

    #[test]
    fn values_that_do_not_fit_are_left_out() {
        let long = vec![b'v'; 65_000];
        let pairs = [(&b"A"[..], &long[..]), (b"B", &long), (b"C", b"c")];
        let out = written(|out| get_values_result(out, pairs));
        let header = Header::decode(out.first_chunk().unwrap()).unwrap();
        // A: 1 + 4 + 1 + 65000 bytes, C: 1 + 1 + 1 + 1.
        assert_eq!(header.content_len, 65_006 + 4);
    }
}
