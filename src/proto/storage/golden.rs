//! For tests: the recorded requests and answers of a storage, by name.

use std::vec::Vec;

use crate::header::Header;

const BETWEEN: &str = include_str!("../../../tests/data/golden/storage_storage_cmds.hex");
const RECORDED: &str = include_str!("../../../tests/data/golden/storage_client_cmds.hex");

/// Header and body of the request recorded as `name`.
pub(super) fn request(name: &str) -> (Header, Vec<u8>) {
    message(name, '>')
}

/// Header and body of the answer to it.
pub(super) fn answer(name: &str) -> (Header, Vec<u8>) {
    message(name, '<')
}

fn message(name: &str, direction: char) -> (Header, Vec<u8>) {
    let title = std::format!("# {name}:");
    let entry = RECORDED.lines().skip_while(|line| !line.starts_with(&title));
    let lines = entry.skip(1).take_while(|line| !line.is_empty());
    let hex: std::string::String =
        lines.filter_map(|line| line.strip_prefix(direction)).map(str::trim).collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the file holds hex"))
        .collect();
    let (head, body) = bytes.split_first_chunk().expect("the name is recorded");
    (Header::decode(head).expect("recorded headers are legal"), body.to_vec())
}

/// Header and body, as far as it was kept, of everything that storages sent each other.
pub(super) fn between_storages() -> Vec<(Header, Vec<u8>)> {
    let mut all: Vec<std::string::String> = Vec::new();
    for line in BETWEEN.lines() {
        match line.split_once(' ') {
            Some(("#", rest)) if rest.starts_with("cmd") => all.push(std::string::String::new()),
            Some((">", hex)) => all.last_mut().expect("a name stands first").push_str(hex),
            _ => {}
        }
    }
    let parse = |hex: std::string::String| {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the file holds hex"))
            .collect();
        let (head, body) = bytes.split_first_chunk().expect("a header was recorded");
        (Header::decode(head).expect("recorded headers are legal"), body.to_vec())
    };
    all.into_iter().map(parse).collect()
}
