//! Handlers of `/api/v1/backups`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::extract::Json;
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::service::{BackupRequest, BackupView};

/// Starts a backup of the node's data, without its keys, into a new folder of its own machine.
#[utoipa::path(post, path = "/api/v1/backups", tag = "node", request_body = BackupRequest,
    responses((status = 202, description = "Started; see /api/v1/backups/latest")))]
pub(super) async fn back_up(
    _: Authorized<perm::BackUp>,
    State(app): State<App>,
    Json(request): Json<BackupRequest>,
) -> Result<impl IntoResponse, Problem> {
    app.node.back_up(request).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/api/v1/backups/latest")]))
}

/// How far the latest backup has come.
#[utoipa::path(get, path = "/api/v1/backups/latest", tag = "node",
    responses((status = 200, description = "Its progress, or its result", body = BackupView)))]
pub(super) async fn backup_progress(
    _: Authorized<perm::BackUp>,
    State(app): State<App>,
) -> Result<Json<BackupView>, Problem> {
    Ok(Json(app.node.backup_progress().await?))
}
