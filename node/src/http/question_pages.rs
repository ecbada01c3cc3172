//! The console's pages of questions: what the API's routes of questions do, by forms.
//!
//! A question is planned, its cost is shown, and the form that asks it carries the hash of the plan that was
//! shown: nothing is spent that nobody saw. Sent twice it is one question, as anywhere.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Form, Path, Query};
use super::pages::{PageQuery, SameOrigin, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{self, Asking, QuestionsViews};
use crate::rendering::{self, Format};
use crate::service::{ErrorKind, Question, Scope, ServiceError, pico_rho};

/// Answers shown.
const ANSWERS_SHOWN: u32 = 25;

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum QuestionForm {
    /// Shows what a question costs.
    Plan {
        sql: String,
        #[serde(default)]
        scope: String,
        #[serde(default)]
        rho: String,
        #[serde(default)]
        stands: Option<String>,
    },
    /// Fills in a saved question and shows what it costs; its parameters are fields `parameter.NAME`.
    Fill {
        template: String,
        #[serde(default)]
        scope: String,
        #[serde(flatten)]
        parameters: BTreeMap<String, String>,
    },
    /// Asks a question whose plan was shown.
    Ask {
        sql: String,
        #[serde(default)]
        scope: String,
        #[serde(default)]
        rho: String,
        #[serde(default)]
        stands: Option<String>,
        plan: String,
    },
}

/// The page of questions, with none in it.
#[utoipa::path(get, path = "/questions", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn questions(
    State(app): State<App>,
    visitor: Visitor<perm::RunQueries>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, QuestionsViews::default()).await
}

/// Shows what a question costs; or asks it, and goes on to its page.
#[utoipa::path(post, path = "/questions", tag = "console",
    request_body(content = QuestionForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first, or asked: on to the question's page")))]
pub(super) async fn question_form(
    State(app): State<App>,
    visitor: Visitor<perm::RunQueries>,
    _: SameOrigin,
    Form(form): Form<QuestionForm>,
) -> Result<Response, Problem> {
    let user = visitor.proof.user().to_owned();
    let mut views = QuestionsViews::default();
    let asked = match form {
        QuestionForm::Plan { sql, scope, rho, stands } => {
            let stands = stands.is_some();
            views.asking = Asking { sql, scope: scope.parse().ok(), rho, stands };
            None
        }
        QuestionForm::Fill { template, scope, parameters } => {
            match filled(&app, template, scope.parse().ok(), parameters).await {
                Ok(asking) => views.asking = asking,
                Err(error) => views.problem = Some(Problem::from(error).words()),
            }
            None
        }
        QuestionForm::Ask { sql, scope, rho, stands, plan } => {
            let stands = stands.is_some();
            views.asking = Asking { sql, scope: scope.parse().ok(), rho, stands };
            Some(plan)
        }
    };
    if views.problem.is_none() {
        let question = question(&views.asking, user);
        match (question, asked) {
            (Err(error), _) => views.problem = Some(Problem::from(error).words()),
            (Ok(question), None) => match app.node.plan(question).await {
                Ok(plan) => views.plan = Some(plan),
                Err(error) => views.problem = Some(Problem::from(error).words()),
            },
            (Ok(question), Some(plan)) => match app.node.query(question, plan).await {
                Ok(view) => {
                    let path = format!("/questions/{}?lang={}", view.id, visitor.language.tag());
                    return Ok(Redirect::to(&path).into_response());
                }
                Err(error) => views.problem = Some(Problem::from(error).words()),
            },
        }
    }
    shown(&app, &visitor, views).await
}

async fn shown(
    app: &App,
    visitor: &Visitor<perm::RunQueries>,
    views: QuestionsViews,
) -> Result<Response, Problem> {
    let views = QuestionsViews {
        status: app.node.status(),
        datasets: app.node.datasets().await?,
        templates: app.node.templates().await?,
        answers: app.node.queries(ANSWERS_SHOWN).await?,
        ..views
    };
    let page = console::questions_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// A saved question with its parameters, as it stands in the form.
async fn filled(
    app: &App,
    template: String,
    scope: Option<Scope>,
    parameters: BTreeMap<String, String>,
) -> Result<Asking, ServiceError> {
    let parameters = parameters.into_iter().filter_map(|(field, value)| {
        Some((field.strip_prefix(console::PARAMETER)?.to_owned(), value))
    });
    let filled = app.node.fill_template(template, scope, parameters.collect()).await?;
    Ok(Asking {
        sql: filled.sql,
        scope: Some(filled.scope),
        rho: console::rho(filled.pico_rho),
        stands: false,
    })
}

fn question(asking: &Asking, user: String) -> Result<Question, ServiceError> {
    let rho = asking.rho.trim();
    let pico_rho = (!rho.is_empty()).then(|| pico_rho(rho)).transpose().map_err(|words| {
        let remedy = "write it as in 0.005, or leave it empty / 例如 0.005，或留空";
        ServiceError::new(ErrorKind::Invalid, "cost_malformed", words, remedy)
    })?;
    let Asking { sql, scope, stands, .. } = asking.clone();
    Ok(Question { sql, scope, pico_rho, stands, user: Some(user), ..Question::default() })
}

/// One question: its progress by protocol step, and its answer.
#[utoipa::path(get, path = "/questions/{id}", tag = "console",
    params(("id" = String, Path, description = "Hex digits"), PageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn question_by_id(
    State(app): State<App>,
    visitor: Visitor<perm::RunQueries>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    let view = app.node.query_by_id(id).await?;
    let Visitor { proof, language, pages, .. } = visitor;
    let (status, refresh) = (app.node.status(), query.refreshes());
    let page = console::question_page(&status, &view, language, refresh, &proof, &pages);
    rendered(page, StatusCode::OK)
}

/// An answer as a file, with its whole privacy statement.
#[utoipa::path(get, path = "/questions/{id}/{format}", tag = "console",
    params(("id" = String, Path), ("format" = String, Path, description = "`csv`, `parquet`, `json` or `svg`")),
    responses((status = 200, description = "The answer", content_type = "text/csv")))]
pub(super) async fn answer(
    State(app): State<App>,
    _: Visitor<perm::RunQueries>,
    Path((id, format)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let wrong = |words: &str| {
        let remedy = "ask for csv, parquet, json or svg";
        Problem::new(StatusCode::BAD_REQUEST, "format_unknown", words, remedy)
    };
    let format: Format = format.parse().map_err(wrong)?;
    let kind = match format {
        Format::Table => "text/plain; charset=utf-8",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Json => "application/json",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Svg => "image/svg+xml",
    };
    let view = app.node.query_by_id(id).await?;
    let release = view.release.ok_or_else(|| {
        let remedy = "wait until its page says that it is released";
        Problem::new(StatusCode::CONFLICT, "not_released", "there is no answer yet", remedy)
    })?;
    let bytes = rendering::bytes(&release, format).map_err(|_| Problem::internal())?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}
