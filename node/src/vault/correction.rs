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

/// Whether a birth date as it is stored is a child's on the day of `at`. What is no date says nothing.
pub(super) fn is_childs(born: Option<&str>, at: Timestamp) -> bool {
    let born = born.and_then(|born| born.parse::<Date>().ok());
    born.is_some_and(|born| is_child(born, day_in_china(at)))
}

impl Vault {
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
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        self.remembered.forget(id);
        Ok(before)
    }
}
