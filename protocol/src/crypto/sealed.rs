//! Sealed payloads: one fresh secret a block, one key a counterparty, one key an entry.
//!
//! ```text
//! block secret ── HKDF ──> counterparty key k_cp ── HKDF(log, nonce, index) ──> entry key
//!      │                        │                                                  │
//!      └ HPKE to: recovery,     └ HPKE to the counterparty,                        ├ the constitution's cipher, one use
//!        own, standing auditors   commitment in the header                         └ commitment in the leaf
//! ```
//! Opening one entry (its key) opens no other; opening one counterparty's key opens that column of
//! one block; the block secret opens the block. Every HPKE encapsulation (RFC 9180, base mode,
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) is derived from the secret it belongs to, so
//! that whoever holds the block secret can run it again and see that the right key was wrapped.
//!
//! Does not know whose sealing key is current, nor when an old one is destroyed.

mod cipher;
mod column;
mod wrap;

use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use cipher::Cipher;
pub use column::{ColumnCipher, SealedLeaf, SealedRef, sealed_leaf_bytes};
pub use wrap::{KeyRing, SealingKey, Suite, Wrapped};

use super::hash::HkdfKey;
use super::{hkdf_sha256, sha256};
use crate::ids::{BlockNonce, BrandId, Commitment, LeafIndex};
use crate::time::Timestamp;

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
    /// Private half of a sealing key (X25519).
    SealingSecret,
}

/// Key of one entry, of its cipher's length: what a receipt or a dispute opens.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EntryKey {
    #[zeroize(skip)]
    cipher: Cipher,
    // beyond the cipher's length zeros
    bytes: [u8; 32],
}

impl EntryKey {
    /// Takes the secret bytes of a cipher's key; none when they are fewer or more than it has.
    #[must_use]
    pub fn from_bytes(cipher: Cipher, bytes: &[u8]) -> Option<Self> {
        let mut key = Self { cipher, bytes: [0; 32] };
        if bytes.len() != cipher.key_bytes() {
            return None;
        }
        key.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Some(key)
    }
    fn derive(cipher: Cipher, column: &HkdfKey, place: &[u8]) -> Self {
        let mut key = Self { cipher, bytes: [0; 32] };
        match cipher {
            Cipher::Aes256Gcm => key.bytes = column.expand(&[place]),
            Cipher::Sm4Gcm => {
                let mut short: [u8; 16] = column.expand(&[place]);
                key.bytes.iter_mut().zip(short).for_each(|(to, from)| *to = from);
                short.zeroize();
            }
        }
        key
    }
    /// Of which cipher.
    #[must_use]
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }
    /// The secret bytes, as many as the cipher's keys have.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.cipher.key_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryKey(..)")
    }
}

/// How a block is sealed, and to which key others are to seal to its writer. A header that states
/// another key than the one before announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sealing {
    /// What seals the entries.
    #[n(0)]
    pub cipher: Cipher,
    /// The writer's sealing key, for those who recognise this block.
    #[n(1)]
    pub key: SealingKey,
    /// The time of the first block that stated it.
    #[n(2)]
    pub since: Timestamp,
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
    /// Sealed to a key whose private half is not here: never held, or destroyed.
    #[error("it is sealed to a key that is not held here")]
    KeyNotHeld,
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

/// Where in the alliance something is sealed; binds it to its place.
#[derive(Clone, Copy, Debug)]
pub struct SealingContext {
    /// The log whose block it is.
    pub log: BrandId,
    /// The block's nonce.
    pub nonce: BlockNonce,
    /// What its entries are sealed with.
    pub cipher: Cipher,
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
        let key = HkdfKey::extract(&column.0, self.nonce.as_bytes());
        EntryKey::derive(self.cipher, &key, &self.place_of(index))
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
        let sealed = self.cipher.seal(key.expose(), &plaintext, &self.place_of(index));
        plaintext.zeroize();
        let ciphertext = sealed.ok_or(too_long)?;
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
        let plaintext = key
            .cipher
            .open(key.expose(), &entry.ciphertext, &self.place_of(index))
            .ok_or(SealError::NotOpened)?;
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

    /// Log, block, type, cipher and index: an entry's key is derived for this place, and opens it
    /// here only.
    fn place_of(&self, index: LeafIndex) -> Vec<u8> {
        let mut place = self.info(ENTRY_KEY, "");
        place.push(self.cipher.number());
        place.extend_from_slice(&index.get().to_be_bytes());
        place
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
    Commitment::from_bytes(sha256(&[ENTRY_COMMITMENT, key.expose()]))
}

/// A leaf only its parties can read. All have one size within an epoch.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealedEntry {
    /// Commitment to the entry's key.
    #[n(0)]
    pub commitment: Commitment,
    /// The length, the payload and zeros up to the payload size, under the header's cipher.
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

    fn context(cipher: Cipher) -> SealingContext {
        let (log, nonce) = (BrandId::new("a").unwrap(), BlockNonce::from_bytes([3; 16]));
        SealingContext { log, nonce, cipher }
    }

    #[test]
    fn an_entry_opens_at_its_own_place_only() {
        for cipher in Cipher::ALL {
            let (context, at) = (context(cipher), LeafIndex::new(9));
            let column =
                context.column_key(&BlockSecret::from_bytes([1; 32]), BrandId::new("b").unwrap());
            let sealed = context.seal(&column, at, b"ten points", 64).unwrap();
            let key = context.entry_key(&column, at);
            assert_eq!(context.open(&key, at, &sealed).unwrap(), b"ten points");
            assert_eq!(key.expose().len(), cipher.key_bytes());

            let elsewhere = LeafIndex::new(10);
            assert_eq!(context.open(&key, elsewhere, &sealed), Err(SealError::NotOpened));
            let other = context.entry_key(&column, elsewhere);
            assert_eq!(context.open(&other, at, &sealed), Err(SealError::WrongKey));
            let mut altered = sealed.clone();
            altered.ciphertext[5] ^= 1;
            assert_eq!(context.open(&key, at, &altered), Err(SealError::NotOpened));
        }
    }

    #[test]
    fn one_secret_gives_each_cipher_keys_of_its_own() {
        let at = LeafIndex::new(9);
        let [aes, sm4] = Cipher::ALL.map(|cipher| {
            let column = context(cipher)
                .column_key(&BlockSecret::from_bytes([1; 32]), BrandId::new("b").unwrap());
            context(cipher).entry_key(&column, at).expose().to_vec()
        });
        assert_ne!(aes[..16], sm4[..]);
    }

    #[test]
    fn all_entries_and_padding_have_one_size() {
        let context = context(Cipher::default());
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
}
