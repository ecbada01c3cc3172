//! Handlers of the points programme: the counter's, the manager's, the reviewer's, the app's.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::conditional::IfMatch;
use super::extract::{IdempotencyKey, Json, Path, Query};
use super::listed::{Asked, large_page};
use super::members::{asker, took_second_step};
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::desk::Deed;
use crate::service::*;

type Result<T, E = Problem> = std::result::Result<T, E>;

/// After which notice.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AfterQuery {
    /// Notices with a higher number.
    #[serde(default)]
    after: u64,
}

/// The rules in plain words, Chinese and English, and the notice of a change to come. For everyone.
#[utoipa::path(get, path = "/api/v1/programme/rules", tag = "programme",
    responses((status = 200, description = "The rules", body = RulesView)))]
pub(super) async fn rules(State(app): State<App>) -> Result<Json<RulesView>> {
    Ok(Json(app.node.programme_rules().await?))
}

/// Takes the first rules, or announces others.
#[utoipa::path(post, path = "/api/v1/programme/rules", tag = "programme", request_body = RulesRequest,
    params(("If-Match" = Option<String>, Header,
        description = "The ETag of the rules that the new ones were written after: they are taken if nobody changed those meanwhile")),
    responses(
        (status = 200, description = "The rules as members read them now", body = RulesView),
        (status = 412, description = "The rules were changed meanwhile", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn take_rules(
    by: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    seen: IfMatch,
    Json(request): Json<RulesRequest>,
) -> Result<Json<RulesView>> {
    let _alone = app.replacing.lock().await;
    if seen.is_stated() {
        seen.check(&app.node.programme_rules().await?)?;
    }
    Ok(Json(app.node.staff(by.user()).take_rules(request).await?))
}

/// The books: trial balance, liability, breakage.
#[utoipa::path(get, path = "/api/v1/programme/report", tag = "programme",
    responses((status = 200, description = "The books", body = ProgrammeReportView)))]
pub(super) async fn report(
    _: Authorized<perm::ReadProgramme>,
    State(app): State<App>,
) -> Result<Json<ProgrammeReportView>> {
    Ok(Json(app.node.programme_report().await?))
}

/// Stock of rewards, coupons, tests of offers, campaigns with the results of their groups.
#[utoipa::path(get, path = "/api/v1/programme/campaigns", tag = "programme",
    responses((status = 200, description = "What there is", body = CampaignsView)))]
pub(super) async fn campaigns(
    _: Authorized<perm::ReadProgramme>,
    State(app): State<App>,
) -> Result<Json<CampaignsView>> {
    Ok(Json(app.node.programme_campaigns().await?))
}

/// Sets stock, withdraws announced rules, keeps or drops segments, makes or ends campaigns.
#[utoipa::path(post, path = "/api/v1/programme/actions", tag = "programme", request_body = ManagerAction,
    responses((status = 200, description = "Done", body = DoneView)))]
pub(super) async fn manage(
    by: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    Json(action): Json<ManagerAction>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.staff(by.user()).manage(action).await?))
}

/// Segments, those of the rules and those that staff keeps, with how many members each has.
#[utoipa::path(get, path = "/api/v1/programme/segments", tag = "programme",
    responses((status = 200, description = "The segments", body = SegmentsView)))]
pub(super) async fn segments(
    _: Authorized<perm::ReadProgramme>,
    State(app): State<App>,
) -> Result<Json<SegmentsView>> {
    Ok(Json(app.node.programme_segments(None).await?))
}

/// The same, and how many members a segment would have. Nothing is kept.
#[utoipa::path(post, path = "/api/v1/programme/segments/count", tag = "programme",
    request_body = SegmentRequest,
    responses((status = 200, description = "The segments; `asked` has the number", body = SegmentsView)))]
pub(super) async fn count_segment(
    _: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    Json(request): Json<SegmentRequest>,
) -> Result<Json<SegmentsView>> {
    Ok(Json(app.node.programme_segments(Some(request)).await?))
}

/// The rules in force and those announced, as files, for who changes them.
#[utoipa::path(get, path = "/api/v1/programme/rules/file", tag = "programme",
    responses((status = 200, description = "The files", body = RulesFileView)))]
pub(super) async fn rules_file(
    _: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
) -> Result<Json<RulesFileView>> {
    Ok(Json(app.node.programme_rules_file().await?))
}

/// One member: points, lots and their expiry, tier and distance to the next, coupons to redeem.
#[utoipa::path(get, path = "/api/v1/programme/members/{card}", tag = "programme",
    params(("card" = String, Path, description = "Card number")),
    responses((status = 200, description = "The member", body = ProgrammeMemberView)))]
pub(super) async fn member(
    by: Authorized<perm::ReadMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
) -> Result<Json<ProgrammeMemberView>> {
    app.node.note(&asker(&by), Deed::Read, "points, lots, tier and coupons", &card).await?;
    Ok(Json(app.node.programme_member(card).await?))
}

/// Does something for a member: join, sign in, an activity, pay with points, claim a coupon, ask for a
/// reward, ask the service.
#[utoipa::path(post, path = "/api/v1/programme/members/{card}/actions", tag = "programme",
    params(("card" = String, Path, description = "Card number"), ("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating an action under its key is safe")),
    request_body = MemberAction,
    responses((status = 200, description = "Done, and durable", body = DoneView)))]
pub(super) async fn for_member(
    by: Authorized<perm::ManageMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(action): Json<MemberAction>,
) -> Result<impl IntoResponse> {
    Ok(Json(acted(&app, by.user(), key, card, action).await?))
}

/// Does something for the member whom the brand's app has recognised: join, an activity, a reward. What the member does by
/// oneself (sign in, claim a coupon, ask the service) the app does in the member's session, `/api/v1/me/actions`.
#[utoipa::path(post, path = "/api/v1/programme/members/{card}/app-actions", tag = "programme",
    params(("card" = String, Path, description = "Card number"), ("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating an action under its key is safe")),
    request_body = AppAction,
    responses((status = 200, description = "Done, and durable", body = DoneView)))]
pub(super) async fn for_apps_member(
    by: Authorized<perm::ActForAppsMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(action): Json<AppAction>,
) -> Result<Json<DoneView>> {
    Ok(Json(acted(&app, by.user(), key, card, action.into()).await?))
}

/// Does something for a member; what needs a second step of the member's is done when the code is one that the brand's app
/// has sent this member.
async fn acted(
    app: &App,
    by: &str,
    key: String,
    card: String,
    action: MemberAction,
) -> Result<DoneView> {
    let staff = app.node.staff(by);
    let done = staff.for_member(key.clone(), card.clone(), action.clone()).await?;
    if let MemberAction::HoldReward { reward, code, .. } = action
        && took_second_step(app, card.clone(), code.as_ref(), &done).await?
    {
        let action = MemberAction::HoldReward { reward, code: None, second_step: true };
        return Ok(staff.for_member(key, card, action).await?);
    }
    Ok(done)
}

/// Redeems a coupon by its code, hands over a reward, or gives it up.
#[utoipa::path(post, path = "/api/v1/programme/till", tag = "programme",
    params(("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating an action under its key is safe")),
    request_body = TillAction,
    responses((status = 200, description = "Done, and durable", body = DoneView)))]
pub(super) async fn till(
    by: Authorized<perm::ManageMembers>,
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(action): Json<TillAction>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.staff(by.user()).at_till(key, action).await?))
}

/// Which cases.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesQuery {
    /// Those that are closed, the latest first; without it, those that are open.
    #[serde(default)]
    closed: bool,
    /// Where the page begins: as the `Link` of the page before has it.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// Which page of requests.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceRequestsQuery {
    /// Where the page begins: as the `Link` of the page before has it.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// Cases to be reviewed, the most urgent first; or those that were.
#[utoipa::path(get, path = "/api/v1/programme/cases", tag = "programme", params(CasesQuery),
    responses((status = 200, description = "Cases", body = [CaseView])))]
pub(super) async fn cases(
    _: Authorized<perm::ReviewProgramme>,
    State(app): State<App>,
    Query(query): Query<CasesQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.after, query.limit)?;
    asked.after(app.node.cases_page(request, query.closed).await?)
}

/// Members' requests, open ones first.
#[utoipa::path(get, path = "/api/v1/programme/requests", tag = "programme", params(ServiceRequestsQuery),
    responses((status = 200, description = "Requests", body = [RequestView])))]
pub(super) async fn requests(
    _: Authorized<perm::ReviewProgramme>,
    State(app): State<App>,
    Query(query): Query<ServiceRequestsQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.after, query.limit)?;
    asked.after(app.node.service_requests_page(request).await?)
}

/// Closes a case or answers a request.
#[utoipa::path(post, path = "/api/v1/programme/reviews", tag = "programme", request_body = ReviewAction,
    responses((status = 200, description = "Done", body = DoneView)))]
pub(super) async fn review(
    by: Authorized<perm::ReviewProgramme>,
    State(app): State<App>,
    Json(action): Json<ReviewAction>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.review_programme(action, by.user().to_owned()).await?))
}

/// Notices for who pushes messages, oldest first. Those of offers that take a consent to marketing are left out
/// while the member has none: ask at the moment of pushing. Cards are whole for the brand's own app, which addresses
/// members by them, and masked for people; each answer is an entry of the operation log about as many members.
#[utoipa::path(get, path = "/api/v1/programme/notices", tag = "programme", params(AfterQuery),
    responses((status = 200, description = "Notices, and whether some are kept no longer", body = NoticesView)))]
pub(super) async fn notices(
    by: Authorized<perm::PushNotices>,
    State(app): State<App>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<NoticesView>> {
    Ok(Json(app.node.staff(by.user()).notices(query.after, by.roles()).await?))
}
