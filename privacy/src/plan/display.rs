//! Figures for people: errors, intervals and (epsilon, delta), from public numbers.
//!
//! The one place with floats besides release rendering. Nothing computed here decides anything.

use serde::Serialize;

use super::{DpPlan, PlannedAggregate};
use crate::exact;
use crate::ids::ParticipantId;
use crate::units::{DisplayDelta, PicoRho};

/// Two-sided 95 % quantile of the normal distribution.
const QUANTILE_95: f64 = 1.959_963_984_540_054;
/// Median of |N(0,1)|.
const MEDIAN_ABSOLUTE: f64 = 0.674_489_750_196_081_7;

/// What is shown before an analyst confirms, and with every release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanSummary {
    /// Budget profile.
    pub profile: &'static str,
    /// Cost in rho.
    pub rho: f64,
    /// Cost in pico-rho, exact.
    pub pico_rho: PicoRho,
    /// Epsilon of this one question at `delta`.
    pub epsilon: f64,
    /// The delta it is shown at.
    pub delta: f64,
    /// The brands asked.
    pub participants: Vec<ParticipantId>,
    /// Colluders the noise allows for.
    pub tolerated_colluders: usize,
    /// Number of cells.
    pub cells: usize,
    /// One entry an aggregate.
    pub aggregates: Vec<AggregateSummary>,
}

/// Bounds and errors of one aggregate, in its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AggregateSummary {
    /// Its name in the answer.
    pub name: String,
    /// `memberships`, `rows`, `fen`, ...
    pub unit: String,
    /// C: L2 bound of one member's contribution at one brand.
    pub member_bound: f64,
    /// Delta_2: how far one person can move the answer.
    pub sensitivity: f64,
    /// Standard deviation of the noise in a cell.
    pub noise_deviation: f64,
    /// Mean absolute error of a cell by noise.
    pub expected_absolute_error: f64,
    /// Half width of the 95 % interval of a cell.
    pub interval_half_width: f64,
    /// Smallest cell whose median relative error is 5 %.
    pub smallest_cell: f64,
}

impl PlanSummary {
    pub(super) fn of(plan: &DpPlan) -> Self {
        let delta = DisplayDelta::MICRO;
        let n = plan.participants.len();
        Self {
            profile: plan.profile.name(),
            rho: plan.rho.to_rho(),
            pico_rho: plan.rho,
            epsilon: epsilon(plan.rho, delta),
            delta: delta.to_f64(),
            participants: plan.participants.clone(),
            tolerated_colluders: plan.tolerated,
            cells: plan.cells.len(),
            aggregates: plan.aggregates.iter().map(|a| AggregateSummary::of(a, n)).collect(),
        }
    }
}

impl AggregateSummary {
    fn of(aggregate: &PlannedAggregate, n: usize) -> Self {
        let deviation = noise_deviation(aggregate, n);
        let bound = (aggregate.squared_bound() as f64).sqrt();
        Self {
            name: aggregate.name().to_owned(),
            unit: aggregate.unit().to_owned(),
            member_bound: bound,
            sensitivity: bound * n as f64,
            noise_deviation: deviation,
            expected_absolute_error: deviation * (2.0 / core::f64::consts::PI).sqrt(),
            interval_half_width: interval_half_width(aggregate, n),
            smallest_cell: MEDIAN_ABSOLUTE * deviation / 0.05,
        }
    }
}

/// Standard deviation of the sum of all n shares, in the aggregate's unit.
fn noise_deviation(aggregate: &PlannedAggregate, n: usize) -> f64 {
    exact::to_f64(aggregate.share_deviation()) * (n as f64).sqrt() / aggregate.scale() as f64
}

/// Half width of the 95 % interval, in the aggregate's unit, rounded up to whole scaled units so
/// that an interval of integers never covers less than it says.
pub(crate) fn interval_half_width(aggregate: &PlannedAggregate, n: usize) -> f64 {
    let scale = aggregate.scale() as f64;
    (noise_deviation(aggregate, n) * QUANTILE_95 * scale).ceil() / scale
}

/// Epsilon at which a zCDP cost is (epsilon, delta)-DP:
/// min over alpha > 1 of alpha rho + ln((alpha-1)/alpha) - (ln delta + ln alpha)/(alpha-1)
/// (Canonne, Kamath and Steinke 2020, proposition 12). For display only.
pub fn epsilon(rho: PicoRho, delta: DisplayDelta) -> f64 {
    let rho = rho.to_rho();
    let delta = delta.to_f64();
    let at = |log_excess: f64| {
        let excess = log_excess.exp();
        let alpha = 1.0 + excess;
        alpha * rho + (excess / alpha).ln() - (delta.ln() + alpha.ln()) / excess
    };
    // A coarse grid over ln(alpha - 1), then a finer one around its best point.
    let best = |from: f64, step: f64| {
        (0..=1_000)
            .map(|i| from + step * f64::from(i))
            .min_by(|a, b| at(*a).total_cmp(&at(*b)))
            .unwrap_or(from)
    };
    let coarse = best(-10.0, 0.04);
    at(best(coarse - 0.04, 0.000_08)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::BudgetProfile;

    #[test]
    fn epsilon_of_a_year_matches_the_published_table() {
        for (profile, published, within) in [
            (BudgetProfile::Large, 0.027, 0.0005),
            (BudgetProfile::Standard, 0.62, 0.005),
            (BudgetProfile::Trial, 2.7, 0.05),
        ] {
            let shown = epsilon(profile.rho_per_year(), DisplayDelta::MICRO);
            assert!((shown - published).abs() <= within, "{profile:?}: {shown}");
        }
    }
}
