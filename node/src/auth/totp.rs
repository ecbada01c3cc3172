//! Time-based one-time passwords (RFC 6238 over RFC 4226): the second factor, as authenticator
//! programs make them, and the recovery codes for whoever has lost theirs.
//!
//! SHA-1, six digits, thirty seconds: what every such program does. A code counts once, and from the
//! step before to the step after, for clocks that differ.

use std::fmt;

use ring::digest;
use ring::hmac;
use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Seconds of one step.
const STEP_SECONDS: u64 = 30;
const DIGITS: u32 = 6;
/// Steps before and after the present one whose codes count.
const WINDOW: u64 = 1;
/// Bytes of a secret: as many as SHA-1 gives (RFC 4226, section 4).
const SECRET_BYTES: usize = 20;
/// Recovery codes of one user.
pub(super) const RECOVERY_CODES: usize = 10;
const RECOVERY_CHARACTERS: usize = 16;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The secret that a user's program and the node share.
#[derive(Clone)]
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base32())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::from_base32(&text).ok_or_else(|| serde::de::Error::custom("not a secret"))
    }
}

impl Secret {
    pub(super) fn generate(random: &dyn SecureRandom) -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
        random.fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As people type it into a program (RFC 4648, without padding).
    pub(super) fn to_base32(&self) -> String {
        base32(&self.0)
    }

    fn from_base32(text: &str) -> Option<Self> {
        let (mut bytes, mut bits, mut held) = (Zeroizing::new(Vec::new()), 0_u32, 0_u32);
        for byte in text.bytes() {
            let value = BASE32.iter().position(|letter| *letter == byte)?;
            held = held << 5 | u32::try_from(value).ok()?;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
            }
        }
        (bytes.len() == SECRET_BYTES).then_some(Self(bytes))
    }

    /// What a program reads from a picture or a link.
    pub(super) fn uri(&self, issuer: &str, user: &str) -> String {
        format!(
            "otpauth://totp/{issuer}:{user}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
            self.to_base32()
        )
    }

    /// The step whose code this is, if it is one of those that count now and comes after `used`.
    pub(super) fn accept(&self, code: &str, unix_seconds: u64, used: Option<u64>) -> Option<u64> {
        let code: Zeroizing<String> =
            Zeroizing::new(code.chars().filter(|character| *character != ' ').collect());
        if code.len() != DIGITS as usize || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let now = unix_seconds / STEP_SECONDS;
        let steps = now.saturating_sub(WINDOW)..=now + WINDOW;
        // every step is computed, whichever it is: the time taken tells nothing
        let mut found = None;
        for step in steps {
            let same = self.code(step, DIGITS) == *code;
            if same && used.is_none_or(|used| step > used) && found.is_none() {
                found = Some(step);
            }
        }
        found
    }

    /// The code of a step (RFC 4226, section 5.3).
    fn code(&self, step: u64, digits: u32) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
        let word = tag.get(at..at + 4).unwrap_or_default();
        let number = word.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let number = (number & 0x7fff_ffff) % 10_u32.pow(digits);
        format!("{number:0width$}", width = digits as usize)
    }
}

fn base32(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut held) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(BASE32[(held << (5 - bits) & 31) as usize]));
    }
    text
}

/// Fresh recovery codes: 80 random bits each, in fours.
pub(super) fn recovery_codes(random: &dyn SecureRandom) -> Option<Vec<String>> {
    let code = || {
        let mut bytes = Zeroizing::new([0; RECOVERY_CHARACTERS * 5 / 8]);
        random.fill(bytes.as_mut_slice()).ok()?;
        Some(base32(bytes.as_slice()))
    };
    let grouped = |code: String| {
        let fours: Vec<&str> = (0..4).filter_map(|at| code.get(4 * at..4 * at + 4)).collect();
        fours.join("-")
    };
    (0..RECOVERY_CODES).map(|_| code().map(grouped)).collect()
}

/// What is kept of a recovery code. It has 80 random bits: nothing slow is needed.
pub(super) fn recovery_hash(code: &str) -> String {
    let plain: Zeroizing<String> = Zeroizing::new(
        code.chars()
            .filter(|character| !matches!(character, '-' | ' '))
            .map(|character| character.to_ascii_uppercase())
            .collect(),
    );
    let hash = digest::digest(&digest::SHA256, plain.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the clock stands in tests.
#[cfg(test)]
pub(super) const TESTS_NOW: u64 = 1_800_000_000;

/// The code that a program with this secret shows some steps from where the clock stands in tests.
#[cfg(test)]
pub(crate) fn tests_code(secret: &str, steps: i64) -> String {
    let secret = Secret::from_base32(secret).unwrap();
    secret.code((TESTS_NOW / STEP_SECONDS).checked_add_signed(steps).unwrap(), DIGITS)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn rfc() -> Secret {
        Secret(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    /// RFC 4226, appendix D, and RFC 6238, appendix B, the rows of SHA-1.
    #[test]
    fn the_codes_are_those_of_the_rfcs() {
        let counted = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (count, code) in (0..).zip(counted) {
            assert_eq!(rfc().code(count, 6), code);
        }
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(rfc().code(seconds / 30, 8), code, "at {seconds}");
        }
    }

    #[test]
    fn a_code_counts_once_and_a_step_around_its_own() {
        let at = 1_111_111_111;
        let step = at / STEP_SECONDS;
        let code = rfc().code(step, 6);
        assert_eq!(rfc().accept(&code, at, None), Some(step));
        assert_eq!(rfc().accept(&format!("{} {}", &code[..3], &code[3..]), at, None), Some(step));
        assert_eq!(rfc().accept(&code, at + 30, None), Some(step));
        assert_eq!(rfc().accept(&code, at - 30, None), Some(step));
        assert_eq!(rfc().accept(&code, at + 60, None), None);
        assert_eq!(rfc().accept(&code, at, Some(step)), None, "used");
        for wrong in ["", "12345", "1234567", "abcdef", "０１２３４５"] {
            assert_eq!(rfc().accept(wrong, at, None), None);
        }
    }

    #[test]
    fn a_secret_is_read_back_from_base32() {
        let secret = Secret::generate(&SystemRandom::new()).unwrap();
        let text = secret.to_base32();
        assert_eq!(text.len(), 32);
        assert_eq!(*Secret::from_base32(&text).unwrap().0, *secret.0);
        assert_eq!(rfc().to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(Secret::from_base32("GEZDGNBV").is_none() && Secret::from_base32("1").is_none());
        assert!(!format!("{secret:?}").contains(&text));
    }

    #[test]
    fn recovery_codes_are_read_as_people_write_them() {
        let codes = recovery_codes(&SystemRandom::new()).unwrap();
        assert_eq!(codes.len(), RECOVERY_CODES);
        for code in &codes {
            assert_eq!(code.len(), 19);
            let typed = code.to_lowercase().replace('-', " ");
            assert_eq!(recovery_hash(&typed), recovery_hash(code));
        }
    }
}
