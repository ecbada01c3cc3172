//! What is counted and named here: accounts, parts of baskets, money in fen, names in the rules.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

/// A member's account: the opaque number by which the brand's vault knows the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Account(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl Account {
    /// From the vault's bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// One part of one basket, the same however often it is imported: it earns once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct BasketPart(#[cbor(n(0), with = "minicbor::bytes")] [u8; 20]);

impl BasketPart {
    /// From bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
    /// The bytes: 16 of the basket, then 4 of the part, which counts from 0.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
    /// The basket.
    #[must_use]
    pub fn basket(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
    }
    /// Which of its parts: the higher came later.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.last_chunk().copied().map(u32::from_be_bytes).unwrap_or_default()
    }
}

/// Money of a shop: fen, never negative, at most 10 million yuan.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Fen(#[n(0)] u64);

/// A number is no amount of fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is 0 to {} fen", Fen::MAX)]
pub struct InvalidFen;

impl Fen {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest number of fen.
    pub const MAX: u64 = 1_000_000_000;

    /// So many fen.
    ///
    /// # Errors
    /// [`InvalidFen`] beyond [`Self::MAX`].
    pub const fn new(fen: u64) -> Result<Self, InvalidFen> {
        if fen > Self::MAX { Err(InvalidFen) } else { Ok(Self(fen)) }
    }
    /// The number of fen.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (yuan, fen) = (self.0 / 100, self.0 % 100);
        if fen == 0 { write!(f, "{yuan}") } else { write!(f, "{yuan}.{fen:02}") }
    }
}

/// Longest name, in bytes.
pub const NAME_MAX: usize = 40;

/// A name in the rules: of a tier, a channel, a category, a coupon, a reward, a segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Name(#[n(0)] String);

/// A text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {NAME_MAX} of a-z, 0-9, _ and -")]
pub struct InvalidName;

impl Name {
    /// A name.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(fits) {
            return Err(InvalidName);
        }
        Ok(Self(text.to_owned()))
    }
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'b, C> Decode<'b, C> for Name {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        Self::new(d.str()?).map_err(|error| minicbor::decode::Error::message(error).at(position))
    }
}
