//! Compaction after erasure: files of facts written anew without the rows of members who are gone.
//!
//! Out of every answer those rows are at the erasure itself, since no consenting member has their
//! number. Here they leave the disk: a file with such rows is written again without them, listed in
//! place of the former one in one transaction, and the former is deleted a day later, when no question
//! reads it any more. A file never changes once it is listed. Reads every file that is listed, bounded
//! by one file's rows in memory; waits for no import, and is not done during one.

use std::collections::BTreeSet;

use protocol::time::{Milliseconds, Timestamp};

use super::BasketKey;
use super::catalogue::{
    Catalogue, Chunk, delete_basket, file_name, forget_retired, replace_chunk, retired,
};
use super::facts::{FactColumns, PurchaseLine, Rows, read};
use super::import::{Facts, ImportError};
use crate::vault::{FactsSubject, Vault, VaultError};

/// How long a former file stays for questions that began before.
const READ_FOR: Milliseconds = Milliseconds::from_seconds(24 * 3600);
/// Erased members dealt with at a time.
const ERASED_MAX: usize = 100_000;
/// Baskets forgotten in one transaction.
const BASKETS: usize = 1_024;

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
    /// Removes the rows and baskets of erased members, and former files that nobody reads any more.
    /// Blocks; may be interrupted and begun again.
    ///
    /// # Errors
    /// When the vault, the store or a file fails; what was done stays done.
    pub fn compact(&self, vault: &Vault, at: Timestamp) -> Result<Compacted, ImportError> {
        let Ok(_importing) = self.importing.try_lock() else {
            return Ok(Compacted { busy: true, ..Compacted::default() });
        };
        let mut done = Compacted { deleted: self.delete_former(at)?, ..Compacted::default() };
        let erased = vault.erased_subjects(None, ERASED_MAX)?;
        if erased.is_empty() {
            return Ok(done);
        }
        let gone: BTreeSet<i64> = erased.iter().map(|(subject, _)| subject.get()).collect();
        let catalogue = Catalogue(&*self.store);
        for (sequence, chunk) in catalogue.all()? {
            let removed = self.rewrite(&catalogue, (sequence, &chunk), &gone, at)?;
            done.files += u64::from(removed > 0);
            done.rows += removed;
        }
        self.forget_baskets(vault)?;
        let subjects: Vec<FactsSubject> = erased.into_iter().map(|(subject, _)| subject).collect();
        vault.forget_erased(&subjects)?;
        done.members = subjects.len() as u64;
        Ok(done)
    }

    /// Writes a file anew without the rows of those who are gone; says how many there were.
    fn rewrite(
        &self,
        catalogue: &Catalogue<'_>,
        (sequence, chunk): (u32, &Chunk),
        gone: &BTreeSet<i64>,
        at: Timestamp,
    ) -> Result<u64, ImportError> {
        let (mut kept, mut removed) = (Rows::default(), 0);
        for batch in read(&self.folder.join(file_name(sequence)), &self.key)? {
            let batch = batch.map_err(|_| ImportError::Damaged { what: "file of facts" })?;
            let columns =
                FactColumns::of(&batch).ok_or(ImportError::Damaged { what: "file of facts" })?;
            for row in (0..batch.num_rows()).map(|at| columns.row(at)) {
                if row.member.is_some_and(|member| gone.contains(&member)) {
                    removed += 1;
                } else {
                    kept.push(&row);
                }
            }
        }
        if removed == 0 {
            return Ok(0);
        }
        let fresh = match kept.len() {
            0 => None,
            rows => {
                let number = catalogue.next_chunk()?;
                let digest = kept.write(&self.folder.join(file_name(number)), &self.key)?;
                let rows = u64::try_from(rows).unwrap_or(u64::MAX);
                Some((number, Chunk { rows, digest, ..chunk.clone() }))
            }
        };
        let fresh = fresh.as_ref().map(|(number, chunk)| (*number, chunk));
        self.store.transaction(&replace_chunk((sequence, chunk), fresh, at))?;
        Ok(removed)
    }

    /// Forgets the baskets of members who are gone.
    fn forget_baskets(&self, vault: &Vault) -> Result<(), ImportError> {
        let mut gone: Vec<BasketKey> = Vec::new();
        let mut failed: Option<VaultError> = None;
        Catalogue(&*self.store).baskets(|key, basket| {
            let Some(member) = basket.member else { return };
            match vault.erased_at(member) {
                Ok(Some(_)) => gone.push(key),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        for keys in gone.chunks(BASKETS) {
            let writes: Vec<_> = keys.iter().map(|key| delete_basket(*key)).collect();
            self.store.transaction(&writes)?;
        }
        Ok(())
    }

    fn delete_former(&self, at: Timestamp) -> Result<u64, ImportError> {
        let mut deleted = 0;
        for (sequence, since) in retired(&*self.store)? {
            if at.since(since) < READ_FOR {
                continue;
            }
            match std::fs::remove_file(self.folder.join(file_name(sequence))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(super::FactsError::from(error).into());
                }
                _ => {}
            }
            self.store.transaction(&[forget_retired(sequence)])?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Every purchase line of a member, who is in facts under these numbers. Reads all files that
    /// count: for a member's own export. Blocks.
    ///
    /// # Errors
    /// When the store or a file fails.
    pub fn lines_of(&self, subjects: &[FactsSubject]) -> Result<Vec<PurchaseLine>, ImportError> {
        let wanted: BTreeSet<i64> = subjects.iter().map(|subject| subject.get()).collect();
        let mut files = Vec::new();
        Catalogue(&*self.store).each(|sequence, _| files.push(sequence))?;
        let mut lines = Vec::new();
        for sequence in files {
            for batch in read(&self.folder.join(file_name(sequence)), &self.key)? {
                let batch = batch.map_err(|_| ImportError::Damaged { what: "file of facts" })?;
                let columns = FactColumns::of(&batch)
                    .ok_or(ImportError::Damaged { what: "file of facts" })?;
                for row in (0..batch.num_rows()).map(|at| columns.row(at)) {
                    if row.member.is_some_and(|member| wanted.contains(&member)) {
                        lines.push(PurchaseLine {
                            day: row.day,
                            department: row.department.to_owned(),
                            basket: row.basket,
                            quantity: row.quantity,
                            amount_fen: row.amount_fen,
                        });
                    }
                }
            }
        }
        lines.sort_by_key(|line| (line.day, line.basket));
        Ok(lines)
    }
}
