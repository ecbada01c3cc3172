//! What a node does with the ledger: wants things certified, credits what others sent, sends some back.
//!
//! [`Application`] is what is on disk, each block one transaction; [`Books`] is rebuilt from the log
//! at every start. Knows no members and no balances: an entry that was credited is a row.

use std::collections::{BTreeMap, BTreeSet};

use protocol::exchange::{LegState, OutgoingLegs, Payload, Return, ReturnReason};
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::ledger::Ledger;
use protocol::log::block::PublicEntry;
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::guards::Guards;
use protocol::witness::state::FinalBlock;
use protocol::witness::writer::SubmitError;

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
#[derive(Debug, Default)]
pub struct Application {
    wanted: BTreeMap<Request, Wanted>,
    // everything that was ever applied: credited, or decided to go back
    applied: BTreeMap<(BrandId, LeafIndex), Payload>,
    returns: BTreeMap<(BrandId, LeafIndex), Return>,
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
    // the last block of each log that said something to this brand
    spoken: BTreeMap<BrandId, Height>,
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

    /// Whether everything that was wanted is certified or was refused.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.wanted.is_empty()
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
                Err(SubmitError::CreditLimit { .. }) => refused.push(request.clone()),
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
            // nothing here is sent back by a member
            let until = Timestamp::default();
            books.legs.certified(sent.index, height, until, sent.to, sent.payload.clone());
        }
        books.note(block);
        let (public, sealed) = block.submissions();
        for request in public.iter().filter_map(public_request) {
            self.wanted.remove(&request);
        }
        for (to, payload) in sealed {
            self.wanted.remove(&Request::Sealed(to, payload.to_bytes()));
        }
    }

    /// Another brand's block is final: applies what it says to `me`, each leaf once for ever.
    ///
    /// # Errors
    /// What an honest writer would not have said.
    pub fn block(
        &mut self,
        books: &mut Books,
        me: BrandId,
        block: &FinalBlock,
        prng: &mut Prng,
    ) -> Result<Applied, String> {
        let log = block.block.log;
        let payloads = block.payloads.as_ref().map_err(ToString::to_string)?;
        let mut applied = Vec::new();
        for (index, payload) in payloads {
            books.spoken.insert(log, block.block.height);
            if let Payload::Return(back) = payload {
                let taken = books.legs.returned(log, back, block.header.time);
                taken.map_err(|error| error.to_string())?;
            }
            let leaf = (log, *index);
            if let Some(before) = self.applied.get(&leaf) {
                if before != payload {
                    return Err(format!("leaf {log}/{index} says something else than before"));
                }
                continue;
            }
            self.applied.insert(leaf, payload.clone());
            applied.push((leaf, payload.clone()));
            let returnable = !matches!(payload, Payload::Return(_));
            if returnable && prng.below(RETURNED_ONE_IN) == 0 {
                let reason = ReturnReason::NotLinked;
                if let Some(back) = Return::whole(*index, reason, payload) {
                    self.returns.insert(leaf, back);
                }
            }
        }
        if let Some(column) = block.header.column(me) {
            books.legs.recognised(log, column.recognised.height);
        }
        Ok(applied)
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
        let (public, sealed) = block.submissions();
        self.submitted.extend(public.iter().filter_map(public_request));
        for (to, payload) in sealed {
            if let Payload::Return(back) = &payload {
                self.returned.insert((to, back.original));
            }
            self.submitted.insert(Request::Sealed(to, payload.to_bytes()));
        }
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

fn public_request(entry: &PublicEntry) -> Option<Request> {
    match entry {
        PublicEntry::Application(application) => Some(Request::Public(application.body.clone())),
        _ => None,
    }
}
