//! A brand that says again, to anyone, what was ever said to a liar: old openings, proposals, locks,
//! certificates, blocks, starts and their answers, all of them genuine and out of place.

use protocol::ids::BrandId;
use protocol::ledger::Ledger;
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;

use crate::prng::Prng;

/// Most messages that liars remember together; beyond them every other is forgotten.
pub const HOARD_MAX: usize = 2048;

/// What the dishonest part of the node knows.
pub struct Replayer {
    prng: Prng,
}

impl Replayer {
    /// The part of a brand that repeats.
    #[must_use]
    pub const fn new(prng: Prng) -> Self {
        Self { prng }
    }

    /// Says some of it again.
    pub fn tick<G: Guards>(
        &mut self,
        me: BrandId,
        ledger: &Ledger<G>,
        hoard: &[Message],
    ) -> Vec<(BrandId, Message)> {
        let others: Vec<BrandId> = ledger.constitution().committee().witnesses(me).collect();
        if hoard.is_empty() || others.is_empty() {
            return Vec::new();
        }
        (0..self.prng.below(4))
            .map(|_| {
                let to = others[self.prng.below(others.len())];
                (to, hoard[self.prng.below(hoard.len())].clone())
            })
            .collect()
    }
}
