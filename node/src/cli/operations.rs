//! Commands that work on a running node, over its HTTPS surface.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::run::Addresses;
use super::{CliError, Io, OPERATOR, operator_path};
use crate::client::Client;
use crate::config::DataDirectory;
use crate::http::{LinkCodeRequest, LinkRequest};
use crate::service::*;
use crate::tls::ClientIdentity;

/// How often a command asks how far something has come.
pub(super) const POLL: Duration = Duration::from_millis(100);
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
    // where the node wants a certificate of everyone
    let own =
        ClientIdentity::beside(&data.tls()).map_err(|error| CliError::Input(error.to_string()))?;
    let client = Client::connect_as(addresses.https, &pem, own.as_ref())?;
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

/// Prints a node's state as JSON.
///
/// # Errors
/// When the node cannot be reached.
pub async fn status(arguments: &StatusArguments) -> Result<(), CliError> {
    let client = client(&arguments.node).await?;
    let status: Status = client.get("/api/v1/status").await?;
    Io::new(true).json(&status)
}
