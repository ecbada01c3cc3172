//! The entries of one log, compared with its tiles and with what is certified.
//!
//! An entry and its hash in the level-0 tile stand for each other; when they differ, the certified
//! root tells which of the two was altered. Tiles above are compared with what the entries come to.
//! Holds [`BUNDLES_AT_ONCE`] bundles, one block and one partial tile a level at a time.

use std::collections::VecDeque;

use super::bundles::{Bundle, Files, Slot, Span, perfect_root};
use super::cores::Cores;
use super::folder::{LogFolder, Partials, WIDTH, is_beginning};
use super::report::{Place, Reason, Recorder, Rule, count};
use crate::ids::{BrandId, Height, LeafHash, LeafIndex, RootHash, TreeSize};
use crate::log::block::{BLOCK_LEAVES_MAX, BODY_MAX, Entry, Header};
use crate::log::merkle::{Frontier, NodeHash};
use crate::log::tiles::{LEVELS, TILE_WIDTH, TileKind, TilePath, TileReader};

/// After so many bundles in a row that are not there, the walk ends.
const MISSING_BUNDLES_MAX: u64 = 16;
/// Bundles that are read and hashed at once.
const BUNDLES_AT_ONCE: u64 = 64;
/// Leaves of a full bundle, as the logarithm of their number.
const BUNDLE_LEVEL: u8 = 8;

/// The root over the entries' hashes of a whole bundle, with the place of its first leaf in the block.
#[derive(Clone, Copy, Debug)]
struct Run {
    place: usize,
    root: NodeHash,
}

/// One block's leaves as the files have them.
#[derive(Debug, Default)]
pub(super) struct Taken {
    // entries side by side, each after its length
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    runs: Vec<Run>,
}

impl Taken {
    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn push(&mut self, slot: Slot, entry: Option<&[u8]>) {
        let entry = entry.and_then(|entry| {
            // an entry of a bundle has a length of two bytes
            let length = u16::try_from(entry.len()).ok()?;
            self.bytes.extend_from_slice(&length.to_be_bytes());
            let start = self.bytes.len();
            self.bytes.extend_from_slice(entry);
            Some(Span { start, end: self.bytes.len() })
        });
        self.slots.push(Slot { entry, ..slot });
    }
}

/// One block's leaves after they were compared.
#[derive(Debug)]
pub(super) struct Settled {
    /// Index of the first.
    pub(super) first: LeafIndex,
    bytes: Vec<u8>,
    entries: Vec<Option<Span>>,
    /// The leaf hashes in the tree.
    pub(super) hashes: Vec<LeafHash>,
    /// Root up to the last leaf.
    pub(super) body_root: RootHash,
    /// Whether they make the tree that is certified (or, without certificate, that the header names).
    pub(super) proven: bool,
    /// Whether what follows can be judged by the tree up to here.
    pub(super) continues: bool,
}

impl Settled {
    fn entry(&self, span: Option<Span>) -> Option<&[u8]> {
        span?.of(&self.bytes)
    }

    fn spans(&self) -> &[Option<Span>] {
        self.entries.split_last().map_or(&[], |(_, body)| body)
    }

    /// How many entries there are besides the last.
    pub(super) fn body_leaves(&self) -> usize {
        self.spans().len()
    }

    /// All entries but the last, those that are the ones in the tree.
    pub(super) fn body(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.spans().iter().map(|span| self.entry(*span))
    }

    /// The last entry, if it is the one in the tree.
    pub(super) fn last(&self) -> Option<&[u8]> {
        self.entry(*self.entries.last()?)
    }

    /// All entries but the last side by side, each after its length; none when one is not there.
    pub(super) fn body_bytes(&self) -> Option<&[u8]> {
        let spans = self.spans();
        if spans.iter().any(Option::is_none) {
            return None;
        }
        let end = spans.last().copied().flatten().map_or(0, |span| span.end);
        self.bytes.get(..end)
    }

    /// How many bytes are held.
    pub(super) const fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// Walks over one log's entries, block by block.
#[derive(Debug)]
pub(super) struct Walk<'a, F> {
    files: Files<'a, F>,
    next: u64,
    bundles: VecDeque<Bundle>,
    // leaves of the first of them that were taken
    taken: usize,
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
            files: Files { log, folder, size },
            next: 0,
            bundles: VecDeque::new(),
            taken: 0,
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
        self.files.size.get().saturating_sub(self.next)
    }

    /// The next leaves, up to the certified end of a block or, without one, to a header.
    pub(super) fn take(
        &mut self,
        end: Option<TreeSize>,
        cores: &impl Cores,
        recorder: &mut Recorder,
    ) -> Taken {
        let end = end.map(TreeSize::get);
        let mut block = Taken::default();
        let mut bytes = 0_usize;
        while end.is_none_or(|end| self.next < end) && self.remaining() > 0 {
            if !self.has_bundle(cores, recorder) {
                break;
            }
            let Some(bundle) = self.bundles.front() else { break };
            if self.taken == 0 {
                // entries are of one size, mostly: one allocation for all of them
                let leaves = end.map_or(0, |end| end.saturating_sub(self.next));
                let bundles = usize::try_from(leaves.div_ceil(WIDTH)).unwrap_or(usize::MAX);
                let bytes = bundle.bytes.len().saturating_mul(bundles).min(BODY_MAX);
                block.bytes.reserve(bytes);
                // only of blocks whose end is known
                let within = end.is_some_and(|end| self.next.saturating_add(WIDTH) <= end);
                let place = block.slots.len();
                block.runs.extend(bundle.root.filter(|_| within).map(|root| Run { place, root }));
            }
            let Some(slot) = bundle.slots.get(self.taken).copied() else { break };
            self.taken = self.taken.saturating_add(1);
            self.next = self.next.saturating_add(1);
            let entry = slot.entry.and_then(|span| span.of(&bundle.bytes));
            bytes = bytes.saturating_add(entry.map_or(0, <[u8]>::len));
            let taken = u64::try_from(block.slots.len()).unwrap_or(u64::MAX).saturating_add(1);
            let may_end = end.is_none_or(|end| self.next == end);
            let beyond = bytes > BODY_MAX || taken > BLOCK_LEAVES_MAX;
            // most are no header, and whether the last one is, is looked at later
            let looked_at = may_end && (end.is_none() || beyond);
            let is_header = looked_at && entry.is_some_and(looks_like_header);
            // its size is a finding of its own; only hashes are kept of what is beyond
            block.push(slot, entry.filter(|_| !beyond || is_header));
            if end.is_none() && (is_header || taken >= BLOCK_LEAVES_MAX) {
                break;
            }
        }
        block
    }

    /// Whether the bundle with the next leaf is at hand; bundles are read some at once.
    fn has_bundle(&mut self, cores: &impl Cores, recorder: &mut Recorder) -> bool {
        let done = |bundle: &Bundle| self.taken >= bundle.slots.len();
        if self.bundles.front().is_none_or(done) {
            self.bundles.pop_front();
            self.taken = 0;
            if self.bundles.is_empty() {
                let first = self.next / WIDTH;
                let end = self.files.size.get().div_ceil(WIDTH);
                let end = end.min(first.saturating_add(BUNDLES_AT_ONCE));
                let indexes: Vec<u64> = (first..end).collect();
                let read = cores.each(&indexes, |index| self.files.bundle(*index));
                self.bundles = read.into_iter().flatten().collect();
            }
            let Some(bundle) = self.bundles.front_mut() else { return false };
            recorder.append(std::mem::take(&mut bundle.recorder));
            self.missing = if bundle.is_missing { self.missing.saturating_add(1) } else { 0 };
        }
        self.missing < MISSING_BUNDLES_MAX
    }

    /// Compares one block's leaves with their tile and with the certified root.
    pub(super) fn settle(
        &mut self,
        height: Height,
        block: Taken,
        certified: Option<RootHash>,
        recorder: &mut Recorder,
    ) -> Settled {
        let Taken { bytes, slots, mut runs } = block;
        let place = Place::block(self.files.log, height);
        let first = LeafIndex::new(self.frontier.size().get());
        let expected_body = || -> Option<RootHash> {
            let entry = slots.last()?.entry?.of(&bytes)?;
            Header::from_bytes(entry).ok().map(|header| header.body_root)
        };
        let proves = |tree: &Extended| match certified {
            Some(root) => tree.whole.root() == root,
            None => expected_body() == Some(tree.body_root),
        };
        let mut hashes: Vec<LeafHash> = slots.iter().map(Slot::hash_by_entry).collect();
        let mut tree = Extended::new(&self.frontier, &hashes, &runs);
        let mut proven = proves(&tree);
        if !proven {
            let by_tiles: Vec<LeafHash> = slots.iter().map(Slot::hash_by_tile).collect();
            if by_tiles != hashes {
                let other = Extended::new(&self.frontier, &by_tiles, &[]);
                if proves(&other) {
                    (tree, hashes, proven) = (other, by_tiles, true);
                    runs.clear();
                }
            }
        }
        let mut entries = Vec::with_capacity(slots.len());
        let header_index = tree.whole.size().get().saturating_sub(1);
        for ((index, slot), hash) in (first.get()..).zip(&slots).zip(&hashes) {
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
        self.push_all(&hashes, &runs, recorder);
        let (body_root, continues) = (tree.body_root, !self.lost);
        Settled { first, bytes, entries, hashes, body_root, proven, continues }
    }

    /// After a block that does not fit, the published tiles may still have the certified tree.
    fn find_again(&mut self, root: RootHash) -> bool {
        let size = self.frontier.size();
        let published = TileReader::new(self.files.folder, self.files.size);
        let published = Frontier::read(&published, size);
        match published.ok().filter(|frontier| frontier.root() == root) {
            Some(frontier) => {
                self.frontier = frontier;
                true
            }
            None => false,
        }
    }

    /// Puts a block's hashes where the tiles above level 0 are computed from.
    fn push_all(&mut self, hashes: &[LeafHash], runs: &[Run], recorder: &mut Recorder) {
        for part in parts(hashes, runs) {
            match part {
                Part::Leaf(hash) => self.push(0, hash.into(), recorder),
                Part::Run(hashes, root) => {
                    let tile: Vec<NodeHash> = hashes.iter().map(|hash| (*hash).into()).collect();
                    self.pushed = self.pushed.saturating_add(WIDTH);
                    self.compare(0, &tile, recorder);
                    self.push(1, root, recorder);
                }
            }
        }
    }

    /// Puts a hash into its level; a tile that is now full is compared with the published one.
    fn push(&mut self, level: u8, hash: NodeHash, recorder: &mut Recorder) {
        if level == 0 {
            self.pushed = self.pushed.saturating_add(1);
        }
        let mut carried = hash;
        for level in level..LEVELS {
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
        if self.pushed == self.files.size.get() && !self.lost {
            for level in 0..LEVELS {
                let edge = self.levels.get_mut(usize::from(level)).map(std::mem::take);
                if let Some(hashes) = edge.filter(|hashes| !hashes.is_empty()) {
                    self.compare(level, &hashes, recorder);
                }
            }
        }
        let left = u64::try_from(self.partials.len()).unwrap_or(u64::MAX);
        recorder.not_checked(self.files.log, Reason::JudgedByMissing, left);
    }

    /// Compares a tile, full or the last of its level, and what is left of earlier sizes.
    fn compare(&mut self, level: u8, hashes: &[NodeHash], recorder: &mut Recorder) {
        if self.lost {
            return recorder.not_checked(self.files.log, Reason::JudgedByMissing, 1);
        }
        let kind = TileKind::Hashes { level };
        // beyond 2^64 leaves a tile there is but one
        let span = 256_u64.checked_pow(u32::from(level).saturating_add(1));
        let last = self.pushed.saturating_sub(1);
        let index = span.and_then(|span| last.checked_div(span)).unwrap_or_default();
        // level 0 itself was compared entry by entry
        if level > 0
            && let Some(published) = self.files.tile(kind, index, recorder)
            && published != hashes
            && let Some(path) = TilePath::in_tree(kind, index, self.files.size)
        {
            let message = format_args!("{path} does not hold the hashes that the entries come to");
            recorder.find(Place::log(self.files.log), Rule::TileDisagrees, message);
        }
        let bundle = (level == 0).then_some(TileKind::Entries);
        for kind in bundle.into_iter().chain([kind]) {
            for path in self.partials.remove(&(kind, index)).into_iter().flatten() {
                let bytes = self.files.folder.read(&path).unwrap_or_default();
                if !is_beginning(path, &bytes, hashes) {
                    let message = format_args!("{path} is not what the log has up to there");
                    recorder.find(Place::log(self.files.log), Rule::TileDisagrees, message);
                }
            }
        }
    }
}

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
    fn new(before: &Frontier, leaves: &[LeafHash], runs: &[Run]) -> Self {
        let mut whole = before.clone();
        let mut body_root = whole.root();
        if let Some((last, body)) = leaves.split_last() {
            for part in parts(body, runs) {
                // fails only beyond 2^64 - 1 leaves, which the size of the log excludes
                let _ = match part {
                    Part::Leaf(hash) => whole.append(hash).map(|_| ()),
                    Part::Run(_, root) => whole.append_perfect(BUNDLE_LEVEL, root),
                };
            }
            body_root = whole.root();
            let _ = whole.append(*last);
        }
        Self { body_root, whole }
    }
}

/// A part of a block's leaves.
enum Part<'a> {
    Leaf(LeafHash),
    /// A whole bundle of them with its root.
    Run(&'a [LeafHash], NodeHash),
}

/// A block's leaves in order, as few parts as the runs allow. Every run begins where a bundle does.
fn parts<'a>(leaves: &'a [LeafHash], runs: &'a [Run]) -> impl Iterator<Item = Part<'a>> {
    let mut runs = runs.iter().peekable();
    let mut place = 0_usize;
    std::iter::from_fn(move || {
        let end = place.saturating_add(usize::from(TILE_WIDTH));
        if let Some(run) = runs.next_if(|run| run.place == place)
            && let Some(hashes) = leaves.get(place..end)
        {
            place = end;
            return Some(Part::Run(hashes, run.root));
        }
        let leaf = leaves.get(place)?;
        place = place.saturating_add(1);
        Some(Part::Leaf(*leaf))
    })
}

/// Whether an entry begins as headers do; what does is decoded by whoever needs it.
fn looks_like_header(entry: &[u8]) -> bool {
    // array of two, kind 0, array of one
    entry.starts_with(&[0x82, 0x00, 0x81])
        && matches!(Entry::from_bytes(entry), Ok(Entry::Header(_)))
}
