//! What a node may sign, given how it came to run: rules 11 to 13 of the agreement.
//!
//! A node signs nothing before q-1 others have told it what they know of its past, and a node whose
//! disk was put back to an older state stays silent where it might contradict itself. The decisions
//! are the small functions here, one a clause of `protocol/spec/agreement.md`; who calls them is
//! [`super::state`] as witness and [`super::writer`] as writer, who feeds the state is
//! [`crate::ledger`]. Sends nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::guards::{Guard, Guards};
use super::record::Record;
use super::said::Position;
use super::start::{OpenRound, Start};
use super::state::Outbox;
use crate::constitution::Committee;
use crate::crypto::{Signed, Verified};
use crate::ids::{BrandId, Height, Incarnation};

/// How many heights above the highest certified one a restored node may have signed at: it voted at a
/// height whose predecessor was certified, and those who committed that one may know its own
/// predecessor's certificate only.
pub const MARGIN: u64 = 2;

// --- the clauses

/// Rule 11: how many others' acknowledgements a node waits for; with itself, a quorum.
#[must_use]
pub fn acknowledgements_needed(committee: &Committee) -> usize {
    committee.quorum().saturating_sub(1)
}

/// Rule 11: whether a start that others have seen is of another life of this node than the present.
#[must_use]
pub fn is_another_life(own: Incarnation, seen: Incarnation) -> bool {
    seen >= own
}

/// Rule 11: whether what others have seen goes beyond what this node knows itself to have signed.
#[must_use]
pub fn is_beyond(seen: Position, own: Position) -> bool {
    seen > own
}

/// Rule 11: whether an opening or a proposal is of an incarnation that still has a claim.
#[must_use]
pub fn has_a_claim(known: Incarnation, presented: Incarnation) -> bool {
    presented >= known
}

/// Rule 12: how many answers of nodes that vouch decide how far a log was certified.
#[must_use]
pub fn answers_needed(committee: &Committee, declared: bool) -> usize {
    let others = committee.size().saturating_sub(1);
    if declared { committee.quorum().min(others) } else { acknowledgements_needed(committee) }
}

/// Rules 12 and 13: whether a restored node may have signed at this height in its former life.
#[must_use]
pub fn is_fenced(certified: Height, height: Height) -> bool {
    height.get() <= certified.get().saturating_add(MARGIN)
}

/// Rule 12: whether a restored witness signs at this height. Of two brands both are needed: it goes
/// on where the writer says that it stopped.
#[must_use]
pub fn signs_as_witness(fence: &Fence, height: Height) -> bool {
    if fence.resume.is_some() {
        height > fence.certified
    } else {
        !is_fenced(fence.certified, height)
    }
}

/// Rule 13: whether a restored writer acts at this height at all; below, the log is certified already.
#[must_use]
pub fn acts_as_writer(fence: &Fence, height: Height) -> bool {
    height > fence.certified
}

/// Rule 13: whether a restored writer has to open a round before it proposes.
#[must_use]
pub fn must_open(fence: &Fence, height: Height) -> bool {
    is_fenced(fence.certified, height)
}

/// Rule 13: whether a restored writer may count its own promise: it is worth nothing, but of two
/// brands both are needed, and the other's must be there in any case.
#[must_use]
pub fn counts_own_promise(fence: &Fence, committee: &Committee, height: Height) -> bool {
    let others = committee.size().saturating_sub(1);
    !is_fenced(fence.certified, height) || others < committee.quorum()
}

// --- the state

/// How far a log was certified when this node was restored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Fence {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// H: the highest height that was certified according to those who vouch.
    #[n(1)]
    pub certified: Height,
    /// In an alliance of two, of the other's log: where its open height stood.
    #[n(2)]
    pub resume: Option<OpenRound>,
}

/// What was heard of another brand's incarnations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Heard {
    /// Whose.
    #[n(0)]
    pub brand: BrandId,
    /// The highest.
    #[n(1)]
    pub incarnation: Incarnation,
    /// The start that told of it; none if an opening or a proposal did.
    #[n(2)]
    pub start: Option<Signed<Start>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Known {
    #[n(0)]
    incarnation: Incarnation,
    #[n(1)]
    latest: Option<Signed<Start>>,
    // the highest start beside the latest
    #[n(2)]
    before: Option<Signed<Start>>,
}

/// What this node may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Standing {
    #[n(0)]
    incarnation: Incarnation,
    #[n(1)]
    known: BTreeMap<BrandId, Known>,
    // of this run: it is in no record
    #[cbor(skip)]
    started: bool,
    #[n(2)]
    declared: bool,
    // restored, and how far these were certified is not known yet
    #[n(3)]
    undecided: BTreeSet<BrandId>,
    #[n(4)]
    fences: BTreeMap<BrandId, Fence>,
    // the incarnation that was found or said to be of an older disk, the last such
    #[n(5)]
    restored: Option<Incarnation>,
}

impl Standing {
    /// The present incarnation; 0 before the first start.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
    /// Whether the acknowledgements are in.
    #[must_use]
    pub const fn has_started(&self) -> bool {
        self.started
    }
    /// Whether the operator said that the disk was put back.
    #[must_use]
    pub const fn is_declared(&self) -> bool {
        self.declared
    }
    /// Whether this node was ever restored: then it may have lost keys with what it forgot.
    #[must_use]
    pub fn was_restored(&self) -> bool {
        !self.undecided.is_empty() || !self.fences.is_empty()
    }
    /// The incarnation that was last found, or said, to run on a disk that was put back.
    #[must_use]
    pub const fn restored(&self) -> Option<Incarnation> {
        self.restored
    }
    /// Logs of which a restored node does not know yet how far they were certified.
    #[must_use]
    pub const fn undecided(&self) -> &BTreeSet<BrandId> {
        &self.undecided
    }
    /// How far a log was certified when this node was restored, if it was.
    #[must_use]
    pub fn fence(&self, log: BrandId) -> Option<&Fence> {
        self.fences.get(&log)
    }

    /// Rule 12, what both roles share: `careful` says whether the log's fence allows it.
    fn is_decided_and(&self, log: BrandId, careful: impl FnOnce(&Fence) -> bool) -> bool {
        !self.undecided.contains(&log) && self.fence(log).is_none_or(careful)
    }

    fn speaks<G: Guards>(&self) -> bool {
        G::allow(Guard::AwaitAcknowledgements, self.started)
    }

    /// Whether this node signs promises, votes and commits at this height of another's log.
    #[must_use]
    pub fn may_sign<G: Guards>(&self, log: BrandId, height: Height) -> bool {
        let careful = self.is_decided_and(log, |fence| signs_as_witness(fence, height));
        self.speaks::<G>() && G::allow(Guard::RestoredWitness, careful)
    }

    /// Whether this node writes at this height of its own log.
    #[must_use]
    pub fn may_write<G: Guards>(&self, own: BrandId, height: Height) -> bool {
        let careful = self.is_decided_and(own, |fence| acts_as_writer(fence, height));
        self.speaks::<G>() && G::allow(Guard::RestoredWriter, careful)
    }

    /// Whether this node may propose at this height of its own log without opening a round.
    #[must_use]
    pub fn may_begin_unopened<G: Guards>(&self, own: BrandId, height: Height) -> bool {
        let careful = self.fence(own).is_none_or(|fence| !must_open(fence, height));
        G::allow(Guard::RestoredOpens, careful)
    }

    /// Whether this node's own promise counts at this height of its own log.
    #[must_use]
    pub fn own_promise_counts<G: Guards>(
        &self,
        own: BrandId,
        committee: &Committee,
        height: Height,
    ) -> bool {
        let careful =
            self.fence(own).is_none_or(|fence| counts_own_promise(fence, committee, height));
        G::allow(Guard::RestoredPromise, careful)
    }

    /// Whether what this node says of a log's last height was so before it was restored as well.
    #[must_use]
    pub fn vouches<G: Guards>(&self, log: BrandId, tip: Height) -> bool {
        let next = Height::new(tip.get().saturating_add(1));
        let careful = self.is_decided_and(log, |fence| !is_fenced(fence.certified, next));
        self.speaks::<G>() && G::allow(Guard::RestoredVouches, careful)
    }

    /// Where a restored witness of an alliance of two goes on at this height.
    #[must_use]
    pub fn resumed(&self, log: BrandId, height: Height) -> Option<&OpenRound> {
        let fence = self.fence(log)?;
        let open = fence.certified.next() == Some(height);
        fence.resume.as_ref().filter(|_| open)
    }

    /// Whether this node cosigns a log's certified size: a restored one may have signed a later one.
    #[must_use]
    pub fn may_cosign<G: Guards>(&self, log: BrandId, tip: Height) -> bool {
        let careful = self.is_decided_and(log, |fence| tip >= fence.certified);
        self.speaks::<G>() && G::allow(Guard::RestoredWitness, careful)
    }

    /// Whether an opening or a proposal of this incarnation counts; persists that it was heard of.
    pub fn admits<G: Guards>(
        &mut self,
        brand: BrandId,
        presented: Incarnation,
        out: &mut Outbox,
    ) -> bool {
        let known = self.known.entry(brand).or_default();
        if !G::allow(Guard::LaterIncarnation, has_a_claim(known.incarnation, presented)) {
            return false;
        }
        if presented > known.incarnation {
            let heard = Heard { brand, incarnation: presented, start: None };
            self.hear(&heard);
            out.records.push(Record::Heard(heard));
        }
        true
    }

    /// Takes note of another's start; gives the highest other one that is known. The same start is
    /// answered alike, however often it is announced.
    pub fn heard_start(
        &mut self,
        start: Verified<Start>,
        out: &mut Outbox,
    ) -> Option<Signed<Start>> {
        let known = self.known.entry(start.signer()).or_default();
        let latest = known.latest.as_ref().map(|latest| latest.body);
        if latest == Some(*start.body()) {
            return known.before.clone();
        }
        if latest
            .is_some_and(|latest| is_another_life(start.body().incarnation, latest.incarnation))
        {
            return known.latest.clone();
        }
        let before = known.latest.clone();
        let (brand, incarnation) = (start.signer(), start.body().incarnation);
        let heard = Heard { brand, incarnation, start: Some(start.into_signed()) };
        self.hear(&heard);
        out.records.push(Record::Heard(heard));
        before
    }

    fn hear(&mut self, heard: &Heard) {
        let known = self.known.entry(heard.brand).or_default();
        known.incarnation = known.incarnation.max(heard.incarnation);
        if let Some(start) = &heard.start {
            known.before = known.latest.replace(start.clone());
        }
    }

    /// Begins an incarnation above this one: until it is acknowledged, nothing is signed.
    pub fn start(&mut self, above: Incarnation, out: &mut Outbox) {
        let incarnation = above.max(self.incarnation).next().unwrap_or(above);
        self.incarnation = incarnation;
        self.started = false;
        out.records.push(Record::Started(incarnation));
    }

    /// The acknowledgements are in.
    pub const fn acknowledge(&mut self) {
        self.started = true;
    }

    /// This node's disk was put back: it is silent in every log until it knows how far it was certified.
    pub fn restore(
        &mut self,
        declared: bool,
        logs: impl Iterator<Item = BrandId>,
        out: &mut Outbox,
    ) {
        out.records.push(Record::Restored(declared));
        self.begin_restoring(declared, logs);
    }

    fn begin_restoring(&mut self, declared: bool, logs: impl Iterator<Item = BrandId>) {
        self.declared |= declared;
        self.restored = Some(self.incarnation);
        self.undecided.extend(logs);
    }

    /// How far a log was certified is known.
    pub fn decide(&mut self, fence: Fence, out: &mut Outbox) {
        out.records.push(Record::Fenced(fence.clone()));
        self.put_up(fence);
    }

    fn put_up(&mut self, fence: Fence) {
        self.undecided.remove(&fence.log);
        if self.undecided.is_empty() {
            self.declared = false;
        }
        self.fences.insert(fence.log, fence);
    }

    /// Brings the state to where a record left it; any other record is none of its business.
    pub fn replay(&mut self, record: &Record, logs: impl Iterator<Item = BrandId>) {
        match record {
            Record::Started(incarnation) => self.incarnation = *incarnation,
            Record::Heard(heard) => self.hear(heard),
            Record::Restored(declared) => self.begin_restoring(*declared, logs),
            Record::Fenced(fence) => self.put_up(fence.clone()),
            Record::NodeState(state) => *self = state.standing.clone(),
            _ => {}
        }
    }
}
