//! Routes about members: for staff and officers, for the brand's app, and for the member.
//!
//! The member's own begin with `/api/v1/me` and take a member's session, which the brand's app begins.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::api::page_size;
use super::extract::{IdempotencyKey, Json, Path, Query};
use super::listed::{Asked, BehindQuery, large_page};
use super::{App, Problem};
use crate::auth::{Authorized, MemberSession, Permission, perm};
use crate::desk::{Deed, MEMBER, MemberExport, MemberRecordView, PairView, RequestView};
use crate::service::*;

type Result<T, E = Problem> = std::result::Result<T, E>;

/// Who asks, for the operations of the desk.
pub(super) fn asker<P: Permission>(by: &Authorized<P>) -> Asker {
    Asker { user: by.user().to_owned(), roles: by.roles().to_vec() }
}

/// After which entry, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AfterQuery {
    /// Entries after this number.
    #[serde(default)]
    after: u64,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Whose requests.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestsQuery {
    /// A card number, or `~` and the id: all requests of that member, the oldest first. Without it, those that are open.
    card: Option<String>,
    /// Where the page begins: as the `Link` of the page before has it.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Which page of records.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordsQuery {
    /// Where the page begins: as the `Link` of the page before has it.
    after: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// Whose session.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberSessionRequest {
    /// The card number, or `~` and the id, of the member whom the app has recognised.
    pub card: String,
}

/// A member's session that has begun.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct MemberSessionView {
    /// The bearer token, shown this once.
    pub token: String,
    /// When the session ends, Unix milliseconds.
    pub expires_ms: u64,
}

/// A second factor that is being set up.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SecondFactorView {
    /// The secret, as it is typed into an authenticator.
    pub secret: String,
    /// The same as a link, for a picture.
    pub uri: String,
    /// Codes for whoever loses the authenticator; each is good for one sign-in.
    pub recovery_codes: Vec<String>,
}

/// A code of the second factor.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeRequest {
    /// Six digits.
    pub code: String,
}

/// Erases the member, for good.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnErasureRequest {
    /// Must be `erase`: nothing brings the account, its points or its links back.
    pub confirm: String,
}

/// Begins to set up the caller's second factor.
#[utoipa::path(post, path = "/api/v1/second-factor", tag = "sessions",
    responses((status = 200, description = "What an authenticator needs, once", body = SecondFactorView)))]
pub(super) async fn second_factor(
    by: Authorized<perm::SetUpSecondFactor>,
    State(app): State<App>,
) -> Result<Json<SecondFactorView>> {
    let (auth, user) = (app.auth.clone(), by.user().to_owned());
    let setup = tokio::task::spawn_blocking(move || auth.set_up_second_factor(&user)).await;
    let setup = setup.map_err(|_| Problem::internal())?.map_err(|error| {
        Problem::new(
            StatusCode::CONFLICT,
            "second_factor_refused",
            error.to_string(),
            "an administrator takes a lost one away with `coalition user second-factor`",
        )
    })?;
    let (secret, uri, recovery_codes) = (setup.secret, setup.uri, setup.recovery_codes);
    Ok(Json(SecondFactorView { secret, uri, recovery_codes }))
}

/// Takes the caller's second factor into use, by a first code. Ends the caller's sessions.
#[utoipa::path(post, path = "/api/v1/second-factor/confirmation", tag = "sessions",
    request_body = CodeRequest, responses((status = 204, description = "In use from now on")))]
pub(super) async fn confirm_second_factor(
    by: Authorized<perm::SetUpSecondFactor>,
    State(app): State<App>,
    Json(request): Json<CodeRequest>,
) -> Result<StatusCode> {
    let (auth, user) = (app.auth.clone(), by.user().to_owned());
    let done =
        tokio::task::spawn_blocking(move || auth.confirm_second_factor(&user, &request.code)).await;
    done.map_err(|_| Problem::internal())??;
    Ok(StatusCode::NO_CONTENT)
}

/// What the brand holds of a member, each field as the caller's roles see it.
#[utoipa::path(get, path = "/api/v1/members/{card}/record", tag = "members",
    params(("card" = String, Path, description = "Card number, or ~ and the id")),
    responses((status = 200, description = "The member, masked", body = MemberRecordView)))]
pub(super) async fn record(
    by: Authorized<perm::ReadMemberRecords>,
    State(app): State<App>,
    Path(card): Path<String>,
) -> Result<Json<MemberRecordView>> {
    Ok(Json(app.node.member_record(&asker(&by), card).await?))
}

/// Finds a member by any identifier that one member has at a time.
#[utoipa::path(post, path = "/api/v1/members/look-up", tag = "members",
    request_body = IdentifierRequest,
    responses((status = 200, description = "The member, masked", body = MemberRecordView)))]
pub(super) async fn look_up(
    by: Authorized<perm::ReadMemberRecords>,
    State(app): State<App>,
    Json(request): Json<IdentifierRequest>,
) -> Result<Json<MemberRecordView>> {
    Ok(Json(app.node.look_up(&asker(&by), request).await?))
}

/// Corrects what is known of a member, on the member's word.
#[utoipa::path(post, path = "/api/v1/members/{card}/corrections", tag = "members",
    params(("card" = String, Path, description = "Card number, or ~ and the id")),
    request_body = CorrectionRequest, responses((status = 204, description = "Corrected")))]
pub(super) async fn correct(
    by: Authorized<perm::CorrectMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<CorrectionRequest>,
) -> Result<StatusCode> {
    app.node.correct_member(by.user(), card, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enrols a person at the counter: with a card, or by a phone number or an account, and with what the person decided.
///
/// Whoever was sold to by the phone number or account before is this member then. The same person again changes
/// nothing that stands, so that the request may be repeated.
#[utoipa::path(post, path = "/api/v1/members", tag = "members", request_body = EnrolmentRequest,
    responses((status = 200, description = "The member", body = EnrolmentView)))]
pub(super) async fn enrol(
    by: Authorized<perm::EnrolMembers>,
    State(app): State<App>,
    Json(request): Json<EnrolmentRequest>,
) -> Result<Json<EnrolmentView>> {
    Ok(Json(app.node.enrol(&asker(&by), request).await?))
}

/// Tells which identifiers were seen together, as in one purchase, and hears whose they are.
#[utoipa::path(post, path = "/api/v1/sightings", tag = "members", request_body = SightingRequest,
    responses((status = 200, description = "Whose they are", body = SightingView)))]
pub(super) async fn sight(
    by: Authorized<perm::BeginMemberSessions>,
    State(app): State<App>,
    Json(request): Json<SightingRequest>,
) -> Result<Json<SightingView>> {
    Ok(Json(app.node.sight(&asker(&by), request).await?))
}

/// Pairs of members who may be one person.
#[utoipa::path(get, path = "/api/v1/pairs", tag = "members", params(BehindQuery),
    responses((status = 200, description = "Those nobody has reviewed", body = [PairView])))]
pub(super) async fn pairs(
    _: Authorized<perm::CorrectMembers>,
    State(app): State<App>,
    Query(query): Query<BehindQuery>,
    asked: Asked,
) -> Result<Response> {
    asked.after(app.node.pairs_page(query.page()?).await?)
}

/// Says whether a pair is one person; if so, the other is merged into the one.
#[utoipa::path(post, path = "/api/v1/pairs/judgements", tag = "members",
    request_body = JudgementRequest, responses((status = 204, description = "Entered")))]
pub(super) async fn judge(
    by: Authorized<perm::CorrectMembers>,
    State(app): State<App>,
    Json(request): Json<JudgementRequest>,
) -> Result<StatusCode> {
    app.node.judge(&asker(&by), request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Merges another member into this one.
#[utoipa::path(post, path = "/api/v1/members/{card}/merges", tag = "members",
    params(("card" = String, Path, description = "Who stays: card number, or ~ and the id")),
    request_body = MergeRequest, responses((status = 204, description = "Merged")))]
pub(super) async fn merge(
    by: Authorized<perm::CorrectMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<MergeRequest>,
) -> Result<StatusCode> {
    app.node.merge_members(&asker(&by), card, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undoes the last merge into this member.
#[utoipa::path(post, path = "/api/v1/members/{card}/partings", tag = "members",
    params(("card" = String, Path, description = "Who stayed: card number, or ~ and the id")),
    request_body = MergeRequest, responses((status = 204, description = "Parted")))]
pub(super) async fn part(
    by: Authorized<perm::CorrectMembers>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<MergeRequest>,
) -> Result<StatusCode> {
    app.node.part_members(&asker(&by), card, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything that is held of a member, for the member.
#[utoipa::path(get, path = "/api/v1/members/{card}/export", tag = "requests",
    params(("card" = String, Path, description = "Card number, or ~ and the id")),
    responses((status = 200, description = "All of it", body = MemberExport)))]
pub(super) async fn export_member(
    by: Authorized<perm::AnswerRequests>,
    State(app): State<App>,
    Path(card): Path<String>,
) -> Result<Json<MemberExport>> {
    Ok(Json(app.node.export_member(by.user(), card).await?))
}

/// Puts a member under a legal hold, or lifts it.
#[utoipa::path(post, path = "/api/v1/members/{card}/hold", tag = "requests",
    params(("card" = String, Path, description = "Card number, or ~ and the id")),
    request_body = HoldRequest, responses((status = 204, description = "Entered")))]
pub(super) async fn hold(
    by: Authorized<perm::AnswerRequests>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<HoldRequest>,
) -> Result<StatusCode> {
    app.node.hold_member(&asker(&by), card, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enters a request of a member's; its clocks begin.
#[utoipa::path(post, path = "/api/v1/members/{card}/requests", tag = "requests",
    params(("card" = String, Path, description = "Card number, or ~ and the id")),
    request_body = RequestRequest,
    responses((status = 200, description = "The request", body = RequestView)))]
pub(super) async fn open_request(
    by: Authorized<perm::TakeRequests>,
    State(app): State<App>,
    Path(card): Path<String>,
    Json(request): Json<RequestRequest>,
) -> Result<Json<RequestView>> {
    Ok(Json(app.node.open_request(by.user(), card, request).await?))
}

/// Open requests, those that are due first; or all of one member.
#[utoipa::path(get, path = "/api/v1/requests", tag = "requests", params(RequestsQuery),
    responses((status = 200, description = "Requests", body = [RequestView])))]
pub(super) async fn requests(
    _: Authorized<perm::AnswerRequests>,
    State(app): State<App>,
    Query(query): Query<RequestsQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = ListRequest { place: query.after, limit: page_size(query.limit)? };
    asked.after(app.node.requests_page(request, query.card).await?)
}

/// One request.
#[utoipa::path(get, path = "/api/v1/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    responses((status = 200, description = "The request", body = RequestView)))]
pub(super) async fn request(
    _: Authorized<perm::AnswerRequests>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<RequestView>> {
    Ok(Json(app.node.request(id).await?))
}

/// Answers a request: done, answered first, or refused. A request for erasure that is done erases.
#[utoipa::path(post, path = "/api/v1/requests/{id}/answer", tag = "requests",
    params(("id" = String, Path, description = "32 hexadecimal digits")),
    request_body = AnswerRequest,
    responses((status = 200, description = "The request", body = RequestView)))]
pub(super) async fn answer(
    by: Authorized<perm::AnswerRequests>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(request): Json<AnswerRequest>,
) -> Result<Json<RequestView>> {
    Ok(Json(app.node.answer_request(by.user(), id, request).await?))
}

/// A certificate of an erasure and its receipt. Its hash, which only its holder knows, is enough.
#[utoipa::path(get, path = "/api/v1/certificates/{hash}", tag = "requests",
    params(("hash" = String, Path, description = "SHA-256 of the certificate, hexadecimal")),
    responses((status = 200, description = "Certificate and receipt", body = CertificateView)))]
pub(super) async fn certificate(
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<Json<CertificateView>> {
    Ok(Json(app.node.certificate(hash).await?))
}

/// Who did what with members' data.
#[utoipa::path(get, path = "/api/v1/operations", tag = "officer", params(AfterQuery),
    responses((status = 200, description = "Entries, oldest first", body = [OperationView])))]
pub(super) async fn operations(
    _: Authorized<perm::ReadOperations>,
    State(app): State<App>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<Vec<OperationView>>> {
    Ok(Json(app.node.operations(query.after, page_size(query.limit)?).await?))
}

/// What an officer has to look at.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "officer", params(AfterQuery),
    responses((status = 200, description = "Standing and found", body = AlertsView)))]
pub(super) async fn alerts(
    _: Authorized<perm::ReadOperations>,
    State(app): State<App>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<AlertsView>> {
    Ok(Json(app.node.alerts(query.after, page_size(query.limit)?).await?))
}

/// Enters an impact assessment (PIPL art. 55).
#[utoipa::path(post, path = "/api/v1/assessments", tag = "officer",
    request_body = AssessmentRequest,
    responses((status = 200, description = "As entered", body = AssessmentView)))]
pub(super) async fn assess(
    by: Authorized<perm::KeepRecords>,
    State(app): State<App>,
    Json(request): Json<AssessmentRequest>,
) -> Result<Json<AssessmentView>> {
    Ok(Json(app.node.assess(&asker(&by), request).await?))
}

/// Impact assessments, oldest first.
#[utoipa::path(get, path = "/api/v1/assessments", tag = "officer", params(RecordsQuery),
    responses((status = 200, description = "A page of them", body = [AssessmentView])))]
pub(super) async fn assessments(
    _: Authorized<perm::KeepRecords>,
    State(app): State<App>,
    Query(query): Query<RecordsQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.after, query.limit)?;
    asked.after(app.node.assessments_page(request).await?)
}

/// Enters a breach; its clock runs from when it was found (PIPL art. 57).
#[utoipa::path(post, path = "/api/v1/breaches", tag = "officer", request_body = BreachRequest,
    responses((status = 200, description = "As entered", body = BreachView)))]
pub(super) async fn enter_breach(
    by: Authorized<perm::KeepRecords>,
    State(app): State<App>,
    Json(request): Json<BreachRequest>,
) -> Result<Json<BreachView>> {
    Ok(Json(app.node.enter_breach(&asker(&by), request).await?))
}

/// Breaches, oldest first.
#[utoipa::path(get, path = "/api/v1/breaches", tag = "officer", params(RecordsQuery),
    responses((status = 200, description = "A page of them", body = [BreachView])))]
pub(super) async fn breaches(
    _: Authorized<perm::KeepRecords>,
    State(app): State<App>,
    Query(query): Query<RecordsQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.after, query.limit)?;
    asked.after(app.node.breaches_page(request).await?)
}

/// Enters who was told of a breach.
#[utoipa::path(post, path = "/api/v1/breaches/{number}/notices", tag = "officer",
    params(("number" = u32, Path, description = "Its number")), request_body = ToldRequest,
    responses((status = 200, description = "As it stands", body = BreachView)))]
pub(super) async fn breach_told(
    by: Authorized<perm::KeepRecords>,
    State(app): State<App>,
    Path(number): Path<u32>,
    Json(request): Json<ToldRequest>,
) -> Result<Json<BreachView>> {
    Ok(Json(app.node.breach_told(&asker(&by), number, request).await?))
}

/// Begins to rotate the key of the vault.
#[utoipa::path(post, path = "/api/v1/vault/rotation", tag = "node",
    responses((status = 200, description = "Under way", body = RotationView)))]
pub(super) async fn rotate(
    by: Authorized<perm::RotateVaultKey>,
    State(app): State<App>,
) -> Result<Json<RotationView>> {
    Ok(Json(app.node.rotate_vault_key(&asker(&by)).await?))
}

/// Whether the key of the vault is being rotated.
#[utoipa::path(get, path = "/api/v1/vault/rotation", tag = "node",
    responses((status = 200, description = "Under way, or not", body = RotationView)))]
pub(super) async fn rotation(
    _: Authorized<perm::RotateVaultKey>,
    State(app): State<App>,
) -> Result<Json<RotationView>> {
    Ok(Json(app.node.rotation().await?))
}

/// Begins a session for a member whom the brand's app has recognised.
#[utoipa::path(post, path = "/api/v1/member-sessions", tag = "me",
    request_body = MemberSessionRequest,
    responses((status = 200, description = "The token, once", body = MemberSessionView)))]
pub(super) async fn begin_session(
    by: Authorized<perm::BeginMemberSessions>,
    State(app): State<App>,
    Json(request): Json<MemberSessionRequest>,
) -> Result<Json<MemberSessionView>> {
    let card = app.node.card_of(request.card).await?;
    app.node.note(&asker(&by), Deed::Session, "a member's session begun", &card).await?;
    let token = app.auth.begin_member_session(&by, &card)?;
    Ok(Json(MemberSessionView { token: token.token.to_string(), expires_ms: token.expires_ms }))
}

/// Hands out a code with which the member opens the own pages (`/my`), once, within ten minutes. Staff hands
/// it to who is before them; the app sends it to its member.
#[utoipa::path(post, path = "/api/v1/member-codes", tag = "me",
    request_body = MemberSessionRequest,
    responses((status = 200, description = "The code, once", body = MemberCodeView)))]
pub(super) async fn hand_out_code(
    by: Authorized<perm::HandOutMemberCodes>,
    State(app): State<App>,
    Json(request): Json<MemberSessionRequest>,
) -> Result<Json<MemberCodeView>> {
    Ok(Json(handed_out(&app, &by, request.card).await?))
}

/// Makes a code with which a member takes a second step, once, within ten minutes. For the brand's app, which sends it to
/// the member by a way that is the member's; staff asks the member for it, and can make none.
#[utoipa::path(post, path = "/api/v1/member-second-steps", tag = "me",
    request_body = MemberSessionRequest,
    responses((status = 200, description = "The code, once", body = SecondStepView)))]
pub(super) async fn hand_out_second_step(
    by: Authorized<perm::BeginMemberSessions>,
    State(app): State<App>,
    Json(request): Json<MemberSessionRequest>,
) -> Result<Json<SecondStepView>> {
    let card = app.node.card_of(request.card).await?;
    app.node.note(&asker(&by), Deed::Session, "a code for a second step", &card).await?;
    let code = app.auth.hand_out_second_step(&by, &card)?;
    Ok(Json(SecondStepView { code: code.code.to_string(), expires_ms: code.expires_ms }))
}

/// Whether a member has taken the second step that an answer asks for: by the code that the brand's app has sent this
/// member, which is used up. What needs none uses none up, so that an action may be repeated under its key.
pub(super) async fn took_second_step(
    app: &App,
    member: String,
    code: Option<&OneTimeCode>,
    done: &DoneView,
) -> Result<bool> {
    let Some(code) = code.filter(|_| done.state == "second_step_needed") else {
        return Ok(false);
    };
    let card = app.node.card_of(member).await?;
    app.auth.take_second_step(&card, &code.0)?;
    Ok(true)
}

/// A code for a member, on record.
pub(super) async fn handed_out(
    app: &App,
    by: &Authorized<perm::HandOutMemberCodes>,
    member: String,
) -> Result<MemberCodeView> {
    let card = app.node.card_of(member).await?;
    app.node.note(&asker(by), Deed::Session, "a code for the member's own pages", &card).await?;
    let code = app.auth.hand_out_member_code(by, &card)?;
    let path = format!("/my/sign-in?code={}", code.code.as_str());
    Ok(MemberCodeView { code: code.code.to_string(), path, expires_ms: code.expires_ms })
}

/// The member's own account: points, lots, tier, coupons, links, exchanges, consents, requests.
#[utoipa::path(get, path = "/api/v1/me/account", tag = "me",
    responses((status = 200, description = "The account", body = OwnAccountView)))]
pub(super) async fn own_account(
    member: MemberSession,
    State(app): State<App>,
) -> Result<Json<OwnAccountView>> {
    Ok(Json(app.node.own_account(member.card().to_owned()).await?))
}

/// The receipt of an exchange of the member's own, with what opens its entry and no other.
#[utoipa::path(get, path = "/api/v1/me/exchanges/{id}/receipt", tag = "me",
    params(("id" = String, Path, description = "32 hex digits")),
    responses((status = 200, description = "A C2SP tlog-proof with an extra line", body = String, content_type = "text/plain")))]
pub(super) async fn own_receipt(
    member: MemberSession,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<String> {
    Ok(app.node.own_receipt(member.card().to_owned(), id).await?)
}

/// Does something for the member oneself: sign in for the day, claim a coupon, ask for a reward, ask the
/// service.
#[utoipa::path(post, path = "/api/v1/me/actions", tag = "me", request_body = OwnAction,
    params(("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating an action under its key is safe")),
    responses((status = 200, description = "Done, and durable", body = DoneView)))]
pub(super) async fn own_action(
    member: MemberSession,
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(action): Json<OwnAction>,
) -> Result<Json<DoneView>> {
    let card = member.card().to_owned();
    let done = app.node.own_action(key.clone(), card.clone(), action.clone()).await?;
    if let OwnAction::HoldReward { reward, code } = action
        && took_second_step(&app, card.clone(), code.as_ref(), &done).await?
    {
        return Ok(Json(app.node.own_reward(key, card, reward).await?));
    }
    Ok(Json(done))
}

/// All that the brand holds of the member.
#[utoipa::path(get, path = "/api/v1/me", tag = "me",
    responses((status = 200, description = "All of it, machine-readable", body = MemberExport)))]
pub(super) async fn own_data(
    member: MemberSession,
    State(app): State<App>,
) -> Result<Json<MemberExport>> {
    Ok(Json(app.node.export_member(MEMBER, member.card().to_owned()).await?))
}

/// The member's decision on the use of the data.
#[utoipa::path(post, path = "/api/v1/me/consents", tag = "me", request_body = ConsentRequest,
    responses((status = 204, description = "Entered")))]
pub(super) async fn own_consent(
    member: MemberSession,
    State(app): State<App>,
    Json(request): Json<ConsentRequest>,
) -> Result<StatusCode> {
    app.node.decide(MEMBER, member.card().to_owned(), request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The member's own corrections.
#[utoipa::path(post, path = "/api/v1/me/corrections", tag = "me", request_body = CorrectionRequest,
    responses((status = 204, description = "Corrected")))]
pub(super) async fn own_correction(
    member: MemberSession,
    State(app): State<App>,
    Json(request): Json<CorrectionRequest>,
) -> Result<StatusCode> {
    app.node.correct_member(MEMBER, member.card().to_owned(), request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The member's requests.
#[utoipa::path(get, path = "/api/v1/me/requests", tag = "me",
    responses((status = 200, description = "All of them", body = [RequestView])))]
pub(super) async fn own_requests(
    member: MemberSession,
    State(app): State<App>,
) -> Result<Json<Vec<RequestView>>> {
    Ok(Json(app.node.requests(Some(member.card().to_owned()), 1_000).await?))
}

/// Enters a request of the member's; its clocks begin.
#[utoipa::path(post, path = "/api/v1/me/requests", tag = "me", request_body = RequestRequest,
    responses((status = 200, description = "The request", body = RequestView)))]
pub(super) async fn own_request(
    member: MemberSession,
    State(app): State<App>,
    Json(request): Json<RequestRequest>,
) -> Result<Json<RequestView>> {
    Ok(Json(app.node.open_request(MEMBER, member.card().to_owned(), request).await?))
}

/// Erases the member, at once and for good; the answer names the certificate.
#[utoipa::path(post, path = "/api/v1/me/erasure", tag = "me", request_body = OwnErasureRequest,
    responses((status = 200, description = "Erased; certificate names what to keep", body = RequestView)))]
pub(super) async fn own_erasure(
    member: MemberSession,
    State(app): State<App>,
    Json(request): Json<OwnErasureRequest>,
) -> Result<Json<RequestView>> {
    if request.confirm != "erase" {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "not_confirmed",
            "an erasure is confirmed by the word erase",
            "send {\"confirm\":\"erase\"}; nothing brings the account back",
        ));
    }
    Ok(Json(erased(&app, &member).await?))
}

/// Erases the member whose session it is, and ends all sessions of that member.
pub(super) async fn erased(app: &App, member: &MemberSession) -> Result<RequestView> {
    let card = member.card();
    let asked = RequestRequest { kind: "erasure".to_owned(), words: None };
    let opened = app.node.open_request(MEMBER, card.to_owned(), asked).await?;
    let answer = AnswerRequest { outcome: "done".to_owned(), why: None };
    let done = app.node.answer_request(MEMBER, opened.id, answer).await?;
    app.auth.end_member_sessions(card);
    Ok(done)
}
