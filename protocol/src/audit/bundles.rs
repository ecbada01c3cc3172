//! One bundle of entries and its level-0 tile as the files have them, read and hashed before it is known
//! which blocks the entries belong to.

use super::folder::{LogFolder, WIDTH, read_file};
use super::report::{Place, Reason, Recorder, Rule};
use crate::ids::{BrandId, LeafHash, LeafIndex, TreeSize};
use crate::log::entries::LENGTH_BYTES;
use crate::log::merkle::{NodeHash, leaf_hash};
use crate::log::tiles::{TILE_WIDTH, TileKind, TilePath};

/// Where an entry's bytes are in the bytes of its bundle or block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.start..self.end)
    }
}

/// One leaf as the files have it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The entry, if it can be read (and the block has not more bytes than a block may have).
    pub(super) entry: Option<Span>,
    /// Hash of the entry.
    pub(super) hash: Option<LeafHash>,
    /// Hash in the tile.
    pub(super) tile: Option<LeafHash>,
    /// What is wrong here has been reported with its file.
    pub(super) reported: bool,
}

impl Slot {
    pub(super) fn hash_by_entry(&self) -> LeafHash {
        self.hash.or(self.tile).unwrap_or(NOTHING)
    }
    pub(super) fn hash_by_tile(&self) -> LeafHash {
        self.tile.or(self.hash).unwrap_or(NOTHING)
    }
}

/// A bundle and its level-0 tile, read before it is known in which blocks the entries are.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) bytes: Vec<u8>,
    pub(super) slots: Vec<Slot>,
    /// Over the entries' hashes, of a full one.
    pub(super) root: Option<NodeHash>,
    /// What was found in its files.
    pub(super) recorder: Recorder,
    pub(super) is_missing: bool,
}

/// The files of one log.
#[derive(Debug)]
pub(super) struct Files<'a, F> {
    pub(super) log: BrandId,
    pub(super) folder: &'a F,
    pub(super) size: TreeSize,
}

impl<F: LogFolder> Files<'_, F> {
    pub(super) fn bundle(&self, index: u64) -> Option<Bundle> {
        let path = TilePath::in_tree(TileKind::Entries, index, self.size)?;
        let mut recorder = Recorder::default();
        let mut slots = vec![Slot::default(); usize::from(path.width())];
        let tile = self.tile(TileKind::Hashes { level: 0 }, index, &mut recorder);
        for (slot, hash) in slots.iter_mut().zip(tile.unwrap_or_default()) {
            slot.tile = Some(LeafHash::from_bytes(*hash.as_bytes()));
        }
        let file = read_file(self.folder, TileKind::Entries, index, self.size);
        // hashes are there: the tree is checked, what the entries say is not
        let archived = index.saturating_add(1).saturating_mul(WIDTH) <= self.folder.archived();
        let is_missing = file.is_err() && !archived;
        let bytes = if let Ok((_, found, bytes)) = file {
            if !fill(&mut slots, &bytes, found == path) {
                self.report_framing(&mut slots, path, &mut recorder);
            }
            bytes
        } else {
            if archived {
                recorder.not_checked(self.log, Reason::Archived, u64::from(path.width()));
            } else {
                let place = Place::log(self.log);
                recorder.find(place, Rule::TileMissing, format_args!("{path} cannot be read"));
            }
            slots.iter_mut().for_each(|slot| slot.reported = true);
            Vec::new()
        };
        let is_full = slots.len() == usize::from(TILE_WIDTH);
        let hashes = slots.iter().filter(|_| is_full).map(|slot| slot.hash_by_entry().into());
        let root = perfect_root(hashes.collect());
        Some(Bundle { bytes, slots, root, recorder, is_missing })
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
        let start = path.index().saturating_mul(WIDTH);
        let index = u64::try_from(first).map_or(start, |first| start.saturating_add(first));
        let message = format_args!(
            "the entry or its length was altered: from here on {path} has no entries of its width"
        );
        recorder.find(Place::log(self.log).at(LeafIndex::new(index)), Rule::EntryAltered, message);
        for slot in slots.iter_mut().skip(first) {
            *slot = Slot { entry: None, hash: None, tile: slot.tile, reported: true };
        }
    }

    /// The hashes of a tile, or none, which is then reported.
    pub(super) fn tile(
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
}

/// Stands in for a hash that cannot be known; no leaf has it.
const NOTHING: LeafHash = LeafHash::from_bytes([0; 32]);

/// Reads the entries of a bundle, as far as they go; says whether the file is just that.
fn fill(slots: &mut [Slot], bytes: &[u8], exact: bool) -> bool {
    let mut rest = bytes;
    let mut start = 0_usize;
    for slot in slots {
        let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return false };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else { return false };
        start = start.saturating_add(LENGTH_BYTES);
        let end = start.saturating_add(length);
        slot.hash = Some(leaf_hash(entry));
        slot.entry = Some(Span { start, end });
        (start, rest) = (end, after);
    }
    !exact || rest.is_empty()
}

pub(super) fn perfect_root(mut row: Vec<NodeHash>) -> Option<NodeHash> {
    while row.len() > 1 {
        let pairs = row.as_chunks::<2>().0;
        row = pairs.iter().map(|[left, right]| NodeHash::over(left, right)).collect();
    }
    row.pop()
}
