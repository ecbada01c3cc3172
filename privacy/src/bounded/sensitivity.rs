//! Sensitivity by brute force: small random alliances, real questions, one person added.
//!
//! The rows are evaluated here by an evaluator of its own, far from the emitted SQL and the
//! planner, so that the claimed bound is tested from outside.

use proptest::prelude::*;

use super::{BoundedVector, Collector};
use crate::civil::CivilDate;
use crate::exact;
use crate::plan::{DpPlan, key_points};
use crate::sql::{Comparison, Fact, Measure, Predicate};
use crate::testing::{sample_contract, spec};

const QUESTIONS: [&str; 7] = [
    "SELECT count(*) FROM purchases",
    "SELECT sum(amount_fen) FROM purchases WHERE quantity > 0",
    "SELECT half_year(purchased_on) h, count(distinct member) FROM purchases GROUP BY 1",
    "SELECT date_trunc('month', purchased_on) m, sum(amount_fen) s, count(*) c FROM purchases GROUP BY 1",
    "SELECT department, count(distinct member) m, sum(amount_fen) s FROM purchases \
     WHERE department IN ('GROCERY', 'PRODUCE') GROUP BY department",
    "SELECT department, date_trunc('quarter', purchased_on) q, count(distinct member) FROM purchases \
     WHERE NOT (department = 'FUEL' OR quantity BETWEEN -2 AND 2) GROUP BY 1, 2",
    "SELECT count(distinct member) FROM purchases WHERE purchased_on >= '2017-05-01' \
     AND (quantity > 3 OR department <> 'FUEL') AND department <> 'FUEL'",
];

#[derive(Clone, Debug)]
struct Row {
    day: CivilDate,
    department: u16,
    quantity: i64,
    amount: i64,
}

fn row() -> impl Strategy<Value = Row> {
    let amount = prop_oneof![-3_000i64..3_000, -1_000_000i64..=1_000_000];
    (1u8..=12, 1u8..=28, 0u16..4, -5i64..=5, amount).prop_map(
        |(month, day, department, quantity, amount)| Row {
            day: CivilDate::new(2017, month, day).unwrap(),
            department,
            quantity,
            amount,
        },
    )
}

fn compares<T: Ord>(left: &T, comparison: Comparison, right: &T) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

fn passes(predicate: &Predicate, row: &Row) -> bool {
    match predicate {
        Predicate::And(parts) => parts.iter().all(|part| passes(part, row)),
        Predicate::Or(parts) => parts.iter().any(|part| passes(part, row)),
        Predicate::Not(inner) => !passes(inner, row),
        Predicate::Text { values, .. } => values.contains(&row.department),
        Predicate::Date { comparison, day, .. } => compares(&row.day, *comparison, day),
        Predicate::Integer { comparison, value, .. } => compares(&row.quantity, *comparison, value),
    }
}

/// Each row as a line of its own: the collector nets.
fn line(plan: &DpPlan, row: &Row) -> Option<(i64, Vec<Option<i64>>)> {
    let query = plan.query();
    if query.filter.as_ref().is_some_and(|filter| !passes(filter, row)) {
        return None;
    }
    let code = query.keys.iter().fold(0usize, |code, key| {
        let points = key_points(plan.table(), key.column, key.bucket);
        let at = points.iter().position(|point| match point.fact {
            Fact::Text(value) => value == row.department,
            Fact::Days(first, last) => (first..=last).contains(&row.day),
        });
        code * points.len() + at.unwrap()
    });
    let aggregates = query
        .aggregates
        .iter()
        .map(|aggregate| match aggregate.of {
            Measure::Rows | Measure::Members => Some(1),
            Measure::Sum { .. } => Some(row.amount),
        })
        .collect();
    Some((i64::try_from(code).unwrap(), aggregates))
}

fn brand_sum(plan: &DpPlan, members: &[Vec<Row>]) -> BoundedVector {
    let mut collector = Collector::new(plan);
    for (member, rows) in members.iter().enumerate() {
        for (cell, aggregates) in rows.iter().filter_map(|row| line(plan, row)) {
            collector.push(Some(&[b'm', member as u8]), cell, &aggregates).unwrap();
        }
    }
    collector.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// One person with an account at each of n brands, added or removed, moves the alliance's sum
    /// of an aggregate by at most n C in L2: what the planner adds noise for.
    #[test]
    fn one_person_never_moves_the_alliance_by_more_than_planned(
        question in 0usize..QUESTIONS.len(),
        n in 4usize..=5,
        others in prop::collection::vec(prop::collection::vec(row(), 0..5), 0..4),
        person in prop::collection::vec(prop::collection::vec(row(), 0..40), 5),
    ) {
        let plan = DpPlan::new(&sample_contract(), &spec(QUESTIONS[question], n)).unwrap();
        let cells = plan.cells().len();
        let mut moved = vec![0i128; plan.coordinates()];
        for account in person.iter().take(n) {
            let without = brand_sum(&plan, &others);
            let mut all = others.clone();
            all.push(account.clone());
            let with = brand_sum(&plan, &all);
            for (total, (a, b)) in moved.iter_mut().zip(with.values().iter().zip(without.values())) {
                *total += i128::from(*a) - i128::from(*b);
            }
        }
        for (index, aggregate) in plan.aggregates().iter().enumerate() {
            let part = &moved[index * cells..(index + 1) * cells];
            let planned = (n * n) as u128 * aggregate.scaled_squared_bound();
            prop_assert!(exact::squared_norm(part) <= planned.into());
        }
    }
}

/// The planned bound is reached, so it cannot be made smaller.
#[test]
fn the_planned_sensitivity_is_tight() {
    let plan = DpPlan::new(&sample_contract(), &spec(QUESTIONS[2], 3)).unwrap();
    let day = |month| CivilDate::new(2017, month, 1).unwrap();
    let row = |month| Row { day: day(month), department: 0, quantity: 1, amount: 1 };
    let account = vec![vec![row(1), row(12)]];
    let moved: Vec<i128> =
        brand_sum(&plan, &account).values().iter().map(|value| 3 * i128::from(*value)).collect();
    let planned = 9 * plan.aggregates()[0].scaled_squared_bound();
    assert_eq!(exact::squared_norm(&moved), planned.into());
}
