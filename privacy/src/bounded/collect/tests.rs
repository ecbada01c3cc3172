//! Vectors are clipped to the bounds, in whatever order rows come, and bad rows are told.

use proptest::prelude::*;

use super::{CollectError, Collector, Vector};
use crate::exact;
use crate::plan::DpPlan;
use crate::testing::{brand, raw_contract, sample_contract, spec};

fn plan(sql: &str) -> DpPlan {
    DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap()
}

const SPENT: &str = "SELECT half_year(purchased_on) h, sum(amount_fen) s, count(*) n, \
                     count(distinct member) m FROM purchases GROUP BY 1";

fn clip(vector: &mut Vec<i128>, bound: u128) {
    let values = core::mem::take(vector);
    let coordinates = (0..values.len()).collect();
    let mut vectors = [Vector { coordinates, values, together: 1, bound }];
    super::clip(&mut vectors);
    *vector = core::mem::take(&mut vectors[0].values);
}

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
            let mut collector = Collector::new(&plan, brand(0));
            for (member, cell, amount, rows) in &others {
                let line = [Some(i64::from(*amount)), Some(*rows)];
                collector.push(Some(&[b'm', *member]), *cell, &line).unwrap();
            }
            for (cell, amount, rows) in added.iter().filter(|_| with) {
                collector.push(Some(b"x"), *cell, &[Some(*amount), Some(*rows)]).unwrap();
            }
            collector.finish().unwrap()
        };
        let (with, without) = (sum(true), sum(false));
        let cells = plan.cells().len();
        for (index, aggregate) in plan.columns().iter().enumerate() {
            let moved: Vec<i128> = with.values()[index * cells..(index + 1) * cells]
                .iter()
                .zip(&without.values()[index * cells..])
                .map(|(a, b)| i128::from(*a) - i128::from(*b))
                .collect();
            prop_assert!(exact::squared_norm(&moved) <= aggregate.scaled_squared_bound().into());
        }
    }
}

proptest! {
    /// Whether an engine names members by numbers or by texts, and in whatever order and pieces it
    /// returns their lines, the sum is the same.
    #[test]
    fn names_pieces_and_order_of_lines_change_nothing(
        lines in prop::collection::vec((any::<i64>(), 0i64..2, -9_000_000i64..9_000_000, 0i64..50), 0..60),
        apart in prop::collection::vec(any::<bool>(), 60),
        turn in 0usize..60,
    ) {
        let plan = plan(SPENT);
        let (mut numbered, mut named) =
            (Collector::new(&plan, brand(0)), Collector::new(&plan, brand(0)));
        for (member, cell, amount, rows) in &lines {
            let member = member % 5;
            numbered.push_numbered(Some(member), *cell, &[Some(*amount), Some(*rows)]).unwrap();
        }
        let mut pieces = Vec::new();
        for ((member, cell, amount, rows), apart) in lines.iter().zip(apart) {
            let name = format!("m{}", member % 5);
            if apart {
                pieces.push((name.clone(), *cell, amount - 77, 0));
                pieces.push((name, *cell, 77, *rows));
            } else {
                pieces.push((name, *cell, *amount, *rows));
            }
        }
        let middle = turn.min(pieces.len());
        pieces.rotate_left(middle);
        for (member, cell, amount, rows) in &pieces {
            named.push(Some(member.as_bytes()), *cell, &[Some(*amount), Some(*rows)]).unwrap();
        }
        let (numbered, named) = (numbered.finish().unwrap(), named.finish().unwrap());
        prop_assert_eq!(numbered.values(), named.values());
    }
}

#[test]
fn an_engine_names_members_in_one_way() {
    let plan = plan("SELECT count(*) FROM purchases");
    let mut collector = Collector::new(&plan, brand(0));
    collector.push_numbered(None, 0, &[Some(1)]).unwrap();
    collector.push_numbered(Some(7), 0, &[Some(1)]).unwrap();
    assert_eq!(collector.push(Some(b"7"), 0, &[Some(1)]), Err(CollectError::Shape));
    let mut collector = Collector::new(&plan, brand(0));
    collector.push(Some(b"7"), 0, &[Some(1)]).unwrap();
    assert_eq!(collector.push_numbered(Some(7), 0, &[Some(1)]), Err(CollectError::Shape));
}

/// Trap 9, again where the engine's answer arrives.
#[test]
fn trap_9_lines_without_a_member_are_left_out() {
    let plan = plan("SELECT count(distinct member) FROM purchases");
    let mut collector = Collector::new(&plan, brand(0));
    collector.push(None, 0, &[Some(7)]).unwrap();
    collector.push(Some(b""), 0, &[Some(7)]).unwrap();
    collector.push(Some(b"a"), 0, &[Some(7)]).unwrap();
    assert_eq!(collector.finish().unwrap().values(), [1]);
}

#[test]
fn a_member_counts_once_a_cell_however_many_rows() {
    let plan =
        plan("SELECT half_year(purchased_on) h, count(distinct member) FROM purchases GROUP BY 1");
    let mut collector = Collector::new(&plan, brand(0));
    for (cell, rows) in [(0, 900), (1, 1), (0, 3)] {
        collector.push(Some(b"a"), cell, &[Some(rows)]).unwrap();
    }
    assert_eq!(collector.finish().unwrap().values(), [1, 1]);
}

#[test]
fn refunds_are_netted_before_the_clip() {
    let plan = plan("SELECT sum(amount_fen) FROM purchases");
    let scale = plan.columns()[0].scale() as i64;
    let mut collector = Collector::new(&plan, brand(0));
    collector.push(Some(b"a"), 0, &[Some(900_000)]).unwrap();
    collector.push(Some(b"a"), 0, &[Some(-890_000)]).unwrap();
    collector.push(Some(b"b"), 0, &[Some(900_000)]).unwrap();
    assert_eq!(collector.finish().unwrap().values(), [(10_000 + 500_000) * scale]);
}

#[test]
fn what_the_plan_does_not_have_is_denied() {
    let plan = plan("SELECT count(*) FROM purchases");
    let mut collector = Collector::new(&plan, brand(0));
    assert_eq!(collector.push(Some(b"a"), 1, &[Some(1)]), Err(CollectError::Cell));
    assert_eq!(collector.push(Some(b"a"), -1, &[Some(1)]), Err(CollectError::Cell));
    assert_eq!(collector.push(Some(b"a"), 0, &[]), Err(CollectError::Shape));
}

/// A member more than the contract's cap makes no failure, which everybody would see, and moves the sum by no
/// more than it was planned for.
#[test]
fn one_member_beyond_the_cap_is_no_failure() {
    let mut raw = raw_contract();
    raw.members_at_most = 3;
    let contract = raw.try_into().unwrap();
    let sql = "SELECT count(distinct member), sum(amount_fen) FROM purchases";
    let plan = DpPlan::new(&contract, &spec(sql, 5)).unwrap();
    let sums = |members: u8| {
        let mut collector = Collector::new(&plan, brand(0));
        for member in 0..members {
            collector.push(Some(&[member]), 0, &[Some(9), Some(i64::MAX)])?;
        }
        collector.finish().map(|vector| vector.values().to_vec())
    };
    let most = |members: i64| {
        let bounds = plan
            .columns()
            .iter()
            .map(|column| i64::try_from(column.scaled_squared_bound().isqrt()).unwrap() * members);
        Ok(bounds.collect::<Vec<i64>>())
    };
    assert_eq!(sums(2), most(2));
    assert_eq!(sums(3), most(3));
    assert_eq!(sums(4), most(3));
    assert_eq!(sums(48), most(3));
    // far beyond any contract's data
    assert_eq!(sums(49), Err(CollectError::Members));
}

/// However many lines of a member come, and in whatever order, as many are kept as it has cells.
#[test]
fn lines_of_a_member_are_netted_as_they_come() {
    let plan = plan(SPENT);
    let mut collector = Collector::new(&plan, brand(0));
    for round in 0..10_000i64 {
        collector.push(Some(b"a"), round % 2, &[Some(3), Some(1)]).unwrap();
        assert!(collector.lines.len() <= 16 && collector.added.len() <= 32);
    }
    let mut once = Collector::new(&plan, brand(0));
    for cell in 0..2 {
        once.push(Some(b"a"), cell, &[Some(15_000), Some(5_000)]).unwrap();
    }
    assert_eq!(collector.finish().unwrap().values(), once.finish().unwrap().values());
}

#[test]
fn vectors_of_one_plan_add_up_and_of_two_do_not() {
    let (one, two) = (plan("SELECT count(distinct member) FROM purchases"), plan(SPENT));
    let of = |plan: &DpPlan, members: u8| {
        let mut collector = Collector::new(plan, brand(0));
        let line = vec![Some(1); plan.added().len()];
        for member in 0..members {
            collector.push(Some(&[member]), 0, &line).unwrap();
        }
        collector.finish().unwrap()
    };
    // members of the same name at two brands are two accounts
    assert_eq!(of(&one, 3).plus(&of(&one, 4)).unwrap().values(), [7]);
    assert_eq!(of(&one, 3).plus(&of(&two, 4)).unwrap_err(), CollectError::Shape);
}

#[test]
fn a_bounded_vector_shows_nothing() {
    let plan = plan("SELECT count(*) FROM purchases");
    let mut collector = Collector::new(&plan, brand(0));
    collector.push(Some(b"somebody"), 0, &[Some(1_234)]).unwrap();
    let gathering = format!("{collector:?}");
    let shown = format!("{gathering} {:?}", collector.finish().unwrap());
    assert!(!shown.contains("1234") && !shown.contains("somebody"), "{shown}");
}
