//! Handlers of `/api/v1/constitutions/drafts`: what a draft changes, who has signed, this brand's signature and word.
//!
//! To sign and to decide binds the brand: who does it is asked once more for the password, and for a code of the
//! second factor where there is one, whatever session or certificate the request came with.

use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::extract::{Json, Path};
use super::members::asker;
use super::{App, Problem};
use crate::auth::{AuthError, Authorized, perm};
use crate::service::{DraftRequest, DraftSignaturesRequest, DraftView};

/// Most bytes of a draft with its signatures in JSON, where a line's end and a quote take two.
const DRAFT_BYTES_MAX: usize = 2 * 1024 * 1024;

type Result<T, E = Problem> = std::result::Result<T, E>;

/// The user's password, and a code of the second factor for who has one: asked once more before a weighty act.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftConfirmation {
    /// The user's password.
    #[schema(format = Password)]
    password: String,
    /// A code that was not used yet, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// What this brand says of a draft, with the user's password, and a code of the second factor for who has one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftDecisionRequest {
    /// Whether it adopts the draft. A log says it once.
    adopts: bool,
    /// The user's password.
    #[schema(format = Password)]
    password: String,
    /// A code that was not used yet, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// Asks once more who it is. The session is good all the same: a wrong password is no 401, which would end it in
/// clients.
pub(super) async fn confirmed(
    app: &App,
    user: &str,
    password: &str,
    code: Option<&str>,
) -> Result<()> {
    let code = code.map(str::trim).filter(|code| !code.is_empty());
    let refused = |code, detail: &str, remedy: &str| {
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail, remedy))
    };
    match app.auth.confirm(user, password, code).await {
        Ok(()) => Ok(()),
        Err(AuthError::LoginRefused) => refused(
            "confirmation_refused",
            "the password is not this user's: nothing was done / 口令不符，未执行",
            "enter the password with which you sign in / 请输入登录口令",
        ),
        Err(AuthError::CodeNeeded) => refused(
            "confirmation_code_needed",
            "this user has a second factor: nothing was done / 该用户设有第二因素，未执行",
            "enter the code that the authenticator shows, too / 请同时输入验证器所示验证码",
        ),
        Err(AuthError::CodeWrong) => refused(
            "confirmation_code_wrong",
            "the code is wrong, too old, or was used already: nothing was done / 验证码有误、过期或已用过，未执行",
            "wait for the next code: the one of the sign-in is used up / 请等待下一个验证码：登录所用的已失效",
        ),
        Err(error) => Err(error.into()),
    }
}

/// A body in JSON that may hold a whole constitution.
pub(super) struct DraftBody<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for DraftBody<T> {
    type Rejection = Problem;
    async fn from_request(mut request: Request, state: &S) -> Result<Self> {
        DefaultBodyLimit::max(DRAFT_BYTES_MAX).apply(&mut request);
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(problem) if problem.status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() => {
                Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("the body has more than {DRAFT_BYTES_MAX} bytes"),
                    "a constitution has at most 1 MiB, its signatures 64 KiB",
                ))
            }
            Err(problem) => Err(problem),
        }
    }
}

/// Drafts of the next constitution: what each changes, who has signed and adopted it.
#[utoipa::path(get, path = "/api/v1/constitutions/drafts", tag = "constitutions",
    responses((status = 200, description = "The drafts, by their numbers", body = [DraftView])))]
pub(super) async fn constitution_drafts(
    _: Authorized<perm::ReadConstitutions>,
    State(app): State<App>,
) -> Result<Json<Vec<DraftView>>> {
    Ok(Json(app.node.drafts().await?))
}

/// Keeps a draft of the next constitution to look at; one that is here already takes up the signatures. Binds nobody.
#[utoipa::path(post, path = "/api/v1/constitutions/drafts", tag = "constitutions", request_body = DraftRequest,
    responses((status = 201, description = "Kept", body = DraftView)))]
pub(super) async fn upload_draft(
    _: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
    DraftBody(request): DraftBody<DraftRequest>,
) -> Result<impl IntoResponse> {
    let view = app.node.keep_draft(request).await?;
    let location = [(header::LOCATION, format!("/api/v1/constitutions/drafts/{}", view.hash))];
    Ok((StatusCode::CREATED, location, Json(view)))
}

/// One draft.
#[utoipa::path(get, path = "/api/v1/constitutions/drafts/{hash}", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 200, description = "The draft", body = DraftView)))]
pub(super) async fn constitution_draft(
    _: Authorized<perm::ReadConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<Json<DraftView>> {
    Ok(Json(app.node.draft(hash).await?))
}

/// Forgets a draft that this brand has not taken.
#[utoipa::path(delete, path = "/api/v1/constitutions/drafts/{hash}", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn remove_draft(
    _: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<StatusCode> {
    app.node.remove_draft(hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The file of a draft, its very bytes, to be handed on.
#[utoipa::path(get, path = "/api/v1/constitutions/drafts/{hash}/constitution", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 200, description = "constitution.toml", body = String, content_type = "application/toml")))]
pub(super) async fn draft_constitution(
    _: Authorized<perm::ReadConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<impl IntoResponse> {
    Ok(([(header::CONTENT_TYPE, TOML)], app.node.draft_files(hash).await?.constitution))
}

/// The signatures under a draft that are here, this brand's among them once it has signed, to be handed on.
#[utoipa::path(get, path = "/api/v1/constitutions/drafts/{hash}/signatures", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 200, description = "constitution.signatures", body = String, content_type = "application/toml")))]
pub(super) async fn draft_signatures(
    _: Authorized<perm::ReadConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<impl IntoResponse> {
    Ok(([(header::CONTENT_TYPE, TOML)], app.node.draft_files(hash).await?.signatures))
}

/// Puts signatures under a draft: all of them, or none when one does not hold.
#[utoipa::path(post, path = "/api/v1/constitutions/drafts/{hash}/signatures", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    request_body = DraftSignaturesRequest,
    responses((status = 200, description = "Who has signed now", body = DraftView)))]
pub(super) async fn add_draft_signatures(
    _: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
    DraftBody(request): DraftBody<DraftSignaturesRequest>,
) -> Result<Json<DraftView>> {
    Ok(Json(app.node.add_draft_signatures(hash, request.signatures).await?))
}

/// Signs a draft with this brand's governance key, after the password was given once more. On the record of
/// operations.
#[utoipa::path(post, path = "/api/v1/constitutions/drafts/{hash}/signature", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    request_body = DraftConfirmation,
    responses((status = 200, description = "Signed", body = DraftView)))]
pub(super) async fn sign_draft(
    by: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
    Json(request): Json<DraftConfirmation>,
) -> Result<Json<DraftView>> {
    confirmed(&app, by.user(), &request.password, request.code.as_deref()).await?;
    Ok(Json(app.node.sign_draft(&asker(&by), hash).await?))
}

/// Takes a draft and says in this brand's log whether it adopts it, after the password was given once more. On the
/// record of operations, and for every brand to see; a log says it once.
#[utoipa::path(post, path = "/api/v1/constitutions/drafts/{hash}/decision", tag = "constitutions",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    request_body = DraftDecisionRequest,
    responses((status = 202, description = "On its way into the log", body = DraftView)))]
pub(super) async fn decide_draft(
    by: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
    Path(hash): Path<String>,
    Json(request): Json<DraftDecisionRequest>,
) -> Result<impl IntoResponse> {
    confirmed(&app, by.user(), &request.password, request.code.as_deref()).await?;
    let view = app.node.decide_draft(&asker(&by), hash, request.adopts).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// The media type of both files.
pub(super) const TOML: &str = "application/toml";
