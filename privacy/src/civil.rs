//! Days of the civil calendar and the buckets a date column is grouped by.
//!
//! Knows the Gregorian calendar well enough to compare days and to step from bucket to bucket.
//! Deliberately knows no zones, no times of day and no present.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A day, years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct CivilDate {
    #[n(0)]
    year: u16,
    #[n(1)]
    month: u8,
    #[n(2)]
    day: u8,
}

/// A text that is not a day written `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a date is written YYYY-MM-DD and exists in the calendar")]
pub struct DateError;

impl CivilDate {
    /// `None` for a day that does not exist.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let exists = (1..=9999).contains(&year) && day >= 1 && day <= days_in_month(year, month)?;
        exists.then_some(Self { year, month, day })
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day so many days later, up to a month of them; `None` past year 9999.
    pub(crate) fn plus_days(self, days: u16) -> Option<Self> {
        let length = u16::from(days_in_month(self.year, self.month)?);
        let day = u16::from(self.day).checked_add(days)?;
        let Some(over) = day.checked_sub(length).filter(|over| *over > 0) else {
            return Self::new(self.year, self.month, u8::try_from(day).ok()?);
        };
        let next = self.next_bucket_start(Bucket::Month)?;
        Self::new(next.year, next.month, u8::try_from(over).ok()?)
    }

    /// Days since 0000-03-01, a Wednesday. Years begin with March here, so that a leap day is their last, and of the
    /// months five from March on have 153 days.
    fn number(self) -> u32 {
        let of_year = |years: u32| {
            let leap = |every: u32| years.checked_div(every).unwrap_or(0);
            let leaps = leap(4).saturating_add(leap(400)).saturating_sub(leap(100));
            years.saturating_mul(365).saturating_add(leaps)
        };
        let since_march = self.month.checked_sub(3).unwrap_or(self.month.saturating_add(9));
        let year = u32::from(self.year).saturating_sub(u32::from(self.month < 3));
        let months = u32::from(since_march).saturating_mul(153).saturating_add(2);
        let months = months.checked_div(5).unwrap_or(0);
        let day = u32::from(self.day.saturating_sub(1));
        of_year(year).saturating_add(months).saturating_add(day)
    }

    /// How many days this day comes after the Monday that begins its week.
    fn since_monday(self) -> u32 {
        self.number().saturating_add(2).checked_rem(7).unwrap_or(0)
    }

    /// How many days this one comes after another; 0 when it is before it.
    pub(crate) fn days_since(self, first: Self) -> u32 {
        self.number().saturating_sub(first.number())
    }

    /// The day so many days earlier, fewer than a month of them; `None` before year 1.
    fn minus_days(self, days: u8) -> Option<Self> {
        if let Some(day) = self.day.checked_sub(days).filter(|day| *day > 0) {
            return Some(Self { day, ..self });
        }
        let (year, month) = match self.month.checked_sub(1).filter(|month| *month > 0) {
            Some(month) => (self.year, month),
            None => (self.year.checked_sub(1)?, 12),
        };
        let day = self.day.checked_add(days_in_month(year, month)?)?.checked_sub(days)?;
        Self::new(year, month, day)
    }

    /// How many buckets this day's bucket comes after that of `first`; 0 when it is before it.
    pub(crate) fn buckets_since(self, first: Self, bucket: Bucket) -> u32 {
        let number = |day: Self| {
            let months = u32::from(day.year)
                .saturating_mul(12)
                .saturating_add(u32::from(day.month.saturating_sub(1)));
            match bucket {
                Bucket::Day => day.number(),
                Bucket::Week => day.number().saturating_add(2).checked_div(7).unwrap_or(0),
                _ => months.checked_div(u32::from(bucket.months())).unwrap_or(0),
            }
        };
        number(self).saturating_sub(number(first))
    }

    /// First day of the bucket that holds this day.
    pub(crate) fn bucket_start(self, bucket: Bucket) -> Self {
        match bucket {
            Bucket::Day => return self,
            Bucket::Week => {
                // year 1 begins with a Monday
                let into = u8::try_from(self.since_monday()).unwrap_or(0);
                return self.minus_days(into).unwrap_or(self);
            }
            _ => {}
        }
        let into = self.month.saturating_sub(1).checked_rem(bucket.months()).unwrap_or(0);
        Self { year: self.year, month: self.month.saturating_sub(into), day: 1 }
    }

    /// First day of the bucket after the one that holds this day; `None` past year 9999.
    pub(crate) fn next_bucket_start(self, bucket: Bucket) -> Option<Self> {
        let start = self.bucket_start(bucket);
        match bucket {
            Bucket::Day => return start.plus_days(1),
            Bucket::Week => return start.plus_days(7),
            _ => {}
        }
        let month = start.month.checked_add(bucket.months())?;
        if month > 12 {
            Self::new(start.year.checked_add(1)?, month.checked_sub(12)?, 1)
        } else {
            Self::new(start.year, month, 1)
        }
    }

    /// Last day of the bucket that holds this day; `None` past year 9999.
    pub(crate) fn bucket_end(self, bucket: Bucket) -> Option<Self> {
        let start = self.bucket_start(bucket);
        match bucket {
            Bucket::Day => return Some(start),
            Bucket::Week => return start.plus_days(6),
            _ => {}
        }
        let month = start.month.checked_add(bucket.months())?.checked_sub(1)?;
        Self::new(start.year, month, days_in_month(start.year, month)?)
    }

    /// Name of the bucket that holds this day: `2017-03-29` of a day, `2017-03-27` of its week (a Monday), `2017-03`,
    /// `2017-Q1`, `2017-H1`, `2017`.
    pub(crate) fn bucket_label(self, bucket: Bucket) -> String {
        let start = self.bucket_start(bucket);
        let ordinal = start.month.div_ceil(bucket.months());
        match bucket {
            Bucket::Day | Bucket::Week => start.to_string(),
            Bucket::Month => format!("{:04}-{:02}", start.year, start.month),
            Bucket::Quarter => format!("{:04}-Q{ordinal}", start.year),
            Bucket::HalfYear => format!("{:04}-H{ordinal}", start.year),
            Bucket::Year => format!("{:04}", start.year),
        }
    }
}

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CivilDate {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return Err(DateError);
        }
        let mut fields = text.split('-');
        let year = fields.next().and_then(|field| field.parse().ok()).ok_or(DateError)?;
        let month = fields.next().and_then(|field| field.parse().ok()).ok_or(DateError)?;
        let day = fields.next().and_then(|field| field.parse().ok()).ok_or(DateError)?;
        Self::new(year, month, day).ok_or(DateError)
    }
}

impl Serialize for CivilDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CivilDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A calendar period by which a date column can be grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Bucket {
    /// `date_trunc('month', c)`
    #[n(0)]
    Month,
    /// `date_trunc('quarter', c)`
    #[n(1)]
    Quarter,
    /// `half_year(c)`
    #[n(2)]
    HalfYear,
    /// `date_trunc('year', c)`
    #[n(3)]
    Year,
    /// `date_trunc('week', c)`: from Monday to Sunday
    #[n(4)]
    Week,
    /// `date_trunc('day', c)`
    #[n(5)]
    Day,
}

impl Bucket {
    /// Whether its buckets are made of whole months.
    pub(crate) const fn is_of_months(self) -> bool {
        !matches!(self, Self::Week | Self::Day)
    }

    /// How many months one has; what is within a month counts as one.
    const fn months(self) -> u8 {
        match self {
            Self::Day | Self::Week | Self::Month => 1,
            Self::Quarter => 3,
            Self::HalfYear => 6,
            Self::Year => 12,
        }
    }
}

fn days_in_month(year: u16, month: u8) -> Option<u8> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> CivilDate {
        text.parse().unwrap()
    }

    #[test]
    fn only_days_that_exist() {
        assert_eq!(date("2016-02-29").to_string(), "2016-02-29");
        for bad in ["2017-02-29", "2017-13-01", "2017-00-01", "2017-1-1", "0000-01-01", "17-01-01x"]
        {
            assert_eq!(bad.parse::<CivilDate>(), Err(DateError), "{bad}");
        }
    }

    /// Every day of 1 to 9999 by its neighbours: numbers go up by one, weeks begin with each seventh.
    #[test]
    fn days_and_weeks_follow_each_other() {
        let mut day = date("0001-01-01");
        assert_eq!((day.since_monday(), day.bucket_start(Bucket::Week)), (0, day));
        let mut days = 1u32;
        while let Some(next) = day.next_bucket_start(Bucket::Day) {
            assert!(next > day);
            assert_eq!((next.days_since(day), day.days_since(next)), (1, 0));
            assert_eq!(next.since_monday(), days % 7, "{next}");
            assert_eq!(next.buckets_since(date("0001-01-01"), Bucket::Week), days / 7);
            let monday = next.bucket_start(Bucket::Week);
            assert_eq!((next.days_since(monday), monday.since_monday()), (days % 7, 0));
            (day, days) = (next, days + 1);
        }
        assert_eq!((day, days), (date("9999-12-31"), 3_652_059));
        // known days: a Sunday, a Monday, a leap day that was a Thursday
        assert_eq!(date("2017-01-01").bucket_label(Bucket::Week), "2016-12-26");
        assert_eq!(date("2017-01-02").bucket_label(Bucket::Week), "2017-01-02");
        assert_eq!(date("2024-02-29").bucket_label(Bucket::Week), "2024-02-26");
        assert_eq!(date("2024-02-29").bucket_label(Bucket::Day), "2024-02-29");
        assert_eq!(date("2024-02-29").bucket_end(Bucket::Week), Some(date("2024-03-03")));
        assert_eq!(date("2017-12-31").next_bucket_start(Bucket::Week), Some(date("2018-01-01")));
    }

    #[test]
    fn buckets_tile_the_year() {
        for (bucket, count, last) in [
            (Bucket::Month, 12, "2017-12"),
            (Bucket::Quarter, 4, "2017-Q4"),
            (Bucket::HalfYear, 2, "2017-H2"),
            (Bucket::Year, 1, "2017"),
        ] {
            let mut day = date("2017-01-01");
            let mut labels = Vec::new();
            while day.year() == 2017 {
                assert_eq!(day.buckets_since(date("2017-01-31"), bucket), labels.len() as u32);
                labels.push(day.bucket_label(bucket));
                let end = day.bucket_end(bucket).unwrap();
                assert!(end > day && end.bucket_start(bucket) == day);
                assert!(end < day.next_bucket_start(bucket).unwrap());
                day = day.next_bucket_start(bucket).unwrap();
            }
            assert_eq!(labels.len(), count);
            assert_eq!(labels.last().map(String::as_str), Some(last));
            assert_eq!(day, date("2018-01-01"));
        }
        assert_eq!(date("2017-06-30").bucket_label(Bucket::HalfYear), "2017-H1");
        assert_eq!(date("2017-07-01").bucket_label(Bucket::HalfYear), "2017-H2");
    }
}
