//! Decides what makes two storages equal, given what each holds of one directory.
//!
//! Pure. A file that only one has is copied to the other, unless that one knows that it was
//! deleted: then it goes at the first one, too. Of two states of one file the later one stays.
//! What a normal file's name says and its length does not is damage, and left to the scrub.

use std::collections::BTreeMap;

use proto::fileid::FileName;
use proto::storage::inventory::{Entry, EntryKind};

/// One of the two storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    This,
    Other,
}

impl Side {
    pub(super) fn opposite(self) -> Self {
        match self {
            Side::This => Side::Other,
            Side::Other => Side::This,
        }
    }
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The file as `from` has it goes to the other one, where something else may be in its place.
    Copy { from: Side, name: FileName, at: u32, over: bool },
    /// The file goes away; it was deleted at the other one, then.
    Delete { on: Side, name: FileName, at: u32 },
}

/// What one storage knows of one name.
#[derive(Clone, Debug, Default)]
struct Known {
    file: Option<Entry>,
    deleted: Option<i64>,
}

/// The steps for one directory, `M00/HH/HH/`.
pub(super) fn steps(dir: &str, this: Vec<Entry>, other: Vec<Entry>) -> Vec<Step> {
    let mut names: BTreeMap<String, [Known; 2]> = BTreeMap::new();
    for (index, entries) in [this, other].into_iter().enumerate() {
        for entry in entries {
            let known = names.entry(entry.name.clone()).or_default().get_mut(index);
            match (known, entry.kind) {
                (Some(known), EntryKind::Deleted) => known.deleted = Some(entry.at),
                (Some(known), _) => known.file = Some(entry),
                (None, _) => {}
            }
        }
    }
    let step = |(text, [this, other]): (String, [Known; 2])| {
        let name = FileName::parse(format!("{dir}{text}"), proto::fileid::STORE_PATHS_MAX);
        step(name.ok()?, &this, &other)
    };
    names.into_iter().filter_map(step).collect()
}

fn step(name: FileName, this: &Known, other: &Known) -> Option<Step> {
    let (from, file, lacks) = match (&this.file, &other.file) {
        (Some(this), Some(other)) => return later(name, this, other),
        (Some(file), None) => (Side::This, file, other),
        (None, Some(file)) => (Side::Other, file, this),
        (None, None) => return None,
    };
    if file.kind != EntryKind::Plain {
        return None;
    }
    match lacks.deleted {
        Some(deleted) if !name.is_reusable() || file.at <= deleted => {
            Some(Step::Delete { on: from, name, at: secs(deleted) })
        }
        _ => Some(Step::Copy { from, name, at: secs(file.at), over: false }),
    }
}

/// Of two states of one file: the later one, of two of one second the longer one.
fn later(name: FileName, this: &Entry, other: &Entry) -> Option<Step> {
    let plain = this.kind == EntryKind::Plain && other.kind == EntryKind::Plain;
    let same =
        this.len == other.len && (this.root == other.root || this.root == 0 || other.root == 0);
    if !plain || same || name.is_fixed() {
        return None;
    }
    let this_is_later = (other.at, other.len) <= (this.at, this.len);
    let (from, at) = if this_is_later { (Side::This, this.at) } else { (Side::Other, other.at) };
    Some(Step::Copy { from, name, at: secs(at), over: true })
}

fn secs(at: i64) -> u32 {
    u32::try_from(at.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: &str = "wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt";
    const APPENDER: &str = "wKgBaWVT8QCEK83vAAAAAMRYHyQ7736042";
    const METADATA: &str = "wKgBaWVT8QCAEjRWAAAADcRYHyQ482.txt-m";

    fn entry(kind: EntryKind, name: &str, at: i64, len: u64) -> Entry {
        Entry { kind, at, len, root: len * 7 + 1, name: name.to_owned() }
    }

    fn file(name: &str, at: i64, len: u64) -> Entry {
        entry(EntryKind::Plain, name, at, len)
    }

    fn deleted(name: &str, at: i64) -> Entry {
        entry(EntryKind::Deleted, name, at, 0)
    }

    fn check(this: &[Entry], other: &[Entry], expected: Option<(&str, Side, u32)>) {
        let found = steps("M00/00/00/", this.to_vec(), other.to_vec());
        let found: Vec<_> = found
            .iter()
            .map(|step| match step {
                Step::Copy { from, at, over: false, .. } => ("copy", *from, *at),
                Step::Copy { from, at, over: true, .. } => ("replace", *from, *at),
                Step::Delete { on, at, .. } => ("delete", *on, *at),
            })
            .collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{this:?} {other:?}");
    }

    #[test]
    fn gaps_are_filled_in_both_directions_and_deletions_are_respected() {
        use Side::{Other, This};
        for name in [NORMAL, APPENDER, METADATA] {
            check(&[file(name, 7, 13)], &[], Some(("copy", This, 7)));
            check(&[], &[file(name, 7, 13)], Some(("copy", Other, 7)));
            check(&[file(name, 7, 13)], &[deleted(name, 9)], Some(("delete", This, 9)));
            check(&[deleted(name, 9)], &[file(name, 7, 13)], Some(("delete", Other, 9)));
            check(&[deleted(name, 9)], &[deleted(name, 9)], None);
            check(&[deleted(name, 9)], &[], None);
            check(&[file(name, 7, 13)], &[file(name, 7, 13)], None);
        }
        // A name that can be given again was given again.
        check(&[file(METADATA, 10, 13)], &[deleted(METADATA, 9)], Some(("copy", This, 10)));
        // One that cannot was deleted, whatever the clocks say.
        check(&[file(NORMAL, 10, 13)], &[deleted(NORMAL, 9)], Some(("delete", This, 9)));
        check(&[entry(EntryKind::Link, NORMAL, 7, 0)], &[], None);
        assert_eq!(This.opposite(), Other);
        assert_eq!(Other.opposite(), This);
    }

    #[test]
    fn of_two_states_the_later_one_stays() {
        use Side::{Other, This};
        for name in [APPENDER, METADATA] {
            check(&[file(name, 8, 10)], &[file(name, 7, 13)], Some(("replace", This, 8)));
            check(&[file(name, 7, 10)], &[file(name, 8, 13)], Some(("replace", Other, 8)));
            check(&[file(name, 7, 10)], &[file(name, 7, 13)], Some(("replace", Other, 7)));
            let unknown = Entry { root: 0, ..file(name, 9, 13) };
            check(&[unknown], &[file(name, 7, 13)], None);
        }
        // Damage is the scrub's business.
        check(&[file(NORMAL, 8, 10)], &[file(NORMAL, 7, 13)], None);
    }
}
