//! What others have signed about one log's last final and open heights, as far as this node verified it.
//!
//! Bounded, and in memory only: what must outlive a restart of this node is in the records of its
//! [`super::state::Witness`] (a lock and a certificate name who signed them). Takes what was verified;
//! checks no signature.

use std::collections::BTreeMap;

use super::evidence::{self, Evidence};
use super::said::{Position, Said};
use crate::ids::{BrandId, Height};

/// Most statements kept of one brand: what is furthest back is dropped.
const KEPT_MAX: usize = 64;

/// Where a statement stands: how far it goes, and whether it was signed as writer. A brand signs one
/// statement for each, whatever happens to it.
type Slot = (Position, bool);

/// Verified statements about one log.
#[derive(Debug, Default)]
pub struct Watch {
    kept: BTreeMap<BrandId, BTreeMap<Slot, Said>>,
}

impl Watch {
    /// Takes note of something whose signature was verified. What stands already stays; if the two
    /// cannot stand together, that is evidence.
    pub fn note(&mut self, said: Said) -> Option<Evidence> {
        let as_writer = matches!(said, Said::Open(_) | Said::Proposal(_));
        let kept = self.kept.entry(said.signer()).or_default();
        let contradicted = kept.values().find(|known| evidence::offence(known, &said).is_some());
        let evidence = contradicted.map(|known| Evidence::statements(known.clone(), said.clone()));
        kept.entry((said.position(), as_writer)).or_insert(said);
        while kept.len() > KEPT_MAX {
            kept.pop_first();
        }
        evidence
    }

    /// All that is kept.
    pub fn iter(&self) -> impl Iterator<Item = &Said> {
        self.kept.values().flat_map(BTreeMap::values)
    }

    /// Forgets what is about heights below this one.
    pub fn forget_below(&mut self, height: Height) {
        for kept in self.kept.values_mut() {
            kept.retain(|(position, _), _| position.height >= height);
        }
        self.kept.retain(|_, kept| !kept.is_empty());
    }

    /// The furthest that this brand has gone in this log.
    #[must_use]
    pub fn furthest(&self, brand: BrandId) -> Option<&Said> {
        self.kept.get(&brand)?.last_key_value().map(|(_, said)| said)
    }
}
