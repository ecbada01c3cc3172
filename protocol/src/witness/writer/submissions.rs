//! What waits for a block: taken within the limits, looked through after a change of constitution.

use std::collections::BTreeMap;

use std::collections::VecDeque;

use super::Writer;
use crate::constitution::Constitution;
use crate::crypto::sealed::sealed_leaf_bytes;
use crate::epochs::adoption::{self, Stance};
use crate::exchange::Payload;
use crate::ids::{BrandId, ConstitutionHash};
use crate::log::block::{APPLICATION_MAX, BLOCK_LEAVES_MAX, BODY_MAX, PublicEntry};
use crate::log::entries::LENGTH_BYTES;
use crate::witness::guards::Guards;
use crate::witness::rules::Kinds;
use crate::witness::state::{Outbox, Surroundings, Witness};

/// Most submissions that wait for a block.
pub const QUEUE_MAX: usize = 65_536;

/// Up to so many leaves a block takes all that waits: padding costs processor time, and what is left for the block
/// after it waits for a whole round of agreement more.
const FILLED_FROM: usize = 4096;

/// Why a submission is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It would take the brand over its credit limit.
    #[error(
        "brand {to} would be owed more than the credit limit allows; it can go on after the next clearing, or when {to} has sent points the other way"
    )]
    CreditLimit {
        /// Who would be owed.
        to: BrandId,
    },
    /// The counterparty is no brand of the alliance, or this brand itself.
    #[error("{0} is no other brand of the alliance")]
    NoCounterparty(BrandId),
    /// An exchange at another price than that of the constitution that the log is under.
    #[error("the rate to brand {to} has changed; quote the exchange again")]
    OtherPrice {
        /// With whom.
        to: BrandId,
    },
    /// Too many wait already.
    #[error("{QUEUE_MAX} submissions wait for a block already; try again in a moment")]
    QueueFull,
    /// The counterparty's log has ended: it would never be recognised.
    #[error("the log of {to} has ended: nothing can be sent there any more")]
    Ended {
        /// To whom.
        to: BrandId,
    },
    /// An application's entry is too large.
    #[error("an application's entry of {found} bytes; the most is {APPLICATION_MAX}")]
    EntryTooLarge {
        /// Its bytes.
        found: usize,
    },
}

impl<G: Guards> Writer<G> {
    /// Takes a public entry into the next block.
    ///
    /// # Errors
    /// When too many wait, or the entry is too large.
    pub fn submit_public(&mut self, entry: PublicEntry) -> Result<(), SubmitError> {
        if let PublicEntry::Application(application) = &entry
            && application.body.len() > APPLICATION_MAX
        {
            return Err(SubmitError::EntryTooLarge { found: application.body.len() });
        }
        if self.public.len() >= QUEUE_MAX {
            return Err(SubmitError::QueueFull);
        }
        self.public.push_back(entry);
        Ok(())
    }

    /// What waits for a block to be said of drafts, and what the open block says of them.
    #[must_use]
    pub fn waiting_stances(&self) -> [BTreeMap<ConstitutionHash, Stance>; 2] {
        let built: Vec<PublicEntry> =
            self.blocks.values().flat_map(|block| block.public()).collect();
        let queued = self.public.iter().filter_map(adoption::stance);
        let built = built.iter().filter_map(adoption::stance);
        [
            queued.map(|(draft, stance)| (draft.constitution, stance)).collect(),
            built.map(|(draft, stance)| (draft.constitution, stance)).collect(),
        ]
    }

    /// Takes entries that belong together into the next block, before all else that waits.
    pub fn submit_together(&mut self, entries: Vec<PublicEntry>) {
        entries.into_iter().rev().for_each(|entry| self.public.push_front(entry));
    }

    /// Takes a sealed payload into the next block. What a member wishes, an exchange or to send one back,
    /// is taken only while the brand stays two steps below its limits, so that what could not be applied
    /// always has room to come back. Such a return is always taken; returns go before all else that waits:
    /// what they answer is recognised with them and not before.
    ///
    /// # Errors
    /// When a limit would be passed, or too many wait.
    pub fn submit_sealed(
        &mut self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        to: BrandId,
        payload: Payload,
    ) -> Result<(), SubmitError> {
        if to == at.me || !at.constitution.committee().contains(to) {
            return Err(SubmitError::NoCounterparty(to));
        }
        let answers = matches!(payload, Payload::Return(_));
        if !answers && self.ended.contains(&to) {
            return Err(SubmitError::Ended { to });
        }
        if !answers && self.sealed.len() >= QUEUE_MAX {
            return Err(SubmitError::QueueFull);
        }
        if let Payload::Exchange(exchange) = &payload
            && exchange.check(at.constitution, (at.me, to)).is_err()
        {
            return Err(SubmitError::OtherPrice { to });
        }
        if !self.has_room(at, own, to, &payload) {
            return Err(SubmitError::CreditLimit { to });
        }
        self.enqueue(to, payload);
        Ok(())
    }

    /// Takes back into the queue what was taken before a restart and is in no block. No limit is
    /// asked: it was when it was taken, and is again before it goes into a block.
    ///
    /// # Errors
    /// When the counterparty is none.
    pub fn submit_again(
        &mut self,
        at: &Surroundings<'_>,
        to: BrandId,
        payload: Payload,
    ) -> Result<(), SubmitError> {
        if to == at.me || !at.constitution.committee().contains(to) {
            return Err(SubmitError::NoCounterparty(to));
        }
        // priced before the restart: whether it still stands is looked at with the next block
        self.priced = None;
        self.enqueue(to, payload);
        Ok(())
    }

    fn enqueue(&mut self, to: BrandId, payload: Payload) {
        self.pending.entry(to).or_default().add(&payload);
        if matches!(payload, Payload::Return(_)) {
            self.sealed.push_front((to, payload));
        } else {
            self.sealed.push_back((to, payload));
        }
    }

    /// A log has ended: gives back what waits for it, but for returns, which lower what it owes.
    pub fn end(&mut self, log: BrandId, out: &mut Outbox) {
        self.ended.insert(log);
        let waits = |(to, payload): &(BrandId, Payload)| {
            *to == log && !matches!(payload, Payload::Return(_))
        };
        if !self.sealed.iter().any(waits) {
            return;
        }
        for submission in std::mem::take(&mut self.sealed) {
            if waits(&submission) {
                self.reject(submission, out);
            } else {
                self.sealed.push_back(submission);
            }
        }
    }

    /// Whether nothing to a brand, and no terms with it, wait or are in a block that is not final.
    #[must_use]
    pub fn is_clear_of(&self, log: BrandId) -> bool {
        let is_about = |entry: &PublicEntry| match entry {
            PublicEntry::DisputeResolved(it) => [it.accused, it.accuser].contains(&log),
            _ => false,
        };
        let mut built = self.blocks.values().flat_map(|block| block.payloads());
        self.sealed.iter().all(|(to, _)| *to != log)
            && built.all(|sent| sent.to != log)
            && !self.public.iter().any(is_about)
            && !self.blocks.values().any(|block| block.public().iter().any(is_about))
    }

    pub(super) fn reject(&mut self, (to, payload): (BrandId, Payload), out: &mut Outbox) {
        self.pending.entry(to).or_default().take(&payload);
        out.rejected.push((to, payload));
    }

    /// Drops an offer that considers other blocks than there are by now, payments with who is no brand any more, and what
    /// was to be said of drafts of an epoch that the log takes up.
    pub(super) fn drop_outdated(
        &mut self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        out: &mut Outbox,
    ) {
        let (tip, brands) = (own.tip(), at.constitution.committee());
        let switches = |entry: &PublicEntry| match entry {
            PublicEntry::Switch(draft) => Some(draft.epoch),
            _ => None,
        };
        let next = self.public.iter().find_map(switches);
        let outdated = |entry: &PublicEntry| match entry {
            // behind the entry that takes a constitution up it would bind this log to a draft of the past for ever
            PublicEntry::Adopted(draft) | PublicEntry::Declined(draft) => Some(draft.epoch) == next,
            PublicEntry::DisputeResolved(it) => {
                it.accused == at.me && (it.last, it.block) != (tip.height, tip.header)
            }
            // of a payment with a brand that has left meanwhile no block can tell: it is closed out
            PublicEntry::Settled(payment) | PublicEntry::SettlementConfirmed(payment) => {
                !brands.contains(payment.payer) || !brands.contains(payment.payee)
            }
            _ => false,
        };
        if self.public.iter().any(outdated) {
            let (old, kept) = std::mem::take(&mut self.public).into_iter().partition(outdated);
            self.public = kept;
            out.outdated.extend::<VecDeque<_>>(old);
        }
    }

    /// After a change of constitution: gives back what was priced by the one before, and drops what
    /// was to be said on constitutions that no longer are to come.
    pub(super) fn look_through(&mut self, at: &Surroundings<'_>, out: &mut Outbox) {
        let constitution = at.constitution;
        if self.attempt.is_some()
            || self.priced.replace(constitution.epoch()) == Some(constitution.epoch())
        {
            return;
        }
        let next = constitution.epoch().next();
        self.public.retain(|entry| match entry {
            PublicEntry::Adopted(draft)
            | PublicEntry::Declined(draft)
            | PublicEntry::Switch(draft) => Some(draft.epoch) == next,
            PublicEntry::Ballot(ballot) => {
                ballot.certificate.pledge.block.epoch == constitution.epoch()
            }
            _ => true,
        });
        for (to, payload) in std::mem::take(&mut self.sealed) {
            let stands = match &payload {
                Payload::Exchange(exchange) => exchange.check(constitution, (at.me, to)).is_ok(),
                _ => constitution.committee().contains(to),
            };
            if stands {
                self.sealed.push_back((to, payload));
            } else {
                self.reject((to, payload), out);
            }
        }
    }

    /// The public entries that the next block takes, at most so many: in their order, but for those that it
    /// has no room for beside others of their kind, which wait for the block after it.
    fn take_public(&mut self, constitution: &Constitution, most: usize) -> Vec<PublicEntry> {
        let mut kinds = Kinds::new(constitution);
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        while taken.len() < most
            && left.len() < most
            && let Some(entry) = self.public.pop_front()
        {
            if kinds.admit(&entry).is_ok() {
                taken.push(entry);
            } else {
                left.push(entry);
            }
        }
        left.into_iter().rev().for_each(|entry| self.public.push_front(entry));
        taken
    }

    /// What the next block takes of what waits, in order: all of it, if it fits and is not much. When it is
    /// more, and over a quarter of the next larger block would be padding, a block is filled instead, and the rest
    /// goes into the one after it: leaves come to a power of two, and padding costs about as much as what it stands for.
    pub(super) fn take_submissions(
        &mut self,
        constitution: &Constitution,
    ) -> (Vec<PublicEntry>, Vec<(BrandId, Payload)>) {
        let leaves = usize::try_from(BLOCK_LEAVES_MAX).unwrap_or(1);
        // half of the bytes for public entries at their largest, half for sealed ones; unless there
        // are only sealed ones
        let public_most = (BODY_MAX / 2 / (2 * APPLICATION_MAX)).min(leaves / 2);
        let public = self.take_public(constitution, public_most);
        let bytes = if public.is_empty() { BODY_MAX } else { BODY_MAX / 2 };
        let leaf = sealed_leaf_bytes(constitution.payload_size()).saturating_add(LENGTH_BYTES);
        let room = bytes.checked_div(leaf).unwrap_or(1).saturating_add(1).min(leaves);
        // the padding has to fit as well
        let largest = if room.is_power_of_two() { room } else { room.next_power_of_two() / 2 };
        let beside = public.len().saturating_add(1);
        let waiting = self.sealed.len().min(largest.saturating_sub(beside));
        let with_all = waiting.saturating_add(beside);
        let filled = with_all.next_power_of_two() / 2;
        let wasteful = with_all > FILLED_FROM
            && with_all < filled.saturating_add(filled / 2)
            && filled > beside;
        let sealed_count = if wasteful { filled.saturating_sub(beside) } else { waiting };
        let sealed = self.sealed.drain(..sealed_count).collect();
        (public, sealed)
    }
}
