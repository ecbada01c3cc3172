//! The noise: exact discrete Gaussians, drawn before anything is read.
//!
//! Knows the one production source (opendp's sampler of Canonne, Kamath and Steinke 2020, exact on
//! rationals) and how a participant's share is drawn for a plan. Deliberately has no seed and no
//! default generator: opendp takes the operating system's entropy through its thread generator,
//! which cannot be injected; seeded sources for simulations are other types, in other crates.
//!
//! [`threshold`] says how large a noised count must be before a private group may be shown; [`choice`] is
//! the exponential mechanism, by which a brand's own quantiles are chosen. What it takes of randomness is drawn
//! before the data is read, too.

pub(crate) mod choice;
pub mod threshold;

use core::fmt;

use dashu::integer::IBig;
use zeroize::Zeroizing;

use crate::bounded::BoundedVector;
use crate::exact::Rational;
use crate::ids::PlanHash;
use crate::plan::DpPlan;

/// Noise could not be drawn. The caller must deny, never go on with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// The operating system's generator failed.
    #[error("the generator failed; check the system's entropy source, then ask again")]
    Generator,
    /// A value beyond 63 bits: beyond 1e-30 likely only with a broken source.
    #[error("a noise value does not fit 64 bits; do not use this noise source")]
    Range,
}

/// A source of discrete Gaussian noise.
pub trait NoiseSource {
    /// A draw with probability proportional to exp(-x^2 / (2 deviation^2)) for every integer x.
    fn discrete_gaussian(&mut self, deviation: &Rational) -> Result<i64, NoiseError>;

    /// 256 fair bits, for a choice. A source without them answers no quantile of a brand's own.
    fn bits(&mut self) -> Result<[u8; 32], NoiseError> {
        Err(NoiseError::Generator)
    }
}

/// The production source, and the only one a node has.
#[derive(Debug)]
pub struct OpendpNoise {
    _made_by_constructor: (),
}

impl OpendpNoise {
    /// A source fed by the operating system's entropy.
    pub const fn from_system_entropy() -> Self {
        Self { _made_by_constructor: () }
    }
}

impl NoiseSource for OpendpNoise {
    fn discrete_gaussian(&mut self, deviation: &Rational) -> Result<i64, NoiseError> {
        let draw: IBig = opendp::traits::samplers::sample_discrete_gaussian(deviation.clone())
            .map_err(|_| NoiseError::Generator)?;
        i64::try_from(draw).map_err(|_| NoiseError::Range)
    }

    fn bits(&mut self) -> Result<[u8; 32], NoiseError> {
        let mut bits = [0; 32];
        let filled = opendp::traits::samplers::fill_bytes(&mut bits);
        filled.map_err(|_| NoiseError::Generator)?;
        Ok(bits)
    }
}

/// One participant's noise for one plan: e_i of every coordinate. Drawn before the data is read,
/// so that the time drawing takes tells nothing of it. Used once: masking consumes it.
///
/// Where a brand has more private groups than its contract allows, that of the others is drawn after the reading
/// ([`Self::cover`]): how long it takes tells of their number, as the reading itself does, within the time to which a
/// reading is rounded up. That they get none, or make the reading fail, would tell it without any noise.
pub struct NoiseShare {
    plan: PlanHash,
    values: Zeroizing<Vec<i64>>,
    /// Of private groups beyond those of `values`, a column's together.
    beyond: Zeroizing<Vec<i64>>,
    /// For what is chosen, in the order of its coordinates, where `values` has 0.
    choices: Zeroizing<Vec<[u8; 32]>>,
}

impl NoiseShare {
    /// Draws a share: a value for every coordinate, of private groups for as many as there can be.
    pub fn draw(plan: &DpPlan, source: &mut impl NoiseSource) -> Result<Self, NoiseError> {
        let mut values = Zeroizing::new(Vec::with_capacity(plan.coordinates()));
        let mut choices = Zeroizing::new(Vec::new());
        for column in plan.columns() {
            for _ in 0..plan.cells_at_most().saturating_mul(column.fill().shown()) {
                if column.choices().is_empty() {
                    values.push(source.discrete_gaussian(column.share_deviation())?);
                } else {
                    choices.push(source.bits()?);
                    values.push(0);
                }
            }
        }
        let beyond = Zeroizing::new(Vec::new());
        Ok(Self { plan: plan.hash(), values, beyond, choices })
    }

    /// Draws for private groups beyond those that the contract allows, if the reading found any. To be called
    /// after every reading.
    pub fn cover(
        &mut self,
        plan: &DpPlan,
        vector: &BoundedVector,
        source: &mut impl NoiseSource,
    ) -> Result<(), NoiseError> {
        let more = vector.groups().len().saturating_sub(plan.cells_at_most());
        self.beyond.clear();
        for column in plan.columns() {
            for _ in 0..more.saturating_mul(column.fill().shown()) {
                self.beyond.push(source.discrete_gaussian(column.share_deviation())?);
            }
        }
        Ok(())
    }

    /// What [`Self::cover`] drew.
    pub(crate) fn beyond(&self) -> &[i64] {
        &self.beyond
    }

    pub(crate) const fn plan(&self) -> PlanHash {
        self.plan
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }

    pub(crate) fn choices(&self) -> &[[u8; 32]] {
        &self.choices
    }
}

/// Redacted: whoever sees noise and answer sees the data.
impl fmt::Debug for NoiseShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseShare").field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::exact;
    use crate::testing::{sample_contract, spec};

    /// Probability mass of the discrete Gaussian, by its definition.
    fn mass(deviation: f64, at: i64) -> f64 {
        let weight = |x: f64| (-x * x / (2.0 * deviation * deviation)).exp();
        let reach = (deviation * 40.0) as i64;
        weight(at as f64) / (-reach..=reach).map(|x| weight(x as f64)).sum::<f64>()
    }

    /// Chi-square of draws against the mass function, bins of expected count 20 at least.
    fn chi_square(deviation: &Rational, draws: usize) -> (f64, usize) {
        let mut source = OpendpNoise::from_system_entropy();
        let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
        for _ in 0..draws {
            *seen.entry(source.discrete_gaussian(deviation).unwrap()).or_default() += 1;
        }
        let sigma = exact::to_f64(deviation);
        let reach = (8.0 * sigma) as i64;
        let (mut statistic, mut bins, mut expected, mut found) = (0.0, 0, 0.0, 0.0);
        for x in -reach..=reach {
            expected += mass(sigma, x) * draws as f64;
            found += seen.get(&x).copied().unwrap_or(0) as f64;
            if expected >= 20.0 {
                statistic += (found - expected) * (found - expected) / expected;
                (bins, expected, found) = (bins + 1, 0.0, 0.0);
            }
        }
        (statistic, bins)
    }

    #[test]
    fn draws_follow_the_exact_mass_function() {
        for (numerator, denominator) in [(3, 1), (25, 4)] {
            let deviation = exact::divided(&exact::integer(numerator), denominator).unwrap();
            let (statistic, bins) = chi_square(&deviation, 40_000);
            assert!(bins > 15, "{bins}");
            // By Wilson and Hilferty's normal approximation, whose tail is the statistic's own: above six and a half
            // deviations with a probability below 1e-10.
            let freedom = (bins - 1) as f64;
            let spread = 2.0 / (9.0 * freedom);
            let limit = freedom * (1.0 - spread + 6.5 * spread.sqrt()).powi(3);
            assert!(statistic < limit, "{statistic} over {bins} bins, limit {limit}");
        }
    }

    #[test]
    fn the_test_would_see_a_deviation_five_percent_too_small() {
        let claimed = 10.0;
        let mut source = OpendpNoise::from_system_entropy();
        let smaller = exact::divided(&exact::integer(95), 10).unwrap();
        let draws: Vec<f64> =
            (0..40_000).map(|_| source.discrete_gaussian(&smaller).unwrap() as f64).collect();
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        // The estimate of a variance from 40,000 draws has a relative error of 0.7 %: seven of them lie between.
        assert!(variance < claimed * claimed * 0.95, "{variance}");
    }

    #[test]
    fn intervals_cover_the_sum_of_all_shares_as_often_as_they_say() {
        let plan = DpPlan::new(
            &sample_contract(),
            &spec("SELECT count(distinct member) FROM purchases", 5),
        )
        .unwrap();
        let half = plan.summary().aggregates[0].interval_half_width;
        let mut source = OpendpNoise::from_system_entropy();
        let trials = 8_000;
        let covered = (0..trials)
            .filter(|_| {
                let shares = (0..5).map(|_| NoiseShare::draw(&plan, &mut source).unwrap());
                let sum: i64 = shares.map(|share| share.values()[0]).sum();
                sum.abs() as f64 <= half
            })
            .count();
        // 95 % with a deviation of 0.24 %: eight of them either way.
        let percent = 100.0 * covered as f64 / f64::from(trials);
        assert!((93.0..=97.0).contains(&percent), "{percent}");
    }

    #[test]
    fn a_share_has_a_value_for_every_coordinate_and_shows_none() {
        let sql = "SELECT department, count(*), count(distinct member) FROM purchases \
                   WHERE department <> 'FUEL' GROUP BY 1";
        let plan = DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap();
        let share = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
        assert_eq!(share.values().len(), plan.coordinates());
        assert!(share.values().iter().any(|value| *value != 0));
        let shown = format!("{share:?}");
        assert!(!shown.contains("values"), "{shown}");
    }

    #[test]
    fn a_failing_generator_denies() {
        struct Broken;
        impl NoiseSource for Broken {
            fn discrete_gaussian(&mut self, _: &Rational) -> Result<i64, NoiseError> {
                Err(NoiseError::Generator)
            }
        }
        let spec = spec("SELECT count(*) FROM purchases", 5);
        let plan = DpPlan::new(&sample_contract(), &spec).unwrap();
        assert_eq!(NoiseShare::draw(&plan, &mut Broken).unwrap_err(), NoiseError::Generator);
    }
}
