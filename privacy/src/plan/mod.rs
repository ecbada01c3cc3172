//! The plan of a joint question: cells, bounds, sensitivity, noise and cost.
//!
//! **Unit.** One account with all its rows, added or removed; a person has at most one account at
//! each of the n participants.
//!
//! **Sensitivity.** Each brand b clips each member's vector of an aggregate to L2 norm C_b
//! ([`crate::bounded`]), its own by the contract or that of all. One person's n accounts therefore move the
//! alliance's sum by at most the sum of all C_b in L2 (triangle inequality): Delta^2 is its square, rounded up to an
//! integer; n^2 C^2 where all have the same. Brands that are not asked add nothing to it.
//!
//! **Noise.** sigma^2 = Delta^2 / (2 rho) exactly. Each participant adds discrete Gaussian noise of
//! variance sigma^2/(n-t), so any n-t honest ones alone reach sigma^2. The sampler takes a
//! standard deviation: the root is rounded *up* to a multiple of 2^-20, never down. Where a share
//! would be below 3, values are scaled by a power of two first, so that the sum of the discrete
//! Gaussians is within 1e-36 of one (Kairouz, Liu and Steinke 2021, proposition 14).
//!
//! **Cost.** The rho asked for is divided equally among the noised columns, each part rounded down;
//! the whole is charged. Columns that only HAVING or ORDER BY name are among them. Zero-concentrated
//! costs add up (Bun and Steinke 2016, lemma 1.7).
//!
//! A plan is a pure function of contract and request, so every participant makes it anew and
//! compares the [`PlanHash`], which covers everything that decides the answer.
//!
//! A question about one brand's own members is the same with n = 1 and t = 0: sigma^2 = C^2 / (2 rho).

mod cells;
mod display;
mod noised;

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub(crate) use cells::carriers;
pub use cells::{ANSWER_MAX_BYTES, CELLS_ALONE_MAX, CELLS_MAX, Cell};
pub use display::{
    AggregateSummary, BrandBoundSummary, NOISY_FROM, OutputKind, OutputSummary, PlanSummary,
    PrivateSummary, epsilon,
};
pub(crate) use display::{QUANTILE_95, interval_half_width, noise_deviation};
pub use noised::NoisedColumn;
pub(crate) use noised::{Added, Fill};

use crate::contract::{BudgetProfile, CARRIERS_MIN, Contract, Table};
use crate::hash;
use crate::ids::{AnalystId, ContractHash, ParticipantId, PlanHash, Purpose, SqlHash};
use crate::mechanism::threshold::least_threshold;
use crate::sql::relation::BoundsAt;
use crate::sql::{self, AGGREGATES_MAX, BoundQuery, Measure, Refusal, RefusalCode};
use crate::units::{PicoDelta, PicoRho};
use noised::{Adders, HashedColumn};

/// Most coordinates of a joint question, cells times what each noised column has in a cell: two columns in as many
/// cells as there may be. Everybody who answers holds so many of everybody at once ([`DpPlan::bytes_held`]).
pub const COORDINATES_MAX: usize = 2 * CELLS_MAX;
/// Most coordinates of a question that a brand answers alone.
pub const COORDINATES_ALONE_MAX: usize = CELLS_ALONE_MAX * AGGREGATES_MAX;
/// What a cell takes in memory beside its labels, and a label beside its text, in bytes.
const CELL_HELD_BYTES: usize = 56;
const LABEL_HELD_BYTES: usize = 40;
/// How often the labels are held while an answer is made: in the plan, in what is hashed and in what is shown.
const LABELS_HELD: usize = 3;

/// Most rows that a join may make of one member's, by the declared bounds of what is joined.
pub const JOINED_ROWS_MAX: u64 = 1_000_000;

/// What an analyst asks: sent by the proposer to every participant, who plans it anew.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cbor(array)]
pub struct QuerySpec {
    /// The SQL text.
    #[n(0)]
    pub sql: String,
    /// What members were asked consent for.
    #[n(1)]
    pub purpose: Purpose,
    /// Whose share of the proposer's quota pays.
    #[n(2)]
    pub analyst: AnalystId,
    /// Who is asked, the proposer among them, in ascending order.
    #[n(3)]
    pub participants: Vec<ParticipantId>,
    /// Privacy cost of the whole question.
    #[n(4)]
    pub rho: PicoRho,
}

/// What an analyst asks of one brand about its own members.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cbor(array)]
pub struct LocalQuestion {
    /// The SQL text. `brand` among the group keys asks every brand that agrees for its own answer.
    #[n(0)]
    pub sql: String,
    /// What members were asked consent for.
    #[n(1)]
    pub purpose: Purpose,
    /// Whose share of the brand's local quota pays.
    #[n(2)]
    pub analyst: AnalystId,
    /// Privacy cost of the whole question, at each brand that answers.
    #[n(3)]
    pub rho: PicoRho,
}

/// What a question with private groups adds to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct PrivateGroups {
    /// In at most how many groups one member counts.
    #[n(0)]
    pub member_groups: u16,
    /// Public cap on the groups of one brand: for so many noise is drawn.
    #[n(1)]
    pub groups_at_most: u16,
    /// With which probability it may show a group that only one member is in.
    #[n(2)]
    pub delta: PicoDelta,
    /// The noised column that counts members.
    #[n(3)]
    pub(crate) column: u16,
    /// The least noised count, in scaled units, of a group that is shown.
    #[n(4)]
    pub(crate) threshold: u64,
}

/// A planned question. Cheap to make again; never stored.
#[derive(Clone, Debug)]
pub struct DpPlan {
    contract: ContractHash,
    sql: SqlHash,
    purpose: Purpose,
    profile: BudgetProfile,
    participants: Vec<ParticipantId>,
    tolerated: usize,
    members_at_most: u64,
    rho: PicoRho,
    query: BoundQuery,
    tables: Vec<Table>,
    cells: Vec<Cell>,
    added: Vec<Added>,
    columns: Vec<NoisedColumn>,
    private: Option<PrivateGroups>,
    bytes_held: usize,
    hash: PlanHash,
}

impl DpPlan {
    /// Plans a joint question, or refuses it for reasons that never depend on data.
    pub fn new(contract: &Contract, spec: &QuerySpec) -> Result<Self, Refusal> {
        check_participants(contract, &spec.participants)?;
        check_purpose(contract, spec.purpose)?;
        check_cost(contract, spec.rho, contract.rho_per_question_at_most())?;
        let query = sql::bind(contract, &spec.sql)?;
        if query.by_brand {
            return Err(one_brand_each());
        }
        if query.private.is_some() {
            return Err(private_alone());
        }
        let tolerated = tolerated_colluders(spec.participants.len());
        let (purpose, rho) = (spec.purpose, spec.rho);
        let asked = Asked { query, purpose, participants: &spec.participants, tolerated, rho };
        Self::of(contract, asked)
    }

    /// Plans a question about one brand's own members: a cell needs no other brand, because the
    /// brand itself decides to show its figures; nobody else adds noise, so all of it is its own.
    pub fn local(
        contract: &Contract,
        brand: ParticipantId,
        question: &LocalQuestion,
    ) -> Result<Self, Refusal> {
        if !contract.participants().contains(&brand) {
            return Err(unknown_brand(brand));
        }
        check_purpose(contract, question.purpose)?;
        check_cost(contract, question.rho, contract.local_quota())?;
        let query = sql::bind(contract, &question.sql)?;
        let (purpose, rho) = (question.purpose, question.rho);
        let asked = Asked { query, purpose, participants: &[brand], tolerated: 0, rho };
        Self::of(contract, asked)
    }

    fn of(contract: &Contract, asked: Asked<'_>) -> Result<Self, Refusal> {
        let Asked { query, purpose, participants, tolerated, rho } = asked;
        let tables = contract.tables();
        let n = participants.len();
        check_joins(&query, tables, participants)?;
        let cells = cells::enumerate(&query, tables, participants, CARRIERS_MIN.min(n))?;
        let adders = Adders {
            participants,
            honest: n.checked_sub(tolerated).ok_or_else(too_costly)? as u128,
            members_at_most: contract.members_at_most(),
        };
        // of private groups a member reaches no more than those it counts in
        let reached = query.private.map_or(cells.len(), |key| usize::from(key.member_groups));
        let (added, columns) = noised::columns(&query, tables, reached, adders, rho)?;
        let private = match query.private {
            Some(key) => Some(private_groups(key, &columns, contract.delta_per_question())?),
            None => None,
        };
        let most = private.map_or(cells.len(), |groups| usize::from(groups.groups_at_most));
        check_coordinates(&columns, most, n)?;
        let mut plan = Self {
            contract: contract.hash(),
            sql: query.hash(),
            purpose,
            profile: contract.profile(),
            participants: participants.to_vec(),
            tolerated,
            members_at_most: contract.members_at_most(),
            rho,
            query,
            tables: tables.to_vec(),
            cells,
            added,
            columns,
            private,
            bytes_held: 0,
            hash: PlanHash([0; 32]),
        };
        plan.hash = plan.computed_hash();
        plan.bytes_held = plan.counted_bytes();
        Ok(plan)
    }

    /// Hash of everything that decides the answer.
    pub const fn hash(&self) -> PlanHash {
        self.hash
    }

    /// Hash of the normalised question.
    pub const fn sql_hash(&self) -> SqlHash {
        self.sql
    }

    /// The contract it was planned under.
    pub const fn contract_hash(&self) -> ContractHash {
        self.contract
    }

    /// The brands asked, in ascending order.
    pub fn participants(&self) -> &[ParticipantId] {
        &self.participants
    }

    /// The place of a brand among those asked.
    pub(crate) fn place_of(&self, brand: ParticipantId) -> Option<usize> {
        self.participants.iter().position(|asked| *asked == brand)
    }

    /// How many colluders the noise allows for.
    pub const fn tolerated_colluders(&self) -> usize {
        self.tolerated
    }

    /// What it costs.
    pub const fn rho(&self) -> PicoRho {
        self.rho
    }

    /// The budget profile of the contract.
    pub const fn profile(&self) -> BudgetProfile {
        self.profile
    }

    /// What the members were asked consent for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The question.
    pub const fn query(&self) -> &BoundQuery {
        &self.query
    }

    /// The tables of the contract.
    pub(crate) fn contract_tables(&self) -> &[Table] {
        &self.tables
    }

    /// The tables that are read, each once.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        let mut used = BTreeSet::new();
        self.query.from.tables_used(&mut |table| {
            used.insert(table);
        });
        used.into_iter().filter_map(|table| self.tables.get(usize::from(table)))
    }

    /// The cells, in the order of every vector and release.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Its private groups, if its group key has values that are not public. It then has one cell, of which
    /// there are as many as groups turn out to be.
    pub const fn private(&self) -> Option<&PrivateGroups> {
        self.private.as_ref()
    }

    /// The failure probability it takes beside its cost.
    pub fn delta(&self) -> PicoDelta {
        self.private.map_or(PicoDelta::ZERO, |groups| groups.delta)
    }

    /// How many cells there are, or private groups at most.
    pub fn cells_at_most(&self) -> usize {
        self.private.map_or(self.cells.len(), |groups| usize::from(groups.groups_at_most))
    }

    /// The noised columns, in the order of every vector and release.
    pub fn columns(&self) -> &[NoisedColumn] {
        &self.columns
    }

    /// What the engine adds up over the rows of a member and cell.
    pub(crate) fn added(&self) -> &[Added] {
        &self.added
    }

    /// Bins into which every cell is split for its quantiles; 1 when there are none.
    pub(crate) fn bins(&self) -> usize {
        let bins = self.query.measures.iter().find_map(|measure| match measure {
            Measure::Histogram(bins) => Some(bins.leaves()),
            _ => None,
        });
        bins.unwrap_or(1)
    }

    /// Public cap on one brand's members.
    pub const fn members_at_most(&self) -> u64 {
        self.members_at_most
    }

    /// Length of a masked vector: a column's cells together, a cell's coordinates together. Of private
    /// groups the most there can be.
    pub fn coordinates(&self) -> usize {
        self.column_start(self.columns.len(), self.cells_at_most())
    }

    /// Memory that an attempt takes at a participant until it is over, in bytes: every opening, the own vector once
    /// more, and the cells, counted for when they are there most often.
    pub const fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// Forgets the cells, of an attempt that no answer comes of any more: what it was planned as stays, by its hash.
    pub(crate) fn forget_cells(&mut self) {
        self.cells = Vec::new();
        self.bytes_held = 0;
    }

    fn counted_bytes(&self) -> usize {
        let vectors = self.participants.len().saturating_add(1).saturating_mul(8);
        let cells = self.cells.iter().fold(0usize, |sum, cell| {
            cell.labels().iter().fold(sum.saturating_add(CELL_HELD_BYTES), |sum, label| {
                sum.saturating_add(label.len()).saturating_add(LABEL_HELD_BYTES)
            })
        });
        self.coordinates().saturating_mul(vectors).saturating_add(cells.saturating_mul(LABELS_HELD))
    }

    /// Where a column's coordinates begin when there are so many cells.
    pub(crate) fn column_start(&self, column: usize, cells: usize) -> usize {
        let before = self.columns.iter().take(column);
        before
            .fold(0, |sum, column| sum.saturating_add(cells.saturating_mul(column.fill().shown())))
    }

    /// The same of what is gathered at a brand.
    pub(crate) fn gathered_start(&self, column: usize, cells: usize) -> usize {
        let before = self.columns.iter().take(column);
        before
            .fold(0, |sum, column| sum.saturating_add(cells.saturating_mul(column.fill().width())))
    }

    /// Cost, bounds and expected error, for people. Computed from public numbers only.
    pub fn summary(&self) -> PlanSummary {
        PlanSummary::of(self)
    }

    fn computed_hash(&self) -> PlanHash {
        let mut bytes = Vec::new();
        let hashed = HashedPlan {
            contract: self.contract,
            sql: self.sql,
            purpose: self.purpose,
            profile: self.profile,
            participants: &self.participants,
            tolerated: self.tolerated as u64,
            members_at_most: self.members_at_most,
            rho: self.rho,
            cells: &self.cells,
            columns: self.columns.iter().map(NoisedColumn::hashed).collect(),
            private: self.private,
        };
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(&hashed, &mut bytes);
        PlanHash(hash::tagged("coalition/privacy/plan/v0", &[&bytes]))
    }
}

/// The bytes a plan hash covers.
#[derive(Encode)]
#[cbor(array)]
struct HashedPlan<'a> {
    #[n(0)]
    contract: ContractHash,
    #[n(1)]
    sql: SqlHash,
    #[n(2)]
    purpose: Purpose,
    #[n(3)]
    profile: BudgetProfile,
    #[n(4)]
    participants: &'a [ParticipantId],
    #[n(5)]
    tolerated: u64,
    #[n(6)]
    members_at_most: u64,
    #[n(7)]
    rho: PicoRho,
    #[n(8)]
    cells: &'a [Cell],
    #[n(9)]
    columns: Vec<HashedColumn<'a>>,
    #[n(10)]
    private: Option<PrivateGroups>,
}

/// A bound question with whom it is asked and what it may cost.
struct Asked<'a> {
    query: BoundQuery,
    purpose: Purpose,
    participants: &'a [ParticipantId],
    tolerated: usize,
    rho: PicoRho,
}

/// How many of n participants may collude: `max(1, floor((n-1)/3))`.
pub fn tolerated_colluders(n: usize) -> usize {
    n.saturating_sub(1).checked_div(3).unwrap_or(0).max(1)
}

fn check_participants(contract: &Contract, asked: &[ParticipantId]) -> Result<(), Refusal> {
    let ascending = asked.is_sorted_by(|a, b| a < b);
    let known = asked.iter().all(|brand| contract.participants().contains(brand));
    if ascending && known && asked.len() >= contract.minimum_participants() {
        return Ok(());
    }
    let least = contract.minimum_participants();
    Err(Refusal::new(
        RefusalCode::Participants,
        [
            "these participants cannot answer a joint question".to_owned(),
            "这些参与方无法共同回答该问题".to_owned(),
        ],
        [
            format!("name at least {least} brands of the contract, each once, in order"),
            format!("请按顺序列出契约中至少 {least} 个品牌，且不重复"),
        ],
    ))
}

fn check_purpose(contract: &Contract, purpose: Purpose) -> Result<(), Refusal> {
    if contract.serves(purpose) {
        return Ok(());
    }
    let known: Vec<&str> = contract.purposes().iter().map(Purpose::as_str).collect();
    let known = known.join(", ");
    Err(Refusal::new(
        RefusalCode::Purpose,
        [
            format!("members were not asked for the purpose {purpose}"),
            format!("会员未就用途 {purpose} 授权"),
        ],
        [format!("the purposes are {known}"), format!("可用的用途：{known}")],
    ))
}

fn check_cost(contract: &Contract, rho: PicoRho, quota: PicoRho) -> Result<(), Refusal> {
    let (least, usual) = (contract.rho_per_question_at_least(), contract.rho_per_question());
    if rho >= least && rho <= quota {
        return Ok(());
    }
    if rho < least {
        return Err(Refusal::new(
            RefusalCode::Cost,
            [
                format!("this costs {rho}; a question costs at least {least}"),
                format!("该问题开销为 {rho}；每个问题的开销至少为 {least}"),
            ],
            [
                format!("ask with {usual}: with less than a thousandth of it the answer is noise"),
                format!("请以 {usual} 的开销提问：低于其千分之一时，答案只是噪声"),
            ],
        ));
    }
    let (profile, brands) = (contract.profile().name(), contract.participants().len());
    Err(Refusal::new(
        RefusalCode::Cost,
        [
            format!(
                "this costs {rho}; under the profile {profile} one of {brands} brands may spend {quota} on such a question"
            ),
            format!(
                "该问题开销为 {rho}；在 {profile} 档位下，{brands} 个品牌中每个品牌的此类问题单次上限为 {quota}"
            ),
        ],
        [
            format!(
                "ask with {usual} or less; more a question takes a profile with more rho, or fewer brands in the contract"
            ),
            format!(
                "请以不超过 {usual} 的开销提问；若需更多，须采用 rho 更高的档位或减少契约中的品牌"
            ),
        ],
    ))
}

/// A question is answered in time by public facts alone, as far as the contract's bounds hold: whether a
/// reading fails must not hang on one member's rows, multiplied.
fn check_joins(
    query: &BoundQuery,
    tables: &[Table],
    participants: &[ParticipantId],
) -> Result<(), Refusal> {
    let at = |brand: &ParticipantId| query.from.joined_rows(BoundsAt::brand(tables, *brand));
    let rows = participants.iter().map(at).max().unwrap_or(u64::MAX);
    if rows <= JOINED_ROWS_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::TooComplex,
        [
            format!(
                "by the contract's bounds this join makes up to {rows} rows of one member's; at most {JOINED_ROWS_MAX} are joined"
            ),
            format!(
                "按契约的上界，该连接最多会为一位会员生成 {rows} 行；上限为 {JOINED_ROWS_MAX} 行"
            ),
        ],
        [
            "join fewer tables, or make few rows a member of them first, in subqueries grouped by the member",
            "请减少连接的表，或先用按会员分组的子查询把每位会员的行数降下来",
        ],
    ))
}

fn check_coordinates(
    columns: &[NoisedColumn],
    cells: usize,
    participants: usize,
) -> Result<(), Refusal> {
    let most = if participants == 1 { COORDINATES_ALONE_MAX } else { COORDINATES_MAX };
    let widths = columns.iter().map(|column| column.fill().width());
    let all = widths.fold(0usize, usize::saturating_add).saturating_mul(cells);
    if all <= most {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::TooManyCells,
        ["the question has too many noised values", "问题的加噪值过多"],
        [
            format!(
                "use fewer cells or columns: a quantile takes a histogram in each cell; {all} of {most}"
            ),
            format!("请减少单元格或列：每个分位数在每个单元格都需要一张直方图；{all}，上限 {most}"),
        ],
    ))
}

fn one_brand_each() -> Refusal {
    Refusal::new(
        RefusalCode::TooFewCarriers,
        ["a cell of one brand is no joint cell", "单一品牌的单元格不是联合单元格"],
        [
            "ask it as a pack of local answers, one of each brand that agrees",
            "请以本地回答合集的形式提问，由各同意的品牌分别作答",
        ],
    )
}

fn private_alone() -> Refusal {
    Refusal::new(
        RefusalCode::Unsupported,
        [
            "groups whose names are private are not asked of all brands together",
            "不能向全体品牌联合查询名称不公开的分组",
        ],
        [
            "ask one brand with scope local, or every brand for itself with brand among the keys",
            "请以 local 范围向单一品牌提问，或将 brand 列入分组键由各品牌分别作答",
        ],
    )
}

/// The count of members by which groups are shown, and the threshold for it.
fn private_groups(
    key: sql::PrivateKey,
    columns: &[NoisedColumn],
    delta: PicoDelta,
) -> Result<PrivateGroups, Refusal> {
    let sql::PrivateKey { members, member_groups, groups_at_most, .. } = key;
    let counted = (0u16..).zip(columns).find(|(_, column)| column.measure() == members);
    let (at, column) = counted.ok_or_else(overflow)?;
    let (deviation, scale) = (column.share_deviation(), column.scale());
    let threshold = least_threshold(deviation, u64::from(member_groups), scale, delta);
    let threshold = threshold.ok_or_else(|| {
        Refusal::new(
            RefusalCode::Cost,
            [
                "at this cost no group could be shown: the noise is too large for a threshold",
                "在此开销下无法显示任何分组：噪声过大，无法设定阈值",
            ],
            ["ask with more rho or fewer columns", "请提高 rho 或减少列"],
        )
    })?;
    Ok(PrivateGroups { member_groups, groups_at_most, delta, column: at, threshold })
}

fn unknown_brand(brand: ParticipantId) -> Refusal {
    Refusal::new(
        RefusalCode::Participants,
        [format!("{brand} is not in the contract"), format!("契约中没有品牌 {brand}")],
        ["ask a brand of the contract".to_owned(), "请向契约中的品牌提问".to_owned()],
    )
}

fn too_costly() -> Refusal {
    Refusal::new(
        RefusalCode::Cost,
        [
            "the privacy cost is too small for so many noised columns",
            "隐私开销过小，不足以分给这些加噪列",
        ],
        ["ask with more rho or fewer aggregates", "请提高 rho 或减少聚合"],
    )
}

fn overflow() -> Refusal {
    Refusal::new(
        RefusalCode::Overflow,
        [
            "the contract's public caps do not rule out an overflow",
            "契约的公开上限无法排除数值溢出",
        ],
        [
            "lower the bounds or the cap on members in the contract",
            "请在契约中降低上界或会员数上限",
        ],
    )
}

#[cfg(test)]
mod tests;
