//! The table of `tests/protocol.rs`, and the property that every entry of it has.

#[path = "../../support/codecs.rs"]
mod table;

pub(crate) use table::{Side, rewrite};

/// Reads whatever it is; what is accepted must mean the same when written and read again.
pub(crate) fn settles(cmd: u8, side: Side, body: &[u8]) {
    if let Some(Ok(once)) = rewrite(cmd, side, body) {
        assert_eq!(rewrite(cmd, side, &once), Some(Ok(once.clone())), "{side:?} of {cmd}");
    }
}
