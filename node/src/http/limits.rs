//! What every request passes: an id, limits of rate, time and number, headers of every answer, a log line.
//!
//! The line has the route's template, never the path: paths hold card numbers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::extract::{Credentials, bearer};
use super::own_pages::member_cookie;
use super::pages::cookie;
use super::problem::ProblemCode;
use super::rates::Counted;
use super::{App, Problem};

/// Longest time a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests under way at once; health is answered beyond it.
pub(super) const REQUESTS_MAX: usize = 256;

/// Checkpoints of other logs that are being considered at once.
pub(super) const WITNESSING_MAX: usize = 16;

/// Nothing but this node's own style sheet, pictures and scripts, which ask nobody but this node; none in a page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     script-src 'self'; connect-src 'self'; trusted-types node; require-trusted-types-for 'script'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What supervisors and balancers ask, which no caller's limit may fail.
pub(super) const UNCOUNTED: [&str; 2] = ["/healthz", "/readyz"];

/// The published log: files that are the same for everyone, with a limit of their own.
pub(super) const PUBLISHED: [&str; 4] =
    ["/checkpoint", "/checkpoint.witnessed", "/certificates", "/tile/{*path}"];

/// Around everything.
pub(super) async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);

    let counted = (!UNCOUNTED.contains(&route)).then(|| counted(&app, route, &request));
    let refusal = counted.as_ref().and_then(Counted::refusal);
    let mut response = match refusal {
        Some(refusal) => refusal.into_response(),
        None => {
            let place = if route == "/healthz" { None } else { Some(app.places.try_acquire()) };
            match place {
                Some(Err(_)) => too_busy().into_response(),
                // the place is held until the answer is made
                Some(Ok(_)) | None => answer(request, next).await,
            }
        }
    };

    let headers = response.headers_mut();
    if let Some(counted) = counted {
        counted.write(headers);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    let fixed = HeaderValue::from_static;
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    // not no-referrer: browsers would then send "Origin: null" with forms
    headers.insert(header::REFERRER_POLICY, fixed("same-origin"));
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(CONTENT_SECURITY_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(fixed("no-store"));

    let status = response.status();
    let code = response.extensions().get::<ProblemCode>().map(|code| code.0.clone());
    let code = code.as_deref().unwrap_or("-");
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (method, route, status) = (method.as_str(), route, status.as_u16());
    if status >= 500 {
        tracing::warn!(request = id, method, route, status, code, milliseconds, "request failed");
    } else if status >= 400 {
        tracing::info!(request = id, method, route, status, code, milliseconds, "request refused");
    } else {
        tracing::debug!(request = id, method, route, status, milliseconds, "request answered");
    }
    response
}

/// Counts a request for who makes it.
fn counted(app: &App, route: &str, request: &Request) -> Counted {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(from)| from.ip());
    let counted = if PUBLISHED.contains(&route) {
        app.rates.count_log(from)
    } else {
        let headers = request.headers();
        let token = bearer(headers).ok().or_else(|| cookie(app, headers));
        let caller = match token.or_else(|| member_cookie(app, headers)) {
            Some(token) => app.auth.caller(token),
            None => Credentials::of(headers, request.extensions()).caller(app),
        };
        app.rates.count(caller, from)
    };
    if counted.is_refused() {
        app.metrics.count("http_rate_limited", "policy", counted.kind().name());
    }
    counted
}

async fn answer(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => Problem::internal().into_response(),
        Err(_elapsed) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "request_timed_out",
            format!("there was no answer within {} s", REQUEST_TIMEOUT.as_secs()),
            "ask whether it was done, or repeat it with the same idempotency key",
        )
        .into_response(),
    }
}

fn too_busy() -> Problem {
    let detail = format!("{REQUESTS_MAX} requests are under way");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", detail, "try again in a second")
        .header(header::RETRY_AFTER, 1)
}

fn request_id() -> String {
    let mut random = [0_u8; 8];
    // an id for finding a line again, not a secret: zeros would do
    SystemRandom::new().fill(&mut random).ok();
    format!("{:016x}", u64::from_be_bytes(random))
}
