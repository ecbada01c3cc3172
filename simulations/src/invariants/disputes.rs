//! What changes a pair's totals beside its payloads: disputes and how they end, partners closed out.
//!
//! Totals are added up here from what was sent, and again from what the entries say: that both give what
//! the headers commit to is checked with every block ([`super::blocks`]).

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::Value;
use protocol::epochs::Constitutions;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex, Round};
use protocol::log::block::{BlockReference, PublicEntry};
use protocol::log::closed_out::ClosedOut;
use protocol::log::resolution::DisputeResolved;
use protocol::witness::guards::Guards;
use protocol::witness::state::FinalBlock;

use super::{Observer, Violation, ensure};
use crate::node::{Node, Report};

/// What the observer knows of disputes and of brands that are gone.
#[derive(Debug, Default)]
pub(super) struct Disputes {
    // logs that a brand has found to say what cannot stand, and at which height first
    found: BTreeMap<(BrandId, BrandId), Height>,
    // disputes that a brand has agreed to end: by whom, of which log, from which block and to which; and
    // what is void by that in all
    agreed: BTreeSet<(BrandId, BrandId, Height, Height)>,
    void: BTreeMap<(BrandId, BrandId), Value>,
    // every block's public entries; what is credited late comes without them
    entries: BTreeMap<HeaderHash, Vec<PublicEntry>>,
    // terms in final blocks, by the log that they are in and the block
    terms: BTreeMap<(BrandId, Height), Vec<DisputeResolved>>,
    // what a brand has closed out: by whom, of which log, in which block, above which of its own blocks
    // what it sent is void
    closed_out: BTreeMap<(BrandId, BrandId), (Height, Height)>,
}

impl Disputes {
    /// A brand's disk was put back.
    pub(super) fn forget(&mut self, brand: BrandId) {
        self.found.retain(|(by, _), _| *by != brand);
        self.agreed.retain(|(by, ..)| *by != brand);
    }
}

impl Observer {
    /// Disputes that were resolved in the logs of both sides.
    #[must_use]
    pub fn resolved(&self) -> usize {
        let all = self.disputes.terms.iter().flat_map(|((log, _), terms)| {
            terms.iter().filter(move |it| it.accuser == *log && self.honest.contains(log))
        });
        all.count()
    }
    /// Ended logs that honest brands have closed out, each counted.
    #[must_use]
    pub fn closed_out(&self) -> usize {
        self.disputes.closed_out.keys().filter(|(by, _)| self.honest.contains(by)).count()
    }

    /// Whether anyone has closed out a log.
    pub(super) fn is_closed_out(&self, log: BrandId) -> bool {
        self.disputes.closed_out.keys().any(|(_, of)| *of == log)
    }

    pub(super) fn note_entries(&mut self, block: &FinalBlock) {
        let known = self.disputes.entries.entry(block.block.header);
        known.or_insert_with(|| block.public.iter().map(|(_, entry)| entry.clone()).collect());
    }

    /// A block's public entries, also when it is credited late.
    pub(super) fn entries_of(&self, block: &FinalBlock) -> &[PublicEntry] {
        self.disputes.entries.get(&block.block.header).map_or(&[], Vec::as_slice)
    }

    pub(super) fn note_agreements(&mut self, by: BrandId, report: &Report) {
        for terms in &report.agreed {
            let of = (by, terms.accused, terms.began, terms.last);
            let new = self.disputes.agreed.insert(of);
            let void = self.disputes.void.entry((by, terms.accused)).or_default();
            if new {
                *void = void.plus(terms.void).unwrap_or(Value::MAX);
            }
        }
    }

    /// From what a column's payloads count on: what was sent, as the block's entries change it.
    pub(super) fn adjusted(&self, block: &FinalBlock, to: BrandId, sent: Value) -> Value {
        let log = block.block.log;
        self.entries_of(block).iter().fold(sent, |sent, entry| match entry {
            PublicEntry::DisputeResolved(it) if it.sides() == (log, to) => {
                it.total().unwrap_or(Value::MAX)
            }
            PublicEntry::DisputeResolved(it) if it.sides() == (to, log) => {
                sent.plus(it.void).unwrap_or(Value::MAX)
            }
            PublicEntry::ClosedOut(it) if it.log == to => sent.saturating_minus(it.void),
            _ => sent,
        })
    }

    /// Who votes for a block that no lock forces has checked what it says to it; and who has found
    /// a log false takes nothing of it any more, until both sides have agreed.
    pub(super) fn invariant_who_votes_finds_nothing_wrong(
        &mut self,
        by: BrandId,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let BlockReference { log, height, .. } = block.block;
        let slot = (log, height, Round::new(0));
        let voted = self.votes.get(&(by, slot)) == Some(&block.block);
        let before = self.disputes.found.get(&(by, log)).copied();
        let first = before.is_none_or(|before| before >= height);
        // it may have voted for an offer, and agreed to another one before that was final
        let superseded = self.ended(by, log).next().is_some()
            && self.entries_of(block).iter().any(|entry| {
                matches!(entry, PublicEntry::DisputeResolved(it) if it.sides() == (log, by))
            });
        ensure(
            "who votes finds nothing wrong",
            block.payloads.is_ok() || !voted || !first || superseded,
            || format!("{by} voted for {:?}, then: {:?}", block.block, block.payloads),
        )?;
        if block.payloads.is_err() {
            let before = self.disputes.found.entry((by, log)).or_insert(height);
            *before = height.min(*before);
            return Ok(());
        }
        let ended = before.is_some_and(|began| self.has_agreed(by, log, began));
        if ended {
            self.disputes.found.remove(&(by, log));
        }
        ensure("a dispute stands", first || ended, || {
            format!("{by} takes {:?} of a log it disputes", block.block)
        })
    }

    /// Whether by what it has on disk, or by what its own certified log says, a brand has ended a dispute
    /// that began at a height.
    fn has_agreed(&self, by: BrandId, log: BrandId, began: Height) -> bool {
        self.ended(by, log).any(|(from, _)| from == began)
    }

    /// Whether a block of a log was in dispute with a brand that has agreed to what came of it: its totals
    /// are not those that count.
    pub(super) fn was_in_dispute(&self, by: BrandId, block: &FinalBlock) -> bool {
        let height = block.block.height;
        self.ended(by, block.block.log).any(|(from, to)| (from..=to).contains(&height))
    }

    /// The disputes that a brand has ended, by their first and last blocks.
    fn ended(&self, by: BrandId, log: BrandId) -> impl Iterator<Item = (Height, Height)> + '_ {
        let (first, last) = (Height::new(0), Height::new(u64::MAX));
        let agreed = self.disputes.agreed.range((by, log, first, first)..=(by, log, last, last));
        let entered = self.disputes.terms.range((by, first)..=(by, last));
        let entered = entered.flat_map(|(_, terms)| terms);
        let entered = entered.filter(move |it| it.sides() == (log, by));
        agreed.map(|(.., from, to)| (*from, *to)).chain(entered.map(|it| (it.began, it.last)))
    }

    /// What a log gave a brand without any payload: by terms of a dispute that it says there was.
    fn given(&self, log: BrandId, to: BrandId) -> Value {
        let own = (log, Height::new(0))..=(log, Height::new(u64::MAX));
        let terms = self.disputes.terms.range(own).flat_map(|(_, terms)| terms);
        let given = terms.filter(|it| it.sides() == (to, log)).map(|it| it.void);
        given.fold(Value::ZERO, |sum, void| sum.plus(void).unwrap_or(Value::MAX))
    }

    /// Everything that a final block says of disputes and of brands that are gone.
    pub(super) fn check_endings(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let key = (block.block.log, block.block.height);
        let first = !self.disputes.terms.contains_key(&key);
        let entries = self.entries_of(block).to_vec();
        let terms = self.disputes.terms.entry(key).or_default();
        if first {
            let resolved = entries.iter().filter_map(|entry| match entry {
                PublicEntry::DisputeResolved(it) => Some((**it).clone()),
                _ => None,
            });
            terms.extend(resolved);
        }
        for entry in &entries {
            match entry {
                PublicEntry::DisputeResolved(it) if first && it.accuser == block.block.log => {
                    self.invariant_resolved_as_offered_and_credited(block, it)?;
                }
                PublicEntry::ClosedOut(it) if first => {
                    self.invariant_closed_out_once_and_rightly(block, it)?;
                }
                _ => {}
            }
        }
        self.invariant_void_is_never_credited()
    }

    /// An honest brand enters terms that the accused has offered in its certified log, of a dispute that
    /// it has; and what it has ever credited of that log is what counts by them, to the micro-fen.
    fn invariant_resolved_as_offered_and_credited(
        &self,
        block: &FinalBlock,
        terms: &DisputeResolved,
    ) -> Result<(), Violation> {
        let name = "resolved as offered and credited";
        let by = block.block.log;
        if !self.honest.contains(&by) {
            return Ok(());
        }
        let offered =
            terms.last.next().and_then(|at| self.disputes.terms.get(&(terms.accused, at)));
        ensure(name, offered.is_some_and(|offered| offered.contains(terms)), || {
            format!("{by} enters {terms:?}, which {} does not offer", terms.accused)
        })?;
        let last = self.finals.get(&(terms.accused, terms.last));
        let Some((last, _)) = last.filter(|_| !self.restorable.contains(&by)) else {
            return Ok(());
        };
        let mut credited = Value::ZERO;
        for ((log, index), (to, payload)) in &self.leaves {
            let considered = *log == terms.accused && index.get() < last.size.get();
            if considered && *to == by && self.applied.contains(&(by, *log, *index)) {
                credited = credited.plus(payload.value()).unwrap_or(Value::MAX);
            }
        }
        // what was void by earlier terms is in the totals before, and was given back
        let earlier = (by, Height::new(0))..(by, block.block.height);
        let earlier = self.disputes.terms.range(earlier).flat_map(|(_, terms)| terms);
        let void = earlier.filter(|it| it.sides() == terms.sides()).map(|it| it.void);
        let settled = void.fold(credited, |sum, void| sum.plus(void).unwrap_or(Value::MAX));
        let counts = terms.before.sent.plus(terms.counted).unwrap_or(Value::MAX);
        ensure(name, settled == counts, || {
            format!("{by} has credited {credited} of {}, {counts} count: {terms:?}", terms.accused)
        })
    }

    /// What a brand has ever credited of a log that it does not dispute is what the log's totals claim of
    /// it, less what it gave back: to the micro-fen, whatever the log's writer says.
    pub(super) fn invariant_credited_is_what_totals_claim<G: Guards>(
        &self,
        node: &Node<G>,
        log: BrandId,
    ) -> Result<(), Violation> {
        let by = node.brand();
        let witness = node.ledger().and_then(|ledger| ledger.witness(log));
        let Some(witness) = witness.filter(|it| !it.is_disputed()) else { return Ok(()) };
        let skipped = by == log || node.has_unapplied(log) || self.restorable.contains(&by);
        let Some((tip, _)) = self.finals.get(&(log, witness.tip().height)).filter(|_| !skipped)
        else {
            return Ok(());
        };
        let of_log = (log, LeafIndex::new(0))..(log, LeafIndex::new(tip.size.get()));
        let mut credited = Value::ZERO;
        for ((_, index), (to, payload)) in self.leaves.range(of_log) {
            if *to == by && self.applied.contains(&(by, log, *index)) {
                credited = credited.plus(payload.value()).unwrap_or(Value::MAX);
            }
        }
        let void = self.disputes.void.get(&(by, log)).copied().unwrap_or_default();
        let claimed = witness.content().sent;
        let given = self.given(log, by);
        let right = credited.plus(void).and_then(|sum| sum.plus(given)) == Ok(claimed);
        ensure("credited is what totals claim", right, || {
            format!("{by} has credited {credited} of {log}, which claims {claimed}; {void} is void")
        })
    }

    /// The chain of constitutions that were adopted.
    pub(super) fn chain(&self) -> Constitutions {
        let mut all = self.constitutions.values().cloned();
        let Some(first) = all.next() else { unreachable!("there is a first one") };
        let mut chain = Constitutions::from(first);
        all.for_each(|next| drop(chain.follow(next)));
        chain
    }

    /// A brand closes out a log once, when that has ended, and voids just what it sent it after the last
    /// block that was recognised there.
    fn invariant_closed_out_once_and_rightly(
        &mut self,
        block: &FinalBlock,
        it: &ClosedOut,
    ) -> Result<(), Violation> {
        let name = "closed out once and rightly";
        let BlockReference { log: by, height, .. } = block.block;
        let end = it.end.verify(&self.chain());
        let is_end = end.as_ref().is_ok_and(|end| self.height(it.log) <= end.height());
        ensure(name, is_end, || format!("{by} closes out {}, which goes on: {end:?}", it.log))?;
        let Ok(end) = end else { return Ok(()) };
        if !self.honest.contains(&by) {
            return Ok(());
        }
        let read = end.column(by).map_or(Height::new(0), |column| column.recognised.height);
        let first = self.disputes.closed_out.insert((by, it.log), (height, read));
        ensure(name, first.is_none(), || format!("{by} closes out {} twice", it.log))?;
        let from = self.finals.get(&(by, read)).map_or(0, |(block, _)| block.size.get());
        let mut void = Value::ZERO;
        for ((log, index), (to, payload)) in &self.leaves {
            let lost = *log == by && *to == it.log && index.get() >= from;
            if lost && !matches!(payload, Payload::Return(_)) {
                void = void.plus(payload.value()).unwrap_or(Value::MAX);
            }
        }
        ensure(name, it.void == void, || {
            format!("{by} takes back {} of {void} that {} never recognised", it.void, it.log)
        })
    }

    /// What a brand gave its members back was never credited to anyone: both legs, or none.
    fn invariant_void_is_never_credited(&self) -> Result<(), Violation> {
        for ((by, log), (_, read)) in &self.disputes.closed_out {
            if !self.honest.contains(log) {
                continue;
            }
            let from = self.finals.get(&(*by, *read)).map_or(0, |(block, _)| block.size.get());
            let first = (*log, *by, LeafIndex::new(from));
            let last = (*log, *by, LeafIndex::new(u64::MAX));
            let mut credited = self.applied.range(first..=last);
            let credited = credited.find(|(.., index)| {
                let leaf = self.leaves.get(&(*by, *index));
                !leaf.is_some_and(|(_, payload)| matches!(payload, Payload::Return(_)))
            });
            ensure("void is never credited", credited.is_none(), || {
                format!("{log} has credited {credited:?}, which {by} took back")
            })?;
        }
        Ok(())
    }
}
