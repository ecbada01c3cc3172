//! What is known of a basket: its lines, its total, and what it was before the import that is under way.
//!
//! A record has the basket as the last import left it and, as long as that import is not complete, as it
//! was before: whoever reads takes the one that counts. So an import of any length becomes visible by one
//! small write, and one that is given up leaves nothing. A basket is changed by one import at a time that is not
//! complete: a small one keeps off what the long one has changed. Records are sealed under the key of the facts.

use std::fmt;

use minicbor::{Decode, Encode};
use protocol::codec;
use ring::rand::SecureRandom;

use super::catalogue::{CatalogueError, Incomplete};
use super::mapping::Channel;
use super::{BasketKey, Fen};
use crate::store::{VALUE_MAX, Write};
use crate::vault::{DataKey, MemberId};

/// Baskets by keyed hash of the brand's number and whose it is; those of earlier versions by that of the number alone.
pub(super) const BASKETS: &str = "purchases_basket_sealed";
/// The same as version 0.1 wrote them: numbers of lines alone.
pub(super) const OLD_BASKETS: &str = "purchases_basket";

/// Most lines of one basket: the record, with the basket before, must fit a value of the store.
pub(super) const LINES_MAX: usize = 750;
/// Most departments of one basket that are counted apart.
const DEPARTMENTS_MAX: usize = 64;
/// The fact of a line that version 0.1 imported: which, it did not write down.
const OLD_FACT: i64 = -1;

/// One line of a basket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct StoredLine {
    #[n(0)]
    pub(super) number: u32,
    /// Its row among the facts; below zero when that is not known.
    #[n(1)]
    pub(super) fact: i64,
    #[n(2)]
    pub(super) fen: i64,
    /// Its department, by its place in the basket's list.
    #[n(3)]
    pub(super) department: u16,
    /// What is equal for equal content.
    #[n(4)]
    pub(super) print: i64,
}

/// A basket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Basket {
    /// Whose; none for a guest.
    #[n(0)]
    pub(super) member: Option<MemberId>,
    /// How many imports changed it.
    #[n(1)]
    pub(super) parts: u32,
    /// Its day, in days since 1970-01-01: that of its first line.
    #[n(2)]
    pub(super) day: i32,
    #[n(3)]
    pub(super) channel: Channel,
    /// Given back by other baskets, in fen.
    #[n(4)]
    pub(super) given_back: i64,
    /// For a refund: the basket that it lowers, which is where it counts.
    #[n(5)]
    pub(super) lowers: Option<BasketKey>,
    /// Departments and their sums.
    #[n(6)]
    pub(super) departments: Vec<(String, i64)>,
    /// By number.
    #[n(7)]
    pub(super) lines: Vec<StoredLine>,
    /// The hour of its first line, 0 to 23, where the mapping keeps it; none in what earlier versions wrote.
    #[n(8)]
    pub(super) hour: Option<u32>,
}

/// What became of a line that was to be taken into a basket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    New,
    /// The same was there, or what is newer.
    Known,
    /// Another content was there; its fact does not count any more.
    Replaces(i64),
    /// Another content was there, from the same import.
    Contradicts,
    TooLarge,
}

impl Basket {
    pub(super) fn new(member: Option<MemberId>, day: i32, channel: Channel) -> Self {
        Self {
            member,
            parts: 0,
            day,
            channel,
            given_back: 0,
            lowers: None,
            departments: Vec::new(),
            lines: Vec::new(),
            hour: None,
        }
    }

    /// Whether it has a line of this number and content.
    pub(super) fn has(&self, number: u32, print: i64) -> bool {
        let place = self.lines.binary_search_by_key(&number, |known| known.number);
        let known = place.ok().and_then(|place| self.lines.get(place));
        known.is_some_and(|known| known.print == print)
    }

    /// Whether its line of this number is this row among the facts.
    fn has_fact(&self, number: u32, fact: i64) -> bool {
        let place = self.lines.binary_search_by_key(&number, |known| known.number);
        place.is_ok_and(|place| self.lines.get(place).is_some_and(|known| known.fact == fact))
    }

    /// Its lines together, without what other baskets gave back.
    pub(super) fn sum(&self) -> i64 {
        self.lines.iter().map(|line| line.fen).sum()
    }

    /// What counts for points: nothing when it lowers another, and never more than was given back.
    pub(super) fn counted(&self) -> Result<Fen, CatalogueError> {
        let fen = if self.lowers.is_some() { 0 } else { self.sum() - self.given_back };
        Fen::new(fen).map_err(|_| CatalogueError::Damaged { what: "basket" })
    }

    /// Takes a line; `before` is the basket as it was before the present import, if it was.
    pub(super) fn take(&mut self, line: &NewLine<'_>, before: Option<&Self>) -> Taken {
        let place = self.lines.binary_search_by_key(&line.number, |known| known.number);
        let known = place.ok().and_then(|place| self.lines.get(place));
        if let Some(known) = known {
            if known.fact == OLD_FACT || known.print == line.print {
                return Taken::Known;
            }
            if before.is_none_or(|before| !before.has_fact(known.number, known.fact)) {
                return Taken::Contradicts;
            }
            if !line.corrects {
                return Taken::Known;
            }
        }
        let (before, replaced, department) = match known {
            Some(known) => (known.fen, Some(known.fact), Some(known.department)),
            None => (0, None, None),
        };
        let total = self.sum() - before + line.fen;
        if Fen::new(total).is_err()
            || Fen::new(total - self.given_back).is_err()
            || (replaced.is_none() && self.lines.len() >= LINES_MAX)
        {
            return Taken::TooLarge;
        }
        if let Some((_, sum)) = department.and_then(|at| self.departments.get_mut(usize::from(at)))
        {
            *sum -= before;
        }
        let stored = StoredLine {
            number: line.number,
            fact: line.fact,
            fen: line.fen,
            department: self.department(line.department, line.fen),
            print: line.print,
        };
        match place {
            Ok(place) => {
                if let Some(known) = self.lines.get_mut(place) {
                    *known = stored;
                }
            }
            Err(place) => self.lines.insert(place, stored),
        }
        replaced.map_or(Taken::New, Taken::Replaces)
    }

    /// Adds to a department's sum, and gives its place; beyond the most, the last takes all.
    fn department(&mut self, name: &str, fen: i64) -> u16 {
        let found = self.departments.iter().position(|(known, _)| known == name);
        let place = match found {
            Some(place) => place,
            None if self.departments.len() < DEPARTMENTS_MAX => {
                self.departments.push((name.to_owned(), 0));
                self.departments.len() - 1
            }
            None => {
                if let Some((last, _)) = self.departments.last_mut() {
                    "OTHER".clone_into(last);
                }
                DEPARTMENTS_MAX - 1
            }
        };
        if let Some((_, sum)) = self.departments.get_mut(place) {
            *sum += fen;
        }
        u16::try_from(place).unwrap_or(u16::MAX)
    }
}

/// A line to be taken into a basket.
pub(super) struct NewLine<'a> {
    pub(super) number: u32,
    pub(super) fact: i64,
    pub(super) fen: i64,
    pub(super) department: &'a str,
    pub(super) print: i64,
    /// Whether it replaces what an earlier import left of it.
    pub(super) corrects: bool,
}

/// A basket's record.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct StoredBasket {
    /// The import that left it so.
    #[n(0)]
    pub(super) import: u32,
    #[n(1)]
    pub(super) now: Basket,
    /// What it was before that import; none when it was not.
    #[n(2)]
    pub(super) before: Option<Basket>,
}

impl fmt::Debug for StoredBasket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredBasket").field("import", &self.import).finish_non_exhaustive()
    }
}

impl StoredBasket {
    /// The basket that counts.
    pub(super) fn counting(self, incomplete: Incomplete) -> Option<Basket> {
        if incomplete.has(self.import) { self.before } else { Some(self.now) }
    }
}

/// How records are sealed.
pub(super) struct Sealer<'a> {
    pub(super) key: &'a DataKey,
    pub(super) random: &'a dyn SecureRandom,
}

impl Sealer<'_> {
    pub(super) fn put(
        &self,
        key: BasketKey,
        basket: &StoredBasket,
    ) -> Result<Write, CatalogueError> {
        let sealed = self.key.seal(&codec::encode(basket), &place(key), self.random);
        let sealed = sealed.map_err(|_| CatalogueError::Sealing)?;
        Ok(Write::put(BASKETS, *key.as_bytes(), sealed))
    }

    pub(super) fn open(
        &self,
        key: BasketKey,
        sealed: &[u8],
    ) -> Result<StoredBasket, CatalogueError> {
        let damaged = || CatalogueError::Damaged { what: "basket" };
        let opened = self.key.open(sealed, &place(key)).map_err(|_| damaged())?;
        codec::decode("basket", &opened, VALUE_MAX).map_err(|_| damaged())
    }
}

fn place(key: BasketKey) -> Vec<u8> {
    [b"coalition basket v1\0".as_slice(), key.as_bytes()].concat()
}

/// A basket as version 0.1 wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct OldBasket {
    #[n(0)]
    pub(super) member: Option<MemberId>,
    #[n(1)]
    pub(super) lines: Vec<u32>,
    #[n(2)]
    pub(super) total_fen: i64,
    #[n(3)]
    pub(super) parts: u32,
}

impl OldBasket {
    /// In the present form: the whole total stands on the first line, since of which line what was is
    /// not known.
    pub(super) fn into_present(self) -> Basket {
        let mut basket = Basket::new(self.member, 0, Channel::Store);
        basket.parts = self.parts;
        basket.departments.push(("UNKNOWN".to_owned(), self.total_fen));
        let amounts = std::iter::once(self.total_fen).chain(std::iter::repeat(0));
        basket.lines = self
            .lines
            .into_iter()
            .zip(amounts)
            .map(|(number, fen)| StoredLine {
                number,
                fact: OLD_FACT,
                fen,
                department: 0,
                print: 0,
            })
            .collect();
        basket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u32, fact: i64, fen: i64, department: &str, print: i64) -> NewLine<'_> {
        NewLine { number, fact, fen, department, print, corrects: true }
    }

    #[test]
    fn a_line_counts_once_and_a_later_import_may_correct_it() {
        let mut basket = Basket::new(None, 1, Channel::Store);
        assert_eq!(basket.take(&line(2, 10, 300, "DELI", 1), None), Taken::New);
        assert_eq!(basket.take(&line(1, 11, 200, "WINE", 2), None), Taken::New);
        assert_eq!(basket.take(&line(2, 12, 300, "DELI", 1), None), Taken::Known);
        assert_eq!(basket.take(&line(2, 12, 301, "DELI", 3), None), Taken::Contradicts);
        let before = basket.clone();
        let before = Some(&before);
        // read once more, it is no correction
        let again = NewLine { corrects: false, ..line(2, 20, 250, "WINE", 3) };
        assert_eq!(basket.take(&again, before), Taken::Known);
        assert!(basket.has(2, 1) && !basket.has(2, 3) && !basket.has(3, 1));
        // whatever numbers facts have: others may have taken some since this import began
        assert_eq!(basket.take(&line(2, 9, 250, "WINE", 3), before), Taken::Replaces(10));
        assert_eq!(basket.take(&line(2, 21, 260, "WINE", 9), before), Taken::Contradicts);
        assert_eq!(basket.sum(), 450);
        assert_eq!(basket.departments, [("DELI".to_owned(), 0), ("WINE".to_owned(), 450)]);
        assert_eq!(basket.take(&line(3, 21, Fen::MAX, "DELI", 4), before), Taken::TooLarge);
        basket.given_back = 50;
        assert_eq!(basket.counted().unwrap().get(), 400);
    }

    /// As versions before the hour was kept wrote a basket.
    #[derive(Encode)]
    #[cbor(array)]
    struct WithoutHour {
        #[n(0)]
        member: Option<MemberId>,
        #[n(1)]
        parts: u32,
        #[n(2)]
        day: i32,
        #[n(3)]
        channel: Channel,
        #[n(4)]
        given_back: i64,
        #[n(5)]
        lowers: Option<BasketKey>,
        #[n(6)]
        departments: Vec<(String, i64)>,
        #[n(7)]
        lines: Vec<StoredLine>,
    }

    #[test]
    fn a_basket_of_before_the_hour_was_kept_is_read_and_one_without_it_is_written_the_same() {
        let mut basket = Basket::new(None, 20_000, Channel::App);
        basket.take(&line(1, 10, 300, "DELI", 1), None);
        let Basket { member, parts, day, channel, given_back, lowers, departments, lines, .. } =
            basket.clone();
        let old =
            WithoutHour { member, parts, day, channel, given_back, lowers, departments, lines };
        let written = codec::encode(&old);
        assert_eq!(codec::encode(&basket), written);
        assert_eq!(codec::decode::<Basket>("basket", &written, VALUE_MAX).unwrap(), basket);
        basket.hour = Some(8);
        let now = codec::encode(&basket);
        assert_eq!(codec::decode::<Basket>("basket", &now, VALUE_MAX).unwrap(), basket);
    }

    #[test]
    fn the_largest_basket_fits_a_value_of_the_store() {
        let mut basket = Basket::new(Some(MemberId::from_bytes([7; 16])), 20_000, Channel::Store);
        for number in 0..u32::try_from(LINES_MAX).unwrap() {
            let name = format!("{:064}", number % 100);
            let fact = i64::MAX - i64::from(number);
            let new = line(u32::MAX - number, fact, 1_000_000, &name, i64::MAX);
            assert_eq!(basket.take(&new, None), Taken::New);
        }
        assert_eq!(basket.take(&line(1, 1, 1, "X", 1), None), Taken::TooLarge);
        assert_eq!(basket.departments.len(), DEPARTMENTS_MAX);
        assert_eq!(basket.departments.iter().map(|(_, fen)| fen).sum::<i64>(), basket.sum());
        basket.hour = Some(23);
        let stored = StoredBasket { import: u32::MAX, before: Some(basket.clone()), now: basket };
        let bytes = codec::encode(&stored).len();
        assert!(bytes + 64 <= VALUE_MAX, "{bytes}");
    }
}
