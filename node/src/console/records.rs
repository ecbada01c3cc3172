//! The officer's page of what the law asks a brand to keep: members' requests with their clocks, who did what
//! with members' data, what is unusual in it, breaches and impact assessments.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::desk::RequestView;
use crate::service::{AlertView, AlertsView, AssessmentView, BreachView, OperationView, Status};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct RecordsViews {
    /// The state of the node.
    pub status: Status,
    /// Open requests, those that are due first.
    pub requests: Vec<RequestView>,
    /// What is so now, and what was found.
    pub alerts: AlertsView,
    /// Entries of the operation log, the latest first.
    pub operations: Vec<OperationView>,
    /// Entries before those shown.
    pub older: u64,
    /// Breaches, oldest first.
    pub breaches: Vec<BreachView>,
    /// Impact assessments, oldest first.
    pub assessments: Vec<AssessmentView>,
    /// What was done by a form of this page.
    pub done: Option<Done>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
}

/// What a form of the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// A request was answered.
    Answered,
    /// A breach was entered.
    Breach,
    /// Who was told of a breach was entered.
    Told,
    /// An assessment was entered.
    Assessment,
}

#[derive(Template)]
#[template(path = "records.html")]
struct RecordsPage<'a> {
    frame: Frame<'a>,
    views: &'a RecordsViews,
    language: Language,
}

say!(RecordsPage);

impl RecordsPage<'_> {
    fn time(&self, milliseconds: &u64) -> String {
        text::utc(*milliseconds).unwrap_or_else(|| "–".to_owned())
    }
    fn done(&self, done: &Done) -> &'static str {
        match done {
            Done::Answered => self.say("请求已答复。", "The request is answered."),
            Done::Breach => self.say("泄露事件已登记。", "The breach is entered."),
            Done::Told => self.say("告知情况已登记。", "Who was told is entered."),
            Done::Assessment => self.say("影响评估已登记。", "The assessment is entered."),
        }
    }
    fn kind(&self, request: &RequestView) -> &'static str {
        match request.kind.as_str() {
            "access" => self.say("查阅与复制", "access"),
            "correction" => self.say("更正", "correction"),
            "erasure" => self.say("删除", "erasure"),
            _ => self.say("解释", "explanation"),
        }
    }
    fn found(&self, alert: &AlertView) -> String {
        let (zh, en) = match alert.kind.as_str() {
            "mass_reading" => ("大量读取会员", "members read in numbers"),
            "off_hours" => ("非工作时间读取", "reading outside of hours"),
            "points_growth" => ("积分异常增长", "abnormal growth of points"),
            _ => ("其他", "other"),
        };
        format!("{}: {}", self.say(zh, en), text::grouped(alert.count))
    }
    fn occasion(&self, assessment: &AssessmentView) -> &'static str {
        match assessment.occasion.as_str() {
            "sensitive" => self.say("敏感个人信息", "sensitive data"),
            "automated" => self.say("自动化决策", "automated decisions"),
            "provided" => self.say("委托、提供或公开", "given to others"),
            "abroad" => self.say("向境外提供", "given abroad"),
            _ => self.say("其他", "other"),
        }
    }
    /// Before which entry the older ones are; none when there are none.
    fn before(&self) -> Option<u64> {
        let last = self.views.operations.last()?;
        (self.views.older > 0).then_some(last.number)
    }
}

/// The page of records; none only if rendering fails.
#[must_use]
pub fn records_page(
    views: &RecordsViews,
    language: Language,
    proof: &Authorized<perm::UseRecordsPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/records",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    RecordsPage { frame, views, language }.render().ok()
}
