//! Final blocks of other logs: what they credit, what comes back with them, what they acknowledge.

use protocol::amount::Points;
use protocol::exchange::{Exchange, IncomingLeg, LegState, Payload, ReturnReason};
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::PublicEntry;
use protocol::time::Timestamp;
use protocol::witness::state::FinalBlock;

use super::{Book, BookError, ExchangeState, LinkAnswer, Terms};
use crate::exchange::points::PointsLedger;
use crate::exchange::received::{Place, Received};
use crate::exchange::record::Applied;
use crate::vault::MemberId;

impl Book {
    /// An exchange that a former life had decided about comes in again: what the own log does not send
    /// back was credited.
    fn credited_before(
        &mut self,
        place: Place,
        (exchange, owner): (&Exchange, Option<MemberId>),
        terms: Terms,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let back = self.former_returns.remove(&place).unwrap_or_default();
        if back.iter().any(|back| back.reason != ReturnReason::Member) {
            self.counts.sent_back += 1;
            return Ok(());
        }
        self.counts.credited += 1;
        let leg = IncomingLeg::new(exchange, terms.point_value, terms.until);
        self.received.credited(place, Received::new(owner, leg));
        if let Some(member) = owner {
            points.credit(member, exchange.received)?;
        }
        back.iter().try_for_each(|back| self.returned_before(place, back, points))
    }

    /// A final block of another log, with what was decided about it: credits, what comes back from it,
    /// what it acknowledges. Gives the links it answers.
    ///
    /// # Errors
    /// When it returns what was never sent, or points leave their range; the rest of the block is
    /// entered all the same. [`BookError::Cold`] when the store cannot say what comes back: then the block is
    /// not entered whole, and the node must not go on.
    pub fn apply(
        &mut self,
        me: BrandId,
        block: &FinalBlock,
        applied: &Applied,
        terms: Terms,
        points: &mut PointsLedger,
    ) -> Result<Vec<LinkAnswer>, BookError> {
        let (log, height) = (block.block.log, block.block.height);
        let mut answers = Vec::new();
        let mut wrong = None;
        let payloads = block.payloads.as_deref().unwrap_or_default();
        for (_, entry) in &block.public {
            if let PublicEntry::DisputeResolved(it) = entry {
                match self.resolve(me, log, it, applied.at, points) {
                    Ok(links) => answers.extend(links),
                    Err(error) => wrong = Some(error),
                }
            }
        }
        let former = applied.former.unwrap_or(false);
        for (leaf, payload) in payloads.iter().filter(|_| former) {
            let Payload::Exchange(exchange) = payload else { continue };
            let credit = applied.credits.binary_search_by_key(leaf, |credit| credit.leaf);
            let owner = credit.ok().and_then(|at| applied.credits.get(at)).map(|it| it.member);
            let entered = self.credited_before((log, *leaf), (exchange, owner), terms, points);
            match entered {
                Ok(()) => {}
                Err(error @ BookError::Cold(_)) => return Err(error),
                Err(error) => wrong = Some(error),
            }
        }
        for credit in applied.credits.iter().filter(|_| !former) {
            match points.credit(credit.member, credit.points) {
                Ok(()) => self.counts.credited += 1,
                Err(error) => wrong = Some(error.into()),
            }
            let place = payloads.partition_point(|(leaf, _)| *leaf < credit.leaf);
            if let Some((_, Payload::Exchange(exchange))) = payloads.get(place) {
                let leg = IncomingLeg::new(exchange, terms.point_value, terms.until);
                let received = Received::new(Some(credit.member), leg);
                self.received.credited((log, credit.leaf), received);
            }
        }
        let exchanges = payloads.iter().filter(|(_, p)| matches!(p, Payload::Exchange(_))).count();
        let beside = if former { exchanges } else { applied.credits.len() };
        self.counts.sent_back += u64::try_from(exchanges.saturating_sub(beside)).unwrap_or(0);
        for (_, payload) in payloads {
            let Payload::Return(back) = payload else { continue };
            self.recall(log, back.original)?;
            let (taken, whole) = match self.legs.returned(log, back, block.header.time) {
                Err(error) => {
                    wrong = Some(BookError::Return { log, height, error });
                    continue;
                }
                Ok(taken) => {
                    if let Payload::Link(link) = &taken.leg.payload {
                        let handle = link.handle;
                        answers.push(LinkAnswer { brand: log, handle, accepted: false });
                    }
                    (taken.points, taken.whole)
                }
            };
            wrong = self.give_back(back.original, taken, points).err().or(wrong);
            if whole {
                wrong = self.end(back.original, applied.at, Some(back.reason)).err().or(wrong);
            }
        }
        // what a block in dispute recognises may come with returns that cannot be read
        let recognised = (block.header.column(me))
            .filter(|_| block.payloads.is_ok())
            .map(|column| column.recognised.height);
        for leaf in self.legs.recognised(log, recognised.unwrap_or_default()) {
            match self.legs.leg(leaf).map(|leg| (&leg.payload, leg.state)) {
                Some((Payload::Link(link), LegState::Acknowledged)) => {
                    let handle = link.handle;
                    answers.push(LinkAnswer { brand: log, handle, accepted: true });
                }
                Some((Payload::Exchange(_), LegState::Acknowledged)) => {
                    wrong = self.end(leaf, applied.at, None).err().or(wrong);
                }
                _ => {}
            }
        }
        // what was in dispute is applied when both have agreed, after later blocks
        let last = self.applied.entry(log).or_default();
        *last = height.max(*last);
        if !payloads.is_empty() {
            let last = self.answerable.entry(log).or_default();
            *last = height.max(*last);
        }
        // of what is answered and whose window is over nothing comes back, but with what is still in dispute
        if block.payloads.is_ok() {
            drop(self.legs.settle(log, block.header.time));
        }
        wrong.map_or(Ok(answers), Err)
    }

    /// Some of what an exchange sent is its member's again.
    fn give_back(
        &mut self,
        leaf: LeafIndex,
        back: Points,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let Some(booked) = self.at(leaf) else { return Ok(()) };
        // whose they were may not be known after a rebuild: then the brand keeps them
        if let Some(member) = booked.requested.member {
            points.restore(member, back)?;
        }
        booked.points_back = booked.points_back.plus(back).unwrap_or(booked.points_back);
        Ok(())
    }

    fn end(
        &mut self,
        leaf: LeafIndex,
        at: Timestamp,
        returned: Option<ReturnReason>,
    ) -> Result<(), BookError> {
        let Some(id) = self.id_at(leaf) else { return Ok(()) };
        let Some(booked) = self.exchanges.get_mut(&id) else { return Ok(()) };
        match booked.state {
            ExchangeState::Final => self.counts.r#final = self.counts.r#final.saturating_sub(1),
            ExchangeState::Acknowledged => {
                self.counts.acknowledged = self.counts.acknowledged.saturating_sub(1);
            }
            ExchangeState::Held
            | ExchangeState::Returned(_)
            | ExchangeState::Withdrawn
            | ExchangeState::Void => {
                return Ok(());
            }
        }
        booked.answered_at = Some(at);
        if let Some(reason) = returned {
            booked.state = ExchangeState::Returned(reason);
            self.counts.returned += 1;
        } else {
            booked.state = ExchangeState::Acknowledged;
            self.counts.acknowledged += 1;
        }
        Ok(())
    }
}
