//! One member from many identifiers: what a member has, who is found by what, and who is whom.
//!
//! Of every identifier the store has a keyed hash by which it is found; its value, where the brand
//! needs it, is sealed with the member. What one member has at a time (proofs, phones) is in one index,
//! what several may have (shared identifiers, devices) in another. Mistyped numbers are compared with
//! the sealed values of the few members who are opened anyway, and a card that nobody has with what is
//! one slip from it, hashed and looked up one by one: the store keeps nothing that tells which numbers
//! are near each other. Decides nothing itself: [`resolution`](super::resolution) does, and
//! [`merge`](super::merge) joins members and parts them.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;
use zeroize::Zeroizing;

use super::identifier::{Identifier, IdentifierKind, Strength, masked_value};
use super::keys::KeyError;
use super::merge::Why;
use super::record::{Field, Opened, Sealing};
use super::resolution::{Decision, Hash, Known, Reason, Seen, resolve};
use super::slip::{is_slip, slips};
use super::{
    Batch, CardNumber, Consent, ConsentHistory, IDENTIFIERS, MEMBERS, MemberId, SUBJECTS, Vault,
    VaultError, damaged, member_id,
};

/// Members by keyed hash of an identifier that several may have, the hash first.
pub(super) const SHARED: &str = "vault_shared_identifier";
/// Most identifiers of one member; further ones are not kept.
pub const IDENTIFIERS_MAX: usize = 64;
/// An identifier that more members have says nothing of who somebody is.
const HOLDERS_MAX: usize = 16;
/// Letters and digits that people do not mistake for others (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ASSIGNED_CHARACTERS: usize = 12;
/// What the numbers begin with that the vault gives to members who have no card.
const ASSIGNED_PREFIX: &str = "M-";
/// Shorter cards are too near each other for one by itself to say whose it is when it was mistyped: of a million
/// random numbers of twelve digits, one in ten thousand new ones has somebody's card a slip away; of ten digits, one in a hundred.
const LONE_CARD_MIN: usize = 12;
/// Numbers near a card, of which none may be near another card where a slip is told by the card alone.
const PROBES: usize = 4;

/// One identifier of a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Held {
    #[n(0)]
    pub(super) kind: IdentifierKind,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) hash: Hash,
    /// The value, of the kinds of which it is kept.
    #[n(2)]
    pub(super) value: Option<String>,
    /// When it was first and last seen; at the enrolment that is not known.
    #[n(3)]
    pub(super) first: Option<Timestamp>,
    #[n(4)]
    pub(super) last: Option<Timestamp>,
    /// The merged member from whom it came.
    #[n(5)]
    pub(super) from: Option<MemberId>,
}

impl Held {
    const fn seen(&self) -> Seen {
        (self.kind, self.hash)
    }

    fn is_assigned(&self) -> bool {
        self.kind == IdentifierKind::Card
            && self.value.as_ref().is_some_and(|value| value.starts_with(ASSIGNED_PREFIX))
    }

    fn is_name(&self) -> bool {
        self.kind.is_name() && !self.is_assigned()
    }

    /// Whether an identifier that is not this one may be this one, mistyped.
    fn is_near(&self, identifier: &Identifier) -> bool {
        let typed = matches!(self.kind, IdentifierKind::Card | IdentifierKind::Phone);
        let value = self.value.as_deref();
        typed
            && self.kind == identifier.kind()
            && value.is_some_and(|value| is_slip(value, identifier.expose()))
    }
}

/// An identifier of a member, for the member or for who may see it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldIdentifier {
    /// What it is.
    pub kind: IdentifierKind,
    /// Its value, of the kinds of which it is kept.
    pub value: Option<Zeroizing<String>>,
    /// When it was first seen, if that is known.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen, if that is known.
    pub last_seen: Option<Timestamp>,
}

impl std::fmt::Debug for HeldIdentifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldIdentifier({}, ..)", self.kind)
    }
}

impl HeldIdentifier {
    /// As people may see it; of a kind whose value is not kept, only that there is one.
    #[must_use]
    pub fn masked(&self) -> String {
        self.value
            .as_ref()
            .map_or_else(|| "****".to_owned(), |value| masked_value(self.kind, value))
    }
}

/// What became of identifiers that were seen together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Whose they are.
    pub member: MemberId,
    /// Whether nobody had them before.
    pub is_new: bool,
    /// Members who were merged into this one.
    pub absorbed: Vec<MemberId>,
    /// Pairs that a person should review.
    pub to_review: Vec<(MemberId, Reason)>,
    /// Kinds of the identifiers that were not entered: another member has them, or the member has another of a
    /// kind of which a person has one.
    pub refused: Vec<IdentifierKind>,
}

/// Whose identifiers are by the rules, and who was compared.
struct Resolved {
    seen: Vec<Seen>,
    known: Vec<Known>,
    decision: Decision,
}

/// Why an identifier was not entered.
#[derive(Debug, thiserror::Error)]
pub enum IdentifierError {
    /// Somebody else has it.
    #[error(
        "another member has this {0}: let a person review whether the two are one, or whose it is"
    )]
    Taken(IdentifierKind),
    /// The member has none such.
    #[error("the member has no such {0}")]
    Absent(IdentifierKind),
    /// The member cannot be without it.
    #[error("the member is known by this card alone: enter the new one first")]
    Last,
    /// There are too many.
    #[error("the member already has {IDENTIFIERS_MAX} identifiers, the most that are kept")]
    TooMany,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Vault {
    /// Enters identifiers that were seen together, as of one purchase or visit, and says whose they
    /// are: by the rules of the vault's resolution. A new member begins with `consents`. Members with
    /// names who turn out to be halves of one person are merged if `merge_halves`, else proposed for
    /// review: whoever merges them must know what else hangs on a member, points for one.
    ///
    /// # Errors
    /// When there is no identifier, or the store, the key or the generator fails.
    pub fn sight(
        &self,
        identifiers: &[Identifier],
        consents: &[Consent],
        merge_halves: bool,
        at: Timestamp,
    ) -> Result<Sighting, VaultError> {
        let _writing = self.lock();
        let resolved = self.resolved(identifiers, merge_halves)?;
        self.enter_sighting(identifiers, resolved, consents, at)
    }

    /// The same of what came with a member's card, in a list of members or at a named purchase: whoever else has some
    /// of it, without a card and without having decided anything, was never enrolled and is the card's holder, unless
    /// something speaks against it; then, and of all others, a person reviews the pair.
    ///
    /// # Errors
    /// When there is no identifier, or the store, the key or the generator fails.
    pub fn sight_card(
        &self,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> Result<Sighting, VaultError> {
        let _writing = self.lock();
        let mut resolved = self.resolved(identifiers, false)?;
        let mut merge_halves = !resolved.decision.review.is_empty();
        for (other, _) in &resolved.decision.review {
            merge_halves = merge_halves && self.is_unenrolled(*other)?;
        }
        if merge_halves {
            resolved = self.resolved(identifiers, true)?;
        }
        self.enter_sighting(identifiers, resolved, &[], at)
    }

    /// Whose identifiers these are by the rules, if they are a member's; enters nothing.
    ///
    /// # Errors
    /// When there is no identifier, or the store or the key fails.
    pub fn whose(&self, identifiers: &[Identifier]) -> Result<Option<MemberId>, VaultError> {
        let _writing = self.lock();
        Ok(self.resolved(identifiers, false)?.decision.member)
    }

    /// The member who has every one of these already, where nobody is to be merged or reviewed: to see them again
    /// would change nothing but when they were last seen.
    ///
    /// # Errors
    /// When there is no identifier, or the store or the key fails.
    pub fn holder_of_all(
        &self,
        identifiers: &[Identifier],
    ) -> Result<Option<MemberId>, VaultError> {
        let _writing = self.lock();
        let Resolved { seen, known, decision } = self.resolved(identifiers, false)?;
        if !(decision.absorbed.is_empty() && decision.review.is_empty()) {
            return Ok(None);
        }
        let main = known.iter().find(|it| Some(it.member) == decision.member);
        let main = main.filter(|it| seen.iter().all(|seen| it.held.contains(seen)));
        Ok(main.map(|it| it.member))
    }

    /// Whether a member has no card but the number that the vault gave, and never decided anything.
    fn is_unenrolled(&self, member: MemberId) -> Result<bool, VaultError> {
        let opened = self.open(member)?;
        let is_card = |it: &Held| it.kind == IdentifierKind::Card && !it.is_assigned();
        let has_card = opened.held(self)?.iter().any(is_card);
        Ok(!has_card && opened.consents()?.decisions().is_empty())
    }

    fn resolved(
        &self,
        identifiers: &[Identifier],
        merge_halves: bool,
    ) -> Result<Resolved, VaultError> {
        if identifiers.is_empty() || identifiers.len() > IDENTIFIERS_MAX {
            return Err(VaultError::NoIdentifier);
        }
        let seen = identifiers.iter().map(|it| Ok((it.kind(), self.hash(it)?)));
        let seen: Vec<Seen> = seen.collect::<Result<_, VaultError>>()?;
        let mut known = Vec::new();
        let mut members = BTreeSet::new();
        for (kind, hash) in &seen {
            members.extend(self.holders(*kind, hash)?);
        }
        if members.is_empty() {
            members.extend(self.holder_by_slip(identifiers)?);
        }
        for member in members {
            let held = self.open(member)?.held(self)?;
            known.push(known_by(member, &held, identifiers, &seen));
        }
        let mut apart = BTreeSet::new();
        let decision = loop {
            let decision = resolve(&seen, &known, merge_halves, &apart);
            let before = apart.len();
            for absorbed in &decision.absorbed {
                if let Some(member) = decision.member
                    && self.are_apart(member, *absorbed)?
                {
                    apart.insert((member, *absorbed));
                }
            }
            if apart.len() == before {
                break decision;
            }
        };
        Ok(Resolved { seen, known, decision })
    }

    fn enter_sighting(
        &self,
        identifiers: &[Identifier],
        resolved: Resolved,
        consents: &[Consent],
        at: Timestamp,
    ) -> Result<Sighting, VaultError> {
        let Resolved { seen, known, decision } = resolved;
        // what a merged member has comes with the merge
        let comes = |it: &Seen| {
            known.iter().any(|k| decision.absorbed.contains(&k.member) && k.held.contains(it))
        };
        let left = seen
            .iter()
            .enumerate()
            .filter(|&(place, it)| !decision.taken.contains(&place) && !comes(it));
        let refused = left.map(|(_, (kind, _))| *kind).collect();
        let taken: Vec<(&Identifier, Hash)> = decision
            .taken
            .iter()
            .filter_map(|place| Some((identifiers.get(*place)?, seen.get(*place)?.1)))
            .collect();
        let mut batch = Batch::default();
        let (member, is_new) = match decision.member {
            Some(member) => (member, false),
            None => (self.begin_member(&taken, consents, at, &mut batch)?, true),
        };
        if !is_new {
            let mut opened = self.open(member)?;
            let mut held = opened.held(self)?;
            for (identifier, hash) in &taken {
                self.take(&mut held, identifier, *hash, at, member, &mut batch);
            }
            opened.replace_held(&held, &*self.random)?;
            batch.put(MEMBERS, member.as_bytes(), opened.into_bytes());
        }
        for (other, reason) in &decision.review {
            self.propose(member, *other, *reason, at, &mut batch)?;
        }
        self.store.transaction(&batch.writes)?;
        // each merge is a transaction of its own: after a crash the next sighting does the rest
        for absorbed in &decision.absorbed {
            let named = known.iter().any(|it| it.member == *absorbed && it.named);
            let why = if named { Why::Halves } else { Why::NoName };
            self.merge_locked(member, *absorbed, why, "", at)?;
        }
        self.remembered.forget(member);
        let to_review = decision.review;
        Ok(Sighting { member, is_new, absorbed: decision.absorbed, to_review, refused })
    }

    /// The member who has an identifier of which one member has one at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub fn by_identifier(&self, identifier: &Identifier) -> Result<Option<MemberId>, VaultError> {
        let holders = self.holders(identifier.kind(), &self.hash(identifier)?)?;
        Ok(match holders.as_slice() {
            [only] => Some(*only),
            _ => None,
        })
    }

    /// Everything by which a member is known.
    ///
    /// # Errors
    /// When there is no such member, or the store or the key fails.
    pub fn identifiers(&self, id: MemberId) -> Result<Vec<HeldIdentifier>, VaultError> {
        let held = self.open(id)?.held(self)?;
        Ok(held
            .into_iter()
            .map(|held| HeldIdentifier {
                kind: held.kind,
                value: held.value.map(Zeroizing::new),
                first_seen: held.first,
                last_seen: held.last,
            })
            .collect())
    }

    /// Enters an identifier of a member's, on the member's word.
    ///
    /// # Errors
    /// When another member has it, there are too many, or the store or the key fails.
    pub fn add_identifier(
        &self,
        id: MemberId,
        identifier: &Identifier,
        at: Timestamp,
    ) -> Result<(), IdentifierError> {
        let _writing = self.lock();
        let hash = self.hash(identifier)?;
        let kind = identifier.kind();
        let unique = kind.strength() >= Strength::Phone;
        if unique && self.holders(kind, &hash)?.iter().any(|holder| *holder != id) {
            return Err(IdentifierError::Taken(kind));
        }
        let mut opened = self.open(id)?;
        let mut held = opened.held(self)?;
        let mut batch = Batch::default();
        if !self.take(&mut held, identifier, hash, at, id, &mut batch) {
            return Err(IdentifierError::TooMany);
        }
        opened.replace_held(&held, &*self.random)?;
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        Ok(())
    }

    /// Removes an identifier of a member's, as when a phone number was given up. Whoever comes with it
    /// next is not this member any more.
    ///
    /// # Errors
    /// When the member has none such or would be without a card, or the store or the key fails.
    pub fn remove_identifier(
        &self,
        id: MemberId,
        identifier: &Identifier,
    ) -> Result<(), IdentifierError> {
        let _writing = self.lock();
        let kind = identifier.kind();
        let hash = self.hash(identifier)?;
        let mut opened = self.open(id)?;
        let mut held = opened.held(self)?;
        let before = held.len();
        held.retain(|it| it.seen() != (kind, hash));
        if held.len() == before {
            return Err(IdentifierError::Absent(kind));
        }
        if kind == IdentifierKind::Card {
            let next = held.iter().find(|it| it.kind == IdentifierKind::Card);
            let next = next.and_then(|it| it.value.as_deref()).ok_or(IdentifierError::Last)?;
            opened.replace(Field::Card, next.as_bytes(), &*self.random)?;
        }
        opened.replace_held(&held, &*self.random)?;
        let mut batch = Batch::default();
        batch.put(MEMBERS, id.as_bytes(), opened.into_bytes());
        batch.delete_index(kind, &hash, id);
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        self.remembered.forget_all();
        Ok(())
    }

    pub(super) fn hash(&self, identifier: &Identifier) -> Result<Hash, VaultError> {
        Ok(self.key.blind(identifier.kind().index(), identifier.expose().as_bytes())?)
    }

    /// Members who have an identifier; none when so many have it that it says nothing.
    pub(super) fn holders(
        &self,
        kind: IdentifierKind,
        hash: &Hash,
    ) -> Result<Vec<MemberId>, VaultError> {
        if kind.strength() >= Strength::Phone {
            return Ok(self.member_at(IDENTIFIERS, hash)?.into_iter().collect());
        }
        let pairs = self.store.scan_prefix(SHARED, hash, None, HOLDERS_MAX + 1)?;
        if pairs.len() > HOLDERS_MAX {
            return Ok(Vec::new());
        }
        let rest = |(key, _): &(Vec<u8>, Vec<u8>)| member_id(key.get(32..).unwrap_or_default());
        pairs.iter().map(rest).collect()
    }

    /// Whose card was meant by one that nobody has and that came without a phone number or an account:
    /// the one card that is one slip from it, where the brand's cards are so far from each other that it
    /// is no new one. Where numbers are given out one after another nearly every number has others
    /// beside it, and nobody is found.
    fn holder_by_slip(&self, identifiers: &[Identifier]) -> Result<Option<MemberId>, VaultError> {
        let mut strong = identifiers.iter().filter(|it| it.kind().strength() >= Strength::Phone);
        let (Some(card), None) = (strong.next(), strong.next()) else { return Ok(None) };
        if card.kind() != IdentifierKind::Card || card.expose().len() < LONE_CARD_MIN {
            return Ok(None);
        }
        let near = slips(card.expose());
        let found = self.cards_among(&near)?;
        let Some((meant, holder)) = found.first().copied() else { return Ok(None) };
        // what the holder mistyped before is the holder's too
        let others = |cards: &[(&str, MemberId)]| cards.iter().any(|(_, of)| *of != holder);
        let around = slips(meant);
        let step = (around.len() / PROBES).max(1);
        let probes = around.iter().step_by(step).take(PROBES).map(|it| it.as_str());
        if others(&found) {
            return Ok(None);
        }
        for number in std::iter::once(meant).chain(probes) {
            let beside = slips(number);
            if others(&self.cards_among(&beside)?) {
                return Ok(None);
            }
        }
        Ok(Some(holder))
    }

    /// Those of these numbers that are members' cards, and whose.
    fn cards_among<'a>(
        &self,
        numbers: &'a [Zeroizing<String>],
    ) -> Result<Vec<(&'a str, MemberId)>, VaultError> {
        let index = IdentifierKind::Card.index();
        let keys: Vec<Vec<u8>> = numbers
            .iter()
            .map(|number| Ok(self.key.blind(index, number.as_bytes())?.to_vec()))
            .collect::<Result<_, VaultError>>()?;
        let found = self.store.get_many(IDENTIFIERS, &keys)?;
        let mut cards = Vec::new();
        for (number, holder) in numbers.iter().zip(found) {
            if let Some(holder) = holder {
                cards.push((number.as_str(), member_id(&holder)?));
            }
        }
        Ok(cards)
    }

    /// Adds an identifier to what a member has; says whether there was room.
    fn take(
        &self,
        held: &mut Vec<Held>,
        identifier: &Identifier,
        hash: Hash,
        at: Timestamp,
        member: MemberId,
        batch: &mut Batch,
    ) -> bool {
        let kind = identifier.kind();
        if let Some(known) = held.iter_mut().find(|it| it.seen() == (kind, hash)) {
            known.last = known.last.max(Some(at));
            return true;
        }
        if held.len() >= IDENTIFIERS_MAX {
            return false;
        }
        held.push(Held {
            kind,
            hash,
            value: kind.keeps_value().then(|| identifier.expose().to_owned()),
            first: Some(at),
            last: Some(at),
            from: None,
        });
        batch.put_index(kind, &hash, member);
        true
    }

    fn begin_member(
        &self,
        taken: &[(&Identifier, Hash)],
        consents: &[Consent],
        at: Timestamp,
        batch: &mut Batch,
    ) -> Result<MemberId, VaultError> {
        let id = MemberId::generate(&*self.random)?;
        let (secret, subject) = self.fresh_secret(batch)?;
        let mut held = Vec::new();
        for (identifier, hash) in taken {
            self.take(&mut held, identifier, *hash, at, id, batch);
        }
        let card = taken.iter().find(|(it, _)| it.kind() == IdentifierKind::Card);
        let card = match card {
            Some((card, _)) => card.expose().to_owned(),
            None => {
                // everything else names members by a card
                let number = self.assigned_number()?;
                let assigned = Identifier::parse(IdentifierKind::Card, &number)
                    .map_err(|_| damaged("number"))?;
                let hash = self.hash(&assigned)?;
                self.take(&mut held, &assigned, hash, at, id, batch);
                number
            }
        };
        let mut sealing = Sealing::begin(self.brand, id, &*self.key, &*self.random)?;
        sealing.add(Field::Secret, secret.expose())?;
        sealing.add(Field::Card, card.as_bytes())?;
        sealing.add(Field::Identity, &codec::encode(&held))?;
        let history = ConsentHistory::beginning_with(consents);
        sealing.add(Field::Consents, &codec::encode(&history))?;
        sealing.add(Field::Revision, &self.next_revision(batch)?.stamp())?;
        batch.put(MEMBERS, id.as_bytes(), sealing.finish());
        batch.put(SUBJECTS, &subject.get().to_be_bytes(), Vec::new());
        batch.subjects.insert(subject);
        Ok(id)
    }

    /// A number for a member without a card: 60 random bits, which nobody else has.
    fn assigned_number(&self) -> Result<String, VaultError> {
        loop {
            let mut bytes = [0; ASSIGNED_CHARACTERS];
            self.random.fill(&mut bytes).map_err(|_| KeyError::Random)?;
            let number: String = bytes
                .iter()
                .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
                .map(|byte| char::from(*byte))
                .collect();
            let number = format!("{ASSIGNED_PREFIX}{number}");
            let card = CardNumber::new(&number).map_err(|_| damaged("number"))?;
            if self.by_card(&card)?.is_none() {
                return Ok(number);
            }
        }
    }
}

/// What the rules are told of a member.
fn known_by(member: MemberId, held: &[Held], identifiers: &[Identifier], seen: &[Seen]) -> Known {
    let slips = identifiers
        .iter()
        .zip(seen)
        .filter(|(identifier, seen)| {
            held.iter().all(|it| it.seen() != **seen)
                && held.iter().any(|it| it.is_near(identifier))
        })
        .map(|(_, seen)| *seen);
    Known {
        member,
        named: held.iter().any(Held::is_name),
        held: held.iter().map(Held::seen).collect(),
        assigned: held.iter().filter(|it| it.is_assigned()).map(Held::seen).collect(),
        slips: slips.collect(),
    }
}

impl Opened {
    /// What the member has; of a record from an enrolment, its card and match key.
    pub(super) fn held(&self, vault: &Vault) -> Result<Vec<Held>, VaultError> {
        if let Some(bytes) = self.field(Field::Identity)? {
            return codec::decode("a member's identifiers", &bytes, super::record::RECORD_MAX)
                .map_err(|_| damaged("list of identifiers"));
        }
        let card = self.text(Field::Card)?.ok_or(damaged("card"))?;
        let card_hash = vault.key.blind(IdentifierKind::Card.index(), card.as_bytes())?;
        let one =
            |kind, hash, value| Held { kind, hash, value, first: None, last: None, from: None };
        let held = self.hashes()?.into_iter().map(|hash| match hash == card_hash {
            true => one(IdentifierKind::Card, hash, Some(card.to_string())),
            false => one(IdentifierKind::MatchKey, hash, None),
        });
        Ok(held.collect())
    }

    pub(super) fn replace_held(
        &mut self,
        held: &[Held],
        random: &dyn ring::rand::SecureRandom,
    ) -> Result<(), VaultError> {
        self.remove(Field::Identifiers);
        self.replace(Field::Identity, &codec::encode(&held.to_vec()), random)
    }
}

impl Batch {
    pub(super) fn put_index(&mut self, kind: IdentifierKind, hash: &Hash, member: MemberId) {
        match kind.strength() {
            Strength::Proof | Strength::Phone => {
                self.put(IDENTIFIERS, hash, member.as_bytes().to_vec());
                self.identifiers.insert(*hash, member);
            }
            Strength::Shared | Strength::Hint => {
                self.put(SHARED, &[hash.as_slice(), member.as_bytes()].concat(), Vec::new());
            }
        }
    }

    pub(super) fn delete_index(&mut self, kind: IdentifierKind, hash: &Hash, member: MemberId) {
        match kind.strength() {
            Strength::Proof | Strength::Phone => self.delete(IDENTIFIERS, hash),
            Strength::Shared | Strength::Hint => {
                self.delete(SHARED, &[hash.as_slice(), member.as_bytes()].concat());
            }
        }
    }
}
