//! How fast one peer may be read: a bucket that may go into debt and is slept out of.

use std::time::{Duration, Instant};

/// Allowance of one peer, filled steadily up to a second's worth.
#[derive(Debug)]
pub(super) struct Pace {
    messages: Bucket,
    bytes: Bucket,
}

impl Pace {
    pub(super) fn new(messages_per_second: u32, bytes_per_second: u32, now: Instant) -> Self {
        let bucket = |per_second| Bucket { per_second, full_at: now };
        Self { messages: bucket(messages_per_second), bytes: bucket(bytes_per_second) }
    }

    /// Charges one message and says how long to wait before the next is read.
    pub(super) fn charge(&mut self, bytes: usize, now: Instant) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.messages.charge(1, now).max(self.bytes.charge(bytes, now))
    }
}

/// Kept as the moment at which it will be full again, so that nothing is rounded twice.
#[derive(Debug)]
struct Bucket {
    per_second: u32,
    full_at: Instant,
}

impl Bucket {
    fn charge(&mut self, amount: u32, now: Instant) -> Duration {
        let nanoseconds = u64::from(amount) * 1_000_000_000 / u64::from(self.per_second.max(1));
        self.full_at = self.full_at.max(now) + Duration::from_nanos(nanoseconds);
        // a bucket that is full in a second or less still has something in it
        self.full_at.duration_since(now).saturating_sub(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free_and_the_rate_holds_after_it() {
        let start = Instant::now();
        let mut pace = Pace::new(100, 1_000_000, start);
        let mut now = start;
        for number in 1..=1000 {
            let wait = pace.charge(10, now);
            assert_eq!(wait.is_zero(), number <= 100, "message {number}");
            now += wait;
        }
        assert_eq!(now - start, Duration::from_secs(9));
    }

    #[test]
    fn bytes_count_too_and_idleness_saves_up_no_more_than_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(1_000_000, 1000, start);
        assert_eq!(pace.charge(3000, start), Duration::from_secs(2));
        let later = start + Duration::from_secs(3600);
        assert_eq!(pace.charge(1000, later), Duration::ZERO);
        assert_eq!(pace.charge(500, later), Duration::from_millis(500));
    }
}
