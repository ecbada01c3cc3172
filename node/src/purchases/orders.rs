//! The same order sent twice: a member's basket with the content of another of theirs, moments apart.
//!
//! Tills and gateways repeat what they are not sure has arrived, under a new number. What was read lately
//! is remembered in memory: nothing of the minute of a purchase is ever stored. Orders beyond the memory,
//! or read before the node's last start, are not recognised. What does not count yet is remembered apart ([`Memory`]).

use std::collections::{BTreeMap, VecDeque};

use super::BasketKey;
use crate::vault::MemberId;

/// Orders that are remembered.
const ORDERS_MAX: usize = 1 << 17;
/// Baskets of which it is remembered how many lines they had.
const BASKETS_MAX: usize = 1 << 20;

/// Whose, and what equal orders have in common.
pub(super) type Order = (MemberId, i64);

/// When an order was, by the brand's own clock in seconds, and in which basket.
pub(super) type Seen = (i64, BasketKey);

/// What was read lately.
#[derive(Default)]
pub(super) struct Orders {
    seen: BTreeMap<Order, VecDeque<Seen>>,
    order: VecDeque<Order>,
}

impl Orders {
    /// Whether the same order came within so many seconds in another basket.
    pub(super) fn has(&self, order: Order, (at, basket): Seen, within: u32) -> bool {
        let near =
            |(when, other): &Seen| *other != basket && when.abs_diff(at) <= u64::from(within);
        self.seen.get(&order).is_some_and(|seen| seen.iter().any(near))
    }

    /// Remembers an order; of too many the oldest is forgotten.
    pub(super) fn remember(&mut self, order: Order, seen: Seen) {
        let known = self.seen.entry(order).or_default();
        if !known.contains(&seen) {
            known.push_back(seen);
            self.order.push_back(order);
        }
        while self.order.len() > ORDERS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(seen) = self.seen.get_mut(&oldest) {
                seen.pop_front();
                if seen.is_empty() {
                    self.seen.remove(&oldest);
                }
            }
        }
    }

    /// Remembers what another memory has, in its order.
    fn take(&mut self, mut other: Self) {
        for order in other.order {
            if let Some(first) = other.seen.get_mut(&order).and_then(VecDeque::pop_front) {
                self.remember(order, first);
            }
        }
    }
}

/// The memory of orders: apart what counts and what does not yet, so that nothing is dropped for an order that may
/// never count.
#[derive(Default)]
pub(super) struct Memory {
    /// Of imports that count.
    pub(super) counted: Orders,
    /// Of the long import that is being read.
    pub(super) long: Orders,
}

impl Memory {
    /// The long import counts.
    pub(super) fn count_long(&mut self) {
        let long = std::mem::take(&mut self.long);
        self.counted.take(long);
    }

    /// A small import counts, which has read these.
    pub(super) fn count(&mut self, small: Orders) {
        self.counted.take(small);
    }
}

/// How many lines each basket of a file has had, for files that do not number them.
#[derive(Default)]
pub(super) struct Places {
    counts: BTreeMap<BasketKey, u32>,
    order: VecDeque<BasketKey>,
}

impl Places {
    /// The place of the next line of a basket; the first is 1.
    pub(super) fn next(&mut self, basket: BasketKey) -> u32 {
        let count = self.counts.entry(basket).or_insert_with(|| {
            self.order.push_back(basket);
            0
        });
        *count += 1;
        let place = *count;
        if self.order.len() > BASKETS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_order_is_recognised_within_its_time_and_in_another_basket_alone() {
        let (one, two) = (MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]));
        let basket = |number| BasketKey::from_bytes([number; 16]);
        let mut orders = Orders::default();
        let mut seen = |member, content, at, number| {
            let found = orders.has((member, content), (at, basket(number)), 60);
            if !found {
                orders.remember((member, content), (at, basket(number)));
            }
            found
        };
        assert!(!seen(one, 7, 1_000, 1));
        // the same basket read again, another's, another content, too late
        assert!(!seen(one, 7, 1_000, 1));
        assert!(!seen(two, 7, 1_000, 2));
        assert!(!seen(one, 8, 1_000, 3));
        assert!(!seen(one, 7, 1_061, 4));
        assert!(seen(one, 7, 1_060, 5));
        assert!(seen(one, 7, 940, 5));
    }

    #[test]
    fn memory_is_bounded() {
        let member = MemberId::from_bytes([1; 16]);
        let (basket, other) = (BasketKey::from_bytes([1; 16]), BasketKey::from_bytes([2; 16]));
        let mut orders = Orders::default();
        let count = i64::try_from(ORDERS_MAX).unwrap() + 10;
        for number in 0..count {
            orders.remember((member, number), (0, basket));
        }
        assert_eq!((orders.order.len(), orders.seen.len()), (ORDERS_MAX, ORDERS_MAX));
        assert!(!orders.has((member, 0), (0, other), 1));
        assert!(orders.has((member, count - 1), (0, other), 1));
    }

    #[test]
    fn what_comes_to_count_is_remembered_in_its_order_and_the_oldest_is_forgotten_first() {
        let member = MemberId::from_bytes([1; 16]);
        let (basket, other) = (BasketKey::from_bytes([1; 16]), BasketKey::from_bytes([2; 16]));
        let mut memory = Memory::default();
        memory.counted.remember((member, -1), (0, basket));
        for at in [0, 500] {
            memory.long.remember((member, 7), (at, basket));
        }
        assert!(!memory.counted.has((member, 7), (500, other), 60));
        memory.count_long();
        assert!(memory.counted.has((member, 7), (500, other), 60));
        assert!(!memory.long.has((member, 7), (500, other), 60));
        assert_eq!(memory.counted.order.len(), 3);
        let mut small = Orders::default();
        for number in 0..i64::try_from(ORDERS_MAX).unwrap() - 2 {
            small.remember((member, 100 + number), (0, basket));
        }
        memory.count(small);
        assert_eq!(memory.counted.order.len(), ORDERS_MAX);
        assert!(!memory.counted.has((member, -1), (0, other), 60));
        assert!(memory.counted.has((member, 7), (0, other), 60));
    }
}
