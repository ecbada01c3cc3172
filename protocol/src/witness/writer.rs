//! The writer of the own log: takes submissions into a block and leads its agreement.
//!
//! One height is open at a time; what is submitted meanwhile goes into the next block. The writer is a
//! witness of its own log: its [`Witness`] holds tip, rounds, votes and lock, and everything the writer
//! signs passes it first. No timer decides anything: time only makes the writer repeat itself.

mod blocks;
mod recognition;
mod room;
mod rounds;
mod snapshot;
mod submissions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;

use self::room::Pending;
use self::rounds::Attempt;
pub use self::submissions::{QUEUE_MAX, SubmitError};
use super::build::OwnBlock;
use super::guards::{Guards, Upheld};
use super::led::Step;
use super::message::CertifiedHeader;
use super::record::Record;
use super::rules::Violation;
use super::state::{Outbox, Surroundings, Witness};
use super::statement::Open;
use crate::exchange::Payload;
use crate::ids::{BrandId, Epoch, HeaderHash};
use crate::log::block::{BlockReference, ColumnContent, PublicEntry, Recognised};
use crate::log::settlement::Discharge;
use crate::time::{Milliseconds, Timestamp};

/// After how long without an answer a message is sent again.
pub const RESEND_AFTER: Milliseconds = Milliseconds::new(500);

/// Random bytes, from outside.
pub trait Entropy {
    /// Fills the bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The writer of one log.
pub struct Writer<G = Upheld> {
    public: VecDeque<PublicEntry>,
    sealed: VecDeque<(BrandId, Payload)>,
    // under which constitution's prices that was last looked through
    priced: Option<Epoch>,
    // exact contents of the last certified block's columns
    contents: BTreeMap<BrandId, ColumnContent>,
    // what waits or is in the open block, by counterparty
    pending: BTreeMap<BrandId, Pending>,
    recognise: BTreeMap<BrandId, (Recognised, CertifiedHeader)>,
    discharge: BTreeMap<BrandId, Discharge>,
    acknowledge: bool,
    blocks: BTreeMap<HeaderHash, OwnBlock>,
    // blocks of the open height that a witness found to break a rule
    unfit: BTreeSet<HeaderHash>,
    attempt: Option<Attempt>,
    // the block that a lock forces and that is not here: it was made in a former life
    missing: Option<BlockReference>,
    stalled: Option<Violation>,
    // logs to which nothing can be sent any more
    ended: BTreeSet<BrandId>,
    // logs that the block which is being built does not recognise: that would have no room
    deferred: BTreeSet<BrandId>,
    guards: PhantomData<G>,
}

impl<G: Guards> Writer<G> {
    /// A writer with nothing to write.
    #[must_use]
    pub fn new() -> Self {
        Self {
            public: VecDeque::new(),
            sealed: VecDeque::new(),
            priced: None,
            contents: BTreeMap::new(),
            pending: BTreeMap::new(),
            recognise: BTreeMap::new(),
            discharge: BTreeMap::new(),
            acknowledge: false,
            blocks: BTreeMap::new(),
            unfit: BTreeSet::new(),
            attempt: None,
            missing: None,
            stalled: None,
            ended: BTreeSet::new(),
            deferred: BTreeSet::new(),
            guards: PhantomData,
        }
    }

    /// Exact contents of the last certified block's columns.
    #[must_use]
    pub const fn contents(&self) -> &BTreeMap<BrandId, ColumnContent> {
        &self.contents
    }
    /// The rule by which this writer found its own block wanting, if it did: a fault to be looked at.
    #[must_use]
    pub const fn stalled(&self) -> Option<&Violation> {
        self.stalled.as_ref()
    }
    /// The block of the open height, if one was built. What was submitted into it will be final with
    /// this height, in this block or in one built anew: a node that restarts must submit nothing of
    /// it again.
    #[must_use]
    pub fn open_block(&self) -> Option<&OwnBlock> {
        self.blocks.values().next()
    }
    /// All of them: beside the one that was built, one of a former life that a lock may force.
    pub fn open_blocks(&self) -> impl Iterator<Item = &OwnBlock> {
        self.blocks.values()
    }
    /// The block that a lock forces this writer to propose and that it does not have: made before its
    /// disk was lost, and to be had from those who voted for it.
    #[must_use]
    pub const fn missing(&self) -> Option<BlockReference> {
        self.missing
    }
    /// Whether nothing waits and no block is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.attempt.is_none() && self.public.is_empty() && self.sealed.is_empty()
    }

    /// Whether a block that is not decided yet has a time not after this one.
    #[must_use]
    pub fn has_open_block_until(&self, time: Timestamp) -> bool {
        self.blocks.values().any(|block| block.time().is_none_or(|built| built <= time))
    }

    /// Builds and proposes a block if there is anything to say and no height is open.
    pub fn poll(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        self.look_through(at, out);
        if self.attempt.is_some() || self.stalled.is_some() || !may_act(at, own) {
            return;
        }
        let Some(height) = own.tip().height.next() else { return };
        let may_begin = at.standing.may_begin_unopened::<G>(at.me, height);
        // a block may be there since before a crash
        if self.blocks.is_empty() {
            self.drop_outdated(at, own, out);
            let aside = self.make_room(&BTreeSet::new(), at, own, out);
            let unready = self.set_aside(at.me);
            // what it had begun at this height is decided first, with nothing to say if need be
            let work = self.acknowledge
                || !may_begin
                || !self.public.is_empty()
                || !self.sealed.is_empty()
                || at.next.due::<G>(at.now).is_some()
                || !self.grants(own, &self.recognised_next(own)).is_empty();
            self.put_back(aside);
            unready.into_iter().rev().for_each(|entry| self.public.push_front(entry));
            // a restored writer hears first whether a lock forces a block of its former life
            if !work || may_begin && self.build_next(at, own, entropy, out).is_none() {
                return;
            }
        }
        self.begin(at, own, entropy, out);
    }

    /// Repeats what has had no answer for a while, and goes on after a restart.
    pub fn tick(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        self.stalled = None;
        if !may_act(at, own) {
            return;
        }
        match &mut self.attempt {
            None => return self.poll(at, own, entropy, out),
            Some(attempt) => {
                // a clock that was set back must not silence the writer
                if at.now.distance(attempt.led.last_sent) < RESEND_AFTER {
                    return;
                }
                attempt.led.last_sent = at.now;
            }
        }
        let Some(attempt) = &self.attempt else { return };
        if attempt.is_spent(at.now) {
            self.next_round(at, own, entropy, out);
            return;
        }
        match attempt.led.step() {
            Some(Step::Lock) => self.send_lock(at, out),
            Some(Step::Propose) => self.send_proposals(at, own, &[], out),
            Some(Step::Open) => {
                self.send_opening(at, out);
                self.choose(at, own, entropy, out);
            }
            None => {}
        }
    }

    /// Brings the writer to where a record of its own log left it; the witness has replayed it.
    pub fn replay(
        &mut self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        record: &Record,
        out: &mut Outbox,
    ) {
        match record {
            Record::Built(block) => {
                // a second block of one height has the first one's submissions
                let first = self.blocks.is_empty();
                for sent in block.payloads().iter().filter(|_| first) {
                    self.pending.entry(sent.to).or_default().add(&sent.payload);
                }
                self.blocks = BTreeMap::from([(block.reference().header, (**block).clone())]);
            }
            Record::Joined(joined) => {
                let (epoch, log) = (at.constitution.epoch(), at.me);
                let (height, round, nonce) = (joined.height, joined.round, joined.nonce);
                let incarnation = at.standing.incarnation();
                self.begin_round(at, own, Open { log, epoch, height, round, nonce, incarnation });
            }
            Record::Proposed(pledge) => self.proposed_before(at, *pledge),
            Record::Locked(_) => self.locked_before(at, own),
            Record::Final(certificate) => {
                self.finish(at, certificate.pledge.block.header, out);
            }
            Record::Rebuilt(rebuilt) => {
                self.rebuilt(at, &rebuilt.block, rebuilt.certificate.is_some(), out);
            }
            Record::WriterState(state) => self.take_up(at, own, state),
            _ => {}
        }
    }

    /// After the last record, and when the node may sign: goes on with the attempt of before the
    /// crash under the present incarnation, or proposes a block that was built and never proposed.
    pub fn resume(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(height) = own.tip().height.next() else { return };
        if !at.standing.may_begin_unopened::<G>(at.me, height) {
            self.abandon();
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.led.began = at.now;
            attempt.led.last_sent = Timestamp::from_unix_ms(0);
            if let Some(open) = &mut attempt.led.open {
                open.incarnation = at.standing.incarnation();
                attempt.led.promises = BTreeMap::from([(at.me, own.promise(at, *open))]);
            }
        }
        self.poll(at, own, entropy, out);
    }

    /// Rule 13: what was begun before this node was restored is not gone on with.
    pub fn abandon(&mut self) {
        self.attempt = None;
    }
}

impl<G: Guards> Default for Writer<G> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an entry is of the kind that a block was refused for.
const fn is_cause(violation: &Violation, entry: &PublicEntry) -> bool {
    matches!(
        (violation, entry),
        (Violation::Resolution { .. }, PublicEntry::DisputeResolved(_))
            | (Violation::ClosedOut { .. }, PublicEntry::ClosedOut(_))
    )
}

/// Whether this node writes at its open height (rules 11 to 13).
fn may_act<G: Guards>(at: &Surroundings<'_>, own: &Witness<G>) -> bool {
    let open = own.tip().height.next().filter(|_| own.closing().is_none());
    open.is_some_and(|height| at.standing.may_write::<G>(at.me, height))
}
