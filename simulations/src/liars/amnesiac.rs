//! A witness that has forgotten everything, every time: it joins any round without a lock, votes for
//! any block unseen, commits any lock, and tells whoever starts that it knows nothing of them.
//!
//! What it answers does not pass its node's disk. At times it does not answer at all. As an accomplice
//! it does so for some brands' logs only.

use std::collections::BTreeSet;

use protocol::crypto::Signed;
use protocol::ids::BrandId;
use protocol::witness::message::{Message, PromiseMessage};
use protocol::witness::start::{Acknowledgement, LogAnswer};
use protocol::witness::statement::{Commit, Promise, Vote, VotingKeys};

use crate::alliance::voting_keys;
use crate::prng::Prng;

/// What the dishonest part of the node knows.
pub struct Amnesiac {
    me: BrandId,
    keys: VotingKeys,
    // whose logs; none for all
    of: Option<BTreeSet<BrandId>>,
    prng: Prng,
}

/// Whether it is one of the messages that an amnesiac answers in its node's stead.
#[must_use]
pub const fn is_answer(message: &Message) -> bool {
    matches!(
        message,
        Message::Promise(_)
            | Message::Vote(_)
            | Message::Commit(_)
            | Message::Refusal(_)
            | Message::Acknowledgement(_)
    )
}

impl Amnesiac {
    /// The forgetful part of a brand, for these brands' logs or for all.
    #[must_use]
    pub fn new(me: BrandId, of: Option<BTreeSet<BrandId>>, prng: Prng) -> Self {
        Self { me, keys: voting_keys(me, 0), of, prng }
    }

    /// What it answers in its node's stead, if it does.
    pub fn hear(&mut self, from: BrandId, message: &Message) -> Option<Vec<(BrandId, Message)>> {
        let log = match message {
            Message::Open(open) => open.body.log,
            Message::Proposal(proposal) => proposal.proposal.body.0.block.log,
            Message::LastProposal(proposal) => proposal.proposal.body.0.block.log,
            Message::Lock(lock) => lock.pledge.block.log,
            Message::Start(_) if self.of.is_none() => from,
            _ => return None,
        };
        let concerned = self.of.as_ref().is_none_or(|of| of.contains(&log)) && log != self.me;
        if !concerned || self.prng.below(3) == 0 {
            return None;
        }
        if self.of.is_none() && self.prng.below(4) == 0 {
            return Some(Vec::new());
        }
        let (me, vote) = (self.me, &self.keys.vote);
        let answer = match message {
            Message::Open(open) => {
                let promise = Signed::sign(me, Promise { open: open.body, lock: None }, vote);
                Message::Promise(Box::new(PromiseMessage { promise, lock: None }))
            }
            Message::Proposal(proposal) => {
                Message::Vote(Signed::sign(me, Vote(proposal.proposal.body.0), vote))
            }
            Message::LastProposal(proposal) => {
                Message::Vote(Signed::sign(me, Vote(proposal.proposal.body.0), vote))
            }
            Message::Lock(lock) => Message::Commit(Signed::sign(me, Commit(lock.pledge), vote)),
            Message::Start(start) => {
                let logs = self.logs(start.signer);
                let (brand, start) = (start.signer, start.body);
                let answer =
                    Acknowledgement { brand, start, started: None, said: Vec::new(), logs };
                Message::Acknowledgement(Box::new(Signed::sign(me, answer, vote)))
            }
            _ => return None,
        };
        Some(vec![(from, answer)])
    }

    /// That nothing of any log was ever certified.
    fn logs(&self, brand: BrandId) -> Vec<LogAnswer> {
        let nothing = |log| LogAnswer { log, certificate: None, vouches: true, open: None };
        // more logs than there are harm nobody
        let logs = (0..22).map(crate::alliance::brand_of);
        logs.chain([brand]).collect::<BTreeSet<_>>().into_iter().map(nothing).collect()
    }
}
