//! An upload's body in pieces: what is made of it does not depend on the cuts, and the parts
//! are never longer than the body.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::multipart::{Multipart, MultipartError, MultipartLimits};
use crate::request::{Body, Request};

use crate::pieces::split;

const LIMITS: MultipartLimits = MultipartLimits { parts_max: 8, head_bytes_max: 512 };

/// Name, file name and content of each part, and whether the body was refused. With which error
/// depends on the cuts: a limit may be reached before what is malformed.
type Parts = (Vec<(String, Option<String>, Vec<u8>)>, bool);

async fn parts(body: Body, boundary: &str) -> Parts {
    let kind = format!("multipart/form-data; boundary={boundary}");
    let variables = [("CONTENT_TYPE", kind.as_str())];
    let request = Request::for_test("POST", "/api/upload", &variables, body);
    let mut request = request.expect("the request itself is legal");
    let mut seen = Vec::new();
    let ended = match Multipart::new(&mut request, LIMITS) {
        Ok(mut multipart) => all(&mut multipart, &mut seen).await.err(),
        Err(error) => Some(error),
    };
    (seen, ended.is_some())
}

async fn all(
    multipart: &mut Multipart,
    seen: &mut Vec<(String, Option<String>, Vec<u8>)>,
) -> Result<(), MultipartError> {
    while let Some(mut part) = multipart.next_part().await? {
        let file_name = part.file_name().map(str::to_owned);
        seen.push((part.name().to_owned(), file_name, Vec::new()));
        while let Some(chunk) = part.chunk().await? {
            if let Some((_, _, content)) = seen.last_mut() {
                content.extend_from_slice(&chunk);
            }
        }
    }
    Ok(())
}

/// Runs a future that nobody else wakes.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = Pin::as_mut(&mut future).poll(&mut context) {
            return value;
        }
    }
    panic!("the body is there and its parts never end");
}

pub fn run(data: &[u8]) {
    let (pieces, whole) = split(data);
    let (parts_whole, ended) = finish(parts(Body::from_bytes(whole.to_vec()), "b"));
    let total: usize = parts_whole.iter().map(|(_, _, content)| content.len()).sum();
    assert!(total <= whole.len() && parts_whole.len() <= LIMITS.parts_max);
    let chunks = pieces.iter().map(|piece| piece.to_vec());
    let in_pieces = finish(parts(Body::from_pieces(chunks), "b"));
    assert_eq!(in_pieces, (parts_whole, ended));
}
