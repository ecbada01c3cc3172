//! Answers that were released, as this brand keeps them: public figures, and what they answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use privacy::ids::{PlanHash, ReleaseHash};
use privacy::release::Released;
use privacy::{
    AttemptId, LocalRelease, ParticipantId, PeriodRelease, PicoRho, Release, SnapshotId,
};

use protocol::codec;

use crate::purchases::{Facts, ImportError};
use crate::service::Scope;

/// A released answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Answer {
    /// The attempt that it came of.
    #[n(0)]
    pub id: AttemptId,
    /// The plan it answers.
    #[n(1)]
    pub plan: PlanHash,
    /// The facts that answered, of every participant.
    #[n(2)]
    pub snapshots: BTreeMap<ParticipantId, SnapshotId>,
    /// What every participant logs.
    #[n(3)]
    pub hash: ReleaseHash,
    /// Names of the group keys.
    #[n(4)]
    pub keys: Vec<String>,
    /// Names of the values.
    #[n(5)]
    pub values: Vec<String>,
    /// Cells.
    #[n(6)]
    pub rows: Vec<AnswerRow>,
    /// What it cost.
    #[n(7)]
    pub rho: PicoRho,
    /// The account's year.
    #[n(8)]
    pub year: u16,
    /// The same as epsilon, for display.
    #[n(9)]
    pub epsilon: f64,
    /// Whether one brand gave it about its own members alone; not there in answers of before there were
    /// such.
    #[n(10)]
    pub alone: Option<bool>,
    /// The whole privacy statement, as JSON.
    #[n(11)]
    pub privacy: Option<String>,
    /// Of a standing question: the periods whose cells these are.
    #[n(12)]
    pub periods: Option<Vec<u32>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct AnswerRow {
    /// Labels of its keys.
    #[n(0)]
    pub keys: Vec<String>,
    /// Its values.
    #[n(1)]
    pub values: Vec<AnswerValue>,
}

/// A noised value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct AnswerValue {
    /// The value.
    #[n(0)]
    pub value: f64,
    /// Lower end.
    #[n(1)]
    pub low: f64,
    /// Upper end.
    #[n(2)]
    pub high: f64,
}

impl Answer {
    /// Of a joint release, given from these facts.
    #[must_use]
    pub fn of(release: &Release, snapshots: BTreeMap<ParticipantId, SnapshotId>) -> Self {
        Self::of_released(release, snapshots, false)
    }

    /// Of one brand's release about its own members.
    #[must_use]
    pub fn of_local(release: &LocalRelease) -> Self {
        let snapshots = BTreeMap::from([(release.brand(), release.snapshot())]);
        Self::of_released(release, snapshots, true)
    }

    /// Of one period of a standing question.
    #[must_use]
    pub fn of_period(release: &PeriodRelease) -> Self {
        let periods = Some(vec![release.period()]);
        Self { periods, ..Self::of_released(release, BTreeMap::new(), true) }
    }

    fn of_released(
        release: &impl Released,
        snapshots: BTreeMap<ParticipantId, SnapshotId>,
        alone: bool,
    ) -> Self {
        let (columns, statement) = (release.columns(), release.statement());
        let (keys, values) = columns.split_at(statement.plan.keys.min(columns.len()));
        let rows = release.cells().iter().map(|cell| AnswerRow {
            keys: cell.keys.clone(),
            values: cell
                .values
                .iter()
                .map(|noised| AnswerValue {
                    value: noised.value,
                    low: noised.low,
                    high: noised.high,
                })
                .collect(),
        });
        Self {
            id: release.id(),
            plan: release.plan(),
            snapshots,
            hash: release.hash(),
            keys: keys.to_vec(),
            values: values.to_vec(),
            rows: rows.collect(),
            rho: release.rho(),
            year: statement.year,
            epsilon: statement.plan.epsilon,
            alone: Some(alone),
            privacy: serde_json::to_string(statement).ok(),
            periods: None,
        }
    }

    /// Who gave it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        if self.alone == Some(true) { Scope::Local } else { Scope::Joint }
    }
}

/// All answers: the newest in memory, in the order they were given, the others in the store.
#[derive(Debug)]
pub struct Answers {
    given: Vec<AttemptId>,
    by_attempt: BTreeMap<AttemptId, Arc<Answer>>,
    /// How many were added since the start.
    added: usize,
    facts: Arc<Facts>,
}

impl Answers {
    /// None in memory.
    #[must_use]
    pub const fn new(facts: Arc<Facts>) -> Self {
        Self { given: Vec::new(), by_attempt: BTreeMap::new(), added: 0, facts }
    }

    /// Adds an answer, unless its attempt has one.
    pub fn add(&mut self, answer: Answer) {
        if let std::collections::btree_map::Entry::Vacant(place) = self.by_attempt.entry(answer.id)
        {
            self.given.push(answer.id);
            place.insert(Arc::new(answer));
            self.added = self.added.saturating_add(1);
        }
    }

    /// Adds the cells of a period to the answer of its standing question, unless they are in it. The hash
    /// is that of the latest.
    pub fn add_period(&mut self, answer: Answer) {
        let Some(there) = self.by_attempt.get_mut(&answer.id) else { return self.add(answer) };
        let there = Arc::make_mut(there);
        let (Some(known), Some(new)) = (&mut there.periods, answer.periods) else { return };
        if new.iter().any(|period| known.contains(period)) {
            return;
        }
        known.extend(new);
        there.hash = answer.hash;
        there.rows.extend(answer.rows);
        self.added = self.added.saturating_add(1);
    }

    /// Whether the cells of this period are there.
    #[must_use]
    pub fn has_period(&self, answer: &Answer) -> bool {
        let there = self.by_attempt.get(&answer.id);
        let known = there.and_then(|there| there.periods.as_ref());
        let mut of = answer.periods.iter().flatten();
        known.is_some_and(|known| of.all(|period| known.contains(period)))
    }

    /// Of an attempt.
    #[must_use]
    pub fn of(&self, id: &AttemptId) -> Option<Arc<Answer>> {
        match self.by_attempt.get(id) {
            Some(answer) => Some(Arc::clone(answer)),
            None => self.ended(id)?.answer.map(Arc::new),
        }
    }

    /// What is kept of a question that has left memory; none where there is none, or it cannot be read.
    #[must_use]
    pub fn ended(&self, id: &AttemptId) -> Option<Ended> {
        let kept = self.facts.ended(&codec::encode(id)).unwrap_or_else(|error| {
            tracing::error!(error = %error, "an ended question cannot be read");
            None
        });
        codec::decode("an ended question", &kept?, ENDED_MAX).ok()
    }

    /// To a plan, the latest first.
    pub fn to_plan(&self, plan: PlanHash) -> impl Iterator<Item = Arc<Answer>> {
        let known = self.given.iter().rev().filter_map(|id| self.by_attempt.get(id));
        let known = known.filter(move |answer| answer.plan == plan).cloned();
        known.chain(self.listed(index(PLAN, plan.as_bytes())))
    }

    /// How many were added since the start.
    #[must_use]
    pub const fn added(&self) -> usize {
        self.added
    }

    /// The latest joint one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Answer>> {
        let mut known = self.given.iter().rev().filter_map(|id| self.by_attempt.get(id)).cloned();
        known.find(|answer| answer.scope() == Scope::Joint)
    }

    /// All, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = Arc<Answer>> {
        let known = self.given.iter().rev().filter_map(|id| self.by_attempt.get(id)).cloned();
        known.chain(self.listed(index(TIME, &[])))
    }

    /// Those in the store under an index, looked for when the others are through.
    fn listed(&self, index: Vec<u8>) -> impl Iterator<Item = Arc<Answer>> {
        let names = move || {
            let names = self.facts.ended_by(&index, LISTED_MAX);
            names.unwrap_or_else(|error| {
                tracing::error!(error = %error, "ended questions cannot be listed");
                Vec::new()
            })
        };
        std::iter::once_with(names).flatten().filter_map(|name| {
            let id = codec::decode("a name", &name, ENDED_MAX).ok()?;
            self.of(&id)
        })
    }

    /// The answers in memory but for the newest `kept`, the oldest first.
    pub fn oldest(&self, kept: usize) -> impl Iterator<Item = &Arc<Answer>> {
        let old = self.given.len().saturating_sub(kept);
        self.given.iter().take(old).filter_map(|id| self.by_attempt.get(id))
    }

    /// Lets a question leave memory: what is kept of it is in the store from now on.
    ///
    /// # Errors
    /// When it cannot be stored; then it stays.
    pub fn leave(
        &mut self,
        id: &AttemptId,
        noised: Option<Vec<u8>>,
        plan: PlanHash,
        order: u64,
    ) -> Result<(), ImportError> {
        let answer = self.by_attempt.get(id).map(|answer| (**answer).clone());
        let mut indices = Vec::new();
        if answer.is_some() {
            // the newest first
            let name = codec::encode(id);
            let order = [(u64::MAX - order).to_be_bytes().as_slice(), &name].concat();
            indices.push([index(PLAN, plan.as_bytes()), order.clone()].concat());
            indices.push([index(TIME, &[]), order].concat());
        }
        let ended = Ended { plan, answer, noised: noised.map(Into::into) };
        self.facts.keep_ended(&codec::encode(id), &codec::encode(&ended), &indices)?;
        self.by_attempt.remove(id);
        self.given.retain(|given| given != id);
        Ok(())
    }
}

/// What is kept of a question that has left memory.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Ended {
    /// Its plan.
    #[n(0)]
    pub plan: PlanHash,
    /// Its answer; none when it failed.
    #[n(1)]
    pub answer: Option<Answer>,
    /// The noised values, of an answer of this brand's own: for another brand that asks for it.
    #[n(2)]
    pub noised: Option<ByteVec>,
}

/// Indices: by plan and by time.
const PLAN: u8 = b'p';
const TIME: u8 = b't';
/// Most bytes kept of a question.
const ENDED_MAX: usize = 16 * 1024 * 1024;
/// Most answers that are looked through.
const LISTED_MAX: usize = 1_000;

fn index(kind: u8, of: &[u8]) -> Vec<u8> {
    [&[kind], of].concat()
}
