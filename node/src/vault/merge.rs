//! Two members who are one person: merged, parted again, and pairs that a person reviews.
//!
//! A merge keeps the merged member's whole record, sealed as it was, beside what moved: identifiers are
//! found under the member who stays, the number in facts becomes an alias of that member's, handles of
//! links lead there. Parting puts all of it back: what came to the merged member's identifiers
//! meanwhile stays with the member who had them. Every merge and parting stays on record.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::time::Timestamp;

use super::identifier::Strength;
use super::identity::Held;
use super::record::{Field, Opened};
use super::resolution::Reason;
use super::{
    Batch, FactsSubject, MEMBERS, MemberId, Vault, VaultError, damaged, member_id, record,
};

/// Records of members who were merged into others, by their ids.
pub(super) const ABSORBED: &str = "vault_absorbed";
/// Merges and partings, by the member who stayed and a number.
const MERGES: &str = "vault_merge";
/// Pairs to review, the smaller id first.
const PAIRS: &str = "vault_pair";
/// Members who were merged or parted, of which the points programme is to be told.
const TO_TELL: &str = "vault_merge_to_tell";
/// Most merges of one member.
const MERGES_MAX: usize = 64;
const STORED_MAX: usize = crate::store::VALUE_MAX;

/// Why two members were merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Why {
    /// One of them had no name, and they met in an identifier.
    #[n(0)]
    NoName,
    /// A person reviewed the pair.
    #[n(1)]
    Reviewed,
    /// They were halves of one person by the rules.
    #[n(2)]
    Halves,
}

/// A merge, or its undoing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Merge {
    /// The member who stayed.
    #[n(0)]
    pub into: MemberId,
    /// The member who was merged.
    #[n(1)]
    pub absorbed: MemberId,
    /// When.
    #[n(2)]
    pub at: Timestamp,
    /// Why.
    #[n(3)]
    pub why: Why,
    /// By whom: a user of the node, nobody when the rules did it.
    #[n(4)]
    pub by: String,
    /// When and by whom it was undone.
    #[n(5)]
    pub parted: Option<Parted>,
}

/// That a merge was undone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Parted {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// By whom.
    #[n(1)]
    pub by: String,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Absorbed {
    #[n(0)]
    into: MemberId,
    /// The record as it was, under the member's own data key.
    #[n(1)]
    record: ByteVec,
}

/// A pair of members who may be one person.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Pair {
    /// One of them.
    #[n(0)]
    pub one: MemberId,
    /// The other.
    #[n(1)]
    pub other: MemberId,
    /// Why they may be.
    #[n(2)]
    pub reason: Reason,
    /// Since when.
    #[n(3)]
    pub at: Timestamp,
    /// What a person found, and when.
    #[n(4)]
    pub judged: Option<Judged>,
}

/// A pair's place among others: who they are.
pub type PairKey = (MemberId, MemberId);

/// Reads of the store for one page of pairs.
const PAIR_PAGES_MAX: usize = 32;

/// What a person found of a pair.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Judged {
    /// Whether they are one person.
    #[n(0)]
    pub same: bool,
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// Who said so.
    #[n(2)]
    pub by: String,
}

/// Why members were not merged or parted.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// There is no such pair.
    #[error("these two are not among the pairs to review, or were reviewed already")]
    UnknownPair,
    /// One cannot be merged with oneself.
    #[error("these two are one member already")]
    Same,
    /// There is no such merge.
    #[error("no such merge of this member stands; it may have been undone already")]
    UnknownMerge,
    /// A later merge stands on it.
    #[error(
        "a later merge of this member, into another or of another into this one, must be undone first"
    )]
    NotLast,
    /// Too many.
    #[error("{MERGES_MAX} members were merged into this one already, the most that are kept")]
    TooMany,
    /// Nothing may be changed of one of them.
    #[error("one of the two is under a legal hold")]
    OnHold,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Vault {
    /// Merges `absorbed` into `into`, on a person's word.
    ///
    /// # Errors
    /// See [`MergeError`]; nothing has then changed.
    pub fn merge(
        &self,
        into: MemberId,
        absorbed: MemberId,
        by: &str,
        at: Timestamp,
    ) -> Result<(), MergeError> {
        let _writing = self.lock();
        if into == absorbed {
            return Err(MergeError::Same);
        }
        if self.open(into)?.hold()?.is_some() || self.open(absorbed)?.hold()?.is_some() {
            return Err(MergeError::OnHold);
        }
        if self.merges(into)?.len() >= MERGES_MAX {
            return Err(MergeError::TooMany);
        }
        Ok(self.merge_locked(into, absorbed, Why::Reviewed, by, at)?)
    }

    pub(super) fn merge_locked(
        &self,
        into: MemberId,
        absorbed: MemberId,
        why: Why,
        by: &str,
        at: Timestamp,
    ) -> Result<(), VaultError> {
        let bytes = self.store.get(MEMBERS, absorbed.as_bytes())?;
        let bytes = bytes.ok_or(VaultError::UnknownMember)?;
        let theirs = Opened::open(self.brand, absorbed, &bytes, &*self.key)?;
        let mut ours = self.open(into)?;
        let mut batch = Batch::default();
        let mut held = ours.held(self)?;
        for moved in theirs.held(self)? {
            batch.delete_index(moved.kind, &moved.hash, absorbed);
            batch.put_index(moved.kind, &moved.hash, into);
            let known = held.iter().any(|it| (it.kind, it.hash) == (moved.kind, moved.hash));
            if !known {
                held.push(Held { from: Some(absorbed), ..moved });
            }
        }
        let mut aliases = ours.aliases()?;
        aliases.push(record::subject_of(&theirs.secret()?));
        aliases.extend(theirs.aliases()?);
        ours.replace_held(&held, &*self.random)?;
        ours.replace_aliases(&aliases, &*self.random)?;
        self.move_handles(absorbed, into, &mut batch)?;
        let kept = Absorbed { into, record: bytes.into() };
        batch.put(MEMBERS, into.as_bytes(), ours.into_bytes());
        batch.delete(MEMBERS, absorbed.as_bytes());
        batch.put(ABSORBED, absorbed.as_bytes(), codec::encode(&kept));
        let merge = Merge { into, absorbed, at, why, by: by.to_owned(), parted: None };
        let number = self.store.scan_prefix(MERGES, into.as_bytes(), None, 4 * MERGES_MAX)?.len();
        batch.put(MERGES, &merge_key(into, number), codec::encode(&merge));
        batch.put(TO_TELL, absorbed.as_bytes(), Vec::new());
        self.store.transaction(&batch.writes)?;
        self.remembered.forget_all();
        Ok(())
    }

    /// Undoes the last merge of `absorbed` into `into`: both are again what they were, and what came
    /// since stays with `into`.
    ///
    /// # Errors
    /// See [`MergeError`]; nothing has then changed.
    pub fn part(
        &self,
        into: MemberId,
        absorbed: MemberId,
        by: &str,
        at: Timestamp,
    ) -> Result<(), MergeError> {
        let _writing = self.lock();
        let kept: Absorbed = match self.store.get(ABSORBED, absorbed.as_bytes()) {
            Ok(Some(bytes)) => decode("merged member", &bytes)?,
            Ok(None) => return Err(MergeError::UnknownMerge),
            Err(error) => return Err(VaultError::from(error).into()),
        };
        // what stands on it is undone first: who stayed then is merged into another by now
        let into_absorbed = self.store.get(ABSORBED, into.as_bytes()).map_err(VaultError::from)?;
        if into_absorbed.is_some() && kept.into == into {
            return Err(MergeError::NotLast);
        }
        let merges = self.numbered_merges(into)?;
        let standing = |merge: &Merge| merge.parted.is_none();
        let last = merges.iter().rev().find(|(_, merge)| standing(merge));
        let Some((key, merge)) = last.filter(|_| kept.into == into) else {
            return Err(MergeError::UnknownMerge);
        };
        if merge.absorbed != absorbed {
            let known = merges.iter().any(|(_, it)| it.absorbed == absorbed && standing(it));
            return Err(if known { MergeError::NotLast } else { MergeError::UnknownMerge });
        }
        let mut theirs = Opened::open(self.brand, absorbed, &kept.record, &*self.key)
            .map_err(MergeError::Vault)?;
        let mut ours = self.open(into)?;
        let mut batch = Batch::default();
        let back = theirs.held(self)?;
        let mut held = ours.held(self)?;
        for it in &back {
            let moved = held.iter().position(|ours| {
                (ours.kind, ours.hash, ours.from) == (it.kind, it.hash, Some(absorbed))
            });
            // what both had before the merge both have again
            if let Some(place) = moved {
                held.remove(place);
                batch.delete_index(it.kind, &it.hash, into);
            }
            // what was given to a third member meanwhile stays there
            let thirds = it.kind.strength() >= Strength::Phone
                && self.holders(it.kind, &it.hash)?.iter().any(|holder| *holder != into);
            if !thirds {
                batch.put_index(it.kind, &it.hash, absorbed);
            }
        }
        let mut gone = vec![record::subject_of(&theirs.secret()?)];
        gone.extend(theirs.aliases()?);
        let mut aliases = ours.aliases()?;
        aliases.retain(|alias| !gone.contains(alias));
        ours.replace_held(&held, &*self.random)?;
        ours.replace_aliases(&aliases, &*self.random)?;
        self.return_handles(absorbed, &mut batch)?;
        batch.put(MEMBERS, into.as_bytes(), ours.into_bytes());
        // who was not among the members of a moment before is not among them afterwards
        let revision = self.next_revision(&mut batch)?;
        theirs.replace(Field::Revision, &revision.stamp(), &*self.random)?;
        batch.put(MEMBERS, absorbed.as_bytes(), theirs.into_bytes());
        batch.delete(ABSORBED, absorbed.as_bytes());
        let parted = Some(Parted { at, by: by.to_owned() });
        batch.put(MERGES, key, codec::encode(&Merge { parted, ..merge.clone() }));
        // who was merged into that one before is told anew: into whom, by now, is another
        for id in self.with_absorbed(absorbed)? {
            batch.put(TO_TELL, id.as_bytes(), Vec::new());
        }
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        self.remembered.forget_all();
        Ok(())
    }

    /// Every merge into a member, oldest first, those that were undone too.
    ///
    /// # Errors
    /// When the store fails.
    pub fn merges(&self, into: MemberId) -> Result<Vec<Merge>, VaultError> {
        Ok(self.numbered_merges(into)?.into_iter().map(|(_, merge)| merge).collect())
    }

    fn numbered_merges(&self, into: MemberId) -> Result<Vec<(Vec<u8>, Merge)>, VaultError> {
        let pairs = self.store.scan_prefix(MERGES, into.as_bytes(), None, 4 * MERGES_MAX)?;
        pairs.into_iter().map(|(key, value)| Ok((key, decode("merge", &value)?))).collect()
    }

    /// The next pairs to review after the one of `after`, at most `most`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn pairs_to_review(
        &self,
        after: Option<(MemberId, MemberId)>,
        most: usize,
    ) -> Result<Vec<Pair>, VaultError> {
        let mut open = Vec::new();
        let mut after = after.map(|(one, other)| pair_key(one, other));
        while open.len() < most {
            let page = self.store.scan_prefix(PAIRS, &[], after.as_deref(), most.max(64))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (_, value) in &page {
                let pair: Pair = decode("pair to review", value)?;
                if pair.judged.is_none() && open.len() < most {
                    open.push(pair);
                }
            }
        }
        Ok(open)
    }

    /// A page of the pairs to review after the one of `after`, and the pair behind which there may be more: it ends before
    /// it is full where many in a row were reviewed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn pairs_page(
        &self,
        after: Option<PairKey>,
        limit: usize,
    ) -> Result<(Vec<Pair>, Option<PairKey>), VaultError> {
        let mut open = Vec::new();
        let mut last = after.map(|(one, other)| pair_key(one, other));
        let mut next = after;
        for _ in 0..PAIR_PAGES_MAX {
            let page = self.store.scan_prefix(PAIRS, &[], last.as_deref(), limit.max(64))?;
            let Some((key, _)) = page.last() else { return Ok((open, None)) };
            last = Some(key.clone());
            for (_, value) in &page {
                let pair: Pair = decode("pair to review", value)?;
                if open.len() >= limit {
                    return Ok((open, next));
                }
                next = Some((pair.one, pair.other));
                if pair.judged.is_none() {
                    open.push(pair);
                }
            }
        }
        Ok((open, next))
    }

    /// Enters what a person found of a pair; if they are one, the other is merged into the one.
    ///
    /// # Errors
    /// See [`MergeError`]; nothing has then changed.
    pub fn judge(
        &self,
        (one, other): (MemberId, MemberId),
        same: bool,
        by: &str,
        at: Timestamp,
    ) -> Result<(), MergeError> {
        let key = pair_key(one, other);
        let stored = self.store.get(PAIRS, &key).map_err(VaultError::from)?;
        let pair: Pair = decode("pair to review", &stored.ok_or(MergeError::UnknownPair)?)?;
        if pair.judged.is_some() {
            return Err(MergeError::UnknownPair);
        }
        if same {
            self.merge(one, other, by, at)?;
        }
        let judged = Some(Judged { same, at, by: by.to_owned() });
        let _writing = self.lock();
        let mut batch = Batch::default();
        batch.put(PAIRS, &key, codec::encode(&Pair { judged, ..pair }));
        self.store.transaction(&batch.writes).map_err(VaultError::from)?;
        Ok(())
    }

    /// Whether a person has parted two members, or found that they are two people.
    pub(super) fn are_apart(&self, one: MemberId, other: MemberId) -> Result<bool, VaultError> {
        for (into, absorbed) in [(one, other), (other, one)] {
            let merges = self.merges(into)?;
            if merges.iter().any(|it| it.absorbed == absorbed && it.parted.is_some()) {
                return Ok(true);
            }
        }
        let Some(bytes) = self.store.get(PAIRS, &pair_key(one, other))? else { return Ok(false) };
        let pair: Pair = decode("pair to review", &bytes)?;
        Ok(pair.judged.is_some_and(|judged| !judged.same))
    }

    /// Proposes a pair for review, unless it was proposed before.
    pub(super) fn propose(
        &self,
        one: MemberId,
        other: MemberId,
        reason: Reason,
        at: Timestamp,
        batch: &mut Batch,
    ) -> Result<(), VaultError> {
        let key = pair_key(one, other);
        if self.store.get(PAIRS, &key)?.is_none() {
            let pair = Pair { one, other, reason, at, judged: None };
            batch.put(PAIRS, &key, codec::encode(&pair));
        }
        Ok(())
    }

    /// A member and all who were merged into that one and are not parted again, over all merges on the way.
    pub(super) fn with_absorbed(&self, into: MemberId) -> Result<Vec<MemberId>, VaultError> {
        let mut all = vec![into];
        let mut next = 0;
        while let Some(into) = all.get(next).copied() {
            next += 1;
            let standing = self.merges(into)?.into_iter().filter(|merge| merge.parted.is_none());
            all.extend(standing.map(|merge| merge.absorbed));
        }
        Ok(all)
    }

    /// The members who were merged into one and are not parted again, with their records.
    pub(super) fn absorbed_by(
        &self,
        into: MemberId,
    ) -> Result<Vec<(MemberId, Opened)>, VaultError> {
        let mut absorbed = Vec::new();
        for id in self.with_absorbed(into)? {
            let Some(bytes) = self.store.get(ABSORBED, id.as_bytes())?.filter(|_| id != into)
            else {
                continue;
            };
            let kept: Absorbed = decode("merged member", &bytes)?;
            absorbed.push((id, Opened::open(self.brand, id, &kept.record, &*self.key)?));
        }
        Ok(absorbed)
    }

    /// Into whom a member is merged now, over all merges on the way, with the member's own number in
    /// facts; none of a member who stands for itself.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn merged_into(
        &self,
        absorbed: MemberId,
    ) -> Result<Option<(MemberId, FactsSubject)>, VaultError> {
        let kept = |id: MemberId| -> Result<Option<Absorbed>, VaultError> {
            let bytes = self.store.get(ABSORBED, id.as_bytes())?;
            bytes.map(|bytes| decode("merged member", &bytes)).transpose()
        };
        let Some(first) = kept(absorbed)? else { return Ok(None) };
        let opened = Opened::open(self.brand, absorbed, &first.record, &*self.key)?;
        let subject = record::subject_of(&opened.secret()?);
        let mut into = first.into;
        // a member is merged into one who stands: a circle is a damaged store
        for _ in 0..=MERGES_MAX {
            match kept(into)? {
                None => return Ok(Some((into, subject))),
                Some(next) => into = next.into,
            }
        }
        Err(damaged("merged member"))
    }

    /// Members who were merged or parted, of which the points programme is to be told, with whom they are
    /// merged into now, if anybody; at most `most`.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn merges_to_tell(
        &self,
        most: usize,
    ) -> Result<Vec<(MemberId, Option<MemberId>)>, VaultError> {
        let _writing = self.lock();
        let keys = self.store.scan_prefix(TO_TELL, &[], None, most)?;
        let now = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let absorbed = member_id(key)?;
            Ok((absorbed, self.merged_into(absorbed)?.map(|(into, _)| into)))
        };
        keys.iter().map(now).collect()
    }

    /// Enters that the points programme was told of this, durably; unless it is otherwise by now.
    ///
    /// # Errors
    /// When the store or the key fails.
    pub fn merge_told(
        &self,
        (absorbed, told): (MemberId, Option<MemberId>),
    ) -> Result<(), VaultError> {
        let _writing = self.lock();
        let now = self.merged_into(absorbed)?.map(|(into, _)| into);
        if now == told {
            let mut batch = Batch::default();
            batch.delete(TO_TELL, absorbed.as_bytes());
            self.store.transaction(&batch.writes)?;
        }
        Ok(())
    }

    /// Adds to an erasure what is kept of the merges of a member.
    pub(super) fn drop_merges(&self, id: MemberId, batch: &mut Batch) -> Result<(), VaultError> {
        for (key, _) in self.numbered_merges(id)? {
            batch.delete(MERGES, &key);
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan_prefix(PAIRS, &[], after.as_deref(), 512)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in &page {
                if key.chunks_exact(16).any(|half| half == id.as_bytes()) {
                    batch.delete(PAIRS, key);
                }
            }
        }
    }

    /// Wraps the records of merged members again; for the rotation of the brand's key.
    pub(super) fn each_absorbed(
        &self,
        mut visit: impl FnMut(MemberId, &[u8]) -> Result<Option<Vec<u8>>, VaultError>,
    ) -> Result<u64, VaultError> {
        let mut changed = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan_prefix(ABSORBED, &[], after.as_deref(), 256)?;
            let Some((last, _)) = page.last() else { return Ok(changed) };
            after = Some(last.clone());
            let mut batch = Batch::default();
            for (key, value) in &page {
                let kept: Absorbed = decode("merged member", value)?;
                if let Some(record) = visit(member_id(key)?, &kept.record)? {
                    let kept = Absorbed { into: kept.into, record: record.into() };
                    batch.put(ABSORBED, key, codec::encode(&kept));
                    changed += 1;
                }
            }
            self.store.transaction(&batch.writes)?;
        }
    }
}

impl Opened {
    /// Numbers in facts of members who were merged into this one.
    pub(super) fn aliases(&self) -> Result<Vec<FactsSubject>, VaultError> {
        let Some(bytes) = self.field(Field::Aliases)? else { return Ok(Vec::new()) };
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(damaged("list of merged members"));
        }
        Ok(numbers.iter().map(|number| FactsSubject::from_stored(*number)).collect())
    }

    fn replace_aliases(
        &mut self,
        aliases: &[FactsSubject],
        random: &dyn ring::rand::SecureRandom,
    ) -> Result<(), VaultError> {
        if aliases.is_empty() {
            self.remove(Field::Aliases);
            return Ok(());
        }
        let bytes: Vec<u8> = aliases.iter().flat_map(|alias| alias.get().to_be_bytes()).collect();
        self.replace(Field::Aliases, &bytes, random)
    }
}

fn merge_key(into: MemberId, number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    [into.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

fn pair_key(one: MemberId, other: MemberId) -> Vec<u8> {
    let (least, most) = if one <= other { (one, other) } else { (other, one) };
    [least.as_bytes().as_slice(), most.as_bytes()].concat()
}

fn decode<T: for<'b> Decode<'b, ()> + Encode<()>>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, VaultError> {
    codec::decode(what, bytes, STORED_MAX).map_err(|_| damaged(what))
}
