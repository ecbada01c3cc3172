//! `coalition bench witness`: what a block costs a brand it says nothing to.
//!
//! The ledgers of an alliance in one thread: everything but disk and network. The witness checks
//! header, tree and its own fragment, whose bytes are all that grows with the block.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{CliError, Io};
use super::input;
use super::ledgers::{Costs, Ledgers, Work};

/// How it is measured.
#[derive(Debug, clap::Args)]
pub struct WitnessArguments {
    /// Brands.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(3..=21))]
    nodes: u8,
    /// Exchanges in a block; may be given again.
    #[arg(long = "exchanges", default_values_t = [10, 100, 1000, 10_000, 65_000])]
    exchanges: Vec<u32>,
    /// Blocks of each size.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    blocks: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct WitnessFigures {
    nodes: u8,
    sizes: Vec<SizeFigures>,
}

/// One size of blocks. Times are in microseconds, of the block for which each was least.
#[derive(Debug, Serialize)]
struct SizeFigures {
    exchanges: u32,
    /// Votes, locks and certificates included.
    witness_block_us: f64,
    /// The same less what hashing and copying the fragment costs.
    witness_but_fragment_us: f64,
    fragment_bytes: u64,
    writer_exchange_us: f64,
    receiver_exchange_us: f64,
    roles_us: BTreeMap<String, f64>,
}

/// Measures.
///
/// # Errors
/// When an alliance of ledgers does not do what honest ones do.
pub fn measure(arguments: &WitnessArguments, io: &Io) -> Result<WitnessFigures, CliError> {
    let mut sizes = Vec::new();
    io.say(&format!(
        "{:>10} {:>14} {:>14} {:>14} {:>12} {:>12}",
        "exchanges", "witness us", "but fragment", "fragment B", "sender us/x", "receiver us/x"
    ));
    for exchanges in &arguments.exchanges {
        let figures = one_size(arguments, *exchanges)?;
        io.say(&format!(
            "{:>10} {:>14.0} {:>14.0} {:>14} {:>12.2} {:>12.2}",
            figures.exchanges,
            figures.witness_block_us,
            figures.witness_but_fragment_us,
            figures.fragment_bytes,
            figures.writer_exchange_us,
            figures.receiver_exchange_us
        ));
        sizes.push(figures);
    }
    Ok(WitnessFigures { nodes: arguments.nodes, sizes })
}

fn one_size(arguments: &WitnessArguments, exchanges: u32) -> Result<SizeFigures, CliError> {
    let mut ledgers = Ledgers::new(arguments.nodes).map_err(input)?;
    let [writer, to, ..] = ledgers.brands() else { return Err(input("too few brands")) };
    let (writer, to) = (*writer, *to);
    let count = usize::try_from(exchanges).map_err(input)?;
    ledgers.block(writer, to, count).map_err(input)?;
    let before = ledgers.height(writer);
    ledgers.costs = Costs::default();
    for _ in 0..arguments.blocks {
        ledgers.block(writer, to, count).map_err(input)?;
    }
    let blocks = ledgers.height(writer).saturating_sub(before);
    if blocks != u64::from(arguments.blocks) {
        return Err(input(format!("{blocks} blocks where {} were due", arguments.blocks)));
    }
    let spent = |of: &[Work]| -> f64 {
        let all = of.iter().filter_map(|work| ledgers.costs.least.get(work));
        all.sum::<std::time::Duration>().as_secs_f64() * 1e6
    };
    let witnesses = f64::from(arguments.nodes.saturating_sub(2));
    let witness = [Work::Witness, Work::WitnessDecode, Work::WitnessRecords];
    let sender =
        [Work::Submit, Work::Build, Work::Conclude, Work::WriterEncode, Work::WriterRecords];
    let receiver = [Work::Receiver, Work::ReceiverDecode, Work::ReceiverRecords];
    let each = f64::from(exchanges.max(1));
    let fragment_bytes = ledgers.fragment_bytes;
    let fragment_us = fragment_cost_us(usize::try_from(fragment_bytes).map_err(input)?);
    let witness_block_us = spent(&witness) / witnesses;
    Ok(SizeFigures {
        exchanges,
        witness_block_us,
        witness_but_fragment_us: witness_block_us - fragment_us,
        fragment_bytes,
        writer_exchange_us: spent(&sender) / each,
        receiver_exchange_us: spent(&receiver) / each,
        roles_us: ledgers
            .costs
            .least
            .iter()
            .map(|(work, least)| (format!("{work:?}"), least.as_secs_f64() * 1e6))
            .collect(),
    })
}

/// What a fragment costs by its bytes alone: hashed once, copied out of the message, compared with
/// its encoding, and copied into the record.
fn fragment_cost_us(bytes: usize) -> f64 {
    let fragment = vec![7_u8; bytes];
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        let copy = std::hint::black_box(fragment.clone());
        let mut record = Vec::with_capacity(copy.len());
        record.extend_from_slice(&copy);
        std::hint::black_box(record == fragment);
        std::hint::black_box(protocol::log::merkle::leaf_hash(&copy));
        least = least.min(began.elapsed().as_secs_f64() * 1e6);
    }
    least
}
