//! One witness's state for one log: rules 2 to 8, 10 and 12 of the agreement.
//!
//! A node holds one of these for every log of the alliance, its own included: a writer is a witness
//! of its own log, its proposal being its vote. Methods change state and put what must be on disk and
//! what may then be said into an [`Outbox`]; nothing in it may be sent before its records are synced.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use super::build::OwnBlock;
use super::certified::CertifiedHeaders;
use super::closing::{self, LastProposal};
use super::evidence::Evidence;
use super::guards::{Guard, Guards, Upheld};
use super::message::{
    CatchUp, CertifiedBlock, Delivery, LeafRun, Message, PromiseMessage, ProposalMessage, Refusal,
};
use super::record::{Joined, Opened, Record, Voted};
use super::rules::{self, CertifiedTotals, Tip, Violation};
use super::said::{Position, Said, Stage};
use super::snapshot::{Delivered, LastBlock, LogState, StateError};
use super::standing::Standing;
use super::statement::{
    Certificate, Commit, Lock, Open, Pledge, Promise, Proposal, Statement as _,
    UnverifiedCertificate, UnverifiedLock, Vote, VotingKeys,
};
use super::watch::Watch;
use crate::codec::Shared;
use crate::constitution::Constitution;
use crate::crypto::sealed::{KeyRing, SealError};
use crate::crypto::{Signed, Verified};
use crate::epochs::adoption::{self, ProvenEntry, Stances};
use crate::epochs::entries::Judge;
use crate::epochs::{Adoption, Constitutions, DraftReference, LogHead};
use crate::exchange::Payload;
use crate::ids::{
    BrandId, ConstitutionHash, Epoch, HeaderHash, Height, LeafIndex, Round, RoundNonce,
};
use crate::log::block::{
    BlockReference, ColumnContent, ColumnOpening, Header, PublicEntry, Recognised,
};
use crate::log::dispute::{DisputeEvidence, DisputeOpened};
use crate::log::fragments::Shape;
use crate::log::merkle::Frontier;
use crate::time::Timestamp;

/// Most different blocks of one height a witness keeps. An honest writer goes on with its last one;
/// whichever is dropped and becomes final after all is asked for again.
const BLOCKS_PER_HEIGHT_MAX: usize = 16;

/// Most different blocks of one height that a witness takes to its disk without a lock that forces
/// them: a writer that lies could fill it otherwise.
const BLOCKS_TAKEN_MAX: usize = 64;
/// The last round there is: every round joined is a record, and a writer that lies could fill the disk
/// with them. An honest one that is refused for weeks on end stops here.
pub const ROUND_MAX: Round = Round::new(1 << 16);

/// Rule number of a refusal whose round is too low, or whose nonce is another opening's.
const RULE_ROUND: u16 = 0;
/// Rule number of a refusal whose block is not the highest lock's.
const RULE_CHOICE: u16 = 100;
/// Rule number of a refusal without q valid promises.
const RULE_PROMISES: u16 = 101;
/// Rule number of a refusal because another block was voted in this round.
const RULE_VOTED: u16 = 102;
/// Rule number of a refusal because a later incarnation of the writer is known.
pub(crate) const RULE_INCARNATION: u16 = 103;

/// What must be on disk, what may then be said, what has happened.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be synced before anything else.
    pub records: Vec<Record>,
    /// To be sent after that.
    pub messages: Vec<(BrandId, Message)>,
    /// Payloads that were submitted under a constitution that is no longer the log's, at a price that
    /// is no longer right or to a brand that has left: they are in no block and will be in none.
    pub rejected: Vec<(BrandId, Payload)>,
    /// What has become final, for the rest of the node.
    pub finals: Vec<FinalBlock>,
    /// Own blocks that have become final, in order, with all that their writer knows: to be written
    /// to the log's tiles.
    pub written: Vec<OwnBlock>,
    /// Statements that no honest brand makes together; the ledger takes them up.
    pub found: Vec<Evidence>,
}

impl Outbox {
    fn send(&mut self, to: BrandId, message: Message) {
        self.messages.push((to, message));
    }
}

/// A final block of some log, as far as this node may see it.
#[derive(Clone, Debug)]
pub struct FinalBlock {
    /// What was certified.
    pub block: BlockReference,
    /// Its header.
    pub header: Header,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its public entries.
    pub public: Vec<(LeafIndex, PublicEntry)>,
    /// What it says to this node, or why what it says cannot stand: then nothing of it is credited
    /// and the dispute is on record. Empty for the own log.
    pub payloads: Result<Vec<(LeafIndex, Payload)>, Violation>,
    /// For the first block of the log that says what cannot stand: what is to go on record.
    pub dispute: Option<Box<DisputeOpened>>,
}

/// What every handler may look at.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whose node this is.
    pub me: BrandId,
    /// The constitution of the log at hand at its open height.
    pub constitution: &'a Constitution,
    /// All there are: what another log certified is judged by the one of its own epoch.
    pub constitutions: &'a Constitutions,
    /// What comes after it.
    pub next: Next<'a>,
    /// Headers of other logs whose certificates were verified here before.
    pub certified: &'a CertifiedHeaders,
    /// Signing keys.
    pub keys: &'a VotingKeys,
    /// Opens this node's columns.
    pub sealing: &'a KeyRing,
    /// What this node may sign.
    pub standing: &'a Standing,
    /// Whether the log's writer is proved to have lied (rule 14).
    pub frozen: bool,
    /// Whether this brand has agreed that the log be closed.
    pub closes: bool,
    /// The time now.
    pub now: Timestamp,
}

/// What is known of the constitution after that of the log at hand.
#[derive(Clone, Copy, Default)]
pub struct Next<'a> {
    /// Drafts by hash; none are known without.
    pub drafts: Option<&'a BTreeMap<ConstitutionHash, Constitution>>,
    /// The one that a quorum has adopted.
    pub adoption: Option<&'a Adoption>,
    /// When that of the log at hand took effect; 0 when it is the first, or not known.
    pub in_effect: Timestamp,
}

impl<'a> Next<'a> {
    /// What a block of this time must take up.
    #[must_use]
    pub fn due(&self, time: Timestamp) -> Option<&'a Adoption> {
        self.adoption.filter(|adoption| adoption.effect() <= time)
    }
}

struct Received {
    // whether the rules of a fresh block were found to hold; a block forced by a lock is not asked
    judged: bool,
    header: Header,
    frontier: Frontier,
    public: Vec<(LeafIndex, PublicEntry)>,
    // those of them that others are shown
    proven: Vec<(PublicEntry, ProvenEntry)>,
    column: Result<(Vec<(LeafIndex, Payload)>, ColumnContent), Violation>,
    // of this node's own column, if what was wrapped to it opens
    opening: Option<ColumnOpening>,
    // as it came, of a block that may have to be taken up again after a restart
    delivery: Option<Shared<Delivery>>,
}

/// A witness's state for one log. Rebuilt from records; holds no more than the open height.
pub struct Witness<G = Upheld> {
    log: BrandId,
    // the constitution's at the open height
    epoch: Epoch,
    // the log was there before this brand: where it begins for it is not known yet
    awaiting: bool,
    stances: Stances,
    tip: Tip,
    certificate: Option<Certificate>,
    // the tip's header leaf: what proves to a third brand what was recognised
    header_leaf: Option<Vec<u8>>,
    joined: Round,
    nonce: Option<RoundNonce>,
    votes: BTreeMap<Round, BlockReference>,
    lock: Option<Lock>,
    received: BTreeMap<HeaderHash, Received>,
    // on replay: what opened the blocks that came in for the open height
    opened: BTreeMap<HeaderHash, ColumnOpening>,
    // exact content of this node's column in the last certified block, and its salt
    content: ColumnContent,
    salt: [u8; 32],
    disputed: bool,
    // blocks of the open height that were taken to disk
    taken: usize,
    // certified in a last round: the log is closed
    closing: Option<Certificate>,
    guards: PhantomData<G>,
    watch: Watch,
}

impl Witness {
    /// The state before the log's first block, which is under this epoch.
    #[must_use]
    pub fn new(log: BrandId, epoch: Epoch) -> Self {
        Self::with_guards(log, epoch)
    }
}

impl<G: Guards> Witness<G> {
    /// The same, under these guards.
    #[must_use]
    pub fn with_guards(log: BrandId, epoch: Epoch) -> Self {
        Self {
            log,
            epoch,
            awaiting: false,
            stances: Stances::default(),
            tip: Tip::genesis(),
            certificate: None,
            header_leaf: None,
            joined: Round::new(0),
            nonce: None,
            votes: BTreeMap::new(),
            lock: None,
            received: BTreeMap::new(),
            opened: BTreeMap::new(),
            content: ColumnContent::nothing(),
            salt: [0; 32],
            disputed: false,
            taken: 0,
            closing: None,
            guards: PhantomData,
            watch: Watch::default(),
        }
    }

    /// The state of a witness that joined later, before it has heard where the log took up the
    /// constitution of this epoch, the first that names the witness.
    #[must_use]
    pub fn awaiting(log: BrandId, epoch: Epoch) -> Self {
        Self { awaiting: true, ..Self::with_guards(log, epoch) }
    }

    /// What the log has said of constitutions.
    #[must_use]
    pub const fn stances(&self) -> &Stances {
        &self.stances
    }
    /// Whether it is not known yet where the log begins for this brand.
    #[must_use]
    pub const fn is_awaiting(&self) -> bool {
        self.awaiting
    }
    /// The epoch of the open height.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
    /// The last certified block.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }
    /// Its certificate; none for the empty log.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }
    /// Its header leaf; none for the empty log.
    #[must_use]
    pub fn header_leaf(&self) -> Option<&[u8]> {
        self.header_leaf.as_deref()
    }
    /// The highest round joined at the open height.
    #[must_use]
    pub const fn joined(&self) -> Round {
        self.joined
    }
    /// The highest-round lock at the open height.
    #[must_use]
    pub const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }
    /// Exact content of this node's column in the last certified block.
    #[must_use]
    pub const fn content(&self) -> &ColumnContent {
        &self.content
    }
    /// Whether a certified block of this log said something to this node that cannot stand.
    #[must_use]
    pub const fn is_disputed(&self) -> bool {
        self.disputed
    }

    /// What others have signed about this log.
    #[must_use]
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }
    /// Takes note of something about this log whose signature was verified, and that is about its
    /// last final height or its open one.
    pub fn note(&mut self, said: Said, out: &mut Outbox) {
        let height = said.position().height;
        if height == self.tip.height || Some(height) == self.tip.height.next() {
            out.found.extend(self.watch.note(said));
        }
    }

    /// How far this node itself has gone in this log.
    #[must_use]
    pub fn position(&self) -> Position {
        let Some(height) = self.tip.height.next() else { return Position::after(self.tip.height) };
        let at = |round, stage| Position { height, round, stage };
        let joined = (self.joined > Round::new(0)).then(|| at(self.joined, Stage::Joined));
        let voted = self.votes.last_key_value().map(|(round, _)| at(*round, Stage::Voted));
        let committed = self.lock.as_ref().map(|lock| at(lock.pledge().round, Stage::Committed));
        let furthest = joined.max(voted).max(committed);
        furthest.unwrap_or(Position::after(self.tip.height))
    }

    /// Whether this node signs at a height; in an alliance of two, where it goes on from.
    fn may_sign(&mut self, at: &Surroundings<'_>, height: Height, round: Round) -> bool {
        if closing::is_last(round) {
            return self.may_join_last(at, height);
        }
        if !at.standing.may_sign::<G>(self.log, height)
            || !G::allow(Guard::FreezeOnEvidence, !at.frozen)
        {
            return false;
        }
        if let Some(open) = at.standing.resumed(self.log, height) {
            if open.round > self.joined {
                self.joined = open.round;
                self.nonce = None;
            }
            if self.lock.is_none()
                && let Some(lock) = open.lock.clone()
                && lock.pledge.block.height == height
                && let Ok(lock) = lock.verify(at.constitution)
            {
                self.lock = Some(lock);
            }
        }
        true
    }

    /// Rule 14: whether this node takes part in the last rounds of the log: it holds evidence, and its
    /// brand has agreed.
    #[must_use]
    pub fn may_join_last(&self, at: &Surroundings<'_>, height: Height) -> bool {
        at.frozen && at.closes && at.me != self.log && at.standing.may_sign::<G>(self.log, height)
    }

    /// Whose log it is.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        self.log
    }
    /// What closed the log, if it is closed.
    #[must_use]
    pub const fn closing(&self) -> Option<&Certificate> {
        self.closing.as_ref()
    }

    pub(crate) fn refuse(&self, to: BrandId, at: (Height, Round), rule: u16, out: &mut Outbox) {
        let (height, round) = at;
        let refusal = Refusal { log: self.log, height, round, joined: self.joined, rule };
        out.send(to, Message::Refusal(refusal));
    }

    /// Whether a message about this height can be handled now; if not, says what is missing.
    fn at_open_height(&self, to: BrandId, height: Height, out: &mut Outbox) -> bool {
        if self.awaiting {
            self.ask_for_blocks(out);
            return false;
        }
        let behind = height <= self.tip.height;
        if behind || self.closing.is_some() {
            let newest = self.closing.as_ref().filter(|_| !behind).or(self.certificate.as_ref());
            if let Some(certificate) = newest {
                out.send(to, Message::Certified(certificate.as_unverified().clone()));
            }
            return false;
        }
        if Some(height) != self.tip.height.next() {
            self.ask_for_blocks(out);
            return false;
        }
        true
    }

    /// Asks the writer for what comes after the tip.
    pub fn ask_for_blocks(&self, out: &mut Outbox) {
        if let Some(from) = self.tip.height.next() {
            out.send(self.log, Message::CatchUp(CatchUp { log: self.log, from }));
        }
    }

    /// Rule 3: joins a round the writer opened, and tells the lock.
    pub fn open(&mut self, at: &Surroundings<'_>, open: &Verified<Open>, out: &mut Outbox) {
        self.note(Said::Open(open.as_signed().clone()), out);
        let open = *open.body();
        let leader = closing::leader(at.constitution.committee(), self.log, open.round);
        if (open.log, open.epoch) != (self.log, at.constitution.epoch())
            || !self.at_open_height(leader, open.height, out)
            || !self.may_sign(at, open.height, open.round)
        {
            return;
        }
        let repeated = open.round == self.joined && self.nonce == Some(open.nonce);
        let joins = repeated || G::allow(Guard::JoinAbove, open.round > self.joined);
        if !joins || is_beyond(open.round) {
            self.refuse(leader, (open.height, open.round), RULE_ROUND, out);
            return;
        }
        if !repeated {
            self.join(open.round, open.nonce, out);
        }
        let message = self.promise(at, open);
        out.send(leader, Message::Promise(Box::new(message)));
    }

    /// Joins a round on disk; the writer's own way in as well.
    pub fn join(&mut self, round: Round, nonce: RoundNonce, out: &mut Outbox) {
        self.joined = round;
        self.nonce = Some(nonce);
        if let Some(height) = self.tip.height.next() {
            out.records.push(Record::Joined(Joined { log: self.log, height, round, nonce }));
        }
    }

    /// The promise for a round that has been joined.
    #[must_use]
    pub fn promise(&self, at: &Surroundings<'_>, open: Open) -> PromiseMessage {
        let lock = self.lock.as_ref().map(Lock::pledge);
        PromiseMessage {
            promise: Signed::sign(at.me, Promise { open, lock }, &at.keys.vote),
            lock: self.lock.as_ref().map(|lock| lock.as_unverified().clone()),
        }
    }

    /// Rules 4 to 6: judges a proposal and votes, or says which rule it breaks.
    pub fn proposal(&mut self, at: &Surroundings<'_>, message: ProposalMessage, out: &mut Outbox) {
        let ProposalMessage { proposal, previous, promises, delivery, .. } = message;
        if !closing::is_last(proposal.body.0.round) {
            self.consider(at, proposal, previous, &promises, Some(delivery), out);
        }
    }

    /// As [`Witness::proposal`], in a last round: the block, if it is one, is with those who voted for it.
    pub fn last_proposal(
        &mut self,
        at: &Surroundings<'_>,
        message: LastProposal,
        out: &mut Outbox,
    ) {
        if closing::is_last(message.proposal.body.0.round) {
            self.consider(at, message.proposal, None, &message.promises, None, out);
        }
    }

    fn consider(
        &mut self,
        at: &Surroundings<'_>,
        proposal: Signed<Proposal>,
        previous: Option<UnverifiedCertificate>,
        promises: &[PromiseMessage],
        delivery: Option<Delivery>,
        out: &mut Outbox,
    ) {
        let Ok(proposal) = Proposal::verify(proposal, at.constitution) else {
            return;
        };
        let pledge = proposal.body().0;
        let leader = closing::leader(at.constitution.committee(), self.log, pledge.round);
        if proposal.signer() != leader || pledge.block.log != self.log {
            return;
        }
        self.note(Said::Proposal(proposal.into_signed()), out);
        // the certificate of the block before may be what this witness still lacks
        if let Some(previous) = previous
            && !self.awaiting
            && Some(previous.pledge.block.height) == self.tip.height.next()
            && previous.pledge.block.height < pledge.block.height
            && let Ok(certificate) = previous.verify(at.constitution)
        {
            self.certified(certificate, out);
        }
        if !self.at_open_height(leader, pledge.block.height, out)
            || !self.may_sign(at, pledge.block.height, pledge.round)
        {
            return;
        }
        let refused_at = (pledge.block.height, pledge.round);
        if !G::allow(Guard::VoteAbove, pledge.round >= self.joined) || is_beyond(pledge.round) {
            return self.refuse(leader, refused_at, RULE_ROUND, out);
        }
        let (nonce, forced) = match self.choice(at, &pledge, promises) {
            Ok(choice) => choice,
            Err(rule) => return self.refuse(leader, refused_at, rule, out),
        };
        for message in promises {
            self.note_promise(at, message, out);
        }
        match self.votes.get(&pledge.round) {
            Some(voted) if !G::allow(Guard::OneVote, *voted == pledge.block) => {
                return self.refuse(leader, refused_at, RULE_VOTED, out);
            }
            Some(_) => {}
            None => {
                let known = self
                    .received
                    .get(&pledge.block.header)
                    .is_some_and(|received| forced || received.judged);
                if !known && !forced && self.taken >= BLOCKS_TAKEN_MAX {
                    let violation = Violation::TooManyBlocks { most: BLOCKS_TAKEN_MAX };
                    return self.refuse(leader, refused_at, violation.number(), out);
                }
                if !known
                    && let Some(delivery) = &delivery
                    && let Err(violation) = self.receive(at, &pledge.block, delivery, !forced)
                {
                    return self.refuse(leader, refused_at, violation.number(), out);
                }
                if !known && delivery.is_some() {
                    self.record_opening(pledge.block.header, out);
                }
                let delivery = delivery.filter(|_| !known).map(Shared::new);
                self.taken = self.taken.saturating_add(usize::from(delivery.is_some()));
                self.keep_delivery(pledge.block.header, delivery.as_ref());
                self.vote(pledge, nonce);
                out.records.push(Record::Voted(Voted { pledge, nonce, delivery }));
            }
        }
        let vote = Signed::sign(at.me, Vote(pledge), &at.keys.vote);
        out.send(leader, Message::Vote(vote));
    }

    fn vote(&mut self, pledge: Pledge, nonce: Option<RoundNonce>) {
        if pledge.round > self.joined {
            self.joined = pledge.round;
            self.nonce = nonce;
        }
        // below the round joined no vote is given any more
        self.votes.retain(|round, _| *round >= self.joined);
        self.votes.insert(pledge.round, pledge.block);
    }

    /// Rule 5. Gives the opening's nonce and whether a lock forces the block.
    fn choice(
        &self,
        at: &Surroundings<'_>,
        pledge: &Pledge,
        promises: &[PromiseMessage],
    ) -> Result<(Option<RoundNonce>, bool), u16> {
        if pledge.round == Round::new(0) {
            return Ok((None, false));
        }
        let open = promises.first().map(|first| first.promise.body.open).ok_or(RULE_PROMISES)?;
        let about = (open.log, open.height, open.round);
        if about != (self.log, pledge.block.height, pledge.round) {
            return Err(RULE_PROMISES);
        }
        let (count, locked) = count_promises::<G>(at.constitution, &open, promises);
        if !G::allow(Guard::PromiseQuorum, count >= at.constitution.committee().quorum()) {
            return Err(RULE_PROMISES);
        }
        let joined = pledge.round > self.joined || self.nonce == Some(open.nonce);
        if !G::allow(Guard::VoteOfOpening, joined) {
            return Err(RULE_ROUND);
        }
        let last = closing::is_last(pledge.round);
        let epoch = at.constitution.epoch();
        match locked {
            Some(lock) if !G::allow(Guard::LockedBlock, lock.block == pledge.block) => {
                Err(RULE_CHOICE)
            }
            None if last && pledge.block != closing::nothing(epoch, self.log, &self.tip) => {
                Err(RULE_CHOICE)
            }
            locked => Ok((Some(open.nonce), locked.is_some() || last)),
        }
    }

    /// Checks a block's parts and keeps it; `fresh` also judges what only a vote needs.
    fn receive(
        &mut self,
        at: &Surroundings<'_>,
        block: &BlockReference,
        delivery: &Delivery,
        fresh: bool,
    ) -> Result<(), Violation> {
        let header = Header::from_bytes(&delivery.header)?;
        let id = crate::log::merkle::leaf_hash(&delivery.header).of_header();
        let names = (header.log, header.height, header.epoch, id);
        if names != (block.log, block.height, block.epoch, block.header) {
            return Err(Violation::Previous);
        }
        let frontier = rules::check_tree::<G>(&self.tip, &header, block, &delivery.extension)?;
        if let Some(position) =
            at.constitution.committee().witnesses(self.log).position(|witness| witness == at.me)
        {
            let number = u32::try_from(position).unwrap_or(u32::MAX);
            let fragment = &delivery.fragment;
            Shape::of(at.constitution.committee())
                .check(fragment, number, header.body_bytes, &header.fragments)
                .or_else(|error| G::found(error.into()))?;
        }
        let public = rules::check_public(&header, delivery.public.as_ref())?;
        let proven = proven(&header, delivery.public.as_ref(), &public);
        let opening = self.opening(at, &header, id);
        let column = self.check_own_column(at, &header, &opening, delivery);
        if let Err(violation @ Violation::Delivered { .. }) = &column {
            return Err(violation.clone());
        }
        if fresh {
            let carried = read_certified(at, &delivery.recognised);
            rules::check_header::<G>(at.constitution, &self.tip, &header, |log, height| {
                carried
                    .iter()
                    .find(|(_, header)| header.log == log && header.height == height)
                    .map(|(id, content)| CertifiedTotals { header: *id, content })
            })?;
            rules::check_payments::<G>(at.constitution, &self.tip, &header, &public)?;
            let entries = public.iter().map(|(_, entry)| entry);
            rules::check_entries::<G>(at.constitution, &header, entries)?;
            self.judge_entries(at, &header, &public)?;
            rules::check_clock::<G>(&header, at.now)?;
            if let Err(violation) = &column
                && !G::allow(Guard::OwnColumn, column.is_ok())
            {
                return Err(violation.clone());
            }
        }
        let opening = opening.ok();
        let received = Received {
            judged: fresh,
            header,
            frontier,
            public,
            proven,
            column,
            opening,
            delivery: None,
        };
        self.keep(id, received);
        Ok(())
    }

    fn keep_delivery(&mut self, block: HeaderHash, delivery: Option<&Shared<Delivery>>) {
        if let (Some(received), Some(delivery)) = (self.received.get_mut(&block), delivery) {
            received.delivery = Some(delivery.clone());
        }
    }

    /// Puts on record what opened the own column of a block that came in: the sealing key will be
    /// destroyed some day, and the records must still give the same state.
    fn record_opening(&self, block: HeaderHash, out: &mut Outbox) {
        let opening = self.received.get(&block).and_then(|received| received.opening.as_ref());
        if let Some(opening) = opening {
            let (log, opening) = (self.log, opening.to_bytes().to_vec());
            out.records.push(Record::Opened(Opened { log, block, opening }));
        }
    }

    /// What the writer wrapped to this node, or on replay what is on record of it.
    fn opening(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        id: HeaderHash,
    ) -> Result<ColumnOpening, SealError> {
        match header.open_column(at.me, at.sealing) {
            Err(SealError::KeyNotHeld) => {
                self.opened.get(&id).cloned().ok_or(SealError::KeyNotHeld)
            }
            opened => opened,
        }
    }

    /// What the block says of constitutions, and whether it had to take one up.
    fn judge_entries(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        public: &[(LeafIndex, PublicEntry)],
    ) -> Result<(), Violation> {
        let judge = Judge {
            constitution: at.constitution,
            constitutions: at.constitutions,
            draft: |draft: &DraftReference| at.next.drafts?.get(&draft.constitution),
            stances: &self.stances,
        };
        let entries = || public.iter().map(|(_, entry)| entry);
        judge.judge(header, entries()).or_else(G::found)?;
        let first = header.height == Height::new(1);
        if first && header.time < at.next.in_effect {
            G::found(Violation::TooEarly { effect: at.next.in_effect })?;
        }
        match at.next.due(header.time) {
            Some(due) if adoption::switch(entries()) != Some(due.draft()) => {
                G::found(Violation::SwitchDue { draft: due.draft().constitution })
            }
            _ => Ok(()),
        }
    }

    /// Takes the block with which a log begins for a brand that joined with it.
    pub fn headed(&mut self, before: &Constitution, head: LogHead, out: &mut Outbox) {
        let Ok((checked, tip)) = head.verify(before) else { return };
        let switched = adoption::switch([checked.entry()]).map(|draft| draft.epoch);
        if !self.awaiting || tip.height.get() == 0 || checked.header().log != self.log {
            return;
        }
        if switched == Some(self.epoch) {
            self.awaiting = false;
            self.tip = tip;
            self.certificate = Some(checked.certificate().clone());
            self.header_leaf = Some(head.entry.header.clone());
            out.records.push(Record::Headed(Box::new(head)));
        }
    }

    /// Keeps a block, and drops another if there are too many; never the locked one.
    fn keep(&mut self, id: HeaderHash, received: Received) {
        let locked = self.lock.as_ref().map(|lock| lock.pledge().block.header);
        if self.received.len() >= BLOCKS_PER_HEIGHT_MAX
            && let Some(other) = self.received.keys().find(|other| Some(**other) != locked).copied()
        {
            self.received.remove(&other);
        }
        self.received.insert(id, received);
    }

    fn check_own_column(
        &self,
        at: &Surroundings<'_>,
        header: &Header,
        opening: &Result<ColumnOpening, SealError>,
        delivery: &Delivery,
    ) -> Result<(Vec<(LeafIndex, Payload)>, ColumnContent), Violation> {
        let counterparty = at.me;
        let opening =
            opening.as_ref().map_err(|error| Violation::Opening { counterparty, error: *error })?;
        let run = delivery.column.as_ref();
        let payloads =
            rules::check_column::<G>(at.constitution, header, at.me, opening, &self.content, run)?;
        Ok((payloads, opening.content))
    }

    /// Rule 7: commits a lock that a quorum voted for.
    pub fn lock_made(&mut self, at: &Surroundings<'_>, lock: UnverifiedLock, out: &mut Outbox) {
        let pledge = lock.pledge;
        let leader = closing::leader(at.constitution.committee(), self.log, pledge.round);
        if pledge.block.log != self.log
            || !self.at_open_height(leader, pledge.block.height, out)
            || !self.may_sign(at, pledge.block.height, pledge.round)
        {
            return;
        }
        if !G::allow(Guard::CommitAbove, pledge.round >= self.joined) {
            return self.refuse(leader, (pledge.block.height, pledge.round), RULE_ROUND, out);
        }
        let held = self.lock.as_ref().map(Lock::pledge);
        if held != Some(pledge) {
            let Ok(lock) = lock.verify(at.constitution) else { return };
            self.hold(lock, out);
        }
        let commit = Signed::sign(at.me, Commit(pledge), &at.keys.vote);
        out.send(leader, Message::Commit(commit));
    }

    /// Takes a verified lock at the open height.
    pub fn hold(&mut self, lock: Lock, out: &mut Outbox) {
        if lock.pledge().round > self.joined {
            self.joined = lock.pledge().round;
            self.nonce = None;
        }
        out.records.push(Record::Locked(lock.as_unverified().clone()));
        self.note_all(lock.as_unverified().said(), out);
        self.lock = Some(lock);
    }

    /// Rule 8: a certificate is accepted in any state; the block it names must be at hand.
    pub fn certified(&mut self, certificate: Certificate, out: &mut Outbox) {
        let block = certificate.block();
        if block.log != self.log || block.height <= self.tip.height {
            return;
        }
        if self.awaiting {
            return self.ask_for_blocks(out);
        }
        if Some(block.height) != self.tip.height.next()
            || block.header != HeaderHash::NOTHING && !self.received.contains_key(&block.header)
        {
            return self.ask_for_blocks(out);
        }
        out.records.push(Record::Final(certificate.as_unverified().clone()));
        self.conclude(certificate, out);
    }

    /// A block is final, or the log is closed without one.
    fn conclude(&mut self, certificate: Certificate, out: &mut Outbox) {
        if closing::is_last(certificate.pledge().round) {
            self.closing = Some(certificate.clone());
        }
        if certificate.block().header != HeaderHash::NOTHING {
            self.finish(certificate, out);
        }
    }

    /// Rule 10: takes a final block that was missed.
    pub fn caught_up(
        &mut self,
        at: &Surroundings<'_>,
        block: CertifiedBlock,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let reference = block.certificate.pledge.block;
        let follows = Some(reference.height) == self.tip.height.next();
        if reference.log != self.log || !follows || self.awaiting {
            return Ok(());
        }
        let Ok(certificate) = block.certificate.clone().verify(at.constitution) else {
            return Ok(());
        };
        // what was received before was checked; this delivery of it would not be
        if self.received.contains_key(&reference.header) {
            out.records.push(Record::Final(certificate.as_unverified().clone()));
        } else {
            self.receive(at, &reference, &block.delivery, false)?;
            self.record_opening(reference.header, out);
            out.records.push(Record::CaughtUp(Box::new(block)));
        }
        self.conclude(certificate, out);
        Ok(())
    }

    fn finish(&mut self, certificate: Certificate, out: &mut Outbox) {
        let block = certificate.block();
        let Some(received) = self.received.remove(&block.header) else { return };
        let Received { header, frontier, public, proven, column, opening, .. } = received;
        self.stances.certified(&header, &certificate, proven);
        if let Some(draft) = adoption::switch(public.iter().map(|(_, entry)| entry)) {
            self.epoch = draft.epoch;
        }
        self.tip = Tip::after(&header, block.header, frontier);
        self.certificate = Some(certificate.clone());
        self.header_leaf = Some(header.to_leaf().0);
        self.joined = Round::new(0);
        self.nonce = None;
        self.votes.clear();
        self.lock = None;
        self.received.clear();
        self.opened.clear();
        let fault = column.as_ref().err().map(Violation::number).filter(|_| !self.disputed);
        let dispute = fault.map(|rule| self.dispute(&header, block.header, rule, opening.as_ref()));
        if let Some(opening) = &opening {
            self.salt = header.context().totals_salt(&opening.key);
        }
        self.taken = 0;
        self.watch.forget_below(block.height);
        self.note_all(certificate.as_unverified().said(), out);
        let payloads = match column {
            Ok((payloads, content)) if G::allow(Guard::DisputeStands, !self.disputed) => {
                self.content = content;
                Ok(payloads)
            }
            // it credits only a chain that continues what it verified
            Ok(_) => Err(Violation::ExactTotals { counterparty: self.log }),
            Err(violation) => Err(violation),
        };
        self.disputed |= payloads.is_err();
        out.finals.push(FinalBlock { block, header, certificate, public, payloads, dispute });
    }

    /// What goes on record when a final block fails this node's own checks: with the column as it was
    /// opened and the totals before it, everyone can run them again.
    fn dispute(
        &self,
        header: &Header,
        block: HeaderHash,
        rule: u16,
        opening: Option<&ColumnOpening>,
    ) -> Box<DisputeOpened> {
        let content = opening.map(|opening| opening.content);
        let offset = content.map_or(0, |content| u64::from(content.first));
        Box::new(DisputeOpened {
            log: self.log,
            height: header.height,
            block,
            first: LeafIndex::new(header.first.get().saturating_add(offset)),
            count: content.map_or(0, |content| content.count),
            rule,
            evidence: opening.map(|opening| DisputeEvidence {
                opening: opening.to_bytes(),
                before: self.content,
                salt: self.salt,
            }),
        })
    }

    /// What the own node recognises when it has applied everything up to the tip.
    #[must_use]
    pub fn recognisable(&self, me: BrandId) -> Option<Recognised> {
        let column = self.tip.columns.iter().find(|column| column.counterparty == me)?;
        Some(Recognised {
            height: self.tip.height,
            block: self.tip.header,
            sent: column.sent,
            discharged: column.discharged,
        })
    }

    /// As writer: takes an own block as received. The writer judges it by its witnesses' rules.
    ///
    /// # Errors
    /// The rule that its witnesses would refuse it by.
    pub fn receive_own(
        &mut self,
        at: &Surroundings<'_>,
        block: &OwnBlock,
    ) -> Result<(), Violation> {
        let header = Header::from_bytes(block.header_leaf())?;
        let public: Vec<(LeafIndex, PublicEntry)> =
            (header.first.get()..).map(LeafIndex::new).zip(block.public()).collect();
        let frontier = block.after().map_err(|_| Violation::FirstLeaf)?;
        let carried = block.recognised(at);
        rules::check_header::<G>(at.constitution, &self.tip, &header, |log, height| {
            carried
                .iter()
                .find(|(_, header)| header.log == log && header.height == height)
                .map(|(id, content)| CertifiedTotals { header: *id, content })
        })?;
        rules::check_payments::<G>(at.constitution, &self.tip, &header, &public)?;
        let entries = public.iter().map(|(_, entry)| entry);
        rules::check_entries::<G>(at.constitution, &header, entries)?;
        self.judge_entries(at, &header, &public)?;
        let column = Ok((Vec::new(), ColumnContent::nothing()));
        let id = block.reference().header;
        let shown = public.iter().any(|(_, entry)| ProvenEntry::is_shown(entry));
        let run = if shown { block.public_run(at.constitution) } else { None };
        let proven = proven(&header, run.as_ref(), &public);
        let received = Received {
            judged: true,
            header,
            frontier,
            public,
            proven,
            column,
            opening: None,
            delivery: None,
        };
        self.keep(id, received);
        Ok(())
    }

    /// As writer: the own proposal is the own vote. False when another block was proposed in this
    /// round, or a higher round was joined: then nothing may be signed.
    pub fn propose_own(&mut self, pledge: Pledge, out: &mut Outbox) -> bool {
        match self.votes.get(&pledge.round) {
            Some(voted) => G::allow(Guard::OneProposal, *voted == pledge.block),
            None if !G::allow(Guard::VoteAbove, pledge.round >= self.joined) => false,
            None => {
                self.vote(pledge, self.nonce);
                out.records.push(Record::Proposed(pledge));
                true
            }
        }
    }

    /// Brings the state to where a record of this log left it. Records come from this node's own
    /// journal, in order; what does not fit is a fault of the journal, told as a violation.
    ///
    /// # Errors
    /// When a recorded block cannot be read again.
    pub fn replay(
        &mut self,
        at: &Surroundings<'_>,
        record: &Record,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        match record {
            Record::Joined(joined) if Some(joined.height) == self.tip.height.next() => {
                self.joined = joined.round;
                self.nonce = Some(joined.nonce);
            }
            Record::Voted(voted) if self.is_open(&voted.pledge) => {
                if let Some(delivery) = &voted.delivery {
                    self.receive(at, &voted.pledge.block, delivery, false)?;
                    self.keep_delivery(voted.pledge.block.header, Some(delivery));
                    self.taken = self.taken.saturating_add(1);
                }
                self.vote(voted.pledge, voted.nonce);
            }
            Record::Locked(lock) if self.is_open(&lock.pledge) => {
                if let Ok(lock) = lock.clone().verify(at.constitution) {
                    self.hold(lock, &mut Outbox::default());
                }
            }
            Record::Final(certificate) if self.is_open(&certificate.pledge) => {
                if let Ok(certificate) = certificate.clone().verify(at.constitution) {
                    self.conclude(certificate, out);
                }
            }
            Record::CaughtUp(block) => {
                let mut replayed = Outbox::default();
                self.caught_up(at, (**block).clone(), &mut replayed)?;
                out.finals.append(&mut replayed.finals);
            }
            Record::Opened(opened) => {
                if let Some(opening) = ColumnOpening::from_bytes(&opened.opening) {
                    self.opened.insert(opened.block, opening);
                }
            }
            Record::Built(block) => self.receive_own(at, block)?,
            Record::Proposed(pledge) if self.is_open(pledge) => self.vote(*pledge, self.nonce),
            Record::Headed(head) => {
                let before = at.constitutions.before(self.epoch);
                if let Some(before) = before {
                    self.headed(before, (**head).clone(), &mut Outbox::default());
                }
            }
            Record::Delivered(delivered) => {
                self.receive(at, &delivered.block, &delivered.delivery, false)?;
                self.keep_delivery(delivered.block.header, Some(&delivered.delivery));
            }
            // of a height that is final by now
            Record::Joined(_)
            | Record::Voted(_)
            | Record::Locked(_)
            | Record::Final(_)
            | Record::Proposed(_) => {}
            // about this node as a whole, its writer, or taken up by the ledger
            Record::NodeState(_)
            | Record::LogState(_)
            | Record::WriterState(_)
            | Record::Started(_)
            | Record::Heard(_)
            | Record::Restored(_)
            | Record::Fenced(_)
            | Record::Kept(_) => {}
        }
        Ok(())
    }

    /// What all records about this log come to, but for the blocks of the open height.
    #[must_use]
    pub fn state(&self) -> LogState {
        let last = match (&self.header_leaf, &self.certificate) {
            (Some(header), Some(certificate)) => Some(LastBlock {
                header: header.clone(),
                certificate: certificate.as_unverified().clone(),
                frontier: self.tip.frontier.clone(),
            }),
            _ => None,
        };
        LogState {
            log: self.log,
            epoch: self.epoch,
            awaiting: self.awaiting,
            stances: self.stances.clone(),
            last,
            content: self.content,
            salt: self.salt,
            disputed: self.disputed,
            closing: self.closing.as_ref().map(|closing| closing.as_unverified().clone()),
            joined: self.joined,
            nonce: self.nonce,
            votes: self.votes.clone(),
            lock: self.lock.as_ref().map(|lock| lock.as_unverified().clone()),
            taken: u64::try_from(self.taken).unwrap_or(u64::MAX),
            said: self.watch.iter().cloned().collect(),
        }
    }

    /// Blocks of the open height that came in and were voted for, and before each what opened its
    /// column here.
    pub fn deliveries(&self) -> impl Iterator<Item = Record> + '_ {
        self.received.iter().flat_map(|(id, received)| {
            let delivery = received.delivery.as_ref();
            let opening = received.opening.as_ref().filter(|_| delivery.is_some());
            let opened = opening.map(|opening| {
                let (log, opening) = (self.log, opening.to_bytes().to_vec());
                Record::Opened(Opened { log, block: *id, opening })
            });
            let delivered = delivery.map(|delivery| {
                let Header { epoch, height, .. } = received.header;
                let (size, root) = (received.frontier.size(), received.frontier.root());
                let block =
                    BlockReference { log: self.log, epoch, height, header: *id, size, root };
                Record::Delivered(Delivered { block, delivery: delivery.clone() })
            });
            opened.into_iter().chain(delivered)
        })
    }

    /// Takes a state up again. It comes from this node's own disk; what is signed in it is verified all
    /// the same, since nothing else makes a certificate or a lock.
    ///
    /// # Errors
    /// When its parts do not fit together, or a constitution is not known.
    pub fn take_up(
        &mut self,
        state: &LogState,
        constitutions: &Constitutions,
    ) -> Result<(), StateError> {
        let log = self.log;
        let of = |epoch| constitutions.of(epoch).ok_or(StateError::NoEpoch(epoch));
        let verified = |certificate: &UnverifiedCertificate| {
            let constitution = of(certificate.pledge.block.epoch)?;
            let verified = certificate.clone().verify(constitution);
            verified.map_err(|error| StateError::Quorum { log, error })
        };
        if let Some(LastBlock { header: leaf, certificate, frontier }) = &state.last {
            let certificate = verified(certificate)?;
            let header = Header::from_bytes(leaf);
            let header = header.map_err(|error| StateError::Header { log, error })?;
            let (block, id) =
                (certificate.block(), crate::log::merkle::leaf_hash(leaf).of_header());
            if (block.log, block.header, block.size, block.root)
                != (log, id, frontier.size(), frontier.root())
            {
                return Err(StateError::LastBlock(log));
            }
            self.tip = Tip::after(&header, id, frontier.clone());
            self.header_leaf = Some(leaf.clone());
            self.certificate = Some(certificate);
        }
        self.closing = state.closing.as_ref().map(verified).transpose()?;
        self.lock = match &state.lock {
            None => None,
            Some(lock) => {
                let lock = lock.clone().verify(of(state.epoch)?);
                Some(lock.map_err(|error| StateError::Quorum { log, error })?)
            }
        };
        self.epoch = state.epoch;
        self.awaiting = state.awaiting;
        self.stances = state.stances.clone();
        self.content = state.content;
        self.salt = state.salt;
        self.disputed = state.disputed;
        self.joined = state.joined;
        self.nonce = state.nonce;
        self.votes = state.votes.clone();
        self.taken = usize::try_from(state.taken).unwrap_or(usize::MAX);
        for said in &state.said {
            // what contradicts is evidence already
            let _ = self.watch.note(said.clone());
        }
        Ok(())
    }

    /// Takes note of a promise and of the votes behind its lock, where they are genuine.
    pub fn note_promise(
        &mut self,
        at: &Surroundings<'_>,
        message: &PromiseMessage,
        out: &mut Outbox,
    ) {
        if let Ok(promise) = Promise::verify(message.promise.clone(), at.constitution) {
            self.note(Said::Promise(promise.into_signed()), out);
        }
        // a lock that is held already has been taken note of
        let held = self.lock.as_ref().map(Lock::pledge);
        if let Some(lock) = &message.lock
            && Some(lock.pledge) != held
            && let Ok(lock) = lock.clone().verify(at.constitution)
        {
            self.note_all(lock.as_unverified().said(), out);
        }
    }

    fn note_all(&mut self, said: impl Iterator<Item = Said>, out: &mut Outbox) {
        said.for_each(|said| self.note(said, out));
    }

    fn is_open(&self, pledge: &Pledge) -> bool {
        pledge.block.log == self.log && Some(pledge.block.height) == self.tip.height.next()
    }
}

/// Public entries that are shown to others, each with its proof.
fn proven(
    header: &Header,
    run: Option<&LeafRun>,
    public: &[(LeafIndex, PublicEntry)],
) -> Vec<(PublicEntry, ProvenEntry)> {
    let shown = public.iter().filter(|(_, entry)| ProvenEntry::is_shown(entry)).collect::<Vec<_>>();
    let (Some(run), false) = (run, shown.is_empty()) else { return Vec::new() };
    let leaves = run.entries.hashes();
    let entries = shown.into_iter().filter_map(|(index, entry)| {
        let place = index.get().checked_sub(run.first.get())?;
        let bytes = run.entries.iter().nth(usize::try_from(place).ok()?)?.to_vec();
        let proof = run.proof.narrow(run.first, &leaves, header.body_size(), *index)?;
        Some((entry.clone(), ProvenEntry { index: *index, entry: bytes, proof }))
    });
    entries.collect()
}

/// Whether a round is above those that a writer may open, and none of the last ones.
fn is_beyond(round: Round) -> bool {
    round > ROUND_MAX && !closing::is_last(round)
}

/// How many valid promises of this opening there are, by different brands, and the highest lock
/// among them. A promise with an invalid lock is void.
pub fn count_promises<G: Guards>(
    constitution: &Constitution,
    open: &Open,
    promises: &[PromiseMessage],
) -> (usize, Option<Pledge>) {
    let mut signers = std::collections::BTreeSet::new();
    let mut highest: Option<Pledge> = None;
    for message in promises {
        let Some(lock) = valid_promise::<G>(constitution, open, message) else { continue };
        signers.insert(message.promise.signer);
        if let Some(lock) = lock
            && highest
                .is_none_or(|highest| G::allow(Guard::HighestLock, highest.round < lock.round))
        {
            highest = Some(lock);
        }
    }
    (signers.len(), highest)
}

/// Whether a promise answers this opening, with a lock that stands or none; gives that lock.
pub fn valid_promise<G: Guards>(
    constitution: &Constitution,
    open: &Open,
    message: &PromiseMessage,
) -> Option<Option<Pledge>> {
    let promise = Promise::verify(message.promise.clone(), constitution).ok()?;
    if !G::allow(Guard::PromiseOfOpening, promise.body().open == *open) {
        return None;
    }
    match (promise.body().lock, &message.lock) {
        (None, None) => Some(None),
        (Some(named), Some(lock)) if lock.pledge == named => {
            let below = named.round < open.round;
            let same = named.block.log == open.log && named.block.height == open.height;
            let proven = below && same && lock.clone().verify(constitution).is_ok();
            G::allow(Guard::LockProven, proven).then_some(Some(named))
        }
        _ => None,
    }
}

/// Reads headers whose certificates stand, each under the constitution of its own epoch. A header
/// that is known to be certified needs no second look at its certificate.
pub(super) fn read_certified(
    at: &Surroundings<'_>,
    carried: &[super::message::CertifiedHeader],
) -> Vec<(HeaderHash, Header)> {
    carried
        .iter()
        .filter_map(|carried| {
            let id = crate::log::merkle::leaf_hash(&carried.header).of_header();
            let header = Header::from_bytes(&carried.header).ok()?;
            if at.certified.contains(header.log, id) {
                return Some((id, header));
            }
            let constitution = at.constitutions.of(carried.certificate.pledge.block.epoch)?;
            let certificate = carried.certificate.clone().verify(constitution).ok()?;
            (certificate.block().header == id && certificate.block().log == header.log)
                .then_some((id, header))
        })
        .collect()
}
