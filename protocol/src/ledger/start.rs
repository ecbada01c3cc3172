//! How a node starts: it announces itself, hears what the others know of its past, and signs nothing
//! of the agreement until then (rules 11 and 12).

use std::collections::BTreeMap;

use super::{ASK_AFTER, Context, Ledger};
use crate::crypto::Signed;
use crate::ids::{BrandId, Incarnation, StartNonce};
use crate::time::Timestamp;
use crate::witness::closing;
use crate::witness::guards::{Guard, Guards};
use crate::witness::handshake::{Handshake, Shown};
use crate::witness::message::{Message, Refusal};
use crate::witness::said::Position;
use crate::witness::standing;
use crate::witness::start::{self, Acknowledgement, LogAnswer, OpenRound, Presented, Start};
use crate::witness::state::{Outbox, RULE_INCARNATION, Witness};
use crate::witness::statement::{Certificate, Open, Statement as _};
use crate::witness::writer::RESEND_AFTER;

/// How far a node's start has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Starting {
    /// It waits for the others' acknowledgements and signs nothing.
    Acknowledgements {
        /// How many have come.
        received: usize,
        /// How many it needs.
        needed: usize,
    },
    /// It was restored from an older state, and does not know yet how far these logs were certified:
    /// in them it signs nothing.
    Undecided(Vec<BrandId>),
    /// It was restored, and is silent or careful in these logs until they have gone on.
    Fenced(Vec<BrandId>),
}

impl<G: Guards> Ledger<G> {
    /// The operator says that the journal was put back to an older state. Called before
    /// [`Ledger::resume`]; the records must be synced before anything is sent.
    pub fn declare_restored(&mut self, out: &mut Outbox) {
        let logs = self.witnesses.keys().copied();
        self.standing.restore(true, logs, out);
    }

    /// The present incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.standing.incarnation()
    }

    /// What still keeps this node from signing everything; none when nothing does.
    #[must_use]
    pub fn starting(&self) -> Option<Starting> {
        if !self.standing.has_started() {
            let needed = standing::acknowledgements_needed(self.constitution().committee());
            let received = self.handshake.as_ref().map_or(0, Handshake::answers);
            return Some(Starting::Acknowledgements { received, needed });
        }
        if !self.standing.undecided().is_empty() {
            return Some(Starting::Undecided(self.standing.undecided().iter().copied().collect()));
        }
        let fenced: Vec<BrandId> = self
            .witnesses()
            .filter(|(log, witness)| !self.standing.vouches::<G>(*log, witness.tip().height))
            .map(|(log, _)| log)
            .collect();
        (!fenced.is_empty()).then_some(Starting::Fenced(fenced))
    }

    /// Rule 11: persists an incarnation above this one, then announces it.
    pub(super) fn begin_incarnation(
        &mut self,
        above: Incarnation,
        context: &mut Context<'_>,
        out: &mut Outbox,
    ) {
        self.standing.start(above, out);
        let mut nonce = [0; 16];
        context.entropy.fill(&mut nonce);
        let (incarnation, nonce) = (self.standing.incarnation(), StartNonce::from_bytes(nonce));
        // a node without the keys of its constitution never has started
        let Some(keys) = self.own_keys() else { return };
        let start = Signed::sign(self.me, Start { incarnation, nonce }, &keys.voting.log);
        // a second start of this run is judged by what was on the disk at the first
        let replayed = match self.handshake.take() {
            Some(handshake) => handshake.replayed().clone(),
            None => positions(&self.witnesses),
        };
        self.handshake = Some(Handshake::new(start, replayed));
        self.announce(context.now, out);
    }

    /// Tells those who have not answered, or not well enough, that this node has started.
    pub(super) fn announce(&mut self, now: Timestamp, out: &mut Outbox) {
        let witnesses: Vec<BrandId> = self.constitution().committee().witnesses(self.me).collect();
        let Some(handshake) = &mut self.handshake else { return };
        let urgent = !self.standing.has_started() || !self.standing.undecided().is_empty();
        let after = if urgent { RESEND_AFTER } else { ASK_AFTER };
        if now.distance(handshake.announced) < after {
            return;
        }
        handshake.announced = now;
        for to in witnesses {
            if handshake.waits_for(to, &self.standing) {
                out.messages.push((to, Message::Start(handshake.start().clone())));
            }
        }
    }

    /// Another node has started. It is answered in any state, while this one starts as well.
    pub(super) fn on_start(&mut self, from: BrandId, start: Signed<Start>, out: &mut Outbox) {
        let Some(start) = start::verify(&start, &self.constitutions) else { return };
        if start.signer() != from {
            return;
        }
        let body = *start.body();
        let started = self.standing.heard_start(start, out);
        let answer = self.acknowledgement(from, body, started);
        let Some(keys) = self.own_keys() else { return };
        let signed = Signed::sign(self.me, answer, &keys.voting.vote);
        out.messages.push((from, Message::Acknowledgement(Box::new(signed))));
    }

    fn acknowledgement(
        &self,
        brand: BrandId,
        start: Start,
        started: Option<Signed<Start>>,
    ) -> Acknowledgement {
        let furthest = self.witnesses().filter_map(|(_, witness)| witness.watch().furthest(brand));
        let logs = self.witnesses().map(|(log, witness)| {
            let lock = witness.lock().map(|lock| lock.as_unverified().clone());
            LogAnswer {
                log,
                certificate: witness.certificate().map(Certificate::as_unverified).cloned(),
                vouches: self.standing.vouches::<G>(log, witness.tip().height),
                open: (log == self.me).then_some(OpenRound { round: witness.joined(), lock }),
            }
        });
        Acknowledgement {
            brand,
            start,
            started,
            said: furthest.cloned().collect(),
            logs: logs.collect(),
        }
    }

    /// Another node answers this one's start.
    pub(super) fn on_acknowledgement(
        &mut self,
        from: BrandId,
        answer: Signed<Acknowledgement>,
        context: &mut Context<'_>,
        out: &mut Outbox,
    ) {
        let Some(handshake) = &mut self.handshake else { return };
        // anything else was answered before, or by another start
        if answer.body.start != handshake.start().body || answer.signer != from {
            return;
        }
        let Some(answer) = start::verify(&answer, &self.constitutions) else { return };
        // what it has signed since it started is no sign of another life
        let own = if self.standing.has_started() {
            positions(&self.witnesses)
        } else {
            handshake.replayed().clone()
        };
        let Some(shown) = handshake.take(&answer, &own, &self.standing, &self.constitutions) else {
            return;
        };
        // verified with the answer
        for (log, height) in handshake.certified_by(from) {
            self.note_certified(log, height);
        }
        self.judge(shown, context, out);
    }

    fn judge(&mut self, shown: Shown, context: &mut Context<'_>, out: &mut Outbox) {
        let restoring = !self.standing.undecided().is_empty();
        let continues = !shown.beyond && shown.another_life.is_none();
        if !G::allow(Guard::NoticeRestore, continues) && !restoring {
            let logs = self.witnesses.keys().copied();
            self.standing.restore(false, logs, out);
            self.writer.abandon();
        }
        if let Some(seen) = shown.another_life {
            return self.begin_incarnation(seen, context, out);
        }
        let Some(handshake) = &self.handshake else { return };
        let needed = standing::acknowledgements_needed(self.constitution().committee());
        let mut changed = false;
        if !self.standing.has_started() && handshake.answers() >= needed {
            self.standing.acknowledge();
            changed = true;
        }
        for log in self.standing.undecided().clone() {
            let declared = self.standing.is_declared();
            let tip = self.witnesses.get(&log).map(|witness| witness.tip().height);
            let (Some(tip), Some(constitution)) = (tip, self.constitution_of(log)) else {
                continue;
            };
            if let Some(fence) = handshake.decided(log, tip, declared, constitution) {
                self.standing.decide(fence, out);
                changed = true;
            }
        }
        if changed && self.standing.has_started() {
            let me = self.me;
            if let Some((at, writer, own)) = self.parts(me, context.now) {
                writer.resume(&at, own, context.entropy, out);
            }
        }
    }

    /// Rule 11: whether what a writer sends is of an incarnation that still has a claim on its log.
    /// Anything but openings and proposals has none to make.
    pub(super) fn has_a_claim(
        &mut self,
        from: BrandId,
        message: &Message,
        out: &mut Outbox,
    ) -> bool {
        let (presented, height, round) = match message {
            Message::Open(open) => {
                let constitution = self.constitutions.of(open.body.epoch);
                let open = constitution.and_then(|it| Open::verify(open.clone(), it).ok());
                let Some(open) = open else {
                    return false;
                };
                let body = *open.body();
                let leader =
                    constitution.map(|it| closing::leader(it.committee(), body.log, body.round));
                if open.signer() != from || leader != Some(from) {
                    return false;
                }
                (body.incarnation, body.height, body.round)
            }
            Message::Proposal(proposal) => {
                let constitution = self.constitutions.of(proposal.proposal.body.0.block.epoch);
                let presented = proposal.presented();
                let presented = constitution.and_then(|it| Presented::verify(presented, it).ok());
                let Some(presented) = presented else {
                    return false;
                };
                let Presented { pledge, incarnation } = *presented.body();
                if presented.signer() != from || pledge.block.log != from {
                    return false;
                }
                (incarnation, pledge.block.height, pledge.round)
            }
            _ => return true,
        };
        if self.standing.admits::<G>(from, presented, out) {
            return true;
        }
        let joined = self.witnesses.get(&from).map(Witness::joined);
        let joined = joined.unwrap_or_default();
        let refusal = Refusal { log: from, height, round, joined, rule: RULE_INCARNATION };
        out.messages.push((from, Message::Refusal(refusal)));
        false
    }
}

fn positions<G: Guards>(witnesses: &BTreeMap<BrandId, Witness<G>>) -> BTreeMap<BrandId, Position> {
    witnesses.iter().map(|(log, witness)| (*log, witness.position())).collect()
}
