//! What happened on each storage between its last two reports. Pure: the times are those of the
//! reports, so that a slow heartbeat does not look like a slow storage.

use std::collections::BTreeMap;

use proto::ids::{GroupName, StorageId};
use proto::tracker::beat::Statistics;
use proto::tracker::list::{GroupStat, StorageStat};

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) uploads: f64,
    pub(super) upload_bytes: f64,
    pub(super) downloads: f64,
    pub(super) download_bytes: f64,
    pub(super) sync_in_bytes: f64,
}

/// The last report of each storage, and the rates that led to it.
#[derive(Debug, Default)]
pub(super) struct Rates {
    known: BTreeMap<(GroupName, StorageId), (Statistics, Option<Rate>)>,
}

impl Rates {
    /// Takes in a look at the cluster.
    pub(super) fn learn(&mut self, groups: &[(GroupStat, Vec<StorageStat>)]) {
        for (group, storages) in groups {
            for StorageStat { id, statistics, .. } in storages {
                let key = (group.group, *id);
                match self.known.get_mut(&key) {
                    None => {
                        self.known.insert(key, (*statistics, None));
                    }
                    Some((last, rate)) => {
                        if let Some(fresh) = between(last, statistics) {
                            (*last, *rate) = (*statistics, Some(fresh));
                        }
                    }
                }
            }
        }
    }

    /// The rates of a storage, once it has reported twice.
    pub(super) fn of(&self, group: GroupName, id: StorageId) -> Option<Rate> {
        self.known.get(&(group, id))?.1
    }
}

/// None if the storage has not reported since.
fn between(last: &Statistics, now: &Statistics) -> Option<Rate> {
    let span = now.last_heartbeat.since(last.last_heartbeat);
    if span <= 0 {
        return None;
    }
    // Counters that went back belong to a storage that began anew.
    let rate = |before: i64, after: i64| after.saturating_sub(before).max(0) as f64 / span as f64;
    Some(Rate {
        uploads: rate(last.upload.success, now.upload.success),
        upload_bytes: rate(last.upload_bytes.success, now.upload_bytes.success),
        downloads: rate(last.download.success, now.download.success),
        download_bytes: rate(last.download_bytes.success, now.download_bytes.success),
        sync_in_bytes: rate(last.sync_in_bytes.success, now.sync_in_bytes.success),
    })
}

#[cfg(test)]
mod tests {
    use proto::tracker::UnixTime;
    use proto::tracker::beat::Tally;

    use super::*;

    fn report(at: i64, uploads: i64) -> Statistics {
        Statistics {
            upload: Tally { total: uploads, success: uploads },
            last_heartbeat: UnixTime(at),
            ..Statistics::default()
        }
    }

    #[test]
    fn rates_are_those_between_reports() {
        for (before, after, want) in [
            (report(10, 100), report(20, 150), Some(5.0)),
            (report(10, 100), report(10, 100), None),
            (report(10, 100), report(20, 3), Some(0.0)),
        ] {
            assert_eq!(between(&before, &after).map(|rate| rate.uploads), want);
        }
    }
}
