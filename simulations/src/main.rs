//! Runs simulations, many at once or one to read.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use simulations::agreement::{self, Counts, Liar, Outcome, Scenario, Topic};
use simulations::attacks;
use simulations::model;
use simulations::mutants::{self, Hunted, Mutant};
use simulations::parallel;
use simulations::trace::Trace;

/// Whole alliances in one deterministic process: one seed is one run, byte for byte.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs many seeds and counts the guarantees that did not hold.
    Run {
        /// How many seeds.
        #[arg(long)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 0)]
        first: u64,
        #[command(flatten)]
        asked: Asked,
        /// On how many threads; what is found does not depend on it.
        #[arg(long)]
        threads: Option<NonZeroUsize>,
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Looks at every state of small models of the agreement: the rules hold, naive variants break.
    Model {
        /// Rounds of one height for four brands, 0 counted; one fewer for five.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=4))]
        rounds: u8,
        /// How often a witness comes back from a backup.
        #[arg(long, default_value_t = 1)]
        restores: u8,
        /// Most states of one model; beyond them it counts as not finished.
        #[arg(long, default_value_t = 20_000_000)]
        most: usize,
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Takes one guard away at a time and runs seeds until a guarantee breaks.
    Mutants {
        /// Most seeds for one mutant.
        #[arg(long, default_value_t = 400)]
        seeds: u64,
        /// Only mutants whose name has this in it.
        #[arg(long, default_value = "")]
        only: String,
        /// On how many threads; what is found does not depend on it.
        #[arg(long)]
        threads: Option<NonZeroUsize>,
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Attacks the clean room's real planner, clipping, noise, accounts and steps, and takes one of
    /// them away at a time: what an attacker gains beside what the charge allows.
    Attacks {
        /// Trials with the attacked member, and as many without.
        #[arg(long, default_value_t = 400)]
        trials: u32,
        /// Seed of what the attacks choose; the noise is the system's.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// One JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Runs one seed and prints what happened.
    Replay {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// The mutant by its full name, if the seed is one that caught it.
        #[arg(long)]
        mutant: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
}

/// What is asked for rather than drawn from the seed.
#[derive(Args, Clone, Copy)]
struct Asked {
    /// How many brands; by the seed if not given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=21))]
    brands: Option<u8>,
    /// How one brand lies; by the seed if not given.
    #[arg(long)]
    liar: Option<Liar>,
    /// What happens beside exchanges and crashes; by the seed if not given.
    #[arg(long)]
    topic: Option<Topic>,
}

impl Asked {
    fn scenario(self, seed: u64) -> Scenario {
        let Self { brands, liar, topic } = self;
        Scenario { brands: brands.map(usize::from), liar, topic, ..Scenario::of_seed(seed) }
    }

    /// The same as arguments.
    fn arguments(self) -> String {
        let word = |name: &str, value: Option<String>| {
            value.map(|value| format!(" --{name} {}", value.to_lowercase())).unwrap_or_default()
        };
        let liar = self.liar.map(|liar| format!("{liar:?}"));
        let topic = self.topic.map(|topic| format!("{topic:?}"));
        let brands = self.brands.map(|brands| brands.to_string());
        word("brands", brands) + &word("liar", liar) + &word("topic", topic)
    }
}

#[derive(Default, Serialize)]
struct Summary {
    seeds: u64,
    violations: u64,
    first_violation: Option<Failure>,
    /// Runs in which more than one brand lied.
    conspiracies: u64,
    #[serde(flatten)]
    counts: Counts,
    highest_round: u32,
    longest_calm_ms: u64,
    elapsed_ms: u128,
    seeds_per_second: u64,
}

#[derive(Serialize)]
struct Failure {
    seed: u64,
    invariant: &'static str,
    detail: String,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { seeds, first, asked, threads, json } => {
            run(first, seeds, asked, threads.unwrap_or(parallel::cores()), json)
        }
        Command::Model { rounds, restores, most, json } => {
            look_at_all(model::Size { rounds: usize::from(rounds), restores, most }, json)
        }
        Command::Mutants { seeds, only, threads, json } => {
            hunt(seeds, &only, threads.unwrap_or(parallel::cores()), json)
        }
        Command::Attacks { trials, seed, json } => attack(trials, seed, json),
        Command::Replay { seed, mutant: None, asked } => {
            replay(&agreement::run(asked.scenario(seed), Trace::readable()))
        }
        Command::Replay { seed, mutant: Some(name), .. } => {
            let Some(mutant) = mutants::all().into_iter().find(|mutant| mutant.name == name) else {
                eprintln!("no mutant is called {name:?}; `mutants` lists them");
                return ExitCode::FAILURE;
            };
            replay(&mutant.run(seed, Trace::readable()))
        }
    }
}

/// Seeds that are run together before what came of them is forgotten.
const BATCH: u64 = 4096;

fn run(first: u64, seeds: u64, asked: Asked, threads: NonZeroUsize, json: bool) -> ExitCode {
    let started = Instant::now();
    let mut summary = Summary { seeds, ..Summary::default() };
    let last = first.saturating_add(seeds);
    let mut next = first;
    while next < last {
        let batch: Vec<u64> = (next..last.min(next.saturating_add(BATCH))).collect();
        next = next.saturating_add(BATCH);
        parallel::map(
            &batch,
            threads,
            |seed| agreement::run(asked.scenario(*seed), Trace::default()),
            |seed, outcome| summary.take(*seed, asked, outcome),
        );
    }
    summary.elapsed_ms = started.elapsed().as_millis();
    let per_second = u128::from(seeds) * 1000 / summary.elapsed_ms.max(1);
    summary.seeds_per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
    let shown =
        if json { serde_json::to_string(&summary) } else { serde_json::to_string_pretty(&summary) };
    println!("{}", shown.unwrap_or_default());
    if summary.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Summary {
    fn take(&mut self, seed: u64, asked: Asked, outcome: Outcome) {
        self.counts = self.counts.plus(outcome.counts);
        self.conspiracies += u64::from(outcome.liars.len() > 1);
        self.highest_round = self.highest_round.max(outcome.rounds);
        self.longest_calm_ms = self.longest_calm_ms.max(outcome.calm_ms);
        let Some(violation) = outcome.violation else { return };
        let (invariant, detail) = (violation.invariant, violation.detail);
        let (liars, topics) = (outcome.liars, outcome.topics);
        eprintln!(
            "seed {seed}: {} brands, liars {liars:?}, {topics:?}: \"{invariant}\": {detail}",
            outcome.brands
        );
        let asked = asked.arguments();
        eprintln!("  cargo run -p simulations -- replay --seed {seed}{asked}");
        self.violations += 1;
        self.first_violation.get_or_insert(Failure { seed, invariant, detail });
    }
}

/// What came of all models.
#[derive(Serialize)]
struct Verdicts {
    models: usize,
    states: usize,
    as_expected: bool,
    elapsed_ms: u128,
    variants: Vec<model::Verdict>,
}

fn look_at_all(size: model::Size, json: bool) -> ExitCode {
    let started = Instant::now();
    let mut variants = Vec::new();
    for verdict in model::all(size) {
        if !json {
            let guarantee = verdict.guarantee.unwrap_or_default();
            let (variant, bounds) = (&verdict.variant, &verdict.bounds);
            println!("{variant}: {bounds}: {} {guarantee}", verdict.verdict);
            println!("  {} states, expected: {}", verdict.states, verdict.expected);
            verdict.path.iter().for_each(|state| println!("    {state}"));
        }
        variants.push(verdict);
    }
    let as_expected = variants.iter().all(model::Verdict::is_expected);
    let (models, states) = (variants.len(), variants.iter().map(|verdict| verdict.states).sum());
    let elapsed_ms = started.elapsed().as_millis();
    if json {
        let verdicts = Verdicts { models, states, as_expected, elapsed_ms, variants };
        println!("{}", serde_json::to_string(&verdicts).unwrap_or_default());
    } else {
        println!("{models} models, {states} states, all as expected: {as_expected}");
    }
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of all mutants.
#[derive(Serialize)]
struct Hunt {
    mutants: usize,
    caught: usize,
    elapsed_ms: u128,
    list: Vec<Hunted>,
}

fn hunt(seeds: u64, only: &str, threads: NonZeroUsize, json: bool) -> ExitCode {
    let started = Instant::now();
    let mut list = Vec::new();
    let mutants = mutants::all();
    let mutants: Vec<&Mutant> = mutants.iter().filter(|it| it.name.contains(only)).collect();
    parallel::map(
        &mutants,
        threads,
        |mutant| mutant.hunt(0..seeds),
        |_, hunted| {
            if !json {
                match &hunted.caught {
                    None => println!("{}: not caught by {} seeds", hunted.name, hunted.seeds),
                    Some(caught) => {
                        let (name, seed) = (&hunted.name, caught.seed);
                        println!(
                            "{name}: seed {seed}: \"{}\": {}",
                            caught.invariant, caught.detail
                        );
                    }
                }
            }
            list.push(hunted);
        },
    );
    let caught = list.iter().filter(|hunted| hunted.caught.is_some()).count();
    let (mutants, elapsed_ms) = (list.len(), started.elapsed().as_millis());
    if json {
        let hunt = Hunt { mutants, caught, elapsed_ms, list };
        println!("{}", serde_json::to_string(&hunt).unwrap_or_default());
    } else {
        println!(
            "{mutants} mutants, {caught} caught in {} s; `replay --seed N --mutant NAME` shows how",
            elapsed_ms / 1000
        );
    }
    if caught == mutants { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn attack(trials: u32, seed: u64, json: bool) -> ExitCode {
    let report = attacks::run(trials, seed);
    if json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    } else {
        for attack in &report.attacks {
            println!(
                "{}: advantage {:.4} ({:.4} to {:.4}), at most {:.4} allowed",
                attack.name,
                attack.advantage,
                attack.advantage_lower,
                attack.advantage_upper,
                attack.bound
            );
        }
        println!("{} mutants, {} noticed", report.mutants.total, report.mutants.caught);
    }
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(outcome: &Outcome) -> ExitCode {
    let mut out = std::io::stdout().lock();
    for line in outcome.trace.lines() {
        // a reader that has seen enough closes the pipe
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
