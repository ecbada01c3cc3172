//! Whether this node's clock is off: the others refuse its blocks by the rule about time, or it refuses theirs. One that
//! is behind has its blocks refused only once its last one is old, as a block is never earlier than the one before it.
//!
//! Knows who refused whom and when, by a clock that runs evenly. Does not know whose clock is right: one brand alone may
//! be the one that is off, or lie, so that only more than may fail count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::ids::BrandId;
use protocol::witness::message::Refusal;
use protocol::witness::rules::{CLOCK_TOLERANCE, Violation};

/// How long a refusal counts: blocks that are refused are proposed again meanwhile.
const COUNTS_FOR: Duration = Duration::from_secs(60);

/// Refusals for a block's time.
#[derive(Debug, Default)]
pub struct ClockRefusals {
    /// Who refused own blocks last when.
    theirs: BTreeMap<BrandId, Instant>,
    /// Whose blocks this node refused last when.
    own: BTreeMap<BrandId, Instant>,
}

fn is_for_time(refusal: &Refusal) -> bool {
    refusal.rule == (Violation::Clock { off_ms: 0 }).number()
}

fn lately(refusals: &BTreeMap<BrandId, Instant>, now: Instant) -> Vec<String> {
    let lately = refusals.iter().filter(|(_, at)| now.duration_since(**at) < COUNTS_FOR);
    lately.map(|(brand, _)| brand.to_string()).collect()
}

impl ClockRefusals {
    /// Takes note of a refusal that a brand sent to the brand `me`.
    pub fn received(&mut self, from: BrandId, refusal: &Refusal, me: BrandId, now: Instant) {
        if refusal.log == me && is_for_time(refusal) {
            self.theirs.insert(from, now);
        }
    }

    /// Takes note of a refusal that this node, the brand `me`, sends.
    pub fn sent(&mut self, refusal: &Refusal, me: BrandId, now: Instant) {
        if refusal.log != me && is_for_time(refusal) {
            self.own.insert(refusal.log, now);
        }
    }

    /// What the operator is told while more than `faults` brands refuse, or are refused.
    pub fn alert(&self, faults: usize, now: Instant) -> Option<String> {
        let seconds = CLOCK_TOLERANCE.get() / 1000;
        let [theirs, own] = [&self.theirs, &self.own].map(|refusals| lately(refusals, now));
        if theirs.len() > faults {
            let brands = theirs.join(", ");
            return Some(format!(
                "this node's clock is more than {seconds} s off that of {brands}, who refuse its blocks: set it by \
                 NTP; exchanges wait / 本节点时钟与 {brands} 相差超过 {seconds} 秒，区块被拒绝：请用 NTP 校时，\
                 兑换将等待"
            ));
        }
        (own.len() > faults).then(|| {
            let brands = own.join(", ");
            format!(
                "this node's clock is more than {seconds} s off that of {brands}, whose blocks it refuses: set it by \
                 NTP / 本节点时钟与 {brands} 相差超过 {seconds} 秒，因而拒绝其区块：请用 NTP 校时"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::ids::{Height, Round};

    use super::*;

    #[test]
    fn more_than_may_fail_say_that_the_clock_is_off() {
        let [me, a, b] = ["me", "a", "b"].map(|id| BrandId::new(id).unwrap());
        let mut refusals = ClockRefusals::default();
        let refusal = |log, rule| Refusal {
            log,
            height: Height::new(1),
            round: Round::new(0),
            joined: Round::new(0),
            rule,
        };
        let now = Instant::now();
        refusals.received(a, &refusal(me, 9), me, now);
        refusals.received(b, &refusal(me, 10), me, now);
        refusals.received(b, &refusal(a, 9), me, now);
        assert_eq!(refusals.alert(1, now), None);
        assert!(refusals.alert(0, now).is_some());
        refusals.received(b, &refusal(me, 9), me, now);
        let told = refusals.alert(1, now).unwrap();
        assert!(told.contains("60 s off that of a, b") && told.contains("校时"), "{told}");
        assert_eq!(refusals.alert(1, now + COUNTS_FOR), None);

        // a clock that is behind shows in what it refuses itself
        let mut refusals = ClockRefusals::default();
        for (log, rule) in [(me, 9), (a, 9), (b, 10)] {
            refusals.sent(&refusal(log, rule), me, now);
        }
        assert_eq!(refusals.alert(1, now), None);
        refusals.sent(&refusal(b, 9), me, now);
        let told = refusals.alert(1, now).unwrap();
        assert!(told.contains("60 s off that of a, b, whose blocks it refuses"), "{told}");
        assert_eq!(refusals.alert(1, now + COUNTS_FOR), None);
    }
}
