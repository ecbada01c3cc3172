//! What an import does a second, and what its members take.
//!
//! In this process, into a store and facts of its own on this disk: everything a node's import does but
//! entering points in the journal. Members, and purchases when no folder is given, are made by a stated
//! rule: member `n` has card `M…n`, one match key and two attributes; basket `b` of a member has `lines` lines
//! of 12 departments. Beside it, in the same run:
//!
//! - the engine (DataFusion, one thread) that only reads the same file, and keeps nothing;
//! - the floor: the bare store writing the very pairs that the import left in it, in transactions of 4 MiB;
//! - the same import into a store on PostgreSQL, in a cluster that is thrown away, where a server is installed;
//! - a [whole node](whole_node) with as many members: a counter's look-up over HTTPS while it imports, and its start.

mod whole_node;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::ids::BrandId;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;
use serde::Serialize;

pub use self::whole_node::NodeFigures;
use super::super::process::Program;
use super::super::{CliError, Io};
use super::{input, process};
use crate::auth::Role;
use crate::desk::{Desk, DeskSettings};
use crate::intake::BrandFiles;
use crate::metrics::Metrics;
use crate::postgres_cluster::PostgresCluster;
use crate::purchases::{
    Facts, ImportReport, ImportTerms, Mapping, Pace, Source, import_members, rows_read_by_engine,
};
use crate::runtime::now;
use crate::store::{PostgresAddress, PostgresStore, SledStore, Store, Write};
use crate::vault::{CardNumber, HeldBrandKey, KEY_BYTES, Random, Vault};

/// How members and purchases are made.
const MAPPING: &str = "format = \"coalition import 1\"\nname = \"bench\"\n\
    [members]\nfiles = [\"members.csv\"]\n[members.columns]\ncard = \"card\"\nmatch_key = \"key\"\n\
    age_band = \"age\"\nhousehold_size = \"size\"\n\
    [members.consent]\nsource = \"member\"\nnotice_version = 1\n\
    joint_analytics = { column = \"sums\", granted = [\"1\"] }\n\
    [purchases]\nfiles = [\"purchases.csv\"]\ntime_zone = \"Asia/Shanghai\"\nchannel = \"store\"\n\
    basket = \"basket\"\nline = \"line\"\nmember = \"card\"\npurchased_at = \"at\"\n\
    department = \"department\"\nquantity = \"pieces\"\namount = \"yuan\"\ncurrency = \"CNY\"\n\
    fen_per_unit = 100\n";
/// 2025-12-01 in days since 1970-01-01; no purchase is later.
const TODAY: i32 = 20_423;
/// Look-ups kept for the percentile.
const LOOK_UPS_MAX: usize = 1 << 20;
/// From one look-up to the next: what a till does, not what a test of the store's peak would.
const LOOK_UP_EVERY: Duration = Duration::from_millis(10);
/// Of so many look-ups one is a counter's: the member is opened. Each leaves an entry in the operation log, which the
/// store's bytes for a line are not to be full of.
const OPENED_EVERY: u64 = 4;
/// Most lines of one basket.
const LINES_MAX: u32 = 9;
/// Bytes of a transaction of the floor.
const FLOOR_BYTES: usize = 4 << 20;

/// What to measure with.
#[derive(Debug, clap::Args)]
pub struct ImportBenchArguments {
    /// Members that are made before.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub members: u32,
    /// Purchase lines that are made, when no folder is given.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: u32,
    /// A folder of files to import instead, whose members come in addition.
    #[arg(long, requires = "mapping")]
    pub folder: Option<PathBuf>,
    /// The shipped mapping that says what they mean.
    #[arg(long)]
    pub mapping: Option<String>,
    /// Leave out the import into a store on PostgreSQL.
    #[arg(long)]
    pub no_postgres: bool,
    /// Leave out the whole node.
    #[arg(long)]
    pub no_node: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The same import into a store on PostgreSQL.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PostgresImportFigures {
    /// Members enrolled a second.
    pub members_per_second: f64,
    /// Lines a second.
    pub rows_per_second: f64,
    /// That over the rate into sled in the same run.
    pub of_sled: f64,
    /// 99th percentile of look-ups of a member by card while the import ran, in microseconds.
    pub look_up_p99_us: f64,
    /// The same of members that were opened as at a counter.
    pub opened_p99_us: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct ImportFigures {
    /// Members that were made.
    pub members: u64,
    /// Members enrolled a second.
    pub members_per_second: f64,
    /// Bytes of the store for a member, after the members alone.
    pub store_bytes_per_member: f64,
    /// Purchase lines of the file.
    pub rows: u64,
    /// Lines kept.
    pub rows_kept: u64,
    /// Lines a second: read, cleaned, resolved, in baskets, as facts, durable.
    pub rows_per_second: f64,
    /// Bytes of facts for a line.
    pub fact_bytes_per_row: f64,
    /// Bytes of the store for a line.
    pub store_bytes_per_row: f64,
    /// Lines a second of the engine that only reads.
    pub engine_rows_per_second: f64,
    /// The import's rate over that.
    pub of_engine: f64,
    /// Lines a second at which the bare store writes what the import left in it.
    pub floor_rows_per_second: f64,
    /// The import's rate over that.
    pub of_floor: f64,
    /// Look-ups of a member by card while the import ran.
    pub look_ups: u64,
    /// Their median, in microseconds.
    pub look_up_p50_us: f64,
    /// Their 99th percentile, in microseconds.
    pub look_up_p99_us: f64,
    /// Members opened meanwhile as at a counter: found by card, noted in the operation log on the disk, decrypted and
    /// shown masked.
    pub opened: u64,
    /// Median of that, in microseconds.
    pub opened_p50_us: f64,
    /// 99th percentile of that, in microseconds.
    pub opened_p99_us: f64,
    /// Seconds from opening the store until members and facts are counted, as a node does at start.
    pub start_seconds: f64,
    /// Memory of the process at its largest, in MiB; of this one, the whole node is another.
    pub memory_mib: u64,
    /// The same import into a store on PostgreSQL; none when no server is installed, or it was left out.
    pub postgres: Option<PostgresImportFigures>,
    /// A whole node with as many members; none when it was left out.
    pub node: Option<NodeFigures>,
    /// Whether the members and purchases were made by the rule that this bench states.
    pub synthetic: bool,
}

/// What is imported, whatever the store.
struct Work {
    // of the members that are made
    made: Mapping,
    // of the purchases, and of the members that come with them
    mapping: Mapping,
    members: Source,
    more_members: Option<Source>,
    purchases: PathBuf,
    count: u32,
}

/// What became of the purchases, and of the look-ups meanwhile.
struct Bought {
    report: ImportReport,
    rows_per_second: f64,
    look_ups: LookUps,
}

/// How long look-ups took; ascending once the import is over.
#[derive(Default)]
struct LookUps {
    by_card: Vec<Duration>,
    opened: Vec<Duration>,
}

const fn terms(mapping: &Mapping) -> ImportTerms<'_> {
    ImportTerms { mapping, brands: &[], today: TODAY, pace: Pace::FULL }
}

impl Work {
    /// Makes what is not given.
    fn make(arguments: &ImportBenchArguments, folder: &Path) -> Result<Self, CliError> {
        let made = Mapping::from_toml(MAPPING).map_err(input)?;
        let members = folder.join("members.csv");
        make_members(&members, arguments.members)?;
        let (mapping, files) = match (&arguments.folder, &arguments.mapping) {
            (Some(given), Some(name)) => {
                let mapping = Mapping::shipped(name).ok_or_else(|| {
                    CliError::Input(format!("there is no shipped mapping {name}"))
                })?;
                let files = BrandFiles::of_folder(given, &mapping).map_err(input)?;
                (mapping, files)
            }
            _ => {
                let path = folder.join("purchases.csv");
                make_purchases(&path, arguments.rows, arguments.members, LINES_MAX)?;
                (made.clone(), BrandFiles { members: None, purchases: Some(Source::File(path)) })
            }
        };
        let Some(Source::File(purchases)) = files.purchases else {
            return Err(input("the folder has no purchases"));
        };
        let (members, more_members) = (Source::File(members), files.members);
        Ok(Self { made, mapping, members, more_members, purchases, count: arguments.members })
    }

    /// Enrols the members; gives how many were made, and how many of them a second.
    fn enrol(&self, opened: &Opened) -> Result<(u64, f64), CliError> {
        let at = Timestamp::from_unix_ms(1);
        let list = |source: &Source, mapping: &Mapping| {
            import_members(&opened.vault, source, terms(mapping), at, &mut |_| {}).map_err(input)
        };
        let began = Instant::now();
        let enrolled = list(&self.members, &self.made)?.enrolled;
        let per_second = enrolled as f64 / began.elapsed().as_secs_f64();
        if let Some(more) = &self.more_members {
            list(more, &self.mapping)?;
        }
        Ok((enrolled, per_second))
    }

    /// Imports the purchases, and looks members up meanwhile.
    fn buy(&self, opened: &Opened) -> Result<Bought, CliError> {
        let stop = AtomicBool::new(false);
        let (imported, elapsed, look_ups) = std::thread::scope(|scope| {
            let looking = scope.spawn(|| look_up(opened, self.count, &stop));
            let began = Instant::now();
            let (source, terms) = (Source::File(self.purchases.clone()), terms(&self.mapping));
            let (vault, facts) = (&opened.vault, &opened.facts);
            let imported = facts.import(vault, &source, terms, &mut |_| Ok(()), &mut |_| {});
            let elapsed = began.elapsed();
            stop.store(true, Ordering::Relaxed);
            (imported, elapsed, looking.join())
        });
        let report = imported.map_err(input)?;
        let mut look_ups = look_ups.map_err(|_| input("the look-ups failed"))??;
        look_ups.by_card.sort_unstable();
        look_ups.opened.sort_unstable();
        let rows_per_second = report.rows_read as f64 / elapsed.as_secs_f64();
        Ok(Bought { report, rows_per_second, look_ups })
    }
}

/// Measures. A whole node runs as this program says; without one it is left out.
///
/// # Errors
/// When something fails, or what was imported is not what it should be.
pub async fn measure(
    arguments: &ImportBenchArguments,
    program: Option<&Program>,
    io: &Io,
) -> Result<ImportFigures, CliError> {
    let folder = tempfile::Builder::new().prefix("coalition-import-").tempdir().map_err(input)?;
    io.say("members and purchases are made");
    let work = Work::make(arguments, folder.path())?;

    let place = folder.path().join("node");
    let opened = open(&place)?;
    io.say(&format!("{} members are enrolled", arguments.members));
    let (enrolled, members_per_second) = work.enrol(&opened)?;
    let after_members = folder_bytes(&place.join("store"));

    io.say("purchases are imported, members are looked up meanwhile");
    let Bought { report: imported, rows_per_second, look_ups } = work.buy(&opened)?;
    let rows = imported.rows_read;
    let kept = imported.rows_kept.max(1) as f64;
    let (store_bytes, fact_bytes) =
        (folder_bytes(&place.join("store")), folder_bytes(&place.join("facts")));

    io.say("the engine reads the same file");
    let began = Instant::now();
    let read = rows_read_by_engine(&work.purchases).await.map_err(input)?;
    let engine = read as f64 / began.elapsed().as_secs_f64();

    io.say("the node's data are opened again");
    drop(opened);
    let began = Instant::now();
    let opened = open(&place)?;
    let counted = (opened.vault.count().map_err(input)?, opened.facts.rows().map_err(input)?);
    let start_seconds = began.elapsed().as_secs_f64();
    if counted.0 < enrolled || counted.1 != imported.rows_kept {
        return Err(input("not all that was imported is there: no figure counts"));
    }
    drop(opened);

    io.say("the bare store writes what the import left");
    let floor = floor(&place.join("store"), &folder.path().join("floor"))?;
    let floor_rows_per_second = rows as f64 / floor.as_secs_f64();
    // before what is beside it
    let memory_mib = process::peak_memory_mib("self").unwrap_or_default();
    let postgres = if arguments.no_postgres {
        None
    } else {
        on_postgres(&work, (rows_per_second, imported.rows_kept), folder.path(), io)?
    };
    let node = match program.filter(|_| !arguments.no_node) {
        Some(program) => {
            Some(whole_node::measure(arguments.members, folder.path(), program, io).await?)
        }
        None => None,
    };
    Ok(ImportFigures {
        members: enrolled,
        members_per_second,
        store_bytes_per_member: after_members as f64 / enrolled.max(1) as f64,
        rows,
        rows_kept: imported.rows_kept,
        rows_per_second,
        fact_bytes_per_row: fact_bytes as f64 / kept,
        store_bytes_per_row: store_bytes.saturating_sub(after_members) as f64 / kept,
        engine_rows_per_second: engine,
        of_engine: rows_per_second / engine,
        floor_rows_per_second,
        of_floor: rows_per_second / floor_rows_per_second,
        look_ups: look_ups.by_card.len() as u64,
        look_up_p50_us: percentile(&look_ups.by_card, 50),
        look_up_p99_us: percentile(&look_ups.by_card, 99),
        opened: look_ups.opened.len() as u64,
        opened_p50_us: percentile(&look_ups.opened, 50),
        opened_p99_us: percentile(&look_ups.opened, 99),
        start_seconds,
        memory_mib,
        postgres,
        node,
        synthetic: arguments.folder.is_none(),
    })
}

/// The same into a store on PostgreSQL, beside the rate and the rows kept in sled; none when no server is installed.
fn on_postgres(
    work: &Work,
    (sled_rows_per_second, kept): (f64, u64),
    folder: &Path,
    io: &Io,
) -> Result<Option<PostgresImportFigures>, CliError> {
    let Some(cluster) = PostgresCluster::start().map_err(input)? else {
        io.say("no PostgreSQL is installed: the import into a store on it is left out");
        return Ok(None);
    };
    io.say("the same is imported into a store on PostgreSQL");
    let address = PostgresAddress::parse(&cluster.address("bench")).map_err(input)?;
    let store = PostgresStore::open(&address, None).map_err(input)?;
    // goes before the cluster
    let opened = open_on(Arc::new(store), folder.join("facts-beside-postgres"))?;
    let (_, members_per_second) = work.enrol(&opened)?;
    let bought = work.buy(&opened)?;
    if bought.report.rows_kept != kept || opened.facts.rows().map_err(input)? != kept {
        return Err(input("PostgreSQL has not what sled has: no figure counts"));
    }
    Ok(Some(PostgresImportFigures {
        members_per_second,
        rows_per_second: bought.rows_per_second,
        of_sled: bought.rows_per_second / sled_rows_per_second,
        look_up_p99_us: percentile(&bought.look_ups.by_card, 99),
        opened_p99_us: percentile(&bought.look_ups.opened, 99),
    }))
}

impl ImportFigures {
    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<48} {value:>14}"));
        line("members enrolled a second", format!("{:.0}", self.members_per_second));
        line("store bytes for a member", format!("{:.0}", self.store_bytes_per_member));
        line("purchase lines a second", format!("{:.0}", self.rows_per_second));
        line(
            "the engine that only reads, lines a second",
            format!("{:.0}", self.engine_rows_per_second),
        );
        line("the bare store, lines a second", format!("{:.0}", self.floor_rows_per_second));
        line("fact bytes for a line", format!("{:.1}", self.fact_bytes_per_row));
        line("store bytes for a line", format!("{:.1}", self.store_bytes_per_row));
        line("look-up of a member meanwhile p50, us", format!("{:.1}", self.look_up_p50_us));
        line("look-up of a member meanwhile p99, us", format!("{:.1}", self.look_up_p99_us));
        line("member opened meanwhile p50, us", format!("{:.1}", self.opened_p50_us));
        line("member opened meanwhile p99, us", format!("{:.1}", self.opened_p99_us));
        line("start: open and count, s", format!("{:.2}", self.start_seconds));
        line("memory at most, MiB", self.memory_mib.to_string());
        if let Some(postgres) = &self.postgres {
            let rate = format!("{:.0}", postgres.rows_per_second);
            line("purchase lines a second, store on PostgreSQL", rate);
            line("that over sled's", format!("{:.2}", postgres.of_sled));
            let opened = format!("{:.1}", postgres.opened_p99_us);
            line("member opened meanwhile p99 there, us", opened);
        }
        if let Some(node) = &self.node {
            node.tell(io);
        }
    }
}

/// Vault, facts and desk over one store.
struct Opened {
    vault: Arc<Vault>,
    facts: Facts,
    desk: Desk,
}

fn open(place: &Path) -> Result<Opened, CliError> {
    let store = SledStore::open(place.join("store")).map_err(input)?;
    open_on(Arc::new(store), place.join("facts"))
}

fn open_on(store: Arc<dyn Store>, facts: PathBuf) -> Result<Opened, CliError> {
    let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
    let brand = BrandId::new("bench").map_err(input)?;
    let random: Random = Arc::new(SystemRandom::new());
    let vault = Arc::new(Vault::new(brand, Arc::clone(&store), key, Arc::clone(&random)));
    let facts = Facts::open(facts, Arc::clone(&store), &vault).map_err(input)?;
    let rules = DeskSettings::default().rules().map_err(input)?;
    let desk = Desk::open(Arc::clone(&vault), store, random, rules, Metrics::default());
    Ok(Opened { vault, facts, desk: desk.map_err(input)? })
}

fn card(number: u32) -> String {
    format!("M{number:09}")
}

fn make_members(path: &Path, members: u32) -> Result<(), CliError> {
    let wrong = |source| CliError::File { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(wrong)?);
    writeln!(file, "card,key,age,size,sums").map_err(wrong)?;
    for number in 0..members {
        let (card, age, size, sums) =
            (card(number), ["19-24", "25-34", "35-44", "45-54"], number % 5 + 1, number % 3);
        let age = age.get(number as usize % 4).copied().unwrap_or_default();
        writeln!(file, "{card},person-{number:020},{age},{size},{sums}").map_err(wrong)?;
    }
    file.flush().map_err(wrong)
}

/// Baskets of 1 to `lines_max` lines; members come in an order that is no order, each once before one comes again.
fn make_purchases(path: &Path, rows: u32, members: u32, lines_max: u32) -> Result<(), CliError> {
    let wrong = |source| CliError::File { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(wrong)?);
    writeln!(file, "basket,line,card,at,department,pieces,yuan").map_err(wrong)?;
    let (mut done, mut basket) = (0_u32, 0_u32);
    while done < rows {
        let owner = (u64::from(basket) * 2_654_435_761 % u64::from(members)) as u32;
        let (month, day) = (basket % 11 + 1, basket % 28 + 1);
        let (hour, minute) = (basket % 14 + 8, basket % 60);
        for line in 0..(basket % lines_max + 1).min(rows - done) {
            let fen = (basket * 37 + line * 101) % 9_900 + 100;
            writeln!(
                file,
                "{basket},{line},{},2025-{month:02}-{day:02} {hour:02}:{minute:02}:00,D{:02},{},{}.{:02}",
                card(owner),
                (basket + line) % 12,
                line % 3 + 1,
                fen / 100,
                fen % 100
            )
            .map_err(wrong)?;
            done += 1;
        }
        basket += 1;
    }
    file.flush().map_err(wrong)
}

/// Looks members up by card until told to stop, a hundred a second, and opens every fourth as a counter does.
fn look_up(opened: &Opened, members: u32, stop: &AtomicBool) -> Result<LookUps, CliError> {
    let (mut taken, mut number) = (LookUps::default(), 1_u64);
    // once even where the import is over before this begins
    while taken.by_card.is_empty()
        || (!stop.load(Ordering::Relaxed) && taken.by_card.len() < LOOK_UPS_MAX)
    {
        number = next_number(number);
        let name = card_of(number, members);
        let card = CardNumber::new(&name).map_err(input)?;
        let began = Instant::now();
        let found = opened.vault.by_card(&card).map_err(input)?;
        taken.by_card.push(began.elapsed());
        if found.is_none() {
            return Err(input("a member who was enrolled is not found"));
        }
        if (taken.by_card.len() as u64 - 1).is_multiple_of(OPENED_EVERY) {
            let began = Instant::now();
            let member = opened.desk.member(&name).map_err(input)?;
            let shown = opened.desk.record("bench", &[Role::Store], member, now());
            let shown = shown.map_err(input)?;
            taken.opened.push(began.elapsed());
            if shown.identifiers.is_empty() {
                return Err(input("a member who was opened has no identifier"));
            }
        }
        std::thread::sleep(LOOK_UP_EVERY);
    }
    Ok(taken)
}

/// The next of a walk through numbers, the same every time.
const fn next_number(number: u64) -> u64 {
    number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)
}

fn card_of(number: u64, members: u32) -> String {
    card(((number >> 33) % u64::from(members)) as u32)
}

/// How long a bare store takes for the pairs that an import has written into another.
fn floor(from: &Path, to: &Path) -> Result<Duration, CliError> {
    const SPACES: [&str; 2] = ["purchases_basket_sealed", "facts_chunk"];
    let from = SledStore::open(from).map_err(input)?;
    let to = SledStore::open(to).map_err(input)?;
    let mut taken = Duration::ZERO;
    for keyspace in SPACES {
        let (mut after, mut writes, mut bytes) = (None::<Vec<u8>>, Vec::new(), 0);
        loop {
            let page = from.scan_prefix(keyspace, &[], after.as_deref(), 512).map_err(input)?;
            let last = page.last().map(|(key, _)| key.clone());
            for (key, value) in page {
                bytes += key.len() + value.len();
                writes.push(Write::put(keyspace, key, value));
            }
            if bytes >= FLOOR_BYTES || (last.is_none() && !writes.is_empty()) {
                let began = Instant::now();
                to.transaction(&writes).map_err(input)?;
                taken += began.elapsed();
                writes.clear();
                bytes = 0;
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    Ok(taken.max(Duration::from_nanos(1)))
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e6)
}
