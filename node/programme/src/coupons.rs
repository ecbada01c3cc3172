//! Coupons: given, and redeemed by their code exactly once, never after they have expired.
//!
//! A coupon keeps the terms under which it was given, whatever the rules become.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use crate::ids::{Account, Fen, Name};
use crate::requests::Key;

/// Crockford's base 32: no I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a coupon is redeemed by: 80 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Code(#[cbor(n(0), with = "minicbor::bytes")] [u8; 10]);

/// A text is not the code of a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a coupon's code is 16 letters and digits, in groups of four or not")]
pub struct InvalidCode;

impl Code {
    /// From random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // who has it can redeem the coupon
        f.write_str("Code(..)")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, five) in self.0.chunks(5).enumerate() {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for place in (0_u32..8).rev() {
                let digit = usize::try_from(bits >> place.saturating_mul(5) & 31).unwrap_or(0);
                f.write_str(match place {
                    7 if number > 0 => "-",
                    3 => "-",
                    _ => "",
                })?;
                let digit = DIGITS.get(digit).copied().unwrap_or(b'0');
                write!(f, "{}", char::from(digit))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Code {
    type Err = InvalidCode;
    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let mut bits = 0_u128;
        let mut digits = 0_u32;
        for letter in text.bytes().filter(|letter| !b"- ".contains(letter)) {
            let letter = match letter.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let place = DIGITS.iter().position(|digit| *digit == letter).ok_or(InvalidCode)?;
            digits = digits.checked_add(1).filter(|digits| *digits <= 16).ok_or(InvalidCode)?;
            bits = bits << 5 | u128::try_from(place).map_err(|_| InvalidCode)?;
        }
        if digits != 16 {
            return Err(InvalidCode);
        }
        let bytes = bits.to_be_bytes();
        bytes.last_chunk::<10>().copied().map(Self).ok_or(InvalidCode)
    }
}

/// Why a member has a coupon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Origin {
    /// The member claimed it.
    #[n(0)]
    Claimed,
    /// A trigger gave it.
    #[n(1)]
    Trigger(#[n(0)] Name),
    /// Staff gave it.
    #[n(2)]
    Staff,
    /// A campaign gave it, to the group in this place.
    #[n(3)]
    Campaign(#[n(0)] Name, #[n(1)] u8),
}

/// That a coupon was redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Redemption {
    /// The till's own key of this redemption: it may be repeated.
    #[n(0)]
    pub key: Key,
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// In which shop.
    #[n(2)]
    pub place: Name,
    /// What the basket came to.
    #[n(3)]
    pub total: Fen,
}

/// One coupon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Coupon {
    /// Its kind in the rules.
    #[n(0)]
    pub kind: Name,
    /// Whose.
    #[n(1)]
    pub account: Account,
    /// When it was given.
    #[n(2)]
    pub given: Timestamp,
    /// The first moment at which it is no longer valid.
    #[n(3)]
    pub expires: Timestamp,
    /// What it takes off.
    #[n(4)]
    pub worth: Fen,
    /// Of a basket of at least so much.
    #[n(5)]
    pub minimum_basket: Fen,
    /// Why.
    #[n(6)]
    pub origin: Origin,
    /// That it was redeemed.
    #[n(7)]
    pub redeemed: Option<Redemption>,
}

/// Why a coupon was not redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouponError {
    /// No such code.
    #[error("there is no coupon with this code; look at the code again")]
    Unknown,
    /// It was, already.
    #[error("the coupon was redeemed already, at {at_ms} (Unix milliseconds)")]
    Redeemed {
        /// When.
        at_ms: u64,
    },
    /// It is valid no longer.
    #[error("the coupon expired at {at_ms} (Unix milliseconds)")]
    Expired {
        /// When.
        at_ms: u64,
    },
    /// The basket is too small.
    #[error("the basket must come to {minimum} fen at least (found {found})")]
    Basket {
        /// What is needed.
        minimum: u64,
        /// What it is.
        found: u64,
    },
}

/// How many of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KindCount {
    /// Given.
    #[n(0)]
    pub given: u32,
    /// Redeemed.
    #[n(1)]
    pub redeemed: u32,
}

/// All coupons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Coupons {
    #[n(0)]
    all: SharedMap<Code, Coupon>,
    #[n(1)]
    of: SharedMap<Account, Vec<Code>>,
    #[n(2)]
    kinds: BTreeMap<Name, KindCount>,
}

impl Coupons {
    /// A coupon by its code.
    #[must_use]
    pub fn get(&self, code: Code) -> Option<&Coupon> {
        self.all.get(&code)
    }

    /// A member's coupons, as they were given.
    pub fn of(&self, account: Account) -> impl Iterator<Item = (Code, &Coupon)> {
        let codes = self.of.get(&account).into_iter().flatten();
        codes.filter_map(|code| self.all.get(code).map(|coupon| (*code, coupon)))
    }

    /// Every coupon.
    pub fn iter(&self) -> impl Iterator<Item = (Code, &Coupon)> {
        self.all.iter().map(|(code, coupon)| (*code, coupon))
    }

    /// How many of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &Name) -> KindCount {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// Every kind that was ever given, with its count.
    pub fn kinds(&self) -> impl Iterator<Item = (&Name, KindCount)> {
        self.kinds.iter().map(|(kind, count)| (kind, *count))
    }

    pub(crate) fn move_to(&mut self, from: Account, into: Account) {
        let codes = self.of.remove(&from).unwrap_or_default();
        for code in &codes {
            self.all.get_mut(code).into_iter().for_each(|coupon| coupon.account = into);
        }
        if !codes.is_empty() {
            self.of.get_or_default(into).extend(codes);
        }
    }

    pub(crate) fn enter(&mut self, code: Code, coupon: &Coupon) {
        let count = self.kinds.entry(coupon.kind.clone()).or_default();
        count.given = count.given.saturating_add(1);
        self.of.get_or_default(coupon.account).push(code);
        self.all.insert(code, coupon.clone());
    }

    /// What redeeming one comes to; true when this same redemption was entered before.
    pub(crate) fn check(
        &self,
        code: Code,
        key: Key,
        total: Fen,
        now: Timestamp,
    ) -> Result<(bool, &Coupon), CouponError> {
        let coupon = self.all.get(&code).ok_or(CouponError::Unknown)?;
        match &coupon.redeemed {
            Some(before) if before.key == key => return Ok((true, coupon)),
            Some(before) => return Err(CouponError::Redeemed { at_ms: before.at.unix_ms() }),
            None => {}
        }
        if coupon.expires <= now {
            return Err(CouponError::Expired { at_ms: coupon.expires.unix_ms() });
        }
        if total < coupon.minimum_basket {
            let (minimum, found) = (coupon.minimum_basket.get(), total.get());
            return Err(CouponError::Basket { minimum, found });
        }
        Ok((false, coupon))
    }

    /// False when it cannot be: a change that was never decided.
    pub(crate) fn redeem(&mut self, code: Code, redemption: &Redemption) -> bool {
        let Some(coupon) = self.all.get_mut(&code).filter(|coupon| coupon.redeemed.is_none())
        else {
            return false;
        };
        coupon.redeemed = Some(redemption.clone());
        let count = self.kinds.entry(coupon.kind.clone()).or_default();
        count.redeemed = count.redeemed.saturating_add(1);
        true
    }

    /// The sale it was redeemed for is not made: it can be redeemed again. False when it was not redeemed.
    pub(crate) fn reopen(&mut self, code: Code) -> bool {
        let Some(coupon) = self.all.get_mut(&code).filter(|coupon| coupon.redeemed.is_some())
        else {
            return false;
        };
        coupon.redeemed = None;
        let count = self.kinds.entry(coupon.kind.clone()).or_default();
        count.redeemed = count.redeemed.saturating_sub(1);
        true
    }

    pub(crate) fn forget(&mut self, account: Account) {
        for code in self.of.remove(&account).unwrap_or_default() {
            self.all.remove(&code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        for seed in 0..200_u8 {
            let code = Code::from_bytes(std::array::from_fn(|place| {
                seed.wrapping_mul(31).wrapping_add(u8::try_from(place).unwrap().wrapping_mul(77))
            }));
            let text = code.to_string();
            assert_eq!(text.len(), 19, "{text}");
            assert_eq!(text.parse::<Code>().unwrap(), code);
            let written = text.replace('-', " ").to_lowercase().replace('0', "o").replace('1', "l");
            assert_eq!(written.parse::<Code>().unwrap(), code);
        }
        for wrong in ["", "0000-0000-0000-000", "0000-0000-0000-0000-0", "0000-0000-0000-000U"] {
            assert_eq!(wrong.parse::<Code>(), Err(InvalidCode));
        }
        assert_eq!(format!("{:?}", Code::from_bytes([1; 10])), "Code(..)");
    }
}
