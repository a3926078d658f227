//! Every codec against the recorded bytes of the reference, in both directions.
//!
//! One table says how each body is read and written back; four properties are checked over it:
//! recorded bytes come back unchanged, no cut body passes for a whole one, damaged and arbitrary
//! bytes never panic, and what was read means the same when it is written and read again.
//! `SEED=<number>` repeats a run; the seed is printed first.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "support/codecs.rs"]
mod codecs;

use std::path::Path;

use proptest::prelude::{Strategy, any};
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proto::header::Header;
use proto::status::Status;

use codecs::{Side, rewrite};

/// One recorded message. Answers carry the command of their request.
#[derive(Clone, Debug)]
struct Message {
    name: String,
    cmd: u8,
    side: Side,
    header: Header,
    body: Vec<u8>,
    /// The status with which the reference answered.
    status: Status,
}

/// Recorded bodies that are legal and yet come back changed, with the reason.
const NORMALISED: &[(&str, Side, &str)] = &[
    ("storage_cluster_stat_active", Side::Request, "fills fields that its bits leave unused"),
    ("storage_cluster_stat", Side::Answer, "bytes behind terminators"),
    ("storage_cluster_stat_active", Side::Answer, "bytes behind terminators"),
    ("tracker_cluster_stat", Side::Answer, "bytes behind terminators"),
    ("get_metadata_after_bad", Side::Answer, "a record without a separator is dropped"),
    ("tracker_cluster_stat_active", Side::Answer, "bytes behind terminators"),
    ("volumn_stat", Side::Answer, "bytes behind terminators"),
];

/// Whether a body cut to `len` bytes may be whole as well: it ends with a text, or it is a list.
/// All others are refused when a single byte is missing.
fn may_end_at(cmd: u8, side: Side, len: usize) -> bool {
    /// A front of fixed length, then records of one of these lengths.
    fn records(len: usize, front: usize, widths: &[usize]) -> bool {
        len.checked_sub(front).is_some_and(|rest| widths.iter().any(|w| rest % w == 0))
    }
    match (side, cmd) {
        (Side::Request, 12 | 15 | 22) => 17 <= len, // names from here on
        (Side::Request, 14) => 33 <= len,
        (Side::Request, 38) => 1 <= len,
        (Side::Request, 102 | 103 | 105) => 38 <= len,
        (Side::Answer, 11 | 21 | 23 | 38) => 17 <= len,
        (Side::Answer, 15) => true,
        (Side::Answer, 65) => records(len, 0, &[32]), // groups
        (Side::Request, 66 | 67) => 9 <= len,         // `1.2.3.4:5`
        (Side::Answer, 70) => 1 <= len,               // an id
        (Side::Answer, 79) => len == 0,
        (Side::Request, 85) => 67 <= len && records(len, 0, &[67]), // briefs
        (Side::Request, 70 | 71) => 28 <= len,                      // group and `10.77.0.11:2`
        (Side::Request, 92) => 16 <= len,                           // an id may follow the group
        (Side::Request, 77 | 83 | 86) => len == 0,                  // what they say may be missing
        (Side::Request, 84) => records(len, 0, &[16]),              // store paths
        (Side::Request, 89) => records(len, 0, &[20]),              // peers
        (Side::Answer, 83 | 84 | 89) => len == 0 || records(len, 1, &[67]), // briefs
        (Side::Answer, 90 | 91) => records(len, 0, &[113]),         // groups
        (Side::Answer, 92) => records(len, 0, &[487, 517]),         // storages
        (Side::Answer, 106 | 107) => records(len, 17, &[23, 53]),   // servers
        _ => false,
    }
}

fn golden() -> Vec<Message> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let mut files: Vec<_> =
        std::fs::read_dir(&dir).expect("golden").map(|e| e.expect("golden").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let texts = files.iter().map(|path| std::fs::read_to_string(path).expect("text"));
    texts.flat_map(|text| text.split("\n\n").flat_map(messages).collect::<Vec<_>>()).collect()
}

/// The request and the answer of one entry: a title, `>` lines and `<` lines of hex.
fn messages(entry: &str) -> Vec<Message> {
    let Some((header, body)) = frame(entry, '>') else { return Vec::new() };
    let title = entry.lines().rfind(|line| line.starts_with("# ")).unwrap();
    let name = title.trim_start_matches("# ").split(':').next().unwrap().to_owned();
    let answered = frame(entry, '<');
    let status = answered.as_ref().map_or(Status::OK, |(header, _)| header.status);
    let message = |side, header, body| Message {
        name: name.clone(),
        cmd: header_cmd(entry),
        side,
        header,
        body,
        status,
    };
    let request = message(Side::Request, header, body);
    let answer = answered.map(|(header, body)| message(Side::Answer, header, body));
    [request].into_iter().chain(answer).collect()
}

fn header_cmd(entry: &str) -> u8 {
    frame(entry, '>').unwrap().0.cmd
}

fn frame(entry: &str, side: char) -> Option<(Header, Vec<u8>)> {
    let hex: String =
        entry.lines().filter_map(|line| line.strip_prefix(side)).map(str::trim).collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the file holds hex"))
        .collect();
    let (head, body) = bytes.split_first_chunk()?;
    // The body may be cut where the recording was; a second frame behind it is another story.
    let header = Header::decode(head).expect("recorded headers are legal");
    assert_eq!(header.to_bytes(), *head);
    Some((header, body.to_vec()))
}

/// The recorded messages that are whole, legal, and have a codec.
fn legal() -> Vec<Message> {
    let whole = |m: &Message| m.header.body_len == m.body.len() as u64 && m.status.is_ok();
    let coded = |m: &Message| rewrite(m.cmd, m.side, &m.body).is_some();
    golden().into_iter().filter(|m| whole(m) && coded(m)).collect()
}

#[test]
fn recorded_bodies_come_back_unchanged() {
    let mut seen = 0;
    for Message { name, cmd, side, body, .. } in legal() {
        let normalised = NORMALISED.iter().any(|(n, s, _)| (*n, *s) == (name.as_str(), side));
        let again = rewrite(cmd, side, &body).unwrap();
        if normalised {
            let settled = again.expect("it is legal");
            assert_ne!(settled, body, "{name} {side:?} is no exception any more");
            assert_eq!(rewrite(cmd, side, &settled), Some(Ok(settled)), "{name} {side:?}");
        } else {
            assert_eq!(again.as_ref(), Ok(&body), "{name} {side:?}");
        }
        seen += 1;
    }
    assert!(180 < seen, "only {seen} bodies were checked");
}

#[test]
fn no_cut_body_passes_for_a_whole_one() {
    for Message { name, cmd, side, body, .. } in legal() {
        for cut in 0..body.len() {
            let prefix = &body[..cut];
            let Some(Ok(again)) = rewrite(cmd, side, prefix) else { continue };
            let whole = may_end_at(cmd, side, cut);
            assert!(whole, "{name} {side:?} of command {cmd}: accepted {cut} of {}", body.len());
            assert_eq!(rewrite(cmd, side, &again), Some(Ok(again.clone())), "{name} {cut}");
        }
    }
}

/// A runner whose seed is in the environment or, printed, in the output.
fn runner() -> TestRunner {
    let seed: u64 = match std::env::var("SEED") {
        Ok(text) => text.parse().expect("SEED is a number"),
        Err(_) => std::process::id().into(),
    };
    println!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let config = Config { cases: 4096, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Reads whatever it is; what is accepted must mean the same when written and read again.
fn settles(cmd: u8, side: Side, body: &[u8]) {
    if let Some(Ok(once)) = rewrite(cmd, side, body) {
        assert_eq!(rewrite(cmd, side, &once), Some(Ok(once.clone())), "{side:?} of {cmd}");
    }
}

#[test]
fn damaged_messages_never_panic_and_settle() {
    let messages = legal();
    let damage = (any::<Index>(), proptest::collection::vec((any::<Index>(), any::<u8>()), 1..8));
    runner()
        .run(&damage, |(which, hits)| {
            let Message { cmd, side, mut body, .. } = which.get(&messages).clone();
            for (at, byte) in hits {
                if let Some(slot) = (!body.is_empty()).then(|| at.get_mut(&mut body[..])) {
                    *slot = byte;
                }
            }
            settles(cmd, side, &body);
            Ok(())
        })
        .unwrap();
}

#[test]
fn arbitrary_bytes_never_panic_and_settle() {
    let side = any::<bool>().prop_map(|b| if b { Side::Request } else { Side::Answer });
    let bytes = proptest::collection::vec(any::<u8>(), 0..600);
    runner()
        .run(&(0..=120u8, side, bytes, any::<[u8; 10]>()), |(cmd, side, body, head)| {
            settles(cmd, side, &body);
            if let Ok(header) = Header::decode(&head) {
                assert_eq!(header.to_bytes(), head);
            }
            Ok(())
        })
        .unwrap();
}

/// Every function of `proto` that decodes a body, as `Type::decode` or by its own name.
fn decoders() -> Vec<String> {
    let mut found = Vec::new();
    for family in ["tracker", "storage"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto").join(family);
        for entry in std::fs::read_dir(&dir).expect("proto") {
            let text = std::fs::read_to_string(entry.expect("proto").path()).expect("text");
            let mut of = "";
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("impl") {
                    let rest = rest.trim_start_matches("<'a>").trim();
                    of = rest.split(['<', ' ']).next().unwrap();
                }
                let Some((_, rest)) = line.split_once("pub fn decode") else { continue };
                let name = format!("decode{}", rest.split(['(', '<']).next().unwrap());
                let method = line.starts_with(' ');
                found.push(if method { format!("{of}::{name}") } else { name });
            }
        }
    }
    found
}

/// Bodies between storages, whose tests stand beside them in `proto::storage`.
const ELSEWHERE: &[&str] = &[
    "ReportId::",
    "SyncFile::",
    "SyncPart::",
    "SyncTruncate::",
    "SyncDelete::",
    "SyncNames::",
    "FetchPathBinlog::",
];

#[test]
fn every_codec_is_in_the_table() {
    let table = include_str!("support/codecs.rs");
    let all = decoders();
    assert!(30 < all.len(), "the sources of proto were not read: {all:?}");
    for decoder in all {
        // `Head::decode` of a head before content stands in the table as `head_again!(…, Head)`.
        let head =
            decoder.strip_suffix("::decode").map(|name| format!("head_again!(body, {name})"));
        if ELSEWHERE.iter().any(|name| decoder.starts_with(name)) {
            continue;
        }
        let known = table.contains(&decoder) || head.is_some_and(|head| table.contains(&head));
        assert!(known, "{decoder} is missing in tests/support/codecs.rs: no property tests it");
    }
}
