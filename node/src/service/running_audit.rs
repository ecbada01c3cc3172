//! The audit that the node makes itself of copies of all logs: asked for, how far it is, and what the last one found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::{AuditView, ErrorKind, Node, ServiceError};

/// How far the node's own audit has come, and what is known of the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunningAuditView {
    /// Whether one is being made, or is about to be.
    pub running: bool,
    /// Logs that are copied by now, of those that are.
    pub logs: u64,
    /// How many logs there are.
    pub logs_all: u64,
    /// Entries that are audited by now.
    pub entries: u64,
    /// How many entries the copies have.
    pub entries_all: u64,
    /// Why the last one was not made, if so: what the one before it found stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When the last one that was made had its copies, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ms: Option<u64>,
    /// How long that took, in milliseconds.
    pub took_ms: u64,
    /// How many findings it has.
    pub findings: u64,
    /// What it added up again of joint answers; an answer that is something else is a finding.
    #[serde(default)]
    pub openings: AddedUpView,
}

/// Joint answers that an audit has added up again from the openings that a node has kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddedUpView {
    /// Joint questions that were answered, by the logs.
    pub answers: u64,
    /// Of how many all openings were there and were added up.
    pub added_up: u64,
    /// Files of openings that do not read.
    pub unreadable: u64,
}

impl AddedUpView {
    /// Answers that were not added up: never to be read as sound.
    #[must_use]
    pub const fn not_added_up(&self) -> u64 {
        self.answers.saturating_sub(self.added_up)
    }
}

#[derive(Debug, Default)]
struct Kept {
    view: RunningAuditView,
    // what `coalition audit --json` would have written
    report: Option<Arc<str>>,
}

/// The node's own audits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Audits(Arc<(Mutex<Kept>, Notify)>);

impl Audits {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    #[must_use]
    pub fn view(&self) -> RunningAuditView {
        self.kept().view.clone()
    }

    /// What the last one found, in JSON.
    #[must_use]
    pub fn report(&self) -> Option<Arc<str>> {
        self.kept().report.clone()
    }

    /// Begins one, unless one is being made; false then.
    pub(crate) fn begin(&self) -> bool {
        let mut kept = self.kept();
        if kept.view.running {
            return false;
        }
        let RunningAuditView { made_ms, took_ms, findings, openings, .. } = kept.view;
        let view = RunningAuditView {
            made_ms,
            took_ms,
            findings,
            openings,
            ..RunningAuditView::default()
        };
        kept.view = RunningAuditView { running: true, ..view };
        drop(kept);
        self.0.1.notify_one();
        true
    }

    /// Waits until one is asked for.
    pub(crate) async fn asked(&self) {
        self.0.1.notified().await;
    }

    /// Changes what is told of it.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut RunningAuditView)) {
        change(&mut self.kept().view);
    }

    /// What the last one found.
    pub(crate) fn keep(&self, view: RunningAuditView, report: Option<String>) {
        let mut kept = self.kept();
        kept.view = view;
        if let Some(report) = report {
            kept.report = Some(report.into());
        }
    }
}

impl Node {
    /// Has the node copy all logs and audit the copies, behind what it does otherwise.
    ///
    /// # Errors
    /// When one is being made.
    pub fn start_audit(&self) -> Result<(), ServiceError> {
        if self.audits.begin() {
            return Ok(());
        }
        Err(ServiceError::new(
            ErrorKind::Conflict,
            "audit_running",
            "an audit is being made",
            "wait for it to end, then start the next",
        ))
    }

    /// The node's own audits.
    #[must_use]
    pub const fn audits(&self) -> &Audits {
        &self.audits
    }

    /// What the last of the node's own audits found, beside what the node has seen certified since.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn own_audit(&self) -> Result<Option<AuditView>, ServiceError> {
        let Some(report) = self.audits.report() else { return Ok(None) };
        self.compare_audit(&report).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_is_made_at_a_time_and_what_the_last_one_found_stands_meanwhile() {
        let audits = Audits::default();
        assert!(audits.begin() && !audits.begin());
        audits.asked().await;
        let made =
            RunningAuditView { made_ms: Some(7), findings: 2, ..RunningAuditView::default() };
        audits.keep(made.clone(), Some("{}".to_owned()));
        assert_eq!((audits.view(), audits.report().as_deref()), (made.clone(), Some("{}")));
        assert!(audits.begin());
        assert_eq!(audits.view(), RunningAuditView { running: true, ..made.clone() });
        let failed = Some("log kids: its node cannot be reached".to_owned());
        audits.keep(RunningAuditView { failed, ..made }, None);
        assert_eq!(audits.report().as_deref(), Some("{}"), "the one before stands");
    }
}
