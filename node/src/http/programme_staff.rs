//! Handlers of what staff does to the programme by hand: rules tried, corrections, coupons given, balances brought
//! from a programme of before, a purchase entered at the counter.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{IdempotencyKey, Json, Path, Query};
use super::listed::{Asked, large_page};
use super::{App, Problem};
use crate::auth::{Authorized, perm};
use crate::service::*;

type Result<T, E = Problem> = std::result::Result<T, E>;

/// Which coupons.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KindQuery {
    /// Of this kind; of all without.
    kind: Option<String>,
    /// Where the page begins: as the `Link` of the page before has it.
    before: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// Which page of corrections.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AdjustmentsQuery {
    /// Where the page begins: as the `Link` of the page before has it.
    before: Option<String>,
    /// How many at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<u32>,
}

/// Says what is wrong with rules, how members would read them, and what would differ. Nothing is taken up.
#[utoipa::path(post, path = "/api/v1/programme/rules/check", tag = "programme", request_body = RulesFile,
    responses((status = 200, description = "The rules in words", body = RulesCheckView)))]
pub(super) async fn check_rules(
    _: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    Json(file): Json<RulesFile>,
) -> Result<Json<RulesCheckView>> {
    Ok(Json(app.node.check_programme_rules(file).await?))
}

/// Says what rules would have come to on the purchases of the past, beside those in force. Nothing is taken
/// up; one at a time.
#[utoipa::path(post, path = "/api/v1/programme/rules/simulation", tag = "programme",
    request_body = RulesFile,
    responses((status = 200, description = "Points, liability, coupons, tiers", body = SimulationView)))]
pub(super) async fn simulate_rules(
    _: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    Json(file): Json<RulesFile>,
) -> Result<Json<SimulationView>> {
    Ok(Json(app.node.simulate_programme_rules(file).await?))
}

/// Corrects a member's balance. Beyond what the rules let one person do alone on a day it waits for another.
#[utoipa::path(post, path = "/api/v1/programme/members/{card}/adjustments", tag = "programme",
    params(("card" = String, Path, description = "Card number"), ("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a correction under its key is safe")),
    request_body = AdjustmentRequest,
    responses((status = 200, description = "Booked, or `waiting`, with its number", body = DoneView)))]
pub(super) async fn adjust(
    who: Authorized<perm::AdjustPoints>,
    State(app): State<App>,
    Path(card): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<AdjustmentRequest>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.staff(who.user()).adjust_points(key, card, request).await?))
}

/// Corrections, the latest first.
#[utoipa::path(get, path = "/api/v1/programme/adjustments", tag = "programme", params(AdjustmentsQuery),
    responses((status = 200, description = "Corrections", body = [AdjustmentView])))]
pub(super) async fn adjustments(
    _: Authorized<perm::ReadAdjustments>,
    State(app): State<App>,
    Query(query): Query<AdjustmentsQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.before, query.limit)?;
    asked.before(app.node.adjustments_page(request).await?)
}

/// Agrees to a correction that waits, or refuses it; not for who entered it.
#[utoipa::path(post, path = "/api/v1/programme/adjustments/{number}/decision", tag = "programme",
    params(("number" = u64, Path, description = "Its number")), request_body = DecisionRequest,
    responses((status = 200, description = "Decided", body = DoneView)))]
pub(super) async fn decide(
    who: Authorized<perm::DecideAdjustments>,
    State(app): State<App>,
    Path(number): Path<u64>,
    Json(request): Json<DecisionRequest>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.staff(who.user()).decide_adjustment(number, request.agrees).await?))
}

/// Gives a member a coupon, whether or not members may claim it.
#[utoipa::path(post, path = "/api/v1/programme/members/{card}/coupons", tag = "programme",
    params(("card" = String, Path, description = "Card number"), ("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a gift under its key is safe")),
    request_body = GiveCouponRequest,
    responses((status = 200, description = "Given, with its code", body = DoneView)))]
pub(super) async fn give_coupon(
    by: Authorized<perm::ManageProgramme>,
    State(app): State<App>,
    Path(card): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<GiveCouponRequest>,
) -> Result<Json<DoneView>> {
    Ok(Json(app.node.staff(by.user()).give_coupon(key, card, request.kind).await?))
}

/// Brings members' balances from a programme of before, each once and for ever. Two people bring them: what the first
/// sends waits until another sends the same.
///
/// The first is a partner, who manages the programme; the other a partner too, or the officer. The same sent again
/// changes nothing; who brings nothing is in the answer, and keeps no other back.
#[utoipa::path(post, path = "/api/v1/programme/opening-balances", tag = "programme",
    request_body = OpeningsRequest,
    responses((status = 200, description = "What became of each", body = OpeningsView)))]
pub(super) async fn bring_openings(
    by: Authorized<perm::BringOpenings>,
    State(app): State<App>,
    Json(request): Json<OpeningsRequest>,
) -> Result<Json<OpeningsView>> {
    let enters = by.also::<perm::ManageProgramme>();
    Ok(Json(app.node.staff(by.user()).bring_openings(request, enters).await?))
}

/// Coupons, the latest first, without their codes.
#[utoipa::path(get, path = "/api/v1/programme/coupons", tag = "programme", params(KindQuery),
    responses((status = 200, description = "Coupons", body = [IssuedCouponView])))]
pub(super) async fn coupons(
    _: Authorized<perm::ReadProgramme>,
    State(app): State<App>,
    Query(query): Query<KindQuery>,
    asked: Asked,
) -> Result<Response> {
    let request = large_page(query.before, query.limit)?;
    asked.before(app.node.coupons_page(request, query.kind).await?)
}

/// Enters one purchase, or goods that come back. It counts once, also when it comes again in a file.
#[utoipa::path(post, path = "/api/v1/purchases", tag = "programme",
    params(("Idempotency-Key" = String, Header,
        description = "1 to 128 visible ASCII characters; repeating a purchase under its key is safe")),
    request_body = PurchaseRequest,
    responses((status = 200, description = "It counts, and what it earned is durable", body = PurchaseView)))]
pub(super) async fn enter_purchase(
    by: Authorized<perm::EnterPurchases>,
    State(app): State<App>,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<PurchaseRequest>,
) -> Result<Json<PurchaseView>> {
    Ok(Json(app.node.staff(by.user()).enter_purchase(key, request).await?))
}
