//! The page of the own second factor; its forms do what the API's routes do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::pages::{SameOrigin, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{self, SecondFactorViews};

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum SecondFactorForm {
    /// Makes one, in place of one that is not in use.
    Begin,
    /// Takes it into use.
    Confirm {
        /// The code that the authenticator shows.
        code: String,
    },
}

/// Whether the own second factor is in use, and how to set it up.
#[utoipa::path(get, path = "/second-factor", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn second_factor_page(
    State(app): State<App>,
    visitor: Visitor<perm::SetUpSecondFactor>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, SecondFactorViews::default())
}

/// Makes the own second factor, or takes it into use, which ends the own sessions.
#[utoipa::path(post, path = "/second-factor", tag = "console",
    request_body(content = SecondFactorForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first, or again")))]
pub(super) async fn second_factor_form(
    State(app): State<App>,
    visitor: Visitor<perm::SetUpSecondFactor>,
    _: SameOrigin,
    Form(form): Form<SecondFactorForm>,
) -> Result<Response, Problem> {
    let (auth, user) = (app.auth.clone(), visitor.proof.user().to_owned());
    let mut views = SecondFactorViews::default();
    match form {
        SecondFactorForm::Begin => {
            let made = tokio::task::spawn_blocking(move || auth.set_up_second_factor(&user)).await;
            match made.map_err(|_| Problem::internal())? {
                Ok(setup) => views.setup = Some(setup),
                Err(error) => views.problem = Some(error.to_string()),
            }
        }
        SecondFactorForm::Confirm { code } => {
            let check = move || auth.confirm_second_factor(&user, code.trim());
            let done = tokio::task::spawn_blocking(check).await;
            if done.map_err(|_| Problem::internal())?.is_ok() {
                let path = format!("/sign-in?lang={}", visitor.language.tag());
                return Ok(Redirect::to(&path).into_response());
            }
            views.wrong_code = true;
        }
    }
    shown(&app, &visitor, views)
}

fn shown(
    app: &App,
    visitor: &Visitor<perm::SetUpSecondFactor>,
    views: SecondFactorViews,
) -> Result<Response, Problem> {
    let people = app.auth.people();
    let person = people.iter().find(|person| person.name == visitor.proof.user());
    let views = SecondFactorViews {
        in_use: person.is_some_and(|person| person.second_factor),
        must_have_one: person.is_some_and(|person| person.must_have_one),
        ..views
    };
    let (status, language) = (app.node.status(), visitor.language);
    let page =
        console::second_factor_page(&status, &views, language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
