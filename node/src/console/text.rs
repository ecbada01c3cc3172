//! Numbers and times as people read them. Templates pass references, code passes values.

use std::borrow::Borrow;

/// A text as it stands in the query of an address (RFC 3986, 2.1).
pub(super) fn in_query(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                written.push(char::from(byte));
            }
            byte => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

/// With a comma at the thousands.
pub(super) fn grouped(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A noised value: as an integer, with commas.
pub(super) fn rounded(value: impl Borrow<f64>) -> String {
    let value: f64 = *value.borrow();
    if !value.is_finite() {
        return "–".to_owned();
    }
    // `as` saturates
    let magnitude = value.abs().round() as u64;
    let sign = if value < 0.0 && magnitude > 0 { "−" } else { "" };
    format!("{sign}{}", grouped(magnitude))
}

/// A value with as many decimals as its size is worth: a share is not read as 0 or 1.
pub(super) fn figure(value: impl Borrow<f64>) -> String {
    let value: f64 = *value.borrow();
    let decimals = match value.abs() {
        small if small < 1.0 => 3,
        middle if middle < 100.0 => 1,
        // and what is no number
        _ => return rounded(value),
    };
    let text = format!("{:.decimals$}", value.abs());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let sign = if value < 0.0 && text != "0" { "−" } else { "" };
    format!("{sign}{text}")
}

/// Pico-rho as rho, exact, without idle zeros.
#[must_use]
pub fn rho(pico: impl Borrow<u64>) -> String {
    const PICO: u64 = 1_000_000_000_000;
    let pico: u64 = *pico.borrow();
    let fraction = format!("{:012}", pico % PICO);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return (pico / PICO).to_string();
    }
    format!("{}.{fraction}", pico / PICO)
}

/// Micro-fen in one yuan.
const YUAN: u128 = 100_000_000;

/// Micro-fen in yuan, rounded to the fen.
pub(super) fn yuan(micro_fen: impl Borrow<u64>) -> String {
    magnitude(u128::from(*micro_fen.borrow()))
}

/// The same with a sign.
pub(super) fn signed_yuan(micro_fen: i128) -> String {
    let text = magnitude(micro_fen.unsigned_abs());
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match micro_fen {
        _ if is_zero => text,
        ..0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// As [`signed_yuan`], for templates.
pub(super) fn signed_yuan_of(micro_fen: &i64) -> String {
    signed_yuan(i128::from(*micro_fen))
}

fn magnitude(micro_fen: u128) -> String {
    let fen = (micro_fen + 500_000) / (YUAN / 100);
    let whole = u64::try_from(fen / 100).unwrap_or(u64::MAX);
    format!("{}.{:02}", grouped(whole), fen % 100)
}

/// A part of a whole in percent, rounded up: a limit is not shown as less used than it is.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1_000).div_ceil(u128::from(whole.max(1)));
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// UTC, to the second; none for 0 or what no calendar holds.
pub fn utc(milliseconds: u64) -> Option<String> {
    let milliseconds = i64::try_from(milliseconds).ok().filter(|milliseconds| *milliseconds > 0)?;
    let time = jiff::Timestamp::from_millisecond(milliseconds).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The day of it, UTC; nothing for what no calendar holds.
pub(super) fn day(milliseconds: impl Borrow<u64>) -> String {
    let time = utc(*milliseconds.borrow()).unwrap_or_default();
    time.split(' ').next().unwrap_or_default().to_owned()
}

/// The day of it in China; nothing for what no calendar holds.
pub(super) fn china_day(milliseconds: u64) -> String {
    const EIGHT_HOURS: u64 = 8 * 60 * 60 * 1000;
    day(milliseconds.saturating_add(EIGHT_HOURS))
}

/// The first characters of a hash.
pub(super) fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(rounded(-1234.4), "−1,234");
        assert_eq!(rounded(-0.2), "0");
        assert_eq!(rounded(f64::NAN), "–");
        assert_eq!(figure(0.5153), "0.515");
        assert_eq!(figure(-0.0001), "0");
        assert_eq!(figure(-12.25), "−12.2");
        assert_eq!(figure(20.0), "20");
        assert_eq!(figure(1234.4), "1,234");
        assert_eq!(figure(f64::NAN), "–");
        assert_eq!(figure(f64::INFINITY), "–");
        assert_eq!(rho(0), "0");
        assert_eq!(yuan(0), "0.00");
        assert_eq!(yuan(123_456_789_000_u64), "1,234.57");
        assert_eq!(signed_yuan(-150_000_000), "−1.50");
        assert_eq!(signed_yuan(499_999), "0.00");
        assert_eq!(signed_yuan_of(&100_000_000), "+1.00");
        assert_eq!(percent(1, 1_000_000), "0.1%");
        assert_eq!(percent(5, 10), "50.0%");
        assert_eq!(rho(62_500_000_000), "0.0625");
        assert_eq!(rho(1_000_000_000_001), "1.000000000001");
    }

    #[test]
    fn times_are_utc_or_absent() {
        assert_eq!(utc(1_790_000_000_000).as_deref(), Some("2026-09-21 14:13:20 UTC"));
        assert_eq!(china_day(1_790_006_400_000), "2026-09-22");
        assert_eq!(utc(0), None);
        assert_eq!(utc(u64::MAX), None);
    }
}
