//! How fast another brand's log may grow here: blocks, their bytes, and the public entries in them, which
//! every node reads. What comes faster gets no vote until there is room for it, and its writer sends it again:
//! a vote that is late costs nobody anything but that writer. As no block is certified without honest
//! witnesses, no log grows faster than they let it, however many bytes a second its writer can send.
//!
//! A block is counted once, however often it is sent. Knows rates; what is in a block is the ledger's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::ids::{BrandId, HeaderHash, Height};
use protocol::witness::message::{Message, ProposalMessage};

/// What a log may do at once, and how many milliseconds each unit stands for then: more than any honest
/// writer was measured at.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u64,
    per_second: u64,
}

const BLOCKS: Rate = Rate { burst: 5_000, per_second: 500 };
const BYTES: Rate = Rate { burst: 512 << 20, per_second: 32 << 20 };
/// Each node keeps what some of these say for good.
const PUBLIC_BYTES: Rate = Rate { burst: 64 << 20, per_second: 128 << 10 };

/// So often it is told of a log that it is held back.
const TELL_AFTER: Duration = Duration::from_secs(60 * 60);

impl Rate {
    /// The time that an amount stands for, in microseconds.
    const fn time(self, amount: u64) -> u64 {
        amount.saturating_mul(1_000_000).div_ceil(self.per_second)
    }
}

/// How much of a rate is used up: the moment in microseconds at which none of it will be.
#[derive(Clone, Copy, Debug, Default)]
struct Used(u64);

impl Used {
    /// The same with an amount more; none when it does not fit by now.
    fn with(self, amount: u64, rate: Rate, now: u64) -> Option<Self> {
        let free_at = self.0.max(now).saturating_add(rate.time(amount));
        let fits = free_at.saturating_sub(now) <= rate.time(rate.burst);
        fits.then_some(Self(free_at))
    }
}

#[derive(Debug, Default)]
struct Log {
    blocks: Used,
    bytes: Used,
    public: Used,
    counted: Option<(Height, HeaderHash)>,
    told: Option<Duration>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is handled.
    Taken,
    /// It is left out until its writer sends it again.
    TooFast {
        /// Whether the operator is to be told.
        tell: bool,
    },
}

/// All logs.
#[derive(Debug)]
pub struct Paces {
    // the time of day may be set back
    begun: Instant,
    logs: BTreeMap<BrandId, Log>,
}

impl Default for Paces {
    fn default() -> Self {
        Self { begun: Instant::now(), logs: BTreeMap::new() }
    }
}

impl Paces {
    /// Counts a message of a brand, if it is a block of its log.
    pub fn admit(&mut self, from: BrandId, message: &Message) -> Admission {
        let now = self.begun.elapsed();
        let Message::Proposal(proposal) = message else { return Admission::Taken };
        let block = proposal.proposal.body.0.block;
        if block.log != from {
            // refused for what it is
            return Admission::Taken;
        }
        let log = self.logs.entry(from).or_default();
        if log.counted == Some((block.height, block.header)) {
            return Admission::Taken;
        }
        let (bytes, public) = sizes(proposal);
        let at = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let used = log.blocks.with(1, BLOCKS, at).and_then(|blocks| {
            Some((
                blocks,
                log.bytes.with(bytes, BYTES, at)?,
                log.public.with(public, PUBLIC_BYTES, at)?,
            ))
        });
        let Some((blocks, bytes, public)) = used else {
            let tell = log.told.is_none_or(|told| now.saturating_sub(told) >= TELL_AFTER);
            if tell {
                log.told = Some(now);
            }
            return Admission::TooFast { tell };
        };
        (log.blocks, log.bytes, log.public) = (blocks, bytes, public);
        log.counted = Some((block.height, block.header));
        Admission::Taken
    }
}

/// Bytes of a block that come to this node, and of its public entries.
fn sizes(proposal: &ProposalMessage) -> (u64, u64) {
    let delivery = &proposal.delivery;
    let public = delivery.public.as_ref().map_or(0, |run| run.entries.as_bytes().len());
    let column = delivery.column.as_ref().map_or(0, |run| run.entries.as_bytes().len());
    let parts = [delivery.header.len(), delivery.fragment.bytes().len(), public, column];
    let length = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    (parts.into_iter().map(length).sum(), length(public))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let rate = Rate { burst: 10, per_second: 2 };
        let mut used = Used::default();
        let take = |used: &mut Used, amount, now| match used.with(amount, rate, now) {
            Some(after) => {
                *used = after;
                true
            }
            None => false,
        };
        let start = 3 * SECOND;
        assert_eq!((0..100).filter(|_| take(&mut used, 1, start)).count(), 10);
        // what was refused used nothing up
        let passed = (0..10_000).filter(|number| take(&mut used, 1, start + number * SECOND / 100));
        assert_eq!(passed.count(), 199);
        // idleness saves up one burst; more than it never passes
        let later = start + 1_000_000 * SECOND;
        assert!(!take(&mut used, 11, later));
        assert!(take(&mut used, 10, later));
        assert!(!take(&mut used, 1, later));
        assert!(take(&mut used, 1, later + SECOND / 2));
    }
}
