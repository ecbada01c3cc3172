//! The programme's page: the rules as members read them, what is owed to members and when it expires, how
//! much of it is under way as campaigns, what staff corrected. And the counter's page: one member, masked.

use askama::Template;

use super::chart;
use super::own::{left, returnable, said, use_of_data};
use super::partner::brand_name;
use super::text;
use super::{Frame, Language, OtherBrand, Page, other_brands, say};
use crate::auth::{Authorized, perm};
use crate::charts::Bar;
use crate::desk::MemberRecordView;
use crate::service::{
    AdjustmentView, Bilingual, CampaignsView, CouponOfferView, LinkCodeView, LinkView,
    MemberCodeView, OwnConsentView, ProgrammeMemberView, ProgrammeReportView, ReceivedView,
    RulesView, Status,
};

/// Months shown of what expires.
const MONTHS_SHOWN: usize = 24;

/// Everything that the programme's page is made from.
#[derive(Debug, Default)]
pub struct ProgrammeViews {
    /// The state of the node.
    pub status: Status,
    /// The rules.
    pub rules: RulesView,
    /// The books.
    pub report: ProgrammeReportView,
    /// Stock, coupons, tests of offers.
    pub campaigns: CampaignsView,
    /// Corrections, the latest first.
    pub adjustments: Vec<AdjustmentView>,
}

#[derive(Template)]
#[template(path = "programme.html")]
struct ProgrammePage<'a> {
    frame: Frame<'a>,
    views: &'a ProgrammeViews,
    months: Vec<(&'a str, u64)>,
    chart: Option<String>,
    language: Language,
}

say!(ProgrammePage, words);
say!(StaffPage, words);

/// Fen in yuan.
fn yuan(fen: &u64) -> String {
    format!("{}.{:02}", text::grouped(fen / 100), fen % 100)
}

/// What an account of the books is called.
pub(super) fn account_name(account: &str, language: Language) -> &'static str {
    let (zh, en) = match account {
        "issued_purchases" => ("消费发放", "Issued for purchases"),
        "issued_activities" => ("活动发放", "Issued for activities"),
        "issued_campaigns" => ("营销发放", "Issued by campaigns"),
        "issued_corrections" => ("更正发放", "Issued by corrections"),
        "came_in" => ("其他品牌转入", "Came in from other brands"),
        "opening" => ("原计划带入", "Brought from a programme of before"),
        "redeemed" => ("已使用", "Redeemed"),
        "exchanged" => ("转往其他品牌", "Went to other brands"),
        "expired" => ("已过期", "Expired"),
        "returned" => ("退货收回", "Taken back with returned goods"),
        "merged" => ("合并会员间移转（应为零）", "Moved between merged members (zero)"),
        "withdrawn" => ("更正收回", "Taken by corrections"),
        "held" => ("冻结中", "Set aside"),
        "members" => ("会员可用", "With members"),
        _ => ("其他", "Other"),
    };
    match language {
        Language::Chinese => zh,
        Language::English => en,
    }
}

impl ProgrammePage<'_> {
    fn account(&self, account: &str) -> &'static str {
        account_name(account, self.language)
    }
    fn signed(&self, points: &i64) -> String {
        let number = text::grouped(points.unsigned_abs());
        if *points < 0 { format!("−{number}") } else { number }
    }
    fn state(&self, adjustment: &AdjustmentView) -> String {
        let words = match adjustment.state.as_str() {
            "booked" => self.say("已记账", "booked"),
            "waiting" => self.say("待另一人同意", "waits for another person"),
            "agreed" => self.say("经同意记账", "booked with the consent of"),
            _ => self.say("已拒绝", "refused by"),
        };
        match &adjustment.decided_by {
            Some(by) => format!("{words} {by}"),
            None => words.to_owned(),
        }
    }
    /// Expired of a hundred issued.
    fn breakage(&self) -> String {
        let mille = self.views.report.breakage_per_mille;
        mille.map_or_else(|| "–".to_owned(), |mille| format!("{}.{}%", mille / 10, mille % 10))
    }
}

/// The programme's page; none only if rendering fails.
#[must_use]
pub fn programme_page(
    views: &ProgrammeViews,
    language: Language,
    proof: &Authorized<perm::ReadProgramme>,
    pages: &[Page],
) -> Option<String> {
    let never = match language {
        Language::Chinese => "长期有效",
        Language::English => "never",
    };
    let expiring = views.report.expiring.iter().take(MONTHS_SHOWN);
    let months: Vec<(&str, u64)> =
        expiring.map(|it| (it.month.as_deref().unwrap_or(never), it.points)).collect();
    let bars = months.iter().map(|(month, points)| Bar {
        label: (*month).to_owned(),
        shown: text::grouped(points),
        value: *points as f64,
    });
    let title = match language {
        Language::Chinese => "按最后有效月份的积分",
        Language::English => "Points by the month of their last valid day",
    };
    let chart = chart::exact_bars(&bars.collect::<Vec<_>>(), title, title);
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    ProgrammePage { frame, views, months, chart, language }.render().ok()
}

/// What the counter's page is made from.
#[derive(Debug, Default)]
pub struct StaffViews {
    /// The state of the node.
    pub status: Status,
    /// The member, masked, if one was found.
    pub record: Option<MemberRecordView>,
    /// The same in the programme.
    pub member: Option<ProgrammeMemberView>,
    /// The member's links to other brands.
    pub links: Vec<LinkView>,
    /// What came in for the member from other brands.
    pub received: Vec<ReceivedView>,
    /// Each use of the data, and whether it is agreed to.
    pub consents: Vec<OwnConsentView>,
    /// Version of the notice that holds now.
    pub notice_version: u32,
    /// Kinds of coupons that this user may give.
    pub kinds: Vec<CouponOfferView>,
    /// A code for the member's own pages that was handed out.
    pub code: Option<MemberCodeView>,
    /// A code for linking that was made.
    pub link_code: Option<LinkCodeView>,
    /// What was done, in words.
    pub done: Option<Bilingual>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
    /// The key under which the forms of this page do what they do, once.
    pub key: String,
    /// The brand's time now, as browsers write it.
    pub now: String,
}

#[derive(Template)]
#[template(path = "staff.html")]
struct StaffPage<'a> {
    frame: Frame<'a>,
    views: &'a StaffViews,
    /// Brands to deal with.
    others: Vec<OtherBrand<'a>>,
    /// Whether the member's account at one of them is linked.
    linked: bool,
    /// What can go back to where it came from.
    returnable: Vec<&'a ReceivedView>,
    language: Language,
}

impl StaffPage<'_> {
    fn brand<'w>(&'w self, id: &'w str) -> &'w str {
        brand_name(&self.views.status, id, self.language)
    }
    fn link(&self, link: &LinkView) -> &'static str {
        match link.state.as_str() {
            "linked" => self.say("已关联", "linked"),
            "requested" => self.say("等待对方确认", "waits for the other brand"),
            _ => self.say("未成", "not linked"),
        }
    }
    fn left(&self, received: &ReceivedView) -> u64 {
        left(received)
    }
    fn purpose(&self, consent: &OwnConsentView) -> String {
        use_of_data(consent, &self.views.status, self.language)
    }
    fn said(&self, consent: &OwnConsentView) -> String {
        said(consent, self.language)
    }
    /// What a form calls a use of the data.
    fn of(&self, consent: &OwnConsentView) -> String {
        match &consent.receiver {
            Some(receiver) => format!("{} {receiver}", consent.purpose),
            None => consent.purpose.clone(),
        }
    }
    fn identifier(&self, kind: &str) -> &'static str {
        match kind {
            "phone" => self.say("手机", "Telephone"),
            "card" => self.say("卡", "Card"),
            "email" => self.say("邮箱", "E-mail"),
            "wechat_open_id" | "wechat_union_id" => self.say("微信", "WeChat"),
            "alipay_user_id" => self.say("支付宝", "Alipay"),
            "licence_plate" => self.say("车牌", "Plate"),
            _ => self.say("其他账号", "Other account"),
        }
    }
}

/// The counter's page; none only if rendering fails.
#[must_use]
pub fn staff_page(
    views: &StaffViews,
    language: Language,
    proof: &Authorized<perm::UseCounterPage>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/staff",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let others = other_brands(&views.status, &views.links, language);
    let page = StaffPage {
        frame,
        views,
        linked: others.iter().any(|other| other.linked),
        others,
        returnable: returnable(&views.received, views.status.now_ms),
        language,
    };
    page.render().ok()
}
