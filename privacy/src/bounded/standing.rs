//! A standing question: one charge for all its periods, each released when it is over.
//!
//! Its plan has the cells of every period, months of a year for instance, with sensitivity and noise of the
//! whole. The guarantee rests on one fact: **over all periods together, a member's clipped vector of a
//! column has norm at most C.** Proof: when a period is closed, a member's vector in it is clipped to what
//! its other closed periods have left of C^2 ([`Spent`]), by integer arithmetic that rounds no square up; so
//! the sum of squares never exceeds C^2, in whatever order periods are closed. What a member moves depends
//! on its own rows alone. Each period's Gaussian noise is fresh and drawn once, so that all releases
//! together are one draw of the mechanism that was charged for the whole; that later questions or rows may
//! depend on earlier releases costs nothing more (adaptive composition of Gaussian noise with a bound on
//! the sum of squares: Feldman and Zrnic 2021, theorem 3.1).
//!
//! Members who are merged between two periods are one from then on: of each closed period the one has used
//! what they used there together, and a sum of two vectors is no longer than both lengths ([`Spent::merge`]).
//! If they had used more than C^2 by then, being two, the one moves nothing any more. What the one uses each
//! of them has used, should they be parted again.
//!
//! A period is closed from the rows that are there when it is over; rows that come later for it are lost to
//! the question. [`Spent`] names members: the caller seals it, keeps it with the data, and deletes a member
//! from it with the member.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::civil::CivilDate;
use crate::plan::DpPlan;
use crate::sql::expr::Expr;

/// Why a question cannot stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandingError {
    /// No key is a period.
    #[error(
        "a standing question has one period among its group keys: date_trunc('month', ...), quarter, half_year or year"
    )]
    NoPeriod,
    /// Cells could not be chosen before all periods are there.
    #[error("a standing question shows every cell: leave HAVING, ORDER BY and LIMIT out")]
    Selects,
    /// There is no such period.
    #[error("the question has {periods} periods, from 0")]
    Unknown {
        /// How many there are.
        periods: u32,
    },
    /// Its rows are not all there.
    #[error("the period is not over: close it after its last day")]
    NotOver,
    /// What it shows would be of another year than the one that paid.
    #[error("the year that paid is over: ask for the period in the year in which it is read")]
    OtherYear,
    /// There is one release of it.
    #[error("the period has been released: its answer is on record")]
    Released,
}

/// The periods of a standing question's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    of_cells: Vec<u32>,
    last_days: Vec<CivilDate>,
}

impl Periods {
    /// The periods of a plan.
    pub fn of(plan: &DpPlan) -> Result<Self, StandingError> {
        if plan.query().selects() {
            return Err(StandingError::Selects);
        }
        let mut found = None;
        let mut below = 1u64;
        // the last key turns fastest
        for key in plan.query().keys.iter().rev() {
            let radix = u64::try_from(key.labels.len()).unwrap_or(u64::MAX);
            // what a member has used is kept by period: weeks and days would be too many
            if let Expr::Bucket { bucket, first, last, .. } = key.expr
                && bucket.is_of_months()
            {
                if found.is_some() {
                    return Err(StandingError::NoPeriod);
                }
                found = Some((below, radix, bucket, first, last));
            }
            below = below.saturating_mul(radix);
        }
        let Some((below, radix, bucket, first, last)) = found else {
            return Err(StandingError::NoPeriod);
        };
        let mut last_days = Vec::new();
        let mut start = first.bucket_start(bucket);
        while start <= last {
            let Some(end) = start.bucket_end(bucket) else { break };
            last_days.push(end);
            let Some(next) = start.next_bucket_start(bucket) else { break };
            start = next;
        }
        let period = |code: u64| {
            let digit = code.checked_div(below).and_then(|rest| rest.checked_rem(radix));
            u32::try_from(digit.unwrap_or(u64::MAX)).unwrap_or(u32::MAX)
        };
        let of_cells = plan.cells().iter().map(|cell| period(cell.code)).collect();
        Ok(Self { of_cells, last_days })
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.last_days.len()).unwrap_or(u32::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.last_days.is_empty()
    }

    /// Checks that a period is one of them and over on this day.
    pub fn check_over(&self, period: u32, today: CivilDate) -> Result<(), StandingError> {
        let last = usize::try_from(period).ok().and_then(|at| self.last_days.get(at));
        let last = last.ok_or(StandingError::Unknown { periods: self.len() })?;
        if today > *last { Ok(()) } else { Err(StandingError::NotOver) }
    }

    /// The last day of a period.
    pub fn last_day(&self, period: u32) -> Option<CivilDate> {
        self.last_days.get(usize::try_from(period).ok()?).copied()
    }

    /// Which period a cell of the plan belongs to.
    pub(crate) fn of_cell(&self, position: usize) -> Option<u32> {
        self.of_cells.get(position).copied()
    }
}

/// What each member's closed periods have used of its bound: squared norms in scaled units, by member, then
/// period, then column.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Spent {
    members: BTreeMap<Vec<u8>, BTreeMap<u32, Vec<Square>>>,
    /// Under which member's name a merged one's use of a period is.
    together: BTreeMap<Vec<u8>, BTreeMap<u32, Vec<u8>>>,
    /// The former names of members who are merged now.
    merged: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

/// A square of up to 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
struct Square {
    #[n(0)]
    high: u64,
    #[n(1)]
    low: u64,
}

impl Square {
    fn of(value: u128) -> Self {
        Self {
            high: u64::try_from(value >> 64).unwrap_or(u64::MAX),
            low: u64::try_from(value & u128::from(u64::MAX)).unwrap_or(u64::MAX),
        }
    }

    fn value(self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }
}

impl Spent {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which members are merged now: each former name with the member's. To be called once, before
    /// anything is clipped.
    pub fn merge(&mut self, names: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
        for (former, member) in names {
            self.merged.entry(member).or_default().push(former);
        }
    }

    /// What is left of a bound for a member's column in a period, beside its other periods.
    pub(crate) fn left(&self, member: &[u8], period: u32, column: usize, bound: u128) -> u128 {
        let mut used: BTreeMap<u32, BTreeSet<&[u8]>> = BTreeMap::new();
        let former = self.merged.get(member).into_iter().flatten().map(Vec::as_slice);
        for name in former.chain([member]) {
            for other in self.members.get(name).into_iter().flat_map(BTreeMap::keys) {
                used.entry(*other).or_default().insert(name);
            }
            for (other, under) in self.together.get(name).into_iter().flatten() {
                used.entry(*other).or_default().insert(under);
            }
        }
        let others = used.into_iter().filter(|(other, _)| *other != period);
        others.fold(bound, |left, (other, names)| {
            let squares = names.into_iter().filter_map(|name| {
                let square = self.members.get(name)?.get(&other)?.get(column).copied()?;
                Some(square.value())
            });
            left.saturating_sub(joined(squares))
        })
    }

    /// Takes down what a member's columns have in a period.
    pub(crate) fn put(&mut self, member: &[u8], period: u32, squares: &[u128]) {
        let squares = squares.iter().map(|square| Square::of(*square)).collect();
        self.members.entry(member.to_vec()).or_default().insert(period, squares);
        for former in self.merged.get(member).into_iter().flatten() {
            self.together.entry(former.clone()).or_default().insert(period, member.to_vec());
        }
    }

    /// Forgets what a period was closed with, before it is closed again.
    pub(crate) fn forget(&mut self, period: u32) {
        for periods in self.members.values_mut() {
            periods.remove(&period);
        }
        self.members.retain(|_, periods| !periods.is_empty());
        for periods in self.together.values_mut() {
            periods.remove(&period);
        }
        self.together.retain(|_, periods| !periods.is_empty());
    }

    /// What one period was closed with, in pages of at most so many members, to be stored; the first is
    /// there for a period in which nobody has anything as well.
    pub fn pages(&self, period: u32, members_each: usize) -> Vec<SpentPage> {
        let mut under: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        for (former, periods) in &self.together {
            if let Some(member) = periods.get(&period) {
                under.entry(member).or_default().push(former);
            }
        }
        let mut pages = vec![SpentPage::empty(period)];
        let mut names = 0usize;
        for (member, periods) in &self.members {
            let Some(squares) = periods.get(&period) else { continue };
            let former = under.get(member.as_slice()).map_or(&[][..], Vec::as_slice);
            if names >= members_each.max(1) {
                pages.push(SpentPage::empty(period));
                names = 0;
            }
            names = names.saturating_add(1).saturating_add(former.len());
            if let Some(page) = pages.last_mut() {
                page.members.insert(member.clone(), squares.clone());
                for name in former {
                    let together = page.together.get_or_insert_default();
                    together.insert(name.to_vec(), member.clone());
                }
            }
        }
        pages
    }

    /// Adds a page that was stored.
    pub fn add(&mut self, page: SpentPage) {
        for (member, squares) in page.members {
            self.members.entry(member).or_default().insert(page.period, squares);
        }
        for (former, member) in page.together.into_iter().flatten() {
            self.together.entry(former).or_default().insert(page.period, member);
        }
    }
}

/// The square of the sum of the roots, which are rounded up where there is more than one.
fn joined(squares: impl Iterator<Item = u128>) -> u128 {
    let squares: Vec<u128> = squares.collect();
    if let [only] = squares.as_slice() {
        return *only;
    }
    let root = |square: u128| {
        let floor = square.isqrt();
        floor.saturating_add(u128::from(floor.saturating_mul(floor) < square))
    };
    let sum = squares.into_iter().map(root).fold(0, u128::saturating_add);
    sum.saturating_mul(sum)
}

/// What some members' vectors had in one period of a standing question: personal data, to be sealed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SpentPage {
    #[n(0)]
    period: u32,
    #[n(1)]
    members: BTreeMap<Vec<u8>, Vec<Square>>,
    /// Members who were merged into one of these when the period was closed; not there for none, nor in pages
    /// of before they were kept.
    #[n(2)]
    together: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl SpentPage {
    const fn empty(period: u32) -> Self {
        Self { period, members: BTreeMap::new(), together: None }
    }

    /// The period.
    pub const fn period(&self) -> u32 {
        self.period
    }

    /// Forgets a member, when it is erased: its rows are gone as well. What others used together with it
    /// stays theirs. Says whether it was there.
    pub fn forget_member(&mut self, member: &[u8]) -> bool {
        let mut together = self.together.take().unwrap_or_default();
        let was_merged = together.remove(member).is_some();
        let squares = self.members.remove(member);
        let there = was_merged || squares.is_some();
        if let Some(squares) = squares {
            let others: Vec<Vec<u8>> = together
                .iter()
                .filter(|(_, of)| *of == member)
                .map(|(name, _)| name.clone())
                .collect();
            if let Some((heir, rest)) = others.split_first() {
                together.remove(heir);
                for name in rest {
                    together.insert(name.clone(), heir.clone());
                }
                self.members.insert(heir.clone(), squares);
            }
        }
        self.together = (!together.is_empty()).then_some(together);
        there
    }
}

/// Redacted: it names members.
impl fmt::Debug for SpentPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpentPage").field("period", &self.period).finish_non_exhaustive()
    }
}

/// Redacted: it names members.
impl fmt::Debug for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spent").finish_non_exhaustive()
    }
}
