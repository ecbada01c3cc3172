//! Standing questions: charged once, each period answered some days after its last.
//!
//! The steps are [`privacy::alone::standing`]'s. A period is read from the facts there are then; its cells
//! join the answer of the question, which grows until the last is there.

use std::sync::Arc;

use privacy::alone::CLOSE_AFTER_DAYS;
use privacy::bounded::Periods;
use privacy::civil::CivilDate;
use privacy::plan::LocalQuestion;
use privacy::{AttemptId, DpPlan, PicoRho};
use protocol::time::Timestamp;

use super::super::answers::AskedText;
use super::super::{Action, PeriodJob, ReadJob, ReadResult, views};
use super::Room;
use crate::service::{Bilingual, Question, Scope, ServiceError, StandingView};

impl Room {
    /// Only a question about the own members stands.
    pub(super) fn check_stands(&self, question: &Question) -> Result<(), ServiceError> {
        if question.stands && self.scope_of(question)? != Scope::Local {
            return Err(views::only_local_stands());
        }
        Ok(())
    }

    /// The standing question there is, or a new one.
    pub(super) fn ask_standing(
        &mut self,
        question: LocalQuestion,
        plan: &DpPlan,
        quota: PicoRho,
        text: AskedText,
        now: Timestamp,
    ) -> Result<(AttemptId, Vec<Action>), ServiceError> {
        match self.same_standing(plan, now) {
            Some(id) => Ok((id, Vec::new())),
            None => self.charge_alone(question, quota, true, Some(text), now),
        }
    }

    pub(super) fn same_standing(&self, plan: &DpPlan, now: Timestamp) -> Option<AttemptId> {
        self.local.same_standing(plan.hash(), self.clock(now).year, self.inner.ledger())
    }

    /// Lets the day come on which periods may be read.
    pub(super) fn close_periods(&mut self, now: Timestamp) -> Vec<Action> {
        let today = self.today(now);
        let number = |part: i8| u8::try_from(part).unwrap_or_default();
        let year = u16::try_from(today.year()).unwrap_or_default();
        let today = CivilDate::new(year, number(today.month()), number(today.day()));
        let Some(today) = today else { return Vec::new() };
        let effects = self.local.day(today, self.inner.ledger());
        self.carry_out_local(effects, now)
    }

    /// Starts the reading of a period from the facts there are.
    pub(super) fn begin_period(
        &mut self,
        id: AttemptId,
        plan: Arc<DpPlan>,
        job: PeriodJob,
        now: Timestamp,
    ) -> Vec<Action> {
        let Ok(snapshot) = self.snapshot() else {
            let failed = self.local.period_failed(id, job.period, self.inner.ledger());
            return self.carry_out_local(failed, now);
        };
        let job = ReadJob {
            id,
            plan,
            participant: self.me,
            snapshot,
            not_before: self.not_before(now),
            period: Some(job),
        };
        vec![Action::Read(Box::new(job))]
    }

    /// What came of the reading of a period.
    pub(super) fn read_period(
        &mut self,
        result: ReadResult,
        period: u32,
        now: Timestamp,
    ) -> Vec<Action> {
        let (id, ledger) = (result.id, self.inner.ledger());
        let effects = match result.drawn {
            Some((noise, vector)) => self
                .local
                .period_answered(id, period, noise, vector, ledger)
                .unwrap_or_else(|error| {
                    tracing::warn!(error = %error, "a reading came to nothing");
                    self.local.period_failed(id, period, ledger)
                }),
            None => {
                tracing::warn!("a period of a standing question could not be read");
                self.local.period_failed(id, period, ledger)
            }
        };
        self.carry_out_local(effects, now)
    }

    pub(super) fn standing_view(&self, id: &AttemptId) -> Option<StandingView> {
        let today = self.local.today();
        let at = self.local.standing(id, self.inner.ledger())?;
        Some(StandingView {
            periods: at.periods,
            released: at.released,
            failed: at.failed,
            next_due: at.next_due.map(|day| day.to_string()),
            waits: at.next_due.is_some_and(|due| today.is_some_and(|today| today < due)),
        })
    }
}

/// What somebody who confirms the cost has to know.
pub(super) fn words(plan: &DpPlan) -> Result<Bilingual, ServiceError> {
    let periods = Periods::of(plan).map_err(|error| views::cannot_stand(&error))?.len();
    Ok(Bilingual {
        zh: format!(
            "常设查询：费用一次付清，共 {periods} 个周期；每个周期结束满 {CLOSE_AFTER_DAYS} 天后的次日起作答，只回答作答日在付费年份内的周期，年末最后几天结束的周期须在次年另问。"
        ),
        en: format!(
            "It stands: this cost pays for all {periods} periods together. Each is answered once {CLOSE_AFTER_DAYS} whole days have passed since its last, and only those of which that day is in the year which pays: what ends in its last days is asked for in the next."
        ),
    })
}
