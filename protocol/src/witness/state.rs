//! One witness's state for one log: rules 2 to 8, 10 and 12 of the agreement.
//!
//! A node holds one of these for every log of the alliance, its own included: a writer is a witness
//! of its own log, its proposal being its vote. Methods change state and put what must be on disk and
//! what may then be said into an [`Outbox`]; nothing in it may be sent before its records are synced.

mod blocks;
mod finality;
mod outbox;
mod promises;
mod snapshot;
mod surroundings;
mod voting;

use std::collections::BTreeMap;
use std::marker::PhantomData;

pub(super) use self::blocks::{Brought, read_certified};
pub use self::outbox::{FinalBlock, Outbox};
pub use self::promises::{Counted, are_too_many};
pub use self::surroundings::{Next, Surroundings};
use super::closing;
use super::dispute::{AgreeError, Agreed, Dispute};
use super::guards::{Guard, Guards, Upheld};
use super::message::{CatchUp, Delivery, Message, Refusal};
use super::rules::{Tip, Violation};
use super::said::{Position, Said, Stage};
use super::statement::{Certificate, Lock, Pledge};
use super::watch::Watch;
use crate::codec::Shared;
use crate::epochs::adoption::{ProvenEntry, Stances};
use crate::exchange::Payload;
use crate::ids::{BrandId, Commitment, Epoch, HeaderHash, Height, LeafIndex, Round, RoundNonce};
use crate::log::block::{BlockReference, ColumnContent, ColumnOpening, Header, PublicEntry};
use crate::log::fragments::Fragment;
use crate::log::merkle::Frontier;
use crate::log::resolution::DisputeResolved;

/// The last round there is: every round joined is a record, and a writer that lies could fill the disk
/// with them. An honest one that is refused for weeks on end stops here.
pub const ROUND_MAX: Round = Round::new(1 << 16);

/// Rule number of a refusal because a later incarnation of the writer is known.
pub(crate) const RULE_INCARNATION: u16 = 103;

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
    // this node's own, where it is a witness of the block
    fragment: Option<Fragment>,
    // what is wrapped to this node does not open with the keys that are left
    unread: bool,
    // of a column that does not stand: what of it could
    salvaged: Vec<(LeafIndex, Payload)>,
    // what the log offers this node as the end of a dispute
    offered: Option<Box<DisputeResolved>>,
    // what the block before commits to as this node's column
    committed: Option<Commitment>,
    // the rule that a block which was not judged before it was final is found to break
    unsound: Option<Violation>,
    // as it came, of a block that has to be taken up again after a restart
    delivery: Option<Shared<Delivery>>,
    // whether this node was a restored one when it came
    restored: bool,
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
    // a block could not be read with the keys that are left: the exact content is not known
    unread: bool,
    dispute: Option<Box<Dispute>>,
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
            unread: false,
            dispute: None,
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
    /// The same with the salt it was committed with; none when that block could not be read.
    #[must_use]
    pub fn opened(&self) -> Option<(ColumnContent, [u8; 32])> {
        (!self.unread).then_some((self.content, self.salt))
    }
    /// Whether a certified block of this log said something to this node that cannot stand.
    #[must_use]
    pub const fn is_disputed(&self) -> bool {
        self.dispute.is_some()
    }
    /// What is in dispute, and how far it has come.
    #[must_use]
    pub fn dispute(&self) -> Option<&Dispute> {
        self.dispute.as_deref()
    }
    /// This brand agrees to what the log offers as the end of the dispute: from its next block on the
    /// log is credited again. Gives what is to be credited now.
    ///
    /// # Errors
    /// When there is no offer that can be agreed to.
    pub fn agree(&mut self) -> Result<Agreed, AgreeError> {
        let dispute = self.dispute.as_ref().ok_or(AgreeError::NoDispute)?;
        let agreed = dispute.agree()?;
        self.content = agreed.content;
        self.unread = false;
        self.dispute = None;
        Ok(agreed)
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

    /// Rule 14: whether this node takes part in the last rounds of the log: its brand has agreed that it be
    /// closed, by its operator's word or by a constitution. The accused never does.
    #[must_use]
    pub fn may_join_last(&self, at: &Surroundings<'_>, height: Height) -> bool {
        G::allow(Guard::ClosingAgreed, at.closes)
            && at.me != self.log
            && at.standing.may_sign::<G>(self.log, height)
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

    fn note_all(&mut self, said: impl Iterator<Item = Said>, out: &mut Outbox) {
        said.for_each(|said| self.note(said, out));
    }

    fn is_open(&self, pledge: &Pledge) -> bool {
        pledge.block.log == self.log && Some(pledge.block.height) == self.tip.height.next()
    }
}
