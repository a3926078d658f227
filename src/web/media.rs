//! What a content is: its media type, from its first bytes with the name as a hint, and the
//! category it is listed under.
//!
//! Called by uploads, and by downloads to decide what may be shown in a page's window. Pure.

use serde::Serialize;

/// Bytes of a content's beginning that are looked at.
pub(crate) const HEAD_BYTES: usize = 4096;

/// What people look for things under. The numbers stand in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Category {
    Image = 1,
    Video = 2,
    Audio = 3,
    Document = 4,
    Archive = 5,
    Other = 6,
}

impl Category {
    /// In the order they are shown.
    pub(crate) const ALL: [Self; 6] =
        [Self::Image, Self::Video, Self::Audio, Self::Document, Self::Archive, Self::Other];

    /// The word the API has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Archive => "archive",
            Self::Other => "other",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.word() == word)
    }

    /// None for 0, which folders have, and for what a newer version may have written.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|category| *category as u8 == number)
    }
}

/// Texts, by suffix: their bytes alone do not tell one from another.
const TEXTS: &[(&str, &str)] = &[
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("svg", "image/svg+xml"),
    ("xml", "application/xml"),
];

/// The media type of a content that begins with `head`, and its category. Never trusts a
/// client's claim; a name only tells texts apart.
pub(crate) fn sniff(head: &[u8], name: &str) -> (&'static str, Category) {
    if let Some(kind) = infer::get(head) {
        let category = match kind.matcher_type() {
            infer::MatcherType::Image => Category::Image,
            infer::MatcherType::Video => Category::Video,
            infer::MatcherType::Audio => Category::Audio,
            infer::MatcherType::Doc | infer::MatcherType::Book => Category::Document,
            infer::MatcherType::Archive if kind.mime_type() == "application/pdf" => {
                Category::Document
            }
            infer::MatcherType::Archive => Category::Archive,
            infer::MatcherType::Text => Category::Document,
            _ => Category::Other,
        };
        return (kind.mime_type(), category);
    }
    if head.is_empty() || !is_text(head) {
        return ("application/octet-stream", Category::Other);
    }
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix.to_ascii_lowercase());
    let known = TEXTS.iter().find(|(known, _)| Some(*known) == suffix.as_deref());
    match known {
        Some((_, svg @ "image/svg+xml")) => (svg, Category::Image),
        Some((_, media_type)) => (media_type, Category::Document),
        None => ("text/plain", Category::Document),
    }
}

/// UTF-8 without control characters, except for a character that the end of `head` cuts.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let valid = head.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}'))
}

/// How a content is shown inside a page, or None if it must be saved as a file: anything that
/// could run something is not on this list.
pub(crate) fn inline_type(media_type: &str) -> Option<&str> {
    match media_type {
        "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif" | "image/bmp"
        | "application/pdf" => Some(media_type),
        // A text may claim to be a page; shown as plain text it is only read.
        text if text.starts_with("text/") || text == "application/json" => {
            Some("text/plain; charset=utf-8")
        }
        media if media.starts_with("audio/") || media.starts_with("video/") => Some(media),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_by_their_bytes() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        let cases: [(&[u8], &str, &str, Category); 10] = [
            (png, "a.txt", "image/png", Category::Image),
            (b"%PDF-1.7\n", "a", "application/pdf", Category::Document),
            (b"\x1f\x8b\x08\0\0\0\0\0", "a.tgz", "application/gzip", Category::Archive),
            (b"ID3\x04\0\0\0\0", "a", "audio/mpeg", Category::Audio),
            (b"hello\n", "a", "text/plain", Category::Document),
            (b"# hello\n", "a.MD", "text/markdown", Category::Document),
            ("你好，世".as_bytes(), "a.txt", "text/plain", Category::Document),
            (&"世".as_bytes()[..2], "a.txt", "text/plain", Category::Document),
            (b"\0\x01\x02", "a.png", "application/octet-stream", Category::Other),
            (b"", "a.png", "application/octet-stream", Category::Other),
        ];
        for (head, name, media_type, category) in cases {
            assert_eq!(sniff(head, name), (media_type, category), "{head:?} {name}");
        }
    }

    #[test]
    fn what_could_run_is_never_shown_in_a_page() {
        for hostile in ["image/svg+xml", "application/xml", "application/xhtml+xml", "x/y", ""] {
            assert_eq!(inline_type(hostile), None, "{hostile}");
        }
        assert_eq!(inline_type("text/html"), Some("text/plain; charset=utf-8"));
        assert_eq!(inline_type("image/png"), Some("image/png"));
    }

    #[test]
    fn categories_keep_their_numbers() {
        for number in 1..=6 {
            assert_eq!(Category::from_number(number).map(|c| c as u8), Some(number));
        }
        assert_eq!(Category::from_number(0), None);
        assert_eq!(Category::from_number(7), None);
    }
}
