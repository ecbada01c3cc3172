//! What handlers take from a request, with refusals that say what was wrong.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::connections::Peer;
use super::{App, Problem};
use crate::auth::{AuthError, Authorized, Caller, MemberSession, Permission, Role, Session};
use crate::tls::{CertificateRequired, ClientCertificate};

/// Most characters of an idempotency key.
const IDEMPOTENCY_KEY_MAX: usize = 128;

/// The session token of the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::TokenMissing)?;
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(AuthError::TokenMissing)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(AuthError::TokenMissing)
    }
}

/// By what a request is somebody's: a session's token, the connection's certificate, or both.
pub(super) struct Credentials {
    token: Result<Zeroizing<String>, AuthError>,
    certificate: Option<Arc<ClientCertificate>>,
    /// Whether the certificate counts without a token.
    stands_alone: bool,
}

impl Credentials {
    /// Of a request.
    ///
    /// A browser shows a certificate unasked, as it sends a cookie, to whatever page makes it: so a certificate by
    /// itself opens nothing to a request that says that it comes from a browser. Nor does it save a wrong token.
    pub(super) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let token = bearer(headers).map(|token| Zeroizing::new(token.to_owned()));
        let says_otherwise = ["authorization", "origin", "sec-fetch-site", "cookie"];
        let stands_alone = !says_otherwise.iter().any(|name| headers.contains_key(*name));
        let certificate = extensions.get::<Peer>().and_then(|peer| peer.0.clone());
        Self { token, certificate, stands_alone }
    }

    fn alone(&self) -> Option<&ClientCertificate> {
        self.certificate.as_deref().filter(|_| self.stands_alone)
    }

    /// Whose they are, now.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub(super) fn session(&self, app: &App) -> Result<Session, AuthError> {
        let token = match &self.token {
            Ok(token) => token,
            Err(missing) => {
                let certificate = self.alone().ok_or(*missing)?;
                if !app.tls.vouches_for(certificate) {
                    return Err(AuthError::CertificateEnded);
                }
                return app.auth.session_by_certificate(certificate.names());
            }
        };
        let session = app.auth.session(token)?;
        self.fit(app, &session)?;
        Ok(session)
    }

    /// Whether a session may be used over this connection.
    ///
    /// # Errors
    /// [`AuthError::CertificateNeeded`].
    pub(super) fn fit(&self, app: &App, session: &Session) -> Result<(), AuthError> {
        if app.tls.required() != CertificateRequired::Programs || !app.auth.is_program(session) {
            return Ok(());
        }
        let vouched = self.certificate.as_ref().filter(|it| app.tls.vouches_for(it));
        let owner = vouched.and_then(|it| app.auth.session_by_certificate(it.names()).ok());
        let theirs = owner.is_some_and(|owner| owner.user() == session.user());
        if theirs { Ok(()) } else { Err(AuthError::CertificateNeeded) }
    }

    /// Who is counted for a request that has no token; not for letting in.
    pub(super) fn caller(&self, app: &App) -> Option<Caller> {
        let session = app.auth.session_by_certificate(self.alone()?.names()).ok()?;
        let machine = session.roles().contains(&Role::App);
        Some(Caller::User { name: session.user().to_owned(), machine })
    }
}

impl FromRequestParts<App> for Credentials {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, &parts.extensions))
    }
}

/// Tokens and certificates of programs count here: a cookie, which browsers send unasked, opens no API route.
impl<P: Permission> FromRequestParts<App> for Authorized<P> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let session = Credentials::of(&parts.headers, &parts.extensions).session(app)?;
        Ok(session.authorize()?)
    }
}

/// A member's session: no user's token is one.
impl FromRequestParts<App> for MemberSession {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(app.auth.member_session(bearer(&parts.headers)?)?)
    }
}

/// A body in JSON; an answer in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(body_problem(&rejection)),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn body_problem(rejection: &JsonRejection) -> Problem {
    let (status, code, remedy) = match rejection {
        JsonRejection::JsonSyntaxError(_) => {
            (StatusCode::BAD_REQUEST, "json_malformed", "send one JSON value in UTF-8")
        }
        JsonRejection::JsonDataError(_) => (
            StatusCode::BAD_REQUEST,
            "json_unexpected",
            "send the fields that /api/v1/openapi.json has for this route",
        ),
        JsonRejection::MissingJsonContentType(_) => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "json_expected",
            "send JSON with the header Content-Type: application/json",
        ),
        other => return unread_body(other.status()),
    };
    Problem::new(status, code, rejection.body_text(), remedy)
}

fn unread_body(status: StatusCode) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body has more than {} bytes", super::BODY_MAX);
        return Problem::new(status, "body_too_large", detail, "send less at once");
    }
    let detail = "the body was not received whole";
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", detail, "send the request again")
}

/// A form, as browsers post it.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Form::from_request(request, state).await {
            Ok(axum::Form(value)) => Ok(Self(value)),
            Err(FormRejection::BytesRejection(rejection)) => Err(unread_body(rejection.status())),
            // the rejection's text may quote a field
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "form_malformed",
                "the form has not the fields of this page",
                "load the page again and fill it in",
            )),
        }
    }
}

/// Parameters of the query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let problem = |rejection: QueryRejection| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "parameter_invalid",
                rejection.body_text(),
                "see the parameters of this route in /api/v1/openapi.json",
            )
        };
        read.map(|axum::extract::Query(value)| Self(value)).map_err(problem)
    }
}

/// Parameters of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let problem = |rejection: PathRejection| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "path_invalid",
                rejection.body_text(),
                "see the path of this route in /api/v1/openapi.json",
            )
        };
        read.map(|axum::extract::Path(value)| Self(value)).map_err(problem)
    }
}

/// The header `Idempotency-Key`: 1 to 128 visible ASCII characters.
pub(super) struct IdempotencyKey(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let remedy = format!(
            "send a key of 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters, a fresh UUID for \
             each exchange, and the same one when repeating it"
        );
        let refuse = |code, detail: &str| {
            Problem::new(StatusCode::BAD_REQUEST, code, detail, remedy.clone())
        };
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = values.next() else {
            let detail = "the header Idempotency-Key is missing";
            return Err(refuse("idempotency_key_missing", detail));
        };
        let key = key.to_str().unwrap_or_default();
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if values.next().is_some() || !visible || !(1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) {
            let detail = "the header Idempotency-Key is not one key";
            return Err(refuse("idempotency_key_invalid", detail));
        }
        Ok(Self(key.to_owned()))
    }
}
