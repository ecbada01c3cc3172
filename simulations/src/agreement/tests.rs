use super::*;
use crate::mutants::Unfrozen;

/// Small enough to run at every build; `simulations run` takes as many as there is time for.
#[test]
fn no_guarantee_fails_in_a_fixed_budget_of_seeds() {
    let mut worked = 0;
    for seed in 0..10 {
        let outcome = run(Scenario::of_seed(seed), Trace::default());
        assert_eq!(outcome.violation, None, "seed {seed}");
        worked += outcome.counts.entries;
    }
    assert!(worked > 150, "the workload hardly exchanges anything: {worked}");
}

#[test]
fn one_seed_is_one_run() {
    let digest = |seed| {
        let scenario = Scenario { events: 250, ..Scenario::of_seed(seed) };
        run(scenario, Trace::default()).trace.digest()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

/// The observer is not blind: where the protocol only promises to detect a fork, twins make one.
#[test]
fn twins_fork_an_alliance_of_three_and_the_observer_sees_it() {
    // evidence stops them almost at once where witnesses freeze the log for it
    let forked = (0..20).any(|seed| {
        let (brands, liar) = (Some(3), Some(Liar::Twins));
        let scenario = Scenario { brands, liar, events: 400, ..Scenario::of_seed(seed) };
        let outcome = run_with_guards::<Unfrozen>(scenario, Trace::default());
        outcome.violation.is_some_and(|violation| violation.invariant == "agreement")
    });
    assert!(forked);
}

#[test]
fn a_block_over_the_credit_limit_is_refused_by_its_rule() {
    let refused: usize = (0..3)
        .map(|seed| {
            let liar = Some(Liar::Spendthrift);
            let brands = Some(4);
            let scenario = Scenario { brands, liar, events: 400, ..Scenario::of_seed(seed) };
            let outcome = run(scenario, Trace::default());
            assert_eq!(outcome.violation, None, "seed {seed}");
            outcome.counts.limit_refusals
        })
        .sum();
    assert!(refused > 0);
}
