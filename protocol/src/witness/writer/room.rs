//! What the next block may owe (rules 13 and 14): which submissions have room, which are given back, and
//! which logs are not recognised yet.
//!
//! A block that its own writer would find over a limit stops the log, and nothing in it could make room
//! again: neither a closing nor what another brand sent meanwhile. So nothing is built that is over one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Writer;
use crate::amount::Value;
use crate::exchange::{Payload, ReturnReason};
use crate::ids::BrandId;
use crate::log::block::{PublicEntry, Recognised};
use crate::witness::guards::{Guard, Guards};
use crate::witness::rules::{self, MostOwed};
use crate::witness::state::{Outbox, Surroundings, Witness};

/// What waits for one counterparty or is in the open block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pending {
    /// Its value.
    all: Value,
    /// What of that answers a block that is recognised with it and not before.
    answers: Value,
}

impl Pending {
    pub(super) fn add(&mut self, payload: &Payload) {
        let more = |sum: Value| sum.plus(payload.value()).unwrap_or(Value::MAX);
        self.all = more(self.all);
        if is_answer(payload) {
            self.answers = more(self.answers);
        }
    }

    pub(super) fn take(&mut self, payload: &Payload) {
        self.all = self.all.saturating_minus(payload.value());
        if is_answer(payload) {
            self.answers = self.answers.saturating_minus(payload.value());
        }
    }
}

/// Whether it sends back what could not be applied: what it takes back is claimed by the same block.
fn is_answer(payload: &Payload) -> bool {
    matches!(payload, Payload::Return(back) if back.reason != ReturnReason::Member)
}

/// Whether it is owed anew, by a member's wish, and can be given back as long as it is in no block.
fn is_wish(payload: &Payload) -> bool {
    match payload {
        Payload::Exchange(_) => true,
        Payload::Return(back) => back.reason == ReturnReason::Member,
        Payload::Link(_) | Payload::Unlink(_) => false,
    }
}

impl<G: Guards> Writer<G> {
    /// Whether a member's wish leaves the brand two steps below its limits: what could not be applied
    /// comes back without a change of what is owed exactly, which is at most so much below what is owed
    /// publicly.
    pub(super) fn has_room(
        &self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        to: BrandId,
        payload: &Payload,
    ) -> bool {
        if !is_wish(payload) {
            return true;
        }
        let Some(brand) = at.constitution.brand(at.me) else { return false };
        let exposures = self.exposures_with(at, own, (to, payload.value()));
        let within = exposures.is_some_and(|exposures| {
            exposures.get(&to).is_some_and(|owed| *owed <= brand.pair_limit)
                && rules::sum(&exposures).is_some_and(|owed| owed <= brand.total_limit)
        });
        let guard = match payload {
            Payload::Return(_) => Guard::RoomToSendBack,
            _ => Guard::RoomForMore,
        };
        G::allow(guard, within)
    }

    /// Whether it may be given back for want of room.
    fn may_be_given_back(payload: &Payload) -> bool {
        match payload {
            Payload::Return(_) => is_wish(payload) && !G::allow(Guard::RoomToSendBack, false),
            _ => is_wish(payload),
        }
    }

    /// What this brand will owe each other one when all that waits is certified and so much more, with two
    /// steps of reserve for each; none when it leaves its range.
    fn exposures_with(
        &self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        (to, more): (BrandId, Value),
    ) -> Option<BTreeMap<BrandId, Value>> {
        let step = at.constitution.total_step();
        let reserve = step.plus(step).ok()?;
        let of = |log: BrandId| {
            let more = if log == to { more } else { Value::ZERO };
            let waits = self.pending(log).all.plus(more).ok()?;
            let exposure = self.owed(step, log, waits, &own.tip().recognised(log))?;
            // what is about to be recognised counts where it is worse: a claim that was paid
            let next = match self.recognise.get(&log) {
                Some((next, _)) => self.owed(step, log, waits, next)?,
                None => exposure,
            };
            exposure.max(next).plus(reserve).ok()
        };
        let witnesses = at.constitution.committee().witnesses(at.me);
        witnesses.map(|log| Some((log, of(log)?))).collect()
    }

    /// What is owed publicly to a counterparty when so much more is sent to it and so much of it
    /// recognised; none when it leaves its range.
    fn owed(
        &self,
        step: Value,
        log: BrandId,
        more: Value,
        recognised: &Recognised,
    ) -> Option<Value> {
        let sent = self.contents.get(&log).map_or(Value::ZERO, |content| content.sent);
        let sent = sent.plus(more).and_then(|sent| sent.ceiling_to(step)).ok()?;
        Some(rules::public_exposure(step, sent, recognised))
    }

    fn pending(&self, log: BrandId) -> Pending {
        self.pending.get(&log).copied().unwrap_or_default()
    }

    fn most_owed(at: &Surroundings<'_>, own: &Witness<G>) -> Option<MostOwed> {
        let brand = at.constitution.brand(at.me)?;
        Some(MostOwed::after(at.constitution, brand, at.me, own.tip()))
    }

    /// How far a log would be recognised with the next block.
    fn recognised_then(&self, own: &Witness<G>, log: BrandId) -> Recognised {
        let known = own.tip().recognised(log);
        let next = self.recognise.get(&log).map(|(next, _)| *next);
        next.filter(|next| next.height > known.height).unwrap_or(known)
    }

    /// Logs whose recognition waits, and with it the answers to them. A payee that grants a discharge takes
    /// back the claim that was paid with it; under a limit that was lowered, rounding alone may raise what is
    /// owed. Where that would take this brand over what it may owe, recognising the log waits until something
    /// else is settled or comes the other way.
    pub(super) fn waiting_logs(
        &self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
    ) -> BTreeSet<BrandId> {
        let Some(most) = Self::most_owed(at, own) else { return BTreeSet::new() };
        let step = at.constitution.total_step();
        let owed = |log, waits, recognised: &Recognised| {
            self.owed(step, log, waits, recognised).unwrap_or(Value::MAX)
        };
        let (mut exposures, mut raising) = (BTreeMap::new(), BTreeMap::new());
        for log in at.constitution.committee().witnesses(at.me) {
            let Pending { all, answers } = self.pending(log);
            let before = owed(log, all.saturating_minus(answers), &own.tip().recognised(log));
            let given = all.plus(self.given_back_to(at.me, log)).unwrap_or(Value::MAX);
            let after = owed(log, given, &self.recognised_then(own, log));
            exposures.insert(log, after);
            if after > before {
                raising.insert(log, before);
            }
        }
        let mut waits = BTreeSet::new();
        for (log, before) in &raising {
            if exposures.get(log).is_some_and(|after| *after > most.pair(*log)) {
                waits.insert(*log);
                exposures.insert(*log, *before);
            }
        }
        if most.allows_in_all(&exposures) { waits } else { raising.into_keys().collect() }
    }

    /// What agreements that wait give a brand back beside all payloads.
    fn given_back_to(&self, me: BrandId, log: BrandId) -> Value {
        let void = self.public.iter().filter_map(|entry| match entry {
            PublicEntry::DisputeResolved(it) if it.sides() == (log, me) => Some(it.void),
            _ => None,
        });
        void.fold(Value::ZERO, |sum, void| sum.plus(void).unwrap_or(Value::MAX))
    }

    /// Before a block is built: settles which logs it does not recognise, gives back the wishes, last first,
    /// that it has no room for (a constitution has lowered a limit since they were taken, or a block of a former
    /// life has come to light), and takes the answers that wait out of the queue. `without` are logs that are not
    /// recognised in any case.
    pub(super) fn make_room(
        &mut self,
        without: &BTreeSet<BrandId>,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        out: &mut Outbox,
    ) -> Vec<(BrandId, Payload)> {
        self.deferred = self.waiting_logs(at, own);
        self.deferred.extend(without);
        let Some(most) = Self::most_owed(at, own) else { return Vec::new() };
        let step = at.constitution.total_step();
        // what is not claimed yet cannot be sent back
        let before_its_time = |(to, payload): &(BrandId, Payload)| {
            let is_return = matches!(payload, Payload::Return(_));
            is_return && Self::may_be_given_back(payload) && self.deferred.contains(to)
        };
        if self.sealed.iter().any(before_its_time) {
            let (early, kept): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.sealed).into_iter().partition(before_its_time);
            self.sealed = kept.into();
            early.into_iter().for_each(|submission| self.reject(submission, out));
        }
        let mut exposures: BTreeMap<BrandId, Value>;
        loop {
            let of = |log| (log, self.owed_then(step, own, log, Value::ZERO));
            exposures = at.constitution.committee().witnesses(at.me).map(of).collect();
            if G::allow(Guard::RoomForMore, most.allows(&exposures)) {
                break;
            }
            let over = exposures.iter().find(|(log, owed)| **owed > most.pair(**log));
            let over = over.map(|(log, _)| *log);
            let counts = |to: &BrandId| exposures.get(to).is_some_and(|owed| !owed.is_zero());
            let last = self.sealed.iter().rposition(|(to, payload)| {
                Self::may_be_given_back(payload)
                    && over.map_or_else(|| counts(to), |over| over == *to)
            });
            let Some(submission) = last.and_then(|place| self.sealed.remove(place)) else { break };
            self.reject(submission, out);
        }
        let waits =
            |to: &BrandId, payload: &Payload| is_answer(payload) && self.deferred.contains(to);
        if !self.sealed.iter().any(|(to, payload)| waits(to, payload)) {
            return Vec::new();
        }
        // an answer may go before what it answers is recognised, as far as that has room
        let mut early: BTreeMap<BrandId, Value> = BTreeMap::new();
        let (mut aside, mut kept) = (Vec::new(), VecDeque::with_capacity(self.sealed.len()));
        for (to, payload) in std::mem::take(&mut self.sealed) {
            if !waits(&to, &payload) {
                kept.push_back((to, payload));
                continue;
            }
            let before = early.get(&to).copied().unwrap_or_default();
            let answered = before.plus(payload.value()).unwrap_or(Value::MAX);
            let known = exposures.insert(to, self.owed_then(step, own, to, answered));
            if most.allows(&exposures) {
                early.insert(to, answered);
                kept.push_back((to, payload));
            } else {
                exposures.extend(known.map(|known| (to, known)));
                aside.push((to, payload));
            }
        }
        self.sealed = kept;
        aside
    }

    /// What is owed publicly to a counterparty with the next block, with so much of the answers to a log that
    /// it does not recognise.
    fn owed_then(&self, step: Value, own: &Witness<G>, log: BrandId, early: Value) -> Value {
        let Pending { all, answers } = self.pending(log);
        let owed = if self.deferred.contains(&log) {
            let waits = all.saturating_minus(answers).plus(early);
            let waits = waits.unwrap_or(Value::MAX);
            self.owed(step, log, waits, &own.tip().recognised(log))
        } else {
            self.owed(step, log, all, &self.recognised_then(own, log))
        };
        owed.unwrap_or(Value::MAX)
    }

    /// Puts answers that were taken out of the queue back before all else.
    pub(super) fn put_back(&mut self, aside: Vec<(BrandId, Payload)>) {
        aside.into_iter().rev().for_each(|submission| self.sealed.push_front(submission));
    }

    /// Logs whose recognition waits since it would take this brand over what it may owe.
    #[must_use]
    pub const fn deferred(&self) -> &BTreeSet<BrandId> {
        &self.deferred
    }
}
