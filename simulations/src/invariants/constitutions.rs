//! One constitution after another: which one follows, when a log takes it up, what blocks under it are.

use std::collections::BTreeMap;

use protocol::constitution::Constitution;
use protocol::epochs::adoption::{Stance, stance, switch};
use protocol::epochs::entries::Judge;
use protocol::epochs::{Changes, DraftReference};
use protocol::ids::{BrandId, ConstitutionHash, Epoch, Height, LeafIndex};
use protocol::log::block::{BlockReference, PublicEntry};
use protocol::log::merkle::Frontier;
use protocol::time::Timestamp;
use protocol::witness::allowed::Allowed;
use protocol::witness::guards::{Guards, Upheld};
use protocol::witness::message::Message;
use protocol::witness::rules::{self, CertifiedTotals, Known, Tip};
use protocol::witness::state::FinalBlock;

use super::{Observer, Violation, ensure};
use crate::node::Node;

/// Rules of a block that an honest writer may seem to break: clocks disagree, a height has seen many
/// blocks, and who judges knows more or less of constitutions than who wrote.
const EXCUSED: [u16; 4] = [9, 24, 37, 39];
/// A brand that joins begins when it has the file, and may be early.
const TOO_EARLY: u16 = 36;

/// What the observer knows of drafts.
#[derive(Debug, Default)]
pub(super) struct Constitutional {
    drafts: BTreeMap<ConstitutionHash, Constitution>,
    // certified stances, by draft
    adopted: BTreeMap<DraftReference, BTreeMap<BrandId, Timestamp>>,
    declined: BTreeMap<DraftReference, BTreeMap<BrandId, Timestamp>>,
    // under which epoch the block after a final one is
    next: BTreeMap<(BrandId, Height), Epoch>,
}

impl Observer {
    /// A draft is published.
    pub fn published(&mut self, draft: &Constitution) {
        self.constitutional.drafts.insert(draft.hash(), draft.clone());
    }

    /// How many brands' logs are known to have adopted a draft.
    #[must_use]
    pub fn adopted(&self, draft: &Constitution) -> usize {
        let adopted = self.constitutional.adopted.get(&DraftReference::to(draft));
        adopted.map(BTreeMap::len).unwrap_or_default()
    }

    /// Takes note of what any brand's final block says of drafts.
    pub(super) fn note_stances(&mut self, block: &FinalBlock) {
        for (_, entry) in &block.public {
            let Some((draft, stance)) = stance(entry) else { continue };
            let said = match stance {
                Stance::Adopted => &mut self.constitutional.adopted,
                Stance::Declined => &mut self.constitutional.declined,
            };
            let said = said.entry(draft).or_default();
            said.entry(block.block.log).or_insert(block.header.time);
        }
    }

    /// Two honest machines have the same constitution for one epoch, and q brands have adopted it.
    pub(super) fn invariant_one_constitution_an_epoch<G: Guards>(
        &mut self,
        node: &Node<G>,
    ) -> Result<(), Violation> {
        let Some(ledger) = node.ledger() else { return Ok(()) };
        for known in ledger.constitutions().iter() {
            let first = self.constitutions.entry(known.epoch()).or_insert_with(|| known.clone());
            ensure("one constitution an epoch", first.hash() == known.hash(), || {
                let (epoch, by) = (known.epoch(), node.brand());
                format!("{by} has {} for epoch {epoch}, another {}", known.hash(), first.hash())
            })?;
        }
        Ok(())
    }

    /// Everything that a final block says of constitutions, and under which it is.
    pub(super) fn check_succession(&mut self, block: &FinalBlock) -> Result<(), Violation> {
        self.invariant_a_log_goes_from_epoch_to_epoch(block)?;
        self.invariant_a_quorum_adopts_what_follows_and_notice_is_kept(block)?;
        self.invariant_one_draft_can_be_adopted(block)
    }

    /// A block is under the constitution that the blocks before it have taken up.
    fn invariant_a_log_goes_from_epoch_to_epoch(
        &mut self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let (log, height, epoch) = (block.block.log, block.block.height, block.block.epoch);
        let before = Height::new(height.get().saturating_sub(1));
        let expected = match self.constitutional.next.get(&(log, before)) {
            Some(next) => Some(*next),
            None if height == Height::new(1) => {
                let mut with = self.constitutions.values().filter(|it| it.brand(log).is_some());
                with.next().map(Constitution::epoch)
            }
            // seen by who joined later alone
            None => None,
        };
        ensure("a log goes from epoch to epoch", expected.is_none_or(|it| it == epoch), || {
            format!("{log}/{height} is under epoch {epoch}, not {expected:?}")
        })?;
        let taken_up = switch(self.entries_of(block));
        let next = taken_up.map_or(epoch, |draft| draft.epoch);
        self.constitutional.next.insert((log, height), next);
        Ok(())
    }

    /// A log takes up only what a quorum of brands has adopted in certified blocks, and not before the
    /// notice that members are given has passed since.
    fn invariant_a_quorum_adopts_what_follows_and_notice_is_kept(
        &self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let Some(draft) = switch(self.entries_of(block)) else {
            return Ok(());
        };
        let log = block.block.log;
        let Some(before) = self.constitutions.get(&block.block.epoch) else { return Ok(()) };
        let adopted = self.constitutional.adopted.get(&draft);
        let members = adopted.into_iter().flatten();
        let members = members.filter(|(brand, _)| before.committee().contains(**brand));
        let mut times: Vec<Timestamp> = members.map(|(_, time)| *time).collect();
        let quorum = before.committee().quorum();
        ensure("a quorum adopts what follows", times.len() >= quorum, || {
            format!("{log} takes up {draft:?} with {} adoptions of {quorum}", times.len())
        })?;
        times.sort_unstable();
        let announced = times.get(quorum.saturating_sub(1)).copied().unwrap_or_default();
        let known = self.constitutional.drafts.get(&draft.constitution);
        let changes = known.map(|known| Changes::between(before, known));
        let Some(Ok(changes)) = changes else {
            return ensure("a quorum adopts what follows", false, || {
                format!("{log} takes up {draft:?}, which may not follow: {changes:?}")
            });
        };
        let effect = changes.effect(announced);
        ensure("notice is kept", block.header.time >= effect, || {
            format!("{log} takes up {draft:?} at {:?}, before {effect:?}", block.header.time)
        })
    }

    /// A log that adopts another draft than before does so only when so many have declined the first
    /// that it can have no quorum; so no two drafts of one epoch ever have one.
    fn invariant_one_draft_can_be_adopted(&self, block: &FinalBlock) -> Result<(), Violation> {
        let log = block.block.log;
        let Some(constitution) = self.constitutions.get(&block.block.epoch) else { return Ok(()) };
        let committee = constitution.committee();
        let needed = committee.size() - committee.quorum() + 1;
        for (_, entry) in &block.public {
            let PublicEntry::Adopted(draft) = entry else { continue };
            let of = |it: &DraftReference| it.epoch == draft.epoch && it != draft;
            let others = self.constitutional.adopted.iter().filter(|(it, _)| of(it));
            for (other, adopted) in others {
                let dead = self.constitutional.declined.get(other).map_or(0, BTreeMap::len);
                // a later adoption is asked when its own block comes
                let earlier = adopted.get(&log).is_some_and(|time| *time <= block.header.time);
                ensure("one draft can be adopted", !earlier || dead >= needed, || {
                    format!("{log} adopts {draft:?} after {other:?}, declined by {dead}")
                })?;
                let quorum = committee.quorum();
                let both = self.adopted_by(draft) >= quorum && adopted.len() >= quorum;
                ensure("one draft can be adopted", !both, || {
                    format!("{draft:?} and {other:?} both have a quorum")
                })?;
            }
        }
        Ok(())
    }

    fn adopted_by(&self, draft: &DraftReference) -> usize {
        self.constitutional.adopted.get(draft).map(BTreeMap::len).unwrap_or_default()
    }

    /// A final block keeps every rule of a block that can be told from it, from the one before, from what it
    /// recognises and from the constitutions: whoever voted for it has judged it.
    pub(super) fn invariant_final_blocks_keep_the_rules(
        &mut self,
        block: &FinalBlock,
    ) -> Result<(), Violation> {
        let BlockReference { log, height, epoch, header: id, .. } = block.block;
        let known = self.judged.get(&log).map(|(height, _)| *height).unwrap_or_default();
        // once; and not where the blocks before were certified before anybody looked
        if known.next() != Some(height) {
            return Ok(());
        }
        let (_, mut stances) = self.judged.remove(&log).unwrap_or_default();
        let header = &block.header;
        let before = self.finals.get(&(log, known));
        let tip = before.map_or_else(Tip::genesis, |(before, header)| {
            Tip::after(header, before.header, Frontier::empty())
        });
        let public: Vec<(LeafIndex, PublicEntry)> = (header.first.get()..)
            .map(LeafIndex::new)
            .zip(self.entries_of(block).iter().cloned())
            .collect();
        let entries = || public.iter().map(|(_, entry)| entry);
        let chain = self.chain();
        let judged = chain.of(epoch).map_or(Ok(()), |constitution| {
            rules::check_kinds::<Upheld>(constitution, &public)?;
            let allowed = Allowed::by::<Upheld>((constitution, &chain), &tip, header, entries())?;
            let certified = |log, height| match self.finals.get(&(log, height)) {
                Some((block, content)) => {
                    Known::Certified(CertifiedTotals { header: block.header, content })
                }
                // by a liar's machine alone, so far
                None => Known::NotBrought,
            };
            rules::check_statement::<Upheld>(constitution, &tip, header, &allowed, certified)?;
            rules::check_payments::<Upheld>(constitution, &tip, header, &public)?;
            rules::check_entries::<Upheld>(constitution, header, entries())?;
            let judge = Judge {
                constitution,
                constitutions: &chain,
                draft: |draft: &DraftReference| self.constitutional.drafts.get(&draft.constitution),
                stances: &stances,
            };
            judge.judge(header, entries())
        });
        let version = self.constitutions.get(&epoch).map(Constitution::protocol_version);
        let right = version.is_none_or(|version| version == header.version);
        ensure("final blocks keep the rules", right && judged.is_ok(), || {
            format!("{log}/{height} {id:?}, version {}: {judged:?}", header.version)
        })?;
        entries().for_each(|entry| stances.said(entry));
        self.judged.insert(log, (height, stances));
        Ok(())
    }

    /// An honest witness finds nothing wrong with the block of an honest writer.
    pub(super) fn invariant_no_honest_block_is_refused(
        &self,
        by: BrandId,
        heard: Option<&Message>,
        to: BrandId,
        said: &Message,
    ) -> Result<(), Violation> {
        let (Some(Message::Proposal(proposal)), Message::Refusal(refusal)) = (heard, said) else {
            return Ok(());
        };
        let block = proposal.proposal.body.0.block;
        let early = refusal.rule == TOO_EARLY && block.height == Height::new(1);
        let about_it = matches!(refusal.rule, 1..=99) && refusal.log == block.log;
        let excused = !about_it || EXCUSED.contains(&refusal.rule) || early;
        ensure("no honest block is refused", excused || !self.honest.contains(&to), || {
            format!("{by} refuses {block:?} by rule {}", refusal.rule)
        })
    }
}
