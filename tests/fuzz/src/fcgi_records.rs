//! The stream of a web server, whole and in pieces: the same events come out.

use fcgi::{Connection, ConnectionLimits, Event, ParamLimits, ProtocolError};

use crate::pieces::split;

const LIMITS: ConnectionLimits = ConnectionLimits {
    requests_max: 3,
    params: ParamLimits { pairs_max: 16, bytes_max: 512, name_bytes_max: 64, value_bytes_max: 128 },
};

/// The events as text; the pieces of one body are joined, for they depend on the cuts.
fn events(pieces: &[&[u8]]) -> Vec<String> {
    let mut connection = Connection::new(LIMITS);
    let mut seen: Vec<String> = Vec::new();
    let mut body: Option<(u16, Vec<u8>)> = None;
    for piece in pieces {
        let mut input = *piece;
        loop {
            let event = match connection.next(&mut input) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    flush(&mut body, &mut seen);
                    seen.push(match error {
                        // Which limit is found first depends on the cuts.
                        ProtocolError::Values(_) => "values".to_owned(),
                        other => other.to_string(),
                    });
                    return seen;
                }
            };
            if let Event::Stdin { id, bytes } = event {
                assert!(!bytes.is_empty());
                if body.as_ref().is_some_and(|(of, _)| *of != id.0) {
                    flush(&mut body, &mut seen);
                }
                body.get_or_insert((id.0, Vec::new())).1.extend_from_slice(bytes);
                continue;
            }
            flush(&mut body, &mut seen);
            seen.push(match &event {
                Event::Refused { id, .. } => format!("refused {id:?}"),
                other => format!("{other:?}"),
            });
            if let Event::StdinEnd { id } | Event::Abort { id } | Event::Refused { id, .. } = event
            {
                connection.finish(id);
            }
        }
        assert!(input.is_empty(), "all bytes are taken");
    }
    flush(&mut body, &mut seen);
    seen
}

fn flush(body: &mut Option<(u16, Vec<u8>)>, seen: &mut Vec<String>) {
    seen.extend(body.take().map(|(id, bytes)| format!("body of {id}: {bytes:?}")));
}

pub fn run(data: &[u8]) {
    let (pieces, whole) = split(data);
    assert_eq!(events(&[whole]), events(&pieces));
}
