//! The console's pages of the points programme: the manager's, and the counter's, whose forms do what the
//! API does.
//!
//! A member is looked up by a form that is posted, so that no card or telephone number is in an address, a
//! history or a log; what was found is named by the node's own number from then on.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::members::{asker, handed_out};
use super::pages::{SameOrigin, fresh_key, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::console::{ProgrammeViews, StaffViews, programme_page, staff_page};
use crate::desk::MemberRecordView;
use crate::service::{
    Bilingual, IdentifierRequest, PurchaseLine, PurchaseRequest, ServiceError, TillAction,
};

/// Corrections shown.
const ADJUSTMENTS_SHOWN: usize = 25;
/// China's time, in which the counter's form is: east of UTC, in milliseconds.
const CHINA_MS: u64 = 8 * 60 * 60 * 1000;

/// Rules, liability, expiry by month, the books, coupons, corrections.
#[utoipa::path(get, path = "/programme", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn programme(
    State(app): State<App>,
    visitor: Visitor<perm::ReadProgramme>,
) -> Result<Response, Problem> {
    let mut views = ProgrammeViews {
        status: app.node.status(),
        rules: app.node.programme_rules().await?,
        report: app.node.programme_report().await?,
        campaigns: app.node.programme_campaigns().await?,
        adjustments: app.node.adjustments().await?,
    };
    views.adjustments.truncate(ADJUSTMENTS_SHOWN);
    let page = programme_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// The counter's page, with nobody on it.
#[utoipa::path(get, path = "/staff", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn staff(
    State(app): State<App>,
    visitor: Visitor<perm::UseCounterPage>,
) -> Result<Response, Problem> {
    let views = StaffViews { status: app.node.status(), ..StaffViews::default() };
    rendered(staff_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

/// What a form of the counter's page asks for. A member is named as this node numbers members, so that no
/// card and no telephone number is in a page.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum StaffForm {
    /// Looks a member up by an identifier: `kind` is `card`, `phone` or another that one member has at a time.
    Look { kind: String, value: String },
    /// Redeems a coupon.
    Redeem { member: String, key: String, code: String, yuan: String, place: String },
    /// Enters a purchase of one line.
    Purchase {
        member: String,
        key: String,
        receipt: String,
        at: String,
        department: String,
        yuan: String,
    },
    /// Hands out a code for the member's own pages.
    HandOut { member: String },
}

/// Does what a form of the counter's page asks for, and shows the member again.
#[utoipa::path(post, path = "/staff", tag = "console",
    request_body(content = StaffForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn staff_form(
    State(app): State<App>,
    visitor: Visitor<perm::UseCounterPage>,
    _: SameOrigin,
    Form(form): Form<StaffForm>,
) -> Result<Response, Problem> {
    let mut views = StaffViews { status: app.node.status(), ..StaffViews::default() };
    let found = match form {
        StaffForm::Look { kind, value } => {
            let asked = IdentifierRequest { kind, value };
            app.node.look_up(&asker(&visitor.proof), asked).await.map_err(Problem::from)
        }
        StaffForm::Redeem { member, key, code, yuan, place } => {
            did(&mut views, redeem(&app, key, code, &yuan, place).await);
            seen(&app, &visitor, member).await
        }
        StaffForm::Purchase { member, key, receipt, at, department, yuan } => {
            let line = fen(&yuan).map(|amount_fen| PurchaseLine {
                department,
                pieces: amount_fen.signum(),
                amount_fen,
            });
            let entered = match app.node.card_of(member.clone()).await {
                Ok(card) => purchase(&app, key, (card.to_string(), receipt, at), line).await,
                Err(error) => Err(error),
            };
            did(&mut views, entered);
            seen(&app, &visitor, member).await
        }
        StaffForm::HandOut { member } => {
            let by: Authorized<perm::HandOutMemberCodes> = visitor.session.authorize()?;
            match handed_out(&app, &by, member.clone()).await {
                Ok(code) => views.code = Some(code),
                Err(problem) => views.problem = Some(problem.words()),
            }
            seen(&app, &visitor, member).await
        }
    };
    match found {
        Ok(record) => show(&app, record, &mut views).await,
        Err(problem) if views.problem.is_none() => views.problem = Some(problem.words()),
        Err(_) => {}
    }
    views.key = fresh_key()?;
    views.now = local_minute(views.status.now_ms);
    rendered(staff_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

fn did(views: &mut StaffViews, done: Result<Bilingual, ServiceError>) {
    match done {
        Ok(done) => views.done = Some(done),
        Err(error) => views.problem = Some(Problem::from(error).words()),
    }
}

/// The member who was looked up before, as staff sees one: each time an entry of the operation log.
async fn seen(
    app: &App,
    visitor: &Visitor<perm::UseCounterPage>,
    member: String,
) -> Result<MemberRecordView, Problem> {
    Ok(app.node.member_record(&asker(&visitor.proof), member).await?)
}

async fn show(app: &App, record: MemberRecordView, views: &mut StaffViews) {
    match app.node.programme_member(record.member.clone()).await {
        Ok(member) => views.member = Some(member),
        Err(error) if views.problem.is_none() => {
            views.problem = Some(Problem::from(error).words());
        }
        Err(_) => {}
    }
    views.record = Some(record);
}

async fn redeem(
    app: &App,
    key: String,
    code: String,
    yuan: &str,
    place: String,
) -> Result<Bilingual, ServiceError> {
    let basket_fen = u64::try_from(fen(yuan)?).map_err(|_| wrong_amount())?;
    let action = TillAction::RedeemCoupon { code, basket_fen, place };
    let done = app.node.programme_at_till(key, action).await?;
    let off = done.takes_off_fen.unwrap_or_default();
    let off = format!("{}.{:02}", off / 100, off % 100);
    Ok(Bilingual {
        zh: format!("优惠券已使用：本单减 {off} 元。"),
        en: format!("The coupon is redeemed: {off} yuan off this basket."),
    })
}

async fn purchase(
    app: &App,
    key: String,
    (card, receipt, purchased_at): (String, String, String),
    line: Result<PurchaseLine, ServiceError>,
) -> Result<Bilingual, ServiceError> {
    let request = PurchaseRequest {
        card: card.trim().to_owned(),
        receipt,
        purchased_at,
        channel: "store".to_owned(),
        returns: None,
        lines: vec![line?],
    };
    let done = app.node.enter_purchase(key, request).await?;
    let points = done.points_earned;
    Ok(if done.state == "known" {
        Bilingual {
            zh: "这笔消费此前已计入。".to_owned(),
            en: "This purchase had counted before.".to_owned(),
        }
    } else {
        Bilingual {
            zh: format!("已录入：得 {points} 积分。"),
            en: format!("Entered: {points} points earned."),
        }
    })
}

fn wrong_amount() -> ServiceError {
    ServiceError::new(
        crate::service::ErrorKind::Invalid,
        "amount_malformed",
        "this is no amount in yuan / 金额格式不正确",
        "write it as in 128.50 / 例如 128.50",
    )
}

/// Yuan as people write them, in fen.
pub(super) fn fen(text: &str) -> Result<i64, ServiceError> {
    let text = text.trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 || whole.len() > 9 {
        return Err(wrong_amount());
    }
    let number = |text: &str| text.parse::<i64>().map_err(|_| wrong_amount());
    let tenths = if part.len() == 1 { 10 } else { 1 };
    Ok(number(whole)? * 100 + number(part)? * tenths)
}

/// A moment in China, to the minute, as browsers write it.
fn local_minute(now_ms: u64) -> String {
    let time = i64::try_from(now_ms.saturating_add(CHINA_MS)).ok();
    let time = time.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    time.map(|time| time.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
}

/// The day it is in China, as browsers write it.
pub(super) fn china_day(now_ms: u64) -> String {
    local_minute(now_ms).split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_to_the_fen_and_nothing_else_is() {
        for (text, found) in [("128.50", 12_850), ("0.5", 50), ("7", 700), (" 1.05 ", 105)] {
            assert_eq!(fen(text).unwrap(), found, "{text}");
        }
        for wrong in ["", "1,5", "1.234", "-3", ".5", "5.", "1e3", "9999999999"] {
            assert!(fen(wrong).is_err(), "{wrong}");
        }
        assert_eq!(local_minute(1_790_000_000_000), "2026-09-21T22:13");
        assert_eq!(china_day(1_790_000_000_000), "2026-09-21");
    }
}
