//! Commands that work on a running node, over its HTTPS surface.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::run::Addresses;
use super::{CliError, Io, OPERATOR, operator_path};
use crate::client::Client;
use crate::config::DataDirectory;
use crate::http::{LinkCodeRequest, LinkRequest, PlanRequest, QueryRequest};
use crate::service::*;

/// How often a command asks how far something has come.
const POLL: Duration = Duration::from_millis(100);
/// After how long a command says what it waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which running node.
#[derive(Debug, clap::Args)]
pub struct NodeArguments {
    /// Data directory of the running node.
    #[arg(long)]
    pub data: PathBuf,
    /// User to sign in as; the password is then read from the variable COALITION_PASSWORD.
    #[arg(long)]
    pub user: Option<String>,
}

/// What to import.
#[derive(Debug, clap::Args)]
pub struct ImportArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// Folder on the node's machine with members.parquet (member_id, and match_key if known) and
    /// purchases.parquet (basket_id, line_no, member_id, purchased_at, department, quantity, amount).
    #[arg(required_unless_present = "sample")]
    folder: Option<PathBuf>,
    /// The shipped sample's part of this brand instead.
    #[arg(long)]
    sample: bool,
}

/// Links.
#[derive(Debug, clap::Subcommand)]
pub enum LinkCommand {
    /// At the brand whose points are wanted: make a one-time code for its member.
    Code {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The member's card number here.
        #[arg(long)]
        card: String,
        /// The brand at which the member will enter the code.
        #[arg(long)]
        brand: String,
    },
    /// At the brand whose points are given: link the member's account by the other brand's code.
    Enter {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The member's card number here.
        #[arg(long)]
        card: String,
        /// The brand that gave the code.
        #[arg(long)]
        brand: String,
        /// The code.
        #[arg(long)]
        code: String,
    },
}

/// An exchange, or what to do about those that came in.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExchangeArguments {
    #[command(subcommand)]
    pub(super) command: Option<super::returns::ReceivedCommand>,
    #[command(flatten)]
    pub(super) give: Option<GiveArguments>,
}

/// An exchange.
#[derive(Debug, clap::Args)]
// named, because clap leaves a group empty in which another is flattened, and it would never be there
#[group(args = ["card", "to", "points"])]
pub struct GiveArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The member's card number.
    #[arg(long)]
    card: String,
    /// The brand whose points are wanted.
    #[arg(long)]
    to: String,
    /// How many points to give.
    #[arg(long)]
    points: u64,
    /// Idempotency key; the same key repeats nothing. A random one if not given.
    #[arg(long)]
    key: Option<String>,
    /// Write the receipt (a C2SP tlog-proof) to this file once the exchange is final.
    #[arg(long)]
    receipt: Option<PathBuf>,
}

/// A joint question.
#[derive(Debug, clap::Args)]
pub struct QueryArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The question: one SELECT of count(*), count(distinct member) or sum(column) from a table of the
    /// constitution's clean room, with WHERE and GROUP BY.
    sql: String,
    /// Show cost and expected error, and spend nothing.
    #[arg(long)]
    explain: bool,
    /// Spend without asking.
    #[arg(long)]
    yes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which node's state.
#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
}

/// A signed-in client of the node of a data directory.
///
/// # Errors
/// When the node does not run there, or does not let the user in.
pub async fn connect(data: &Path, user: Option<&str>) -> Result<Client, CliError> {
    let data = DataDirectory::new(data);
    let addresses: Addresses = fs::read(data.addresses())
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            CliError::Input(format!(
                "no node runs on {}: start it with `coalition run --data {}`",
                data.path().display(),
                data.path().display()
            ))
        })?;
    let certificate = data.tls().join("cert.pem");
    let pem =
        fs::read(&certificate).map_err(|source| CliError::File { path: certificate, source })?;
    let client = Client::connect(addresses.https, &pem)?;
    sign_in(&client, &data, user).await?;
    Ok(client)
}

/// Begins a session: of the given user, or of the operator whose password is in the data directory.
///
/// # Errors
/// When there is no password, or the node does not let the user in.
pub async fn sign_in(
    client: &Client,
    data: &DataDirectory,
    user: Option<&str>,
) -> Result<(), CliError> {
    let (user, password) = match user {
        None => {
            let path = operator_path(data);
            let password =
                fs::read_to_string(&path).map_err(|source| CliError::File { path, source })?;
            (OPERATOR, password)
        }
        Some(user) => {
            let password = std::env::var("COALITION_PASSWORD").map_err(|_| {
                CliError::Input("put the password into the variable COALITION_PASSWORD".into())
            })?;
            (user, password)
        }
    };
    // of the second factor, where the user has one
    let code = std::env::var("COALITION_CODE").ok();
    client.login_with(user, password.trim(), code).await?;
    Ok(())
}

pub(super) async fn client(node: &NodeArguments) -> Result<Client, CliError> {
    connect(&node.data, node.user.as_deref()).await
}

/// Imports, with progress on stderr and the report on stdout.
///
/// # Errors
/// When the node refuses or the import stops.
pub async fn import(arguments: &ImportArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let source = match &arguments.folder {
        Some(folder) => {
            let path = fs::canonicalize(folder)
                .map_err(|source| CliError::File { path: folder.clone(), source })?;
            ImportSource::Folder { path: path.to_string_lossy().into_owned() }
        }
        None => ImportSource::Sample,
    };
    let view = follow_import(&client, &source, &ProgressBar::new(0)).await?;
    let mut io = Io::new(true);
    for rule in &view.stated_rules {
        io.say(&format!("{} / {}", rule.en, rule.zh));
    }
    io.say(&format!("{} of {} purchase lines kept", view.rows_kept, view.rows_read));
    for dropped in &view.dropped {
        io.say(&format!("{} rows not kept: {}", dropped.rows, dropped.reason));
        if !dropped.first.is_empty() {
            io.say(&format!("  the first: {}", dropped.first));
        }
    }
    io.json(&view)
}

/// Starts an import and waits for its end.
///
/// # Errors
/// When the node refuses or the import stops.
pub async fn follow_import(
    client: &Client,
    source: &ImportSource,
    bar: &ProgressBar,
) -> Result<ImportView, CliError> {
    client.post::<_, ()>("/api/v1/imports", &[], source).await?;
    if let Ok(style) = ProgressStyle::with_template("{msg:>16} {bar:40} {pos}/{len} rows") {
        bar.set_style(style);
    }
    loop {
        let view: ImportView = client.get("/api/v1/imports/latest").await?;
        bar.set_length(view.rows_total);
        bar.set_position(view.rows_read);
        if let Some(problem) = view.failed {
            return Err(CliError::Input(format!("the import stopped: {problem}")));
        }
        if view.done {
            bar.finish_and_clear();
            return Ok(view);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Makes a code, or links by one.
///
/// # Errors
/// When the node refuses.
pub async fn link(command: &LinkCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        LinkCommand::Code { node, card, brand } => {
            let client = client(node).await?;
            let path = format!("/api/v1/members/{card}/link-codes");
            let request = LinkCodeRequest { brand: brand.clone() };
            let view: LinkCodeView = client.post(&path, &[], &request).await?;
            io.json(&view)
        }
        LinkCommand::Enter { node, card, brand, code } => {
            let client = client(node).await?;
            let path = format!("/api/v1/members/{card}/links");
            let request = LinkRequest { brand: brand.clone(), code: code.clone() };
            let mut view: LinkView = client.post(&path, &[], &request).await?;
            while view.state == "requested" {
                tokio::time::sleep(POLL).await;
                let member: MemberView = client.get(&format!("/api/v1/members/{card}")).await?;
                if let Some(link) = member.links.into_iter().find(|link| link.brand == *brand) {
                    view = link;
                }
            }
            if view.state == "returned" {
                return Err(CliError::Input(format!(
                    "{brand} did not take the code: it is wrong, was used before, has expired, or was \
                     made for another brand; let the member ask {brand} for a new one"
                )));
            }
            io.json(&view)
        }
    }
}

/// Exchanges, and waits until it is final.
///
/// # Errors
/// When the node refuses.
pub async fn exchange(arguments: &GiveArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let request = ExchangeRequest {
        card: arguments.card.clone(),
        to: arguments.to.clone(),
        points: arguments.points,
    };
    let key = match &arguments.key {
        Some(key) => key.clone(),
        None => random_key()?,
    };
    let mut view: ExchangeView =
        client.post("/api/v1/exchanges", &[("idempotency-key", &key)], &request).await?;
    let (began, mut told) = (Instant::now(), false);
    while view.state == "held" {
        if !told && began.elapsed() > PATIENCE {
            told = true;
            Io::new(true).say(&format!(
                "held, and not final yet: too few brands may be connected, see `coalition status`. It \
                 goes on without this command; with --key {key} the same command finds it again"
            ));
        }
        tokio::time::sleep(POLL).await;
        view = client.get(&format!("/api/v1/exchanges/{}", view.id)).await?;
    }
    if let Some(path) = &arguments.receipt {
        let receipt = client.get_bytes(&format!("/api/v1/exchanges/{}/receipt", view.id)).await?;
        fs::write(path, &receipt)
            .map_err(|source| CliError::File { path: path.clone(), source })?;
    }
    Io::new(true).json(&view)
}

pub(super) fn random_key() -> Result<String, CliError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CliError::Input("the system's random generator failed".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Plans, asks, runs, shows.
///
/// # Errors
/// When the node refuses, or the attempt is void.
pub async fn query(arguments: &QueryArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let mut io = Io::new(arguments.json);
    let sql = arguments.sql.clone();
    let plan: PlanView =
        client.post("/api/v1/queries/plan", &[], &PlanRequest { sql: sql.clone() }).await?;
    explain(&plan, &io);
    if arguments.explain {
        return if arguments.json { io.json(&plan) } else { Ok(()) };
    }
    if !arguments.yes && !confirmed()? {
        io.say("nothing was spent");
        return Ok(());
    }
    let request = QueryRequest { sql, plan: plan.plan.clone() };
    let view: QueryView = client.post("/api/v1/queries", &[], &request).await?;
    let view = follow_query(&client, view, |step| io.say(&format!("  {step}"))).await?;
    let Some(release) = &view.release else {
        return Err(CliError::Input(format!(
            "the attempt is void: {}",
            view.reason.unwrap_or_else(|| "a participant did not answer in time".into())
        )));
    };
    if arguments.json {
        return io.json(release);
    }
    io.say(&release.statement.en);
    table(release, &mut io)
}

fn confirmed() -> Result<bool, CliError> {
    eprint!("spend it? [y/N] ");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| CliError::Input(format!("no answer could be read: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "是"))
}

/// Waits for the end of a query, telling each step once.
///
/// # Errors
/// When the node cannot be reached.
pub async fn follow_query(
    client: &Client,
    mut view: QueryView,
    mut tell: impl FnMut(&str),
) -> Result<QueryView, CliError> {
    let mut told = String::new();
    loop {
        if view.step != told {
            tell(&view.step);
            told.clone_from(&view.step);
        }
        if matches!(view.step.as_str(), "released" | "void") {
            return Ok(view);
        }
        tokio::time::sleep(POLL).await;
        view = client.get(&format!("/api/v1/queries/{}", view.id)).await?;
    }
}

/// Cost and expected error, in words.
pub fn explain(plan: &PlanView, io: &Io) {
    io.say(&format!("understood as: {}", plan.sql));
    io.say(&format!(
        "{} cells over {}; costs {} pico-rho (epsilon {:.3} at delta 1e-6), leaves {} of this year's quota",
        plan.cells,
        plan.participants.join(", "),
        plan.cost_pico_rho,
        plan.epsilon,
        plan.left_after_pico_rho
    ));
    for noise in &plan.sigma {
        io.say(&format!(
            "  {}: within ±{:.0} in 95 % of cases (sigma {:.1}, bound {}); cells below {:.0} will be noisier than 5 %",
            noise.column,
            noise.half_width_95,
            noise.sigma,
            noise.bound,
            noise.smallest_cell_5_percent
        ));
    }
    for warning in &plan.warnings {
        io.say(&format!("  note: {} / {}", warning.en, warning.zh));
    }
}

/// A release as a table of tab-separated values on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn table(release: &ReleaseView, io: &mut Io) -> Result<(), CliError> {
    let mut head = release.keys.clone();
    for value in &release.values {
        head.extend([value.clone(), format!("{value}_low"), format!("{value}_high")]);
    }
    io.line(&head.join("\t"))?;
    for row in &release.rows {
        let mut cells = row.keys.clone();
        for ((value, low), high) in row.values.iter().zip(&row.low).zip(&row.high) {
            cells.extend([format!("{value:.0}"), format!("{low:.0}"), format!("{high:.0}")]);
        }
        io.line(&cells.join("\t"))?;
    }
    Ok(())
}

/// Prints a node's state as JSON.
///
/// # Errors
/// When the node cannot be reached.
pub async fn status(arguments: &StatusArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let status: Status = client.get("/api/v1/status").await?;
    Io::new(true).json(&status)
}
