//! Starting a node from its data directory: read, replay, connect.

use std::sync::{Arc, Mutex};

use alliance_config::{Constitution, Host};
use protocol::ids::BrandId;
use protocol::ledger::Ledger;
use protocol::log::tlog_witness::ForeignLogs;
use protocol::time::Timestamp;
use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::core::{Core, SystemEntropy};
use super::published::{PublishError, PublishedLog};
use super::sealed_journal::{RecordCipher, SealedRecordError};
use super::sealing::SealingCare;
use super::{BrandNames, RunError, Runtime, witnessing};
use crate::cleanroom::{QueryTimes, RestoreError, Room};
use crate::config::{ConfigError, DataDirectory};
use crate::constitutions::{Known, KnownError};
use crate::fragments::{FragmentArchive, FragmentsError};
use crate::journal::{Journal, JournalError};
use crate::keys::{self, KeysError, Secrets};
use crate::metrics::Metrics;
use crate::net::{self, Limits, Network, NetworkConfig, NetworkHandle, Peer};
use crate::outside::OutsideError;
use crate::purchases::{Facts, ImportError};
use crate::sealing_keys::SealingKeys;
use crate::service::{Node, Status};
use crate::store::{SledStore, Store, StoreError};
use crate::vault::{HeldBrandKey, KeyError, Vault, VaultError};

/// Operations that wait for the runtime.
const COMMANDS: usize = 1024;
/// Appends that wait for the journal.
const APPENDS: usize = 64;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A constitution is not there, not valid, not signed, or may not follow.
    #[error("the constitution cannot be used: {0}")]
    Known(#[from] KnownError),
    /// This brand is not in it, or under other keys.
    #[error("{0}")]
    NotMember(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault's key.
    #[error(transparent)]
    VaultKey(#[from] KeyError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The facts.
    #[error(transparent)]
    Facts(#[from] ImportError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of the journal.
    #[error(transparent)]
    Record(#[from] SealedRecordError),
    /// The journal's records do not hang together.
    #[error("the journal does not hang together: {0}; it must not be used")]
    Replay(String),
    /// The clean room.
    #[error(transparent)]
    CleanRoom(#[from] RestoreError),
    /// The own log.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What is held of others' logs.
    #[error(transparent)]
    Fragments(#[from] FragmentsError),
    /// A witness that is to be asked.
    #[error("a witness in node.toml cannot be used: {0}")]
    Witness(#[from] OutsideError),
    /// The network.
    #[error(transparent)]
    Network(#[from] net::StartError),
    /// A peer's address.
    #[error("the address of {brand} cannot be resolved: {problem}")]
    Address {
        /// The peer.
        brand: BrandId,
        /// What the resolver said.
        problem: String,
    },
}

/// A node that runs.
pub struct Running {
    /// Its operations.
    pub node: Node,
    /// Its network.
    pub network: NetworkHandle,
    /// What it counts and measures.
    pub metrics: Metrics,
    /// Ends when the node has stopped; an error means that it had to.
    pub runtime: JoinHandle<Result<(), RunError>>,
}

/// Starts the node of a data directory.
///
/// # Errors
/// See [`StartError`]; nothing was sent.
pub async fn start(data: &DataDirectory) -> Result<Running, StartError> {
    start_with(data, QueryTimes::default()).await
}

/// As [`start`], with other times for the steps of a joint question.
///
/// # Errors
/// See [`StartError`]; nothing was sent.
pub async fn start_with(data: &DataDirectory, times: QueryTimes) -> Result<Running, StartError> {
    start_as(data, times, false).await
}

/// As [`start`], where the operator knows that the journal was put back to an older state.
///
/// # Errors
/// See [`StartError`]; nothing was sent.
pub async fn start_restored(data: &DataDirectory) -> Result<Running, StartError> {
    start_as(data, QueryTimes::default(), true).await
}

async fn start_as(
    data: &DataDirectory,
    times: QueryTimes,
    restored: bool,
) -> Result<Running, StartError> {
    let (settings, brand) = data.settings()?;
    let secrets = keys::read(&data.keys())?;
    let known = Known::read(data)?;
    let chain = known.chain(brand)?;
    let sealing = SealingKeys::read(&data.keys())?;
    for constitution in known.of_chain(&chain).take(1) {
        check_membership(constitution, brand, &secrets, &sealing)?;
    }
    let store: Arc<dyn Store> = Arc::new(SledStore::open(data.store())?);
    let vault_key = HeldBrandKey::read(&keys::vault_key_path(&data.keys()))?;
    let random = Arc::new(SystemRandom::new());
    let vault = Arc::new(Vault::new(brand, Arc::clone(&store), Arc::new(vault_key), random));
    let facts = Arc::new(Facts::open(data.facts(), Arc::clone(&store), &vault)?);

    let keys = secrets.ledger(sealing.ring().map_err(KeysError::from)?)?;
    let mut ledger = Ledger::new(brand, chain, keys);
    known.later().for_each(|draft| ledger.hold(draft.ledger().clone()));
    let published = PublishedLog::open(&data.log())?;
    let mut core = Core::new(ledger, Arc::clone(&vault), published);
    core.fragments = Some(FragmentArchive::open(data.fragments())?);
    core.to_state = known.stances(data)?;
    core.foreign =
        ForeignLogs::new(settings.witnessing.foreign_logs.iter().map(|key| key.0.clone()));
    core.outside = settings.witnessing.ask.iter().map(|asked| asked.key.0.clone()).collect();
    let asked = witnessing::asked(&settings.witnessing)?;
    let cipher = RecordCipher::new(secrets.journal())?;
    let mut replay = Journal::open(data.journal())?;
    let (mut applications, mut joint) = (Vec::new(), Vec::new());
    for record in replay.by_ref() {
        let record = cipher.open(record?)?;
        joint.extend(core.replay(record, &mut applications).map_err(StartError::Replay)?);
    }
    // names, addresses and the clean room are those of the newest constitution that was adopted
    let chain = core.ledger.constitutions().clone();
    let constitutions: Vec<&Constitution> = known.of_chain(&chain).collect();
    let with_us = |it: &&&Constitution| it.ledger().brand(brand).is_some();
    let newest = constitutions.iter().find(with_us).copied();
    let constitution = newest.ok_or(KnownError::NotMember(brand))?;
    check_membership(constitution, brand, &secrets, &sealing)?;
    let room = constitution.clean_room().map(|clean_room| {
        let entropy = Box::new(SystemEntropy(SystemRandom::new()));
        let facts = Arc::clone(&facts);
        let mut room =
            Room::restore(brand, constitution, clean_room, facts, times, entropy, &joint)?;
        applications.iter().for_each(|entry| room.replay(entry));
        Ok::<Room, RestoreError>(room)
    });
    let room = room.transpose()?;
    let journal = replay.into_journal()?;
    if let Some(torn) = journal.torn_tail() {
        tracing::warn!(bytes = torn.bytes, "a write that a crash cut short was dropped");
    }
    let (journal, _thread) = journal.into_group_commit(APPENDS)?;

    let metrics = Metrics::default();
    let peers = peers(&constitutions, brand).await?;
    let (network, inbox) = Network::start(NetworkConfig {
        identity_seed: secrets.network(),
        listen: settings.listen,
        peers,
        limits: Limits::default(),
        counters: metrics.counters().clone(),
    })
    .await?;

    let (commands, inbound) = mpsc::channel(COMMANDS);
    let (back, internal) = mpsc::channel(COMMANDS);
    let (status, watched) = watch::channel(Status::default());
    let names = constitution
        .profiles()
        .map(|(id, profile)| BrandNames {
            brand: id,
            zh: profile.name.zh().to_owned(),
            en: profile.name.en().to_owned(),
        })
        .collect();
    let runtime = Runtime {
        members: vault.count()?,
        purchases: facts.rows()?,
        core,
        room,
        latest_release: (0, None),
        cipher,
        journal,
        network: network.clone(),
        inbox,
        commands: inbound,
        internal,
        back,
        status,
        names,
        facts,
        import: Arc::new(Mutex::default()),
        versions: std::collections::BTreeMap::new(),
        sealing: SealingCare {
            keys: sealing,
            zone: constitution.clearing_zone().clone(),
            months: constitution.payload_retention_months(),
            looked: Timestamp::default(),
        },
        connected: std::collections::BTreeSet::new(),
        asked,
        metrics: metrics.clone(),
        stop: None,
        until_final: std::collections::VecDeque::new(),
        restored,
        fragments_synced: Timestamp::default(),
        fragments_looked: Timestamp::default(),
    };
    let node = Node::new(commands, watched, brand, data.log());
    let runtime = tokio::spawn(runtime.run());
    Ok(Running { node, network, metrics, runtime })
}

/// Whether the constitution has this brand, under this node's keys.
pub(crate) fn check_membership(
    constitution: &Constitution,
    brand: BrandId,
    secrets: &Secrets,
    sealing: &SealingKeys,
) -> Result<(), StartError> {
    let member = constitution.ledger().brand(brand).ok_or_else(|| {
        StartError::NotMember(format!(
            "{brand} is no brand of the constitution; copy the constitution that was collected for this alliance"
        ))
    })?;
    // the constitution has the first sealing key, which may be destroyed by now
    let first = sealing.first().is_none_or(|first| first == member.keys.sealing);
    if first && secrets.public(member.keys.sealing, member.keys.recovery)? == member.keys {
        return Ok(());
    }
    Err(StartError::NotMember(format!(
        "the constitution has other keys for {brand} than this data directory; draft it again from this node's introduction"
    )))
}

/// Brands of these constitutions, the newest first, each as the first that names it says: a brand that
/// has left may still owe others its last blocks.
pub(super) async fn peers(
    constitutions: &[&Constitution],
    me: BrandId,
) -> Result<Vec<Peer>, StartError> {
    let mut peers: Vec<Peer> = Vec::new();
    let profiles = constitutions.iter().flat_map(|it| it.profiles().map(move |of| (it, of)));
    for (constitution, (brand, profile)) in profiles {
        if brand == me || peers.iter().any(|peer| peer.brand == brand) {
            continue;
        }
        let Some(member) = constitution.ledger().brand(brand) else { continue };
        let (host, port) = (profile.libp2p.host(), profile.libp2p.port());
        let failed = |problem: String| StartError::Address { brand, problem };
        let address = match host {
            Host::Ip(ip) => (*ip, port).into(),
            Host::Dns(name) => tokio::net::lookup_host((name.as_str(), port))
                .await
                .map_err(|error| failed(error.to_string()))?
                .next()
                .ok_or_else(|| failed("no address is known for the name".to_owned()))?,
        };
        peers.push(Peer { brand, public_key: *member.keys.network.as_bytes(), address });
    }
    Ok(peers)
}
