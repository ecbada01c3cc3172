//! What an import does a second, and what its members take.
//!
//! In this process, into a store and facts of its own on this disk: everything a node's import does but
//! entering points in the journal. Members, and purchases when no folder is given, are made by a stated
//! rule: member `n` has card `M…n`, one match key and two attributes; basket `b` of a member has `lines` lines
//! of 12 departments. Beside it, in the same run:
//!
//! - the engine (DataFusion, one thread) that only reads the same file, and keeps nothing;
//! - the floor: the bare store writing the very pairs that the import left in it, in transactions of 4 MiB.

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

use super::super::{CliError, Io};
use super::{input, process};
use crate::intake::BrandFiles;
use crate::purchases::{
    Facts, ImportTerms, Mapping, Pace, Source, import_members, rows_read_by_engine,
};
use crate::store::{SledStore, Store, Write};
use crate::vault::{CardNumber, HeldBrandKey, KEY_BYTES, Vault};

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
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
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
    /// Seconds from opening the store until members and facts are counted, as a node does at start.
    pub start_seconds: f64,
    /// Memory of the process at its largest, in MiB.
    pub memory_mib: u64,
    /// Whether the members and purchases were made by the rule that this bench states.
    pub synthetic: bool,
}

/// Measures.
///
/// # Errors
/// When something fails, or what was imported is not what it should be.
pub async fn measure(arguments: &ImportBenchArguments, io: &Io) -> Result<ImportFigures, CliError> {
    let folder = tempfile::Builder::new().prefix("coalition-import-").tempdir().map_err(input)?;
    io.say("members and purchases are made");
    let made = Mapping::from_toml(MAPPING).map_err(input)?;
    let members = folder.path().join("members.csv");
    make_members(&members, arguments.members)?;
    let (mapping, files) = match (&arguments.folder, &arguments.mapping) {
        (Some(given), Some(name)) => {
            let mapping = Mapping::shipped(name)
                .ok_or_else(|| CliError::Input(format!("there is no shipped mapping {name}")))?;
            let files = BrandFiles::of_folder(given, &mapping).map_err(input)?;
            (mapping, files)
        }
        _ => {
            let path = folder.path().join("purchases.csv");
            make_purchases(&path, arguments.rows, arguments.members)?;
            (made.clone(), BrandFiles { members: None, purchases: Some(Source::File(path)) })
        }
    };
    let Some(Source::File(purchases)) = files.purchases.clone() else {
        return Err(input("the folder has no purchases"));
    };

    let place = folder.path().join("node");
    let (vault, facts) = open(&place)?;
    io.say(&format!("{} members are enrolled", arguments.members));
    let terms = |mapping| ImportTerms { mapping, brands: &[], today: TODAY, pace: Pace::FULL };
    let at = Timestamp::from_unix_ms(1);
    let began = Instant::now();
    let list = Source::File(members);
    let enrolled = import_members(&vault, &list, terms(&made), at, &mut |_| {}).map_err(input)?;
    let members_per_second = enrolled.enrolled as f64 / began.elapsed().as_secs_f64();
    if let Some(list) = &files.members {
        import_members(&vault, list, terms(&mapping), at, &mut |_| {}).map_err(input)?;
    }
    let after_members = folder_bytes(&place.join("store"));

    io.say("purchases are imported, members are looked up meanwhile");
    let stop = AtomicBool::new(false);
    let count = arguments.members;
    let (imported, elapsed, mut look_ups) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look_up(&vault, count, &stop));
        let began = Instant::now();
        let source = Source::File(purchases.clone());
        let imported = facts.import(&vault, &source, terms(&mapping), &mut |_| Ok(()), &mut |_| {});
        let elapsed = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        (imported, elapsed, looking.join())
    });
    let imported = imported.map_err(input)?;
    let look_ups =
        look_ups.as_mut().map_err(|_| input("the look-ups failed"))?.as_mut().map_err(input)?;
    look_ups.sort_unstable();
    let rows = imported.rows_read;
    let kept = imported.rows_kept.max(1) as f64;
    let rows_per_second = rows as f64 / elapsed.as_secs_f64();
    let (store_bytes, fact_bytes) =
        (folder_bytes(&place.join("store")), folder_bytes(&place.join("facts")));

    io.say("the engine reads the same file");
    let began = Instant::now();
    let read = rows_read_by_engine(&purchases).await.map_err(input)?;
    let engine = read as f64 / began.elapsed().as_secs_f64();

    io.say("the node's data are opened again");
    drop((vault, facts));
    let began = Instant::now();
    let (vault, facts) = open(&place)?;
    let counted = (vault.count().map_err(input)?, facts.rows().map_err(input)?);
    let start_seconds = began.elapsed().as_secs_f64();
    if counted.0 < enrolled.enrolled || counted.1 != imported.rows_kept {
        return Err(input("not all that was imported is there: no figure counts"));
    }
    drop((vault, facts));

    io.say("the bare store writes what the import left");
    let floor = floor(&place.join("store"), &folder.path().join("floor"))?;
    let floor_rows_per_second = rows as f64 / floor.as_secs_f64();
    Ok(ImportFigures {
        members: enrolled.enrolled,
        members_per_second,
        store_bytes_per_member: after_members as f64 / enrolled.enrolled.max(1) as f64,
        rows,
        rows_kept: imported.rows_kept,
        rows_per_second,
        fact_bytes_per_row: fact_bytes as f64 / kept,
        store_bytes_per_row: store_bytes.saturating_sub(after_members) as f64 / kept,
        engine_rows_per_second: engine,
        of_engine: rows_per_second / engine,
        floor_rows_per_second,
        of_floor: rows_per_second / floor_rows_per_second,
        look_ups: look_ups.len() as u64,
        look_up_p50_us: percentile(look_ups, 50),
        look_up_p99_us: percentile(look_ups, 99),
        start_seconds,
        memory_mib: process::peak_memory_mib("self").unwrap_or_default(),
        synthetic: arguments.folder.is_none(),
    })
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
        line("start: open and count, s", format!("{:.2}", self.start_seconds));
        line("memory at most, MiB", self.memory_mib.to_string());
    }
}

fn open(place: &Path) -> Result<(Vault, Facts), CliError> {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(place.join("store")).map_err(input)?);
    let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
    let brand = BrandId::new("bench").map_err(input)?;
    let vault = Vault::new(brand, Arc::clone(&store), key, Arc::new(SystemRandom::new()));
    let facts = Facts::open(place.join("facts"), store, &vault).map_err(input)?;
    Ok((vault, facts))
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

/// Baskets of 1 to 9 lines; members come in an order that is no order.
fn make_purchases(path: &Path, rows: u32, members: u32) -> Result<(), CliError> {
    let wrong = |source| CliError::File { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(wrong)?);
    writeln!(file, "basket,line,card,at,department,pieces,yuan").map_err(wrong)?;
    let (mut done, mut basket) = (0_u32, 0_u32);
    while done < rows {
        let owner = (u64::from(basket) * 2_654_435_761 % u64::from(members)) as u32;
        let (month, day) = (basket % 11 + 1, basket % 28 + 1);
        let (hour, minute) = (basket % 14 + 8, basket % 60);
        for line in 0..(basket % 9 + 1).min(rows - done) {
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

/// Looks members up by card until told to stop, a hundred a second: what a till does, not what a test of
/// the store's peak would.
fn look_up(vault: &Vault, members: u32, stop: &AtomicBool) -> Result<Vec<Duration>, CliError> {
    let (mut taken, mut number) = (Vec::new(), 1_u64);
    // once even where the import is over before this begins
    while taken.is_empty() || (!stop.load(Ordering::Relaxed) && taken.len() < LOOK_UPS_MAX) {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let card = CardNumber::new(&card(((number >> 33) % u64::from(members)) as u32));
        let card = card.map_err(input)?;
        let began = Instant::now();
        let found = vault.by_card(&card).map_err(input)?;
        taken.push(began.elapsed());
        if found.is_none() {
            return Err(input("a member who was enrolled is not found"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(taken)
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
