//! Persist, then say: what a turn leaves to be said waits here until its records are on the disk.
//!
//! The one place where that is upheld. The loop takes the next turn while the former's records are on
//! their way to the disk; whatever a turn would have others see (messages, answers, the checkpoint, the
//! status, what may be read of facts) is in here meanwhile, and comes out
//!
//! - only when the turn's own records are durable,
//! - and those of all turns before it: what a turn says may rest on what they have done,
//! - in the order of the turns.
//!
//! A turn without records waits for those before it all the same. After an append that failed nothing comes
//! out any more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::journal::{Appending, BATCH_MAX, JournalError};

/// Turns that may wait for the disk, and bytes of their records: then no more input is taken.
const TURNS_MAX: usize = 32;
const BYTES_MAX: usize = BATCH_MAX;

/// Turns whose records are on their way to the disk, with what they leave to be said; the oldest first.
#[derive(Debug)]
pub(super) struct InFlight<T> {
    turns: VecDeque<Waiting<T>>,
    bytes: usize,
    failed: Option<JournalError>,
}

#[derive(Debug)]
struct Waiting<T> {
    // none when there was nothing to record
    records: Option<(Appending, usize)>,
    begun: Instant,
    outputs: T,
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), bytes: 0, failed: None }
    }
}

impl<T> InFlight<T> {
    /// A turn, after all that were put in before: in this order their records were given to the journal.
    /// With them goes how many bytes they are.
    pub(super) fn push(&mut self, records: Option<(Appending, usize)>, outputs: T) {
        self.bytes += records.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.turns.push_back(Waiting { records, begun: Instant::now(), outputs });
    }

    /// Whether no turn waits.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether no further turn should be begun.
    pub(super) fn is_full(&self) -> bool {
        self.turns.len() >= TURNS_MAX || self.bytes >= BYTES_MAX
    }

    /// Waits until the oldest turn's records are durable; gives what it leaves to be said, and how long they
    /// took if there were any. None when no turn waits. Waiting may be broken off: nothing is lost.
    ///
    /// # Errors
    /// When its records, or those of a turn before, did not reach the disk: nothing is ever said again.
    pub(super) async fn next(&mut self) -> Result<Option<(T, Option<Duration>)>, JournalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(oldest) = self.turns.front_mut() else { return Ok(None) };
        let mut took = None;
        if let Some((records, bytes)) = &mut oldest.records {
            if let Err(error) = records.durable().await {
                self.turns.clear();
                self.failed = Some(error.clone());
                return Err(error);
            }
            self.bytes -= *bytes;
            took = Some(oldest.begun.elapsed());
        }
        Ok(self.turns.pop_front().map(|turn| (turn.outputs, took)))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;

    type Disk = oneshot::Sender<Result<(), JournalError>>;

    /// What has come out by now.
    fn drain(turns: &mut InFlight<usize>) -> (Vec<usize>, bool) {
        let mut out = Vec::new();
        loop {
            match turns.next().now_or_never() {
                Some(Ok(Some((turn, _)))) => out.push(turn),
                Some(Err(_)) => return (out, true),
                None | Some(Ok(None)) => return (out, false),
            }
        }
    }

    proptest! {
        /// A disk that answers in any order, or fails, at any moment, while turns with and without records
        /// come in: what comes out is in order, and never before its own records and all earlier ones.
        #[test]
        fn nothing_is_said_before_all_it_rests_on_is_durable(
            steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), any::<bool>()), 1..120),
        ) {
            let mut turns = InFlight::default();
            // of each turn: whether its records are durable, and what still has to say so
            let mut durable: Vec<bool> = Vec::new();
            let mut disk: Vec<(usize, Disk)> = Vec::new();
            let (mut said, mut failed) = (Vec::new(), None);
            for (step, which, fails) in steps {
                match step {
                    0 => {
                        turns.push(None, durable.len());
                        durable.push(true);
                    }
                    1 => {
                        let (answer, answered) = oneshot::channel();
                        turns.push(Some((Appending::for_test(answered), 1 << 20)), durable.len());
                        disk.push((durable.len(), answer));
                        durable.push(false);
                    }
                    _ if disk.is_empty() => {}
                    2 if fails => {
                        let (turn, answer) = disk.remove(which.index(disk.len()));
                        failed = Some(failed.map_or(turn, |before: usize| before.min(turn)));
                        let _ = answer.send(Err(JournalError::Closed));
                    }
                    _ => {
                        let (turn, answer) = disk.remove(which.index(disk.len()));
                        durable[turn] = true;
                        let _ = answer.send(Ok(()));
                    }
                }
                let (out, stopped) = drain(&mut turns);
                said.extend(out);
                prop_assert!(said.iter().copied().eq(0..said.len()), "in order");
                prop_assert!(durable[..said.len()].iter().all(|durable| *durable));
                prop_assert!(failed.is_none_or(|failed| said.len() <= failed));
                // and it is said as soon as it may be
                let may = durable.iter().take_while(|durable| **durable).count();
                prop_assert!(stopped || said.len() == may);
                if stopped {
                    turns.push(None, durable.len());
                    prop_assert!(turns.next().now_or_never().unwrap().is_err(), "nor ever after");
                    return Ok(());
                }
            }
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_broken_off_loses_nothing() {
        let mut turns = InFlight::default();
        let (answer, answered) = oneshot::channel();
        turns.push(Some((Appending::for_test(answered), BYTES_MAX)), 7);
        assert!(turns.is_full());
        assert!(turns.next().now_or_never().is_none());
        answer.send(Ok(())).unwrap();
        let (turn, took) = turns.next().await.unwrap().unwrap();
        assert!(turn == 7 && took.is_some() && turns.is_empty() && !turns.is_full());
        assert!(turns.next().await.unwrap().is_none());
    }
}
