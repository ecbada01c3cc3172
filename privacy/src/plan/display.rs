//! Figures for people: errors, intervals and (epsilon, delta), from public numbers.
//!
//! The one place with floats besides release rendering. Nothing computed here decides anything.

use serde::Serialize;

use super::{DpPlan, NoisedColumn};
use crate::exact;
use crate::ids::ParticipantId;
use crate::sql::{Measure, Output, OutputOf};
use crate::units::{DisplayDelta, PicoDelta, PicoRho};

/// Two-sided 95 % quantile of the normal distribution.
pub(crate) const QUANTILE_95: f64 = 1.959_963_984_540_054;
/// Median of |N(0,1)|.
const MEDIAN_ABSOLUTE: f64 = 0.674_489_750_196_081_7;
/// The median relative error by noise up to which a figure is of use.
const MEDIAN_RELATIVE_ERROR: f64 = 0.05;
/// Half width of a 95 % interval beyond which a value is called noisy, as a part of the value: that of a cell whose
/// median relative error is 5 %, the smallest that the plan calls of use ([`AggregateSummary::smallest_cell`]).
pub const NOISY_FROM: f64 = QUANTILE_95 / MEDIAN_ABSOLUTE * MEDIAN_RELATIVE_ERROR;

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
    /// Number of cells; of private groups the most there can be.
    pub cells: usize,
    /// Noised values in all: what is masked and opened, eight bytes each.
    pub coordinates: usize,
    /// Whether cells are chosen by their noised values.
    pub selects: bool,
    /// Tables read.
    pub tables: Vec<String>,
    /// How many columns of the answer are group keys, which come first.
    pub keys: usize,
    /// The columns of the answer that are no keys.
    pub outputs: Vec<OutputSummary>,
    /// One entry a noised column.
    pub aggregates: Vec<AggregateSummary>,
    /// What decides which groups are shown, where their names are private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateSummary>,
}

/// How groups whose names are private are shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PrivateSummary {
    /// In at most how many groups one member counts: those in which it has most rows.
    pub member_groups: u16,
    /// Public cap on their number.
    pub groups_at_most: u16,
    /// With which probability this question may show a group that only one member is in; charged.
    pub delta: f64,
    /// The same, exact.
    pub pico_delta: PicoDelta,
    /// The least noised count of members of a group that is shown.
    pub threshold: f64,
}

/// One column of the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputSummary {
    /// Its name.
    pub name: String,
    /// What it is computed as.
    pub kind: OutputKind,
    /// The noised columns it is computed from, as indices into [`PlanSummary::aggregates`].
    pub aggregates: Vec<usize>,
    /// Whether only HAVING or ORDER BY names it: charged all the same.
    pub unshown: bool,
}

/// What a column of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// A noised count or sum.
    Amount,
    /// A share of rows, with Fieller's interval.
    Rate,
    /// A quotient of two noised sums, with Fieller's interval.
    Quotient,
    /// A quantile: read off a noised histogram, or of a brand's own chosen by the exponential mechanism.
    Quantile,
}

/// Bounds and errors of one noised column, in its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AggregateSummary {
    /// Its name in the answer.
    pub name: String,
    /// `memberships`, `rows`, `fen`, ...
    pub unit: String,
    /// C: L2 bound of one member's contribution at one brand; the largest where they differ.
    pub member_bound: f64,
    /// C of each brand asked, in their order, where they are not all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds_by_brand: Vec<BrandBoundSummary>,
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

/// The bound on a member's contribution at one brand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BrandBoundSummary {
    /// The brand.
    pub brand: ParticipantId,
    /// Its C, in the column's unit.
    pub member_bound: f64,
}

impl PlanSummary {
    pub(super) fn of(plan: &DpPlan) -> Self {
        let delta = DisplayDelta::MICRO;
        let brands = &plan.participants;
        Self {
            profile: plan.profile.name(),
            rho: plan.rho.to_rho(),
            pico_rho: plan.rho,
            epsilon: epsilon(plan.rho, delta),
            delta: delta.to_f64(),
            participants: plan.participants.clone(),
            tolerated_colluders: plan.tolerated,
            cells: plan.cells_at_most(),
            coordinates: plan.coordinates(),
            selects: plan.query.selects(),
            tables: plan.tables().map(|table| table.name().to_owned()).collect(),
            keys: plan.query.keys_shown(),
            outputs: outputs(plan),
            aggregates: plan.columns.iter().map(|a| AggregateSummary::of(a, brands)).collect(),
            private: plan.private.as_ref().map(|groups| {
                let scale = plan.columns.get(usize::from(groups.column)).map_or(1, |c| c.scale());
                PrivateSummary {
                    member_groups: groups.member_groups,
                    groups_at_most: groups.groups_at_most,
                    delta: groups.delta.get() as f64 / PicoDelta::PER_ONE as f64,
                    pico_delta: groups.delta,
                    threshold: groups.threshold as f64 / scale as f64,
                }
            }),
        }
    }
}

fn outputs(plan: &DpPlan) -> Vec<OutputSummary> {
    let of = |output: &Output| {
        let (measure, quantile) = match output.of {
            OutputOf::Key(_) => return None,
            OutputOf::Measure(measure) => (measure, false),
            OutputOf::Quantile { measure, .. } => (measure, true),
        };
        let kind = match plan.query.measures.get(usize::from(measure))? {
            Measure::Rate(_) => OutputKind::Rate,
            Measure::Ratio { .. } => OutputKind::Quotient,
            Measure::One(_) | Measure::Histogram(_) if quantile => OutputKind::Quantile,
            Measure::One(_) | Measure::Histogram(_) => OutputKind::Amount,
        };
        let columns = plan.columns.iter().enumerate();
        let columns = columns.filter(|(_, column)| column.measure() == measure);
        Some(OutputSummary {
            name: output.name.clone(),
            kind,
            aggregates: columns.map(|(index, _)| index).collect(),
            unshown: !output.shown,
        })
    };
    plan.query.outputs.iter().filter_map(of).collect()
}

impl AggregateSummary {
    fn of(aggregate: &NoisedColumn, brands: &[ParticipantId]) -> Self {
        let n = brands.len();
        if let Some(widest) = widest_choice(aggregate) {
            return Self::chosen(aggregate, widest);
        }
        let deviation = noise_deviation(aggregate, n);
        let root = |square: u128| (square as f64).sqrt();
        let own = brands.iter().zip(aggregate.squared_bounds());
        let own = own
            .map(|(brand, bound)| BrandBoundSummary { brand: *brand, member_bound: root(*bound) });
        let bound = root(aggregate.squared_bound());
        // where all are alike, the figure is the one that it was before brands could have their own, to the last bit
        let (bounds_by_brand, sensitivity) = match aggregate.one_bound_for_all() {
            true => (Vec::new(), bound * n as f64),
            false => (own.collect(), root(aggregate.squared_sensitivity())),
        };
        Self {
            name: aggregate.name().to_owned(),
            unit: aggregate.unit().to_owned(),
            member_bound: bound,
            bounds_by_brand,
            sensitivity,
            noise_deviation: deviation,
            expected_absolute_error: deviation * (2.0 / core::f64::consts::PI).sqrt(),
            interval_half_width: interval_half_width(aggregate, n),
            smallest_cell: MEDIAN_ABSOLUTE * deviation / MEDIAN_RELATIVE_ERROR,
        }
    }

    /// Of a column from which quantiles are chosen, in rows that their ranks are off: an exponential error, as if
    /// rows lay evenly.
    fn chosen(aggregate: &NoisedColumn, mean: f64) -> Self {
        let bound = (aggregate.squared_bound() as f64).sqrt();
        Self {
            name: aggregate.name().to_owned(),
            unit: format!("{} of rank", aggregate.unit()),
            member_bound: bound,
            bounds_by_brand: Vec::new(),
            sensitivity: bound,
            noise_deviation: mean * core::f64::consts::SQRT_2,
            expected_absolute_error: mean,
            interval_half_width: mean * 20f64.ln(),
            smallest_cell: mean * core::f64::consts::LN_2 / MEDIAN_RELATIVE_ERROR,
        }
    }
}

/// The mean error, in rows, of the rank of that chosen quantile which is off the most.
fn widest_choice(aggregate: &NoisedColumn) -> Option<f64> {
    let errors = aggregate.choices().iter().filter_map(|choice| choice.rank_error());
    errors.map(|error| exact::to_f64(&error) / aggregate.scale() as f64).reduce(f64::max)
}

/// Standard deviation of the sum of all n shares, in the aggregate's unit.
pub(crate) fn noise_deviation(aggregate: &NoisedColumn, n: usize) -> f64 {
    exact::to_f64(aggregate.share_deviation()) * (n as f64).sqrt() / aggregate.scale() as f64
}

/// Half width of the 95 % interval, in the aggregate's unit, rounded up to whole scaled units so
/// that an interval of integers never covers less than it says.
pub(crate) fn interval_half_width(aggregate: &NoisedColumn, n: usize) -> f64 {
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

    /// Against dp-accounting (`spec/compare_accounting.py`): what is charged adds up to no less, and
    /// epsilon is no larger than by Renyi orders and no smaller than by privacy loss distributions.
    #[test]
    fn accounts_agree_with_dp_accounting() {
        let mut compared = 0;
        let lines = include_str!("../../vectors/accounting.csv").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split("; ").collect();
            let charged = fields[1].split(' ').fold(PicoRho::ZERO, |sum, release| {
                let (squared, variance) = release.split_once('/').unwrap();
                let number = |text: &str| exact::integer(text.parse().unwrap());
                let cost = PicoRho::of_gaussian(&number(squared), &number(variance)).unwrap();
                sum.checked_add(cost).unwrap()
            });
            let shown = epsilon(charged, DisplayDelta::new(fields[2].parse().unwrap()).unwrap());
            let (renyi, loss): (f64, f64) =
                (fields[3].parse().unwrap(), fields[4].parse().unwrap());
            assert!(shown <= renyi * 1.0001 && shown >= loss * 0.9999, "{line}: {shown}");
            compared += 1;
        }
        assert_eq!(compared, 24);
    }

    #[test]
    fn a_plan_is_explained_before_anything_is_spent() {
        let sql = "SELECT half_year(purchased_on) h, avg(amount_fen) m, median(quantity) q, \
                   avg(case when quantity > 1 then 1 else 0 end) r FROM purchases GROUP BY 1 \
                   HAVING count(*) > 50";
        let contract = crate::testing::questions::open_contract();
        let plan = DpPlan::new(&contract, &crate::testing::spec(sql, 4)).unwrap();
        let summary = plan.summary();
        let outputs: Vec<_> =
            summary.outputs.iter().map(|o| (o.name.as_str(), o.kind, &o.aggregates[..])).collect();
        assert_eq!(
            outputs,
            [
                ("m", OutputKind::Quotient, &[0, 1][..]),
                ("q", OutputKind::Quantile, &[2]),
                ("r", OutputKind::Rate, &[3]),
                ("", OutputKind::Amount, &[4]),
            ]
        );
        assert!(summary.selects && summary.outputs[3].unshown);
        // two cells: two values and a count, a tree of 1,022 nodes, yes and no
        assert_eq!((summary.cells, summary.coordinates), (2, 2 * (1 + 1 + 1_022 + 2 + 1)));
        assert_eq!(summary.tables, ["purchases"]);
        // five columns share the cost
        let parts: u64 = plan.columns().iter().map(|column| column.rho().get()).sum();
        assert_eq!(parts, plan.rho().get());
        assert!(summary.aggregates.iter().all(|a| a.expected_absolute_error > 0.0));
        // cost in rho and, for display, epsilon; of each column its bound and its error in a cell
        assert_eq!(summary.pico_rho, plan.rho());
        assert!((summary.delta - 1e-6).abs() < 1e-15, "{}", summary.delta);
        assert!((summary.rho - plan.rho().to_rho()).abs() < 1e-15);
        assert!((summary.epsilon - epsilon(plan.rho(), DisplayDelta::MICRO)).abs() < 1e-12);
        for it in &summary.aggregates {
            assert!(it.member_bound > 0.0 && it.sensitivity >= it.member_bound, "{it:?}");
            assert!(it.expected_absolute_error < it.noise_deviation, "{it:?}");
            assert!(it.interval_half_width > it.noise_deviation, "{it:?}");
        }
    }

    /// Unlike bounds are all shown, with an error that follows from their sum.
    #[test]
    fn bounds_of_brands_own_are_shown_with_the_error_they_make() {
        let sql = "SELECT sum(amount_fen) s, count(distinct member) m FROM purchases";
        let summary = |own: Option<u64>| {
            let mut raw = crate::testing::raw_contract();
            let columns = &mut raw.tables[0].columns;
            let crate::contract::RawColumn::Integer { bound_by_brand, .. } = &mut columns[3] else {
                panic!()
            };
            bound_by_brand.extend(own.map(|own| ("health_home".to_owned(), own)));
            let contract = crate::contract::Contract::try_from(raw).unwrap();
            DpPlan::new(&contract, &crate::testing::spec(sql, 5)).unwrap().summary()
        };
        let (alike, unlike) = (summary(None), summary(Some(5_000_000)));
        assert!(alike.aggregates.iter().all(|it| it.bounds_by_brand.is_empty()));
        let [spent, members] = &unlike.aggregates[..] else { panic!() };
        let shown: Vec<(&str, f64)> =
            spent.bounds_by_brand.iter().map(|it| (it.brand.as_str(), it.member_bound)).collect();
        assert_eq!(shown.first(), Some(&("fresh_counter", 500_000.0)));
        assert_eq!(shown.last(), Some(&("health_home", 5_000_000.0)));
        assert_eq!((spent.member_bound, spent.sensitivity), (5_000_000.0, 7_000_000.0));
        // 7,000,000 in place of five times 500,000: the noise grows by as much
        let before = &alike.aggregates[0];
        assert_eq!(before.sensitivity, 2_500_000.0);
        let grown = spent.expected_absolute_error / before.expected_absolute_error;
        assert!((grown - 2.8).abs() < 1e-6, "{grown}");
        // what is counted has no bound of a brand's own, and the same noise as ever
        assert_eq!(*members, alike.aggregates[1]);
    }

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
