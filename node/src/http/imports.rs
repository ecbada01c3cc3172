//! Handlers of `/api/v1/imports`: files on the node's machine, and batches of rows that are sent.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{IdempotencyKey, Json, Query};
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::service::{BatchFormat, BatchKind, ImportBatch, ImportSource, ImportView};

/// Most bytes of one batch.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

type Result<T, E = Problem> = std::result::Result<T, E>;

/// Whether only to say what would be done.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRunQuery {
    /// Read, clean and count everything, and keep nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What a batch is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchQuery {
    /// What the rows are.
    #[param(inline)]
    kind: BatchKind,
    /// Name of a shipped mapping, or of one in the node's folder `mappings`.
    mapping: String,
    /// Read, clean and count everything, and keep nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Starts an import of files on the node's machine.
#[utoipa::path(post, path = "/api/v1/imports", tag = "imports", params(DryRunQuery),
    request_body = ImportSource,
    responses((status = 202, description = "Started; see /api/v1/imports/latest")))]
pub(super) async fn import(
    by: Authorized<perm::ImportData>,
    State(app): State<App>,
    Query(query): Query<DryRunQuery>,
    Json(source): Json<ImportSource>,
) -> Result<impl IntoResponse> {
    app.node.staff(by.user()).start_import(source, query.dry_run).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/api/v1/imports/latest")]))
}

/// How far the latest import has come.
#[utoipa::path(get, path = "/api/v1/imports/latest", tag = "imports",
    responses((status = 200, description = "Its progress, or its result", body = ImportView)))]
pub(super) async fn import_progress(
    _: Authorized<perm::ImportData>,
    State(app): State<App>,
) -> Result<Json<ImportView>> {
    Ok(Json(app.node.import_progress().await?))
}

/// Imports the rows of the body: JSON lines, or CSV with a row of names first, at most 8 MiB.
///
/// A row that cannot be taken is in the answer and stops no other. The answer comes when all of it counts;
/// the same rows sent again change nothing.
#[utoipa::path(post, path = "/api/v1/imports/batches", tag = "imports",
    params(BatchQuery, ("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a request under its key is safe")),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, description = "What became of the rows", body = ImportView)))]
pub(super) async fn import_batch(
    by: Authorized<perm::SendBatches>,
    State(app): State<App>,
    Query(query): Query<BatchQuery>,
    IdempotencyKey(key): IdempotencyKey,
    Rows(format, bytes): Rows,
) -> Result<Json<ImportView>> {
    let BatchQuery { kind, mapping, dry_run } = query;
    // a mapping says who has consented: what a system may claim of people is the operator's to write
    let is_operators =
        !mapping.contains('=') && !alliance_config::sample::MAPPINGS.contains(&mapping.as_str());
    if !is_operators && !by.also::<perm::ImportData>() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "mapping_name",
            "the mapping is none that the operator has put here",
            "give the name of one in the node's folder mappings",
        ));
    }
    let batch = ImportBatch { kind, format, mapping, dry_run, bytes };
    Ok(Json(app.node.staff(by.user()).import_batch(key, batch).await?))
}

/// The body of a batch.
pub(super) struct Rows(BatchFormat, Bytes);

impl<S: Send + Sync> FromRequest<S> for Rows {
    type Rejection = Problem;
    async fn from_request(mut request: Request, state: &S) -> Result<Self> {
        let format = format(request.headers())?;
        DefaultBodyLimit::max(BATCH_BYTES_MAX).apply(&mut request);
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("the body has more than {BATCH_BYTES_MAX} bytes"),
                    "send fewer rows at once, or import a file on the node's machine",
                );
            }
            Problem::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                "the body was not received whole",
                "send the request again",
            )
        })?;
        if bytes.is_empty() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "batch_empty",
                "the body is empty",
                "send at least one row",
            ));
        }
        Ok(Self(format, bytes))
    }
}

fn format(headers: &HeaderMap) -> Result<BatchFormat> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match stated.and_then(|value| value.split(';').next()).map(str::trim) {
        Some("application/x-ndjson" | "application/jsonl") => Ok(BatchFormat::JsonLines),
        Some("text/csv") => Ok(BatchFormat::Csv),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "rows_expected",
            "the header Content-Type names neither JSON lines nor CSV",
            "send application/x-ndjson with an object a line, or text/csv with a row of names first",
        )),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::super::testing::Fixture;
    use super::*;
    use crate::auth::Role;

    #[tokio::test]
    async fn a_batch_says_what_it_is_or_hears_what_would_be_right() {
        let fixture = Fixture::start();
        let client = fixture.client_as(&[Role::Administrator]);
        let send = async |query: &str, media: &str, key: &str, body: Vec<u8>| {
            let path = format!("/api/v1/imports/batches?{query}");
            let headers = [("content-type", media), ("idempotency-key", key)];
            let headers = if key.is_empty() { &headers[..1] } else { &headers[..] };
            let answer =
                client.send(Method::POST, &path, headers, Some(body.into())).await.unwrap();
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            (answer.status.as_u16(), told)
        };
        let (good, rows) = ("kind=purchases&mapping=till", b"a,b\n1,2\n".to_vec());
        let (status, view) = send(good, "text/csv; charset=utf-8", "k", rows.clone()).await;
        assert_eq!((status, view["mapping"].as_str()), (200, Some("till k Purchases")));
        for (query, media, key, body, status, code) in [
            (good, "application/json", "k", rows.clone(), 415, "rows_expected"),
            (good, "text/csv", "", rows.clone(), 400, "idempotency_key_missing"),
            ("kind=receipts&mapping=till", "text/csv", "k", rows.clone(), 400, "parameter_invalid"),
            (good, "text/csv", "k", Vec::new(), 400, "batch_empty"),
            (good, "text/csv", "k", vec![b'x'; BATCH_BYTES_MAX + 1], 413, "body_too_large"),
        ] {
            let (found, problem) = send(query, media, key, body).await;
            assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{query} {media}");
        }
    }

    /// A till or customer system needs no administrator's token: it sends rows by the operator's mappings, and no more.
    #[tokio::test]
    async fn a_system_with_the_role_app_sends_batches_by_name_and_starts_no_import() {
        let fixture = Fixture::start();
        let client = fixture.client_as(&[Role::App]);
        let headers = [("content-type", "text/csv"), ("idempotency-key", "k")];
        let send = async |mapping: &str| {
            let path = format!("/api/v1/imports/batches?kind=purchases&mapping={mapping}");
            let body = b"a,b\n1,2\n".to_vec();
            client.send(Method::POST, &path, &headers, Some(body.into())).await.unwrap()
        };
        assert_eq!(send("till").await.status, StatusCode::OK);
        let own = send("format%20%3D%20%22coalition%20import%201%22").await;
        let problem: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
        assert_eq!((own.status.as_u16(), problem["code"].as_str()), (400, Some("mapping_name")));
        // those of the sample take everybody for somebody who has consented
        for shipped in alliance_config::sample::MAPPINGS {
            assert_eq!(send(shipped).await.status, StatusCode::BAD_REQUEST, "{shipped}");
        }
        let json = [("content-type", "application/json")];
        let body = br#"{"sample":{}}"#.to_vec();
        let folder = client.send(Method::POST, "/api/v1/imports", &json, Some(body.into())).await;
        assert_eq!(folder.unwrap().status, StatusCode::FORBIDDEN);
    }
}
