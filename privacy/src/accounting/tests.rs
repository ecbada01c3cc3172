use super::*;
use crate::ids::{
    Attempt, MaskingKey, PlanHash, QueryId, ReleaseHash, SetHash, SnapshotId, SqlHash,
};
use crate::masked_sum::MaskedVector;
use crate::steps::{Commit, FailedAfterReading, Opening, Participate, ReleaseLogged};
use crate::testing::{brand, sample_contract};

const YEAR: CalendarYear = CalendarYear(2026);
const EXPIRY: u64 = 1_000_000;
/// A third of the sample's joint quota of 18e9.
const RHO: PicoRho = PicoRho::new(6_000_000_000);

/// An entry as its log certified it.
#[derive(Clone)]
struct Logged {
    writer: usize,
    index: u64,
    time: u64,
    entry: Result<CleanRoomEntry, Vec<u8>>,
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

/// Logs of three brands.
#[derive(Default)]
struct Logs(Vec<Logged>);

impl Logs {
    fn add(&mut self, writer: usize, time: u64, entry: CleanRoomEntry) -> u64 {
        let bytes = entry.to_bytes();
        let index = self.0.iter().filter(|logged| logged.writer == writer).count() as u64;
        self.0.push(Logged { writer, index, time, entry: Ok(entry), bytes });
        index
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new();
        for logged in &self.0 {
            ledger.enter(logged).unwrap();
        }
        ledger
    }

    fn rules(&self, openings: &[(ParticipantId, Opening)]) -> Vec<(ParticipantId, Rule)> {
        let kept = Kept { openings: openings.to_vec(), ..Kept::default() };
        let findings = |logs: &[Logged]| {
            let contract = sample_contract();
            let under = Some(contract.hash());
            let entries = logs.iter().map(|entry| AuditEntry { entry, year: YEAR, under });
            audit(&[InForce::always(&contract)], entries, &kept).1
        };
        let forward = findings(&self.0);
        // Which log is read first does not matter; within a log the order stays.
        let mut by_writer = self.0.clone();
        by_writer.sort_by_key(|logged| core::cmp::Reverse(logged.writer));
        assert_eq!(findings(&by_writer), forward);
        forward.iter().map(|finding| (finding.log, finding.rule)).collect()
    }

    fn reserve(&mut self, query: u8, rho: PicoRho) -> AttemptId {
        let id = id(query);
        self.add(0, 10, CleanRoomEntry::Reserve(reserve(query, rho)));
        for writer in 0..3 {
            self.add(writer, 20, CleanRoomEntry::Participate(participate(query, writer)));
        }
        id
    }

    fn commit(&mut self, query: u8, writer: usize, time: u64) {
        let facts = self.ledger().facts(&id(query)).unwrap().clone();
        let set = facts.set().unwrap().hash();
        let vector = vector(writer).commitment(brand(writer), set, &[writer as u8; 32]);
        self.add(writer, time, CleanRoomEntry::Commit(Commit { id: id(query), set, vector }));
    }

    fn set(&self, query: u8) -> SetHash {
        self.ledger().facts(&id(query)).unwrap().set().unwrap().hash()
    }
}

fn id(query: u8) -> AttemptId {
    AttemptId { proposer: brand(0), query: QueryId([query; 16]), attempt: Attempt::FIRST }
}

fn reserve(query: u8, rho: PicoRho) -> Reserve {
    Reserve {
        id: id(query),
        plan: PlanHash([query; 32]),
        sql: SqlHash([0; 32]),
        contract: sample_contract().hash(),
        participants: (0..3).map(brand).collect(),
        rho,
        year: YEAR,
        analyst: "desk".parse().unwrap(),
        expires_at: UtcMillis(EXPIRY),
        open_by: UtcMillis(2 * EXPIRY),
    }
}

fn participate(query: u8, writer: usize) -> Participate {
    Participate {
        id: id(query),
        plan: PlanHash([query; 32]),
        key: MaskingKey([writer as u8; 32]),
        snapshot: SnapshotId([0; 32]),
    }
}

fn vector(writer: usize) -> MaskedVector {
    MaskedVector::from_bytes(&[writer as u8; 16]).unwrap()
}

fn opening(query: u8, writer: usize, set: SetHash) -> (ParticipantId, Opening) {
    let nonce = [writer as u8; 32];
    let vector = vector(writer).to_bytes();
    (brand(writer), Opening { id: id(query), set, vector, nonce })
}

fn release(query: u8, set: SetHash, hash: u8) -> CleanRoomEntry {
    CleanRoomEntry::Release(ReleaseLogged { id: id(query), set, release: ReleaseHash([hash; 32]) })
}

/// A complete, sound query.
fn sound() -> (Logs, Vec<(ParticipantId, Opening)>) {
    let mut logs = Logs::default();
    logs.reserve(1, RHO);
    for writer in 0..3 {
        logs.commit(1, writer, 30);
    }
    let set = logs.set(1);
    for writer in 0..3 {
        logs.add(writer, 40, release(1, set, 9));
    }
    let openings = (0..3).map(|writer| opening(1, writer, set)).collect();
    (logs, openings)
}

#[test]
fn a_sound_query_gives_no_finding_and_one_charge() {
    let (logs, openings) = sound();
    assert_eq!(logs.rules(&openings), []);
    let ledger = logs.ledger();
    assert_eq!(ledger.joint_spent(brand(0), YEAR), RHO);
    assert_eq!(ledger.joint_spent(brand(1), YEAR), PicoRho::ZERO);
    assert_eq!(ledger.joint_spent(brand(0), CalendarYear(2027)), PicoRho::ZERO);
    assert_eq!(ledger.open_reservations(brand(0), UtcMillis(50)), 0);
    assert!(ledger.facts(&id(1)).unwrap().charge().is_some());
}

#[test]
fn the_same_entry_twice_is_charged_once() {
    let (mut logs, openings) = sound();
    logs.add(0, 50, CleanRoomEntry::Reserve(reserve(1, RHO)));
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), RHO);
    assert_eq!(logs.rules(&openings), []);
}

#[test]
fn charges_above_the_quota_are_found_where_they_stand() {
    let mut logs = Logs::default();
    for query in 1..=4 {
        logs.reserve(query, RHO);
    }
    assert_eq!(logs.rules(&[]), [(brand(0), Rule::OverQuota)]);
    let ledger = logs.ledger();
    let contract = sample_contract();
    assert!((1..=3).all(|query| ledger.was_within_quota(&contract, &id(query))));
    assert!(!ledger.was_within_quota(&contract, &id(4)));
    let huge = Logged {
        writer: 0,
        index: 99,
        time: 10,
        bytes: CleanRoomEntry::Reserve(reserve(5, PicoRho::new(u64::MAX))).to_bytes(),
        entry: Err(Vec::new()),
    };
    let mut ledger = ledger;
    ledger.enter(&huge).unwrap();
    assert_eq!(ledger.joint_spent(brand(0), YEAR), PicoRho::new(u64::MAX));
}

#[test]
fn a_returned_charge_makes_room_only_while_the_return_is_sound() {
    let mut logs = Logs::default();
    logs.reserve(1, RHO);
    logs.commit(1, 0, 30);
    logs.add(0, EXPIRY + 1, CleanRoomEntry::NotOpened(id(1)));
    logs.add(0, EXPIRY + 2, CleanRoomEntry::Returned(id(1)));
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), PicoRho::ZERO);
    assert_eq!(logs.rules(&[]), []);
    // A hash turns up that nobody knew of: the charge is back, and the return a finding.
    logs.commit(1, 1, 30);
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), RHO);
    assert_eq!(logs.rules(&[]), [(brand(0), Rule::ReturnTooEarly)]);
    // Its writer renounces as well.
    logs.add(1, EXPIRY + 9, CleanRoomEntry::NotOpened(id(1)));
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), PicoRho::ZERO);
}

#[test]
fn a_return_before_the_expiry_or_after_a_release_returns_nothing() {
    let mut early = Logs::default();
    early.reserve(1, RHO);
    early.add(0, EXPIRY, CleanRoomEntry::Returned(id(1)));
    assert_eq!(early.ledger().joint_spent(brand(0), YEAR), RHO);
    assert_eq!(early.rules(&[]), [(brand(0), Rule::ReturnTooEarly)]);
    let (mut late, _) = sound();
    for writer in 0..3 {
        late.add(writer, EXPIRY + 1, CleanRoomEntry::NotOpened(id(1)));
    }
    late.add(0, EXPIRY + 2, CleanRoomEntry::Returned(id(1)));
    assert_eq!(late.ledger().joint_spent(brand(0), YEAR), RHO);
    assert!(late.rules(&[]).contains(&(brand(0), Rule::ReturnTooEarly)));
    assert!(late.rules(&[]).contains(&(brand(2), Rule::OpenedAfterNotOpened)));
}

/// A brand whose disk was put back may say of an opening that it was never made, where it reached nobody who can be asked:
/// as long as the charge stands, that is no finding. It is where the quota came back.
#[test]
fn an_opening_beside_not_opened_is_found_where_no_charge_stands() {
    let (mut logs, openings) = sound();
    logs.0.retain(|logged| !matches!(logged.entry, Ok(CleanRoomEntry::Release(_))));
    logs.add(2, EXPIRY + 1, CleanRoomEntry::NotOpened(id(1)));
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), RHO);
    assert_eq!(logs.rules(&openings), []);
    for writer in 0..2 {
        logs.add(writer, EXPIRY + 1, CleanRoomEntry::NotOpened(id(1)));
    }
    logs.add(0, EXPIRY + 2, CleanRoomEntry::Returned(id(1)));
    assert_eq!(logs.ledger().joint_spent(brand(0), YEAR), PicoRho::ZERO);
    let found = |writer| (brand(writer), Rule::OpenedAfterNotOpened);
    assert_eq!(logs.rules(&openings), [found(0), found(1), found(2)]);
}

#[test]
fn a_hash_after_the_expiry_completes_no_charge() {
    let mut logs = Logs::default();
    logs.reserve(1, RHO);
    for (writer, time) in [(0, 30), (1, 30), (2, EXPIRY + 1)] {
        logs.commit(1, writer, time);
    }
    assert!(logs.ledger().facts(&id(1)).unwrap().charge().is_none());
    let set = logs.set(1);
    logs.add(0, EXPIRY + 5, release(1, set, 9));
    assert_eq!(logs.rules(&[]), [(brand(0), Rule::ReleaseWithoutCharge)]);
}

#[test]
fn a_reservation_for_another_plan_or_after_the_expiry_fixes_no_set() {
    let set_with = |time: u64, plan: u8| {
        let mut logs = Logs::default();
        logs.add(0, 10, CleanRoomEntry::Reserve(reserve(1, RHO)));
        for writer in 0..2 {
            logs.add(writer, 20, CleanRoomEntry::Participate(participate(1, writer)));
        }
        let last = Participate { plan: PlanHash([plan; 32]), ..participate(1, 2) };
        logs.add(2, time, CleanRoomEntry::Participate(last));
        logs.ledger().facts(&id(1)).unwrap().set()
    };
    assert!(set_with(EXPIRY, 1).is_some());
    assert_eq!(set_with(EXPIRY + 1, 1), None);
    assert_eq!(set_with(20, 2), None);
}

#[test]
fn each_breach_has_its_finding() {
    let (mut logs, openings) = sound();
    let set = logs.set(1);
    logs.add(1, 60, release(1, set, 8));
    assert_eq!(logs.rules(&openings), [(brand(1), Rule::Contradiction)]);

    let (mut logs, openings) = sound();
    logs.0.retain(|logged| {
        !(logged.writer == 2 && matches!(logged.entry, Ok(CleanRoomEntry::Release(_))))
    });
    logs.add(2, 60, release(1, set, 8));
    assert_eq!(logs.rules(&openings), [(brand(2), Rule::ReleasesDiffer)]);

    let (mut logs, openings) = sound();
    let second = Commit { id: id(1), set, vector: crate::ids::VectorHash([0; 32]) };
    logs.add(1, 60, CleanRoomEntry::Commit(second));
    assert_eq!(logs.rules(&openings), [(brand(1), Rule::SecondVector)]);

    let (logs, mut openings) = sound();
    openings[2].1.vector[0] ^= 1;
    assert_eq!(logs.rules(&openings), [(brand(2), Rule::OpeningMismatch)]);

    let (mut logs, _) = sound();
    logs.add(1, 60, CleanRoomEntry::Reserve(reserve(1, RHO)));
    assert_eq!(logs.rules(&[]), [(brand(1), Rule::Contradiction)]);

    let (mut logs, _) = sound();
    let mut other = reserve(2, RHO);
    other.year = CalendarYear(2027);
    other.contract = crate::ids::ContractHash([0; 32]);
    logs.add(0, 60, CleanRoomEntry::Reserve(other));
    assert_eq!(logs.rules(&[]), [(brand(0), Rule::WrongYear), (brand(0), Rule::WrongContract)]);

    let (mut logs, _) = sound();
    let bytes = vec![1, 2, 3];
    logs.0.push(Logged { writer: 2, index: 77, time: 1, entry: Err(bytes.clone()), bytes });
    assert_eq!(logs.rules(&[]), [(brand(2), Rule::Unreadable)]);
}

#[test]
fn a_hash_before_its_charge_is_found() {
    let (sound_logs, _) = sound();
    let set = sound_logs.set(1);
    let mut logs = Logs::default();
    let vector = vector(1).commitment(brand(1), set, &[1; 32]);
    logs.add(1, 5, CleanRoomEntry::Commit(Commit { id: id(1), set, vector }));
    logs.add(0, 500_000, CleanRoomEntry::Reserve(reserve(1, RHO)));
    for writer in 0..3 {
        logs.add(writer, 500_000, CleanRoomEntry::Participate(participate(1, writer)));
    }
    assert_eq!(logs.rules(&[]), [(brand(1), Rule::CommitBeforeCharge)]);
}

#[test]
fn analysts_share_a_brands_quota() {
    let mut logs = Logs::default();
    logs.reserve(1, RHO);
    let ledger = logs.ledger();
    let contract = sample_contract();
    let admit = |asked: u64, quota: u64| {
        let reserve = reserve(2, PicoRho::new(asked));
        ledger.admit(&contract, &reserve, PicoRho::new(quota), &[], UtcMillis(50))
    };
    assert_eq!(admit(1_000_000_000, 7_000_000_000), Ok(()));
    let left = PicoRho::new(1_000_000_000);
    let asked = PicoRho::new(1_000_000_001);
    let analyst = "desk".parse().unwrap();
    let refused = Err(OverBudget::Analyst { analyst, year: YEAR, left, asked });
    assert_eq!(admit(1_000_000_001, 7_000_000_000), refused);
    let left = PicoRho::new(12_000_000_000);
    let asked = PicoRho::new(12_000_000_001);
    let refused = Err(OverBudget::Brand { brand: brand(0), year: YEAR, left, asked });
    assert_eq!(admit(12_000_000_001, u64::MAX), refused);
    assert_eq!(admit(12_000_000_000, u64::MAX), Ok(()));
}

#[test]
fn what_failed_after_reading_is_on_the_local_account() {
    let mut logs = Logs::default();
    logs.reserve(1, RHO);
    let failed = FailedAfterReading { id: id(1), rho: RHO, year: YEAR };
    logs.add(2, 40, CleanRoomEntry::FailedAfterReading(failed));
    assert_eq!(logs.ledger().local_spent(brand(2), YEAR), RHO);
    assert_eq!(logs.ledger().local_spent(brand(2), CalendarYear(2025)), PicoRho::ZERO);
    assert_eq!(logs.ledger().local_spent(brand(1), YEAR), PicoRho::ZERO);
    assert_eq!(logs.rules(&[]), []);
    // The local quota is 12e9.
    for query in 2..=3 {
        logs.reserve(query, RHO);
        let failed = FailedAfterReading { id: id(query), rho: RHO, year: YEAR };
        logs.add(2, 40, CleanRoomEntry::FailedAfterReading(failed));
    }
    assert_eq!(logs.rules(&[]), [(brand(2), Rule::OverLocalQuota)]);
}
