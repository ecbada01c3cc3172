//! Handlers of `/api/v1`: one for each operation of [`Node`](crate::service::Node), which each first
//! asks for the proof that the caller may.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::ids::BrandId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{IdempotencyKey, Json, Path, Query, bearer};
use super::listed::Asked;
use super::members::asker;
use super::{App, Problem};
use crate::auth::{Authorized, Role, perm};
use crate::desk::Deed;
use crate::service::*;

/// Most items of one page.
pub(super) const PAGE_MAX: u32 = 1000;
const PAGE_DEFAULT: u32 = 100;

pub(super) type Result<T, E = Problem> = std::result::Result<T, E>;

/// A sign-in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// The user's name.
    pub user: String,
    /// The password.
    #[schema(format = Password)]
    pub password: String,
    /// Six digits of the second factor, or a recovery code, where the user has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A session that has begun.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The bearer token, shown this once.
    pub token: String,
    /// When the session ends, Unix milliseconds.
    pub expires_ms: u64,
    /// The user's roles.
    pub roles: Vec<Role>,
}

/// Whether the node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `stopping` with status 503.
    pub status: String,
    /// The node's version.
    pub version: String,
    /// Whose node it is.
    pub brand: String,
}

/// A page of members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CardPage {
    /// Members, in order.
    pub members: Vec<ListedMember>,
    /// The `after` of the next page, if there may be one.
    pub next: Option<String>,
}

/// Which brand a code is for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkCodeRequest {
    /// The brand from whose account the member will link this one.
    pub brand: String,
}

/// A link to another brand.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// The other brand.
    pub brand: String,
    /// The one-time code the member got there.
    pub code: String,
}

/// Which page of card numbers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CardsQuery {
    /// Only members with at least so many points.
    #[serde(default)]
    least_points: u64,
    /// Members after this one: `~` and the id, or a card number.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Which exchanges, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangesQuery {
    /// Only those to this brand.
    to: Option<String>,
    /// Only those that have come so far.
    #[param(inline)]
    state: Option<ListedState>,
    /// Where the page begins: as the `Link` of the page before has it.
    before: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// The brand of this id.
pub(super) fn brand_named(text: &str) -> Result<BrandId> {
    BrandId::new(text).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "parameter_invalid",
            error.to_string(),
            "send the id of a brand, as /api/v1/partners has it",
        )
    })
}

pub(super) fn page_size(limit: Option<u32>) -> Result<u32> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "parameter_invalid",
        format!("limit is {limit}"),
        format!("a limit is 1 to {PAGE_MAX}"),
    ))
}

/// Whether the node answers.
#[utoipa::path(get, path = "/healthz", tag = "node", responses(
    (status = 200, description = "It does", body = Health),
    (status = 503, description = "It is stopping", body = Health)))]
pub(super) async fn health(State(app): State<App>) -> impl IntoResponse {
    let (code, status) = if app.node.is_stopped() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else {
        (StatusCode::OK, "ok")
    };
    let health = Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        brand: app.node.brand().to_string(),
    };
    (code, Json(health))
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "node", responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], super::openapi::json())
}

/// Signs in.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "sessions", request_body = SessionRequest,
    responses((status = 201, description = "Signed in", body = SessionView)))]
pub(super) async fn sign_in(
    State(app): State<App>,
    Json(request): Json<SessionRequest>,
) -> Result<impl IntoResponse> {
    let code = request.code.as_deref();
    let begun = app.auth.sign_in_with(&request.user, &request.password, code).await?;
    let view = SessionView {
        token: begun.token.to_string(),
        expires_ms: begun.expires_ms,
        roles: begun.roles,
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Signs out: ends the session of the token.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "sessions",
    responses((status = 204, description = "Signed out")))]
pub(super) async fn sign_out(
    _: Authorized<perm::EndSession>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    // who comes with a certificate has no session to end
    if let Ok(token) = bearer(&headers) {
        app.auth.sign_out(token);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The state of the node.
#[utoipa::path(get, path = "/api/v1/status", tag = "node",
    responses((status = 200, description = "As of the last change", body = Status)))]
pub(super) async fn status(
    by: Authorized<perm::ReadStatus>,
    State(app): State<App>,
) -> Json<Status> {
    let status = app.node.status();
    Json(if by.also::<perm::ReadSizes>() { status } else { status.without_sizes() })
}

/// Members with points to spend: by the names that this node has for them, with their cards as the table of fields shows
/// them. An entry of the operation log about as many members.
#[utoipa::path(get, path = "/api/v1/members", tag = "members", params(CardsQuery),
    responses((status = 200, description = "A page of them", body = CardPage)))]
pub(super) async fn cards(
    by: Authorized<perm::ReadMembers>,
    State(app): State<App>,
    Query(query): Query<CardsQuery>,
) -> Result<Json<CardPage>> {
    let limit = page_size(query.limit)?;
    let staff = app.node.staff(by.user());
    let members = staff.members(query.least_points, query.after, limit, by.roles()).await?;
    let full = u32::try_from(members.len()).is_ok_and(|length| length >= limit);
    // who was erased meanwhile has no name: the next page then begins after somebody before
    let next = members.iter().rev().find(|it| full && !it.member.is_empty());
    let next = next.map(|it| it.member.clone());
    Ok(Json(CardPage { members, next }))
}

/// One member.
#[utoipa::path(get, path = "/api/v1/members/{card}", tag = "members",
    params(("card" = String, Path, description = "Card number")),
    responses((status = 200, description = "The member", body = MemberView)))]
pub(super) async fn member(
    by: Authorized<perm::ReadMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
) -> Result<Json<MemberView>> {
    app.node.note(&asker(&by), Deed::Read, "points and links", &card).await?;
    Ok(Json(app.node.member(card).await?))
}

/// Makes a one-time code for linking this member's account from another brand.
#[utoipa::path(post, path = "/api/v1/members/{card}/link-codes", tag = "members",
    params(("card" = String, Path, description = "Card number")), request_body = LinkCodeRequest,
    responses((status = 201, description = "The code, shown this once", body = LinkCodeView)))]
pub(super) async fn link_code(
    by: Authorized<perm::ManageMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<LinkCodeRequest>,
) -> Result<impl IntoResponse> {
    app.node.note(&asker(&by), Deed::Link, "a code for another brand", &card).await?;
    Ok((StatusCode::CREATED, Json(app.node.link_code(card, request.brand).await?)))
}

/// Links a member's account to another brand.
#[utoipa::path(post, path = "/api/v1/members/{card}/links", tag = "members",
    params(("card" = String, Path, description = "Card number")), request_body = LinkRequest,
    responses((status = 202, description = "On its way to the other brand", body = LinkView)))]
pub(super) async fn link(
    by: Authorized<perm::ManageMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<LinkRequest>,
) -> Result<impl IntoResponse> {
    app.node.note(&asker(&by), Deed::Link, "a link to another brand", &card).await?;
    let view = app.node.link(card, request.brand, request.code).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Enters a member's decision on one purpose.
#[utoipa::path(post, path = "/api/v1/members/{card}/consents", tag = "members",
    params(("card" = String, Path, description = "Card number")), request_body = ConsentRequest,
    responses((status = 204, description = "It holds from now on")))]
pub(super) async fn consent(
    by: Authorized<perm::ManageMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<ConsentRequest>,
) -> Result<impl IntoResponse> {
    app.node.decide(by.user(), card, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchanges a member's points for another brand's.
#[utoipa::path(post, path = "/api/v1/exchanges", tag = "exchanges", request_body = ExchangeRequest,
    params(("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a request under its key is safe")),
    responses((status = 202, description = "Accepted; final once its block is certified", body = ExchangeView)))]
pub(super) async fn exchange(
    by: Authorized<perm::ExchangePoints>,
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<ExchangeRequest>,
) -> Result<impl IntoResponse> {
    app.node.note(&asker(&by), Deed::Exchange, "points to another brand", &request.card).await?;
    let view = app.node.exchange(key, request).await?;
    let location = [(header::LOCATION, format!("/api/v1/exchanges/{}", view.id))];
    Ok((StatusCode::ACCEPTED, location, Json(view)))
}

/// Exchanges, newest first. Where few are wanted a page may have fewer than `limit` and still a next one.
#[utoipa::path(get, path = "/api/v1/exchanges", tag = "exchanges", params(ExchangesQuery),
    responses((status = 200, description = "Exchanges", body = [ExchangeView])))]
pub(super) async fn exchanges(
    _: Authorized<perm::ReadExchanges>,
    State(app): State<App>,
    Query(query): Query<ExchangesQuery>,
    asked: Asked,
) -> Result<Response> {
    let to = query.to.as_deref().map(brand_named).transpose()?;
    let wanted = ExchangeFilter { to, state: query.state };
    let request = ListRequest { place: query.before, limit: page_size(query.limit)? };
    asked.before(app.node.exchanges_page(request, wanted).await?)
}

/// Of whom, and which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceivedQuery {
    /// Only those of the member with this card number.
    card: Option<String>,
    /// Where the page begins: as the `Link` of the page before has it.
    before: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Exchanges that came in from other brands, newest first.
#[utoipa::path(get, path = "/api/v1/exchanges/received", tag = "exchanges", params(ReceivedQuery),
    responses((status = 200, description = "Exchanges credited here", body = [ReceivedView])))]
pub(super) async fn received(
    _: Authorized<perm::ReadExchanges>,
    State(app): State<App>,
    Query(query): Query<ReceivedQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = ListRequest { place: query.before, limit: page_size(query.limit)? };
    asked.before(app.node.received_page(request, query.card).await?)
}

/// Sends points that came from another brand back to it, for a member: all of an exchange or a part.
#[utoipa::path(post, path = "/api/v1/exchanges/received/returns", tag = "exchanges",
    request_body = SendBackRequest,
    params(("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a request under its key is safe")),
    responses((status = 202, description = "Held; gone once its block is certified", body = ReceivedView)))]
pub(super) async fn send_back(
    _: Authorized<perm::ExchangePoints>,
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<SendBackRequest>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.send_back(key, request).await?)))
}

/// One exchange.
#[utoipa::path(get, path = "/api/v1/exchanges/{id}", tag = "exchanges",
    params(("id" = String, Path, description = "32 hex digits")),
    responses((status = 200, description = "The exchange", body = ExchangeView)))]
pub(super) async fn exchange_by_id(
    _: Authorized<perm::ReadExchanges>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<ExchangeView>> {
    Ok(Json(app.node.exchange_by_id(id).await?))
}

/// The receipt of a final exchange, for the member to keep.
#[utoipa::path(get, path = "/api/v1/exchanges/{id}/receipt", tag = "exchanges",
    params(("id" = String, Path, description = "32 hex digits")),
    responses((status = 200, description = "A C2SP tlog-proof", body = String, content_type = "text/plain")))]
pub(super) async fn receipt(
    _: Authorized<perm::ReadExchanges>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<String> {
    Ok(app.node.receipt(id).await?)
}

/// The receipt with what opens its entry, and no other: for the member, a dispute, a court.
#[utoipa::path(get, path = "/api/v1/exchanges/{id}/opened-receipt", tag = "exchanges",
    params(("id" = String, Path, description = "32 hex digits")),
    responses((status = 200, description = "A C2SP tlog-proof with an extra line", body = String, content_type = "text/plain")))]
pub(super) async fn opened_receipt(
    _: Authorized<perm::ReadExchanges>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<String> {
    Ok(app.node.opened_receipt(id).await?)
}

/// Every constitution after the first, drafts too, and how far each has come.
#[utoipa::path(get, path = "/api/v1/constitutions", tag = "constitutions",
    responses((status = 200, description = "The constitutions", body = [ConstitutionView])))]
pub(super) async fn constitutions(
    _: Authorized<perm::ReadConstitutions>,
    State(app): State<App>,
) -> Result<Json<Vec<ConstitutionView>>> {
    Ok(Json(app.node.constitutions().await?))
}

/// Reads the constitutions that have come into the node's data directory, and enters in this brand's log
/// what it says of them.
#[utoipa::path(post, path = "/api/v1/constitutions", tag = "constitutions",
    responses((status = 200, description = "How far each has come", body = [ConstitutionView])))]
pub(super) async fn read_constitutions(
    _: Authorized<perm::TakeConstitutions>,
    State(app): State<App>,
) -> Result<Json<Vec<ConstitutionView>>> {
    Ok(Json(app.node.read_constitutions().await?))
}

/// Lets an auditor open blocks of this brand's log. The log says so, to everyone.
#[utoipa::path(post, path = "/api/v1/disclosures", tag = "audit", request_body = DisclosureRequest,
    responses((status = 202, description = "Enters the log with the next block", body = DisclosureView)))]
pub(super) async fn disclose(
    _: Authorized<perm::Disclose>,
    State(app): State<App>,
    Json(request): Json<DisclosureRequest>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.disclose(request).await?)))
}

/// This brand's sealing keys, oldest first. Only public halves.
#[utoipa::path(get, path = "/api/v1/sealing-keys", tag = "node",
    responses((status = 200, description = "The keys", body = [SealingKeyView])))]
pub(super) async fn sealing_keys(
    _: Authorized<perm::ReadKeys>,
    State(app): State<App>,
) -> Result<Json<Vec<SealingKeyView>>> {
    Ok(Json(app.node.sealing_keys().await?))
}

/// Makes a new sealing key before its month is over: after a key may have been stolen.
#[utoipa::path(post, path = "/api/v1/sealing-keys", tag = "node",
    responses((status = 201, description = "The new key", body = SealingKeyView)))]
pub(super) async fn turn_sealing_key(
    _: Authorized<perm::ManageKeys>,
    State(app): State<App>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::CREATED, Json(app.node.turn_sealing_key().await?)))
}

/// Destroys the sealing keys whose retention is over, as the node does by itself.
#[utoipa::path(post, path = "/api/v1/sealing-keys/destruction", tag = "node",
    responses((status = 200, description = "Public halves of the destroyed keys, hex", body = [String])))]
pub(super) async fn destroy_sealing_keys(
    _: Authorized<perm::ManageKeys>,
    State(app): State<App>,
) -> Result<Json<Vec<String>>> {
    Ok(Json(app.node.destroy_sealing_keys().await?))
}

/// All disputes on record, with what can be done next.
#[utoipa::path(get, path = "/api/v1/disputes", tag = "partners",
    responses((status = 200, description = "By accuser and accused", body = [DisputeView])))]
pub(super) async fn disputes(
    _: Authorized<perm::ReadPartners>,
    State(app): State<App>,
) -> Result<Json<Vec<DisputeView>>> {
    Ok(Json(app.node.disputes().await?))
}

/// As the accused: proposes, in this brand's log, what a dispute comes to.
#[utoipa::path(post, path = "/api/v1/disputes/{brand}/proposal", tag = "partners",
    params(("brand" = String, Path, description = "Who disputes this brand's log")), request_body = ProposalRequest,
    responses((status = 202, description = "On its way into the log", body = DisputeView)))]
pub(super) async fn propose(
    _: Authorized<perm::ResolveDisputes>,
    State(app): State<App>,
    Path(brand): Path<String>,
    Json(request): Json<ProposalRequest>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.propose(brand, request).await?)))
}

/// As the accuser: agrees to what the accused brand's log last proposed.
#[utoipa::path(post, path = "/api/v1/disputes/{brand}/agreement", tag = "partners",
    params(("brand" = String, Path, description = "Whose log this brand disputes")),
    responses((status = 202, description = "What stands is credited; the agreement is on its way into the log", body = DisputeView)))]
pub(super) async fn agree(
    _: Authorized<perm::ResolveDisputes>,
    State(app): State<App>,
    Path(brand): Path<String>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.agree(brand).await?)))
}

/// Every other brand, as this one deals with it, with what can be done next.
#[utoipa::path(get, path = "/api/v1/partners", tag = "partners",
    responses((status = 200, description = "In the order of ids", body = [PartnerView])))]
pub(super) async fn partners(
    _: Authorized<perm::ReadPartners>,
    State(app): State<App>,
) -> Result<Json<Vec<PartnerView>>> {
    Ok(Json(app.node.partners().await?))
}

/// Agrees that the log of a brand that lied or failed be closed for good; nobody can take it back.
#[utoipa::path(post, path = "/api/v1/partners/{brand}/closing", tag = "partners",
    params(("brand" = String, Path, description = "Whose log")),
    responses((status = 202, description = "Closed when a quorum agrees", body = PartnerView)))]
pub(super) async fn close_partner(
    _: Authorized<perm::ClosePartners>,
    State(app): State<App>,
    Path(brand): Path<String>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.close_partner(brand).await?)))
}

/// Agrees that a brand that is suspended from joint questions, for an opening that did not come, be asked again.
#[utoipa::path(post, path = "/api/v1/partners/{brand}/readmission", tag = "partners",
    params(("brand" = String, Path, description = "Who is suspended")),
    responses((status = 202, description = "Readmitted when a quorum of the other brands agrees", body = PartnerView)))]
pub(super) async fn readmit_partner(
    _: Authorized<perm::ReadmitPartners>,
    State(app): State<App>,
    Path(brand): Path<String>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.readmit_partner(brand).await?)))
}

/// Which page of cut-offs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ClearingsQuery {
    /// Only cut-offs before this one, Unix milliseconds: the `next` of the page before.
    before: Option<u64>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// The cut-offs that this node knows, the newest first, and what this brand is to do about each.
#[utoipa::path(get, path = "/api/v1/clearings", tag = "clearings", params(ClearingsQuery),
    responses((status = 200, description = "A page of cut-offs", body = ClearingPage)))]
pub(super) async fn clearings(
    _: Authorized<perm::ReadClearings>,
    State(app): State<App>,
    Query(query): Query<ClearingsQuery>,
) -> Result<Json<ClearingPage>> {
    let limit = page_size(query.limit)?;
    let clearings = app.node.clearings(query.before, limit).await?;
    Ok(Json(ClearingPage::new(clearings, limit)))
}

/// Enters this brand's closing for a cut-off that has passed.
#[utoipa::path(post, path = "/api/v1/clearings/{cut_off_ms}/closing", tag = "clearings",
    params(("cut_off_ms" = u64, Path, description = "Unix milliseconds")),
    responses((status = 202, description = "Entered", body = StatementView)))]
pub(super) async fn close(
    _: Authorized<perm::CloseCycle>,
    State(app): State<App>,
    Path(cut_off_ms): Path<u64>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.close(cut_off_ms).await?)))
}

/// The clearing statement of a cut-off.
#[utoipa::path(get, path = "/api/v1/clearings/{cut_off_ms}", tag = "clearings",
    params(("cut_off_ms" = u64, Path, description = "Unix milliseconds")),
    responses((status = 200, description = "The statement as this node derives it", body = StatementView)))]
pub(super) async fn statement(
    _: Authorized<perm::ReadClearings>,
    State(app): State<App>,
    Path(cut_off_ms): Path<u64>,
) -> Result<Json<StatementView>> {
    Ok(Json(app.node.statement(cut_off_ms).await?))
}

/// States, as payer, that a payment of a clearing statement was made outside. Lowers nothing.
#[utoipa::path(post, path = "/api/v1/clearings/{cut_off_ms}/payments", tag = "clearings",
    params(("cut_off_ms" = u64, Path, description = "Unix milliseconds")), request_body = PaymentRequest,
    responses((status = 202, description = "Entered; repeating it is safe", body = StatementView)))]
pub(super) async fn settled(
    _: Authorized<perm::SettleClearings>,
    State(app): State<App>,
    Path(cut_off_ms): Path<u64>,
    Json(request): Json<PaymentRequest>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.settled(cut_off_ms, request).await?)))
}

/// Confirms, as payee, that a payment of a clearing statement has arrived.
#[utoipa::path(post, path = "/api/v1/clearings/{cut_off_ms}/confirmations", tag = "clearings",
    params(("cut_off_ms" = u64, Path, description = "Unix milliseconds")), request_body = PaymentRequest,
    responses((status = 202, description = "Entered; repeating it is safe", body = StatementView)))]
pub(super) async fn confirm(
    _: Authorized<perm::SettleClearings>,
    State(app): State<App>,
    Path(cut_off_ms): Path<u64>,
    Json(request): Json<PaymentRequest>,
) -> Result<impl IntoResponse> {
    Ok((StatusCode::ACCEPTED, Json(app.node.confirm(cut_off_ms, request).await?)))
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// `csv`, `pacs.029` or `camt.053`.
    #[param(inline)]
    format: ExportFormat,
}

/// The clearing statement of a cut-off for banks and books.
#[utoipa::path(get, path = "/api/v1/clearings/{cut_off_ms}/export", tag = "clearings",
    params(("cut_off_ms" = u64, Path, description = "Unix milliseconds"), ExportQuery),
    responses((status = 200, description = "A table, or an ISO 20022 message", content(
        (String = "text/csv"), (String = "application/xml")))))]
pub(super) async fn export(
    _: Authorized<perm::ReadClearings>,
    State(app): State<App>,
    Path(cut_off_ms): Path<u64>,
    Query(query): Query<ExportQuery>,
) -> Result<impl IntoResponse> {
    let kind = match query.format {
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        ExportFormat::Pacs029 | ExportFormat::Camt053 => "application/xml",
    };
    let bytes = app.node.export(cut_off_ms, query.format).await?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes))
}

/// Stops the node once what is under way is durable.
#[utoipa::path(post, path = "/api/v1/stop", tag = "node",
    responses((status = 202, description = "Stopping")))]
pub(super) async fn stop(
    _: Authorized<perm::StopNode>,
    State(app): State<App>,
) -> Result<StatusCode> {
    app.node.stop().await?;
    Ok(StatusCode::ACCEPTED)
}
