//! A stored file as an answer: nginx sends the bytes, here stands under which name and type, and
//! whether it counts as a download.
//!
//! Used by `download` and `share` behind the gate: a file id comes out of a grant.

use redis::Script;

use crate::app::App;
use crate::cache::{CALL_MARK_MS, call_mark};
use crate::db::Node;
use crate::error::WebError;
use crate::hex::escape;
use crate::media::inline_type;
use crate::request::{Fields, Method, Request};
use crate::response::Response;

/// For so long a second download of one file by one person does not count.
const ONCE_MS: u64 = 10 * 60 * 1000;

/// KEYS mark; ARGV ms it lives. 1 for whoever sets it.
const FIRST: &str = "
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 1 end
return 0";

/// KEYS name of a number, mark of this call; ARGV what is taken from it, ms the mark lives. 1 if
/// there was so much. Takes it once, also when it is run again.
const SPEND: &str = "
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
local left = redis.call('GET', KEYS[1])
if not left or tonumber(left) < tonumber(ARGV[1]) then return 0 end
redis.call('DECRBY', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return 1";

const GET: &str = "return redis.call('GET', KEYS[1])";

/// KEYS name; ARGV text, ms it lives.
const PUT: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1";

/// Whether the query asks for a file to be shown and not saved.
pub(crate) fn inline(query: &Fields) -> Result<bool, WebError> {
    match query.get("inline") {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(WebError::Invalid("inline", "use 0 or 1")),
    }
}

/// Whether a request asks for a file from its beginning on, or may be answered with all of it.
pub(crate) fn is_start(request: &Request) -> bool {
    request.method() == Method::Get && rest_bytes(request, u64::MAX).is_none()
}

/// How many bytes at most a request is answered with that goes on with a download of a file of
/// `size` bytes. None for any other: only one plain range that begins behind the first byte is
/// sure not to be answered with the whole file.
pub(crate) fn rest_bytes(request: &Request, size: u64) -> Option<u64> {
    if request.method() != Method::Get {
        return None;
    }
    let (first, last) = request.header_text("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| plain)
    };
    let first = number(first).filter(|first| 0 < *first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    // With a validator that does not fit, a range is answered with everything.
    let first = if request.header("if-range").is_some() { 0 } else { first };
    Some(last.min(size.saturating_sub(1)).saturating_add(1).saturating_sub(first))
}

/// Counts a download, once per person and file in a while. What cannot be counted is sent all the
/// same.
pub(crate) async fn count(app: &App, by: &str, node: &Node) {
    let counted = async {
        if first(app, &format!("dl:{}:{by}", node.id), ONCE_MS).await? {
            app.db.downloaded(node.id).await?;
        }
        Ok::<(), WebError>(())
    };
    if let Err(error) = counted.await {
        log::warn!("count a download: {error}");
    }
}

/// True for the first who asks for `key` in a while.
pub(crate) async fn first(app: &App, key: &str, for_ms: u64) -> Result<bool, WebError> {
    let done: u64 = app.cache.run(&Script::new(FIRST), &[key.to_owned()], &[for_ms]).await?;
    Ok(done == 1)
}

/// Whether [`first`] was asked for `key` not long ago.
pub(crate) async fn seen(app: &App, key: &str) -> Result<bool, WebError> {
    Ok(get(app, key).await?.is_some())
}

/// Takes `amount` from a number that was [`put`] under `key`; false if it is less, or not there.
pub(crate) async fn spend(app: &App, key: &str, amount: u64) -> Result<bool, WebError> {
    let keys = [key.to_owned(), call_mark(&*app.world.random)];
    let args = [amount, CALL_MARK_MS];
    let done: u64 = app.cache.run(&Script::new(SPEND), &keys, &args).await?;
    Ok(done == 1)
}

/// What was [`put`] under `key`.
pub(crate) async fn get(app: &App, key: &str) -> Result<Option<String>, WebError> {
    let no_args: [u64; 0] = [];
    Ok(app.cache.run(&Script::new(GET), &[key.to_owned()], &no_args).await?)
}

/// Remembers a short text for a while.
pub(crate) async fn put(app: &App, key: &str, value: &str, for_ms: u64) -> Result<(), WebError> {
    let args = [value.to_owned(), for_ms.to_string()];
    let _: i64 = app.cache.run(&Script::new(PUT), &[key.to_owned()], &args).await?;
    Ok(())
}

/// The answer that nginx turns into the file.
pub(crate) fn file(node: &Node, file_id: &str, inline: bool) -> Result<Response, WebError> {
    let stored = node.media_type.as_deref().unwrap_or_default();
    let shown = inline_type(stored).filter(|_| inline);
    // What must be saved is not even named as something that could be opened.
    let media_type = shown.unwrap_or("application/octet-stream");
    let kind = if shown.is_some() { "inline" } else { "attachment" };
    Ok(Response::empty(200)
        .with_header("content-type", media_type)?
        .with_header("content-disposition", disposition(kind, &node.name))?
        .with_header("cache-control", "private, no-cache")?
        .with_header("x-content-type-options", "nosniff")?
        .with_header("content-security-policy", "sandbox; default-src 'none'")?
        .with_header("x-accel-redirect", format!("/{file_id}"))?)
}

/// RFC 6266: a name in ASCII for old clients, and the name itself in the form of RFC 8187.
pub(crate) fn disposition(kind: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control() && !matches!(c, '"' | '\\' | '%');
    let fallback: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    // RFC 8187 has every byte encoded that may not stand as it is, and permits it of the others.
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{}", escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Body;

    #[test]
    fn a_range_that_goes_on_is_no_new_download() {
        let request = |method: &str, headers: &[(&str, &str)]| {
            Request::for_test(method, "/api/download/1", headers, Body::from_bytes("")).unwrap()
        };
        let ranged = |range: &str| request("GET", &[("HTTP_RANGE", range)]);
        assert!(is_start(&request("GET", &[])) && !is_start(&request("HEAD", &[])));
        for begins in [
            "bytes=0-",
            "bytes=00-",
            "bytes=0-9",
            "bytes=5-9, 0-1",
            "bytes=5-9,10-",
            "bytes=-5",
            "bytes=9-5",
            "bytes=+5-",
            "bytes=5",
            "bytes=99999999999999999999-",
            "Bytes=5-",
            "lines=3",
        ] {
            assert!(is_start(&ranged(begins)), "{begins}");
        }
        let long = u64::MAX.to_string();
        for (goes_on, bytes) in [
            ("bytes=1-", 99),
            ("bytes=99-", 1),
            ("bytes=100-", 0),
            ("bytes=10-19", 10),
            ("bytes=10-1000", 90),
            (&format!("bytes=7-{long}"), 93),
            (&format!("bytes={long}-"), 0),
        ] {
            let request = ranged(goes_on);
            assert_eq!((is_start(&request), rest_bytes(&request, 100)), (false, Some(bytes)));
        }
        let headers = [("HTTP_RANGE", "bytes=60-"), ("HTTP_IF_RANGE", "\"x\"")];
        assert_eq!(rest_bytes(&request("GET", &headers), 100), Some(100));
    }

    #[test]
    fn names_survive_the_header() {
        let cases = [
            ("a.txt", "a.txt", "a.txt"),
            ("a b\".txt", "a b_.txt", "a%20b%22.txt"),
            ("é%41'*;.txt", "__41'*;.txt", "%C3%A9%2541%27%2A%3B.txt"),
            ("照.png", "_.png", "%E7%85%A7.png"),
        ];
        for (name, fallback, exact) in cases {
            let want = format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{exact}");
            assert_eq!(disposition("attachment", name), want);
        }
    }
}
