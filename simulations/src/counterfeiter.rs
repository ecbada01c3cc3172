//! A writer whose blocks are often false, and who withholds what others wait for.
//!
//! It writes its brand's log in its node's stead; the node is still an honest witness of the others.
//! Each [`Lie`] is one thing that a witness, or the counterparty, must refuse. It proposes, collects
//! votes and commits by the rules, shows its certificates to some and answers some who catch up.

use std::collections::BTreeMap;

use protocol::amount::{Points, Value};
use protocol::constitution::Constitution;
use protocol::crypto::sealed::BlockSecret;
use protocol::crypto::{Signature, Signed};
use protocol::exchange::{Exchange, Payload};
use protocol::ids::{
    BlockNonce, BrandId, FragmentsRoot, HeaderHash, Incarnation, MemberHandle, RequestId, RootHash,
    Round, RoundNonce,
};
use protocol::ledger::{Ledger, LedgerKeys};
use protocol::log::block::{BlockReference, ColumnContent, Header, Recognised};
use protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::log::merkle::leaf_hash;
use protocol::log::note::KeyName;
use protocol::time::{Milliseconds, Timestamp};
use protocol::witness::build::{OwnBlock, Plan, SentPayload};
use protocol::witness::guards::Guards;
use protocol::witness::message::{
    CertifiedBlock, CertifiedHeader, Message, PromiseMessage, ProposalMessage,
};
use protocol::witness::rules::Tip;
use protocol::witness::start::Presented;
use protocol::witness::statement::{
    Commit, Endorsement, Open, Pledge, Promise, Proposal, UnverifiedCertificate, UnverifiedLock,
};
use protocol::witness::writer::Entropy as _;

use crate::prng::Prng;

/// What is false about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Another price than the constitution's.
    Price,
    /// Exact totals that do not add up.
    Totals,
    /// More owed to one brand than the limit.
    PairLimit,
    /// More owed to all together than the limit.
    TotalLimit,
    /// More recognised of another log than it has sent.
    Recognised,
    /// A time that has not come yet.
    Future,
    /// A time before the last block's.
    Past,
    /// Another block before it.
    Predecessor,
    /// Another tree before it.
    Root,
    /// A public total that is no multiple of the step.
    PublicTotal,
    /// No column for some brand.
    Columns,
    /// Fragments that rebuild nothing.
    Fragments,
}

impl Lie {
    const ALL: [Self; 12] = [
        Self::Price,
        Self::Totals,
        Self::PairLimit,
        Self::TotalLimit,
        Self::Recognised,
        Self::Future,
        Self::Past,
        Self::Predecessor,
        Self::Root,
        Self::PublicTotal,
        Self::Columns,
        Self::Fragments,
    ];
}

/// A block as its false writer knows it.
#[derive(Clone)]
struct Counterfeit {
    block: OwnBlock,
    header: Header,
    // whom it tells something false, and what that brand had verified before
    deceived: Option<(BrandId, ColumnContent)>,
}

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
    me: BrandId,
    constitution: Constitution,
    keys: LedgerKeys,
    prng: Prng,
    tip: Tip,
    contents: BTreeMap<BrandId, ColumnContent>,
    // who was told something false in the last block
    deceived: Option<(BrandId, ColumnContent)>,
    // of the open height
    blocks: BTreeMap<HeaderHash, Counterfeit>,
    attempt: Option<Attempt>,
    finals: Vec<(OwnBlock, UnverifiedCertificate)>,
    // what the observer has not been told of yet
    built: Vec<(HeaderHash, Vec<SentPayload>, Vec<ColumnContent>)>,
    requests: u64,
    // its node's
    incarnation: Incarnation,
}

impl Counterfeiter {
    /// The false writer of a brand's log.
    #[must_use]
    pub const fn new(
        me: BrandId,
        constitution: Constitution,
        keys: LedgerKeys,
        prng: Prng,
    ) -> Self {
        Self {
            me,
            constitution,
            keys,
            prng,
            tip: Tip::genesis(),
            contents: BTreeMap::new(),
            deceived: None,
            blocks: BTreeMap::new(),
            attempt: None,
            finals: Vec::new(),
            built: Vec::new(),
            requests: 0,
            incarnation: Incarnation::new(0),
        }
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
            (Some(_), 1) => self.checkpoint(),
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
                if attempt.votes.len() + 1 < quorum {
                    return Vec::new();
                }
                let votes = endorsements(&attempt.votes);
                let commit = Signed::sign(self.me, Commit(pledge), &self.keys.voting.vote);
                attempt.commits.insert(self.me, commit.signature);
                self.to_all(&Message::Lock(UnverifiedLock { pledge, proposal, votes }))
            }
            (Message::Commit(commit), Some((pledge, proposal))) if commit.body.0 == pledge => {
                attempt.commits.insert(from, commit.signature);
                if attempt.commits.len() < quorum {
                    return Vec::new();
                }
                let commits = endorsements(&attempt.commits);
                self.finish(&UnverifiedCertificate { pledge, proposal, commits })
            }
            _ => Vec::new(),
        }
    }

    fn finish(&mut self, certificate: &UnverifiedCertificate) -> Vec<(BrandId, Message)> {
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
        self.finals.push((block, certificate.clone()));
        self.blocks.clear();
        self.attempt = None;
        // some are not told
        let mut messages = self.to_all(&Message::Certified(certificate.clone()));
        messages.retain(|_| self.prng.below(2) == 0);
        messages
    }

    fn answer(&mut self, to: BrandId, from: u64) -> Vec<(BrandId, Message)> {
        if self.prng.below(2) == 0 {
            return Vec::new();
        }
        let skipped = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let blocks = self.finals.iter().skip(skipped).take(4).filter_map(|(block, certificate)| {
            let delivery = block.deliveries(&self.constitution).ok()?.to(to, false).ok()?;
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
        let pick = self.prng.below(2 * Lie::ALL.len());
        let Some(counterfeit) = self.build(ledger, now, Lie::ALL.get(pick).copied()) else {
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
                    previous: self.finals.last().map(|(_, certificate)| certificate.clone()),
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

    fn build<G: Guards>(
        &mut self,
        ledger: &Ledger<G>,
        now: Timestamp,
        lie: Option<Lie>,
    ) -> Option<Counterfeit> {
        let others: Vec<BrandId> = self.constitution.committee().witnesses(self.me).collect();
        let to = *others.get(self.prng.below(others.len()))?;
        let recognised = match lie {
            // carried certificates are lost when a header is altered
            None
            | Some(Lie::Price | Lie::Totals | Lie::PairLimit | Lie::TotalLimit | Lie::Recognised) => {
                self.recognised(ledger, lie == Some(Lie::Recognised))
            }
            _ => BTreeMap::new(),
        };
        let mut contents = self.contents.clone();
        // goes on as if the false block had said nothing to whom it deceived
        let to = self.deceived.map_or(to, |(deceived, before)| {
            contents.insert(deceived, before);
            deceived
        });
        let verified = contents.get(&to).copied().unwrap_or_else(ColumnContent::nothing);
        if lie == Some(Lie::Totals) {
            let content = contents.entry(to).or_insert_with(ColumnContent::nothing);
            content.sent = content.sent.plus(Value::new(1).ok()?).ok()?;
        }
        let deceives = matches!(lie, Some(Lie::Price | Lie::Totals));
        let deceived = deceives.then_some((to, verified));
        let receivers = if lie == Some(Lie::TotalLimit) { others } else { vec![to] };
        let sealed: Option<Vec<(BrandId, Vec<Payload>)>> =
            receivers.into_iter().map(|to| Some((to, vec![self.payload(to, lie)?]))).collect();
        let sealed = sealed?;
        let (mut secret, mut nonce) = ([0; 32], [0; 16]);
        self.prng.fill(&mut secret);
        self.prng.fill(&mut nonce);
        let hour = Milliseconds::from_seconds(3600);
        let plan = Plan {
            public: Vec::new(),
            sealed: sealed.into_iter().collect(),
            recognised,
            discharged: BTreeMap::new(),
            sealing: ledger.sealing_keys().current(),
            time: if lie == Some(Lie::Future) { now.plus(hour) } else { now },
            secret: BlockSecret::from_bytes(secret),
            nonce: BlockNonce::from_bytes(nonce),
        };
        let block =
            OwnBlock::build(&self.constitution, self.me, &self.tip, &contents, plan).ok()?;
        let payloads = block.payloads().to_vec();
        let mut header = Header::from_bytes(block.header_leaf()).ok()?;
        let block = if self.alter(&mut header, lie) { altered(&block, &header)? } else { block };
        let built = (block.reference().header, payloads, block.contents().to_vec());
        self.built.push(built);
        Some(Counterfeit { block, header, deceived })
    }

    fn payload(&mut self, to: BrandId, lie: Option<Lie>) -> Option<Payload> {
        self.requests += 1;
        let (mut handle, mut request) = ([0; 16], [0xff; 16]);
        self.prng.fill(&mut handle);
        request[..8].copy_from_slice(&self.requests.to_be_bytes());
        let pair = (self.me, to);
        let (handle, request) = (MemberHandle::from_bytes(handle), RequestId::from_bytes(request));
        let price = |points: u64| {
            let points = Points::new(points).ok()?;
            Exchange::price(&self.constitution, pair, handle, request, points).ok()
        };
        // a debt goes with the points that are sent
        let worth = price(100)?.owed.get() / 100;
        let points = match lie {
            Some(Lie::PairLimit) => crate::alliance::PAIR_LIMIT * 5 / 4 / worth,
            // below the pair's limit, and over the whole one with any two of them
            Some(Lie::TotalLimit) => crate::alliance::TOTAL_LIMIT * 3 / 5 / worth,
            _ => 3 + self.prng.below(10) as u64,
        };
        let mut exchange = price(points)?;
        if lie == Some(Lie::Price) {
            exchange.received = Points::new(points * 100).ok()?;
        }
        Some(Payload::Exchange(exchange))
    }

    fn recognised<G: Guards>(
        &self,
        ledger: &Ledger<G>,
        inflated: bool,
    ) -> BTreeMap<BrandId, (Recognised, CertifiedHeader)> {
        let newer = ledger.witnesses().filter_map(|(log, witness)| {
            let mut recognised = witness.recognisable(self.me)?;
            let certificate = witness.certificate()?.as_unverified().clone();
            let header = witness.header_leaf()?.to_vec();
            let newer = recognised.height > self.tip.recognised(log).height;
            if log == self.me || !newer {
                return None;
            }
            if inflated {
                let more = Value::new(crate::alliance::PAIR_LIMIT / 2).ok()?;
                recognised.sent = recognised.sent.plus(more).ok()?;
            }
            Some((log, (recognised, CertifiedHeader { header, certificate })))
        });
        newer.collect()
    }

    /// Alters a sound header; false if this lie is not in the header.
    fn alter(&mut self, header: &mut Header, lie: Option<Lie>) -> bool {
        let mut noise = [0; 32];
        self.prng.fill(&mut noise);
        match lie {
            Some(Lie::Past) => {
                let before = self.tip.time.unix_ms().saturating_sub(1);
                header.time = Timestamp::from_unix_ms(before);
            }
            Some(Lie::Predecessor) => {
                header.previous = HeaderHash::from_bytes(noise);
            }
            Some(Lie::Root) => header.previous_root = RootHash::from_bytes(noise),
            Some(Lie::PublicTotal) => {
                let Some(column) = header.columns.first_mut() else { return false };
                let Ok(one) = Value::new(1) else { return false };
                column.sent = column.sent.plus(one).unwrap_or(column.sent);
            }
            Some(Lie::Columns) => drop(header.columns.pop()),
            Some(Lie::Fragments) => header.fragments = FragmentsRoot::from_bytes(noise),
            _ => return false,
        }
        true
    }

    fn to_all(&self, message: &Message) -> Vec<(BrandId, Message)> {
        let witnesses = self.constitution.committee().witnesses(self.me);
        witnesses.map(|to| (to, message.clone())).collect()
    }
}

/// The same leaves under another header.
fn altered(block: &OwnBlock, header: &Header) -> Option<OwnBlock> {
    let (bytes, id) = header.to_leaf();
    let mut leaves: Vec<Vec<u8>> = block.leaves().map(<[u8]>::to_vec).collect();
    *leaves.last_mut()? = bytes;
    let mut frontier = block.before().clone();
    for leaf in &leaves {
        frontier.append(leaf_hash(leaf)).ok()?;
    }
    let reference = BlockReference { header: id, root: frontier.root(), ..block.reference() };
    OwnBlock::restore(reference, leaves, block.contents().to_vec(), block.before().clone())
}

fn endorsements(signatures: &BTreeMap<BrandId, Signature>) -> Vec<Endorsement> {
    let endorse = |(signer, signature): (&BrandId, &Signature)| Endorsement {
        signer: *signer,
        signature: *signature,
    };
    signatures.iter().map(endorse).collect()
}
