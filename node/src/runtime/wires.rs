//! Which versions of the wire this node speaks, and with which peers it has one in common.
//!
//! What a hello and a frame are, and which version follows from two ranges, is [`protocol::wire`]'s. Knows no
//! connections: what a peer has said on an earlier one counts until it says it again.

use std::collections::BTreeMap;

use protocol::ids::BrandId;
use protocol::wire::{Negotiation, Versions};

/// All peers.
#[derive(Debug)]
pub struct Wires {
    own: Versions,
    peers: BTreeMap<BrandId, Negotiation>,
}

impl Wires {
    /// Of a node that speaks these versions.
    #[must_use]
    pub const fn new(own: Versions) -> Self {
        Self { own, peers: BTreeMap::new() }
    }

    /// What is known of a peer's versions.
    pub fn with(&mut self, peer: BrandId) -> &mut Negotiation {
        self.peers.entry(peer).or_insert(Negotiation::new(self.own))
    }

    /// Whether anything can be said to a peer, as far as is known: not when it has named versions of which this
    /// node speaks none.
    #[must_use]
    pub fn reach(&self, peer: BrandId) -> bool {
        self.peers.get(&peer).is_none_or(|known| known.version().is_some())
    }

    /// What the operator is told of a peer that cannot be reached for its versions.
    #[must_use]
    pub fn alert(&self, peer: BrandId) -> Option<String> {
        let theirs = self.peers.get(&peer)?.other()?;
        if self.own.common(theirs).is_some() {
            return None;
        }
        let [theirs, own] = [theirs, self.own].map(|range| (range.least(), range.most()));
        Some(format!(
            "{peer} speaks versions {} to {} of the wire, this node {} to {}: nothing is exchanged with it until \
             one of the two is updated / {peer} 使用的通信协议版本为 {} 至 {}，本节点为 {} 至 {}：\
             任一方升级之前，双方不交换任何消息",
            theirs.0, theirs.1, own.0, own.1, theirs.0, theirs.1, own.0, own.1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer is out of reach for what it says it speaks, is told of in both languages, and is back as soon as
    /// it says otherwise.
    #[test]
    fn a_peer_of_other_versions_is_told_of_until_it_is_updated() {
        let versions = |least, most| Versions::new(least, most).unwrap();
        let peer = BrandId::new("peer").unwrap();
        let mut wires = Wires::new(versions(1, 2));
        assert!(wires.reach(peer) && wires.alert(peer).is_none());
        for (theirs, common) in
            [((0, 0), None), ((3, 4), None), ((0, 1), Some(1)), ((2, 9), Some(2))]
        {
            let hello = Negotiation::new(versions(theirs.0, theirs.1)).hello();
            wires.with(peer).receive(&hello).unwrap();
            assert_eq!(wires.with(peer).version(), common, "{theirs:?}");
            assert_eq!(wires.reach(peer), common.is_some(), "{theirs:?}");
            let told = wires.alert(peer);
            assert_eq!(told.is_none(), common.is_some(), "{theirs:?}");
            if let Some(told) = told {
                let (english, chinese) = told.split_once(" / ").unwrap();
                let (least, most) = (theirs.0.to_string(), theirs.1.to_string());
                for words in [english, chinese] {
                    assert!(words.contains(&least) && words.contains(&most), "{words}");
                    assert!(words.contains('1') && words.contains('2'), "{words}");
                }
            }
        }
    }
}
