//! One run: an alliance works through bad weather, then everything is repaired and it must finish.
//!
//! In the storm messages are lost, repeated and reordered, the network is cut, machines crash at every
//! place there is and come back, clocks disagree and sometimes jump past the tolerance of the rules, and
//! at most one brand lies. After it everything that was wanted must be certified, answered and known to
//! all within [`CALM_MOST_MS`] of simulated time.
//!
//! The liars are those of [`Liar`], one a run; with `n <= 3` none that could fork, since there a fork is
//! detected and not prevented.

use std::collections::BTreeSet;

use protocol::amount::Points;
use protocol::constitution::Constitution;
use protocol::crypto::sha256;
use protocol::exchange::{Exchange, Link, Payload};
use protocol::ids::{BrandId, MemberHandle, RequestId};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::time::Timestamp;
use protocol::witness::guards::{Guards, Upheld};
use protocol::witness::message::Message;
use protocol::witness::writer::Entropy as _;

use crate::alliance::Alliance;
use crate::counterfeiter::Counterfeiter;
use crate::invariants::{Observer, Violation};
use crate::lockbreaker::Lockbreaker;
use crate::network::{Machine, Network, Packet, Weather};
use crate::node::{Habit, Node, Report};
use crate::prng::Prng;
use crate::trace::Trace;
use crate::twins::forged_answers;

/// Simulated time that the alliance has to finish in after the storm.
pub const CALM_MOST_MS: u64 = 120_000;
/// How often a machine's clock wakes it.
const TICK_MS: u64 = 100;
/// Most that a clock is off, either way: two of them stay within the rules' 60 s.
pub(crate) const SKEW_MOST_MS: usize = 20_000;
/// Where simulated time begins.
const START_MS: u64 = 1_700_000_000_000;

/// How a brand lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liar {
    /// Runs its node twice with the same keys (Bano et al., "Twins", 2020): proposes two blocks in a
    /// round, votes for both of two. At times one of the two loses its disk and starts anew.
    Twins,
    /// Grants itself a thousandfold credit and writes blocks accordingly.
    Spendthrift,
    /// Tries to replace what may be final already ([`crate::lockbreaker`]).
    Lockbreaker,
    /// Writes blocks that are false in one of many ways, and withholds ([`crate::counterfeiter`]).
    Counterfeiter,
    /// Sends messages with bytes altered.
    Babbler,
}

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Everything follows from it.
    pub seed: u64,
    /// How many brands; by the seed if not given.
    pub brands: Option<usize>,
    /// How a brand lies; by the seed if not given. Given, it lies even where a fork can only be
    /// detected.
    pub liar: Option<Liar>,
    /// How many events the storm has.
    pub events: usize,
    /// What all machines do with their disks.
    pub habit: Habit,
}

impl Scenario {
    /// The usual scenario of a seed.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self { seed, brands: None, liar: None, events: 700, habit: Habit::Sound }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many brands there were.
    pub brands: usize,
    /// Who lied, and how.
    pub liar: Option<(BrandId, Liar)>,
    /// The first guarantee that did not hold.
    pub violation: Option<Violation>,
    /// Blocks that became final.
    pub blocks: usize,
    /// Entries that were certified.
    pub entries: usize,
    /// Crashes.
    pub crashes: usize,
    /// Messages that were lost.
    pub lost: u64,
    /// Refusals for a credit limit (rules 13 and 14) that honest witnesses sent.
    pub limit_refusals: usize,
    /// Simulated time the alliance took after the storm.
    pub calm_ms: u64,
    /// The highest round an honest machine joined.
    pub rounds: u32,
    /// What happened.
    pub trace: Trace,
}

/// Runs one scenario.
#[must_use]
pub fn run(scenario: Scenario, trace: Trace) -> Outcome {
    run_with_guards::<Upheld>(scenario, trace)
}

/// Runs one scenario, all brands under these guards.
#[must_use]
pub fn run_with_guards<G: Guards>(scenario: Scenario, trace: Trace) -> Outcome {
    let mut simulation = Simulation::<G>::new(scenario, trace);
    let violation = simulation.play(scenario.events).err();
    if let Some(Violation { invariant, detail }) = &violation {
        simulation.trace.note(format_args!("VIOLATION of \"{invariant}\": {detail}"));
    }
    Outcome {
        brands: simulation.alliance.constitution().committee().size(),
        liar: simulation.liar,
        violation,
        blocks: simulation.observer.blocks(),
        entries: simulation.observer.entries(),
        crashes: simulation.crashes,
        lost: simulation.network.lost(),
        limit_refusals: simulation.limit_refusals,
        calm_ms: simulation.calm_ms,
        rounds: simulation.rounds,
        trace: simulation.trace,
    }
}

struct Simulation<G> {
    prng: Prng,
    now_ms: u64,
    alliance: Alliance,
    liar: Option<(BrandId, Liar)>,
    lockbreaker: Option<Lockbreaker>,
    counterfeiter: Option<Counterfeiter>,
    machines: Vec<Node<G>>,
    network: Network,
    observer: Observer,
    requests: u64,
    crashes: usize,
    limit_refusals: usize,
    calm_ms: u64,
    rounds: u32,
    trace: Trace,
}

impl<G: Guards> Simulation<G> {
    fn new(scenario: Scenario, trace: Trace) -> Self {
        let mut prng = Prng::new(scenario.seed);
        let brands = scenario.brands.unwrap_or_else(|| match prng.below(24) {
            0 => 8 + prng.below(14),
            _ => 2 + prng.below(6),
        });
        let alliance = Alliance::new(brands);
        let ids = alliance.constitution().committee().brands().to_vec();
        let forks = alliance.constitution().committee().faults() > 0;
        let drawn = match prng.below(10) {
            0 | 1 if forks => Some(Liar::Twins),
            2 | 3 if forks => Some(Liar::Lockbreaker),
            4 | 5 if forks => Some(Liar::Counterfeiter),
            6 => Some(Liar::Spendthrift),
            7 => Some(Liar::Babbler),
            _ => None,
        };
        let place = prng.below(ids.len());
        let liar = scenario.liar.or(drawn).and_then(|liar| ids.get(place).map(|id| (*id, liar)));
        let crashes = [0, 2, 10].get(prng.below(3)).copied().unwrap_or_default();
        let mut machines = Vec::new();
        for id in &ids {
            let constitution = constitution_of(&alliance, *id, liar);
            let copies = if liar == Some((*id, Liar::Twins)) { 2 } else { 1 };
            for _ in 0..copies {
                let skew = prng.below(2 * SKEW_MOST_MS) as i64 - SKEW_MOST_MS as i64;
                let entropy = prng.fork();
                let node = Node::new(*id, constitution.clone(), entropy, skew, crashes);
                machines.push(node.with_habit(scenario.habit));
            }
        }
        let weather = Weather {
            loss: [0, 50, 250].get(prng.below(3)).copied().unwrap_or_default(),
            duplication: [0, 100, 300].get(prng.below(3)).copied().unwrap_or_default(),
        };
        let honest: BTreeSet<BrandId> =
            ids.into_iter().filter(|id| Some(*id) != liar.map(|(id, _)| id)).collect();
        let lockbreaker = liar.filter(|(_, liar)| *liar == Liar::Lockbreaker).map(|(id, _)| {
            let keys = alliance.keys(id).voting;
            Lockbreaker::new(id, alliance.constitution().clone(), keys, prng.fork())
        });
        let counterfeiter = liar.filter(|(_, liar)| *liar == Liar::Counterfeiter).map(|(id, _)| {
            let constitution = alliance.constitution().clone();
            Counterfeiter::new(id, constitution, alliance.keys(id), prng.fork())
        });
        let observer = Observer::new(alliance.constitution().clone(), honest);
        Self {
            prng,
            now_ms: START_MS,
            alliance,
            liar,
            lockbreaker,
            counterfeiter,
            machines,
            network: Network::new(weather),
            observer,
            requests: 0,
            crashes: 0,
            limit_refusals: 0,
            calm_ms: 0,
            rounds: 0,
            trace,
        }
    }

    fn play(&mut self, events: usize) -> Result<(), Violation> {
        let brands = self.alliance.constitution().committee().size();
        self.trace.note(format_args!("{brands} brands, liar {:?}", self.liar));
        for machine in 0..self.machines.len() {
            self.restart(machine)?;
        }
        for _ in 0..events {
            self.storm()?;
        }
        self.calm()
    }

    fn storm(&mut self) -> Result<(), Violation> {
        let machine = self.prng.below(self.machines.len());
        match self.prng.below(1000) {
            0..700 => self.deliver(),
            700..850 => {
                self.now_ms += self.prng.below(2 * TICK_MS as usize) as u64;
                self.tick(machine)
            }
            850..950 => self.want(machine),
            950..960 => {
                let twins = Some((self.machines[machine].brand(), Liar::Twins));
                let forgets = self.liar == twins && self.prng.below(2) == 0;
                self.trace.note(format_args!("m{machine} loses power, its disk too: {forgets}"));
                if forgets {
                    self.machine(machine).forget();
                } else {
                    self.machine(machine).crash();
                }
                self.crashes += 1;
                Ok(())
            }
            960..985 => self.restart(machine),
            985..995 => {
                let apart: Vec<Machine> =
                    (0..self.machines.len()).filter(|_| self.prng.below(3) == 0).collect();
                self.trace.note(format_args!("cut off: {apart:?}"));
                self.network.partition(apart);
                Ok(())
            }
            // past what a witness tolerates of a proposal's time
            _ => {
                self.now_ms += 90_000;
                self.trace.note(format_args!("90 s pass"));
                Ok(())
            }
        }
    }

    /// Repairs everything and lets the alliance finish.
    fn calm(&mut self) -> Result<(), Violation> {
        self.trace.note(format_args!("the storm is over"));
        self.network.heal();
        let down = self.stay_down();
        for machine in 0..self.machines.len() {
            self.machine(machine).steady();
            if down.contains(&machine) {
                self.trace.note(format_args!("m{machine} stays down"));
                self.machine(machine).crash();
            } else {
                self.restart(machine)?;
            }
        }
        let up = self.machines.iter().filter(|node| node.ledger().is_some()).map(Node::brand);
        let up: BTreeSet<BrandId> = up.filter(|id| self.observer.honest().contains(id)).collect();
        let mut unfinished = None;
        while self.calm_ms < CALM_MOST_MS {
            for machine in 0..self.machines.len() {
                self.tick(machine)?;
            }
            for _ in 0..self.network.in_flight() {
                self.deliver()?;
            }
            self.now_ms += TICK_MS;
            self.calm_ms += TICK_MS;
            unfinished = self.unfinished(&up);
            if unfinished.is_none() {
                return self.observer.invariant_nothing_is_lost(&up);
            }
        }
        let detail = unfinished.unwrap_or_default();
        Err(Violation { invariant: "everything is finished after the storm", detail })
    }

    /// In every other run as many machines as may be missing are: a quorum of honest ones is enough.
    fn stay_down(&mut self) -> Vec<Machine> {
        let committee = self.alliance.constitution().committee();
        let liars = usize::from(self.liar.is_some());
        let spare = committee.size().saturating_sub(committee.quorum() + liars);
        let down = if self.prng.below(2) == 0 { 0 } else { spare };
        let mut honest: Vec<Machine> = (0..self.machines.len()).collect();
        honest.retain(|machine| self.observer.honest().contains(&self.machines[*machine].brand()));
        let picked = (0..down).map(|_| honest.swap_remove(self.prng.below(honest.len())));
        picked.collect()
    }

    /// What an honest machine that is up still waits for, if anything.
    fn unfinished(&self, honest: &BTreeSet<BrandId>) -> Option<String> {
        let quorum = self.alliance.constitution().committee().quorum();
        let running: Vec<&Node<G>> =
            self.machines.iter().filter(|node| honest.contains(&node.brand())).collect();
        for node in &running {
            let brand = node.brand();
            let Some(ledger) = node.ledger() else { return Some(format!("{brand} is down")) };
            if !node.application().is_content() {
                return Some(format!("{brand} waits for certification"));
            }
            if !ledger.writer().is_idle() {
                return Some(format!("{brand} has a block open: {:?}", ledger.writer().stalled()));
            }
            let unsettled = node.books().unsettled(honest);
            if unsettled > 0 {
                return Some(format!("{unsettled} leaves of {brand} have no answer"));
            }
            let own = ledger.witness(brand)?.tip().height;
            for peer in running.iter().filter_map(|peer| peer.ledger()) {
                let seen = peer.witness(brand)?.tip().height;
                if seen != own {
                    return Some(format!("{} has {brand} at {seen}, not {own}", peer.me()));
                }
            }
            let signatures = ledger.checkpoint().map(|note| note.signatures().len());
            if signatures.is_some_and(|signatures| signatures < quorum) {
                return Some(format!("the checkpoint of {brand} has {signatures:?} signatures"));
            }
        }
        None
    }

    fn machine(&mut self, machine: Machine) -> &mut Node<G> {
        &mut self.machines[machine]
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        let Some(packet) = self.network.next(&mut self.prng) else { return Ok(()) };
        let Packet { from, to, bytes, .. } = packet;
        let now_ms = self.now_ms;
        let hash = u32::from_be_bytes(sha256(&[&bytes])[..4].try_into().unwrap_or_default());
        let message = Message::from_bytes(&bytes).ok();
        self.trace.note(format_args!("{now_ms} {from} -> m{to} {} {hash:08x}", describe(&message)));
        let mut report = Report::default();
        self.machine(to).handle(from, &bytes, now_ms, &mut report);
        self.lie(to, message.as_ref().map(|message| (from, message)), &mut report);
        self.observe(to, message.as_ref(), report)
    }

    /// What the dishonest part of a machine, if it has one and runs, makes of what the honest part
    /// says, when it has heard something or time has passed.
    fn lie(&mut self, machine: Machine, heard: Option<(BrandId, &Message)>, report: &mut Report) {
        let node = &self.machines[machine];
        let (Some((liar, _)), Some(ledger)) = (self.liar, node.ledger()) else { return };
        if liar != node.brand() {
            return;
        }
        let now = Timestamp::from_unix_ms(self.now_ms);
        if let Some(liar) = &mut self.lockbreaker {
            report.sent.retain(|(_, message)| liar.lets_out(message));
            report.sent.extend(match heard {
                Some((from, message)) => liar.hear(from, message),
                None => liar.tick(),
            });
        }
        if let Some(liar) = &mut self.counterfeiter {
            report.sent.retain(|(_, message)| liar.lets_out(message));
            report.sent.extend(match heard {
                Some((from, message)) => liar.hear(from, message, ledger, now),
                None => liar.tick(ledger, now),
            });
            for (block, payloads, contents) in liar.take_built() {
                self.observer.built_as(block, &payloads, &contents);
            }
        }
    }

    fn tick(&mut self, machine: Machine) -> Result<(), Violation> {
        let (now_ms, mut report) = (self.now_ms, Report::default());
        self.machine(machine).tick(now_ms, &mut report);
        self.lie(machine, None, &mut report);
        self.observe(machine, None, report)
    }

    fn restart(&mut self, machine: Machine) -> Result<(), Violation> {
        if self.machines[machine].ledger().is_some() {
            return Ok(());
        }
        if self.liar == Some((self.machines[machine].brand(), Liar::Twins)) {
            self.machine(machine).deny_starts();
        }
        let (now_ms, mut report) = (self.now_ms, Report::default());
        let started = self.machines[machine].restart(&self.alliance, now_ms, &mut report);
        let (brand, records) = (self.machines[machine].brand(), self.machines[machine].records());
        self.trace.note(format_args!("{now_ms} m{machine} ({brand}) starts on {records} records"));
        self.observe(machine, None, report)?;
        started.map_err(|detail| Violation { invariant: "a disk can be read back", detail })
    }

    /// A member or an operator wants something of a brand.
    fn want(&mut self, machine: Machine) -> Result<(), Violation> {
        self.requests += 1;
        let (number, from) = (self.requests, self.machines[machine].brand());
        let constitution = self.alliance.constitution();
        let others: Vec<BrandId> = constitution.committee().witnesses(from).collect();
        let to = others[self.prng.below(others.len())];
        let mut handle = [0; 16];
        self.prng.fill(&mut handle);
        let handle = MemberHandle::from_bytes(handle);
        let most = if self.liar == Some((from, Liar::Spendthrift)) { 3000 } else { 100 };
        let application = match self.prng.below(10) {
            0 => {
                let body = number.to_be_bytes().to_vec();
                let entry = ApplicationEntry { application: 1, body };
                self.machines[machine]
                    .application_mut()
                    .want_public(PublicEntry::Application(entry));
                return Ok(());
            }
            1 => Some(Payload::Link(Link { code: format!("code-{number}"), handle })),
            _ => {
                let mut request = [0; 16];
                request[..8].copy_from_slice(&number.to_be_bytes());
                let sent = Points::new(3 + self.prng.below(most) as u64).unwrap_or_default();
                let request = RequestId::from_bytes(request);
                let priced = Exchange::price(constitution, (from, to), handle, request, sent);
                priced.ok().map(Payload::Exchange)
            }
        };
        if let Some(payload) = application {
            self.trace.note(format_args!("m{machine} wants {payload:?} for {to}"));
            self.machines[machine].application_mut().want_sealed(to, payload);
        }
        self.tick(machine)
    }

    /// Puts what a machine sent on the wire, and checks every guarantee.
    fn observe(
        &mut self,
        machine: Machine,
        heard: Option<&Message>,
        mut report: Report,
    ) -> Result<(), Violation> {
        let node = &self.machines[machine];
        let from = node.brand();
        if let Some(place) = report.crashed {
            self.crashes += 1;
            self.trace.note(format_args!("m{machine} crashes {place}"));
        }
        for block in &report.finals {
            let (log, height, header) = (block.block.log, block.block.height, block.block.header);
            self.trace.note(format_args!("m{machine} final {log}/{height} {header:?}"));
        }
        for (brand, fault) in &report.faults {
            self.trace.note(format_args!("m{machine} blames {brand}: {fault}"));
        }
        let checked = self.observer.check(node, heard, &report, self.now_ms);
        let rival = self.lockbreaker.as_mut().filter(|_| !report.built.is_empty());
        if let (Some((liar, _)), Some(lockbreaker), Some(ledger)) =
            (self.liar, rival, node.ledger())
            && liar == from
            && let Some(block) = lockbreaker.rival(ledger, Timestamp::from_unix_ms(self.now_ms))
        {
            self.observer.built(block);
        }
        let honest = self.observer.honest().contains(&from);
        for (to, message) in report.sent.drain(..) {
            match &message {
                // twins do not want to hear of each other
                Message::Acknowledgement(_) if self.liar == Some((to, Liar::Twins)) => continue,
                Message::Start(start) if self.liar == Some((from, Liar::Twins)) => {
                    for (from, message) in forged_answers(&self.alliance, from, start) {
                        let bytes = message.into_bytes();
                        let to = machine;
                        self.network.send(Packet { from, source: machine, to, bytes });
                    }
                }
                Message::Refusal(refusal) if honest => {
                    self.limit_refusals += usize::from(matches!(refusal.rule, 13 | 14));
                }
                Message::Promise(promise) if honest => {
                    self.rounds = self.rounds.max(promise.promise.body.open.round.get());
                }
                _ => {}
            }
            let bytes = message.into_bytes();
            for receiver in 0..self.machines.len() {
                if self.machines[receiver].brand() == to {
                    let bytes = self.garble(from, bytes.clone());
                    self.network.send(Packet { from, source: machine, to: receiver, bytes });
                }
            }
        }
        checked
    }

    fn garble(&mut self, from: BrandId, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.liar == Some((from, Liar::Babbler)) && self.prng.below(3) == 0 {
            for _ in 0..=self.prng.below(3) {
                let at = self.prng.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.prng.below(8);
                }
            }
        }
        bytes
    }
}

fn constitution_of(
    alliance: &Alliance,
    brand: BrandId,
    liar: Option<(BrandId, Liar)>,
) -> Constitution {
    if liar == Some((brand, Liar::Spendthrift)) {
        alliance.constitution_of_a_spendthrift(brand)
    } else {
        alliance.constitution().clone()
    }
}

/// A message in a few words.
fn describe(message: &Option<Message>) -> String {
    let pledge = |name: &str, pledge: &protocol::witness::statement::Pledge| {
        let block = pledge.block;
        format!("{name} {}/{} r{} {:?}", block.log, block.height, pledge.round, block.header)
    };
    match message {
        None => "(no message)".to_owned(),
        Some(Message::Open(open)) => {
            let open = open.body;
            format!("open {}/{} r{}", open.log, open.height, open.round)
        }
        Some(Message::Promise(message)) => {
            let body = message.promise.body;
            let lock = body.lock.map(|lock| lock.round);
            format!("promise {}/{} r{} {lock:?}", body.open.log, body.open.height, body.open.round)
        }
        Some(Message::Proposal(message)) => pledge("proposal", &message.proposal.body.0),
        Some(Message::Vote(vote)) => pledge("vote", &vote.body.0),
        Some(Message::Lock(lock)) => pledge("lock", &lock.pledge),
        Some(Message::Commit(commit)) => pledge("commit", &commit.body.0),
        Some(Message::Certified(certificate)) => pledge("certified", &certificate.pledge),
        Some(Message::Refusal(refusal)) => {
            let at = format!("{}/{} r{}", refusal.log, refusal.height, refusal.round);
            format!("refusal {at} rule {} joined {}", refusal.rule, refusal.joined)
        }
        Some(Message::Checkpoint(_)) => "checkpoint".to_owned(),
        Some(Message::CatchUp(request)) => {
            format!("catch-up {} from {}", request.log, request.from)
        }
        Some(Message::Blocks(blocks)) => format!("{} blocks", blocks.len()),
        Some(Message::Application(_)) => "application".to_owned(),
        Some(Message::LastProposal(message)) => pledge("last", &message.proposal.body.0),
        Some(Message::Evidence(evidence)) => format!("{evidence:?}"),
        Some(Message::Start(start)) => format!("start {}", start.body.incarnation),
        Some(Message::Acknowledgement(answer)) => {
            format!("acknowledgement {}", answer.body.start.incarnation)
        }
        Some(Message::Head(_)) => "head".to_owned(),
        Some(Message::Recall(recall)) => format!("recall {} from {}", recall.log, recall.from),
        Some(Message::Holdings(holdings)) => format!("{} held blocks", holdings.held.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Unfrozen;

    /// Small enough to run at every build; `simulations run` takes as many as there is time for.
    #[test]
    fn no_guarantee_fails_in_a_fixed_budget_of_seeds() {
        let mut worked = 0;
        for seed in 0..10 {
            let outcome = run(Scenario::of_seed(seed), Trace::default());
            assert_eq!(outcome.violation, None, "seed {seed}");
            worked += outcome.entries;
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
                outcome.limit_refusals
            })
            .sum();
        assert!(refused > 0);
    }
}
