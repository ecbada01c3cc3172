//! Constitutions during a run: drafts are published, one or two at a time, their files brought to some,
//! adopted by some; brands that join get machines. After the storm the brands settle on one draft.

use protocol::constitution::{Constitution, Draft};
use protocol::epochs::Constitutions;
use protocol::epochs::adoption::{Stance, Stances};
use protocol::ids::{BrandId, Epoch};
use protocol::witness::guards::Guards;

use super::{Simulation, Topic};
use crate::alliance::{Amendment, amended, brand_of};
use crate::invariants::Violation;
use crate::network::Machine;

/// The last epoch that a run comes to.
const EPOCH_MAX: Epoch = Epoch::new(4);
/// Most brands of a constitution.
const BRANDS_MAX: usize = 21;

impl<G: Guards> Simulation<G> {
    /// A draft is published, or its file brought to someone, or adopted by someone.
    pub(super) fn legislate(&mut self, machine: Machine) -> Result<(), Violation> {
        self.admit()?;
        let pending = self.pending();
        if pending.is_empty() {
            if self.observer.newest().epoch() < EPOCH_MAX {
                self.publish();
            }
            return Ok(());
        }
        let (_, file) = pending[self.prng.below(pending.len())].clone();
        self.machine(machine).bring(&file);
        if self.is_honest(machine) && self.prng.below(2) == 0 {
            self.adopt(machine, &file);
        }
        self.tick(machine)
    }

    /// Drafts that may follow the newest constitution.
    fn pending(&self) -> Vec<(Draft, Constitution)> {
        let next = self.observer.newest().epoch().next();
        let drafts = self.drafts.iter().filter(|(draft, _)| Some(draft.epoch) == next);
        drafts.cloned().collect()
    }

    /// The newest constitution as a draft.
    fn newest_draft(&self) -> Draft {
        let newest = self.observer.newest().hash();
        let before = self.drafts.iter().find(|(draft, _)| draft.hash == newest);
        before.map_or(self.alliance.draft(), |(draft, _)| draft).clone()
    }

    /// Whether a brand of a former constitution is none of the newest.
    pub(super) fn somebody_left(&self) -> bool {
        let newest = self.observer.newest();
        let mut former = self.observer.constitutions().flat_map(|it| it.committee().brands());
        former.any(|brand| newest.brand(*brand).is_none())
    }

    /// A draft by which one brand more joins; says whether there is one.
    pub(super) fn publish_join(&mut self) -> bool {
        let before = self.newest_draft();
        let Some(amendment) = self.joins(&before) else { return false };
        let draft = amended(&before, amendment, 0);
        let Ok(file) = Constitution::new(draft.clone()) else { return false };
        self.trace.note(format_args!("draft of epoch {}: {amendment:?}", draft.epoch));
        self.observer.published(&file);
        self.drafts.push((draft, file));
        true
    }

    /// A brand that there never was joins.
    fn joins(&self, before: &Draft) -> Option<Amendment> {
        if before.brands.len() >= BRANDS_MAX {
            return None;
        }
        let known = self.machines.iter().map(|node| node.brand());
        let drafted = self.drafts.iter().flat_map(|(draft, _)| draft.brands.keys());
        let last = known.chain(drafted.copied()).max()?;
        let number: usize = last.as_str().get(1..)?.parse().ok()?;
        Some(Amendment::Join(brand_of(number + 1)))
    }

    fn publish(&mut self) {
        let before = self.newest_draft();
        let competing = self.prng.below(3) == 0;
        let mut files = Vec::new();
        for number in 0..if competing { 2 } else { 1 } {
            let Some(amendment) = self.amendment(&before) else { continue };
            let draft = amended(&before, amendment, number);
            let Ok(file) = Constitution::new(draft.clone()) else { continue };
            self.trace.note(format_args!("draft of epoch {}: {amendment:?}", draft.epoch));
            if let Amendment::Keys(brand, generation) = amendment {
                self.generations.insert(brand, generation);
                let own = self.machines.iter_mut().filter(|node| node.brand() == brand);
                own.for_each(|node| node.make_keys(generation));
            }
            self.observer.published(&file);
            self.drafts.push((draft, file.clone()));
            files.push(file);
        }
        for machine in 0..self.machines.len() {
            for file in &files {
                if self.prng.below(4) > 0 {
                    self.machine(machine).bring(file);
                }
            }
            let wants = self.prng.below(5) > 0 && self.is_honest(machine);
            if wants && let Some(file) = files.get(self.prng.below(files.len())) {
                self.adopt(machine, file);
            }
        }
    }

    fn adopt(&mut self, machine: Machine, file: &Constitution) {
        let brand = self.machines[machine].brand();
        self.trace.note(format_args!("{brand} wants to adopt {}", file.hash()));
        self.machine(machine).application_mut().want_stance(file.hash(), Stance::Adopted);
    }

    fn amendment(&mut self, before: &Draft) -> Option<Amendment> {
        let members: Vec<BrandId> = before.brands.keys().copied().collect();
        let honest: Vec<BrandId> = {
            let sound = |id: &&BrandId| self.observer.honest().contains(*id);
            members.iter().filter(sound).copied().collect()
        };
        let some = self.prng.below(honest.len());
        let one = *honest.get(some)?;
        let faulty = self.liars.len() + self.restorable.len();
        let kinds = if self.topics.contains(&Topic::Credit) { 11 } else { 7 };
        // who leaves, and who joins after it
        let parts = self.topics.contains(&Topic::Partners) && self.prng.below(3) > 0;
        let kind = if parts { 4 + self.prng.below(2) } else { self.prng.below(kinds) };
        match kind {
            0 => {
                let others: Vec<BrandId> =
                    members.into_iter().filter(|other| *other != one).collect();
                let other = *others.get(self.prng.below(others.len()))?;
                Some(Amendment::Rate(one, other))
            }
            1 => Some(Amendment::Limits),
            2 => Some(Amendment::PayloadSize(before.payload_size + 16)),
            3 => {
                let before = self.generations.get(&one).copied().unwrap_or_default();
                Some(Amendment::Keys(one, before + 1))
            }
            4 => self.joins(before),
            7..10 => Some(Amendment::HalfLimits),
            10 => Some(Amendment::Step),
            // as many may be faulty as before, and somebody must be left to exchange with
            5 => {
                let faults = members.len().saturating_sub(2) / 3;
                let allowed = members.len() > 3 && faulty <= faults && honest.len() > 2;
                (allowed && !self.restorable.contains(&one)).then_some(Amendment::Leave(one))
            }
            _ => {
                let liar = self.liars.keys().next().copied();
                let frozen = liar.filter(|_| self.prng.below(2) == 0).unwrap_or(one);
                let first = before.succession.frozen.is_empty() && honest.len() > 2;
                let member = before.brands.contains_key(&frozen);
                (first && member).then_some(Amendment::Freeze(frozen))
            }
        }
    }

    /// A brand that a constitution names for the first time gets a machine.
    fn admit(&mut self) -> Result<(), Violation> {
        let constitutions: Vec<Constitution> = self.observer.constitutions().cloned().collect();
        let mut chain: Option<Constitutions> = None;
        for constitution in constitutions {
            match &mut chain {
                None => chain = Some(constitution.clone().into()),
                Some(chain) => {
                    let followed = chain.follow(constitution.clone());
                    followed.map_err(|error| {
                        let detail = error.to_string();
                        Violation { invariant: "one constitution an epoch", detail }
                    })?;
                }
            }
            for brand in constitution.committee().brands() {
                let known = self.machines.iter().any(|node| node.brand() == *brand);
                if let (false, Some(chain)) = (known, &chain) {
                    self.observer.joins(*brand);
                    let machine = self.add_machine(*brand, chain.clone());
                    self.restart(machine)?;
                }
            }
        }
        Ok(())
    }

    /// The draft that the brands settle on, with its file: the one that most logs had adopted when they
    /// first looked.
    pub(super) fn favourite(&self) -> Option<(Draft, Constitution)> {
        let pending = self.pending();
        let settled = pending.iter().find(|(draft, _)| Some(draft.hash) == self.settled_on);
        // of equals the first
        let most = pending.iter().rev().max_by_key(|(_, file)| self.observer.adopted(file));
        settled.or(most).cloned()
    }

    /// Whether a quorum can still adopt the draft that the brands settle on: who has declined it cannot,
    /// and who has adopted another one needs enough refusals of that.
    pub(super) fn can_be_adopted(&self) -> bool {
        let Some((_, favourite)) = self.favourite() else { return false };
        let writers = self.writers();
        let committee = self.observer.newest().committee();
        let needed = committee.size() - committee.quorum() + 1;
        let own = |brand: &BrandId| {
            let node = self.machines.iter().find(|node| node.brand() == *brand)?;
            Some(node.ledger()?.witness(*brand)?.stances())
        };
        let stances: Vec<_> = writers.iter().filter_map(own).collect();
        let open = stances.iter().filter(|it| it.on(&favourite.hash()) != Some(Stance::Declined));
        let bound = |it: &&&Stances| it.adopted().any(|draft| draft != favourite.hash());
        let bound = open.clone().filter(bound).count();
        let (open, free) = (open.count(), stances.len() - bound);
        open >= committee.quorum() && (bound == 0 || free >= needed)
    }

    /// After the storm: everybody has all files and adopts the same draft, or declines the others first.
    pub(super) fn decide_on_drafts(&mut self) -> Result<(), Violation> {
        if !self.topics.contains(&Topic::Constitutions) {
            return Ok(());
        }
        self.admit()?;
        let files: Vec<Constitution> = self.drafts.iter().map(|(_, file)| file.clone()).collect();
        let favourite = self.favourite();
        self.settled_on = favourite.as_ref().map(|(draft, _)| draft.hash);
        let pending = self.pending();
        for machine in 0..self.machines.len() {
            files.iter().for_each(|file| self.machine(machine).bring(file));
            self.machine(machine).steady();
            let node = &self.machines[machine];
            let own = node.ledger().and_then(|ledger| ledger.witness(node.brand()));
            let (true, Some(own), Some((_, favourite))) =
                (self.is_honest(machine), own, &favourite)
            else {
                continue;
            };
            let said: Vec<_> = pending
                .iter()
                .map(|(_, file)| (file.hash(), own.stances().on(&file.hash())))
                .collect();
            for (draft, stance) in said {
                let wanted =
                    if draft == favourite.hash() { Stance::Adopted } else { Stance::Declined };
                if stance.is_none() {
                    self.machine(machine).application_mut().want_stance(draft, wanted);
                }
            }
        }
        Ok(())
    }
}
