//! The leaves that returns take back, opened again: so that the audit keeps in memory what came back
//! and not everything that was ever sent.

use std::collections::BTreeMap;

use super::OpeningKey;
use super::blocks::Logs;
use super::disputes;
use super::folder::{Fact, Leaves, LogFolder, read_header_leaf};
use super::report::{Place, Recorder};
use super::sealed::Reader;
use crate::codec::{self, ENTRY_MAX};
use crate::crypto::sealed::{ColumnCipher, SealedLeaf};
use crate::epochs::Constitutions;
use crate::exchange::Payload;
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::Header;
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
    readers: BTreeMap<BrandId, Option<Reader<'a>>>,
    leaves: Leaves,
    // the last block that was opened: returns come in runs
    block: Option<OpenBlock>,
}

#[derive(Debug)]
struct OpenBlock {
    log: BrandId,
    height: Height,
    header: Header,
    columns: Vec<(BrandId, ColumnCipher)>,
}

impl<'a, F: LogFolder> Originals<'a, F> {
    pub(super) const fn new(
        constitutions: &'a Constitutions,
        logs: &'a Logs<'a, F>,
        keys: &'a [OpeningKey],
    ) -> Self {
        Self {
            constitutions,
            logs,
            keys,
            readers: BTreeMap::new(),
            leaves: Leaves::new(),
            block: None,
        }
    }

    /// The alliance's constitutions.
    pub(super) const fn constitutions(&self) -> &'a Constitutions {
        self.constitutions
    }

    /// All logs.
    pub(super) const fn logs(&self) -> &'a Logs<'a, F> {
        self.logs
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
        let OpenBlock { header, columns, .. } = self.block.as_mut()?;
        if index < header.first {
            return None;
        }
        let leaf = self.leaves.read((log, of.folder), of.size, index)?;
        let SealedLeaf::Sealed(sealed) = codec::decode("a log entry", leaf, ENTRY_MAX).ok()?;
        let constitution = self.constitutions.of(header.epoch)?;
        let (to, payload) = columns.iter_mut().find_map(|(to, cipher)| {
            let bytes = cipher.open(index, sealed).ok()?;
            Some((*to, Payload::read(bytes, constitution, (log, *to)).ok()?))
        })?;
        let until = header.time.plus(constitution.return_window());
        Some(Original { height, until, to, payload })
    }

    fn load(&mut self, log: BrandId, height: Height, fact: &Fact) -> Option<()> {
        let known = self.block.as_ref().map(|block| (block.log, block.height));
        if known != Some((log, height)) {
            let of = self.logs.get(&log)?;
            let header = Header::from_bytes(&read_header_leaf(of.folder, of.size, fact)?).ok()?;
            let constitution = self.constitutions.of(header.epoch)?;
            let reader = self.readers.entry(log).or_insert_with(|| {
                Reader::of(self.constitutions, log, self.keys, Some(&of.disclosed))
            });
            let secret = reader.as_ref()?.secret(constitution, &header)?;
            let context = header.context();
            let columns = header.columns.iter().map(|column| {
                let to = column.counterparty;
                (to, context.column(&context.column_key(&secret, to)))
            });
            let columns = columns.collect();
            self.block = Some(OpenBlock { log, height, header, columns });
        }
        Some(())
    }
}
