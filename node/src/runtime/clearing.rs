//! Closings, statements and payments as they are certified, by cut-off.
//!
//! Keeps count of who has closed and what everyone arrived at; the arithmetic is
//! `protocol::clearing`'s. Cut-offs come from whoever closes first: the others follow. A calendar of
//! cut-offs in the constitution's zone is not here yet.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use protocol::clearing::{Absent, CheckedClosing, Settlement, Statement, check_closing};
use protocol::epochs::Constitutions;
use protocol::ids::{BrandId, Height, StatementHash};
use protocol::log::block::{Closing, Header, PublicEntry, StatementEntry};
use protocol::log::closed_out::ClosedOut;
use protocol::log::settlement::{Discharge, Payment, PaymentReference};
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use super::core::KnownHeader;
use crate::service::{PaymentView, PositionView, StatementView};

/// Most cut-offs that are kept.
const CUT_OFFS_MAX: usize = 1024;

/// What is known of one cut-off.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Cycle {
    #[n(0)]
    closings: BTreeMap<BrandId, CheckedClosing>,
    #[n(1)]
    statements: BTreeMap<BrandId, StatementHash>,
    #[n(2)]
    settlement: Option<Settlement>,
    // payments that were certified before the statement could be derived here
    #[n(3)]
    early: Vec<(PaymentStep, Payment)>,
    // own entries about payments that are on their way or certified
    #[n(4)]
    payments: BTreeMap<(PaymentStep, BrandId, BrandId), PaymentReference>,
    // whether someone at this brand asked for it
    #[n(5)]
    requested: bool,
    // whether the own closing is on its way or certified
    #[n(6)]
    closed: bool,
    // whether the own statement is on its way or certified
    #[n(7)]
    entered: bool,
    // what could not be accepted, for the operator
    #[n(8)]
    refused: BTreeSet<String>,
}

/// What one of its parties says of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum PaymentStep {
    /// The payer: it was made.
    #[n(0)]
    Settled,
    /// The payee: it has arrived.
    #[n(1)]
    Confirmed,
}

impl PaymentStep {
    /// The entry that says so.
    #[must_use]
    pub const fn entry(self, payment: Payment) -> PublicEntry {
        match self {
            Self::Settled => PublicEntry::Settled(payment),
            Self::Confirmed => PublicEntry::SettlementConfirmed(payment),
        }
    }
}

impl Cycle {
    fn enter(&mut self, step: PaymentStep, payment: Payment) {
        let Some(settlement) = &mut self.settlement else {
            self.early.push((step, payment));
            return;
        };
        let entered = match step {
            PaymentStep::Settled => settlement.settle(&payment),
            PaymentStep::Confirmed => settlement.confirm(&payment),
        };
        if let Err(error) = entered {
            let by = match step {
                PaymentStep::Settled => payment.payer,
                PaymentStep::Confirmed => payment.payee,
            };
            self.refused.insert(format!("{by}: {error}"));
        }
    }

    fn mismatch(&self) -> bool {
        let hash = self.settlement.as_ref().map(Settlement::hash);
        hash.is_some_and(|hash| self.statements.values().any(|found| *found != hash))
    }
}

/// The blocks around a cut-off are not at hand any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOld;

/// All cut-offs.
#[derive(Debug)]
pub struct Clearing {
    cycles: BTreeMap<Timestamp, Cycle>,
    // brands whose logs have ended
    absent: Absent,
    me: BrandId,
}

impl Clearing {
    /// No cut-off yet.
    #[must_use]
    pub fn new(me: BrandId) -> Self {
        Self { cycles: BTreeMap::new(), absent: Absent::default(), me }
    }

    fn cycle(&mut self, cut_off: Timestamp) -> &mut Cycle {
        if self.cycles.len() >= CUT_OFFS_MAX && !self.cycles.contains_key(&cut_off) {
            self.cycles.pop_first();
        }
        self.cycles.entry(cut_off).or_default()
    }

    /// All cut-offs that are kept, for a snapshot. Once this brand has closed it is no matter who asked.
    pub fn cycles(&self) -> impl Iterator<Item = (Timestamp, Cycle)> {
        self.cycles.iter().map(|(cut_off, cycle)| {
            let requested = cycle.requested && !cycle.closed;
            (*cut_off, Cycle { requested, ..cycle.clone() })
        })
    }

    /// Takes up a cut-off from a snapshot.
    pub fn take_up(&mut self, cut_off: Timestamp, cycle: Cycle) {
        self.cycles.insert(cut_off, cycle);
    }

    /// Takes up what is known of brands whose logs have ended, from a snapshot.
    pub fn take_up_absent(&mut self, absent: Absent) {
        self.absent = absent;
    }

    /// A certified closing of a log.
    pub fn closing(
        &mut self,
        log: BrandId,
        closing: &Closing,
        headers: &SharedMap<Height, KnownHeader>,
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

    /// A certified header of any log.
    pub fn header(&mut self, header: &Header) {
        self.absent.header(header);
    }

    /// A certified entry by which a brand closes out another whose log has ended.
    pub fn closed_out(
        &mut self,
        by: (BrandId, Height),
        entry: &ClosedOut,
        constitutions: &Constitutions,
    ) {
        if let Ok(end) = entry.end.verify(constitutions) {
            self.absent.closed_out(by, entry, &end);
        }
    }

    /// Brands whose logs have ended, and what is closed out with them.
    #[must_use]
    pub const fn absent(&self) -> &Absent {
        &self.absent
    }

    /// A certified statement of a log.
    pub fn statement(&mut self, log: BrandId, entry: &StatementEntry) {
        let mine = self.me == log;
        let cycle = self.cycle(entry.cut_off);
        cycle.entered |= mine;
        cycle.statements.insert(log, entry.statement);
        if let Some(settlement) = &mut cycle.settlement {
            // another one is a mismatch, which is shown
            let _ = settlement.agree(log, entry.statement);
        }
    }

    /// A certified entry about a payment.
    pub fn payment(&mut self, step: PaymentStep, payment: &Payment) {
        self.cycle(payment.cut_off).enter(step, payment.clone());
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
            PublicEntry::Settled(payment) => self.note_own(PaymentStep::Settled, payment),
            PublicEntry::SettlementConfirmed(payment) => {
                self.note_own(PaymentStep::Confirmed, payment);
            }
            _ => {}
        }
    }

    fn note_own(&mut self, step: PaymentStep, payment: &Payment) {
        let key = (step, payment.payer, payment.payee);
        self.cycle(payment.cut_off).payments.insert(key, payment.reference.clone());
    }

    /// The reference that this brand has entered, or is entering, for a payment.
    #[must_use]
    pub fn own_reference(
        &self,
        cut_off: Timestamp,
        step: PaymentStep,
        (payer, payee): (BrandId, BrandId),
    ) -> Option<&PaymentReference> {
        self.cycles.get(&cut_off)?.payments.get(&(step, payer, payee))
    }

    /// The statement of a cut-off with what was entered about it, once it could be derived.
    #[must_use]
    pub fn settlement(&self, cut_off: Timestamp) -> Option<&Settlement> {
        self.cycles.get(&cut_off)?.settlement.as_ref()
    }

    /// Whether a later statement counts what this one asks for as well: then only the later one is to
    /// be paid.
    #[must_use]
    pub fn is_superseded(&self, cut_off: Timestamp) -> bool {
        let mut later = self.cycles.range(cut_off..).filter(|(other, _)| **other > cut_off);
        later.any(|(_, cycle)| cycle.settlement.is_some())
    }

    /// What this brand grants as discharged: by the newest statement that all payees have confirmed.
    #[must_use]
    pub fn discharges(&self) -> BTreeMap<BrandId, Discharge> {
        let mut settlements =
            self.cycles.values().rev().filter_map(|cycle| cycle.settlement.as_ref());
        let newest = settlements.find(|settlement| settlement.is_discharged());
        newest.map(|settlement| settlement.discharges(self.me)).unwrap_or_default()
    }

    /// What an operator has to look at: statements that differ, entries that do not stand.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (cut_off, cycle) in &self.cycles {
            let at = cut_off.unix_ms();
            if cycle.mismatch() {
                faults.push(format!(
                    "cut-off {at}: brands have entered different statements; nothing of it may be paid until                      the logs are audited / 清算截止 {at}：各品牌清算单不一致，审计日志之前不得付款"
                ));
            }
            for refused in &cycle.refused {
                faults.push(format!(
                    "cut-off {at}: an entry does not stand / 清算条目不成立：{refused}"
                ));
            }
        }
        faults
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
        own: Option<&SharedMap<Height, KnownHeader>>,
    ) -> Result<Option<&KnownHeader>, TooOld> {
        let Some(own) = own else { return Ok(None) };
        let last = own.values().rev().find(|(_, header)| header.time <= cut_off);
        match (last, own.first_key_value()) {
            (None, Some((height, _))) if height.get() > 1 => Err(TooOld),
            (last, _) => Ok(last),
        }
    }

    /// Derives the statements that can be derived now; gives those to be entered in the own log.
    pub fn derive(&mut self, constitutions: &Constitutions) -> Vec<StatementEntry> {
        self.absent.read(constitutions);
        let mut entries = Vec::new();
        for (cut_off, cycle) in &mut self.cycles {
            if cycle.settlement.is_none() {
                let closings = || cycle.closings.values();
                let constitution = Statement::constitution_of(constitutions, closings());
                let absent = &self.absent;
                let derived = Statement::derive(constitution, *cut_off, closings(), absent);
                // closings are still to come
                let Ok(statement) = derived else { continue };
                let mut settlement = Settlement::new(statement, &self.absent);
                for (brand, statement) in &cycle.statements {
                    let _ = settlement.agree(*brand, *statement);
                }
                cycle.settlement = Some(settlement);
                for (step, payment) in std::mem::take(&mut cycle.early) {
                    cycle.enter(step, payment);
                }
            }
            if let Some(settlement) = &cycle.settlement
                && !cycle.entered
            {
                entries.push(StatementEntry { cut_off: *cut_off, statement: settlement.hash() });
            }
        }
        entries
    }

    /// What people see of a cut-off.
    #[must_use]
    pub fn view(&self, cut_off: Timestamp) -> Option<StatementView> {
        let cycle = self.cycles.get(&cut_off)?;
        let settlement = cycle.settlement.as_ref();
        let hash = settlement.map(Settlement::hash);
        let same = |found: &StatementHash| Some(*found) == hash;
        let agreed: Vec<String> = cycle
            .statements
            .iter()
            .filter(|(_, found)| same(found))
            .map(|(brand, _)| brand.to_string())
            .collect();
        let state = match settlement {
            _ if cycle.mismatch() => "mismatch",
            None => "waiting",
            Some(settlement) if settlement.is_discharged() => "discharged",
            Some(settlement) if agreed.len() >= settlement.voices() => "agreed",
            Some(_) => "derived",
        };
        let views = |positions: &[protocol::clearing::Position]| {
            positions
                .iter()
                .map(|position| PositionView {
                    brand: position.brand.to_string(),
                    net_micro_fen: position.net.micro_fen(),
                })
                .collect::<Vec<_>>()
        };
        let positions = settlement.map(|it| views(&it.statement().positions));
        let carried = settlement.map(|it| views(&it.statement().carried()));
        let payments = settlement.map(payment_views);
        Some(StatementView {
            cut_off_ms: cut_off.unix_ms(),
            state: state.to_owned(),
            hash: hash.map(|hash| hash.to_string()),
            positions: positions.unwrap_or_default(),
            payments: payments.unwrap_or_default(),
            carried: carried.unwrap_or_default(),
            closed: cycle.closings.keys().map(ToString::to_string).collect(),
            agreed,
        })
    }
}

fn payment_views(settlement: &Settlement) -> Vec<PaymentView> {
    let instructions = settlement.statement().instructions.iter();
    let view = instructions.map(|it| {
        let settled = settlement.settled(it.payer, it.payee).map(|known| ("settled", known));
        let confirmed = settlement.confirmed(it.payer, it.payee).map(|known| ("confirmed", known));
        let known = confirmed.or(settled);
        PaymentView {
            payer: it.payer.to_string(),
            payee: it.payee.to_string(),
            micro_fen: it.value.get(),
            cny: it.value.to_yuan(),
            state: known.map_or("asked", |(state, _)| state).to_owned(),
            reference: known.map(|(_, payment)| payment.reference.to_string()),
        }
    });
    view.collect()
}
