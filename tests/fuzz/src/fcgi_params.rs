//! Parameters, whole and in pieces; what is read can be written and read again.

use fcgi::params::{Decoder, encode_pair};
use fcgi::{ParamLimits, Params, ParamsError};

use crate::pieces::split;

const LIMITS: ParamLimits =
    ParamLimits { pairs_max: 32, bytes_max: 2048, name_bytes_max: 64, value_bytes_max: 1024 };

fn read(pieces: &[&[u8]]) -> Result<Params, ParamsError> {
    let mut decoder = Decoder::new(LIMITS);
    for piece in pieces {
        decoder.push(piece)?;
    }
    decoder.finish()
}

pub fn run(data: &[u8]) {
    let (pieces, whole) = split(data);
    let read_whole = read(&[whole]);
    let in_pieces = read(&pieces);
    // Which limit is found first depends on the cuts; whether one is, does not.
    assert_eq!(read_whole.as_ref().ok(), in_pieces.as_ref().ok());
    let Ok(params) = read_whole else { return };
    let mut out = Vec::new();
    for (name, value) in params.iter() {
        assert!(encode_pair(&mut out, name, value));
        assert!(params.get(name).is_some());
    }
    // The longer form of a short length may have been read, so only the meaning is the same.
    let again = read(&[&out]).map(|again| again.iter().map(owned).collect::<Vec<_>>());
    assert_eq!(again, Ok(params.iter().map(owned).collect()));
}

fn owned((name, value): (&[u8], &[u8])) -> (Vec<u8>, Vec<u8>) {
    (name.to_vec(), value.to_vec())
}
