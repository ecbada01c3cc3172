//! Both questions at a brand alone, with a log that certifies at once.

use super::super::ended::tests::Brand;
use crate::service::{ChosenBoundView, PlanView, QueryView, Question, Scope, ServiceError};

fn spending(pico_rho: u64) -> Question {
    Question {
        sql: "SELECT sum(amount_fen) AS spent FROM purchases".to_owned(),
        scope: Some(Scope::Local),
        pico_rho: Some(pico_rho),
        chooses_bound: true,
        ..Question::default()
    }
}

fn planned(brand: &Brand, question: &Question) -> PlanView {
    brand.room.plan(question, brand.now).unwrap()
}

fn asked(brand: &mut Brand, question: &Question, plan: &str) -> Result<QueryView, ServiceError> {
    let (view, actions) = brand.room.query(question, plan, brand.now)?;
    brand.carry_out(actions);
    Ok(view)
}

#[test]
fn the_bound_is_asked_for_first_and_both_are_charged_for_what_was_shown() {
    let mut brand = Brand::new();
    brand.members = 20_000;
    let question = spending(5_000_000_000);
    let plan = planned(&brand, &question);
    let choice = plan.bound_choice.clone().unwrap();
    assert_eq!((choice.cost_pico_rho, choice.rest_pico_rho), (500_000_000, 4_500_000_000));
    assert_eq!((plan.cost_pico_rho, choice.most), (5_000_000_000, 500_000));
    assert!(choice.sigma[0].expected_error > 0.0 && plan.sigma[0].expected_error > 0.0);
    assert!(
        plan.warnings.iter().any(|words| words.en.contains("a lesser bound makes a lesser error"))
    );
    // the question for the bound, and nothing yet of the question itself
    let first = asked(&mut brand, &question, &plan.plan).unwrap();
    let under_way = ChosenBoundView { query: first.id.clone(), bound: None };
    assert_eq!(first.chosen_bound, Some(under_way));
    let answered = brand.room.query_by_id(&first.id, brand.now).unwrap();
    assert_eq!((answered.step.as_str(), answered.charged_pico_rho), ("released", 500_000_000));
    assert_eq!(brand.log.len(), 2);
    // what was answered is the bound of the question itself, which is charged for the rest
    let next = Question { bound_from: Some(first.id.clone()), ..question.clone() };
    let second = asked(&mut brand, &next, &plan.plan).unwrap();
    let chosen = second.chosen_bound.clone().unwrap();
    assert_eq!(chosen.query, first.id);
    // bins are 1,954 fen wide from -500,000 on: all members lie at about 87,000, and each rank beyond is a thousand away
    assert_eq!(chosen.bound, Some(100_000));
    let released = brand.room.query_by_id(&second.id, brand.now).unwrap();
    assert_eq!((released.step.as_str(), released.charged_pico_rho), ("released", 4_500_000_000));
    assert_eq!(brand.log.len(), 4);
    // whoever repeats it, after a restart too, is given the same and charged nothing
    brand.restart();
    assert_eq!(planned(&brand, &question).bound_choice.unwrap().cost_pico_rho, 0);
    let plan = planned(&brand, &question).plan;
    assert_eq!(asked(&mut brand, &question, &plan).unwrap().id, first.id);
    let again = asked(&mut brand, &next, &plan).unwrap();
    assert_eq!((again.id, again.chosen_bound), (second.id, second.chosen_bound));
    assert_eq!(brand.log.len(), 4);
}

#[test]
fn nothing_of_the_question_is_charged_when_the_one_for_its_bound_fails() {
    let mut brand = Brand::new();
    let question = spending(50_000_000);
    let plan = planned(&brand, &question).plan;
    brand.fails = true;
    let first = asked(&mut brand, &question, &plan).unwrap();
    assert_eq!(brand.room.query_by_id(&first.id, brand.now).unwrap().step, "void");
    brand.fails = false;
    let entries = brand.log.len();
    for id in [first.id, "00".repeat(16)] {
        let next = Question { bound_from: Some(id), ..question.clone() };
        assert_eq!(asked(&mut brand, &next, &plan).unwrap_err().code, "no_bound_answer");
    }
    assert_eq!(brand.log.len(), entries);
}

/// Of nobody's sums nineteen answers in twenty have no interval: nothing is asked further then.
#[test]
fn what_is_noise_alone_becomes_no_bound() {
    let mut brand = Brand::new();
    let mut refused = 0;
    for number in 0..6 {
        let sql =
            format!("SELECT sum(amount_fen) AS spent FROM purchases WHERE quantity > {number}");
        let question = Question { sql, ..spending(50_000_000) };
        let plan = planned(&brand, &question).plan;
        let first = asked(&mut brand, &question, &plan).unwrap();
        assert_eq!(brand.room.query_by_id(&first.id, brand.now).unwrap().step, "released");
        let entries = brand.log.len();
        let next = Question { bound_from: Some(first.id), ..question };
        match asked(&mut brand, &next, &plan) {
            Ok(second) => assert!(second.chosen_bound.is_some_and(|it| it.bound.is_some())),
            Err(error) => {
                assert_eq!((error.code, brand.log.len()), ("no_bound_in_answer", entries));
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn what_both_cost_is_there_and_confirmed_before_the_first_is_charged() {
    let mut brand = Brand::new();
    let plain = Question { chooses_bound: false, ..spending(1_000_000_000) };
    let plan = planned(&brand, &plain).plan;
    asked(&mut brand, &plain, &plan).unwrap();
    let entries = brand.log.len();
    // of a quota of 12,000,000,000 each would fit by itself
    let dear = spending(12_000_000_000);
    let plan = planned(&brand, &dear).plan;
    assert_eq!(asked(&mut brand, &dear, &plan).unwrap_err().code, "over_budget");
    let question = spending(50_000_000);
    let plan = planned(&brand, &question).plan;
    let limited = Question { most_pico_rho: Some(49_999_999), ..question.clone() };
    assert_eq!(asked(&mut brand, &limited, &plan).unwrap_err().code, "cost_unconfirmed");
    let other = spending(60_000_000);
    assert_eq!(asked(&mut brand, &other, &plan).unwrap_err().code, "plan_changed");
    let stands = Question { stands: true, ..question.clone() };
    assert_eq!(brand.room.plan(&stands, brand.now).unwrap_err().code, "no_bound_choice");
    let pack = Question {
        sql: "SELECT brand, sum(amount_fen) AS spent FROM purchases GROUP BY brand".to_owned(),
        scope: Some(Scope::Pack),
        ..question
    };
    assert_eq!(brand.room.plan(&pack, brand.now).unwrap_err().code, "no_bound_choice");
    assert_eq!(brand.log.len(), entries);
}
