//! The ledger between two constitutions: drafts, what the brands' logs say of them, and where each log
//! takes one up.
//!
//! A constitution is in the chain when this node holds its file and has seen q certified adoptions of it
//! by brands of the one before, or was given it as one that names this brand for the first time. A log is
//! under it when its own chain says so. Nothing here asks an operator or reads a file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Ledger, SigningKeys};
use crate::constitution::Constitution;
use crate::crypto::{PublicKey, SigningKey};
use crate::epochs::adoption::{ProvenEntry, Stance};
use crate::epochs::{
    Adoption, CertifiedEntry, Changes, Constitutions, DraftReference, LogHead, SuccessionError,
};
use crate::ids::{BrandId, ConstitutionHash, Epoch, Height};
use crate::log::block::PublicEntry;
use crate::log::merkle::leaf_hash;
use crate::time::Timestamp;
use crate::witness::guards::{Guard, Guards};
use crate::witness::state::{FinalBlock, Outbox, Witness};
use crate::witness::statement::VotingKeys;

/// Why a brand's stance on a draft is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StanceError {
    /// A draft that this node has no file of.
    #[error("constitution {0} is not known here; give this node its file first")]
    Unknown(ConstitutionHash),
    /// The own log has said something else, or too much.
    #[error("this brand has said in its log already whether it adopts constitution {0}")]
    Stated(ConstitutionHash),
    /// The draft is not for the next epoch of the own log.
    #[error("it is a constitution of epoch {found}; the next of this brand's log is {next}")]
    NotNext {
        /// The draft's.
        found: Epoch,
        /// The log's next.
        next: Epoch,
    },
    /// A draft was adopted before that can still have a quorum.
    #[error(
        "this brand adopted constitution {draft}, which {declined} brands have declined; another one can be adopted when {needed} have"
    )]
    EarlierDraft {
        /// Which one.
        draft: ConstitutionHash,
        /// By how many it was declined.
        declined: usize,
        /// By how many it must be.
        needed: usize,
    },
}

/// How far a draft has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftProgress {
    /// Which draft.
    pub draft: DraftReference,
    /// Whether this node holds its file.
    pub is_known: bool,
    /// Brands that have adopted it.
    pub adopted: Vec<BrandId>,
    /// Brands that have declined it.
    pub declined: Vec<BrandId>,
    /// How many adoptions it needs.
    pub needed: usize,
    /// When it takes effect; none before it has them.
    pub effect: Option<Timestamp>,
    /// Brands whose logs are under it or a later one.
    pub taken_up: Vec<BrandId>,
}

/// A witness of every log that the chain names. Logs that were there before this brand begin for it
/// where they take up the constitution that it joins with.
pub(super) fn witnesses<G: Guards>(
    me: BrandId,
    constitutions: &Constitutions,
) -> BTreeMap<BrandId, Witness<G>> {
    let joined = constitutions.first_with(me).unwrap_or(constitutions.first()).epoch();
    let of = |log: BrandId| {
        let first = constitutions.first_with(log).unwrap_or(constitutions.first()).epoch();
        let gone = constitutions.last_with(log).is_some_and(|last| last.epoch() < joined);
        let witness = match first < joined {
            true => Witness::awaiting(log, joined),
            false => Witness::with_guards(log, first),
        };
        (!gone).then_some((log, witness))
    };
    constitutions.brands().into_iter().filter_map(of).collect()
}

/// The private keys that a constitution knows this brand by.
pub(super) fn keys_for<'a>(
    sets: &'a [SigningKeys],
    constitution: &Constitution,
    me: BrandId,
) -> Option<&'a SigningKeys> {
    let known = &constitution.brand(me)?.keys;
    let named = [known.log, known.vote, known.checkpoint, known.witness];
    sets.iter().find(|keys| public(keys) == named)
}

fn public(keys: &SigningKeys) -> [PublicKey; 4] {
    let SigningKeys { voting: VotingKeys { log, vote }, checkpoint, witness } = keys;
    [log, vote, checkpoint, witness].map(SigningKey::public)
}

impl<G: Guards> Ledger<G> {
    /// Takes private keys of another epoch beside those there are: new ones before a log is under the
    /// constitution that names them, old ones until every log has left the one that does. Those that are
    /// there already change nothing.
    pub fn add_keys(&mut self, keys: SigningKeys) {
        if self.signing.iter().all(|known| public(known) != public(&keys)) {
            self.signing.push(keys);
        }
    }

    /// The private keys for a block under this constitution.
    pub(super) fn keys_of(&self, constitution: &Constitution) -> Option<&SigningKeys> {
        keys_for(&self.signing, constitution, self.me)
    }

    /// The keys for what is about this node as a whole: those of the constitution that its own log is
    /// under, or was under when it left.
    pub(super) fn own_keys(&self) -> Option<&SigningKeys> {
        let own = self.witnesses.get(&self.me)?.epoch();
        let known = self.constitutions.iter().rev().filter(|known| known.epoch() <= own);
        known.filter_map(|known| self.keys_of(known)).next()
    }

    /// The constitution that a log's last certified block is under: its keys sign that tree.
    pub(super) fn constitution_of_tip(&self, log: BrandId) -> Option<&Constitution> {
        let witness = self.witnesses.get(&log)?;
        let certified = witness.certificate().map(|certificate| certificate.block().epoch);
        self.constitutions.of(certified.unwrap_or(witness.epoch()))
    }

    /// The key that the own log's checkpoints were signed with before the present one, while both sign.
    pub(super) fn retiring_checkpoint_key(&self, now: &Constitution) -> Option<&SigningKey> {
        let before = self.constitutions.before(now.epoch())?;
        let retiring = before.brand(self.me)?.keys.checkpoint;
        let current = now.brand(self.me)?.keys.checkpoint;
        let key = &self.keys_of(before)?.checkpoint;
        (retiring != current && key.public() == retiring).then_some(key)
    }

    /// Takes the file of a constitution that may follow the newest that is adopted. Tells what changes.
    ///
    /// # Errors
    /// When it may not follow.
    pub fn offer(&mut self, draft: Constitution) -> Result<Changes, SuccessionError> {
        if let Some(known) = self.constitutions.of(draft.epoch())
            && known.hash() == draft.hash()
            && let Some(before) = self.constitutions.before(draft.epoch())
        {
            return Changes::between(before, known);
        }
        let changes = self.constitutions.changes(&draft)?;
        self.drafts.insert(draft.hash(), draft);
        self.tally();
        Ok(changes)
    }

    /// Takes the file of a constitution without asking whether it may follow: that is asked when it has
    /// a quorum. For files that a node finds when it starts, before it knows what its logs say.
    pub fn hold(&mut self, draft: Constitution) {
        let is_known = self.constitutions.iter().any(|known| known.hash() == draft.hash());
        if !is_known {
            self.drafts.insert(draft.hash(), draft);
            self.tally();
        }
    }

    /// Says in the own log whether this brand adopts a draft; gives the entries that say it.
    ///
    /// # Errors
    /// See [`StanceError`].
    pub fn state(
        &mut self,
        draft: ConstitutionHash,
        stance: Stance,
    ) -> Result<Vec<PublicEntry>, StanceError> {
        let known = self.drafts.get(&draft).or_else(|| {
            self.constitutions.iter().find(|constitution| constitution.hash() == draft)
        });
        let reference = DraftReference::to(known.ok_or(StanceError::Unknown(draft))?);
        let entries = self.stated(reference, stance)?;
        self.writer.submit_together(entries.clone());
        Ok(entries)
    }

    /// Whether [`Self::state`] could say it now, of a draft whose file may not be held yet: asked before anything of
    /// a decision is kept, so that what is refused is not said later all the same.
    ///
    /// # Errors
    /// Why not: see [`StanceError`].
    pub fn may_state(&self, draft: DraftReference, stance: Stance) -> Result<(), StanceError> {
        self.stated(draft, stance).map(drop)
    }

    /// The entries that say it.
    fn stated(
        &self,
        reference: DraftReference,
        stance: Stance,
    ) -> Result<Vec<PublicEntry>, StanceError> {
        let draft = reference.constitution;
        let own = self.witnesses.get(&self.me).ok_or(StanceError::Unknown(draft))?;
        let next = own.epoch().next().unwrap_or(own.epoch());
        if reference.epoch != next {
            return Err(StanceError::NotNext { found: reference.epoch, next });
        }
        // what waits for a block counts as said: the two could not be in one block
        let [queued, built] = self.writer.waiting_stances();
        let waits = queued.contains_key(&draft) || built.contains_key(&draft);
        if own.stances().on(&draft).is_some() || waits {
            return Err(StanceError::Stated(draft));
        }
        let mut entries = Vec::new();
        if stance == Stance::Adopted {
            let adopted = |stances: &BTreeMap<ConstitutionHash, Stance>| -> Vec<ConstitutionHash> {
                let adopted = stances.iter().filter(|(_, stance)| **stance == Stance::Adopted);
                adopted.map(|(earlier, _)| *earlier).collect()
            };
            // it has to be in a block of its own before what follows on it
            if let Some(draft) = adopted(&queued).first().copied() {
                let needed = self.refusals_needed();
                return Err(StanceError::EarlierDraft { draft, declined: 0, needed });
            }
            let earlier = own.stances().adopted().chain(adopted(&built));
            for earlier in earlier.collect::<BTreeSet<_>>() {
                let earlier = DraftReference { constitution: earlier, ..reference };
                entries.extend(self.refusals(earlier)?);
            }
        }
        entries.push(match stance {
            Stance::Adopted => PublicEntry::Adopted(reference),
            Stance::Declined => PublicEntry::Declined(reference),
        });
        Ok(entries)
    }

    /// How many refusals leave a draft without a quorum for ever.
    fn refusals_needed(&self) -> usize {
        let committee = self.constitution().committee();
        committee.size().saturating_sub(committee.quorum()).saturating_add(1)
    }

    /// Certified refusals that leave a draft without a quorum for ever.
    fn refusals(&self, draft: DraftReference) -> Result<Vec<PublicEntry>, StanceError> {
        let needed = self.refusals_needed();
        let shown: Vec<PublicEntry> = self
            .certified_stances(draft, Stance::Declined)
            .take(needed)
            .map(|(.., entry)| PublicEntry::Ballot(Box::new(entry.clone())))
            .collect();
        if !G::allow(Guard::EarlierDraftDead, shown.len() >= needed) {
            let (draft, declined) = (draft.constitution, shown.len());
            return Err(StanceError::EarlierDraft { draft, declined, needed });
        }
        Ok(shown)
    }

    fn certified_stances(
        &self,
        draft: DraftReference,
        stance: Stance,
    ) -> impl Iterator<Item = (BrandId, Timestamp, &CertifiedEntry)> {
        self.witnesses.iter().filter_map(move |(log, witness)| {
            let (time, entry) = witness.stances().shown(draft, stance)?;
            Some((*log, time, entry))
        })
    }

    /// How the constitution of an epoch was adopted, as far as this node has seen it.
    #[must_use]
    pub fn adoption(&self, epoch: Epoch) -> Option<&Adoption> {
        self.adoptions.get(&epoch)
    }

    /// A draft, or a constitution of the chain, by its hash.
    #[must_use]
    pub fn draft(&self, hash: &ConstitutionHash) -> Option<&Constitution> {
        let mut chain = self.constitutions.iter();
        self.drafts.get(hash).or_else(|| chain.find(|known| known.hash() == *hash))
    }

    /// Every constitution after the first, drafts among them, and how far each has come.
    #[must_use]
    pub fn progress(&self) -> Vec<DraftProgress> {
        let mut found: BTreeMap<DraftReference, DraftProgress> = BTreeMap::new();
        let known = self.constitutions.iter().skip(1).chain(self.drafts.values());
        for draft in known.map(DraftReference::to) {
            found.insert(draft, self.progress_of(draft));
        }
        for witness in self.witnesses.values() {
            for epoch in self.constitutions.iter().filter_map(|known| known.epoch().next()) {
                for (draft, _) in witness.stances().of_epoch(epoch) {
                    found.entry(draft).or_insert_with(|| self.progress_of(draft));
                }
            }
        }
        found.into_values().collect()
    }

    fn progress_of(&self, draft: DraftReference) -> DraftProgress {
        let logs = |stance| self.certified_stances(draft, stance).map(|(log, ..)| log).collect();
        let is_chain =
            self.constitutions.of(draft.epoch).is_some_and(|it| it.hash() == draft.constitution);
        let taken_up =
            self.witnesses.iter().filter(|(_, it)| is_chain && it.epoch() >= draft.epoch);
        let before = self.constitutions.before(draft.epoch);
        let adoption = self.adoptions.get(&draft.epoch);
        DraftProgress {
            draft,
            is_known: self.draft(&draft.constitution).is_some(),
            adopted: logs(Stance::Adopted),
            declined: logs(Stance::Declined),
            needed: before.map_or(0, |before| before.committee().quorum()),
            effect: adoption.filter(|it| it.draft() == draft).map(Adoption::effect),
            taken_up: taken_up.map(|(log, _)| *log).collect(),
        }
    }

    /// Looks at what has become final.
    pub(super) fn take_note(&mut self, finals: &[FinalBlock]) {
        let mut entries = finals.iter().flat_map(|block| &block.public);
        if entries.any(|(_, entry)| ProvenEntry::is_shown(entry)) {
            self.tally();
        }
    }

    /// Counts adoptions: of constitutions in the chain, so that the own log can show them, and of drafts,
    /// the first of which to have a quorum is the next of the chain.
    pub(super) fn tally(&mut self) {
        for epoch in 2.. {
            let epoch = Epoch::new(epoch);
            let Some(before) = self.constitutions.before(epoch) else { break };
            if self.adoptions.contains_key(&epoch) {
                continue;
            }
            let adopted = match self.constitutions.of(epoch) {
                Some(known) => self.count(before, known),
                None => self.drafts.values().find_map(|draft| self.count(before, draft)),
            };
            let Some(adoption) = adopted else { continue };
            if self.constitutions.of(epoch).is_none() {
                let draft = self.drafts.get(&adoption.draft().constitution).cloned();
                // what may not follow is not among the drafts
                let Some(Ok(())) = draft.map(|draft| self.constitutions.follow(draft)) else {
                    break;
                };
                self.drafts.retain(|_, draft| draft.epoch() > epoch);
            }
            self.adoptions.insert(epoch, adoption);
            for (log, witness) in witnesses(self.me, &self.constitutions) {
                self.witnesses.entry(log).or_insert(witness);
            }
        }
    }

    fn count(&self, before: &Constitution, draft: &Constitution) -> Option<Adoption> {
        let changes = Changes::between(before, draft).ok()?;
        let reference = DraftReference::to(draft);
        let ballots = self
            .certified_stances(reference, Stance::Adopted)
            .map(|(log, time, entry)| (log, time, entry.clone()));
        Adoption::of::<G>(reference, &changes, before.committee(), ballots)
    }

    /// For a brand that joined after this log began: where the log took up the constitution that it
    /// joined with.
    pub(super) fn head_for(
        &self,
        to: BrandId,
        from: Height,
        context: &Context<'_>,
    ) -> Option<LogHead> {
        let own = self.witnesses.get(&self.me)?;
        let joined = self.constitutions.first_with(to)?.epoch();
        let (height, entry) = own.stances().switched(joined)?;
        if from > height {
            return None;
        }
        let (block, _) = context.archive.block(height)?;
        let mut frontier = block.before().clone();
        block.leaves().try_for_each(|leaf| frontier.append(leaf_hash(leaf)).map(|_| ())).ok()?;
        Some(LogHead { entry: entry.clone(), frontier })
    }

    /// A log tells where it begins for this brand.
    pub(super) fn on_head(&mut self, from: BrandId, head: LogHead, out: &mut Outbox) {
        let Some(witness) = self.witnesses.get_mut(&from) else { return };
        if let Some(before) = self.constitutions.before(witness.epoch()) {
            witness.headed(before, head, out);
        }
    }
}
