//! Attributes of members for questions about members: in pages, as of a revision.
//!
//! A revision is a number that goes up by one whenever somebody becomes a member, what is known of a member is
//! corrected, or a merged member is parted again. Each record has the one of its own last change, so that the members of a
//! revision can be told later: whoever came or was corrected since is not among them. Who is gone is not
//! among them either, so that they become fewer and never others.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::keys::KeyError;
use super::record::{self, Field, Opened};
use super::{
    Attribute, Batch, Consenting, FactsSubject, MemberId, PAGE, Vault, VaultError, damaged,
};
use crate::store::{Keyspace, Store};

/// The present revision.
const REVISION: Keyspace = "vault_revision";
/// The one key in it.
const ATTRIBUTES: &[u8] = b"attributes";

/// What is known of the members, as of some change of it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Revision {
    number: u64,
    // drawn anew each time: of a hash over it, nobody can tell the number
    token: [u8; 16],
}

impl Revision {
    /// The present one of the vault in a store.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn of(store: &dyn Store) -> Result<Self, VaultError> {
        let Some(bytes) = store.get(REVISION, ATTRIBUTES)? else { return Ok(Self::default()) };
        let wrong = || damaged("revision of attributes");
        let (number, token) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let token = <[u8; 16]>::try_from(token).map_err(|_| wrong())?;
        Ok(Self { number: u64::from_be_bytes(*number), token })
    }

    /// Its bytes, for a hash.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let parts = self.number.to_be_bytes().into_iter().chain(self.token);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What a member's record keeps of it.
    pub(super) const fn stamp(self) -> [u8; 8] {
        self.number.to_be_bytes()
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // it goes up with the brand's members, whose number is its own secret
        f.write_str("Revision(..)")
    }
}

/// One member's attributes.
pub struct AttributesRow {
    /// The member.
    pub member: MemberId,
    /// The member's number in facts.
    pub subject: FactsSubject,
    /// Those that were asked for and that the brand knows.
    pub values: BTreeMap<Attribute, Zeroizing<String>>,
}

impl fmt::Debug for AttributesRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttributesRow(..)")
    }
}

/// Some members' attributes.
pub struct AttributesPage {
    /// A row for each of them.
    pub rows: Vec<AttributesRow>,
    /// After whom the next page begins.
    pub last: MemberId,
}

impl fmt::Debug for AttributesPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttributesPage(..)")
    }
}

impl Vault {
    /// The next members after `after`: those of them who are among the consenting and of whom nothing has changed
    /// since a revision, if one is named. None when there are no more members; a page may be empty before.
    ///
    /// # Errors
    /// When the store or the key fails, or a record is damaged.
    pub fn attributes_page(
        &self,
        members: &Consenting,
        as_of: Option<Revision>,
        attributes: &[Attribute],
        after: Option<MemberId>,
    ) -> Result<Option<AttributesPage>, VaultError> {
        let page = self.page(after, PAGE)?;
        let Some(last) = page.last().map(|(id, _)| *id) else { return Ok(None) };
        let mut rows = Vec::new();
        for (id, bytes) in &page {
            let opened = Opened::open(self.brand, *id, bytes, &*self.key)?;
            let subject = record::subject_of(&opened.secret()?);
            let counts = members.subjects.binary_search(&subject).is_ok();
            if !counts {
                continue;
            }
            if let Some(as_of) = as_of
                && opened.revision()? > as_of.number
            {
                continue;
            }
            let mut values = BTreeMap::new();
            for attribute in attributes {
                if let Some(value) = opened.text(Field::Attribute(*attribute))? {
                    values.insert(*attribute, value);
                }
            }
            rows.push(AttributesRow { member: *id, subject, values });
        }
        Ok(Some(AttributesPage { rows, last }))
    }

    /// The revision of what a batch writes: one more than before, entered with it. To be called under the
    /// lock of writing.
    pub(super) fn next_revision(&self, batch: &mut Batch) -> Result<Revision, VaultError> {
        if let Some(revision) = batch.revision {
            return Ok(revision);
        }
        let before = Revision::of(&*self.store)?;
        let mut token = [0; 16];
        self.random.fill(&mut token).map_err(|_| KeyError::Random)?;
        let revision = Revision { number: before.number.saturating_add(1), token };
        batch.put(REVISION, ATTRIBUTES, revision.to_bytes().to_vec());
        batch.revision = Some(revision);
        Ok(revision)
    }
}

impl Opened {
    /// The number of the last change of what is known of the member; 0 in what versions wrote that did not count.
    fn revision(&self) -> Result<u64, VaultError> {
        let Some(bytes) = self.field(Field::Revision)? else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(bytes.as_slice());
        bytes.map(u64::from_be_bytes).map_err(|_| damaged("revision of a member"))
    }
}
