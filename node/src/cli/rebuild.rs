//! `coalition rebuild`: a lost node's log, from what the other brands hold of it.
//!
//! What a node needs beside its keys and constitutions is made anew when it is not there: settings, certificate,
//! first user. What only the brand's own backup has is said in the end.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alliance_config::{Constitution, Host};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::ids::BrandId;
use ring::rand::SystemRandom;

use super::{CliError, Io, OPERATOR, operator_path, write_private};
use crate::auth::{Auth, Role, generate_password};
use crate::config::{DataDirectory, Settings};
use crate::constitutions::Known;
use crate::keys::{self, OwnKeys};
use crate::runtime::rebuild::{RebuildOptions, Rebuilding, rebuild};
use crate::tls;
use crate::vault::HeldBrandKey;

/// How a log is rebuilt.
#[derive(Debug, clap::Args)]
pub struct RebuildArguments {
    /// Data directory: with the brand's keys in `keys/`, the constitution and the later ones, and no journal.
    #[arg(long)]
    pub data: PathBuf,
    /// A file with this brand's recovery key, which opens its own entries; `keys/recovery-key` if not given and
    /// there. One for each that the constitutions have named.
    #[arg(long = "recovery-key", value_name = "FILE")]
    pub recovery_keys: Vec<PathBuf>,
    /// A copy of the published log: a backup, or a mirror of what the node served. What is in it is not asked
    /// for. The folder `log` of the data directory is one, if it is there.
    #[arg(long = "log", value_name = "FOLDER")]
    pub copies: Vec<PathBuf>,
    /// Where the entries are that were archived; the folder `archive` of the data directory if not given.
    #[arg(long, value_name = "FOLDER")]
    pub archive: Option<PathBuf>,
    /// Where to listen for the other nodes, if there are no settings and the constitution names a host.
    #[arg(long)]
    pub listen_libp2p: Option<SocketAddr>,
    /// Where to listen for people and programs, likewise.
    #[arg(long)]
    pub listen_https: Option<SocketAddr>,
    /// Give up after so many seconds without a further block.
    #[arg(long, default_value_t = 120)]
    pub patience: u64,
}

/// Rebuilds, and says how to go on.
///
/// # Errors
/// When the data directory lacks what cannot be made anew, or blocks do not come; what came stays.
pub async fn run(arguments: &RebuildArguments) -> Result<(), CliError> {
    let mut io = Io::new(true);
    let data = DataDirectory::new(&arguments.data);
    prepare(&data, arguments, &io)?;
    let mut files = arguments.recovery_keys.clone();
    let beside = keys::recovery_key_path(&data.keys());
    if files.is_empty() && beside.exists() {
        files.push(beside);
    }
    if files.is_empty() {
        io.say(
            "no recovery key is given: blocks open as far as the sealing keys in keys/sealing reach",
        );
    }
    let mut recovery = Vec::new();
    for file in &files {
        recovery.extend(keys::read_sealing_secrets(file)?);
    }
    let options = RebuildOptions {
        recovery,
        copies: arguments.copies.clone(),
        archive: arguments.archive.clone(),
        patience: Duration::from_secs(arguments.patience),
    };
    let bar = bar();
    let report = rebuild(&data, options, |at| show(&bar, at)).await;
    bar.finish_and_clear();
    let report = report.map_err(|error| CliError::Input(error.to_string()))?;
    io.json(&report)?;
    io.say(&format!(
        "{} blocks of {} are back, {} exchanges in them, {} of members that the vault here knows. Next:\n  1. start the node with `coalition run --data {}`: it is restored (rule 12), reads the other brands' logs, and signs as witness again when those have gone on\n  2. what no log has: members, consents and links are in the folder `store`, which a backup may have had (put it there before a rebuild, so that exchanges find their members and purchases earn again); without one, import members and purchases, and let members link again\n  3. nobody can bring back what was taken and in no block yet, idempotency keys of points sent back, and the clean room's session keys",
        report.height,
        report.brand,
        report.exchanges,
        report.exchanges_of_known_members,
        data.path().display()
    ));
    Ok(())
}

/// Makes what is missing beside keys and constitutions.
fn prepare(data: &DataDirectory, arguments: &RebuildArguments, io: &Io) -> Result<(), CliError> {
    let input = |error: &dyn std::fmt::Display| CliError::Input(error.to_string());
    if !data.keys().is_dir() {
        return Err(CliError::Input(format!(
            "there is no {}: put the brand's keys there, from where they were kept; without them the other brands do not know this node, and only a new constitution with new keys helps",
            data.keys().display()
        )));
    }
    if !data.constitution().exists() {
        return Err(CliError::Input(format!(
            "there is no {}: take the alliance's constitutions, the first one first, with `coalition constitution take`",
            data.constitution().display()
        )));
    }
    let known = Known::read(data).map_err(|error| input(&error))?;
    if !data.settings_path().exists() {
        let (brand, constitution) = whose(data, &known)?;
        let profiles = constitution.profiles().find(|(id, _)| *id == brand);
        let profile = profiles.map(|(_, profile)| profile);
        let listen = |given: Option<SocketAddr>, flag: &str, is_libp2p: bool| {
            let of = profile.map(|it| if is_libp2p { &it.libp2p } else { &it.https });
            let named = of.and_then(|address| match address.host() {
                Host::Ip(ip) => Some(SocketAddr::new(*ip, address.port())),
                Host::Dns(_) => None,
            });
            given.or(named).ok_or_else(|| {
                CliError::Input(format!(
                    "the constitution names a host, not an address: add {flag}"
                ))
            })
        };
        let settings = Settings::new(
            brand,
            listen(arguments.listen_libp2p, "--listen-libp2p", true)?,
            listen(arguments.listen_https, "--listen-https", false)?,
        );
        data.create(&settings)?;
        io.say(&format!("made {}", data.settings_path().display()));
    }
    let vault_key = keys::vault_key_path(&data.keys());
    if !vault_key.exists() && !data.store().exists() {
        HeldBrandKey::create(&vault_key, &SystemRandom::new()).map_err(|error| input(&error))?;
        io.say(&format!("made {}: the vault begins empty", vault_key.display()));
    }
    if !data.tls().exists() {
        std::fs::create_dir_all(data.tls())
            .map_err(|source| CliError::File { path: data.tls(), source })?;
        tls::create(&data.tls(), None).map_err(|error| input(&error))?;
        io.say("made a new certificate: browsers and clients will ask again");
    }
    if !data.users().exists() {
        let password = generate_password().map_err(|error| input(&error))?;
        let auth = Auth::open(&data.users()).map_err(|error| input(&error))?;
        auth.add_user(OPERATOR, &Role::ALL, &password).map_err(|error| input(&error))?;
        let path = operator_path(data);
        if path.exists() {
            std::fs::remove_file(&path)
                .map_err(|source| CliError::File { path: path.clone(), source })?;
        }
        write_private(&path, password.as_bytes())?;
        io.say(&format!("made user `{OPERATOR}`; its password is in {}", path.display()));
    }
    Ok(())
}

/// Which brand the keys are of.
fn whose<'a>(
    data: &DataDirectory,
    known: &'a Known,
) -> Result<(BrandId, &'a Constitution), CliError> {
    let own = OwnKeys::read(&data.keys())?;
    let mut constitutions: Vec<&Constitution> = known.iter().collect();
    constitutions.sort_by_key(|it| std::cmp::Reverse(it.ledger().epoch()));
    for constitution in constitutions {
        for (brand, of) in constitution.ledger().brands() {
            if own.are(&of.keys) {
                return Ok((brand, constitution));
            }
        }
    }
    Err(CliError::Input(
        "no constitution here has a brand with these keys; take the one that was signed for them"
            .to_owned(),
    ))
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} block {pos} of {len} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, at: &Rebuilding) {
    bar.set_length(at.certified.get());
    bar.set_position(at.height.get());
    bar.set_message(format!("from {} brands", at.connected.len()));
    // a log file gets a line now and then
    if !std::io::stderr().is_terminal() && at.height.get().is_multiple_of(1000) {
        eprintln!("block {} of {}", at.height, at.certified);
    }
}
