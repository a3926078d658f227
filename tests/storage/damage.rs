//! Damage on the disk of a real daemon: every class of file is changed, read through the port,
//! and looked at with `--verify`. Nothing damaged may be served, all of it must be found.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use super::cluster::*;

const BLOCK: usize = 64 * 1024;

/// One stored file: its name, content, and where its sums are.
struct Stored {
    class: &'static str,
    name: String,
    content: Vec<u8>,
}

impl Stored {
    fn sums(&self, base: &Path) -> PathBuf {
        base.join("sums").join(self.name.strip_prefix("M00/").unwrap())
    }
}

fn head(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Stores a file of each class: small and long plain files, an appender with a history, a
/// slave, metadata.
fn store_all(client: &mut Client) -> Vec<Stored> {
    let mut all = Vec::new();
    for len in [1, 5000, BLOCK, 3 * BLOCK + 100, 1 << 20] {
        let content = content(len as u64, len);
        let name = client.upload("bin", &content);
        all.push(Stored { class: "plain", name, content });
    }
    let mut appended = content(1, 100_000);
    let mut body = upload_head("log", appended.len());
    body.extend(&appended);
    let (status, answer) = client.ask(23, &body);
    assert_eq!(status, 0);
    let name = stored(&answer);
    let (len, more) = (name.len() as u64, content(2, 50_000));
    let append = [head(&[len, 50_000]), name.clone().into(), more.clone()].concat();
    assert_eq!(client.ask(24, &append), (0, vec![]));
    let modify = [head(&[len, 65_000, 1000]), name.clone().into(), vec![7; 1000]].concat();
    assert_eq!(client.ask(34, &modify), (0, vec![]));
    assert_eq!(client.ask(36, &[head(&[len, 140_000]), name.clone().into()].concat()).0, 0);
    appended.extend(more);
    appended[65_000..66_000].fill(7);
    appended.truncate(140_000);
    all.push(Stored { class: "appender", name, content: appended });

    let master = all[0].name.clone();
    let content = content(3, 70_000);
    let mut body = head(&[master.len() as u64, content.len() as u64]);
    body.extend([padded("_s", 16), padded("bin", 6), master.clone().into()].concat());
    body.extend(&content);
    let (status, answer) = client.ask(21, &body);
    assert_eq!(status, 0);
    all.push(Stored { class: "slave", name: stored(&answer), content });

    for (mode, pairs) in [(b'O', &b"a\x021\x01b\x022"[..]), (b'M', b"b\x023")] {
        let mut body = head(&[master.len() as u64, pairs.len() as u64]);
        body.extend([&[mode][..], &named(&master), pairs].concat());
        assert_eq!(client.ask(13, &body).0, 0);
    }
    let content = b"a\x021\x01b\x023".to_vec();
    all.push(Stored { class: "metadata", name: format!("{master}-m"), content });
    all
}

/// What a reader gets: all bytes, or nothing more than a status or a cut connection.
fn read(storage: &Storage, name: &str) -> Result<Vec<u8>, ()> {
    let mut client = storage.connect();
    client.send(14, 0, &[head(&[0, 0]), named(name)].concat());
    let mut header = [0; 10];
    client.stream.read_exact(&mut header).unwrap();
    let len = u64::from_be_bytes(header[..8].try_into().unwrap()) as usize;
    match header[9] {
        0 => {
            let mut body = vec![0; len];
            client.stream.read_exact(&mut body).map(|()| body).map_err(|_| ())
        }
        status => {
            assert_eq!((status, len), (5, 0), "{name}: EIO without a body");
            Err(())
        }
    }
}

/// The lines of `--verify` that are not good, the summary, and whether all is good.
fn verify(base: &Path) -> (Vec<serde_json::Value>, serde_json::Value, bool) {
    let out = Command::new(env!("CARGO_BIN_EXE_fdfs_storaged"))
        .arg(base.join("storage.conf"))
        .arg("--verify")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().expect("a summary");
    assert!(summary["checked"].is_u64(), "{summary}");
    assert!(matches!(out.status.code(), Some(0 | 1)), "{:?}", out.status);
    lines.retain(|line| line["state"] != "good" || line["sums"] == "damaged");
    (lines, summary, out.status.success())
}

/// The places of a file that are damaged, one after the other.
fn places(len: usize, seed: u64) -> Vec<usize> {
    let borders = [0, 1, len / 2, len - 1, BLOCK - 1, BLOCK, 2 * BLOCK].into_iter();
    let random = content(seed, 8 * 6)
        .chunks(8)
        .map(|b| u64::from_le_bytes(b.try_into().unwrap()) as usize % len)
        .collect::<Vec<_>>();
    let mut all: Vec<_> = borders.chain(random).filter(|at| *at < len).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn flip(path: &Path, at: usize, bits: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= bits;
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(&bytes).unwrap();
}

#[test]
fn no_damaged_content_is_served_and_all_of_it_is_found() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "");
    let all = store_all(&mut storage.connect());
    let (mut tried, mut refused) = (0, 0);
    for (seed, file) in (0..).zip(&all) {
        let path = on_disk(&dir.0, &file.name);
        assert_eq!(read(&storage, &file.name).as_ref(), Ok(&file.content), "{}", file.class);
        for at in places(file.content.len(), seed) {
            for bits in [1, 0x80, 0xff] {
                flip(&path, at, bits);
                tried += 1;
                refused += usize::from(read(&storage, &file.name).is_err());
                flip(&path, at, bits);
            }
        }
        assert_eq!(read(&storage, &file.name).as_ref(), Ok(&file.content), "{}", file.class);
    }
    println!("bit flips in content, read through the port: {refused} of {tried} refused");
    assert_eq!(refused, tried);
    assert!(storage.stop());

    let (bad, summary, good) = verify(&dir.0);
    assert!(good && bad.is_empty(), "{bad:?}");
    assert_eq!(summary["checked"].as_u64(), Some(all.len() as u64));
    let (mut tried, mut found) = (0, 0);
    for (seed, file) in (0..).zip(&all) {
        let path = on_disk(&dir.0, &file.name);
        for at in places(file.content.len(), seed + 100).into_iter().take(4) {
            flip(&path, at, 4);
            tried += 1;
            let (bad, _, good) = verify(&dir.0);
            let [line] = &bad[..] else { panic!("{}: {bad:?}", file.class) };
            assert_eq!((line["file"].as_str(), good), (Some(&*file.name), false));
            let offset = line["offset"].as_u64().unwrap() as usize;
            assert!(offset <= at && at < offset + BLOCK, "{line} {at}");
            found += usize::from(line["state"] == "damaged");
            flip(&path, at, 4);
        }
    }
    println!("bit flips in content, found by --verify: {found} of {tried}");
    assert_eq!(found, tried);
}

#[test]
fn damaged_sums_are_found_and_healed_and_hide_nothing() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "");
    let all = store_all(&mut storage.connect());
    assert!(storage.stop());
    let with_sums: Vec<_> = all.iter().filter(|file| file.sums(&dir.0).exists()).collect();
    let classes: Vec<_> = with_sums.iter().map(|file| file.class).collect();
    assert_eq!(classes, ["plain", "plain", "appender", "slave", "metadata"]);
    let (mut tried, mut found) = (0, 0);
    for file in &with_sums {
        let sums = file.sums(&dir.0);
        for at in [0, 17, 60, 64, 71] {
            flip(&sums, at, 0x20);
            tried += 1;
            let (bad, _, good) = verify(&dir.0);
            let ours = bad.len() == 1 && bad[0]["file"] == *file.name;
            found += usize::from(ours && bad[0]["sums"] == "damaged" && !good);
            assert_eq!(bad[0]["state"], "good", "the content is");
            flip(&sums, at, 0x20);
        }
    }
    println!("bit flips in sums, found by --verify: {found} of {tried}");
    assert_eq!(found, tried);
    with_sums.iter().for_each(|file| flip(&file.sums(&dir.0), 64, 1));
    let storage = Storage::start(&dir.0, &tracker, "");
    for file in &all {
        assert_eq!(read(&storage, &file.name).as_ref(), Ok(&file.content), "{}", file.class);
    }
    assert!(storage.stop());
    let (bad, _, good) = verify(&dir.0);
    assert!(good && bad.is_empty(), "healed by reading: {bad:?}");
}

#[test]
fn what_differs_is_never_a_source_for_something_new() {
    let (dir, _tracker, storage) = super::start();
    let mut client = storage.connect();
    let all = store_all(&mut client);
    let appender = all.iter().find(|file| file.class == "appender").unwrap();
    flip(&on_disk(&dir.0, &appender.name), 139_000, 1);
    let len = appender.name.len() as u64;
    let append = [head(&[len, 3]), appender.name.clone().into(), b"abc".to_vec()].concat();
    assert_eq!(client.ask(24, &append).0, 5, "the block would be summed anew");
    let mut client = storage.connect();
    assert_eq!(client.ask(22, &named(&appender.name)).0, 5, "a checksum of damage");
    assert_eq!(client.ask(38, appender.name.as_bytes()).0, 5, "a name made of damage");
    flip(&on_disk(&dir.0, &appender.name), 139_000, 1);
    assert_eq!(client.ask(24, &append).0, 0);
    let metadata = all.iter().find(|file| file.class == "metadata").unwrap();
    flip(&on_disk(&dir.0, &metadata.name), 0, 1);
    let master = metadata.name.strip_suffix("-m").unwrap();
    assert_eq!(client.ask(15, &named(master)).0, 5);
    let mut merge = head(&[master.len() as u64, 3]);
    merge.extend([&b"M"[..], &named(master), b"c\x021"].concat());
    assert_eq!(client.ask(13, &merge).0, 5, "merged with damage");
    merge[16] = b'O';
    assert_eq!(client.ask(13, &merge).0, 0, "what is replaced need not be readable");
    assert_eq!(client.ask(15, &named(master)), (0, b"c\x021".to_vec()));
}

#[test]
fn settings_say_what_is_compared() {
    let (dir, tracker) = (Dir::new(), Tracker::start("10.77.0.11"));
    let storage = Storage::start(&dir.0, &tracker, "verify_reads = once");
    let content = content(9, 300_000);
    let name = storage.connect().upload("bin", &content);
    let path = on_disk(&dir.0, &name);
    flip(&path, 200_000, 1);
    assert!(read(&storage, &name).is_err(), "the first read compares");
    flip(&path, 200_000, 1);
    assert_eq!(read(&storage, &name).as_ref(), Ok(&content));
    assert_eq!(read(&storage, &name).as_ref(), Ok(&content), "by sendfile");
    assert!(storage.stop());
    let storage = Storage::start(&dir.0, &tracker, "verify_reads = off");
    flip(&path, 200_000, 1);
    assert_eq!(read(&storage, &name).map(|got| got.len()), Ok(300_000), "trusted");
}
