//! What people see of plans, answers and refusals. Computed from public numbers alone.

use privacy::accounting::OverBudget;
use privacy::plan::{AggregateSummary, DpPlan};
use privacy::sql::RefusalCode;
use privacy::steps::{DeclineReason, ProposeError};
use privacy::{PicoRho, Refusal};

use super::answers::Answer;
use crate::service::{
    Bilingual, ErrorKind, NoiseView, PlanView, ReleaseRow, ReleaseView, ServiceError,
};

/// A plan, with what it costs now and what is left after it.
#[must_use]
pub fn plan_view(plan: &DpPlan, sql: &str, cost: PicoRho, left_after: PicoRho) -> PlanView {
    let summary = plan.summary();
    let sigma = summary.aggregates.iter().map(noise_view).collect();
    let mut warnings: Vec<Bilingual> =
        summary.aggregates.iter().map(|aggregate| too_noisy(plan, aggregate)).collect();
    if cost == PicoRho::ZERO {
        warnings.push(Bilingual {
            zh: "同一问题已有已发布的答案，再次查询将返回同一答案，不消耗隐私预算。".to_owned(),
            en: "This very question has been answered: asking it again gives the same answer and costs nothing."
                .to_owned(),
        });
    }
    PlanView {
        plan: plan.hash().to_string(),
        sql: sql.split_whitespace().collect::<Vec<_>>().join(" "),
        participants: plan.participants().iter().map(ToString::to_string).collect(),
        cells: u32::try_from(plan.cells().len()).unwrap_or(u32::MAX),
        cost_pico_rho: cost.get(),
        epsilon: if cost == PicoRho::ZERO { 0.0 } else { summary.epsilon },
        sigma,
        left_after_pico_rho: left_after.get(),
        warnings,
    }
}

fn noise_view(aggregate: &AggregateSummary) -> NoiseView {
    NoiseView {
        column: aggregate.name.clone(),
        sigma: aggregate.noise_deviation,
        half_width_95: aggregate.interval_half_width,
        bound: format!("{:.3} {}", aggregate.member_bound, aggregate.unit),
        smallest_cell_5_percent: aggregate.smallest_cell,
    }
}

/// Which cells the noise spoils: from sigma and public caps, never from data.
fn too_noisy(plan: &DpPlan, aggregate: &AggregateSummary) -> Bilingual {
    let AggregateSummary { name, unit, smallest_cell: smallest, .. } = aggregate;
    let smallest = smallest.ceil();
    let brands = plan.participants().len() as f64;
    let largest = brands * plan.members_at_most() as f64 * aggregate.member_bound;
    if smallest > largest {
        return Bilingual {
            zh: format!(
                "{name}：任何单元格的噪声中位误差都会超过 5%，答案没有用处。请减少分组或聚合。"
            ),
            en: format!(
                "{name}: no cell can be large enough for a median error of 5 %; the answer would be of no use. Use fewer groups or aggregates."
            ),
        };
    }
    Bilingual {
        zh: format!("{name}：小于约 {smallest} {unit} 的单元格，噪声中位误差会超过 5%。"),
        en: format!(
            "{name}: in cells smaller than about {smallest} {unit}, the noise has a median error above 5 %."
        ),
    }
}

/// An answer.
#[must_use]
pub fn release_view(answer: &Answer) -> ReleaseView {
    let rows = answer.rows.iter().map(|row| ReleaseRow {
        keys: row.keys.clone(),
        values: row.values.iter().map(|value| value.value).collect(),
        low: row.values.iter().map(|value| value.low).collect(),
        high: row.values.iter().map(|value| value.high).collect(),
    });
    ReleaseView {
        query: answer.id.query.to_string(),
        hash: answer.hash.to_string(),
        keys: answer.keys.clone(),
        values: answer.values.clone(),
        rows: rows.collect(),
        cost_pico_rho: answer.rho.get(),
        epsilon: answer.epsilon,
        participants: answer.snapshots.keys().map(ToString::to_string).collect(),
        statement: statement(answer),
    }
}

fn statement(answer: &Answer) -> Bilingual {
    let (rho, epsilon, year) = (answer.rho.to_rho(), answer.epsilon, answer.year);
    let proposer = answer.id.proposer;
    Bilingual {
        zh: format!(
            "保护单位：一个人（在每个参与品牌至多一个账户）加入或退出；计数为会员资格数，同一人在每个品牌可各有一份。\
             本次回答花费 rho = {rho}（delta = 1e-6 时 epsilon = {epsilon:.3}），记入 {proposer} 的 {year} 年账户。\
             95% 区间只覆盖噪声，不覆盖对超出上限的会员的截断。"
        ),
        en: format!(
            "Unit of privacy: {}. This answer cost rho = {rho} (epsilon = {epsilon:.3} at delta 1e-6), \
             charged to {proposer}'s account of {year}. The 95 % intervals cover the noise; clipping of \
             members above the declared bound is not covered.",
            privacy::release::PROTECTED
        ),
    }
}

/// A refusal in the words of an operation.
#[must_use]
pub fn refusal(refusal: &Refusal) -> ServiceError {
    let kind = match refusal.code() {
        RefusalCode::Syntax
        | RefusalCode::TooComplex
        | RefusalCode::Unknown
        | RefusalCode::OutsideDomain => ErrorKind::Invalid,
        RefusalCode::Unsupported
        | RefusalCode::Unbounded
        | RefusalCode::TooFewCarriers
        | RefusalCode::TooManyCells
        | RefusalCode::Participants
        | RefusalCode::Purpose
        | RefusalCode::Cost
        | RefusalCode::Overflow => ErrorKind::Refused,
    };
    let place = refusal
        .position()
        .map_or_else(String::new, |position| format!(" ({}:{})", position.line, position.column));
    let (message, hint) = (refusal.message(), refusal.hint());
    ServiceError::new(
        kind,
        refusal.code().as_str(),
        format!("{}{place} / {}", message.en, message.zh),
        format!("{} / {}", hint.en, hint.zh),
    )
}

/// Why a question is not proposed.
#[must_use]
pub fn propose_error(error: &ProposeError) -> ServiceError {
    match error {
        ProposeError::Refused(refused) => refusal(refused),
        ProposeError::Budget(over) => over_budget(over),
        ProposeError::NotAsked(_) | ProposeError::Taken | ProposeError::Lifetime => {
            tracing::error!(error = %error, "a question could not be proposed");
            internal()
        }
    }
}

fn over_budget(over: &OverBudget) -> ServiceError {
    let (code, remedy) = match over {
        OverBudget::Brand { .. }
        | OverBudget::Local { .. }
        | OverBudget::Delta { .. }
        | OverBudget::Analyst { .. } => (
            "over_budget",
            "nothing was spent; ask again next year, or look at the answers that were released / 未消耗预算；请于下一年度再问，或查看已发布的答案",
        ),
        OverBudget::OpenReservations { .. } => (
            "too_many_open",
            "nothing was spent; wait for a query to end / 未消耗预算；请等待进行中的查询结束",
        ),
    };
    ServiceError::new(ErrorKind::Refused, code, over.to_string(), remedy)
}

/// There is no contract to ask under.
#[must_use]
pub fn no_clean_room() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "no_clean_room",
        "the constitution has no clean room: no dataset contract was agreed on / 章程未约定数据合约，无法联合查询",
        "a joint question needs three brands and a [clean_room] in the constitution / 联合查询需要至少三个品牌，并在章程中约定 [clean_room]",
    )
}

/// The plan is not the one that was shown.
#[must_use]
pub fn plan_changed() -> ServiceError {
    ServiceError::new(
        ErrorKind::Conflict,
        "plan_changed",
        "this is not the plan of this question / 计划与所示不一致",
        "plan the question again and confirm what is shown / 请重新规划并确认",
    )
}

/// A fault of this node; what it was is in its log.
#[must_use]
pub fn internal() -> ServiceError {
    ServiceError::new(
        ErrorKind::Internal,
        "internal",
        "the node could not do this",
        "look at the node's log, and tell its operator",
    )
}

/// No such question.
#[must_use]
pub fn unknown_query() -> ServiceError {
    ServiceError::new(
        ErrorKind::NotFound,
        "query_unknown",
        "no question with this id is known at this brand / 本品牌没有此编号的查询",
        "an id has 32 hexadecimal digits and is given by the answer to the request / 编号为 32 位十六进制数",
    )
}

/// Why a brand took no part, in a word or two.
#[must_use]
pub const fn decline_words(reason: DeclineReason) -> &'static str {
    match reason {
        DeclineReason::Plan => "it arrives at another plan",
        DeclineReason::Budget => "the proposer's account does not cover it",
        DeclineReason::Policy => "its policy does not allow it",
        DeclineReason::Expiry => "the reservation had expired",
    }
}
