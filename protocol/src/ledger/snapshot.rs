//! The ledger's state as few records, and back ([`crate::witness::snapshot`]).

use super::{Ledger, epochs};
use crate::epochs::Adoption;
use crate::witness::cases::Kept;
use crate::witness::guards::Guards;
use crate::witness::record::Record;
use crate::witness::rules::Violation;
use crate::witness::snapshot::{LogState, NodeState, StateError};

/// Why a record does not fit the ones before: the journal is not this node's, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A recorded block breaks a rule.
    #[error(transparent)]
    Rule(#[from] Violation),
    /// A recorded state cannot be taken up.
    #[error(transparent)]
    State(#[from] StateError),
}

impl<G: Guards> Ledger<G> {
    /// What all records up to now come to. Replayed by a new ledger, in this order, they give the state
    /// that all those before give. To be taken between two calls, when the records that are in the
    /// outbox are on the disk.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let adoptions = self.adoptions.values().cloned().collect();
        let node = NodeState { standing: self.standing.clone(), adoptions };
        let mut records = vec![Record::NodeState(Box::new(node))];
        let closes = self.closes.iter().map(|log| Kept::Closes(*log));
        let kept = self.cases.kept().chain(closes);
        records.extend(kept.map(|kept| Record::Kept(Box::new(kept))));
        let witnesses = || self.witnesses.values();
        records.extend(witnesses().map(|witness| Record::LogState(Box::new(witness.state()))));
        records.extend(witnesses().flat_map(|witness| witness.deliveries()));
        records.extend(self.writer.open_block().map(|open| Record::Built(Box::new(open.clone()))));
        records.push(Record::WriterState(Box::new(self.writer.state(self.me))));
        records
    }

    /// Adopted constitutions are followed before any log's state is looked at.
    pub(super) fn take_up_adoptions(&mut self, adoptions: &[Adoption]) -> Result<(), StateError> {
        for adoption in adoptions {
            let draft = adoption.draft();
            let missing = StateError::NoConstitution(draft.constitution);
            match self.constitutions.of(draft.epoch) {
                Some(known) if known.hash() == draft.constitution => {}
                Some(_) => return Err(missing),
                None => {
                    let file = self.drafts.get(&draft.constitution).cloned();
                    let file = file.ok_or_else(|| missing.clone())?;
                    self.constitutions.follow(file).map_err(|_| missing)?;
                    self.drafts.retain(|_, other| other.epoch() > draft.epoch);
                }
            }
            self.adoptions.insert(draft.epoch, adoption.clone());
        }
        for (log, witness) in epochs::witnesses(self.me, &self.constitutions) {
            self.witnesses.entry(log).or_insert(witness);
        }
        Ok(())
    }

    pub(super) fn take_up_log(&mut self, state: &LogState) -> Result<(), StateError> {
        let unknown = StateError::UnknownLog(state.log);
        let witness = self.witnesses.get_mut(&state.log).ok_or(unknown)?;
        witness.take_up(state, &self.constitutions)?;
        // a file that was not there before may be of a draft that has a quorum
        self.tally();
        Ok(())
    }
}
