//! A disk that keeps what was synced, and of the rest whatever it likes.
//!
//! Records are appended as frames of length, checksum and bytes. A crash keeps any prefix of what was
//! not synced, cut at any byte: the last record may be torn. Reading stops at the first frame that is
//! not whole, and what is behind it is cut off, as the node's journal does.

use protocol::crypto::sha256;

use crate::prng::Prng;

/// Bytes before a record: its length, and the beginning of its SHA-256.
const FRAME: usize = 12;

/// An append-only file.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    bytes: Vec<u8>,
    synced: usize,
    records: usize,
}

impl Disk {
    /// Appends a record; it is not safe yet.
    pub fn append(&mut self, record: &[u8]) {
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(&sha256(&[record])[..FRAME - 4]);
        self.bytes.extend(record);
        self.records += 1;
    }

    /// From now on everything appended so far survives a crash.
    pub const fn sync(&mut self) {
        self.synced = self.bytes.len();
    }

    /// The power fails: of what was not synced some prefix is kept. Whole records alone are left.
    pub fn lose_power(&mut self, prng: &mut Prng) {
        let kept = self.synced + prng.below(self.bytes.len() - self.synced + 1);
        self.bytes.truncate(kept);
        let records = self.read();
        self.records = records.len();
        let whole: usize = records.iter().map(|record| FRAME + record.len()).sum();
        self.bytes.truncate(whole);
        self.synced = whole;
    }

    /// Every whole record, in order.
    #[must_use]
    pub fn read(&self) -> Vec<Vec<u8>> {
        let mut records = Vec::with_capacity(self.records);
        let mut rest = &self.bytes[..];
        while let Some((frame, after)) = rest.split_at_checked(FRAME) {
            let length = frame[..4].try_into().map_or(0, u32::from_be_bytes) as usize;
            let Some((record, after)) = after.split_at_checked(length) else { break };
            if sha256(&[record])[..FRAME - 4] != frame[4..] {
                break;
            }
            records.push(record.to_vec());
            rest = after;
        }
        records
    }

    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_no_torn_record() {
        let record = |number: u8| vec![number; usize::from(number)];
        let mut kept = [false; 4];
        for seed in 0..200 {
            let mut disk = Disk::default();
            for number in 0..=3 {
                disk.append(&record(number));
            }
            disk.sync();
            for number in 4..=6 {
                disk.append(&record(number));
            }
            disk.lose_power(&mut Prng::new(seed));
            let records = disk.read();
            assert!(records.len() >= 4 && records.len() == disk.len(), "seed {seed}");
            assert!(records.iter().zip(0..).all(|(bytes, number)| *bytes == record(number)));
            kept[records.len() - 4] = true;
            // what is appended later is read back behind it
            disk.append(&record(9));
            assert_eq!(disk.read().last(), Some(&record(9)));
        }
        assert_eq!(kept, [true; 4], "every prefix is kept by some seed");
    }
}
