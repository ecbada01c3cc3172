//! This node as a witness of other logs: `/add-checkpoint` of C2SP tlog-witness, and for monitors what
//! it has cosigned. Public: a request proves by its signature whose it is.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use protocol::log::tlog_witness::{AddCheckpoint, Refusal, SIZE_CONTENT_TYPE};

use super::{App, Problem};

const TEXT: &str = "text/plain; charset=utf-8";

/// Cosigns a log's checkpoint.
#[utoipa::path(post, path = "/add-checkpoint", tag = "witness",
    request_body(content = String, content_type = "text/plain",
        description = "old size, consistency proof, empty line, checkpoint, as in C2SP tlog-witness"),
    responses(
        (status = 200, description = "A cosignature line", body = String, content_type = "text/plain"),
        (status = 409, description = "The size that was cosigned last", body = String, content_type = "text/x.tlog.size")))]
pub(super) async fn add_checkpoint(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the request is longer than a checkpoint with a proof",
            "send one checkpoint",
        ),
        status => Problem::new(status, "body_unread", "the body did not come", "send it again"),
    })?;
    // read here, so that what is no request costs the node's own work nothing
    let request = AddCheckpoint::parse(&body).map_err(refused)?;
    let _place = app.witnessing.try_acquire().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_busy",
            "other checkpoints are being cosigned",
            "try again in a second",
        )
        .header(header::RETRY_AFTER, 1)
    })?;
    match app.node.add_checkpoint(request).await? {
        Ok(line) => Ok(([(header::CONTENT_TYPE, TEXT)], line).into_response()),
        Err(Refusal::Conflict { latest }) => Ok((
            StatusCode::CONFLICT,
            [(header::CONTENT_TYPE, SIZE_CONTENT_TYPE)],
            format!("{}\n", latest.get()),
        )
            .into_response()),
        Err(refusal) => Err(refused(refusal)),
    }
}

fn refused(refusal: Refusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, remedy) = match refusal {
        Refusal::Malformed | Refusal::OldAboveNew => {
            ("add_checkpoint_malformed", "see C2SP tlog-witness for the form")
        }
        Refusal::NotSigned => ("add_checkpoint_not_signed", "sign it with the log's own key"),
        Refusal::UnknownOrigin => {
            ("add_checkpoint_unknown_log", "the operator names foreign logs in node.toml")
        }
        Refusal::Conflict { .. } => ("add_checkpoint_conflict", "prove from that size"),
        Refusal::Inconsistent => {
            ("add_checkpoint_inconsistent", "prove from the size cosigned last")
        }
        Refusal::TooOften => ("add_checkpoint_too_often", "ask for the newest size only"),
        Refusal::NotCertifiedYet => ("add_checkpoint_not_certified", "try again in a second"),
        Refusal::NotStarted => ("add_checkpoint_not_started", "try again in a minute"),
        Refusal::Restored { .. } => (
            "add_checkpoint_restored",
            "ask this witness's operator, and other witnesses meanwhile",
        ),
    };
    let problem = Problem::new(status, code, refusal.to_string(), remedy);
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            problem.header(header::RETRY_AFTER, 1)
        }
        _ => problem,
    }
}

/// What was last cosigned of a foreign log.
#[utoipa::path(get, path = "/{origin_hash}/checkpoint", tag = "witness",
    params(("origin_hash" = String, Path, description = "SHA-256 of the log's origin, lower-case hex")),
    responses((status = 200, description = "A C2SP checkpoint with this node's cosignature", body = String, content_type = "text/plain")))]
pub(super) async fn cosigned(
    State(app): State<App>,
    Path(origin_hash): Path<String>,
) -> Result<Response, Problem> {
    let note = app.node.foreign_checkpoint(origin_hash).await?;
    let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, note).into_response())
}
