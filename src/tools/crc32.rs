//! fdfs_crc32: the sum of a local file, as scripts compare it with fdfs_file_info
//! (tools.md 2.6). Asks nobody.

use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::{Failure, say};

/// Read at a time.
const PIECE_BYTES: usize = 256 * 1024;

pub(crate) async fn run(args: &[&str]) -> Result<(), Failure> {
    let [local] = args else { return Err(Failure::Usage("<filename>".to_owned())) };
    let path = Path::new(local);
    let mut file = File::open(path).await.map_err(|e| Failure::local("open", path, e))?;
    let mut sum = crc32fast::Hasher::new();
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    while file.read_buf(&mut piece).await.map_err(|e| Failure::local("read", path, e))? != 0 {
        sum.update(&piece);
        piece.clear();
    }
    // Without leading zeros: what scripts pad is what they expect.
    say(&format!("{:x}", sum.finalize()));
    Ok(())
}
