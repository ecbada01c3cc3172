//! One node's state and the order in which things happen to it: handle, then persist, then send.
//!
//! Synchronous: the loop in [`super`] hands in commands, messages and ticks, and does with the
//! [`Turn`] what it says, in its order. Decides nothing about validity (that is `protocol`'s) and
//! nothing about members (the vault's); ties them.

pub(super) mod campaigns;
mod closings;
pub(super) mod desk;
mod disputes;
mod finals;
mod openings;
mod operations;
mod partners;
mod payments;
pub mod programme;
mod programme_export;
mod programme_service;
mod programme_staff;
mod replay;
mod returns;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ::programme::Programme;
use alliance_config::CutOffs;
use protocol::amount::Rate;
use protocol::epochs::LogHead;
use protocol::epochs::adoption::Stance;
use protocol::exchange::{Payload, ReturnReason};
use protocol::ids::{BrandId, ConstitutionHash, HeaderHash, Height};
use protocol::ledger::{Archive, Context, Ledger, PeerFault};
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
use protocol::witness::state::{FinalBlock, Outbox};
use protocol::witness::statement::UnverifiedCertificate;
use protocol::witness::writer::{Entropy, SubmitError};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

pub use operations::{cold_error, exchange_id, internal, vault_error};

pub(super) use self::operations::submit_error;

use super::applications::Applications;
use super::clearing::Clearing;
use super::disputes::Disputes;
use super::published::{PublishError, PublishedLog};
use super::sealed_journal::Recorded;
use crate::cleanroom::{CertifiedApplication, ReadJob};
use crate::exchange::book::{Book, BookError, LinkAnswer, Terms};
use crate::exchange::cold::Cold;
use crate::exchange::points::PointsLedger;
use crate::exchange::record::{NodeRecord, Submission};
use crate::fragments::{FragmentArchive, FragmentsError};
use crate::store::{Store, StoreError};
use crate::vault::{MemberId, Vault, VaultError};

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
                    self.alert(format!(
                        "what was submitted before the restart is not taken: {error} / \
                         重启前提交的一项未能写入账本：{error}"
                    ));
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
                self.alert_error(&error);
            }
        }
        let mut context = context!(self, now);
        self.ledger.resume(&mut context, &mut turn.out);
        if let Some(published) = self.published.checkpoint() {
            self.ledger.keep_cosignatures(&published, &self.outside);
        }
        for error in self.state_constitutions(turn) {
            self.alert(format!(
                "what this brand said of a draft is not taken: {error} / \
                 本品牌对章程草案的表态未能写入账本：{error}"
            ));
        }
        self.settle(now, turn);
    }

    // --- turns

    /// Handles one message.
    pub fn message(&mut self, from: BrandId, message: Message, now: Timestamp, turn: &mut Turn) {
        let before = turn.out.records.len();
        let mut context = context!(self, now);
        let handled = self.ledger.handle(from, message, &mut context, &mut turn.out);
        self.note_built(before, turn);
        if let Err(fault) = handled {
            self.alert(format!(
                "what {from} sent does not stand, and nothing was done by it: {fault} / \
                 {from} 发来的内容不成立，未予采用：{fault}"
            ));
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
            let words = format!(
                "the own log cannot be written: {violation} / 本品牌的账本无法写入：{violation}"
            );
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

    /// Takes note of a foreign log's checkpoint that is cosigned, now or before a restart.
    pub fn cosigned(&mut self, record: &NodeRecord) {
        if let NodeRecord::Cosigned(cosigned) = record
            && let Err(error) = self.foreign.enter(cosigned)
        {
            self.alert_error(&error);
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

    /// What this node's checks have found goes on record, once.
    fn enter_disputes(&mut self, turn: &mut Turn) {
        let due: Vec<DisputeOpened> = self.disputes.due(self.me()).cloned().collect();
        for dispute in due {
            let entry = PublicEntry::DisputeOpened(Box::new(dispute));
            if self.is_on_its_way(&entry) {
                continue;
            }
            if let Err(error) = self.submit(Submission::Public(entry), turn) {
                self.alert_error(&error);
            }
        }
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
}

#[cfg(test)]
mod tests;
