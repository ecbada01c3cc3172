//! Rewards: how many there are is what was put in less what is set aside and handed over, always.
//!
//! Hot stock is held at the brand's own node, so that whether there is one more is decided in one
//! place. Who asks gets one set aside for a while; if it is not fetched, it is there for others again.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use crate::ids::{Account, Name};
use crate::requests::Key;

/// How many of a reward there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Stock {
    /// Put in, ever.
    #[n(0)]
    pub total: u32,
    /// Set aside now.
    #[n(1)]
    pub held: u32,
    /// Handed over, ever.
    #[n(2)]
    pub handed_over: u32,
}

impl Stock {
    /// How many can still be asked for.
    #[must_use]
    pub const fn left(self) -> u32 {
        self.total.saturating_sub(self.held).saturating_sub(self.handed_over)
    }
}

/// What became of one that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum HoldState {
    /// It waits.
    #[n(0)]
    Held,
    /// It was handed over, and its points are spent.
    #[n(1)]
    HandedOver,
    /// It was not fetched in time, or given up: its points are the member's again.
    #[n(2)]
    Ended,
}

/// One set aside for a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Hold {
    /// For whom.
    #[n(0)]
    pub account: Account,
    /// What.
    #[n(1)]
    pub reward: Name,
    /// For so many points.
    #[n(2)]
    pub points: Points,
    /// Since when.
    #[n(3)]
    pub at: Timestamp,
    /// Until when.
    #[n(4)]
    pub until: Timestamp,
    /// What became of it.
    #[n(5)]
    pub state: HoldState,
}

/// All rewards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Rewards {
    #[n(0)]
    stocks: BTreeMap<Name, Stock>,
    #[n(1)]
    holds: SharedMap<Key, Hold>,
    #[n(2)]
    taken: SharedMap<(Account, Name), u32>,
}

impl Rewards {
    /// How many of a reward there are.
    #[must_use]
    pub fn stock(&self, reward: &Name) -> Stock {
        self.stocks.get(reward).copied().unwrap_or_default()
    }

    /// One that was set aside, by the key it was asked for with.
    #[must_use]
    pub fn hold(&self, key: Key) -> Option<&Hold> {
        self.holds.get(&key)
    }

    /// What a member has waiting.
    pub fn waiting(&self, account: Account) -> impl Iterator<Item = (Key, &Hold)> {
        let mine = self
            .holds
            .iter()
            .filter(move |(_, hold)| hold.account == account && hold.state == HoldState::Held);
        mine.map(|(key, hold)| (*key, hold))
    }

    /// All that a member has asked for, whatever became of it.
    pub(crate) fn of(&self, account: Account) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(move |hold| hold.account == account)
    }

    /// How many a member has taken or has waiting.
    #[must_use]
    pub fn taken(&self, account: Account, reward: &Name) -> u32 {
        self.taken.get(&(account, reward.clone())).copied().unwrap_or_default()
    }

    /// Whether the counts are what the holds say.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.stocks.iter().all(|(name, stock)| {
            let count = |state| {
                let holds = self.holds.values();
                let found = holds.filter(|hold| hold.reward == *name && hold.state == state);
                u32::try_from(found.count()).unwrap_or(u32::MAX)
            };
            stock.held == count(HoldState::Held)
                && stock.handed_over >= count(HoldState::HandedOver)
                && stock.held.saturating_add(stock.handed_over) <= stock.total
        })
    }

    pub(crate) fn put_in(&mut self, reward: &Name, total: u32) {
        self.stocks.entry(reward.clone()).or_default().total = total;
    }

    pub(crate) fn enter(&mut self, key: Key, hold: &Hold) {
        let stock = self.stocks.entry(hold.reward.clone()).or_default();
        stock.held = stock.held.saturating_add(1);
        let taken = self.taken.get_or_default((hold.account, hold.reward.clone()));
        *taken = taken.saturating_add(1);
        self.holds.insert(key, hold.clone());
    }

    /// Gives whose points are to move; nothing when it does not wait.
    pub(crate) fn close(&mut self, key: Key, state: HoldState) -> Option<(Account, Points)> {
        let hold = self.holds.get_mut(&key).filter(|hold| hold.state == HoldState::Held)?;
        hold.state = state;
        let stock = self.stocks.entry(hold.reward.clone()).or_default();
        stock.held = stock.held.saturating_sub(1);
        if state == HoldState::HandedOver {
            stock.handed_over = stock.handed_over.saturating_add(1);
        } else if let Some(taken) = self.taken.get_mut(&(hold.account, hold.reward.clone())) {
            *taken = taken.saturating_sub(1);
        }
        Some((hold.account, hold.points))
    }

    pub(crate) fn move_to(&mut self, from: Account, into: Account) {
        self.holds.change_where(|_, it| it.account == from, |_, it| it.account = into);
        let taken: Vec<_> =
            self.taken.keys().filter(|(whose, _)| *whose == from).cloned().collect();
        for key in taken {
            let many = self.taken.remove(&key).unwrap_or_default();
            let sum = self.taken.get_or_default((into, key.1));
            *sum = sum.saturating_add(many);
        }
    }

    pub(crate) fn forget(&mut self, account: Account) {
        self.holds.retain(|_, hold| hold.account != account || hold.state == HoldState::Held);
        self.taken.retain(|(whose, _), _| *whose != account);
    }
}
