//! Brands whose logs have ended: what everyone else has closed out with them, and what constitutions say
//! is settled of it.
//!
//! Such a brand makes no closing. Its totals are those of its last block, which each counterparty opens
//! in its own log ([`ClosedOut`]); once all who write have done so, they are in every later statement,
//! and stay there when the brand itself has left the alliance: positions are cumulative, and others'
//! payments may have gone round through it. Pairs of two ended logs are nobody's to open and are not counted.
//! Who is to be counted at all is asked in `counted`.
//!
//! A brand that joins is not shown what was closed out before. Closings say it again; what they say, and what
//! becomes of it, is in `before`.

mod before;

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::closing::CheckedClosing;
use super::statement::ClosedBlock;
use crate::amount::Value;
use crate::constitution::{Constitution, WrittenOff};
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, Height};
use crate::log::block::Header;
use crate::log::closed_out::{ClosedOut, ClosedOutBefore};
use crate::witness::ending::{EndError, EndedLog};

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

impl Gone {
    /// Whether the blocks that are closed, or earlier ones, show that the log has ended, and everyone of
    /// these who has anything to close out with it has done so in them. Who joined after its last block
    /// has nothing to.
    fn is_closed_out_by(&self, closings: &[&CheckedClosing]) -> bool {
        let has = |closing: &CheckedClosing| {
            let ClosedBlock { debtor, height, .. } = closing.block();
            self.pairs.get(&debtor).is_some_and(|pair| pair.height <= height)
        };
        let must = |closing: &CheckedClosing| self.confirmed.contains_key(&closing.debtor());
        let all = || closings.iter().copied();
        all().any(has) && all().all(|closing| has(closing) || !must(closing))
    }
}

/// An entry about a log whose end is of a constitution that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Waiting {
    #[n(0)]
    by: BrandId,
    #[n(1)]
    height: Height,
    #[n(2)]
    entry: ClosedOut,
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
    // never none of them in a list
    #[n(2)]
    waiting: Option<Vec<Waiting>>,
    // the first block of each log whose header was seen here
    #[n(3)]
    began: Option<BTreeMap<BrandId, Height>>,
    // what each brand's last closing says again; never none of them in a map
    #[n(4)]
    said_again: Option<BTreeMap<BrandId, Vec<ClosedOutBefore>>>,
    // of the constitutions that are known, which are read again
    #[cbor(skip)]
    written_off: Vec<(Epoch, WrittenOff)>,
    // the same: whose logs they have ended
    #[cbor(skip)]
    ended: BTreeSet<BrandId>,
}

impl Absent {
    /// Nobody is absent yet; what these constitutions write off counts.
    #[must_use]
    pub fn under(constitutions: &Constitutions) -> Self {
        let mut absent = Self::default();
        absent.read(constitutions);
        absent
    }

    /// Reads what constitutions write off, again when there are more of them; what has waited for one counts.
    pub fn read(&mut self, constitutions: &Constitutions) {
        let of = |it: &Constitution| {
            let (epoch, all) = (it.epoch(), it.succession().written_off.clone());
            all.into_iter().map(move |one| (epoch, one))
        };
        self.written_off = constitutions.iter().flat_map(of).collect();
        self.ended = constitutions.brands();
        self.ended.retain(|brand| !constitutions.newest().writes(*brand));
        for Waiting { by, height, entry } in self.waiting.take().into_iter().flatten() {
            self.entered((by, height), &entry, constitutions);
        }
    }

    /// A certified header of any log, in order.
    pub fn header(&mut self, header: &Header) {
        self.began_at(header.log, header.height);
        self.confirmed_in(header);
    }

    /// The header of the block with which a log begins for a brand that joined with it: its entries are not shown.
    pub fn begins(&mut self, header: &Header) {
        if let Some(next) = header.height.next() {
            self.began_at(header.log, next);
        }
        self.confirmed_in(header);
    }

    fn began_at(&mut self, log: BrandId, height: Height) {
        self.began.get_or_insert_with(BTreeMap::new).entry(log).or_insert(height);
    }

    fn confirmed_in(&mut self, header: &Header) {
        for column in header.columns.iter().filter(|column| !column.confirmed.is_zero()) {
            // it never falls, and an older header may come again
            let known = self.confirmed.entry((header.log, column.counterparty)).or_default();
            *known = column.confirmed.max(*known);
        }
    }

    /// A certified entry in a block of `by` at a height, by which it closes another log out; says whether it
    /// counts now. The first does. When that log ended by a constitution that is not known here yet, the entry
    /// waits for it ([`Absent::read`]): who takes it up later than others must count the same.
    pub fn entered(
        &mut self,
        (by, height): (BrandId, Height),
        it: &ClosedOut,
        constitutions: &Constitutions,
    ) -> bool {
        // what shows the end is a certificate, which takes a while to check
        if self.has_closed_out(by, it.log) {
            return false;
        }
        match it.end.verify(constitutions) {
            Ok(end) => {
                self.closed_out((by, height), it, &end);
                true
            }
            Err(EndError::UnknownConstitution) => {
                let waiting = self.waiting.get_or_insert_with(Vec::new);
                if !waiting.iter().any(|known| (known.by, known.entry.log) == (by, it.log)) {
                    waiting.push(Waiting { by, height, entry: it.clone() });
                }
                false
            }
            Err(_) => false,
        }
    }

    /// The same of a log that is known to have ended.
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
        for (log, gone) in other.gone {
            let known = self.gone.entry(log).or_insert_with(|| Gone {
                block: gone.block,
                confirmed: gone.confirmed,
                pairs: BTreeMap::new(),
            });
            for (by, pair) in gone.pairs {
                known.pairs.entry(by).or_insert(pair);
            }
        }
    }

    /// Brands that anyone has closed out.
    #[must_use]
    pub fn brands(&self) -> BTreeSet<BrandId> {
        let again = self.said_again.iter().flat_map(BTreeMap::values).flatten();
        let again = again.map(|it| it.log).filter(|log| self.ended.contains(log));
        self.gone.keys().copied().chain(again).collect()
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

    /// Which of these brands a statement takes by what was closed out with them: as many as can be so that
    /// every other one that has closed the cut-off had closed them out by then. Whether they closed it
    /// themselves does not matter: their closings may come late or never. Those whose closings are
    /// not there keep nobody out, since without them there is no statement.
    pub(super) fn taken(
        &self,
        among: &BTreeSet<BrandId>,
        closings: &BTreeMap<BrandId, &CheckedClosing>,
    ) -> BTreeSet<BrandId> {
        let ended = self.gone.keys().filter(|log| among.contains(*log));
        let mut taken: BTreeSet<BrandId> = ended.copied().collect();
        loop {
            // whoever is not closed out goes on, and must itself have closed out those who are
            let going_on =
                closings.iter().filter(|(by, _)| among.contains(*by) && !taken.contains(*by));
            let going_on: Vec<&CheckedClosing> = going_on.map(|(_, closing)| *closing).collect();
            let open = |log: &&BrandId| {
                self.gone.get(*log).is_none_or(|gone| !gone.is_closed_out_by(&going_on))
            };
            let Some(log) = taken.iter().find(open).copied() else { return taken };
            taken.remove(&log);
        }
    }

    /// The block in which an ended log's totals stand.
    pub(super) fn block(&self, log: BrandId) -> Option<ClosedBlock> {
        self.gone.get(&log).map(|gone| gone.block)
    }
}
