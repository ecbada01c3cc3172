//! Corrections of balances by staff: with a reason, and by two people beyond what one may do alone.
//!
//! What one person corrects on one day, given and taken added up, is booked at once up to a limit of the
//! rules; what goes beyond waits until somebody else agrees to it or refuses it.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use crate::calendar::Day;
use crate::ids::Account;

/// Longest reason, in characters.
pub const REASON_MAX: usize = 200;

/// What became of a correction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum AdjustmentState {
    /// Booked when it was entered.
    #[n(0)]
    Booked,
    /// Waits for another person.
    #[n(1)]
    Waiting,
    /// Another person agreed, and it was booked then.
    #[n(2)]
    Agreed {
        /// When.
        #[n(0)]
        at: Timestamp,
        /// Who.
        #[n(1)]
        by: String,
    },
    /// Another person refused it.
    #[n(3)]
    Refused {
        /// When.
        #[n(0)]
        at: Timestamp,
        /// Who; nobody when the member was erased.
        #[n(1)]
        by: String,
    },
}

impl AdjustmentState {
    /// Its name, as in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Waiting => "waiting",
            Self::Agreed { .. } => "agreed",
            Self::Refused { .. } => "refused",
        }
    }
}

/// One correction.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Adjustment {
    /// Whose balance.
    #[n(0)]
    pub account: Account,
    /// By how many points.
    #[n(1)]
    pub points: Points,
    /// Whether they are given; otherwise taken.
    #[n(2)]
    pub gives: bool,
    /// Why, in the words of who entered it.
    #[n(3)]
    pub reason: String,
    /// Who entered it.
    #[n(4)]
    pub by: String,
    /// When.
    #[n(5)]
    pub at: Timestamp,
    /// What became of it.
    #[n(6)]
    pub state: AdjustmentState,
}

impl std::fmt::Debug for Adjustment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the reason may name a person
        f.debug_struct("Adjustment")
            .field("points", &self.points)
            .field("gives", &self.gives)
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}

/// All corrections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Adjustments {
    #[n(0)]
    all: SharedMap<u64, Adjustment>,
    // what each person has booked alone on the latest day with any
    #[n(1)]
    alone: BTreeMap<String, (Day, u64)>,
}

impl Adjustments {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Adjustment)> {
        self.all.iter().map(|(number, adjustment)| (*number, adjustment))
    }

    /// A correction by its number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Adjustment> {
        self.all.get(&number)
    }
    /// All before a number, or all, the latest first.
    pub fn before(&self, number: Option<u64>) -> impl Iterator<Item = (u64, &Adjustment)> {
        let end = number.unwrap_or(u64::MAX).min(self.next());
        // numbers follow each other
        let numbers = (1..end).rev();
        numbers.filter_map(|number| Some((number, self.all.get(&number)?)))
    }
    /// The number of the next: 1, 2, 3 and so on.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.all.last_key_value().map_or(0, |(last, _)| *last).saturating_add(1)
    }
    /// How many points a person has corrected alone on a day.
    #[must_use]
    pub fn alone(&self, by: &str, day: Day) -> u64 {
        self.alone.get(by).filter(|(latest, _)| *latest == day).map_or(0, |(_, points)| *points)
    }

    pub(crate) fn enter(&mut self, number: u64, adjustment: &Adjustment, day: Day) {
        if adjustment.state == AdjustmentState::Booked {
            let points = self.alone(&adjustment.by, day).saturating_add(adjustment.points.get());
            self.alone.insert(adjustment.by.clone(), (day, points));
        }
        self.all.insert(number, adjustment.clone());
    }

    /// False when it did not wait.
    pub(crate) fn decide(&mut self, number: u64, state: &AdjustmentState) -> bool {
        let waiting = self.all.get_mut(&number).filter(|it| it.state == AdjustmentState::Waiting);
        let Some(adjustment) = waiting else { return false };
        adjustment.state = state.clone();
        true
    }

    pub(crate) fn move_to(&mut self, from: Account, into: Account) {
        self.all.change_where(|_, it| it.account == from, |_, it| it.account = into);
    }

    /// The reasons may name who was erased; the amounts are the books'. What waited will not be.
    pub(crate) fn forget(&mut self, account: Account) {
        let theirs = |_: &u64, it: &Adjustment| it.account == account;
        self.all.change_where(theirs, |_, adjustment| {
            adjustment.reason.clear();
            if adjustment.state == AdjustmentState::Waiting {
                let (at, by) = (adjustment.at, String::new());
                adjustment.state = AdjustmentState::Refused { at, by };
            }
        });
    }
}
