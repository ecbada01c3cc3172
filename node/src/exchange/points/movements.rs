//! Points and the programme: it is told of every movement here, and moves points itself.
//!
//! Balances are kept twice: here, for exchanges, and as lots in the programme's books. Each side makes its
//! own movements and follows the other's; both must come to the same ([`PointsLedger::differs`]).

use ::programme::accounts::Side;
use ::programme::state::{Movement, Way};
use ::programme::{Account, Programme};
use protocol::amount::Points;

use super::{Control, PointsError, PointsLedger};
use crate::vault::MemberId;

/// Points that an exchange or an import moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Whose.
    pub member: MemberId,
    /// How many.
    pub points: Points,
    /// How, as the programme's books have it.
    pub way: Way,
}

macro_rules! moved {
    ($($name:ident = $way:expr;)*) => {
        impl Moved {$(
            pub(super) const fn $name(member: MemberId, points: Points) -> Self {
                Self { member, points, way: $way }
            }
        )*}
    };
}

moved! {
    earned = Way::Give(Side::Purchases);
    held = Way::Hold;
    released = Way::Release;
    sent_away = Way::Settle(Side::Exchanged);
    restored = Way::Give(Side::Exchanged);
    came_in = Way::Give(Side::CameIn);
    sent_back = Way::Settle(Side::CameIn);
    gone_before = Way::TakeBack(Side::Exchanged);
    back_before = Way::TakeBack(Side::CameIn);
}

/// A member's account in the programme.
#[must_use]
pub const fn account(member: MemberId) -> Account {
    Account::from_bytes(*member.as_bytes())
}

const fn member(account: Account) -> MemberId {
    MemberId::from_bytes(*account.as_bytes())
}

impl PointsLedger {
    pub(super) fn note(&mut self, moved: Moved) {
        if let Some(list) = &mut self.moved {
            list.push(moved);
        }
    }

    /// From now on every movement is noted for the programme; or none any more.
    pub fn watch(&mut self, watched: bool) {
        self.moved = watched.then(Vec::new);
    }

    /// What moved since this was last asked.
    pub fn take_moved(&mut self) -> Vec<Moved> {
        self.moved.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Moves points as the programme has decided.
    ///
    /// # Errors
    /// When they are not there: the programme and the balances are not at one.
    pub fn follow(&mut self, movement: &Movement) -> Result<(), PointsError> {
        // the programme has it already
        let moved = self.moved.take();
        let done = self.follow_one(movement);
        self.moved = moved;
        done
    }

    fn follow_one(&mut self, movement: &Movement) -> Result<(), PointsError> {
        let (member, points) = (member(movement.account), movement.points);
        match movement.way {
            // what had left comes back
            Way::Give(Side::Redeemed | Side::Merged) => {
                self.give(member, points)?;
                let left = self.control.entry(Control::Left).or_default();
                *left = left.saturating_sub(points.get());
            }
            Way::Give(_) => {
                self.give(member, points)?;
                self.book(Control::Earned, points);
            }
            Way::Take(_) => {
                let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
                let left = balance.available.minus(points).map_err(|_| PointsError::TooFew)?;
                balance.available = left;
                self.book(Control::Left, points);
            }
            Way::TakeBack(_) => {
                self.take_before(member, points)?;
                self.book(Control::Left, points);
            }
            Way::Hold => self.hold(member, points)?,
            Way::Release => self.release(member, points)?,
            Way::Settle(_) => {
                let balance = self.members.get_mut(&member).ok_or(PointsError::TooFew)?;
                balance.held = balance.held.minus(points).map_err(|_| PointsError::TooFew)?;
                self.book(Control::Left, points);
            }
        }
        Ok(())
    }

    /// Whether a member's balance is another than what the programme's lots come to.
    #[must_use]
    pub fn differs(&self, member: MemberId, programme: &Programme) -> bool {
        let balance = self.balance(member);
        let beyond = self.beyond.get(&member).copied().unwrap_or_default();
        let books = programme.accounts().balance(account(member));
        (books.available(), books.held(), books.owed()) != (balance.available, balance.held, beyond)
    }

    /// How many members' balances are other than what the programme's lots come to: none, or
    /// something is wrong.
    #[must_use]
    pub fn differences(&self, programme: &Programme) -> usize {
        let only_there = programme
            .accounts()
            .iter()
            .map(|(account, _)| member(account))
            .filter(|member| !self.members.contains_key(member));
        let all = self.members.keys().copied().chain(only_there);
        all.filter(|member| self.differs(*member, programme)).count()
    }
}
