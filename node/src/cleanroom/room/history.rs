//! The questions of this brand as people look them up: what was asked, when and by whom, and what came of it.
//!
//! The text is kept with its question (in the journal, and once that has left memory in the store, sealed in both) and
//! goes with it. A question that is void and has left memory is found by its number alone, and in no list. Who sees the
//! text of which question is decided where sessions are known, not here.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use privacy::{AttemptId, QueryId, UtcMillis};
use protocol::codec;
use protocol::time::Timestamp;

use super::super::answers::{Answer, AskedText, Listed, QuestionKey, question_key};
use super::super::views::{self, Rows, internal};
use super::Room;
use crate::purchases::ImportError;
use crate::service::{self, AnswerKey, QueryView, Scope, ServiceError, cut_page};

/// Most bytes of a place among questions.
const PLACE_MAX: usize = 384;

/// How far a walk through the questions has come.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(array)]
struct Place {
    /// Among those that are listed by when they were asked.
    #[n(0)]
    behind: Option<QuestionKey>,
    /// When these are through: among those that have left memory before that was kept of them.
    #[n(1)]
    former: Option<ByteVec>,
}

/// A question that was asked here and is not found by an answer of its own.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Joint(AttemptId),
    Local(AttemptId),
    Pack(QueryId),
}

/// What is listed.
enum Found {
    Asked(Asked),
    Answered(Listed),
}

/// What is told when the store cannot say what was asked.
fn unlisted(error: ImportError) -> ServiceError {
    tracing::error!(error = %error, "ended questions cannot be listed");
    internal()
}

/// A question with what was asked, where that is kept.
pub(super) fn with_text(view: QueryView, text: Option<AskedText>) -> QueryView {
    let Some(AskedText { sql, by, at }) = text else { return view };
    QueryView { sql: Some(sql), asked_by: by, asked_ms: Some(at.0), ..view }
}

impl Room {
    /// The questions behind a key, newest first, with the first rows of each answer, and behind which there are more: all
    /// that have an answer, and of those that have none what is in memory. A question's place is the same as long as there
    /// is one, so that who walks the pages sees each once; but one without an answer may leave memory meanwhile.
    ///
    /// # Errors
    /// When the key is none, or the store cannot say.
    pub fn queries_page(
        &self,
        behind: Option<&AnswerKey>,
        limit: usize,
        now: Timestamp,
    ) -> Result<service::Rows<QueryView, AnswerKey>, ServiceError> {
        let place: Place = behind
            .map(|key| codec::decode("a place among questions", key, PLACE_MAX))
            .transpose()
            .map_err(|_| internal())?
            .unwrap_or_default();
        let Place { behind, former } = place;
        // one more than fits tells whether there is more
        let most = limit.saturating_add(1);
        let mut found: Vec<(Place, Found)> = Vec::new();
        if former.is_none() {
            let behind = behind.as_ref();
            let stored = self.answers.stored_behind(behind, most).map_err(unlisted)?;
            let stored = stored.into_iter().map(|(key, listed)| (key, Found::Answered(listed)));
            let mut all: Vec<(QuestionKey, Found)> = self
                .in_memory()
                .into_iter()
                .filter(|(key, _)| behind.is_none_or(|behind| key > behind))
                .chain(stored)
                .collect();
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
            let places = all.into_iter().take(most);
            found.extend(places.map(|(key, it)| (Place { behind: Some(key), former: None }, it)));
        }
        if let Some(left) = most.checked_sub(found.len()).filter(|left| *left > 0) {
            let older = former.as_deref().map(Vec::as_slice);
            let older = self.answers.former_behind(older, left).map_err(unlisted)?;
            found.extend(older.into_iter().map(|(place, listed)| {
                (Place { behind: None, former: Some(place.into()) }, Found::Answered(listed))
            }));
        }
        let (page, next) = cut_page(found, limit);
        let views = page.into_iter().filter_map(|it| match it {
            Found::Asked(question) => self.asked_view(question, now),
            Found::Answered(listed) => Some(self.listed_view(&listed, now)),
        });
        Ok((views.collect(), next.map(|place| codec::encode(&place).into())))
    }

    /// Every question in memory, and every pack, each with its place, which is the same whether it is answered, and when
    /// it has left memory.
    fn in_memory(&self) -> Vec<(QuestionKey, Found)> {
        let joint = self.asked.keys().filter(|id| !self.answers.in_memory(id));
        let joint = joint.map(|id| (id, Asked::Joint(*id)));
        // this brand's own part is told with its pack
        let local = self.texts.keys();
        let local = local.filter(|id| !self.answers.in_memory(id) && !self.packs.awaits(id));
        let local = local.map(|id| (id, Asked::Local(*id)));
        let unanswered = joint.chain(local).map(|(id, asked)| {
            (question_key(self.time_of(id, None), codec::encode(id)), Found::Asked(asked))
        });
        let packs = self.packs.by_time().map(|(at, query)| {
            (question_key(at, codec::encode(&query)), Found::Asked(Asked::Pack(query)))
        });
        let answered = self.answers.in_memory_all().map(|listed| {
            let id = listed.answer.id;
            let at = self.time_of(&id, Some(&listed.answer));
            (question_key(at, codec::encode(&id)), Found::Answered(listed))
        });
        unanswered.chain(packs).chain(answered).collect()
    }

    /// By what time a question in memory is listed: when it was asked here (or, of one of before that was kept, was to
    /// be over), else when it was answered here; one of before either was kept is behind all that have a time.
    pub(super) fn time_of(&self, id: &AttemptId, answer: Option<&Answer>) -> UtcMillis {
        let joint = self.asked.get(id);
        let joint = joint.map(|asked| asked.text.as_ref().map_or(asked.expires_at, |text| text.at));
        let asked = joint.or_else(|| self.texts.get(id).map(|text| text.at));
        asked.or_else(|| answer?.at).unwrap_or(UtcMillis(0))
    }

    fn asked_view(&self, question: Asked, now: Timestamp) -> Option<QueryView> {
        match question {
            Asked::Joint(id) => Some(self.view_of(id, Rows::FIRST, now)),
            Asked::Local(id) => self.local_view(id, Rows::FIRST),
            Asked::Pack(query) => self.pack_view(query, Rows::FIRST),
        }
    }

    /// An answered question, by what it is listed from: nothing more is read of one that has left memory.
    fn listed_view(&self, listed: &Listed, now: Timestamp) -> QueryView {
        let answer = &listed.answer;
        let id = answer.id;
        let in_memory = match (listed.in_memory, answer.scope()) {
            (false, _) => None,
            (true, Scope::Joint) => Some(self.view_of(id, Rows::FIRST, now)),
            (true, _) => self.local_view(id, Rows::FIRST),
        };
        if let Some(view) = in_memory {
            return view;
        }
        let mut release = views::release_view(answer, Rows::FIRST);
        release.rows_in_all = u32::try_from(listed.rows).unwrap_or(u32::MAX);
        let charged = match answer.scope() {
            Scope::Joint => self.charged_joint(&id, now).get(),
            _ if id.proposer == self.me => self.charged_alone(&id).get(),
            // another brand's, of a pack
            _ => 0,
        };
        let view = QueryView {
            id: id.query.to_string(),
            plan: answer.plan.to_string(),
            scope: answer.scope().name().to_owned(),
            step: "released".to_owned(),
            release: Some(release),
            charged_pico_rho: charged,
            ..QueryView::default()
        };
        with_text(view, listed.text.clone())
    }

    /// What was asked in a question that is in memory.
    pub(super) fn known_text(&self, id: &AttemptId) -> Option<&AskedText> {
        let joint = self.asked.get(id).and_then(|asked| asked.text.as_ref());
        joint.or_else(|| self.texts.get(id))
    }

    /// What was asked in a question of this brand's, in memory or not.
    pub(super) fn text_of(&self, id: &AttemptId) -> Option<AskedText> {
        if id.proposer != self.me {
            return None;
        }
        let known = self.known_text(id).cloned();
        known.or_else(|| self.answers.ended(id)?.text.clone())
    }
}

#[cfg(test)]
mod tests;
