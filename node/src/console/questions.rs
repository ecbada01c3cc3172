//! The analyst's pages: what may be asked and what an answer will cost and be worth, before anything is spent;
//! then one question, by protocol step, and its answer with intervals and the privacy statement.

use askama::Template;

use super::text;
use super::{Frame, Language, Page, ReleasePart, chart, release_part, say};
use crate::auth::{Authorized, perm};
use crate::service::{
    BudgetView, ColumnView, DatasetView, ParameterView, PlanView, QueryView, Scope, Status,
    TemplateView,
};

/// Declared values shown of a column.
const VALUES_SHOWN: usize = 24;

/// Declared values, of all columns together, that the editor offers while one types.
const VALUES_OFFERED: usize = 500;

/// Characters of a question's text that are shown where questions are listed.
const TEXT_SHOWN: usize = 160;

/// Words of the SQL that is answered, as one may want them next; columns and tables come from the data set.
const SQL_WORDS: [&str; 24] = [
    "SELECT ",
    "FROM ",
    "WHERE ",
    "GROUP BY ",
    "HAVING ",
    "ORDER BY ",
    "LIMIT ",
    "BETWEEN ",
    "AND ",
    "CASE WHEN ",
    "count(*)",
    "sum(",
    "sum_within(",
    "avg(",
    "median(",
    "quantile(",
    "half_year(",
    "extract(month FROM ",
    "date_trunc('month', ",
    "least(",
    "greatest(",
    "abs(",
    "coalesce(",
    "DATE '",
];

/// How fields of the form that name a brand begin; the brand follows.
pub const WITH: &str = "with.";

/// A question as it stands in the form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// The SQL text.
    pub sql: String,
    /// Who answers; none to go by the group keys.
    pub scope: Option<Scope>,
    /// What it may cost, in rho, as it was written; empty for the profile's cost of a query.
    pub rho: String,
    /// Whether it is to stand.
    pub stands: bool,
    /// Whether its bound is to be chosen first.
    pub chooses_bound: bool,
    /// The brands that are ticked; none for all.
    pub participants: Option<Vec<String>>,
}

/// Everything that the page of questions is made from.
#[derive(Debug, Default)]
pub struct QuestionsViews {
    /// The state of the node.
    pub status: Status,
    /// The question in the form.
    pub asking: Asking,
    /// Its plan, once it was asked for.
    pub plan: Option<PlanView>,
    /// Why there is none, in the node's words.
    pub problem: Option<String>,
    /// What may be asked.
    pub datasets: Vec<DatasetView>,
    /// Saved questions.
    pub templates: Vec<TemplateView>,
    /// Questions, the newest first, with their answers.
    pub answers: Vec<QueryView>,
    /// Whether there are newer ones before them.
    pub has_newer: bool,
    /// Where the older ones begin, if there are some.
    pub older: Option<String>,
}

#[derive(Template)]
#[template(path = "questions.html")]
struct QuestionsPage<'a> {
    frame: Frame<'a>,
    views: &'a QuestionsViews,
    language: Language,
}

#[derive(Template)]
#[template(path = "question.html")]
struct QuestionPage<'a> {
    frame: Frame<'a>,
    query: &'a QueryView,
    part: Option<ReleasePart<'a>>,
    steps: Vec<Step>,
    language: Language,
}

/// A brand that a joint question may be put to.
struct BrandBox<'a> {
    brand: &'a str,
    is_ticked: bool,
    is_own: bool,
}

/// A step of the protocol, and whether the question has come to it.
struct Step {
    words: &'static str,
    done: bool,
    now: bool,
}

say!(QuestionsPage, words);
say!(QuestionPage, words);

fn scope(language: Language, scope: &str) -> &str {
    let (zh, en) = match scope {
        "joint" => ("各品牌联合", "all brands together"),
        "local" => ("仅本品牌", "this brand alone"),
        "pack" => ("各品牌各自作答", "each brand for itself"),
        other => return other,
    };
    match language {
        Language::Chinese => zh,
        Language::English => en,
    }
}

impl QuestionsPage<'_> {
    /// What is left of the brand's quota of the year for joint questions.
    fn left(&self, budget: &BudgetView) -> String {
        text::rho(chart::BudgetBar::of(budget).left_pico_rho)
    }
    fn scope<'s>(&self, name: &'s str) -> &'s str {
        scope(self.language, name)
    }
    /// The brands of the contract, each with whether it is ticked and whether it is this one.
    fn brands(&self) -> Vec<BrandBox<'_>> {
        let ticked = self.views.asking.participants.as_ref();
        let brands = self.views.datasets.first().into_iter().flat_map(|set| &set.participants);
        brands
            .map(|brand| BrandBox {
                brand,
                is_ticked: ticked.is_none_or(|ticked| ticked.contains(brand)),
                is_own: *brand == self.views.status.brand,
            })
            .collect()
    }
    fn is_asked(&self, scope: Option<Scope>) -> bool {
        self.views.asking.scope == scope
    }
    fn decimal(&self, value: &f64) -> String {
        match value.abs() {
            large if large >= 100.0 => text::rounded(*value),
            middle if middle >= 1.0 => format!("{value:.1}"),
            _ => format!("{value:.3}"),
        }
    }
    fn kind(&self, column: &ColumnView) -> &'static str {
        match column.kind.as_str() {
            "member" => self.say("会员", "member"),
            "text" => self.say("文本", "text"),
            "date" => self.say("日期", "date"),
            "private" => self.say("不公开的文本", "private text"),
            _ => self.say("整数", "integer"),
        }
    }
    fn range(&self, column: &ColumnView) -> String {
        let ends = (column.least.as_deref(), column.greatest.as_deref());
        let unit = column.unit.as_deref().unwrap_or_default();
        match ends {
            (Some(least), Some(greatest)) => format!("{least} … {greatest} {unit}"),
            _ => unit.to_owned(),
        }
    }
    /// What may be written into a question, a line each; a declared value as it is written in SQL, and its column after a
    /// tab.
    fn words_of_sql(&self) -> String {
        let tables = self.views.datasets.iter().flat_map(|dataset| &dataset.tables);
        let mut words: Vec<String> = SQL_WORDS.map(str::to_owned).into();
        let columns = tables.clone().flat_map(|table| &table.columns);
        let values = columns.flat_map(|column| {
            let of_column = column.values.iter();
            of_column.map(move |it| format!("'{}'\t{}", it.value.replace('\'', "''"), column.name))
        });
        words.extend(values.filter(|value| !value.contains('\n')).take(VALUES_OFFERED));
        for table in tables {
            words.push(table.name.clone());
            for column in &table.columns {
                words.push(column.name.clone());
                if column.kind == "member" {
                    words.push(format!("count(distinct {})", column.name));
                }
            }
        }
        words.sort();
        words.dedup();
        words.join("\n")
    }
    /// Names a template's field: no name of a parameter is one of the form's own.
    fn field(&self, parameter: &ParameterView) -> String {
        format!("{PARAMETER}{}", parameter.name)
    }
    fn columns(&self, answer: &QueryView) -> String {
        let names = answer.release.as_ref().map(|release| {
            release.keys.iter().chain(&release.values).map(String::as_str).collect::<Vec<_>>()
        });
        names.unwrap_or_default().join(", ")
    }
    fn asked(&self, query: &QueryView) -> String {
        asked(query)
    }
    fn state(&self, query: &QueryView) -> &'static str {
        match query.step.as_str() {
            "released" => self.say("已发布", "released"),
            "void" => self.say("已作废", "void"),
            "standing" => self.say("按期作答", "answered by periods"),
            _ => self.say("进行中", "under way"),
        }
    }
    /// What the answer cost whoever gave it, or what stands charged for the question.
    fn cost(&self, query: &QueryView) -> u64 {
        query.release.as_ref().map_or(query.charged_pico_rho, |release| release.cost_pico_rho)
    }
    fn short_sql(&self, sql: &str) -> String {
        let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let end = line.char_indices().nth(TEXT_SHOWN);
        match end {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }
}

/// When a question was asked, and by whom, where that is known.
fn asked(query: &QueryView) -> String {
    let at = query.asked_ms.and_then(text::utc);
    at.into_iter().chain(query.asked_by.clone()).collect::<Vec<_>>().join(" · ")
}

/// Before the name of a parameter, in the name of its field.
pub const PARAMETER: &str = "parameter.";

impl QuestionPage<'_> {
    fn scope<'s>(&self, name: &'s str) -> &'s str {
        scope(self.language, name)
    }
    fn asked(&self, query: &QueryView) -> String {
        asked(query)
    }
    fn state(&self, state: &str) -> &'static str {
        match state {
            "answered" => self.say("已作答", "answered"),
            "declined" => self.say("已婉拒", "declined"),
            _ => self.say("等待中", "waiting"),
        }
    }
}

/// The page of questions; none only if rendering fails.
#[must_use]
pub fn questions_page(
    views: &QuestionsViews,
    language: Language,
    proof: &Authorized<perm::RunQueries>,
    pages: &[Page],
) -> Option<String> {
    let frame = Frame {
        user: Some(proof.user()),
        path: "/questions",
        pages: pages.to_vec(),
        ..Frame::new(&views.status, language)
    };
    QuestionsPage { frame, views, language }.render().ok()
}

/// One question's page; loads itself anew while it is under way, if `refresh`. None only if rendering fails.
#[must_use]
pub fn question_page(
    status: &Status,
    query: &QueryView,
    language: Language,
    refresh: bool,
    proof: &Authorized<perm::RunQueries>,
    pages: &[Page],
) -> Option<String> {
    let path = format!("/questions/{}", query.id);
    let ended = ["released", "void"].contains(&query.step.as_str());
    let frame = Frame {
        user: Some(proof.user()),
        path: &path,
        refresh: (!ended).then_some(refresh),
        pages: pages.to_vec(),
        ..Frame::new(status, language)
    };
    let part = query.release.as_ref().map(|release| release_part(release, language));
    QuestionPage { frame, query, part, steps: steps(query, language), language }.render().ok()
}

/// The protocol's steps of a question, up to its answer.
fn steps(query: &QueryView, language: Language) -> Vec<Step> {
    let named: &[(&str, &str, &str)] = match query.scope.as_str() {
        "joint" => &[
            ("reserving", "各方预留预算", "every brand reserves the budget"),
            ("committing", "各方承诺掩码后的份额", "every brand commits to its masked share"),
            ("opening", "各方公开份额，噪声已加", "the shares are opened, noise and all"),
        ],
        "pack" => &[("asking", "逐一询问各品牌", "each brand is asked")],
        _ if query.standing.is_some() => {
            &[("standing", "按期作答", "each period is answered when it is over")]
        }
        _ => &[
            ("charging", "预算记入账本", "the charge is certified"),
            ("reading", "读取并加噪", "the data is read, noise is added"),
            ("releasing", "发布", "the answer is certified"),
        ],
    };
    let at = named.iter().position(|(step, ..)| *step == query.step);
    let done = |place: usize| at.map_or(query.step == "released", |at| place < at);
    let steps = named.iter().enumerate();
    steps
        .map(|(place, (_, zh, en))| Step {
            words: match language {
                Language::Chinese => zh,
                Language::English => en,
            },
            done: done(place),
            now: at == Some(place),
        })
        .collect()
}
