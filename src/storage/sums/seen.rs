//! Which blocks were proven since the start, for `verify_reads = once`.
//!
//! Bounded: when it is full it begins anew, which costs one more comparison of each block.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use proto::fileid::FileName;

/// Words of 64 blocks that are remembered at most: 4 MiB, for 32 TiB of content in long files
/// or half a million short ones less what their names take.
const WORDS_MAX: usize = 512 * 1024;
/// Names that are remembered at most.
const NAMES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Seen {
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    blocks: BTreeMap<String, Vec<u64>>,
    words: usize,
}

impl Seen {
    /// Notes that the blocks from `first` to before `end` are good.
    pub(super) fn note(&self, name: &FileName, first: u64, end: u64) {
        let mut files = self.lock();
        let words = usize::try_from(end.div_ceil(64)).unwrap_or(usize::MAX);
        if WORDS_MAX < words {
            return;
        }
        if NAMES_MAX <= files.blocks.len() || WORDS_MAX < files.words.saturating_add(words) {
            *files = Files::default();
        }
        let bits = files.blocks.entry(name.as_str().to_owned()).or_default();
        let more = words.saturating_sub(bits.len());
        bits.resize(bits.len().max(words), 0);
        for block in first..end {
            if let Some(word) = usize::try_from(block / 64).ok().and_then(|i| bits.get_mut(i)) {
                *word |= 1 << (block % 64);
            }
        }
        files.words = files.words.saturating_add(more);
    }

    /// Whether all of these blocks are known to be good.
    pub(super) fn holds(&self, name: &FileName, first: u64, end: u64) -> bool {
        let files = self.lock();
        let Some(bits) = files.blocks.get(name.as_str()) else { return false };
        (first..end).all(|block| {
            let word = usize::try_from(block / 64).ok().and_then(|i| bits.get(i));
            word.is_some_and(|word| word & 1 << (block % 64) != 0)
        })
    }

    /// The file changed or is gone.
    pub(super) fn forget(&self, name: &FileName) {
        let mut files = self.lock();
        if let Some(bits) = files.blocks.remove(name.as_str()) {
            files.words = files.words.saturating_sub(bits.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("no code panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_remembered_until_it_changes() {
        let seen = Seen::default();
        let name = FileName::parse("M00/00/00/name", 1).unwrap();
        seen.note(&name, 60, 70);
        assert!(seen.holds(&name, 60, 70) && seen.holds(&name, 63, 65));
        assert!(!seen.holds(&name, 59, 70) && !seen.holds(&name, 60, 71));
        seen.note(&name, 0, 60);
        assert!(seen.holds(&name, 0, 70));
        assert_eq!(seen.lock().words, 2);
        seen.forget(&name);
        assert!(!seen.holds(&name, 60, 70));
        assert_eq!(seen.lock().words, 0);
        for index in 0..=NAMES_MAX {
            let name = FileName::parse(format!("M00/00/00/name{index}"), 1).unwrap();
            seen.note(&name, 0, 1);
        }
        assert!(seen.lock().blocks.len() <= NAMES_MAX);
        seen.note(&name, u64::MAX - 1, u64::MAX);
        assert!(!seen.holds(&name, 0, 1), "too long to be remembered");
    }
}
