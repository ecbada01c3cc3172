//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding by the server's
//! certificate (`tls-server-end-point`, RFC 5929).
//!
//! Knows keys and messages; no users, no sockets. The password never comes here: what is kept of it can
//! check a client's proof, and cannot be used to sign in.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The mechanism without channel binding.
pub const SCRAM: &str = "SCRAM-SHA-256";
/// The mechanism with channel binding.
pub const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Rounds of PBKDF2: the least that RFC 7677 asks for. The passwords are 120 random bits, so that guessing
/// them is hopeless at any number.
pub(super) const ITERATIONS: u32 = 4096;
/// Bytes of a salt.
pub(super) const SALT_BYTES: usize = 16;
/// The only kind of channel binding that PostgreSQL's clients speak.
const BINDING: &str = "p=tls-server-end-point";
/// Longest nonce of a client.
const NONCE_MAX: usize = 256;

/// What is kept of a password: salted keys, in Base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScramKeys {
    pub(super) salt: String,
    pub(super) iterations: u32,
    pub(super) stored_key: String,
    pub(super) server_key: String,
}

/// Redacted.
impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(..)")
    }
}

impl ScramKeys {
    /// Of a password of ASCII characters, which SASLprep leaves as they are.
    pub(super) fn of(password: &str, salt: &[u8]) -> Self {
        let rounds = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            salt,
            password.as_bytes(),
            salted.as_mut_slice(),
        );
        let client_key = mac(salted.as_slice(), b"Client Key");
        Self {
            salt: STANDARD.encode(salt),
            iterations: ITERATIONS,
            stored_key: STANDARD.encode(hash(&client_key)),
            server_key: STANDARD.encode(mac(salted.as_slice(), b"Server Key")),
        }
    }

    /// Keys that no password fits, under a salt.
    pub(super) fn of_nobody(salt: &[u8]) -> Self {
        Self {
            salt: STANDARD.encode(salt),
            iterations: ITERATIONS,
            stored_key: String::new(),
            server_key: String::new(),
        }
    }

    /// Whether these can be keys: lengths and rounds.
    pub(super) fn are_keys(&self) -> bool {
        let is = |text: &str, bytes| STANDARD.decode(text).is_ok_and(|key| key.len() == bytes);
        is(&self.salt, SALT_BYTES)
            && self.iterations == ITERATIONS
            && is(&self.stored_key, 32)
            && is(&self.server_key, 32)
    }
}

/// Why an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message is not one of SCRAM's.
    #[error("this is no message of SCRAM-SHA-256")]
    Malformed,
    /// The client binds to another channel than this one, or was told that none can be bound to.
    #[error("the client is bound to another TLS connection than this server's")]
    Binding,
    /// The proof does not fit the keys.
    #[error("the proof does not fit")]
    Proof,
}

/// The server's first message was made; the client's proof is awaited.
pub struct Exchange {
    keys: ScramKeys,
    nonce: String,
    // "client-first-message-bare,server-first-message"
    spoken: String,
    // what the client's `c=` must say
    bound: Vec<u8>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl Exchange {
    /// Takes the client's first message under a mechanism; gives the server's. `certificate` is the hash of
    /// the server's certificate (SHA-256 of its DER).
    ///
    /// # Errors
    /// When the message is not one, or binds to another channel.
    pub fn begin(
        keys: ScramKeys,
        mechanism: &str,
        client_first: &[u8],
        certificate: &[u8],
        random: &[u8],
    ) -> Result<(Self, String), ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (flag, named, bare) = match (parts.next(), parts.next(), parts.next()) {
            (Some(flag), Some(named), Some(bare)) => (flag, named, bare),
            _ => return Err(ScramError::Malformed),
        };
        let mut bound = format!("{flag},{named},").into_bytes();
        match (mechanism, flag) {
            (SCRAM, "n") => {}
            (SCRAM_PLUS, BINDING) => bound.extend_from_slice(certificate),
            // "y": the client could bind and was told that the server cannot, which it can
            (SCRAM, "y") | (SCRAM_PLUS, _) => return Err(ScramError::Binding),
            _ => return Err(ScramError::Malformed),
        }
        // the name in here is not looked at: it is the one of the startup message
        let mut attributes = bare.split(',');
        let user = attributes.next().unwrap_or_default();
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let nonce = nonce.ok_or(ScramError::Malformed)?;
        let printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
        if !user.starts_with("n=") || nonce.is_empty() || nonce.len() > NONCE_MAX || !printable {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{nonce}{}", STANDARD.encode(random));
        let first = format!("r={nonce},s={},i={}", keys.salt, keys.iterations);
        let spoken = format!("{bare},{first}");
        Ok((Self { keys, nonce, spoken, bound }, first))
    }

    /// Checks the client's proof; gives the server's own.
    ///
    /// # Errors
    /// When the message is not one, is bound to another channel, or the proof does not fit.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let (bound, nonce) = (attributes.next(), attributes.next());
        let bound = bound.and_then(|part| part.strip_prefix("c=")).ok_or(ScramError::Malformed)?;
        let nonce = nonce.and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        let bound = STANDARD.decode(bound).map_err(|_| ScramError::Malformed)?;
        if bound != self.bound {
            return Err(ScramError::Binding);
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        if nonce != self.nonce || proof.len() != 32 {
            return Err(ScramError::Malformed);
        }
        let spoken = format!("{},{without_proof}", self.spoken);
        let stored_key = STANDARD.decode(&self.keys.stored_key).unwrap_or_default();
        let signature = mac(&stored_key, spoken.as_bytes());
        let client_key: Vec<u8> =
            proof.iter().zip(&signature).map(|(proof, signed)| proof ^ signed).collect();
        // both sides are hashes; how far they agree tells nothing about a key
        if stored_key.len() != 32 || hash(&client_key) != stored_key.as_slice() {
            return Err(ScramError::Proof);
        }
        let server_key = STANDARD.decode(&self.keys.server_key).unwrap_or_default();
        Ok(format!("v={}", STANDARD.encode(mac(&server_key, spoken.as_bytes()))))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client's proof, as RFC 5802 has it.
    fn client_final(password: &str, bound: &[u8], bare: &str, server_first: &str) -> String {
        let part = |name: &str| {
            let of = server_first.split(',').find_map(|part| part.strip_prefix(name));
            of.unwrap().to_owned()
        };
        let salt = STANDARD.decode(part("s=")).unwrap();
        let rounds = NonZeroU32::new(part("i=").parse().unwrap()).unwrap();
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        let client_key = mac(&salted, b"Client Key");
        let without = format!("c={},r={}", STANDARD.encode(bound), part("r="));
        let spoken = format!("{bare},{server_first},{without}");
        let signature = mac(&hash(&client_key), spoken.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without},p={}", STANDARD.encode(proof))
    }

    /// The example of RFC 7677, section 3: the server's nonce and salt are given there, as Base64 text.
    #[test]
    fn the_example_of_rfc_7677_is_accepted_and_answered() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::of("pencil", &salt);
        assert!(keys.are_keys());
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let first = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let exchange = Exchange {
            keys,
            nonce: nonce.to_owned(),
            spoken: format!("{bare},{first}"),
            bound: b"n,,".to_vec(),
        };
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let answer = exchange.finish(last.as_bytes()).unwrap();
        assert_eq!(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_password_nobody_and_another_channel_are_refused() {
        let begin = |keys, mechanism, first: &str| {
            Exchange::begin(keys, mechanism, first.as_bytes(), b"certificate", &[7; 18])
        };
        let keys = || ScramKeys::of("abcdefgh", &[1; SALT_BYTES]);
        let bare = "n=,r=abc";
        let bound = b"p=tls-server-end-point,,certificate".as_slice();
        let plus = format!("{BINDING},,{bare}");
        for (password, keys, bound, expected) in [
            ("abcdefgh", keys(), bound, Ok(())),
            ("abcdefgi", keys(), bound, Err(ScramError::Proof)),
            ("", ScramKeys::of_nobody(&[1; SALT_BYTES]), bound, Err(ScramError::Proof)),
            ("abcdefgh", keys(), b"p=tls-server-end-point,,another", Err(ScramError::Binding)),
        ] {
            let (exchange, first) = begin(keys, SCRAM_PLUS, &plus).unwrap();
            let last = client_final(password, bound, bare, &first);
            assert_eq!(exchange.finish(last.as_bytes()).map(drop), expected);
        }
        let (exchange, first) = begin(keys(), SCRAM, "n,,n=,r=abc").unwrap();
        let last = client_final("abcdefgh", b"n,,", bare, &first);
        // another's nonce
        let replayed = last.replace("r=abc", "r=abd");
        assert_eq!(exchange.finish(replayed.as_bytes()), Err(ScramError::Malformed));
        for (mechanism, first, expected) in [
            (SCRAM, "y,,n=,r=abc", ScramError::Binding),
            (SCRAM_PLUS, "n,,n=,r=abc", ScramError::Binding),
            (SCRAM, "n,,m=x,n=,r=abc", ScramError::Malformed),
            (SCRAM, "n,,n=,r=", ScramError::Malformed),
            (SCRAM, "n,n=,r=abc", ScramError::Malformed),
            (SCRAM, "", ScramError::Malformed),
            ("PLAIN", "n,,n=,r=abc", ScramError::Malformed),
        ] {
            assert_eq!(begin(keys(), mechanism, first).map(drop), Err(expected), "{first}");
        }
    }

    #[test]
    fn no_bytes_of_a_client_bring_it_down() {
        let keys = || ScramKeys::of_nobody(&[1; SALT_BYTES]);
        proptest::proptest!(|(first: Vec<u8>, last: Vec<u8>)| {
            let _ = Exchange::begin(keys(), SCRAM, &first, b"", &[0; 18]);
            let (exchange, _) = Exchange::begin(keys(), SCRAM, b"n,,n=,r=abc", b"", &[0; 18]).unwrap();
            proptest::prop_assert!(exchange.finish(&last).is_err());
        });
    }
}
