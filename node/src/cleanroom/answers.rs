//! Answers that were released, as this brand keeps them: public figures, and what they answer; and of questions that have
//! left memory, answered or void, what the store keeps. What was asked here ([`AskedText`]) is not public.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use privacy::ids::{PlanHash, ReleaseHash};
use privacy::release::Released;
use privacy::{
    AttemptId, LocalRelease, ParticipantId, PeriodRelease, PicoRho, Release, SnapshotId, UtcMillis,
};

use protocol::codec;
use protocol::time::Timestamp;

use super::views::Rows;
use crate::purchases::{Facts, ImportError};
use crate::service::{Question, Scope};

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
    /// Its place in lists of what was asked elsewhere: when it was given here, or the pack asked that it is of. Not there
    /// in answers of before it was kept.
    #[n(13)]
    pub at: Option<UtcMillis>,
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
            at: None,
        }
    }

    /// The same, given at this time.
    #[must_use]
    pub fn given(self, at: UtcMillis) -> Self {
        Self { at: Some(at), ..self }
    }

    /// Who gave it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        if self.alone == Some(true) { Scope::Local } else { Scope::Joint }
    }
}

/// What was asked here: kept with its question, and no longer. A text that was planned has at most
/// [`privacy::sql::SQL_MAX_BYTES`].
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct AskedText {
    /// The SQL text, as it was written.
    #[n(0)]
    pub sql: String,
    /// The user who asked; none for a program of the node's own process.
    #[n(1)]
    pub by: Option<String>,
    /// When.
    #[n(2)]
    pub at: UtcMillis,
}

impl AskedText {
    /// Of a question that is asked now.
    #[must_use]
    pub fn of(question: &Question, now: Timestamp) -> Self {
        let (sql, by) = (question.sql.clone(), question.user.clone());
        Self { sql, by, at: UtcMillis(now.unix_ms()) }
    }
}

/// Redacted: it says what somebody wanted to know.
impl fmt::Debug for AskedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedText").field("at", &self.at).finish_non_exhaustive()
    }
}

/// An answer as it is listed: of one that has left memory the first rows alone.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The answer.
    pub answer: Arc<Answer>,
    /// How many rows it has in all.
    pub rows: usize,
    /// What was asked, where the answer is listed from the store.
    pub text: Option<AskedText>,
    /// Whether it is in memory.
    pub in_memory: bool,
    /// Whether the store has it by when it was asked.
    by_asked: bool,
}

impl Listed {
    fn of(answer: &Arc<Answer>) -> Self {
        let rows = answer.rows.len();
        Self { answer: Arc::clone(answer), rows, text: None, in_memory: true, by_asked: false }
    }
}

/// The place of a question among all, the newest first, wherever it is kept and whether it is answered: how long before
/// the end of time it was asked, and of one moment its name.
pub type QuestionKey = (u64, ByteVec);

/// The place of a question that was asked then.
#[must_use]
pub fn question_key(at: UtcMillis, name: Vec<u8>) -> QuestionKey {
    (u64::MAX - at.0, name.into())
}

/// All answers: the newest in memory, in the order they were given, the others in the store.
#[derive(Debug)]
pub struct Answers {
    given: Vec<AttemptId>,
    by_attempt: BTreeMap<AttemptId, Arc<Answer>>,
    /// How many were added since the start.
    added: usize,
    facts: Arc<Facts>,
    /// What was read from the store last: a long answer is looked at several times for each of its pages.
    last_read: RefCell<Option<(AttemptId, Arc<Left>)>>,
}

impl Answers {
    /// None in memory.
    #[must_use]
    pub const fn new(facts: Arc<Facts>) -> Self {
        let last_read = RefCell::new(None);
        Self { given: Vec::new(), by_attempt: BTreeMap::new(), added: 0, facts, last_read }
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

    /// Puts an answer in another's place.
    #[cfg(test)]
    pub(super) fn replace_for_test(&mut self, answer: Answer) {
        self.by_attempt.insert(answer.id, Arc::new(answer));
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
            None => self.ended(id)?.answer.clone(),
        }
    }

    /// Whether an attempt has an answer in memory.
    #[must_use]
    pub fn in_memory(&self, id: &AttemptId) -> bool {
        self.by_attempt.contains_key(id)
    }

    /// Whether an attempt has an answer, in memory or not.
    #[must_use]
    pub fn has(&self, id: &AttemptId) -> bool {
        self.in_memory(id) || self.listed_from_store(id).is_some()
    }

    /// What is kept of a question that has left memory; none where there is none, or it cannot be read.
    #[must_use]
    pub fn ended(&self, id: &AttemptId) -> Option<Arc<Left>> {
        if let Some((last, left)) = &*self.last_read.borrow()
            && last == id
        {
            return Some(Arc::clone(left));
        }
        let kept = self.kept(&codec::encode(id))?;
        let ended: Ended = codec::decode("an ended question", &kept, ENDED_MAX).ok()?;
        let left = Arc::new(Left {
            plan: ended.plan,
            answer: ended.answer.map(Arc::new),
            noised: ended.noised.map(Into::into),
            text: ended.text,
            is_joint: ended.joint == Some(true),
        });
        *self.last_read.borrow_mut() = Some((*id, Arc::clone(&left)));
        Some(left)
    }

    /// What is kept under a name; an error is told to the log.
    fn kept(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.facts.ended(name).unwrap_or_else(|error| {
            tracing::error!(error = %error, "an ended question cannot be read");
            None
        })
    }

    /// An answer that has left memory, by its summary; one that was kept before there were summaries is read whole.
    fn listed_from_store(&self, id: &AttemptId) -> Option<Listed> {
        let summary = self.kept(&summary_name(id)).and_then(|kept| {
            codec::decode::<Summary>("an answer's summary", &kept, ENDED_MAX).ok()
        });
        if let Some(Summary { answer, rows, text, by_asked }) = summary {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            let (answer, by_asked) = (Arc::new(answer), by_asked == Some(true));
            return Some(Listed { answer, rows, text, in_memory: false, by_asked });
        }
        let left = self.ended(id)?;
        let answer = left.answer.clone()?;
        let (rows, text) = (answer.rows.len(), left.text.clone());
        Some(Listed { answer, rows, text, in_memory: false, by_asked: false })
    }

    /// To a plan, the latest first.
    pub fn to_plan(&self, plan: PlanHash) -> impl Iterator<Item = Listed> {
        let known = self.given.iter().rev().filter_map(|id| self.by_attempt.get(id));
        let known = known.filter(move |answer| answer.plan == plan).map(Listed::of);
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

    /// All in memory, in the order they were given.
    pub fn in_memory_all(&self) -> impl Iterator<Item = Listed> {
        self.given.iter().filter_map(|id| self.by_attempt.get(id)).map(Listed::of)
    }

    /// Those in the store that are not in memory behind a key, the newest first, so many at most.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn stored_behind(
        &self,
        key: Option<&QuestionKey>,
        limit: usize,
    ) -> Result<Vec<(QuestionKey, Listed)>, ImportError> {
        let after = key.map(|(before_end, name)| asked_index(*before_end, name));
        let found = self.behind(ASKED, after, limit, |_| true)?;
        Ok(found.into_iter().filter_map(|(at, it)| Some((question_key_of(&at)?, it))).collect())
    }

    /// Those that a build of before 1 December 2026 has put into the store, behind where the index by the order in
    /// which they left memory has one; the latest first, so many at most. None is added to them.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn former_behind(
        &self,
        place: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Listed)>, ImportError> {
        // one that left twice, before and after, is found by when it was asked
        self.behind(TIME, place.map(<[u8]>::to_vec), limit, |listed| !listed.by_asked)
    }

    fn behind(
        &self,
        kind: u8,
        mut after: Option<Vec<u8>>,
        limit: usize,
        is_wanted: impl Fn(&Listed) -> bool,
    ) -> Result<Vec<(Vec<u8>, Listed)>, ImportError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let of_kind = index(kind, &[]);
            let piece = self.facts.ended_after(&of_kind, after.as_deref(), LISTED_AT_ONCE)?;
            let Some((last, _)) = piece.last() else { break };
            after = Some(last.clone());
            for (at, name) in piece {
                let id: Option<AttemptId> = codec::decode("a name", &name, ENDED_MAX).ok();
                let id = id.filter(|id| found.len() < limit && !self.in_memory(id));
                let listed = id.and_then(|id| self.listed_from_store(&id));
                found.extend(listed.filter(&is_wanted).map(|listed| (at, listed)));
            }
        }
        Ok(found)
    }

    /// Those in the store under an index, looked for when the others are through.
    fn listed(&self, index: Vec<u8>) -> impl Iterator<Item = Listed> {
        let names = move || {
            let names = self.facts.ended_by(&index, LISTED_MAX);
            names.unwrap_or_else(|error| {
                tracing::error!(error = %error, "ended questions cannot be listed");
                Vec::new()
            })
        };
        std::iter::once_with(names).flatten().filter_map(|name| {
            let id = codec::decode("a name", &name, ENDED_MAX).ok()?;
            self.listed_from_store(&id)
        })
    }

    /// The answers in memory but for the newest `kept`, the oldest first; fewer are kept where they are long.
    pub fn oldest(&self, kept: usize) -> impl Iterator<Item = &Arc<Answer>> {
        let lengths = self.given.iter().rev().map(|id| {
            let answer = self.by_attempt.get(id);
            answer.map_or(0, |answer| answer.rows.len())
        });
        let old = self.given.len().saturating_sub(staying(lengths, kept));
        self.given.iter().take(old).filter_map(|id| self.by_attempt.get(id))
    }

    /// Lets a question leave memory that is listed as asked then: what is kept of it is in the store from now on.
    ///
    /// # Errors
    /// When it cannot be stored; then it stays.
    pub fn leave(
        &mut self,
        id: &AttemptId,
        noised: Option<Vec<u8>>,
        text: Option<AskedText>,
        plan: PlanHash,
        (order, asked): (u64, UtcMillis),
    ) -> Result<(), ImportError> {
        let answer = self.by_attempt.get(id).map(|answer| (**answer).clone());
        *self.last_read.get_mut() = None;
        let mut indices = Vec::new();
        if let Some(answer) = &answer {
            // before the index that leads to it
            let summary = codec::encode(&Summary::of(answer, text.clone()));
            self.facts.keep_ended(&summary_name(id), &summary, &[])?;
            // the newest first
            let name = codec::encode(id);
            let of_plan = [(u64::MAX - order).to_be_bytes().as_slice(), &name].concat();
            indices.push([index(PLAN, plan.as_bytes()), of_plan].concat());
            indices.push(asked_index(u64::MAX - asked.0, &name));
        }
        let noised = noised.map(Into::into);
        let ended = Ended { plan, answer, noised, text, joint: None };
        self.facts.keep_ended(&codec::encode(id), &codec::encode(&ended), &indices)?;
        self.by_attempt.remove(id);
        self.given.retain(|given| given != id);
        Ok(())
    }

    /// Lets a joint question leave memory that is void for good: what was asked in it is in the store from now on.
    ///
    /// # Errors
    /// When it cannot be stored; then it stays.
    pub fn leave_void(
        &mut self,
        id: &AttemptId,
        text: Option<AskedText>,
        plan: PlanHash,
    ) -> Result<(), ImportError> {
        *self.last_read.get_mut() = None;
        let ended = Ended { plan, answer: None, noised: None, text, joint: Some(true) };
        self.facts.keep_ended(&codec::encode(id), &codec::encode(&ended), &[])
    }
}

/// A question that has left memory.
#[derive(Debug)]
pub struct Left {
    /// Its plan.
    pub plan: PlanHash,
    /// Its answer; none when it failed.
    pub answer: Option<Arc<Answer>>,
    /// The noised values, of an answer of this brand's own: for another brand that asks for it.
    pub noised: Option<Vec<u8>>,
    /// What was asked, of a question that was asked here.
    pub text: Option<AskedText>,
    /// Whether it is a joint one that is void.
    pub is_joint: bool,
}

/// The same as it is kept.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
struct Ended {
    #[n(0)]
    plan: PlanHash,
    #[n(1)]
    answer: Option<Answer>,
    #[n(2)]
    noised: Option<ByteVec>,
    /// Not there in what was kept before texts were.
    #[n(3)]
    text: Option<AskedText>,
    /// Of a joint question that is void alone.
    #[n(4)]
    joint: Option<bool>,
}

/// What lists are made from, kept beside each answer: a long one need not be read to be listed.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(array)]
struct Summary {
    /// The answer with its first rows alone.
    #[n(0)]
    answer: Answer,
    /// How many it has in all.
    #[n(1)]
    rows: u64,
    #[n(2)]
    text: Option<AskedText>,
    /// Whether it is found by when it was asked: not there where it is by the order in which it left alone.
    #[n(3)]
    by_asked: Option<bool>,
}

impl Summary {
    fn of(answer: &Answer, text: Option<AskedText>) -> Self {
        let rows = u64::try_from(answer.rows.len()).unwrap_or(u64::MAX);
        let first = answer.rows.iter().take(Rows::FIRST.most).cloned().collect();
        // field by field: all rows of a long answer are not copied for it
        let answer = Answer {
            id: answer.id,
            plan: answer.plan,
            snapshots: answer.snapshots.clone(),
            hash: answer.hash,
            keys: answer.keys.clone(),
            values: answer.values.clone(),
            rows: first,
            rho: answer.rho,
            year: answer.year,
            epsilon: answer.epsilon,
            alone: answer.alone,
            privacy: answer.privacy.clone(),
            periods: answer.periods.clone(),
            at: answer.at,
        };
        Self { answer, rows, text, by_asked: Some(true) }
    }
}

/// The name of a question's summary: no attempt, and no pack, has one that begins so.
fn summary_name(id: &AttemptId) -> Vec<u8> {
    [b"s".as_slice(), &codec::encode(id)].concat()
}

/// Indices: by plan, by when it was asked, and, by builds of before 1 December 2026, by the order of leaving memory.
const PLAN: u8 = b'p';
const ASKED: u8 = b'a';
const TIME: u8 = b't';
/// Most bytes kept of a question: what a plan may make of an answer, its statement, and a brand's own noised values.
const ENDED_MAX: usize = privacy::plan::ANSWER_MAX_BYTES + 4 * 1024 * 1024;
/// Indices that are read at once.
const LISTED_AT_ONCE: usize = 64;
/// Most answers that are looked through.
const LISTED_MAX: usize = 1_000;
/// Cells of all answers that stay in memory, the newest apart: as many as the largest question may have.
const CELLS_KEPT: usize = privacy::plan::CELLS_MAX;

/// How many answers of so many cells, the newest first, stay in memory: `kept` at most, fewer where they are long, and
/// the newest in any case.
fn staying(lengths: impl Iterator<Item = usize>, kept: usize) -> usize {
    let mut cells = 0_usize;
    let stays = lengths.take(kept).enumerate().take_while(|(place, length)| {
        cells = cells.saturating_add(*length);
        *place == 0 || cells <= CELLS_KEPT
    });
    stays.count()
}

fn index(kind: u8, of: &[u8]) -> Vec<u8> {
    [&[kind], of].concat()
}

/// Where the index by when it was asked has a name.
fn asked_index(before_end: u64, name: &[u8]) -> Vec<u8> {
    [index(ASKED, &[]).as_slice(), &before_end.to_be_bytes(), name].concat()
}

/// The key of a place in that index.
fn question_key_of(place: &[u8]) -> Option<QuestionKey> {
    let (before_end, name) = place.get(1..)?.split_first_chunk()?;
    Some((u64::from_be_bytes(*before_end), name.to_vec().into()))
}

#[cfg(test)]
mod tests {
    use privacy::QueryId;
    use privacy::ids::Attempt;
    use privacy::plan::ANSWER_MAX_BYTES;

    use protocol::ids::BrandId;
    use ring::rand::SystemRandom;

    use super::super::views::{pack_release, release_view};
    use super::*;
    use crate::journal::RECORD_MAX;
    use crate::service::{ReleaseRow, ReleaseView};
    use crate::store::{MemoryStore, Store as _};
    use crate::vault::{HeldBrandKey, KEY_BYTES, Vault};

    fn answer(query: u8, rows: usize) -> Answer {
        let id = AttemptId {
            proposer: "kids".parse().unwrap(),
            query: QueryId([query; 16]),
            attempt: Attempt::FIRST,
        };
        let value = AnswerValue { value: -1.5e300, low: f64::NEG_INFINITY, high: 1e-300 };
        let row = |at: usize| AnswerRow {
            keys: vec![format!("{at:0>20}"), "x".repeat(30)],
            values: vec![value; 2],
        };
        Answer {
            id,
            plan: PlanHash([1; 32]),
            snapshots: BTreeMap::new(),
            hash: ReleaseHash([2; 32]),
            keys: vec!["a".to_owned(), "b".to_owned()],
            values: vec!["n".to_owned(), "m".to_owned()],
            rows: (0..rows).map(row).collect(),
            rho: PicoRho::new(5),
            year: 2026,
            epsilon: 0.5,
            alone: Some(false),
            privacy: Some("{}".to_owned()),
            periods: None,
            at: Some(UtcMillis(3)),
        }
    }

    /// What a planner counts of an answer is at least what it takes, so that the largest fits a record, and what is
    /// kept of an ended question.
    #[test]
    fn an_answer_takes_no_more_than_the_planner_counts() {
        let rows = 20_000;
        let answer = answer(1, rows);
        // 8 a cell, 3 beside each label, 28 a value
        let counted = rows * (8 + 2 * 3 + 50 + 2 * 28);
        let bytes = codec::encode(&answer);
        assert!(bytes.len() <= counted + 4_096, "{} of {counted}", bytes.len());
        assert_eq!(codec::decode("an answer", &bytes, ENDED_MAX), Ok(answer));
        // of a statement and snapshots there are some thousand bytes, of noised values of a brand's own 8 each
        let beside = 64 * 1024 + 8 * privacy::plan::COORDINATES_ALONE_MAX;
        assert!(ANSWER_MAX_BYTES + beside < ENDED_MAX && ENDED_MAX < RECORD_MAX);
    }

    /// Page by page there are all rows, each once: of one answer, and of a pack across its brands.
    #[test]
    fn rows_are_given_in_pages() {
        let numbers = |view: &ReleaseView| -> Vec<usize> {
            let label = |row: &ReleaseRow| row.keys[row.keys.len() - 2].parse().unwrap();
            view.rows.iter().map(label).collect()
        };
        let (one, two) = (answer(1, 5), answer(2, 3));
        let page = release_view(&one, Rows { from: 3, most: 4 });
        assert_eq!((numbers(&page), page.rows_in_all), (vec![3, 4], 5));
        assert_eq!(numbers(&release_view(&one, Rows::NONE)), [0_usize; 0]);
        let pack = |from, most| {
            let page = pack_release(QueryId([9; 16]), &[&one, &two], Rows { from, most });
            assert_eq!(page.rows_in_all, 8);
            numbers(&page)
        };
        assert_eq!(pack(0, usize::MAX), [0, 1, 2, 3, 4, 0, 1, 2]);
        assert_eq!(pack(0, 4), [0, 1, 2, 3]);
        assert_eq!(pack(4, 3), [4, 0, 1]);
        assert_eq!(pack(6, 9), [1, 2]);
        assert_eq!(pack(8, 9), [0_usize; 0]);
        // whoever is a member of both pays for both, in rho and as epsilon
        let both = pack_release(QueryId([9; 16]), &[&one, &two], Rows::NONE);
        let sum = privacy::plan::epsilon(PicoRho::new(10), privacy::units::DisplayDelta::MICRO);
        assert!(both.cost_pico_rho == 10 && (both.epsilon - sum).abs() < 1e-12, "{both:?}");
    }

    /// What has left memory is listed by its first rows, is read once for all its pages, and lies in the store sealed.
    #[test]
    fn what_is_in_the_store_is_listed_without_being_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let brand = BrandId::new("kids").unwrap();
        let vault = Vault::new(brand, store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Facts::open(folder.path().join("facts"), store.clone(), &vault).unwrap();
        let facts = Arc::new(facts);
        let mut answers = Answers::new(Arc::clone(&facts));
        let (long, of_before) = (answer(1, 3_000), answer(2, 300));
        let (id, plan) = (long.id, long.plan);
        let sql = "SELECT count(*) FROM purchases".to_owned();
        let text = AskedText { sql, by: Some("lin".to_owned()), at: UtcMillis(7) };
        answers.add(long.clone());
        assert!(answers.has(&id) && answers.in_memory(&id));
        answers.leave(&id, None, Some(text.clone()), plan, (9, UtcMillis(7))).unwrap();
        // as it was kept before there were summaries and texts
        let answer = Some(of_before.clone());
        let ended = Ended { plan, answer, noised: None, text: None, joint: None };
        let name = codec::encode(&of_before.id);
        let place = [index(TIME, &[]), vec![255; 8]].concat();
        facts.keep_ended(&name, &codec::encode(&ended), &[place]).unwrap();

        assert!(answers.has(&id) && !answers.in_memory(&id));
        let (key, first) = answers.stored_behind(None, 1).unwrap().remove(0);
        assert_eq!(key, question_key(UtcMillis(7), codec::encode(&id)));
        assert_eq!((first.rows, &first.text, first.in_memory), (3_000, &Some(text.clone()), false));
        assert_eq!(first.answer.rows, long.rows[..Rows::FIRST.most]);
        assert_eq!(answers.to_plan(plan).map(|it| it.answer.id).collect::<Vec<_>>(), [id]);
        assert!(answers.last_read.borrow().is_none(), "no answer was read for it");
        // the pages of one answer are of one reading
        let whole = answers.of(&id).unwrap();
        assert_eq!(*whole, long);
        assert!(Arc::ptr_eq(&whole, &answers.of(&id).unwrap()));
        assert_eq!(answers.ended(&id).unwrap().text, Some(text));

        assert_eq!(answers.stored_behind(Some(&key), 9).unwrap().len(), 0);
        let (place, listed) = answers.former_behind(None, 9).unwrap().remove(0);
        assert_eq!((listed.answer.id, listed.rows), (of_before.id, 300));
        assert_eq!((listed.answer.rows.len(), &listed.text), (300, &None));
        assert_eq!(answers.former_behind(Some(&place), 9).unwrap().len(), 0);
        // who left by that build, and leaves again by this one, is listed once
        answers.add(of_before.clone());
        assert_eq!(answers.former_behind(None, 9).unwrap().len(), 0);
        answers.leave(&of_before.id, None, None, plan, (10, UtcMillis(3))).unwrap();
        assert_eq!(answers.former_behind(None, 9).unwrap().len(), 0);
        let listed = answers.stored_behind(None, 9).unwrap();
        let of_them: Vec<_> = listed.iter().map(|(_, it)| (it.answer.id, it.rows)).collect();
        assert_eq!(of_them, [(id, 3_000), (of_before.id, 300)]);

        let kept = store.scan_prefix("ended_questions", &[], None, 1_000).unwrap();
        let in_clear = |value: &[u8]| value.windows(9).any(|part| part == b"purchases");
        assert!(kept.len() > 4 && kept.iter().all(|(_, value)| !in_clear(value)));
    }

    #[test]
    fn long_answers_leave_memory_sooner_than_short_ones() {
        let staying = |lengths: &[usize]| staying(lengths.iter().copied(), 3);
        assert_eq!(staying(&[5, 5, 5, 5]), 3);
        assert_eq!(staying(&[CELLS_KEPT / 2, CELLS_KEPT / 2, 5]), 2);
        assert_eq!(staying(&[CELLS_KEPT, 5, 5]), 1);
        // the newest stays, whatever its length
        assert_eq!(staying(&[CELLS_KEPT + 1, 5]), 1);
        assert_eq!(staying(&[5, CELLS_KEPT, 5]), 1);
        assert_eq!(staying(&[]), 0);
    }
}
