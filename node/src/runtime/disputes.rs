//! Disputes: what this node's own checks found in a certified block, and what others have put on record.
//!
//! What is found is entered in the own log once, with the evidence that lets everyone check it. Knows
//! no way to end one: from the block on nothing of that log is credited.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::ids::{BrandId, Height};
use protocol::log::dispute::DisputeOpened;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct Disputes {
    #[n(0)]
    found: BTreeMap<(BrandId, Height), DisputeOpened>,
    // by who opened it: rule numbers
    #[n(1)]
    certified: BTreeMap<(BrandId, BrandId, Height), u16>,
}

impl Disputes {
    /// This node's own checks have found a final block wanting.
    pub fn found(&mut self, dispute: &DisputeOpened) {
        self.found.insert((dispute.log, dispute.height), dispute.clone());
    }

    /// A certified entry.
    pub fn certified(&mut self, accuser: BrandId, dispute: &DisputeOpened) {
        self.certified.insert((accuser, dispute.log, dispute.height), dispute.rule);
    }

    /// Whether a brand has put on record that it disputes a log.
    #[must_use]
    pub fn is_disputed_by(&self, accuser: BrandId, log: BrandId) -> bool {
        let first = (accuser, log, Height::new(0));
        let last = (accuser, log, Height::new(u64::MAX));
        self.certified.range(first..=last).next().is_some()
    }

    /// What was found and is not certified in the own log.
    pub fn due(&self, me: BrandId) -> impl Iterator<Item = &DisputeOpened> {
        let new = move |(log, height): &(BrandId, Height)| {
            !self.certified.contains_key(&(me, *log, *height))
        };
        self.found.iter().filter(move |(key, _)| new(key)).map(|(_, dispute)| dispute)
    }

    /// What an operator has to look at.
    #[must_use]
    pub fn alerts(&self) -> Vec<String> {
        let certified = self.certified.iter();
        let words = certified.map(|((accuser, log, height), rule)| {
            format!(
                "{accuser} disputes block {height} of {log} by rule {rule}, on record: audit both logs / {accuser} \
                 对 {log} 的区块 {height} 提出争议（规则 {rule}），已入日志：请审计双方日志"
            )
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{HeaderHash, LeafIndex};

    fn brand(id: &str) -> BrandId {
        BrandId::new(id).unwrap()
    }

    fn of(log: &str, height: u64) -> DisputeOpened {
        DisputeOpened {
            log: brand(log),
            height: Height::new(height),
            block: HeaderHash::GENESIS,
            first: LeafIndex::new(0),
            count: 0,
            rule: 20,
            evidence: None,
        }
    }

    #[test]
    fn a_dispute_is_entered_once_and_is_of_one_log_by_one_brand() {
        let mut disputes = Disputes::default();
        disputes.found(&of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 1);
        // another brand's entry about the same block is not this one's
        disputes.certified(brand("c"), &of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 1);
        disputes.certified(brand("a"), &of("b", 3));
        assert_eq!(disputes.due(brand("a")).count(), 0);
        let by = |accuser, log| disputes.is_disputed_by(brand(accuser), brand(log));
        assert!(by("a", "b") && by("c", "b"));
        assert!(!by("b", "a") && !by("a", "c"));
        assert_eq!(disputes.alerts().len(), 2);
    }
}
