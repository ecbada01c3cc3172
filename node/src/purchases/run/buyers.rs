//! Who bought: whose a row's card, phone number or account is.
//!
//! Remembers what it has asked the vault for, as long as nobody is merged.

use super::{CARDS_MAX, Member, Run};
use crate::purchases::import::ImportError;
use crate::vault::{CardNumber, Identifier, IdentifierKind, MemberId, VaultError};

impl Run<'_> {
    /// The holder of a card.
    pub(super) fn member(&mut self, card: &CardNumber) -> Result<Option<Member>, ImportError> {
        if let Some(known) = self.cards.get(card.expose()) {
            return Ok(known.clone());
        }
        let found = match self.vault.by_card(card)? {
            Some(id) => self.standing(id)?,
            None => None,
        };
        if self.cards.len() >= CARDS_MAX {
            self.cards.clear();
        }
        self.cards.insert(card.expose().to_owned(), found.clone());
        Ok(found)
    }

    /// A member with the numbers in facts; none when erased a moment ago.
    fn standing(&self, id: MemberId) -> Result<Option<Member>, ImportError> {
        match self.vault.subjects(id) {
            Err(VaultError::UnknownMember) => Ok(None),
            subjects => {
                let mut subjects = subjects?.into_iter().map(|subject| subject.get());
                let own = subjects.next();
                Ok(own.map(|subject| Member { id, subject, merged: subjects.collect() }))
            }
        }
    }

    /// Whose identifiers these are by the vault's rules; where they are nobody's, a new member's. With a card it is
    /// the card's member, to whom the rest is told; a card that nobody has is a mistake before it is anybody new.
    pub(super) fn sighted(
        &mut self,
        card: Option<&CardNumber>,
        identifiers: &[Identifier],
    ) -> Result<Option<Member>, ImportError> {
        let mut seen = Vec::with_capacity(identifiers.len() + 1);
        if let Some(card) = card {
            if self.member(card)?.is_none() {
                return Ok(None);
            }
            let card = Identifier::parse(IdentifierKind::Card, card.expose());
            seen.push(card.map_err(|_| ImportError::Damaged { what: "card" })?);
        }
        seen.extend_from_slice(identifiers);
        let key: String =
            seen.iter().map(|it| format!("{}\0{}\0", it.kind(), it.expose())).collect();
        if let Some(known) = self.sighted.get(&key) {
            return Ok(known.clone());
        }
        let id = match self.vault.holder_of_all(&seen)? {
            Some(id) => Some(id),
            // nobody who was erased is made anybody new by what was bought before, also with a card that the run knew
            None if self.was_erased(&seen)? => None,
            None if card.is_some() => Some(self.sight(&seen, true)?),
            // read once more: whoever is nobody by now was a member then, and was erased
            None if self.import.again.is_some() && self.vault.whose(&seen)?.is_none() => None,
            None => Some(self.sight(&seen, false)?),
        };
        let found = match id {
            Some(id) => self.standing(id)?,
            None => None,
        };
        if self.sighted.len() >= CARDS_MAX {
            self.sighted.clear();
            self.tombstones = None;
        }
        self.sighted.insert(key, found.clone());
        Ok(found)
    }

    /// Whether these are nobody's by now, and were somebody's who was erased.
    fn was_erased(&mut self, seen: &[Identifier]) -> Result<bool, ImportError> {
        let tombstones = match self.tombstones.take() {
            Some(tombstones) => tombstones,
            None => self.vault.tombstones()?,
        };
        let tombstones = self.tombstones.insert(tombstones);
        Ok(!tombstones.is_empty()
            && self.vault.whose(seen)?.is_none()
            && self.vault.is_erased(tombstones, seen)?)
    }

    /// Tells the vault what was seen together.
    fn sight(&mut self, seen: &[Identifier], with_card: bool) -> Result<MemberId, ImportError> {
        let sighting = if with_card {
            self.vault.sight_card(seen, self.seen_on)?
        } else {
            self.vault.sight(seen, &[], false, self.seen_on)?
        };
        self.import.report.sightings.get_or_insert_default().take(&sighting);
        if !sighting.absorbed.is_empty() {
            // whom they lead to, and which numbers a member has, is otherwise now
            self.forget_buyers();
        }
        Ok(sighting.member)
    }

    /// Forgets what the vault has said.
    pub(super) fn forget_buyers(&mut self) {
        self.cards.clear();
        self.sighted.clear();
        self.tombstones = None;
        self.last_keys = None;
    }
}
