//! Members' points: balances in memory, every movement double entry, the truth in the journal.
//!
//! A movement takes from one account and gives to another; accounts that are not members' are named
//! [`Control`]. The trial balance is zero at all times. Does not decide whether something may move
//! (rules, consent) and does not write the journal: the runtime does, before anyone is told.
//!
//! Keys of what has earned before there was a programme are kept until a snapshot has them
//! ([`PointsLedger::earned`]); where they go then is the runtime's to know.
//!
//! Lots, tiers and coupons are the [programme](::programme)'s, which follows every movement ([`Moved`]) and
//! moves points itself (`movements`).

mod movements;

use std::collections::{BTreeMap, HashSet};

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::shared_map::SharedMap;
use protocol::time::{Milliseconds, Timestamp};

use crate::vault::MemberId;

pub use movements::{Moved, account};

/// Accounts that are not a member's. Their balances are what the members' add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Control {
    /// Points issued for purchases.
    #[n(0)]
    Earned,
    /// Points burned because they went to another brand.
    #[n(1)]
    SentAway,
    /// Points issued because they came from another brand.
    #[n(2)]
    CameIn,
    /// Points that left by the programme: redeemed, expired, or taken back with returned goods.
    #[n(3)]
    Left,
    /// Points that came back for members who were erased meanwhile: nobody's, until the brand's books say
    /// what becomes of them.
    #[n(4)]
    Suspense,
}

/// For so long points may still come back for a member who was erased: the longest return window there is,
/// and as long again for what is in dispute.
const LATE: Milliseconds = Milliseconds::from_seconds(2 * 366 * 24 * 60 * 60);

/// One member's points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Balance {
    /// Can be spent.
    #[n(0)]
    pub available: Points,
    /// Promised to an exchange that is not final yet.
    #[n(1)]
    pub held: Points,
}

/// Why points did not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointsError {
    /// Fewer points than asked for.
    #[error("the member has fewer points than asked for")]
    TooFew,
    /// A sum left the range of an amount.
    #[error("the balance would leave the range of an amount")]
    Range,
}

/// All balances of one brand.
#[derive(Debug, Default)]
pub struct PointsLedger {
    members: SharedMap<MemberId, Balance>,
    control: BTreeMap<Control, u64>,
    // keys of what has earned since the last snapshot, so that nothing earns twice
    earned: HashSet<[u8; 20]>,
    // what members gave away before this node was rebuilt, beyond what is known of what they had: it is
    // made up for by what they are given next, such as what their purchases earned, imported again
    beyond: BTreeMap<MemberId, Points>,
    // who was erased, and when: what still comes back is in suspense
    erased: BTreeMap<MemberId, Timestamp>,
    // what moved and the programme has not followed yet; none while there is no programme
    moved: Option<Vec<Moved>>,
}

impl PointsLedger {
    /// A member's points; nothing for a member who never had any.
    #[must_use]
    pub fn balance(&self, member: MemberId) -> Balance {
        self.members.get(&member).copied().unwrap_or_default()
    }

    /// The first members, in the order of their ids, with at least so many available points; after one, if
    /// one is given.
    #[must_use]
    pub fn with_at_least(
        &self,
        least: Points,
        after: Option<MemberId>,
        limit: usize,
    ) -> Vec<MemberId> {
        let first = after.unwrap_or(MemberId::from_bytes([0; 16]));
        let fits = self.members.from_key(&first).filter(|(member, balance)| {
            after.is_none_or(|after| **member > after) && balance.available >= least
        });
        fits.take(limit).map(|(member, _)| *member).collect()
    }

    /// All balances, as they are now, in the order of members' ids.
    #[must_use]
    pub fn balances(&self) -> SharedMap<MemberId, Balance> {
        self.members.clone()
    }
    /// All control accounts.
    pub fn controls(&self) -> impl Iterator<Item = (Control, u64)> + '_ {
        self.control.iter().map(|(account, balance)| (*account, *balance))
    }
    /// Keys of what has earned since the last snapshot, ascending.
    #[must_use]
    pub fn earned(&self) -> Vec<[u8; 20]> {
        let mut keys: Vec<_> = self.earned.iter().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// What members gave away before this node was rebuilt, beyond what is known of what they had.
    pub fn beyond(&self) -> impl Iterator<Item = (MemberId, Points)> + '_ {
        self.beyond.iter().map(|(member, points)| (*member, *points))
    }

    /// Takes up what members gave away beyond what is known of what they had.
    pub fn take_up_beyond(&mut self, beyond: impl IntoIterator<Item = (MemberId, Points)>) {
        self.beyond.extend(beyond);
    }
    /// Members who were erased, of whom something may still come back.
    pub fn erased(&self) -> impl Iterator<Item = (MemberId, Timestamp)> + '_ {
        self.erased.iter().map(|(member, at)| (*member, *at))
    }

    /// Takes up who was erased from a snapshot.
    pub fn take_up_erased(&mut self, erased: impl IntoIterator<Item = (MemberId, Timestamp)>) {
        self.erased.extend(erased);
    }

    /// A member was erased: what still comes back for it is nobody's. Of those of whom nothing can come back
    /// any more it is forgotten that there were any.
    pub fn erase(&mut self, member: MemberId, at: Timestamp) {
        self.erased.retain(|_, erased| at.since(*erased) < LATE);
        self.erased.entry(member).or_insert(at);
    }

    /// Takes up balances from a snapshot.
    pub fn take_up(&mut self, members: impl IntoIterator<Item = (MemberId, Balance)>) {
        self.members.extend(members);
    }
    /// Takes up control accounts from a snapshot.
    pub fn take_up_controls(&mut self, control: impl IntoIterator<Item = (Control, u64)>) {
        self.control.extend(control);
    }
    /// Takes up keys of what has earned.
    pub fn take_up_earned(&mut self, keys: impl IntoIterator<Item = [u8; 20]>) {
        self.earned.extend(keys);
    }
    /// Forgets keys that are kept elsewhere by now.
    pub fn forget_earned<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8; 20]>) {
        for key in keys {
            self.earned.remove(key);
        }
    }

    /// Whether this has earned since the last snapshot.
    #[must_use]
    pub fn has_earned(&self, key: &[u8; 20]) -> bool {
        self.earned.contains(key)
    }

    /// Enters points earned, once for each key. Says whether it was new.
    ///
    /// # Errors
    /// When the balance would leave its range.
    pub fn earn(
        &mut self,
        key: [u8; 20],
        member: MemberId,
        points: Points,
    ) -> Result<bool, PointsError> {
        if self.earned.contains(&key) {
            return Ok(false);
        }
        self.give(member, points)?;
        self.earned.insert(key);
        self.book(Control::Earned, points);
        self.note(Moved::earned(member, points));
        Ok(true)
    }

    /// Sets points aside for an exchange.
    ///
    /// # Errors
    /// [`PointsError::TooFew`].
    pub fn hold(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
        let available = balance.available.minus(points).map_err(|_| PointsError::TooFew)?;
        let held = balance.held.plus(points).map_err(|_| PointsError::Range)?;
        *balance = Balance { available, held };
        self.note(Moved::held(member, points));
        Ok(())
    }

    /// The exchange will not be: what was held is available again.
    ///
    /// # Errors
    /// [`PointsError::TooFew`] when less is held.
    pub fn release(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
        let held = balance.held.minus(points).map_err(|_| PointsError::TooFew)?;
        balance.available.plus(points).map_err(|_| PointsError::Range)?;
        balance.held = held;
        if self.erased.contains_key(&member) {
            self.book(Control::Suspense, points);
            // the programme lets go of it as of what has left
            self.note(Moved::sent_away(member, points));
            return Ok(());
        }
        // what is owed comes first
        self.give(member, points)?;
        self.note(Moved::released(member, points));
        Ok(())
    }

    /// The exchange is final: what was held is gone.
    ///
    /// # Errors
    /// [`PointsError::TooFew`] when less is held.
    pub fn burn(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
        balance.held = balance.held.minus(points).map_err(|_| PointsError::TooFew)?;
        self.book(Control::SentAway, points);
        self.note(Moved::sent_away(member, points));
        Ok(())
    }

    /// An exchange came back: its points are the member's again, or in suspense when the member was erased.
    ///
    /// # Errors
    /// When the balance would leave its range.
    pub fn restore(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let is_erased = self.erased.contains_key(&member);
        if is_erased {
            self.book(Control::Suspense, points);
        } else {
            self.give(member, points)?;
        }
        let gone = self.control.entry(Control::SentAway).or_default();
        *gone = gone.saturating_sub(points.get());
        if !is_erased {
            self.note(Moved::restored(member, points));
        }
        Ok(())
    }

    /// Points that came from another brand go back to it: what was held for that is gone.
    ///
    /// # Errors
    /// [`PointsError::TooFew`] when less is held.
    pub fn send_back(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
        balance.held = balance.held.minus(points).map_err(|_| PointsError::TooFew)?;
        let came = self.control.entry(Control::CameIn).or_default();
        *came = came.saturating_sub(points.get());
        self.note(Moved::sent_back(member, points));
        Ok(())
    }

    /// Whether a member's balance takes so many points besides those in `taken`, to which they are
    /// then added. Asked before anything is recorded: what is recorded must not fail on replay.
    #[must_use]
    pub fn takes(
        &self,
        taken: &mut BTreeMap<MemberId, Points>,
        member: MemberId,
        points: Points,
    ) -> bool {
        let Balance { available, held } = self.balance(member);
        let before = taken.get(&member).copied().unwrap_or_default();
        // what is held may come back
        let after = before.plus(points);
        let sum = after.and_then(|more| available.plus(held)?.plus(more));
        if let (Ok(after), Ok(_)) = (after, sum) {
            taken.insert(member, after);
            return true;
        }
        false
    }

    /// Points that came from another brand.
    ///
    /// # Errors
    /// When the balance would leave its range.
    pub fn credit(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        self.give(member, points)?;
        self.book(Control::CameIn, points);
        self.note(Moved::came_in(member, points));
        Ok(())
    }

    /// The member's points went to another brand before this node was rebuilt.
    ///
    /// # Errors
    /// When a sum would leave its range.
    pub fn burned_before(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        self.take_before(member, points)?;
        self.book(Control::SentAway, points);
        self.note(Moved::gone_before(member, points));
        Ok(())
    }

    /// Points that had come in went back before this node was rebuilt.
    ///
    /// # Errors
    /// When a sum would leave its range.
    pub fn sent_back_before(
        &mut self,
        member: MemberId,
        points: Points,
    ) -> Result<(), PointsError> {
        self.take_before(member, points)?;
        let came = self.control.entry(Control::CameIn).or_default();
        *came = came.saturating_sub(points.get());
        self.note(Moved::back_before(member, points));
        Ok(())
    }

    fn take_before(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let balance = self.members.get_or_default(member);
        let there = points.min(balance.available);
        let rest = points.saturating_minus(there);
        let beyond = self.beyond.get(&member).copied().unwrap_or_default();
        let beyond = beyond.plus(rest).map_err(|_| PointsError::Range)?;
        balance.available = balance.available.saturating_minus(there);
        if beyond > Points::ZERO {
            self.beyond.insert(member, beyond);
        }
        Ok(())
    }

    fn give(&mut self, member: MemberId, points: Points) -> Result<(), PointsError> {
        let beyond = self.beyond.get(&member).copied().unwrap_or_default();
        let made_up = points.min(beyond);
        let balance = self.members.get_or_default(member);
        let given = points.saturating_minus(made_up);
        balance.available = balance.available.plus(given).map_err(|_| PointsError::Range)?;
        match beyond.saturating_minus(made_up) {
            Points::ZERO => drop(self.beyond.remove(&member)),
            left => drop(self.beyond.insert(member, left)),
        }
        Ok(())
    }

    fn book(&mut self, account: Control, points: Points) {
        let balance = self.control.entry(account).or_default();
        *balance = balance.saturating_add(points.get());
    }

    /// What a control account has come to.
    #[must_use]
    pub fn control(&self, account: Control) -> u64 {
        self.control.get(&account).copied().unwrap_or_default()
    }

    /// Issued less burned, less what members have: zero, or something is wrong.
    #[must_use]
    pub fn trial_balance(&self) -> i128 {
        let members: i128 = self
            .members
            .values()
            .map(|balance| i128::from(balance.available.get()) + i128::from(balance.held.get()))
            .sum();
        let beyond: i128 = self.beyond.values().map(|points| i128::from(points.get())).sum();
        i128::from(self.control(Control::Earned)) + i128::from(self.control(Control::CameIn))
            - i128::from(self.control(Control::SentAway))
            - i128::from(self.control(Control::Left))
            - i128::from(self.control(Control::Suspense))
            - (members - beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(number: u8) -> MemberId {
        minicbor::decode(&[&[0x50], &[number; 16][..]].concat()).unwrap()
    }

    fn points(number: u64) -> Points {
        Points::new(number).unwrap()
    }

    /// After a rebuild what was given away may be known before what was had.
    #[test]
    fn what_went_before_a_rebuild_is_made_up_for_by_what_is_given_after_it() {
        let points = |number| Points::new(number).unwrap();
        let (mut ledger, one) = (PointsLedger::default(), member(1));
        ledger.earn([1; 20], one, points(10)).unwrap();
        ledger.burned_before(one, points(40)).unwrap();
        assert_eq!(ledger.balance(one).available, Points::ZERO);
        assert_eq!(ledger.trial_balance(), 0);
        ledger.earn([2; 20], one, points(25)).unwrap();
        assert_eq!(ledger.balance(one).available, Points::ZERO);
        ledger.credit(one, points(20)).unwrap();
        assert_eq!(ledger.balance(one).available, points(15));
        ledger.sent_back_before(one, points(5)).unwrap();
        assert_eq!(ledger.balance(one).available, points(10));
        assert_eq!(ledger.hold(one, points(11)), Err(PointsError::TooFew));
        ledger.restore(one, points(40)).unwrap();
        assert_eq!(ledger.balance(one).available, points(50));
        assert_eq!(ledger.trial_balance(), 0);
    }

    #[test]
    fn what_comes_back_for_who_was_erased_is_in_suspense() {
        let (mut ledger, one) = (PointsLedger::default(), member(1));
        let at = Timestamp::from_unix_ms;
        ledger.earn([1; 20], one, points(100)).unwrap();
        ledger.hold(one, points(70)).unwrap();
        ledger.burn(one, points(40)).unwrap();
        ledger.watch(true);
        ledger.erase(one, at(1));
        // an exchange that is final comes back, and one that will be in no block
        ledger.restore(one, points(25)).unwrap();
        ledger.release(one, points(30)).unwrap();
        assert_eq!(ledger.balance(one), Balance { available: points(30), held: Points::ZERO });
        assert_eq!(ledger.control(Control::Suspense), 55);
        assert_eq!(ledger.control(Control::SentAway), 15);
        assert_eq!(ledger.trial_balance(), 0);
        // the programme gives nobody anything
        assert_eq!(ledger.take_moved(), [Moved::sent_away(one, points(30))]);
        // long after, nothing can come back, and it is not remembered that there was anybody
        ledger.erase(member(2), at(LATE.get()));
        assert_eq!(ledger.erased().count(), 2);
        ledger.erase(member(2), at(1 + LATE.get()));
        assert_eq!(ledger.erased().map(|(member, _)| member).collect::<Vec<_>>(), [member(2)]);
    }

    #[test]
    fn nothing_earns_twice() {
        let mut ledger = PointsLedger::default();
        assert_eq!(ledger.earn([1; 20], member(1), points(5)), Ok(true));
        assert_eq!(ledger.earn([1; 20], member(1), points(5)), Ok(false));
        assert_eq!(ledger.balance(member(1)).available, points(5));
    }

    proptest! {
        /// Whatever moves, in whatever order, refused or not: the trial balance stays zero and no
        /// member ever has more than was given.
        #[test]
        fn the_trial_balance_is_zero_after_every_movement(
            moves in proptest::collection::vec((0..8u8, 0..3u8, 1..100u64), 1..200),
        ) {
            let mut ledger = PointsLedger::default();
            let mut key = 0_u64;
            for (kind, who, amount) in moves {
                let (who, amount) = (member(who), points(amount));
                let _ = match kind {
                    0 => {
                        key += 1;
                        let mut bytes = [0; 20];
                        bytes[..8].copy_from_slice(&key.to_be_bytes());
                        ledger.earn(bytes, who, amount).map(|_| ())
                    }
                    1 => ledger.hold(who, amount),
                    2 => ledger.burn(who, amount),
                    3 => ledger.credit(who, amount),
                    5 => ledger.release(who, amount),
                    6 if amount.get() > 95 => {
                        ledger.erase(who, Timestamp::default());
                        Ok(())
                    }
                    4 if ledger.control(Control::CameIn) >= amount.get() => {
                        ledger.send_back(who, amount)
                    }
                    _ if ledger.control(Control::SentAway) >= amount.get() => ledger.restore(who, amount),
                    _ => Ok(()),
                };
                prop_assert_eq!(ledger.trial_balance(), 0);
            }
        }
    }
}
