//! The console's pages for partners and officers, and what they download there.
//!
//! Each page is made of the operations that the API has; what an operation refuses is shown in its words.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::pages::rendered;
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::console::{
    Language, OfficerViews, PartnerViews, officer_page, partner_page, report_file, utc,
};
use crate::service::ExportFormat;

const EXCHANGES_SHOWN: u32 = 25;
const RECEIVED_SHOWN: u32 = 20;

/// Which statement is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PartnerQuery {
    /// A cut-off in UTC, as browsers write it: `2026-11-01T00:00`.
    cut_off: Option<String>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// Positions, limits, exchanges, clearing, disputes.
#[utoipa::path(get, path = "/partner", tag = "console", params(PartnerQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn partner(
    State(app): State<App>,
    visitor: Visitor<perm::SeePartnerPage>,
    Query(query): Query<PartnerQuery>,
) -> Result<Response, Problem> {
    let cut_off = query.cut_off.unwrap_or_default();
    let mut views = PartnerViews {
        status: app.node.status(),
        partners: app.node.partners().await?,
        exchanges: app.node.exchanges(EXCHANGES_SHOWN).await?,
        received: app.node.received(None, RECEIVED_SHOWN).await?,
        disputes: app.node.disputes().await?,
        ..PartnerViews::default()
    };
    if !cut_off.is_empty() {
        match milliseconds(&cut_off) {
            Some(at) => match app.node.statement(at).await {
                Ok(statement) => views.statement = Some(statement),
                Err(error) => views.statement_problem = Some(Problem::from(error).words()),
            },
            None => {
                views.statement_problem =
                    Some("a time is written 2026-11-01T00:00 / 时间格式：2026-11-01T00:00".into());
            }
        }
        views.cut_off = cut_off.chars().take(32).collect();
    }
    let page = partner_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

fn milliseconds(text: &str) -> Option<u64> {
    let time: DateTime = text.parse().ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
    u64::try_from(time).ok()
}

/// The receipt of a final exchange, as a file.
#[utoipa::path(get, path = "/partner/exchanges/{id}/receipt", tag = "console",
    params(("id" = String, Path)), responses(
    (status = 200, description = "A C2SP tlog-proof", body = String, content_type = "text/plain")))]
pub(super) async fn receipt(
    State(app): State<App>,
    _: Visitor<perm::SeePartnerPage>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let receipt = app.node.receipt(id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], receipt).into_response())
}

/// The receipt with what opens its entry and no other, as a file: for the member.
#[utoipa::path(get, path = "/partner/exchanges/{id}/opened-receipt", tag = "console",
    params(("id" = String, Path)), responses(
    (status = 200, description = "A C2SP tlog-proof with an extra line", body = String, content_type = "text/plain")))]
pub(super) async fn opened_receipt(
    State(app): State<App>,
    _: Visitor<perm::SeePartnerPage>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let receipt = app.node.opened_receipt(id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], receipt).into_response())
}

/// A clearing statement, as a file.
#[utoipa::path(get, path = "/partner/clearings/{cut_off_ms}/{format}", tag = "console",
    params(("cut_off_ms" = u64, Path), ("format" = String, Path, description = "`csv`, `pacs.029` or `camt.053`")), responses(
    (status = 200, description = "The statement", content_type = "text/csv")))]
pub(super) async fn statement(
    State(app): State<App>,
    _: Visitor<perm::SeePartnerPage>,
    Path((cut_off_ms, format)): Path<(u64, ExportFormat)>,
) -> Result<Response, Problem> {
    let kind = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Pacs029 | ExportFormat::Camt053 => "application/xml",
    };
    let bytes = app.node.export(cut_off_ms, format).await?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Heads, evidence, rule changes, keys, budget: the report of one moment.
#[utoipa::path(get, path = "/officer", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn officer(
    State(app): State<App>,
    visitor: Visitor<perm::SeeOfficerPage>,
) -> Result<Response, Problem> {
    let views = officer_views(&app).await?;
    rendered(officer_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

async fn officer_views(app: &App) -> Result<OfficerViews, Problem> {
    Ok(OfficerViews {
        status: app.node.status(),
        partners: app.node.partners().await?,
        disputes: app.node.disputes().await?,
        constitutions: app.node.constitutions().await?,
        sealing_keys: app.node.sealing_keys().await?,
    })
}

/// The same as a file that stands by itself, to be signed and filed.
#[utoipa::path(get, path = "/officer/report", tag = "console", responses(
    (status = 200, description = "The file", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn officer_report(
    State(app): State<App>,
    visitor: Visitor<perm::SeeOfficerPage>,
) -> Result<Response, Problem> {
    let views = officer_views(&app).await?;
    file(&views, report_file(&views, visitor.language, &visitor.proof))
}

/// In which language.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportQuery {
    /// `zh` or `en`; without it, English.
    #[param(inline)]
    lang: Option<ReportLanguage>,
}

/// A language of the console.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReportLanguage {
    /// Chinese.
    Zh,
    /// English.
    #[default]
    En,
}

/// The compliance report of one moment, as a file that stands by itself: one HTML document without scripts, which
/// `coalition report sign` signs.
#[utoipa::path(get, path = "/api/v1/report", tag = "node", params(ReportQuery), responses(
    (status = 200, description = "The file", body = String, content_type = "text/html")))]
pub(super) async fn compliance_report(
    by: Authorized<perm::SeeOfficerPage>,
    State(app): State<App>,
    Query(query): Query<ReportQuery>,
) -> Result<Response, Problem> {
    let views = officer_views(&app).await?;
    let language = match query.lang.unwrap_or_default() {
        ReportLanguage::Zh => Language::Chinese,
        ReportLanguage::En => Language::English,
    };
    file(&views, report_file(&views, language, &by))
}

/// A report as a download: its own styles are not for a page of this origin.
fn file(views: &OfficerViews, text: Option<String>) -> Result<Response, Problem> {
    let text = text.ok_or_else(Problem::internal)?;
    let made = utc(views.status.now_ms).unwrap_or_default();
    let day: String = made.chars().take(10).collect();
    let name = format!("attachment; filename=\"report-{}-{day}.html\"", views.status.brand);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_DISPOSITION, name.as_str()),
    ];
    Ok((headers, text).into_response())
}
