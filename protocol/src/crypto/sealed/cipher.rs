//! The two ciphers of sealed entries, each under its number.
//!
//! Which of them an alliance uses is its constitution's choice; every header says it again, so that a
//! block can be opened without the constitution. Both are GCM with a 12-byte nonce of zeros, since a
//! key seals one entry, and a 16-byte tag. Knows no keys of its own.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, AesGcm, Nonce};
use minicbor::{Decode, Encode};
use sm4::Sm4;

/// SM4-GCM (GB/T 32907-2016; RFC 8998, section 3.2).
type Sm4Gcm = AesGcm<Sm4, U12>;

/// What seals an alliance's entries. The numbers are on the wire and stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Cipher {
    /// AES-256-GCM (NIST SP 800-38D).
    #[n(1)]
    #[default]
    Aes256Gcm,
    /// SM4-GCM (RFC 8998), with a key of 128 bits.
    #[n(2)]
    Sm4Gcm,
}

impl Cipher {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::Sm4Gcm];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::Sm4Gcm => 2,
        }
    }
    /// Its name, as a constitution writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::Sm4Gcm => "sm4-gcm",
        }
    }
    /// The cipher of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.name() == name)
    }
    /// Bytes of its keys: 32 or 16.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes256Gcm => 32,
            Self::Sm4Gcm => 16,
        }
    }

    /// Seals with a key that seals nothing else; none when the key has another length.
    pub(super) fn seal(self, key: &[u8], plaintext: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: plaintext, aad };
        match self {
            Self::Aes256Gcm => Aes256Gcm::new_from_slice(key).ok()?.encrypt(&ZERO, payload).ok(),
            Self::Sm4Gcm => Sm4Gcm::new_from_slice(key).ok()?.encrypt(&ZERO, payload).ok(),
        }
    }

    /// Opens; none when the key or the associated data is another, or a bit has changed.
    pub(super) fn open(self, key: &[u8], ciphertext: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: ciphertext, aad };
        match self {
            Self::Aes256Gcm => Aes256Gcm::new_from_slice(key).ok()?.decrypt(&ZERO, payload).ok(),
            Self::Sm4Gcm => Sm4Gcm::new_from_slice(key).ok()?.decrypt(&ZERO, payload).ok(),
        }
    }
}

/// One use a key: the nonce has nothing to tell apart.
const ZERO: Nonce<U12> = aes_gcm::aead::array::Array([0; 12]);

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    /// RFC 8998, appendix A.1.
    #[test]
    fn sm4_gcm_agrees_with_rfc_8998() {
        let key = unhex("0123456789abcdeffedcba9876543210");
        let nonce: [u8; 12] = unhex("00001234567800000000abcd").try_into().unwrap();
        let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let words = ["aa", "bb", "cc", "dd", "ee", "ff", "ee", "aa"].map(|byte| byte.repeat(8));
        let sealed = Sm4Gcm::new_from_slice(&key)
            .unwrap()
            .encrypt(&nonce.into(), Payload { msg: &unhex(&words.concat()), aad: &aad })
            .unwrap();
        let expected = concat!(
            "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735",
            "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d",
            "83de3541e4c2b58177e065a9bf7b62ec",
        );
        assert_eq!(sealed, unhex(expected));
    }

    #[test]
    fn a_key_has_its_ciphers_length() {
        for cipher in Cipher::ALL {
            assert_eq!(Cipher::from_name(cipher.name()), Some(cipher));
            let key = vec![7; cipher.key_bytes()];
            let sealed = cipher.seal(&key, b"ten points", b"place").unwrap();
            assert_eq!(cipher.open(&key, &sealed, b"place").unwrap(), b"ten points");
            assert_eq!(cipher.open(&key, &sealed, b"elsewhere"), None);
            assert_eq!(cipher.seal(&[7; 24], b"ten points", b"place"), None);
        }
    }
}
