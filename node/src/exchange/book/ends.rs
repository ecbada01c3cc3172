//! What never counts: exchanges that a log which has ended never recognised, and leaves that both sides of a
//! dispute agreed to be void.

use protocol::amount::Value;
use protocol::exchange::{LegState, Payload};
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::log::resolution::DisputeResolved;
use protocol::time::Timestamp;

use super::{Book, BookError, ExchangeState, LinkAnswer};
use crate::exchange::points::PointsLedger;
use crate::exchange::record::Ended;

impl Book {
    /// The last own block that a log recognised which has ended.
    #[must_use]
    pub fn ended(&self, log: BrandId) -> Option<Height> {
        self.ended.get(&log).copied()
    }

    /// What exchanges were worth that an ended log never recognised.
    #[must_use]
    pub fn void_to(&self, log: BrandId) -> Value {
        self.void.get(&log).copied().unwrap_or_default()
    }

    /// What was sent back to an ended log after the last own block that it recognised.
    #[must_use]
    pub fn returned_late_to(&self, log: BrandId) -> Value {
        let Some(read) = self.ended(log) else { return Value::ZERO };
        let late = self.legs.iter().filter(|(_, leg)| {
            leg.to == log && leg.height > read && matches!(leg.payload, Payload::Return(_))
        });
        let values = late.map(|(_, leg)| leg.payload.value());
        values.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap_or(Value::MAX))
    }

    /// Link requests that a log's end leaves unanswered for ever.
    #[must_use]
    pub fn links_void_by(&self, it: &Ended) -> Vec<LinkAnswer> {
        let open = self.legs.iter().filter(|(_, leg)| {
            leg.to == it.log && leg.height > it.read && leg.state == LegState::Final
        });
        let answers = open.filter_map(|(_, leg)| match &leg.payload {
            Payload::Link(link) => {
                Some(LinkAnswer { brand: it.log, handle: link.handle, accepted: false })
            }
            _ => None,
        });
        answers.collect()
    }

    /// What an ended log never recognised: exchanges and link requests are void. Returns are not: they
    /// lower what it owes.
    pub(super) fn void_after_end(
        &mut self,
        log: BrandId,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let Some(read) = self.ended.get(&log).copied() else { return Ok(()) };
        let void = self
            .legs
            .void(log, |_, leg| leg.height > read && !matches!(leg.payload, Payload::Return(_)));
        let worth = void.iter().map(|(_, payload)| payload.value());
        let sum = self.void.entry(log).or_default();
        *sum = worth.fold(*sum, |sum, value| sum.plus(value).unwrap_or(Value::MAX));
        self.give_back_void(void, at, points)
    }

    /// The points of exchanges that never count are their members' again: what had not come back.
    fn give_back_void(
        &mut self,
        void: Vec<(LeafIndex, Payload)>,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let mut wrong = None;
        for (leaf, _) in void {
            let id = self.id_at(leaf);
            let Some(booked) = id.and_then(|id| self.exchanges.get_mut(&id)) else { continue };
            let left = booked.requested.sent.saturating_minus(booked.points_back);
            // whose they were may not be known after a rebuild: then the brand keeps them
            let restored = booked.requested.member.map(|member| points.restore(member, left));
            if let Some(Err(error)) = restored {
                wrong = Some(error.into());
                continue;
            }
            match booked.state {
                ExchangeState::Final => self.counts.r#final = self.counts.r#final.saturating_sub(1),
                ExchangeState::Acknowledged => {
                    self.counts.acknowledged = self.counts.acknowledged.saturating_sub(1);
                }
                _ => {}
            }
            booked.points_back = booked.requested.sent;
            booked.answered_at = Some(at);
            booked.state = ExchangeState::Void;
            self.counts.void += 1;
        }
        wrong.map_or(Ok(()), Err)
    }

    /// The other side has agreed to what this brand offered as the end of a dispute: its leaves that do
    /// not stand are void. Gives the link requests among them.
    pub(super) fn resolve(
        &mut self,
        me: BrandId,
        log: BrandId,
        it: &DisputeResolved,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<Vec<LinkAnswer>, BookError> {
        let offered = self.offered.get(&log).is_some_and(|all| all.contains(it));
        if it.sides() != (me, log) || !offered {
            return Ok(Vec::new());
        }
        let void = self.legs.void(log, |index, leg| {
            (it.began..=it.last).contains(&leg.height) && !it.counts(index)
        });
        let links = void.iter().filter_map(|(_, payload)| match payload {
            Payload::Link(link) => {
                Some(LinkAnswer { brand: log, handle: link.handle, accepted: false })
            }
            _ => None,
        });
        let links = links.collect();
        self.give_back_void(void, at, points)?;
        Ok(links)
    }
}
