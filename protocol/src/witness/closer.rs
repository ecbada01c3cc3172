//! Leads the last rounds of a frozen log: who decides its open height when its writer may not.
//!
//! The rules are those of every round (3 to 8); what differs is in [`super::closing`]. A node leads its
//! own last rounds alone; several leaders at once are as harmless as several rounds are.

use super::closing::{self, LastProposal};
use super::guards::Guards;
use super::led::Led;
use super::message::{Message, PromiseMessage};
use super::state::{Outbox, Surroundings, Witness};
use super::statement::{Commit, Open, Pledge, Proposal, Vote};
use super::writer::{Entropy, RESEND_AFTER};
use crate::crypto::Signed;
use crate::ids::{Round, RoundNonce};
use crate::time::{Milliseconds, Timestamp};

/// How long the next leader in line waits for the one before it.
pub const PATIENCE: Milliseconds = Milliseconds::from_seconds(5);

/// One node's part as leader of one log's last rounds.
#[derive(Default)]
pub struct Closer {
    attempt: Option<Led>,
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
            && at.now.distance(attempt.last_sent) >= RESEND_AFTER
        {
            attempt.last_sent = at.now;
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
        let mut led = Led::new(round, at.now);
        led.open = Some(open);
        led.promises.insert(at.me, witness.promise(at, open));
        self.attempt = Some(led);
        self.send(at, witness, out);
    }

    /// Says again what has had no answer.
    fn send<G: Guards>(&self, at: &Surroundings<'_>, witness: &Witness<G>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let others = at.constitution.committee().witnesses(at.me);
        for to in others.filter(|to| *to != witness.log() && !attempt.has_answered(*to)) {
            let message = match (&attempt.lock, attempt.proposed, attempt.open) {
                (Some(lock), ..) => Message::Lock(lock.as_unverified().clone()),
                (None, Some((pledge, signature)), _) => {
                    let proposal = Signed { signer: at.me, body: Proposal(pledge), signature };
                    let promises = attempt.promises.values().cloned().collect();
                    Message::LastProposal(Box::new(LastProposal { proposal, promises }))
                }
                (None, None, Some(open)) => Message::Open(Signed::sign(at.me, open, &at.keys.log)),
                (None, None, None) => continue,
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
        if !attempt.promised(at, witness, message, out) {
            return;
        }
        let Some(locked) = attempt.choice::<G>(at) else { return };
        // the highest lock, if there is one; else nothing is appended any more
        let block = match locked {
            Some(lock) => lock.block,
            None => closing::nothing(at.constitution.epoch(), witness.log(), witness.tip()),
        };
        let pledge = Pledge { block, round: attempt.round };
        if attempt.propose(at, witness, pledge, out) {
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
        if attempt.voted(at, witness, vote, out) {
            self.send(at, witness, out);
        }
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
        let Some(certificate) = attempt.committed(at, witness, commit, out) else { return };
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
        self.attempt.as_ref().map(|attempt| attempt.round)
    }
}
