//! A writer that keeps several blocks of one height in the air, and chooses who hears of what.
//!
//! It leads its log in its node's stead. Its rounds have as few brands in them as make a quorum, its locks
//! and certificates are shown to some; of the locks it is told of it proposes now the highest, now
//! another, and orders the promises that it shows so that a careless reader takes that one. At times it opens one
//! round twice. Where every promise, lock and choice is checked nothing comes of it but delay.

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
pub struct Juggler {
    me: BrandId,
    constitution: Constitution,
    keys: VotingKeys,
    fellows: Conspiracy,
    prng: Prng,
    // of the open height: its node's, and others beside it
    blocks: Vec<OwnBlock>,
    locks: Vec<UnverifiedLock>,
    highest: Round,
    incarnation: Incarnation,
    stage: Stage,
    attempt: Option<Attempt>,
}

/// How far it has come with two blocks of a height, of which each is to be certified for somebody.
#[derive(Clone, Copy)]
enum Stage {
    /// A lock of the first is to be with one witness alone.
    First,
    /// The other is to be certified without that witness.
    Other(BrandId),
    /// The first again, with that witness and without the one who knows the other to be final.
    Again(BrandId),
    /// Whatever comes.
    Any,
}

struct Attempt {
    // none in round 0
    open: Option<Open>,
    // the same round opened once more for others; what they promise is shown as well
    again: Option<Open>,
    promises: BTreeMap<BrandId, PromiseMessage>,
    proposed: Option<(Pledge, Signature)>,
    votes: BTreeMap<BrandId, Signature>,
    is_locked: bool,
    commits: BTreeMap<BrandId, Signature>,
}

impl Attempt {
    const fn new(open: Option<Open>) -> Self {
        Self {
            open,
            again: None,
            promises: BTreeMap::new(),
            proposed: None,
            votes: BTreeMap::new(),
            is_locked: false,
            commits: BTreeMap::new(),
        }
    }
}

impl Juggler {
    /// The dishonest part of this brand's node.
    #[must_use]
    pub const fn new(
        me: BrandId,
        constitution: Constitution,
        keys: VotingKeys,
        fellows: Conspiracy,
        prng: Prng,
    ) -> Self {
        Self {
            me,
            constitution,
            keys,
            fellows,
            prng,
            blocks: Vec::new(),
            locks: Vec::new(),
            highest: Round::new(0),
            incarnation: Incarnation::new(0),
            stage: Stage::Any,
            attempt: None,
        }
    }

    /// Whether a message of the node is let out: it does not lead its own log.
    #[must_use]
    pub fn lets_out(&self, message: &Message) -> bool {
        match message {
            Message::Open(_) | Message::Proposal(_) | Message::Lock(_) => false,
            Message::Certified(certificate) => certificate.pledge.block.log != self.me,
            _ => true,
        }
    }

    /// Its node has built a block: builds another for the same height. Gives all there are.
    pub fn rivals<G: Guards>(
        &mut self,
        built: &OwnBlock,
        ledger: &Ledger<G>,
        now: Timestamp,
    ) -> &[OwnBlock] {
        self.incarnation = ledger.incarnation();
        self.constitution = ledger.constitution().clone();
        let height = built.reference().height;
        if self.blocks.iter().any(|block| block.reference().height != height) {
            self.blocks.clear();
            self.locks.clear();
            self.attempt = None;
            self.highest = Round::new(0);
        }
        if self.blocks.is_empty() {
            self.stage = if self.prng.below(3) > 0 { Stage::First } else { Stage::Any };
        }
        self.blocks.push(built.clone());
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
        if let Some(own) = ledger.witness(self.me) {
            let contents = ledger.writer().contents();
            let other = OwnBlock::build(&self.constitution, self.me, own.tip(), contents, plan);
            self.blocks.extend(other.ok());
        }
        &self.blocks
    }

    /// Begins, or at times opens the next round.
    pub fn tick(&mut self) -> Vec<(BrandId, Message)> {
        match &self.attempt {
            _ if self.blocks.is_empty() => Vec::new(),
            None if self.highest == Round::new(0) && self.prng.below(2) == 0 => {
                self.attempt = Some(Attempt::new(None));
                let pick = self.prng.below(self.blocks.len());
                self.propose(pick)
            }
            _ if self.prng.below(3) == 0 => self.open_round(),
            _ => Vec::new(),
        }
    }

    /// Leads its rounds.
    pub fn hear(&mut self, from: BrandId, message: &Message) -> Vec<(BrandId, Message)> {
        if let Message::Refusal(refusal) = message
            && refusal.log == self.me
        {
            self.highest = self.highest.max(refusal.joined);
            let impatient = !self.blocks.is_empty() && self.prng.below(4) == 0;
            return if impatient { self.open_round() } else { Vec::new() };
        }
        let quorum = self.constitution.committee().quorum();
        let Some(attempt) = &mut self.attempt else { return Vec::new() };
        match (message, attempt.proposed) {
            (Message::Promise(message), None)
                if [attempt.open, attempt.again].contains(&Some(message.promise.body.open)) =>
            {
                attempt.promises.insert(from, (**message).clone());
                let enough = attempt.promises.len() >= quorum;
                if enough { self.choose() } else { Vec::new() }
            }
            (Message::Vote(vote), Some((pledge, proposal)))
                if vote.body.0 == pledge && !attempt.is_locked =>
            {
                attempt.votes.insert(from, vote.signature);
                if attempt.votes.len() + 1 < quorum {
                    return Vec::new();
                }
                attempt.is_locked = true;
                let lock = UnverifiedLock { pledge, proposal, votes: endorsements(&attempt.votes) };
                let commit = Signed::sign(self.me, Commit(pledge), &self.keys.vote);
                attempt.commits = commits(&self.fellows, &self.constitution, pledge);
                attempt.commits.insert(self.me, commit.signature);
                self.locks.push(lock.clone());
                let message = Message::Lock(lock);
                match self.stage {
                    Stage::First => {
                        let one = self.some_witness();
                        self.stage = Stage::Other(one);
                        let mut messages = vec![(one, message)];
                        messages.extend(self.open_round());
                        messages
                    }
                    Stage::Other(_) | Stage::Again(_) => self.send_all(&message),
                    Stage::Any => self.send_some(&message),
                }
            }
            (Message::Commit(commit), Some((pledge, proposal))) if commit.body.0 == pledge => {
                attempt.commits.insert(from, commit.signature);
                if attempt.commits.len() < quorum {
                    return if self.prng.below(3) == 0 { self.open_round() } else { Vec::new() };
                }
                let commits = endorsements(&attempt.commits);
                let certificate = UnverifiedCertificate { pledge, proposal, commits };
                if let Stage::Other(first) = self.stage {
                    let mut audience = attempt.promises.keys().filter(|it| **it != self.me);
                    let told = audience.next().copied().unwrap_or(first);
                    self.stage = Stage::Again(told);
                    let mut messages = vec![(told, Message::Certified(certificate))];
                    messages.extend(self.open_round());
                    return messages;
                }
                let mut messages = self.send_some(&Message::Certified(certificate.clone()));
                if self.prng.below(2) == 0 {
                    // its node goes on with the next height
                    messages.push((self.me, Message::Certified(certificate)));
                } else {
                    messages.extend(self.open_round());
                }
                messages
            }
            _ => Vec::new(),
        }
    }

    fn open_round(&mut self) -> Vec<(BrandId, Message)> {
        self.highest = self.highest.next().unwrap_or_default();
        let Some(block) = self.blocks.first() else { return Vec::new() };
        let height = block.reference().height;
        let open = self.opening(height);
        let mut promises = empty_promises(&self.fellows, &self.constitution, open);
        promises.insert(self.me, self.own_promise(open));
        self.attempt = Some(Attempt { promises, ..Attempt::new(Some(open)) });
        let mut audience: Vec<BrandId> = self.constitution.committee().witnesses(self.me).collect();
        let mut others = Vec::new();
        let least = self.constitution.committee().quorum().saturating_sub(1 + self.fellows.len());
        if let Stage::Other(one) | Stage::Again(one) = self.stage {
            audience.retain(|to| *to != one);
        }
        if self.prng.below(4) > 0 {
            while audience.len() > least.max(1) {
                others.push(audience.swap_remove(self.prng.below(audience.len())));
            }
        }
        let sign = |open| Message::Open(Signed::sign(self.me, open, &self.keys.log));
        let mut messages: Vec<(BrandId, Message)> =
            audience.into_iter().map(|to| (to, sign(open))).collect();
        if self.prng.below(4) == 0 {
            let other = self.opening(height);
            self.attempt.iter_mut().for_each(|attempt| attempt.again = Some(other));
            let sign = Message::Open(Signed::sign(self.me, other, &self.keys.log));
            messages.extend(others.into_iter().map(|to| (to, sign.clone())));
        }
        messages
    }

    /// The opening of its highest round, another one every time.
    fn opening(&mut self, height: protocol::ids::Height) -> Open {
        let mut nonce = [0; 16];
        self.prng.fill(&mut nonce);
        Open {
            log: self.me,
            epoch: self.constitution.epoch(),
            height,
            round: self.highest,
            nonce: RoundNonce::from_bytes(nonce),
            incarnation: self.incarnation,
        }
    }

    /// Tells of some lock or none.
    fn own_promise(&mut self, open: Open) -> PromiseMessage {
        let pick = self.prng.below(2 * self.locks.len().max(1));
        let lock = self.locks.get(pick).filter(|lock| lock.pledge.round < open.round).cloned();
        let told = lock.as_ref().map(|lock| lock.pledge);
        let promise = Signed::sign(self.me, Promise { open, lock: told }, &self.keys.vote);
        PromiseMessage { promise, lock }
    }

    /// A quorum has joined: proposes what the highest lock calls for, or another.
    fn choose(&mut self) -> Vec<(BrandId, Message)> {
        let Some(attempt) = &self.attempt else { return Vec::new() };
        let told = attempt.promises.values().filter_map(|message| message.promise.body.lock);
        let told: Vec<Pledge> = told.collect();
        let highest = told.iter().max_by_key(|lock| lock.round).copied();
        let other = told.get(self.prng.below(told.len().max(1))).copied();
        let lowest = told.iter().min_by_key(|lock| lock.round).copied();
        let lock = match self.stage {
            Stage::Again(_) => lowest,
            _ if self.prng.below(2) == 0 => highest,
            _ => other,
        };
        let place = match lock {
            Some(lock) => self.blocks.iter().position(|block| block.reference() == lock.block),
            None => {
                // another than the one that a witness holds a lock of
                let held = self.locks.first().map(|lock| lock.pledge.block);
                let other = self.blocks.iter().position(|block| Some(block.reference()) != held);
                let any = self.prng.below(self.blocks.len());
                if matches!(self.stage, Stage::Other(_)) { other } else { Some(any) }
            }
        };
        place.map_or_else(Vec::new, |place| self.propose(place))
    }

    fn propose(&mut self, place: usize) -> Vec<(BrandId, Message)> {
        let (Some(attempt), Some(block)) = (&mut self.attempt, self.blocks.get(place)) else {
            return Vec::new();
        };
        let round = attempt.open.map_or(Round::new(0), |open| open.round);
        let pledge = Pledge { block: block.reference(), round };
        let proposal = Signed::sign(self.me, Proposal(pledge), &self.keys.log);
        attempt.proposed = Some((pledge, proposal.signature));
        attempt.votes = votes(&self.fellows, &self.constitution, pledge);
        // who tells of what is proposed comes last
        let (mut promises, last): (Vec<_>, Vec<_>) = attempt
            .promises
            .values()
            .cloned()
            .partition(|it| it.promise.body.lock.is_none_or(|lock| lock.block != pledge.block));
        promises.extend(last);
        let incarnation = self.incarnation;
        let presented = Signed::sign(self.me, Presented { pledge, incarnation }, &self.keys.log);
        let Ok(deliveries) = block.deliveries(&self.constitution) else { return Vec::new() };
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses
            .filter_map(|to| {
                let message = ProposalMessage {
                    proposal: proposal.clone(),
                    previous: None,
                    promises: promises.clone(),
                    delivery: deliveries.to(to, true).ok()?,
                    incarnation,
                    presentation: presented.signature,
                };
                Some((to, Message::Proposal(Box::new(message))))
            })
            .collect()
    }

    fn some_witness(&mut self) -> BrandId {
        let witnesses: Vec<BrandId> = self.constitution.committee().witnesses(self.me).collect();
        let pick = self.prng.below(witnesses.len());
        witnesses.get(pick).copied().unwrap_or(self.me)
    }

    fn send_all(&self, message: &Message) -> Vec<(BrandId, Message)> {
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses.map(|to| (to, message.clone())).collect()
    }

    /// To one witness, and to some of the others.
    fn send_some(&mut self, message: &Message) -> Vec<(BrandId, Message)> {
        let witnesses: Vec<BrandId> = self.constitution.committee().witnesses(self.me).collect();
        let one = self.prng.below(witnesses.len());
        let told = witnesses.into_iter().enumerate();
        told.filter(|(place, _)| *place == one || self.prng.below(3) == 0)
            .map(|(_, to)| (to, message.clone()))
            .collect()
    }
}
