//! Evidence that this node holds, one case a brand and log; which logs are frozen for it (rule 14).
//!
//! A case is on disk before it is passed on or entered, and is never dropped: there are at most as
//! many as brands squared, each of at most [`super::evidence::EVIDENCE_MAX`] bytes, but for one a log that
//! has a block's fragments in it.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::evidence::{Claim, Evidence, Proven};
use crate::ids::{BrandId, TreeSize};

/// Most checkpoints remembered of one log, the latest by size, to compare others with.
const CHECKPOINTS_KEPT: usize = 16;

/// What is kept of others' offences and of what this brand has agreed to about them, as a record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Kept {
    /// Evidence, and whether this node found it: then it enters it in its own log.
    #[n(0)]
    Evidence(#[n(0)] Evidence, #[n(1)] bool),
    /// This brand has agreed that a frozen log be closed.
    #[n(1)]
    Closes(#[n(0)] BrandId),
    /// This brand has agreed to what a log in dispute last offered.
    #[n(2)]
    Agreed(#[n(0)] BrandId),
    /// In a snapshot: the same of evidence that is in a certified block of the own log.
    #[n(3)]
    Entered(#[n(0)] Evidence, #[n(1)] bool),
}

/// One brand's offence in one log.
#[derive(Clone, Debug)]
pub struct Case {
    /// What was proved.
    pub proven: Proven,
    /// Whether this node found it.
    pub found: bool,
    submitted: bool,
    // in a certified block of the own log
    entered: bool,
}

/// All cases.
#[derive(Debug, Default)]
pub struct Cases {
    held: BTreeMap<(BrandId, BrandId), Case>,
    // signed notes by log and size
    checkpoints: BTreeMap<BrandId, BTreeMap<TreeSize, Vec<u8>>>,
}

impl Cases {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Case> {
        self.held.values()
    }

    /// Whether there is a case against this brand for this log.
    #[must_use]
    pub fn has(&self, accused: BrandId, log: BrandId) -> bool {
        self.held.contains_key(&(accused, log))
    }

    /// Whether this log's writer is proved to have lied in writing it.
    #[must_use]
    pub fn is_frozen(&self, log: BrandId) -> bool {
        let case = self.held.get(&(log, log));
        case.is_some_and(|case| case.proven.offence().is_of_writer())
    }

    /// Whether something that accuses a brand so would be taken up. An offence in writing takes the place of
    /// another.
    #[must_use]
    pub fn would_open(&self, claim: Claim) -> bool {
        let graver = claim.offence.is_of_writer() && !self.is_frozen(claim.log);
        graver || !self.has(claim.accused, claim.log)
    }

    /// Takes a case up; false if there is one already.
    pub fn open(&mut self, proven: Proven, found: bool) -> bool {
        if !self.would_open(proven.claim()) {
            return false;
        }
        let key = (proven.accused(), proven.log());
        self.held.insert(key, Case { proven, found, submitted: false, entered: false });
        true
    }

    /// What this node found and has not entered in its log since it runs.
    pub fn to_enter(&mut self) -> impl Iterator<Item = Evidence> + '_ {
        let waiting = self.held.values_mut().filter(|case| case.found && !case.submitted);
        waiting.map(|case| {
            case.submitted = true;
            case.proven.evidence().clone()
        })
    }

    /// This evidence is in a block of the own log that is not certified yet.
    pub fn submitted(&mut self, evidence: &Evidence) {
        for case in self.held.values_mut().filter(|case| case.proven.evidence() == evidence) {
            case.submitted = true;
        }
    }

    /// This evidence is in a certified block of the own log.
    pub fn entered(&mut self, evidence: &Evidence) {
        for case in self.held.values_mut().filter(|case| case.proven.evidence() == evidence) {
            case.submitted = true;
            case.entered = true;
        }
    }

    /// What brings all cases back.
    pub fn kept(&self) -> impl Iterator<Item = Kept> + '_ {
        self.held.values().map(|case| match case.proven.evidence().clone() {
            evidence if case.entered => Kept::Entered(evidence, case.found),
            evidence => Kept::Evidence(evidence, case.found),
        })
    }

    /// Takes note of a log's signed checkpoint; gives another of the same size that it contradicts.
    pub fn compare(&mut self, log: BrandId, size: TreeSize, note: &[u8]) -> Option<Vec<u8>> {
        let known = self.checkpoints.entry(log).or_default();
        if let Some(other) = known.get(&size) {
            return (other != note).then(|| other.clone());
        }
        known.insert(size, note.to_vec());
        while known.len() > CHECKPOINTS_KEPT {
            known.pop_first();
        }
        None
    }
}
