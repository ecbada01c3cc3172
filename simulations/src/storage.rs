//! What a machine has on disk beside its application: a journal in segments, and snapshots in their place.
//!
//! As the node has it: between two steps a snapshot is begun, and the journal goes on in its next segment; it
//! is written while the machine works, is there once it is whole, and then what is older than the generation
//! before goes. A crash leaves an unfinished one, which nobody reads. One that was whole may turn out to be
//! damaged: then the one before stands, with all that came since.

use crate::disk::Disk;
use crate::prng::Prng;

/// Steps that a snapshot takes to be written, at most.
const STEPS_MAX: usize = 40;

/// A snapshot: records, and what they stand for beside the journal.
#[derive(Clone, Debug)]
struct Snapshot<B> {
    // of the first segment that it does not stand for
    number: u64,
    records: Disk,
    base: B,
}

/// All of it; `B` is what a snapshot stands for beside records.
#[derive(Clone, Debug)]
pub struct Storage<B> {
    // the oldest first; at most two
    snapshots: Vec<Snapshot<B>>,
    segments: Vec<(u64, Disk)>,
    // with the steps that are left
    unfinished: Option<(Snapshot<B>, usize)>,
    // everything ever written, which nothing starts from, and how many records each append ended with
    history: Disk,
    appends: Vec<usize>,
}

impl<B> Default for Storage<B> {
    fn default() -> Self {
        Self {
            snapshots: Vec::new(),
            segments: vec![(1, Disk::default())],
            unfinished: None,
            history: Disk::default(),
            appends: vec![0],
        }
    }
}

impl<B: Clone + Default> Storage<B> {
    fn last(&mut self) -> &mut Disk {
        if self.segments.is_empty() {
            self.segments.push((1, Disk::default()));
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last].1
    }

    /// Appends records and syncs them, or the power fails amid that. Gives how many are there.
    pub fn append(&mut self, records: &[Vec<u8>], fails: Option<&mut Prng>) -> usize {
        let segment = self.last();
        let before = segment.len();
        records.iter().for_each(|record| segment.append(record));
        match fails {
            Some(prng) => segment.lose_power(prng),
            None => segment.sync(),
        }
        let written = segment.len() - before;
        records.iter().take(written).for_each(|record| self.history.append(record));
        self.history.sync();
        if self.appends.last() != Some(&self.history.len()) {
            self.appends.push(self.history.len());
        }
        written
    }

    /// How many records were ever written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.history.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// What a start reads: the newest snapshot, what it stands for beside its records, and the journal after
    /// it.
    #[must_use]
    pub fn read(&self) -> (Vec<Vec<u8>>, B) {
        let newest = self.snapshots.last();
        let from = newest.map_or(0, |snapshot| snapshot.number);
        let mut records = newest.map(|snapshot| snapshot.records.read()).unwrap_or_default();
        let after = self.segments.iter().filter(|(number, _)| *number >= from);
        records.extend(after.flat_map(|(_, segment)| segment.read()));
        (records, newest.map(|snapshot| snapshot.base.clone()).unwrap_or_default())
    }

    /// Everything ever written, and after how many records an append ended.
    #[must_use]
    pub fn history(&self) -> (Vec<Vec<u8>>, &[usize]) {
        (self.history.read(), &self.appends)
    }

    /// Begins a snapshot of all that was appended, unless one is being written.
    pub fn begin(&mut self, records: &[Vec<u8>], base: B, prng: &mut Prng) {
        if self.unfinished.is_some() {
            return;
        }
        let number = self.segments.last().map_or(1, |(number, _)| number + 1);
        self.segments.push((number, Disk::default()));
        let mut disk = Disk::default();
        records.iter().for_each(|record| disk.append(record));
        disk.sync();
        let snapshot = Snapshot { number, records: disk, base };
        self.unfinished = Some((snapshot, prng.below(STEPS_MAX)));
    }

    /// A step has passed. True when a snapshot would be finished by [`Storage::finish`].
    pub fn step(&mut self) -> bool {
        let Some((_, left)) = &mut self.unfinished else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// The snapshot is whole: it has its place, and what is older than the generation before goes.
    pub fn finish(&mut self) {
        let Some((snapshot, _)) = self.unfinished.take() else { return };
        self.snapshots.push(snapshot);
        if self.snapshots.len() > 2 {
            self.snapshots.remove(0);
        }
        if let [before, _] = &self.snapshots[..] {
            let first = before.number;
            self.segments.retain(|(number, _)| *number >= first);
        }
    }

    /// The power fails: what was not finished is gone. At times the newest snapshot does not read any more,
    /// where something is left to start from.
    pub fn lose_power(&mut self, prng: &mut Prng) {
        self.unfinished = None;
        let is_whole = self.segments.first().is_some_and(|(number, _)| *number == 1);
        let spare = self.snapshots.len() > 1 || is_whole;
        if spare && prng.below(4) == 0 {
            self.snapshots.pop();
        }
    }

    /// Rewrites every record; what gives none goes.
    pub fn rewrite(&mut self, mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        self.unfinished = None;
        let snapshots = self.snapshots.iter_mut().map(|snapshot| &mut snapshot.records);
        let segments = self.segments.iter_mut().map(|(_, segment)| segment);
        for disk in snapshots.chain(segments).chain([&mut self.history]) {
            let records = std::mem::take(disk).read();
            records.iter().filter_map(|it| change(it)).for_each(|it| disk.append(&it));
            disk.sync();
        }
        // where appends ended is not known any more: all of it is one
        self.appends = vec![0, self.history.len()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> Storage<u8> {
        Storage::default()
    }

    fn record(number: u8) -> Vec<u8> {
        vec![number]
    }

    #[test]
    fn a_start_reads_the_newest_whole_snapshot_and_what_came_after_it() {
        let mut prng = Prng::new(1);
        let mut disk = storage();
        disk.append(&[record(1), record(2)], None);
        disk.begin(&[record(12)], 12, &mut prng);
        disk.append(&[record(3)], None);
        assert_eq!(disk.read(), (vec![record(1), record(2), record(3)], 0), "it is not whole");
        while !disk.step() {}
        disk.finish();
        assert_eq!(disk.read(), (vec![record(12), record(3)], 12));
        disk.begin(&[record(123)], 123, &mut prng);
        disk.append(&[record(4)], None);
        let mut crashed = disk.clone();
        crashed.unfinished = None;
        assert_eq!(crashed.read(), (vec![record(12), record(3), record(4)], 12));
        disk.finish();
        assert_eq!(disk.read(), (vec![record(123), record(4)], 123));
        // a damaged one leaves the one before, with all that came since
        disk.snapshots.pop();
        assert_eq!(disk.read(), (vec![record(12), record(3), record(4)], 12));
        assert_eq!(disk.history().0.len(), 4);
        assert_eq!(disk.history().1, [0, 2, 3, 4]);
    }

    #[test]
    fn the_last_that_can_be_read_is_never_damaged() {
        for seed in 0..50 {
            let mut prng = Prng::new(seed);
            let mut disk = storage();
            for number in 1..=9 {
                disk.append(&[record(number)], None);
                disk.begin(&[record(100 + number)], number, &mut prng);
                disk.finish();
                disk.lose_power(&mut prng);
                let (records, base) = disk.read();
                let stands_for = usize::from(base);
                let after = records.len() - usize::from(base > 0);
                assert_eq!(stands_for + after, usize::from(number), "seed {seed}");
            }
        }
    }
}
