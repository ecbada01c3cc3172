//! Lists in pages, all of [`LISTED`] in one manner: `limit` says how many, `before` (the newest first) or `after` (what is
//! first comes first) where the page begins. The answer is the items, as it was before there were pages, and the header `Link` (RFC
//! 8288) has the next page, relative to the route: `<?before=CURSOR&limit=100>; rel="next"`.

use axum::extract::FromRequestParts;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::Problem;
use super::api::{PAGE_MAX, Result, page_size};
use super::extract::Json;
use crate::service::{ListPage, ListRequest};

/// Routes that answer so.
pub(super) const LISTED: [&str; 11] = [
    "/api/v1/exchanges",
    "/api/v1/exchanges/received",
    "/api/v1/queries",
    "/api/v1/pairs",
    "/api/v1/requests",
    "/api/v1/assessments",
    "/api/v1/breaches",
    "/api/v1/programme/adjustments",
    "/api/v1/programme/coupons",
    "/api/v1/programme/cases",
    "/api/v1/programme/requests",
];

/// Which page of a list that begins with the newest.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeQuery {
    /// Where the page begins: as the `Link` of the page before has it.
    before: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

impl BeforeQuery {
    pub(super) fn page(self) -> Result<ListRequest> {
        Ok(ListRequest { place: self.before, limit: page_size(self.limit)? })
    }
}

/// Which page of a list that begins with what is first.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BehindQuery {
    /// Where the page begins: as the `Link` of the page before has it.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

impl BehindQuery {
    pub(super) fn page(self) -> Result<ListRequest> {
        Ok(ListRequest { place: self.after, limit: page_size(self.limit)? })
    }
}

/// A page of a list that came whole, or a thousand of it, before it had pages.
pub(super) fn large_page(place: Option<String>, limit: Option<u32>) -> Result<ListRequest> {
    Ok(ListRequest { place, limit: page_size(limit.or(Some(PAGE_MAX)))? })
}

/// The request's own parameters but for the page's place.
pub(super) struct Asked(Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let others = pairs.filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !["before", "after"].contains(&name)
        });
        Ok(Self(others.map(str::to_owned).collect()))
    }
}

impl Asked {
    /// The answer of a list that begins with the newest.
    pub(super) fn before<T: Serialize>(self, page: ListPage<T>) -> Result<Response> {
        self.answer("before", page)
    }

    /// The answer of a list that begins with what is first.
    pub(super) fn after<T: Serialize>(self, page: ListPage<T>) -> Result<Response> {
        self.answer("after", page)
    }

    fn answer<T: Serialize>(self, name: &str, page: ListPage<T>) -> Result<Response> {
        let mut response = Json(page.items).into_response();
        if let Some(next) = page.next {
            // a cursor needs no escaping
            let mut query = vec![format!("{name}={next}")];
            query.extend(self.0);
            let link = format!("<?{}>; rel=\"next\"", query.join("&"));
            let link = HeaderValue::from_str(&link).map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "parameter_invalid",
                    "a parameter has characters that no address has",
                    "escape them as %XX",
                )
            })?;
            response.headers_mut().insert(LINK, link);
        }
        Ok(response)
    }
}
