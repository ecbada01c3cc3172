//! Exchanges that have left memory: in the store, encrypted, where they can be looked up.
//!
//! An exchange goes there once it is answered and some time has passed, and one that came in likewise; what
//! comes back of one, in time, brings it into memory again, where it stays until its window is over. So each
//! has at most two entries: as it was when it first left, which is never written again, and as it ended. A
//! replay from an older snapshot finds the first as it was, whatever the store has learnt since: every entry
//! has its number, and a reader says how many have left as far as it knows. So it is after a crash between
//! the store and the snapshot, and where a journal was put back to an older state.
//!
//! A store pays for every key, in time and in memory, for as long as it is there. So entries lie in pages of
//! neighbours by number, each sealed as one value, and so do the numbers of leaves; what has a key of its own is an
//! exchange's id and whose one is. An index may lead to an entry that is another's by now:
//! whoever follows it looks whether it is the one.
//!
//! The truth is the logs' and the journal's: what is here was in both before.

mod by_time;

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::exchange::OutgoingLeg;
use protocol::ids::{BrandId, LeafIndex, RequestId};

use self::by_time::{EXCHANGE_TIMES, RECEIVED_TIMES, note_times};
use super::book::BookedExchange;
use super::received::{Place, Received};
use super::record::SendBack;
use crate::store::{Keyspace, Store, StoreError, VALUE_MAX, Write};
use crate::vault::MemberId;

/// Entries, by page.
const EXCHANGES: Keyspace = "exchange-pages";
/// Numbers of first and of last entries, by id.
const NUMBERS: Keyspace = "exchange-numbers";
const ENDED_NUMBERS: Keyspace = "exchange-numbers-ended";
/// Member and number, with nothing under them.
const EXCHANGES_OF: Keyspace = "exchange-numbers-of";
/// Numbers of first entries, by page of leaves.
const LEAVES: Keyspace = "exchange-leaves";
/// Those that came in likewise; their numbers by log and page of leaves.
const RECEIVED: Keyspace = "received-pages";
const RECEIVED_LEAVES: Keyspace = "received-leaves";
const RECEIVED_ENDED_LEAVES: Keyspace = "received-leaves-ended";
/// Member and number, with nothing under them.
const RECEIVED_OF: Keyspace = "received-numbers-of";
const SENT_BACK: Keyspace = "sent-back";
/// Where builds before 29 November 2026 had numbers, beside a key for each entry.
const FORMER: [Keyspace; 2] = ["exchanges-by-number", "received-by-number"];
/// Entries of one page.
const PAGE: u64 = 32;
/// Leaves of one page.
const LEAF_PAGE: u64 = 64;
/// Entries of one transaction.
const AT_ONCE: usize = 1024;

/// How values are encrypted: for what they are about.
pub trait Seal: Send + Sync {
    /// Seals bytes; none when the generator fails.
    fn seal(&self, about: &[u8], plain: Vec<u8>) -> Option<Vec<u8>>;
    /// Opens bytes; none when they are not what was sealed for that.
    fn open(&self, about: &[u8], sealed: Vec<u8>) -> Option<Vec<u8>>;
}

/// Why the store cannot say.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    /// The backend.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value does not open or read.
    #[error("an exchange in the store is damaged; restore the store")]
    Damaged,
    /// The generator failed.
    #[error("an exchange could not be encrypted")]
    Seal,
    /// Exchanges are there in a form that is not read: their idempotency keys would be taken a second time.
    #[error(
        "the store has exchanges in the form of an earlier build, which this one does not read: run that build, or \
         rebuild the node with `coalition rebuild` in a new data directory"
    )]
    Former,
}

/// What leaves memory with a snapshot, in order: exchanges with the leg that can still come back, if it
/// can, and exchanges that came in with all that was sent back of them.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// Number of the first exchange among all that have left.
    pub first: u64,
    /// Exchanges of this brand's members.
    pub exchanges: Vec<(BookedExchange, Option<(LeafIndex, OutgoingLeg)>)>,
    /// Number of the first that came in.
    pub first_received: u64,
    /// Exchanges that came in; of those whose window is over, and that had been in memory again, with all
    /// that was sent back of them.
    pub received: Vec<(Place, Received, Option<Vec<SendBack>>)>,
    /// Leaves of the own log that never count, to logs that have ended.
    pub void: Vec<LeafIndex>,
}

#[derive(Clone, Encode, Decode)]
#[cbor(array)]
struct Entry {
    #[n(0)]
    booked: BookedExchange,
    #[n(1)]
    leg: Option<(LeafIndex, OutgoingLeg)>,
}

#[derive(Clone, Encode, Decode)]
#[cbor(array)]
struct ReceivedEntry {
    #[n(0)]
    brand: BrandId,
    #[n(1)]
    leaf: LeafIndex,
    #[n(2)]
    received: Received,
}

impl ReceivedEntry {
    const fn place(&self) -> Place {
        (self.brand, self.leaf)
    }
}

/// Something with its number.
#[derive(Clone, Encode, Decode)]
#[cbor(array)]
struct Numbered<T> {
    #[n(0)]
    it: T,
    #[n(1)]
    number: u64,
}

/// Numbers of a page of leaves, by the leaf's place in it.
#[derive(Default)]
struct LeafPage(BTreeMap<u8, u64>);

impl LeafPage {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (records, []) = bytes.as_chunks::<9>() else { return None };
        let record = |[place, number @ ..]: &[u8; 9]| (*place, u64::from_be_bytes(*number));
        Some(Self(records.iter().map(record).collect()))
    }

    fn bytes(&self) -> Vec<u8> {
        let record = |(place, number): (&u8, &u64)| [&[*place][..], &number.to_be_bytes()].concat();
        self.0.iter().flat_map(record).collect()
    }
}

/// The key of a leaf's page under a prefix, and the leaf's place in it.
fn leaf_place(prefix: &[u8], leaf: LeafIndex) -> (Vec<u8>, u8) {
    let page = leaf.get().checked_div(LEAF_PAGE).unwrap_or_default();
    let place = leaf.get().checked_rem(LEAF_PAGE).unwrap_or_default();
    let key = [prefix, &page.to_be_bytes()].concat();
    // a page has no more than 64
    (key, u8::try_from(place).unwrap_or_default())
}

const fn page_of(number: u64) -> u64 {
    number / PAGE
}

/// Numbers that are written with one transaction, by page of leaves.
type LeafPages = BTreeMap<(Keyspace, Vec<u8>), LeafPage>;

/// The store, for exchanges.
#[derive(Clone)]
pub struct Cold {
    store: Arc<dyn Store>,
    seal: Arc<dyn Seal>,
}

impl fmt::Debug for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cold(..)")
    }
}

impl Cold {
    /// In this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, seal: Arc<dyn Seal>) -> Self {
        Self { store, seal }
    }

    /// Whether all exchanges in the store are in the form that is read here; to be asked before a node starts.
    ///
    /// # Errors
    /// [`ColdError::Former`] when some are not; or the store cannot say.
    pub fn check_form(&self) -> Result<(), ColdError> {
        for keyspace in FORMER {
            if !self.store.scan(keyspace, Bound::Unbounded, Bound::Unbounded, 1)?.is_empty() {
                return Err(ColdError::Former);
            }
        }
        Ok(())
    }

    fn put<T: Encode<()>>(
        &self,
        keyspace: Keyspace,
        key: &[u8],
        value: &T,
    ) -> Result<Write, ColdError> {
        let sealed = self.seal.seal(&about(keyspace, key), codec::encode(value));
        Ok(Write::put(keyspace, key, sealed.ok_or(ColdError::Seal)?))
    }

    fn at<T>(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<T>, ColdError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let Some(sealed) = self.store.get(keyspace, key)? else { return Ok(None) };
        let bytes = self.seal.open(&about(keyspace, key), sealed).ok_or(ColdError::Damaged)?;
        let value = codec::decode("an exchange in the store", &bytes, VALUE_MAX);
        value.map(Some).map_err(|_| ColdError::Damaged)
    }

    /// The entries of a page, by number.
    fn page<T>(&self, keyspace: Keyspace, page: u64) -> Result<Vec<Numbered<T>>, ColdError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        Ok(self.at(keyspace, &page.to_be_bytes())?.unwrap_or_default())
    }

    /// The entry of a number, when so many have left.
    fn numbered<T>(
        &self,
        keyspace: Keyspace,
        number: Option<u64>,
        left: u64,
    ) -> Result<Option<T>, ColdError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let Some(number) = number.filter(|number| *number < left) else { return Ok(None) };
        let mut page = self.page(keyspace, page_of(number))?.into_iter();
        Ok(page.find(|entry| entry.number == number).map(|entry| entry.it))
    }

    /// The number under a key.
    fn number(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<u64>, ColdError> {
        let Some(bytes) = self.store.get(keyspace, key)? else { return Ok(None) };
        let number = bytes.try_into().map_err(|_| ColdError::Damaged)?;
        Ok(Some(u64::from_be_bytes(number)))
    }

    fn leaf_page(&self, keyspace: Keyspace, key: &[u8]) -> Result<LeafPage, ColdError> {
        let bytes = self.store.get(keyspace, key)?.unwrap_or_default();
        LeafPage::read(&bytes).ok_or(ColdError::Damaged)
    }

    /// The number of a leaf under a prefix.
    fn number_of_leaf(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        leaf: LeafIndex,
    ) -> Result<Option<u64>, ColdError> {
        let (key, place) = leaf_place(prefix, leaf);
        Ok(self.leaf_page(keyspace, &key)?.0.get(&place).copied())
    }

    fn entry(
        &self,
        numbers: Keyspace,
        id: RequestId,
        left: u64,
    ) -> Result<Option<Entry>, ColdError> {
        let number = self.number(numbers, id.as_bytes())?;
        let entry: Option<Entry> = self.numbered(EXCHANGES, number, left)?;
        Ok(entry.filter(|entry| entry.booked.requested.id == id))
    }

    /// An exchange by its id, as it is known last, when so many have left.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn exchange(&self, id: RequestId, left: u64) -> Result<Option<BookedExchange>, ColdError> {
        let entry = match self.entry(ENDED_NUMBERS, id, left)? {
            None => self.entry(NUMBERS, id, left)?,
            ended => ended,
        };
        Ok(entry.map(|entry| entry.booked))
    }

    /// The exchange at an own leaf, as it left memory first, if something of it could come back then and
    /// it has not ended since.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn leg(
        &self,
        leaf: LeafIndex,
        left: u64,
    ) -> Result<Option<(BookedExchange, OutgoingLeg)>, ColdError> {
        let number = self.number_of_leaf(LEAVES, &[], leaf)?;
        let Some(entry) = self.numbered::<Entry>(EXCHANGES, number, left)? else { return Ok(None) };
        let Some((_, leg)) = entry.leg.filter(|(at, _)| *at == leaf) else { return Ok(None) };
        let ended = self.entry(ENDED_NUMBERS, entry.booked.requested.id, left)?;
        Ok(ended.is_none().then_some((entry.booked, leg)))
    }

    /// The latest entries below a number, the latest first, until `take` says that there are enough.
    fn latest_entries<T>(
        &self,
        keyspace: Keyspace,
        below: u64,
        mut take: impl FnMut(T) -> Result<bool, ColdError>,
    ) -> Result<(), ColdError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        for page in (0..below.div_ceil(PAGE)).rev() {
            for entry in self.page::<T>(keyspace, page)?.into_iter().rev() {
                if entry.number < below && !take(entry.it)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Exchanges by their numbers, the highest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest(&self, below: u64, limit: usize) -> Result<Vec<BookedExchange>, ColdError> {
        let mut found = Vec::new();
        self.latest_entries(EXCHANGES, below, |entry: Entry| {
            if found.len() < limit {
                found.extend(self.exchange(entry.booked.requested.id, below)?);
            }
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// A member's exchanges, by their numbers, the highest first; one that left twice is there twice.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest_of(
        &self,
        member: MemberId,
        below: u64,
        limit: usize,
    ) -> Result<Vec<BookedExchange>, ColdError> {
        let mut found: Vec<BookedExchange> = Vec::new();
        self.latest_numbers(EXCHANGES_OF, member, below, |number| {
            let entry: Option<Entry> = self.numbered(EXCHANGES, Some(number), below)?;
            // or it is another's by now
            let entry = entry.filter(|it| it.booked.requested.member == Some(member));
            if let Some(entry) = entry.filter(|_| found.len() < limit) {
                found.extend(self.exchange(entry.booked.requested.id, below)?);
            }
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    fn received_in(
        &self,
        leaves: Keyspace,
        place: Place,
        left: u64,
    ) -> Result<Option<Received>, ColdError> {
        let number = self.number_of_leaf(leaves, &prefix_of(place.0), place.1)?;
        let entry: Option<ReceivedEntry> = self.numbered(RECEIVED, number, left)?;
        Ok(entry.filter(|entry| entry.place() == place).map(|entry| entry.received))
    }

    /// An exchange that came in, as it left memory first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn received(&self, place: Place, left: u64) -> Result<Option<Received>, ColdError> {
        self.received_in(RECEIVED_LEAVES, place, left)
    }

    /// The same, as it is known last.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn received_last(&self, place: Place, left: u64) -> Result<Option<Received>, ColdError> {
        match self.received_in(RECEIVED_ENDED_LEAVES, place, left)? {
            None => self.received(place, left),
            ended => Ok(ended),
        }
    }

    /// Exchanges that came in, by their numbers, the highest first; of one member if one is given.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest_received(
        &self,
        below: u64,
        limit: usize,
        member: Option<MemberId>,
    ) -> Result<Vec<(Place, Received)>, ColdError> {
        let mut found = Vec::new();
        let mut take = |entry: ReceivedEntry| {
            if found.len() < limit {
                let last = self.received_last(entry.place(), below)?;
                found.extend(last.map(|received| (entry.place(), received)));
            }
            Ok(found.len() < limit)
        };
        match member {
            None => self.latest_entries(RECEIVED, below, take)?,
            Some(member) => self.latest_numbers(RECEIVED_OF, member, below, |number| {
                let entry: Option<ReceivedEntry> = self.numbered(RECEIVED, Some(number), below)?;
                // or it is another's by now
                let entry = entry.filter(|entry| entry.received.member == Some(member));
                entry.map_or(Ok(true), &mut take)
            })?,
        }
        Ok(found)
    }

    /// What was sent back under an idempotency key.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn sent_back(&self, id: RequestId, left: u64) -> Result<Option<SendBack>, ColdError> {
        let asked: Option<Numbered<SendBack>> = self.at(SENT_BACK, id.as_bytes())?;
        Ok(asked.filter(|asked| asked.number < left).map(|asked| asked.it))
    }

    /// The latest numbers below one of what is a member's, the latest first, until `take` says that there are
    /// enough.
    fn latest_numbers(
        &self,
        keyspace: Keyspace,
        member: MemberId,
        below: u64,
        mut take: impl FnMut(u64) -> Result<bool, ColdError>,
    ) -> Result<(), ColdError> {
        let key = |number| number_of(member, number);
        // a member's numbers are not dense: what is before is looked at in larger and larger pieces
        let (mut end, mut step) = (below, 1024_u64);
        while end > 0 {
            let start = end.saturating_sub(step);
            let (from, to) = (key(start), key(end));
            let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            let piece = self.store.scan(keyspace, from, to, usize::MAX)?;
            for (key, _) in piece.into_iter().rev() {
                let (_, number) = key.split_last_chunk().ok_or(ColdError::Damaged)?;
                if !take(u64::from_be_bytes(*number))? {
                    return Ok(());
                }
            }
            (end, step) = (start, step.saturating_mul(8));
        }
        Ok(())
    }

    /// Writes entries into their pages. What an attempt that came to nothing left there goes.
    fn put_pages<T>(
        &self,
        keyspace: Keyspace,
        entries: &[Numbered<T>],
        writes: &mut Vec<Write>,
    ) -> Result<(), ColdError>
    where
        T: for<'b> Decode<'b, ()> + Encode<()> + Clone,
    {
        for of_page in entries.chunk_by(|one, next| page_of(one.number) == page_of(next.number)) {
            let Some(first) = of_page.first().map(|entry| entry.number) else { continue };
            let mut page = self.page(keyspace, page_of(first))?;
            page.retain(|entry| entry.number < first);
            page.extend_from_slice(of_page);
            writes.push(self.put(keyspace, &page_of(first).to_be_bytes(), &page)?);
        }
        Ok(())
    }

    /// Notes the number of a leaf.
    fn note_leaf(
        &self,
        pages: &mut LeafPages,
        keyspace: Keyspace,
        (key, place): (Vec<u8>, u8),
        number: u64,
    ) -> Result<(), ColdError> {
        let page = match pages.entry((keyspace, key)) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(vacant) => {
                let (keyspace, key) = vacant.key();
                let page = self.leaf_page(keyspace, key)?;
                vacant.insert(page)
            }
        };
        page.0.insert(place, number);
        Ok(())
    }

    /// Takes what leaves memory; it is on the disk when this returns. Done twice it is done once.
    ///
    /// # Errors
    /// When it cannot be written; memory then keeps it.
    pub fn take(&self, leaving: &Leaving) -> Result<(), ColdError> {
        self.take_at(leaving, || {})
    }

    /// The same; between two transactions of the store this is done.
    ///
    /// # Errors
    /// Those of [`Self::take`].
    pub fn take_at(&self, leaving: &Leaving, mut between: impl FnMut()) -> Result<(), ColdError> {
        let exchanges = leaving.exchanges.chunks(AT_ONCE);
        for (first, piece) in (leaving.first..).step_by(AT_ONCE).zip(exchanges) {
            let entry = |(number, (booked, leg)): (u64, &(BookedExchange, _))| Numbered {
                it: Entry { booked: booked.clone(), leg: Option::clone(leg) },
                number,
            };
            let entries: Vec<_> = (first..).zip(piece).map(entry).collect();
            let (mut writes, mut leaves) = (Vec::new(), LeafPages::new());
            self.put_pages(EXCHANGES, &entries, &mut writes)?;
            note_times(EXCHANGE_TIMES, &entries, &mut writes);
            writes.extend(self.times_reach(EXCHANGES, first, piece.len())?);
            for Numbered { it, number } in &entries {
                let numbers = if it.leg.is_some() { NUMBERS } else { ENDED_NUMBERS };
                let id = it.booked.requested.id;
                writes.push(Write::put(numbers, id.as_bytes(), number.to_be_bytes()));
                if let Some(member) = it.booked.requested.member {
                    writes.push(Write::put(EXCHANGES_OF, number_of(member, *number), []));
                }
                if let Some((leaf, _)) = it.leg {
                    self.note_leaf(&mut leaves, LEAVES, leaf_place(&[], leaf), *number)?;
                }
            }
            self.write(writes, leaves)?;
            between();
        }
        let received = leaving.received.chunks(AT_ONCE);
        for (first, piece) in (leaving.first_received..).step_by(AT_ONCE).zip(received) {
            let entry = |(number, ((brand, leaf), received, _)): (u64, &(Place, Received, _))| {
                let (brand, leaf, received) = (*brand, *leaf, *received);
                Numbered { it: ReceivedEntry { brand, leaf, received }, number }
            };
            let entries: Vec<_> = (first..).zip(piece).map(entry).collect();
            let (mut writes, mut leaves) = (Vec::new(), LeafPages::new());
            self.put_pages(RECEIVED, &entries, &mut writes)?;
            note_times(RECEIVED_TIMES, &entries, &mut writes);
            writes.extend(self.times_reach(RECEIVED, first, piece.len())?);
            for (Numbered { it, number }, (.., ended)) in entries.iter().zip(piece) {
                let keyspace =
                    if ended.is_none() { RECEIVED_LEAVES } else { RECEIVED_ENDED_LEAVES };
                let place = leaf_place(&prefix_of(it.brand), it.leaf);
                self.note_leaf(&mut leaves, keyspace, place, *number)?;
                if let Some(member) = it.received.member {
                    writes.push(Write::put(RECEIVED_OF, number_of(member, *number), []));
                }
                for asked in ended.iter().flatten() {
                    let asked_for = Numbered { it: asked.clone(), number: *number };
                    writes.push(self.put(SENT_BACK, asked.id.as_bytes(), &asked_for)?);
                }
            }
            self.write(writes, leaves)?;
            between();
        }
        Ok(())
    }

    fn write(&self, mut writes: Vec<Write>, leaves: LeafPages) -> Result<(), ColdError> {
        let leaves = leaves.into_iter();
        writes
            .extend(leaves.map(|((keyspace, key), page)| Write::put(keyspace, key, page.bytes())));
        Ok(self.store.transaction(&writes)?)
    }
}

/// The key of a number among a member's.
fn number_of(member: MemberId, number: u64) -> Vec<u8> {
    [&member.as_bytes()[..], &number.to_be_bytes()].concat()
}

/// Before a page of leaves of a brand's log. Names do not contain zeros.
fn prefix_of(brand: BrandId) -> Vec<u8> {
    [brand.as_str().as_bytes(), &[0]].concat()
}

fn about(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    [keyspace.as_bytes(), &[0], key].concat()
}

#[cfg(test)]
mod tests;
