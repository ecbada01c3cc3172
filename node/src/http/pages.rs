//! The console's routes: its pages are rendered by [`crate::console`] from the same views as the API.
//!
//! A browser holds its session in a cookie that scripts cannot read and other sites cannot send
//! (`HttpOnly; Secure; SameSite=Strict`); a POST must also come from a page of this very origin. The
//! cookie's name has the brand, since cookies do not tell two nodes on one host apart by port.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Credentials, Form, Query};
use super::visitor::pages_of;
use super::{App, Problem};
use crate::auth::{AuthError, Authorized, perm};
use crate::console::{self, Language, Notice};
use crate::service::{ErrorKind, ServiceError};

/// How a page is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `zh` or `en`; without it, what the browser prefers.
    lang: Option<String>,
    /// `off` to keep the page from loading itself anew every five seconds.
    refresh: Option<String>,
}

impl PageQuery {
    /// Of a request, whatever else it asks for.
    pub(super) fn of(parts: &Parts) -> Self {
        let query = axum::extract::Query::<Self>::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(query)| query).unwrap_or_default()
    }

    /// Whether a page that can load itself anew does.
    pub(super) fn refreshes(&self) -> bool {
        self.refresh.as_deref() != Some("off")
    }

    pub(super) fn language(&self, headers: &HeaderMap) -> Language {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let asked = self.lang.as_deref().and_then(Language::from_tag);
        asked.unwrap_or_else(|| Language::preferred(accepted.unwrap_or_default()))
    }
}

/// The fields of the sign-in page.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignInForm {
    user: String,
    #[schema(format = Password)]
    password: String,
    /// Of the second factor; empty for who has none.
    #[serde(default)]
    code: String,
}

/// The status page: all of it to who is signed in, the certified heads to anyone.
#[utoipa::path(get, path = "/", tag = "console", params(PageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Set an own password first")))]
pub(super) async fn status(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
    credentials: Credentials,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let language = query.language(&headers);
    let session = cookie(&app, &headers)
        .ok_or(AuthError::TokenMissing)
        .and_then(|token| app.auth.session(token))
        .and_then(|session| credentials.fit(&app, &session).map(|()| session));
    let pages = session.as_ref().map(pages_of).unwrap_or_default();
    let proof: Result<Authorized<perm::ReadStatus>, AuthError> =
        session.and_then(|session| session.authorize());
    if matches!(proof, Err(AuthError::PasswordOneUse)) {
        let path = format!("/password?lang={}", language.tag());
        return Ok(Redirect::to(&path).into_response());
    }
    let status = app.node.status();
    let refresh = query.refreshes();
    let page = match proof {
        Ok(proof) => console::status_page(&status, language, &proof, refresh, &pages),
        Err(_) => console::heads_page(&status, language, refresh),
    };
    rendered(page, StatusCode::OK)
}

/// The sign-in page.
#[utoipa::path(get, path = "/sign-in", tag = "console", params(PageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(super) async fn sign_in_page(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let language = query.language(&headers);
    let expired = cookie(&app, &headers).is_some_and(|token| app.auth.session(token).is_err());
    let notice = expired.then_some(Notice::SessionOver);
    rendered(console::sign_in_page(&app.node.status(), language, notice), StatusCode::OK)
}

/// Signs in from the page.
#[utoipa::path(post, path = "/sign-in", tag = "console", params(PageQuery),
    request_body(content = SignInForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "Signed in, on to the status page")))]
pub(super) async fn sign_in(
    State(app): State<App>,
    _: SameOrigin,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
    Form(form): Form<SignInForm>,
) -> Result<Response, Problem> {
    let language = query.language(&headers);
    let code = Some(form.code.trim()).filter(|code| !code.is_empty());
    let begun = app.auth.sign_in_with(form.user.trim(), &form.password, code).await;
    let (notice, status) = match begun {
        Ok(begun) => {
            let cookie = format!(
                "{}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
                cookie_name(&app),
                begun.token.as_str()
            );
            return Ok(onwards(language, &cookie));
        }
        Err(AuthError::LoginThrottled { retry_seconds }) => {
            (Notice::Throttled { retry_seconds }, StatusCode::TOO_MANY_REQUESTS)
        }
        Err(AuthError::LoginRefused) => (Notice::Refused, StatusCode::UNAUTHORIZED),
        Err(AuthError::CodeNeeded) => (Notice::CodeNeeded, StatusCode::UNAUTHORIZED),
        Err(AuthError::CodeWrong) => (Notice::CodeWrong, StatusCode::UNAUTHORIZED),
        Err(error) => return Err(error.into()),
    };
    rendered(console::sign_in_page(&app.node.status(), language, Some(notice)), status)
}

/// Signs out from the page.
#[utoipa::path(post, path = "/sign-out", tag = "console", params(PageQuery),
    responses((status = 303, description = "Signed out, on to the public page")))]
pub(super) async fn sign_out(
    State(app): State<App>,
    _: SameOrigin,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = cookie(&app, &headers) {
        app.auth.sign_out(token);
    }
    let cookie =
        format!("{}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0", cookie_name(&app));
    onwards(query.language(&headers), &cookie)
}

/// The style sheet.
#[utoipa::path(get, path = "/console.css", tag = "console", responses(
    (status = 200, description = "The style sheet", body = String, content_type = "text/css")))]
pub(super) async fn style_sheet() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, console::STYLE_SHEET)
}

/// The script of the page of questions.
#[utoipa::path(get, path = "/console.js", tag = "console", responses(
    (status = 200, description = "The script", body = String, content_type = "text/javascript")))]
pub(super) async fn script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, console::SCRIPT)
}

/// The script that verifies a receipt.
#[utoipa::path(get, path = "/receipt.js", tag = "console", responses(
    (status = 200, description = "The script", body = String, content_type = "text/javascript")))]
pub(super) async fn receipt_script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, console::RECEIPT_SCRIPT)
}

/// The script that keeps the partner's list of exchanges as it is.
#[utoipa::path(get, path = "/partner.js", tag = "console", responses(
    (status = 200, description = "The script", body = String, content_type = "text/javascript")))]
pub(super) async fn partner_script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, console::PARTNER_SCRIPT)
}

/// The page on which anyone verifies a receipt, in the browser.
#[utoipa::path(get, path = "/verify", tag = "console", params(PageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html")))]
pub(super) async fn verify(
    State(app): State<App>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let language = query.language(&headers);
    let session = cookie(&app, &headers).and_then(|token| app.auth.session(token).ok());
    let user = session.as_ref().map(|session| (session.user(), pages_of(session)));
    let user = user.as_ref().map(|(user, pages)| (*user, pages.as_slice()));
    let (status, keys) = (app.node.status(), app.node.log_keys().await?);
    rendered(console::receipt_page(&status, &keys, language, user), StatusCode::OK)
}

/// The picture on a page's tab.
#[utoipa::path(get, path = "/icon.svg", tag = "console", responses(
    (status = 200, description = "The picture", body = String, content_type = "image/svg+xml")))]
pub(super) async fn icon() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "private, max-age=86400"),
    ];
    (headers, console::ICON)
}

/// A whole number as a form has it.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, ServiceError> {
    text.trim().parse().map_err(|_| {
        ServiceError::new(
            ErrorKind::Invalid,
            "number_malformed",
            "this is no whole number",
            "write digits only",
        )
    })
}

pub(super) fn rendered(page: Option<String>, status: StatusCode) -> Result<Response, Problem> {
    let page = page.ok_or_else(Problem::internal)?;
    Ok((status, [(header::VARY, "Accept-Language, Cookie")], Html(page)).into_response())
}

fn onwards(language: Language, cookie: &str) -> Response {
    let mut response = Redirect::to(&format!("/?lang={}", language.tag())).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn cookie_name(app: &App) -> String {
    // the prefix makes browsers refuse it from other hosts and over plain HTTP
    format!("__Host-session-{}", app.node.brand())
}

/// A key under which the forms of a page do what they do, once.
pub(super) fn fresh_key() -> Result<String, Problem> {
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).map_err(|_| Problem::internal())?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn cookie<'h>(app: &App, headers: &'h HeaderMap) -> Option<&'h str> {
    cookie_named(&cookie_name(app), headers)
}

pub(super) fn cookie_named<'h>(name: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, token)| (key == name && !token.is_empty()).then_some(token))
}

/// The request comes from a page of this origin: browsers send `Origin` with every POST.
pub(super) struct SameOrigin;

impl<S: Send + Sync> FromRequestParts<S> for SameOrigin {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("https://"));
        match (origin, text(header::HOST)) {
            (Some(origin), Some(host)) if origin == host => Ok(Self),
            _ => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "origin_foreign",
                "the form was not sent from a page of this node",
                "open /sign-in on this node and use the form there",
            )),
        }
    }
}
