//! Leads the last rounds of a frozen log: who decides its open height when its writer may not.
//!
//! The rules are those of every round (3 to 8); what differs is in [`super::closing`]. A node leads its
//! own last rounds alone; several leaders at once are as harmless as several rounds are.

use std::collections::BTreeMap;

use super::closing::{self, LastProposal};
use super::guards::{Guard, Guards};
use super::message::{Message, PromiseMessage};
use super::state::{Outbox, Surroundings, Witness, count_promises, valid_promise};
use super::statement::{
    Commit, Endorsement, Lock, Open, Pledge, Proposal, Statement as _, UnverifiedCertificate,
    UnverifiedLock, Vote,
};
use super::writer::{Entropy, RESEND_AFTER};
use crate::crypto::{Signature, Signed};
use crate::ids::{BrandId, Round, RoundNonce};
use crate::time::{Milliseconds, Timestamp};

/// How long the next leader in line waits for the one before it.
pub const PATIENCE: Milliseconds = Milliseconds::from_seconds(5);

struct Attempt {
    open: Open,
    promises: BTreeMap<BrandId, PromiseMessage>,
    proposed: Option<(Pledge, Signature)>,
    votes: BTreeMap<BrandId, Signature>,
    lock: Option<Lock>,
    commits: BTreeMap<BrandId, Signature>,
    sent: Timestamp,
}

/// One node's part as leader of one log's last rounds.
#[derive(Default)]
pub struct Closer {
    attempt: Option<Attempt>,
    // since when nobody has closed the log, as far as this node knows
    waiting: Option<Timestamp>,
    // rounds that this node has led to nothing
    failed: u32,
}

impl Closer {
    /// Lets time pass: opens a round when it is this node's turn, repeats what was not answered.
    pub fn tick<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        witness: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        if witness.closing().is_some() {
            self.attempt = None;
            return;
        }
        let Some(height) = witness.tip().height.next() else { return };
        if !witness.may_join_last(at, height) {
            return;
        }
        let since = *self.waiting.get_or_insert(at.now);
        let others = at.constitution.committee().witnesses(witness.log());
        let place = others.take_while(|brand| *brand != at.me).count();
        let turns = u64::try_from(place).unwrap_or(0).saturating_add(u64::from(self.failed));
        if let Some(attempt) = &mut self.attempt
            && at.now.distance(attempt.sent) >= RESEND_AFTER
        {
            attempt.sent = at.now;
            self.send(at, witness, out);
        }
        let due = PATIENCE.get().saturating_mul(turns);
        if at.now.distance(since).get() >= due {
            self.waiting = Some(at.now);
            self.failed = self.failed.saturating_add(1).min(8);
            self.open(at, witness, entropy, out);
        }
    }

    fn open<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        witness: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(height) = witness.tip().height.next() else { return };
        let log = witness.log();
        let Some(round) =
            closing::next_round(at.constitution.committee(), log, at.me, witness.joined())
        else {
            return;
        };
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let nonce = RoundNonce::from_bytes(nonce);
        witness.join(round, nonce, out);
        let (epoch, incarnation) = (at.constitution.epoch(), at.standing.incarnation());
        let open = Open { log, epoch, height, round, nonce, incarnation };
        self.attempt = Some(Attempt {
            open,
            promises: BTreeMap::from([(at.me, witness.promise(at, open))]),
            proposed: None,
            votes: BTreeMap::new(),
            lock: None,
            commits: BTreeMap::new(),
            sent: at.now,
        });
        self.send(at, witness, out);
    }

    /// Says again what has had no answer.
    fn send<G: Guards>(&self, at: &Surroundings<'_>, witness: &Witness<G>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let others = at.constitution.committee().witnesses(at.me);
        let others = others.filter(|to| *to != witness.log());
        for to in others {
            let message = if let Some(lock) = &attempt.lock {
                if attempt.commits.contains_key(&to) {
                    continue;
                }
                Message::Lock(lock.as_unverified().clone())
            } else if let Some((pledge, signature)) = attempt.proposed {
                if attempt.votes.contains_key(&to) {
                    continue;
                }
                let proposal = Signed { signer: at.me, body: Proposal(pledge), signature };
                let promises = attempt.promises.values().cloned().collect();
                Message::LastProposal(Box::new(LastProposal { proposal, promises }))
            } else if attempt.promises.contains_key(&to) {
                continue;
            } else {
                Message::Open(Signed::sign(at.me, attempt.open, &at.keys.log))
            };
            out.messages.push((to, message));
        }
    }

    /// Another witness has joined the round.
    pub fn promised<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        witness: &mut Witness<G>,
        message: PromiseMessage,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let stands = valid_promise::<G>(at.constitution, &attempt.open, &message).is_some();
        if attempt.proposed.is_some() || !stands {
            return;
        }
        attempt.promises.insert(message.promise.signer, message);
        let promises: Vec<PromiseMessage> = attempt.promises.values().cloned().collect();
        let (count, locked) = count_promises::<G>(at.constitution, &attempt.open, &promises);
        if !G::allow(Guard::PromiseQuorum, count >= at.constitution.committee().quorum()) {
            return;
        }
        // the highest lock, if there is one; else nothing is appended any more
        let block = match locked {
            Some(lock) => lock.block,
            None => closing::nothing(at.constitution.epoch(), witness.log(), witness.tip()),
        };
        let pledge = Pledge { block, round: attempt.open.round };
        if witness.propose_own(pledge, out) {
            let proposal = Signed::sign(at.me, Proposal(pledge), &at.keys.log);
            attempt.proposed = Some((pledge, proposal.signature));
            attempt.sent = at.now;
            self.send(at, witness, out);
        }
    }

    /// Another witness has voted.
    pub fn vote<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        witness: &mut Witness<G>,
        vote: Signed<Vote>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some((pledge, proposal)) = attempt.proposed else { return };
        if vote.body.0 != pledge || vote.signer == at.me || attempt.lock.is_some() {
            return;
        }
        let Ok(vote) = Vote::verify(vote, at.constitution) else { return };
        attempt.votes.insert(vote.signer(), vote.signature());
        if attempt.votes.len().saturating_add(1) < at.constitution.committee().quorum() {
            return;
        }
        let lock = UnverifiedLock { pledge, proposal, votes: endorsements(&attempt.votes) };
        let Ok(lock) = lock.verify(at.constitution) else { return };
        witness.hold(lock.clone(), out);
        let commit = Signed::sign(at.me, Commit(pledge), &at.keys.vote);
        attempt.commits.insert(at.me, commit.signature);
        attempt.lock = Some(lock);
        attempt.sent = at.now;
        self.send(at, witness, out);
    }

    /// Another witness has the lock on disk.
    pub fn commit<G: Guards>(
        &mut self,
        at: &Surroundings<'_>,
        witness: &mut Witness<G>,
        commit: Signed<Commit>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some((pledge, proposal)) = attempt.proposed else { return };
        if commit.body.0 != pledge || attempt.lock.is_none() {
            return;
        }
        let Ok(commit) = Commit::verify(commit, at.constitution) else { return };
        attempt.commits.insert(commit.signer(), commit.signature());
        if attempt.commits.len() < at.constitution.committee().quorum() {
            return;
        }
        let commits = endorsements(&attempt.commits);
        let certificate = UnverifiedCertificate { pledge, proposal, commits };
        let Ok(verified) = certificate.clone().verify(at.constitution) else { return };
        witness.certified(verified, out);
        self.attempt = None;
        for to in at.constitution.committee().witnesses(at.me) {
            out.messages.push((to, Message::Certified(certificate.clone())));
        }
    }

    /// The round that this node leads at present.
    #[must_use]
    pub fn round(&self) -> Option<Round> {
        self.attempt.as_ref().map(|attempt| attempt.open.round)
    }
}

fn endorsements(signatures: &BTreeMap<BrandId, Signature>) -> Vec<Endorsement> {
    signatures
        .iter()
        .map(|(signer, signature)| Endorsement { signer: *signer, signature: *signature })
        .collect()
}
