//! The administrator's page: users, keys, backups, constitutions; its forms do what the API's routes do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::members::asker;
use super::pages::{SameOrigin, rendered};
use super::users::end_sessions;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Role, perm};
use crate::console::{Administered, AdministrationViews, administration_page};
use crate::service::{Asker, BackupRequest, ServiceError};

/// Who may use the page.
pub(super) type Administrator = Visitor<perm::UseAdministrationPage>;

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum AdministrationForm {
    /// Backs the node's data up into a new folder of its machine.
    BackUp { folder: String },
    /// Makes a new sealing key before its month is over.
    TurnSealingKey,
    /// Begins to rotate the vault's key.
    RotateVaultKey,
    /// Reads the files of constitutions again.
    ReadConstitutions,
    /// Ends a user's sessions.
    EndSessions { user: String },
}

/// Users, keys, the latest backup and import, constitutions.
#[utoipa::path(get, path = "/administration", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn administration(
    State(app): State<App>,
    visitor: Administrator,
) -> Result<Response, Problem> {
    shown(&app, &visitor, AdministrationViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/administration", tag = "console",
    request_body(content = AdministrationForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn administration_form(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    Form(form): Form<AdministrationForm>,
) -> Result<Response, Problem> {
    let mut views = AdministrationViews::default();
    match done(&app, &asker(&visitor.proof), form).await {
        Ok(done) => views.done = Some(done),
        Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
    }
    shown(&app, &visitor, views).await
}

async fn done(
    app: &App,
    by: &Asker,
    form: AdministrationForm,
) -> Result<Administered, ServiceError> {
    Ok(match form {
        AdministrationForm::BackUp { folder } => {
            app.node.back_up(BackupRequest { folder: folder.trim().to_owned() }).await?;
            Administered::BackUp
        }
        AdministrationForm::TurnSealingKey => {
            app.node.turn_sealing_key().await?;
            Administered::SealingKey
        }
        AdministrationForm::RotateVaultKey => {
            app.node.rotate_vault_key(by).await?;
            Administered::VaultKey
        }
        AdministrationForm::ReadConstitutions => {
            app.node.read_constitutions().await?;
            Administered::Constitutions
        }
        AdministrationForm::EndSessions { user } => {
            Administered::Sessions(end_sessions(app, by, user.trim()).await?)
        }
    })
}

/// The page with what was done, or why it was not.
pub(super) async fn shown(
    app: &App,
    visitor: &Administrator,
    views: AdministrationViews,
) -> Result<Response, Problem> {
    let tls = app.tls.current();
    let of_clients = tls.client_authorities();
    // a file that cannot be read is told, and hides nothing else
    let (drafts, unread) = match app.node.drafts().await {
        Ok(drafts) => (drafts, None),
        Err(error) => (Vec::new(), Some(Problem::from(error).words(visitor.language))),
    };
    let people = app.auth.people();
    let own = people.iter().find(|person| person.name == visitor.proof.user());
    let views = AdministrationViews {
        has_second_factor: own.is_some_and(|own| own.second_factor),
        drafts,
        problem: views.problem.or(unread),
        certificate_ends_ms: tls.ends.saturating_mul(1000),
        client_authorities: of_clients.map(|(count, ends)| (count, ends.saturating_mul(1000))),
        shown_ends_ms: app.tls.first_shown_end().map(|ends| ends.saturating_mul(1000)),
        status: app.node.status(),
        people,
        roles: Role::ALL.map(|role| role.name()).to_vec(),
        sealing_keys: app.node.sealing_keys().await?,
        rotation: app.node.rotation().await?,
        backup: app.node.backup_progress().await?,
        import: app.node.import_progress().await?,
        constitutions: app.node.constitutions().await?,
        ..views
    };
    let page = administration_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
