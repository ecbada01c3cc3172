//! A member as stored: the wrapped data key, and one ciphertext a field.
//!
//! Each ciphertext is bound to the brand, the member and the field, so that moving one between
//! records or fields is found out.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::crypto::sealed::Cipher;
use protocol::ids::{BrandId, MemberHandle};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::hold::LegalHold;
use super::keys::{self, BrandKey, DataKey, MemberSecret};
use super::member::{Attribute, FactsSubject, MemberId};
use super::{ConsentHistory, VaultError, damaged};

/// Largest stored record, in bytes: a thousand decisions of consent and every attribute fit.
pub(super) const RECORD_MAX: usize = crate::store::VALUE_MAX;

/// One field of a member.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// 32 random bytes.
    Secret,
    /// External card number.
    Card,
    /// The keyed hashes of card and match key, 32 bytes each: what an enrolment enters.
    Identifiers,
    /// [`ConsentHistory`].
    Consents,
    /// Everything by which the member is known, in place of [`Self::Identifiers`].
    Identity,
    /// Numbers in facts of members who were merged into this one, 8 bytes each.
    Aliases,
    /// [`LegalHold`].
    Hold,
    /// The number of the last change of what is known of the member, 8 bytes.
    Revision,
    /// An attribute's text.
    Attribute(Attribute),
}

impl Field {
    const fn code(self) -> u8 {
        match self {
            Self::Secret => 0,
            Self::Card => 1,
            Self::Identifiers => 2,
            Self::Consents => 3,
            Self::Identity => 4,
            Self::Aliases => 5,
            Self::Hold => 6,
            Self::Revision => 7,
            Self::Attribute(attribute) => 16 + attribute as u8,
        }
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Record {
    #[n(0)]
    wrapped_key: ByteVec,
    #[n(1)]
    fields: Vec<SealedField>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct SealedField {
    #[n(0)]
    code: u8,
    #[n(1)]
    sealed: ByteVec,
}

/// What a ciphertext of a member is bound to.
fn bound_to(brand: BrandId, id: MemberId, field: Option<u8>) -> Vec<u8> {
    let mut place = b"coalition vault member v0\0".to_vec();
    place.extend_from_slice(brand.as_str().as_bytes());
    place.push(0);
    place.extend_from_slice(id.as_bytes());
    // the wrapped key is of no field, and so one byte shorter
    place.extend(field);
    place
}

/// A record being made.
pub(super) struct Sealing<'a> {
    brand: BrandId,
    id: MemberId,
    key: DataKey,
    cipher: Cipher,
    random: &'a dyn SecureRandom,
    record: Record,
}

impl<'a> Sealing<'a> {
    pub(super) fn begin(
        brand: BrandId,
        id: MemberId,
        brand_key: &dyn BrandKey,
        random: &'a dyn SecureRandom,
    ) -> Result<Self, VaultError> {
        let key = DataKey::generate(random)?;
        let wrapped_key = brand_key.wrap(&key, &bound_to(brand, id, None), random)?.into();
        let record = Record { wrapped_key, fields: Vec::new() };
        Ok(Self { brand, id, key, cipher: brand_key.cipher(), random, record })
    }

    pub(super) fn add(&mut self, field: Field, plaintext: &[u8]) -> Result<(), VaultError> {
        let place = bound_to(self.brand, self.id, Some(field.code()));
        let sealed = self.key.seal_with(self.cipher, plaintext, &place, self.random)?.into();
        self.record.fields.push(SealedField { code: field.code(), sealed });
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        codec::encode(&self.record)
    }
}

/// A record whose data key has been unwrapped; its fields are opened one by one.
pub(super) struct Opened {
    brand: BrandId,
    id: MemberId,
    key: DataKey,
    cipher: Cipher,
    record: Record,
}

impl Opened {
    pub(super) fn open(
        brand: BrandId,
        id: MemberId,
        bytes: &[u8],
        brand_key: &dyn BrandKey,
    ) -> Result<Self, VaultError> {
        let record: Record = codec::decode("a member's record", bytes, RECORD_MAX)
            .map_err(|_| damaged("member's record"))?;
        let key = brand_key.unwrap(&record.wrapped_key, &bound_to(brand, id, None))?;
        Ok(Self { brand, id, key, cipher: brand_key.cipher(), record })
    }

    pub(super) fn field(&self, field: Field) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some(found) = self.record.fields.iter().find(|found| found.code == field.code()) else {
            return Ok(None);
        };
        let place = bound_to(self.brand, self.id, Some(field.code()));
        Ok(Some(self.key.open(&found.sealed, &place)?))
    }

    pub(super) fn text(&self, field: Field) -> Result<Option<Zeroizing<String>>, VaultError> {
        let Some(bytes) = self.field(field)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("text field"))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn secret(&self) -> Result<MemberSecret, VaultError> {
        let bytes = self.field(Field::Secret)?.ok_or(damaged("secret"))?;
        MemberSecret::from_opened(&bytes).ok_or(damaged("secret"))
    }

    /// The keyed hashes that an enrolment entered.
    pub(super) fn hashes(&self) -> Result<Vec<[u8; 32]>, VaultError> {
        let bytes = self.field(Field::Identifiers)?.ok_or(damaged("list of identifiers"))?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(damaged("list of identifiers")) }
    }

    pub(super) fn consents(&self) -> Result<ConsentHistory, VaultError> {
        let bytes = self.field(Field::Consents)?.ok_or(damaged("consent history"))?;
        codec::decode("a consent history", &bytes, RECORD_MAX)
            .map_err(|_| damaged("consent history"))
    }

    pub(super) fn replace(
        &mut self,
        field: Field,
        plaintext: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<(), VaultError> {
        let place = bound_to(self.brand, self.id, Some(field.code()));
        let sealed = self.key.seal_with(self.cipher, plaintext, &place, random)?.into();
        self.remove(field);
        self.record.fields.push(SealedField { code: field.code(), sealed });
        Ok(())
    }

    pub(super) fn remove(&mut self, field: Field) {
        self.record.fields.retain(|found| found.code != field.code());
    }

    pub(super) fn hold(&self) -> Result<Option<LegalHold>, VaultError> {
        let Some(bytes) = self.field(Field::Hold)? else { return Ok(None) };
        let hold = codec::decode("a legal hold", &bytes, RECORD_MAX);
        hold.map(Some).map_err(|_| damaged("legal hold"))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        codec::encode(&self.record)
    }
}

/// A record with its data key under the newest brand key, and what is sealed with another cipher than the
/// configured one sealed anew; none where it is under the newest already. The data key is opened only where a field
/// has to be.
pub(super) fn rewrapped(
    brand: BrandId,
    id: MemberId,
    bytes: &[u8],
    brand_key: &dyn BrandKey,
    random: &dyn SecureRandom,
) -> Result<Option<Vec<u8>>, VaultError> {
    let mut record: Record = codec::decode("a member's record", bytes, RECORD_MAX)
        .map_err(|_| damaged("member's record"))?;
    if brand_key.is_current(&record.wrapped_key)? {
        return Ok(None);
    }
    let place = bound_to(brand, id, None);
    let cipher = brand_key.cipher();
    let is_other = |field: &SealedField| keys::cipher_of(&field.sealed) != Some(cipher);
    if record.fields.iter().any(is_other) {
        let key = brand_key.unwrap(&record.wrapped_key, &place)?;
        for field in &mut record.fields {
            if keys::cipher_of(&field.sealed) == Some(cipher) {
                continue;
            }
            let place = bound_to(brand, id, Some(field.code));
            let opened = key.open(&field.sealed, &place)?;
            field.sealed = key.seal_with(cipher, &opened, &place, random)?.into();
        }
    }
    record.wrapped_key = brand_key.rewrap(&record.wrapped_key, &place, random)?.into();
    Ok(Some(codec::encode(&record)))
}

/// The number that stands for the holder of a secret in facts.
pub(super) fn subject_of(secret: &MemberSecret) -> FactsSubject {
    FactsSubject::from_digest(&secret.pseudonym(b"facts", b""))
}

/// The handle that stands for the holder of a secret at one other brand.
pub(super) fn handle_of(secret: &MemberSecret, counterparty: BrandId) -> MemberHandle {
    let digest = secret.pseudonym(b"handle", counterparty.as_str().as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    MemberHandle::from_bytes(bytes)
}
