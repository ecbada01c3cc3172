//! Final blocks: one chain a log, totals and limits, both legs of every exchange, what can be recovered.

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::{Points, Value};
use protocol::exchange::{Payload, Return, ReturnReason};
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex};
use protocol::log::block::{BlockReference, Header};
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::fragments::{Fragment, Shape};
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;
use protocol::witness::rules::{CLOCK_TOLERANCE, public_exposure};
use protocol::witness::state::FinalBlock;

use super::{Contents, Observer, Violation, ensure};
use crate::agreement::SKEW_MOST_MS;
use crate::node::Node;

impl Observer {
    /// Nobody takes a block for final without the commits of a quorum of its constitution.
    pub(super) fn invariant_final_blocks_have_commits_of_a_quorum(
        &self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let Some(committee) = self.committee(block.block.epoch) else { return Ok(()) };
        let commits = &block.certificate.as_unverified().commits;
        let by: BTreeSet<BrandId> = commits.iter().map(|commit| commit.signer).collect();
        ensure("final blocks have commits of a quorum", by.len() >= committee.quorum(), || {
            format!("{:?} with commits of {by:?}", block.block)
        })
    }

    /// No two different blocks are final for one height of one log, anywhere.
    pub(super) fn invariant_agreement(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        let reference = block.block;
        let first = self
            .finals
            .entry((reference.log, reference.height))
            .or_insert_with(|| (reference, block.header.clone()));
        ensure("agreement", first.0 == reference, || format!("{:?} and {reference:?}", first.0))
    }

    /// Every final block continues the final block before it.
    pub(super) fn invariant_one_chain(&self, block: &FinalBlock) -> Result<(), Violation> {
        let BlockReference { log, height, size, .. } = block.block;
        let before = Height::new(height.get().saturating_sub(1));
        let previous = self.finals.get(&(log, before));
        let continues = match previous {
            None => before == Height::new(0) && block.header.previous == HeaderHash::GENESIS,
            Some((previous, Header { time, .. })) => {
                block.header.previous == previous.header
                    && block.header.first.get() == previous.size.get()
                    && block.header.previous_root == previous.root
                    && size > previous.size
                    && block.header.time >= *time
            }
        };
        ensure("one chain", continues, || format!("{:?} after {previous:?}", block.block))
    }

    /// No final block is of a time that has not come yet: its voters' clocks are known to be this far
    /// off at most.
    pub(super) fn invariant_time_has_come(
        &self,
        block: &FinalBlock,
        now_ms: u64,
    ) -> Result<(), Violation> {
        let latest = now_ms + CLOCK_TOLERANCE.get() + SKEW_MOST_MS as u64;
        let time = block.header.time;
        ensure("time has come", time.unix_ms() <= latest, || {
            format!("{:?} is of {time:?}, at {now_ms}", block.block)
        })
    }

    /// The totals a final header shows are exactly those of the leaves that are final. What a liar
    /// commits to for a brand is that brand's to find: then it takes nothing.
    pub(super) fn invariant_totals_are_what_was_sent(
        &mut self,
        by: BrandId,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let name = "totals are what was sent";
        let BlockReference { log, height, header, .. } = block.block;
        let contents = self.built.get(&header).cloned();
        let Some(Contents { payloads, exact }) = contents else {
            return ensure(name, false, || format!("nobody built {:?}", block.block));
        };
        let before = Height::new(height.get().saturating_sub(1));
        let constitution = self.constitutions.get(&block.block.epoch);
        let Some(constitution) = constitution else {
            return ensure(name, false, || format!("{:?} is under no constitution", block.block));
        };
        let witnesses = constitution.committee().witnesses(log);
        let columns = block.header.columns.iter().map(|column| column.counterparty);
        ensure(name, columns.eq(witnesses), || format!("columns of {:?}", block.block))?;
        for (column, exact) in block.header.columns.iter().zip(exact) {
            let to = column.counterparty;
            let sent = self.sent.get(&(log, to, before)).copied().unwrap_or_default();
            let mut sent = self.adjusted(block, to, sent);
            for (_, payload) in payloads.values().filter(|(receiver, _)| *receiver == to) {
                sent = sent.plus(payload.value()).unwrap_or(Value::MAX);
            }
            self.sent.insert((log, to, height), sent);
            let step = constitution.total_step();
            let known = self.honest.contains(&log)
                || (by == to && block.payloads.is_ok() && !self.was_in_dispute(by, block));
            let stepped = column.sent.ceiling_to(step) == Ok(column.sent);
            let right = sent.ceiling_to(step) == Ok(column.sent) && exact.sent == sent;
            ensure(name, stepped && (right || !known), || {
                format!("{log}/{height} shows {} to {to}, sent {sent}", column.sent)
            })?;
        }
        let leaves = payloads.into_iter().map(|(index, leaf)| ((log, index), leaf));
        self.leaves.extend(leaves);
        Ok(())
    }

    /// What a final block recognises is certified, and is what that log sent: never more.
    pub(super) fn invariant_recognised_is_certified(
        &self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
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
    /// exactly; or, under a constitution that allows less than was owed, more than the block before it.
    pub(super) fn invariant_within_limits(&self, block: &FinalBlock) -> Result<(), Violation> {
        let BlockReference { log, height, epoch, .. } = block.block;
        let Some(constitution) = self.constitutions.get(&epoch) else { return Ok(()) };
        let Some(brand) = constitution.brand(log) else { return Ok(()) };
        let step = constitution.total_step();
        let last = height.get().checked_sub(1).map(Height::new);
        let last = last.and_then(|last| self.finals.get(&(log, last))).map(|(_, header)| header);
        let owed_before = |to: BrandId| {
            last.and_then(|last| last.column(to)).map_or(Value::ZERO, |column| {
                let sent = column.sent.ceiling_to(step).unwrap_or(column.sent);
                public_exposure(step, sent, &column.recognised)
            })
        };
        let (mut total, mut total_before) = (Value::ZERO, Value::ZERO);
        for column in &block.header.columns {
            let to = column.counterparty;
            let before = owed_before(to);
            total_before = total_before.plus(before).unwrap_or(Value::MAX);
            let public = public_exposure(step, column.sent, &column.recognised);
            let sent = self.sent.get(&(log, to, height)).copied().unwrap_or_default();
            let back = self.sent.get(&(to, log, column.recognised.height)).copied();
            // only a liar recognises what no honest machine has seen
            let exact = match back {
                None if column.recognised.height > Height::new(0) => Value::ZERO,
                back => {
                    let discharged = column.recognised.discharged;
                    let claim = back.unwrap_or_default().saturating_minus(discharged.sent);
                    sent.saturating_minus(discharged.received).saturating_minus(claim)
                }
            };
            total = total.plus(public).unwrap_or(Value::MAX);
            // a counterparty that has taken up a larger step already shows totals that are rounded up further
            let larger = self.newest().total_step().saturating_minus(step);
            let shown = public.plus(larger).unwrap_or(Value::MAX);
            let covered = exact <= shown || !self.honest.contains(&log);
            let most = brand.pair_limit.max(before);
            ensure("within limits", covered && public <= most, || {
                format!("{log}/{height} owes {to} {exact}, publicly {public}")
            })?;
        }
        ensure("within limits", total <= brand.total_limit.max(total_before), || {
            format!("{log}/{height} owes {total} in all")
        })
    }

    /// A return takes back a certified leaf of the other side, once, at its own value; or its member sends
    /// parts of it back, together no more than there was, each at its own ratio.
    pub(super) fn invariant_a_leaf_comes_back_once(
        &mut self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let BlockReference { log, header, .. } = block.block;
        let known = self.finals.get(&(log, block.block.height)).map(|(first, _)| first.header);
        let contents = self.built.get(&header).cloned().unwrap_or_default();
        for (index, (to, payload)) in contents.payloads {
            let Payload::Return(back) = payload else { continue };
            if !self.honest.contains(&log) || known != Some(header) {
                continue;
            }
            let original = self.leaves.get(&(to, back.original));
            // seen by several machines, it is still one leaf
            let backs = self.returned.entry((to, back.original)).or_default();
            backs.insert(index, back.clone());
            let right = original.is_some_and(|(receiver, original)| {
                *receiver == log && comes_back(original, backs)
            });
            ensure("a leaf comes back once", right, || {
                format!("{log}/{index} returns {to}/{} of {original:?}", back.original)
            })?;
        }
        Ok(())
    }

    /// With at most f faults in all, a lost disk of the writer counted, what is certified can be
    /// rebuilt: from the fragments on the honest brands' disks, or else the writer has it.
    pub(super) fn invariant_certified_entries_can_be_recovered(
        &self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let Some(committee) = self.committee(block.block.epoch) else { return Ok(()) };
        let sound =
            |brand: &BrandId| self.honest.contains(brand) && !self.restorable.contains(brand);
        let lost = usize::from(sound(&block.block.log));
        if self.faulty(committee) + lost > committee.faults() {
            return Ok(());
        }
        let header = &block.header;
        let shape = Shape::of(committee);
        let kept = self.fragments.get(&block.block.header).into_iter().flatten();
        let kept = kept.filter(|(brand, _)| sound(brand)).map(|(_, fragment)| fragment.clone());
        let kept: Vec<Fragment> = kept.collect();
        let rebuilt = shape.rebuild(&kept, header.body_bytes, &header.fragments);
        let whole = rebuilt.as_ref().is_ok_and(|body| body.len() == header.body_bytes as usize);
        ensure("certified entries can be recovered", whole, || {
            format!("{:?} from {} fragments: {:?}", block.block, kept.len(), rebuilt.err())
        })
    }

    /// No honest log signs, and no honest witness cosigns, a tree that is not final.
    pub(super) fn invariant_checkpoints_are_of_final_sizes(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Checkpoint(note) = message else { return Ok(()) };
        let Ok(signed) = SignedCheckpoint::parse(note) else { return Ok(()) };
        let checkpoint = signed.unverified();
        let is_final = self.finals.iter().any(|((log, _), (block, _))| {
            self.newest().origin(*log) == checkpoint.origin()
                && (block.size, block.root) == (checkpoint.size(), checkpoint.root())
        });
        ensure("checkpoints are of final sizes", is_final, || format!("{by} signs {checkpoint:?}"))
    }

    /// What is applied is certified, for this brand, and applied once.
    pub(super) fn invariant_applied_once_and_as_sent(
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

    /// What a machine takes for the end of a log is a final block of that log.
    pub(super) fn invariant_tips_are_final<G: Guards>(
        &self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
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

    /// What an exchange is worth is what the constitution of its block says.
    pub(super) fn invariant_exchanges_have_their_epochs_price(
        &self,
        by: BrandId,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let BlockReference { log, epoch, .. } = block.block;
        let (Some(constitution), Ok(payloads)) = (self.constitutions.get(&epoch), &block.payloads)
        else {
            return Ok(());
        };
        for (index, payload) in payloads {
            let Payload::Exchange(exchange) = payload else { continue };
            let right = exchange.check(constitution, (log, by)).is_ok();
            ensure("exchanges have their epoch's price", right, || {
                format!("{log}/{index}: {exchange:?} under epoch {epoch}")
            })?;
        }
        Ok(())
    }
}

/// Whether all that was said to come back of a leaf may.
fn comes_back(original: &Payload, backs: &BTreeMap<LeafIndex, Return>) -> bool {
    let by_member = |back: &Return| back.reason == ReturnReason::Member;
    match original {
        Payload::Exchange(exchange) => {
            let part = |back: &Return| exchange.part(back.points).map(|part| part.value);
            let is_whole = |back: &Return| back.points == exchange.received;
            let mut points = backs.values().map(|back| back.points);
            let sum = points.try_fold(Points::ZERO, Points::plus);
            sum.is_ok_and(|sum| sum <= exchange.received)
                && backs.values().all(|back| part(back) == Ok(back.value))
                && backs.values().all(|back| by_member(back) || is_whole(back))
        }
        Payload::Link(_) => {
            let whole = |back: &Return| back.value.is_zero() && !by_member(back);
            backs.len() == 1 && backs.values().all(whole)
        }
        Payload::Return(_) | Payload::Unlink(_) => false,
    }
}
