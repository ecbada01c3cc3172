//! A member's own pages: for a telephone first, without any of the console's own business.

use askama::Template;

use super::partner::brand_name;
use super::refusals::Listed;
use super::text;
use super::{Frame, Language, OtherBrand, other_brands, say};
use crate::desk::RequestView;
use crate::service::{
    Bilingual, Chinese, ExchangeView, LinkCodeView, LinkView, NextTierView, OwnAccountView,
    OwnConsentView, ProgrammeMemberView, ReceivedView, RulesView, Status,
};

/// Exchanges shown of each direction.
const EXCHANGES_SHOWN: usize = 50;

/// What the member's page is made from.
#[derive(Debug, Default)]
pub struct OwnViews {
    /// The state of the node.
    pub status: Status,
    /// The account.
    pub account: OwnAccountView,
    /// The rules as members read them.
    pub rules: RulesView,
    /// The key under which the forms of this page do what they do, once.
    pub key: String,
    /// What was done by a form of this page.
    pub done: Option<Bilingual>,
    /// Why it was not.
    pub problem: Option<Bilingual>,
    /// A code for another brand that was made by a form of this page.
    pub link_code: Option<LinkCodeView>,
}

#[derive(Template)]
#[template(path = "own.html")]
struct OwnPage<'a> {
    frame: Frame<'a>,
    views: &'a OwnViews,
    account: &'a OwnAccountView,
    /// Brands to deal with.
    others: Vec<OtherBrand<'a>>,
    /// Whether an account at one of them is linked.
    linked: bool,
    /// What can go back to where it came from.
    returnable: Vec<&'a ReceivedView>,
    language: Language,
    signed_in: bool,
    code: &'a str,
}

#[derive(Template)]
#[template(path = "own_sign_in.html")]
struct OwnSignInPage<'a> {
    frame: Frame<'a>,
    refused: bool,
    language: Language,
    signed_in: bool,
    code: &'a str,
}

#[derive(Template)]
#[template(path = "own_erased.html")]
struct OwnErasedPage<'a> {
    frame: Frame<'a>,
    request: &'a RequestView,
    language: Language,
    signed_in: bool,
    code: &'a str,
}

say!(OwnPage, words);
say!(OwnSignInPage);
say!(OwnErasedPage);

/// A refusal as a member reads it: the node's own words where there are none for members.
#[must_use]
pub fn member_words(
    code: &str,
    chinese: Option<&Chinese>,
    listed: Option<Listed>,
    message: &str,
) -> Bilingual {
    match known_to_members(code) {
        Some((zh, en)) => Bilingual { zh: zh.to_owned(), en: en.to_owned() },
        None => Bilingual {
            zh: format!("未能办理：{}", super::refusals::message(code, chinese, listed, message)),
            en: format!("It could not be done: {}", Language::English.part(message)),
        },
    }
}

fn known_to_members(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "balance_too_low" => ("积分不足。", "You have fewer points than that."),
        "none_left" => ("已领完。", "There are none left."),
        "enough_for_one" => {
            ("您已达到可领取的数量。", "You have had as many as one member may have.")
        }
        "account_stopped" => (
            "账户暂停使用，待人工复核；请联系客服。",
            "Your account is stopped until it has been reviewed; ask the service.",
        ),
        "held_for_review" => (
            "账户待人工复核，复核前积分与优惠券不能使用；请联系客服。",
            "Your account is held for review: nothing can be spent until then; ask the service.",
        ),
        "consent_missing" => (
            "您尚未同意这一用途，请先在下方“个人信息的使用”中同意。",
            "You have not agreed to this use of your data: agree below first.",
        ),
        "guardian_needed" => (
            "未满十四周岁，须由监护人到柜台决定。",
            "Under fourteen, a guardian decides, at the counter.",
        ),
        "link_code_malformed" => (
            "这不是关联码：关联码为十位字母和数字，请在对方品牌重新领取。",
            "This is no link code: it has ten letters and digits. Get a new one at the other brand.",
        ),
        "not_linked" => ("尚未关联该品牌的账户。", "Your account at that brand is not linked yet."),
        "brand_ended" | "credit_limit" | "log_disputed" | "queue_full" | "rate_changed" => (
            "现在不能与该品牌兑换，您的积分没有变动。",
            "Points cannot go to that brand now; nothing was taken from you.",
        ),
        "brand_unknown" => ("没有这个品牌。", "There is no such brand."),
        "no_price" => (
            "这一数量不能兑换该品牌的积分。",
            "So many points cannot be exchanged for points of that brand.",
        ),
        "number_malformed" | "points_out_of_range" => {
            ("请填写积分数量，例如 100。", "Write how many points, as in 100.")
        }
        "not_so_much_left" => {
            ("可退回的积分没有这么多。", "Not so many points are left to go back.")
        }
        "too_few_points" => {
            ("积分太少，请一次退回更多。", "These are too few: send more points back at once.")
        }
        "return_too_late" => ("已过可退回的期限。", "It is too late to send these points back."),
        "idempotency_key_reused" => {
            ("本页已提交过，请重新打开后再试。", "This page was used before: open it again.")
        }
        "coupon_not_claimable" | "unknown_name" => {
            ("现已不能领取。", "It is not offered any more.")
        }
        "legal_hold" => (
            "依法须保存相关信息，现在不能删除。",
            "The law keeps this account from being erased now.",
        ),
        "too_many_requests" => (
            "您有较多未办结的请求，请等待答复。",
            "Many of your requests are open: wait for their answers.",
        ),
        "text_invalid" | "text_length" => ("请填写 1 至 500 字。", "Write 1 to 500 characters."),
        "notice_changed" => (
            "个人信息告知书已更新，请重新阅读后再同意。",
            "The notice on the use of data was changed: read it again.",
        ),
        _ => return None,
    })
}

/// A use of a member's data, in words.
pub(super) fn use_of_data(consent: &OwnConsentView, status: &Status, language: Language) -> String {
    if let Some(receiver) = &consent.receiver {
        let brand = brand_name(status, receiver, language);
        return match language {
            Language::Chinese => format!("兑换时向「{brand}」提供代号与积分数量"),
            Language::English => {
                format!("Giving {brand} a number that stands for you, and how many points move")
            }
        };
    }
    let (zh, en) = match consent.purpose.as_str() {
        "programme" => (
            "参加积分计划：积分、等级、优惠券",
            "Taking part in the programme: points, tiers, coupons",
        ),
        "exchange" => {
            ("与联盟其他品牌兑换积分", "Exchanging points with other brands of the alliance")
        }
        "joint_analytics" => (
            "计入多个品牌的加噪统计（他人无法看出您是否在内）",
            "Being counted in noised statistics of several brands, in which nobody can find you",
        ),
        _ => ("接收优惠信息", "Offers made to you"),
    };
    match language {
        Language::Chinese => zh.to_owned(),
        Language::English => en.to_owned(),
    }
}

/// When a member said so, and to which version of the notice; nothing of who never said anything.
pub(super) fn said(consent: &OwnConsentView, language: Language) -> String {
    let (Some(at), Some(version)) = (consent.at_ms, consent.notice_version) else {
        return String::new();
    };
    let day = text::china_day(at);
    match language {
        Language::Chinese => format!("{day}，告知书第 {version} 版"),
        Language::English => format!("{day}, notice version {version}"),
    }
}

/// Points of an exchange that came in and can go back.
pub(super) fn left(received: &ReceivedView) -> u64 {
    received.points_received.saturating_sub(received.points_back)
}

/// Of what came in, what can go back now.
pub(super) fn returnable(received: &[ReceivedView], now_ms: u64) -> Vec<&ReceivedView> {
    let some = received.iter().filter(|it| left(it) > 0 && now_ms < it.returnable_until_ms);
    some.take(EXCHANGES_SHOWN).collect()
}

/// Fen in yuan.
fn yuan(fen: &u64) -> String {
    format!("{}.{:02}", text::grouped(fen / 100), fen % 100)
}

impl OwnPage<'_> {
    /// The last day on which something that ends at a moment is there, in China.
    fn last_day(&self, end_ms: &u64) -> String {
        text::china_day(end_ms.saturating_sub(1))
    }
    fn day(&self, at_ms: &u64) -> String {
        text::china_day(*at_ms)
    }
    fn distance(&self, next: &NextTierView) -> String {
        if next.points > 0 {
            return format!("{} {}", text::grouped(next.points), self.say("积分", "points"));
        }
        let (purchases, yuan) = (next.purchases, yuan(&next.fen));
        match self.language {
            Language::Chinese => format!("{purchases} 笔消费、{yuan} 元"),
            Language::English => format!("{purchases} purchases and {yuan} yuan"),
        }
    }
    fn brand<'w>(&'w self, id: &'w str) -> &'w str {
        brand_name(&self.views.status, id, self.language)
    }
    fn left(&self, received: &ReceivedView) -> u64 {
        left(received)
    }
    fn link(&self, link: &LinkView) -> &'static str {
        match link.state.as_str() {
            "linked" => self.say("已关联", "linked"),
            "requested" => self.say("等待对方确认", "waits for the other brand"),
            _ => self.say("未成", "not linked"),
        }
    }
    fn state(&self, exchange: &ExchangeView) -> &'static str {
        match exchange.state.as_str() {
            "held" => self.say("处理中", "under way"),
            "final" | "acknowledged" => self.say("已完成", "done"),
            "returned" => self.say("已退回", "came back"),
            _ => self.say("未成，积分已退回", "did not take place; your points are back"),
        }
    }
    fn has_receipt(&self, exchange: &ExchangeView) -> bool {
        ["final", "acknowledged", "returned"].contains(&exchange.state.as_str())
    }
    fn exchanges(&self) -> &[ExchangeView] {
        let all = &self.account.exchanges;
        all.get(..EXCHANGES_SHOWN).unwrap_or(all)
    }
    fn purpose(&self, consent: &OwnConsentView) -> String {
        use_of_data(consent, &self.views.status, self.language)
    }
    fn said(&self, consent: &OwnConsentView) -> String {
        said(consent, self.language)
    }
    fn kind(&self, request: &RequestView) -> &'static str {
        match request.kind.as_str() {
            "access" => self.say("查阅与复制", "a copy of my data"),
            "correction" => self.say("更正", "correction"),
            "erasure" => self.say("删除", "erasure"),
            _ => self.say("解释", "explanation"),
        }
    }
    fn stands(&self, request: &RequestView) -> &'static str {
        match request.state.as_str() {
            "done" => self.say("已办结", "done"),
            "refused" => self.say("已拒绝", "refused"),
            _ => self.say("办理中", "open"),
        }
    }
    fn has_offers(&self, member: &ProgrammeMemberView) -> bool {
        !member.claimable.is_empty() || !member.rewards.is_empty()
    }
}

fn frame<'a>(status: &'a Status, path: &'static str, language: Language) -> Frame<'a> {
    Frame { path, ..Frame::new(status, language) }
}

/// The member's own page; none only if rendering fails.
#[must_use]
pub fn own_page(views: &OwnViews, language: Language) -> Option<String> {
    let account = &views.account;
    let others = other_brands(&views.status, &account.links, language);
    let page = OwnPage {
        frame: frame(&views.status, "/my", language),
        views,
        account,
        linked: others.iter().any(|other| other.linked),
        others,
        returnable: returnable(&account.received, views.status.now_ms),
        language,
        signed_in: true,
        code: "",
    };
    page.render().ok()
}

/// The page where a member types a code; none only if rendering fails.
#[must_use]
pub fn own_sign_in_page(
    status: &Status,
    code: &str,
    refused: bool,
    language: Language,
) -> Option<String> {
    let frame = frame(status, "/my/sign-in", language);
    OwnSignInPage { frame, refused, language, signed_in: false, code }.render().ok()
}

/// What a member who was erased may keep; none only if rendering fails.
#[must_use]
pub fn own_erased_page(
    status: &Status,
    request: &RequestView,
    language: Language,
) -> Option<String> {
    let frame = frame(status, "/my/sign-in", language);
    OwnErasedPage { frame, request, language, signed_in: false, code: "" }.render().ok()
}
