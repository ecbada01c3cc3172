//! How a dispute ends: the accused offers terms in its own log, the accuser agrees in its own.

use super::Ledger;
use crate::amount::Value;
use crate::ids::BrandId;
use crate::log::block::PublicEntry;
use crate::log::resolution::{DisputeResolved, ResolutionError};
use crate::witness::cases::Kept;
use crate::witness::dispute::{AgreeError, Agreed};
use crate::witness::guards::Guards;
use crate::witness::record::Record;
use crate::witness::state::Outbox;

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
        let witness = self.witnesses.get_mut(&log).ok_or(AgreeError::NoDispute)?;
        let agreed = witness.agree()?;
        out.records.push(Record::Kept(Box::new(Kept::Agreed(log))));
        Ok(agreed)
    }
}
