//! An ordered map of which a second copy costs next to nothing: entries lie in pieces that copies share
//! until one of them changes a piece.
//!
//! A node's state is many entries of which a turn touches few. A copy of the map is the state as it is now,
//! for a thread that writes it down while the map goes on; what the map changes meanwhile is copied piece
//! by piece, once. Order, equality and encoding are those of a `BTreeMap`.

use std::fmt;
use std::sync::Arc;

use minicbor::data::Type;
use minicbor::decode::Error as ReadError;
use minicbor::encode::{Error as WriteError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

/// Entries of a piece at most: what is copied when one of them changes after a copy was taken.
const PIECE: usize = 128;
/// Two pieces that are next to each other become one when they have no more than so many.
const JOINED: usize = PIECE / 2;

/// Entries that lie together. Keys are apart from values, so that a search touches few lines of memory
/// however large the values are.
#[derive(Clone)]
struct Entries<K, V> {
    // ascending, each once, never none
    keys: Vec<K>,
    // as many, in the same order
    values: Vec<V>,
}

impl<K, V> Entries<K, V> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.keys.iter().zip(&self.values)
    }
}

#[derive(Clone)]
struct Piece<K, V> {
    // of its first entry
    first: K,
    entries: Arc<Entries<K, V>>,
}

impl<K: Clone, V> Piece<K, V> {
    fn of(keys: Vec<K>, values: Vec<V>) -> Option<Self> {
        let first = keys.first()?.clone();
        Some(Self { first, entries: Arc::new(Entries { keys, values }) })
    }
}

impl<K, V> Piece<K, V> {
    fn keys(&self) -> &[K] {
        &self.entries.keys
    }
}

/// The map.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    pieces: Vec<Piece<K, V>>,
    count: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { pieces: Vec::new(), count: 0 }
    }
}

impl<K, V> SharedMap<K, V> {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// All entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.pieces.iter().flat_map(|piece| piece.entries.iter())
    }
    /// All keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }
    /// All values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The piece that has this key if any has.
    fn place(&self, key: &K) -> usize {
        self.pieces.partition_point(|piece| piece.first <= *key).saturating_sub(1)
    }

    /// Where a key is: its piece and its place there; or where it would be.
    fn find(&self, key: &K) -> Result<(usize, usize), (usize, usize)> {
        let place = self.place(key);
        let keys = self.pieces.get(place).map(Piece::keys).unwrap_or_default();
        let found = keys.binary_search(key);
        found.map(|at| (place, at)).map_err(|at| (place, at))
    }

    /// What is under a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (place, at) = self.find(key).ok()?;
        self.pieces.get(place)?.entries.values.get(at)
    }
    /// Whether there is something under a key.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }
    /// The first entry.
    #[must_use]
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }
    /// The last entry.
    #[must_use]
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }
    /// Entries from a key on, ascending.
    pub fn from_key<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> {
        let place = self.place(key);
        let pieces = self.pieces.get(place..).unwrap_or_default();
        let at = pieces.first().map_or(0, |piece| piece.keys().partition_point(|it| it < key));
        // all before it are in the first of these pieces
        pieces.iter().flat_map(|piece| piece.entries.iter()).skip(at)
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// What is under a key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        // a piece is copied only for what is there
        let at = self.find(key).ok()?;
        self.entry(at)
    }

    /// Adds what is not there where it would be; gives where it is.
    fn add(&mut self, (place, at): (usize, usize), key: K, value: V) -> (usize, usize) {
        self.count = self.count.saturating_add(1);
        let length = self.pieces.get(place).map_or(PIECE, |piece| piece.keys().len());
        let (mut place, mut at) = (place, at);
        if length >= PIECE {
            let is_end = place.saturating_add(1) >= self.pieces.len() && at >= length;
            if self.pieces.is_empty() || is_end {
                // what grows at its end fills its pieces
                self.pieces.extend(Piece::of(vec![key], vec![value]));
                return (self.pieces.len().saturating_sub(1), 0);
            }
            self.split(place);
            if let Some(later @ 1..) = at.checked_sub(PIECE / 2) {
                (place, at) = (place.saturating_add(1), later);
            }
        }
        if let Some(piece) = self.pieces.get_mut(place) {
            if at == 0 {
                piece.first = key.clone();
            }
            let entries = Arc::make_mut(&mut piece.entries);
            entries.keys.insert(at, key);
            entries.values.insert(at, value);
        }
        (place, at)
    }

    fn entry(&mut self, (place, at): (usize, usize)) -> Option<&mut V> {
        let entries = &mut self.pieces.get_mut(place)?.entries;
        Arc::make_mut(entries).values.get_mut(at)
    }

    /// What is under a key, to change it; what a function gives if there was nothing.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = self.find(&key).unwrap_or_else(|at| self.add(at, key, make()));
        match self.entry(at) {
            Some(value) => value,
            None => unreachable!("it was found there, or put there"),
        }
    }

    /// What is under a key, to change it; the default if there was nothing.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or_insert_with(key, V::default)
    }

    fn split(&mut self, place: usize) {
        let Some(piece) = self.pieces.get_mut(place) else { return };
        let entries = Arc::make_mut(&mut piece.entries);
        let half = entries.keys.len() / 2;
        let later = Piece::of(entries.keys.split_off(half), entries.values.split_off(half));
        if let Some(later) = later {
            self.pieces.insert(place.saturating_add(1), later);
        }
    }

    /// Puts something under a key; gives what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.entry(at).map(|there| std::mem::replace(there, value)),
            Err(at) => {
                self.add(at, key, value);
                None
            }
        }
    }

    /// Takes away what is under a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key);
        let piece = self.pieces.get_mut(place)?;
        let at = piece.keys().binary_search(key).ok()?;
        self.count = self.count.saturating_sub(1);
        if piece.keys().len() == 1 {
            let gone = self.pieces.remove(place).entries;
            let gone = Arc::try_unwrap(gone).unwrap_or_else(|shared| (*shared).clone());
            return gone.values.into_iter().next();
        }
        let entries = Arc::make_mut(&mut piece.entries);
        entries.keys.remove(at);
        let value = entries.values.remove(at);
        let left = entries.keys.len();
        if let (0, Some(first)) = (at, entries.keys.first()) {
            piece.first = first.clone();
        }
        self.join(place, left);
        Some(value)
    }

    /// Joins a piece that has become small with the one after it.
    fn join(&mut self, place: usize, left: usize) {
        let after = place.saturating_add(1);
        let Some(next) = self.pieces.get(after) else { return };
        if left.saturating_add(next.keys().len()) > JOINED {
            return;
        }
        let next = self.pieces.remove(after).entries;
        if let Some(piece) = self.pieces.get_mut(place) {
            let next = Arc::try_unwrap(next).unwrap_or_else(|shared| (*shared).clone());
            let entries = Arc::make_mut(&mut piece.entries);
            entries.keys.extend(next.keys);
            entries.values.extend(next.values);
        }
    }

    /// Takes away the first entry.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        let first = self.pieces.first()?.first.clone();
        let value = self.remove(&first)?;
        Some((first, value))
    }

    /// Changes the entries that a function chooses; looks at every one.
    pub fn change_where(
        &mut self,
        which: impl Fn(&K, &V) -> bool,
        mut change: impl FnMut(&K, &mut V),
    ) {
        for piece in &mut self.pieces {
            if piece.entries.iter().any(|(key, value)| which(key, value)) {
                let Entries { keys, values } = Arc::make_mut(&mut piece.entries);
                let entries = keys.iter().zip(values);
                let chosen = entries.filter(|(key, value)| which(key, value));
                chosen.for_each(|(key, value)| change(key, value));
            }
        }
    }

    /// Keeps what a function says; looks at every entry.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let gone: Vec<K> = self
            .iter()
            .filter(|(key, value)| !keep(key, value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for SharedMap<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<C, K: Encode<C>, V: Encode<C>> Encode<C> for SharedMap<K, V> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), WriteError<W::Error>> {
        encoder.map(self.count as u64)?;
        for (key, value) in self.iter() {
            key.encode(encoder, context)?;
            value.encode(encoder, context)?;
        }
        Ok(())
    }
}

impl<'b, C, K, V> Decode<'b, C> for SharedMap<K, V>
where
    K: Decode<'b, C> + Ord + Clone,
    V: Decode<'b, C> + Clone,
{
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, ReadError> {
        let mut map = Self::default();
        let length = decoder.map()?;
        let mut left = length;
        loop {
            match &mut left {
                Some(0) => return Ok(map),
                Some(left) => *left = left.saturating_sub(1),
                None if decoder.datatype()? == Type::Break => {
                    decoder.skip()?;
                    return Ok(map);
                }
                None => {}
            }
            let key = K::decode(decoder, context)?;
            map.insert(key, V::decode(decoder, context)?);
        }
    }
}

/// An ordered set of the same kind.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSet<K>(SharedMap<K, ()>);

impl<K> Default for SharedSet<K> {
    fn default() -> Self {
        Self(SharedMap::default())
    }
}

impl<K> SharedSet<K> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// All, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.0.keys()
    }
    /// The first.
    #[must_use]
    pub fn first(&self) -> Option<&K> {
        self.iter().next()
    }
}

impl<K: Ord + Clone> SharedSet<K> {
    /// Whether this is in it.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
    /// Adds one; says whether it is new.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }
    /// Takes one away; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }
    /// Takes away the first.
    pub fn pop_first(&mut self) -> Option<K> {
        self.0.pop_first().map(|(key, ())| key)
    }
    /// Keeps what a function says; looks at every one.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.0.retain(|key, ()| keep(key));
    }
}

impl<K: fmt::Debug> fmt::Debug for SharedSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<C, K: Encode<C>> Encode<C> for SharedSet<K> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), WriteError<W::Error>> {
        encoder.array(self.len() as u64)?;
        self.iter().try_for_each(|key| key.encode(encoder, context))
    }
}

impl<'b, C, K: Decode<'b, C> + Ord + Clone> Decode<'b, C> for SharedSet<K> {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, ReadError> {
        let keys: Vec<K> = Vec::decode(decoder, context)?;
        Ok(Self(keys.into_iter().map(|key| (key, ())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn sound(map: &SharedMap<u16, u32>) {
        let entries = || map.pieces.iter().map(|piece| &piece.entries);
        assert!(entries().all(|it| (1..=PIECE).contains(&it.keys.len())));
        assert!(entries().all(|it| it.keys.len() == it.values.len()));
        assert!(map.pieces.iter().all(|piece| piece.first == piece.entries.keys[0]));
        assert_eq!(entries().map(|it| it.keys.len()).sum::<usize>(), map.len());
        assert!(map.keys().is_sorted_by(|one, next| one < next));
    }

    proptest! {
        /// Whatever is done to it, it is what a `BTreeMap` is, in its order and bytes; and a copy that was
        /// taken stays what it was.
        #[test]
        fn it_is_an_ordered_map_and_a_copy_stays_what_it_was(
            start in 0..600_u16,
            calls in prop::collection::vec((0..8_u8, 0..900_u16, any::<u32>()), 1..600),
        ) {
            let mut map: SharedMap<u16, u32> = (0..start).map(|key| (key, 0)).collect();
            let mut model: BTreeMap<u16, u32> = (0..start).map(|key| (key, 0)).collect();
            let mut copies = vec![(map.clone(), model.clone())];
            for (call, key, value) in calls {
                match call {
                    0 | 1 => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    2 | 3 => assert_eq!(map.remove(&key), model.remove(&key)),
                    4 => {
                        let (one, other) = (map.get_mut(&key), model.get_mut(&key));
                        assert_eq!(one, other);
                        if let (Some(one), Some(other)) = (one, other) {
                            (*one, *other) = (value, value);
                        }
                    }
                    5 => {
                        let (one, other) = (map.get_or_default(key), model.entry(key).or_default());
                        (*one, *other) = (one.wrapping_add(value), other.wrapping_add(value));
                    }
                    6 => assert_eq!(map.pop_first(), model.pop_first()),
                    _ if value % 16 == 1 => {
                        map.change_where(|key, _| key % 7 == 0, |_, there| *there = value);
                        let chosen = model.iter_mut().filter(|(key, _)| *key % 7 == 0);
                        chosen.for_each(|(_, there)| *there = value);
                    }
                    _ if value % 16 == 0 => {
                        map.retain(|key, _| key % 3 > 0);
                        model.retain(|key, _| key % 3 > 0);
                    }
                    _ => copies.push((map.clone(), model.clone())),
                }
                assert_eq!(map.get(&key), model.get(&key));
                assert!(map.from_key(&key).eq(model.range(key..)));
            }
            copies.push((map, model));
            for (map, model) in &copies {
                sound(map);
                assert!(map.iter().eq(model.iter()) && map.iter().rev().eq(model.iter().rev()));
                assert_eq!(map.first_key_value(), model.first_key_value());
                assert_eq!(map.last_key_value(), model.last_key_value());
                let bytes = minicbor::to_vec(map).unwrap();
                assert_eq!(bytes, minicbor::to_vec(model).unwrap());
                let read: SharedMap<u16, u32> = minicbor::decode(&bytes).unwrap();
                assert!(read == *map);
                let set: SharedSet<u16> = minicbor::decode(
                    &minicbor::to_vec(model.keys().copied().collect::<BTreeSet<_>>()).unwrap(),
                ).unwrap();
                assert!(set.iter().eq(model.keys()));
                assert_eq!(minicbor::to_vec(&set).unwrap(),
                    minicbor::to_vec(model.keys().copied().collect::<BTreeSet<_>>()).unwrap());
            }
        }
    }

    #[test]
    fn what_grows_at_its_end_fills_its_pieces_and_what_empties_lets_go_of_them() {
        let mut map: SharedMap<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
        assert_eq!(map.pieces.len(), 10_000_usize.div_ceil(PIECE));
        for key in 0..9_990 {
            assert_eq!(map.remove(&key), Some(key));
        }
        assert_eq!((map.pieces.len(), map.len()), (1, 10));
        map.retain(|_, _| false);
        assert!(map.is_empty() && map.pieces.is_empty() && map.get(&1).is_none());
    }
}
