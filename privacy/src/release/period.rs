//! The answer to a standing question for one of its periods.
//!
//! Made like a local release, for the cells of the period alone, once the period is over and if the log has
//! no release of it: noise of the other cells that was drawn beside is used up unseen. Why all of it
//! together costs what was charged is in [`bounded`](crate::bounded).

use minicbor::Encode;
use serde::Serialize;

use super::answer::{self, ReleasedCell, Sums};
use super::{PROTECTED_ALONE, PrivacyStatement, ReleaseError, column_names, noised, public_labels};
use crate::accounting::{CertifiedLocalCharge, Facts};
use crate::bounded::{BoundedVector, Periods, StandingError};
use crate::civil::CivilDate;
use crate::hash;
use crate::ids::{ParticipantId, PlanHash, ReleaseHash, SqlHash};
use crate::mechanism::NoiseShare;
use crate::plan::DpPlan;
use crate::steps::AttemptId;
use crate::units::PicoRho;

/// A noised answer of one brand about its own members in one period.
#[derive(Clone, Debug, PartialEq)]
pub struct PeriodRelease {
    stable: Stable,
    cells: Vec<ReleasedCell>,
    statement: PrivacyStatement,
}

/// What the release hash covers.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
struct Stable {
    #[n(0)]
    version: u8,
    #[n(1)]
    id: AttemptId,
    #[n(2)]
    period: u32,
    #[n(3)]
    plan: PlanHash,
    #[n(4)]
    sql: SqlHash,
    #[n(5)]
    rho: PicoRho,
    #[n(6)]
    columns: Vec<String>,
    #[n(7)]
    labels: Vec<Vec<String>>,
    #[n(8)]
    scales: Vec<u64>,
    /// Of the period's cells: a column's together, a cell's coordinates together.
    #[n(9)]
    values: Vec<i64>,
}

/// What is closed.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// What the certified log says of the question.
    pub facts: &'a Facts,
    /// Its plan.
    pub plan: &'a DpPlan,
    /// The plan's periods.
    pub periods: &'a Periods,
    /// Which of them.
    pub period: u32,
    /// The day it is, in the alliance's zone.
    pub today: CivilDate,
}

impl PeriodRelease {
    /// Adds the noise to the period's bounded figures, if the certified charge pays for the plan, the period is
    /// over and was not released, and the year that pays is not over. `vector` is of
    /// [`Collector::finish_period`](crate::bounded::Collector::finish_period).
    pub fn new(
        closing: Closing<'_>,
        vector: BoundedVector,
        noise: NoiseShare,
    ) -> Result<Self, ReleaseError> {
        let Closing { facts, plan, periods, period, today } = closing;
        let charge = facts.local_charge().filter(|charge| charge.pays_for(plan));
        let charge = charge.ok_or(ReleaseError::Unpaid)?;
        periods.check_over(period, today)?;
        if today.year() > charge.entry().year.0 {
            return Err(StandingError::OtherYear.into());
        }
        if facts.period_release(period).is_some() || facts.local_release().is_some() {
            return Err(StandingError::Released.into());
        }
        let is_in = |cell| periods.of_cell(cell) == Some(period);
        let values = noised::noised(plan, &vector, &noise, is_in)?;
        Self::of_noised(&charge, plan, periods, period, values)
    }

    /// A release again from the noised values on the own disk, whose log has yet to take the hash, or has.
    pub(crate) fn unlogged(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        periods: &Periods,
        period: u32,
        noised: &[u8],
    ) -> Result<Self, ReleaseError> {
        if !charge.pays_for(plan) {
            return Err(ReleaseError::Unpaid);
        }
        let (values, rest) = noised.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(ReleaseError::Plan);
        }
        let values = values.iter().map(|value| i64::from_be_bytes(*value)).collect();
        Self::of_noised(charge, plan, periods, period, values)
    }

    fn of_noised(
        charge: &CertifiedLocalCharge,
        plan: &DpPlan,
        periods: &Periods,
        period: u32,
        values: Vec<i64>,
    ) -> Result<Self, ReleaseError> {
        let mut noised = values.iter();
        let mut all = Vec::with_capacity(plan.coordinates());
        for is_in in coordinates(plan, periods, period) {
            all.push(if is_in { *noised.next().ok_or(ReleaseError::Plan)? } else { 0 });
        }
        if noised.next().is_some() {
            return Err(ReleaseError::Plan);
        }
        let labels = public_labels(plan);
        let cells =
            answer::answer(&Sums { plan, labels: &labels, values: &all }).into_iter().enumerate();
        let cells = cells.filter(|(cell, _)| periods.of_cell(*cell) == Some(period));
        let cells: Vec<ReleasedCell> = cells.map(|(_, cell)| cell).collect();
        let charged = charge.entry();
        let stable = Stable {
            version: 0,
            id: charged.id,
            period,
            plan: plan.hash(),
            sql: plan.sql_hash(),
            rho: charged.rho,
            columns: column_names(plan),
            labels: cells.iter().map(|cell| cell.keys.clone()).collect(),
            scales: plan.columns().iter().map(|column| column.scale()).collect(),
            values,
        };
        let proposer = charged.id.proposer;
        let statement = PrivacyStatement::new(PROTECTED_ALONE, proposer, charged.year, plan);
        Ok(Self { stable, cells, statement })
    }

    /// Every noised value of the period, eight bytes each, big-endian, in the plan's order.
    pub fn noised(&self) -> Vec<u8> {
        self.stable.values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    /// The plan it answers.
    pub const fn plan(&self) -> PlanHash {
        self.stable.plan
    }

    /// What all periods together cost.
    pub const fn rho(&self) -> PicoRho {
        self.stable.rho
    }

    /// The question it answers.
    pub const fn id(&self) -> AttemptId {
        self.stable.id
    }

    /// The brand it is about.
    pub const fn brand(&self) -> ParticipantId {
        self.stable.id.proposer
    }

    /// Which period, from 0.
    pub const fn period(&self) -> u32 {
        self.stable.period
    }

    /// Names of the columns: group keys, then the others.
    pub fn columns(&self) -> &[String] {
        &self.stable.columns
    }

    /// The period's cells.
    pub fn cells(&self) -> &[ReleasedCell] {
        &self.cells
    }

    /// What it promises. The cost is that of all periods together.
    pub const fn statement(&self) -> &PrivacyStatement {
        &self.statement
    }

    /// The hash the brand logs: deterministic CBOR, integers and texts only.
    pub fn hash(&self) -> ReleaseHash {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(&self.stable, &mut bytes);
        ReleaseHash(hash::tagged("coalition/privacy/period-release/v0", &[&bytes]))
    }
}

/// Of every coordinate of the plan, whether it is of this period.
fn coordinates(plan: &DpPlan, periods: &Periods, period: u32) -> impl Iterator<Item = bool> {
    plan.columns().iter().flat_map(move |column| {
        (0..plan.cells().len()).flat_map(move |cell| {
            let is_in = periods.of_cell(cell) == Some(period);
            std::iter::repeat_n(is_in, column.fill().shown())
        })
    })
}

/// As JSON for people and programs.
impl Serialize for PeriodRelease {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut json = serializer.serialize_struct("PeriodRelease", 7)?;
        json.serialize_field("query", &self.stable.id.query)?;
        json.serialize_field("brand", &self.brand())?;
        json.serialize_field("period", &self.stable.period)?;
        json.serialize_field("hash", &self.hash())?;
        json.serialize_field("columns", &self.stable.columns)?;
        json.serialize_field("cells", &self.cells)?;
        json.serialize_field("privacy", &self.statement)?;
        json.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::accounting::Ledger;
    use crate::bounded::{Collector, Spent};
    use crate::exact;
    use crate::mechanism::OpendpNoise;
    use crate::steps::{CleanRoomEntry, LocalReleased, PeriodReleased};
    use crate::testing::questions::Dice;
    use crate::testing::{Logged, Silent, brand, local_charge, local_question, sample_contract};
    use crate::units::CalendarYear;

    const MONTHLY: &str = "SELECT date_trunc('month', purchased_on) AS month, count(*) AS n, \
                           sum(amount_fen) AS s FROM purchases GROUP BY 1";

    fn logged(entry: CleanRoomEntry, index: u64) -> Logged {
        Logged::of(&entry, index, brand(2))
    }

    fn plan(sql: &str) -> DpPlan {
        let question = local_question(sql, 4_000_000_000);
        DpPlan::local(&sample_contract(), brand(2), &question).unwrap()
    }

    fn charged(plan: &DpPlan) -> (Ledger, AttemptId) {
        let mut ledger = Ledger::new();
        let charge = CleanRoomEntry::LocalCharge(local_charge(plan, brand(2), 1));
        let id = ledger.enter(&logged(charge, 0)).unwrap();
        (ledger, id)
    }

    fn day(year: u16, month: u8) -> CivilDate {
        CivilDate::new(year, month, 1).unwrap()
    }

    /// Rows of a member by cell code: counts and spending.
    fn vector(
        plan: &DpPlan,
        rows: &BTreeMap<(u16, i64), (i64, i64)>,
        period: u32,
        spent: &mut Spent,
    ) -> BoundedVector {
        let periods = Periods::of(plan).unwrap();
        let mut collector = Collector::new(plan, plan.participants()[0]);
        for ((member, cell), (count, sum)) in rows {
            collector
                .push(Some(&member.to_be_bytes()), *cell, &[Some(*count), Some(*sum)])
                .unwrap();
        }
        collector.finish_period(&periods, period, spent).unwrap()
    }

    #[test]
    fn a_period_is_released_once_when_it_is_over_and_paid_for() {
        let plan = plan(MONTHLY);
        let periods = Periods::of(&plan).unwrap();
        assert_eq!(periods.len(), 12);
        let (mut ledger, id) = charged(&plan);
        let rows = BTreeMap::from([((1, 0), (3, 500)), ((1, 1), (2, 300)), ((2, 1), (1, 20))]);
        let close = |ledger: &Ledger, period, today, plan: &DpPlan| {
            let noise = NoiseShare::draw(plan, &mut Silent).unwrap();
            let figures = vector(plan, &rows, period, &mut Spent::new());
            let facts = ledger.facts(&id).unwrap();
            let periods = Periods::of(plan).unwrap();
            let closing = Closing { facts, plan, periods: &periods, period, today };
            PeriodRelease::new(closing, figures, noise)
        };
        let later = day(2018, 1);
        let february = close(&ledger, 1, day(2017, 3), &plan).unwrap();
        assert_eq!(february.cells().len(), 1);
        assert_eq!(february.cells()[0].keys, plan.cells()[1].labels());
        let values: Vec<f64> = february.cells()[0].values.iter().map(|it| it.value).collect();
        assert_eq!(values, [3.0, 320.0]);
        assert_eq!(
            close(&ledger, 1, CivilDate::new(2017, 2, 28).unwrap(), &plan),
            Err(StandingError::NotOver.into())
        );
        // a year's charge pays for what that year shows
        assert_eq!(close(&ledger, 1, day(2027, 1), &plan), Err(StandingError::OtherYear.into()));
        assert!(close(&ledger, 1, day(2026, 12), &plan).is_ok());
        let unknown = StandingError::Unknown { periods: 12 };
        assert_eq!(close(&ledger, 12, later, &plan), Err(unknown.into()));
        let other = super::tests::plan(
            "SELECT date_trunc('month', purchased_on) AS month, count(*) AS n, sum(2 * amount_fen) AS s FROM purchases GROUP BY 1",
        );
        assert_eq!(close(&ledger, 1, later, &other), Err(ReleaseError::Unpaid));
        // on record: never again, nor the whole at once
        let released = PeriodReleased { id, period: 1, release: february.hash() };
        let entry = CleanRoomEntry::PeriodRelease(released);
        ledger.enter(&logged(entry, 1)).unwrap();
        assert_eq!(close(&ledger, 1, later, &plan), Err(StandingError::Released.into()));
        assert!(close(&ledger, 2, later, &plan).is_ok());
        let whole = LocalReleased { id, release: february.hash() };
        let whole = CleanRoomEntry::LocalRelease(whole);
        assert!(ledger.enter(&logged(whole, 2)).is_err());
        let second = PeriodReleased { release: ReleaseHash([0; 32]), ..released };
        let second = CleanRoomEntry::PeriodRelease(second);
        assert!(ledger.enter(&logged(second, 3)).is_err());
        // all of it was charged once
        assert_eq!(ledger.local_spent(brand(2), CalendarYear(2026)), plan.rho());
    }

    /// Whatever the order in which periods are closed, and however often one is closed before it is released,
    /// a member never moves the whole year by more than the bound that the noise was planned for.
    #[test]
    fn over_all_periods_a_member_stays_within_its_bound() {
        let plan = plan(MONTHLY);
        let mut dice = Dice(11);
        let mut tight = 0;
        for _ in 0..300 {
            let mut rows = BTreeMap::new();
            for cell in 0..12 {
                if dice.below(3) > 0 {
                    let count = i64::try_from(dice.below(2_000)).unwrap();
                    let sum = i64::try_from(dice.below(900_000)).unwrap() - 200_000;
                    rows.insert((7u16, cell), (count, sum));
                }
            }
            let mut order: Vec<u32> = (0..12).collect();
            for at in (1..12).rev() {
                order.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
            }
            let mut spent = Spent::new();
            let mut moved = vec![0i64; plan.coordinates()];
            for period in order {
                if dice.below(4) == 0 {
                    drop(vector(&plan, &rows, period, &mut spent));
                }
                spent = stored(&spent);
                let figures = vector(&plan, &rows, period, &mut spent);
                moved.iter_mut().zip(figures.values()).for_each(|(to, from)| *to += from);
            }
            for (index, column) in plan.columns().iter().enumerate() {
                let start = plan.column_start(index, plan.cells().len());
                let part: Vec<i128> =
                    moved[start..start + 12].iter().map(|value| i128::from(*value)).collect();
                let norm = exact::squared_norm(&part);
                assert!(norm <= column.scaled_squared_bound().into(), "{part:?}");
                tight += u32::from(norm * 10u8 >= (column.scaled_squared_bound() * 9).into());
            }
        }
        assert!(tight > 100, "the bound was hardly ever reached: {tight}");
    }

    /// As it comes back from a disk.
    fn stored(spent: &Spent) -> Spent {
        let mut read = Spent::new();
        for page in (0..12).flat_map(|period| spent.pages(period, 2)) {
            let page = minicbor::to_vec(&page).unwrap();
            read.add(minicbor::decode(&page).unwrap());
        }
        read
    }

    /// Two members who are merged when some periods are closed, and parted after some more: from the merger on
    /// they move the whole by no more than one member may, or nothing any more where they had by then; and each of
    /// them alone never moves more than its bound. `carried` is whether a reading is told of the merger.
    fn merged_run(plan: &DpPlan, seed: u64, carried: bool) -> bool {
        let mut dice = Dice(seed);
        let bounds: Vec<u128> = plan.columns().iter().map(|it| it.scaled_squared_bound()).collect();
        let (merged_at, parted_at) = (dice.below(8), 8 + dice.below(4));
        let mut spent = Spent::new();
        let mut moved = vec![0i64; plan.coordinates()];
        let (mut before, mut within) = (vec![0i64; plan.coordinates()], true);
        for period in 0..12u32 {
            let merged = (merged_at..parted_at).contains(&u64::from(period));
            let mut rows = BTreeMap::new();
            for member in [7u16, 8] {
                let count = i64::try_from(dice.below(700)).unwrap();
                let sum = i64::try_from(dice.below(300_000)).unwrap() - 60_000;
                let under = if merged { 7 } else { member };
                let line = rows.entry((under, i64::from(period))).or_insert((0, 0));
                *line = (line.0 + count, line.1 + sum);
            }
            spent = stored(&spent);
            let name = |member: u16| member.to_be_bytes().to_vec();
            if merged && carried {
                spent.merge([(name(8), name(7))]);
            }
            let figures = vector(plan, &rows, period, &mut spent);
            moved.iter_mut().zip(figures.values()).for_each(|(to, from)| *to += from);
            if u64::from(period) < merged_at {
                before.clone_from(&moved);
            }
            if u64::from(period) >= parted_at {
                break;
            }
            for (index, bound) in bounds.iter().enumerate() {
                let norm = |values: &[i64]| {
                    let start = plan.column_start(index, plan.cells().len());
                    let part = values[start..start + 12].iter().map(|value| i128::from(*value));
                    exact::squared_norm(&part.collect::<Vec<_>>())
                };
                let most = norm(&before).max((*bound).into());
                within &= u64::from(period) < merged_at || norm(&moved) <= most;
            }
        }
        within
    }

    #[test]
    fn members_who_are_merged_between_periods_move_the_whole_as_one() {
        let plan = plan(MONTHLY);
        assert!((0..200).all(|seed| merged_run(&plan, seed, true)));
        // the runs are such that it shows when nothing is carried over
        let shows = (0..200).filter(|seed| !merged_run(&plan, *seed, false)).count();
        assert!(shows > 20, "{shows}");
    }

    #[test]
    fn what_was_used_together_stays_used_when_members_are_parted_or_one_is_erased() {
        let name = |member: u16| member.to_be_bytes().to_vec();
        let mut spent = Spent::new();
        spent.merge([(name(8), name(7)), (name(9), name(7))]);
        spent.put(&name(7), 0, &[90]);
        let mut parted = stored(&spent);
        for member in [7, 8, 9] {
            assert_eq!(parted.left(&name(member), 1, 0, 100), 10, "{member}");
        }
        // once, though all three are one
        parted.merge([(name(8), name(7)), (name(9), name(7))]);
        assert_eq!(parted.left(&name(7), 1, 0, 100), 10);
        parted.put(&name(7), 1, &[10]);
        assert_eq!(stored(&parted).left(&name(9), 2, 0, 100), 0);
        // apart, then one: the sum of both lengths
        let mut apart = Spent::new();
        apart.put(&name(7), 0, &[9]);
        apart.put(&name(8), 0, &[16]);
        assert_eq!(apart.left(&name(7), 1, 0, 100), 91);
        apart.merge([(name(8), name(7))]);
        assert_eq!(apart.left(&name(7), 1, 0, 100), 51);
        // who is erased is named no more, and the others have used what they had
        let mut page = spent.pages(0, 9).remove(0);
        assert!(page.forget_member(&name(7)) && !page.forget_member(&name(7)));
        assert!(!format!("{:?}", minicbor::to_vec(&page).unwrap()).contains("0, 7"));
        let mut read = Spent::new();
        read.add(page);
        assert_eq!([7, 8, 9].map(|member| read.left(&name(member), 1, 0, 100)), [100, 10, 10]);
    }

    #[test]
    fn questions_without_one_period_do_not_stand() {
        let refused = |sql| Periods::of(&plan(sql)).unwrap_err();
        assert_eq!(refused("SELECT count(*) FROM purchases"), StandingError::NoPeriod);
        assert_eq!(
            refused(
                "SELECT department, count(*) FROM purchases WHERE department = 'GROCERY' GROUP BY 1"
            ),
            StandingError::NoPeriod
        );
        assert_eq!(
            refused(
                "SELECT half_year(purchased_on), count(*) FROM purchases GROUP BY 1 HAVING count(*) > 3"
            ),
            StandingError::Selects
        );
        let two = "SELECT half_year(purchased_on), count(*) FROM purchases GROUP BY 1";
        assert_eq!(Periods::of(&plan(two)).unwrap().len(), 2);
    }

    /// The noise of a year's periods is that of the plan: a cell has the same deviation whenever it is closed.
    #[test]
    fn each_period_has_noise_of_its_own() {
        let plan = plan(MONTHLY);
        let (ledger, id) = charged(&plan);
        let periods = Periods::of(&plan).unwrap();
        let facts = ledger.facts(&id).unwrap();
        let mut source = OpendpNoise::from_system_entropy();
        let mut values = Vec::new();
        for period in (0..12).cycle().take(1_440) {
            let noise = NoiseShare::draw(&plan, &mut source).unwrap();
            let figures = vector(&plan, &BTreeMap::new(), period, &mut Spent::new());
            let today = day(2018, 1);
            let closing = Closing { facts, plan: &plan, periods: &periods, period, today };
            let release = PeriodRelease::new(closing, figures, noise).unwrap();
            values.push(release.cells()[0].values[0].value);
        }
        let deviation = plan.summary().aggregates[0].noise_deviation;
        let measured = (values.iter().map(|it| it * it).sum::<f64>() / values.len() as f64).sqrt();
        // 1,440 draws: a deviation of 1.9 %, more than six of which lie between
        assert!((measured / deviation - 1.0).abs() < 0.12, "{measured} {deviation}");
    }
}
