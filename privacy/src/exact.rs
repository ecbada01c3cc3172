//! Exact arithmetic on integers and rationals of any size.
//!
//! Everything that carries the guarantee and does not fit a machine integer is computed here.
//! `dashu`'s numbers cannot overflow; the one partial operation, division, is guarded in each
//! function. That is why this file alone is excused from the lint on arithmetic.
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use dashu::base::{BitTest, SquareRoot, UnsignedAbs};
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

/// `value / by`; `None` when that is zero.
pub(crate) fn quotient(value: &Rational, by: &Rational) -> Option<Rational> {
    (*by != RBig::ZERO).then(|| value / by)
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

/// `(sqrt(a) + sqrt(b) + ...)^2`, where it fits: never less, and exactly that where all are equal or squares.
///
/// Proof: of each value v that is there m times, the sum has m sqrt(v), so that the square has m^2 v, and of each
/// two values u and v twice the product of their parts, which is the root of 4 m^2 k^2 u v. Each of these roots is
/// rounded up; the root of an integer square is that integer.
pub(crate) fn squared_sum_of_roots(squares: &[u128]) -> Option<u128> {
    let mut counted: BTreeMap<u128, u32> = BTreeMap::new();
    for square in squares {
        let count = counted.entry(*square).or_default();
        *count = count.checked_add(1)?;
    }
    let mut sum = UBig::ZERO;
    let mut before: Vec<(UBig, UBig)> = Vec::with_capacity(counted.len());
    for (square, count) in counted {
        let (square, count) = (UBig::from(square), UBig::from(count));
        sum += &count * &count * &square;
        for (other, times) in &before {
            let product = UBig::from(4u8) * &count * &count * times * times * &square * other;
            let floor = product.sqrt();
            sum += if &floor * &floor == product { floor } else { floor + UBig::ONE };
        }
        before.push((square, count));
    }
    u128::try_from(sum).ok()
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

/// Of squared norms with their bounds, the one that exceeds its bound by the largest factor; `None`
/// when none does.
pub(crate) fn most_exceeded(norms: impl Iterator<Item = (UBig, u128)>) -> Option<(UBig, u128)> {
    norms.filter(|(norm, bound)| *norm > UBig::from(*bound)).reduce(|one, two| {
        // N1 / B1 >= N2 / B2; of a bound of 0 the quotient is above all others
        if one.1 == 0 {
            return one;
        }
        if &one.0 * UBig::from(two.1) >= &two.0 * UBig::from(one.1) { one } else { two }
    })
}

/// Bits after the point of the fixed-point numbers that bound tails.
const TAIL_BITS: usize = 256;
/// Weights below 2^-192 are bounded as a geometric series instead of one by one.
const TAIL_CUT_BITS: usize = 64;
/// Largest standard deviation of which tails are bounded: the work grows with it.
const TAIL_DEVIATION_MAX: u128 = 10_000;

/// `e^-q` in fixed point, rounded down and up, for 0 <= q <= 1.
///
/// Proof: e^q lies between its Taylor sum of 60 terms and that sum with the next term doubled,
/// because each later term is less than half the one before. The reciprocal is divided once.
fn exponential_of_minus(q: &Rational) -> (UBig, UBig) {
    let mut term = RBig::ONE;
    let mut sum = RBig::ONE;
    for k in 1u128..60 {
        term = term * q / integer(k);
        sum += &term;
    }
    let more = &sum + term * q / integer(60) * integer(2);
    let one = RBig::from(UBig::ONE << TAIL_BITS);
    ((&one / more).floor().unsigned_abs(), (one / sum).ceil().unsigned_abs())
}

/// The largest multiple of 2^-20 that is at most `sqrt(8 rho)`: the epsilon at which choosing by the exponential
/// mechanism costs `rho` (epsilon^2 / 8); `None` when that is zero.
pub(crate) fn epsilon_of_choice(rho: PicoRho) -> Option<Rational> {
    let scaled = RBig::from(UBig::from(rho.get()) << (2 * SCALE_FRACTION_BITS)) * integer(8)
        / integer(u128::from(PicoRho::PER_RHO));
    let root = scaled.floor().unsigned_abs().sqrt();
    let unit = UBig::ONE << SCALE_FRACTION_BITS;
    (root != UBig::ZERO).then(|| RBig::from_parts(IBig::from(root), unit))
}

/// `e^-(rate d)` for whole d, between two fixed-point numbers.
pub(crate) struct Powers {
    /// Of `e^-(rate 2^j)`, rounded down and up.
    doubled: Vec<(UBig, UBig)>,
}

impl Powers {
    /// For 0 < rate <= 1; otherwise `None`.
    pub(crate) fn of(rate: &Rational) -> Option<Self> {
        if *rate <= RBig::ZERO || *rate > RBig::ONE {
            return None;
        }
        let mut doubled = vec![exponential_of_minus(rate)];
        while let Some(last) = doubled.last().filter(|_| doubled.len() < 128) {
            let square = product(last, last);
            doubled.push(square);
        }
        Some(Self { doubled })
    }

    fn at(&self, distance: u128) -> (UBig, UBig) {
        let mut power = (UBig::ONE << TAIL_BITS, UBig::ONE << TAIL_BITS);
        for (j, factor) in self.doubled.iter().enumerate().rev() {
            if distance >> j & 1 == 1 {
                power = product(&power, factor);
                if power.1 <= UBig::ONE {
                    break;
                }
            }
        }
        power
    }
}

fn product(one: &(UBig, UBig), two: &(UBig, UBig)) -> (UBig, UBig) {
    let below = (&one.0 * &two.0) >> TAIL_BITS;
    let above = (&one.1 * &two.1) >> TAIL_BITS;
    (below, above + UBig::ONE)
}

/// The index i that a uniform real number in [0, 1) falls on when it is divided in parts proportional to
/// `e^-(rate d_i)`, exactly; of the number the first 256 bits are given. `None` where those do not decide, which
/// happens with a probability of less than 2^-100 for the lists and rates of plans.
///
/// Proof: let C_i be the sum of the first i weights and W of all. The number u is in [U, U+1) / 2^256. If
/// U W >= C_i 2^256 and (U+1) W <= C_(i+1) 2^256 for the largest and least that each may be, then C_i / W <= u <
/// C_(i+1) / W, which is part i. What is compared is never in favour of a part.
pub(crate) fn weighted_choice(
    powers: &Powers,
    distances: &[u128],
    bits: &[u8; 32],
) -> Option<usize> {
    let nearest = distances.iter().min()?;
    let (mut below, mut above) = (UBig::ZERO, UBig::ZERO);
    let mut sums = vec![(UBig::ZERO, UBig::ZERO)];
    let mut last: Option<(u128, (UBig, UBig))> = None;
    for distance in distances {
        let weight = match &last {
            Some((same, weight)) if same == distance => weight.clone(),
            _ => powers.at(distance - nearest),
        };
        below += &weight.0;
        above += &weight.1;
        sums.push((below.clone(), above.clone()));
        last = Some((*distance, weight));
    }
    let number = UBig::from_be_bytes(bits);
    let from = &number * &below;
    let to = (number + UBig::ONE) * &above;
    sums.windows(2).position(|ends| match ends {
        [start, end] => from >= &start.1 << TAIL_BITS && to <= &end.0 << TAIL_BITS,
        _ => false,
    })
}

/// The least t with `groups * P(x >= t) <= bound` for the discrete Gaussian x of this standard
/// deviation; `None` when the deviation is below 1 or too large, or the bound is zero.
///
/// The mass at x is e^(-x^2 / 2 s^2) / Z (Canonne, Kamath and Steinke 2020). With r = e^(-1/(2 s^2)) the
/// weights follow w(x+1) = w(x) r^(2x+1). Weights above are rounded up, Z is a finite part of itself
/// rounded down, and what lies past the last weight is at most the geometric series of its ratio: so
/// the tail that is compared is never below the true one.
pub(crate) fn least_tail(deviation: &Rational, groups: u64, bound: &Rational) -> Option<u64> {
    if *deviation < RBig::ONE || *deviation > integer(TAIL_DEVIATION_MAX) || *bound <= RBig::ZERO {
        return None;
    }
    let one = UBig::ONE << TAIL_BITS;
    let q = RBig::ONE / (deviation * deviation * integer(2));
    let (r_below, r_above) = exponential_of_minus(&q);
    let down = |a: &UBig, b: &UBig| (a * b) >> TAIL_BITS;
    let up = |a: &UBig, b: &UBig| ((a * b) >> TAIL_BITS) + UBig::ONE;
    // weights and the ratios r^(2x+1) to the next one
    let (mut weight, mut ratio) = (one.clone(), r_above.clone());
    let (mut weight_below, mut ratio_below) = (one.clone(), r_below.clone());
    let (square_above, square_below) = (up(&r_above, &r_above), down(&r_below, &r_below));
    let mut weights = vec![weight.clone()];
    let mut total_below = one.clone();
    while weight.bit_len() > TAIL_CUT_BITS {
        weight = up(&weight, &ratio);
        ratio = up(&ratio, &square_above);
        weight_below = down(&weight_below, &ratio_below);
        ratio_below = down(&ratio_below, &square_below);
        total_below += &weight_below * UBig::from(2u8);
        weights.push(weight.clone());
    }
    if ratio >= one {
        return None;
    }
    let mut tail = ((weight << TAIL_BITS) / (one - ratio)) + UBig::ONE;
    // groups * tail / total <= bound, from far out inwards
    let most = bound * RBig::from(total_below) / RBig::from(groups.max(1));
    let mut least = u64::try_from(weights.len()).ok()?;
    for (x, weight) in weights.iter().enumerate().rev() {
        tail += weight;
        if RBig::from(tail.clone()) > most {
            break;
        }
        least = u64::try_from(x).ok()?;
    }
    Some(least)
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

    proptest! {
        /// Against the sum of the roots in floating point, and from above against integers alone.
        #[test]
        fn a_squared_sum_of_roots_is_never_below_it(
            squares in prop::collection::vec(1u64..1_000_000_000_000, 1..9),
        ) {
            let wide: Vec<u128> = squares.iter().map(|square| u128::from(*square)).collect();
            let found = squared_sum_of_roots(&wide).unwrap();
            let roots = squares.iter().map(|square| (*square as f64).sqrt()).sum::<f64>();
            // each of at most 28 pairs is rounded up by less than one
            prop_assert!((found as f64) >= roots * roots * 0.999_999_999);
            prop_assert!((found as f64) <= roots * roots * 1.000_000_001 + 28.0);
            let up = squares.iter().map(|square| u128::from(square.isqrt()) + 1).sum::<u128>();
            prop_assert!(found <= up * up);
        }
    }

    #[test]
    fn a_squared_sum_of_equal_roots_or_of_squares_roots_is_exact() {
        assert_eq!(squared_sum_of_roots(&[]), Some(0));
        assert_eq!(squared_sum_of_roots(&[2, 2, 2]), Some(18));
        assert_eq!(squared_sum_of_roots(&[25, 4, 25, 9]), Some(15 * 15));
        // (1 + sqrt 2)^2 = 5.83
        assert_eq!(squared_sum_of_roots(&[1, 2]), Some(6));
        assert_eq!(squared_sum_of_roots(&[u128::MAX, 1]), None);
        let most = 1_000_000_000_000_000u128;
        assert_eq!(squared_sum_of_roots(&[most * most; 64]), Some(64 * 64 * most * most));
    }

    #[test]
    fn perfect_squares_stay_exact() {
        assert_eq!(square_root_rounded_up(&integer(2500)), integer(50));
        assert_eq!(square_root_rounded_up(&integer(0)), integer(0));
    }
}
