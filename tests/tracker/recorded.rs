//! The recorded exchanges of the reference, moved to loopback and to the present.

use std::time::SystemTime;

/// One exchange as recorded, and how long its answer really was.
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) request: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

const CLIENT: &str = include_str!("../data/golden/tracker_client_cmds.hex");

/// All client commands in the order in which they were sent.
pub(crate) fn client_commands() -> Vec<Exchange> {
    let entries = CLIENT.split("\n\n").filter(|entry| entry.contains("\n>"));
    entries.map(exchange).collect()
}

fn exchange(entry: &str) -> Exchange {
    let name = entry.trim_start().trim_start_matches("# ").split(':').next().unwrap().to_owned();
    let bytes = |sign| {
        let lines = entry.lines().filter_map(|line| line.strip_prefix(sign)).map(str::trim);
        to_loopback(&unhex(&lines.collect::<String>()))
    };
    Exchange { name, request: to_present(bytes('>')), answer: bytes('<') }
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The machines of the recording as addresses of this one; the texts have the same length.
fn to_loopback(bytes: &[u8]) -> Vec<u8> {
    let (from, to) = (b"10.77.0.", b"127.7.0.");
    let mut out = bytes.to_vec();
    for at in 0..out.len().saturating_sub(from.len()) {
        if out[at..].starts_with(from) {
            out[at..at + to.len()].copy_from_slice(to);
        }
    }
    out
}

/// File names of the recording say that the files were new then; now they are new today, and
/// the one of 10.77.0.11 came from its loopback address.
fn to_present(mut request: Vec<u8>) -> Vec<u8> {
    let Some(at) = request.windows(10).position(|part| part == b"M00/00/00/") else {
        return request;
    };
    let encoded = request.get(at + 10..at + 37);
    let Some(mut bytes) = encoded.and_then(proto::base64::decode::<20>) else { return request };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    if bytes[..4] == [10, 77, 0, 11] {
        bytes[..4].copy_from_slice(&[127, 7, 0, 11]);
    }
    bytes[4..8].copy_from_slice(&u32::try_from(now).unwrap().to_be_bytes());
    let encoded = proto::base64::encode(&bytes);
    request[at + 10..at + 37].copy_from_slice(encoded.as_bytes());
    request
}
