//! `coalition init` and `coalition constitution`: how brands draft, sign and collect one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use alliance_config::{
    Address, Constitution, Introduction, Name, Parting, SETTINGS_TEMPLATE, Sentence, Settings,
    Signatures, collect, compare, draft, draft_parting, sign,
};
use protocol::amount::Rate;
use protocol::epochs::adoption::Stance;
use protocol::ids::BrandId;
use protocol::ledger::{log_verifier, witness_verifier};

use super::operations::{NodeArguments, client};
use super::{CliError, Io, OPERATOR, operator_path};
use crate::auth::{Auth, Role, generate_password};
use crate::cleanroom::views;
use crate::client::ClientError;
use crate::config::{DataDirectory, Settings as NodeSettings};
use crate::keys::{self, OwnKeys};
use crate::service::ConstitutionView;
use crate::setup::{self, INTRODUCTION, NewNode};
use crate::tls;

/// Where a node tells of its constitutions.
const PATH: &str = "/api/v1/constitutions";

/// What a new node is told.
#[derive(Debug, clap::Args)]
pub struct InitArguments {
    /// Data directory; made, readable by its owner only.
    #[arg(long)]
    pub data: PathBuf,
    /// Id of the brand: a-z, 0-9, _ and -, at most 23 characters. It never changes.
    #[arg(long)]
    pub brand: String,
    /// Name in Chinese.
    #[arg(long)]
    pub name_zh: String,
    /// Name in English.
    #[arg(long)]
    pub name_en: String,
    /// Settlement value of one point in micro-fen (10^-8 yuan), as a ratio such as 1000000/1.
    #[arg(long, default_value = "1000000/1")]
    pub point_value: String,
    /// Where the other nodes reach this one.
    #[arg(long, default_value = "127.0.0.1:7001")]
    pub libp2p: String,
    /// Where people and programs reach it, over TLS.
    #[arg(long, default_value = "127.0.0.1:7002")]
    pub https: String,
    /// Where to listen for other nodes, if not at that address.
    #[arg(long)]
    pub listen_libp2p: Option<SocketAddr>,
    /// Where to listen for HTTPS, if not at that address.
    #[arg(long)]
    pub listen_https: Option<SocketAddr>,
}

/// Steps towards a signed constitution.
#[derive(Debug, clap::Subcommand)]
pub enum ConstitutionCommand {
    /// Print a commented settings file to begin with.
    Template,
    /// Draft a constitution from the brands' introductions and the alliance's settings.
    Draft {
        /// The settings; see `template`.
        #[arg(long)]
        settings: PathBuf,
        /// Where to write it.
        #[arg(long, short)]
        out: PathBuf,
        /// One introduction a brand.
        #[arg(required = true)]
        introductions: Vec<PathBuf>,
    },
    /// Check a constitution and show what it says; warns of what its dataset contract names and this version does not
    /// serve.
    Check {
        /// The constitution.
        constitution: PathBuf,
    },
    /// Print the verifier keys of every brand's log and of its cosignatures, for stock tools (C2SP
    /// signed-note): a line a key.
    Keys {
        /// The constitution.
        constitution: PathBuf,
    },
    /// Sign a constitution with this brand's governance key.
    Sign {
        /// Data directory of the signing brand.
        #[arg(long)]
        data: PathBuf,
        /// Where to write the signature.
        #[arg(long, short)]
        out: PathBuf,
        /// The constitution.
        constitution: PathBuf,
    },
    /// Collect signatures; says whose are missing.
    Collect {
        /// Where to write them.
        #[arg(long, short)]
        out: PathBuf,
        /// The constitution.
        constitution: PathBuf,
        /// The brands' signatures.
        #[arg(required = true)]
        signatures: Vec<PathBuf>,
    },
    /// Take a signed constitution up into a node's data directory.
    Adopt {
        /// The data directory.
        #[arg(long)]
        data: PathBuf,
        /// The constitution.
        constitution: PathBuf,
        /// Its signatures.
        signatures: PathBuf,
    },
    /// Draft the constitution after the present one; its words stay, the rest is changed by hand.
    Next {
        /// The present constitution.
        #[arg(long)]
        present: PathBuf,
        /// Where to write it.
        #[arg(long, short)]
        out: PathBuf,
        /// A brand that leaves.
        #[arg(long = "leave", value_name = "BRAND")]
        leaving: Vec<String>,
        /// A brand whose log is closed although it stays a brand: one that failed, or whose keys are stolen. Beside
        /// new keys it is an emergency, which needs no notice.
        #[arg(long = "freeze", value_name = "BRAND")]
        freezing: Vec<String>,
        /// End the clean room: its section is left out. Needed where fewer than three brands are left.
        #[arg(long)]
        without_clean_room: bool,
        /// Introductions of brands that join, or of brands with new keys (see `keys next`) or addresses.
        introductions: Vec<PathBuf>,
    },
    /// Say in words what changes from one constitution to the next, and when members are told.
    Compare {
        /// The present constitution.
        present: PathBuf,
        /// The next.
        next: PathBuf,
    },
    /// Take a later constitution, or a draft of one, into a node's data directory, and say whether this
    /// brand adopts it. A running node reads it at once, another one when it starts.
    Take {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Enter in this brand's log that it adopts it.
        #[arg(long, conflicts_with = "decline")]
        adopt: bool,
        /// Enter in this brand's log that it does not.
        #[arg(long)]
        decline: bool,
        /// The constitution.
        constitution: PathBuf,
        /// Signatures of the brands that join with it.
        signatures: Option<PathBuf>,
    },
    /// Show every constitution after the first, drafts too, that a running node knows of: who has adopted
    /// it, when it takes effect, whose logs are under it.
    Status {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Make a key pair for an auditor; prints the public half for the settings.
    AuditorKey {
        /// Where to write the private half.
        #[arg(long, short)]
        out: PathBuf,
        /// How many months it is to serve: one key each, printed in order.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=60))]
        months: u8,
    },
}

/// What `init` made.
#[derive(Debug, serde::Serialize)]
pub struct Made {
    /// The brand.
    pub brand: String,
    /// Its introduction, to be given to whoever drafts the constitution.
    pub introduction: PathBuf,
    /// The recovery key, to be taken offline.
    pub recovery_key: PathBuf,
    /// Name of the first user, who has every role.
    pub user: &'static str,
    /// The password; it is shown once.
    pub password: String,
}

/// Makes a node: keys, certificate, first user, introduction.
///
/// # Errors
/// When there is a node already, or an argument is malformed.
pub fn init(arguments: &InitArguments) -> Result<Made, CliError> {
    let input = |error: &dyn std::fmt::Display| CliError::Input(error.to_string());
    let brand = BrandId::new(&arguments.brand).map_err(|error| input(&error))?;
    let name = Name::new(&arguments.name_zh, &arguments.name_en).map_err(|error| input(&error))?;
    let libp2p: Address = arguments.libp2p.parse().map_err(|error| input(&error))?;
    let https: Address = arguments.https.parse().map_err(|error| input(&error))?;
    let listen = |given: Option<SocketAddr>, address: &str, flag: &str| match given {
        Some(listen) => Ok(listen),
        None => address.parse().map_err(|_| {
            CliError::Input(format!("{address} is not an IP address with a port: add {flag}"))
        }),
    };
    let new = NewNode {
        brand,
        name,
        point_value: rate(&arguments.point_value)?,
        settings: NodeSettings::new(
            brand,
            listen(arguments.listen_libp2p, &arguments.libp2p, "--listen-libp2p")?,
            listen(arguments.listen_https, &arguments.https, "--listen-https")?,
        ),
        libp2p,
        https,
    };
    create(&DataDirectory::new(&arguments.data), &new)
}

/// Makes a node from checked parts.
///
/// # Errors
/// When there is a node already, or the directory cannot be written.
pub fn create(data: &DataDirectory, new: &NewNode) -> Result<Made, CliError> {
    setup::create(data, new)?;
    fs::create_dir_all(data.tls()).map_err(|source| CliError::File { path: data.tls(), source })?;
    let host = match new.https.host() {
        alliance_config::Host::Ip(ip) => ip.to_string(),
        alliance_config::Host::Dns(name) => name.clone(),
    };
    tls::create(&data.tls(), Some(&host)).map_err(|error| CliError::Input(error.to_string()))?;
    let password = generate_password().map_err(|error| CliError::Input(error.to_string()))?;
    let auth = Auth::open(&data.users()).map_err(|error| CliError::Input(error.to_string()))?;
    auth.add_user(OPERATOR, &Role::ALL, &password)
        .map_err(|error| CliError::Input(error.to_string()))?;
    // for the commands run by the same user on the same machine
    super::write_private(&operator_path(data), password.as_bytes())?;
    Ok(Made {
        brand: new.brand.to_string(),
        introduction: data.path().join(INTRODUCTION),
        recovery_key: keys::recovery_key_path(&data.keys()),
        user: OPERATOR,
        password: password.to_string(),
    })
}

fn rate(text: &str) -> Result<Rate, CliError> {
    text.split_once('/')
        .and_then(|(above, below)| Some((above.parse().ok()?, below.parse().ok()?)))
        .and_then(|(above, below)| Rate::new(above, below).ok())
        .ok_or_else(|| {
            CliError::Input("a point value is two positive integers, as in 1000000/1".to_owned())
        })
}

/// Does one step towards a constitution.
///
/// # Errors
/// When a file cannot be read or written, or something in it is wrong, or a running node refuses.
pub async fn run(command: &ConstitutionCommand, io: &mut Io) -> Result<(), CliError> {
    let input = |error: &dyn std::fmt::Display| CliError::Input(error.to_string());
    match command {
        ConstitutionCommand::Template => io.document("settings", SETTINGS_TEMPLATE),
        ConstitutionCommand::Draft { settings, out, introductions } => {
            let settings = Settings::parse(&read(settings)?).map_err(|error| input(&error))?;
            let introductions = introductions
                .iter()
                .map(|path| {
                    Introduction::parse(&read(path)?)
                        .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let text = draft(&introductions, &settings).map_err(|error| input(&error))?;
            write(out, text.as_bytes())?;
            io.say(&format!(
                "drafted for {} brands: read it, then let every brand sign it",
                introductions.len()
            ));
            Ok(())
        }
        ConstitutionCommand::Check { constitution } => {
            let checked =
                Constitution::parse(&read(constitution)?).map_err(|error| input(&error))?;
            show(&checked, io)?;
            // what is refused by one version may be served by another: the constitution is no worse for it
            let rooms = checked.clean_room().into_iter();
            for words in rooms.flat_map(|room| views::contract_warnings(room.contract())) {
                io.say(&format!("warning: {} / {}", words.en, words.zh));
            }
            Ok(())
        }
        ConstitutionCommand::Keys { constitution } => {
            let checked =
                Constitution::parse(&read(constitution)?).map_err(|error| input(&error))?;
            let ledger = checked.ledger();
            let mut keys = Vec::new();
            for (brand, _) in ledger.brands() {
                let of_brand = [log_verifier(ledger, brand), witness_verifier(ledger, brand)];
                keys.extend(of_brand.into_iter().flatten().map(|key| key.to_string()));
            }
            lines(&keys, io)
        }
        ConstitutionCommand::Sign { data, out, constitution } => {
            let data = DataDirectory::new(data);
            let ((_, brand), bytes) = (data.settings()?, read(constitution)?);
            let own = OwnKeys::read(&data.keys())?;
            let checked = Constitution::parse(&bytes).map_err(|error| input(&error))?;
            // with the key that the constitution has; without it `sign` says that this is another's
            let member = checked.ledger().brand(brand);
            let set = member.and_then(|member| own.signing.of(&member.keys));
            let governance = set.unwrap_or(own.signing.newest()).governance()?;
            let signatures = sign(&bytes, &governance).map_err(|error| input(&error))?;
            write(out, signatures.to_text().as_bytes())
        }
        ConstitutionCommand::Collect { out, constitution, signatures } => {
            let parts = signatures
                .iter()
                .map(|path| Signatures::parse(&read(path)?).map_err(|error| input(&error)))
                .collect::<Result<Vec<_>, _>>()?;
            let collected = collect(&read(constitution)?, &parts).map_err(|error| input(&error))?;
            write(out, collected.signatures.to_text().as_bytes())?;
            for refused in &collected.refused {
                io.say(&format!("not taken: {refused}"));
            }
            for missing in &collected.missing {
                io.say(&format!("missing: {missing}"));
            }
            if collected.missing.is_empty() && collected.refused.is_empty() {
                io.say("every brand has signed");
                return Ok(());
            }
            Err(CliError::Input("not every brand has signed yet".to_owned()))
        }
        ConstitutionCommand::Adopt { data, constitution, signatures } => {
            setup::adopt(&DataDirectory::new(data), constitution, signatures)?;
            io.say("the constitution is in the data directory; start the node with `run`");
            Ok(())
        }
        ConstitutionCommand::Next {
            present,
            out,
            leaving,
            freezing,
            without_clean_room,
            introductions,
        } => {
            let introductions = introductions
                .iter()
                .map(|path| {
                    Introduction::parse(&read(path)?)
                        .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let (leaving, freezing) = (brand_ids(leaving)?, brand_ids(freezing)?);
            let parting = Parting {
                leaving: &leaving,
                freezing: &freezing,
                ends_clean_room: *without_clean_room,
            };
            let text = draft_parting(&read(present)?, &introductions, &parting)
                .map_err(|error| input(&error))?;
            write(out, text.as_bytes())?;
            io.say("drafted: change what is to change, then read `constitution compare`");
            Ok(())
        }
        ConstitutionCommand::Compare { present, next } => {
            let parse = |path: &Path| {
                Constitution::parse(&read(path)?)
                    .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))
            };
            let comparison =
                compare(&parse(present)?, &parse(next)?).map_err(|error| input(&error))?;
            let when = comparison.when();
            if io.is_json() {
                let both = |it: &Sentence| serde_json::json!({ "zh": it.zh, "en": it.en });
                let changes: Vec<_> = comparison.lines.iter().map(|it| both(&it.words)).collect();
                return io.json(&serde_json::json!({ "changes": changes, "when": both(&when) }));
            }
            for line in &comparison.lines {
                io.line(&line.to_string())?;
            }
            io.line(&when.to_string())
        }
        ConstitutionCommand::Take { node, adopt, decline, constitution, signatures } => {
            let stance = match (adopt, decline) {
                (true, _) => Some(Stance::Adopted),
                (_, true) => Some(Stance::Declined),
                (false, false) => None,
            };
            take(node, (constitution, signatures.as_deref()), stance, io).await
        }
        ConstitutionCommand::Status { node } => {
            let views: Vec<ConstitutionView> = client(node).await?.get(PATH).await?;
            views.iter().try_for_each(|view| io.json(view))
        }
        ConstitutionCommand::AuditorKey { out, months } => {
            let keys = keys::create_auditor_keys(out, *months)?;
            let keys: Vec<String> = keys.iter().map(alliance_config::sealing_key_text).collect();
            lines(&keys, io)
        }
    }
}

/// A line each, or one list.
fn lines(of: &[String], io: &mut Io) -> Result<(), CliError> {
    if io.is_json() { io.json(&of) } else { of.iter().try_for_each(|line| io.line(line)) }
}

fn brand_ids(of: &[String]) -> Result<Vec<BrandId>, CliError> {
    of.iter()
        .map(|id| BrandId::new(id).map_err(|error| CliError::Input(error.to_string())))
        .collect()
}

/// Takes a file into the data directory, and tells the node if it runs.
async fn take(
    node: &NodeArguments,
    (constitution, signatures): (&Path, Option<&Path>),
    stance: Option<Stance>,
    io: &mut Io,
) -> Result<(), CliError> {
    let data = DataDirectory::new(&node.data);
    let taken = setup::take(&data, constitution, signatures, stance)?;
    let what = format!("constitution {} of epoch {}", taken.hash(), taken.ledger().epoch());
    // a node that was killed has left its addresses, and nobody answers there
    let running = match data.addresses().exists() {
        true => match client(node).await {
            Err(CliError::Client(ClientError::Unreachable { .. })) => None,
            client => Some(client?),
        },
        false => None,
    };
    let Some(client) = running else {
        io.say(&format!("{what} is in the data directory; the node reads it when it starts"));
        return Ok(());
    };
    let views: Vec<ConstitutionView> = client.post(PATH, &[], &()).await?;
    io.say(&format!("{what} is in the data directory, and the running node has read it"));
    let of_taken = views.iter().filter(|view| view.hash == taken.hash().to_string());
    for view in of_taken {
        io.say(&format!(
            "adopted by {} of the {} brands it needs: {}",
            view.adopted.len(),
            view.needed,
            view.adopted.join(", ")
        ));
    }
    Ok(())
}

fn show(constitution: &Constitution, io: &mut Io) -> Result<(), CliError> {
    let ledger = constitution.ledger();
    let committee = ledger.committee();
    let days = ledger.succession().notice.get() / 86_400_000;
    if io.is_json() {
        let brands = constitution.profiles().map(|(brand, profile)| {
            let (zh, en) = (profile.name.zh(), profile.name.en());
            let (brand, libp2p) = (brand.to_string(), profile.libp2p.to_string());
            serde_json::json!({ "brand": brand, "zh": zh, "en": en, "libp2p": libp2p })
        });
        let room = constitution.clean_room();
        return io.json(&serde_json::json!({
            "alliance": ledger.alliance().to_string(),
            "zh": constitution.name().zh(),
            "en": constitution.name().en(),
            "epoch": ledger.epoch().get(),
            "hash": constitution.hash().to_string(),
            "brands": brands.collect::<Vec<_>>(),
            "faults_tolerated": committee.faults(),
            "quorum": committee.quorum(),
            "notice_days": days,
            "trial": constitution.is_trial(),
            "clean_room": room.map(|room| room.contract().profile().name()),
        }));
    }
    io.line(&format!(
        "alliance {} ({}), epoch {}",
        ledger.alliance(),
        both(constitution.name()),
        ledger.epoch()
    ))?;
    io.line(&format!("hash {}", constitution.hash()))?;
    io.line(&format!(
        "n = {}, f = {}, q = {}{}",
        committee.size(),
        committee.faults(),
        committee.quorum(),
        if committee.faults() == 0 { " (a fork would be detected, not prevented)" } else { "" }
    ))?;
    io.line(&format!(
        "members are told {days} days before what touches them changes{}",
        if days == 0 { " (not at all)" } else { "" }
    ))?;
    if constitution.is_trial() {
        io.line("a trial alliance: there are no real members / 试运行联盟：没有真实会员")?;
    }
    for (brand, profile) in constitution.profiles() {
        io.line(&format!("  {brand}: {} at {}", both(&profile.name), profile.libp2p))?;
    }
    match constitution.clean_room() {
        Some(room) => io.line(&format!("clean room: profile {}", room.contract().profile().name())),
        None => io.line("clean room: none"),
    }
}

fn both(name: &Name) -> String {
    format!("{} {}", name.zh(), name.en())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|source| CliError::File { path: path.into(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    fs::write(path, bytes).map_err(|source| CliError::File { path: path.into(), source })
}
