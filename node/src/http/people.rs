//! The console's pages for partners and officers, and what they download there.
//!
//! Each page is made of the operations that the API has; what an operation refuses is shown in its words.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::api::brand_named;
use super::extract::{Path, Query};
use super::multipart::Files;
use super::pages::{SameOrigin, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::console::{
    ExchangeListing, Language, OfficerViews, PartnerViews, officer_page, partner_page, report_file,
    utc,
};
use crate::service::{
    AuditView, ClearingPage, ExchangeFilter, ExportFormat, ListRequest, ListedState, local_cut_off,
    parse_cut_off,
};

const EXCHANGES_SHOWN: u32 = 25;
const RECEIVED_SHOWN: u32 = 20;
const CUT_OFFS_SHOWN: u32 = 12;

/// Which statement is wanted, and which cut-offs are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PartnerQuery {
    /// A cut-off: Unix milliseconds, RFC 3339, or in UTC as browsers write it: `2026-10-31T15:59:59.999`.
    cut_off: Option<String>,
    /// Only cut-offs before this one are listed, Unix milliseconds.
    before: Option<u64>,
    /// Only exchanges to this brand; of all when empty.
    to: Option<String>,
    /// Only exchanges that have come so far: `held`, `final`, `acknowledged`, `returned`, `withdrawn` or `void`.
    state: Option<String>,
    /// Where the page of exchanges begins.
    exchanges: Option<String>,
    /// Where the pages before it begin, with dots between, for the way back.
    trail: Option<String>,
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
    let clearings = app.node.clearings(query.before, CUT_OFFS_SHOWN).await?;
    let listing = exchanges_asked_for(query.to, query.state, query.exchanges, query.trail)?;
    let to = Some(listing.to.as_str()).filter(|to| !to.is_empty()).map(brand_named).transpose()?;
    let wanted = ExchangeFilter { to, state: listing.state };
    let request = ListRequest { place: listing.place.clone(), limit: EXCHANGES_SHOWN };
    let exchanges = app.node.exchanges_page(request, wanted).await?;
    let mut views = PartnerViews {
        status: app.node.status(),
        partners: app.node.partners().await?,
        exchanges: exchanges.items,
        listing: ExchangeListing { next: exchanges.next, ..listing },
        received: app.node.received(None, RECEIVED_SHOWN).await?,
        disputes: app.node.disputes().await?,
        clearings: ClearingPage::new(clearings, CUT_OFFS_SHOWN),
        ..PartnerViews::default()
    };
    if !cut_off.is_empty() {
        let at = parse_cut_off(&cut_off);
        match at {
            Some(at) => match app.node.statement(at).await {
                Ok(statement) => views.statement = Some(statement),
                Err(error) => {
                    views.statement_problem = Some(Problem::from(error).words(visitor.language))
                }
            },
            None => {
                views.statement_problem = Some(
                    "a time is written 2026-10-31T15:59:59.999 / 时间格式：2026-10-31T15:59:59.999"
                        .into(),
                );
            }
        }
        let local = at.and_then(local_cut_off);
        views.cut_off = local.unwrap_or_else(|| cut_off.chars().take(32).collect());
    }
    let page = partner_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// Which page of exchanges a request is for. A form sends what was not chosen as an empty text.
fn exchanges_asked_for(
    to: Option<String>,
    state: Option<String>,
    place: Option<String>,
    trail: Option<String>,
) -> Result<ExchangeListing, Problem> {
    let state = state.filter(|state| !state.is_empty());
    let named = |state: String| {
        ListedState::from_name(&state).ok_or_else(|| {
            let known = ListedState::ALL.map(ListedState::name).join(", ");
            Problem::new(
                StatusCode::BAD_REQUEST,
                "parameter_invalid",
                "state is none that an exchange has",
                format!("one of {known}"),
            )
        })
    };
    let is_cursor = |text: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !text.is_empty() && text.bytes().all(fits)
    };
    let trail = trail.unwrap_or_default();
    Ok(ExchangeListing {
        to: to.unwrap_or_default(),
        state: state.map(named).transpose()?,
        place: place.filter(|place| !place.is_empty()),
        trail: trail.split('.').filter(is_cursor).map(str::to_owned).collect(),
        next: None,
    })
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

/// What the officer's page is to show beside the report.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfficerQuery {
    /// `count` to count members' consents, which opens each member's record.
    consents: Option<String>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// Heads, evidence, rule changes, keys, budget: the report of one moment.
#[utoipa::path(get, path = "/officer", tag = "console", params(OfficerQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn officer(
    State(app): State<App>,
    visitor: Visitor<perm::SeeOfficerPage>,
    Query(query): Query<OfficerQuery>,
) -> Result<Response, Problem> {
    let mut views = officer_views(&app).await?;
    if query.consents.as_deref() == Some("count") {
        views.consents = Some(app.node.consent_counts().await?);
    }
    rendered(officer_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

/// The file of an upload.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form, which is read part by part")]
pub(super) struct AuditUpload {
    /// What `coalition audit --json` wrote.
    #[schema(value_type = Option<String>, format = Binary)]
    report: Option<Vec<u8>>,
}

/// Shows the report of an audit beside what this node knows of the logs. Nothing of it is kept.
#[utoipa::path(post, path = "/officer/audit", tag = "console",
    request_body(content = AuditUpload, content_type = "multipart/form-data"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn officer_audit(
    State(app): State<App>,
    visitor: Visitor<perm::SeeOfficerPage>,
    _: SameOrigin,
    files: Result<Files, Problem>,
) -> Result<Response, Problem> {
    let (audit, problem) = match compared(&app, files).await {
        Ok(audit) => (Some(audit), None),
        Err(problem) => (None, Some(problem.words(visitor.language))),
    };
    let views = OfficerViews { audit, problem, ..officer_views(&app).await? };
    rendered(officer_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

/// Has the node copy all logs and audit the copies, and shows the page again.
#[utoipa::path(post, path = "/officer/own-audit", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn officer_own_audit(
    State(app): State<App>,
    visitor: Visitor<perm::SeeOfficerPage>,
    _: SameOrigin,
) -> Result<Response, Problem> {
    let begun = app.node.start_audit().map_err(Problem::from);
    let problem = begun.err().map(|problem| problem.words(visitor.language));
    let views = OfficerViews { problem, ..officer_views(&app).await? };
    rendered(officer_page(&views, visitor.language, &visitor.proof, &visitor.pages), StatusCode::OK)
}

async fn compared(app: &App, files: Result<Files, Problem>) -> Result<AuditView, Problem> {
    let report = files?.text("report")?.ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "file_missing",
            "no file was chosen, or it is empty / 未选择文件，或文件为空",
            "choose the file that coalition audit --json wrote / 请选择 coalition audit --json 写出的文件",
        )
    })?;
    Ok(app.node.compare_audit(&report).await?)
}

async fn officer_views(app: &App) -> Result<OfficerViews, Problem> {
    let status = app.node.status();
    // files that cannot be read take no report away: those of drafts are told of on the administrator's page
    let mut drafts = app.node.drafts().await.unwrap_or_default();
    drafts.retain(|draft| draft.epoch > status.epoch);
    Ok(OfficerViews {
        status,
        partners: app.node.partners().await?,
        disputes: app.node.disputes().await?,
        constitutions: app.node.constitutions().await?,
        drafts,
        sealing_keys: app.node.sealing_keys().await?,
        running_audit: app.node.audits().view(),
        own_audit: app.node.own_audit().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "the own audit's result cannot be shown");
            None
        }),
        ..OfficerViews::default()
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
