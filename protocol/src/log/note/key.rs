//! Keys of notes: their names, their ids, and the text form in which verifiers are configured.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::NoteError;
use crate::crypto::{PublicKey, sha256};
use crate::ids::write_hex;

/// Longest name of a key, in bytes.
pub const KEY_NAME_MAX: usize = 255;

/// Name of a key, by convention a URL without scheme.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`NoteError::InvalidKeyName`].
    pub fn new(text: &str) -> Result<Self, NoteError> {
        let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > KEY_NAME_MAX || text.contains(refused) {
            return Err(NoteError::InvalidKeyName);
        }
        Ok(Self(text.to_owned()))
    }
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// First four bytes of SHA-256 over name, newline, type and key: tells keys apart, proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

/// What a key's signatures are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// Ed25519 over the text (0x01).
    Ed25519,
    /// Ed25519 over a time and the text (0x04, C2SP tlog-cosignature).
    CosignatureV1,
}

impl SignatureType {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }
}

/// Whose signatures are looked for: a key, its name, and its type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    pub(super) name: KeyName,
    pub(super) signature_type: SignatureType,
    pub(super) key: PublicKey,
}

impl VerifierKey {
    /// A key under a name.
    #[must_use]
    pub const fn new(name: KeyName, signature_type: SignatureType, key: PublicKey) -> Self {
        Self { name, signature_type, key }
    }
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }
    /// Its type.
    #[must_use]
    pub const fn signature_type(&self) -> SignatureType {
        self.signature_type
    }
    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }
    /// What names it on a signature line, beside its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let signature_type = [self.signature_type.byte()];
        let name = self.name.as_str().as_bytes();
        let digest = sha256(&[name, b"\n", &signature_type, self.key.as_bytes()]);
        KeyId(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// `name+hex(key id)+base64(type, key)`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.signature_type.byte()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id(), STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let parts =
            text.split_once('+').and_then(|(name, rest)| Some((name, rest.split_once('+')?)));
        let (name, (_, key)) = parts.ok_or(NoteError::InvalidKey)?;
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::InvalidKey)?;
        let (signature_type, key) = match bytes.split_first() {
            Some((0x01, key)) => (SignatureType::Ed25519, key),
            Some((0x04, key)) => (SignatureType::CosignatureV1, key),
            _ => return Err(NoteError::InvalidKey),
        };
        let key = PublicKey::from_bytes(key.try_into().map_err(|_| NoteError::InvalidKey)?);
        let key = Self::new(KeyName::new(name)?, signature_type, key);
        // also compares the key id, which is part of the text
        if key.to_string() == text { Ok(key) } else { Err(NoteError::InvalidKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_key_has_one_form() {
        let name = KeyName::new("example.com/log").unwrap();
        let key = PublicKey::from_bytes([5; 32]);
        let key = VerifierKey::new(name, SignatureType::Ed25519, key);
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        let other_id = text.replacen(|c: char| c.is_ascii_digit(), "z", 1);
        for bad in ["", "a", "a+b", "a+00000000+AAAA", &text[..text.len() - 1], &other_id] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }
}
