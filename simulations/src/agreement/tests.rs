use std::num::NonZeroUsize;

use protocol::witness::guards::Guard;

use super::*;
use crate::mutants;
use crate::parallel;

/// Runs scenarios on all cores; what came of them, in their order.
fn run_all(scenarios: &[Scenario], threads: NonZeroUsize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let run = |scenario: &Scenario| run(*scenario, Trace::default());
    parallel::map(scenarios, threads, run, |_, outcome| outcomes.push(outcome));
    outcomes
}

/// Nothing breaks; gives how much there was of everything.
fn sound(scenarios: &[Scenario]) -> Counts {
    let outcomes = run_all(scenarios, parallel::cores());
    let mut counts = Counts::default();
    for (scenario, outcome) in scenarios.iter().zip(&outcomes) {
        assert_eq!(outcome.violation, None, "{scenario:?} {:?}", outcome.liars);
        counts = counts.plus(outcome.counts);
    }
    counts
}

/// Small enough to run at every build; `simulations run` takes as many as there is time for.
#[test]
fn no_guarantee_fails_in_a_fixed_budget_of_seeds() {
    let scenarios: Vec<Scenario> = (0..24).map(Scenario::of_seed).collect();
    let counts = sound(&scenarios);
    assert!(counts.entries > 300, "the workload hardly exchanges anything: {counts:?}");
}

/// What a run costs grows with the square of its brands: large ones have fewer seeds here.
#[test]
fn alliances_of_every_size_are_simulated() {
    let mut scenarios = Vec::new();
    for brands in 2..=20 {
        let (seeds, events) = match brands {
            ..=8 => (3, 200),
            9..=12 => (2, 80),
            _ => (1, 40),
        };
        let brands = Some(brands);
        let of = |seed| Scenario { brands, events, ..Scenario::of_seed(seed) };
        scenarios.extend((100..100 + seeds).map(of));
    }
    let counts = sound(&scenarios);
    assert!(counts.entries > 150, "the workload hardly exchanges anything: {counts:?}");
}

/// Every topic comes up, and what it is about really happens.
#[test]
fn disks_are_put_back_constitutions_follow_money_is_settled_and_logs_are_closed() {
    let scenario = |topic, liar, seed| {
        let (brands, topic) = (Some(4 + seed as usize % 4), Some(topic));
        Scenario { brands, topic, liar, ..Scenario::of_seed(seed) }
    };
    let of =
        |topic, liar| -> Vec<Scenario> { (0..6).map(|seed| scenario(topic, liar, seed)).collect() };
    assert!(sound(&of(Topic::Restores, None)).restores > 5);
    assert!(sound(&of(Topic::Constitutions, None)).constitutions > 5);
    let clearing: Vec<Scenario> =
        (0..14).map(|seed| scenario(Topic::Clearing, None, seed)).collect();
    let cleared = sound(&clearing);
    assert!(cleared.discharged > 2, "{cleared:?}");
    let parted =
        sound(&(0..10).map(|seed| scenario(Topic::Partners, None, seed)).collect::<Vec<_>>());
    assert!(parted.joined > 0, "nobody joined after another had left and cleared: {parted:?}");
    let closing = sound(&of(Topic::Closing, Some(Liar::Twins)));
    assert!(closing.frozen > 1 && closing.closed > 1 && closing.closed_out > 2, "{closing:?}");
    let ambushed = sound(&of(Topic::Ambushes, None));
    assert!(ambushed.crashes > 30 && ambushed.restores > 0, "{ambushed:?}");
}

/// Runs that once broke a guarantee, each by what it asked for.
#[test]
fn what_once_broke_a_guarantee_does_not_break_it_again() {
    let constitutions = [90_023, 90_065, 90_108, 90_171].map(|seed| (Topic::Constitutions, seed));
    let restores = [49].map(|seed| (Topic::Restores, seed));
    let topics = constitutions.into_iter().chain(restores);
    // a brand whose disk was put back while it adopted a constitution wanted to say it a second time
    let stated_twice = Scenario::of_seed(30_042);
    let scenarios: Vec<Scenario> = topics
        .map(|(topic, seed)| Scenario { topic: Some(topic), ..Scenario::of_seed(seed) })
        .chain([stated_twice])
        .collect();
    sound(&scenarios);
}

/// What cannot stand is disputed; terms that add up end it, and others do not.
#[test]
fn disputes_are_resolved_by_terms_that_add_up() {
    let scenario = |seed| {
        let (brands, liar) = (Some(4), Some(Liar::Counterfeiter));
        Scenario { brands, liar, ..Scenario::of_seed(seed) }
    };
    let scenarios: Vec<Scenario> = (0..24).map(scenario).collect();
    let counts = sound(&scenarios);
    assert!(counts.resolved > 0 && counts.declined > 0, "{counts:?}");
}

#[test]
fn one_seed_is_one_run_on_however_many_threads() {
    let scenarios: Vec<Scenario> =
        (0..4).map(|seed| Scenario { events: 250, ..Scenario::of_seed(seed) }).collect();
    let digests = |threads| -> Vec<[u8; 32]> {
        let threads = NonZeroUsize::new(threads).expect("not zero");
        run_all(&scenarios, threads).iter().map(|outcome| outcome.trace.digest()).collect()
    };
    let alone = digests(1);
    assert_eq!(alone, digests(3));
    assert_ne!(alone[0], alone[1]);
}

/// The observer is not blind: where the protocol only promises to detect a fork, twins make one.
#[test]
fn twins_fork_an_alliance_of_three_and_the_observer_sees_it() {
    // evidence stops them almost at once where witnesses freeze the log for it
    let forked = (0..200).any(|seed| {
        let (brands, liar) = (Some(3), Some(Liar::Twins));
        let scenario = Scenario { brands, liar, events: 400, ..Scenario::of_seed(seed) };
        let outcome = mutants::without(Guard::FreezeOnEvidence, scenario);
        outcome.violation.is_some_and(|violation| violation.invariant == "agreement")
    });
    assert!(forked);
}

#[test]
fn a_block_over_the_credit_limit_is_refused_by_its_rule() {
    let scenario = |seed| {
        let (brands, liar) = (Some(4), Some(Liar::Spendthrift));
        Scenario { brands, liar, events: 400, ..Scenario::of_seed(seed) }
    };
    let scenarios: Vec<Scenario> = (0..3).map(scenario).collect();
    assert!(sound(&scenarios).limit_refusals > 0);
}
