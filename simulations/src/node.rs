//! One machine: the node's ledger, its disk, its application, and where it may crash.
//!
//! The order is the real node's: handle, persist, send, apply. A crash before the records are on disk
//! loses both records and messages; amid them, the disk keeps some prefix, the last record torn; after
//! them, the messages are lost and the records stay.

use std::collections::BTreeMap;

use protocol::constitution::Constitution;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex};
use protocol::ledger::{Archive, Context, Ledger};
use protocol::log::fragments::Fragment;
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::guards::{Guards, Upheld};
use protocol::witness::message::Message;
use protocol::witness::record::Record;
use protocol::witness::standing::Standing;
use protocol::witness::state::{FinalBlock, Outbox};
use protocol::witness::statement::{Certificate, UnverifiedCertificate};

use crate::alliance::Alliance;
use crate::application::{Application, Books};
use crate::disk::Disk;
use crate::prng::Prng;

/// At every such restart the journal becomes a snapshot.
const SNAPSHOT_EVERY: usize = 2;

/// The brand's own final blocks, as they would be read from its tiles.
#[derive(Clone, Debug, Default)]
struct OwnArchive(BTreeMap<Height, (OwnBlock, Certificate)>);

impl Archive for OwnArchive {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.0.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
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
}

impl Habit {
    /// Those that break something.
    pub const BAD: [Self; 6] = [
        Self::SendsFirst,
        Self::ForgetsJoined,
        Self::ForgetsVoted,
        Self::ForgetsLocked,
        Self::ForgetsBuilt,
        Self::ForgetsProposed,
    ];

    const fn forgets(self, record: &Record) -> bool {
        match self {
            Self::Sound | Self::SendsFirst => false,
            Self::ForgetsJoined => matches!(record, Record::Joined(_)),
            Self::ForgetsVoted => matches!(record, Record::Voted(_)),
            Self::ForgetsLocked => matches!(record, Record::Locked(_)),
            Self::ForgetsBuilt => matches!(record, Record::Built(_)),
            Self::ForgetsProposed => matches!(record, Record::Proposed(_)),
        }
    }
}

/// One machine.
pub struct Node<G = Upheld> {
    brand: BrandId,
    constitution: Constitution,
    ledger: Option<Ledger<G>>,
    journal: Disk,
    // what the journal stands for that a snapshot has taken the place of
    base: (OwnArchive, Books),
    restarts: usize,
    archive: OwnArchive,
    application: Application,
    books: Books,
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
        constitution: Constitution,
        entropy: Prng,
        skew_ms: i64,
        crashes: usize,
    ) -> Self {
        Self {
            brand,
            constitution,
            ledger: None,
            journal: Disk::default(),
            base: Default::default(),
            restarts: 0,
            archive: OwnArchive::default(),
            application: Application::default(),
            books: Books::default(),
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
    /// Records on disk.
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

    /// The power fails.
    pub fn crash(&mut self) {
        self.ledger = None;
        self.archive = OwnArchive::default();
        self.books = Books::default();
    }

    /// A liar denies that it ever started: its next start is of the first incarnation again.
    pub fn deny_starts(&mut self) {
        let records = std::mem::take(&mut self.journal).read();
        for bytes in records {
            match Record::from_bytes(&bytes) {
                Ok(Record::Started(_)) => {}
                Ok(Record::NodeState(mut state)) => {
                    state.standing = Standing::default();
                    self.journal.append(&Record::NodeState(state).to_bytes());
                }
                _ => self.journal.append(&bytes),
            }
        }
        self.journal.sync();
    }

    /// The power fails and the disk with it: what a liar can always claim.
    pub fn forget(&mut self) {
        self.crash();
        self.journal = Disk::default();
        self.base = Default::default();
        self.application = Application::default();
    }

    /// Starts with what is on disk.
    ///
    /// # Errors
    /// When the disk cannot be read back: nothing a node writes may ever have that effect.
    pub fn restart(
        &mut self,
        alliance: &Alliance,
        now_ms: u64,
        report: &mut Report,
    ) -> Result<(), String> {
        let keys = alliance.keys(self.brand);
        let mut ledger = Ledger::with_guards(self.brand, self.constitution.clone(), keys);
        (self.archive, self.books) = self.base.clone();
        for (number, bytes) in self.journal.read().iter().enumerate() {
            let mut out = Outbox::default();
            let record = Record::from_bytes(bytes).map_err(|error| error.to_string())?;
            ledger
                .replay(&record, &mut out)
                .map_err(|error| format!("record {number} cannot be replayed: {error}"))?;
            self.take_in(out.finals, out.written, report);
        }
        self.restarts += 1;
        if self.restarts.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshot(&ledger);
        }
        if let Some(open) = ledger.writer().open_block() {
            self.books.note(open);
        }
        let logs: Vec<BrandId> = ledger.witnesses().map(|(log, _)| log).collect();
        for log in logs.into_iter().filter(|log| *log != self.brand) {
            self.application.answer(&mut self.books, &mut ledger, log);
        }
        self.ledger = Some(ledger);
        self.step(now_ms, report, |ledger, context, out| ledger.resume(context, out));
        Ok(())
    }

    /// In the place of all records there are those that they come to, as a node compacts its journal. The
    /// next restart goes by them.
    fn snapshot(&mut self, ledger: &Ledger<G>) {
        let records = ledger.snapshot();
        if records.iter().any(|record| self.habit.forgets(record)) {
            return;
        }
        self.journal = Disk::default();
        records.iter().for_each(|record| self.journal.append(&record.to_bytes()));
        self.journal.sync();
        self.base = (self.archive.clone(), self.books.clone());
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
        // what was submitted meanwhile, and what the step itself gave reason to say
        let Some(ledger) = &mut self.ledger else { return };
        report.refused += self.application.submit(&mut self.books, ledger);
        let mut out = Outbox::default();
        let mut context = Context { now, entropy: &mut self.entropy, archive: &self.archive };
        ledger.poll(&mut context, &mut out);
        self.settle(out, report);
    }

    fn settle(&mut self, out: Outbox, report: &mut Report) {
        let crash = self.entropy.per_mille(self.crashes).then(|| self.entropy.below(5));
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
        let before = self.journal.len();
        let records: Vec<Record> =
            out.records.into_iter().filter(|record| !self.habit.forgets(record)).collect();
        records.iter().for_each(|record| self.journal.append(&record.to_bytes()));
        if crash == Some(1) {
            self.journal.lose_power(&mut self.entropy);
        } else {
            self.journal.sync();
        }
        for record in records.into_iter().take(self.journal.len() - before) {
            match record {
                Record::Built(block) => report.built.push(*block),
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
        let logs: Vec<BrandId> = out.finals.iter().map(|block| block.block.log).collect();
        self.take_in(out.finals, out.written, report);
        if let Some(ledger) = &mut self.ledger {
            for log in logs.into_iter().filter(|log| *log != self.brand) {
                self.application.answer(&mut self.books, ledger, log);
            }
        }
    }

    fn take_in(&mut self, finals: Vec<FinalBlock>, written: Vec<OwnBlock>, report: &mut Report) {
        for block in written {
            self.application.written(&mut self.books, &block);
            let reference = block.reference();
            if let Some(same) = finals.iter().find(|same| same.block == reference) {
                self.archive.0.insert(reference.height, (block, same.certificate.clone()));
            }
        }
        for block in finals {
            if block.block.log != self.brand {
                let me = self.brand;
                match self.application.block(&mut self.books, me, &block, &mut self.entropy) {
                    Ok(applied) => report.applied.extend(applied),
                    Err(fault) => report.faults.push((block.block.log, fault)),
                }
            }
            report.finals.push(block);
        }
    }
}
