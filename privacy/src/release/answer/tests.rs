use super::*;
use crate::bounded::Collector;
use crate::exact::{self, Rational};
use crate::mechanism::{NoiseSource, OpendpNoise};
use crate::testing::questions::open_contract;
use crate::testing::spec;

fn plan(sql: &str) -> DpPlan {
    DpPlan::new(&open_contract(), &spec(sql, 3)).unwrap()
}

fn other_plan(sql: &str) -> DpPlan {
    plan(sql)
}

/// What is shown of these sums.
fn cells(plan: &DpPlan, values: &[i64]) -> Vec<ReleasedCell> {
    answer(&Sums { plan, labels: &crate::release::public_labels(plan), values })
}

/// What is shown of these lines without noise: member, cell, sums.
fn exact(plan: &DpPlan, lines: &[(&str, i64, &[i64])]) -> Vec<ReleasedCell> {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    for (member, cell, added) in lines {
        let added: Vec<Option<i64>> = added.iter().copied().map(Some).collect();
        collector.push(Some(member.as_bytes()), *cell, &added).unwrap();
    }
    cells(plan, collector.finish().unwrap().values())
}

fn noise(plan: &DpPlan, column: usize, source: &mut OpendpNoise) -> i64 {
    let share: &Rational = plan.columns()[column].share_deviation();
    let n = plan.participants().len() as i64;
    (0..n).map(|_| source.discrete_gaussian(share).unwrap()).sum()
}

fn percent_within(trials: u32, mut covered: impl FnMut() -> bool) -> f64 {
    f64::from((0..trials).map(|_| u32::from(covered())).sum::<u32>()) * 100.0 / f64::from(trials)
}

/// Trap 6: a sum clipped to 1,000 over a count clipped to 5 says 200 for forty rows of 51 each.
#[test]
fn trap_6_a_mean_survives_clipping() {
    let plan = plan("SELECT avg(amount_fen) AS mean FROM purchases");
    let cells = exact(&plan, &[("a", 0, &[40 * 51, 40])]);
    let mean = cells[0].values[0].value;
    assert!((mean - 51.0).abs() < 0.1, "{mean}");
    // both columns are within their bounds
    let columns = plan.columns();
    assert_eq!((columns[0].squared_bound(), columns[1].squared_bound()), (1_000_000, 25));
}

#[test]
fn a_mean_of_values_far_from_zero_is_taken_from_their_middle() {
    let sql = "SELECT avg(least(greatest(amount_fen, 900), 1000)) AS mean FROM purchases";
    let plan = plan(sql);
    // 50 to either side for each of 5 rows, instead of 1,000 in all
    assert_eq!(plan.columns()[0].squared_bound(), 250 * 250);
    let cells = exact(&plan, &[("a", 0, &[2 * (930 - 950), 2]), ("b", 0, &[990 - 950, 1])]);
    let mean = cells[0].values[0].value;
    assert!((mean - 950.0).abs() < 0.1, "{mean}");
}

#[test]
fn rates_stay_between_zero_and_one() {
    let sql = "SELECT avg(case when amount_fen > 100 then 1 else 0 end) AS rate FROM purchases";
    let plan = plan(sql);
    assert_eq!((plan.columns().len(), plan.coordinates()), (1, 2));
    let lines: Vec<(String, i64, [i64; 2])> =
        (0..3_000).map(|m| (format!("m{m}"), 0, [i64::from(m % 3 == 0) * 4, 4])).collect();
    let lines: Vec<(&str, i64, &[i64])> =
        lines.iter().map(|(member, cell, added)| (member.as_str(), *cell, &added[..])).collect();
    let rate = exact(&plan, &lines)[0].values[0];
    assert!((rate.value - 1.0 / 3.0).abs() < 0.001 && rate.quality == Quality::Usable, "{rate:?}");
    assert!(0.0 <= rate.low && rate.low < rate.value && rate.value < rate.high && rate.high <= 1.0);
    // nobody said yes: the interval still ends at 0
    let none = exact(&plan, &lines.iter().map(|l| (l.0, 0, &[0, 4][..])).collect::<Vec<_>>());
    assert!(none[0].values[0].low >= 0.0, "{none:?}");
}

/// What the plan says of its smallest cell of use and what an answer says of its figures are one.
#[test]
fn a_count_is_usable_from_the_plans_smallest_cell_on() {
    let plan = plan("SELECT count(*) AS n FROM purchases");
    let smallest = plan.summary().aggregates[0].smallest_cell;
    let quality = |part: f64| {
        let value = part * smallest * plan.columns()[0].scale() as f64;
        cells(&plan, &[value.round() as i64])[0].values[0].quality
    };
    assert_eq!((quality(0.9), quality(1.1)), (Quality::Noisy, Quality::Usable));
    assert_eq!((quality(-0.9), quality(-1.1)), (Quality::Noisy, Quality::Usable));
}

#[test]
fn a_quotient_of_almost_nothing_is_insufficient() {
    let plan = plan(
        "SELECT avg(amount_fen) AS mean, count(*) AS n FROM purchases HAVING avg(amount_fen) > -9",
    );
    // the interval is unbounded, and an insufficient value decides nothing
    assert!(exact(&plan, &[("a", 0, &[10, 1])]).is_empty());
    let plan = other_plan("SELECT avg(amount_fen) AS mean FROM purchases");
    let value = exact(&plan, &[("a", 0, &[10, 1])])[0].values[0];
    assert_eq!(value.quality, Quality::Insufficient);
    assert_eq!((value.low, value.high), (f64::NEG_INFINITY, f64::INFINITY));
}

/// Nothing over nothing, and a denominator that noise took below zero: insufficient, and never what is no number, of which
/// a condition or an order would make something.
#[test]
fn a_quotient_over_nothing_is_insufficient_and_never_no_number() {
    for sql in [
        "SELECT avg(amount_fen) AS it FROM purchases",
        "SELECT avg(case when amount_fen > 100 then 1 else 0 end) AS it FROM purchases",
    ] {
        let plan = plan(sql);
        for sum in [0, -1, -1_000_000, i64::MIN] {
            let shown = cells(&plan, &vec![sum; plan.coordinates()]);
            let value = shown[0].values[0];
            assert!(value.value.is_finite(), "{sql}: {sum}: {value:?}");
            assert_eq!(value.quality, Quality::Insufficient, "{sql}: {sum}: {value:?}");
        }
    }
    for condition in ["avg(amount_fen) > -9", "NOT avg(amount_fen) > -9"] {
        let plan = other_plan(&format!("SELECT count(*) AS n FROM purchases HAVING {condition}"));
        assert!(cells(&plan, &vec![0; plan.coordinates()]).is_empty(), "{condition}");
    }
}

#[test]
fn intervals_of_quotients_cover_as_often_as_they_say() {
    let mut source = OpendpNoise::from_system_entropy();
    for (sql, truth, sums) in [
        ("SELECT avg(amount_fen) AS o FROM purchases", 40.0, [400_000.0, 10_000.0]),
        (
            "SELECT avg(case when quantity > 1 then 1 else 0 end) AS o FROM purchases",
            0.25,
            [1_000.0, 3_000.0],
        ),
    ] {
        let plan = plan(sql);
        let percent = percent_within(4_000, || {
            let values: Vec<i64> = sums
                .iter()
                .enumerate()
                .map(|(at, sum)| {
                    let column = at.min(plan.columns().len() - 1);
                    (sum * plan.columns()[column].scale() as f64) as i64
                        + noise(&plan, column, &mut source)
                })
                .collect();
            let value = cells(&plan, &values)[0].values[0];
            value.low <= truth && truth <= value.high
        });
        // 95 % with a deviation of 0.34 %: eight of them either way
        assert!((92.0..=98.0).contains(&percent), "{sql}: {percent}");
    }
}

/// Members spend 0, 3, 6, ... 2,997 fen, bound 1,000: bins of 4 fen, a row each.
fn spending(plan: &DpPlan) -> Vec<i64> {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    for member in 0..1_000i64 {
        let bin = (member + 1_000) / 4;
        let name = format!("m{member}");
        collector.push(Some(name.as_bytes()), bin, &[Some(1)]).unwrap();
    }
    collector.finish().unwrap().values().to_vec()
}

const QUANTILES: &str = "SELECT median(s) AS p50, quantile(s, 0.9) AS p90 FROM \
                         (SELECT member, max(amount_fen) s FROM purchases GROUP BY member) x";

#[test]
fn quantiles_are_read_off_the_tree() {
    let plan = plan(QUANTILES);
    // one histogram serves both; a member has one row, so one node on each of nine levels
    assert_eq!((plan.columns().len(), plan.columns()[0].squared_bound()), (1, 9));
    let values = spending(&plan);
    let cell = &cells(&plan, &values)[0];
    for (value, truth) in cell.values.iter().zip([500.0, 900.0]) {
        assert!((value.value - truth).abs() <= 4.0, "{value:?} {truth}");
        assert!(value.low <= truth && truth <= value.high, "{value:?}");
    }
    let nobody = vec![0; plan.coordinates()];
    let cell = &cells(&plan, &nobody)[0];
    assert_eq!(cell.values[0].quality, Quality::Insufficient);
}

#[test]
fn intervals_of_quantiles_cover_as_often_as_they_say() {
    let plan = plan(QUANTILES);
    let values = spending(&plan);
    let mut source = OpendpNoise::from_system_entropy();
    let percent = percent_within(500, || {
        let noised: Vec<i64> = values.iter().map(|v| v + noise(&plan, 0, &mut source)).collect();
        let value = cells(&plan, &noised)[0].values[0];
        value.low <= 500.0 && 500.0 <= value.high
    });
    // whatever crosses anywhere is in: at least 95 %, with a deviation of 0.97 %: seven of them
    assert!(percent >= 88.0, "{percent}");
}

#[test]
fn cells_are_chosen_and_ordered_by_noised_values() {
    let sql = "SELECT department, count(*) AS n FROM purchases GROUP BY 1 \
               HAVING n > 10 AND NOT n >= 400.5 ORDER BY n DESC, department LIMIT 2";
    let plan = plan(sql);
    let scale = i64::try_from(plan.columns()[0].scale()).unwrap();
    let values: Vec<i64> = [50, 7, 200, 401].iter().map(|n| n * scale).collect();
    let shown = cells(&plan, &values);
    let keys: Vec<&str> = shown.iter().map(|cell| cell.keys[0].as_str()).collect();
    assert_eq!(keys, ["FUEL", "GROCERY"]);
    assert!(plan.query().selects());
    let values: Vec<i64> = [50, 50, 200, 50].iter().map(|n| n * scale).collect();
    let plan = other_plan("SELECT department, count(*) AS n FROM purchases GROUP BY 1 ORDER BY 2");
    let shown = cells(&plan, &values);
    let keys: Vec<&str> = shown.iter().map(|cell| cell.keys[0].as_str()).collect();
    // equal values keep the order of the public domain
    assert_eq!(keys, ["GROCERY", "PRODUCE", "OTHER", "FUEL"]);
    assert!(!plan.query().selects());
}

#[test]
fn what_only_having_names_is_noised_and_paid_for_too() {
    let shown = plan("SELECT count(*) AS n FROM purchases");
    let hidden = plan("SELECT count(*) AS n FROM purchases HAVING sum(amount_fen) > 0 ORDER BY n");
    assert_eq!((shown.columns().len(), hidden.columns().len()), (1, 2));
    assert_eq!(hidden.columns()[0].rho().get() * 2, shown.columns()[0].rho().get());
    assert!(hidden.columns()[0].share_deviation() > shown.columns()[0].share_deviation());
    let scale = exact::integer(u128::from(hidden.columns()[1].scale()));
    assert!(scale > exact::integer(0));
    let values = vec![10 * hidden.columns()[0].scale() as i64, -1];
    assert!(cells(&hidden, &values).is_empty());
}
