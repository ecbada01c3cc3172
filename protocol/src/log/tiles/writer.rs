//! From new leaves to files.

use super::bundle::push_entry;
use super::reader::{read_bundle, read_hashes};
use super::{LEVELS, TILE_WIDTH, TileKind, TilePath, TileSource, TilesError, perfect_root};
use crate::ids::TreeSize;
use crate::log::block::BlockTree;
use crate::log::merkle::{Frontier, HashReader, Leaf, LeafRef, NodeHash};

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileFile {
    /// Its name.
    pub path: TilePath,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What publishing a larger size takes. All files are written before the checkpoint of that size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileUpdate {
    /// Files that the new size needs and the old one had not.
    pub files: Vec<TileFile>,
    /// Tiles now full: all of their [`TilePath::partials_directory`] may be deleted once the full
    /// tile is written.
    pub superseded: Vec<TilePath>,
}

/// The right edge of a log's files: the last bundle and the last tile of each level, while partial.
///
/// At most 255 entries and 8 x 255 hashes. It carries no lock: one writer a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileWriter {
    size: TreeSize,
    // entries after the last full bundle, as in the file
    bundle: Vec<u8>,
    // for each level the hashes after its last full tile, fewer than 256
    tiles: [Vec<NodeHash>; LEVELS as usize],
}

impl TileWriter {
    /// A log without leaves; no files.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Takes up a log of `size` leaves where it was left.
    ///
    /// Checks the last bundle against the last tile, not the tiles against each other: compare
    /// [`Self::frontier`] with the root that is known.
    ///
    /// # Errors
    /// When one of the partial files is missing or malformed, or the two disagree.
    pub fn read(source: &impl TileSource, size: TreeSize) -> Result<Self, TilesError> {
        let mut writer = Self { size, ..Self::default() };
        for (level, tile) in (0..LEVELS).zip(&mut writer.tiles) {
            if let Some(path) = TilePath::right_edge(TileKind::Hashes { level }, size) {
                *tile = read_hashes(source, path)?;
            }
        }
        if let Some(path) = TilePath::right_edge(TileKind::Entries, size) {
            let leaves = read_bundle(source, path)?;
            let hashes = leaves.iter().map(|leaf| NodeHash::from(leaf.hash()));
            if !writer.tiles.first().is_some_and(|tile| hashes.eq(tile.iter().copied())) {
                return Err(TilesError::Disagrees(path));
            }
            leaves.iter().for_each(|leaf| push_entry(&mut writer.bundle, leaf.into()));
        }
        Ok(writer)
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The frontier of the tree.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut peaks = Vec::new();
        for tile in self.tiles.iter().rev() {
            let mut rest = tile.as_slice();
            for bit in (0..8_u32).rev() {
                let width = 1_usize.checked_shl(bit).unwrap_or_default();
                if tile.len() & width != 0
                    && let Some((part, after)) = rest.split_at_checked(width)
                {
                    peaks.extend(perfect_root(part));
                    rest = after;
                }
            }
        }
        // the widths of the tiles are the digits of the size in base 256
        Frontier::of(self.size, peaks)
    }

    /// Adds leaves and gives the files of the new size.
    ///
    /// # Errors
    /// [`TilesError::Full`] beyond 2^64 - 1 leaves; nothing is then changed.
    pub fn append(&mut self, leaves: &[Leaf]) -> Result<TileUpdate, TilesError> {
        let before = self.size;
        let added = u64::try_from(leaves.len()).map_err(|_| TilesError::Full)?;
        before.get().checked_add(added).ok_or(TilesError::Full)?;
        let leaves = leaves.iter().map(LeafRef::from);
        let mut update = TileUpdate::default();
        self.fill(leaves, &None::<&BlockTree>, |file| update.files.push(file))?;
        let edge = self.edge_since(before);
        update.files.extend(edge.files);
        update.superseded = edge.superseded;
        Ok(update)
    }

    /// Adds leaves and hands over the tiles and bundles that they fill, in the order in which that
    /// happens. What of the tree is `known` is not hashed again. The files of the right edge are
    /// [`Self::edge_since`]'s: who adds many blocks before one of their sizes is published needs them once.
    ///
    /// # Errors
    /// [`TilesError::Full`] beyond 2^64 - 1 leaves; those up to there are then added.
    pub fn fill<'a>(
        &mut self,
        leaves: impl IntoIterator<Item = LeafRef<'a>>,
        known: &impl HashReader,
        mut filled: impl FnMut(TileFile),
    ) -> Result<(), TilesError> {
        for leaf in leaves {
            self.size = self.size.next().ok_or(TilesError::Full)?;
            push_entry(&mut self.bundle, leaf);
            self.push(leaf.node(), known, &mut filled);
        }
        Ok(())
    }

    /// The partial tiles and bundle of this size that a size before had not, and which of that size's
    /// are full by now.
    #[must_use]
    pub fn edge_since(&self, before: TreeSize) -> TileUpdate {
        let mut update = TileUpdate::default();
        for kind in kinds() {
            let (old, new) =
                (TilePath::right_edge(kind, before), TilePath::right_edge(kind, self.size));
            if let Some(path) = new
                && new != old
            {
                update.files.push(TileFile { path, bytes: self.right_edge_bytes(kind) });
            }
            let is_now_full = |old: &TilePath| {
                TilePath::in_tree(kind, old.index(), self.size) == Some(old.full())
            };
            update.superseded.extend(old.filter(is_now_full).map(|old| old.full()));
        }
        update
    }

    /// Puts the hash of the leaf, already counted in `size`, into the tiles; a tile that it fills
    /// is a file, and its root goes one level up.
    fn push(&mut self, leaf: NodeHash, known: &impl HashReader, filled: &mut impl FnMut(TileFile)) {
        let mut carried = leaf;
        for (level, tile) in (0..LEVELS).zip(&mut self.tiles) {
            tile.push(carried);
            if tile.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let hashes = std::mem::take(tile);
            let mut file = |kind, bytes| {
                let path = last_full(kind, self.size);
                if let Some(path) = path {
                    filled(TileFile { path, bytes });
                }
                path.map(|path| path.index())
            };
            if level == 0 {
                // the next will be about as long
                let empty = Vec::with_capacity(self.bundle.len());
                file(TileKind::Entries, std::mem::replace(&mut self.bundle, empty));
            }
            let index = file(TileKind::Hashes { level }, tile_bytes(&hashes));
            let above = level.saturating_add(1).saturating_mul(8);
            let root = index.and_then(|index| known.hash(above, index));
            match root.or_else(|| perfect_root(&hashes)) {
                Some(root) => carried = root,
                None => break,
            }
        }
    }

    fn right_edge_bytes(&self, kind: TileKind) -> Vec<u8> {
        match kind {
            TileKind::Entries => self.bundle.clone(),
            TileKind::Hashes { level } => {
                self.tiles.get(usize::from(level)).map(|tile| tile_bytes(tile)).unwrap_or_default()
            }
        }
    }
}

fn kinds() -> impl Iterator<Item = TileKind> {
    let hashes = (0..LEVELS).map(|level| TileKind::Hashes { level });
    std::iter::once(TileKind::Entries).chain(hashes)
}

fn tile_bytes(hashes: &[NodeHash]) -> Vec<u8> {
    hashes.iter().flat_map(NodeHash::as_bytes).copied().collect()
}

/// The tile that the last leaf of a tree of `size` leaves has just filled.
fn last_full(kind: TileKind, size: TreeSize) -> Option<TilePath> {
    let last = size.get().checked_sub(1)?;
    let leaves_in_tile = match kind {
        TileKind::Entries => Some(u64::from(TILE_WIDTH)),
        TileKind::Hashes { level } => {
            u64::from(TILE_WIDTH).checked_pow(u32::from(level).saturating_add(1))
        }
    };
    TilePath::in_tree(kind, last.checked_div(leaves_in_tile?)?, size)
}

#[cfg(test)]
mod tests {
    use super::super::reader::tests::{leaves, publish};
    use super::super::{TileReader, rebuild};
    use super::*;
    use crate::ids::RootHash;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn root_of(leaves: &[Leaf]) -> RootHash {
        let mut frontier = Frontier::empty();
        for leaf in leaves {
            frontier.append(leaf.hash()).unwrap();
        }
        frontier.root()
    }

    #[test]
    fn a_full_tile_goes_up_and_replaces_its_partial_ones() {
        let all = leaves(0..258);
        let mut writer = TileWriter::empty();
        let names = |update: TileUpdate| {
            let files = update.files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>();
            let gone = update.superseded.iter().map(TilePath::partials_directory);
            (files, gone.collect::<Vec<_>>())
        };
        let (files, gone) = names(writer.append(&all[..255]).unwrap());
        assert_eq!(files, ["tile/entries/000.p/255", "tile/0/000.p/255"]);
        assert!(gone.is_empty());
        let (files, gone) = names(writer.append(&all[255..256]).unwrap());
        assert_eq!(files, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(gone, ["tile/entries/000.p", "tile/0/000.p"]);
        let (files, gone) = names(writer.append(&all[256..]).unwrap());
        assert_eq!(files, ["tile/entries/001.p/2", "tile/0/001.p/2"]);
        assert!(gone.is_empty());
        assert_eq!(writer.append(&[]), Ok(TileUpdate::default()));
    }

    /// Two levels of full tiles: 65,536 leaves and a few more, in blocks.
    #[test]
    fn a_tree_of_three_levels_is_written_and_read() {
        let all = leaves(0..65_540);
        let (store, writer) = publish(&all, 4_096);
        let size = TreeSize::new(65_540);
        assert_eq!(writer.frontier().root(), root_of(&all));
        assert_eq!(TileWriter::read(&store, size).unwrap(), writer);
        let reader = TileReader::new(&store, size);
        assert_eq!(Frontier::read(&reader, size).unwrap(), writer.frontier());
        let edge = |level| TilePath::right_edge(TileKind::Hashes { level }, size).unwrap();
        assert_eq!(edge(2).to_string(), "tile/2/000.p/1");
        assert!(store.contains_key(&edge(2)) && store.contains_key(&edge(0)));
    }

    /// Many blocks, each with its own tree at hand, and the edge of the last alone: what a reader of that
    /// size needs is there, byte for byte.
    #[test]
    fn blocks_added_with_what_is_known_of_their_trees_give_the_same_files() {
        let all = leaves(0..70_000);
        let (store, expected) = publish(&all, 70_000);
        let (mut writer, mut frontier) = (TileWriter::empty(), Frontier::empty());
        let mut files = BTreeMap::new();
        let mut next = 0;
        for count in [1, 300, 255, 2_000, 67_444] {
            let block = &all[next..next + count];
            // as in a block of a log, the last leaf is not in the tree that is known
            let (_, body) = block.split_last().unwrap();
            let hashes: Vec<_> = body.iter().map(Leaf::hash).collect();
            let tree = BlockTree::new(&frontier, &hashes);
            let leaves = block.iter().map(LeafRef::from);
            writer.fill(leaves, &tree, |file| drop(files.insert(file.path, file.bytes))).unwrap();
            for leaf in block {
                frontier.append(leaf.hash()).unwrap();
            }
            next += count;
        }
        let edge = writer.edge_since(TreeSize::new(0));
        assert!(edge.superseded.is_empty());
        files.extend(edge.files.into_iter().map(|file| (file.path, file.bytes)));
        assert_eq!(files, store);
        assert_eq!(writer, expected);
    }

    #[test]
    fn a_changed_last_bundle_is_noticed_on_start() {
        let (mut store, _) = publish(&leaves(0..5), 5);
        let size = TreeSize::new(5);
        let path = TilePath::right_edge(TileKind::Entries, size).unwrap();
        store.get_mut(&path).unwrap()[3] ^= 1;
        assert_eq!(TileWriter::read(&store, size), Err(TilesError::Disagrees(path)));
        store.remove(&path);
        assert_eq!(TileWriter::read(&store, size), Err(TilesError::Missing(path)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn how_a_log_was_cut_into_blocks_does_not_show(
            blocks in prop::collection::vec(0_u64..300, 1..6),
        ) {
            let total = blocks.iter().sum();
            let all = leaves(0..total);
            let mut store: BTreeMap<TilePath, Vec<u8>> = BTreeMap::new();
            let mut start = 0;
            for block in blocks {
                // a new process for every block: only the files are carried over
                let mut writer = TileWriter::read(&store, TreeSize::new(start as u64)).unwrap();
                let next = start + usize::try_from(block).unwrap();
                let update = writer.append(&all[start..next]).unwrap();
                for file in update.files {
                    prop_assert!(store.insert(file.path, file.bytes).is_none(), "immutable");
                }
                for full in update.superseded {
                    prop_assert!(store.contains_key(&full));
                    store.retain(|path, _| path.is_full() || path.full() != full);
                }
                start = next;
                let frontier = rebuild(&store, TreeSize::new(start as u64), |_, _| {}).unwrap();
                prop_assert_eq!(frontier.root(), root_of(&all[..start]));
                prop_assert_eq!(writer.frontier(), frontier);
            }
        }
    }
}
