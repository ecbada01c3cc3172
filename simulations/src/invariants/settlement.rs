//! Clearing and settlement: one statement a cut-off, and nothing discharged but by the payees' word.

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::Value;
use protocol::clearing::Statement;
use protocol::ids::{BrandId, Height, StatementHash};
use protocol::log::block::PublicEntry;
use protocol::log::settlement::{Discharge, Payment};
use protocol::time::Timestamp;
use protocol::witness::guards::Guards;
use protocol::witness::state::FinalBlock;

use super::{Observer, Violation, ensure};
use crate::node::Node;

/// One fen in micro-fen: what is less cannot be paid.
const FEN: u64 = 1_000_000;

/// What the observer knows of money.
#[derive(Debug, Default)]
pub(super) struct Money {
    statements: BTreeMap<Timestamp, (StatementHash, Statement)>,
    // in certified blocks: who has entered which statement, who confirmed which payment
    entered: BTreeMap<(Timestamp, BrandId), StatementHash>,
    confirmed: BTreeMap<(Timestamp, BrandId, BrandId), Value>,
    // what a payee has ever confirmed of a payer, up to a height of its log
    added_up: BTreeMap<(BrandId, BrandId, Height), Value>,
    // what was really paid: payer, payee
    paid: BTreeSet<(Timestamp, BrandId, BrandId, Value)>,
    discharged: BTreeSet<Timestamp>,
}

impl Observer {
    /// Money is paid, outside.
    pub fn paid(&mut self, payment: &Payment) {
        let Payment { cut_off, payer, payee, value, .. } = payment;
        self.money.paid.insert((*cut_off, *payer, *payee, *value));
    }

    /// Cut-offs whose statement was discharged in some block.
    #[must_use]
    pub fn discharged(&self) -> usize {
        self.money.discharged.len()
    }

    /// Every honest machine derives the same statement, its positions sum to nothing, it says what was
    /// sent by the cut-off, and what its payments leave is less than can be paid.
    pub(super) fn invariant_one_statement_a_cut_off<G: Guards>(
        &mut self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let name = "one statement a cut-off";
        for settlement in node.clearing().settlements() {
            let (cut_off, hash) = (settlement.cut_off(), settlement.hash());
            if let Some((known, _)) = self.money.statements.get(&cut_off) {
                ensure(name, *known == hash, || {
                    format!("{}: {cut_off:?} is {hash:?}, elsewhere {known:?}", node.brand())
                })?;
                continue;
            }
            let statement = settlement.statement();
            self.invariant_a_statement_conserves_value(statement)?;
            self.money.statements.insert(cut_off, (hash, statement.clone()));
        }
        Ok(())
    }

    fn invariant_a_statement_conserves_value(
        &self,
        statement: &Statement,
    ) -> Result<(), Violation> {
        let name = "a statement conserves value";
        let sum: i128 = statement.positions.iter().map(|it| i128::from(it.net.micro_fen())).sum();
        ensure(name, sum == 0, || format!("positions sum to {sum}"))?;
        let carried = statement.carried();
        let left = |micro_fen: i64| micro_fen.unsigned_abs() < FEN * carried.len() as u64;
        let small = carried.iter().all(|it| left(it.net.micro_fen()));
        ensure(name, small, || format!("payments leave {carried:?}"))?;
        for block in &statement.blocks {
            let debtor = block.debtor;
            if !self.honest.contains(&debtor) {
                continue;
            }
            let (last, next) = (self.finals.get(&(debtor, block.height)), block.height.next());
            let next = next.and_then(|next| self.finals.get(&(debtor, next)));
            // what others have closed out with it is counted: of its last block, whenever that was
            let counted = |brand: BrandId| statement.blocks.iter().find(|it| it.debtor == brand);
            let has_ended = |brand: BrandId| {
                let last = counted(brand).is_some_and(|it| it.height == self.height(brand));
                last && self.is_closed_out(brand)
            };
            for creditor in statement.positions.iter().map(|it| it.brand) {
                // who has left has no column any more to compare with, and nobody opens what two such sent
                // each other
                let column = last.and_then(|(_, header)| header.column(creditor));
                if has_ended(creditor) && (column.is_none() || has_ended(debtor)) {
                    continue;
                }
                let sent = self.sent.get(&(debtor, creditor, block.height)).copied();
                let said = statement.sent(debtor, creditor);
                ensure(name, said == sent.unwrap_or_default(), || {
                    format!("{debtor} had sent {creditor} {sent:?}, the statement says {said}")
                })?;
            }
            if has_ended(debtor) {
                continue;
            }
            let before = last.is_none_or(|(_, header)| header.time <= statement.cut_off);
            let after = next.is_some_and(|(_, header)| header.time > statement.cut_off);
            ensure(name, before && after, || format!("{debtor}/{} is closed", block.height))?;
        }
        Ok(())
    }

    /// Everything that a final block says of money.
    pub(super) fn check_settlement(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        self.invariant_confirmed_is_what_was_paid(block)?;
        self.invariant_confirmations_add_up(block)?;
        self.invariant_discharged_by_all_and_every_payee(block)
    }

    /// Payments are the log's own to state or confirm, and an honest payee confirms what has arrived.
    fn invariant_confirmed_is_what_was_paid(
        &mut self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let name = "confirmed is what was paid";
        let log = block.block.log;
        for entry in self.entries_of(block).to_vec() {
            match &entry {
                PublicEntry::Statement(statement) => {
                    let key = (statement.cut_off, log);
                    self.money.entered.insert(key, statement.statement);
                }
                PublicEntry::Settled(payment) => {
                    ensure(name, payment.payer == log, || format!("{log} states {payment:?}"))?;
                }
                PublicEntry::SettlementConfirmed(payment) => {
                    let Payment { cut_off, payer, payee, value, .. } = payment;
                    ensure(name, *payee == log, || format!("{log} confirms {payment:?}"))?;
                    let arrived = self.money.paid.contains(&(*cut_off, *payer, *payee, *value));
                    ensure(name, arrived || !self.honest.contains(&log), || {
                        format!("{log} confirms {payment:?}, which nobody paid")
                    })?;
                    self.money.confirmed.insert((*cut_off, *payer, *payee), *value);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A header adds up just what its log has confirmed.
    fn invariant_confirmations_add_up(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let (log, height) = (block.block.log, block.block.height);
        let before = Height::new(height.get().saturating_sub(1));
        for column in &block.header.columns {
            let payer = column.counterparty;
            let mut sum = self.money.added_up.get(&(log, payer, before)).copied();
            for entry in self.entries_of(block) {
                if let PublicEntry::SettlementConfirmed(payment) = entry
                    && payment.payer == payer
                {
                    sum = sum.unwrap_or_default().plus(payment.value).ok();
                }
            }
            let sum = sum.unwrap_or_default();
            self.money.added_up.insert((log, payer, height), sum);
            ensure("confirmations add up", column.confirmed == sum, || {
                format!("{log}/{height} has {} of {payer}, it confirmed {sum}", column.confirmed)
            })?;
        }
        Ok(())
    }

    /// What a block discharges is what a statement says that every brand has entered and every payee
    /// has confirmed; nobody, liars included, discharges more than was sent.
    fn invariant_discharged_by_all_and_every_payee(
        &mut self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let name = "discharged by all and every payee";
        let log = block.block.log;
        for column in &block.header.columns {
            let granted = column.discharged;
            let other = column.counterparty;
            if granted == Discharge::NOTHING {
                continue;
            }
            let sent = granted.sent <= column.sent;
            ensure(name, sent && granted.received <= column.recognised.sent, || {
                format!("{log} discharges {granted:?} of {column:?}")
            })?;
            if !self.honest.contains(&log) {
                continue;
            }
            let Some((hash, statement)) = self.money.statements.get(&granted.cut_off) else {
                return ensure(name, false, || format!("{log} discharges {granted:?} of nothing"));
            };
            let entered = |brand| self.money.entered.get(&(granted.cut_off, brand)) == Some(hash);
            // whose log has ended enters nothing any more
            let mut brands = statement.positions.iter().map(|it| it.brand);
            let all = brands.all(|brand| entered(brand) || self.is_closed_out(brand));
            let confirmed =
                |payer, payee| self.money.confirmed.get(&(granted.cut_off, payer, payee)).copied();
            let mut asked = statement.instructions.iter();
            let paid = asked.all(|it| confirmed(it.payer, it.payee) == Some(it.value));
            let (to, from) = (statement.sent(log, other), statement.sent(other, log));
            let right = (granted.sent, granted.received) == (to, from);
            ensure(name, all && paid && right, || {
                format!("{log} discharges {granted:?} to {other}: entered {all}, paid {paid}")
            })?;
            self.money.discharged.insert(granted.cut_off);
        }
        Ok(())
    }
}
