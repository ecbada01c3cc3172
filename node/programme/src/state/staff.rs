//! Events of the brand's people: rules, reviews, answers.

use protocol::time::{Milliseconds, Timestamp};

use super::{Answer, Change, Notice, Outcome, Programme, Refusal};
use crate::fraud::{Sign, Verdict};
use crate::ids::{Account, Name};
use crate::requests::{ANSWER_DAYS, Request, TEXT_MAX};
use crate::rules::{RuleChange, RuleChangeError, Rules, Words};

fn short(text: &str) -> Outcome<()> {
    let found = text.chars().count();
    if found == 0 || found > TEXT_MAX {
        return Err(Refusal::Text { most: TEXT_MAX, found });
    }
    Ok(())
}

fn named_already(field: &str, (zh, en): (&str, &str), name: &Name) -> Refusal {
    Refusal::Rules(Words {
        zh: format!("{field}：已有名为 \"{name}\" 的{zh}：请换一个名称"),
        en: format!("{field}: {en} is named \"{name}\": take another name"),
    })
}

impl Programme {
    pub(super) fn propose(
        &mut self,
        text: &str,
        (effective, notice): (Timestamp, Milliseconds),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let rules = Rules::from_toml(text)?;
        if let Some(announced) = &self.announced {
            return Err(RuleChangeError::Pending { version: announced.rules.version }.into());
        }
        // results of tests and campaigns are counted under one name, and a name is one segment
        let campaigns = &self.state.campaigns;
        if let Some(name) = rules.experiments.keys().find(|it| campaigns.contains_key(*it)) {
            return Err(named_already("experiment.name", ("活动", "a campaign"), name));
        }
        let kept = &self.state.segments;
        if let Some(name) = rules.segments.keys().find(|it| kept.contains_key(*it)) {
            return Err(named_already(
                "segment.name",
                ("自建人群", "a segment that staff keeps"),
                name,
            ));
        }
        let effective = effective.max(now);
        let change = RuleChange::between(self.rules_now()?, &rules, now, effective, notice)?;
        let announced =
            Change::RulesAnnounced { rules: text.to_owned(), announced: now, effective };
        self.enter(announced, out)?;
        let version = rules.version;
        if change.touches_members() {
            self.told(None, now, Notice::Rules { version, effective }, out)?;
        }
        if effective <= now {
            self.enter(Change::RulesInForce { at: now }, out)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn withdraw(&mut self, now: Timestamp, out: &mut Vec<Change>) -> Outcome {
        if self.announced.is_none() {
            return Err(Refusal::NothingAnnounced);
        }
        self.enter(Change::RulesWithdrawn { at: now }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn review(
        &mut self,
        case: u64,
        verdict: Verdict,
        (by, reason): (String, Option<String>),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let open = self.state.watch.case(case).is_some_and(|case| case.closed.is_none());
        if !open {
            return Err(Refusal::NotOpen { what: "case", number: case });
        }
        match &reason {
            Some(reason) => short(reason)?,
            None if verdict == Verdict::Stopped => return Err(Refusal::ReasonMissing),
            None => {}
        }
        let by = Some(by);
        if verdict == Verdict::Cleared {
            self.take_in_who_was_left_out(case, out)?;
        }
        self.enter(Change::CaseClosed { number: case, at: now, verdict, by, reason }, out)?;
        Ok(Answer::Done)
    }

    /// Earlier versions stopped who came to a device whose case was open, and left them out of the case: they go on
    /// with the others.
    fn take_in_who_was_left_out(&mut self, number: u64, out: &mut Vec<Change>) -> Outcome<()> {
        let watch = &self.state.watch;
        let case = watch.case(number).filter(|case| case.sign == Sign::Device);
        let Some(case) = case else { return Ok(()) };
        let beside = watch.beside(&case.accounts);
        let held = watch.stopped_among(&beside);
        let left = beside.into_iter().filter(|it| self.is_stopped(*it) && !held.contains(it));
        let left: Vec<Account> = left.collect();
        self.join_case(number, left, out)
    }

    pub(super) fn ask(
        &mut self,
        account: Account,
        about: Name,
        text: String,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        short(&text)?;
        let zone = self.rules_now()?.zone;
        let number = self.state.requests.next();
        // to the end of the last day
        let due = zone.start(zone.day(now).plus(ANSWER_DAYS.saturating_add(1)));
        let due = due.min(now.plus(crate::fraud::minutes(ANSWER_DAYS.saturating_mul(24 * 60))));
        let request = Request { account, about, text, at: now, due, answer: None };
        self.enter(Change::Asked { number, request }, out)?;
        Ok(Answer::Number(number))
    }

    pub(super) fn answer(
        &mut self,
        number: u64,
        text: String,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        short(&text)?;
        let open = self.state.requests.get(number).filter(|request| request.answer.is_none());
        let account = open.ok_or(Refusal::NotOpen { what: "request", number })?.account;
        self.enter(Change::Answered { number, at: now, text }, out)?;
        self.told(Some(account), now, Notice::Answered { request: number }, out)?;
        Ok(Answer::Done)
    }
}
