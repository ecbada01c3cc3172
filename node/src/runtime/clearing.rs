//! Closings and statements as they are certified, by cut-off.
//!
//! Keeps count of who has closed and what everyone arrived at; the arithmetic is
//! `protocol::clearing`'s. Cut-offs come from whoever closes first: the others follow. A calendar of
//! cut-offs in the constitution's zone comes with the ledger issue.

use std::collections::{BTreeMap, BTreeSet};

use protocol::clearing::{CheckedClosing, Statement, check_closing};
use protocol::constitution::Constitution;
use protocol::ids::{BrandId, Height, StatementHash};
use protocol::log::block::{Closing, PublicEntry, StatementEntry};
use protocol::time::Timestamp;

use super::core::KnownHeader;
use crate::service::{PositionView, StatementView};

/// Most cut-offs that are kept.
const CUT_OFFS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Cycle {
    closings: BTreeMap<BrandId, CheckedClosing>,
    statements: BTreeMap<BrandId, StatementHash>,
    statement: Option<Statement>,
    // whether someone at this brand asked for it
    requested: bool,
    // whether the own closing is on its way or certified
    closed: bool,
    // whether the own statement is on its way or certified
    entered: bool,
    // what could not be accepted, for the operator
    refused: BTreeSet<String>,
}

/// The blocks around a cut-off are not at hand any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOld;

/// All cut-offs.
#[derive(Debug)]
pub struct Clearing {
    cycles: BTreeMap<Timestamp, Cycle>,
    me: BrandId,
}

impl Clearing {
    /// No cut-off yet.
    #[must_use]
    pub const fn new(me: BrandId) -> Self {
        Self { cycles: BTreeMap::new(), me }
    }

    fn cycle(&mut self, cut_off: Timestamp) -> &mut Cycle {
        if self.cycles.len() >= CUT_OFFS_MAX && !self.cycles.contains_key(&cut_off) {
            self.cycles.pop_first();
        }
        self.cycles.entry(cut_off).or_default()
    }

    /// A certified closing of a log.
    pub fn closing(
        &mut self,
        log: BrandId,
        closing: &Closing,
        headers: &BTreeMap<Height, KnownHeader>,
    ) {
        let mine = self.me == log;
        let cycle = self.cycle(closing.cut_off);
        cycle.closed |= mine;
        let closed = headers.get(&closing.height).map(|(id, header)| (header, *id));
        let next = closing.height.next().and_then(|next| headers.get(&next));
        let checked = match next {
            Some((_, next)) => check_closing(closing, closed, next).map_err(|e| e.to_string()),
            None => Err("the block after it is not at hand".to_owned()),
        };
        match checked {
            Ok(checked) => drop(cycle.closings.entry(log).or_insert(checked)),
            Err(error) => drop(cycle.refused.insert(format!("{log}: {error}"))),
        }
    }

    /// A certified statement of a log.
    pub fn statement(&mut self, log: BrandId, entry: &StatementEntry) {
        let mine = self.me == log;
        let cycle = self.cycle(entry.cut_off);
        cycle.entered |= mine;
        cycle.statements.insert(log, entry.statement);
    }

    /// This brand is to close, as soon as it can. Says whether that is new.
    pub fn request(&mut self, cut_off: Timestamp) -> bool {
        !std::mem::replace(&mut self.cycle(cut_off).requested, true)
    }

    /// An own entry is on its way into the own log: it is not made again, after a restart neither.
    pub fn submitted(&mut self, entry: &PublicEntry) {
        match entry {
            PublicEntry::Closing(closing) => self.cycle(closing.cut_off).closed = true,
            PublicEntry::Statement(statement) => self.cycle(statement.cut_off).entered = true,
            PublicEntry::Application(_) => {}
        }
    }

    /// Whether the own closing was made.
    #[must_use]
    pub fn has_closed(&self, cut_off: Timestamp) -> bool {
        self.cycles.get(&cut_off).is_some_and(|cycle| cycle.closed)
    }

    /// Cut-offs that this brand was asked to close, or others have closed, and it has not yet.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<Timestamp> {
        self.cycles
            .iter()
            .filter(|(cut_off, cycle)| {
                let wanted = cycle.requested || !cycle.closings.is_empty();
                **cut_off < now && !cycle.closed && wanted
            })
            .map(|(cut_off, _)| *cut_off)
            .collect()
    }

    /// The own block whose totals a cut-off takes: the last that is not after it, or none when the log
    /// began later.
    ///
    /// # Errors
    /// When the blocks of that time are not at hand any more.
    pub fn last_block(
        cut_off: Timestamp,
        own: Option<&BTreeMap<Height, KnownHeader>>,
    ) -> Result<Option<&KnownHeader>, TooOld> {
        let Some(own) = own else { return Ok(None) };
        let last = own.values().rev().find(|(_, header)| header.time <= cut_off);
        match (last, own.first_key_value()) {
            (None, Some((height, _))) if height.get() > 1 => Err(TooOld),
            (last, _) => Ok(last),
        }
    }

    /// Derives the statements that can be derived now; gives those to be entered in the own log.
    pub fn derive(&mut self, constitution: &Constitution) -> Vec<StatementEntry> {
        let mut entries = Vec::new();
        for (cut_off, cycle) in &mut self.cycles {
            if cycle.statement.is_none() {
                match Statement::derive(constitution, *cut_off, cycle.closings.values()) {
                    Ok(statement) => cycle.statement = Some(statement),
                    // closings are still to come
                    Err(_) => continue,
                }
            }
            if let Some(statement) = &cycle.statement
                && !cycle.entered
            {
                entries.push(StatementEntry { cut_off: *cut_off, statement: statement.hash() });
            }
        }
        entries
    }

    /// What people see of a cut-off.
    #[must_use]
    pub fn view(&self, cut_off: Timestamp, brands: usize) -> Option<StatementView> {
        let cycle = self.cycles.get(&cut_off)?;
        let hash = cycle.statement.as_ref().map(Statement::hash);
        let same = |found: &StatementHash| Some(*found) == hash;
        let agreed: Vec<String> = cycle
            .statements
            .iter()
            .filter(|(_, found)| same(found))
            .map(|(brand, _)| brand.to_string())
            .collect();
        let mismatch = hash.is_some() && !cycle.statements.values().all(same);
        let state = match (hash, mismatch) {
            (_, true) => "mismatch",
            (None, _) => "waiting",
            (Some(_), _) if agreed.len() == brands => "agreed",
            (Some(_), _) => "derived",
        };
        let positions = cycle.statement.as_ref().map(|statement| {
            let positions = statement.positions.iter();
            positions
                .map(|position| PositionView {
                    brand: position.brand.to_string(),
                    net_micro_fen: position.net.micro_fen(),
                })
                .collect()
        });
        Some(StatementView {
            cut_off_ms: cut_off.unix_ms(),
            state: state.to_owned(),
            hash: hash.map(|hash| hash.to_string()),
            positions: positions.unwrap_or_default(),
            closed: cycle.closings.keys().map(ToString::to_string).collect(),
            agreed,
        })
    }
}
