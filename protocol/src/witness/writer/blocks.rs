//! Own blocks: built from what waits, and built anew when a witness found one unfit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Entropy, Writer, is_cause};
use crate::crypto::sealed::BlockSecret;
use crate::epochs::adoption;
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, HeaderHash};
use crate::log::block::{BLOCK_LEAVES_MAX, PublicEntry};
use crate::witness::build::{BuildError, OwnBlock, Plan};
use crate::witness::guards::{Guard, Guards};
use crate::witness::record::Record;
use crate::witness::rules::{self, Violation};
use crate::witness::state::{Outbox, Surroundings, Witness};

impl<G: Guards> Writer<G> {
    pub(super) fn build(
        &self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        public: &[PublicEntry],
        sealed: &[(BrandId, Payload)],
    ) -> Result<OwnBlock, Violation> {
        let mut columns: BTreeMap<BrandId, Vec<Payload>> = BTreeMap::new();
        for (to, payload) in sealed {
            columns.entry(*to).or_default().push(payload.clone());
        }
        let (mut secret, mut nonce) = ([0; 32], [0; 16]);
        entropy.fill(&mut secret);
        entropy.fill(&mut nonce);
        let mut recognised = self.recognised_next(own);
        // a brand that has left has no column any more, and nothing of it is brought
        recognised.retain(|log, _| at.constitution.committee().contains(*log));
        let plan = Plan {
            public: public.to_vec(),
            sealed: columns,
            discharged: self.grants(own, &recognised),
            recognised,
            sealing: at.sealing.current(),
            time: at.now,
            secret: BlockSecret::from_bytes(secret),
            nonce: BlockNonce::from_bytes(nonce),
        };
        let block = OwnBlock::build(at.constitution, at.me, own.tip(), &self.contents, plan)
            .map_err(|error| match error {
                BuildError::Amount(error) => Violation::Amount(error),
                BuildError::Fragments(error) => Violation::Fragment(error),
                _ => Violation::Leaves { found: 0 },
            })?;
        own.receive_own(at, &block)?;
        Ok(block)
    }

    /// Builds a block from what waits, the first of its height.
    pub(super) fn build_next(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) -> Option<HeaderHash> {
        self.drop_outdated(at, own, out);
        let mut without = BTreeSet::new();
        loop {
            let built = self.build_without(&without, at, own, entropy, out);
            // more answers to a log than a block takes go before what they answer is recognised: where that
            // has no room, they wait, and nothing else does
            let over = match &built {
                Err(Violation::PairLimit { counterparty }) => BTreeSet::from([*counterparty]),
                Err(Violation::TotalLimit) => {
                    at.constitution.committee().witnesses(at.me).collect()
                }
                _ => BTreeSet::new(),
            };
            if G::allow(Guard::RoomForMore, over.is_subset(&without)) {
                return built.map_err(|violation| self.stalled = Some(violation)).ok();
            }
            without.extend(over);
        }
    }

    /// The same without answers to these logs, which are not recognised.
    fn build_without(
        &mut self,
        without: &BTreeSet<BrandId>,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) -> Result<HeaderHash, Violation> {
        let aside = self.make_room(without, at, own, out);
        let unready = self.set_aside(at.me);
        if let Some(due) = at.next.due::<G>(at.now)
            && adoption::switch(&self.public).is_none()
        {
            self.submit_together(due.entries());
            self.drop_outdated(at, own, out);
        }
        let (public, sealed) = self.take_submissions(at.constitution);
        unready.into_iter().rev().for_each(|entry| self.public.push_front(entry));
        match self.build(at, own, entropy, &public, &sealed) {
            Ok(block) => {
                self.put_back(aside);
                self.acknowledge = false;
                out.records.push(Record::Built(Box::new(block.clone())));
                let id = block.reference().header;
                self.blocks.insert(id, block);
                Ok(id)
            }
            Err(violation) => {
                // nothing that was submitted is lost; the node shows why it cannot write
                // but for an entry that cannot stand: the log must not wait for it for ever
                let (kept, refused): (Vec<_>, Vec<_>) =
                    public.into_iter().partition(|entry| !is_cause(&violation, entry));
                out.outdated.extend(refused);
                kept.into_iter().rev().for_each(|entry| self.public.push_front(entry));
                sealed.into_iter().rev().for_each(|entry| self.sealed.push_front(entry));
                self.put_back(aside);
                Err(violation)
            }
        }
    }

    /// A block of a former life is here: the one that a lock forces, or, certified, a final one. What it
    /// took is not taken again.
    pub fn rebuilt(
        &mut self,
        at: &Surroundings<'_>,
        block: &OwnBlock,
        certified: bool,
        out: &mut Outbox,
    ) {
        let (public, sealed) = block.submissions();
        // a block of this height that is here already took the same
        let counted = !self.blocks.is_empty();
        for entry in &public {
            if let Some(place) = self.public.iter().position(|waits| waits == entry) {
                self.public.remove(place);
            }
        }
        if public.iter().any(adoption::is_of_drafts) {
            // what a former life wanted said of drafts before this block may have been said in it or in
            // one before it, and may come too late behind it: what is still wanted is asked for anew
            let (old, kept) =
                std::mem::take(&mut self.public).into_iter().partition(adoption::is_of_drafts);
            self.public = kept;
            out.outdated.extend::<VecDeque<_>>(old);
        }
        for (to, payload) in &sealed {
            let place = self.sealed.iter().position(|waits| waits.0 == *to && waits.1 == *payload);
            if let Some(place) = place {
                self.sealed.remove(place);
            } else if !counted {
                self.pending.entry(*to).or_default().add(payload);
            }
        }
        self.missing = None;
        let id = block.reference().header;
        self.blocks.insert(id, block.clone());
        if certified {
            self.finish(at, id, out);
        }
    }

    /// With no lock any valid block may be proposed: one that was built for this height, byte for
    /// byte, unless more than f witnesses found that it broke a rule, or it has become stale. Then the same
    /// submissions are built into a new one, which replaces it: with no lock among q promises, the own
    /// one included, none was ever made, and what has no lock cannot become final any more.
    pub(super) fn any_block(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) -> Option<HeaderHash> {
        let mut blocks = self.blocks.iter();
        let fit = blocks.find(|(id, block)| !self.unfit.contains(id) && !is_stale::<G>(at, block));
        if let Some((id, _)) = fit {
            return Some(*id);
        }
        if self.blocks.is_empty() {
            return self.build_next(at, own, entropy, out);
        }
        self.deferred = self.waiting_logs(at, own);
        let (mut public, mut sealed) = self.blocks.values().next()?.submissions();
        if let Some(due) = at.next.due::<G>(at.now)
            && adoption::switch(&public).is_none()
        {
            public.extend(due.entries());
        }
        let next = adoption::switch(&public).and_then(|draft| at.constitutions.of(draft.epoch));
        if next.is_some_and(|next| !next.writes(at.me)) {
            // nothing comes after it: what it recognises is answered in it
            let waiting = std::mem::take(&mut self.sealed).into_iter();
            let (returns, waits): (Vec<_>, Vec<_>) = waiting.partition(|(to, payload)| {
                matches!(payload, Payload::Return(_)) && !self.deferred.contains(to)
            });
            sealed.extend(returns);
            self.sealed = waits.into();
        }
        // what has no room goes into the block after it, returns last: what they answer is recognised
        // with this one
        let leaves = usize::try_from(BLOCK_LEAVES_MAX).unwrap_or(usize::MAX);
        let room = leaves.saturating_sub(public.len().saturating_add(1));
        if sealed.len() > room {
            sealed.sort_by_key(|(_, payload)| !matches!(payload, Payload::Return(_)));
            let beyond = sealed.split_off(room);
            beyond.into_iter().rev().for_each(|waiting| self.sealed.push_front(waiting));
        }
        match self.build(at, own, entropy, &public, &sealed) {
            Ok(block) => {
                let id = block.reference().header;
                out.records.push(Record::Built(Box::new(block.clone())));
                self.blocks = BTreeMap::from([(id, block)]);
                self.unfit.clear();
                Some(id)
            }
            Err(violation) => {
                self.stalled = Some(violation);
                None
            }
        }
    }
}

/// Whether a block that nobody has locked would be refused by now although it was sound when it was
/// built: its time is too far off, or a constitution that it does not take up is due. Those who judged it
/// before still vote for it, so that too few may refuse it to say so.
fn is_stale<G: Guards>(at: &Surroundings<'_>, block: &OwnBlock) -> bool {
    block.time().is_none_or(|time| {
        let due = at.next.due::<G>(time).is_some();
        at.now.distance(time) > rules::CLOCK_TOLERANCE
            || due && adoption::switch(&block.public()).is_none()
    })
}
