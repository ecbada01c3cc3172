//! The guarantees, one function each, and what an observer who sees everything needs to check them.
//!
//! The observer sees every message that leaves an honest machine, every block that reaches a disk and
//! every block that becomes final for an honest machine; liars are not held to anything. A machine whose
//! disk was put back is held to everything once it has taken note of that; while it has not, only to what
//! concerns nobody else.

mod blocks;
mod constitutions;
mod disputes;
mod evidence;
mod rounds;
mod settlement;
mod starts;

use std::collections::{BTreeMap, BTreeSet};

use protocol::constitution::{Committee, Constitution};
use protocol::epochs::adoption::Stances;
use protocol::exchange::{Payload, Return};
use protocol::ids::{BrandId, Epoch, HeaderHash, Height, LeafIndex, Round, RoundNonce};
use protocol::log::block::{BlockReference, ColumnContent, Header};
use protocol::log::fragments::Fragment;
use protocol::witness::build::{OwnBlock, SentPayload};
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;

use self::constitutions::Constitutional;
use self::disputes::Disputes;
use self::evidence::Cases;
use self::settlement::Money;
use self::starts::Lives;
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
    constitutions: BTreeMap<Epoch, Constitution>,
    honest: BTreeSet<BrandId>,
    // honest ones whose disks may be put back
    restorable: BTreeSet<BrandId>,
    // what is signed on the way is not looked at
    outcomes_alone: bool,
    built: BTreeMap<HeaderHash, Contents>,
    finals: BTreeMap<(BrandId, Height), (BlockReference, Header)>,
    // value ever sent, by log, counterparty and height
    sent: BTreeMap<(BrandId, BrandId, Height), protocol::amount::Value>,
    // leaves of final blocks by (log, index)
    leaves: BTreeMap<(BrandId, LeafIndex), (BrandId, Payload)>,
    // which leaves returned a leaf, or parts of it
    returned: BTreeMap<(BrandId, LeafIndex), BTreeMap<LeafIndex, Return>>,
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
    disputes: Disputes,
    lives: Lives,
    cases: Cases,
    constitutional: Constitutional,
    money: Money,
    // what each log has said of drafts up to a height
    judged: BTreeMap<BrandId, (Height, Stances)>,
}

impl Observer {
    /// An observer of an alliance where these brands are honest, and the disks of these among them may
    /// be put back.
    #[must_use]
    pub fn new(
        constitution: Constitution,
        honest: BTreeSet<BrandId>,
        restorable: BTreeSet<BrandId>,
    ) -> Self {
        Self {
            constitutions: BTreeMap::from([(constitution.epoch(), constitution)]),
            honest,
            restorable,
            outcomes_alone: false,
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
            disputes: Disputes::default(),
            lives: Lives::default(),
            cases: Cases::default(),
            constitutional: Constitutional::default(),
            money: Money::default(),
            judged: BTreeMap::new(),
        }
    }

    /// The same, who does not look at what is signed on the way.
    #[must_use]
    pub const fn of_outcomes_alone(mut self, alone: bool) -> Self {
        self.outcomes_alone = alone;
        self
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
    /// The newest constitution that an honest machine has taken for adopted.
    ///
    /// # Panics
    /// Never: there is a first one.
    #[must_use]
    pub fn newest(&self) -> &Constitution {
        self.constitutions.last_key_value().expect("there is a first one").1
    }
    /// Every constitution that was adopted, in order.
    pub fn constitutions(&self) -> impl Iterator<Item = &Constitution> {
        self.constitutions.values()
    }
    /// The last height of a log that is final for an honest machine.
    #[must_use]
    pub fn height(&self, log: BrandId) -> Height {
        let all = (log, Height::new(0))..=(log, Height::new(u64::MAX));
        let last = self.finals.range(all).next_back();
        last.map(|((_, height), _)| *height).unwrap_or_default()
    }

    /// An honest brand joins.
    pub fn joins(&mut self, brand: BrandId) {
        self.honest.insert(brand);
    }

    fn committee(&self, epoch: Epoch) -> Option<&Committee> {
        self.constitutions.get(&epoch).map(Constitution::committee)
    }

    /// Members of a committee that are not to be relied on: liars, and those whose disks are put back.
    fn faulty(&self, committee: &Committee) -> usize {
        let sound =
            |brand: &&BrandId| self.honest.contains(*brand) && !self.restorable.contains(*brand);
        committee.size() - committee.brands().iter().filter(sound).count()
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
        report.finals.iter().for_each(|block| self.note_stances(block));
        report.finals.iter().for_each(|block| self.note_entries(block));
        if !self.honest.contains(&by) {
            return Ok(());
        }
        self.invariant_one_constitution_an_epoch(node)?;
        for (header, fragment) in &report.kept {
            self.fragments.entry(*header).or_default().insert(by, fragment.clone());
        }
        self.check_start(node, heard, report)?;
        if !self.outcomes_alone {
            for (to, message) in &report.sent {
                self.check_message(by, heard, *to, message)?;
            }
        }
        self.note_agreements(by, report);
        for block in &report.finals {
            self.invariant_final_blocks_have_commits_of_a_quorum(block)?;
            self.invariant_agreement(block)?;
            self.invariant_one_chain(block)?;
            self.invariant_time_has_come(block, now_ms)?;
            self.invariant_totals_are_what_was_sent(by, block)?;
            self.invariant_recognised_is_certified(block)?;
            self.invariant_within_limits(block)?;
            self.invariant_a_leaf_comes_back_once(block)?;
            self.invariant_certified_entries_can_be_recovered(block)?;
            self.invariant_who_votes_finds_nothing_wrong(by, block)?;
            self.invariant_exchanges_have_their_epochs_price(by, block)?;
            self.check_succession(block)?;
            self.check_settlement(block)?;
            self.check_endings(block)?;
            self.invariant_final_blocks_keep_the_rules(block)?;
        }
        for (_, message) in &report.sent {
            self.invariant_checkpoints_are_of_final_sizes(by, message)?;
        }
        for (leaf, payload) in &report.applied {
            self.invariant_applied_once_and_as_sent(by, *leaf, payload)?;
        }
        let credited = report.applied.iter().map(|((log, _), _)| *log);
        let logs: BTreeSet<BrandId> =
            credited.chain(report.finals.iter().map(|block| block.block.log)).collect();
        for log in logs {
            self.invariant_credited_is_what_totals_claim(node, log)?;
        }
        self.invariant_one_statement_a_cut_off(node)?;
        self.invariant_no_honest_brand_is_blamed(node, report)?;
        self.invariant_an_honest_writer_builds_sound_blocks(node)?;
        self.invariant_no_honest_brand_is_accused(node)?;
        self.invariant_a_frozen_log_stands_still(node, report)?;
        self.invariant_closed_once_and_by_a_quorum(node)?;
        self.invariant_tips_are_final(node)
    }

    /// What leaves a machine, one message at a time. While a machine has not noticed that its disk was put
    /// back it may contradict what it has forgotten: it counts as faulty.
    fn check_message(
        &mut self,
        by: BrandId,
        heard: Option<&Message>,
        to: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        if !self.is_careless(by) {
            self.invariant_one_proposal_a_round(by, message)?;
            self.invariant_a_proposal_follows_its_promises(by, message)?;
            self.invariant_one_vote_a_round(by, message)?;
            self.invariant_promises_rise(by, message)?;
            self.invariant_promises_tell_of_the_lock(by, message)?;
            self.invariant_no_commit_below_a_promise(by, message)?;
            self.invariant_a_vote_follows_the_promises(by, heard, message)?;
            self.invariant_a_restored_witness_is_silent(by, message)?;
            self.invariant_a_restored_writer_is_careful(by, message)?;
            self.invariant_who_vouches_has_forgotten_nothing(by, message)?;
        }
        self.invariant_an_older_incarnation_has_no_claim(by, heard, message)?;
        self.invariant_no_honest_block_is_refused(by, heard, to, message)
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

    /// Everything certified by these writers for these readers has been applied: no value is lost.
    ///
    /// # Errors
    /// The first leaf that was not.
    pub fn invariant_nothing_is_lost(
        &self,
        writers: &BTreeSet<BrandId>,
        readers: &BTreeSet<BrandId>,
    ) -> Result<(), Violation> {
        for ((log, index), (to, _)) in &self.leaves {
            let both = writers.contains(log) && readers.contains(to);
            ensure(
                "nothing is lost",
                !both || self.applied.contains(&(*to, *log, *index)),
                || format!("{log}/{index} was never applied by {to}"),
            )?;
        }
        Ok(())
    }
}
