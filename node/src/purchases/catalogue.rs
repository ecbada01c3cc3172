//! The catalogue of facts: which files hold rows, from which source, and which of them count.
//!
//! A source is imported in chunks, each with a file of its own, so that memory is bounded and an
//! interrupted import goes on where it was. Its files count once the whole source has been read: a
//! half-done import is never in a snapshot. A file never changes once it is listed.

use std::fmt;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;
use ring::digest::{Context, SHA256};

use super::BasketKey;
use crate::store::{Keyspace, Store, StoreError, VALUE_MAX, Write};
use crate::vault::MemberId;

const CHUNKS: Keyspace = "facts_chunk";
const SOURCES: Keyspace = "facts_source";
const BASKETS: Keyspace = "purchases_basket";
/// Files that compaction has replaced and that are still on the disk.
const RETIRED: Keyspace = "facts_retired";

/// Chunks read at a time.
const PAGE: usize = 256;

/// Most lines of one basket: the record of a basket must fit a value of the store.
pub(super) const BASKET_LINES_MAX: usize = 5_000;

/// Why the catalogue does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogueError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored {what} cannot be read: the store is damaged or from another version")]
    Damaged { what: &'static str },
}

/// How far a source has been imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct SourceState {
    /// How often the source was read to its end. Again only for rows whose member was unknown.
    #[n(0)]
    pub(super) passes: u32,
    /// Rows of the present pass that are done.
    #[n(1)]
    pub(super) rows_done: u64,
    /// Rows of the present or last pass whose member was unknown.
    #[n(2)]
    pub(super) unknown_members: u64,
}

/// One file of facts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Chunk {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) source: [u8; 32],
    /// The pass that wrote it: it counts when more passes than this are complete.
    #[n(1)]
    pub(super) pass: u32,
    #[n(2)]
    pub(super) rows: u64,
    /// SHA-256 of the file.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(super) digest: [u8; 32],
}

/// What is known of a basket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Basket {
    /// Whose; none for a guest.
    #[n(0)]
    pub(super) member: Option<MemberId>,
    /// Line numbers, ascending.
    #[n(1)]
    pub(super) lines: Vec<u32>,
    /// Sum of the lines.
    #[n(2)]
    pub(super) total_fen: i64,
    /// How many imports changed it.
    #[n(3)]
    pub(super) parts: u32,
}

/// The facts a query is bound to: a fixed list of files that never change.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    id: [u8; 32],
    files: Vec<PathBuf>,
}

impl Snapshot {
    /// Hash of the list: equal for equal facts.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the number of files grows with a brand's sales, which are its own secret
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Reads and writes of the catalogue in a store.
pub(super) struct Catalogue<'a>(pub(super) &'a dyn Store);

impl Catalogue<'_> {
    pub(super) fn source(&self, digest: &[u8; 32]) -> Result<Option<SourceState>, CatalogueError> {
        self.read(SOURCES, digest, "import's state")
    }

    pub(super) fn basket(&self, key: BasketKey) -> Result<Option<Basket>, CatalogueError> {
        self.read(BASKETS, key.as_bytes(), "basket")
    }

    /// Visits the baskets that have been counted, in the order of their keys.
    pub(super) fn baskets(
        &self,
        mut visit: impl FnMut(BasketKey, &Basket),
    ) -> Result<(), CatalogueError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan_prefix(BASKETS, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &page {
                let key = <[u8; 16]>::try_from(key.as_slice());
                let key = key.map_err(|_| CatalogueError::Damaged { what: "list of baskets" })?;
                visit(BasketKey::from_bytes(key), &decode("basket", value)?);
            }
        }
    }

    /// A number that no file has, listed or not listed any more.
    pub(super) fn next_chunk(&self) -> Result<u32, CatalogueError> {
        let retired = retired(self.0)?;
        let mut next = retired.iter().map(|(sequence, _)| sequence + 1).max().unwrap_or(0);
        let mut after = None;
        while let Some((key, _)) = self.0.scan_prefix(CHUNKS, &[], after.as_deref(), PAGE)?.pop() {
            next = next.max(sequence(&key)? + 1);
            after = Some(key);
        }
        Ok(next)
    }

    pub(super) fn snapshot(&self, folder: &Path) -> Result<Snapshot, CatalogueError> {
        let mut context = Context::new(&SHA256);
        context.update(b"coalition facts snapshot v0");
        let mut files = Vec::new();
        self.each(|sequence, chunk| {
            context.update(&sequence.to_be_bytes());
            context.update(&chunk.digest);
            files.push(folder.join(file_name(sequence)));
        })?;
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Ok(Snapshot { id, files })
    }

    /// Every file that is listed, whether or not it counts yet.
    pub(super) fn all(&self) -> Result<Vec<(u32, Chunk)>, CatalogueError> {
        let mut all = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan_prefix(CHUNKS, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            for (key, value) in &page {
                all.push((sequence(key)?, decode("list entry of facts", value)?));
            }
        }
    }

    /// Visits the files that count, in the order of their numbers.
    pub(super) fn each(&self, mut visit: impl FnMut(u32, &Chunk)) -> Result<(), CatalogueError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan_prefix(CHUNKS, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &page {
                let chunk: Chunk = decode("list entry of facts", value)?;
                let passes = self.source(&chunk.source)?.map_or(0, |state| state.passes);
                if chunk.pass < passes {
                    visit(sequence(key)?, &chunk);
                }
            }
        }
    }

    fn read<T: for<'b> Decode<'b, ()> + Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, CatalogueError> {
        self.0.get(keyspace, key)?.map(|bytes| decode(what, &bytes)).transpose()
    }
}

/// Lists a file in place of another, whose rows it has but for some; none when it has none left. The
/// former stays on the disk until [`retired`] says since when it is not listed any more.
pub(super) fn replace_chunk(
    (former, chunk): (u32, &Chunk),
    fresh: Option<(u32, &Chunk)>,
    at: Timestamp,
) -> Vec<Write> {
    let key = former.to_be_bytes();
    let mut writes = vec![
        Write::require(CHUNKS, key, codec::encode(chunk)),
        Write::delete(CHUNKS, key),
        Write::put(RETIRED, key, at.unix_ms().to_be_bytes()),
    ];
    if let Some((sequence, chunk)) = fresh {
        writes.extend(list_chunk(sequence, chunk));
    }
    writes
}

/// Files that are not listed any more, each with the time since when.
pub(super) fn retired(store: &dyn Store) -> Result<Vec<(u32, Timestamp)>, CatalogueError> {
    let pairs = store.scan_prefix(RETIRED, &[], None, 100_000)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let at = <[u8; 8]>::try_from(value.as_slice()).map(u64::from_be_bytes);
        let at = at.map_err(|_| CatalogueError::Damaged { what: "list of former files" })?;
        Ok((sequence(key)?, Timestamp::from_unix_ms(at)))
    };
    pairs.iter().map(read).collect()
}

/// A file that was not listed any more is gone.
pub(super) fn forget_retired(sequence: u32) -> Write {
    Write::delete(RETIRED, sequence.to_be_bytes())
}

/// Forgets a basket.
pub(super) fn delete_basket(key: BasketKey) -> Write {
    Write::delete(BASKETS, *key.as_bytes())
}

pub(super) fn put_source(digest: &[u8; 32], state: &SourceState) -> Write {
    Write::put(SOURCES, *digest, codec::encode(state))
}

pub(super) fn put_basket(key: BasketKey, basket: &Basket) -> Write {
    Write::put(BASKETS, *key.as_bytes(), codec::encode(basket))
}

/// Lists a file; the transaction fails when the number is taken.
pub(super) fn list_chunk(sequence: u32, chunk: &Chunk) -> [Write; 2] {
    let key = sequence.to_be_bytes();
    [Write::require_absent(CHUNKS, key), Write::put(CHUNKS, key, codec::encode(chunk))]
}

pub(super) fn file_name(sequence: u32) -> String {
    format!("facts-{sequence:010}.parquet")
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
