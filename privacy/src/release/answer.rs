//! From noised sums to what is shown: values, intervals, quotients, quantiles, and which cells.
//!
//! All of it is computed from what is public already and decides nothing: floats are for display.
//! An interval covers the noise of its cell alone. Where cells are chosen by their noised values,
//! the chosen ones are those the noise favoured, and the release says so.

use std::cmp::Ordering;

use serde::Serialize;

use crate::mechanism::choice::CHOSEN;
use crate::plan::{DpPlan, NOISY_FROM, QUANTILE_95, interval_half_width, noise_deviation};
use crate::sql::{BoundQuery, Condition, Measure, OutputOf};

/// One cell of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedCell {
    /// Labels, one per group key.
    pub keys: Vec<String>,
    /// One value per column that is no key.
    pub values: Vec<NoisedValue>,
}

/// A noised value with its interval, in its column's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NoisedValue {
    /// The noised value; can be negative.
    pub value: f64,
    /// Lower end of the 95 % interval for the noise; infinite where nothing can be said.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether it is of use, judged on noised values alone.
    pub quality: Quality,
}

/// Of what use a noised value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The interval reaches 14.5 % of the value or less to either side: a median error of at most 5 %, as of the
    /// smallest cell of a plan.
    Usable,
    /// The interval is wider: half of such values are off by more than 5 % by noise alone.
    Noisy,
    /// A quotient whose denominator may be zero, or a quantile of nothing: no interval holds it.
    Insufficient,
}

impl Quality {
    /// Of a value with this 95 % interval.
    #[must_use]
    pub fn of(value: f64, low: f64, high: f64) -> Self {
        if !(low.is_finite() && high.is_finite()) {
            Self::Insufficient
        } else if (high - low) / 2.0 > NOISY_FROM * value.abs() {
            Self::Noisy
        } else {
            Self::Usable
        }
    }
}

impl NoisedValue {
    fn new(value: f64, low: f64, high: f64) -> Self {
        Self { value, low, high, quality: Quality::of(value, low, high) }
    }

    const fn insufficient(value: f64) -> Self {
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        Self { value, low, high, quality: Quality::Insufficient }
    }
}

/// The sums of a plan's noised columns, by cell.
pub(super) struct Sums<'a> {
    pub(super) plan: &'a DpPlan,
    /// Every cell's labels, one a group key.
    pub(super) labels: &'a [Vec<String>],
    pub(super) values: &'a [i64],
}

/// Every cell that the question asks to see, in its order.
pub(super) fn answer(sums: &Sums<'_>) -> Vec<ReleasedCell> {
    let query = sums.plan.query();
    let mut rows: Vec<(usize, Vec<NoisedValue>)> = (0..sums.labels.len())
        .map(|cell| (cell, sums.outputs(cell)))
        .filter(|(_, outputs)| {
            query.having.as_ref().is_none_or(|having| holds(having, outputs) == Some(true))
        })
        .collect();
    // stable: cells that are equal in every part keep the order of the public domains
    rows.sort_by(|one, two| compare(query, one, two));
    if let Some(limit) = query.limit {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    rows.into_iter()
        .filter_map(|(cell, outputs)| {
            let shown = query.outputs.iter().zip(outputs);
            let values = shown
                .filter(|(output, _)| output.shown && !matches!(output.of, OutputOf::Key(_)))
                .map(|(_, value)| value);
            let keys = sums.labels.get(cell)?;
            let keys = query.shown_keys().filter_map(|(_, key)| keys.get(key).cloned());
            Some(ReleasedCell { keys: keys.collect(), values: values.collect() })
        })
        .collect()
}

impl Sums<'_> {
    /// Every output of a cell; a key's is its place among its values.
    fn outputs(&self, cell: usize) -> Vec<NoisedValue> {
        let query = self.plan.query();
        let outputs = query.outputs.iter().map(|output| match output.of {
            OutputOf::Key(key) => {
                // private groups are in the order of their names
                let place = query.private.map(|_| cell).or_else(|| {
                    let labels = &query.keys.get(usize::from(key))?.labels;
                    let label = self.labels.get(cell)?.get(usize::from(key))?;
                    labels.iter().position(|known| known == label)
                });
                let place = place.unwrap_or(usize::MAX) as f64;
                NoisedValue::new(place, place, place)
            }
            OutputOf::Measure(measure) => self.measure(usize::from(measure), cell),
            OutputOf::Quantile { measure, permille } => {
                let measure = usize::from(measure);
                let chosen = self.chosen(measure, cell, permille);
                chosen
                    .unwrap_or_else(|| self.quantile(measure, cell, f64::from(permille) / 1_000.0))
            }
        });
        outputs.collect()
    }

    fn measure(&self, index: usize, cell: usize) -> NoisedValue {
        let columns = self.columns_of(index);
        match (self.plan.query().measures.get(index), columns.as_slice()) {
            (Some(Measure::One(_)), [column]) => {
                let value = self.value(*column, cell, 0);
                let half = self.half_width(*column);
                NoisedValue::new(value, value - half, value + half)
            }
            (Some(Measure::Rate(_)), [column]) => {
                let (yes, no) = (self.value(*column, cell, 0), self.value(*column, cell, 1));
                let variance = self.deviation(*column).powi(2);
                let (over, under) = (
                    Noised { value: yes, variance },
                    Noised { value: yes + no, variance: 2.0 * variance },
                );
                let mut rate = quotient(over, under, variance);
                if rate.quality != Quality::Insufficient {
                    // a rate lies between 0 and 1
                    let [value, low, high] =
                        [rate.value, rate.low, rate.high].map(|share| share.clamp(0.0, 1.0));
                    rate = NoisedValue { value, low, high, quality: rate.quality };
                }
                rate
            }
            (Some(Measure::Ratio { offset, .. }), [over, under]) => {
                let noised = |column: usize| Noised {
                    value: self.value(column, cell, 0),
                    variance: self.deviation(column).powi(2),
                };
                let found = quotient(noised(*over), noised(*under), 0.0);
                let offset = *offset as f64;
                match found.quality {
                    Quality::Insufficient => NoisedValue::insufficient(found.value + offset),
                    _ => NoisedValue::new(
                        found.value + offset,
                        found.low + offset,
                        found.high + offset,
                    ),
                }
            }
            _ => NoisedValue::insufficient(0.0),
        }
    }

    /// A quantile whose bins were chosen, the outermost of which enclose it. `None` where it is read off a noised
    /// histogram.
    fn chosen(&self, index: usize, cell: usize, permille: u16) -> Option<NoisedValue> {
        let columns = self.columns_of(index);
        let (Measure::Histogram(bins), [column]) =
            (self.plan.query().measures.get(index)?, columns.as_slice())
        else {
            return None;
        };
        let planned = self.plan.columns().get(*column)?;
        let at = planned.choices().iter().position(|choice| choice.permille() == permille)?;
        let from = cell
            .checked_mul(planned.fill().shown())?
            .checked_add(at.checked_mul(CHOSEN)?)?
            .checked_add(self.plan.column_start(*column, self.labels.len()))?;
        let chosen = self.values.get(from..from.checked_add(CHOSEN)?)?;
        let [low, own, high] = chosen else { return None };
        // whole numbers of a bin: from its edge to the one before the next
        let width = bins.width as f64;
        let edge = |bin: &i64| bins.least as f64 + width * *bin as f64;
        let value = edge(own) + (width - 1.0) / 2.0;
        let last = i64::try_from(bins.leaves()).ok()?.checked_sub(1)?;
        if *low == 0 && *high == last {
            return Some(NoisedValue::insufficient(value));
        }
        let (low, high) = (edge(low), edge(high) + width - 1.0);
        Some(NoisedValue::new(value, low.min(value), high.max(value)))
    }

    /// The quantile of a cell's noised histogram. At a bin's lower edge x, with L what lies below
    /// and R the rest, T(x) = (1-q) L - q R crosses 0 at the quantile. L and R are made of one node a
    /// level, so T is normal with a known variance, and the
    /// interval spans all edges where T could be 0, with a bin to either side for what lies between.
    /// The value is where T changes its sign, as if it changed it once.
    fn quantile(&self, index: usize, cell: usize, q: f64) -> NoisedValue {
        let columns = self.columns_of(index);
        let (Some(Measure::Histogram(bins)), [column]) =
            (self.plan.query().measures.get(index), columns.as_slice())
        else {
            return NoisedValue::insufficient(0.0);
        };
        let deviation = self.deviation(*column);
        let depth = u32::from(bins.depth);
        let node = |level: u32, at: usize| {
            let begins = 1usize.checked_shl(level).unwrap_or(2).saturating_sub(2);
            self.value(*column, cell, begins.saturating_add(at))
        };
        let leaves = bins.leaves();
        let edge = |bin: usize| bins.least as f64 + bins.width as f64 * bin as f64;
        let (mut negative, mut first, mut last) = (0usize, None, None);
        // at the first edge nothing lies below, at the last everything
        for bin in 1..leaves {
            let (mut below, mut above, mut variance) = (0.0, 0.0, 0.0);
            // the edge is the lower end of `bin`: on every level the bin's sibling is on one side
            for level in 1..=depth {
                let at = bin.checked_shr(depth.saturating_sub(level)).unwrap_or(0);
                let weight = if at % 2 == 1 {
                    below += node(level, at.saturating_sub(1));
                    1.0 - q
                } else {
                    above += node(level, at.saturating_add(1));
                    q
                };
                variance += (weight * deviation).powi(2);
            }
            above += node(depth, bin);
            variance += (q * deviation).powi(2);
            let test = (1.0 - q) * below - q * above;
            let reach = QUANTILE_95 * variance.sqrt();
            negative = negative.saturating_add(usize::from(test < 0.0));
            if test >= -reach && first.is_none() {
                first = Some(bin);
            }
            if test <= reach {
                last = Some(bin);
            }
        }
        let value = edge(negative.saturating_add(1));
        let low = edge(first.unwrap_or(leaves).saturating_sub(1));
        let high = edge(last.unwrap_or(0).saturating_add(1));
        let total: f64 = node(1, 0) + node(1, 1);
        if total <= QUANTILE_95 * deviation * std::f64::consts::SQRT_2 {
            return NoisedValue::insufficient(value);
        }
        NoisedValue::new(value, low.min(value), high.max(value))
    }

    fn columns_of(&self, measure: usize) -> Vec<usize> {
        let columns = self.plan.columns().iter().enumerate();
        columns
            .filter(|(_, column)| usize::from(column.measure()) == measure)
            .map(|(index, _)| index)
            .collect()
    }

    /// A noised sum, in its unit.
    fn value(&self, column: usize, cell: usize, coordinate: usize) -> f64 {
        let found = self.plan.columns().get(column).and_then(|planned| {
            let within = cell.checked_mul(planned.fill().shown())?.checked_add(coordinate)?;
            let at = self.plan.column_start(column, self.labels.len()).checked_add(within)?;
            Some(*self.values.get(at)? as f64 / planned.scale() as f64)
        });
        found.unwrap_or(0.0)
    }

    fn deviation(&self, column: usize) -> f64 {
        let n = self.plan.participants().len();
        self.plan.columns().get(column).map_or(f64::INFINITY, |column| noise_deviation(column, n))
    }

    fn half_width(&self, column: usize) -> f64 {
        let n = self.plan.participants().len();
        let column = self.plan.columns().get(column);
        column.map_or(f64::INFINITY, |column| interval_half_width(column, n))
    }
}

#[derive(Clone, Copy)]
struct Noised {
    value: f64,
    variance: f64,
}

/// A quotient of two noised sums with Fieller's interval (Fieller 1954): all t with
/// (a - t b)^2 <= z^2 (Var a - 2 t Cov + t^2 Var b). It is bounded where b differs from 0 by more than
/// its noise; elsewhere the quotient is called insufficient. Both are decided from noised values.
fn quotient(over: Noised, under: Noised, covariance: f64) -> NoisedValue {
    let (a, b) = (over.value, under.value);
    let z = QUANTILE_95 * QUANTILE_95;
    let leading = b * b - z * under.variance;
    if b <= 0.0 || leading <= 0.0 {
        return NoisedValue::insufficient(if b > 0.0 { a / b } else { 0.0 });
    }
    let middle = a * b - z * covariance;
    let last = a * a - z * over.variance;
    let root = (middle * middle - leading * last).max(0.0).sqrt();
    NoisedValue::new(a / b, (middle - root) / leading, (middle + root) / leading)
}

/// Whether a condition on noised values holds; `None` where an insufficient value decides.
fn holds(condition: &Condition, outputs: &[NoisedValue]) -> Option<bool> {
    match condition {
        Condition::And(all) => {
            let mut open = false;
            for part in all {
                match holds(part, outputs) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => open = true,
                }
            }
            (!open).then_some(true)
        }
        Condition::Or(any) => {
            let mut open = false;
            for part in any {
                match holds(part, outputs) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => open = true,
                }
            }
            (!open).then_some(false)
        }
        Condition::Not(inner) => holds(inner, outputs).map(|truth| !truth),
        Condition::Compare { output, comparison, micros } => {
            let found = outputs.get(usize::from(*output))?;
            let sufficient = found.quality != Quality::Insufficient;
            sufficient.then(|| comparison.holds(&found.value, &(*micros as f64 / 1e6)))
        }
    }
}

/// ORDER BY; insufficient values come last either way.
fn compare(
    query: &BoundQuery,
    one: &(usize, Vec<NoisedValue>),
    two: &(usize, Vec<NoisedValue>),
) -> Ordering {
    for order in &query.order {
        let at = usize::from(order.output);
        let (Some(left), Some(right)) = (one.1.get(at), two.1.get(at)) else { continue };
        let missing = |value: &NoisedValue| value.quality == Quality::Insufficient;
        let values = left.value.total_cmp(&right.value);
        let values = if order.descending { values.reverse() } else { values };
        match missing(left).cmp(&missing(right)).then(values) {
            Ordering::Equal => {}
            decided => return decided,
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests;
