//! Gathers what the engine returned, clips each member, adds up.

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::exact;
use crate::ids::PlanHash;
use crate::plan::{DpPlan, PlannedAggregate};
use crate::sql::{AGGREGATES_MAX, Measure};

/// Longest member id in bytes.
const MEMBER_MAX_BYTES: usize = 256;

/// The engine's answer cannot be used; the attempt fails. No variant carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A line with another number of aggregates than the plan has.
    #[error("the engine returned lines of another shape than the bounded query has")]
    Shape,
    /// A cell that the plan does not have.
    #[error("the engine returned a cell that the plan does not have")]
    Cell,
    /// More members than the contract's public cap.
    #[error("there are more members than the contract's cap `members_at_most`")]
    Members,
    /// A sum that does not fit, which the plan's proof rules out for honest input.
    #[error("a sum of bounded values does not fit 64 bits")]
    Overflow,
}

/// One brand's sum of clipped member vectors: x_i.
///
/// It can be masked, and nothing else: no printing, no comparison, no encoding.
pub struct BoundedVector {
    plan: PlanHash,
    values: Zeroizing<Vec<i64>>,
}

impl BoundedVector {
    pub(crate) const fn plan(&self) -> PlanHash {
        self.plan
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }
}

/// Redacted: these are a brand's own figures without noise.
impl fmt::Debug for BoundedVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedVector").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Gathers lines of the bounded query, in any order.
pub struct Collector<'p> {
    plan: &'p DpPlan,
    /// Position in the vector by the cell's code.
    positions: BTreeMap<u64, usize>,
    members: BTreeMap<Box<[u8]>, Vec<Line>>,
}

/// One line of the engine's answer; aggregates the plan does not have are 0.
#[derive(Clone, Copy)]
struct Line {
    /// Position of the cell in the plan.
    position: usize,
    aggregates: [i64; AGGREGATES_MAX],
}

impl fmt::Debug for Collector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl<'p> Collector<'p> {
    /// An empty collector for a plan.
    pub fn new(plan: &'p DpPlan) -> Self {
        let positions = plan.cells().iter().enumerate().map(|(at, cell)| (cell.code, at)).collect();
        Self { plan, positions, members: BTreeMap::new() }
    }

    /// Takes one line: `member`, `cell`, and `a0`, `a1`, ... of the bounded query. Lines without
    /// a member are left out here too; lines of one member and cell are netted, however many
    /// there are and in whatever order, because a bound that rested on an engine's grouping would
    /// be no bound. An absent aggregate is 0.
    pub fn push(
        &mut self,
        member: Option<&[u8]>,
        cell: i64,
        aggregates: &[Option<i64>],
    ) -> Result<(), CollectError> {
        let Some(member) = member.filter(|member| !member.is_empty()) else { return Ok(()) };
        if aggregates.len() != self.plan.aggregates().len() || member.len() > MEMBER_MAX_BYTES {
            return Err(CollectError::Shape);
        }
        let code = u64::try_from(cell).map_err(|_| CollectError::Cell)?;
        let position = *self.positions.get(&code).ok_or(CollectError::Cell)?;
        let mut line = Line { position, aggregates: [0; AGGREGATES_MAX] };
        for (to, from) in line.aggregates.iter_mut().zip(aggregates) {
            *to = from.unwrap_or(0);
        }
        if let Some(lines) = self.members.get_mut(member) {
            lines.push(line);
            return Ok(());
        }
        let cap = usize::try_from(self.plan.members_at_most()).unwrap_or(usize::MAX);
        if self.members.len() >= cap {
            return Err(CollectError::Members);
        }
        self.members.insert(member.into(), vec![line]);
        Ok(())
    }

    /// Clips every member and adds up.
    pub fn finish(self) -> Result<BoundedVector, CollectError> {
        let mut values = Zeroizing::new(vec![0i64; self.plan.coordinates()]);
        for mut lines in self.members.into_values() {
            lines.sort_unstable_by_key(|line| line.position);
            for (index, aggregate) in self.plan.aggregates().iter().enumerate() {
                let start = index.saturating_mul(self.plan.cells().len());
                let (positions, mut vector): (Vec<usize>, Vec<i128>) = lines
                    .chunk_by(|a, b| a.position == b.position)
                    .filter_map(|cell| {
                        Some((cell.first()?.position, scaled(aggregate, index, cell)))
                    })
                    .unzip();
                clip(&mut vector, aggregate.scaled_squared_bound());
                for (position, clipped) in positions.into_iter().zip(vector) {
                    let at = start.checked_add(position).ok_or(CollectError::Cell)?;
                    let sum = values.get_mut(at).ok_or(CollectError::Cell)?;
                    let clipped = i64::try_from(clipped).map_err(|_| CollectError::Overflow)?;
                    *sum = sum.checked_add(clipped).ok_or(CollectError::Overflow)?;
                }
            }
        }
        Ok(BoundedVector { plan: self.plan.hash(), values })
    }
}

/// One coordinate of a member's vector: all its lines of a cell, netted, in scaled units.
fn scaled(aggregate: &PlannedAggregate, index: usize, lines: &[Line]) -> i128 {
    let netted = lines
        .iter()
        .filter_map(|line| line.aggregates.get(index))
        .fold(0i128, |sum, value| sum.saturating_add(i128::from(*value)));
    let measured = match aggregate.measure() {
        Measure::Members => i128::from(netted > 0),
        Measure::Rows | Measure::Sum { .. } => netted,
    };
    measured.saturating_mul(i128::from(aggregate.scale()))
}

/// Brings a vector to squared L2 norm at most `bound`, keeping its direction up to whole units.
///
/// If |v|^2 > bound, v_k becomes sign(v_k) floor(sqrt(v_k^2 bound / |v|^2)). Each new square is at
/// most v_k^2 bound / |v|^2, and these add up to `bound`. All in integers; no rounding is up.
fn clip(vector: &mut [i128], bound: u128) {
    let norm = exact::squared_norm(vector);
    if norm <= bound.into() {
        return;
    }
    for value in vector {
        // The norm is positive here, and no coordinate grows; a failure would deny by zero.
        *value = exact::shrink(*value, bound, &norm).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{sample_contract, spec};

    fn plan(sql: &str) -> DpPlan {
        DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap()
    }

    const SPENT: &str = "SELECT half_year(purchased_on) h, sum(amount_fen) s, count(*) n, \
                         count(distinct member) m FROM purchases GROUP BY 1";

    fn norm(vector: &[i128]) -> f64 {
        vector.iter().map(|v| (*v as f64) * (*v as f64)).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn clipped_vectors_never_exceed_the_bound(
            mut vector in prop::collection::vec(any::<i64>().prop_map(i128::from), 1..12),
            bound in 1u128..1 << 100,
        ) {
            let before = vector.clone();
            clip(&mut vector, bound);
            prop_assert!(exact::squared_norm(&vector) <= bound.into());
            prop_assert!(vector.iter().zip(&before).all(|(a, b)| a.abs() <= b.abs() && a * b >= 0));
        }

        #[test]
        fn clipping_loses_less_than_one_unit_a_cell(
            mut vector in prop::collection::vec(-1_000_000_000i128..1_000_000_000, 1..12),
        ) {
            let before = vector.clone();
            clip(&mut vector, 1_000_000);
            let factor = (1_000.0 / norm(&before)).min(1.0);
            for (after, before) in vector.iter().zip(&before) {
                prop_assert!((*after as f64 - *before as f64 * factor).abs() < 1.001);
            }
        }

        /// Brute force: whatever a database holds, adding one member's lines moves no aggregate's
        /// sum by more than C in L2, which is what the planner charges for.
        #[test]
        fn one_member_never_moves_a_sum_by_more_than_planned(
            others in prop::collection::vec((0u8..6, 0i64..2, any::<i32>(), 0i64..5_000), 0..20),
            added in prop::collection::vec((0i64..2, any::<i64>(), any::<i64>()), 0..6),
        ) {
            let plan = plan(SPENT);
            let sum = |with: bool| {
                let mut collector = Collector::new(&plan);
                for (member, cell, amount, rows) in &others {
                    let line = [Some(i64::from(*amount)), Some(*rows), Some(*rows)];
                    collector.push(Some(&[b'm', *member]), *cell, &line).unwrap();
                }
                for (cell, amount, rows) in added.iter().filter(|_| with) {
                    collector.push(Some(b"x"), *cell, &[Some(*amount), Some(*rows), None]).unwrap();
                }
                collector.finish().unwrap()
            };
            let (with, without) = (sum(true), sum(false));
            let cells = plan.cells().len();
            for (index, aggregate) in plan.aggregates().iter().enumerate() {
                let moved: Vec<i128> = with.values()[index * cells..(index + 1) * cells]
                    .iter()
                    .zip(&without.values()[index * cells..])
                    .map(|(a, b)| i128::from(*a) - i128::from(*b))
                    .collect();
                prop_assert!(exact::squared_norm(&moved) <= aggregate.scaled_squared_bound().into());
            }
        }
    }

    /// Trap 9, again where the engine's answer arrives.
    #[test]
    fn trap_9_lines_without_a_member_are_left_out() {
        let plan = plan("SELECT count(distinct member) FROM purchases");
        let mut collector = Collector::new(&plan);
        collector.push(None, 0, &[Some(7)]).unwrap();
        collector.push(Some(b""), 0, &[Some(7)]).unwrap();
        collector.push(Some(b"a"), 0, &[Some(7)]).unwrap();
        assert_eq!(collector.finish().unwrap().values(), [1]);
    }

    #[test]
    fn a_member_counts_once_a_cell_however_many_rows() {
        let plan = plan(
            "SELECT half_year(purchased_on) h, count(distinct member) FROM purchases GROUP BY 1",
        );
        let mut collector = Collector::new(&plan);
        for (cell, rows) in [(0, 900), (1, 1), (0, 3)] {
            collector.push(Some(b"a"), cell, &[Some(rows)]).unwrap();
        }
        assert_eq!(collector.finish().unwrap().values(), [1, 1]);
    }

    #[test]
    fn refunds_are_netted_before_the_clip() {
        let plan = plan("SELECT sum(amount_fen) FROM purchases");
        let scale = plan.aggregates()[0].scale() as i64;
        let mut collector = Collector::new(&plan);
        collector.push(Some(b"a"), 0, &[Some(900_000)]).unwrap();
        collector.push(Some(b"a"), 0, &[Some(-890_000)]).unwrap();
        collector.push(Some(b"b"), 0, &[Some(900_000)]).unwrap();
        assert_eq!(collector.finish().unwrap().values(), [(10_000 + 500_000) * scale]);
    }

    #[test]
    fn what_the_plan_does_not_have_is_denied() {
        let plan = plan("SELECT count(*) FROM purchases");
        let mut collector = Collector::new(&plan);
        assert_eq!(collector.push(Some(b"a"), 1, &[Some(1)]), Err(CollectError::Cell));
        assert_eq!(collector.push(Some(b"a"), -1, &[Some(1)]), Err(CollectError::Cell));
        assert_eq!(collector.push(Some(b"a"), 0, &[]), Err(CollectError::Shape));
    }

    #[test]
    fn a_bounded_vector_shows_nothing() {
        let plan = plan("SELECT count(*) FROM purchases");
        let mut collector = Collector::new(&plan);
        collector.push(Some(b"somebody"), 0, &[Some(1_234)]).unwrap();
        let gathering = format!("{collector:?}");
        let shown = format!("{gathering} {:?}", collector.finish().unwrap());
        assert!(!shown.contains("1234") && !shown.contains("somebody"), "{shown}");
    }
}
