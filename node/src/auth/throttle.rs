//! Slows down guessing: after five failed sign-ins under one name each further one must wait, twice
//! as long each time, up to five minutes.
//!
//! Counts by user name, whether or not there is such a user, and counts an attempt before its
//! password is checked, so that guesses made at once do not all get through. Whoever fails on purpose
//! keeps the right user out for those minutes: the price of not knowing networks here. Kept in
//! memory: a restart forgets it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Failed attempts without a wait.
const FREE_ATTEMPTS: u32 = 5;
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Without an attempt for so long a name is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Most names kept.
const NAMES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    names: BTreeMap<String, Attempts>,
}

#[derive(Debug)]
struct Attempts {
    failed: u32,
    last: Instant,
}

impl Attempts {
    fn wait(&self) -> Duration {
        let doublings = self.failed.saturating_sub(FREE_ATTEMPTS);
        match self.failed {
            ..FREE_ATTEMPTS => Duration::ZERO,
            _ => Duration::from_secs(1 << doublings.min(20)).min(WAIT_MAX),
        }
    }
}

impl Throttle {
    /// Counts an attempt as failed, to be undone by [`Self::succeeded`]; or says how long to wait.
    pub(super) fn begin(&mut self, name: &str, now: Instant) -> Result<(), Duration> {
        if !self.names.contains_key(name) && self.names.len() >= NAMES_MAX {
            self.names.retain(|_, attempts| now.duration_since(attempts.last) < FORGET_AFTER);
            if self.names.len() >= NAMES_MAX {
                return Err(WAIT_MAX); // a flood of names: nobody new until it is over
            }
        }
        let attempts =
            self.names.entry(name.to_owned()).or_insert(Attempts { failed: 0, last: now });
        if now.duration_since(attempts.last) >= FORGET_AFTER {
            attempts.failed = 0;
        }
        let left = attempts.wait().saturating_sub(now.duration_since(attempts.last));
        if !left.is_zero() {
            return Err(left);
        }
        attempts.failed = attempts.failed.saturating_add(1);
        attempts.last = now;
        Ok(())
    }

    /// The attempt had the right password.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// As if the last attempt under a name were later: on a slow machine checking one password takes longer than
    /// the first wait, and a test that goes on after it would not have to wait any more.
    #[cfg(test)]
    pub(super) fn put_off(&mut self, name: &str, by: Duration) {
        if let Some(attempts) = self.names.get_mut(name) {
            attempts.last += by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_wait_ever_longer() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_ATTEMPTS {
            assert_eq!(throttle.begin("ann", start), Ok(()));
        }
        assert_eq!(throttle.begin("ann", start), Err(Duration::from_secs(1)));
        assert_eq!(throttle.begin("bob", start), Ok(()), "another name is not slowed down");
        let later = start + Duration::from_secs(1);
        assert_eq!(throttle.begin("ann", later), Ok(()));
        assert_eq!(throttle.begin("ann", later), Err(Duration::from_secs(2)));
    }

    #[test]
    fn a_day_of_guessing_is_about_three_hundred() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let day = 0..86_400;
        let guesses =
            day.filter(|s| throttle.begin("ann", start + Duration::from_secs(*s)).is_ok()).count();
        assert!((280..310).contains(&guesses), "{guesses}");
    }

    #[test]
    fn success_and_time_forgive() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        (0..FREE_ATTEMPTS).for_each(|_| throttle.begin("ann", start).unwrap());
        throttle.succeeded("ann");
        (0..FREE_ATTEMPTS).for_each(|_| throttle.begin("ann", start).unwrap());
        assert!(throttle.begin("ann", start).is_err());
        let later = start + FORGET_AFTER;
        (0..FREE_ATTEMPTS).for_each(|_| throttle.begin("ann", later).unwrap());
    }
}
