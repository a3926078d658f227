//! One 64-bit seed per run, printed first; every generator derives from it by name, so that a
//! new draw in one does not shift another.
//!
//! The generators are splitmix64 and xoshiro256**, ours and pinned by a golden test, because a
//! seed must mean the same in every build.

/// Where all chance of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// The seed of this run: `SEED` if it is set, else one that follows from the commit, so that
    /// a red run repeats. Prints it.
    pub(crate) fn of_this_run(layer: &str) -> Self {
        let given = std::env::var("SEED").ok();
        let seed = match given.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Self(parse(text).expect("SEED is 0x… or a decimal number")),
            None => Self::of_the_commit(),
        };
        println!("{layer} SEED={:#018x}", seed.0);
        seed
    }

    fn of_the_commit() -> Self {
        Self(name_hash(&head()))
    }

    /// The seed of the part called `name`.
    pub(crate) fn child(self, name: &str) -> Self {
        let mut state = self.0 ^ name_hash(name.as_bytes());
        Self(splitmix64(&mut state))
    }

    pub(crate) fn rng(self) -> Rng {
        let mut state = self.0;
        Rng([(); 4].map(|()| splitmix64(&mut state)))
    }
}

/// A generator of numbers; as good as any for tests, useless for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Rng([u64; 4]);

impl Rng {
    /// xoshiro256**.
    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half is below `end`")
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// The commit that is checked out, in short; for replays.
pub(crate) fn commit() -> String {
    String::from_utf8_lossy(&head()).chars().take(7).collect()
}

fn head() -> Vec<u8> {
    let head = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output();
    head.map(|out| out.stdout).unwrap_or_default()
}

/// `0x…`, or decimal.
pub(crate) fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a.
fn name_hash(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    bytes.iter().fold(start, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
pub(crate) fn with_state(state: [u64; 4]) -> Rng {
    Rng(state)
}
