//! A round that this node leads, as the log's writer or, in a last round, as a witness: what has come in
//! for it, and when that is enough (rules 4, 5, 7 and 8).
//!
//! Counts and signs; to whom what is sent again, and what may be proposed, is the leader's business.

use std::collections::BTreeMap;

use super::guards::{Guard, Guards};
use super::message::PromiseMessage;
use super::said::Said;
use super::state::{Counted, Outbox, Surroundings, Witness};
use super::statement::{
    Commit, Endorsement, Lock, Open, Pledge, Proposal, Statement as _, UnverifiedCertificate,
    UnverifiedLock, Vote,
};
use crate::crypto::{Signature, Signed};
use crate::ids::{BrandId, Round};
use crate::time::Timestamp;

/// One round, led by this node.
pub(super) struct Led {
    pub(super) round: Round,
    /// None in round 0, which needs no opening.
    pub(super) open: Option<Open>,
    pub(super) promises: BTreeMap<BrandId, PromiseMessage>,
    pub(super) proposed: Option<(Pledge, Signature)>,
    pub(super) votes: BTreeMap<BrandId, Signature>,
    pub(super) lock: Option<Lock>,
    pub(super) commits: BTreeMap<BrandId, Signature>,
    pub(super) began: Timestamp,
    pub(super) last_sent: Timestamp,
}

/// What a leader sends next to a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The opening.
    Open,
    /// The proposal.
    Propose,
    /// The lock.
    Lock,
}

impl Led {
    pub(super) const fn new(round: Round, began: Timestamp) -> Self {
        Self {
            round,
            open: None,
            promises: BTreeMap::new(),
            proposed: None,
            votes: BTreeMap::new(),
            lock: None,
            commits: BTreeMap::new(),
            began,
            last_sent: began,
        }
    }

    /// What all witnesses are asked for at this step.
    pub(super) const fn step(&self) -> Option<Step> {
        match (&self.lock, &self.proposed, &self.open) {
            (Some(_), ..) => Some(Step::Lock),
            (None, Some(_), _) => Some(Step::Propose),
            (None, None, Some(_)) => Some(Step::Open),
            (None, None, None) => None,
        }
    }

    /// Whether a witness has answered what all are asked for at this step.
    pub(super) fn has_answered(&self, witness: BrandId) -> bool {
        match self.step() {
            Some(Step::Lock) => self.commits.contains_key(&witness),
            Some(Step::Propose) => self.votes.contains_key(&witness),
            Some(Step::Open) => self.promises.contains_key(&witness),
            None => true,
        }
    }

    /// A witness has joined; false when its promise does not count, or none is waited for any more.
    pub(super) fn promised<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        message: PromiseMessage,
        out: &mut Outbox,
    ) -> bool {
        let Some(open) = self.open else { return false };
        let mut counted = Counted::default();
        if self.proposed.is_some() || !counted.take::<G>(at.constitution, &open, &message) {
            return false;
        }
        own.note_promises(counted, out);
        self.promises.insert(message.promise.signer, message);
        true
    }

    /// Rule 5: none before q have joined; then the highest lock among them, if any.
    pub(super) fn choice<G: Guards>(&self, at: &Surroundings<'_>) -> Option<Option<Pledge>> {
        let open = self.open?;
        let counted = Counted::of::<G>(at.constitution, &open, self.promises.values());
        let quorum = at.constitution.committee().quorum();
        G::allow(Guard::PromiseQuorum, counted.brands() >= quorum).then_some(counted.highest())
    }

    /// Rule 4: proposes a block, once.
    pub(super) fn propose<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        pledge: Pledge,
        out: &mut Outbox,
    ) -> bool {
        if !own.propose_own(pledge, out) {
            return false;
        }
        let proposal = Signed::sign(at.me, Proposal(pledge), &at.keys.log);
        self.proposed = Some((pledge, proposal.signature));
        self.last_sent = at.now;
        true
    }

    /// Rule 7: a witness has voted; true when that makes the lock, which is on record then.
    pub(super) fn voted<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        vote: Signed<Vote>,
        out: &mut Outbox,
    ) -> bool {
        let Some((pledge, proposal)) = self.proposed else { return false };
        if vote.body.0 != pledge || vote.signer == at.me || self.lock.is_some() {
            return false;
        }
        let Ok(vote) = Vote::verify(vote, at.constitution) else { return false };
        own.note(Said::Vote(vote.as_signed().clone()), out);
        self.votes.insert(vote.signer(), vote.signature());
        // the proposal is the leader's vote
        if self.votes.len().saturating_add(1) < at.constitution.committee().quorum() {
            return false;
        }
        let lock = UnverifiedLock { pledge, proposal, votes: endorsements(&self.votes) };
        let Ok(lock) = lock.verify(at.constitution) else { return false };
        own.hold(lock.clone(), out);
        let commit = Signed::sign(at.me, Commit(pledge), &at.keys.vote);
        self.commits.insert(at.me, commit.signature);
        self.lock = Some(lock);
        self.last_sent = at.now;
        true
    }

    /// Rule 8: a witness has the lock on disk; gives the certificate when a quorum has.
    pub(super) fn committed<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        commit: Signed<Commit>,
        out: &mut Outbox,
    ) -> Option<UnverifiedCertificate> {
        let (pledge, proposal) = self.proposed?;
        if commit.body.0 != pledge || self.lock.is_none() {
            return None;
        }
        let commit = Commit::verify(commit, at.constitution).ok()?;
        own.note(Said::Commit(commit.as_signed().clone()), out);
        self.commits.insert(commit.signer(), commit.signature());
        let commits = endorsements(&self.commits);
        let enough = commits.len() >= at.constitution.committee().quorum();
        enough.then_some(UnverifiedCertificate { pledge, proposal, commits })
    }
}

fn endorsements(signatures: &BTreeMap<BrandId, Signature>) -> Vec<Endorsement> {
    signatures
        .iter()
        .map(|(signer, signature)| Endorsement { signer: *signer, signature: *signature })
        .collect()
}
