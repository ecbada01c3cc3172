//! The pages of figures for a brand's own staff, and their files.
//!
//! The figures go into the page that was asked for and nowhere else: no cache keeps it, and no log has them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::pages::rendered;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{
    DashboardViews, FiguresViews, PARAMETER, dashboard_page, figures_page as page_of_figures,
};
use crate::service::{Bilingual, PeriodRequest, PeriodRow, ServiceError, TemplateView};

type Staff = Visitor<perm::ReadFigures>;

/// Most characters kept of what was typed, to be shown again.
const TYPED_MAX: usize = 32;

/// Which period.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PeriodQuery {
    /// First day, `YYYY-MM-DD`; 90 days up to the last without it.
    #[serde(default)]
    from: String,
    /// Last day; without it, the last with a purchase.
    #[serde(default)]
    to: String,
    /// `day`, `week` or `month`; a week without it.
    #[serde(default)]
    by: String,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

impl PeriodQuery {
    fn request(&self) -> Result<PeriodRequest, ServiceError> {
        PeriodRequest::parse(&self.from, &self.to, &self.by)
    }
}

/// Exact figures of a period: by step, store, channel and category; points, coupons and campaigns; the dashboards.
#[utoipa::path(get, path = "/figures", tag = "console", params(PeriodQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn figures_page(
    State(app): State<App>,
    visitor: Staff,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Problem> {
    let mut views = FiguresViews { status: app.node.status(), ..FiguresViews::default() };
    let read = match query.request() {
        Ok(request) => {
            views.by = request.by;
            app.node.period_figures(request).await
        }
        Err(error) => Err(error),
    };
    match read {
        Ok(figures) => {
            (views.from, views.to) = (figures.from.clone(), figures.to.clone());
            views.figures = Some(figures);
        }
        Err(error) => {
            let typed = |text: &str| text.chars().take(TYPED_MAX).collect::<String>();
            (views.from, views.to) = (typed(&query.from), typed(&query.to));
            views.problem = Some(Problem::from(error).words(visitor.language));
        }
    }
    match app.node.templates().await {
        Ok(templates) => views.dashboards = templates.into_iter().filter(is_dashboard).collect(),
        Err(error) => {
            let words = Problem::from(error).words(visitor.language);
            views.problem.get_or_insert(words);
        }
    }
    if visitor.session.authorize::<perm::ReadProgramme>().is_ok() {
        let report = app.node.programme_report().await?;
        views.programme = Some((report, app.node.programme_campaigns().await?));
    }
    let page = page_of_figures(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// Whether it is for staff and the contract has all that it asks about.
fn is_dashboard(template: &TemplateView) -> bool {
    template.exact && template.absent.is_empty()
}

/// The figures of a period as a file.
#[utoipa::path(get, path = "/figures/csv", tag = "console", params(PeriodQuery), responses(
    (status = 200, description = "The figures", body = String, content_type = "text/csv")))]
pub(super) async fn figures_file(
    State(app): State<App>,
    _: Staff,
    Query(query): Query<PeriodQuery>,
) -> Result<Response, Problem> {
    period_file(&app, query.request()?).await
}

/// All of a period's figures, part by part.
pub(super) async fn period_file(app: &App, request: PeriodRequest) -> Result<Response, Problem> {
    let figures = app.node.period_figures(request).await?;
    let head = ["part", "name", "sales_fen", "baskets", "members", "new_members"];
    let line = |part: &str, row: &PeriodRow| {
        let new_members = row.new_members.map(|members| members.to_string());
        let numbers = [row.sales_fen, row.baskets, row.members].map(|number| number.to_string());
        let [sales, baskets, members] = numbers;
        let new_members = new_members.unwrap_or_default();
        vec![part.to_owned(), row.name.clone(), sales, baskets, members, new_members]
    };
    let mut lines = vec![head.map(str::to_owned).to_vec(), line("total", &figures.total)];
    for (part, rows) in [
        (figures.by.name(), &figures.steps),
        ("store", &figures.stores),
        ("channel", &figures.channels),
        ("category", &figures.departments),
    ] {
        lines.extend(rows.iter().map(|row| line(part, row)));
    }
    Ok(file(&figures.note, &lines))
}

/// A dashboard's figures; its parameters are `parameter.NAME`.
#[utoipa::path(get, path = "/figures/dashboards/{id}", tag = "console",
    params(("id" = String, Path, description = "The template's name")), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn dashboard(
    State(app): State<App>,
    visitor: Staff,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let parameters = parameters_of(query);
    let templates = app.node.templates().await?;
    let template = templates.into_iter().find(|template| template.id == id && template.exact);
    let mut views = DashboardViews {
        status: app.node.status(),
        template,
        parameters: parameters.clone(),
        ..DashboardViews::default()
    };
    match app.node.figures(id, parameters.into_iter().collect()).await {
        Ok(figures) => views.figures = Some(figures),
        Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
    }
    let page = dashboard_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// The same as a file.
#[utoipa::path(get, path = "/figures/dashboards/{id}/csv", tag = "console",
    params(("id" = String, Path, description = "The template's name")), responses(
    (status = 200, description = "The figures", body = String, content_type = "text/csv")))]
pub(super) async fn dashboard_file(
    State(app): State<App>,
    _: Staff,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let parameters = parameters_of(query).into_iter().collect();
    let figures = app.node.figures(id, parameters).await?;
    let mut lines = vec![figures.columns];
    lines.extend(figures.rows);
    Ok(file(&figures.note, &lines))
}

fn parameters_of(query: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let named = query.into_iter();
    named
        .filter_map(|(field, value)| Some((field.strip_prefix(PARAMETER)?.to_owned(), value)))
        .collect()
}

/// A file of values, after what they may be used for.
fn file(note: &Bilingual, lines: &[Vec<String>]) -> Response {
    let mut text = format!("# {}\r\n# {}\r\n", note.en, note.zh);
    for line in lines {
        let cells: Vec<String> = line.iter().map(|text| cell(text)).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
}

/// A value as RFC 4180 has it; what a spreadsheet would take for a formula is made a text.
fn cell(text: &str) -> String {
    let begins_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match begins_formula && text.parse::<f64>().is_err() {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(['#', ' ']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_values_and_never_formulas() {
        let cells = ["a", "a, b", "\"x\"", "-12.5", "=1+1", "@SUM(A1)", "# no comment"].map(cell);
        let expected =
            ["a", "\"a, b\"", "\"\"\"x\"\"\"", "-12.5", "'=1+1", "'@SUM(A1)", "\"# no comment\""];
        assert_eq!(cells, expected);
    }

    #[test]
    fn parameters_are_the_fields_that_say_so() {
        let field = |name: &str| (name.to_owned(), "7".to_owned());
        let fields = BTreeMap::from([field("lang"), field("parameter.months"), field("months")]);
        assert_eq!(parameters_of(fields), BTreeMap::from([field("months")]));
    }
}
