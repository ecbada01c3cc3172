//! What the node writes into the journal: the ledger's records and its own, encrypted.
//!
//! AES-256-GCM under the brand's journal key, a fresh random nonce a record, the record's kind as
//! associated data. A journal of another brand, or one that was altered, does not open.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use protocol::codec::{self, DecodeError};
use protocol::witness::record::Record as LedgerRecord;

use super::state_record::StateRecord;
use crate::exchange::cold::Seal;
use crate::exchange::record::NodeRecord;
use crate::journal::{RECORD_MAX, Record};

const LEDGER: u8 = 1;
const NODE: u8 = 2;
const STATE: u8 = 3;
/// No record's kind.
const BESIDE: u8 = 255;

/// One record, in clear.
#[derive(Debug)]
pub enum Recorded {
    /// The ledger's.
    Ledger(Box<LedgerRecord>),
    /// The node's own.
    Node(NodeRecord),
    /// In a snapshot: a part of what the node's own records come to.
    State(Box<StateRecord>),
}

/// Why a record could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealedRecordError {
    /// The generator or the cipher failed.
    #[error("a journal record could not be encrypted")]
    Seal,
    /// Another key, or altered bytes.
    #[error(
        "a journal record does not open with this brand's journal key; the journal or the keys belong to another node"
    )]
    Open,
    /// A kind that this version does not know.
    #[error(
        "a journal record of kind {0}, which this version does not know; use the version that wrote it"
    )]
    Kind(u8),
    /// Not a record.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Seals and opens records.
pub struct RecordCipher {
    key: LessSafeKey,
    random: SystemRandom,
}

impl RecordCipher {
    /// With the brand's journal key.
    ///
    /// # Errors
    /// When ring refuses the key; it does not refuse 32 bytes.
    pub fn new(key: &[u8; 32]) -> Result<Self, SealedRecordError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealedRecordError::Seal)?;
        Ok(Self { key: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    /// Seals a record.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn seal(&self, record: &Recorded) -> Result<Record, SealedRecordError> {
        let (kind, about) = match record {
            Recorded::Ledger(record) => (LEDGER, record.about_bytes()),
            Recorded::Node(_) => (NODE, 0),
            Recorded::State(_) => (STATE, 0),
        };
        // nonce, record and tag in one piece of memory
        let mut bytes = Vec::with_capacity(about + NONCE_LEN + AES_256_GCM.tag_len());
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SealedRecordError::Seal)?;
        bytes.extend_from_slice(&nonce);
        match record {
            Recorded::Ledger(record) => record.write(&mut bytes),
            Recorded::Node(record) => codec::encode_into(record, &mut bytes),
            Recorded::State(state) => codec::encode_into(state, &mut bytes),
        }
        let (_, plain) = bytes.split_at_mut(NONCE_LEN);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from([kind]),
                plain,
            )
            .map_err(|_| SealedRecordError::Seal)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(Record { kind, bytes })
    }

    /// Opens a record.
    ///
    /// # Errors
    /// When it is not one that this brand wrote.
    pub fn open(&self, record: Record) -> Result<Recorded, SealedRecordError> {
        let Record { kind, mut bytes } = record;
        let (nonce, sealed) =
            bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealedRecordError::Open)?;
        let plain = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from([kind]), sealed)
            .map_err(|_| SealedRecordError::Open)?;
        match kind {
            LEDGER => Ok(Recorded::Ledger(Box::new(LedgerRecord::from_bytes(plain)?))),
            NODE => Ok(Recorded::Node(codec::decode(
                "a journal record of the node",
                plain,
                RECORD_MAX,
            )?)),
            STATE => Ok(Recorded::State(codec::decode("a part of a snapshot", plain, RECORD_MAX)?)),
            other => Err(SealedRecordError::Kind(other)),
        }
    }

    /// Seals bytes that are no record of the journal and lie beside it, for what they are about.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn seal_bytes(&self, about: &[u8], plain: Vec<u8>) -> Result<Vec<u8>, SealedRecordError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SealedRecordError::Seal)?;
        let mut bytes = [&nonce[..], &plain].concat();
        let (_, plain) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, beside(about), plain);
        bytes.extend_from_slice(tag.map_err(|_| SealedRecordError::Seal)?.as_ref());
        Ok(bytes)
    }

    /// Opens such bytes.
    ///
    /// # Errors
    /// When this brand did not seal them, or about something else.
    pub fn open_bytes(
        &self,
        about: &[u8],
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>, SealedRecordError> {
        let (nonce, sealed) =
            bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(SealedRecordError::Open)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, beside(about), sealed);
        Ok(plain.map_err(|_| SealedRecordError::Open)?.to_vec())
    }
}

impl Seal for RecordCipher {
    fn seal(&self, about: &[u8], plain: Vec<u8>) -> Option<Vec<u8>> {
        self.seal_bytes(about, plain).ok()
    }
    fn open(&self, about: &[u8], sealed: Vec<u8>) -> Option<Vec<u8>> {
        self.open_bytes(about, sealed).ok()
    }
}

/// What lies beside the journal is never taken for a record, whose associated data are its kind alone.
fn beside(about: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[BESIDE], about].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_with_its_key_and_as_its_kind_only() {
        let cipher = RecordCipher::new(&[1; 32]).unwrap();
        let sealed = cipher.seal(&Recorded::Node(NodeRecord::Earned(Vec::new()))).unwrap();
        assert!(matches!(cipher.open(sealed.clone()), Ok(Recorded::Node(_))));
        let other = RecordCipher::new(&[2; 32]).unwrap();
        assert!(matches!(other.open(sealed.clone()), Err(SealedRecordError::Open)));
        let mut as_ledger = sealed;
        as_ledger.kind = LEDGER;
        assert!(matches!(cipher.open(as_ledger), Err(SealedRecordError::Open)));
    }
}
