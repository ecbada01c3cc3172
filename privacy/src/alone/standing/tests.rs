//! Standing questions, day by day, with crashes and disks put back in between.

use super::super::{LocalAskError, LocalProgress};
use super::*;
use crate::bounded::{Collector, StandingError};
use crate::mechanism::OpendpNoise;
use crate::testing::alone::{Alone, id as question};
use crate::units::{CalendarYear, PicoRho};

const MONTHLY: &str = "SELECT date_trunc('month', purchased_on) AS month, count(*) AS n \
                       FROM purchases GROUP BY 1";
const COST: u64 = 4_000_000_000;

fn id() -> AttemptId {
    question(1)
}

fn day(text: &str) -> CivilDate {
    text.parse().unwrap()
}

impl Alone {
    fn stand(&mut self, sql: &str, year: u16) -> Result<(), LocalAskError> {
        self.request(1, (sql, COST), true, year)
    }

    fn day(&mut self, text: &str) {
        let effects = self.room.day(day(text), &self.ledger);
        self.carry_out(effects);
    }

    /// Reads what is due, and has it certified, until nothing is.
    fn read_periods(&mut self) {
        while let Some((period, plan, periods, _)) = self.period_reads.pop() {
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let mut collector = Collector::new(&plan, plan.participants()[0]);
            for member in 0..50u16 {
                collector.push(Some(&member.to_be_bytes()), 0, &[Some(1)]).unwrap();
            }
            let vector = collector.finish_period(&periods, period, &mut self.spent).unwrap();
            let effects =
                self.room.period_answered(id(), period, noise, vector, &self.ledger).unwrap();
            self.carry_out(effects);
            self.certify();
        }
    }

    fn restart_on(&mut self, records: usize, today: &str) {
        self.restart(records);
        self.day(today);
    }

    fn progress(&self) -> (LocalProgress, StandingProgress) {
        let progress = self.room.progress(&id(), &self.ledger).unwrap();
        (progress, self.room.standing(&id(), &self.ledger).unwrap())
    }
}

#[test]
fn a_period_is_answered_some_days_after_its_last_and_all_are_charged_once() {
    let mut brand = Alone::new();
    brand.stand(MONTHLY, 2017).unwrap();
    brand.day("2017-02-01");
    assert!(brand.period_reads.is_empty(), "nothing is read before the charge is certified");
    brand.certify();
    assert!(brand.period_reads.is_empty(), "January's receipts are still coming");
    brand.day("2017-02-07");
    assert!(brand.period_reads.is_empty());
    brand.day("2017-02-08");
    assert_eq!(brand.period_reads.len(), 1);
    brand.read_periods();
    let (step, at) = brand.progress();
    assert_eq!(step, LocalProgress::Standing);
    assert_eq!((at.periods, at.released, at.next_due), (11, 1, Some(day("2017-03-08"))));
    // a node that was off for a quarter answers what has become due, one period after another
    brand.day("2017-05-20");
    brand.read_periods();
    let periods: Vec<u32> = brand.periods.iter().map(PeriodRelease::period).collect();
    assert_eq!(periods, [0, 1, 2, 3]);
    brand.day("2017-12-31");
    brand.read_periods();
    assert_eq!(brand.progress().0, LocalProgress::Released);
    assert_eq!(brand.periods.len(), 11);
    // December would be read, and shown, in another year than the one that paid
    brand.day("2018-01-08");
    assert!(brand.period_reads.is_empty());
    assert_eq!((brand.progress().0, brand.progress().1.periods), (LocalProgress::Released, 11));
    for release in &brand.periods {
        let certified = brand.ledger.facts(&id()).unwrap().period_release(release.period());
        assert_eq!(certified, Some(release.hash()));
    }
    let spent = brand.ledger.local_spent(crate::testing::brand(2), CalendarYear(2017));
    assert_eq!(spent, PicoRho::new(COST));
}

#[test]
fn a_crash_at_any_step_leaves_one_release_of_each_period() {
    for crash in 0..6 {
        let mut brand = Alone::new();
        brand.stand(MONTHLY, 2017).unwrap();
        brand.certify();
        let mut steps = 0;
        for today in ["2017-02-08", "2017-03-08"] {
            brand.day(today);
            if steps == crash {
                // the reading is begun again
                brand.restart_on(brand.disk.len(), today);
            }
            steps += 1;
            let (period, plan, periods, closed) = brand.period_reads.pop().unwrap();
            assert_eq!(closed, (0..period).collect::<Vec<_>>());
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let vector = Collector::new(&plan, plan.participants()[0])
                .finish_period(&periods, period, &mut brand.spent)
                .unwrap();
            let effects = brand.room.period_answered(id(), period, noise, vector, &brand.ledger);
            brand.carry_out(effects.unwrap());
            if steps == crash {
                // on the disk, and not certified: appended again, never read again
                brand.restart_on(brand.disk.len(), today);
                assert!(brand.period_reads.is_empty());
            }
            steps += 1;
            brand.certify();
            if steps == crash {
                brand.restart_on(brand.disk.len(), today);
            }
            steps += 1;
        }
        let periods: Vec<u32> = brand.periods.iter().map(PeriodRelease::period).collect();
        assert_eq!(periods, [0, 1], "{crash}");
        assert_eq!(brand.entries.len(), 3, "{crash}");
    }
}

#[test]
fn a_disk_put_back_to_before_a_release_ends_the_question() {
    let mut brand = Alone::new();
    brand.stand(MONTHLY, 2017).unwrap();
    brand.certify();
    brand.day("2017-03-10");
    brand.read_periods();
    assert_eq!(brand.periods.len(), 2);
    // the second period's answer is gone from the disk
    brand.restart_on(2, "2017-04-10");
    assert!(brand.period_reads.is_empty() && brand.waiting.is_empty());
    let (step, at) = brand.progress();
    assert!(at.lost);
    assert_eq!(step, LocalProgress::Failed);
    // it may be asked again, and is paid again
    let plan = brand.periods[0].plan();
    assert_eq!(brand.room.same_standing(plan, CalendarYear(2017), &brand.ledger), None);
}

#[test]
fn a_reading_that_fails_is_final_for_its_period_and_no_other() {
    let mut brand = Alone::new();
    brand.stand(MONTHLY, 2017).unwrap();
    brand.certify();
    brand.day("2017-03-10");
    brand.period_reads.clear();
    let effects = brand.room.period_failed(id(), 0, &brand.ledger);
    brand.carry_out(effects);
    assert_eq!(brand.period_reads.iter().map(|read| read.0).collect::<Vec<_>>(), [1]);
    brand.read_periods();
    brand.restart_on(brand.disk.len(), "2017-03-11");
    assert!(brand.period_reads.is_empty());
    let at = brand.progress().1;
    assert_eq!((at.released, at.failed, at.next_due), (1, 1, Some(day("2017-04-08"))));
    // what nobody waits for is not taken
    let effects = brand.room.period_failed(id(), 2, &brand.ledger);
    assert!(effects.is_empty());
}

/// What was due in the year and not read, because the node was off, is not read in the next; nor is a question that was
/// charged at its end.
#[test]
fn nothing_is_read_once_the_year_that_paid_is_over() {
    let mut brand = Alone::new();
    brand.stand(MONTHLY, 2017).unwrap();
    brand.certify();
    brand.day("2017-03-10");
    brand.read_periods();
    brand.restart_on(brand.disk.len(), "2018-01-01");
    assert!(brand.period_reads.is_empty());
    let (step, at) = brand.progress();
    assert_eq!((step, at.released, at.next_due), (LocalProgress::Released, 2, None));

    let mut late = Alone::new();
    late.day("2017-12-31");
    late.request(1, ("SELECT count(*) FROM purchases", COST), false, 2017).unwrap();
    late.day("2018-01-01");
    late.certify();
    assert!(late.reads.is_empty());
    assert_eq!(late.failed, [id()]);
    let spent = late.ledger.local_spent(crate::testing::brand(2), CalendarYear(2017));
    assert_eq!(spent, PicoRho::new(COST), "its charge stands");
}

#[test]
fn only_periods_that_are_read_in_the_year_that_paid_are_answered() {
    let mut brand = Alone::new();
    brand.stand(MONTHLY, 2016).unwrap();
    brand.certify();
    brand.day("2018-01-20");
    assert!(brand.period_reads.is_empty());
    assert_eq!(brand.progress().1.periods, 0);
    // data of past years is answered at once, whatever year pays
    let mut later = Alone::new();
    later.stand(MONTHLY, 2026).unwrap();
    later.certify();
    later.day("2026-05-01");
    later.read_periods();
    assert_eq!(later.periods.len(), 12);
}

#[test]
fn what_cannot_stand_is_refused_and_costs_nothing() {
    let mut brand = Alone::new();
    let refused = brand.stand("SELECT count(*) FROM purchases", 2017).unwrap_err();
    assert!(matches!(refused, LocalAskError::Standing(StandingError::NoPeriod)));
    assert!(brand.disk.is_empty() && brand.waiting.is_empty());
}

#[test]
fn days_pass_as_in_the_calendar() {
    for (from, days, to) in [
        ("2017-01-31", 7, "2017-02-07"),
        ("2016-02-28", 1, "2016-02-29"),
        ("2017-12-31", 7, "2018-01-07"),
        ("2017-06-01", 7, "2017-06-08"),
    ] {
        assert_eq!(day(from).plus_days(days), Some(day(to)), "{from}");
    }
    assert_eq!(day("9999-12-31").plus_days(1), None);
}
