//! Compaction after erasure: files of facts written anew without the rows of members who are gone.
//!
//! Out of every answer those rows are at the erasure itself, since no consenting member has their
//! number. Here they leave the disk: a file with such rows is written again without them, listed as the
//! next version of the former in one transaction, and the former is deleted a day later, when no question
//! reads it any more.
//!
//! What imports go by stays as it was: a file keeps its number and a fact its own, since baskets name their
//! lines' facts; a file of an import that is half done stays that import's; a removed row that a
//! correction had replaced is counted as replaced no more. Imports and compaction take turns, and none of those that a
//! long import gives is a compaction's; between the runs of an import that was interrupted there may be any number of
//! compactions, and a backup beside finds every file that its copy of the store lists. Memory is bounded by one
//! file's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use protocol::time::{Milliseconds, Timestamp};

use super::catalogue::{Chunk, delete_basket, delete_removed, forget_retired, replace_chunk};
use super::facts::{FactColumns, PurchaseLine, Row, Rows, read};
use super::import::{Facts, ImportError};
use crate::store::Write;
use crate::vault::{FactsSubject, Vault};

/// How long a former file stays for questions that began before.
const READ_FOR: Milliseconds = Milliseconds::from_seconds(24 * 3600);
/// Erased members dealt with at a time.
const ERASED_MAX: usize = 100_000;

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Erased members of whom nothing is left.
    pub members: u64,
    /// Files written anew.
    pub files: u64,
    /// Rows removed.
    pub rows: u64,
    /// Former files deleted.
    pub deleted: u64,
    /// An import is under way: nothing was done, come again.
    pub busy: bool,
}

impl Facts {
    /// Removes the rows and baskets of erased members, and files that nobody reads any more or that never were listed.
    /// Blocks; may be interrupted and begun again.
    ///
    /// # Errors
    /// When the vault, the store or a file fails; what was done stays done.
    pub fn compact(&self, vault: &Vault, at: Timestamp) -> Result<Compacted, ImportError> {
        let Ok(_importing) = self.importing.try_lock() else {
            return Ok(Compacted { busy: true, ..Compacted::default() });
        };
        // one that gives a turn is at work all the same
        if self.under_way.load(Ordering::Acquire) > 0 {
            return Ok(Compacted { busy: true, ..Compacted::default() });
        }
        let mut done = Compacted { deleted: self.delete_former(at)?, ..Compacted::default() };
        self.delete_unlisted()?;
        let erased = vault.erased_subjects(None, ERASED_MAX)?;
        if erased.is_empty() {
            return Ok(done);
        }
        let gone: BTreeSet<i64> = erased.iter().map(|(subject, _)| subject.get()).collect();
        let replaced = self.catalogue().all_removed()?;
        for (sequence, chunk) in self.catalogue().all_files()? {
            let removed = self.rewrite((sequence, &chunk), &gone, &replaced, at)?;
            done.files += u64::from(removed > 0);
            done.rows += removed;
        }
        self.forget_baskets(vault)?;
        self.forget_spent(&gone)?;
        // last: as long as they are listed, all of it is done again
        let subjects: Vec<FactsSubject> = erased.into_iter().map(|(subject, _)| subject).collect();
        vault.forget_erased(&subjects)?;
        done.members = subjects.len() as u64;
        Ok(done)
    }

    /// Writes a file anew without the rows of those who are gone; says how many there were.
    fn rewrite(
        &self,
        (sequence, chunk): (u32, &Chunk),
        gone: &BTreeSet<i64>,
        replaced: &BTreeMap<i64, u32>,
        at: Timestamp,
    ) -> Result<u64, ImportError> {
        let (mut kept, mut removed, mut forgotten) = (Rows::default(), 0, Vec::new());
        self.each_row((sequence, chunk), |row| {
            if !row.member.is_some_and(|member| gone.contains(&member)) {
                return kept.push(row);
            }
            removed += 1;
            let import = row.fact.and_then(|fact| Some((*replaced.get(&fact)?, fact)));
            forgotten.extend(import.map(|(import, fact)| delete_removed(import, fact)));
        })?;
        if removed == 0 {
            return Ok(0);
        }
        let version = Some(chunk.version.map_or(1, |version| version + 1));
        let fresh = Chunk { version, rows: kept.len() as u64, ..chunk.clone() };
        let digest = kept.write(&self.folder.join(fresh.file(sequence).name()), &self.key)?;
        let fresh = Chunk { digest, ..fresh };
        let mut writes = replace_chunk(sequence, (chunk, &fresh), at).to_vec();
        writes.append(&mut forgotten);
        self.store.transaction(&writes)?;
        Ok(removed)
    }

    /// Forgets the baskets of members who are gone.
    fn forget_baskets(&self, vault: &Vault) -> Result<(), ImportError> {
        self.catalogue().each_owner(|owners| {
            let erased = vault.erased_among(owners.iter().map(|(_, member)| *member))?;
            let gone = owners.iter().filter(|(_, member)| erased.contains(member));
            let writes: Vec<Write> = gone.flat_map(|(key, _)| delete_basket(*key)).collect();
            if writes.is_empty() { Ok(()) } else { Ok(self.store.transaction(&writes)?) }
        })
    }

    fn delete_former(&self, at: Timestamp) -> Result<u64, ImportError> {
        let mut deleted = 0;
        for (file, since) in self.catalogue().retired()? {
            if at.since(since) < READ_FOR {
                continue;
            }
            let listed = self.catalogue().chunk(file.sequence)?;
            if listed.is_some_and(|chunk| chunk.file(file.sequence) == file) {
                return Err(ImportError::Damaged { what: "list of former files" });
            }
            match std::fs::remove_file(self.folder.join(file.name())) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(super::FactsError::from(error).into());
                }
                _ => {}
            }
            self.store.transaction(&[forget_retired(file)])?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Deletes what a crash left between the writing of a file and its listing, whose number no other file takes: no
    /// import of these facts is under way, so that nobody will list it.
    fn delete_unlisted(&self) -> Result<(), ImportError> {
        let catalogue = self.catalogue();
        let mut known: BTreeSet<String> = BTreeSet::new();
        known.extend(catalogue.all_files()?.iter().map(|(at, chunk)| chunk.file(*at).name()));
        known.extend(catalogue.retired()?.iter().map(|(file, _)| file.name()));
        let disk = super::FactsError::from;
        for entry in std::fs::read_dir(&self.folder).map_err(disk)? {
            let entry = entry.map_err(disk)?;
            let name = entry.file_name();
            let unlisted = name.to_str().is_some_and(|name| !known.contains(name));
            if unlisted && entry.file_type().map_err(disk)?.is_file() {
                std::fs::remove_file(entry.path()).map_err(disk)?;
            }
        }
        Ok(())
    }

    /// Every purchase line of a member, who is in facts under these numbers; what was corrected, as it
    /// was corrected. Reads all files that count: for a member's own export. Blocks.
    ///
    /// # Errors
    /// When the store or a file fails.
    pub fn lines_of(&self, subjects: &[FactsSubject]) -> Result<Vec<PurchaseLine>, ImportError> {
        let wanted: BTreeSet<i64> = subjects.iter().map(|subject| subject.get()).collect();
        let (mut files, mut lines) = (Vec::new(), Vec::new());
        let catalogue = self.catalogue();
        let incomplete = catalogue.incomplete()?;
        let replaced = catalogue.removed(incomplete)?;
        catalogue.each_file(incomplete, |at, chunk| files.push((at, chunk.clone())))?;
        for (sequence, chunk) in &files {
            self.each_row((*sequence, chunk), |row| {
                let theirs = row.member.is_some_and(|member| wanted.contains(&member));
                if theirs && !row.fact.is_some_and(|fact| replaced.contains(&fact)) {
                    lines.push(PurchaseLine {
                        day: row.day,
                        department: row.department.to_owned(),
                        basket: row.basket,
                        quantity: row.quantity,
                        amount_fen: row.amount_fen,
                        channel: row.channel.map(str::to_owned),
                        coupon_fen: row.coupon_fen,
                        electronic_card: row.electronic_card,
                        store: row.details.store.map(str::to_owned),
                        region: row.details.region.map(str::to_owned),
                        label: row.details.label.map(str::to_owned),
                        hour: row.hour,
                    });
                }
            })?;
        }
        lines.sort_by_key(|line| (line.day, line.basket));
        Ok(lines)
    }

    fn each_row(
        &self,
        (sequence, chunk): (u32, &Chunk),
        mut visit: impl FnMut(&Row<'_>),
    ) -> Result<(), ImportError> {
        let damaged = || ImportError::Damaged { what: "file of facts" };
        for batch in read(&self.folder.join(chunk.file(sequence).name()), &self.key)? {
            let batch = batch.map_err(|_| damaged())?;
            let columns = FactColumns::of(&batch).ok_or_else(damaged)?;
            (0..batch.num_rows()).for_each(|at| visit(&columns.row(at)));
        }
        Ok(())
    }
}
