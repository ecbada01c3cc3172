//! `coalition bench witness`: what a block costs a brand it says nothing to.
//!
//! The ledgers of an alliance in one thread: everything but disk and network. The witness checks
//! header, tree and its own fragment, whose bytes are all that grows with the block.

use std::collections::BTreeMap;

use protocol::ids::BrandId;
use serde::Serialize;

use super::super::{CliError, Io};
use super::input;
use super::ledgers::{Costs, Ledgers, Work};

/// How it is measured.
#[derive(Debug, clap::Args)]
pub struct WitnessArguments {
    /// Brands.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(3..=21))]
    pub nodes: u8,
    /// Exchanges in a block; may be given again.
    #[arg(long = "exchanges", default_values_t = [10, 100, 1000, 10_000, 65_000])]
    pub exchanges: Vec<u32>,
    /// Blocks of each size.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub blocks: u32,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct WitnessFigures {
    /// Brands.
    pub nodes: u8,
    /// In the order that was asked for.
    pub sizes: Vec<SizeFigures>,
    /// The largest cost but for the fragment over the smallest: 1 when it is flat.
    pub but_fragment_spread: f64,
}

/// One size of blocks. Times are in microseconds, of the block for which each was least.
#[derive(Debug, Serialize)]
pub struct SizeFigures {
    /// Exchanges in a block.
    pub exchanges: u32,
    /// Votes, locks and certificates included.
    pub witness_block_us: f64,
    /// The same less what hashing and copying the fragment costs.
    pub witness_but_fragment_us: f64,
    /// Bytes of one fragment.
    pub fragment_bytes: u64,
    /// What hashing and copying so many bytes costs alone.
    pub fragment_us: f64,
    /// Bytes that a witness is sent for a block, but for its fragment.
    pub but_fragment_bytes: u64,
    /// The sender's cost of one exchange.
    pub writer_exchange_us: f64,
    /// The receiver's cost of one exchange.
    pub receiver_exchange_us: f64,
    /// By work, of all brands that do it.
    pub roles_us: BTreeMap<String, f64>,
}

/// Measures.
///
/// # Errors
/// When an alliance of ledgers does not do what honest ones do.
pub fn measure(arguments: &WitnessArguments, io: &Io) -> Result<WitnessFigures, CliError> {
    let sizes = arguments.exchanges.iter().map(|exchanges| Size::new(arguments.nodes, *exchanges));
    let mut sizes = sizes.collect::<Result<Vec<_>, CliError>>()?;
    // in turn: what else the machine does at a time touches all sizes alike
    for _ in 0..arguments.blocks {
        sizes.iter_mut().try_for_each(Size::block)?;
    }
    io.say(&format!(
        "{:>10} {:>14} {:>14} {:>14} {:>12} {:>12}",
        "exchanges", "witness us", "but fragment", "fragment B", "sender us/x", "receiver us/x"
    ));
    let sizes = sizes.iter().map(|size| size.figures(arguments));
    let sizes = sizes.collect::<Result<Vec<_>, CliError>>()?;
    for figures in &sizes {
        io.say(&format!(
            "{:>10} {:>14.0} {:>14.0} {:>14} {:>12.2} {:>12.2}",
            figures.exchanges,
            figures.witness_block_us,
            figures.witness_but_fragment_us,
            figures.fragment_bytes,
            figures.writer_exchange_us,
            figures.receiver_exchange_us
        ));
    }
    let but_fragment = || sizes.iter().map(|size| size.witness_but_fragment_us);
    let (least, most) = but_fragment()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), cost| (least.min(cost), most.max(cost)));
    Ok(WitnessFigures { nodes: arguments.nodes, but_fragment_spread: most / least, sizes })
}

/// An alliance whose blocks have one size.
struct Size {
    ledgers: Ledgers,
    writer: BrandId,
    to: BrandId,
    exchanges: u32,
    count: usize,
    // the least that the fragment's bytes alone have cost
    fragment_us: f64,
    fragment: Vec<u8>,
    height: u64,
}

impl Size {
    /// After a first block, which is not measured.
    fn new(nodes: u8, exchanges: u32) -> Result<Self, CliError> {
        let mut ledgers = Ledgers::new(nodes).map_err(input)?;
        let [writer, to, ..] = ledgers.brands() else { return Err(input("too few brands")) };
        let (writer, to) = (*writer, *to);
        let count = usize::try_from(exchanges).map_err(input)?;
        ledgers.block(writer, to, count).map_err(input)?;
        ledgers.costs = Costs::default();
        let fragment = vec![7; usize::try_from(ledgers.fragment_bytes).map_err(input)?];
        let height = ledgers.height(writer);
        let fragment_us = f64::INFINITY;
        Ok(Self { ledgers, writer, to, exchanges, count, fragment_us, fragment, height })
    }

    fn block(&mut self) -> Result<(), CliError> {
        self.ledgers.block(self.writer, self.to, self.count).map_err(input)?;
        self.fragment_us = self.fragment_us.min(fragment_cost_us(&self.fragment));
        Ok(())
    }

    fn figures(&self, arguments: &WitnessArguments) -> Result<SizeFigures, CliError> {
        let blocks = self.ledgers.height(self.writer).saturating_sub(self.height);
        if blocks != u64::from(arguments.blocks) {
            return Err(input(format!("{blocks} blocks where {} were due", arguments.blocks)));
        }
        let spent = |of: &[Work]| -> f64 {
            let all = of.iter().filter_map(|work| self.ledgers.costs.least.get(work));
            all.sum::<std::time::Duration>().as_secs_f64() * 1e6
        };
        let witnesses = f64::from(arguments.nodes.saturating_sub(2));
        let witness = [Work::Witness, Work::WitnessDecode, Work::WitnessRecords];
        let sender =
            [Work::Submit, Work::Build, Work::Conclude, Work::WriterEncode, Work::WriterRecords];
        let receiver = [Work::Receiver, Work::ReceiverDecode, Work::ReceiverRecords];
        let each = f64::from(self.exchanges.max(1));
        let witness_block_us = spent(&witness) / witnesses;
        let least = self.ledgers.costs.least.iter();
        Ok(SizeFigures {
            exchanges: self.exchanges,
            witness_block_us,
            witness_but_fragment_us: witness_block_us - self.fragment_us,
            fragment_bytes: self.ledgers.fragment_bytes,
            fragment_us: self.fragment_us,
            but_fragment_bytes: self.ledgers.costs.witness_bytes
                / u64::from(arguments.nodes.saturating_sub(2)).max(1)
                / u64::from(arguments.blocks),
            writer_exchange_us: spent(&sender) / each,
            receiver_exchange_us: spent(&receiver) / each,
            roles_us: least
                .map(|(work, least)| (format!("{work:?}"), least.as_secs_f64() * 1e6))
                .collect(),
        })
    }
}

/// What a fragment costs by its bytes alone: hashed once, copied out of the message, compared with
/// its encoding, and copied into the record.
fn fragment_cost_us(fragment: &[u8]) -> f64 {
    let began = std::time::Instant::now();
    let copy = std::hint::black_box(fragment.to_vec());
    let mut record = Vec::with_capacity(copy.len());
    record.extend_from_slice(&copy);
    std::hint::black_box(record == fragment);
    std::hint::black_box(protocol::log::merkle::leaf_hash(&copy));
    began.elapsed().as_secs_f64() * 1e6
}
