//! The record: eight bytes of header, content, padding. Everything on a connection is one.
//!
//! Used by `request` to read and by `response` to write. Knows the numbers of the protocol
//! (specification section 8) and nothing of requests.

/// The only version there is.
pub const VERSION: u8 = 1;

/// The most content one record can hold.
pub const CONTENT_BYTES_MAX: usize = 0xffff;

/// What a record carries: its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To us: role (2), flags (1), reserved (5).
    BeginRequest = 1,
    /// To us: give the request up.
    AbortRequest = 2,
    /// From us: application status (4), protocol status (1), reserved (3).
    EndRequest = 3,
    /// To us: a stream of name/value pairs, ended by an empty record.
    Params = 4,
    /// To us: the stream of the request body, ended by an empty record.
    Stdin = 5,
    /// From us: the stream of the response, ended by an empty record.
    Stdout = 6,
    /// From us: a stream of messages for the web server's log.
    Stderr = 7,
    /// To us: a second stream that only the role of a filter has.
    Data = 8,
    /// To us, about the connection: names of variables.
    GetValues = 9,
    /// From us, about the connection: those variables that we know.
    GetValuesResult = 10,
    /// From us, about the connection: the type that we do not know (1), reserved (7).
    UnknownType = 11,
}

impl Kind {
    /// The type with that number.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::BeginRequest,
            2 => Self::AbortRequest,
            3 => Self::EndRequest,
            4 => Self::Params,
            5 => Self::Stdin,
            6 => Self::Stdout,
            7 => Self::Stderr,
            8 => Self::Data,
            9 => Self::GetValues,
            10 => Self::GetValuesResult,
            11 => Self::UnknownType,
            _ => return None,
        })
    }
}

/// Which request a record belongs to. Zero is the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u16);

impl RequestId {
    /// The connection itself: a management record.
    pub const CONNECTION: Self = Self(0);
}

/// The eight bytes before every content.
///
/// ```text
/// 0         1      2            4                6                8
/// | version | type | id, BE u16 | content length | padding | zero |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type as it was sent: it may be one that nobody knows.
    pub kind: u8,
    pub id: RequestId,
    pub content_len: u16,
    /// Bytes after the content that mean nothing.
    pub padding_len: u8,
}

impl Header {
    pub const LEN: usize = 8;

    /// Reads a header, or returns the version that is not ours. The last byte is reserved and
    /// not looked at.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, u8> {
        let [version, kind, id_high, id_low, len_high, len_low, padding_len, _] = *bytes;
        if version != VERSION {
            return Err(version);
        }
        let id = RequestId(u16::from_be_bytes([id_high, id_low]));
        let content_len = u16::from_be_bytes([len_high, len_low]);
        Ok(Self { kind, id, content_len, padding_len })
    }

    pub fn encode(&self) -> [u8; Self::LEN] {
        let [id_high, id_low] = self.id.0.to_be_bytes();
        let [len_high, len_low] = self.content_len.to_be_bytes();
        [VERSION, self.kind, id_high, id_low, len_high, len_low, self.padding_len, 0]
    }
}

/// What the web server wants of us. We are responders; the others are refused.
pub mod role {
    /// Takes a request and answers it, as CGI programs do.
    pub const RESPONDER: u16 = 1;
    /// Says whether a request is allowed.
    pub const AUTHORIZER: u16 = 2;
    /// Changes a file on its way out.
    pub const FILTER: u16 = 3;
}

/// Bit of the flags in BEGIN_REQUEST: the connection outlives the request.
pub const KEEP_CONN: u8 = 1;

/// How a request ended, for the web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProtocolStatus {
    /// Answered.
    RequestComplete = 0,
    /// Refused: we take one request at a time on a connection.
    CantMpxConn = 1,
    /// Refused: too much to do.
    Overloaded = 2,
    /// Refused: we are not made for that role.
    UnknownRole = 3,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_bytes_are_frozen() {
        let header = Header { kind: 5, id: RequestId(0x0102), content_len: 0x0304, padding_len: 6 };
        assert_eq!(header.encode(), [1, 5, 1, 2, 3, 4, 6, 0]);
        assert_eq!(Header::decode(&[1, 5, 1, 2, 3, 4, 6, 99]), Ok(header));
        assert_eq!(Header::decode(&[0, 5, 1, 2, 3, 4, 6, 0]), Err(0));
        assert_eq!(Header::decode(&[2, 5, 1, 2, 3, 4, 6, 0]), Err(2));
    }

    #[test]
    fn types_are_the_numbers_of_the_specification() {
        for byte in 0..=u8::MAX {
            let kind = Kind::from_byte(byte);
            assert_eq!(kind.is_some(), (1..=11).contains(&byte));
            assert!(kind.is_none_or(|kind| kind as u8 == byte));
        }
    }

    proptest! {
        #[test]
        fn a_header_survives_the_wire(kind: u8, id: u16, content_len: u16, padding_len: u8) {
            let header = Header { kind, id: RequestId(id), content_len, padding_len };
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }
}
