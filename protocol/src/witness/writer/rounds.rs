//! The rounds of the open height, led by the writer: openings, proposals, votes, commits.

use std::collections::BTreeMap;

use super::{Entropy, RESEND_AFTER, Writer};
use crate::crypto::Signed;
use crate::ids::{BrandId, HeaderHash, Round, RoundNonce};
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards};
use crate::witness::led::Led;
use crate::witness::message::{Message, PromiseMessage, ProposalMessage, Refusal};
use crate::witness::rules;
use crate::witness::said::Said;
use crate::witness::start::Presented;
use crate::witness::state::{Outbox, ROUND_MAX, Surroundings, Witness};
use crate::witness::statement::{
    Commit, Open, Pledge, Proposal, Statement as _, UnverifiedCertificate, Vote,
};

/// Doublings of [`RESEND_AFTER`] that a writer waits at most before it opens the next round although
/// only some have refused.
const PATIENCE_DOUBLINGS_MAX: u32 = 6;

/// One attempt to have a block certified: one round, and who has refused what it asks.
pub(super) struct Attempt {
    pub(super) led: Led,
    refusals: BTreeMap<BrandId, Refusal>,
}

impl Attempt {
    pub(super) const fn new(round: Round, began: Timestamp) -> Self {
        Self { led: Led::new(round, began), refusals: BTreeMap::new() }
    }

    /// Whether somebody has refused and those who have not have had their time: twice as much in
    /// every further round, so that a liar's refusals alone cannot keep an honest quorum from voting.
    pub(super) fn is_spent(&self, now: Timestamp) -> bool {
        let doublings = self.led.round.get().min(PATIENCE_DOUBLINGS_MAX);
        let patience = RESEND_AFTER.get().saturating_mul(1 << doublings);
        self.led.lock.is_none()
            && !self.refusals.is_empty()
            && now.distance(self.led.began).get() >= patience
    }

    /// The highest round that the open height is known to have been joined in. At most `faults` of
    /// the refusals lie, so that the next highest tells of a round no higher than an honest one.
    fn joined_elsewhere(&self, faults: usize) -> Round {
        let mut joined: Vec<Round> = self.refusals.values().map(|refusal| refusal.joined).collect();
        joined.sort_unstable_by(|one, other| other.cmp(one));
        joined.get(faults).copied().unwrap_or_default()
    }
}

impl<G: Guards> Writer<G> {
    /// Begins with the open height: by proposing its block, or by opening a round where a restored
    /// writer must.
    pub(super) fn begin(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(height) = own.tip().height.next() else { return };
        if !at.standing.may_begin_unopened::<G>(at.me, height) {
            self.open_round(at, own, own.joined(), entropy, out);
        } else if let Some(id) = self.blocks.keys().next().copied() {
            self.attempt = Some(Attempt::new(own.joined(), at.now));
            self.propose(at, own, id, out);
        }
    }

    fn propose(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        id: HeaderHash,
        out: &mut Outbox,
    ) {
        let (Some(attempt), Some(block)) = (&mut self.attempt, self.blocks.get(&id)) else {
            return;
        };
        let pledge = Pledge { block: block.reference(), round: attempt.led.round };
        let opened = attempt.led.open.is_some();
        if (opened || at.standing.may_begin_unopened::<G>(at.me, pledge.block.height))
            && attempt.led.propose(at, own, pledge, out)
        {
            self.send_proposals(at, own, &[], out);
        }
    }

    /// Sends the proposal to every witness that has not voted, but for those in `except`.
    pub(super) fn send_proposals(
        &self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        except: &[BrandId],
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let Some((pledge, signature)) = attempt.led.proposed else { return };
        let Some(block) = self.blocks.get(&pledge.block.header) else { return };
        let Ok(deliveries) = block.deliveries(at.constitution) else { return };
        let previous = own.certificate().map(|known| known.as_unverified().clone());
        let incarnation = at.standing.incarnation();
        let presented = Signed::sign(at.me, Presented { pledge, incarnation }, &at.keys.log);
        for to in at.constitution.committee().witnesses(at.me) {
            if attempt.led.votes.contains_key(&to) || except.contains(&to) {
                continue;
            }
            let Ok(delivery) = deliveries.to(to, true) else { continue };
            let message = ProposalMessage {
                proposal: Signed { signer: at.me, body: Proposal(pledge), signature },
                previous: previous.clone(),
                promises: attempt.led.promises.values().cloned().collect(),
                delivery,
                incarnation,
                presentation: presented.signature,
            };
            out.messages.push((to, Message::Proposal(Box::new(message))));
        }
    }

    /// A witness has voted.
    pub fn vote(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        vote: Signed<Vote>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some((pledge, _)) = attempt.led.proposed else { return };
        if vote.body.0 != pledge && vote.body.0.block.log == at.me {
            // for another block: that it can stand beside this brand's other votes is not said
            if let Ok(vote) = Vote::verify(vote, at.constitution) {
                own.note(Said::Vote(vote.into_signed()), out);
            }
            return;
        }
        if at.standing.may_write::<G>(at.me, pledge.block.height)
            && attempt.led.voted(at, own, vote, out)
        {
            self.send_lock(at, out);
        }
    }

    pub(super) fn send_lock(&self, at: &Surroundings<'_>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let Some(lock) = &attempt.led.lock else { return };
        for to in at.constitution.committee().witnesses(at.me) {
            if !attempt.led.has_answered(to) {
                out.messages.push((to, Message::Lock(lock.as_unverified().clone())));
            }
        }
    }

    /// A witness has the lock on disk; gives the final block when a quorum has.
    pub fn commit(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        commit: Signed<Commit>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some(certificate) = attempt.led.committed(at, own, commit, out) else { return };
        self.certified(at, own, certificate.clone(), out);
        for to in at.constitution.committee().witnesses(at.me) {
            out.messages.push((to, Message::Certified(certificate.clone())));
        }
    }

    /// The open block, or one proposed at its height before, is final.
    pub fn certified(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        certificate: UnverifiedCertificate,
        out: &mut Outbox,
    ) {
        let header = certificate.pledge.block.header;
        if !self.blocks.contains_key(&header) {
            return;
        }
        let Ok(certificate) = certificate.verify_under::<G>(at.constitution) else { return };
        let before = own.tip().height;
        own.certified(certificate, out);
        if own.tip().height > before {
            self.finish(at, header, out);
        }
    }

    pub(super) fn finish(&mut self, at: &Surroundings<'_>, header: HeaderHash, out: &mut Outbox) {
        let Some(block) = self.blocks.remove(&header) else { return };
        self.blocks.clear();
        self.unfit.clear();
        self.missing = None;
        self.attempt = None;
        let witnesses = at.constitution.committee().witnesses(at.me);
        self.contents = witnesses.zip(block.contents().iter().copied()).collect();
        for sent in block.payloads() {
            if let Some(pending) = self.pending.get_mut(&sent.to) {
                pending.take(&sent.payload);
            }
        }
        out.written.push(block);
    }

    /// A witness has not done what it was asked. After n-q+1 of them the round cannot succeed, and
    /// the next is opened. With fewer it still could, but the rest may never answer: then the next
    /// round is opened when they have had their time ([`Attempt::is_spent`]). Rounds are safe to open
    /// at any time; what is decided is up to the promises.
    pub fn refused(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        by: BrandId,
        refusal: Refusal,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let open = own.tip().height.next();
        let here = Some(refusal.height) == open && refusal.round == attempt.led.round;
        if !here || !at.standing.may_write::<G>(at.me, refusal.height) {
            return;
        }
        attempt.refusals.insert(by, refusal);
        let committee = at.constitution.committee();
        // what liars alone refuse may be fit
        let about = attempt.refusals.values().filter(|it| rules::is_about_the_block(it.rule));
        if about.count() > committee.faults()
            && let Some((pledge, _)) = attempt.led.proposed
        {
            self.unfit.insert(pledge.block.header);
        }
        let spare = committee.size().saturating_sub(committee.quorum());
        // a block that breaks a rule in a later round too is not tried again at the network's speed
        let passed = attempt.joined_elsewhere(committee.faults()) > attempt.led.round;
        if attempt.refusals.len() > spare && (attempt.led.round == Round::new(0) || passed) {
            self.next_round(at, own, entropy, out);
        }
    }

    pub(super) fn next_round(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let joined = attempt.joined_elsewhere(at.constitution.committee().faults());
        let above = joined.max(attempt.led.round).max(own.joined());
        self.open_round(at, own, above, entropy, out);
    }

    /// Rule 3, the writer's side: opens the round after `above`.
    fn open_round(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        above: Round,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let (Some(round), Some(height)) = (above.next(), own.tip().height.next()) else { return };
        if round > ROUND_MAX {
            return;
        }
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let nonce = RoundNonce::from_bytes(nonce);
        own.join(round, nonce, out);
        let (log, epoch, incarnation) = (at.me, at.constitution.epoch(), at.standing.incarnation());
        let open = Open { log, epoch, height, round, nonce, incarnation };
        self.begin_round(at, own, open);
        self.send_opening(at, out);
    }

    pub(super) fn begin_round(&mut self, at: &Surroundings<'_>, own: &Witness<G>, open: Open) {
        let mut attempt = Attempt::new(open.round, at.now);
        attempt.led.open = Some(open);
        if at.standing.own_promise_counts::<G>(at.me, at.constitution.committee(), open.height) {
            attempt.led.promises.insert(at.me, own.promise(at, open));
        }
        self.attempt = Some(attempt);
    }

    pub(super) fn send_opening(&self, at: &Surroundings<'_>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let Some(open) = attempt.led.open else { return };
        let signed = Signed::sign(at.me, open, &at.keys.log);
        for to in at.constitution.committee().witnesses(at.me) {
            if !attempt.led.promises.contains_key(&to) {
                out.messages.push((to, Message::Open(signed.clone())));
            }
        }
    }

    /// A witness has joined the open round; with q of them the choice is made (rule 5).
    pub fn promised(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        message: PromiseMessage,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some(open) = attempt.led.open else { return };
        if at.standing.may_write::<G>(at.me, open.height)
            && attempt.led.promised(at, own, message, out)
        {
            self.choose(at, own, entropy, out);
        }
    }

    pub(super) fn choose(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let Some(locked) = attempt.led.choice::<G>(at) else { return };
        let is_free = G::allow(Guard::LockedProposal, locked.is_none());
        let chosen = match locked {
            Some(lock) if !is_free => {
                let here = self.blocks.contains_key(&lock.block.header);
                self.missing = (!here).then_some(lock.block);
                here.then_some(lock.block.header)
            }
            _ => self.any_block(at, own, entropy, out),
        };
        if let Some(id) = chosen {
            self.propose(at, own, id, out);
        }
    }
}
