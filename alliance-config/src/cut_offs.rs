//! When brands open what they owe each other: the alliance's calendar of cut-offs.
//!
//! A cut-off is the last millisecond before a time of day, in the zone of clearing, on the first day of a
//! period: what is dated before that time counts. Knows the calendar; who closes when is the node's.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use protocol::time::Timestamp;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Every day.
    Daily,
    /// Every Monday.
    Weekly,
    /// Every first day of a month.
    Monthly,
}

impl Period {
    /// All there are.
    pub(crate) const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    /// As the files write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The first day of the period that a day is in.
    fn first(self, day: Date) -> Option<Date> {
        match self {
            Self::Daily => Some(day),
            Self::Weekly => {
                let since = i64::from(day.weekday().to_monday_zero_offset());
                day.checked_sub(since.days()).ok()
            }
            Self::Monthly => Some(day.first_of_month()),
        }
    }

    fn length(self) -> Span {
        match self {
            Self::Daily => 1.day(),
            Self::Weekly => 1.week(),
            Self::Monthly => 1.month(),
        }
    }
}

/// The calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct CutOffs {
    period: Period,
    at: Time,
    zone: TimeZone,
}

impl CutOffs {
    /// A calendar: how often, at which time of the day, in which zone.
    #[must_use]
    pub const fn new(period: Period, at: Time, zone: TimeZone) -> Self {
        Self { period, at, zone }
    }

    /// How often there is one.
    #[must_use]
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The last cut-off that has passed; none before 1970.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let ms = i64::try_from(now.unix_ms()).ok()?;
        let today = jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone()).date();
        let first = self.period.first(today)?;
        let of_this = self.before(first)?;
        if of_this < now {
            return Some(of_this);
        }
        self.before(first.checked_sub(self.period.length()).ok()?)
    }

    /// Whether it is a cut-off of this calendar.
    #[must_use]
    pub fn include(&self, cut_off: Timestamp) -> bool {
        let next = cut_off.unix_ms().checked_add(1).map(Timestamp::from_unix_ms);
        next.and_then(|next| self.latest(next)) == Some(cut_off)
    }

    /// The last millisecond before the time of a day; a time that the day does not have is taken as the
    /// offset before the gap has it.
    fn before(&self, day: Date) -> Option<Timestamp> {
        let at = day.to_datetime(self.at).to_zoned(self.zone.clone()).ok()?;
        let ms = u64::try_from(at.timestamp().as_millisecond()).ok()?;
        ms.checked_sub(1).map(Timestamp::from_unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_unix_ms(at.as_millisecond().try_into().unwrap())
    }

    fn calendar(period: Period, time: &str, zone: &str) -> CutOffs {
        CutOffs::new(period, time.parse().unwrap(), TimeZone::get(zone).unwrap())
    }

    #[test]
    fn the_latest_cut_off_is_the_end_of_the_last_period_that_is_over() {
        for (period, time, now, latest) in [
            (Period::Daily, "00:00", "2026-11-29T12:00:00+08:00", "2026-11-28T23:59:59.999+08:00"),
            (Period::Daily, "17:30", "2026-11-29T12:00:00+08:00", "2026-11-28T17:29:59.999+08:00"),
            (Period::Daily, "17:30", "2026-11-29T17:30:00+08:00", "2026-11-29T17:29:59.999+08:00"),
            // a Sunday, and a Monday before and after its time
            (Period::Weekly, "00:00", "2026-11-29T12:00:00+08:00", "2026-11-22T23:59:59.999+08:00"),
            (Period::Weekly, "09:00", "2026-11-30T08:59:59+08:00", "2026-11-23T08:59:59.999+08:00"),
            (Period::Weekly, "09:00", "2026-11-30T09:00:01+08:00", "2026-11-30T08:59:59.999+08:00"),
            (
                Period::Monthly,
                "00:00",
                "2026-11-29T12:00:00+08:00",
                "2026-10-31T23:59:59.999+08:00",
            ),
            (
                Period::Monthly,
                "02:00",
                "2027-01-01T01:00:00+08:00",
                "2026-12-01T01:59:59.999+08:00",
            ),
        ] {
            let calendar = calendar(period, time, "Asia/Shanghai");
            assert_eq!(calendar.latest(at(now)), Some(at(latest)), "{now}");
            assert!(calendar.include(at(latest)), "{latest}");
        }
    }

    /// One that has not passed is none, to the millisecond; nor is anything between two.
    #[test]
    fn only_what_the_calendar_has_is_a_cut_off() {
        let monthly = calendar(Period::Monthly, "00:00", "Asia/Shanghai");
        let end = at("2026-10-31T23:59:59.999+08:00");
        assert_eq!(monthly.latest(end), Some(at("2026-09-30T23:59:59.999+08:00")));
        for other in [
            "2026-10-31T23:59:59.998+08:00",
            "2026-11-01T00:00:00+08:00",
            "2026-11-15T23:59:59.999+08:00",
            "2026-10-31T23:59:59.999Z",
        ] {
            assert!(!monthly.include(at(other)), "{other}");
        }
        for edge in [0, 1, u64::MAX - 1, u64::MAX] {
            assert!(!monthly.include(Timestamp::from_unix_ms(edge)));
        }
    }

    /// Where clocks are set, every day has its one cut-off, in order.
    #[test]
    fn days_of_23_and_25_hours_have_one_cut_off_each() {
        let daily = calendar(Period::Daily, "02:30", "Europe/Berlin");
        let mut latest = daily.latest(at("2026-11-01T12:00:00Z")).unwrap();
        let hours = |apart: u64| [23, 24, 25].map(|hours| hours * 3_600_000).contains(&apart);
        for _ in 0..400 {
            let before = daily.latest(latest).unwrap();
            assert!(hours(latest.unix_ms() - before.unix_ms()), "{before:?} {latest:?}");
            assert!(daily.include(before));
            latest = before;
        }
    }
}
