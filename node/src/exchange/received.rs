//! Exchanges that came in from other brands: what was credited, what of it members have sent back, and
//! what the brand keeps because points are whole (the residue).
//!
//! What may come back, and at which amounts, is `protocol::exchange`'s; whose points they are, the
//! vault's. What came in leaves memory with a snapshot (see [`super::book`]) and comes into it again when its
//! member sends some of it back; its residue stays in the sum.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use protocol::exchange::{IncomingLeg, Return, SendBackError};
use protocol::ids::{BrandId, LeafIndex, RequestId};
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use super::book::LEAVING_MAX;
use super::cold::{Cold, ColdError, Leaving};
use super::index::Index;
use super::moments::Moments;
use super::numbered::Numbered;
use super::record::SendBack;
use crate::service::{ReceivedKey, ReceivedView, Rows, cut_page};
use crate::vault::MemberId;

/// Where an exchange is: a leaf of another brand's log.
pub type Place = (BrandId, LeafIndex);

/// One exchange that was credited here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Received {
    /// Whose points; none when they were credited before this node was rebuilt, and the vault does not
    /// know to whom.
    #[n(0)]
    pub member: Option<MemberId>,
    /// How much, and how much of it has gone back.
    #[n(1)]
    pub leg: IncomingLeg,
    // whether it had left memory before
    #[n(2)]
    recalled: bool,
}

impl Received {
    /// One that has just been credited.
    #[must_use]
    pub const fn new(member: Option<MemberId>, leg: IncomingLeg) -> Self {
        Self { member, leg, recalled: false }
    }

    /// Its place in the order of time, by where it is.
    #[must_use]
    pub const fn key(&self, (brand, leaf): Place) -> ReceivedKey {
        (self.leg.until(), brand, leaf)
    }
}

/// Those in memory, as they are at some moment.
#[derive(Clone, Debug, Default)]
pub struct ReceivedCopy {
    // in the order in which they were credited
    all: Numbered<(Place, Received)>,
    sent_back: SharedMap<RequestId, SendBack>,
    // keys of what was sent back, by exchange, and how many of them are in no final block
    back: SharedMap<Place, (Vec<RequestId>, u64)>,
    // how many had left memory before
    left: u64,
}

impl ReceivedCopy {
    /// Those that are in memory still when these have left, in the order in which they were credited.
    pub fn iter(&self, leaving: &Leaving) -> impl Iterator<Item = (Place, &Received)> {
        let gone = places(leaving);
        let all = self.all.iter().map(|(_, (place, received))| (*place, received));
        all.filter(move |(place, _)| !gone.contains(place))
    }

    /// What was sent back of them, in the order in which it was asked for, and whether it is in a final
    /// block: of one exchange the first are.
    pub fn all_sent_back(&self, leaving: &Leaving) -> impl Iterator<Item = (&SendBack, bool)> {
        let gone = places(leaving);
        let back = self.back.iter().filter(move |(place, _)| !gone.contains(place));
        back.flat_map(|(_, (keys, waiting))| {
            let is_final = keys.len() as u64 - *waiting;
            let asked = keys.iter().filter_map(|id| self.sent_back.get(id));
            (0..).zip(asked).map(move |(number, asked)| (asked, number < is_final))
        })
    }

    /// Adds what can leave memory: what came before the one with this number, if nothing of it is sent
    /// back, or its window is over by the own log's time and nothing is on its way.
    pub(super) fn leaving(&self, before: u64, own_log: Timestamp, leaving: &mut Leaving) {
        leaving.first_received = self.left;
        let old = self.all.iter().take_while(|(number, _)| *number < before);
        for (_, (place, received)) in old {
            if leaving.received.len() >= LEAVING_MAX {
                break;
            }
            let is_over = own_log > received.leg.until();
            let ended = match self.back.get(place) {
                None if !received.recalled => None,
                None if is_over => Some(Vec::new()),
                Some((keys, 0)) if is_over => {
                    Some(keys.iter().filter_map(|id| self.sent_back.get(id)).cloned().collect())
                }
                _ => continue,
            };
            leaving.received.push((*place, *received, ended));
        }
    }
}

fn places(leaving: &Leaving) -> BTreeSet<Place> {
    leaving.received.iter().map(|(place, ..)| *place).collect()
}

/// All of them.
#[derive(Debug, Default)]
pub struct ReceivedExchanges {
    // those in memory, with what was sent back of them
    hot: ReceivedCopy,
    numbers: Index<Place>,
    // the same in the order of time, which does not change when one comes into memory again
    by_time: Moments<Place>,
    // those that have left memory, and how many
    cold: Option<Cold>,
    left: u64,
    // micro-fen, by the brand that owes it; a sum of values, each in its range
    residue: BTreeMap<BrandId, u128>,
}

impl ReceivedExchanges {
    /// With a part in the store.
    #[must_use]
    pub fn with(cold: Cold) -> Self {
        Self { cold: Some(cold), ..Self::default() }
    }

    /// An exchange was credited.
    pub fn credited(&mut self, place: Place, received: Received) {
        if self.numbers.get(&place).is_none() {
            self.take_up(place, received);
            self.rebook(place.0, 0, received.leg.residue().get());
        }
    }

    /// Takes up an exchange as it was known before, after all that came before it.
    pub fn take_up(&mut self, place: Place, received: Received) {
        self.by_time.add((received.leg.until(), place));
        let number = self.hot.all.push((place, received));
        if let Some(former) = self.numbers.insert(place, number) {
            self.forget(former);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some((place, received)) = self.hot.all.remove(number) {
            self.by_time.remove((received.leg.until(), place));
        }
    }

    /// Takes up what was sent back, and whether it is in a final block.
    pub fn take_up_sent_back(&mut self, asked: SendBack, is_final: bool) {
        let (keys, waiting) = self.hot.back.get_or_default((asked.from, asked.leaf));
        keys.push(asked.id);
        *waiting += u64::from(!is_final);
        self.hot.sent_back.insert(asked.id, asked);
    }

    /// Takes up the sums of what is left because points are whole, and how many have left memory.
    pub fn take_up_residues(&mut self, residue: BTreeMap<BrandId, u128>, left: u64) {
        self.residue = residue;
        self.left = left;
    }

    /// Those in memory, as they are now.
    #[must_use]
    pub fn copy(&self) -> ReceivedCopy {
        ReceivedCopy { left: self.left, ..self.hot.clone() }
    }

    /// What a member sent back of an exchange is in a final block.
    pub fn went_back(&mut self, place: Place) {
        if let Some((_, waiting)) = self.hot.back.get_mut(&place) {
            *waiting = waiting.saturating_sub(1);
        }
    }

    /// Brings an exchange into memory of which some is sent back.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn recall(&mut self, place: Place) -> Result<(), ColdError> {
        if let (None, Some(cold)) = (self.numbers.get(&place), &self.cold)
            && let Some(received) = cold.received(place, self.left)?
        {
            self.take_up(place, Received { recalled: true, ..received });
        }
        Ok(())
    }

    /// These have left memory from now on: [`Self::leave`] takes them out.
    pub(super) fn leaves(&mut self, leaving: &Leaving) {
        self.left = self.left.max(leaving.first_received + leaving.received.len() as u64);
    }

    /// Takes one out of memory, unless something of it was sent back meanwhile.
    pub(super) fn leave(
        &mut self,
        (place, received, sent_back): (Place, Received, Option<Vec<SendBack>>),
    ) {
        if self.hot(place) != Some(&received) {
            return;
        }
        if let Some(number) = self.numbers.remove(&place) {
            self.forget(number);
        }
        self.hot.back.remove(&place);
        for asked in sent_back.iter().flatten() {
            self.hot.sent_back.remove(&asked.id);
        }
    }

    /// How many have left memory.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The number of the next one.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.hot.all.next()
    }

    /// One exchange, if it is in memory.
    #[must_use]
    pub fn hot(&self, place: Place) -> Option<&Received> {
        let (_, received) = self.hot.all.get(self.numbers.get(&place)?)?;
        Some(received)
    }

    fn hot_mut(&mut self, place: Place) -> Option<&mut Received> {
        let number = self.numbers.get(&place)?;
        self.hot.all.get_mut(number).map(|(_, received)| received)
    }

    /// One exchange.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot say.
    pub fn at(&self, place: Place) -> Result<Option<Received>, ColdError> {
        match (self.hot(place), &self.cold) {
            (Some(received), _) => Ok(Some(*received)),
            (None, Some(cold)) => cold.received_last(place, self.left),
            (None, None) => Ok(None),
        }
    }

    /// What was asked for under an idempotency key.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot say.
    pub fn sent_back(&self, id: RequestId) -> Result<Option<SendBack>, ColdError> {
        match (self.hot.sent_back.get(&id), &self.cold) {
            (Some(asked), _) => Ok(Some(asked.clone())),
            (None, Some(cold)) => cold.sent_back(id, self.left),
            (None, None) => Ok(None),
        }
    }

    /// A member sends some of an exchange back; gives what goes to the other brand.
    ///
    /// # Errors
    /// When there is no such exchange, or not so much left of it.
    pub fn send_back(&mut self, asked: &SendBack) -> Result<Return, SendBackError> {
        let left = SendBackError::Left { left: protocol::amount::Points::ZERO };
        let received = self.hot_mut((asked.from, asked.leaf)).ok_or(left)?;
        let before = received.leg.residue().get();
        let back = received.leg.take_back(asked.leaf, asked.points)?;
        let after = received.leg.residue().get();
        self.rebook(asked.from, before, after);
        self.take_up_sent_back(asked.clone(), false);
        Ok(back)
    }

    /// What a member sent back will be in no block: it is the member's again, and can be asked for again under
    /// the same key. Gives what was asked for.
    pub fn withdrawn(&mut self, from: BrandId, back: &Return) -> Option<SendBack> {
        let place = (from, back.original);
        let (keys, waiting) = self.hot.back.get_mut(&place)?;
        let is_final = keys.len() - usize::try_from(*waiting).unwrap_or(0);
        let is_it = |id: &RequestId| {
            self.hot.sent_back.get(id).is_some_and(|asked| asked.points == back.points)
        };
        let number = keys.iter().skip(is_final).position(is_it)?;
        let id = keys.remove(is_final + number);
        *waiting = waiting.saturating_sub(1);
        if keys.is_empty() {
            self.hot.back.remove(&place);
        }
        let asked = self.hot.sent_back.remove(&id)?;
        let received = self.hot_mut(place)?;
        let before = received.leg.residue().get();
        received.leg.keep(back);
        let after = received.leg.residue().get();
        self.rebook(from, before, after);
        Some(asked)
    }

    /// Some of an exchange was sent back before this node was rebuilt.
    ///
    /// # Errors
    /// When there is not so much left of it.
    pub fn sent_back_before(&mut self, place: Place, back: &Return) -> Result<(), SendBackError> {
        let left = SendBackError::Left { left: protocol::amount::Points::ZERO };
        let received = self.hot_mut(place).ok_or(left)?;
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
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest(
        &self,
        limit: usize,
        member: Option<MemberId>,
    ) -> Result<Vec<ReceivedView>, ColdError> {
        let found = self.latest_places(limit, member)?;
        Ok(found.iter().map(|(place, received)| view_at(*place, received)).collect())
    }

    /// A page of them, newest first, before a key; and the key behind which there is more.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn page(
        &self,
        key: Option<ReceivedKey>,
        limit: usize,
        member: Option<MemberId>,
    ) -> Result<Rows<ReceivedView, ReceivedKey>, ColdError> {
        let most = limit.saturating_add(1);
        let mut found = match member {
            // of one member there are few
            Some(_) => self.latest_places(usize::MAX, member)?,
            None => self.before(key, most)?,
        };
        let key_of = |(place, received): &(Place, Received)| received.key(*place);
        found.retain(|it| key.is_none_or(|key| key_of(it) < key));
        found.sort_by_key(|it| std::cmp::Reverse(key_of(it)));
        found.truncate(most);
        let rows = found.iter().map(|it| (key_of(it), view_at(it.0, &it.1)));
        Ok(cut_page(rows.collect(), limit))
    }

    /// Those before a key in the order of time: the latest in memory, and of those that have left it.
    fn before(
        &self,
        key: Option<ReceivedKey>,
        limit: usize,
    ) -> Result<Vec<(Place, Received)>, ColdError> {
        let end = key.map(|(until, brand, leaf)| (until, (brand, leaf)));
        let hot = self.by_time.before(end).map(|(_, place)| place);
        let hot = hot.filter_map(|place| Some((place, *self.hot(place)?)));
        let mut found: Vec<_> = hot.take(limit).collect();
        if let Some(cold) = self.cold.as_ref().filter(|_| self.left > 0) {
            let is_in_memory = |place: &Place| self.numbers.get(place).is_some();
            found.extend(cold.received_before(key, (self.left, limit), is_in_memory)?);
        }
        Ok(found)
    }

    fn latest_places(
        &self,
        limit: usize,
        member: Option<MemberId>,
    ) -> Result<Vec<(Place, Received)>, ColdError> {
        let hot = self.hot.all.iter().rev().map(|(_, (place, received))| (*place, received));
        let is_of =
            |received: &Received| member.is_none_or(|member| received.member == Some(member));
        let hot = hot.filter(|(_, received)| is_of(received)).take(limit);
        let mut found: Vec<(Place, Received)> =
            hot.map(|(place, received)| (place, *received)).collect();
        let mut known: BTreeSet<Place> = found.iter().map(|(place, _)| *place).collect();
        if let (Some(cold), true) = (&self.cold, found.len() < limit) {
            let colder = cold.latest_received(self.left, limit, member)?.into_iter();
            found.extend(colder.filter(|(place, _)| known.insert(*place)));
            found.truncate(limit);
        }
        Ok(found)
    }
}

fn view_at((brand, leaf): Place, received: &Received) -> ReceivedView {
    view(brand, leaf, &received.leg)
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

#[cfg(test)]
mod tests {
    use protocol::amount::{Points, Rate, Value};
    use protocol::exchange::{Exchange, Payload};
    use protocol::ids::{MemberHandle, RequestHash};

    use super::super::book::Book;
    use super::super::points::PointsLedger;
    use super::super::record::{NodeRecord, Submission};
    use super::*;

    /// What was to go back and is in no block is the member's again, and can be asked for again under the same
    /// key.
    #[test]
    fn what_is_withdrawn_did_not_go_back() {
        let points = |number| Points::new(number).unwrap();
        let member: MemberId = minicbor::decode(&[&[0x50], &[9; 16][..]].concat()).unwrap();
        let exchange = Exchange {
            handle: MemberHandle::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            sent: points(20),
            received: points(10),
            owed: Value::new(105).unwrap(),
        };
        let until = Timestamp::from_unix_ms(1_000_000);
        let leg = IncomingLeg::new(&exchange, Rate::new(10, 1).unwrap(), until);
        let (from, leaf) = (BrandId::new("other").unwrap(), LeafIndex::new(7));
        let asked = |key: u8, number| SendBack {
            id: RequestId::from_bytes([key; 16]),
            request: RequestHash::from_bytes([key; 32]),
            from,
            leaf,
            member,
            points: points(number),
            at: Timestamp::from_unix_ms(5),
        };
        let (mut book, mut ledger) = (Book::default(), PointsLedger::default());
        book.credited_for_test((from, leaf), Received::new(Some(member), leg));
        ledger.credit(member, points(10)).unwrap();
        let residue = book.received().residues().clone();
        for asked in [asked(3, 4), asked(4, 3)] {
            book.enter(&NodeRecord::SendBack(asked), &mut ledger).unwrap();
        }
        let both = book.received().hot((from, leaf)).unwrap().leg;
        assert_eq!((both.points_back(), ledger.balance(member).held), (points(7), points(7)));

        let mut first = leg;
        let back = first.take_back(leaf, points(4)).unwrap();
        let submission = Submission::Sealed(from, Payload::Return(back));
        book.enter(&NodeRecord::Withdrawn(submission.clone()), &mut ledger).unwrap();
        let balance = ledger.balance(member);
        assert_eq!((balance.available, balance.held), (points(7), points(3)));
        let left = book.received().hot((from, leaf)).unwrap().leg;
        assert_eq!(left.points_back(), points(3));
        assert_eq!(book.received().sent_back(asked(3, 4).id).unwrap(), None);
        assert!(book.received().sent_back(asked(4, 3).id).unwrap().is_some());
        // a second time there is nothing to withdraw
        book.enter(&NodeRecord::Withdrawn(submission), &mut ledger).unwrap();
        assert_eq!(ledger.balance(member), balance);

        book.enter(&NodeRecord::SendBack(asked(3, 4)), &mut ledger).unwrap();
        assert_eq!(book.received().hot((from, leaf)).unwrap().leg, both);
        for number in [4, 3] {
            let back = leg.clone().take_back(leaf, points(number)).unwrap();
            let submission = Submission::Sealed(from, Payload::Return(back));
            book.enter(&NodeRecord::Withdrawn(submission), &mut ledger).unwrap();
        }
        assert_eq!(book.received().hot((from, leaf)).unwrap().leg, leg);
        assert_eq!(*book.received().residues(), residue);
        assert_eq!(ledger.balance(member).available, points(10));
        assert_eq!(ledger.trial_balance(), 0);
    }
}
