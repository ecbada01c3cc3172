//! After the storm: everything is repaired, and the alliance must finish what was wanted of it.

use std::collections::BTreeSet;

use protocol::constitution::Constitution;
use protocol::ids::BrandId;
use protocol::ledger::Ledger;
use protocol::time::Timestamp;
use protocol::witness::guards::Guards;

use super::{CALM_MOST_MS, SKEW_MOST_MS, Simulation, TICK_MS, Topic};
use crate::invariants::Violation;
use crate::network::Machine;
use crate::node::Node;

/// How often those who decide look at where things stand.
const DECIDE_EVERY_MS: u64 = 1_000;
/// What the alliance has beside for a cut-off that passes when all else is over.
const CLEAR_MOST_MS: u64 = 120_000;

impl<G: Guards> Simulation<G> {
    /// Repairs everything and lets the alliance finish.
    pub(super) fn calm(&mut self) -> Result<(), Violation> {
        self.trace.note(format_args!("the storm is over"));
        self.is_storming = false;
        self.network.heal();
        self.crash_chance = 0;
        let down = self.stay_down();
        for machine in 0..self.machines.len() {
            self.machine(machine).steady();
            if down.contains(&machine) {
                self.trace.note(format_args!("m{machine} stays down"));
                self.machine(machine).crash();
            } else {
                self.restart(machine)?;
            }
        }
        let mut unfinished = None;
        let most = |simulation: &Self| {
            let joins = u64::from(simulation.has_joined_last) * CALM_MOST_MS;
            CALM_MOST_MS + joins + simulation.last_cut_off.map_or(0, |_| CLEAR_MOST_MS)
        };
        while self.calm_ms < most(self) {
            if self.calm_ms.is_multiple_of(DECIDE_EVERY_MS) {
                self.decide()?;
            }
            for machine in 0..self.machines.len() {
                self.tick(machine)?;
            }
            for _ in 0..self.network.in_flight() {
                self.deliver()?;
            }
            self.now_ms += TICK_MS;
            self.calm_ms += TICK_MS;
            unfinished = self.unfinished(!down.is_empty());
            unfinished = unfinished.or_else(|| self.joins_last()).or_else(|| self.uncleared());
            if unfinished.is_none() {
                let (writers, readers) = (self.writers(), self.readers());
                return self.observer.invariant_nothing_is_lost(&writers, &readers);
            }
        }
        let detail = unfinished.unwrap_or_default();
        Err(Violation { invariant: "everything is finished after the storm", detail })
    }

    /// In every other run as many machines as may be missing are: a quorum of honest ones is enough.
    /// While committees change, all are there: what is enough for one is not for another.
    fn stay_down(&mut self) -> Vec<Machine> {
        let committee = self.alliance.constitution().committee();
        let faulty = self.liars.len() + self.restorable.len();
        let spare = committee.size().saturating_sub(committee.quorum() + faulty);
        let changes = self.topics.contains(&Topic::Constitutions);
        let down = if changes || self.prng.below(2) == 0 { 0 } else { spare };
        let mut sound: Vec<Machine> = (0..self.machines.len()).collect();
        sound.retain(|machine| {
            let brand = self.machines[*machine].brand();
            self.is_honest(*machine) && !self.restorable.contains(&brand)
        });
        let picked = (0..down).map(|_| sound.swap_remove(self.prng.below(sound.len())));
        picked.collect()
    }

    /// Honest brands whose machines run and who are to go on under the newest constitution.
    pub(super) fn readers(&self) -> BTreeSet<BrandId> {
        let newest = self.observer.newest();
        let stays = |node: &&Node<G>| {
            let frozen = &newest.succession().frozen;
            newest.brand(node.brand()).is_some() && !frozen.contains(&node.brand())
        };
        let up = self.machines.iter().filter(|node| node.ledger().is_some()).filter(stays);
        up.map(Node::brand).filter(|id| self.observer.honest().contains(id)).collect()
    }

    /// Those of them that have their own logs whole.
    pub(super) fn writers(&self) -> BTreeSet<BrandId> {
        let mut writers = self.readers();
        for node in self.machines.iter().filter(|node| node.has_lost_blocks()) {
            writers.remove(&node.brand());
        }
        writers
    }

    /// What an honest machine that is up still waits for, if anything.
    fn unfinished(&self, some_are_down: bool) -> Option<String> {
        let (writers, readers) = (self.writers(), self.readers());
        let running = self.machines.iter().filter(|node| readers.contains(&node.brand()));
        let running: Vec<(&Node<G>, &Ledger<G>)> =
            running.filter_map(|node| Some((node, node.ledger()?))).collect();
        let honest = self.machines.iter().filter(|node| {
            self.observer.honest().contains(&node.brand()) && node.ledger().is_none()
        });
        if !some_are_down && let Some(node) = honest.into_iter().next() {
            return Some(format!("{} is down", node.brand()));
        }
        let newest = self.observer.newest().epoch();
        for (node, ledger) in &running {
            let brand = node.brand();
            if !ledger.may_apply() && !ledger.is_closed(brand) {
                return Some(format!("{brand} may not act upon what others say"));
            }
            if let Some(what) = self.undecided(ledger) {
                return Some(what);
            }
            if !writers.contains(&brand) {
                continue;
            }
            if ledger.constitution().epoch() != newest {
                return Some(format!("{brand} has not taken up epoch {newest}"));
            }
            if !node.application().is_content() {
                return Some(format!("{brand} waits for certification"));
            }
            // what has no room waits until something comes the other way
            if !ledger.writer().is_idle() && self.no_room(ledger).is_none_or(BTreeSet::is_empty) {
                return Some(format!("{brand} has a block open: {:?}", ledger.writer().stalled()));
            }
            let mut answering = writers.clone();
            for (_, peer) in &running {
                if self.no_room(peer).is_some_and(|waits| waits.contains(&brand)) {
                    answering.remove(&peer.me());
                }
            }
            let unsettled = node.books().unsettled(&answering);
            if unsettled > 0 {
                return Some(format!("{unsettled} leaves of {brand} have no answer"));
            }
            let height = |of: &Ledger<G>| of.witness(brand).map(|witness| witness.tip().height);
            let own = height(ledger);
            for (_, peer) in &running {
                let seen = height(peer);
                if seen != own {
                    return Some(format!("{} has {brand} at {seen:?}, not {own:?}", peer.me()));
                }
            }
            let quorum = ledger.constitution().committee().quorum();
            let signatures = ledger.checkpoint().map(|note| note.signatures().len());
            if signatures.is_some_and(|signatures| signatures < quorum) {
                return Some(format!("the checkpoint of {brand} has {signatures:?} signatures"));
            }
            if !some_are_down && self.settles() && !self.topics.contains(&Topic::Constitutions) {
                let mut cut_offs = self.cut_offs.iter();
                let open = cut_offs.find_map(|at| Some((at, node.clearing().unfinished(*at)?)));
                if let Some((at, why)) = open {
                    return Some(format!("cut-off {} at {brand}: {why}", at.unix_ms()));
                }
            }
        }
        self.unclosed(&running)
    }

    /// What has no room within the limits waits until something comes the other way.
    fn no_room<'l>(&self, ledger: &'l Ledger<G>) -> Option<&'l BTreeSet<BrandId>> {
        self.topics.contains(&Topic::Credit).then(|| ledger.writer().deferred())
    }

    /// Whether cut-offs can be settled: all brands must close, and confirm.
    fn settles(&self) -> bool {
        self.liars.is_empty() && self.restorable.is_empty()
    }

    /// Where brands part one more joins when all else is over: after whoever has left, and before the last cut-off.
    fn joins_last(&mut self) -> Option<String> {
        let parts = self.topics.contains(&Topic::Partners) && self.settles();
        if !parts || std::mem::replace(&mut self.has_joined_last, true) || !self.somebody_left() {
            return None;
        }
        self.publish_join().then(|| "one brand more is to join".to_owned())
    }

    /// Where constitutions follow one another not every cut-off has a statement: somebody may have left, and not
    /// everyone closed it out by then. Of one that passes when all is over everyone has the same, or nobody has.
    fn uncleared(&mut self) -> Option<String> {
        let both =
            self.topics.contains(&Topic::Clearing) && self.topics.contains(&Topic::Constitutions);
        if !both || !self.settles() {
            return None;
        }
        let writers = self.writers();
        let Some(cut_off) = self.last_cut_off else {
            // after every block so far, by whichever clock
            let cut_off = Timestamp::from_unix_ms(self.now_ms + SKEW_MOST_MS as u64);
            self.trace.note(format_args!("all are asked for cut-off {}", cut_off.unix_ms()));
            self.last_cut_off = Some(cut_off);
            for machine in 0..self.machines.len() {
                if writers.contains(&self.machines[machine].brand()) {
                    self.machine(machine).application_mut().want_cut_off(cut_off);
                }
            }
            return Some("the last cut-off has not passed".to_owned());
        };
        let running: Vec<&Node<G>> =
            self.machines.iter().filter(|node| writers.contains(&node.brand())).collect();
        if let Some(node) = running.iter().find(|it| !it.clearing().have_closed(cut_off, &writers))
        {
            return Some(format!("{} does not know that all have closed", node.brand()));
        }
        let derived = |node: &Node<G>| node.clearing().settlement(cut_off).is_some();
        let (with, without): (Vec<&Node<G>>, Vec<&Node<G>>) =
            running.into_iter().partition(|node| derived(node));
        if let (Some(one), Some(other)) = (with.first(), without.first()) {
            return Some(format!("{} has a statement, {} has none", one.brand(), other.brand()));
        }
        self.counts.joined = with.iter().filter(|node| self.counts_who_left(node, cut_off)).count();
        None
    }

    /// Whether a brand's statement counts one that had left before it joined.
    fn counts_who_left(&self, node: &Node<G>, cut_off: Timestamp) -> bool {
        let Some(settlement) = node.clearing().settlement(cut_off) else { return false };
        let epochs = |brand: BrandId| {
            let named = self.observer.constitutions().filter(|it| it.brand(brand).is_some());
            named.map(Constitution::epoch).collect::<BTreeSet<_>>()
        };
        let joined = epochs(node.brand()).first().copied();
        let mut counted = settlement.statement().positions.iter().map(|it| it.brand);
        counted.any(|brand| epochs(brand).last().copied() < joined)
    }

    /// A draft that brands may adopt and have not.
    fn undecided(&self, ledger: &Ledger<G>) -> Option<String> {
        let newest = self.observer.newest();
        let known = ledger.constitutions().newest().epoch();
        if known != newest.epoch() {
            return Some(format!("{} knows of epoch {known} at most", ledger.me()));
        }
        let (draft, _) = self.favourite()?;
        let open = self.can_be_adopted();
        open.then(|| format!("a draft of epoch {} is not adopted", draft.epoch))
    }

    /// A log whose writer is proved to have lied, that a quorum could close and nobody has.
    fn unclosed(&self, running: &[(&Node<G>, &Ledger<G>)]) -> Option<String> {
        if !self.topics.contains(&Topic::Closing) || self.topics.contains(&Topic::Constitutions) {
            return None;
        }
        let quorum = self.alliance.constitution().committee().quorum();
        for log in self.liars.keys() {
            let able = running.iter().filter(|(node, ledger)| {
                let sound = !self.restorable.contains(&node.brand());
                sound && ledger.is_frozen(*log)
            });
            let closed = running.iter().any(|(_, ledger)| ledger.is_closed(*log));
            if able.count() >= quorum && !closed {
                return Some(format!("the log of {log} is frozen and not closed"));
            }
        }
        None
    }
}
