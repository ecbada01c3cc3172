//! What is left of the erased, so that a list of the past does not make them members again: keyed hashes of the cards,
//! keys, telephone numbers and accounts they were known by, under a key that is destroyed when its time is over.
//!
//! Knows: one key for all who were erased within the same thirty days, wrapped by the brand's key as every other; a hash
//! is of the hash by which the identifier was found, so that without both keys nobody can tell whose it is, or try
//! numbers. Nothing else of the member is in it, not the number it had. Does not know how long it is kept, nor who may
//! become a member again: whoever stands at the counter, or opens the app, does.

use protocol::time::Timestamp;
use ring::hmac;

use super::identifier::{Identifier, IdentifierKind, Strength};
use super::identity::Held;
use super::keys::{DataKey, digest};
use super::{BRAND_KEYS, Batch, Vault, VaultError, damaged, file_key_place};
use crate::store::Keyspace;

/// Hashes by the period of the erasure; no values.
const TOMBSTONES: Keyspace = "vault_tombstone";
/// What the name of a period's key begins with, before the period's number.
const KEY_NAME: &[u8] = b"tombstones ";
/// Erasures within one period share a key, and are forgotten together.
const PERIOD_MS: u64 = 30 * 24 * 3600 * 1000;
/// Most periods whose keys are there: five years.
const PERIODS_MAX: usize = 61;
/// Hashes deleted in one transaction.
const PAGE: usize = 512;

/// Whose erasures are still known, at one moment.
pub struct Tombstones {
    periods: Vec<(u64, hmac::Key)>,
}

impl Tombstones {
    /// Whether there is none, as where nobody was erased.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.periods.is_empty()
    }
}

const fn period_of(at: Timestamp) -> u64 {
    at.unix_ms() / PERIOD_MS
}

/// Whether the whole period lies before a moment.
const fn is_before(period: u64, moment: Timestamp) -> bool {
    period < period_of(moment)
}

fn key_name(period: u64) -> Vec<u8> {
    [KEY_NAME, &period.to_be_bytes()].concat()
}

fn period_in(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

fn entry(period: u64, key: &hmac::Key, kind: IdentifierKind, hash: &[u8; 32]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(kind.name().as_bytes());
    // no name contains a zero byte
    context.update(&[0]);
    context.update(hash);
    [period.to_be_bytes().as_slice(), &digest(context.sign())].concat()
}

impl Vault {
    /// The key of those who are erased at a moment, made within the transaction of the first of them.
    pub(super) fn tombstone_key(
        &self,
        at: Timestamp,
        batch: &mut Batch,
    ) -> Result<hmac::Key, VaultError> {
        let name = key_name(period_of(at));
        let place = file_key_place(self.brand, &name);
        let key = match self.store.get(BRAND_KEYS, &name)? {
            Some(wrapped) => self.key.unwrap(&wrapped, &place)?,
            None => {
                let key = DataKey::generate(&*self.random)?;
                batch.put(BRAND_KEYS, &name, self.key.wrap(&key, &place, &*self.random)?);
                key
            }
        };
        Ok(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// Adds to an erasure's transaction what is left of somebody who had these identifiers: of those that one person
    /// has at a time. What families and machines share says nothing of who comes.
    pub(super) fn bury(&self, held: &[Held], at: Timestamp, key: &hmac::Key, batch: &mut Batch) {
        for held in held.iter().filter(|held| held.kind.strength() >= Strength::Phone) {
            batch.put(TOMBSTONES, &entry(period_of(at), key, held.kind, &held.hash), Vec::new());
        }
    }

    /// Whose erasures are known now; for many questions of [`Self::is_erased`].
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn tombstones(&self) -> Result<Tombstones, VaultError> {
        let stored = self.store.scan_prefix(BRAND_KEYS, KEY_NAME, None, PERIODS_MAX)?;
        let mut periods = Vec::with_capacity(stored.len());
        for (name, wrapped) in stored {
            let period = name.get(KEY_NAME.len()..).and_then(period_in);
            let period = period.ok_or(damaged("key of the erased"))?;
            let key = self.key.unwrap(&wrapped, &file_key_place(self.brand, &name))?;
            periods.push((period, hmac::Key::new(hmac::HMAC_SHA256, key.expose())));
        }
        Ok(Tombstones { periods })
    }

    /// Whether somebody who was erased was known by one of these.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn is_erased(
        &self,
        tombstones: &Tombstones,
        identifiers: &[Identifier],
    ) -> Result<bool, VaultError> {
        if tombstones.is_empty() {
            return Ok(false);
        }
        let mut keys = Vec::new();
        for identifier in identifiers.iter().filter(|it| it.kind().strength() >= Strength::Phone) {
            let (kind, hash) = (identifier.kind(), self.hash(identifier)?);
            let of = |(period, key): &(u64, hmac::Key)| entry(*period, key, kind, &hash);
            keys.extend(tombstones.periods.iter().map(of));
        }
        Ok(self.store.get_many(TOMBSTONES, &keys)?.iter().any(Option::is_some))
    }

    /// Forgets those of whom nothing may be left any more: destroys the keys of all periods that lie before a moment
    /// whole, and then what was under them. Says how many keys were destroyed.
    ///
    /// # Errors
    /// When the store fails; what was not deleted is at the next time.
    pub fn forget_tombstones(&self, erased_before: Timestamp) -> Result<u64, VaultError> {
        let _writing = self.lock();
        let mut batch = Batch::default();
        let mut destroyed = 0;
        for (name, _) in self.store.scan_prefix(BRAND_KEYS, KEY_NAME, None, PERIODS_MAX)? {
            let period = name.get(KEY_NAME.len()..).and_then(period_in);
            if is_before(period.ok_or(damaged("key of the erased"))?, erased_before) {
                batch.delete(BRAND_KEYS, &name);
                destroyed += 1;
            }
        }
        self.store.transaction(&batch.writes)?;
        loop {
            // the oldest come first
            let page = self.store.scan_prefix(TOMBSTONES, &[], None, PAGE)?;
            let mut batch = Batch::default();
            for (key, _) in &page {
                if is_before(period_in(key).ok_or(damaged("hash of the erased"))?, erased_before) {
                    batch.delete(TOMBSTONES, key);
                }
            }
            let is_last = batch.writes.len() < PAGE;
            self.store.transaction(&batch.writes)?;
            if is_last {
                return Ok(destroyed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use protocol::ids::BrandId;
    use ring::rand::SystemRandom;

    use super::*;
    use crate::store::{MemoryStore, Store};
    use crate::vault::{
        CardNumber, Enrolment, HeldBrandKey, KEY_BYTES, MatchKey, MemberId, NewMember, sample_rule,
    };

    const DAY: u64 = 24 * 3600 * 1000;

    fn day(days: u64) -> Timestamp {
        Timestamp::from_unix_ms(days * DAY)
    }

    fn vault(store: &Arc<MemoryStore>) -> Vault {
        let key = HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]);
        let store: Arc<dyn Store> = store.clone();
        let brand = BrandId::new("grocer").unwrap();
        Vault::new(brand, store, Arc::new(key), Arc::new(SystemRandom::new()))
    }

    fn identifier(kind: IdentifierKind, text: &str) -> Identifier {
        Identifier::parse(kind, text).unwrap()
    }

    fn enrol(vault: &Vault, card: &str) -> MemberId {
        let match_key = Some(MatchKey::new(&format!("match-key-{card}")).unwrap());
        let card = CardNumber::new(card).unwrap();
        let person = NewMember { card, match_key, attributes: BTreeMap::new() };
        let enrolled = vault.enrol(&[person], &sample_rule(day(1))).unwrap();
        let [Enrolment::Created(id)] = enrolled[..] else { panic!("{enrolled:?}") };
        id
    }

    fn is_erased(vault: &Vault, kind: IdentifierKind, text: &str) -> bool {
        let tombstones = vault.tombstones().unwrap();
        vault.is_erased(&tombstones, &[identifier(kind, text)]).unwrap()
    }

    #[test]
    fn whoever_was_erased_is_known_as_such_by_what_is_one_persons_until_the_key_is_destroyed() {
        use IdentifierKind::{Card, Email, MatchKey, Phone};
        let store = Arc::new(MemoryStore::new());
        let vault = vault(&store);
        let (one, other) = (enrol(&vault, "C-1"), enrol(&vault, "C-2"));
        let phone = identifier(Phone, "13812345678");
        vault.add_identifier(one, &phone, day(2)).unwrap();
        vault.add_identifier(one, &identifier(Email, "li@example.com"), day(2)).unwrap();
        assert!(vault.tombstones().unwrap().is_empty());
        assert!(!is_erased(&vault, Card, "C-1"));

        vault.erase(one, day(1_000)).unwrap();
        for (kind, text, is_theirs) in [
            (Card, "C-1", true),
            (MatchKey, "match-key-C-1", true),
            (Phone, "13812345678", true),
            // a family's
            (Email, "li@example.com", false),
            (Card, "C-2", false),
            (Phone, "13812345679", false),
        ] {
            assert_eq!(is_erased(&vault, kind, text), is_theirs, "{kind} {text}");
        }
        // nothing by which the brand's key alone would find it
        let hash = vault.hash(&phone).unwrap();
        let kept = store.scan_prefix(TOMBSTONES, &[], None, 10).unwrap();
        assert_eq!(kept.len(), 3);
        assert!(kept.iter().all(|(key, value)| value.is_empty() && !key.ends_with(&hash)));
        // whoever comes back in person is a member
        let again = enrol(&vault, "C-1");
        vault.add_identifier(again, &phone, day(1_001)).unwrap();

        // another one, months later: the first is forgotten before, with the key
        vault.erase(other, day(1_100)).unwrap();
        assert_eq!(vault.tombstones().unwrap().periods.len(), 2);
        assert_eq!(vault.forget_tombstones(day(1_000)).unwrap(), 0, "its period goes on");
        assert_eq!(vault.forget_tombstones(day(1_030)).unwrap(), 1);
        assert!(!is_erased(&vault, Phone, "13812345678") && is_erased(&vault, Card, "C-2"));
        assert_eq!(store.scan_prefix(TOMBSTONES, &[], None, 10).unwrap().len(), 2);
        assert_eq!(vault.forget_tombstones(day(2_000)).unwrap(), 1);
        assert!(vault.tombstones().unwrap().is_empty());
        assert!(store.scan_prefix(TOMBSTONES, &[], None, 10).unwrap().is_empty());
    }
}
