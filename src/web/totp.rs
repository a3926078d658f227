//! Time-based one-time passwords: RFC 6238 with SHA-1, six digits and 30 seconds, which every
//! authenticator speaks; and the recovery codes beside them. Pure: the caller brings the time
//! and the randomness.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::hex::escape;

/// Bytes of a secret: what RFC 4226 recommends for SHA-1.
pub(crate) const SECRET_BYTES: usize = 20;
/// Recovery codes made at once, and their random bytes: 50 bits are used.
pub(crate) const RECOVERY_CODES: usize = 10;
pub(crate) const RECOVERY_BYTES: usize = 10;

const STEP_S: u64 = 30;
/// Steps a clock may be off, in both directions.
const SKEW_STEPS: u64 = 1;
const DIGITS: usize = 6;

/// RFC 4648 section 6, and in small letters for codes that people type.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code of one time step (RFC 4226 section 5.3).
fn code_at(secret: &[u8], step: u64) -> u32 {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash.last().copied().unwrap_or_default() & 0x0f);
    let word = hash.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
    (u32::from_be_bytes(word.unwrap_or_default()) & 0x7fff_ffff) % 1_000_000
}

/// The time step whose code was typed, if it is near `unix_s` and after `used`, the last step
/// whose code was taken.
pub(crate) fn matching_step(secret: &[u8], typed: &str, unix_s: u64, used: u64) -> Option<u64> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    let digits = typed.len() == DIGITS && typed.bytes().all(|b| b.is_ascii_digit());
    let typed: u32 = if digits { typed.parse().ok()? } else { return None };
    let now = unix_s / STEP_S;
    let near = now.saturating_sub(SKEW_STEPS)..=now.saturating_add(SKEW_STEPS);
    // All are compared, so that the time does not tell which one it was.
    let fits = |step: &u64| bool::from(code_at(secret, *step).ct_eq(&typed));
    near.filter(fits).rfind(|step| used < *step)
}

/// A secret as authenticators read it.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let letters = (bytes.len() * 8).div_ceil(5);
    let letter = |n: usize| (0..5).fold(0, |value, i| value << 1 | bit(n * 5 + i));
    (0..letters).map(|n| BASE32.get(letter(n)).copied().map_or('A', char::from)).collect()
}

/// What a QR code for an authenticator holds.
pub(crate) fn uri(issuer: &str, account: &str, secret: &[u8]) -> String {
    let (issuer, account) = (escape(issuer), escape(account));
    format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}", base32(secret))
}

/// `abcde-fghij` from random bytes.
pub(crate) fn recovery_code(random: &[u8; RECOVERY_BYTES]) -> String {
    let letter = |byte: &u8| BASE32.get(usize::from(byte % 32)).copied().map_or('a', char::from);
    let text: String = random.iter().map(letter).map(|c| c.to_ascii_lowercase()).collect();
    let (first, second) = text.split_at(RECOVERY_BYTES / 2);
    format!("{first}-{second}")
}

/// What is kept of a recovery code; blanks, hyphens and capitals do not matter.
pub(crate) fn recovery_hash(user: u64, typed: &str) -> [u8; 32] {
    let plain: String = typed.chars().filter(|c| c.is_alphanumeric()).collect();
    Sha256::digest(format!("{user}:{}", plain.to_lowercase())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        let cases = [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ];
        for (unix_s, want) in cases {
            assert_eq!(code_at(secret, unix_s / STEP_S), want, "{unix_s}");
            let typed = format!("{want:06}");
            assert_eq!(matching_step(secret, &typed, unix_s, 0), Some(unix_s / STEP_S));
            assert_eq!(matching_step(secret, &typed, unix_s + 30, 0), Some(unix_s / STEP_S));
            assert_eq!(matching_step(secret, &typed, unix_s + 90, 0), None);
            // A code is good once.
            assert_eq!(matching_step(secret, &typed, unix_s, unix_s / STEP_S), None);
        }
        for wrong in ["", "28708", "2870822", "28708a", "+28708", "٢٨٧٠٨٢"] {
            assert_eq!(matching_step(secret, wrong, 59, 0), None, "{wrong}");
        }
        assert_eq!(matching_step(secret, "287 082", 59, 0), Some(1));
    }

    /// RFC 4648 section 10, without its padding.
    #[test]
    fn secrets_are_written_in_base32() {
        for (bytes, want) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), want);
        }
        let text = uri("fastdisk", "王 a", b"foobar");
        assert_eq!(text, "otpauth://totp/fastdisk:%E7%8E%8B%20a?secret=MZXW6YTBOI&issuer=fastdisk");
    }

    #[test]
    fn recovery_codes_may_be_typed_sloppily() {
        let code = recovery_code(&[0, 1, 2, 3, 4, 31, 32, 255, 9, 8]);
        assert_eq!(code, "abcde-7a7ji");
        assert_eq!(recovery_hash(1, &code), recovery_hash(1, " ABCDE 7A7JI"));
        assert_ne!(recovery_hash(1, &code), recovery_hash(2, &code));
    }
}
