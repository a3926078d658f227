//! Every damage of small files in every class, found on read and by an examination; damage of
//! the sums beside good content, which must not hide the content. On the simulated disk.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use proto::{
    fileid::{ExtField, FileName, NewName, Record, SizeField, SourceId, SubDir},
    ids::{Extension, Prefix, StorePath},
    sums::Blocks,
};

use super::*;
use crate::disk::{
    edit::EditKind,
    port::{DiskFile, Open},
    simulated::{Chance, SimulatedDisk},
};

/// A store path on a simulated disk.
struct World {
    disk: SimulatedDisk,
    sums: Sums,
}

fn world(policy: VerifyReads) -> World {
    let disk = SimulatedDisk::with_dirs(&["/base"]);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let place = Place::open(Arc::clone(&shared), Path::new("/base"), 1).unwrap().0;
    place.ensure_dir(SubDir { high: 0, low: 0 }).unwrap();
    let sums = Sums::new(shared, &Places::new(vec![place]), policy);
    World { disk, sums }
}

fn name_of(content: &[u8], appender: bool) -> FileName {
    let size = match appender {
        true => SizeField::appender(7),
        false => SizeField::normal(content.len() as u64, 7),
    };
    let source = SourceId::of_ip("10.0.0.1".parse().unwrap());
    let record = Record { source, timestamp: 5, size, crc32: crc32fast::hash(content) };
    let (store_path, dir) = (StorePath(0), SubDir { high: 0, low: 0 });
    let ext = ExtField::new(&Extension::NONE, 1);
    NewName { store_path, dir, record, slot: None, ext }.print()
}

/// The classes of files: plain, appender, slave, metadata.
fn classes(content: &[u8]) -> Vec<(&'static str, FileName)> {
    let plain = name_of(content, false);
    let other = name_of(b"the master", false);
    let slave = other.slave(&Prefix::parse("_s").unwrap(), &Extension::NONE).unwrap();
    let metadata = other.metadata().unwrap();
    let appender = name_of(content, true);
    vec![("plain", plain), ("appender", appender), ("slave", slave), ("metadata", metadata)]
}

fn path(name: &FileName) -> PathBuf {
    Path::new("/base/data").join(name.true_name())
}

impl World {
    fn store(&self, name: &FileName, content: &[u8]) {
        if let Some(mut builder) = self.sums.whole(name) {
            for piece in content.chunks(50_000) {
                builder.update(piece).unwrap();
            }
            builder.publish(&self.sums, name, true).unwrap();
        }
        self.disk.create(&path(name)).unwrap().write_at(0, content).unwrap();
    }

    fn put(&self, path: &Path, bytes: &[u8]) {
        let file = self.disk.open(path, Open::Write).unwrap();
        file.truncate(bytes.len() as u64).unwrap();
        file.write_at(0, bytes).unwrap();
    }

    fn get(&self, path: &Path) -> Vec<u8> {
        self.disk.files().remove(path).unwrap()
    }

    /// The whole file as a reader gets it, pieces of `max` bytes; `None` when it is damaged.
    fn read(&self, name: &FileName, max: usize, heal: bool) -> Option<Vec<u8>> {
        let mut source = self.sums.open(name, &path(name), 0, 0).unwrap();
        let mut out = Vec::new();
        while (out.len() as u64) < source.len() {
            let at = out.len() as u64;
            let piece = match source.read(&self.sums, at, max) {
                Err(ReadError::Doubt { .. }) => {
                    match self.sums.settle(&mut source, &path(name), heal) {
                        Err(ReadError::Damaged { .. }) => return None,
                        other => assert!(other.unwrap().is_none()),
                    }
                    source.read(&self.sums, at, max).unwrap()
                }
                other => other.unwrap(),
            };
            assert!(!piece.bytes().is_empty());
            out.extend(piece.into_bytes());
        }
        // Nothing to be read does not say that nothing should be there.
        let exam = self.sums.examine(name, &path(name)).unwrap();
        (!matches!(exam.state, State::Damaged { .. })).then_some(out)
    }

    fn state(&self, name: &FileName) -> State {
        self.sums.examine(name, &path(name)).unwrap().state
    }
}

fn content(len: usize) -> Vec<u8> {
    let mut chance = Chance(len as u64);
    (0..len).map(|_| chance.draw() as u8).collect()
}

#[test]
fn good_files_are_good_in_pieces_of_every_size() {
    let block = Blocks::STANDARD.size() as usize;
    for len in [0, 1, block - 1, block, block + 1, 3 * block, 3 * block + 17] {
        let world = world(VerifyReads::Always);
        let content = content(len);
        for (class, name) in classes(&content) {
            world.store(&name, &content);
            let exam = world.sums.examine(&name, &path(&name)).unwrap();
            assert_eq!((exam.state, exam.len), (State::Good, len as u64), "{class} {len}");
            assert_eq!(exam.crc32, crc32fast::hash(&content));
            for max in [4096, block, block + 5, 256 * 1024] {
                assert_eq!(world.read(&name, max, true).as_ref(), Some(&content), "{class} {len}");
            }
            let mut part = world.sums.open(&name, &path(&name), len as u64 / 3, 10).unwrap();
            if 0 < len {
                let got = part.read(&world.sums, 0, 10).unwrap();
                let from = len / 3;
                assert_eq!(got.bytes(), &content[from..(from + 10).min(len)], "{class} {len}");
            }
        }
        assert_eq!(world.sums.damage.found.load(Ordering::Relaxed), 0);
    }
}

/// The bytes that are changed one by one: all of a short file, of a longer one those at the
/// borders of its blocks and many others.
fn places(len: usize) -> Vec<usize> {
    if len <= 300 {
        return (0..len).collect();
    }
    let block = Blocks::STANDARD.size() as usize;
    let mut chance = Chance(99);
    let borders = (0..=len).step_by(block).flat_map(|at| [at.saturating_sub(1), at]);
    let mut all: Vec<_> = borders.filter(|at| *at < len).collect();
    all.extend((0..60).map(|_| (chance.draw() % len as u64) as usize));
    all
}

#[test]
fn every_changed_byte_is_found_on_read_and_by_examination() {
    let block = Blocks::STANDARD.size() as usize;
    let (mut tried, mut found) = (0, 0);
    for len in [1, 29, 2 * block + 1] {
        let world = world(VerifyReads::Always);
        let good = content(len);
        for (class, name) in classes(&good) {
            world.store(&name, &good);
            let mut check = |bad: &[u8], what: &str| {
                world.put(&path(&name), bad);
                tried += 2;
                let offset = match world.state(&name) {
                    State::Damaged { offset } => offset,
                    state => panic!("{class} {len} {what}: {state:?}"),
                };
                assert!(offset <= len as u64, "{class} {what}: {offset}");
                assert_eq!(world.read(&name, 100_000, true), None, "{class} {len} {what}");
                found += 2;
            };
            for at in places(len) {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    check(&bad, "bit");
                }
                let mut bad = good.clone();
                bad[at] = !bad[at];
                check(&bad, "byte");
            }
            for cut in [0, len / 2, len - 1, block, 2 * block] {
                if cut < len {
                    check(&good[..cut], "cut");
                }
            }
            check(&[&good[..], b"x"].concat(), "longer");
            let mut swapped: Vec<_> = good.chunks(block).collect();
            if 1 < swapped.len() {
                swapped.swap(0, 1);
                check(&swapped.concat(), "swapped blocks");
            }
            check(&content(len + 1)[1..], "another file's content");
            world.put(&path(&name), &good);
            assert_eq!(world.read(&name, 100_000, true), Some(good.clone()), "{class}");
        }
    }
    println!("changed content: {found} of {tried} found");
    assert_eq!(found, tried);
}

#[test]
fn damaged_sums_are_found_and_never_hide_good_content() {
    let block = Blocks::STANDARD.size() as usize;
    let (mut tried, mut found) = (0, 0);
    for len in [0, 29, 2 * block + 1] {
        let good = content(len);
        for (class, name) in classes(&good).into_iter().filter(|(_, name)| Sums::has_table(name)) {
            let world = world(VerifyReads::Always);
            world.store(&name, &good);
            let at = world.sums.path(&name).unwrap();
            let table = world.get(&at);
            for index in 0..table.len() {
                for bit in 0..8 {
                    let mut bad = table.clone();
                    bad[index] ^= 1 << bit;
                    world.put(&at, &bad);
                    tried += 1;
                    let exam = world.sums.examine(&name, &path(&name)).unwrap();
                    assert_eq!(exam.state, State::Good, "{class} {len} byte {index}");
                    found += usize::from(exam.sums == SumsState::Damaged);
                    let read = world.read(&name, 100_000, false);
                    assert_eq!(read.as_ref(), Some(&good), "{class} {len} byte {index}");
                    assert_eq!(world.get(&at), bad, "nothing is written when it must not be");
                }
            }
            // With healing the sums are again what they were.
            for index in [0, 20, 60].into_iter().chain((0 < len).then_some(70)) {
                let mut bad = table.clone();
                bad[index] ^= 4;
                world.put(&at, &bad);
                assert_eq!(world.read(&name, 100_000, true), Some(good.clone()));
                if 0 < len {
                    assert_eq!(world.get(&at), table, "{class} {len} byte {index}");
                }
            }
        }
    }
    println!("damaged sums: {found} of {tried} found, content read every time");
    assert_eq!(found, tried);
}

#[test]
fn two_files_that_change_places_are_found() {
    for len in [29, 200_000] {
        let world = world(VerifyReads::Always);
        let (one, other) = (content(len), content(len + 1));
        let other = &other[..len];
        for ((class, a), (_, b)) in classes(&one).into_iter().zip(classes(other)) {
            let b = if a == b { a.metadata().unwrap() } else { b };
            world.store(&a, &one);
            world.store(&b, other);
            world.put(&path(&a), other);
            world.put(&path(&b), &one);
            if let (Some(x), Some(y)) = (world.sums.path(&a), world.sums.path(&b))
                && Sums::has_table(&a)
            {
                // Even with their sums.
                let (s, t) = (world.get(&x), world.get(&y));
                world.put(&x, &t);
                world.put(&y, &s);
            }
            for name in [a, b] {
                assert!(matches!(world.state(&name), State::Damaged { .. }), "{class} {len}");
                assert_eq!(world.read(&name, 100_000, true), None, "{class} {len}");
            }
        }
    }
}

#[test]
fn a_plain_file_without_sums_is_proven_by_its_name_and_gets_them() {
    let world = world(VerifyReads::Always);
    let good = content(300_000);
    let (name, slave) = (name_of(&good, false), classes(&good)[2].1.clone());
    for name in [&name, &slave] {
        world.disk.create(&path(name)).unwrap().write_at(0, &good).unwrap();
    }
    assert_eq!(world.state(&name), State::Good);
    assert_eq!(world.read(&name, 100_000, true), Some(good.clone()));
    assert_eq!(world.sums.examine(&name, &path(&name)).unwrap().sums, SumsState::Good);
    assert_eq!(world.state(&slave), State::Unsummed);
    assert_eq!(world.read(&slave, 100_000, true), Some(good.clone()));
    let mut reading = world.sums.begin_adoption(&slave, &path(&slave)).unwrap();
    let file = world.disk.open(&path(&slave), Open::Read).unwrap();
    while reading.step(&*file).unwrap() != 0 {}
    let exam = world.sums.judge(reading).unwrap();
    assert!(world.sums.adopt(&slave, exam).unwrap());
    assert_eq!(world.state(&slave), State::Good);
    let mut bad = good;
    bad[299_999] ^= 1;
    world.put(&path(&name), &bad);
    world.sums.remove(&name, true).unwrap();
    assert_eq!(world.state(&name), State::Damaged { offset: 0 });
    assert_eq!(world.read(&name, 100_000, true), None);
}

#[test]
fn what_is_read_once_is_not_read_again_and_off_trusts() {
    let good = content(300_000);
    let name = name_of(&good, false);
    let world_once = world(VerifyReads::Once);
    world_once.store(&name, &good);
    let open = |world: &World| world.sums.open(&name, &path(&name), 70_000, 1000).unwrap();
    assert!(open(&world_once).unread().is_none());
    assert!(open(&world_once).read(&world_once.sums, 0, 1000).is_ok());
    assert!(open(&world_once).unread().is_some(), "its block was compared");
    let rest = world_once.sums.open(&name, &path(&name), 0, 0).unwrap();
    assert!(rest.unread().is_none(), "the others were not");
    world_once.sums.remove(&name, true).unwrap();
    assert!(open(&world_once).unread().is_none(), "a changed file is compared anew");
    let world_off = world(VerifyReads::Off);
    world_off.store(&name, &good);
    assert!(open(&world_off).unread().is_some());
}

#[test]
fn edits_of_every_shape_keep_the_sums_right() {
    let block = Blocks::STANDARD.size();
    let world = world(VerifyReads::Always);
    let mut model = content(100);
    let name = name_of(&model, true);
    world.store(&name, &model);
    let mut chance = Chance(7);
    for round in 0..300u64 {
        let old_len = model.len() as u64;
        let near = |chance: &mut Chance| {
            let at = chance.draw() % (3 * block) / block * block;
            (at + chance.draw() % 3).saturating_sub(1)
        };
        let kind =
            [EditKind::Append, EditKind::Modify, EditKind::Truncate][(chance.draw() % 3) as usize];
        let (offset, len) = match kind {
            EditKind::Append => (old_len, near(&mut chance) % block + 1),
            EditKind::Modify => (near(&mut chance).min(old_len), near(&mut chance) + 1),
            EditKind::Truncate => (near(&mut chance), 0),
        };
        let file = world.disk.open(&path(&name), Open::Write).unwrap();
        let changing = Changing::new(kind, offset, len, old_len);
        let kept = world.sums.before_edit(&name, &*file, old_len, changing.span).unwrap();
        apply(&mut model, kind, offset, len, round);
        file.truncate(model.len() as u64).unwrap();
        file.write_at(0, &model).unwrap();
        let change = (changing.span, kept.unwrap(), changing.new_len);
        for again in [false, true] {
            assert!(world.sums.after_edit(&name, &*file, change, true, again).unwrap());
            let exam = world.sums.examine(&name, &path(&name)).unwrap();
            let when = format!("round {round} {kind:?} {offset} {len} of {old_len}, {again}");
            assert_eq!((exam.state, exam.sums), (State::Good, SumsState::Good), "{when}");
        }
        assert_eq!(world.read(&name, 100_000, false).as_ref(), Some(&model));
    }
}

fn apply(model: &mut Vec<u8>, kind: EditKind, offset: u64, len: u64, round: u64) {
    let (offset, end) = (offset as usize, (offset + len) as usize);
    if kind == EditKind::Truncate {
        return model.resize(offset, 0);
    }
    model.resize(model.len().max(end), 0);
    model[offset..end].fill(round as u8);
}

#[test]
fn damage_beside_an_edit_is_found_before_and_after() {
    let world = world(VerifyReads::Always);
    let good = content(200_000);
    let name = name_of(&good, true);
    world.store(&name, &good);
    let changing = Changing::new(EditKind::Modify, 70_000, 100, 200_000);
    let file = world.disk.open(&path(&name), Open::Write).unwrap();
    let before = |file: &dyn DiskFile| world.sums.before_edit(&name, file, 200_000, changing.span);
    let kept = before(&*file).unwrap().unwrap();
    // The block that is edited has a bad byte in front of the edit.
    let flip = |at: u64| {
        let mut byte = [0];
        file.read_at(at, &mut byte).unwrap();
        file.write_at(at, &[!byte[0]]).unwrap();
    };
    for at in [66_000, 71_000] {
        flip(at);
        assert!(matches!(before(&*file), Err(ReadError::Doubt { offset: 65_536 })), "{at}");
        file.write_at(70_000, &[1; 100]).unwrap();
        let change = (changing.span, kept, 200_000);
        assert!(!world.sums.after_edit(&name, &*file, change, true, true).unwrap(), "{at}");
        assert_eq!(world.state(&name), State::Damaged { offset: 65_536 }, "not blessed");
        flip(at);
        assert!(world.sums.after_edit(&name, &*file, change, true, true).unwrap());
        assert_eq!(world.state(&name), State::Good);
    }
}

#[test]
fn sums_of_files_over_half_a_gigabyte_leave_memory() {
    let world = world(VerifyReads::Always);
    let block = vec![5; Blocks::STANDARD.size() as usize];
    let name = name_of(b"", true);
    let mut builder = world.sums.whole(&name).unwrap();
    let count = 2 * table::BATCH + 3;
    for _ in 0..count {
        builder.update(&block).unwrap();
    }
    let whole = builder.publish(&world.sums, &name, true).unwrap();
    let table = world.sums.table(&name, false).unwrap().unwrap();
    assert_eq!(table.entries, count as u64);
    assert_eq!(table.part(0, count as u64).unwrap(), whole.root);
    let seed = Seed::of(name.as_str());
    for index in [0, table::BATCH as u64, count as u64 - 1] {
        let entry = table.read(index, 1).unwrap()[0];
        assert!(seed.matches(index, &block, entry, false), "{index}");
    }
    assert!(!world.disk.files().keys().any(|path| path.starts_with("/base/data/.tmp")));
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_not_called_damaged() {
    for forgotten in [false, true] {
        let world = world(VerifyReads::Always);
        let (old, new) = (b"as it was".to_vec(), b"as it is".to_vec());
        let name = name_of(b"the master", false).metadata().unwrap();
        world.store(&name, &old);
        let mut source = world.sums.open(&name, &path(&name), 0, 0).unwrap();
        let earlier = world.sums.whole_now(&name, &path(&name));
        let mut builder = world.sums.whole(&name).unwrap().replacing(earlier);
        builder.update(&new).unwrap();
        builder.publish(&world.sums, &name, true).unwrap();
        let temporary = path(&name).with_extension("tmp");
        world.disk.create(&temporary).unwrap().write_at(0, &new).unwrap();
        world.disk.rename_over(&temporary, &path(&name)).unwrap();
        if forgotten {
            world.sums.forget_earlier(&name).unwrap();
        }
        // The sums that it had are of the old file; whoever opened it later has the new ones.
        source.guard = super::read::Guard::Doubt(0);
        let settled = world.sums.settle(&mut source, &path(&name), true);
        assert_eq!(matches!(settled, Err(ReadError::Replaced)), forgotten, "{settled:?}");
        assert_eq!(world.read(&name, 100, true), Some(new), "and the sums are still its own");
        world.disk.remove(&path(&name)).unwrap();
        let settled = world.sums.settle(&mut source, &path(&name), true);
        assert_eq!(matches!(settled, Err(ReadError::Replaced)), forgotten, "{settled:?}");
    }
}
