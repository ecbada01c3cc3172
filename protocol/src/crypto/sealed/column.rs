//! One counterparty's column of one block, prepared once: what its entries share is derived once, and
//! a leaf is sealed where it will lie and opened where it lies.

use std::fmt;

use minicbor::{Decode, Encode};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize as _;

use super::{
    Cipher, ColumnKey, EntryKey, SEALED_OVERHEAD, SealError, SealingContext, commitment_of,
};
use crate::codec;
use crate::crypto::hash::HkdfKey;
use crate::ids::{Commitment, LeafIndex};

const INDEX_BYTES: usize = 8;

/// Seals and opens the entries of one column.
pub struct ColumnCipher {
    cipher: Cipher,
    key: HkdfKey,
    // what an entry's key is derived for and bound to: the last bytes are its index
    place: Vec<u8>,
    // plaintext or ciphertext of the entry at hand
    scratch: Vec<u8>,
}

impl fmt::Debug for ColumnCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ColumnCipher(..)")
    }
}

impl Drop for ColumnCipher {
    fn drop(&mut self) {
        self.scratch.zeroize();
    }
}

/// A sealed entry's leaf, read where it lies. Its bytes are those of
/// [`crate::log::block::Entry::Sealed`].
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(array)]
pub enum SealedLeaf<'b> {
    /// The one kind.
    #[n(2)]
    Sealed(#[b(0)] SealedRef<'b>),
}

/// A [`super::SealedEntry`] that is read where it lies.
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(array)]
pub struct SealedRef<'b> {
    /// Commitment to the entry's key.
    #[n(0)]
    pub commitment: Commitment,
    /// The ciphertext.
    #[cbor(b(1), with = "minicbor::bytes")]
    pub ciphertext: &'b [u8],
}

impl fmt::Debug for SealedRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedRef({:?})", self.commitment)
    }
}

impl SealingContext {
    /// Prepares one column.
    #[must_use]
    pub fn column(&self, key: &ColumnKey) -> ColumnCipher {
        ColumnCipher {
            cipher: self.cipher,
            key: HkdfKey::extract(key.expose(), self.nonce.as_bytes()),
            place: self.place_of(LeafIndex::new(0)),
            scratch: Vec::new(),
        }
    }
}

impl ColumnCipher {
    fn at(&mut self, index: LeafIndex) -> EntryKey {
        if let Some(last) = self.place.last_chunk_mut::<INDEX_BYTES>() {
            *last = index.get().to_be_bytes();
        }
        EntryKey::derive(self.cipher, &self.key, &self.place)
    }

    /// The key of one entry.
    #[must_use]
    pub fn entry_key(&mut self, index: LeafIndex) -> EntryKey {
        self.at(index)
    }

    /// Seals one payload and appends the bytes of its leaf.
    ///
    /// # Errors
    /// [`SealError::TooLong`]; nothing was then appended.
    pub fn seal_leaf(
        &mut self,
        index: LeafIndex,
        payload: &[u8],
        payload_size: usize,
        leaf: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let too_long = SealError::TooLong { found: payload.len(), most: payload_size };
        let length = u16::try_from(payload.len()).map_err(|_| too_long)?;
        if payload.len() > payload_size {
            return Err(too_long);
        }
        let key = self.at(index);
        self.scratch.clear();
        self.scratch.extend_from_slice(&length.to_be_bytes());
        self.scratch.extend_from_slice(payload);
        self.scratch.resize(payload_size.saturating_add(2), 0);
        match self.cipher {
            Cipher::Aes256Gcm => {
                let place = Aad::from(&self.place);
                let tag = aes(&key)
                    .and_then(|aes| {
                        aes.seal_in_place_separate_tag(zero_nonce(), place, &mut self.scratch)
                    })
                    .map_err(|_| too_long)?;
                self.scratch.extend_from_slice(tag.as_ref());
            }
            Cipher::Sm4Gcm => {
                let sealed = self.cipher.seal(key.expose(), &self.scratch, &self.place);
                self.scratch.zeroize();
                self.scratch = sealed.ok_or(too_long)?;
            }
        }
        let sealed = SealedRef { commitment: commitment_of(&key), ciphertext: &self.scratch };
        codec::encode_into(&SealedLeaf::Sealed(sealed), leaf);
        Ok(())
    }

    /// Opens one entry; gives the payload's bytes.
    ///
    /// # Errors
    /// As [`SealingContext::open`].
    pub fn open(&mut self, index: LeafIndex, entry: SealedRef<'_>) -> Result<&[u8], SealError> {
        let key = self.at(index);
        if commitment_of(&key) != entry.commitment {
            return Err(SealError::WrongKey);
        }
        match self.cipher {
            Cipher::Aes256Gcm => {
                self.scratch.clear();
                self.scratch.extend_from_slice(entry.ciphertext);
                let place = Aad::from(&self.place);
                let plaintext = aes(&key)
                    .and_then(|aes| aes.open_in_place(zero_nonce(), place, &mut self.scratch))
                    .map_err(|_| SealError::NotOpened)?;
                super::unpad(plaintext)
            }
            Cipher::Sm4Gcm => {
                self.scratch.zeroize();
                let opened = self.cipher.open(key.expose(), entry.ciphertext, &self.place);
                self.scratch = opened.ok_or(SealError::NotOpened)?;
                super::unpad(&self.scratch)
            }
        }
    }
}

/// Bytes of a sealed entry's leaf at most.
#[must_use]
pub const fn sealed_leaf_bytes(payload_size: usize) -> usize {
    payload_size.saturating_add(SEALED_OVERHEAD).saturating_add(41)
}

fn aes(key: &EntryKey) -> Result<LessSafeKey, ring::error::Unspecified> {
    UnboundKey::new(&AES_256_GCM, key.expose()).map(LessSafeKey::new)
}

// one use a key: the nonce has nothing to tell apart
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sealed::BlockSecret;
    use crate::ids::{BlockNonce, BrandId};
    use crate::log::block::Entry;

    /// What is sealed in place is what is sealed one by one, for AES by another implementation.
    #[test]
    fn a_column_seals_and_opens_what_its_entries_do() {
        Cipher::ALL.into_iter().for_each(agrees);
    }

    fn agrees(cipher: Cipher) {
        let (log, nonce) = (BrandId::new("a").unwrap(), BlockNonce::from_bytes([3; 16]));
        let context = SealingContext { log, nonce, cipher };
        let key = context.column_key(&BlockSecret::from_bytes([1; 32]), BrandId::new("b").unwrap());
        let mut column = context.column(&key);
        for (number, size) in [(0_u64, 128), (9, 160), (1 << 40, 300)] {
            let index = LeafIndex::new(number);
            let mut leaf = vec![7];
            column.seal_leaf(index, b"ten points", size, &mut leaf).unwrap();
            let sealed = context.seal(&key, index, b"ten points", size).unwrap();
            assert_eq!(leaf[1..], Entry::Sealed(sealed.clone()).to_bytes());
            assert!((0..=1).contains(&(sealed_leaf_bytes(size) + 1 - leaf.len())));
            let SealedLeaf::Sealed(read) = codec::decode("a leaf", &leaf[1..], 1000).unwrap();
            assert_eq!(column.open(index, read).unwrap(), b"ten points");
            assert_eq!(column.entry_key(index), context.entry_key(&key, index));
            let elsewhere = column.open(LeafIndex::new(number + 1), read);
            assert_eq!(elsewhere, Err(SealError::WrongKey));
            let mut altered = sealed.ciphertext.clone();
            altered[3] ^= 1;
            let altered = SealedRef { commitment: sealed.commitment, ciphertext: &altered };
            assert_eq!(column.open(index, altered), Err(SealError::NotOpened));
        }
        let mut leaf = Vec::new();
        assert!(column.seal_leaf(LeafIndex::new(1), &[0; 65], 64, &mut leaf).is_err());
        assert!(leaf.is_empty());
    }
}
