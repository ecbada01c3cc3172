//! A member's own pages: opened by a code that staff or the brand's app handed out, for a quarter of an hour.
//! Their forms do what the API's routes under `/api/v1/me` do.
//!
//! The cookie is another than that of the console: neither opens what is the other's.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Form, Path, Query};
use super::members::{erased, took_second_step};
use super::pages::{PageQuery, SameOrigin, cookie_named, fresh_key, number, rendered};
use super::{App, Problem};
use crate::auth::{AuthError, MemberSession};
use crate::console::{Language, OwnViews, own_erased_page, own_page, own_sign_in_page};
use crate::desk::MEMBER;
use crate::service::{
    Bilingual, ConsentRequest, ErrorKind, LinkCodeView, OneTimeCode, OwnAction, RequestRequest,
    ServiceError,
};

fn cookie_name(app: &App) -> String {
    // the prefix makes browsers refuse it from other hosts and over plain HTTP
    format!("__Host-member-{}", app.node.brand())
}

/// The token of a member's session in the browser's cookie.
pub(super) fn member_cookie<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    cookie_named(&cookie_name(app), headers)
}

/// A member who is signed in with a browser. Who is not is led to where a code is typed.
pub(super) struct OwnVisitor {
    session: MemberSession,
    language: Language,
}

impl FromRequestParts<App> for OwnVisitor {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let language = PageQuery::of(parts).language(&parts.headers);
        let token = member_cookie(app, &parts.headers);
        let session = token.and_then(|token| app.auth.member_session(token).ok());
        session.map(|session| Self { session, language }).ok_or_else(|| {
            Redirect::to(&format!("/my/sign-in?lang={}", language.tag())).into_response()
        })
    }
}

/// With which code, in which language.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OwnQuery {
    /// The code that was handed out, to be filled in.
    code: Option<String>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// The field of the page where a code is typed.
#[derive(Deserialize, ToSchema)]
pub(super) struct CodeForm {
    code: String,
}

/// The page where a member types the code. Opening it uses nothing up: pictures of links are made by machines.
#[utoipa::path(get, path = "/my/sign-in", tag = "console", params(OwnQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(super) async fn own_sign_in_form(
    State(app): State<App>,
    Query(query): Query<OwnQuery>,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let code: String = query.code.unwrap_or_default().chars().take(32).collect();
    let language = page.language(&headers);
    rendered(own_sign_in_page(&app.node.status(), &code, false, language), StatusCode::OK)
}

/// Begins the session that a code stands for.
#[utoipa::path(post, path = "/my/sign-in", tag = "console", params(PageQuery),
    request_body(content = CodeForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "Signed in, on to the member's page")))]
pub(super) async fn own_sign_in(
    State(app): State<App>,
    _: SameOrigin,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
    Form(form): Form<CodeForm>,
) -> Result<Response, Problem> {
    let language = page.language(&headers);
    match app.auth.redeem_member_code(&form.code) {
        Ok(begun) => {
            let (name, token) = (cookie_name(&app), begun.token.as_str());
            let cookie = format!("{name}={token}; Path=/; Secure; HttpOnly; SameSite=Strict");
            Ok(onwards("/my", language, &cookie))
        }
        Err(AuthError::MemberCode) => {
            let page = own_sign_in_page(&app.node.status(), "", true, language);
            rendered(page, StatusCode::UNAUTHORIZED)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the member's session.
#[utoipa::path(post, path = "/my/sign-out", tag = "console", params(PageQuery),
    responses((status = 303, description = "Signed out")))]
pub(super) async fn own_sign_out(
    State(app): State<App>,
    _: SameOrigin,
    Query(page): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = member_cookie(&app, &headers) {
        app.auth.end_member_session(token);
    }
    onwards("/my/sign-in", page.language(&headers), &no_cookie(&app))
}

fn no_cookie(app: &App) -> String {
    format!("{}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0", cookie_name(app))
}

fn onwards(path: &str, language: Language, cookie: &str) -> Response {
    let mut response = Redirect::to(&format!("{path}?lang={}", language.tag())).into_response();
    with_cookie(&mut response, cookie);
    response
}

fn with_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// What a form of the member's page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum OwnForm {
    /// Agrees to a use of the data (`granted` is `yes`), or takes that back (`no`).
    Consent { purpose: String, receiver: String, granted: String, notice: String },
    /// Asks for access, correction, erasure, explanation.
    Request { kind: String, words: String },
    /// Asks the service.
    Ask { key: String, about: String, text: String },
    /// Claims a coupon.
    Claim { key: String, kind: String },
    /// Asks for a reward.
    Reward {
        key: String,
        reward: String,
        /// The one-time code of a second step.
        #[serde(default)]
        code: String,
    },
    /// Makes a code with which the account at another brand is linked to this one.
    LinkCode { key: String, brand: String },
    /// Links the account to another brand's, by the code that brand gave.
    Link { key: String, brand: String, code: String },
    /// Exchanges points for another brand's.
    Exchange { key: String, to: String, points: String },
    /// Sends points back to the brand they came from.
    SendBack { key: String, from: String, leaf: String, points: String },
    /// Erases the member, at once: `confirm` is `erase`.
    Erase {
        #[serde(default)]
        confirm: String,
    },
}

/// The member's own account.
#[utoipa::path(get, path = "/my", tag = "console", params(PageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Type a code first")))]
pub(super) async fn account(
    State(app): State<App>,
    visitor: OwnVisitor,
) -> Result<Response, Problem> {
    shown(&app, &visitor, OwnViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again; after an erasure, its certificate.
#[utoipa::path(post, path = "/my", tag = "console", params(PageQuery),
    request_body(content = OwnForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Type a code first")))]
pub(super) async fn account_form(
    State(app): State<App>,
    visitor: OwnVisitor,
    _: SameOrigin,
    Form(form): Form<OwnForm>,
) -> Result<Response, Problem> {
    let mut views = OwnViews::default();
    if let OwnForm::Erase { confirm } = &form {
        if confirm == "erase" {
            match erased(&app, &visitor.session).await {
                Ok(request) => {
                    let status = app.node.status();
                    let page = own_erased_page(&status, &request, visitor.language);
                    let mut response = rendered(page, StatusCode::OK)?;
                    with_cookie(&mut response, &no_cookie(&app));
                    return Ok(response);
                }
                Err(problem) => views.problem = Some(problem.member_words()),
            }
        } else {
            views.problem = Some(Bilingual {
                zh: "未勾选确认，没有删除任何内容。".to_owned(),
                en: "It was not confirmed: nothing was erased.".to_owned(),
            });
        }
        return shown(&app, &visitor, views).await;
    }
    let card = visitor.session.card().to_owned();
    let outcome = match form {
        OwnForm::Reward { key, reward, code } => rewarded(&app, card, (key, reward, code)).await,
        form => done(&app, card, form, &mut views.link_code).await.map_err(Problem::from),
    };
    match outcome {
        Ok(done) => views.done = Some(done),
        Err(problem) => views.problem = Some(problem.member_words()),
    }
    shown(&app, &visitor, views).await
}

fn said(zh: &str, en: &str) -> Bilingual {
    Bilingual { zh: zh.to_owned(), en: en.to_owned() }
}

async fn done(
    app: &App,
    card: String,
    form: OwnForm,
    link_code: &mut Option<LinkCodeView>,
) -> Result<Bilingual, ServiceError> {
    match form {
        OwnForm::Consent { purpose, receiver, granted, notice } => {
            let now = app.node.own_account(card.clone()).await?.notice_version;
            // what was read is what is agreed to
            let seen: u32 = notice.parse().unwrap_or_default();
            let granted = granted == "yes";
            if granted && seen != now {
                return Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "notice_changed",
                    "the notice was changed meanwhile",
                    "read it again",
                ));
            }
            let request = ConsentRequest {
                purpose,
                granted,
                notice_version: now,
                receiver: (!receiver.is_empty()).then_some(receiver),
                guardian: None,
            };
            app.node.decide(MEMBER, card, request).await?;
            Ok(if granted {
                said("已同意。", "You have agreed.")
            } else {
                said("已撤回同意。", "You have taken your agreement back.")
            })
        }
        OwnForm::Request { kind, words } => {
            let words = (!words.trim().is_empty()).then_some(words);
            app.node.open_request(MEMBER, card, RequestRequest { kind, words }).await?;
            Ok(said("请求已提交，期限见下。", "Your request is entered; its deadlines are below."))
        }
        OwnForm::Ask { key, about, text } => {
            app.node.own_action(key, card, OwnAction::Ask { about, text }).await?;
            Ok(said("已提交，七天内答复。", "It is entered, and answered within seven days."))
        }
        OwnForm::Claim { key, kind } => {
            app.node.own_action(key, card, OwnAction::ClaimCoupon { kind }).await?;
            Ok(said("优惠券已领取。", "The coupon is yours."))
        }
        OwnForm::LinkCode { key, brand } => {
            let done = app.node.own_action(key, card, OwnAction::LinkCode { brand }).await?;
            *link_code = done
                .code
                .zip(done.until_ms)
                .map(|(code, expires_ms)| LinkCodeView { code, expires_ms });
            Ok(said("关联码已生成，见下。", "The code is made; it is below."))
        }
        OwnForm::Link { key, brand, code } => {
            let code = code.trim().to_owned();
            app.node.own_action(key, card, OwnAction::Link { brand, code }).await?;
            Ok(said(
                "已向对方品牌提出，稍后刷新本页查看。",
                "The other brand is asked: open this page again in a moment.",
            ))
        }
        OwnForm::Exchange { key, to, points } => {
            let points = number(&points)?;
            app.node.own_action(key, card, OwnAction::Exchange { to, points }).await?;
            Ok(said(
                "积分已转出，完成后可在下方取回执。",
                "Your points are on their way; when it is done, its receipt is below.",
            ))
        }
        OwnForm::SendBack { key, from, leaf, points } => {
            let (leaf, points) = (number(&leaf)?, number(&points)?);
            app.node.own_action(key, card, OwnAction::SendBack { from, leaf, points }).await?;
            Ok(said("积分正在退回。", "Your points are on their way back."))
        }
        // by themselves: the one knows codes, and after the other there is no account to show
        OwnForm::Reward { .. } | OwnForm::Erase { .. } => Ok(Bilingual::default()),
    }
}

/// Asks for a reward; where that needs a second step, with the code that the brand's app has sent.
async fn rewarded(
    app: &App,
    card: String,
    (key, reward, code): (String, String, String),
) -> Result<Bilingual, Problem> {
    let said = |zh: &str, en: &str| Bilingual { zh: zh.to_owned(), en: en.to_owned() };
    let action = OwnAction::HoldReward { reward: reward.clone(), code: None };
    let mut done = app.node.own_action(key.clone(), card.clone(), action).await?;
    let code = (!code.trim().is_empty()).then_some(OneTimeCode(code));
    if took_second_step(app, card.clone(), code.as_ref(), &done).await? {
        done = app.node.own_reward(key, card, reward).await?;
    }
    Ok(match done.state.as_str() {
        "second_step_needed" => said(
            "需要二次验证：请在此填写品牌应用发给您的一次性码，再次兑换；也可到柜台办理。",
            "A second step is needed: type the one-time code that the brand's app sends you and ask again, or tell it at the counter.",
        ),
        "held_for_review" => said(
            "账户待人工复核，复核前不能兑换；请联系客服。",
            "Your account is held for review: nothing is set aside until then. Ask the service.",
        ),
        _ => said("礼品已为您预留。", "The reward is set aside for you."),
    })
}

async fn shown(app: &App, visitor: &OwnVisitor, views: OwnViews) -> Result<Response, Problem> {
    let views = OwnViews {
        status: app.node.status(),
        account: app.node.own_account(visitor.session.card().to_owned()).await?,
        rules: app.node.programme_rules().await?,
        key: fresh_key()?,
        ..views
    };
    rendered(own_page(&views, visitor.language), StatusCode::OK)
}

/// All that the brand holds of the member, as a file.
#[utoipa::path(get, path = "/my/export", tag = "console", responses(
    (status = 200, description = "All of it, machine-readable", content_type = "application/json"),
    (status = 303, description = "Type a code first")))]
pub(super) async fn own_export(
    State(app): State<App>,
    visitor: OwnVisitor,
) -> Result<Response, Problem> {
    let export = app.node.export_member(MEMBER, visitor.session.card().to_owned()).await?;
    let bytes = serde_json::to_vec_pretty(&export).map_err(|_| Problem::internal())?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}-my-data.json\"", app.node.brand()),
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// The receipt of an exchange of the member's own, as a file that `/verify` reads.
#[utoipa::path(get, path = "/my/exchanges/{id}/receipt", tag = "console",
    params(("id" = String, Path)), responses(
    (status = 200, description = "A C2SP tlog-proof with an extra line", body = String, content_type = "text/plain"),
    (status = 303, description = "Type a code first")))]
pub(super) async fn own_receipt(
    State(app): State<App>,
    visitor: OwnVisitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let receipt = app.node.own_receipt(visitor.session.card().to_owned(), id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], receipt).into_response())
}
