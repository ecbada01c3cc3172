//! What an exchange asks of a member, remembered: whether the member agreed, and to whom links lead.
//!
//! The store keeps members sealed, so that one answer costs reads and decryptions; an exchange asks
//! three of them and there may be a hundred thousand a second. What was once read is remembered until
//! the vault writes anything about that member. Holds consent and handles of members in memory, found
//! by keyed hash as in the store; no name, no card number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::{BrandId, MemberHandle};

use super::links::LinkState;
use super::{BlindIndex, CardNumber, MemberId, Purpose, Vault, VaultError, record};

/// Members remembered at most; then all are forgotten and read again as they are asked for.
const REMEMBERED_MAX: usize = 1 << 20;

/// What an exchange asks of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The member.
    pub member: MemberId,
    /// Whether exchanging points with other brands is consented to.
    pub may_exchange: bool,
    // brands that were named in a consent of their own
    receivers: Vec<BrandId>,
    outgoing: Vec<(BrandId, LinkState, MemberHandle)>,
}

impl Standing {
    /// Whether giving data to a brand, as an exchange with it does, is consented to by name.
    #[must_use]
    pub fn may_send_to(&self, receiver: BrandId) -> bool {
        self.receivers.contains(&receiver)
    }

    /// How far the link to a brand has come, and by which handle that brand knows the member.
    #[must_use]
    pub fn outgoing(&self, counterparty: BrandId) -> Option<(LinkState, MemberHandle)> {
        let found = self.outgoing.iter().find(|(brand, ..)| *brand == counterparty);
        found.map(|(_, state, handle)| (*state, *handle))
    }
}

#[derive(Default)]
pub(super) struct Remembered {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    // grows with whatever is forgotten: what was read before is not remembered after
    generation: u64,
    cards: HashMap<[u8; 32], MemberId>,
    handles: HashMap<(BrandId, MemberHandle), MemberId>,
    members: HashMap<MemberId, Arc<Standing>>,
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // it holds copies only: whatever a panic left there is as good as what is read again
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a member's consent and links.
    pub(super) fn forget(&self, member: MemberId) {
        let mut known = self.lock();
        known.generation += 1;
        known.members.remove(&member);
    }

    /// Forgets who is found by what.
    pub(super) fn forget_all(&self) {
        let mut known = self.lock();
        let generation = known.generation + 1;
        *known = Known { generation, ..Known::default() };
    }

    fn remember(&self, generation: u64, note: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        if known.generation != generation {
            return;
        }
        if known.members.len().max(known.cards.len()).max(known.handles.len()) >= REMEMBERED_MAX {
            *known = Known { generation, ..Known::default() };
        }
        note(&mut known);
    }
}

impl Vault {
    /// The holder of a card, as an exchange needs to know.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn standing_by_card(&self, card: &CardNumber) -> Result<Option<Arc<Standing>>, VaultError> {
        let hash = self.key.blind(BlindIndex::Card, card.expose().as_bytes())?;
        let (found, generation) = {
            let known = self.remembered.lock();
            (known.cards.get(&hash).copied(), known.generation)
        };
        let member = match found {
            Some(member) => member,
            None => {
                let Some(member) = self.by_card(card)? else { return Ok(None) };
                self.remembered.remember(generation, |known| {
                    known.cards.insert(hash, member);
                });
                member
            }
        };
        self.standing(member).map(Some)
    }

    /// The member for whom a handle of another brand stands, as an exchange needs to know.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn standing_by_handle(
        &self,
        counterparty: BrandId,
        handle: MemberHandle,
    ) -> Result<Option<Arc<Standing>>, VaultError> {
        let (found, generation) = {
            let known = self.remembered.lock();
            (known.handles.get(&(counterparty, handle)).copied(), known.generation)
        };
        let member = match found {
            Some(member) => member,
            None => {
                let Some(member) = self.incoming(counterparty, handle)? else { return Ok(None) };
                self.remembered.remember(generation, |known| {
                    known.handles.insert((counterparty, handle), member);
                });
                member
            }
        };
        self.standing(member).map(Some)
    }

    /// What an exchange asks of a member.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn standing(&self, member: MemberId) -> Result<Arc<Standing>, VaultError> {
        let generation = {
            let known = self.remembered.lock();
            if let Some(standing) = known.members.get(&member) {
                return Ok(Arc::clone(standing));
            }
            known.generation
        };
        let opened = self.open(member)?;
        let secret = opened.secret()?;
        let links = self.links(member)?.outgoing.into_iter();
        let consents = opened.consents()?;
        let standing = Arc::new(Standing {
            member,
            may_exchange: consents.allows(Purpose::Exchange),
            receivers: consents.receivers(Purpose::Exchange),
            outgoing: links
                .map(|(brand, state)| (brand, state, record::handle_of(&secret, brand)))
                .collect(),
        });
        self.remembered.remember(generation, |known| {
            known.members.insert(member, Arc::clone(&standing));
        });
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use protocol::time::{Milliseconds, Timestamp};
    use ring::rand::SystemRandom;

    use super::*;
    use crate::store::MemoryStore;
    use crate::vault::{Consent, Enrolment, HeldBrandKey, NewMember, sample_rule};

    fn vault(name: &str) -> (Vault, MemberId, CardNumber) {
        let key = HeldBrandKey::from_bytes(&mut [7; 32]);
        let random = Arc::new(SystemRandom::new());
        let brand = BrandId::new(name).unwrap();
        let vault = Vault::new(brand, Arc::new(MemoryStore::new()), Arc::new(key), random);
        let card = CardNumber::new("CARD-1").unwrap();
        let person = NewMember { card: card.clone(), match_key: None, attributes: [].into() };
        let at = Timestamp::from_unix_ms(1);
        let enrolled = vault.enrol(&[person], &sample_rule(at)).unwrap();
        let [Enrolment::Created(member)] = enrolled[..] else { panic!() };
        (vault, member, card)
    }

    /// Whatever the vault writes about a member, the next question sees it.
    #[test]
    fn what_is_remembered_is_what_the_store_says() {
        let now = Timestamp::from_unix_ms(10);
        let (a, member, card) = vault("a");
        let (b, at_b, _) = vault("b");
        let to = b.brand();
        let seen = || a.standing_by_card(&card).unwrap().unwrap();
        assert!(seen().may_exchange && seen().outgoing(to).is_none());

        let handle = a.request_link(member, to, now).unwrap();
        assert_eq!(seen().outgoing(to), Some((LinkState::Requested, handle)));
        a.confirm_link(member, to, now).unwrap();
        assert_eq!(seen().outgoing(to), Some((LinkState::Accepted, handle)));

        let by_handle = || b.standing_by_handle(a.brand(), handle).unwrap();
        assert_eq!(by_handle(), None);
        let code = b.issue_link_code(at_b, a.brand(), now, Milliseconds::new(1000)).unwrap();
        b.accept_link(&code, a.brand(), handle, now).unwrap();
        assert_eq!(by_handle().map(|standing| standing.member), Some(at_b));
        b.drop_incoming(a.brand(), handle).unwrap();
        assert_eq!(by_handle(), None);

        assert!(!seen().may_send_to(to));
        a.decide(member, crate::vault::sample_rule_to(to, now)).unwrap();
        assert!(seen().may_send_to(to));
        let withdrawn = Consent::new(Purpose::Exchange, false, 1, now);
        a.decide(member, withdrawn).unwrap();
        assert!(!seen().may_exchange && !seen().may_send_to(to));
        a.erase(member, now).unwrap();
        assert_eq!(a.standing_by_card(&card).unwrap(), None);
    }
}
