//! Quantities with a unit: privacy cost, bounds, years, instants.
//!
//! Knows how each rounds and where it overflows. Deliberately knows no clock: instants and years
//! are handed in by whoever knows the zone in which budget years are counted.

use core::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::exact;

/// A whole number of units of 1e-12: what accounts add up.
macro_rules! pico_amount {
    ($(#[$doc:meta])* $name:ident, $per:ident: $one:literal) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Default,
            Encode,
            Decode,
            Serialize,
            Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] u64);

        impl $name {
            #[doc = concat!("Units in ", $one, ".")]
            pub const $per: u64 = 1_000_000_000_000;
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// So many units of 1e-12.
            pub const fn new(units: u64) -> Self {
                Self(units)
            }

            /// In units of 1e-12.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Sum; `None` on overflow.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// Difference; `None` when `other` is larger.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }

            /// An equal share among `parts`, rounded down; `None` for no parts.
            pub fn divided(self, parts: usize) -> Option<Self> {
                self.0.checked_div(u64::try_from(parts).ok()?).map(Self)
            }
        }
    };
}

pico_amount!(
    /// A privacy cost of zero-concentrated differential privacy (Bun and Steinke 2016), in units
    /// of 1e-12 of rho. Costs are rounded up. Nano-rho would lose 2 % at the budgets of `large`.
    PicoRho, PER_RHO: "one rho"
);

pico_amount!(
    /// A probability with which a guarantee may fail altogether, in units of 1e-12. Deltas add up.
    PicoDelta, PER_ONE: "a certainty"
);

impl PicoRho {
    /// `numerator / denominator` rho, rounded up; `None` for a zero denominator or overflow.
    pub fn from_ratio_rounded_up(numerator: u64, denominator: u64) -> Option<Self> {
        let scaled = u128::from(numerator).checked_mul(u128::from(Self::PER_RHO))?;
        if denominator == 0 {
            return None;
        }
        u64::try_from(scaled.div_ceil(u128::from(denominator))).ok().map(Self)
    }

    /// The cost of Gaussian noise of variance `variance` on a query whose squared L2
    /// sensitivity is `squared_sensitivity`: `squared_sensitivity / (2 variance)`, rounded up
    /// (Canonne, Kamath and Steinke 2020, theorem 4, for the discrete Gaussian).
    /// `None` when the variance is not positive or the cost does not fit.
    pub fn of_gaussian(
        squared_sensitivity: &exact::Rational,
        variance: &exact::Rational,
    ) -> Option<Self> {
        exact::gaussian_pico_rho_rounded_up(squared_sensitivity, variance).map(Self)
    }

    /// `percent / 100` of this, rounded down; `None` above 100 percent.
    pub fn percent(self, percent: u8) -> Option<Self> {
        if percent > 100 {
            return None;
        }
        let share = u128::from(self.0).checked_mul(u128::from(percent))?.checked_div(100)?;
        u64::try_from(share).ok().map(Self)
    }

    /// In rho, for display only.
    pub fn to_rho(self) -> f64 {
        self.0 as f64 / Self::PER_RHO as f64
    }
}

impl fmt::Display for PicoRho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:e} rho", self.to_rho())
    }
}

impl fmt::Display for PicoDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:e}", self.0 as f64 / Self::PER_ONE as f64)
    }
}

/// The delta at which an (epsilon, delta) reading of a zCDP cost is shown: `10^-exponent`.
/// It decides nothing; accounts are kept in [`PicoRho`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct DisplayDelta(#[n(0)] u8);

impl DisplayDelta {
    /// 1e-6, the delta of the published table.
    pub const MICRO: Self = Self(6);

    /// `10^-exponent`, exponent 1 to 15.
    pub fn new(exponent: u8) -> Option<Self> {
        (1..=15).contains(&exponent).then_some(Self(exponent))
    }

    /// As a float, for display only.
    pub fn to_f64(self) -> f64 {
        10f64.powi(i32::from(self.0)).recip()
    }
}

/// The calendar year of an account, in the zone the alliance counts years in. The year is that of
/// the *query*, never that of the data it reads.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct CalendarYear(#[n(0)] pub u16);

impl fmt::Display for CalendarYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An instant of protocol time: milliseconds since 1970-01-01T00:00:00 UTC.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct UtcMillis(#[n(0)] pub u64);

impl UtcMillis {
    /// This instant and `millis` more; the end of time when that does not fit.
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// A bound on a member's contribution: 1, 2 or 5 times a power of ten, in the unit of what it
/// bounds. A coarse public grid, so that nobody fits a bound to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct GridBound(#[n(0)] u64);

impl GridBound {
    /// Largest bound: 1e15, so that squares of sums stay far inside 128 bits.
    pub const MAX: u64 = 1_000_000_000_000_000;

    /// `None` unless `bound` lies on the grid, from 1 to [`Self::MAX`].
    pub fn new(bound: u64) -> Option<Self> {
        let mut step = 1u64;
        while step <= Self::MAX {
            let on_step = |digit: u64| step.checked_mul(digit) == Some(bound);
            if bound <= Self::MAX && (on_step(1) || on_step(2) || on_step(5)) {
                return Some(Self(bound));
            }
            step = step.saturating_mul(10);
        }
        None
    }

    /// The smallest bound that is no less than this, of those there are.
    pub fn at_least(number: u64) -> Self {
        let mut step = 1u64;
        while step < Self::MAX {
            for digit in [1u64, 2, 5] {
                let bound = step.saturating_mul(digit);
                if number <= bound {
                    return Self(bound);
                }
            }
            step = step.saturating_mul(10);
        }
        Self(Self::MAX)
    }

    /// The smallest bound that is no less than a noised figure; `None` of what is no number. What is answered is public,
    /// so that this decides nothing about a guarantee.
    pub fn of_answer(answered: f64) -> Option<Self> {
        // a cast keeps to its range: what lies below zero is 0, what does not fit is the greatest number
        answered.is_finite().then(|| Self::at_least(answered.ceil() as u64))
    }

    /// The bound itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its square.
    pub fn squared(self) -> u128 {
        u128::from(self.0).saturating_mul(u128::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap 11: in nano-rho the cost of one `large` query would be 900 or 901.
    #[test]
    fn trap_11_pico_rho_keeps_small_budgets_exact() {
        let cost = PicoRho::from_ratio_rounded_up(9, 10_000_000).unwrap();
        assert_eq!(cost, PicoRho::new(900_000));
        // A cost that is no multiple of a nano-rho is over-charged by less than 2 millionths.
        let third = PicoRho::from_ratio_rounded_up(3, 10_000_000).unwrap().divided(7).unwrap();
        let truth = 3e-7 / 7.0;
        assert!((third.to_rho() - truth).abs() / truth < 3e-5);
        assert_eq!(PicoRho::from_ratio_rounded_up(1, 3), Some(PicoRho::new(333_333_333_334)));
    }

    #[test]
    fn gaussian_cost_is_rounded_up() {
        let cost = PicoRho::of_gaussian(&exact::integer(1), &exact::integer(3)).unwrap();
        assert_eq!(cost.get(), 166_666_666_667);
        assert_eq!(PicoRho::of_gaussian(&exact::integer(1), &exact::integer(0)), None);
    }

    #[test]
    fn grid_is_one_two_five() {
        let on_grid: Vec<u64> = (0..=60).filter(|c| GridBound::new(*c).is_some()).collect();
        assert_eq!(on_grid, [1, 2, 5, 10, 20, 50]);
        assert!(GridBound::new(GridBound::MAX).is_some());
        assert!(GridBound::new(GridBound::MAX * 2).is_none());
        assert!(GridBound::new(u64::MAX).is_none());
        for (number, bound) in [(0, 1), (1, 1), (3, 5), (6, 10), (101, 200), (999_999, 1_000_000)] {
            assert_eq!(GridBound::at_least(number).get(), bound);
        }
        for (answered, bound) in
            [(12_345.6, 20_000), (20_000.0, 20_000), (20_000.1, 50_000), (0.0, 1), (-7.5, 1)]
        {
            assert_eq!(
                GridBound::of_answer(answered).map(GridBound::get),
                Some(bound),
                "{answered}"
            );
        }
        assert_eq!(GridBound::of_answer(1e300).map(GridBound::get), Some(GridBound::MAX));
        for answered in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(GridBound::of_answer(answered), None);
        }
        for number in [GridBound::MAX - 1, GridBound::MAX, u64::MAX] {
            assert_eq!(GridBound::at_least(number).get(), GridBound::MAX);
        }
    }
}
