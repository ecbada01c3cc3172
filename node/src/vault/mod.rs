//! The vault: who the members are, encrypted at rest, and what they allowed.
//!
//! Knows: members by opaque id; every field of a member sealed under the member's own data key,
//! that key wrapped by the brand's key; identifiers of thirteen kinds findable by keyed hash, and by
//! which rules they are one person's; consent by purpose and by receiving brand; pseudonyms made from
//! a per-member secret; links to accounts at other brands; legal holds. Does not know points,
//! purchases, the network or the clock, and logs nothing.
//!
//! Erasure destroys the wrapped data key in the store. What the store's backend keeps of an
//! overwritten record until it reuses the space (sled: its segments) still opens with the brand's
//! key of that time; rotating the brand's key destroys that. For a time it leaves by what an old list of
//! the erased is recognised ([`tombstone`]).

mod attributes;
mod brand_key;
mod consent;
mod correction;
mod hold;
mod identifier;
mod identity;
mod keys;
mod links;
mod mask;
mod member;
mod merge;
mod record;
mod resolution;
mod rewrap;
mod slip;
mod standing;
mod tombstone;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::{BrandId, MemberHandle};
use protocol::time::Timestamp;
use ring::rand::SecureRandom;

pub use attributes::{AttributesPage, AttributesRow, Revision};
pub use brand_key::HeldBrandKey;
pub use consent::{
    Agreed, Consent, ConsentCount, ConsentHistory, ConsentSource, DECIDES_FROM, DECISIONS_MAX,
    Guardian, Purpose, day_in_china, is_child, sample_rule, sample_rule_to,
};
pub use correction::{CorrectionError, is_birth_date};
pub use hold::{LegalHold, REASON_MAX};
pub use identifier::{Identifier, IdentifierKind, NotAnIdentifier, Strength, masked_value};
pub use identity::{HeldIdentifier, IDENTIFIERS_MAX, IdentifierError, Sighting};
pub use keys::{BlindIndex, BrandKey, DataKey, KEY_BYTES, KeyError};
pub use links::{InvalidLinkCode, LinkCode, LinkError, LinkState, Links};
pub use mask::masked;
pub use member::{
    ATTRIBUTE_MAX, Attribute, CardNumber, FactsSubject, InvalidIdentifier, MatchKey, MemberId,
    NewMember, Profile,
};
pub use merge::{Judged, Merge, MergeError, Pair, PairKey, Parted, Why};
pub use resolution::Reason;
pub use rewrap::Rewrapped;

use crate::store::{Keyspace, Store, StoreError, Write};
use record::{Field, Opened, Sealing};
use standing::Remembered;
pub use standing::Standing;
pub use tombstone::Tombstones;

/// Sealed records by member id.
const MEMBERS: &str = "vault_member";
/// Member ids by keyed hash of an identifier.
const IDENTIFIERS: &str = "vault_identifier";
/// Every number ever given to a member for facts. Kept after erasure: facts of the erased may
/// remain until compaction, and must not become another's.
const SUBJECTS: &str = "vault_subject";
/// When a member was erased, by id.
const ERASED: &str = "vault_erased";
/// Numbers in facts of members who were erased, until compaction has removed their rows.
const ERASED_SUBJECTS: &str = "vault_erased_subject";
/// Wrapped keys that belong to the brand and not to a member.
const BRAND_KEYS: &str = "vault_brand_key";

/// How many members one page of a scan reads.
const PAGE: usize = 512;

/// What is shared with the rest of the node as the source of randomness.
pub type Random = Arc<dyn SecureRandom + Send + Sync>;

/// Why the vault could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store failed.
    #[error("the vault's store failed")]
    Store(#[from] StoreError),
    /// A key could not be used.
    #[error("a key of the vault could not be used")]
    Key(#[from] KeyError),
    /// Nobody has this id, or its holder was erased.
    #[error("no such member; the member may have been erased")]
    UnknownMember,
    /// A record that this version did not write.
    #[error("a stored {what} cannot be read: the store is damaged or from another version")]
    Damaged {
        /// What kind.
        what: &'static str,
    },
    /// Consent decisions are capped.
    #[error("the member already has {DECISIONS_MAX} consent decisions, the most that are kept")]
    TooManyDecisions,
    /// There is nothing by which anyone could be known, or too much.
    #[error("1 to {IDENTIFIERS_MAX} identifiers are possible at a time")]
    NoIdentifier,
    /// A child's consent without a guardian's.
    #[error(
        "the member is under {DECIDES_FROM}: a parent or guardian must give this consent (PIPL art. 31)"
    )]
    GuardianNeeded,
    /// What must be kept.
    #[error("the member is under a legal hold: nothing is erased until it is lifted")]
    OnHold,
    /// A text beyond its limit.
    #[error("a {what} has at most {most} bytes")]
    TooLong {
        /// What.
        what: &'static str,
        /// How many bytes it may have.
        most: usize,
    },
}

impl VaultError {
    /// Whether it was not the question: store or key service are away, and nothing may be concluded about a member
    /// from what they did not say.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Key(KeyError::Service(_)))
    }
}

/// What became of one enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// A new member.
    Created(MemberId),
    /// A new member, who is a child: the consents that were given and no guardian gave were left out (PIPL art. 31).
    WithoutGuardian(MemberId),
    /// The card was known already; nothing was changed.
    Known(MemberId),
    /// The match key belongs to the holder of another card, or the card to another match key.
    Conflict,
    /// An attribute is longer than [`ATTRIBUTE_MAX`].
    TooLong(Attribute),
}

/// Members who allow one purpose, as the vault knew at one moment. Only the vault makes one.
pub struct Consenting {
    purpose: Purpose,
    subjects: Vec<FactsSubject>,
    aliases: Vec<(FactsSubject, FactsSubject)>,
}

impl Consenting {
    /// What they allow.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }
    /// Their numbers in facts, ascending.
    #[must_use]
    pub fn subjects(&self) -> &[FactsSubject] {
        &self.subjects
    }
    /// Further numbers under which facts of theirs are, each with the member's own: of members who were
    /// merged into them. Both together are one person's rows.
    #[must_use]
    pub fn aliases(&self) -> &[(FactsSubject, FactsSubject)] {
        &self.aliases
    }
}

impl fmt::Debug for Consenting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // how many they are is not shown to those who ask questions about them
        f.debug_struct("Consenting").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

/// What erasing a member left to tell others.
#[derive(Debug)]
pub struct Erasure {
    /// Brands that knew the member by a handle, and the handle they should drop.
    pub outgoing: Vec<(BrandId, MemberHandle)>,
    /// Brands whose member was linked to this one; what they send later has no receiver.
    pub incoming: Vec<BrandId>,
    /// Numbers under which facts of the member are, until compaction removes them.
    pub subjects: Vec<FactsSubject>,
}

/// The members of one brand.
pub struct Vault {
    brand: BrandId,
    store: Arc<dyn Store>,
    key: Arc<dyn BrandKey>,
    random: Random,
    // what is checked and then written must not change in between
    writing: Mutex<()>,
    // of members who exchange
    remembered: Remembered,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("brand", &self.brand).finish_non_exhaustive()
    }
}

impl Vault {
    /// The vault of `brand` in `store`. One process must have at most one on a store.
    #[must_use]
    pub fn new(
        brand: BrandId,
        store: Arc<dyn Store>,
        key: Arc<dyn BrandKey>,
        random: Random,
    ) -> Self {
        Self {
            brand,
            store,
            key,
            random,
            writing: Mutex::new(()),
            remembered: Remembered::default(),
        }
    }

    /// The same vault over another store, which must show what this one's shows: for trying something
    /// out beside it.
    #[must_use]
    pub fn over(&self, store: Arc<dyn Store>) -> Self {
        Self::new(self.brand, store, Arc::clone(&self.key), Arc::clone(&self.random))
    }

    /// Whose it is.
    #[must_use]
    pub const fn brand(&self) -> BrandId {
        self.brand
    }

    /// Enrols people with the same consents, in one transaction, and answers for each in order.
    /// A known card changes nothing, so that a list may be imported again.
    ///
    /// # Errors
    /// When the store, the key or the generator fails; then nobody was enrolled.
    pub fn enrol(
        &self,
        people: &[NewMember],
        consents: &[Consent],
    ) -> Result<Vec<Enrolment>, VaultError> {
        let _writing = self.lock();
        let mut batch = Batch::default();
        let outcomes = people
            .iter()
            .map(|person| self.enrol_one(person, consents, &mut batch))
            .collect::<Result<Vec<_>, _>>()?;
        self.store.transaction(&batch.writes)?;
        Ok(outcomes)
    }

    fn enrol_one(
        &self,
        person: &NewMember,
        consents: &[Consent],
        batch: &mut Batch,
    ) -> Result<Enrolment, VaultError> {
        if let Some((&attribute, _)) =
            person.attributes.iter().find(|(_, value)| value.len() > ATTRIBUTE_MAX)
        {
            return Ok(Enrolment::TooLong(attribute));
        }
        let card = self.key.blind(BlindIndex::Card, person.card.expose().as_bytes())?;
        let match_key = person
            .match_key
            .as_ref()
            .map(|key| self.key.blind(BlindIndex::MatchKey, key.expose().as_bytes()))
            .transpose()?;
        let by_card = self.holder(&card, batch)?;
        let by_match_key = match match_key {
            Some(hash) => self.holder(&hash, batch)?,
            None => None,
        };
        match (by_card, by_match_key) {
            (Some(id), Some(other)) if id == other => return Ok(Enrolment::Known(id)),
            (Some(id), None) if match_key.is_none() => return Ok(Enrolment::Known(id)),
            (None, None) => {}
            _ => return Ok(Enrolment::Conflict),
        }

        let id = MemberId::generate(&*self.random)?;
        let (secret, subject) = self.fresh_secret(batch)?;
        let identifiers: Vec<[u8; 32]> = [Some(card), match_key].into_iter().flatten().collect();
        let mut sealing = Sealing::begin(self.brand, id, &*self.key, &*self.random)?;
        sealing.add(Field::Secret, secret.expose())?;
        sealing.add(Field::Card, person.card.expose().as_bytes())?;
        sealing.add(Field::Identifiers, &identifiers.concat())?;
        let born = person.attributes.get(&Attribute::BirthDate);
        let child = |it: &Consent| correction::is_childs(born.map(String::as_str), it.at);
        let by_law: Vec<Consent> = consents
            .iter()
            .filter(|it| !it.granted || it.guardian.is_some() || !child(it))
            .copied()
            .collect();
        let is_whole = by_law.len() == consents.len();
        let history = ConsentHistory::beginning_with(&by_law);
        sealing.add(Field::Consents, &protocol::codec::encode(&history))?;
        for (attribute, value) in &person.attributes {
            sealing.add(Field::Attribute(*attribute), value.as_bytes())?;
        }
        sealing.add(Field::Revision, &self.next_revision(batch)?.stamp())?;
        batch.put(MEMBERS, id.as_bytes(), sealing.finish());
        batch.put(SUBJECTS, &subject.get().to_be_bytes(), Vec::new());
        batch.subjects.insert(subject);
        for hash in identifiers {
            batch.put(IDENTIFIERS, &hash, id.as_bytes().to_vec());
            batch.identifiers.insert(hash, id);
        }
        Ok(if is_whole { Enrolment::Created(id) } else { Enrolment::WithoutGuardian(id) })
    }

    fn holder(&self, hash: &[u8; 32], batch: &Batch) -> Result<Option<MemberId>, VaultError> {
        match batch.identifiers.get(hash) {
            Some(id) => Ok(Some(*id)),
            None => self.member_at(IDENTIFIERS, hash),
        }
    }

    fn fresh_secret(
        &self,
        batch: &Batch,
    ) -> Result<(keys::MemberSecret, FactsSubject), VaultError> {
        loop {
            let secret = keys::MemberSecret::generate(&*self.random)?;
            let subject = record::subject_of(&secret);
            let stored = self.store.get(SUBJECTS, &subject.get().to_be_bytes())?;
            // 63 bits collide once in 20,000 brands of 30 million members: draw again
            if stored.is_none() && !batch.subjects.contains(&subject) {
                return Ok((secret, subject));
            }
        }
    }

    /// The holder of a card.
    ///
    /// # Errors
    /// When the store fails.
    pub fn by_card(&self, card: &CardNumber) -> Result<Option<MemberId>, VaultError> {
        self.member_at(IDENTIFIERS, &self.key.blind(BlindIndex::Card, card.expose().as_bytes())?)
    }

    /// The member with a match key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn by_match_key(&self, key: &MatchKey) -> Result<Option<MemberId>, VaultError> {
        self.member_at(IDENTIFIERS, &self.key.blind(BlindIndex::MatchKey, key.expose().as_bytes())?)
    }

    /// A member's fields in clear.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn profile(&self, id: MemberId) -> Result<Profile, VaultError> {
        let opened = self.open(id)?;
        let card = CardNumber::new(&opened.text(Field::Card)?.ok_or(damaged("card"))?)
            .map_err(|_| damaged("card"))?;
        let mut attributes = BTreeMap::new();
        for attribute in Attribute::ALL {
            if let Some(value) = opened.text(Field::Attribute(attribute))? {
                attributes.insert(attribute, value);
            }
        }
        Ok(Profile { card, attributes })
    }

    /// A member's card as people may see it: `FS0****Z0DA`.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn masked_card(&self, id: MemberId) -> Result<String, VaultError> {
        let card = self.open(id)?.text(Field::Card)?.ok_or(damaged("card"))?;
        Ok(masked(&card))
    }

    /// The number that stands for a member in purchase facts.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn subject(&self, id: MemberId) -> Result<FactsSubject, VaultError> {
        self.open(id)?.secret().map(|secret| record::subject_of(&secret))
    }

    /// The handle by which `counterparty`, and no other brand, knows a member.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn handle(&self, id: MemberId, counterparty: BrandId) -> Result<MemberHandle, VaultError> {
        self.open(id)?.secret().map(|secret| record::handle_of(&secret, counterparty))
    }

    /// Everything a member decided.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn consents(&self, id: MemberId) -> Result<ConsentHistory, VaultError> {
        self.open(id)?.consents()
    }

    /// Enters a member's decision.
    ///
    /// # Errors
    /// When there is no such member, there are too many decisions, or the store or the key fails.
    pub fn decide(&self, id: MemberId, decision: Consent) -> Result<(), VaultError> {
        let _writing = self.lock();
        let mut opened = self.open(id)?;
        let born = opened.text(Field::Attribute(Attribute::BirthDate))?;
        if decision.granted
            && decision.guardian.is_none()
            && correction::is_childs(born.as_deref().map(String::as_str), decision.at)
        {
            return Err(VaultError::GuardianNeeded);
        }
        let mut history = opened.consents()?;
        if !history.push(decision) {
            return Err(VaultError::TooManyDecisions);
        }
        opened.replace(Field::Consents, &protocol::codec::encode(&history), &*self.random)?;
        let mut batch = Batch::default();
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        self.store.transaction(&batch.writes)?;
        self.remembered.forget(id);
        Ok(())
    }

    /// The next members after `after`, at most `most`, in the order of their ids (which is random).
    ///
    /// # Errors
    /// When the store fails.
    pub fn members(
        &self,
        after: Option<MemberId>,
        most: usize,
    ) -> Result<Vec<MemberId>, VaultError> {
        Ok(self.page(after, most)?.into_iter().map(|(id, _)| id).collect())
    }

    /// How many members there are. Reads them all.
    ///
    /// # Errors
    /// When the store fails.
    pub fn count(&self) -> Result<u64, VaultError> {
        let mut count = 0;
        self.each(|_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Members who allow `purpose` now. Opens every record.
    ///
    /// # Errors
    /// When the store or the key fails; then nobody is taken to consent.
    pub fn consenting(&self, purpose: Purpose) -> Result<Consenting, VaultError> {
        let (mut subjects, mut aliases) = (Vec::new(), Vec::new());
        self.each(|id, bytes| {
            let opened = Opened::open(self.brand, id, bytes, &*self.key)?;
            if opened.consents()?.allows(purpose) {
                let own = record::subject_of(&opened.secret()?);
                subjects.push(own);
                aliases.extend(opened.aliases()?.into_iter().map(|alias| (alias, own)));
            }
            Ok(())
        })?;
        subjects.sort_unstable();
        aliases.sort_unstable();
        Ok(Consenting { purpose, subjects, aliases })
    }

    /// How many members have decided what: each purpose, and for exchanges each of these brands as who receives
    /// data. Opens every record.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn consent_counts(&self, others: &[BrandId]) -> Result<Vec<ConsentCount>, VaultError> {
        let purposes = Purpose::ALL.map(|purpose| (purpose, None));
        let receivers = others.iter().map(|brand| (Purpose::Exchange, Some(*brand)));
        let uses = purposes.into_iter().chain(receivers);
        let mut counts: Vec<ConsentCount> =
            uses.map(|(purpose, receiver)| ConsentCount::of(purpose, receiver)).collect();
        self.each(|id, bytes| {
            let history = Opened::open(self.brand, id, bytes, &*self.key)?.consents()?;
            counts.iter_mut().for_each(|count| count.add(&history));
            Ok(())
        })?;
        Ok(counts)
    }

    /// Erases a member: destroys the data key and with it every field, pseudonym and consent, and
    /// drops the look-ups and links; members who were merged into this one go with it. Facts then
    /// belong to numbers that nobody has. That somebody who had these identifiers was erased stays known for a
    /// while, by [`Self::is_erased`].
    ///
    /// # Errors
    /// When there is no such member, a legal hold forbids it, or the store or the key fails; then
    /// nothing was erased.
    pub fn erase(&self, id: MemberId, at: Timestamp) -> Result<Erasure, VaultError> {
        let _writing = self.lock();
        let opened = self.open(id)?;
        let merged = self.absorbed_by(id)?;
        if opened.hold()?.is_some() {
            return Err(VaultError::OnHold);
        }
        let mut batch = Batch::default();
        let mut erasure = Erasure { outgoing: vec![], incoming: vec![], subjects: vec![] };
        let left = self.tombstone_key(at, &mut batch)?;
        let merged = merged.iter().map(|(id, opened)| (*id, opened, merge::ABSORBED));
        for (id, opened, keyspace) in [(id, &opened, MEMBERS)].into_iter().chain(merged) {
            let secret = opened.secret()?;
            batch.delete(keyspace, id.as_bytes());
            let held = opened.held(self)?;
            self.bury(&held, at, &left, &mut batch);
            for held in held {
                batch.delete_index(held.kind, &held.hash, id);
            }
            batch.put(ERASED, id.as_bytes(), at.unix_ms().to_be_bytes().to_vec());
            self.drop_links(id, &secret, &mut erasure, &mut batch)?;
            self.drop_merges(id, &mut batch)?;
            let subject = record::subject_of(&secret);
            batch.put(
                ERASED_SUBJECTS,
                &subject.get().to_be_bytes(),
                at.unix_ms().to_be_bytes().to_vec(),
            );
            erasure.subjects.push(subject);
        }
        self.store.transaction(&batch.writes)?;
        self.remembered.forget_all();
        Ok(erasure)
    }

    /// When a member was erased, if so.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erased_at(&self, id: MemberId) -> Result<Option<Timestamp>, VaultError> {
        let Some(bytes) = self.store.get(ERASED, id.as_bytes())? else { return Ok(None) };
        let bytes = <[u8; 8]>::try_from(bytes.as_slice()).map_err(|_| damaged("erasure"))?;
        Ok(Some(Timestamp::from_unix_ms(u64::from_be_bytes(bytes))))
    }

    /// Those of these who were erased.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erased_among(
        &self,
        members: impl IntoIterator<Item = MemberId>,
    ) -> Result<BTreeSet<MemberId>, VaultError> {
        let members: BTreeSet<MemberId> = members.into_iter().collect();
        let keys: Vec<Vec<u8>> = members.iter().map(|id| id.as_bytes().to_vec()).collect();
        let found = self.store.get_many(ERASED, &keys)?;
        let erased = members.into_iter().zip(found).filter(|(_, erased)| erased.is_some());
        Ok(erased.map(|(id, _)| id).collect())
    }

    /// A key of the brand's for files outside the store, made at the first use of `name`.
    ///
    /// # Errors
    /// When the store, the key or the generator fails.
    pub fn file_key(&self, name: &'static str) -> Result<DataKey, VaultError> {
        let _writing = self.lock();
        let bound_to = file_key_place(self.brand, name.as_bytes());
        if let Some(wrapped) = self.store.get(BRAND_KEYS, name.as_bytes())? {
            return Ok(self.key.unwrap(&wrapped, &bound_to)?);
        }
        let key = DataKey::generate(&*self.random)?;
        let mut batch = Batch::default();
        batch.put(BRAND_KEYS, name.as_bytes(), self.key.wrap(&key, &bound_to, &*self.random)?);
        self.store.transaction(&batch.writes)?;
        Ok(key)
    }

    /// Numbers in facts of members who were erased, with the time of the erasure: those after `after`,
    /// at most `most`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erased_subjects(
        &self,
        after: Option<FactsSubject>,
        most: usize,
    ) -> Result<Vec<(FactsSubject, Timestamp)>, VaultError> {
        let after = after.map(|subject| subject.get().to_be_bytes());
        let after = after.as_ref().map(<[u8; 8]>::as_slice);
        let pairs = self.store.scan_prefix(ERASED_SUBJECTS, &[], after, most)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = <[u8; 8]>::try_from(key.as_slice()).map_err(|_| damaged("erasure"))?;
            let at = <[u8; 8]>::try_from(value.as_slice()).map_err(|_| damaged("erasure"))?;
            Ok((FactsSubject::from_stored(key), Timestamp::from_unix_ms(u64::from_be_bytes(at))))
        };
        pairs.into_iter().map(read).collect()
    }

    /// Enters that no fact is under these numbers any more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_erased(&self, subjects: &[FactsSubject]) -> Result<(), VaultError> {
        let _writing = self.lock();
        let mut batch = Batch::default();
        for subject in subjects {
            batch.delete(ERASED_SUBJECTS, &subject.get().to_be_bytes());
            batch.delete(SUBJECTS, &subject.get().to_be_bytes());
        }
        Ok(self.store.transaction(&batch.writes)?)
    }

    /// Every number under which facts of a member are: the own one first, then those of members who
    /// were merged into this one.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn subjects(&self, id: MemberId) -> Result<Vec<FactsSubject>, VaultError> {
        let opened = self.open(id)?;
        let mut subjects = vec![record::subject_of(&opened.secret()?)];
        subjects.extend(opened.aliases()?);
        Ok(subjects)
    }

    /// Hashes a value under the brand's key, for finding it again without keeping it.
    ///
    /// # Errors
    /// When the key service fails.
    pub fn blind(&self, index: BlindIndex, value: &[u8]) -> Result<[u8; 32], VaultError> {
        Ok(self.key.blind(index, value)?)
    }

    fn open(&self, id: MemberId) -> Result<Opened, VaultError> {
        let bytes = self.store.get(MEMBERS, id.as_bytes())?.ok_or(VaultError::UnknownMember)?;
        Opened::open(self.brand, id, &bytes, &*self.key)
    }

    fn member_at(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<MemberId>, VaultError> {
        self.store.get(keyspace, key)?.map(|bytes| member_id(&bytes)).transpose()
    }

    fn page(
        &self,
        after: Option<MemberId>,
        most: usize,
    ) -> Result<Vec<(MemberId, Vec<u8>)>, VaultError> {
        let after = after.as_ref().map(|id| id.as_bytes().as_slice());
        let pairs = self.store.scan_prefix(MEMBERS, &[], after, most)?;
        pairs.into_iter().map(|(key, value)| Ok((member_id(&key)?, value))).collect()
    }

    fn each(
        &self,
        mut visit: impl FnMut(MemberId, &[u8]) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut after = None;
        loop {
            let page = self.page(after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (id, bytes) in &page {
                visit(*id, bytes)?;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // the guard protects no data of its own: a panic elsewhere leaves the store as it was
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes of one transaction, and what they take.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    identifiers: BTreeMap<[u8; 32], MemberId>,
    subjects: BTreeSet<FactsSubject>,
    // of what it says about members, if it says any
    revision: Option<Revision>,
}

impl Batch {
    fn put(&mut self, keyspace: Keyspace, key: &[u8], value: Vec<u8>) {
        self.writes.push(Write::put(keyspace, key, value));
    }
    fn delete(&mut self, keyspace: Keyspace, key: &[u8]) {
        self.writes.push(Write::delete(keyspace, key));
    }
}

/// What a wrapped key of the brand's is bound to.
fn file_key_place(brand: BrandId, name: &[u8]) -> Vec<u8> {
    let mut place = format!("coalition vault file key v0\0{brand}\0").into_bytes();
    place.extend_from_slice(name);
    place
}

const fn damaged(what: &'static str) -> VaultError {
    VaultError::Damaged { what }
}

fn member_id(bytes: &[u8]) -> Result<MemberId, VaultError> {
    <[u8; 16]>::try_from(bytes).map(MemberId::from_bytes).map_err(|_| damaged("member id"))
}

#[cfg(test)]
mod tests;
