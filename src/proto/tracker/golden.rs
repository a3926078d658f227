//! Tests: every recorded message of a tracker is read, written back, and refused when it is cut.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use std::string::String as Text;

use super::admin::DeleteStorage;
use super::beat::{Beat, Changes, DiskUsage};
use super::bootstrap::{FetchIds, GetMyIp, IdLines, ServerQuery, decode_id, decode_status};
use super::join::{Join, JoinAnswer, ReportedState};
use super::leader::{SysFilePiece, TrackerStatus};
use super::list::{GroupPort, GroupStat, ListStorage, StorageStat};
use super::query::{FetchTarget, FileQuery, GroupQuery, StoreTarget};
use super::stat::{StorageFilter, StorageLines, TrackerFilter, TrackerStat, VolumeFilter, Volumes};
use super::status::ReportStatus;
use super::sync::{StorageRef, SyncPoint, SyncReport};
use super::{Brief, UnixTime};
use crate::address::IpWidth;
use crate::header::Header;
use crate::status::{Status, StorageState};
use crate::wire::DecodeError;

const CLIENT: &str = include_str!("../../../tests/data/golden/tracker_client_cmds.hex");
const STORAGE: &str = include_str!("../../../tests/data/golden/tracker_storage_cmds.hex");

/// One recorded exchange: headers and bodies.
struct Exchange {
    name: String,
    request: (Header, Vec<u8>),
    answer: Option<(Header, Vec<u8>)>,
}

fn exchanges() -> Vec<Exchange> {
    let entries = CLIENT.split("\n\n").chain(STORAGE.split("\n\n"));
    entries.filter(|entry| entry.contains("\n>")).map(exchange).collect()
}

fn exchange(entry: &str) -> Exchange {
    let name = entry.trim_start().trim_start_matches("# ").split(':').next().unwrap().to_string();
    let request = message(entry, '>').expect("every entry has a request");
    Exchange { name, request, answer: message(entry, '<') }
}

fn message(entry: &str, direction: char) -> Option<(Header, Vec<u8>)> {
    let hex: Text =
        entry.lines().filter_map(|l| l.strip_prefix(direction)).map(str::trim).collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the file holds hex"))
        .collect();
    let (head, body) = bytes.split_first_chunk()?;
    Some((Header::decode(head).expect("recorded headers are legal"), body.to_vec()))
}

/// The bodies of the exchange recorded as `name`.
fn recorded(name: &str) -> (Vec<u8>, Vec<u8>) {
    let found = exchanges().into_iter().find(|e| e.name == name).expect(name);
    (found.request.1, found.answer.map(|(_, body)| body).unwrap_or_default())
}

/// What a body becomes when it is read and written back.
fn rewrite_request(cmd: u8, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    match cmd {
        60 => GetMyIp::decode(body)?.encode(&mut out),
        63 => SysFilePiece::decode(body)?.encode(&mut out),
        69 => FetchIds::decode(body)?.encode(&mut out),
        70 | 71 => ServerQuery::decode(body)?.encode(&mut out),
        76 => ReportStatus::decode(body)?.encode(&mut out),
        77 | 86 if !body.is_empty() => StorageRef::decode(body)?.encode(&mut out),
        81 => Join::decode(body)?.encode(&mut out),
        83 => Beat::decode(body)?.encode(&mut out),
        84 => DiskUsage::decode(body)?.encode(&mut out),
        88 => SyncPoint::decode(body)?.encode(&mut out),
        89 => SyncReport::decode(body)?.encode(&mut out),
        92 | 94 => ListStorage::decode(body)?.encode(&mut out),
        93 => DeleteStorage::decode(body)?.encode(&mut out),
        96 => TrackerFilter::decode(body)?.encode(&mut out),
        97 => StorageFilter::decode(body)?.encode(&mut out),
        98 => VolumeFilter::decode(body)?.encode(&mut out),
        90 | 104 | 107 | 108 => GroupQuery::decode(body)?.encode(&mut out),
        102 | 103 | 105 => FileQuery::decode(body)?.encode(&mut out),
        _ => out.extend_from_slice(body),
    }
    Ok(out)
}

fn rewrite_answer(cmd: u8, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let width = IpWidth::V4;
    match cmd {
        64 => TrackerStatus::decode(body)?.encode(&mut out),
        69 => IdLines::decode(body)?.encode(&mut out),
        70 => out.extend_from_slice(decode_id(body)?.as_str().as_bytes()),
        71 => decode_status(body)?.encode(&mut out),
        81 => JoinAnswer::decode(body)?.encode(&mut out),
        83 | 84 | 89 => Changes::decode(body)?.encode(&mut out),
        86 | 87 => {
            if let Some(point) = SyncPoint::decode_optional(body)? {
                point.encode(&mut out);
            }
        }
        90 | 91 => GroupStat::decode_all(body)?.iter().for_each(|g| g.encode(&mut out)),
        92 => StorageStat::decode_all(body)?.iter().for_each(|s| s.encode(width, &mut out)),
        101 | 104 | 106 | 107 => StoreTarget::decode(body)?.encode(width, &mut out),
        102 | 103 | 105 => FetchTarget::decode(body)?.encode(width, &mut out),
        _ => out.extend_from_slice(body),
    }
    Ok(out)
}

#[test]
fn every_recorded_message_is_read_and_written_back_unchanged() {
    let mut checked = 0;
    for Exchange { name, request, answer } in exchanges() {
        let (head, body) = request;
        // It fills fields that its filter bits leave unused, and those are not kept.
        if name == "storage_cluster_stat_active" {
            continue;
        }
        let refused = answer.as_ref().is_some_and(|(head, _)| head.status == Status::EINVAL);
        if !refused && head.body_len == body.len() as u64 {
            assert_eq!(rewrite_request(head.cmd, &body).as_ref(), Ok(&body), "request {name}");
            checked += 1;
        }
        let Some((answer_head, answer)) = answer else { continue };
        // Bodies above the limit of the recording are cut there.
        let whole = answer_head.body_len == answer.len() as u64;
        if answer_head.status.is_ok() && whole {
            assert_eq!(rewrite_answer(head.cmd, &answer).as_ref(), Ok(&answer), "answer {name}");
            checked += 1;
        }
    }
    assert!(180 < checked, "only {checked} bodies were checked");
}

#[test]
fn what_the_reference_refused_as_malformed_is_not_decoded() {
    // Refused for another reason than its form: a number nobody knows, or an empty body.
    let accepted = ["unknown_cmd_200", "unknown_cmd_0", "storage_cmd_11_at_tracker"];
    let mut seen = 0;
    for Exchange { name, request: (head, body), answer } in exchanges() {
        let malformed = answer.is_some_and(|(head, _)| head.status == Status::EINVAL);
        let without_body = matches!(head.cmd, 91 | 101 | 111);
        if malformed && !without_body && !accepted.contains(&name.as_str()) {
            // An index that no file has is refused by the tracker, not by the codec.
            let legal_form = name == "get_one_sys_file_9";
            assert_eq!(rewrite_request(head.cmd, &body).is_ok(), legal_form, "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn no_prefix_of_a_fixed_body_is_accepted() {
    let fixed = [60, 63, 69, 76, 81, 86, 88, 90, 96, 97, 98, 104, 107, 108];
    for Exchange { name, request: (head, body), .. } in exchanges() {
        if fixed.contains(&head.cmd) && rewrite_request(head.cmd, &body).is_ok() {
            for cut in 0..body.len() {
                let got = rewrite_request(head.cmd, &body[..cut]);
                assert!(got.is_err() || head.cmd == 86 && cut == 0, "{name}: {cut} bytes");
            }
        }
    }
}

#[test]
fn a_join_says_who_joins() {
    let join = Join::decode(&recorded("cmd81_12_8").0).unwrap();
    assert_eq!(join.group.as_str(), "group1");
    assert_eq!((join.port, join.path_count, join.subdir_count), (23000, 1, 256));
    assert_eq!(join.version.as_str(), "6.16.1");
    assert!(join.init);
    assert_eq!(join.state, ReportedState::Known(StorageState::Init));
    assert_eq!(join.id, None);
    assert_eq!(join.trackers.len(), 1);
    assert_eq!(join.trackers[0].addresses.to_string(), "10.77.0.1");
    assert_eq!(join.trackers[0].port, 22122);
}

#[test]
fn tracker_lists_are_read_in_all_their_forms() {
    let mut join = Join::decode(&recorded("cmd81_12_8").0).unwrap();
    join.trackers.clear();
    let mut front = Vec::new();
    join.encode(&mut front);
    let table: [(&str, Option<&str>); 11] = [
        ("10.0.0.1:22122\n", Some("10.0.0.1:22122")),
        ("10.0.0.1\n", Some("10.0.0.1:22122")),
        ("10.0.0.1,88.1.2.30:123\n", Some("10.0.0.1,88.1.2.30:123")),
        ("88.1.2.30,10.0.0.1:123\n", Some("10.0.0.1,88.1.2.30:123")),
        ("[fd00::12]:5\n", Some("[fd00::12]:5")),
        ("[10.0.0.1,2001:db8::1]:5\n", Some("[10.0.0.1,2001:db8::1]:5")),
        ("[fd00::12]\n", Some("[fd00::12]:22122")),
        ("10.0.0.1:22122\nignored", Some("10.0.0.1:22122")),
        ("10.0.0.1:22122", None),
        ("tracker.example:22122\n", None),
        ("10.0.0.1:0\n", None),
    ];
    for (line, want) in table {
        let mut body = front.clone();
        let count_at = body.len() - 1;
        body[count_at] = 1;
        body.extend_from_slice(line.as_bytes());
        let got = Join::decode(&body).ok().map(|j| {
            let host = &j.trackers[0];
            host.addresses.with_port(host.port)
        });
        assert_eq!(got.as_deref(), want, "{line:?}");
    }
    assert!(Join::decode(&front).is_err(), "a storage knows at least one tracker");
}

#[test]
fn counts_of_a_join_are_held_to_their_range() {
    let whole = recorded("cmd81_12_8").0;
    // Offset of an 8-byte number, and values that it may not have.
    let table: [(usize, &[i64]); 4] =
        [(17, &[0, -1, 65536]), (25, &[0, -1, 257]), (33, &[0, -1, 257]), (137, &[0, -1, 17])];
    for (at, values) in table {
        for value in values {
            let mut body = whole.clone();
            body[at..at + 8].copy_from_slice(&value.to_be_bytes());
            assert!(Join::decode(&body).is_err(), "{value} at {at}");
        }
    }
    let mut long = whole.clone();
    long.resize(145 + 101, b'x');
    assert!(Join::decode(&long).is_err(), "more than 100 bytes a tracker");
}

#[test]
fn a_heartbeat_answer_says_what_changed() {
    let changes = Changes::decode(&recorded("cmd83_12_27").1).unwrap();
    let leader = changes.leader.unwrap();
    assert_eq!(leader.address.unwrap().to_string(), "10.77.0.1");
    assert_eq!((leader.port, leader.state), (22122, StorageState::Init));
    let ids: Vec<String> =
        changes.group.unwrap().iter().map(|b| b.id.unwrap().to_string()).collect();
    assert_eq!(ids, ["10.77.0.11", "10.77.0.12"]);
    assert_eq!(changes.trunk, None);
    assert_eq!(Changes::decode(&[]), Ok(Changes::default()));

    let nobody = Changes { leader: Some(Brief::NOBODY), ..Changes::default() };
    let mut bytes = Vec::new();
    nobody.encode(&mut bytes);
    assert_eq!(bytes.len(), 1 + Brief::LEN);
    assert_eq!(Changes::decode(&bytes), Ok(nobody));
    bytes.push(0);
    assert!(Changes::decode(&bytes).is_err(), "more than the flags announce");
}

#[test]
fn statistics_keep_their_order() {
    let beat = Beat::decode(&recorded("cmd83_12_63").0).unwrap();
    let statistics = beat.statistics.unwrap();
    assert_eq!(statistics.connections.allocated, 64);
    assert_eq!(statistics.upload.total, statistics.upload.success);
    let storage = &StorageStat::decode_all(&recorded("list_storages_g2").1).unwrap()[0];
    assert_eq!(storage.id.as_str(), "10.77.0.13");
    assert_eq!(storage.state, StorageState::Active);
    assert_eq!(storage.statistics.last_heartbeat, UnixTime(0x6b03_6575));
    assert_eq!(storage.statistics.upload.success, 1);
}

#[test]
fn lists_hold_what_was_recorded() {
    let groups = GroupStat::decode_all(&recorded("list_all_groups").1).unwrap();
    let names: Vec<&str> = groups.iter().map(|g| g.group.as_str()).collect();
    assert_eq!(names, ["group1", "group2"]);
    assert_eq!(groups[0].port, GroupPort::One(23000));
    assert_eq!(groups[0].trunk_file_id, -1);

    // Unused bytes of these three are not zero in the recording, so they are only read.
    let lines = StorageLines::decode(&recorded("storage_cluster_stat").1).unwrap();
    assert_eq!(lines.lines[2].host, "10.77.0.13:23000");
    let trackers = TrackerStat::decode_all(&recorded("tracker_cluster_stat").1).unwrap();
    assert_eq!(trackers[0].host, "10.77.0.1:22122");
    assert!(trackers[0].is_leader && trackers[0].is_active);
    let volumes = Volumes::decode(&recorded("volumn_stat").1).unwrap();
    assert_eq!(volumes.volumes[1].group.as_str(), "group2");
    assert_eq!(volumes.volumes[1].available.0, 0x10aed);
}

#[test]
fn the_width_of_addresses_is_inferred_from_the_length() {
    let group = crate::ids::GroupName::parse("g").unwrap();
    let server = |text: &str| super::query::Endpoint { address: text.parse().unwrap(), port: 1 };
    for (width, servers) in [
        (IpWidth::V4, alloc::vec![server("10.0.0.1"), server("10.0.0.2")]),
        (IpWidth::V6, alloc::vec![server("fd00::1")]),
        (IpWidth::V6, alloc::vec![server("fd00::1"), server("10.0.0.2")]),
    ] {
        let target = FetchTarget { group, servers };
        let mut out = Vec::new();
        target.encode(width, &mut out);
        assert_eq!(FetchTarget::decode(&out), Ok(target));
        assert!(FetchTarget::decode(&out[..out.len() - 1]).is_err());
    }
    assert!(FetchTarget::decode(&[b'g'; 16]).is_err(), "a list without a server");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(cmd: u8, body: Vec<u8>) {
        let _ = rewrite_request(cmd, &body);
        let _ = rewrite_answer(cmd, &body);
        let _ = StorageLines::decode(&body);
        let _ = Volumes::decode(&body);
        let _ = TrackerStat::decode_all(&body);
    }
}
