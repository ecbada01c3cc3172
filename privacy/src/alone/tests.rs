//! Local questions step by step, with crashes and disks put back in between.

use super::*;
use crate::bounded::Collector;
use crate::mechanism::OpendpNoise;
use crate::testing::alone::{Alone, id};
use crate::testing::{local_question, sample_contract};
use crate::units::CalendarYear;

const MEMBERS: &str = "SELECT department, count(distinct member) AS m FROM purchases \
                       WHERE department IN ('GROCERY', 'OTHER') GROUP BY department";

impl Alone {
    fn ask(&mut self, query: u8, pico_rho: u64) -> Result<(), LocalAskError> {
        self.request(query, (MEMBERS, pico_rho), false, 2026)
    }

    /// Reads what is due.
    fn read(&mut self) {
        for (id, plan) in std::mem::take(&mut self.reads) {
            let noise = NoiseShare::draw(&plan, &mut OpendpNoise::from_system_entropy()).unwrap();
            let mut collector = Collector::new(&plan, plan.participants()[0]);
            for member in 0..200u16 {
                collector.push(Some(&member.to_be_bytes()), 0, &[Some(1)]).unwrap();
            }
            let vector = collector.finish().unwrap();
            let effects = self.room.answered(id, noise, vector, &self.ledger).unwrap();
            self.carry_out(effects);
        }
    }
}

#[test]
fn nothing_is_read_before_the_charge_is_certified_and_nothing_shown_before_the_release_is() {
    let mut brand = Alone::new();
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
    let plan =
        DpPlan::local(&sample_contract(), release.brand(), &local_question(MEMBERS, 4_000_000_000))
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
        let mut brand = Alone::new();
        brand.ask(1, 4_000_000_000).unwrap();
        let every = [Alone::certify as fn(&mut Alone), Alone::read, Alone::certify];
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
    let mut brand = Alone::new();
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
    let mut whole = Alone::new();
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
    let mut brand = Alone::new();
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
                &local_question(MEMBERS, 4_000_000_000)
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
    let mut brand = Alone::new();
    // a local quota of 12e9 holds two of 5e9, certified or not
    brand.ask(1, 5_000_000_000).unwrap();
    brand.ask(2, 5_000_000_000).unwrap();
    let (records, waiting) = (brand.disk.len(), brand.waiting.len());
    assert!(matches!(brand.ask(3, 5_000_000_000), Err(LocalAskError::Budget(_))));
    assert!(matches!(brand.ask(1, 1_000_000_000), Err(LocalAskError::Taken)));
    assert!(matches!(brand.ask(4, 0), Err(LocalAskError::Refused(_))));
    assert_eq!((brand.disk.len(), brand.waiting.len()), (records, waiting));
    let mut many = Alone::new();
    for query in 0..8 {
        many.ask(query, 5_000_000).unwrap();
    }
    assert!(matches!(many.ask(9, 5_000_000), Err(LocalAskError::TooMany)));
}

#[test]
fn another_contract_ends_what_was_not_read() {
    let mut brand = Alone::new();
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
