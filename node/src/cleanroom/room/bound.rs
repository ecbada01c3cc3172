//! Questions whose bound is chosen first: two questions, each planned, charged and released like any other.
//!
//! Nothing is kept of a choice: the first question is in the accounts and answers as what it is, and the second names its
//! bound. Who drives both says of which released answer the bound is taken, so that a repetition asks nothing twice.

use privacy::ids::PlanHash;
use privacy::sql::BoundChoice;
use privacy::units::{DisplayDelta, GridBound};
use privacy::{AttemptId, PicoRho};
use protocol::time::Timestamp;

use super::super::Action;
use super::super::views::{self, internal};
use super::Room;
use crate::service::{
    Bilingual, BoundChoiceView, ChosenBoundView, PlanView, QueryView, Question, Scope, ServiceError,
};

/// What the question for the bound costs, in percent of what both cost.
const BOUND_PERCENT: u8 = 10;

/// A question and the one for its bound.
struct Steps {
    choice: BoundChoice,
    /// For the bound.
    first: Question,
    /// What the question itself costs then.
    rest: PicoRho,
    scope: Scope,
}

impl Steps {
    /// The question itself, within a bound.
    fn second(&self, of: &Question, bound: GridBound) -> Result<Question, ServiceError> {
        let sql = self.choice.second(bound).map_err(|refusal| views::refusal(&refusal))?;
        Ok(step(of, sql, self.scope, self.rest))
    }
}

/// One of the two, as it is asked.
fn step(of: &Question, sql: String, scope: Scope, rho: PicoRho) -> Question {
    Question {
        sql,
        scope: Some(scope),
        pico_rho: Some(rho.get()),
        stands: false,
        chooses_bound: false,
        bound_from: None,
        participants: of.participants.clone(),
        user: of.user.clone(),
        most_pico_rho: Some(rho.get()),
    }
}

impl Room {
    /// Plans both. What is shown of the question itself is with the contract's bound: its noise is at most that.
    pub(super) fn plan_choosing(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Result<PlanView, ServiceError> {
        let steps = self.bound_steps(question)?;
        let first = self.plan(&steps.first, now)?;
        let second = self.plan(&steps.second(question, steps.choice.most())?, now)?;
        // one that would answer within the contract's bound is another question: it may cost nothing, this costs the rest
        let rest = steps.rest.get();
        let cost = PicoRho::new(first.cost_pico_rho.saturating_add(rest));
        let left = self.left_for(question, steps.scope, now)?;
        let mut warnings = second.warnings;
        warnings.push(words(first.cost_pico_rho, steps.choice.most()));
        Ok(PlanView {
            plan: both(&first.plan, &second.plan),
            sql: question.sql.split_whitespace().collect::<Vec<_>>().join(" "),
            cost_pico_rho: cost.get(),
            rho: cost.to_rho(),
            epsilon: privacy::plan::epsilon(cost, DisplayDelta::MICRO),
            left_after_pico_rho: left.checked_sub(cost).unwrap_or(PicoRho::ZERO).get(),
            bound_choice: Some(BoundChoiceView {
                sql: first.sql,
                cost_pico_rho: first.cost_pico_rho,
                rest_pico_rho: rest,
                sigma: first.sigma,
                most: steps.choice.most().get(),
            }),
            warnings,
            ..second
        })
    }

    /// Asks the question for the bound or, of the released answer that is named, the question itself.
    pub(super) fn query_choosing(
        &mut self,
        question: &Question,
        shown: &str,
        now: Timestamp,
    ) -> Result<(QueryView, Vec<Action>), ServiceError> {
        let steps = self.bound_steps(question)?;
        let first = self.plan(&steps.first, now)?;
        let widest = self.plan(&steps.second(question, steps.choice.most())?, now)?;
        if both(&first.plan, &widest.plan) != shown {
            return Err(views::plan_changed());
        }
        let Some(from) = &question.bound_from else {
            let cost = PicoRho::new(first.cost_pico_rho.saturating_add(steps.rest.get()));
            if let Some(most) = question.most_pico_rho.filter(|most| cost.get() > *most) {
                return Err(views::cost_unconfirmed(cost.get(), most));
            }
            // the first is of no use without the second
            let left = self.left_for(question, steps.scope, now)?;
            if cost > left {
                return Err(views::both_over_budget(cost, left));
            }
            let (view, actions) = self.query(&steps.first, &first.plan, now)?;
            return Ok((choosing(view, None), actions));
        };
        let answered = self.bound_answer(from, &first.plan)?;
        let bound = GridBound::of_answer(answered).ok_or_else(views::no_bound_in_answer)?;
        let bound = steps.choice.bound(bound);
        let second = steps.second(question, bound)?;
        let plan = self.plan(&second, now)?.plan;
        let (view, actions) = self.query(&second, &plan, now)?;
        let chosen = ChosenBoundView { query: from.clone(), bound: Some(bound.get()) };
        Ok((choosing(view, Some(chosen)), actions))
    }

    fn bound_steps(&self, question: &Question) -> Result<Steps, ServiceError> {
        let scope = self.scope_of(question)?;
        if question.stands || scope == Scope::Pack {
            return Err(views::no_bound_choice());
        }
        let contract = self.inner.contract();
        let choice = BoundChoice::of(contract, &question.sql);
        let choice = choice.map_err(|refusal| views::refusal(&refusal))?;
        let all = self.rho_of(question);
        let part = all.percent(BOUND_PERCENT).unwrap_or(PicoRho::ZERO);
        let part = part.max(contract.rho_per_question_at_least());
        let rest = all.checked_sub(part).unwrap_or(PicoRho::ZERO);
        let first = step(question, choice.first().to_owned(), scope, part);
        Ok(Steps { choice, first, rest, scope })
    }

    /// What is left for such a question, of the account that pays for it.
    fn left_for(
        &self,
        question: &Question,
        scope: Scope,
        now: Timestamp,
    ) -> Result<PicoRho, ServiceError> {
        let account = self.account(question)?;
        Ok(match scope {
            Scope::Joint => self.left(account, now),
            _ => self.local_left(account.name, account.local, now),
        })
    }

    /// What the question for the bound was answered, whatever has come to the facts since: it is released.
    fn bound_answer(&self, id: &str, plan: &str) -> Result<f64, ServiceError> {
        let plan: PlanHash = plan.parse().map_err(|_| internal())?;
        let mut answers = self.answers.to_plan(plan);
        let listed = answers.find(|listed| {
            let AttemptId { proposer, query, .. } = listed.answer.id;
            proposer == self.me && query.to_string() == id
        });
        let listed = listed.ok_or_else(views::no_bound_answer)?;
        let value = listed.answer.rows.first().and_then(|row| row.values.first());
        // one without an interval is noise alone, and so would a bound from it be
        let value = value.filter(|value| value.low.is_finite() && value.high.is_finite());
        Ok(value.ok_or_else(views::no_bound_in_answer)?.value)
    }
}

/// What is confirmed of two plans.
fn both(first: &str, second: &str) -> String {
    format!("{first}+{second}")
}

fn choosing(view: QueryView, chosen: Option<ChosenBoundView>) -> QueryView {
    let under_way = ChosenBoundView { query: view.id.clone(), bound: None };
    QueryView { chosen_bound: Some(chosen.unwrap_or(under_way)), ..view }
}

fn words(first: u64, most: GridBound) -> Bilingual {
    let most = most.get();
    Bilingual {
        zh: format!(
            "先用 {first} pico-rho 查询会员合计的 95% 分位数，取整到 1-2-5 网格后作为截断上界，再回答问题；上述误差按最大上界 {most} 计算，上界越小，误差越小；被截断的部分不计入区间。第一步失败时，第二步不收费。"
        ),
        en: format!(
            "First {first} pico-rho are spent on the 95 % quantile of members' sums, which becomes the bound, brought to the 1-2-5 grid; then the question is answered within it. The error above is that of the largest bound, {most}: a lesser bound makes a lesser error. What is cut off is in no interval. If the first fails, nothing is charged for the second."
        ),
    }
}

#[cfg(test)]
mod tests;
