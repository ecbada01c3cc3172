//! Own blocks: built from what waits, and built anew when a witness found one unfit.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entropy, Writer};
use crate::crypto::sealed::BlockSecret;
use crate::epochs::adoption;
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, HeaderHash};
use crate::log::block::{BLOCK_LEAVES_MAX, PublicEntry};
use crate::witness::build::{BuildError, OwnBlock, Plan};
use crate::witness::guards::Guards;
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
        // a log to which a return still waits is not recognised without it; but a block built anew
        // recognises at least what the first one did, or its entries might pass a limit
        let first = self.blocks.is_empty();
        let waiting = self
            .sealed
            .iter()
            .filter(|(_, payload)| first && matches!(payload, Payload::Return(_)));
        let unanswered: BTreeSet<BrandId> = waiting.map(|(to, _)| *to).collect();
        let deferred = self.waiting_logs(at, own);
        let newer = self.recognise.iter().filter(|(log, (recognised, _))| {
            recognised.height > own.tip().recognised(**log).height
                && !unanswered.contains(log)
                && !deferred.contains(log)
        });
        let plan = Plan {
            public: public.to_vec(),
            sealed: columns,
            recognised: newer.map(|(log, known)| (*log, known.clone())).collect(),
            discharged: self.grants(own, &unanswered.union(&deferred).copied().collect()),
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
        let (mut public, mut sealed) = self.blocks.values().next()?.submissions();
        if let Some(due) = at.next.due::<G>(at.now)
            && adoption::switch(&public).is_none()
        {
            public.extend(due.entries());
            // what has no room beside it goes into the block after it
            let leaves = usize::try_from(BLOCK_LEAVES_MAX).unwrap_or(usize::MAX);
            let room = leaves.saturating_sub(public.len().saturating_add(1));
            let beyond = sealed.split_off(room.min(sealed.len()));
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
            || due && adoption::switch(&block.submissions().0).is_none()
    })
}
