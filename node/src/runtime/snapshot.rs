//! What the journal's records come to, written in their place: so that a restart takes as long as the
//! state is large, and not as long as the history is.
//!
//! The loop stops only to say what the state is; sealing, writing, reading back and deleting older files is a
//! thread's. While it works, the journal goes on in its next segment: a crash at any moment leaves the
//! snapshot before with all that came since. A snapshot is due when the journal has grown by some
//! multiple of the last one, every day, and when sealing keys were destroyed: then twice in a row, so
//! that the generation that is kept behind the newest is of the present as well, and no file of the
//! journal has block secrets or column keys of blocks that are final.

mod care;

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use minicbor::bytes::ByteVec;
use protocol::ids::LeafIndex;
use protocol::log::block::Header;
use protocol::time::Milliseconds;

pub(super) use self::care::SnapshotCare;
use super::core::Core;
use super::sealed_journal::{RecordCipher, Recorded, SealedRecordError};
use super::state_record::{ITEMS_MAX, StateRecord};
use super::{Internal, RunError, Runtime, now};
use crate::exchange::book::Marks;
use crate::exchange::cold::{Cold, ColdError, Leaving};
use crate::exchange::record::NodeRecord;
use crate::journal::{JournalError, SnapshotPlace};
use crate::store::{Keyspace, Store, StoreError, Write};

/// Where the keys of what has earned are once a snapshot was written, each with the number of the snapshot
/// that had it last.
const EARNED: Keyspace = "earned";
/// Where the highest such number is.
const EARNED_LATEST: Keyspace = "earned-latest";
/// So long an exchange stays in memory at least once it is answered or has come in. A day, since the store
/// takes far more memory while many exchanges come to it than they took (docs/performance.md).
const KEPT: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);
/// Bytes of records that are written at once.
const AT_ONCE: usize = 4 * 1024 * 1024;
/// Keys of one transaction of the store.
const KEYS_AT_ONCE: usize = 4096;

impl Core {
    /// What all records up to now come to, but for exchanges that leave memory with it, in the order in
    /// which they are to be replayed; none while a final block waits to be dealt with. To be taken between two
    /// turns, when the records of the last are on the disk.
    #[must_use]
    pub fn snapshot(&self, leaving: &Leaving) -> Option<Vec<Recorded>> {
        if !self.has_applied_all() {
            return None;
        }
        let ledger = self.ledger.snapshot().into_iter();
        let mut records: Vec<Recorded> =
            ledger.map(|record| Recorded::Ledger(Box::new(record))).collect();
        let mut state = |part| records.push(Recorded::State(Box::new(part)));
        chunked(self.points.balances().into_iter(), StateRecord::Balances, &mut state);
        chunked(self.points.controls(), StateRecord::Controls, &mut state);
        chunked(self.points.beyond(), StateRecord::Beyond, &mut state);
        let keys = |keys: Vec<[u8; 20]>| StateRecord::EarnedKeys(keys.concat());
        chunked(self.points.earned().into_iter(), keys, &mut state);
        let ids: BTreeSet<_> = leaving.exchanges.iter().map(|(it, _)| it.requested.id).collect();
        let leaves: BTreeSet<_> =
            leaving.exchanges.iter().filter_map(|(_, leg)| Some(leg.as_ref()?.0)).collect();
        let places: BTreeSet<_> = leaving.received.iter().map(|(place, ..)| *place).collect();
        self.programme_parts().into_iter().for_each(&mut state);
        let exchanges = self.book.exchanges().filter(|it| !ids.contains(&it.requested.id));
        chunked(exchanges.cloned(), StateRecord::Exchanges, &mut state);
        let gone = |index: &LeafIndex| leaves.contains(index) || leaving.void.contains(index);
        let legs = self.book.legs().iter().filter(|(index, _)| !gone(index));
        let legs = legs.map(|(index, leg)| (index, leg.clone()));
        chunked(legs, StateRecord::Legs, &mut state);
        let received = self.book.received();
        let came_in = received.iter().filter(|(place, _)| !places.contains(place));
        let came_in = came_in.map(|((brand, leaf), known)| (brand, leaf, *known));
        chunked(came_in, StateRecord::Received, &mut state);
        let back = received.all_sent_back();
        let back = back.filter(|(asked, _)| !places.contains(&(asked.from, asked.leaf)));
        let back = back.map(|(asked, is_final)| (asked.clone(), is_final));
        chunked(back, StateRecord::SentBack, &mut state);
        state(StateRecord::Book(Box::new(self.book.state(leaving))));
        for (brand, offer) in self.book.offered() {
            state(StateRecord::Offered(brand, Box::new(offer.clone())));
        }
        let former = self.book.former_returns();
        let former = former.map(|((brand, leaf), back)| (brand, leaf, back.clone()));
        chunked(former, StateRecord::FormerReturns, &mut state);
        for (log, known) in &self.headers {
            let leaves = known.values().map(|(_, header)| ByteVec::from(header.to_leaf().0));
            chunked(leaves, |leaves| StateRecord::Headers(*log, leaves), &mut state);
        }
        for (cut_off, cycle) in self.clearing.cycles() {
            state(StateRecord::Cycle(cut_off, Box::new(cycle)));
        }
        state(StateRecord::Absent(Box::new(self.clearing.absent().clone())));
        state(StateRecord::Disputes(Box::new(self.disputes.clone())));
        self.kept.snapshot(&mut state);
        for entry in &self.applications {
            state(StateRecord::Application(Box::new(entry.clone())));
        }
        let node = |record| Recorded::Node(record);
        let joint = self.joint.iter().cloned().map(NodeRecord::CleanRoom);
        let cosigned = self.foreign.cosigned().map(NodeRecord::Cosigned);
        let waiting = self.book.waiting().cloned().map(NodeRecord::Submitted);
        records.extend(joint.chain(cosigned).chain(waiting).map(node));
        Some(records)
    }

    /// Takes up a part of a snapshot.
    ///
    /// # Errors
    /// When a header in it does not read.
    pub(super) fn take_up(&mut self, part: StateRecord) -> Result<(), String> {
        match part {
            StateRecord::Balances(balances) => self.points.take_up(balances),
            StateRecord::Controls(controls) => self.points.take_up_controls(controls),
            StateRecord::EarnedKeys(keys) => {
                let (keys, _) = keys.as_chunks::<20>();
                self.points.take_up_earned(keys.iter().copied());
            }
            StateRecord::Programme(piece, is_last) => self.take_up_programme(&piece, is_last)?,
            StateRecord::Exchanges(exchanges) => {
                exchanges.into_iter().for_each(|booked| self.book.take_up_exchange(booked));
            }
            StateRecord::Legs(legs) => {
                legs.into_iter().for_each(|(index, leg)| self.book.take_up_leg(index, leg));
            }
            StateRecord::Received(received) => {
                for (brand, leaf, known) in received {
                    self.book.received_mut().take_up((brand, leaf), known);
                }
            }
            StateRecord::SentBack(all) => {
                for (asked, is_final) in all {
                    self.book.received_mut().take_up_sent_back(asked, is_final);
                }
            }
            StateRecord::Book(state) => self.book.take_up(&state),
            StateRecord::Offered(brand, offer) => self.book.take_up_offer(brand, *offer),
            StateRecord::FormerReturns(all) => {
                for (brand, leaf, back) in all {
                    self.book.take_up_former_returns((brand, leaf), back);
                }
            }
            StateRecord::Beyond(all) => self.points.take_up_beyond(all),
            StateRecord::Absent(absent) => self.clearing.take_up_absent(*absent),
            StateRecord::Headers(log, leaves) => {
                let known = self.headers.entry(log).or_default();
                for leaf in leaves {
                    let header = Header::from_bytes(&leaf).map_err(|error| error.to_string())?;
                    let id = protocol::log::merkle::leaf_hash(&leaf).of_header();
                    known.insert(header.height, (id, header));
                }
            }
            StateRecord::Cycle(cut_off, cycle) => self.clearing.take_up(cut_off, *cycle),
            StateRecord::Disputes(disputes) => self.disputes = *disputes,
            StateRecord::Operations(entries) => self.kept.take_up_operations(entries),
            StateRecord::Answered(all) => self.kept.take_up_answered(all),
            StateRecord::Application(entry) => self.applications.push(*entry),
        }
        Ok(())
    }

    /// What can leave memory with a snapshot: see [`crate::exchange::book::Book::leaving`].
    #[must_use]
    pub fn leaving(&self, before: Marks) -> Leaving {
        let own = self.ledger.witness(self.me()).map(|own| own.tip().time);
        self.book.leaving(before, own.unwrap_or_default())
    }

    /// Whether anything has earned before there was a programme.
    ///
    /// # Errors
    /// When the store cannot say.
    pub(super) fn has_any_earned(&self) -> Result<bool, StoreError> {
        let kept = self.store.get(EARNED_LATEST, EARNED.as_bytes())?;
        Ok(kept.is_some() || !self.points.earned().is_empty())
    }

    /// Whether this has earned before there was a programme, ever.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn has_earned(&self, key: &[u8; 20]) -> Result<bool, StoreError> {
        Ok(self.points.has_earned(key) || self.store.get(EARNED, key)?.is_some())
    }
}

/// Keeps the keys of what has earned, once the snapshot with this number, which has them, is written.
pub(super) fn keep_earned(
    store: &dyn Store,
    earned: &[[u8; 20]],
    number: u64,
) -> Result<(), StoreError> {
    let number = number.to_be_bytes();
    for keys in earned.chunks(KEYS_AT_ONCE) {
        let put = |key: &[u8; 20]| Write::put(EARNED, *key, number);
        let latest = Write::put(EARNED_LATEST, EARNED, number);
        store.transaction(&keys.iter().map(put).chain([latest]).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Forgets what has earned according to a snapshot later than the one that is taken up: the journal was put
/// back to before it, and what had earned has not.
///
/// # Errors
/// When the store fails.
pub(super) fn forget_later_earned(store: &dyn Store, taken: u64) -> Result<(), StoreError> {
    let later = |number: &[u8]| *number > taken.to_be_bytes()[..];
    if !store.get(EARNED_LATEST, EARNED.as_bytes())?.is_some_and(|latest| later(&latest)) {
        return Ok(());
    }
    let mut from = Vec::new();
    loop {
        let after = if from.is_empty() { Bound::Unbounded } else { Bound::Excluded(&from[..]) };
        let page = store.scan(EARNED, after, Bound::Unbounded, KEYS_AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        from.clone_from(last);
        let gone = page.into_iter().filter(|(_, number)| later(number));
        let gone: Vec<Write> = gone.map(|(key, _)| Write::delete(EARNED, key)).collect();
        store.transaction(&gone)?;
    }
    store.transaction(&[Write::put(EARNED_LATEST, EARNED, taken.to_be_bytes())])
}

pub(super) fn chunked<T>(
    items: impl Iterator<Item = T>,
    part: impl Fn(Vec<T>) -> StateRecord,
    state: &mut impl FnMut(StateRecord),
) {
    let mut items = items.peekable();
    while items.peek().is_some() {
        state(part(items.by_ref().take(ITEMS_MAX).collect()));
    }
}

/// Why a snapshot was not written. The journal stands as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its file, or an older one.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of it.
    #[error(transparent)]
    Record(#[from] SealedRecordError),
    /// The store, which takes the keys of what has earned.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store, which takes exchanges that leave memory.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// Own blocks, or what is held of others', beside the journal.
    #[error("own blocks and fragments cannot be synced: {0}")]
    Beside(#[from] std::io::Error),
}

/// A snapshot that a thread has written.
#[derive(Debug)]
pub struct WrittenSnapshot {
    /// Its bytes.
    pub bytes: u64,
    /// Keys of what has earned that the store has now.
    pub earned: Vec<[u8; 20]>,
    /// Exchanges that the store has now.
    pub leaving: Leaving,
}

/// What has to be done to write a snapshot.
pub(super) struct SnapshotJob {
    pub place: SnapshotPlace,
    pub records: Vec<Recorded>,
    pub earned: Vec<[u8; 20]>,
    pub leaving: Leaving,
    pub cipher: Arc<RecordCipher>,
    pub store: Arc<dyn Store>,
    pub beside: Vec<File>,
}

impl SnapshotJob {
    /// Writes it, and verifies it by opening every record that is read back.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn run(self) -> Result<WrittenSnapshot, SnapshotError> {
        let Self { place, records, earned, leaving, cipher, store, beside } = self;
        let number = place.number();
        let mut writer = place.create()?;
        // the snapshot goes without them: they are in the store before it is one
        Cold::new(Arc::clone(&store), Arc::clone(&cipher) as _).take(&leaving)?;
        for file in beside {
            file.sync_all()?;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for record in records {
            let sealed = cipher.seal(&record)?;
            bytes += sealed.bytes.len();
            batch.push(sealed);
            if bytes >= AT_ONCE {
                writer.append(&batch)?;
                (batch, bytes) = (Vec::new(), 0);
            }
        }
        writer.append(&batch)?;
        let check = |record| cipher.open(record).map(drop).map_err(SnapshotError::from);
        let bytes = writer.finish(check)?;
        keep_earned(&*store, &earned, number)?;
        Ok(WrittenSnapshot { bytes, earned, leaving })
    }
}

impl Runtime {
    /// Begins a snapshot if it is time, between two turns.
    ///
    /// # Errors
    /// When the journal cannot go on.
    pub(super) async fn care_for_snapshots(&mut self) -> Result<(), RunError> {
        // a restored node first finds out what it had made of others' blocks
        if !self.snapshots.is_due(now()) || !self.core.has_applied_all() {
            return Ok(());
        }
        // a backup copies the journal's files, and none of them goes meanwhile
        if self.backup.lock().unwrap_or_else(PoisonError::into_inner).running {
            return Ok(());
        }
        // all that it stands for is durable, and its checkpoint is on its way
        while let Some((outputs, took)) = self.in_flight.next().await? {
            self.say(outputs, took)?;
        }
        let care = &mut self.snapshots;
        let at = now();
        while care.marks.get(1).is_some_and(|(then, _)| at.since(*then) >= KEPT) {
            care.marks.pop_front();
        }
        let old = care.marks.front().filter(|(then, _)| at.since(*then) >= KEPT);
        let old = old.map(|(_, marks)| *marks).unwrap_or_default();
        care.marks.push_back((at, self.core.book.marks()));
        let (leaving, records) = tokio::task::block_in_place(|| {
            let leaving = self.core.leaving(old);
            if let Some(room) = &mut self.room {
                let joint = std::mem::take(&mut self.core.joint);
                self.core.joint = room.let_ended_leave(joint, now());
            }
            let records = self.core.snapshot(&leaving);
            (leaving, records)
        });
        let Some(records) = records else { return Ok(()) };
        let care = &mut self.snapshots;
        (care.begun, care.under_way, care.since) = (now(), true, 0);
        // what it stands for is published, and no replay publishes it again
        let published = &self.core.published;
        let synced =
            tokio::task::block_in_place(|| published.wait().and_then(|()| published.to_sync()));
        let mut beside = synced.map_err(super::TurnError::from)?;
        // nor does one bring back what is held of others' logs
        if let Some(fragments) = &self.core.fragments {
            beside.extend(fragments.newest_files().map_err(super::TurnError::from)?);
        }
        let job = SnapshotJob {
            place: self.journal.begin_snapshot().await?,
            records,
            earned: self.core.points.earned(),
            leaving,
            cipher: Arc::clone(&self.cipher),
            store: Arc::clone(&self.core.store),
            beside,
        };
        let back = self.back.clone();
        tokio::task::spawn_blocking(move || {
            let written = job.run();
            // the node may be stopping
            let _ = back.blocking_send(Internal::Snapshot(written));
        });
        Ok(())
    }

    /// A snapshot is written, or not.
    pub(super) fn snapshot_written(&mut self, written: Result<WrittenSnapshot, SnapshotError>) {
        self.snapshots.ended(written.is_err(), self.stop.is_some());
        match written {
            Ok(written) => {
                self.core.points.forget_earned(&written.earned);
                self.core.book.left(&written.leaving);
                self.snapshots.last_bytes = written.bytes;
                self.snapshots.wanted = self.snapshots.wanted.saturating_sub(1);
                self.metrics.set("snapshot_bytes", "", "", written.bytes);
                tracing::info!(bytes = written.bytes, "a snapshot of the journal is written");
            }
            Err(error) => {
                tracing::error!(error = %error, "no snapshot of the journal");
                self.core.alert(format!(
                    "no snapshot of the journal could be written, it goes on growing: {error} / \
                     无法写入日志快照，日志将继续增长：{error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn keys(from: u64, count: u64) -> Vec<[u8; 20]> {
        let key = |number: u64| {
            let mut key = [0; 20];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        (from..from + count).map(key).collect()
    }

    #[test]
    fn what_earned_after_the_snapshot_that_was_put_back_may_earn_again() {
        let store = MemoryStore::new();
        let many = 2 * KEYS_AT_ONCE as u64 + 10;
        keep_earned(&store, &keys(0, many), 3).unwrap();
        keep_earned(&store, &keys(many, many), 4).unwrap();
        let kept = |store: &MemoryStore| {
            let all = store.scan(EARNED, Bound::Unbounded, Bound::Unbounded, usize::MAX);
            all.unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        // as it was when the node stopped, and nothing is looked through
        forget_later_earned(&store, 4).unwrap();
        assert_eq!(kept(&store).len() as u64, 2 * many);
        forget_later_earned(&store, 3).unwrap();
        assert_eq!(kept(&store), keys(0, many));
        // the journal is gone
        forget_later_earned(&store, 0).unwrap();
        assert_eq!(kept(&store), Vec::<Vec<u8>>::new());
    }
}
