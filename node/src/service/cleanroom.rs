//! The clean room's operations: plans, questions, answers, budgets, datasets, templates, exact figures.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{
    AnswerKey, Bilingual, Command, ErrorKind, Node, NoiseView, PeriodFiguresView, PeriodRequest,
    PlanView, QueryView, Reply, Rows, ServiceError,
};

/// Who answers a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All brands together: one noised sum, nobody's own figures.
    Joint,
    /// This brand alone, about its own members.
    Local,
    /// Every brand that agrees for itself: `brand` is among the group keys.
    Pack,
}

impl Scope {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Local => "local",
            Self::Pack => "pack",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scope {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Joint, Self::Local, Self::Pack]
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or("a scope is joint, local or pack")
    }
}

/// A question, and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The SQL text.
    pub sql: String,
    /// Who answers; without it a question with `brand` among its group keys is a pack, any other joint.
    pub scope: Option<Scope>,
    /// What it may cost, pico-rho; the profile's cost of a query without it.
    pub pico_rho: Option<u64>,
    /// Whether it stands: charged once, and answered for each period among its group keys when it is over.
    pub stands: bool,
    /// Whether the bound of its one sum is chosen first, by a question that a part of its cost pays for.
    pub chooses_bound: bool,
    /// The released question for the bound, by its id, from which the bound is taken; none asks for it.
    pub bound_from: Option<String>,
    /// The brands that a joint question is put to, this one among them; none for all that are not suspended.
    pub participants: Option<Vec<String>>,
    /// The user who asks; none for a program of the node's own process.
    pub user: Option<String>,
    /// The most it may cost when it is asked, pico-rho, where its cost was confirmed as a limit rather than
    /// as a plan that was seen; none: what the plan says.
    pub most_pico_rho: Option<u64>,
}

impl From<String> for Question {
    fn from(sql: String) -> Self {
        Self { sql, ..Self::default() }
    }
}

impl From<&str> for Question {
    fn from(sql: &str) -> Self {
        sql.to_owned().into()
    }
}

impl QueryView {
    /// As a user sees it who may see no other's text: what was asked, when and by whom is for who asked it.
    #[must_use]
    pub fn seen_by(self, user: &str) -> Self {
        if self.asked_by.as_deref() == Some(user) {
            return self;
        }
        Self { sql: None, asked_ms: None, asked_by: None, ..self }
    }
}

/// The question for a bound, which is asked before the one that it is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BoundChoiceView {
    /// The question for the bound, in SQL.
    pub sql: String,
    /// What it costs, pico-rho; in the plan's cost.
    pub cost_pico_rho: u64,
    /// What the question itself costs then, pico-rho; in the plan's cost.
    pub rest_pico_rho: u64,
    /// Expected noise of the question for the bound.
    pub sigma: Vec<NoiseView>,
    /// The largest bound that can be chosen. The plan's noise is that of this bound: with a lesser one it is less.
    pub most: u64,
}

/// How far the choice of a bound is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChosenBoundView {
    /// The question for the bound, by its id.
    pub query: String,
    /// The bound of the question itself; none as long as the question for it is under way.
    pub bound: Option<u64>,
}

/// What one brand answers to a question that every brand answers for itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BrandAnswerView {
    /// Which brand.
    pub brand: String,
    /// `waiting`, `answered` or `declined`.
    pub state: String,
    /// Why it gives none.
    pub reason: Option<Bilingual>,
    /// Hash of its release, hex; its own log carries it.
    pub hash: Option<String>,
    /// What it cost there, pico-rho.
    pub cost_pico_rho: u64,
}

/// One account of a calendar year, pico-rho.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// What may be spent; none where only the brand itself knows (shares of another brand's analysts).
    pub quota_pico_rho: Option<u64>,
    /// Held by questions under way.
    pub reserved_pico_rho: u64,
    /// Spent for good.
    pub charged_pico_rho: u64,
    /// What is left; none where the quota is not known.
    pub left_pico_rho: Option<u64>,
}

/// One analyst account's part of a brand's accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnalystBudgetView {
    /// The account: a desk of the brand, or another brand that asks it.
    pub analyst: String,
    /// Of the brand's joint account.
    pub joint: AccountView,
    /// Of the brand's local account.
    pub local: AccountView,
}

/// One brand's accounts of a year.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrandBudgetView {
    /// Whose.
    pub brand: String,
    /// Questions it proposed to all.
    pub joint: AccountView,
    /// Questions about its own members, and failures after reading.
    pub local: AccountView,
    /// Failure probabilities its local questions may take, in 1e-12.
    pub delta_quota: u64,
    /// Failure probabilities taken, in 1e-12.
    pub delta_charged: u64,
    /// By analyst account.
    pub analysts: Vec<AnalystBudgetView>,
}

/// All accounts of a calendar year, added up from the certified logs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetsView {
    /// The year.
    pub year: u16,
    /// Years with a charge, and the present one.
    pub years: Vec<u16>,
    /// Profile: `large`, `standard` or `trial`.
    pub profile: String,
    /// What all brands together may spend in a year, pico-rho.
    pub rho_per_year: u64,
    /// Every brand, in the order of ids, with those of its analysts that are on this page.
    pub brands: Vec<BrandBudgetView>,
    /// The last analyst on this page, where there are more: the next page is after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A purpose of the contract, and the consent it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurposeView {
    /// Its name.
    pub name: String,
    /// Whether questions for it are answered: the vault must know consent to it.
    pub served: bool,
    /// The consent that it needs.
    pub consent: Bilingual,
}

/// A declared value of a text column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// The value.
    pub value: String,
    /// Brands whose rows may hold it.
    pub carriers: Vec<String>,
    /// Whether it can be a joint cell: three brands at least may carry it.
    pub joint: bool,
}

/// A bound of one brand's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrandBoundView {
    /// The brand.
    pub brand: String,
    /// Its bound.
    pub bound: u64,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColumnView {
    /// Its name in SQL.
    pub name: String,
    /// `member`, `text`, `date`, `integer`, or `private`: a text whose values are not public.
    pub kind: String,
    /// Of an integer.
    pub unit: Option<String>,
    /// Least value, or first day.
    pub least: Option<String>,
    /// Greatest value, or last day.
    pub greatest: Option<String>,
    /// L2 bound of one member's sums at one brand; without one it cannot be summed. Of a private column: in how
    /// many groups one member counts at most.
    pub bound: Option<u64>,
    /// Brands that tell an integer, of which every other's is 0; empty where all do, and of other columns. A joint question
    /// that reads it needs three of them.
    #[serde(default)]
    pub carriers: Vec<String>,
    /// The same at brands that have a bound of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_by_brand: Vec<BrandBoundView>,
    /// Declared values of a text; `OTHER` stands for all others.
    pub values: Vec<ValueView>,
    /// The same in words.
    pub words: Bilingual,
}

/// A table of members' rows, or of public ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TableView {
    /// Its name in SQL.
    pub name: String,
    /// Whether anyone may know its rows.
    pub public: bool,
    /// L2 bound of one member's row counts at one brand; none for a public table.
    pub rows_bound: Option<u64>,
    /// The same at brands that have a bound of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows_bound_by_brand: Vec<BrandBoundView>,
    /// Columns, the member first.
    pub columns: Vec<ColumnView>,
}

/// A dataset: what may be asked, under which consent, within which bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatasetView {
    /// Its name.
    pub dataset: String,
    /// Hash of its contract, hex: two brands with the same one plan alike.
    pub contract: String,
    /// Purposes and the consent each needs.
    pub purposes: Vec<PurposeView>,
    /// The brands.
    pub participants: Vec<String>,
    /// Fewest brands in a joint question.
    pub minimum_participants: u32,
    /// Public cap on one brand's members; never their number.
    pub members_at_most: u64,
    /// Years after which rows cannot be read.
    pub retention_years: u8,
    /// Budget profile.
    pub profile: String,
    /// What a question costs unless its analyst chooses otherwise, pico-rho.
    pub rho_per_query: u64,
    /// Tables.
    pub tables: Vec<TableView>,
}

/// A parameter of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParameterView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub words: Bilingual,
    /// `value` of a text column, `day` or `whole number`.
    pub kind: String,
    /// What is taken without it.
    pub default: String,
    /// What it may be, where that is a list.
    pub choices: Vec<String>,
}

/// A saved question with parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateView {
    /// Its name.
    pub id: String,
    /// Title.
    pub title: Bilingual,
    /// What the answer says, and what it does not.
    pub note: Bilingual,
    /// What it is for: `dashboard`, `comparison`, `campaign`, `experiment` or `overview`.
    pub kind: String,
    /// Who can answer it: the first unless another is chosen.
    pub scopes: Vec<Scope>,
    /// Part of the profile's cost of a query that it takes, in percent.
    pub cost_percent: u32,
    /// Its parameters.
    pub parameters: Vec<ParameterView>,
    /// The SQL, with parameters in braces.
    pub sql: String,
    /// Whether the brand's own staff may have it exactly.
    pub exact: bool,
    /// Whether this brand saved it; otherwise it is shipped.
    pub own: bool,
    /// Columns that it asks about and the contract does not have, each `table.column`: with any it cannot be asked.
    #[serde(default)]
    pub absent: Vec<String>,
}

/// A template with its parameters filled in: what to plan and ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilledTemplate {
    /// The SQL.
    pub sql: String,
    /// Who answers it.
    pub scope: Scope,
    /// What it costs, pico-rho.
    pub pico_rho: u64,
}

/// Exact figures of a brand's own members, for its own staff. Neither printed nor kept anywhere.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FiguresView {
    /// The template.
    pub template: String,
    /// Names of the columns, keys first.
    pub columns: Vec<String>,
    /// How many of them are keys.
    pub keys: u32,
    /// Rows, as text.
    pub rows: Vec<Vec<String>>,
    /// Whose figures they are, and how they may be used.
    pub note: Bilingual,
}

/// Redacted.
impl fmt::Debug for FiguresView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FiguresView").field("template", &self.template).finish_non_exhaustive()
    }
}

/// What this brand's policy says, and where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Whether there is a file; without one the defaults hold.
    pub file: bool,
    /// Brands that get this brand's own answer in packs.
    pub packs: Vec<String>,
    /// Accounts of this brand's analysts.
    pub accounts: Vec<String>,
}

/// A cost as people write it, in rho with at most twelve decimals, as pico-rho.
///
/// # Errors
/// What would be right.
pub fn pico_rho(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no cost such as 0.001 (at most 12 decimals)");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 12 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let pico: u64 = format!("{decimals:0<12}").parse().map_err(|_| wrong())?;
    let all = whole.checked_mul(1_000_000_000_000).and_then(|whole| whole.checked_add(pico));
    all.filter(|cost| *cost > 0).ok_or_else(wrong)
}

/// Most rows of an answer that are given at a time to who asks from outside.
pub const ROWS_AT_ONCE: u32 = 10_000;

/// One operation of the clean room.
#[allow(missing_docs)] // each is described at the operation of [`Node`] that sends it
pub enum CleanRoomCommand {
    Plan {
        question: Question,
        reply: Reply<PlanView>,
    },
    Query {
        question: Question,
        plan: String,
        reply: Reply<QueryView>,
    },
    QueryById {
        id: String,
        reply: Reply<QueryView>,
    },
    QueryRows {
        id: String,
        from: u32,
        most: u32,
        reply: Reply<QueryView>,
    },
    Queries {
        before: Option<AnswerKey>,
        limit: u32,
        reply: Reply<Rows<QueryView, AnswerKey>>,
    },
    Budgets {
        year: Option<u16>,
        after: Option<String>,
        reply: Reply<BudgetsView>,
    },
    Datasets {
        reply: Reply<Vec<DatasetView>>,
    },
    Templates {
        reply: Reply<Vec<TemplateView>>,
    },
    Fill {
        template: String,
        scope: Option<Scope>,
        parameters: Vec<(String, String)>,
        reply: Reply<FilledTemplate>,
    },
    Figures {
        template: String,
        parameters: Vec<(String, String)>,
        reply: Reply<FiguresView>,
    },
    PeriodFigures {
        request: PeriodRequest,
        reply: Reply<PeriodFiguresView>,
    },
    Policy {
        reply: Reply<PolicyView>,
    },
    ReadPolicy {
        reply: Reply<PolicyView>,
    },
}

/// How often a call asks whether the question for a bound is answered.
const BOUND_POLL: Duration = Duration::from_millis(100);
/// So many times: together less than a request may take.
const BOUND_POLLS: u32 = 200;

impl Node {
    /// As [`Node::query`]. Where the bound is chosen first and the question for it is answered soon, the question itself is
    /// asked in the same call; who goes away meanwhile has asked the first alone, and is answered it for nothing the
    /// next time.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn query_in_steps(
        &self,
        mut question: Question,
        plan: String,
    ) -> Result<QueryView, ServiceError> {
        let view = self.query(question.clone(), plan.clone()).await?;
        let Some(chosen) = view.chosen_bound.clone().filter(|chosen| chosen.bound.is_none()) else {
            return Ok(view);
        };
        for _ in 0..BOUND_POLLS {
            let now = self.query_by_id(chosen.query.clone()).await?;
            match now.step.as_str() {
                "released" => {
                    question.bound_from = Some(chosen.query);
                    return self.query(question, plan).await;
                }
                "void" => return Ok(QueryView { chosen_bound: Some(chosen), ..now }),
                _ => tokio::time::sleep(BOUND_POLL).await,
            }
        }
        Ok(view)
    }
}

macro_rules! clean_room_operations {
    ($($(#[$doc:meta])* $name:ident ( $($argument:ident : $type:ty),* ) -> $output:ty = $command:ident);* $(;)?) => {
        impl Node {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// See [`ServiceError`]; also when the node is stopping.
            pub async fn $name(&self, $($argument: $type),*) -> Result<$output, ServiceError> {
                let (reply, answer) = oneshot::channel();
                let command = CleanRoomCommand::$command { $($argument,)* reply };
                self.commands
                    .send(Command::CleanRoom(command))
                    .await
                    .map_err(|_| ServiceError::stopped())?;
                answer.await.map_err(|_| ServiceError::stopped())?
            }
        )*}
    };
}

clean_room_operations! {
    /// Plans a question: cost and expected error, nothing spent.
    plan(question: Question) -> PlanView = Plan;
    /// Asks a planned question; `plan` is the hash that was shown.
    query(question: Question, plan: String) -> QueryView = Query;
    /// One question by its id.
    query_by_id(id: String) -> QueryView = QueryById;
    /// One question by its id, with so many rows of its answer at most, from one on.
    query_rows(id: String, from: u32, most: u32) -> QueryView = QueryRows;
    /// The latest questions of this brand and answers that it has behind a key, newest first, with the first rows of each:
    /// see [`Node::queries_page`]. Whom a text is shown to is for who asks to decide ([`QueryView::seen_by`]).
    listed_queries(before: Option<AnswerKey>, limit: u32) -> Rows<QueryView, AnswerKey> = Queries;
    /// Every brand's accounts of a calendar year, the present one without it, with its analysts after one.
    budgets(year: Option<u16>, after: Option<String>) -> BudgetsView = Budgets;
    /// What may be asked.
    datasets() -> Vec<DatasetView> = Datasets;
    /// Saved questions, shipped and of this brand.
    templates() -> Vec<TemplateView> = Templates;
    /// A template as a question, its parameters checked and filled in.
    fill_template(template: String, scope: Option<Scope>, parameters: Vec<(String, String)>) -> FilledTemplate = Fill;
    /// Exact figures of a dashboard over this brand's own members. For its own staff alone.
    figures(template: String, parameters: Vec<(String, String)>) -> FiguresView = Figures;
    /// Exact figures of a period over this brand's own members. For its own staff alone.
    period_figures(request: PeriodRequest) -> PeriodFiguresView = PeriodFigures;
    /// This brand's policy.
    policy() -> PolicyView = Policy;
    /// Reads `policy.toml` again; it holds from the next question on.
    read_policy() -> PolicyView = ReadPolicy;
}

impl Node {
    /// One question with its whole answer, taken page by page: what is long keeps nothing else in the node waiting.
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the answer is another after each page, as a standing question's may be once.
    pub async fn whole_answer(&self, id: String) -> Result<QueryView, ServiceError> {
        let mut view = self.query_rows(id.clone(), 0, ROWS_AT_ONCE).await?;
        loop {
            let Some(release) = &mut view.release else { return Ok(view) };
            let from = u32::try_from(release.rows.len()).unwrap_or(u32::MAX);
            if from >= release.rows_in_all {
                return Ok(view);
            }
            let next = self.query_rows(id.clone(), from, ROWS_AT_ONCE).await?.release;
            let same = next.filter(|next| next.hash == release.hash && !next.rows.is_empty());
            let Some(next) = same else {
                return Err(ServiceError::new(
                    ErrorKind::Conflict,
                    "answer_changed",
                    "the answer got another period meanwhile / 答案在此期间新增了一期",
                    "ask for it again / 请重新获取",
                ));
            };
            release.rows.extend(next.rows);
        }
    }
}
