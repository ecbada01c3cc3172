//! Figures for a brand's own staff: what its members bought in a period, exactly, by step, store, channel and category;
//! for those who may see the programme, its points, coupons and campaigns; and the saved dashboards, each on a page.

use std::collections::BTreeMap;

use askama::Template;

use super::programme::account_name;
use super::{Frame, Language, PARAMETER, Page, chart, say, text};
use crate::auth::{Authorized, perm};
use crate::charts::{Bar, Point};
use crate::service::{
    CampaignGroupView, CampaignView, CampaignsView, FiguresView, ParameterView, PeriodFiguresView,
    PeriodRow, PeriodStep, ProgrammeReportView, Status, TemplateView,
};

/// Rows shown of a part; the file has all.
const ROWS_SHOWN: usize = 30;
/// Campaigns shown, those with the most sales.
const CAMPAIGNS_SHOWN: usize = 10;

/// Everything that the page is made from.
#[derive(Debug, Default)]
pub struct FiguresViews {
    /// The state of the node.
    pub status: Status,
    /// First day of the period, as it was typed or found.
    pub from: String,
    /// Its last day.
    pub to: String,
    /// How it is cut.
    pub by: PeriodStep,
    /// Its figures.
    pub figures: Option<PeriodFiguresView>,
    /// Why there are none, in the node's words.
    pub problem: Option<String>,
    /// Saved dashboards that can be had exactly.
    pub dashboards: Vec<TemplateView>,
    /// The programme's books and campaigns, for who may see them.
    pub programme: Option<(ProgrammeReportView, CampaignsView)>,
}

/// Everything that the page of a dashboard is made from.
#[derive(Debug, Default)]
pub struct DashboardViews {
    /// The state of the node.
    pub status: Status,
    /// The dashboard; none when there is none of that name.
    pub template: Option<TemplateView>,
    /// Its parameters as they were typed, by name.
    pub parameters: BTreeMap<String, String>,
    /// Its figures.
    pub figures: Option<FiguresView>,
    /// Why there are none, in the node's words.
    pub problem: Option<String>,
}

/// The period's sales by something.
struct Part<'a> {
    id: &'static str,
    title: &'static str,
    rows: &'a [PeriodRow],
    chart: Option<String>,
}

/// A campaign, all its groups together.
struct CampaignRow<'a> {
    campaign: &'a CampaignView,
    members: u64,
    buyers: u64,
    fen: u64,
    given: u64,
    redeemed: u64,
}

#[derive(Template)]
#[template(path = "figures.html")]
struct FiguresPage<'a> {
    frame: Frame<'a>,
    views: &'a FiguresViews,
    sales_chart: Option<String>,
    members_chart: Option<String>,
    parts: Vec<Part<'a>>,
    campaigns: Vec<CampaignRow<'a>>,
    language: Language,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage<'a> {
    frame: Frame<'a>,
    views: &'a DashboardViews,
    chart: Option<String>,
    language: Language,
}

say!(FiguresPage, words);
say!(DashboardPage, words);

/// Fen in yuan.
fn yuan(fen: u64) -> String {
    format!("{}.{:02}", text::grouped(fen / 100), fen % 100)
}

/// For a chart's axis, which needs no fen.
fn whole_yuan(fen: u64) -> f64 {
    fen as f64 / 100.0
}

impl FiguresPage<'_> {
    fn steps(&self) -> [PeriodStep; 3] {
        PeriodStep::ALL
    }
    fn step(&self, step: &PeriodStep) -> &'static str {
        match step {
            PeriodStep::Day => self.say("按日", "day"),
            PeriodStep::Week => self.say("按周", "week"),
            PeriodStep::Month => self.say("按月", "month"),
        }
    }
    fn is_by(&self, step: &PeriodStep) -> bool {
        *step == self.views.by
    }
    fn yuan(&self, fen: &u64) -> String {
        yuan(*fen)
    }
    /// Sales of a basket, on average.
    fn basket(&self, row: &PeriodRow) -> String {
        row.sales_fen.checked_div(row.baskets).map_or_else(|| "–".to_owned(), yuan)
    }
    fn new_members(&self, row: &PeriodRow) -> String {
        row.new_members.map_or_else(|| "–".to_owned(), text::grouped)
    }
    fn row_name<'n>(&self, name: &'n str) -> &'n str {
        row_name(name, self.language)
    }
    fn shown<'r>(&self, rows: &'r [PeriodRow]) -> &'r [PeriodRow] {
        rows.get(..ROWS_SHOWN).unwrap_or(rows)
    }
    fn is_cut(&self, rows: &[PeriodRow]) -> bool {
        rows.len() > ROWS_SHOWN
    }
    fn account(&self, account: &str) -> &'static str {
        account_name(account, self.language)
    }
    /// Points that an account issued or took, without the sign of the books.
    fn points(&self, points: &i64) -> String {
        text::grouped(points.unsigned_abs())
    }
}

impl DashboardPage<'_> {
    /// Names a parameter's field, as the page of questions does.
    fn field(&self, parameter: &ParameterView) -> String {
        format!("{PARAMETER}{}", parameter.name)
    }
    fn value<'v>(&'v self, parameter: &'v ParameterView) -> &'v str {
        self.views.parameters.get(&parameter.name).unwrap_or(&parameter.default)
    }
    fn keys<'r>(&self, row: &'r [String]) -> &'r [String] {
        row.get(..self.key_count()).unwrap_or(row)
    }
    fn values<'r>(&self, row: &'r [String]) -> &'r [String] {
        row.get(self.key_count()..).unwrap_or_default()
    }
    fn key_count(&self) -> usize {
        let keys = self.views.figures.as_ref().map_or(0, |figures| figures.keys);
        usize::try_from(keys).unwrap_or(usize::MAX)
    }
}

fn row_name(name: &str, language: Language) -> &str {
    match (name.is_empty(), language) {
        (false, _) => name,
        (true, Language::Chinese) => "未注明",
        (true, Language::English) => "not known",
    }
}

/// The page of figures; none only if rendering fails.
#[must_use]
pub fn figures_page(
    views: &FiguresViews,
    language: Language,
    proof: &Authorized<perm::ReadFigures>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/figures",
        kept: vec![
            ("from".to_owned(), views.from.clone()),
            ("to".to_owned(), views.to.clone()),
            ("by".to_owned(), views.by.name().to_owned()),
        ],
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let say = |zh: &'static str, en: &'static str| match language {
        Language::Chinese => zh,
        Language::English => en,
    };
    let (mut sales_chart, mut members_chart, mut parts) = (None, None, Vec::new());
    if let Some(figures) = &views.figures {
        let over_time = |of: fn(&PeriodRow) -> f64, title: &str| {
            let point =
                |row: &PeriodRow| Point { label: row.name.clone(), value: of(row), interval: None };
            let points: Vec<Point> = figures.steps.iter().map(point).collect();
            chart::exact_trend(&points, title, &format!("{} – {}", figures.from, figures.to))
        };
        sales_chart =
            over_time(|row| whole_yuan(row.sales_fen), say("销售额（元）", "Sales, yuan"));
        members_chart =
            over_time(|row| row.members as f64, say("购买会员数", "Members who bought"));
        for (id, title, rows) in [
            ("stores", say("门店", "Stores"), figures.stores.as_slice()),
            ("channels", say("渠道", "Channels"), figures.channels.as_slice()),
            ("departments", say("品类", "Categories"), figures.departments.as_slice()),
        ] {
            let bar = |row: &PeriodRow| Bar {
                label: row_name(&row.name, language).to_owned(),
                shown: yuan(row.sales_fen),
                value: whole_yuan(row.sales_fen),
            };
            let bars: Vec<Bar> = rows.iter().take(ROWS_SHOWN).map(bar).collect();
            let words = say("销售额（元）", "Sales, yuan");
            let chart = chart::exact_bars(&bars, &format!("{title}: {words}"), words);
            parts.push(Part { id, title, rows, chart });
        }
    }
    let campaigns = views.programme.iter().flat_map(|(_, campaigns)| &campaigns.campaigns);
    let mut campaigns: Vec<CampaignRow<'_>> = campaigns.map(campaign_row).collect();
    campaigns.sort_by_key(|row| std::cmp::Reverse(row.fen));
    campaigns.truncate(CAMPAIGNS_SHOWN);
    let page = FiguresPage { frame, views, sales_chart, members_chart, parts, campaigns, language };
    page.render().ok()
}

fn campaign_row(campaign: &CampaignView) -> CampaignRow<'_> {
    let sum = |of: fn(&CampaignGroupView) -> u64| -> u64 { campaign.groups.iter().map(of).sum() };
    CampaignRow {
        campaign,
        members: sum(|group| group.members),
        buyers: sum(|group| group.buyers),
        fen: sum(|group| group.fen),
        given: sum(|group| group.coupons_given),
        redeemed: sum(|group| group.coupons_redeemed),
    }
}

/// The page of a dashboard; none only if rendering fails.
#[must_use]
pub fn dashboard_page(
    views: &DashboardViews,
    language: Language,
    proof: &Authorized<perm::ReadFigures>,
    pages: &[Page],
) -> Option<String> {
    let id = views.template.as_ref().map_or("", |template| template.id.as_str());
    let path = format!("/figures/dashboards/{id}");
    let parameters = views.template.iter().flat_map(|template| &template.parameters);
    let kept = parameters.filter_map(|parameter| {
        let value = views.parameters.get(&parameter.name)?;
        Some((format!("{PARAMETER}{}", parameter.name), value.clone()))
    });
    let frame = Frame {
        user: Some(proof.user()),
        path: &path,
        kept: kept.collect(),
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    let title = views.template.as_ref().map_or("", |template| match language {
        Language::Chinese => template.title.zh.as_str(),
        Language::English => template.title.en.as_str(),
    });
    let chart = views.figures.as_ref().and_then(|figures| dashboard_chart(figures, title));
    DashboardPage { frame, views, chart, language }.render().ok()
}

/// The first value column by the keys: over time where the one key is a time, else a bar each; none of a figure alone.
fn dashboard_chart(figures: &FiguresView, title: &str) -> Option<String> {
    let keys = usize::try_from(figures.keys).ok().filter(|keys| *keys > 0)?;
    let column = figures.columns.get(keys)?;
    let cells = figures.rows.iter().filter_map(|row| {
        let label = row.get(..keys)?.join(" · ");
        let shown = row.get(keys)?;
        Some((label, shown.parse::<f64>().ok()?))
    });
    let cells: Vec<(String, f64)> = cells.collect();
    let labels: Vec<&str> = cells.iter().map(|(label, _)| label.as_str()).collect();
    if keys == 1 && chart::are_times(figures.columns.first()?, &labels) {
        let point = |(label, value): &(String, f64)| Point {
            label: label.clone(),
            value: *value,
            interval: None,
        };
        return chart::exact_trend(&cells.iter().map(point).collect::<Vec<_>>(), title, column);
    }
    let bar = |(label, value): &(String, f64)| Bar {
        label: label.clone(),
        shown: text::figure(value),
        value: *value,
    };
    let bars: Vec<Bar> = cells.iter().take(ROWS_SHOWN).map(bar).collect();
    chart::exact_bars(&bars, title, column)
}
