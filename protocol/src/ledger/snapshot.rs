//! The ledger's state as few records, and back ([`crate::witness::snapshot`]).

use super::{Ledger, epochs};
use crate::epochs::DraftReference;
use crate::ids::{BrandId, Height};
use crate::witness::cases::Kept;
use crate::witness::guards::Guards;
use crate::witness::record::{Rebuilt, Record};
use crate::witness::rules::Violation;
use crate::witness::snapshot::{LogState, NodeState, StateError, Withheld};
use crate::witness::state::Witness;

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
        let later = self.constitutions.iter().skip(1);
        let followed =
            later.map(|it| DraftReference { epoch: it.epoch(), constitution: it.hash() });
        let (followed, adoptions) =
            (followed.collect(), self.adoptions.values().cloned().collect());
        let (given, agreed) = self.agreements.state();
        let standing = self.standing.clone();
        let node = NodeState { standing, followed, adoptions, given, agreed };
        let mut records = vec![Record::NodeState(Box::new(node))];
        let closes = self.closes.iter().map(|log| Kept::Closes(*log));
        let kept = self.cases.kept().chain(closes);
        records.extend(kept.map(|kept| Record::Kept(Box::new(kept))));
        let witnesses = || self.witnesses.values();
        records.extend(witnesses().map(|witness| Record::LogState(Box::new(witness.state()))));
        records.extend(witnesses().flat_map(Witness::withheld));
        records.extend(witnesses().flat_map(Witness::deliveries));
        // they were judged when they were built, by what was known of constitutions then
        let open = self.writer.open_blocks().cloned();
        let open = open.map(|block| Rebuilt { block, certificate: None });
        records.extend(open.map(|open| Record::Rebuilt(Box::new(open))));
        records.push(Record::WriterState(Box::new(self.writer.state(self.me))));
        records
    }

    /// Constitutions are followed before any log's state is looked at.
    pub(super) fn take_up_chain(&mut self, state: &NodeState) -> Result<(), StateError> {
        for draft in &state.followed {
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
        }
        let adoptions = state.adoptions.iter().map(|it| (it.draft().epoch, it.clone()));
        self.adoptions.extend(adoptions);
        self.agreements.take_up(state.given.clone(), state.agreed.clone());
        for (log, witness) in epochs::witnesses(self.me, &self.constitutions) {
            self.witnesses.entry(log).or_insert(witness);
        }
        Ok(())
    }

    pub(super) fn take_up_log(&mut self, state: &LogState) -> Result<(), StateError> {
        let unknown = StateError::UnknownLog(state.log);
        let witness = self.witnesses.get_mut(&state.log).ok_or(unknown)?;
        witness.take_up(state, &self.constitutions)?;
        // what its last block recognises of others is certified
        let columns = witness.tip().columns.iter();
        let recognised: Vec<(BrandId, Height)> =
            columns.map(|column| (column.counterparty, column.recognised.height)).collect();
        recognised.into_iter().for_each(|(log, height)| self.note_certified(log, height));
        // a file that was not there before may be of a draft that has a quorum
        self.tally();
        Ok(())
    }

    pub(super) fn take_up_withheld(&mut self, withheld: &Withheld) -> Result<(), StateError> {
        let log = withheld.certificate.pledge.block.log;
        let witness = self.witnesses.get_mut(&log).ok_or(StateError::UnknownLog(log))?;
        witness.take_up_withheld(withheld, &self.constitutions)
    }
}
