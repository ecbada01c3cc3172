//! What a brand must have on record besides its members: assessments before it does what may touch
//! them hard (PIPL art. 55 and 56), and breaches with the clock of their notices (art. 57).
//!
//! Kept sealed, changed only by adding. Nothing of a member is in them.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::{Milliseconds, Timestamp};

use super::DeskError;
use crate::store::{Keyspace, Store, Write};
use crate::vault::{DataKey, Random};

const ASSESSMENTS: Keyspace = "desk_assessment";
const BREACHES: Keyspace = "desk_breach";
/// Longest text, in bytes.
pub const TEXT_MAX: usize = 4_096;
/// How long an assessment is kept at least (art. 56): three years.
const KEPT_FOR: Milliseconds = Milliseconds::from_seconds(3 * 366 * 24 * 3600);

/// Why an assessment is needed (art. 55).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Occasion {
    /// Sensitive personal information is processed.
    #[n(0)]
    Sensitive,
    /// Decisions are made automatically.
    #[n(1)]
    Automated,
    /// Somebody else is entrusted, or data is given to another handler or made public.
    #[n(2)]
    Provided,
    /// Data goes abroad.
    #[n(3)]
    Abroad,
    /// Anything else that may touch people hard.
    #[n(4)]
    Other,
}

impl Occasion {
    /// Every occasion.
    pub const ALL: [Self; 5] =
        [Self::Sensitive, Self::Automated, Self::Provided, Self::Abroad, Self::Other];

    /// Its name in requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sensitive => "sensitive",
            Self::Automated => "automated",
            Self::Provided => "provided",
            Self::Abroad => "abroad",
            Self::Other => "other",
        }
    }

    /// The occasion of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|occasion| occasion.name() == name)
    }
}

/// An assessment of what something does to members (art. 56).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Assessment {
    /// Its number, from 1.
    #[n(0)]
    pub number: u32,
    /// When it was entered.
    #[n(1)]
    pub at: Timestamp,
    /// By whom.
    #[n(2)]
    pub by: String,
    /// Why it was needed.
    #[n(3)]
    pub occasion: Occasion,
    /// What is processed, for what: whether that is lawful, legitimate and needed.
    #[n(4)]
    pub purpose: String,
    /// What it does to people's rights, and the risks.
    #[n(5)]
    pub risks: String,
    /// What protects them, and whether that fits the risk.
    #[n(6)]
    pub measures: String,
    /// Until when it must be kept.
    #[n(7)]
    pub keep_until: Timestamp,
}

/// A breach: data was leaked, altered or lost, or may have been (art. 57).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Breach {
    /// Its number, from 1.
    #[n(0)]
    pub number: u32,
    /// When it was found.
    #[n(1)]
    pub found: Timestamp,
    /// Who entered it.
    #[n(2)]
    pub by: String,
    /// Which kinds of data, why, and what harm it may do.
    #[n(3)]
    pub what: String,
    /// What was done, and what members can do.
    #[n(4)]
    pub measures: String,
    /// How many members, as far as that is known.
    #[n(5)]
    pub members: u64,
    /// By when authority and members must have been told.
    #[n(6)]
    pub tell_by: Timestamp,
    /// When the authority was told.
    #[n(7)]
    pub authority_told: Option<Timestamp>,
    /// When the members were told, or why they need not be.
    #[n(8)]
    pub members_told: Option<Timestamp>,
    /// Why members need not be told: the measures avert the harm (art. 57, second paragraph).
    #[n(9)]
    pub not_told_because: Option<String>,
}

impl Breach {
    /// Whether somebody has still to be told.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        let members = self.members_told.is_some() || self.not_told_because.is_some();
        self.authority_told.is_none() || !members
    }
}

/// Sealed records in a keyspace of the store.
pub(super) struct Sealed {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: DataKey,
    pub(super) random: Random,
}

impl Sealed {
    pub(super) fn write<T: Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        value: &T,
    ) -> Result<Write, DeskError> {
        let sealed = self.key.seal(&codec::encode(value), &place(keyspace, key), &*self.random)?;
        Ok(Write::put(keyspace, key, sealed))
    }

    pub(super) fn put<T: Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        value: &T,
    ) -> Result<(), DeskError> {
        Ok(self.store.transaction(&[self.write(keyspace, key, value)?])?)
    }

    pub(super) fn get<T: for<'b> Decode<'b, ()> + Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
    ) -> Result<Option<T>, DeskError> {
        let Some(sealed) = self.store.get(keyspace, key)? else { return Ok(None) };
        self.open(keyspace, key, &sealed).map(Some)
    }

    pub(super) fn scan<T: for<'b> Decode<'b, ()> + Encode<()>>(
        &self,
        keyspace: Keyspace,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<T>, DeskError> {
        let pairs = self.store.scan_prefix(keyspace, &[], after, most)?;
        pairs.iter().map(|(key, sealed)| self.open(keyspace, key, sealed)).collect()
    }

    fn open<T: for<'b> Decode<'b, ()> + Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, DeskError> {
        let bytes = self.key.open(sealed, &place(keyspace, key))?;
        codec::decode("a record", &bytes, crate::store::VALUE_MAX)
            .map_err(|_| DeskError::Damaged("record"))
    }

    fn next_number(&self, keyspace: Keyspace) -> Result<u32, DeskError> {
        let mut next = 1;
        let mut after: Option<Vec<u8>> = None;
        while let Some((key, _)) =
            self.store.scan_prefix(keyspace, &[], after.as_deref(), 256)?.pop()
        {
            let number = <[u8; 4]>::try_from(key.as_slice()).map(u32::from_be_bytes);
            next = number.map_err(|_| DeskError::Damaged("record"))?.saturating_add(1);
            after = Some(key);
        }
        Ok(next)
    }

    /// Enters an assessment under the next number.
    pub(super) fn assess(&self, assessment: Assessment) -> Result<Assessment, DeskError> {
        for text in [&assessment.purpose, &assessment.risks, &assessment.measures] {
            check_text(text)?;
        }
        let number = self.next_number(ASSESSMENTS)?;
        let keep_until = assessment.at.plus(KEPT_FOR);
        let entered = Assessment { number, keep_until, ..assessment };
        self.put(ASSESSMENTS, &number.to_be_bytes(), &entered)?;
        Ok(entered)
    }

    /// Assessments behind a number, oldest first.
    pub(super) fn assessments(
        &self,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Assessment>, DeskError> {
        let after = after.map(u32::to_be_bytes);
        self.scan(ASSESSMENTS, after.as_ref().map(<[u8; 4]>::as_slice), most)
    }

    /// Enters a breach under the next number.
    pub(super) fn breach(&self, breach: Breach) -> Result<Breach, DeskError> {
        check_text(&breach.what)?;
        check_text(&breach.measures)?;
        let number = self.next_number(BREACHES)?;
        let entered = Breach { number, ..breach };
        self.put(BREACHES, &number.to_be_bytes(), &entered)?;
        Ok(entered)
    }

    /// Breaches behind a number, oldest first.
    pub(super) fn breaches(
        &self,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Breach>, DeskError> {
        let after = after.map(u32::to_be_bytes);
        self.scan(BREACHES, after.as_ref().map(<[u8; 4]>::as_slice), most)
    }

    /// Enters that somebody was told of a breach, or why members need not be.
    pub(super) fn told(
        &self,
        number: u32,
        authority: bool,
        members: bool,
        not_told_because: Option<String>,
        at: Timestamp,
    ) -> Result<Breach, DeskError> {
        let key = number.to_be_bytes();
        let mut breach: Breach = self.get(BREACHES, &key)?.ok_or(DeskError::UnknownRecord)?;
        if let Some(why) = &not_told_because {
            check_text(why)?;
        }
        // the first time counts
        breach.authority_told = breach.authority_told.or(authority.then_some(at));
        breach.members_told = breach.members_told.or(members.then_some(at));
        breach.not_told_because = breach.not_told_because.or(not_told_because);
        self.put(BREACHES, &key, &breach)?;
        Ok(breach)
    }
}

pub(super) fn check_text(text: &str) -> Result<(), DeskError> {
    let fits = !text.trim().is_empty() && text.len() <= TEXT_MAX;
    if fits { Ok(()) } else { Err(DeskError::Text) }
}

fn place(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    [b"coalition desk v0\0", keyspace.as_bytes(), b"\0", key].concat()
}
