//! Standing questions, day by day, with crashes and disks put back in between.

use super::super::{LocalAskError, LocalProgress, LocalRequest};
use super::*;
use crate::bounded::{Collector, Spent, StandingError};
use crate::ids::{Attempt, ParticipantId, QueryId, SnapshotId};
use crate::mechanism::OpendpNoise;
use crate::plan::{DpPlan, LocalQuestion};
use crate::steps::{CertifiedEntry, Clock};
use crate::testing::{brand, sample_contract};
use crate::units::{CalendarYear, PicoRho, UtcMillis};

struct Logged(Vec<u8>, u64);
impl CertifiedEntry for Logged {
    fn writer(&self) -> ParticipantId {
        brand(2)
    }
    fn index(&self) -> u64 {
        self.1
    }
    fn time(&self) -> UtcMillis {
        UtcMillis(self.1)
    }
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

const MONTHLY: &str = "SELECT date_trunc('month', purchased_on) AS month, count(*) AS n \
                       FROM purchases GROUP BY 1";
const COST: u64 = 4_000_000_000;

/// A brand with its log, its disk, and what its members' periods have used.
struct Brand {
    room: LocalRoom,
    ledger: Ledger,
    disk: Vec<Vec<u8>>,
    entries: Vec<CleanRoomEntry>,
    waiting: Vec<CleanRoomEntry>,
    shown: Vec<PeriodRelease>,
    reads: Vec<(u32, Arc<DpPlan>, Periods, Vec<u32>)>,
    spent: Spent,
}

fn id() -> AttemptId {
    AttemptId { proposer: brand(2), query: QueryId([1; 16]), attempt: Attempt::FIRST }
}

fn day(text: &str) -> CivilDate {
    text.parse().unwrap()
}

impl Brand {
    fn new() -> Self {
        Self {
            room: LocalRoom::new(brand(2), sample_contract()),
            ledger: Ledger::new(),
            disk: Vec::new(),
            entries: Vec::new(),
            waiting: Vec::new(),
            shown: Vec::new(),
            reads: Vec::new(),
            spent: Spent::new(),
        }
    }

    fn ask(&mut self, sql: &str, year: u16) -> Result<(), LocalAskError> {
        let request = LocalRequest {
            query: QueryId([1; 16]),
            question: LocalQuestion {
                sql: sql.into(),
                purpose: "joint_statistics".parse().unwrap(),
                analyst: "desk".parse().unwrap(),
                rho: PicoRho::new(COST),
            },
            snapshot: SnapshotId([9; 32]),
            analyst_quota: sample_contract().local_quota(),
            at_risk: PicoRho::ZERO,
            stands: true,
        };
        let clock = Clock { now: UtcMillis(5), year: CalendarYear(year) };
        let effects = self.room.ask(request, &self.ledger, clock)?;
        self.carry_out(effects);
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<LocalEffect>) {
        for effect in effects {
            match effect {
                LocalEffect::Persist(record) => self.disk.push(record.to_bytes()),
                LocalEffect::Append(entry) => self.waiting.push(entry),
                LocalEffect::ReadPeriod { plan, periods, period, closed, .. } => {
                    self.reads.push((period, plan, periods, closed));
                }
                LocalEffect::PeriodReleased(release) => {
                    // told again after a start, it is the same
                    match self.shown.iter().find(|it| it.period() == release.period()) {
                        Some(before) => assert_eq!(*before, *release),
                        None => self.shown.push(*release),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn certify(&mut self) {
        for entry in std::mem::take(&mut self.waiting) {
            let index = self.entries.len() as u64;
            let logged = Logged(entry.to_bytes(), index);
            self.entries.push(entry);
            let id = self.ledger.enter(&logged).unwrap();
            let effects = self.room.certified(id, &self.ledger);
            self.carry_out(effects);
        }
    }

    fn day(&mut self, text: &str) {
        let effects = self.room.day(day(text), &self.ledger);
        self.carry_out(effects);
    }

    /// Reads what is due, and has it certified, until nothing is.
    fn read(&mut self) {
        while let Some((period, plan, periods, _)) = self.reads.pop() {
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let mut collector = Collector::new(&plan);
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

    fn restart(&mut self, records: usize, today: &str) {
        self.disk.truncate(records);
        self.room = LocalRoom::restore(brand(2), sample_contract(), &self.disk).unwrap();
        self.ledger = Ledger::new();
        for (index, entry) in (0..).zip(&self.entries) {
            self.ledger.enter(&Logged(entry.to_bytes(), index)).unwrap();
        }
        (self.waiting, self.reads) = (Vec::new(), Vec::new());
        let effects = self.room.resume(&self.ledger);
        self.carry_out(effects);
        self.day(today);
    }

    fn progress(&self) -> (LocalProgress, StandingProgress) {
        let progress = self.room.progress(&id(), &self.ledger).unwrap();
        (progress, self.room.standing(&id(), &self.ledger).unwrap())
    }
}

#[test]
fn a_period_is_answered_some_days_after_its_last_and_all_are_charged_once() {
    let mut brand = Brand::new();
    brand.ask(MONTHLY, 2017).unwrap();
    brand.day("2017-02-01");
    assert!(brand.reads.is_empty(), "nothing is read before the charge is certified");
    brand.certify();
    assert!(brand.reads.is_empty(), "January's receipts are still coming");
    brand.day("2017-02-07");
    assert!(brand.reads.is_empty());
    brand.day("2017-02-08");
    assert_eq!(brand.reads.len(), 1);
    brand.read();
    let (step, at) = brand.progress();
    assert_eq!(step, LocalProgress::Standing);
    assert_eq!((at.periods, at.released, at.next_due), (12, 1, Some(day("2017-03-08"))));
    // a node that was off for a quarter answers what has become due, one period after another
    brand.day("2017-05-20");
    brand.read();
    let periods: Vec<u32> = brand.shown.iter().map(PeriodRelease::period).collect();
    assert_eq!(periods, [0, 1, 2, 3]);
    brand.day("2018-01-08");
    brand.read();
    assert_eq!(brand.progress().0, LocalProgress::Released);
    assert_eq!(brand.shown.len(), 12);
    for release in &brand.shown {
        let certified = brand.ledger.facts(&id()).unwrap().period_release(release.period());
        assert_eq!(certified, Some(release.hash()));
    }
    let spent = brand.ledger.local_spent(crate::testing::brand(2), CalendarYear(2017));
    assert_eq!(spent, PicoRho::new(COST));
}

#[test]
fn a_crash_at_any_step_leaves_one_release_of_each_period() {
    for crash in 0..6 {
        let mut brand = Brand::new();
        brand.ask(MONTHLY, 2017).unwrap();
        brand.certify();
        let mut steps = 0;
        for today in ["2017-02-08", "2017-03-08"] {
            brand.day(today);
            if steps == crash {
                // the reading is begun again
                brand.restart(brand.disk.len(), today);
            }
            steps += 1;
            let (period, plan, periods, closed) = brand.reads.pop().unwrap();
            assert_eq!(closed, (0..period).collect::<Vec<_>>());
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let vector =
                Collector::new(&plan).finish_period(&periods, period, &mut brand.spent).unwrap();
            let effects = brand.room.period_answered(id(), period, noise, vector, &brand.ledger);
            brand.carry_out(effects.unwrap());
            if steps == crash {
                // on the disk, and not certified: appended again, never read again
                brand.restart(brand.disk.len(), today);
                assert!(brand.reads.is_empty());
            }
            steps += 1;
            brand.certify();
            if steps == crash {
                brand.restart(brand.disk.len(), today);
            }
            steps += 1;
        }
        let periods: Vec<u32> = brand.shown.iter().map(PeriodRelease::period).collect();
        assert_eq!(periods, [0, 1], "{crash}");
        assert_eq!(brand.entries.len(), 3, "{crash}");
    }
}

#[test]
fn a_disk_put_back_to_before_a_release_ends_the_question() {
    let mut brand = Brand::new();
    brand.ask(MONTHLY, 2017).unwrap();
    brand.certify();
    brand.day("2017-03-10");
    brand.read();
    assert_eq!(brand.shown.len(), 2);
    // the second period's answer is gone from the disk
    brand.restart(2, "2017-04-10");
    assert!(brand.reads.is_empty() && brand.waiting.is_empty());
    let (step, at) = brand.progress();
    assert!(at.lost);
    assert_eq!(step, LocalProgress::Failed);
    // it may be asked again, and is paid again
    let plan = brand.shown[0].plan();
    assert_eq!(brand.room.same_standing(plan, CalendarYear(2017), &brand.ledger), None);
}

#[test]
fn a_reading_that_fails_is_final_for_its_period_and_no_other() {
    let mut brand = Brand::new();
    brand.ask(MONTHLY, 2017).unwrap();
    brand.certify();
    brand.day("2017-03-10");
    brand.reads.clear();
    let effects = brand.room.period_failed(id(), 0, &brand.ledger);
    brand.carry_out(effects);
    assert_eq!(brand.reads.iter().map(|read| read.0).collect::<Vec<_>>(), [1]);
    brand.read();
    brand.restart(brand.disk.len(), "2017-03-11");
    assert!(brand.reads.is_empty());
    let at = brand.progress().1;
    assert_eq!((at.released, at.failed, at.next_due), (1, 1, Some(day("2017-04-08"))));
    // what nobody waits for is not taken
    let effects = brand.room.period_failed(id(), 2, &brand.ledger);
    assert!(effects.is_empty());
}

#[test]
fn only_periods_that_end_in_the_year_that_paid_are_answered() {
    let mut brand = Brand::new();
    brand.ask(MONTHLY, 2016).unwrap();
    brand.certify();
    brand.day("2018-01-20");
    assert!(brand.reads.is_empty());
    assert_eq!(brand.progress().1.periods, 0);
    // data of past years is answered at once, whatever year pays
    let mut later = Brand::new();
    later.ask(MONTHLY, 2026).unwrap();
    later.certify();
    later.day("2026-05-01");
    later.read();
    assert_eq!(later.shown.len(), 12);
}

#[test]
fn what_cannot_stand_is_refused_and_costs_nothing() {
    let mut brand = Brand::new();
    let refused = brand.ask("SELECT count(*) FROM purchases", 2017).unwrap_err();
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
