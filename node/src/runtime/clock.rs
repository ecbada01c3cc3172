//! Whether the other brands find this node's clock off: they refuse its blocks by the rule about time.
//!
//! Knows who refused and when, by a clock that runs evenly. Does not know whose clock is right: one brand alone may
//! be the one that is off, or lie, so that only more than may fail count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::ids::BrandId;
use protocol::witness::message::Refusal;
use protocol::witness::rules::{CLOCK_TOLERANCE, Violation};

/// How long a refusal counts: blocks that are refused are proposed again meanwhile.
const COUNTS_FOR: Duration = Duration::from_secs(60);

/// Refusals of own blocks for their time.
#[derive(Debug, Default)]
pub struct ClockRefusals(BTreeMap<BrandId, Instant>);

impl ClockRefusals {
    /// Takes note of a refusal that a brand sent to the brand `me`.
    pub fn received(&mut self, from: BrandId, refusal: &Refusal, me: BrandId, now: Instant) {
        if refusal.log == me && refusal.rule == (Violation::Clock { off_ms: 0 }).number() {
            self.0.insert(from, now);
        }
    }

    /// What the operator is told while more than `faults` brands refuse.
    pub fn alert(&self, faults: usize, now: Instant) -> Option<String> {
        let lately = self.0.iter().filter(|(_, at)| now.duration_since(**at) < COUNTS_FOR);
        let brands: Vec<String> = lately.map(|(brand, _)| brand.to_string()).collect();
        let seconds = CLOCK_TOLERANCE.get() / 1000;
        (brands.len() > faults).then(|| {
            let brands = brands.join(", ");
            format!(
                "this node's clock is more than {seconds} s off that of {brands}, who refuse its blocks: set it by \
                 NTP; exchanges wait / 本节点时钟与 {brands} 相差超过 {seconds} 秒，区块被拒绝：请用 NTP 校时，\
                 兑换将等待"
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
    }
}
