//! Alliances whose nodes go without one guard, to show that some seed then breaks a guarantee.
//!
//! [`Maimed`] is another implementation of the guards, which no node can name; what it goes without is
//! set for the run that is under way on this thread. What nodes must do with their disks is not the
//! ledger's, and is a habit of the simulated machine ([`Habit`]).

use std::cell::Cell;

use protocol::witness::guards::{Guard, Guards};
use protocol::witness::rules::Violation;
use serde::Serialize;

use crate::agreement::{Liar, Outcome, Scenario, Topic, run_with_guards};
use crate::liars::forgery::Lie;
use crate::node::Habit;
use crate::trace::Trace;

/// Rules of a block ([`Violation::NUMBERS`]) to which no mutant is blind, and why. All others have one.
const NO_MUTANT: [(u16, &str); 16] = [
    (1, "not told to the guards: what cannot be read cannot be taken"),
    (3, "a quorum's signatures are verified under the constitution of the epoch that they name"),
    (4, "what is pledged is of the open height, and a header is of the height that is pledged"),
    (6, "a tree whose leaves begin elsewhere does not extend the last one, which is rule 15"),
    (15, "no liar has a tree that does not extend its own: who decodes it sees that (recovery)"),
    (17, "not told to the guards: entries that are not the counted ones cannot be judged"),
    (18, "of the own column: without the guard OwnColumn"),
    (19, "of the own column: without the guard OwnColumn"),
    (20, "of the own column: without the guard OwnColumn"),
    (22, "not told to the guards: a sum that has no value"),
    (23, "not told to the guards: about what was brought, not about the block"),
    (24, "not told to the guards: about the disk, not about the block"),
    (25, "not told to the guards: about what was brought, not about the block"),
    (37, "about what the judge knows, not about the block"),
    (38, "no file that may not follow is brought to anybody (epochs::tests)"),
    (39, "about what the judge knows: others may have voted who do not (epochs::tests)"),
];

/// Rules of a block that mutants are blind to, one each.
fn rules() -> impl Iterator<Item = u16> {
    let excepted = |number: &u16| NO_MUTANT.iter().any(|(other, _)| other == number);
    Violation::NUMBERS.iter().copied().filter(move |number| !excepted(number))
}

/// What a mutant goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Guard(Guard),
    Rule(u16),
}

impl Missing {
    /// What makes a difference: the liar whom it would have stopped, what must happen for it to matter.
    /// Without either, the usual scenario of a seed.
    const fn matters_with(self) -> (Option<Liar>, Option<Topic>) {
        match self {
            Self::Nothing => (None, None),
            Self::Guard(guard) => match guard {
                Guard::PromiseQuorum | Guard::LockProven | Guard::LockedBlock => {
                    (Some(Liar::Lockbreaker), None)
                }
                Guard::HighestLock
                | Guard::VoteOfOpening
                | Guard::PromiseOfOpening
                | Guard::VoteAbove => (Some(Liar::Juggler), None),
                Guard::LockedProposal => (None, Some(Topic::Ambushes)),
                Guard::OneVote | Guard::FreezeOnEvidence => (Some(Liar::Twins), None),
                Guard::CosignCertified
                | Guard::CommitQuorum
                | Guard::OwnColumn
                | Guard::DisputeStands => (Some(Liar::Counterfeiter), None),
                Guard::ClosingAgreed => (Some(Liar::Twins), Some(Topic::Closing)),
                Guard::NoticeRestore
                | Guard::RestoredWitness
                | Guard::RestoredVouches
                | Guard::RestoredWriter
                | Guard::RestoredOpens
                | Guard::RestoredPromise => (None, Some(Topic::Restores)),
                Guard::AdoptionQuorum | Guard::SwitchInEffect | Guard::EarlierDraftDead => {
                    (None, Some(Topic::Constitutions))
                }
                Guard::StatementAgreed | Guard::PaymentsConfirmed => (None, Some(Topic::Clearing)),
                Guard::RoomToSendBack => (None, Some(Topic::Credit)),
                _ => (None, None),
            },
            Self::Rule(30..=36) => (Some(Liar::Counterfeiter), Some(Topic::Constitutions)),
            Self::Rule(_) => (Some(Liar::Counterfeiter), None),
        }
    }

    /// What is false about what it would have refused.
    const fn lie(self) -> Option<Lie> {
        match self {
            Self::Rule(rule) => Lie::against(rule),
            Self::Guard(Guard::CommitQuorum) => Some(Lie::Commits),
            Self::Nothing | Self::Guard(_) => None,
        }
    }

    /// Whether what it makes brands sign must be shown to do harm, and not only to be against the rules.
    const fn does_harm(self) -> bool {
        matches!(self, Self::Guard(Guard::HighestLock | Guard::LockedProposal))
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

/// Runs a scenario without one guard.
#[must_use]
pub fn without(guard: Guard, scenario: Scenario) -> Outcome {
    lacking(Missing::Guard(guard), scenario, Trace::default())
}

fn lacking(missing: Missing, scenario: Scenario, trace: Trace) -> Outcome {
    MISSING.set(missing);
    let outcome = run_with_guards::<Maimed>(scenario, trace);
    MISSING.set(Missing::Nothing);
    outcome
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
        let mut caught = None;
        let mut run = 0;
        for seed in seeds {
            run += 1;
            let outcome = self.run(seed, Trace::default());
            if let Some(violation) = outcome.violation {
                let (invariant, detail) = (violation.invariant, violation.detail);
                caught = Some(Caught { seed, invariant, detail });
                break;
            }
        }
        Hunted { name: self.name.clone(), caught, seeds: run }
    }

    /// Runs one seed, four brands with the liar whom the missing guard would have stopped among them, or
    /// with what must happen for it to matter.
    #[must_use]
    pub fn run(&self, seed: u64, trace: Trace) -> Outcome {
        let (liar, topic) = match self.habit {
            Habit::Sound => self.missing.matters_with(),
            // where no disk is put back, all that is honest counts for what can be recovered
            Habit::ForgetsFragments => (None, None),
            _ => (None, Some(Topic::Ambushes)),
        };
        let brands = (liar.is_some() || topic.is_some()).then_some(4);
        let (habit, outcomes_alone) = (self.habit, self.missing.does_harm());
        let of_seed = Scenario::of_seed(seed);
        let lie = self.missing.lie();
        let scenario = Scenario { habit, liar, lie, topic, brands, outcomes_alone, ..of_seed };
        lacking(self.missing, scenario, trace)
    }
}

/// All mutants: without each guard in turn, blind to each rule of a block but those that [`NO_MUTANT`] says
/// why not of, and with each bad habit.
#[must_use]
pub fn all() -> Vec<Mutant> {
    let guards =
        Guard::ALL.iter().map(|guard| (format!("without {guard:?}"), Missing::Guard(*guard)));
    let rules = rules().map(|rule| (format!("blind to rule {rule}"), Missing::Rule(rule)));
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
    use crate::parallel;

    /// Most seeds for one mutant; most are caught by the first few.
    const SEEDS_MAX: u64 = 240;

    /// What is excepted is a rule, once, and every other one is broken by some lie.
    #[test]
    fn every_rule_of_a_block_has_a_mutant_and_a_lie_or_a_reason() {
        for (number, why) in NO_MUTANT {
            assert!(Violation::NUMBERS.contains(&number) && !why.is_empty());
            assert_eq!(Lie::against(number), None, "{number}");
        }
        // what is told to a counterparty alone has lies of its own
        let without: Vec<u16> = rules().filter(|rule| Lie::against(*rule).is_none()).collect();
        assert_eq!(without, [21]);
        assert_eq!(rules().count() + NO_MUTANT.len(), Violation::NUMBERS.len());
    }

    /// Every guard there is, every rule that a guard decides on, every habit: what
    /// nothing catches is either guarded by nothing or guards nothing.
    #[test]
    fn without_a_guard_some_seed_breaks_a_guarantee() {
        let mutants = all();
        assert!(mutants.len() > Guard::ALL.len());
        let mut missed = Vec::new();
        parallel::map(
            &mutants,
            parallel::cores(),
            |mutant| mutant.hunt(0..SEEDS_MAX),
            |mutant, hunted| missed.extend(hunted.caught.is_none().then(|| mutant.name.clone())),
        );
        assert!(missed.is_empty(), "not caught by {SEEDS_MAX} seeds: {missed:?}");
    }

    /// What breaks is what the guard is there for.
    #[test]
    fn what_breaks_without_a_guard_is_what_it_protects() {
        let known = [
            ("without CommitAbove", "no vote or commit below a promise"),
            ("without CommitQuorum", "final blocks have commits of a quorum"),
            ("without AwaitAcknowledgements", "nothing is signed before acknowledgements"),
            ("without ClosingAgreed", "closed once and by a quorum"),
            ("without PaymentsConfirmed", "discharged by all and every payee"),
            ("blind to rule 10", "totals are what was sent"),
        ];
        for (name, invariant) in known {
            let mutants = all();
            let mutant = mutants.iter().find(|mutant| mutant.name == name).expect("a mutant");
            let caught = mutant.hunt(0..SEEDS_MAX).caught.map(|caught| caught.invariant);
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
