//! What refunds take off whose sales: in memory as many lines as refunds reach, not as there are.
//!
//! Seen from a member's last line in a department backwards, a refund is a credit, and each sale takes off it
//! what it is worth: that takes the same units off the same sales as a stack of sales read forwards, as brackets
//! pair off the same from either end. A sale that no credit is left for stays whole, and it takes nothing from
//! those before it. That can be said while sales are still to come, in whatever order: another one can only
//! lessen the credit of those before it. So a sale that nothing is left for is forgotten for good, and what is
//! kept is what refunds take something off, one or a few for each of them.
//!
//! Members are in buckets, so that a part of them can be done after the other.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// More buckets than two to this are never made.
const BITS_MAX: u32 = 20;
/// Bytes of a member: its place in the table, which may be half empty, and its two lists at their least.
const MEMBER_BYTES: usize = 416;
/// Bytes of a refund, and of a sale: twice their own, since a list may be half empty.
const REFUND_BYTES: usize = 2 * size_of::<Refund>();
const SALE_BYTES: usize = 2 * size_of::<Sale>();
/// Bytes of a department beside its name.
const NAME_BYTES: usize = 64;
/// So many sales more than were left are kept before it is looked which are reached.
const SALES_SLACK: usize = 16;

/// Some of the members: those whose number, mixed, ends in certain bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    bits: u32,
    ending: u64,
}

impl Bucket {
    /// All members.
    pub(super) const ALL: Self = Self { bits: 0, ending: 0 };

    pub(super) const fn is_all(self) -> bool {
        self.bits == 0
    }

    pub(super) const fn has(self, member: i64) -> bool {
        mixed(member) & ((1_u64 << self.bits) - 1) == self.ending
    }

    /// Its two halves; none when it is as small as it may be.
    pub(super) fn halves(self) -> Option<[Self; 2]> {
        let bits = self.bits + 1;
        let other = self.ending | (1_u64 << self.bits);
        (bits <= BITS_MAX).then_some([Self { bits, ..self }, Self { bits, ending: other }])
    }
}

/// `SplitMix64`'s last step: numbers that follow each other are apart in every bit.
const fn mixed(member: i64) -> u64 {
    let mut z = member.cast_unsigned();
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A line, as far as refunds go by it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) member: i64,
    pub(super) department: &'a str,
    pub(super) day: i32,
    pub(super) basket: i64,
    pub(super) fact: Option<i64>,
    pub(super) fen: i64,
    pub(super) quantity: i64,
}

/// A sale's place among its member's, by department. The order of the fields is that of the lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    department: u32,
    day: i32,
    basket: i64,
    /// The greatest number where there is none: those are the last.
    fact: i64,
    fen: i64,
    quantity: i64,
}

impl Place {
    fn of(line: &Line<'_>, department: u32) -> Self {
        let Line { day, basket, fact, fen, quantity, .. } = *line;
        Self { department, day, basket, fact: fact.unwrap_or(i64::MAX), fen, quantity }
    }
}

struct Refund {
    department: u32,
    day: i32,
    fen: i64,
}

struct Sale {
    place: Place,
    taken: i64,
}

#[derive(Default)]
struct Person {
    /// By department and day, once all have come.
    refunds: Vec<Refund>,
    /// The latest first, once they are settled.
    sales: Vec<Sale>,
    /// How many were left when it was last looked.
    settled: usize,
}

/// Refunds, and the sales that they reach, of some members.
#[derive(Default)]
pub(super) struct Book {
    people: HashMap<i64, Person>,
    departments: HashMap<Box<str>, u32>,
    /// The next department's number: none is given twice.
    next: u32,
    refunds: usize,
    sales: usize,
    names: usize,
}

impl Book {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.people.len() * MEMBER_BYTES
            + self.refunds * REFUND_BYTES
            + self.sales * SALE_BYTES
            + self.names
    }

    /// How many members' refunds are in it.
    pub(super) fn members(&self) -> usize {
        self.people.len()
    }

    /// Takes a refund of so many fen, above zero. All come before the first sale.
    pub(super) fn refund(&mut self, member: i64, department: &str, day: i32, fen: i64) {
        let department = match self.departments.get(department) {
            Some(known) => *known,
            None => {
                let number = self.next;
                self.next += 1;
                self.names += NAME_BYTES + department.len();
                self.departments.insert(department.into(), number);
                number
            }
        };
        self.people.entry(member).or_default().refunds.push(Refund { department, day, fen });
        self.refunds += 1;
    }

    /// All refunds are there: puts them in order, those of a day together.
    pub(super) fn begin_sales(&mut self) {
        self.refunds = 0;
        for person in self.people.values_mut() {
            person.refunds.sort_unstable_by_key(|it| (it.department, it.day));
            person.refunds.dedup_by(|later, first| {
                let same = (later.department, later.day) == (first.department, first.day);
                if same {
                    first.fen = first.fen.saturating_add(later.fen);
                }
                same
            });
            self.refunds += person.refunds.len();
        }
    }

    /// Takes a sale for more than nothing, if a refund of the same member and department is not before it.
    pub(super) fn sale(&mut self, line: &Line<'_>) {
        let Some(person) = self.people.get_mut(&line.member) else { return };
        let Some(department) = self.departments.get(line.department) else { return };
        let place = Place::of(line, *department);
        let since = (place.department, place.day);
        let at = person.refunds.partition_point(|it| (it.department, it.day) < since);
        if person.refunds.get(at).is_none_or(|it| it.department != place.department) {
            return;
        }
        person.sales.push(Sale { place, taken: 0 });
        self.sales += 1;
        if person.sales.len() > 2 * person.settled + SALES_SLACK {
            let before = person.sales.len();
            person.settle();
            self.sales = self.sales.saturating_sub(before - person.sales.len());
        }
    }

    /// Keeps of the sales those that refunds take something off.
    pub(super) fn settle(&mut self) {
        self.sales = 0;
        for person in self.people.values_mut() {
            person.settle();
            self.sales += person.sales.len();
        }
    }

    /// Keeps members of a bucket alone.
    pub(super) fn keep(&mut self, bucket: Bucket) {
        self.people.retain(|member, _| bucket.has(*member));
        self.people.shrink_to_fit();
        (self.refunds, self.sales) = (0, 0);
        let mut named = HashSet::new();
        for person in self.people.values() {
            self.refunds += person.refunds.len();
            self.sales += person.sales.len();
            named.extend(person.refunds.iter().map(|it| it.department));
        }
        self.departments.retain(|_, number| named.contains(&*number));
        self.departments.shrink_to_fit();
        self.names = self.departments.keys().map(|name| NAME_BYTES + name.len()).sum();
    }

    /// What refunds left of a sale, once all are settled. Each sale is asked for once: of several that are alike
    /// in everything the first are those that least is left of.
    pub(super) fn left(&mut self, line: &Line<'_>) -> i64 {
        line.fen - self.take(line).unwrap_or(0)
    }

    fn take(&mut self, line: &Line<'_>) -> Option<i64> {
        let person = self.people.get_mut(&line.member)?;
        let place = Place::of(line, *self.departments.get(line.department)?);
        // those that were asked for before are the first of their place
        let at = person
            .sales
            .partition_point(|it| it.place > place || (it.place == place && it.taken == 0));
        let sale = person.sales.get_mut(at).filter(|it| it.place == place)?;
        Some(std::mem::take(&mut sale.taken))
    }
}

impl Person {
    /// From the last line backwards: what refunds give, sales take. Refunds of a day are after its sales.
    fn settle(&mut self) {
        self.sales.sort_unstable_by_key(|sale| Reverse(sale.place));
        let mut refunds = self.refunds.iter().rev().peekable();
        let (mut department, mut credit) = (None, 0_i64);
        self.sales.retain_mut(|sale| {
            let place = sale.place;
            if department != Some(place.department) {
                (department, credit) = (Some(place.department), 0);
            }
            let after = |it: &&Refund| (it.department, it.day) >= (place.department, place.day);
            while let Some(refund) = refunds.next_if(after) {
                // what is left of another department's credit found nothing to be taken off
                if refund.department == place.department {
                    credit = credit.saturating_add(refund.fen);
                }
            }
            sale.taken = credit.min(place.fen);
            credit -= sale.taken;
            sale.taken > 0
        });
        self.sales.shrink_to(2 * self.sales.len());
        self.settled = self.sales.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(member: i64, day: i32, basket: i64, fen: i64) -> Line<'static> {
        Line { member, department: "DELI", day, basket, fact: None, fen, quantity: 1 }
    }

    #[test]
    fn halves_of_a_bucket_have_its_members_and_none_twice() {
        let mut buckets = vec![Bucket::ALL];
        for _ in 0..4 {
            buckets = buckets.iter().flat_map(|bucket| bucket.halves().unwrap()).collect();
        }
        assert_eq!(buckets.len(), 16);
        let mut sizes = vec![0; 16];
        for member in -800..800 {
            let of: Vec<usize> = (0..16).filter(|at| buckets[*at].has(member)).collect();
            assert_eq!(of.len(), 1, "{member}");
            sizes[of[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (50..=150).contains(size)), "{sizes:?}");
        assert!(Bucket::ALL.is_all() && !buckets[0].is_all());
        let mut least = Bucket::ALL;
        while let Some([half, _]) = least.halves() {
            least = half;
        }
        assert_eq!(least.bits, BITS_MAX);
    }

    #[test]
    fn what_no_refund_reaches_is_not_kept() {
        let mut book = Book::default();
        book.refund(1, "DELI", 500, 250);
        book.begin_sales();
        let empty = book.bytes();
        // ten thousand sales before the refund, in no order, some after it, some of others
        for number in 0..10_000 {
            let day = (number * 7_919) % 500;
            book.sale(&sale(1, day, i64::from(number), 100));
            book.sale(&sale(1, 501, i64::from(number), 100));
            book.sale(&sale(2, day, i64::from(number), 100));
            book.sale(&Line { department: "WINE", ..sale(1, day, 0, 100) });
        }
        book.settle();
        assert_eq!((book.sales, book.members()), (3, 1));
        assert_eq!(book.bytes(), empty + 3 * SALE_BYTES);
        let last: Vec<i64> = (0..10_000).rev().filter(|it| (it * 7_919) % 500 == 499).collect();
        let left = |book: &mut Book, basket| book.left(&sale(1, 499, basket, 100));
        assert_eq!(left(&mut book, last[0]), 0);
        assert_eq!(left(&mut book, last[1]), 0);
        assert_eq!(left(&mut book, last[2]), 50);
        assert_eq!(left(&mut book, last[3]), 100);
        assert_eq!(book.left(&sale(2, 499, last[0], 100)), 100);
    }

    #[test]
    fn of_sales_that_are_alike_some_are_taken_back() {
        let mut book = Book::default();
        book.refund(1, "DELI", 9, 250);
        book.begin_sales();
        (0..4).for_each(|_| book.sale(&sale(1, 5, 7, 100)));
        book.settle();
        let left: Vec<i64> = (0..4).map(|_| book.left(&sale(1, 5, 7, 100))).collect();
        assert_eq!(left.iter().sum::<i64>(), 150);
        assert_eq!(left.iter().filter(|it| **it == 0).count(), 2);
    }

    #[test]
    fn members_and_departments_of_another_bucket_are_forgotten() {
        let mut book = Book::default();
        for member in 0..100 {
            book.refund(member, &format!("D{member}"), 9, 5);
        }
        book.begin_sales();
        let all = book.bytes();
        let [one, other] = Bucket::ALL.halves().unwrap();
        book.keep(one);
        let half = book.bytes();
        assert!(half > 0 && half < all);
        assert_eq!(book.departments.len(), book.people.len());
        book.keep(other);
        assert_eq!(book.members(), 0);
        assert_eq!(book.bytes(), 0);
    }
}
