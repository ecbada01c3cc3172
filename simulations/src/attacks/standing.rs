//! Attacks on standing questions: one charge, and an answer for every month of a year.
//!
//! What closed months have used of the members' bounds is stored in pages and read back for the next, as a node does it.

use privacy::bounded::{Spent, SpentPage};
use privacy::civil::CivilDate;
use privacy::{Collector, LocalEffect, PeriodRelease, PicoRho};

use super::alliance::{Mutant, SPENDING_BOUND, brand, contract};
use super::local::{Brand, question};
use super::statistics::Attack;
use super::{Run, campaign};
use crate::prng::Prng;

pub(super) const ATTACKS: [Run; 4] =
    [every_month, one_month_less_the_others, rows_that_move, names_that_change];

/// On which all of them are over, in the year that pays.
const TODAY: (u16, u8, u8) = (2026, 5, 1);
const MEMBERS_EACH: usize = 100;
const MEMBERS: &str = "SELECT date_trunc('month', purchased_on) AS month, count(distinct member) AS n \
                       FROM purchases GROUP BY 1";
const SPENDING: &str = "SELECT date_trunc('month', purchased_on) AS month, sum(amount_fen) AS fen \
                        FROM purchases GROUP BY 1";
/// A hundred times the bound.
const FORTUNE: i64 = 100 * SPENDING_BOUND;

/// What a brand has of a month when that is read.
#[derive(Default)]
struct Month {
    /// Members by name, and what is added up of them.
    lines: Vec<(String, i64)>,
    /// Former names of members who are merged by then, with the member's.
    merged: Vec<(String, String)>,
}

/// Asks for all the local quota, and has every month read: the answers by month, and what was charged. No answer where
/// something was refused.
fn stand(mutant: Mutant, sql: &str, read: impl Fn(u32) -> Month) -> (Vec<f64>, PicoRho) {
    stand_forgetting(mutant, mutant == Mutant::WithoutEarlierPeriods, sql, read)
}

/// The same, with months that forget each other, whatever the mutant, when `forgets` says so.
fn stand_forgetting(
    mutant: Mutant,
    forgets: bool,
    sql: &str,
    read: impl Fn(u32) -> Month,
) -> (Vec<f64>, PicoRho) {
    let mut asked = Brand::new(0, mutant);
    let releases = stood(&mut asked, forgets, sql, read).unwrap_or_default();
    let answers = releases.iter().map(|release| release.cells()[0].values[0].value).collect();
    (answers, asked.charged())
}

fn stood(
    asked: &mut Brand,
    forgets: bool,
    sql: &str,
    read: impl Fn(u32) -> Month,
) -> Option<Vec<PeriodRelease>> {
    let (year, month, day) = TODAY;
    let mut effects = asked.room.day(CivilDate::new(year, month, day)?, &asked.ledger);
    effects.extend(asked.begin(question(sql, contract().local_quota()), true)?);
    let (mut pages, mut releases) = (Vec::<SpentPage>::new(), Vec::new());
    while !effects.is_empty() {
        let mut next = Vec::new();
        for effect in effects {
            match effect {
                LocalEffect::Append(entry) => next.extend(asked.certify(&entry)?),
                LocalEffect::ReadPeriod { id, plan, periods, period, .. } => {
                    let (noise, _) = asked.noise(&plan)?;
                    let Month { lines, merged } = read(period);
                    let mut spent = Spent::new();
                    if !forgets {
                        pages.iter().cloned().for_each(|page| spent.add(page));
                    }
                    let bytes =
                        |(former, name): (String, String)| (former.into_bytes(), name.into_bytes());
                    spent.merge(merged.into_iter().map(bytes));
                    let mut collector = Collector::new(&plan, brand(0));
                    for (member, added) in lines {
                        let cell = i64::from(period);
                        collector.push(Some(member.as_bytes()), cell, &[Some(added)]).ok()?;
                    }
                    let vector = collector.finish_period(&periods, period, &mut spent).ok()?;
                    pages.extend(spent.pages(period, MEMBERS_EACH));
                    let room = &mut asked.room;
                    let answered = room.period_answered(id, period, noise, vector, &asked.ledger);
                    next.extend(answered.ok()?);
                }
                LocalEffect::PeriodReleased(release) => releases.push(*release),
                _ => {}
            }
        }
        effects = next;
    }
    Some(releases)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Who is there in every month: all answers together.
fn every_month(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    campaign("averaging over the months of a standing question", trials, random, |is_in, _| {
        let read = |_| Month {
            lines: is_in.then(|| ("target".to_owned(), 1)).into_iter().collect(),
            ..Month::default()
        };
        let (answers, charged) = stand(mutant, MEMBERS, read);
        (mean(&answers), charged)
    })
}

/// The others buy alike in every month, so that what nobody knows of them cancels; the member in one alone.
fn one_month_less_the_others(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    let name = "differencing of the months of a standing question";
    campaign(name, trials, random, |is_in, random| {
        let each = i64::try_from(random.below(100)).unwrap_or(0);
        let read = |month| {
            let mut lines: Vec<(String, i64)> =
                (0..30).map(|number| (format!("other{number}"), each)).collect();
            if is_in && month == 3 {
                lines.push(("target".to_owned(), FORTUNE));
            }
            Month { lines, ..Month::default() }
        };
        let (mut answers, charged) = stand(mutant, SPENDING, read);
        if answers.len() <= 3 {
            return (0.0, charged);
        }
        let that = answers.remove(3);
        ((that - mean(&answers)) / SPENDING_BOUND as f64, charged)
    })
}

/// The member's rows, far above the bound, are dated anew before each month is read, so that they lie in all of them.
fn moved(_: u32) -> Month {
    Month { lines: vec![("target".to_owned(), FORTUNE)], ..Month::default() }
}

/// The same, and the member is merged into a new account before each.
fn renamed(month: u32) -> Month {
    let name = |month: u32| format!("target{month}");
    let merged = (0..month).map(|former| (name(former), name(month))).collect();
    Month { lines: vec![(name(month), FORTUNE)], merged }
}

/// What is hoped for is the bound once a month.
pub(super) fn rows_that_move(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    moving("rows that are moved from month to month", moved, mutant, trials, random)
}

fn names_that_change(mutant: Mutant, trials: u32, random: &mut Prng) -> Attack {
    moving("a member merged into another every month", renamed, mutant, trials, random)
}

fn moving(
    name: &'static str,
    read: fn(u32) -> Month,
    mutant: Mutant,
    trials: u32,
    random: &mut Prng,
) -> Attack {
    campaign(name, trials, random, |is_in, _| {
        let read = |month| if is_in { read(month) } else { Month::default() };
        let (answers, charged) = stand(mutant, SPENDING, read);
        (mean(&answers) / SPENDING_BOUND as f64, charged)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all months together show of a member without noise, as a length, and every month of it.
    fn shown(forgets: bool, read: fn(u32) -> Month) -> (f64, Vec<f64>) {
        let (answers, charged) = stand_forgetting(Mutant::WithoutNoise, forgets, SPENDING, read);
        assert_eq!(answers.len(), 12);
        assert_eq!(charged, contract().local_quota());
        (answers.iter().map(|fen| fen * fen).sum::<f64>().sqrt(), answers)
    }

    /// Without noise, what all months together show of a member is no longer than its bound; and where months forget
    /// each other, which the command's attack needs thousands of questions to notice, it is.
    #[test]
    fn a_member_that_moves_has_its_bound_once_over_all_months() {
        let bound = SPENDING_BOUND as f64;
        for read in [moved, renamed] {
            let (length, answers) = shown(false, read);
            assert!(length <= bound && answers[0] > 0.9 * bound, "{answers:?}");
            let (length, answers) = shown(true, read);
            assert!(length > 3.0 * bound, "{answers:?}");
        }
    }
}
