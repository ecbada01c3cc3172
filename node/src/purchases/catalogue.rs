//! The catalogue: imports, the files of facts they wrote, and which of them count.
//!
//! An import has a number. Its files, changed baskets and removed facts bear it, and count once its
//! record says that it is complete: one write makes all of it visible. At most two imports are not
//! complete, each in a place of its own: a long one, and a small one that comes between two of its chunks ([`Place`]).
//! A file never changes once it is listed: compaction lists its next version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;
use ring::digest::{Context, SHA256};

use super::basket::{BASKETS, Basket, OLD_BASKETS, OldBasket, Sealer, StoredBasket};
use super::campaigns::CampaignMembers;
use super::import::ImportError;
use super::report::ImportReport;
use super::{BasketChange, BasketKey};
use crate::store::{Keyspace, Store, StoreError, VALUE_MAX, Write};
use crate::vault::{MemberId, Revision};

const CHUNKS: Keyspace = "facts_chunk";
const OLD_SOURCES: Keyspace = "facts_source";
const IMPORTS: Keyspace = "purchases_import";
const POINTERS: Keyspace = "purchases_import_pointer";
const CHANGES: Keyspace = "purchases_change";
const REMOVED: Keyspace = "facts_removed";
/// Files that compaction has replaced and that are still on the disk.
const RETIRED: Keyspace = "facts_retired";
/// Which import is not done: earlier versions know this place alone.
const OPEN: &[u8] = b"open";
/// Which small one is not.
const OPEN_SMALL: &[u8] = b"open small";
/// The number of the next import.
const NEXT: &[u8] = b"next";

/// Records read at a time.
const PAGE: usize = 256;
/// Rows of facts that a file may have: a fact's number is its file's times this, and its place.
pub(super) const FILE_ROWS_MAX: i64 = 1 << 20;
/// Bytes of one record of changed baskets, about; one change is far below it, and it must fit a value
/// of the store.
const CHANGES_BYTES: usize = 24 * 1024;

/// Why the catalogue does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogueError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored {what} cannot be read: the store is damaged or from another version")]
    Damaged { what: &'static str },
    #[error("a record could not be sealed")]
    Sealing,
}

/// How far a source was imported by version 0.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct OldSource {
    #[n(0)]
    passes: u32,
    #[n(1)]
    rows_done: u64,
    #[n(2)]
    unknown_members: u64,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Stage {
    /// It is being read; nothing of it counts.
    #[n(0)]
    Reading,
    /// It is given up, and what it wrote is being removed.
    #[n(1)]
    GivenUp,
    /// It counts; what its baskets earn is being told.
    #[n(2)]
    Telling,
    /// Nothing is left to do.
    #[n(3)]
    Done,
    /// The same, and what read it once more is given up: it is still to be read once more.
    #[n(4)]
    ToReadAgain,
}

/// An import, by the digest of its source and mapping.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Import {
    #[n(0)]
    pub(super) number: u32,
    #[n(1)]
    pub(super) stage: Stage,
    /// Rows up to this place of the file are in it.
    #[n(2)]
    pub(super) place_done: u64,
    /// Records of changed baskets that are written.
    #[n(3)]
    pub(super) changes: u32,
    /// Of them, those that have been told.
    #[n(4)]
    pub(super) told: u32,
    /// The first file that is this import's. Files behind it may be others', which came between its chunks.
    #[n(5)]
    pub(super) first_file: u32,
    #[n(6)]
    pub(super) report: ImportReport,
    /// The same was read to its end before, and is read again for members who were unknown then.
    #[n(7)]
    pub(super) again: Option<bool>,
}

impl Import {
    /// Whether the same was read to its end, and is not being read.
    pub(super) const fn was_read(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::ToReadAgain)
    }

    /// Whether all of it is in what counts, so that nobody reads it once more.
    pub(super) fn is_whole(&self) -> bool {
        self.stage == Stage::Done && !self.report.has_unknown_members()
    }
}

/// Where an import stands that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of files, as long as they are.
    Long,
    /// Of rows that were sent. Whoever finds one half read that is not at work gives it up: it is sent again.
    Small,
}

impl Place {
    const ALL: [Self; 2] = [Self::Long, Self::Small];

    const fn key(self) -> &'static [u8] {
        match self {
            Self::Long => OPEN,
            Self::Small => OPEN_SMALL,
        }
    }
}

/// The imports of which nothing counts yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incomplete {
    open: [Option<u32>; 2],
    /// From this number on they began later than it was looked.
    later: u32,
}

impl Incomplete {
    /// Whether nothing of this import counts.
    pub(super) fn has(&self, import: u32) -> bool {
        import >= self.later || self.open.contains(&Some(import))
    }
}

/// One file of facts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Chunk {
    /// Of the source, as version 0.1 knew it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) source: [u8; 32],
    /// As version 0.1 counted.
    #[n(1)]
    pub(super) pass: u32,
    #[n(2)]
    pub(super) rows: u64,
    /// SHA-256 of the file.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(super) digest: [u8; 32],
    /// The import that wrote it; none when version 0.1 did.
    #[n(4)]
    pub(super) import: Option<u32>,
    /// How often compaction wrote it anew; none if never.
    #[n(5)]
    pub(super) version: Option<u32>,
}

/// A file on the disk: one of the versions of a file of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) sequence: u32,
    pub(super) version: Option<u32>,
}

impl File {
    /// Its name. The number is the file's own, as long as anything refers to its facts and as long as the process
    /// runs; a version's name is never another's.
    pub(super) fn name(self) -> String {
        let Self { sequence, version } = self;
        match version {
            None => format!("facts-{sequence:010}.parquet"),
            Some(version) => format!("facts-{sequence:010}-{version}.parquet"),
        }
    }

    /// The number in such a name.
    pub(super) fn number_in(name: &str) -> Option<u32> {
        name.strip_prefix("facts-")?.get(..10)?.parse().ok()
    }

    fn key(self) -> [u8; 8] {
        (u64::from(self.sequence) << 32 | u64::from(self.version.unwrap_or(0))).to_be_bytes()
    }
}

impl Chunk {
    pub(super) const fn file(&self, sequence: u32) -> File {
        File { sequence, version: self.version }
    }
}

/// The facts a query is bound to: a fixed list of files that never change, without the rows that later
/// ones replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    id: [u8; 32],
    files: Vec<PathBuf>,
    removed: Vec<i64>,
    // of the members, where they may be asked about
    members: Option<Revision>,
    // who is in campaigns, where they may be asked about
    campaigns: Option<Campaigns>,
}

/// Who is in which campaign: equal when their revision is.
#[derive(Clone)]
struct Campaigns(Arc<dyn CampaignMembers>);

impl PartialEq for Campaigns {
    fn eq(&self, other: &Self) -> bool {
        self.0.revision() == other.0.revision()
    }
}

impl Eq for Campaigns {}

impl Snapshot {
    /// Hash of the list: equal for equal facts.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }
    pub(super) fn removed(&self) -> &[i64] {
        &self.removed
    }
    pub(super) const fn members(&self) -> Option<Revision> {
        self.members
    }

    pub(super) fn campaigns(&self) -> Option<Arc<dyn CampaignMembers>> {
        self.campaigns.as_ref().map(|it| Arc::clone(&it.0))
    }

    /// The same with who is in which campaign: another list, with a hash of its own.
    #[must_use]
    pub fn with_campaigns(self, members: Arc<dyn CampaignMembers>) -> Self {
        let id = self.hashed(b"coalition facts and campaigns snapshot v0", &members.revision());
        Self { id, campaigns: Some(Campaigns(members)), ..self }
    }

    /// The same with what is known of members: another list, with a hash of its own.
    pub(super) fn with_members(self, revision: Revision) -> Self {
        let id = self.hashed(b"coalition facts and members snapshot v0", &revision.to_bytes());
        Self { id, members: Some(revision), ..self }
    }

    fn hashed(&self, domain: &[u8], with: &[u8]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(domain);
        context.update(&self.id);
        context.update(with);
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        id
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the number of files grows with a brand's sales, which are its own secret
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Reads and writes of the catalogue in a store.
pub(super) struct Catalogue<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) sealer: Sealer<'a>,
}

impl Catalogue<'_> {
    pub(super) fn import(&self, digest: &[u8; 32]) -> Result<Option<Import>, CatalogueError> {
        self.read(IMPORTS, digest, "record of an import")
    }

    /// The import in a place that is not done, with its digest.
    pub(super) fn open(&self, place: Place) -> Result<Option<([u8; 32], Import)>, CatalogueError> {
        /// How often one may end between two reads, and another begin.
        const AGAIN: u32 = 8;
        let what = "record of an import";
        for _ in 0..AGAIN {
            let Some(digest) = self.store.get(POINTERS, place.key())? else { return Ok(None) };
            let digest = <[u8; 32]>::try_from(digest.as_slice());
            let digest = digest.map_err(|_| CatalogueError::Damaged { what })?;
            if let Some(import) = self.import(&digest)? {
                return Ok(Some((digest, import)));
            }
        }
        Err(CatalogueError::Damaged { what })
    }

    /// The imports of which nothing counts yet.
    pub(super) fn incomplete(&self) -> Result<Incomplete, CatalogueError> {
        // first: one that begins from now on is later
        let later = self.next_number()?;
        let mut open = [None; 2];
        for (number, place) in open.iter_mut().zip(Place::ALL) {
            let reading = self
                .open(place)?
                .filter(|(_, import)| matches!(import.stage, Stage::Reading | Stage::GivenUp));
            *number = reading.map(|(_, import)| import.number);
        }
        Ok(Incomplete { open, later })
    }

    pub(super) fn next_number(&self) -> Result<u32, CatalogueError> {
        Ok(self.read::<u32>(POINTERS, NEXT, "number of the next import")?.unwrap_or(1))
    }

    /// Whether version 0.1 has read this source to its end.
    pub(super) fn is_old_import(&self, source: &[u8; 32]) -> Result<bool, CatalogueError> {
        let old: Option<OldSource> = self.read(OLD_SOURCES, source, "import's state")?;
        Ok(old.is_some_and(|old| old.passes > 0 && old.rows_done == 0 && old.unknown_members == 0))
    }

    /// Records of many baskets, as the present import has to see them.
    pub(super) fn baskets(
        &self,
        keys: &[BasketKey],
    ) -> Result<Vec<Option<StoredBasket>>, CatalogueError> {
        let bytes: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let found = self.store.get_many(BASKETS, &bytes)?;
        let mut baskets = Vec::with_capacity(keys.len());
        for (key, sealed) in keys.iter().zip(found) {
            baskets.push(match sealed {
                Some(sealed) => Some(self.sealer.open(*key, &sealed)?),
                None => None,
            });
        }
        if self.has_old_baskets()? {
            let old = self.store.get_many(OLD_BASKETS, &bytes)?;
            for (basket, old) in baskets.iter_mut().zip(old) {
                if let (None, Some(old)) = (&basket, old) {
                    let now = decode::<OldBasket>("basket", &old)?.into_present();
                    *basket = Some(StoredBasket { import: 0, now, before: None });
                }
            }
        }
        Ok(baskets)
    }

    fn has_old_baskets(&self) -> Result<bool, CatalogueError> {
        Ok(!self.store.scan_prefix(OLD_BASKETS, &[], None, 1)?.is_empty())
    }

    /// Visits the baskets that count, in no order that counts.
    pub(super) fn each_basket(
        &self,
        mut visit: impl FnMut(BasketKey, Basket),
    ) -> Result<(), CatalogueError> {
        let incomplete = self.incomplete()?;
        self.each(OLD_BASKETS, &[], |key, value| {
            let key = basket_key(key)?;
            if self.store.get(BASKETS, key.as_bytes())?.is_none() {
                visit(key, decode::<OldBasket>("basket", value)?.into_present());
            }
            Ok(())
        })?;
        self.each(BASKETS, &[], |key, value| {
            let key = basket_key(key)?;
            if let Some(basket) = self.sealer.open(key, value)?.counting(incomplete) {
                visit(key, basket);
            }
            Ok(())
        })
    }

    /// Pages of whose baskets are kept, whether or not they count yet: a basket that an import has
    /// changed was the same member's before.
    pub(super) fn each_owner(
        &self,
        mut visit: impl FnMut(&[(BasketKey, MemberId)]) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        for (keyspace, old) in [(OLD_BASKETS, true), (BASKETS, false)] {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = self.store.scan_prefix(keyspace, &[], after.as_deref(), PAGE)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                let mut owners = Vec::new();
                for (key, value) in &page {
                    let key = basket_key(key)?;
                    let member = if old {
                        decode::<OldBasket>("basket", value)?.member
                    } else {
                        self.sealer.open(key, value)?.now.member
                    };
                    owners.extend(member.map(|member| (key, member)));
                }
                visit(&owners)?;
            }
        }
        Ok(())
    }

    /// A number that no file has: none that is listed, and none that is still on the disk and was.
    pub(super) fn next_file(&self) -> Result<u32, CatalogueError> {
        let retired = self.retired()?;
        let mut next = retired.iter().map(|(file, _)| file.sequence + 1).max().unwrap_or(0);
        self.each(CHUNKS, &[], |key, _| {
            next = next.max(sequence(key)? + 1);
            Ok(())
        })?;
        Ok(next)
    }

    pub(super) fn snapshot(&self, folder: &Path) -> Result<Snapshot, CatalogueError> {
        let mut context = Context::new(&SHA256);
        context.update(b"coalition facts snapshot v0");
        let mut files = Vec::new();
        let incomplete = self.incomplete()?;
        self.each_file(incomplete, |sequence, chunk| {
            context.update(&sequence.to_be_bytes());
            context.update(&chunk.digest);
            files.push(folder.join(chunk.file(sequence).name()));
        })?;
        let mut removed: Vec<i64> = self.removed(incomplete)?.into_iter().collect();
        removed.sort_unstable();
        removed.iter().for_each(|fact| context.update(&fact.to_be_bytes()));
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Ok(Snapshot { id, files, removed, members: None, campaigns: None })
    }

    /// Facts that later ones replaced. Whoever reads files as well gives both the same imports: one that came to count
    /// between would be half there.
    pub(super) fn removed(&self, incomplete: Incomplete) -> Result<BTreeSet<i64>, CatalogueError> {
        let mut removed = BTreeSet::new();
        self.each(REMOVED, &[], |key, _| {
            let (import, fact) = removed_of(key)?;
            if !incomplete.has(import) {
                removed.insert(fact);
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Visits the files that count, in the order of their numbers.
    pub(super) fn each_file(
        &self,
        incomplete: Incomplete,
        mut visit: impl FnMut(u32, &Chunk),
    ) -> Result<(), CatalogueError> {
        self.each(CHUNKS, &[], |key, value| {
            let chunk: Chunk = decode("list entry of facts", value)?;
            let counts = match chunk.import {
                Some(import) => !incomplete.has(import),
                None => {
                    let old =
                        self.read::<OldSource>(OLD_SOURCES, &chunk.source, "import's state")?;
                    chunk.pass < old.map_or(0, |old| old.passes)
                }
            };
            if counts {
                visit(sequence(key)?, &chunk);
            }
            Ok(())
        })
    }

    /// Every file that is listed, whether or not it counts yet.
    pub(super) fn all_files(&self) -> Result<Vec<(u32, Chunk)>, CatalogueError> {
        let mut all = Vec::new();
        self.each(CHUNKS, &[], |key, value| {
            all.push((sequence(key)?, decode("list entry of facts", value)?));
            Ok(())
        })?;
        Ok(all)
    }

    /// A file's list entry.
    pub(super) fn chunk(&self, sequence: u32) -> Result<Option<Chunk>, CatalogueError> {
        self.read(CHUNKS, &sequence.to_be_bytes(), "list entry of facts")
    }

    /// Every replaced fact with the import that replaced it, whether or not that counts yet.
    pub(super) fn all_removed(&self) -> Result<BTreeMap<i64, u32>, CatalogueError> {
        let mut all = BTreeMap::new();
        self.each(REMOVED, &[], |key, _| {
            let (import, fact) = removed_of(key)?;
            all.insert(fact, import);
            Ok(())
        })?;
        Ok(all)
    }

    /// Files that are not listed any more, each with the time since when.
    pub(super) fn retired(&self) -> Result<Vec<(File, Timestamp)>, CatalogueError> {
        let damaged = || CatalogueError::Damaged { what: "list of former files" };
        let mut all = Vec::new();
        self.each(RETIRED, &[], |key, value| {
            let number = <[u8; 8]>::try_from(key).map(u64::from_be_bytes);
            let at = <[u8; 8]>::try_from(value).map(u64::from_be_bytes);
            let (Ok(number), Ok(at)) = (number, at) else { return Err(damaged()) };
            let sequence = u32::try_from(number >> 32).map_err(|_| damaged())?;
            let version = u32::try_from(number & 0xffff_ffff).map_err(|_| damaged())?;
            let version = Some(version).filter(|version| *version > 0);
            all.push((File { sequence, version }, Timestamp::from_unix_ms(at)));
            Ok(())
        })?;
        Ok(all)
    }

    /// The changed baskets of one record.
    pub(super) fn changes(
        &self,
        import: u32,
        number: u32,
    ) -> Result<Vec<BasketChange>, CatalogueError> {
        let damaged = || CatalogueError::Damaged { what: "change of baskets" };
        let key = change_key(import, number);
        let sealed = self.store.get(CHANGES, &key)?.ok_or_else(damaged)?;
        let bound_to = [b"coalition change v1\0".as_slice(), &key].concat();
        let opened = self.sealer.key.open(&sealed, &bound_to).map_err(|_| damaged())?;
        codec::decode("change of baskets", &opened, VALUE_MAX).map_err(|_| damaged())
    }

    /// Writes changed baskets, to be told when the import counts.
    pub(super) fn put_changes(
        &self,
        import: &mut Import,
        changes: &[BasketChange],
    ) -> Result<Vec<Write>, CatalogueError> {
        let (mut writes, mut rest) = (Vec::new(), changes);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|change| {
                bytes += change.bytes();
                bytes <= CHANGES_BYTES
            });
            let (changes, left) = rest.split_at(fits.count().max(1));
            rest = left;
            let key = change_key(import.number, import.changes);
            let bound_to = [b"coalition change v1\0".as_slice(), &key].concat();
            let plain = codec::encode(&changes.to_vec());
            let sealed = self.sealer.key.seal(&plain, &bound_to, self.sealer.random);
            writes.push(Write::put(CHANGES, key, sealed.map_err(|_| CatalogueError::Sealing)?));
            import.changes += 1;
        }
        Ok(writes)
    }

    /// A page of what an import that is given up has written, as the writes that undo it; empty when
    /// nothing is left. Files to be deleted go into `files`.
    pub(super) fn undo(
        &self,
        import: &Import,
        files: &mut Vec<File>,
    ) -> Result<Vec<Write>, CatalogueError> {
        let number = import.number.to_be_bytes();
        let mut writes = Vec::new();
        let changes = self.store.scan_prefix(CHANGES, &number, None, PAGE)?;
        for (key, _) in &changes {
            let place = key.get(4..).and_then(|place| <[u8; 4]>::try_from(place).ok());
            let place = place.ok_or(CatalogueError::Damaged { what: "change of baskets" })?;
            let mut keys = Vec::new();
            for change in self.changes(import.number, u32::from_be_bytes(place))? {
                keys.push(change.basket);
                keys.extend(change.refund);
            }
            for (key, stored) in keys.iter().zip(self.baskets(&keys)?) {
                let Some(stored) = stored.filter(|stored| stored.import == import.number) else {
                    continue;
                };
                writes.push(match stored.before {
                    Some(before) => {
                        // any number of a complete import will do
                        self.sealer
                            .put(*key, &StoredBasket { import: 0, now: before, before: None })?
                    }
                    None => Write::delete(BASKETS, *key.as_bytes()),
                });
            }
            writes.push(Write::delete(CHANGES, key.as_slice()));
        }
        if !writes.is_empty() {
            return Ok(writes);
        }
        for (key, _) in self.store.scan_prefix(REMOVED, &number, None, PAGE)? {
            writes.push(Write::delete(REMOVED, key));
        }
        self.each(CHUNKS, &[], |key, value| {
            let chunk: Chunk = decode("list entry of facts", value)?;
            if chunk.import == Some(import.number) {
                files.push(chunk.file(sequence(key)?));
                writes.push(Write::delete(CHUNKS, key));
            }
            Ok(())
        })?;
        Ok(writes)
    }

    /// Visits a keyspace's pairs whose keys begin with `prefix`.
    fn each(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CatalogueError>,
    ) -> Result<(), CatalogueError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan_prefix(keyspace, prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &page {
                visit(key, value)?;
            }
        }
    }

    fn read<T: for<'b> Decode<'b, ()> + Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, CatalogueError> {
        self.store.get(keyspace, key)?.map(|bytes| decode(what, &bytes)).transpose()
    }
}

/// Lists a file's next version, which has its rows but for some, in its place. The former stays on the
/// disk until [`Catalogue::retired`] says since when it is not listed any more.
pub(super) fn replace_chunk(
    sequence: u32,
    (former, fresh): (&Chunk, &Chunk),
    at: Timestamp,
) -> [Write; 3] {
    let key = sequence.to_be_bytes();
    let retired = File { sequence, version: former.version };
    [
        Write::require(CHUNKS, key, codec::encode(former)),
        Write::put(CHUNKS, key, codec::encode(fresh)),
        Write::put(RETIRED, retired.key(), at.unix_ms().to_be_bytes()),
    ]
}

/// A file that was not listed any more is gone.
pub(super) fn forget_retired(file: File) -> Write {
    Write::delete(RETIRED, file.key())
}

/// A replaced fact is none any more, since its row is gone.
pub(super) fn delete_removed(import: u32, fact: i64) -> Write {
    Write::delete(REMOVED, removed_key(import, fact))
}

/// Forgets a basket.
pub(super) fn delete_basket(key: BasketKey) -> [Write; 2] {
    [Write::delete(BASKETS, *key.as_bytes()), Write::delete(OLD_BASKETS, *key.as_bytes())]
}

pub(super) fn put_import(digest: &[u8; 32], import: &Import) -> Write {
    Write::put(IMPORTS, *digest, codec::encode(import))
}

/// Begins an import: its record, that it is open, and the next one's number.
pub(super) fn begin_import(place: Place, digest: &[u8; 32], import: &Import) -> [Write; 4] {
    [
        Write::require_absent(POINTERS, place.key()),
        Write::put(POINTERS, place.key(), *digest),
        Write::put(POINTERS, NEXT, codec::encode(&(import.number + 1))),
        put_import(digest, import),
    ]
}

/// An import aside has one of its own to begin, whichever is open in the store beneath.
pub(super) fn overlook_open(place: Place) -> Write {
    Write::delete(POINTERS, place.key())
}

/// Ends an import that is done.
pub(super) fn end_import(place: Place, digest: &[u8; 32], import: &Import) -> [Write; 2] {
    [put_import(digest, import), Write::delete(POINTERS, place.key())]
}

/// Forgets an import that was given up. Of one that had been read to its end before it stays that it was: read once
/// more, it corrects nothing. What it said this time is of rows that are not kept.
pub(super) fn forget_import(place: Place, digest: &[u8; 32], import: &Import) -> [Write; 2] {
    let record = if import.again.is_some() {
        let file = import.report.file.clone();
        let report = ImportReport { file, ..ImportReport::default() };
        put_import(digest, &Import { stage: Stage::ToReadAgain, report, ..import.clone() })
    } else {
        Write::delete(IMPORTS, *digest)
    };
    [record, Write::delete(POINTERS, place.key())]
}

/// Lists a file; the transaction fails when the number is taken.
pub(super) fn list_chunk(sequence: u32, chunk: &Chunk) -> [Write; 2] {
    let key = sequence.to_be_bytes();
    [Write::require_absent(CHUNKS, key), Write::put(CHUNKS, key, codec::encode(chunk))]
}

pub(super) fn put_removed(import: u32, fact: i64) -> Write {
    Write::put(REMOVED, removed_key(import, fact), [])
}

fn removed_key(import: u32, fact: i64) -> Vec<u8> {
    [&import.to_be_bytes()[..], &fact.to_be_bytes()].concat()
}

pub(super) fn delete_change(import: u32, number: u32) -> Write {
    Write::delete(CHANGES, change_key(import, number))
}

fn change_key(import: u32, number: u32) -> [u8; 8] {
    (u64::from(import) << 32 | u64::from(number)).to_be_bytes()
}

fn removed_of(key: &[u8]) -> Result<(u32, i64), CatalogueError> {
    let parts = key.split_first_chunk::<4>();
    let fact = parts.and_then(|(_, fact)| <[u8; 8]>::try_from(fact).ok());
    match (parts, fact) {
        (Some((import, _)), Some(fact)) => {
            Ok((u32::from_be_bytes(*import), i64::from_be_bytes(fact)))
        }
        _ => Err(CatalogueError::Damaged { what: "list of replaced facts" }),
    }
}

fn basket_key(key: &[u8]) -> Result<BasketKey, CatalogueError> {
    let key = <[u8; 16]>::try_from(key);
    key.map(BasketKey::from_bytes).map_err(|_| CatalogueError::Damaged { what: "list of baskets" })
}

fn sequence(key: &[u8]) -> Result<u32, CatalogueError> {
    let key = <[u8; 4]>::try_from(key);
    key.map(u32::from_be_bytes).map_err(|_| CatalogueError::Damaged { what: "list of facts" })
}

fn decode<T: for<'b> Decode<'b, ()> + Encode<()>>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, CatalogueError> {
    codec::decode(what, bytes, VALUE_MAX).map_err(|_| CatalogueError::Damaged { what })
}
