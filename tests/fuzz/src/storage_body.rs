//! A request to a storage: the command in the first byte, then the body.

use crate::codecs::{Side, settles};

pub fn run(data: &[u8]) {
    let Some((cmd, body)) = data.split_first() else { return };
    if *cmd <= 40 || *cmd == 120 {
        settles(*cmd, Side::Request, body);
    }
}
