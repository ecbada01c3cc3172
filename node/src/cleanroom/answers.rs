//! Answers that were released, as this brand keeps them: public figures, and what they answer.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use privacy::ids::{PlanHash, ReleaseHash};
use privacy::{AttemptId, ParticipantId, PicoRho, Release, SnapshotId};

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
    /// Of a release, given from these facts.
    #[must_use]
    pub fn of(release: &Release, snapshots: BTreeMap<ParticipantId, SnapshotId>) -> Self {
        let keys = release.cells().first().map_or(0, |cell| cell.keys.len());
        let (keys, values) = release.columns().split_at(keys.min(release.columns().len()));
        let rows = release
            .cells()
            .iter()
            .map(|cell| AnswerRow {
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
            })
            .collect();
        Self {
            id: release.id(),
            plan: release.plan(),
            snapshots,
            hash: release.hash(),
            keys: keys.to_vec(),
            values: values.to_vec(),
            rows,
            rho: release.rho(),
            year: release.statement().year,
            epsilon: release.statement().plan.epsilon,
        }
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

    /// The latest.
    #[must_use]
    pub fn latest(&self) -> Option<&Answer> {
        self.given.last()
    }
}
