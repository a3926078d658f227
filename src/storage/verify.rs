//! `fdfs_storaged CONF --verify`: looks at every stored file without changing anything, and
//! writes what it finds as JSON, one object a line (testing.md R19).
//!
//! ```text
//! {"file":"M00/00/00/…","kind":"normal","size":5,"crc32":"c4581f24","sums":"none","state":"good"}
//! {"file":"M00/00/00/…","kind":"slave","size":9,…,"sums":"good","state":"damaged","offset":0}
//! {"checked":2,"damaged":1,"sums_damaged":0,"unsummed":0,"unfinished":0,"orphans":0,"strange":0}
//! ```
//!
//! `state`: `good`; `unsummed`, nothing proves it; `damaged` from the block at `offset` on;
//! `unfinished`, an edit was interrupted and the next start completes it; `link`; `orphan`,
//! sums without a file; `strange`, nothing that a storage makes. The answer is false when
//! content or sums are damaged or cannot be read. Only while no daemon serves the store paths:
//! a change under way looks like damage.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use proto::{
    fileid::{FileName, Kind as NameKind},
    ids::StorePath,
};
use serde_json::{Value, json};

use crate::{
    config::Config,
    disk::{
        edit::Note,
        layout::{Place, Places},
        port::{Disk, Kind},
    },
    sums::{State, Sums, SumsState},
};

/// What a pass has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    checked: u64,
    damaged: u64,
    sums_damaged: u64,
    unsummed: u64,
    unfinished: u64,
    orphans: u64,
    strange: u64,
}

/// One pass over everything; true if nothing is damaged. Blocks.
pub(crate) fn run(
    disk: &Arc<dyn Disk>,
    config: &Config,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let roots = config.store_paths.iter().map(|path| &path.root);
    let look = |root: &PathBuf| Place::look(Arc::clone(disk), root, config.dirs_per_level);
    let places = Places::new(roots.map(look).collect());
    let sums = Sums::new(Arc::clone(disk), &places, config.verify_reads);
    let mut pass = Pass { disk: &**disk, sums: &sums, out, found: Found::default() };
    for (index, place) in (0..=u8::MAX).map(StorePath).zip(places.iter()) {
        let data = place.data().display();
        pass.place(index, place).with_context(|| format!("look at {data}"))?;
    }
    let f = pass.found;
    writeln!(
        pass.out,
        "{}",
        json!({
            "checked": f.checked, "damaged": f.damaged, "sums_damaged": f.sums_damaged,
            "unsummed": f.unsummed, "unfinished": f.unfinished, "orphans": f.orphans,
            "strange": f.strange,
        })
    )?;
    Ok(f.damaged == 0 && f.sums_damaged == 0)
}

struct Pass<'a> {
    disk: &'a dyn Disk,
    sums: &'a Sums,
    out: &'a mut dyn Write,
    found: Found,
}

impl Pass<'_> {
    fn place(&mut self, index: StorePath, place: &Place) -> anyhow::Result<()> {
        let unfinished = self.unfinished(place)?;
        let data = place.data();
        for (dirs, name) in self.names(data)? {
            let text = format!("{index}/{dirs}/{name}");
            let path = data.join(&dirs).join(&name);
            let line = match FileName::parse(&text, u16::from(index.0).saturating_add(1)) {
                Ok(name) => self.file(&name, &path, &unfinished),
                Err(_) => self.strange(text),
            };
            writeln!(self.out, "{line}")?;
        }
        let root = data.parent().unwrap_or(Path::new("/")).join("sums");
        for (dirs, name) in self.names(&root)? {
            if self.disk.stat(&data.join(&dirs).join(&name)).is_err() {
                self.found.orphans += 1;
                let file = format!("{index}/{dirs}/{name}");
                writeln!(self.out, "{}", json!({ "file": file, "state": "orphan" }))?;
            }
        }
        Ok(())
    }

    /// The files that notes of edits speak of.
    fn unfinished(&self, place: &Place) -> io::Result<BTreeSet<String>> {
        match place.notes() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
            // One that is not whole has not touched its file.
            Ok(notes) => Ok(notes
                .iter()
                .filter_map(|path| Note::open(self.disk, path).ok())
                .map(|note| note.edit.name)
                .collect()),
        }
    }

    fn file(&mut self, name: &FileName, path: &Path, unfinished: &BTreeSet<String>) -> Value {
        self.found.checked += 1;
        let kind = match name.kind() {
            _ if name.is_metadata() => "metadata",
            Some(NameKind::Normal) => "normal",
            Some(NameKind::Appender) => "appender",
            Some(NameKind::Slave) => "slave",
            None => "other",
        };
        match self.disk.stat(path).map(|stat| stat.kind) {
            Ok(Kind::Link) => return json!({ "file": name.as_str(), "state": "link" }),
            Ok(Kind::Dir | Kind::Other) => return self.strange(name.as_str().to_owned()),
            _ => {}
        }
        let exam = match self.sums.examine(name, path) {
            Ok(exam) => exam,
            Err(error) => {
                self.found.damaged += 1;
                let error = error.to_string();
                return json!({ "file": name.as_str(), "state": "damaged", "error": error });
            }
        };
        let sums = match exam.sums {
            SumsState::None => "none",
            SumsState::Good => "good",
            SumsState::Missing => "missing",
            SumsState::Damaged => "damaged",
        };
        let crc32 = format!("{:08x}", exam.crc32);
        let mut line = json!({
            "file": name.as_str(), "kind": kind, "size": exam.len, "crc32": crc32, "sums": sums,
        });
        let editing = unfinished.contains(name.as_str());
        let (state, count) = match exam.state {
            State::Good | State::Unsummed if exam.sums == SumsState::Damaged && !editing => {
                ("good", Some(&mut self.found.sums_damaged))
            }
            State::Good => ("good", None),
            State::Unsummed => ("unsummed", Some(&mut self.found.unsummed)),
            State::Damaged { .. } if editing => ("unfinished", Some(&mut self.found.unfinished)),
            State::Damaged { offset } => {
                line["offset"] = offset.into();
                ("damaged", Some(&mut self.found.damaged))
            }
        };
        line["state"] = state.into();
        if let Some(count) = count {
            *count += 1;
        }
        line
    }

    fn strange(&mut self, file: String) -> Value {
        self.found.strange += 1;
        json!({ "file": file, "state": "strange" })
    }

    /// The names in all sub-directories of `root` with their directory `HH/HH`, in order.
    fn names(&self, root: &Path) -> io::Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for high in self.list(root)?.into_iter().filter(|name| is_level(name)) {
            for low in self.list(&root.join(&high))?.into_iter().filter(|name| is_level(name)) {
                let dirs = format!("{high}/{low}");
                for name in self.list(&root.join(&dirs))? {
                    all.push((dirs.clone(), name));
                }
            }
        }
        Ok(all)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = match self.disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let mut names: Vec<_> =
            names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }
}

/// A sub-directory's name: two upper-case hexadecimal digits.
fn is_level(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
}
