//! What operators do about a dispute: the accused proposes what it comes to, the accuser agrees.
//!
//! A proposal is computed, not typed: of the own leaves in dispute those stand that have the price of
//! their constitution, or none. The other side's node checks it against what it could open itself.

use protocol::amount::Value;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::ledger::OfferError;
use protocol::log::block::{ColumnContent, PublicEntry};
use protocol::log::resolution::{DisputeResolved, runs};
use protocol::time::Timestamp;

use super::operations::internal;
use super::{Core, NodeRecord, Submission, Turn};
use crate::service::{DisputeView, ErrorKind, ProposalRequest, ServiceError};

impl Core {
    /// All disputes on record.
    #[must_use]
    pub fn dispute_views(&self) -> Vec<DisputeView> {
        self.disputes.views(self.me())
    }

    fn dispute_view(
        &self,
        accuser: BrandId,
        accused: BrandId,
    ) -> Result<DisputeView, ServiceError> {
        let mut views = self.disputes.views(self.me()).into_iter().rev();
        let sides = (accuser.to_string(), accused.to_string());
        views.find(|view| (&view.accuser, &view.accused) == (&sides.0, &sides.1)).ok_or_else(none)
    }

    /// As the accused: enters, in the next block of the own log, what the dispute of `with` is to come to.
    ///
    /// # Errors
    /// When there is no such dispute, or the terms cannot be entered now.
    pub fn propose(
        &mut self,
        with: &str,
        request: &ProposalRequest,
        turn: &mut Turn,
    ) -> Result<DisputeView, ServiceError> {
        let accuser = self.counterparty(with)?;
        let began = self.disputes.open_by(accuser, self.me()).ok_or_else(none)?;
        let terms = self.terms_of(accuser, began, request.void_all)?;
        let entry = self.ledger.offer_resolution(terms).map_err(offer_error)?;
        self.enter(NodeRecord::Submitted(Submission::Public(entry)), turn);
        self.dispute_view(accuser, self.me())
    }

    fn terms_of(
        &self,
        accuser: BrandId,
        began: Height,
        void_all: bool,
    ) -> Result<DisputeResolved, ServiceError> {
        let own = self.ledger.witness(self.me()).ok_or_else(internal)?;
        let (before, salt) = self.column_at(accuser, Height::new(began.get().saturating_sub(1)))?;
        let stands = |(index, leg): (LeafIndex, &protocol::exchange::OutgoingLeg)| {
            let block = self.published.header(leg.height)?;
            let constitution = self.ledger.constitutions().of(block.epoch)?;
            let pair = (self.me(), accuser);
            let reads = Payload::read(&leg.payload.to_bytes(), constitution, pair).is_ok();
            (reads && !void_all).then_some((index, leg.payload.value()))
        };
        let in_dispute = || {
            let legs = self.book.legs().iter();
            legs.filter(|(_, leg)| leg.to == accuser && leg.height >= began)
        };
        let counted: Vec<(LeafIndex, Value)> = in_dispute().filter_map(stands).collect();
        let is_void = |index: &LeafIndex| counted.iter().all(|(stands, _)| stands != index);
        let void_return = in_dispute()
            .any(|(index, leg)| matches!(leg.payload, Payload::Return(_)) && is_void(&index));
        if void_return {
            // the other brand's member would have neither the points it sent nor those it was to get
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "return_in_dispute",
                format!("among what is in dispute is a return to {accuser}, which cannot be void"),
                "propose without voiding all; what has the right price then stands",
            ));
        }
        let worth = counted.iter().try_fold(Value::ZERO, |sum, (_, value)| sum.plus(*value));
        let worth = worth.map_err(|_| internal())?;
        let now = self.ledger.writer().contents().get(&accuser).copied();
        let now = now.unwrap_or_else(ColumnContent::nothing);
        // where the totals claim less than what stands is worth, what stands is owed all the same
        let claimed = now.sent.minus(before.sent).unwrap_or_default();
        Ok(DisputeResolved {
            accused: self.me(),
            accuser,
            began,
            last: own.tip().height,
            block: own.tip().header,
            before,
            salt,
            stands: runs(counted.iter().map(|(index, _)| *index)),
            counted: worth,
            void: claimed.saturating_minus(worth),
            entries: now.entries,
        })
    }

    /// The exact content of an own column after a block, with the salt that it was committed with.
    pub(super) fn column_at(
        &self,
        counterparty: BrandId,
        height: Height,
    ) -> Result<(ColumnContent, [u8; 32]), ServiceError> {
        if height == Height::new(0) {
            return Ok((ColumnContent::nothing(), [0; 32]));
        }
        let too_old = || {
            ServiceError::new(
                ErrorKind::Refused,
                "block_too_old",
                format!("block {height} of this brand's log does not open any more"),
                "its sealing key was destroyed; the recovery key opens it, with the project's help",
            )
        };
        let header = self.published.header(height).ok_or_else(too_old)?;
        let contents = self.published.contents(height).ok_or_else(too_old)?;
        let last = Some((&header, header.to_leaf().1));
        let opened = self.ledger.close(header.time, last, &contents).map_err(|_| too_old())?;
        let mut columns = opened.columns.into_iter();
        let found = columns.find(|column| column.counterparty == counterparty);
        Ok(found.map_or((ColumnContent::nothing(), [0; 32]), |it| (it.content, it.salt)))
    }

    /// As the accuser: agrees to what the log of `with` last offered. What stands is credited now, and the
    /// agreement is in the own log with the block that recognises that log again.
    ///
    /// # Errors
    /// When there is nothing to agree to, or it does not add up here.
    pub fn agree(
        &mut self,
        with: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DisputeView, ServiceError> {
        let accused = self.counterparty(with)?;
        let agreed = self.ledger.agree(accused, &mut turn.out).map_err(|error| {
            ServiceError::new(
                ErrorKind::Refused,
                "dispute_not_agreed",
                error.to_string(),
                "look at the dispute; the accused brand can propose other terms",
            )
        })?;
        for block in agreed.blocks {
            self.apply(block, now, turn);
        }
        let entry = PublicEntry::DisputeResolved(Box::new(agreed.resolution));
        let submission = Submission::Public(entry);
        self.submit(submission, turn).map_err(super::submit_error)?;
        if let Err(error) = self.ledger.applied(accused, Vec::new(), true) {
            self.alert_error(&error);
        }
        self.dispute_view(self.me(), accused)
    }
}

fn none() -> ServiceError {
    ServiceError::new(
        ErrorKind::NotFound,
        "dispute_unknown",
        "there is no such dispute that is open",
        "the list of disputes says who disputes what",
    )
}

fn offer_error(error: OfferError) -> ServiceError {
    let (kind, remedy) = match &error {
        OfferError::OpenBlock => (ErrorKind::Unavailable, "repeat it in a moment"),
        OfferError::CreditLimit => (ErrorKind::Refused, "settle with the next clearing first"),
        _ => (ErrorKind::Refused, "look at the dispute and both logs' audit"),
    };
    ServiceError::new(kind, "proposal_refused", error.to_string(), remedy)
}
