//! A machine's part in clearing: what its brand closes, which statements follow from the closings, what
//! has been paid and confirmed. The arithmetic is `protocol::clearing`'s.
//!
//! Rebuilt from the logs at every start. Knows nothing of the money: who pays what, and that it arrived,
//! the world says ([`crate::agreement`]).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use protocol::clearing::{
    Absent, CheckedClosing, Instruction, PaymentError, Settlement, Statement, check_closing,
};
use protocol::epochs::{Constitutions, LogHead};
use protocol::ids::{BrandId, HeaderHash, Height, StatementHash};
use protocol::ledger::Ledger;
use protocol::log::block::{Closing, ColumnContent, Header, PublicEntry, StatementEntry};
use protocol::log::closed_out::ClosedOut;
use protocol::log::merkle::leaf_hash;
use protocol::log::settlement::{Discharge, Payment};
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::guards::Guards;
use protocol::witness::state::FinalBlock;

#[derive(Clone, Debug, Default)]
struct Cycle {
    closings: BTreeMap<BrandId, CheckedClosing>,
    statements: BTreeMap<BrandId, StatementHash>,
    settlement: Option<Settlement>,
    // entered before the statement could be derived here: whether it is the payee's word
    early: Vec<(bool, Payment)>,
    // on their way into the own log, or in it
    closed: bool,
    entered: bool,
}

impl Cycle {
    fn enter(&mut self, confirmed: bool, payment: Payment) -> Result<(), PaymentError> {
        match &mut self.settlement {
            None => self.early.push((confirmed, payment)),
            Some(settlement) if confirmed => settlement.confirm(&payment)?,
            Some(settlement) => settlement.settle(&payment)?,
        }
        Ok(())
    }
}

/// All cut-offs, as one machine sees them.
#[derive(Clone, Debug, Default)]
pub struct Clearing {
    headers: BTreeMap<(BrandId, Height), (HeaderHash, Header)>,
    contents: BTreeMap<Height, Vec<ColumnContent>>,
    // brands whose logs have ended, and entries about them that were not looked at yet
    absent: Absent,
    gone: Vec<((BrandId, Height), ClosedOut)>,
    // closings whose words on such brands were not looked at yet
    again: Vec<(Closing, CheckedClosing)>,
    cycles: BTreeMap<Timestamp, Cycle>,
}

impl Clearing {
    /// An own block is final.
    pub fn written(&mut self, block: &OwnBlock) {
        self.contents.insert(block.reference().height, block.contents().to_vec());
        self.note(block);
    }

    /// An own block is built or final: what it closes and states is not made again.
    pub fn note(&mut self, block: &OwnBlock) {
        for entry in block.submissions().0 {
            match entry {
                PublicEntry::Closing(closing) => {
                    self.cycles.entry(closing.cut_off).or_default().closed = true;
                }
                PublicEntry::Statement(statement) => {
                    self.cycles.entry(statement.cut_off).or_default().entered = true;
                }
                _ => {}
            }
        }
    }

    /// An own block that was certified, with the contents of its columns.
    #[must_use]
    pub fn own_block(
        &self,
        me: BrandId,
        height: Height,
    ) -> Option<(&Header, HeaderHash, &[ColumnContent])> {
        let (id, header) = self.headers.get(&(me, height))?;
        Some((header, *id, self.contents.get(&height)?))
    }

    /// What is left of it when the machine goes down: own entries that only wait are forgotten.
    #[must_use]
    pub fn at_rest(&self, me: BrandId) -> Self {
        let mut at_rest = self.clone();
        for cycle in at_rest.cycles.values_mut() {
            cycle.closed = cycle.closings.contains_key(&me);
            cycle.entered = cycle.statements.contains_key(&me);
        }
        at_rest
    }

    /// A log begins for this brand, which joined with it, after this block.
    pub fn headed(&mut self, head: &LogHead) {
        if let Ok(header) = Header::from_bytes(&head.entry.header) {
            let id = leaf_hash(&head.entry.header).of_header();
            self.absent.begins(&header);
            self.headers.insert((header.log, header.height), (id, header));
        }
    }

    /// A block is final; gives what is wrong with its entries about clearing.
    pub fn block(&mut self, block: &FinalBlock) -> Vec<String> {
        let log = block.block.log;
        let key = (log, block.block.height);
        self.headers.insert(key, (block.block.header, block.header.clone()));
        self.absent.header(&block.header);
        let mut faults = Vec::new();
        for (_, entry) in &block.public {
            let fault = match entry {
                PublicEntry::Closing(closing) => self.closing(log, closing),
                PublicEntry::Statement(statement) => {
                    let cycle = self.cycles.entry(statement.cut_off).or_default();
                    cycle.statements.insert(log, statement.statement);
                    if let Some(settlement) = &mut cycle.settlement {
                        // another one is a mismatch, which the observer sees
                        let _ = settlement.agree(log, statement.statement);
                    }
                    Ok(())
                }
                PublicEntry::Settled(payment) => self.payment(false, payment),
                PublicEntry::SettlementConfirmed(payment) => self.payment(true, payment),
                PublicEntry::ClosedOut(it) => {
                    self.gone.push((key, (**it).clone()));
                    Ok(())
                }
                _ => Ok(()),
            };
            faults.extend(fault.err());
        }
        faults
    }

    fn closing(&mut self, log: BrandId, closing: &Closing) -> Result<(), String> {
        // who joined is not shown blocks before, and cannot count what closes one of them
        let mut shown = self.headers.range((log, Height::new(0))..).map(|(key, _)| *key);
        let first = shown.next().filter(|(of, _)| *of == log).map(|(_, height)| height);
        if first.is_some_and(|first| first > closing.height.max(Height::new(1))) {
            return Ok(());
        }
        let closed = self.headers.get(&(log, closing.height)).map(|(id, header)| (header, *id));
        let next = closing.height.next().and_then(|next| self.headers.get(&(log, next)));
        let (_, next) = next.ok_or_else(|| format!("{log}: the block after it is not at hand"))?;
        let checked = check_closing(closing, closed, next);
        let checked = checked.map_err(|error| format!("{log}: {error}"))?;
        let cycle = self.cycles.entry(closing.cut_off).or_default();
        if let Entry::Vacant(place) = cycle.closings.entry(log) {
            self.again.push((closing.clone(), checked.clone()));
            place.insert(checked);
        }
        Ok(())
    }

    fn payment(&mut self, confirmed: bool, payment: &Payment) -> Result<(), String> {
        let cycle = self.cycles.entry(payment.cut_off).or_default();
        let entered = cycle.enter(confirmed, payment.clone());
        entered.map_err(|error| error.to_string())
    }

    /// Closes what is due, enters the statements that follow, grants what is discharged. `asked` are
    /// the cut-offs that this brand was asked to close; those that others have closed it closes as well.
    pub fn act<G: Guards>(
        &mut self,
        ledger: &mut Ledger<G>,
        asked: &BTreeSet<Timestamp>,
        now: Timestamp,
    ) -> Vec<String> {
        let me = ledger.me();
        let mut faults = self.count_absent(me, ledger.constitutions());
        let seen = self.cycles.iter().filter(|(_, cycle)| !cycle.closings.is_empty());
        let wanted: BTreeSet<Timestamp> = seen.map(|(at, _)| *at).chain(asked.clone()).collect();
        for cut_off in wanted {
            let closed = self.cycles.get(&cut_off).is_some_and(|cycle| cycle.closed);
            // a block that is open now may still count before the cut-off
            if closed || cut_off >= now || ledger.writer().has_open_block_until(cut_off) {
                continue;
            }
            let own = self.headers.iter().filter(|((log, _), _)| *log == me);
            let last = own.rev().find(|(_, (_, header))| header.time <= cut_off);
            let contents = last.and_then(|((_, height), _)| self.contents.get(height));
            let contents = contents.map(Vec::as_slice).unwrap_or_default();
            let last = last.map(|(_, (id, header))| (header, *id));
            let closed_out =
                self.absent.say_again(me, last.map(|(header, _)| header), ledger.constitutions());
            match ledger.close(cut_off, last, contents) {
                Ok(closing) => {
                    let closing = Closing { closed_out, ..closing };
                    self.cycles.entry(cut_off).or_default().closed =
                        ledger.submit_public(PublicEntry::Closing(closing)).is_ok();
                }
                Err(error) => faults.push(error.to_string()),
            }
        }
        let absent = &self.absent;
        for (cut_off, cycle) in &mut self.cycles {
            if cycle.settlement.is_none() {
                let (known, closings) = (ledger.constitutions(), cycle.closings.values());
                let derived = Statement::derive(known, *cut_off, closings, absent);
                // closings are still to come
                let Ok(statement) = derived else { continue };
                let mut settlement = Settlement::new(statement, absent);
                for (brand, statement) in &cycle.statements {
                    let _ = settlement.agree(*brand, *statement);
                }
                cycle.settlement = Some(settlement);
                for (confirmed, payment) in std::mem::take(&mut cycle.early) {
                    faults.extend(cycle.enter(confirmed, payment).err().map(|it| it.to_string()));
                }
            }
            if let Some(settlement) = &mut cycle.settlement {
                settlement.ended(absent);
            }
            if let Some(settlement) = &cycle.settlement
                && !cycle.entered
            {
                let entry = StatementEntry { cut_off: *cut_off, statement: settlement.hash() };
                cycle.entered = ledger.submit_public(PublicEntry::Statement(entry)).is_ok();
            }
        }
        ledger.discharge(self.discharges::<G>(me));
        faults
    }

    /// Takes note of brands whose logs have ended, and of what closings say again of them; gives what is wrong.
    fn count_absent(&mut self, me: BrandId, constitutions: &Constitutions) -> Vec<String> {
        for (by, it) in std::mem::take(&mut self.gone) {
            // the block was judged by its witnesses; what ended by a constitution that is not known waits
            self.absent.entered(by, &it, constitutions);
        }
        self.absent.read(constitutions);
        let mut faults = Vec::new();
        for (closing, checked) in std::mem::take(&mut self.again) {
            let log = checked.debtor();
            let from = self.absent.follows(me, log, constitutions);
            if let Err(error) = self.absent.said_again((&closing, &checked), from, constitutions) {
                faults.push(format!("{log}: {error}"));
                if let Some(cycle) = self.cycles.get_mut(&closing.cut_off) {
                    cycle.closings.remove(&log);
                }
            }
        }
        faults
    }

    /// Whether these have all closed a cut-off, as far as this machine has seen.
    #[must_use]
    pub fn have_closed(&self, cut_off: Timestamp, brands: &BTreeSet<BrandId>) -> bool {
        let cycle = self.cycles.get(&cut_off);
        cycle.is_some_and(|it| brands.iter().all(|brand| it.closings.contains_key(brand)))
    }

    /// What is known here of brands whose logs have ended.
    #[must_use]
    pub const fn absent(&self) -> &Absent {
        &self.absent
    }

    /// What a brand grants: by the newest statement that all have entered and all payees confirmed.
    fn discharges<G: Guards>(&self, me: BrandId) -> BTreeMap<BrandId, Discharge> {
        let mut settlements = self.settlements().rev();
        let newest = settlements.find(|settlement| settlement.is_discharged_under::<G>());
        newest.map(|settlement| settlement.discharges(me)).unwrap_or_default()
    }

    /// Every statement that could be derived.
    pub fn settlements(&self) -> impl DoubleEndedIterator<Item = &Settlement> {
        self.cycles.values().filter_map(|cycle| cycle.settlement.as_ref())
    }

    /// What this brand is to pay now: of the newest statement, when every brand has entered it.
    #[must_use]
    pub fn payable(&self, me: BrandId) -> Vec<(&Settlement, Instruction)> {
        let Some(newest) = self.settlements().next_back() else { return Vec::new() };
        if !newest.is_agreed() {
            return Vec::new();
        }
        let own = newest.statement().instructions.iter().filter(|it| it.payer == me);
        let open = own.filter(|it| newest.settled(it.payer, it.payee).is_none());
        open.map(|it| (newest, *it)).collect()
    }

    /// The statement of a cut-off.
    #[must_use]
    pub fn settlement(&self, cut_off: Timestamp) -> Option<&Settlement> {
        self.cycles.get(&cut_off)?.settlement.as_ref()
    }

    /// What is still to be done of a cut-off, if anything.
    #[must_use]
    pub fn unfinished(&self, cut_off: Timestamp) -> Option<&'static str> {
        let Some(cycle) = self.cycles.get(&cut_off) else { return Some("nobody has closed it") };
        match &cycle.settlement {
            None => Some("its closings are not all there"),
            Some(settlement) => {
                let newest = self.settlements().next_back().map(Settlement::cut_off);
                // an earlier one need not be paid any more
                let open = newest == Some(cut_off) && !settlement.is_discharged();
                open.then_some("it is not discharged")
            }
        }
    }
}
