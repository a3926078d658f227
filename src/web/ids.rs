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

/// A resumable upload: 128 random bits, so that knowing one tells nothing about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UploadId(pub(crate) [u8; 16]);

impl UploadId {
    /// 32 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = crate::session::unhex(text)?;
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::session::hex(&self.0))
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

impl NodeId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        number(text).map(Self)
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
    fn an_id_has_one_spelling() {
        assert_eq!(NodeId::parse("18446744073709551615"), Some(NodeId(u64::MAX)));
        for wrong in ["", "0", "01", "+1", "-1", " 1", "1 ", "1.0", "18446744073709551616", "١"] {
            assert_eq!(NodeId::parse(wrong), None, "{wrong}");
        }
    }
}
