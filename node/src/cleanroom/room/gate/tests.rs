//! A disk that was put back to before a question was read, with the own log coming back entry by entry.

use super::super::super::{Action, ReadResult};
use super::super::ended::tests::{Brand, drawn};
use super::Gated;
use crate::service::{Question, Scope};

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
