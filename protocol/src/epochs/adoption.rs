//! How the brands take up the next constitution: each says in its log whether it adopts a draft, once a
//! draft; q of them make it the one that follows.
//!
//! Two drafts of one epoch never both get there. A brand that adopted one adopts another only with n-q+1
//! certified refusals of the first, which then can never have q adoptions.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::certified::CertifiedEntry;
use super::change::Changes;
use crate::constitution::{Committee, Constitution};
use crate::ids::{BrandId, ConstitutionHash, Epoch, Height, LeafIndex};
use crate::log::block::{Header, PublicEntry};
use crate::log::range::RangeProof;
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards};
use crate::witness::statement::Certificate;

/// Most drafts of one epoch on which one log says anything.
pub const DRAFTS_MAX: usize = 8;

/// A constitution that is to be, or is, that of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct DraftReference {
    /// Which epoch's.
    #[n(0)]
    pub epoch: Epoch,
    /// Its hash.
    #[n(1)]
    pub constitution: ConstitutionHash,
}

impl DraftReference {
    /// Names a constitution.
    #[must_use]
    pub const fn to(constitution: &Constitution) -> Self {
        Self { epoch: constitution.epoch(), constitution: constitution.hash() }
    }
}

/// What a brand says of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Stance {
    /// It adopts it.
    #[n(0)]
    Adopted,
    /// It will not.
    #[n(1)]
    Declined,
}

/// The stance that an entry takes, if it takes one.
#[must_use]
pub const fn stance(entry: &PublicEntry) -> Option<(DraftReference, Stance)> {
    match entry {
        PublicEntry::Adopted(draft) => Some((*draft, Stance::Adopted)),
        PublicEntry::Declined(draft) => Some((*draft, Stance::Declined)),
        _ => None,
    }
}

/// Whether an entry says what a brand makes of drafts: a stance, or the refusals that it rests on.
#[must_use]
pub const fn is_of_drafts(entry: &PublicEntry) -> bool {
    stance(entry).is_some() || matches!(entry, PublicEntry::Ballot(_))
}

/// The constitution that a block takes up, if it takes up one.
#[must_use]
pub fn switch<'a>(entries: impl IntoIterator<Item = &'a PublicEntry>) -> Option<DraftReference> {
    entries.into_iter().find_map(|entry| match entry {
        PublicEntry::Switch(draft) => Some(*draft),
        _ => None,
    })
}

/// A public entry with the proof that it is in its block, kept until the block is certified.
#[derive(Clone, Debug)]
pub struct ProvenEntry {
    /// Its index in its log.
    pub index: LeafIndex,
    /// The leaf.
    pub entry: Vec<u8>,
    /// That it is in the block's body.
    pub proof: RangeProof,
}

impl ProvenEntry {
    /// Whether an entry is shown to others at all.
    #[must_use]
    pub const fn is_shown(entry: &PublicEntry) -> bool {
        stance(entry).is_some() || matches!(entry, PublicEntry::Switch(_))
    }

    /// With the block's header leaf and certificate it stands by itself.
    #[must_use]
    pub fn certified(self, header: Vec<u8>, certificate: &Certificate) -> CertifiedEntry {
        let certificate = certificate.as_unverified().clone();
        let Self { index, entry, proof } = self;
        CertifiedEntry { header, certificate, index, entry, proof }
    }
}

/// What one log has said of the drafts that may follow its constitution, and how it came to that one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Stances {
    #[n(0)]
    open: BTreeMap<ConstitutionHash, Stance>,
    #[n(1)]
    shown: Vec<Shown>,
}

/// A certified stance or switch of a log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Shown {
    #[n(0)]
    draft: DraftReference,
    // none: the log took it up
    #[n(1)]
    stance: Option<Stance>,
    #[n(2)]
    time: Timestamp,
    #[n(3)]
    height: Height,
    #[n(4)]
    entry: CertifiedEntry,
}

impl Stances {
    /// What it has said of a draft that may follow the constitution it is under.
    #[must_use]
    pub fn on(&self, draft: &ConstitutionHash) -> Option<Stance> {
        self.open.get(draft).copied()
    }
    /// Drafts that may follow and that it has adopted.
    pub fn adopted(&self) -> impl Iterator<Item = ConstitutionHash> + '_ {
        self.open.iter().filter(|(_, stance)| **stance == Stance::Adopted).map(|(draft, _)| *draft)
    }
    /// Drafts that may follow, of which it has said anything.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }
    /// Whether it has said nothing of any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes note of what an entry says, without keeping it to show to others.
    pub fn said(&mut self, entry: &PublicEntry) {
        if let Some((draft, stance)) = stance(entry) {
            self.open.entry(draft.constitution).or_insert(stance);
        } else if let PublicEntry::Switch(_) = entry {
            self.open.clear();
        }
    }

    /// Takes note of a certified block's entries, in order.
    pub fn certified(
        &mut self,
        header: &Header,
        certificate: &Certificate,
        entries: Vec<(PublicEntry, ProvenEntry)>,
    ) {
        if entries.is_empty() {
            return;
        }
        let (leaf, _) = header.to_leaf();
        let (time, height) = (header.time, header.height);
        for (entry, proven) in entries {
            let entry_of = |proven: ProvenEntry| proven.certified(leaf.clone(), certificate);
            if let Some((draft, stance)) = stance(&entry) {
                if self.open.insert(draft.constitution, stance).is_none() {
                    let entry = entry_of(proven);
                    self.shown.push(Shown { draft, stance: Some(stance), time, height, entry });
                }
            } else if let PublicEntry::Switch(draft) = entry {
                self.open.clear();
                let entry = entry_of(proven);
                self.shown.push(Shown { draft, stance: None, time, height, entry });
            }
        }
    }

    /// The certified stance on a draft, of this kind.
    #[must_use]
    pub fn shown(
        &self,
        draft: DraftReference,
        stance: Stance,
    ) -> Option<(Timestamp, &CertifiedEntry)> {
        let mut shown = self.shown.iter();
        let found = shown.find(|it| it.draft == draft && it.stance == Some(stance))?;
        Some((found.time, &found.entry))
    }

    /// Every draft of an epoch that it has adopted or declined.
    pub fn of_epoch(&self, epoch: Epoch) -> impl Iterator<Item = (DraftReference, Stance)> + '_ {
        let of = self.shown.iter().filter(move |it| it.draft.epoch == epoch);
        of.filter_map(|it| Some((it.draft, it.stance?)))
    }

    /// The block by which the log took up the constitution of an epoch.
    #[must_use]
    pub fn switched(&self, epoch: Epoch) -> Option<(Height, &CertifiedEntry)> {
        let mut shown = self.shown.iter();
        let found = shown.find(|it| it.draft.epoch == epoch && it.stance.is_none())?;
        Some((found.height, &found.entry))
    }
}

/// A constitution that q brands have adopted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Adoption {
    #[n(0)]
    draft: DraftReference,
    #[n(1)]
    announced: Timestamp,
    #[n(2)]
    effect: Timestamp,
    #[n(3)]
    ballots: Vec<CertifiedEntry>,
}

impl Adoption {
    /// Counts certified adoptions of a draft by brands of the constitution before; none with fewer than
    /// a quorum. Of more, the earliest count.
    #[must_use]
    pub fn of<G: Guards>(
        draft: DraftReference,
        changes: &Changes,
        committee: &Committee,
        ballots: impl IntoIterator<Item = (BrandId, Timestamp, CertifiedEntry)>,
    ) -> Option<Self> {
        let mut ballots: Vec<_> =
            ballots.into_iter().filter(|(log, ..)| committee.contains(*log)).collect();
        ballots.sort_by_key(|(log, time, _)| (*time, *log));
        ballots.dedup_by_key(|(log, ..)| *log);
        ballots.truncate(committee.quorum());
        if !G::allow(Guard::AdoptionQuorum, ballots.len() >= committee.quorum()) {
            return None;
        }
        let announced = ballots.last().map(|(_, time, _)| *time)?;
        let ballots = ballots.into_iter().map(|(.., ballot)| ballot).collect();
        Some(Self { draft, announced, effect: changes.effect(announced), ballots })
    }

    /// Which constitution.
    #[must_use]
    pub const fn draft(&self) -> DraftReference {
        self.draft
    }
    /// When it was announced: the time of the block with the q-th adoption.
    #[must_use]
    pub const fn announced(&self) -> Timestamp {
        self.announced
    }
    /// When it takes effect.
    #[must_use]
    pub const fn effect(&self) -> Timestamp {
        self.effect
    }

    /// The entries by which a log takes it up.
    #[must_use]
    pub fn entries(&self) -> Vec<PublicEntry> {
        let ballots =
            self.ballots.iter().map(|ballot| PublicEntry::Ballot(Box::new(ballot.clone())));
        ballots.chain([PublicEntry::Switch(self.draft)]).collect()
    }
}
