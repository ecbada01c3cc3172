//! Exchanges that have left memory: in the store, encrypted, where they can be looked up.
//!
//! An exchange goes there once it is answered and some time has passed, and one that came in likewise; what
//! comes back of one, in time, brings it into memory again, where it stays until its window is over. So each
//! has at most two entries: as it was when it first left, which is never written again, and as it ended. A
//! replay from an older snapshot finds the first as it was, whatever the store has learnt since: every entry
//! has its number, and a reader says how many have left as far as it knows. So it is after a crash between
//! the store and the snapshot, and where a journal was put back to an older state.
//!
//! The truth is the logs' and the journal's: what is here was in both before.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::exchange::OutgoingLeg;
use protocol::ids::{BrandId, LeafIndex, RequestId};

use super::book::BookedExchange;
use super::received::{Place, Received};
use super::record::SendBack;
use crate::store::{Keyspace, Store, StoreError, VALUE_MAX, Write};
use crate::vault::MemberId;

const EXCHANGES: Keyspace = "exchanges";
const ENDED: Keyspace = "exchanges-ended";
const LEGS: Keyspace = "exchanges-by-leaf";
const ORDER: Keyspace = "exchanges-by-number";
const RECEIVED: Keyspace = "received";
const RECEIVED_ENDED: Keyspace = "received-ended";
const RECEIVED_ORDER: Keyspace = "received-by-number";
const RECEIVED_OF: Keyspace = "received-by-member";
const SENT_BACK: Keyspace = "sent-back";
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

#[derive(Encode, Decode)]
#[cbor(array)]
struct Entry {
    #[n(0)]
    booked: BookedExchange,
    #[n(1)]
    leg: Option<(LeafIndex, OutgoingLeg)>,
    #[n(2)]
    number: u64,
}

/// Something of an exchange that came in, with its number.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Numbered<T> {
    #[n(0)]
    it: T,
    #[n(1)]
    number: u64,
}

fn below<T>(numbered: Option<Numbered<T>>, left: u64) -> Option<T> {
    numbered.filter(|known| known.number < left).map(|known| known.it)
}

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

    fn entry(&self, keyspace: Keyspace, key: &[u8], left: u64) -> Result<Option<Entry>, ColdError> {
        let entry: Option<Entry> = self.at(keyspace, key)?;
        Ok(entry.filter(|entry| entry.number < left))
    }

    /// An exchange by its id, as it is known last, when so many have left.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn exchange(&self, id: RequestId, left: u64) -> Result<Option<BookedExchange>, ColdError> {
        let entry = match self.entry(ENDED, id.as_bytes(), left)? {
            None => self.entry(EXCHANGES, id.as_bytes(), left)?,
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
        let Some(id) = self.store.get(LEGS, &leaf.get().to_be_bytes())? else { return Ok(None) };
        if self.entry(ENDED, &id, left)?.is_some() {
            return Ok(None);
        }
        let entry = self.entry(EXCHANGES, &id, left)?;
        Ok(entry.and_then(|entry| Some((entry.booked, entry.leg?.1))))
    }

    /// Exchanges by their numbers, the highest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest(&self, below: u64, limit: usize) -> Result<Vec<BookedExchange>, ColdError> {
        let mut found = Vec::new();
        for id in self.keys(ORDER, &[], below, limit)? {
            let id = id.try_into().map_err(|_| ColdError::Damaged)?;
            found.extend(self.exchange(RequestId::from_bytes(id), below)?);
        }
        Ok(found)
    }

    /// An exchange that came in, as it left memory first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn received(&self, place: Place, left: u64) -> Result<Option<Received>, ColdError> {
        Ok(below(self.at(RECEIVED, &key_of(place))?, left))
    }

    /// The same, as it is known last.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn received_last(&self, place: Place, left: u64) -> Result<Option<Received>, ColdError> {
        match below(self.at(RECEIVED_ENDED, &key_of(place))?, left) {
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
        let keys = match member {
            Some(member) => self.keys(RECEIVED_OF, member.as_bytes(), below, limit)?,
            None => self.keys(RECEIVED_ORDER, &[], below, limit)?,
        };
        let mut found = Vec::new();
        for key in keys {
            let place = place_of(&key).ok_or(ColdError::Damaged)?;
            found.extend(self.received_last(place, below)?.map(|received| (place, received)));
        }
        Ok(found)
    }

    /// What was sent back under an idempotency key.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn sent_back(&self, id: RequestId, left: u64) -> Result<Option<SendBack>, ColdError> {
        Ok(below(self.at(SENT_BACK, id.as_bytes())?, left))
    }

    /// The latest values below a number under a prefix, the latest first.
    fn keys(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        below: u64,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, ColdError> {
        let key = |number: u64| [prefix, &number.to_be_bytes()].concat();
        // numbers under a prefix are not dense: what is before is looked at in larger and larger pieces
        let (mut found, mut end, mut step) = (Vec::new(), below, limit.max(64) as u64);
        while end > 0 && found.len() < limit {
            let start = end.saturating_sub(step);
            let (from, to) = (key(start), key(end));
            let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            let piece = self.store.scan(keyspace, from, to, usize::MAX)?;
            found.extend(piece.into_iter().rev().map(|(_, value)| value));
            (end, step) = (start, step.saturating_mul(8));
        }
        found.truncate(limit);
        Ok(found)
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
        let numbered = (leaving.first..).zip(&leaving.exchanges);
        for piece in numbered.collect::<Vec<_>>().chunks(AT_ONCE) {
            let mut writes = Vec::new();
            for (number, (booked, leg)) in piece {
                let number = *number;
                let id = booked.requested.id;
                let entry = Entry { booked: booked.clone(), leg: leg.clone(), number };
                let keyspace = if leg.is_some() { EXCHANGES } else { ENDED };
                writes.push(self.put(keyspace, id.as_bytes(), &entry)?);
                writes.push(Write::put(ORDER, number.to_be_bytes(), *id.as_bytes()));
                if let Some((leaf, _)) = leg {
                    writes.push(Write::put(LEGS, leaf.get().to_be_bytes(), *id.as_bytes()));
                }
            }
            self.store.transaction(&writes)?;
            between();
        }
        let numbered = (leaving.first_received..).zip(&leaving.received);
        for piece in numbered.collect::<Vec<_>>().chunks(AT_ONCE) {
            let mut writes = Vec::new();
            for (number, (place, received, ended)) in piece {
                let key = key_of(*place);
                let keyspace = if ended.is_none() { RECEIVED } else { RECEIVED_ENDED };
                let number = *number;
                writes.push(self.put(keyspace, &key, &Numbered { it: *received, number })?);
                writes.push(Write::put(RECEIVED_ORDER, number.to_be_bytes(), key.clone()));
                if let Some(member) = received.member {
                    let of = [&member.as_bytes()[..], &number.to_be_bytes()].concat();
                    writes.push(Write::put(RECEIVED_OF, of, key));
                }
                for asked in ended.iter().flatten() {
                    let asked_for = Numbered { it: asked.clone(), number };
                    writes.push(self.put(SENT_BACK, asked.id.as_bytes(), &asked_for)?);
                }
            }
            self.store.transaction(&writes)?;
            between();
        }
        Ok(())
    }
}

fn about(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    [keyspace.as_bytes(), &[0], key].concat()
}

fn key_of((brand, leaf): Place) -> Vec<u8> {
    [&leaf.get().to_be_bytes()[..], brand.as_str().as_bytes()].concat()
}

fn place_of(key: &[u8]) -> Option<Place> {
    let (leaf, brand) = key.split_first_chunk()?;
    let brand = BrandId::new(std::str::from_utf8(brand).ok()?).ok()?;
    Some((brand, LeafIndex::new(u64::from_be_bytes(*leaf))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use protocol::amount::{Points, Rate, Value};
    use protocol::exchange::{Exchange, IncomingLeg};
    use protocol::ids::{MemberHandle, RequestHash};
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
}
