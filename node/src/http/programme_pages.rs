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

use super::counter::{self, Decision};
use super::extract::Form;
use super::members::{asker, handed_out};
use super::pages::{SameOrigin, fresh_key, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, Session, perm};
use crate::console::{ProgrammeViews, StaffViews, programme_page, staff_page};
use crate::desk::MemberRecordView;
use crate::service::{
    Bilingual, ConsentRequest, EnrolmentRequest, EnrolmentView, IdentifierRequest, PurchaseLine,
    PurchaseRequest, ServiceError, TillAction,
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
    /// Enrols a person: what is empty is not said. `notice` is the version of the notice to which the person agreed.
    Enrol { card: String, phone: String, born: String, notice: String, guardian: String },
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
    /// Pays a part of a basket with points.
    Pay { member: String, key: String, points: String, yuan: String },
    /// Hands over a reward that was set aside, by its code.
    HandOver { member: String, key: String, hold: String },
    /// Hands out a code for the member's own pages.
    HandOut { member: String },
    /// Makes a code with which the member links this account from another brand.
    LinkCode { member: String, brand: String },
    /// Links the account to another brand's, by the code that brand gave.
    Link { member: String, brand: String, code: String },
    /// Exchanges points for another brand's.
    Exchange { member: String, key: String, to: String, points: String },
    /// Sends points back to the brand they came from.
    SendBack { member: String, key: String, from: String, leaf: String, points: String },
    /// Corrects the balance: points taken are below zero.
    Adjust { member: String, key: String, points: String, reason: String },
    /// Gives a coupon.
    Give { member: String, key: String, kind: String },
    /// Enters a request for access, correction, erasure, explanation.
    Request { member: String, kind: String, words: String },
    /// Enters a decision on a use of the data: `of` is a purpose, or one and a brand; `granted` is `yes` or
    /// `no`; `guardian` is empty, `parent` or `other`.
    Consent { member: String, of: String, granted: String, notice: String, guardian: String },
}

impl StaffForm {
    /// The member it is about; nobody yet, of a look-up.
    fn member(&self) -> String {
        match self {
            Self::Look { .. } | Self::Enrol { .. } => String::new(),
            Self::Redeem { member, .. }
            | Self::Purchase { member, .. }
            | Self::Pay { member, .. }
            | Self::HandOver { member, .. }
            | Self::HandOut { member }
            | Self::LinkCode { member, .. }
            | Self::Link { member, .. }
            | Self::Exchange { member, .. }
            | Self::SendBack { member, .. }
            | Self::Adjust { member, .. }
            | Self::Give { member, .. }
            | Self::Request { member, .. }
            | Self::Consent { member, .. } => member.clone(),
        }
    }
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
        StaffForm::Enrol { card, phone, born, notice, guardian } => {
            let by: Authorized<perm::EnrolMembers> = visitor.session.authorize()?;
            let request = enrolment([&card, &phone, &born, &notice, &guardian]);
            let enrolled = match request {
                Ok(request) => app.node.enrol(&asker(&by), request).await,
                Err(error) => Err(error),
            };
            match enrolled {
                Ok(view) => {
                    views.done = Some(enrolled_words(&view));
                    seen(&app, &visitor, view.member).await
                }
                Err(error) => Err(error.into()),
            }
        }
        form => {
            let member = form.member();
            match acted(&app, &visitor.session, form, &mut views).await {
                Ok(done) => views.done = done,
                Err(problem) => views.problem = Some(problem.words(visitor.language)),
            }
            seen(&app, &visitor, member).await
        }
    };
    match found {
        Ok(record) => show(&app, record, &mut views, &visitor).await,
        Err(problem) if views.problem.is_none() => {
            views.problem = Some(problem.words(visitor.language));
        }
        Err(_) => {}
    }
    views.key = fresh_key()?;
    views.now = local_minute(views.status.now_ms);
    rendered(staff_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

/// Does what a form asks for, and says what was done where the page does not show it by itself.
async fn acted(
    app: &App,
    session: &Session,
    form: StaffForm,
    views: &mut StaffViews,
) -> Result<Option<Bilingual>, Problem> {
    let done = match form {
        StaffForm::Look { .. } | StaffForm::Enrol { .. } => return Ok(None),
        StaffForm::HandOut { member } => {
            let by: Authorized<perm::HandOutMemberCodes> = session.authorize()?;
            views.code = Some(handed_out(app, &by, member).await?);
            return Ok(None);
        }
        StaffForm::LinkCode { member, brand } => {
            views.link_code = Some(counter::link_code(app, session, &member, brand).await?);
            return Ok(None);
        }
        StaffForm::Redeem { key, code, yuan, place, .. } => {
            redeem(app, session.user(), key, (code, &yuan, place)).await?
        }
        StaffForm::Purchase { member, key, receipt, at, department, yuan } => {
            let line = fen(&yuan).map(|amount_fen| PurchaseLine {
                department,
                pieces: amount_fen.signum(),
                amount_fen,
            });
            let card = app.node.card_of(member).await?;
            purchase(app, session.user(), key, (card.to_string(), receipt, at), line).await?
        }
        StaffForm::Pay { member, key, points, yuan } => {
            let basket_fen = u64::try_from(fen(&yuan)?).map_err(|_| wrong_amount())?;
            counter::pay(app, session, (key, member), (&points, basket_fen)).await?
        }
        StaffForm::HandOver { key, hold, .. } => {
            counter::hand_over(app, session, key, hold).await?
        }
        StaffForm::Link { member, brand, code } => {
            counter::link(app, session, &member, (brand, &code)).await?
        }
        StaffForm::Exchange { member, key, to, points } => {
            counter::exchange(app, session, (key, &member), (to, &points)).await?
        }
        StaffForm::SendBack { member, key, from, leaf, points } => {
            counter::send_back(app, session, (key, &member), (from, &leaf, &points)).await?
        }
        StaffForm::Adjust { member, key, points, reason } => {
            counter::adjust(app, session, (key, member), (&points, reason)).await?
        }
        StaffForm::Give { member, key, kind } => {
            counter::give(app, session, (key, member), kind).await?
        }
        StaffForm::Request { member, kind, words } => {
            counter::request(app, session, member, (kind, words)).await?
        }
        StaffForm::Consent { member, of, granted, notice, guardian } => {
            let decision = Decision { of, granted: granted == "yes", notice, guardian };
            counter::consent(app, session, member, decision).await?
        }
    };
    Ok(Some(done))
}

/// The member who was looked up before, as staff sees one: each time an entry of the operation log.
async fn seen(
    app: &App,
    visitor: &Visitor<perm::UseCounterPage>,
    member: String,
) -> Result<MemberRecordView, Problem> {
    Ok(app.node.member_record(&asker(&visitor.proof), member).await?)
}

async fn show(
    app: &App,
    record: MemberRecordView,
    views: &mut StaffViews,
    visitor: &Visitor<perm::UseCounterPage>,
) {
    match shown(app, record.member.clone(), views).await {
        Ok(()) => {}
        Err(error) if views.problem.is_none() => {
            views.problem = Some(Problem::from(error).words(visitor.language));
        }
        Err(_) => {}
    }
    if visitor.session.authorize::<perm::ManageProgramme>().is_ok() {
        // a brand without a programme has none
        let campaigns = app.node.programme_campaigns().await;
        views.kinds = campaigns.map(|campaigns| campaigns.kinds).unwrap_or_default();
    }
    views.record = Some(record);
}

/// What the forms need to know of the member: of the account no more than staff sees by the API.
async fn shown(app: &App, member: String, views: &mut StaffViews) -> Result<(), ServiceError> {
    views.member = Some(app.node.programme_member(member.clone()).await?);
    let account = app.node.own_account(member).await?;
    views.links = account.links;
    views.received = account.received;
    views.consents = account.consents;
    views.notice_version = account.notice_version;
    Ok(())
}

/// An enrolment as the form has it.
fn enrolment(
    [card, phone, born, notice, guardian]: [&str; 5],
) -> Result<EnrolmentRequest, ServiceError> {
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let consent = match said(notice) {
        None => None,
        Some(version) => {
            let notice_version = version.parse::<u32>().map_err(|_| {
                ServiceError::new(
                    crate::service::ErrorKind::Invalid,
                    "notice_version",
                    "this is no version of a notice",
                    "write the number that stands on the notice",
                )
            })?;
            let purpose = "programme".to_owned();
            let guardian = said(guardian);
            Some(ConsentRequest {
                purpose,
                granted: true,
                notice_version,
                guardian,
                ..ConsentRequest::default()
            })
        }
    };
    let phone = said(phone).map(|value| IdentifierRequest { kind: "phone".to_owned(), value });
    let born = said(born).map(|born| ("birth_date".to_owned(), born));
    Ok(EnrolmentRequest {
        card: said(card),
        identifiers: phone.into_iter().collect(),
        attributes: born.into_iter().collect(),
        consents: consent.into_iter().collect(),
    })
}

fn enrolled_words(view: &EnrolmentView) -> Bilingual {
    let (mut zh, mut en) = if view.new {
        ("已登记为会员。".to_owned(), "Enrolled.".to_owned())
    } else {
        (
            "此人此前已是会员，已有的决定未变。".to_owned(),
            "This person was a member before: what had been decided stands.".to_owned(),
        )
    };
    if view.absorbed > 0 {
        zh.push_str("此前凭该手机号的消费已归入此会员。");
        en.push_str(" What was bought by the telephone number before is the member's now.");
    }
    if !view.refused.is_empty() {
        zh.push_str("该手机号属于另一会员，未录入，待人工复核。");
        en.push_str(" The telephone number is another member's and was not entered: the pair is for review.");
    }
    Bilingual { zh, en }
}

async fn redeem(
    app: &App,
    by: &str,
    key: String,
    (code, yuan, place): (String, &str, String),
) -> Result<Bilingual, ServiceError> {
    let basket_fen = u64::try_from(fen(yuan)?).map_err(|_| wrong_amount())?;
    let action = TillAction::RedeemCoupon { code, basket_fen, place };
    let done = app.node.staff(by).at_till(key, action).await?;
    let off = yuan_of(done.takes_off_fen.unwrap_or_default());
    Ok(Bilingual {
        zh: format!("优惠券已使用：本单减 {off} 元。"),
        en: format!("The coupon is redeemed: {off} yuan off this basket."),
    })
}

async fn purchase(
    app: &App,
    by: &str,
    key: String,
    (card, receipt, purchased_at): (String, String, String),
    line: Result<PurchaseLine, ServiceError>,
) -> Result<Bilingual, ServiceError> {
    let request = PurchaseRequest {
        card: card.trim().to_owned(),
        identifiers: Vec::new(),
        receipt,
        purchased_at,
        channel: "store".to_owned(),
        returns: None,
        lines: vec![line?],
    };
    let done = app.node.staff(by).enter_purchase(key, request).await?;
    let points = done.points_earned;
    Ok(if done.state == "known" {
        Bilingual {
            zh: "这笔消费此前已计入。".to_owned(),
            en: "This purchase had counted before.".to_owned(),
        }
    } else if done.without_consent {
        Bilingual {
            zh: "已录入，未计积分：会员未同意参加积分计划。".to_owned(),
            en: "Entered, no points: the member has not agreed to take part in the programme."
                .to_owned(),
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
        "this is no amount in yuan",
        "write it as in 128.50",
    )
}

/// Fen in yuan.
pub(super) fn yuan_of(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
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
    fn an_enrolment_says_what_was_filled_in_and_nothing_else() {
        let card = enrolment([" C-1 ", "", "", "", "parent"]).unwrap();
        assert_eq!(card.card.as_deref(), Some("C-1"));
        assert!(card.identifiers.is_empty() && card.attributes.is_empty());
        assert!(card.consents.is_empty(), "who was shown no notice agreed to nothing");
        let child = enrolment(["", "13812345678", "2020-05-06", "7", "parent"]).unwrap();
        assert_eq!((child.card.as_deref(), child.identifiers[0].kind.as_str()), (None, "phone"));
        assert_eq!(child.attributes["birth_date"], "2020-05-06");
        let consent = &child.consents[0];
        assert_eq!((consent.purpose.as_str(), consent.notice_version), ("programme", 7));
        assert!(consent.granted && consent.guardian.as_deref() == Some("parent"));
        assert_eq!(enrolment(["C", "", "", "v7", ""]).unwrap_err().code, "notice_version");
    }

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
