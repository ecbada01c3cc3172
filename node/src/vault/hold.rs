//! Legal hold: what must be kept although the member asks for its erasure (PIPL art. 47, last
//! paragraph: retention periods that the law sets, disputes, orders of an authority).

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;

use super::record::Field;
use super::{Batch, MEMBERS, MemberId, Vault, VaultError};

/// Longest reason, in bytes.
pub const REASON_MAX: usize = 512;

/// That a member's data is kept until this is taken off.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LegalHold {
    /// The law, order or dispute.
    #[n(0)]
    pub reason: String,
    /// Who put it on.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Timestamp,
}

impl Vault {
    /// Puts a member under a legal hold, or lifts it: until then erasure is refused.
    ///
    /// # Errors
    /// When there is no such member, the reason is too long, or the store or the key fails.
    pub fn set_hold(&self, id: MemberId, hold: Option<&LegalHold>) -> Result<(), VaultError> {
        if hold.is_some_and(|hold| hold.reason.len() > REASON_MAX) {
            return Err(VaultError::TooLong { what: "reason", most: REASON_MAX });
        }
        let _writing = self.lock();
        let mut opened = self.open(id)?;
        match hold {
            Some(hold) => opened.replace(Field::Hold, &codec::encode(hold), &*self.random)?,
            None => opened.remove(Field::Hold),
        }
        let mut batch = Batch::default();
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        Ok(self.store.transaction(&batch.writes)?)
    }

    /// The legal hold a member is under.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn hold(&self, id: MemberId) -> Result<Option<LegalHold>, VaultError> {
        self.open(id)?.hold()
    }
}
