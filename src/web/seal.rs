//! Secrets that must be read again, sealed for the database with a key that is not in it.
//!
//! ```text
//! | 1 | nonce, 12 | ChaCha20-Poly1305 of the secret, with its owner as associated data |
//! ```
//!
//! Used for the secrets of second factors. The key is 32 bytes in hexadecimal in a file of the
//! operator's (`[site] secret_file`), which `conf/stack.sh` makes; a copy of the database alone
//! is worth nothing without it. Never logs what it opens.

use std::path::PathBuf;

use anyhow::Context as _;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use net::ports::Random;

use crate::hex::unhex;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// Opens and seals; the key is read when it is first needed.
pub(crate) struct Seal {
    path: PathBuf,
}

impl Seal {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn cipher(&self) -> anyhow::Result<ChaCha20Poly1305> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("read the secret key {}", self.path.display()))?;
        let key = unhex(text.trim()).filter(|key| key.len() == 32);
        let key = key.with_context(|| {
            format!("{} must hold 64 lower-case hexadecimal digits", self.path.display())
        })?;
        ChaCha20Poly1305::new_from_slice(&key).context("use the secret key")
    }

    /// Seals `secret` for `owner`.
    pub(crate) fn close(
        &self,
        secret: &[u8],
        owner: u64,
        random: &dyn Random,
    ) -> anyhow::Result<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce);
        let payload = Payload { msg: secret, aad: &owner.to_be_bytes() };
        let sealed = self.cipher()?.encrypt(Nonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| anyhow::anyhow!("seal a secret"))?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// What was sealed for `owner`; an error if it was for somebody else, or by another key.
    pub(crate) fn open(&self, sealed: &[u8], owner: u64) -> anyhow::Result<Vec<u8>> {
        let (version, rest) = sealed.split_first().context("nothing is sealed")?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).context("a seal is cut")?;
        anyhow::ensure!(*version == VERSION, "a seal of version {version} is not ours");
        let payload = Payload { msg: sealed, aad: &owner.to_be_bytes() };
        let opened = self.cipher()?.decrypt(Nonce::from_slice(nonce), payload);
        opened.map_err(|_| anyhow::anyhow!("a seal does not open: another key was used for it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_seal_opens_for_its_owner_and_key_alone() {
        let dir = std::env::temp_dir().join(format!("fastdisk-seal-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (one, two) = (dir.join("one"), dir.join("two"));
        net::durable::replace(&one, ("ab".repeat(32) + "\n").as_bytes()).unwrap();
        net::durable::replace(&two, "cd".repeat(32).as_bytes()).unwrap();
        let seal = Seal::new(one);
        let sealed = seal.close(b"secret", 7, &Fixed).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seal.open(&sealed, 7).unwrap(), b"secret");
        assert!(seal.open(&sealed, 8).is_err());
        assert!(Seal::new(two).open(&sealed, 7).is_err());
        for cut in 0..sealed.len() {
            assert!(seal.open(&sealed[..cut], 7).is_err());
        }
        assert!(Seal::new(dir.join("none")).close(b"x", 1, &Fixed).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
