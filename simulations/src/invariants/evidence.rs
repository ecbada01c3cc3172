//! Evidence, and what follows from it (rule 14): liars alone are accused, their logs stand still, and are
//! closed once and for good.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{BrandId, HeaderHash, Height};
use protocol::witness::closing;
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;
use protocol::witness::statement::Pledge;

use super::{Observer, Violation, ensure};
use crate::node::{Node, Report};

/// What the observer knows of accusations and closings.
#[derive(Debug, Default)]
pub(super) struct Cases {
    // logs that are frozen for a brand
    frozen: BTreeSet<(BrandId, BrandId)>,
    // brands that have agreed that a log be closed
    agreed: BTreeSet<(BrandId, BrandId)>,
    closed: BTreeMap<BrandId, Pledge>,
}

impl Cases {
    /// A brand's disk was put back.
    pub(super) fn forget(&mut self, brand: BrandId) {
        self.frozen.retain(|(by, _)| *by != brand);
    }
}

impl Observer {
    /// A brand agrees that a log be closed.
    pub fn agrees_to_close(&mut self, brand: BrandId, log: BrandId) {
        self.cases.agreed.insert((brand, log));
    }

    /// How many logs are closed for good, as far as an honest machine knows.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.cases.closed.len()
    }
    /// How many logs are frozen for some honest machine.
    #[must_use]
    pub fn frozen(&self) -> usize {
        let logs: BTreeSet<BrandId> = self.cases.frozen.iter().map(|(_, log)| *log).collect();
        logs.len()
    }

    /// An honest machine finds nothing wrong with an honest brand; but one whose disk has forgotten what
    /// it sent does not know what comes back.
    pub(super) fn invariant_no_honest_brand_is_blamed<G: Guards>(
        &self,
        node: &Node<G>,
        report: &Report,
    ) -> Result<(), Violation> {
        let blamed = report.faults.iter().find(|(brand, _)| self.honest.contains(brand));
        let blamed = blamed.filter(|_| !node.has_lost_blocks());
        ensure("no honest brand is blamed", blamed.is_none(), || format!("{blamed:?}"))
    }

    /// An honest writer builds no block that it finds wanting itself: it would stop its log.
    pub(super) fn invariant_an_honest_writer_builds_sound_blocks<G: Guards>(
        &self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let stalled = node.ledger().and_then(|ledger| ledger.writer().stalled());
        ensure("an honest writer builds sound blocks", stalled.is_none(), || {
            format!("{} cannot write: {stalled:?}", node.brand())
        })
    }

    /// There is no evidence against an honest brand, anywhere; unless its disk was put back, its
    /// operator did not say so and nobody told it in time.
    pub(super) fn invariant_no_honest_brand_is_accused<G: Guards>(
        &self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let mut cases = node.ledger().into_iter().flat_map(|ledger| ledger.cases().iter());
        let sound = |brand| self.honest.contains(&brand) && !self.is_careless(brand);
        let accused = cases.find(|case| sound(case.proven.accused()));
        ensure("no honest brand is accused", accused.is_none(), || {
            format!("{} holds {:?}", node.brand(), accused.map(|case| case.proven.evidence()))
        })
    }

    /// Who holds evidence that a writer lied signs nothing of its log any more, but in last rounds.
    pub(super) fn invariant_a_frozen_log_stands_still<G: Guards>(
        &mut self,
        node: &Node<G>,
        report: &Report,
    ) -> Result<(), Violation> {
        let by = node.brand();
        for (_, message) in &report.sent {
            let (log, round) = match message {
                Message::Promise(promise) => {
                    (promise.promise.body.open.log, promise.promise.body.open.round)
                }
                Message::Vote(vote) => (vote.body.0.block.log, vote.body.0.round),
                Message::Commit(commit) => (commit.body.0.block.log, commit.body.0.round),
                _ => continue,
            };
            let stands = !self.cases.frozen.contains(&(by, log)) || closing::is_last(round);
            ensure("a frozen log stands still", stands, || format!("{by} signs {message:?}"))?;
        }
        if let Some(ledger) = node.ledger() {
            let logs = ledger.witnesses().map(|(log, _)| log);
            let frozen = logs.filter(|log| ledger.is_frozen(*log)).map(|log| (by, log));
            self.cases.frozen.extend(frozen);
        }
        Ok(())
    }

    /// A log is closed only when a quorum has agreed, liars counted, once, and nothing comes after.
    pub(super) fn invariant_closed_once_and_by_a_quorum<G: Guards>(
        &mut self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let name = "closed once and by a quorum";
        for (log, witness) in node.ledger().into_iter().flat_map(|ledger| ledger.witnesses()) {
            let Some(certificate) = witness.closing() else { continue };
            let Pledge { block, round } = certificate.pledge();
            let Some(committee) = self.committee(block.epoch) else { continue };
            let agreed = |brand: &&BrandId| {
                !self.honest.contains(*brand) || self.cases.agreed.contains(&(**brand, log))
            };
            let agreed = committee.brands().iter().filter(agreed).count();
            ensure(name, agreed >= committee.quorum(), || {
                format!("{log} is closed in round {round}; {agreed} have agreed")
            })?;
            let first = self.cases.closed.entry(log).or_insert(Pledge { block, round });
            ensure(name, first.block == block, || {
                format!("{log} is closed with {:?} and with {block:?}", first.block)
            })?;
        }
        for (log, closed) in &self.cases.closed {
            let block = closed.block;
            let open = block.header == HeaderHash::NOTHING;
            let last = block.height.get().saturating_sub(u64::from(open));
            ensure(name, self.height(*log) <= Height::new(last), || {
                format!("{log} goes on to {} after {block:?}", self.height(*log))
            })?;
        }
        Ok(())
    }
}
