//! A connection to the tracker: frames of any kind, cut anywhere. Every request has one answer
//! of a legal form or ends the connection.

use proto::header::Header;
use tokio::runtime::{Builder, Runtime};

use crate::pieces::split;

pub fn run(data: &[u8]) {
    let Some((flags, data)) = data.split_first() else { return };
    let (pieces, _) = split(data);
    let answers = runtime().block_on(tracker::fuzzing::serve(flags & 1 == 1, &pieces));
    answers_are_whole(&answers);
}

/// A runtime on this thread; one for each input, so that nothing is carried over.
pub(crate) fn runtime() -> Runtime {
    let made = Builder::new_current_thread().enable_time().max_blocking_threads(2).build();
    made.expect("a runtime can be made")
}

/// What a daemon sends is frames and nothing else.
pub(crate) fn answers_are_whole(mut answers: &[u8]) {
    while let Some((head, rest)) = answers.split_first_chunk::<{ Header::LEN }>() {
        let header = Header::decode(head).expect("a daemon's header is legal");
        assert_eq!(header.cmd, 100, "an answer");
        let len = usize::try_from(header.body_len).expect("it fits");
        assert!(len <= rest.len(), "the answer announces {len} bytes and has {}", rest.len());
        answers = rest.get(len..).unwrap_or_default();
    }
    assert!(answers.is_empty(), "half a header is left");
}
