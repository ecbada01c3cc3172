//! The leaves that returns take back, opened again: so that the audit keeps in memory what came back
//! and not everything that was ever sent.

use super::OpeningKey;
use super::blocks::Logs;
use super::disputes;
use super::folder::{Fact, LogFolder, read_header_leaf, read_leaf};
use super::report::{Place, Recorder};
use super::sealed::Reader;
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, SealedEntry};
use crate::epochs::Constitutions;
use crate::exchange::Payload;
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::{Entry, Header};
use crate::log::dispute::DisputeOpened;
use crate::time::Timestamp;

/// A leaf that was sent.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) height: Height,
    /// Until when it may be sent back.
    pub(super) until: Timestamp,
    pub(super) to: BrandId,
    pub(super) payload: Payload,
}

/// Opens leaves by their place.
#[derive(Debug)]
pub(super) struct Originals<'a, F> {
    constitutions: &'a Constitutions,
    logs: &'a Logs<'a, F>,
    keys: &'a [OpeningKey],
    // the last block that was opened: returns come in runs
    block: Option<(BrandId, Height, Header, BlockSecret)>,
}

impl<'a, F: LogFolder> Originals<'a, F> {
    pub(super) const fn new(
        constitutions: &'a Constitutions,
        logs: &'a Logs<'a, F>,
        keys: &'a [OpeningKey],
    ) -> Self {
        Self { constitutions, logs, keys, block: None }
    }

    /// The alliance's constitutions.
    pub(super) const fn constitutions(&self) -> &'a Constitutions {
        self.constitutions
    }

    /// The block of a log's checkpoint.
    pub(super) fn copied(&self, log: BrandId) -> Option<Height> {
        self.logs.get(&log).map(|log| log.copied)
    }

    /// Judges a dispute by what it opens.
    pub(super) fn judge_dispute(&self, of: (Place, &DisputeOpened), recorder: &mut Recorder) {
        disputes::judge(self.constitutions, self.logs, of, recorder);
    }

    /// What the leaf says, and to whom; none when there is none or it does not open. The walk has
    /// compared the entries with their tree before, and reported what is wrong with them.
    pub(super) fn open(&mut self, log: BrandId, index: LeafIndex) -> Option<Original> {
        let of = self.logs.get(&log)?;
        let (height, fact) = of.facts.of_leaf(index)?;
        self.load(log, height, &fact)?;
        let (_, _, header, secret) = self.block.as_ref()?;
        if index < header.first {
            return None;
        }
        let leaf = read_leaf(of.folder, of.size, index)?;
        let Ok(Entry::Sealed(sealed)) = Entry::from_bytes(&leaf) else { return None };
        let constitution = self.constitutions.of(header.epoch)?;
        let (to, payload) = header.columns.iter().find_map(|column| {
            let to = column.counterparty;
            Some((to, open(constitution, header, secret, (to, index), &sealed)?))
        })?;
        let until = header.time.plus(constitution.return_window());
        Some(Original { height, until, to, payload })
    }

    fn load(&mut self, log: BrandId, height: Height, fact: &Fact) -> Option<()> {
        let known = self.block.as_ref().map(|(log, height, ..)| (*log, *height));
        if known != Some((log, height)) {
            let of = self.logs.get(&log)?;
            let header = Header::from_bytes(&read_header_leaf(of.folder, of.size, fact)?).ok()?;
            let constitution = self.constitutions.of(header.epoch)?;
            let reader = Reader::of(self.constitutions, log, self.keys, Some(&of.disclosed))?;
            let secret = reader.secret(constitution, &header)?;
            self.block = Some((log, height, header, secret));
        }
        Some(())
    }
}

fn open(
    constitution: &Constitution,
    header: &Header,
    secret: &BlockSecret,
    (to, index): (BrandId, LeafIndex),
    sealed: &SealedEntry,
) -> Option<Payload> {
    let context = header.context();
    let key = context.entry_key(&context.column_key(secret, to), index);
    let bytes = context.open(&key, index, sealed).ok()?;
    Payload::read(&bytes, constitution, (header.log, to)).ok()
}
