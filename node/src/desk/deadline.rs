//! Days by which a request must be answered: calendar days, and working days by a calendar that the
//! operator keeps.
//!
//! A working day is Monday to Friday that is no holiday, or a weekend's day that the State Council has
//! made one. Days are those of China (UTC+8). Which days are holidays is announced a year at a time: a
//! date that nobody has entered counts as what its weekday says.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use protocol::time::Timestamp;

use crate::vault::day_in_china;

/// Days that are not what their weekday says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Weekdays without work.
    pub holidays: BTreeSet<Date>,
    /// Weekend days with work.
    pub workdays: BTreeSet<Date>,
}

impl Calendar {
    /// Whether a day is a working day.
    #[must_use]
    pub fn is_working(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        if weekend { self.workdays.contains(&day) } else { !self.holidays.contains(&day) }
    }

    /// The end of the day that is so many working days after the one of `from`.
    #[must_use]
    pub fn working_days_after(&self, from: Timestamp, days: u16) -> Timestamp {
        let mut day = day_in_china(from);
        let mut left = days;
        while left > 0 {
            let Ok(next) = day.tomorrow() else { break };
            day = next;
            if self.is_working(day) {
                left -= 1;
            }
        }
        end_of(day)
    }
}

/// The end of the day that is so many calendar days after the one of `from`.
#[must_use]
pub fn days_after(from: Timestamp, days: u16) -> Timestamp {
    let mut day = day_in_china(from);
    for _ in 0..days {
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    end_of(day)
}

/// The last moment of a day in China.
fn end_of(day: Date) -> Timestamp {
    let next = day.tomorrow().unwrap_or(day);
    let midnight =
        jiff::tz::offset(8).to_timestamp(next.to_datetime(jiff::civil::Time::midnight()));
    let ms = midnight.map_or(i64::MAX, jiff::Timestamp::as_millisecond);
    Timestamp::from_unix_ms(u64::try_from(ms).unwrap_or(0).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    /// Noon in China.
    fn noon(text: &str) -> Timestamp {
        let at = jiff::tz::offset(8).to_timestamp(day(text).at(12, 0, 0, 0)).unwrap();
        Timestamp::from_unix_ms(u64::try_from(at.as_millisecond()).unwrap())
    }

    #[test]
    fn holidays_and_weekends_do_not_count_and_made_up_days_do() {
        let calendar = Calendar {
            holidays: ["2026-10-01", "2026-10-02", "2026-10-05"].map(day).into(),
            workdays: ["2026-10-10"].map(day).into(),
        };
        assert!(!calendar.is_working(day("2026-10-01")) && !calendar.is_working(day("2026-10-03")));
        assert!(calendar.is_working(day("2026-10-10")) && calendar.is_working(day("2026-10-06")));
        for (days, ends) in
            [(0, "2026-09-30"), (1, "2026-10-06"), (5, "2026-10-10"), (6, "2026-10-12")]
        {
            let at = calendar.working_days_after(noon("2026-09-30"), days);
            assert_eq!(day_in_china(at), day(ends), "{days} working days");
        }
    }

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let at = days_after(noon("2026-01-30"), 7);
        assert_eq!(day_in_china(at), day("2026-02-06"));
        assert_eq!(day_in_china(Timestamp::from_unix_ms(at.unix_ms() + 1)), day("2026-02-07"));
    }
}
