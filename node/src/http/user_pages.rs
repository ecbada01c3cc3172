//! The page of one user, and the form that adds one; they do what the API's routes do.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::administration_pages::{self, Administrator};
use super::extract::{Form, Path};
use super::members::asker;
use super::pages::{SameOrigin, rendered};
use super::users::{Confirmation, UserChange, change, end_sessions};
use super::{App, Problem};
use crate::auth::Role;
use crate::console::{AdministrationViews, MadePassword, RoleBox, UserDone, UserViews, user_page};

/// A browser sends the boxes that are ticked, each under the name of its role.
fn ticked(boxes: &BTreeMap<String, String>) -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| boxes.contains_key(role.name())).collect()
}

/// A user to be added.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewUserForm {
    user: String,
    /// The administrator's own.
    #[schema(format = Password)]
    password: String,
    /// Of the second factor; empty for who has none.
    #[serde(default)]
    code: String,
    /// A field for each role, by its name.
    #[serde(flatten)]
    roles: BTreeMap<String, String>,
}

/// What a form of the page asks for.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum UserAction {
    /// Gives the user the ticked roles.
    Roles,
    /// Makes another password.
    Password,
    /// Takes the second factor away.
    SecondFactor,
    /// Takes the user out.
    Remove,
    /// Ends the sessions, which needs no password.
    EndSessions,
}

/// One of the buttons, with the boxes and the word that are on the same form.
#[derive(Deserialize, ToSchema)]
pub(super) struct UserForm {
    action: UserAction,
    /// The administrator's own.
    #[serde(default)]
    #[schema(format = Password)]
    password: String,
    /// Of the second factor; empty for who has none.
    #[serde(default)]
    code: String,
    /// A field for each role, by its name.
    #[serde(flatten)]
    roles: BTreeMap<String, String>,
}

/// One user: roles, ways in, and the forms to change them.
#[utoipa::path(get, path = "/administration/users/{user}", tag = "console",
    params(("user" = String, Path, description = "The name")), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn user(
    State(app): State<App>,
    visitor: Administrator,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, user, UserViews::default())
}

/// Adds a user, and shows its page with the password, this once.
#[utoipa::path(post, path = "/administration/users", tag = "console",
    request_body(content = NewUserForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn user_added(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    Form(form): Form<NewUserForm>,
) -> Result<Response, Problem> {
    let NewUserForm { user, roles, password, code } = form;
    let (user, password) = (user.trim().to_owned(), Zeroizing::new(password));
    let confirmation = Confirmation { password: &password, code: Some(&code) };
    let add = UserChange::Add(ticked(&roles));
    match change(&app, &asker(&visitor.proof), &user, add, confirmation).await {
        Ok(made) => {
            let (password, done) = (made.map(MadePassword), Some(UserDone::Added));
            shown(&app, &visitor, user, UserViews { password, done, ..UserViews::default() })
        }
        Err(problem) => {
            let problem = Some(problem.words(visitor.language));
            let views = AdministrationViews { problem, ..AdministrationViews::default() };
            administration_pages::shown(&app, &visitor, views).await
        }
    }
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/administration/users/{user}", tag = "console",
    params(("user" = String, Path, description = "The name")),
    request_body(content = UserForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn user_form(
    State(app): State<App>,
    visitor: Administrator,
    _: SameOrigin,
    Path(user): Path<String>,
    Form(form): Form<UserForm>,
) -> Result<Response, Problem> {
    let by = asker(&visitor.proof);
    let UserForm { action, roles, password, code } = form;
    let password = Zeroizing::new(password);
    let confirmation = Confirmation { password: &password, code: Some(&code) };
    let (asked, done) = match action {
        UserAction::Roles => (UserChange::Roles(ticked(&roles)), UserDone::Roles),
        UserAction::Password => (UserChange::Password, UserDone::Password),
        UserAction::SecondFactor => (UserChange::SecondFactor, UserDone::SecondFactor),
        UserAction::Remove => (UserChange::Remove, UserDone::Removed),
        UserAction::EndSessions => {
            let views = match end_sessions(&app, &by, &user).await {
                Ok(count) => {
                    UserViews { done: Some(UserDone::Sessions(count)), ..UserViews::default() }
                }
                Err(error) => refused(&visitor, &error.into()),
            };
            return shown(&app, &visitor, user, views);
        }
    };
    let views = match change(&app, &by, &user, asked, confirmation).await {
        Ok(made) => {
            let password = made.map(MadePassword);
            UserViews { password, done: Some(done), ..UserViews::default() }
        }
        Err(problem) => refused(&visitor, &problem),
    };
    shown(&app, &visitor, user, views)
}

fn refused(visitor: &Administrator, problem: &Problem) -> UserViews {
    UserViews { problem: Some(problem.words(visitor.language)), ..UserViews::default() }
}

fn shown(
    app: &App,
    visitor: &Administrator,
    name: String,
    views: UserViews,
) -> Result<Response, Problem> {
    let people = app.auth.people();
    let of = |name: &str| people.iter().find(|person| person.name == name).cloned();
    let person = of(&name);
    let has = |role: &Role| person.as_ref().is_some_and(|person| person.roles.contains(role));
    let roles = Role::ALL.map(|role| RoleBox { name: role.name(), is_ticked: has(&role) });
    let views = UserViews {
        status: app.node.status(),
        has_second_factor: of(visitor.proof.user()).is_some_and(|own| own.second_factor),
        roles: roles.to_vec(),
        person,
        name,
        ..views
    };
    let page = user_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
