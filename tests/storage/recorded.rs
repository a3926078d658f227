//! The conversations recorded from the reference, replayed against our storage.
//!
//! Answers must be equal byte for byte, except for what a name may differ in: time, random
//! bits and digits. The differences we want are listed with their reason.

use std::{collections::BTreeMap, fs};

use proto::fileid::FileName;

use super::cluster::*;

const RECORDED: &str = include_str!("../data/golden/storage_client_cmds.hex");

/// Commands that are not there yet.
const NOT_YET: &[u8] = &[20, 26, 27, 31, 32];

/// Where ours is better on purpose: name, and the status we answer with.
const BETTER: &[(&str, u8)] = &[
    // Empty files can be downloaded (storage.md 3.8).
    ("download_empty_file", 0),
    // A change of nothing does not echo the request (storage.md 3.3, 3.5).
    ("append_empty", 0),
    ("truncate_same", 0),
    // A list without any pair is no metadata (storage.md 3.9).
    ("get_metadata_after_bad", 2),
];

struct Exchange {
    name: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

fn exchanges() -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    for line in RECORDED.lines() {
        if let Some((name, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(": ")) {
            let name = name.to_owned();
            all.push(Exchange { name, request: Vec::new(), answer: Vec::new() });
        } else if let (Some(last), Some((way, hex))) = (all.last_mut(), line.split_once(' ')) {
            let bytes = (0..hex.len() / 2).map(|i| {
                u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("the file holds hex")
            });
            match way {
                ">" => last.request.extend(bytes),
                "<" => last.answer.extend(bytes),
                _ => {}
            }
        }
    }
    // Entries of several requests are about pipelining, which we do better.
    let one = |e: &Exchange| u64::from_be_bytes(e.request[..8].try_into().unwrap()) + 10;
    all.retain(|e| !e.answer.is_empty() && one(e) == e.request.len() as u64);
    all
}

/// Names that the recording uses, found in its requests.
fn name_in(request: &[u8]) -> Option<String> {
    let at = request.windows(4).position(|w| w.starts_with(b"M00/"))?;
    let rest = &request[at..];
    let end = rest.iter().position(|b| !b.is_ascii_graphic()).unwrap_or(rest.len());
    Some(String::from_utf8_lossy(&rest[..end.min(44)]).into_owned())
}

/// The parts of an uploaded file's name that must be equal.
fn fixed_parts(answer: &[u8]) -> (Vec<u8>, String, u64, u32, String) {
    let text = std::str::from_utf8(&answer[26..]).unwrap();
    let name = FileName::parse(text, 256).unwrap();
    let record = name.record().unwrap();
    let tail = &text[37..];
    let tail = if let Some(dot) = tail.find('.') { &tail[dot..] } else { "" };
    let kind = format!("{:?} {:?} {}", name.kind(), record.source, text.len());
    (answer[..26].to_vec(), kind, record.size.size(), record.crc32, tail.to_owned())
}

#[test]
fn answers_are_those_of_the_reference() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let data = dir.0.join("data/00/00");
    fs::create_dir_all(&data).unwrap();
    let all = exchanges();
    // The file that most requests name was uploaded before the recording began.
    let first = all.iter().find(|exchange| exchange.name == "download_whole").unwrap();
    let master = name_in(&first.request).unwrap();
    fs::write(on_disk(&dir.0, &master), &first.answer[10..]).unwrap();
    for (recorded, content) in
        [("download_empty_file", Vec::new()), ("query_file_info_appender", vec![0; 100])]
    {
        let exchange = all.iter().find(|exchange| exchange.name == recorded).unwrap();
        let name = name_in(&exchange.request).unwrap();
        fs::write(on_disk(&dir.0, &name), content).unwrap();
    }
    let storage = Storage::start(&dir.0, &tracker, "check_store_path_mark = false");
    let mut compared = BTreeMap::<u8, usize>::new();
    for Exchange { name, request, answer } in all {
        let command = request[8];
        if NOT_YET.contains(&command) {
            continue;
        }
        let mut client = storage.connect();
        client.send(command, request[9], &request[10..]);
        let (status, body) = client.answer();
        *compared.entry(command).or_default() += 1;
        if let Some((_, ours)) = BETTER.iter().find(|(better, _)| *better == name) {
            assert_eq!((status, body.len()), (*ours, 0), "{name}");
            continue;
        }
        let mut got = (body.len() as u64).to_be_bytes().to_vec();
        got.extend([100, status]);
        got.extend(body);
        if matches!(command, 11 | 23 | 38) && status == 0 {
            assert_eq!(fixed_parts(&got), fixed_parts(&answer), "{name}");
            // Later requests use the name that the reference gave.
            let [ours, theirs] = [&got, &answer].map(|answer| stored(&answer[10..]));
            fs::rename(on_disk(&dir.0, &ours), on_disk(&dir.0, &theirs)).unwrap();
            continue;
        }
        if command == 22 && status == 0 {
            // The time is that of our copy; the sum of the appender is that of its content.
            got[18..26].copy_from_slice(&answer[18..26]);
            if name == "query_file_info_appender" {
                got[26..34].copy_from_slice(&answer[26..34]);
            }
        }
        assert_eq!(got, answer, "{name}");
    }
    let commands: Vec<u8> = compared.into_keys().collect();
    assert_eq!(commands, [9, 11, 12, 13, 14, 15, 21, 22, 23, 24, 34, 36, 38, 101, 111, 200]);
}
