//! This brand's log as C2SP tlog-tiles has it: `/checkpoint` and `/tile/…`, with the certificates
//! beside them. Public: what is in these files is sealed, and anyone may verify the rest.
//!
//! A path is parsed into a tile's name and the file's name is made from that, so no request can name
//! another file. Not compressed; whole files only; 304 to who has the file as it is.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use protocol::audit::{
    ARCHIVED_FILE, CERTIFICATES_FILE, CHECKPOINT_FILE, WITNESSED_FILE, parse_archived,
};
use protocol::log::tiles::{TILE_WIDTH, TileKind, TilePath};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, Take};

use super::{App, Problem, conditional};

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Changes with each block.
const FRESH: &str = "no-cache";
/// A full tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// A partial tile never changes either, and goes once the full one is there.
const FOR_A_WHILE: &str = "public, max-age=3600";

const CHUNK: usize = 64 * 1024;

/// The latest signed tree head.
#[utoipa::path(get, path = "/checkpoint", tag = "log", responses(
    (status = 200, description = "A C2SP checkpoint with cosignatures", body = String, content_type = "text/plain")))]
pub(super) async fn checkpoint(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    file(app.node.published().join(CHECKPOINT_FILE), TEXT, FRESH, &headers).await
}

/// The newest tree head that a witness outside the alliance has signed.
#[utoipa::path(get, path = "/checkpoint.witnessed", tag = "log", responses(
    (status = 200, description = "A C2SP checkpoint with cosignatures", body = String, content_type = "text/plain")))]
pub(super) async fn witnessed(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    file(app.node.published().join(WITNESSED_FILE), TEXT, FRESH, &headers).await
}

/// Certificates of all blocks of this log.
#[utoipa::path(get, path = "/certificates", tag = "log", responses(
    (status = 200, description = "As protocol/spec describes", content_type = "application/octet-stream")))]
pub(super) async fn certificates(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    file(app.node.published().join(CERTIFICATES_FILE), BYTES, FRESH, &headers).await
}

/// A tile of hashes or a bundle of entries.
#[utoipa::path(get, path = "/tile/{*path}", tag = "log",
    params(("path" = String, Path, description = "LEVEL/INDEX[.p/WIDTH] or entries/INDEX[.p/WIDTH], as in C2SP tlog-tiles")),
    responses((status = 200, description = "The tile", content_type = "application/octet-stream")))]
pub(super) async fn tile(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // as it was sent: an escaped character is no part of a tile's name
    let name = uri.path().trim_start_matches('/');
    let name: TilePath = name.parse().map_err(|error: protocol::log::tiles::InvalidTilePath| {
        let remedy = "see C2SP tlog-tiles for the names of tiles";
        Problem::new(StatusCode::BAD_REQUEST, "tile_path_invalid", error.to_string(), remedy)
    })?;
    let caching = if name.is_full() { FOR_EVER } else { FOR_A_WHILE };
    let path = app.node.published().join(name.to_string());
    if name.kind() == TileKind::Entries && !fs::try_exists(&path).await.unwrap_or(true) {
        let marker = fs::read(app.node.published().join(ARCHIVED_FILE)).await;
        let archived = marker.ok().and_then(|marker| parse_archived(&marker)).unwrap_or(0);
        if name.index() < archived / u64::from(TILE_WIDTH) {
            return Err(gone());
        }
    }
    file(path, BYTES, caching, &headers).await
}

async fn file(
    path: PathBuf,
    kind: &str,
    caching: &str,
    asked: &HeaderMap,
) -> Result<Response, Problem> {
    let opened = match File::open(&path).await {
        Ok(file) => file.metadata().await.map(|metadata| (file, metadata)),
        Err(error) => Err(error),
    };
    let (file, length, tag) = match opened {
        Ok((file, metadata)) if metadata.is_file() => {
            (file, metadata.len(), conditional::file_tag(&metadata))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!(kind = ?error.kind(), "a file of the published log cannot be read");
            return Err(Problem::internal());
        }
        _ => return Err(not_published()),
    };
    let tag = tag.map(|tag| [(header::ETAG, tag)]);
    if tag.iter().flatten().any(|(_, tag)| conditional::is_known(asked, tag)) {
        let caching = [(header::CACHE_CONTROL, caching)];
        return Ok((StatusCode::NOT_MODIFIED, tag, caching).into_response());
    }
    // a file that grows meanwhile is sent as long as it was
    let body = Body::from_stream(stream::try_unfold(file.take(length), chunk));
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_LENGTH, &length.to_string()),
    ];
    Ok((tag, headers, body).into_response())
}

async fn chunk(mut file: Take<File>) -> std::io::Result<Option<(Bytes, Take<File>)>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let read = file.read_buf(&mut chunk).await?;
    Ok((read > 0).then(|| (Bytes::from(chunk), file)))
}

fn gone() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "archived",
        "these entries were archived after the constitution's retention",
        "hash tiles, certificates and checkpoint are still served and prove them; ask the brand for its archive",
    )
}

fn not_published() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_published",
        "this log has no such file",
        "read /checkpoint for the size published; a partial tile goes once the full one is there",
    )
}
