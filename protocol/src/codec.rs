//! Deterministic CBOR (RFC 8949, section 4.2) and the caps on everything that is decoded.
//!
//! One encoding for each signed thing: [`decode`] refuses bytes that are not exactly what
//! [`encode`] would write, so that two parties can never sign the same meaning in two forms.
//! Shapes are frozen by the vectors in `protocol/vectors`; the version is [`WIRE_VERSION`].

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Encode};

/// Version of everything on the wire and in a log. Version 0 promises no compatibility.
pub const WIRE_VERSION: u16 = 0;

/// Largest entry of a log, in bytes (the length prefix of a C2SP tlog-tiles entry bundle is a u16).
pub const ENTRY_MAX: usize = 65_535;

/// Largest message between two nodes, in bytes.
pub const MESSAGE_MAX: usize = 32 * 1024 * 1024;

/// Why bytes were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind of thing may have.
    #[error("{found} bytes where {what} may have at most {most}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// How many there were.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// Not the CBOR of such a thing.
    #[error("{what}: not valid at byte {position}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Where reading stopped.
        position: usize,
    },
    /// Of a wire version this node does not speak.
    #[error(
        "{what}: wire version {found}, and this node speaks {WIRE_VERSION}; one of the two must be updated"
    )]
    Version {
        /// What was being read.
        what: &'static str,
        /// Its version.
        found: u16,
    },
    /// Readable, but not in the one deterministic form.
    #[error("{what}: not in deterministic form (RFC 8949, section 4.2)")]
    NotDeterministic {
        /// What was being read.
        what: &'static str,
    },
}

/// The one encoding of a value.
#[must_use]
pub fn encode<T: Encode<()> + ?Sized>(value: &T) -> Vec<u8> {
    encode_sized(value, 0)
}

/// The one encoding of a value that is known to take about so many bytes: one allocation.
#[must_use]
pub fn encode_sized<T: Encode<()> + ?Sized>(value: &T, about: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(about);
    encode_into(value, &mut bytes);
    bytes
}

/// Appends the one encoding of a value.
pub fn encode_into<T: Encode<()> + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    let written: Result<(), minicbor::encode::Error<Infallible>> = minicbor::encode(value, bytes);
    // writing to a vector cannot fail, and no `Encode` of this crate raises an error of its own
    debug_assert!(written.is_ok());
}

/// Reads one value of at most `most` bytes, naming it `what` in errors.
///
/// # Errors
/// When there are too many bytes, when they are not such a value, when something follows it, or
/// when they are not its deterministic form.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(
    what: &'static str,
    bytes: &'b [u8],
    most: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > most {
        return Err(DecodeError::TooLong { what, found: bytes.len(), most });
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let value: T = decoder
        .decode()
        .map_err(|_| DecodeError::Malformed { what, position: decoder.position() })?;
    let mut compared = Same { rest: bytes };
    let same = minicbor::encode(&value, &mut compared).is_ok() && compared.rest.is_empty();
    if same { Ok(value) } else { Err(DecodeError::NotDeterministic { what }) }
}

/// Bytes that are made once and go to many places: copies share them.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedBytes(Arc<Vec<u8>>);

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<C> Encode<C> for SharedBytes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SharedBytes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes().map(|bytes| bytes.to_vec().into())
    }
}

/// Something large that more than one holder keeps, in the encoding of what it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Shares it.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<C, T: Encode<C>> Encode<C> for Shared<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, C, T: Decode<'b, C>> Decode<'b, C> for Shared<T> {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        T::decode(d, ctx).map(Self::new)
    }
}

/// Takes what is written to it only as long as it is what is expected: encoding into it compares
/// without a copy.
struct Same<'b> {
    rest: &'b [u8],
}

impl minicbor::encode::Write for Same<'_> {
    type Error = Differs;
    fn write_all(&mut self, written: &[u8]) -> Result<(), Differs> {
        self.rest = self.rest.strip_prefix(written).ok_or(Differs)?;
        Ok(())
    }
}

#[derive(Debug)]
struct Differs;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_form_is_read() {
        assert_eq!(decode::<u32>("a number", &[0x05], 8), Ok(5));
        // 5 written in two bytes, and 5 followed by something
        for other in [&[0x18, 0x05][..], &[0x05, 0x00]] {
            let error = decode::<u32>("a number", other, 8).unwrap_err();
            assert_eq!(error, DecodeError::NotDeterministic { what: "a number" });
        }
        assert!(matches!(
            decode::<u32>("a number", &[0x60], 8),
            Err(DecodeError::Malformed { .. })
        ));
        assert!(matches!(
            decode::<u32>("a number", &[0; 9], 8),
            Err(DecodeError::TooLong { found: 9, most: 8, .. })
        ));
    }
}
