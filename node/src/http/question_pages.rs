//! The console's pages of questions: what the API's routes of questions do, by forms.
//!
//! A question is planned, its cost is shown, and the form that asks it carries the hash of the plan that was
//! shown: nothing is spent that nobody saw. Sent twice it is one question, as anywhere.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::cleanroom::seen;
use super::extract::{Form, Path, Query};
use super::pages::{PageQuery, SameOrigin, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{self, Asking, QuestionsViews};
use crate::rendering::{self, Format};
use crate::service::{
    DatasetView, ErrorKind, ListRequest, Question, Scope, ServiceError, pico_rho,
};

/// Answers shown.
const ANSWERS_SHOWN: u32 = 25;
/// Rows of an answer that its page is given: more than it shows.
const ROWS_GIVEN: u32 = 100;
/// Answers made into files at a time; more wait.
const FILES_AT_ONCE: usize = 2;

static FILES: Semaphore = Semaphore::const_new(FILES_AT_ONCE);

/// What a form of the page asks for. Brands that are ticked are fields `with.BRAND`.
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
        #[serde(default)]
        choose_bound: Option<String>,
        #[serde(flatten)]
        with: BTreeMap<String, String>,
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
        #[serde(default)]
        choose_bound: Option<String>,
        plan: String,
        #[serde(flatten)]
        with: BTreeMap<String, String>,
    },
}

/// What is in the form at first.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct QuestionsQuery {
    /// The id of a question that was asked, to be looked over and asked again; nothing without it.
    again: Option<String>,
    /// Only questions before this one are listed: the `before` of the link to older ones.
    before: Option<String>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// The page of questions, with none in it or one that was asked before.
#[utoipa::path(get, path = "/questions", tag = "console", params(QuestionsQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn questions(
    State(app): State<App>,
    visitor: Visitor<perm::RunQueries>,
    Query(query): Query<QuestionsQuery>,
) -> Result<Response, Problem> {
    let mut views = QuestionsViews::default();
    if let Some(id) = query.again {
        match asked_before(&app, &visitor, id).await {
            Ok(asking) => views.asking = asking,
            Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
        }
    }
    shown(&app, &visitor, views, query.before.filter(|before| !before.is_empty())).await
}

/// A question that was asked before, as it stands in the form.
async fn asked_before(
    app: &App,
    visitor: &Visitor<perm::RunQueries>,
    id: String,
) -> Result<Asking, ServiceError> {
    let view = seen(app.node.query_rows(id, 0, 0).await?, &visitor.proof);
    let sql = view.sql.ok_or_else(|| {
        ServiceError::new(
            ErrorKind::NotFound,
            "text_not_shown",
            "the text of this question is not kept, or it is somebody else's / 未保存该问题的文本，或该问题由他人提出",
            "write the question anew / 请重新填写问题",
        )
    })?;
    let scope: Option<Scope> = view.scope.parse().ok();
    let joint = view.release.filter(|_| scope == Some(Scope::Joint));
    // a cost that came back, and that of a pack for which nobody had to pay, are not known any more
    let charged = Some(view.charged_pico_rho).filter(|charged| *charged > 0);
    Ok(Asking {
        sql,
        scope,
        rho: charged.map(console::rho).unwrap_or_default(),
        stands: view.standing.is_some(),
        chooses_bound: false,
        participants: joint.map(|release| release.participants),
    })
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
        QuestionForm::Plan { sql, scope, rho, stands, choose_bound, with } => {
            let (stands, chooses_bound) = (stands.is_some(), choose_bound.is_some());
            let scope = scope.parse().ok();
            let participants = ticked(&app, scope, &with).await?;
            views.asking = Asking { sql, scope, rho, stands, chooses_bound, participants };
            None
        }
        QuestionForm::Fill { template, scope, parameters } => {
            match filled(&app, template, scope.parse().ok(), parameters).await {
                Ok(asking) => views.asking = asking,
                Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
            }
            None
        }
        QuestionForm::Ask { sql, scope, rho, stands, choose_bound, plan, with } => {
            let (stands, chooses_bound) = (stands.is_some(), choose_bound.is_some());
            let scope = scope.parse().ok();
            let participants = ticked(&app, scope, &with).await?;
            views.asking = Asking { sql, scope, rho, stands, chooses_bound, participants };
            Some(plan)
        }
    };
    if views.problem.is_none() {
        let question = question(&views.asking, user);
        match (question, asked) {
            (Err(error), _) => views.problem = Some(Problem::from(error).words(visitor.language)),
            (Ok(question), None) => match app.node.plan(question).await {
                Ok(plan) => views.plan = Some(plan),
                Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
            },
            (Ok(question), Some(plan)) => match app.node.query_in_steps(question, plan).await {
                Ok(view) => {
                    let path = format!("/questions/{}?lang={}", view.id, visitor.language.tag());
                    return Ok(Redirect::to(&path).into_response());
                }
                Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
            },
        }
    }
    shown(&app, &visitor, views, None).await
}

/// The brands that are ticked, where the question may be a joint one and they are not all there are.
async fn ticked(
    app: &App,
    scope: Option<Scope>,
    fields: &BTreeMap<String, String>,
) -> Result<Option<Vec<String>>, ServiceError> {
    let named = fields.keys().filter_map(|field| field.strip_prefix(console::WITH));
    let named: Vec<String> = named.map(str::to_owned).collect();
    if named.is_empty() || matches!(scope, Some(Scope::Local | Scope::Pack)) {
        return Ok(None);
    }
    let datasets = app.node.datasets().await?;
    let every = |set: &DatasetView| set.participants.iter().all(|brand| named.contains(brand));
    let all = datasets.first().is_some_and(every);
    Ok((!all).then_some(named))
}

async fn shown(
    app: &App,
    visitor: &Visitor<perm::RunQueries>,
    views: QuestionsViews,
    before: Option<String>,
) -> Result<Response, Problem> {
    let has_newer = before.is_some();
    let request = ListRequest { place: before, limit: ANSWERS_SHOWN };
    let asked = app.node.queries_page(request).await?;
    let views = QuestionsViews {
        status: app.node.status(),
        datasets: app.node.datasets().await?,
        templates: app.node.templates().await?,
        older: asked.next,
        has_newer,
        answers: asked.items.into_iter().map(|view| seen(view, &visitor.proof)).collect(),
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
        chooses_bound: false,
        participants: None,
    })
}

fn question(asking: &Asking, user: String) -> Result<Question, ServiceError> {
    let rho = asking.rho.trim();
    let pico_rho = (!rho.is_empty()).then(|| pico_rho(rho)).transpose().map_err(|words| {
        let remedy = "write it as in 0.005, or leave it empty / 例如 0.005，或留空";
        ServiceError::new(ErrorKind::Invalid, "cost_malformed", words, remedy)
    })?;
    let Asking { sql, scope, stands, chooses_bound, participants, .. } = asking.clone();
    Ok(Question {
        sql,
        scope,
        pico_rho,
        stands,
        chooses_bound,
        participants,
        user: Some(user),
        ..Question::default()
    })
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
    let view = app.node.query_rows(id, 0, ROWS_GIVEN).await?;
    let Visitor { proof, language, pages, .. } = visitor;
    let view = seen(view, &proof);
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
    let _place = FILES.acquire().await.map_err(|_| Problem::internal())?;
    let view = app.node.whole_answer(id).await?;
    let release = view.release.ok_or_else(|| {
        let remedy = "wait until its page says that it is released";
        Problem::new(StatusCode::CONFLICT, "not_released", "there is no answer yet", remedy)
    })?;
    // a long one keeps a thread busy: not one that other requests wait for
    let made = tokio::task::spawn_blocking(move || rendering::bytes(&release, format)).await;
    let made = made.map_err(|_| Problem::internal())?;
    let bytes = made.map_err(|_| Problem::internal())?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}
