//! Rules 3 to 7: rounds joined, proposals judged, votes given, locks taken.

use super::blocks::How;
use super::promises::{Counted, are_too_many};
use super::{Outbox, ROUND_MAX, Surroundings, Witness};
use crate::codec::Shared;
use crate::crypto::{Signed, Verified};
use crate::ids::{Round, RoundNonce};
use crate::witness::closing::{self, LastProposal};
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::{Delivery, Message, PromiseMessage, ProposalMessage};
use crate::witness::record::{Joined, Record, Voted};
use crate::witness::rules::Violation;
use crate::witness::said::Said;
use crate::witness::statement::{
    Commit, Lock, Open, Pledge, Promise, Proposal, Statement as _, UnverifiedCertificate,
    UnverifiedLock, Vote,
};

/// Most different blocks of one height that a witness takes to its disk without a lock that forces
/// them: a writer that lies could fill it otherwise.
const BLOCKS_TAKEN_MAX: usize = 64;

/// Rule number of a refusal whose round is too low, or whose nonce is another opening's.
const RULE_ROUND: u16 = 0;
/// Rule number of a refusal whose block is not the highest lock's.
const RULE_CHOICE: u16 = 100;
/// Rule number of a refusal without q valid promises, or with more than there are brands.
const RULE_PROMISES: u16 = 101;
/// Rule number of a refusal because another block was voted in this round.
const RULE_VOTED: u16 = 102;

impl<G: Guards> Witness<G> {
    /// Rule 3: joins a round the writer opened, and tells the lock.
    pub fn open(&mut self, at: &Surroundings<'_>, open: &Verified<Open>, out: &mut Outbox) {
        self.note(Said::Open(open.as_signed().clone()), out);
        let open = *open.body();
        let leader = closing::leader(at.constitution.committee(), self.log, open.round);
        if (open.log, open.epoch) != (self.log, at.constitution.epoch())
            || !self.at_open_height(leader, open.height, out)
            || !self.may_sign(at, open.height, open.round)
        {
            return;
        }
        let repeated = open.round == self.joined && self.nonce == Some(open.nonce);
        let joins = repeated || G::allow(Guard::JoinAbove, open.round > self.joined);
        if !joins || is_beyond(open.round) {
            self.refuse(leader, (open.height, open.round), RULE_ROUND, out);
            return;
        }
        if !repeated {
            self.join(open.round, open.nonce, out);
        }
        let message = self.promise(at, open);
        out.send(leader, Message::Promise(Box::new(message)));
    }

    /// Joins a round on disk; the writer's own way in as well.
    pub fn join(&mut self, round: Round, nonce: RoundNonce, out: &mut Outbox) {
        self.joined = round;
        self.nonce = Some(nonce);
        if let Some(height) = self.tip.height.next() {
            out.records.push(Record::Joined(Joined { log: self.log, height, round, nonce }));
        }
    }

    /// The promise for a round that has been joined.
    #[must_use]
    pub fn promise(&self, at: &Surroundings<'_>, open: Open) -> PromiseMessage {
        let lock = self.lock.as_ref().map(Lock::pledge);
        PromiseMessage {
            promise: Signed::sign(at.me, Promise { open, lock }, &at.keys.vote),
            lock: self.lock.as_ref().map(|lock| lock.as_unverified().clone()),
        }
    }

    /// The certificate of the block before a proposed one may be what this witness still lacks. What
    /// comes after it may be under another constitution: the proposal is judged only then.
    pub fn previous(
        &mut self,
        at: &Surroundings<'_>,
        certificate: UnverifiedCertificate,
        out: &mut Outbox,
    ) {
        if !self.awaiting
            && Some(certificate.pledge.block.height) == self.tip.height.next()
            && let Ok(certificate) = certificate.verify_under::<G>(at.constitution)
        {
            self.certified(certificate, out);
        }
    }

    /// Rules 4 to 6: judges a proposal and votes, or says which rule it breaks.
    pub fn proposal(&mut self, at: &Surroundings<'_>, message: ProposalMessage, out: &mut Outbox) {
        let ProposalMessage { proposal, promises, delivery, .. } = message;
        if !closing::is_last(proposal.body.0.round) {
            self.consider(at, proposal, &promises, Some(delivery), out);
        }
    }

    /// As [`Witness::proposal`], in a last round: the block, if it is one, is with those who voted for it.
    pub fn last_proposal(
        &mut self,
        at: &Surroundings<'_>,
        message: LastProposal,
        out: &mut Outbox,
    ) {
        if closing::is_last(message.proposal.body.0.round) {
            self.consider(at, message.proposal, &message.promises, None, out);
        }
    }

    fn consider(
        &mut self,
        at: &Surroundings<'_>,
        proposal: Signed<Proposal>,
        promises: &[PromiseMessage],
        delivery: Option<Delivery>,
        out: &mut Outbox,
    ) {
        let Ok(proposal) = Proposal::verify(proposal, at.constitution) else {
            return;
        };
        let pledge = proposal.body().0;
        let leader = closing::leader(at.constitution.committee(), self.log, pledge.round);
        if proposal.signer() != leader || pledge.block.log != self.log {
            return;
        }
        self.note(Said::Proposal(proposal.into_signed()), out);
        if !self.at_open_height(leader, pledge.block.height, out)
            || !self.may_sign(at, pledge.block.height, pledge.round)
        {
            return;
        }
        let refused_at = (pledge.block.height, pledge.round);
        if !G::allow(Guard::VoteAbove, pledge.round >= self.joined) || is_beyond(pledge.round) {
            return self.refuse(leader, refused_at, RULE_ROUND, out);
        }
        // limits before work: each promise is a signature, and a quorum's with its lock
        if are_too_many(at.constitution, promises) {
            return self.refuse(leader, refused_at, RULE_PROMISES, out);
        }
        let (nonce, forced, counted) = match self.choice(at, &pledge, promises) {
            Ok(choice) => choice,
            Err(rule) => return self.refuse(leader, refused_at, rule, out),
        };
        self.note_promises(counted, out);
        match self.votes.get(&pledge.round) {
            Some(voted) if !G::allow(Guard::OneVote, *voted == pledge.block) => {
                return self.refuse(leader, refused_at, RULE_VOTED, out);
            }
            Some(_) => {}
            None => {
                let known = self
                    .received
                    .get(&pledge.block.header)
                    .is_some_and(|received| forced || received.judged);
                if !known && !forced && self.taken >= BLOCKS_TAKEN_MAX {
                    let violation = Violation::TooManyBlocks { most: BLOCKS_TAKEN_MAX };
                    return self.refuse(leader, refused_at, violation.number(), out);
                }
                let how = if forced { How::Late } else { How::Fresh };
                if !known
                    && let Some(delivery) = &delivery
                    && let Err(violation) = self.receive(at, &pledge.block, delivery, how)
                {
                    return self.refuse(leader, refused_at, violation.number(), out);
                }
                if !known && delivery.is_some() {
                    self.record_opening(pledge.block.header, out);
                }
                let delivery = delivery.filter(|_| !known).map(Shared::new);
                if let Some(delivery) = &delivery {
                    self.keep_delivery(pledge.block.header, delivery);
                }
                self.taken = self.taken.saturating_add(usize::from(delivery.is_some()));
                self.vote(pledge, nonce);
                out.records.push(Record::Voted(Voted { pledge, nonce, delivery }));
            }
        }
        let vote = Signed::sign(at.me, Vote(pledge), &at.keys.vote);
        out.send(leader, Message::Vote(vote));
    }

    pub(super) fn vote(&mut self, pledge: Pledge, nonce: Option<RoundNonce>) {
        if pledge.round > self.joined {
            self.joined = pledge.round;
            self.nonce = nonce;
        }
        // below the round joined no vote is given any more
        self.votes.retain(|round, _| *round >= self.joined);
        self.votes.insert(pledge.round, pledge.block);
    }

    /// Rule 5. Gives the opening's nonce, whether a lock forces the block, and what was verified.
    fn choice(
        &self,
        at: &Surroundings<'_>,
        pledge: &Pledge,
        promises: &[PromiseMessage],
    ) -> Result<(Option<RoundNonce>, bool, Counted), u16> {
        if pledge.round == Round::new(0) {
            return Ok((None, false, Counted::default()));
        }
        let open = promises.first().map(|first| first.promise.body.open).ok_or(RULE_PROMISES)?;
        let about = (open.log, open.height, open.round);
        if about != (self.log, pledge.block.height, pledge.round) {
            return Err(RULE_PROMISES);
        }
        let counted = Counted::of::<G>(at.constitution, &open, promises);
        let quorum = at.constitution.committee().quorum();
        if !G::allow(Guard::PromiseQuorum, counted.brands() >= quorum) {
            return Err(RULE_PROMISES);
        }
        let joined = pledge.round > self.joined || self.nonce == Some(open.nonce);
        if !G::allow(Guard::VoteOfOpening, joined) {
            return Err(RULE_ROUND);
        }
        let last = closing::is_last(pledge.round);
        let epoch = at.constitution.epoch();
        match counted.highest() {
            Some(lock) if !G::allow(Guard::LockedBlock, lock.block == pledge.block) => {
                Err(RULE_CHOICE)
            }
            None if last && pledge.block != closing::nothing(epoch, self.log, &self.tip) => {
                Err(RULE_CHOICE)
            }
            locked => Ok((Some(open.nonce), locked.is_some() || last, counted)),
        }
    }

    /// Rule 7: commits a lock that a quorum voted for.
    pub fn lock_made(&mut self, at: &Surroundings<'_>, lock: UnverifiedLock, out: &mut Outbox) {
        let pledge = lock.pledge;
        let leader = closing::leader(at.constitution.committee(), self.log, pledge.round);
        if pledge.block.log != self.log
            || !self.at_open_height(leader, pledge.block.height, out)
            || !self.may_sign(at, pledge.block.height, pledge.round)
        {
            return;
        }
        if !G::allow(Guard::CommitAbove, pledge.round >= self.joined) {
            return self.refuse(leader, (pledge.block.height, pledge.round), RULE_ROUND, out);
        }
        let held = self.lock.as_ref().map(Lock::pledge);
        if held != Some(pledge) {
            let Ok(lock) = lock.verify(at.constitution) else { return };
            self.hold(lock, out);
        }
        let commit = Signed::sign(at.me, Commit(pledge), &at.keys.vote);
        out.send(leader, Message::Commit(commit));
    }

    /// Takes a verified lock at the open height.
    pub fn hold(&mut self, lock: Lock, out: &mut Outbox) {
        if lock.pledge().round > self.joined {
            self.joined = lock.pledge().round;
            self.nonce = None;
        }
        out.records.push(Record::Locked(lock.as_unverified().clone()));
        self.note_all(lock.as_unverified().said(), out);
        self.lock = Some(lock);
    }

    /// As writer: the own proposal is the own vote. False when another block was proposed in this
    /// round, or a higher round was joined: then nothing may be signed.
    pub fn propose_own(&mut self, pledge: Pledge, out: &mut Outbox) -> bool {
        match self.votes.get(&pledge.round) {
            Some(voted) => *voted == pledge.block,
            None if !G::allow(Guard::VoteAbove, pledge.round >= self.joined) => false,
            None => {
                self.vote(pledge, self.nonce);
                out.records.push(Record::Proposed(pledge));
                true
            }
        }
    }
}

/// Whether a round is above those that a writer may open, and none of the last ones.
fn is_beyond(round: Round) -> bool {
    round > ROUND_MAX && !closing::is_last(round)
}
