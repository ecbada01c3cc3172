//! A disk that was put back to before a question was read, with the own log coming back entry by entry.

use privacy::alone::{PackMessage, PackQuestion};
use privacy::steps::{LocalCharge, LocalReleased};
use privacy::{
    Attempt, AttemptId, CalendarYear, CleanRoomEntry, DpPlan, Ledger, LocalQuestion, LocalRelease,
    ParticipantId, QueryId, SnapshotId,
};
use protocol::codec;
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::ApplicationEntry;
use protocol::time::Timestamp;

use super::super::super::{
    APPLICATION, Action, Certified, CertifiedApplication, Names, ReadResult,
};
use super::super::ended::tests::{Brand, drawn};
use super::Gated;
use crate::service::{Question, Scope};

const OTHER: &str = "fuel_stop";

fn certified(
    log: BrandId,
    index: u64,
    at: Timestamp,
    entry: &CleanRoomEntry,
) -> CertifiedApplication {
    let entry = ApplicationEntry { application: APPLICATION, body: entry.to_bytes() };
    let entry = codec::encode(&(log, LeafIndex::new(index), at, entry));
    codec::decode("entry", &entry, usize::MAX).unwrap()
}

/// A brand whose question was answered, and its node as it starts on a disk of before the reading. The log has the
/// charge, and then the release.
fn put_back() -> (Brand, Gated) {
    let mut brand = Brand::new();
    let question = Question {
        sql: "SELECT count(*) AS n FROM purchases WHERE quantity > 0".to_owned(),
        scope: Some(Scope::Local),
        pico_rho: Some(5_000_000),
        ..Question::default()
    };
    let plan = brand.room.plan(&question, brand.now).unwrap();
    let (_, actions) = brand.room.query(&question, &plan.plan, brand.now).unwrap();
    brand.carry_out(actions);
    assert_eq!((brand.records(), brand.log.len()), (3, 2));
    let gated = Gated::new(brand.put_back(1));
    (brand, gated)
}

fn has(actions: &[Action], is_it: impl Fn(&Action) -> bool) -> bool {
    actions.iter().any(is_it)
}

const fn is_read(action: &Action) -> bool {
    matches!(action, Action::Read(_))
}

const fn is_append(action: &Action) -> bool {
    matches!(action, Action::Append(_))
}

#[test]
fn nothing_is_read_or_certified_before_the_own_log_is_known() {
    let (brand, mut gated) = put_back();
    let now = brand.now;
    // its charge is back, and not yet that it was answered
    let actions = gated.settle(&brand.log[..1], std::iter::empty(), false, now);
    assert!(actions.is_empty(), "{actions:?}");
    assert!(gated.acting(false).is_none());
    // nor does it act in the turn in which all is back, before it has gone on where it was
    assert!(gated.acting(true).is_none());
    let actions = gated.settle(&brand.log[1..], std::iter::empty(), true, now);
    assert!(!has(&actions, is_read) && !has(&actions, is_append), "{actions:?}");
    assert!(gated.acting(true).is_some());
    // it may find out later than at its start that its disk was put back
    assert!(gated.acting(false).is_none());
    assert!(gated.settle(&[], std::iter::empty(), false, now).is_empty());
    assert!(gated.acting(true).is_none());

    // this is what the gate keeps from being done
    let (brand, mut gated) = put_back();
    let actions = gated.settle(&brand.log[..1], std::iter::empty(), true, brand.now);
    assert!(has(&actions, is_read), "{actions:?}");
}

/// It finds out while it reads: what comes of that waits for the own log, which has a release for that charge.
#[test]
fn a_reading_that_was_begun_before_it_was_known_gives_no_second_noise() {
    let (brand, mut gated) = put_back();
    let now = brand.now;
    let actions = gated.settle(&brand.log[..1], std::iter::empty(), true, now);
    let job = actions.into_iter().find_map(|action| match action {
        Action::Read(job) => Some(job),
        _ => None,
    });
    let job = job.expect("a reading");
    let reading = ReadResult { id: job.id, period: None, drawn: Some(drawn(&job.plan, 100)) };
    assert!(gated.settle(&[], std::iter::empty(), false, now).is_empty());
    assert!(gated.read(reading, false, now).is_empty());
    let actions = gated.settle(&brand.log[1..], std::iter::empty(), true, now);
    // the question has failed, and that is all
    let is_record = |action: &Action| matches!(action, Action::Record(_));
    assert!(actions.len() == 1 && has(&actions, is_record), "{actions:?}");
    let page = gated.shown().queries_page(None, 10, now).unwrap().0;
    assert_eq!(page.iter().map(|view| view.step.as_str()).collect::<Vec<_>>(), ["void"]);
}

/// What another brand answers to its part of a pack: the entries of its log, and its noised values.
fn answer(
    brand: &Brand,
    question: PackQuestion,
) -> ([CertifiedApplication; 2], AttemptId, Vec<u8>) {
    let (log, proposer): (BrandId, ParticipantId) =
        (BrandId::new(OTHER).unwrap(), OTHER.parse().unwrap());
    let analyst = "grocer_one".parse().unwrap();
    let PackQuestion { sql, purpose, rho } = question;
    let asked = LocalQuestion { sql, purpose, analyst, rho };
    let plan = DpPlan::local(brand.room.contract(), proposer, &asked).unwrap();
    let id = AttemptId { proposer, query: QueryId([9; 16]), attempt: Attempt::FIRST };
    let charge = CleanRoomEntry::LocalCharge(LocalCharge {
        id,
        plan: plan.hash(),
        sql: plan.sql_hash(),
        contract: plan.contract_hash(),
        rho: plan.rho(),
        delta: plan.delta(),
        year: CalendarYear(2026),
        analyst,
        snapshot: SnapshotId([1; 32]),
    });
    let charge = certified(log, 0, brand.now, &charge);
    let mut ledger = Ledger::new();
    ledger.enter(&Certified::of(&charge, &Names::of(&[log])).unwrap()).unwrap();
    let paid = ledger.facts(&id).unwrap().local_charge().unwrap();
    let (noise, vector) = drawn(&plan, 0);
    let release = LocalRelease::new(&paid, &plan, vector, noise).unwrap();
    let logged = LocalReleased { id, release: release.hash() };
    let logged = certified(log, 1, brand.now, &CleanRoomEntry::LocalRelease(logged));
    ([charge, logged], id, release.noised())
}

/// Another brand's answer to a pack comes before what its log certifies of it, which is taken note of while the room
/// waits: nothing else will come of that brand, so that it is looked at when the room goes on.
#[test]
fn an_answer_that_came_before_its_certificate_counts_when_the_room_goes_on() {
    let mut brand = Brand::new();
    let question = Question {
        sql: "SELECT brand, count(*) AS n FROM purchases WHERE quantity > 0 GROUP BY brand"
            .to_owned(),
        scope: Some(Scope::Pack),
        pico_rho: Some(5_000_000),
        ..Question::default()
    };
    let plan = brand.room.plan(&question, brand.now).unwrap();
    let (asked, actions) = brand.room.query(&question, &plan.plan, brand.now).unwrap();
    let other = BrandId::new(OTHER).unwrap();
    let message = actions.iter().find_map(|action| match action {
        Action::SendPack(to, bytes) if *to == other => Some(PackMessage::from_bytes(bytes)),
        _ => None,
    });
    let Some(Ok(PackMessage::Ask(query, part))) = message else { panic!("{actions:?}") };
    brand.carry_out(actions);
    let (entries, id, noised) = answer(&brand, part);
    let now = brand.now;
    let mut gated = Gated::new(brand.room);
    gated.settle(&[], std::iter::empty(), true, now);
    let state = |gated: &Gated| {
        let view = gated.shown().query_by_id(&asked.id, now).unwrap();
        view.brands.into_iter().find(|it| it.brand == OTHER).unwrap().state
    };

    let answer = PackMessage::Answer(query, id, noised).to_bytes();
    let actions = gated.acting(true).unwrap().pack_message(other, &answer, now);
    assert!(actions.is_empty(), "{actions:?}");
    assert!(gated.settle(&entries, std::iter::empty(), false, now).is_empty());
    assert_eq!(state(&gated), "waiting");
    let actions = gated.settle(&[], std::iter::empty(), true, now);
    assert!(has(&actions, |action| matches!(action, Action::Record(_))), "{actions:?}");
    assert_eq!(state(&gated), "answered");
}
