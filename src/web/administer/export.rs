//! `fastdisk export NAME`: the files of a user as a tar archive on standard output.
//!
//! The pax form (POSIX.1-2001): names of any length in UTF-8, sizes of any number of digits. A
//! user's names are data in the archive and never become paths here.

use std::io::Write;

use anyhow::Context as _;

use crate::db::{Db, Node, Stored};
use crate::files::Files;
use crate::ids::{NodeId, UserId};

const BLOCK: usize = 512;
/// Bytes asked of the store at once.
const PIECE_BYTES: u64 = 4 << 20;
/// Files and folders of a folder that are looked up at once.
const PAGE: u64 = 500;

/// Writes everything that is not in the trash; how many files and bytes.
pub(super) async fn run(
    db: &Db,
    files: &Files,
    user: UserId,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<(u64, u64)> {
    let (mut count, mut bytes) = (0u64, 0u64);
    // Folders in their order: what a path is made of comes before the path.
    let mut waiting: Vec<(Option<NodeId>, String)> = vec![(None, String::new())];
    while let Some((folder, path)) = waiting.pop() {
        let mut after = String::new();
        loop {
            let page = db.members(user, folder, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.node.name);
            for Stored { node, file_id } in &page {
                let name = format!("{path}{}", node.name);
                match file_id {
                    None => {
                        out.write_all(&entry(&format!("{name}/"), 0, node.modified_ms.0, b'5'))?;
                        waiting.push((Some(node.id), format!("{name}/")));
                    }
                    Some(file_id) => {
                        out.write_all(&entry(&name, node.size, node.modified_ms.0, b'0'))?;
                        let copied = copy(files, file_id, node, out).await;
                        copied.with_context(|| format!("export {name:?}"))?;
                        count = count.saturating_add(1);
                        bytes = bytes.saturating_add(node.size);
                    }
                }
            }
        }
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.flush()?;
    Ok((count, bytes))
}

async fn copy(
    files: &Files,
    file_id: &str,
    node: &Node,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut at = 0;
    while at < node.size {
        let len = PIECE_BYTES.min(node.size.saturating_sub(at));
        let piece = files.read(file_id, at, usize::try_from(len)?).await?;
        anyhow::ensure!(piece.len() as u64 == len, "the store has less than it should");
        out.write_all(&piece)?;
        at = at.saturating_add(len);
    }
    let over = usize::try_from(node.size % BLOCK as u64)?;
    if over != 0 {
        out.write_all(&vec![0; BLOCK.saturating_sub(over)])?;
    }
    Ok(())
}

/// The pax header and the plain one behind it.
fn entry(name: &str, size: u64, modified_ms: u64, kind: u8) -> Vec<u8> {
    let records = [record("path", name), record("size", &size.to_string())].concat();
    let mut out = header("pax", records.len() as u64, modified_ms, b'x');
    out.extend_from_slice(records.as_bytes());
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    out.extend(header("file", size, modified_ms, kind));
    out
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len();
    loop {
        let text = format!("{len}{rest}");
        if text.len() == len {
            return text;
        }
        len = text.len();
    }
}

/// A ustar header; what does not fit into it stands in the pax records.
fn header(name: &str, size: u64, modified_ms: u64, kind: u8) -> Vec<u8> {
    let octal = |value: u64, digits: usize| format!("{value:0digits$o}\0");
    let size = if size < 1 << 33 { size } else { 0 };
    let seconds = (modified_ms / 1000).min((1 << 33) - 1);
    let mut out = name.as_bytes().to_vec();
    out.resize(100, 0);
    let mode = if kind == b'5' { 0o755 } else { 0o644 };
    for field in [octal(mode, 7), octal(0, 7), octal(0, 7), octal(size, 11), octal(seconds, 11)] {
        out.extend_from_slice(field.as_bytes());
    }
    out.extend_from_slice(b"        ");
    out.push(kind);
    out.resize(257, 0);
    out.extend_from_slice(b"ustar\x0000");
    out.resize(BLOCK, 0);
    let sum: u64 = out.iter().map(|byte| u64::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    if let Some(place) = out.get_mut(148..156) {
        place.copy_from_slice(sum.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        assert_eq!(record("path", "a"), "9 path=a\n");
        for len in 0..1100 {
            let text = record("path", &"x".repeat(len));
            let said = text.split(' ').next().and_then(|count| count.parse().ok());
            assert_eq!(said, Some(text.len()), "a name of {len} bytes");
        }
    }

    #[test]
    fn a_header_has_the_standard_form() {
        let bytes = entry("照片/a.txt", 5, 1_000_000, b'0');
        assert_eq!(bytes.len(), 3 * BLOCK);
        let last = &bytes[2 * BLOCK..];
        assert_eq!(&last[124..136], b"00000000005\0");
        assert_eq!(&last[257..265], b"ustar\x0000");
        let sum: u64 = last
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        assert_eq!(&last[148..156], format!("{sum:06o}\0 ").as_bytes());
    }
}
