//! What can only be judged over all logs together: both legs of every exchange that came back and
//! could be opened, and clearing.
//!
//! Keeps every return, about 100 bytes each, and one closing a brand and cut-off.

use std::collections::{BTreeMap, BTreeSet};

use super::epochs::{EpochNotes, EpochsAcross};
use super::folder::LogFolder;
use super::originals::{Original, Originals};
use super::partners;
use super::report::{Place, Reason, Recorder, Rule, count};
use super::resolutions;
use super::settlement::Payments;
use super::silence::{self, Answers};
use crate::clearing::{Absent, CheckedClosing, ClearingError, ClosingError, Settlement, Statement};
use crate::epochs::Constitutions;
use crate::exchange::{OutgoingLegs, Return, ReturnError, ReturnReason};
use crate::ids::{BrandId, Height};
use crate::log::block::{Closing, Header, StatementEntry};
use crate::log::closed_out::ClosedOut;
use crate::log::dispute::DisputeOpened;
use crate::log::resolution::DisputeResolved;
use crate::time::Timestamp;

/// Something that came back.
#[derive(Debug)]
pub(super) struct ReturnEntry {
    pub(super) place: Place,
    at: Timestamp,
    pub(super) to: BrandId,
    pub(super) back: Return,
    // up to where the other log had been recognised by the block before: what is sent there was applied
    acknowledged: Height,
}

/// What one log says that others must bear out; collected while it is walked.
#[derive(Debug, Default)]
pub(super) struct Collected {
    blocks: u64,
    opened: u64,
    returns: Vec<ReturnEntry>,
    closings: BTreeMap<Timestamp, CheckedClosing>,
    unreadable: BTreeSet<Timestamp>,
    statements: Vec<(Place, StatementEntry)>,
    pub(super) payments: Payments,
    disputes: Vec<(Place, DisputeOpened)>,
    pub(super) resolutions: Vec<(Place, DisputeResolved)>,
    pub(super) partners: Vec<(Place, ClosedOut)>,
    absent: Absent,
    answers: Answers,
    is_damaged: bool,
    pub(super) epochs: EpochNotes,
}

impl Collected {
    /// A block was walked.
    pub(super) const fn walked(&mut self) {
        self.blocks = self.blocks.saturating_add(1);
    }

    /// All leaves of a block could be opened.
    pub(super) const fn opened(&mut self) {
        self.opened = self.opened.saturating_add(1);
    }

    /// A block says something to another brand, as its opened leaves show.
    pub(super) fn said(&mut self, height: Height, at: Timestamp, to: BrandId) {
        self.answers.said(to, height, at);
    }

    /// Takes note of an opened leaf that returns something to another brand.
    pub(super) fn returned(&mut self, place: Place, at: Timestamp, to: BrandId, back: Return) {
        let acknowledged = self.answers.recognised_before(to);
        self.returns.push(ReturnEntry { place, at, to, back, acknowledged });
    }

    pub(super) fn dispute(&mut self, place: Place, dispute: &DisputeOpened) {
        self.disputes.push((place, dispute.clone()));
    }

    /// A header of the log, in order.
    pub(super) fn header(&mut self, header: &Header) {
        self.absent.header(header);
        self.answers.header(header);
    }

    pub(super) fn statement(&mut self, place: Place, statement: StatementEntry) {
        self.statements.push((place, statement));
    }

    /// Not every entry of the log could be read: it may have said more.
    pub(super) const fn damaged(&mut self) {
        self.is_damaged = true;
    }

    pub(super) fn unreadable_closing(&mut self, cut_off: Timestamp) {
        self.unreadable.insert(cut_off);
    }

    /// What a closing says again of ended logs is what this log has entered before; none where that could not
    /// be read.
    pub(super) fn said_again(
        &self,
        closing: (&Closing, &CheckedClosing),
        constitutions: &Constitutions,
    ) -> Option<Result<(), ClosingError>> {
        let mut known = self.absent.clone();
        for (place, it) in &self.partners {
            known.entered((place.log, place.height.unwrap_or_default()), it, constitutions);
        }
        let judged = known.said_again(closing, Height::new(1), constitutions);
        (judged.is_ok() || !self.is_damaged).then_some(judged)
    }

    pub(super) fn closing(
        &mut self,
        place: Place,
        closing: CheckedClosing,
        recorder: &mut Recorder,
    ) {
        match self.closings.get(&closing.cut_off()) {
            // said again it is no other closing
            Some(known) if *known == closing => {}
            Some(_) => {
                let message = "another closing of the same log for the same cut-off";
                recorder.find(place, Rule::ClearingClosing, message);
            }
            None => drop(self.closings.insert(closing.cut_off(), closing)),
        }
    }
}

/// What all logs say, to be judged together.
#[derive(Debug, Default)]
pub(super) struct Across {
    epochs: EpochsAcross,
    // logs of which every leaf of every block could be opened
    pub(super) opened: BTreeSet<BrandId>,
    pub(super) returns: Vec<ReturnEntry>,
    pub(super) closings: BTreeMap<Timestamp, BTreeMap<BrandId, CheckedClosing>>,
    unreadable: BTreeSet<Timestamp>,
    pub(super) damaged: BTreeSet<BrandId>,
    statements: Vec<(Place, StatementEntry)>,
    payments: Payments,
    pub(super) disputes: Vec<(Place, DisputeOpened)>,
    pub(super) resolutions: Vec<(Place, DisputeResolved)>,
    pub(super) partners: Vec<(Place, ClosedOut)>,
    pub(super) absent: Absent,
    answers: BTreeMap<BrandId, Answers>,
}

impl Across {
    /// A log that could not be read, or not all of it: it may have said more.
    pub(super) fn damaged(&mut self, log: BrandId) {
        self.damaged.insert(log);
    }

    /// Adds what one log says.
    pub(super) fn add(&mut self, log: BrandId, of: Collected) {
        if of.opened == of.blocks {
            self.opened.insert(log);
        }
        if of.is_damaged {
            self.damaged(log);
        }
        self.epochs.add(log, of.epochs);
        self.returns.extend(of.returns);
        self.unreadable.extend(of.unreadable);
        self.statements.extend(of.statements);
        self.payments.extend(of.payments);
        self.disputes.extend(of.disputes);
        self.resolutions.extend(of.resolutions);
        self.partners.extend(of.partners);
        self.absent.add(of.absent);
        self.answers.insert(log, of.answers);
        for (cut_off, closing) in of.closings {
            self.closings.entry(cut_off).or_default().insert(log, closing);
        }
    }

    /// Judges what was collected.
    pub(super) fn judge<F: LogFolder>(
        mut self,
        mut originals: Originals<'_, F>,
        recorder: &mut Recorder,
    ) {
        partners::judge(&mut self, &originals, recorder);
        self.judge_returns(&mut originals, recorder);
        self.judge_statements(&originals, recorder);
        self.judge_payments(&originals, recorder);
        for (place, dispute) in &self.disputes {
            originals.judge_dispute((*place, dispute), recorder);
        }
        // when all that was wrong is found: what both sides agreed on is no finding
        resolutions::judge(&self, &mut originals, recorder);
        if self.damaged.is_empty() {
            let closed_out = |by, log| self.absent.has_closed_out(by, log);
            silence::judge(&self.answers, closed_out, |log| originals.copied(log), recorder);
        }
        self.epochs.judge(originals.constitutions(), recorder);
    }

    fn judge_returns<F: LogFolder>(
        &mut self,
        originals: &mut Originals<'_, F>,
        recorder: &mut Recorder,
    ) {
        let mut legs: BTreeMap<BrandId, OutgoingLegs> = BTreeMap::new();
        for entry in std::mem::take(&mut self.returns) {
            let ReturnEntry { place, at, to: log, back, acknowledged } = entry;
            let legs = legs.entry(log).or_default();
            if legs.leg(back.original).is_none()
                && let Some(it) = originals.open(log, back.original)
            {
                let Original { height, until, to, payload } = it;
                legs.certified(back.original, height, until, to, payload);
            }
            let sent = legs.leg(back.original).map(|leg| leg.height);
            let applied = back.reason != ReturnReason::Member
                && sent.is_some_and(|height| height <= acknowledged);
            match legs.returned(place.log, &back, at) {
                Ok(_) if applied => {
                    let leaf = back.original;
                    let message = format_args!(
                        "a return to {log}: leaf {leaf} was acknowledged by an earlier block, so that it was credited; only its member can send it back"
                    );
                    recorder.find(place, Rule::ExchangeReturn, message);
                }
                Ok(_) => count(&mut recorder.counts.returns, 1),
                Err(ReturnError::Unknown(_)) if !self.opened.contains(&log) => {
                    recorder.not_checked(place.log, Reason::OtherLegUnopened, 1);
                }
                Err(ReturnError::Unknown(_)) if is_later_than_copy(originals, place) => {
                    recorder.not_checked(place.log, Reason::NotInCheckpoint, 1);
                }
                Err(error) => {
                    let message = format_args!("a return to {log}: {error}");
                    recorder.find(place, Rule::ExchangeReturn, message);
                }
            }
        }
    }

    fn judge_statements<F: LogFolder>(
        &self,
        originals: &Originals<'_, F>,
        recorder: &mut Recorder,
    ) {
        for (place, entry) in &self.statements {
            match self.derive(originals.constitutions(), entry.cut_off) {
                Ok(statement) if statement.hash() == entry.statement => {
                    count(&mut recorder.counts.statements, 1);
                }
                Ok(_) => {
                    let message = "another statement than the one that follows from the closings";
                    recorder.find(*place, Rule::ClearingStatement, message);
                }
                // the closing that is missing here has its own finding or note
                Err(error) if self.is_known(originals.constitutions(), entry.cut_off, error) => {
                    recorder.not_checked(place.log, Reason::JudgedByMissing, 1);
                }
                Err(ClearingError::Missing(_)) if is_later_than_copy(originals, *place) => {
                    recorder.not_checked(place.log, Reason::NotInCheckpoint, 1);
                }
                Err(error) => recorder.find(*place, Rule::ClearingIncomplete, error),
            }
        }
    }

    fn derive(
        &self,
        constitutions: &Constitutions,
        cut_off: Timestamp,
    ) -> Result<Statement, ClearingError> {
        let closings = self.closings.get(&cut_off).into_iter().flat_map(BTreeMap::values);
        Statement::derive(constitutions, cut_off, closings, &self.absent)
    }

    fn judge_payments<F: LogFolder>(
        &mut self,
        originals: &Originals<'_, F>,
        recorder: &mut Recorder,
    ) {
        let mut settlements = BTreeMap::new();
        for cut_off in self.closings.keys() {
            if let Ok(statement) = self.derive(originals.constitutions(), *cut_off) {
                settlements.insert(*cut_off, Settlement::new(statement, &self.absent));
            }
        }
        for (place, entry) in &self.statements {
            if let Some(settlement) = settlements.get_mut(&entry.cut_off) {
                // another one has its finding
                let _ = settlement.agree(place.log, entry.statement);
            }
        }
        let payments = std::mem::take(&mut self.payments);
        let excused = |place: Place, cut_off: Timestamp, recorder: &mut Recorder| {
            let reason = if !self.damaged.is_empty() || self.unreadable.contains(&cut_off) {
                Reason::JudgedByMissing
            } else if is_later_than_copy(originals, place) {
                Reason::NotInCheckpoint
            } else {
                return false;
            };
            recorder.not_checked(place.log, reason, 1);
            true
        };
        payments.judge(settlements, excused, recorder);
    }

    fn is_known(
        &self,
        constitutions: &Constitutions,
        cut_off: Timestamp,
        error: ClearingError,
    ) -> bool {
        // who closed out a log that has ended may have said so where it cannot be read
        let has_ended = |log: BrandId| {
            self.absent.brands().contains(&log) || constitutions.newest().brand(log).is_none()
        };
        let damaged = match error {
            ClearingError::Missing(log) if has_ended(log) => !self.damaged.is_empty(),
            ClearingError::Missing(log) => self.damaged.contains(&log),
            _ => false,
        };
        damaged || self.unreadable.contains(&cut_off)
    }
}

/// Whether what is said there may refer to what is not in the copy.
fn is_later_than_copy<F: LogFolder>(originals: &Originals<'_, F>, place: Place) -> bool {
    place.height > originals.copied(place.log)
}
