//! The threshold above which a group that nobody declared may be shown.
//!
//! A group whose very name is private (a product, a shop) is shown only when its noised count of
//! members reaches T. A member whose groups nobody else has would be given away by showing one of
//! them. Each of its at most m groups then has a count of 1, so the probability of showing any is at
//! most m P(1 + x >= T) for the discrete Gaussian noise x (union bound), and T is the least for which
//! that is at most delta. The tail is bounded exactly, on integers (`exact::least_tail`).
//!
//! How many groups there are, and whether that is more than a contract allows, does not matter for it: each has its own
//! noise, and a member is alone in m of them at most.
//!
//! That holds for groups in which a member is alone. All other groups are there without the member too, with
//! the same noise, so that all a question shows is delta-approximate rho-zCDP (Bun and Steinke 2016, definition
//! 8.1); both parts add up over questions (lemma 8.2).

use crate::exact::{self, Rational};
use crate::units::PicoDelta;

/// The least count at which a private group may be shown: `deviation` is that of the noise on the
/// group's count of distinct members, `groups` how many groups one member counts in at most, `one` what a
/// member counts for, all in the units of the count. `None`
/// when there is none: noise of a deviation below 1 or above 10,000, or delta zero.
pub fn least_threshold(
    deviation: &Rational,
    groups: u64,
    one: u64,
    delta: PicoDelta,
) -> Option<u64> {
    let delta =
        exact::divided(&exact::integer(u128::from(delta.get())), u128::from(PicoDelta::PER_ONE))?;
    exact::least_tail(deviation, groups, &delta)?.checked_add(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(deviation: u128, groups: u64, pico_delta: u64) -> Option<u64> {
        least_threshold(&exact::integer(deviation), groups, 1, PicoDelta::new(pico_delta))
    }

    #[test]
    fn thresholds_are_those_of_the_exact_tail() {
        assert_eq!(threshold(10, 4, 1_000_000), Some(52));
        assert_eq!(threshold(100, 10, 10_000), Some(602));
    }

    /// Against the mass function added up in floats, for small deviations.
    #[test]
    fn a_threshold_is_enough_and_one_less_is_not() {
        for (deviation, groups, pico_delta) in
            [(1u8, 1u8, 1_000_000u64), (3, 2, 10_000_000), (7, 20, 1_000_000_000), (25, 5, 100_000)]
        {
            let s = f64::from(deviation);
            let weight = |x: i64| (-((x * x) as f64) / (2.0 * s * s)).exp();
            let total: f64 = (-2_000..=2_000).map(weight).sum();
            let shown = |t: u64| -> f64 {
                let from = i64::try_from(t).unwrap() - 1;
                f64::from(groups) * (from..=2_000).map(weight).sum::<f64>() / total
            };
            let delta = pico_delta as f64 / 1e12;
            let t = threshold(u128::from(deviation), u64::from(groups), pico_delta).unwrap();
            assert!(shown(t) <= delta * 1.000_001 && shown(t - 1) > delta * 0.999_999, "{t}");
        }
    }

    #[test]
    fn without_a_delta_nothing_private_is_shown() {
        assert_eq!(threshold(10, 4, 0), None);
        assert_eq!(threshold(0, 4, 1_000_000), None);
        assert_eq!(threshold(1_000_000, 4, 1_000_000), None);
    }
}
