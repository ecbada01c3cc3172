//! How a dispute ends: the accused offers terms in its own log, the accuser agrees in its own.

use super::Ledger;
use crate::amount::{AmountError, Value};
use crate::ids::{BrandId, Height};
use crate::log::block::PublicEntry;
use crate::log::resolution::{DisputeResolved, ResolutionError};
use crate::witness::cases::Kept;
use crate::witness::dispute::{AgreeError, Agreed, Dispute};
use crate::witness::guards::Guards;
use crate::witness::record::Record;
use crate::witness::state::{FinalBlock, Outbox};

/// What this brand's own certified log says it has agreed to, as accuser.
#[derive(Debug, Default)]
pub(super) struct Agreements {
    // what it gave back by them: to whom, in which block
    given: Vec<(BrandId, Height, Value)>,
    // what this node has not acted upon: it was lost, and has its log back from others
    open: Vec<DisputeResolved>,
}

impl Agreements {
    /// For a snapshot: what was given back, and what has not been acted upon.
    pub(super) fn state(&self) -> (Vec<(BrandId, Height, Value)>, Vec<DisputeResolved>) {
        (self.given.clone(), self.open.clone())
    }

    /// Takes that up again.
    pub(super) fn take_up(
        &mut self,
        given: Vec<(BrandId, Height, Value)>,
        open: Vec<DisputeResolved>,
    ) {
        (self.given, self.open) = (given, open);
    }
}

/// Why this brand's offer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is not about this brand's log and another brand of its constitution.
    #[error("an offer is about this brand's own log and another brand of its constitution")]
    Sides,
    /// It does not add up.
    #[error(transparent)]
    Unsound(#[from] ResolutionError),
    /// A block is open: it would be the next one, and is not considered.
    #[error("a block of this brand is not final yet; try again in a moment")]
    OpenBlock,
    /// It considers other blocks than all there are.
    #[error("it must consider every block of this brand's log up to the last")]
    OtherBlocks,
    /// Less than third parties have seen is owed.
    #[error("the totals agreed on are below what the log has shown; what is not owed is void")]
    BelowShown,
    /// More than the limits allow.
    #[error("the totals agreed on would take this brand over a credit limit")]
    CreditLimit,
}

impl<G: Guards> Ledger<G> {
    /// Offers, in the next block of the own log, what a dispute about it is to come to. Gives the entry,
    /// which is submitted.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn offer_resolution(
        &mut self,
        resolution: DisputeResolved,
    ) -> Result<PublicEntry, OfferError> {
        resolution.check()?;
        let own = self.witnesses.get(&self.me).ok_or(OfferError::Sides)?;
        let constitution = self.constitution();
        let (accused, accuser) = resolution.sides();
        let brand = constitution.brand(self.me).ok_or(OfferError::Sides)?;
        if accused != self.me || !constitution.committee().contains(accuser) {
            return Err(OfferError::Sides);
        }
        if self.writer.open_block().is_some() {
            return Err(OfferError::OpenBlock);
        }
        let tip = own.tip();
        if (resolution.last, resolution.block) != (tip.height, tip.header) {
            return Err(OfferError::OtherBlocks);
        }
        let shown = tip.column(accuser).map_or(Value::ZERO, |column| column.sent);
        let agreed = resolution.total().map_err(ResolutionError::from)?;
        let agreed = agreed.ceiling_to(constitution.total_step()).map_err(ResolutionError::from)?;
        if agreed < shown {
            return Err(OfferError::BelowShown);
        }
        // the log could never go on if its own witnesses had to refuse it
        if agreed.saturating_minus(shown) > brand.pair_limit {
            return Err(OfferError::CreditLimit);
        }
        let entry = PublicEntry::DisputeResolved(Box::new(resolution));
        self.writer.submit_together(vec![entry.clone()]);
        Ok(entry)
    }

    /// This brand agrees to what a log offers as the end of its dispute. Gives the terms and what is now
    /// to be credited or sent back; the entry with the terms is to be submitted by the caller, and is in
    /// the own log with the block that recognises that log again.
    ///
    /// # Errors
    /// See [`AgreeError`].
    pub fn agree(&mut self, log: BrandId, out: &mut Outbox) -> Result<Agreed, AgreeError> {
        // what is closed out by then, or about to be, counts from before the dispute
        if self.is_closed(log) {
            return Err(AgreeError::Ended);
        }
        let agreed = self.agree_with(log)?;
        out.records.push(Record::Kept(Box::new(Kept::Agreed(log))));
        Ok(agreed)
    }

    /// Takes note of the agreements in final blocks of the own log.
    pub(super) fn note_agreements(&mut self, finals: &[FinalBlock]) {
        let me = self.me;
        for block in finals.iter().filter(|block| block.block.log == me) {
            for (_, entry) in &block.public {
                if let PublicEntry::DisputeResolved(it) = entry
                    && it.accuser == me
                {
                    self.agreements.given.push((it.accused, block.block.height, it.void));
                    self.agreements.open.push((**it).clone());
                }
            }
        }
    }

    /// What this brand gave back to a log by resolutions in own blocks above a height.
    pub(super) fn given_above(&self, log: BrandId, height: Height) -> Result<Value, AmountError> {
        let given = self.agreements.given.iter();
        let mut given = given.filter(|(to, at, _)| *to == log && *at > height);
        given.try_fold(Value::ZERO, |sum, (.., void)| sum.plus(*void))
    }

    /// A dispute whose terms are in the own certified log was resolved in a former life of this node: it is
    /// resolved again, at the block with the offer, and what came of it follows.
    pub(super) fn agree_again(&mut self, out: &mut Outbox) {
        let agreements = std::mem::take(&mut self.agreements.open);
        for terms in agreements {
            let witness = self.witnesses.get(&terms.accused);
            let offer = witness.and_then(|it| it.dispute()).and_then(Dispute::offer);
            if offer.is_some_and(|offer| offer.resolution == terms) {
                // what the own log says is agreed to was found to stand when it was
                if let Ok(agreed) = self.agree_with(terms.accused) {
                    out.records.push(Record::Kept(Box::new(Kept::Agreed(terms.accused))));
                    out.finals.extend(agreed.blocks);
                    continue;
                }
            }
            // the offer is in the block after the last one considered
            let witness = self.witnesses.get(&terms.accused);
            if witness.is_some_and(|witness| witness.tip().height <= terms.last) {
                self.agreements.open.push(terms);
            }
        }
    }

    /// On replay: forgets agreements that were acted upon, or that there is nothing to do about.
    pub(super) fn forget_settled(&mut self) {
        let witnesses = &self.witnesses;
        self.agreements.open.retain(|terms| {
            let witness = witnesses.get(&terms.accused);
            let offer = witness.and_then(|it| it.dispute()).and_then(Dispute::offer);
            offer.is_some_and(|offer| offer.resolution == *terms)
                || witness.is_some_and(|it| it.tip().height <= terms.last)
        });
    }

    /// The same, now or on replay.
    pub(super) fn agree_with(&mut self, log: BrandId) -> Result<Agreed, AgreeError> {
        self.witnesses.get_mut(&log).ok_or(AgreeError::NoDispute)?.agree()
    }
}
