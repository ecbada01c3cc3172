//! The offline audit of a folder of logs: signatures, trees, rules, both legs, clearing.
//!
//! Needs the constitution and one folder a brand, and nothing else: no live node, no network, no trust
//! in any writer. Each finding names the log, the block and entry where there is one, and the rule;
//! after a finding the audit goes on wherever something sound is left to go on from. What cannot be
//! checked is counted as such, never as sound: sealed entries without a key that opens them are the
//! largest part of it.
//!
//! Memory: one block at a time, besides 72 bytes for every block and about 300 for every leaf that was
//! opened. Reads files through [`LogFolder`] and does no input or output of its own. Entries of other
//! applications (the clean room's budgets) are passed to an [`Observer`], which audits them.
//!
//! Does not do yet: epochs after the first, what was deleted after its retention, payments, notice
//! periods, the window of returns, a counterparty's silence.

mod across;
mod blocks;
mod folder;
mod report;
mod sealed;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use folder::{
    CERTIFICATE_MAX, CERTIFICATES_FILE, CHECKPOINT_FILE, CertificateReader, CertificatesError,
    LogFolder,
};
pub use report::{Counts, FINDINGS_MAX, Finding, LogHead, NotChecked, Reason, Report, Rule};

use crate::constitution::Constitution;
use crate::crypto::sealed::SealingSecret;
use crate::ids::{BrandId, Height, LeafIndex, TreeSize};
use crate::log::block::ApplicationEntry;
use crate::log::note::VerifierKey;
use crate::time::Timestamp;
use crate::witness::rules::Tip;
use across::{Across, Extent};
use blocks::{Log, LogAudit, Logs};
use folder::{Facts, check_checkpoint, has_last_bundle};
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
    /// A standing auditor of the constitution, by name; opens every log.
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
}

/// Sees the audit while it runs.
pub trait Observer {
    /// A block of `log` is done: its first `done` of `all` entries.
    fn progress(&mut self, log: BrandId, done: u64, all: u64) {
        let _ = (log, done, all);
    }
    /// A certified entry of another application, in the order of each log, log after log.
    fn application(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        let _ = (at, entry);
    }
}

/// Watches nothing.
impl Observer for () {}

/// What an audit is given besides the folders.
#[derive(Debug)]
pub struct Auditor<'a> {
    /// The alliance's constitution.
    pub constitution: &'a Constitution,
    /// Keys that open what is sealed; for each log the first that can is used.
    pub keys: &'a [OpeningKey],
    /// Witnesses outside the alliance whose cosignatures are known.
    pub outside_witnesses: &'a [VerifierKey],
}

impl Auditor<'_> {
    /// Audits all logs.
    pub fn audit<F: LogFolder>(
        &self,
        folders: &BTreeMap<BrandId, F>,
        observer: &mut impl Observer,
    ) -> Report {
        let mut recorder = Recorder::default();
        let logs = self.read_logs(folders, &mut recorder);
        let mut across = Across::default();
        for (brand, _) in self.constitution.brands() {
            if !logs.contains_key(&brand) {
                across.damaged(brand);
            }
        }
        let mut blocks = BTreeMap::new();
        for log in logs.keys() {
            let before = recorder.counts.blocks;
            let mut audit = LogAudit {
                constitution: self.constitution,
                logs: &logs,
                log: *log,
                opener: Opener::new(self.constitution, *log, self.keys),
                across: &mut across,
                recorder: &mut recorder,
                tip: Some(Tip::genesis()),
            };
            audit.run(observer);
            blocks.insert(*log, recorder.counts.blocks.saturating_sub(before));
        }
        let copied = logs.iter().map(|(log, of)| (*log, of.copied)).collect();
        across.judge(self.constitution, &Extent { blocks, copied }, &mut recorder);
        self.report(&logs, recorder)
    }

    /// Certificates and checkpoint of every log.
    fn read_logs<'f, F: LogFolder>(
        &self,
        folders: &'f BTreeMap<BrandId, F>,
        recorder: &mut Recorder,
    ) -> Logs<'f, F> {
        let mut logs = Logs::new();
        for (brand, _) in self.constitution.brands() {
            if !folders.contains_key(&brand) {
                let message = "a brand of the constitution, and no folder of its log";
                recorder.find(Place::log(brand), Rule::FolderMissing, message);
            }
        }
        for (log, folder) in folders {
            if self.constitution.brand(*log).is_none() {
                let message = "a folder of a log, and no brand of the constitution";
                recorder.find(Place::log(*log), Rule::FolderStranger, message);
                continue;
            }
            report::count(&mut recorder.counts.logs, 1);
            let facts = Facts::read(self.constitution, *log, folder, recorder);
            let outside = self.outside_witnesses;
            let named =
                check_checkpoint(self.constitution, outside, (*log, folder), &facts, recorder);
            let size = size_to_walk(folder, &facts, named.size);
            // without a checkpoint, which is a finding, nothing is excused
            let copied = named.block.unwrap_or(facts.last_height());
            logs.insert(*log, Log { folder, facts, size, copied });
        }
        logs
    }

    fn report<F: LogFolder>(&self, logs: &Logs<'_, F>, recorder: Recorder) -> Report {
        let heads = logs.iter().filter_map(|(log, of)| {
            let (height, fact) = of.facts.last()?;
            Some(LogHead { log: *log, height, header: fact.header, size: fact.size })
        });
        Report {
            alliance: self.constitution.alliance(),
            epoch: self.constitution.epoch(),
            constitution: self.constitution.hash(),
            heads: heads.collect(),
            counts: recorder.counts,
            not_checked: recorder.not_checked_list(),
            findings_not_listed: recorder.findings_not_listed,
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
