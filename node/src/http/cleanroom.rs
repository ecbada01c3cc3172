//! Handlers of the clean room: questions, answers, budgets, datasets, templates, exact figures, policy.
//!
//! Exact figures have a route of their own, for the brand's own staff; nothing of them is kept, and no
//! cache may keep the answer.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::api::Result;
use super::extract::{Json, Path, Query};
use super::listed::{Asked, BeforeQuery};
use super::pages::rendered;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, Permission, perm};
use crate::console;
use crate::service::*;

/// A question.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The question in SQL.
    pub sql: String,
    /// Who answers; without it a question with `brand` among its group keys is a pack, any other joint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What it may cost, pico-rho; the profile's cost of a query without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pico_rho: Option<u64>,
    /// Whether it is to stand: charged once, and answered for each period among its group keys when it is
    /// over. For local questions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands: bool,
    /// Whether the bound of its one `sum(..)` is to be chosen first, by a question for members' sums that a tenth of
    /// the cost pays for. For joint and local questions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub choose_bound: bool,
    /// The brands that a joint question is put to, this one among them; all that are not suspended without it. Others
    /// than all take part where their policies say from how many brands on, and never in a set whose answer, less
    /// another of the year, would be the total of fewer than three brands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<String>>,
}

/// A question whose plan was seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The question in SQL.
    pub sql: String,
    /// Hash of the plan that was shown, hex: confirms its cost.
    pub plan: String,
    /// Who answers, as planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What it may cost, as planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pico_rho: Option<u64>,
    /// Whether it stands, as planned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands: bool,
    /// Whether its bound is chosen first, as planned. The question for the bound is asked and, once that is released,
    /// the question itself. Where that takes longer than a call may, `chosen_bound` has no bound yet, and the view is
    /// that of the question for it: the same request again goes on, at no cost, with `bound_from` whatever has come to
    /// the facts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub choose_bound: bool,
    /// The id of the released question for the bound: the question itself is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_from: Option<String>,
    /// The brands that a joint question is put to, as planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<Vec<String>>,
}

/// What is filled into a template.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FillRequest {
    /// Who is to answer; the template's first scope without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Parameters by name; the others by default.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Parameters of a dashboard.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FiguresRequest {
    /// Parameters by name; the others by default.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Which year.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct YearQuery {
    /// The present one without it.
    #[param(minimum = 0, maximum = 65535)]
    year: Option<u16>,
    /// Analysts after this one: what the page before has under `next`.
    after: Option<String>,
}

/// A question as this person sees it: its text, date and asker are for who asked it, and for officers.
pub(super) fn seen<P: Permission>(view: QueryView, proof: &Authorized<P>) -> QueryView {
    if proof.also::<perm::ReadAskedTexts>() { view } else { view.seen_by(proof.user()) }
}

/// Plans a question: cost and expected error. Spends nothing.
#[utoipa::path(post, path = "/api/v1/queries/plan", tag = "queries", request_body = PlanRequest,
    responses((status = 200, description = "The plan", body = PlanView)))]
pub(super) async fn plan(
    proof: Authorized<perm::RunQueries>,
    State(app): State<App>,
    Json(request): Json<PlanRequest>,
) -> Result<Json<PlanView>> {
    let PlanRequest { sql, scope, pico_rho, stands, choose_bound, participants } = request;
    let question = Question {
        sql,
        scope,
        pico_rho,
        stands,
        chooses_bound: choose_bound,
        participants,
        user: Some(proof.user().to_owned()),
        ..Question::default()
    };
    Ok(Json(app.node.plan(question).await?))
}

/// Runs a planned question, which spends its cost.
#[utoipa::path(post, path = "/api/v1/queries", tag = "queries", request_body = QueryRequest,
    responses((status = 202, description = "Under way", body = QueryView)))]
pub(super) async fn query(
    proof: Authorized<perm::RunQueries>,
    State(app): State<App>,
    Json(request): Json<QueryRequest>,
) -> Result<impl IntoResponse> {
    let QueryRequest { sql, plan, scope, pico_rho, stands, choose_bound, bound_from, participants } =
        request;
    let user = Some(proof.user().to_owned());
    let question = Question {
        sql,
        scope,
        pico_rho,
        stands,
        chooses_bound: choose_bound,
        bound_from,
        participants,
        user,
        ..Question::default()
    };
    let mut view = seen(app.node.query_in_steps(question, plan).await?, &proof);
    // of an answer that there was already, the first page
    if let Some(release) = &mut view.release {
        release.rows.truncate(usize::try_from(ROWS_AT_ONCE).unwrap_or(usize::MAX));
    }
    let location = [(header::LOCATION, format!("/api/v1/queries/{}", view.id))];
    Ok((StatusCode::ACCEPTED, location, Json(view)))
}

/// Which rows of an answer.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RowsQuery {
    /// How many rows are left out before the first.
    #[serde(default)]
    from: u32,
    /// How many rows at most, 1 to 10000.
    #[param(minimum = 1, maximum = 10000, default = 10000)]
    rows: Option<u32>,
}

/// One question and, once released, its answer: a page of its rows, of which `rows_in_all` says how many there are.
#[utoipa::path(get, path = "/api/v1/queries/{id}", tag = "queries",
    params(("id" = String, Path, description = "Hex digits"), RowsQuery),
    responses((status = 200, description = "The question", body = QueryView)))]
pub(super) async fn query_by_id(
    proof: Authorized<perm::ReadQueries>,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<RowsQuery>,
) -> Result<Json<QueryView>> {
    let rows = query.rows.unwrap_or(ROWS_AT_ONCE);
    if !(1..=ROWS_AT_ONCE).contains(&rows) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "parameter_invalid",
            format!("rows is {rows}"),
            format!("rows are 1 to {ROWS_AT_ONCE}; the next page begins where this one ended"),
        ));
    }
    Ok(Json(seen(app.node.query_rows(id, query.from, rows).await?, &proof)))
}

/// The answers that this brand has, newest first: joint ones, its own, and other brands' of packs; among them what it has
/// asked lately without an answer yet, or in vain, and its packs. What was asked, and when, is there for who asked it.
#[utoipa::path(get, path = "/api/v1/queries", tag = "queries", params(BeforeQuery),
    responses((status = 200, description = "The questions", body = [QueryView])))]
pub(super) async fn queries(
    proof: Authorized<perm::ReadQueries>,
    State(app): State<App>,
    Query(query): Query<BeforeQuery>,
    asked: Asked,
) -> Result<Response> {
    let mut page = app.node.queries_page(query.page()?).await?;
    page.items = page.items.into_iter().map(|view| seen(view, &proof)).collect();
    asked.before(page)
}

/// Every brand's accounts of a calendar year, added up from the certified logs, a hundred analysts a page.
#[utoipa::path(get, path = "/api/v1/budgets", tag = "queries", params(YearQuery),
    responses((status = 200, description = "The accounts", body = BudgetsView)))]
pub(super) async fn budgets(
    _: Authorized<perm::ReadBudgets>,
    State(app): State<App>,
    Query(query): Query<YearQuery>,
) -> Result<Json<BudgetsView>> {
    Ok(Json(app.node.budgets(query.year, query.after).await?))
}

/// Which year, and how it is shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BudgetPageQuery {
    /// The calendar year; the present one without it.
    year: Option<u16>,
    /// Analysts after this one.
    after: Option<String>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// Every brand's privacy budget of a calendar year.
#[utoipa::path(get, path = "/budget", tag = "console", params(BudgetPageQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn budget_page(
    State(app): State<App>,
    visitor: Visitor<perm::ReadBudgets>,
    Query(query): Query<BudgetPageQuery>,
) -> Result<Response> {
    let budgets = app.node.budgets(query.year, query.after).await?;
    let Visitor { proof, language, pages, .. } = visitor;
    let page = console::budget_page(&app.node.status(), &budgets, language, &proof, &pages);
    rendered(page, StatusCode::OK)
}

/// The data dictionary: what may be asked, under which consent, within which bounds.
#[utoipa::path(get, path = "/api/v1/datasets", tag = "queries",
    responses((status = 200, description = "The datasets", body = [DatasetView])))]
pub(super) async fn datasets(
    _: Authorized<perm::ReadDatasets>,
    State(app): State<App>,
) -> Result<Json<Vec<DatasetView>>> {
    Ok(Json(app.node.datasets().await?))
}

/// Saved questions with parameters.
#[utoipa::path(get, path = "/api/v1/templates", tag = "queries",
    responses((status = 200, description = "The templates", body = [TemplateView])))]
pub(super) async fn templates(
    _: Authorized<perm::ReadDatasets>,
    State(app): State<App>,
) -> Result<Json<Vec<TemplateView>>> {
    Ok(Json(app.node.templates().await?))
}

/// A template as a question, its parameters checked and filled in: to be planned and asked as any other.
#[utoipa::path(post, path = "/api/v1/templates/{id}/question", tag = "queries",
    params(("id" = String, Path, description = "The template's name")), request_body = FillRequest,
    responses((status = 200, description = "The question", body = FilledTemplate)))]
pub(super) async fn fill(
    _: Authorized<perm::ReadDatasets>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(request): Json<FillRequest>,
) -> Result<Json<FilledTemplate>> {
    let parameters = request.parameters.into_iter().collect();
    Ok(Json(app.node.fill_template(id, request.scope, parameters).await?))
}

/// Exact figures of a dashboard over this brand's own members, for its own staff.
#[utoipa::path(post, path = "/api/v1/templates/{id}/figures", tag = "queries",
    params(("id" = String, Path, description = "The template's name")), request_body = FiguresRequest,
    responses((status = 200, description = "The figures; no cache keeps them", body = FiguresView)))]
pub(super) async fn figures(
    _: Authorized<perm::ReadFigures>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(request): Json<FiguresRequest>,
) -> Result<impl IntoResponse> {
    let figures = app.node.figures(id, request.parameters.into_iter().collect()).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(figures)))
}

/// What this brand takes part in and answers.
#[utoipa::path(get, path = "/api/v1/policy", tag = "queries",
    responses((status = 200, description = "The policy in force", body = PolicyView)))]
pub(super) async fn policy(
    _: Authorized<perm::ReadPolicy>,
    State(app): State<App>,
) -> Result<Json<PolicyView>> {
    Ok(Json(app.node.policy().await?))
}

/// Reads `policy.toml` of the data directory again; it holds from the next question on.
#[utoipa::path(post, path = "/api/v1/policy", tag = "queries",
    responses((status = 200, description = "The policy in force", body = PolicyView)))]
pub(super) async fn read_policy(
    _: Authorized<perm::TakePolicy>,
    State(app): State<App>,
) -> Result<Json<PolicyView>> {
    Ok(Json(app.node.read_policy().await?))
}
