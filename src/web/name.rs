//! What a file, a folder or a user may be called.
//!
//! Used wherever a name comes in. A [`Name`] that exists is valid and in one normal form; it is
//! data and never becomes a path. Does not know which names are taken.

use unicode_normalization::UnicodeNormalization;

/// What a refused name is answered with.
pub(crate) const NAME_RULE: &str =
    "use 1 to 255 bytes without slashes, control characters or text direction overrides";

/// Bytes of a name, in UTF-8 after normalisation.
const NAME_BYTES_MAX: usize = 255;
/// Bytes that are looked at at all: normalisation may shrink a text, but not without end.
const TYPED_BYTES_MAX: usize = 1024;
/// Bytes of a suffix that stays at the end when a name gets a number.
const SUFFIX_BYTES_MAX: usize = 16;

/// The name of a file or folder: 1 to 255 bytes in NFC, not `.` or `..`, without separators,
/// control characters, line separators or bidirectional overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// None: not a name.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        if TYPED_BYTES_MAX < typed.len() {
            return None;
        }
        let name: String = typed.nfc().collect();
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        let clean = !name.chars().any(|c| matches!(c, '/' | '\\') || is_unsafe(c));
        (fits && clean && name != "." && name != "..").then_some(Self(name))
    }

    /// A name that was checked before it was stored.
    pub(crate) fn stored(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `a.txt` becomes `a (2).txt`, cut so that it still fits; number 0 leaves it as it is.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        if number == 0 {
            return self.clone();
        }
        let dot = self.0.rfind('.').filter(|at| *at != 0);
        let dot = dot.filter(|at| self.0.len().saturating_sub(*at) <= SUFFIX_BYTES_MAX);
        let (stem, suffix) = self.0.split_at(dot.unwrap_or(self.0.len()));
        let mark = format!(" ({number})");
        let room = NAME_BYTES_MAX.saturating_sub(mark.len()).saturating_sub(suffix.len());
        let end = (0..=room.min(stem.len())).rev().find(|end| stem.is_char_boundary(*end));
        let stem = stem.get(..end.unwrap_or(0)).unwrap_or_default();
        Self(format!("{stem}{mark}{suffix}"))
    }
}

/// Levels of a relative path, the file's own name included.
const PATH_NAMES_MAX: usize = 64;

/// The names in a relative path such as `a/b/c.txt`, each one valid; None if one is not, or if
/// there are too many.
pub(crate) fn folders_of(path: &str) -> Option<Vec<Name>> {
    let names: Vec<Name> =
        path.split('/').take(PATH_NAMES_MAX + 1).map(Name::parse).collect::<Option<_>>()?;
    (names.len() <= PATH_NAMES_MAX).then_some(names)
}

/// Characters that end lines, hide, or turn the reading direction of what follows. Marks such
/// as U+200F stay: Hebrew and Arabic names need them and they turn nothing but themselves.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What somebody signs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserName {
    /// As typed, in NFKC.
    pub(crate) shown: String,
    /// Folded: what must be unique, so that nobody can pass for somebody else by capitals.
    pub(crate) key: String,
}

impl UserName {
    /// 2 to 32 letters, digits, `_`, `-` or `.`, of any script, beginning with a letter or digit.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        if TYPED_BYTES_MAX < typed.len() {
            return None;
        }
        let shown: String = typed.nfkc().collect();
        let fits = (2..=32).contains(&shown.chars().count()) && shown.len() <= NAME_BYTES_MAX;
        let clean = shown.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let begins = shown.chars().next().is_some_and(char::is_alphanumeric);
        let key: String = shown.to_lowercase().nfkc().collect();
        (fits && clean && begins && key.len() <= NAME_BYTES_MAX).then_some(Self { shown, key })
    }
}

/// A text shown beside a name, such as a nickname: up to 255 bytes of NFC, nothing unsafe.
pub(crate) fn label(typed: &str) -> Option<String> {
    if TYPED_BYTES_MAX < typed.len() {
        return None;
    }
    let label: String = typed.trim().nfc().collect();
    let fits = (1..=NAME_BYTES_MAX).contains(&label.len());
    (fits && !label.chars().any(is_unsafe)).then_some(label)
}

/// An e-mail address: only what every one has; whether it exists is known when a letter arrives.
pub(crate) fn email_address(typed: &str) -> Option<String> {
    let email = label(typed)?;
    let (who, host) = email.split_once('@')?;
    let plain = !email.contains(char::is_whitespace);
    (!who.is_empty() && !host.is_empty() && plain).then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(256);
        let wide = "é".repeat(128);
        let cases = [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "..\\a",
            "a\0b",
            "a\nb",
            "\u{7f}",
            "\u{85}",
            "a\u{202e}b",
            "\u{2066}a",
            "a\u{2028}",
            &long,
            &wide,
        ];
        for case in cases {
            assert_eq!(Name::parse(case), None, "{case:?}");
        }
    }

    #[test]
    fn ordinary_and_odd_names_are_taken() {
        let longest = "x".repeat(255);
        let cases = [
            "a",
            "...",
            ".hidden",
            "照片 2024.jpg",
            "👩‍👩‍👧.png",
            "a;rm -rf ~",
            "' OR 1=1 --",
            "%2e%2e",
            "a ",
            "<b>",
            "CON",
            "שלום\u{200f}.txt",
            &longest,
        ];
        for case in cases {
            assert_eq!(Name::parse(case).unwrap().as_str(), case);
        }
    }

    #[test]
    fn twins_have_one_form() {
        assert_eq!(Name::parse("e\u{301}").unwrap(), Name::parse("\u{e9}").unwrap());
        assert_ne!(Name::parse("a").unwrap(), Name::parse("A").unwrap());
        // 300 bytes typed, 200 kept.
        assert!(Name::parse(&"e\u{301}".repeat(100)).is_some());
    }

    #[test]
    fn numbers_go_before_the_suffix_and_fit() {
        let long = format!("{}é.jpeg", "x".repeat(248));
        let cases = [
            ("a.txt", 1, "a (1).txt".to_owned()),
            ("a", 12, "a (12)".to_owned()),
            (".profile", 1, ".profile (1)".to_owned()),
            ("a.this is not a suffix", 1, "a.this is not a suffix (1)".to_owned()),
            (&long, 99, format!("{} (99).jpeg", "x".repeat(245))),
        ];
        for (name, number, want) in cases {
            let name = Name::parse(name).unwrap();
            assert_eq!(name.numbered(number).as_str(), want);
            assert_eq!(name.numbered(0), name);
            assert!(want.len() <= NAME_BYTES_MAX);
        }
    }

    #[test]
    fn user_names_fold() {
        let key = |typed: &str| UserName::parse(typed).map(|name| name.key);
        assert_eq!(key("Bob"), key("bOB"));
        assert_eq!(key("Ｂob"), key("bob"));
        assert_eq!(key("王小明").as_deref(), Some("王小明"));
        for wrong in ["", "a", "a b", "_a", "a@b", "a\u{202e}b", &"x".repeat(33), "😀😀"] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }
}
