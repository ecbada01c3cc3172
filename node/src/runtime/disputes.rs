//! Disputes: what this node's own checks found in a certified block, and what others have put on record.
//!
//! What is found is entered in the own log once, with the evidence that lets everyone check it. Knows
//! no way to end one: from the block on nothing of that log is credited.

use std::collections::BTreeMap;

use protocol::ids::{BrandId, Height};
use protocol::log::dispute::DisputeOpened;

/// All of them.
#[derive(Debug, Default)]
pub struct Disputes {
    found: BTreeMap<(BrandId, Height), DisputeOpened>,
    // by who opened it: rule numbers
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
