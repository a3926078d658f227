//! Old log files become `name.gz`, as the `gzip` program would make them: with the time of the
//! last line, so that they go when they would have gone.
//!
//! Called on a thread of its own. A file that cannot be compressed stays as it is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};

/// Compresses all old files of the log `name` that are older than so many days. Blocks.
pub(super) fn compress_old(dir: &Path, name: &str, days: u32, now: u64) {
    for path in super::old_files(dir, name, days, now) {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let done = match &*ending {
            "gz" => Ok(()),
            // Of a process that ended in the middle: the plain file is there.
            "tmp" => fs::remove_file(&path),
            _ => compress(&path),
        };
        if let Err(error) = done {
            log::warn!("compress the old log {}, it stays: {error}", path.display());
        }
    }
}

/// The plain file goes when the compressed one is on disk.
fn compress(path: &Path) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = path.to_owned();
        name.as_mut_os_string().push(ending);
        name
    };
    let (packed, temporary): (PathBuf, PathBuf) = (with(".gz"), with(".gz.tmp"));
    let mut plain = File::open(path)?;
    let changed = plain.metadata()?.modified()?;
    let mut encoder = GzEncoder::new(File::create(&temporary)?, Compression::default());
    let written = io::copy(&mut plain, &mut encoder).and_then(|_| {
        let file = encoder.finish()?;
        file.set_modified(changed)?;
        file.sync_all()?;
        fs::rename(&temporary, &packed)
    });
    if written.is_err() {
        // A full disk gets back what this has taken; what is left goes next time.
        let _ = fs::remove_file(&temporary);
        return written;
    }
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn what_is_old_is_compressed_once_and_nothing_else_is_touched() {
        let dir = std::env::temp_dir().join(format!("net-gzip-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let put = |name: &str, text: &str| {
            File::create(dir.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        };
        put("a.log", "now");
        put("a.log.20261120_000000", &"a line\n".repeat(1000));
        put("a.log.20261121_000000.gz.tmp", "half");
        put("a.log.20261121_000000", "another");
        put("a.log.old", "of somebody else");
        put("b.log.20261120_000000", "of another log");
        let changed = fs::metadata(dir.join("a.log.20261120_000000")).unwrap().modified().unwrap();
        let since = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let names = || {
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut all: Vec<_> = fs::read_dir(&dir).unwrap().map(name).collect();
            all.sort();
            all
        };
        let before = names();
        compress_old(&dir, "a.log", 1, since);
        assert_eq!(names(), before, "they are young");
        for _ in 0..2 {
            compress_old(&dir, "a.log", 1, since + 2 * 24 * 3600);
            let want = ["a.log", "a.log.20261120_000000.gz", "a.log.20261121_000000.gz"];
            let others = ["a.log.old", "b.log.20261120_000000"];
            assert_eq!(names(), [&want[..], &others].concat());
        }
        let packed = dir.join("a.log.20261120_000000.gz");
        assert_eq!(fs::metadata(&packed).unwrap().modified().unwrap(), changed);
        let mut text = String::new();
        let file = File::open(&packed).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a line\n".repeat(1000));
        fs::remove_dir_all(dir).unwrap();
    }
}
