//! A writer whose blocks are often false, and who withholds what others wait for.
//!
//! It writes its brand's log in its node's stead; the node is still an honest witness of the others.
//! What is false about its blocks is [`super::forgery`]'s. It proposes, collects votes and commits by the
//! rules, its fellows' among them, shows its certificates to some and answers some who catch up.

use std::collections::BTreeMap;

use protocol::constitution::Constitution;
use protocol::crypto::{Signature, Signed};
use protocol::epochs::adoption;
use protocol::ids::{BrandId, HeaderHash, Height, Incarnation, Round, RoundNonce};
use protocol::ledger::{Ledger, LedgerKeys};
use protocol::log::block::{BlockReference, ColumnContent, PublicEntry};
use protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::log::merkle::leaf_hash;
use protocol::log::note::KeyName;
use protocol::log::resolution::DisputeResolved;
use protocol::time::Timestamp;
use protocol::witness::build::{OwnBlock, SentPayload};
use protocol::witness::guards::Guards;
use protocol::witness::message::{CertifiedBlock, Message, PromiseMessage, ProposalMessage};
use protocol::witness::rules::Tip;
use protocol::witness::start::Presented;
use protocol::witness::statement::{
    Commit, Open, Pledge, Promise, Proposal, UnverifiedCertificate, UnverifiedLock,
};
use protocol::witness::writer::Entropy as _;

use super::forgery::{Counterfeit, Lie};
use super::{Conspiracy, commits, empty_promises, endorsements, votes};
use crate::prng::Prng;

struct Attempt {
    open: Option<Open>,
    round: Round,
    promises: BTreeMap<BrandId, PromiseMessage>,
    proposed: Option<(Pledge, Signature)>,
    votes: BTreeMap<BrandId, Signature>,
    commits: BTreeMap<BrandId, Signature>,
}

impl Attempt {
    const fn new(round: Round) -> Self {
        Self {
            open: None,
            round,
            promises: BTreeMap::new(),
            proposed: None,
            votes: BTreeMap::new(),
            commits: BTreeMap::new(),
        }
    }
}

/// The writer.
pub struct Counterfeiter {
    pub(super) me: BrandId,
    // signs checkpoints of what may never be final, which is evidence and stops its log soon
    is_rash: bool,
    // what is false about every other block of it, if about one
    favourite: Option<Lie>,
    // that its log is under
    pub(super) constitution: Constitution,
    keys: LedgerKeys,
    fellows: Conspiracy,
    pub(super) prng: Prng,
    pub(super) tip: Tip,
    pub(super) contents: BTreeMap<BrandId, ColumnContent>,
    // who was told something false in the last block
    pub(super) deceived: Option<(BrandId, ColumnContent)>,
    // from which height on a brand takes nothing of this log any more
    pub(super) disputes: BTreeMap<BrandId, Height>,
    // terms that were agreed to in this log
    pub(super) agreed: Vec<DisputeResolved>,
    // of the open height
    blocks: BTreeMap<HeaderHash, Counterfeit>,
    attempt: Option<Attempt>,
    pub(super) finals: Vec<(OwnBlock, UnverifiedCertificate, Constitution)>,
    // what the observer has not been told of yet
    pub(super) built: Vec<(HeaderHash, Vec<SentPayload>, Vec<ColumnContent>)>,
    pub(super) requests: u64,
    // its node's
    incarnation: Incarnation,
}

impl Counterfeiter {
    /// The false writer of a brand's log.
    #[must_use]
    pub fn new(
        me: BrandId,
        constitution: Constitution,
        keys: LedgerKeys,
        fellows: Conspiracy,
        mut prng: Prng,
    ) -> Self {
        let is_rash = prng.below(2) == 0;
        Self {
            is_rash,
            favourite: None,
            me,
            constitution,
            keys,
            fellows,
            prng,
            tip: Tip::genesis(),
            contents: BTreeMap::new(),
            deceived: None,
            disputes: BTreeMap::new(),
            agreed: Vec::new(),
            blocks: BTreeMap::new(),
            attempt: None,
            finals: Vec::new(),
            built: Vec::new(),
            requests: 0,
            incarnation: Incarnation::new(0),
        }
    }

    /// The same with something that is false about every other block of it.
    #[must_use]
    pub fn with_favourite(mut self, lie: Option<Lie>) -> Self {
        self.favourite = lie;
        self.is_rash &= lie.is_none();
        self
    }

    /// Whether a message of the node is let out: nothing about its own log is.
    #[must_use]
    pub fn lets_out(&self, message: &Message) -> bool {
        match message {
            Message::Open(_) | Message::Proposal(_) | Message::Lock(_) | Message::Blocks(_) => {
                false
            }
            Message::Certified(certificate) => certificate.pledge.block.log != self.me,
            _ => true,
        }
    }

    /// Blocks built since it was asked last, with their payloads and exact totals.
    pub fn take_built(&mut self) -> Vec<(HeaderHash, Vec<SentPayload>, Vec<ColumnContent>)> {
        std::mem::take(&mut self.built)
    }

    /// At times begins a block, opens a round, says again what was not answered, or asks for
    /// cosignatures of a tree that is not certified.
    pub fn tick<G: Guards>(
        &mut self,
        ledger: &Ledger<G>,
        now: Timestamp,
    ) -> Vec<(BrandId, Message)> {
        self.incarnation = ledger.incarnation();
        match (&self.attempt, self.prng.below(6)) {
            (None, _) => {
                self.attempt = Some(Attempt::new(Round::new(0)));
                self.propose_new(ledger, now)
            }
            (Some(_), 0) => self.open_round(),
            (Some(_), 1) if self.is_rash => self.checkpoint(),
            (Some(attempt), 2) if attempt.proposed.is_none() && attempt.open.is_some() => {
                self.choose(ledger, now)
            }
            (Some(_), 3) => self.send_proposals(),
            _ => Vec::new(),
        }
    }

    /// Leads its rounds as a writer does.
    pub fn hear<G: Guards>(
        &mut self,
        from: BrandId,
        message: &Message,
        ledger: &Ledger<G>,
        now: Timestamp,
    ) -> Vec<(BrandId, Message)> {
        if let Message::CatchUp(request) = message
            && request.log == self.me
        {
            return self.answer(from, request.from.get());
        }
        let quorum = self.constitution.committee().quorum();
        let Some(attempt) = &mut self.attempt else { return Vec::new() };
        match (message, attempt.proposed) {
            (Message::Promise(message), None)
                if Some(message.promise.body.open) == attempt.open =>
            {
                attempt.promises.insert(from, (**message).clone());
                if attempt.promises.len() < quorum {
                    return Vec::new();
                }
                self.choose(ledger, now)
            }
            (Message::Vote(vote), Some((pledge, proposal))) if vote.body.0 == pledge => {
                attempt.votes.insert(from, vote.signature);
                let commit = Signed::sign(self.me, Commit(pledge), &self.keys.voting.vote);
                attempt.commits = commits(&self.fellows, &self.constitution, pledge);
                attempt.commits.insert(self.me, commit.signature);
                if attempt.votes.len() + 1 < quorum {
                    if self.favourite != Some(Lie::Commits) {
                        return Vec::new();
                    }
                    // final, it says, to who has voted; and to others something else
                    let commits = endorsements(&attempt.commits);
                    let certificate = UnverifiedCertificate { pledge, proposal, commits };
                    return vec![(from, Message::Certified(certificate))];
                }
                let votes = endorsements(&attempt.votes);
                self.to_all(&Message::Lock(UnverifiedLock { pledge, proposal, votes }))
            }
            (Message::Commit(commit), Some((pledge, proposal))) if commit.body.0 == pledge => {
                attempt.commits.insert(from, commit.signature);
                if attempt.commits.len() < quorum {
                    return Vec::new();
                }
                let commits = endorsements(&attempt.commits);
                self.finish(&UnverifiedCertificate { pledge, proposal, commits }, ledger)
            }
            _ => Vec::new(),
        }
    }

    fn finish<G: Guards>(
        &mut self,
        certificate: &UnverifiedCertificate,
        ledger: &Ledger<G>,
    ) -> Vec<(BrandId, Message)> {
        let id = certificate.pledge.block.header;
        let Some(Counterfeit { block, header, deceived }) = self.blocks.remove(&id) else {
            return Vec::new();
        };
        let mut frontier = block.before().clone();
        for leaf in block.leaves() {
            if frontier.append(leaf_hash(leaf)).is_err() {
                return Vec::new();
            }
        }
        self.tip = Tip::after(&header, id, frontier);
        let witnesses = self.constitution.committee().witnesses(self.me);
        self.contents = witnesses.zip(block.contents().iter().copied()).collect();
        self.deceived = deceived;
        if let Some((deceived, _)) = deceived {
            self.disputes.entry(deceived).or_insert(header.height);
        }
        for entry in block.public() {
            match entry {
                PublicEntry::DisputeResolved(it) if it.accuser == self.me => self.agreed.push(*it),
                _ => {}
            }
        }
        self.blocks.clear();
        self.attempt = None;
        // some are not told
        let mut messages = self.to_all(&Message::Certified(certificate.clone()));
        let switched = adoption::switch(&block.submissions().0);
        self.finals.push((block, certificate.clone(), self.constitution.clone()));
        if let Some(next) = switched.and_then(|draft| ledger.draft(&draft.constitution)) {
            self.constitution = next.clone();
        }
        messages.retain(|_| self.prng.below(2) == 0);
        messages
    }

    fn answer(&mut self, to: BrandId, from: u64) -> Vec<(BrandId, Message)> {
        if self.prng.below(2) == 0 {
            return Vec::new();
        }
        let skipped = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let kept = self.finals.iter().skip(skipped).take(4);
        let blocks = kept.filter_map(|(block, certificate, constitution)| {
            let delivery = block.deliveries(constitution).ok()?.to(to, false).ok()?;
            Some(CertifiedBlock { certificate: certificate.clone(), delivery })
        });
        let blocks: Vec<CertifiedBlock> = blocks.collect();
        if blocks.is_empty() { Vec::new() } else { vec![(to, Message::Blocks(blocks))] }
    }

    fn open_round(&mut self) -> Vec<(BrandId, Message)> {
        let Some(attempt) = &mut self.attempt else { return Vec::new() };
        let (Some(round), Some(height)) = (attempt.round.next(), self.tip.height.next()) else {
            return Vec::new();
        };
        let mut nonce = [0; 16];
        self.prng.fill(&mut nonce);
        let open = Open {
            log: self.me,
            epoch: self.constitution.epoch(),
            height,
            round,
            nonce: RoundNonce::from_bytes(nonce),
            incarnation: self.incarnation,
        };
        let promise = Signed::sign(self.me, Promise { open, lock: None }, &self.keys.voting.vote);
        *attempt = Attempt::new(round);
        attempt.open = Some(open);
        attempt.promises = empty_promises(&self.fellows, &self.constitution, open);
        attempt.promises.insert(self.me, PromiseMessage { promise, lock: None });
        let message = Message::Open(Signed::sign(self.me, open, &self.keys.voting.log));
        self.to_all(&message)
    }

    /// Rule 5 is kept: what is false here are blocks.
    fn choose<G: Guards>(&mut self, ledger: &Ledger<G>, now: Timestamp) -> Vec<(BrandId, Message)> {
        let Some(attempt) = &self.attempt else { return Vec::new() };
        if attempt.promises.len() < self.constitution.committee().quorum() {
            return Vec::new();
        }
        let locks = attempt.promises.values().filter_map(|message| message.promise.body.lock);
        match locks.max_by_key(|lock| lock.round) {
            Some(lock) => self.propose(lock.block),
            None => self.propose_new(ledger, now),
        }
    }

    fn propose_new<G: Guards>(
        &mut self,
        ledger: &Ledger<G>,
        now: Timestamp,
    ) -> Vec<(BrandId, Message)> {
        // who has deceived somebody is good for a while: or no offer would stand long enough
        let chances = if self.disputes.is_empty() { 2 } else { 6 };
        let pick = self.prng.below(chances * Lie::ALL.len());
        let any = Lie::ALL.get(pick).copied();
        let lie = match self.favourite {
            Some(Lie::Commits) => None,
            Some(favourite) => (self.prng.below(2) == 0).then_some(favourite),
            None => any,
        };
        let Some(counterfeit) = self.build(ledger, now, lie) else {
            return Vec::new();
        };
        let reference = counterfeit.block.reference();
        self.blocks.insert(reference.header, counterfeit);
        self.propose(reference)
    }

    fn propose(&mut self, block: BlockReference) -> Vec<(BrandId, Message)> {
        let Some(attempt) = &mut self.attempt else { return Vec::new() };
        let pledge = Pledge { block, round: attempt.round };
        let proposal = Signed::sign(self.me, Proposal(pledge), &self.keys.voting.log);
        attempt.proposed = Some((pledge, proposal.signature));
        attempt.votes = votes(&self.fellows, &self.constitution, pledge);
        self.send_proposals()
    }

    fn send_proposals(&self) -> Vec<(BrandId, Message)> {
        let Some(attempt) = &self.attempt else { return Vec::new() };
        let Some((pledge, signature)) = attempt.proposed else { return Vec::new() };
        let Some(Counterfeit { block, .. }) = self.blocks.get(&pledge.block.header) else {
            return Vec::new();
        };
        let Ok(deliveries) = block.deliveries(&self.constitution) else { return Vec::new() };
        let incarnation = self.incarnation;
        let presented =
            Signed::sign(self.me, Presented { pledge, incarnation }, &self.keys.voting.log);
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses
            .filter_map(|to| {
                let message = ProposalMessage {
                    proposal: Signed { signer: self.me, body: Proposal(pledge), signature },
                    previous: self.finals.last().map(|(_, certificate, _)| certificate.clone()),
                    promises: attempt.promises.values().cloned().collect(),
                    delivery: deliveries.to(to, true).ok()?,
                    incarnation,
                    presentation: presented.signature,
                };
                Some((to, Message::Proposal(Box::new(message))))
            })
            .collect()
    }

    /// Asks for cosignatures of the tree with a block that may never be final.
    fn checkpoint(&self) -> Vec<(BrandId, Message)> {
        let Some((pledge, _)) = self.attempt.as_ref().and_then(|attempt| attempt.proposed) else {
            return Vec::new();
        };
        let Ok(origin) = KeyName::new(&self.constitution.origin(self.me)) else {
            return Vec::new();
        };
        let checkpoint = Checkpoint::new(&origin, pledge.block.size, pledge.block.root);
        let Ok(signed) = SignedCheckpoint::sign(checkpoint, &self.keys.checkpoint) else {
            return Vec::new();
        };
        self.to_all(&Message::Checkpoint(signed.to_string().into_bytes()))
    }

    fn to_all(&self, message: &Message) -> Vec<(BrandId, Message)> {
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses.map(|to| (to, message.clone())).collect()
    }
}
