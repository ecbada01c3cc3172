//! Correction of what is known of a member (PIPL art. 46), and whose consents need a guardian.

use std::collections::BTreeMap;

use jiff::civil::Date;
use protocol::time::Timestamp;

use super::record::Field;
use super::{
    ATTRIBUTE_MAX, Attribute, Batch, Consent, MEMBERS, MemberId, Vault, VaultError, day_in_china,
    is_child,
};

/// Why something was not corrected.
#[derive(Debug, thiserror::Error)]
pub enum CorrectionError {
    /// Too long.
    #[error("{}: at most {ATTRIBUTE_MAX} bytes", .0.column())]
    TooLong(Attribute),
    /// Not a date.
    #[error("{}: a date is written YYYY-MM-DD, as 2012-06-01", .0.column())]
    NotADate(Attribute),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Whether a birth date as it is stored is a child's on the day of `at`. One that cannot be read, as imports of earlier
/// versions let in (`2015/3/1`), may be: then a guardian decides until it is corrected. Who has none is taken for an adult.
pub(super) fn is_childs(born: Option<&str>, at: Timestamp) -> bool {
    born.is_some_and(|born| match born.parse::<Date>() {
        Ok(born) => is_child(born, day_in_china(at)),
        Err(_) => true,
    })
}

/// Whether a text is a birth date as it is kept: a day that is not after that of `at`.
#[must_use]
pub fn is_birth_date(text: &str, at: Timestamp) -> bool {
    text.parse::<Date>().is_ok_and(|born| born <= day_in_china(at))
}

impl Vault {
    /// Month and day of a member's birth date, none when it is not known or is no date: of the year nobody who asks for
    /// a birthday learns.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn birthday(&self, id: MemberId) -> Result<Option<(u8, u8)>, VaultError> {
        let born = self.open(id)?.text(Field::Attribute(Attribute::BirthDate))?;
        let born = born.and_then(|born| born.parse::<Date>().ok());
        let small = |number: i8| u8::try_from(number).ok();
        Ok(born.and_then(|born| Some((small(born.month())?, small(born.day())?))))
    }

    /// Sets attributes of a member, removes those without a value, and gives what they were before. A
    /// birth date that makes the member a child withdraws every consent that no guardian gave.
    ///
    /// # Errors
    /// When a value is too long or no date, there is no such member, or the store or the key fails;
    /// nothing has then changed.
    pub fn correct(
        &self,
        id: MemberId,
        values: &BTreeMap<Attribute, Option<String>>,
        at: Timestamp,
    ) -> Result<BTreeMap<Attribute, Option<zeroize::Zeroizing<String>>>, CorrectionError> {
        for (attribute, value) in values {
            let Some(value) = value else { continue };
            if value.len() > ATTRIBUTE_MAX {
                return Err(CorrectionError::TooLong(*attribute));
            }
            let date = matches!(attribute, Attribute::BirthDate | Attribute::FirstPurchase);
            if date && value.parse::<Date>().is_err() {
                return Err(CorrectionError::NotADate(*attribute));
            }
        }
        let _writing = self.lock();
        let mut opened = self.open(id)?;
        let mut before = BTreeMap::new();
        for (attribute, value) in values {
            let field = Field::Attribute(*attribute);
            before.insert(*attribute, opened.text(field)?);
            match value {
                Some(value) => opened.replace(field, value.as_bytes(), &*self.random)?,
                None => opened.remove(field),
            }
        }
        let born = values.get(&Attribute::BirthDate).and_then(Option::as_deref);
        if is_childs(born, at) {
            let mut history = opened.consents()?;
            for decision in history.without_guardian() {
                if !history.push(Consent { granted: false, at, ..decision }) {
                    return Err(VaultError::TooManyDecisions.into());
                }
            }
            let bytes = protocol::codec::encode(&history);
            opened.replace(Field::Consents, &bytes, &*self.random)?;
        }
        let mut batch = Batch::default();
        let revision = self.next_revision(&mut batch)?;
        opened.replace(Field::Revision, &revision.stamp(), &*self.random)?;
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        self.remembered.forget(id);
        Ok(before)
    }
}
