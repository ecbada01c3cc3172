//! One node's state and the order in which things happen to it: handle, then persist, then send.
//!
//! Synchronous: the loop in [`super`] hands in commands, messages and ticks, and does with the
//! [`Turn`] what it says, in its order. Decides nothing about validity (that is `protocol`'s) and
//! nothing about members (the vault's); ties them.

pub(super) mod campaigns;
pub(super) mod desk;
mod disputes;
mod operations;
mod partners;
mod payments;
pub mod programme;
mod programme_export;
mod programme_service;
mod programme_staff;
mod returns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ::programme::Programme;
use alliance_config::CutOffs;
use protocol::amount::{Rate, Value};
use protocol::epochs::LogHead;
use protocol::epochs::adoption::Stance;
use protocol::exchange::{Payload, Return, ReturnReason};
use protocol::ids::{BrandId, ConstitutionHash, HeaderHash, Height, LeafIndex};
use protocol::ledger::{Archive, Context, Ledger, PeerFault, StanceError};
use protocol::log::block::{BlockReference, Header, PublicEntry};
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::dispute::DisputeOpened;
use protocol::log::merkle::leaf_hash;
use protocol::log::note::VerifierKey;
use protocol::log::tlog_witness::ForeignLogs;
use protocol::recovery::held::{HeldBlock, Holdings};
use protocol::shared_map::SharedMap;
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::build::OwnBlock;
use protocol::witness::message::Message;
use protocol::witness::record::Record;
use protocol::witness::rules::{exact_exposure, public_exposure};
use protocol::witness::state::{FinalBlock, Outbox};
use protocol::witness::statement::UnverifiedCertificate;
use protocol::witness::writer::{Entropy, SubmitError};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

pub use operations::{cold_error, exchange_id, internal, vault_error};

pub(super) use self::operations::submit_error;

use super::applications::Applications;
use super::clearing::{Clearing, PaymentStep};
use super::disputes::Disputes;
use super::published::{PublishError, PublishedLog};
use super::sealed_journal::Recorded;
use crate::cleanroom::{CertifiedApplication, ReadJob};
use crate::exchange::book::{Book, BookError, FormerExchange, LinkAnswer, Terms};
use crate::exchange::cold::Cold;
use crate::exchange::points::PointsLedger;
use crate::exchange::record::{Applied, Credit, NodeRecord, Owned, Submission};
use crate::fragments::{FragmentArchive, FragmentsError};
use crate::service::{ErrorKind, ExposureView, ResidueView, ServiceError};
use crate::store::{Store, StoreError};
use crate::vault::{LinkCode, LinkError, MemberId, Vault, VaultError};

/// Headers kept of every log, for closings.
const HEADERS_KEPT: usize = 4096;
/// After how long a counterparty's silence is a finding.
const ANSWER_WITHIN: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);
/// Most alerts kept for the status page.
const ALERTS_MAX: usize = 32;

/// The system's generator.
pub struct SystemEntropy(pub SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // without randomness nothing may be sealed: an operating system that cannot give any is no
        // place for keys
        assert!(self.0.fill(bytes).is_ok(), "the system's random generator failed");
    }
}

/// What one turn of the loop has to do, in this order: records to the disk, own blocks to the log,
/// messages to the network, answers to those who asked.
#[derive(Default)]
pub struct Turn {
    /// The ledger's part. Its records are the latest of this turn: see [`Turn::record`].
    pub out: Outbox,
    /// The ledger's and the node's records so far, in the order in which they came to be. Replay
    /// depends on it: what was submitted stands before the block that took it.
    pub records: Vec<Recorded>,
    /// Answers, given when all is durable.
    pub answers: Vec<Box<dyn FnOnce() + Send>>,
    /// Certified entries of applications, for the clean room.
    pub applications: Vec<CertifiedApplication>,
    /// How long own blocks that are final now took from their building.
    pub final_after: Vec<Milliseconds>,
    /// What the clean room reads once the records are durable.
    pub reads: Vec<ReadJob>,
    /// What members gained, by purchases or otherwise, for who watches for the unusual.
    pub gained: Vec<(MemberId, u64)>,
}

impl Turn {
    /// Adds a record of the node's own, after all that the ledger has recorded so far.
    pub fn record(&mut self, record: NodeRecord) {
        self.gather();
        self.records.push(Recorded::Node(record));
    }

    /// All records of the turn, in order.
    pub fn take_records(&mut self) -> Vec<Recorded> {
        self.gather();
        std::mem::take(&mut self.records)
    }

    fn gather(&mut self) {
        let ledger = self.out.records.drain(..);
        self.records.extend(ledger.map(|record| Recorded::Ledger(Box::new(record))));
    }
}

/// Which turn builds the next own block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Building {
    /// Any, at its end.
    Any,
    /// None before it is said that the last one is final.
    Later,
    /// The next.
    Due,
}

/// A header with its id.
pub type KnownHeader = (HeaderHash, Header);

/// Why a payload credits nobody.
enum NotCredited {
    /// It goes back.
    Back(ReturnReason),
    /// Nobody can say.
    Failed(VaultError),
}

/// One node's state.
pub struct Core {
    /// The ledger.
    pub ledger: Ledger,
    /// Exchanges.
    pub book: Book,
    /// Balances.
    pub points: PointsLedger,
    /// The points programme; it has rules from the first turn on.
    pub programme: Programme,
    // by what coupons of one moment are told apart in a list without their codes
    coupon_marks: hmac::Key,
    /// The rules it begins with, until the brand takes its own.
    pub first_rules: ::programme::Rules,
    // whether anything earned before there was a programme: then its key is looked for
    has_earned_before: bool,
    // the member last looked at for whether the consent to take part is in force
    looked_at: Option<::programme::Account>,
    // pieces of its snapshot, until the last has come
    programme_pieces: Vec<u8>,
    // up to which notice it was told that some are lost, and how many these are
    notices_lost: (u64, u64),
    /// Members.
    pub vault: Arc<Vault>,
    /// What may be looked up: keys of what has earned.
    pub store: Arc<dyn Store>,
    /// The own log on disk.
    pub published: PublishedLog,
    /// What is held of the others' logs; nothing is kept without.
    pub fragments: Option<FragmentArchive>,
    /// Closings and statements.
    pub clearing: Clearing,
    /// When this brand closes by itself: the calendar of the constitution that its log is under.
    pub calendar: Option<CutOffs>,
    // the time of the own log's first block, once it is known
    begun: Option<Timestamp>,
    /// What was found wanting in certified blocks, here and elsewhere.
    pub disputes: Disputes,
    /// Foreign logs that this node witnesses.
    pub foreign: ForeignLogs,
    /// Keys of the witnesses outside the alliance that this node asks.
    pub outside: Vec<VerifierKey>,
    /// What the clean room has recorded, in order, and certified entries of applications: it goes on
    /// from both.
    pub joint: Vec<Vec<u8>>,
    /// See there.
    pub applications: Applications,
    /// The latest headers of every log.
    pub headers: BTreeMap<BrandId, SharedMap<Height, KnownHeader>>,
    /// What needs an operator's eye.
    pub alerts: VecDeque<String>,
    /// What this brand is to say of drafts of the next constitution.
    pub to_state: Vec<(ConstitutionHash, Stance)>,
    entropy: Box<dyn Entropy + Send>,
    // the checkpoint as it was last given to the publisher, and as a turn has last seen it
    checkpoint: Option<SignedCheckpoint>,
    seen_checkpoint: Option<SignedCheckpoint>,
    // ended logs with which something does not add up here
    not_closed_out: BTreeSet<BrandId>,
    // what the own log has of the desk's
    pub(in crate::runtime) kept: desk::Kept,
    // final blocks that the journal has and no Applied record followed
    unapplied: BTreeMap<(BrandId, Height), FinalBlock>,
    /// Whether it is said that an own block is final before the next one is built: see [`Core::final_is_said`].
    pub builds_apart: bool,
    building: Building,
    // exchanges of members that have become final since the start: they do in the order they came
    stood: u64,
    // what went wrong in this turn so that nothing of it may be recorded or said
    failure: Option<TurnError>,
}

const fn is_exchange(payload: &Payload) -> bool {
    matches!(payload, Payload::Exchange(_))
}

/// Why a turn must not be concluded: the node stops, and after a restart the turn never was.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// A certified block cannot be published: a checkpoint would name entries that are not there.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Points are not where they should be: what was about to be recorded could not be replayed.
    #[error(transparent)]
    Book(#[from] BookError),
    /// An own block is final and its certificate is not at hand: it could not be published.
    #[error("own block {0} is final, and its certificate is not there")]
    Uncertified(Height),
    /// The store failed: nobody can say whether a purchase has earned before.
    #[error("the store cannot say what has earned")]
    Store(#[from] StoreError),
    /// The vault's store failed: what others sent would go back for a reason that is none, and offers would
    /// be made, or not made, to members without knowing what they agreed to.
    #[error("the vault cannot say whom something is about, or what that member has agreed to")]
    Vault(#[from] VaultError),
    /// What this node has promised to keep of others' logs cannot be kept.
    #[error(transparent)]
    Fragments(#[from] FragmentsError),
    /// The programme and the balances are not at one.
    #[error(transparent)]
    Programme(#[from] programme::ProgrammeError),
}

/// Own final blocks, and what is held of others'.
struct Past<'a> {
    published: &'a PublishedLog,
    fragments: Option<&'a FragmentArchive>,
}

impl Archive for Past<'_> {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        self.published.block(height)
    }
    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        self.fragments?.held(log, from)
    }
}

/// What handlers are given, made of fields that none of them holds.
macro_rules! context {
    ($core:expr, $now:expr) => {
        Context {
            now: $now,
            entropy: &mut *$core.entropy,
            archive: &Past { published: &$core.published, fragments: $core.fragments.as_ref() },
        }
    };
}

/// Certified headers: the latest are in memory, those before them on the disk.
struct Headers<'a> {
    latest: &'a BTreeMap<BrandId, SharedMap<Height, KnownHeader>>,
    published: &'a PublishedLog,
    fragments: Option<&'a FragmentArchive>,
    me: BrandId,
}

impl Headers<'_> {
    fn at(&self, log: BrandId, height: Height) -> Option<KnownHeader> {
        if let Some(known) = self.latest.get(&log).and_then(|known| known.get(&height)) {
            return Some(known.clone());
        }
        if log == self.me {
            return self.published.header(height).map(|header| (header.to_leaf().1, header));
        }
        let held = self.fragments?.held(log, height)?;
        let header = Header::from_bytes(&held.header).ok()?;
        let is_it = (header.log, header.height) == (log, height);
        is_it.then(|| (leaf_hash(&held.header).of_header(), header))
    }
}

impl Core {
    /// The state before the journal is replayed.
    ///
    /// # Errors
    /// When the brand's key cannot be used.
    pub fn new(
        ledger: Ledger,
        vault: Arc<Vault>,
        (store, cold): (Arc<dyn Store>, Cold),
        published: PublishedLog,
    ) -> Result<Self, VaultError> {
        let me = ledger.me();
        Ok(Self {
            ledger,
            book: Book::with(cold),
            points: PointsLedger::default(),
            programme: programme::programme_of(&vault)?,
            coupon_marks: programme::coupon_marks(&vault)?,
            first_rules: programme::first_rules(),
            has_earned_before: false,
            looked_at: None,
            programme_pieces: Vec::new(),
            notices_lost: (1, 0),
            vault,
            store,
            published,
            fragments: None,
            clearing: Clearing::new(me),
            calendar: None,
            begun: None,
            disputes: Disputes::default(),
            foreign: ForeignLogs::default(),
            outside: Vec::new(),
            joint: Vec::new(),
            applications: Applications::default(),
            headers: BTreeMap::new(),
            alerts: VecDeque::new(),
            to_state: Vec::new(),
            entropy: Box::new(SystemEntropy(SystemRandom::new())),
            checkpoint: None,
            seen_checkpoint: None,
            not_closed_out: BTreeSet::new(),
            kept: desk::Kept::default(),
            unapplied: BTreeMap::new(),
            builds_apart: false,
            building: Building::Any,
            stood: 0,
            failure: None,
        })
    }

    /// This brand.
    #[must_use]
    pub const fn me(&self) -> BrandId {
        self.ledger.me()
    }

    /// How many exchanges of members have become final since the start.
    #[must_use]
    pub const fn stood(&self) -> u64 {
        self.stood
    }
    /// What [`Self::stood`] will have come to when all that are taken by now are final: an exchange
    /// never overtakes another.
    #[must_use]
    pub const fn will_have_stood(&self) -> u64 {
        self.stood.saturating_add(self.book.counts().held)
    }

    /// It has been said that an own block is final. Where blocks are built apart, the next one is only now:
    /// sealing it takes a while, and who waits for the last one, or credits it, need not wait for that, nor until
    /// the next one is on the disk.
    pub fn final_is_said(&mut self) {
        if self.building == Building::Later {
            self.building = Building::Due;
        }
    }

    /// Whether a block is to be built that was put off. The next turn builds it, whatever it is about.
    #[must_use]
    pub fn has_to_build(&self) -> bool {
        self.building == Building::Due
    }

    /// Why this turn must not be concluded, if so.
    pub const fn take_failure(&mut self) -> Option<TurnError> {
        self.failure.take()
    }

    /// Notes something an operator should see.
    pub fn alert(&mut self, words: String) {
        if self.alerts.len() >= ALERTS_MAX {
            self.alerts.pop_front();
        }
        if !self.alerts.contains(&words) {
            self.alerts.push_back(words);
        }
    }

    // --- replay

    /// Takes one record of the journal, or of a snapshot.
    ///
    /// # Errors
    /// When the journal does not hang together.
    pub fn replay(&mut self, record: Recorded) -> Result<(), String> {
        match record {
            Recorded::Ledger(record) => {
                let mut out = Outbox::default();
                self.ledger.replay(&record, &mut out).map_err(|error| error.to_string())?;
                self.note_block(&record);
                let mut turn = Turn { out, ..Turn::default() };
                self.write_own(&mut turn).map_err(|error| error.to_string())?;
                self.keep_held(&mut turn).map_err(|error| error.to_string())?;
                for block in std::mem::take(&mut turn.out.finals) {
                    self.note_final(&block);
                    if block.block.log != self.me() {
                        self.unapplied.insert((block.block.log, block.block.height), block);
                    }
                }
                Ok(())
            }
            Recorded::State(part) => self.take_up(*part),
            Recorded::Node(NodeRecord::CleanRoom(bytes)) => {
                self.joint.push(bytes);
                Ok(())
            }
            Recorded::Node(NodeRecord::Programme(bytes)) => self.replay_programme(&bytes),
            Recorded::Node(NodeRecord::Applied(applied)) => {
                let Some(block) = self.unapplied.remove(&(applied.log, applied.height)) else {
                    return Err(format!("no block {} of {} to apply", applied.height, applied.log));
                };
                // what was wrong with it was told when it came; what it answers is in the vault
                let terms = self.terms(&block.block, block.header.time);
                match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
                    Err(error @ BookError::Cold(_)) => Err(error.to_string()),
                    _ => Ok(()),
                }
            }
            Recorded::Node(record) => {
                self.cosigned(&record);
                match &record {
                    NodeRecord::CloseRequested(cut_off) => drop(self.clearing.request(*cut_off)),
                    NodeRecord::Submitted(Submission::Public(entry)) => {
                        self.clearing.submitted(entry);
                        self.kept.submitted(entry);
                    }
                    _ => {}
                }
                self.book.enter(&record, &mut self.points).map_err(|error| error.to_string())?;
                Ok(())
            }
        }
    }

    /// After the last record: applies what was final and not applied, submits again what is in no
    /// block, and goes on where the node stopped.
    pub fn resume(&mut self, now: Timestamp, turn: &mut Turn) {
        let own = self.ledger.witness(self.me()).map(|own| own.tip().height);
        if let Err(error) = self.published.forget_above(own.unwrap_or_default()) {
            self.failure = Some(error.into());
            return;
        }
        self.begin_programme(now, turn);
        for submission in self.book.waiting().cloned().collect::<Vec<_>>() {
            let taken = match submission.clone() {
                Submission::Public(entry) => self.ledger.submit_public(entry),
                // its points are held: no limit may refuse it now
                Submission::Sealed(to, payload) => self.ledger.submit_again(to, payload),
            };
            match taken {
                Ok(()) => {}
                Err(SubmitError::NoCounterparty(_)) => self.withdraw(submission, now, turn),
                Err(error) => {
                    self.alert(format!("a submission of before the restart is not taken: {error}"));
                }
            }
        }
        self.apply_what_waited(now, turn);
        let brands: Vec<BrandId> = self.ledger.constitution().committee().brands().to_vec();
        let waits = |log: &BrandId| self.unapplied.keys().any(|(waits, _)| waits == log);
        let brands: Vec<BrandId> = brands.into_iter().filter(|log| !waits(log)).collect();
        for log in brands {
            let own = self.ledger.witness(self.me());
            let recognised = own.map(|own| own.tip().recognised(log).height).unwrap_or_default();
            let answer = self.book.answerable(log) > recognised;
            if let Err(error) = self.ledger.applied(log, Vec::new(), answer) {
                self.alert(error.to_string());
            }
        }
        let mut context = context!(self, now);
        self.ledger.resume(&mut context, &mut turn.out);
        if let Some(published) = self.published.checkpoint() {
            self.ledger.keep_cosignatures(&published, &self.outside);
        }
        for error in self.state_constitutions(turn) {
            self.alert(error.to_string());
        }
        self.settle(now, turn);
    }

    /// Says in the own log what this brand has decided on drafts, what it has not said there yet; gives
    /// what could not be said.
    pub fn state_constitutions(&mut self, turn: &mut Turn) -> Vec<StanceError> {
        let mut errors = Vec::new();
        for (draft, stance) in std::mem::take(&mut self.to_state) {
            match self.ledger.state(draft, stance) {
                Ok(entries) => {
                    for entry in entries {
                        self.enter(NodeRecord::Submitted(Submission::Public(entry)), turn);
                    }
                }
                // said before this start; or the log is under it by now, or under another
                Err(StanceError::Stated(_)) => {}
                Err(StanceError::NotNext { found, next }) if found < next => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// The operator says that the journal was put back to an older state; before [`Core::resume`].
    pub fn declare_restored(&mut self, turn: &mut Turn) {
        self.ledger.declare_restored(&mut turn.out);
    }

    // --- turns

    /// Handles one message.
    pub fn message(&mut self, from: BrandId, message: Message, now: Timestamp, turn: &mut Turn) {
        let before = turn.out.records.len();
        let mut context = context!(self, now);
        let handled = self.ledger.handle(from, message, &mut context, &mut turn.out);
        self.note_built(before, turn);
        if let Err(fault) = handled {
            self.alert(fault.to_string());
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Timestamp, turn: &mut Turn) {
        let before = turn.out.records.len();
        let mut context = context!(self, now);
        self.ledger.tick(&mut context, &mut turn.out);
        self.note_built(before, turn);
        self.close_due(now, turn);
    }

    /// Whether this node knows all that its own log has certified of it, in a former life too.
    pub fn knows_own_log(&self) -> bool {
        self.ledger.knows_own_log()
    }

    /// Whether this node was restored, and its own log is not back as far as it may have written it.
    pub fn lacks_own_log(&self) -> bool {
        self.ledger.lacks_own_log()
    }

    /// Deals with all that has become final and builds the next block, until nothing moves; or puts building off
    /// ([`Self::final_is_said`]).
    ///
    /// Called at the end of a turn, so that what came together goes into one block.
    pub fn settle(&mut self, now: Timestamp, turn: &mut Turn) {
        for record in turn.out.records.iter().filter(|it| matches!(it, Record::Headed(_))) {
            self.note_block(record);
        }
        loop {
            let heights: Vec<Height> =
                turn.out.written.iter().map(|block| block.reference().height).collect();
            let written = match self.keep_held(turn).and_then(|()| self.write_own(turn)) {
                Ok(former) => former,
                Err(error) => {
                    self.failure = Some(error);
                    return;
                }
            };
            self.enter_owners(&written, turn);
            self.apply_what_waited(now, turn);
            let own = turn.out.finals.iter().filter(|block| block.block.log == self.ledger.me());
            turn.final_after.extend(own.map(|block| now.since(block.header.time)));
            for height in heights {
                self.enter(NodeRecord::FinalAt(height, now), turn);
            }
            let finals = std::mem::take(&mut turn.out.finals);
            for block in finals {
                turn.applications.extend(self.note_final(&block));
                if block.block.log != self.me() {
                    self.apply(block, now, turn);
                }
            }
            self.derive_statements(turn);
            self.enter_disputes(turn);
            self.end_partners(now, turn);
            if self.builds_apart && !turn.final_after.is_empty() {
                self.building = Building::Later;
            }
            if self.building != Building::Later {
                self.building = Building::Any;
                let before = turn.out.records.len();
                let mut context = context!(self, now);
                self.ledger.poll(&mut context, &mut turn.out);
                self.note_built(before, turn);
            }
            for (to, payload) in std::mem::take(&mut turn.out.rejected) {
                self.withdraw(Submission::Sealed(to, payload), now, turn);
            }
            for entry in std::mem::take(&mut turn.out.outdated) {
                if let PublicEntry::ClosedOut(it) = &entry {
                    // tried again when the node starts again
                    self.not_closed_out.insert(it.log);
                    let log = it.log;
                    self.alert(format!(
                        "what this brand closes out of its dealings with {log} cannot stand: audit the logs / \
                         本品牌对 {log} 的了结条目不成立：请审计账本"
                    ));
                }
                if let PublicEntry::Settled(it) | PublicEntry::SettlementConfirmed(it) = &entry {
                    let (payer, payee, at) = (it.payer, it.payee, it.cut_off.unix_ms());
                    self.alert(format!(
                        "cut-off {at}: what was said of the payment of {payer} to {payee} is in no block, for one of them \
                         has left: a constitution has to write it off / 清算截止 {at}：{payer} 向 {payee} 付款的登记未进入区块，\
                         因一方已退出，须由章程核销"
                    ));
                }
                self.withdraw(Submission::Public(entry), now, turn);
            }
            if turn.out.finals.is_empty() && turn.out.written.is_empty() {
                break;
            }
        }
        self.follow_points(now, turn);
        if let Some(violation) = self.ledger.writer().stalled() {
            let words = format!("the own log cannot be written: {violation}");
            self.alert(words);
        }
    }

    /// What the ledger's records of this turn, from one on, have taken into a block.
    fn note_built(&mut self, from: usize, turn: &Turn) {
        for record in turn.out.records.get(from..).unwrap_or_default() {
            self.note_block(record);
        }
    }

    fn note_block(&mut self, record: &Record) {
        match record {
            Record::Built(block) => self.book.built(block),
            Record::Rebuilt(rebuilt) => self.book.rebuilt(&rebuilt.block),
            Record::Headed(head) => self.note_head(head),
            _ => {}
        }
    }

    /// The block with which a log begins for this brand, which joined with it: what closes it is checked by it.
    fn note_head(&mut self, head: &LogHead) {
        if let Ok(header) = Header::from_bytes(&head.entry.header) {
            let id = leaf_hash(&head.entry.header).of_header();
            self.clearing.begins(&header);
            self.headers.entry(header.log).or_default().insert(header.height, (id, header));
        }
    }

    /// What has become final of others' logs, as far as this node is to keep it.
    fn keep_held(&mut self, turn: &mut Turn) -> Result<(), TurnError> {
        let held = std::mem::take(&mut turn.out.held);
        if let Some(fragments) = &mut self.fragments {
            held.iter().try_for_each(|block| fragments.append(block))?;
        }
        Ok(())
    }

    /// The own log's checkpoint, if it has changed since this was last asked: to be shown when the size it
    /// signs is in the journal.
    pub fn new_checkpoint(&mut self) -> Option<SignedCheckpoint> {
        let checkpoint = self.ledger.checkpoint()?;
        if self.seen_checkpoint.as_ref() == Some(checkpoint) {
            return None;
        }
        self.seen_checkpoint = Some(checkpoint.clone());
        Some(checkpoint.clone())
    }

    /// Shows a checkpoint of the own log. The size it signs is in the journal.
    ///
    /// # Errors
    /// When what was published before could not be: its disk is of no more use.
    pub fn show_checkpoint(&mut self, checkpoint: SignedCheckpoint) -> Result<(), PublishError> {
        self.published.show(&checkpoint)?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// The checkpoint that was last shown.
    #[must_use]
    pub const fn shown_checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// Shows the own log's checkpoint if it has changed. All records so far are in the journal.
    ///
    /// # Errors
    /// As [`Self::show_checkpoint`].
    pub fn publish_checkpoint(&mut self) -> Result<(), PublishError> {
        self.new_checkpoint().map_or(Ok(()), |checkpoint| self.show_checkpoint(checkpoint))
    }

    /// Own final blocks go to the log's tiles and into the book. Gives the exchanges of a former life.
    fn write_own(&mut self, turn: &mut Turn) -> Result<Vec<FormerExchange>, TurnError> {
        let mut all_former = Vec::new();
        for block in std::mem::take(&mut turn.out.written) {
            let certified = turn
                .out
                .finals
                .iter()
                .find(|known| known.block == block.reference())
                .map(|known| (known.certificate.clone(), known.header.time));
            let reference = block.reference();
            let uncertified = || TurnError::Uncertified(reference.height);
            let (certificate, time) = certified.ok_or_else(uncertified)?;
            self.published.append(&block, &certificate)?;
            let exchanges =
                block.payloads().iter().filter(|sent| is_exchange(&sent.payload)).count();
            self.stood += u64::try_from(exchanges).unwrap_or(0);
            let until = self.terms(&reference, time).until;
            let (former, entered) = self.book.written(&block, (time, until), &mut self.points);
            match entered {
                Ok(()) => {}
                // a replay does not ask again
                Err(error @ BookError::Cold(_)) => return Err(error.into()),
                Err(error) => self.alert(error.to_string()),
            }
            all_former.extend(former);
        }
        Ok(all_former)
    }

    /// Whose exchanges of a former life were, as far as the vault knows.
    fn enter_owners(&mut self, former: &[FormerExchange], turn: &mut Turn) {
        let mut owned = Vec::new();
        for exchange in former {
            match self.vault.outgoing_member(exchange.to, exchange.handle) {
                Ok(Some(member)) => owned.push(Owned { leaf: exchange.leaf, member }),
                Ok(None) => {}
                Err(error) => self.failure = Some(error.into()),
            }
        }
        if !owned.is_empty() {
            self.enter(NodeRecord::Owned(owned), turn);
        }
    }

    /// Handles what another brand holds of this brand's log.
    ///
    /// # Errors
    /// What of it does not stand.
    pub fn holdings(
        &mut self,
        (from, holdings): (BrandId, Holdings),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), PeerFault> {
        let message = Message::Holdings(Box::new(holdings));
        let mut context = context!(self, now);
        self.ledger.handle(from, message, &mut context, &mut turn.out)
    }

    /// Blocks of this brand that came back: to the log's tiles and into the book, and nothing else is done.
    ///
    /// # Errors
    /// When they cannot be published, or the vault fails.
    pub fn settle_rebuilt(&mut self, turn: &mut Turn) -> Result<(), TurnError> {
        let former = self.write_own(turn)?;
        self.enter_owners(&former, turn);
        for block in std::mem::take(&mut turn.out.finals) {
            turn.applications.extend(self.note_final(&block));
        }
        for record in &turn.out.records {
            self.note_block(record);
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Final blocks of others that came before it was known what this node itself had made of them.
    fn apply_what_waited(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.unapplied.is_empty() && self.ledger.may_apply() {
            for (_, block) in std::mem::take(&mut self.unapplied) {
                self.apply(block, now, turn);
            }
        }
    }

    /// Takes note of a foreign log's checkpoint that is cosigned, now or before a restart.
    pub fn cosigned(&mut self, record: &NodeRecord) {
        if let NodeRecord::Cosigned(cosigned) = record
            && let Err(error) = self.foreign.enter(cosigned)
        {
            self.alert(error.to_string());
        }
    }

    /// Takes note of what a final block says in public; gives the entries of applications.
    fn note_final(&mut self, block: &FinalBlock) -> Vec<CertifiedApplication> {
        let log = block.block.log;
        self.clearing.header(&block.header);
        if let Some(violation) = &block.unsound {
            let words = format!(
                "log {log}, block {} is certified and breaks rule {}: more brands than may have failed or lied; audit the logs ({violation}) / {log} 的区块 {} 已认证但违反规则 {}：出错或作恶的品牌可能超过可容忍数，请审计账本",
                block.block.height,
                violation.number(),
                block.block.height,
                violation.number()
            );
            self.alert(words);
        }
        let known = self.headers.entry(log).or_default();
        known.insert(block.block.height, (block.block.header, block.header.clone()));
        while known.len() > HEADERS_KEPT {
            known.pop_first();
        }
        let mut closings = block.public.iter().filter_map(|(_, public)| match public {
            PublicEntry::Closing(closing) => Some(closing),
            _ => None,
        });
        // one a block counts: looking its block up may take a read of the disk
        if let Some(closing) = closings.next() {
            let past = Headers {
                latest: &self.headers,
                published: &self.published,
                fragments: self.fragments.as_ref(),
                me: self.ledger.me(),
            };
            let known = self.ledger.constitutions();
            let at = |height| past.at(log, height);
            if let Err(error) = self.clearing.closing(log, closing, known, at) {
                let at = closing.cut_off.unix_ms();
                self.alert(format!(
                    "cut-off {at}: the closing of {log} does not stand ({error}) / {log} 在 {at} 的清算登记不成立"
                ));
            }
        }
        let mut ended = BTreeSet::new();
        for (index, public) in &block.public {
            if log == self.ledger.me() {
                self.kept.written(*index, public);
            }
            match public {
                PublicEntry::Statement(statement) => self.clearing.statement(log, statement),
                PublicEntry::Settled(payment) => {
                    self.clearing.payment(log, PaymentStep::Settled, payment);
                }
                PublicEntry::SettlementConfirmed(payment) => {
                    self.clearing.payment(log, PaymentStep::Confirmed, payment);
                }
                PublicEntry::DisputeOpened(dispute) => self.dispute_opened(log, dispute),
                PublicEntry::DisputeResolved(resolution) => {
                    self.disputes.resolution(log, resolution);
                }
                // who joined later has no state of a log that had ended, and counts what is closed out
                PublicEntry::ClosedOut(entry)
                    if self.ledger.constitutions().have(entry.log) && ended.insert(entry.log) =>
                {
                    let by = (log, block.block.height);
                    self.clearing.closed_out(by, entry, self.ledger.constitutions());
                }
                _ => {}
            }
        }
        if let Some(dispute) = &block.dispute {
            self.disputes.found(dispute);
        }
        let applications = CertifiedApplication::of(block).filter(CertifiedApplication::reads);
        let applications: Vec<_> = applications.collect();
        applications.iter().cloned().for_each(|entry| self.applications.push(entry));
        applications
    }

    /// A certified dispute counts when it is about a block of another brand that there is, as far as is known
    /// here: a log may be ahead of what has come of it.
    fn dispute_opened(&mut self, accuser: BrandId, dispute: &DisputeOpened) {
        let log = dispute.log;
        let Some(witness) = self.ledger.witness(log).filter(|_| log != accuser) else { return };
        let is_ahead = log == self.me() && dispute.height > witness.tip().height;
        let known = self.headers.get(&log).and_then(|known| known.get(&dispute.height));
        let is_another = known.is_some_and(|(id, _)| *id != dispute.block);
        if dispute.height.get() > 0 && !is_ahead && !is_another {
            self.disputes.certified(accuser, dispute);
        }
    }

    /// Whether every final block of another log is dealt with.
    #[must_use]
    pub fn has_applied_all(&self) -> bool {
        self.unapplied.is_empty()
    }

    /// Takes note of what a turn has recorded for the clean room.
    pub fn note_recorded(&mut self, records: &[Recorded]) {
        for record in records {
            if let Recorded::Node(NodeRecord::CleanRoom(bytes)) = record {
                self.joint.push(bytes.clone());
            }
        }
    }

    /// A final block of another log: credits what it sends, sends back what cannot be credited.
    fn apply(&mut self, block: FinalBlock, now: Timestamp, turn: &mut Turn) {
        let (log, height) = (block.block.log, block.block.height);
        if !self.ledger.may_apply() {
            self.unapplied.insert((log, height), block);
            return;
        }
        let own = self.ledger.witness(self.me());
        let recognised = own.map(|own| own.tip().recognised(log).height).unwrap_or_default();
        if height <= recognised {
            return self.apply_again(block, now, turn);
        }
        let payloads = match &block.payloads {
            Ok(payloads) => payloads.as_slice(),
            Err(violation) => {
                self.alert(format!("log {log} is in dispute since block {height}: {violation}"));
                &[]
            }
        };
        let (mut credits, mut returns) = (Vec::with_capacity(payloads.len()), Vec::new());
        let mut taken = BTreeMap::new();
        for (leaf, payload) in payloads {
            let received = self.receive(log, *leaf, payload, now).and_then(|credit| match credit {
                Some(it) if !self.points.takes(&mut taken, it.member, it.points) => {
                    Err(NotCredited::Back(ReturnReason::ReceiverLimit))
                }
                credit => Ok(credit),
            });
            match received {
                Ok(Some(credit)) => credits.push(credit),
                Ok(None) => {}
                Err(NotCredited::Failed(error)) => {
                    self.failure = Some(error.into());
                    return;
                }
                Err(NotCredited::Back(reason)) => {
                    returns.extend(Return::whole(*leaf, reason, payload));
                }
            }
        }
        let former = None;
        let applied = Applied { log, height, credits, returns: returns.clone(), at: now, former };
        let terms = self.terms(&block.block, block.header.time);
        match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
            Ok(answers) => self.answer_links(&answers, now),
            Err(error @ BookError::Cold(_)) => {
                self.failure = Some(error.into());
                return;
            }
            Err(error) => self.alert(error.to_string()),
        }
        turn.record(NodeRecord::Applied(applied));
        for back in &returns {
            let submission = Submission::Sealed(log, Payload::Return(back.clone()));
            self.enter(NodeRecord::Submitted(submission), turn);
        }
        if let Err(error) = self.ledger.applied(log, returns, !payloads.is_empty()) {
            self.alert(error.to_string());
        }
    }

    /// A block that the own log has recognised before this node was rebuilt or restored: what was made of
    /// it stands in the own log, and only whom it credited is asked.
    fn apply_again(&mut self, block: FinalBlock, now: Timestamp, turn: &mut Turn) {
        let (log, height) = (block.block.log, block.block.height);
        let mut credits = Vec::new();
        for (leaf, payload) in block.payloads.as_deref().unwrap_or_default() {
            let Payload::Exchange(exchange) = payload else { continue };
            match self.vault.standing_by_handle(log, exchange.handle) {
                Ok(Some(standing)) => {
                    let (leaf, member) = (*leaf, standing.member);
                    credits.push(Credit { leaf, member, points: exchange.received });
                }
                Err(error) if error.is_outage() => {
                    self.failure = Some(error.into());
                    return;
                }
                // not linked here, or no member any more
                Ok(None) | Err(_) => {}
            }
        }
        let (returns, former) = (Vec::new(), Some(true));
        let applied = Applied { log, height, credits, returns, at: now, former };
        let terms = self.terms(&block.block, block.header.time);
        match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
            Ok(answers) => self.answer_links(&answers, now),
            Err(error @ BookError::Cold(_)) => {
                self.failure = Some(error.into());
                return;
            }
            Err(error) => self.alert(error.to_string()),
        }
        turn.record(NodeRecord::Applied(applied));
    }

    /// One payload of another brand's: whom it credits, or why it goes back.
    fn receive(
        &self,
        from: BrandId,
        leaf: LeafIndex,
        payload: &Payload,
        now: Timestamp,
    ) -> Result<Option<Credit>, NotCredited> {
        use NotCredited::{Back, Failed};
        let closed = |error: VaultError| match error.is_outage() {
            true => Failed(error),
            false => Back(ReturnReason::AccountClosed),
        };
        match payload {
            Payload::Link(link) => {
                let code: LinkCode = link.code.parse().map_err(|_| Back(ReturnReason::LinkCode))?;
                self.vault.accept_link(&code, from, link.handle, now).map(|_| None).map_err(
                    |error| match error {
                        LinkError::Vault(error) if error.is_outage() => Failed(error),
                        _ => Back(ReturnReason::LinkCode),
                    },
                )
            }
            Payload::Exchange(exchange) => {
                let standing = self
                    .vault
                    .standing_by_handle(from, exchange.handle)
                    .map_err(closed)?
                    .ok_or(Back(ReturnReason::NotLinked))?;
                if !standing.may_exchange {
                    return Err(Back(ReturnReason::AccountClosed));
                }
                let member = standing.member;
                Ok(Some(Credit { leaf, member, points: exchange.received }))
            }
            Payload::Return(_) => Ok(None),
            // a link that is not there any more is dropped already
            Payload::Unlink(unlink) => match self.vault.drop_incoming(from, unlink.handle) {
                Ok(_) => Ok(None),
                Err(error) => Err(Failed(error)),
            },
        }
    }

    fn answer_links(&mut self, answers: &[LinkAnswer], now: Timestamp) {
        for answer in answers {
            let member = self.vault.outgoing_member(answer.brand, answer.handle);
            let done = match member {
                Ok(None) => Ok(()),
                Ok(Some(member)) if answer.accepted => {
                    self.vault.confirm_link(member, answer.brand, now)
                }
                Ok(Some(member)) => self.vault.return_link(member, answer.brand, now),
                Err(error) => Err(error),
            };
            match done {
                // a replay does not answer again: without this the answer would be lost
                Err(error) if error.is_outage() => self.failure = Some(error.into()),
                Err(error) => self.alert(format!("a link's answer could not be entered: {error}")),
                Ok(()) => {}
            }
        }
    }

    // --- submissions

    /// Enters a record of the node's own, to be made durable with the turn.
    pub fn enter(&mut self, record: NodeRecord, turn: &mut Turn) {
        match self.book.enter(&record, &mut self.points) {
            Ok(()) => turn.record(record),
            // it would fail on replay as well: it must never have been
            Err(error) => self.failure = Some(error.into()),
        }
    }

    /// What the constitution of a block's epoch says of the exchanges in it.
    fn terms(&self, block: &BlockReference, time: Timestamp) -> Terms {
        let known = self.ledger.constitutions().of(block.epoch);
        let constitution = known.unwrap_or_else(|| self.ledger.constitution());
        let until = time.plus(constitution.return_window());
        let own = constitution.brand(self.me()).map(|brand| brand.point_value);
        Terms { until, point_value: own.unwrap_or(Rate::ONE) }
    }

    /// What this brand owes each other.
    #[must_use]
    pub fn exposures(&self) -> Vec<ExposureView> {
        let constitution = self.ledger.constitution();
        let (Some(own), Some(brand)) =
            (self.ledger.witness(self.me()), constitution.brand(self.me()))
        else {
            return Vec::new();
        };
        let others = constitution.committee().witnesses(self.me());
        let view = others.map(|other| {
            let recognised = own.tip().recognised(other);
            let sent =
                self.ledger.writer().contents().get(&other).map_or(Value::ZERO, |it| it.sent);
            let received = self.ledger.witness(other).map_or(Value::ZERO, |it| it.content().sent);
            let public = own.tip().column(other).map_or(Value::ZERO, |column| {
                public_exposure(constitution.total_step(), column.sent, &recognised)
            });
            ExposureView {
                brand: other.to_string(),
                owed_micro_fen: exact_exposure(sent, received, &recognised).get(),
                public_micro_fen: public.get(),
                limit_micro_fen: brand.pair_limit.get(),
            }
        });
        view.collect()
    }

    /// What this brand keeps of others' debts because points are whole.
    #[must_use]
    pub fn residues(&self) -> Vec<ResidueView> {
        let residues = self.book.received().residues().iter();
        let view = residues.map(|(brand, micro_fen)| ResidueView {
            brand: brand.to_string(),
            micro_fen: u64::try_from(*micro_fen).unwrap_or(u64::MAX),
        });
        view.collect()
    }

    /// Something that was taken for the own log will be in no block: the constitution under which it
    /// was priced, or that named the brand it was for, is no longer the log's. Held points are free again.
    fn withdraw(&mut self, submission: Submission, now: Timestamp, turn: &mut Turn) {
        if let Submission::Sealed(brand, Payload::Link(link)) = &submission {
            let answer = LinkAnswer { brand: *brand, handle: link.handle, accepted: false };
            self.answer_links(&[answer], now);
        }
        self.enter(NodeRecord::Withdrawn(submission), turn);
    }

    fn submit_to_ledger(&mut self, submission: Submission) -> Result<(), SubmitError> {
        match submission {
            Submission::Public(entry) => self.ledger.submit_public(entry),
            Submission::Sealed(to, payload) => self.ledger.submit_sealed(to, payload),
        }
    }

    /// Takes something for the own log, durably.
    ///
    /// # Errors
    /// When the ledger does not take it; then nothing was recorded.
    pub fn submit(&mut self, submission: Submission, turn: &mut Turn) -> Result<(), SubmitError> {
        self.submit_to_ledger(submission.clone())?;
        if let Submission::Public(entry) = &submission {
            self.clearing.submitted(entry);
        }
        self.enter(NodeRecord::Submitted(submission), turn);
        Ok(())
    }

    /// Whether an entry waits for a block, or is in one that is not decided yet.
    #[must_use]
    pub fn is_on_its_way(&self, entry: &PublicEntry) -> bool {
        let waits =
            |known: &Submission| matches!(known, Submission::Public(known) if known == entry);
        let open = self.ledger.writer().open_block();
        self.book.waiting().any(waits) || open.is_some_and(|block| block.public().contains(entry))
    }

    /// Time of the last certified block of every log.
    pub fn log_times(&self) -> impl Iterator<Item = (BrandId, Timestamp)> {
        self.headers.iter().filter_map(|(log, known)| {
            known.last_key_value().map(|(_, (_, header))| (*log, header.time))
        })
    }

    // --- clearing

    /// Enters this brand's closing for a cut-off.
    ///
    /// # Errors
    /// When the cut-off has not passed.
    pub fn close(
        &mut self,
        cut_off: Timestamp,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        if cut_off >= now {
            return Err(ServiceError::new(
                ErrorKind::Invalid,
                "cut_off_in_future",
                "the cut-off has not passed yet",
                "close after the cut-off; blocks may still be written before it",
            ));
        }
        if self.clearing.has_closed(cut_off) {
            return Ok(());
        }
        if let Some(last) = self.clearing.last_closed().filter(|last| cut_off < *last) {
            return Err(ServiceError::new(
                ErrorKind::Refused,
                "cut_off_superseded",
                format!("this brand has closed the later cut-off {}", last.unix_ms()),
                "the later statement counts everything before it as well: pay by that one",
            ));
        }
        if self.clearing.has_many_requests() {
            return Err(ServiceError::new(
                ErrorKind::Unavailable,
                "cut_offs_waiting",
                "many cut-offs wait to be closed already",
                "repeat it when blocks are certified again",
            ));
        }
        let new = self.clearing.request(cut_off);
        if !self.may_close(cut_off, turn) {
            if new {
                self.enter(NodeRecord::CloseRequested(cut_off), turn);
            }
            return Ok(());
        }
        let closed = self.enter_closing(cut_off, turn);
        if closed.is_err() {
            self.clearing.cannot_close(cut_off);
        }
        closed
    }

    /// Whether the own closing of a cut-off can be made now.
    fn may_close(&self, cut_off: Timestamp, turn: &Turn) -> bool {
        // a block that became final in this turn is open no more and not among the headers yet
        let own = |block: &FinalBlock| block.block.log == self.me();
        if !turn.out.written.is_empty() || turn.out.finals.iter().any(own) {
            return false;
        }
        let is_closing = |entry: &PublicEntry| matches!(entry, PublicEntry::Closing(_));
        let waits = |it: &Submission| matches!(it, Submission::Public(entry) if is_closing(entry));
        let open = self.ledger.writer().open_block();
        // a block that is open now may still count before the cut-off: it must be decided first; and a
        // restored node may not have its last blocks back yet. Of two closings the first is to be final first
        self.ledger.may_apply()
            && !self.ledger.writer().has_open_block_until(cut_off)
            && !self.book.waiting().any(waits)
            && !open.is_some_and(|block| block.public().iter().any(is_closing))
    }

    /// Enters this brand's closing for a cut-off.
    fn enter_closing(&mut self, cut_off: Timestamp, turn: &mut Turn) -> Result<(), ServiceError> {
        let too_old = || {
            ServiceError::new(
                ErrorKind::Refused,
                "cut_off_too_old",
                "the blocks around this cut-off are not at hand any more, or their sealing key was destroyed",
                "choose a later cut-off",
            )
        };
        let own = self.headers.get(&self.me());
        let earlier = |height| self.published.header(height).map(|it| (it.to_leaf().1, it));
        let last = Clearing::last_block(cut_off, own, earlier).map_err(|_| too_old())?;
        let contents = match &last {
            Some((_, header)) => self.published.contents(header.height).ok_or_else(too_old)?,
            None => Vec::new(),
        };
        let last = last.as_ref().map(|(id, header)| (header, *id));
        let mut closing = self.ledger.close(cut_off, last, &contents).map_err(|_| too_old())?;
        let closed = last.map(|(header, _)| header);
        let (me, constitutions) = (self.me(), self.ledger.constitutions());
        let absent = self.clearing.absent();
        let is_too_much = absent.is_too_much_to_say(me, closed, constitutions);
        closing.closed_out = absent.say_again(me, closed, constitutions);
        if is_too_much {
            self.alert(
                "more logs have ended than a closing says again: brands that joined since have no statement / \
                 已结束的账本超过结算声明可重述的数量：此后加入的品牌得不到结算单"
                    .to_owned(),
            );
        }
        let submission = Submission::Public(PublicEntry::Closing(closing));
        self.submit(submission, turn).map_err(submit_error)
    }

    /// Closes what is due: see [`Clearing::due`].
    fn close_due(&mut self, now: Timestamp, turn: &mut Turn) {
        if self.ledger.is_closed(self.me()) || self.ledger.is_frozen(self.me()) {
            return;
        }
        if self.begun.is_none() && self.calendar.is_some() {
            self.begun = self.published.header(Height::new(1)).map(|header| header.time);
        }
        let due = self.clearing.due(now, self.calendar.as_ref(), self.begun);
        if let Some(cut_off) = due.filter(|cut_off| self.may_close(*cut_off, turn))
            && let Err(error) = self.enter_closing(cut_off, turn)
        {
            self.clearing.cannot_close(cut_off);
            self.alert(format!("cut-off {}: {error}", cut_off.unix_ms()));
        }
    }

    fn derive_statements(&mut self, turn: &mut Turn) {
        let Some(entries) = self.clearing.derive(self.ledger.constitutions()) else { return };
        for entry in entries {
            let submission = Submission::Public(PublicEntry::Statement(entry));
            if let Err(error) = self.submit(submission, turn) {
                self.alert(error.to_string());
            }
        }
        self.clearing.note_change();
        // told again it changes nothing
        self.ledger.discharge(self.clearing.discharges());
        for fault in self.clearing.faults() {
            self.alert(fault);
        }
    }

    /// What this node's checks have found goes on record, once.
    fn enter_disputes(&mut self, turn: &mut Turn) {
        let due: Vec<DisputeOpened> = self.disputes.due(self.me()).cloned().collect();
        for dispute in due {
            let entry = PublicEntry::DisputeOpened(Box::new(dispute));
            if self.is_on_its_way(&entry) {
                continue;
            }
            if let Err(error) = self.submit(Submission::Public(entry), turn) {
                self.alert(error.to_string());
            }
        }
    }

    /// What an operator has to look at as long as it is so: disputes on record, payments of an agreed
    /// statement, brands that do not acknowledge what was said to them a day ago.
    #[must_use]
    pub fn standing_alerts(&self, now: Timestamp) -> Vec<String> {
        let mut alerts = self.disputes.alerts(self.me());
        alerts.extend(self.partner_alerts(now));
        alerts.extend(self.clearing.payment_alerts());
        for (other, since) in self.unacknowledged(now) {
            if self.has_ended(other) {
                continue;
            }
            let Some((height, _)) = since.filter(|(_, since)| *since > ANSWER_WITHIN) else {
                continue;
            };
            alerts.push(format!(
                "{other} has not acknowledged block {height} for more than 24 h: ask its operator / {other} \
                 超过24小时未确认区块 {height}：请联系其运营方"
            ));
        }
        alerts
    }

    /// Of each other brand: the first own block that said something to it and that it has not
    /// acknowledged, and for how long.
    pub fn unacknowledged(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (BrandId, Option<(Height, Milliseconds)>)> {
        let own = self.headers.get(&self.me());
        self.ledger.constitution().committee().witnesses(self.me()).map(move |other| {
            let since = self.book.unanswered(other).map(|height| {
                // a header that is not at hand any more is older than all that are
                let at = own.and_then(|own| own.get(&height)).map(|(_, header)| header.time);
                (height, now.since(at.unwrap_or_default()))
            });
            (other, since)
        })
    }

    /// The certified block of a log at a height, if it is here still.
    #[must_use]
    pub fn certified(&self, log: BrandId, height: Height) -> Option<KnownHeader> {
        let past = Headers {
            latest: &self.headers,
            published: &self.published,
            fragments: self.fragments.as_ref(),
            me: self.ledger.me(),
        };
        past.at(log, height)
    }

    /// Brands whose logs said something to this node that cannot stand.
    #[must_use]
    pub fn disputed(&self) -> BTreeSet<BrandId> {
        self.ledger
            .witnesses()
            .filter(|(_, witness)| witness.is_disputed())
            .map(|(log, _)| log)
            .collect()
    }
}

#[cfg(test)]
mod tests;
