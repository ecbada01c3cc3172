//! Keys of the vault: one data key a member, wrapped by the brand's key.
//!
//! Knows: AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces, and how the held brand key is
//! split by use (HKDF-Expand, RFC 5869). Does not know what is encrypted. A key service takes part
//! by implementing [`BrandKey`]; rotation of the brand key and SM4 are not here yet.

use std::fmt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use ring::rand::SecureRandom;
use ring::{hkdf, hmac};
use zeroize::{Zeroize, Zeroizing};

/// Length of every key here, in bytes.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// First byte of everything sealed: AES-256-GCM, nonce first, tag last.
const AES_256_GCM: u8 = 0;

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
    /// A basket's number at the brand.
    Basket,
    /// What the programme derives secrets, or names for what it remembers, from.
    Programme,
}

impl BlindIndex {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Card => b"card",
            Self::MatchKey => b"match key",
            Self::LinkCode => b"link code",
            Self::LinkHandle => b"link handle",
            Self::Basket => b"basket",
            Self::Programme => b"programme",
        }
    }
}

/// What holds the brand's key and uses it: a file or the environment now, a key service later.
pub trait BrandKey: Send + Sync {
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

    /// HMAC-SHA256 of a value under a key of the brand's, for looking it up without keeping it.
    fn blind(&self, index: BlindIndex, value: &[u8]) -> [u8; 32];
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
    #[error("{place}: a brand key is written as 64 hexadecimal digits")]
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
    /// The key's file could not be read or written.
    #[error("{}: the key file could not be used", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A random AES-256 key of one member, or of the brand's fact files.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

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
        seal(&self.0, plaintext, bound_to, random)
    }

    /// Decrypts what [`Self::seal`] made.
    ///
    /// # Errors
    /// [`KeyError::Unopened`].
    pub fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        open(&self.0, sealed, bound_to)
    }
}

/// A brand key held in this process's memory, from a file or the environment.
pub struct HeldBrandKey {
    wrapping: Zeroizing<[u8; KEY_BYTES]>,
    blinding: hmac::Key,
}

impl fmt::Debug for HeldBrandKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldBrandKey(..)")
    }
}

impl HeldBrandKey {
    /// Takes 32 random bytes and forgets the caller's copy.
    #[must_use]
    pub fn from_bytes(bytes: &mut [u8; KEY_BYTES]) -> Self {
        let wrapping = expand(bytes, b"coalition vault v0 wrap");
        let blinding = expand(bytes, b"coalition vault v0 blind");
        bytes.zeroize();
        Self { wrapping, blinding: hmac::Key::new(hmac::HMAC_SHA256, blinding.as_ref()) }
    }

    /// Reads a key file: 64 hexadecimal digits, readable by its owner alone.
    ///
    /// # Errors
    /// When the file is missing, open to others, or no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = |source| KeyError::File { path: path.to_owned(), source };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path).map_err(file)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { path: path.to_owned() });
            }
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
        Self::from_hex(text.trim(), || path.display().to_string())
    }

    /// Reads the key from an environment variable.
    ///
    /// # Errors
    /// When it is not set or no key.
    pub fn from_environment(name: &str) -> Result<Self, KeyError> {
        let text = std::env::var(name).map_err(|_| KeyError::NotSet { name: name.to_owned() })?;
        Self::from_hex(Zeroizing::new(text).trim(), || name.to_owned())
    }

    /// Makes a new key and its file, which must not exist, and flushes it to the disk.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        use std::io::Write as _;
        let file = |source| KeyError::File { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new(*DataKey::generate(random)?.expose());
        let text: Zeroizing<String> =
            Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut opened = options.open(path).map_err(file)?;
        writeln!(opened, "{}", text.as_str()).and_then(|()| opened.sync_all()).map_err(file)?;
        Ok(Self::from_bytes(&mut bytes))
    }

    fn from_hex(text: &str, place: impl Fn() -> String) -> Result<Self, KeyError> {
        let wrong = || KeyError::NotAKey { place: place() };
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        for (position, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * position..2 * position + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self::from_bytes(&mut bytes))
    }
}

impl BrandKey for HeldBrandKey {
    fn wrap(
        &self,
        key: &DataKey,
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        seal(&self.wrapping, key.expose(), bound_to, random)
    }

    fn unwrap(&self, wrapped: &[u8], bound_to: &[u8]) -> Result<DataKey, KeyError> {
        let opened = open(&self.wrapping, wrapped, bound_to)?;
        let bytes = <[u8; KEY_BYTES]>::try_from(opened.as_slice());
        Ok(DataKey(Zeroizing::new(bytes.map_err(|_| KeyError::Unopened)?)))
    }

    fn blind(&self, index: BlindIndex, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.blinding);
        context.update(index.label());
        // no label contains a zero byte, so the label ends where it says
        context.update(&[0]);
        context.update(value);
        digest(context.sign())
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

fn digest(tag: hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

struct KeyLength;

impl hkdf::KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn expand(secret: &[u8; KEY_BYTES], purpose: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    // the secret is uniform, so the extract step of RFC 5869 may be skipped (section 3.3)
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret)
        .expand(&[purpose], KeyLength)
        .and_then(|expanded| expanded.fill(key.as_mut()))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    key
}

fn seal(
    key: &[u8; KEY_BYTES],
    plaintext: &[u8],
    bound_to: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce).map_err(|_| KeyError::Random)?;
    let payload = Payload { msg: plaintext, aad: bound_to };
    let sealed = Aes256Gcm::new(&(*key).into())
        .encrypt(&Nonce::from(nonce), payload)
        .map_err(|_| KeyError::TooLong)?;
    let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
    out.push(AES_256_GCM);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

fn open(
    key: &[u8; KEY_BYTES],
    sealed: &[u8],
    bound_to: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let Some((&AES_256_GCM, rest)) = sealed.split_first() else { return Err(KeyError::Unopened) };
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(KeyError::Unopened)?;
    let payload = Payload { msg: ciphertext, aad: bound_to };
    Aes256Gcm::new(&(*key).into())
        .decrypt(&Nonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Unopened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    #[test]
    fn a_sealed_value_opens_in_its_own_place_only() {
        let random = SystemRandom::new();
        let key = DataKey::generate(&random).unwrap();
        let mut sealed = key.seal(b"13812345678", b"member 1, phone", &random).unwrap();
        assert_eq!(**key.open(&sealed, b"member 1, phone").unwrap(), *b"13812345678");
        assert!(key.open(&sealed, b"member 2, phone").is_err());
        assert!(DataKey::generate(&random).unwrap().open(&sealed, b"member 1, phone").is_err());
        for position in 0..sealed.len() {
            sealed[position] ^= 1;
            assert!(key.open(&sealed, b"member 1, phone").is_err(), "byte {position}");
            sealed[position] ^= 1;
        }
        assert!(key.open(&sealed[..20], b"member 1, phone").is_err());
    }

    #[test]
    fn a_key_file_is_private_and_gives_the_same_key_again() {
        let random = SystemRandom::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brand.key");
        let made = HeldBrandKey::create(&path, &random).unwrap();
        let wrapped = made.wrap(&DataKey::generate(&random).unwrap(), b"a", &random).unwrap();
        let read = HeldBrandKey::read(&path).unwrap();
        assert!(read.unwrap(&wrapped, b"a").is_ok() && read.unwrap(&wrapped, b"b").is_err());
        assert_eq!(made.blind(BlindIndex::Card, b"x"), read.blind(BlindIndex::Card, b"x"));
        assert_ne!(read.blind(BlindIndex::MatchKey, b"x"), read.blind(BlindIndex::Card, b"x"));
        assert!(matches!(HeldBrandKey::create(&path, &random), Err(KeyError::File { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(HeldBrandKey::read(&path), Err(KeyError::Exposed { .. })));
        }
    }

    #[test]
    fn key_text_is_never_repeated_in_an_error() {
        let text = "zz".repeat(32);
        let error = HeldBrandKey::from_hex(&text, || "key".into()).unwrap_err().to_string();
        assert!(!error.contains("zz"), "{error}");
    }
}
