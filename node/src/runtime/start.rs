//! Starting a node from its data directory: read, replay, connect.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alliance_config::Constitution;
use protocol::ids::{BrandId, Incarnation};
use protocol::ledger::Ledger;
use protocol::log::tlog_witness::ForeignLogs;
use protocol::time::Timestamp;
use protocol::wire::Versions;
use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::applications::ApplicationsError;
use super::clock::ClockRefusals;
use super::constitutions::{
    Following, former_contracts, names, newest_with, peers_of, resolve, under_of,
};
use super::core::{Core, SystemEntropy};
use super::early_questions::EarlyQuestions;
use super::events::EventCare;
use super::own_blocks::OwnBlocks;
use super::published::{PublishError, PublishedLog};
use super::sealed_journal::{RecordCipher, SealedRecordError};
use super::sealing::SealingCare;
use super::snapshot::{SnapshotCare, forget_later_earned};
use super::trace::Traces;
use super::wires::Wires;
use super::{RunError, Runtime, audits, members, now, unix, witnessing};
use crate::cleanroom::policy::{PolicyError, PolicyFile};
use crate::cleanroom::{Gated, Kept, QueryTimes, RestoreError, Room, RoomSettings};
use crate::config::{ConfigError, DataDirectory};
use crate::constitutions::{Known, KnownError};
use crate::desk::{Desk, DeskError};
use crate::exchange::cold::{Cold, ColdError};
use crate::fragments::{FragmentArchive, FragmentsError};
use crate::journal::{Journal, JournalError};
use crate::keys::{self, KeysError, OwnKeys};
use crate::metrics::Metrics;
use crate::net::{self, Limits, Network, NetworkConfig, NetworkHandle};
use crate::outside::OutsideError;
use crate::purchases::{Facts, ImportError};
use crate::service::{Node, Status};
use crate::store::{RecordingStore, Store, StoreError};
use crate::vault::{Random, Vault, VaultError};

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
    /// Exchanges in the store.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// What is kept of the own blocks.
    #[error("{} cannot be read: {source}", .path.display())]
    OwnBlocks {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings of vault or desk.
    #[error("node.toml or the vault's key: {0}")]
    Settings(String),
    /// The desk.
    #[error(transparent)]
    Desk(#[from] DeskError),
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
    /// Entries that the clean room's accounts are made of.
    #[error(transparent)]
    Applications(#[from] ApplicationsError),
    /// This brand's policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
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
    start_as(data, times, Versions::SPOKEN, false).await
}

/// As [`start`], where the operator knows that the journal was put back to an older state.
///
/// # Errors
/// See [`StartError`]; nothing was sent.
pub async fn start_restored(data: &DataDirectory) -> Result<Running, StartError> {
    start_as(data, QueryTimes::default(), Versions::SPOKEN, true).await
}

/// As [`start`], where the node says that it speaks these versions of the wire and takes no other. Messages have one
/// form as yet, whatever version they go under: this is for tests of nodes that are updated one after another, and
/// nothing that an operator can set.
///
/// # Errors
/// See [`StartError`]; nothing was sent.
#[doc(hidden)]
pub async fn start_speaking(data: &DataDirectory, speaks: Versions) -> Result<Running, StartError> {
    start_as(data, QueryTimes::default(), speaks, false).await
}

async fn start_as(
    data: &DataDirectory,
    times: QueryTimes,
    speaks: Versions,
    restored: bool,
) -> Result<Running, StartError> {
    let (settings, brand) = data.settings()?;
    let own = OwnKeys::read(&data.keys())?;
    let known = Known::read(data)?;
    let chain = known.chain(brand)?;
    for constitution in known.of_chain(&chain).take(1) {
        check_membership(constitution, brand, &own)?;
    }
    let recording = Arc::new(RecordingStore::new(settings.open_store(data)?));
    let store: Arc<dyn Store> = recording.clone();
    let rules = settings.desk.rules().map_err(StartError::Settings)?;
    let vault_key = settings.vault.brand_key(&keys::vault_key_path(&data.keys()));
    let vault_key = vault_key.map_err(StartError::Settings)?;
    let random: Random = Arc::new(SystemRandom::new());
    let vault = Arc::new(Vault::new(brand, Arc::clone(&store), vault_key, Arc::clone(&random)));
    let metrics = Metrics::default();
    let desk = Desk::open(Arc::clone(&vault), Arc::clone(&store), random, rules, metrics.clone());
    let desk = Arc::new(desk?);
    let facts = Arc::new(Facts::open(data.facts(), Arc::clone(&store), &vault)?);

    let keys = own.secrets.ledger(own.sealing.ring().map_err(KeysError::from)?)?;
    let mut ledger = Ledger::new(brand, chain, keys);
    own.signing.later()?.into_iter().for_each(|set| ledger.add_keys(set));
    known.later().for_each(|draft| ledger.hold(draft.ledger().clone()));
    let cipher = Arc::new(RecordCipher::new(own.secrets.journal())?);
    let published = open_log(data, &cipher)?;
    let cold = Cold::new(Arc::clone(&store), Arc::clone(&cipher) as _);
    cold.check_form()?;
    cold.complete_times()?;
    let mut core = Core::new(ledger, Arc::clone(&vault), (Arc::clone(&store), cold), published)?;
    core.fragments = Some(FragmentArchive::open(data.fragments())?);
    core.builds_apart = true;
    core.to_state = known.stances(data)?;
    core.foreign =
        ForeignLogs::new(settings.witnessing.foreign_logs.iter().map(|key| key.0.clone()))
            .confirmed(settings.witnessing.confirmed_restore.map(Incarnation::new));
    core.outside = settings.witnessing.ask.iter().map(|asked| asked.key.0.clone()).collect();
    let asked = witnessing::asked(&settings.witnessing, data.path())?;
    let mut replay = Journal::open(data.journal())?;
    for error in replay.passed_over() {
        tracing::error!(error = %error, "a snapshot is damaged; the one before it is taken");
    }
    let mut progress = Progress::new();
    while let Some(record) = replay.next() {
        core.replay(cipher.open(record?)?).map_err(StartError::Replay)?;
        progress.tell(replay.progress());
    }
    forget_later_earned(&*store, replay.snapshot_number())?;
    let (read, _) = replay.progress();
    let snapshot_time = match replay.snapshot_time() {
        Some(time) => unix(time),
        // what has never been one becomes one; a new journal is none yet
        None if read > 0 => Timestamp::default(),
        None => now(),
    };
    let chain = core.ledger.constitutions();
    let newest = newest_with(&known, chain, brand).ok_or(KnownError::NotMember(brand))?;
    check_membership(newest, brand, &own)?;
    let names = names(newest);
    let under = under_of(&known, &core.ledger).unwrap_or(newest).clone();
    core.calendar = under.cut_offs().cloned();
    let settings_of_room = RoomSettings { policy: PolicyFile::read(&data.policy())?, times };
    let room = under.clean_room().map(|clean_room| {
        let entropy = Box::new(SystemEntropy(SystemRandom::new()));
        let facts = Arc::clone(&facts);
        let mut room = Room::restore(
            brand,
            &under,
            clean_room,
            facts,
            settings_of_room,
            entropy,
            Kept { records: &core.joint, former: &former_contracts(&known, &core.ledger, &under) },
        )?;
        core.applications.visit(&*store, |entry| room.replay(entry))?;
        Ok::<Room, StartError>(room)
    });
    let room = room.transpose()?;
    let journal = replay.into_journal()?;
    if let Some(torn) = journal.torn_tail() {
        tracing::warn!(bytes = torn.bytes, "a write that a crash cut short was dropped");
    }
    let (journal, _thread) = journal.into_group_commit(APPENDS)?;

    let chain = core.ledger.constitutions();
    let peers = resolve(&peers_of(&known, chain, brand)).await?;
    let newest = chain.newest().hash();
    let (network, inbox) = Network::start(NetworkConfig {
        identity_seed: own.secrets.network(),
        listen: settings.listen,
        peers,
        limits: Limits::default(),
        counters: metrics.counters().clone(),
    })
    .await?;

    let (commands, inbound) = mpsc::channel(COMMANDS);
    let (back, internal) = mpsc::channel(COMMANDS);
    let (status, watched) = watch::channel(Status::default());
    let facts_of_node = Arc::clone(&facts);
    let last_notice = core.last_notice();
    let schedule = audits::Schedule::open(data, &settings.audit);
    let mut runtime = Runtime {
        desk: Arc::clone(&desk),
        members: vault.count()?,
        purchases: facts.rows()?,
        core,
        room: room.map(Gated::new),
        early: EarlyQuestions::default(),
        latest_release: (0, None),
        cipher,
        journal,
        in_flight: super::in_flight::InFlight::default(),
        snapshots: SnapshotCare {
            least: u64::from(settings.snapshot_mib) << 20,
            // a long tail is soon made short
            since: read,
            last_bytes: 0,
            begun: snapshot_time,
            marks: VecDeque::new(),
            wanted: 0,
            under_way: false,
            leaving: None,
            hurried: Arc::default(),
            failed: false,
            backup: None,
        },
        network: network.clone(),
        inbox,
        commands: inbound,
        internal,
        back,
        status,
        status_taken: std::time::Instant::now(),
        names,
        facts,
        import: Arc::new(Mutex::default()),
        turns: Arc::default(),
        store: recording,
        backup: Arc::new(Mutex::new(super::backups::kept(data))),
        backup_alert_days: settings.backup_alert_days,
        audits: schedule.clone(),
        wires: Wires::new(speaks),
        sealing: SealingCare {
            keys: own.sealing,
            zone: under.clearing_zone().clone(),
            months: under.payload_retention_months(),
            looked: Timestamp::default(),
        },
        connected: std::collections::BTreeSet::new(),
        following: Following { data: data.clone(), known, newest, under, resolving: None },
        asked,
        paces: super::pace::Paces::default(),
        metrics: metrics.clone(),
        traces: Traces::default(),
        clock: ClockRefusals::default(),
        stop: None,
        until_final: VecDeque::new(),
        restored,
        fragments_synced: Timestamp::default(),
        fragments_looked: Timestamp::default(),
        events: EventCare::new(now(), last_notice),
    };
    let events = runtime.events.events().clone();
    // all of it was read from the disk: who looks at once sees it
    let found = runtime.status_now();
    runtime.status.send_replace(found);
    let node = Node::new(commands, watched, brand, data.log(), (&desk, &facts_of_node), events)
        .with_audits(schedule.audits().clone());
    drop((desk, facts_of_node));
    runtime.imports().finish();
    let runtime = tokio::spawn(runtime.run());
    tokio::spawn(members::care(node.clone()));
    let audit = (settings.audit, schedule, metrics.clone());
    tokio::spawn(audits::care(node.clone(), data.clone(), audit));
    Ok(Running { node, network, metrics, runtime })
}

/// Opens the own log, with what only this brand keeps of it.
pub(super) fn open_log(
    data: &DataDirectory,
    cipher: &Arc<RecordCipher>,
) -> Result<PublishedLog, StartError> {
    let own_blocks = OwnBlocks::open(&data.own_blocks(), Arc::clone(cipher));
    let own_blocks =
        own_blocks.map_err(|source| StartError::OwnBlocks { path: data.own_blocks(), source })?;
    Ok(PublishedLog::open(&data.log(), own_blocks)?)
}

/// Words on stderr while a long journal is read.
struct Progress {
    records: u32,
    told: Instant,
}

impl Progress {
    /// How often it is told, and how many records pass before the clock is looked at.
    const EVERY: Duration = Duration::from_secs(2);
    const RECORDS: u32 = 64;

    fn new() -> Self {
        Self { records: 0, told: Instant::now() }
    }

    fn tell(&mut self, (read, total): (u64, u64)) {
        self.records = (self.records + 1) % Self::RECORDS;
        if self.records == 0 && self.told.elapsed() >= Self::EVERY {
            self.told = Instant::now();
            let percent = read.saturating_mul(100) / total.max(1);
            eprintln!(
                "reading the journal: {percent} % of {} MiB / 正在读取日志：{percent}%",
                total >> 20
            );
        }
    }
}

/// Whether the constitution has this brand, under this node's keys.
pub(crate) fn check_membership(
    constitution: &Constitution,
    brand: BrandId,
    own: &OwnKeys,
) -> Result<(), StartError> {
    let member = constitution.ledger().brand(brand).ok_or_else(|| {
        StartError::NotMember(format!(
            "{brand} is no brand of the constitution; copy the constitution that was collected for this alliance"
        ))
    })?;
    if own.are(&member.keys) {
        return Ok(());
    }
    Err(StartError::NotMember(format!(
        "the constitution has other keys for {brand} than this data directory; draft it again from this node's introduction"
    )))
}
