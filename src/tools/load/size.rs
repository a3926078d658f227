//! How large the files of a load are: one size, a range, or shares of several. Pure.

use std::fmt;

/// Longest list of shares.
const SHARES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    One(u64),
    /// From and to: each power of two in it is as likely as the next.
    Range(u64, u64),
    /// Sizes with their shares.
    Shares(Vec<(u64, u64)>),
}

impl Sizes {
    /// `4K`, `1K-1M`, `4K:70,64K:25,1M:5`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            let shares: Result<Vec<(u64, u64)>, String> = text.split(',').map(share).collect();
            let shares = shares?;
            let sum: u64 = shares.iter().map(|(_, share)| share).sum();
            return match sum {
                0 => Err("the shares add up to nothing".to_owned()),
                _ if SHARES_MAX < shares.len() => Err(format!("more than {SHARES_MAX} sizes")),
                _ => Ok(Self::Shares(shares)),
            };
        }
        match text.split_once('-') {
            None => size(text).map(Self::One),
            Some((from, to)) => match (size(from)?, size(to)?) {
                (from, to) if from <= to => Ok(Self::Range(from, to)),
                _ => Err(format!("{text} is an empty range")),
            },
        }
    }

    /// The size that a random number stands for.
    pub(super) fn pick(&self, random: u64) -> u64 {
        match self {
            Sizes::One(size) => *size,
            Sizes::Range(from, to) => {
                // 32 bits choose the power, 32 the place in it.
                let (high, low) = ((random >> 32) as f64, (random & 0xffff_ffff) as f64);
                let (first, last) = ((*from as f64 + 1.0).log2(), (*to as f64 + 1.0).log2());
                let exponent =
                    first + (last - first) * (high + low / 4_294_967_296.0) / 4_294_967_296.0;
                (exponent.exp2() - 1.0).round().clamp(*from as f64, *to as f64) as u64
            }
            Sizes::Shares(shares) => {
                let sum: u64 = shares.iter().map(|(_, share)| share).sum();
                let mut left = random.checked_rem(sum).unwrap_or(0);
                for (size, share) in shares {
                    match left.checked_sub(*share) {
                        None => return *size,
                        Some(rest) => left = rest,
                    }
                }
                0
            }
        }
    }

    /// The mean, for what has to be measured with one size.
    pub(super) fn typical(&self) -> u64 {
        match self {
            Sizes::One(size) => *size,
            Sizes::Range(..) => self.pick(1 << 63),
            Sizes::Shares(shares) => {
                let sum: u64 = shares.iter().map(|(_, share)| share).sum();
                let bytes: u64 = shares.iter().map(|(size, share)| size * share).sum();
                bytes.checked_div(sum).unwrap_or(0)
            }
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::One(size) => write!(f, "{size} bytes"),
            Sizes::Range(from, to) => write!(f, "{from} to {to} bytes"),
            Sizes::Shares(shares) => {
                let parts = shares.iter().map(|(size, share)| format!("{share} of {size}"));
                write!(f, "{} bytes", parts.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn share(text: &str) -> Result<(u64, u64), String> {
    let (bytes, share) = text.split_once(':').ok_or(format!("{text} is no SIZE:SHARE"))?;
    let share = share.parse::<u32>().map_err(|_| format!("{share} is no share"))?;
    Ok((size(bytes)?, u64::from(share)))
}

/// Bytes, with K, M or G behind for 1024, its square and its cube.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text.strip_prefix(digits).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("{text} is no size such as 4096, 64K or 1M")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{text} is no size"))?;
    // 1 TiB: no file of a load is larger, and sums stay far from overflowing.
    let bytes = count.checked_shl(shift).filter(|n| n >> shift == count && *n <= 1 << 40);
    bytes.ok_or_else(|| format!("{text} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_form() {
        assert_eq!(Sizes::parse("4K"), Ok(Sizes::One(4096)));
        assert_eq!(Sizes::parse("0-1m"), Ok(Sizes::Range(0, 1 << 20)));
        assert_eq!(Sizes::parse("1:3,2K:1"), Ok(Sizes::Shares(vec![(1, 3), (2048, 1)])));
        for wrong in ["", "K", "4X", "2K-1K", "1:0", "1:x", "1:1,", "9999999G", "-"] {
            assert!(Sizes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn picks_stay_inside_and_follow_the_shares() {
        let range = Sizes::Range(1024, 1 << 20);
        for random in [0, u64::MAX, 1 << 63, 12345 << 40] {
            assert!((1024..=1 << 20).contains(&range.pick(random)), "{random}");
        }
        assert_eq!((range.pick(0), range.pick(u64::MAX)), (1024, 1 << 20));
        let shares = Sizes::Shares(vec![(1, 3), (2, 1)]);
        let picked: Vec<u64> = (0..8).map(|random| shares.pick(random)).collect();
        assert_eq!(picked, [1, 1, 1, 2, 1, 1, 1, 2]);
        assert_eq!(Sizes::Shares(vec![(10, 1), (30, 1)]).typical(), 20);
    }
}
