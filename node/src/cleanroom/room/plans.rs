//! Plans of joint questions, and what this brand's accounts have for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use privacy::ids::PlanHash;
use privacy::plan::QuerySpec;
use privacy::{AnalystId, AttemptId, CalendarYear, DpPlan, ParticipantId, PicoRho, SnapshotId};
use protocol::time::Timestamp;

use super::super::answers::Answer;
use super::super::policy::Account;
use super::super::views::{self, internal};
use super::{Room, sum, utc};
use crate::service::{Question, Scope, ServiceError};
use crate::vault::Purpose;

impl Room {
    pub(super) fn spec(
        &self,
        question: &Question,
        account: &Account,
    ) -> Result<QuerySpec, ServiceError> {
        Ok(QuerySpec {
            sql: question.sql.clone(),
            purpose: Purpose::JointAnalytics.name().parse().map_err(|_| internal())?,
            analyst: account.name,
            participants: self.asked_of(question)?,
            rho: self.rho_of(question),
        })
    }

    /// What a question costs: the profile's cost of a query unless its analyst chooses otherwise.
    pub(super) fn rho_of(&self, question: &Question) -> PicoRho {
        let usual = self.inner.contract().rho_per_question();
        question.pico_rho.map_or(usual, PicoRho::new)
    }

    /// Whose share of the quota pays.
    pub(super) fn account(&self, question: &Question) -> Result<&Account, ServiceError> {
        self.policy.account(question.user.as_deref()).ok_or_else(views::no_account)
    }

    /// Who answers.
    pub(super) fn scope_of(&self, question: &Question) -> Result<Scope, ServiceError> {
        if let Some(scope) = question.scope {
            return Ok(scope);
        }
        let bound = privacy::sql::bind(self.inner.contract(), &question.sql);
        let bound = bound.map_err(|refusal| views::refusal(&refusal))?;
        Ok(if bound.is_by_brand() { Scope::Pack } else { Scope::Joint })
    }

    /// What the brand would not take part in, it does not propose.
    pub(super) fn check_policy(&self, spec: &QuerySpec, plan: &DpPlan) -> Result<(), ServiceError> {
        let accepts = self.policy.accepts(self.inner.contract(), None, spec, plan);
        if accepts { Ok(()) } else { Err(views::against_policy()) }
    }

    pub(super) fn planned(&self, spec: &QuerySpec) -> Result<DpPlan, ServiceError> {
        let plan = DpPlan::new(self.inner.contract(), spec);
        let plan = plan.map_err(|refusal| views::refusal(&refusal))?;
        self.check_kept(&plan)?;
        Ok(plan)
    }

    /// What is left of this brand's quota, or of an analyst's share of it if that is less, own questions
    /// on their way to the log taken off.
    pub(super) fn left(&self, account: &Account, now: Timestamp) -> PicoRho {
        let (year, ledger) = (self.clock(now).year, self.inner.ledger());
        let left = ledger.joint_left(self.inner.contract(), self.me, year);
        let spent = ledger.analyst_spent(self.me, account.name, year);
        let share = account.joint.checked_sub(spent).unwrap_or(PicoRho::ZERO);
        left.min(share).checked_sub(self.uncertified(now)).unwrap_or(PicoRho::ZERO)
    }

    /// Certified reservations of this brand that can still lead to hashes.
    pub(super) fn reserved(&self, now: Timestamp) -> PicoRho {
        self.reserved_by(self.me, self.clock(now).year, None, now)
    }

    /// Certified reservations of a brand, or of one analyst there, that can still lead to hashes.
    pub(super) fn reserved_by(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        analyst: Option<AnalystId>,
        now: Timestamp,
    ) -> PicoRho {
        let open = self.inner.ledger().not_over(brand, utc(now)).filter_map(|(_, facts)| {
            let reserve = facts.reserve()?;
            let open = reserve.year == year
                && analyst.is_none_or(|analyst| analyst == reserve.analyst)
                && utc(now) <= reserve.expires_at
                && facts.charge().is_none()
                && !facts.is_returned();
            open.then_some(reserve.rho)
        });
        sum(open)
    }

    pub(super) fn uncertified(&self, now: Timestamp) -> PicoRho {
        let ledger = self.inner.ledger();
        let waiting = self.asked.values().filter(|asked| {
            utc(now) <= asked.expires_at
                && ledger.facts(&asked.id).is_none_or(|facts| facts.reserve().is_none())
        });
        sum(waiting.map(|asked| asked.rho))
    }

    pub(super) fn under_way(&self, plan: PlanHash, now: Timestamp) -> Option<AttemptId> {
        let open = |id: &AttemptId| !matches!(self.step(id, now), "released" | "void");
        self.asked.values().filter(|asked| asked.plan == plan).map(|asked| asked.id).find(open)
    }

    /// An answer to this plan, from facts that are not known to have changed since.
    pub(super) fn answer_to(&self, plan: &DpPlan) -> Option<Arc<Answer>> {
        let mine = self.snapshot().ok()?;
        let mut known = self.known_snapshots();
        known.insert(self.me, SnapshotId(*mine.id()));
        let known_alike = |answer: &Arc<Answer>| {
            answer.snapshots.iter().all(|(brand, snapshot)| known.get(brand) == Some(snapshot))
        };
        self.answers.to_plan(plan.hash()).map(|listed| listed.answer).find(known_alike)
    }

    /// The snapshot that each participant certified last, in sets that are complete.
    fn known_snapshots(&self) -> BTreeMap<ParticipantId, SnapshotId> {
        self.inner.ledger().snapshots().collect()
    }
}
