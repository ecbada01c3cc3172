//! Double entry inside the brand: every point that moves leaves one account and comes to another.
//!
//! Members' accounts are on one side; on the other are the accounts of [`Side`], each of which says
//! why points came or went. A member's balance may be below zero in one case only: points that a
//! refund takes back had been spent already. What the member gets next fills it.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use crate::ids::Account;
use crate::lots::Lots;

/// Accounts of the brand's own, and the two sums over members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Side {
    /// What members can spend, less what they owe.
    #[n(0)]
    Members,
    /// What is set aside for something promised.
    #[n(1)]
    Held,
    /// Issued for purchases.
    #[n(2)]
    Purchases,
    /// Issued for sign-ins, referrals and other activities.
    #[n(3)]
    Activities,
    /// Issued by triggers.
    #[n(4)]
    Campaigns,
    /// Came from other brands, or was there when the programme was opened.
    #[n(5)]
    CameIn,
    /// Spent on goods, coupons, rewards.
    #[n(6)]
    Redeemed,
    /// Went to other brands.
    #[n(7)]
    Exchanged,
    /// Was not spent in time.
    #[n(8)]
    Expired,
    /// Taken back for returned goods.
    #[n(9)]
    Returned,
    /// Issued by staff, to correct a balance.
    #[n(10)]
    Corrections,
    /// Taken by staff, to correct a balance.
    #[n(11)]
    Withdrawn,
    /// Moved from one member to another when both were found to be one: always comes to zero.
    #[n(12)]
    Merged,
    /// Brought by members from a programme of before: not issued here.
    #[n(13)]
    Opening,
}

impl Side {
    /// All, in the order of a report.
    pub const ALL: [Self; 14] = [
        Self::Purchases,
        Self::Activities,
        Self::Campaigns,
        Self::Corrections,
        Self::CameIn,
        Self::Opening,
        Self::Redeemed,
        Self::Exchanged,
        Self::Expired,
        Self::Returned,
        Self::Withdrawn,
        Self::Merged,
        Self::Held,
        Self::Members,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Held => "held",
            Self::Purchases => "issued_purchases",
            Self::Activities => "issued_activities",
            Self::Campaigns => "issued_campaigns",
            Self::CameIn => "came_in",
            Self::Redeemed => "redeemed",
            Self::Exchanged => "exchanged",
            Self::Expired => "expired",
            Self::Returned => "returned",
            Self::Corrections => "issued_corrections",
            Self::Withdrawn => "withdrawn",
            Self::Merged => "merged",
            Self::Opening => "opening",
        }
    }
}

/// One member's points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Balance {
    #[n(0)]
    lots: Lots,
    #[n(1)]
    held: Points,
    #[n(2)]
    owed: Points,
}

impl Balance {
    /// The lots, held points among them.
    #[must_use]
    pub const fn lots(&self) -> &Lots {
        &self.lots
    }
    /// What can be spent.
    #[must_use]
    pub fn available(&self) -> Points {
        self.lots.total().saturating_minus(self.held)
    }
    /// What is set aside.
    #[must_use]
    pub const fn held(&self) -> Points {
        self.held
    }
    /// By how much the balance is below zero.
    #[must_use]
    pub const fn owed(&self) -> Points {
        self.owed
    }
    fn net(&self) -> i128 {
        i128::from(self.lots.total().get()).saturating_sub(i128::from(self.owed.get()))
    }
}

/// Why points did not move. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Fewer points than asked for.
    #[error("the member has {available} points to spend, fewer than the {wanted} asked for")]
    TooFew {
        /// What there is.
        available: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// A sum left the range of an amount.
    #[error("the balance would leave the range of an amount")]
    Range,
}

/// All accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Accounts {
    #[n(0)]
    members: SharedMap<Account, Balance>,
    // what has come to each side less what has left it
    #[n(1)]
    sides: BTreeMap<Side, i64>,
}

impl Accounts {
    /// A member's points.
    #[must_use]
    pub fn balance(&self, account: Account) -> Balance {
        self.members.get(&account).cloned().unwrap_or_default()
    }

    /// A member's points, if there ever were any.
    #[must_use]
    pub fn get(&self, account: Account) -> Option<&Balance> {
        self.members.get(&account)
    }

    /// Whether no member ever had points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Every member who ever had points.
    pub fn iter(&self) -> impl Iterator<Item = (Account, &Balance)> {
        self.members.iter().map(|(account, balance)| (*account, balance))
    }

    /// What has come to a side less what has left it: what issued points is negative.
    #[must_use]
    pub fn side(&self, side: Side) -> i64 {
        self.sides.get(&side).copied().unwrap_or_default()
    }

    fn post(&mut self, from: Side, to: Side, points: Points) {
        let number = i64::try_from(points.get()).unwrap_or(i64::MAX);
        let left = self.sides.entry(from).or_default();
        *left = left.saturating_sub(number);
        let came = self.sides.entry(to).or_default();
        *came = came.saturating_add(number);
    }

    /// Whether a member's balance takes so many points more.
    #[must_use]
    pub fn takes(&self, account: Account, points: Points) -> bool {
        let total = self.get(account).map_or(Points::ZERO, |balance| balance.lots.total());
        total.plus(points).is_ok()
    }

    /// Gives points: first to what is owed, the rest as a lot.
    ///
    /// # Errors
    /// [`MoveError::Range`].
    pub fn give(
        &mut self,
        account: Account,
        from: Side,
        points: Points,
        expires: Option<Timestamp>,
    ) -> Result<(), MoveError> {
        let balance = self.members.get_or_default(account);
        let fills = points.min(balance.owed);
        balance.lots.add(expires, points.saturating_minus(fills)).map_err(|_| MoveError::Range)?;
        balance.owed = balance.owed.saturating_minus(fills);
        self.post(from, Side::Members, points);
        Ok(())
    }

    fn spendable(&mut self, account: Account, points: Points) -> Result<&mut Balance, MoveError> {
        let wanted = points.get();
        let none = MoveError::TooFew { available: 0, wanted };
        let balance = self.members.get_mut(&account).ok_or(none)?;
        let available = balance.available();
        if available < points {
            return Err(MoveError::TooFew { available: available.get(), wanted });
        }
        Ok(balance)
    }

    /// Takes points that can be spent.
    ///
    /// # Errors
    /// [`MoveError::TooFew`].
    pub fn take(&mut self, account: Account, to: Side, points: Points) -> Result<(), MoveError> {
        self.spendable(account, points)?.lots.take(points);
        self.post(Side::Members, to, points);
        Ok(())
    }

    /// Takes points back, whether they are there or not: the rest is owed.
    ///
    /// # Errors
    /// [`MoveError::Range`].
    pub fn take_back(
        &mut self,
        account: Account,
        to: Side,
        points: Points,
    ) -> Result<(), MoveError> {
        let balance = self.members.get_or_default(account);
        let there = points.min(balance.available());
        let owed =
            balance.owed.plus(points.saturating_minus(there)).map_err(|_| MoveError::Range)?;
        balance.lots.take(there);
        balance.owed = owed;
        self.post(Side::Members, to, points);
        Ok(())
    }

    /// Sets points aside.
    ///
    /// # Errors
    /// [`MoveError::TooFew`].
    pub fn hold(&mut self, account: Account, points: Points) -> Result<(), MoveError> {
        let balance = self.spendable(account, points)?;
        balance.held = balance.held.plus(points).map_err(|_| MoveError::Range)?;
        self.post(Side::Members, Side::Held, points);
        Ok(())
    }

    fn held_of(&mut self, account: Account, points: Points) -> Result<&mut Balance, MoveError> {
        let wanted = points.get();
        let none = MoveError::TooFew { available: 0, wanted };
        let balance = self.members.get_mut(&account).ok_or(none)?;
        if balance.held < points {
            return Err(MoveError::TooFew { available: balance.held.get(), wanted });
        }
        balance.held = balance.held.saturating_minus(points);
        Ok(balance)
    }

    /// What was set aside can be spent again; what is owed comes first.
    ///
    /// # Errors
    /// [`MoveError::TooFew`] when less is held.
    pub fn release(&mut self, account: Account, points: Points) -> Result<(), MoveError> {
        let balance = self.held_of(account, points)?;
        let fills = points.min(balance.owed);
        balance.lots.take(fills);
        balance.owed = balance.owed.saturating_minus(fills);
        self.post(Side::Held, Side::Members, points);
        Ok(())
    }

    /// What was set aside is gone for good.
    ///
    /// # Errors
    /// [`MoveError::TooFew`] when less is held.
    pub fn settle(&mut self, account: Account, to: Side, points: Points) -> Result<(), MoveError> {
        self.held_of(account, points)?.lots.take(points);
        self.post(Side::Held, to, points);
        Ok(())
    }

    /// How far the books are from balancing: zero, or something is wrong.
    ///
    /// Every entry of the two sides is added up, and both sums over members are counted anew.
    #[must_use]
    pub fn trial_balance(&self) -> i128 {
        let sides: i128 = self.sides.values().map(|side| i128::from(*side)).sum();
        let held: i128 = self.members.values().map(|it| i128::from(it.held.get())).sum();
        let net: i128 = self.members.values().map(Balance::net).sum();
        let members = net.saturating_sub(held);
        let apart = |side, counted: i128| i128::from(self.side(side)).abs_diff(counted);
        let wrong = apart(Side::Held, held)
            .saturating_add(apart(Side::Members, members))
            .saturating_add(sides.unsigned_abs());
        i128::try_from(wrong).unwrap_or(i128::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_balance_shows_a_point_that_came_from_nowhere() {
        let one = Account::from_bytes([1; 16]);
        let points = Points::new(10).unwrap();
        let mut accounts = Accounts::default();
        accounts.give(one, Side::Purchases, points, None).unwrap();
        assert_eq!(accounts.trial_balance(), 0);
        let mut invented = accounts.clone();
        invented.members.get_mut(&one).unwrap().lots.add(None, points).unwrap();
        assert_eq!(invented.trial_balance(), 10);
        let mut one_sided = accounts.clone();
        *one_sided.sides.get_mut(&Side::Purchases).unwrap() -= 1;
        assert_eq!(one_sided.trial_balance(), 1);
        accounts.hold(one, points).unwrap();
        accounts.members.get_mut(&one).unwrap().held = Points::ZERO;
        assert_eq!(accounts.trial_balance(), 20);
    }
}
