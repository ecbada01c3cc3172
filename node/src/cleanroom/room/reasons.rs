//! Why a joint question has no answer here, or none yet, in words.

use privacy::accounting::Facts;
use privacy::{AttemptId, ParticipantId};
use protocol::time::Timestamp;

use super::super::views;
use super::{Room, utc};

impl Room {
    /// What is told of an attempt at a step: why it is void or will be, and why an answer that is due does not come.
    pub(super) fn reason_at(&self, id: &AttemptId, step: &str, now: Timestamp) -> Option<String> {
        let told = || self.reason(id) + &self.again_without(id, now);
        match step {
            "opening" => self.unanswered(id, now),
            "void" => Some(told()),
            _ => self.declined.contains_key(id).then(told),
        }
    }

    /// Why an attempt is void, or will be.
    fn reason(&self, id: &AttemptId) -> String {
        let facts = self.inner.ledger().facts(id);
        let returned = facts.is_some_and(Facts::is_returned);
        let account = if returned { "its cost was returned" } else { "its cost still stands" };
        if let Some((by, reason)) = self.declined.get(id) {
            return format!("{by} takes no part: {}; {account}", views::decline_words(*reason));
        }
        let Some((facts, reserve)) = facts.and_then(|f| Some((f, f.reserve()?))) else {
            return "its reservation was not certified in time; nothing was spent".to_owned();
        };
        if facts.set().is_none() {
            return format!("not every brand reserved in time; {account}");
        }
        // a hash for another set is none
        let hashed: Vec<ParticipantId> = facts.hashed_by().collect();
        let missing = reserve.participants.iter().filter(|brand| !hashed.contains(brand));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        format!("no hash in time from: {}; {account}", missing.join(", "))
    }

    /// That it may be asked again without the brand that declined.
    fn again_without(&self, id: &AttemptId, now: Timestamp) -> String {
        let declined = self.declined.get(id);
        declined.and_then(|(by, reason)| self.without(id, *by, *reason, now)).unwrap_or_default()
    }

    /// Of a charged one without an answer here: that this brand had it and lost it with an older disk, or that openings
    /// are missing since they were due.
    fn unanswered(&self, id: &AttemptId, now: Timestamp) -> Option<String> {
        let facts = self.inner.ledger().facts(id)?;
        // of others' questions this brand learns no answer
        let reserve = facts.reserve().filter(|it| it.participants.contains(&self.me))?;
        let released: Vec<ParticipantId> = facts.released_by().map(|(brand, _)| brand).collect();
        let others: Vec<String> =
            released.iter().filter(|brand| **brand != self.me).map(ToString::to_string).collect();
        if released.contains(&self.me) && !others.is_empty() {
            let others = others.join(", ");
            return Some(format!(
                "it was answered, and the answer is lost here with what this node had before it was restored; \
                 it is at: {others}; its cost stands / 已作答，但本节点恢复后没有答案；答案在：{others}；预算已消耗"
            ));
        }
        if utc(now) <= reserve.open_by {
            return None;
        }
        let mut accused: Vec<String> =
            facts.accusations().map(|(_, accused)| accused.to_string()).collect();
        accused.sort();
        accused.dedup();
        let (en, zh) = match accused.is_empty() {
            true => ("a brand".to_owned(), "某品牌".to_owned()),
            false => (accused.join(", "), accused.join("、")),
        };
        Some(format!(
            "no opening in time from: {en}; its cost stands, and it is answered if the opening comes yet / \
             {zh} 未按时公开其份额；预算已消耗，若其后公开仍会作答"
        ))
    }
}
