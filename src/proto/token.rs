//! Signed download links: the token of the C module, and the strong form beside it (http.md 14).
//!
//! The nginx module verifies; the drive, the tools and whoever links to files sign, with
//! [`Link::sign`]. No clock and no random source is needed: `now` is an argument. Comparisons
//! take the same time wherever the difference is.
//!
//! A strong link is the address of a file and these parameters, each of which is signed:
//!
//! ```text
//! /group1/M00/00/00/NAME?k=KEY&e=EXPIRES[&inline=1][&type=TYPE][&b=1][&filename=NAME]&s=SIGNATURE
//!
//! SIGNATURE = base64url(HMAC-SHA-256(secret of KEY, message)), 43 characters
//! message   = "fastdisk-link-1" LF "GET" LF file id LF EXPIRES LF KEY LF inline ("1" or "") LF
//!             TYPE LF client address if b=1 LF "+" decoded NAME, or "-" if there is none
//! ```
//!
//! The file id has its group whether or not the address shows it. The name comes last, so that
//! no byte of it can be taken for another field. GET also covers HEAD.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::base64;
use crate::disposition::Disposition;
use crate::query::{self, Query, number};

/// Bytes of a key's secret: below this it could be guessed.
pub const SECRET_LEN_MIN: usize = 16;
/// Characters of a key's name.
pub const KEY_NAME_LEN_MAX: usize = 16;
/// Characters of a media type in a link.
const TYPE_LEN_MAX: usize = 127;
/// How long a hop from one server to the next may take, with their clocks' difference.
const HOP_SECS: u64 = 300;

/// Why a request may not have its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the link has no token")]
    Missing,
    #[error("the link's token is malformed")]
    Malformed,
    #[error("the link is signed with a key that is not known here")]
    UnknownKey,
    #[error("the link's token is wrong")]
    Wrong,
    #[error("the link has expired")]
    Expired,
}

/// One secret for strong links, under the name that links mention. Several may be valid at a
/// time: sign with the newest, verify with all, and drop the oldest when its links are gone.
#[derive(Clone)]
pub struct Key {
    name: String,
    mac: Hmac<Sha256>,
}

impl Key {
    /// A key; none if the name is not 1 to [`KEY_NAME_LEN_MAX`] letters, digits, `-` and `_`, or
    /// the secret is shorter than [`SECRET_LEN_MIN`].
    pub fn new(name: &str, secret: &[u8]) -> Option<Self> {
        let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let fits = (1..=KEY_NAME_LEN_MAX).contains(&name.len()) && SECRET_LEN_MIN <= secret.len();
        let mac = Hmac::new_from_slice(secret).ok()?;
        (clean && fits).then(|| Self { name: name.to_string(), mac })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn sum(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name) // never the secret
    }
}

/// What a strong link grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link<'a> {
    /// Unix seconds; at this second the link still works.
    pub expires: u64,
    /// Shown by the browser instead of saved under `filename`.
    pub inline: bool,
    /// The media type of the answer, instead of the one that the extension stands for.
    pub media_type: Option<Cow<'a, str>>,
    /// The name under which the file is saved.
    pub filename: Option<Cow<'a, [u8]>>,
    /// The only address from which the link works.
    pub client: Option<IpAddr>,
}

impl Link<'_> {
    /// A link to save or show a file until `expires`; set other fields as needed.
    pub fn until(expires: u64) -> Self {
        Self { expires, ..Self::default() }
    }

    /// The query of a link to `file` (`group1/M00/...`), without its question mark.
    pub fn sign(&self, key: &Key, file: &str) -> String {
        let mut out = format!("k={}&e={}", key.name, self.expires);
        if self.inline {
            out.push_str("&inline=1");
        }
        if let Some(media_type) = &self.media_type {
            out.push_str("&type=");
            query::encode_into(&mut out, media_type.as_bytes());
        }
        if self.client.is_some() {
            out.push_str("&b=1");
        }
        if let Some(filename) = &self.filename {
            out.push_str("&filename=");
            query::encode_into(&mut out, filename);
        }
        out.push_str("&s=");
        out.push_str(&base64::encode(&key.sum(&self.message(&key.name, file))));
        out
    }

    /// `Content-Disposition` of the answer, if the link says anything about it.
    pub fn disposition(&self) -> Option<String> {
        let kind = if self.inline { Disposition::Inline } else { Disposition::Attachment };
        let said = self.inline || self.filename.is_some();
        said.then(|| kind.header(self.filename.as_deref().unwrap_or_default()))
    }

    fn message(&self, key: &str, file: &str) -> Vec<u8> {
        let inline = if self.inline { "1" } else { "" };
        let media_type = self.media_type.as_deref().unwrap_or("");
        let client = self.client.map(|ip| ip.to_canonical().to_string()).unwrap_or_default();
        let head = format!(
            "fastdisk-link-1\nGET\n{file}\n{}\n{key}\n{inline}\n{media_type}\n{client}\n",
            self.expires
        );
        let mut message = head.into_bytes();
        match &self.filename {
            Some(name) => {
                message.push(b'+');
                message.extend_from_slice(name);
            }
            None => message.push(b'-'),
        }
        message
    }
}

/// Whether the query is one of a strong link, good or bad.
pub fn is_link(query: Query<'_>) -> bool {
    query.raw("s").is_some() && query.raw("k").is_some()
}

/// What the link grants, if one of `keys` signed it for `file` and it has not expired.
pub fn verify_link(
    keys: &[Key],
    file: &str,
    query: Query<'_>,
    now: u64,
    client: Option<IpAddr>,
) -> Result<Link<'static>, Refusal> {
    let (Some(name), Some(signature)) = (query.raw("k"), query.raw("s")) else {
        return Err(Refusal::Missing);
    };
    let mut link = read_link(query)?;
    let signature: [u8; 32] = base64::decode(signature).ok_or(Refusal::Malformed)?;
    if flag(query, "b")? {
        link.client = Some(client.ok_or(Refusal::Wrong)?.to_canonical());
    }
    let key = keys.iter().find(|key| key.name.as_bytes() == name).ok_or(Refusal::UnknownKey)?;
    let right = key.sum(&link.message(&key.name, file));
    if !bool::from(right.ct_eq(&signature)) {
        return Err(Refusal::Wrong);
    }
    // Only now: a forged link is told nothing but that.
    if link.expires < now { Err(Refusal::Expired) } else { Ok(link) }
}

/// What a link asks for, good or bad: only for those who know from elsewhere that it is good.
/// The address it is bound to is not in it.
pub fn read_link(query: Query<'_>) -> Result<Link<'static>, Refusal> {
    Ok(Link {
        expires: query.raw("e").and_then(number).ok_or(Refusal::Malformed)?,
        inline: flag(query, "inline")?,
        media_type: query.get("type").map(media_type).transpose()?.map(Cow::Owned),
        filename: query.get("filename").map(Cow::Owned),
        client: None,
    })
}

fn flag(query: Query<'_>, key: &str) -> Result<bool, Refusal> {
    match query.raw(key) {
        None => Ok(false),
        Some(b"1") => Ok(true),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// `type/subtype` with parameters, of characters that a header may hold.
fn media_type(text: Vec<u8>) -> Result<String, Refusal> {
    let fits = text.len() <= TYPE_LEN_MAX && text.contains(&b'/');
    let clean = text.iter().all(|byte| (b' '..=b'~').contains(byte));
    let text = String::from_utf8(text).ok().filter(|_| fits && clean);
    text.ok_or(Refusal::Malformed)
}

/// What one server tells the next when it asks for a file on behalf of a client: that it may,
/// so that limits which only the first can judge (the client's address) are not judged twice.
pub fn sign_hop(key: &Key, file: &str, now: u64) -> String {
    let until = now.saturating_add(HOP_SECS);
    let sum = key.sum(&hop_message(&key.name, file, until));
    format!("1 {} {until} {}", key.name, base64::encode(&sum))
}

/// Whether `pass` was made by [`sign_hop`] for this file not long ago.
pub fn verify_hop(keys: &[Key], file: &str, pass: &[u8], now: u64) -> bool {
    let mut parts = pass.split(|byte| *byte == b' ').skip(1);
    let (name, until, sum) = (parts.next(), parts.next(), parts.next());
    let until = until.and_then(number);
    let key = name.and_then(|name| keys.iter().find(|key| key.name.as_bytes() == name));
    let sum = sum.and_then(base64::decode::<32>);
    let (Some(key), Some(until), Some(sum)) = (key, until, sum) else { return false };
    let right = key.sum(&hop_message(&key.name, file, until));
    // Not from a far future either: such a pass would be good for ever.
    let span = HOP_SECS.saturating_mul(2);
    let timely = now <= until && until <= now.saturating_add(span);
    bool::from(right.ct_eq(&sum)) && timely
}

fn hop_message(key: &str, file: &str, until: u64) -> Vec<u8> {
    format!("fastdisk-hop-1\n{key}\n{until}\n{file}").into_bytes()
}

/// The token of the C module, 32 hexadecimal digits: MD5 over `path` (the logic name as the
/// address shows it, without group and leading slash), the secret, and the time in decimal.
pub fn md5_token(path: &[u8], secret: &[u8], ts: i64) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let time = ts.to_string();
    let sum = Md5::new().chain_update(path).chain_update(secret).chain_update(time).finalize();
    let mut token = [b'0'; 32];
    for (pair, byte) in token.chunks_exact_mut(2).zip(sum.iter()) {
        let digits = [byte >> 4, byte & 15].map(usize::from);
        for (slot, digit) in pair.iter_mut().zip(digits) {
            *slot = DIGITS.get(digit).copied().unwrap_or(b'0');
        }
    }
    token
}

/// Checks the parameters `token` and `ts` as the C module does (http.md 14.2): a time of 0
/// never expires, one of the future is accepted. Returns the last second at which the link works,
/// if there is one.
pub fn verify_md5(
    path: &[u8],
    secret: &[u8],
    ttl_secs: u64,
    query: Query<'_>,
    now: u64,
) -> Result<Option<u64>, Refusal> {
    let (Some(token), Some(ts)) = (query.get("token"), query.get("ts")) else {
        return Err(Refusal::Missing);
    };
    let ts = leading_number(&ts);
    let right = md5_token(path, secret, ts);
    if !bool::from(right.as_slice().ct_eq(&token)) {
        return Err(Refusal::Wrong);
    }
    let ends = u64::try_from(ts).unwrap_or(0).saturating_add(ttl_secs);
    match ts {
        0 => Ok(None),
        _ if ends < now => Err(Refusal::Expired),
        _ => Ok(Some(ends)),
    }
}

/// As `atoi` of C: blanks, a sign, digits; anything else is 0. What C leaves undefined, numbers
/// that do not fit, are 0 as well.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let mut value = 0i64;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        let next = value.checked_mul(10).and_then(|value| value.checked_add(digit));
        match next.filter(|next| *next <= i64::from(i32::MAX)) {
            Some(next) => value = next,
            None => return 0,
        }
    }
    value.saturating_mul(sign)
}

#[cfg(test)]
mod tests;
