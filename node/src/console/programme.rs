//! The programme's page: the rules as members read them, what is owed to members and when it expires, how
//! much of it is under way as campaigns, what staff corrected. And the counter's page: one member, masked.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::desk::MemberRecordView;
use crate::service::{
    AdjustmentView, Bilingual, CampaignsView, MemberCodeView, MonthView, ProgrammeMemberView,
    ProgrammeReportView, RulesView, Status,
};

/// Months shown of what expires.
const MONTHS_SHOWN: usize = 24;
/// Height of a row of months, in CSS pixels.
const ROW_HEIGHT: usize = 26;

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

struct MonthBar<'a> {
    month: &'a str,
    points: u64,
    y: usize,
    label_y: usize,
    width: String,
}

#[derive(Template)]
#[template(path = "programme.html")]
struct ProgrammePage<'a> {
    frame: Frame<'a>,
    views: &'a ProgrammeViews,
    months: Vec<MonthBar<'a>>,
    height: usize,
    language: Language,
}

say!(ProgrammePage, words);
say!(StaffPage, words);

/// Fen in yuan.
fn yuan(fen: &u64) -> String {
    format!("{}.{:02}", text::grouped(fen / 100), fen % 100)
}

impl ProgrammePage<'_> {
    fn account(&self, account: &str) -> &'static str {
        let (zh, en) = match account {
            "issued_purchases" => ("消费发放", "Issued for purchases"),
            "issued_activities" => ("活动发放", "Issued for activities"),
            "issued_campaigns" => ("营销发放", "Issued by campaigns"),
            "issued_corrections" => ("更正发放", "Issued by corrections"),
            "came_in" => ("其他品牌转入", "Came in from other brands"),
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
        self.say(zh, en)
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

/// Bars of what expires, the longest over most of the width.
fn bars<'a>(expiring: &'a [MonthView], never: &'static str) -> Vec<MonthBar<'a>> {
    let most = expiring.iter().map(|it| it.points).max().unwrap_or(0).max(1);
    let shown = expiring.iter().take(MONTHS_SHOWN).enumerate();
    shown
        .map(|(row, it)| {
            // 24 to 78 percent: labels have the rest, on a phone too
            let hundredths = u128::from(it.points) * 5_400 / u128::from(most);
            let y = row * ROW_HEIGHT + 6;
            MonthBar {
                month: it.month.as_deref().unwrap_or(never),
                points: it.points,
                y,
                label_y: y + 12,
                width: format!("{}.{:02}%", hundredths / 100, hundredths % 100),
            }
        })
        .collect()
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
    let months = bars(&views.report.expiring, never);
    let height = months.len() * ROW_HEIGHT + 4;
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    ProgrammePage { frame, views, months, height, language }.render().ok()
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
    /// A code for the member's own pages that was handed out.
    pub code: Option<MemberCodeView>,
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
    language: Language,
}

impl StaffPage<'_> {
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
    StaffPage { frame, views, language }.render().ok()
}
