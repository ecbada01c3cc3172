//! Why a joint question has no answer here, or none yet, in words: English first, then Chinese.

use privacy::accounting::Facts;
use privacy::{AttemptId, ParticipantId};
use protocol::time::Timestamp;

use super::super::views;
use super::{Room, utc};
use crate::service::Bilingual;

impl Room {
    /// What is told of an attempt at a step: why it is void or will be, and why an answer that is due does not come.
    pub(super) fn reason_at(&self, id: &AttemptId, step: &str, now: Timestamp) -> Option<String> {
        let told = || {
            let (why, again) = (self.reason(id), self.again_without(id, now));
            format!("{}{} / {}{}", why.en, again.en, why.zh, again.zh)
        };
        match step {
            "opening" => self.unanswered(id, now),
            "void" => Some(told()),
            _ => self.declined.contains_key(id).then(told),
        }
    }

    /// Why an attempt is void, or will be.
    fn reason(&self, id: &AttemptId) -> Bilingual {
        let words = |en: String, zh: String| Bilingual { zh, en };
        let facts = self.inner.ledger().facts(id);
        let (account, account_zh) = match facts.is_some_and(Facts::is_returned) {
            true => ("its cost was returned", "预算已退回"),
            false => ("its cost still stands", "预算仍计入"),
        };
        if let Some((by, reason)) = self.declined.get(id) {
            let (en, zh) = views::decline_words(*reason);
            return words(
                format!("{by} takes no part: {en}; {account}"),
                format!("{by} 不参与：{zh}；{account_zh}"),
            );
        }
        let Some((facts, reserve)) = facts.and_then(|f| Some((f, f.reserve()?))) else {
            return words(
                "its reservation was not certified in time; nothing was spent".to_owned(),
                "预留未按时认证；未消耗预算".to_owned(),
            );
        };
        if facts.set().is_none() {
            return words(
                format!("not every brand reserved in time; {account}"),
                format!("并非各品牌都按时预留；{account_zh}"),
            );
        }
        // a hash for another set is none
        let hashed: Vec<ParticipantId> = facts.hashed_by().collect();
        let missing = reserve.participants.iter().filter(|brand| !hashed.contains(brand));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        words(
            format!("no hash in time from: {}; {account}", missing.join(", ")),
            format!("未按时承诺份额：{}；{account_zh}", missing.join("、")),
        )
    }

    /// That it may be asked again without the brand that declined; no words where it may not.
    fn again_without(&self, id: &AttemptId, now: Timestamp) -> Bilingual {
        let declined = self.declined.get(id);
        let others = declined.and_then(|(by, reason)| self.without(id, *by, *reason, now));
        let words = |others: String| Bilingual {
            zh: format!("；可不询问该品牌而再问：--with {others}"),
            en: format!("; it can be asked again without that brand: --with {others}"),
        };
        others.map_or_else(Bilingual::default, words)
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
