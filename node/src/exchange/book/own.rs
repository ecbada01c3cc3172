//! Own blocks: what is built need not be submitted again, what is final stands; and blocks that come back from
//! a former life of the node.

use std::collections::BTreeSet;

use protocol::exchange::{Exchange, Payload, Return, ReturnReason};
use protocol::ids::Height;
use protocol::log::block::PublicEntry;
use protocol::time::Timestamp;
use protocol::witness::build::{OwnBlock, SentPayload};

use super::{Book, BookError, BookedExchange, ExchangeState, FormerExchange};
use crate::exchange::points::{PointsError, PointsLedger};
use crate::exchange::received::Place;
use crate::exchange::record::{Owned, Requested, Submission};

impl Book {
    /// What was submitted is in a block that has been built: it need not be submitted again.
    pub fn built(&mut self, block: &OwnBlock) {
        // a block built anew takes what the first one took, and nothing equal that came since
        if block.reference().height <= self.built {
            return;
        }
        self.built = block.reference().height;
        self.taken(block);
    }

    /// What is in a block that came back need not be submitted again.
    pub fn rebuilt(&mut self, block: &OwnBlock) {
        self.taken(block);
    }

    fn taken(&mut self, block: &OwnBlock) {
        // a block has its payloads by counterparty, what waits is in the order in which it came: one
        // pass over what waits, whatever the number
        let mut public = block.public();
        let mut exchanges = BTreeSet::new();
        let mut others = Vec::new();
        for sent in block.payloads() {
            match &sent.payload {
                Payload::Exchange(exchange) => {
                    exchanges.insert(exchange.request);
                }
                _ => others.push((sent.to, &sent.payload)),
            }
        }
        self.waiting.retain(|waits| match waits {
            Submission::Public(entry) => !take_one(&mut public, |one| one == entry),
            Submission::Sealed(_, Payload::Exchange(exchange)) => {
                !exchanges.remove(&exchange.request)
            }
            Submission::Sealed(to, payload) => {
                !take_one(&mut others, |(other, one)| other == to && *one == payload)
            }
        });
    }

    /// An own block, made at a time, is final: its exchanges stand and may come back until another; the
    /// points held for them, and for what goes back, are gone. Gives the exchanges that nobody asked for in
    /// this life of the node: whose they are is for the vault to say ([`Owned`]).
    ///
    /// # Errors
    /// When points are not where they should be; the rest of the block is entered all the same.
    /// [`BookError::Cold`] when the store cannot say what goes back: then the node must not go on.
    pub fn written(
        &mut self,
        block: &OwnBlock,
        (at, until): (Timestamp, Timestamp),
        points: &mut PointsLedger,
    ) -> (Vec<FormerExchange>, Result<(), BookError>) {
        let height = block.reference().height;
        let is_former = height > self.built;
        let mut former = Vec::new();
        let mut wrong = None;
        for sent in block.payloads() {
            self.legs.certified(sent.index, height, until, sent.to, sent.payload.clone());
            if let Payload::Return(back) = &sent.payload {
                let place = (sent.to, back.original);
                if is_former {
                    match self.returned_before(place, back, points) {
                        Ok(()) => {}
                        Err(error @ BookError::Cold(_)) => return (former, Err(error)),
                        Err(error) => wrong = Some(error),
                    }
                } else if back.reason == ReturnReason::Member {
                    // it is in memory as long as something of it is on its way
                    let member = self.received.hot(place).and_then(|known| known.member);
                    let sent = member.map(|member| points.send_back(member, back.points));
                    wrong = sent.and_then(Result::err).map(BookError::from).or(wrong);
                    self.received.went_back(place);
                }
            }
            let Payload::Exchange(exchange) = &sent.payload else { continue };
            if is_former && !self.exchanges.contains_key(&exchange.request) {
                former.push(self.came_back(sent, exchange, (height, at)));
                continue;
            }
            let held = self.exchanges.get_mut(&exchange.request);
            let Some(booked) = held.filter(|known| known.state == ExchangeState::Held) else {
                wrong = Some(BookError::NotHeld(sent.index));
                continue;
            };
            let burned = booked.requested.member.ok_or(PointsError::TooFew);
            let burned = burned.and_then(|member| points.burn(member, exchange.sent));
            if let Err(error) = burned {
                wrong = Some(error.into());
                continue;
            }
            booked.state = ExchangeState::Final;
            booked.leaf = Some(sent.index);
            booked.height = Some(height);
            booked.final_at = Some(at);
            self.fresh.entry(height).or_default().push(exchange.request);
            self.counts.held = self.counts.held.saturating_sub(1);
            self.counts.r#final += 1;
        }
        for entry in block.public() {
            if let PublicEntry::DisputeResolved(it) = entry
                && it.accused == block.reference().log
            {
                self.offered.entry(it.accuser).or_default().push(*it);
            }
        }
        // a block that was open when another's log ended
        for log in self.ended.keys().copied().collect::<Vec<_>>() {
            wrong = self.void_after_end(log, at, points).err().or(wrong);
        }
        (former, wrong.map_or(Ok(()), Err))
    }

    /// An exchange of a former life: it stands, and whose it was is not known yet.
    fn came_back(
        &mut self,
        sent: &SentPayload,
        exchange: &Exchange,
        (height, at): (Height, Timestamp),
    ) -> FormerExchange {
        let (id, leaf, to, handle) = (exchange.request, sent.index, sent.to, exchange.handle);
        let requested = Requested {
            id,
            request: None,
            member: None,
            to,
            sent: exchange.sent,
            received: exchange.received,
            owed: exchange.owed,
            at,
            handle,
        };
        self.take_up_exchange(BookedExchange {
            state: ExchangeState::Final,
            leaf: Some(leaf),
            height: Some(height),
            final_at: Some(at),
            ..BookedExchange::held(requested)
        });
        self.fresh.entry(height).or_default().push(id);
        self.counts.r#final += 1;
        FormerExchange { leaf, to, handle }
    }

    /// Whose an exchange of a former life was: the points are gone from that balance.
    pub(super) fn own(
        &mut self,
        owned: &Owned,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let booked = self.at(owned.leaf).ok_or(BookError::NotHeld(owned.leaf))?;
        // what is void meanwhile never left
        if booked.state != ExchangeState::Void {
            points.burned_before(owned.member, booked.requested.sent)?;
        }
        booked.requested.member = Some(owned.member);
        Ok(())
    }

    /// What a former life sent back: of an exchange that is known here, or comes in again later.
    pub(super) fn returned_before(
        &mut self,
        place: Place,
        back: &Return,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        self.received.recall(place)?;
        let Some(received) = self.received.hot(place).copied() else {
            self.former_returns.get_or_default(place).push(back.clone());
            return Ok(());
        };
        if back.reason != ReturnReason::Member {
            return Ok(());
        }
        self.received.sent_back_before(place, back)?;
        if let Some(member) = received.member {
            points.sent_back_before(member, back.points)?;
        }
        Ok(())
    }
}

/// Takes the first that fits out of a list; says whether there was one.
fn take_one<T>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool) -> bool {
    let place = list.iter().position(fits);
    place.is_some_and(|place| {
        list.remove(place);
        true
    })
}
