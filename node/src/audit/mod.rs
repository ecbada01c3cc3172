//! Audits of published logs: the ledger's verifier and the privacy budget's over the same walk.
//!
//! Reads what it is given and nothing else: `coalition audit` gives it folders, the node's own audit the copies it has
//! made. Knows no command line, no network and nothing of a running node.

mod budget;
mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;

use alliance_config::Constitution;
use protocol::audit::{
    Auditor, Cores, EntryPlace, LogFolder, LogsRead, Observer, OpeningKey, Report,
};
use protocol::epochs::{Constitutions, SuccessionError};
use protocol::ids::{BrandId, ConstitutionHash, Epoch};
use protocol::log::block::{ApplicationEntry, PublicEntry};
use protocol::log::kept::OperationLogHead;
use protocol::log::note::VerifierKey;
use protocol::time::{Milliseconds, Timestamp};
use serde::Serialize;

use crate::cleanroom::evidence::{self, EvidenceError};

pub use budget::{BudgetEntries, BudgetReport, Openings};
pub use folder::{ArchivedLog, Directory};

/// Why logs could not be audited. A finding is none.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Nothing to audit by.
    #[error("there is no constitution to audit by")]
    NoConstitution,
    /// One that does not follow the one before it.
    #[error("the constitution {hash}: {reason}")]
    Succession {
        /// Which.
        hash: ConstitutionHash,
        /// Why not.
        reason: Box<SuccessionError>,
    },
    /// An opening that a node has kept.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Watches one log's walk.
struct Watch<'a, T> {
    told: &'a T,
    // entries of all logs
    all: u64,
    done: u64,
    budget: BudgetEntries,
    operations: Vec<OperationLogHead>,
}

impl<T: Fn(BrandId, u64, u64)> Observer for Watch<'_, T> {
    fn progress(&mut self, log: BrandId, done: u64, _all: u64) {
        (self.told)(log, done.saturating_sub(self.done), self.all);
        self.done = done;
    }
    fn block(&mut self, _: BrandId, epoch: Epoch, time: Timestamp) {
        self.budget.block(epoch, time);
    }
    fn application(&mut self, at: &EntryPlace, entry: &ApplicationEntry) {
        self.budget.take(at, entry);
    }
    fn kept(&mut self, _: &EntryPlace, entry: &PublicEntry) {
        if let PublicEntry::OperationLogHead(head) = entry {
            self.operations.push(*head);
        }
    }
}

/// Both halves of an audit.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// The logs: signatures, trees, rules, both legs, clearing.
    #[serde(flatten)]
    pub ledger: Report,
    /// The privacy budget; none when the constitution has no clean room.
    pub budget: Option<BudgetReport>,
    /// What each log says of its brand's operation log, in order.
    #[serde(skip)]
    pub operations: BTreeMap<BrandId, Vec<OperationLogHead>>,
}

impl AuditReport {
    /// How many findings there are, listed or not.
    #[must_use]
    pub fn findings(&self) -> u64 {
        let budget = self.budget.as_ref().map_or(0, |budget| budget.findings.len());
        (self.ledger.findings.len() + budget) as u64 + self.ledger.findings_not_listed
    }
    /// Whether nothing was found. Says nothing of what could not be checked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings() == 0
    }
}

/// What logs are audited by, wherever they are.
pub struct Audited<'a> {
    /// The constitutions that a log was under, from the first on.
    pub documents: &'a [Constitution],
    /// Keys that open what is sealed.
    pub keys: &'a [OpeningKey],
    /// Witnesses outside the alliance whose cosignatures are checked too.
    pub outside_witnesses: &'a [VerifierKey],
    /// Folders of openings that nodes have kept.
    pub openings: &'a [PathBuf],
    /// Whether files of them that do not read are counted; otherwise there is no audit.
    pub passes_damaged_openings: bool,
}

impl Audited<'_> {
    /// Audits the logs that `folder` has. `told` hears of a log, how many more of its entries are done, and how many
    /// all logs have.
    ///
    /// # Errors
    /// When the constitutions do not follow each other, or an opening does not read; a finding is no error.
    pub fn audit<F: LogFolder>(
        &self,
        folder: impl Fn(BrandId) -> Option<F>,
        cores: &impl Cores,
        told: &(impl Fn(BrandId, u64, u64) + Sync),
    ) -> Result<AuditReport, AuditError> {
        let (first, later) = self.documents.split_first().ok_or(AuditError::NoConstitution)?;
        let mut constitutions = Constitutions::from(first.ledger().clone());
        let mut retention_months = first.payload_retention_months();
        for next in later {
            let follows = constitutions.follow(next.ledger().clone());
            follows.map_err(|reason| {
                let (hash, reason) = (next.hash(), Box::new(reason));
                AuditError::Succession { hash, reason }
            })?;
            retention_months = retention_months.min(next.payload_retention_months());
        }
        // no key is destroyed sooner than after so many of the shortest months
        let retention = u64::from(retention_months) * 28 * 24 * 60 * 60;
        let auditor = Auditor {
            constitutions: &constitutions,
            keys: self.keys,
            outside_witnesses: self.outside_witnesses,
            payload_retention: Some(Milliseconds::from_seconds(retention)),
        };
        let brands = constitutions.brands().into_iter();
        let folders: Vec<(BrandId, F)> =
            brands.filter_map(|brand| Some((brand, folder(brand)?))).collect();
        let read = cores.each(&folders, |(brand, folder)| auditor.read(*brand, folder, cores));
        let logs = LogsRead::new(auditor.constitutions, read);
        let all = logs.entries();
        let brands = logs.brands();
        let walked = cores.each(&brands, |brand| {
            let (budget, operations) = (BudgetEntries::default(), Vec::new());
            let mut watch = Watch { told, all, done: 0, budget, operations };
            let walk = auditor.walk(&logs, *brand, cores, &mut watch);
            (*brand, walk, watch.budget, watch.operations)
        });
        let mut walks = Vec::new();
        let (mut budgets, mut operations) = (BTreeMap::new(), BTreeMap::new());
        for (brand, walk, budget, heads) in walked {
            walks.push(walk);
            budgets.insert(brand, budget);
            operations.insert(brand, heads);
        }
        let ledger = auditor.conclude(logs, walks);
        let openings = self.read_openings()?;
        let budget = BudgetEntries::gathered(budgets).report(self.documents, &openings);
        Ok(AuditReport { ledger, budget, operations })
    }

    fn read_openings(&self) -> Result<Openings, EvidenceError> {
        let mut openings = Openings::default();
        for folder in self.openings {
            let unreadable = match self.passes_damaged_openings {
                true => evidence::read_sound(folder, &mut openings.kept)?,
                false => evidence::read(folder, &mut openings.kept).map(|_| 0)?,
            };
            openings.unreadable = openings.unreadable.saturating_add(unreadable);
        }
        Ok(openings)
    }
}

#[cfg(test)]
mod tests {
    use protocol::audit::OneCore;

    use super::*;

    const CONSTITUTION: &[u8] =
        include_bytes!("../../../alliance-config/formats/v0/constitution.toml");

    #[test]
    fn damaged_openings_are_counted_over_all_folders_or_end_the_audit() {
        let folder = tempfile::tempdir().unwrap();
        let openings = ["a", "b"].map(|name| folder.path().join(name));
        for (folder, damaged) in openings.iter().zip([2, 1]) {
            std::fs::create_dir(folder).unwrap();
            for number in 0..damaged {
                std::fs::write(folder.join(format!("{number}.opening")), b"\x83").unwrap();
            }
        }
        let documents = [Constitution::parse(CONSTITUTION).unwrap()];
        let audited = |passes_damaged_openings| {
            let audited = Audited {
                documents: &documents,
                keys: &[],
                outside_witnesses: &[],
                openings: &openings,
                passes_damaged_openings,
            };
            let none = |_: BrandId| None::<Directory>;
            audited.audit(none, &OneCore, &|_: BrandId, _: u64, _: u64| {})
        };
        let report = audited(true).unwrap();
        assert_eq!(report.budget.as_ref().map(|budget| budget.openings_unreadable), Some(3));
        let report = serde_json::to_value(&report).unwrap();
        assert_eq!(report["budget"]["openings_unreadable"], 3);
        assert!(matches!(audited(false), Err(AuditError::Evidence(_))));
    }
}
