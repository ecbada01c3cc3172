use core::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;
use crate::accounting::total;
use crate::ids::{
    Attempt, ContractHash, MaskingKey, PlanHash, QueryId, ReleaseHash, SetHash, SqlHash, VectorHash,
};
use crate::steps::{
    CertifiedEntry, CleanRoomEntry, Commit, FailedAfterReading, LocalCharge, MissingOpening,
    Participate, Readmit, ReleaseLogged, Reserve,
};
use crate::testing::{brand, sample_contract};

const YEARS: [CalendarYear; 2] = [CalendarYear(2026), CalendarYear(2027)];
const ANALYSTS: [&str; 2] = ["desk", "partner"];
const EXPIRY: u64 = 30;
const OPEN_BY: u64 = 40;

/// An entry as its log certified it.
#[derive(Clone)]
struct Logged {
    writer: usize,
    index: u64,
    time: u64,
    bytes: Vec<u8>,
}

impl CertifiedEntry for Logged {
    fn writer(&self) -> ParticipantId {
        brand(self.writer)
    }
    fn index(&self) -> u64 {
        self.index
    }
    fn time(&self) -> UtcMillis {
        UtcMillis(self.time)
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One thing that happens to an attempt, at one brand or at all of them.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    query: u8,
    proposer: usize,
    writer: usize,
    everyone: bool,
    year: usize,
    analyst: usize,
    rho: u64,
    time: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0_u8..11,
        0_u8..3,
        0_usize..2,
        0_usize..3,
        prop::bool::weighted(0.8),
        0_usize..2,
        0_usize..2,
        prop_oneof![12 => 0_u64..1_000, 1 => Just(u64::MAX)],
        0_u64..60,
    );
    let step =
        step.prop_map(|(kind, query, proposer, writer, everyone, year, analyst, rho, time)| Step {
            kind,
            query,
            proposer,
            writer,
            everyone,
            year,
            analyst,
            rho,
            time,
        });
    prop::collection::vec(step, 1..60)
}

impl Step {
    fn id(&self) -> AttemptId {
        let query = QueryId([self.query; 16]);
        AttemptId { proposer: brand(self.proposer), query, attempt: Attempt::FIRST }
    }

    /// In whose logs it stands. A proposer's own entries may stand in another's too, where they are none.
    fn writers(&self) -> Vec<usize> {
        match (self.kind, self.everyone) {
            (0..=2 | 6, true) => vec![self.proposer],
            (_, true) => vec![0, 1, 2],
            (_, false) => vec![self.writer],
        }
    }

    fn entry(&self, ledger: &Ledger, writer: usize) -> CleanRoomEntry {
        let id = self.id();
        let (rho, year) = (PicoRho::new(self.rho), YEARS[self.year]);
        let analyst: AnalystId = ANALYSTS[self.analyst].parse().unwrap();
        let (plan, sql) = (PlanHash([self.query; 32]), SqlHash([0; 32]));
        let contract = ContractHash([0; 32]);
        match self.kind {
            0 | 1 => CleanRoomEntry::Reserve(Reserve {
                id,
                plan,
                sql,
                contract,
                participants: (0..3).map(brand).collect(),
                rho,
                year,
                analyst,
                // questions do not all take equally long
                expires_at: UtcMillis(EXPIRY + u64::from(self.query)),
                open_by: UtcMillis(OPEN_BY),
            }),
            2 => CleanRoomEntry::LocalCharge(LocalCharge {
                id,
                plan,
                sql,
                contract,
                rho,
                delta: PicoDelta::new(self.rho / 2),
                year,
                analyst,
                snapshot: SnapshotId([1; 32]),
            }),
            3 => CleanRoomEntry::Participate(Participate {
                id,
                plan,
                key: MaskingKey([writer as u8; 32]),
                snapshot: SnapshotId([self.rho as u8; 32]),
            }),
            4 => {
                let set = ledger.facts(&id).and_then(Facts::set);
                let set = set.map_or(SetHash([0; 32]), |set| set.hash());
                CleanRoomEntry::Commit(Commit { id, set, vector: VectorHash([0; 32]) })
            }
            5 => CleanRoomEntry::NotOpened(id),
            6 => CleanRoomEntry::Returned(id),
            7 => CleanRoomEntry::FailedAfterReading(FailedAfterReading { id, rho, year }),
            8 => CleanRoomEntry::Release(ReleaseLogged {
                id,
                set: SetHash([0; 32]),
                release: ReleaseHash([0; 32]),
            }),
            9 => {
                let accused = brand(self.writer);
                CleanRoomEntry::MissingOpening(MissingOpening { id, accused })
            }
            _ => CleanRoomEntry::Readmit(Readmit { id, brand: brand(self.writer) }),
        }
    }
}

/// All that is kept as a sum or in an order is what a look at every attempt says; up to each of these places too.
fn agrees_with_its_attempts(ledger: &Ledger, places: RangeInclusive<u64>) {
    let contract = sample_contract();
    let of = |of: ParticipantId| {
        ledger.attempts().filter(move |(id, _)| id.proposer == of).map(|(_, facts)| facts)
    };
    let reserved = |it: ParticipantId| of(it).filter_map(|it| Some((it.reserve()?, it)));
    for it in (0..3).map(brand) {
        for year in YEARS {
            let booked = |joint: bool| {
                let all = ledger.bookings();
                all.filter(move |at| at.brand == it && at.year == year && at.joint == joint)
            };
            assert_eq!(ledger.joint_spent(it, year), total(booked(true).map(|at| at.rho)));
            assert_eq!(ledger.local_spent(it, year), total(booked(false).map(|at| at.rho)));
            let deltas: u128 = booked(false).map(|at| u128::from(at.delta.get())).sum();
            assert_eq!(ledger.delta_spent(it, year), delta(deltas));
            let mut named = BTreeSet::new();
            for analyst in ANALYSTS.map(|name| name.parse::<AnalystId>().unwrap()) {
                let joint = reserved(it).filter(|(at, _)| at.year == year && at.analyst == analyst);
                let joint: Vec<_> = joint.collect();
                let stands = joint.iter().filter(|(_, facts)| !facts.is_returned());
                let stands = total(stands.map(|(at, _)| at.rho));
                assert_eq!(ledger.analyst_spent(it, analyst, year), stands);
                let local = of(it).filter_map(|facts| facts.local.as_ref());
                let local = local.filter(|at| at.entry.year == year && at.entry.analyst == analyst);
                let local: Vec<PicoRho> = local.map(|at| at.entry.rho).collect();
                let spent = total(local.iter().copied());
                assert_eq!(ledger.local_analyst_spent(it, analyst, year), spent);
                if !joint.is_empty() || !local.is_empty() {
                    named.insert(analyst);
                }
            }
            for after in [None, Some(ANALYSTS[0].parse::<AnalystId>().unwrap())] {
                let all = named.iter().copied().filter(|name| after.is_none_or(|it| *name > it));
                let found: Vec<AnalystId> = ledger.analysts(it, year, after).collect();
                assert_eq!(found, all.collect::<Vec<_>>());
            }
            for proposer in (0..3).map(brand) {
                let failed = of(proposer).filter_map(|facts| facts.failed.get(&it));
                let failed = failed.filter(|at| at.entry.year == year).map(|at| at.entry.rho);
                assert_eq!(ledger.failed_for(it, proposer, year), total(failed));
            }
            for place in places.clone() {
                let one_by_one = total(ledger.joint_until(it, year, place));
                assert_eq!(ledger.joint_up_to(it, year, place), one_by_one, "{place}");
                let one_by_one = ledger.local_until(it, year, place);
                assert_eq!(ledger.local_up_to(it, year, place), one_by_one, "{place}");
            }
        }
        for time in [0, EXPIRY, EXPIRY + 1, OPEN_BY, OPEN_BY + 1].map(UtcMillis) {
            let open = of(it).filter(|facts| facts.is_open(time)).count();
            assert_eq!(ledger.open_reservations(it, time), open);
            let may_read = |facts: &Facts| facts.reserve().is_some_and(|at| time <= at.expires_at);
            let waiting = ledger.not_over(it, time).filter(|(_, facts)| may_read(facts)).count();
            assert_eq!(waiting, of(it).filter(|facts| may_read(facts)).count());
        }
        let suspended = ledger.suspensions(&contract, it).find(|at| at.until.is_none());
        assert_eq!(ledger.suspended(&contract, it), suspended.map(|at| at.id));
    }
    let mut sets: Vec<_> = ledger
        .attempts()
        .filter_map(|(_, facts)| Some((facts.reserve()?.expires_at, facts.set()?)))
        .collect();
    sets.sort_by_key(|(expires_at, _)| *expires_at);
    let members = sets.iter().flat_map(|(_, set)| set.members());
    let last: BTreeMap<_, _> = members.map(|(it, member)| (*it, member.snapshot)).collect();
    assert_eq!(ledger.snapshots().collect::<BTreeMap<_, _>>(), last);
    let mut years = BTreeSet::new();
    for (_, facts) in ledger.attempts() {
        years.extend(facts.reserve().map(|at| at.year));
        years.extend(facts.local.as_ref().map(|at| at.entry.year));
        years.extend(facts.failures().map(|(_, year)| year));
    }
    assert_eq!(ledger.years().collect::<BTreeSet<_>>(), years);
    for year in years {
        let mut brands = BTreeSet::new();
        for (id, facts) in ledger.attempts() {
            let reserved = facts.reserve().map(|at| at.year);
            let local = facts.local.as_ref().map(|at| at.entry.year);
            brands.extend([reserved, local].contains(&Some(year)).then_some(id.proposer));
            let failed = facts.failed.iter().filter(|(_, at)| at.entry.year == year);
            brands.extend(failed.map(|(writer, _)| *writer));
        }
        assert_eq!(ledger.brands(year).collect::<BTreeSet<_>>(), brands);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is reserved, charged, committed, renounced, returned, booked as failed, released, complained of and
    /// readmitted, in whatever order, in two years, with costs that no 64 bits hold, in logs that may hold it and in
    /// others: after each entry everything that is kept is what the entries add up to. And so it is in a ledger that
    /// is made anew from the same logs, one after the other.
    #[test]
    fn running_sums_are_what_the_entries_add_up_to(steps in steps()) {
        let mut ledger = Ledger::new();
        let mut logged: Vec<Logged> = Vec::new();
        for step in &steps {
            for writer in step.writers() {
                let index = logged.len() as u64;
                let bytes = step.entry(&ledger, writer).to_bytes();
                let entry = Logged { writer, index, time: step.time, bytes };
                // one that contradicts what is there is refused, and changes nothing
                let _ = ledger.enter(&entry);
                logged.push(entry);
            }
            let last = logged.len() as u64;
            agrees_with_its_attempts(&ledger, last.saturating_sub(6)..=last);
        }
        let mut restored = Ledger::new();
        logged.sort_by_key(|entry| entry.writer);
        for entry in &logged {
            let _ = restored.enter(entry);
            // again, it is no news
            let _ = restored.enter(entry);
        }
        agrees_with_its_attempts(&ledger, 0..=logged.len() as u64);
        agrees_with_its_attempts(&restored, 0..=logged.len() as u64);
        for of in (0..3).map(brand) {
            for year in YEARS {
                prop_assert_eq!(restored.joint_spent(of, year), ledger.joint_spent(of, year));
                prop_assert_eq!(restored.local_spent(of, year), ledger.local_spent(of, year));
                prop_assert_eq!(restored.delta_spent(of, year), ledger.delta_spent(of, year));
            }
        }
    }
}

/// A brand that does not open is suspended, and readmitted, by what is kept of accusations alone.
#[test]
fn a_suspension_is_found_without_a_look_at_every_attempt() {
    let mut ledger = Ledger::new();
    let mut index = 0;
    let mut all = |ledger: &mut Ledger, kind: u8, time: u64| {
        let step = Step {
            kind,
            query: 1,
            proposer: 0,
            writer: 2,
            everyone: true,
            year: 0,
            analyst: 0,
            rho: 5,
            time,
        };
        for writer in step.writers() {
            let bytes = step.entry(ledger, writer).to_bytes();
            // nobody accuses or readmits itself
            let _ = ledger.enter(&Logged { writer, index, time, bytes });
            index += 1;
        }
    };
    for (kind, time) in [(0, 1), (3, 2), (4, 3)] {
        all(&mut ledger, kind, time);
    }
    let contract = sample_contract();
    assert_eq!(ledger.suspended(&contract, brand(2)), None);
    assert_eq!(ledger.sums.disputed().count(), 0);
    all(&mut ledger, 9, OPEN_BY + 1);
    assert_eq!(ledger.sums.disputed().count(), 1);
    let suspended = ledger.suspended(&contract, brand(2));
    assert!(suspended.is_some());
    assert_eq!(suspended, ledger.suspensions(&contract, brand(2)).next().map(|it| it.id));
    agrees_with_its_attempts(&ledger, 0..=index);
}
