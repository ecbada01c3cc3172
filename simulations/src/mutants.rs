//! Alliances whose nodes go without one guard, to show that some seed then breaks a guarantee.
//!
//! [`Maimed`] is another implementation of the guards, which no node can name; what it goes without is
//! set for the run that is under way on this thread. What nodes must do with their disks is not the
//! ledger's, and is a habit of the simulated machine ([`Habit`]).

use std::cell::Cell;

use protocol::witness::guards::{Guard, Guards};
use protocol::witness::rules::Violation;
use serde::Serialize;

use crate::agreement::{Liar, Outcome, Scenario, run_with_guards};
use crate::node::Habit;
use crate::trace::Trace;

/// Rules of a block ([`Violation::number`]) that are told to the guards one by one.
const RULES: [u16; 10] = [5, 8, 9, 10, 11, 12, 13, 14, 16, 21];

/// A writer's own code never comes to propose a second block in a round: this guard is the last line
/// behind it, and going without changes nothing.
const NEVER_REACHED: [Guard; 1] = [Guard::OneProposal];

/// What a mutant goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Guard(Guard),
    Rule(u16),
}

impl Missing {
    /// The liar that this would have stopped; without one, the usual scenario of a seed.
    const fn liar(self) -> Option<Liar> {
        match self {
            Self::Guard(Guard::PromiseQuorum | Guard::LockProven | Guard::LockedBlock) => {
                Some(Liar::Lockbreaker)
            }
            Self::Guard(Guard::VoteOfOpening | Guard::OneVote) => Some(Liar::Twins),
            Self::Guard(Guard::CosignCertified | Guard::OwnColumn | Guard::DisputeStands)
            | Self::Rule(_) => Some(Liar::Counterfeiter),
            Self::Guard(_) | Self::Nothing => None,
        }
    }
}

thread_local! {
    static MISSING: Cell<Missing> = const { Cell::new(Missing::Nothing) };
}

/// Everything is upheld but one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maimed {}

impl Guards for Maimed {
    fn allow(guard: Guard, condition: bool) -> bool {
        condition || MISSING.get() == Missing::Guard(guard)
    }

    fn found(violation: Violation) -> Result<(), Violation> {
        let forgiven = MISSING.get() == Missing::Rule(violation.number());
        if forgiven { Ok(()) } else { Err(violation) }
    }
}

/// Everything is upheld, but witnesses go on with a log whose writer is proved to have lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfrozen {}

impl Guards for Unfrozen {
    fn allow(guard: Guard, condition: bool) -> bool {
        condition || guard == Guard::FreezeOnEvidence
    }
}

/// An alliance that goes without something, by name.
pub struct Mutant {
    /// What it goes without.
    pub name: String,
    missing: Missing,
    habit: Habit,
}

/// What came of a mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Hunted {
    /// What it goes without.
    pub name: String,
    /// The seed that caught it, and which guarantee broke there.
    pub caught: Option<Caught>,
    /// Seeds that were run.
    pub seeds: u64,
}

/// Where a mutant was caught.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// The seed.
    pub seed: u64,
    /// The guarantee.
    pub invariant: &'static str,
    /// How it broke.
    pub detail: String,
}

impl Mutant {
    /// Runs seeds until one breaks a guarantee.
    #[must_use]
    pub fn hunt(&self, seeds: std::ops::Range<u64>) -> Hunted {
        let first = seeds.start;
        let mut caught = None;
        let mut run = 0;
        for seed in seeds {
            run = seed - first + 1;
            let outcome = self.run(seed, Trace::default());
            if let Some(violation) = outcome.violation {
                let (invariant, detail) = (violation.invariant, violation.detail);
                caught = Some(Caught { seed, invariant, detail });
                break;
            }
        }
        Hunted { name: self.name.clone(), caught, seeds: run }
    }

    /// Runs one seed, with the liar among four brands whom the missing guard would have stopped.
    #[must_use]
    pub fn run(&self, seed: u64, trace: Trace) -> Outcome {
        MISSING.set(self.missing);
        let liar = self.missing.liar();
        let brands = liar.map(|_| 4);
        let scenario = Scenario { habit: self.habit, liar, brands, ..Scenario::of_seed(seed) };
        let outcome = run_with_guards::<Maimed>(scenario, trace);
        MISSING.set(Missing::Nothing);
        outcome
    }
}

/// All mutants: without each guard in turn but those that nothing reaches, blind to each rule of a block that a guard decides on, and
/// with each bad habit.
#[must_use]
pub fn all() -> Vec<Mutant> {
    let guards = Guard::ALL
        .into_iter()
        .filter(|guard| !NEVER_REACHED.contains(guard))
        .map(|guard| (format!("without {guard:?}"), Missing::Guard(guard)));
    let rules = RULES.map(|rule| (format!("blind to rule {rule}"), Missing::Rule(rule)));
    let maimed = guards.chain(rules).map(|(name, missing)| {
        let habit = Habit::Sound;
        Mutant { name, missing, habit }
    });
    let habits = Habit::BAD.map(|habit| Mutant {
        name: format!("{habit:?}"),
        missing: Missing::Nothing,
        habit,
    });
    maimed.chain(habits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One mutant of each kind; `mutants` hunts them all.
    #[test]
    fn without_a_guard_some_seed_breaks_a_guarantee() {
        let known = [
            ("without CommitAbove", "no vote or commit below a promise"),
            ("blind to rule 10", "totals are what was sent"),
        ];
        for (name, invariant) in known {
            let mutants = all();
            let mutant = mutants.iter().find(|mutant| mutant.name == name).expect("a mutant");
            let caught = mutant.hunt(0..10).caught.map(|caught| caught.invariant);
            assert_eq!(caught, Some(invariant), "{name}");
        }
    }

    /// What is maimed in one run is whole in the next.
    #[test]
    fn a_mutant_lasts_for_its_run_alone() {
        let missing = Missing::Guard(Guard::OneVote);
        let mutant = Mutant { name: String::new(), missing, habit: Habit::Sound };
        drop(mutant.run(0, Trace::default()));
        assert!(!Maimed::allow(Guard::OneVote, false));
    }
}
