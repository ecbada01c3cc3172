//! Exact arithmetic on integers and rationals of any size.
//!
//! Everything that carries the guarantee and does not fit a machine integer is computed here.
//! `dashu`'s numbers cannot overflow; the one partial operation, division, is guarded in each
//! function. That is why this file alone is excused from the lint on arithmetic.
#![allow(clippy::arithmetic_side_effects)]

use dashu::base::{SquareRoot, UnsignedAbs};
use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;

use crate::units::PicoRho;

/// An exact rational number.
pub type Rational = RBig;

/// Fractional bits of a noise scale: the rounding up costs less than one millionth of it.
const SCALE_FRACTION_BITS: usize = 20;

pub(crate) fn integer(value: u128) -> Rational {
    RBig::from(UBig::from(value))
}

/// `ceil(squared_sensitivity / (2 variance) * 1e12)`.
pub(crate) fn gaussian_pico_rho_rounded_up(
    squared_sensitivity: &Rational,
    variance: &Rational,
) -> Option<u64> {
    if *variance <= RBig::ZERO || *squared_sensitivity < RBig::ZERO {
        return None;
    }
    let rho = squared_sensitivity * integer(u128::from(PicoRho::PER_RHO)) / (variance * integer(2));
    u64::try_from(rho.ceil()).ok()
}

/// The variance at which a query of squared L2 sensitivity `squared_sensitivity` costs `rho`:
/// `squared_sensitivity / (2 rho)`. `None` when `rho` is zero.
pub(crate) fn gaussian_variance(squared_sensitivity: u128, rho: PicoRho) -> Option<Rational> {
    if rho == PicoRho::ZERO {
        return None;
    }
    let rho_times_two = RBig::from(rho.get()) * integer(2);
    Some(integer(squared_sensitivity) * integer(u128::from(PicoRho::PER_RHO)) / rho_times_two)
}

/// `value / divisor`; `None` when the divisor is zero.
pub(crate) fn divided(value: &Rational, divisor: u128) -> Option<Rational> {
    (divisor != 0).then(|| value / integer(divisor))
}

/// `value * factor`.
pub(crate) fn times(value: &Rational, factor: u128) -> Rational {
    value * integer(factor)
}

/// `value^2`.
#[cfg(test)]
pub(crate) fn squared(value: &Rational) -> Rational {
    value * value
}

/// The smallest multiple of 2^-20 that is at least `sqrt(value)`.
///
/// Proof: let q = 2^20 and m = ceil(value q^2), an integer at least value q^2. With
/// r = ceil(sqrt(m)), r/q >= sqrt(m)/q >= sqrt(value). And (r-1)/q < sqrt(value), because r-1 is an
/// integer below sqrt(m), so (r-1)^2 <= m-1 < value q^2.
pub(crate) fn square_root_rounded_up(value: &Rational) -> Rational {
    let unit = UBig::ONE << SCALE_FRACTION_BITS;
    let scaled = value * RBig::from(UBig::ONE << (2 * SCALE_FRACTION_BITS));
    let integer_part = scaled.ceil().unsigned_abs();
    let floor = integer_part.sqrt();
    let root = if &floor * &floor == integer_part { floor } else { floor + UBig::ONE };
    RBig::from_parts(IBig::from(root), unit)
}

/// Numerator and denominator in lowest terms, big-endian: a canonical form to hash.
pub(crate) fn canonical_parts(value: &Rational) -> (Vec<u8>, Vec<u8>) {
    let numerator = value.numerator().unsigned_abs().to_be_bytes().to_vec();
    (numerator, value.denominator().to_be_bytes().to_vec())
}

/// `ceil(value)` where it fits.
pub(crate) fn ceiling(value: &Rational) -> Option<u128> {
    u128::try_from(value.ceil()).ok()
}

/// `floor(sqrt(value^2 bound / norm))` with the sign of `value`: one coordinate of a vector of
/// squared norm `norm` brought to squared norm at most `bound`. `None` when the norm is zero.
pub(crate) fn shrink(value: i128, bound: u128, norm: &UBig) -> Option<i128> {
    if *norm == UBig::ZERO {
        return None;
    }
    let magnitude = UBig::from(value.unsigned_abs());
    let shrunk = (&magnitude * &magnitude * UBig::from(bound) / norm).sqrt();
    let shrunk = i128::try_from(shrunk).ok()?;
    if value < 0 { shrunk.checked_neg() } else { Some(shrunk) }
}

/// Sum of squares.
pub(crate) fn squared_norm(values: &[i128]) -> UBig {
    values.iter().fold(UBig::ZERO, |sum, value| {
        let magnitude = UBig::from(value.unsigned_abs());
        sum + &magnitude * &magnitude
    })
}

/// For display and for choosing numbers that carry no guarantee.
pub(crate) fn to_f64(value: &Rational) -> f64 {
    value.to_f64().value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_scale_is_never_below_the_root_and_hardly_above(n in 1u64.., d in 1u64..1_000_000) {
            let value = RBig::from_parts(IBig::from(n), UBig::from(d));
            let root = square_root_rounded_up(&value);
            prop_assert!(squared(&root) >= value);
            let below = &root - RBig::from_parts(IBig::ONE, UBig::ONE << SCALE_FRACTION_BITS);
            prop_assert!(below <= RBig::ZERO || squared(&below) < value);
        }
    }

    #[test]
    fn perfect_squares_stay_exact() {
        assert_eq!(square_root_rounded_up(&integer(2500)), integer(50));
        assert_eq!(square_root_rounded_up(&integer(0)), integer(0));
    }
}
