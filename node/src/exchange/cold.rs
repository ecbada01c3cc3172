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
mod tests {
    use super::super::book::Book;
    use super::super::record::Requested;
    use super::by_time::TIMES_TO;
    use super::*;
    use crate::store::{MemoryStore, SledStore};
    use protocol::amount::{Points, Rate, Value};
    use protocol::exchange::{Exchange, IncomingLeg, LegState};
    use protocol::ids::{Height, MemberHandle, RequestHash};
    use protocol::time::Timestamp;

    struct Clear;

    impl Seal for Clear {
        fn seal(&self, about: &[u8], plain: Vec<u8>) -> Option<Vec<u8>> {
            Some([about, &plain].concat())
        }
        fn open(&self, about: &[u8], sealed: Vec<u8>) -> Option<Vec<u8>> {
            sealed.strip_prefix(about).map(<[u8]>::to_vec)
        }
    }

    /// After a crash between the store and the snapshot, and where a journal was put back, the store knows
    /// more than the reader should.
    #[test]
    fn who_knows_of_fewer_that_have_left_finds_what_there_was_then() {
        let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
        let points = |number| Points::new(number).unwrap();
        let (handle, request) = (MemberHandle::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
        let owed = Value::new(100).unwrap();
        let exchange = Exchange { handle, request, sent: points(20), received: points(10), owed };
        let until = Timestamp::from_unix_ms(1_000_000);
        let first = IncomingLeg::new(&exchange, Rate::ONE, until);
        let leaf = LeafIndex::new(7);
        let mut last = first;
        last.take_back(leaf, points(4)).unwrap();
        let place = (BrandId::new("other").unwrap(), leaf);
        let member: MemberId = minicbor::decode(&[&[0x50], &[9; 16][..]].concat()).unwrap();
        let asked = SendBack {
            id: RequestId::from_bytes([3; 16]),
            request: RequestHash::from_bytes([4; 32]),
            from: place.0,
            leaf,
            member,
            points: points(4),
            at: until,
        };
        let leaving = |number, leg, ended| Leaving {
            first_received: number,
            received: vec![(place, Received::new(Some(member), leg), ended)],
            ..Leaving::default()
        };
        // done twice it is done once
        for _ in 0..2 {
            cold.take(&leaving(0, first, None)).unwrap();
        }
        cold.take(&leaving(5, last, Some(vec![asked.clone()]))).unwrap();

        let leg = |found: Option<Received>| found.map(|received| received.leg);
        assert_eq!(leg(cold.received(place, 0).unwrap()), None);
        for left in [1, 5, 6] {
            assert_eq!(leg(cold.received(place, left).unwrap()), Some(first));
        }
        assert_eq!(leg(cold.received_last(place, 0).unwrap()), None);
        assert_eq!(leg(cold.received_last(place, 5).unwrap()), Some(first));
        assert_eq!(leg(cold.received_last(place, 6).unwrap()), Some(last));
        assert_eq!(cold.sent_back(asked.id, 5).unwrap(), None);
        assert_eq!(cold.sent_back(asked.id, 6).unwrap(), Some(asked));
        let latest = |below, whose| cold.latest_received(below, 9, whose).unwrap().len();
        assert_eq!((latest(0, None), latest(1, None), latest(6, Some(member))), (0, 1, 2));
    }

    /// What is not read must not be taken for absent: a key would be taken a second time.
    #[test]
    fn a_store_of_the_former_form_is_refused() {
        let store = Arc::new(MemoryStore::new());
        let cold = Cold::new(store.clone(), Arc::new(Clear));
        cold.check_form().unwrap();
        for keyspace in FORMER {
            store.transaction(&[Write::put(keyspace, [0; 8], [1; 16])]).unwrap();
            assert!(matches!(cold.check_form(), Err(ColdError::Former)));
            store.transaction(&[Write::delete(keyspace, [0; 8])]).unwrap();
        }
        cold.check_form().unwrap();
    }

    /// What leaves, what comes back and leaves again, and attempts that came to nothing between, against a
    /// list of all of it.
    #[test]
    fn every_reader_finds_what_had_left_by_then() {
        let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
        let mut random = Random(7);
        let members: Vec<MemberId> = (0..3).map(member).collect();
        // what is in memory: the number of an exchange, and whether it has left before
        let mut memory: Vec<(u64, bool)> = Vec::new();
        let (mut made, mut left) = (0, 0);
        let mut known: Vec<(u64, bool)> = Vec::new();
        for round in 0..120_u64 {
            let fresh = random.below(40);
            memory.extend((made..made + fresh).map(|which| (which, false)));
            made += fresh;
            // some in any order, since some wait for an answer longer than others
            let mut going = Vec::new();
            memory.retain(|it| {
                let goes = random.below(3) > 0;
                going.extend(goes.then_some(*it));
                !goes
            });
            if random.below(2) == 0 {
                going.reverse();
            }
            let leaving = Leaving {
                first: left,
                exchanges: going.iter().map(|it| exchange(*it)).collect(),
                first_received: left,
                received: going.iter().map(|it| received(*it, &members)).collect(),
                void: Vec::new(),
            };
            cold.take(&leaving).unwrap();
            if random.below(3) == 0 {
                // a crash before the snapshot that says so
                memory.extend(going);
                continue;
            }
            left += going.len() as u64;
            known.extend(going);
            // something of a few comes back
            for _ in 0..random.below(4) {
                let which = random.below(made);
                if known.contains(&(which, false))
                    && !known.contains(&(which, true))
                    && !memory.contains(&(which, true))
                {
                    memory.push((which, true));
                }
            }
            if round % 8 == 0 {
                for as_of in [0, random.below(left + 1), left] {
                    compare(&cold, &known, made, as_of, &members);
                }
            }
        }
        assert!(left > 1_000 && known.iter().any(|(_, ended)| *ended));
    }

    fn compare(cold: &Cold, known: &[(u64, bool)], made: u64, as_of: u64, members: &[MemberId]) {
        let then = &known[..usize::try_from(as_of).unwrap()];
        let last = |which: u64| {
            let ended = then.contains(&(which, true));
            then.iter().any(|it| it.0 == which).then_some((which, ended))
        };
        for which in 0..made {
            let id = exchange((which, false)).0.requested.id;
            let expected = last(which).map(|it| exchange(it).0);
            assert_eq!(cold.exchange(id, as_of).unwrap(), expected);
            let open = last(which).filter(|(_, ended)| !ended).map(exchange);
            let open = open.map(|(booked, leg)| (booked, leg.unwrap().1));
            assert_eq!(cold.leg(LeafIndex::new(which * 3), as_of).unwrap(), open);
            let place = received((which, false), members).0;
            let expected = last(which).map(|it| received(it, members).1);
            assert_eq!(cold.received_last(place, as_of).unwrap(), expected);
            let first = expected.map(|_| received((which, false), members).1);
            assert_eq!(cold.received(place, as_of).unwrap(), first);
        }
        let latest = then.iter().rev().map(|it| last(it.0).unwrap());
        let expected: Vec<_> = latest.clone().take(9).map(|it| exchange(it).0).collect();
        assert_eq!(cold.latest(as_of, 9).unwrap(), expected);
        for whose in members {
            let all = latest.clone().map(|it| exchange(it).0);
            let all = all.filter(|it| it.requested.member == Some(*whose));
            let expected: Vec<_> = all.take(7).collect();
            assert_eq!(cold.latest_of(*whose, as_of, 7).unwrap(), expected);
        }
        let mut expected: Vec<_> = (0..made).filter_map(last).map(|it| exchange(it).0).collect();
        expected.sort_by_key(|it| std::cmp::Reverse(it.key()));
        assert_eq!(walk(cold, as_of), expected);
        let came = (0..made).filter_map(last).map(|it| received(it, members));
        let mut expected: Vec<_> = came.map(|(place, it, _)| (place, it)).collect();
        expected.sort_by_key(|(place, it)| std::cmp::Reverse(it.key(*place)));
        let (mut walked, mut before) = (Vec::new(), None);
        loop {
            let page = cold.received_before(before, (as_of, 11), |_| false).unwrap();
            let Some((place, end)) = page.last() else { break };
            before = Some(end.key(*place));
            walked.extend(page);
        }
        assert_eq!(walked, expected);
        for whose in members.iter().copied().map(Some).chain([None]) {
            let all = latest.clone().map(|it| received(it, members));
            let all = all.filter(|it| whose.is_none() || it.1.member == whose);
            let expected: Vec<_> = all.take(7).map(|(place, it, _)| (place, it)).collect();
            assert_eq!(cold.latest_received(as_of, 7, whose).unwrap(), expected);
        }
    }

    /// All in the order of time, page by page.
    fn walk(cold: &Cold, as_of: u64) -> Vec<BookedExchange> {
        let (mut walked, mut before) = (Vec::new(), None);
        loop {
            let page = cold.exchanges_before(before, (as_of, 7), |_| false).unwrap();
            let Some(end) = page.last() else { return walked };
            before = Some(end.key());
            walked.extend(page);
        }
    }

    #[test]
    fn what_an_earlier_build_has_left_is_brought_into_the_order_of_time() {
        bring_into_the_order_of_time(Arc::new(MemoryStore::new()));
        let folder = tempfile::tempdir().unwrap();
        bring_into_the_order_of_time(Arc::new(SledStore::open(folder.path()).unwrap()));
    }

    fn bring_into_the_order_of_time(store: Arc<dyn Store>) {
        let cold = Cold::new(store.clone(), Arc::new(Clear));
        let members: Vec<MemberId> = (0..3).map(member).collect();
        let take = |numbers: std::ops::Range<u64>| {
            let leaving = Leaving {
                first: numbers.start,
                exchanges: numbers.clone().map(|which| exchange((which, false))).collect(),
                first_received: numbers.start,
                received: numbers.map(|which| received((which, false), &members)).collect(),
                void: Vec::new(),
            };
            cold.take(&leaving).unwrap();
        };
        let ids =
            |left: u64| walk(&cold, left).iter().map(|it| it.requested.id).collect::<Vec<_>>();
        take(0..3_000);
        let whole = ids(3_000);
        assert_eq!(whole.len(), 3_000);
        // as that build had left it
        for keyspace in [EXCHANGE_TIMES, RECEIVED_TIMES, TIMES_TO] {
            let all = store.scan(keyspace, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap();
            let gone: Vec<_> =
                all.into_iter().map(|(key, _)| Write::delete(keyspace, key)).collect();
            store.transaction(&gone).unwrap();
        }
        assert_eq!(ids(3_000), []);
        // what leaves meanwhile does not hide that there is a gap
        take(3_000..3_010);
        // with those of their page that are of one moment with one of them
        assert!((10..42).contains(&ids(3_010).len()), "{}", ids(3_010).len());
        cold.complete_times().unwrap();
        assert_eq!(ids(3_000), whole);
        assert_eq!(ids(3_010).len(), 3_010);
        let came = cold.received_before(None, (3_010, 5_000), |_| false).unwrap();
        assert_eq!(came.len(), 3_010);
        // there is nothing to do the next time
        let reach = || store.get(TIMES_TO, EXCHANGES.as_bytes()).unwrap();
        let before = reach();
        cold.complete_times().unwrap();
        assert_eq!(reach(), before);
        assert_eq!(before, Some(3_010_u64.to_be_bytes().to_vec()));
    }

    /// Who walks the pages sees what there was when the walk began, each once, whatever comes and leaves memory.
    #[test]
    fn pages_have_every_exchange_once_while_some_come_and_some_leave_memory() {
        let cold = Cold::new(Arc::new(MemoryStore::new()), Arc::new(Clear));
        let mut book = Book::with(cold.clone());
        let which_of = |booked: &BookedExchange| booked.requested.id;
        let (mut made, mut left) = (0, 0);
        let mut come = |book: &mut Book, count: u64| {
            for which in made..made + count {
                book.take_up_exchange(exchange((which, true)).0);
            }
            made += count;
        };
        let mut leave = |book: &mut Book, every: u64| {
            let hot: Vec<_> = book.exchanges().cloned().collect();
            let going = (0_u64..).zip(hot).filter(|(place, _)| place % every == 0);
            let exchanges: Vec<_> = going.map(|(_, booked)| (booked, None)).collect();
            let count = exchanges.len() as u64;
            let mut leaving = Leaving { first: left, exchanges, ..Leaving::default() };
            cold.take(&leaving).unwrap();
            book.leaves(&leaving);
            assert!(book.leave(&mut leaving, usize::MAX));
            left += count;
        };
        // more than one page looks at
        let all_of = |book: &Book| {
            let (mut all, mut place) = (Vec::new(), None);
            loop {
                let (page, next) = book.page(place, 5_000, |_| true).unwrap();
                all.extend(page);
                let Some(next) = next else { return all };
                place = Some(next);
            }
        };
        // three of one moment come together
        come(&mut book, 201);
        leave(&mut book, 3);
        let whole: Vec<_> = (0..201).rev().map(|which| exchange((which, true)).0).collect();
        let mut expected = whole.clone();
        expected.sort_by_key(|it| std::cmp::Reverse(it.key()));
        for limit in [1, 9, 200, 999] {
            let begun = all_of(&book);
            let (mut seen, mut place) = (Vec::new(), None);
            loop {
                let (page, next) = book.page(place, limit, |_| true).unwrap();
                assert!(page.len() <= limit);
                seen.extend(page.iter().map(which_of));
                come(&mut book, 3);
                leave(&mut book, 5);
                let Some(next) = next else { break };
                place = Some(next);
            }
            assert_eq!(seen, begun.iter().map(which_of).collect::<Vec<_>>(), "{limit}");
        }
        // the first of all are among them, in order
        assert!(all_of(&book).ends_with(&expected));
        // where few are wanted a page ends early and says where to go on
        come(&mut book, 2_100);
        let wanted = whole[150].requested.id;
        let is_wanted = |booked: &BookedExchange| booked.requested.id == wanted;
        let (mut found, mut place, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = book.page(place, 3, is_wanted).unwrap();
            found.extend(page.iter().map(which_of));
            pages += 1;
            let Some(next) = next else { break };
            place = Some(next);
        }
        assert_eq!(found, [wanted]);
        assert!(pages > 1);
    }

    /// Exchange number so and so, as it leaves first or, ended, for the second time.
    fn exchange((which, ended): (u64, bool)) -> (BookedExchange, Option<(LeafIndex, OutgoingLeg)>) {
        let mut id = [0; 16];
        // ids are in no order
        id[..8].copy_from_slice(&which.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let points = Points::new(1 + u64::from(ended)).unwrap();
        // some in one moment
        let at = Timestamp::from_unix_ms(which / 3 * 300);
        let (to, owed) = (BrandId::new("other").unwrap(), Value::new(9).unwrap());
        let handle = MemberHandle::from_bytes([1; 16]);
        let requested = Requested {
            id: RequestId::from_bytes(id),
            request: None,
            member: Some(member(u8::try_from(which % 3).unwrap())),
            to,
            sent: points,
            received: points,
            owed,
            at,
            handle,
        };
        let leaf = LeafIndex::new(which * 3);
        let leg = OutgoingLeg {
            to,
            height: Height::new(1),
            until: at,
            payload: requested.payload(),
            state: LegState::Final,
            points_back: Points::ZERO,
        };
        (BookedExchange::held(requested), (!ended).then_some((leaf, leg)))
    }

    fn received(
        (which, ended): (u64, bool),
        members: &[MemberId],
    ) -> (Place, Received, Option<Vec<SendBack>>) {
        let points = Points::new(1 + u64::from(ended)).unwrap();
        let until = Timestamp::from_unix_ms(which * 700);
        let exchange = Exchange {
            handle: MemberHandle::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            sent: points,
            received: points,
            owed: Value::new(100).unwrap(),
        };
        let leg = IncomingLeg::new(&exchange, Rate::ONE, until);
        let brand = BrandId::new(if which.is_multiple_of(2) { "even" } else { "odd" }).unwrap();
        let member = members[usize::try_from(which % 3).unwrap()];
        let place = (brand, LeafIndex::new(which * 5));
        (place, Received::new(Some(member), leg), ended.then(Vec::new))
    }

    fn member(which: u8) -> MemberId {
        minicbor::decode(&[&[0x50], &[which; 16][..]].concat()).unwrap()
    }

    /// A generator of numbers that are the same each time (xorshift, Marsaglia 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, most: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % most.max(1)
        }
    }
}
