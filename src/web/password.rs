//! Passwords: which are taken, how they are kept, how they are checked.
//!
//! Called by `register`, `login` and `administer`. Hashing is slow on purpose, so it runs on the
//! blocking pool behind a gate; a queue that grows too long is refused, not joined.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use net::ports::Random;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::error::WebError;

const CHARS_MIN: usize = 8;
const CHARS_MAX: usize = 128;

/// What generated passwords are made of: 32 characters that cannot be mistaken for one another,
/// so each carries five bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// A hundred bits.
const GENERATED_CHARS: usize = 20;

/// A password nobody has chosen, to be shown once.
pub(crate) fn generate(random: &dyn Random) -> String {
    let mut bytes = [0; GENERATED_CHARS];
    random.fill(&mut bytes);
    let character = |byte: &u8| ALPHABET.get(usize::from(*byte % 32)).copied().unwrap_or(b'a');
    bytes.iter().map(character).map(char::from).collect()
}

/// The most common passwords of eight characters and more, one a line, sorted: from the list
/// that `zxcvbn` (MIT) distilled from public leaks, and some that are common in China.
const COMMON: &str = include_str!("common_passwords.txt");

/// A password that may be used: in NFC, so that it can be typed on another keyboard.
pub(crate) struct Password(String);

impl Password {
    /// A password somebody signs in with: anything that could have been accepted once.
    pub(crate) fn typed(text: &str) -> Option<Self> {
        let count = text.chars().take(CHARS_MAX.saturating_add(1)).count();
        (1..=CHARS_MAX).contains(&count).then(|| Self(text.nfc().collect()))
    }

    /// A new password for `name`, or why it is refused.
    pub(crate) fn choose(text: &str, name: &str) -> Result<Self, WebError> {
        let Some(password) = Self::typed(text) else {
            return Err(WebError::WeakPassword("use 8 to 128 characters"));
        };
        if password.0.chars().count() < CHARS_MIN {
            return Err(WebError::WeakPassword("use 8 to 128 characters"));
        }
        let folded = password.0.to_lowercase();
        if folded == name.to_lowercase() {
            return Err(WebError::WeakPassword("do not use your name"));
        }
        if COMMON.lines().any(|common| common == folded) || is_one_character(&folded) {
            return Err(WebError::WeakPassword("this is one of the most common passwords"));
        }
        Ok(password)
    }
}

fn is_one_character(text: &str) -> bool {
    let first = text.chars().next();
    text.chars().all(|c| Some(c) == first)
}

/// Hashes and verifies, a few at a time.
pub(crate) struct Passwords {
    /// Those that run and those that wait.
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    /// Verified against when there is no account, so that the answer takes as long.
    nobody: String,
}

impl Passwords {
    /// At most `jobs` at once and `queue` waiting.
    pub(crate) fn new(jobs: u64, queue: u64) -> anyhow::Result<Self> {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            admitted: Arc::new(Semaphore::new(count(jobs.saturating_add(queue)))),
            running: Arc::new(Semaphore::new(count(jobs))),
            nobody: hash("nobody has this password")?,
        })
    }

    /// The password in PHC form, with a salt of its own.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, WebError> {
        self.behind_gate(move || hash(&password.0)).await?.map_err(WebError::Internal)
    }

    /// Whether `password` is the one that `stored` was made from; without `stored` it is not,
    /// after the same work.
    pub(crate) async fn verify(
        &self,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool, WebError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.clone());
        let fits = self.behind_gate(move || verify(&password.0, &stored)).await?;
        Ok(fits.map_err(WebError::Internal)? && known)
    }

    async fn behind_gate<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WebError> {
        let busy = |_| WebError::Busy("passwords");
        let admitted = self.admitted.clone().try_acquire_owned().map_err(busy)?;
        let running = self.running.clone().acquire_owned().await;
        let running = running.expect("the semaphore is never closed");
        let task = tokio::task::spawn_blocking(move || {
            // Held by the job itself: a client that goes away must not let another one in.
            let _held = (admitted, running);
            job()
        });
        task.await.map_err(|error| WebError::Internal(error.into()))
    }
}

/// Argon2id with the crate's parameters (19 MiB, 2 passes, 1 lane), those OWASP recommends.
fn hash(password: &str) -> anyhow::Result<String> {
    let made = Argon2::default().hash_password(password.as_bytes());
    Ok(made.map_err(|error| anyhow::anyhow!("hash a password: {error}"))?.to_string())
}

fn verify(password: &str, stored: &str) -> anyhow::Result<bool> {
    let parsed = PasswordHash::new(stored);
    let parsed = parsed.map_err(|error| anyhow::anyhow!("read a password hash: {error}"))?;
    Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_and_odd_ones_taken() {
        let long = "x1".repeat(65);
        let weak = [
            "",
            "short12",
            "password",
            "PASSWORD",
            "1234567890",
            "aaaaaaaaaaaa",
            "Somebody",
            &long,
        ];
        for text in weak {
            assert!(Password::choose(text, "somebody").is_err(), "{text}");
        }
        let longest = "ab".repeat(64);
        for text in ["correct horse", "密码密码一二三四", "        x", "' OR 1=1 --", &longest]
        {
            assert!(Password::choose(text, "somebody").is_ok(), "{text}");
        }
    }

    #[test]
    fn the_list_is_long_sorted_and_only_holds_what_it_can_refuse() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert!(1000 <= lines.len());
        assert!(lines.is_sorted());
        assert!(lines.iter().all(|l| CHARS_MIN <= l.chars().count() && l.to_lowercase() == **l));
    }

    #[tokio::test]
    async fn a_hash_fits_its_password_only_and_the_stranger_fits_none() {
        let passwords = Passwords::new(1, 1).unwrap();
        let typed = |text| Password::typed(text).unwrap();
        let stored = passwords.hash(typed("e\u{301}tonnant!")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify(typed("\u{e9}tonnant!"), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify(typed("etonnant!"), Some(stored)).await.unwrap());
        assert!(!passwords.verify(typed("nobody has this password"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_is_refused() {
        let passwords = Passwords::new(1, 1).unwrap();
        let _taken = passwords.admitted.clone().try_acquire_many_owned(2).unwrap();
        let refused = passwords.hash(Password::typed("x").unwrap()).await;
        assert!(matches!(refused, Err(WebError::Busy(_))));
    }
}
