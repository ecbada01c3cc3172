//! One run: an alliance works through bad weather, then everything is repaired and it must finish.
//!
//! In the storm messages are lost, repeated and reordered, the network is cut, machines crash at every
//! place there is and come back, clocks disagree and sometimes jump past the tolerance of the rules, and
//! as many brands lie as the alliance tolerates. In some runs disks are put back to older states,
//! constitutions follow one another, brands clear and settle, the logs of liars are closed
//! ([`scenario::Topic`]). After it everything that was wanted must be certified, answered and known to all within
//! [`CALM_MOST_MS`] of simulated time, and what comes after all else within some more: one brand that joins last, a
//! last cut-off.
//!
//! The liars are those of [`Liar`]; with `n <= 3` none that could fork, since there a fork is detected and
//! not prevented.

mod ambushes;
mod calm;
mod chapters;
mod constitutions;
mod describe;
mod scenario;
#[cfg(test)]
mod tests;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::{Points, Value};
use protocol::constitution::{Constitution, Draft};
use protocol::crypto::sha256;
use protocol::exchange::{Exchange, Link, Payload};
use protocol::ids::{BrandId, ConstitutionHash, MemberHandle, RequestId};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::time::Timestamp;
use protocol::witness::guards::{Guards, Upheld};
use protocol::witness::message::Message;
use protocol::witness::writer::Entropy as _;

use self::describe::{describe, describe_entries};
use self::scenario::Drawn;
pub use self::scenario::{Scenario, Topic};
use crate::alliance::Alliance;
use crate::invariants::{Observer, Violation};
pub use crate::liars::Liar;
use crate::liars::Villain;
use crate::liars::replayer::HOARD_MAX;
use crate::liars::twins::forged_answers;
use crate::network::{Machine, Network, Packet};
use crate::node::{Node, Report};
use crate::prng::Prng;
use crate::trace::Trace;

/// Simulated time that the alliance has to finish in after the storm.
pub const CALM_MOST_MS: u64 = 240_000;
/// How often a machine's clock wakes it.
const TICK_MS: u64 = 100;
/// Most that a clock is off, either way: two of them stay within the rules' 60 s.
pub(crate) const SKEW_MOST_MS: usize = 20_000;
/// Where simulated time begins.
const START_MS: u64 = 1_700_000_000_000;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many brands there were at first.
    pub brands: usize,
    /// Who lied, and how.
    pub liars: Vec<(BrandId, Liar)>,
    /// What happened beside the usual.
    pub topics: Vec<Topic>,
    /// The first guarantee that did not hold.
    pub violation: Option<Violation>,
    /// What there was of everything.
    pub counts: Counts,
    /// Simulated time the alliance took after the storm.
    pub calm_ms: u64,
    /// The highest round an honest machine joined.
    pub rounds: u32,
    /// What happened.
    pub trace: Trace,
}

/// How much there was of something in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Blocks that became final.
    pub blocks: usize,
    /// Entries that were certified.
    pub entries: usize,
    /// Crashes.
    pub crashes: usize,
    /// Disks put back to an older state.
    pub restores: usize,
    /// Messages that were lost.
    pub messages_lost: u64,
    /// Refusals for a credit limit (rules 13 and 14) that honest witnesses sent.
    pub limit_refusals: usize,
    /// Constitutions taken up after the first.
    pub constitutions: usize,
    /// Cut-offs whose statement was paid and discharged.
    pub discharged: usize,
    /// Logs of liars that evidence has frozen.
    pub frozen: usize,
    /// Those that were closed for good.
    pub closed: usize,
    /// Disputes that ended by terms in both logs.
    pub resolved: usize,
    /// Offers that an accuser could not agree to, each time it looked.
    pub declined: usize,
    /// Ended logs that honest brands have closed out, each counted.
    pub closed_out: usize,
    /// Statements derived by a brand that joined after another, which they count, had ended.
    pub joined: usize,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            blocks: self.blocks + other.blocks,
            entries: self.entries + other.entries,
            crashes: self.crashes + other.crashes,
            restores: self.restores + other.restores,
            messages_lost: self.messages_lost + other.messages_lost,
            limit_refusals: self.limit_refusals + other.limit_refusals,
            constitutions: self.constitutions + other.constitutions,
            discharged: self.discharged + other.discharged,
            frozen: self.frozen + other.frozen,
            closed: self.closed + other.closed,
            resolved: self.resolved + other.resolved,
            declined: self.declined + other.declined,
            closed_out: self.closed_out + other.closed_out,
            joined: self.joined + other.joined,
        }
    }
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
    let observer = &simulation.observer;
    let counts = Counts {
        blocks: observer.blocks(),
        entries: observer.entries(),
        messages_lost: simulation.network.lost(),
        constitutions: observer.constitutions().count() - 1,
        discharged: observer.discharged(),
        frozen: observer.frozen(),
        closed: observer.closed(),
        resolved: observer.resolved(),
        closed_out: observer.closed_out(),
        ..simulation.counts
    };
    Outcome {
        brands: simulation.alliance.constitution().committee().size(),
        liars: simulation.liars.into_iter().collect(),
        topics: simulation.topics.into_iter().collect(),
        violation,
        counts,
        calm_ms: simulation.calm_ms,
        rounds: simulation.rounds,
        trace: simulation.trace,
    }
}

struct Simulation<G> {
    prng: Prng,
    scenario: Scenario,
    now_ms: u64,
    alliance: Alliance,
    liars: BTreeMap<BrandId, Liar>,
    villains: BTreeMap<BrandId, Villain>,
    // what any liar has ever heard
    hoard: Vec<Message>,
    restorable: BTreeSet<BrandId>,
    topics: BTreeSet<Topic>,
    machines: Vec<Node<G>>,
    crash_chance: usize,
    network: Network,
    observer: Observer,
    // drafts that were published
    drafts: Vec<(Draft, Constitution)>,
    // the one that the brands settle on after the storm
    settled_on: Option<ConstitutionHash>,
    generations: BTreeMap<BrandId, usize>,
    cut_offs: BTreeSet<Timestamp>,
    // where constitutions follow one another: the one that all are asked for when all is over
    last_cut_off: Option<Timestamp>,
    // after the storm one more has joined, or cannot
    has_joined_last: bool,
    // payments that were made: cut-off, payer, payee
    bank: BTreeMap<(Timestamp, BrandId, BrandId), Value>,
    requests: u64,
    counts: Counts,
    calm_ms: u64,
    // the storm is not over
    is_storming: bool,
    rounds: u32,
    trace: Trace,
}

impl<G: Guards> Simulation<G> {
    fn new(scenario: Scenario, trace: Trace) -> Self {
        let mut prng = Prng::new(scenario.seed);
        let Drawn { alliance, liars, restorable, topics, crashes, weather } =
            Drawn::new(&scenario, &mut prng);
        let first = alliance.constitution().clone();
        let ids = first.committee().brands().to_vec();
        let honest = ids.iter().copied().filter(|id| !liars.contains_key(id)).collect();
        let observer = Observer::new(first.clone(), honest, restorable.clone())
            .of_outcomes_alone(scenario.outcomes_alone);
        let villains = liars
            .iter()
            .map(|(id, liar)| {
                (*id, Villain::new(*id, (*liar, scenario.lie), &first, &liars, &mut prng))
            })
            .collect();
        let mut simulation = Self {
            prng,
            scenario,
            now_ms: START_MS,
            alliance,
            liars,
            villains,
            hoard: Vec::new(),
            restorable,
            topics,
            machines: Vec::new(),
            crash_chance: crashes,
            network: Network::new(weather),
            observer,
            drafts: Vec::new(),
            settled_on: None,
            generations: BTreeMap::new(),
            cut_offs: BTreeSet::new(),
            last_cut_off: None,
            has_joined_last: false,
            bank: BTreeMap::new(),
            requests: 0,
            counts: Counts::default(),
            calm_ms: 0,
            is_storming: true,
            rounds: 0,
            trace,
        };
        for id in ids {
            let liar = simulation.liars.get(&id).copied();
            let constitution = match liar {
                Some(Liar::Spendthrift) => simulation.alliance.constitution_of_a_spendthrift(id),
                _ => first.clone(),
            };
            for _ in 0..if liar == Some(Liar::Twins) { 2 } else { 1 } {
                simulation.add_machine(id, constitution.clone());
            }
        }
        simulation
    }

    fn add_machine(
        &mut self,
        brand: BrandId,
        chain: impl Into<protocol::epochs::Constitutions>,
    ) -> Machine {
        let skew = self.prng.below(2 * SKEW_MOST_MS) as i64 - SKEW_MOST_MS as i64;
        let entropy = self.prng.fork();
        let node = Node::new(brand, chain, entropy, skew, self.crash_chance);
        self.machines.push(node.with_habit(self.scenario.habit));
        self.machines.len() - 1
    }

    fn play(&mut self, events: usize) -> Result<(), Violation> {
        let brands = self.machines.len();
        let (liars, topics) = (&self.liars, &self.topics);
        self.trace.note(format_args!("{brands} machines, liars {liars:?}, topics {topics:?}"));
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
            850..900 => self.want(machine),
            900..950 if self.topics.is_empty() => self.want(machine),
            900..950 => self.chapter(machine),
            950..960 => {
                let forgets = self.is_twin(machine) && self.prng.below(2) == 0;
                self.trace.note(format_args!("m{machine} loses power, its disk too: {forgets}"));
                if forgets {
                    self.machine(machine).forget();
                } else {
                    self.machine(machine).crash();
                }
                self.counts.crashes += 1;
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

    fn machine(&mut self, machine: Machine) -> &mut Node<G> {
        &mut self.machines[machine]
    }

    fn is_honest(&self, machine: Machine) -> bool {
        self.observer.honest().contains(&self.machines[machine].brand())
    }

    fn is_twin(&self, machine: Machine) -> bool {
        self.liars.get(&self.machines[machine].brand()) == Some(&Liar::Twins)
    }

    fn deliver(&mut self) -> Result<(), Violation> {
        let Some(packet) = self.network.next(&mut self.prng) else { return Ok(()) };
        let Packet { from, to, bytes, .. } = packet;
        let now_ms = self.now_ms;
        let hash = u32::from_be_bytes(sha256(&[&bytes])[..4].try_into().unwrap_or_default());
        let message = Message::from_bytes(&bytes).ok();
        let words = describe(message.as_ref());
        self.trace.note(format_args!("{now_ms} {from} -> m{to} {words} {hash:08x}"));
        let mut report = Report::default();
        self.machine(to).handle(from, &bytes, now_ms, &mut report);
        self.lie(to, message.as_ref().map(|message| (from, message)), &mut report);
        self.observe(to, message.as_ref(), report)
    }

    /// What the dishonest part of a machine, if it has one and runs, makes of what the honest part
    /// says, when it has heard something or time has passed.
    fn lie(&mut self, machine: Machine, heard: Option<(BrandId, &Message)>, report: &mut Report) {
        let node = &self.machines[machine];
        let Some(villain) = self.villains.get_mut(&node.brand()) else { return };
        let Some(ledger) = node.ledger() else { return };
        if let Some((_, message)) = heard {
            if self.hoard.len() >= HOARD_MAX {
                let mut place = 0_usize;
                self.hoard.retain(|_| {
                    place += 1;
                    place.is_multiple_of(2)
                });
            }
            self.hoard.push(message.clone());
        }
        let now = Timestamp::from_unix_ms(self.now_ms);
        villain.act(ledger, heard, &self.hoard, now, &mut report.sent);
        if let Some(counterfeiter) = villain.counterfeiter() {
            for (block, payloads, contents) in counterfeiter.take_built() {
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
        if self.is_twin(machine) {
            self.machine(machine).deny_starts();
        }
        // what breaks without a guard is for the other invariants to find
        if TypeId::of::<G>() == TypeId::of::<Upheld>() {
            let stand = self.machines[machine].snapshots_stand_for_their_records();
            let invariant = "snapshots stand for their records";
            stand.map_err(|detail| Violation { invariant, detail })?;
        }
        let (now_ms, mut report) = (self.now_ms, Report::default());
        let started = self.machines[machine].restart(now_ms, &mut report);
        let (brand, records) = (self.machines[machine].brand(), self.machines[machine].records());
        self.trace.note(format_args!("{now_ms} m{machine} ({brand}) starts on {records} records"));
        self.observer.starts(&self.machines[machine]);
        self.observe(machine, None, report)?;
        started.map_err(|detail| Violation { invariant: "a disk can be read back", detail })
    }

    /// A member or an operator wants something of a brand.
    fn want(&mut self, machine: Machine) -> Result<(), Violation> {
        if self.topics.contains(&Topic::Credit) && self.prng.below(3) == 0 {
            self.send_back(machine);
            return self.tick(machine);
        }
        self.requests += 1;
        let (number, from) = (self.requests, self.machines[machine].brand());
        // at the prices of the constitution that the brand's log is under
        let ledger = self.machines[machine].ledger();
        let constitution =
            ledger.map_or(self.alliance.constitution(), |ledger| ledger.constitution()).clone();
        let others: Vec<BrandId> = constitution.committee().witnesses(from).collect();
        let to = others[self.prng.below(others.len())];
        let mut handle = [0; 16];
        self.prng.fill(&mut handle);
        let handle = MemberHandle::from_bytes(handle);
        let spendthrift = self.liars.get(&from) == Some(&Liar::Spendthrift);
        let most = if spendthrift { 3000 } else { 100 };
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
                let priced = Exchange::price(&constitution, (from, to), handle, request, sent);
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
            self.counts.crashes += 1;
            self.trace.note(format_args!("m{machine} crashes {place}"));
        }
        if report.restored {
            self.trace.note(format_args!("m{machine} takes note that its disk was put back"));
        }
        for block in &report.finals {
            let (log, height, header) = (block.block.log, block.block.height, block.block.header);
            let epoch = block.block.epoch;
            let entries = describe_entries(&block.public);
            let block = format!("{log}/{height} {header:?} under epoch {epoch}{entries}");
            self.trace.note(format_args!("m{machine} final {block}"));
        }
        for (brand, fault) in &report.faults {
            self.trace.note(format_args!("m{machine} blames {brand}: {fault}"));
        }
        for terms in &report.agreed {
            self.trace.note(format_args!("m{machine} agrees to {terms:?}"));
        }
        self.counts.declined += report.declined;
        let checked = self.observer.check(node, heard, &report, self.now_ms);
        if let Some(built) = report.built.last()
            && let (Some(villain), Some(ledger)) = (self.villains.get_mut(&from), node.ledger())
        {
            let now = Timestamp::from_unix_ms(self.now_ms);
            let rivals = villain.rivals(built, ledger, now);
            rivals.iter().for_each(|block| self.observer.built(block));
        }
        let honest = self.is_honest(machine);
        self.ambush(machine, &mut report.sent)?;
        for (to, message) in report.sent.drain(..) {
            match &message {
                // twins do not want to hear of each other
                Message::Acknowledgement(_) if self.liars.get(&to) == Some(&Liar::Twins) => {
                    continue;
                }
                Message::Start(start) if self.is_twin(machine) => {
                    let committee = self.alliance.constitution().committee();
                    for (from, message) in forged_answers(committee, from, start) {
                        let bytes = message.into_bytes();
                        let to = machine;
                        self.network.send(Packet { from, source: machine, to, bytes });
                    }
                }
                Message::Refusal(refusal) if honest => {
                    self.counts.limit_refusals += usize::from(matches!(refusal.rule, 13 | 14));
                }
                Message::Promise(promise) if honest => {
                    let round = promise.promise.body.open.round;
                    if !protocol::witness::closing::is_last(round) {
                        self.rounds = self.rounds.max(round.get());
                    }
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
        if self.liars.get(&from) == Some(&Liar::Babbler) && self.prng.below(3) == 0 {
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
