//! The points programme from the command line: rules checked without a node, everything else at one.

use std::path::{Path, PathBuf};

use ::programme::plain::{Concern, statements};
use ::programme::rules::change::differences;
use ::programme::rules::{Rules, Words};
use alliance_config::sample;

use super::openings::OpeningsArguments;
use super::operations::{NodeArguments, client, random_key};
use super::programme_staff::StaffCommand;
use super::{CliError, Io};
use crate::service::{
    DoneView, MemberAction, ProgrammeMemberView, ProgrammeReportView, RulesRequest, RulesView,
    TillAction,
};

/// Longest file of rules.
const FILE_MAX: u64 = 256 * 1024;

/// What to do about the programme.
#[derive(Debug, clap::Subcommand)]
pub enum ProgrammeCommand {
    /// Print a file of rules with every field explained, to begin one's own from.
    Template,
    /// Check a file of rules and print them in plain words; with another, what differs.
    Check {
        /// The file.
        file: PathBuf,
        /// The rules before: prints what differs, and whether members must be told in advance.
        #[arg(long)]
        from: Option<PathBuf>,
    },
    /// Show the rules in force at a node, and the change that is announced.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Take rules at once while nobody has points, or announce them; they hold as soon as the notice allows.
    Propose {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The file.
        file: PathBuf,
        /// From when they hold, Unix milliseconds.
        #[arg(long)]
        effective_ms: Option<u64>,
    },
    /// Print the books: trial balance, liability, breakage. Ends with 2 when they do not balance.
    Report {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// As lines of `figure,value` rather than JSON.
        #[arg(long)]
        csv: bool,
    },
    /// Show a member: points, lots, tier, coupons.
    Member {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
    },
    /// Bring members' balances from a programme of before: one person enters them, a second brings the same file.
    OpeningBalances(OpeningsArguments),
    #[command(flatten)]
    /// By hand.
    Staff(StaffCommand),
}

/// What to do about coupons.
#[derive(Debug, clap::Subcommand)]
pub enum CouponCommand {
    /// Claim a coupon for a member.
    Claim {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Card number.
        #[arg(long)]
        card: String,
        /// Its kind in the rules.
        #[arg(long)]
        kind: String,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
    /// Redeem a coupon by its code, once.
    Redeem {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The code.
        #[arg(long)]
        code: String,
        /// What the basket comes to, in fen.
        #[arg(long)]
        basket_fen: u64,
        /// In which shop.
        #[arg(long)]
        place: String,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
}

pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > FILE_MAX {
        let name = path.display();
        return Err(CliError::Input(format!("{name}: rules have at most {FILE_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(failed)
}

fn rules(path: &Path) -> Result<Rules, CliError> {
    let wrong = |error| CliError::Input(format!("{}: {error}", path.display()));
    Rules::from_toml(&read(path)?).map_err(wrong)
}

/// A rule, or a difference between two, as one line of JSON.
#[derive(serde::Serialize)]
struct RuleLine {
    key: String,
    zh: String,
    en: String,
    /// Of a rule: whether it is for staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    internal: Option<bool>,
    /// Of a difference: whether members must be told before it takes effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_notice: Option<bool>,
}

impl RuleLine {
    fn new(key: String, words: Words, internal: Option<bool>, needs_notice: Option<bool>) -> Self {
        let Words { zh, en } = words;
        Self { key, zh, en, internal, needs_notice }
    }
}

fn line(about: &str, words: &Words) -> String {
    format!("{about}\n  {}\n  {}\n", words.zh, words.en)
}

/// Does it.
///
/// # Errors
/// When a file is wrong or the node refuses.
pub async fn run(command: &ProgrammeCommand, json: bool) -> Result<(), CliError> {
    let mut io = Io::new(json);
    match command {
        ProgrammeCommand::Staff(command) => super::programme_staff::run(command, json).await,
        ProgrammeCommand::OpeningBalances(arguments) => super::openings::run(arguments).await,
        ProgrammeCommand::Template => io.document("rules", sample::PROGRAMME_TEMPLATE),
        ProgrammeCommand::Check { file, from: None } => {
            let rules = rules(file)?;
            for it in statements(&rules) {
                if json {
                    let is_internal = it.concern == Concern::Internal;
                    io.json(&RuleLine::new(it.key, it.words, Some(is_internal), None))?;
                    continue;
                }
                let staff = if it.concern == Concern::Internal { " (staff)" } else { "" };
                io.text(&line(&format!("{}{staff}", it.key), &it.words))?;
            }
            Ok(())
        }
        ProgrammeCommand::Check { file, from: Some(from) } => {
            let (old, new) = (rules(from)?, rules(file)?);
            for it in differences(&old, &new) {
                if json {
                    let (words, needs_notice) = (it.words(), it.needs_notice());
                    io.json(&RuleLine::new(it.key, words, None, Some(needs_notice)))?;
                    continue;
                }
                let days = old.change_notice_days;
                let notice = if it.needs_notice() {
                    // a constitution may ask for more
                    format!(" (at least {days} days' notice)")
                } else {
                    String::new()
                };
                io.text(&line(&format!("{}{notice}", it.key), &it.words()))?;
            }
            Ok(())
        }
        ProgrammeCommand::Show { node } => {
            let view: RulesView = client(node).await?.get("/api/v1/programme/rules").await?;
            io.json(&view)
        }
        ProgrammeCommand::Propose { node, file, effective_ms } => {
            // what is wrong with it is told here, before a node is asked
            rules(file)?;
            let request = RulesRequest { rules: read(file)?, effective_ms: *effective_ms };
            let client = client(node).await?;
            let view: RulesView = client.post("/api/v1/programme/rules", &[], &request).await?;
            io.json(&view)
        }
        ProgrammeCommand::Report { node, csv } => {
            let view: ProgrammeReportView =
                client(node).await?.get("/api/v1/programme/report").await?;
            if *csv && !json {
                io.text(&table(&view))?;
            } else {
                io.json(&view)?;
            }
            if (view.trial_balance, view.differences) == (0, 0) {
                return Ok(());
            }
            Err(CliError::Input("the books do not balance: stop the node and look".to_owned()))
        }
        ProgrammeCommand::Member { node, card } => {
            let path = format!("/api/v1/programme/members/{card}");
            let view: ProgrammeMemberView = client(node).await?.get(&path).await?;
            io.json(&view)
        }
    }
}

fn table(view: &ProgrammeReportView) -> String {
    let mut lines = vec!["figure,value".to_owned()];
    lines.extend(view.accounts.iter().map(|it| format!("account_{},{}", it.account, it.points)));
    for it in &view.expiring {
        let month = it.month.as_deref().unwrap_or("never");
        lines.push(format!("expires_{month},{}", it.points));
    }
    for it in &view.maturities {
        let to = it.to_days.map_or("later".to_owned(), |days| days.to_string());
        lines.push(format!("expires_in_{}_to_{to}_days,{}", it.from_days, it.points));
    }
    let breakage = view.breakage_per_mille.unwrap_or_default();
    for (figure, value) in [
        ("trial_balance", i128::from(view.trial_balance)),
        ("differences", view.differences.into()),
        ("issued_points", view.issued_points.into()),
        ("opening_points", view.opening_points.into()),
        ("liability_points", view.liability_points.into()),
        ("liability_fen", view.liability_fen.into()),
        ("owed_points", view.owed_points.into()),
        ("expired_points", view.expired_points.into()),
        ("breakage_per_mille", breakage.into()),
    ] {
        lines.push(format!("{figure},{value}"));
    }
    lines.join("\n") + "\n"
}

/// Does what is asked about coupons.
///
/// # Errors
/// When the node refuses.
pub async fn run_coupon(command: &CouponCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    let view: DoneView = match command {
        CouponCommand::Claim { node, card, kind, key } => {
            let client = client(node).await?;
            let key = key.clone().map_or_else(random_key, Ok)?;
            let action = MemberAction::ClaimCoupon { kind: kind.clone() };
            let path = format!("/api/v1/programme/members/{card}/actions");
            client.post(&path, &[("idempotency-key", key.as_str())], &action).await?
        }
        CouponCommand::Redeem { node, code, basket_fen, place, key } => {
            let client = client(node).await?;
            let key = key.clone().map_or_else(random_key, Ok)?;
            let (code, place) = (code.clone(), place.clone());
            let action = TillAction::RedeemCoupon { code, basket_fen: *basket_fen, place };
            let headers = [("idempotency-key", key.as_str())];
            client.post("/api/v1/programme/till", &headers, &action).await?
        }
    };
    io.json(&view)
}
