//! The guarantees, one function each, and what an observer who sees everything needs to check them.
//!
//! The observer sees every message that leaves an honest machine, every block that reaches a disk and
//! every block that becomes final for an honest machine; liars are not held to anything.

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::Value;
use protocol::constitution::Constitution;
use protocol::exchange::Payload;
use protocol::ids::{BrandId, HeaderHash, Height, LeafIndex, Round, RoundNonce};
use protocol::log::block::{BlockReference, ColumnContent, Header};
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::fragments::{Fragment, Shape};
use protocol::witness::build::{OwnBlock, SentPayload};
use protocol::witness::guards::Guards;
use protocol::witness::message::{Message, PromiseMessage};
use protocol::witness::rules::{CLOCK_TOLERANCE, public_exposure};
use protocol::witness::state::FinalBlock;
use protocol::witness::statement::{Open, Pledge, Promise};

use crate::agreement::SKEW_MOST_MS;
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

/// What a block says to each counterparty, and what it commits to as exact totals.
#[derive(Clone, Debug, Default)]
struct Contents {
    payloads: BTreeMap<LeafIndex, (BrandId, Payload)>,
    exact: Vec<ColumnContent>,
}

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
    // the highest round a witness has committed in
    committed: BTreeMap<(BrandId, BrandId, Height), Round>,
    // which opening of a round a witness has joined
    joined: BTreeMap<(BrandId, Slot), RoundNonce>,
    // fragments on honest disks
    fragments: BTreeMap<HeaderHash, BTreeMap<BrandId, Fragment>>,
    // logs that a brand has found to say what cannot stand
    disputed: BTreeSet<(BrandId, BrandId)>,
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
            committed: BTreeMap::new(),
            joined: BTreeMap::new(),
            fragments: BTreeMap::new(),
            disputed: BTreeSet::new(),
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

    /// Checks everything that one event of one machine showed: what it heard, if the event was a
    /// message, and what it did then.
    ///
    /// # Errors
    /// The first guarantee that does not hold.
    pub fn check<G: Guards>(
        &mut self,
        node: &Node<G>,
        heard: Option<&Message>,
        report: &Report,
        now_ms: u64,
    ) -> Result<(), Violation> {
        let by = node.brand();
        report.built.iter().for_each(|block| self.built(block));
        if !self.honest.contains(&by) {
            return Ok(());
        }
        for (header, fragment) in &report.kept {
            self.fragments.entry(*header).or_default().insert(by, fragment.clone());
        }
        for (_, message) in &report.sent {
            self.invariant_one_proposal_a_round(by, message)?;
            self.invariant_a_proposal_follows_its_promises(by, message)?;
            self.invariant_one_vote_a_round(by, message)?;
            self.invariant_promises_rise(by, message)?;
            self.invariant_promises_tell_of_the_lock(by, message)?;
            self.invariant_no_commit_below_a_promise(by, message)?;
            self.invariant_a_vote_follows_the_promises(by, heard, message)?;
        }
        for block in &report.finals {
            self.invariant_agreement(block)?;
            self.invariant_one_chain(block)?;
            self.invariant_time_has_come(block, now_ms)?;
            self.invariant_totals_are_what_was_sent(by, block)?;
            self.invariant_recognised_is_certified(block)?;
            self.invariant_within_limits(block)?;
            self.invariant_a_leaf_comes_back_once(block)?;
            self.invariant_certified_entries_can_be_recovered(block)?;
            self.invariant_who_votes_finds_nothing_wrong(by, block)?;
        }
        for (_, message) in &report.sent {
            self.invariant_checkpoints_are_of_final_sizes(by, message)?;
        }
        for (leaf, payload) in &report.applied {
            self.invariant_applied_once_and_as_sent(by, *leaf, payload)?;
        }
        self.invariant_no_honest_brand_is_blamed(report)?;
        self.invariant_no_honest_brand_accused(node)?;
        self.invariant_tips_are_final(node)
    }

    /// Takes note of a block that somebody has built.
    pub fn built(&mut self, block: &OwnBlock) {
        self.built_as(block.reference().header, block.payloads(), block.contents());
    }

    /// Takes note of what a block says.
    pub fn built_as(
        &mut self,
        block: HeaderHash,
        payloads: &[SentPayload],
        exact: &[ColumnContent],
    ) {
        let payloads = payloads.iter().map(|sent| (sent.index, (sent.to, sent.payload.clone())));
        let (payloads, exact) = (payloads.collect(), exact.to_vec());
        self.built.insert(block, Contents { payloads, exact });
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

    /// Above round 0 an honest writer proposes what the highest lock it was told of calls for.
    fn invariant_a_proposal_follows_its_promises(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Proposal(proposal) = message else { return Ok(()) };
        let Pledge { block, round } = proposal.proposal.body.0;
        let Some((_, highest)) = self.called_for(&proposal.promises) else { return Ok(()) };
        let follows = highest.is_none_or(|lock| lock.block == block);
        ensure("a proposal follows its promises", follows, || {
            format!("{by} proposes {block:?} in round {round}, highest lock {highest:?}")
        })
    }

    /// Above round 0 an honest witness votes only for what a quorum of promises, of the opening it has
    /// joined itself, calls for.
    fn invariant_a_vote_follows_the_promises(
        &mut self,
        by: BrandId,
        heard: Option<&Message>,
        said: &Message,
    ) -> Result<(), Violation> {
        if let Message::Promise(message) = said {
            let open = message.promise.body.open;
            self.joined.insert((by, (open.log, open.height, open.round)), open.nonce);
        }
        let (Some(Message::Proposal(proposal)), Message::Vote(vote)) = (heard, said) else {
            return Ok(());
        };
        let Pledge { block, round } = vote.body.0;
        // a vote that is said again when another proposal is heard
        if round == Round::new(0) || proposal.proposal.body.0 != vote.body.0 {
            return Ok(());
        }
        let joined = self.joined.get(&(by, (block.log, block.height, round)));
        let follows = self.called_for(&proposal.promises).is_some_and(|(open, highest)| {
            (open.log, open.height, open.round) == (block.log, block.height, round)
                && highest.is_none_or(|lock| lock.block == block)
                && joined.is_none_or(|nonce| *nonce == open.nonce)
        });
        ensure("a vote follows the promises", follows, || {
            let shown = &proposal.promises;
            format!("{by} votes for {block:?} in round {round}, joined {joined:?}, shown {shown:?}")
        })
    }

    /// What a quorum of promises of one opening calls for, if these are one: the opening, and the
    /// highest lock that a quorum voted for.
    fn called_for(&self, promises: &[PromiseMessage]) -> Option<(Open, Option<Pledge>)> {
        let quorum = self.constitution.committee().quorum();
        let open = promises.first()?.promise.body.open;
        let mut signers = BTreeSet::new();
        let mut highest: Option<Pledge> = None;
        for message in promises.iter().filter(|message| message.promise.body.open == open) {
            let proven = message.lock.as_ref().is_some_and(|lock| lock.votes.len() + 1 >= quorum);
            match message.promise.body.lock {
                Some(_) if !proven => continue,
                Some(lock) if highest.is_none_or(|highest| highest.round < lock.round) => {
                    highest = Some(lock);
                }
                _ => {}
            }
            signers.insert(message.promise.signer);
        }
        (signers.len() >= quorum).then_some((open, highest))
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

    /// An honest witness promises no round below one it has promised.
    fn invariant_promises_rise(&self, by: BrandId, message: &Message) -> Result<(), Violation> {
        let Message::Promise(message) = message else { return Ok(()) };
        let open = message.promise.body.open;
        let promised = self.promised.get(&(by, open.log, open.height)).copied();
        ensure("promises rise", open.round >= promised.unwrap_or_default(), || {
            format!(
                "{by} promised {}/{} round {} after {promised:?}",
                open.log, open.height, open.round
            )
        })
    }

    /// Who has committed in a round tells of that lock, or a higher one, in every promise after it.
    fn invariant_promises_tell_of_the_lock(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        match message {
            Message::Commit(commit) => {
                let Pledge { block, round } = commit.body.0;
                let highest = self.committed.entry((by, block.log, block.height)).or_default();
                *highest = round.max(*highest);
                Ok(())
            }
            Message::Promise(message) => {
                let Promise { open, lock } = message.promise.body;
                let committed = self.committed.get(&(by, open.log, open.height)).copied();
                let told = lock.map(|lock| lock.round);
                ensure("promises tell of the lock", told >= committed, || {
                    format!("{by} tells of {told:?} after committing in {committed:?}")
                })
            }
            _ => Ok(()),
        }
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
    fn invariant_time_has_come(&self, block: &FinalBlock, now_ms: u64) -> Result<(), Violation> {
        let latest = now_ms + CLOCK_TOLERANCE.get() + SKEW_MOST_MS as u64;
        let time = block.header.time;
        ensure("time has come", time.unix_ms() <= latest, || {
            format!("{:?} is of {time:?}, at {now_ms}", block.block)
        })
    }

    /// The totals a final header shows are exactly those of the leaves that are final. What a liar
    /// commits to for a brand is that brand's to find: then it takes nothing.
    fn invariant_totals_are_what_was_sent(
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
        let witnesses = self.constitution.committee().witnesses(log);
        let columns = block.header.columns.iter().map(|column| column.counterparty);
        ensure(name, columns.eq(witnesses), || format!("columns of {:?}", block.block))?;
        for (column, exact) in block.header.columns.iter().zip(exact) {
            let to = column.counterparty;
            let mut sent = self.sent.get(&(log, to, before)).copied().unwrap_or_default();
            for (_, payload) in payloads.values().filter(|(receiver, _)| *receiver == to) {
                sent = sent.plus(payload.value()).unwrap_or(Value::MAX);
            }
            self.sent.insert((log, to, height), sent);
            let step = self.constitution.total_step();
            let known = self.honest.contains(&log) || (by == to && block.payloads.is_ok());
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
            let public = public_exposure(step, column.sent, &column.recognised);
            let sent = self.sent.get(&(log, to, height)).copied().unwrap_or_default();
            let back = self.sent.get(&(to, log, column.recognised.height)).copied();
            // only a liar recognises what no honest machine has seen
            let exact = match back {
                None if column.recognised.height > Height::new(0) => Value::ZERO,
                back => sent.saturating_minus(back.unwrap_or_default()),
            };
            total = total.plus(public).unwrap_or(Value::MAX);
            let covered = exact <= public || !self.honest.contains(&log);
            ensure("within limits", covered && public <= brand.pair_limit, || {
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
        for (index, (to, payload)) in contents.payloads {
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

    /// With at most f faults in all, a lost disk of the writer counted, what is certified can be
    /// rebuilt: from the fragments on the honest brands' disks, or else the writer has it.
    fn invariant_certified_entries_can_be_recovered(
        &self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let committee = self.constitution.committee();
        let liars = committee.size() - self.honest.len();
        let lost = usize::from(self.honest.contains(&block.block.log));
        if liars + lost > committee.faults() {
            return Ok(());
        }
        let header = &block.header;
        let shape = Shape::of(self.constitution.committee());
        let kept = self.fragments.get(&block.block.header);
        let kept: Vec<Fragment> = kept.into_iter().flat_map(BTreeMap::values).cloned().collect();
        let rebuilt = shape.rebuild(&kept, header.body_bytes, &header.fragments);
        let whole = rebuilt.as_ref().is_ok_and(|body| body.len() == header.body_bytes as usize);
        ensure("certified entries can be recovered", whole, || {
            format!("{:?} from {} fragments: {:?}", block.block, kept.len(), rebuilt.err())
        })
    }

    /// Who votes for a block that no lock forces has checked what it says to it; and who has found
    /// a log false takes nothing of it any more.
    fn invariant_who_votes_finds_nothing_wrong(
        &mut self,
        by: BrandId,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let BlockReference { log, height, .. } = block.block;
        let slot = (log, height, Round::new(0));
        let voted = self.votes.get(&(by, slot)) == Some(&block.block);
        let first = !self.disputed.contains(&(by, log));
        ensure(
            "who votes finds nothing wrong",
            block.payloads.is_ok() || !voted || !first,
            || format!("{by} voted for {:?}, then: {:?}", block.block, block.payloads),
        )?;
        if block.payloads.is_err() {
            self.disputed.insert((by, log));
        }
        ensure("a dispute stands", block.payloads.is_err() || first, || {
            format!("{by} takes {:?} of a log it disputes", block.block)
        })
    }

    /// No honest log signs, and no honest witness cosigns, a tree that is not final.
    fn invariant_checkpoints_are_of_final_sizes(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Checkpoint(note) = message else { return Ok(()) };
        let Ok(signed) = SignedCheckpoint::parse(note) else { return Ok(()) };
        let checkpoint = signed.unverified();
        let is_final = self.finals.iter().any(|((log, _), (block, _))| {
            self.constitution.origin(*log) == checkpoint.origin()
                && (block.size, block.root) == (checkpoint.size(), checkpoint.root())
        });
        ensure("checkpoints are of final sizes", is_final, || format!("{by} signs {checkpoint:?}"))
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

    /// There is no evidence against an honest brand, anywhere.
    fn invariant_no_honest_brand_accused<G: Guards>(
        &self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let mut cases = node.ledger().into_iter().flat_map(|ledger| ledger.cases().iter());
        let accused = cases.find(|case| self.honest.contains(&case.proven.accused()));
        ensure("no honest brand is accused", accused.is_none(), || {
            format!("{} holds {:?}", node.brand(), accused.map(|case| case.proven.evidence()))
        })
    }

    /// What a machine takes for the end of a log is a final block of that log.
    fn invariant_tips_are_final<G: Guards>(&self, node: &Node<G>) -> Result<(), Violation> {
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
