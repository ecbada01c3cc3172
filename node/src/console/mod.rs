//! The console: pages for people, in Chinese and English; those of the counter, of programme managers, of analysts, of
//! officers and of administrators have forms that change something, and so has a member's own page.
//!
//! Knows how to render views of [`crate::service`]. Renders the full page only for who holds the
//! proof of [`crate::auth`]; asks nobody for anything itself. All pages but the one that verifies receipts are whole
//! without scripts, and all without fonts or pictures from anywhere; the style sheet and three scripts are in the binary:
//! one makes the page of questions quicker to use, one keeps the partner's list of exchanges up to
//! date, one verifies receipts.
//!
//! The overview and the page of a question under way load themselves anew, which can be stopped. Not here yet: live
//! updates of other pages but that list.

mod administration;
mod budget;
mod chart;
mod drafts;
mod figures;
mod language;
mod manager;
mod officer;
mod own;
mod own_password;
mod partner;
mod programme;
mod questions;
mod receipt;
mod records;
mod refusals;
mod reviews;
mod second_factor;
mod text;
mod users;
mod words;

use askama::Template;

use crate::auth::{Authorized, perm};
use crate::service::{BudgetView, CommitteeView, LinkView, LogHead, ReleaseView, Status};
pub use administration::{Administered, AdministrationViews, administration_page};
pub use budget::budget_page;
use chart::{BudgetBar, ROWS_MAX};
pub use drafts::{DraftDone, DraftViews, draft_page};
pub use figures::{DashboardViews, FiguresViews, dashboard_page, figures_page};
pub use language::Language;
use language::say;
pub use manager::{
    CampaignsViews, GROUPS, Managed, RulesViews, SegmentsViews, campaigns_page, rules_page,
    segments_page,
};
pub use officer::{OfficerViews, officer_page, report_file};
pub use own::{OwnViews, member_words, own_erased_page, own_page, own_sign_in_page};
pub use own_password::{OwnPasswordViews, own_password_page};
pub use partner::{ExchangeListing, PartnerViews, partner_page};
pub use programme::{ProgrammeViews, StaffViews, programme_page, staff_page};
pub use questions::{Asking, PARAMETER, QuestionsViews, WITH, question_page, questions_page};
pub use receipt::receipt_page;
pub use records::{Done, RecordsViews, records_page};
pub use refusals::{Listed, refusal};
pub use reviews::{Reviewed, ReviewsViews, reviews_page};
pub use second_factor::{SecondFactorViews, second_factor_page};
pub use text::{rho, utc};
pub use users::{MadePassword, RoleBox, UserDone, UserViews, user_page};
use words::Words;

/// The style sheet, served beside the pages.
pub const STYLE_SHEET: &str = include_str!("console.css");
/// The script of the page of questions, which does the same without it.
pub const SCRIPT: &str = include_str!("console.js");
/// The script that verifies a receipt.
pub const RECEIPT_SCRIPT: &str = include_str!("receipt.js");
/// The script that keeps the partner's list of exchanges as it is.
pub const PARTNER_SCRIPT: &str = include_str!("partner.js");
/// The picture on a page's tab.
pub const ICON: &str = include_str!("icon.svg");

/// What the sign-in page tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Wrong name or password.
    Refused,
    /// Too many failures.
    Throttled {
        /// When to try again.
        retry_seconds: u64,
    },
    /// The session has ended.
    SessionOver,
    /// A code of the second factor is asked for.
    CodeNeeded,
    /// The code is not right.
    CodeWrong,
}

/// What every page has.
struct Frame<'a> {
    words: &'static Words,
    language: Language,
    alliance: &'a str,
    brand: &'a str,
    brand_name: &'a str,
    user: Option<&'a str>,
    /// The path the language switch stays on.
    path: &'a str,
    /// What of the page's address the language switch keeps beside the language.
    kept: Vec<(String, String)>,
    /// Whether the page can load itself anew, and does.
    refresh: Option<bool>,
    /// The pages that this user can go to.
    pages: Vec<Page>,
}

/// A page of the console that has to be signed in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The state of the node.
    Status,
    /// Positions, exchanges, clearing.
    Partner,
    /// Joint and local questions.
    Questions,
    /// The compliance report.
    Officer,
    /// Requests, operations, breaches, assessments.
    Records,
    /// Users, keys, backups, constitutions.
    Administration,
    /// Every brand's privacy budget.
    Budget,
    /// Exact figures of the brand's own members.
    Figures,
    /// The points programme.
    Programme,
    /// Its rules, and a change of them.
    Rules,
    /// Its segments.
    Segments,
    /// Its campaigns.
    Campaigns,
    /// What is to be reviewed.
    Reviews,
    /// The counter.
    Staff,
}

impl Page {
    const fn path(self) -> &'static str {
        match self {
            Self::Status => "/",
            Self::Partner => "/partner",
            Self::Questions => "/questions",
            Self::Officer => "/officer",
            Self::Records => "/records",
            Self::Administration => "/administration",
            Self::Budget => "/budget",
            Self::Figures => "/figures",
            Self::Programme => "/programme",
            Self::Rules => "/programme/rules",
            Self::Segments => "/programme/segments",
            Self::Campaigns => "/programme/campaigns",
            Self::Reviews => "/programme/reviews",
            Self::Staff => "/staff",
        }
    }
    const fn name(self, words: &Words) -> &'static str {
        match self {
            Self::Status => words.nav_status,
            Self::Partner => words.nav_partner,
            Self::Questions => words.nav_questions,
            Self::Officer => words.nav_officer,
            Self::Records => words.nav_records,
            Self::Administration => words.nav_administration,
            Self::Budget => words.budget,
            Self::Figures => words.nav_figures,
            Self::Programme => words.nav_programme,
            Self::Rules => words.nav_rules,
            Self::Segments => words.nav_segments,
            Self::Campaigns => words.nav_campaigns,
            Self::Reviews => words.nav_reviews,
            Self::Staff => words.nav_staff,
        }
    }
}

impl<'a> Frame<'a> {
    fn new(status: &'a Status, language: Language) -> Self {
        let own = status.heads.iter().find(|head| head.brand == status.brand);
        Self {
            words: Words::of(language),
            language,
            alliance: &status.alliance,
            brand: &status.brand,
            brand_name: own.map_or(&status.brand, |head| name(head, language)),
            user: None,
            path: "/",
            kept: Vec::new(),
            refresh: None,
            pages: Vec::new(),
        }
    }

    /// The same as it stands in an address, after the language.
    fn kept_query(&self) -> String {
        let pair = |(name, value): &(String, String)| {
            format!("&{}={}", text::in_query(name), text::in_query(value))
        };
        self.kept.iter().map(pair).collect()
    }
}

fn name(head: &LogHead, language: Language) -> &str {
    match language {
        Language::Chinese => &head.name_zh,
        Language::English => &head.name_en,
    }
}

/// Another brand, as the forms name it that deal with it for a member.
struct OtherBrand<'a> {
    id: &'a str,
    name: &'a str,
    /// Whether the member's account there is linked.
    linked: bool,
}

/// The other brands whose logs go on.
fn other_brands<'a>(
    status: &'a Status,
    links: &[LinkView],
    language: Language,
) -> Vec<OtherBrand<'a>> {
    let others = status.heads.iter().filter(|head| head.brand != status.brand && !head.closed);
    let other = |head: &'a LogHead| OtherBrand {
        id: &head.brand,
        name: name(head, language),
        linked: links.iter().any(|link| link.brand == head.brand && link.state == "linked"),
    };
    others.map(other).collect()
}

/// One row of the table of heads.
struct HeadRow<'a> {
    head: &'a LogHead,
    name: &'a str,
    own: bool,
    time: Option<String>,
}

struct ExchangeRow {
    /// Heading of the group of rows that begins here.
    begins: Option<&'static str>,
    state: &'static str,
    meaning: &'static str,
    count: u64,
}

struct BudgetPart<'a> {
    budget: &'a BudgetView,
    bar: BudgetBar,
}

struct ReleasePart<'a> {
    release: &'a ReleaseView,
    statement: &'a str,
    chart: Option<String>,
    cut: bool,
}

/// What only those who are signed in see.
struct Business<'a> {
    status: &'a Status,
    members: Option<String>,
    purchases: Option<String>,
    final_exchanges: u64,
    exchanges: Vec<ExchangeRow>,
    budget: Option<BudgetPart<'a>>,
    release: Option<ReleasePart<'a>>,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    frame: Frame<'a>,
    heads: Vec<HeadRow<'a>>,
    committee: &'a CommitteeView,
    epoch: u32,
    now: Option<String>,
    business: Option<Business<'a>>,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    frame: Frame<'a>,
    needed: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: Frame<'a>,
    notice: Option<String>,
    asks_code: bool,
}

/// The whole status page; none only if rendering fails.
#[must_use]
pub fn status_page(
    status: &Status,
    language: Language,
    proof: &Authorized<perm::ReadStatus>,
    refresh: bool,
    pages: &[Page],
) -> Option<String> {
    let words = Words::of(language);
    let sizes = proof.also::<perm::ReadSizes>();
    let business = Business {
        status,
        members: status.members.filter(|_| sizes).map(text::grouped),
        purchases: status.purchases.filter(|_| sizes).map(text::grouped),
        final_exchanges: status.exchanges.r#final.saturating_add(status.exchanges.acknowledged),
        exchanges: exchange_rows(status, words),
        budget: status
            .budget
            .as_ref()
            .map(|budget| BudgetPart { budget, bar: BudgetBar::of(budget) }),
        release: status.latest_release.as_ref().map(|release| release_part(release, language)),
    };
    page(status, language, refresh, Some((proof.user(), pages)), Some(business))
}

/// The page for anyone: the certified heads.
#[must_use]
pub fn heads_page(status: &Status, language: Language, refresh: bool) -> Option<String> {
    page(status, language, refresh, None, None)
}

fn page(
    status: &Status,
    language: Language,
    refresh: bool,
    user: Option<(&str, &[Page])>,
    business: Option<Business<'_>>,
) -> Option<String> {
    let heads = status.heads.iter().map(|head| HeadRow {
        head,
        name: name(head, language),
        own: head.brand == status.brand,
        time: utc(head.time_ms),
    });
    let (user, pages) =
        user.map_or((None, Vec::new()), |(user, pages)| (Some(user), pages.to_vec()));
    let frame = Frame { user, pages, refresh: Some(refresh), ..Frame::new(status, language) };
    let page = StatusPage {
        frame,
        heads: heads.collect(),
        committee: &status.committee,
        epoch: status.epoch,
        now: utc(status.now_ms),
        business,
    };
    page.render().ok()
}

/// The sign-in page; none only if rendering fails.
#[must_use]
pub fn sign_in_page(status: &Status, language: Language, notice: Option<Notice>) -> Option<String> {
    let words = Words::of(language);
    let asks_code = matches!(notice, Some(Notice::CodeNeeded | Notice::CodeWrong));
    let notice = notice.map(|notice| match notice {
        Notice::Refused => words.refused.to_owned(),
        Notice::Throttled { retry_seconds } => format!("{} {retry_seconds}", words.throttled),
        Notice::SessionOver => words.session_over.to_owned(),
        Notice::CodeNeeded => words.code_needed.to_owned(),
        Notice::CodeWrong => words.code_wrong.to_owned(),
    });
    let frame = Frame { path: "/sign-in", ..Frame::new(status, language) };
    SignInPage { frame, notice, asks_code }.render().ok()
}

/// What somebody sees whose roles do not include the page (`needed` names those that do); none only if
/// rendering fails.
#[must_use]
pub fn refused_page(
    status: &Status,
    language: Language,
    user: &str,
    needed: &[&str],
    pages: &[Page],
) -> Option<String> {
    let frame = Frame { user: Some(user), pages: pages.to_vec(), ..Frame::new(status, language) };
    RefusedPage { frame, needed: needed.join(", ") }.render().ok()
}

fn exchange_rows(status: &Status, words: &'static Words) -> Vec<ExchangeRow> {
    let counts = status.exchanges;
    let row = |begins, state, meaning, count| ExchangeRow { begins, state, meaning, count };
    vec![
        row(Some(words.ours), words.held, words.held_means, counts.held),
        row(None, words.final_, words.final_means, counts.r#final),
        row(None, words.acknowledged, words.acknowledged_means, counts.acknowledged),
        row(None, words.returned, words.returned_means, counts.returned),
        row(None, words.void, words.void_means, counts.void),
        row(None, words.refused_state, words.refused_means, counts.refused),
        row(Some(words.theirs), words.credited, words.credited_means, counts.credited),
        row(None, words.sent_back, words.sent_back_means, counts.sent_back),
    ]
}

fn release_part(release: &ReleaseView, language: Language) -> ReleasePart<'_> {
    ReleasePart {
        release,
        statement: match language {
            Language::Chinese => &release.statement.zh,
            Language::English => &release.statement.en,
        },
        chart: chart::release(release, language),
        cut: release.rows.len() > ROWS_MAX || release.rows_in_all > ROWS_MAX as u32,
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
