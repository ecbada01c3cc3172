//! Names and identifiers that entries, plans and messages carry.
//!
//! Knows the grammar of a name and how an identifier is written (text, hex, CBOR).
//! Deliberately knows no keys, no addresses and nothing about what is identified.

use core::fmt;
use core::str::FromStr;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name in bytes.
pub const NAME_MAX_BYTES: usize = 32;

/// Why a text is not a name or an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty or too long.
    #[error("a name has 1 to {NAME_MAX_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// A character outside the grammar.
    #[error("a name is written with a-z, 0-9, '_' and '-'; byte {0} is none of these")]
    Character(usize),
    /// Not the hexadecimal text of an identifier.
    #[error("an identifier is {0} lower-case hexadecimal digits")]
    Hex(usize),
}

/// Zero-padded, so that the derived order is the order of the texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    bytes: [u8; NAME_MAX_BYTES],
    length: u8,
}

impl Name {
    fn parse(text: &str) -> Result<Self, IdError> {
        let source = text.as_bytes();
        if source.is_empty() || source.len() > NAME_MAX_BYTES {
            return Err(IdError::Length(source.len()));
        }
        let legal = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if let Some(at) = source.iter().position(|b| !legal(b)) {
            return Err(IdError::Character(at));
        }
        let mut bytes = [0; NAME_MAX_BYTES];
        for (to, from) in bytes.iter_mut().zip(source) {
            *to = *from;
        }
        let length = u8::try_from(source.len()).map_err(|_| IdError::Length(source.len()))?;
        Ok(Self { bytes, length })
    }

    fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.length)).unwrap_or(&[]);
        core::str::from_utf8(used).unwrap_or("")
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Name);

        impl $name {
            /// The text: 1 to 32 bytes of `[a-z0-9_-]`.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Name::parse(text).map(Self)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(self.as_str())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let at = d.position();
                d.str()?.parse().map_err(|_| decode::Error::message("not a name").at(at))
            }
        }
    };
}

name_type!(
    /// A brand that takes part in joint questions. Stable over key rotations.
    ParticipantId
);
name_type!(
    /// Whose share of a brand's quota pays: a role or a pseudonym, never a person's name,
    /// because it is written in a log that every brand keeps.
    AnalystId
);
name_type!(
    /// What the members consented to. A query names one; the contract lists those it serves.
    Purpose
);

macro_rules! bytes_type {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $size];
                read_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
                ByteArray::<$size>::decode(d, ctx).map(|bytes| Self(*bytes))
            }
        }
    };
}

bytes_type!(
    /// One joint question, drawn at random by its proposer.
    QueryId, 16
);
bytes_type!(
    /// Hash of everything that decides a plan's answer (see [`crate::plan`]).
    PlanHash, 32
);
bytes_type!(
    /// Hash of the bound, normalised question. The log carries this, never the text.
    SqlHash, 32
);
bytes_type!(
    /// Hash of a validated dataset contract.
    ContractHash, 32
);
bytes_type!(
    /// The data one participant answers from, named by that participant's node.
    SnapshotId, 32
);
bytes_type!(
    /// Hash of query, attempt, plan and, of every participant, key and snapshot: what the
    /// masks are bound to.
    SetHash, 32
);
bytes_type!(
    /// Hash that commits to one masked vector.
    VectorHash, 32
);
bytes_type!(
    /// Hash of a release's stable bytes.
    ReleaseHash, 32
);
bytes_type!(
    /// An X25519 public key made for one attempt.
    MaskingKey, 32
);

/// Which try at answering a query: 1 for the first. Every attempt is charged by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Attempt(#[n(0)] pub u32);

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn read_hex(text: &str, bytes: &mut [u8]) -> Result<(), IdError> {
    let wanted = bytes.len().saturating_mul(2);
    if text.len() != wanted {
        return Err(IdError::Hex(wanted));
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else {
            return Err(IdError::Hex(wanted));
        };
        match (hex_digit(*high), hex_digit(*low)) {
            (Some(high), Some(low)) => *byte = (high << 4) | low,
            _ => return Err(IdError::Hex(wanted)),
        }
    }
    Ok(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a').and_then(|value| value.checked_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_grammar() {
        assert_eq!("grocer_one".parse::<ParticipantId>().unwrap().as_str(), "grocer_one");
        assert_eq!("".parse::<ParticipantId>(), Err(IdError::Length(0)));
        assert_eq!("a".repeat(33).parse::<ParticipantId>(), Err(IdError::Length(33)));
        assert_eq!("Brand".parse::<ParticipantId>(), Err(IdError::Character(0)));
    }

    #[test]
    fn names_are_ordered_as_their_texts() {
        let mut names: Vec<ParticipantId> =
            ["b", "ab", "a", "a-b", "a_b"].iter().map(|n| n.parse().unwrap()).collect();
        names.sort();
        let mut texts = ["b", "ab", "a", "a-b", "a_b"];
        texts.sort_unstable();
        assert!(names.iter().map(|n| n.as_str()).eq(texts));
    }

    #[test]
    fn identifiers_survive_text_and_cbor() {
        let id = QueryId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse::<QueryId>(), Ok(id));
        assert_eq!("ABCDEF".parse::<QueryId>(), Err(IdError::Hex(32)));
        let bytes = minicbor::to_vec(id).unwrap();
        assert_eq!(minicbor::decode::<QueryId>(&bytes).unwrap(), id);
        assert!(minicbor::decode::<PlanHash>(&bytes).is_err());
    }
}
