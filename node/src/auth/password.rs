//! Passwords: generated, hashed with Argon2id, verified.
//!
//! Parameters: 19,456 KiB of memory, 2 passes, 1 lane, 16 bytes of salt, 32 of output: the minimum of
//! OWASP's Password Storage Cheat Sheet (2023), as RFC 9106 describes the function. They are written
//! in each hash, so raising them later keeps old hashes valid. The comparison of outputs takes
//! constant time (`password-hash` compares through `subtle`).

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// Fewest bytes of a password.
pub const PASSWORD_MIN: usize = 12;
/// Most bytes of a password.
pub const PASSWORD_MAX: usize = 256;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Why there is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has {PASSWORD_MIN} to {PASSWORD_MAX} bytes")]
    Length,
    /// The system gives no random numbers, or no memory.
    #[error("the password cannot be hashed: the system gives no random numbers or no memory")]
    System,
}

fn argon2id() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordError::System)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The PHC string of a new password. Takes tens of milliseconds of one core.
///
/// # Errors
/// See [`PasswordError`].
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.len()) {
        return Err(PasswordError::Length);
    }
    let hash = argon2id()?.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| PasswordError::System)
}

/// Whether the password belongs to the hash; without a hash (no such user) never, after as much
/// work, so that time does not tell which names exist.
#[must_use]
pub fn verify(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> =
        LazyLock::new(|| self::hash("there is no such user").unwrap_or_default());
    if password.len() > PASSWORD_MAX {
        return false;
    }
    let Ok(argon2) = argon2id() else { return false };
    let known = hash.unwrap_or(&NOBODY);
    let Ok(parsed) = PasswordHash::new(known) else { return false };
    let fits = argon2.verify_password(password.as_bytes(), &parsed).is_ok();
    fits && hash.is_some()
}

/// Whether a text is a hash that [`verify`] understands.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id")
}

/// A password of 24 characters from 32 that are hard to confuse: 120 random bits.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<Zeroizing<String>, PasswordError> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = Zeroizing::new([0_u8; 24]);
    SystemRandom::new().fill(random.as_mut_slice()).map_err(|_| PasswordError::System)?;
    Ok(Zeroizing::new(
        random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_alone() {
        let hashed = hash("correct horse battery").unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert!(is_hash(&hashed));
        assert!(verify("correct horse battery", Some(&hashed)));
        assert!(!verify("correct horse batterz", Some(&hashed)));
        assert_ne!(hash("correct horse battery").unwrap(), hashed, "salted");
    }

    #[test]
    fn nobody_has_no_password() {
        assert!(!verify("there is no such user", None));
        assert!(!verify("anything at all", Some("not a hash")));
        assert!(!is_hash("$pbkdf2-sha256$i=1$AAAAAAAA$AAAAAAAAAAAAAAAA"));
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(hash("short"), Err(PasswordError::Length));
        assert_eq!(hash(&"x".repeat(PASSWORD_MAX + 1)), Err(PasswordError::Length));
        assert!(!verify(&"x".repeat(PASSWORD_MAX + 1), None));
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_eq!(a.len(), 24);
        assert_ne!(a, b);
        assert!(hash(&a).is_ok());
    }
}
