//! Money in fen, read exactly: no float takes part in arithmetic on money.

use std::fmt;

/// An amount of money of at most 10 million yuan either way, in fen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fen(i64);

/// Why a number is not an amount. The number itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Not a decimal number.
    #[error("not a decimal number of yuan")]
    NotANumber,
    /// Part of a fen.
    #[error("finer than a fen")]
    FinerThanAFen,
    /// Too much.
    #[error("beyond 10 million yuan")]
    TooLarge,
}

impl Fen {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount of one line.
    pub const MAX: i64 = 1_000_000_000;

    /// So many fen.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub const fn new(fen: i64) -> Result<Self, InvalidAmount> {
        if fen > Self::MAX || fen < -Self::MAX {
            Err(InvalidAmount::TooLarge)
        } else {
            Ok(Self(fen))
        }
    }

    /// The number of fen.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub const fn plus(self, other: Self) -> Result<Self, InvalidAmount> {
        // both are within 10^9, so that the sum cannot wrap
        Self::new(self.0 + other.0)
    }

    /// `number / 10^places` yuan.
    ///
    /// # Errors
    /// When that is no whole number of fen, or too large.
    pub fn from_decimal(number: i128, places: i8) -> Result<Self, InvalidAmount> {
        let power = |exponent: i8| {
            u32::try_from(exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent))
        };
        let fen = if number == 0 {
            0
        } else if places <= 2 {
            let factor = 2i8.checked_sub(places).and_then(power);
            factor.and_then(|factor| number.checked_mul(factor)).ok_or(InvalidAmount::TooLarge)?
        } else {
            let divisor = power(places - 2).ok_or(InvalidAmount::FinerThanAFen)?;
            if number % divisor != 0 {
                return Err(InvalidAmount::FinerThanAFen);
            }
            number / divisor
        };
        i64::try_from(fen).map_err(|_| InvalidAmount::TooLarge).and_then(Self::new)
    }

    /// A decimal number of yuan such as `12`, `-0.5` or `12.50`; zeros beyond two places are read.
    ///
    /// # Errors
    /// [`InvalidAmount`].
    pub fn from_text(text: &str) -> Result<Self, InvalidAmount> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(InvalidAmount::NotANumber);
        }
        if fraction.len() > 2 {
            return Err(InvalidAmount::FinerThanAFen);
        }
        let mut fen: i64 = 0;
        for digit in
            whole.bytes().chain(fraction.bytes()).chain(b"00".iter().copied().skip(fraction.len()))
        {
            fen = fen * 10 + i64::from(digit - b'0');
            // checked at each digit, so that no length of text can wrap
            Self::new(fen)?;
        }
        Self::new(sign * fen)
    }

    /// A binary float, by the shortest decimal that reads back as the same float: 0.1 means 0.1,
    /// as whoever wrote the file meant it.
    ///
    /// # Errors
    /// [`InvalidAmount`].
    pub fn from_float(yuan: f64) -> Result<Self, InvalidAmount> {
        if !yuan.is_finite() {
            return Err(InvalidAmount::NotANumber);
        }
        // Display of f64 is that decimal, and never in exponent form
        Self::from_text(&yuan.to_string())
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02} yuan", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_numbers_are_refused_and_not_rounded() {
        use InvalidAmount::{FinerThanAFen, NotANumber, TooLarge};
        for (text, expected) in [
            ("12.50", Ok(1250)),
            ("12.5000", Ok(1250)),
            ("-0.01", Ok(-1)),
            ("0", Ok(0)),
            ("0.005", Err(FinerThanAFen)),
            ("10000000.00", Ok(Fen::MAX)),
            ("10000000.01", Err(TooLarge)),
            ("99999999999999999999999", Err(TooLarge)),
            ("1e3", Err(NotANumber)),
            ("+1", Err(NotANumber)),
            ("--1", Err(NotANumber)),
            (".5", Err(NotANumber)),
            ("", Err(NotANumber)),
            ("1,50", Err(NotANumber)),
        ] {
            assert_eq!(Fen::from_text(text).map(Fen::get), expected, "{text}");
        }
        assert_eq!(Fen::from_decimal(1, 3), Err(FinerThanAFen));
        assert_eq!(Fen::from_decimal(i128::MAX, -100), Err(TooLarge));
        assert_eq!(Fen::from_decimal(0, 127), Ok(Fen::ZERO));
        assert_eq!(Fen::from_float(f64::NAN), Err(NotANumber));
        assert_eq!(Fen::from_float(0.1 + 0.2), Err(FinerThanAFen));
        assert_eq!(Fen::new(-1205).unwrap().to_string(), "-12.05 yuan");
    }

    proptest! {
        #[test]
        fn every_form_of_an_amount_reads_the_same(fen in -Fen::MAX..=Fen::MAX) {
            let text = format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100);
            prop_assert_eq!(Fen::from_text(&text).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_float(text.parse().unwrap()).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_decimal(i128::from(fen), 2).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_decimal(i128::from(fen) * 1000, 5).map(Fen::get), Ok(fen));
        }
    }
}
