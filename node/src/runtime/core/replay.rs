//! Before the node goes on: what the journal has is taken again, record by record; what this brand has decided on drafts
//! is said in its log; and the operator may say that the disk was put back.

use protocol::ledger::StanceError;
use protocol::witness::state::Outbox;

use super::super::sealed_journal::Recorded;
use super::{Core, Turn};
use crate::exchange::book::BookError;
use crate::exchange::record::{NodeRecord, Submission};

impl Core {
    /// Takes one record of the journal, or of a snapshot.
    ///
    /// # Errors
    /// When the journal does not hang together.
    pub fn replay(&mut self, record: Recorded) -> Result<(), String> {
        match record {
            Recorded::Ledger(record) => {
                let mut out = Outbox::default();
                self.ledger.replay(&record, &mut out).map_err(|error| error.to_string())?;
                self.note_block(&record);
                let mut turn = Turn { out, ..Turn::default() };
                self.write_own(&mut turn).map_err(|error| error.to_string())?;
                self.keep_held(&mut turn).map_err(|error| error.to_string())?;
                for block in std::mem::take(&mut turn.out.finals) {
                    self.note_final(&block);
                    if block.block.log != self.me() {
                        self.unapplied.insert((block.block.log, block.block.height), block);
                    }
                }
                Ok(())
            }
            Recorded::State(part) => self.take_up(*part),
            Recorded::Node(NodeRecord::CleanRoom(bytes)) => {
                self.joint.push(bytes);
                Ok(())
            }
            Recorded::Node(NodeRecord::Programme(bytes)) => self.replay_programme(&bytes),
            Recorded::Node(NodeRecord::Applied(applied)) => {
                let Some(block) = self.unapplied.remove(&(applied.log, applied.height)) else {
                    return Err(format!("no block {} of {} to apply", applied.height, applied.log));
                };
                // what was wrong with it was told when it came; what it answers is in the vault
                let terms = self.terms(&block.block, block.header.time);
                match self.book.apply(self.me(), &block, &applied, terms, &mut self.points) {
                    Err(error @ BookError::Cold(_)) => Err(error.to_string()),
                    _ => Ok(()),
                }
            }
            Recorded::Node(record) => {
                self.cosigned(&record);
                match &record {
                    NodeRecord::CloseRequested(cut_off) => drop(self.clearing.request(*cut_off)),
                    NodeRecord::Submitted(Submission::Public(entry)) => {
                        self.clearing.submitted(entry);
                        self.kept.submitted(entry);
                    }
                    _ => {}
                }
                self.book.enter(&record, &mut self.points).map_err(|error| error.to_string())?;
                Ok(())
            }
        }
    }

    /// Says in the own log what this brand has decided on drafts, what it has not said there yet; gives
    /// what could not be said.
    pub fn state_constitutions(&mut self, turn: &mut Turn) -> Vec<StanceError> {
        let mut errors = Vec::new();
        for (draft, stance) in std::mem::take(&mut self.to_state) {
            match self.ledger.state(draft, stance) {
                Ok(entries) => {
                    for entry in entries {
                        self.enter(NodeRecord::Submitted(Submission::Public(entry)), turn);
                    }
                }
                // said before this start; or the log is under it by now, or under another
                Err(StanceError::Stated(_)) => {}
                Err(StanceError::NotNext { found, next }) if found < next => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// The operator says that the journal was put back to an older state; before [`Core::resume`].
    pub fn declare_restored(&mut self, turn: &mut Turn) {
        self.ledger.declare_restored(&mut turn.out);
    }
}
