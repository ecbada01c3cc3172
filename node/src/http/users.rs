//! Handlers of `/api/v1/users`: who may sign in, as what, and with what. For the administrator.
//!
//! What changes who may do what is asked for once more: the administrator's password, and a code of the second factor
//! where there is one, whatever session or certificate the request came with. Passwords are made here and shown
//! once; a person's is for one use, a program's (role `app`) is not. All of it is in the operation log, which the officer
//! reads.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::api::Result;
use super::drafts::confirmed;
use super::extract::{Json, Path};
use super::members::asker;
use super::{App, Problem};
use crate::auth::{
    Auth, Authorized, Person, Role, UsersError, generate_password, is_user_name, perm,
};
use crate::service::{Asker, ErrorKind, ServiceError};

/// Somebody who may sign in.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct UserView {
    /// The name.
    user: String,
    /// The roles.
    roles: Vec<Role>,
    /// Whether a second factor is asked for.
    second_factor: bool,
    /// Whether one of the roles may do nothing without one.
    needs_second_factor: bool,
    /// Whether the password was set by an administrator and only lets an own one be set.
    #[serde(default)]
    one_use_password: bool,
    /// How many sessions are open.
    sessions: u64,
    /// How many client certificates are on record.
    certificates: u64,
    /// Until when a database password opens the clean room to SQL clients, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database_until_ms: Option<u64>,
}

impl From<Person> for UserView {
    fn from(person: Person) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            user: person.name,
            roles: person.roles,
            second_factor: person.second_factor,
            needs_second_factor: person.must_have_one,
            one_use_password: person.one_use_password,
            sessions: count(person.sessions),
            certificates: count(person.certificates),
            database_until_ms: person.database_until.map(|seconds| seconds.saturating_mul(1000)),
        }
    }
}

/// A user to be added, with the administrator's own password, and a code of the second factor for who has one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRequest {
    /// The name: 1 to 64 of a-z, 0-9, '.', '_' and '-'.
    user: String,
    /// The roles, at least one.
    roles: Vec<Role>,
    /// The administrator's own password.
    #[schema(format = Password)]
    password: String,
    /// A code that was not used yet, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// A user's roles from now on, with the administrator's own password, and a code of the second factor for who has one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRolesRequest {
    /// The roles, at least one.
    roles: Vec<Role>,
    /// The administrator's own password.
    #[schema(format = Password)]
    password: String,
    /// A code that was not used yet, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// The administrator's own password, and a code of the second factor for who has one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserConfirmation {
    /// The administrator's own password.
    #[schema(format = Password)]
    password: String,
    /// A code that was not used yet, or a recovery code.
    #[serde(default)]
    code: Option<String>,
}

/// A password that was made. Unless the user is a program (role `app`), it is for one use: with it its user sets an own
/// one by `POST /api/v1/password`, and does nothing else.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct MadeUserPassword {
    /// Whose.
    user: String,
    /// It, shown this once.
    #[schema(format = Password)]
    password: String,
}

/// Sessions that were ended.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct EndedSessions {
    /// How many there were.
    ended: u64,
}

/// What is done with a user.
pub(super) enum UserChange {
    /// It comes in, with these roles.
    Add(Vec<Role>),
    /// It has these roles from now on.
    Roles(Vec<Role>),
    /// It gets another password.
    Password,
    /// Its second factor is taken away.
    SecondFactor,
    /// It goes.
    Remove,
}

/// The word that is given once more.
pub(super) struct Confirmation<'a> {
    pub(super) password: &'a str,
    pub(super) code: Option<&'a str>,
}

/// Why the users' file was not changed, in the node's words.
pub(super) fn refused(error: &UsersError) -> ServiceError {
    let (kind, code, remedy) = match error {
        UsersError::Name => (ErrorKind::Refused, "user_name_invalid", "choose such a name"),
        UsersError::NoRole => (ErrorKind::Refused, "user_without_role", "choose one or more"),
        UsersError::Exists => {
            (ErrorKind::Conflict, "user_exists", "choose another name, or change that user")
        }
        UsersError::Unknown => (ErrorKind::NotFound, "user_unknown", "see the list of users"),
        UsersError::LastAdministrator => {
            (ErrorKind::Conflict, "last_administrator", "then do it again")
        }
        error => {
            tracing::error!(error = %error, "the users' file was not changed");
            let remedy = "look in the node's log for the id in x-request-id";
            let what = "this node could not do it";
            return ServiceError::new(ErrorKind::Internal, "internal", what, remedy);
        }
    };
    ServiceError::new(kind, code, error.to_string(), remedy)
}

/// The users' file, on a thread where hashes and a disk keep nobody waiting.
async fn at_users<T: Send + 'static>(
    app: &App,
    change: impl FnOnce(&Auth) -> std::result::Result<T, UsersError> + Send + 'static,
) -> std::result::Result<T, ServiceError> {
    let auth = app.auth.clone();
    let done = tokio::task::spawn_blocking(move || change(&auth)).await;
    done.map_err(|_| ServiceError::stopped())?.map_err(|error| refused(&error))
}

fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}

/// What would be refused whoever asks: it is neither asked for once more nor a deed.
fn known(
    app: &App,
    user: &str,
    change: &UserChange,
) -> std::result::Result<Option<Person>, ServiceError> {
    let person = app.auth.people().into_iter().find(|person| person.name == user);
    let error = match (change, person.is_some()) {
        (UserChange::Add(_), _) if !is_user_name(user) => UsersError::Name,
        (UserChange::Add(_), true) => UsersError::Exists,
        (UserChange::Add(roles) | UserChange::Roles(roles), _) if roles.is_empty() => {
            UsersError::NoRole
        }
        (UserChange::Add(_), false) | (_, true) => return Ok(person),
        (_, false) => UsersError::Unknown,
    };
    Err(refused(&error))
}

/// Does it, on record, when the administrator has given the password once more. Gives the password that was made, if
/// one was.
pub(super) async fn change(
    app: &App,
    by: &Asker,
    user: &str,
    change: UserChange,
    confirmation: Confirmation<'_>,
) -> Result<Option<Zeroizing<String>>> {
    let person = known(app, user, &change)?;
    confirmed(app, &by.user, confirmation.password, confirmation.code).await?;
    let before = person.as_ref().map(|person| names(&person.roles));
    let (done, before, after) = match &change {
        UserChange::Add(roles) => ("added", None, Some(names(roles))),
        UserChange::Roles(roles) => ("other roles", before, Some(names(roles))),
        UserChange::Password => ("another password", None, None),
        UserChange::SecondFactor => ("second factor taken away", None, None),
        UserChange::Remove => ("removed", before, None),
    };
    let name = user.to_owned();
    let work = at_users(app, move |auth| {
        let made = match change {
            UserChange::Add(_) | UserChange::Password => Some(generate_password()?),
            _ => None,
        };
        match (&change, &made) {
            (UserChange::Add(roles), Some(made)) => {
                auth.add_user_for_one_use(&name, roles, made)?
            }
            (UserChange::Password, Some(made)) => auth.set_password_for_one_use(&name, made)?,
            (UserChange::Roles(roles), _) => auth.set_roles(&name, roles)?,
            (UserChange::SecondFactor, _) => auth.remove_second_factor(&name)?,
            (UserChange::Remove, _) => auth.remove_user(&name)?,
            (UserChange::Add(_) | UserChange::Password, None) => return Err(UsersError::Random),
        }
        Ok(made)
    });
    Ok(app.node.record_user_change(by, (user, done), (before, after), work).await?)
}

/// Ends a user's sessions, on record; says how many there were.
pub(super) async fn end_sessions(
    app: &App,
    by: &Asker,
    user: &str,
) -> std::result::Result<usize, ServiceError> {
    // what nobody has is not written down
    if app.auth.people().iter().all(|person| person.name != user) {
        return Err(refused(&UsersError::Unknown));
    }
    let work = async { Ok(app.auth.end_sessions_of(user)) };
    app.node.record_user_change(by, (user, "sessions ended"), (None, None), work).await
}

/// Everybody who may sign in.
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    responses((status = 200, description = "By name", body = [UserView])))]
pub(super) async fn users(
    _: Authorized<perm::ManageUsers>,
    State(app): State<App>,
) -> Json<Vec<UserView>> {
    Json(app.auth.people().into_iter().map(UserView::from).collect())
}

/// Adds a user, under a password that is made and shown this once.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = UserRequest,
    responses((status = 201, description = "Added; note the password", body = MadeUserPassword)))]
pub(super) async fn add_user(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Json(request): Json<UserRequest>,
) -> Result<impl IntoResponse> {
    let UserRequest { user, roles, password, code } = request;
    let confirmation = UserConfirmation { password, code };
    let made = simply(&app, &by, &user, UserChange::Add(roles), confirmation).await?;
    shown_once(user, made)
}

/// Gives a user other roles. Its sessions end.
#[utoipa::path(post, path = "/api/v1/users/{user}/roles", tag = "users", request_body = UserRolesRequest,
    params(("user" = String, Path, description = "The name")),
    responses((status = 204, description = "It has them")))]
pub(super) async fn set_user_roles(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Path(user): Path<String>,
    Json(request): Json<UserRolesRequest>,
) -> Result<StatusCode> {
    let UserRolesRequest { roles, password, code } = request;
    let confirmation = UserConfirmation { password, code };
    simply(&app, &by, &user, UserChange::Roles(roles), confirmation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a user another password, which is made and shown this once. Its sessions end.
#[utoipa::path(post, path = "/api/v1/users/{user}/password", tag = "users", request_body = UserConfirmation,
    params(("user" = String, Path, description = "The name")),
    responses((status = 201, description = "Made; note it", body = MadeUserPassword)))]
pub(super) async fn replace_user_password(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Path(user): Path<String>,
    Json(request): Json<UserConfirmation>,
) -> Result<impl IntoResponse> {
    let made = simply(&app, &by, &user, UserChange::Password, request).await?;
    shown_once(user, made)
}

/// Takes a user's second factor away, for whoever has lost program and recovery codes. Its sessions end.
#[utoipa::path(post, path = "/api/v1/users/{user}/second-factor-removal", tag = "users", request_body = UserConfirmation,
    params(("user" = String, Path, description = "The name")),
    responses((status = 204, description = "It signs in by the password alone until it sets up another")))]
pub(super) async fn remove_user_second_factor(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Path(user): Path<String>,
    Json(request): Json<UserConfirmation>,
) -> Result<StatusCode> {
    simply(&app, &by, &user, UserChange::SecondFactor, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a user out. Its sessions end; the last administrator stays.
#[utoipa::path(post, path = "/api/v1/users/{user}/removal", tag = "users", request_body = UserConfirmation,
    params(("user" = String, Path, description = "The name")),
    responses((status = 204, description = "It may sign in no more")))]
pub(super) async fn remove_user(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Path(user): Path<String>,
    Json(request): Json<UserConfirmation>,
) -> Result<StatusCode> {
    simply(&app, &by, &user, UserChange::Remove, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a user's sessions. What the user may do does not change.
#[utoipa::path(delete, path = "/api/v1/users/{user}/sessions", tag = "users",
    params(("user" = String, Path, description = "The name")),
    responses((status = 200, description = "How many were ended", body = EndedSessions)))]
pub(super) async fn end_user_sessions(
    by: Authorized<perm::ManageUsers>,
    State(app): State<App>,
    Path(user): Path<String>,
) -> Result<Json<EndedSessions>> {
    let ended = end_sessions(&app, &asker(&by), &user).await?;
    Ok(Json(EndedSessions { ended: u64::try_from(ended).unwrap_or(u64::MAX) }))
}

async fn simply(
    app: &App,
    by: &Authorized<perm::ManageUsers>,
    user: &str,
    what: UserChange,
    request: UserConfirmation,
) -> Result<Option<Zeroizing<String>>> {
    let UserConfirmation { password, code } = request;
    let password = Zeroizing::new(password);
    let confirmation = Confirmation { password: &password, code: code.as_deref() };
    change(app, &asker(by), user, what, confirmation).await
}

fn shown_once(user: String, made: Option<Zeroizing<String>>) -> Result<impl IntoResponse> {
    let made = made.ok_or_else(Problem::internal)?;
    let view = MadeUserPassword { user, password: made.to_string() };
    Ok((StatusCode::CREATED, Json(view)))
}
