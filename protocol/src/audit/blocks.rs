//! One log, block after block: what a witness would have had to refuse is a finding.
//!
//! Runs the rules of [`crate::witness::rules`] over certified headers, counts and decodes every
//! entry, cuts every body into fragments again. What a block is judged by must itself be certified
//! and at hand; otherwise the block is counted as not checked.

use std::collections::BTreeMap;

use super::across::Collected;
use super::content::{self, Content, Note, Parts};
use super::cores::Cores;
use super::disclosed::Disclosed;
use super::folder::{Facts, LogFolder, other_files, read_header_leaf};
use super::report::{DisclosedTo, Place, Reason, Recorder, Rule, count};
use super::sealed::Opener;
use super::tree::{Settled, Walk};
use super::{EntryPlace, Observer};
use crate::clearing::check_closing;
use crate::constitution::Constitution;
use crate::disclosure::Disclosure;
use crate::epochs::Constitutions;
use crate::epochs::adoption::Stances;
use crate::ids::{BrandId, Epoch, HeaderHash, Height, LeafIndex, TreeSize};
use crate::log::block::{APPLICATION_MAX, Closing, Header, PublicEntry};
use crate::log::fragments::FragmentError;
use crate::log::kept::OperationLogHead;
use crate::log::merkle::Frontier;
use crate::witness::allowed::Allowed;
use crate::witness::guards::Upheld;
use crate::witness::rules::{
    CertifiedTotals, Known, Tip, Violation, check_header, check_kinds, check_payments,
};

/// Blocks that are read at once at most.
const BLOCKS_MAX: usize = 1_024;
/// Bytes of blocks that are read at once, but for the last of them.
const BLOCKS_BYTES: usize = 16 * 1024 * 1024;

/// A folder with what is certified of its log, and the size to which it is walked.
#[derive(Debug)]
pub(super) struct Log<'a, F> {
    pub(super) folder: &'a F,
    pub(super) facts: Facts,
    pub(super) size: TreeSize,
    /// The block of its checkpoint. All logs are copied after all checkpoints: what blocks after this
    /// one refer to need not be in the copy.
    pub(super) copied: Height,
    /// What was disclosed to the auditor whose key is at hand.
    pub(super) disclosed: Disclosed,
}

/// All logs; headers are read from their folders when another log refers to them.
pub(super) type Logs<'a, F> = BTreeMap<BrandId, Log<'a, F>>;

pub(super) enum Lookup {
    Found(HeaderHash, Box<Header>),
    /// The log has no such block.
    Beyond,
    /// It has, but its certificate or its header does not stand.
    Unreadable,
}

pub(super) fn look_up<F: LogFolder>(logs: &Logs<'_, F>, log: BrandId, height: Height) -> Lookup {
    let Some(log) = logs.get(&log) else { return Lookup::Unreadable };
    if height > log.facts.last_height() {
        return Lookup::Beyond;
    }
    let header = log.facts.at(height).and_then(|fact| {
        let leaf = read_header_leaf(log.folder, log.size, &fact)?;
        Some((fact.header, Box::new(Header::from_bytes(&leaf).ok()?)))
    });
    header.map_or(Lookup::Unreadable, |(id, header)| Lookup::Found(id, header))
}

/// Checks one log.
pub(super) struct LogAudit<'a, F> {
    pub(super) constitutions: &'a Constitutions,
    /// That the next block must be under.
    pub(super) epoch: Epoch,
    /// What the log has said of constitutions.
    pub(super) stances: Stances,
    pub(super) logs: &'a Logs<'a, F>,
    pub(super) log: BrandId,
    pub(super) opener: Opener<'a>,
    pub(super) collected: &'a mut Collected,
    pub(super) recorder: &'a mut Recorder,
    // none when the block before could not be read
    pub(super) tip: Option<Tip>,
    // what it last said of its operation log
    pub(super) operations: Option<OperationLogHead>,
    // the block by which it took up a constitution under which it is not written
    pub(super) ended: Option<Height>,
}

impl<'a, F: LogFolder> LogAudit<'a, F> {
    pub(super) fn constitution(&self) -> &'a Constitution {
        self.constitutions.of(self.epoch).unwrap_or(self.constitutions.newest())
    }

    pub(super) fn run(&mut self, cores: &impl Cores, observer: &mut impl Observer) {
        let Some(log) = self.logs.get(&self.log) else { return };
        let partials = other_files(self.log, log.folder, log.size, self.recorder);
        let mut walk = Walk::new(self.log, log.folder, log.size, partials);
        let mut uncertified = None;
        let mut height = Some(Height::new(1));
        loop {
            let mut blocks = Vec::new();
            let mut bytes = 0_usize;
            while bytes < BLOCKS_BYTES
                && blocks.len() < BLOCKS_MAX
                && let Some(next) = height.filter(|_| walk.remaining() > 0)
            {
                if log.facts.at(next).is_none() && next > log.facts.last_height() {
                    uncertified = uncertified.or(Some((next, walk.position())));
                }
                let Some(block) = Block::walk(&mut walk, (self.log, next), &log.facts, cores)
                else {
                    break;
                };
                bytes = bytes.saturating_add(block.settled.size());
                blocks.push(block);
                height = next.next();
            }
            if blocks.is_empty() {
                break;
            }
            // by the constitution of the first of them; one that is taken up amid them is seen below
            let (constitution, reader) = (self.constitution(), self.opener.reader());
            let contents = cores.each(&blocks, |block| content::read(block, constitution, reader));
            for (block, content) in blocks.into_iter().zip(contents) {
                let done = block.after.size().get();
                self.judge(block, content, observer);
                observer.progress(self.log, done, log.size.get());
            }
        }
        if let Some((height, position)) = uncertified {
            let place = Place::block(self.log, height).at(LeafIndex::new(position));
            let message = "no certificate from this block on";
            self.recorder.find(place, Rule::CertificateMissing, message);
        }
        walk.finish(self.recorder);
    }

    fn judge(&mut self, mut block: Block, content: Content, observer: &mut impl Observer) {
        count(&mut self.recorder.counts.blocks, 1);
        self.collected.walked();
        self.recorder.append(std::mem::take(&mut block.recorder));
        let block = &block;
        let place = block.place();
        let tip = self.tip.take();
        self.recorder.append(content.heading);
        let Some(mut parts) = content.parts else {
            self.opener.lose_totals();
            self.collected.damaged();
            self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
            return;
        };
        if tip.is_none() {
            // what the lost blocks said of constitutions is not known
            self.epoch = parts.header.epoch;
        }
        let constitution = self.constitution();
        if parts.epoch != constitution.epoch()
            && let Some(again) = content::read(block, constitution, self.opener.reader()).parts
        {
            parts = again;
        }
        let header = &parts.header;
        if let Some(ended) = self.ended {
            let message = format_args!(
                "it comes after block {ended}, by which the log took up a constitution under which it is not written"
            );
            self.recorder.goes_on(place, message);
        }
        match tip {
            Some(tip) => {
                self.judge_header(place, &tip, &parts);
                self.judge_payments(block, &tip, &parts);
            }
            None => self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1),
        }
        self.collected.header(header);
        observer.block(self.log, header.epoch, header.time);
        let after = Tip::after(header, parts.id, block.after.clone());
        self.tip = Some(after).filter(|_| block.settled.continues);
        self.recorder.append(std::mem::take(&mut parts.unreadable));
        self.judge_kinds(block, &parts);
        self.judge_body(block, &parts, observer);
        let of = (block, &parts.header, constitution);
        self.opener.judge(of, (parts.sealed, &parts.public), self.collected, self.recorder);
        self.judge_epochs(place, &parts.header, &parts.public);
    }

    fn judge_operations(&mut self, place: Place, head: OperationLogHead) {
        if let Some(before) = self.operations
            && head.entries <= before.entries
        {
            let message = format!(
                "an operation log that had {} entries has {}",
                before.entries, head.entries
            );
            self.recorder.find(place, Rule::OperationLog, message);
            return;
        }
        self.operations = Some(head);
    }

    fn judge_header(&mut self, place: Place, tip: &Tip, parts: &Parts) {
        let header = &parts.header;
        let known = (self.constitution(), self.constitutions);
        let entries = parts.public.iter().map(|(_, entry)| entry);
        let allowed = Allowed::by::<Upheld>(known, tip, header, entries);
        let allowed = allowed.unwrap_or_else(|violation| {
            self.recorder.violation(place, &violation);
            Allowed::default()
        });
        let mut found = BTreeMap::new();
        let mut beyond = Vec::new();
        let mut unreadable = Vec::new();
        for column in &header.columns {
            let (other, recognised) = (column.counterparty, column.recognised);
            if recognised == tip.recognised(other) {
                continue;
            }
            match look_up(self.logs, other, recognised.height) {
                Lookup::Found(id, header) => {
                    found.insert((other, recognised.height), (id, header));
                }
                Lookup::Beyond => beyond.push((other, recognised.height)),
                Lookup::Unreadable => unreadable.push(other),
            }
        }
        let certified = |log, height| {
            found.get(&(log, height)).map_or(Known::Missing, |(id, header)| {
                Known::Certified(CertifiedTotals { header: *id, content: header })
            })
        };
        let constitution = self.constitution();
        let judged = check_header::<Upheld>(constitution, tip, header, &allowed, certified);
        let Err(violation) = judged else { return };
        if let Violation::Recognised { counterparty } = violation {
            let copied = self.logs.get(&self.log).map(|log| log.copied);
            if let Some((_, height)) = beyond.iter().find(|(log, _)| *log == counterparty) {
                if Some(header.height) > copied {
                    return self.recorder.not_checked(self.log, Reason::NotInCheckpoint, 1);
                }
                let message = format_args!(
                    "it recognises block {height} of {counterparty}, which is not in that log's folder: an older copy, or a log cut short"
                );
                return self.recorder.find(place, Rule::RecognisedBeyond, message);
            }
            if unreadable.contains(&counterparty) {
                return self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
            }
        }
        self.recorder.violation(place, &violation);
    }

    /// Payments that the block enters, against what its header adds up.
    fn judge_payments(&mut self, block: &Block, tip: &Tip, parts: &Parts) {
        let header = &parts.header;
        self.collected.payments.header(block.place(), tip, header);
        // what is missing or no public entry is told where the body is judged
        let Some(public) = parts.leading(block) else { return };
        if let Err(violation) = check_payments::<Upheld>(self.constitution(), tip, header, public) {
            self.recorder.violation(block.place(), &violation);
        }
    }

    /// How many public entries of each kind the block has.
    fn judge_kinds(&mut self, block: &Block, parts: &Parts) {
        // what is missing or no public entry is told where the body is judged
        let Some(public) = parts.leading(block) else { return };
        if let Err(violation) = check_kinds::<Upheld>(self.constitution(), public) {
            self.recorder.violation(block.place(), &violation);
        }
    }

    fn judge_body(&mut self, block: &Block, parts: &Parts, observer: &mut impl Observer) {
        for (index, note) in &parts.notes {
            let place = block.place().at(*index);
            match note {
                Note::Public(number) => {
                    if let Some((index, entry)) = parts.public.get(*number) {
                        self.judge_public(block, &parts.header, *index, entry, observer);
                    }
                }
                Note::Misplaced => self.recorder.violation(place, &Violation::PublicLeaves),
                Note::Size => {
                    let message = "a sealed entry of another size than the constitution's";
                    self.recorder.find(place, Rule::EntrySize, message);
                }
            }
        }
        match parts.is_committed {
            Some(true) => {}
            Some(false) => {
                let error = FragmentError::NotCommitted { number: 0 };
                self.recorder.violation(block.place(), &Violation::Fragment(error));
            }
            None => {
                self.collected.damaged();
                self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
            }
        }
    }

    fn judge_public(
        &mut self,
        block: &Block,
        header: &Header,
        index: LeafIndex,
        entry: &PublicEntry,
        observer: &mut impl Observer,
    ) {
        let place = block.place().at(index);
        match entry {
            // judged together, with the block
            PublicEntry::Adopted(_)
            | PublicEntry::Declined(_)
            | PublicEntry::Ballot(_)
            | PublicEntry::Switch(_) => {}
            PublicEntry::Closing(closing) => self.judge_closing(place, header, closing),
            PublicEntry::Statement(statement) => self.collected.statement(place, *statement),
            PublicEntry::Settled(payment) => {
                self.collected.payments.settled(place, payment.clone());
            }
            PublicEntry::SettlementConfirmed(payment) => {
                self.collected.payments.confirmed(place, payment.clone());
            }
            PublicEntry::DisputeOpened(dispute) => self.collected.dispute(place, dispute),
            PublicEntry::DisputeResolved(resolution) => {
                self.collected.resolutions.push((place, (**resolution).clone()));
            }
            PublicEntry::ClosedOut(closed) => {
                self.collected.partners.push((place, (**closed).clone()));
            }
            PublicEntry::Disclosure(disclosure) => {
                self.judge_disclosure(place, header, disclosure);
            }
            PublicEntry::OperationLogHead(_) | PublicEntry::Answered(_) => {
                if let PublicEntry::OperationLogHead(head) = entry {
                    self.judge_operations(place, *head);
                }
                let at = self.entry_place(block, index, header);
                // what a certificate's hash is of, its holder alone can tell
                observer.kept(&at, entry);
            }
            // told with the block
            PublicEntry::Application(entry) if entry.body.len() > APPLICATION_MAX => {}
            PublicEntry::Evidence(evidence) => {
                match (**evidence).clone().prove(self.constitutions) {
                    Ok(proven) => {
                        let (accused, log) = (proven.accused(), proven.log());
                        let offence = proven.offence().name();
                        let message =
                            format!("{accused} is proved to have lied in log {log}: {offence}");
                        self.recorder.find(place, Rule::EvidenceProven, message);
                    }
                    Err(error) => {
                        let message =
                            format!("what is entered as evidence proves nothing: {error}");
                        self.recorder.find(place, Rule::EvidenceVoid, message);
                    }
                }
            }
            PublicEntry::Application(entry) => {
                count(&mut self.recorder.counts.applications, 1);
                let at = self.entry_place(block, index, header);
                observer.application(&at, entry);
            }
        }
    }

    const fn entry_place(&self, block: &Block, index: LeafIndex, header: &Header) -> EntryPlace {
        let (height, time, epoch) = (block.height, header.time, header.epoch);
        EntryPlace { log: self.log, height, index, time, epoch }
    }

    fn judge_disclosure(&mut self, place: Place, header: &Header, disclosure: &Disclosure) {
        if !disclosure.may_stand(self.constitution(), header.height) {
            return self.recorder.violation(place, &Violation::Disclosure);
        }
        let (first, last) = (disclosure.first, disclosure.last());
        let auditor = disclosure.auditor.clone();
        let entry = place.leaf.unwrap_or_default();
        self.recorder.disclosures.push(DisclosedTo { log: self.log, entry, auditor, first, last });
        for (height, wrapped) in disclosure.blocks() {
            let Lookup::Found(_, of) = look_up(self.logs, self.log, height) else {
                self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
                continue;
            };
            let Some(constitution) = self.constitutions.of(of.epoch) else { continue };
            let auditor = &disclosure.auditor;
            let sound = self.opener.is_disclosure_sound(constitution, &of, auditor, wrapped);
            if sound == Some(false) {
                let message =
                    format_args!("what {auditor} was given of block {height} is not its secret");
                self.recorder.find(place, Rule::Disclosure, message);
            }
        }
    }

    fn judge_closing(&mut self, place: Place, header: &Header, closing: &Closing) {
        if closing.height >= header.height {
            let message = "it closes its own block or a later one";
            return self.recorder.find(place, Rule::ClearingClosing, message);
        }
        let look_up = |height| look_up(self.logs, self.log, height);
        let next = match closing.height.next() {
            Some(next) if next == header.height => Some(Box::new(header.clone())),
            Some(next) => match look_up(next) {
                Lookup::Found(_, header) => Some(header),
                Lookup::Beyond | Lookup::Unreadable => None,
            },
            None => None,
        };
        let closed = if closing.height.get() == 0 {
            Some(None)
        } else if let Lookup::Found(id, header) = look_up(closing.height) {
            Some(Some((id, header)))
        } else {
            None
        };
        let (Some(next), Some(closed)) = (next, closed) else {
            self.collected.unreadable_closing(closing.cut_off);
            return self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
        };
        let closed = closed.as_ref().map(|(id, header)| (&**header, *id));
        match check_closing(closing, closed, &next) {
            Ok(checked) => {
                let of = (closing, &checked);
                match self.collected.said_again(of, self.constitutions) {
                    Some(Ok(())) => self.collected.closing(place, checked, self.recorder),
                    // nobody who was there counts it
                    Some(Err(error)) => {
                        self.collected.unreadable_closing(closing.cut_off);
                        self.recorder.find(place, Rule::ClearingClosedOut, error);
                    }
                    None => {
                        self.collected.unreadable_closing(closing.cut_off);
                        self.recorder.not_checked(self.log, Reason::JudgedByMissing, 1);
                    }
                }
            }
            Err(error) => {
                self.collected.unreadable_closing(closing.cut_off);
                self.recorder.find(place, Rule::ClearingClosing, error);
            }
        }
    }
}

/// A block as it was walked.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) log: BrandId,
    pub(super) height: Height,
    /// The id that is certified.
    pub(super) id: Option<HeaderHash>,
    /// The tree with it.
    pub(super) after: Frontier,
    pub(super) settled: Settled,
    /// Found in its files.
    recorder: Recorder,
}

impl Block {
    /// The next block of a walk; none when there are no entries to be had.
    fn walk<F: LogFolder>(
        walk: &mut Walk<'_, F>,
        (log, height): (BrandId, Height),
        facts: &Facts,
        cores: &impl Cores,
    ) -> Option<Self> {
        let fact = facts.at(height);
        let mut recorder = Recorder::default();
        let taken = walk.take(fact.map(|fact| fact.size), cores, &mut recorder);
        if taken.is_empty() {
            return None;
        }
        let settled = walk.settle(height, taken, fact.map(|fact| fact.root), &mut recorder);
        let (id, after) = (fact.map(|fact| fact.header), walk.frontier.clone());
        Some(Self { log, height, id, after, settled, recorder })
    }

    pub(super) const fn place(&self) -> Place {
        Place::block(self.log, self.height)
    }

    pub(super) fn index_of(&self, position: usize) -> LeafIndex {
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        LeafIndex::new(self.settled.first.get().saturating_add(position))
    }
}
