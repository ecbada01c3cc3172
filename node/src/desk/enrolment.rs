//! Enrolment at the counter: a person becomes a member with a card, or with a phone number or account alone.
//!
//! Whoever was sold to by the phone number or account before is the same member from then on, by the vault's rules. To
//! enrol the same person again changes nothing but what is missing, so that a request may be repeated.

use std::collections::BTreeMap;

use jiff::civil::Date;
use protocol::time::Timestamp;

use super::operations::{Deed, Note};
use super::{Desk, DeskError};
use crate::vault::{
    Attribute, CardNumber, Consent, CorrectionError, Enrolment, Identifier, IdentifierKind,
    MemberId, NewMember, Sighting, VaultError, day_in_china, is_child, masked,
};

/// A person who is to be a member.
#[derive(Clone, Default)]
pub struct Newcomer {
    /// The card that the person was given, if one was.
    pub card: Option<CardNumber>,
    /// By what else the person is known.
    pub identifiers: Vec<Identifier>,
    /// What the person says of itself.
    pub attributes: BTreeMap<Attribute, String>,
    /// What the person decided.
    pub consents: Vec<Consent>,
}

impl std::fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Newcomer(..)")
    }
}

/// What became of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The member.
    pub member: MemberId,
    /// Whether nobody was before; else the member was known, and what had been decided before stands.
    pub is_new: bool,
    /// Whom the identifiers led to; none where there were none.
    pub sighting: Option<Sighting>,
}

impl Newcomer {
    /// Whether a child would consent without a guardian.
    fn check(&self, at: Timestamp) -> Result<(), DeskError> {
        for attribute in [Attribute::BirthDate, Attribute::FirstPurchase] {
            let Some(text) = self.attributes.get(&attribute) else { continue };
            let date: Date = text.parse().map_err(|_| CorrectionError::NotADate(attribute))?;
            let child = attribute == Attribute::BirthDate && is_child(date, day_in_china(at));
            if child && self.consents.iter().any(|it| it.granted && it.guardian.is_none()) {
                return Err(VaultError::GuardianNeeded.into());
            }
        }
        Ok(())
    }
}

impl Desk {
    /// Enrols a person; gives the member who has the card, or to whom the identifiers lead, if there is one.
    ///
    /// # Errors
    /// When a child would consent without a guardian, an attribute is none, the card is another's, or the store or a
    /// key fails.
    pub fn enrol(
        &self,
        by: &str,
        newcomer: &Newcomer,
        at: Timestamp,
    ) -> Result<Enrolled, DeskError> {
        newcomer.check(at)?;
        let card = newcomer.card.as_ref().map(|card| masked(card.expose()));
        let granted = newcomer.consents.iter().filter(|it| it.granted && it.receiver.is_none());
        let granted: Vec<&str> = granted.map(|it| it.purpose.name()).collect();
        let what = format!("a person to be a member, who agrees to [{}]", granted.join(", "));
        self.note(Note::new(by, Deed::Enrol, what).changed(None, card), at)?;
        let enrolled = match &newcomer.card {
            Some(card) => self.enrol_card(by, card, newcomer, at)?,
            None => self.enrol_by_identifiers(by, newcomer, at)?,
        };
        if let Some(sighting) = &enrolled.sighting {
            self.note_merges(by, sighting, at)?;
        }
        let what = if enrolled.is_new { "enrolled" } else { "was a member already" };
        self.note(Note::new(by, Deed::Enrol, what).about(enrolled.member), at)?;
        Ok(enrolled)
    }

    fn enrol_card(
        &self,
        by: &str,
        card: &CardNumber,
        newcomer: &Newcomer,
        at: Timestamp,
    ) -> Result<Enrolled, DeskError> {
        let attributes = newcomer.attributes.clone();
        let person = NewMember { card: card.clone(), match_key: None, attributes };
        let outcomes = self.vault.enrol(std::slice::from_ref(&person), &newcomer.consents)?;
        let (member, is_new) = match outcomes.first() {
            Some(Enrolment::Created(id) | Enrolment::WithoutGuardian(id)) => (*id, true),
            Some(Enrolment::Known(id)) => (*id, false),
            Some(Enrolment::TooLong(attribute)) => {
                return Err(CorrectionError::TooLong(*attribute).into());
            }
            _ => return Err(DeskError::Taken),
        };
        if !is_new {
            self.complete(by, member, newcomer, at)?;
        }
        if newcomer.identifiers.is_empty() {
            return Ok(Enrolled { member, is_new, sighting: None });
        }
        let number = Identifier::parse(IdentifierKind::Card, card.expose());
        let mut seen = vec![number.map_err(|_| DeskError::Taken)?];
        seen.extend_from_slice(&newcomer.identifiers);
        let sighting = Some(self.vault.sight_card(&seen, at)?);
        Ok(Enrolled { member, is_new, sighting })
    }

    fn enrol_by_identifiers(
        &self,
        by: &str,
        newcomer: &Newcomer,
        at: Timestamp,
    ) -> Result<Enrolled, DeskError> {
        let sighting = self.vault.sight(&newcomer.identifiers, &newcomer.consents, false, at)?;
        self.complete(by, sighting.member, newcomer, at)?;
        let (member, is_new) = (sighting.member, sighting.is_new);
        Ok(Enrolled { member, is_new, sighting: Some(sighting) })
    }

    /// Enters what was never decided and never said of a member: whoever was sold to before and was asked nothing decides
    /// now. What is there stays.
    fn complete(
        &self,
        by: &str,
        member: MemberId,
        newcomer: &Newcomer,
        at: Timestamp,
    ) -> Result<(), DeskError> {
        let history = self.vault.consents(member)?;
        let missing = newcomer.consents.iter().filter(|it| match it.receiver {
            Some(receiver) => history.in_force_to(it.purpose, receiver).is_none(),
            None => history.in_force(it.purpose).is_none(),
        });
        for consent in missing {
            self.decide(by, member, *consent)?;
        }
        let profile = self.vault.profile(member)?;
        let missing: BTreeMap<Attribute, Option<String>> = newcomer
            .attributes
            .iter()
            .filter(|(attribute, _)| !profile.attributes.contains_key(*attribute))
            .map(|(attribute, value)| (*attribute, Some(value.clone())))
            .collect();
        if !missing.is_empty() {
            self.correct(by, member, &missing, at)?;
        }
        Ok(())
    }
}
