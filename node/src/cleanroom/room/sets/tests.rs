//! Sets that an analyst chooses, at a brand alone with a log that certifies at once.

use privacy::ids::VectorHash;
use privacy::steps::{CleanRoomEntry, Commit, DeclineReason, MissingOpening, Participate, Readmit};
use privacy::{Attempt, AttemptId, MaskingSecret, Message, ParticipantId, SnapshotId};
use protocol::codec;
use protocol::ids::{BrandId, LeafIndex};
use protocol::log::block::ApplicationEntry;
use protocol::time::Milliseconds;

use super::super::super::policy::PolicyFile;
use super::super::super::{APPLICATION, Action, CertifiedApplication};
use super::super::ended::tests::Brand;
use super::super::kept::tests::proposed;
use crate::service::{Question, Scope, ServiceError};

const FOUR: [&str; 4] = ["fresh_counter", "fuel_stop", "grocer_one", "grocer_two"];

fn question(number: u32, with: Option<&[&str]>) -> Question {
    Question {
        sql: format!("SELECT count(*) AS n FROM purchases WHERE quantity > {number}"),
        scope: Some(Scope::Joint),
        pico_rho: Some(5_000_000),
        participants: with.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        ..Question::default()
    }
}

fn refused(brand: &Brand, question: &Question) -> ServiceError {
    brand.room.plan(question, brand.now).unwrap_err()
}

fn ask(brand: &mut Brand, question: &Question) {
    let plan = brand.room.plan(question, brand.now).unwrap();
    let (view, actions) = brand.room.query(question, &plan.plan, brand.now).unwrap();
    assert_eq!(view.step, "reserving");
    brand.carry_out(actions);
}

/// The sample's contract is of five brands, of which three may answer; the policy has four, written out.
fn agreed(brand: &mut Brand) {
    let file: PolicyFile = toml::from_str("format = 0\n[joint]\nminimum_participants = 4").unwrap();
    brand.room.set_policy(Some(file)).unwrap();
}

/// Every log is certified past the expiry of what is open, without a hash: its cost is back.
fn let_expire(brand: &mut Brand) {
    brand.now = brand.now.plus(Milliseconds::from_seconds(1_000));
    for other in alliance_config::sample::BRANDS.map(|other| other.id) {
        let (log, now) = (BrandId::new(other).unwrap(), brand.now);
        let actions = brand.room.head(log, now, now);
        brand.carry_out(actions);
    }
    let actions = brand.room.tick(brand.now);
    brand.carry_out(actions);
}

#[test]
fn a_set_is_chosen_where_the_policy_says_from_how_many_brands_on() {
    let mut brand = Brand::new();
    let four = question(1, Some(&FOUR));
    let entries = brand.log.len();
    assert_eq!(refused(&brand, &four).code, "against_policy");
    agreed(&mut brand);
    let plan = brand.room.plan(&four, brand.now).unwrap();
    assert_eq!(plan.participants, FOUR);
    let told = plan.warnings.iter().any(|words| words.en.starts_with("Not asked: health_home."));
    assert!(told, "{:?}", plan.warnings);
    // the plan's hash has the set: what was shown for others is not asked of these
    let all = brand.room.plan(&question(1, None), brand.now).unwrap();
    assert_ne!(all.plan, plan.plan);
    assert_eq!(all.participants.len(), 5);
    let other = brand.room.query(&four, &all.plan, brand.now).map(drop).unwrap_err();
    assert_eq!((other.code, brand.log.len()), ("plan_changed", entries));
    // naming everyone is the same question as naming nobody, in any order
    let everyone: Vec<&str> = FOUR.iter().rev().copied().chain(["health_home"]).collect();
    let named = brand.room.plan(&question(1, Some(&everyone[..])), brand.now).unwrap();
    assert_eq!(named.plan, all.plan);
}

/// Before anything is asked, as all that does not hang on data.
#[test]
fn what_the_own_policy_does_not_allow_is_refused_when_it_is_planned() {
    let mut brand = Brand::new();
    for (text, scope) in [
        ("format = 0\n[joint]\ndatasets = []", Scope::Joint),
        ("format = 0\n[joint]\nmost_pico_rho = 4999999", Scope::Joint),
        ("format = 0\n[local]\npurposes = []", Scope::Local),
        ("format = 0\n[local]\ndatasets = []", Scope::Local),
    ] {
        let question = Question { scope: Some(scope), ..question(1, None) };
        assert!(brand.room.plan(&question, brand.now).is_ok());
        let file: PolicyFile = toml::from_str(text).unwrap();
        brand.room.set_policy(Some(file)).unwrap();
        assert_eq!(refused(&brand, &question).code, "against_policy", "{text}");
        brand.room.set_policy(None).unwrap();
    }
    assert_eq!((brand.log.len(), brand.records()), (0, 0));
}

#[test]
fn a_set_names_brands_of_the_contract_this_one_among_them_for_a_joint_question() {
    let mut brand = Brand::new();
    agreed(&mut brand);
    let code = |with: &[&str]| refused(&brand, &question(1, Some(with))).code;
    assert_eq!(code(&["grocer_one", "grocer_two", "nobody", "fuel_stop"]), "participants");
    assert_eq!(code(&["fresh_counter", "fuel_stop", "grocer_two", "health_home"]), "participants");
    assert_eq!(code(&["grocer_one", "grocer_one", "grocer_two"]), "participants");
    assert_eq!(code(&[]), "participants");
    for (scope, sql) in [
        (Scope::Local, "SELECT count(*) AS n FROM purchases"),
        (Scope::Pack, "SELECT brand, count(*) AS n FROM purchases GROUP BY brand"),
    ] {
        let set = question(1, Some(&FOUR));
        let set = Question { sql: sql.to_owned(), scope: Some(scope), ..set };
        assert_eq!(refused(&brand, &set).code, "no_set");
    }
}

/// In whatever words the second question is asked: the difference would be the total of the brand that was left out.
#[test]
fn sets_that_differ_by_fewer_than_three_brands_are_not_asked_in_one_year() {
    let mut brand = Brand::new();
    agreed(&mut brand);
    let all = brand.room.plan(&question(2, None), brand.now).unwrap().plan;
    ask(&mut brand, &question(1, Some(&FOUR)));
    let entries = brand.log.len();
    for number in [1, 2] {
        let apart = refused(&brand, &question(number, None));
        assert_eq!(apart.code, "set_tells_apart");
        assert!(apart.message.contains(": health_home /"), "{}", apart.message);
        let others = ["fresh_counter", "fuel_stop", "grocer_one", "health_home"];
        assert_eq!(refused(&brand, &question(number, Some(&others))).code, "set_tells_apart");
    }
    let asked = brand.room.query(&question(2, None), &all, brand.now).map(drop).unwrap_err();
    assert_eq!((asked.code, brand.log.len()), ("set_tells_apart", entries));
    // the same brands are asked anything
    assert!(brand.room.plan(&question(2, Some(&FOUR)), brand.now).is_ok());
    // what came to nothing is nothing to subtract from
    let_expire(&mut brand);
    assert!(brand.room.plan(&question(2, None), brand.now).is_ok());
}

#[test]
fn every_brand_holds_the_rule_by_itself() {
    let mut brand = Brand::new();
    let all = brand.room.contract().participants().to_vec();
    let four: Vec<ParticipantId> = FOUR.iter().map(|name| name.parse().unwrap()).collect();
    let sql = "SELECT count(*) AS n FROM purchases WHERE quantity > 1";
    let said = |actions: &[Action]| match actions {
        [Action::Send(_, message)] => Some(Message::from_bytes(message).unwrap()),
        _ => None,
    };
    // its policy does not say that brands may be left out
    let (id, actions) = proposed(&mut brand, 0, &four, sql);
    assert_eq!(said(&actions), Some(Message::Declined(id, DeclineReason::Policy)));
    // reserved as it is, it comes to nothing, and keeps nobody from asking all
    assert!(brand.room.plan(&question(1, None), brand.now).is_ok());
    // where it does, it takes part; what is asked of four may be answered, so that all are not asked in other words
    let mut brand = Brand::new();
    agreed(&mut brand);
    let (_, actions) = proposed(&mut brand, 0, &four, sql);
    assert!(actions.iter().any(|action| matches!(action, Action::Append(_))), "{actions:?}");
    let other = "SELECT sum(amount_fen) AS spent FROM purchases";
    let (id, actions) = proposed(&mut brand, 1, &all, other);
    assert_eq!(said(&actions), Some(Message::Declined(id, DeclineReason::Policy)));
    assert_eq!(refused(&brand, &question(1, None)).code, "set_tells_apart");
}

/// Two questions whose sets have nobody but this brand in common: no other brand would see what they tell together.
#[test]
fn own_questions_count_from_the_moment_they_are_asked() {
    let mut brand = Brand::new();
    let file: PolicyFile = toml::from_str("format = 0\n[joint]\nminimum_participants = 3").unwrap();
    brand.room.set_policy(Some(file)).unwrap();
    let first = question(1, Some(&["fresh_counter", "fuel_stop", "grocer_one"]));
    let second = question(2, Some(&["grocer_one", "grocer_two", "health_home"]));
    let shown = brand.room.plan(&second, brand.now).unwrap().plan;
    let plan = brand.room.plan(&first, brand.now).unwrap().plan;
    let (view, actions) = brand.room.query(&first, &plan, brand.now).unwrap();
    assert!(view.newly_asked);
    // on its way to the log, it is in none yet
    assert!(actions.iter().any(|action| matches!(action, Action::Append(_))), "{actions:?}");
    assert!(brand.log.is_empty());
    assert_eq!(refused(&brand, &second).code, "set_tells_apart");
    let asked = brand.room.query(&second, &shown, brand.now).map(drop).unwrap_err();
    assert_eq!(asked.code, "set_tells_apart");
    // nor is it taken part in where another brand asks such a thing
    let all = brand.room.contract().participants().to_vec();
    let sql = "SELECT count(*) AS n FROM purchases WHERE quantity > 3";
    let (id, actions) = proposed(&mut brand, 0, &all, sql);
    let [Action::Send(_, message)] = actions.as_slice() else { panic!("{actions:?}") };
    let declined = Message::Declined(id, DeclineReason::Policy);
    assert_eq!(Message::from_bytes(message).unwrap(), declined);
    // one that never came into the log comes to nothing
    brand.now = brand.now.plus(Milliseconds::from_seconds(1_000));
    assert!(brand.room.plan(&second, brand.now).is_ok());
}

/// An entry of another brand's log is certified now.
fn certified(brand: &mut Brand, writer: &str, entry: &CleanRoomEntry) {
    let entry = ApplicationEntry { application: APPLICATION, body: entry.to_bytes() };
    let place = (BrandId::new(writer).unwrap(), LeafIndex::new(brand.now.unix_ms()));
    let entry = codec::encode(&(place.0, place.1, brand.now, entry));
    let entry: CertifiedApplication = codec::decode("entry", &entry, usize::MAX).unwrap();
    let actions = brand.room.certified(&entry, brand.now);
    brand.carry_out(actions);
}

const OTHERS: [&str; 4] = ["fresh_counter", "fuel_stop", "grocer_two", "health_home"];

/// A question to all is charged, and two brands say that one of them did not open.
fn suspended(brand: &mut Brand, silent: &str) -> AttemptId {
    let asked = question(1, None);
    let plan = brand.room.plan(&asked, brand.now).unwrap();
    let (view, actions) = brand.room.query(&asked, &plan.plan, brand.now).unwrap();
    brand.carry_out(actions);
    let query = view.id.parse().unwrap();
    let id = AttemptId { proposer: brand.room.me, query, attempt: Attempt::FIRST };
    let plan = plan.plan.parse().unwrap();
    for (other, number) in OTHERS.into_iter().zip(201..) {
        let key = MaskingSecret::from_bytes([number; 32]).public_key();
        let taken = Participate { id, plan, key, snapshot: SnapshotId([number; 32]) };
        certified(brand, other, &CleanRoomEntry::Participate(taken));
    }
    let set = brand.room.inner.ledger().facts(&id).unwrap().set().unwrap().hash();
    for (other, number) in OTHERS.into_iter().zip(201..) {
        let hash = Commit { id, set, vector: VectorHash([number; 32]) };
        certified(brand, other, &CleanRoomEntry::Commit(hash));
    }
    assert!(brand.room.inner.ledger().facts(&id).unwrap().charge().is_some());
    // long past the last instant for openings
    brand.now = brand.now.plus(Milliseconds::from_seconds(1_000));
    let accused = silent.parse().unwrap();
    let evidence = CleanRoomEntry::MissingOpening(MissingOpening { id, accused });
    for other in OTHERS.into_iter().filter(|other| *other != silent).take(2) {
        certified(brand, other, &evidence);
    }
    id
}

/// While a brand is suspended a question to all others stands beside one to all: nobody chose to leave it out. Whoever
/// chooses to leave out another, or leaves it out when it is back, is refused.
#[test]
fn a_suspended_brand_counts_as_asked_and_one_that_is_back_does_not() {
    let mut brand = Brand::new();
    let file: PolicyFile = toml::from_str("format = 0\n[joint]\nminimum_participants = 3").unwrap();
    brand.room.set_policy(Some(file)).unwrap();
    let id = suspended(&mut brand, "health_home");
    let askable: Vec<String> = brand.room.askable().iter().map(ToString::to_string).collect();
    assert_eq!(askable, FOUR);

    // the four that are left beside the five that were charged: the rule takes both for the same
    let four = brand.room.plan(&question(2, None), brand.now).unwrap();
    assert_eq!(four.participants, FOUR);
    assert!(!four.warnings.iter().any(|words| words.en.starts_with("Not asked")));
    // naming these four is the same question; one of them fewer is a choice, and tells that one apart
    assert_eq!(brand.room.plan(&question(2, Some(&FOUR)), brand.now).unwrap().plan, four.plan);
    let three = refused(&brand, &question(2, Some(&FOUR[..3])));
    assert_eq!(three.code, "set_tells_apart");
    assert!(three.message.contains(": grocer_two /"), "{}", three.message);
    // it cannot be named either
    let with_it = ["fuel_stop", "grocer_one", "grocer_two", "health_home"];
    assert_ne!(refused(&brand, &question(2, Some(&with_it))).code, "set_tells_apart");
    ask(&mut brand, &question(2, None));

    // three of the four others agree: it is back, and all five are asked again, beside what was asked meanwhile
    brand.now = brand.now.plus(Milliseconds::from_seconds(1));
    for other in &OTHERS[..3] {
        let agreed = Readmit { id, brand: "health_home".parse().unwrap() };
        certified(&mut brand, other, &CleanRoomEntry::Readmit(agreed));
    }
    brand.now = brand.now.plus(Milliseconds::new(1));
    assert_eq!(brand.room.askable().len(), 5);
    let five = brand.room.plan(&question(3, None), brand.now).unwrap();
    assert_eq!(five.participants.len(), 5);
    // the same four now: somebody chose, and the difference to all would be its total
    let apart = refused(&brand, &question(2, Some(&FOUR)));
    assert_eq!(apart.code, "set_tells_apart");
    assert!(apart.message.contains(": health_home /"), "{}", apart.message);
}
