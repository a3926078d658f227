//! The bytes of an answer: one match over what the cluster answers.

use proto::address::IpWidth;
use proto::tracker::stat::TrackerStat;
use proto::wire::Put as _;

use crate::cluster::Answer;

/// Appends the body of an answer. `width` is that of addresses where it may differ.
pub(super) fn encode(answer: &Answer, width: IpWidth, out: &mut Vec<u8>) {
    match answer {
        Answer::Empty | Answer::SyncPoint(None) => {}
        Answer::Text(text) => out.put(text.as_bytes()),
        Answer::Store(target) => target.encode(width, out),
        Answer::Fetch(target) => target.encode(width, out),
        Answer::Groups(groups) => groups.iter().for_each(|group| group.encode(out)),
        Answer::Storages(storages) => storages.iter().for_each(|s| s.encode(width, out)),
        Answer::Joined(joined) => joined.encode(out),
        Answer::Changes(changes) => changes.encode(out),
        Answer::SyncPoint(Some(point)) => point.encode(out),
        Answer::Status(brief) => brief.encode(out),
        Answer::Ids(lines) => lines.encode(out),
        Answer::Group(name) => name.encode(out),
        Answer::TrackerStatus(status) => status.encode(out),
        Answer::TrackerStats(stats) => TrackerStat::encode_all(stats, out),
        Answer::TrunkServers(servers) => servers.iter().for_each(|server| server.encode(out)),
        Answer::StorageLines(lines) => lines.encode(out),
        Answer::Volumes(volumes) => volumes.encode(out),
        Answer::SysFile(len, piece) => {
            out.put_u64(*len);
            out.put(piece);
        }
        Answer::TrunkFid(id) => out.put_i32(*id),
    }
}
