//! Constitutions in the audit: what each log says of drafts and when it takes one up, and what only all
//! logs together show of a constitution that a brand joined with.
//!
//! That a log took up a constitution with q certified adoptions and after its notice is judged by the
//! very function that witnesses use; here besides, that the logs from which adoptions were shown are the
//! logs that there are.

use std::collections::BTreeMap;

use super::blocks::{LogAudit, Lookup, look_up};
use super::folder::LogFolder;
use super::report::{Place, Recorder, Rule};
use crate::epochs::adoption::{self, Stance, stance};
use crate::epochs::entries::Judge;
use crate::epochs::{Changes, Constitutions, DraftReference};
use crate::ids::{BrandId, Epoch, Height, LeafIndex};
use crate::log::block::{Header, PublicEntry};
use crate::time::Timestamp;

/// What one log says of constitutions.
#[derive(Debug, Default)]
pub(super) struct EpochNotes {
    adopted: Vec<(DraftReference, Timestamp)>,
    /// The log's first block, when it is not under the alliance's first constitution.
    began: Option<(Place, Epoch, Timestamp)>,
}

/// The same of all logs.
#[derive(Debug, Default)]
pub(super) struct EpochsAcross {
    adopted: BTreeMap<DraftReference, BTreeMap<BrandId, Timestamp>>,
    began: Vec<(Place, Epoch, Timestamp)>,
}

impl EpochsAcross {
    pub(super) fn add(&mut self, log: BrandId, notes: EpochNotes) {
        for (draft, time) in notes.adopted {
            self.adopted.entry(draft).or_default().entry(log).or_insert(time);
        }
        self.began.extend(notes.began);
    }

    /// A log that begins under a later constitution begins when that is adopted and in effect.
    pub(super) fn judge(&self, constitutions: &Constitutions, recorder: &mut Recorder) {
        for (place, epoch, time) in &self.began {
            let effect = self.effect(constitutions, *epoch);
            if effect.is_none_or(|effect| *time < effect) {
                let message = format_args!(
                    "the log begins under constitution {epoch} before a quorum had adopted it and it took effect"
                );
                recorder.find(*place, Rule::EpochBegan, message);
            }
        }
    }

    fn effect(&self, constitutions: &Constitutions, epoch: Epoch) -> Option<Timestamp> {
        let (before, of) = (constitutions.before(epoch)?, constitutions.of(epoch)?);
        let adopted = self.adopted.get(&DraftReference::to(of))?;
        let members = adopted.iter().filter(|(log, _)| before.committee().contains(**log));
        let mut times: Vec<Timestamp> = members.map(|(_, time)| *time).collect();
        times.sort_unstable();
        let announced = times.get(before.committee().quorum().checked_sub(1)?)?;
        Some(Changes::between(before, of).ok()?.effect(*announced))
    }
}

impl<F: LogFolder> LogAudit<'_, F> {
    /// Judges a block's entries on constitutions; the next block is under what they say.
    pub(super) fn judge_epochs(
        &mut self,
        place: Place,
        header: &Header,
        public: &[(LeafIndex, PublicEntry)],
    ) {
        let public: Vec<&PublicEntry> = public.iter().map(|(_, entry)| entry).collect();
        if header.height == Height::new(1) && self.epoch > self.constitutions.first().epoch() {
            self.collected.epochs.began = Some((place, self.epoch, header.time));
        }
        let judge = Judge {
            constitution: self.constitution(),
            constitutions: self.constitutions,
            draft: |_: &DraftReference| None,
            stances: &self.stances,
        };
        if let Err(violation) = judge.judge(header, public.iter().copied()) {
            self.recorder.violation(place, &violation);
        }
        for entry in &public {
            if let PublicEntry::Ballot(ballot) = entry {
                self.compare_ballot(place, ballot.certificate.pledge.block.log, &ballot.header);
            }
            if let Some((draft, Stance::Adopted)) = stance(entry) {
                self.collected.epochs.adopted.push((draft, header.time));
            }
            self.stances.said(entry);
        }
        if let Some(draft) = adoption::switch(public) {
            self.epoch = draft.epoch;
            let next = self.constitutions.of(draft.epoch);
            if next.is_some_and(|next| !next.writes(self.log)) {
                self.ended = self.ended.or(Some(header.height));
            }
        }
    }

    /// The block of another log that was shown is the one in that log.
    fn compare_ballot(&mut self, place: Place, log: BrandId, leaf: &[u8]) {
        let Ok(shown) = Header::from_bytes(leaf) else { return };
        let id = crate::log::merkle::leaf_hash(leaf).of_header();
        if let Lookup::Found(found, _) = look_up(self.logs, log, shown.height)
            && found != id
        {
            let message = format_args!(
                "it shows a certified block {} of {log} that is not the one in that log: the log has forked",
                shown.height
            );
            self.recorder.find(place, Rule::EpochBallot, message);
        }
    }
}
