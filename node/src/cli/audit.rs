//! `coalition audit`: the offline verifier over a folder of logs.
//!
//! Reads files and nothing else: no node, no network. Exit status 0 when nothing was found, 1 when
//! something was, 2 when the audit could not be made.

use std::fs;
use std::path::{Path, PathBuf};

use alliance_config::Constitution;
use indicatif::{ProgressBar, ProgressStyle};
use protocol::audit::{KeyHolder, OpeningKey};
use protocol::epochs::Constitutions;
use protocol::ids::BrandId;
use protocol::log::note::{NoteError, VerifierKey};

use super::cores::AllCores;
use super::{CliError, Io};
use crate::audit::{ArchivedLog, AuditReport, Audited};
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
    let report = audited
        .audit(of, &AllCores::of_machine(), &told)
        .map_err(|error| CliError::Input(error.to_string()))?;
    bar.finish_and_clear();
    Ok(report)
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
