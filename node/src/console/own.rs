//! A member's own pages: for a telephone first, without any of the console's own business.

use askama::Template;

use super::text;
use super::{Frame, Language, say};
use crate::desk::RequestView;
use crate::service::{
    Bilingual, ExchangeView, LinkView, NextTierView, OwnAccountView, OwnConsentView,
    ProgrammeMemberView, RulesView, Status,
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
}

#[derive(Template)]
#[template(path = "own.html")]
struct OwnPage<'a> {
    frame: Frame<'a>,
    views: &'a OwnViews,
    account: &'a OwnAccountView,
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
pub fn member_words(code: &str, message: &str) -> Bilingual {
    let (zh, en) = match code {
        "balance_too_low" => ("积分不足。", "You have fewer points than that."),
        "none_left" => ("已领完。", "There are none left."),
        "enough_for_one" => {
            ("您已达到可领取的数量。", "You have had as many as one member may have.")
        }
        "account_stopped" => (
            "账户暂停使用，待人工复核；请联系客服。",
            "Your account is stopped until it has been reviewed; ask the service.",
        ),
        "consent_missing" => (
            "您尚未同意参加积分计划，请先在下方同意。",
            "You have not agreed to take part in the programme: agree below first.",
        ),
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
        _ => {
            return Bilingual {
                zh: format!("未能办理：{message}"),
                en: format!("It could not be done: {message}"),
            };
        }
    };
    Bilingual { zh: zh.to_owned(), en: en.to_owned() }
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
        let known = self.views.status.heads.iter().find(|head| head.brand == id);
        known.map_or(id, |head| self.say(&head.name_zh, &head.name_en))
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
        if let Some(receiver) = &consent.receiver {
            let brand = self.brand(receiver);
            return match self.language {
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
        self.say(zh, en).to_owned()
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
    let frame = frame(&views.status, "/my", language);
    let (account, signed_in, code) = (&views.account, true, "");
    OwnPage { frame, views, account, language, signed_in, code }.render().ok()
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
