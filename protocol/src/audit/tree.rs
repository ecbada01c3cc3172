//! The entries of one log, compared with its tiles and with what is certified.
//!
//! An entry and its hash in the level-0 tile stand for each other; when they differ, the certified
//! root tells which of the two was altered. Tiles above are compared with what the entries come to.
//! Holds one bundle, one block and one partial tile a level at a time.

use std::collections::VecDeque;

use super::folder::{LogFolder, Partials, WIDTH, is_beginning, read_file};
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::ids::{BrandId, Height, LeafHash, LeafIndex, RootHash, TreeSize};
use crate::log::block::{BLOCK_LEAVES_MAX, BODY_MAX, Entry, Header};
use crate::log::merkle::{Frontier, NodeHash, leaf_hash};
use crate::log::tiles::{LEVELS, TILE_WIDTH, TileKind, TilePath, TileReader};

/// After so many bundles in a row that are not there, the walk ends.
const MISSING_BUNDLES_MAX: u64 = 16;

/// One leaf as the files have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// The entry, if it can be read (and the block has not more bytes than a block may have).
    pub(super) entry: Option<Vec<u8>>,
    /// Hash of the entry.
    hash: Option<LeafHash>,
    /// Hash in the tile.
    tile: Option<LeafHash>,
    /// What is wrong here has been reported with its file.
    reported: bool,
}

/// One block's leaves after they were compared.
#[derive(Debug)]
pub(super) struct Settled {
    /// Index of the first.
    pub(super) first: LeafIndex,
    /// The entries, those that are the ones in the tree.
    pub(super) entries: Vec<Option<Vec<u8>>>,
    /// The leaf hashes in the tree.
    pub(super) hashes: Vec<LeafHash>,
    /// Root up to the last leaf.
    pub(super) body_root: RootHash,
    /// Whether they make the tree that is certified (or, without certificate, that the header names).
    pub(super) proven: bool,
    /// Whether what follows can be judged by the tree up to here.
    pub(super) continues: bool,
}

/// Walks over one log's entries, block by block.
#[derive(Debug)]
pub(super) struct Walk<'a, F> {
    log: BrandId,
    folder: &'a F,
    size: TreeSize,
    next: u64,
    bundle: VecDeque<Slot>,
    missing: u64,
    /// The tree so far.
    pub(super) frontier: Frontier,
    levels: [Vec<NodeHash>; LEVELS as usize],
    // leaves put into `levels`
    pushed: u64,
    partials: Partials,
    // the tree up to here is not the certified one; that has been reported
    lost: bool,
}

impl<'a, F: LogFolder> Walk<'a, F> {
    pub(super) fn new(log: BrandId, folder: &'a F, size: TreeSize, partials: Partials) -> Self {
        Self {
            log,
            folder,
            size,
            next: 0,
            bundle: VecDeque::new(),
            missing: 0,
            frontier: Frontier::empty(),
            levels: Default::default(),
            pushed: 0,
            partials,
            lost: false,
        }
    }

    /// Index of the next leaf.
    pub(super) const fn position(&self) -> u64 {
        self.next
    }

    /// How many leaves there are still to come.
    pub(super) const fn remaining(&self) -> u64 {
        self.size.get().saturating_sub(self.next)
    }

    /// The next leaves, up to the certified end of a block or, without one, to a header.
    pub(super) fn take(&mut self, end: Option<TreeSize>, recorder: &mut Recorder) -> Vec<Slot> {
        let end = end.map(TreeSize::get);
        let mut slots = Vec::new();
        let mut bytes = 0_usize;
        while end.is_none_or(|end| self.next < end) {
            let Some(mut slot) = self.pop(recorder) else { break };
            let length = slot.entry.as_ref().map_or(0, Vec::len);
            bytes = bytes.saturating_add(length);
            let is_header = slot.entry.as_deref().is_some_and(looks_like_header);
            let taken = u64::try_from(slots.len()).unwrap_or(u64::MAX).saturating_add(1);
            if bytes > BODY_MAX || taken > BLOCK_LEAVES_MAX {
                // its size is a finding of its own; only hashes are kept of what is beyond
                slot.entry = slot.entry.filter(|_| is_header);
            }
            slots.push(slot);
            if end.is_none() && (is_header || taken >= BLOCK_LEAVES_MAX) {
                break;
            }
        }
        slots
    }

    fn pop(&mut self, recorder: &mut Recorder) -> Option<Slot> {
        if self.remaining() == 0 {
            return None;
        }
        if self.bundle.is_empty() {
            self.load(recorder);
        }
        let slot = self.bundle.pop_front()?;
        self.next = self.next.saturating_add(1);
        Some(slot)
    }

    fn load(&mut self, recorder: &mut Recorder) {
        let place = Place::log(self.log);
        let index = self.next / WIDTH;
        let Some(path) = TilePath::in_tree(TileKind::Entries, index, self.size) else { return };
        let mut slots = vec![Slot::default(); usize::from(path.width())];
        let tile = self.read_tile(TileKind::Hashes { level: 0 }, index, recorder);
        for (slot, hash) in slots.iter_mut().zip(tile.unwrap_or_default()) {
            slot.tile = Some(LeafHash::from_bytes(*hash.as_bytes()));
        }
        match read_file(self.folder, TileKind::Entries, index, self.size) {
            Ok((_, found, bytes)) => {
                self.missing = 0;
                if !fill(&mut slots, &bytes, found == path) {
                    self.report_framing(&mut slots, path, recorder);
                }
            }
            // hashes are there: the tree is checked, what the entries say is not
            Err(_) if index.saturating_add(1).saturating_mul(WIDTH) <= self.folder.archived() => {
                recorder.not_checked(self.log, Reason::Archived, u64::from(path.width()));
                slots.iter_mut().for_each(|slot| slot.reported = true);
            }
            Err(_) => {
                recorder.find(place, Rule::TileMissing, format_args!("{path} cannot be read"));
                slots.iter_mut().for_each(|slot| slot.reported = true);
                self.missing = self.missing.saturating_add(1);
            }
        }
        if self.missing < MISSING_BUNDLES_MAX {
            self.bundle = slots.into();
        }
    }

    /// Lengths and entries of a bundle do not fit its file: names the first entry that is not the one
    /// in the tile; nothing after it can be told apart.
    fn report_framing(&self, slots: &mut [Slot], path: TilePath, recorder: &mut Recorder) {
        let wrong = |slot: &Slot| match slot.hash {
            Some(hash) => slot.tile.is_some_and(|tile| tile != hash),
            None => true,
        };
        let Some(first) = slots.iter().position(wrong) else {
            let message = format_args!("{path} goes on after its last entry");
            recorder.find(Place::log(self.log), Rule::TileMalformed, message);
            return;
        };
        let index = u64::try_from(first).map_or(self.next, |first| self.next.saturating_add(first));
        let message = format_args!(
            "the entry or its length was altered: from here on {path} has no entries of its width"
        );
        recorder.find(Place::log(self.log).at(LeafIndex::new(index)), Rule::EntryAltered, message);
        for slot in slots.iter_mut().skip(first) {
            *slot = Slot { entry: None, hash: None, tile: slot.tile, reported: true };
        }
    }

    /// The hashes of a tile, or none, which is then reported.
    fn read_tile(
        &self,
        kind: TileKind,
        index: u64,
        recorder: &mut Recorder,
    ) -> Option<Vec<NodeHash>> {
        let place = Place::log(self.log);
        match read_file(self.folder, kind, index, self.size) {
            Ok((path, found, bytes)) => {
                let (hashes, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() || hashes.len() != usize::from(found.width()) {
                    let message = format_args!("{found} has not the length of its width");
                    recorder.find(place, Rule::TileMalformed, message);
                    return None;
                }
                let wanted = hashes.iter().take(usize::from(path.width())).copied();
                Some(wanted.map(NodeHash::from_bytes).collect())
            }
            Err(path) => {
                let name = path.map(|path| path.to_string()).unwrap_or_default();
                recorder.find(place, Rule::TileMissing, format_args!("{name} cannot be read"));
                None
            }
        }
    }

    /// Compares one block's leaves with their tile and with the certified root.
    pub(super) fn settle(
        &mut self,
        height: Height,
        slots: Vec<Slot>,
        certified: Option<RootHash>,
        recorder: &mut Recorder,
    ) -> Settled {
        let place = Place::block(self.log, height);
        let first = LeafIndex::new(self.frontier.size().get());
        let by_entries: Vec<LeafHash> =
            slots.iter().map(|slot| slot.hash.or(slot.tile).unwrap_or(NOTHING)).collect();
        let by_tiles: Vec<LeafHash> =
            slots.iter().map(|slot| slot.tile.or(slot.hash).unwrap_or(NOTHING)).collect();
        let expected_body = || -> Option<RootHash> {
            let entry = slots.last()?.entry.as_deref()?;
            Header::from_bytes(entry).ok().map(|header| header.body_root)
        };
        let proves = |tree: &Extended| match certified {
            Some(root) => tree.whole.root() == root,
            None => expected_body() == Some(tree.body_root),
        };
        let mut tree = Extended::new(&self.frontier, &by_entries);
        let mut hashes = by_entries;
        let mut proven = proves(&tree);
        if !proven && by_tiles != hashes {
            let other = Extended::new(&self.frontier, &by_tiles);
            if proves(&other) {
                (tree, hashes, proven) = (other, by_tiles, true);
            }
        }
        let mut entries = Vec::with_capacity(slots.len());
        let header_index = tree.whole.size().get().saturating_sub(1);
        for ((index, slot), hash) in (first.get()..).zip(slots).zip(&hashes) {
            let is_certified = slot.hash == Some(*hash);
            // of a tree that is not the certified one nothing is judged but the header, which has a
            // hash of its own in the certificate
            let is_usable = is_certified && (proven || index == header_index);
            if !slot.reported && slot.hash != slot.tile && slot.tile.is_some() {
                let at = place.at(LeafIndex::new(index));
                report_difference(at, is_certified, proven, recorder);
            }
            entries.push(slot.entry.filter(|_| is_usable));
        }
        if !proven && !self.lost {
            let what = if certified.is_some() { "certified" } else { "in the header" };
            let message = format_args!("the entries do not make the tree whose root is {what}");
            recorder.find(place, Rule::TreeRoot, message);
        }
        count(&mut recorder.counts.entries, hashes.len());
        self.frontier = tree.whole;
        self.lost = !proven && !certified.is_some_and(|root| self.find_again(root));
        hashes.iter().for_each(|hash| self.push(NodeHash::from(*hash), recorder));
        Settled { first, entries, hashes, body_root: tree.body_root, proven, continues: !self.lost }
    }

    /// After a block that does not fit, the published tiles may still have the certified tree.
    fn find_again(&mut self, root: RootHash) -> bool {
        let size = self.frontier.size();
        let published = Frontier::read(&TileReader::new(self.folder, self.size), size);
        match published.ok().filter(|frontier| frontier.root() == root) {
            Some(frontier) => {
                self.frontier = frontier;
                true
            }
            None => false,
        }
    }

    /// Puts a leaf's hash where the tiles above level 0 are computed from; a tile that is now full is
    /// compared with the published one.
    fn push(&mut self, hash: NodeHash, recorder: &mut Recorder) {
        let mut carried = hash;
        self.pushed = self.pushed.saturating_add(1);
        for level in 0..LEVELS {
            let Some(tile) = self.levels.get_mut(usize::from(level)) else { return };
            tile.push(carried);
            if tile.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let full = std::mem::take(tile);
            self.compare(level, &full, recorder);
            match perfect_root(full) {
                Some(root) => carried = root,
                None => return,
            }
        }
    }

    /// Compares the partial tiles of the last size.
    pub(super) fn finish(&mut self, recorder: &mut Recorder) {
        if self.pushed == self.size.get() && !self.lost {
            for level in 0..LEVELS {
                let edge = self.levels.get_mut(usize::from(level)).map(std::mem::take);
                if let Some(hashes) = edge.filter(|hashes| !hashes.is_empty()) {
                    self.compare(level, &hashes, recorder);
                }
            }
        }
        let left = u64::try_from(self.partials.len()).unwrap_or(u64::MAX);
        recorder.not_checked(self.log, Reason::JudgedByMissing, left);
    }

    /// Compares a tile, full or the last of its level, and what is left of earlier sizes.
    fn compare(&mut self, level: u8, hashes: &[NodeHash], recorder: &mut Recorder) {
        if self.lost {
            return recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
        }
        let kind = TileKind::Hashes { level };
        // beyond 2^64 leaves a tile there is but one
        let span = 256_u64.checked_pow(u32::from(level).saturating_add(1));
        let last = self.pushed.saturating_sub(1);
        let index = span.and_then(|span| last.checked_div(span)).unwrap_or_default();
        // level 0 itself was compared entry by entry
        if level > 0
            && let Some(published) = self.read_tile(kind, index, recorder)
            && published != hashes
            && let Some(path) = TilePath::in_tree(kind, index, self.size)
        {
            let message = format_args!("{path} does not hold the hashes that the entries come to");
            recorder.find(Place::log(self.log), Rule::TileDisagrees, message);
        }
        let bundle = (level == 0).then_some(TileKind::Entries);
        for kind in bundle.into_iter().chain([kind]) {
            for path in self.partials.remove(&(kind, index)).into_iter().flatten() {
                let bytes = self.folder.read(&path).unwrap_or_default();
                if !is_beginning(path, &bytes, hashes) {
                    let message = format_args!("{path} is not what the log has up to there");
                    recorder.find(Place::log(self.log), Rule::TileDisagrees, message);
                }
            }
        }
    }
}

/// Stands in for a hash that cannot be known; no leaf has it.
const NOTHING: LeafHash = LeafHash::from_bytes([0; 32]);

fn report_difference(at: Place, entry_is_certified: bool, proven: bool, recorder: &mut Recorder) {
    let (rule, message) = match (proven, entry_is_certified) {
        (true, true) => (
            Rule::TileDisagrees,
            "the level-0 tile was altered: it has another hash than the certified entry",
        ),
        (true, false) => {
            (Rule::EntryAltered, "the entry was altered: the certified tree has another one here")
        }
        (false, _) => (
            Rule::EntryAltered,
            "the entry and its hash in the tile differ, and neither makes the certified tree",
        ),
    };
    recorder.find(at, rule, message);
}

/// A tree with a block's leaves added.
struct Extended {
    body_root: RootHash,
    whole: Frontier,
}

impl Extended {
    fn new(before: &Frontier, leaves: &[LeafHash]) -> Self {
        let mut whole = before.clone();
        let mut body_root = whole.root();
        if let Some((last, body)) = leaves.split_last() {
            // fails only beyond 2^64 - 1 leaves, which the size of the log excludes
            let _ = body.iter().try_for_each(|leaf| whole.append(*leaf).map(|_| ()));
            body_root = whole.root();
            let _ = whole.append(*last);
        }
        Self { body_root, whole }
    }
}

fn perfect_root(mut row: Vec<NodeHash>) -> Option<NodeHash> {
    while row.len() > 1 {
        let pairs = row.as_chunks::<2>().0;
        row = pairs.iter().map(|[left, right]| NodeHash::over(left, right)).collect();
    }
    row.pop()
}

/// Reads the entries of a bundle, as far as they go; says whether the file is just that.
fn fill(slots: &mut [Slot], bytes: &[u8], exact: bool) -> bool {
    let mut rest = bytes;
    for slot in slots {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return false };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else { return false };
        slot.hash = Some(leaf_hash(entry));
        slot.entry = Some(entry.to_vec());
        rest = after;
    }
    !exact || rest.is_empty()
}

/// Whether an entry begins as headers do; what does is decoded by whoever needs it.
fn looks_like_header(entry: &[u8]) -> bool {
    // array of two, kind 0, array of one
    entry.starts_with(&[0x82, 0x00, 0x81])
        && matches!(Entry::from_bytes(entry), Ok(Entry::Header(_)))
}
