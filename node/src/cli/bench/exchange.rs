//! `coalition bench exchange`: exchanges a second of a whole alliance in one process.
//!
//! In it: real nodes with a journal each (encrypted, fdatasync before anything is said), requests in
//! batches through the node's own operation (idempotency key, card, consent, link, balance, limit),
//! blocks sealed, certified by a quorum of signatures and published, both legs in members' balances.
//! Not in it: HTTP and its TLS; the requests are made in the process of the nodes.
//!
//! An exchange counts when the sender's block is final and the receiver has credited its member; the
//! clock stops when that is so for every one that was taken. Latency is from when a batch was due to
//! be sent to when it was final at its sender, at half of the peak rate of the same run. Afterwards
//! all balances are added up, and with `--verify` the logs go through the offline audit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;

use super::super::audit::{self, AuditArguments};
use super::super::{CliError, Io};
use super::alliance::{Alliance, POINTS, card};
use super::floor::Floor;
use super::{input, postgres, process};
use crate::service::{ExchangeRequest, KeyedExchange, Node};

/// Exchanges of one request at most.
const BATCH: u32 = 2048;
/// How often a batch is due at half of the peak.
const PACE: Duration = Duration::from_millis(4);
/// How long everything may take to come to rest after the last batch.
const REST: Duration = Duration::from_secs(180);

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct ExchangeArguments {
    /// Brands, each with a node of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=21))]
    pub nodes: u8,
    /// Seconds of load at the peak; as many again at half of it.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Members of each brand.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Exchanges of one node that are sent and not final, at most.
    #[arg(long, default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(16..=60_000))]
    pub under_way: u32,
    /// Audit the logs afterwards.
    #[arg(long)]
    pub verify: bool,
    /// Leave the database out.
    #[arg(long)]
    pub no_postgres: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct ExchangeFigures {
    /// Brands.
    pub nodes: u8,
    /// Cores that the process may use.
    pub cores: usize,
    /// Exchanges of the peak, all final and credited.
    pub exchanges: u64,
    /// A second, from the first request to the last credit.
    pub exchanges_per_second: f64,
    /// Processor time of the process for one exchange, in microseconds: all nodes, and the making of
    /// the requests.
    pub cpu_us_per_exchange: f64,
    /// The rate at which latency was measured.
    pub half_rate_per_second: f64,
    /// Due to be sent until final, in milliseconds.
    pub finality_p50_ms: f64,
    /// The same, at the 99th percentile.
    pub finality_p99_ms: f64,
    /// How messages went.
    pub transport: &'static str,
    /// What a request went through, and what it did not.
    pub includes: &'static str,
    /// See there.
    pub excludes: &'static str,
    /// Bytes written to journals for one exchange.
    pub journal_bytes_per_exchange: f64,
    /// Exchanges in a block, on average.
    pub exchanges_per_block: f64,
    /// What cannot be saved.
    pub floor: Floor,
    /// The peak rate over what the floor alone would allow on these cores.
    pub of_floor: f64,
    /// Batched double entry in PostgreSQL in the same run, where a server is installed: a key that is
    /// taken once, two postings, both balances.
    pub postgres_batched_per_second: Option<f64>,
    /// The peak rate over that.
    pub times_postgres: Option<f64>,
    /// The least that moves points in PostgreSQL: one row without a key, balances moved by sums.
    pub postgres_summed_per_second: Option<f64>,
    /// Memory of the process at its largest, in MiB.
    pub memory_mib: u64,
    /// Whether the points of all members came to what they were.
    pub points_conserved: bool,
    /// Whether the audit found nothing; none when it was not asked for.
    pub audit_sound: Option<bool>,
}

/// What was done in one phase.
struct Phase {
    exchanges: u64,
    elapsed: Duration,
    cpu: Duration,
    latencies: Vec<Duration>,
}

/// Measures.
///
/// # Errors
/// When a node fails, an exchange is refused or lost, points come or go, or the audit finds something.
pub async fn measure(arguments: &ExchangeArguments, io: &Io) -> Result<ExchangeFigures, CliError> {
    let brands = f64::from(arguments.nodes);
    let postgres = if arguments.no_postgres {
        None
    } else {
        io.say("batched double entry in PostgreSQL, if a server is installed");
        let seconds = arguments.seconds.clamp(1.0, 10.0) as u32;
        tokio::task::spawn_blocking(move || postgres::batched_per_second(seconds))
            .await
            .map_err(input)??
    };
    io.say(&format!("{} nodes with {} members each start", arguments.nodes, arguments.members));
    let alliance = Alliance::start(arguments.nodes, arguments.members).await?;
    let constitution = alliance_config::Constitution::parse(
        &std::fs::read(alliance.constitution()).map_err(input)?,
    )
    .map_err(input)?;
    let committee = constitution.ledger().committee();
    let fragments = (brands - 1.0) / committee.fragments_needed() as f64;
    let floor = Floor::measure(constitution.ledger().payload_size(), fragments)?;

    let load = Arc::new(Load::of(&alliance, arguments.under_way));
    io.say("a first second, not measured, so that every node has seen its members");
    let warm = Duration::from_secs_f64(arguments.seconds.clamp(0.1, 1.0));
    load.phase(0, warm, Pressure::Full).await?;
    let journals = alliance.journal_bytes();
    let blocks = load.heights();
    io.say(&format!("{:.1} s of load at the peak", arguments.seconds));
    let seconds = Duration::from_secs_f64(arguments.seconds);
    let peak = load.phase(1, seconds, Pressure::Full).await?;
    let (journals, blocks) =
        (alliance.journal_bytes().saturating_sub(journals), load.heights().saturating_sub(blocks));
    let rate = peak.exchanges as f64 / peak.elapsed.as_secs_f64();
    io.say(&format!("{rate:.0} a second; {:.1} s at half of that", arguments.seconds));
    let mut half = load.phase(2, seconds, Pressure::Paced(rate / 2.0)).await?;
    half.latencies.sort_unstable();

    io.say("the members' points are added up");
    let total = load.points().await?;
    let points_conserved =
        total == u128::from(POINTS) * u128::from(alliance.members()) * u128::from(arguments.nodes);
    let (logs, alliance) = alliance.stop().await?;
    let audit_sound = if arguments.verify {
        io.say("the logs go through the offline audit");
        let audited = audit::audit(&AuditArguments {
            logs,
            constitution: alliance.constitution(),
            signatures: alliance.signatures(),
            later: Vec::new(),
            auditor_keys: Vec::new(),
            recovery_keys: alliance.recovery_keys(),
            witnesses: Vec::new(),
            openings: Vec::new(),
            archive: None,
            json: true,
        })?;
        Some(audited.is_clean())
    } else {
        None
    };
    drop(alliance);

    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let figures = ExchangeFigures {
        nodes: arguments.nodes,
        cores,
        exchanges: peak.exchanges,
        exchanges_per_second: rate,
        cpu_us_per_exchange: peak.cpu.as_secs_f64() * 1e6 / peak.exchanges.max(1) as f64,
        half_rate_per_second: half.exchanges as f64 / half.elapsed.as_secs_f64(),
        finality_p50_ms: percentile(&half.latencies, 50),
        finality_p99_ms: percentile(&half.latencies, 99),
        transport: "libp2p loopback",
        includes: "in-process batch request, durable journals, certification, publication, both balances",
        excludes: "HTTP, TLS",
        journal_bytes_per_exchange: journals as f64 / peak.exchanges.max(1) as f64,
        exchanges_per_block: peak.exchanges as f64 / blocks.max(1) as f64,
        floor,
        of_floor: rate * floor.exchange_us / 1e6 / cores as f64,
        postgres_batched_per_second: postgres.map(|postgres| postgres.double_entry),
        times_postgres: postgres.map(|postgres| rate / postgres.double_entry),
        postgres_summed_per_second: postgres.map(|postgres| postgres.summed),
        memory_mib: process::peak_memory_mib("self").unwrap_or_default(),
        points_conserved,
        audit_sound,
    };
    if !figures.points_conserved || figures.audit_sound == Some(false) {
        return Err(input("points came or went, or the audit found something: no figure counts"));
    }
    Ok(figures)
}

impl ExchangeFigures {
    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<44} {value:>14}"));
        line(
            "exchanges a second, certified and durable",
            format!("{:.0}", self.exchanges_per_second),
        );
        line("processor time for one, us", format!("{:.2}", self.cpu_us_per_exchange));
        line("finality p50 at half of it, ms", format!("{:.1}", self.finality_p50_ms));
        line("finality p99 at half of it, ms", format!("{:.1}", self.finality_p99_ms));
        line("exchanges in a block", format!("{:.0}", self.exchanges_per_block));
        line("journal bytes for one", format!("{:.0}", self.journal_bytes_per_exchange));
        line("floor for one (hashes, ciphers), us", format!("{:.2}", self.floor.exchange_us));
        if let (Some(rate), Some(times)) = (self.postgres_batched_per_second, self.times_postgres) {
            line("PostgreSQL, batched, a second", format!("{rate:.0}"));
            line("times PostgreSQL", format!("{times:.2}"));
        }
        if let Some(rate) = self.postgres_summed_per_second {
            line("PostgreSQL, sums without keys, a second", format!("{rate:.0}"));
        }
        line("memory at most, MiB", self.memory_mib.to_string());
    }
}

#[derive(Clone, Copy)]
enum Pressure {
    /// As much as fits under way.
    Full,
    /// So many a second over all nodes.
    Paced(f64),
}

/// What sends requests.
struct Load {
    nodes: Vec<Node>,
    brands: Vec<String>,
    members: u32,
    under_way: u32,
}

impl Load {
    fn of(alliance: &Alliance, under_way: u32) -> Self {
        Self {
            under_way,
            nodes: alliance.nodes(),
            brands: alliance.ids().iter().map(ToString::to_string).collect(),
            members: alliance.members(),
        }
    }

    /// Sends for so long, and waits until all of it has ended on both sides.
    async fn phase(
        self: &Arc<Self>,
        number: u32,
        seconds: Duration,
        pressure: Pressure,
    ) -> Result<Phase, CliError> {
        let (credited, cpu, began) = (self.credited(), process_time(), Instant::now());
        let mut senders = Vec::new();
        for place in 0..self.nodes.len() {
            let load = Arc::clone(self);
            let sender = async move { load.send(place, number, began, seconds, pressure).await };
            senders.push(tokio::spawn(sender));
        }
        let (mut exchanges, mut latencies) = (0_u64, Vec::new());
        for sender in senders {
            let (sent, seen) = sender.await.map_err(input)??;
            exchanges += sent;
            latencies.extend(seen);
        }
        while self.credited().saturating_sub(credited) < exchanges {
            if began.elapsed() > seconds + REST {
                return Err(input("an exchange was final and never credited"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let elapsed = began.elapsed();
        Ok(Phase { exchanges, elapsed, cpu: process_time().saturating_sub(cpu), latencies })
    }

    async fn send(
        &self,
        place: usize,
        phase: u32,
        began: Instant,
        seconds: Duration,
        pressure: Pressure,
    ) -> Result<(u64, Vec<Duration>), CliError> {
        let room = Arc::new(Semaphore::new(self.under_way as usize));
        let mut waiting = Vec::new();
        let (mut sent, mut due) = (0_u64, began);
        let mut owed = 0.0;
        // on a busy machine this may be begun when the time is over: something is sent all the same
        while began.elapsed() < seconds || sent == 0 {
            let count = match pressure {
                Pressure::Full => BATCH.min(self.under_way / 4),
                Pressure::Paced(rate) => {
                    due += PACE;
                    tokio::time::sleep_until(due.into()).await;
                    owed += rate / self.nodes.len() as f64 * PACE.as_secs_f64();
                    let whole = (owed as u32).min(self.under_way);
                    owed -= f64::from(whole);
                    whole
                }
            };
            if count == 0 {
                continue;
            }
            let permit = Arc::clone(&room).acquire_many_owned(count).await.map_err(input)?;
            let asked = match pressure {
                Pressure::Full => Instant::now(),
                Pressure::Paced(_) => due,
            };
            let requests = self.requests(place, phase, sent, count);
            let node = self.nodes.get(place).cloned().ok_or_else(|| input("no such node"))?;
            sent += u64::from(count);
            waiting.push(tokio::spawn(async move {
                let batch = node.exchange_batch(requests).await.map_err(input)?;
                for taken in batch.taken {
                    taken.map_err(|error| input(format!("{}: {}", error.code, error.message)))?;
                }
                batch.all_final.await.map_err(input)?;
                drop(permit);
                Ok::<_, CliError>(asked.elapsed())
            }));
        }
        let mut latencies = Vec::with_capacity(waiting.len());
        for batch in waiting {
            latencies.push(batch.await.map_err(input)??);
        }
        Ok((sent, latencies))
    }

    fn requests(&self, place: usize, phase: u32, first: u64, count: u32) -> Vec<KeyedExchange> {
        let others = self.brands.len() as u64 - 1;
        (first..first + u64::from(count))
            .map(|number| {
                let to = (place as u64 + 1 + number % others) % (others + 1);
                let member = (number / others) % u64::from(self.members);
                KeyedExchange {
                    key: format!("{phase}-{place}-{number}"),
                    request: ExchangeRequest {
                        card: card(member as u32),
                        to: self.brands[to as usize].clone(),
                        points: 1 + number % 5,
                    },
                }
            })
            .collect()
    }

    fn credited(&self) -> u64 {
        self.nodes.iter().map(|node| node.status().exchanges.credited).sum()
    }

    fn heights(&self) -> u64 {
        let own = |node: &Node| {
            let status = node.status();
            let own = status.heads.iter().find(|head| head.brand == status.brand);
            own.map_or(0, |head| head.height)
        };
        self.nodes.iter().map(own).sum()
    }

    async fn points(&self) -> Result<u128, CliError> {
        let mut total = 0;
        for node in &self.nodes {
            for number in 0..self.members {
                let member = node.member(card(number)).await.map_err(input)?;
                total += u128::from(member.available) + u128::from(member.held);
            }
        }
        Ok(total)
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}

/// Processor time of this process so far.
fn process_time() -> Duration {
    process::cpu_time("self").unwrap_or_default()
}
