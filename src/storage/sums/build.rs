//! Making the sums of a new file while its content passes, and putting them in place before
//! the file itself gets its name.

use std::{path::PathBuf, sync::Arc};

use proto::{
    fileid::FileName,
    ids::StorePath,
    sums::{Blocks, Header, Seed, Summer, Whole},
};

use super::{
    Sums, crc_in_name,
    table::{BATCH, Table, read_full},
};
use crate::disk::{
    port::{Disk, DiskFile},
    write::WriteError,
};

/// Sums in the making. Dropping them before [`Builder::publish`] removes what was written.
///
/// Sums of content are kept until the name is known: 64 KiB of them in memory, those of files
/// over 512 MiB in a temporary file.
#[derive(Debug)]
pub struct Builder {
    disk: Arc<dyn Disk>,
    temporary: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    blocks: Blocks,
    block: Summer,
    in_block: u64,
    len: u64,
    spilled: u64,
    sums: Vec<u64>,
    earlier: Option<Whole>,
    /// Sums that nothing else can replace are synced like content.
    only_proof: bool,
}

impl Sums {
    /// For a file of `expected` bytes that is going to be a normal one if `normal`; `None` when
    /// such a file has no sums.
    pub fn begin(&self, path: StorePath, expected: u64, normal: bool) -> Option<Builder> {
        let small = normal && expected <= Blocks::STANDARD.size();
        if small { None } else { self.builder(path) }
    }

    /// For a file whose name is known; `None` when it has no sums.
    pub fn whole(&self, name: &FileName) -> Option<Builder> {
        if Self::has_table(name) { self.builder(name.store_path()) } else { None }
    }

    fn builder(&self, path: StorePath) -> Option<Builder> {
        let tree = self.tree(path)?;
        Some(Builder {
            disk: Arc::clone(&self.disk),
            temporary: self.temporary(tree),
            file: None,
            blocks: Blocks::STANDARD,
            block: Summer::default(),
            in_block: 0,
            len: 0,
            spilled: 0,
            sums: Vec::new(),
            earlier: None,
            only_proof: true,
        })
    }
}

impl Builder {
    /// The next bytes of the content. Touches the disk only for files over 512 MiB.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let left = self.blocks.size().saturating_sub(self.in_block);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(count);
            self.block.update(now);
            self.in_block = self.in_block.saturating_add(count as u64);
            self.len = self.len.saturating_add(count as u64);
            bytes = rest;
            if self.in_block == self.blocks.size() {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// What the file under this name holds at the moment, and may still hold after a crash.
    #[must_use]
    pub fn replacing(mut self, earlier: Option<Whole>) -> Self {
        self.earlier = earlier;
        self
    }

    fn end_block(&mut self) -> Result<(), WriteError> {
        self.sums.push(self.block.take());
        self.in_block = 0;
        if self.sums.len() == BATCH {
            let bytes: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let at = Header::entry_at(self.spilled);
            let written = self
                .create()
                .and_then(|file| file.write_at(at, &bytes).map_err(WriteError::disk("write sums")));
            written?;
            self.spilled = self.spilled.saturating_add(BATCH as u64);
            self.sums.clear();
        }
        Ok(())
    }

    fn create(&mut self) -> Result<&dyn DiskFile, WriteError> {
        if self.file.is_none() {
            let file = self.disk.create(&self.temporary);
            self.file = Some(file.map_err(WriteError::disk("create a file of sums"))?);
        }
        self.file.as_deref().ok_or_else(|| {
            WriteError::disk("create a file of sums")(std::io::ErrorKind::NotFound.into())
        })
    }

    /// Puts the sums in place for `name`, in place of older ones; with `sync` for good, unless
    /// the name itself proves the content. To be called before the file is visible.
    pub fn publish(
        mut self,
        sums: &Sums,
        name: &FileName,
        sync: bool,
    ) -> Result<Whole, WriteError> {
        if self.in_block != 0 {
            self.end_block()?;
        }
        sums.seen.forget(name);
        self.only_proof = crc_in_name(name).is_none();
        let seed = Seed::of(name.as_str());
        let root = self.bind(seed)?;
        let bound: Vec<u64> =
            self.sums.iter().zip(self.spilled..).map(|(sum, i)| seed.entry(i, *sum)).collect();
        let root = bound.iter().fold(root, |sum, entry| sum.wrapping_add(*entry));
        let whole = Whole { len: self.len, root };
        let header = Header { blocks: self.blocks, whole, holes: false, earlier: self.earlier };
        let tail: Vec<u8> = bound.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let (spilled, sync) = (self.spilled, sync && self.only_proof);
        let file = self.create()?;
        let head = header.encode(seed);
        let written = if spilled == 0 {
            file.write_at(0, &[&head[..], &tail].concat())
        } else {
            file.write_at(Header::entry_at(spilled), &tail).and_then(|()| file.write_at(0, &head))
        };
        written.map_err(WriteError::disk("write sums"))?;
        if sync {
            file.sync_data().map_err(WriteError::sync("sums"))?;
        }
        let place = sums.tree(name.store_path()).zip(sums.path(name));
        let Some((tree, path)) = place else { return Ok(whole) };
        tree.ensure_dir(&*self.disk, name.dir()).map_err(WriteError::disk("make a directory"))?;
        let renamed = self.disk.rename_over(&self.temporary, &path);
        renamed.map_err(WriteError::disk("name the file of sums"))?;
        self.file = None;
        if sync && let Some(dir) = path.parent() {
            self.disk.sync_dir(dir).map_err(WriteError::sync("the directory of sums"))?;
        }
        Ok(whole)
    }

    /// Binds what was written to the temporary file to the name; returns its part of the root.
    fn bind(&mut self, seed: Seed) -> Result<u64, WriteError> {
        let (mut root, mut at) = (0u64, 0u64);
        while at < self.spilled {
            let file = self.create()?;
            let mut bytes = vec![0; BATCH * 8];
            let read = read_full(file, Header::entry_at(at), &mut bytes);
            read.map_err(WriteError::disk("read sums"))?;
            let mut index = at;
            for chunk in bytes.chunks_exact_mut(8) {
                let sum = u64::from_le_bytes((&*chunk).try_into().unwrap_or_default());
                let entry = seed.entry(index, sum);
                root = root.wrapping_add(entry);
                chunk.copy_from_slice(&entry.to_le_bytes());
                index = index.saturating_add(1);
            }
            file.write_at(Header::entry_at(at), &bytes).map_err(WriteError::disk("write sums"))?;
            at = index;
        }
        Ok(root)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // What cannot be removed now is swept at the next start.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

impl Sums {
    /// After a replacement is in place: what was there before is not accepted any more. Lost in
    /// a power cut, it stays acceptable until the next replacement.
    pub fn forget_earlier(&self, name: &FileName) -> std::io::Result<()> {
        let Some(table) = self.table(name, true)? else { return Ok(()) };
        match table.header {
            Ok(mut header) if header.earlier.is_some() => {
                header.earlier = None;
                Table::write_header(&table, &header, Seed::of(name.as_str()))
            }
            _ => Ok(()),
        }
    }
}
