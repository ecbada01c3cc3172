//! A brand that answers alone, with its log and its disk: what the tests of local and of standing questions share.

use std::sync::Arc;

use super::{Logged, brand, local_question, sample_contract};
use crate::accounting::Ledger;
use crate::alone::{LocalAskError, LocalEffect, LocalRequest, LocalRoom};
use crate::bounded::{Periods, Spent};
use crate::ids::{Attempt, QueryId, SnapshotId};
use crate::plan::DpPlan;
use crate::release::{LocalRelease, PeriodRelease};
use crate::steps::{AttemptId, CleanRoomEntry, Clock};
use crate::units::{CalendarYear, PicoRho, UtcMillis};

/// The brand, and what it was told to do.
pub(crate) struct Alone {
    pub(crate) room: LocalRoom,
    pub(crate) ledger: Ledger,
    pub(crate) disk: Vec<Vec<u8>>,
    pub(crate) entries: Vec<CleanRoomEntry>,
    /// Appended and not certified yet.
    pub(crate) waiting: Vec<CleanRoomEntry>,
    pub(crate) shown: Vec<LocalRelease>,
    pub(crate) failed: Vec<AttemptId>,
    /// Readings that are due.
    pub(crate) reads: Vec<(AttemptId, Arc<DpPlan>)>,
    /// Periods that were shown, and whose readings are due.
    pub(crate) periods: Vec<PeriodRelease>,
    pub(crate) period_reads: Vec<(u32, Arc<DpPlan>, Periods, Vec<u32>)>,
    /// What members' periods have used.
    pub(crate) spent: Spent,
}

pub(crate) fn id(query: u8) -> AttemptId {
    AttemptId { proposer: brand(2), query: QueryId([query; 16]), attempt: Attempt::FIRST }
}

impl Alone {
    pub(crate) fn new() -> Self {
        Self {
            room: LocalRoom::new(brand(2), sample_contract()),
            ledger: Ledger::new(),
            disk: Vec::new(),
            entries: Vec::new(),
            waiting: Vec::new(),
            shown: Vec::new(),
            failed: Vec::new(),
            reads: Vec::new(),
            periods: Vec::new(),
            period_reads: Vec::new(),
            spent: Spent::new(),
        }
    }

    pub(crate) fn request(
        &mut self,
        query: u8,
        (sql, pico_rho): (&str, u64),
        stands: bool,
        year: u16,
    ) -> Result<(), LocalAskError> {
        let request = LocalRequest {
            query: QueryId([query; 16]),
            question: local_question(sql, pico_rho),
            snapshot: SnapshotId([9; 32]),
            analyst_quota: sample_contract().local_quota(),
            at_risk: PicoRho::ZERO,
            stands,
        };
        let clock = Clock { now: UtcMillis(5), year: CalendarYear(year) };
        let effects = self.room.ask(request, &self.ledger, clock)?;
        self.carry_out(effects);
        Ok(())
    }

    pub(crate) fn carry_out(&mut self, effects: Vec<LocalEffect>) {
        for effect in effects {
            match effect {
                LocalEffect::Persist(record) => self.disk.push(record.to_bytes()),
                LocalEffect::Append(entry) => self.waiting.push(entry),
                LocalEffect::Read { id, plan, .. } => self.reads.push((id, plan)),
                LocalEffect::Released(release) => self.shown.push(*release),
                LocalEffect::Failed(id) => self.failed.push(id),
                LocalEffect::ReadPeriod { plan, periods, period, closed, .. } => {
                    self.period_reads.push((period, plan, periods, closed));
                }
                LocalEffect::PeriodReleased(release) => {
                    // told again after a start, it is the same
                    match self.periods.iter().find(|it| it.period() == release.period()) {
                        Some(before) => assert_eq!(*before, *release),
                        None => self.periods.push(*release),
                    }
                }
            }
        }
    }

    /// Certifies what waits.
    pub(crate) fn certify(&mut self) {
        for entry in std::mem::take(&mut self.waiting) {
            let logged = Logged::of(&entry, self.entries.len() as u64, brand(2));
            self.entries.push(entry);
            let id = self.ledger.enter(&logged).unwrap();
            let effects = self.room.certified(id, &self.ledger);
            self.carry_out(effects);
        }
    }

    /// Starts again from a disk with so many records, and the whole log.
    pub(crate) fn restart(&mut self, records: usize) {
        self.disk.truncate(records);
        self.room = LocalRoom::restore(brand(2), sample_contract(), &self.disk).unwrap();
        self.ledger = Ledger::new();
        for (index, entry) in (0..).zip(&self.entries) {
            self.ledger.enter(&Logged::of(entry, index, brand(2))).unwrap();
        }
        (self.waiting, self.reads, self.period_reads) = (Vec::new(), Vec::new(), Vec::new());
        let effects = self.room.resume(&self.ledger);
        self.carry_out(effects);
    }
}
