//! Refusals as `application/problem+json` (RFC 9457), each with a code and what to do.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes;
use crate::auth::AuthError;
use crate::console::{self, Language};
use crate::service::{Bilingual, Chinese, ErrorKind, ServiceError};

/// The media type.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done. The header `x-request-id` of the answer has the id under which the
/// node's log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the code says more.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// The status in words.
    #[schema(example = "Forbidden")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 403)]
    pub status: u16,
    /// Stable code, for programs.
    #[schema(example = "role_missing")]
    pub code: Cow<'static, str>,
    /// What was wrong, and where.
    #[schema(example = "this needs the role analyst")]
    pub detail: String,
    /// What would be right, or what to do next.
    #[schema(example = "sign in as a user with the role analyst")]
    pub remedy: String,
    #[serde(skip)]
    #[schema(ignore)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    chinese: Option<Box<Chinese>>,
}

/// The type of a problem, in the sense of RFC 9457.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ProblemType {
    /// The status says what type it is.
    #[serde(rename = "about:blank")]
    Blank,
}

impl Problem {
    /// A refusal.
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind: ProblemType::Blank,
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            remedy: remedy.into(),
            header: None,
            chinese: None,
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }

    pub(super) fn no_such_route(method: &str, path_is_api: bool) -> Self {
        let remedy = if path_is_api {
            "the routes are in /api/v1/openapi.json"
        } else {
            "the API begins with /api/v1/ (see /api/v1/openapi.json), the status page is /"
        };
        let detail = format!("there is nothing at this path to {method}");
        Self::new(StatusCode::NOT_FOUND, "route_unknown", detail, remedy)
    }

    /// What was wrong and what to do, for a page, in its language.
    pub(super) fn words(&self, language: Language) -> String {
        let (chinese, own) = (self.chinese.as_deref(), [&*self.detail, &*self.remedy]);
        console::refusal(language, &self.code, chinese, codes::in_chinese(&self.code), own)
    }

    /// The same for a member's own page.
    pub(super) fn member_words(&self) -> Bilingual {
        let listed = codes::in_chinese(&self.code);
        console::member_words(&self.code, self.chinese.as_deref(), listed, &self.detail)
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "this node could not do it",
            "look in the node's log for the id in x-request-id",
        )
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, error.code, error.message, error.remedy);
        problem.chinese = error.chinese;
        match error.kind {
            ErrorKind::Unavailable => problem.header(header::RETRY_AFTER, 1),
            _ => problem,
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let challenge = HeaderValue::from_static;
        let (status, header) = match error {
            AuthError::TokenMissing => {
                (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, challenge("Bearer"))))
            }
            AuthError::TokenUnknown | AuthError::TokenExpired => {
                let challenge = challenge("Bearer error=\"invalid_token\"");
                (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, challenge)))
            }
            AuthError::LoginRefused
            | AuthError::CodeNeeded
            | AuthError::CodeWrong
            | AuthError::MemberCode
            | AuthError::CertificateUnknown
            | AuthError::CertificateEnded
            | AuthError::CertificateNeeded => (StatusCode::UNAUTHORIZED, None),
            AuthError::RoleMissing { .. }
            | AuthError::SecondFactorMissing
            | AuthError::PasswordOneUse => (StatusCode::FORBIDDEN, None),
            AuthError::LoginThrottled { retry_seconds } => (
                StatusCode::TOO_MANY_REQUESTS,
                Some((header::RETRY_AFTER, HeaderValue::from(retry_seconds))),
            ),
            AuthError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        };
        let mut problem = Self::new(status, error.code(), error.to_string(), error.remedy());
        problem.header = header.map(Box::new);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let code = ProblemCode(self.code.clone());
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        response.headers_mut().extend(self.header.map(|header| *header));
        response.extensions_mut().insert(code);
        response
    }
}

/// The code of a refusal, for the log line of its request.
#[derive(Clone)]
pub(super) struct ProblemCode(pub(super) Cow<'static, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        for (kind, status) in [
            (ErrorKind::Invalid, 400),
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::Refused, 422),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Internal, 500),
        ] {
            let problem = Problem::from(ServiceError::new(kind, "code", "detail", "remedy"));
            let json = serde_json::to_value(&problem).unwrap();
            assert_eq!(json["status"], status);
            assert_eq!(json["type"], "about:blank");
            assert_eq!((&json["code"], &json["detail"]), (&"code".into(), &"detail".into()));
            assert_eq!(json["remedy"], "remedy");
            assert_eq!(problem.into_response().headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        }
    }

    #[test]
    fn a_page_has_the_words_of_its_language() {
        let (detail, remedy) =
            ("too little is left / 预算不足", "ask next year / 请于下一年度再问");
        let error = || ServiceError::new(ErrorKind::Refused, "over_budget", detail, remedy);
        let words = |language| Problem::from(error()).words(language);
        assert_eq!(words(Language::English), "too little is left: ask next year");
        assert_eq!(words(Language::Chinese), "未能完成：预算不足：请于下一年度再问");
        let problem = Problem::new(StatusCode::NOT_FOUND, "not_there", "no / such", "look");
        assert_eq!(problem.words(Language::Chinese), "未能完成：no / such：look", "of no list");
    }

    #[test]
    fn a_wrong_role_is_named() {
        let problem = Problem::from(AuthError::RoleMissing {
            needed: <crate::auth::perm::ReadQueries as crate::auth::Permission>::ROLES,
        });
        assert_eq!(problem.status, 403);
        assert_eq!(problem.detail, "this needs the role analyst or officer");
    }
}
