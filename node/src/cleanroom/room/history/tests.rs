//! Questions as they are looked up, at a brand alone with a log that certifies at once.

use privacy::AttemptId;
use privacy::ids::Attempt;
use protocol::codec;
use protocol::time::Milliseconds;

use super::super::RoomRecord;
use super::super::ended::tests::Brand;
use crate::service::{AnswerKey, QueryView, Question, Scope};

fn question(number: u32, scope: Scope, user: &str) -> Question {
    let (key, group) = if scope == Scope::Pack { ("brand, ", " GROUP BY brand") } else { ("", "") };
    Question {
        sql: format!("SELECT {key}count(*) AS n FROM purchases WHERE quantity > {number}{group}"),
        scope: Some(scope),
        pico_rho: Some(5_000_000),
        user: Some(user.to_owned()),
        ..Question::default()
    }
}

/// Asks, and sees that the question tells what was asked.
fn ask(brand: &mut Brand, number: u32, scope: Scope, user: &str) -> QueryView {
    let question = question(number, scope, user);
    let plan = brand.room.plan(&question, brand.now).unwrap();
    let (view, actions) = brand.room.query(&question, &plan.plan, brand.now).unwrap();
    brand.carry_out(actions);
    let view = brand.room.query_by_id(&view.id, brand.now).unwrap();
    assert_eq!(view.sql.as_deref(), Some(question.sql.as_str()));
    assert_eq!(view.asked_by.as_deref(), Some(user));
    assert_eq!(view.asked_ms, Some(brand.now.unix_ms()));
    view
}

type Told = (String, Option<String>, Option<u64>, Option<String>);

fn told(views: &[QueryView]) -> Vec<Told> {
    let told = views.iter().cloned();
    told.map(|view| (view.id, view.sql, view.asked_ms, view.asked_by)).collect()
}

#[test]
fn what_was_asked_when_and_by_whom_stays_with_the_question_over_restarts_and_out_of_memory() {
    let mut brand = Brand::new();
    let mut views = Vec::new();
    for (number, user) in [(0, "lin"), (1, "zhao"), (2, "lin")] {
        views.push(ask(&mut brand, number, Scope::Local, user));
        brand.later();
    }
    // one that is under way is listed too
    views.push(ask(&mut brand, 3, Scope::Joint, "zhao"));
    views.reverse();
    let listed = brand.room.queries_page(None, 10, brand.now).unwrap().0;
    assert_eq!(told(&listed), told(&views));
    assert_eq!((listed[0].step.as_str(), listed[1].step.as_str()), ("reserving", "released"));
    assert_eq!(told(&brand.room.queries_page(None, 2, brand.now).unwrap().0), told(&views[..2]));
    brand.restart();
    assert_eq!(told(&brand.room.queries_page(None, 10, brand.now).unwrap().0), told(&views));

    // from the store the list is as it was, and memory keeps nothing
    brand.leave(0);
    assert!(brand.room.texts.is_empty());
    for restarted in [false, true] {
        if restarted {
            brand.restart();
        }
        let again = brand.room.queries_page(None, 10, brand.now).unwrap().0;
        assert_eq!(told(&again), told(&views), "{restarted}");
        assert_eq!(again[1..], listed[1..], "{restarted}");
        for view in &views[1..] {
            assert_eq!(brand.room.query_by_id(&view.id, brand.now).unwrap(), *view);
        }
    }
    // a walk through pages has each once, answered or not
    for limit in [1, 2, 3, 9] {
        let (mut walked, mut behind) = (Vec::new(), None);
        loop {
            let page = brand.room.queries_page(behind.as_ref(), limit, brand.now).unwrap();
            assert!(page.0.len() <= limit);
            walked.extend(told(&page.0));
            behind = page.1;
            if behind.is_none() {
                break;
            }
        }
        assert_eq!(walked, told(&views), "{limit}");
    }
    // who asks the same is given the answer there is: it was asked once, by the first
    let same = question(0, Scope::Local, "zhao");
    let plan = brand.room.plan(&same, brand.now).unwrap();
    let (view, actions) = brand.room.query(&same, &plan.plan, brand.now).unwrap();
    assert!(actions.is_empty());
    assert_eq!((view.id, view.asked_by.as_deref()), (views[3].id.clone(), Some("lin")));
}

/// The next page of a walk, and where it goes on.
fn walk(
    brand: &Brand,
    behind: Option<&AnswerKey>,
    limit: usize,
) -> (Vec<String>, Option<AnswerKey>) {
    let (views, next) = brand.room.queries_page(behind, limit, brand.now).unwrap();
    (views.into_iter().map(|view| view.id).collect(), next)
}

/// What becomes of questions between two pages changes nothing of their places.
#[test]
fn a_walk_has_each_question_once_while_some_are_answered_and_some_leave_memory() {
    let mut brand = Brand::new();
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(ask(&mut brand, number, Scope::Local, "lin").id);
        brand.later();
    }
    // one that is answered later than those that are asked after it
    let late = question(4, Scope::Local, "lin");
    let plan = brand.room.plan(&late, brand.now).unwrap();
    let (view, pending) = brand.room.query(&late, &plan.plan, brand.now).unwrap();
    ids.push(view.id);
    for number in 5..8 {
        brand.now = brand.now.plus(Milliseconds::new(1));
        ids.push(ask(&mut brand, number, Scope::Local, "lin").id);
    }
    ids.reverse();
    let (first, place) = walk(&brand, None, 2);
    assert_eq!(first, ids[..2]);
    // the page's last one leaves memory, and so does what was not reached
    brand.leave(0);
    brand.carry_out(pending);
    let (second, place) = walk(&brand, place.as_ref(), 2);
    assert_eq!(second, ids[2..4]);
    brand.leave(0);
    brand.restart();
    brand.now = brand.now.plus(Milliseconds::new(1));
    ask(&mut brand, 8, Scope::Local, "lin");
    let (last, end) = walk(&brand, place.as_ref(), 9);
    assert_eq!((&last[..], end), (&ids[4..], None));
    // whoever begins now sees the same, with what came since
    let (all, _) = walk(&brand, None, 20);
    assert_eq!(all[1..], ids);
}

/// A standing answer never leaves memory, and what another brand asked has no text: each is in its place all the same.
#[test]
fn answers_that_stay_in_memory_and_those_without_a_text_are_in_their_places() {
    let mut brand = Brand::new();
    let first = ask(&mut brand, 0, Scope::Local, "lin").id;
    brand.later();
    let stays = ask(&mut brand, 1, Scope::Local, "lin").id;
    brand.later();
    let undated = ask(&mut brand, 2, Scope::Local, "lin").id;
    brand.later();
    let last = ask(&mut brand, 3, Scope::Local, "lin").id;
    let attempt = |query: &str| AttemptId {
        proposer: brand.room.me,
        query: query.parse().unwrap(),
        attempt: Attempt::FIRST,
    };
    let (stays_id, undated_id) = (attempt(&stays), attempt(&undated));
    // as of a standing question, and as of before it was kept what was asked
    let mut answer = (*brand.room.answers.of(&stays_id).unwrap()).clone();
    answer.periods = Some(vec![1]);
    brand.room.answers.replace_for_test(answer);
    brand.room.texts.remove(&undated_id);
    let given = brand.room.answers.of(&undated_id).unwrap().at;
    assert!(given.is_some(), "by when it was answered");
    let expected = [&last, &undated, &stays, &first].map(Clone::clone);
    assert_eq!(walk(&brand, None, 9).0, expected);
    brand.leave(0);
    assert!(brand.room.answers.in_memory(&stays_id) && !brand.room.answers.in_memory(&undated_id));
    for limit in [1, 2, 3, 9] {
        let (mut walked, mut place) = (Vec::new(), None);
        loop {
            let (page, next) = walk(&brand, place.as_ref(), limit);
            walked.extend(page);
            place = next;
            if place.is_none() {
                break;
            }
        }
        assert_eq!(walked, expected, "{limit}");
    }
}

#[test]
fn a_question_in_vain_and_a_pack_are_listed_with_what_was_asked() {
    let mut brand = Brand::new();
    brand.fails = true;
    let failed = ask(&mut brand, 0, Scope::Local, "lin");
    brand.fails = false;
    brand.later();
    let pack = ask(&mut brand, 1, Scope::Pack, "lin");
    for restarted in [false, true] {
        if restarted {
            brand.restart();
        }
        let listed = brand.room.queries_page(None, 10, brand.now).unwrap().0;
        let steps: Vec<(&str, &str)> =
            listed.iter().map(|view| (view.scope.as_str(), view.step.as_str())).collect();
        // the pack, this brand's part of it, and the one that failed
        assert_eq!(steps, [("pack", "asking"), ("local", "released"), ("local", "void")]);
        assert_eq!((&listed[0].id, &listed[2].id), (&pack.id, &failed.id));
        assert!(listed.iter().all(|view| view.asked_by.as_deref() == Some("lin")), "{listed:?}");
        assert_eq!((&listed[0].sql, &listed[1].sql), (&pack.sql, &pack.sql));
    }
    // in the store the pack has it still
    brand.later();
    brand.leave(0);
    brand.restart();
    let left = brand.room.query_by_id(&pack.id, brand.now).unwrap();
    assert_eq!(told(&[left]), told(&[pack]));
    let left = brand.room.query_by_id(&failed.id, brand.now).unwrap();
    assert_eq!(told(&[left]), told(&[failed]));
}

/// A record without a text is, byte by byte, what was written before there were any.
#[test]
fn records_of_before_texts_were_kept_are_read() {
    let before = codec::encode(&RoomRecord::Local(vec![7], None));
    assert_eq!(before, [0x82, 3, 0x81, 0x41, 7]);
    let read: RoomRecord = codec::decode("a record", &before, 100).unwrap();
    assert!(matches!(read, RoomRecord::Local(step, None) if step == [7]));
}
