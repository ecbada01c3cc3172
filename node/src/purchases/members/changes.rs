//! What a list says of members beside their enrolment: by what else they are known, and what has changed.
//!
//! Whatever is told by what else a member is known goes to the vault, whose rules say whose it is. What differs of a
//! member who is known is taken over where the mapping says `update = true`, and else nothing is: attributes that the
//! row has, decisions, a new card of whoever is known by the match key. A withdrawal counts whoever said last that
//! there is consent; a consent does not count against a withdrawal, for nothing in a list says which of the two is
//! the later word.

use std::collections::BTreeMap;

use super::{Intake, Listed};
use crate::purchases::clean::{Adjustment, DropReason, Issue};
use crate::purchases::columns::CellProblem;
use crate::purchases::import::ImportError;
use crate::vault::{
    Attribute, CardNumber, Consent, CorrectionError, Identifier, IdentifierError, IdentifierKind,
    MemberId, NewMember, Strength, Tombstones, VaultError,
};

/// A card as an identifier among others.
fn as_identifier(card: &CardNumber) -> Result<Identifier, ImportError> {
    let card = Identifier::parse(IdentifierKind::Card, card.expose());
    card.map_err(|_| ImportError::Damaged { what: "card" })
}

impl Intake<'_> {
    /// Tells the vault what else came with a card that is a member's.
    pub(super) fn sight(
        &mut self,
        card: &CardNumber,
        identifiers: Vec<Identifier>,
    ) -> Result<(), ImportError> {
        if identifiers.is_empty() {
            return Ok(());
        }
        let mut seen = vec![as_identifier(card)?];
        seen.extend(identifiers);
        if self.vault.holder_of_all(&seen)?.is_none() {
            let sighting = self.vault.sight_card(&seen, self.at)?;
            self.report.sightings.take(&sighting);
        }
        Ok(())
    }

    /// The rows but for those of people who were erased: a list is of the past, and nobody is made a member again by it
    /// (PIPL art. 47). Who is a member by one of the identifiers that are one person's came back in person, perhaps
    /// under another card.
    pub(super) fn without_erased(
        &mut self,
        tombstones: &Tombstones,
        people: Vec<(Listed, NewMember)>,
    ) -> Result<Vec<(Listed, NewMember)>, ImportError> {
        if tombstones.is_empty() {
            return Ok(people);
        }
        let mut left = Vec::with_capacity(people.len());
        for (listed, person) in people {
            let mut known_by = vec![as_identifier(&person.card)?];
            let key = person.match_key.as_ref();
            let key = key.map(|key| Identifier::parse(IdentifierKind::MatchKey, key.expose()));
            known_by.extend(key.and_then(Result::ok));
            known_by.extend(listed.identifiers.iter().cloned());
            if self.vault.is_erased(tombstones, &known_by)? && !self.is_known(&known_by)? {
                self.dropped.add(listed.place, Issue::row(DropReason::Erased));
            } else {
                left.push((listed, person));
            }
        }
        Ok(left)
    }

    /// Whether somebody is a member by one of these. What families and machines share says nothing of it, nor does a
    /// card that another's is near.
    fn is_known(&self, known_by: &[Identifier]) -> Result<bool, ImportError> {
        for identifier in known_by.iter().filter(|it| it.kind().strength() >= Strength::Phone) {
            if self.vault.by_identifier(identifier)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Enters a card that nobody has as a further one of whoever has the match key that came with it.
    pub(super) fn new_card(&mut self, person: &NewMember) -> Result<Option<MemberId>, ImportError> {
        let Some(key) = person.match_key.as_ref().filter(|_| self.mapping.update) else {
            return Ok(None);
        };
        if self.vault.by_card(&person.card)?.is_some() {
            return Ok(None);
        }
        let Some(id) = self.vault.by_match_key(key)? else { return Ok(None) };
        match self.vault.add_identifier(id, &as_identifier(&person.card)?, self.at) {
            Ok(()) => {
                self.report.new_cards += 1;
                Ok(Some(id))
            }
            Err(IdentifierError::Vault(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Takes over what a row says otherwise of a member who is known.
    pub(super) fn update(
        &mut self,
        id: MemberId,
        place: u64,
        person: &NewMember,
        consents: &[Consent],
    ) -> Result<(), ImportError> {
        if !self.mapping.update {
            return Ok(());
        }
        match self.correct(id, person) {
            Ok(()) => {}
            // erased a moment ago
            Err(CorrectionError::Vault(VaultError::UnknownMember)) => return Ok(()),
            Err(CorrectionError::Vault(error)) => return Err(error.into()),
            Err(CorrectionError::TooLong(attribute)) => {
                let issue = Issue::cell(attribute.column(), CellProblem::NotAnIdentifier);
                self.dropped.add(place, issue);
                return Ok(());
            }
            Err(CorrectionError::NotADate(attribute)) => {
                self.dropped.add(place, Issue::cell(attribute.column(), CellProblem::NotADate));
                return Ok(());
            }
        }
        self.decide(id, consents)
    }

    /// Sets the attributes that the row has and that are others; an empty cell removes nothing.
    fn correct(&mut self, id: MemberId, person: &NewMember) -> Result<(), CorrectionError> {
        let profile = self.vault.profile(id)?;
        let mut changed: BTreeMap<Attribute, Option<String>> = BTreeMap::new();
        for (attribute, value) in &person.attributes {
            let known = profile.attributes.get(attribute);
            if known.is_none_or(|known| known.as_str() != value.as_str()) {
                changed.insert(*attribute, Some(value.clone()));
            }
        }
        if !changed.is_empty() {
            self.vault.correct(id, &changed, self.at)?;
            self.report.updated += 1;
        }
        Ok(())
    }

    /// Enters the decisions that are others than those in force.
    fn decide(&mut self, id: MemberId, consents: &[Consent]) -> Result<(), ImportError> {
        let history = match self.vault.consents(id) {
            Err(VaultError::UnknownMember) => return Ok(()),
            history => history?,
        };
        for consent in consents {
            let whole = history.in_force(consent.purpose);
            let withdrawn = whole.is_some_and(|before| !before.granted);
            let before = match consent.receiver {
                Some(receiver) => history.in_force_to(consent.purpose, receiver),
                None => whole,
            };
            if consent.granted && withdrawn {
                if consent.receiver.is_none() {
                    self.told(Adjustment::StaysWithdrawn);
                }
                continue;
            }
            let is_news = match before {
                None => true,
                // to a later notice it is another consent
                Some(before) if consent.granted => {
                    before.granted && before.notice_version < consent.notice_version
                }
                Some(before) => before.granted,
            };
            if !is_news {
                continue;
            }
            match self.vault.decide(id, *consent) {
                Ok(()) => {
                    let counts = if consent.granted {
                        &mut self.report.consents_given
                    } else {
                        &mut self.report.consents_withdrawn
                    };
                    if consent.receiver.is_none() {
                        *counts.entry(consent.purpose).or_default() += 1;
                    }
                }
                Err(VaultError::GuardianNeeded | VaultError::TooManyDecisions) => {
                    self.told(Adjustment::ConsentNotTaken);
                }
                Err(VaultError::UnknownMember) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Counts something to tell.
    pub(super) fn told(&mut self, what: Adjustment) {
        *self.report.adjusted.entry(what).or_default() += 1;
    }
}
