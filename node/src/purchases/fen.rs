//! Money in fen, read exactly: no float takes part in arithmetic on money.

use std::fmt;

/// An amount of money of at most 10 million yuan either way, in fen.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    minicbor::Encode,
    minicbor::Decode,
)]
#[cbor(transparent)]
pub struct Fen(#[n(0)] i64);

/// Why a number is not an amount. The number itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// Part of a fen.
    #[error("finer than a fen")]
    FinerThanAFen,
    /// Too much.
    #[error("beyond 10 million yuan")]
    TooLarge,
}

/// What one unit of a file's amounts is in fen, and what to do with parts of a fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    fen_per_unit: u32,
    rounding: Rounding,
}

/// What to do with parts of a fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// The amount is wrong.
    Refuse,
    /// To the nearest fen, a half to the even one.
    HalfEven,
}

impl Unit {
    /// Yuan, to the fen.
    pub const YUAN: Self = Self { fen_per_unit: 100, rounding: Rounding::Refuse };

    /// A unit of 1 to 1,000,000 fen.
    #[must_use]
    pub fn new(fen_per_unit: u32, rounding: Rounding) -> Option<Self> {
        (1..=1_000_000).contains(&fen_per_unit).then_some(Self { fen_per_unit, rounding })
    }
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

    /// The difference.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub const fn minus(self, other: Self) -> Result<Self, InvalidAmount> {
        Self::new(self.0 - other.0)
    }

    /// The sum.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub const fn plus(self, other: Self) -> Result<Self, InvalidAmount> {
        // both are within 10^9, so that the sum cannot wrap
        Self::new(self.0 + other.0)
    }

    /// `number / 10^places` of a unit.
    ///
    /// # Errors
    /// When that is no whole number of fen and may not be rounded, or too large.
    pub fn from_decimal(number: i128, places: i8, unit: Unit) -> Result<Self, InvalidAmount> {
        let power = |exponent: i8| {
            u32::try_from(exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent))
        };
        if number == 0 {
            return Ok(Self::ZERO);
        }
        let whole = number.checked_mul(i128::from(unit.fen_per_unit));
        let mut fen = whole.ok_or(InvalidAmount::TooLarge)?;
        if places <= 0 {
            let factor = places.checked_neg().and_then(power);
            fen =
                factor.and_then(|factor| fen.checked_mul(factor)).ok_or(InvalidAmount::TooLarge)?;
        } else {
            let divisor = power(places).ok_or(InvalidAmount::FinerThanAFen)?;
            let rest = fen.rem_euclid(divisor);
            fen = fen.div_euclid(divisor);
            if rest != 0 {
                match unit.rounding {
                    Rounding::Refuse => return Err(InvalidAmount::FinerThanAFen),
                    Rounding::HalfEven => {
                        let half = (2 * rest).cmp(&divisor);
                        let up = half.is_gt() || half.is_eq() && fen % 2 != 0;
                        fen += i128::from(up);
                    }
                }
            }
        }
        i64::try_from(fen).map_err(|_| InvalidAmount::TooLarge).and_then(Self::new)
    }

    /// A decimal number such as `12`, `-0.5` or `12.50`; zeros at the end of a fraction are read.
    ///
    /// # Errors
    /// [`InvalidAmount`].
    pub fn from_text(text: &str, unit: Unit) -> Result<Self, InvalidAmount> {
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
        let whole = whole.trim_start_matches('0');
        // beyond these no amount in range is written, and i128 holds them all
        if whole.len() > 12 {
            return Err(InvalidAmount::TooLarge);
        }
        let places = i8::try_from(fraction.len()).ok().filter(|places| *places <= 12);
        let places = places.ok_or(InvalidAmount::FinerThanAFen)?;
        let number = whole
            .bytes()
            .chain(fraction.bytes())
            .fold(0, |number: i128, digit| number * 10 + i128::from(digit - b'0'));
        Self::from_decimal(sign * number, places, unit)
    }

    /// A binary float, by the shortest decimal that reads back as the same float: 0.1 means 0.1,
    /// as whoever wrote the file meant it.
    ///
    /// # Errors
    /// [`InvalidAmount`].
    pub fn from_float(amount: f64, unit: Unit) -> Result<Self, InvalidAmount> {
        if !amount.is_finite() {
            return Err(InvalidAmount::NotANumber);
        }
        // Display of f64 is that decimal, and never in exponent form
        Self::from_text(&amount.to_string(), unit)
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
            assert_eq!(Fen::from_text(text, Unit::YUAN).map(Fen::get), expected, "{text}");
        }
        assert_eq!(Fen::from_decimal(1, 3, Unit::YUAN), Err(FinerThanAFen));
        assert_eq!(Fen::from_decimal(i128::MAX, -100, Unit::YUAN), Err(TooLarge));
        assert_eq!(Fen::from_decimal(0, 127, Unit::YUAN), Ok(Fen::ZERO));
        assert_eq!(Fen::from_float(f64::NAN, Unit::YUAN), Err(NotANumber));
        assert_eq!(Fen::from_float(0.1 + 0.2, Unit::YUAN), Err(FinerThanAFen));
        assert_eq!(Fen::new(-1205).unwrap().to_string(), "-12.05 yuan");
    }

    #[test]
    fn another_unit_is_exact_or_rounded_as_stated() {
        let fen = Unit::new(1, Rounding::Refuse).unwrap();
        assert_eq!(Fen::from_text("1250", fen).map(Fen::get), Ok(1250));
        assert_eq!(Fen::from_text("1250.5", fen), Err(InvalidAmount::FinerThanAFen));
        let pounds = |rounding| Unit::new(912, rounding).unwrap();
        assert_eq!(Fen::from_text("0.25", pounds(Rounding::Refuse)).map(Fen::get), Ok(228));
        assert_eq!(
            Fen::from_text("0.01", pounds(Rounding::Refuse)),
            Err(InvalidAmount::FinerThanAFen)
        );
        for (text, expected) in
            [("0.01", 9), ("-0.01", -9), ("0.125", 114), ("2.55", 2_326), ("-2.55", -2_326)]
        {
            assert_eq!(
                Fen::from_text(text, pounds(Rounding::HalfEven)).map(Fen::get),
                Ok(expected),
                "{text}"
            );
        }
        let half = Unit::new(5, Rounding::HalfEven).unwrap();
        for (text, expected) in
            [("0.1", 0), ("0.3", 2), ("0.5", 2), ("0.7", 4), ("-0.1", 0), ("-0.3", -2)]
        {
            assert_eq!(Fen::from_text(text, half).map(Fen::get), Ok(expected), "{text}");
        }
        assert!(Unit::new(0, Rounding::Refuse).is_none());
    }

    proptest! {
        #[test]
        fn every_form_of_an_amount_reads_the_same(fen in -Fen::MAX..=Fen::MAX) {
            let text = format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100);
            prop_assert_eq!(Fen::from_text(&text, Unit::YUAN).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_float(text.parse().unwrap(), Unit::YUAN).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_decimal(i128::from(fen), 2, Unit::YUAN).map(Fen::get), Ok(fen));
            prop_assert_eq!(Fen::from_decimal(i128::from(fen) * 1000, 5, Unit::YUAN).map(Fen::get), Ok(fen));
        }
    }
}
