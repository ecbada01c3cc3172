//! How single values are written in a file: ids, keys, ratios, names, addresses.
//!
//! Knows the grammar of each, both ways. What is read here is parsed inside deserialisation, so that
//! the parser can say at which line and column it went wrong. Does not know which file it is in, nor
//! whether anyone answers at an address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::amount::Rate;
use protocol::ids::BrandId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most characters of a name shown to people.
pub const NAME_MAX_CHARACTERS: usize = 64;

/// The id of a brand, as a key or value of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub BrandId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BrandId::new(&text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A ratio written `"3/2"`.
#[derive(Clone, Copy)]
pub(crate) struct Ratio(pub Rate);

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let part = |digits: &str| {
            // `parse` alone would take "+3"
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(above, below)| Rate::new(part(above)?, part(below)?).ok())
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(
                    "a ratio is written \"3/2\": two whole numbers from 1 to 4294967295",
                )
            })
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn decode_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Fixed-size bytes written as base64 behind a prefix that says what they are.
macro_rules! prefixed {
    ($(#[$doc:meta])* $module:ident, $type:ty, $prefix:literal, $bytes:literal) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn to_text(value: &$type) -> String {
                format!("{}{}", $prefix, STANDARD.encode(value.as_bytes()))
            }

            pub(crate) fn serialize<S: Serializer>(value: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&to_text(value))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let text = String::deserialize(d)?;
                // the text is not repeated: someone may have pasted a private key here
                text.strip_prefix($prefix)
                    .and_then(decode_base64)
                    .map(<$type>::from_bytes)
                    .ok_or_else(|| {
                        D::Error::custom(concat!(
                            "expected \"", $prefix, "...\" with the base64 of ", $bytes, " bytes; \
                             copy it whole from what its owner sent"
                        ))
                    })
            }
        }
    };
}

prefixed!(
    /// Public signing keys.
    ed25519, protocol::crypto::PublicKey, "ed25519:", 32
);
prefixed!(
    /// Public sealing keys.
    x25519, protocol::crypto::sealed::SealingKey, "x25519:", 32
);
prefixed!(
    /// Signatures.
    signature, protocol::crypto::Signature, "", 64
);

/// A name people read, in Chinese and in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    zh: String,
    en: String,
}

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {NAME_MAX_CHARACTERS} characters, none of them a control or a change of \
     direction, and no space at either end"
)]
pub struct InvalidName;

impl Name {
    /// A name in both languages.
    ///
    /// # Errors
    /// When either is empty, too long, or holds characters that could hide what is written.
    pub fn new(zh: &str, en: &str) -> Result<Self, InvalidName> {
        Ok(Self { zh: checked_name(zh)?, en: checked_name(en)? })
    }
    /// A name whose parts [`name_part`] has read.
    pub(crate) const fn trusted(zh: String, en: String) -> Self {
        Self { zh, en }
    }
    /// In Chinese.
    #[must_use]
    pub fn zh(&self) -> &str {
        &self.zh
    }
    /// In English.
    #[must_use]
    pub fn en(&self) -> &str {
        &self.en
    }
}

fn checked_name(text: &str) -> Result<String, InvalidName> {
    let fits = (1..=NAME_MAX_CHARACTERS).contains(&text.chars().count());
    if !fits || text.trim() != text || text.chars().any(hides) {
        return Err(InvalidName);
    }
    Ok(text.to_owned())
}

/// Controls, and the embeddings, overrides and isolates of UAX #9, which make a text read otherwise
/// than it is stored.
pub(crate) fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One language of a name, as a value of a file.
pub(crate) fn name_part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    checked_name(&text).map_err(D::Error::custom)
}

/// Where a node is reached: an IP address or a DNS name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    host: Host,
    port: u16,
}

/// The part of an [`Address`] before the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, lower case.
    Dns(String),
}

/// A text that is no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Not host and port.
    #[error(
        "an address is a host and a port, such as \"node.example.com:7001\", \"192.0.2.7:7001\" \
         or \"[2001:db8::7]:7001\""
    )]
    Form,
    /// An address one can listen on, but not connect to.
    #[error("nobody can connect to {0}; write the address at which the others reach this node")]
    Unspecified(IpAddr),
    /// Port 0.
    #[error("port 0 is no port; write the one the node listens on")]
    Port,
}

impl Address {
    /// An IP address and a port.
    ///
    /// # Errors
    /// [`InvalidAddress`] when nobody could connect to it.
    pub fn from_socket(socket: SocketAddr) -> Result<Self, InvalidAddress> {
        if socket.ip().is_unspecified() {
            return Err(InvalidAddress::Unspecified(socket.ip()));
        }
        if socket.port() == 0 {
            return Err(InvalidAddress::Port);
        }
        Ok(Self { host: Host::Ip(socket.ip()), port: socket.port() })
    }
    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }
    /// The port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Self::from_socket(socket);
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress::Form)?;
        if !is_dns_name(host) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidAddress::Form);
        }
        match port.parse() {
            Ok(0) => Err(InvalidAddress::Port),
            Ok(port) => Ok(Self { host: Host::Dns(host.to_ascii_lowercase()), port }),
            Err(_) => Err(InvalidAddress::Form),
        }
    }
}

/// RFC 1123, section 2.1: labels of letters, digits and inner hyphens; a last label of digits only
/// would be a mistyped IP address.
fn is_dns_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number =
        text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !last_is_number
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Dns(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ones_that_can_be_connected_to() {
        for good in
            ["127.0.0.1:7001", "[2001:db8::7]:443", "node-1.example.com:7001", "localhost:1"]
        {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        let upper = "Node.Example.com:1".parse::<Address>().unwrap();
        assert_eq!(upper.host(), &Host::Dns("node.example.com".into()));
        for bad in
            ["", "a", ":1", "a:", "a:+1", "a:65536", "1.2.3.400:1", "a_b:1", "-a:1", "a..b:1"]
        {
            assert_eq!(bad.parse::<Address>(), Err(InvalidAddress::Form), "{bad}");
        }
        assert_eq!("a:0".parse::<Address>(), Err(InvalidAddress::Port));
        assert_eq!("127.0.0.1:0".parse::<Address>(), Err(InvalidAddress::Port));
        let unspecified = "0.0.0.0:1".parse::<Address>().unwrap_err();
        assert!(unspecified.to_string().contains("the others reach"));
    }

    #[test]
    fn a_name_cannot_hide_what_it_says() {
        assert!(Name::new("一号超市", "Grocer One").is_ok());
        for bad in ["", " a", "a\n", "a\u{202e}b", &"名".repeat(65)] {
            assert_eq!(Name::new(bad, "a"), Err(InvalidName), "{bad:?}");
            assert_eq!(Name::new("a", bad), Err(InvalidName), "{bad:?}");
        }
    }
}
