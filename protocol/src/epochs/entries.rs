//! What a block's entries on constitutions may say: judged by witnesses before they vote, and by the
//! audit, from the block, the log's own chain and the constitutions.

use std::collections::{BTreeMap, BTreeSet};

use super::Constitutions;
use super::adoption::{DRAFTS_MAX, DraftReference, Stance, Stances, stance};
use super::certified::{CertifiedEntry, EntryError};
use super::change::Changes;
use crate::constitution::Constitution;
use crate::ids::{BrandId, ConstitutionHash, Epoch};
use crate::log::block::{Header, PublicEntry};
use crate::time::Timestamp;
use crate::witness::rules::Violation;

/// What a block's entries on constitutions are judged by.
pub struct Judge<'a, D> {
    /// The constitution that the block is under.
    pub constitution: &'a Constitution,
    /// Those that are known to follow one another.
    pub constitutions: &'a Constitutions,
    /// Gives a draft that is known and not in force yet.
    pub draft: D,
    /// What the log has said before.
    pub stances: &'a Stances,
}

/// Entries of one block on constitutions, sorted.
#[derive(Default)]
struct Sorted<'a> {
    stances: Vec<(DraftReference, Stance)>,
    ballots: Vec<&'a CertifiedEntry>,
    switches: Vec<DraftReference>,
}

/// Certified stances of other logs, by draft.
#[derive(Default)]
struct Ballots {
    adopted: BTreeMap<ConstitutionHash, BTreeMap<BrandId, Timestamp>>,
    declined: BTreeMap<ConstitutionHash, BTreeSet<BrandId>>,
}

impl<'a, D: Fn(&DraftReference) -> Option<&'a Constitution>> Judge<'a, D> {
    /// Judges a block.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn judge<'e>(
        &self,
        header: &Header,
        entries: impl IntoIterator<Item = &'e PublicEntry>,
    ) -> Result<(), Violation> {
        let mut sorted = Sorted::default();
        for entry in entries {
            match entry {
                PublicEntry::Ballot(ballot) => sorted.ballots.push(ballot),
                PublicEntry::Switch(draft) => sorted.switches.push(*draft),
                entry => sorted.stances.extend(stance(entry)),
            }
        }
        self.check_stances(&sorted)?;
        let needed = !sorted.switches.is_empty() || !sorted.stances.is_empty();
        let most = self.constitution.committee().size().saturating_mul(DRAFTS_MAX);
        // limits before work: each ballot is a quorum's signatures
        if sorted.ballots.len() > if needed { most } else { 0 } {
            return Err(Violation::BallotCount { found: sorted.ballots.len() });
        }
        let ballots = self.read_ballots(&sorted.ballots)?;
        self.check_earlier_drafts(&sorted, &ballots)?;
        self.check_switch(header, &sorted, &ballots)
    }

    fn next_epoch(&self) -> Option<Epoch> {
        self.constitution.epoch().next()
    }

    /// One statement a draft, on drafts of the next epoch only.
    fn check_stances(&self, sorted: &Sorted<'_>) -> Result<(), Violation> {
        let drafts = sorted.stances.iter().map(|(draft, _)| draft).chain(&sorted.switches);
        if let Some(draft) = drafts.into_iter().find(|draft| Some(draft.epoch) != self.next_epoch())
        {
            return Err(Violation::DraftEpoch { found: draft.epoch });
        }
        let mut said = BTreeSet::new();
        for (draft, _) in &sorted.stances {
            let before = self.stances.on(&draft.constitution).is_some();
            if before || !said.insert(draft.constitution) {
                return Err(Violation::StatedTwice { draft: draft.constitution });
            }
        }
        if self.stances.len().saturating_add(said.len()) > DRAFTS_MAX {
            return Err(Violation::BallotCount { found: said.len() });
        }
        match sorted.switches.as_slice() {
            [_, second, ..] => Err(Violation::StatedTwice { draft: second.constitution }),
            _ => Ok(()),
        }
    }

    fn read_ballots(&self, entries: &[&CertifiedEntry]) -> Result<Ballots, Violation> {
        let mut ballots = Ballots::default();
        let mut shown = BTreeSet::new();
        for entry in entries {
            // what it says first, then whether a quorum has certified that it does
            let said = entry.unverified().map_err(Violation::Ballot)?;
            let Some((draft, stance)) = stance(&said) else {
                return Err(Violation::Ballot(EntryError::NotPublic));
            };
            if Some(draft.epoch) != self.next_epoch() {
                return Err(Violation::DraftEpoch { found: draft.epoch });
            }
            let log = entry.certificate.pledge.block.log;
            if !shown.insert((log, draft.constitution, stance)) {
                return Err(Violation::StatedTwice { draft: draft.constitution });
            }
            let checked = entry.verify(self.constitution).map_err(Violation::Ballot)?;
            match stance {
                Stance::Adopted => {
                    let of = ballots.adopted.entry(draft.constitution).or_default();
                    of.insert(log, checked.header().time);
                }
                Stance::Declined => {
                    ballots.declined.entry(draft.constitution).or_default().insert(log);
                }
            }
        }
        Ok(ballots)
    }

    /// Another draft is adopted only with the proof that none adopted before can ever follow.
    fn check_earlier_drafts(
        &self,
        sorted: &Sorted<'_>,
        ballots: &Ballots,
    ) -> Result<(), Violation> {
        let committee = self.constitution.committee();
        // with so many refusals there are not q adoptions
        let needed = committee.size().saturating_sub(committee.quorum()).saturating_add(1);
        let mut adopted: Vec<ConstitutionHash> = self.stances.adopted().collect();
        for (draft, stance) in &sorted.stances {
            if *stance == Stance::Declined {
                continue;
            }
            for earlier in &adopted {
                let found = ballots.declined.get(earlier).map_or(0, BTreeSet::len);
                if found < needed {
                    return Err(Violation::EarlierDraft { draft: *earlier, found, needed });
                }
            }
            adopted.push(draft.constitution);
        }
        Ok(())
    }

    /// A log takes up a constitution with q adoptions, when it is in effect.
    fn check_switch(
        &self,
        header: &Header,
        sorted: &Sorted<'_>,
        ballots: &Ballots,
    ) -> Result<(), Violation> {
        let Some(draft) = sorted.switches.first() else { return Ok(()) };
        let adopted = ballots.adopted.get(&draft.constitution);
        let needed = self.constitution.committee().quorum();
        let found = adopted.map_or(0, BTreeMap::len);
        if found < needed {
            return Err(Violation::TooFewAdoptions { found, needed });
        }
        let known = self.constitutions.of(draft.epoch);
        let known = known.filter(|known| known.hash() == draft.constitution);
        let unknown = Violation::UnknownConstitution { draft: draft.constitution };
        let next = known.or_else(|| (self.draft)(draft)).ok_or(unknown)?;
        let changes = Changes::between(self.constitution, next).map_err(Violation::Succession)?;
        let mut times: Vec<Timestamp> =
            adopted.into_iter().flat_map(|adopted| adopted.values().copied()).collect();
        times.sort_unstable();
        let announced = times.get(needed.saturating_sub(1)).copied().unwrap_or_default();
        let effect = changes.effect(announced);
        if header.time < effect { Err(Violation::TooEarly { effect }) } else { Ok(()) }
    }
}
