//! The files of a log: hash tiles and entry bundles (C2SP tlog-tiles).
//!
//! [`TileWriter`] turns new leaves into files to write, [`TileReader`] gives back hashes and
//! leaves, [`rebuild`] checks every file of a size against its entries. Which directory, disk or
//! server holds the files is the business of a [`TileSource`]. Hash tiles, once published, are served for
//! ever, but for partial ones that a full one has replaced; full bundles may be archived by their owner.

mod bundle;
mod path;
mod reader;
mod writer;

use std::collections::BTreeMap;

pub use bundle::parse_bundle;
pub use path::{InvalidTilePath, TileKind, TilePath};
pub use reader::{TileReader, rebuild};
pub use writer::{TileFile, TileUpdate, TileWriter};

use super::merkle::NodeHash;

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels that a tree of less than 2^64 leaves can have.
pub const LEVELS: u8 = 8;

/// Where tiles and bundles are kept.
pub trait TileSource {
    /// The bytes of one file, or none when it is not there.
    fn read(&self, path: &TilePath) -> Option<Vec<u8>>;
}

impl<S: TileSource + ?Sized> TileSource for &S {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        (**self).read(path)
    }
}

/// A log in memory.
impl TileSource for BTreeMap<TilePath, Vec<u8>> {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        self.get(path).cloned()
    }
}

/// Why files are not those of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilesError {
    /// A file is not there.
    #[error("{0} cannot be read")]
    Missing(TilePath),
    /// A file has not the length that its width asks for, or entries that do not fit it.
    #[error("{0} is not a whole number of hashes or entries of its width")]
    Malformed(TilePath),
    /// A file holds other hashes than the entries have.
    #[error("{0} does not agree with the entries")]
    Disagrees(TilePath),
    /// A place that the tree does not have.
    #[error("the tree has no such tile")]
    OutOfRange,
    /// A tree has at most 2^64 - 1 leaves.
    #[error("the tree is full")]
    Full,
}

/// In which tile item `position` of a level is, and where in it.
fn place(position: u64) -> (u64, usize) {
    const { assert!(TILE_WIDTH == 256) }
    (position / 256, usize::try_from(position % 256).unwrap_or_default())
}

/// Root over 2^k hashes; none for another number of them.
fn perfect_root(hashes: &[NodeHash]) -> Option<NodeHash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| NodeHash::over(left, right))
            .collect();
    }
    row.first().copied()
}
