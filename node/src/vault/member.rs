//! What the vault holds of a person, as types whose `Debug` shows nothing of it.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::keys::KeyError;

/// A member inside this node: 16 random bytes, which mean nothing outside and are never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct MemberId(#[cbor(with = "minicbor::bytes")] [u8; 16]);

impl MemberId {
    /// A fresh id; two are never equal in practice (128 bits).
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).map_err(|_| KeyError::Random)?;
        Ok(Self(bytes))
    }
    /// Takes the bytes of a stored id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The bytes, for storing.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // an id stands for a person: it does not belong in a trace
        f.write_str("MemberId(..)")
    }
}

/// The number that stands for a member in purchase facts: positive, of 63 bits, made from the
/// member's secret, so that it goes to nobody when the secret is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactsSubject(i64);

impl FactsSubject {
    pub(super) fn from_digest(digest: &[u8; 32]) -> Self {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        Self(i64::from_be_bytes(bytes) & i64::MAX)
    }
    pub(super) const fn from_stored(bytes: [u8; 8]) -> Self {
        Self(i64::from_be_bytes(bytes))
    }
    /// The number, as it is in the facts' column `member`.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Debug for FactsSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactsSubject(..)")
    }
}

/// Why a text is not an identifier. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {least} to {most} visible ASCII characters and no space (found {found} bytes)")]
pub struct InvalidIdentifier {
    what: &'static str,
    least: usize,
    most: usize,
    found: usize,
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $least:literal..=$most:literal);* $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Zeroizing<String>);

        impl $name {
            /// Parses an identifier.
            ///
            /// # Errors
            /// When the text is too short, too long, or has a character that is not visible ASCII.
            pub fn new(text: &str) -> Result<Self, InvalidIdentifier> {
                let fits = ($least..=$most).contains(&text.len());
                if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(InvalidIdentifier {
                        what: $what, least: $least, most: $most, found: text.len(),
                    });
                }
                Ok(Self(Zeroizing::new(text.to_owned())))
            }
            /// The text in clear.
            #[must_use]
            pub fn expose(&self) -> &str { &self.0 }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

identifiers! {
    /// The brand's external number of a member: what is printed on the card.
    CardNumber, "a card number", 1..=64;
    /// What is equal for one person at several brands, such as a phone number's hash. The vault
    /// keeps it only as a keyed hash.
    MatchKey, "a match key", 8..=128;
}

/// What a brand may know of a member beside identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Attribute {
    /// First purchase at the brand, `YYYY-MM-DD`.
    #[n(0)]
    FirstPurchase,
    /// Band of ages.
    #[n(1)]
    AgeBand,
    /// Band of yearly household income.
    #[n(2)]
    IncomeBand,
    /// Owner or renter.
    #[n(3)]
    HomeOwnership,
    /// Married or not.
    #[n(4)]
    MaritalStatus,
    /// Number of persons.
    #[n(5)]
    HouseholdSize,
    /// Adults and children.
    #[n(6)]
    HouseholdComposition,
    /// Number of children.
    #[n(7)]
    KidsCount,
    /// Date of birth, `YYYY-MM-DD`: of a person under 14 a guardian decides (PIPL art. 31).
    #[n(8)]
    BirthDate,
    /// The person's name.
    #[n(9)]
    Name,
    /// Where the person lives, or wants to be written to.
    #[n(10)]
    Address,
}

impl Attribute {
    /// Every attribute, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::FirstPurchase,
        Self::AgeBand,
        Self::IncomeBand,
        Self::HomeOwnership,
        Self::MaritalStatus,
        Self::HouseholdSize,
        Self::HouseholdComposition,
        Self::KidsCount,
        Self::BirthDate,
        Self::Name,
        Self::Address,
    ];

    /// The column it is imported from.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::FirstPurchase => "first_purchase_date",
            Self::AgeBand => "age_band",
            Self::IncomeBand => "income_band",
            Self::HomeOwnership => "home_ownership",
            Self::MaritalStatus => "marital_status",
            Self::HouseholdSize => "household_size",
            Self::HouseholdComposition => "household_comp",
            Self::KidsCount => "kids_count",
            Self::BirthDate => "birth_date",
            Self::Name => "name",
            Self::Address => "address",
        }
    }

    /// The attribute of a column's name.
    #[must_use]
    pub fn from_column(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.column() == name)
    }
}

/// Longest value of an attribute, in bytes.
pub const ATTRIBUTE_MAX: usize = 128;

/// A person to be enrolled.
#[derive(Clone)]
pub struct NewMember {
    /// External number.
    pub card: CardNumber,
    /// Key across brands, if the brand has one.
    pub match_key: Option<MatchKey>,
    /// What else is known; values longer than [`ATTRIBUTE_MAX`] are refused.
    pub attributes: BTreeMap<Attribute, String>,
}

impl fmt::Debug for NewMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewMember(..)")
    }
}

/// A member's fields in clear, for the member or for who may read them.
pub struct Profile {
    /// External number.
    pub card: CardNumber,
    /// What else is known.
    pub attributes: BTreeMap<Attribute, Zeroizing<String>>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(..)")
    }
}
