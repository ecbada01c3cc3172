//! What the next block recognises of other logs, and grants as discharged.

use std::collections::{BTreeMap, BTreeSet};

use super::Writer;
use crate::exchange::Payload;
use crate::ids::BrandId;
use crate::log::block::{PublicEntry, Recognised};
use crate::log::settlement::Discharge;
use crate::witness::build::OwnBlock;
use crate::witness::guards::Guards;
use crate::witness::message::CertifiedHeader;
use crate::witness::state::Witness;

/// So many returns fit a block with whatever else goes into it.
const RETURNS_WITH_ENTRY: usize = 256;

impl<G: Guards> Writer<G> {
    /// From the next block on, recognises a log up to a block that has been applied. `answer` says
    /// that its writer waits for the acknowledgement: then a block is built for it alone if need be.
    pub fn recognise(
        &mut self,
        log: BrandId,
        recognised: Recognised,
        proof: CertifiedHeader,
        answer: bool,
    ) {
        self.recognise.insert(log, (recognised, proof));
        self.acknowledge |= answer;
    }

    /// From the next block on, grants what a settled statement discharges; a block is built for it
    /// alone if need be.
    pub fn discharge(&mut self, granted: BTreeMap<BrandId, Discharge>) {
        self.discharge.extend(granted);
    }

    /// What the next block recognises anew of other logs, by what was told with
    /// [`Self::recognise`]. A log to which a return still waits is not recognised without it: what it recognises
    /// it has applied or returns; nor one whose recognition has no room ([`Self::make_room`]). A block that is built anew takes the first one's submissions and no others, and
    /// recognises what the first one did: with less its entries might pass a limit; with more of a log to which returns
    /// wait, these would come after what they answer.
    pub(super) fn recognised_next(
        &self,
        own: &Witness<G>,
    ) -> BTreeMap<BrandId, (Recognised, CertifiedHeader)> {
        let returns = self.sealed.iter().filter(|(_, it)| matches!(it, Payload::Return(_)));
        let unanswered: BTreeSet<BrandId> = returns.map(|(to, _)| *to).collect();
        let before = |log: &BrandId| own.tip().recognised(*log).height;
        let mut next: BTreeMap<BrandId, (Recognised, CertifiedHeader)> = BTreeMap::new();
        // of a former life it is without its proofs: then what is known now has to do
        let mut unproven = BTreeSet::new();
        let first = self.blocks.values().next().map(OwnBlock::recognises).unwrap_or_default();
        for (log, (stated, proof)) in first {
            match proof {
                _ if stated.height <= before(&log) => {}
                Some(proof) => drop(next.insert(log, (stated, proof))),
                None => drop(unproven.insert(log)),
            }
        }
        for (log, known) in &self.recognise {
            let least = next.get(log).map_or_else(|| before(log), |(stated, _)| stated.height);
            let waits = unanswered.contains(log) && !unproven.contains(log);
            if known.0.height > least && !waits && !self.deferred.contains(log) {
                next.insert(*log, known.clone());
            }
        }
        next
    }

    /// What is to be granted and is not yet: as far as the counterparty's log is recognised up to the
    /// cut-off with the next block, so that the header bears it out.
    pub(super) fn grants(
        &self,
        own: &Witness<G>,
        recognised: &BTreeMap<BrandId, (Recognised, CertifiedHeader)>,
    ) -> BTreeMap<BrandId, Discharge> {
        let due = self.discharge.iter().filter(|(log, granted)| {
            // who has left has no column any more: nothing can be granted there, and no block is to try for ever
            let Some(column) = own.tip().column(**log) else { return false };
            let known = own.tip().recognised(**log).sent;
            let known = recognised.get(log).map_or(known, |(next, _)| next.sent.max(known));
            granted.cut_off > column.discharged.cut_off && granted.received <= known
        });
        due.map(|(log, granted)| (*log, *granted)).collect()
    }

    /// Takes out of what waits this brand's agreements to the end of a dispute where the log in dispute is
    /// not recognised with the next block.
    pub(super) fn set_aside(&mut self, me: BrandId) -> Vec<PublicEntry> {
        let needs = |entry: &PublicEntry| match entry {
            PublicEntry::DisputeResolved(it) if it.accuser == me => {
                Some((it.accused, it.last.next()?))
            }
            _ => None,
        };
        if !self.public.iter().any(|entry| needs(entry).is_some()) {
            return Vec::new();
        }
        let ready = |entry: &PublicEntry| {
            let Some((log, height)) = needs(entry) else { return true };
            // returns go with the same block; so many that they may not all fit come first
            let returns = self
                .sealed
                .iter()
                .filter(|(to, payload)| *to == log && matches!(payload, Payload::Return(_)));
            let fit = returns.count() <= RETURNS_WITH_ENTRY;
            let next = self.recognise.get(&log).filter(|_| fit && !self.deferred.contains(&log));
            next.is_some_and(|(next, _)| next.height >= height)
        };
        let (ready, unready): (Vec<_>, Vec<_>) = self.public.iter().cloned().partition(ready);
        self.public = ready.into();
        unready
    }
}
