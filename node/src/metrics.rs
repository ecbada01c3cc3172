//! What a node counts and measures, in the text format of Prometheus.
//!
//! Names are part of the source; a label is the id of a brand, the number of a rule or the name of a
//! kind: never a member's, a card's, a query's. Knows no network; who may read it is decided where it is
//! served (an address of its own, off unless the operator names one).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::witness::message::Message;

use crate::telemetry::Counters;

/// Upper bounds of a latency's buckets, in milliseconds; the last one has none.
const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 30_000];

/// How often durations fell into each bucket.
#[derive(Debug, Default, Clone)]
struct Histogram {
    buckets: [u64; BUCKETS_MS.len()],
    count: u64,
    sum_microseconds: u128,
}

impl Histogram {
    fn observe(&mut self, duration: Duration) {
        self.count += 1;
        self.sum_microseconds += duration.as_micros();
        for (most, bucket) in BUCKETS_MS.iter().zip(&mut self.buckets) {
            if duration <= Duration::from_millis(*most) {
                *bucket += 1;
            }
        }
    }

    fn render(&self, name: &str, text: &mut String) {
        let _ = writeln!(text, "# TYPE {name} histogram");
        for (most, count) in BUCKETS_MS.iter().zip(self.buckets) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {count}", seconds(*most));
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", self.count);
        let whole = self.sum_microseconds / 1_000_000;
        let _ = writeln!(text, "{name}_sum {whole}.{:06}", self.sum_microseconds % 1_000_000);
        let _ = writeln!(text, "{name}_count {}", self.count);
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[derive(Debug, Default)]
struct Measured {
    // by name, then by label
    labelled: BTreeMap<(&'static str, &'static str), BTreeMap<String, u64>>,
    gauges: BTreeMap<(&'static str, &'static str), BTreeMap<String, u64>>,
    histograms: BTreeMap<&'static str, Histogram>,
}

/// Everything that one node counts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counters: Counters,
    measured: Arc<Mutex<Measured>>,
}

impl Metrics {
    /// Counters without labels.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one to the counter `name` with this label.
    pub fn count(&self, name: &'static str, label: &'static str, value: impl ToString) {
        let mut measured = self.measured();
        let by_value = measured.labelled.entry((name, label)).or_default();
        *by_value.entry(value.to_string()).or_default() += 1;
    }

    /// Sets the gauge `name` with this label; an empty label is none.
    pub fn set(&self, name: &'static str, label: &'static str, value: impl ToString, to: u64) {
        let mut measured = self.measured();
        measured.gauges.entry((name, label)).or_default().insert(value.to_string(), to);
    }

    /// Enters a duration into the histogram `name`.
    pub fn observe(&self, name: &'static str, duration: Duration) {
        self.measured().histograms.entry(name).or_default().observe(duration);
    }

    /// Counts a message of the ledger's that is sent.
    pub fn sent(&self, message: &Message) {
        let counter = |name| self.counters.counter(name).increment();
        match message {
            Message::Proposal(_) => counter("proposals_sent"),
            Message::Vote(_) => counter("votes_sent"),
            Message::Commit(_) => counter("commits_sent"),
            Message::Refusal(refusal) => self.count("refusals_sent", "rule", refusal.rule),
            _ => {}
        }
    }

    /// Counts a message of the ledger's that has come.
    pub fn received(&self, message: &Message) {
        let counter = |name| self.counters.counter(name).increment();
        match message {
            Message::Proposal(_) => counter("proposals_received"),
            Message::Vote(_) => counter("votes_received"),
            Message::Commit(_) => counter("commits_received"),
            Message::Refusal(refusal) => self.count("refusals_received", "rule", refusal.rule),
            _ => {}
        }
    }

    /// All of it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.counters.render();
        let measured = self.measured();
        for ((name, label), by_value) in &measured.labelled {
            let _ = writeln!(text, "# TYPE coalition_{name}_total counter");
            for (value, count) in by_value {
                let _ = writeln!(text, "coalition_{name}_total{{{label}=\"{value}\"}} {count}");
            }
        }
        for ((name, label), by_value) in &measured.gauges {
            let _ = writeln!(text, "# TYPE coalition_{name} gauge");
            for (value, now) in by_value {
                if label.is_empty() {
                    let _ = writeln!(text, "coalition_{name} {now}");
                } else {
                    let _ = writeln!(text, "coalition_{name}{{{label}=\"{value}\"}} {now}");
                }
            }
        }
        for (name, histogram) in &measured.histograms {
            histogram.render(&format!("coalition_{name}"), &mut text);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.counters().counter("votes_sent").increment();
        metrics.count("refusals_sent", "rule", 7);
        metrics.count("refusals_sent", "rule", 7);
        metrics.set("log_height", "log", "kids", 3);
        metrics.set("inbox_messages", "", "", 9);
        for milliseconds in [1, 3, 700, 60_000] {
            metrics.observe("finality_seconds", Duration::from_millis(milliseconds));
        }
        let text = metrics.render();
        for line in [
            "coalition_votes_sent_total 1",
            "coalition_refusals_sent_total{rule=\"7\"} 2",
            "coalition_log_height{log=\"kids\"} 3",
            "coalition_inbox_messages 9",
            "coalition_finality_seconds_bucket{le=\"0.001\"} 1",
            "coalition_finality_seconds_bucket{le=\"0.005\"} 2",
            "coalition_finality_seconds_bucket{le=\"1.000\"} 3",
            "coalition_finality_seconds_bucket{le=\"+Inf\"} 4",
            "coalition_finality_seconds_sum 60.704000",
            "coalition_finality_seconds_count 4",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("# TYPE coalition_refusals_sent_total").count(), 1);
    }
}
