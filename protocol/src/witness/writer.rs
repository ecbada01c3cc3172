//! The writer of the own log: takes submissions into a block and leads its agreement.
//!
//! One height is open at a time; what is submitted meanwhile goes into the next block. The writer is a
//! witness of its own log: its [`Witness`] holds tip, rounds, votes and lock, and everything the writer
//! signs passes it first. No timer decides anything: time only makes the writer repeat itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;

use super::build::{BuildError, OwnBlock, Plan};
use super::guards::{Guard, Guards, Upheld};
use super::message::{CertifiedHeader, Message, PromiseMessage, ProposalMessage, Refusal};
use super::record::Record;
use super::rules::{self, Violation};
use super::said::Said;
use super::snapshot::{AttemptState, WriterState};
use super::start::Presented;
use super::state::{Outbox, ROUND_MAX, Surroundings, Witness, count_promises, valid_promise};
use super::statement::{
    Commit, Endorsement, Lock, Open, Pledge, Proposal, Statement as _, UnverifiedCertificate,
    UnverifiedLock, Vote,
};
use crate::amount::Value;
use crate::constitution::Constitution;
use crate::crypto::sealed::{BlockSecret, sealed_leaf_bytes};
use crate::crypto::{Signature, Signed};
use crate::epochs::adoption;
use crate::exchange::Payload;
use crate::ids::{BlockNonce, BrandId, ConstitutionHash, Epoch, HeaderHash, Round, RoundNonce};
use crate::log::block::{
    APPLICATION_MAX, BLOCK_LEAVES_MAX, BODY_MAX, ColumnContent, PublicEntry, Recognised,
};
use crate::log::entries::LENGTH_BYTES;
use crate::log::settlement::Discharge;
use crate::time::{Milliseconds, Timestamp};

/// After how long without an answer a message is sent again.
pub const RESEND_AFTER: Milliseconds = Milliseconds::new(500);
/// Doublings of [`RESEND_AFTER`] that a writer waits at most before it opens the next round although
/// only some have refused.
const PATIENCE_DOUBLINGS_MAX: u32 = 6;
/// Most submissions that wait for a block.
pub const QUEUE_MAX: usize = 65_536;

/// Blocks of fewer leaves are not filled up to a power of two: they are cheap.
const FILLED_FROM: usize = 1024;

/// Random bytes, from outside.
pub trait Entropy {
    /// Fills the bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Why a submission is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It would take the brand over its credit limit.
    #[error(
        "brand {to} would be owed more than the credit limit allows; it can go on after the next clearing, or when {to} has sent points the other way"
    )]
    CreditLimit {
        /// Who would be owed.
        to: BrandId,
    },
    /// The counterparty is no brand of the alliance, or this brand itself.
    #[error("{0} is no other brand of the alliance")]
    NoCounterparty(BrandId),
    /// An exchange at another price than that of the constitution that the log is under.
    #[error("the rate to brand {to} has changed; quote the exchange again")]
    OtherPrice {
        /// With whom.
        to: BrandId,
    },
    /// Too many wait already.
    #[error("{QUEUE_MAX} submissions wait for a block already; try again in a moment")]
    QueueFull,
    /// An application's entry is too large.
    #[error("an application's entry of {found} bytes; the most is {APPLICATION_MAX}")]
    EntryTooLarge {
        /// Its bytes.
        found: usize,
    },
}

/// One attempt to have a block certified: one round.
struct Attempt {
    round: Round,
    open: Option<Open>,
    promises: BTreeMap<BrandId, PromiseMessage>,
    proposed: Option<(Pledge, Signature)>,
    votes: BTreeMap<BrandId, Signature>,
    lock: Option<Lock>,
    commits: BTreeMap<BrandId, Signature>,
    refusals: BTreeMap<BrandId, Refusal>,
    began: Timestamp,
    last_sent: Timestamp,
}

impl Attempt {
    const fn new(round: Round, began: Timestamp) -> Self {
        Self {
            round,
            open: None,
            promises: BTreeMap::new(),
            proposed: None,
            votes: BTreeMap::new(),
            lock: None,
            commits: BTreeMap::new(),
            refusals: BTreeMap::new(),
            began,
            last_sent: began,
        }
    }

    /// Whether somebody has refused and those who have not have had their time: twice as much in
    /// every further round, so that a liar's refusals alone cannot keep an honest quorum from voting.
    fn is_spent(&self, now: Timestamp) -> bool {
        let doublings = self.round.get().min(PATIENCE_DOUBLINGS_MAX);
        let patience = RESEND_AFTER.get().saturating_mul(1 << doublings);
        self.lock.is_none()
            && !self.refusals.is_empty()
            && now.distance(self.began).get() >= patience
    }

    /// The highest round that the open height is known to have been joined in. At most `faults` of
    /// the refusals lie, so that the next highest tells of a round no higher than an honest one.
    fn joined_elsewhere(&self, faults: usize) -> Round {
        let mut joined: Vec<Round> = self.refusals.values().map(|refusal| refusal.joined).collect();
        joined.sort_unstable_by(|one, other| other.cmp(one));
        joined.get(faults).copied().unwrap_or_default()
    }
}

/// The writer of one log.
pub struct Writer<G = Upheld> {
    public: VecDeque<PublicEntry>,
    sealed: VecDeque<(BrandId, Payload)>,
    // under which constitution's prices that was last looked through
    priced: Option<Epoch>,
    // exact contents of the last certified block's columns
    contents: BTreeMap<BrandId, ColumnContent>,
    // value of what waits or is in the open block, by counterparty
    pending: BTreeMap<BrandId, Value>,
    recognise: BTreeMap<BrandId, (Recognised, CertifiedHeader)>,
    discharge: BTreeMap<BrandId, Discharge>,
    acknowledge: bool,
    blocks: BTreeMap<HeaderHash, OwnBlock>,
    // blocks of the open height that a witness found to break a rule
    unfit: BTreeSet<HeaderHash>,
    attempt: Option<Attempt>,
    stalled: Option<Violation>,
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
            stalled: None,
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

    /// Takes a public entry into the next block.
    ///
    /// # Errors
    /// When too many wait, or the entry is too large.
    pub fn submit_public(&mut self, entry: PublicEntry) -> Result<(), SubmitError> {
        if let PublicEntry::Application(application) = &entry
            && application.body.len() > APPLICATION_MAX
        {
            return Err(SubmitError::EntryTooLarge { found: application.body.len() });
        }
        if self.public.len() >= QUEUE_MAX {
            return Err(SubmitError::QueueFull);
        }
        self.public.push_back(entry);
        Ok(())
    }

    /// Whether it waits for a block to say something of a draft, or has an open block that does.
    #[must_use]
    pub fn waits_to_state(&self, draft: &ConstitutionHash) -> bool {
        let built = self.blocks.values().flat_map(|block| block.submissions().0);
        let waiting = self.public.iter().cloned().chain(built);
        waiting
            .filter_map(|entry| adoption::stance(&entry))
            .any(|(it, _)| it.constitution == *draft)
    }

    /// Takes entries that belong together into the next block, before all else that waits.
    pub fn submit_together(&mut self, entries: Vec<PublicEntry>) {
        entries.into_iter().rev().for_each(|entry| self.public.push_front(entry));
    }

    /// Takes a sealed payload into the next block. An exchange is taken only while the brand stays
    /// two steps below its limits, so that a return always has room. A return is always taken, and
    /// goes before all else that waits: what it answers is recognised with it and not before.
    ///
    /// # Errors
    /// When a limit would be passed, or too many wait.
    pub fn submit_sealed(
        &mut self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        to: BrandId,
        payload: Payload,
    ) -> Result<(), SubmitError> {
        if to == at.me || !at.constitution.committee().contains(to) {
            return Err(SubmitError::NoCounterparty(to));
        }
        let answers = matches!(payload, Payload::Return(_));
        if !answers && self.sealed.len() >= QUEUE_MAX {
            return Err(SubmitError::QueueFull);
        }
        if let Payload::Exchange(exchange) = &payload {
            if exchange.check(at.constitution, (at.me, to)).is_err() {
                return Err(SubmitError::OtherPrice { to });
            }
            if !self.has_room(at, own, to, payload.value()) {
                return Err(SubmitError::CreditLimit { to });
            }
        }
        self.enqueue(to, payload);
        Ok(())
    }

    /// Takes back into the queue what was taken before a restart and is in no block. No limit is
    /// asked: it was when it was taken, and returns that came in since go before it.
    ///
    /// # Errors
    /// When the counterparty is none.
    pub fn submit_again(
        &mut self,
        at: &Surroundings<'_>,
        to: BrandId,
        payload: Payload,
    ) -> Result<(), SubmitError> {
        if to == at.me || !at.constitution.committee().contains(to) {
            return Err(SubmitError::NoCounterparty(to));
        }
        // priced before the restart: whether it still stands is looked at with the next block
        self.priced = None;
        self.enqueue(to, payload);
        Ok(())
    }

    fn enqueue(&mut self, to: BrandId, payload: Payload) {
        let value = payload.value();
        let answers = matches!(payload, Payload::Return(_));
        let pending = self.pending.entry(to).or_default();
        *pending = pending.plus(value).unwrap_or(Value::MAX);
        if answers {
            self.sealed.push_front((to, payload));
        } else {
            self.sealed.push_back((to, payload));
        }
    }

    fn has_room(&self, at: &Surroundings<'_>, own: &Witness<G>, to: BrandId, value: Value) -> bool {
        let constitution = at.constitution;
        let step = constitution.total_step();
        let Some(brand) = constitution.brand(at.me) else { return false };
        let exposures: Option<Vec<Value>> = constitution
            .committee()
            .witnesses(at.me)
            .map(|counterparty| {
                let sent = self.contents.get(&counterparty).map_or(Value::ZERO, |c| c.sent);
                let waiting = self.pending.get(&counterparty).copied().unwrap_or_default();
                let more = if counterparty == to { value } else { Value::ZERO };
                let ceiling = sent.plus(waiting).ok()?.plus(more).ok()?.ceiling_to(step).ok()?;
                let recognised = own.tip().recognised(counterparty);
                let exposure = rules::public_exposure(step, ceiling, &recognised);
                // what is about to be recognised counts where it is worse: a claim that was paid
                let next = self.recognise.get(&counterparty);
                let next = next.map(|(next, _)| rules::public_exposure(step, ceiling, next));
                let exposure = next.unwrap_or_default().max(exposure);
                let reserve = step.plus(step).ok()?;
                // what nothing new is sent to needs no room
                if counterparty == to { exposure.plus(reserve).ok() } else { Some(exposure) }
            })
            .collect();
        let within = exposures.is_some_and(|exposures| rules::within_limits(brand, &exposures));
        G::allow(Guard::RoomForMore, within)
    }

    /// From the next block on, recognises a log up to a block that has been applied. `answer` says
    /// that its writer waits for the acknowledgement: then a block is built for it alone if need be.
    pub fn recognise(
        &mut self,
        log: BrandId,
        recognised: Recognised,
        proof: CertifiedHeader,
        answer: bool,
    ) {
        self.recognise.insert(log, (recognised, proof));
        self.acknowledge |= answer;
    }

    /// From the next block on, grants what a settled statement discharges; a block is built for it
    /// alone if need be.
    pub fn discharge(&mut self, granted: BTreeMap<BrandId, Discharge>) {
        self.discharge.extend(granted);
    }

    /// What is to be granted and is not yet: as far as the counterparty's log is recognised up to the
    /// cut-off, so that the header bears it out.
    fn grants(
        &self,
        own: &Witness<G>,
        waiting: &BTreeSet<BrandId>,
    ) -> BTreeMap<BrandId, Discharge> {
        let due = self.discharge.iter().filter(|(log, granted)| {
            let before = own.tip().column(**log).map(|column| column.discharged);
            let next = self.recognise.get(log).filter(|_| !waiting.contains(log));
            let known = own.tip().recognised(**log).sent;
            let known = next.map_or(known, |(next, _)| next.sent.max(known));
            granted.cut_off > before.unwrap_or_default().cut_off && granted.received <= known
        });
        due.map(|(log, granted)| (*log, *granted)).collect()
    }

    /// Logs whose recognition waits. A payee that grants a discharge takes back
    /// the claim that was paid with it: where that would take this brand over a limit, recognising it
    /// waits until something else is settled or comes the other way.
    fn waiting_logs(&self, at: &Surroundings<'_>, own: &Witness<G>) -> BTreeSet<BrandId> {
        let tip = own.tip();
        let grants =
            |log: &BrandId, next: &Recognised| next.discharged != tip.recognised(*log).discharged;
        let Some(brand) = at.constitution.brand(at.me) else { return BTreeSet::new() };
        if !self.recognise.iter().any(|(log, (next, _))| grants(log, next)) {
            return BTreeSet::new();
        }
        let step = at.constitution.total_step();
        let mut exposures = Vec::new();
        let mut raising = BTreeSet::new();
        for log in at.constitution.committee().witnesses(at.me) {
            let sent = self.contents.get(&log).map_or(Value::ZERO, |content| content.sent);
            let pending = self.pending.get(&log).copied().unwrap_or_default();
            let ceiling = sent.plus(pending).and_then(|sent| sent.ceiling_to(step));
            let ceiling = ceiling.unwrap_or(Value::MAX);
            let before = rules::public_exposure(step, ceiling, &tip.recognised(log));
            let next = self.recognise.get(&log).map(|(next, _)| next);
            let after = next.map(|next| rules::public_exposure(step, ceiling, next));
            if after > Some(before) {
                raising.insert(log);
            }
            exposures.push(after.unwrap_or(before));
        }
        if rules::within_limits(brand, &exposures) { BTreeSet::new() } else { raising }
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
        // a block may be there since before a crash
        if self.blocks.is_empty() {
            let work = self.acknowledge
                || !self.public.is_empty()
                || !self.sealed.is_empty()
                || at.next.due(at.now).is_some()
                || !self.grants(own, &self.waiting_logs(at, own)).is_empty();
            if !work {
                return;
            }
            if let Some(due) = at.next.due(at.now)
                && adoption::switch(&self.public).is_none()
            {
                self.submit_together(due.entries());
            }
            let (public, sealed) = self.take_submissions(at.constitution);
            match self.build(at, own, entropy, &public, &sealed) {
                Ok(block) => {
                    self.acknowledge = false;
                    out.records.push(Record::Built(Box::new(block.clone())));
                    self.blocks.insert(block.reference().header, block);
                }
                Err(violation) => {
                    // nothing that was submitted is lost; the node shows why it cannot write
                    public.into_iter().rev().for_each(|entry| self.public.push_front(entry));
                    sealed.into_iter().rev().for_each(|entry| self.sealed.push_front(entry));
                    self.stalled = Some(violation);
                    return;
                }
            }
        }
        self.begin(at, own, entropy, out);
    }

    /// Begins with the open height: by proposing its block, or by opening a round where a restored
    /// writer must.
    fn begin(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(height) = own.tip().height.next() else { return };
        if !at.standing.may_begin_unopened::<G>(at.me, height) {
            self.open_round(at, own, own.joined(), entropy, out);
        } else if let Some(id) = self.blocks.keys().next().copied() {
            self.attempt = Some(Attempt::new(own.joined(), at.now));
            self.propose(at, own, id, out);
        }
    }

    /// After a change of constitution: gives back what was priced by the one before, and drops what
    /// was to be said on constitutions that no longer are to come.
    fn look_through(&mut self, at: &Surroundings<'_>, out: &mut Outbox) {
        let constitution = at.constitution;
        if self.attempt.is_some()
            || self.priced.replace(constitution.epoch()) == Some(constitution.epoch())
        {
            return;
        }
        let next = constitution.epoch().next();
        self.public.retain(|entry| match entry {
            PublicEntry::Adopted(draft)
            | PublicEntry::Declined(draft)
            | PublicEntry::Switch(draft) => Some(draft.epoch) == next,
            PublicEntry::Ballot(ballot) => {
                ballot.certificate.pledge.block.epoch == constitution.epoch()
            }
            _ => true,
        });
        for (to, payload) in std::mem::take(&mut self.sealed) {
            let stands = match &payload {
                Payload::Exchange(exchange) => exchange.check(constitution, (at.me, to)).is_ok(),
                _ => constitution.committee().contains(to),
            };
            if stands {
                self.sealed.push_back((to, payload));
            } else {
                let pending = self.pending.entry(to).or_default();
                *pending = pending.saturating_minus(payload.value());
                out.rejected.push((to, payload));
            }
        }
    }

    /// What the next block takes of what waits, in order. When more waits than fills half of the next
    /// larger block, a block is filled instead, and the rest goes into the one after it: leaves come to
    /// a power of two, and padding costs as much as what it stands for.
    fn take_submissions(
        &mut self,
        constitution: &Constitution,
    ) -> (Vec<PublicEntry>, Vec<(BrandId, Payload)>) {
        let leaves = usize::try_from(BLOCK_LEAVES_MAX).unwrap_or(1);
        // half of the bytes for public entries at their largest, half for sealed ones; unless there
        // are only sealed ones
        let public_most = (BODY_MAX / 2 / (2 * APPLICATION_MAX)).min(leaves / 2);
        let public_count = public_most.min(self.public.len());
        let bytes = if public_count == 0 { BODY_MAX } else { BODY_MAX / 2 };
        let leaf = sealed_leaf_bytes(constitution.payload_size()).saturating_add(LENGTH_BYTES);
        let room = bytes.checked_div(leaf).unwrap_or(1).saturating_add(1).min(leaves);
        // the padding has to fit as well
        let largest = if room.is_power_of_two() { room } else { room.next_power_of_two() / 2 };
        let beside = public_count.saturating_add(1);
        let waiting = self.sealed.len().min(largest.saturating_sub(beside));
        let with_all = waiting.saturating_add(beside);
        let filled = with_all.next_power_of_two() / 2;
        let wasteful = with_all > FILLED_FROM
            && with_all < filled.saturating_add(filled / 2)
            && filled > beside;
        let sealed_count = if wasteful { filled.saturating_sub(beside) } else { waiting };
        let public = self.public.drain(..public_count).collect();
        let sealed = self.sealed.drain(..sealed_count).collect();
        (public, sealed)
    }

    fn build(
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

    fn propose(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        id: HeaderHash,
        out: &mut Outbox,
    ) {
        let (Some(attempt), Some(block)) = (&mut self.attempt, self.blocks.get(&id)) else {
            return;
        };
        let pledge = Pledge { block: block.reference(), round: attempt.round };
        let opened = attempt.open.is_some();
        if (opened || at.standing.may_begin_unopened::<G>(at.me, pledge.block.height))
            && own.propose_own(pledge, out)
        {
            let proposal = Signed::sign(at.me, Proposal(pledge), &at.keys.log);
            attempt.proposed = Some((pledge, proposal.signature));
            attempt.last_sent = at.now;
            self.send_proposals(at, own, &[], out);
        }
    }

    /// Sends the proposal to every witness that has not voted, but for those in `except`.
    fn send_proposals(
        &self,
        at: &Surroundings<'_>,
        own: &Witness<G>,
        except: &[BrandId],
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let Some((pledge, signature)) = attempt.proposed else { return };
        let Some(block) = self.blocks.get(&pledge.block.header) else { return };
        let Ok(deliveries) = block.deliveries(at.constitution) else { return };
        let previous = own.certificate().map(|known| known.as_unverified().clone());
        let incarnation = at.standing.incarnation();
        let presented = Signed::sign(at.me, Presented { pledge, incarnation }, &at.keys.log);
        for to in at.constitution.committee().witnesses(at.me) {
            if attempt.votes.contains_key(&to) || except.contains(&to) {
                continue;
            }
            let Ok(delivery) = deliveries.to(to, true) else { continue };
            let message = ProposalMessage {
                proposal: Signed { signer: at.me, body: Proposal(pledge), signature },
                previous: previous.clone(),
                promises: attempt.promises.values().cloned().collect(),
                delivery,
                incarnation,
                presentation: presented.signature,
            };
            out.messages.push((to, Message::Proposal(Box::new(message))));
        }
    }

    /// A witness has voted.
    pub fn vote(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        vote: Signed<Vote>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some((pledge, proposal)) = attempt.proposed else { return };
        let height = pledge.block.height;
        if vote.body.0 != pledge && vote.body.0.block.log == at.me {
            // for another block: that it can stand beside this brand's other votes is not said
            if let Ok(vote) = Vote::verify(vote, at.constitution) {
                own.note(Said::Vote(vote.into_signed()), out);
            }
            return;
        }
        if vote.body.0 != pledge
            || vote.signer == at.me
            || attempt.lock.is_some()
            || !at.standing.may_write::<G>(at.me, height)
        {
            return;
        }
        let Ok(vote) = Vote::verify(vote, at.constitution) else { return };
        own.note(Said::Vote(vote.as_signed().clone()), out);
        attempt.votes.insert(vote.signer(), vote.signature());
        // the proposal is the writer's vote
        let votes = attempt.votes.len().saturating_add(1);
        if votes < at.constitution.committee().quorum() {
            return;
        }
        let lock = UnverifiedLock { pledge, proposal, votes: endorsements(&attempt.votes) };
        let Ok(lock) = lock.verify(at.constitution) else { return };
        own.hold(lock.clone(), out);
        let commit = Signed::sign(at.me, Commit(pledge), &at.keys.vote);
        attempt.commits.insert(at.me, commit.signature);
        attempt.lock = Some(lock);
        attempt.last_sent = at.now;
        self.send_lock(at, out);
    }

    fn send_lock(&self, at: &Surroundings<'_>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let Some(lock) = &attempt.lock else { return };
        for to in at.constitution.committee().witnesses(at.me) {
            if !attempt.commits.contains_key(&to) {
                out.messages.push((to, Message::Lock(lock.as_unverified().clone())));
            }
        }
    }

    /// A witness has the lock on disk; gives the final block when a quorum has.
    pub fn commit(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        commit: Signed<Commit>,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some((pledge, proposal)) = attempt.proposed else { return };
        if commit.body.0 != pledge || attempt.lock.is_none() {
            return;
        }
        let Ok(commit) = Commit::verify(commit, at.constitution) else { return };
        own.note(Said::Commit(commit.as_signed().clone()), out);
        attempt.commits.insert(commit.signer(), commit.signature());
        if attempt.commits.len() < at.constitution.committee().quorum() {
            return;
        }
        let commits = endorsements(&attempt.commits);
        let certificate = UnverifiedCertificate { pledge, proposal, commits };
        self.certified(at, own, certificate.clone(), out);
        for to in at.constitution.committee().witnesses(at.me) {
            out.messages.push((to, Message::Certified(certificate.clone())));
        }
    }

    /// The open block, or one proposed at its height before, is final.
    pub fn certified(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        certificate: UnverifiedCertificate,
        out: &mut Outbox,
    ) {
        let header = certificate.pledge.block.header;
        if !self.blocks.contains_key(&header) {
            return;
        }
        let Ok(certificate) = certificate.verify(at.constitution) else { return };
        let before = own.tip().height;
        own.certified(certificate, out);
        if own.tip().height > before {
            self.finish(at, header, out);
        }
    }

    fn finish(&mut self, at: &Surroundings<'_>, header: HeaderHash, out: &mut Outbox) {
        let Some(block) = self.blocks.remove(&header) else { return };
        self.blocks.clear();
        self.unfit.clear();
        self.attempt = None;
        let witnesses = at.constitution.committee().witnesses(at.me);
        self.contents = witnesses.zip(block.contents().iter().copied()).collect();
        for sent in block.payloads() {
            if let Some(pending) = self.pending.get_mut(&sent.to) {
                *pending = pending.saturating_minus(sent.payload.value());
            }
        }
        out.written.push(block);
    }

    /// A witness has not done what it was asked. After n-q+1 of them the round cannot succeed, and
    /// the next is opened. With fewer it still could, but the rest may never answer: then the next
    /// round is opened when they have had their time ([`Attempt::is_spent`]). Rounds are safe to open
    /// at any time; what is decided is up to the promises.
    pub fn refused(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        by: BrandId,
        refusal: Refusal,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let open = own.tip().height.next();
        let here = Some(refusal.height) == open && refusal.round == attempt.round;
        if !here || !at.standing.may_write::<G>(at.me, refusal.height) {
            return;
        }
        attempt.refusals.insert(by, refusal);
        let committee = at.constitution.committee();
        // what liars alone refuse may be fit
        let about = attempt.refusals.values().filter(|it| rules::is_about_the_block(it.rule));
        if about.count() > committee.faults()
            && let Some((pledge, _)) = attempt.proposed
        {
            self.unfit.insert(pledge.block.header);
        }
        let spare = committee.size().saturating_sub(committee.quorum());
        // a block that breaks a rule in a later round too is not tried again at the network's speed
        let passed = attempt.joined_elsewhere(committee.faults()) > attempt.round;
        if attempt.refusals.len() > spare && (attempt.round == Round::new(0) || passed) {
            self.next_round(at, own, entropy, out);
        }
    }

    fn next_round(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let joined = attempt.joined_elsewhere(at.constitution.committee().faults());
        let above = joined.max(attempt.round).max(own.joined());
        self.open_round(at, own, above, entropy, out);
    }

    /// Rule 3, the writer's side: opens the round after `above`.
    fn open_round(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        above: Round,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let (Some(round), Some(height)) = (above.next(), own.tip().height.next()) else { return };
        if round > ROUND_MAX {
            return;
        }
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let nonce = RoundNonce::from_bytes(nonce);
        own.join(round, nonce, out);
        let (log, epoch, incarnation) = (at.me, at.constitution.epoch(), at.standing.incarnation());
        let open = Open { log, epoch, height, round, nonce, incarnation };
        self.begin_round(at, own, open);
        self.send_opening(at, out);
    }

    fn begin_round(&mut self, at: &Surroundings<'_>, own: &Witness<G>, open: Open) {
        let mut attempt = Attempt::new(open.round, at.now);
        attempt.open = Some(open);
        if at.standing.own_promise_counts::<G>(at.me, at.constitution.committee(), open.height) {
            attempt.promises.insert(at.me, own.promise(at, open));
        }
        self.attempt = Some(attempt);
    }

    fn send_opening(&self, at: &Surroundings<'_>, out: &mut Outbox) {
        let Some(attempt) = &self.attempt else { return };
        let Some(open) = attempt.open else { return };
        let signed = Signed::sign(at.me, open, &at.keys.log);
        for to in at.constitution.committee().witnesses(at.me) {
            if !attempt.promises.contains_key(&to) {
                out.messages.push((to, Message::Open(signed.clone())));
            }
        }
    }

    /// A witness has joined the open round; with q of them the choice is made (rule 5).
    pub fn promised(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        message: PromiseMessage,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        let Some(open) = attempt.open else { return };
        if attempt.proposed.is_some()
            || !at.standing.may_write::<G>(at.me, open.height)
            || valid_promise::<G>(at.constitution, &open, &message).is_none()
        {
            return;
        }
        own.note_promise(at, &message, out);
        attempt.promises.insert(message.promise.signer, message);
        self.choose(at, own, entropy, out);
    }

    fn choose(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) {
        let Some(attempt) = &self.attempt else { return };
        let Some(open) = attempt.open else { return };
        let promises: Vec<PromiseMessage> = attempt.promises.values().cloned().collect();
        let (count, locked) = count_promises::<G>(at.constitution, &open, &promises);
        if !G::allow(Guard::PromiseQuorum, count >= at.constitution.committee().quorum()) {
            return;
        }
        let is_free = G::allow(Guard::LockedProposal, locked.is_none());
        let chosen = match locked {
            Some(lock) if !is_free => Some(lock.block.header),
            _ => self.any_block(at, own, entropy, out),
        };
        if let Some(id) = chosen {
            self.propose(at, own, id, out);
        }
    }

    /// With no lock any valid block may be proposed: one that was built for this height, byte for
    /// byte, unless a witness found it broke a rule (its time was too far off, say). Then the same
    /// submissions are built into a new one, which replaces it: with no lock among q promises, the own
    /// one included, none was ever made, and what has no lock cannot become final any more.
    fn any_block(
        &mut self,
        at: &Surroundings<'_>,
        own: &mut Witness<G>,
        entropy: &mut dyn Entropy,
        out: &mut Outbox,
    ) -> Option<HeaderHash> {
        let fit = self.blocks.keys().find(|id| !self.unfit.contains(id)).copied();
        if fit.is_some() {
            return fit;
        }
        let (mut public, mut sealed) = self.blocks.values().next()?.submissions();
        if let Some(due) = at.next.due(at.now)
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
                if at.now.distance(attempt.last_sent) < RESEND_AFTER {
                    return;
                }
                attempt.last_sent = at.now;
            }
        }
        let Some(attempt) = &self.attempt else { return };
        if attempt.is_spent(at.now) {
            self.next_round(at, own, entropy, out);
        } else if attempt.lock.is_some() {
            self.send_lock(at, out);
        } else if attempt.proposed.is_some() {
            self.send_proposals(at, own, &[], out);
        } else if attempt.open.is_some() {
            self.send_opening(at, out);
            self.choose(at, own, entropy, out);
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
                    let pending = self.pending.entry(sent.to).or_default();
                    *pending = pending.plus(sent.payload.value()).unwrap_or(Value::MAX);
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
            Record::WriterState(state) => self.take_up(at, own, state),
            _ => {}
        }
    }

    /// What all records of the own log come to for its writer, beside the open block.
    #[must_use]
    pub fn state(&self, log: BrandId) -> WriterState {
        let begun = |attempt: &&Attempt| attempt.open.is_some() || attempt.proposed.is_some();
        let attempt = self.attempt.as_ref().filter(begun).map(|attempt| AttemptState {
            round: attempt.round,
            opened: attempt.open.map(|open| open.nonce),
            proposed: attempt.proposed.map(|(pledge, _)| pledge),
            locked: attempt.lock.is_some(),
        });
        let contents = self.contents.iter().map(|(to, content)| (*to, *content)).collect();
        WriterState { log, contents, attempt }
    }

    /// Takes such a state up again, by the steps that made it.
    fn take_up(&mut self, at: &Surroundings<'_>, own: &Witness<G>, state: &WriterState) {
        self.contents = state.contents.iter().copied().collect();
        let Some(attempt) = &state.attempt else { return };
        if let (Some(nonce), Some(height)) = (attempt.opened, own.tip().height.next()) {
            let (epoch, log, round) = (at.constitution.epoch(), at.me, attempt.round);
            let incarnation = at.standing.incarnation();
            self.begin_round(at, own, Open { log, epoch, height, round, nonce, incarnation });
        }
        if let Some(pledge) = attempt.proposed {
            self.proposed_before(at, pledge);
        }
        if attempt.locked {
            self.locked_before(at, own);
        }
    }

    fn proposed_before(&mut self, at: &Surroundings<'_>, pledge: Pledge) {
        let now = Timestamp::from_unix_ms(0);
        let attempt = self.attempt.get_or_insert_with(|| Attempt::new(pledge.round, now));
        let proposal = Signed::sign(at.me, Proposal(pledge), &at.keys.log);
        attempt.proposed = Some((pledge, proposal.signature));
    }

    fn locked_before(&mut self, at: &Surroundings<'_>, own: &Witness<G>) {
        if let (Some(attempt), Some(lock)) = (&mut self.attempt, own.lock()) {
            let commit = Signed::sign(at.me, Commit(lock.pledge()), &at.keys.vote);
            attempt.commits.insert(at.me, commit.signature);
            attempt.lock = Some(lock.clone());
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
            attempt.began = at.now;
            attempt.last_sent = Timestamp::from_unix_ms(0);
            if let Some(open) = &mut attempt.open {
                open.incarnation = at.standing.incarnation();
                attempt.promises = BTreeMap::from([(at.me, own.promise(at, *open))]);
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

/// Whether this node writes at its open height (rules 11 to 13).
fn may_act<G: Guards>(at: &Surroundings<'_>, own: &Witness<G>) -> bool {
    let open = own.tip().height.next().filter(|_| own.closing().is_none());
    open.is_some_and(|height| at.standing.may_write::<G>(at.me, height))
}

fn endorsements(signatures: &BTreeMap<BrandId, Signature>) -> Vec<Endorsement> {
    signatures
        .iter()
        .map(|(signer, signature)| Endorsement { signer: *signer, signature: *signature })
        .collect()
}
