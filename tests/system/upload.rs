//! One operation after the other: what was stored comes back, what was deleted does not.

use proto::fileid::FileId;

use crate::World;
use crate::support::checker::{Facts, pairs};
use crate::support::history::Content;

#[test]
fn files_of_every_size_come_back_byte_for_byte() {
    let world = World::start("sizes");
    let client = world.client(1);
    let mut rng = world.seed.rng();
    world.runtime.block_on(async {
        for len in [0, 1, 255, 4096, 65_536, 262_143, 262_144, 262_145, 1 << 20, 20_000_001] {
            let content = Content { seed: rng.next(), len };
            let id = client.upload(content).await.expect("an upload is taken");
            let bytes = client.read(&id, None).await.expect("it can be read at once");
            assert!(bytes == content.bytes(), "{id}: {len} bytes differ");
            let info = client.client.info(&id).await.expect("it is known");
            assert_eq!(info.size, len as u64);
        }
    });
    world.check(&Facts::default());
}

#[test]
fn a_part_of_a_file_is_that_part() {
    let world = World::start("parts");
    let client = world.client(1);
    let content = Content { seed: world.seed.0, len: 300_000 };
    let whole = content.bytes();
    world.runtime.block_on(async {
        let id = client.upload(content).await.expect("an upload is taken");
        for (offset, bytes) in [(0, 1), (299_999, 1), (100, 262_144), (1, 0)] {
            let mut part = client.client.download(&id, offset, bytes).await.expect("a legal range");
            let mut got = Vec::new();
            while let Some(chunk) = part.chunk().await.expect("it arrives") {
                got.extend_from_slice(&chunk);
            }
            let from = usize::try_from(offset).expect("it fits");
            let len = usize::try_from(bytes).expect("it fits");
            let to = if bytes == 0 { whole.len() } else { from + len };
            assert!(got == whole[from..to], "{offset}+{bytes}");
        }
        for beyond in [300_000, 300_001] {
            let refused = client.client.download(&id, beyond, 0).await;
            assert!(refused.is_err(), "nothing is at {beyond}");
        }
    });
}

#[test]
fn a_deleted_file_is_gone_and_deleting_it_again_says_so() {
    let world = World::start("delete");
    let client = world.client(1);
    let at = world.cluster.storages[0].address;
    world.runtime.block_on(async {
        let gone = client.upload(Content { seed: 1, len: 1000 }).await.expect("taken");
        let kept = client.upload(Content { seed: 2, len: 1000 }).await.expect("taken");
        client.delete(&gone, at).await.expect("it is there to be deleted");
        let read = client.read(&gone, Some(at)).await.expect_err("it is gone");
        assert!(read.is_not_found(), "{read}");
        let again = client.client.delete(&gone).await.expect_err("it is gone");
        assert!(again.is_not_found(), "{again}");
        client.read(&kept, Some(at)).await.expect("its neighbour stays");
        let never = FileId::parse(gone.to_string().replace(".bin", ".txt")).expect("an id");
        let unknown = client.client.delete(&never).await.expect_err("it never was");
        assert!(unknown.is_not_found(), "{unknown}");
    });
    world.check(&Facts::default());
}

#[test]
fn the_last_metadata_set_are_the_ones_that_are_read() {
    let world = World::start("metadata");
    let client = world.client(1);
    world.runtime.block_on(async {
        let id = client.upload(Content { seed: 1, len: 10 }).await.expect("taken");
        assert!(client.metadata(&id).await.is_empty());
        for seed in 2..5 {
            let content = Content { seed, len: 3 };
            client.set_metadata(&id, content).await.expect("taken");
            assert_eq!(client.metadata(&id).await, pairs(content));
        }
    });
    world.check(&Facts::default());
}
