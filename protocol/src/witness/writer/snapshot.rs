//! What all records of the own log come to for its writer, and taking that up again
//! ([`crate::witness::snapshot`]).

use super::Writer;
use super::rounds::Attempt;
use crate::crypto::Signed;
use crate::ids::BrandId;
use crate::time::Timestamp;
use crate::witness::guards::Guards;
use crate::witness::snapshot::{AttemptState, WriterState};
use crate::witness::state::{Surroundings, Witness};
use crate::witness::statement::{Commit, Open, Pledge, Proposal};

impl<G: Guards> Writer<G> {
    /// What all records of the own log come to for its writer, beside the blocks that are open.
    #[must_use]
    pub fn state(&self, log: BrandId) -> WriterState {
        let led = self.attempt.as_ref().map(|attempt| &attempt.led);
        let begun = led.filter(|led| led.open.is_some() || led.proposed.is_some());
        let attempt = begun.map(|led| AttemptState {
            round: led.round,
            opened: led.open.map(|open| open.nonce),
            proposed: led.proposed.map(|(pledge, _)| pledge),
            locked: led.lock.is_some(),
        });
        let contents = self.contents.iter().map(|(to, content)| (*to, *content)).collect();
        WriterState { log, contents, attempt }
    }

    /// Takes up what the last block's columns had.
    pub fn take_up_contents(&mut self, state: &WriterState) {
        self.contents = state.contents.iter().copied().collect();
    }

    /// Takes up the round that the open height was in, by the steps that made it.
    pub(super) fn take_up(&mut self, at: &Surroundings<'_>, own: &Witness<G>, state: &WriterState) {
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

    pub(super) fn proposed_before(&mut self, at: &Surroundings<'_>, pledge: Pledge) {
        let now = Timestamp::from_unix_ms(0);
        let attempt = self.attempt.get_or_insert_with(|| Attempt::new(pledge.round, now));
        let proposal = Signed::sign(at.me, Proposal(pledge), &at.keys.log);
        attempt.led.proposed = Some((pledge, proposal.signature));
    }

    pub(super) fn locked_before(&mut self, at: &Surroundings<'_>, own: &Witness<G>) {
        if let (Some(attempt), Some(lock)) = (&mut self.attempt, own.lock()) {
            let commit = Signed::sign(at.me, Commit(lock.pledge()), &at.keys.vote);
            attempt.led.commits.insert(at.me, commit.signature);
            attempt.led.lock = Some(lock.clone());
        }
    }
}
