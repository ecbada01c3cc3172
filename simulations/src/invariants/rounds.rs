//! What is signed about rounds, and that every brand says one thing (rules 3 to 7).

use std::collections::BTreeSet;

use protocol::ids::{BrandId, Round};
use protocol::witness::message::{Message, PromiseMessage};
use protocol::witness::statement::{Open, Pledge, Promise};

use super::{Observer, Violation, ensure};

impl Observer {
    /// An honest writer signs one block for one height and round.
    pub(super) fn invariant_one_proposal_a_round(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Proposal(proposal) = message else { return Ok(()) };
        let Pledge { block, round } = proposal.proposal.body.0;
        let first = *self.proposals.entry((by, block.height, round)).or_insert(block.header);
        ensure("one proposal a round", first == block.header && block.log == by, || {
            format!("{by} proposed {first:?} and {:?} at {}/{round}", block.header, block.height)
        })
    }

    /// Above round 0 an honest writer proposes what the highest lock it was told of calls for.
    pub(super) fn invariant_a_proposal_follows_its_promises(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Proposal(proposal) = message else { return Ok(()) };
        let Pledge { block, round } = proposal.proposal.body.0;
        let Some((_, highest)) = self.called_for(&proposal.promises) else { return Ok(()) };
        let follows = highest.is_none_or(|lock| lock.block == block);
        ensure("a proposal follows its promises", follows, || {
            format!("{by} proposes {block:?} in round {round}, highest lock {highest:?}")
        })
    }

    /// Above round 0 an honest witness votes only for what a quorum of promises, of the opening it has
    /// joined itself, calls for.
    pub(super) fn invariant_a_vote_follows_the_promises(
        &mut self,
        by: BrandId,
        heard: Option<&Message>,
        said: &Message,
    ) -> Result<(), Violation> {
        if let Message::Promise(message) = said {
            let open = message.promise.body.open;
            self.joined.insert((by, (open.log, open.height, open.round)), open.nonce);
        }
        let (Some(Message::Proposal(proposal)), Message::Vote(vote)) = (heard, said) else {
            return Ok(());
        };
        let Pledge { block, round } = vote.body.0;
        // a vote that is said again when another proposal is heard
        if round == Round::new(0) || proposal.proposal.body.0 != vote.body.0 {
            return Ok(());
        }
        let joined = self.joined.get(&(by, (block.log, block.height, round)));
        let follows = self.called_for(&proposal.promises).is_some_and(|(open, highest)| {
            (open.log, open.height, open.round) == (block.log, block.height, round)
                && highest.is_none_or(|lock| lock.block == block)
                && joined.is_none_or(|nonce| *nonce == open.nonce)
        });
        ensure("a vote follows the promises", follows, || {
            let shown = &proposal.promises;
            format!("{by} votes for {block:?} in round {round}, joined {joined:?}, shown {shown:?}")
        })
    }

    /// What a quorum of promises of one opening calls for, if these are one: the opening, and the
    /// highest lock that a quorum voted for.
    fn called_for(&self, promises: &[PromiseMessage]) -> Option<(Open, Option<Pledge>)> {
        let open = promises.first()?.promise.body.open;
        let quorum = self.committee(open.epoch)?.quorum();
        let mut signers = BTreeSet::new();
        let mut highest: Option<Pledge> = None;
        for message in promises.iter().filter(|message| message.promise.body.open == open) {
            let proven = message.lock.as_ref().is_some_and(|lock| lock.votes.len() + 1 >= quorum);
            match message.promise.body.lock {
                Some(_) if !proven => continue,
                Some(lock) if highest.is_none_or(|highest| highest.round < lock.round) => {
                    highest = Some(lock);
                }
                _ => {}
            }
            signers.insert(message.promise.signer);
        }
        (signers.len() >= quorum).then_some((open, highest))
    }

    /// An honest witness votes for one block in one height and round.
    pub(super) fn invariant_one_vote_a_round(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Vote(vote) = message else { return Ok(()) };
        let Pledge { block, round } = vote.body.0;
        let slot = (block.log, block.height, round);
        let first = *self.votes.entry((by, slot)).or_insert(block);
        ensure("one vote a round", first == block, || {
            format!("{by} voted for {first:?} and {block:?} in round {round}")
        })
    }

    /// An honest witness promises no round below one it has promised.
    pub(super) fn invariant_promises_rise(
        &self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Message::Promise(message) = message else { return Ok(()) };
        let open = message.promise.body.open;
        let promised = self.promised.get(&(by, open.log, open.height)).copied();
        ensure("promises rise", open.round >= promised.unwrap_or_default(), || {
            format!(
                "{by} promised {}/{} round {} after {promised:?}",
                open.log, open.height, open.round
            )
        })
    }

    /// Who has committed in a round tells of that lock, or a higher one, in every promise after it.
    pub(super) fn invariant_promises_tell_of_the_lock(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        match message {
            Message::Commit(commit) => {
                let Pledge { block, round } = commit.body.0;
                let highest = self.committed.entry((by, block.log, block.height)).or_default();
                *highest = round.max(*highest);
                Ok(())
            }
            Message::Promise(message) => {
                let Promise { open, lock } = message.promise.body;
                let committed = self.committed.get(&(by, open.log, open.height)).copied();
                let told = lock.map(|lock| lock.round);
                ensure("promises tell of the lock", told >= committed, || {
                    format!("{by} tells of {told:?} after committing in {committed:?}")
                })
            }
            _ => Ok(()),
        }
    }

    /// Who has promised a round neither votes nor commits below it.
    pub(super) fn invariant_no_commit_below_a_promise(
        &mut self,
        by: BrandId,
        message: &Message,
    ) -> Result<(), Violation> {
        let (slot, said) = match message {
            Message::Promise(message) => {
                let open = message.promise.body.open;
                let highest = self.promised.entry((by, open.log, open.height)).or_default();
                *highest = open.round.max(*highest);
                return Ok(());
            }
            Message::Vote(vote) => (vote.body.0, "voted"),
            Message::Commit(commit) => (commit.body.0, "committed"),
            _ => return Ok(()),
        };
        let promised = self.promised.get(&(by, slot.block.log, slot.block.height)).copied();
        ensure(
            "no vote or commit below a promise",
            slot.round >= promised.unwrap_or_default(),
            || format!("{by} {said} in round {} after promising {promised:?}", slot.round),
        )
    }
}
