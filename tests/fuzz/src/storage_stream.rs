//! A connection to the storage: frames of any kind, cut anywhere, against a store that holds a
//! file, an appender and metadata. Every request has one answer of a legal form or ends the
//! connection, and no file appears that was not wholly there.

use storage::fuzzing::World;

use crate::pieces::split;
use crate::tracker_stream::{answers_are_whole, runtime};

pub fn run(data: &[u8]) {
    let (pieces, _) = split(data);
    runtime().block_on(async {
        let mut world = World::new();
        for (appender, content) in [(false, &b"a file"[..]), (true, b"an appender")] {
            let stored = world.upload(appender, content).await;
            assert!(stored.is_ok());
        }
        answers_are_whole(&world.stream(&pieces).await);
    });
}
