//! Handlers of `/api/v1/audits`: the node's own audit of copies of all logs.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::api::Result;
use super::extract::Json;
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::service::RunningAuditView;

/// Has the node copy all brands' published logs and audit the copies, as it does by itself once a day.
#[utoipa::path(post, path = "/api/v1/audits", tag = "audit",
    responses((status = 202, description = "Started; see /api/v1/audits/latest")))]
pub(super) async fn start_audit(
    _: Authorized<perm::AuditLogs>,
    State(app): State<App>,
) -> Result<impl IntoResponse> {
    app.node.start_audit()?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/api/v1/audits/latest")]))
}

/// How far the node's own audit has come, and what is known of the last one.
#[utoipa::path(get, path = "/api/v1/audits/latest", tag = "audit",
    responses((status = 200, description = "Its progress, or its result", body = RunningAuditView)))]
pub(super) async fn audit_progress(
    _: Authorized<perm::AuditLogs>,
    State(app): State<App>,
) -> Json<RunningAuditView> {
    Json(app.node.audits().view())
}

/// What the last of the node's own audits found, as `coalition audit --json` writes it.
#[utoipa::path(get, path = "/api/v1/audits/latest/report", tag = "audit",
    responses((status = 200, description = "The report", content_type = "application/json")))]
pub(super) async fn audit_report(
    _: Authorized<perm::AuditLogs>,
    State(app): State<App>,
) -> Result<impl IntoResponse> {
    let report = app.node.audits().report().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "audit_none",
            "this node has made no audit yet",
            "have one made by POST /api/v1/audits",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report.to_string()))
}
