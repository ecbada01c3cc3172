//! A writer that tries to replace a block which may be final already.
//!
//! Beside its honest node it builds another block for the same height, opens rounds of its own, and
//! proposes that block whatever locks the promises tell of (rule 5 is what stops it). The certificates
//! of its honest node it mostly keeps to itself. Its fellows' keys sign what its rounds need.

use std::collections::BTreeMap;

use protocol::constitution::Constitution;
use protocol::crypto::sealed::BlockSecret;
use protocol::crypto::{Signature, Signed};
use protocol::ids::{BlockNonce, BrandId, Incarnation, Round, RoundNonce};
use protocol::ledger::Ledger;
use protocol::time::Timestamp;
use protocol::witness::build::{OwnBlock, Plan};
use protocol::witness::guards::Guards;
use protocol::witness::message::{Message, PromiseMessage, ProposalMessage};
use protocol::witness::start::Presented;
use protocol::witness::statement::{
    Commit, Open, Pledge, Promise, Proposal, UnverifiedCertificate, UnverifiedLock, VotingKeys,
};
use protocol::witness::writer::Entropy as _;

use super::{Conspiracy, commits, empty_promises, endorsements, votes};
use crate::prng::Prng;

/// What the dishonest part of the node knows.
pub struct Lockbreaker {
    me: BrandId,
    constitution: Constitution,
    keys: VotingKeys,
    fellows: Conspiracy,
    prng: Prng,
    other: Option<OwnBlock>,
    highest: Round,
    incarnation: Incarnation,
    attempt: Option<Attempt>,
}

struct Attempt {
    open: Open,
    promises: BTreeMap<BrandId, PromiseMessage>,
    proposed: Option<(Pledge, Signature)>,
    votes: BTreeMap<BrandId, Signature>,
    commits: BTreeMap<BrandId, Signature>,
}

impl Lockbreaker {
    /// The dishonest part of this brand's node.
    #[must_use]
    pub const fn new(
        me: BrandId,
        constitution: Constitution,
        keys: VotingKeys,
        fellows: Conspiracy,
        prng: Prng,
    ) -> Self {
        let (highest, incarnation) = (Round::new(0), Incarnation::new(0));
        let (other, attempt) = (None, None);
        Self { me, constitution, keys, fellows, prng, other, highest, incarnation, attempt }
    }

    /// The honest part has built a block: builds another for the same height.
    pub fn rival<G: Guards>(&mut self, ledger: &Ledger<G>, now: Timestamp) -> Option<&OwnBlock> {
        let (mut secret, mut nonce) = ([0; 32], [0; 16]);
        self.prng.fill(&mut secret);
        self.prng.fill(&mut nonce);
        let plan = Plan {
            public: Vec::new(),
            sealed: BTreeMap::new(),
            recognised: BTreeMap::new(),
            discharged: BTreeMap::new(),
            sealing: ledger.sealing_keys().current(),
            time: now,
            secret: BlockSecret::from_bytes(secret),
            nonce: BlockNonce::from_bytes(nonce),
        };
        self.incarnation = ledger.incarnation();
        self.constitution = ledger.constitution().clone();
        let tip = ledger.witness(self.me)?.tip();
        let contents = ledger.writer().contents();
        self.other = OwnBlock::build(&self.constitution, self.me, tip, contents, plan).ok();
        self.highest = Round::new(0);
        self.attempt = None;
        self.other.as_ref()
    }

    /// At times opens a round.
    pub fn tick(&mut self) -> Vec<(BrandId, Message)> {
        let Some(block) = &self.other else { return Vec::new() };
        if self.prng.below(4) != 0 {
            return Vec::new();
        }
        self.highest = self.highest.next().unwrap_or_default();
        let mut nonce = [0; 16];
        self.prng.fill(&mut nonce);
        let open = Open {
            log: self.me,
            epoch: self.constitution.epoch(),
            height: block.reference().height,
            round: self.highest,
            nonce: RoundNonce::from_bytes(nonce),
            incarnation: self.incarnation,
        };
        let mut promises = empty_promises(&self.fellows, &self.constitution, open);
        promises.insert(self.me, self.own_promise(open));
        self.attempt = Some(Attempt {
            open,
            promises,
            proposed: None,
            votes: BTreeMap::new(),
            commits: BTreeMap::new(),
        });
        let message = Message::Open(Signed::sign(self.me, open, &self.keys.log));
        self.to_all(&message)
    }

    /// At times tells of a lock of its block that nobody voted for.
    fn own_promise(&mut self, open: Open) -> PromiseMessage {
        let forged = self.prng.below(3) == 0;
        let before = Round::new(open.round.get().saturating_sub(1));
        let block = self.other.as_ref().map(OwnBlock::reference).filter(|_| forged);
        let lock = block.map(|block| {
            let pledge = Pledge { block, round: before };
            let proposal = Signed::sign(self.me, Proposal(pledge), &self.keys.log).signature;
            UnverifiedLock { pledge, proposal, votes: Vec::new() }
        });
        let told = lock.as_ref().map(|lock| lock.pledge);
        let promise = Signed::sign(self.me, Promise { open, lock: told }, &self.keys.vote);
        PromiseMessage { promise, lock }
    }

    /// Leads its own rounds as a writer does, except that it never looks at a lock.
    pub fn hear(&mut self, from: BrandId, message: &Message) -> Vec<(BrandId, Message)> {
        if let Message::Refusal(refusal) = message {
            self.highest = self.highest.max(refusal.joined);
        }
        let quorum = self.constitution.committee().quorum();
        let Some(attempt) = &mut self.attempt else { return Vec::new() };
        match (message, attempt.proposed) {
            (Message::Promise(message), None) if message.promise.body.open == attempt.open => {
                attempt.promises.insert(from, (**message).clone());
                if attempt.promises.len() >= quorum { self.propose() } else { Vec::new() }
            }
            (Message::Vote(vote), Some((pledge, proposal))) if vote.body.0 == pledge => {
                attempt.votes.insert(from, vote.signature);
                if attempt.votes.len() + 1 < quorum {
                    return Vec::new();
                }
                let votes = endorsements(&attempt.votes);
                let commit = Signed::sign(self.me, Commit(pledge), &self.keys.vote);
                attempt.commits = commits(&self.fellows, &self.constitution, pledge);
                attempt.commits.insert(self.me, commit.signature);
                self.to_all(&Message::Lock(UnverifiedLock { pledge, proposal, votes }))
            }
            (Message::Commit(commit), Some((pledge, proposal))) if commit.body.0 == pledge => {
                attempt.commits.insert(from, commit.signature);
                if attempt.commits.len() < quorum {
                    return Vec::new();
                }
                let commits = endorsements(&attempt.commits);
                self.to_all(&Message::Certified(UnverifiedCertificate {
                    pledge,
                    proposal,
                    commits,
                }))
            }
            _ => Vec::new(),
        }
    }

    /// Whether a message of the honest part is let out.
    pub fn lets_out(&mut self, message: &Message) -> bool {
        !matches!(message, Message::Certified(_)) || self.prng.below(3) == 0
    }

    fn propose(&mut self) -> Vec<(BrandId, Message)> {
        let (Some(attempt), Some(block)) = (&mut self.attempt, &self.other) else {
            return Vec::new();
        };
        let pledge = Pledge { block: block.reference(), round: attempt.open.round };
        let proposal = Signed::sign(self.me, Proposal(pledge), &self.keys.log);
        attempt.proposed = Some((pledge, proposal.signature));
        attempt.votes = votes(&self.fellows, &self.constitution, pledge);
        let incarnation = self.incarnation;
        let presented = Signed::sign(self.me, Presented { pledge, incarnation }, &self.keys.log);
        let Ok(deliveries) = block.deliveries(&self.constitution) else { return Vec::new() };
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses
            .filter_map(|to| {
                let message = ProposalMessage {
                    proposal: proposal.clone(),
                    previous: None,
                    promises: attempt.promises.values().cloned().collect(),
                    delivery: deliveries.to(to, true).ok()?,
                    incarnation,
                    presentation: presented.signature,
                };
                Some((to, Message::Proposal(Box::new(message))))
            })
            .collect()
    }

    fn to_all(&self, message: &Message) -> Vec<(BrandId, Message)> {
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses.map(|to| (to, message.clone())).collect()
    }
}
