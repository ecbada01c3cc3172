//! The plan of a joint question: cells, bounds, sensitivity, noise and cost.
//!
//! **Unit.** One account with all its rows, added or removed; a person has at most one account at
//! each of the n participants.
//!
//! **Sensitivity.** Each brand clips each member's vector of an aggregate to L2 norm C
//! ([`crate::bounded`]). One person's n accounts therefore move the alliance's sum by at most
//! n C in L2 (triangle inequality): Delta^2 = n^2 C^2, an integer.
//!
//! **Noise.** sigma^2 = Delta^2 / (2 rho) exactly. Each participant adds discrete Gaussian noise of
//! variance sigma^2/(n-t), so any n-t honest ones alone reach sigma^2. The sampler takes a
//! standard deviation: the root is rounded *up* to a multiple of 2^-20, never down. Where a share
//! would be below 3, values are scaled by a power of two first, so that the sum of the discrete
//! Gaussians is within 1e-36 of one (Kairouz, Liu and Steinke 2021, proposition 14).
//!
//! **Cost.** The rho asked for is divided equally among the aggregates, each part rounded down;
//! the whole is charged. Zero-concentrated costs add up (Bun and Steinke 2016, lemma 1.7).
//!
//! A plan is a pure function of contract and request, so every participant makes it anew and
//! compares the [`PlanHash`], which covers everything that decides the answer.
//!
//! Not here yet: per-brand bounds, brand-keyed cells, avg, ratios and quantiles.

mod cells;
mod display;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub use cells::{CELLS_MAX, Cell};
pub(crate) use cells::{carriers, key_points};
pub(crate) use display::interval_half_width;
pub use display::{AggregateSummary, PlanSummary, epsilon};

use crate::contract::{BudgetProfile, Contract, Domain, Table};
use crate::exact::{self, Rational};
use crate::hash;
use crate::ids::{AnalystId, ContractHash, ParticipantId, PlanHash, Purpose, SqlHash};
use crate::sql::{self, Aggregate, BoundQuery, Measure, Refusal, RefusalCode};
use crate::units::PicoRho;

/// Least standard deviation of one participant's noise, in scaled units.
const SHARE_DEVIATION_MIN: u128 = 3;
/// A clipped vector is cut to whole scaled units: with this many to C the cut is invisible.
const CLIP_RESOLUTION: u128 = 4_096;
/// Largest scale factor.
const SCALE_MAX: u64 = 1 << 32;
/// Tail of the noise that the overflow proof allows for, in standard deviations.
const TAIL_DEVIATIONS: u128 = 12;

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
    table: Table,
    cells: Vec<Cell>,
    aggregates: Vec<PlannedAggregate>,
    hash: PlanHash,
}

/// One aggregate of a plan.
#[derive(Clone, Debug)]
pub struct PlannedAggregate {
    name: String,
    measure: Measure,
    unit: String,
    squared_bound: u128,
    scale: u64,
    rho: PicoRho,
    scaled_squared_bound: u128,
    share_deviation: Rational,
}

impl DpPlan {
    /// Plans a question, or refuses it for reasons that never depend on data.
    pub fn new(contract: &Contract, spec: &QuerySpec) -> Result<Self, Refusal> {
        check_participants(contract, &spec.participants)?;
        check_purpose(contract, spec.purpose)?;
        let query = sql::bind(contract, &spec.sql)?;
        let table = query.table(contract).cloned().ok_or_else(too_costly)?;
        let cells = cells::enumerate(&query, &table, &spec.participants)?;
        let n = spec.participants.len();
        let tolerated = tolerated_colluders(n);
        check_cost(contract, spec.rho, query.aggregates.len())?;
        let rho = spec.rho.divided(query.aggregates.len()).ok_or_else(too_costly)?;
        let mut aggregates = Vec::with_capacity(query.aggregates.len());
        for aggregate in &query.aggregates {
            let bound = MemberBound::of(&table, aggregate.of, cells.len())?;
            let planned = PlannedAggregate::new(aggregate, bound, n, rho)?;
            planned.prove_no_overflow(n, contract.members_at_most())?;
            aggregates.push(planned);
        }
        let mut plan = Self {
            contract: contract.hash(),
            sql: query.hash(),
            purpose: spec.purpose,
            profile: contract.profile(),
            participants: spec.participants.clone(),
            tolerated,
            members_at_most: contract.members_at_most(),
            rho: spec.rho,
            query,
            table,
            cells,
            aggregates,
            hash: PlanHash([0; 32]),
        };
        plan.hash = plan.computed_hash();
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

    /// The table asked.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The cells, in the order of every vector and release.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The aggregates, in the order of every vector and release.
    pub fn aggregates(&self) -> &[PlannedAggregate] {
        &self.aggregates
    }

    /// Public cap on one brand's members.
    pub const fn members_at_most(&self) -> u64 {
        self.members_at_most
    }

    /// Length of a masked vector: aggregates times cells, an aggregate's cells together.
    pub fn coordinates(&self) -> usize {
        self.cells.len().saturating_mul(self.aggregates.len())
    }

    /// Cost, bounds and expected error, for people. Computed from public numbers only.
    pub fn summary(&self) -> PlanSummary {
        PlanSummary::of(self)
    }

    fn computed_hash(&self) -> PlanHash {
        let mut bytes = Vec::new();
        let aggregates: Vec<HashedAggregate<'_>> =
            self.aggregates.iter().map(PlannedAggregate::hashed).collect();
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
            aggregates,
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
    aggregates: Vec<HashedAggregate<'a>>,
}

#[derive(Encode)]
#[cbor(array)]
struct HashedAggregate<'a> {
    #[n(0)]
    name: &'a str,
    #[n(1)]
    measure: Measure,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    squared_bound: [u8; 16],
    #[n(3)]
    scale: u64,
    #[n(4)]
    rho: PicoRho,
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    deviation_numerator: Vec<u8>,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    deviation_denominator: Vec<u8>,
}

impl PlannedAggregate {
    fn new(
        aggregate: &Aggregate,
        bound: MemberBound,
        participants: usize,
        rho: PicoRho,
    ) -> Result<Self, Refusal> {
        let MemberBound { squared: squared_bound, unit, clips } = bound;
        let tolerated = tolerated_colluders(participants) as u128;
        let n = participants as u128;
        let honest = n.checked_sub(tolerated).ok_or_else(too_costly)?;
        let sensitivity =
            n.checked_mul(n).and_then(|n| n.checked_mul(squared_bound)).ok_or_else(overflow)?;
        let share = exact::gaussian_variance(sensitivity, rho)
            .and_then(|variance| exact::divided(&variance, honest))
            .ok_or_else(too_costly)?;
        let enough = |scale: u64| {
            let square = u128::from(scale).saturating_mul(u128::from(scale));
            let wide = exact::times(&share, square)
                >= exact::integer(SHARE_DEVIATION_MIN.saturating_mul(SHARE_DEVIATION_MIN));
            let resolution = CLIP_RESOLUTION.saturating_mul(CLIP_RESOLUTION);
            wide && (!clips || squared_bound.saturating_mul(square) >= resolution)
        };
        let mut scale = 1u64;
        while !enough(scale) {
            scale = scale.checked_mul(2).filter(|s| *s <= SCALE_MAX).ok_or_else(too_costly)?;
        }
        let square = u128::from(scale).saturating_mul(u128::from(scale));
        let share_deviation = exact::square_root_rounded_up(&exact::times(&share, square));
        Ok(Self {
            name: aggregate.name.clone(),
            measure: aggregate.of,
            unit,
            squared_bound,
            scale,
            rho,
            scaled_squared_bound: squared_bound.checked_mul(square).ok_or_else(overflow)?,
            share_deviation,
        })
    }

    /// n M C scale + 12 standard deviations of each of n shares < 2^63, from public caps alone.
    fn prove_no_overflow(&self, n: usize, members_at_most: u64) -> Result<(), Refusal> {
        let n = n as u128;
        let norm = ceiling_root(self.scaled_squared_bound);
        let values = n.checked_mul(u128::from(members_at_most)).and_then(|m| m.checked_mul(norm));
        let noise = exact::ceiling(&self.share_deviation)
            .and_then(|s| s.checked_mul(TAIL_DEVIATIONS))
            .and_then(|s| s.checked_mul(n));
        let most = values.zip(noise).and_then(|(v, e)| v.checked_add(e));
        match most {
            Some(most) if most < 1 << 63 => Ok(()),
            _ => Err(overflow()),
        }
    }

    /// Its name in the answer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it measures.
    pub const fn measure(&self) -> Measure {
        self.measure
    }

    /// What a joint value counts: `memberships` (never people: one person may have an account at
    /// each brand), `rows`, or the unit of the summed column.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// C^2, the squared L2 bound of one member's contribution at one brand, in `unit`.
    pub const fn squared_bound(&self) -> u128 {
        self.squared_bound
    }

    /// Values are multiplied by this before they are clipped, noised and added.
    pub const fn scale(&self) -> u64 {
        self.scale
    }

    /// Its part of the cost.
    pub const fn rho(&self) -> PicoRho {
        self.rho
    }

    /// C^2 in scaled units.
    pub const fn scaled_squared_bound(&self) -> u128 {
        self.scaled_squared_bound
    }

    /// Standard deviation of one participant's noise in a cell, in scaled units.
    pub const fn share_deviation(&self) -> &Rational {
        &self.share_deviation
    }

    fn hashed(&self) -> HashedAggregate<'_> {
        let (deviation_numerator, deviation_denominator) =
            exact::canonical_parts(&self.share_deviation);
        HashedAggregate {
            name: &self.name,
            measure: self.measure,
            squared_bound: self.squared_bound.to_be_bytes(),
            scale: self.scale,
            rho: self.rho,
            deviation_numerator,
            deviation_denominator,
        }
    }
}

/// How many of n participants may collude: `max(1, floor((n-1)/3))`.
pub fn tolerated_colluders(n: usize) -> usize {
    n.saturating_sub(1).checked_div(3).unwrap_or(0).max(1)
}

/// What bounds one member's vector of an aggregate.
struct MemberBound {
    /// C^2.
    squared: u128,
    unit: String,
    /// Whether a member's vector can exceed C at all.
    clips: bool,
}

impl MemberBound {
    fn of(table: &Table, measure: Measure, cells: usize) -> Result<Self, Refusal> {
        let (squared, unit, clips) = match measure {
            // One 0 or 1 a cell: the norm is at most the root of the number of cells.
            Measure::Members => (cells as u128, "memberships", false),
            Measure::Rows => (table.rows_bound().squared(), "rows", true),
            Measure::Sum { column } => {
                match table.columns().get(usize::from(column)).map(|column| column.domain()) {
                    Some(Domain::Integer { unit, bound: Some(bound), .. }) => {
                        (bound.squared(), unit.as_str(), true)
                    }
                    _ => return Err(overflow()),
                }
            }
        };
        Ok(Self { squared, unit: unit.to_owned(), clips })
    }
}

fn ceiling_root(square: u128) -> u128 {
    let floor = square.isqrt();
    if floor.checked_mul(floor) == Some(square) { floor } else { floor.saturating_add(1) }
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

fn check_cost(contract: &Contract, rho: PicoRho, aggregates: usize) -> Result<(), Refusal> {
    let least = u64::try_from(aggregates).unwrap_or(u64::MAX);
    if rho.get() >= least && rho <= contract.joint_quota() { Ok(()) } else { Err(too_costly()) }
}

fn too_costly() -> Refusal {
    Refusal::new(
        RefusalCode::Cost,
        [
            "the privacy cost is zero or above a brand's yearly quota",
            "隐私开销为零，或超出品牌的年度额度",
        ],
        ["use the profile's cost per query", "请使用档位规定的单次查询开销"],
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
