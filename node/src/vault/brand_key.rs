//! The brand's key as this process holds it: from a file or the environment, and its rotation.
//!
//! A brand key is two keys: one that wraps members' data keys, and one under which identifiers are
//! hashed for looking them up. Rotation replaces the first and keeps the second: the file then has the
//! new wrapping key before the old one, everything is wrapped again while the node runs, and then the
//! old one leaves the file. Until that has happened both open what they wrapped, so that a crash in
//! between loses nothing. Written as 64 hexadecimal digits, from which both keys are derived
//! (HKDF-Expand, RFC 5869), or once rotated as words:
//!
//! ```text
//! wrap 64 hexadecimal digits     the newest
//! wrap 64 hexadecimal digits     what is not yet wrapped again
//! blind 64 hexadecimal digits
//! ```

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::crypto::sealed::Cipher;
use ring::hmac;
use ring::rand::SecureRandom;
use zeroize::{Zeroize, Zeroizing};

use super::keys::{self, BlindIndex, BrandKey, DataKey, KEY_BYTES, KeyError, digest, expand};

/// First byte of a key wrapped by a brand key that can be told from others; those before had none.
const WITH_KEY_ID: u8 = 0x10;
const KEY_ID_BYTES: usize = 4;
/// Most wrapping keys at a time: the newest, and what an interrupted rotation left.
const WRAPPING_MAX: usize = 2;

type Key = Zeroizing<[u8; KEY_BYTES]>;

struct Wrapping {
    id: [u8; KEY_ID_BYTES],
    key: Key,
}

impl Wrapping {
    fn new(key: Key) -> Self {
        Self { id: *expand(&key, b"coalition vault v0 key id"), key }
    }
}

struct Ring {
    // newest first, never empty
    wrapping: Vec<Wrapping>,
    blinding: Key,
    blinder: hmac::Key,
}

impl Ring {
    fn new(wrapping: Vec<Key>, blinding: Key) -> Self {
        let blinder = hmac::Key::new(hmac::HMAC_SHA256, blinding.as_ref());
        Self { wrapping: wrapping.into_iter().map(Wrapping::new).collect(), blinding, blinder }
    }

    fn from_text(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if let [only] = words.as_slice() {
            let secret = from_hex(only)?;
            let wrapping = expand(&secret, b"coalition vault v0 wrap");
            return Some(Self::new(vec![wrapping], expand(&secret, b"coalition vault v0 blind")));
        }
        let (mut wrapping, mut blinding) = (Vec::new(), None);
        let (pairs, rest) = words.as_chunks::<2>();
        for [word, digits] in pairs {
            let key = from_hex(digits)?;
            match *word {
                "wrap" => wrapping.push(key),
                "blind" if blinding.is_none() => blinding = Some(key),
                _ => return None,
            }
        }
        let fits = rest.is_empty() && (1..=WRAPPING_MAX).contains(&wrapping.len());
        blinding.filter(|_| fits).map(|blinding| Self::new(wrapping, blinding))
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for wrapping in &self.wrapping {
            text.push_str("wrap ");
            text.push_str(&hex(wrapping.key.as_slice()));
            text.push('\n');
        }
        text.push_str("blind ");
        text.push_str(&hex(self.blinding.as_slice()));
        text.push('\n');
        text
    }
}

/// A brand key held in this process's memory, from a file or the environment.
pub struct HeldBrandKey {
    ring: RwLock<Ring>,
    cipher: Cipher,
    // where it is written when it is rotated
    path: Option<PathBuf>,
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
        Self::of(Ring::new(vec![wrapping], blinding), None)
    }

    const fn of(ring: Ring, path: Option<PathBuf>) -> Self {
        Self { ring: RwLock::new(ring), cipher: Cipher::Aes256Gcm, path }
    }

    /// The same key, sealing with another cipher from now on. Both open, whatever is configured.
    #[must_use]
    pub const fn sealing_with(mut self, cipher: Cipher) -> Self {
        self.cipher = cipher;
        self
    }

    /// Reads a key file, readable by its owner alone.
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
        let ring = Ring::from_text(&text)
            .ok_or_else(|| KeyError::NotAKey { place: path.display().to_string() })?;
        Ok(Self::of(ring, Some(path.to_owned())))
    }

    /// Reads the key from an environment variable.
    ///
    /// # Errors
    /// When it is not set or no key.
    pub fn from_environment(name: &str) -> Result<Self, KeyError> {
        let text = std::env::var(name).map_err(|_| KeyError::NotSet { name: name.to_owned() })?;
        let ring = Ring::from_text(&Zeroizing::new(text))
            .ok_or_else(|| KeyError::NotAKey { place: name.to_owned() })?;
        Ok(Self::of(ring, None))
    }

    /// Makes a new key and its file, which must not exist, and flushes it to the disk.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(*DataKey::generate(random)?.expose());
        let mut text = hex(bytes.as_slice());
        text.push('\n');
        write_private(path, &text)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        let made = Self::from_bytes(&mut bytes);
        Ok(Self { path: Some(path.to_owned()), ..made })
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        // whoever changes it puts it right before letting go of it
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrandKey for HeldBrandKey {
    fn cipher(&self) -> Cipher {
        self.cipher
    }

    fn version(&self) -> Result<String, KeyError> {
        let ring = self.ring();
        let newest = ring.wrapping.first().ok_or(KeyError::Unopened)?;
        Ok(newest.id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn is_current(&self, wrapped: &[u8]) -> Result<bool, KeyError> {
        let ring = self.ring();
        Ok(match wrapped.split_first() {
            Some((&WITH_KEY_ID, rest)) => {
                let newest = ring.wrapping.first().map(|wrapping| wrapping.id);
                let same = newest.is_some_and(|newest| rest.starts_with(&newest));
                same && keys::cipher_of(rest.get(KEY_ID_BYTES..).unwrap_or_default())
                    == Some(self.cipher)
            }
            _ => false,
        })
    }

    fn wrap(
        &self,
        key: &DataKey,
        bound_to: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, KeyError> {
        let ring = self.ring();
        let newest = ring.wrapping.first().ok_or(KeyError::Unopened)?;
        let sealed = keys::seal(self.cipher, &newest.key, key.expose(), bound_to, random)?;
        let mut wrapped = Vec::with_capacity(1 + KEY_ID_BYTES + sealed.len());
        wrapped.push(WITH_KEY_ID);
        wrapped.extend_from_slice(&newest.id);
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8], bound_to: &[u8]) -> Result<DataKey, KeyError> {
        let ring = self.ring();
        let opened = match wrapped.split_first() {
            Some((&WITH_KEY_ID, rest)) => {
                let (id, sealed) =
                    rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(KeyError::Unopened)?;
                let by = ring.wrapping.iter().find(|wrapping| wrapping.id == *id);
                keys::open(&by.ok_or(KeyError::Unopened)?.key, sealed, bound_to)?
            }
            // wrapped before keys had ids: the authentication tag says whose it is
            _ => ring
                .wrapping
                .iter()
                .find_map(|wrapping| keys::open(&wrapping.key, wrapped, bound_to).ok())
                .ok_or(KeyError::Unopened)?,
        };
        let bytes = <[u8; KEY_BYTES]>::try_from(opened.as_slice());
        Ok(DataKey(Zeroizing::new(bytes.map_err(|_| KeyError::Unopened)?)))
    }

    fn blind(&self, index: BlindIndex, value: &[u8]) -> Result<[u8; 32], KeyError> {
        let ring = self.ring();
        let mut context = hmac::Context::with_key(&ring.blinder);
        context.update(index.label());
        // no label contains a zero byte, so the label ends where it says
        context.update(&[0]);
        context.update(value);
        Ok(digest(context.sign()))
    }

    fn is_rotating(&self) -> Result<bool, KeyError> {
        Ok(self.ring().wrapping.len() > 1)
    }

    /// A new key is in the file beside the old one when this returns.
    fn begin_rotation(&self, random: &dyn SecureRandom) -> Result<(), KeyError> {
        let mut ring = self.ring_mut();
        if ring.wrapping.len() >= WRAPPING_MAX {
            return Err(KeyError::Rotation("the last rotation is still under way"));
        }
        let path = self.path.as_ref().ok_or(KeyError::Rotation(
            "it is not in a file; put `wrap NEW wrap OLD blind KEY` where it came from, and restart",
        ))?;
        let fresh = Wrapping::new(DataKey::generate(random)?.0);
        ring.wrapping.insert(0, fresh);
        if let Err(error) = save(path, &ring) {
            ring.wrapping.remove(0);
            return Err(error);
        }
        Ok(())
    }

    /// The old key is forgotten here, and leaves the file. One from the environment is taken out of there by
    /// whoever put it in; until then each start finds nothing to wrap again, and forgets it anew.
    fn end_rotation(&self) -> Result<(), KeyError> {
        let mut ring = self.ring_mut();
        if ring.wrapping.len() <= 1 {
            return Ok(());
        }
        let old = ring.wrapping.split_off(1);
        if let Some(path) = &self.path
            && let Err(error) = save(path, &ring)
        {
            ring.wrapping.extend(old);
            return Err(error);
        }
        Ok(())
    }
}

/// Writes a key's file anew, whole or not at all.
fn save(path: &Path, ring: &Ring) -> Result<(), KeyError> {
    let file = |source| KeyError::File { path: path.to_owned(), source };
    let fresh = path.with_extension("new");
    // left there by a rotation that a crash cut short, and read by nobody
    let _ = std::fs::remove_file(&fresh);
    write_private(&fresh, &ring.to_text()).map_err(file)?;
    std::fs::rename(&fresh, path).map_err(file)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(file)
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn from_hex(text: &str) -> Option<Key> {
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (position, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * position..2 * position + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(path)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_key_file_is_private_and_gives_the_same_key_again() {
        let random = SystemRandom::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brand.key");
        let made = HeldBrandKey::create(&path, &random).unwrap();
        let wrapped = made.wrap(&DataKey::generate(&random).unwrap(), b"a", &random).unwrap();
        let read = HeldBrandKey::read(&path).unwrap();
        assert!(read.unwrap(&wrapped, b"a").is_ok() && read.unwrap(&wrapped, b"b").is_err());
        let blind = |key: &HeldBrandKey, index| key.blind(index, b"x").unwrap();
        assert_eq!(blind(&made, BlindIndex::Card), blind(&read, BlindIndex::Card));
        assert_ne!(blind(&read, BlindIndex::MatchKey), blind(&read, BlindIndex::Card));
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brand.key");
        let good = "a1".repeat(32);
        for text in [
            "zz".repeat(32),
            good[1..].to_owned(),
            format!("wrap {good}"),
            format!("wrap {good} blind {good} blind {good}"),
            format!("wrap {good} wrap {good} wrap {good} blind {good}"),
            format!("wrap {good} blind {good} {good}"),
        ] {
            write_private(&path, &text).unwrap();
            // the folder's random name may have any letters
            let error = HeldBrandKey::read(&path).unwrap_err().to_string();
            let error = error.replace(&path.display().to_string(), "");
            assert!(!error.contains("zz") && !error.contains(&good[2..]), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn both_keys_open_until_a_rotation_ends_and_look_ups_stay() {
        let random = SystemRandom::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brand.key");
        let held = HeldBrandKey::create(&path, &random).unwrap();
        let data = DataKey::generate(&random).unwrap();
        let old = held.wrap(&data, b"a", &random).unwrap();
        let blinded = held.blind(BlindIndex::Card, b"x").unwrap();
        let version = held.version().unwrap();
        assert!(held.is_current(&old).unwrap() && !held.is_rotating().unwrap());

        held.begin_rotation(&random).unwrap();
        assert!(held.begin_rotation(&random).is_err(), "one at a time");
        // as after a crash
        let held = HeldBrandKey::read(&path).unwrap();
        assert!(held.is_rotating().unwrap() && !held.is_current(&old).unwrap());
        assert_ne!(held.version().unwrap(), version);
        let new = held.rewrap(&old, b"a", &random).unwrap();
        assert!(held.is_current(&new).unwrap());

        held.end_rotation().unwrap();
        let held = HeldBrandKey::read(&path).unwrap();
        assert!(!held.is_rotating().unwrap() && held.unwrap(&old, b"a").is_err());
        assert_eq!(held.unwrap(&new, b"a").unwrap().expose(), data.expose());
        assert_eq!(held.blind(BlindIndex::Card, b"x").unwrap(), blinded);
    }

    #[test]
    fn a_key_that_is_in_no_file_is_not_rotated_here() {
        let held = HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]);
        let wrapped = held.wrap(&DataKey(Zeroizing::new([1; 32])), b"", &SystemRandom::new());
        assert!(matches!(
            held.begin_rotation(&SystemRandom::new()),
            Err(KeyError::Rotation(words)) if words.contains("wrap NEW")
        ));
        assert!(held.is_current(&wrapped.unwrap()).unwrap());
    }

    #[test]
    fn a_key_of_the_environment_is_rotated_where_it_came_from_and_the_old_one_forgotten() {
        let random = SystemRandom::new();
        let (old, new, blind) = ("a1".repeat(32), "b2".repeat(32), "c3".repeat(32));
        // as it is read from a variable: what another test sets in this process would be everybody's
        let from_variable =
            |text: &str| HeldBrandKey::of(Ring::from_text(text).expect("a key"), None);
        let before = from_variable(&format!("wrap {old} blind {blind}"));
        let wrapped = before.wrap(&DataKey(Zeroizing::new([1; 32])), b"a", &random).unwrap();

        let both = from_variable(&format!("wrap {new} wrap {old} blind {blind}"));
        assert!(both.is_rotating().unwrap() && !both.is_current(&wrapped).unwrap());
        let again = both.rewrap(&wrapped, b"a", &random).unwrap();
        both.end_rotation().unwrap();
        assert!(!both.is_rotating().unwrap() && both.unwrap(&wrapped, b"a").is_err());
        assert!(both.unwrap(&again, b"a").is_ok());

        let after = from_variable(&format!("wrap {new} blind {blind}"));
        assert!(after.unwrap(&again, b"a").is_ok() && after.unwrap(&wrapped, b"a").is_err());
        let of = |key: &HeldBrandKey| key.blind(BlindIndex::Card, b"x").unwrap();
        assert_eq!(of(&before), of(&after));
    }
}
