//! Conditional requests (RFC 9110, section 13): who has what is there already is told so in 304, and who
//! would replace what somebody else has replaced meanwhile, in 412.
//!
//! One layer over the routes in [`REVALIDATED`]: the tag of an answer is a hash of its bytes, so it is
//! strong and no handler knows of it. None of these routes has a member's data: a hash of that would be
//! kept by clients and proxies long after. Answers of all others stay `no-store`.

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::Serialize;

use super::Problem;

/// Routes whose answers have a tag, and whether they are for everyone.
pub(super) const REVALIDATED: [(&str, bool); 17] = [
    ("/api/v1/openapi.json", true),
    ("/api/v1/programme/rules", true),
    ("/api/v1/programme/campaigns", false),
    ("/api/v1/programme/report", false),
    ("/api/v1/constitutions", false),
    ("/api/v1/sealing-keys", false),
    ("/api/v1/partners", false),
    ("/api/v1/disputes", false),
    ("/api/v1/clearings", false),
    ("/api/v1/clearings/{cut_off_ms}", false),
    ("/api/v1/clearings/{cut_off_ms}/export", false),
    ("/api/v1/datasets", false),
    ("/api/v1/templates", false),
    ("/api/v1/policy", false),
    ("/api/v1/budgets", false),
    ("/api/v1/queries", false),
    ("/api/v1/queries/{id}", false),
];

/// Longest answer that is hashed; a longer one goes out without a tag.
const HASHED_MAX: usize = 8 * 1024 * 1024;

/// Anyone may keep it, and asks before using it again.
const PUBLIC: HeaderValue = HeaderValue::from_static("no-cache");
/// The caller may keep it, and asks before using it again.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Gives answers their tags, and 304 to who has them.
pub(super) async fn around(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = REVALIDATED.iter().find(|(path, _)| Some(*path) == matched);
    // the answer to HEAD has no body here to hash
    let Some((_, public)) = route.filter(|_| request.method() == Method::GET) else {
        return next.run(request).await;
    };
    let cached: Vec<HeaderValue> =
        request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let response = next.run(request).await;
    let short = response.body().size_hint().upper().is_some_and(|most| most <= HASHED_MAX as u64);
    if response.status() != StatusCode::OK || !short {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, HASHED_MAX).await else {
        return Problem::internal().into_response();
    };
    let tag = Tag::of(&body);
    let known = cached.iter().any(|list| lists(list, tag.as_str(), Comparison::Weak));
    head.headers.insert(header::ETAG, tag.value());
    head.headers.insert(header::CACHE_CONTROL, if *public { PUBLIC } else { PRIVATE });
    if known {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

/// The tag of a file of the published log, from its length and when it was written: weak, since two
/// versions within one tick of the clock could share it.
pub(super) fn file_tag(metadata: &std::fs::Metadata) -> Option<HeaderValue> {
    use std::os::unix::fs::MetadataExt as _;
    let (length, seconds, rest) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    HeaderValue::from_str(&format!("W/\"{length:x}-{seconds:x}-{rest:x}\"")).ok()
}

/// Whether the request says that it has this already.
pub(super) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    headers.get_all(header::IF_NONE_MATCH).iter().any(|list| lists(list, tag, Comparison::Weak))
}

/// A strong entity-tag: half of the SHA-256 of what it is of.
struct Tag(String);

impl Tag {
    fn of(bytes: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        let half = hash.as_ref().get(..16).unwrap_or_default();
        Self(format!("\"{}\"", URL_SAFE_NO_PAD.encode(half)))
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    fn value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// How tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Weak,
    Strong,
}

/// Whether a field's list of tags, or `*`, has this one.
fn lists(list: &HeaderValue, tag: &str, how: Comparison) -> bool {
    let Ok(list) = list.to_str() else { return false };
    // a tag of this node's has no comma in it, so a listed one that does is another's
    list.split(',').map(str::trim).any(|listed| {
        let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        listed == "*"
            || match how {
                Comparison::Weak => opaque(listed) == opaque(tag),
                Comparison::Strong => !tag.starts_with("W/") && listed == tag,
            }
    })
}

/// The header `If-Match`: what the caller has seen of what it replaces.
pub(super) struct IfMatch(Vec<HeaderValue>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.headers.get_all(header::IF_MATCH).iter().cloned().collect()))
    }
}

impl IfMatch {
    /// Whether the caller stated what it has seen.
    pub(super) fn is_stated(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether what is there now is what the caller has seen.
    ///
    /// # Errors
    /// 412 if it is not.
    pub(super) fn check(&self, now: &impl Serialize) -> Result<(), Problem> {
        let bytes = Bytes::from(serde_json::to_vec(now).unwrap_or_default());
        let tag = Tag::of(&bytes);
        if self.0.iter().any(|list| lists(list, tag.as_str(), Comparison::Strong)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "changed_meanwhile",
            "what would be replaced is not what If-Match names: somebody else has changed it",
            "get it again, look at what changed, and send the new ETag in If-Match",
        )
        .header(HeaderName::from_static("etag"), tag.value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_rfc_9110_says() {
        // the table of section 8.8.3.2
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            let list = HeaderValue::from_static(one);
            assert_eq!(lists(&list, other, Comparison::Strong), strong, "{one} {other}");
            assert_eq!(lists(&list, other, Comparison::Weak), weak, "{one} {other}");
        }
        let list = HeaderValue::from_static("\"a\" , W/\"b\",\"c\"");
        for (tag, listed) in [("\"a\"", true), ("\"b\"", true), ("\"c\"", true), ("\"d\"", false)] {
            assert_eq!(lists(&list, tag, Comparison::Weak), listed, "{tag}");
        }
        assert!(lists(&HeaderValue::from_static("*"), "\"a\"", Comparison::Strong));
    }

    #[test]
    fn routes_with_tags_are_ones_that_are_read_and_have_nobody_in_them() {
        for (path, public) in REVALIDATED {
            let route = super::super::ROUTES
                .iter()
                .find(|route| (route.method, route.path) == ("get", path))
                .unwrap_or_else(|| panic!("{path} is not in the table"));
            assert_eq!(matches!(route.access, super::super::Access::Public), public, "{path}");
            for personal in ["member", "card", "/me", "exchange", "request", "operation", "breach"]
            {
                assert!(!path.contains(personal), "{path}");
            }
        }
    }
}
