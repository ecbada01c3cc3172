//! Choices against their exact probabilities, computed here in floats from the definition.

use super::*;
use crate::bounded::{BoundedVector, Collector};
use crate::contract::{Contract, RawColumn};
use crate::mechanism::{NoiseShare, NoiseSource, OpendpNoise};
use crate::plan::DpPlan;
use crate::release::LocalRelease;
use crate::testing::questions::Dice;
use crate::testing::{
    brand, certified_local, local_charge, local_question, raw_contract, sample_contract,
};
use crate::units::PicoRho;

/// The probability of each bin, by the definition of the exponential mechanism.
fn masses(rate: f64, distances: &[u128]) -> Vec<f64> {
    let weights: Vec<f64> = distances.iter().map(|d| (-rate * *d as f64).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The parts of [0, 1) that numbers fall on, by 65,536 evenly spaced ones.
#[test]
fn parts_are_as_long_as_the_probability_mass_function_says() {
    for (rate, distances) in [
        (0.5, vec![0u128, 1, 2, 3, 10]),
        (1.0 / 1_024.0, vec![5_000, 4_000, 4_000, 4_096, 9_000, 100_000]),
        (0.25, vec![7]),
        (1.0, vec![3, 3, 3]),
    ] {
        let exact_rate = exact::divided(&exact::integer((rate * 4_096.0) as u128), 4_096).unwrap();
        let powers = Powers::of(&exact_rate).unwrap();
        let mut found = vec![0u32; distances.len()];
        for number in 0..=u16::MAX {
            let mut bits = [0x37; 32];
            bits[..2].copy_from_slice(&number.to_be_bytes());
            found[exact::weighted_choice(&powers, &distances, &bits).unwrap()] += 1;
        }
        for (found, mass) in found.iter().zip(masses(rate, &distances)) {
            let part = f64::from(*found) / 65_536.0;
            assert!((part - mass).abs() <= 2.0 / 65_536.0, "{part} {mass} {distances:?}");
        }
    }
}

#[test]
fn what_the_bits_do_not_decide_is_not_chosen() {
    let half = exact::divided(&exact::integer(1), 2).unwrap();
    let powers = Powers::of(&half).unwrap();
    // the very end of the last part, and a weight below all fixed-point numbers
    assert_eq!(exact::weighted_choice(&powers, &[0, 1], &[0xff; 32]), None);
    assert_eq!(exact::weighted_choice(&powers, &[1 << 100, 0], &[0; 32]), None);
    assert_eq!(exact::weighted_choice(&powers, &[0, 1 << 100], &[0; 32]), Some(0));
    assert_eq!(exact::weighted_choice(&powers, &[], &[0; 32]), None);
    assert!(Powers::of(&exact::integer(2)).is_none() && Powers::of(&exact::integer(0)).is_none());
    // two equal parts meet in the middle
    let middle = |last: u8| {
        let mut bits = [0xff; 32];
        (bits[0], bits[31]) = (0x7f, last);
        exact::weighted_choice(&powers, &[4, 4], &bits)
    };
    assert_eq!(middle(0), Some(0));
}

/// A histogram of few bins at a cost at which several of them are likely.
fn chosen_often() -> (Choice, Vec<i64>) {
    let choice = Choice::new(500, 20, PicoRho::new(30_000_000_000)).unwrap();
    (choice, vec![40, 30, 60, 5, 55, 10])
}

#[test]
fn quantiles_are_chosen_by_the_exact_mass_function() {
    let (choice, rows) = chosen_often();
    let edges = choice.edges(&rows).unwrap();
    // 1000 L - 500 N
    assert_eq!(edges, [-60_000, -30_000, 30_000, 35_000, 90_000]);
    assert_eq!(distances(&edges, 0).unwrap(), [60_000, 30_000, 0, 30_000, 35_000, 90_000]);
    // a target beyond all of them is in an outermost bin
    assert_eq!(distances(&edges, -200_000).unwrap()[0], 0);
    let rate = exact::to_f64(choice.rate());
    // epsilon = sqrt(8 rho / 3), Delta = 20 / 2 rows of 1000
    let epsilon = (8.0 * 0.03 / 3.0f64).sqrt();
    assert!((rate * 2.0 * 10_000.0 / epsilon - 1.0).abs() < 1e-4, "{rate}");
    let mut source = OpendpNoise::from_system_entropy();
    let draws = 20_000;
    let mut found = [[0u32; 6]; CHOSEN];
    for _ in 0..draws {
        let bits: Vec<[u8; 32]> = (0..CHOSEN).map(|_| source.bits().unwrap()).collect();
        for (found, bin) in found.iter_mut().zip(choice.of(&rows, &bits).unwrap()) {
            found[usize::try_from(bin).unwrap()] += 1;
        }
    }
    for (found, target) in found.iter().zip([-choice.margin, 0, choice.margin]) {
        let masses = masses(rate, &distances(&edges, target).unwrap());
        let statistic: f64 = found
            .iter()
            .zip(&masses)
            .map(|(found, mass)| {
                let expected = mass * f64::from(draws);
                (f64::from(*found) - expected).powi(2) / expected
            })
            .sum();
        // 5 degrees of freedom: above 55 with a probability of 1.3e-10
        assert!(statistic < 55.0, "{statistic}: {found:?} {masses:?}");
        // the test sees a rate that is a quarter off
        let wrong: Vec<f64> = self::masses(rate * 1.25, &distances(&edges, target).unwrap());
        let off: f64 = masses.iter().zip(&wrong).map(|(m, w)| (m - w).powi(2) / w).sum();
        assert!(target != 0 || off * f64::from(draws) > 100.0, "{off}");
    }
}

const BY_HALF: &str = "SELECT half_year(purchased_on) h, median(amount_fen) AS p50, \
                       quantile(amount_fen, 0.9) AS p90 FROM purchases GROUP BY 1";

fn small_bounds() -> Contract {
    let mut raw = raw_contract();
    raw.tables[0].rows_bound = 5;
    for column in &mut raw.tables[0].columns {
        if let RawColumn::Integer { minimum, maximum, bound, .. } = column {
            (*minimum, *maximum, *bound) = (0, 511, Some(1_000));
        }
    }
    raw.try_into().unwrap()
}

fn plan(contract: &Contract, sql: &str, rho: u64) -> DpPlan {
    DpPlan::local(contract, brand(2), &local_question(sql, rho)).unwrap()
}

/// Rows of members: cell, bin, number.
fn bounded(plan: &DpPlan, rows: &[(u32, i64, i64, i64)]) -> BoundedVector {
    let mut collector = Collector::new(plan, plan.participants()[0]);
    for (member, cell, bin, number) in rows {
        let code = cell * 512 + bin;
        collector.push(Some(&member.to_be_bytes()), code, &[Some(*number)]).unwrap();
    }
    collector.finish().unwrap()
}

/// What a member adds to a random database changes the logarithm of no choice's probabilities by more than it
/// pays for: over all cells, quantiles and targets, the squares of the widths of these changes are at most 8 rho.
#[test]
fn a_member_changes_choices_by_no_more_than_their_cost() {
    let plan = plan(&small_bounds(), BY_HALF, 6_000_000_000);
    let column = &plan.columns()[0];
    assert_eq!((plan.columns().len(), plan.coordinates()), (1, 2 * 2 * CHOSEN));
    let mut dice = Dice(3);
    let mut tight = 0.0f64;
    for _ in 0..60 {
        let mut random = |member: u32, most: u64| -> Vec<(u32, i64, i64, i64)> {
            let number = dice.below(most) + 1;
            let rows = (0..number).map(|_| {
                let bin =
                    [dice.below(512), 200 + dice.below(4)][usize::try_from(dice.below(2)).unwrap()];
                let (bin, many) = (i64::try_from(bin).unwrap(), dice.below(40));
                (
                    member,
                    i64::try_from(dice.below(2)).unwrap(),
                    bin,
                    i64::try_from(many).unwrap() - 3,
                )
            });
            rows.collect()
        };
        let mut rows: Vec<_> = (1..20).flat_map(|member| random(member, 4)).collect();
        let without = bounded(&plan, &rows);
        rows.extend(random(0, 9));
        let with = bounded(&plan, &rows);
        let mut spent = 0.0;
        for cell in 0..2 {
            let of = |vector: &BoundedVector| vector.values()[cell * 512..][..512].to_vec();
            let (without, with) = (of(&without), of(&with));
            for choice in column.choices() {
                let rate = exact::to_f64(choice.rate());
                let edges = |rows: &[i64]| choice.edges(rows).unwrap();
                let (without, with) = (edges(&without), edges(&with));
                for target in [-choice.margin, 0, choice.margin] {
                    let (one, two) =
                        (distances(&without, target).unwrap(), distances(&with, target).unwrap());
                    let change = one.iter().zip(&two).map(|(a, b)| rate * (*a as f64 - *b as f64));
                    let (least, most) = change
                        .fold((f64::MAX, f64::MIN), |(least, most), change| {
                            (least.min(change), most.max(change))
                        });
                    spent += (most - least).powi(2) / 8.0;
                }
            }
        }
        let paid = column.rho().to_rho();
        assert!(spent <= paid * (1.0 + 1e-9), "{spent} of {paid}");
        tight = tight.max(spent / paid);
    }
    assert!(tight > 0.2, "no member came near: {tight}");
}

/// Members whose only row is 100, 101, ... 499.
fn spread(plan: &DpPlan, each: u32) -> BoundedVector {
    let rows: Vec<_> = (0..400 * each).map(|m| (m, 0, i64::from(100 + m % 400), 1)).collect();
    bounded(plan, &rows)
}

#[test]
fn chosen_quantiles_are_near_and_their_intervals_cover() {
    let sql = "SELECT median(amount_fen) AS p50, quantile(amount_fen, 0.9) AS p90 FROM purchases";
    let plan = plan(&small_bounds(), sql, 4_000_000_000);
    let charge = certified_local(local_charge(&plan, brand(2), 1));
    let mut source = OpendpNoise::from_system_entropy();
    let trials = 60;
    let (mut covered, mut off, mut widths) = ([0, 0], [0.0; 2], [0.0; 2]);
    for _ in 0..trials {
        let noise = NoiseShare::draw(&plan, &mut source).unwrap();
        let release = LocalRelease::new(&charge, &plan, spread(&plan, 10), noise).unwrap();
        for (at, truth) in [299.0, 459.0].into_iter().enumerate() {
            let value = release.cells()[0].values[at];
            covered[at] += u32::from(value.low <= truth + 1.0 && truth <= value.high);
            off[at] += (value.value - truth).abs() / f64::from(trials);
            widths[at] += (value.high - value.low) / f64::from(trials);
        }
        let again = LocalRelease::again(&charge, &plan, &release.noised(), release.hash()).unwrap();
        assert_eq!(again, release);
    }
    assert!(covered.iter().all(|covered| *covered >= 56), "{covered:?} of {trials}");
    // ten members a fen: the rank is off by tens of rows
    assert!(off[0] < 25.0 && off[1] < 45.0, "{off:?}");
    assert!(widths[0] < 250.0, "{widths:?}");
    // nobody's quantile is nothing to rely on
    let noise = NoiseShare::draw(&plan, &mut source).unwrap();
    let release = LocalRelease::new(&charge, &plan, bounded(&plan, &[]), noise).unwrap();
    assert_ne!(release.cells()[0].values[0].quality, crate::release::Quality::Usable);
}

#[test]
fn chosen_quantiles_are_planned_and_explained() {
    let contract = sample_contract();
    let spent = "(SELECT member, sum(amount_fen) s FROM purchases GROUP BY member) x";
    let local = plan(&contract, &format!("SELECT median(s) m FROM {spent}"), 4_000_000_000);
    let summary = local.summary();
    assert_eq!((local.columns()[0].squared_bound(), summary.coordinates), (1, CHOSEN));
    assert_eq!(summary.aggregates[0].unit, "memberships of rank");
    // 2 Delta / epsilon = 1 / sqrt(8 * 0.004 / 3) members
    let error = summary.aggregates[0].expected_absolute_error;
    assert!((error - 9.68).abs() < 0.05, "{error}");
    // a cost too small for any choice, and one of nothing
    let cheap = local_question(&format!("SELECT median(s) m FROM {spent}"), 1);
    assert!(DpPlan::local(&contract, brand(2), &cheap).is_err());
    // all brands together read it off a noised tree
    let joint = crate::testing::spec(&format!("SELECT median(s) m FROM {spent}"), 5);
    let joint = DpPlan::new(&contract, &joint).unwrap();
    assert!(joint.columns()[0].choices().is_empty() && joint.coordinates() == 1_022);
}

/// A source without bits answers no quantile.
#[test]
fn without_bits_nothing_is_chosen() {
    let plan = plan(&small_bounds(), BY_HALF, 6_000_000_000);
    assert!(NoiseShare::draw(&plan, &mut crate::testing::Silent).is_err());
}
