//! The page of reviews: its forms do what the API's routes do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::pages::{SameOrigin, number, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{Reviewed, ReviewsViews, reviews_page};
use crate::service::{ReviewAction, ServiceError};

/// Cases, corrections and requests shown of each kind.
const SHOWN: usize = 50;

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum ReviewForm {
    /// Lets the accounts of a case go on.
    Release { case: String, reason: String },
    /// Stops them, for a stated reason.
    Refuse { case: String, reason: String },
    /// Agrees to a correction.
    Agree { adjustment: String },
    /// Refuses it.
    Decline { adjustment: String },
    /// Answers a member's request.
    Answer { request: String, text: String },
}

/// What looks like fraud, corrections that wait, members' requests.
#[utoipa::path(get, path = "/programme/reviews", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn reviews(
    State(app): State<App>,
    visitor: Visitor<perm::UseReviewsPage>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, ReviewsViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/programme/reviews", tag = "console",
    request_body(content = ReviewForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn reviews_form(
    State(app): State<App>,
    visitor: Visitor<perm::UseReviewsPage>,
    _: SameOrigin,
    Form(form): Form<ReviewForm>,
) -> Result<Response, Problem> {
    let mut views = ReviewsViews::default();
    match done(&app, form, visitor.proof.user().to_owned()).await {
        Ok(done) => views.done = Some(done),
        Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
    }
    shown(&app, &visitor, views).await
}

async fn done(app: &App, form: ReviewForm, by: String) -> Result<Reviewed, ServiceError> {
    match form {
        ReviewForm::Release { case, reason } => reviewed(app, &case, false, reason, by).await,
        ReviewForm::Refuse { case, reason } => reviewed(app, &case, true, reason, by).await,
        ReviewForm::Agree { adjustment } => decided(app, &adjustment, true, &by).await,
        ReviewForm::Decline { adjustment } => decided(app, &adjustment, false, &by).await,
        ReviewForm::Answer { request, text } => {
            let request = number(&request)?;
            app.node.review_programme(ReviewAction::Answer { request, text }, by).await?;
            Ok(Reviewed::Request)
        }
    }
}

async fn reviewed(
    app: &App,
    case: &str,
    stop: bool,
    reason: String,
    by: String,
) -> Result<Reviewed, ServiceError> {
    let (case, reason) = (number(case)?, Some(reason));
    app.node.review_programme(ReviewAction::Review { case, stop, reason }, by).await?;
    Ok(Reviewed::Case)
}

async fn decided(
    app: &App,
    adjustment: &str,
    agrees: bool,
    by: &str,
) -> Result<Reviewed, ServiceError> {
    app.node.staff(by).decide_adjustment(number(adjustment)?, agrees).await?;
    Ok(Reviewed::Adjustment)
}

async fn shown(
    app: &App,
    visitor: &Visitor<perm::UseReviewsPage>,
    mut views: ReviewsViews,
) -> Result<Response, Problem> {
    views.status = app.node.status();
    views.open = app.node.programme_cases(false).await?;
    views.closed = app.node.programme_cases(true).await?;
    views.waiting = app.node.adjustments().await?;
    views.waiting.retain(|it| it.state == "waiting");
    views.requests = app.node.programme_requests().await?;
    views.requests.retain(|it| it.answered_ms.is_none());
    views.open.truncate(SHOWN);
    views.closed.truncate(SHOWN);
    views.waiting.truncate(SHOWN);
    views.requests.truncate(SHOWN);
    let page = reviews_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
