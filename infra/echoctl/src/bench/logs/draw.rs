//! Numbers that look random and are the same in every run.

/// SplitMix64 (Steele, Lea and Flood, 2014): fast, and random enough for a benchmark.
#[derive(Clone)]
pub struct Draw(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `limit`, each as likely as the others.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    /// A number below `limit`, the lower the likelier.
    pub fn skewed(&mut self, limit: u64) -> u64 {
        // The product of two shares of one, in 32 binary places.
        let share = ((self.number() >> 32) * (self.number() >> 32)) >> 32;
        u64::try_from((u128::from(limit) * u128::from(share)) >> 32).unwrap_or_default()
    }

    /// `true` so many times of a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of some things, each as likely as the others; the default of none.
    pub fn pick<T: Copy + Default>(&mut self, of: &[T]) -> T {
        at(of, self.below(of.len() as u64))
    }

    /// One of some things, the earlier the likelier; the default of none.
    pub fn favour<T: Copy + Default>(&mut self, of: &[T]) -> T {
        at(of, self.skewed(of.len() as u64))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for part in bytes.chunks_mut(8) {
            part.iter_mut().zip(self.number().to_le_bytes()).for_each(|(byte, drawn)| *byte = drawn);
        }
        bytes
    }
}

/// A number that looks random and is always the same for `state`.
pub fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn at<T: Copy + Default>(of: &[T], number: u64) -> T {
    usize::try_from(number).ok().and_then(|number| of.get(number)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Draw;

    #[test]
    fn a_seed_is_one_sequence() {
        let numbers = |seed| {
            let mut draw = Draw::new(seed);
            (0..8).map(|_| draw.number()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn numbers_stay_below_their_limit_and_skewed_ones_are_small() {
        let mut draw = Draw::new(3);
        assert!((0..1_000).all(|_| draw.below(7) < 7 && draw.skewed(7) < 7));
        let low = (0..1_000).filter(|_| draw.skewed(1_000) < 250).count();
        assert!((500..700).contains(&low), "{low}");
        assert!((0..1_000).any(|_| draw.skewed(2) == 1), "the last has a share, too");
        assert_eq!((draw.pick::<u8>(&[]), draw.pick(&[5]), draw.below(0)), (0, 5, 0));
        assert_eq!(draw.bytes::<11>().len(), 11);
    }
}
