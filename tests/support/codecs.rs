//! Every codec of the wire: how a body is read and written back, by side and command.
//!
//! Used by `tests/protocol.rs` and by the fuzz targets of `tests/fuzz`. Knows no bytes of its
//! own; `tests/protocol.rs` finds a codec that is missing here.

use proto::address::IpWidth;
use proto::metadata::Metadata;
use proto::storage::append::{Append, Modify, Regenerate, Truncate};
use proto::storage::delete::FileName;
use proto::storage::download::Download;
use proto::storage::info::FileInfo;
use proto::storage::inventory::{Digest, Entries, Inventory};
use proto::storage::metadata::SetMetadata;
use proto::storage::upload::{Stored, Upload, UploadSlave};
use proto::tracker::admin::DeleteStorage;
use proto::tracker::beat::{Beat, Changes, DiskUsage};
use proto::tracker::bootstrap::{FetchIds, GetGroupName, GetMyIp, IdLines, ServerQuery};
use proto::tracker::bootstrap::{decode_id, decode_status};
use proto::tracker::changelog::IpChanged;
use proto::tracker::join::{Join, JoinAnswer};
use proto::tracker::leader::{JoinLeader, NextLeader, PingLeader};
use proto::tracker::leader::{SysFilePiece, TrackerStatus, TrunkServer};
use proto::tracker::list::{GroupStat, ListStorage, StorageStat};
use proto::tracker::query::{FetchTarget, FileQuery, GroupQuery, StoreTarget};
use proto::tracker::stat::{StorageFilter, StorageLines, TrackerFilter, TrackerStat};
use proto::tracker::stat::{VolumeFilter, Volumes};
use proto::tracker::status::{ChangeStatus, ReplicaChange, ReportStatus};
use proto::tracker::sync::{StorageRef, SyncPoint, SyncReport};
use proto::wire::DecodeError;

/// Who wrote a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Answer,
}

/// Reads a whole body and writes it back; none for bodies that have no codec (plain text, the
/// content of files, families that do not exist yet).
pub(crate) fn rewrite(cmd: u8, side: Side, body: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
    match (side, cmd) {
        (Side::Request, ..=40 | 120) => storage_request(cmd, body),
        (Side::Request, _) => tracker_request(cmd, body),
        (Side::Answer, _) => answer(cmd, body),
    }
}

/// Decodes and encodes with the two functions that every body type has.
macro_rules! again {
    ($body:expr, $decode:expr) => {
        $decode($body).map(|value| {
            let mut out = Vec::new();
            value.encode(&mut out);
            out
        })
    };
}

/// The same for a head of which `head_len` knows the length, before content that is kept as it is.
macro_rules! head_again {
    ($body:expr, $kind:ident) => {{
        let fixed = $body.get(..$kind::FIXED_LEN).unwrap_or($body);
        $kind::head_len(fixed).and_then(|len| {
            let (head, content) = $body.split_at_checked(len).unwrap_or(($body, &[]));
            let head = again!(head, |head| $kind::decode(head, $body.len() as u64))?;
            Ok([&head, content].concat())
        })
    }};
}

fn storage_request(cmd: u8, body: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
    Some(match cmd {
        11 | 23 => {
            let (head, content) = body.split_at_checked(Upload::HEAD_LEN).unwrap_or((body, &[]));
            again!(head, |head| Upload::decode(head, body.len() as u64))
                .map(|head| [&head, content].concat())
        }
        12 | 15 | 22 => again!(body, FileName::decode),
        13 => again!(body, SetMetadata::decode),
        14 => again!(body, Download::decode),
        21 => head_again!(body, UploadSlave),
        24 => head_again!(body, Append),
        34 => head_again!(body, Modify),
        36 => again!(body, Truncate::decode),
        38 => again!(body, Regenerate::decode),
        120 => again!(body, Inventory::decode),
        _ => return None,
    })
}

fn tracker_request(cmd: u8, body: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
    Some(match cmd {
        58 => again!(body, JoinLeader::decode),
        59 => again!(body, ChangeStatus::decode),
        60 => again!(body, GetMyIp::decode),
        63 => again!(body, SysFilePiece::decode),
        65 => again!(body, PingLeader::decode),
        66 | 67 => again!(body, NextLeader::decode),
        69 => again!(body, FetchIds::decode),
        70 | 71 => again!(body, ServerQuery::decode),
        76 => again!(body, ReportStatus::decode),
        77 | 86 if body.is_empty() => Ok(Vec::new()), // about whoever has joined
        77 | 86 => again!(body, StorageRef::decode),
        78 => again!(body, IpChanged::decode),
        81 => again!(body, Join::decode),
        83 => again!(body, Beat::decode),
        84 => again!(body, DiskUsage::decode),
        85 => again!(body, ReplicaChange::decode),
        88 => again!(body, SyncPoint::decode),
        89 => again!(body, SyncReport::decode),
        90 | 104 | 107 | 108 => again!(body, GroupQuery::decode),
        92 | 94 => again!(body, ListStorage::decode),
        93 => again!(body, DeleteStorage::decode),
        96 => again!(body, TrackerFilter::decode),
        97 => again!(body, StorageFilter::decode),
        98 => again!(body, VolumeFilter::decode),
        102 | 103 | 105 => again!(body, FileQuery::decode),
        109 => again!(body, GetGroupName::decode),
        _ => return None,
    })
}

fn answer(cmd: u8, body: &[u8]) -> Option<Result<Vec<u8>, DecodeError>> {
    let v4 = IpWidth::V4;
    let mut out = Vec::new();
    Some(match cmd {
        11 | 21 | 23 | 38 => again!(body, Stored::decode),
        15 => Ok(Metadata::parse(body).print()),
        22 => FileInfo::decode(body).map(|info| {
            info.encode(FileInfo::ADDRESS_LENS[0], &mut out);
            out
        }),
        64 => again!(body, TrackerStatus::decode),
        65 => TrunkServer::decode_all(body).map(|all| {
            all.iter().for_each(|server| server.encode(&mut out));
            out
        }),
        69 => again!(body, IdLines::decode),
        70 => decode_id(body).map(|id| id.as_str().as_bytes().to_vec()),
        71 => again!(body, decode_status),
        79 => SyncPoint::decode_optional(body).map(|point| {
            point.iter().for_each(|point| point.encode(&mut out));
            out
        }),
        81 => again!(body, JoinAnswer::decode),
        83 | 84 | 89 => again!(body, Changes::decode),
        90 | 91 => GroupStat::decode_all(body).map(|all| {
            all.iter().for_each(|group| group.encode(&mut out));
            out
        }),
        92 => StorageStat::decode_all(body).map(|all| {
            all.iter().for_each(|storage| storage.encode(v4, &mut out));
            out
        }),
        96 => TrackerStat::decode_all(body).map(|all| {
            TrackerStat::encode_all(&all, &mut out);
            out
        }),
        97 => again!(body, StorageLines::decode),
        98 => again!(body, Volumes::decode),
        101 | 104 | 106 | 107 => StoreTarget::decode(body).map(|target| {
            target.encode(v4, &mut out);
            out
        }),
        102 | 103 | 105 => FetchTarget::decode(body).map(|target| {
            target.encode(v4, &mut out);
            out
        }),
        // The two answers to 120; there is no 119.
        119 => Digest::decode_all(body).map(|all| {
            all.iter().for_each(|digest| digest.encode(&mut out));
            out
        }),
        120 => again!(body, Entries::decode),
        _ => return None,
    })
}
