//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) has them: `v1`, HMAC-SHA256 over
//! `ID.TIMESTAMP.BODY`, one for each secret that is good.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret: the specification has 24 to 64.
const BYTES: usize = 32;

/// What a receiver and this node share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A fresh one; none when the system gives no random numbers.
    pub(super) fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new(vec![0; BYTES]);
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As it is shown, once.
    pub(super) fn shown(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.as_slice()))
    }

    fn sign(&self, message: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, message)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // whoever has it can forge deliveries
        f.write_str("Secret(..)")
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = Zeroizing::new(text);
        let bytes = text.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        bytes.map(|bytes| Self(Zeroizing::new(bytes))).ok_or("not a webhook's secret")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.shown()
    }
}

/// The header `webhook-signature`.
pub(super) fn signatures<'s>(
    secrets: impl Iterator<Item = &'s Secret>,
    id: &str,
    unix_seconds: u64,
    body: &str,
) -> String {
    let message = format!("{id}.{unix_seconds}.{body}");
    let all: Vec<String> = secrets.map(|secret| secret.sign(message.as_bytes())).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn a_signature_is_the_one_that_other_implementations_make() {
        let secret = Secret::try_from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()).unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signatures([&secret].into_iter(), id, 1_614_265_330, body), expected);
        // of two good secrets both sign
        let other = Secret::generate().unwrap();
        let both = signatures([&other, &secret].into_iter(), id, 1_614_265_330, body);
        assert_eq!(both.split(' ').collect::<Vec<_>>()[1], expected);
        // and what is signed is all of it
        for (id, at, body) in
            [("msg", 1_614_265_330, body), (id, 1, body), (id, 1_614_265_330, "{}")]
        {
            assert_ne!(signatures([&secret].into_iter(), id, at, body), expected);
        }
    }

    #[test]
    fn a_secret_is_shown_and_kept_and_never_printed() {
        let secret = Secret::generate().unwrap();
        assert_ne!(secret, Secret::generate().unwrap());
        let kept = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&kept).unwrap(), secret);
        assert_eq!(secret.shown().len(), 6 + 44);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(serde_json::from_str::<Secret>("\"sec_AAAA\"").is_err());
    }
}
