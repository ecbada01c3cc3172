//! A statement on its way from derived to discharged: who agrees, who says it paid, who confirms.
//!
//! Everything here comes from certified public entries, so that every node and the audit arrive at the
//! same. Nothing short of all confirmations discharges anything: until then bilateral debts stand,
//! whatever was paid. What was confirmed in vain is not lost: the next statement counts it.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::absent::Absent;
use super::statement::{Instruction, Statement};
use crate::ids::{BrandId, StatementHash};
use crate::log::settlement::{Discharge, Payment};
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards, Upheld};

/// Why a payment is none of this statement's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// Of another cut-off, or of another statement for this one.
    #[error("it names another statement than the one that follows from the closings")]
    OtherStatement,
    /// The statement asks no such payment of these two, or at another value.
    #[error("the statement asks {payer} for no such payment to {payee}")]
    NotAsked {
        /// Who would pay.
        payer: BrandId,
        /// Who would be paid.
        payee: BrandId,
    },
    /// It was confirmed before.
    #[error("the payment of {payer} to {payee} was confirmed before")]
    Again {
        /// Who paid.
        payer: BrandId,
        /// Who was paid.
        payee: BrandId,
    },
}

/// One statement with what has been entered about it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Settlement {
    #[n(0)]
    statement: Statement,
    #[n(1)]
    hash: StatementHash,
    #[n(2)]
    agreed: BTreeSet<BrandId>,
    #[n(3)]
    absent: BTreeSet<BrandId>,
    #[n(4)]
    settled: BTreeMap<(BrandId, BrandId), Payment>,
    #[n(5)]
    confirmed: BTreeMap<(BrandId, BrandId), Payment>,
}

impl Settlement {
    /// A statement of which nothing has been said yet. Those whose logs have ended say nothing of it.
    #[must_use]
    pub fn new(statement: Statement, absent: &Absent) -> Self {
        let hash = statement.hash();
        let (agreed, absent) = (BTreeSet::new(), absent.brands());
        let (settled, confirmed) = (BTreeMap::new(), BTreeMap::new());
        Self { statement, hash, agreed, absent, settled, confirmed }
    }

    /// Logs that have ended since, it may be: their brands need not enter the statement any more.
    pub fn ended(&mut self, absent: &Absent) {
        self.absent.extend(absent.brands());
    }

    /// Whether every brand that it counts, and whose log has not ended, has entered it.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        let mut brands = self.statement.positions.iter().map(|position| position.brand);
        brands.all(|brand| self.agreed.contains(&brand) || self.absent.contains(&brand))
    }

    /// The statement.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }
    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> StatementHash {
        self.hash
    }
    /// What the payer has stated of one payment.
    #[must_use]
    pub fn settled(&self, payer: BrandId, payee: BrandId) -> Option<&Payment> {
        self.settled.get(&(payer, payee))
    }
    /// What the payee has confirmed of one payment.
    #[must_use]
    pub fn confirmed(&self, payer: BrandId, payee: BrandId) -> Option<&Payment> {
        self.confirmed.get(&(payer, payee))
    }

    /// A brand has entered a statement for this cut-off; says whether it is the same.
    pub fn agree(&mut self, brand: BrandId, statement: StatementHash) -> bool {
        let same = statement == self.hash;
        if same {
            self.agreed.insert(brand);
        }
        same
    }

    /// The payment that the statement asks of one brand to another.
    #[must_use]
    pub fn asked(&self, payer: BrandId, payee: BrandId) -> Option<&Instruction> {
        self.statement.instructions.iter().find(|it| (it.payer, it.payee) == (payer, payee))
    }

    /// The payer states a payment. Saying it again changes nothing.
    ///
    /// # Errors
    /// When the statement asks for no such payment.
    pub fn settle(&mut self, payment: &Payment) -> Result<(), PaymentError> {
        self.check(payment)?;
        self.settled.entry((payment.payer, payment.payee)).or_insert_with(|| payment.clone());
        Ok(())
    }

    /// The payee confirms a payment.
    ///
    /// # Errors
    /// When the statement asks for no such payment, or it was confirmed before: the header has added
    /// it up twice then.
    pub fn confirm(&mut self, payment: &Payment) -> Result<(), PaymentError> {
        self.check(payment)?;
        let (payer, payee) = (payment.payer, payment.payee);
        if self.confirmed.contains_key(&(payer, payee)) {
            return Err(PaymentError::Again { payer, payee });
        }
        self.confirmed.insert((payer, payee), payment.clone());
        Ok(())
    }

    fn check(&self, payment: &Payment) -> Result<(), PaymentError> {
        let (payer, payee) = (payment.payer, payment.payee);
        if (payment.cut_off, payment.statement) != (self.statement.cut_off, self.hash) {
            return Err(PaymentError::OtherStatement);
        }
        let asked = self.asked(payer, payee).is_some_and(|it| it.value == payment.value);
        if asked { Ok(()) } else { Err(PaymentError::NotAsked { payer, payee }) }
    }

    /// Whether every brand has entered this statement and every payee has confirmed every payment of
    /// it: then, and not before, it discharges what it states.
    #[must_use]
    pub fn is_discharged(&self) -> bool {
        self.is_discharged_under::<Upheld>()
    }

    /// The same, under these guards.
    #[must_use]
    pub fn is_discharged_under<G: Guards>(&self) -> bool {
        let agreed = self.is_agreed();
        let confirmed = |it: &Instruction| self.confirmed.contains_key(&(it.payer, it.payee));
        let paid = self.statement.instructions.iter().all(confirmed);
        G::allow(Guard::StatementAgreed, agreed) && G::allow(Guard::PaymentsConfirmed, paid)
    }

    /// What one brand then grants each other: its payment to whom, and from whom, makes no difference,
    /// all pairs' totals at the cut-off are netted into the payments. Nothing, when it is not counted.
    #[must_use]
    pub fn discharges(&self, brand: BrandId) -> BTreeMap<BrandId, Discharge> {
        let statement = &self.statement;
        let counted = statement.position(brand).map(|_| statement.positions.iter());
        let others = counted.into_iter().flatten().map(|it| it.brand).filter(|it| *it != brand);
        others
            .map(|other| {
                let sent = statement.sent(brand, other);
                let received = statement.sent(other, brand);
                (other, Discharge { cut_off: statement.cut_off, sent, received })
            })
            .collect()
    }

    /// The cut-off.
    #[must_use]
    pub const fn cut_off(&self) -> Timestamp {
        self.statement.cut_off
    }
}
