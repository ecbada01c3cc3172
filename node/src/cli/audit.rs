//! `coalition audit`: the offline verifier over a folder of logs.
//!
//! Reads files and nothing else: no node, no network. Exit status 0 when nothing was found, 1 when
//! something was, 2 when the audit could not be made.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use alliance_config::Constitution;
use indicatif::{ProgressBar, ProgressStyle};
use privacy::accounting::Kept;
use protocol::audit::{
    Auditor, CERTIFICATES_FILE, CHECKPOINT_FILE, Cores, EntryPlace, KeyHolder, LogFolder, LogsRead,
    Observer, OpeningKey, Report,
};
use protocol::epochs::Constitutions;
use protocol::ids::{BrandId, Epoch};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::log::kept::OperationLogHead;
use protocol::log::note::{NoteError, VerifierKey};
use protocol::log::tiles::{TilePath, TileSource};
use protocol::time::{Milliseconds, Timestamp};

use serde::Serialize;

use super::archived::ArchivedLog;
use super::budget_audit::{BudgetEntries, BudgetReport};
use super::cores::AllCores;
use super::{CliError, Io};
use crate::cleanroom::evidence;
use crate::keys;

/// Where an audit reads from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AuditArguments {
    /// Folder with one folder a brand, each a published log (checkpoint, certificates, tile/).
    pub logs: PathBuf,
    /// The constitution.
    #[arg(long)]
    pub constitution: PathBuf,
    /// Its signatures.
    #[arg(long)]
    pub signatures: PathBuf,
    /// Every later constitution that a log was under, in order.
    #[arg(long = "later", value_name = "CONSTITUTION")]
    pub later: Vec<PathBuf>,
    /// An auditor's keys, as NAME=FILE; open what is sealed in every log, or what it was disclosed.
    #[arg(long = "auditor-key", value_name = "NAME=FILE")]
    pub auditor_keys: Vec<String>,
    /// A brand's recovery key, as BRAND=FILE; opens what is sealed in that brand's log.
    #[arg(long = "recovery-key", value_name = "BRAND=FILE")]
    pub recovery_keys: Vec<String>,
    /// Verifier key of a witness outside the alliance, a regulator for one: its cosignatures are
    /// checked too.
    #[arg(long = "witness", value_name = "NAME+ID+KEY")]
    pub witnesses: Vec<String>,
    /// Folder with one folder a brand, each with the entries that brand has archived; without it they are
    /// counted as not checked.
    #[arg(long, value_name = "FOLDER")]
    pub archive: Option<PathBuf>,
    /// Folder of the openings that a node has kept (`openings` in its data directory): answers to joint questions are
    /// added up from them again. Of several brands' folders each attempt needs one.
    #[arg(long, value_name = "FOLDER")]
    pub openings: Vec<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A published log in a directory.
#[derive(Debug, Clone)]
pub struct Directory(pub PathBuf);

impl TileSource for Directory {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        fs::read(self.0.join(path.to_string())).ok()
    }
}

impl LogFolder for Directory {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        fs::read(self.0.join(CHECKPOINT_FILE)).ok()
    }
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        let mut file = fs::File::open(self.0.join(CERTIFICATES_FILE)).ok()?;
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let kind = entry.file_type();
                if kind.is_ok_and(|it| it.is_dir() || it.is_symlink() && path.is_dir()) {
                    folders.push(path);
                } else if let Some(name) = path.strip_prefix(&self.0).ok().and_then(Path::to_str) {
                    names.push(name.to_owned());
                }
            }
        }
        names.sort();
        names
    }
}

/// Watches one log's walk.
struct Watch<'a, T> {
    told: &'a T,
    // entries of all logs
    all: u64,
    done: u64,
    budget: BudgetEntries,
    operations: Vec<OperationLogHead>,
}

impl<T: Fn(BrandId, u64, u64)> Observer for Watch<'_, T> {
    fn progress(&mut self, log: BrandId, done: u64, _all: u64) {
        (self.told)(log, done.saturating_sub(self.done), self.all);
        self.done = done;
    }
    fn block(&mut self, _: BrandId, epoch: Epoch, time: Timestamp) {
        self.budget.block(epoch, time);
    }
    fn application(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        self.budget.take(at, entry);
    }
    fn kept(&mut self, _: &EntryPlace, entry: &PublicEntry) {
        if let PublicEntry::OperationLogHead(head) = entry {
            self.operations.push(*head);
        }
    }
}

/// Both halves of an audit.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// The logs: signatures, trees, rules, both legs, clearing.
    #[serde(flatten)]
    pub ledger: Report,
    /// The privacy budget; none when the constitution has no clean room.
    pub budget: Option<BudgetReport>,
    /// What each log says of its brand's operation log, in order.
    #[serde(skip)]
    pub operations: BTreeMap<BrandId, Vec<OperationLogHead>>,
}

impl AuditReport {
    /// How many findings there are, listed or not.
    #[must_use]
    pub fn findings(&self) -> u64 {
        let budget = self.budget.as_ref().map_or(0, |budget| budget.findings.len());
        (self.ledger.findings.len() + budget) as u64 + self.ledger.findings_not_listed
    }
    /// Whether nothing was found. Says nothing of what could not be checked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings() == 0
    }
}

/// Audits a folder of logs.
///
/// # Errors
/// When there is no such folder, or the constitution or a key cannot be read; a finding is no error.
pub fn audit(arguments: &AuditArguments) -> Result<AuditReport, CliError> {
    if !arguments.logs.is_dir() {
        return Err(CliError::Input(format!(
            "{} is no folder; give the one that has a folder of each brand's log",
            arguments.logs.display()
        )));
    }
    let toml = read(&arguments.constitution)?;
    let signatures = read(&arguments.signatures)?;
    let constitution = alliance_config::load(&toml, &signatures)
        .map_err(|error| CliError::Input(error.to_string()))?
        .into_constitution();
    let mut opening = Vec::new();
    for text in &arguments.auditor_keys {
        let (name, file) = split(text)?;
        let holder = KeyHolder::Auditor(name.to_owned());
        for secret in keys::read_sealing_secrets(file)? {
            opening.push(OpeningKey { holder: holder.clone(), secret });
        }
    }
    for text in &arguments.recovery_keys {
        let (name, file) = split(text)?;
        let brand = BrandId::new(name).map_err(|error| CliError::Input(error.to_string()))?;
        let holder = KeyHolder::Recovery(brand);
        for secret in keys::read_sealing_secrets(file)? {
            opening.push(OpeningKey { holder: holder.clone(), secret });
        }
    }
    let mut constitutions = Constitutions::from(constitution.ledger().clone());
    let mut documents = vec![constitution];
    for path in &arguments.later {
        let later = Constitution::parse(&read(path)?)
            .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))?;
        constitutions
            .follow(later.ledger().clone())
            .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))?;
        documents.push(later);
    }
    let outside_witnesses = arguments
        .witnesses
        .iter()
        .map(|key| key.parse().map_err(|error: NoteError| CliError::Input(error.to_string())))
        .collect::<Result<Vec<VerifierKey>, CliError>>()?;
    let audited = Audited {
        documents: &documents,
        keys: &opening,
        outside_witnesses: &outside_witnesses,
        openings: &arguments.openings,
        passes_damaged_openings: false,
    };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:>16} {bar:40} {pos}/{len} entries") {
        bar.set_style(style);
    }
    let of = |brand: BrandId| {
        let log = arguments.logs.join(brand.as_str());
        let archive = arguments.archive.as_ref().map(|folder| folder.join(brand.as_str()));
        log.is_dir().then(|| ArchivedLog::new(log, archive))
    };
    let told = |log: BrandId, done: u64, all: u64| {
        bar.set_length(all);
        bar.set_message(log.to_string());
        bar.inc(done);
    };
    let report = audited.audit(of, &AllCores::of_machine(), &told)?;
    bar.finish_and_clear();
    Ok(report)
}

/// What logs are audited by, wherever they are.
pub struct Audited<'a> {
    /// The constitutions that a log was under, from the first on.
    pub documents: &'a [Constitution],
    /// Keys that open what is sealed.
    pub keys: &'a [OpeningKey],
    /// Witnesses outside the alliance whose cosignatures are checked too.
    pub outside_witnesses: &'a [VerifierKey],
    /// Folders of openings that nodes have kept.
    pub openings: &'a [PathBuf],
    /// Whether files of them that do not read are counted; otherwise there is no audit.
    pub passes_damaged_openings: bool,
}

impl Audited<'_> {
    /// Audits the logs that `folder` has. `told` hears of a log, how many more of its entries are done, and how many
    /// all logs have.
    ///
    /// # Errors
    /// When the constitutions do not follow each other, or an opening does not read; a finding is no error.
    pub fn audit<F: LogFolder>(
        &self,
        folder: impl Fn(BrandId) -> Option<F>,
        cores: &impl Cores,
        told: &(impl Fn(BrandId, u64, u64) + Sync),
    ) -> Result<AuditReport, CliError> {
        let (first, later) = self
            .documents
            .split_first()
            .ok_or_else(|| CliError::Input("there is no constitution to audit by".to_owned()))?;
        let mut constitutions = Constitutions::from(first.ledger().clone());
        let mut retention_months = first.payload_retention_months();
        for next in later {
            constitutions.follow(next.ledger().clone()).map_err(|error| {
                CliError::Input(format!("the constitution {}: {error}", next.hash()))
            })?;
            retention_months = retention_months.min(next.payload_retention_months());
        }
        // no key is destroyed sooner than after so many of the shortest months
        let retention = u64::from(retention_months) * 28 * 24 * 60 * 60;
        let auditor = Auditor {
            constitutions: &constitutions,
            keys: self.keys,
            outside_witnesses: self.outside_witnesses,
            payload_retention: Some(Milliseconds::from_seconds(retention)),
        };
        let brands = constitutions.brands().into_iter();
        let folders: Vec<(BrandId, F)> =
            brands.filter_map(|brand| Some((brand, folder(brand)?))).collect();
        let read = cores.each(&folders, |(brand, folder)| auditor.read(*brand, folder, cores));
        let logs = LogsRead::new(auditor.constitutions, read);
        let all = logs.entries();
        let brands = logs.brands();
        let walked = cores.each(&brands, |brand| {
            let (budget, operations) = (BudgetEntries::default(), Vec::new());
            let mut watch = Watch { told, all, done: 0, budget, operations };
            let walk = auditor.walk(&logs, *brand, cores, &mut watch);
            (*brand, walk, watch.budget, watch.operations)
        });
        let mut walks = Vec::new();
        let (mut budgets, mut operations) = (BTreeMap::new(), BTreeMap::new());
        for (brand, walk, budget, heads) in walked {
            walks.push(walk);
            budgets.insert(brand, budget);
            operations.insert(brand, heads);
        }
        let ledger = auditor.conclude(logs, walks);
        let mut kept = Kept::default();
        let mut openings_unreadable = 0_u64;
        for folder in self.openings {
            let read = match self.passes_damaged_openings {
                true => evidence::read_sound(folder, &mut kept),
                false => evidence::read(folder, &mut kept).map(|_| 0),
            };
            let unreadable = read.map_err(|error| CliError::Input(error.to_string()))?;
            openings_unreadable = openings_unreadable.saturating_add(unreadable);
        }
        let budget = BudgetEntries::gathered(budgets).report(self.documents, &kept);
        let budget = budget.map(|budget| BudgetReport { openings_unreadable, ..budget });
        Ok(AuditReport { ledger, budget, operations })
    }
}

/// Prints a report: words or one JSON object, on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn print(report: &AuditReport, json: bool, io: &mut Io) -> Result<(), CliError> {
    if json {
        return io.json(report);
    }
    let is_clean = report.is_clean();
    let AuditReport { ledger: report, budget, .. } = report;
    let counts = &report.counts;
    io.line(&format!(
        "audited {} logs of alliance {}: {} blocks, {} entries, {} certificates, {} signatures, {} sealed entries opened",
        counts.logs,
        report.alliance,
        counts.blocks,
        counts.entries,
        counts.certificates,
        counts.signatures,
        counts.payloads
    ))?;
    for head in &report.heads {
        io.line(&format!("  {}: block {}, {} entries", head.log, head.height, head.size))?;
    }
    for missing in &report.not_checked {
        io.line(&format!("  not checked: {} {} ({})", missing.count, missing.reason, missing.log))?;
    }
    for given in &report.disclosures {
        io.line(&format!(
            "  {} disclosed its blocks {} to {} to {} (entry {})",
            given.log, given.first, given.last, given.auditor, given.entry
        ))?;
    }
    for resolved in &report.resolved {
        io.line(&format!("  resolved by both sides: {resolved}"))?;
    }
    if let Some(budget) = budget {
        io.line(&format!(
            "privacy budget: {} entries of {} questions; {} of {} joint answers added up again from openings",
            budget.entries, budget.attempts, budget.added_up, budget.answers
        ))?;
        for account in &budget.accounts {
            io.line(&format!(
                "  {} ({}): {} of {} pico-rho charged in {}",
                account.brand,
                account.account,
                account.charged_pico_rho,
                account.quota_pico_rho,
                account.year
            ))?;
        }
        for year in &budget.years {
            io.line(&format!(
                "  all brands: {} of {} pico-rho charged in {}",
                year.charged_pico_rho, year.promised_pico_rho, year.year
            ))?;
        }
        for finding in &budget.findings {
            io.line(&format!("FINDING {finding}"))?;
        }
    }
    if is_clean {
        return io.line("no findings");
    }
    for finding in &report.findings {
        io.line(&format!("FINDING {finding}"))?;
    }
    if report.findings_not_listed > 0 {
        io.line(&format!("and {} more findings", report.findings_not_listed))?;
    }
    Ok(())
}

fn split(text: &str) -> Result<(&str, &Path), CliError> {
    text.split_once('=')
        .map(|(name, file)| (name, Path::new(file)))
        .ok_or_else(|| CliError::Input("a key is given as NAME=FILE".to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::File { path: path.into(), source })
}
