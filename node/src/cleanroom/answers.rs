//! Answers that were released, as this brand keeps them: public figures, and what they answer.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use privacy::ids::{PlanHash, ReleaseHash};
use privacy::release::Released;
use privacy::{
    AttemptId, LocalRelease, ParticipantId, PeriodRelease, PicoRho, Release, SnapshotId,
};

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

/// All answers, in the order they were given.
#[derive(Debug, Default)]
pub struct Answers {
    given: Vec<Answer>,
    by_attempt: BTreeMap<AttemptId, usize>,
}

impl Answers {
    /// Adds an answer, unless its attempt has one.
    pub fn add(&mut self, answer: Answer) {
        if let std::collections::btree_map::Entry::Vacant(place) = self.by_attempt.entry(answer.id)
        {
            place.insert(self.given.len());
            self.given.push(answer);
        }
    }

    /// Adds the cells of a period to the answer of its standing question, unless they are in it. The hash
    /// is that of the latest.
    pub fn add_period(&mut self, answer: Answer) {
        let Some(place) = self.by_attempt.get(&answer.id) else { return self.add(answer) };
        let Some(there) = self.given.get_mut(*place) else { return };
        let (Some(known), Some(new)) = (&mut there.periods, answer.periods) else { return };
        if new.iter().any(|period| known.contains(period)) {
            return;
        }
        known.extend(new);
        there.hash = answer.hash;
        there.rows.extend(answer.rows);
    }

    /// Whether the cells of this period are there.
    #[must_use]
    pub fn has_period(&self, answer: &Answer) -> bool {
        let known = self.of(&answer.id).and_then(|there| there.periods.as_ref());
        let mut of = answer.periods.iter().flatten();
        known.is_some_and(|known| of.all(|period| known.contains(period)))
    }

    /// Of an attempt.
    #[must_use]
    pub fn of(&self, id: &AttemptId) -> Option<&Answer> {
        self.by_attempt.get(id).and_then(|place| self.given.get(*place))
    }

    /// To a plan, the latest first.
    pub fn to_plan(&self, plan: PlanHash) -> impl Iterator<Item = &Answer> {
        self.given.iter().rev().filter(move |answer| answer.plan == plan)
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.given.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The latest joint one.
    #[must_use]
    pub fn latest(&self) -> Option<&Answer> {
        self.given.iter().rev().find(|answer| answer.scope() == Scope::Joint)
    }

    /// All, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Answer> {
        self.given.iter().rev()
    }
}
