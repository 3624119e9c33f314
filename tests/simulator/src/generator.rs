//! The only source of randomness: the same seed gives the same tokens, latencies and faults in the same order.

use sha2::{Digest, Sha256};

/// A counter under a seed, hashed. A draw never repeats within a seed, so tokens made from draws are unique.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    seed: u64,
    draws: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.draws += 1;
        Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(self.draws.to_le_bytes())
            .finalize()
            .into()
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn fraction(&mut self) -> f64 {
        let [a, b, c, d, ..] = self.bytes();
        f64::from(u32::from_le_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_every_draw_and_no_draw_repeats() {
        let draw = |seed| {
            let mut generator = Generator::new(seed);
            (0..100).map(|_| generator.bytes()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut unique = draw(7);
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 100);
    }

    #[test]
    fn fractions_lie_between_zero_and_one_and_around_the_middle() {
        let mut generator = Generator::new(1);
        let fractions: Vec<f64> = (0..1000).map(|_| generator.fraction()).collect();
        assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        let mean = fractions.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
