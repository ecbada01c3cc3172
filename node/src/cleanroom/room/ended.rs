//! Questions that have ended leave memory, the newest but for: so that neither memory nor a snapshot grows with
//! how many there were.
//!
//! A question leaves when a snapshot of the journal is taken. Its answer, and of an own one the noised values that
//! another brand may ask for again, are in the store first; then it is forgotten, and its records are in no
//! snapshot from then on. A crash in between leaves it in the journal, so that it leaves again. What is in
//! the store is looked up as if it were here: the same question gets the same answer for nothing. What stays are
//! standing questions, joint attempts that are void and whose quota did not come back (as many as that quota pays
//! for), and, of all there were, what accounts count; the certified entries are in the store
//! (`runtime::applications`). Of void ones whose quota did come back, the newest of this brand's stay, for the words
//! of who declined.

use std::collections::BTreeSet;

use privacy::alone::{LocalProgress, LocalRecord};
use privacy::ids::PlanHash;
use privacy::{AttemptId, QueryId};
use protocol::codec;
use protocol::time::Timestamp;

use super::packs::Pack;
use super::{Asked, Room, RoomRecord};
use crate::journal::RECORD_MAX;
use crate::purchases::ImportError;
use crate::service::Scope;

/// Ended questions, and packs, that stay in memory.
pub const ENDED_KEPT: usize = 100;

/// Places in the order of those that leave within a millisecond.
const AT_ONE_TIME: u64 = 4_096;

/// What has left memory.
#[derive(Default)]
struct Gone {
    questions: BTreeSet<AttemptId>,
    packs: BTreeSet<QueryId>,
}

impl Room {
    /// Lets ended questions beyond the newest leave memory, and gives those of the journal's records that
    /// are still needed, in their order.
    #[must_use]
    pub fn let_ended_leave(&mut self, records: Vec<Vec<u8>>, now: Timestamp) -> Vec<Vec<u8>> {
        self.let_leave(records, ENDED_KEPT, now)
    }

    pub(super) fn let_leave(
        &mut self,
        records: Vec<Vec<u8>>,
        kept: usize,
        now: Timestamp,
    ) -> Vec<Vec<u8>> {
        let mut gone = Gone::default();
        if let Err(error) = self.leave(&mut gone, kept, now) {
            tracing::error!(error = %error, "ended questions cannot be stored; they stay in memory");
        }
        records.into_iter().filter(|record| !gone.needs_not(record)).collect()
    }

    fn leave(&mut self, gone: &mut Gone, kept: usize, now: Timestamp) -> Result<(), ImportError> {
        for (query, own) in self.packs.ended(kept) {
            let ended = !self.local.knows(&own) || self.local.has_ended(&own, self.inner.ledger());
            if let Some(pack) = self.packs.get(&query).filter(|_| ended) {
                self.facts.keep_ended(&query.0, &codec::encode(pack), &[])?;
                self.packs.forget(&query);
                gone.packs.insert(query);
            }
        }
        let latest = self.answers.latest().map(|answer| answer.id);
        let answered: Vec<(AttemptId, PlanHash)> = self
            .answers
            .oldest(kept)
            .filter(|answer| answer.periods.is_none() && Some(answer.id) != latest)
            .filter(|answer| match answer.scope() {
                Scope::Joint => self.inner.has_ended(&answer.id),
                _ if answer.id.proposer == self.me => {
                    self.local.has_ended(&answer.id, self.inner.ledger())
                }
                // another brand's, of a pack
                _ => true,
            })
            .map(|answer| (answer.id, answer.plan))
            .collect();
        let ledger = self.inner.ledger();
        let failed: Vec<AttemptId> = self
            .local
            .ended(ledger)
            .filter(|id| self.local.progress(id, ledger) == Some(LocalProgress::Failed))
            .collect();
        let failed = failed.into_iter().filter_map(|id| Some((id, self.local.plan_of(&id)?)));
        let leaving: Vec<(AttemptId, PlanHash)> = answered.into_iter().chain(failed).collect();
        // those that leave at one time keep their order
        let first = now.unix_ms().saturating_mul(AT_ONE_TIME);
        for (place, (id, plan)) in (0u64..).zip(leaving) {
            let order = first.saturating_add(place.min(AT_ONE_TIME - 1));
            if self.packs.awaits(&id) {
                continue;
            }
            let noised = self.local.noised(&id).map(<[u8]>::to_vec);
            let text = self.known_text(&id).cloned();
            let asked = self.time_of(&id, self.answers.of(&id).as_deref());
            self.answers.leave(&id, noised, text, plan, (order, asked))?;
            self.local.forget(&id, self.inner.ledger());
            self.inner.forget(&id);
            self.packs.forget_answering(&id);
            self.asked.remove(&id);
            self.texts.remove(&id);
            self.declined.remove(&id);
            gone.questions.insert(id);
        }
        self.let_void_leave(gone, kept, now)
    }

    /// Joint attempts that are void for good: own ones beyond the newest, whose plan and cost the certified entries
    /// still tell, and what was asked in them the store, and of all of them the records.
    fn let_void_leave(
        &mut self,
        gone: &mut Gone,
        kept: usize,
        now: Timestamp,
    ) -> Result<(), ImportError> {
        let (inner, ledger) = (&self.inner, self.inner.ledger());
        let over = |id: &AttemptId| inner.progress(id, super::utc(now)).is_none();
        let returned = ledger.attempts().filter(|(id, facts)| facts.is_returned() && over(id));
        let mut void: BTreeSet<AttemptId> = returned.map(|(id, _)| *id).collect();
        // never certified, and too late for it since long
        let lost = self.asked.keys().filter(|id| {
            over(id) && ledger.facts(id).is_none_or(|facts| facts.reserve().is_none())
        });
        void.extend(lost);
        let mut own: Vec<&Asked> =
            self.asked.values().filter(|asked| void.contains(&asked.id)).collect();
        own.sort_by_key(|asked| core::cmp::Reverse(asked.expires_at));
        let newest: BTreeSet<AttemptId> = own.iter().take(kept).map(|asked| asked.id).collect();
        void.retain(|id| !newest.contains(id));
        for Asked { id, plan, text, .. } in own.into_iter().skip(kept) {
            // of one that was never certified nothing is told any more
            if text.is_some() && ledger.facts(id).is_some_and(|facts| facts.reserve().is_some()) {
                self.answers.leave_void(id, text.clone(), *plan)?;
            }
        }
        self.asked.retain(|id, _| !void.contains(id));
        self.declined.retain(|id, _| !void.contains(id));
        gone.questions.extend(void);
        Ok(())
    }

    /// Where an own question stands that is in memory or has left it.
    pub(super) fn local_progress(&self, id: &AttemptId) -> Option<LocalProgress> {
        if id.proposer != self.me {
            return None;
        }
        let known = self.local.progress(id, self.inner.ledger());
        known.or_else(|| {
            let ended = self.answers.ended(id)?;
            match ended.answer.as_deref() {
                Some(answer) if answer.scope() == Scope::Joint => None,
                Some(_) => Some(LocalProgress::Released),
                None if ended.is_joint => None,
                None => Some(LocalProgress::Failed),
            }
        })
    }

    pub(super) fn plan_of(&self, id: &AttemptId) -> Option<PlanHash> {
        self.local.plan_of(id).or_else(|| Some(self.answers.ended(id)?.plan))
    }

    /// The noised values of an own answer.
    pub(super) fn noised(&self, id: &AttemptId) -> Option<Vec<u8>> {
        let known = self.local.noised(id).map(<[u8]>::to_vec);
        known.or_else(|| self.answers.ended(id)?.noised.clone())
    }

    /// A pack that has left memory.
    pub(super) fn ended_pack(&self, query: QueryId) -> Option<Pack> {
        let kept = self.facts.ended(&query.0).unwrap_or_else(|error| {
            tracing::error!(error = %error, "an ended pack cannot be read");
            None
        });
        codec::decode("an ended pack", &kept?, RECORD_MAX).ok()
    }
}

impl Gone {
    /// Whether a record is about nothing but what has left. What does not read stays.
    fn needs_not(&self, record: &[u8]) -> bool {
        let about = match codec::decode("a record of the clean room", record, RECORD_MAX) {
            Ok(RoomRecord::Step(step)) => {
                privacy::Record::from_bytes(&step).ok().map(|step| step.id())
            }
            Ok(RoomRecord::Local(step, _)) => {
                LocalRecord::from_bytes(&step).ok().map(|step| step.id())
            }
            Ok(RoomRecord::Asked(asked)) => Some(asked.id),
            Ok(RoomRecord::Answered(answer)) => Some(answer.id),
            Ok(RoomRecord::Pack(step)) => match step.about() {
                Ok(query) => return self.packs.contains(&query),
                Err(id) => Some(id),
            },
            Ok(RoomRecord::Period(_)) | Err(_) => None,
        };
        about.is_some_and(|id| self.questions.contains(&id))
    }
}

#[cfg(test)]
pub(super) mod tests;
