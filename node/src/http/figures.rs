//! Handlers of `/api/v1/figures`: what the page of figures shows, for the programs of a brand's own staff.
//!
//! The same service function and the same roles as the page's. The figures go to who asked and nowhere else: no cache
//! keeps them, and no log has them.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::api::Result;
use super::extract::{Json, Query};
use super::figure_pages::period_file;
use crate::auth::{Authorized, perm};
use crate::service::{
    CampaignsView, PeriodFiguresView, PeriodRequest, ProgrammeReportView, ServiceError,
};

/// Which period.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FiguresQuery {
    /// First day, `YYYY-MM-DD`; 90 days up to the last without it.
    #[serde(default)]
    from: String,
    /// Last day; without it, the last with a purchase.
    #[serde(default)]
    to: String,
    /// `day`, `week` or `month`; a week without it.
    #[serde(default)]
    by: String,
}

impl FiguresQuery {
    fn request(&self) -> std::result::Result<PeriodRequest, ServiceError> {
        PeriodRequest::parse(&self.from, &self.to, &self.by)
    }
}

/// Exact figures for a brand's own staff; not to be passed on.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct StaffFiguresView {
    /// Of the period: all of it, and by step, store, channel and category.
    period: PeriodFiguresView,
    /// The programme's books since it began; for who may see the programme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<ProgrammeReportView>,
    /// Its coupons and campaigns; for who may see the programme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaigns: Option<CampaignsView>,
}

/// Exact figures of a period: by step, store, channel and category; points, coupons and campaigns for who may see the
/// programme.
#[utoipa::path(get, path = "/api/v1/figures", tag = "queries", params(FiguresQuery),
    responses((status = 200, description = "The figures; no cache keeps them", body = StaffFiguresView)))]
pub(super) async fn period_figures(
    by: Authorized<perm::ReadFigures>,
    State(app): State<App>,
    Query(query): Query<FiguresQuery>,
) -> Result<Json<StaffFiguresView>> {
    let period = app.node.period_figures(query.request()?).await?;
    let (report, campaigns) = if by.also::<perm::ReadProgramme>() {
        (Some(app.node.programme_report().await?), Some(app.node.programme_campaigns().await?))
    } else {
        (None, None)
    };
    Ok(Json(StaffFiguresView { period, report, campaigns }))
}

/// The figures of a period as a file, without the programme's.
#[utoipa::path(get, path = "/api/v1/figures/csv", tag = "queries", params(FiguresQuery), responses(
    (status = 200, description = "The figures; no cache keeps them", body = String, content_type = "text/csv")))]
pub(super) async fn period_figures_file(
    _: Authorized<perm::ReadFigures>,
    State(app): State<App>,
    Query(query): Query<FiguresQuery>,
) -> Result<Response> {
    period_file(&app, query.request()?).await
}
