//! Memcached, as far as a worker needs it: to put something in. nginx takes it out.
//!
//! Used by `thumb`. What is not kept is made again, so nothing here is tried twice.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Longest wait for the server.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Seconds that something is kept: a day.
const KEPT_S: u32 = 24 * 3600;
/// Bytes of a key that the server takes.
const KEY_BYTES_MAX: usize = 250;

/// Puts `value` under `key`, which holds no blank and no control character.
pub(crate) async fn set(socket: &Path, key: &str, value: &[u8]) -> anyhow::Result<()> {
    let clean = key.bytes().all(|byte| byte.is_ascii_graphic());
    anyhow::ensure!(clean && key.len() <= KEY_BYTES_MAX, "no key: {key:?}");
    let put = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut request = format!("set {key} 0 {KEPT_S} {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await?;
        anyhow::ensure!(answer == *b"STORED\r\n", "answered {:?}", answer.escape_ascii());
        Ok(())
    };
    tokio::time::timeout(ANSWER_MAX, put).await?
}
