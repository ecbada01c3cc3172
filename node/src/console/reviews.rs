//! The page of reviews: what looks like fraud and is held or stopped, corrections that wait for a second
//! person, what members ask the service.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::service::{AdjustmentView, CaseView, RequestView, Status};

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct ReviewsViews {
    /// The state of the node.
    pub status: Status,
    /// Open cases, the most urgent first.
    pub open: Vec<CaseView>,
    /// Closed ones, the latest first.
    pub closed: Vec<CaseView>,
    /// Corrections that wait.
    pub waiting: Vec<AdjustmentView>,
    /// Members' requests that are open.
    pub requests: Vec<RequestView>,
    /// What was done by a form of this page.
    pub done: Option<Reviewed>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
}

/// What a form of the page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reviewed {
    /// A case was closed.
    Case,
    /// A correction was decided.
    Adjustment,
    /// A request was answered.
    Request,
}

#[derive(Template)]
#[template(path = "reviews.html")]
struct ReviewsPage<'a> {
    frame: Frame<'a>,
    views: &'a ReviewsViews,
    language: Language,
}

say!(ReviewsPage);

impl ReviewsPage<'_> {
    fn time(&self, milliseconds: &u64) -> String {
        text::utc(*milliseconds).unwrap_or_else(|| "–".to_owned())
    }
    fn is_late(&self, due_ms: &u64) -> bool {
        self.views.status.now_ms > *due_ms
    }
    fn done(&self, done: &Reviewed) -> &'static str {
        match done {
            Reviewed::Case => self.say("已复核。", "The case is closed."),
            Reviewed::Adjustment => self.say("已决定。", "The correction is decided."),
            Reviewed::Request => self.say("已答复。", "The request is answered."),
        }
    }
    fn sign(&self, case: &CaseView) -> &'static str {
        match case.sign.as_str() {
            "device" => self.say("同一设备多个账户", "many accounts on one device"),
            "address" => self.say("同一地址短时多个账户", "many accounts from one address"),
            "virtual_rewards" => {
                self.say("短时兑换大量虚拟礼品", "many virtual rewards in a short time")
            }
            _ => self.say("积分异常增长", "abnormal growth of points"),
        }
    }
    fn meanwhile(&self, case: &CaseView) -> &'static str {
        match case.action.as_str() {
            "stop" => self.say("账户已停用", "the accounts are stopped"),
            "hold" => self.say(
                "待复核：可得积分，不能支出或兑换",
                "held for review: they earn, and nothing is spent or exchanged",
            ),
            "second_step" => self.say("兑换礼品须二次验证", "rewards take a second step"),
            _ => self.say("账户照常使用", "the accounts go on"),
        }
    }
    fn verdict(&self, case: &CaseView) -> &'static str {
        match case.verdict.as_deref() {
            Some("stopped") => self.say("停用", "stopped"),
            _ => self.say("放行", "released"),
        }
    }
    fn signed(&self, points: &i64) -> String {
        let number = text::grouped(points.unsigned_abs());
        if *points < 0 { format!("−{number}") } else { number }
    }
}

/// The page of reviews; none only if rendering fails.
#[must_use]
pub fn reviews_page(
    views: &ReviewsViews,
    language: Language,
    proof: &Authorized<perm::UseReviewsPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme/reviews",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    ReviewsPage { frame, views, language }.render().ok()
}
