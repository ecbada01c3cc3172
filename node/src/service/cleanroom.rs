//! The clean room's operations: plans, questions, answers, budgets, datasets, templates, exact figures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{Bilingual, Command, Node, PlanView, QueryView, Reply, ServiceError};

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
    /// Every brand, in the order of ids.
    pub brands: Vec<BrandBudgetView>,
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
    Queries {
        limit: u32,
        reply: Reply<Vec<QueryView>>,
    },
    Budgets {
        year: Option<u16>,
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
    Policy {
        reply: Reply<PolicyView>,
    },
    ReadPolicy {
        reply: Reply<PolicyView>,
    },
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
    /// The latest answers that this brand has, newest first.
    queries(limit: u32) -> Vec<QueryView> = Queries;
    /// Every brand's accounts of a calendar year; the present one without it.
    budgets(year: Option<u16>) -> BudgetsView = Budgets;
    /// What may be asked.
    datasets() -> Vec<DatasetView> = Datasets;
    /// Saved questions, shipped and of this brand.
    templates() -> Vec<TemplateView> = Templates;
    /// A template as a question, its parameters checked and filled in.
    fill_template(template: String, scope: Option<Scope>, parameters: Vec<(String, String)>) -> FilledTemplate = Fill;
    /// Exact figures of a dashboard over this brand's own members. For its own staff alone.
    figures(template: String, parameters: Vec<(String, String)>) -> FiguresView = Figures;
    /// This brand's policy.
    policy() -> PolicyView = Policy;
    /// Reads `policy.toml` again; it holds from the next question on.
    read_policy() -> PolicyView = ReadPolicy;
}
