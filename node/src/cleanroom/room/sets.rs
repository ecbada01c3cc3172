//! Which brands a joint question is put to, where its analyst chooses them.
//!
//! Every brand holds two rules by itself. A question that leaves out brands which are not suspended is taken part in
//! where the policy says from how many brands on; and never where its answer, beside those that were charged, or in
//! which it takes part and that may still be (its own from the moment they are asked), in the same year and under the same
//! contract, would tell the total of fewer than three brands ([`privacy::accounting::told_apart`]). The first keeps one
//! brand's analyst from shutting another out of the year by the second. Brands that were suspended when a question was
//! reserved count as asked: nobody chose then. What is in none of this: differences between years and between
//! constitutions.

use std::collections::{BTreeMap, BTreeSet};

use privacy::accounting::Suspension;
use privacy::ids::ContractHash;
use privacy::steps::{CleanRoomEntry, DeclineReason, ProposeError};
use privacy::{AttemptId, CalendarYear, CertifiedEntry as _, DpPlan, ParticipantId, UtcMillis};
use protocol::time::Timestamp;

use super::super::{Certified, views};
use super::{Room, utc};
use crate::service::{Bilingual, Question, Scope, ServiceError};

/// Whom a question was put to, and when that was reserved.
type Put = (BTreeSet<ParticipantId>, UtcMillis);

/// The sets of brands that were charged, by year and contract.
#[derive(Debug, Default)]
pub(super) struct Sets {
    charged: BTreeMap<(CalendarYear, ContractHash), BTreeSet<Put>>,
}

impl Room {
    /// The ledger has taken an entry: with some a charge is complete.
    pub(super) fn note_set(&mut self, entry: &Certified<'_>) {
        let Ok(read) = CleanRoomEntry::from_bytes(entry.bytes()) else { return };
        let completes = matches!(
            read,
            CleanRoomEntry::Reserve(_) | CleanRoomEntry::Participate(_) | CleanRoomEntry::Commit(_)
        );
        let facts = self.inner.ledger().facts(&read.id()).filter(|_| completes);
        let charged = facts.and_then(|facts| Some((facts.charge()?, facts.reserved_at()?)));
        let Some((charge, at)) = charged else { return };
        let reserve = charge.reserve();
        let place = (reserve.year, reserve.contract);
        let set: BTreeSet<ParticipantId> = reserve.participants.iter().copied().collect();
        self.sets.charged.entry(place).or_default().insert((set, at));
    }

    /// A question names brands only where brands answer together.
    pub(super) fn check_named(&self, question: &Question) -> Result<(), ServiceError> {
        if question.participants.is_some() && self.scope_of(question)? != Scope::Joint {
            return Err(views::no_set());
        }
        Ok(())
    }

    /// The brands that a question is put to: those it names, or all that are not suspended.
    pub(super) fn asked_of(&self, question: &Question) -> Result<Vec<ParticipantId>, ServiceError> {
        let Some(names) = &question.participants else { return Ok(self.askable()) };
        let (ledger, contract) = (self.inner.ledger(), self.inner.contract());
        let known = contract.participants();
        let mut brands = BTreeSet::new();
        for name in names {
            let Some(brand) = known.iter().find(|brand| brand.as_str() == name.as_str()) else {
                let (en, zh) = (
                    "a brand that the question names is none of the contract's",
                    "查询所指定的品牌不在契约中",
                );
                return Err(views::set_invalid(en, zh, known));
            };
            if ledger.suspended(contract, *brand).is_some() {
                return Err(views::propose_error(&ProposeError::Suspended(*brand)));
            }
            brands.insert(*brand);
        }
        if !brands.contains(&self.me) {
            let (en, zh) = ("the brand that asks takes part itself", "提问的品牌须参与其中");
            return Err(views::set_invalid(en, zh, known));
        }
        Ok(brands.into_iter().collect())
    }

    /// The brands that are not suspended and that a plan leaves out.
    fn left_out(&self, plan: &DpPlan) -> Vec<ParticipantId> {
        let mut brands = self.askable();
        brands.retain(|brand| !plan.participants().contains(brand));
        brands
    }

    /// Refuses a plan for brands that this one would not take part with.
    pub(super) fn check_set(&self, plan: &DpPlan, now: Timestamp) -> Result<(), ServiceError> {
        if !self.left_out(plan).is_empty() && !self.policy.takes_chosen_sets() {
            return Err(views::set_against_policy());
        }
        let set = plan.participants().iter().copied().collect();
        let group = self.told_apart(set, plan.contract_hash(), None, now);
        group.map_or(Ok(()), |group| Err(views::set_tells_apart(&group)))
    }

    /// Whether this brand takes part in a plan, by the brands that it is for.
    pub(super) fn takes_set(
        &self,
        plan: &DpPlan,
        attempt: Option<AttemptId>,
        now: Timestamp,
    ) -> bool {
        let set = plan.participants().iter().copied().collect();
        (self.policy.takes_chosen_sets() || self.left_out(plan).is_empty())
            && self.told_apart(set, plan.contract_hash(), attempt, now).is_none()
    }

    /// Brands, fewer than three, whose total an answer of this set would tell beside those of the year.
    fn told_apart(
        &self,
        set: BTreeSet<ParticipantId>,
        contract: ContractHash,
        but: Option<AttemptId>,
        now: Timestamp,
    ) -> Option<Vec<ParticipantId>> {
        let (ledger, year) = (self.inner.ledger(), self.clock(now).year);
        let mut sets = self.sets.charged.get(&(year, contract)).cloned().unwrap_or_default();
        for brand in self.inner.contract().participants() {
            for (id, facts) in ledger.not_over(*brand, utc(now)) {
                let Some(reserve) = facts.reserve() else { continue };
                let same = reserve.year == year && reserve.contract == contract;
                // one that this brand has no part in is kept from the same answer by those who have; counted here, it
                // would let a brand shut out others by reservations that come to nothing
                let mine = self.inner.progress(id, utc(now)).is_some();
                if same && mine && but != Some(*id) && !facts.is_returned() {
                    let at = facts.reserved_at().unwrap_or(utc(now));
                    sets.insert((reserve.participants.iter().copied().collect(), at));
                }
            }
        }
        // own ones on their way to the log: of two sets that have nobody but this brand in common nobody else would see
        // that they tell it apart
        for reserve in self.inner.uncertified(utc(now)) {
            if reserve.year == year && reserve.contract == contract && but != Some(reserve.id) {
                sets.insert((reserve.participants.iter().copied().collect(), utc(now)));
            }
        }
        sets.insert((set, utc(now)));
        if sets.len() < 2 {
            return None;
        }
        // nobody chose to leave out who was suspended then: they count as asked
        let known = self.inner.contract();
        let of = |brand: &ParticipantId| {
            let brand = *brand;
            ledger.suspensions(known, brand).map(move |suspension| (brand, suspension))
        };
        let away: Vec<(ParticipantId, Suspension)> =
            known.participants().iter().flat_map(of).collect();
        let sets = sets.into_iter().map(|(mut set, at)| {
            let then = away.iter().filter(|(_, suspension)| {
                suspension.since <= at && suspension.until.is_none_or(|until| at < until)
            });
            set.extend(then.map(|(brand, _)| *brand));
            set
        });
        privacy::accounting::told_apart(&sets.collect())
    }

    /// What somebody who confirms a question to some brands has to know.
    pub(super) fn left_out_words(&self, plan: &DpPlan) -> Option<Bilingual> {
        let left_out = self.left_out(plan);
        if left_out.is_empty() {
            return None;
        }
        let names = left_out.iter().map(ParticipantId::as_str).collect::<Vec<_>>().join(", ");
        Some(Bilingual {
            zh: format!(
                "不询问：{names}。若作答，本年度内凡相减可得不足三个品牌合计的其他品牌组合都将被拒绝，包括全部品牌的组合。"
            ),
            en: format!(
                "Not asked: {names}. Once it is answered, questions of this year to other brands are refused where the difference would be of fewer than three, those to all brands too."
            ),
        })
    }

    /// The brands that a question which one of them declined may be put to without it, where it may.
    pub(super) fn without(
        &self,
        id: &AttemptId,
        by: ParticipantId,
        reason: DeclineReason,
        now: Timestamp,
    ) -> Option<String> {
        if !matches!(reason, DeclineReason::Policy | DeclineReason::Plan) {
            return None;
        }
        let reserve = self.inner.ledger().facts(id)?.reserve()?;
        let mut others: BTreeSet<ParticipantId> = reserve.participants.iter().copied().collect();
        others.remove(&by);
        let contract = self.inner.contract();
        let agreed = by != self.me
            && self.policy.takes_chosen_sets()
            && others.len() >= contract.minimum_participants()
            && reserve.contract == contract.hash()
            && self.told_apart(others.clone(), reserve.contract, Some(*id), now).is_none();
        let names = others.iter().map(ParticipantId::as_str).collect::<Vec<_>>().join(",");
        agreed.then_some(names)
    }
}

#[cfg(test)]
mod tests;
