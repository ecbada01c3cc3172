//! The import of purchase lines: read, clean, resolve, write, tell.
//!
//! Memory is bounded by one chunk of rows. A chunk's order is: its file is on the disk; the sink has
//! made the baskets' changes durable; then one transaction lists the file, remembers the lines and
//! how far the source is done. After a crash the chunk is read again from the same row with the same
//! baskets, so that the sink sees the same changes and enters none twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;

use super::catalogue::{
    BASKET_LINES_MAX, Basket, Catalogue, CatalogueError, Chunk, Snapshot, SourceState, file_name,
    list_chunk, put_basket, put_source,
};
use super::clean::{Adjustment, Cleaning, DropReason, Dropped, Issue};
use super::columns::{FileProblem, has};
use super::facts::{self, FactsError, Row, Rows};
use super::line::{COLUMNS, Columns, Line};
use super::source::{BATCH_ROWS, Source};
use super::{BasketChange, BasketKey, Fen};
use crate::store::{Store, StoreError};
use crate::vault::{BlindIndex, CardNumber, Consenting, DataKey, MemberId, Vault, VaultError};

/// Rows of one file of facts, at most a batch more.
const CHUNK_ROWS: u64 = 8 * BATCH_ROWS as u64;
/// Cards remembered at a time.
const CARDS_MAX: usize = 100_000;
/// What a sink says when it could not make changes durable.
pub type SinkError = Box<dyn Error + Send + Sync>;

/// Why an import stopped. What was done before stays done; the same import goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file as a whole.
    #[error(transparent)]
    File(#[from] FileProblem),
    /// The vault failed.
    #[error("the vault failed during an import")]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error("the store failed during an import")]
    Store(#[from] StoreError),
    /// A record that this version did not write.
    #[error("a stored {what} cannot be read: the store is damaged or from another version")]
    Damaged {
        /// What kind.
        what: &'static str,
    },
    /// Facts could not be written.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Whoever keeps what baskets earn failed.
    #[error("what the baskets earn could not be entered")]
    Sink(#[source] SinkError),
}

impl From<CatalogueError> for ImportError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Store(error) => Self::Store(error),
            CatalogueError::Damaged { what } => Self::Damaged { what },
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows read, those of an earlier, interrupted run counted.
    pub rows_done: u64,
    /// Rows of the file.
    pub rows: u64,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Name of the file.
    pub file: String,
    /// The file was imported before, whole: nothing was done, and nothing counted twice.
    pub already_imported: bool,
    /// Rows that an earlier, interrupted run had done.
    pub resumed_after: u64,
    /// Rows read now.
    pub rows_read: u64,
    /// Of them, rows that became facts.
    pub rows_kept: u64,
    /// Of those, rows of guests.
    pub guest_rows: u64,
    /// Baskets that changed, counted once for each file of facts.
    pub baskets: u64,
    /// Sum of the rows kept, in fen.
    pub amount_fen: i64,
    /// Rows not kept, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Rows kept with a change.
    pub adjusted: BTreeMap<Adjustment, u64>,
    /// The first dropped rows, one by one.
    pub issues: Vec<Issue>,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.already_imported {
            return write!(f, "{}: imported before, nothing to do", self.file);
        }
        write!(f, "{}: {} rows read, {} kept", self.file, self.rows_read, self.rows_kept)?;
        for (reason, rows) in &self.dropped {
            write!(f, "; {rows} dropped: {reason}")?;
        }
        Ok(())
    }
}

/// The purchase facts of one brand.
pub struct Facts {
    pub(super) folder: PathBuf,
    pub(super) store: Arc<dyn Store>,
    pub(super) key: DataKey,
    // one import at a time: baskets are read, changed and written
    pub(super) importing: Mutex<()>,
    pub(super) chunk_rows: u64,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Facts {
    /// The facts in `folder`, which is made if need be, listed in `store`, under a key that the
    /// vault keeps wrapped.
    ///
    /// # Errors
    /// When the folder, the store or the key cannot be had.
    pub fn open(
        folder: PathBuf,
        store: Arc<dyn Store>,
        vault: &Vault,
    ) -> Result<Self, ImportError> {
        std::fs::create_dir_all(&folder).map_err(FactsError::from)?;
        let key = vault.file_key("facts")?;
        Ok(Self { folder, store, key, importing: Mutex::new(()), chunk_rows: CHUNK_ROWS })
    }

    /// All facts of completed imports, as they are now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn snapshot(&self) -> Result<Snapshot, ImportError> {
        Ok(Catalogue(&*self.store).snapshot(&self.folder)?)
    }

    /// How many rows the facts have, guests' included. For the brand's own staff: it tells of sales.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rows(&self) -> Result<u64, ImportError> {
        let mut rows: u64 = 0;
        Catalogue(&*self.store).each(|_, chunk| rows = rows.saturating_add(chunk.rows))?;
        Ok(rows)
    }

    /// Registers `table` in a session: the rows of a snapshot from the day `not_before` (days since
    /// 1970-01-01) on, whose members are among the consenting. Columns: `member` (text),
    /// `purchased_on` (date), `department` (text), `basket`, `quantity`, `amount_fen` (whole
    /// numbers). Guests' rows are not in it.
    ///
    /// # Errors
    /// When the consent is to another purpose than joint analytics, or a file cannot be opened.
    pub async fn register(
        &self,
        session: &SessionContext,
        table: &str,
        snapshot: &Snapshot,
        members: &Consenting,
        not_before: i32,
    ) -> Result<(), FactsError> {
        facts::register(session, table, &self.key, snapshot, members, not_before).await
    }

    /// Imports a file of purchase lines. Blocks; the same file again does nothing, an interrupted
    /// import goes on, and a file with rows of unknown members may be imported again for them.
    ///
    /// `sink` is given each chunk's changed baskets and must have made them durable when it
    /// returns. After a crash it may be given the same [`BasketChange`] (basket and part) again.
    ///
    /// # Errors
    /// When the file as a whole is not what it should be, or something beneath fails. A wrong row
    /// is no error: it is in the report, and stops no other.
    pub fn import(
        &self,
        vault: &Vault,
        source: &Source,
        cleaning: &Cleaning,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImportReport, ImportError> {
        let _importing = self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        let catalogue = Catalogue(&*self.store);
        let digest = source.digest()?;
        let mut state = catalogue.source(&digest)?.unwrap_or_default();
        let file = source.name();
        let mut report = ImportReport { file: file.clone(), ..ImportReport::default() };
        if state.passes > 0 && state.rows_done == 0 && state.unknown_members == 0 {
            report.already_imported = true;
            return Ok(report);
        }
        if state.rows_done == 0 {
            state.unknown_members = 0;
        }
        let opened = source.open(&COLUMNS.map(|(name, _)| name))?;
        for (column, accepted) in COLUMNS {
            if !has(&opened.schema, column) {
                return Err(FileProblem::MissingColumn { file, column, accepted }.into());
            }
        }
        report.resumed_after = state.rows_done;
        let mut run = Run {
            facts: self,
            vault,
            cleaning,
            digest,
            next_chunk: catalogue.next_chunk()?,
            cards: BTreeMap::new(),
            rows: Rows::default(),
            baskets: BTreeMap::new(),
            last_basket: None,
            dropped: Dropped::default(),
            unknown_told: 0,
            report,
        };
        let pass = state.passes;
        let mut position = 0;
        for batch in opened.batches {
            let batch = batch.map_err(|source| FileProblem::Damaged {
                file: file.clone(),
                after_row: position,
                source,
            })?;
            let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
            if position + rows <= state.rows_done {
                // chunks end where batches end; were they not to, lines done before are duplicates
                position += rows;
                continue;
            }
            run.batch(&file, &batch, position)?;
            position += rows;
            progress(Progress { rows_done: position, rows: opened.rows });
            if position - state.rows_done >= self.chunk_rows {
                state.rows_done = position;
                run.commit(pass, &mut state, sink)?;
            }
        }
        // the last file of a pass is listed by the transaction that completes the pass
        state.rows_done = 0;
        state.passes += 1;
        run.commit(pass, &mut state, sink)?;
        Ok(run.finish())
    }
}

/// The baskets that a store has counted, each as if it had been read at once: what they earned is in a
/// journal that may be lost, while the store came back from a backup.
///
/// # Errors
/// When the store fails or is damaged.
pub fn counted_baskets(store: &dyn Store) -> Result<Vec<BasketChange>, ImportError> {
    let mut changes = Vec::new();
    Catalogue(store).baskets(|basket, known| {
        if let (Some(member), Ok(after)) = (known.member, Fen::new(known.total_fen)) {
            let (member, part, before) = (Some(member), 0, Fen::ZERO);
            changes.push(BasketChange { member, basket, part, before, after });
        }
    })?;
    Ok(changes)
}

/// One run of an import, and the chunk it is at.
struct Run<'a> {
    facts: &'a Facts,
    vault: &'a Vault,
    cleaning: &'a Cleaning,
    digest: [u8; 32],
    next_chunk: u32,
    cards: BTreeMap<String, Option<(MemberId, i64)>>,
    rows: Rows,
    baskets: BTreeMap<BasketKey, OpenBasket>,
    last_basket: Option<(String, BasketKey)>,
    dropped: Dropped,
    /// Rows of unknown members that the source's state counts already.
    unknown_told: u64,
    report: ImportReport,
}

/// A basket of the present chunk.
struct OpenBasket {
    basket: Basket,
    before: Fen,
    after: Fen,
    changed: bool,
}

impl Run<'_> {
    fn batch(&mut self, file: &str, batch: &RecordBatch, before: u64) -> Result<(), ImportError> {
        let columns = Columns::of(file, batch)?;
        for (row, number) in (0..batch.num_rows()).zip(before + 1..) {
            self.report.rows_read += 1;
            let taken = match columns.line(row) {
                Ok(line) => self.take(&line)?,
                Err(issue) => Err(issue),
            };
            match taken {
                Ok(()) => self.report.rows_kept += 1,
                Err(issue) => self.dropped.add(number, issue),
            }
        }
        Ok(())
    }

    /// Takes a line into the chunk, or says why not.
    fn take(&mut self, line: &Line<'_>) -> Result<Result<(), Issue>, ImportError> {
        let refused = |reason| Ok(Err(Issue::row(reason)));
        if line.quantity < 0 || line.amount < Fen::ZERO {
            return refused(DropReason::Negative);
        }
        if line.quantity == 0 && line.amount == Fen::ZERO {
            return refused(DropReason::NothingSold);
        }
        let member = match &line.card {
            None => None,
            Some(card) => match self.member(card)? {
                None => return refused(DropReason::UnknownMember),
                known => known,
            },
        };
        let key = self.basket_key(line.basket);
        let open = self.open_basket(key, member.map(|(id, _)| id))?;
        if open.basket.member != member.map(|(id, _)| id) {
            return refused(DropReason::OthersBasket);
        }
        let Err(place) = open.basket.lines.binary_search(&line.number) else {
            return refused(DropReason::Duplicate);
        };
        let Ok(after) = open.after.plus(line.amount) else {
            return refused(DropReason::BasketTooLarge);
        };
        if open.basket.lines.len() >= BASKET_LINES_MAX {
            return refused(DropReason::BasketTooLarge);
        }
        open.basket.lines.insert(place, line.number);
        open.after = after;
        open.changed = true;

        let department = line.department.unwrap_or("UNKNOWN");
        let (quantity, measured) = self.cleaning.pieces(department, line.quantity);
        let adjusted = &mut self.report.adjusted;
        if measured {
            *adjusted.entry(Adjustment::Measured).or_default() += 1;
        }
        if line.department.is_none() {
            *adjusted.entry(Adjustment::NoDepartment).or_default() += 1;
        }
        self.report.guest_rows += u64::from(member.is_none());
        self.report.amount_fen = self.report.amount_fen.saturating_add(line.amount.get());
        self.rows.push(&Row {
            member: member.map(|(_, subject)| subject),
            day: line.day,
            department,
            basket: key.fact_number(),
            quantity,
            amount_fen: line.amount.get(),
        });
        Ok(Ok(()))
    }

    fn member(&mut self, card: &CardNumber) -> Result<Option<(MemberId, i64)>, ImportError> {
        if let Some(known) = self.cards.get(card.expose()) {
            return Ok(*known);
        }
        let found = match self.vault.by_card(card)? {
            Some(id) => Some((id, self.vault.subject(id)?.get())),
            None => None,
        };
        if self.cards.len() >= CARDS_MAX {
            self.cards.clear();
        }
        self.cards.insert(card.expose().to_owned(), found);
        Ok(found)
    }

    fn basket_key(&mut self, number: &str) -> BasketKey {
        match &self.last_basket {
            // lines of a basket mostly follow each other
            Some((last, key)) if last == number => *key,
            _ => {
                let hash = self.vault.blind(BlindIndex::Basket, number.as_bytes());
                let mut bytes = [0; 16];
                bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
                let key = BasketKey::from_bytes(bytes);
                self.last_basket = Some((number.to_owned(), key));
                key
            }
        }
    }

    fn open_basket(
        &mut self,
        key: BasketKey,
        member: Option<MemberId>,
    ) -> Result<&mut OpenBasket, ImportError> {
        use std::collections::btree_map::Entry;
        match self.baskets.entry(key) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let basket = Catalogue(&*self.facts.store)
                    .basket(key)?
                    .unwrap_or_else(|| Basket { member, ..Basket::default() });
                let total = Fen::new(basket.total_fen)
                    .map_err(|_| ImportError::Damaged { what: "basket" })?;
                Ok(entry.insert(OpenBasket { basket, before: total, after: total, changed: false }))
            }
        }
    }

    /// Makes the chunk durable as part of a pass, and with it how far the source is done.
    fn commit(
        &mut self,
        pass: u32,
        state: &mut SourceState,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
    ) -> Result<(), ImportError> {
        let mut writes = Vec::new();
        let rows = std::mem::take(&mut self.rows);
        if rows.len() > 0 {
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            let path = self.facts.folder.join(file_name(self.next_chunk));
            let digest = rows.write(&path, &self.facts.key)?;
            let chunk = Chunk { source: self.digest, pass, rows: count, digest };
            writes.extend(list_chunk(self.next_chunk, &chunk));
            self.next_chunk += 1;
        }
        let mut changes = Vec::new();
        for (key, open) in std::mem::take(&mut self.baskets) {
            if !open.changed {
                continue;
            }
            let OpenBasket { mut basket, before, after, .. } = open;
            let part = basket.parts;
            changes.push(BasketChange { member: basket.member, basket: key, part, before, after });
            basket.parts += 1;
            basket.total_fen = after.get();
            writes.push(put_basket(key, &basket));
        }
        if !changes.is_empty() {
            sink(&changes).map_err(ImportError::Sink)?;
        }
        self.report.baskets += u64::try_from(changes.len()).unwrap_or(u64::MAX);
        let unknown = self.dropped.count(DropReason::UnknownMember);
        state.unknown_members += unknown - std::mem::replace(&mut self.unknown_told, unknown);
        writes.push(put_source(&self.digest, state));
        Ok(self.facts.store.transaction(&writes)?)
    }

    fn finish(self) -> ImportReport {
        ImportReport { dropped: self.dropped.counts, issues: self.dropped.issues, ..self.report }
    }
}
