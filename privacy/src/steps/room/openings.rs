//! Openings of an attempt: those that their makers send, and those that others give to who lacks one.

use super::super::entry::AttemptId;
use super::super::message::{Message, Opening};
use super::super::record::Record;
use super::super::{ATTACH_AFTER_MILLIS, Clock, Effect};
use super::{CleanRoom, MessageError};
use crate::accounting::Facts;
use crate::ids::{ParticipantId, VectorHash};
use crate::masked_sum::MaskedVector;

impl CleanRoom {
    /// Takes an opening of `of` that `from` brings: its maker, or another who has it.
    pub(super) fn opening(
        &mut self,
        (from, of): (ParticipantId, ParticipantId),
        opening: Opening,
        clock: Clock,
    ) -> Result<Vec<Effect>, MessageError> {
        let id = opening.id;
        let charge = self.ledger.facts(&id).and_then(Facts::charge).ok_or(MessageError::Early)?;
        let local = self.locals.get_mut(&id).ok_or(MessageError::Early)?;
        // it adds nothing where no answer is made of it any more
        if local.plan.bytes_held() == 0 {
            return Ok(Vec::new());
        }
        let commits = charge.commits();
        let commit = commits.get(&of).filter(|_| commits.contains_key(&from));
        let commit = commit.ok_or(MessageError::Stranger(from))?;
        let vector = MaskedVector::from_bytes(&opening.vector)
            .filter(|vector| vector.len() == local.plan.coordinates())
            .filter(|vector| vector.commitment(of, commit.set, &opening.nonce) == commit.vector)
            .ok_or(MessageError::Mismatch(from))?;
        local.openings.entry(of).or_insert((vector, opening.nonce));
        Ok(self.advance(id, clock, false))
    }

    /// Takes an opening from another than its maker. What is not due, or here already, is nothing: it is asked for
    /// again.
    pub(super) fn attached(
        &mut self,
        (from, of): (ParticipantId, ParticipantId),
        opening: Opening,
        clock: Clock,
    ) -> Result<Vec<Effect>, MessageError> {
        if of == self.me {
            return self.had_opened(from, &opening);
        }
        let local = self.locals.get(&opening.id);
        let lacks = local.is_some_and(|local| !local.openings.contains_key(&of));
        if !lacks {
            return Ok(Vec::new());
        }
        match self.opening((from, of), opening, clock) {
            Err(MessageError::Early) => Ok(Vec::new()),
            taken => taken,
        }
    }

    /// Takes the own opening back where the disk was put back to before it was made. That it was sent is all that is
    /// taken from it: the others have it, and with it the answer.
    fn had_opened(
        &mut self,
        from: ParticipantId,
        opening: &Opening,
    ) -> Result<Vec<Effect>, MessageError> {
        let (me, id) = (self.me, opening.id);
        let own = self.ledger.facts(&id).and_then(|facts| facts.commits.get(&me));
        let (Some(own), Some(local)) = (own, self.locals.get_mut(&id)) else {
            return Ok(Vec::new());
        };
        let commit = &own.entry;
        let is_here = local.drawn.as_ref().is_some_and(|drawn| drawn.hash == commit.vector);
        // what was renounced stays so
        if is_here || local.opened || local.not_opened {
            return Ok(Vec::new());
        }
        let vector = MaskedVector::from_bytes(&opening.vector);
        let is_own = vector.is_some_and(|vector| {
            vector.commitment(me, commit.set, &opening.nonce) == commit.vector
        });
        if !is_own {
            return Err(MessageError::Mismatch(from));
        }
        local.opened = true;
        Ok(vec![Effect::Persist(Record::Opened(id))])
    }

    /// Gives an opening that is here to a participant who lacks it, by its certified hash: also to its maker, whose disk
    /// may have been put back. Its maker has sent it, and everybody is to have it. The own one is step 4's alone.
    pub(super) fn attach(
        &mut self,
        from: ParticipantId,
        id: AttemptId,
        name: VectorHash,
        clock: Clock,
    ) -> Result<Vec<Effect>, MessageError> {
        let facts = self.ledger.facts(&id);
        let Some((facts, charge)) = facts.and_then(|facts| Some((facts, facts.charge()?))) else {
            return Ok(Vec::new());
        };
        let commits = charge.commits();
        if !commits.contains_key(&from) {
            return Err(MessageError::Stranger(from));
        }
        let named = commits.iter().find(|(_, commit)| commit.vector == name);
        let (Some((of, commit)), Some(local)) = (named, self.locals.get_mut(&id)) else {
            return Ok(Vec::new());
        };
        let last = local.attached.get(&(from, *of));
        let due = last.is_none_or(|last| clock.now >= last.plus(ATTACH_AFTER_MILLIS));
        if !due || *of == self.me {
            return Ok(Vec::new());
        }
        let effect = match local.openings.get(of) {
            Some((vector, nonce)) => {
                let (vector, nonce) = (vector.to_bytes(), *nonce);
                let message =
                    Message::Attached(*of, Opening { id, set: commit.set, vector, nonce });
                Effect::Send { to: from, message }
            }
            // who has released had all of them before it started anew, and has kept them
            None if facts.releases.contains_key(&self.me) => {
                Effect::Give { to: from, id, vector: name }
            }
            None => return Ok(Vec::new()),
        };
        local.attached.insert((from, *of), clock.now);
        Ok(vec![effect])
    }
}
