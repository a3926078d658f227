//! Tombstones: which names were deleted, so that a late creation does not bring them back.
//!
//! Pure: fed with the records of the binlog, own and received, in their order; asked before a
//! file that a peer sends is taken. A deletion may overtake the creation of the same file, since
//! they come from different members: the creation is then answered with success and not applied.
//! How tombstones are kept on disk, and when they end, is `sync::graves`.

use std::{collections::BTreeMap, ops::Bound};

use proto::{
    binlog::{Act, Record},
    fileid::{FileName, STORE_PATHS_MAX},
};

/// The names of deleted files, with the times that their deletions carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombs {
    names: BTreeMap<String, u32>,
}

/// What a record does to the tombstones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Bury {
        name: &'a str,
        at: u32,
    },
    /// The name is in use again.
    Raise {
        name: &'a str,
    },
}

/// What `record` does, if anything.
pub fn change(record: &Record) -> Option<Change<'_>> {
    let name = record.name.as_str();
    match record.op.act {
        Act::Delete => Some(Change::Bury { name, at: record.at }),
        // The name before is gone as if it had been deleted.
        Act::Rename => record.extra.as_deref().map(|old| Change::Bury { name: old, at: record.at }),
        Act::Create | Act::Update | Act::Link if is_reusable(name) => Some(Change::Raise { name }),
        _ => None,
    }
}

/// Whether a name can be given again, as of [`FileName::is_reusable`]; one that is none, too.
pub fn is_reusable(name: &str) -> bool {
    FileName::parse(name, STORE_PATHS_MAX).map_or(true, |name| name.is_reusable())
}

impl Tombs {
    /// Applies one change.
    pub fn apply(&mut self, change: &Change<'_>) {
        match change {
            Change::Bury { name, at } => {
                let known = self.names.entry((*name).to_owned()).or_default();
                *known = (*known).max(*at);
            }
            Change::Raise { name } => {
                self.names.remove(*name);
            }
        }
    }

    /// Applies what a record does.
    pub fn follow(&mut self, record: &Record) {
        if let Some(change) = change(record) {
            self.apply(&change);
        }
    }

    /// Whether a file of this name, created at `at`, is the one that was deleted. Where a name
    /// can be used again only the two times can tell; that is the one case in which times of
    /// two members are compared.
    pub fn holds(&self, name: &str, at: u32) -> bool {
        self.names.get(name).is_some_and(|buried| !is_reusable(name) || at <= *buried)
    }

    /// The time after which a file may have this name again, if it was deleted: one of that
    /// second would count as the deleted one at the other members.
    pub fn free_after(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.names.iter().map(|(name, at)| (name.as_str(), *at))
    }

    /// Those behind `name`, by name.
    pub fn after<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, u32)> + use<'a> {
        let bounds = (Bound::Excluded(name), Bound::Unbounded);
        self.names.range::<str, _>(bounds).map(|(name, at)| (name.as_str(), *at))
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    const APPENDER: &str = "M00/00/00/wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
    const SLAVE: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482_100x100.jpg";
    const METADATA: &str = "M00/00/00/wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt-m";

    fn after(lines: &[String]) -> Tombs {
        let mut tombs = Tombs::default();
        for line in lines {
            tombs.follow(&Record::parse(line).unwrap());
        }
        tombs
    }

    #[test]
    fn a_generated_name_never_comes_back() {
        for name in [NORMAL, APPENDER] {
            let tombs = after(&[format!("7 d {name}")]);
            for at in [0, 7, 8, u32::MAX] {
                assert!(tombs.holds(name, at), "{name} {at}");
            }
            assert!(after(&[format!("7 D {name}"), format!("9 c {name}")]).holds(name, 9));
        }
        assert!(!Tombs::default().holds(NORMAL, 0));
    }

    #[test]
    fn names_that_can_be_used_again_are_told_apart_by_time() {
        for name in [SLAVE, METADATA] {
            let tombs = after(&[format!("7 D {name}")]);
            assert!(tombs.holds(name, 6) && tombs.holds(name, 7), "{name}");
            assert!(!tombs.holds(name, 8), "{name}");
            assert!(after(&[format!("7 D {name}"), format!("8 C {name}")]).is_empty());
        }
    }

    #[test]
    fn a_renamed_file_is_gone_under_its_old_name() {
        let tombs = after(&[format!("7 R {NORMAL} {APPENDER}")]);
        assert!(tombs.holds(APPENDER, 1) && !tombs.holds(NORMAL, 1));
        assert_eq!(tombs.iter().collect::<Vec<_>>(), [(APPENDER, 7)]);
        assert_eq!(tombs.len(), 1);
    }
}
