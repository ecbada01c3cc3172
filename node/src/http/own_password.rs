//! The own password: the API's route and the page, on which whoever has one of somebody else's sets an own one.
//!
//! The same for everybody who wants another: the present one is given once more, the sessions end, and it is in the
//! operation log.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::api::Result;
use super::extract::{Form, Json};
use super::members::asker;
use super::pages::{SameOrigin, rendered};
use super::users::refused as users_refused;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{AuthError, Authorized, OwnPasswordError, UsersError, perm};
use crate::console::{self, OwnPasswordViews};
use crate::service::{Asker, ErrorKind, ServiceError};

/// The own password from now on.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPasswordRequest {
    /// The present one.
    #[schema(format = Password)]
    pub password: String,
    /// The one in its place: 12 to 256 bytes, another than the present one.
    #[schema(format = Password)]
    pub new_password: String,
}

/// The fields of the page.
#[derive(Deserialize, ToSchema)]
pub(super) struct OwnPasswordForm {
    /// The present one.
    #[schema(format = Password)]
    password: String,
    /// The one in its place.
    #[schema(format = Password)]
    new_password: String,
    /// It once more.
    #[schema(format = Password)]
    again: String,
}

/// Why no other password is set. The session is good all the same: a wrong password is no 401, which would end it in
/// clients.
fn not_set(error: OwnPasswordError) -> Problem {
    let refused = |code, detail: String, remedy: &str| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail, remedy)
    };
    match error {
        OwnPasswordError::Auth(AuthError::LoginRefused) => refused(
            "confirmation_refused",
            "the password is not this user's: nothing was done / 口令不符，未执行".to_owned(),
            "enter the password with which you sign in / 请输入登录口令",
        ),
        OwnPasswordError::Auth(error) => error.into(),
        OwnPasswordError::Same => {
            refused("password_same", error.to_string(), "choose another one than the present")
        }
        OwnPasswordError::Users(UsersError::Password(error)) => {
            refused("password_length", error.to_string(), "choose a longer or a shorter one")
        }
        OwnPasswordError::Users(error) => users_refused(&error).into(),
    }
}

/// Why what was checked was not set after all.
fn too_late(error: &UsersError) -> ServiceError {
    match error {
        // somebody else was faster
        UsersError::Unknown => ServiceError::new(
            ErrorKind::Refused,
            "confirmation_refused",
            "the password was changed meanwhile: nothing was done / 口令已被更改，未执行",
            "sign in again / 请重新登录",
        ),
        error => users_refused(error),
    }
}

/// Sets it, on record, when the present one is right.
async fn set(app: &App, by: &Asker, present: &str, own: &str) -> Result<()> {
    let checked = app.auth.check_own_password(&by.user, present, own).await;
    let checked = checked.map_err(not_set)?;
    let auth = app.auth.clone();
    let work = async move {
        let done = tokio::task::spawn_blocking(move || auth.take_own_password(checked)).await;
        done.map_err(|_| ServiceError::stopped())?.map_err(|error| too_late(&error))
    };
    let deed = (by.user.as_str(), "own password set");
    app.node.record_user_change(by, deed, (None, None), work).await?;
    Ok(())
}

/// Sets the caller's own password. Ends the caller's sessions.
///
/// A password that an administrator has set is for one use: until its user has set an own one here, every other route
/// answers with `password_one_use`.
#[utoipa::path(post, path = "/api/v1/password", tag = "sessions", request_body = OwnPasswordRequest,
    responses((status = 204, description = "Set; sign in again with it")))]
pub(super) async fn set_own_password(
    by: Authorized<perm::SetOwnPassword>,
    State(app): State<App>,
    Json(request): Json<OwnPasswordRequest>,
) -> Result<StatusCode> {
    let OwnPasswordRequest { password, new_password } = request;
    let (present, own) = (Zeroizing::new(password), Zeroizing::new(new_password));
    set(&app, &asker(&by), &present, &own).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The page on which the own password is set.
#[utoipa::path(get, path = "/password", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn own_password_page(
    State(app): State<App>,
    visitor: Visitor<perm::SetOwnPassword>,
) -> Result<Response> {
    shown(&app, &visitor, OwnPasswordViews::default())
}

/// Sets the own password, which ends the own sessions.
#[utoipa::path(post, path = "/password", tag = "console",
    request_body(content = OwnPasswordForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first, or again")))]
pub(super) async fn own_password_form(
    State(app): State<App>,
    visitor: Visitor<perm::SetOwnPassword>,
    _: SameOrigin,
    Form(form): Form<OwnPasswordForm>,
) -> Result<Response> {
    let OwnPasswordForm { password, new_password, again } = form;
    let (present, own) = (Zeroizing::new(password), Zeroizing::new(new_password));
    let again = Zeroizing::new(again);
    if own != again {
        let views = OwnPasswordViews { is_other_again: true, ..OwnPasswordViews::default() };
        return shown(&app, &visitor, views);
    }
    match set(&app, &asker(&visitor.proof), &present, &own).await {
        Ok(()) => {
            let path = format!("/sign-in?lang={}", visitor.language.tag());
            Ok(Redirect::to(&path).into_response())
        }
        Err(problem) => {
            let problem = Some(problem.words(visitor.language));
            shown(&app, &visitor, OwnPasswordViews { problem, ..OwnPasswordViews::default() })
        }
    }
}

fn shown(
    app: &App,
    visitor: &Visitor<perm::SetOwnPassword>,
    views: OwnPasswordViews,
) -> Result<Response> {
    let people = app.auth.people();
    let person = people.iter().find(|person| person.name == visitor.proof.user());
    let is_one_use = person.is_some_and(|person| person.one_use_password);
    let views = OwnPasswordViews { is_one_use, ..views };
    let (status, language) = (app.node.status(), visitor.language);
    let page =
        console::own_password_page(&status, &views, language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
