//! What can only be judged over all logs together: both legs of every exchange that could be opened,
//! and clearing.
//!
//! Keeps every leaf that was opened, about 300 bytes each, and one closing a brand and cut-off.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Place, Reason, Recorder, Rule, count};
use crate::clearing::{CheckedClosing, ClearingError, Statement};
use crate::constitution::Constitution;
use crate::exchange::{OutgoingLegs, Payload, Return, ReturnError};
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::StatementEntry;
use crate::time::Timestamp;

/// How far the logs were walked.
#[derive(Debug)]
pub(super) struct Extent {
    /// How many blocks of each log.
    pub(super) blocks: BTreeMap<BrandId, u64>,
    /// The block of each log's checkpoint.
    pub(super) copied: BTreeMap<BrandId, Height>,
}

impl Extent {
    /// Whether what is said there may refer to what is not in the copy.
    fn is_later_than_copy(&self, place: Place) -> bool {
        place.height > self.copied.get(&place.log).copied()
    }
}

/// Collected while the logs are walked, judged after.
#[derive(Debug, Default)]
pub(super) struct Across {
    legs: BTreeMap<BrandId, OutgoingLegs>,
    opened: BTreeMap<BrandId, u64>,
    returns: Vec<(Place, BrandId, Return)>,
    closings: BTreeMap<Timestamp, BTreeMap<BrandId, CheckedClosing>>,
    unreadable: BTreeSet<Timestamp>,
    damaged: BTreeSet<BrandId>,
    statements: Vec<(Place, StatementEntry)>,
}

impl Across {
    /// Takes note of an opened leaf from the log of `place` to another brand.
    pub(super) fn payload(&mut self, place: Place, at: LeafIndex, to: BrandId, payload: Payload) {
        let height = place.height.unwrap_or(Height::new(0));
        if let Payload::Return(back) = &payload {
            self.returns.push((place, to, back.clone()));
        }
        self.legs.entry(place.log).or_default().certified(at, height, to, payload);
    }

    /// Takes note that all leaves of a block could be opened.
    pub(super) fn opened(&mut self, log: BrandId) {
        let blocks = self.opened.entry(log).or_default();
        *blocks = blocks.saturating_add(1);
    }

    pub(super) fn statement(&mut self, place: Place, statement: StatementEntry) {
        self.statements.push((place, statement));
    }

    /// Not every entry of a log could be read: it may have said more.
    pub(super) fn damaged(&mut self, log: BrandId) {
        self.damaged.insert(log);
    }

    pub(super) fn unreadable_closing(&mut self, cut_off: Timestamp) {
        self.unreadable.insert(cut_off);
    }

    pub(super) fn closing(
        &mut self,
        place: Place,
        closing: CheckedClosing,
        recorder: &mut Recorder,
    ) {
        let closings = self.closings.entry(closing.cut_off()).or_default();
        match closings.get(&closing.debtor()) {
            // said again it is no other closing
            Some(known) if *known == closing => {}
            Some(_) => {
                let message = "another closing of the same log for the same cut-off";
                recorder.find(place, Rule::ClearingClosing, message);
            }
            None => drop(closings.insert(closing.debtor(), closing)),
        }
    }

    /// Judges what was collected.
    pub(super) fn judge(
        mut self,
        constitution: &Constitution,
        extent: &Extent,
        recorder: &mut Recorder,
    ) {
        self.judge_returns(extent, recorder);
        self.judge_statements(constitution, extent, recorder);
    }

    fn judge_returns(&mut self, extent: &Extent, recorder: &mut Recorder) {
        for (place, original_log, back) in std::mem::take(&mut self.returns) {
            let all_opened = self.opened.get(&original_log) == extent.blocks.get(&original_log);
            let legs = self.legs.entry(original_log).or_default();
            match legs.returned(place.log, &back) {
                Ok(_) => count(&mut recorder.counts.returns, 1),
                Err(ReturnError::Unknown(_)) if !all_opened => {
                    recorder.not_checked(place.log, Reason::OtherLegUnopened, 1);
                }
                Err(ReturnError::Unknown(_)) if extent.is_later_than_copy(place) => {
                    recorder.not_checked(place.log, Reason::NotInCheckpoint, 1);
                }
                Err(error) => {
                    let message = format_args!("a return to {original_log}: {error}");
                    recorder.find(place, Rule::ExchangeReturn, message);
                }
            }
        }
    }

    fn judge_statements(
        &self,
        constitution: &Constitution,
        extent: &Extent,
        recorder: &mut Recorder,
    ) {
        for (place, entry) in &self.statements {
            let closings = self.closings.get(&entry.cut_off);
            let closings = closings.into_iter().flat_map(BTreeMap::values);
            match Statement::derive(constitution, entry.cut_off, closings) {
                Ok(statement) if statement.hash() == entry.statement => {
                    count(&mut recorder.counts.statements, 1);
                }
                Ok(_) => {
                    let message = "another statement than the one that follows from the closings";
                    recorder.find(*place, Rule::ClearingStatement, message);
                }
                // the closing that is missing here has its own finding or note
                Err(error) if self.is_known(entry.cut_off, error) => {
                    recorder.not_checked(place.log, Reason::JudgedByMissing, 1);
                }
                Err(ClearingError::Missing(_)) if extent.is_later_than_copy(*place) => {
                    recorder.not_checked(place.log, Reason::NotInCheckpoint, 1);
                }
                Err(error) => recorder.find(*place, Rule::ClearingIncomplete, error),
            }
        }
    }

    fn is_known(&self, cut_off: Timestamp, error: ClearingError) -> bool {
        let damaged = matches!(error, ClearingError::Missing(log) if self.damaged.contains(&log));
        damaged || self.unreadable.contains(&cut_off)
    }
}
