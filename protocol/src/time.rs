//! Protocol time: UTC milliseconds, always passed in.
//!
//! There is no `now()` here and no calendar: zones belong to the constitution (cut-offs, budget
//! years) and to a brand's own settings (birthdays), both outside this crate.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Timestamp(#[n(0)] u64);

/// A length of time in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Milliseconds(#[n(0)] u64);

impl Timestamp {
    /// The moment so many milliseconds after the epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }
    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }
    /// The moment `by` later; at the end of the range it stays there.
    #[must_use]
    pub const fn plus(self, by: Milliseconds) -> Self {
        Self(self.0.saturating_add(by.0))
    }
    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Milliseconds {
        Milliseconds(self.0.saturating_sub(earlier.0))
    }
    /// How far apart two moments are.
    #[must_use]
    pub const fn distance(self, other: Self) -> Milliseconds {
        Milliseconds(self.0.abs_diff(other.0))
    }
}

impl Milliseconds {
    /// So many milliseconds.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }
    /// So many seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
    /// Twice as long; at the end of the range it stays there.
    #[must_use]
    pub const fn doubled(self) -> Self {
        Self(self.0.saturating_mul(2))
    }
    /// The number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}
