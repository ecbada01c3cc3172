//! Handlers of `/api/v1/webhooks`: who gets what happens at the node. For the administrator.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::api::Result;
use super::extract::{Json, Path};
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::service::EVENT_KINDS;
use crate::webhooks::{
    DeliveryView, WEBHOOKS_MAX, WebhookError, WebhookRequest, WebhookView, Webhooks,
};

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let (status, code, remedy) = match &error {
            WebhookError::Target(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "url_refused",
                "send https:// and a host that everyone can reach".to_owned(),
            ),
            WebhookError::Kinds => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "events_unknown",
                format!("send events as [\"{}\"], or some of them", EVENT_KINDS.join("\", \"")),
            ),
            WebhookError::TooMany => (
                StatusCode::CONFLICT,
                "too_many_webhooks",
                format!("take one of the {WEBHOOKS_MAX} away first"),
            ),
            WebhookError::Unknown => (
                StatusCode::NOT_FOUND,
                "webhook_unknown",
                "see /api/v1/webhooks for their numbers".to_owned(),
            ),
            WebhookError::NoRandom | WebhookError::File { .. } | WebhookError::Tls(_) => {
                tracing::error!(error = %error, "a webhook is not changed");
                return Self::internal();
            }
        };
        Self::new(status, code, error.to_string(), remedy)
    }
}

/// The webhooks, on a thread where a disk keeps nobody waiting.
async fn changed<T: Send + 'static>(
    app: App,
    change: impl FnOnce(&Webhooks) -> std::result::Result<T, WebhookError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(move || change(&app.webhooks)).await;
    Ok(done.map_err(|_| Problem::internal())??)
}

/// Registers a receiver. Its deliveries are signed as Standard Webhooks has it, tried again for three days, and come
/// at least once.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "events", request_body = WebhookRequest,
    responses((status = 201, description = "Registered; the secret is shown this once", body = WebhookView),
        (status = 409, description = "There are too many", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not such a URL, or no such events", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn register_webhook(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Json(request): Json<WebhookRequest>,
) -> Result<impl IntoResponse> {
    let view = changed(app, move |webhooks| webhooks.register(&request)).await?;
    let location = [(header::LOCATION, format!("/api/v1/webhooks/{}", view.id))];
    Ok((StatusCode::CREATED, location, Json(view)))
}

/// All receivers.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "events",
    responses((status = 200, description = "Without their secrets", body = [WebhookView])))]
pub(super) async fn webhooks(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
) -> Json<Vec<WebhookView>> {
    Json(app.webhooks.all())
}

/// One receiver.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}", tag = "events",
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "Without its secret", body = WebhookView),
        (status = 404, description = "None of this number", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn webhook(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>> {
    Ok(Json(app.webhooks.one(&id)?))
}

/// Takes a receiver away, with what waits for it.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "events",
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 204, description = "Gone"),
        (status = 404, description = "None of this number", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_webhook(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    changed(app, move |webhooks| webhooks.remove(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes another secret. The former one signs too for a day, so that receivers can take up the new one.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/secret", tag = "events",
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "The secret is shown this once", body = WebhookView),
        (status = 404, description = "None of this number", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn rotate_secret(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>> {
    Ok(Json(changed(app, move |webhooks| webhooks.rotate(&id)).await?))
}

/// Delivers again to a receiver that was disabled; what waits is tried at once.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/enabling", tag = "events",
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "It is active", body = WebhookView),
        (status = 404, description = "None of this number", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn enable_webhook(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>> {
    Ok(Json(changed(app, move |webhooks| webhooks.enable(&id)).await?))
}

/// The latest attempts to deliver to a receiver, newest first, without what was delivered.
#[utoipa::path(get, path = "/api/v1/webhooks/{id}/deliveries", tag = "events",
    params(("id" = String, Path, description = "16 hex digits")),
    responses((status = 200, description = "At most 200", body = [DeliveryView]),
        (status = 404, description = "None of this number", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn webhook_deliveries(
    _: Authorized<perm::ManageWebhooks>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Vec<DeliveryView>>> {
    Ok(Json(app.webhooks.deliveries(&id)?))
}
