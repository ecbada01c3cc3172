//! A report of `coalition audit --json` that somebody brought, beside what this node knows of the logs.
//!
//! The report is read as anyone's word: nothing of it is kept, and what it says of a log is compared with the block
//! that this node itself has seen certified at that height. The id of a block is a hash over its tree's root and
//! size, so that two ids at one height are two logs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AddedUpView, ErrorKind, Node, ServiceError};

/// Most findings that are shown; an audit lists as many.
const FINDINGS_SHOWN: usize = 1_000;
/// Most logs of a report that are looked at: a constitution has no more.
const LOGS_MAX: usize = 21;

/// A certified block of a log, as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertifiedBlockView {
    /// Its id, hex.
    pub header: String,
    /// Leaves up to it.
    pub size: u64,
}

/// How a log stands in a report, beside what this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditedLogState {
    /// The block is the one that this node has seen certified.
    Same,
    /// At that height this node has seen another block certified.
    Differs,
    /// The report goes further than this node has come.
    Ahead,
    /// This node does not have that block any more.
    NotKept,
    /// The log is not in the report, and this node has blocks of it.
    Missing,
    /// This node knows no such log.
    Stranger,
}

/// A log of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedLogView {
    /// Whose.
    pub brand: String,
    /// The last block that was audited; of a log that is not in the report, the last here.
    pub height: u64,
    /// Leaves up to it.
    pub size: u64,
    /// Its id, hex.
    pub header: String,
    /// How it stands.
    pub state: AuditedLogState,
    /// What this node has at that height, where that is another block.
    pub here: Option<CertifiedBlockView>,
}

/// Something that an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFindingView {
    /// In which log.
    pub log: String,
    /// In which block, where one is meant.
    pub height: Option<u64>,
    /// At which entry, where one is meant.
    pub entry: Option<u64>,
    /// Which rule.
    pub rule: String,
    /// In a sentence, in the report's own words.
    pub message: String,
}

/// What could not be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCheckedView {
    /// In which log.
    pub log: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// A report, compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditView {
    /// Under which constitution.
    pub epoch: u32,
    /// Entries whose hash was compared.
    pub entries: u64,
    /// Log after log.
    pub logs: Vec<AuditedLogView>,
    /// What was found, those of the privacy budget last.
    pub findings: Vec<AuditFindingView>,
    /// How many more there are.
    pub findings_not_listed: u64,
    /// How many were agreed on since.
    pub resolved: u64,
    /// What could not be checked: never to be read as sound.
    pub not_checked: Vec<NotCheckedView>,
    /// What was added up again of joint answers; none without a clean room, or where the report is of a version that
    /// did not say.
    pub openings: Option<AddedUpView>,
}

impl AuditView {
    /// The logs of which the report has another block than this node.
    pub fn differing(&self) -> impl Iterator<Item = &AuditedLogView> {
        self.logs.iter().filter(|log| log.state == AuditedLogState::Differs)
    }
}

// as much of a report as is shown: others' fields may come and go

#[derive(Deserialize)]
struct Report {
    alliance: String,
    epoch: u32,
    heads: Vec<Head>,
    counts: Counts,
    findings: Vec<Finding>,
    findings_not_listed: u64,
    resolved: Vec<Finding>,
    not_checked: Vec<NotChecked>,
    budget: Option<Budget>,
}

#[derive(Deserialize)]
struct Counts {
    entries: u64,
}

#[derive(Deserialize)]
struct Head {
    log: String,
    height: u64,
    header: String,
    size: u64,
}

#[derive(Deserialize)]
struct Finding {
    log: String,
    height: Option<u64>,
    leaf: Option<u64>,
    rule: String,
    message: String,
}

#[derive(Deserialize)]
struct NotChecked {
    log: String,
    reason: String,
    count: u64,
}

#[derive(Deserialize)]
struct Budget {
    findings: Vec<BudgetFinding>,
    answers: Option<u64>,
    #[serde(default)]
    added_up: u64,
    #[serde(default)]
    openings_unreadable: u64,
}

impl Budget {
    fn openings(&self) -> Option<AddedUpView> {
        let (added_up, unreadable) = (self.added_up, self.openings_unreadable);
        Some(AddedUpView { answers: self.answers?, added_up, unreadable })
    }
}

#[derive(Deserialize)]
struct BudgetFinding {
    log: String,
    index: Option<u64>,
    rule: String,
}

impl Report {
    fn read(json: &str) -> Result<Self, ServiceError> {
        serde_json::from_str(json).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            let refused = ServiceError::new(
                ErrorKind::Invalid,
                "audit_unreadable",
                format!("this is no report of an audit ({at})"),
                "choose the file that coalition audit --json wrote",
            );
            let at = format!("第 {} 行第 {} 列", error.line(), error.column());
            refused.in_chinese(
                format!("这不是审计报告（{at}）"),
                "请选择 coalition audit --json 写出的文件",
            )
        })
    }

    fn findings(&mut self) -> (Vec<AuditFindingView>, u64) {
        let of_logs = std::mem::take(&mut self.findings).into_iter().map(|it| AuditFindingView {
            log: it.log,
            height: it.height,
            entry: it.leaf,
            rule: it.rule,
            message: it.message,
        });
        let of_budget = self.budget.take().into_iter().flat_map(|budget| budget.findings);
        let of_budget = of_budget.map(|it| AuditFindingView {
            log: it.log,
            height: None,
            entry: it.index,
            rule: format!("budget/{}", it.rule),
            message: String::new(),
        });
        let mut all: Vec<AuditFindingView> = of_logs.chain(of_budget).collect();
        let beyond = all.len().saturating_sub(FINDINGS_SHOWN) as u64;
        all.truncate(FINDINGS_SHOWN);
        (all, self.findings_not_listed.saturating_add(beyond))
    }
}

/// Whether a text is what `coalition audit --json` writes.
///
/// # Errors
/// When it is none.
pub(crate) fn check_audit_report(json: &str) -> Result<(), ServiceError> {
    Report::read(json).map(drop)
}

impl Node {
    /// Reads the output of `coalition audit --json` and compares the last block of each of its logs with the one
    /// that this node has seen certified there. Nothing of it is kept.
    ///
    /// # Errors
    /// When it is no such report, or of another alliance; see [`ServiceError`].
    pub async fn compare_audit(&self, json: &str) -> Result<AuditView, ServiceError> {
        let mut report = Report::read(json)?;
        let status = self.status();
        if report.alliance != status.alliance {
            let (theirs, ours) = (short(&report.alliance), &status.alliance);
            return Err(ServiceError::new(
                ErrorKind::Invalid,
                "audit_of_another_alliance",
                format!("this is a report on the alliance {theirs}, and this node is of {ours}"),
                "choose the report of an audit of this alliance's logs",
            )
            .in_chinese(
                format!("这是联盟 {theirs} 的审计报告，本节点属于 {ours}"),
                "请选择对本联盟日志的审计报告",
            ));
        }
        let mut logs = Vec::new();
        let heads: Vec<Head> = std::mem::take(&mut report.heads);
        let audited: BTreeSet<String> = heads.iter().map(|head| head.log.clone()).collect();
        for head in heads.into_iter().take(LOGS_MAX) {
            let known = status.heads.iter().find(|known| known.brand == head.log);
            let (state, here) = match known {
                None => (AuditedLogState::Stranger, None),
                Some(known) if known.height < head.height => (AuditedLogState::Ahead, None),
                Some(_) => match self.certified(head.log.clone(), head.height).await? {
                    None => (AuditedLogState::NotKept, None),
                    Some(here) if (&here.header, here.size) == (&head.header, head.size) => {
                        (AuditedLogState::Same, None)
                    }
                    Some(here) => (AuditedLogState::Differs, Some(here)),
                },
            };
            let Head { log: brand, height, header, size } = head;
            logs.push(AuditedLogView { brand, height, size, header, state, here });
        }
        let missing = status.heads.iter().filter(|known| known.size > 0);
        let missing = missing.filter(|known| !audited.contains(&known.brand));
        logs.extend(missing.map(|known| AuditedLogView {
            brand: known.brand.clone(),
            height: known.height,
            size: known.size,
            header: known.header.clone(),
            state: AuditedLogState::Missing,
            here: None,
        }));
        let openings = report.budget.as_ref().and_then(Budget::openings);
        let (findings, findings_not_listed) = report.findings();
        let not_checked = report.not_checked.into_iter().take(FINDINGS_SHOWN);
        Ok(AuditView {
            epoch: report.epoch,
            entries: report.counts.entries,
            logs,
            findings,
            findings_not_listed,
            resolved: report.resolved.len() as u64,
            not_checked: not_checked
                .map(|NotChecked { log, reason, count }| NotCheckedView { log, reason, count })
                .collect(),
            openings,
        })
    }
}

/// What somebody wrote, no longer than a name.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an audit wrote, but for what is not read.
    const REPORT: &str = r#"{
        "alliance": "sample", "epoch": 1, "constitution": "00",
        "heads": [{"log": "grocer", "height": 4, "header": "ab", "size": 9}],
        "counts": {"logs": 1, "entries": 9},
        "findings": [{"log": "grocer", "height": 4, "leaf": 7, "counterparty": null,
            "rule": "entry/altered", "message": "not what was certified"}],
        "findings_not_listed": 2, "resolved": [], "disclosures": [],
        "not_checked": [{"log": "grocer", "reason": "sealed_without_key", "count": 3}],
        "budget": {"entries": 0, "findings": [{"log": "kids", "index": 5, "rule": "over_quota"}]}
    }"#;

    #[test]
    fn a_report_is_read_with_the_budgets_findings_behind_the_logs() {
        let mut report = Report::read(REPORT).unwrap();
        assert_eq!((report.heads[0].height, report.counts.entries), (4, 9));
        let (findings, beyond) = report.findings();
        let rules: Vec<(&str, &str, Option<u64>)> =
            findings.iter().map(|it| (it.log.as_str(), it.rule.as_str(), it.entry)).collect();
        assert_eq!(
            rules,
            [("grocer", "entry/altered", Some(7)), ("kids", "budget/over_quota", Some(5))]
        );
        assert_eq!(beyond, 2);
        // an alliance without a clean room has no budget
        let whole = REPORT.find("\"budget\"").unwrap();
        let none = format!("{}\"budget\": null}}", &REPORT[..whole]);
        assert_eq!(Report::read(&none).unwrap().findings().0.len(), 1);

        // a report of before says nothing of answers; one of now says how many were added up
        assert_eq!(Report::read(REPORT).unwrap().budget.unwrap().openings(), None);
        let counted = r#""budget": {"answers": 3, "added_up": 2, "openings_unreadable": 1,"#;
        let counted = REPORT.replace(r#""budget": {"#, counted);
        let openings = Report::read(&counted).unwrap().budget.unwrap().openings();
        let expected = AddedUpView { answers: 3, added_up: 2, unreadable: 1 };
        assert_eq!((openings, expected.not_added_up()), (Some(expected), 1));
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_place() {
        for text in ["", "{}", "[1]", "no findings", &REPORT[..REPORT.len() - 9]] {
            let refused = Report::read(text).err().unwrap();
            assert_eq!(refused.code, "audit_unreadable");
            assert!(refused.message.contains("line "), "{}", refused.message);
            assert!(refused.chinese.unwrap().message.contains("行"));
        }
    }
}
