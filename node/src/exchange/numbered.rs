//! Things with running numbers, found by them without a search; a second copy costs next to nothing.
//!
//! As [`SharedMap`](protocol::shared_map::SharedMap), entries lie in pieces that copies share until one of them
//! changes a piece. Numbers are given here, each once, so that where an entry lies follows from its number.

use std::collections::VecDeque;
use std::sync::Arc;

/// Places of a piece: what is copied when one of them changes after a copy was taken.
const PIECE: u64 = 128;

#[derive(Clone, Debug)]
struct Piece<V> {
    // how many of the places have something
    taken: u64,
    // in the order of their numbers; only the last piece has fewer than [`PIECE`]
    places: Vec<Option<V>>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Numbered<V> {
    // the number of the first piece's first place
    first: u64,
    // none where nothing is left
    pieces: VecDeque<Option<Arc<Piece<V>>>>,
    next: u64,
}

impl<V> Default for Numbered<V> {
    fn default() -> Self {
        Self { first: 0, pieces: VecDeque::new(), next: 0 }
    }
}

impl<V> Numbered<V> {
    /// The number of the next one.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Which piece a number is in, and its place there.
    fn find(&self, number: u64) -> Option<(usize, usize)> {
        let behind = number.checked_sub(self.first)?;
        Some((usize::try_from(behind / PIECE).ok()?, (behind % PIECE) as usize))
    }

    /// The one with a number.
    pub fn get(&self, number: u64) -> Option<&V> {
        let (piece, place) = self.find(number)?;
        self.pieces.get(piece)?.as_ref()?.places.get(place)?.as_ref()
    }

    /// All, in the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &V)> {
        let first = self.first;
        self.pieces.iter().enumerate().flat_map(move |(piece, entries)| {
            let places = entries.as_ref().map(|piece| piece.places.as_slice()).unwrap_or_default();
            let begin = first + piece as u64 * PIECE;
            let numbered = places.iter().enumerate();
            numbered.filter_map(move |(place, value)| Some((begin + place as u64, value.as_ref()?)))
        })
    }
}

impl<V: Clone> Numbered<V> {
    /// The one with a number, to change it.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        // a piece is copied only for what is there
        self.get(number)?;
        let (piece, place) = self.find(number)?;
        let piece = Arc::make_mut(self.pieces.get_mut(piece)?.as_mut()?);
        piece.places.get_mut(place)?.as_mut()
    }

    /// Adds one; gives its number.
    pub fn push(&mut self, value: V) -> u64 {
        let number = self.next;
        self.next += 1;
        match self.pieces.back_mut() {
            Some(Some(piece)) if piece.places.len() < PIECE as usize => {
                let piece = Arc::make_mut(piece);
                piece.taken += 1;
                piece.places.push(Some(value));
            }
            _ => {
                if self.pieces.is_empty() {
                    self.first = number;
                }
                let mut places = Vec::with_capacity(PIECE as usize);
                places.push(Some(value));
                self.pieces.push_back(Some(Arc::new(Piece { taken: 1, places })));
            }
        }
        number
    }

    /// Takes one away.
    pub fn remove(&mut self, number: u64) -> Option<V> {
        self.get(number)?;
        let (at, place) = self.find(number)?;
        let entries = self.pieces.get_mut(at)?;
        let piece = Arc::make_mut(entries.as_mut()?);
        let value = piece.places.get_mut(place)?.take();
        piece.taken -= 1;
        // the last one still grows
        if piece.taken == 0 && piece.places.len() >= PIECE as usize {
            *entries = None;
            while self.pieces.pop_front_if(|piece| piece.is_none()).is_some() {
                self.first += PIECE;
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(of: &Numbered<u32>) -> Vec<(u64, u32)> {
        of.iter().map(|(number, value)| (number, *value)).collect()
    }

    proptest! {
        /// Beside an ordered map; copies that are taken on the way stay what they were.
        #[test]
        fn it_is_an_ordered_map_of_running_numbers(
            steps in prop::collection::vec((0..8_u8, any::<prop::sample::Index>(), any::<u32>()), 1..1500),
        ) {
            let mut numbered = Numbered::default();
            let mut map = BTreeMap::new();
            let mut copies = Vec::new();
            for (step, which, value) in steps {
                // some that are there, and some that are not, or not any more
                let number = which.index(map.len() + 1) as u64;
                let number = map.keys().nth(number as usize).copied().unwrap_or(number);
                match step {
                    0..4 => {
                        let next = numbered.next();
                        prop_assert_eq!(numbered.push(value), next);
                        map.insert(next, value);
                    }
                    4 | 5 => prop_assert_eq!(numbered.remove(number), map.remove(&number)),
                    6 => {
                        prop_assert_eq!(numbered.get_mut(number).is_some(), map.contains_key(&number));
                        if let Some(there) = numbered.get_mut(number) {
                            *there = value;
                            map.insert(number, value);
                        }
                    }
                    _ if copies.len() < 4 => copies.push((numbered.clone(), map.clone())),
                    _ => prop_assert_eq!(numbered.get(number), map.get(&number)),
                }
            }
            copies.push((numbered, map));
            for (numbered, map) in copies {
                let expected: Vec<_> = map.into_iter().collect();
                let mut backwards: Vec<_> = numbered.iter().rev().map(|(at, it)| (at, *it)).collect();
                backwards.reverse();
                prop_assert_eq!(&backwards, &expected);
                prop_assert_eq!(all(&numbered), expected);
            }
        }
    }

    #[test]
    fn what_is_left_behind_takes_no_place() {
        let mut numbered = Numbered::default();
        let first = numbered.push(0);
        for value in 1..100_000 {
            let number = numbered.push(value);
            assert_eq!(numbered.remove(number), Some(value));
        }
        // one that stays keeps the places of those after it, at a word for a piece
        assert_eq!(numbered.pieces.iter().flatten().count(), 2);
        assert_eq!(numbered.remove(first), Some(0));
        assert_eq!((numbered.pieces.len(), numbered.next()), (1, 100_000));
        assert_eq!(
            (numbered.push(7), numbered.get(100_000), numbered.get(99_999)),
            (100_000, Some(&7), None)
        );
    }
}
