//! Starts, and disks that were put back (rules 11 to 13).
//!
//! The observer knows what a machine signed in its former lives, which its disk may not. A machine
//! whose operator says nothing and whom nobody tells is **careless** from its next start on: it cannot know.
//! It counts as faulty, and what it signs twice is held against nobody else.

use std::collections::{BTreeMap, BTreeSet};

use protocol::exchange::Payload;
use protocol::ids::{BrandId, Height, Incarnation, LeafIndex, Round};
use protocol::ledger::Starting;
use protocol::witness::guards::Guards;
use protocol::witness::message::Message;
use protocol::witness::said::Position;
use protocol::witness::standing::MARGIN;
use protocol::witness::start::{Acknowledgement, Start};

use super::{Observer, Violation, ensure};
use crate::node::{Node, Report};

/// What the observer knows of machines' lives.
#[derive(Debug, Default)]
pub(super) struct Lives {
    present: BTreeMap<BrandId, Life>,
    // how often a disk was put back
    restores: BTreeMap<BrandId, usize>,
    careless: BTreeSet<BrandId>,
    // have signed while they were
    tainted: BTreeSet<BrandId>,
    // have taken note that their present disk was put back
    noticed: BTreeSet<BrandId>,
    // the highest height at which a brand has signed anything as witness, by signer and log: ever, and
    // in lives that its disk may have forgotten
    signed: BTreeMap<(BrandId, BrandId), Height>,
    forgotten: BTreeMap<(BrandId, BrandId), Height>,
    // the highest height that a brand has known to be final
    known: BTreeMap<(BrandId, BrandId), Height>,
    // how far a log was certified, as a restored brand was told: by brand and log
    fences: BTreeMap<(BrandId, BrandId), Height>,
    // incarnations that a brand has heard of: by who heard, of whom
    heard: BTreeMap<(BrandId, BrandId), Incarnation>,
}

/// One start of a machine and what has come of it.
#[derive(Debug, Default)]
struct Life {
    start: Option<Start>,
    acknowledged: BTreeSet<BrandId>,
    // how far it had gone in every log, by its disk
    found: BTreeMap<BrandId, Position>,
    // what honest brands that vouch have told of logs
    told: BTreeMap<BrandId, Height>,
    signs: bool,
}

impl Observer {
    /// Whether this machine's disk was put back and it does not know.
    pub(super) fn is_careless(&self, brand: BrandId) -> bool {
        self.lives.careless.contains(&brand)
    }

    /// A machine's disk is put back; these leaves were applied by then.
    pub fn put_back<'a>(
        &mut self,
        brand: BrandId,
        declared: bool,
        applied: impl Iterator<Item = (&'a (BrandId, LeafIndex), &'a Payload)>,
    ) {
        self.applied.retain(|(by, ..)| *by != brand);
        self.applied.extend(applied.map(|((log, index), _)| (brand, *log, *index)));
        *self.lives.restores.entry(brand).or_default() += 1;
        if !declared {
            self.lives.careless.insert(brand);
        }
        self.lives.noticed.remove(&brand);
        let signed = self.lives.signed.iter().filter(|((by, _), _)| *by == brand);
        self.lives.forgotten.extend(signed.map(|(key, height)| (*key, *height)));
        self.lives.fences.retain(|(by, _), _| *by != brand);
        self.cases.forget(brand);
        self.lives.heard.retain(|(by, _), _| *by != brand);
        self.disputes.forget(brand);
    }

    /// A machine runs again, on what was on its disk.
    pub fn starts<G: Guards>(&mut self, node: &Node<G>) {
        let ledger = node.ledger().into_iter();
        let found = ledger.flat_map(|ledger| ledger.witnesses());
        let found = found.map(|(log, witness)| (log, witness.position())).collect();
        self.lives.present.insert(node.brand(), Life { found, ..Life::default() });
    }

    /// Everything about the start of a machine that one event shows.
    pub(super) fn check_start<G: Guards>(
        &mut self,
        node: &Node<G>,
        heard: Option<&Message>,
        report: &Report,
    ) -> Result<(), Violation> {
        let by = node.brand();
        // a machine that is down hears nothing
        let heard = heard.filter(|_| node.ledger().is_some() || report.crashed.is_some());
        let is_told = self.take_answer(node, heard);
        if report.restored {
            self.lives.noticed.insert(by);
            if !self.lives.tainted.contains(&by) {
                self.lives.careless.remove(&by);
            }
        }
        let is_noticed = self.lives.noticed.contains(&by);
        let life = self.lives.present.entry(by).or_default();
        // a disk that was put back for the second time may know of the first
        let first = self.lives.restores.get(&by).is_none_or(|restores| *restores <= 1);
        let excused = !first || life.signs || report.crashed.is_some();
        let noticed = is_noticed || !is_told || excused;
        ensure("what honest brands show of a former life is noticed", noticed, || {
            format!("{by} goes on as if its disk had not been put back")
        })?;
        let intact = !self.lives.restores.contains_key(&by);
        ensure(
            "an intact disk is not taken for a restored one",
            !(report.restored && intact),
            || format!("{by} takes note that its disk was put back, which never happened"),
        )?;
        for fence in &report.fenced {
            let told = life.told.get(&fence.log).copied().unwrap_or_default();
            ensure("a restored node believes who vouches", fence.certified >= told, || {
                format!("{by}: {} is certified to {told}, not {}", fence.log, fence.certified)
            })?;
            self.lives.fences.insert((by, fence.log), fence.certified);
        }
        self.invariant_nothing_is_signed_before_acknowledgements(node, report)?;
        self.note_tips(node);
        Ok(())
    }

    /// Takes note of an answer to a start; whether it shows, by this brand's own word, that the disk was
    /// put back.
    fn take_answer<G: Guards>(&mut self, node: &Node<G>, heard: Option<&Message>) -> bool {
        let by = node.brand();
        let Some(Message::Acknowledgement(answer)) = heard else { return false };
        let Some(life) = self.lives.present.get_mut(&by) else { return false };
        if life.start != Some(answer.body.start) || answer.body.brand != by {
            return false;
        }
        life.acknowledged.insert(answer.signer);
        // liars say what they like
        if !self.honest.contains(&answer.signer) {
            return false;
        }
        let Acknowledgement { start, started, said, logs, .. } = &answer.body;
        let constitutions = node.ledger().map(|ledger| ledger.constitutions());
        for log in logs.iter().filter(|log| log.vouches) {
            let block = log.certificate.as_ref().map(|it| it.pledge.block);
            // what is under a constitution that this brand has not is not believed
            let known =
                block.filter(|it| constitutions.is_some_and(|of| of.of(it.epoch).is_some()));
            let height = known.map(|block| block.height);
            let told = life.told.entry(log.log).or_default();
            *told = height.unwrap_or_default().max(*told);
        }
        let another = started.as_ref().is_some_and(|started| {
            started.body != *start && started.body.incarnation >= start.incarnation
        });
        let beyond = said.iter().any(|said| {
            let found = life.found.get(&said.log());
            found.is_some_and(|found| said.position() > *found)
        });
        another || beyond
    }

    /// Rule 11: a node signs nothing before a quorum, itself included, knows of its start.
    fn invariant_nothing_is_signed_before_acknowledgements<G: Guards>(
        &mut self,
        node: &Node<G>,
        report: &Report,
    ) -> Result<(), Violation> {
        let by = node.brand();
        let least = self.constitutions.values().map(|it| it.committee().quorum()).min();
        let needed = least.unwrap_or_default().saturating_sub(1);
        let Some(life) = self.lives.present.get_mut(&by) else { return Ok(()) };
        for (_, message) in &report.sent {
            match message {
                Message::Start(start) if life.start != Some(start.body) => {
                    life.start = Some(start.body);
                    life.acknowledged.clear();
                    life.told.clear();
                    life.signs = false;
                }
                Message::Start(_) => {}
                Message::Open(_)
                | Message::Promise(_)
                | Message::Proposal(_)
                | Message::LastProposal(_)
                | Message::Vote(_)
                | Message::Lock(_)
                | Message::Commit(_) => {
                    life.signs = true;
                    if self.lives.careless.contains(&by) {
                        self.lives.tainted.insert(by);
                    }
                    let known = life.acknowledged.len();
                    ensure("nothing is signed before acknowledgements", known >= needed, || {
                        format!("{by} signs {message:?} after {known} of {needed}")
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note_tips<G: Guards>(&mut self, node: &Node<G>) {
        let by = node.brand();
        for (log, witness) in node.ledger().into_iter().flat_map(|ledger| ledger.witnesses()) {
            let known = self.lives.known.entry((by, log)).or_default();
            *known = witness.tip().height.max(*known);
        }
    }

    /// Rule 12: a restored witness signs nothing at a height at which it has signed in a former life.
    /// Of two brands both are needed, and it goes on where the other says.
    pub(super) fn invariant_a_restored_witness_is_silent(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let (log, height, epoch) = match message {
            Message::Promise(promise) => {
                let open = promise.promise.body.open;
                (open.log, open.height, open.epoch)
            }
            Message::Vote(vote) => {
                let block = vote.body.0.block;
                (block.log, block.height, block.epoch)
            }
            Message::Commit(commit) => {
                let block = commit.body.0.block;
                (block.log, block.height, block.epoch)
            }
            _ => return Ok(()),
        };
        let pair = self.committee(epoch).is_some_and(|committee| committee.size() == 2);
        let forgotten = self.lives.forgotten.get(&(by, log)).copied().unwrap_or_default();
        ensure("a restored witness is silent", height > forgotten || pair, || {
            format!("{by} signs {message:?}; in a former life it signed at {log}/{forgotten}")
        })?;
        let signed = self.lives.signed.entry((by, log)).or_default();
        *signed = height.max(*signed);
        Ok(())
    }

    /// Rule 13: a restored writer acts at no height that is certified as far as it was told; at the next
    /// two it opens a round before it proposes, and its own promise is not counted.
    pub(super) fn invariant_a_restored_writer_is_careful(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let (height, epoch) = match message {
            // last rounds of a frozen log are led by others
            Message::Open(open) if open.body.log == by => (open.body.height, open.body.epoch),
            Message::Proposal(message) => {
                let block = message.proposal.body.0.block;
                (block.height, block.epoch)
            }
            _ => return Ok(()),
        };
        let Some(fence) = self.lives.fences.get(&(by, by)) else { return Ok(()) };
        let name = "a restored writer is careful";
        ensure(name, height > *fence, || {
            format!("{by} writes at {height}; it was told that {fence} is certified")
        })?;
        let fenced = height.get() <= fence.get() + MARGIN;
        let Message::Proposal(message) = message else { return Ok(()) };
        if !fenced {
            return Ok(());
        }
        let committee = self.committee(epoch);
        let quorum = committee.map(|it| it.quorum()).unwrap_or_default();
        let pair = committee.is_some_and(|committee| committee.size() == 2);
        let others: BTreeSet<BrandId> =
            message.promises.iter().map(|it| it.promise.signer).filter(|it| *it != by).collect();
        let opened = message.proposal.body.0.round > Round::new(0);
        ensure(name, opened && (others.len() >= quorum || pair), || {
            format!("{by} proposes at {height} with promises of {others:?}, restored at {fence}")
        })
    }

    /// Rule 12: who vouches for a log knows it as far as it ever did.
    pub(super) fn invariant_who_vouches_has_forgotten_nothing(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Acknowledgement(answer) = message else { return Ok(()) };
        for log in answer.body.logs.iter().filter(|log| log.vouches) {
            let told = log.certificate.as_ref().map(|it| it.pledge.block.height);
            let known = self.lives.known.get(&(by, log.log)).copied().unwrap_or_default();
            ensure("who vouches has forgotten nothing", told.unwrap_or_default() >= known, || {
                format!("{by} vouches for {}/{told:?}, and knew {known}", log.log)
            })?;
        }
        Ok(())
    }

    /// Rule 11: an opening or a proposal of an incarnation that another has followed is not answered.
    pub(super) fn invariant_an_older_incarnation_has_no_claim(
        &mut self,
        by: BrandId,
        heard: Option<&Message>,
        said: &Message,
    ) -> Result<(), Violation> {
        let (writer, presented) = match heard {
            Some(Message::Start(start)) => (start.signer, start.body.incarnation),
            Some(Message::Open(open)) => (open.signer, open.body.incarnation),
            Some(Message::Proposal(message)) => (message.proposal.signer, message.incarnation),
            _ => return Ok(()),
        };
        // what a liar says may not even be signed
        if !self.honest.contains(&writer) {
            return Ok(());
        }
        let known = self.lives.heard.entry((by, writer)).or_default();
        let answered = matches!(said, Message::Promise(_) | Message::Vote(_));
        ensure("an older incarnation has no claim", presented >= *known || !answered, || {
            format!("{by} answers incarnation {presented} of {writer}, knowing {known}")
        })?;
        // what is not acted upon at all leaves no trace
        if answered || matches!(said, Message::Acknowledgement(_)) {
            *known = presented.max(*known);
        }
        Ok(())
    }

    /// Whether a machine has started and is not silent or careful anywhere.
    #[must_use]
    pub fn is_settled<G: Guards>(node: &Node<G>) -> bool {
        node.ledger().is_some_and(|ledger| match ledger.starting() {
            None | Some(Starting::Fenced(_)) => true,
            Some(Starting::Acknowledgements { .. } | Starting::Undecided(_)) => false,
        })
    }
}
