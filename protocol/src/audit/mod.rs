//! The offline audit of a folder of logs: signatures, trees, rules, both legs, clearing.
//!
//! Needs the constitution and one folder a brand, and nothing else: no live node, no network, no trust
//! in any writer. Each finding names the log, the block and entry where there is one, and the rule;
//! after a finding the audit goes on wherever something sound is left to go on from. What cannot be
//! checked is counted as such, never as sound: sealed entries without a key that opens them are the
//! largest part of it.
//!
//! In three steps, so that a caller with several cores can use them: [`Auditor::read`] checks one
//! log's certificates and checkpoint, [`Auditor::walk`] its entries against them and against the other
//! logs' headers, [`Auditor::conclude`] what only all logs together can show. The steps of different
//! logs do not depend on each other, and within a step neither do certificates, bundles and bodies,
//! which are handed to [`Cores`]; the report is the same in whatever order they are done.
//!
//! Memory: 16 MiB of blocks and one block more of each log that is walked, besides 72 bytes for every
//! block and some 300 for every return. The walk reads and hashes a file once and decodes an entry
//! once; read again are headers that another log refers to, and leaves that came back. Reads files
//! through [`LogFolder`] and does no input or output of its own. Entries of other applications (the clean
//! room's budgets) are passed to an [`Observer`], which audits them.
//!
//! Entries that a log's owner has archived after their retention are not there: their hashes are, so that the
//! tree is checked, and what they say is counted as not checked. Sealed entries whose keys were destroyed after
//! the retention are counted so too, and are no finding against who wrote them.

mod across;
mod blocks;
mod bundles;
mod content;
mod cores;
mod disclosed;
mod disputes;
mod epochs;
mod folder;
mod originals;
mod partners;
mod report;
mod resolutions;
mod sealed;
mod settlement;
mod silence;
mod tree;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

pub use cores::{Cores, OneCore};
pub use folder::{
    ARCHIVED_FILE, CERTIFICATE_MAX, CERTIFICATES_FILE, CHECKPOINT_FILE, CertificateReader,
    CertificatesError, LogFolder, WITNESSED_FILE, parse_archived,
};
pub use report::{
    Counts, DisclosedTo, FINDINGS_MAX, Finding, LogHead, NotChecked, Reason, Report, Rule,
};

use crate::crypto::sealed::SealingSecret;
use crate::epochs::Constitutions;
use crate::epochs::adoption::Stances;
use crate::ids::{BrandId, Epoch, Height, LeafIndex, TreeSize};
use crate::log::block::{ApplicationEntry, PublicEntry};
use crate::log::note::VerifierKey;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::rules::Tip;
use across::{Across, Collected};
use blocks::{Log, LogAudit, Logs, Lookup, look_up};
use disclosed::Disclosed;
use folder::{Facts, check_checkpoint, has_last_bundle};
use originals::Originals;
use report::{Place, Recorder};
use sealed::Opener;

/// A private key that opens block secrets.
#[derive(Clone, Debug)]
pub struct OpeningKey {
    /// Whose.
    pub holder: KeyHolder,
    /// The key.
    pub secret: SealingSecret,
}

/// Who holds an opening key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyHolder {
    /// An auditor of the constitution, by name; opens every log, or what it was disclosed. Has a key a
    /// month.
    Auditor(String),
    /// A brand, with its recovery key; opens that brand's log.
    Recovery(BrandId),
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// In which log.
    pub log: BrandId,
    /// In which block.
    pub height: Height,
    /// At which leaf.
    pub index: LeafIndex,
    /// The block's time.
    pub time: Timestamp,
    /// Of which epoch the constitution is that the block is under.
    pub epoch: Epoch,
}

/// Sees the audit while it runs.
pub trait Observer {
    /// A block of `log` is done: its first `done` of `all` entries.
    fn progress(&mut self, log: BrandId, done: u64, all: u64) {
        let _ = (log, done, all);
    }
    /// A certified block of `log` at this time, under the constitution of this epoch.
    fn block(&mut self, log: BrandId, epoch: Epoch, time: Timestamp) {
        let _ = (log, epoch, time);
    }
    /// A certified entry of another application, in the order of each log, log after log.
    fn application(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        let _ = (at, entry);
    }
    /// A certified entry about something that a brand keeps: an operation log's head, a certificate.
    fn kept(&mut self, at: &EntryPlace, entry: &PublicEntry) {
        let _ = (at, entry);
    }
}

/// Watches nothing.
impl Observer for () {}

/// What an audit is given besides the folders.
#[derive(Debug)]
pub struct Auditor<'a> {
    /// The alliance's constitutions.
    pub constitutions: &'a Constitutions,
    /// Keys that open what is sealed; for each log the first that can is used.
    pub keys: &'a [OpeningKey],
    /// Witnesses outside the alliance whose cosignatures are known.
    pub outside_witnesses: &'a [VerifierKey],
    /// After how long the keys that open sealed entries may be gone, if they ever are. What is so much
    /// older than the newest block of all logs and does not open any more is not checkable.
    pub payload_retention: Option<Milliseconds>,
}

/// One log's certificates and checkpoint, checked.
#[derive(Debug)]
pub struct LogRead<'f, F> {
    brand: BrandId,
    // none when the folder is of no brand
    log: Option<Log<'f, F>>,
    recorder: Recorder,
}

/// All logs' certificates and checkpoints: what every log is walked against.
#[derive(Debug)]
pub struct LogsRead<'f, F> {
    logs: Logs<'f, F>,
    recorder: Recorder,
}

impl<'f, F: LogFolder> LogsRead<'f, F> {
    /// Puts together what was read of every folder.
    #[must_use]
    pub fn new(constitutions: &Constitutions, mut read: Vec<LogRead<'f, F>>) -> Self {
        let mut recorder = Recorder::default();
        read.sort_by_key(|log| log.brand);
        for brand in constitutions.brands() {
            if read.iter().all(|log| log.brand != brand) {
                let message = "a brand of the constitution, and no folder of its log";
                recorder.find(Place::log(brand), Rule::FolderMissing, message);
            }
        }
        let mut logs = Logs::new();
        for LogRead { brand, log, recorder: of } in read {
            recorder.append(of);
            if let Some(log) = log {
                logs.insert(brand, log);
            }
        }
        Self { logs, recorder }
    }

    /// The logs that there are to walk, the longest first: the order in which several cores are done
    /// soonest.
    #[must_use]
    pub fn brands(&self) -> Vec<BrandId> {
        let mut brands: Vec<(TreeSize, BrandId)> =
            self.logs.iter().map(|(brand, log)| (log.size, *brand)).collect();
        brands.sort_by(|one, other| other.cmp(one));
        brands.into_iter().map(|(_, brand)| brand).collect()
    }

    /// How many entries all logs together have.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.logs.values().fold(0, |sum, log| sum.saturating_add(log.size.get()))
    }
}

/// One log's entries, checked.
#[derive(Debug)]
pub struct LogWalk {
    brand: BrandId,
    collected: Collected,
    recorder: Recorder,
}

impl Auditor<'_> {
    /// Audits all logs, one after another, on one core.
    pub fn audit<F: LogFolder>(
        &self,
        folders: &BTreeMap<BrandId, F>,
        observer: &mut impl Observer,
    ) -> Report {
        self.audit_on(&OneCore, folders, observer)
    }

    /// Audits all logs, one after another, each on all cores.
    pub fn audit_on<F: LogFolder>(
        &self,
        cores: &impl Cores,
        folders: &BTreeMap<BrandId, F>,
        observer: &mut impl Observer,
    ) -> Report {
        let read = folders.iter().map(|(brand, folder)| self.read(*brand, folder, cores)).collect();
        let logs = LogsRead::new(self.constitutions, read);
        let brands: Vec<BrandId> = logs.logs.keys().copied().collect();
        let walks = brands.into_iter().map(|log| self.walk(&logs, log, cores, observer)).collect();
        self.conclude(logs, walks)
    }

    /// Checks one log's certificates and checkpoint.
    pub fn read<'f, F: LogFolder>(
        &self,
        brand: BrandId,
        folder: &'f F,
        cores: &impl Cores,
    ) -> LogRead<'f, F> {
        let mut recorder = Recorder::default();
        if !self.constitutions.have(brand) {
            let message = "a folder of a log, and no brand of the constitution";
            recorder.find(Place::log(brand), Rule::FolderStranger, message);
            return LogRead { brand, log: None, recorder };
        }
        report::count(&mut recorder.counts.logs, 1);
        let facts = Facts::read(self.constitutions, brand, folder, cores, &mut recorder);
        let (all, outside) = (self.constitutions, self.outside_witnesses);
        let named = check_checkpoint(all, outside, (brand, folder), &facts, &mut recorder);
        let size = size_to_walk(folder, &facts, named.size);
        // without a checkpoint, which is a finding, nothing is excused
        let copied = named.block.unwrap_or(facts.last_height());
        let disclosed = Disclosed::read(all, (folder, &facts, size), self.keys);
        LogRead { brand, log: Some(Log { folder, facts, size, copied, disclosed }), recorder }
    }

    /// Checks one log's entries.
    pub fn walk<F: LogFolder>(
        &self,
        logs: &LogsRead<'_, F>,
        brand: BrandId,
        cores: &impl Cores,
        observer: &mut impl Observer,
    ) -> LogWalk {
        let mut walk =
            LogWalk { brand, collected: Collected::default(), recorder: Recorder::default() };
        let disclosed = logs.logs.get(&brand).map(|log| &log.disclosed);
        let mut audit = LogAudit {
            constitutions: self.constitutions,
            epoch: self.first_epoch(brand),
            stances: Stances::default(),
            logs: &logs.logs,
            log: brand,
            opener: Opener::new(self.constitutions, brand, self.keys, disclosed)
                .deleted_before(self.deleted_before(&logs.logs)),
            collected: &mut walk.collected,
            recorder: &mut walk.recorder,
            tip: Some(Tip::genesis()),
            operations: None,
            ended: None,
        };
        audit.run(cores, observer);
        walk
    }

    /// Judges what only all logs together can show, and reports.
    pub fn conclude<F: LogFolder>(&self, logs: LogsRead<'_, F>, mut walks: Vec<LogWalk>) -> Report {
        let LogsRead { logs, mut recorder } = logs;
        walks.sort_by_key(|walk| walk.brand);
        let mut across = Across::default();
        for brand in self.constitutions.brands() {
            if !walks.iter().any(|walk| walk.brand == brand) {
                across.damaged(brand);
            }
        }
        for LogWalk { brand, collected, recorder: of } in walks {
            recorder.append(of);
            across.add(brand, collected);
        }
        let originals = Originals::new(self.constitutions, &logs, self.keys);
        across.judge(originals, &mut recorder);
        self.report(&logs, recorder)
    }

    /// Of which time and before keys may be gone.
    fn deleted_before<F: LogFolder>(&self, logs: &Logs<'_, F>) -> Timestamp {
        let newest = logs.iter().filter_map(|(log, of)| {
            let (height, _) = of.facts.last()?;
            match look_up(logs, *log, height) {
                Lookup::Found(_, header) => Some(header.time.unix_ms()),
                Lookup::Beyond | Lookup::Unreadable => None,
            }
        });
        let retention = self.payload_retention.map_or(u64::MAX, Milliseconds::get);
        Timestamp::from_unix_ms(newest.max().unwrap_or(0).saturating_sub(retention))
    }

    fn first_epoch(&self, log: BrandId) -> Epoch {
        self.constitutions.first_with(log).unwrap_or(self.constitutions.first()).epoch()
    }

    fn report<F: LogFolder>(&self, logs: &Logs<'_, F>, recorder: Recorder) -> Report {
        let heads = logs.iter().filter_map(|(log, of)| {
            let (height, fact) = of.facts.last()?;
            Some(LogHead { log: *log, height, header: fact.header, size: fact.size })
        });
        Report {
            alliance: self.constitutions.first().alliance(),
            epoch: self.constitutions.newest().epoch(),
            constitution: self.constitutions.newest().hash(),
            heads: heads.collect(),
            counts: recorder.counts,
            not_checked: recorder.not_checked_list(),
            disclosures: recorder.disclosures,
            findings_not_listed: recorder.findings_not_listed,
            resolved: recorder.resolved,
            findings: recorder.findings,
        }
    }
}

/// The largest size that a certificate or the checkpoint names and the folder has the last entries of.
/// The names of partial tiles depend on it.
fn size_to_walk<F: LogFolder>(folder: &F, facts: &Facts, named: Option<TreeSize>) -> TreeSize {
    let certified = facts.last().map(|(_, fact)| fact.size);
    let there = |size: &TreeSize| has_last_bundle(folder, *size);
    let largest = certified.into_iter().chain(named).filter(there).max();
    largest.or(certified).unwrap_or_default()
}
