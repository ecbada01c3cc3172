//! One participant's clean room: all attempts it knows of.

mod openings;

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{AttemptId, CertifiedEntry, CleanRoomEntry, CodecError, Readmit, Reserve};
use super::local::{Local, Step};
use super::message::{DeclineReason, Message, Opening, Proposal};
use super::record::{Begun, Drawn, Record};
use super::{Clock, Effect, HELD_MAX_BYTES, LIFETIME_MAX_MILLIS, Progress};
use crate::accounting::{
    EntryError, Evidence, Facts, InForce, Ledger, OPEN_RESERVATIONS_MAX, OverBudget, remaining,
    total,
};
use crate::bounded::BoundedVector;
use crate::contract::Contract;
use crate::ids::{Attempt, ParticipantId, QueryId, SnapshotId};
use crate::masked_sum::{self, MaskError, MaskingSecret};
use crate::mechanism::NoiseShare;
use crate::plan::{DpPlan, QuerySpec};
use crate::release::Release;
use crate::sql::Refusal;
use crate::units::{CalendarYear, PicoRho, UtcMillis};

/// Most proposals of one proposer kept while their reservations are on their way.
const PROPOSALS_MAX: usize = 4;

/// How long a proposal waits for its certified reservation, in milliseconds.
const PROPOSAL_MILLIS: u64 = 600_000;
/// How long a reservation that looks uncovered waits for entries of other logs that may still be
/// on their way (releases, returns), in milliseconds.
const PATIENCE_MILLIS: u64 = 10_000;

/// What a proposer passes in for one attempt.
#[derive(Debug)]
pub struct ProposeRequest {
    /// Drawn at random for a new question.
    pub query: QueryId,
    /// First, or the next after a void one.
    pub attempt: Attempt,
    /// The question.
    pub spec: QuerySpec,
    /// A fresh random secret.
    pub secret: MaskingSecret,
    /// The data this participant answers from.
    pub snapshot: SnapshotId,
    /// The analyst's share of this brand's joint quota.
    pub analyst_quota: PicoRho,
    /// From now to the expiry, in milliseconds: for all reservations, reading and hashes.
    pub lifetime_millis: u64,
    /// From the expiry to the instant after which an opening is missing, in milliseconds.
    pub opening_millis: u64,
}

/// Why a question is not proposed. Nothing was spent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// The planner refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The accounts do not cover it.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// This participant is not among those asked.
    #[error("a proposer takes part itself: add {0} to the participants")]
    NotAsked(ParticipantId),
    /// The attempt's name is taken.
    #[error("this attempt exists; draw a new query id, or take the next attempt number")]
    Taken,
    /// One of those asked did not open in an earlier question.
    #[error("{0} is suspended until a quorum of the other brands readmits it")]
    Suspended(ParticipantId),
    /// A lifetime that is zero or too long.
    #[error("lifetime and opening time are 1 to {LIFETIME_MAX_MILLIS} ms")]
    Lifetime,
    /// There is no memory for it beside what is under way.
    #[error(
        "questions under way hold {held} bytes here; with {asked} more it would be over {HELD_MAX_BYTES}"
    )]
    Busy {
        /// What they hold.
        held: usize,
        /// What this one would.
        asked: usize,
    },
}

/// Why a brand is not readmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadmitError {
    /// There is nothing to readmit it to.
    #[error("{0} is not suspended")]
    NotSuspended(ParticipantId),
    /// Others decide that.
    #[error("a brand does not readmit itself; the others do")]
    Itself,
    /// This brand's agreement is on the record.
    #[error("this brand has agreed already; others have yet to agree")]
    Agreed,
}

/// Why an answer to an effect is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No such question is waiting.
    #[error("no such attempt is waiting for this step")]
    NotWaiting,
    /// Too late; the attempt has failed here.
    #[error("the reservation has expired")]
    Expired,
    /// The vector could not be masked; the attempt has failed here.
    #[error(transparent)]
    Mask(#[from] MaskError),
}

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// From somebody who has no part in it.
    #[error("{0} has no part in this attempt")]
    Stranger(ParticipantId),
    /// Too many proposals at a time.
    #[error("{0} has too many proposals waiting")]
    TooMany(ParticipantId),
    /// An opening before all hashes are certified, or of an unknown attempt. It will be sent again.
    #[error("an opening that is not due here yet")]
    Early,
    /// An opening that does not match its certified hash: evidence against its sender.
    #[error("the opening of {0} does not match its certified hash")]
    Mismatch(ParticipantId),
}

/// Records that do not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Bytes that are no record.
    #[error("record {index}: {source}")]
    Codec {
        /// Which one, from 0.
        index: usize,
        /// Why.
        source: CodecError,
    },
}

/// One participant's side of all its attempts.
pub struct CleanRoom {
    me: ParticipantId,
    contract: Contract,
    ledger: Ledger,
    heads: BTreeMap<ParticipantId, UtcMillis>,
    locals: BTreeMap<AttemptId, Local>,
    /// Proposals without a decision yet.
    proposals: BTreeMap<AttemptId, Pending>,
    /// Attempts this participant will have no part in, each until its reservation has expired: then it is too late for
    /// it anyway.
    declined: BTreeMap<AttemptId, UtcMillis>,
}

/// Redacted: attempts hold keys, questions and masked vectors.
impl fmt::Debug for CleanRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts: Vec<&AttemptId> = self.locals.keys().collect();
        f.debug_struct("CleanRoom")
            .field("me", &self.me)
            .field("attempts", &attempts)
            .finish_non_exhaustive()
    }
}

struct Pending {
    spec: QuerySpec,
    since: UtcMillis,
    /// Planned and handed to the caller to decide.
    plan: Option<Arc<DpPlan>>,
}

impl CleanRoom {
    /// A clean room without a past.
    pub const fn new(me: ParticipantId, contract: Contract) -> Self {
        Self {
            me,
            contract,
            ledger: Ledger::new(),
            heads: BTreeMap::new(),
            locals: BTreeMap::new(),
            proposals: BTreeMap::new(),
            declined: BTreeMap::new(),
        }
    }

    /// From the unsealed records of a disk, in the order they were written. [`Self::replay`] the
    /// logs next, then [`Self::resume`]. Attempts planned under another contract cannot go on and
    /// are left out: their charges stand.
    pub fn restore(
        me: ParticipantId,
        contract: Contract,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, RestoreError> {
        let mut room = Self::new(me, contract);
        for (index, bytes) in records.into_iter().enumerate() {
            let record = Record::from_bytes(bytes.as_ref())
                .map_err(|source| RestoreError::Codec { index, source })?;
            match record {
                Record::Begun(begun) => {
                    if let Ok(plan) = DpPlan::new(&room.contract, &begun.spec) {
                        room.locals.entry(begun.id).or_insert_with(|| Local::new(*begun, plan));
                    }
                }
                other => {
                    if let Some(local) = room.locals.get_mut(&other.id()) {
                        local.restore(me, other);
                    }
                }
            }
        }
        Ok(room)
    }

    /// Takes note of a contract of before, whose promise for the year holds on: after [`Self::restore`] of each
    /// that there was, and with [`Self::follow`] of the one that ends.
    pub fn was_under(&mut self, former: InForce<'_>) {
        self.ledger.was_under(former);
    }

    /// Goes by another contract from now on. Attempts planned under the one before cannot go on here, nor
    /// begin again; their charges stand.
    pub fn follow(&mut self, contract: Contract) {
        if contract.hash() != self.contract.hash() {
            for (id, local) in std::mem::take(&mut self.locals) {
                let reserve = self.ledger.facts(&id).and_then(Facts::reserve);
                if let Some(reserve) = reserve.or(local.reserve.as_ref()) {
                    self.declined.insert(id, reserve.expires_at);
                }
            }
            self.proposals.clear();
        }
        self.contract = contract;
    }

    /// Takes a certified entry without acting on it: at start, for every clean-room entry of every
    /// log.
    pub fn replay(&mut self, entry: &impl CertifiedEntry) -> Result<(), EntryError> {
        self.ledger.enter(entry).map(|_| ())
    }

    /// Acts on everything replayed.
    pub fn resume(&mut self, clock: Clock) -> Vec<Effect> {
        self.tick(clock)
    }

    /// Step 1 and the begin of step 2: plans, checks the accounts, reserves.
    pub fn propose(
        &mut self,
        request: ProposeRequest,
        clock: Clock,
    ) -> Result<Vec<Effect>, ProposeError> {
        let plan = DpPlan::new(&self.contract, &request.spec)?;
        let id = AttemptId { proposer: self.me, query: request.query, attempt: request.attempt };
        if !plan.participants().contains(&self.me) {
            return Err(ProposeError::NotAsked(self.me));
        }
        if self.locals.contains_key(&id) || self.ledger.facts(&id).is_some() {
            return Err(ProposeError::Taken);
        }
        if let Some(brand) = self.suspended_among(plan.participants()) {
            return Err(ProposeError::Suspended(brand));
        }
        let legal = 1..=LIFETIME_MAX_MILLIS;
        if !legal.contains(&request.lifetime_millis) || !legal.contains(&request.opening_millis) {
            return Err(ProposeError::Lifetime);
        }
        let expires_at = clock.now.plus(request.lifetime_millis);
        let reserve = Reserve {
            id,
            plan: plan.hash(),
            sql: plan.sql_hash(),
            contract: plan.contract_hash(),
            participants: plan.participants().to_vec(),
            rho: plan.rho(),
            year: clock.year,
            analyst: request.spec.analyst,
            expires_at,
            open_by: expires_at.plus(request.opening_millis),
        };
        let pending: Vec<Reserve> = self.uncertified(clock.now).cloned().collect();
        self.ledger.admit(&self.contract, &reserve, request.analyst_quota, &pending, clock.now)?;
        let (left, asked) = (self.left_for_failures(&reserve, clock.now), reserve.rho);
        if asked > left {
            let (brand, year) = (self.me, reserve.year);
            return Err(OverBudget::Failure { brand, year, left, asked }.into());
        }
        let (held, asked) = (self.bytes_held(), plan.bytes_held());
        if held.saturating_add(asked) > HELD_MAX_BYTES {
            return Err(ProposeError::Busy { held, asked });
        }
        let begun = Begun {
            id,
            spec: request.spec,
            secret: *request.secret.as_bytes(),
            snapshot: request.snapshot,
            reserve: Some(reserve),
        };
        let mut effects = vec![Effect::Persist(Record::Begun(Box::new(begun.clone())))];
        self.locals.insert(id, Local::new(begun, plan));
        effects.extend(self.advance(id, clock, false));
        Ok(effects)
    }

    /// What the attempts under way hold, those of which nothing comes any more left out.
    fn bytes_held(&self) -> usize {
        let plans = self.locals.values().map(|local| local.plan.bytes_held());
        plans.fold(0, usize::saturating_add)
    }

    fn suspended_among(&self, brands: &[ParticipantId]) -> Option<ParticipantId> {
        let suspended =
            |brand: &&ParticipantId| self.ledger.suspended(&self.contract, **brand).is_some();
        brands.iter().find(suspended).copied()
    }

    /// Agrees, in the own log, that a suspended brand may be asked again. It may when a quorum of
    /// the brands beside it agrees ([`readmission_quorum`](crate::accounting::readmission_quorum)).
    pub fn readmit(&self, brand: ParticipantId) -> Result<Vec<Effect>, ReadmitError> {
        if brand == self.me {
            return Err(ReadmitError::Itself);
        }
        let standing: Vec<AttemptId> = self
            .ledger
            .suspensions(&self.contract, brand)
            .filter(|suspension| suspension.until.is_none())
            .map(|suspension| suspension.id)
            .collect();
        if standing.is_empty() {
            return Err(ReadmitError::NotSuspended(brand));
        }
        let agreed = |id: &AttemptId| {
            let mut agreed =
                self.ledger.facts(id).into_iter().flat_map(|facts| facts.readmitted_by(brand));
            agreed.any(|writer| writer == self.me)
        };
        let due = standing.into_iter().filter(|id| !agreed(id));
        let effects: Vec<Effect> =
            due.map(|id| Effect::Append(CleanRoomEntry::Readmit(Readmit { id, brand }))).collect();
        if effects.is_empty() { Err(ReadmitError::Agreed) } else { Ok(effects) }
    }

    /// Own reservations on their way into the log, as long as anything may come of them.
    pub fn uncertified(&self, now: UtcMillis) -> impl Iterator<Item = &Reserve> {
        self.locals
            .iter()
            .filter(|(id, _)| self.ledger.facts(id).is_none_or(|facts| facts.reserve().is_none()))
            .filter_map(|(_, local)| local.reserve.as_ref())
            .filter(move |reserve| now <= reserve.expires_at)
    }

    /// A certified entry of any log, own or not. Entries of one log come in its order.
    pub fn certified(
        &mut self,
        entry: &impl CertifiedEntry,
        clock: Clock,
    ) -> Result<Vec<Effect>, EntryError> {
        let id = self.ledger.enter(entry)?;
        let mut effects = self.consider(id, clock);
        effects.extend(self.advance(id, clock, false));
        Ok(effects)
    }

    /// A log, the own one too, is certified up to a block of this time, and every clean-room entry
    /// up to there has been passed in. Due for blocks without clean-room entries as well: that a
    /// log has passed an expiry without a hash is what lets a void attempt's quota come back.
    pub fn head(&mut self, log: ParticipantId, time: UtcMillis, clock: Clock) -> Vec<Effect> {
        let head = self.heads.entry(log).or_insert(time);
        *head = time.max(*head);
        self.advance_all(clock, false)
    }

    /// Time has passed: every few seconds. Sends again what may have been lost.
    pub fn tick(&mut self, clock: Clock) -> Vec<Effect> {
        let ledger = &self.ledger;
        self.proposals.retain(|id, pending| {
            let reserve = ledger.facts(id).and_then(Facts::reserve);
            let until = reserve.map_or(pending.since.plus(PROPOSAL_MILLIS), |r| r.expires_at);
            // One with a reservation and no plan yet is still to be declined.
            clock.now <= until || (reserve.is_some() && pending.plan.is_none())
        });
        self.declined.retain(|_, until| clock.now <= *until);
        self.locals.retain(|id, local| {
            match (ledger.facts(id).and_then(Facts::reserve), &local.reserve) {
                (Some(reserve), _) => !(local.is_forgotten() && clock.now > reserve.open_by),
                // one that never came into the own log: should it yet, its charge stands
                (None, Some(own)) => clock.now <= own.expires_at.plus(LIFETIME_MAX_MILLIS),
                (None, None) => true,
            }
        });
        for (id, local) in &mut self.locals {
            let reserve = ledger.facts(id).and_then(Facts::reserve).or(local.reserve.as_ref());
            let expired = reserve.is_some_and(|reserve| clock.now > reserve.expires_at);
            if local.is_over(expired) {
                local.let_go();
            }
        }
        let waiting: Vec<AttemptId> = self.proposals.keys().copied().collect();
        let mut effects: Vec<Effect> =
            waiting.into_iter().flat_map(|id| self.consider(id, clock)).collect();
        effects.extend(self.advance_all(clock, true));
        effects
    }

    /// A message; `from` is authenticated by the caller.
    pub fn message(
        &mut self,
        from: ParticipantId,
        bytes: &[u8],
        clock: Clock,
    ) -> Result<Vec<Effect>, MessageError> {
        match Message::from_bytes(bytes)? {
            Message::Proposal(proposal) => self.proposal(from, proposal, clock),
            Message::Declined(id, reason) => {
                let asked = id.proposer == self.me
                    && self.locals.get(&id).is_some_and(|l| l.plan.participants().contains(&from));
                if asked {
                    Ok(vec![Effect::Declined { id, by: from, reason }])
                } else {
                    Err(MessageError::Stranger(from))
                }
            }
            Message::Opening(opening) => self.opening((from, from), opening, clock),
            Message::Wanted(id, name) => self.attach(from, id, name, clock),
            Message::Attached(of, opening) => self.attached((from, of), opening, clock),
        }
    }

    /// Whether nothing more comes of an attempt that this participant took part in.
    pub fn has_ended(&self, id: &AttemptId) -> bool {
        self.locals.get(id).is_some_and(Local::is_forgotten)
    }

    /// Forgets an attempt that has ended: its records may be deleted, and what is certified of it stays.
    pub fn forget(&mut self, id: &AttemptId) {
        if self.has_ended(id) {
            self.locals.remove(id);
        }
    }

    fn proposal(
        &mut self,
        from: ParticipantId,
        proposal: Proposal,
        clock: Clock,
    ) -> Result<Vec<Effect>, MessageError> {
        let Proposal { id, spec } = proposal;
        if from != id.proposer || from == self.me || !spec.participants.contains(&self.me) {
            return Err(MessageError::Stranger(from));
        }
        // one that has ended may be forgotten here
        let settled = self.ledger.facts(&id).is_some_and(Facts::is_settled);
        if settled || self.locals.contains_key(&id) || self.declined.contains_key(&id) {
            return Ok(Vec::new());
        }
        if !self.proposals.contains_key(&id) {
            let waiting = self.proposals.keys().filter(|other| other.proposer == from).count();
            if waiting >= PROPOSALS_MAX {
                return Err(MessageError::TooMany(from));
            }
            self.proposals.insert(id, Pending { spec, since: clock.now, plan: None });
        }
        Ok(self.consider(id, clock))
    }

    /// Looks at a proposal once its reservation is certified: plans it anew, checks the account,
    /// asks the caller.
    fn consider(&mut self, id: AttemptId, clock: Clock) -> Vec<Effect> {
        let (Some(pending), Some(facts)) = (self.proposals.get(&id), self.ledger.facts(&id)) else {
            return Vec::new();
        };
        let (Some(placed), None) = (&facts.reserve, &pending.plan) else { return Vec::new() };
        let reserve = &placed.entry;
        let late = clock.now > reserve.expires_at
            || clock.year != reserve.year
            || reserve.expires_at > placed.time.plus(LIFETIME_MAX_MILLIS);
        // before anything is planned for it: who asks again does not make this brand work
        if late {
            return self.turn_down(id, DeclineReason::Expiry);
        }
        let covered = self.ledger.is_covered(&self.contract, &id)
            && self.ledger.open_reservations(id.proposer, clock.now) <= OPEN_RESERVATIONS_MAX
            && reserve.rho <= self.left_for_failures(reserve, clock.now);
        // nor while what covers it may be on its way, again and again
        let waits = !covered && clock.now <= placed.time.plus(PATIENCE_MILLIS);
        if waits && self.suspended_among(&reserve.participants).is_none() {
            return Vec::new();
        }
        let planned = DpPlan::new(&self.contract, &pending.spec).ok().filter(|plan| {
            plan.hash() == reserve.plan
                && plan.sql_hash() == reserve.sql
                && plan.contract_hash() == reserve.contract
                && plan.participants() == reserve.participants
                && plan.rho() == reserve.rho
                && pending.spec.analyst == reserve.analyst
        });
        let plan = match (planned, covered) {
            (None, _) => return self.turn_down(id, DeclineReason::Plan),
            _ if self.suspended_among(&reserve.participants).is_some() => {
                return self.turn_down(id, DeclineReason::Suspended);
            }
            (_, false) => return self.turn_down(id, DeclineReason::Budget),
            (Some(plan), true)
                if self.bytes_held().saturating_add(plan.bytes_held()) > HELD_MAX_BYTES =>
            {
                return self.turn_down(id, DeclineReason::Busy);
            }
            (Some(plan), true) => Arc::new(plan),
        };
        let spec = pending.spec.clone();
        if let Some(pending) = self.proposals.get_mut(&id) {
            pending.plan = Some(Arc::clone(&plan));
        }
        vec![Effect::Decide { id, spec, plan }]
    }

    /// What the own local account has left in a reservation's year for one more failure after reading: all that is
    /// free, and of others' questions no more than what one brand may make fail.
    fn left_for_failures(&self, reserve: &Reserve, now: UtcMillis) -> PicoRho {
        let (year, proposer) = (reserve.year, reserve.id.proposer);
        let left = self.ledger.local_left(&self.contract, self.me, year);
        let left = remaining(left, self.at_risk_locally(year, now));
        if proposer == self.me {
            return left;
        }
        let booked = self.ledger.failed_for(self.me, proposer, year);
        let at_risk = self.at_risk(year, now).filter(|(of, _)| *of == proposer);
        let taken = total(at_risk.map(|(_, rho)| rho).chain([booked]));
        left.min(remaining(self.contract.failure_quota(), taken))
    }

    /// What the attempts under way here would book on the own local account if each of them failed after
    /// reading: to be kept free beside what is booked, by local questions too.
    pub fn at_risk_locally(&self, year: CalendarYear, now: UtcMillis) -> PicoRho {
        total(self.at_risk(year, now).map(|(_, rho)| rho))
    }

    fn at_risk(
        &self,
        year: CalendarYear,
        now: UtcMillis,
    ) -> impl Iterator<Item = (ParticipantId, PicoRho)> {
        self.locals.iter().filter_map(move |(id, local)| {
            let facts = self.ledger.facts(id);
            let reserve = facts.and_then(Facts::reserve).or(local.reserve.as_ref())?;
            let booked = facts.is_some_and(|facts| facts.failed.contains_key(&self.me));
            // of a disk that was put back: it was read, and is never again
            let hashed = facts.is_some_and(|facts| facts.commits.contains_key(&self.me));
            let may_read = now <= reserve.expires_at && !local.not_opened;
            let unread = local.drawn.is_none() && !booked && !hashed;
            let open = unread && (local.read_started || may_read);
            (open && reserve.year == year).then_some((id.proposer, reserve.rho))
        })
    }

    fn turn_down(&mut self, id: AttemptId, reason: DeclineReason) -> Vec<Effect> {
        self.proposals.remove(&id);
        self.decline_until_over(id);
        vec![Effect::Send { to: id.proposer, message: Message::Declined(id, reason) }]
    }

    fn decline_until_over(&mut self, id: AttemptId) {
        if let Some(reserve) = self.ledger.facts(&id).and_then(Facts::reserve) {
            self.declined.insert(id, reserve.expires_at);
        }
    }

    /// How many attempts are declined and not over.
    #[cfg(test)]
    pub(super) fn declined(&self) -> usize {
        self.declined.len()
    }

    /// Takes part: answers [`Effect::Decide`].
    pub fn accept(
        &mut self,
        id: AttemptId,
        secret: MaskingSecret,
        snapshot: SnapshotId,
        clock: Clock,
    ) -> Result<Vec<Effect>, StepError> {
        let Some(Pending { spec, plan: Some(plan), .. }) = self.proposals.remove(&id) else {
            return Err(StepError::NotWaiting);
        };
        let reserve = self.ledger.facts(&id).and_then(Facts::reserve);
        if reserve.is_none_or(|reserve| clock.now > reserve.expires_at) {
            self.decline_until_over(id);
            return Err(StepError::Expired);
        }
        let begun = Begun { id, spec, secret: *secret.as_bytes(), snapshot, reserve: None };
        let mut effects = vec![Effect::Persist(Record::Begun(Box::new(begun.clone())))];
        self.locals.insert(id, Local::new(begun, Arc::unwrap_or_clone(plan)));
        effects.extend(self.advance(id, clock, false));
        Ok(effects)
    }

    /// Takes no part: answers [`Effect::Decide`].
    pub fn decline(&mut self, id: AttemptId) -> Vec<Effect> {
        self.decline_for(id, DeclineReason::Policy)
    }

    /// Takes no part in what cannot be read here, whatever the policy says: answers [`Effect::Decide`].
    pub fn decline_unreadable(&mut self, id: AttemptId) -> Vec<Effect> {
        self.decline_for(id, DeclineReason::Plan)
    }

    fn decline_for(&mut self, id: AttemptId, reason: DeclineReason) -> Vec<Effect> {
        if self.proposals.contains_key(&id) { self.turn_down(id, reason) } else { Vec::new() }
    }

    /// Masks what was drawn and read, once: answers [`Effect::Read`]. `nonce` is fresh random.
    pub fn commit(
        &mut self,
        id: AttemptId,
        noise: NoiseShare,
        vector: BoundedVector,
        nonce: [u8; 32],
        clock: Clock,
    ) -> Result<Vec<Effect>, StepError> {
        let facts = self.ledger.facts(&id).ok_or(StepError::NotWaiting)?;
        let (set, reserve) = facts.set().zip(facts.reserve()).ok_or(StepError::NotWaiting)?;
        let local = self.locals.get_mut(&id).ok_or(StepError::NotWaiting)?;
        let waiting = local.read_started
            && local.drawn.is_none()
            && !local.failed
            && !local.not_opened
            && !facts.commits.contains_key(&self.me);
        if !waiting {
            return Err(StepError::NotWaiting);
        }
        if clock.now > reserve.expires_at {
            return Err(StepError::Expired);
        }
        let masked = masked_sum::mask(vector, noise, self.me, &local.secret, &set)?;
        let drawn = Drawn { id, set: set.hash(), vector: masked.to_bytes(), nonce };
        local.hold(self.me, set.hash(), masked, nonce);
        let mut effects = vec![Effect::Persist(Record::Drawn(drawn))];
        effects.extend(self.advance(id, clock, false));
        Ok(effects)
    }

    /// Reading failed or ran over its caps: answers [`Effect::Read`]. The cost is booked locally,
    /// because something may have been read; the attempt will be void for want of this hash. Nothing is booked
    /// where a hash was found in the own log meanwhile: the charge pays for it.
    pub fn fail(&mut self, id: AttemptId, clock: Clock) -> Vec<Effect> {
        let facts = self.ledger.facts(&id);
        let hashed = facts.is_some_and(|facts| facts.commits.contains_key(&self.me));
        let Some(local) = self.locals.get_mut(&id) else { return Vec::new() };
        if !local.read_started || local.drawn.is_some() || local.failed || hashed {
            return Vec::new();
        }
        local.failed = true;
        let mut effects = vec![Effect::Persist(Record::Failed(id))];
        effects.extend(self.advance(id, clock, false));
        effects
    }

    /// The accounts as the certified logs have them.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The contract in force.
    pub const fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The attempts this participant has a part in and still follows.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptId> {
        self.locals.keys()
    }

    /// Where an attempt of this participant stands.
    pub fn progress(&self, id: &AttemptId, now: UtcMillis) -> Option<Progress> {
        self.locals.get(id).map(|local| local.progress(self.ledger.facts(id), now))
    }

    /// The release of an attempt, if it was made in this process and the attempt is not over long
    /// since.
    pub fn release(&self, id: &AttemptId) -> Option<&Release> {
        self.locals.get(id).and_then(|local| local.release.as_ref())
    }

    /// The question and all openings of an attempt whose release was made in this process: for who audits it.
    pub fn evidence(&self, id: &AttemptId) -> Option<Evidence> {
        let local = self.locals.get(id).filter(|local| local.release.is_some())?;
        // whole as long as there is a release: both are let go of together
        let set = self.ledger.facts(id)?.set()?.hash();
        let openings = local.openings.iter().map(|(from, (vector, nonce))| {
            (*from, Opening { id: *id, set, vector: vector.to_bytes(), nonce: *nonce })
        });
        Some(Evidence { id: *id, spec: local.spec.clone(), openings: openings.collect() })
    }

    fn advance_all(&mut self, clock: Clock, resend: bool) -> Vec<Effect> {
        let ids: Vec<AttemptId> = self.locals.keys().copied().collect();
        ids.into_iter().flat_map(|id| self.advance(id, clock, resend)).collect()
    }

    fn advance(&mut self, id: AttemptId, clock: Clock, resend: bool) -> Vec<Effect> {
        let Some(local) = self.locals.get_mut(&id) else { return Vec::new() };
        let unknown = Facts::default();
        let facts = self.ledger.facts(&id).unwrap_or(&unknown);
        Step {
            me: self.me,
            id,
            local,
            facts,
            heads: &self.heads,
            clock,
            resend,
            effects: Vec::new(),
        }
        .advance()
    }
}
