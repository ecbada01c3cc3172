//! What happens in some runs only: disks put back, cut-offs and payments, agreement to close logs.

use protocol::amount::Points;
use protocol::exchange::Payload;
use protocol::ids::BrandId;
use protocol::ledger::Ledger;
use protocol::log::block::PublicEntry;
use protocol::log::settlement::{Payment, PaymentReference};
use protocol::time::Timestamp;
use protocol::witness::guards::Guards;

use super::{Simulation, Topic};
use crate::invariants::Violation;
use crate::network::Machine;

/// After so much calm every honest brand has agreed that the logs of liars be closed.
pub(super) const AGREED_AFTER_MS: u64 = 20_000;
/// Most cut-offs of a run.
const CUT_OFFS_MAX: usize = 3;

impl<G: Guards> Simulation<G> {
    /// Something of one of the run's topics.
    pub(super) fn chapter(&mut self, machine: Machine) -> Result<(), Violation> {
        let number = self.prng.below(self.topics.len());
        match self.topics.iter().nth(number) {
            Some(Topic::Restores) => self.back_up_or_put_back(),
            Some(Topic::Constitutions | Topic::Partners) => self.legislate(machine),
            Some(Topic::Clearing) => {
                self.clear(machine);
                Ok(())
            }
            // these come of themselves; what they put back was kept before
            Some(Topic::Ambushes) => {
                self.back_up();
                self.want(machine)
            }
            Some(Topic::Credit) => {
                self.send_back(machine);
                self.tick(machine)
            }
            Some(Topic::Closing) => {
                // few are quick to decide
                if self.prng.below(8) == 0 {
                    self.agree_to_close(machine);
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Those who decide do what is left to do, one after another.
    pub(super) fn decide(&mut self) -> Result<(), Violation> {
        self.decide_on_drafts()?;
        let first = self.prng.below(self.machines.len());
        for machine in 0..self.machines.len() {
            self.pay(machine);
            // one is quick to decide, and must not have its way alone
            let decided = machine == first && self.calm_ms == 0 || self.calm_ms >= AGREED_AFTER_MS;
            if self.topics.contains(&Topic::Closing) && decided {
                self.agree_to_close(machine);
            }
        }
        Ok(())
    }

    fn back_up_or_put_back(&mut self) -> Result<(), Violation> {
        if self.prng.below(5) < 3 {
            self.back_up();
            return Ok(());
        }
        self.some_restorable().map_or(Ok(()), |machine| self.put_back(machine))
    }

    fn back_up(&mut self) {
        if let Some(machine) = self.some_restorable() {
            self.machine(machine).back_up();
        }
    }

    fn some_restorable(&mut self) -> Option<Machine> {
        let machines = 0..self.machines.len();
        let restorable: Vec<Machine> = machines
            .filter(|machine| self.restorable.contains(&self.machines[*machine].brand()))
            .collect();
        restorable.get(self.prng.below(restorable.len())).copied()
    }

    /// A disk is put back to a backup, if there is one.
    pub(super) fn put_back(&mut self, machine: Machine) -> Result<(), Violation> {
        let declared = self.prng.below(2) == 0;
        if !self.machine(machine).put_back(declared) {
            return Ok(());
        }
        self.counts.restores += 1;
        self.trace.note(format_args!("m{machine}: disk put back, declared: {declared}"));
        let node = &self.machines[machine];
        self.observer.put_back(node.brand(), declared, node.application().applied().iter());
        // at once, or when it comes up again
        if self.prng.below(2) == 0 {
            self.restart(machine)?;
        }
        // and somebody else starts meanwhile, and asks it what it knows
        if self.prng.below(3) == 0 {
            let other = self.prng.below(self.machines.len());
            self.machine(other).crash();
            self.restart(other)?;
        }
        Ok(())
    }

    /// Someone asks for a cut-off, or money is paid.
    fn clear(&mut self, machine: Machine) {
        if self.prng.below(3) > 0 || self.cut_offs.len() >= CUT_OFFS_MAX {
            return self.pay(machine);
        }
        if !self.is_honest(machine) {
            return;
        }
        let ago = self.prng.below(20_000) as u64;
        let cut_off = Timestamp::from_unix_ms(self.now_ms - ago);
        self.trace.note(format_args!("m{machine} is asked for cut-off {}", cut_off.unix_ms()));
        self.cut_offs.insert(cut_off);
        self.machine(machine).application_mut().want_cut_off(cut_off);
    }

    /// A member of an honest brand sends back some of what came from another one.
    pub(super) fn send_back(&mut self, machine: Machine) {
        let node = &self.machines[machine];
        let honest = self.observer.honest();
        // a brand whose disk has forgotten what it sent does not know what is left
        let knows = node.ledger().is_some_and(Ledger::may_apply) && !node.has_lost_blocks();
        if !self.is_honest(machine) || !knows {
            return;
        }
        let goes_on = |log: BrandId| {
            let ended = node.ledger().and_then(|ledger| ledger.recognised_at_end(log));
            honest.contains(&log) && ended.is_none()
        };
        let mut left = node.application().returnable(node.books());
        left.retain(|it| goes_on(it.log));
        let Some(it) = left.get(self.prng.below(left.len())).cloned() else { return };
        let most = usize::try_from(it.left.get()).unwrap_or(usize::MAX);
        let whole = self.prng.below(2) == 0;
        let some = if whole { most } else { 1 + self.prng.below(most) };
        let Ok(points) = Points::new(some as u64) else { return };
        let Some(back) = it.part(points) else { return };
        self.trace.note(format_args!("a member at m{machine} sends {back:?} back to {}", it.log));
        self.machine(machine).application_mut().want_sealed(it.log, Payload::Return(back));
    }

    /// An honest brand pays what its statement asks, and confirms what has arrived.
    fn pay(&mut self, machine: Machine) {
        let Ok(reference) = PaymentReference::new("E2E-1") else { return };
        let node = &self.machines[machine];
        let me = node.brand();
        if !self.is_honest(machine) || node.ledger().is_none() {
            return;
        }
        let mut entries = Vec::new();
        for (settlement, asked) in node.clearing().payable(me) {
            let (cut_off, statement) = (settlement.cut_off(), settlement.hash());
            let (payer, payee, value) = (asked.payer, asked.payee, asked.value);
            let reference = reference.clone();
            let payment = Payment { cut_off, statement, payer, payee, value, reference };
            if self.bank.insert((cut_off, payer, payee), value).is_none() {
                self.trace.note(format_args!("{payer} pays {payee} {value}"));
                self.observer.paid(&payment);
            }
            entries.push(PublicEntry::Settled(payment));
        }
        for ((cut_off, payer, payee), value) in &self.bank {
            let Some(settlement) = node.clearing().settlement(*cut_off) else { continue };
            let asked = settlement.asked(*payer, *payee).is_some_and(|it| it.value == *value);
            if *payee != me || !asked || settlement.confirmed(*payer, me).is_some() {
                continue;
            }
            entries.push(PublicEntry::SettlementConfirmed(Payment {
                cut_off: *cut_off,
                statement: settlement.hash(),
                payer: *payer,
                payee: me,
                value: *value,
                reference: reference.clone(),
            }));
        }
        for entry in entries {
            if !self.machines[machine].application().waits_for(&entry) {
                self.machine(machine).application_mut().want_public(entry);
            }
        }
    }

    /// An honest brand agrees that the liars' logs be closed as soon as they are frozen.
    fn agree_to_close(&mut self, machine: Machine) {
        if !self.is_honest(machine) {
            return;
        }
        let brand = self.machines[machine].brand();
        let liars: Vec<BrandId> = self.liars.keys().copied().collect();
        for liar in liars {
            if self.machines[machine].application().closes().contains(&liar) {
                continue;
            }
            self.trace.note(format_args!("{brand} wants the log of {liar} closed if it lies"));
            self.machine(machine).application_mut().want_closed(liar);
            self.observer.agrees_to_close(brand, liar);
        }
    }
}
