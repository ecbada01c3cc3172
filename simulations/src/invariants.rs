//! The guarantees, one function each, and what an observer who sees everything needs to check them.
//!
//! The observer sees every message that leaves an honest machine, every block that reaches a disk and
//! every block that becomes final for an honest machine; liars are not held to anything.

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::Value;
use protocol::constitution::Constitution;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex, Round};
use protocol::log::block::{BlockReference, Header};
use protocol::witness::build::OwnBlock;
use protocol::witness::message::Message;
use protocol::witness::rules::public_exposure;
use protocol::witness::state::FinalBlock;
use protocol::witness::statement::Pledge;

use crate::node::{Node, Report};

/// A guarantee that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub detail: String,
}

fn ensure(
    invariant: &'static str,
    holds: bool,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}

type Slot = (BrandId, Height, Round);
type Contents = BTreeMap<LeafIndex, (BrandId, Payload)>;

/// Everything an observer has seen.
#[derive(Debug)]
pub struct Observer {
    constitution: Constitution,
    honest: BTreeSet<BrandId>,
    built: BTreeMap<HeaderHash, Contents>,
    finals: BTreeMap<(BrandId, Height), (BlockReference, Header)>,
    // value ever sent, by log, counterparty and height
    sent: BTreeMap<(BrandId, BrandId, Height), Value>,
    // leaves of final blocks by (log, index)
    leaves: BTreeMap<(BrandId, LeafIndex), (BrandId, Payload)>,
    // which leaf returned a leaf
    returned: BTreeMap<(BrandId, LeafIndex), LeafIndex>,
    applied: BTreeSet<(BrandId, BrandId, LeafIndex)>,
    proposals: BTreeMap<Slot, HeaderHash>,
    votes: BTreeMap<(BrandId, Slot), BlockReference>,
    promised: BTreeMap<(BrandId, BrandId, Height), Round>,
}

impl Observer {
    /// An observer of an alliance where these brands are honest.
    #[must_use]
    pub fn new(constitution: Constitution, honest: BTreeSet<BrandId>) -> Self {
        Self {
            constitution,
            honest,
            built: BTreeMap::new(),
            finals: BTreeMap::new(),
            sent: BTreeMap::new(),
            leaves: BTreeMap::new(),
            returned: BTreeMap::new(),
            applied: BTreeSet::new(),
            proposals: BTreeMap::new(),
            votes: BTreeMap::new(),
            promised: BTreeMap::new(),
        }
    }

    /// The honest brands.
    #[must_use]
    pub const fn honest(&self) -> &BTreeSet<BrandId> {
        &self.honest
    }
    /// How many blocks are final.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.finals.len()
    }
    /// How many entries are certified.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.leaves.len()
    }

    /// Checks everything that one event of one machine showed.
    ///
    /// # Errors
    /// The first guarantee that does not hold.
    pub fn check(&mut self, node: &Node, report: &Report) -> Result<(), Violation> {
        report.built.iter().for_each(|block| self.built(block));
        if !self.honest.contains(&node.brand()) {
            return Ok(());
        }
        for (_, message) in &report.sent {
            self.invariant_one_proposal_a_round(node.brand(), message)?;
            self.invariant_one_vote_a_round(node.brand(), message)?;
            self.invariant_no_commit_below_a_promise(node.brand(), message)?;
        }
        for block in &report.finals {
            self.invariant_agreement(block)?;
            self.invariant_one_chain(block)?;
            self.invariant_totals_are_what_was_sent(block)?;
            self.invariant_recognised_is_certified(block)?;
            self.invariant_within_limits(block)?;
            self.invariant_a_leaf_comes_back_once(block)?;
        }
        for (leaf, payload) in &report.applied {
            self.invariant_applied_once_and_as_sent(node.brand(), *leaf, payload)?;
        }
        self.invariant_no_honest_brand_is_blamed(report)?;
        self.invariant_tips_are_final(node)
    }

    /// Takes note of a block that somebody has built.
    pub fn built(&mut self, block: &OwnBlock) {
        let payloads = block.payloads().iter();
        let contents = payloads.map(|sent| (sent.index, (sent.to, sent.payload.clone())));
        self.built.insert(block.reference().header, contents.collect());
    }

    /// An honest writer signs one block for one height and round.
    fn invariant_one_proposal_a_round(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Proposal(proposal) = message else { return Ok(()) };
        let Pledge { block, round } = proposal.proposal.body.0;
        let first = *self.proposals.entry((by, block.height, round)).or_insert(block.header);
        ensure("one proposal a round", first == block.header && block.log == by, || {
            format!("{by} proposed {first:?} and {:?} at {}/{round}", block.header, block.height)
        })
    }

    /// An honest witness votes for one block in one height and round.
    fn invariant_one_vote_a_round(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Vote(vote) = message else { return Ok(()) };
        let Pledge { block, round } = vote.body.0;
        let slot = (block.log, block.height, round);
        let first = *self.votes.entry((by, slot)).or_insert(block);
        ensure("one vote a round", first == block, || {
            format!("{by} voted for {first:?} and {block:?} in round {round}")
        })
    }

    /// Who has promised a round neither votes nor commits below it.
    fn invariant_no_commit_below_a_promise(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let (slot, said) = match message {
            Message::Promise(message) => {
                let open = message.promise.body.open;
                let highest = self.promised.entry((by, open.log, open.height)).or_default();
                *highest = open.round.max(*highest);
                return Ok(());
            }
            Message::Vote(vote) => (vote.body.0, "voted"),
            Message::Commit(commit) => (commit.body.0, "committed"),
            _ => return Ok(()),
        };
        let promised = self.promised.get(&(by, slot.block.log, slot.block.height)).copied();
        ensure(
            "no vote or commit below a promise",
            slot.round >= promised.unwrap_or_default(),
            || format!("{by} {said} in round {} after promising {promised:?}", slot.round),
        )
    }

    /// No two different blocks are final for one height of one log, anywhere.
    fn invariant_agreement(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let reference = block.block;
        let first = self
            .finals
            .entry((reference.log, reference.height))
            .or_insert_with(|| (reference, block.header.clone()));
        ensure("agreement", first.0 == reference, || format!("{:?} and {reference:?}", first.0))
    }

    /// Every final block continues the final block before it.
    fn invariant_one_chain(&self, block: &FinalBlock) -> Result<(), Violation> {
        let BlockReference { log, height, size, .. } = block.block;
        let before = Height::new(height.get().saturating_sub(1));
        let previous = self.finals.get(&(log, before)).map(|(previous, _)| previous);
        let continues = match previous {
            None => before == Height::new(0) && block.header.previous == HeaderHash::GENESIS,
            Some(previous) => {
                block.header.previous == previous.header
                    && block.header.first.get() == previous.size.get()
                    && block.header.previous_root == previous.root
                    && size > previous.size
            }
        };
        ensure("one chain", continues, || format!("{:?} after {previous:?}", block.block))
    }

    /// The totals a final header shows are exactly those of the leaves that are final.
    fn invariant_totals_are_what_was_sent(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let name = "totals are what was sent";
        let BlockReference { log, height, header, .. } = block.block;
        let contents = self.built.get(&header).cloned();
        let Some(contents) = contents else {
            return ensure(name, false, || format!("nobody built {:?}", block.block));
        };
        let before = Height::new(height.get().saturating_sub(1));
        for column in &block.header.columns {
            let to = column.counterparty;
            let mut sent = self.sent.get(&(log, to, before)).copied().unwrap_or_default();
            for (_, payload) in contents.values().filter(|(receiver, _)| *receiver == to) {
                sent = sent.plus(payload.value()).unwrap_or(Value::MAX);
            }
            self.sent.insert((log, to, height), sent);
            let shown = sent.ceiling_to(self.constitution.total_step());
            ensure(name, shown == Ok(column.sent), || {
                format!("{log}/{height} shows {} to {to}, sent {sent}", column.sent)
            })?;
        }
        let leaves = contents.into_iter().map(|(index, leaf)| ((log, index), leaf));
        self.leaves.extend(leaves);
        Ok(())
    }

    /// What a final block recognises is certified, and is what that log sent: never more.
    fn invariant_recognised_is_certified(&self, block: &FinalBlock) -> Result<(), Violation> {
        let log = block.block.log;
        for column in &block.header.columns {
            let recognised = column.recognised;
            if recognised.height == Height::new(0) {
                continue;
            }
            let right = self.finals.get(&(column.counterparty, recognised.height)).is_some_and(
                |(reference, header)| {
                    let sent = header.column(log).map(|column| column.sent);
                    reference.header == recognised.block && sent == Some(recognised.sent)
                },
            );
            // a liar's machine may have made final what no honest one has seen yet
            let seen = self.honest.contains(&log)
                || self.finals.contains_key(&(column.counterparty, recognised.height));
            ensure("recognised is certified", right || !seen, || {
                format!("{:?} recognises {recognised:?} of {}", block.block, column.counterparty)
            })?;
        }
        Ok(())
    }

    /// No final block owes more than the constitution allows, neither as third parties see it nor
    /// exactly.
    fn invariant_within_limits(&self, block: &FinalBlock) -> Result<(), Violation> {
        let BlockReference { log, height, .. } = block.block;
        let Some(brand) = self.constitution.brand(log) else { return Ok(()) };
        let step = self.constitution.total_step();
        let mut total = Value::ZERO;
        for column in &block.header.columns {
            let to = column.counterparty;
            let public = public_exposure(step, column);
            let sent = self.sent.get(&(log, to, height)).copied().unwrap_or_default();
            let back = self.sent.get(&(to, log, column.recognised.height)).copied();
            // only a liar recognises what no honest machine has seen
            let exact = match back {
                None if column.recognised.height > Height::new(0) => Value::ZERO,
                back => sent.saturating_minus(back.unwrap_or_default()),
            };
            total = total.plus(public).unwrap_or(Value::MAX);
            ensure("within limits", exact <= public && public <= brand.pair_limit, || {
                format!("{log}/{height} owes {to} {exact}, publicly {public}")
            })?;
        }
        ensure("within limits", total <= brand.total_limit, || {
            format!("{log}/{height} owes {total} in all")
        })
    }

    /// A return takes back a certified leaf of the other side, once, at its own value.
    fn invariant_a_leaf_comes_back_once(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let BlockReference { log, header, .. } = block.block;
        let known = self.finals.get(&(log, block.block.height)).map(|(first, _)| first.header);
        let contents = self.built.get(&header).cloned().unwrap_or_default();
        for (index, (to, payload)) in contents {
            let Payload::Return(back) = payload else { continue };
            if !self.honest.contains(&log) || known != Some(header) {
                continue;
            }
            let original = self.leaves.get(&(to, back.original));
            let right = original.is_some_and(|(receiver, original)| {
                *receiver == log
                    && original.value() == back.value
                    && !matches!(original, Payload::Return(_))
            });
            // seen by several machines, it is still one leaf
            let by = *self.returned.entry((to, back.original)).or_insert(index);
            ensure("a leaf comes back once", right && by == index, || {
                format!("{log}/{index} returns {to}/{} of {original:?}", back.original)
            })?;
        }
        Ok(())
    }

    /// What is applied is certified, for this brand, and applied once.
    fn invariant_applied_once_and_as_sent(
        &mut self,
        by: BrandId,
        (log, index): (BrandId, LeafIndex),
        payload: &Payload,
    ) -> Result<(), Violation> {
        let sent = self.leaves.get(&(log, index));
        let right = sent.is_some_and(|(to, sent)| *to == by && sent == payload);
        let first = self.applied.insert((by, log, index));
        ensure("applied once and as sent", right && first, || {
            format!("{by} applied {payload:?} of {log}/{index}, where {sent:?} was sent")
        })
    }

    /// An honest machine finds nothing wrong with an honest brand.
    fn invariant_no_honest_brand_is_blamed(&self, report: &Report) -> Result<(), Violation> {
        let blamed = report.faults.iter().find(|(brand, _)| self.honest.contains(brand));
        ensure("no honest brand is blamed", blamed.is_none(), || format!("{blamed:?}"))
    }

    /// What a machine takes for the end of a log is a final block of that log.
    fn invariant_tips_are_final(&self, node: &Node) -> Result<(), Violation> {
        for (log, witness) in node.ledger().into_iter().flat_map(|ledger| ledger.witnesses()) {
            let tip = witness.tip();
            let known = self.finals.get(&(log, tip.height)).map(|(known, _)| known.header);
            let right = known == Some(tip.header) || tip.height == Height::new(0);
            ensure("tips are final", right, || {
                format!("{} takes {} for the end of {log}", node.brand(), tip.height)
            })?;
        }
        Ok(())
    }

    /// Everything certified between these brands has been applied: no value is lost.
    ///
    /// # Errors
    /// The first leaf that was not.
    pub fn invariant_nothing_is_lost(&self, up: &BTreeSet<BrandId>) -> Result<(), Violation> {
        for ((log, index), (to, _)) in &self.leaves {
            let both = up.contains(log) && up.contains(to);
            ensure(
                "nothing is lost",
                !both || self.applied.contains(&(*to, *log, *index)),
                || format!("{log}/{index} was never applied by {to}"),
            )?;
        }
        Ok(())
    }
}
