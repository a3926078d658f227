//! fdfs_crc32: the sum of a local file, as scripts compare it with fdfs_file_info
//! (tools.md 2.6). Asks nobody.

use std::path::Path;

use proto::status::Status;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::{Failure, say, strerror};

/// Read at a time.
const PIECE_BYTES: usize = 256 * 1024;

pub(crate) async fn run(args: &[&str]) -> Result<(), Failure> {
    let [local] = args else { return Err(Failure::Usage("<filename>".to_owned())) };
    let path = Path::new(local);
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) => {
            // Scripts know these words, which no other program has.
            let status = Status::from_errno(error.raw_os_error().unwrap_or_default());
            let (number, words) = (status.0, strerror(status.0));
            say(&format!("open file {local} fail, errno: {number}, error info: {words}"));
            return Err(Failure::Told(status));
        }
    };
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
