//! Keys of the vault: one data key a member, wrapped by the brand's key.
//!
//! Knows: AES-256-GCM (NIST SP 800-38D) and SM4-GCM (GB/T 32907-2016, RFC 8998) with random 96-bit
//! nonces; everything sealed says by which, so that both open whatever is configured. Does not know
//! what is encrypted. A key service takes part by implementing [`BrandKey`]; the key that this
//! process holds itself is [`HeldBrandKey`](super::HeldBrandKey).

use std::fmt;
use std::path::PathBuf;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, AesGcm, KeyInit, Nonce};
use protocol::crypto::sealed::Cipher;
use ring::rand::SecureRandom;
use ring::{hkdf, hmac};
use sm4::Sm4;
use zeroize::Zeroizing;

use super::identifier::IdentifierKind;

/// Length of every key here, in bytes.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// First byte of what is sealed with AES-256-GCM; nonce first, tag last.
pub(super) const AES_256_GCM: u8 = 0;
/// First byte of what is sealed with SM4-GCM, whose key of 128 bits is derived from the 256.
pub(super) const SM4_GCM: u8 = 1;

type Sm4Gcm = AesGcm<Sm4, U12>;

/// What is hashed under the brand's key; two uses of one value have unrelated hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlindIndex {
    /// An external card number.
    Card,
    /// A key that is the same for one person at several brands.
    MatchKey,
    /// A one-time code that links a member to an account at another brand.
    LinkCode,
    /// A handle by which another brand knows a member.
    LinkHandle,
    /// A basket's number at the brand, as earlier versions had it.
    Basket,
    /// A basket's number at the brand, with whose it is.
    BasketOf,
    /// What the programme derives secrets, or names for what it remembers, from.
    Programme,
    /// An identifier of a kind that is neither of the above.
    Identifier(IdentifierKind),
}

impl BlindIndex {
    /// What tells this use of the key from others, for who implements [`BrandKey`]; it has no zero byte.
    #[must_use]
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::Identifier(kind) => kind.name().as_bytes(),
            Self::Card => b"card",
            Self::MatchKey => b"match key",
            Self::LinkCode => b"link code",
            Self::LinkHandle => b"link handle",
            Self::Basket => b"basket",
            Self::BasketOf => b"basket of",
            Self::Programme => b"programme",
        }
    }
}

/// What holds the brand's key and uses it: a file or the environment, or a key service that implements
/// this. The vault has no other way to the key: it never sees it, and what it may ask is here.
///
/// Each call may fail, as that of a service that does not answer: the vault then does nothing of what it was
/// asked, says [`KeyError::Service`], and is as it was when the service is back. Calls block.
pub trait BrandKey: Send + Sync {
    /// What members' fields are sealed with from now on.
    fn cipher(&self) -> Cipher {
        Cipher::Aes256Gcm
    }

    /// Which version of the key wraps from now on: a name without the key in it, at most 64 characters.
    ///
    /// # Errors
    /// When the key service fails.
    fn version(&self) -> Result<String, KeyError>;

    /// Whether a wrapped key is under the newest key: if not, it is to be wrapped again.
    ///
    /// # Errors
    /// When the key service fails.
    fn is_current(&self, wrapped: &[u8]) -> Result<bool, KeyError>;

    /// Encrypts a data key; it opens only with the same `bound_to`.
    ///
    /// # Errors
    /// When the key service or the random generator fails.
    fn wrap(
        &self,
        key: &DataKey,
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError>;

    /// Opens a wrapped data key.
    ///
    /// # Errors
    /// [`KeyError::Unopened`] when it was wrapped by another key, for another use, or altered.
    fn unwrap(&self, wrapped: &[u8], bound_to: &[u8]) -> Result<DataKey, KeyError>;

    /// The same data key under the newest version. A service that does this itself shows the data key to
    /// nobody.
    ///
    /// # Errors
    /// As of [`Self::unwrap`] and [`Self::wrap`].
    fn rewrap(
        &self,
        wrapped: &[u8],
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        self.wrap(&self.unwrap(wrapped, bound_to)?, bound_to, random)
    }

    /// A keyed hash of 32 bytes of a value, as HMAC-SHA256 under a key of the brand's, for looking it up
    /// without keeping it. The same for ever: no rotation changes it. Values of two indices have unrelated hashes.
    ///
    /// # Errors
    /// When the key service fails.
    fn blind(&self, index: BlindIndex, value: &[u8]) -> Result<[u8; 32], KeyError>;

    /// Whether versions of before a rotation still open what they wrapped, because not everything is wrapped
    /// again.
    ///
    /// # Errors
    /// When the key service fails.
    fn is_rotating(&self) -> Result<bool, KeyError>;

    /// Begins a rotation: from now on a new version wraps, and the former still opens.
    ///
    /// # Errors
    /// [`KeyError::Rotation`] when a rotation is under way or this key is not rotated from here; then nothing has
    /// changed. When the key service or the random generator fails.
    fn begin_rotation(&self, random: &dyn SecureRandom) -> Result<(), KeyError>;

    /// Ends a rotation: only the newest version opens anything. Asked once nothing is wrapped by an older one.
    ///
    /// # Errors
    /// When the key service fails, or the key cannot be written; the older version then still opens.
    fn end_rotation(&self) -> Result<(), KeyError>;
}

/// Why a key could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random generator gave nothing.
    #[error("the system's random generator failed")]
    Random,
    /// A ciphertext that this key does not open.
    #[error("sealed under another key, for another place, or altered")]
    Unopened,
    /// Plaintext beyond what the cipher takes.
    #[error("too long to be sealed")]
    TooLong,
    /// The key's text is not a key.
    #[error(
        "{place}: a brand key is written as 64 hexadecimal digits, or, once it was rotated, as lines \
         `wrap` and `blind` of 64 digits each, the newest first"
    )]
    NotAKey {
        /// The file or variable.
        place: String,
    },
    /// The variable is not set.
    #[error(
        "the environment variable {name} is not set; it holds the brand key as 64 hexadecimal digits"
    )]
    NotSet {
        /// Its name.
        name: String,
    },
    /// The key's file can be read by others.
    #[error("{}: a key file must be readable by its owner alone (chmod 600)", path.display())]
    Exposed {
        /// Where it is.
        path: PathBuf,
    },
    /// The key cannot be rotated here.
    #[error("the brand key cannot be rotated: {0}")]
    Rotation(&'static str),
    /// A key service did not do what it was asked: words fixed when the program is written, so that nothing of
    /// what a service answers comes into an error.
    #[error("the key service {0}")]
    Service(&'static str),
    /// The key's file could not be read or written.
    #[error("{}: the key file could not be used", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A random key of one member, or of the brand's fact files.
pub struct DataKey(pub(super) Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl DataKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        random.fill(bytes.as_mut()).map_err(|_| KeyError::Random)?;
        Ok(Self(bytes))
    }

    /// Takes the bytes of a key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself, for an engine that encrypts on its own.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts; the result opens only with the same `bound_to`.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn seal(
        &self,
        plaintext: &[u8],
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        seal(Cipher::Aes256Gcm, &self.0, plaintext, bound_to, random)
    }

    /// As [`Self::seal`], with a cipher of choice.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn seal_with(
        &self,
        cipher: Cipher,
        plaintext: &[u8],
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        seal(cipher, &self.0, plaintext, bound_to, random)
    }

    /// Decrypts what [`Self::seal`] made.
    ///
    /// # Errors
    /// [`KeyError::Unopened`].
    pub fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        open(&self.0, sealed, bound_to)
    }
}

/// A secret of one member, from which the member's pseudonyms are made.
pub(super) struct MemberSecret(Zeroizing<[u8; KEY_BYTES]>);

impl MemberSecret {
    pub(super) fn generate(random: &dyn SecureRandom) -> Result<Self, KeyError> {
        DataKey::generate(random).map(|key| Self(key.0))
    }
    pub(super) fn from_opened(bytes: &[u8]) -> Option<Self> {
        <[u8; KEY_BYTES]>::try_from(bytes).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }
    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
    /// HMAC-SHA256 of a purpose and a value under the secret.
    pub(super) fn pseudonym(&self, purpose: &[u8], value: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref());
        let mut context = hmac::Context::with_key(&key);
        context.update(purpose);
        context.update(&[0]);
        context.update(value);
        digest(context.sign())
    }
}

pub(super) fn digest(tag: hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

struct KeyLength(usize);

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand (RFC 5869) of a secret that is uniform, so that the extract step may be skipped
/// (section 3.3).
pub(super) fn expand<const N: usize>(
    secret: &[u8; KEY_BYTES],
    purpose: &[u8],
) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret)
        .expand(&[purpose], KeyLength(N))
        .and_then(|expanded| expanded.fill(key.as_mut()))
        .expect("at most 32 bytes are within what HKDF-SHA256 gives");
    key
}

fn sm4(key: &[u8; KEY_BYTES]) -> Sm4Gcm {
    let key: Zeroizing<[u8; 16]> = expand(key, b"coalition vault v0 sm4");
    Sm4Gcm::new(&(*key).into())
}

pub(super) fn seal(
    cipher: Cipher,
    key: &[u8; KEY_BYTES],
    plaintext: &[u8],
    bound_to: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce).map_err(|_| KeyError::Random)?;
    let payload = Payload { msg: plaintext, aad: bound_to };
    let nonce_of = Nonce::from(nonce);
    let (tag, sealed) = match cipher {
        Cipher::Aes256Gcm => {
            (AES_256_GCM, Aes256Gcm::new(&(*key).into()).encrypt(&nonce_of, payload))
        }
        Cipher::Sm4Gcm => (SM4_GCM, sm4(key).encrypt(&nonce_of, payload)),
    };
    let sealed = sealed.map_err(|_| KeyError::TooLong)?;
    let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
    out.push(tag);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

pub(super) fn open(
    key: &[u8; KEY_BYTES],
    sealed: &[u8],
    bound_to: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (tag, rest) = sealed.split_first().ok_or(KeyError::Unopened)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(KeyError::Unopened)?;
    let payload = Payload { msg: ciphertext, aad: bound_to };
    let nonce = Nonce::from(*nonce);
    let opened = match *tag {
        AES_256_GCM => Aes256Gcm::new(&(*key).into()).decrypt(&nonce, payload),
        SM4_GCM => sm4(key).decrypt(&nonce, payload),
        _ => return Err(KeyError::Unopened),
    };
    opened.map(Zeroizing::new).map_err(|_| KeyError::Unopened)
}

/// What something sealed was sealed with.
pub(super) fn cipher_of(sealed: &[u8]) -> Option<Cipher> {
    match sealed.first() {
        Some(&AES_256_GCM) => Some(Cipher::Aes256Gcm),
        Some(&SM4_GCM) => Some(Cipher::Sm4Gcm),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    #[test]
    fn a_sealed_value_opens_in_its_own_place_only() {
        let random = SystemRandom::new();
        for cipher in Cipher::ALL {
            let key = DataKey::generate(&random).unwrap();
            let place = b"member 1, phone";
            let mut sealed = key.seal_with(cipher, b"13812345678", place, &random).unwrap();
            assert_eq!(cipher_of(&sealed), Some(cipher));
            assert_eq!(**key.open(&sealed, place).unwrap(), *b"13812345678");
            assert!(key.open(&sealed, b"member 2, phone").is_err());
            assert!(DataKey::generate(&random).unwrap().open(&sealed, place).is_err());
            for position in 0..sealed.len() {
                sealed[position] ^= 1;
                assert!(key.open(&sealed, place).is_err(), "byte {position}");
                sealed[position] ^= 1;
            }
            assert!(key.open(&sealed[..20], place).is_err());
        }
    }
}
