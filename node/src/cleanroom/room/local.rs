//! Questions about this brand's own members: asked by its analysts, or for another brand's pack.
//!
//! The steps are [`privacy::alone`]'s. An answer that was given is given again with the same bytes and
//! at no cost as long as this brand's facts are the same.

use privacy::alone::{LocalAskError, LocalEffect, LocalProgress, LocalRecord};
use privacy::ids::Attempt;
use privacy::plan::LocalQuestion;
use privacy::steps::CleanRoomEntry;
use privacy::{
    AnalystId, AttemptId, CertifiedEntry as _, DpPlan, LocalRequest, PicoRho, QueryId, SnapshotId,
};
use protocol::time::Timestamp;

use super::super::answers::{Answer, AskedText, Listed};
use super::super::policy::Account;
use super::super::views::{self, Rows, internal};
use super::super::{Action, Certified, PeriodJob, ReadJob, ReadResult};
use super::{Room, RoomRecord, history, record};
use crate::service::{Bilingual, PlanView, QueryView, Question, Scope, ServiceError};
use crate::vault::Purpose;

impl Room {
    /// Plans a local question or a pack.
    pub(super) fn plan_alone(
        &self,
        question: &Question,
        account: &Account,
        now: Timestamp,
    ) -> Result<PlanView, ServiceError> {
        let (asked, plan) = self.planned_alone(question, account.name)?;
        let scope = self.scope_of(question)?;
        let answered = match question.stands {
            true => self.same_standing(&plan, now).is_some(),
            false => self.is_answered_alone(&plan),
        };
        if !answered && !self.policy.answers(self.inner.contract(), asked.purpose) {
            return Err(views::against_policy());
        }
        let cost = if answered { PicoRho::ZERO } else { asked.rho };
        let left = self.local_left(account.name, account.local, now);
        let left = left.checked_sub(cost).unwrap_or(PicoRho::ZERO);
        let mut view = views::plan_view(&plan, &question.sql, scope, account, cost, left);
        if question.stands {
            view.warnings.push(super::standing::words(&plan)?);
        }
        if scope == Scope::Pack {
            let brands = self.inner.contract().participants().iter();
            view.participants = brands.map(ToString::to_string).collect();
            // what others ask for is decided there
            view.cost_pico_rho = asked.rho.get();
            view.rho = asked.rho.to_rho();
            view.epsilon = plan.summary().epsilon;
            view.warnings.push(pack_words(answered));
            let contract = self.inner.contract();
            if contract.has_own_bounds() {
                let brands = contract.participants().iter();
                let plans = brands.filter_map(|brand| DpPlan::local(contract, *brand, &asked).ok());
                views::add_bounds_of_pack(&mut view, &plans.collect::<Vec<_>>());
            }
        }
        Ok(view)
    }

    /// Asks a local question or a pack.
    pub(super) fn query_alone(
        &mut self,
        question: &Question,
        account: &Account,
        shown: &str,
        now: Timestamp,
    ) -> Result<(QueryView, Vec<Action>), ServiceError> {
        let (asked, plan) = self.planned_alone(question, account.name)?;
        if plan.hash().to_string() != shown {
            return Err(views::plan_changed());
        }
        let text = AskedText::of(question, now);
        if self.scope_of(question)? == Scope::Pack {
            return self.query_pack(asked, &plan, account, text, now);
        }
        let (id, actions) = match question.stands {
            true => self.ask_standing(asked, &plan, account.local, text, now)?,
            false => self.ask_alone(asked, &plan, account.local, Some(text), now)?,
        };
        let view = self.local_view(id, Rows::ALL).ok_or_else(internal)?;
        // what was answered or is under way needs nothing to be done
        Ok((QueryView { newly_asked: !actions.is_empty(), ..view }, actions))
    }

    fn planned_alone(
        &self,
        question: &Question,
        analyst: AnalystId,
    ) -> Result<(LocalQuestion, DpPlan), ServiceError> {
        let asked = LocalQuestion {
            sql: question.sql.clone(),
            purpose: Purpose::JointAnalytics.name().parse().map_err(|_| internal())?,
            analyst,
            rho: self.rho_of(question),
        };
        let plan = DpPlan::local(self.inner.contract(), self.me, &asked)
            .map_err(|refusal| views::refusal(&refusal))?;
        if question.scope == Some(Scope::Pack) && !plan.query().is_by_brand() {
            return Err(views::no_pack());
        }
        self.check_kept(&plan)?;
        Ok((asked, plan))
    }

    /// Has a question about the own members answered, by policy and on the account: the answer there is,
    /// the question under way, or a new one. The text is there where it is asked here.
    pub(super) fn ask_alone(
        &mut self,
        question: LocalQuestion,
        plan: &DpPlan,
        quota: PicoRho,
        text: Option<AskedText>,
        now: Timestamp,
    ) -> Result<(AttemptId, Vec<Action>), ServiceError> {
        if let Some(id) = self.same_alone(plan) {
            return Ok((id, Vec::new()));
        }
        self.charge_alone(question, quota, false, text, now)
    }

    /// Charges a question about the own members, by policy and on the account.
    pub(super) fn charge_alone(
        &mut self,
        question: LocalQuestion,
        quota: PicoRho,
        stands: bool,
        text: Option<AskedText>,
        now: Timestamp,
    ) -> Result<(AttemptId, Vec<Action>), ServiceError> {
        if !self.policy.answers(self.inner.contract(), question.purpose) {
            return Err(views::against_policy());
        }
        let snapshot = self.snapshot().map_err(|_| internal())?;
        let mut query = [0; 16];
        self.entropy.fill(&mut query);
        let query = QueryId(query);
        let request = LocalRequest {
            query,
            question,
            snapshot: SnapshotId(*snapshot.id()),
            analyst_quota: quota,
            at_risk: self.inner.at_risk_locally(self.clock(now).year, self.clock(now).now),
            stands,
        };
        let clock = self.clock(now);
        let effects = self.local.ask(request, self.inner.ledger(), clock).map_err(ask_error)?;
        let id = AttemptId { proposer: self.me, query, attempt: Attempt::FIRST };
        if !stands {
            self.snapshots.insert(id, snapshot);
        }
        if let Some(text) = text {
            self.texts.insert(id, text);
        }
        Ok((id, self.carry_out_local(effects, now)))
    }

    /// Whether the local account would bear a failure after reading beside all that is under way.
    pub(super) fn bears_failure(&self, rho: PicoRho, now: Timestamp) -> bool {
        let (clock, ledger) = (self.clock(now), self.inner.ledger());
        let left = ledger.local_left(self.inner.contract(), self.me, clock.year);
        let pending = self.local.pending(ledger);
        let pending = pending.iter().filter(|charge| charge.year == clock.year);
        let at_risk = self.inner.at_risk_locally(clock.year, clock.now);
        let mut taken = pending.map(|charge| charge.rho).chain([at_risk, rho]);
        let taken = taken.try_fold(PicoRho::ZERO, PicoRho::checked_add);
        taken.is_some_and(|taken| taken <= left)
    }

    /// The question with this plan from the facts there are now that is answered or under way, in memory or not.
    fn same_alone(&self, plan: &DpPlan) -> Option<AttemptId> {
        let mine = SnapshotId(*self.snapshot().ok()?.id());
        let known = self.local.same(plan.hash(), mine, self.inner.ledger());
        known.or_else(|| {
            let is_same = |listed: &Listed| {
                let answer = &listed.answer;
                answer.id.proposer == self.me
                    && answer.snapshots.get(&self.me) == Some(&mine)
                    && answer.periods.is_none()
            };
            self.answers.to_plan(plan.hash()).find(is_same).map(|listed| listed.answer.id)
        })
    }

    fn is_answered_alone(&self, plan: &DpPlan) -> bool {
        self.same_alone(plan).is_some_and(|id| self.answers.has(&id))
    }

    /// What is left of the local quota for an account, what is on its way to the log taken off.
    pub(super) fn local_left(&self, analyst: AnalystId, share: PicoRho, now: Timestamp) -> PicoRho {
        let (ledger, year) = (self.inner.ledger(), self.clock(now).year);
        let pending = self.local.pending(ledger);
        let waiting = |of: Option<AnalystId>| {
            let charges = pending.iter().filter(|charge| {
                charge.year == year && of.is_none_or(|analyst| analyst == charge.analyst)
            });
            super::sum(charges.map(|charge| charge.rho))
        };
        let brand = ledger.local_left(self.inner.contract(), self.me, year);
        let spent = ledger.local_analyst_spent(self.me, analyst, year);
        let own = share.checked_sub(spent).unwrap_or(PicoRho::ZERO);
        let after = |left: PicoRho, waiting| left.checked_sub(waiting).unwrap_or(PicoRho::ZERO);
        after(brand, waiting(None)).min(after(own, waiting(Some(analyst))))
    }

    // --- steps

    pub(super) fn resume_local(&mut self, now: Timestamp) -> Vec<Action> {
        // the day first: what was charged in a year is read in it
        let mut actions = self.close_periods(now);
        let effects = self.local.resume(self.inner.ledger());
        actions.extend(self.carry_out_local(effects, now));
        actions
    }

    /// The ledger has taken a certified entry; some are of local questions, own or of other brands.
    pub(super) fn certified_local(&mut self, entry: &Certified<'_>, now: Timestamp) -> Vec<Action> {
        let Ok(read) = CleanRoomEntry::from_bytes(entry.bytes()) else { return Vec::new() };
        let effects = self.local.certified(read.id(), self.inner.ledger());
        let mut actions = self.carry_out_local(effects, now);
        if matches!(read, CleanRoomEntry::LocalCharge(_) | CleanRoomEntry::LocalRelease(_)) {
            actions.extend(self.look_at_arrived());
        }
        actions
    }

    pub(super) fn read_local(&mut self, result: ReadResult, now: Timestamp) -> Vec<Action> {
        if let Some(period) = result.period {
            return self.read_period(result, period, now);
        }
        let ReadResult { id, drawn, .. } = result;
        let effects = match drawn {
            Some((noise, vector)) => self
                .local
                .answered(id, noise, vector, self.inner.ledger())
                .unwrap_or_else(|error| {
                    tracing::warn!(error = %error, "a reading came to nothing");
                    self.local.failed(id)
                }),
            None => {
                tracing::warn!("a local question could not be read; its cost stands");
                self.local.failed(id)
            }
        };
        self.carry_out_local(effects, now)
    }

    pub(super) fn carry_out_local(
        &mut self,
        effects: Vec<LocalEffect>,
        now: Timestamp,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for effect in effects {
            match effect {
                LocalEffect::Persist(step) => {
                    let is_asked = matches!(step, LocalRecord::Asked(_));
                    let text = self.texts.get(&step.id()).filter(|_| is_asked).cloned();
                    actions.push(record(&RoomRecord::Local(step.to_bytes(), text)));
                }
                LocalEffect::Append(entry) => actions.push(Action::Append(entry.to_bytes())),
                LocalEffect::Read { id, plan, snapshot } => {
                    match self.snapshot_of(&id, snapshot) {
                        Some(snapshot) => actions.push(Action::Read(Box::new(ReadJob {
                            id,
                            plan,
                            participant: self.me,
                            snapshot,
                            not_before: self.not_before(now),
                            period: None,
                        }))),
                        // the facts are others since the charge
                        None => {
                            let failed = self.local.failed(id);
                            actions.extend(self.carry_out_local(failed, now));
                        }
                    }
                }
                LocalEffect::ReadPeriod { id, plan, periods, period, closed } => {
                    let job = PeriodJob { periods, period, closed };
                    actions.extend(self.begin_period(id, plan, job, now));
                }
                LocalEffect::PeriodReleased(release) => {
                    let answer = Answer::of_period(&release).given(super::utc(now));
                    if !self.answers.has_period(&answer) {
                        actions.push(record(&RoomRecord::Period(answer.clone())));
                        self.answers.add_period(answer);
                    }
                }
                LocalEffect::Released(release) => {
                    let id = release.id();
                    if self.answers.of(&id).is_none() {
                        let answer = Answer::of_local(&release).given(super::utc(now));
                        actions.push(record(&RoomRecord::Answered(answer.clone())));
                        self.answers.add(answer);
                    }
                    self.snapshots.remove(&id);
                    actions.extend(self.tell_askers(id));
                }
                LocalEffect::Failed(id) => {
                    self.snapshots.remove(&id);
                    actions.extend(self.tell_askers(id));
                }
            }
        }
        actions
    }

    /// The facts that a charge names, if they are still the facts there are.
    fn snapshot_of(&self, id: &AttemptId, named: SnapshotId) -> Option<crate::purchases::Snapshot> {
        if let Some(snapshot) = self.snapshots.get(id) {
            return Some(snapshot.clone());
        }
        self.snapshot().ok().filter(|snapshot| snapshot.id() == named.as_bytes())
    }

    // --- views

    /// A local question or a pack of this brand's, by the id it was given.
    pub(super) fn alone_by_id(&self, query: QueryId, rows: Rows) -> Option<QueryView> {
        if let Some(view) = self.pack_view(query, rows) {
            return Some(view);
        }
        let id = AttemptId { proposer: self.me, query, attempt: Attempt::FIRST };
        self.local_view(id, rows)
    }

    pub(super) fn local_view(&self, id: AttemptId, rows: Rows) -> Option<QueryView> {
        let ledger = self.inner.ledger();
        let progress = self.local_progress(&id)?;
        let step = match progress {
            LocalProgress::Charging => "charging",
            LocalProgress::Reading => "reading",
            LocalProgress::Releasing => "releasing",
            LocalProgress::Standing => "standing",
            LocalProgress::Released => "released",
            LocalProgress::Failed | LocalProgress::Dropped => "void",
        };
        let charged = ledger.facts(&id).is_some_and(|facts| facts.local_charge().is_some());
        let (account, account_zh) = match charged {
            true => ("its cost stands", "预算已消耗"),
            false => ("nothing was spent", "未消耗预算"),
        };
        let reason = match progress {
            LocalProgress::Failed => {
                Some(format!("it could not be read; {account} / 无法读取数据；{account_zh}"))
            }
            LocalProgress::Dropped => Some(format!(
                "the contract was changed meanwhile; {account} / 其间契约已变更；{account_zh}"
            )),
            _ => None,
        };
        let answer = self.answers.of(&id);
        // the log has its hash, and its figures are in this turn's records
        let step = if step == "released" && answer.is_none() { "releasing" } else { step };
        let view = QueryView {
            id: id.query.to_string(),
            plan: self.plan_of(&id).map(|plan| plan.to_string()).unwrap_or_default(),
            scope: Scope::Local.name().to_owned(),
            step: step.to_owned(),
            reason,
            release: answer.as_deref().map(|answer| views::release_view(answer, rows)),
            charged_pico_rho: self.charged_alone(&id).get(),
            standing: self.standing_view(&id),
            ..QueryView::default()
        };
        Some(history::with_text(view, self.text_of(&id)))
    }

    /// What stands on the local account for a question, or is on its way there.
    pub(super) fn charged_alone(&self, id: &AttemptId) -> PicoRho {
        let ledger = self.inner.ledger();
        let certified = ledger.facts(id).and_then(|facts| facts.local_charge());
        let pending = || self.local.pending(ledger).into_iter().find(|charge| charge.id == *id);
        let charge = certified.map(|charge| *charge.entry()).or_else(pending);
        charge.map_or(PicoRho::ZERO, |charge| charge.rho)
    }
}

/// Why a question about the own members is not taken.
pub(super) fn ask_error(error: LocalAskError) -> ServiceError {
    match error {
        LocalAskError::Refused(refused) => views::refusal(&refused),
        LocalAskError::Budget(over) => views::over_budget(&over),
        LocalAskError::TooMany | LocalAskError::TooManyStanding => views::too_many_local(&error),
        LocalAskError::Standing(why) => views::cannot_stand(&why),
        LocalAskError::Taken => {
            tracing::error!("a fresh id of a question was taken");
            internal()
        }
    }
}

fn pack_words(answered: bool) -> Bilingual {
    let own = if answered { ("", "") } else { (" and here", "（含本品牌）") };
    Bilingual {
        zh: format!(
            "每个同意的品牌各自作答，费用记入各自的本地账户{}；一人若是多个品牌的会员，其代价为各回答之和。已回答过的品牌不再收费。",
            own.1
        ),
        en: format!(
            "Each brand that agrees answers for itself, at this cost on its own local account{}; for a person at several brands the costs add up. A brand that has answered it before gives the same answer for nothing.",
            own.0
        ),
    }
}
