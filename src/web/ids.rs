//! Numbers that cannot be mixed up: users, nodes, contents, and points in time.
//!
//! Used by everything in this crate. Ids travel as text in JSON, because a browser's numbers end
//! at 2^53.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }
    };
}

id! {
    /// A user's row.
    UserId
}
id! {
    /// A file's or folder's row.
    NodeId
}
id! {
    /// A stored content's row.
    BlobId
}
id! {
    /// An API token's row.
    TokenId
}

/// A resumable upload: 128 random bits, so that knowing one tells nothing about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UploadId(pub(crate) [u8; 16]);

impl UploadId {
    /// 32 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = crate::hex::unhex(text)?;
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::hex::hex(&self.0))
    }
}

impl serde::Serialize for UploadId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl UserId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number(text).map(Self)
    }
}

impl TokenId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number(text).map(Self)
    }
}

impl NodeId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number(text).map(Self)
    }
}

/// A share: 128 random bits, which nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ShareId([u8; 16]);

impl ShareId {
    pub(crate) fn new(random: &dyn net::ports::Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// 32 lower-case hexadecimal digits: one text for each id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(plain) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl std::fmt::Display for ShareId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl serde::Serialize for ShareId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

/// Decimal digits without sign or leading zero: one text for each id.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

/// Milliseconds since 1970, as the system clock tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct UnixMs(pub(crate) u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_one_spelling() {
        let text = "000102030405060708090a0b0c0d0eff";
        assert_eq!(ShareId::parse(text).unwrap().to_string(), text);
        let long = format!("{text}0");
        for wrong in
            ["", &text[1..], &long, &text.to_uppercase(), "+00102030405060708090a0b0c0d0eff"]
        {
            assert_eq!(ShareId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!(NodeId::parse("18446744073709551615"), Some(NodeId(u64::MAX)));
        for wrong in ["", "0", "01", "+1", "-1", " 1", "1 ", "1.0", "18446744073709551616", "١"] {
            assert_eq!(NodeId::parse(wrong), None, "{wrong}");
        }
    }
}
