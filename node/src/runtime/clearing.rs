//! Closings, statements and payments as they are certified, by cut-off.
//!
//! Keeps count of who has closed and what everyone arrived at; the arithmetic is
//! `protocol::clearing`'s. Which cut-offs this brand closes is decided here ([`Clearing::due`]): those of the
//! constitution's calendar, by itself; any other that its own operator asks for; and, in an alliance without
//! a calendar, what another brand has closed, at most once a day of the cut-offs' own time. A closing opens the
//! exact totals of a block, so that nobody else may have it opened block by block.
//!
//! What a log says counts only once it has closed the cut-off, a log closes a cut-off only after those it
//! closed before, and of what this brand has not closed itself only a few of each log are kept: one
//! brand cannot fill this, nor take anyone else's cut-offs out of it.

mod overview;

use std::collections::{BTreeMap, BTreeSet};

use alliance_config::CutOffs;
use minicbor::{Decode, Encode};
use protocol::clearing::{Absent, CheckedClosing, Settlement, Statement, check_closing};
use protocol::epochs::Constitutions;
use protocol::ids::{BrandId, Height, StatementHash};
use protocol::log::block::{Closing, Header, PublicEntry, StatementEntry};
use protocol::log::closed_out::ClosedOut;
use protocol::log::settlement::{Discharge, Payment, PaymentReference};
use protocol::shared_map::SharedMap;
use protocol::time::{Milliseconds, Timestamp};

use super::core::KnownHeader;
use crate::service::{PaymentView, PositionView, StatementView};

pub use overview::{Change, Due};

/// Most cut-offs that are kept of those that this brand has closed: of days, those of nearly three years.
const CUT_OFFS_MAX: usize = 1024;
/// Most that are kept of a log's closings that this brand has not followed.
const NOT_FOLLOWED_MAX: usize = 8;
/// Most cut-offs that wait for the own closing because somebody at this brand asked for it.
const REQUESTS_MAX: usize = 16;
/// Without a calendar, no other brand has this one open its totals at two cut-offs closer together.
const FOLLOWED_APART: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);
/// Most entries of a cut-off that are shown to the operator because they do not stand.
const REFUSED_MAX: usize = 8;

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
            let about = |(step, it): &(PaymentStep, Payment)| (*step, it.payer, it.payee);
            let new = (step, payment);
            if self.early.iter().all(|known| about(known) != about(&new)) {
                self.early.push(new);
            }
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
            if self.refused.len() < REFUSED_MAX {
                self.refused.insert(format!("{by}: {error}"));
            }
        }
    }

    /// What a log has said of it, but for what follows from all closings.
    fn forget(&mut self, log: BrandId) {
        self.closings.remove(&log);
        self.statements.remove(&log);
        self.early.retain(|(step, payment)| match step {
            PaymentStep::Settled => payment.payer != log,
            PaymentStep::Confirmed => payment.payee != log,
        });
    }

    /// Whether this brand has anything to do with it.
    const fn is_own(&self) -> bool {
        self.closed || self.requested
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
    // whether anything has come since statements were last derived
    is_new: bool,
    // how many constitutions there were then
    constitutions: usize,
    // what could not be closed since the start
    not_closed: BTreeSet<Timestamp>,
    // what was told of the newest cut-offs
    told: overview::Told,
}

impl Clearing {
    /// No cut-off yet.
    #[must_use]
    pub fn new(me: BrandId) -> Self {
        Self {
            cycles: BTreeMap::new(),
            absent: Absent::default(),
            me,
            is_new: true,
            constitutions: 0,
            not_closed: BTreeSet::new(),
            told: overview::Told::default(),
        }
    }

    /// The last cut-off that a log has closed, of those that are kept.
    fn last_of(&self, log: BrandId) -> Option<Timestamp> {
        let mut closed = self.cycles.iter().rev();
        closed.find(|(_, cycle)| cycle.closings.contains_key(&log)).map(|(cut_off, _)| *cut_off)
    }

    /// Of what this brand has closed the newest stay; of what it has not, a few of each log.
    fn make_room(&mut self, log: BrandId) {
        let of_log = |cycle: &Cycle| !cycle.is_own() && cycle.closings.contains_key(&log);
        while self.cycles.values().filter(|cycle| of_log(cycle)).count() > NOT_FOLLOWED_MAX
            && let Some((cut_off, cycle)) = self.cycles.iter_mut().find(|(_, it)| of_log(it))
        {
            cycle.forget(log);
            let (cut_off, is_empty) = (*cut_off, cycle.closings.is_empty());
            if is_empty {
                self.cycles.remove(&cut_off);
            }
        }
        while self.cycles.values().filter(|cycle| cycle.closed).count() > CUT_OFFS_MAX
            && let Some(oldest) = self.cycles.iter().find(|(_, it)| it.closed).map(|(at, _)| *at)
        {
            self.cycles.remove(&oldest);
        }
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
        self.is_new = true;
        self.cycles.insert(cut_off, cycle);
    }

    /// Takes up what is known of brands whose logs have ended, from a snapshot.
    pub fn take_up_absent(&mut self, absent: Absent) {
        self.is_new = true;
        self.absent = absent;
    }

    /// A certified closing of a log; `header` gives the log's certified headers. What it says again of logs that
    /// have ended must be what was seen of them here, or be of before this brand joined.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn closing(
        &mut self,
        log: BrandId,
        closing: &Closing,
        constitutions: &Constitutions,
        header: impl Fn(Height) -> Option<KnownHeader>,
    ) -> Result<(), String> {
        let cut_off = closing.cut_off;
        if log == self.me {
            // whatever is wrong with it, it is not made again
            self.cycles.entry(cut_off).or_default().closed = true;
        }
        if let Some(last) = self.last_of(log).filter(|last| cut_off <= *last) {
            let again = last == cut_off;
            return again.then_some(()).ok_or_else(|| "it has closed a later cut-off".to_owned());
        }
        let closed = header(closing.height);
        let closed = closed.as_ref().map(|(id, header)| (header, *id));
        let next = closing.height.next().and_then(header);
        let (_, next) = next.ok_or_else(|| "the block after it is not at hand".to_owned())?;
        let checked = check_closing(closing, closed, &next).map_err(|error| error.to_string())?;
        let from = self.absent.follows(self.me, log, constitutions);
        let said_again = self.absent.said_again((closing, &checked), from, constitutions);
        said_again.map_err(|error| error.to_string())?;
        self.is_new = true;
        let cycle = self.cycles.entry(cut_off).or_default();
        cycle.closings.insert(log, checked);
        self.make_room(log);
        Ok(())
    }

    /// What a log has closed: nothing that it says of anything else counts.
    fn closed_by(&mut self, log: BrandId, cut_off: Timestamp) -> Option<&mut Cycle> {
        let cycle = self.cycles.get_mut(&cut_off)?;
        let has = cycle.closings.contains_key(&log);
        self.is_new |= has;
        has.then_some(cycle)
    }

    /// A certified header of any log.
    pub fn header(&mut self, header: &Header) {
        self.absent.header(header);
    }

    /// The header of the block with which a log begins for this brand, which joined with it.
    pub fn begins(&mut self, header: &Header) {
        self.absent.begins(header);
    }

    /// A certified entry by which a brand closes out another whose log has ended.
    pub fn closed_out(
        &mut self,
        by: (BrandId, Height),
        entry: &ClosedOut,
        constitutions: &Constitutions,
    ) {
        self.is_new |= self.absent.entered(by, entry, constitutions);
    }

    /// Brands whose logs have ended, and what is closed out with them.
    #[must_use]
    pub const fn absent(&self) -> &Absent {
        &self.absent
    }

    /// A certified statement of a log.
    pub fn statement(&mut self, log: BrandId, entry: &StatementEntry) {
        let mine = self.me == log;
        let Some(cycle) = self.closed_by(log, entry.cut_off) else { return };
        cycle.entered |= mine;
        cycle.statements.insert(log, entry.statement);
        if let Some(settlement) = &mut cycle.settlement {
            // another one is a mismatch, which is shown
            let _ = settlement.agree(log, entry.statement);
        }
    }

    /// A certified entry about a payment.
    pub fn payment(&mut self, log: BrandId, step: PaymentStep, payment: &Payment) {
        if let Some(cycle) = self.closed_by(log, payment.cut_off) {
            cycle.enter(step, payment.clone());
        }
    }

    /// This brand is to close, as soon as it can. Says whether that is new.
    pub fn request(&mut self, cut_off: Timestamp) -> bool {
        !std::mem::replace(&mut self.cycles.entry(cut_off).or_default().requested, true)
    }

    /// It cannot be closed: it is not tried again before a restart.
    pub fn cannot_close(&mut self, cut_off: Timestamp) {
        self.not_closed.insert(cut_off);
        if let Some(cycle) = self.cycles.get_mut(&cut_off) {
            cycle.requested = false;
            if cycle.closings.is_empty() {
                self.cycles.remove(&cut_off);
            }
        }
    }

    /// Whether no further cut-off may be asked for before one is closed.
    #[must_use]
    pub fn has_many_requests(&self) -> bool {
        let waits = |cycle: &&Cycle| cycle.requested && !cycle.closed;
        self.cycles.values().filter(waits).count() >= REQUESTS_MAX
    }

    /// An own entry is on its way into the own log: it is not made again, after a restart neither.
    pub fn submitted(&mut self, entry: &PublicEntry) {
        match entry {
            PublicEntry::Closing(closing) => {
                self.cycles.entry(closing.cut_off).or_default().closed = true;
            }
            PublicEntry::Statement(statement) => {
                self.cycles.entry(statement.cut_off).or_default().entered = true;
            }
            PublicEntry::Settled(payment) => self.note_own(PaymentStep::Settled, payment),
            PublicEntry::SettlementConfirmed(payment) => {
                self.note_own(PaymentStep::Confirmed, payment);
            }
            _ => {}
        }
    }

    fn note_own(&mut self, step: PaymentStep, payment: &Payment) {
        let key = (step, payment.payer, payment.payee);
        let cycle = self.cycles.entry(payment.cut_off).or_default();
        cycle.payments.insert(key, payment.reference.clone());
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
                    "cut-off {at}: brands have entered different statements; nothing of it may be paid until the logs are audited / 清算截止 {at}：各品牌清算单不一致，审计日志之前不得付款"
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

    /// The last cut-off that this brand has closed, or is closing.
    #[must_use]
    pub fn last_closed(&self) -> Option<Timestamp> {
        let mut newest = self.cycles.iter().rev();
        newest.find(|(_, cycle)| cycle.closed).map(|(cut_off, _)| *cut_off)
    }

    /// The first cut-off that this brand is to close now, after those that it has closed: what its operator
    /// has asked for, the latest of the calendar if its log had begun by then, and what another has closed, if it is
    /// the calendar's, or, without one, at least a day after the last.
    #[must_use]
    pub fn due(
        &self,
        now: Timestamp,
        calendar: Option<&CutOffs>,
        begun: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let last = self.last_closed();
        let is_due = |cut_off: &Timestamp| {
            *cut_off < now
                && last.is_none_or(|last| *cut_off > last)
                && !self.not_closed.contains(cut_off)
        };
        let follows = |cut_off: Timestamp| match calendar {
            Some(calendar) => calendar.include(cut_off),
            None => last.is_none_or(|last| cut_off >= last.plus(FOLLOWED_APART)),
        };
        let known = self
            .cycles
            .iter()
            .filter(|(cut_off, _)| is_due(cut_off))
            .find(|(at, it)| it.requested || (!it.closings.is_empty() && follows(**at)));
        let latest = calendar.and_then(|calendar| calendar.latest(now)).filter(is_due);
        let latest = latest.filter(|latest| begun.is_some_and(|begun| begun <= *latest));
        [known.map(|(cut_off, _)| *cut_off), latest].into_iter().flatten().min()
    }

    /// The own block whose totals a cut-off takes: the last that is not after it, or none when the log
    /// began later. `latest` are the log's latest headers, `earlier` gives those before them.
    ///
    /// # Errors
    /// When the blocks of that time are not at hand any more.
    pub fn last_block(
        cut_off: Timestamp,
        latest: Option<&SharedMap<Height, KnownHeader>>,
        earlier: impl Fn(Height) -> Option<KnownHeader>,
    ) -> Result<Option<KnownHeader>, TooOld> {
        let Some((first, (_, begins))) = latest.and_then(SharedMap::first_key_value) else {
            return Ok(None);
        };
        if begins.time <= cut_off {
            let mut newest = latest.into_iter().flat_map(SharedMap::values).rev();
            return Ok(newest.find(|(_, header)| header.time <= cut_off).cloned());
        }
        // no block is before the one before it
        let (mut before, mut after) = (0_u64, first.get());
        let mut last = None;
        while let Some(height) = Some(before.midpoint(after)).filter(|height| *height > before) {
            let known = earlier(Height::new(height)).ok_or(TooOld)?;
            if known.1.time <= cut_off {
                (before, last) = (height, Some(known));
            } else {
                after = height;
            }
        }
        Ok(last)
    }

    /// Derives the statements that can be derived now; gives those to be entered in the own log. None when
    /// nothing has come since it was last asked.
    pub fn derive(&mut self, constitutions: &Constitutions) -> Option<Vec<StatementEntry>> {
        let known = constitutions.iter().count();
        if !self.is_new && self.constitutions == known {
            return None;
        }
        self.constitutions = known;
        self.absent.read(constitutions);
        let mut entries = Vec::new();
        for (cut_off, cycle) in &mut self.cycles {
            if cycle.settlement.is_none() {
                let closings = cycle.closings.values();
                let derived = Statement::derive(constitutions, *cut_off, closings, &self.absent);
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
            if let Some(settlement) = &mut cycle.settlement {
                // whose log has ended since it was derived here need not enter it, wherever it is derived
                settlement.ended(&self.absent);
            }
            if let Some(settlement) = &cycle.settlement
                && !cycle.entered
            {
                entries.push(StatementEntry { cut_off: *cut_off, statement: settlement.hash() });
            }
        }
        // what cannot be entered now is tried again
        self.is_new = !entries.is_empty();
        Some(entries)
    }

    /// What people see of a cut-off.
    #[must_use]
    pub fn view(&self, cut_off: Timestamp) -> Option<StatementView> {
        let cycle = self.cycles.get(&cut_off)?;
        let settlement = cycle.settlement.as_ref();
        let hash = settlement.map(Settlement::hash);
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
            state: cycle.state().to_owned(),
            hash: hash.map(|hash| hash.to_string()),
            positions: positions.unwrap_or_default(),
            payments: payments.unwrap_or_default(),
            carried: carried.unwrap_or_default(),
            closed: cycle.closings.keys().map(ToString::to_string).collect(),
            agreed: cycle.agreed().map(|brand| brand.to_string()).collect(),
        })
    }
}

fn payment_views(settlement: &Settlement) -> Vec<PaymentView> {
    let instructions = settlement.statement().instructions.iter();
    let view = instructions.map(|it| {
        let settled = settlement.settled(it.payer, it.payee);
        let known = settlement.confirmed(it.payer, it.payee).or(settled);
        PaymentView {
            payer: it.payer.to_string(),
            payee: it.payee.to_string(),
            micro_fen: it.value.get(),
            cny: it.value.to_yuan(),
            state: overview::payment_state(settlement, it).to_owned(),
            reference: known.map(|payment| payment.reference.to_string()),
        }
    });
    view.collect()
}

#[cfg(test)]
mod tests {
    use protocol::amount::{Rate, Value};
    use protocol::clearing::ClosedBlock;
    use protocol::codec;
    use protocol::constitution::{Brand, BrandKeys, Constitution, Draft, Succession};
    use protocol::crypto::SigningKey;
    use protocol::crypto::sealed::{Cipher, SealingSecret};
    use protocol::ids::{ConstitutionHash, Epoch, HeaderHash};

    use super::*;

    const BRANDS: [&str; 4] = ["amber", "birch", "cedar", "dune"];
    const CUT_OFF: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn brand(number: usize) -> BrandId {
        BrandId::new(BRANDS[number]).unwrap()
    }

    fn member(number: usize) -> (BrandId, Brand) {
        let seed = |role: u8| [10 * u8::try_from(number).unwrap() + role; 32];
        let sign = |role| SigningKey::from_seed(&seed(role)).unwrap().public();
        let seal = |role| SealingSecret::derive(&seed(role)).1;
        let keys = BrandKeys {
            log: sign(1),
            vote: sign(2),
            checkpoint: sign(3),
            witness: sign(4),
            governance: sign(5),
            network: sign(6),
            sealing: seal(7),
            recovery: seal(8),
        };
        let limit = Value::new(1_000_000_000).unwrap();
        let point_value = Rate::new(1_000_000, 1).unwrap();
        (brand(number), Brand { keys, point_value, pair_limit: limit, total_limit: limit })
    }

    /// Three brands, and then a fourth one with them.
    fn chain() -> Constitutions {
        let draft = |epoch: u8, brands: usize, previous| Draft {
            alliance: BrandId::new("tried").unwrap(),
            epoch: Epoch::new(u32::from(epoch)),
            hash: ConstitutionHash::from_bytes([epoch; 32]),
            brands: (0..brands).map(member).collect(),
            rates: BTreeMap::new(),
            total_step: Value::new(10_000_000).unwrap(),
            payload_size: 160,
            return_window: Milliseconds::from_seconds(86_400),
            protocol_version: 0,
            cipher: Cipher::default(),
            auditors: Vec::new(),
            succession: Succession { previous, ..Succession::default() },
        };
        let first = Constitution::new(draft(1, 3, None)).unwrap();
        let second = Constitution::new(draft(2, 4, Some(first.hash()))).unwrap();
        let mut chain = Constitutions::from(first);
        chain.follow(second).unwrap();
        chain
    }

    /// A closing that was checked, as it is read back from the disk: this log owes every other brand of the
    /// constitution that its block is under a yuan.
    fn closing(log: usize, epoch: u8) -> CheckedClosing {
        let others = (0..usize::from(epoch) + 2).filter(|other| *other != log).map(brand);
        let sent: BTreeMap<BrandId, Value> =
            others.map(|other| (other, Value::new(100_000_000).unwrap())).collect();
        let confirmed: BTreeMap<BrandId, Value> =
            sent.keys().map(|other| (*other, Value::ZERO)).collect();
        let (height, block) = (Height::new(3), HeaderHash::from_bytes([epoch; 32]));
        let block = ClosedBlock { debtor: brand(log), height, block };
        let epoch = Epoch::new(u32::from(epoch));
        let stored = codec::encode(&(CUT_OFF, block, epoch, sent, confirmed));
        codec::decode("a closing", &stored, stored.len()).unwrap()
    }

    /// The statement that a node has in the end when closings come in this order: it has it from the moment on
    /// that it can be derived, whatever comes after.
    fn derived(closings: &[CheckedClosing], order: &[usize]) -> Option<Statement> {
        let (chain, mut clearing) = (chain(), Clearing::new(brand(0)));
        let mut first = None;
        for place in order {
            let closing = closings[*place].clone();
            let cycle = clearing.cycles.entry(CUT_OFF).or_default();
            cycle.closings.insert(closing.debtor(), closing);
            clearing.is_new = true;
            clearing.derive(&chain);
            let now = clearing.settlement(CUT_OFF).map(|it| it.statement().clone());
            first = first.or(now.clone());
            assert_eq!(now, first);
        }
        first
    }

    /// Every order of four.
    fn orders() -> impl Iterator<Item = Vec<usize>> {
        (0..24).map(|number| {
            let (mut left, mut rest) = (number, vec![0, 1, 2, 3]);
            let mut order = Vec::new();
            for more in (1..=4).rev() {
                order.push(rest.remove(left % more));
                left /= more;
            }
            order
        })
    }

    #[test]
    fn whichever_closing_comes_first_a_brand_that_joins_is_counted_or_not() {
        // the fourth has a block by then, and nobody else has taken its constitution up
        let before = [closing(0, 1), closing(1, 1), closing(2, 1), closing(3, 2)];
        // one of the others has
        let after = [closing(0, 1), closing(1, 2), closing(2, 1), closing(3, 2)];
        for (closings, epoch, brands) in [(before, 1, 3), (after, 2, 4)] {
            let statements: Vec<Option<Statement>> =
                orders().map(|order| derived(&closings, &order)).collect();
            assert_eq!(statements.len(), 24);
            let statement = statements[0].as_ref().unwrap();
            assert_eq!((statement.epoch.get(), statement.positions.len()), (epoch, brands));
            assert!(statements.iter().all(|other| other.as_ref() == Some(statement)));
        }
    }
}
