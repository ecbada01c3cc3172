//! What a log says about money that moved outside: payments stated and confirmed, and debts that are
//! discharged by them.
//!
//! Shapes and their bounds only. Which payment a statement asks for, and when it discharges what, is
//! `clearing`'s business; what a header may say of it, `witness`'s. No bank account, no person: the
//! reference is an opaque token, readable to whoever finds it in their own bank statement.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

use crate::amount::Value;
use crate::ids::{BrandId, StatementHash};
use crate::time::Timestamp;

/// Longest reference of a payment, in bytes: ISO 20022's `Max35Text`, which an `EndToEndId` is.
pub const REFERENCE_MAX: usize = 35;

/// The reference under which a payment was made outside: 1 to [`REFERENCE_MAX`] of the characters that
/// every payment system passes on (SWIFT's x character set without the space).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentReference(String);

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a payment's reference has 1 to {REFERENCE_MAX} of A-Z, a-z, 0-9 and /-?:().,'+ (found {found} bytes)"
)]
pub struct InvalidReference {
    found: usize,
}

impl PaymentReference {
    /// Parses a reference.
    ///
    /// # Errors
    /// When it is empty, too long, or has another character.
    pub fn new(text: &str) -> Result<Self, InvalidReference> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-?:().,'+".contains(&byte);
        if (1..=REFERENCE_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidReference { found: text.len() })
        }
    }
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PaymentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PaymentReference {
    type Err = InvalidReference;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for PaymentReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<C> Encode<C> for PaymentReference {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PaymentReference {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        Self::new(d.str()?).map_err(|error| minicbor::decode::Error::message(error).at(position))
    }
}

/// One payment that a clearing statement asks for, as one of its two parties states it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Payment {
    /// The statement's cut-off.
    #[n(0)]
    pub cut_off: Timestamp,
    /// Hash of the statement.
    #[n(1)]
    pub statement: StatementHash,
    /// Who pays.
    #[n(2)]
    pub payer: BrandId,
    /// Who is paid.
    #[n(3)]
    pub payee: BrandId,
    /// How much, in whole fen.
    #[n(4)]
    pub value: Value,
    /// Where to find it outside.
    #[n(5)]
    pub reference: PaymentReference,
}

/// The newest statement that every payee of it has confirmed, as far as it concerns one pair: what
/// either side had ever sent the other by its cut-off is discharged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Discharge {
    /// The statement's cut-off; zero for none.
    #[n(0)]
    pub cut_off: Timestamp,
    /// What the writer of the header had sent the counterparty by then, exactly.
    #[n(1)]
    pub sent: Value,
    /// What the counterparty had sent the writer.
    #[n(2)]
    pub received: Value,
}

impl Discharge {
    /// Nothing is discharged.
    pub const NOTHING: Self =
        Self { cut_off: Timestamp::from_unix_ms(0), sent: Value::ZERO, received: Value::ZERO };

    /// Whether this may stand after `before`: the same, or a later cut-off with totals that have not
    /// fallen.
    #[must_use]
    pub fn may_follow(&self, before: &Self) -> bool {
        *self == *before
            || (self.cut_off > before.cut_off
                && self.sent >= before.sent
                && self.received >= before.received)
    }

    /// The same as the counterparty says it.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        Self { cut_off: self.cut_off, sent: self.received, received: self.sent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_token_that_payment_systems_pass_on() {
        for bad in ["", "with space", "分", "a\nb", &"x".repeat(36)] {
            assert!(PaymentReference::new(bad).is_err(), "{bad:?}");
        }
        assert!(PaymentReference::new(&"x".repeat(35)).is_ok());
        let reference: PaymentReference = "HVPS/2026-11-21.1".parse().unwrap();
        let bytes = minicbor::to_vec(&reference).unwrap();
        assert_eq!(minicbor::decode::<PaymentReference>(&bytes).unwrap(), reference);
        assert!(minicbor::decode::<PaymentReference>(&minicbor::to_vec("a b").unwrap()).is_err());
    }

    #[test]
    fn a_discharge_goes_forward_only() {
        let at = |cut_off, sent, received| Discharge {
            cut_off: Timestamp::from_unix_ms(cut_off),
            sent: Value::new(sent).unwrap(),
            received: Value::new(received).unwrap(),
        };
        let before = at(5, 10, 20);
        assert!(before.may_follow(&before) && at(6, 10, 21).may_follow(&before));
        for wrong in [at(5, 11, 20), at(4, 10, 20), at(6, 9, 20), at(6, 10, 19)] {
            assert!(!wrong.may_follow(&before), "{wrong:?}");
        }
    }
}
