//! One machine: the node's ledger, its disk, its application, and where it may crash.
//!
//! The order is the real node's: handle, persist, send, apply. A crash before the records are on disk
//! loses both records and messages; amid them, the disk keeps some prefix, the last record torn; after
//! them, the messages are lost and the records stay. At times the disk is put back to what it was when a
//! backup was made. At random moments a snapshot of the journal is begun ([`crate::storage`]).

use std::collections::{BTreeMap, BTreeSet};

use protocol::constitution::Constitution;
use protocol::epochs::Constitutions;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex};
use protocol::ledger::{Archive, CloseOutError, Context, Ledger};
use protocol::log::block::PublicEntry;
use protocol::log::fragments::Fragment;
use protocol::log::resolution::DisputeResolved;
use protocol::recovery::held::HeldBlock;
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::cases;
use protocol::witness::dispute::Dispute;
use protocol::witness::guards::{Guards, Upheld};
use protocol::witness::message::Message;
use protocol::witness::record::{Record, Voted};
use protocol::witness::standing::{Fence, Standing};
use protocol::witness::state::{FinalBlock, Outbox};
use protocol::witness::statement::{Certificate, UnverifiedCertificate};

use crate::alliance;
use crate::application::{Application, Books};
use crate::clearing::Clearing;
use crate::prng::Prng;
use crate::storage::Storage;

/// In a thousand steps, so many snapshots are begun.
const SNAPSHOTS: usize = 15;
/// Of so many starts, before one all records ever are replayed, with and without a snapshot amid them.
const COMPARED_ONE_IN: usize = 8;

/// The brand's own final blocks, as they would be read from its tiles, and what it holds of others'.
#[derive(Clone, Debug, Default)]
struct Kept {
    own: BTreeMap<Height, (OwnBlock, Certificate)>,
    held: BTreeMap<(BrandId, Height), HeldBlock>,
}

impl Kept {
    fn hold(&mut self, held: Vec<HeldBlock>) {
        self.held.extend(held.into_iter().filter_map(|held| Some((held.place()?, held))));
    }
}

impl Archive for Kept {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.own.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
    }

    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        let later = (log, from)..=(log, Height::new(u64::MAX));
        self.held.range(later).next().map(|(_, held)| held.clone())
    }
}

/// Everything that could be seen of a machine in one event.
#[derive(Debug, Default)]
pub struct Report {
    /// Own blocks that reached the disk.
    pub built: Vec<OwnBlock>,
    /// Fragments that reached the disk, by block.
    pub kept: Vec<(HeaderHash, Fragment)>,
    /// What left the machine.
    pub sent: Vec<(BrandId, Message)>,
    /// What became final for it, or was found final again on a restart.
    pub finals: Vec<FinalBlock>,
    /// Leaves applied for the first time.
    pub applied: Vec<((BrandId, LeafIndex), Payload)>,
    /// What it found wrong with a brand.
    pub faults: Vec<(BrandId, String)>,
    /// Requests refused because of a credit limit.
    pub refused: usize,
    /// Where it crashed, if it did.
    pub crashed: Option<&'static str>,
    /// Whether it took note that its disk was put back.
    pub restored: bool,
    /// How far it was told that logs were certified, having been put back.
    pub fenced: Vec<Fence>,
    /// What it has agreed to as the end of disputes, and has that on disk.
    pub agreed: Vec<DisputeResolved>,
    /// Offers that it could not agree to.
    pub declined: usize,
}

/// What a machine does with the records it should sync before it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// Syncs all, then sends.
    #[default]
    Sound,
    /// Sends, then syncs.
    SendsFirst,
    /// Never writes that it joined a round.
    ForgetsJoined,
    /// Never writes what it voted for.
    ForgetsVoted,
    /// Never writes its locks.
    ForgetsLocked,
    /// Never writes what it built.
    ForgetsBuilt,
    /// Never writes what it proposed.
    ForgetsProposed,
    /// Never writes which incarnation it is: each start is the first.
    ForgetsStarted,
    /// Writes what it voted for without the block's fragment, which it would keep.
    ForgetsFragments,
}

impl Habit {
    /// Those that break something.
    pub const BAD: [Self; 8] = [
        Self::SendsFirst,
        Self::ForgetsJoined,
        Self::ForgetsVoted,
        Self::ForgetsLocked,
        Self::ForgetsBuilt,
        Self::ForgetsProposed,
        Self::ForgetsStarted,
        Self::ForgetsFragments,
    ];

    /// What it writes of a record, if anything.
    fn written(self, record: Record) -> Option<Record> {
        match record {
            Record::Voted(voted) if self == Self::ForgetsFragments => {
                Some(Record::Voted(Voted { delivery: None, ..voted }))
            }
            record => (!self.forgets(&record)).then_some(record),
        }
    }

    const fn forgets(self, record: &Record) -> bool {
        match self {
            Self::Sound | Self::SendsFirst | Self::ForgetsFragments => false,
            Self::ForgetsJoined => matches!(record, Record::Joined(_)),
            Self::ForgetsVoted => matches!(record, Record::Voted(_)),
            Self::ForgetsLocked => matches!(record, Record::Locked(_)),
            Self::ForgetsBuilt => matches!(record, Record::Built(_)),
            Self::ForgetsProposed => matches!(record, Record::Proposed(_)),
            Self::ForgetsStarted => matches!(record, Record::Started(_)),
        }
    }
}

/// What a snapshot stands for beside its records.
#[derive(Clone, Debug, Default)]
struct Base {
    archive: Kept,
    books: Books,
    clearing: Clearing,
}

/// What was on a disk at some time.
#[derive(Clone)]
struct Backup {
    journal: Storage<Base>,
    application: Application,
    // own blocks built by then
    built: usize,
}

/// One in so many looks at an offer ends with a decision.
const DECIDES_ONE_IN: usize = 3;

/// Logs in dispute that offer something.
fn offers<G: Guards>(ledger: &Ledger<G>) -> Vec<BrandId> {
    let offering = |it: &Dispute| it.offer().is_some();
    let logs = ledger.witnesses().filter(|(_, it)| it.dispute().is_some_and(offering));
    logs.map(|(log, _)| log).collect()
}

/// Most backups of a machine that are kept.
const BACKUPS_MAX: usize = 4;

/// One machine.
pub struct Node<G = Upheld> {
    brand: BrandId,
    // the constitutions that it was set up with, and files that were brought since
    chain: Constitutions,
    files: Vec<Constitution>,
    // generations of its keys after the first
    generations: Vec<usize>,
    ledger: Option<Ledger<G>>,
    journal: Storage<Base>,
    // what becomes of snapshots; apart, so that all else is as it would be without them
    fate: Prng,
    archive: Kept,
    application: Application,
    books: Books,
    clearing: Clearing,
    backups: Vec<Backup>,
    built: usize,
    // the operator says at the next start that the disk was put back
    declares: bool,
    // own blocks were built that the disk has forgotten
    lost_blocks: bool,
    // about to be agreed to
    agreeing: Option<DisputeResolved>,
    // final blocks of others that may not be acted upon yet
    unapplied: Vec<FinalBlock>,
    entropy: Prng,
    skew_ms: i64,
    // in a thousand steps
    crashes: usize,
    habit: Habit,
}

impl<G: Guards> Node<G> {
    /// A machine with an empty disk that is not running yet. Its clock is `skew_ms` off.
    #[must_use]
    pub fn new(
        brand: BrandId,
        constitutions: impl Into<Constitutions>,
        entropy: Prng,
        skew_ms: i64,
        crashes: usize,
    ) -> Self {
        Self {
            brand,
            chain: constitutions.into(),
            files: Vec::new(),
            generations: Vec::new(),
            ledger: None,
            journal: Storage::default(),
            fate: entropy.clone().fork(),
            archive: Kept::default(),
            application: Application::default(),
            books: Books::default(),
            clearing: Clearing::default(),
            backups: Vec::new(),
            built: 0,
            declares: false,
            lost_blocks: false,
            agreeing: None,
            unapplied: Vec::new(),
            entropy,
            skew_ms,
            crashes,
            habit: Habit::Sound,
        }
    }

    /// The same machine with a habit.
    #[must_use]
    pub const fn with_habit(mut self, habit: Habit) -> Self {
        self.habit = habit;
        self
    }

    /// Whose machine it is.
    #[must_use]
    pub const fn brand(&self) -> BrandId {
        self.brand
    }
    /// The ledger, while the machine runs.
    #[must_use]
    pub const fn ledger(&self) -> Option<&Ledger<G>> {
        self.ledger.as_ref()
    }
    /// What is on its disk beside the journal.
    #[must_use]
    pub const fn application(&self) -> &Application {
        &self.application
    }
    /// What it rebuilt from its log.
    #[must_use]
    pub const fn books(&self) -> &Books {
        &self.books
    }
    /// What it makes of the logs' entries about clearing.
    #[must_use]
    pub const fn clearing(&self) -> &Clearing {
        &self.clearing
    }
    /// Whether its disk was put back to before it built some block of its own log: what it wrote is
    /// lost to it then, and it does not go on writing where others may have seen more.
    #[must_use]
    pub const fn has_lost_blocks(&self) -> bool {
        self.lost_blocks
    }
    /// Whether something of a log is final here and was not acted upon yet.
    #[must_use]
    pub fn has_unapplied(&self, log: BrandId) -> bool {
        self.unapplied.iter().any(|block| block.block.log == log)
    }
    /// Whether a constitution's file was brought to it.
    #[must_use]
    pub fn has_file(&self, file: &Constitution) -> bool {
        self.files.iter().any(|known| known.hash() == file.hash())
    }
    /// Records that were ever on its disk.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.journal.len()
    }
    /// From now on it does not crash.
    pub const fn steady(&mut self) {
        self.crashes = 0;
    }

    /// A new wish of the brand; acted upon at the next step.
    pub const fn application_mut(&mut self) -> &mut Application {
        &mut self.application
    }

    /// The file of a constitution is brought.
    pub fn bring(&mut self, file: &Constitution) {
        if self.has_file(file) {
            return;
        }
        self.files.push(file.clone());
        if let Some(ledger) = &mut self.ledger
            && ledger.offer(file.clone()).is_err()
        {
            // it follows one that this machine has not seen adopted yet
            ledger.hold(file.clone());
        }
    }

    /// Keys of a later generation are made.
    pub fn make_keys(&mut self, generation: usize) {
        if !self.generations.contains(&generation) {
            self.generations.push(generation);
            let brand = self.brand;
            self.ledger
                .iter_mut()
                .for_each(|ledger| ledger.add_keys(alliance::signing_keys(brand, generation)));
        }
    }

    /// Makes a backup of the disk.
    pub fn back_up(&mut self) {
        if self.backups.len() >= BACKUPS_MAX {
            let oldest = self.entropy.below(BACKUPS_MAX);
            self.backups.remove(oldest);
        }
        let (journal, application) = (self.journal.clone(), self.application.clone());
        self.backups.push(Backup { journal, application, built: self.built });
    }

    /// The power fails, and the disk is put back to a backup; the operator may say so at the next
    /// start. False when there is no backup.
    pub fn put_back(&mut self, declared: bool) -> bool {
        let Some(backup) = self.backups.get(self.entropy.below(self.backups.len())).cloned() else {
            return false;
        };
        self.crash();
        self.lost_blocks |= backup.built < self.built;
        self.journal = backup.journal;
        self.application = backup.application;
        self.built = backup.built;
        self.declares = declared;
        true
    }

    /// The power fails.
    pub fn crash(&mut self) {
        if self.ledger.take().is_some() {
            self.journal.lose_power(&mut self.fate);
        }
        self.archive = Kept::default();
        self.books = Books::default();
        self.clearing = Clearing::default();
        self.unapplied.clear();
    }

    /// A liar denies that it ever started: its next start is of the first incarnation again.
    pub fn deny_starts(&mut self) {
        self.journal.rewrite(|bytes| match Record::from_bytes(bytes) {
            Ok(Record::Started(_)) => None,
            Ok(Record::NodeState(mut state)) => {
                state.standing = Standing::default();
                Some(Record::NodeState(state).to_bytes())
            }
            _ => Some(bytes.to_vec()),
        });
    }

    /// The power fails and the disk with it: what a liar can always claim.
    pub fn forget(&mut self) {
        self.crash();
        self.journal = Storage::default();
        self.application = Application::default();
    }

    /// Starts with what is on disk.
    ///
    /// # Errors
    /// When the disk cannot be read back: nothing a node writes may ever have that effect.
    pub fn restart(&mut self, now_ms: u64, report: &mut Report) -> Result<(), String> {
        let mut ledger = self.new_ledger();
        self.crash();
        let (records, base) = self.journal.read();
        Base { archive: self.archive, books: self.books, clearing: self.clearing } = base;
        for (number, bytes) in records.iter().enumerate() {
            let mut out = Outbox::default();
            let record = Record::from_bytes(bytes).map_err(|error| error.to_string())?;
            ledger
                .replay(&record, &mut out)
                .map_err(|error| format!("record {number} cannot be replayed: {error}"))?;
            if let Record::Headed(head) = &record {
                self.clearing.headed(head);
            }
            self.archive.hold(out.held);
            self.take_in(out.finals, out.written, report);
        }
        if let Some(open) = ledger.writer().open_block() {
            self.books.note(open);
            self.clearing.note(open);
        }
        if std::mem::take(&mut self.declares) {
            let mut out = Outbox::default();
            ledger.declare_restored(&mut out);
            let records: Vec<Vec<u8>> = out.records.iter().map(Record::to_bytes).collect();
            self.journal.append(&records, None);
            report.restored = true;
        }
        // what a snapshot stands for is applied, and to be recognised if it is not yet
        let waits: BTreeSet<BrandId> = self.unapplied.iter().map(|it| it.block.log).collect();
        let logs: Vec<BrandId> = ledger.witnesses().map(|(log, _)| log).collect();
        for log in logs.into_iter().filter(|log| *log != self.brand && !waits.contains(log)) {
            self.application.answer(&mut self.books, &mut ledger, log);
        }
        self.ledger = Some(ledger);
        self.step(now_ms, report, |ledger, context, out| ledger.resume(context, out));
        Ok(())
    }

    fn new_ledger(&self) -> Ledger<G> {
        let keys = alliance::keys(self.brand, 0);
        let mut ledger = Ledger::with_guards(self.brand, self.chain.clone(), keys);
        for generation in &self.generations {
            ledger.add_keys(alliance::signing_keys(self.brand, *generation));
        }
        self.files.iter().for_each(|file| ledger.hold(file.clone()));
        ledger
    }

    /// Whether a snapshot made after some append of all there ever were, and the records after it, give
    /// the state that all records give; looked at before some starts.
    ///
    /// # Errors
    /// When they do not.
    pub fn snapshots_stand_for_their_records(&mut self) -> Result<(), String> {
        if self.habit != Habit::Sound || self.fate.below(COMPARED_ONE_IN) > 0 {
            return Ok(());
        }
        let (records, appends) = self.journal.history();
        let cut = appends[self.fate.below(appends.len())];
        let (before, after) = records.split_at(cut);
        let replay = |ledger: &mut Ledger<G>, records: &[Vec<u8>]| {
            records.iter().try_for_each(|bytes| {
                let record = Record::from_bytes(bytes).map_err(|error| error.to_string())?;
                let replayed = ledger.replay(&record, &mut Outbox::default());
                replayed.map_err(|error| format!("snapshot after record {cut}: {error}"))
            })
        };
        let bytes = |ledger: &Ledger<G>| -> Vec<Vec<u8>> {
            ledger.snapshot().iter().map(Record::to_bytes).collect()
        };
        let (mut whole, mut taken_up) = (self.new_ledger(), self.new_ledger());
        replay(&mut whole, before)?;
        replay(&mut taken_up, &bytes(&whole))?;
        replay(&mut whole, after)?;
        replay(&mut taken_up, after)?;
        let (whole, taken_up) = (bytes(&whole), bytes(&taken_up));
        let other = whole.iter().zip(&taken_up).position(|(one, other)| one != other);
        match other {
            None if whole.len() == taken_up.len() => Ok(()),
            other => {
                let shown = |all: &[Vec<u8>]| {
                    let part = other.and_then(|place| Record::from_bytes(all.get(place)?).ok());
                    part.map_or_else(|| "nothing".to_owned(), |part| format!("{part:?}"))
                };
                Err(format!(
                    "after record {cut} of {}: of {} and {} parts the first that differs is {other:?}: {} and {}",
                    records.len(),
                    whole.len(),
                    taken_up.len(),
                    shown(&whole),
                    shown(&taken_up),
                ))
            }
        }
    }

    /// At times a snapshot is begun, and one that was begun is whole after some steps; power may fail then
    /// as well.
    fn care_for_snapshots(&mut self, report: &mut Report) {
        let Some(ledger) = &self.ledger else { return };
        // a machine that forgets what it should write has no good snapshots either
        if self.habit != Habit::Sound || !self.unapplied.is_empty() {
            return;
        }
        if self.journal.step() {
            let fails = self.fate.per_mille(self.crashes).then(|| self.fate.below(2));
            if fails != Some(0) {
                self.journal.finish();
            }
            if fails.is_some() {
                report.crashed = Some("amid a snapshot");
                self.crash();
            }
        } else if self.fate.per_mille(SNAPSHOTS) {
            let records: Vec<Vec<u8>> = ledger.snapshot().iter().map(Record::to_bytes).collect();
            let base = Base {
                archive: self.archive.clone(),
                books: self.books.at_rest(),
                clearing: self.clearing.at_rest(self.brand),
            };
            self.journal.begin(&records, base, &mut self.fate);
        }
    }

    /// A message has arrived. Bytes that are no message are dropped.
    pub fn handle(&mut self, from: BrandId, bytes: &[u8], now_ms: u64, report: &mut Report) {
        let Ok(message) = Message::from_bytes(bytes) else { return };
        let mut fault = None;
        self.step(now_ms, report, |ledger, context, out| {
            fault = ledger.handle(from, message, context, out).err();
        });
        report.faults.extend(fault.map(|fault| (from, fault.to_string())));
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, report: &mut Report) {
        self.step(now_ms, report, |ledger, context, out| ledger.tick(context, out));
    }

    fn step(
        &mut self,
        now_ms: u64,
        report: &mut Report,
        action: impl FnOnce(&mut Ledger<G>, &mut Context<'_>, &mut Outbox),
    ) {
        let now = Timestamp::from_unix_ms(now_ms.saturating_add_signed(self.skew_ms));
        let mut out = Outbox::default();
        let Some(ledger) = &mut self.ledger else { return };
        let mut context = Context { now, entropy: &mut self.entropy, archive: &self.archive };
        action(ledger, &mut context, &mut out);
        self.settle(out, report);
        self.end_disputes(report);
        // what was submitted meanwhile, and what the step itself gave reason to say
        let Some(ledger) = &mut self.ledger else { return };
        report.refused += self.application.submit(&mut self.books, ledger);
        self.close_out(report);
        let Some(ledger) = &mut self.ledger else { return };
        self.application.state(ledger);
        // a restored node may not have its last blocks back, which it would close without
        if ledger.may_apply() {
            let asked = self.application.cut_offs();
            let faults = self.clearing.act(ledger, asked, now);
            report.faults.extend(faults.into_iter().map(|fault| (self.brand, fault)));
        }
        let mut out = Outbox::default();
        for log in self.application.closes() {
            ledger.agree_to_close(*log, &mut out);
        }
        let mut context = Context { now, entropy: &mut self.entropy, archive: &self.archive };
        ledger.poll(&mut context, &mut out);
        self.settle(out, report);
        self.care_for_snapshots(report);
    }

    /// Operators look at what is offered as the end of a dispute, and agree if it can be agreed to.
    fn end_disputes(&mut self, report: &mut Report) {
        let started = self.ledger.iter().filter(|ledger| ledger.may_apply());
        let offers: Vec<BrandId> = started.flat_map(offers).collect();
        for log in offers {
            // they take their time
            if self.entropy.below(DECIDES_ONE_IN) > 0 {
                continue;
            }
            let Some(ledger) = &mut self.ledger else { return };
            let mut out = Outbox::default();
            match ledger.agree(log, &mut out) {
                Ok(agreed) => {
                    out.finals.extend(agreed.blocks);
                    self.agreeing = Some(agreed.resolution);
                    self.settle(out, report);
                    self.agreeing = None;
                    if let Some(ledger) = &mut self.ledger {
                        self.application.answer(&mut self.books, ledger, log);
                    }
                }
                Err(_) => report.declined += 1,
            }
        }
    }

    /// Closes out the logs that have ended, once each.
    fn close_out(&mut self, report: &mut Report) {
        let Some(ledger) = self.ledger.as_ref().filter(|ledger| ledger.may_apply()) else { return };
        let logs = ledger.witnesses().map(|(log, _)| log).filter(|log| *log != self.brand);
        let ended = logs.filter_map(|log| Some((log, ledger.recognised_at_end(log)?)));
        for (log, read) in ended {
            if self.application.closes_out(&self.books, log) {
                continue;
            }
            let read_block = self.clearing.own_block(self.brand, read);
            let void = self.books.sent_above(log, read);
            if read > Height::new(0) && read_block.is_none() {
                report.faults.push((self.brand, format!("block {read} cannot be opened")));
                continue;
            }
            match ledger.close_out(log, read_block, void) {
                Ok(entry) => self.application.want_public(entry),
                Err(CloseOutError::OnItsWay) => {}
                Err(error) => {
                    report.faults.push((self.brand, format!("{log} is not closed out: {error}")));
                }
            }
        }
    }

    fn settle(&mut self, out: Outbox, report: &mut Report) {
        // who sends first is hit just between sending and syncing
        let places = if self.habit == Habit::SendsFirst { 1 } else { 5 };
        let crash = self.entropy.per_mille(self.crashes).then(|| self.entropy.below(places));
        let die = |node: &mut Self, report: &mut Report, place| {
            report.crashed = Some(place);
            node.crash();
        };
        if crash == Some(0) {
            if self.habit == Habit::SendsFirst {
                report.sent.extend(out.messages);
            }
            return die(self, report, "before the records");
        }
        let records: Vec<Record> =
            out.records.into_iter().filter_map(|record| self.habit.written(record)).collect();
        let bytes: Vec<Vec<u8>> = records.iter().map(Record::to_bytes).collect();
        let fails = (crash == Some(1)).then_some(&mut self.entropy);
        let written = self.journal.append(&bytes, fails);
        for record in records.into_iter().take(written) {
            match record {
                Record::Built(block) => {
                    self.built += 1;
                    report.built.push(*block);
                }
                Record::Restored(_) => report.restored = true,
                // the agreement and what it makes the brand say are one write
                Record::Kept(kept) if matches!(*kept, cases::Kept::Agreed(_)) => {
                    if let Some(terms) = self.agreeing.take() {
                        report.agreed.push(terms.clone());
                        let entry = PublicEntry::DisputeResolved(Box::new(terms));
                        self.application.want_public(entry);
                    }
                }
                Record::Headed(head) => self.clearing.headed(&head),
                Record::Fenced(fence) => report.fenced.push(fence),
                Record::Voted(voted) => {
                    let header = voted.pledge.block.header;
                    let kept = voted.delivery.map(|delivery| (header, delivery.fragment.clone()));
                    report.kept.extend(kept);
                }
                Record::CaughtUp(block) => {
                    let header = block.certificate.pledge.block.header;
                    report.kept.push((header, block.delivery.fragment));
                }
                _ => {}
            }
        }
        if crash == Some(1) {
            return die(self, report, "amid the records");
        }
        let messages = match crash {
            Some(2) => 0,
            Some(3) => self.entropy.below(out.messages.len() + 1),
            _ => out.messages.len(),
        };
        report.sent.extend(out.messages.into_iter().take(messages));
        match crash {
            Some(2) => return die(self, report, "before the messages"),
            Some(3) => return die(self, report, "amid the messages"),
            Some(_) => return die(self, report, "before applying"),
            None => {}
        }
        for (to, payload) in &out.rejected {
            self.application.rejected(&mut self.books, *to, payload);
        }
        for entry in &out.outdated {
            self.application.outdated(&mut self.books, entry);
            if matches!(entry, PublicEntry::DisputeResolved(_) | PublicEntry::ClosedOut(_)) {
                report.faults.push((self.brand, format!("{entry:?} cannot stand")));
            }
        }
        self.archive.hold(out.held);
        self.take_in(out.finals, out.written, report);
        self.apply(report);
    }

    /// Acts upon what others' final blocks say, when that may be done.
    fn apply(&mut self, report: &mut Report) {
        let Some(ledger) = self.ledger.as_mut().filter(|ledger| ledger.may_apply()) else { return };
        let mut logs = BTreeSet::new();
        for block in std::mem::take(&mut self.unapplied) {
            let log = block.block.log;
            let own = ledger.witness(self.brand).map(|own| own.tip().recognised(log).height);
            // what the own log has recognised was decided in a former life
            let decides = own.is_none_or(|recognised| block.block.height > recognised);
            let (me, entropy) = (self.brand, &mut self.entropy);
            let (applied, fault) =
                self.application.block(&mut self.books, (me, decides), &block, entropy);
            report.applied.extend(applied);
            report.faults.extend(fault.map(|fault| (log, fault)));
            logs.insert(log);
        }
        for log in logs {
            self.application.answer(&mut self.books, ledger, log);
        }
    }

    fn take_in(&mut self, finals: Vec<FinalBlock>, written: Vec<OwnBlock>, report: &mut Report) {
        for block in written {
            self.application.written(&mut self.books, &block);
            self.clearing.written(&block);
            let reference = block.reference();
            if let Some(same) = finals.iter().find(|same| same.block == reference) {
                self.archive.own.insert(reference.height, (block, same.certificate.clone()));
            }
        }
        for block in finals {
            let faults = self.clearing.block(&block);
            report.faults.extend(faults.into_iter().map(|fault| (block.block.log, fault)));
            if let Some(dispute) = &block.dispute {
                self.application.want_public(PublicEntry::DisputeOpened(dispute.clone()));
            }
            if block.block.log != self.brand {
                self.unapplied.push(block.clone());
            }
            report.finals.push(block);
        }
    }
}
