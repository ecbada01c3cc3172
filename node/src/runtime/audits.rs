//! The node's own audit: once a day, and when an officer asks for it, behind the loop.
//!
//! Copies of all logs are made at one cut ([`copies`]); then a thread of its own audits them, one log after another, as
//! `coalition audit` does on another machine. It holds none of the loop's state: a node that ends waits for no audit. What
//! was found is in the data directory, and is there again after a restart. Without an auditor's key what is sealed is
//! counted as not checked.

mod copies;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alliance_config::{Constitution, Host};
use protocol::audit::OneCore;
use protocol::ids::BrandId;
use tokio::sync::oneshot;

use self::copies::{Cut, Server, Source, copy};
use super::now;
use crate::audit::Audited;
use crate::config::{AuditSettings, DataDirectory};
use crate::constitutions::Known;
use crate::metrics::Metrics;
use crate::service::{
    AddedUpView, Audits, ConstitutionView, Node, RunningAuditView, check_audit_report,
};
use crate::tls::OutgoingTls;

/// How often it is looked at whether one is due.
const EVERY: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 60 * 60 * 1_000;

/// What an audit came to.
struct Made {
    report: String,
    findings: u64,
    openings: AddedUpView,
}

/// The audits of a node, and when the next is due.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    audits: Audits,
    // 0 for none but those that are asked for
    every_ms: u64,
    started_ms: u64,
}

impl Schedule {
    /// With what an earlier run of the node has left.
    pub(super) fn open(data: &DataDirectory, settings: &AuditSettings) -> Self {
        let audits = Audits::default();
        read_kept(&audits, data);
        let every_ms = u64::from(settings.every_hours).saturating_mul(HOUR_MS);
        Self { audits, every_ms, started_ms: now().unix_ms() }
    }

    /// What is told of them.
    pub(super) const fn audits(&self) -> &Audits {
        &self.audits
    }

    /// When the next one is due, after the last try of this run; nothing where none is made unless it is asked for. A
    /// restart puts off none that is due, and where none was ever made it is not long until the first.
    fn due_ms(&self, tried_ms: Option<u64>) -> Option<u64> {
        let made_ms = self.audits.view().made_ms.map(|made| made.min(self.started_ms));
        let first_ms = self.started_ms.saturating_add(self.every_ms.min(HOUR_MS));
        // one that was not made is tried again as late as one that was
        let last_ms = tried_ms.or(made_ms);
        let next_ms = last_ms.map_or(first_ms, |last| last.saturating_add(self.every_ms));
        (self.every_ms > 0).then_some(next_ms)
    }

    /// Since when there is no result, where it ought to be there for a whole interval.
    fn overdue_since_ms(&self, at_ms: u64) -> Option<u64> {
        let last_ms = self.audits.view().made_ms.unwrap_or(self.started_ms);
        let most_ms = self.every_ms.saturating_mul(2);
        (self.every_ms > 0 && at_ms.saturating_sub(last_ms) > most_ms).then_some(last_ms)
    }

    /// What whoever looks at the node's state is to know of them.
    pub(super) fn alerts(&self, at_ms: u64) -> Vec<String> {
        let view = self.audits.view();
        let mut alerts = Vec::new();
        if view.findings > 0 {
            let count = view.findings;
            alerts.push(format!(
                "the node's own audit has {count} findings: look at them on the page Compliance / \
                 本节点的审计有 {count} 项发现：请在“合规”页查看"
            ));
        }
        if view.failed.is_some() {
            alerts.push(
                "the node's own audit was not made: why is on the page Compliance / \
                 本节点的审计未能进行：原因见“合规”页"
                    .to_owned(),
            );
        }
        if let Some(since_ms) = self.overdue_since_ms(at_ms) {
            let hours = at_ms.saturating_sub(since_ms) / HOUR_MS;
            alerts.push(format!(
                "for {hours} hours the node's own audit has had no result: start one on the page Compliance / \
                 本节点的审计已有 {hours} 小时没有结果：请在“合规”页发起"
            ));
        }
        alerts
    }

    fn measure(&self, metrics: &Metrics) {
        let view = self.audits.view();
        metrics.set("audit_findings", "", "", view.findings);
        if let Some(made_ms) = view.made_ms {
            metrics.set("audit_made_timestamp_seconds", "", "", made_ms / 1_000);
        }
        let is_overdue = self.overdue_since_ms(now().unix_ms()).is_some();
        metrics.set("audit_overdue", "", "", u64::from(is_overdue));
    }
}

/// Runs until the node ends.
pub(super) async fn care(
    node: Node,
    data: DataDirectory,
    (settings, schedule, metrics): (AuditSettings, Schedule, Metrics),
) {
    let mut tried_ms = None;
    while !node.is_stopped() {
        schedule.measure(&metrics);
        let asked = tokio::time::timeout(EVERY, node.audits().asked()).await.is_ok();
        if !asked {
            if schedule.due_ms(tried_ms).is_some_and(|due| now().unix_ms() >= due) {
                // what is asked for is taken up in the next turn
                node.audits().begin();
            }
            continue;
        }
        audit(&node, &data, &settings).await;
        tried_ms = Some(now().unix_ms());
    }
}

/// What an earlier run of the node has left. What cannot be read is as if it were not there.
fn read_kept(audits: &Audits, data: &DataDirectory) {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let (Some(view), Some(report)) = (read(data.last_audit()), read(data.audit_report())) else {
        return;
    };
    let view: Result<RunningAuditView, _> = serde_json::from_str(&view);
    match (view, check_audit_report(&report)) {
        (Ok(view), Ok(())) => audits.keep(view, Some(report)),
        (Err(_), _) | (_, Err(_)) => {
            tracing::warn!("what the last of the node's own audits found cannot be read");
        }
    }
}

/// Makes one, and tells what it came to; what went wrong leaves what the one before it found.
async fn audit(node: &Node, data: &DataDirectory, settings: &AuditSettings) {
    let before = node.audits().view();
    let (at, begun) = (now().unix_ms(), Instant::now());
    let made = made(node, data, settings).await;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let kept = RunningAuditView {
        made_ms: before.made_ms,
        took_ms: before.took_ms,
        findings: before.findings,
        openings: before.openings,
        ..RunningAuditView::default()
    };
    match made {
        Ok(Made { report, mut findings, openings }) => {
            // a log that is sound by itself and not the one whose head was seen certified here
            match node.compare_audit(&report).await {
                Ok(compared) => {
                    let differing = u64::try_from(compared.differing().count());
                    findings = findings.saturating_add(differing.unwrap_or(u64::MAX));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the audit's copies were not compared")
                }
            }
            if findings > 0 {
                tracing::warn!("the node's own audit has findings: see the officer's page");
            }
            // how much it was stays to be seen
            let view = RunningAuditView {
                running: false,
                made_ms: Some(at),
                took_ms,
                findings,
                openings,
                ..node.audits().view()
            };
            let text = serde_json::to_vec(&view).unwrap_or_default();
            let written = data
                .write(&data.audit_report(), report.as_bytes())
                .and_then(|()| data.write(&data.last_audit(), &text));
            if let Err(error) = written {
                tracing::error!(error = %error, "what the audit found could not be kept");
            }
            node.audits().keep(view, Some(report));
        }
        Err(problem) => {
            tracing::warn!(error = %problem, "the node's own audit was not made");
            node.audits().keep(RunningAuditView { failed: Some(problem), ..kept }, None);
        }
    }
}

async fn made(node: &Node, data: &DataDirectory, settings: &AuditSettings) -> Result<Made, String> {
    let unread = "the constitutions cannot be read / 无法读取章程";
    let known = Known::read(data).map_err(|error| because(unread, &error))?;
    let views = node.constitutions().await.map_err(|error| because(unread, &error))?;
    let documents = in_force(&known, &views, node.status().epoch);
    let trusted = settings.trusted.as_ref().map(|path| data.path().join(path));
    let tls = OutgoingTls::open(trusted.as_deref(), None);
    let unusable =
        "[audit] trusted in node.toml cannot be used / node.toml 的 [audit] trusted 无法使用";
    let tls = tls.map_err(|error| because(unusable, &error))?;
    let sources = sources(node, &documents, &Arc::new(tls));
    let all = sources.len() as u64;
    let audits = node.audits().clone();
    audits.tell(|view| view.logs_all = all);
    let told = |logs: u64| audits.tell(|view| view.logs = logs);
    let cuts = copy(sources, &data.audited_logs(), || seen(node), told).await;
    let cuts = cuts.map_err(|(brand, error)| {
        format!("log {brand}: {error} / 日志 {brand}：{}", error.chinese())
    })?;
    audited(documents, cuts, data.openings(), audits).await
}

/// Why an audit was not made: what it is in both languages, then the detail as whatever failed words it.
fn because(words: &str, detail: &impl std::fmt::Display) -> String {
    format!("{words} ({detail})")
}

/// The constitutions up to the one in force, the first first. Drafts that were taken and not adopted are none of them.
fn in_force(known: &Known, views: &[ConstitutionView], epoch: u32) -> Vec<Constitution> {
    let is_adopted = |it: &Constitution| {
        let hash = it.hash().to_string();
        let view = views.iter().find(|view| view.hash == hash);
        view.is_some_and(|view| view.adopted.len() as u64 >= u64::from(view.needed))
    };
    let is_first = |it: &Constitution| it.ledger().succession().previous.is_none();
    let mut next = known
        .iter()
        .find(|it| it.ledger().epoch().get() == epoch && (is_first(it) || is_adopted(it)));
    let mut documents = Vec::new();
    while let Some(document) = next {
        documents.push(document.clone());
        let previous = document.ledger().succession().previous;
        next = previous.and_then(|hash| known.get(&hash));
    }
    documents.reverse();
    documents
}

/// Up to which size this node has seen each log certified.
fn seen(node: &Node) -> BTreeMap<BrandId, u64> {
    let heads = node.status().heads.into_iter();
    heads.filter_map(|head| Some((BrandId::new(&head.brand).ok()?, head.size))).collect()
}

/// Where each log is read: of a brand that has left, where its last constitution says.
fn sources(
    node: &Node,
    documents: &[Constitution],
    tls: &Arc<OutgoingTls>,
) -> BTreeMap<BrandId, Source> {
    let mut sources = BTreeMap::new();
    for (brand, profile) in documents.iter().flat_map(|it| it.profiles()) {
        let host = match profile.https.host() {
            Host::Ip(ip) => ip.to_string(),
            Host::Dns(name) => name.clone(),
        };
        let server = Server::new(host, profile.https.port(), Arc::clone(tls));
        sources.insert(brand, Source::Server(server));
    }
    sources.insert(node.brand(), Source::Own(node.published().to_owned()));
    sources
}

/// Audits the copies on a thread of its own, which nobody waits for when the node ends.
async fn audited(
    documents: Vec<Constitution>,
    cuts: BTreeMap<BrandId, Cut>,
    openings: PathBuf,
    audits: Audits,
) -> Result<Made, String> {
    let (done, made) = oneshot::channel();
    let work = move || {
        let openings: Vec<PathBuf> = openings.is_dir().then_some(openings).into_iter().collect();
        let audited = Audited {
            documents: &documents,
            keys: &[],
            outside_witnesses: &[],
            openings: &openings,
            passes_damaged_openings: true,
        };
        let folder = |brand: BrandId| cuts.get(&brand).cloned();
        let told = |_: BrandId, entries: u64, all: u64| {
            audits.tell(|view| {
                view.entries = view.entries.saturating_add(entries);
                view.entries_all = all;
            });
        };
        let failed = "the copies cannot be audited / 无法审计副本";
        let report = audited.audit(folder, &OneCore, &told);
        let made = report.map_err(|error| because(failed, &error)).and_then(|report| {
            let findings = report.findings();
            let openings = report.budget.as_ref().map(|budget| AddedUpView {
                answers: budget.answers,
                added_up: budget.added_up,
                unreadable: budget.openings_unreadable,
            });
            let openings = openings.unwrap_or_default();
            let report = serde_json::to_string(&report).map_err(|error| because(failed, &error))?;
            Ok(Made { report, findings, openings })
        });
        // the node may have ended
        let _ = done.send(made);
    };
    let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(work);
    thread.map_err(|error| because("no thread can be started / 无法启动线程", &error))?;
    made.await.map_err(|_| "the audit was lost / 审计意外中断".to_owned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(every_hours: u64, started_ms: u64, view: RunningAuditView) -> Schedule {
        let audits = Audits::default();
        audits.keep(view, None);
        Schedule { audits, every_ms: every_hours * HOUR_MS, started_ms }
    }

    fn made(at_ms: u64) -> RunningAuditView {
        RunningAuditView { made_ms: Some(at_ms), ..RunningAuditView::default() }
    }

    #[test]
    fn a_restart_does_not_put_off_an_audit() {
        let started = 100 * HOUR_MS;
        // made 20 hours before the start: due 4 hours after it, however often the node starts
        let again = schedule(24, started, made(80 * HOUR_MS));
        assert_eq!(again.due_ms(None), Some(104 * HOUR_MS));
        let long_ago = schedule(24, started, made(HOUR_MS));
        assert!(long_ago.due_ms(None).is_some_and(|due| due <= started));
        // one that failed is tried again an interval later
        assert_eq!(long_ago.due_ms(Some(started)), Some(124 * HOUR_MS));
        // a clock that was put back waits for no more than an interval
        let later = schedule(24, started, made(900 * HOUR_MS));
        assert_eq!(later.due_ms(None), Some(124 * HOUR_MS));
        let first = schedule(24, started, RunningAuditView::default());
        assert_eq!(first.due_ms(None), Some(101 * HOUR_MS));
        assert_eq!(schedule(0, started, made(0)).due_ms(None), None, "only when it is asked for");
    }

    #[test]
    fn findings_failures_and_audits_that_do_not_come_are_told_in_both_languages() {
        let started = 100 * HOUR_MS;
        let alerts = |every, view, hours: u64| {
            schedule(every, started, view).alerts(started + hours * HOUR_MS)
        };
        assert_eq!(alerts(24, made(started), 48), [""; 0]);
        let found = RunningAuditView { findings: 3, ..made(started) };
        let found = alerts(24, found, 1);
        assert!(matches!(&*found, [it] if it.contains("3 findings") && it.contains("3 项发现")));
        let failed = RunningAuditView { failed: Some("why".to_owned()), ..made(started) };
        let failed = alerts(24, failed, 1);
        assert!(matches!(&*failed, [it] if it.contains("not made") && it.contains("未能进行")));
        for view in [made(started), RunningAuditView::default()] {
            let late = alerts(24, view, 49);
            assert!(
                matches!(&*late, [it] if it.contains("for 49 hours") && it.contains("49 小时")),
                "{late:?}"
            );
        }
        assert_eq!(alerts(0, made(started), 4_900), [""; 0], "nobody waits for one");
    }

    #[test]
    fn figures_say_what_was_found_and_when_and_whether_the_next_has_not_come() {
        let metrics = Metrics::default();
        let lines = |schedule: &Schedule| {
            schedule.measure(&metrics);
            metrics.render()
        };
        // none was made: there is no time of it
        let at_ms = now().unix_ms();
        let text = lines(&schedule(24, at_ms, RunningAuditView::default()));
        assert!(text.contains("coalition_audit_findings 0\n"), "{text}");
        assert!(text.contains("coalition_audit_overdue 0\n"), "{text}");
        assert!(!text.contains("coalition_audit_made_timestamp_seconds"), "{text}");
        let text = lines(&schedule(24, at_ms, RunningAuditView { findings: 2, ..made(7_000) }));
        for line in [
            "coalition_audit_findings 2",
            "coalition_audit_made_timestamp_seconds 7",
            "coalition_audit_overdue 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_kept_and_cannot_be_read_is_as_if_it_were_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(folder.path().to_owned());
        std::fs::create_dir(folder.path().join("audit")).unwrap();
        let view = serde_json::to_vec(&made(7)).unwrap();
        let report = r#"{"alliance": "sample", "epoch": 1, "heads": [], "counts": {"entries": 9},
            "findings": [], "findings_not_listed": 0, "resolved": [], "not_checked": [], "budget": null}"#;
        let open = || Schedule::open(&data, &AuditSettings::default());
        for (view, report, is_kept) in [
            (view.as_slice(), report, true),
            (view.as_slice(), "{", false),
            (view.as_slice(), "", false),
            (b"[]".as_slice(), report, false),
        ] {
            std::fs::write(data.last_audit(), view).unwrap();
            std::fs::write(data.audit_report(), report).unwrap();
            let audits = open().audits().clone();
            assert_eq!(audits.view().made_ms.is_some(), is_kept, "{report}");
            assert_eq!(audits.report().is_some(), is_kept, "{report}");
        }
        std::fs::write(data.last_audit(), &view).unwrap();
        std::fs::remove_file(data.audit_report()).unwrap();
        assert_eq!(open().audits().view(), RunningAuditView::default());
    }
}
