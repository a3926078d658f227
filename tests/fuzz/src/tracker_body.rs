//! A request to a tracker: the command in the first byte, then the body.

use crate::codecs::{Side, settles};

pub fn run(data: &[u8]) {
    let Some((cmd, body)) = data.split_first() else { return };
    if (41..=120).contains(cmd) {
        settles(*cmd, Side::Request, body);
    }
}
