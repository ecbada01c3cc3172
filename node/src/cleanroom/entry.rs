//! Brands as participants, and certified entries as the clean room takes them.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use privacy::{CertifiedEntry, CleanRoomEntry, ParticipantId, UtcMillis};
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::time::Timestamp;
use protocol::witness::state::FinalBlock;

use super::APPLICATION;

/// The brands of the constitution under both their names. The one place where they are converted.
#[derive(Debug, Clone)]
pub struct Names {
    participants: BTreeMap<BrandId, ParticipantId>,
    brands: BTreeMap<ParticipantId, BrandId>,
}

impl Names {
    /// Of these brands. A brand's id is always a participant's name: its alphabet is the smaller one.
    #[must_use]
    pub fn of(brands: &[BrandId]) -> Self {
        let named = |brand: &BrandId| brand.as_str().parse().ok().map(|name| (*brand, name));
        let participants: BTreeMap<BrandId, ParticipantId> =
            brands.iter().filter_map(named).collect();
        let brands = participants.iter().map(|(brand, name)| (*name, *brand)).collect();
        Self { participants, brands }
    }

    /// A brand as participant.
    #[must_use]
    pub fn participant(&self, brand: BrandId) -> Option<ParticipantId> {
        self.participants.get(&brand).copied()
    }

    /// A participant as brand.
    #[must_use]
    pub fn brand(&self, participant: ParticipantId) -> Option<BrandId> {
        self.brands.get(&participant).copied()
    }

    /// All participants, ascending.
    #[must_use]
    pub fn participants(&self) -> Vec<ParticipantId> {
        self.brands.keys().copied().collect()
    }
}

/// An application's entry in a final block. Nothing else makes one, and a final block holds a
/// certificate, which only its verification makes; or it is read back from the node's own snapshot.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct CertifiedApplication {
    #[n(0)]
    log: BrandId,
    #[n(1)]
    index: LeafIndex,
    #[n(2)]
    time: Timestamp,
    #[n(3)]
    entry: ApplicationEntry,
}

impl CertifiedApplication {
    /// Those of a block.
    pub fn of(block: &FinalBlock) -> impl Iterator<Item = Self> {
        block.public.iter().filter_map(|(index, public)| match public {
            PublicEntry::Application(entry) => Some(Self {
                log: block.block.log,
                index: *index,
                time: block.header.time,
                entry: entry.clone(),
            }),
            _ => None,
        })
    }

    /// Whose log.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        self.log
    }

    /// Where in it.
    #[must_use]
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// Whether it is the clean room's and reads: all else is void for everyone.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.entry.application == APPLICATION
            && CleanRoomEntry::from_bytes(&self.entry.body).is_ok()
    }
}

/// An entry of the clean room that is certified.
#[derive(Debug)]
pub struct Certified<'a> {
    writer: ParticipantId,
    certified: &'a CertifiedApplication,
}

impl<'a> Certified<'a> {
    /// None when the entry is another application's.
    #[must_use]
    pub fn of(certified: &'a CertifiedApplication, names: &Names) -> Option<Self> {
        let writer = names.participant(certified.log)?;
        (certified.entry.application == APPLICATION).then_some(Self { writer, certified })
    }
}

impl CertifiedEntry for Certified<'_> {
    fn writer(&self) -> ParticipantId {
        self.writer
    }
    fn index(&self) -> u64 {
        self.certified.index.get()
    }
    fn time(&self) -> UtcMillis {
        UtcMillis(self.certified.time.unix_ms())
    }
    fn bytes(&self) -> &[u8] {
        &self.certified.entry.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_brand_is_a_participant_under_its_own_name() {
        let longest = "z".repeat(protocol::ids::BRAND_ID_MAX);
        let brands = ["a", "a-1_b", longest.as_str()].map(|id| BrandId::new(id).unwrap());
        let names = Names::of(&brands);
        for brand in brands {
            let participant = names.participant(brand).unwrap();
            assert_eq!(participant.as_str(), brand.as_str());
            assert_eq!(names.brand(participant), Some(brand));
        }
        assert!(names.participants().is_sorted());
        assert_eq!(names.participant(BrandId::new("stranger").unwrap()), None);
    }
}
