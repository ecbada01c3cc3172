//! What the counter's forms do for a member: links to other brands, exchanges and what goes back, payments with
//! points, rewards, corrections, coupons, requests, decisions on the use of data. Each under the permission, and with the entry in the
//! operation log, of the API's route that does the same.

use super::members::asker;
use super::pages::number;
use super::programme_pages::yuan_of;
use super::{App, Problem};
use crate::auth::{Authorized, Session, perm};
use crate::desk::Deed;
use crate::service::{
    AdjustmentRequest, Bilingual, ConsentRequest, ErrorKind, ExchangeRequest, LinkCodeView,
    MemberAction, RequestRequest, SendBackRequest, ServiceError, TillAction,
};

type Result<T, E = Problem> = std::result::Result<T, E>;

fn said(zh: impl Into<String>, en: impl Into<String>) -> Bilingual {
    Bilingual { zh: zh.into(), en: en.into() }
}

/// A code with which the member links this account from another brand.
pub(super) async fn link_code(
    app: &App,
    session: &Session,
    member: &str,
    brand: String,
) -> Result<LinkCodeView> {
    let by: Authorized<perm::ManageMembers> = session.authorize()?;
    let card = app.node.card_of(member.to_owned()).await?;
    app.node.note(&asker(&by), Deed::Link, "a code for another brand", &card).await?;
    Ok(app.node.link_code(card.to_string(), brand).await?)
}

/// Links the member's account to another brand by the code that brand gave.
pub(super) async fn link(
    app: &App,
    session: &Session,
    member: &str,
    (brand, code): (String, &str),
) -> Result<Bilingual> {
    let by: Authorized<perm::ManageMembers> = session.authorize()?;
    let card = app.node.card_of(member.to_owned()).await?;
    app.node.note(&asker(&by), Deed::Link, "a link to another brand", &card).await?;
    app.node.link(card.to_string(), brand, code.trim().to_owned()).await?;
    Ok(said(
        "已向对方品牌提出，稍后再查一次即见结果。",
        "The other brand is asked: look the member up again in a moment.",
    ))
}

/// Exchanges points of the member's.
pub(super) async fn exchange(
    app: &App,
    session: &Session,
    (key, member): (String, &str),
    (to, points): (String, &str),
) -> Result<Bilingual> {
    let by: Authorized<perm::ExchangePoints> = session.authorize()?;
    let points = number(points)?;
    let card = app.node.card_of(member.to_owned()).await?;
    app.node.note(&asker(&by), Deed::Exchange, "points to another brand", &card).await?;
    let request = ExchangeRequest { card: card.to_string(), to, points };
    let view = app.node.exchange(key, request).await?;
    let (sent, received) = (view.points_sent, view.points_received);
    Ok(said(
        format!("已转出 {sent} 积分，对方品牌入账 {received} 积分；完成后回执见会员自助页面。"),
        format!(
            "{sent} points are on their way, {received} arrive at the other brand; the receipt will be on the member's own page."
        ),
    ))
}

/// Sends points of the member's back to the brand they came from.
pub(super) async fn send_back(
    app: &App,
    session: &Session,
    (key, member): (String, &str),
    (from, leaf, points): (String, &str, &str),
) -> Result<Bilingual> {
    let by: Authorized<perm::ExchangePoints> = session.authorize()?;
    let (leaf, points) = (number(leaf)?, number(points)?);
    let card = app.node.card_of(member.to_owned()).await?;
    app.node.note(&asker(&by), Deed::Exchange, "points back to another brand", &card).await?;
    let request = SendBackRequest { card: card.to_string(), from, leaf, points };
    app.node.send_back(key, request).await?;
    Ok(said("积分正在退回。", "The points are on their way back."))
}

/// Pays a part of a basket with the member's points.
pub(super) async fn pay(
    app: &App,
    session: &Session,
    (key, member): (String, String),
    (points, basket_fen): (&str, u64),
) -> Result<Bilingual> {
    let by: Authorized<perm::ManageMembers> = session.authorize()?;
    let action = MemberAction::Pay { points: number(points)?, basket_fen };
    let done = app.node.staff(by.user()).for_member(key, member, action).await?;
    let off = yuan_of(done.takes_off_fen.unwrap_or_default());
    Ok(said(
        format!("积分已使用：本单减 {off} 元。"),
        format!("Paid with points: {off} yuan off this basket."),
    ))
}

/// Hands over a reward that was set aside.
pub(super) async fn hand_over(
    app: &App,
    session: &Session,
    key: String,
    hold: String,
) -> Result<Bilingual> {
    let by: Authorized<perm::ManageMembers> = session.authorize()?;
    let hold = hold.trim().to_owned();
    let done = app.node.staff(by.user()).at_till(key, TillAction::HandOver { hold }).await?;
    // a code may be shown twice, at two counters
    if done.state == "repeated" {
        return Ok(said(
            "此礼品此前已领取，请勿再次发放。",
            "This reward was handed over before: give nothing now.",
        ));
    }
    Ok(said("礼品已领取。", "The reward is handed over."))
}

/// Corrects the member's balance, or leaves that to another person's consent.
pub(super) async fn adjust(
    app: &App,
    session: &Session,
    (key, member): (String, String),
    (points, reason): (&str, String),
) -> Result<Bilingual> {
    let by: Authorized<perm::AdjustPoints> = session.authorize()?;
    let request = AdjustmentRequest { points: number(points)?, reason };
    let done = app.node.staff(by.user()).adjust_points(key, member, request).await?;
    let number = done.number.unwrap_or_default();
    Ok(if done.state == "waiting" {
        said(
            format!("更正第 {number} 号已提出，待另一人同意后记账。"),
            format!("Correction {number} is proposed; it is booked when another person agrees."),
        )
    } else {
        said("更正已记账。", "The correction is booked.")
    })
}

/// Gives the member a coupon.
pub(super) async fn give(
    app: &App,
    session: &Session,
    (key, member): (String, String),
    kind: String,
) -> Result<Bilingual> {
    let by: Authorized<perm::ManageProgramme> = session.authorize()?;
    app.node.staff(by.user()).give_coupon(key, member, kind).await?;
    // its code is the member's to show
    Ok(said("优惠券已发给会员。", "The member has the coupon."))
}

/// Enters a request of the member's; its clocks begin.
pub(super) async fn request(
    app: &App,
    session: &Session,
    member: String,
    (kind, words): (String, String),
) -> Result<Bilingual> {
    let by: Authorized<perm::TakeRequests> = session.authorize()?;
    let words = (!words.trim().is_empty()).then_some(words);
    let opened = app.node.open_request(by.user(), member, RequestRequest { kind, words }).await?;
    let id = opened.id;
    Ok(said(
        format!("请求已录入，编号 {id}；期限已开始计算。"),
        format!("The request is entered as {id}; its deadlines run."),
    ))
}

/// What a person at the counter has decided on a use of the data.
pub(super) struct Decision {
    /// The purpose; with the brand that receives data behind a space, where it is the consent to that.
    pub(super) of: String,
    /// Whether it is given.
    pub(super) granted: bool,
    /// The notice that was on the page.
    pub(super) notice: String,
    /// `parent` or `other` who decides for a child; empty when it is the member.
    pub(super) guardian: String,
}

/// Enters a decision of the member's, or of the guardian's.
pub(super) async fn consent(
    app: &App,
    session: &Session,
    member: String,
    decision: Decision,
) -> Result<Bilingual> {
    let by: Authorized<perm::ManageMembers> = session.authorize()?;
    let now = app.node.own_account(member.clone()).await?.notice_version;
    // what was read is what is agreed to
    if decision.granted && number::<u32>(&decision.notice)? != now {
        return Err(ServiceError::new(
            ErrorKind::Conflict,
            "notice_changed",
            "the notice was changed meanwhile",
            "let it be read again",
        )
        .into());
    }
    let (purpose, receiver) = match decision.of.split_once(' ') {
        Some((purpose, receiver)) => (purpose.to_owned(), Some(receiver.to_owned())),
        None => (decision.of, None),
    };
    let request = ConsentRequest {
        purpose,
        granted: decision.granted,
        notice_version: now,
        receiver,
        guardian: Some(decision.guardian).filter(|kind| !kind.is_empty()),
    };
    app.node.decide(by.user(), member, request).await?;
    Ok(if decision.granted {
        said("同意已录入。", "The consent is entered.")
    } else {
        said("撤回已录入。", "It is entered that the consent is taken back.")
    })
}
