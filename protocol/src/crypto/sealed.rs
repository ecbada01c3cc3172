//! Sealed payloads: one fresh secret a block, one key a counterparty, one key an entry.
//!
//! ```text
//! block secret ── HKDF ──> counterparty key k_cp ── HKDF(log, nonce, index) ──> entry key
//!      │                        │                                                  │
//!      └ HPKE to: recovery,     └ HPKE to the counterparty,                        ├ AES-256-GCM, zero nonce, one use
//!        own, standing auditors   commitment in the header                         └ commitment in the leaf
//! ```
//! Opening one entry (its key) opens no other; opening one counterparty's key opens that column of
//! one block; the block secret opens the block. Every HPKE encapsulation (RFC 9180, base mode,
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) is derived from the secret it belongs to, so
//! that whoever holds the block secret can run it again and see that the right key was wrapped.
//!
//! Does not do yet: rotation of sealing keys, SM4-GCM, disclosure of one block to an auditor.

mod column;

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use column::{ColumnCipher, SealedLeaf, SealedRef, sealed_leaf_bytes};

use super::{hkdf_sha256, sha256};
use crate::ids::{BlockNonce, BrandId, Commitment, LeafIndex};

const BLOCK_KEY: &[u8] = b"coalition/0/sealed/counterparty";
const COLUMN_COMMITMENT: &[u8] = b"coalition/0/sealed/counterparty-commitment";
const TOTALS_SALT: &[u8] = b"coalition/0/sealed/totals-salt";
const ENTRY_KEY: &[u8] = b"coalition/0/sealed/entry";
const ENTRY_COMMITMENT: &[u8] = b"coalition/0/sealed/entry-commitment";
const PADDING: &[u8] = b"coalition/0/sealed/padding";
const ENCAPSULATION: &[u8] = b"coalition/0/sealed/encapsulation";
const WRAP: &[u8] = b"coalition/0/sealed/wrap";

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the 32 secret bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self { Self(bytes) }
            /// The 32 secret bytes.
            #[must_use]
            pub const fn expose(&self) -> &[u8; 32] { &self.0 }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // a secret has no place in a trace, not even in part
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

secrets! {
    /// Fresh random bytes of one block that was built; never derived from its height, so that a
    /// block built twice after a crash never uses a key twice.
    BlockSecret,
    /// Key of one counterparty's column of one block.
    ColumnKey,
    /// Key of one entry: what a receipt or a dispute opens.
    EntryKey,
    /// Private half of a sealing key (X25519).
    SealingSecret,
}

/// Public half of a sealing key (X25519, RFC 7748).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct SealingKey(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl SealingKey {
    /// Takes the 32 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SealingSecret {
    /// Makes a key pair from 32 random bytes (RFC 9180, section 7.1.3).
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> (Self, SealingKey) {
        let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
        (Self(secret.to_bytes().into()), SealingKey(public.to_bytes().into()))
    }
}

/// Why something sealed could not be opened, or not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's public key is no X25519 point that can be sealed to.
    #[error("the recipient's sealing key is not usable; its owner must publish another")]
    Recipient,
    /// Not sealed with this key, for this place, or altered since.
    #[error("the sealed payload does not open with this key at this place")]
    NotOpened,
    /// The key is not the one the writer committed to.
    #[error("the key is not the one committed to")]
    WrongKey,
    /// The payload is larger than the constitution's one payload size.
    #[error("the payload has {found} bytes where the constitution's payload size allows {most}")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// The most there may be.
        most: usize,
    },
}

/// A secret wrapped to one recipient by HPKE.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Wrapped {
    #[cbor(n(0), with = "minicbor::bytes")]
    encapsulated: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({} bytes)", self.ciphertext.len())
    }
}

/// Where in the alliance something is sealed; binds it to its place.
#[derive(Clone, Copy, Debug)]
pub struct SealingContext {
    /// The log whose block it is.
    pub log: BrandId,
    /// The block's nonce.
    pub nonce: BlockNonce,
}

impl SealingContext {
    fn info(&self, purpose: &[u8], recipient: &str) -> Vec<u8> {
        let log = self.log.as_str();
        let mut info = Vec::from(purpose);
        // each text ends with a zero byte, which no id contains
        for part in [log.as_bytes(), &[0], self.nonce.as_bytes(), recipient.as_bytes(), &[0]] {
            info.extend_from_slice(part);
        }
        info
    }

    /// Wraps `plaintext` to a recipient; `secret` is what the encapsulation is derived from.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when the key is a point of small order.
    pub fn wrap(
        &self,
        recipient: &str,
        key: &SealingKey,
        secret: &[u8; 32],
        plaintext: &[u8],
    ) -> Result<Wrapped, SealError> {
        let info = self.info(WRAP, recipient);
        let seed: [u8; 32] = hkdf_sha256(secret, ENCAPSULATION, &[&info, &key.0]);
        let public = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&key.0)
            .map_err(|_| SealError::Recipient)?;
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &public,
                &info,
                plaintext,
                &[],
                &mut ChaCha20Rng::from_seed(seed),
            )
            .map_err(|_| SealError::Recipient)?;
        Ok(Wrapped { encapsulated: encapsulated.to_bytes().into(), ciphertext })
    }

    /// Opens what was wrapped to this recipient.
    ///
    /// # Errors
    /// [`SealError::NotOpened`].
    pub fn unwrap(
        &self,
        recipient: &str,
        secret: &SealingSecret,
        wrapped: &Wrapped,
    ) -> Result<Vec<u8>, SealError> {
        let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(&secret.0)
            .map_err(|_| SealError::NotOpened)?;
        let encapsulated =
            <X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated)
                .map_err(|_| SealError::NotOpened)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &self.info(WRAP, recipient),
            &wrapped.ciphertext,
            &[],
        )
        .map_err(|_| SealError::NotOpened)
    }

    /// The key of one counterparty's column.
    #[must_use]
    pub fn column_key(&self, secret: &BlockSecret, counterparty: BrandId) -> ColumnKey {
        ColumnKey(hkdf_sha256(
            &secret.0,
            self.nonce.as_bytes(),
            &[&self.info(BLOCK_KEY, counterparty.as_str())],
        ))
    }

    /// What the header says of a column key.
    #[must_use]
    pub fn column_commitment(&self, key: &ColumnKey, counterparty: BrandId) -> Commitment {
        Commitment::from_bytes(sha256(&[
            &self.info(COLUMN_COMMITMENT, counterparty.as_str()),
            &key.0,
        ]))
    }

    /// The salt of the commitment to a column's exact totals.
    #[must_use]
    pub fn totals_salt(&self, key: &ColumnKey) -> [u8; 32] {
        hkdf_sha256(&key.0, self.nonce.as_bytes(), &[&self.info(TOTALS_SALT, "")])
    }

    /// The key of one entry.
    #[must_use]
    pub fn entry_key(&self, column: &ColumnKey, index: LeafIndex) -> EntryKey {
        EntryKey(hkdf_sha256(
            &column.0,
            self.nonce.as_bytes(),
            &[&self.info(ENTRY_KEY, ""), &index.get().to_be_bytes()],
        ))
    }

    /// Seals one payload into an entry of the one size.
    ///
    /// # Errors
    /// [`SealError::TooLong`].
    pub fn seal(
        &self,
        column: &ColumnKey,
        index: LeafIndex,
        payload: &[u8],
        payload_size: usize,
    ) -> Result<SealedEntry, SealError> {
        let too_long = SealError::TooLong { found: payload.len(), most: payload_size };
        let length = u16::try_from(payload.len()).map_err(|_| too_long)?;
        if payload.len() > payload_size {
            return Err(too_long);
        }
        let mut plaintext = Vec::with_capacity(payload_size.saturating_add(2));
        plaintext.extend_from_slice(&length.to_be_bytes());
        plaintext.extend_from_slice(payload);
        plaintext.resize(payload_size.saturating_add(2), 0);
        let key = self.entry_key(column, index);
        let aad = self.associated_data(index);
        let ciphertext = Aes256Gcm::new(&key.0.into())
            .encrypt(&Nonce::default(), Payload { msg: &plaintext, aad: &aad })
            .map_err(|_| too_long)?;
        plaintext.zeroize();
        Ok(SealedEntry { commitment: commitment_of(&key), ciphertext })
    }

    /// Whether an entry is sealed with this key, as far as its commitment says.
    #[must_use]
    pub fn commits_to(&self, key: &EntryKey, entry: &SealedEntry) -> bool {
        commitment_of(key) == entry.commitment
    }

    /// Opens one entry with its key.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when the leaf commits to another key, [`SealError::NotOpened`] when
    /// the writer sealed something that its own key does not open, or with stray bytes behind it.
    pub fn open(
        &self,
        key: &EntryKey,
        index: LeafIndex,
        entry: &SealedEntry,
    ) -> Result<Vec<u8>, SealError> {
        if commitment_of(key) != entry.commitment {
            return Err(SealError::WrongKey);
        }
        let aad = self.associated_data(index);
        let plaintext = Aes256Gcm::new(&key.0.into())
            .decrypt(&Nonce::default(), Payload { msg: &entry.ciphertext, aad: &aad })
            .map_err(|_| SealError::NotOpened)?;
        unpad(&plaintext).map(<[u8]>::to_vec)
    }

    /// An entry that says nothing and looks like any other; whoever holds the block secret can see
    /// that it is padding.
    #[must_use]
    pub fn padding(
        &self,
        secret: &BlockSecret,
        index: LeafIndex,
        payload_size: usize,
    ) -> SealedEntry {
        let info = self.info(PADDING, "");
        let seed: [u8; 32] =
            hkdf_sha256(&secret.0, self.nonce.as_bytes(), &[&info, &index.get().to_be_bytes()]);
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut commitment = [0; 32];
        let mut ciphertext = vec![0; payload_size.saturating_add(SEALED_OVERHEAD)];
        chacha20::rand_core::Rng::fill_bytes(&mut random, &mut commitment);
        chacha20::rand_core::Rng::fill_bytes(&mut random, &mut ciphertext);
        SealedEntry { commitment: Commitment::from_bytes(commitment), ciphertext }
    }

    fn associated_data(&self, index: LeafIndex) -> Vec<u8> {
        let mut data = self.info(ENTRY_KEY, "");
        data.extend_from_slice(&index.get().to_be_bytes());
        data
    }
}

/// Bytes a sealed entry's ciphertext has beyond the payload size: length and tag.
pub const SEALED_OVERHEAD: usize = 2 + 16;

/// The payload in a plaintext of the one size.
fn unpad(plaintext: &[u8]) -> Result<&[u8], SealError> {
    let (length, rest) = plaintext.split_first_chunk::<2>().ok_or(SealError::NotOpened)?;
    let (payload, padding) =
        rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(SealError::NotOpened)?;
    // one plaintext for each meaning, and no room for hidden words
    if padding.iter().any(|byte| *byte != 0) {
        return Err(SealError::NotOpened);
    }
    Ok(payload)
}

fn commitment_of(key: &EntryKey) -> Commitment {
    Commitment::from_bytes(sha256(&[ENTRY_COMMITMENT, &key.0]))
}

/// A leaf only its parties can read. All have one size within an epoch.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealedEntry {
    /// Commitment to the entry's key.
    #[n(0)]
    pub commitment: Commitment,
    /// AES-256-GCM of the length, the payload and zeros up to the payload size.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for SealedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedEntry({:?})", self.commitment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> SealingContext {
        SealingContext { log: BrandId::new("a").unwrap(), nonce: BlockNonce::from_bytes([3; 16]) }
    }

    #[test]
    fn an_entry_opens_at_its_own_place_only() {
        let (context, at) = (context(), LeafIndex::new(9));
        let column =
            context.column_key(&BlockSecret::from_bytes([1; 32]), BrandId::new("b").unwrap());
        let sealed = context.seal(&column, at, b"ten points", 64).unwrap();
        let key = context.entry_key(&column, at);
        assert_eq!(context.open(&key, at, &sealed).unwrap(), b"ten points");

        let elsewhere = LeafIndex::new(10);
        assert_eq!(context.open(&key, elsewhere, &sealed), Err(SealError::NotOpened));
        let other = context.entry_key(&column, elsewhere);
        assert_eq!(context.open(&other, at, &sealed), Err(SealError::WrongKey));
        let mut altered = sealed.clone();
        altered.ciphertext[5] ^= 1;
        assert_eq!(context.open(&key, at, &altered), Err(SealError::NotOpened));
    }

    #[test]
    fn all_entries_and_padding_have_one_size() {
        let context = context();
        let secret = BlockSecret::from_bytes([1; 32]);
        let column = context.column_key(&secret, BrandId::new("b").unwrap());
        let sizes: Vec<usize> = [&b""[..], &[7; 64]]
            .iter()
            .map(|payload| context.seal(&column, LeafIndex::new(1), payload, 64).unwrap())
            .chain([context.padding(&secret, LeafIndex::new(2), 64)])
            .map(|entry| crate::codec::encode(&entry).len())
            .collect();
        assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
        assert!(context.seal(&column, LeafIndex::new(1), &[0; 65], 64).is_err());
    }

    #[test]
    fn a_wrap_can_be_run_again_and_opens_for_its_recipient_only() {
        let context = context();
        let (secret, public) = SealingSecret::derive(&[5; 32]);
        let (other, _) = SealingSecret::derive(&[6; 32]);
        let wrapped = context.wrap("b", &public, &[1; 32], b"key").unwrap();
        assert_eq!(wrapped, context.wrap("b", &public, &[1; 32], b"key").unwrap());
        assert_eq!(context.unwrap("b", &secret, &wrapped).unwrap(), b"key");
        assert!(context.unwrap("b", &other, &wrapped).is_err());
        assert!(context.unwrap("c", &secret, &wrapped).is_err());
    }
}
