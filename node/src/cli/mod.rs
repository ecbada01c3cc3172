//! The command line: clap types, and what each command does with the rest of the crate.
//!
//! Data goes to stdout, words to stderr. Commands that work on a running node speak its HTTPS surface,
//! as any client does; they find address, certificate and password in its data directory. No business
//! rules here.

pub mod audit;
pub mod backup;
pub mod bench;
pub mod campaigns;
pub mod check;
pub mod clearing;
pub mod constitution;
mod cores;
pub mod demo;
pub mod import;
pub mod log;
pub mod members;
pub mod openings;
pub mod operation_log;
pub mod operations;
pub mod partners;
pub mod process;
pub mod programme;
mod programme_staff;
pub mod queries;
pub mod rebuild;
pub mod reference;
pub mod report;
pub mod returns;
pub mod run;
pub mod sealing;
pub mod store;
pub mod templates;
pub mod user;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use serde::Serialize;

use crate::client::ClientError;
use crate::config::{ConfigError, DataDirectory};
use crate::keys::KeysError;
use crate::runtime::StartError;
use crate::setup::SetupError;
use crate::telemetry;

/// The user that `init` makes.
pub const OPERATOR: &str = "operator";

/// Coalition: the node each brand of a points alliance runs.
///
/// 积分联盟节点：会员数据留在本品牌，积分跨品牌兑换，联合统计只给出差分隐私结果。
#[derive(Debug, Parser)]
#[command(name = "coalition", version)]
pub struct Cli {
    /// Print data as JSON. Words go to stderr in any case.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show it all: five brands on this machine, on real data, end to end.
    Demo(demo::DemoArguments),
    /// Make a new node: keys, certificate, first user, introduction to the other brands.
    Init(constitution::InitArguments),
    /// Draft, check, sign, collect and adopt a constitution.
    Constitution {
        #[command(subcommand)]
        command: constitution::ConstitutionCommand,
    },
    /// Run a node until it is told to stop.
    Run(run::RunArguments),
    /// Check a data directory without running its node; ends with 1 when the node would not start.
    Check(check::CheckArguments),
    /// Say who may sign in at a node, and as what.
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Bring a lost node's log back from what the other brands hold of it.
    Rebuild(rebuild::RebuildArguments),
    /// Archive entries of the published log after their retention.
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// Import members and purchases (Parquet, CSV, JSON lines), as a mapping says what the columns mean.
    Import(import::ImportArguments),
    /// Make a one-time code for linking, or link a member's account by a code.
    Link {
        #[command(subcommand)]
        command: operations::LinkCommand,
    },
    /// Exchange a member's points for another brand's, or send points that came in back.
    Exchange(operations::ExchangeArguments),
    /// List cut-offs, close one, show or export its statement, state and confirm its payments.
    Clearing {
        #[command(subcommand)]
        command: clearing::ClearingCommand,
    },
    /// List disputes, propose what one comes to, or agree.
    Dispute {
        #[command(subcommand)]
        command: partners::DisputeCommand,
    },
    /// Show how this brand stands with each other, or agree that one's log be closed.
    Partner {
        #[command(subcommand)]
        command: partners::PartnerCommand,
    },
    /// The points programme: rules, books, points paid and corrected, coupons given, rewards handed over, purchases entered.
    Programme {
        #[command(subcommand)]
        command: programme::ProgrammeCommand,
    },
    /// List, show, count, keep and drop segments of members.
    Segment {
        #[command(subcommand)]
        command: campaigns::SegmentCommand,
    },
    /// List, show, make and end campaigns for the members of a segment.
    Campaign {
        #[command(subcommand)]
        command: campaigns::CampaignCommand,
    },
    /// Claim a coupon for a member, or redeem one by its code.
    Coupon {
        #[command(subcommand)]
        command: programme::CouponCommand,
    },
    /// List, rotate and destroy this brand's sealing keys; make signing keys to rotate to.
    Keys {
        #[command(subcommand)]
        command: sealing::KeysCommand,
    },
    /// Let an auditor open blocks of this brand's log; the log says so to everyone.
    Disclose(sealing::DiscloseArguments),
    /// Show a receipt, or verify one that opens its entry.
    Receipt {
        #[command(subcommand)]
        command: sealing::ReceiptCommand,
    },
    /// Fetch the compliance report as a file, sign it, verify one that was signed.
    Report {
        #[command(subcommand)]
        command: report::ReportCommand,
    },
    /// Ask a question of all brands, of one, or of each; shows cost and expected error first.
    Query(queries::QueryArguments),
    /// List the questions of this brand and the answers that it has, with what was asked, when and by whom where you may see it.
    Answers(queries::AnswersArguments),
    /// Show every brand's privacy budget of a calendar year, by analyst account.
    Budget(queries::BudgetArguments),
    /// Show what may be asked: columns, bounds, values, purposes, the consent each needs.
    Datasets(queries::DatasetsArguments),
    /// List, show and ask saved questions; exact dashboards for this brand's own staff.
    Templates {
        #[command(subcommand)]
        command: templates::TemplatesCommand,
    },
    /// Show what this brand takes part in and answers, or have policy.toml read again.
    Policy {
        #[command(subcommand)]
        command: queries::PolicyCommand,
    },
    /// Show, correct, merge and part members, find them by any identifier, hold them.
    Member {
        #[command(subcommand)]
        command: members::MemberCommand,
    },
    /// Enter and list members' consents, by purpose and by receiving brand.
    Consent {
        #[command(subcommand)]
        command: members::ConsentCommand,
    },
    /// Enter and answer members' requests, erasure among them; verify a certificate offline.
    Request {
        #[command(subcommand)]
        command: members::RequestCommand,
    },
    /// Keep the record of impact assessments and breaches.
    Record {
        #[command(subcommand)]
        command: members::RecordCommand,
    },
    /// Rotate the key of the vault.
    Vault {
        #[command(subcommand)]
        command: members::VaultCommand,
    },
    /// Print who did what with members' data, or verify such a list offline.
    Operations {
        #[command(subcommand)]
        command: operation_log::OperationsCommand,
    },
    /// Print what an officer has to look at: clocks that have run out, unusual use of members' data.
    Alerts(operation_log::AlertsArguments),
    /// Show the state of a running node.
    Status(operations::StatusArguments),
    /// Measure what this machine makes of it.
    Bench {
        #[command(subcommand)]
        command: bench::BenchCommand,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Make, check and restore backups of a node's data.
    Backup {
        #[command(subcommand)]
        command: backup::BackupCommand,
    },
    /// Move a node's store to another backend.
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Verify a folder of logs offline; ends with 1 when something was found.
    Audit(audit::AuditArguments),
}

/// Why a command failed. Printed to stderr; the exit status is 2.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Something that was given is not right.
    #[error("{0}")]
    Input(String),
    /// A file.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node answered with a refusal, or not at all.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A new node.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Stdout.
    #[error("cannot write to stdout: {0}")]
    Stdout(std::io::Error),
}

/// Where data and words go.
pub struct Io {
    json: bool,
}

impl Io {
    /// Words on stderr, data on stdout; `json` keeps words to a minimum.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }
    /// One line of data.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(std::io::stdout(), "{text}").map_err(CliError::Stdout)
    }
    /// Data as it is.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        write!(std::io::stdout(), "{text}").map_err(CliError::Stdout)
    }
    /// One JSON object on one line.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn json<T: Serialize>(&mut self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string(value)
            .map_err(|error| CliError::Input(format!("not representable as JSON: {error}")))?;
        self.line(&text)
    }
    /// Text in a form of its own, such as a file to begin from: as it is, or under its name in a JSON object.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn document(&mut self, name: &str, text: &str) -> Result<(), CliError> {
        if self.json { self.json(&BTreeMap::from([(name, text)])) } else { self.text(text) }
    }
    /// Words for a person.
    pub fn say(&self, words: &str) {
        eprintln!("{words}");
    }
    /// Whether the command was asked for JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }
}

/// Where the operator's password is, for commands of the same user on the same machine.
#[must_use]
pub fn operator_path(data: &DataDirectory) -> PathBuf {
    data.path().join("operator-password")
}

/// Writes a new file that only its owner may read.
///
/// # Errors
/// When it is there already or cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let wrong = |source| CliError::File { path: path.into(), source };
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(wrong)
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(dispatch(cli.command, cli.json)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The completion script for a shell.
fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "coalition", &mut script);
    script
}

async fn dispatch(command: Command, json: bool) -> Result<ExitCode, CliError> {
    match command {
        Command::Demo(arguments) => return demo::run(&arguments).await,
        Command::Init(arguments) => {
            let made = constitution::init(&arguments)?;
            let mut io = Io::new(true);
            io.json(&made)?;
            io.say(&format!(
                "made a node for {}. Next:\n  1. note the password of user `{}`; it is not shown again\n  2. take {} offline: it opens this brand's log when all else is lost\n  3. give {} to whoever drafts the constitution",
                made.brand,
                made.user,
                made.recovery_key.display(),
                made.introduction.display()
            ));
        }
        Command::Constitution { command } => {
            constitution::run(&command, &mut Io::new(json)).await?
        }
        Command::Run(arguments) => {
            // here and not in the command, which tests call within their own process: panics there keep their words.
            // Fails only when the level is not understood, or logging was set up already
            let _ = telemetry::start();
            run::run(&arguments).await?;
        }
        Command::Check(arguments) => {
            let starts = check::run(&arguments)?;
            return Ok(if starts { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        Command::Completions { shell } => {
            let script = completions(shell);
            Io::new(json).document("script", &String::from_utf8_lossy(&script))?;
        }
        Command::User { command } => user::run(&command)?,
        Command::Rebuild(arguments) => {
            let _ = telemetry::start();
            rebuild::run(&arguments).await?;
        }
        Command::Log { command } => log::run(&command, &mut Io::new(true))?,
        Command::Import(arguments) => import::import(&arguments).await?,
        Command::Link { command } => operations::link(&command).await?,
        Command::Exchange(arguments) => match (arguments.command, arguments.give) {
            (Some(command), _) => returns::run(&command).await?,
            (None, Some(give)) => operations::exchange(&give).await?,
            (None, None) => return Err(CliError::Input("give --card, --to and --points".into())),
        },
        Command::Clearing { command } => clearing::run(&command, json).await?,
        Command::Dispute { command } => partners::dispute(&command).await?,
        Command::Partner { command } => partners::partner(&command).await?,
        Command::Programme { command } => programme::run(&command, json).await?,
        Command::Segment { command } => campaigns::segment(&command).await?,
        Command::Campaign { command } => campaigns::campaign(&command).await?,
        Command::Coupon { command } => programme::run_coupon(&command).await?,
        Command::Keys { command } => sealing::keys(&command, json).await?,
        Command::Disclose(arguments) => sealing::disclose(&arguments).await?,
        Command::Report { command } => report::run(&command).await?,
        Command::Receipt { command } => sealing::receipt(&command, json).await?,
        Command::Query(arguments) => queries::query(&arguments).await?,
        Command::Answers(arguments) => queries::answers(&arguments, json).await?,
        Command::Budget(arguments) => queries::budget(&arguments).await?,
        Command::Datasets(arguments) => queries::datasets(&arguments).await?,
        Command::Templates { command } => templates::run(&command, json).await?,
        Command::Policy { command } => queries::policy(&command).await?,
        Command::Member { command } => members::member(&command).await?,
        Command::Consent { command } => members::consent(&command).await?,
        Command::Request { command } => members::request(&command, json).await?,
        Command::Record { command } => members::record(&command).await?,
        Command::Vault { command } => members::vault(&command).await?,
        Command::Operations { command } => return operation_log::run(&command).await,
        Command::Alerts(arguments) => operation_log::alerts(&arguments).await?,
        Command::Status(arguments) => operations::status(&arguments).await?,
        Command::Bench { command } => return bench::run(&command).await,
        Command::Backup { command } => backup::run(&command).await?,
        Command::Store { command } => store::run(&command, &mut Io::new(true))?,
        Command::Audit(arguments) => {
            let report = audit::audit(&arguments)?;
            audit::print(&report, arguments.json, &mut Io::new(arguments.json))?;
            return Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
    }
    Ok(ExitCode::SUCCESS)
}
