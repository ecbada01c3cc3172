//! The page of one draft of the next constitution, and the forms about drafts; they do what the API's routes do.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::administration_pages::{self, Administrator};
use super::drafts::{TOML, confirmed};
use super::extract::{Form, Path};
use super::members::asker;
use super::multipart::Files;
use super::pages::{SameOrigin, rendered};
use super::{App, Problem};
use crate::console::{Administered, AdministrationViews, DraftDone, DraftViews, draft_page};
use crate::service::DraftRequest;

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum DraftForm {
    /// Signs the draft with this brand's key.
    Sign(DraftConfirmationForm),
    /// Says in this brand's log that it adopts the draft.
    Adopt(DraftConfirmationForm),
    /// Says in this brand's log that it does not.
    Decline(DraftConfirmationForm),
    /// Forgets the draft.
    Remove,
}

/// Who it is, asked once more.
#[derive(Deserialize, ToSchema)]
pub(super) struct DraftConfirmationForm {
    #[schema(format = Password)]
    password: String,
    /// Of the second factor; empty for who has none.
    #[serde(default)]
    code: String,
}

/// The files of an upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form, which is read part by part")]
pub(super) struct DraftUpload {
    /// `constitution.toml`, as its author sent it.
    #[schema(value_type = Option<String>, format = Binary)]
    constitution: Option<Vec<u8>>,
    /// `constitution.signatures`, or one brand's part of it.
    #[schema(value_type = Option<String>, format = Binary)]
    signatures: Option<Vec<u8>>,
}

/// One draft: what it changes, who has signed, and the forms to sign it and to decide.
#[utoipa::path(get, path = "/administration/drafts/{hash}", tag = "console",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft(
    State(app): State<App>,
    visitor: Administrator,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, hash, DraftViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/administration/drafts/{hash}", tag = "console",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    request_body(content = DraftForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft_form(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    Path(hash): Path<String>,
    Form(form): Form<DraftForm>,
) -> Result<Response, Problem> {
    let mut views = DraftViews::default();
    match done(&app, &visitor, hash.clone(), form).await {
        Ok(None) => {
            let views = AdministrationViews {
                done: Some(Administered::DraftRemoved),
                ..AdministrationViews::default()
            };
            return administration_pages::shown(&app, &visitor, views).await;
        }
        Ok(done) => views.done = done,
        Err(problem) => views.problem = Some(problem.words(visitor.language)),
    }
    shown(&app, &visitor, hash, views).await
}

async fn ask(
    app: &App,
    visitor: &Administrator,
    given: &DraftConfirmationForm,
) -> Result<(), Problem> {
    confirmed(app, visitor.proof.user(), &given.password, Some(&given.code)).await
}

/// What was done; none when the draft is gone.
async fn done(
    app: &App,
    visitor: &Administrator,
    hash: String,
    form: DraftForm,
) -> Result<Option<DraftDone>, Problem> {
    let by = asker(&visitor.proof);
    Ok(Some(match form {
        DraftForm::Sign(given) => {
            ask(app, visitor, &given).await?;
            app.node.sign_draft(&by, hash).await?;
            DraftDone::Signed
        }
        DraftForm::Adopt(given) => {
            ask(app, visitor, &given).await?;
            app.node.decide_draft(&by, hash, true).await?;
            DraftDone::Adopted
        }
        DraftForm::Decline(given) => {
            ask(app, visitor, &given).await?;
            app.node.decide_draft(&by, hash, false).await?;
            DraftDone::Declined
        }
        DraftForm::Remove => {
            app.node.remove_draft(hash).await?;
            return Ok(None);
        }
    }))
}

/// Keeps an uploaded draft, and shows its page; or the page of the form, with why not.
#[utoipa::path(post, path = "/administration/drafts", tag = "console",
    request_body(content = DraftUpload, content_type = "multipart/form-data"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft_upload(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    files: Result<Files, Problem>,
) -> Result<Response, Problem> {
    match kept(&app, files).await {
        Ok(hash) => {
            let views = DraftViews { done: Some(DraftDone::Kept), ..DraftViews::default() };
            shown(&app, &visitor, hash, views).await
        }
        Err(problem) => {
            let problem = Some(problem.words(visitor.language));
            let views = AdministrationViews { problem, ..AdministrationViews::default() };
            administration_pages::shown(&app, &visitor, views).await
        }
    }
}

/// Keeps a draft; gives its hash.
async fn kept(app: &App, files: Result<Files, Problem>) -> Result<String, Problem> {
    let files = files?;
    let constitution = files.text("constitution")?.ok_or_else(no_file)?;
    let request = DraftRequest { constitution, signatures: files.text("signatures")? };
    Ok(app.node.keep_draft(request).await?.hash)
}

/// Puts uploaded signatures under a draft, and shows the page again.
#[utoipa::path(post, path = "/administration/drafts/{hash}/signatures", tag = "console",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    request_body(content = DraftUpload, content_type = "multipart/form-data"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft_signatures_upload(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    Path(hash): Path<String>,
    files: Result<Files, Problem>,
) -> Result<Response, Problem> {
    let added = async {
        let signatures = files?.text("signatures")?.ok_or_else(no_file)?;
        app.node.add_draft_signatures(hash.clone(), signatures).await?;
        Ok::<(), Problem>(())
    };
    let views = match added.await {
        Ok(()) => DraftViews { done: Some(DraftDone::SignaturesAdded), ..DraftViews::default() },
        Err(problem) => {
            DraftViews { problem: Some(problem.words(visitor.language)), ..DraftViews::default() }
        }
    };
    shown(&app, &visitor, hash, views).await
}

fn no_file() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "file_missing",
        "no file was chosen, or it is empty / 未选择文件，或文件为空",
        "choose the file as its author sent it / 请选择作者发来的原文件",
    )
}

/// The file of a draft, its very bytes.
#[utoipa::path(get, path = "/administration/drafts/{hash}/constitution", tag = "console",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 200, description = "constitution.toml", body = String, content_type = "application/toml"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft_file(
    State(app): State<App>,
    _: Administrator,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let files = app.node.draft_files(hash).await?;
    Ok(attached("constitution.toml", files.constitution))
}

/// The signatures under a draft that are here, to be handed on.
#[utoipa::path(get, path = "/administration/drafts/{hash}/signatures", tag = "console",
    params(("hash" = String, Path, description = "64 hex digits: SHA-256 of its file")),
    responses((status = 200, description = "constitution.signatures", body = String, content_type = "application/toml"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn draft_signatures_file(
    State(app): State<App>,
    _: Administrator,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let files = app.node.draft_files(hash).await?;
    Ok(attached("constitution.signatures", files.signatures))
}

fn attached(name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers =
        [(header::CONTENT_TYPE, TOML.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, text).into_response()
}

async fn shown(
    app: &App,
    visitor: &Administrator,
    hash: String,
    views: DraftViews,
) -> Result<Response, Problem> {
    let views = DraftViews {
        status: app.node.status(),
        draft: app.node.draft(hash).await?,
        has_second_factor: app
            .auth
            .people()
            .iter()
            .any(|person| person.name == visitor.proof.user() && person.second_factor),
        ..views
    };
    let page = draft_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
