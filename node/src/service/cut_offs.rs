//! Cut-offs as people write and read them.
//!
//! A cut-off is a millisecond. Those of a calendar are the last one before a time of day, `23:59:59.999`, which
//! nobody guesses: where one is shown, it is shown to the millisecond.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A cut-off, in Unix milliseconds, from these or from a time: RFC 3339, or without an offset in UTC. None for
/// anything else, and for what is finer than a millisecond or before 1970.
#[must_use]
pub fn parse_cut_off(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(ms) = text.parse() {
        return Some(ms);
    }
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    let whole = at.subsec_nanosecond() % 1_000_000 == 0;
    u64::try_from(at.as_millisecond()).ok().filter(|_| whole)
}

/// A cut-off in UTC, to the millisecond: RFC 3339, or the number itself for what no calendar holds.
#[must_use]
pub fn cut_off_text(ms: u64) -> String {
    local_cut_off(ms).map_or_else(|| ms.to_string(), |local| local + "Z")
}

/// The same as fields of forms write it (`datetime-local`), without an offset.
#[must_use]
pub fn local_cut_off(ms: u64) -> Option<String> {
    let at = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{}.{:03}", at.strftime("%Y-%m-%dT%H:%M:%S"), ms % 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_is_read_as_it_is_shown_and_as_people_write_it() {
        let end = 1_793_462_399_999;
        for text in [
            "1793462399999",
            "2026-10-31T15:59:59.999Z",
            "2026-10-31T23:59:59.999+08:00",
            "2026-10-31T15:59:59.999",
            " 2026-10-31 15:59:59.999 ",
        ] {
            assert_eq!(parse_cut_off(text), Some(end), "{text}");
        }
        assert_eq!(cut_off_text(end), "2026-10-31T15:59:59.999Z");
        assert_eq!(local_cut_off(end).as_deref(), Some("2026-10-31T15:59:59.999"));
        // as browsers write a whole minute
        assert_eq!(parse_cut_off("2026-11-01T00:00"), Some(1_793_491_200_000));
        for ms in [0, 1, 59_999, 1_793_491_200_000, end] {
            assert_eq!(parse_cut_off(&cut_off_text(ms)), Some(ms), "{ms}");
            assert_eq!(parse_cut_off(&local_cut_off(ms).unwrap()), Some(ms), "{ms}");
        }
        // what no calendar holds is still a name
        assert_eq!(cut_off_text(u64::MAX), u64::MAX.to_string());
        assert_eq!(parse_cut_off(&u64::MAX.to_string()), Some(u64::MAX));
        for wrong in [
            "",
            "noon",
            "-1",
            "2026-10-31T15:59:59.9999Z",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00",
        ] {
            assert_eq!(parse_cut_off(wrong), None, "{wrong}");
        }
    }
}
