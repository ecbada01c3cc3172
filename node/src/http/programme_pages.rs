//! The console's pages of the points programme: the manager's, and the counter's, whose forms do what the
//! API does.
//!
//! A member is looked up by a form that is posted, so that no card is in an address, a history or a log.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::pages::{SameOrigin, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{ProgrammeViews, StaffViews, programme_page, staff_page};
use crate::service::{Bilingual, PurchaseLine, PurchaseRequest, ServiceError, TillAction};

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

/// What a form of the counter's page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum StaffForm {
    /// Looks a member up.
    Look { card: String },
    /// Redeems a coupon.
    Redeem { card: String, key: String, code: String, yuan: String, place: String },
    /// Enters a purchase of one line.
    Purchase {
        card: String,
        key: String,
        receipt: String,
        at: String,
        department: String,
        yuan: String,
    },
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
    let did = match form {
        StaffForm::Look { card } => {
            views.card = card;
            Ok(None)
        }
        StaffForm::Redeem { card, key, code, yuan, place } => {
            views.card = card;
            redeem(&app, key, code, &yuan, place).await.map(Some)
        }
        StaffForm::Purchase { card, key, receipt, at, department, yuan } => {
            views.card.clone_from(&card);
            let line = fen(&yuan).map(|amount_fen| PurchaseLine {
                department,
                pieces: amount_fen.signum(),
                amount_fen,
            });
            purchase(&app, key, (card, receipt, at), line).await.map(Some)
        }
    };
    match did {
        Ok(done) => views.done = done,
        Err(error) => views.problem = Some(Problem::from(error).words()),
    }
    views.card = views.card.trim().to_owned();
    match app.node.programme_member(views.card.clone()).await {
        Ok(member) => views.member = Some(member),
        Err(error) if views.problem.is_none() => {
            views.problem = Some(Problem::from(error).words());
        }
        Err(_) => {}
    }
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).map_err(|_| Problem::internal())?;
    views.key = key.iter().map(|byte| format!("{byte:02x}")).collect();
    views.now = local_minute(views.status.now_ms);
    rendered(staff_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
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
