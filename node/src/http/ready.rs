//! `GET /readyz`: whether requests that need the alliance would get through now.
//!
//! `/healthz` says that the process answers; a supervisor restarts what does not. This says more, for
//! balancers and alerts: the loop turns, a quorum is connected, the own log can grow. Restarting the node
//! mends none of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::service::Status;

/// A state older than this was not written by a loop that turns.
const STALE_AFTER: Duration = Duration::from_secs(15);

/// Whether exchanges and joint questions can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether they can; else the status is 503.
    pub ready: bool,
    /// Why not: `stopping`, `loop_stalled`, `quorum_unreachable`, `log_frozen`, `log_closed`.
    pub reasons: Vec<String>,
}

/// Whether the node can do its work.
#[utoipa::path(get, path = "/readyz", tag = "node", responses(
    (status = 200, description = "It can", body = Readiness),
    (status = 503, description = "It cannot, and why", body = Readiness)))]
pub(super) async fn ready(State(app): State<App>) -> impl IntoResponse {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut reasons = reasons(&app.node.status(), now);
    if app.node.is_stopped() {
        reasons.insert(0, "stopping");
    }
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons: Vec<String> = reasons.into_iter().map(str::to_owned).collect();
    (code, Json(Readiness { ready: reasons.is_empty(), reasons }))
}

fn reasons(status: &Status, now: Duration) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if now.saturating_sub(Duration::from_millis(status.now_ms)) > STALE_AFTER {
        reasons.push("loop_stalled");
    }
    let connected = status.heads.iter().filter(|head| head.connected).count();
    if u32::try_from(connected).is_ok_and(|connected| connected < status.committee.quorum) {
        reasons.push("quorum_unreachable");
    }
    let own = status.heads.iter().find(|head| head.brand == status.brand);
    if own.is_some_and(|own| own.frozen) {
        reasons.push("log_frozen");
    }
    if own.is_none_or(|own| own.closed) {
        reasons.push("log_closed");
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::samples;

    #[test]
    fn each_reason_is_told_and_nothing_else() {
        let mut status = samples::status();
        let now = Duration::from_millis(status.now_ms);
        for head in &mut status.heads {
            (head.connected, head.frozen, head.closed) = (true, false, false);
        }
        let own = status.heads.iter().position(|head| head.brand == status.brand).unwrap();
        assert_eq!(reasons(&status, now), [""; 0]);
        assert_eq!(reasons(&status, now + STALE_AFTER * 2), ["loop_stalled"]);

        let mut alone = status.clone();
        alone.heads.iter_mut().for_each(|head| head.connected = head.brand == alone.brand);
        assert_eq!(reasons(&alone, now), ["quorum_unreachable"]);
        let mut ended = status.clone();
        (ended.heads[own].frozen, ended.heads[own].closed) = (true, true);
        assert_eq!(reasons(&ended, now), ["log_frozen", "log_closed"]);
        // before the loop has shown anything
        let nothing = reasons(&Status::default(), now);
        assert!(nothing.contains(&"loop_stalled") && nothing.contains(&"log_closed"));
    }
}
