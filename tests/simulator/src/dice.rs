//! Chance that is the same in every run of a seed.

/// SplitMix64: small, quick, and good enough for a network's faults.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Of a seed, and a number that says what for: each node throws dice of its own.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Dice {
        let mut dice = Dice(seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.any();
        dice
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.any()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// From 0 up to 1.
    pub fn part(&mut self) -> f64 {
        // 53 bits are what a fraction has.
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Yes, so many times of a million.
    pub fn happens(&mut self, of_a_million: u32) -> bool {
        self.below(1_000_000) < u64::from(of_a_million)
    }

    /// How often something does not happen before it happens, that happens so many times of a million.
    pub fn misses(&mut self, of_a_million: u32) -> u64 {
        if of_a_million == 0 {
            return u64::MAX;
        }
        if of_a_million >= 1_000_000 {
            return 0;
        }
        let chance = f64::from(of_a_million) / 1e6;
        let misses = (1.0 - self.part()).ln() / (-chance).ln_1p();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and below 2^53"
        )]
        let misses = misses.clamp(0.0, 9e15) as u64;
        misses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_as_many_as_they_should_be() {
        let mut dice = Dice::new(1, 2);
        for chance in [1_000, 50_000, 500_000] {
            let sum: u64 = (0..20_000).map(|_| dice.misses(chance)).sum();
            let expected = 1e6 / f64::from(chance) - 1.0;
            let mean = sum as f64 / 20_000.0;
            assert!((mean / expected - 1.0).abs() < 0.05, "{mean} instead of {expected}");
        }
        assert_eq!(dice.misses(0), u64::MAX);
        assert_eq!(dice.misses(1_000_000), 0);
    }
}
