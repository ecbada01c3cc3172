//! Questions about one brand's own members, as a state machine without IO.
//!
//! [`LocalRoom`] is one brand's side of the questions that it answers alone, whoever asks: its own
//! analysts, or another brand whose question it agreed to. Nobody masks anything and nobody else
//! adds noise, so there are three steps, each durable before the next:
//!
//! 1. **Charge**: the question is planned and the account looked at, then `LocalCharge` is put into
//!    the own log. Nothing has been read.
//! 2. **Read**: once the charge is certified, noise is drawn and the bounded figures are read, from the
//!    data that the charge names. Until a release is stored this may be done again after a crash:
//!    nobody has seen the first noise. A reading that fails is final, and its charge stands: whether
//!    one fails may depend on data, so that trying again for nothing would tell more each time.
//! 3. **Release**: the sum is stored, its hash goes into the own log as `LocalRelease`, and only once
//!    that is certified is it shown. A disk that was put back to before the release finds it in the log,
//!    and never reads for that charge again: there are never two noises on one charge.
//!
//! The accounts are those of [`Ledger`], which the caller keeps up to date and passes in.
//!
//! A [standing](self::standing) question is charged once, and read and released once for each period.
//!
//! [`PackMessage`] is how a question with `brand` among its group keys gets to the other brands, and
//! their answers back.

mod message;
pub mod standing;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};

pub use message::{PackDecline, PackMessage, PackQuestion};
use standing::Standing;
pub use standing::{CLOSE_AFTER_DAYS, STANDING_MAX, StandingProgress};

use crate::accounting::{Ledger, OverBudget, remaining, total};
use crate::bounded::{BoundedVector, Periods, StandingError};
use crate::civil::CivilDate;
use crate::contract::Contract;
use crate::ids::{Attempt, ParticipantId, PlanHash, QueryId, SnapshotId};
use crate::mechanism::NoiseShare;
use crate::plan::{DpPlan, LocalQuestion};
use crate::release::{LocalRelease, PeriodRelease, ReleaseError};
use crate::sql::Refusal;
use crate::steps::{
    AttemptId, CleanRoomEntry, Clock, CodecError, LocalCharge, LocalReleased, MESSAGE_MAX_BYTES,
    decoded, encoded,
};
use crate::units::{CalendarYear, PicoRho};

/// Most local questions of a brand that are under way at a time.
pub const UNDER_WAY_MAX: usize = 8;

/// What the caller must do, in order.
#[derive(Clone, Debug)]
pub enum LocalEffect {
    /// Seal and store; durable before the next effect.
    Persist(LocalRecord),
    /// Put into the own log, to be certified.
    Append(CleanRoomEntry),
    /// Draw noise, then read from this data, then call [`LocalRoom::answered`], or
    /// [`LocalRoom::failed`] when that is impossible.
    Read {
        /// The question.
        id: AttemptId,
        /// Its plan.
        plan: Arc<DpPlan>,
        /// The data that the charge names.
        snapshot: SnapshotId,
    },
    /// Draw noise, then read what this period has from the data there is, clipped to what the closed periods
    /// have left, and store what it used; then call [`LocalRoom::period_answered`], or
    /// [`LocalRoom::period_failed`].
    ReadPeriod {
        /// The question.
        id: AttemptId,
        /// Its plan.
        plan: Arc<DpPlan>,
        /// The plan's periods.
        periods: Periods,
        /// Which of them.
        period: u32,
        /// Those that were closed before: what they used must be there.
        closed: Vec<u32>,
    },
    /// Store, then show. Told again after every start.
    Released(Box<LocalRelease>),
    /// Store, then show. Told again after every start.
    PeriodReleased(Box<PeriodRelease>),
    /// It could not be read; its charge stands.
    Failed(AttemptId),
}

/// A durable step.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum LocalRecord {
    /// A question was admitted.
    #[n(0)]
    #[cbor(array)]
    Asked(#[n(0)] Box<AskedRecord>),
    /// It was answered: the noised values.
    #[n(1)]
    #[cbor(array)]
    Answered(#[n(0)] AttemptId, #[cbor(n(1), with = "minicbor::bytes")] Vec<u8>),
    /// It could not be read, and will not be.
    #[n(2)]
    #[cbor(array)]
    Failed(#[n(0)] AttemptId),
    /// A period of a standing question was answered: the noised values of its cells.
    #[n(3)]
    #[cbor(array)]
    PeriodAnswered(#[n(0)] AttemptId, #[n(1)] u32, #[cbor(n(2), with = "minicbor::bytes")] Vec<u8>),
    /// A period could not be read, and will not be.
    #[n(4)]
    #[cbor(array)]
    PeriodFailed(#[n(0)] AttemptId, #[n(1)] u32),
}

/// A question as it was admitted.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct AskedRecord {
    #[n(0)]
    question: LocalQuestion,
    #[n(1)]
    charge: LocalCharge,
    /// Whether it is answered for each of its periods; not there in records of before there were such.
    #[n(2)]
    stands: Option<bool>,
}

impl LocalRecord {
    /// The question it belongs to.
    pub fn id(&self) -> AttemptId {
        match self {
            Self::Asked(asked) => asked.charge.id,
            Self::Answered(id, _)
            | Self::Failed(id)
            | Self::PeriodAnswered(id, ..)
            | Self::PeriodFailed(id, _) => *id,
        }
    }

    /// Its encoding: to be encrypted before it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decoded(bytes, MESSAGE_MAX_BYTES, "record of a local question")
    }
}

/// Redacted: records hold questions.
impl fmt::Debug for LocalRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Asked(_) => "Asked",
            Self::Answered(..) => "Answered",
            Self::Failed(_) => "Failed",
            Self::PeriodAnswered(..) => "PeriodAnswered",
            Self::PeriodFailed(..) => "PeriodFailed",
        };
        f.debug_tuple(kind).field(&self.id()).finish()
    }
}

/// What a brand passes in for one question.
#[derive(Clone, Debug)]
pub struct LocalRequest {
    /// Drawn at random for a new question.
    pub query: QueryId,
    /// The question.
    pub question: LocalQuestion,
    /// The data to answer from.
    pub snapshot: SnapshotId,
    /// The analyst's share of the brand's local quota.
    pub analyst_quota: PicoRho,
    /// What joint attempts under way may yet book on the local account, to be kept free:
    /// [`CleanRoom::at_risk_locally`](crate::steps::CleanRoom::at_risk_locally).
    pub at_risk: PicoRho,
    /// Whether it is charged once and answered for each of its periods.
    pub stands: bool,
}

/// Why a question is not taken. Nothing was spent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LocalAskError {
    /// The planner refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The accounts do not cover it.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// The question's name is taken.
    #[error("this question exists; draw a new query id")]
    Taken,
    /// Too many at a time.
    #[error("{UNDER_WAY_MAX} local questions are under way; wait for one to end")]
    TooMany,
    /// It cannot stand.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// Too many that stand.
    #[error("{STANDING_MAX} standing questions have periods left; wait for one to end")]
    TooManyStanding,
}

/// Why what came of a reading is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalStepError {
    /// No such question is being read.
    #[error("no such question waits for a reading")]
    NotWaiting,
    /// The figures are not of the plan that was charged; the question has failed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalProgress {
    /// Its charge is not certified yet.
    Charging,
    /// It is being read.
    Reading,
    /// It is answered; the hash of the answer is not certified yet.
    Releasing,
    /// It is answered for each of its periods as they end.
    Standing,
    /// It is answered.
    Released,
    /// It could not be read; its charge stands.
    Failed,
    /// The contract was changed before it was read; a charge that was certified stands.
    Dropped,
}

struct Asked {
    charge: LocalCharge,
    /// None when the contract in force plans it no more.
    plan: Option<Arc<DpPlan>>,
    state: State,
    /// Its periods, if it is to be answered for each.
    standing: Option<Standing>,
    /// Emitted in this process.
    emitted: BTreeSet<Emitted>,
}

enum State {
    Open,
    Answered(Vec<u8>),
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Emitted {
    Charge,
    Read,
    Logged,
    Shown,
}

/// One brand's local questions.
pub struct LocalRoom {
    me: ParticipantId,
    contract: Contract,
    asked: BTreeMap<AttemptId, Asked>,
    today: Option<CivilDate>,
}

/// Redacted: it holds questions.
impl fmt::Debug for LocalRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRoom").field("me", &self.me).finish_non_exhaustive()
    }
}

impl LocalRoom {
    /// A brand without local questions.
    pub const fn new(me: ParticipantId, contract: Contract) -> Self {
        Self { me, contract, asked: BTreeMap::new(), today: None }
    }

    /// From the unsealed records of a disk, in the order they were written. [`Self::resume`] next, once
    /// the ledger has the logs.
    pub fn restore(
        me: ParticipantId,
        contract: Contract,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, CodecError> {
        let mut room = Self::new(me, contract);
        for bytes in records {
            match LocalRecord::from_bytes(bytes.as_ref())? {
                LocalRecord::Asked(record) => {
                    let AskedRecord { question, charge, stands } = *record;
                    let plan = DpPlan::local(&room.contract, me, &question).ok();
                    let plan = plan.filter(|plan| plan.hash() == charge.plan).map(Arc::new);
                    let stands = stands == Some(true);
                    let standing = plan.as_deref().filter(|_| stands).map(Periods::of);
                    let standing = standing.and_then(Result::ok).map(Standing::new);
                    // without its periods it is not one to be answered at once
                    let plan = plan.filter(|_| standing.is_some() == stands);
                    let asked = || Asked::new(charge, plan, standing);
                    room.asked.entry(charge.id).or_insert_with(asked);
                }
                LocalRecord::PeriodAnswered(id, period, noised) => {
                    if let Some(standing) = room.standing_of(&id) {
                        standing.answered.insert(period, noised);
                    }
                }
                LocalRecord::PeriodFailed(id, period) => {
                    if let Some(standing) = room.standing_of(&id) {
                        standing.failed.insert(period);
                    }
                }
                LocalRecord::Answered(id, noised) => {
                    if let Some(asked) = room.asked.get_mut(&id) {
                        asked.state = State::Answered(noised);
                    }
                }
                LocalRecord::Failed(id) => {
                    if let Some(asked) = room.asked.get_mut(&id) {
                        asked.state = State::Failed;
                    }
                }
            }
        }
        Ok(room)
    }

    fn standing_of(&mut self, id: &AttemptId) -> Option<&mut Standing> {
        self.asked.get_mut(id)?.standing.as_mut()
    }

    /// Goes by another contract from now on. Questions that were not read yet end here.
    pub fn follow(&mut self, contract: Contract) {
        if contract.hash() != self.contract.hash() {
            let open = |asked: &&mut Asked| matches!(asked.state, State::Open);
            self.asked.values_mut().filter(open).for_each(|asked| asked.plan = None);
        }
        self.contract = contract;
    }

    /// Goes on with everything after a start. [`Self::day`] first: what was charged in a year is read in it.
    pub fn resume(&mut self, ledger: &Ledger) -> Vec<LocalEffect> {
        let ids: Vec<AttemptId> = self.asked.keys().copied().collect();
        ids.into_iter().flat_map(|id| self.advance(id, ledger)).collect()
    }

    /// Step 1: plans, checks the accounts, charges.
    pub fn ask(
        &mut self,
        request: LocalRequest,
        ledger: &Ledger,
        clock: Clock,
    ) -> Result<Vec<LocalEffect>, LocalAskError> {
        let LocalRequest { query, question, snapshot, analyst_quota, at_risk, stands } = request;
        let plan = DpPlan::local(&self.contract, self.me, &question)?;
        let standing = if stands { Some(Standing::new(Periods::of(&plan)?)) } else { None };
        let id = AttemptId { proposer: self.me, query, attempt: Attempt::FIRST };
        if self.asked.contains_key(&id) || ledger.facts(&id).is_some() {
            return Err(LocalAskError::Taken);
        }
        let open = self.asked.iter().filter(|(id, asked)| match &asked.standing {
            Some(_) => asked.is_under_way() && !certified(ledger, id),
            None => asked.is_under_way(),
        });
        if open.count() >= UNDER_WAY_MAX {
            return Err(LocalAskError::TooMany);
        }
        let left = |asked: &&Asked| {
            let standing = asked.standing.as_ref().filter(|_| asked.is_under_way());
            let today = self.today;
            let left = |it: &Standing| it.progress(asked.charge.year.0, None, today).next_due;
            standing.is_some_and(|it| left(it).is_some())
        };
        if stands && self.asked.values().filter(left).count() >= STANDING_MAX {
            return Err(LocalAskError::TooManyStanding);
        }
        let charge = LocalCharge {
            id,
            plan: plan.hash(),
            sql: plan.sql_hash(),
            contract: plan.contract_hash(),
            rho: plan.rho(),
            delta: plan.delta(),
            year: clock.year,
            analyst: question.analyst,
            snapshot,
        };
        let pending = self.pending(ledger);
        ledger.admit_local(&self.contract, &charge, analyst_quota, &pending)?;
        let (brand, year, asked) = (self.me, charge.year, charge.rho);
        let waiting = pending.iter().filter(|other| other.year == year).map(|other| other.rho);
        let left = remaining(ledger.local_left(&self.contract, brand, year), total(waiting));
        let left = remaining(left, at_risk);
        if asked > left {
            return Err(OverBudget::Local { brand, year, left, asked }.into());
        }
        self.asked.insert(id, Asked::new(charge, Some(Arc::new(plan)), standing));
        let stands = stands.then_some(true);
        let record = LocalRecord::Asked(Box::new(AskedRecord { question, charge, stands }));
        let mut effects = vec![LocalEffect::Persist(record)];
        effects.extend(self.advance(id, ledger));
        Ok(effects)
    }

    /// The ledger has taken an entry of this question.
    pub fn certified(&mut self, id: AttemptId, ledger: &Ledger) -> Vec<LocalEffect> {
        self.advance(id, ledger)
    }

    /// What was read. Uses noise and figures up.
    pub fn answered(
        &mut self,
        id: AttemptId,
        noise: NoiseShare,
        vector: BoundedVector,
        ledger: &Ledger,
    ) -> Result<Vec<LocalEffect>, LocalStepError> {
        let charge = ledger.facts(&id).and_then(|facts| facts.local_charge());
        // nor where a release was found in the log meanwhile: this would be a second noise
        let charge = charge.filter(|_| !logged(ledger, &id));
        let (Some(charge), Some(asked)) = (charge, self.asked.get_mut(&id)) else {
            return Err(LocalStepError::NotWaiting);
        };
        let (Some(plan), State::Open, None) = (&asked.plan, &asked.state, &asked.standing) else {
            return Err(LocalStepError::NotWaiting);
        };
        let noised = LocalRelease::new(&charge, plan, vector, noise)?.noised();
        asked.state = State::Answered(noised.clone());
        let mut effects = vec![LocalEffect::Persist(LocalRecord::Answered(id, noised))];
        effects.extend(self.advance(id, ledger));
        Ok(effects)
    }

    /// It could not be read.
    pub fn failed(&mut self, id: AttemptId) -> Vec<LocalEffect> {
        match self.asked.get_mut(&id) {
            Some(asked) if asked.is_under_way() => {
                asked.state = State::Failed;
                vec![LocalEffect::Persist(LocalRecord::Failed(id)), LocalEffect::Failed(id)]
            }
            _ => Vec::new(),
        }
    }

    /// Whether nothing more comes of a question: its answer is on record, or it failed. One that stands has
    /// never ended here: its answer grows.
    pub fn has_ended(&self, id: &AttemptId, ledger: &Ledger) -> bool {
        self.asked.get(id).is_some_and(|asked| {
            let shown = match asked.state {
                State::Answered(_) => logged(ledger, id),
                State::Failed => certified(ledger, id),
                State::Open => false,
            };
            shown && asked.standing.is_none()
        })
    }

    /// Every question that has ended.
    pub fn ended<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = AttemptId> + 'a {
        self.asked.keys().copied().filter(|id| self.has_ended(id, ledger))
    }

    /// Forgets a question that has ended, whose answer the caller keeps; its records may be deleted. The log has
    /// its charge, so that its name is never taken again.
    pub fn forget(&mut self, id: &AttemptId, ledger: &Ledger) {
        if self.has_ended(id, ledger) {
            self.asked.remove(id);
        }
    }

    /// Whether a question is one of these.
    pub fn knows(&self, id: &AttemptId) -> bool {
        self.asked.contains_key(id)
    }

    /// Where a question stands.
    pub fn progress(&self, id: &AttemptId, ledger: &Ledger) -> Option<LocalProgress> {
        let asked = self.asked.get(id)?;
        Some(match (&asked.state, &asked.plan) {
            (State::Answered(_), _) if logged(ledger, id) => LocalProgress::Released,
            (State::Answered(_), _) => LocalProgress::Releasing,
            (State::Failed, _) => LocalProgress::Failed,
            (State::Open, None) => LocalProgress::Dropped,
            (State::Open, Some(_)) if asked.standing.is_some() => {
                asked.standing_at(id, ledger, self.today)
            }
            // a disk that was put back to before the release
            (State::Open, Some(_)) if logged(ledger, id) => LocalProgress::Failed,
            (State::Open, Some(_)) if certified(ledger, id) => LocalProgress::Reading,
            (State::Open, Some(_)) => LocalProgress::Charging,
        })
    }

    /// The plan of a question.
    pub fn plan_of(&self, id: &AttemptId) -> Option<PlanHash> {
        self.asked.get(id).map(|asked| asked.charge.plan)
    }

    /// A question with this plan from this data that is under way or answered.
    pub fn same(&self, plan: PlanHash, snapshot: SnapshotId, ledger: &Ledger) -> Option<AttemptId> {
        let same = |asked: &Asked| {
            asked.charge.plan == plan
                && asked.charge.snapshot == snapshot
                && asked.standing.is_none()
        };
        let alive = |id: &AttemptId, asked: &Asked| match asked.state {
            State::Open => asked.plan.is_some() && !logged(ledger, id),
            State::Answered(_) => true,
            State::Failed => false,
        };
        let found = self.asked.iter().find(|(id, asked)| same(asked) && alive(id, asked));
        found.map(|(id, _)| *id)
    }

    /// A standing question with this plan, charged to this year, that has periods left or answers.
    pub fn same_standing(
        &self,
        plan: PlanHash,
        year: CalendarYear,
        ledger: &Ledger,
    ) -> Option<AttemptId> {
        let same = |asked: &Asked| asked.charge.plan == plan && asked.charge.year == year;
        let alive = |id: &AttemptId, asked: &Asked| {
            let standing = asked.standing.as_ref().filter(|_| asked.plan.is_some());
            standing.is_some_and(|it| !it.progress(year.0, ledger.facts(id), self.today).lost)
        };
        let found = self.asked.iter().find(|(id, asked)| same(asked) && alive(id, asked));
        found.map(|(id, _)| *id)
    }

    /// The noised values of an answered question.
    pub fn noised(&self, id: &AttemptId) -> Option<&[u8]> {
        match &self.asked.get(id)?.state {
            State::Answered(noised) => Some(noised),
            State::Open | State::Failed => None,
        }
    }

    /// What was admitted and is not certified yet.
    pub fn pending(&self, ledger: &Ledger) -> Vec<LocalCharge> {
        let waiting =
            self.asked.iter().filter(|(id, asked)| asked.is_under_way() && !certified(ledger, id));
        waiting.map(|(_, asked)| asked.charge).collect()
    }

    /// Everything that is due.
    fn advance(&mut self, id: AttemptId, ledger: &Ledger) -> Vec<LocalEffect> {
        let today = self.today;
        let Some(asked) = self.asked.get_mut(&id) else { return Vec::new() };
        let mut effects = Vec::new();
        let is_certified = certified(ledger, &id);
        let over = standing::is_over(asked.charge.year.0, today);
        if is_certified
            && asked.waits(ledger, &id)
            && (over && asked.standing.is_none() || !ledger.is_covered_locally(&self.contract, &id))
        {
            // a joint question came before it in the own log, or a charge under the contract before this one in
            // another's, so that there is no place for it in the year; or that year is over
            if asked.standing.is_some() {
                asked.plan = None;
                return effects;
            }
            asked.state = State::Failed;
            return vec![LocalEffect::Persist(LocalRecord::Failed(id)), LocalEffect::Failed(id)];
        }
        match (&asked.state, &asked.plan) {
            (State::Open, Some(_)) if !is_certified => {
                if asked.emitted.insert(Emitted::Charge) {
                    effects.push(LocalEffect::Append(CleanRoomEntry::LocalCharge(asked.charge)));
                }
            }
            (State::Open, _) if asked.standing.is_some() => {
                effects = standing::advance(id, asked, ledger, today);
            }
            (State::Open, Some(plan)) if !logged(ledger, &id) => {
                let (plan, snapshot) = (Arc::clone(plan), asked.charge.snapshot);
                if asked.emitted.insert(Emitted::Read) {
                    effects.push(LocalEffect::Read { id, plan, snapshot });
                }
            }
            (State::Answered(noised), Some(plan)) => {
                let facts = ledger.facts(&id);
                let certified = facts.and_then(|facts| facts.local_release());
                let charge = facts.and_then(|facts| facts.local_charge());
                let release =
                    charge.and_then(|charge| LocalRelease::unlogged(&charge, plan, noised).ok());
                match (release, certified) {
                    (Some(release), None) if asked.emitted.insert(Emitted::Logged) => {
                        let entry = LocalReleased { id, release: release.hash() };
                        effects.push(LocalEffect::Append(CleanRoomEntry::LocalRelease(entry)));
                    }
                    (Some(release), Some(certified))
                        if release.hash() == certified && asked.emitted.insert(Emitted::Shown) =>
                    {
                        effects.push(LocalEffect::Released(Box::new(release)));
                    }
                    _ => {}
                }
            }
            (State::Open, _) | (State::Answered(_), None) | (State::Failed, _) => {}
        }
        effects
    }
}

impl Asked {
    const fn new(
        charge: LocalCharge,
        plan: Option<Arc<DpPlan>>,
        standing: Option<Standing>,
    ) -> Self {
        Self { charge, plan, state: State::Open, standing, emitted: BTreeSet::new() }
    }

    /// Where one stands that is answered for each of its periods.
    fn standing_at(
        &self,
        id: &AttemptId,
        ledger: &Ledger,
        today: Option<CivilDate>,
    ) -> LocalProgress {
        let progress = |it: &Standing| it.progress(self.charge.year.0, ledger.facts(id), today);
        match self.standing.as_ref().map(progress) {
            _ if !certified(ledger, id) => LocalProgress::Charging,
            Some(it) if it.lost => LocalProgress::Failed,
            // the last ones' hashes are on their way to the log
            Some(it) if it.released.saturating_add(it.failed) < it.periods => {
                LocalProgress::Standing
            }
            Some(it) if it.released > 0 => LocalProgress::Released,
            _ => LocalProgress::Failed,
        }
    }

    /// Whether nothing was read for it in this process, nor logged in any.
    fn waits(&self, ledger: &Ledger, id: &AttemptId) -> bool {
        self.is_under_way()
            && !self.emitted.contains(&Emitted::Read)
            && !logged(ledger, id)
            && self.standing.as_ref().is_none_or(Standing::is_fresh)
    }

    const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Open) && self.plan.is_some()
    }
}

fn certified(ledger: &Ledger, id: &AttemptId) -> bool {
    ledger.facts(id).is_some_and(|facts| facts.local_charge().is_some())
}

fn logged(ledger: &Ledger, id: &AttemptId) -> bool {
    ledger.facts(id).is_some_and(|facts| facts.local_release().is_some())
}

#[cfg(test)]
mod tests;
