//! The programme manager's pages: the rules and a change of them with its notice, segments and how many
//! members are in each, campaigns and how their groups do.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, say};
use crate::auth::{Authorized, perm};
use crate::service::{
    CampaignGroupView, CampaignView, CampaignsView, RulesCheckView, RulesFileView, RulesView,
    SegmentRequest, SegmentView, SegmentsView, SimulationView, Status,
};

/// Groups that the form of a campaign has room for.
pub const GROUPS: usize = 3;

/// What a form of these pages did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Managed {
    /// Rules hold, or are announced.
    Proposed,
    /// Announced rules were withdrawn.
    Withdrawn,
    /// A segment is kept.
    Kept,
    /// It is not any more.
    Dropped,
    /// So many members of all are in the segment of the form.
    Counted {
        /// So many
        inside: u64,
        /// of so many.
        members: u64,
    },
    /// A campaign was made.
    Made,
    /// It was ended.
    Ended,
}

/// What the page of rules is made from.
#[derive(Debug, Default)]
pub struct RulesViews {
    /// The state of the node.
    pub status: Status,
    /// The rules as members read them.
    pub rules: RulesView,
    /// The same as a file.
    pub file: RulesFileView,
    /// What is in the editor.
    pub text: String,
    /// What checking it found.
    pub check: Option<RulesCheckView>,
    /// What it would have come to.
    pub simulation: Option<SimulationView>,
    /// What was done by a form of this page.
    pub done: Option<Managed>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
}

/// What the page of segments is made from.
#[derive(Debug, Default)]
pub struct SegmentsViews {
    /// The state of the node.
    pub status: Status,
    /// All segments.
    pub segments: SegmentsView,
    /// The name in the editor.
    pub name: String,
    /// The terms in the editor.
    pub draft: SegmentRequest,
    /// What was spent, in yuan, as it was typed.
    pub spent: String,
    /// What was done by a form of this page.
    pub done: Option<Managed>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
}

/// What the page of campaigns is made from.
#[derive(Debug, Default)]
pub struct CampaignsViews {
    /// The state of the node.
    pub status: Status,
    /// Campaigns, kinds of coupons.
    pub campaigns: CampaignsView,
    /// Segments to choose from.
    pub segments: SegmentsView,
    /// Today by the brand's clock.
    pub today: String,
    /// What was done by a form of this page.
    pub done: Option<Managed>,
    /// Why it was not, in the node's words.
    pub problem: Option<String>,
}

#[derive(Template)]
#[template(path = "rules.html")]
struct RulesPage<'a> {
    frame: Frame<'a>,
    views: &'a RulesViews,
    language: Language,
}

#[derive(Template)]
#[template(path = "segments.html")]
struct SegmentsPage<'a> {
    frame: Frame<'a>,
    views: &'a SegmentsViews,
    language: Language,
}

#[derive(Template)]
#[template(path = "campaigns.html")]
struct CampaignsPage<'a> {
    frame: Frame<'a>,
    views: &'a CampaignsViews,
    numbers: [usize; GROUPS],
    language: Language,
}

say!(RulesPage, words);
say!(SegmentsPage);
say!(CampaignsPage, words);

/// Fen in yuan.
fn yuan(fen: &u64) -> String {
    format!("{}.{:02}", text::grouped(fen / 100), fen % 100)
}

/// So many of so many, in percent.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 2_000 + u128::from(whole)) / (u128::from(whole.max(1)) * 2);
    if whole == 0 { "–".to_owned() } else { format!("{}.{}%", tenths / 10, tenths % 10) }
}

fn parts_of_the_day(zh: bool, hours: &str) -> &str {
    match (hours, zh) {
        ("morning", true) => "上午",
        ("afternoon", true) => "下午",
        ("evening", true) => "晚上",
        ("night", true) => "凌晨",
        (other, _) => other,
    }
}

impl RulesPage<'_> {
    fn done(&self, done: &Managed) -> &'static str {
        match done {
            Managed::Withdrawn => {
                self.say("已撤回公告中的变更。", "The announced change is withdrawn.")
            }
            _ => self
                .say("已提交：见下方的规则与公告。", "Done: see the rules and the notice below."),
        }
    }
    fn needs_notice(&self) -> bool {
        let check = self.views.check.as_ref();
        check.is_some_and(|check| check.differences.iter().any(|it| it.needs_notice))
    }
}

impl SegmentsPage<'_> {
    fn done(&self, done: &Managed) -> String {
        match done {
            Managed::Counted { inside, members } => {
                let (inside, members) = (text::grouped(*inside), text::grouped(*members));
                match self.language {
                    Language::Chinese => format!("共 {members} 名会员中有 {inside} 名。"),
                    Language::English => format!("{inside} of {members} members."),
                }
            }
            Managed::Dropped => self.say("已删除。", "It is kept no longer.").to_owned(),
            _ => self.say("已保存。", "It is kept.").to_owned(),
        }
    }
    fn share(&self, segment: &SegmentView) -> String {
        percent(segment.members, self.views.segments.members)
    }
    fn title<'w>(&self, terms: &'w SegmentRequest) -> &'w str {
        self.say(&terms.zh, &terms.en)
    }
    /// What a segment asks for, in words.
    fn conditions(&self, terms: &SegmentRequest) -> String {
        let mut all = Vec::new();
        let chinese = self.language == Language::Chinese;
        if let Some(tier) = &terms.tier_at_least {
            all.push(format!("{} {tier}", self.say("等级不低于", "tier at least")));
        }
        if let Some(days) = terms.quiet_days {
            all.push(if chinese {
                format!("{days} 天未消费")
            } else {
                format!("no purchase for {days} days")
            });
        }
        if let Some(fen) = &terms.spent_at_least_fen {
            let yuan = yuan(fen);
            all.push(if chinese {
                format!("近 12 个月消费不低于 {yuan} 元")
            } else {
                format!("spent {yuan} yuan in 12 months")
            });
        }
        if let Some(category) = &terms.category {
            all.push(format!("{} {category}", self.say("偏好品类", "buys most of")));
        }
        if let Some(channel) = &terms.channel {
            all.push(format!("{} {channel}", self.say("主要渠道", "mostly by")));
        }
        if let Some(hours) = &terms.hours {
            let hours = parts_of_the_day(chinese, hours);
            all.push(format!("{}{hours}", self.say("多在", "mostly in the ")));
        }
        if let Some(lifecycle) = &terms.lifecycle {
            all.push(self.lifecycle(lifecycle).to_owned());
        }
        if all.is_empty() {
            return self.say("所有会员", "all members").to_owned();
        }
        all.join(self.say("，", ", "))
    }
    fn lifecycle(&self, name: &str) -> &'static str {
        match name {
            "new" => self.say("从未消费", "never bought"),
            "first" => self.say("首购", "bought once, lately"),
            "active" => self.say("活跃", "active"),
            "quiet" => self.say("沉睡（91–180 天）", "quiet for 91 to 180 days"),
            _ => self.say("流失（180 天以上）", "lost: over 180 days"),
        }
    }
    fn is<'w>(&self, chosen: &Option<String>, value: &str) -> &'w str {
        if chosen.as_deref() == Some(value) { " selected" } else { "" }
    }
}

/// The difference of two shares of buyers and the ends of its interval, in percentage points.
struct Difference {
    middle: f64,
    low: f64,
    high: f64,
}

/// Buyers of one group against those of another: the difference with its interval at 95 %, after Agresti and
/// Caffo (2000), which stays honest in small groups. None before both have members.
fn difference(group: &CampaignGroupView, control: &CampaignGroupView) -> Option<Difference> {
    if group.members == 0 || control.members == 0 {
        return None;
    }
    // counts of members are far below what a float holds exactly
    let share = |it: &CampaignGroupView| {
        let (buyers, members) = (it.buyers as f64 + 1.0, it.members as f64 + 2.0);
        let share = buyers / members;
        (share, share * (1.0 - share) / members)
    };
    let ((one, spread_one), (other, spread_other)) = (share(group), share(control));
    let margin = 1.959_964 * (spread_one + spread_other).sqrt();
    let plain = |it: &CampaignGroupView| it.buyers as f64 / it.members as f64;
    Some(Difference {
        middle: (plain(group) - plain(control)) * 100.0,
        low: (one - other - margin) * 100.0,
        high: (one - other + margin) * 100.0,
    })
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    format!("{sign}{:.1}", value.abs())
}

impl CampaignsPage<'_> {
    fn done(&self, done: &Managed) -> &'static str {
        match done {
            Managed::Ended => self.say("活动已结束。", "The campaign is ended."),
            _ => self.say("活动已创建。", "The campaign is made."),
        }
    }
    fn stage(&self, campaign: &CampaignView) -> &'static str {
        match campaign.stage.as_str() {
            "planned" => self.say("未开始", "planned"),
            "running" => self.say("进行中", "running"),
            _ => self.say("已结束", "ended"),
        }
    }
    fn mark(&self, campaign: &CampaignView) -> &'static str {
        match campaign.stage.as_str() {
            "running" => "good",
            _ => "idle",
        }
    }
    fn offer(&self, group: &CampaignGroupView) -> String {
        match (&group.coupon, group.points) {
            (Some(kind), _) => {
                let known = self.views.campaigns.kinds.iter().find(|it| it.kind == *kind);
                known.map_or_else(|| kind.clone(), |it| self.words(&it.words).to_owned())
            }
            (None, Some(points)) => {
                format!("{} {}", text::grouped(points), self.say("积分", "points"))
            }
            (None, None) => self.say("对照（无）", "nothing: control").to_owned(),
        }
    }
    fn share(&self, campaign: &CampaignView, group: &CampaignGroupView) -> String {
        let all = campaign.groups.iter().map(|it| u64::from(it.share)).sum();
        percent(group.share.into(), all)
    }
    fn bought(&self, group: &CampaignGroupView) -> String {
        percent(group.buyers, group.members)
    }
    fn redeemed(&self, group: &CampaignGroupView) -> String {
        if group.coupon.is_none() {
            return "–".to_owned();
        }
        let (redeemed, given) = (group.coupons_redeemed, group.coupons_given);
        format!("{} / {}", text::grouped(redeemed), text::grouped(given))
    }
    /// Against the first group that gets nothing.
    fn against(&self, campaign: &CampaignView, group: &CampaignGroupView) -> String {
        let control = campaign.groups.iter().find(|it| it.coupon.is_none() && it.points.is_none());
        let control = control.filter(|control| control.name != group.name);
        match control.and_then(|control| difference(group, control)) {
            None => "–".to_owned(),
            Some(Difference { middle, low, high }) => {
                format!("{} [{}, {}]", signed(middle), signed(low), signed(high))
            }
        }
    }
    fn average(&self, group: &CampaignGroupView) -> String {
        let average = group.fen.checked_div(group.members);
        average.map_or_else(|| "–".to_owned(), |fen| yuan(&fen))
    }
    fn segment(&self, segment: &SegmentView) -> String {
        let title = self.say(&segment.terms.zh, &segment.terms.en);
        format!("{title} ({})", text::grouped(segment.members))
    }
    /// What the form begins with: an offer for nine of ten, and a control group.
    fn begins_with(&self, number: &usize) -> (&'static str, &'static str) {
        match number {
            1 => ("a", "90"),
            2 => ("control", "10"),
            _ => ("", ""),
        }
    }
    fn name(&self, number: &usize) -> &'static str {
        self.begins_with(number).0
    }
    fn shares(&self, number: &usize) -> &'static str {
        self.begins_with(number).1
    }
}

/// The page of rules; none only if rendering fails.
#[must_use]
pub fn rules_page(
    views: &RulesViews,
    language: Language,
    proof: &Authorized<perm::UseProgrammePages>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme/rules",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    RulesPage { frame, views, language }.render().ok()
}

/// The page of segments; none only if rendering fails.
#[must_use]
pub fn segments_page(
    views: &SegmentsViews,
    language: Language,
    proof: &Authorized<perm::UseProgrammePages>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme/segments",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    SegmentsPage { frame, views, language }.render().ok()
}

/// The page of campaigns; none only if rendering fails.
#[must_use]
pub fn campaigns_page(
    views: &CampaignsViews,
    language: Language,
    proof: &Authorized<perm::UseProgrammePages>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/programme/campaigns",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    CampaignsPage { frame, views, numbers: [1, 2, 3], language }.render().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: u64, buyers: u64) -> CampaignGroupView {
        CampaignGroupView { members, buyers, ..CampaignGroupView::default() }
    }

    #[test]
    fn a_difference_has_the_interval_of_agresti_and_caffo() {
        // adjusted shares 31/102 and 21/102: 0.303922 - 0.205882, by hand 0.098039 ± 0.118848
        let found = difference(&group(100, 30), &group(100, 20)).unwrap();
        assert!((found.middle - 10.0).abs() < 1e-9);
        assert!((found.low + 2.081).abs() < 0.01 && (found.high - 21.689).abs() < 0.01);
        assert!(difference(&group(0, 0), &group(5, 1)).is_none());
        assert_eq!((signed(-0.26), signed(3.0)), ("−0.3".to_owned(), "+3.0".to_owned()));
        assert_eq!((percent(1, 3), percent(0, 0)), ("33.3%".to_owned(), "–".to_owned()));
    }
}
