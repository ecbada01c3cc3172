//! Times of purchases: read, brought to the brand's own clock, and cut to the day.
//!
//! The second is known while an import runs, to see that an order was sent twice; facts keep the day.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// 2199-12-31 in days since 1970-01-01.
const LAST_DAY: i32 = 84_005;
const DAY_SECONDS: i64 = 86_400;

/// How a text says when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `2017-03-31`, `2017-03-31 18:05[:00]`, with `T` or a blank, with `Z` or an offset if any.
    Iso,
    /// As `strptime` has it.
    Stated(String),
}

impl TimeFormat {
    /// A stated format; none when it does not tell a day.
    pub(super) fn stated(text: &str) -> Option<Self> {
        let day = DateTime::constant(2017, 3, 31, 18, 5, 9, 0);
        let written = jiff::fmt::strtime::format(text, day).ok()?;
        let read = jiff::fmt::strtime::parse(text, &written).ok()?;
        (read.to_date().ok()? == day.date()).then(|| Self::Stated(text.to_owned()))
    }
}

/// A moment by the brand's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Days since 1970-01-01.
    pub(super) day: i32,
    /// Second of the day; none when only the day is known.
    pub(super) second: Option<u32>,
}

impl Moment {
    /// Of a day alone.
    pub(super) fn of_day(day: i32) -> Option<Self> {
        (0..=LAST_DAY).contains(&day).then_some(Self { day, second: None })
    }

    /// Of seconds since 1970-01-01 by the brand's own clock.
    pub(super) fn of_local(seconds: i64) -> Option<Self> {
        let day = i32::try_from(seconds.div_euclid(DAY_SECONDS)).ok()?;
        let second = u32::try_from(seconds.rem_euclid(DAY_SECONDS)).ok()?;
        Self::of_day(day).map(|moment| Self { second: Some(second), ..moment })
    }

    /// Of seconds since 1970-01-01 UTC.
    pub(super) fn of_instant(seconds: i64, zone: &TimeZone) -> Option<Self> {
        let at = Timestamp::from_second(seconds).ok()?;
        Self::of_local(seconds + i64::from(zone.to_offset(at).seconds()))
    }

    /// Seconds since 1970-01-01 by the brand's own clock; none when only the day is known.
    pub(super) fn local_seconds(self) -> Option<i64> {
        Some(i64::from(self.day) * DAY_SECONDS + i64::from(self.second?))
    }

    /// What a text says.
    pub(super) fn of_text(text: &str, format: &TimeFormat, zone: &TimeZone) -> Option<Self> {
        match format {
            TimeFormat::Iso => of_iso(text, zone),
            TimeFormat::Stated(format) => {
                let read = jiff::fmt::strtime::parse(format, text).ok()?;
                if read.offset().is_some() {
                    return Self::of_instant(read.to_timestamp().ok()?.as_second(), zone);
                }
                match read.to_datetime() {
                    Ok(at) if read.hour().is_some() => of_civil(at),
                    _ => day_number(read.to_date().ok()?).and_then(Self::of_day),
                }
            }
        }
    }
}

fn of_iso(text: &str, zone: &TimeZone) -> Option<Moment> {
    if text.len() == 10 {
        return day_of(text).and_then(Moment::of_day);
    }
    let tail = text.get(10..)?;
    if tail.ends_with(['Z', 'z']) || tail.contains(['+', '-']) {
        let at: Timestamp = text.parse().ok()?;
        return Moment::of_instant(at.as_second(), zone);
    }
    of_civil(text.parse().ok()?)
}

fn of_civil(at: DateTime) -> Option<Moment> {
    let of_day = Moment::of_day(day_number(at.date())?)?;
    let second =
        i32::from(at.hour()) * 3_600 + i32::from(at.minute()) * 60 + i32::from(at.second());
    Some(Moment { second: u32::try_from(second).ok(), ..of_day })
}

fn day_number(day: jiff::civil::Date) -> Option<i32> {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    Some(epoch.until(day).ok()?.get_days())
}

/// Days since 1970-01-01 of `2017-03-31`, from 1970 to 2199.
pub(super) fn day_of(text: &str) -> Option<i32> {
    day_number(text.parse().ok()?).filter(|day| (0..=LAST_DAY).contains(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> TimeZone {
        TimeZone::get("Asia/Shanghai").unwrap()
    }

    #[test]
    fn a_time_is_brought_to_the_brands_own_day() {
        let zone = shanghai();
        let day = day_of("2017-04-01").unwrap();
        let at = |text: &str| Moment::of_text(text, &TimeFormat::Iso, &zone);
        let local = |second| Some(Moment { day, second });
        assert_eq!(at("2017-04-01"), local(None));
        for text in [
            "2017-04-01 06:53:00",
            "2017-04-01T06:53",
            "2017-03-31T22:53:00Z",
            "2017-04-01T00:53:00+02:00",
        ] {
            assert_eq!(at(text), local(Some(6 * 3_600 + 53 * 60)), "{text}");
        }
        assert_eq!(at("2017-04-01 06:53:00").unwrap().local_seconds(), Some(1_491_029_580));
        for wrong in [
            "",
            "2017-02-29",
            "2017-13-01",
            "1969-12-31",
            "2200-01-01",
            "2017-04-01 25:00",
            "01/04/2017",
            "2017-04-01 6:5 pm",
            "二〇一七年",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_stated_format_reads_what_it_writes_and_must_tell_a_day() {
        let zone = shanghai();
        let format = TimeFormat::stated("%d/%m/%Y %H:%M").unwrap();
        let read = Moment::of_text("01/04/2017 06:53", &format, &zone).unwrap();
        assert_eq!(Some(read), Moment::of_text("2017-04-01 06:53", &TimeFormat::Iso, &zone));
        assert_eq!(Moment::of_text("2017-04-01 06:53", &format, &zone), None);
        let day_only = TimeFormat::stated("%Y%m%d").unwrap();
        assert_eq!(Moment::of_text("20170401", &day_only, &zone).unwrap().second, None);
        for wrong in ["%H:%M", "", "day", "%Q"] {
            assert_eq!(TimeFormat::stated(wrong), None, "{wrong}");
        }
    }
}
