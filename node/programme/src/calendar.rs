//! Days of the brand's own calendar: a moment and a fixed offset from UTC, nothing of the system.
//!
//! China has had no daylight saving time since 1991, so that an offset is enough. Civil dates by the
//! algorithms of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use std::fmt;

use minicbor::{Decode, Encode};
use protocol::time::Timestamp;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
const MINUTE_MS: u64 = 60_000;

/// A day, as days since 1970-01-01 in the brand's zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Day(#[n(0)] u32);

/// Minutes east of UTC, 0 to 840: where midnight is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(u32);

/// The day of a year, without the year: a birthday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct DayOfYear {
    #[n(0)]
    month: u8,
    #[n(1)]
    day: u8,
}

/// Year, month and day of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Such as 2026.
    pub year: u32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Zone {
    /// So many minutes east of UTC, at most 14 hours.
    #[must_use]
    pub const fn new(minutes: u32) -> Option<Self> {
        if minutes <= 840 { Some(Self(minutes)) } else { None }
    }
    /// The minutes.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        self.0
    }
    fn local(self, at: Timestamp) -> u64 {
        at.unix_ms().saturating_add(u64::from(self.0).saturating_mul(MINUTE_MS))
    }
    /// The day of a moment.
    #[must_use]
    pub fn day(self, at: Timestamp) -> Day {
        Day(u32::try_from(self.local(at) / DAY_MS).unwrap_or(u32::MAX))
    }
    /// The hour of a moment, 0 to 23.
    #[must_use]
    pub fn hour(self, at: Timestamp) -> u8 {
        u8::try_from(self.local(at) % DAY_MS / 3_600_000).unwrap_or(0)
    }
    /// The first moment of a day.
    #[must_use]
    pub fn start(self, day: Day) -> Timestamp {
        let local = u64::from(day.0).saturating_mul(DAY_MS);
        Timestamp::from_unix_ms(local.saturating_sub(u64::from(self.0).saturating_mul(MINUTE_MS)))
    }
}

impl Day {
    /// So many days after 1970-01-01.
    #[must_use]
    pub const fn new(days: u32) -> Self {
        Self(days)
    }
    /// The number of days.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
    /// So many days later.
    #[must_use]
    pub const fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }
    /// How many days this is after `earlier`; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
    /// Its date.
    #[must_use]
    pub fn date(self) -> Date {
        let shifted = u64::from(self.0).saturating_add(719_468);
        let (era, in_era) = (shifted / 146_097, shifted % 146_097);
        let leap = in_era.saturating_sub(in_era / 1_460).saturating_add(in_era / 36_524);
        let year_of_era = leap.saturating_sub(in_era / 146_096) / 365;
        let before = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era / 4)
            .saturating_sub(year_of_era / 100);
        let day_of_year = in_era.saturating_sub(before);
        // months from March
        let shifted_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
        let month_start = shifted_month.saturating_mul(153).saturating_add(2) / 5;
        let day = day_of_year.saturating_sub(month_start).saturating_add(1);
        let month = if shifted_month < 10 {
            shifted_month.saturating_add(3)
        } else {
            shifted_month.saturating_sub(9)
        };
        let year = era.saturating_mul(400).saturating_add(year_of_era);
        let year = if month <= 2 { year.saturating_add(1) } else { year };
        Date {
            year: u32::try_from(year).unwrap_or(u32::MAX),
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
        }
    }
    /// The first day of the month so many months later.
    #[must_use]
    pub fn month_after(self, months: u32) -> Self {
        let wanted = self.month_number().saturating_add(months);
        // no month is shorter than 28 days or longer than 31
        let most = months.saturating_add(1).saturating_mul(31);
        let least = months.saturating_sub(1).saturating_mul(28);
        let day =
            (least..=most).map(|days| self.plus(days)).find(|day| day.month_number() >= wanted);
        day.unwrap_or(self)
    }
    /// Months since the year 0: the same for all days of a month.
    #[must_use]
    pub fn month_number(self) -> u32 {
        let date = self.date();
        date.year.saturating_mul(12).saturating_add(u32::from(date.month))
    }
}

impl fmt::Display for DayOfYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl DayOfYear {
    /// A day of a year; the 29th of February is one.
    #[must_use]
    pub const fn new(month: u8, day: u8) -> Option<Self> {
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 29,
            _ => 0,
        };
        if day >= 1 && day <= days { Some(Self { month, day }) } else { None }
    }
    /// Whether a day is this one. Who was born on the 29th of February has the 28th in common years.
    #[must_use]
    pub fn is_on(self, day: Day) -> bool {
        let date = day.date();
        if (self.month, self.day) == (2, 29) {
            let next = day.plus(1).date();
            let last_of_february = date.month == 2 && next.month == 3;
            return last_of_february;
        }
        (date.month, date.day) == (self.month, self.day)
    }
    /// The first such day on or after a day.
    #[must_use]
    pub fn next_from(self, day: Day) -> Day {
        (0..=366).map(|after| day.plus(after)).find(|day| self.is_on(*day)).unwrap_or(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, text) in
            [(0, "1970-01-01"), (58, "1970-02-28"), (11_016, "2000-02-29"), (20_785, "2026-11-28")]
        {
            assert_eq!(Day::new(days).date().to_string(), text);
        }
        // every day follows the one before
        let mut last = Day::new(0).date();
        for days in 1..60_000 {
            let date = Day::new(days).date();
            let next = (date.year, date.month, date.day) == (last.year, last.month, last.day + 1)
                || (date.year == last.year && date.month == last.month + 1 && date.day == 1)
                || (date.year == last.year + 1 && (date.month, date.day) == (1, 1));
            assert!(next, "{last} then {date}");
            last = date;
        }
    }

    #[test]
    fn a_month_later_begins_with_its_first_day() {
        for days in 20_000..20_800 {
            let day = Day::new(days);
            for months in 1..=24 {
                let later = day.month_after(months);
                assert_eq!(
                    (later.date().day, later.month_number()),
                    (1, day.month_number() + months)
                );
            }
        }
    }

    #[test]
    fn midnight_is_where_the_brand_is() {
        let shanghai = Zone::new(480).unwrap();
        let evening = Timestamp::from_unix_ms(16 * 3_600_000 - 1);
        assert_eq!((shanghai.day(evening), shanghai.hour(evening)), (Day::new(0), 23));
        assert_eq!(shanghai.day(Timestamp::from_unix_ms(16 * 3_600_000)), Day::new(1));
        assert_eq!(shanghai.day(shanghai.start(Day::new(9))), Day::new(9));
    }

    #[test]
    fn a_birthday_on_a_leap_day_comes_every_year() {
        let leap = DayOfYear::new(2, 29).unwrap();
        let mut day = Day::new(20_000);
        for _ in 0..8 {
            let next = leap.next_from(day);
            let date = next.date();
            assert_eq!(date.month, 2);
            assert!(date.day == 29 || next.plus(1).date().month == 3);
            day = next.plus(1);
        }
        assert_eq!(DayOfYear::new(2, 30), None);
        assert_eq!(DayOfYear::new(13, 1), None);
    }
}
