//! Cut-offs from above: the list of them, what this brand is to pay and to confirm, what has changed.
//!
//! Reads what [`Clearing`] keeps, and changes nothing of it but what was told.

use std::collections::BTreeMap;

use protocol::clearing::{Instruction, Settlement};
use protocol::ids::BrandId;
use protocol::time::Timestamp;

use super::{Clearing, Cycle, PaymentStep};
use crate::service::{ClearingView, cut_off_text};

/// Of so many of the newest cut-offs it is told what becomes of them: a later statement counts what an
/// earlier one asks for as well, so that nothing is to be done about older ones.
const TOLD_MAX: usize = 64;

/// Payments that wait for a word of this brand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Those that it is to make, and has not stated.
    pub to_pay: u32,
    /// Those that it is to be paid, and has not confirmed.
    pub to_confirm: u32,
}

impl Due {
    const fn is_none(self) -> bool {
        self.to_pay == 0 && self.to_confirm == 0
    }
}

/// What has become of a cut-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its statement has come so far.
    Statement {
        /// Which.
        cut_off: Timestamp,
        /// How far, as [`crate::service::StatementView`] names it.
        state: &'static str,
    },
    /// Something was certified of a payment of its statement.
    Payment {
        /// Of which.
        cut_off: Timestamp,
        /// Who pays.
        payer: BrandId,
        /// Who is paid.
        payee: BrandId,
        /// How far, as [`crate::service::PaymentView`] names it.
        state: &'static str,
    },
}

/// What was told: nothing before somebody asks.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: Option<BTreeMap<Timestamp, States>>,
    // whether anything may have changed since
    is_old: bool,
}

/// Of a statement, and of its payments in their order.
type States = (&'static str, Vec<&'static str>);

/// How far a payment is.
pub(super) fn payment_state(settlement: &Settlement, it: &Instruction) -> &'static str {
    if settlement.confirmed(it.payer, it.payee).is_some() {
        "confirmed"
    } else if settlement.settled(it.payer, it.payee).is_some() {
        "settled"
    } else {
        "asked"
    }
}

impl Cycle {
    /// Brands that have entered the statement that this node derives.
    pub(super) fn agreed(&self) -> impl Iterator<Item = BrandId> {
        let hash = self.settlement.as_ref().map(Settlement::hash);
        let same = self.statements.iter().filter(move |(_, found)| Some(**found) == hash);
        same.map(|(brand, _)| *brand)
    }

    /// How far it is, as [`crate::service::StatementView`] names it.
    pub(super) fn state(&self) -> &'static str {
        match &self.settlement {
            _ if self.mismatch() => "mismatch",
            None => "waiting",
            Some(settlement) if settlement.is_discharged() => "discharged",
            Some(settlement) if settlement.is_agreed() => "agreed",
            Some(_) => "derived",
        }
    }

    fn states(&self) -> States {
        let settlement = self.settlement.as_ref();
        let payments = settlement.map(|settlement| {
            let asked = settlement.statement().instructions.iter();
            asked.map(|it| payment_state(settlement, it)).collect()
        });
        (self.state(), payments.unwrap_or_default())
    }

    /// What `me` is to do about it. Of one that a later statement takes up (`superseded`) nothing is to be
    /// paid any more; what was paid of it is still to be confirmed.
    fn due(&self, me: BrandId, superseded: bool) -> Due {
        let mut due = Due::default();
        let Some(settlement) = &self.settlement else { return due };
        for it in &settlement.statement().instructions {
            let state = payment_state(settlement, it);
            // an own entry that is on its way is the word that is waited for
            let said = |step: PaymentStep| self.payments.contains_key(&(step, it.payer, it.payee));
            let pays = it.payer == me && state == "asked" && !superseded;
            if pays && !said(PaymentStep::Settled) {
                due.to_pay = due.to_pay.saturating_add(1);
            }
            let is_paid = state == "settled" || state == "asked" && !superseded;
            if it.payee == me && is_paid && !said(PaymentStep::Confirmed) {
                due.to_confirm = due.to_confirm.saturating_add(1);
            }
        }
        // before all agree nothing is to be paid
        if due.is_none() || self.state() == "agreed" { due } else { Due::default() }
    }
}

impl Clearing {
    /// The cut-off of the newest statement: what it asks for takes the place of what earlier ones do.
    fn newest_statement(&self) -> Option<Timestamp> {
        let mut newest = self.cycles.iter().rev();
        newest.find(|(_, cycle)| cycle.settlement.is_some()).map(|(cut_off, _)| *cut_off)
    }

    /// Known cut-offs, the newest first: at most so many before one.
    #[must_use]
    pub fn list(&self, before: Option<Timestamp>, limit: usize) -> Vec<ClearingView> {
        let newest = self.newest_statement();
        let cycles = self.cycles.iter().rev();
        let earlier = cycles.filter(|(cut_off, _)| before.is_none_or(|before| **cut_off < before));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let view = |(cut_off, cycle): (&Timestamp, &Cycle)| {
            let superseded = newest.is_some_and(|newest| *cut_off < newest);
            let statement = cycle.settlement.as_ref().map(Settlement::statement);
            let due = cycle.due(self.me, superseded);
            ClearingView {
                cut_off_ms: cut_off.unix_ms(),
                cut_off: cut_off_text(cut_off.unix_ms()),
                state: cycle.state().to_owned(),
                superseded,
                closed: count(cycle.closings.len()),
                agreed: count(cycle.agreed().count()),
                net_micro_fen: statement
                    .and_then(|it| it.position(self.me))
                    .map(|net| net.micro_fen()),
                payments: count(statement.map_or(0, |it| it.instructions.len())),
                to_pay: due.to_pay,
                to_confirm: due.to_confirm,
            }
        };
        earlier.take(limit).map(view).collect()
    }

    fn due_by_cut_off(&self) -> impl Iterator<Item = (Timestamp, Due)> {
        let newest = self.newest_statement();
        let due = self.cycles.iter().map(move |(cut_off, cycle)| {
            let superseded = newest.is_some_and(|newest| *cut_off < newest);
            (*cut_off, cycle.due(self.me, superseded))
        });
        due.filter(|(_, due)| !due.is_none())
    }

    /// All payments that wait for a word of this brand.
    #[must_use]
    pub fn payments_due(&self) -> Due {
        self.due_by_cut_off().fold(Due::default(), |sum, (_, due)| Due {
            to_pay: sum.to_pay.saturating_add(due.to_pay),
            to_confirm: sum.to_confirm.saturating_add(due.to_confirm),
        })
    }

    /// The same, for the operator: as long as it is so.
    #[must_use]
    pub fn payment_alerts(&self) -> Vec<String> {
        let words = self.due_by_cut_off().map(|(cut_off, due)| {
            let (at, ms) = (cut_off_text(cut_off.unix_ms()), cut_off.unix_ms());
            let Due { to_pay, to_confirm } = due;
            format!(
                "cut-off {at}: its statement is agreed, payments to make: {to_pay}, to confirm: {to_confirm}; see \
                 `coalition clearing show --cut-off {ms}` / 清算截止 {at}：对账单已各方一致，待付款 {to_pay} 笔，待确认到账 \
                 {to_confirm} 笔；见 coalition clearing show --cut-off {ms}"
            )
        });
        words.collect()
    }

    /// Something may have changed that is told of.
    pub const fn note_change(&mut self) {
        self.told.is_old = true;
    }

    /// What has changed since this was last asked; from the first time on.
    pub fn take_changed(&mut self) -> Vec<Change> {
        let is_old = std::mem::take(&mut self.told.is_old);
        if self.told.known.is_some() && !is_old {
            return Vec::new();
        }
        let newest = self.cycles.iter().rev().take(TOLD_MAX);
        let now: BTreeMap<Timestamp, States> =
            newest.map(|(cut_off, cycle)| (*cut_off, cycle.states())).collect();
        let changed = self.told.known.as_ref().map(|known| self.changes(known, &now));
        self.told.known = Some(now);
        changed.unwrap_or_default()
    }

    fn changes(
        &self,
        known: &BTreeMap<Timestamp, States>,
        now: &BTreeMap<Timestamp, States>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (cut_off, (state, payments)) in now {
            let cut_off = *cut_off;
            let before = known.get(&cut_off);
            // of the last step both are told: the payment, then what it completes
            let settlement = self.cycles.get(&cut_off).and_then(|cycle| cycle.settlement.as_ref());
            let asked = settlement.map(|it| it.statement().instructions.as_slice());
            for (place, (it, state)) in asked.unwrap_or_default().iter().zip(payments).enumerate() {
                let told = before.and_then(|(_, told)| told.get(place));
                if told.copied().unwrap_or("asked") != *state {
                    let (payer, payee) = (it.payer, it.payee);
                    changes.push(Change::Payment { cut_off, payer, payee, state });
                }
            }
            if before.is_none_or(|(told, _)| told != state) {
                changes.push(Change::Statement { cut_off, state });
            }
        }
        changes
    }
}
