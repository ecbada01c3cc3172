//! The one source of chance of a run: SplitMix64 (Steele, Lea, Flood 2014).
//!
//! Deterministic and small. Of no use as a secret: real nodes draw theirs from the system.

use protocol::witness::writer::Entropy;

/// A stream of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, 0 when `bound` is 0. The bias is below 2^-40 for the bounds used here.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        (self.bits() % bound) as usize
    }

    /// True so many times in a thousand.
    pub fn per_mille(&mut self, chance: usize) -> bool {
        self.below(1000) < chance
    }

    /// Another stream, which what is drawn from this one later does not change.
    pub const fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}

impl Entropy for Prng {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.bits().to_le_bytes();
            chunk.iter_mut().zip(bits).for_each(|(byte, bits)| *byte = bits);
        }
    }
}
