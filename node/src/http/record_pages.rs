//! The officer's page of requests, operations, breaches and assessments: its forms do what the API's routes do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Form, Query};
use super::members::asker;
use super::pages::{SameOrigin, number, rendered};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{Done, RecordsViews, records_page};
use crate::service::{
    AnswerRequest, Asker, AssessmentRequest, BreachRequest, ErrorKind, ServiceError, ToldRequest,
};

/// Requests shown.
const REQUESTS_SHOWN: u32 = 50;
/// Entries of the operation log shown.
const OPERATIONS_SHOWN: u32 = 50;
/// Alerts read at once, and shown.
const ALERTS_READ: u32 = 1_000;
const ALERTS_SHOWN: usize = 25;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Which entries of the operation log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BeforeQuery {
    /// Those before this number; the latest without it.
    before: Option<u64>,
    /// `zh` or `en`; without it, what the browser prefers.
    #[serde(rename = "lang")]
    _lang: Option<String>,
}

/// What a form of the page asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum RecordForm {
    /// Answers a request.
    Answer { request: String, outcome: String, why: String },
    /// Enters a breach, found so many whole `hours` ago: without them now.
    Breach {
        what: String,
        measures: String,
        members: String,
        #[serde(default)]
        hours: String,
    },
    /// Enters who was told of it: `authority`, `members`, or `need_not` with the reason.
    Told { number: String, who: String, why: String },
    /// Enters an assessment.
    Assess { occasion: String, purpose: String, risks: String, measures: String },
}

/// Requests with their clocks, the operation log, what is unusual in it, breaches, assessments.
#[utoipa::path(get, path = "/records", tag = "console", params(BeforeQuery), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn records(
    State(app): State<App>,
    visitor: Visitor<perm::UseRecordsPage>,
    Query(query): Query<BeforeQuery>,
) -> Result<Response, Problem> {
    shown(&app, &visitor, query.before, RecordsViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/records", tag = "console",
    request_body(content = RecordForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn record_form(
    State(app): State<App>,
    visitor: Visitor<perm::UseRecordsPage>,
    _: SameOrigin,
    Form(form): Form<RecordForm>,
) -> Result<Response, Problem> {
    let mut views = RecordsViews::default();
    match done(&app, &asker(&visitor.proof), form).await {
        Ok(done) => views.done = Some(done),
        Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
    }
    shown(&app, &visitor, None, views).await
}

async fn done(app: &App, by: &Asker, form: RecordForm) -> Result<Done, ServiceError> {
    let said = |text: String| (!text.trim().is_empty()).then_some(text);
    match form {
        RecordForm::Answer { request, outcome, why } => {
            let answer = AnswerRequest { outcome, why: said(why) };
            app.node.answer_request(&by.user, request, answer).await?;
            Ok(Done::Answered)
        }
        RecordForm::Breach { what, measures, members, hours } => {
            let members = number(&members)?;
            let hours: u64 = if hours.trim().is_empty() { 0 } else { number(&hours)? };
            let before = hours.saturating_mul(HOUR_MS);
            let found = app.node.status().now_ms.saturating_sub(before);
            let found_ms = (hours > 0).then_some(found);
            let breach = BreachRequest { found_ms, what, measures, members };
            app.node.enter_breach(by, breach).await?;
            Ok(Done::Breach)
        }
        RecordForm::Told { number: of, who, why } => {
            let why = said(why);
            if who == "need_not" && why.is_none() {
                return Err(ServiceError::new(
                    ErrorKind::Invalid,
                    "reason_missing",
                    "that members need not be told has no reason / 未写无需告知的理由",
                    "write why / 请写明理由",
                ));
            }
            let told = ToldRequest {
                authority: who == "authority",
                members: who == "members",
                not_told_because: why.filter(|_| who == "need_not"),
            };
            app.node.breach_told(by, number(&of)?, told).await?;
            Ok(Done::Told)
        }
        RecordForm::Assess { occasion, purpose, risks, measures } => {
            let assessment = AssessmentRequest { occasion, purpose, risks, measures };
            app.node.assess(by, assessment).await?;
            Ok(Done::Assessment)
        }
    }
}

async fn shown(
    app: &App,
    visitor: &Visitor<perm::UseRecordsPage>,
    before: Option<u64>,
    views: RecordsViews,
) -> Result<Response, Problem> {
    let entries = app.node.operation_count().await?;
    let end = before.map_or(entries, |before| entries.min(before.saturating_sub(1)));
    let older = end.saturating_sub(u64::from(OPERATIONS_SHOWN));
    let many = u32::try_from(end - older).unwrap_or(OPERATIONS_SHOWN);
    let mut operations = match many {
        0 => Vec::new(),
        many => app.node.operations(older, many).await?,
    };
    operations.reverse();
    let mut alerts = app.node.alerts(0, ALERTS_READ).await?;
    // the last page has the latest
    while let Some(last) = alerts.alerts.last() {
        let next = app.node.alerts(last.number, ALERTS_READ).await?;
        if next.alerts.is_empty() {
            break;
        }
        alerts.alerts.extend(next.alerts);
        let many = alerts.alerts.len();
        alerts.alerts.drain(..many.saturating_sub(ALERTS_SHOWN));
    }
    alerts.alerts.reverse();
    alerts.alerts.truncate(ALERTS_SHOWN);
    let views = RecordsViews {
        status: app.node.status(),
        requests: app.node.requests(None, REQUESTS_SHOWN).await?,
        alerts,
        operations,
        older,
        breaches: app.node.breaches().await?,
        assessments: app.node.assessments().await?,
        ..views
    };
    let page = records_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}
