//! An answer, as clients, tools and peers read it: the command in the first byte, then the body.

use crate::codecs::{Side, settles};

pub fn run(data: &[u8]) {
    let Some((cmd, body)) = data.split_first() else { return };
    if *cmd <= 120 {
        settles(*cmd, Side::Answer, body);
    }
}
