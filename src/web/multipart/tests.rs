//! Forms cut anywhere, hostile forms, and what is known of a part before it ends.

use super::*;
use crate::request::pair;
use proptest::prelude::*;

const TYPE: &str = "multipart/form-data; boundary=XX";
const LIMITS: MultipartLimits = MultipartLimits { parts_max: 4, head_bytes_max: 300 };

fn request(content_type: &str, body: Body) -> Request {
    let variables = [("CONTENT_TYPE", content_type)];
    Request::for_test("POST", "/upload", &variables, body).unwrap()
}

/// A body that arrives in these pieces, each only after the one before was taken.
fn body_of(pieces: Vec<Vec<u8>>) -> (Body, impl Future<Output = ()>) {
    let (feed, body) = pair(None);
    let feeding = async move {
        for piece in pieces {
            feed.push(&piece);
            let taken = |cx: &mut Context<'_>| match feed.wake_when_taken(cx) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            };
            std::future::poll_fn(taken).await;
        }
        feed.end();
    };
    (body, feeding)
}

/// All parts as `name|file name|type|content`, then the error if there was one.
async fn lines_of(request: &mut Request) -> Vec<String> {
    let mut lines = Vec::new();
    let mut parts = match Multipart::new(request, LIMITS) {
        Ok(parts) => parts,
        Err(error) => return vec![error.to_string()],
    };
    loop {
        let mut part = match parts.next_part().await {
            Ok(Some(part)) => part,
            Ok(None) => return lines,
            Err(error) => {
                lines.push(error.to_string());
                return lines;
            }
        };
        let mut content = Vec::new();
        let end = loop {
            match part.chunk().await {
                Ok(Some(chunk)) => content.extend_from_slice(&chunk),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        lines.push(format!(
            "{}|{}|{}|{}",
            part.name(),
            part.file_name().unwrap_or("-"),
            part.content_type().unwrap_or("-"),
            content.escape_ascii()
        ));
        if let Some(error) = end {
            lines.push(error);
            return lines;
        }
    }
}

async fn lines_in_pieces(content_type: &str, pieces: Vec<Vec<u8>>) -> Vec<String> {
    let (body, feeding) = body_of(pieces);
    let mut request = request(content_type, body);
    let lines = async {
        let lines = lines_of(&mut request).await;
        drop(request); // lets the feeding end
        lines
    };
    tokio::join!(lines, feeding).0
}

async fn lines(bytes: &[u8]) -> Vec<String> {
    lines_in_pieces(TYPE, vec![bytes.to_vec()]).await
}

fn part(head: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--XX--\r\n"].concat()
}

/// Fields before and after files, a file without bytes, one that looks like a boundary.
fn mixed() -> (Vec<u8>, Vec<&'static str>) {
    let picture = "name=\"file\"; filename=\"\u{56fe}.png\"\r\nContent-Type: image/png";
    let bytes = form(&[
        part("name=\"parent\"", b"12"),
        part(picture, b"\x89PNG\r\n--X\r\n--\r\n\r"),
        part("name=\"file\"; filename=\"a\\\"b.txt\"", b""),
        part("name=\"after\"", "\u{4f60}".as_bytes()),
    ]);
    let want = vec![
        "parent|-|-|12",
        "file|\u{56fe}.png|image/png|\\x89PNG\\r\\n--X\\r\\n--\\r\\n\\r",
        "file|a\"b.txt|-|",
        "after|-|-|\\xe4\\xbd\\xa0",
    ];
    (bytes, want)
}

#[tokio::test]
async fn parts_come_in_the_order_of_the_client() {
    let (bytes, want) = mixed();
    assert_eq!(lines(&bytes).await, want);
}

#[tokio::test]
async fn a_cut_at_any_byte_changes_nothing() {
    let (bytes, want) = mixed();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let pieces = vec![head.to_vec(), tail.to_vec()];
        assert_eq!(lines_in_pieces(TYPE, pieces).await, want, "cut at {cut}");
    }
    let single = bytes.iter().map(|byte| vec![*byte]).collect();
    assert_eq!(lines_in_pieces(TYPE, single).await, want);
}

#[tokio::test]
async fn no_prefix_is_a_whole_form() {
    let (bytes, want) = mixed();
    // The last two bytes follow the final boundary and mean nothing.
    for cut in 0..bytes.len() - 2 {
        let got = lines(&bytes[..cut]).await;
        let last = got.last().expect("there is at least an error");
        assert_eq!(last, "the multipart body is malformed", "cut at {cut}");
        assert!(got.len() <= want.len() + 1);
    }
}

#[tokio::test]
async fn what_was_not_read_is_skipped() {
    let (bytes, _) = mixed();
    let (body, feeding) = body_of(bytes.chunks(7).map(<[u8]>::to_vec).collect());
    let mut request = request(TYPE, body);
    let names = async {
        let mut parts = Multipart::new(&mut request, LIMITS).unwrap();
        let mut names = Vec::new();
        while let Some(part) = parts.next_part().await.unwrap() {
            names.push(part.name().to_owned());
        }
        names
    };
    assert_eq!(tokio::join!(names, feeding).0, ["parent", "file", "file", "after"]);
}

#[tokio::test]
async fn text_is_limited_and_utf_8() {
    for (content, max, want) in [
        (&b"12345"[..], 5, Some("12345")),
        (b"12345", 4, None),
        (b"", 0, Some("")),
        (b"\xff", 9, None),
    ] {
        let body = Body::from_bytes(form(&[part("name=\"a\"", content)]));
        let mut request = request(TYPE, body);
        let mut parts = Multipart::new(&mut request, LIMITS).unwrap();
        let part = parts.next_part().await.unwrap().unwrap();
        assert_eq!(part.text(max).await.ok().as_deref(), want);
    }
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    let refused = ["the content type is not multipart/form-data with a boundary"];
    for content_type in
        ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary=\"\"", &long]
    {
        let got = lines_in_pieces(content_type, vec![]).await;
        assert_eq!(got, refused, "{content_type}");
    }
}

#[tokio::test]
async fn limits_hold_at_their_value_and_refuse_one_more() {
    let four = vec![part("name=\"a\"", b"1"); 4];
    assert_eq!(lines(&form(&four)).await, ["a|-|-|1"; 4]);
    let five = vec![part("name=\"a\"", b"1"); 5];
    assert_eq!(lines(&form(&five)).await[4..], ["more than 4 parts"]);

    // A header block that never ends, a preamble that never ends, padding without end.
    let refused = ["the header of a part exceeds 300 bytes"];
    let endless = part(&format!("name=\"{}", "n".repeat(100_000)), b"");
    assert_eq!(lines(&endless).await, refused);
    assert_eq!(lines(&vec![b'p'; 100_000]).await, refused);
    let padding = ["--XX".as_bytes(), &[b' '; 100_000]].concat();
    assert_eq!(lines(&padding).await, refused);
    let later = [part("name=\"a\"", b"1"), endless].concat();
    assert_eq!(lines(&later).await, ["a|-|-|1", refused[0]]);
    // A large part is not a large header.
    let large = form(&[part("name=\"a\"; filename=\"f\"", &[b'x'; 500_000])]);
    assert_eq!(lines(&large).await[0].len(), "a|f|-|".len() + 500_000);
}

#[tokio::test]
async fn names_must_be_there_and_be_text() {
    let named = |disposition: &[u8]| {
        [b"--XX\r\nContent-Disposition: ", disposition, b"\r\n\r\n1\r\n--XX--\r\n"].concat()
    };
    for disposition in [
        &b"form-data"[..],
        b"form-data; filename=\"f\"",
        b"form-data; name=\"\xff\"",
        b"form-data; name=\"a\"; filename=\"\xff\"",
    ] {
        let got = lines(&named(disposition)).await;
        assert_eq!(got, ["a part has no usable name"], "{}", disposition.escape_ascii());
    }
    let got = lines(b"--XX\r\nContent-Type: text/plain\r\n\r\n1\r\n--XX--\r\n").await;
    assert_eq!(got, ["a part has no usable name"]);
}

#[tokio::test]
async fn an_aborted_body_is_told_as_such() {
    let (feed, body) = pair(None);
    feed.push(&part("name=\"a\"", b"12"));
    feed.fail(BodyError::Aborted);
    let got = lines_of(&mut request(TYPE, body)).await;
    assert_eq!(got.last().unwrap(), "the request was aborted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_bytes_can_hurt(
        noise in proptest::collection::vec(
            prop_oneof![
                Just(b"--XX".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"--".to_vec()),
                Just(b"Content-Disposition: form-data; name=\"".to_vec()),
                Just(b"\"".to_vec()),
                Just(b"; filename=".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..30),
            ],
            0..40,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let whole = runtime.block_on(lines(&noise.concat()));
        let pieces = runtime.block_on(lines_in_pieces(TYPE, noise));
        // Which of two errors is met first depends on how much is seen at once.
        let ends_well = |lines: &[String]| lines.iter().all(|line| line.contains('|'));
        if ends_well(&whole) && ends_well(&pieces) {
            prop_assert_eq!(whole, pieces);
        }
    }
}

const BOUNDARY: &str = "----x";

/// A form of these files, with what the specification allows around them.
fn files_form(preamble: &str, files: &[&[u8]]) -> Vec<u8> {
    let mut body = preamble.as_bytes().to_vec();
    for file in files {
        let head = "content-disposition: form-data; name=\"file\"; filename=\"a\"";
        body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

fn files_request(form: &[u8], piece: usize) -> Request {
    let (feed, body) = crate::request::pair(Some(form.len() as u64));
    for piece in form.chunks(piece) {
        feed.push(piece);
    }
    feed.end();
    let length = form.len().to_string();
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let variables = [("CONTENT_LENGTH", &*length), ("CONTENT_TYPE", &*content_type)];
    Request::for_test("POST", "/api/upload", &variables, body).unwrap()
}

#[tokio::test]
async fn the_length_of_the_last_part_is_known_when_it_begins() {
    let large = vec![7u8; 200_000];
    let tricky = b"\r\n\r\n--\r\n\r\n\r\r\n\r\n----\r\n----y\r\n\r\n".repeat(3000);
    let cases: [&[&[u8]]; 8] = [
        &[b""],
        &[b"", b"", &large],
        &[b"1234", &[7; 300], b"", &large],
        &[&large, &large, b""],
        &[b"abc"],
        &[&large],
        &[&tricky, b"\r\n", &large],
        &[b"\r\n\r\n", &large, &tricky],
    ];
    let both = |files| [("", files), ("pre\r\n\r\namble\r\n", files)];
    for (preamble, files) in cases.into_iter().flat_map(both) {
        let form = files_form(preamble, files);
        for piece in [1000, 4096, 65_536, form.len()] {
            let mut request = files_request(&form, piece);
            let mut parts = Multipart::new(&mut request, MultipartLimits::default()).unwrap();
            let mut left = files.len();
            for file in files {
                let mut part = parts.next_part().await.unwrap().unwrap();
                left -= 1;
                let guess = part.length();
                let mut got = Vec::new();
                while let Some(chunk) = part.chunk().await.unwrap() {
                    got.extend_from_slice(&chunk);
                }
                assert!(got == *file, "piece {piece}");
                if left == 0 {
                    assert_eq!(guess, Some(file.len() as u64), "piece {piece}");
                } else {
                    assert!(Some(file.len() as u64) < guess);
                }
            }
            assert!(parts.next_part().await.unwrap().is_none());
        }
    }
}

/// Whether the parser has looked at the last bytes that it may get must not depend on how often
/// it was asked before.
#[tokio::test]
async fn what_ends_at_the_limit_is_found_wherever_the_bytes_were_cut() {
    let limits = MultipartLimits { parts_max: 8, head_bytes_max: 40 };
    let body = b"--+\r\nsomething\r\n\r\nbefore\r\n--b--\r\n and what comes behind it".to_vec();
    for first in 1..body.len() {
        for second in first..body.len() {
            let cuts = [&body[..first], &body[first..second], &body[second..]];
            let pieces = cuts.map(<[u8]>::to_vec);
            let mut request = request("multipart/form-data; boundary=b", Body::from_pieces(pieces));
            let mut multipart = Multipart::new(&mut request, limits).unwrap();
            let end = multipart.next_part().await.map(|part| part.is_none());
            assert!(matches!(end, Ok(true)), "cut at {first} and {second}: {end:?}");
        }
    }
}
