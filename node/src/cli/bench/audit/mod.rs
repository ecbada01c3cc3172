//! `coalition bench audit`: what the offline audit of a large alliance takes.
//!
//! The logs are made by the ledgers that nodes run ([`logs`]) and stay where one says; making them is not
//! in the figure. Then `coalition audit` itself runs over them as a process of its own, so that its
//! memory is its own: as anybody can run it, and with a standing auditor's key that opens every leaf.
//! What is read was written just before and is in memory where there is room for it; the disk is not
//! measured. The floor is what the hashes, signatures and ciphers of these very entries cost alone, on
//! as many cores.

mod logs;

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use alliance_config::{
    Address, BrandProfile, Constitution, Introduction, Name, Settings, collect, draft,
    sealing_key_text, sign,
};
use indicatif::ProgressBar;
use protocol::amount::Rate;
use protocol::ids::BrandId;
use protocol::ledger::LedgerKeys;
use serde::Serialize;
use serde_json::Value;

use super::super::audit::{self, AuditArguments};
use super::super::{CliError, Io};
use super::floor::Floor;
use super::{alliance, input, process};
use crate::keys;
use crate::sealing_keys::SealingKeys;
use logs::{LogsError, Writers};

/// How often the audit's memory is looked at.
const LOOK: Duration = Duration::from_millis(5);
const AUDITOR: &str = "auditor";

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditBenchArguments {
    /// Entries of all logs together, at least.
    #[arg(long, default_value_t = 10_000_000)]
    pub entries: u64,
    /// Brands, each with a log.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=21))]
    pub nodes: u8,
    /// Leaves of a block, its header included.
    #[arg(long, default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub leaves: u32,
    /// Keep the logs in this directory; logs of an earlier run that are there are audited as they are.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// Alter one byte of one entry afterwards, see that the audit names it, and put it back.
    #[arg(long)]
    pub altered: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Where the audit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auditing {
    /// As a process of its own: `coalition audit`.
    Process,
    /// In this process, for tests: its memory is not its own then.
    Here,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct AuditFigures {
    /// Brands.
    pub nodes: u8,
    /// Cores that the process may use.
    pub cores: usize,
    /// Bytes of all logs: certificates, checkpoints, entries and tiles.
    pub log_bytes: u64,
    /// As anybody can audit.
    pub public: RunFigures,
    /// With a standing auditor's key.
    pub opened: RunFigures,
    /// Costs of single operations.
    pub floor: Floor,
    /// Whether one altered byte was found; none when it was not asked for.
    pub altered_found: Option<bool>,
}

/// One audit.
#[derive(Debug, Serialize)]
pub struct RunFigures {
    /// From the start of the process to its end.
    pub seconds: f64,
    /// Entries audited a second.
    pub entries_per_second: f64,
    /// Processor time.
    pub cpu_seconds: f64,
    /// Memory of the process at its largest, in MiB.
    pub peak_mib: u64,
    /// Entries whose hash was compared.
    pub entries: u64,
    /// Blocks walked.
    pub blocks: u64,
    /// Signatures found valid.
    pub signatures: u64,
    /// Sealed entries opened.
    pub payloads: u64,
    /// Returns matched with what they take back.
    pub returns: u64,
    /// Payments that a statement asks for.
    pub payments: u64,
    /// Findings.
    pub findings: u64,
    /// What the hashes, signatures and ciphers cost alone on as many cores.
    pub floor_seconds: f64,
    /// The time over that.
    pub times_floor: f64,
    /// The processor time over what the floor takes of it: what else runs on the machine is not in it.
    pub cpu_times_floor: f64,
}

/// Files of an alliance that was made up for measuring.
struct Made {
    folder: PathBuf,
}

impl Made {
    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }
    fn constitution(&self) -> PathBuf {
        self.folder.join("constitution.toml")
    }
    fn signatures(&self) -> PathBuf {
        self.folder.join("constitution.signatures")
    }
    fn auditor_key(&self) -> PathBuf {
        self.folder.join("auditor-key")
    }
    /// Written last: without it the logs are not whole.
    fn whole(&self) -> PathBuf {
        self.folder.join("whole")
    }
}

/// Measures.
///
/// # Errors
/// When logs cannot be made, the audit does not run, or it finds what is not there.
pub fn measure(
    arguments: &AuditBenchArguments,
    auditing: Auditing,
    io: &Io,
) -> Result<AuditFigures, CliError> {
    // goes with the figures, unless it is to be kept
    let temporary = tempfile::Builder::new().prefix("coalition-bench-").tempdir().map_err(input)?;
    let folder = arguments.directory.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    let made = Made { folder };
    if made.whole().is_file() {
        io.say(&format!("the logs in {} are audited as they are", made.folder.display()));
    } else {
        make(&made, arguments, io)?;
    }
    let toml = read(&made.constitution())?;
    let constitution = Constitution::parse(&toml).map_err(input)?;
    let constitution = constitution.ledger();
    let committee = constitution.committee();
    let witnesses = committee.size().saturating_sub(1) as f64;
    let fragments = witnesses / committee.fragments_needed() as f64;
    let floor = Floor::measure(constitution.payload_size(), fragments)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);

    let mut of = AuditArguments {
        logs: made.logs(),
        constitution: made.constitution(),
        signatures: made.signatures(),
        json: true,
        ..AuditArguments::default()
    };
    io.say("the audit, as anybody can run it");
    let public = run(&of, auditing)?.figures(&floor, cores)?;
    of.auditor_keys = vec![format!("{AUDITOR}={}", made.auditor_key().display())];
    io.say("the audit, with a key that opens every leaf");
    let opened = run(&of, auditing)?.figures(&floor, cores)?;
    if public.findings + opened.findings > 0 {
        return Err(input("the audit found something in logs that are sound: no figure counts"));
    }
    let altered_found = if arguments.altered {
        io.say("the audit of a log with one altered byte");
        of.auditor_keys.clear();
        Some(finds_an_altered_byte(&of, auditing)?)
    } else {
        None
    };
    let figures = AuditFigures {
        nodes: u8::try_from(committee.size()).map_err(input)?,
        cores,
        log_bytes: bytes_in(&made.logs()),
        public,
        opened,
        floor,
        altered_found,
    };
    if figures.altered_found == Some(false) {
        return Err(input("one altered byte was not found: no figure counts"));
    }
    Ok(figures)
}

impl AuditFigures {
    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        io.say(&format!(
            "{} entries of {} logs, {} MiB, {} blocks, {} signatures; {} cores",
            self.public.entries,
            self.nodes,
            self.log_bytes / 1024 / 1024,
            self.public.blocks,
            self.public.signatures,
            self.cores
        ));
        for (name, run) in [("public", &self.public), ("every leaf opened", &self.opened)] {
            io.say(&format!(
                "  {name:<18} {:>7.1} s {:>10.0} entries/s {:>5} MiB at most, {:.1} s of processor time, {:.2} times the floor's",
                run.seconds,
                run.entries_per_second,
                run.peak_mib,
                run.cpu_seconds,
                run.cpu_times_floor
            ));
        }
        if self.altered_found == Some(true) {
            io.say("  one altered byte was found");
        }
    }
}

/// Makes an alliance's constitution, keys and logs.
fn make(made: &Made, arguments: &AuditBenchArguments, io: &Io) -> Result<(), CliError> {
    fs::create_dir_all(&made.folder).map_err(|source| file(&made.folder, source))?;
    let ids = (1..=arguments.nodes).map(|number| format!("brand-{number:02}"));
    let ids = ids.map(|id| BrandId::new(&id).map_err(input)).collect::<Result<Vec<_>, _>>()?;
    let mut introductions = Vec::new();
    let mut secrets = Vec::new();
    for (port, id) in (7_001..).zip(&ids) {
        let keys = made.folder.join("keys").join(id.as_str());
        let new = keys::create(&keys)?;
        let at = |port| Address::from_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let profile = BrandProfile {
            name: Name::new("测量品牌", id.as_str()).map_err(input)?,
            libp2p: at(port).map_err(input)?,
            https: at(port + 1_000).map_err(input)?,
        };
        let value = Rate::new(1_000_000, 1).map_err(input)?;
        let public = new.secrets.public(new.sealing, new.recovery)?;
        introductions.push(Introduction::new(*id, profile, value, public));
        let sealing = SealingKeys::read(&keys)?.ring().map_err(input)?;
        secrets.push((new.secrets, sealing));
    }
    let auditor = keys::create_auditor_keys(&made.auditor_key(), 1)?;
    let auditor = auditor.first().map(sealing_key_text).unwrap_or_default();
    let settings = format!(
        "{}\n[[auditors]]\nname = \"{AUDITOR}\"\naccess = \"standing\"\nsealing = \"{auditor}\"\n",
        alliance::SETTINGS
    );
    let settings = Settings::parse(settings.as_bytes()).map_err(input)?;
    let toml = draft(&introductions, &settings).map_err(input)?;
    let parts = secrets.iter().map(|(secrets, _)| {
        let governance = secrets.governance()?;
        sign(toml.as_bytes(), &governance).map_err(input)
    });
    let parts = parts.collect::<Result<Vec<_>, CliError>>()?;
    let collected = collect(toml.as_bytes(), &parts).map_err(input)?;
    write(&made.constitution(), toml.as_bytes())?;
    write(&made.signatures(), collected.signatures.to_text().as_bytes())?;
    let constitution = Constitution::parse(toml.as_bytes()).map_err(input)?;
    let keys =
        ids.iter().zip(secrets).map(|(id, (secrets, sealing))| Ok((*id, secrets.ledger(sealing)?)));
    let keys = keys.collect::<Result<Vec<(BrandId, LedgerKeys)>, CliError>>()?;

    io.say(&format!("{} ledgers write {} entries", arguments.nodes, arguments.entries));
    let bar = ProgressBar::new(arguments.entries);
    let written = (|| {
        let mut writers = Writers::start(&made.logs(), constitution.ledger(), keys)?;
        let leaves = arguments.leaves as usize;
        loop {
            let entries = writers.fill(leaves)?;
            bar.set_position(entries);
            if entries >= arguments.entries {
                break;
            }
        }
        writers.clear()?;
        writers.finish()
    })();
    bar.finish_and_clear();
    written.map_err(|error: LogsError| input(error))?;
    // what the system still has to write to the disk is not to be in the figure
    let _ = Command::new("sync").arg("-f").arg(&made.folder).status();
    write(&made.whole(), b"")
}

/// An audit that has run.
struct Run {
    took: Duration,
    cpu: Duration,
    peak_mib: u64,
    report: Value,
}

fn run(arguments: &AuditArguments, auditing: Auditing) -> Result<Run, CliError> {
    let began = Instant::now();
    if auditing == Auditing::Here {
        let before = process::cpu_time("self").unwrap_or_default();
        let report = audit::audit(arguments)?;
        return Ok(Run {
            took: began.elapsed(),
            cpu: process::cpu_time("self").unwrap_or_default().saturating_sub(before),
            peak_mib: process::peak_memory_mib("self").unwrap_or_default(),
            report: serde_json::to_value(&report).map_err(input)?,
        });
    }
    let mut command = Command::new(std::env::current_exe().map_err(input)?);
    command.arg("audit").arg(&arguments.logs).arg("--json");
    command.arg("--constitution").arg(&arguments.constitution);
    command.arg("--signatures").arg(&arguments.signatures);
    for key in &arguments.auditor_keys {
        command.arg("--auditor-key").arg(key);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(input)?;
    let process = child.id().to_string();
    let mut stdout = child.stdout.take().ok_or_else(|| input("no output of the audit"))?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let (mut cpu, mut peak_mib) = (Duration::ZERO, 0);
    while child.try_wait().map_err(input)?.is_none() {
        cpu = process::cpu_time(&process).unwrap_or(cpu);
        peak_mib = process::peak_memory_mib(&process).unwrap_or(peak_mib);
        std::thread::sleep(LOOK);
    }
    let took = began.elapsed();
    let text = reader.join().map_err(|_| input("the audit's output was lost"))?.map_err(input)?;
    let report = serde_json::from_str(&text)
        .map_err(|error| input(format_args!("the audit gave no report: {error}")))?;
    Ok(Run { took, cpu, peak_mib, report })
}

impl Run {
    fn findings(&self) -> u64 {
        let listed = self.report["findings"].as_array().map_or(0, Vec::len) as u64;
        listed + self.report["findings_not_listed"].as_u64().unwrap_or_default()
    }

    fn figures(&self, floor: &Floor, cores: usize) -> Result<RunFigures, CliError> {
        let count = |name: &str| {
            let count = self.report["counts"][name].as_u64();
            count.ok_or_else(|| input(format_args!("the audit's report counts no {name}")))
        };
        let (entries, signatures) = (count("entries")?, count("signatures")?);
        let payloads = count("payloads")?;
        let seconds = self.took.as_secs_f64();
        let each = floor.leaf_hash_us + floor.node_hash_us + floor.fragments_us;
        let floor_us = entries as f64 * each
            + payloads as f64 * floor.open_us
            + signatures as f64 * floor.verify_us;
        let floor_seconds = floor_us / 1e6 / cores as f64;
        Ok(RunFigures {
            seconds,
            entries_per_second: entries as f64 / seconds,
            cpu_seconds: self.cpu.as_secs_f64(),
            peak_mib: self.peak_mib,
            entries,
            blocks: count("blocks")?,
            signatures,
            payloads,
            returns: count("returns")?,
            payments: count("payments")?,
            findings: self.findings(),
            floor_seconds,
            times_floor: seconds / floor_seconds,
            cpu_times_floor: self.cpu.as_secs_f64() * 1e6 / floor_us,
        })
    }
}

/// Whether the audit finds the change of one byte amid one bundle; the byte is put back.
fn finds_an_altered_byte(of: &AuditArguments, auditing: Auditing) -> Result<bool, CliError> {
    let logs = fs::read_dir(&of.logs).map_err(|source| file(&of.logs, source))?;
    let mut logs: Vec<PathBuf> = logs.flatten().map(|entry| entry.path()).collect();
    logs.sort();
    let log = logs.last().ok_or_else(|| input("there is no log"))?;
    let bundle = log.join("tile").join("entries").join("000");
    let whole = read(&bundle)?;
    let mut altered = whole.clone();
    let middle = whole.len() / 2;
    let byte = altered.get_mut(middle).ok_or_else(|| input("an empty bundle"))?;
    *byte ^= 1;
    write(&bundle, &altered)?;
    let run = run(of, auditing);
    write(&bundle, &whole)?;
    let run = run?;
    let name = log.file_name().and_then(|name| name.to_str());
    let in_log = |finding: &Value| finding["log"].as_str() == name;
    let listed = run.report["findings"].as_array();
    Ok(listed.is_some_and(|findings| !findings.is_empty() && findings.iter().all(in_log)))
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

fn file(path: &Path, source: std::io::Error) -> CliError {
    CliError::File { path: path.into(), source }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| file(path, source))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(|source| file(path, source))
}
