//! Rebuilding a lost node's log: from a copy of it, if there is one, then from what the others hold.
//!
//! Runs instead of the node, under the brand's own network key, and signs nothing of the agreement: it asks, takes
//! blocks, writes them to journal and tiles as a node does, and in the end puts on record that this node was
//! restored (rule 12). What was taken before it was interrupted is not asked for again. A node that is
//! started afterwards goes on with what has been certified meanwhile, and reads the others' logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alliance_config::Constitution;
use protocol::audit::{CertificateReader, CertificatesError, LogFolder as _};
use protocol::codec::DecodeError;
use protocol::crypto::sealed::{KeyRing, SealingSecret};
use protocol::ids::{BrandId, Epoch, Height, LeafIndex, TreeSize};
use protocol::ledger::{Ledger, PeerFault};
use protocol::log::block::Header;
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::entries::Entries;
use protocol::log::merkle::leaf_hash;
use protocol::log::tiles::TileReader;
use protocol::recovery::collector::WholeBlock;
use protocol::wire::{Frame, Negotiation};
use protocol::witness::message::Message;
use protocol::witness::record::Record;
use protocol::witness::statement::Certificate;
use ring::rand::SystemRandom;

use super::constitutions::{peers_among, resolve};
use super::core::{Core, Turn, TurnError};
use super::sealed_journal::{RecordCipher, Recorded, SealedRecordError};
use super::snapshot::forget_later_earned;
use super::start::{StartError, open_log};
use super::{TICK, check_membership, now};
use crate::audit::ArchivedLog;
use crate::config::{DataDirectory, Settings};
use crate::constitutions::{Known, KnownError};
use crate::exchange::cold::Cold;
use crate::exchange::record::NodeRecord;
use crate::journal::{Journal, JournalError};
use crate::keys::{self, KeysError, OwnKeys};
use crate::metrics::Metrics;
use crate::net::{Inbound, Inbox, Limits, Network, NetworkConfig, NetworkHandle};
use crate::programme::purchase;
use crate::purchases::Facts;
use crate::vault::Vault;

/// Movements of points in one record.
const EARNED_AT_ONCE: usize = 4096;

/// What a rebuild is given.
pub struct RebuildOptions {
    /// Recovery keys of this brand: that of every constitution its log was under.
    pub recovery: Vec<SealingSecret>,
    /// Copies of the published log, in part or whole.
    pub copies: Vec<PathBuf>,
    /// Where entries are that were archived.
    pub archive: Option<PathBuf>,
    /// After how long without a further block it gives up.
    pub patience: Duration,
}

/// How far a rebuild has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilding {
    /// The last block that is back.
    pub height: Height,
    /// The highest that is known to be certified.
    pub certified: Height,
    /// Brands that are connected.
    pub connected: Vec<BrandId>,
    /// Brands that hold nothing beyond.
    pub exhausted: Vec<BrandId>,
}

/// What a rebuild has brought back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RebuildReport {
    /// Whose log.
    pub brand: String,
    /// Its last block.
    pub height: u64,
    /// Its entries.
    pub entries: u64,
    /// Exchanges of members that the log has.
    pub exchanges: u64,
    /// How many of them belong to a member that the vault knows.
    pub exchanges_of_known_members: u64,
    /// What this brand owes each other by its own log, in micro-fen, before what comes from theirs.
    pub sent_micro_fen: BTreeMap<String, u64>,
    /// Up to which of their blocks the log has recognised the others.
    pub recognised: BTreeMap<String, u64>,
}

/// Why a log was not rebuilt. What was taken until then stays, and is not asked for again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The data directory, the keys, the constitution, the network.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The journal of a node that ran.
    #[error(
        "{} is the journal of a node that has run: start it with `coalition run`, and with --restored if it is an older copy; to rebuild all the same, move the folder away",
        .0.display()
    )]
    Journal(PathBuf),
    /// The log is back already.
    #[error("the log was rebuilt before; start the node with `coalition run`")]
    Rebuilt,
    /// A block cannot be written.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// A block cannot be taken.
    #[error("{0}")]
    Block(PeerFault),
    /// A constitution is not here.
    #[error(
        "the log goes on under the constitution of epoch {0}, which is not here: take its file with `coalition constitution take`, then go on"
    )]
    Constitution(Epoch),
    /// A copy of the log is damaged.
    #[error("{}: block {height}: {problem}; take it away or give another copy", .path.display())]
    Copy {
        /// Which copy.
        path: PathBuf,
        /// At which block.
        height: Height,
        /// What is wrong.
        problem: String,
    },
    /// Nothing came any more.
    #[error("{0}")]
    Stalled(String),
}

impl From<JournalError> for RebuildError {
    fn from(error: JournalError) -> Self {
        Self::Start(error.into())
    }
}

/// A log that is being rebuilt.
struct Rebuild {
    core: Core,
    cipher: Arc<RecordCipher>,
    journal: Journal,
    brand: BrandId,
}

/// Rebuilds the log of a data directory that has keys and constitutions and no journal; `tell` is called
/// with every step.
///
/// # Errors
/// See [`RebuildError`].
pub async fn rebuild(
    data: &DataDirectory,
    options: RebuildOptions,
    mut tell: impl FnMut(&Rebuilding),
) -> Result<RebuildReport, RebuildError> {
    let wrap = |error: StartError| RebuildError::Start(error);
    let (settings, brand) = data.settings().map_err(|error| wrap(error.into()))?;
    let own = OwnKeys::read(&data.keys()).map_err(|error| wrap(error.into()))?;
    let known = Known::read(data).map_err(|error| wrap(error.into()))?;
    let (mut rebuild, constitutions, facts) =
        open(data, brand, &settings, (&own, &known), options.recovery)?;
    let peers = peers_among(constitutions.iter().copied(), brand);
    let peers = resolve(&peers).await.map_err(wrap)?;
    let archive = options.archive.unwrap_or_else(|| data.archive());
    for copy in std::iter::once(data.log()).chain(options.copies) {
        rebuild.take_copy(&copy, &archive, &mut tell)?;
    }
    let (network, inbox) = Network::start(NetworkConfig {
        identity_seed: own.secrets.network(),
        listen: settings.listen,
        peers,
        limits: Limits::default(),
        counters: Metrics::default().counters().clone(),
    })
    .await
    .map_err(|error| wrap(error.into()))?;
    let done = rebuild.collect((&network, inbox), options.patience, &mut tell).await;
    network.shut_down().await;
    done?;
    rebuild.earn_again(&facts)?;
    rebuild.conclude()
}

/// A rebuild, the constitutions, newest first, and the facts.
type Opened<'a> = (Rebuild, Vec<&'a Constitution>, Facts);

/// Reads the data directory and what was taken before.
fn open<'a>(
    data: &DataDirectory,
    brand: BrandId,
    settings: &Settings,
    (own, known): (&OwnKeys, &'a Known),
    recovery: Vec<SealingSecret>,
) -> Result<Opened<'a>, RebuildError> {
    let mut recovery = recovery.into_iter();
    let ring = recovery.next().map(KeyRing::new).transpose();
    let mut ring = ring.map_err(|error| StartError::from(KeysError::from(error)))?;
    for secret in recovery {
        if let Some(ring) = &mut ring {
            ring.hold(secret).map_err(|error| StartError::from(KeysError::from(error)))?;
        }
    }
    let prepared = || -> Result<_, StartError> {
        let chain = known.chain(brand)?;
        // keys are those of one of the constitutions; which one the log is under, it says itself
        let mut constitutions: Vec<&Constitution> = known.iter().collect();
        constitutions.sort_by_key(|it| std::cmp::Reverse(it.ledger().epoch()));
        let with_us = |it: &&Constitution| it.ledger().brand(brand).is_some();
        let newest = constitutions.iter().copied().find(with_us);
        let newest = newest.ok_or(KnownError::NotMember(brand))?;
        let fits = |it: &Constitution| check_membership(it, brand, own);
        if !constitutions.iter().copied().filter(with_us).any(|it| fits(it).is_ok()) {
            fits(newest)?;
        }
        let store = settings.open_store(data)?;
        let vault_key = settings.vault.brand_key(&keys::vault_key_path(&data.keys()));
        let vault_key = vault_key.map_err(StartError::Settings)?;
        let random = Arc::new(SystemRandom::new());
        let vault = Vault::new(brand, Arc::clone(&store), vault_key, random);
        let facts = Facts::open(data.facts(), Arc::clone(&store), &vault)?;
        let ring = own.sealing.ring().map_err(KeysError::from)?;
        let mut ledger = Ledger::new(brand, chain, own.secrets.ledger(ring)?);
        own.signing.later()?.into_iter().for_each(|set| ledger.add_keys(set));
        known.later().for_each(|draft| ledger.hold(draft.ledger().clone()));
        let cipher = Arc::new(RecordCipher::new(own.secrets.journal())?);
        let published = open_log(data, &cipher)?;
        let cold = Cold::new(Arc::clone(&store), Arc::clone(&cipher) as _);
        let core = Core::new(ledger, Arc::new(vault), (Arc::clone(&store), cold), published)?;
        Ok((core, cipher, constitutions, facts, store))
    };
    let (mut core, cipher, constitutions, facts, store) = prepared()?;
    if let Some(ring) = ring {
        core.ledger.hold_recovery_key(ring);
    }
    let mut replay = Journal::open(data.journal())?;
    for record in replay.by_ref() {
        let record = cipher.open(record?).map_err(StartError::Record)?;
        match &record {
            Recorded::Ledger(record) if matches!(**record, Record::Rebuilt(_)) => {}
            Recorded::Ledger(record) if matches!(**record, Record::Restored(_)) => {
                return Err(RebuildError::Rebuilt);
            }
            Recorded::Node(
                NodeRecord::Owned(_) | NodeRecord::Earned(_) | NodeRecord::Programme(_),
            ) => {}
            _ => return Err(RebuildError::Journal(data.journal())),
        }
        core.replay(record).map_err(StartError::Replay)?;
    }
    // a store that was kept or put back knows of a journal that is gone
    forget_later_earned(&*store, replay.snapshot_number()).map_err(StartError::Store)?;
    // it goes on following what comes back, if it had begun
    core.points.watch(core.programme.rules().is_some());
    let journal = replay.into_journal()?;
    Ok((Rebuild { core, cipher, journal, brand }, constitutions, facts))
}

impl Rebuild {
    fn height(&self) -> Height {
        let own = self.core.ledger.witness(self.brand);
        own.map(|own| own.tip().height).unwrap_or_default()
    }

    /// Writes what a turn has brought: records, then tiles.
    fn write(&mut self, mut turn: Turn) -> Result<(), RebuildError> {
        let settled = self.core.settle_rebuilt(&mut turn);
        self.core.follow_points(now(), &mut turn);
        let records = turn.take_records();
        let sealed = records.iter().map(|record| self.cipher.seal(record));
        let sealed: Result<Vec<_>, SealedRecordError> = sealed.collect();
        self.journal.append_batch(&sealed.map_err(StartError::Record)?)?;
        settled?;
        match self.core.ledger.lacks_constitution() {
            Some(epoch) => Err(RebuildError::Constitution(epoch)),
            None => Ok(()),
        }
    }

    /// Takes from a copy of the published log what comes next. Every certificate is checked, and every leaf
    /// against the certified tree.
    fn take_copy(
        &mut self,
        path: &Path,
        archive: &Path,
        tell: &mut impl FnMut(&Rebuilding),
    ) -> Result<(), RebuildError> {
        let folder = ArchivedLog::new(path.to_path_buf(), Some(archive.to_path_buf()));
        let wrong = |height, problem: String| {
            let path = path.to_path_buf();
            RebuildError::Copy { path, height, problem }
        };
        let checkpoint = folder.checkpoint().and_then(|it| SignedCheckpoint::parse(&it).ok());
        let size = checkpoint.map(|it| it.unverified().size()).unwrap_or_default();
        for certificate in CertificateReader::new(&folder) {
            let next = self.height().next().unwrap_or_default();
            let certificate =
                certificate.map_err(|error: CertificatesError| wrong(next, error.to_string()))?;
            let reference = certificate.pledge.block;
            if reference.height < next {
                continue;
            }
            let Some(constitution) = self.core.ledger.constitution_of(self.brand) else { break };
            if reference.log != self.brand || reference.height != next {
                return Err(wrong(next, "it is not the block after the last one".to_owned()));
            }
            let certificate = certificate.verify(constitution);
            let certificate = certificate.map_err(|error| wrong(next, error.to_string()))?;
            // a copy may end here, or have its older part elsewhere
            let Some(whole) = read_block(&folder, size, certificate) else { break };
            let mut turn = Turn::default();
            match self.core.ledger.take_back(whole, now(), &mut turn.out) {
                Err(error @ PeerFault::Reopen(_)) => return Err(RebuildError::Block(error)),
                taken => taken.map_err(|error| wrong(next, error.to_string()))?,
            }
            self.write(turn)?;
            let (connected, exhausted) = (Vec::new(), Vec::new());
            tell(&Rebuilding { height: next, certified: next, connected, exhausted });
        }
        Ok(())
    }

    /// Asks the others until q-1 of them hold nothing more, and nothing that is known to be certified is
    /// missing.
    async fn collect(
        &mut self,
        (network, mut inbox): (&NetworkHandle, Inbox),
        patience: Duration,
        tell: &mut impl FnMut(&Rebuilding),
    ) -> Result<(), RebuildError> {
        let mut versions: BTreeMap<BrandId, Negotiation> = BTreeMap::new();
        let mut connected = BTreeSet::new();
        let mut ticks = tokio::time::interval(TICK);
        let (mut moved, mut fault) = (Instant::now(), None);
        loop {
            let mut turn = Turn::default();
            let before = self.height();
            tokio::select! {
                _ = ticks.tick() => {}
                inbound = inbox.recv() => match inbound {
                    Some(Inbound::Connected(brand)) => {
                        connected.insert(brand);
                        let hello = versions.entry(brand).or_default().hello();
                        // who is away is asked again when it is back
                        let _ = network.send(brand, hello);
                    }
                    Some(Inbound::Disconnected(brand)) => drop(connected.remove(&brand)),
                    Some(Inbound::Message { from, bytes }) => {
                        let read: Result<Frame, DecodeError> =
                            versions.entry(from).or_default().receive(&bytes);
                        if let Ok(Frame::Message(Message::Holdings(holdings))) = read {
                            match self.core.holdings((from, *holdings), now(), &mut turn) {
                                Ok(()) => {}
                                Err(error @ PeerFault::Reopen(_)) => {
                                    return Err(RebuildError::Block(error));
                                }
                                Err(error) => fault = Some(error.to_string()),
                            }
                        }
                    }
                    None => return Err(RebuildError::Stalled("the network has ended".to_owned())),
                },
            }
            match self.core.ledger.take_collected(self.brand, now(), &mut turn.out) {
                Ok(()) => {}
                Err(error @ PeerFault::Reopen(_)) => return Err(RebuildError::Block(error)),
                Err(error) => fault = Some(error.to_string()),
            }
            self.core.ledger.seek(self.brand, now(), &mut turn.out);
            let messages = std::mem::take(&mut turn.out.messages);
            self.write(turn)?;
            for (to, message) in messages {
                if let Some(bytes) = versions.entry(to).or_default().send(message) {
                    let _ = network.send(to, bytes);
                }
            }
            let sought = self.core.ledger.sought(self.brand).unwrap_or_default();
            let height = self.height();
            let certified = self.core.ledger.known_height(self.brand);
            if height > before {
                (moved, fault) = (Instant::now(), None);
                tell(&Rebuilding {
                    height,
                    certified,
                    connected: connected.iter().copied().collect(),
                    exhausted: sought.exhausted.clone(),
                });
            }
            let needed = self.core.ledger.constitution().committee().quorum().saturating_sub(1);
            if height >= certified && sought.exhausted.len() >= needed {
                return Ok(());
            }
            if let Some(epoch) = sought.lacks.filter(|_| moved.elapsed() > TICK * 10) {
                return Err(RebuildError::Constitution(epoch));
            }
            if moved.elapsed() >= patience {
                return Err(RebuildError::Stalled(self.stalled(&connected, fault)));
            }
        }
    }

    /// What is missing, and what can be done about it.
    fn stalled(&self, connected: &BTreeSet<BrandId>, fault: Option<String>) -> String {
        let sought = self.core.ledger.sought(self.brand).unwrap_or_default();
        let committee = self.core.ledger.constitution().committee();
        let next = self.height().next().unwrap_or_default();
        let list = |brands: &[BrandId]| {
            let names: Vec<&str> = brands.iter().map(BrandId::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let away: Vec<BrandId> =
            committee.witnesses(self.brand).filter(|brand| !connected.contains(brand)).collect();
        let mut words = format!(
            "block {next} of {} did not come: {} of {} fragments are here (from {}); holding nothing more: {}; not connected: {}.",
            self.brand,
            sought.holding.len(),
            committee.fragments_needed(),
            list(&sought.holding),
            list(&sought.exhausted),
            list(&away),
        );
        if let Some(fault) = fault {
            words.push_str(&format!(" What came last did not stand: {fault}."));
        }
        words.push_str(&match sought.lowest {
            Some(lowest) if lowest > next => format!(
                " The others hold blocks from {lowest} on only; give a copy of the log up to there with --log (a backup, its archive, a mirror of what the node published)."
            ),
            _ if sought.spoiled => " Its fragments decode to another body; give a copy of the log with --log.".to_owned(),
            _ => " Ask the operators of the brands that are not connected to start their nodes, then run the command again; what is here stays.".to_owned(),
        });
        words
    }

    /// What the purchases earned that a restored store has counted: no log has it, and no import counts
    /// them again.
    fn earn_again(&mut self, facts: &Facts) -> Result<(), RebuildError> {
        let mut turn = Turn::default();
        self.core.begin_programme(now(), &mut turn);
        self.write(turn)?;
        let rules = self.core.rules();
        let baskets = facts.counted_baskets().map_err(StartError::Facts)?;
        for baskets in baskets.chunks(EARNED_AT_ONCE) {
            let purchases = baskets.iter().filter_map(|basket| purchase(&rules, basket)).collect();
            let mut turn = Turn::default();
            self.core.purchases(purchases, now(), &mut turn);
            self.write(turn)?;
        }
        Ok(())
    }

    /// Puts on record that the node was restored, and signs the checkpoint of what is certified.
    fn conclude(mut self) -> Result<RebuildReport, RebuildError> {
        let mut turn = Turn::default();
        self.core.declare_restored(&mut turn);
        self.write(turn)?;
        self.core.ledger.sign_own_checkpoint();
        self.core.publish_checkpoint().map_err(TurnError::from)?;
        self.core.published.wait().map_err(TurnError::from)?;
        let ledger = &self.core.ledger;
        let own = ledger.witness(self.brand);
        let tip = own.map(|own| own.tip());
        let others = || ledger.constitution().committee().witnesses(self.brand);
        let sent = |other: BrandId| {
            let content = ledger.writer().contents().get(&other);
            (other.to_string(), content.map_or(0, |content| content.sent.get()))
        };
        let recognised = |other: BrandId| {
            let height = tip.map(|tip| tip.recognised(other).height.get());
            (other.to_string(), height.unwrap_or_default())
        };
        let booked = || self.core.book.exchanges();
        let of_known = booked().filter(|booked| booked.requested.member.is_some());
        Ok(RebuildReport {
            brand: self.brand.to_string(),
            height: tip.map(|tip| tip.height.get()).unwrap_or_default(),
            entries: tip.map(|tip| tip.frontier.size().get()).unwrap_or_default(),
            exchanges: booked().count() as u64,
            exchanges_of_known_members: of_known.count() as u64,
            sent_micro_fen: others().map(sent).collect(),
            recognised: others().map(recognised).collect(),
        })
    }
}

/// A block of a copied log of this size; none when its entries are not there.
fn read_block(
    folder: &ArchivedLog,
    size: TreeSize,
    certificate: Certificate,
) -> Option<WholeBlock> {
    let reference = certificate.block();
    let reader = TileReader::new(folder, size.max(reference.size));
    let last = LeafIndex::new(reference.size.get().checked_sub(1)?);
    let leaf = reader.leaf(last).ok()?.into_entry();
    // what the certificate names; whether the body is the header's is seen when it is taken
    let is_its = leaf_hash(&leaf).of_header() == reference.header;
    let header = Header::from_bytes(&leaf).ok().filter(|_| is_its)?;
    let mut body = Entries::new();
    for leaf in reader.leaves(header.first, header.body_size()).ok()? {
        body.push(leaf.entry()).ok()?;
    }
    Some(WholeBlock { reference, certificate: Some(certificate), leaf, header, body })
}
