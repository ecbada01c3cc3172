//! What the desk enters into the brand's own log: how far the operation log has come, that requests
//! were answered, that members are gone.

use minicbor::bytes::ByteArray;
use protocol::exchange::{Payload, Unlink};
use protocol::ids::{BrandId, LeafIndex, MemberHandle};
use protocol::log::block::{Entry, PublicEntry};
use protocol::log::kept::{Answered, OperationLogHead};
use protocol::shared_map::SharedMap;
use protocol::witness::writer::SubmitError;

use super::operations::internal;
use super::{Core, Turn, submit_error};
use crate::exchange::record::Submission;
use crate::runtime::snapshot::chunked;
use crate::runtime::state_record::StateRecord;
use crate::service::{ErrorKind, ServiceError};

/// What of it the own log has, or is on its way there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runtime) struct Kept {
    operations: u64,
    answered: SharedMap<[u8; 32], LeafIndex>,
}

impl Kept {
    /// Its part of a snapshot.
    pub(in crate::runtime) fn snapshot(&self, state: &mut impl FnMut(StateRecord)) {
        if self.operations > 0 {
            state(StateRecord::Operations(self.operations));
        }
        let answered = self.answered.iter().map(|(hash, leaf)| (ByteArray::from(*hash), *leaf));
        chunked(answered, StateRecord::Answered, state);
    }

    /// Takes up a part of a snapshot.
    pub(in crate::runtime) fn take_up_operations(&mut self, entries: u64) {
        self.operations = entries;
    }

    /// Takes up a part of a snapshot.
    pub(in crate::runtime) fn take_up_answered(&mut self, all: Vec<(ByteArray<32>, LeafIndex)>) {
        self.answered.extend(all.into_iter().map(|(hash, leaf)| (*hash, leaf)));
    }

    /// An entry is in the own log.
    pub(super) fn written(&mut self, index: LeafIndex, entry: &PublicEntry) {
        match entry {
            PublicEntry::OperationLogHead(_) => self.submitted(entry),
            PublicEntry::Answered(answered) => {
                self.answered.get_or_insert_with(answered.certificate, || index);
            }
            _ => {}
        }
    }

    /// An entry is on its way there.
    pub(super) fn submitted(&mut self, entry: &PublicEntry) {
        if let PublicEntry::OperationLogHead(head) = entry {
            self.operations = self.operations.max(head.entries);
        }
    }
}

impl Core {
    /// Enters something of the desk's. A head of the operation log that says no more than the log has is
    /// passed over, as a certificate that is there already.
    ///
    /// # Errors
    /// When it is nothing of the desk's, or the log does not take it.
    pub fn keep(&mut self, entry: PublicEntry, turn: &mut Turn) -> Result<(), ServiceError> {
        let known = match &entry {
            PublicEntry::OperationLogHead(OperationLogHead { entries, .. }) => {
                *entries <= self.kept.operations
            }
            PublicEntry::Answered(Answered { certificate }) => {
                self.kept.answered.contains_key(certificate) || self.is_on_its_way(&entry)
            }
            _ => return Err(internal()),
        };
        if known {
            return Ok(());
        }
        self.kept.submitted(&entry);
        self.submit(Submission::Public(entry), turn).map_err(submit_error)
    }

    /// Tells a brand that the member it knows by a handle is gone. A brand that is none of the alliance
    /// any more needs not be told.
    ///
    /// # Errors
    /// When the log does not take it now.
    pub fn unlink(
        &mut self,
        brand: BrandId,
        handle: MemberHandle,
        turn: &mut Turn,
    ) -> Result<(), ServiceError> {
        let payload = Payload::Unlink(Unlink { handle });
        match self.submit(Submission::Sealed(brand, payload), turn) {
            Ok(()) | Err(SubmitError::NoCounterparty(_) | SubmitError::Ended { .. }) => Ok(()),
            Err(error) => Err(submit_error(error)),
        }
    }

    /// The receipt that a certificate's hash is in the own log, with the entry.
    ///
    /// # Errors
    /// When it is in no certified block yet, or the log cannot be read.
    pub fn answered(&self, certificate: &[u8; 32]) -> Result<String, ServiceError> {
        let leaf = self.kept.answered.get(certificate).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::Unavailable,
                "not_final",
                "the certificate's hash is not in a certified block yet",
                "ask again in a moment",
            )
        })?;
        let proof = self.tlog_proof_at(*leaf)?;
        let entry = PublicEntry::Answered(Answered { certificate: *certificate });
        let leaf = Entry::Public(entry).to_bytes();
        let shown = protocol::receipt::show(proof, self.me(), &leaf).map_err(|_| internal())?;
        Ok(shown.to_string())
    }
}
