//! Brands whose logs have ended: what everyone else has closed out with them, and what constitutions say
//! is settled of it.
//!
//! Such a brand makes no closing. Its totals are those of its last block, which each counterparty opens
//! in its own log ([`ClosedOut`]); once all who write have done so, they are in every later statement,
//! and stay there when the brand itself has left the alliance: positions are cumulative, and others'
//! payments may have gone round through it. Pairs of two ended logs are nobody's to open and are not counted.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::closing::CheckedClosing;
use super::statement::ClosedBlock;
use crate::amount::Value;
use crate::constitution::{Constitution, WrittenOff};
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, Height};
use crate::log::block::Header;
use crate::log::closed_out::ClosedOut;
use crate::witness::ending::EndedLog;

/// What one brand has closed out with an ended log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Pair {
    // in which block of its own log it says so
    #[n(0)]
    height: Height,
    #[n(1)]
    received: Value,
    #[n(2)]
    sent: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Gone {
    #[n(0)]
    block: ClosedBlock,
    // what it ever confirmed as payee, by payer
    #[n(1)]
    confirmed: BTreeMap<BrandId, Value>,
    #[n(2)]
    pairs: BTreeMap<BrandId, Pair>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Absent {
    #[n(0)]
    gone: BTreeMap<BrandId, Gone>,
    // what a brand has last said it ever confirmed, by payee and payer
    #[n(1)]
    confirmed: BTreeMap<(BrandId, BrandId), Value>,
    // of the constitutions that are known, which are read again
    #[cbor(skip)]
    written_off: Vec<(Epoch, WrittenOff)>,
}

impl Absent {
    /// Nobody is absent yet; what these constitutions write off counts.
    #[must_use]
    pub fn under(constitutions: &Constitutions) -> Self {
        let mut absent = Self::default();
        absent.read(constitutions);
        absent
    }

    /// Reads what constitutions write off, again when there are more of them.
    pub fn read(&mut self, constitutions: &Constitutions) {
        let of = |it: &Constitution| {
            let (epoch, all) = (it.epoch(), it.succession().written_off.clone());
            all.into_iter().map(move |one| (epoch, one))
        };
        self.written_off = constitutions.iter().flat_map(of).collect();
    }

    /// A certified header of any log, in order.
    pub fn header(&mut self, header: &Header) {
        for column in header.columns.iter().filter(|column| !column.confirmed.is_zero()) {
            // it never falls, and an older header may come again
            let known = self.confirmed.entry((header.log, column.counterparty)).or_default();
            *known = column.confirmed.max(*known);
        }
    }

    /// A certified entry in a block of `by` at a height, about a log that has ended. The first counts.
    pub fn closed_out(&mut self, (by, height): (BrandId, Height), it: &ClosedOut, end: &EndedLog) {
        let gone = self.gone.entry(it.log).or_insert_with(|| Gone {
            block: ClosedBlock { debtor: it.log, height: end.height(), block: end.block() },
            confirmed: end.columns().iter().map(|it| (it.counterparty, it.confirmed)).collect(),
            pairs: BTreeMap::new(),
        });
        let (received, sent) = (it.received.content.sent, it.total);
        gone.pairs.entry(by).or_insert(Pair { height, received, sent });
    }

    /// Adds what another log's headers say.
    pub fn add(&mut self, other: Self) {
        self.confirmed.extend(other.confirmed);
        self.gone.extend(other.gone);
    }

    /// Brands that anyone has closed out.
    #[must_use]
    pub fn brands(&self) -> BTreeSet<BrandId> {
        self.gone.keys().copied().collect()
    }

    /// Whether a brand has closed out another.
    #[must_use]
    pub fn has_closed_out(&self, by: BrandId, log: BrandId) -> bool {
        self.gone.get(&log).is_some_and(|gone| gone.pairs.contains_key(&by))
    }

    /// What a brand and an ended one ever sent each other, once it has closed it out: sent to it and
    /// received from it.
    #[must_use]
    pub fn pair(&self, by: BrandId, log: BrandId) -> Option<(Value, Value)> {
        let pair = self.gone.get(&log)?.pairs.get(&by)?;
        Some((pair.sent, pair.received))
    }

    /// What has ever been paid by one to the other as the payee confirmed it.
    #[must_use]
    pub fn paid(&self, payer: BrandId, payee: BrandId) -> Value {
        let ended = self.gone.get(&payee).and_then(|gone| gone.confirmed.get(&payer).copied());
        ended.or(self.confirmed.get(&(payee, payer)).copied()).unwrap_or_default()
    }

    /// What constitutions up to an epoch say is settled.
    pub fn written_off(&self, until: Epoch) -> impl Iterator<Item = &WrittenOff> {
        self.written_off.iter().filter(move |(epoch, _)| *epoch <= until).map(|(_, one)| one)
    }

    /// The ended logs that a statement takes: those that did not close the cut-off themselves, and that
    /// all `closings` of brands that did were made after closing them out. Gives the first for which
    /// that is not so.
    pub(super) fn taken(
        &self,
        closings: &BTreeMap<BrandId, &CheckedClosing>,
    ) -> Result<BTreeSet<BrandId>, BrandId> {
        let mut taken = BTreeSet::new();
        for (log, gone) in self.gone.iter().filter(|(log, _)| !closings.contains_key(log)) {
            // who joined after its last block has nothing to close out with it
            let with = |by: &BrandId| gone.confirmed.is_empty() || gone.confirmed.contains_key(by);
            let all = closings.iter().filter(|(by, _)| with(by)).all(|(by, closing)| {
                gone.pairs.get(by).is_some_and(|pair| pair.height <= closing.block().height)
            });
            if !all {
                return Err(*log);
            }
            taken.insert(*log);
        }
        Ok(taken)
    }

    /// The block in which an ended log's totals stand.
    pub(super) fn block(&self, log: BrandId) -> Option<ClosedBlock> {
        self.gone.get(&log).map(|gone| gone.block)
    }
}
