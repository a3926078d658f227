//! The receiving side of a connection: bytes in, events out.
//!
//! The owner of a socket feeds whatever it read and acts on the events; what it sends back it
//! writes with `response`. Nothing here waits, sends, or keeps a byte of a body.
//!
//! ```text
//!  BEGIN_REQUEST -> Begin ......... PARAMS* -> Params ... STDIN* -> Stdin* -> StdinEnd
//!        |                             |                     |
//!        | role, too many              | limits              | ABORT_REQUEST
//!        v                             v                     v
//!  UnknownRole, TooMany             Refused                Abort        finish(id): forgotten
//! ```
//!
//! A record for a request that is not active is ignored, as the specification wants (section
//! 3.3): it may have been under way when the request ended.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::params::{Decoder, ParamLimits, Params, ParamsError};
use crate::record::{Header, KEEP_CONN, Kind, RequestId, role};

/// Bounds of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Requests under way at once.
    pub requests_max: usize,
    /// Parameters of one request.
    pub params: ParamLimits,
}

/// Names in GET_VALUES. The specification has three; a few more are read and not answered.
const VALUES: ParamLimits =
    ParamLimits { pairs_max: 16, bytes_max: 1024, name_bytes_max: 64, value_bytes_max: 64 };

/// What the owner of the connection has to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request for a responder began. It is active until `finish`.
    Begin { id: RequestId, keep_conn: bool },
    /// Its parameters are complete; the body follows.
    Params { id: RequestId, params: Params },
    /// Its parameters are too much or malformed. Whatever follows for it is ignored.
    Refused { id: RequestId, error: ParamsError },
    /// A part of its body, never empty.
    Stdin { id: RequestId, bytes: &'a [u8] },
    /// The end of its body.
    StdinEnd { id: RequestId },
    /// The web server gives it up. Whatever follows for it is ignored.
    Abort { id: RequestId },
    /// A request for another role: to be ended with UNKNOWN_ROLE. It did not become active.
    UnknownRole { id: RequestId, role: u16, keep_conn: bool },
    /// One request more than `requests_max`: to be ended with CANT_MPX_CONN or OVERLOADED. It
    /// did not become active.
    TooMany { id: RequestId, keep_conn: bool },
    /// The web server asks for the variables with these names.
    GetValues(Params),
    /// A management record of this type: to be answered with UNKNOWN_TYPE.
    UnknownType(u8),
}

/// What no web server sends. The connection cannot be understood any further: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("protocol version {0} is not 1")]
    Version(u8),
    #[error("BEGIN_REQUEST has {got} bytes of content, not 8")]
    BeginLength { got: u16 },
    #[error("request {} began twice", id.0)]
    BegunTwice { id: RequestId },
    #[error("a {kind:?} record has request id {}", id.0)]
    WrongId { kind: Kind, id: RequestId },
    #[error("a {kind:?} record of request {} is out of order", id.0)]
    OutOfOrder { kind: Kind, id: RequestId },
    #[error("GET_VALUES: {0}")]
    Values(ParamsError),
}

/// Where the next byte belongs.
#[derive(Debug)]
enum Place {
    Header { bytes: [u8; Header::LEN], have: usize },
    Content { of: Content, left: usize, padding: usize },
    Padding { left: usize },
}

const START: Place = Place::Header { bytes: [0; Header::LEN], have: 0 };

#[derive(Debug)]
enum Content {
    Begin {
        id: RequestId,
        bytes: [u8; 8],
        have: usize,
    },
    Params {
        id: RequestId,
    },
    Stdin {
        id: RequestId,
    },
    /// Boxed, because it is rare and every other content is small.
    Values(Box<Decoder>),
    Ignored,
}

/// How far an active request has come.
#[derive(Debug)]
enum Phase {
    Params(Decoder),
    Stdin,
    /// The body is complete: only an abort can follow.
    Complete,
    /// Refused or aborted: everything is ignored until `finish`.
    Ignored,
}

#[derive(Debug)]
struct Active {
    id: RequestId,
    phase: Phase,
}

/// What a header leads to: the meaning of its content, and perhaps an event at once.
type Step<'a> = (Content, Option<Event<'a>>);

/// The state of one connection. Holds at most `requests_max` times the parameters of a request.
#[derive(Debug)]
pub struct Connection {
    limits: ConnectionLimits,
    place: Place,
    active: Vec<Active>,
}

impl Connection {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, place: START, active: Vec::new() }
    }

    /// Whether no request is active and no record has begun: nobody is owed anything.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty() && matches!(self.place, Place::Header { have: 0, .. })
    }

    /// The request is answered: its number is free, and what still comes for it is ignored.
    pub fn finish(&mut self, id: RequestId) {
        self.active.retain(|active| active.id != id);
    }

    /// Takes bytes from the front of `input` up to the next event. None means that `input` is
    /// used up. After an error the connection must be closed and not be fed again.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            let step = match &mut self.place {
                Place::Header { bytes, have } => {
                    *have = fill(bytes, *have, input);
                    if *have < Header::LEN {
                        return Ok(None);
                    }
                    let header = Header::decode(bytes).map_err(ProtocolError::Version)?;
                    self.start(header)?
                }
                Place::Content { left: 0, padding, .. } => {
                    let padding = *padding;
                    self.end_content(padding)?
                }
                Place::Padding { left: 0 } => {
                    self.place = START;
                    None
                }
                _ if input.is_empty() => return Ok(None),
                Place::Content { of, left, .. } => {
                    let piece = take(input, *left);
                    *left = left.saturating_sub(piece.len());
                    content(&mut self.active, of, piece)?
                }
                Place::Padding { left } => {
                    *left = left.saturating_sub(take(input, *left).len());
                    None
                }
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// A header is complete: what its content is, and the event if the header says it all.
    fn start<'a>(&mut self, header: Header) -> Result<Option<Event<'a>>, ProtocolError> {
        let Header { id, content_len, .. } = header;
        let empty = content_len == 0;
        let (of, event) = match (Kind::from_byte(header.kind), id) {
            (Some(Kind::GetValues), RequestId::CONNECTION) => {
                (Content::Values(Box::new(Decoder::new(VALUES))), None)
            }
            (
                Some(
                    kind @ (Kind::BeginRequest
                    | Kind::AbortRequest
                    | Kind::Params
                    | Kind::Stdin
                    | Kind::Data),
                ),
                RequestId::CONNECTION,
            )
            | (Some(kind @ Kind::GetValues), _) => {
                return Err(ProtocolError::WrongId { kind, id });
            }
            (_, RequestId::CONNECTION) => (Content::Ignored, Some(Event::UnknownType(header.kind))),
            (Some(Kind::BeginRequest), _) if content_len != 8 => {
                return Err(ProtocolError::BeginLength { got: content_len });
            }
            (Some(Kind::BeginRequest), _) => (Content::Begin { id, bytes: [0; 8], have: 0 }, None),
            (Some(Kind::AbortRequest), _) => (Content::Ignored, self.abort(id)),
            (Some(Kind::Params), _) => self.params(id, empty)?,
            (Some(Kind::Stdin), _) => self.stdin(id, empty)?,
            // A filter's stream, what only we send, what nobody knows: not for a responder.
            _ => (Content::Ignored, None),
        };
        let (left, padding) = (usize::from(content_len), usize::from(header.padding_len));
        self.place = Place::Content { of, left, padding };
        Ok(event)
    }

    fn phase(&mut self, id: RequestId) -> Option<&mut Phase> {
        let active = self.active.iter_mut().find(|active| active.id == id)?;
        Some(&mut active.phase)
    }

    fn abort<'a>(&mut self, id: RequestId) -> Option<Event<'a>> {
        match self.phase(id)? {
            Phase::Ignored => None,
            phase => {
                *phase = Phase::Ignored;
                Some(Event::Abort { id })
            }
        }
    }

    /// A record of the parameter stream; an empty one ends it.
    fn params<'a>(&mut self, id: RequestId, empty: bool) -> Result<Step<'a>, ProtocolError> {
        let Some(phase) = self.phase(id) else { return Ok((Content::Ignored, None)) };
        match core::mem::replace(phase, Phase::Ignored) {
            Phase::Params(decoder) if empty => match decoder.finish() {
                Ok(params) => {
                    *phase = Phase::Stdin;
                    Ok((Content::Ignored, Some(Event::Params { id, params })))
                }
                Err(error) => Ok((Content::Ignored, Some(Event::Refused { id, error }))),
            },
            Phase::Params(decoder) => {
                *phase = Phase::Params(decoder);
                Ok((Content::Params { id }, None))
            }
            Phase::Stdin | Phase::Complete => {
                Err(ProtocolError::OutOfOrder { kind: Kind::Params, id })
            }
            Phase::Ignored => Ok((Content::Ignored, None)),
        }
    }

    /// A record of the body; an empty one ends it.
    fn stdin<'a>(&mut self, id: RequestId, empty: bool) -> Result<Step<'a>, ProtocolError> {
        match self.phase(id) {
            Some(phase @ Phase::Stdin) if empty => {
                *phase = Phase::Complete;
                Ok((Content::Ignored, Some(Event::StdinEnd { id })))
            }
            Some(Phase::Stdin) => Ok((Content::Stdin { id }, None)),
            Some(Phase::Params(_) | Phase::Complete) => {
                Err(ProtocolError::OutOfOrder { kind: Kind::Stdin, id })
            }
            Some(Phase::Ignored) | None => Ok((Content::Ignored, None)),
        }
    }

    /// The content is complete: the events that need all of it.
    fn end_content<'a>(&mut self, padding: usize) -> Result<Option<Event<'a>>, ProtocolError> {
        let place = core::mem::replace(&mut self.place, Place::Padding { left: padding });
        let Place::Content { of, .. } = place else { return Ok(None) };
        match of {
            Content::Begin { id, bytes, .. } => self.begin(id, bytes).map(Some),
            Content::Values(decoder) => {
                let names = decoder.finish().map_err(ProtocolError::Values)?;
                Ok(Some(Event::GetValues(names)))
            }
            Content::Params { .. } | Content::Stdin { .. } | Content::Ignored => Ok(None),
        }
    }

    fn begin<'a>(&mut self, id: RequestId, body: [u8; 8]) -> Result<Event<'a>, ProtocolError> {
        let [role_high, role_low, flags, ..] = body;
        let wanted = u16::from_be_bytes([role_high, role_low]);
        let keep_conn = flags & KEEP_CONN != 0;
        if self.phase(id).is_some() {
            return Err(ProtocolError::BegunTwice { id });
        }
        if wanted != role::RESPONDER {
            return Ok(Event::UnknownRole { id, role: wanted, keep_conn });
        }
        if self.active.len() >= self.limits.requests_max {
            return Ok(Event::TooMany { id, keep_conn });
        }
        let phase = Phase::Params(Decoder::new(self.limits.params));
        self.active.push(Active { id, phase });
        Ok(Event::Begin { id, keep_conn })
    }
}

/// Hands a piece of content, never empty, to where it belongs.
fn content<'a>(
    active: &mut [Active],
    of: &mut Content,
    piece: &'a [u8],
) -> Result<Option<Event<'a>>, ProtocolError> {
    match of {
        Content::Begin { bytes, have, .. } => *have = fill(bytes, *have, &mut &*piece),
        Content::Values(decoder) => decoder.push(piece).map_err(ProtocolError::Values)?,
        // The request may have been finished, or refused, since the record began.
        Content::Params { id } => {
            let found = active.iter_mut().find(|active| active.id == *id);
            let Some(Active { phase, .. }) = found else { return Ok(None) };
            if let Phase::Params(decoder) = phase
                && let Err(error) = decoder.push(piece)
            {
                *phase = Phase::Ignored;
                return Ok(Some(Event::Refused { id: *id, error }));
            }
        }
        Content::Stdin { id } => {
            let wanted = |active: &&Active| active.id == *id;
            let found = active.iter().find(wanted).map(|active| &active.phase);
            if let Some(Phase::Stdin) = found {
                return Ok(Some(Event::Stdin { id: *id, bytes: piece }));
            }
        }
        Content::Ignored => {}
    }
    Ok(None)
}

/// Copies from `input` until `bytes` is full; returns how many bytes it has.
fn fill(bytes: &mut [u8; 8], have: usize, input: &mut &[u8]) -> usize {
    // Nearly always all of it is there.
    if have == 0
        && let Some((whole, rest)) = input.split_first_chunk()
    {
        (*bytes, *input) = (*whole, rest);
        return bytes.len();
    }
    let mut have = have;
    for room in bytes.iter_mut().skip(have) {
        let Some((byte, rest)) = input.split_first() else { break };
        *room = *byte;
        *input = rest;
        have = have.saturating_add(1);
    }
    have
}

/// Splits at most `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (piece, rest) = input.split_at_checked(len).unwrap_or((*input, &[]));
    *input = rest;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::encode_pair;
    use alloc::{format, string::String, vec};
    use proptest::prelude::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        requests_max: 2,
        params: ParamLimits {
            pairs_max: 4,
            bytes_max: 400,
            name_bytes_max: 150,
            value_bytes_max: 300,
        },
    };

    fn record(kind: u8, id: u16, content: &[u8], padding_len: u8) -> Vec<u8> {
        let content_len = u16::try_from(content.len()).unwrap();
        let header = Header { kind, id: RequestId(id), content_len, padding_len };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + usize::from(padding_len), 0xee);
        bytes
    }

    fn begin(id: u16, role: u8, flags: u8) -> Vec<u8> {
        record(1, id, &[0, role, flags, 0, 0, 0, 0, 0], 0)
    }

    fn pairs(list: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in list {
            assert!(encode_pair(&mut bytes, name, value));
        }
        bytes
    }

    /// Events as short lines; the pieces of a body are joined while nothing comes between.
    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut connection = Connection::new(LIMITS);
        let mut lines: Vec<String> = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            loop {
                match connection.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(event)) => push_line(&mut lines, &event),
                    Err(error) => {
                        lines.push(format!("{error}"));
                        return lines;
                    }
                }
            }
            assert!(input.is_empty());
        }
        if connection.is_idle() {
            lines.push("idle".into());
        }
        lines
    }

    fn push_line(lines: &mut Vec<String>, event: &Event<'_>) {
        match event {
            Event::Begin { id, keep_conn } => lines.push(format!("{} begin {keep_conn}", id.0)),
            Event::Params { id, params } => {
                let list: Vec<String> = params
                    .iter()
                    .map(|(n, v)| format!("{}={}", n.escape_ascii(), v.escape_ascii()))
                    .collect();
                lines.push(format!("{} params {}", id.0, list.join(" ")));
            }
            Event::Refused { id, error } => lines.push(format!("{} refused: {error}", id.0)),
            Event::Stdin { id, bytes } => {
                assert!(!bytes.is_empty());
                let start = format!("{} stdin ", id.0);
                match lines.last_mut().filter(|line| line.starts_with(&start)) {
                    Some(line) => line.push_str(&format!("{}", bytes.escape_ascii())),
                    None => lines.push(format!("{start}{}", bytes.escape_ascii())),
                }
            }
            Event::StdinEnd { id } => lines.push(format!("{} end", id.0)),
            Event::Abort { id } => lines.push(format!("{} abort", id.0)),
            Event::UnknownRole { id, role, keep_conn } => {
                lines.push(format!("{} role {role} {keep_conn}", id.0));
            }
            Event::TooMany { id, .. } => lines.push(format!("{} too many", id.0)),
            Event::GetValues(names) => {
                let list: Vec<String> =
                    names.iter().map(|(n, _)| format!("{}", n.escape_ascii())).collect();
                lines.push(format!("values {}", list.join(" ")));
            }
            Event::UnknownType(kind) => lines.push(format!("unknown type {kind}")),
        }
    }

    /// One connection with everything a web server may send: padding, two requests interleaved,
    /// pairs and bodies cut into records, an abort, another role, management records.
    fn busy() -> (Vec<u8>, Vec<String>) {
        let first = pairs(&[(b"A", b"\xff\0"), (b"LONG", &[b'v'; 130])]);
        let (head, tail) = first.split_at(7);
        let bytes = [
            begin(1, 1, 1),
            record(4, 1, head, 3),
            record(9, 0, &pairs(&[(b"FCGI_MAX_CONNS", b""), (b"X", b"")]), 5),
            begin(2, 1, 0xfe),
            record(4, 1, tail, 255),
            record(4, 2, &pairs(&[(b"", b"")]), 0),
            begin(3, 1, 1),
            record(4, 1, b"", 0),
            record(5, 1, b"hello", 3),
            record(4, 2, b"", 8),
            record(5, 2, b"abc", 0),
            record(8, 2, b"data", 4),
            record(5, 1, b"!", 0),
            record(2, 2, b"", 0),
            record(5, 2, b"late", 0),
            record(5, 1, b"", 0),
            begin(4, 3, 1),
            record(4, 4, b"ignored", 0),
            record(77, 0, b"what", 0),
            record(6, 0, b"", 0),
            record(77, 1, b"what", 2),
            record(5, 99, b"nobody", 0),
            record(2, 1, b"", 1),
            record(2, 1, b"", 1),
        ]
        .concat();
        let long = format!("1 params A=\\xff\\x00 LONG={}", "v".repeat(130));
        let want = vec![
            "1 begin true",
            "values FCGI_MAX_CONNS X",
            "2 begin false",
            "3 too many",
            &long,
            "1 stdin hello",
            "2 params =",
            "2 stdin abc",
            "1 stdin !",
            "2 abort",
            "1 end",
            "4 role 3 true",
            "unknown type 77",
            "unknown type 6",
            "1 abort",
        ];
        (bytes, want.into_iter().map(String::from).collect())
    }

    #[test]
    fn a_busy_connection_gives_these_events() {
        let (bytes, want) = busy();
        assert_eq!(lines(&[&bytes]), want);
    }

    #[test]
    fn a_cut_at_any_byte_changes_nothing() {
        let (bytes, want) = busy();
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(lines(&[head, tail]), want, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(lines(&single), want);
    }

    #[test]
    fn no_web_server_sends_this() {
        let ready = [begin(1, 1, 1), record(4, 1, b"", 0)].concat();
        let complete = [&ready[..], &record(5, 1, b"", 0)].concat();
        for (bytes, want) in [
            (vec![2, 1, 0, 1, 0, 8, 0, 0], "protocol version 2 is not 1"),
            (b"GET / HTTP/1.1\r\n".to_vec(), "protocol version 71 is not 1"),
            (record(1, 1, &[0, 1, 1], 0), "BEGIN_REQUEST has 3 bytes of content, not 8"),
            (record(1, 1, &[0; 9], 0), "BEGIN_REQUEST has 9 bytes of content, not 8"),
            ([begin(1, 1, 1), begin(1, 1, 1)].concat(), "request 1 began twice"),
            (begin(0, 1, 1), "a BeginRequest record has request id 0"),
            (record(2, 0, b"", 0), "a AbortRequest record has request id 0"),
            (record(4, 0, b"", 0), "a Params record has request id 0"),
            (record(5, 0, b"", 0), "a Stdin record has request id 0"),
            (record(8, 0, b"", 0), "a Data record has request id 0"),
            (record(9, 7, b"", 0), "a GetValues record has request id 7"),
            (
                [begin(1, 1, 1), record(5, 1, b"x", 0)].concat(),
                "a Stdin record of request 1 is out of order",
            ),
            (
                [&ready[..], &record(4, 1, b"x", 0)].concat(),
                "a Params record of request 1 is out of order",
            ),
            (
                [&complete[..], &record(5, 1, b"x", 0)].concat(),
                "a Stdin record of request 1 is out of order",
            ),
            (record(9, 0, &[65, 0], 0), "GET_VALUES: a parameter name of 65 bytes exceeds 64"),
            (record(9, 0, &[5, 0, b'c'], 0), "GET_VALUES: the parameters end inside a pair"),
        ] {
            assert_eq!(lines(&[&bytes]).last().map(String::as_str), Some(want));
        }
    }

    #[test]
    fn parameters_beyond_their_limits_refuse_one_request_only() {
        for (content, why) in [
            (vec![0; 10], "more than 4 parameters"),
            (vec![0xff; 4], "a parameter name of 2147483647 bytes exceeds 150"),
            (vec![0, 0xff, 0xff, 0xff, 0xff], "a parameter value of 2147483647 bytes exceeds 300"),
            (vec![0x80, 0, 0, 151], "a parameter name of 151 bytes exceeds 150"),
            (vec![0, 0x80, 0, 1, 45], "a parameter value of 301 bytes exceeds 300"),
            (pairs(&[(b"", &[b'v'; 300]), (b"", &[b'v'; 100])]), "parameters exceed 400 bytes"),
            (vec![5, 5, b'c', b'u', b't'], "the parameters end inside a pair"),
        ] {
            let bytes = [
                begin(1, 1, 1),
                begin(2, 1, 1),
                record(4, 1, &content, 0),
                record(4, 1, b"", 0),
                record(4, 1, b"more", 0),
                record(5, 1, b"body", 0),
                record(2, 1, b"", 0),
                record(4, 2, &pairs(&[(b"A", b"1")]), 0),
                record(4, 2, b"", 0),
            ]
            .concat();
            let refused = format!("1 refused: {why}");
            let want = ["1 begin true", "2 begin true", &refused, "2 params A=1"];
            assert_eq!(lines(&[&bytes]), want);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(lines(&single), want);
        }
    }

    #[test]
    fn a_finished_request_is_forgotten_and_its_number_is_free() {
        let mut connection = Connection::new(LIMITS);
        let start = [begin(1, 1, 1), record(4, 1, b"", 0), record(5, 1, b"abcdef", 2)].concat();
        let mut input = &start[..start.len() - 5];
        for _ in 0..3 {
            assert!(connection.next(&mut input).unwrap().is_some());
        }
        assert_eq!(connection.next(&mut input), Ok(None));
        assert!(!connection.is_idle());
        connection.finish(RequestId(1));
        assert!(!connection.is_idle(), "inside a record");
        let rest = [&start[start.len() - 5..], &record(5, 1, b"", 0)].concat();
        assert_eq!(connection.next(&mut &rest[..]), Ok(None));
        assert!(connection.is_idle());
        let again = begin(1, 1, 0);
        let id = RequestId(1);
        let event = Event::Begin { id, keep_conn: false };
        assert_eq!(connection.next(&mut &again[..]), Ok(Some(event)));
    }

    #[test]
    fn an_idle_connection_says_so() {
        assert_eq!(lines(&[]), ["idle"]);
        assert_eq!(lines(&[&[1]]), [""; 0]);
        assert_eq!(lines(&[&record(9, 0, b"", 7)]), ["values ", "idle"]);
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let content = proptest::collection::vec(any::<u8>(), 0..60);
        let one = (0u8..12, 0u16..4, content, 0u8..9, any::<bool>());
        proptest::collection::vec(one, 0..24).prop_map(|list| {
            let mut all = Vec::new();
            for (kind, id, content, padding, plain) in list {
                match (plain, kind) {
                    (true, 0..4) => all.extend(begin(id, 1, kind)),
                    (true, 4..6) => all.extend(record(4, id, b"", padding)),
                    _ => all.extend(record(kind, id, &content, padding)),
                }
            }
            all
        })
    }

    fn held(connection: &Connection) -> usize {
        connection.active.len()
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_or_an_error(
            bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..800), hostile()],
            cut in 0usize..800,
        ) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut connection = Connection::new(LIMITS);
            for mut piece in [head, tail] {
                while let Ok(Some(_)) = connection.next(&mut piece) {
                    prop_assert!(held(&connection) <= LIMITS.requests_max);
                }
            }
            prop_assert_eq!(lines(&[&bytes]), lines(&[head, tail]));
        }
    }
}
