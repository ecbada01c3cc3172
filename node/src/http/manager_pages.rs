//! The programme manager's pages: rules, segments, campaigns. Their forms do what the API's routes do.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::Form;
use super::pages::{SameOrigin, number, rendered};
use super::programme_pages::{china_day, fen};
use super::visitor::Visitor;
use super::{App, Problem};
use crate::auth::perm;
use crate::console::{
    CampaignsViews, GROUPS, Managed, RulesViews, SegmentsViews, campaigns_page, rules_page,
    segments_page,
};
use crate::service::{
    CampaignGroupRequest, CampaignRequest, ManagerAction, RulesFile, RulesRequest, SegmentRequest,
    ServiceError,
};

type Manager = Visitor<perm::UseProgrammePages>;

/// What a form of the page of rules asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum RulesForm {
    /// Says what is wrong with rules, how they read, and what differs.
    Check { rules: String },
    /// Says what they would have come to.
    Simulate { rules: String },
    /// Proposes them.
    Propose { rules: String },
    /// Withdraws those that are announced.
    Withdraw {},
}

/// The rules, and the editor of a change.
#[utoipa::path(get, path = "/programme/rules", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn rules(State(app): State<App>, visitor: Manager) -> Result<Response, Problem> {
    rules_shown(&app, &visitor, RulesViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/programme/rules", tag = "console",
    request_body(content = RulesForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn rules_form(
    State(app): State<App>,
    visitor: Manager,
    _: SameOrigin,
    Form(form): Form<RulesForm>,
) -> Result<Response, Problem> {
    let mut views = RulesViews::default();
    let by = visitor.proof.user();
    if let Err(error) = change_rules(&app, form, by, &mut views).await {
        views.problem = Some(Problem::from(error).words(visitor.language));
    }
    rules_shown(&app, &visitor, views).await
}

async fn change_rules(
    app: &App,
    form: RulesForm,
    by: &str,
    views: &mut RulesViews,
) -> Result<(), ServiceError> {
    // browsers send lines as CR LF
    let plain = |rules: String| rules.replace("\r\n", "\n");
    match form {
        RulesForm::Check { rules } => {
            views.text = plain(rules);
            let file = RulesFile { rules: views.text.clone() };
            views.check = Some(app.node.check_programme_rules(file).await?);
        }
        RulesForm::Simulate { rules } => {
            views.text = plain(rules);
            let file = RulesFile { rules: views.text.clone() };
            views.simulation = Some(app.node.simulate_programme_rules(file).await?);
        }
        RulesForm::Propose { rules } => {
            views.text = plain(rules);
            let _alone = app.replacing.lock().await;
            let file = RulesFile { rules: views.text.clone() };
            let check = app.node.check_programme_rules(file).await?;
            let waits = check.differences.iter().any(|it| it.needs_notice);
            // what touches nobody holds at once
            let effective_ms = (!waits).then_some(check.earliest_ms);
            let request = RulesRequest { rules: views.text.clone(), effective_ms };
            app.node.staff(by).take_rules(request).await?;
            views.done = Some(Managed::Proposed);
        }
        RulesForm::Withdraw {} => {
            app.node.staff(by).manage(ManagerAction::WithdrawRules {}).await?;
            views.done = Some(Managed::Withdrawn);
        }
    }
    Ok(())
}

async fn rules_shown(
    app: &App,
    visitor: &Manager,
    mut views: RulesViews,
) -> Result<Response, Problem> {
    views.status = app.node.status();
    views.rules = app.node.programme_rules().await?;
    views.file = app.node.programme_rules_file().await?;
    if views.text.is_empty() {
        views.text.clone_from(&views.file.rules);
    }
    let page = rules_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// What a form of the page of segments asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum SegmentForm {
    /// Says how many members a segment would have.
    Count(SegmentFields),
    /// Keeps it.
    Keep(SegmentFields),
    /// Shows one in the editor.
    Edit { name: String },
    /// Keeps it no longer.
    Drop { name: String },
}

/// A segment as it is typed: what is empty is not asked for.
#[derive(Deserialize, ToSchema)]
pub(super) struct SegmentFields {
    name: String,
    zh: String,
    en: String,
    tier: String,
    quiet_days: String,
    spent: String,
    category: String,
    channel: String,
    hours: String,
    lifecycle: String,
}

fn said(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

impl SegmentFields {
    fn request(&self) -> Result<SegmentRequest, ServiceError> {
        let spent = said(&self.spent).map(|text| fen(&text)).transpose()?;
        Ok(SegmentRequest {
            zh: self.zh.trim().to_owned(),
            en: self.en.trim().to_owned(),
            tier_at_least: said(&self.tier),
            quiet_days: said(&self.quiet_days).map(|text| number(&text)).transpose()?,
            spent_at_least_fen: spent.and_then(|fen| u64::try_from(fen).ok()),
            category: said(&self.category),
            channel: said(&self.channel),
            hours: said(&self.hours),
            lifecycle: said(&self.lifecycle),
        })
    }
}

/// Segments with how many members each has, and the editor of one.
#[utoipa::path(get, path = "/programme/segments", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn segments(
    State(app): State<App>,
    visitor: Manager,
) -> Result<Response, Problem> {
    segments_shown(&app, &visitor, SegmentsViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/programme/segments", tag = "console",
    request_body(content = SegmentForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn segments_form(
    State(app): State<App>,
    visitor: Manager,
    _: SameOrigin,
    Form(form): Form<SegmentForm>,
) -> Result<Response, Problem> {
    let mut views = SegmentsViews::default();
    let by = visitor.proof.user();
    if let Err(error) = change_segments(&app, form, by, &mut views).await {
        views.problem = Some(Problem::from(error).words(visitor.language));
    }
    segments_shown(&app, &visitor, views).await
}

async fn change_segments(
    app: &App,
    form: SegmentForm,
    by: &str,
    views: &mut SegmentsViews,
) -> Result<(), ServiceError> {
    // what was typed stays in the editor, right or wrong
    let typed = |fields: &SegmentFields, views: &mut SegmentsViews| {
        views.name.clone_from(&fields.name);
        views.spent.clone_from(&fields.spent);
        let request = fields.request();
        views.draft = match &request {
            Ok(request) => request.clone(),
            Err(_) => SegmentRequest {
                zh: fields.zh.clone(),
                en: fields.en.clone(),
                ..SegmentRequest::default()
            },
        };
        request
    };
    match form {
        SegmentForm::Count(fields) => {
            let asked = typed(&fields, views)?;
            let counted = app.node.programme_segments(Some(asked)).await?;
            let (inside, members) = (counted.asked.unwrap_or_default(), counted.members);
            views.done = Some(Managed::Counted { inside, members });
        }
        SegmentForm::Keep(fields) => {
            let (name, terms) = (fields.name.trim().to_owned(), typed(&fields, views)?);
            app.node.staff(by).manage(ManagerAction::KeepSegment { name, terms }).await?;
            views.done = Some(Managed::Kept);
        }
        SegmentForm::Edit { name } => {
            let all = app.node.programme_segments(None).await?.segments;
            if let Some(segment) = all.into_iter().find(|it| it.name == name) {
                let yuan = |fen: u64| format!("{}.{:02}", fen / 100, fen % 100);
                views.spent = segment.terms.spent_at_least_fen.map(yuan).unwrap_or_default();
                (views.name, views.draft) = (segment.name, segment.terms);
            }
        }
        SegmentForm::Drop { name } => {
            app.node.staff(by).manage(ManagerAction::DropSegment { name }).await?;
            views.done = Some(Managed::Dropped);
        }
    }
    Ok(())
}

async fn segments_shown(
    app: &App,
    visitor: &Manager,
    mut views: SegmentsViews,
) -> Result<Response, Problem> {
    views.status = app.node.status();
    views.segments = app.node.programme_segments(None).await?;
    let page = segments_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

/// What a form of the page of campaigns asks for.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum CampaignForm {
    /// Makes a campaign.
    Make {
        name: String,
        zh: String,
        en: String,
        segment: String,
        from: String,
        to: String,
        count_days: String,
        /// `group1`, `share1`, `offer1`, `points1` and so on: a group each; without a share there is none.
        #[serde(flatten)]
        groups: BTreeMap<String, String>,
    },
    /// Ends one before its last day.
    End { name: String },
}

/// Campaigns and how their groups do, and the form that makes one.
#[utoipa::path(get, path = "/programme/campaigns", tag = "console", responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn campaigns(
    State(app): State<App>,
    visitor: Manager,
) -> Result<Response, Problem> {
    campaigns_shown(&app, &visitor, CampaignsViews::default()).await
}

/// Does what a form of the page asks for, and shows the page again.
#[utoipa::path(post, path = "/programme/campaigns", tag = "console",
    request_body(content = CampaignForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"),
    (status = 303, description = "Sign in first")))]
pub(super) async fn campaigns_form(
    State(app): State<App>,
    visitor: Manager,
    _: SameOrigin,
    Form(form): Form<CampaignForm>,
) -> Result<Response, Problem> {
    let mut views = CampaignsViews::default();
    let by = visitor.proof.user();
    match change_campaigns(&app, form, by).await {
        Ok(done) => views.done = Some(done),
        Err(error) => views.problem = Some(Problem::from(error).words(visitor.language)),
    }
    campaigns_shown(&app, &visitor, views).await
}

async fn change_campaigns(
    app: &App,
    form: CampaignForm,
    by: &str,
) -> Result<Managed, ServiceError> {
    match form {
        CampaignForm::Make { name, zh, en, segment, from, to, count_days, groups } => {
            let terms = CampaignRequest {
                zh: zh.trim().to_owned(),
                en: en.trim().to_owned(),
                segment,
                groups: campaign_groups(&groups)?,
                from,
                to,
                count_days: number(&count_days)?,
            };
            let name = name.trim().to_owned();
            app.node.staff(by).manage(ManagerAction::MakeCampaign { name, terms }).await?;
            Ok(Managed::Made)
        }
        CampaignForm::End { name } => {
            app.node.staff(by).manage(ManagerAction::EndCampaign { name }).await?;
            Ok(Managed::Ended)
        }
    }
}

fn campaign_groups(
    fields: &BTreeMap<String, String>,
) -> Result<Vec<CampaignGroupRequest>, ServiceError> {
    let mut groups = Vec::new();
    for place in 1..=GROUPS {
        let field = |name: &str| fields.get(&format!("{name}{place}")).map_or("", String::as_str);
        let Some(share) = said(field("share")) else { continue };
        let offer = field("offer");
        groups.push(CampaignGroupRequest {
            name: field("group").trim().to_owned(),
            share: number(&share)?,
            coupon: offer.strip_prefix("coupon:").map(str::to_owned),
            points: if offer == "points" { Some(number(field("points"))?) } else { None },
        });
    }
    Ok(groups)
}

async fn campaigns_shown(
    app: &App,
    visitor: &Manager,
    mut views: CampaignsViews,
) -> Result<Response, Problem> {
    views.status = app.node.status();
    views.campaigns = app.node.programme_campaigns().await?;
    views.segments = app.node.programme_segments(None).await?;
    views.today = china_day(views.status.now_ms);
    let page = campaigns_page(&views, visitor.language, &visitor.proof, &visitor.pages);
    rendered(page, StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_were_typed_and_one_without_a_share_is_none() {
        let fields = [
            ("group1", "a"),
            ("share1", " 9 "),
            ("offer1", "coupon:ten"),
            ("points1", ""),
            ("group2", "b"),
            ("share2", "1"),
            ("offer2", "points"),
            ("points2", "30"),
            ("group3", "c"),
            ("share3", ""),
            ("offer3", ""),
        ];
        let mut fields: BTreeMap<String, String> =
            fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let groups = campaign_groups(&fields).unwrap();
        let group = |name: &str, share, coupon: Option<&str>, points| CampaignGroupRequest {
            name: name.to_owned(),
            share,
            coupon: coupon.map(str::to_owned),
            points,
        };
        assert_eq!(groups, [group("a", 9, Some("ten"), None), group("b", 1, None, Some(30))]);
        fields.insert("points2".to_owned(), "many".to_owned());
        assert_eq!(campaign_groups(&fields).unwrap_err().code, "number_malformed");
    }
}
