//! Delivers: takes events as they happen, sends what is due, tries again later and later.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::signature::{Secret, signatures};
use super::target::{SendError, Target};
use super::{DeliveryView, Hook, LOG_MAX, Pending, Webhooks, milliseconds, now_ms};
use crate::service::{EventView, Events};

/// Longest time of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Attempts under way at once to one receiver.
const AT_ONCE: usize = 8;
/// After the first failure; each further one waits four times as long.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// After so long a delivery is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
/// How often it is looked at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that are taken at once.
const PAGE: usize = 512;

/// What became of an attempt.
struct Attempted {
    hook: String,
    delivery: String,
    answer: Result<u16, SendError>,
}

/// Something that is due.
struct Due {
    hook: String,
    pending: Pending,
    url: String,
    secrets: Vec<Secret>,
}

/// How long to wait after so many failures, a fifth more or less, so that receivers of many nodes are not
/// asked by all of them at once.
pub(super) fn wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16) * 2;
    let wait = FIRST_WAIT.saturating_mul(1 << doublings.min(30)).min(LONGEST_WAIT);
    let mut random = [0_u8; 2];
    // without it nothing is lost but the spread
    SystemRandom::new().fill(&mut random).ok();
    let spread = u64::from(u16::from_be_bytes(random));
    wait * 4 / 5 + Duration::from_millis(milliseconds(wait) * 2 / 5 * spread / 65_535)
}

impl Webhooks {
    /// Delivers until the node has ended; what waits then is in the file.
    pub async fn run(self, events: Events) {
        if self.enqueue(&EventView::reset("node_started")) {
            self.save().await;
        }
        let mut newest = events.watch();
        let mut place = events.since(None, 0).place;
        let mut under_way = FuturesUnordered::new();
        let mut busy: Vec<(String, String)> = Vec::new();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut dirty = false;
        loop {
            let ended = newest.borrow_and_update().is_none();
            loop {
                let since = events.since(Some(place), PAGE);
                place = since.place;
                if since.missed {
                    dirty |= self.enqueue(&EventView::reset("events_missed"));
                }
                if since.events.is_empty() {
                    break;
                }
                for event in &since.events {
                    dirty |= self.enqueue(&event.view());
                }
            }
            if ended {
                break;
            }
            for due in self.due(&busy) {
                busy.push((due.hook.clone(), due.pending.id.clone()));
                under_way.push(self.clone().attempt(due));
            }
            tokio::select! {
                Some(attempted) = under_way.next(), if !under_way.is_empty() => {
                    busy.retain(|(hook, id)| *hook != attempted.hook || *id != attempted.delivery);
                    self.note(&attempted);
                    dirty = true;
                }
                changed = newest.changed() => if changed.is_err() { break },
                () = self.0.woken.notified() => {}
                _ = ticks.tick() => {
                    if dirty {
                        self.save().await;
                        dirty = false;
                    }
                    self.measure();
                }
            }
        }
        // what was under way is sent again after the start: at least once
        self.save().await;
    }

    /// Writes the file. One that cannot be written is told, and tried again with the next change.
    async fn save(&self) {
        let webhooks = self.clone();
        let written = tokio::task::spawn_blocking(move || webhooks.write_now());
        if let Ok(Err(error)) = written.await {
            tracing::error!(error = %error, "webhooks are not saved");
        }
    }

    /// What is to be sent now, but for what is under way.
    fn due(&self, busy: &[(String, String)]) -> Vec<Due> {
        let (now, state) = (now_ms(), self.state());
        let mut due = Vec::new();
        for (id, hook) in &state.hooks {
            if hook.disabled || hook.next_ms > now {
                continue;
            }
            let at_it = busy.iter().filter(|(of, _)| of == id).count();
            // a receiver that has failed is asked with one delivery whether it is back
            let most = if hook.failures > 0 { 1 } else { AT_ONCE };
            let free = |pending: &&Pending| {
                pending.next_ms <= now
                    && !busy.iter().any(|(_, under_way)| *under_way == pending.id)
            };
            let good = |until: Option<u64>| until.is_none_or(|until| until > now);
            let secrets = hook.secrets.iter().filter(|signs| good(signs.until_ms));
            let secrets: Vec<Secret> = secrets.map(|signs| signs.secret.clone()).collect();
            let next = hook.pending.iter().filter(free).take(most.saturating_sub(at_it));
            due.extend(next.map(|pending| Due {
                hook: id.clone(),
                pending: pending.clone(),
                url: hook.url.clone(),
                secrets: secrets.clone(),
            }));
        }
        due
    }

    async fn attempt(self, due: Due) -> Attempted {
        let Due { hook, pending, url, secrets } = due;
        let sent = async {
            let way = self.way().map_err(|_| SendError::Tls)?;
            let target = Target::parse(&url, way.allow_private).map_err(|_| SendError::Private)?;
            let at = now_ms() / 1000;
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("webhook-id", pending.id.clone()),
                ("webhook-timestamp", at.to_string()),
                ("webhook-signature", signatures(secrets.iter(), &pending.id, at, &pending.body)),
            ];
            Ok(target.send(&way, headers, pending.body.clone()).await?.status)
        };
        let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, sent).await;
        Attempted { hook, delivery: pending.id, answer: answer.unwrap_or(Err(SendError::Timeout)) }
    }

    /// Enters what became of an attempt.
    fn note(&self, attempted: &Attempted) {
        let mut state = self.state();
        // it may have been taken away meanwhile
        let Some(hook) = state.hooks.get_mut(&attempted.hook) else { return };
        let disable_after =
            Duration::from_secs(u64::from(self.0.settings.disable_after_days) * 24 * 3600);
        let was_disabled = hook.disabled;
        let Some(outcome) = entered(hook, attempted, now_ms(), milliseconds(disable_after)) else {
            return;
        };
        self.0.metrics.count("webhook_deliveries", "outcome", outcome);
        if hook.disabled && !was_disabled {
            tracing::warn!("a webhook is disabled: see /api/v1/webhooks");
        }
    }
}

/// Enters an attempt at a time; what it came to, if the delivery was still wanted.
fn entered(
    hook: &mut Hook,
    attempted: &Attempted,
    now: u64,
    disable_after_ms: u64,
) -> Option<&'static str> {
    let place = hook.pending.iter().position(|pending| pending.id == attempted.delivery)?;
    let pending = hook.pending.get_mut(place)?;
    pending.attempts = pending.attempts.saturating_add(1);
    let delivered = matches!(attempted.answer, Ok(200..=299));
    let too_old = now.saturating_sub(pending.since_ms) >= milliseconds(GIVEN_UP_AFTER);
    let outcome = match (delivered, too_old) {
        (true, _) => "delivered",
        (false, true) => "given_up",
        (false, false) => "failed",
    };
    if hook.log.len() >= LOG_MAX {
        hook.log.pop_front();
    }
    hook.log.push_back(DeliveryView {
        id: pending.id.clone(),
        kind: pending.kind.clone(),
        at_ms: now,
        attempt: pending.attempts,
        outcome: outcome.to_owned(),
        status: attempted.answer.ok(),
        reason: attempted.answer.err().map(|error| error.to_string()),
    });
    pending.next_ms = now.saturating_add(milliseconds(wait(pending.attempts)));
    if outcome != "failed" {
        hook.pending.remove(place);
    }
    if delivered {
        (hook.failing_since_ms, hook.failures, hook.next_ms) = (None, 0, 0);
        return Some(outcome);
    }
    let since = *hook.failing_since_ms.get_or_insert(now);
    // what this delivery alone is refused for does not hold up the others
    let receiver_is_away = !matches!(attempted.answer, Ok(400..=428 | 430..=499));
    if receiver_is_away {
        hook.failures = hook.failures.saturating_add(1);
        hook.next_ms = now.saturating_add(milliseconds(wait(hook.failures)));
    }
    // 410: it does not want any more
    let gone = attempted.answer == Ok(410);
    hook.disabled |= gone || now.saturating_sub(since) >= disable_after_ms;
    Some(outcome)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::hook;
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;

    fn attempted(delivery: &str, answer: Result<u16, SendError>) -> Attempted {
        Attempted { hook: "h".to_owned(), delivery: delivery.to_owned(), answer }
    }

    #[test]
    fn waits_grow_and_are_spread() {
        let (mut before, mut waits) = (Duration::ZERO, Vec::new());
        for failures in 1..40 {
            let now = wait(failures);
            assert!(now >= before * 2 / 3 && now <= LONGEST_WAIT * 6 / 5, "{failures}: {now:?}");
            before = now;
            waits.push(now);
        }
        assert!(waits[0] >= FIRST_WAIT * 4 / 5 && waits[0] <= FIRST_WAIT * 6 / 5);
        assert!(waits[20] >= LONGEST_WAIT * 4 / 5);
        assert!((0..50).map(|_| wait(3)).any(|other| other != waits[2]), "all at once");
    }

    #[test]
    fn a_receiver_that_is_away_is_asked_seldom_and_disabled_after_days() {
        let mut hook = hook(&["a", "b"]);
        let away = || attempted("a", Err(SendError::Unreachable));
        let mut now = DAY;
        for failures in 1..=20 {
            assert_eq!(entered(&mut hook, &away(), now, 30 * DAY), Some("failed"));
            assert_eq!(hook.failures, failures);
            assert!(hook.next_ms > now && hook.pending.len() == 2);
            now += 60_000;
        }
        assert_eq!(hook.failing_since_ms, Some(DAY));
        // it is back: nothing is held against it
        assert_eq!(entered(&mut hook, &attempted("a", Ok(204)), now, 30 * DAY), Some("delivered"));
        assert_eq!((hook.failing_since_ms, hook.failures, hook.next_ms), (None, 0, 0));
        assert_eq!(hook.pending.len(), 1);
        // a delivery that was taken away meanwhile counts for nothing
        assert_eq!(entered(&mut hook, &away(), now, 30 * DAY), None);
        // one that alone is refused does not hold up the others, and is given up at last
        let refused = || attempted("b", Ok(400));
        assert_eq!(entered(&mut hook, &refused(), now, 30 * DAY), Some("failed"));
        assert_eq!((hook.next_ms, hook.failures), (0, 0));
        assert!(hook.pending[0].next_ms > now);
        assert_eq!(entered(&mut hook, &refused(), now + 4 * DAY, 30 * DAY), Some("given_up"));
        assert!(hook.pending.is_empty() && !hook.disabled);
        let log: Vec<(&str, Option<u16>)> =
            hook.log.iter().rev().take(3).map(|it| (it.outcome.as_str(), it.status)).collect();
        assert_eq!(log, [("given_up", Some(400)), ("failed", Some(400)), ("delivered", Some(204))]);
        assert_eq!(hook.log[0].reason.as_deref(), Some("unreachable"));
    }

    #[test]
    fn days_of_failures_or_a_410_disable() {
        let mut long = hook(&["a"]);
        let away = attempted("a", Ok(503));
        entered(&mut long, &away, DAY, 2 * DAY);
        entered(&mut long, &away, 3 * DAY - 1, 2 * DAY);
        assert!(!long.disabled);
        entered(&mut long, &away, 3 * DAY, 2 * DAY);
        assert!(long.disabled, "after two days");
        let mut gone = hook(&["a"]);
        entered(&mut gone, &attempted("a", Ok(410)), DAY, 2 * DAY);
        assert!(gone.disabled);
        // a redirect is no success, and leads nowhere
        let mut moved = hook(&["a"]);
        assert_eq!(entered(&mut moved, &attempted("a", Ok(302)), DAY, DAY), Some("failed"));
    }

    #[test]
    fn the_log_of_deliveries_is_bounded() {
        let mut hook = hook(&["a"]);
        for at in 0..2 * LOG_MAX as u64 {
            entered(&mut hook, &attempted("a", Ok(500)), at, DAY);
        }
        assert_eq!(hook.log.len(), LOG_MAX);
    }
}
