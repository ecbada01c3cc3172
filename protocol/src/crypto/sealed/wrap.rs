//! Secrets wrapped to one recipient's key by HPKE, and the ring of keys that opens them.
//!
//! Knows one suite, by number, and carries the recipient's public key beside what is wrapped to it:
//! which key a secret is wrapped to is for everyone to see, and whoever holds several finds the right
//! one. Which key *should* have been used is `witness::readers`' business; where private keys are kept,
//! and when they are destroyed, is the node's.

use std::collections::BTreeMap;
use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use minicbor::{Decode, Encode};

use super::{ENCAPSULATION, SealError, SealingContext, SealingSecret, WRAP};
use crate::crypto::hkdf_sha256;
use crate::ids::write_hex;

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

impl fmt::Display for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl SealingSecret {
    /// Makes a key pair from 32 random bytes (RFC 9180, section 7.1.3).
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> (Self, SealingKey) {
        let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
        (Self(secret.to_bytes().into()), SealingKey(public.to_bytes().into()))
    }

    /// The public half.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when the bytes are no X25519 key; 32 bytes always are one.
    pub fn public(&self) -> Result<SealingKey, SealError> {
        let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(&self.0)
            .map_err(|_| SealError::Recipient)?;
        Ok(SealingKey(X25519HkdfSha256::sk_to_pk(&private).to_bytes().into()))
    }
}

/// What wraps a secret. The number is on the wire and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Suite {
    /// HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001,
    /// AES-256-GCM 0x0002. HPKE has no SM4 suite: an alliance that seals entries with SM4-GCM wraps
    /// their keys with this one too.
    #[n(1)]
    #[default]
    X25519Sha256Aes256Gcm,
}

const TAG_BYTES: usize = 16;

/// A secret wrapped to one recipient by HPKE.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Wrapped {
    #[n(0)]
    suite: Suite,
    #[n(1)]
    key: SealingKey,
    #[cbor(n(2), with = "minicbor::bytes")]
    encapsulated: [u8; 32],
    #[cbor(n(3), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
}

impl Wrapped {
    /// The public key it is wrapped to, as the one who wrapped it says.
    #[must_use]
    pub const fn key(&self) -> SealingKey {
        self.key
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({} bytes)", self.ciphertext.len())
    }
}

/// The private sealing keys that one holder has: the one others are to use now, and older ones, which
/// open what was sealed to them until they are destroyed.
#[derive(Clone)]
pub struct KeyRing {
    current: SealingKey,
    secrets: BTreeMap<SealingKey, SealingSecret>,
}

impl KeyRing {
    /// A ring of one key.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when it is none.
    pub fn new(secret: SealingSecret) -> Result<Self, SealError> {
        let current = secret.public()?;
        Ok(Self { current, secrets: BTreeMap::from([(current, secret)]) })
    }

    /// Adds a key, which others use from when it is announced; the newest becomes the current one.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when it is none.
    pub fn turn_to(&mut self, secret: SealingSecret) -> Result<SealingKey, SealError> {
        let key = secret.public()?;
        self.secrets.insert(key, secret);
        self.current = key;
        Ok(key)
    }

    /// Adds a key without turning to it.
    ///
    /// # Errors
    /// [`SealError::Recipient`] when it is none.
    pub fn hold(&mut self, secret: SealingSecret) -> Result<SealingKey, SealError> {
        let key = secret.public()?;
        self.secrets.insert(key, secret);
        Ok(key)
    }

    /// Drops a key, which is overwritten; false when it is the current one or not held.
    pub fn forget(&mut self, key: &SealingKey) -> bool {
        *key != self.current && self.secrets.remove(key).is_some()
    }

    /// The key that others are to seal to.
    #[must_use]
    pub const fn current(&self) -> SealingKey {
        self.current
    }
    /// All keys, in the order of their bytes.
    pub fn keys(&self) -> impl Iterator<Item = SealingKey> + '_ {
        self.secrets.keys().copied()
    }
    /// Whether the private half is here.
    #[must_use]
    pub fn holds(&self, key: &SealingKey) -> bool {
        self.secrets.contains_key(key)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // which keys there are is public, what they are is not
        f.debug_set().entries(self.keys()).finish()
    }
}

impl SealingContext {
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
        let (suite, encapsulated) = (Suite::default(), encapsulated.to_bytes().into());
        Ok(Wrapped { suite, key: *key, encapsulated, ciphertext })
    }

    /// For whoever holds the secret that the encapsulation is derived from: runs the wrapping again and
    /// gives what was wrapped; none when it was not wrapped in this way. The key stream follows from the
    /// encapsulation and not from what is sealed, so that sealing zeros shows it.
    #[must_use]
    pub fn run_again(
        &self,
        recipient: &str,
        secret: &[u8; 32],
        wrapped: &Wrapped,
    ) -> Option<Vec<u8>> {
        let length = wrapped.ciphertext.len().checked_sub(TAG_BYTES)?;
        let zeros = self.wrap(recipient, &wrapped.key, secret, &vec![0; length]).ok()?;
        let stream = zeros.ciphertext.iter().zip(&wrapped.ciphertext).take(length);
        let plaintext: Vec<u8> = stream.map(|(zero, byte)| zero ^ byte).collect();
        let again = self.wrap(recipient, &wrapped.key, secret, &plaintext).ok()?;
        (again == *wrapped).then_some(plaintext)
    }

    /// Opens what was wrapped to this recipient under any key of its ring.
    ///
    /// # Errors
    /// [`SealError::KeyNotHeld`], [`SealError::NotOpened`].
    pub fn unwrap(
        &self,
        recipient: &str,
        ring: &KeyRing,
        wrapped: &Wrapped,
    ) -> Result<Vec<u8>, SealError> {
        let secret = ring.secrets.get(&wrapped.key).ok_or(SealError::KeyNotHeld)?;
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sealed::Cipher;
    use crate::ids::{BlockNonce, BrandId};

    fn ring(seed: u8) -> KeyRing {
        KeyRing::new(SealingSecret::derive(&[seed; 32]).0).unwrap()
    }

    fn context() -> SealingContext {
        let (log, nonce) = (BrandId::new("a").unwrap(), BlockNonce::from_bytes([3; 16]));
        SealingContext { log, nonce, cipher: Cipher::default() }
    }

    #[test]
    fn a_wrap_can_be_run_again_and_opens_for_its_recipient_only() {
        let (context, own, other) = (context(), ring(5), ring(6));
        let wrapped = context.wrap("b", &own.current(), &[1; 32], b"key").unwrap();
        assert_eq!(wrapped, context.wrap("b", &own.current(), &[1; 32], b"key").unwrap());
        assert_eq!(context.unwrap("b", &own, &wrapped).unwrap(), b"key");
        assert_eq!(context.unwrap("b", &other, &wrapped), Err(SealError::KeyNotHeld));
        assert_eq!(context.unwrap("c", &own, &wrapped), Err(SealError::NotOpened));
        // whoever holds what it was derived from can open it too
        assert_eq!(context.run_again("b", &[1; 32], &wrapped).unwrap(), b"key");
        assert_eq!(context.run_again("b", &[2; 32], &wrapped), None);
        assert_eq!(context.run_again("c", &[1; 32], &wrapped), None);
        // a key that is named and is not the one it was wrapped to opens nothing either
        let renamed = Wrapped { key: other.current(), ..wrapped };
        assert_eq!(context.unwrap("b", &other, &renamed), Err(SealError::NotOpened));
    }

    #[test]
    fn a_ring_opens_what_was_wrapped_before_it_turned_until_the_key_is_forgotten() {
        let (context, mut ring) = (context(), ring(5));
        let old = ring.current();
        let before = context.wrap("b", &old, &[1; 32], b"before").unwrap();
        let new = ring.turn_to(SealingSecret::derive(&[7; 32]).0).unwrap();
        let after = context.wrap("b", &new, &[1; 32], b"after").unwrap();
        assert_eq!(ring.current(), new);
        assert_eq!(context.unwrap("b", &ring, &before).unwrap(), b"before");
        assert_eq!(context.unwrap("b", &ring, &after).unwrap(), b"after");

        assert!(!ring.forget(&new), "the current key stays");
        assert!(ring.forget(&old) && !ring.forget(&old));
        assert_eq!(context.unwrap("b", &ring, &before), Err(SealError::KeyNotHeld));
        assert_eq!(context.unwrap("b", &ring, &after).unwrap(), b"after");
        assert!(!format!("{ring:?}").contains("Secret"));
    }
}
