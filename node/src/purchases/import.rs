//! The purchase facts of a brand, and the import that adds to them.
//!
//! An import reads (a chunk of rows at a time: their file is on the disk, then one transaction lists it,
//! with the changed baskets and how far the file is done), then counts (one write), then tells what
//! changed. Before it counts nothing of it is seen; a crash at any point loses nothing and doubles nothing:
//! the same import goes on where it was, and what counts is told to its end at the next start. A long import lets small
//! ones in between its chunks: how, and what it comes to, is in [`turn`](super::turn).

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use protocol::ids::BrandId;
use ring::digest::{Context, SHA256};
use ring::rand::SystemRandom;

use super::basket::Sealer;
use super::catalogue::{
    Catalogue, CatalogueError, File, Import, Place, Snapshot, Stage, begin_import, delete_change,
    end_import, forget_import, overlook_open, put_import,
};
use super::columns::FileProblem;
use super::facts::{self, FactsError};
use super::formats::{BATCH_ROWS, Progress, Source};
use super::mapping::Mapping;
use super::netting::Refunds;
use super::orders::Memory;
use super::report::{ImportReport, Sightings};
use super::run::Run;
use super::standing::Readings;
use super::turn::{Turn, Work};
use super::{BasketChange, Fen};
use crate::store::{Overlay, SledStore, Store, StoreError, Write};
use crate::vault::{Consenting, DataKey, Purpose, Revision, Vault, VaultError};

/// Rows of one file of facts, about.
const CHUNK_ROWS: u64 = 8 * BATCH_ROWS as u64;
/// From where on an import aside numbers its files and itself: an import that works meanwhile on the store beneath takes
/// the numbers below.
const ASIDE_FILES: u32 = 1 << 24;
const ASIDE_IMPORTS: u32 = 1 << 30;
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
    /// A record could not be sealed.
    #[error("a record could not be sealed: the system's random generator failed")]
    Sealing,
    /// Facts could not be written.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Whoever keeps what baskets earn failed.
    #[error("what the baskets earn could not be entered")]
    Sink(#[source] SinkError),
    /// An import of files is not done that has changed a basket of these rows, or has read the same order: nothing of
    /// them is kept, and they can be sent again when it is done.
    #[error("an import of files that is not done has these baskets")]
    Held {
        /// What they have said of who people are, which the vault keeps all the same.
        said: Sightings,
    },
}

impl From<CatalogueError> for ImportError {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Store(error) => Self::Store(error),
            CatalogueError::Damaged { what } => Self::Damaged { what },
            CatalogueError::Sealing => Self::Sealing,
        }
    }
}

/// How much of the time an import works, so that the node has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u8);

impl Pace {
    /// Without a rest.
    pub const FULL: Self = Self(100);
    /// Beside a node that serves.
    pub const BESIDE: Self = Self(75);

    /// Rests after so much work.
    pub(super) fn rest(self, worked: Duration) {
        if self.0 < 100 {
            std::thread::sleep(worked * u32::from(100 - self.0) / u32::from(self.0.max(1)));
        }
    }
}

/// What an import goes by besides its source.
#[derive(Clone, Copy, Debug)]
pub struct ImportTerms<'a> {
    /// What the columns mean.
    pub mapping: &'a Mapping,
    /// The brands of the alliance: whom a mapping's `receivers = ["*"]` means.
    pub brands: &'a [BrandId],
    /// Today, in days since 1970-01-01: no purchase is later than tomorrow.
    pub today: i32,
    /// How fast.
    pub pace: Pace,
}

/// The purchase facts of one brand.
pub struct Facts {
    pub(super) folder: PathBuf,
    pub(super) store: Arc<dyn Store>,
    pub(super) key: DataKey,
    pub(super) random: SystemRandom,
    // whoever holds it reads, changes and writes baskets; a long import lets go of it while it gives a turn
    pub(super) importing: Mutex<Memory>,
    // of periods of standing questions
    pub(super) readings: Mutex<Readings>,
    pub(super) chunk_rows: u64,
    // the number of the next file at least
    files_from: AtomicU32,
    // how many imports are at work on the store now, one that gives a turn among them
    pub(super) under_way: Arc<AtomicU32>,
    // of facts aside: the same of the store that they show
    shown: Option<Arc<AtomicU32>>,
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
        let files_from = AtomicU32::new(above_all_files(&folder).map_err(FactsError::from)?);
        let key = vault.file_key("facts")?;
        let random = SystemRandom::new();
        Ok(Self {
            folder,
            store,
            key,
            random,
            importing: Mutex::default(),
            readings: Mutex::default(),
            chunk_rows: CHUNK_ROWS,
            files_from,
            under_way: Arc::default(),
            shown: None,
        })
    }

    /// The same with chunks of about so many rows, for tests of what comes between them.
    #[cfg(test)]
    pub(crate) fn in_chunks_of(self, rows: u64) -> Self {
        Self { chunk_rows: rows, ..self }
    }

    /// A vault and facts that show what these show, and write into `folder` alone: an import into them
    /// says what one would do, also while another works on these: what that one is about is its own, and counts as it
    /// has come to be by then.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn aside(&self, vault: &Vault, folder: &Path) -> Result<(Vault, Self), ImportError> {
        let written = SledStore::open(folder.join("store"))?;
        let store: Arc<dyn Store> = Arc::new(Overlay::new(Arc::clone(&self.store), written));
        let vault = vault.over(Arc::clone(&store));
        let mut facts = Self::open(folder.join("facts"), store, &vault)?;
        facts.shown = Some(Arc::clone(&self.under_way));
        Ok((vault, facts))
    }

    /// Whether these facts are aside of others into which something is imported now.
    fn is_beside_another(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.load(Ordering::Acquire) > 0)
    }

    /// What imports remember; whoever holds it is at work.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.importing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next file. As long as the process runs it is none that a file on the disk has had, though that
    /// was given up: a backup that is being made may have copied it, and copies a name once. What is listed under the
    /// number when the backup's store is as of then has to be that very file.
    pub(super) fn next_file(&self) -> Result<u32, CatalogueError> {
        let next = self.catalogue().next_file()?.max(self.files_from.load(Ordering::Acquire));
        Ok(if self.shown.is_some() { next.max(ASIDE_FILES) } else { next })
    }

    /// A file comes to the disk under this number, which is its own from now on.
    pub(super) fn take_number(&self, sequence: u32) {
        self.files_from.fetch_max(sequence.saturating_add(1), Ordering::AcqRel);
    }

    fn next_number(&self) -> Result<u32, CatalogueError> {
        let next = self.catalogue().next_number()?;
        Ok(if self.shown.is_some() { next.max(ASIDE_IMPORTS) } else { next })
    }

    /// Claims an idempotency key (its hash) for a request: whether it is this request's, now or since
    /// before.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claim(&self, key: &[u8], request: &[u8]) -> Result<bool, ImportError> {
        const KEYS: &str = "purchases_batch_key";
        loop {
            if let Some(known) = self.store.get(KEYS, key)? {
                return Ok(known == request);
            }
            let claim = [Write::require_absent(KEYS, key), Write::put(KEYS, key, request)];
            match self.store.transaction(&claim) {
                Err(StoreError::Conflict { .. }) => {}
                done => return Ok(done.map(|()| true)?),
            }
        }
    }

    pub(super) fn catalogue(&self) -> Catalogue<'_> {
        let sealer = Sealer { key: &self.key, random: &self.random };
        Catalogue { store: &*self.store, sealer }
    }

    /// All facts of completed imports, as they are now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn snapshot(&self) -> Result<Snapshot, ImportError> {
        Ok(self.catalogue().snapshot(&self.folder)?)
    }

    /// The same with what is known of the members now, for contracts that have the table
    /// [`MEMBERS_TABLE`](super::MEMBERS_TABLE): its hash is another one whenever a member came or was corrected.
    ///
    /// # Errors
    /// When the store fails.
    pub fn snapshot_with_members(&self) -> Result<Snapshot, ImportError> {
        let revision = Revision::of(&*self.store)?;
        Ok(self.snapshot()?.with_members(revision))
    }

    /// How many rows the facts have, guests' included. For the brand's own staff: it tells of sales.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rows(&self) -> Result<u64, ImportError> {
        let mut rows: u64 = 0;
        let catalogue = self.catalogue();
        let incomplete = catalogue.incomplete()?;
        catalogue.each_file(incomplete, |_, chunk| rows = rows.saturating_add(chunk.rows))?;
        let removed = u64::try_from(catalogue.removed(incomplete)?.len()).unwrap_or(u64::MAX);
        Ok(rows.saturating_sub(removed))
    }

    /// Registers `table` in a session: the sales of a snapshot from the day `not_before` (days since
    /// 1970-01-01) on, whose members are among the consenting. Columns: `member` (text),
    /// `purchased_on` (date), `department` (text), `basket`, `quantity`, `amount_fen` (whole
    /// numbers), `channel` (text; null for what version 0.1 imported), `receipt` (the basket within 15
    /// digits, one member's apart from each other), `coupon_fen` and `electronic_card` (whole numbers;
    /// null where the mapping did not say, as the next), `store`, `region` and `label` (text), `hour` (whole number), and of [`Refunds::Netted`] `net_fen`. Guests' rows and
    /// refunds are not in it.
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
        refunds: Refunds,
    ) -> Result<(), FactsError> {
        if members.purpose() != Purpose::JointAnalytics {
            return Err(FactsError::OtherPurpose);
        }
        facts::register(session, table, &self.key, snapshot, members, not_before, refunds).await
    }

    /// The same for exact figures, which only this brand's own staff sees: members who allow the
    /// programme.
    ///
    /// # Errors
    /// When the consent is to another purpose than the programme, or a file cannot be opened.
    pub async fn register_for_staff(
        &self,
        session: &SessionContext,
        table: &str,
        snapshot: &Snapshot,
        members: &Consenting,
        not_before: i32,
        refunds: Refunds,
    ) -> Result<(), FactsError> {
        if members.purpose() != Purpose::Programme {
            return Err(FactsError::OtherPurpose);
        }
        facts::register(session, table, &self.key, snapshot, members, not_before, refunds).await
    }

    /// Imports a file of purchase lines. Blocks; the same file again does nothing, an interrupted
    /// import goes on, and a file with rows of unknown members may be imported again for them. An
    /// unfinished import of another file is given up.
    ///
    /// `sink` is given the changed baskets once all of the file counts, and must have made them durable
    /// when it returns. After a crash it may be given the same [`BasketChange`] (basket and part) again.
    ///
    /// # Errors
    /// As of [`Self::import_in_turn`].
    pub fn import(
        &self,
        vault: &Vault,
        source: &Source,
        terms: ImportTerms<'_>,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImportReport, ImportError> {
        self.import_in_turn(vault, source, terms, Turn::Long, sink, progress)
    }

    /// The same, in this turn: a small import gives up none of files, and one that gives turns lets small ones in
    /// between its chunks.
    ///
    /// # Errors
    /// When the file as a whole is not what it should be, or something beneath fails. A wrong row
    /// is no error: it is in the report, and stops no other. A small import can be [`Held`](ImportError::Held).
    pub fn import_in_turn(
        &self,
        vault: &Vault,
        source: &Source,
        terms: ImportTerms<'_>,
        turn: Turn<'_>,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImportReport, ImportError> {
        let file = source.name();
        let mapping = terms.mapping.purchases.as_ref().ok_or_else(|| FileProblem::NotMapped {
            mapping: terms.mapping.name.clone(),
            part: "purchases",
        })?;
        let bytes = source.digest(&|| turn.pause())?;
        let digest = import_digest(&bytes, &terms.mapping.digest);
        let mut work = Work::begin(self, turn);
        let is_beside = self.is_beside_another();
        work.stand(&digest, is_beside)?;
        let place = work.place();
        // what a crash has left, and not what another import is about at this moment
        if !is_beside {
            self.settle(vault, sink, &mut work)?;
        }
        let catalogue = self.catalogue();
        let fresh = ImportReport { file: file.clone(), ..ImportReport::default() };
        let is_whole = catalogue.import(&digest)?.is_some_and(|known| known.is_whole());
        if is_whole || catalogue.is_old_import(&bytes)? {
            return Ok(ImportReport { already_imported: true, ..fresh });
        }
        let columns: Vec<&str> = mapping.columns().into_iter().map(|(name, _)| name).collect();
        let opened = source.open(&columns, mapping.text)?;
        mapping.check(&file, &opened)?;

        let gives_up = !is_beside && place == Place::Long;
        let gave_up = if gives_up { self.give_up_other(&digest, &mut work)? } else { None };
        // who had a turn meanwhile may have brought the very same rows
        let known = catalogue.import(&digest)?;
        let again = known.as_ref().filter(|known| known.was_read()).map(|_| true);
        let half = known.filter(|known| known.stage == Stage::Reading && !is_beside);
        let import = match half {
            Some(mut import) => {
                import.report.resumed_after = import.place_done;
                import
            }
            None => {
                if self.shown.is_some() {
                    self.store.transaction(&[overlook_open(place)])?;
                }
                work.afresh();
                let import = Import {
                    number: self.next_number()?,
                    stage: Stage::Reading,
                    place_done: 0,
                    changes: 0,
                    told: 0,
                    first_file: self.next_file()?,
                    report: ImportReport { gave_up, ..fresh },
                    again,
                };
                self.store.transaction(&begin_import(place, &digest, &import))?;
                import
            }
        };
        let mut run = Run::new(work, vault, mapping, &terms, digest, import)?;
        run.read(&file, opened, terms.pace, progress).map_err(|error| run.held(error))?;
        let (mut import, mut work) = run.count()?;
        self.tell(vault, (place, &digest), &mut import, sink, &mut work)?;
        Ok(import.report)
    }

    /// Brings to its end what a crash or a backup left: tells what counts and was not told, and removes what was
    /// given up, small imports that were half read, and a long one whose files are not all there. To be called at start.
    ///
    /// # Errors
    /// When the vault, the store or the sink fails.
    pub fn finish(
        &self,
        vault: &Vault,
        turn: Turn<'_>,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
    ) -> Result<(), ImportError> {
        let mut work = Work::begin(self, turn);
        self.settle(vault, sink, &mut work)
    }

    /// Settles what was left in the place of the work, and in the place of small imports before that.
    fn settle(
        &self,
        vault: &Vault,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
        work: &mut Work<'_>,
    ) -> Result<(), ImportError> {
        match self.catalogue().open(Place::Small)? {
            Some((digest, mut import)) if import.stage == Stage::Telling => {
                self.tell(vault, (Place::Small, &digest), &mut import, sink, work)?;
            }
            _ => self.end_small()?,
        }
        if work.place() == Place::Small {
            return Ok(());
        }
        match self.catalogue().open(Place::Long)? {
            Some((digest, mut import)) if import.stage == Stage::Telling => {
                self.tell(vault, (Place::Long, &digest), &mut import, sink, work)
            }
            Some((digest, import)) if import.stage == Stage::GivenUp => {
                self.undo(Place::Long, &digest, &import, Some(work))
            }
            Some((digest, import)) if self.is_torn(&import)? => {
                self.give_up(Place::Long, &digest, import, Some(work))
            }
            _ => Ok(()),
        }
    }

    /// Whether a half-done import has not all files that are listed as its: a backup brought it back that was made while
    /// it was given up, and came too late for them. It cannot go on, and begins anew.
    fn is_torn(&self, import: &Import) -> Result<bool, ImportError> {
        // the files of one that is shown aside are in another folder
        if import.stage != Stage::Reading || self.shown.is_some() {
            return Ok(false);
        }
        let files = self.catalogue().all_files()?;
        Ok(files.iter().any(|(at, chunk)| {
            let is_own = chunk.import == Some(import.number);
            is_own && !self.folder.join(chunk.file(*at).name()).exists()
        }))
    }

    /// Removes what a small import has left that did not come to count.
    ///
    /// # Errors
    /// When the store fails, or one has left something that counts: that has to be told before anything else.
    pub(super) fn end_small(&self) -> Result<(), ImportError> {
        match self.catalogue().open(Place::Small)? {
            None => Ok(()),
            Some((_, import)) if import.stage == Stage::Telling => {
                Err(ImportError::Sink("an import that came between was not told to its end".into()))
            }
            Some((digest, import)) => self.give_up(Place::Small, &digest, import, None),
        }
    }

    fn tell(
        &self,
        vault: &Vault,
        (place, digest): (Place, &[u8; 32]),
        import: &mut Import,
        sink: &mut dyn FnMut(&[BasketChange]) -> Result<(), SinkError>,
        work: &mut Work<'_>,
    ) -> Result<(), ImportError> {
        /// Records of changes told together: each time is a sync of the sink's and one of the store's.
        const TOGETHER: u32 = 64;
        while import.told < import.changes {
            let until = import.told.saturating_add(TOGETHER).min(import.changes);
            let (mut changes, mut writes) = (Vec::new(), Vec::new());
            for number in import.told..until {
                changes.extend(self.catalogue().changes(import.number, number)?);
                writes.push(delete_change(import.number, number));
            }
            // whoever was erased since earns nothing
            let erased = vault.erased_among(changes.iter().filter_map(|change| change.member))?;
            changes.retain(|change| change.member.is_none_or(|member| !erased.contains(&member)));
            sink(&changes).map_err(ImportError::Sink)?;
            import.told = until;
            writes.push(put_import(digest, import));
            self.store.transaction(&writes)?;
            if place == Place::Long && import.told < import.changes {
                // whoever comes keeps off its baskets until all of it is told
                work.give()?;
            }
        }
        import.stage = Stage::Done;
        Ok(self.store.transaction(&end_import(place, digest, import))?)
    }

    /// Gives up the long import that is half done, if it is another; gives its file's name.
    fn give_up_other(
        &self,
        digest: &[u8; 32],
        work: &mut Work<'_>,
    ) -> Result<Option<String>, ImportError> {
        let open = self.catalogue().open(Place::Long)?;
        let Some((other, import)) = open.filter(|(open, _)| open != digest) else {
            return Ok(None);
        };
        let file = import.report.file.clone();
        self.give_up(Place::Long, &other, import, Some(work))?;
        Ok(Some(file))
    }

    fn give_up(
        &self,
        place: Place,
        digest: &[u8; 32],
        mut import: Import,
        work: Option<&mut Work<'_>>,
    ) -> Result<(), ImportError> {
        import.stage = Stage::GivenUp;
        self.store.transaction(&[put_import(digest, &import)])?;
        self.undo(place, digest, &import, work)
    }

    /// Removes what an import has written that is given up. A long one has written much: others may have turns between.
    fn undo(
        &self,
        place: Place,
        digest: &[u8; 32],
        import: &Import,
        mut work: Option<&mut Work<'_>>,
    ) -> Result<(), ImportError> {
        loop {
            let mut files = Vec::new();
            let writes = self.catalogue().undo(import, &mut files)?;
            if writes.is_empty() {
                break;
            }
            self.store.transaction(&writes)?;
            for file in files {
                // listed no more: one that cannot be deleted goes with the next compaction
                let _ = std::fs::remove_file(self.folder.join(file.name()));
            }
            if let Some(work) = work.as_deref_mut() {
                work.give()?;
            }
        }
        Ok(self.store.transaction(&forget_import(place, digest, import))?)
    }

    /// The baskets that have been counted, each as if it had been read at once: what they earned is in a
    /// journal that may be lost, while the store came back from a backup.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn counted_baskets(&self) -> Result<Vec<BasketChange>, ImportError> {
        let mut changes = Vec::new();
        self.catalogue().each_basket(|basket, known| {
            if let (Some(member), Ok(after)) = (known.member, known.counted()) {
                changes.push(BasketChange {
                    member: Some(member),
                    basket,
                    part: 0,
                    before: Fen::ZERO,
                    after,
                    refund: None,
                    day: known.day,
                    channel: known.channel,
                    departments: known.departments,
                    hour: known.hour,
                });
            }
        })?;
        Ok(changes)
    }
}

/// A number above those of all files in a folder, listed or not.
fn above_all_files(folder: &Path) -> std::io::Result<u32> {
    let mut above = 0;
    for entry in std::fs::read_dir(folder)? {
        let number = entry?.file_name().to_str().and_then(File::number_in);
        above = number.map_or(above, |number| above.max(number.saturating_add(1)));
    }
    Ok(above)
}

/// The same file under another mapping is another import; its rows are recognised one by one.
pub(super) fn import_digest(source: &[u8; 32], mapping: &[u8; 32]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"coalition import v1");
    context.update(source);
    context.update(mapping);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
