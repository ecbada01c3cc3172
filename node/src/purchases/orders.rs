//! The same order sent twice: a member's basket with the content of another of theirs, moments apart.
//!
//! Tills and gateways repeat what they are not sure has arrived, under a new number. What was read lately
//! is remembered in memory: nothing of the minute of a purchase is ever stored. Orders beyond the memory,
//! or read before the node's last start, are not recognised.

use std::collections::{BTreeMap, VecDeque};

use super::BasketKey;
use crate::vault::MemberId;

/// Orders that are remembered.
const ORDERS_MAX: usize = 1 << 17;
/// Baskets of which it is remembered how many lines they had.
const BASKETS_MAX: usize = 1 << 20;

type Order = (MemberId, i64);

/// What was read lately.
#[derive(Default)]
pub(super) struct Orders {
    // when, by the brand's own clock, and in which basket
    seen: BTreeMap<Order, Vec<(i64, BasketKey)>>,
    order: VecDeque<Order>,
}

impl Orders {
    /// Whether the member's same order came within so many seconds in another basket; else it is
    /// remembered.
    pub(super) fn is_repeated(
        &mut self,
        member: MemberId,
        content: i64,
        at: i64,
        basket: BasketKey,
        within: u32,
    ) -> bool {
        let order = (member, content);
        let seen = self.seen.entry(order).or_default();
        let near = |(when, other): &(i64, BasketKey)| {
            *other != basket && when.abs_diff(at) <= u64::from(within)
        };
        if seen.iter().any(near) {
            return true;
        }
        if !seen.contains(&(at, basket)) {
            seen.push((at, basket));
            self.order.push_back(order);
        }
        while self.order.len() > ORDERS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(seen) = self.seen.get_mut(&oldest) {
                seen.remove(0);
                if seen.is_empty() {
                    self.seen.remove(&oldest);
                }
            }
        }
        false
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
            orders.is_repeated(member, content, at, basket(number), 60)
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
        let mut orders = Orders::default();
        let count = i64::try_from(ORDERS_MAX).unwrap() + 10;
        for number in 0..count {
            assert!(!orders.is_repeated(member, number, 0, BasketKey::from_bytes([1; 16]), 1));
        }
        assert_eq!((orders.order.len(), orders.seen.len()), (ORDERS_MAX, ORDERS_MAX));
        let other = BasketKey::from_bytes([2; 16]);
        assert!(!orders.is_repeated(member, 0, 0, other, 1));
        assert!(orders.is_repeated(member, count - 1, 0, other, 1));
    }
}
