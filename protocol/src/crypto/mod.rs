//! Keys by role, domain-separated signatures, hashes, and sealed payloads.
//!
//! A signature is over a domain tag and the deterministic CBOR of the body, so that what was signed
//! for one purpose can never be read for another. [`Signed`] is what arrived; [`Verified`] is what
//! this crate's own check let through, and nothing else can make one. Knows nothing of where keys
//! are stored, nor of whose key is current: the caller passes the key it found in the constitution.

pub mod hash;
pub mod sealed;
#[cfg(test)]
mod vectors;

use std::fmt;

use minicbor::{Decode, Encode};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::codec;
use crate::ids::{BrandId, write_hex};

pub use hash::{hkdf_sha256, hmac_sha256, sha256};

/// What a signing key may be used for. One key never serves two roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Signs this brand's own proposals and rounds.
    Log,
    /// Signs promises, votes and commits on any log.
    Vote,
    /// Signs C2SP checkpoints of the own log.
    Checkpoint,
    /// Signs C2SP cosignatures of certified sizes.
    Witness,
    /// Signs constitutions on behalf of the brand.
    Governance,
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl PublicKey {
    /// Takes the 32 bytes as they are (RFC 8032, section 5.1.5).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Checks a signature over plain bytes. This is the one Ed25519 rule of the alliance (ring's:
    /// cofactorless, canonical S, any encoding of A that decompresses).
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        #[cfg(test)]
        VERIFIED.set(VERIFIED.get() + 1);
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, &signature.0)
            .map_err(|_| SignatureError::Invalid)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..8).unwrap_or_default(), f)
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Signature(#[cbor(with = "minicbor::bytes")] [u8; 64]);

impl Signature {
    /// Takes the 64 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..4).unwrap_or_default(), f)
    }
}

/// A private signing key. Neither its `Debug` nor any error shows it.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The key whose RFC 8032 seed is `seed`.
    ///
    /// # Errors
    /// [`SignatureError::NotAKey`] when ring refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SignatureError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SignatureError::NotAKey)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| SignatureError::NotAKey)?;
        Ok(Self { pair, public: PublicKey(bytes) })
    }
    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }
    /// Signs plain bytes; only C2SP notes and constitutions are signed so.
    #[must_use]
    pub fn sign_bytes(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        Signature(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is not one of this key over this body.
    #[error("the signature is not this key's over this body")]
    Invalid,
    /// The bytes are no key.
    #[error("the bytes are no Ed25519 key")]
    NotAKey,
}

/// Something that can be signed, under its own domain tag.
pub trait Signable: Encode<()> {
    /// Unique text that opens the signed bytes; ends the chance of reading one thing as another.
    const DOMAIN: &'static str;

    /// The bytes that are signed: domain tag, a zero byte, deterministic CBOR.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(Self::DOMAIN.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&codec::encode(self));
        bytes
    }
}

impl<T: Signable> Signable for &T {
    const DOMAIN: &'static str = T::DOMAIN;
}

/// A body with a signature that nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Signed<T> {
    /// Who is said to have signed.
    #[n(0)]
    pub signer: BrandId,
    /// What is said to be signed.
    #[n(1)]
    pub body: T,
    /// The signature over [`Signable::signed_bytes`].
    #[n(2)]
    pub signature: Signature,
}

impl<T: Signable> Signed<T> {
    /// Signs a body.
    #[must_use]
    pub fn sign(signer: BrandId, body: T, key: &SigningKey) -> Self {
        let signature = key.sign_bytes(&body.signed_bytes());
        Self { signer, body, signature }
    }

    /// Checks the signature with the key the signer has for this role at this epoch.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn verify(self, key: &PublicKey) -> Result<Verified<T>, SignatureError> {
        key.verify(&self.body.signed_bytes(), &self.signature)?;
        Ok(Verified(self))
    }
}

/// A body whose signature has been checked; made by [`Signed::verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(Signed<T>);

impl<T> Verified<T> {
    /// Who signed.
    #[must_use]
    pub const fn signer(&self) -> BrandId {
        self.0.signer
    }
    /// What was signed.
    #[must_use]
    pub const fn body(&self) -> &T {
        &self.0.body
    }
    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> Signature {
        self.0.signature
    }
    /// Back to the form that travels.
    #[must_use]
    pub fn into_signed(self) -> Signed<T> {
        self.0
    }
    /// The form that travels.
    #[must_use]
    pub const fn as_signed(&self) -> &Signed<T> {
        &self.0
    }
}

#[cfg(test)]
thread_local! {
    static VERIFIED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many signatures are verified in this.
#[cfg(test)]
pub(crate) fn verified_in<T>(action: impl FnOnce() -> T) -> (T, u64) {
    let before = VERIFIED.get();
    let result = action();
    (result, VERIFIED.get() - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    #[cbor(array)]
    struct First(#[n(0)] u8);
    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    #[cbor(array)]
    struct Second(#[n(0)] u8);
    impl Signable for First {
        const DOMAIN: &'static str = "test/first";
    }
    impl Signable for Second {
        const DOMAIN: &'static str = "test/second";
    }

    #[test]
    fn a_signature_serves_one_domain_and_one_key() {
        let brand = BrandId::new("a").unwrap();
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        let signed = Signed::sign(brand, First(1), &key);
        assert!(signed.clone().verify(&other.public()).is_err());
        let moved = Signed { signer: brand, body: Second(1), signature: signed.signature };
        assert!(moved.verify(&key.public()).is_err());
        assert_eq!(signed.verify(&key.public()).unwrap().body(), &First(1));
    }
}
