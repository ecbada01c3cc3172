//! `coalition bench memory`: whether the memory of nodes stays what it is while exchanges go on.
//!
//! Real nodes in this process, as in `bench exchange`, at a steady rate. What is read is the resident memory of
//! the process, all nodes together with what makes the requests. The slope is that of the second half, by
//! least squares: the first fills caches and the headers that are kept of every log. Afterwards every node is
//! stopped and started again, which is timed: what a snapshot and its tail take.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::super::{CliError, Io};
use super::alliance::{Alliance, POINTS, Plan, card};
use super::input;
use crate::service::{ExchangeRequest, KeyedExchange, Node};

/// How often a batch is due.
const PACE: Duration = Duration::from_millis(10);
/// Batches of one node that may be under way.
const BATCHES: usize = 500;
/// How long everything may take to come to rest after the last batch.
const REST: Duration = Duration::from_secs(180);

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct MemoryArguments {
    /// Brands, each with a node of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=21))]
    pub nodes: u8,
    /// Exchanges a second, over all nodes.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(2..))]
    pub seconds: u32,
    /// Seconds between two readings.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Members of each brand.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// MiB of the journal between two snapshots.
    #[arg(long, default_value_t = crate::config::SNAPSHOT_MIB)]
    pub snapshot_mib: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// One reading.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Since the load began.
    pub seconds: f64,
    /// Resident memory of the process, in MiB.
    pub memory_mib: f64,
    /// Exchanges so far.
    pub exchanges: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct MemoryFigures {
    /// Brands.
    pub nodes: u8,
    /// Exchanges, all final and credited.
    pub exchanges: u64,
    /// A second, under load.
    pub exchanges_per_second: f64,
    /// Readings.
    pub samples: Vec<Sample>,
    /// How fast memory grew in the second half, in KiB a second.
    pub slope_kib_per_second: f64,
    /// The same for one exchange, over all nodes.
    pub slope_bytes_per_exchange: f64,
    /// Bytes of all journals and snapshots in the end.
    pub journal_bytes: u64,
    /// From the start of a node until it has read its journal, the slowest of all.
    pub restart_seconds: f64,
    /// Whether the points of all members came to what they were, before the restart and after it.
    pub points_conserved: bool,
}

impl MemoryFigures {
    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<44} {value:>14}"));
        line("exchanges a second", format!("{:.0}", self.exchanges_per_second));
        if let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) {
            line("memory at the first reading, MiB", format!("{:.0}", first.memory_mib));
            line("memory at the last reading, MiB", format!("{:.0}", last.memory_mib));
        }
        line("growth in the second half, KiB/s", format!("{:.1}", self.slope_kib_per_second));
        line("growth for one exchange, bytes", format!("{:.0}", self.slope_bytes_per_exchange));
        line("journals, MiB", format!("{:.0}", self.journal_bytes as f64 / 1048576.0));
        line("the slowest restart, s", format!("{:.2}", self.restart_seconds));
    }
}

/// Measures.
///
/// # Errors
/// When a node fails, an exchange is refused or lost, or points come or go.
pub async fn measure(arguments: &MemoryArguments, io: &Io) -> Result<MemoryFigures, CliError> {
    let plan = Plan {
        brands: arguments.nodes,
        members: arguments.members,
        snapshot_mib: arguments.snapshot_mib,
        served: false,
    };
    io.say(&format!("{} nodes with {} members each start", arguments.nodes, arguments.members));
    let mut alliance = Alliance::make(plan)?;
    alliance.start_here().await?;
    let brands: Vec<String> = alliance.ids().iter().map(ToString::to_string).collect();
    let nodes = alliance.nodes();
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for (place, node) in nodes.iter().cloned().enumerate() {
        let (brands, arguments) = (brands.clone(), arguments.clone());
        senders.spawn(async move { send(node, place, &brands, &arguments, began).await });
    }
    let mut samples = Vec::new();
    let every = Duration::from_secs(u64::from(arguments.every));
    let seconds = Duration::from_secs(u64::from(arguments.seconds));
    while began.elapsed() + every <= seconds {
        tokio::time::sleep(every).await;
        let exchanges = credited(&nodes);
        let sample =
            Sample { seconds: began.elapsed().as_secs_f64(), memory_mib: memory_mib(), exchanges };
        io.say(&format!(
            "  {:>6.0} s {:>9.1} MiB {:>10} exchanges",
            sample.seconds, sample.memory_mib, sample.exchanges
        ));
        samples.push(sample);
        if let Some(ended) = senders.try_join_next() {
            ended.map_err(input)??;
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent.map_err(input)??;
    }
    let elapsed = began.elapsed();
    let exchanges = at_rest(&nodes).await?;
    let total = u128::from(POINTS) * u128::from(arguments.members) * u128::from(arguments.nodes);
    let before = points(&nodes, arguments.members).await? == total;
    drop(nodes);
    io.say("every node is stopped and started again");
    let journal_bytes = alliance.journal_bytes();
    let restart_seconds = alliance.restart_all().await?.as_secs_f64();
    let after = points(&alliance.nodes(), arguments.members).await? == total;
    alliance.stop().await?;
    let slope = slope(&samples);
    let rate = exchanges as f64 / elapsed.as_secs_f64();
    let figures = MemoryFigures {
        nodes: arguments.nodes,
        exchanges,
        exchanges_per_second: rate,
        samples,
        slope_kib_per_second: slope * 1024.0,
        slope_bytes_per_exchange: slope * 1_048_576.0 / rate.max(1.0),
        journal_bytes,
        restart_seconds,
        points_conserved: before && after,
    };
    if !figures.points_conserved {
        return Err(input("points came or went: no figure counts"));
    }
    Ok(figures)
}

/// One brand's members exchange at their part of the rate.
async fn send(
    node: Node,
    place: usize,
    brands: &[String],
    arguments: &MemoryArguments,
    began: Instant,
) -> Result<(), CliError> {
    let seconds = Duration::from_secs(u64::from(arguments.seconds));
    let others = brands.len() as u64 - 1;
    let (mut sent, mut owed, mut due) = (0_u64, 0.0, began);
    let mut batches = JoinSet::new();
    while began.elapsed() < seconds {
        due += PACE;
        tokio::time::sleep_until(due.into()).await;
        owed += f64::from(arguments.rate) / brands.len() as f64 * PACE.as_secs_f64();
        let count = owed as u64;
        owed -= count as f64;
        if count == 0 {
            continue;
        }
        let requests = (sent..sent + count).map(|number| {
            let to = (place as u64 + 1 + number % others) % (others + 1);
            let member = (number / others) % u64::from(arguments.members);
            KeyedExchange {
                key: format!("{place}-{number}"),
                request: ExchangeRequest {
                    card: card(member as u32),
                    to: brands.get(to as usize).cloned().unwrap_or_default(),
                    points: 1 + number % 5,
                },
            }
        });
        let requests = requests.collect();
        sent += count;
        let node = node.clone();
        batches.spawn(async move {
            let batch = node.exchange_batch(requests).await.map_err(input)?;
            for taken in batch.taken {
                taken.map_err(|error| input(format!("{}: {}", error.code, error.message)))?;
            }
            batch.all_final.await.map_err(input)
        });
        while let Some(ended) = batches.try_join_next() {
            ended.map_err(input)??;
        }
        if batches.len() > BATCHES {
            return Err(input("the nodes do not keep up with this rate: ask for a lower one"));
        }
    }
    while let Some(ended) = batches.join_next().await {
        ended.map_err(input)??;
    }
    Ok(())
}

fn credited(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.status().exchanges.credited).sum()
}

/// Waits until everything is acknowledged; gives how many exchanges there were.
async fn at_rest(nodes: &[Node]) -> Result<u64, CliError> {
    let began = Instant::now();
    loop {
        let counts = nodes.iter().map(|node| node.status().exchanges);
        let under_way: u64 = counts.map(|counts| counts.held + counts.r#final).sum();
        if under_way == 0 {
            return Ok(credited(nodes));
        }
        if began.elapsed() > REST {
            return Err(input("an exchange was final and never acknowledged"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn points(nodes: &[Node], members: u32) -> Result<u128, CliError> {
    let mut total = 0;
    for node in nodes {
        for number in 0..members {
            let member = node.member(card(number)).await.map_err(input)?;
            total += u128::from(member.available) + u128::from(member.held);
        }
    }
    Ok(total)
}

/// Growth in MiB a second over the second half of the readings.
fn slope(samples: &[Sample]) -> f64 {
    let points: Vec<_> = samples.iter().map(|it| (it.seconds, it.memory_mib)).collect();
    slope_of_second_half(&points)
}

/// How fast a figure grows over the second half of its readings, each with its second: by least squares.
pub(super) fn slope_of_second_half(readings: &[(f64, f64)]) -> f64 {
    let late = readings.get(readings.len() / 2..).unwrap_or_default();
    let count = (late.len() as f64).max(1.0);
    let time = late.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = late.iter().map(|(_, figure)| figure).sum::<f64>() / count;
    let above: f64 = late.iter().map(|(at, figure)| (at - time) * (figure - mean)).sum();
    let below: f64 = late.iter().map(|(at, _)| (at - time).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

fn memory_mib() -> f64 {
    status_mib("VmRSS:")
}

/// The most that this process ever held, in MiB.
pub(super) fn peak_memory_mib() -> f64 {
    status_mib("VmHWM:")
}

fn status_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_second_half() {
        let sample = |seconds: f64, memory_mib| Sample { seconds, memory_mib, exchanges: 0 };
        let first = (0..10).map(|at| sample(f64::from(at), 100.0 * f64::from(at)));
        let second = (10..20).map(|at| sample(f64::from(at), 1000.0 + 3.0 * f64::from(at)));
        let samples: Vec<Sample> = first.chain(second).collect();
        assert!((slope(&samples) - 3.0).abs() < 1e-9);
        assert!(slope(&[]).abs() < 1e-9);
    }
}
