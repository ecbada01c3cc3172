//! `coalition bench kills`: nodes are killed at random under load, a thousand times or as often as asked, and
//! then every account and link is compared.
//!
//! Every node is a process of its own, and the load comes over HTTPS as from anyone: clients repeat a
//! request under its idempotency key until it is answered. One node at a time is killed with SIGKILL, at a
//! random moment after the last restart, every fourth time while it still starts; journals become
//! snapshots so often that many kills hit one that is being written. Beside the exchanges a till at each node sells, takes
//! back, and is paid with points. What counts in the end: each request that
//! was answered has moved its points once on both sides, no link is gone, the idempotency keys still stand for
//! what they stood for, every node's books balance and say what the tills did, and the logs stand the offline audit with
//! every leaf opened.
//!
//! SIGKILL takes the process and leaves the system's page cache: what a power cut does to unsynced writes is
//! tried by the journal's own tests and by the simulations.

mod tills;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::super::process::{NodeProcess, Program};
use super::super::{CliError, Io};
use super::alliance::{Alliance, POINTS, Plan, card};
use super::input;
use crate::client::{Client, ClientError};
use crate::service::{ExchangeRequest, ExchangeView, MemberView, ProgrammeReportView, Status};

/// Longest time from a restart to the next kill.
const LONGEST_MS: u64 = 700;
/// Longest time from a start to the kill that comes while it starts.
const STARTING_MS: u64 = 250;
/// How long a request may stay without an answer, and how long everything may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);
/// Idempotency keys that are used again at the end.
const ASKED_AGAIN: usize = 400;
/// Kills between two words.
const TOLD_EVERY: u32 = 25;

/// How it is done.
#[derive(Debug, Clone, clap::Args)]
pub struct KillsArguments {
    /// Brands, each with a node of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=13))]
    pub nodes: u8,
    /// How often a node is killed.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub kills: u32,
    /// Members of each brand.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Clients of each node.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,
    /// Chooses victims and moments.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct KillsFigures {
    /// Brands.
    pub nodes: u8,
    /// How often a node was killed.
    pub kills: u32,
    /// How many of them while it started.
    pub kills_while_starting: u32,
    /// Exchanges that were answered.
    pub exchanges: u64,
    /// How long it took under load.
    pub seconds: f64,
    /// From the start of a killed node to its first answer, in milliseconds, half of them in less.
    pub restart_p50_ms: f64,
    /// The same, 99 of 100.
    pub restart_p99_ms: f64,
    /// Accounts with fewer points than they should have, and exchanges that never were acknowledged.
    pub lost: u64,
    /// Accounts with more points than they should have, and exchanges beyond those asked for.
    pub twice: u64,
    /// Links that are not there any more.
    pub links_lost: u64,
    /// Idempotency keys that stood for something else afterwards.
    pub keys_forgotten: u64,
    /// How far each node's books are from balancing.
    pub trial_balances: Vec<i64>,
    /// Members of all nodes whose lots are not what their balance is.
    pub differences: u64,
    /// Rounds of all tills: a sale, a payment with points, both taken back.
    pub till_rounds: u64,
    /// By how many points the books say otherwise of what the tills did.
    pub till_differences: u64,
    /// Sealed payloads that the audit opened: as many as there were exchanges.
    pub payloads_in_logs: u64,
    /// Snapshots that the journals have in the end, at most two a node.
    pub snapshots: usize,
    /// Bytes of all journals in the end.
    pub journal_bytes: u64,
    /// What the audit found.
    pub audit_findings: Vec<String>,
}

impl KillsFigures {
    /// Whether nothing is lost, nothing is there twice, and the books of every node balance.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let found = self.lost
            + self.twice
            + self.links_lost
            + self.keys_forgotten
            + self.differences
            + self.till_differences;
        let balances = self.trial_balances.len() == usize::from(self.nodes)
            && self.trial_balances.iter().all(|balance| *balance == 0);
        found == 0
            && balances
            && self.payloads_in_logs == self.exchanges
            && self.audit_findings.is_empty()
    }

    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<44} {value:>14}"));
        line("kills, while starting", format!("{}, {}", self.kills, self.kills_while_starting));
        line("exchanges answered", self.exchanges.to_string());
        line("a killed node answers again, p50, ms", format!("{:.0}", self.restart_p50_ms));
        line("a killed node answers again, p99, ms", format!("{:.0}", self.restart_p99_ms));
        line("lost", self.lost.to_string());
        line("twice", self.twice.to_string());
        line("links lost", self.links_lost.to_string());
        line("idempotency keys forgotten", self.keys_forgotten.to_string());
        let unbalanced = self.trial_balances.iter().filter(|balance| **balance != 0).count();
        line("nodes whose books do not balance", unbalanced.to_string());
        line("members whose lots differ from balances", self.differences.to_string());
        line("rounds of the tills", self.till_rounds.to_string());
        line("points that the books say otherwise of them", self.till_differences.to_string());
        line("journals in the end, MiB", format!("{:.1}", self.journal_bytes as f64 / 1048576.0));
        line("findings of the audit", self.audit_findings.len().to_string());
        self.audit_findings.iter().take(5).for_each(|found| io.say(found));
    }
}

/// SplitMix64: which node, and when.
struct Chance(u64);

impl Chance {
    const fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// One request that was answered.
pub(super) struct Answered {
    pub(super) from: usize,
    pub(super) key: String,
    pub(super) id: String,
    pub(super) request: ExchangeRequest,
    pub(super) received: u64,
}

/// The brands under load.
pub(super) struct Load {
    pub(super) clients: Vec<Client>,
    pub(super) brands: Vec<String>,
    pub(super) members: u32,
    pub(super) ends: AtomicBool,
    pub(super) numbers: Vec<AtomicU64>,
}

/// Kills, restarts, compares. Every node runs as this program says.
///
/// # Errors
/// When a node does not start again, or a request is refused.
pub async fn measure(
    arguments: &KillsArguments,
    program: &Program,
    io: &Io,
) -> Result<KillsFigures, CliError> {
    let plan =
        Plan { brands: arguments.nodes, members: arguments.members, snapshot_mib: 0, served: true };
    io.say(&format!("{} nodes start as processes", arguments.nodes));
    let alliance = Alliance::make(plan)?;
    let mut nodes = alliance.processes(program);
    for node in &mut nodes {
        node.start()?;
    }
    for node in &mut nodes {
        node.answers().await?;
    }
    let load = Arc::new(Load {
        clients: nodes.iter().map(NodeProcess::client).collect::<Result<_, _>>()?,
        brands: alliance.ids().iter().map(ToString::to_string).collect(),
        members: arguments.members,
        ends: AtomicBool::new(false),
        numbers: nodes.iter().map(|_| AtomicU64::new(0)).collect(),
    });
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for from in 0..nodes.len() {
        for _ in 0..arguments.clients {
            let load = Arc::clone(&load);
            senders.spawn(async move { load.send(from).await });
        }
    }
    let mut tills = JoinSet::new();
    for at in 0..nodes.len() {
        let load = Arc::clone(&load);
        tills.spawn(async move { load.sell(at).await });
    }
    let (restarts, kills_while_starting) = kill(arguments, &mut nodes, &mut senders, io).await?;
    load.ends.store(true, Ordering::Relaxed);
    let mut answered = Vec::new();
    while let Some(sent) = senders.join_next().await {
        answered.extend(sent.map_err(input)??);
    }
    let mut sold = Vec::new();
    while let Some(till) = tills.join_next().await {
        sold.push(till.map_err(input)??);
    }
    let seconds = began.elapsed().as_secs_f64();
    io.say(&format!("{} exchanges were answered; the alliance comes to rest", answered.len()));
    let counts = load.at_rest().await?;
    io.say("every account, link and a part of the keys are compared");
    let keys_forgotten = load.ask_again(&answered).await?;
    let (mut lost, mut twice, links_lost) = load.compare(&answered).await?;
    for (from, counts) in counts.iter().enumerate() {
        let asked = answered.iter().filter(|it| it.from == from).count() as u64;
        lost += asked.saturating_sub(counts.exchanges.acknowledged);
        twice += counts.exchanges.acknowledged.saturating_sub(asked);
    }
    let (trial_balances, differences) = load.books().await?;
    let till_differences = load.till_differences(&sold).await?;
    for node in &mut nodes {
        node.tell_to_stop();
    }
    for node in &mut nodes {
        node.stopped().await;
    }
    let (snapshots, journal_bytes) = (alliance.snapshots(), alliance.journal_bytes());
    io.say("the logs go through the offline audit");
    let (logs, alliance) = alliance.stop().await?;
    let (audit_findings, payloads_in_logs) = alliance.audit(logs)?;
    let percentile = |percent: usize| {
        let place = (restarts.len() * percent / 100).min(restarts.len().saturating_sub(1));
        restarts.get(place).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    Ok(KillsFigures {
        nodes: arguments.nodes,
        kills: arguments.kills,
        kills_while_starting,
        exchanges: answered.len() as u64,
        seconds,
        restart_p50_ms: percentile(50),
        restart_p99_ms: percentile(99),
        lost,
        twice,
        links_lost,
        keys_forgotten,
        trial_balances,
        differences,
        till_rounds: sold.iter().map(|till| till.rounds).sum(),
        till_differences,
        payloads_in_logs,
        snapshots,
        journal_bytes,
        audit_findings,
    })
}

/// Kills as often as asked; gives how long restarts took, ascending, and how many kills hit a start.
async fn kill(
    arguments: &KillsArguments,
    nodes: &mut [NodeProcess],
    senders: &mut JoinSet<Result<Vec<Answered>, CliError>>,
    io: &Io,
) -> Result<(Vec<Duration>, u32), CliError> {
    let mut chance = Chance(arguments.seed);
    let mut restarts = Vec::new();
    let (mut starting, mut kills, mut tell_at) = (0, 0, TOLD_EVERY);
    while kills < arguments.kills {
        tokio::time::sleep(Duration::from_millis(chance.below(LONGEST_MS))).await;
        // a client that gave up has found something
        if let Some(ended) = senders.try_join_next() {
            ended.map_err(input)??;
        }
        let victim = chance.below(nodes.len() as u64) as usize;
        let Some(node) = nodes.get_mut(victim) else { continue };
        node.kill().await?;
        kills += 1;
        let mut started = Instant::now();
        node.start()?;
        while kills < arguments.kills && chance.below(4) == 0 {
            tokio::time::sleep(Duration::from_millis(chance.below(STARTING_MS))).await;
            node.kill().await?;
            (kills, starting) = (kills + 1, starting + 1);
            started = Instant::now();
            node.start()?;
        }
        node.answers().await?;
        restarts.push(started.elapsed());
        if kills >= tell_at {
            tell_at = kills + TOLD_EVERY;
            io.say(&format!("  {kills} of {} kills", arguments.kills));
        }
    }
    restarts.sort_unstable();
    Ok((restarts, starting))
}

impl Load {
    /// One client: asks for one exchange after the other until the load ends.
    async fn send(&self, from: usize) -> Result<Vec<Answered>, CliError> {
        let (Some(client), Some(next)) = (self.clients.get(from), self.numbers.get(from)) else {
            return Ok(Vec::new());
        };
        let mut answered = Vec::new();
        while !self.ends.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            answered.push(self.ask(client, from, number).await?);
        }
        Ok(answered)
    }

    /// Asks a node for its exchange of a number, until it is answered.
    pub(super) async fn ask(
        &self,
        client: &Client,
        from: usize,
        number: u64,
    ) -> Result<Answered, CliError> {
        let others = self.brands.len() as u64 - 1;
        let to = (from as u64 + 1 + number % others) % (others + 1);
        let member = (number / others) % u64::from(self.members);
        let request = ExchangeRequest {
            card: card(member as u32),
            to: self.brands.get(to as usize).cloned().unwrap_or_default(),
            points: 1 + number % 5,
        };
        let key = format!("load-{from}-{number}");
        let view = insist(client, &key, &request).await?;
        Ok(Answered { from, key, id: view.id, request, received: view.points_received })
    }

    /// Waits until nothing is under way anywhere; gives what every node says then.
    pub(super) async fn at_rest(&self) -> Result<Vec<Status>, CliError> {
        let began = Instant::now();
        loop {
            let mut all = Vec::new();
            for client in &self.clients {
                let status = patient(client.get::<Status>("/api/v1/status").await)?;
                all.extend(status);
            }
            let rests =
                |status: &Status| (status.exchanges.held, status.exchanges.r#final) == (0, 0);
            if all.len() == self.clients.len() && all.iter().all(rests) {
                return Ok(all);
            }
            if began.elapsed() > PATIENCE {
                return Err(input("the alliance does not come to rest"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Uses some keys again: the node must answer with what they stood for. Gives how many it did not.
    pub(super) async fn ask_again(&self, answered: &[Answered]) -> Result<u64, CliError> {
        let mut forgotten = 0;
        let step = answered.len().div_ceil(ASKED_AGAIN).max(1);
        for known in answered.iter().step_by(step) {
            let Some(client) = self.clients.get(known.from) else { continue };
            let view = insist(client, &known.key, &known.request).await?;
            forgotten += u64::from(view.id != known.id || view.state != "acknowledged");
        }
        Ok(forgotten)
    }

    /// Compares every account and link; gives how many accounts have too little, too much, and how many
    /// links are gone.
    pub(super) async fn compare(&self, answered: &[Answered]) -> Result<(u64, u64, u64), CliError> {
        let places: BTreeMap<&str, usize> =
            self.brands.iter().map(String::as_str).zip(0..).collect();
        let mut expected: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for place in 0..self.brands.len() {
            for number in 0..self.members {
                expected.insert((place, card(number)), POINTS);
            }
        }
        for known in answered {
            let ExchangeRequest { card, to, points } = &known.request;
            if let Some(balance) = expected.get_mut(&(known.from, card.clone())) {
                *balance = balance.saturating_sub(*points);
            }
            let to = places.get(to.as_str()).copied().unwrap_or_default();
            // the member of the same number is linked
            if let Some(balance) = expected.get_mut(&(to, card.clone())) {
                *balance += known.received;
            }
        }
        let (mut lost, mut twice, mut links_lost) = (0, 0, 0);
        for ((place, card), expected) in &expected {
            let Some(client) = self.clients.get(*place) else { continue };
            let member: MemberView = client.get(&format!("/api/v1/members/{card}")).await?;
            let found = member.available + member.held;
            lost += u64::from(found < *expected);
            twice += u64::from(found > *expected);
            let linked = member.links.iter().filter(|link| link.state == "linked").count();
            links_lost += (self.brands.len() as u64 - 1).saturating_sub(linked as u64);
        }
        Ok((lost, twice, links_lost))
    }

    /// How far each node's books are from balancing, and how many members' lots differ from their balance.
    async fn books(&self) -> Result<(Vec<i64>, u64), CliError> {
        let (mut trial_balances, mut differences) = (Vec::new(), 0);
        for client in &self.clients {
            let report: ProgrammeReportView = client.get("/api/v1/programme/report").await?;
            trial_balances.push(report.trial_balance);
            differences += report.differences;
        }
        Ok((trial_balances, differences))
    }
}

/// Asks until the node has taken the request: it may be away, and the key makes asking again safe.
pub(super) async fn insist(
    client: &Client,
    key: &str,
    request: &ExchangeRequest,
) -> Result<ExchangeView, CliError> {
    let began = Instant::now();
    loop {
        let asked: Result<ExchangeView, ClientError> =
            client.post("/api/v1/exchanges", &[("idempotency-key", key)], request).await;
        if let Some(view) = patient(asked)? {
            return Ok(view);
        }
        if began.elapsed() > PATIENCE {
            return Err(input("a node does not take an exchange"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A node that is away, or has forgotten its sessions in a restart, is asked again.
pub(super) fn patient<T>(asked: Result<T, ClientError>) -> Result<Option<T>, CliError> {
    match asked {
        Ok(view) => Ok(Some(view)),
        Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => Ok(None),
        Err(ClientError::Refused { problem, .. }) if matches!(problem.status, 401 | 429 | 503) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
