//! What the programme remembers of a member: counts and dates, kept up to date event by event.
//!
//! Nothing here names a person. Categories and channels are numbers in one table, so that a profile
//! stays small; all lists are bounded.

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::time::Timestamp;

use crate::calendar::{Day, DayOfYear, Zone};
use crate::ids::{Account, Fen, Name};
use crate::rules::{Hours, Lifecycle, is_online};

/// Months of purchases that are kept.
const MONTHS_MAX: usize = 24;
/// Categories counted for one member.
const CATEGORIES_MAX: usize = 64;
/// Channels counted for one member.
const CHANNELS_MAX: usize = 16;
/// Names of all categories and channels.
const NAMES_MAX: usize = 4_096;
/// A member is active so long after a purchase,
const ACTIVE_DAYS: u32 = 90;
/// and not lost so long.
const QUIET_DAYS: u32 = 180;

/// Names that profiles count by, in the order in which they were first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Names(#[n(0)] Vec<Name>);

impl Names {
    /// The number of a name; a new one is added while there is room.
    pub(crate) fn number(&mut self, name: &Name) -> Option<u16> {
        let place = self.0.iter().position(|known| known == name).or_else(|| {
            let room = self.0.len() < NAMES_MAX;
            room.then(|| {
                self.0.push(name.clone());
                self.0.len().saturating_sub(1)
            })
        });
        place.and_then(|place| u16::try_from(place).ok())
    }
    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: u16) -> Option<&Name> {
        self.0.get(usize::from(number))
    }
}

/// Purchases of one month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Month {
    /// Months since the year 0.
    #[n(0)]
    pub number: u32,
    /// Baskets.
    #[n(1)]
    pub purchases: u32,
    /// What they came to, in fen.
    #[n(2)]
    pub fen: u64,
}

/// What is remembered of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Profile {
    /// When the member joined, if that was told.
    #[n(0)]
    pub joined: Option<Timestamp>,
    /// The birthday.
    #[n(1)]
    pub birthday: Option<DayOfYear>,
    /// All points ever earned, whatever became of them; less those taken back.
    #[n(2)]
    pub accumulated: u64,
    /// All baskets.
    #[n(3)]
    pub purchases: u32,
    /// When the latest was.
    #[n(4)]
    pub last_purchase: Option<Timestamp>,
    /// The latest months with purchases, oldest first.
    #[n(5)]
    pub months: Vec<Month>,
    // fen by category, baskets by channel
    #[n(6)]
    categories: Vec<(u16, u64)>,
    #[n(7)]
    channels: Vec<(u16, u32)>,
    // baskets by part of the day: morning, afternoon, evening, night
    #[n(8)]
    hours: [u32; 4],
    /// Days of sign-in running.
    #[n(9)]
    pub streak: u32,
    /// The latest sign-in.
    #[n(10)]
    pub signed_in: Option<Day>,
    /// Who brought this member, until that was rewarded.
    #[n(11)]
    pub referrer: Option<Account>,
    /// How many members this one has brought.
    #[n(12)]
    pub referred: u32,
    /// Points earned on the latest day with any.
    #[n(13)]
    pub day_points: (Day, u64),
    /// Stopped for fraud: spends nothing.
    #[n(14)]
    pub stopped: bool,
    /// Rank of the tier, 0 for none.
    #[n(15)]
    pub rank: u8,
    /// When each trigger last gave something.
    #[n(16)]
    pub fired: Vec<(Name, Timestamp)>,
    /// Tests the member is in: name, group, when.
    #[n(17)]
    pub tests: Vec<(Name, u8, Timestamp)>,
    /// Up to when the member was told of points that expire.
    #[n(18)]
    pub told_until: Option<Timestamp>,
    /// The latest day on which each activity was done.
    #[n(19)]
    pub activities: Vec<(Name, Day)>,
    /// When it is next to be looked at whether time alone has changed a segment or the tier.
    #[n(20)]
    pub look_at: Option<Timestamp>,
    /// Does not take part: no purchase is remembered, and no segment, tier or offer looks at the member.
    #[cbor(n(21), default)]
    pub outside: bool,
    /// Whether it was asked of whoever keeps birth dates when the birthday is.
    #[cbor(n(22), default)]
    pub birthday_asked: bool,
    /// Held for review: nothing leaves the account.
    #[cbor(n(23), default)]
    pub held: bool,
}

/// What is remembered of one member, with names for numbers: for the member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // fields are named as those of a profile
pub struct Remembered {
    pub joined: Option<Timestamp>,
    pub birthday: Option<DayOfYear>,
    pub accumulated: u64,
    pub purchases: u32,
    pub last_purchase: Option<Timestamp>,
    pub months: Vec<Month>,
    pub categories: Vec<(Name, u64)>,
    pub channels: Vec<(Name, u32)>,
    pub hours: [u32; 4],
    pub streak: u32,
    pub signed_in: Option<Day>,
    /// Whether somebody who brought this member is still to be rewarded.
    pub is_referred: bool,
    pub referred: u32,
    pub day_points: (Day, u64),
    pub stopped: bool,
    pub rank: u8,
    pub fired: Vec<(Name, Timestamp)>,
    pub tests: Vec<(Name, u8, Timestamp)>,
    pub told_until: Option<Timestamp>,
    pub activities: Vec<(Name, Day)>,
    pub outside: bool,
    pub held: bool,
}

/// What a purchase adds to a profile or takes from it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Counted {
    /// When it was.
    #[n(0)]
    pub at: Timestamp,
    /// By which channel.
    #[n(1)]
    pub channel: Name,
    /// Whether it is a new basket, rather than more of one.
    #[n(2)]
    pub first_part: bool,
    /// By how much the basket grew.
    #[n(3)]
    pub more: Fen,
    /// By how much it shrank.
    #[n(4)]
    pub less: Fen,
    /// By how much its categories grew.
    #[n(5)]
    pub categories: Vec<(Name, Fen)>,
    /// In which hour of the day it was; none where that is not known, as of earlier versions.
    #[n(6)]
    pub hour: Option<u8>,
}

fn most<T: Copy, N: Ord + Copy + Default>(list: &[(T, N)]) -> Option<T> {
    // the first of those with the most, whatever came later
    let best = list.iter().map(|(_, number)| *number).max().filter(|best| *best > N::default())?;
    list.iter().find(|(_, number)| *number == best).map(|(it, _)| *it)
}

/// What is counted under a number, if the list has it or has room for it.
fn entry<N: Default>(list: &mut Vec<(u16, N)>, number: u16, most: usize) -> Option<&mut N> {
    let place = list.iter().position(|(known, _)| *known == number).or_else(|| {
        let room = list.len() < most;
        room.then(|| {
            list.push((number, N::default()));
            list.len().saturating_sub(1)
        })
    })?;
    list.get_mut(place).map(|(_, count)| count)
}

impl Month {
    /// The year and the month of it, 1 to 12.
    #[must_use]
    pub const fn year_and_month(self) -> (u32, u32) {
        let before = self.number.saturating_sub(1);
        // by a number that is not zero
        (before.wrapping_div(12), before.wrapping_rem(12).saturating_add(1))
    }
}

impl Profile {
    /// What remains of a member who was erased: that nothing may be spent.
    pub(crate) fn of_erased() -> Self {
        Self { stopped: true, ..Self::default() }
    }

    /// All of it, for the member.
    #[must_use]
    pub fn remembered(&self, names: &Names) -> Remembered {
        fn named<N: Copy>(list: &[(u16, N)], names: &Names) -> Vec<(Name, N)> {
            list.iter().filter_map(|(it, count)| Some((names.name(*it)?.clone(), *count))).collect()
        }
        let Self {
            joined,
            birthday,
            accumulated,
            purchases,
            last_purchase,
            months,
            categories,
            channels,
            hours,
            streak,
            signed_in,
            // another member's
            referrer,
            referred,
            day_points,
            stopped,
            rank,
            fired,
            tests,
            told_until,
            activities,
            // when the member is looked at next
            look_at: _,
            outside,
            // whether the vault was asked for it
            birthday_asked: _,
            held,
        } = self.clone();
        Remembered {
            joined,
            birthday,
            accumulated,
            purchases,
            last_purchase,
            months,
            categories: named(&categories, names),
            channels: named(&channels, names),
            hours,
            streak,
            signed_in,
            is_referred: referrer.is_some(),
            referred,
            day_points,
            stopped,
            rank,
            fired,
            tests,
            told_until,
            activities,
            outside,
            held,
        }
    }

    /// What remains of a member who no longer agrees to take part: what was given and when, so that nothing is
    /// given twice, and a stop. Purchases, birthday and tier are gone; of offers only that they were had.
    pub(crate) fn leave(&mut self) {
        let old = std::mem::take(self);
        *self = Self {
            joined: old.joined,
            signed_in: old.signed_in,
            day_points: old.day_points,
            stopped: old.stopped,
            held: old.held,
            fired: old.fired,
            told_until: old.told_until,
            activities: old.activities,
            referred: old.referred,
            // that an offer was had, not when: it is not made again, and no purchase counts for it
            tests: old
                .tests
                .into_iter()
                .map(|(name, group, _)| (name, group, Timestamp::from_unix_ms(0)))
                .collect(),
            outside: true,
            ..Self::default()
        };
    }

    /// Adds what is remembered of another who was the same person: a stop of either holds, and of what
    /// only one of them can have, this one's comes first.
    pub(crate) fn take_over(&mut self, other: Self) {
        fn add<N: Ord + Default + Copy>(
            list: &mut Vec<(u16, N)>,
            other: Vec<(u16, N)>,
            most: usize,
            sum: impl Fn(N, N) -> N,
        ) {
            for (number, count) in other {
                let mine = entry(list, number, most);
                mine.into_iter().for_each(|mine| *mine = sum(*mine, count));
            }
        }
        fn later<T: Ord>(list: &mut Vec<(Name, T)>, other: Vec<(Name, T)>) {
            for (name, when) in other {
                match list.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, mine)) if *mine >= when => {}
                    Some((_, mine)) => *mine = when,
                    None => list.push((name, when)),
                }
            }
        }
        self.joined = self.joined.into_iter().chain(other.joined).min();
        self.birthday = self.birthday.or(other.birthday);
        self.accumulated = self.accumulated.saturating_add(other.accumulated);
        self.purchases = self.purchases.saturating_add(other.purchases);
        self.last_purchase = self.last_purchase.max(other.last_purchase);
        for theirs in other.months {
            let place = self.months.partition_point(|month| month.number < theirs.number);
            match self.months.get_mut(place).filter(|month| month.number == theirs.number) {
                Some(month) => {
                    month.purchases = month.purchases.saturating_add(theirs.purchases);
                    month.fen = month.fen.saturating_add(theirs.fen);
                }
                None => self.months.insert(place, theirs),
            }
        }
        let many = self.months.len().saturating_sub(MONTHS_MAX);
        self.months.drain(..many);
        add(&mut self.categories, other.categories, CATEGORIES_MAX, u64::saturating_add);
        add(&mut self.channels, other.channels, CHANNELS_MAX, u32::saturating_add);
        for (mine, theirs) in self.hours.iter_mut().zip(other.hours) {
            *mine = mine.saturating_add(theirs);
        }
        if other.signed_in > self.signed_in {
            (self.signed_in, self.streak) = (other.signed_in, other.streak);
        }
        self.referrer = self.referrer.or(other.referrer);
        self.referred = self.referred.saturating_add(other.referred);
        self.day_points = match self.day_points.0.cmp(&other.day_points.0) {
            std::cmp::Ordering::Equal => {
                (self.day_points.0, self.day_points.1.saturating_add(other.day_points.1))
            }
            std::cmp::Ordering::Less => other.day_points,
            std::cmp::Ordering::Greater => self.day_points,
        };
        self.stopped |= other.stopped;
        self.held |= other.held;
        self.rank = self.rank.max(other.rank);
        later(&mut self.fired, other.fired);
        later(&mut self.activities, other.activities);
        for test in other.tests {
            if self.tests.iter().all(|(name, ..)| *name != test.0) {
                self.tests.push(test);
            }
        }
        self.told_until = self.told_until.max(other.told_until);
        // what was agreed is known of the one who stays alone
        if self.outside {
            self.leave();
        }
    }

    /// Takes note of a purchase.
    pub(crate) fn count(&mut self, counted: &Counted, names: &mut Names, zone: Zone) {
        let number = zone.day(counted.at).month_number();
        let place = self.months.partition_point(|month| month.number < number);
        if self.months.get(place).is_none_or(|month| month.number != number) {
            self.months.insert(place, Month { number, purchases: 0, fen: 0 });
        }
        if let Some(month) = self.months.get_mut(place) {
            month.fen =
                month.fen.saturating_add(counted.more.get()).saturating_sub(counted.less.get());
            month.purchases = month.purchases.saturating_add(u32::from(counted.first_part));
        }
        while self.months.len() > MONTHS_MAX {
            self.months.remove(0);
        }
        for (name, fen) in &counted.categories {
            let Some(number) = names.number(name) else { continue };
            let sum = entry(&mut self.categories, number, CATEGORIES_MAX);
            sum.into_iter().for_each(|sum| *sum = sum.saturating_add(fen.get()));
        }
        if !counted.first_part {
            return;
        }
        self.purchases = self.purchases.saturating_add(1);
        self.last_purchase = self.last_purchase.max(Some(counted.at));
        if let Some(number) = names.number(&counted.channel) {
            let baskets = entry(&mut self.channels, number, CHANNELS_MAX);
            baskets.into_iter().for_each(|baskets| *baskets = baskets.saturating_add(1));
        }
        let Some(hour) = counted.hour else { return };
        let part = match Hours::of(hour) {
            Hours::Morning => 0,
            Hours::Afternoon => 1,
            Hours::Evening => 2,
            Hours::Night => 3,
        };
        if let Some(baskets) = self.hours.get_mut(part) {
            *baskets = baskets.saturating_add(1);
        }
    }

    /// Takes note of points earned on a day.
    pub(crate) fn earned(&mut self, points: Points, day: Day) {
        self.accumulated = self.accumulated.saturating_add(points.get());
        self.gained(points, day);
    }

    /// Takes note of points that came on a day, by whatever way.
    pub(crate) fn gained(&mut self, points: Points, day: Day) {
        let before = if self.day_points.0 == day { self.day_points.1 } else { 0 };
        self.day_points = (day, before.saturating_add(points.get()));
    }

    /// Baskets and fen of the latest months up to a day's, its own included.
    #[must_use]
    pub fn recent(&self, day: Day, months: u32) -> (u32, u64) {
        let this = day.month_number();
        let within = self
            .months
            .iter()
            .filter(|month| month.number <= this && this.saturating_sub(month.number) < months);
        within.fold((0, 0), |(purchases, fen), month| {
            (u32::saturating_add(purchases, month.purchases), u64::saturating_add(fen, month.fen))
        })
    }

    /// The category most was spent on.
    #[must_use]
    pub fn category<'n>(&self, names: &'n Names) -> Option<&'n Name> {
        names.name(most(&self.categories)?)
    }

    /// The channel most purchases came by.
    #[must_use]
    pub fn channel<'n>(&self, names: &'n Names) -> Option<&'n Name> {
        names.name(most(&self.channels)?)
    }

    /// Whether most purchases came by a channel: `online` is all that is not a shop's, by whatever name it was counted.
    #[must_use]
    pub fn is_mostly_by(&self, channel: &Name, names: &Names) -> bool {
        if !matches!(channel.as_str(), "online" | "offline") {
            return self.channel(names) == Some(channel);
        }
        let mut sides: Vec<(bool, u32)> = Vec::new();
        for (number, baskets) in &self.channels {
            let side = names.name(*number).is_some_and(is_online);
            match sides.iter_mut().find(|(known, _)| *known == side) {
                Some((_, sum)) => *sum = sum.saturating_add(*baskets),
                None => sides.push((side, *baskets)),
            }
        }
        most(&sides) == Some(is_online(channel))
    }

    /// The part of the day most purchases are in.
    #[must_use]
    pub fn hours(&self) -> Option<Hours> {
        let [morning, afternoon, evening, night] = self.hours;
        most(&[
            (Hours::Morning, morning),
            (Hours::Afternoon, afternoon),
            (Hours::Evening, evening),
            (Hours::Night, night),
        ])
    }

    /// Whole days since the latest purchase.
    #[must_use]
    pub fn quiet_days(&self, now: Timestamp, zone: Zone) -> Option<u32> {
        Some(zone.day(now).since(zone.day(self.last_purchase?)))
    }

    /// Where the member is in the time with the brand.
    #[must_use]
    pub fn lifecycle(&self, now: Timestamp, zone: Zone) -> Lifecycle {
        match self.quiet_days(now, zone) {
            None => Lifecycle::New,
            Some(days) if days > QUIET_DAYS => Lifecycle::Lost,
            Some(days) if days > ACTIVE_DAYS => Lifecycle::Quiet,
            Some(_) if self.purchases <= 1 => Lifecycle::First,
            Some(_) => Lifecycle::Active,
        }
    }

    /// Whether a trigger gave this member something in so many days before a moment.
    #[must_use]
    pub fn fired_within(&self, trigger: &Name, now: Timestamp, days: u32) -> bool {
        let found = self.fired.iter().find(|(name, _)| name == trigger);
        let window = u64::from(days).saturating_mul(crate::calendar::DAY_MS);
        found.is_some_and(|(_, at)| now.since(*at).get() < window)
    }
}
