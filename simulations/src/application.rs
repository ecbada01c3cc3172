//! What a node does with the ledger: wants things certified, credits what others sent, sends some back.
//!
//! [`Application`] is what is on disk, each block one transaction; [`Books`] is rebuilt from the log
//! at every start. Knows no members and no balances: an entry that was credited is a row.

use std::collections::{BTreeMap, BTreeSet};

use protocol::amount::{Points, Value};
use protocol::epochs::adoption::Stance;
use protocol::exchange::{Exchange, LegState, OutgoingLegs, Payload, Return, ReturnReason};
use protocol::ids::{BrandId, ConstitutionHash, Height, LeafIndex};
use protocol::ledger::{Ledger, StanceError};
use protocol::log::block::{Entry, PublicEntry};
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::guards::Guards;
use protocol::witness::state::FinalBlock;
use protocol::witness::writer::SubmitError;

use crate::alliance::RETURN_WINDOW;
use crate::prng::Prng;

/// One in so many entries cannot be applied and goes back.
const RETURNED_ONE_IN: usize = 6;

/// Something the brand wants certified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Bytes for everyone.
    Public(Vec<u8>),
    /// A payload for one brand.
    Sealed(BrandId, Vec<u8>),
}

/// What a node has on disk besides the ledger's records.
#[derive(Clone, Debug, Default)]
pub struct Application {
    wanted: BTreeMap<Request, Wanted>,
    // everything that was ever applied: credited, or decided to go back
    applied: BTreeMap<(BrandId, LeafIndex), Payload>,
    returns: BTreeMap<(BrandId, LeafIndex), Return>,
    // what the brand wants to say of drafts and has not said yet
    stances: BTreeMap<ConstitutionHash, Stance>,
    cut_offs: BTreeSet<Timestamp>,
    // frozen logs that the brand wants closed
    closes: BTreeSet<BrandId>,
}

#[derive(Clone, Debug)]
enum Wanted {
    Public(PublicEntry),
    Sealed(BrandId, Payload),
}

/// What is rebuilt from the log.
#[derive(Clone, Debug, Default)]
pub struct Books {
    legs: OutgoingLegs,
    // in the queue, in the open block, or final
    submitted: BTreeSet<Request>,
    returned: BTreeSet<(BrandId, LeafIndex)>,
    // the same, final alone
    entered: (BTreeSet<Request>, BTreeSet<(BrandId, LeafIndex)>),
    // the last block of each log that said something to this brand
    spoken: BTreeMap<BrandId, Height>,
    // in a block of the own log, and in a final one
    closed_out: BTreeSet<BrandId>,
    closed_out_for_good: BTreeSet<BrandId>,
}

/// An exchange that was credited, as far as its member can send it back.
#[derive(Clone, Debug)]
pub struct Returnable {
    /// Whose log it is in.
    pub log: BrandId,
    /// Where.
    pub leaf: LeafIndex,
    exchange: Exchange,
    /// Points that have not been sent back.
    pub left: Points,
    // parts that have
    parts: BTreeSet<Points>,
}

impl Returnable {
    /// What goes back of it; none when it comes to nothing, or would read like what was sent back before.
    #[must_use]
    pub fn part(&self, points: Points) -> Option<Return> {
        let part = self.exchange.part(points).ok()?;
        let sound = points <= self.left && !part.sent.is_zero() && !self.parts.contains(&points);
        let (reason, value) = (ReturnReason::Member, part.value);
        sound.then_some(Return { original: self.leaf, reason, value, points })
    }
}

/// Leaves that were applied for the first time.
pub type Applied = Vec<((BrandId, LeafIndex), Payload)>;

impl Application {
    /// A member asks for something. Kept until it is certified.
    pub fn want_sealed(&mut self, to: BrandId, payload: Payload) {
        let request = Request::Sealed(to, payload.to_bytes());
        self.wanted.insert(request, Wanted::Sealed(to, payload));
    }

    /// The brand wants to say something to everyone. Kept until it is certified.
    pub fn want_public(&mut self, entry: PublicEntry) {
        if let Some(request) = public_request(&entry) {
            self.wanted.insert(request, Wanted::Public(entry));
        }
    }

    /// An entry was submitted and will be in no block.
    pub fn outdated(&mut self, books: &mut Books, entry: &PublicEntry) {
        if let Some(request) = public_request(entry) {
            self.wanted.remove(&request);
            books.submitted.remove(&request);
        }
    }

    /// Whether the brand has closed out a log, or is about to.
    #[must_use]
    pub fn closes_out(&self, books: &Books, log: BrandId) -> bool {
        let about = |wanted: &Wanted| matches!(wanted, Wanted::Public(PublicEntry::ClosedOut(it)) if it.log == log);
        books.closed_out.contains(&log) || self.wanted.values().any(about)
    }

    /// The brand wants to say whether it adopts a draft; the last word counts until it is said.
    pub fn want_stance(&mut self, draft: ConstitutionHash, stance: Stance) {
        self.stances.insert(draft, stance);
    }

    /// Someone at this brand asks for a cut-off.
    pub fn want_cut_off(&mut self, cut_off: Timestamp) {
        self.cut_offs.insert(cut_off);
    }
    /// Cut-offs that were asked for.
    #[must_use]
    pub const fn cut_offs(&self) -> &BTreeSet<Timestamp> {
        &self.cut_offs
    }

    /// The brand agrees that a log be closed as soon as it is frozen.
    pub fn want_closed(&mut self, log: BrandId) {
        self.closes.insert(log);
    }
    /// Logs that the brand wants closed.
    #[must_use]
    pub const fn closes(&self) -> &BTreeSet<BrandId> {
        &self.closes
    }

    /// Whether everything that was wanted is certified or was refused.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether this is wanted and not certified yet.
    #[must_use]
    pub fn waits_for(&self, entry: &PublicEntry) -> bool {
        public_request(entry).is_some_and(|request| self.wanted.contains_key(&request))
    }

    /// What was taken and is in no block and will be in none: the member is told so.
    pub fn rejected(&mut self, books: &mut Books, to: BrandId, payload: &Payload) {
        let request = Request::Sealed(to, payload.to_bytes());
        self.wanted.remove(&request);
        books.submitted.remove(&request);
    }

    /// Says in the own log what the brand wants to say of drafts, as far as it can be said now.
    pub fn state<G: Guards>(&mut self, ledger: &mut Ledger<G>) {
        self.stances.retain(|draft, stance| match ledger.state(*draft, *stance) {
            // the file is still to come, or the refusals of an earlier draft are
            Err(StanceError::Unknown(_) | StanceError::EarlierDraft { .. }) => true,
            // waits for a block; a crash may lose it before there is one
            Ok(_) => true,
            Err(StanceError::Stated(_)) => {
                let own = ledger.witness(ledger.me());
                own.is_none_or(|own| own.stances().on(draft).is_none())
            }
            Err(StanceError::NotNext { found, next }) => found > next,
        });
    }

    /// Everything that was ever applied.
    #[must_use]
    pub const fn applied(&self) -> &BTreeMap<(BrandId, LeafIndex), Payload> {
        &self.applied
    }

    /// Hands what is wanted and not yet submitted to the ledger; gives what was refused for credit.
    pub fn submit<G: Guards>(&mut self, books: &mut Books, ledger: &mut Ledger<G>) -> usize {
        let mut refused = Vec::new();
        for (request, wanted) in &self.wanted {
            if books.submitted.contains(request) {
                continue;
            }
            let result = match wanted.clone() {
                Wanted::Public(entry) => ledger.submit_public(entry),
                Wanted::Sealed(to, payload) => ledger.submit_sealed(to, payload),
            };
            match result {
                Ok(()) => drop(books.submitted.insert(request.clone())),
                // the member is told so at once
                Err(
                    SubmitError::CreditLimit { .. }
                    | SubmitError::OtherPrice { .. }
                    | SubmitError::NoCounterparty(_)
                    | SubmitError::Ended { .. },
                ) => refused.push(request.clone()),
                Err(_) => {}
            }
        }
        refused.iter().for_each(|request| drop(self.wanted.remove(request)));
        refused.len()
    }

    /// An own block is final.
    pub fn written(&mut self, books: &mut Books, block: &OwnBlock) {
        let height = block.reference().height;
        for sent in block.payloads() {
            let until = block.time().unwrap_or_default().plus(RETURN_WINDOW);
            books.legs.certified(sent.index, height, until, sent.to, sent.payload.clone());
        }
        books.note(block);
        books.note_final(block);
        let (public, sealed) = block.submissions();
        for request in public.iter().filter_map(public_request) {
            self.wanted.remove(&request);
        }
        for (to, payload) in sealed {
            self.wanted.remove(&Request::Sealed(to, payload.to_bytes()));
        }
    }

    /// Another brand's block is final: applies what it says to `me`, each leaf once for ever, and
    /// `decides` what goes back. Gives as well what an honest writer would not have said.
    pub fn block(
        &mut self,
        books: &mut Books,
        (me, decides): (BrandId, bool),
        block: &FinalBlock,
        prng: &mut Prng,
    ) -> (Applied, Option<String>) {
        let log = block.block.log;
        let mut applied = Vec::new();
        let mut fault = None;
        let payloads = match &block.payloads {
            Ok(payloads) => payloads,
            Err(violation) => return (applied, Some(violation.to_string())),
        };
        for (index, payload) in payloads {
            books.spoken.insert(log, block.block.height);
            if let Payload::Return(back) = payload {
                let leg = books.legs.leg(back.original);
                let acknowledged = leg.is_some_and(|leg| leg.state == LegState::Acknowledged);
                if acknowledged && back.reason != ReturnReason::Member {
                    fault = Some(format!("leaf {} comes back acknowledged", back.original));
                }
                let taken = books.legs.returned(log, back, block.header.time);
                fault = taken.err().map(|error| error.to_string()).or(fault);
            }
            let leaf = (log, *index);
            if let Some(before) = self.applied.get(&leaf) {
                if before != payload {
                    fault = Some(format!("leaf {log}/{index} says something else than before"));
                }
                continue;
            }
            self.applied.insert(leaf, payload.clone());
            applied.push((leaf, payload.clone()));
            let returnable = !matches!(payload, Payload::Return(_));
            if returnable && decides && prng.below(RETURNED_ONE_IN) == 0 {
                let reason = ReturnReason::NotLinked;
                if let Some(back) = Return::whole(*index, reason, payload) {
                    self.returns.insert(leaf, back);
                }
            }
        }
        if let Some(column) = block.header.column(me) {
            books.legs.recognised(log, column.recognised.height);
        }
        (applied, fault)
    }

    /// What members could still send back: of each exchange that was credited and stays so, what is left.
    #[must_use]
    pub fn returnable(&self, books: &Books) -> Vec<Returnable> {
        let asked: BTreeSet<&Request> = self.wanted.keys().chain(&books.submitted).collect();
        let mut gone: BTreeMap<(BrandId, LeafIndex), BTreeSet<Points>> = BTreeMap::new();
        for request in asked {
            if let Request::Sealed(to, bytes) = request
                && let Ok(Payload::Return(back)) = Payload::decode(bytes)
            {
                gone.entry((*to, back.original)).or_default().insert(back.points);
            }
        }
        let mut left = Vec::new();
        for ((log, leaf), payload) in &self.applied {
            let Payload::Exchange(exchange) = payload else { continue };
            if self.returns.contains_key(&(*log, *leaf)) {
                continue;
            }
            let parts = gone.get(&(*log, *leaf)).cloned().unwrap_or_default();
            let back =
                parts.iter().fold(Points::ZERO, |sum, it| sum.plus(*it).unwrap_or(Points::MAX));
            let rest = exchange.received.saturating_minus(back);
            if !rest.is_zero() {
                let (log, leaf, exchange) = (*log, *leaf, exchange.clone());
                left.push(Returnable { log, leaf, exchange, left: rest, parts });
            }
        }
        left
    }

    /// Tells the ledger how far a log has been applied, with what goes back.
    pub fn answer<G: Guards>(&self, books: &mut Books, ledger: &mut Ledger<G>, log: BrandId) {
        let first = (log, LeafIndex::new(0));
        let last = (log, LeafIndex::new(u64::MAX));
        let due: Vec<_> = self
            .returns
            .range(first..=last)
            .filter(|(leaf, _)| !books.returned.contains(leaf))
            .map(|(leaf, back)| (*leaf, back.clone()))
            .collect();
        let recognised = ledger.witness(ledger.me()).map(|own| own.tip().recognised(log).height);
        let answer = books.spoken.get(&log).copied() > recognised;
        let backs = due.iter().map(|(_, back)| back.clone()).collect();
        if ledger.applied(log, backs, answer).is_ok() {
            books.returned.extend(due.into_iter().map(|(leaf, _)| leaf));
        }
    }
}

impl Books {
    /// Takes note of what a block of the own log holds, final or open: it need not be submitted.
    pub fn note(&mut self, block: &OwnBlock) {
        take_note(block, &mut self.submitted, &mut self.returned);
        self.closed_out.extend(closed_out(block));
    }

    fn note_final(&mut self, block: &OwnBlock) {
        take_note(block, &mut self.entered.0, &mut self.entered.1);
        self.closed_out_for_good.extend(closed_out(block));
    }

    /// What is left of them when the machine goes down: what only waits is forgotten.
    #[must_use]
    pub fn at_rest(&self) -> Self {
        let (submitted, returned) = self.entered.clone();
        let closed_out = self.closed_out_for_good.clone();
        Self { submitted, returned, closed_out, ..self.clone() }
    }

    /// What exchanges in own blocks above a height were worth that were sent to a brand, and what
    /// returns there were.
    #[must_use]
    pub fn sent_above(&self, to: BrandId, height: Height) -> (Value, Value) {
        let later = self.legs.iter().filter(|(_, leg)| leg.to == to && leg.height > height);
        later.fold((Value::ZERO, Value::ZERO), |(sent, back), (_, leg)| {
            let value = leg.payload.value();
            match &leg.payload {
                Payload::Return(_) => (sent, back.plus(value).unwrap_or(Value::MAX)),
                _ => (sent.plus(value).unwrap_or(Value::MAX), back),
            }
        })
    }

    /// Leaves sent to these brands that are neither acknowledged nor returned.
    #[must_use]
    pub fn unsettled(&self, brands: &BTreeSet<BrandId>) -> usize {
        let to = |to| brands.contains(&to);
        self.legs.iter().filter(|(_, leg)| to(leg.to) && leg.state == LegState::Final).count()
    }

    /// Leaves by what became of them: acknowledged, returned.
    #[must_use]
    pub fn settled(&self) -> (usize, usize) {
        let count = |state| self.legs.iter().filter(|(_, leg)| leg.state == state).count();
        (count(LegState::Acknowledged), count(LegState::Returned))
    }
}

fn closed_out(block: &OwnBlock) -> impl Iterator<Item = BrandId> {
    block.public().into_iter().filter_map(|entry| match entry {
        PublicEntry::ClosedOut(it) => Some(it.log),
        _ => None,
    })
}

fn take_note(
    block: &OwnBlock,
    submitted: &mut BTreeSet<Request>,
    returned: &mut BTreeSet<(BrandId, LeafIndex)>,
) {
    let (public, sealed) = block.submissions();
    submitted.extend(public.iter().filter_map(public_request));
    for (to, payload) in sealed {
        if let Payload::Return(back) = &payload {
            returned.insert((to, back.original));
        }
        submitted.insert(Request::Sealed(to, payload.to_bytes()));
    }
}

fn public_request(entry: &PublicEntry) -> Option<Request> {
    match entry {
        PublicEntry::Application(_)
        | PublicEntry::Settled(_)
        | PublicEntry::DisputeOpened(_)
        | PublicEntry::DisputeResolved(_)
        | PublicEntry::ClosedOut(_)
        | PublicEntry::SettlementConfirmed(_) => {
            Some(Request::Public(Entry::Public(entry.clone()).to_bytes()))
        }
        _ => None,
    }
}
