//! The figures of a run.

use serde::Serialize;

use super::super::Io;

/// Everything a run measures.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Brands, each a process.
    pub brands: usize,
    /// Purchase lines imported and kept, all brands together.
    pub purchases_imported: u64,
    /// Members imported.
    pub members_imported: u64,
    /// Seconds the imports took, all at once.
    pub import_seconds: f64,
    /// Accounts linked by one-time code.
    pub links: u64,
    /// Exchanges certified, and answered by the other side.
    pub exchanges_final: u64,
    /// Exchanges the own brand refused.
    pub exchanges_refused: u64,
    /// Exchanges the other side sent back.
    pub exchanges_returned: u64,
    /// Certified exchanges a second over the whole alliance, the restart included.
    pub exchanges_per_second: f64,
    /// From the request to the certificate.
    pub finality_ms: Percentiles,
    /// From the request to the other side's acknowledgement.
    pub acknowledged_ms: Percentiles,
    /// Whether every node arrived at the same statement and entered it.
    pub clearing_agreed: bool,
    /// The joint question.
    pub query: Query,
    /// The question that each brand answered for itself.
    pub pack: Pack,
    /// The offline audit.
    pub audit: Audit,
    /// The node that was killed.
    pub restart: Restart,
}

/// Two percentiles, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: u64,
    /// All but one in a hundred are at most this.
    pub p99: u64,
}

/// The joint question.
#[derive(Debug, Default, Serialize)]
pub struct Query {
    /// Cells of the answer.
    pub cells: usize,
    /// Cells whose true value is above the smallest that is said to be within 5 %.
    pub cells_above_floor: usize,
    /// Its cost.
    pub rho: f64,
    /// The same as epsilon at delta 1e-6.
    pub epsilon: f64,
    /// Half of the cells are at most this far from the truth.
    pub median_relative_error: f64,
    /// Cells whose 95 % interval holds the truth.
    pub intervals_covering: usize,
    /// From the confirmation to the release.
    pub seconds: f64,
}

/// The question that each brand answered for itself, by its own policy and on its own account.
#[derive(Debug, Default, Serialize)]
pub struct Pack {
    /// Brands that answered.
    pub brands: usize,
    /// Its cost at each of them.
    pub rho: f64,
    /// From the confirmation to the last answer.
    pub seconds: f64,
}

/// The offline audit.
#[derive(Debug, Default, Serialize)]
pub struct Audit {
    /// Findings in the logs as they are; all of them, listed or not.
    pub findings: u64,
    /// Whether the one altered byte was found, in its log and at its entry.
    pub tamper_detected: bool,
    /// Entries whose hashes were compared.
    pub entries: u64,
    /// Sealed entries that were opened with the auditor's key.
    pub opened: u64,
    /// Seconds it took.
    pub seconds: f64,
}

/// The node that was killed.
#[derive(Debug, Default, Serialize)]
pub struct Restart {
    /// Exchanges that the sender has as final and the receiver has not credited.
    pub lost: u64,
    /// Exchanges credited more than once, or accounts with more points than they should have.
    pub duplicated: u64,
    /// From the start of the new process until it answered.
    pub seconds: f64,
}

impl Percentiles {
    /// Of some durations, in any order.
    pub fn of(mut durations: Vec<u64>) -> Self {
        durations.sort_unstable();
        let at = |percent: usize| {
            let place = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
}

impl Report {
    /// Whether all is as it should be.
    pub const fn is_sound(&self) -> bool {
        self.clearing_agreed
            && self.audit.findings == 0
            && self.audit.tamper_detected
            && self.restart.lost == 0
            && self.restart.duplicated == 0
            && self.exchanges_returned > 0
            && self.exchanges_refused > 0
            && self.query.cells > 0
            && self.pack.brands == self.brands
    }

    /// The figures in words.
    pub fn say(&self, io: &Io) {
        io.say("\nIn figures / 数字小结");
        io.say(&format!(
            "  {} brands, {} members, {} purchase lines imported in {:.1} s",
            self.brands, self.members_imported, self.purchases_imported, self.import_seconds
        ));
        io.say(&format!(
            "  {} exchanges final ({} refused by the own brand, {} returned), {:.0} a second with one node killed on the way",
            self.exchanges_final,
            self.exchanges_refused,
            self.exchanges_returned,
            self.exchanges_per_second
        ));
        io.say(&format!(
            "  final after {} ms (p50), {} ms (p99); acknowledged by the other brand after {} ms (p50)",
            self.finality_ms.p50, self.finality_ms.p99, self.acknowledged_ms.p50
        ));
        io.say(&format!(
            "  clearing agreed by all: {}; lost by the kill: {}, applied twice: {}",
            yes(self.clearing_agreed),
            self.restart.lost,
            self.restart.duplicated
        ));
        io.say(&format!(
            "  joint question: {} cells in {:.1} s at rho {} (epsilon {:.2}), median error {:.1} %, {} of {} intervals hold the truth",
            self.query.cells,
            self.query.seconds,
            self.query.rho,
            self.query.epsilon,
            100.0 * self.query.median_relative_error,
            self.query.intervals_covering,
            self.query.cells
        ));
        io.say(&format!(
            "  audit: {} findings in {} entries ({} opened) in {:.1} s; one altered byte found: {}",
            self.audit.findings,
            self.audit.entries,
            self.audit.opened,
            self.audit.seconds,
            yes(self.audit.tamper_detected)
        ));
    }
}

const fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "NO" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_durations() {
        let of = |durations| {
            let percentiles = Percentiles::of(durations);
            (percentiles.p50, percentiles.p99)
        };
        assert_eq!(of((1..=100).rev().collect()), (50, 99));
        assert_eq!(of(vec![7]), (7, 7));
        assert_eq!(of(Vec::new()), (0, 0));
    }
}
