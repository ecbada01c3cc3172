//! Local questions step by step, with crashes and disks put back in between.

use super::*;
use crate::bounded::Collector;
use crate::ids::Attempt;
use crate::mechanism::OpendpNoise;
use crate::steps::CertifiedEntry;
use crate::testing::{brand, sample_contract};
use crate::units::{CalendarYear, UtcMillis};

struct Logged(Vec<u8>, u64, ParticipantId);
impl CertifiedEntry for Logged {
    fn writer(&self) -> ParticipantId {
        self.2
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

/// A brand with its log and its disk.
struct Brand {
    room: LocalRoom,
    ledger: Ledger,
    disk: Vec<Vec<u8>>,
    entries: Vec<CleanRoomEntry>,
    /// Appended and not certified yet.
    waiting: Vec<CleanRoomEntry>,
    shown: Vec<LocalRelease>,
    failed: Vec<AttemptId>,
    /// Readings that are due.
    reads: Vec<(AttemptId, Arc<DpPlan>)>,
}

const MEMBERS: &str = "SELECT department, count(distinct member) AS m FROM purchases \
                       WHERE department IN ('GROCERY', 'OTHER') GROUP BY department";

impl Brand {
    fn new() -> Self {
        Self {
            room: LocalRoom::new(brand(2), sample_contract()),
            ledger: Ledger::new(),
            disk: Vec::new(),
            entries: Vec::new(),
            waiting: Vec::new(),
            shown: Vec::new(),
            failed: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn request(query: u8, rho: u64) -> LocalRequest {
        LocalRequest {
            query: QueryId([query; 16]),
            question: LocalQuestion {
                sql: MEMBERS.into(),
                purpose: "joint_statistics".parse().unwrap(),
                analyst: "desk".parse().unwrap(),
                rho: PicoRho::new(rho),
            },
            snapshot: SnapshotId([9; 32]),
            analyst_quota: sample_contract().local_quota(),
            at_risk: PicoRho::ZERO,
            stands: false,
        }
    }

    fn ask(&mut self, query: u8, rho: u64) -> Result<(), LocalAskError> {
        let clock = Clock { now: UtcMillis(5), year: CalendarYear(2026) };
        let effects = self.room.ask(Self::request(query, rho), &self.ledger, clock)?;
        self.carry_out(effects);
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<LocalEffect>) {
        for effect in effects {
            match effect {
                LocalEffect::Persist(record) => self.disk.push(record.to_bytes()),
                LocalEffect::Append(entry) => self.waiting.push(entry),
                LocalEffect::Read { id, plan, .. } => self.reads.push((id, plan)),
                LocalEffect::Released(release) => self.shown.push(*release),
                LocalEffect::Failed(id) => self.failed.push(id),
                LocalEffect::ReadPeriod { .. } | LocalEffect::PeriodReleased(_) => {
                    panic!("nothing stands here")
                }
            }
        }
    }

    /// Certifies what waits.
    fn certify(&mut self) {
        for entry in std::mem::take(&mut self.waiting) {
            let index = self.entries.len() as u64;
            let logged = Logged(entry.to_bytes(), index, brand(2));
            self.entries.push(entry);
            let id = self.ledger.enter(&logged).unwrap();
            let effects = self.room.certified(id, &self.ledger);
            self.carry_out(effects);
        }
    }

    /// Reads what is due.
    fn read(&mut self) {
        for (id, plan) in std::mem::take(&mut self.reads) {
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let mut collector = Collector::new(&plan);
            for member in 0..200u16 {
                collector.push(Some(&member.to_be_bytes()), 0, &[Some(1)]).unwrap();
            }
            let vector = collector.finish().unwrap();
            let effects = self.room.answered(id, noise, vector, &self.ledger).unwrap();
            self.carry_out(effects);
        }
    }

    /// Starts again from a disk with so many records, and the whole log.
    fn restart(&mut self, records: usize) {
        self.disk.truncate(records);
        self.room = LocalRoom::restore(brand(2), sample_contract(), &self.disk).unwrap();
        self.ledger = Ledger::new();
        for (index, entry) in (0..).zip(&self.entries) {
            self.ledger.enter(&Logged(entry.to_bytes(), index, brand(2))).unwrap();
        }
        (self.waiting, self.reads) = (Vec::new(), Vec::new());
        let effects = self.room.resume(&self.ledger);
        self.carry_out(effects);
    }
}

fn id(query: u8) -> AttemptId {
    AttemptId { proposer: brand(2), query: QueryId([query; 16]), attempt: Attempt::FIRST }
}

#[test]
fn nothing_is_read_before_the_charge_is_certified_and_nothing_shown_before_the_release_is() {
    let mut brand = Brand::new();
    brand.ask(1, 4_000_000_000).unwrap();
    assert!(brand.reads.is_empty() && brand.disk.len() == 1);
    assert_eq!(brand.room.progress(&id(1), &brand.ledger), Some(LocalProgress::Charging));
    brand.certify();
    assert_eq!(brand.reads.len(), 1);
    brand.read();
    assert!(brand.shown.is_empty() && brand.disk.len() == 2);
    assert_eq!(brand.room.progress(&id(1), &brand.ledger), Some(LocalProgress::Releasing));
    brand.certify();
    assert_eq!(brand.room.progress(&id(1), &brand.ledger), Some(LocalProgress::Released));
    let [release] = &brand.shown[..] else { panic!() };
    assert_eq!(Some(release.hash()), brand.ledger.facts(&id(1)).unwrap().local_release());
    // whoever gets the values finds the same release under the certified hash, and no other
    let charge = brand.ledger.facts(&id(1)).unwrap().local_charge().unwrap();
    let plan = DpPlan::local(
        &sample_contract(),
        release.brand(),
        &Brand::request(1, 4_000_000_000).question,
    )
    .unwrap();
    let again = LocalRelease::again(&charge, &plan, &release.noised(), release.hash()).unwrap();
    assert_eq!(again, *release);
    let mut altered = release.noised();
    altered[7] ^= 1;
    let refused = LocalRelease::again(&charge, &plan, &altered, release.hash());
    assert_eq!(refused, Err(ReleaseError::NotLogged));
    let short = LocalRelease::again(&charge, &plan, &altered[1..], release.hash());
    assert_eq!(short, Err(ReleaseError::Plan));
}

#[test]
fn a_crash_at_any_step_goes_on_to_one_release_on_one_charge() {
    // after so many steps of: certify, read, certify
    for steps in 0..3 {
        let mut brand = Brand::new();
        brand.ask(1, 4_000_000_000).unwrap();
        let every = [Brand::certify as fn(&mut Brand), Brand::read, Brand::certify];
        for (done, step) in every.into_iter().enumerate() {
            if done == steps {
                // a charge or a hash that was on its way is appended again
                let records = brand.disk.len();
                brand.restart(records);
            }
            step(&mut brand);
        }
        assert_eq!(brand.shown.len(), 1, "{steps}");
        let charges =
            brand.entries.iter().filter(|e| matches!(e, CleanRoomEntry::LocalCharge(_))).count();
        assert_eq!((charges, brand.entries.len()), (1, 2), "{steps}");
    }
}

#[test]
fn a_disk_put_back_never_draws_a_second_noise_for_what_was_shown() {
    let mut brand = Brand::new();
    brand.ask(1, 4_000_000_000).unwrap();
    brand.certify();
    brand.read();
    brand.certify();
    assert_eq!(brand.shown.len(), 1);
    for records in [1, 0] {
        brand.restart(records);
        assert!(brand.reads.is_empty() && brand.waiting.is_empty(), "{records}");
    }
    // with all its records it shows the same again
    let first = brand.shown[0].clone();
    let mut whole = Brand::new();
    whole.ask(1, 4_000_000_000).unwrap();
    whole.certify();
    whole.read();
    whole.certify();
    whole.restart(2);
    assert_eq!(whole.shown.len(), 2);
    assert_eq!(whole.shown[0], whole.shown[1]);
    assert_ne!(whole.shown[0].noised(), first.noised(), "noise is drawn for every charge");
}

#[test]
fn a_reading_that_fails_is_final_and_its_charge_stands() {
    let mut brand = Brand::new();
    brand.ask(1, 4_000_000_000).unwrap();
    brand.certify();
    let effects = brand.room.failed(id(1));
    brand.carry_out(effects);
    assert_eq!(brand.failed, [id(1)]);
    let records = brand.disk.len();
    brand.restart(records);
    assert!(brand.reads.is_empty());
    let year = CalendarYear(2026);
    assert_eq!(brand.ledger.local_spent(crate::testing::brand(2), year).get(), 4_000_000_000);
    // the same question is another charge
    assert_eq!(
        brand.room.same(
            DpPlan::local(
                &sample_contract(),
                crate::testing::brand(2),
                &Brand::request(2, 4_000_000_000).question
            )
            .unwrap()
            .hash(),
            SnapshotId([9; 32]),
            &brand.ledger,
        ),
        None
    );
    brand.ask(2, 4_000_000_000).unwrap();
    brand.certify();
    assert_eq!(brand.ledger.local_spent(crate::testing::brand(2), year).get(), 8_000_000_000);
}

#[test]
fn what_is_on_its_way_counts_and_refusals_leave_nothing() {
    let mut brand = Brand::new();
    // a local quota of 12e9 holds two of 5e9, certified or not
    brand.ask(1, 5_000_000_000).unwrap();
    brand.ask(2, 5_000_000_000).unwrap();
    let (records, waiting) = (brand.disk.len(), brand.waiting.len());
    assert!(matches!(brand.ask(3, 5_000_000_000), Err(LocalAskError::Budget(_))));
    assert!(matches!(brand.ask(1, 1_000_000_000), Err(LocalAskError::Taken)));
    assert!(matches!(brand.ask(4, 0), Err(LocalAskError::Refused(_))));
    assert_eq!((brand.disk.len(), brand.waiting.len()), (records, waiting));
    let mut many = Brand::new();
    for query in 0..8 {
        many.ask(query, 1_000).unwrap();
    }
    assert!(matches!(many.ask(9, 1_000), Err(LocalAskError::TooMany)));
}

#[test]
fn another_contract_ends_what_was_not_read() {
    let mut brand = Brand::new();
    brand.ask(1, 4_000_000_000).unwrap();
    let mut raw = crate::testing::raw_contract();
    raw.members_at_most = 2_000_000;
    brand.room.follow(raw.try_into().unwrap());
    brand.certify();
    assert!(brand.reads.is_empty());
    assert_eq!(brand.room.progress(&id(1), &brand.ledger), Some(LocalProgress::Dropped));
}

#[test]
fn messages_survive_their_encoding_and_nothing_else_is_read() {
    let question = PackQuestion {
        sql: MEMBERS.into(),
        purpose: "joint_statistics".parse().unwrap(),
        rho: PicoRho::new(5),
    };
    let query = QueryId([4; 16]);
    for message in [
        PackMessage::Ask(query, question),
        PackMessage::Declined(query, PackDecline::Policy),
        PackMessage::Answer(query, id(3), vec![1; 16]),
    ] {
        let bytes = message.to_bytes();
        assert_eq!(PackMessage::from_bytes(&bytes), Ok(message.clone()));
        assert_eq!(message.query(), query);
        assert!(PackMessage::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(PackMessage::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
