//! `coalition bench query`: how long a joint question takes, beside others that answer it alone.
//!
//! Real nodes in this process, with journals, logs and sockets of their own: rows and spending by department over
//! made-up purchases, each brand reading its own encrypted part. From the confirmed plan to the release:
//! charges certified, noise, reading, hashes certified, openings, the sum. Beside it, in the same run:
//!
//! - the same text in plain DataFusion over one file with all brands' rows: no privacy, no brands;
//! - libraries of differential privacy that are installed for a Python, each alone over that file;
//! - the bounded query and the clipping of one brand that holds all rows, by their number;
//! - the masked sum alone, by brands and cells.

mod masked;
mod synthetic;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt as _;
use privacy::contract::Contract;
use privacy::{Collector, DpPlan, QuerySpec};
use serde::Serialize;

use super::super::{CliError, Io};
use super::alliance::{Alliance, Plan, SETTINGS};
use super::input;
use super::memory::peak_memory_mib;
use crate::cleanroom::read::{collect, engine};
use crate::config::SNAPSHOT_MIB;
use crate::purchases::netted;
use crate::service::{ImportSource, Node};
pub(super) use synthetic::GROUPS;
pub(super) use synthetic::department;
use synthetic::{AMOUNT_MAX, Size};

const PEERS: &str = include_str!("peers.py");
/// How long one question, or one import, may take.
const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(2);

/// What the made-up files mean.
const MAPPING: &str = "\
format = \"coalition import 1\"
name = \"bench\"

[members]
files = [\"members.parquet\"]

[members.columns]
card = \"member_id\"

[members.consent]
source = \"sample_rule\"
notice_version = 1
receivers = [\"*\"]
because = \"There are no such people. 数据为虚构。\"
programme = { default = \"granted\" }
exchange = { default = \"granted\" }
joint_analytics = { default = \"granted\" }

[purchases]
files = [\"purchases.parquet\"]
time_zone = \"Asia/Shanghai\"
channel = \"store\"
basket = \"basket_id\"
line = \"line_no\"
member = \"member_id\"
purchased_at = \"purchased_at\"
department = \"department\"
quantity = \"quantity\"
amount = \"amount\"
currency = \"CNY\"
fen_per_unit = 100

[purchases.cleaning]
same_order_within_seconds = 0
";

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct QueryArguments {
    /// Brands, each with a node of its own.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=20))]
    pub brands: u8,
    /// Purchase lines, over all brands.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub rows: u64,
    /// Members, over all brands.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    pub members: u64,
    /// The growth is measured from `--rows` in steps of ten up to this.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub largest_rows: u64,
    /// Questions; the figure is their median. The year's quota covers three.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3))]
    pub repetitions: u32,
    /// A Python with OpenDP-Polars, SmartNoise or PipelineDP; may be given more than once. Otherwise the paths in
    /// COALITION_PYTHON, separated by colons, or python3.
    #[arg(long)]
    pub python: Vec<PathBuf>,
    /// The masked sum is measured for so many brands.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 10, 20])]
    pub masked_brands: Vec<usize>,
    /// And for so many cells: 10, 1000, 10000 or 100000.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000, 100_000])]
    pub masked_cells: Vec<usize>,
    /// Seed of the made-up purchases.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct QueryFigures {
    /// Brands.
    pub brands: u8,
    /// Purchase lines, over all brands.
    pub rows: u64,
    /// Members, over all brands.
    pub members: u64,
    /// Importing them at all brands, one after the other; not part of a question.
    pub import_seconds: f64,
    /// From the confirmed plan to the release: the median.
    pub joint_seconds: f64,
    /// The same text in plain DataFusion.
    pub plain_seconds: f64,
    /// `joint_seconds / plain_seconds`.
    pub joint_to_plain: f64,
    /// The fastest of the peers that are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fastest_peer_seconds: Option<f64>,
    /// Each peer that is installed.
    pub peers: std::collections::BTreeMap<String, f64>,
    /// By rows.
    pub growth: Vec<GrowthFigures>,
    /// By brands and cells.
    pub masked_sum: Vec<masked::MaskedFigures>,
}

/// One brand that holds all rows.
#[derive(Debug, Serialize)]
pub struct GrowthFigures {
    /// Purchase lines.
    pub rows: u64,
    /// The text in plain DataFusion, on one core.
    pub plain_seconds: f64,
    /// The bounded query, and clipping every member, on one core in an engine with a node's limit of memory.
    pub bounded_seconds: f64,
    /// The same of sales net of refunds, one line in twenty being one, in the same engine.
    pub net_seconds: f64,
    /// The most memory that this process ever held until then, in MiB.
    pub peak_memory_mib: f64,
}

/// Measures.
///
/// # Errors
/// When a node, an import or a question fails.
pub async fn measure(arguments: &QueryArguments, io: &Io) -> Result<QueryFigures, CliError> {
    let folder = tempfile::Builder::new().prefix("coalition-query-").tempdir().map_err(input)?;
    let brands = u64::from(arguments.brands);
    let size = |seed: u64| Size {
        rows: arguments.rows / brands,
        members: arguments.members / brands,
        seed: arguments.seed.wrapping_mul(1_000).wrapping_add(seed),
    };
    let sizes: Vec<Size> = (1..=brands).map(size).collect();

    io.say("making the purchases");
    let file = folder.path().join("rows.parquet");
    synthetic::plain_file(&file, &sizes)?;

    io.say("starting the nodes");
    let settings = settings();
    let plan =
        Plan { brands: arguments.brands, members: 0, snapshot_mib: SNAPSHOT_MIB, served: false };
    let mut alliance = Alliance::make_with(plan, &settings)?;
    alliance.start_here().await?;
    let nodes = alliance.nodes();
    let mut import = Duration::ZERO;
    for ((node, size), brand) in nodes.iter().zip(&sizes).zip(alliance.ids()) {
        io.say(&format!("importing into {brand}"));
        let files = folder.path().join(brand.as_str());
        synthetic::import_files(&files, *size)?;
        let began = Instant::now();
        import_into(node, &files).await?;
        import += began.elapsed();
        std::fs::remove_dir_all(&files).map_err(input)?;
    }
    let mut joint = Vec::new();
    let mut plain = Vec::new();
    for repetition in 0..arguments.repetitions {
        // other words, so that no answer is on record already
        let sql = question(repetition);
        joint.push(ask(nodes.first().ok_or_else(|| input("no node"))?, &sql).await?);
        plain.push(plain_seconds(&file, &sql, None).await?);
        io.say(&format!("question {}: {:.2} s", repetition + 1, joint.last().unwrap_or(&0.0)));
    }
    let (audited, _kept) = alliance.stop().await?;
    drop(audited);

    let peers = peers(arguments, &file, io)?;
    std::fs::remove_file(&file).map_err(input)?;
    let (joint_seconds, plain_seconds) = (median(joint), median(plain));
    let mut growth = Vec::new();
    let mut rows = arguments.rows;
    while rows <= arguments.largest_rows {
        io.say(&format!("one brand with {rows} rows"));
        let size = Size { rows, members: arguments.members, seed: arguments.seed };
        growth.push(grown(folder.path(), size, &settings).await?);
        rows = rows.saturating_mul(10);
    }
    io.say("the masked sum alone");
    Ok(QueryFigures {
        brands: arguments.brands,
        rows: arguments.rows,
        members: arguments.members,
        import_seconds: import.as_secs_f64(),
        joint_seconds,
        plain_seconds,
        joint_to_plain: joint_seconds / plain_seconds,
        fastest_peer_seconds: peers.values().copied().reduce(f64::min),
        peers,
        growth,
        masked_sum: masked::measure(&arguments.masked_brands, &arguments.masked_cells)?,
    })
}

fn question(number: u32) -> String {
    format!(
        "SELECT department, count(*) AS lines, sum(amount_fen) AS spending FROM purchases \
         WHERE amount_fen > {number} GROUP BY department"
    )
}

fn net_question() -> String {
    "SELECT department, count(*) AS lines, sum(net_fen) AS spending FROM purchases \
     WHERE net_fen > 0 GROUP BY department"
        .to_owned()
}

/// The bench's settings with a clean room over the made-up purchases.
pub(super) fn settings() -> String {
    let departments: Vec<String> = (0..GROUPS)
        .map(|index| format!("{{ value = \"{}\" }}", synthetic::department(index)))
        .collect();
    format!(
        "{SETTINGS}\n\
         [clean_room]\n\
         dataset = \"bench\"\n\
         purposes = [\"joint_analytics\"]\n\
         minimum_participants = 3\n\
         profile = \"trial\"\n\
         members_at_most = 1000000\n\
         retention_years = 3\n\n\
         [[clean_room.tables]]\n\
         name = \"purchases\"\n\
         owner = \"member\"\n\
         rows_bound = 20\n\n\
         [[clean_room.tables.columns]]\n\
         kind = \"date\"\n\
         name = \"purchased_on\"\n\
         first = \"2025-01-01\"\n\
         last = \"2025-12-31\"\n\n\
         [[clean_room.tables.columns]]\n\
         kind = \"text\"\n\
         name = \"department\"\n\
         values = [{}]\n\n\
         [[clean_room.tables.columns]]\n\
         kind = \"integer\"\n\
         name = \"amount_fen\"\n\
         unit = \"fen\"\n\
         minimum = 0\n\
         maximum = {AMOUNT_MAX}\n\
         bound = 200000\n\n\
         [[clean_room.tables.columns]]\n\
         kind = \"integer\"\n\
         name = \"net_fen\"\n\
         unit = \"fen\"\n\
         minimum = 0\n\
         maximum = {AMOUNT_MAX}\n\
         bound = 200000\n",
        departments.join(", ")
    )
}

async fn import_into(node: &Node, files: &Path) -> Result<(), CliError> {
    let path = files.to_string_lossy().into_owned();
    node.import(ImportSource::Folder { path, mapping: MAPPING.to_owned() }).await.map_err(input)?;
    let began = Instant::now();
    loop {
        let view = node.import_progress().await.map_err(input)?;
        if let Some(failed) = view.failed {
            return Err(input(failed));
        }
        if view.done {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(input("the import did not end"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Plans, then asks; gives the seconds from asking to the release.
async fn ask(node: &Node, sql: &str) -> Result<f64, CliError> {
    let plan = node.plan(sql.into()).await.map_err(input)?;
    let began = Instant::now();
    let asked = node.query(sql.into(), plan.plan).await.map_err(input)?;
    loop {
        let view = node.query_by_id(asked.id.clone()).await.map_err(input)?;
        match view.step.as_str() {
            "released" => return Ok(began.elapsed().as_secs_f64()),
            "void" => return Err(input(view.reason.unwrap_or_default())),
            _ if began.elapsed() > PATIENCE => return Err(input("the question did not end")),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

async fn session(file: &Path, partitions: Option<usize>) -> Result<SessionContext, CliError> {
    let config = SessionConfig::new();
    let config = partitions.map_or(config.clone(), |number| config.with_target_partitions(number));
    let session = SessionContext::new_with_config(config);
    let path = file.to_string_lossy().into_owned();
    session
        .register_parquet("purchases", &path, ParquetReadOptions::default())
        .await
        .map_err(input)?;
    Ok(session)
}

async fn plain_seconds(file: &Path, sql: &str, partitions: Option<usize>) -> Result<f64, CliError> {
    let began = Instant::now();
    let session = session(file, partitions).await?;
    let batches = session.sql(sql).await.map_err(input)?.collect().await.map_err(input)?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    if rows as u64 != GROUPS {
        return Err(input(format!("{rows} departments where there are {GROUPS}")));
    }
    Ok(began.elapsed().as_secs_f64())
}

/// One brand with so many rows: the plain question, and what its node does for a joint one.
async fn grown(folder: &Path, size: Size, settings: &str) -> Result<GrowthFigures, CliError> {
    let file = folder.join("grown.parquet");
    synthetic::plain_file(&file, &[size])?;
    let sql = question(0);
    let plain = plain_seconds(&file, &sql, Some(1)).await?;
    let plan = Plan { brands: 4, members: 0, snapshot_mib: SNAPSHOT_MIB, served: false };
    let contract = Alliance::make_with(plan, settings)?.contract()?;
    let path = file.to_string_lossy().into_owned();
    let began = Instant::now();
    // with a node's own limits, as below
    let gross = engine().map_err(input)?;
    gross
        .register_parquet("purchases", &path, ParquetReadOptions::default())
        .await
        .map_err(input)?;
    clip(&gross, &contract, sql).await?;
    let bounded = began.elapsed();
    std::fs::remove_file(&file).map_err(input)?;

    synthetic::facts_file(&file, size)?;
    let began = Instant::now();
    let net = engine().map_err(input)?;
    let lines = net.read_parquet(path, ParquetReadOptions::default()).await.map_err(input)?;
    let sales = netted(lines).map_err(input)?;
    net.register_table("purchases", sales).map_err(input)?;
    clip(&net, &contract, net_question()).await?;
    let net_seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&file).map_err(input)?;
    Ok(GrowthFigures {
        rows: size.rows,
        plain_seconds: plain,
        bounded_seconds: bounded.as_secs_f64(),
        net_seconds,
        peak_memory_mib: peak_memory_mib(),
    })
}

/// What a brand's node does with a joint question: the bounded query, and clipping every member.
async fn clip(session: &SessionContext, contract: &Contract, sql: String) -> Result<(), CliError> {
    let spec = QuerySpec {
        sql,
        purpose: "joint_analytics".parse().map_err(input)?,
        analyst: "desk".parse().map_err(input)?,
        participants: contract.participants().to_vec(),
        rho: contract.profile().rho_per_query(),
    };
    let plan = DpPlan::new(contract, &spec).map_err(input)?;
    let brand = *contract.participants().first().ok_or_else(|| input("no brand"))?;
    let bounded = privacy::member_sql(&plan, brand);
    let frame = session.sql(bounded.as_str()).await.map_err(input)?;
    let mut batches = frame.execute_stream().await.map_err(input)?;
    let mut collector = Collector::new(&plan, brand);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(input)?;
        collect(&mut collector, batch.columns(), bounded.aggregates()).map_err(input)?;
    }
    drop(collector.finish().map_err(input)?);
    Ok(())
}

/// The peers that some Python has.
fn peers(
    arguments: &QueryArguments,
    file: &Path,
    io: &Io,
) -> Result<std::collections::BTreeMap<String, f64>, CliError> {
    let mut pythons = arguments.python.clone();
    if pythons.is_empty() {
        let named = std::env::var_os("COALITION_PYTHON").unwrap_or_else(|| "python3".into());
        pythons.extend(std::env::split_paths(&named));
    }
    let mut seconds = std::collections::BTreeMap::new();
    for python in pythons {
        io.say(&format!("peers of {}", python.display()));
        let run = Command::new(&python)
            .args(["-W", "ignore", "-c", PEERS])
            .arg(file)
            .args([arguments.members.to_string(), GROUPS.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        // no Python is no peer
        let Ok(output) = run else { continue };
        let found: std::collections::BTreeMap<String, Option<f64>> =
            serde_json::from_slice(&output.stdout).unwrap_or_default();
        seconds.extend(found.into_iter().filter_map(|(name, took)| Some((name, took?))));
    }
    Ok(seconds)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl QueryFigures {
    /// In words.
    pub fn tell(&self, io: &Io) {
        io.say(&format!(
            "{} brands, {} rows, {} members: joint {:.2} s, plain {:.3} s ({:.0} times), imported in {:.1} s",
            self.brands,
            self.rows,
            self.members,
            self.joint_seconds,
            self.plain_seconds,
            self.joint_to_plain,
            self.import_seconds
        ));
        for (name, seconds) in &self.peers {
            io.say(&format!("{name} alone: {seconds:.1} s"));
        }
        for it in &self.growth {
            io.say(&format!(
                "{} rows at one brand: plain {:.2} s, bounded {:.2} s, net of refunds {:.2} s, at most {:.0} MiB",
                it.rows, it.plain_seconds, it.bounded_seconds, it.net_seconds, it.peak_memory_mib
            ));
        }
        for it in &self.masked_sum {
            io.say(&format!(
                "{} brands, {} cells, {} coordinates: {} bytes sent and {} held by each; noise {:.4} s, masks {:.4} s, openings {:.4} s",
                it.brands,
                it.cells,
                it.coordinates,
                it.bytes_sent_by_each,
                it.bytes_held_by_each,
                it.noise_seconds,
                it.masking_seconds,
                it.opening_seconds
            ));
        }
    }
}
