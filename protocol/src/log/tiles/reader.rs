//! From files to hashes and leaves.

use super::bundle::parse_bundle;
use super::{TileKind, TilePath, TileSource, TileWriter, TilesError, perfect_root, place};
use crate::ids::{LeafIndex, TreeSize};
use crate::log::merkle::{Frontier, HashReader, Leaf, NodeHash};

/// Reads a log of a given size from its files. Asks for the file each time: a source that is slow
/// should keep what it has read.
///
/// Hashes are as good as the files: what is read proves something once a proof made of it leads to
/// a root that somebody vouches for.
#[derive(Clone, Debug)]
pub struct TileReader<S> {
    source: S,
    size: TreeSize,
}

impl<S: TileSource> TileReader<S> {
    /// Reads the first `size` leaves.
    pub const fn new(source: S, size: TreeSize) -> Self {
        Self { source, size }
    }

    /// Number of leaves.
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The leaves of bundle `index`: those from 256 x `index` on, at most 256.
    ///
    /// # Errors
    /// When there is no such bundle, or its file is missing or malformed.
    pub fn bundle(&self, index: u64) -> Result<Vec<Leaf>, TilesError> {
        let path = TilePath::in_tree(TileKind::Entries, index, self.size);
        read_bundle(&self.source, path.ok_or(TilesError::OutOfRange)?)
    }

    /// One leaf.
    ///
    /// # Errors
    /// When there is no such leaf, or its bundle is missing or malformed.
    pub fn leaf(&self, index: LeafIndex) -> Result<Leaf, TilesError> {
        let (bundle, place) = place(index.get());
        self.bundle(bundle)?.into_iter().nth(place).ok_or(TilesError::OutOfRange)
    }
}

impl<S: TileSource> TileReader<S> {
    /// The leaves from `first` up to and without `end`, each bundle read once.
    ///
    /// # Errors
    /// When there are not so many, or a bundle is missing or malformed.
    pub fn leaves(&self, first: LeafIndex, end: TreeSize) -> Result<Vec<Leaf>, TilesError> {
        let mut leaves = Vec::new();
        let mut position = first.get();
        while position < end.get() {
            let (bundle, skipped) = place(position);
            let wanted = end.get().saturating_sub(position);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let before = leaves.len();
            leaves.extend(self.bundle(bundle)?.into_iter().skip(skipped).take(wanted));
            let read = u64::try_from(leaves.len().saturating_sub(before)).unwrap_or_default();
            if read == 0 {
                return Err(TilesError::OutOfRange);
            }
            position = position.saturating_add(read);
        }
        Ok(leaves)
    }
}

impl<S: TileSource> HashReader for TileReader<S> {
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
        // a tile has every eighth level; those between are hashed from it
        let kind = TileKind::Hashes { level: level / 8 };
        let count = 1_u64.checked_shl(u32::from(level % 8))?;
        let (tile, low) = place(index.checked_mul(count)?);
        let path = TilePath::in_tree(kind, tile, self.size)?;
        let hashes = read_hashes(&self.source, path).ok()?;
        let high = low.checked_add(usize::try_from(count).ok()?)?;
        perfect_root(hashes.get(low..high)?)
    }
}

/// A file, and its width: of a partial one that has been deleted since, the full one.
fn read_file(source: &impl TileSource, path: TilePath) -> Result<(Vec<u8>, TilePath), TilesError> {
    let found = source.read(&path).map(|bytes| (bytes, path));
    found
        .or_else(|| source.read(&path.full()).map(|bytes| (bytes, path.full())))
        .ok_or(TilesError::Missing(path))
}

/// The hashes of a tile, exactly as many as its width says.
pub(super) fn read_hashes(
    source: &impl TileSource,
    path: TilePath,
) -> Result<Vec<NodeHash>, TilesError> {
    let (bytes, found) = read_file(source, path)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(found.width()) {
        return Err(TilesError::Malformed(found));
    }
    let wanted = usize::from(path.width());
    Ok(hashes.iter().take(wanted).copied().map(NodeHash::from_bytes).collect())
}

/// The leaves of a bundle, exactly as many as its width says.
pub(super) fn read_bundle(
    source: &impl TileSource,
    path: TilePath,
) -> Result<Vec<Leaf>, TilesError> {
    let (bytes, found) = read_file(source, path)?;
    let entries = parse_bundle(&bytes, found.width()).ok_or(TilesError::Malformed(found))?;
    let wanted = entries.into_iter().take(usize::from(path.width()));
    wanted
        .map(|entry| Leaf::new(entry.to_vec()).map_err(|_| TilesError::Malformed(found)))
        .collect()
}

/// Reads every entry of a log of `size` leaves, one bundle at a time, shows each leaf in order, and
/// compares every tile with the hashes that the entries have.
///
/// The frontier that it gives is that of the entries; the caller compares its root with the one
/// that is vouched for.
///
/// # Errors
/// The first file that is missing, malformed, or disagrees.
pub fn rebuild(
    source: &impl TileSource,
    size: TreeSize,
    mut visit: impl FnMut(LeafIndex, &Leaf),
) -> Result<Frontier, TilesError> {
    let reader = TileReader::new(source, size);
    let mut writer = TileWriter::empty();
    while writer.size() < size {
        let start = writer.size().get();
        let leaves = reader.bundle(place(start).0)?;
        for (index, leaf) in (start..).zip(&leaves) {
            visit(LeafIndex::new(index), leaf);
        }
        for file in writer.append(&leaves)?.files {
            let (kind, index) = (file.path.kind(), file.path.index());
            // the right edge of a size on the way is no file of this size
            if kind == TileKind::Entries || TilePath::in_tree(kind, index, size) != Some(file.path)
            {
                continue;
            }
            let published = read_hashes(source, file.path)?;
            if !published.iter().flat_map(NodeHash::as_bytes).eq(&file.bytes) {
                return Err(TilesError::Disagrees(file.path));
            }
        }
    }
    Ok(writer.frontier())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::log::merkle::tests::Naive;
    use crate::log::proof::{ConsistencyProof, InclusionProof};
    use crate::log::range::RangeProof;
    use std::collections::BTreeMap;

    pub(crate) type Store = BTreeMap<TilePath, Vec<u8>>;

    pub(crate) fn leaves(range: std::ops::Range<u64>) -> Vec<Leaf> {
        range.map(|i| Leaf::new(i.to_be_bytes().to_vec()).unwrap()).collect()
    }

    /// Publishes in blocks, deleting nothing.
    pub(crate) fn publish(leaves: &[Leaf], block: usize) -> (Store, TileWriter) {
        let (mut store, mut writer) = (Store::new(), TileWriter::empty());
        for block in leaves.chunks(block) {
            let files = writer.append(block).unwrap().files;
            store.extend(files.into_iter().map(|file| (file.path, file.bytes)));
        }
        (store, writer)
    }

    #[test]
    fn proofs_from_tiles_are_those_of_the_tree() {
        let (store, _) = publish(&leaves(0..700), 90);
        let tree = Naive::of_size(700);
        for size in [1, 2, 90, 180, 256, 257, 512, 540, 630, 700] {
            // also sizes that were never published: their right edge is part of a full tile
            let at = TreeSize::new(size);
            let reader = TileReader::new(&store, at);
            let frontier = Frontier::read(&reader, at).unwrap();
            assert_eq!(frontier.root(), tree.root(size));
            for index in [0, size / 3, size - 1] {
                let index = LeafIndex::new(index);
                let proof = InclusionProof::prove(&reader, index, at).unwrap();
                assert_eq!(proof, InclusionProof::prove(&tree, index, at).unwrap());
                assert_eq!(reader.leaf(index).unwrap().hash(), tree.0[index.get() as usize]);
            }
            let old = TreeSize::new(size.div_ceil(2));
            let proof = ConsistencyProof::prove(&reader, old, at).unwrap();
            assert_eq!(proof.verify(old, &tree.root(old.get()), at, &tree.root(size)), Ok(()));
            let first = LeafIndex::new(size / 4);
            let count = size.div_ceil(4);
            let run = &tree.0[(size / 4) as usize..(size / 4 + count) as usize];
            let proof = RangeProof::prove(&reader, first, count, at).unwrap();
            assert_eq!(proof.verify(first, run, at, &tree.root(size)), Ok(()));
        }
        let reader = TileReader::new(&store, TreeSize::new(700));
        assert_eq!(reader.leaf(LeafIndex::new(700)), Err(TilesError::OutOfRange));
        for (first, end) in [(0, 700), (255, 257), (256, 512), (511, 700), (700, 700), (9, 9)] {
            let read = reader.leaves(LeafIndex::new(first), TreeSize::new(end)).unwrap();
            let hashes: Vec<_> = read.iter().map(Leaf::hash).collect();
            assert_eq!(hashes, tree.0[first as usize..end as usize]);
        }
        assert!(reader.leaves(LeafIndex::new(600), TreeSize::new(701)).is_err());
        assert_eq!(reader.hash(64, 0), None);
    }

    #[test]
    fn every_changed_file_is_found() {
        let size = TreeSize::new(600);
        let (store, _) = publish(&leaves(0..600), 600);
        assert!(rebuild(&store, size, |_, _| {}).is_ok());
        for path in store.keys() {
            let mut changed = store.clone();
            *changed.get_mut(path).unwrap().last_mut().unwrap() ^= 1;
            assert!(rebuild(&changed, size, |_, _| {}).is_err(), "{path}");
            let mut longer = store.clone();
            longer.get_mut(path).unwrap().push(0);
            assert_eq!(rebuild(&longer, size, |_, _| {}), Err(TilesError::Malformed(*path)));
            let mut shorter = store.clone();
            shorter.remove(path);
            assert_eq!(rebuild(&shorter, size, |_, _| {}), Err(TilesError::Missing(*path)));
        }
    }
}
