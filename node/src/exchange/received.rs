//! Exchanges that came in from other brands: what was credited, what of it members have sent back, and
//! what the brand keeps because points are whole (the residue).
//!
//! What may come back, and at which amounts, is `protocol::exchange`'s; whose points they are, the
//! vault's.

use std::collections::BTreeMap;

use protocol::exchange::{IncomingLeg, Return, SendBackError};
use protocol::ids::{BrandId, LeafIndex, RequestId};
use protocol::time::Timestamp;

use super::record::SendBack;
use crate::service::ReceivedView;
use crate::vault::MemberId;

/// Where an exchange is: a leaf of another brand's log.
pub type Place = (BrandId, LeafIndex);

/// One exchange that was credited here.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Whose points; none when they were credited before this node was rebuilt, and the vault does not
    /// know to whom.
    pub member: Option<MemberId>,
    /// How much, and how much of it has gone back.
    pub leg: IncomingLeg,
}

/// All of them.
#[derive(Debug, Default)]
pub struct ReceivedExchanges {
    all: BTreeMap<Place, Received>,
    // in the order in which they were credited
    order: Vec<Place>,
    sent_back: BTreeMap<RequestId, SendBack>,
    // micro-fen, by the brand that owes it; a sum of values, each in its range
    residue: BTreeMap<BrandId, u128>,
}

impl ReceivedExchanges {
    /// An exchange was credited.
    pub fn credited(&mut self, place: Place, received: Received) {
        if self.all.insert(place, received).is_none() {
            self.order.push(place);
            self.rebook(place.0, 0, received.leg.residue().get());
        }
    }

    /// One exchange.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<&Received> {
        self.all.get(&place)
    }

    /// What was asked for under an idempotency key.
    #[must_use]
    pub fn sent_back(&self, id: RequestId) -> Option<&SendBack> {
        self.sent_back.get(&id)
    }

    /// A member sends some of an exchange back; gives what goes to the other brand.
    ///
    /// # Errors
    /// When there is no such exchange, or not so much left of it.
    pub fn send_back(&mut self, asked: &SendBack) -> Result<Return, SendBackError> {
        let left = SendBackError::Left { left: protocol::amount::Points::ZERO };
        let received = self.all.get_mut(&(asked.from, asked.leaf)).ok_or(left)?;
        let before = received.leg.residue().get();
        let back = received.leg.take_back(asked.leaf, asked.points)?;
        let after = received.leg.residue().get();
        self.rebook(asked.from, before, after);
        self.sent_back.insert(asked.id, asked.clone());
        Ok(back)
    }

    /// Some of an exchange was sent back before this node was rebuilt.
    ///
    /// # Errors
    /// When there is not so much left of it.
    pub fn sent_back_before(&mut self, place: Place, back: &Return) -> Result<(), SendBackError> {
        let left = SendBackError::Left { left: protocol::amount::Points::ZERO };
        let received = self.all.get_mut(&place).ok_or(left)?;
        let before = received.leg.residue().get();
        received.leg.take_back(back.original, back.points)?;
        let after = received.leg.residue().get();
        self.rebook(place.0, before, after);
        Ok(())
    }

    fn rebook(&mut self, brand: BrandId, before: u64, after: u64) {
        let residue = self.residue.entry(brand).or_default();
        *residue = residue.saturating_sub(u128::from(before)) + u128::from(after);
    }

    /// What the brand keeps of what each other one owes, because points are whole, in micro-fen.
    #[must_use]
    pub const fn residues(&self) -> &BTreeMap<BrandId, u128> {
        &self.residue
    }

    /// The latest, newest first; of one member if one is given.
    pub fn latest(
        &self,
        limit: usize,
        member: Option<MemberId>,
    ) -> impl Iterator<Item = ReceivedView> + '_ {
        let places = self.order.iter().rev();
        let known = places.filter_map(|place| Some((place, self.all.get(place)?)));
        known
            .filter(move |(_, received)| {
                member.is_none_or(|member| received.member == Some(member))
            })
            .take(limit)
            .map(|((brand, leaf), received)| view(*brand, *leaf, &received.leg))
    }
}

/// What people see of one.
#[must_use]
pub fn view(brand: BrandId, leaf: LeafIndex, leg: &IncomingLeg) -> ReceivedView {
    let until: Timestamp = leg.returnable_until();
    ReceivedView {
        from: brand.to_string(),
        leaf: leaf.get(),
        points_received: leg.received().get(),
        points_back: leg.points_back().get(),
        owed_micro_fen: leg.owed().get(),
        residue_micro_fen: leg.residue().get(),
        returnable_until_ms: until.unix_ms(),
    }
}
