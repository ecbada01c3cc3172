//! What people see of plans, answers and refusals. Computed from public numbers alone.

use privacy::accounting::OverBudget;
use privacy::alone::{LocalAskError, PackDecline};
use privacy::plan::{AggregateSummary, DpPlan, PrivateSummary};
use privacy::release::Quality;
use privacy::sql::RefusalCode;
use privacy::steps::{DeclineReason, ProposeError};
use privacy::units::DisplayDelta;
use privacy::{Contract, ParticipantId, PicoRho, QueryId, Refusal};

use super::answers::{Answer, AnswerValue};
use super::policy::{Account, PolicyError};
use crate::purchases::{Unreadable, unreadable};
use crate::service::{
    Bilingual, BoundAtView, ErrorKind, NoiseView, PlanView, ReleaseRow, ReleaseView, Scope,
    ServiceError,
};
use crate::vault;

/// A plan, with what it costs now and what is left after it.
#[must_use]
pub fn plan_view(
    plan: &DpPlan,
    sql: &str,
    scope: Scope,
    account: &Account,
    cost: PicoRho,
    left_after: PicoRho,
) -> PlanView {
    let summary = plan.summary();
    let sigma = summary.aggregates.iter().map(noise_view).collect();
    let mut warnings: Vec<Bilingual> =
        summary.aggregates.iter().map(|aggregate| too_noisy(plan, aggregate)).collect();
    warnings.extend(summary.private.as_ref().map(private_words));
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
        scope: scope.name().to_owned(),
        purpose: plan.purpose().to_string(),
        analyst: account.name.to_string(),
        participants: plan.participants().iter().map(ToString::to_string).collect(),
        cells: u32::try_from(plan.cells_at_most()).unwrap_or(u32::MAX),
        cost_pico_rho: cost.get(),
        rho: cost.to_rho(),
        epsilon: if cost == PicoRho::ZERO { 0.0 } else { summary.epsilon },
        cost_pico_delta: if cost == PicoRho::ZERO { 0 } else { plan.delta().get() },
        sigma,
        left_after_pico_rho: left_after.get(),
        bound_choice: None,
        warnings,
    }
}

/// Which private groups are shown, and what that costs.
fn private_words(private: &PrivateSummary) -> Bilingual {
    let PrivateSummary { member_groups, threshold, delta, .. } = private;
    Bilingual {
        zh: format!(
            "分组名称不公开：加噪会员数达到 {threshold} 的组才显示；每位会员至多计入其记录最多的 {member_groups} 组；显示出仅含一位会员的组的概率至多 {delta:e}，计入本品牌年度 delta 账户。"
        ),
        en: format!(
            "Names of groups are private: a group is shown when its noised count of members reaches {threshold}; a member counts in the {member_groups} groups at most in which it has most rows. With probability {delta:e} at most a group that only one member is in is shown; that is charged to the brand's delta of the year."
        ),
    }
}

/// The same of an answer.
fn private_statement(privacy: Option<&serde_json::Value>) -> Option<Bilingual> {
    let private = privacy?.get("private")?;
    let (threshold, delta) = (private.get("threshold")?, private.get("delta")?.as_f64()?);
    Some(Bilingual {
        zh: format!(" 仅显示加噪会员数达到 {threshold} 的组，另计 delta = {delta:e}。"),
        en: format!(
            " Only groups whose noised count of members reaches {threshold} are shown, at a delta of {delta:e} beside."
        ),
    })
}

/// That the cells shown were chosen by their noised values, if they were.
fn selection_statement(privacy: Option<&serde_json::Value>) -> Option<Bilingual> {
    privacy?.get("selection_note")?.as_str()?;
    Some(Bilingual {
        zh: " 显示哪些单元格由加噪值决定（HAVING、ORDER BY 或 LIMIT）：噪声偏向者更易入选，其区间的覆盖率低于所标。".to_owned(),
        en: " Which cells are shown was decided by their noised values (HAVING, ORDER BY or LIMIT): those that the noise favoured are among them, and their intervals cover less often than stated."
            .to_owned(),
    })
}

fn noise_view(aggregate: &AggregateSummary) -> NoiseView {
    NoiseView {
        column: aggregate.name.clone(),
        unit: aggregate.unit.clone(),
        expected_error: aggregate.expected_absolute_error,
        sigma: aggregate.noise_deviation,
        half_width_95: aggregate.interval_half_width,
        bound: bound_text(aggregate.member_bound, aggregate),
        bounds_by_brand: aggregate
            .bounds_by_brand
            .iter()
            .map(|own| BoundAtView {
                brand: own.brand.to_string(),
                bound: bound_text(own.member_bound, aggregate),
                expected_error: aggregate.expected_absolute_error,
            })
            .collect(),
        smallest_cell_5_percent: aggregate.smallest_cell,
    }
}

fn bound_text(bound: f64, aggregate: &AggregateSummary) -> String {
    format!("{bound:.3} {}", aggregate.unit)
}

/// The bounds of a pack's answers, each brand's by its own plan, where they are not all the same: beside the noise of
/// this brand's.
pub fn add_bounds_of_pack(view: &mut PlanView, plans: &[DpPlan]) {
    let summaries: Vec<_> = plans
        .iter()
        .filter_map(|plan| Some((*plan.participants().first()?, plan.summary())))
        .collect();
    for (at, noise) in view.sigma.iter_mut().enumerate() {
        let bounds: Vec<BoundAtView> = summaries
            .iter()
            .filter_map(|(brand, summary)| {
                let aggregate = summary.aggregates.get(at)?;
                Some(BoundAtView {
                    brand: brand.to_string(),
                    bound: bound_text(aggregate.member_bound, aggregate),
                    expected_error: aggregate.expected_absolute_error,
                })
            })
            .collect();
        if bounds.iter().any(|one| one.bound != noise.bound) {
            noise.bounds_by_brand = bounds;
        }
    }
}

/// Which cells the noise spoils: from sigma and public caps, never from data.
fn too_noisy(plan: &DpPlan, aggregate: &AggregateSummary) -> Bilingual {
    let AggregateSummary { name, unit, smallest_cell: smallest, .. } = aggregate;
    let smallest = smallest.ceil();
    let brands = plan.participants().len() as f64;
    let bounds: f64 = match aggregate.bounds_by_brand.is_empty() {
        true => brands * aggregate.member_bound,
        false => aggregate.bounds_by_brand.iter().map(|own| own.member_bound).sum(),
    };
    let largest = plan.members_at_most() as f64 * bounds;
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

fn quality(value: &AnswerValue) -> &'static str {
    match Quality::of(value.value, value.low, value.high) {
        Quality::Usable => "usable",
        Quality::Noisy => "noisy",
        Quality::Insufficient => "insufficient",
    }
}

/// Which rows of an answer are looked at: a long one is given in pages.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// How many are left out before them.
    pub from: usize,
    /// How many there are at most.
    pub most: usize,
}

impl Rows {
    /// All of them.
    pub const ALL: Self = Self { from: 0, most: usize::MAX };
    /// None of them.
    pub const NONE: Self = Self { from: 0, most: 0 };
    /// The first few, where answers are listed.
    pub const FIRST: Self = Self { from: 0, most: 100 };
}

/// An answer, with some of its rows.
#[must_use]
pub fn release_view(answer: &Answer, of: Rows) -> ReleaseView {
    let rows = answer.rows.iter().skip(of.from).take(of.most).map(|row| ReleaseRow {
        keys: row.keys.clone(),
        values: row.values.iter().map(|value| value.value).collect(),
        low: row.values.iter().map(|value| value.low).collect(),
        high: row.values.iter().map(|value| value.high).collect(),
        quality: row.values.iter().map(|value| quality(value).to_owned()).collect(),
    });
    let privacy: Option<serde_json::Value> =
        answer.privacy.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut statement = statement(answer);
    let more = [private_statement(privacy.as_ref()), selection_statement(privacy.as_ref())];
    for more in more.into_iter().flatten() {
        statement.zh.push_str(&more.zh);
        statement.en.push_str(&more.en);
    }
    ReleaseView {
        query: answer.id.query.to_string(),
        scope: answer.scope().name().to_owned(),
        hash: answer.hash.to_string(),
        keys: answer.keys.clone(),
        values: answer.values.clone(),
        rows: rows.collect(),
        rows_in_all: length(answer),
        cost_pico_rho: answer.rho.get(),
        epsilon: answer.epsilon,
        participants: answer.snapshots.keys().map(ToString::to_string).collect(),
        statement,
        privacy: privacy.into_iter().collect(),
    }
}

fn length(answer: &Answer) -> u32 {
    u32::try_from(answer.rows.len()).unwrap_or(u32::MAX)
}

/// The answers of several brands, each about its own members, under one another, with some of their rows.
#[must_use]
pub fn pack_release(query: QueryId, answers: &[&Answer], of: Rows) -> ReleaseView {
    let mut left = of;
    let mut views: Vec<ReleaseView> = Vec::with_capacity(answers.len());
    for answer in answers {
        let view = release_view(answer, left);
        left.from = left.from.saturating_sub(answer.rows.len());
        left.most = left.most.saturating_sub(view.rows.len());
        views.push(view);
    }
    let first = views.first().cloned().unwrap_or_default();
    let mut keys = vec!["brand".to_owned()];
    keys.extend(first.keys);
    let rows = views.iter().flat_map(|view| {
        let brand = view.participants.join(", ");
        view.rows.iter().map(move |row| {
            let mut row = row.clone();
            row.keys.insert(0, brand.clone());
            row
        })
    });
    let join = |of: fn(&ReleaseView) -> &str| views.iter().map(of).collect::<Vec<_>>();
    // what somebody pays who is a member of all of them
    let cost = views.iter().fold(0, |sum: u64, view| sum.saturating_add(view.cost_pico_rho));
    ReleaseView {
        query: query.to_string(),
        scope: Scope::Pack.name().to_owned(),
        hash: join(|view| &view.hash).join(", "),
        keys,
        values: first.values,
        rows: rows.collect(),
        rows_in_all: answers.iter().fold(0, |sum: u32, it| sum.saturating_add(length(it))),
        cost_pico_rho: cost,
        epsilon: privacy::plan::epsilon(PicoRho::new(cost), DisplayDelta::MICRO),
        participants: views.iter().flat_map(|view| view.participants.clone()).collect(),
        statement: Bilingual {
            zh: join(|view| &view.statement.zh).join(" "),
            en: join(|view| &view.statement.en).join(" "),
        },
        privacy: views.iter().flat_map(|view| view.privacy.clone()).collect(),
    }
}

fn statement(answer: &Answer) -> Bilingual {
    let (rho, epsilon, year) = (answer.rho.to_rho(), answer.epsilon, answer.year);
    let proposer = answer.id.proposer;
    if answer.scope() == Scope::Local {
        return Bilingual {
            zh: format!(
                "保护单位：{proposer} 的一个会员账户加入或退出；只含 {proposer} 自己的会员，噪声由其单独加入。\
                 本次回答花费 rho = {rho}（delta = 1e-6 时 epsilon = {epsilon:.3}），记入 {proposer} 的 {year} 年本地账户。\
                 95% 区间只覆盖噪声，不覆盖对超出上限的会员的截断。"
            ),
            en: format!(
                "Unit of privacy: {}. {proposer} answers about its own members, with noise of its own. This answer \
                 cost rho = {rho} (epsilon = {epsilon:.3} at delta 1e-6), charged to {proposer}'s local account of \
                 {year}. The 95 % intervals cover the noise; clipping of members above the declared bound is not \
                 covered.",
                privacy::release::PROTECTED_ALONE
            ),
        };
    }
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
        ProposeError::Suspended(brand) => ServiceError::new(
            ErrorKind::Refused,
            "suspended",
            format!("{brand} is suspended from joint questions / {brand} 已被暂停参与联合查询"),
            "nothing was spent; see `coalition partner list` / 未消耗预算；见 coalition partner list",
        ),
        ProposeError::Busy { .. } => ServiceError::new(
            ErrorKind::Refused,
            "too_many_open",
            format!("{error} / 进行中的查询占用的内存已达上限"),
            "nothing was spent; wait for a query to end, or ask for fewer cells / 未消耗预算；请等待进行中的查询结束，或减少单元格",
        ),
        ProposeError::NotAsked(_) | ProposeError::Taken | ProposeError::Lifetime => {
            tracing::error!(error = %error, "a question could not be proposed");
            internal()
        }
    }
}

/// The accounts do not cover it.
#[must_use]
pub fn over_budget(over: &OverBudget) -> ServiceError {
    let (code, remedy) = match over {
        OverBudget::Brand { .. }
        | OverBudget::Year { .. }
        | OverBudget::Local { .. }
        | OverBudget::Failure { .. }
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

/// What the own log has charged is not known: this node was put back and does not have it back, or it has not heard
/// from enough others since it started whether it was.
#[must_use]
pub fn own_log_unknown() -> ServiceError {
    ServiceError::new(
        ErrorKind::Unavailable,
        "own_log_unknown",
        "this node was restored and does not have its own log back, or has not heard from enough brands since it started: what was spent is not known yet / 本节点已恢复而自己的账本尚未取回，或启动后尚未与足够的品牌联络：暂不知已消耗的预算",
        "nothing was spent; ask again in a minute, when the status no longer says that its journal was put back or that it is starting / 未消耗预算；请待状态中不再提示日志被恢复或正在启动后再问",
    )
}

/// It would cost more than was confirmed.
#[must_use]
pub fn cost_unconfirmed(cost: u64, most: u64) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "cost_unconfirmed",
        format!(
            "it costs {cost} pico-rho and at most {most} are confirmed / 代价为 {cost} pico-rho，仅确认了 {most}"
        ),
        "nothing was spent; confirm what it costs / 未消耗预算；请确认其代价",
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

/// What a page of accounts is to begin after is no name.
#[must_use]
pub fn no_analyst() -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "analyst_invalid",
        "after is no name of an analyst account / after 不是分析账户名",
        "give what the page before says under next, or nothing / 使用上一页返回的 next，或不提供",
    )
}

/// Why a brand took no part, in a word or two, in English and Chinese.
#[must_use]
pub const fn decline_words(reason: DeclineReason) -> (&'static str, &'static str) {
    match reason {
        DeclineReason::Plan => (
            "it arrives at another plan, or keeps nothing of what is asked",
            "其得出的计划不同，或不保存所问的数据",
        ),
        DeclineReason::Budget => {
            ("the proposer's account does not cover it", "提问方的账户预算不足")
        }
        DeclineReason::Policy => ("its policy does not allow it", "其策略不允许"),
        DeclineReason::Suspended => {
            ("a brand among those asked is suspended", "所询问的品牌中有一个已被暂停")
        }
        DeclineReason::Expiry => ("the reservation had expired", "预留已过期"),
        DeclineReason::Busy => (
            "questions under way hold all the memory it has for them",
            "进行中的查询占满了其可用内存",
        ),
    }
}

/// Too many local questions at a time.
#[must_use]
pub fn too_many_local(error: &LocalAskError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "too_many_open",
        format!("{error} / 进行中的本地查询过多"),
        "nothing was spent; wait for a query to end / 未消耗预算；请等待进行中的查询结束",
    )
}

/// A question that is to stand and cannot.
#[must_use]
pub fn cannot_stand(why: &impl std::fmt::Display) -> ServiceError {
    stands_not(format!("{why} / 该查询不能作为常设查询"))
}

/// A joint question or a pack does not stand. Months that are asked one by one are paid for one by one, each up to the
/// whole bound of a member: what is said is what pays for them once.
#[must_use]
pub fn only_local_stands() -> ServiceError {
    stands_not(
        "only a local question stands; one joint question, asked when the year is over and grouped by months, pays for \
         all its months once / 只有本地查询可常设；年度结束后提一次按月分组的联合查询，各月只付一次",
    )
}

fn stands_not(message: impl Into<String>) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "cannot_stand",
        message,
        "ask about this brand's own members by date_trunc('month', ...) or the like, without HAVING, ORDER BY and \
         LIMIT; docs/guides has an example / 请针对本品牌会员按 date_trunc('month', ...) 等周期分组，不带 HAVING、\
         ORDER BY、LIMIT",
    )
}

/// The user has no share of the quota.
#[must_use]
pub fn no_account() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "no_account",
        "no analyst account of this brand is this user's / 该用户不属于本品牌的任何分析账户",
        "nothing was spent; let the operator add the user to an account in policy.toml / 未消耗预算；请运维人员在 policy.toml 中将该用户加入账户",
    )
}

/// The brand's own policy does not allow it.
#[must_use]
pub fn against_policy() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "against_policy",
        "this brand's policy does not allow the question: its purpose, dataset, cost or number of brands / 本品牌策略不允许该问题：用途、数据集、代价或参与方数量不符",
        "nothing was spent; see policy.toml and `coalition policy` / 未消耗预算；请查看 policy.toml 与 `coalition policy`",
    )
}

/// The contract names what this node keeps nothing of, and the question would read it.
#[must_use]
pub fn not_kept_here(what: &Unreadable) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "not_kept_here",
        format!("{} / {}", what.en(), what.zh()),
        "nothing was spent; ask about the tables and columns that this node keeps, or let the operator look for a version that keeps it / 未消耗预算；请改问本节点所保存的表和列，或请运维人员查找支持的版本",
    )
}

/// A question that names its brands and is not a joint one.
#[must_use]
pub fn no_set() -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "no_set",
        "only a joint question names the brands that it is put to / 仅联合查询可指定参与品牌",
        "leave the brands out, or ask with the scope joint / 请勿指定品牌，或改用 joint 范围",
    )
}

/// The brands that a question names are not those it can be put to.
#[must_use]
pub fn set_invalid(en: &str, zh: &str, known: &[ParticipantId]) -> ServiceError {
    let known = known.iter().map(ParticipantId::as_str).collect::<Vec<_>>().join(", ");
    ServiceError::new(
        ErrorKind::Invalid,
        "participants",
        format!("{en} / {zh}"),
        format!(
            "the contract's brands: {known}; name each once, this one among them / 契约的品牌：{known}；每个品牌写一次，须含本品牌"
        ),
    )
}

/// This brand's policy does not leave brands out.
#[must_use]
pub fn set_against_policy() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "against_policy",
        "this brand's policy takes no part in questions that leave out brands / 本品牌策略不参与未包含全部品牌的查询",
        "nothing was spent; ask all brands, or write minimum_participants under [joint] in policy.toml / 未消耗预算；请询问全部品牌，或在 policy.toml 的 [joint] 中写明 minimum_participants",
    )
}

/// Beside an answer of this year, one of these brands would tell what too few have.
#[must_use]
pub fn set_tells_apart(group: &[ParticipantId]) -> ServiceError {
    let group = group.iter().map(ParticipantId::as_str).collect::<Vec<_>>().join(", ");
    ServiceError::new(
        ErrorKind::Refused,
        "set_tells_apart",
        format!(
            "beside what was asked this year of other brands, an answer of these would tell the total of fewer than three: {group} / 与本年度已向其他品牌组合提出的查询相减，将得出不足三个品牌的合计：{group}"
        ),
        "nothing was spent; ask the same brands as before, or brands that are three and more apart from them, or wait for the new year / 未消耗预算；请询问与此前相同的品牌，或与其相差至少三个品牌的组合，或待新年度",
    )
}

/// What in a contract a node of this version does not serve, for who is about to sign it or runs under it.
#[must_use]
pub fn contract_warnings(contract: &Contract) -> Vec<Bilingual> {
    let unreadable = unreadable(contract).into_iter().map(|what| Bilingual {
        zh: format!("{}；读取它的查询将被拒绝，不收费", what.zh()),
        en: format!("{}; questions that read it are refused, at no cost", what.en()),
    });
    let served = vault::Purpose::JointAnalytics.name();
    let purposes = contract.purposes().iter().filter(|purpose| purpose.as_str() != served);
    let purposes = purposes.map(|purpose| Bilingual {
        zh: format!("purposes：会员库不记录对 {purpose} 的同意，该用途的查询不予回答；仅 {served} 可用"),
        en: format!(
            "purposes: the vault keeps no consent to {purpose}, and no question is answered for it; {served} is the one \
             that is served"
        ),
    });
    unreadable.chain(purposes).collect()
}

/// Without `brand` among its group keys a question is no pack.
#[must_use]
pub fn no_pack() -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "no_pack",
        "a pack has brand among its group keys / 品牌合集须以 brand 为分组键之一",
        "write SELECT brand, .. GROUP BY brand, or ask with another scope / 请写 SELECT brand, .. GROUP BY brand，或改用其他范围",
    )
}

/// A bound that cannot be chosen for this question, beside what its SQL says.
#[must_use]
pub fn no_bound_choice() -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "no_bound_choice",
        "a bound is chosen for a question that is answered once, by all brands together or by this one / 仅可为一次性作答的联合或本地问题选择上界",
        "ask it without a standing answer, with the scope joint or local / 请取消长期作答，并使用 joint 或 local 范围",
    )
}

/// The question for the bound has no answer here that a bound could be taken from.
#[must_use]
pub fn no_bound_answer() -> ServiceError {
    ServiceError::new(
        ErrorKind::NotFound,
        "no_bound_answer",
        "there is no answer to the question for this bound / 没有该上界问题的答案",
        "nothing was spent for the question itself; ask it without bound_from, and give the id of what is asked first once that is released / 问题本身未消耗预算；请先不带 bound_from 提问，待第一步发布后再附其编号",
    )
}

/// What was answered to the question for the bound is no number.
#[must_use]
pub fn no_bound_in_answer() -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "no_bound_in_answer",
        "no bound follows from what was answered: its noise is too large / 噪声过大，无法由答案得出上界",
        "nothing was spent for the question itself; ask with more rho, or with the contract's bound / 问题本身未消耗预算；请提高 rho，或使用契约的上界",
    )
}

/// Both questions cost more than is left.
#[must_use]
pub fn both_over_budget(cost: PicoRho, left: PicoRho) -> ServiceError {
    ServiceError::new(
        ErrorKind::Refused,
        "over_budget",
        format!(
            "the question and the one for its bound cost {cost} together, and {left} is left / 两个问题合计 {cost}，剩余 {left}"
        ),
        "nothing was spent; ask with less, or next year / 未消耗预算；请降低开销，或于下一年度再问",
    )
}

/// The policy file is not right.
#[must_use]
pub fn policy_error(error: &PolicyError) -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "policy_invalid",
        error.to_string(),
        "correct policy.toml in the data directory; the policy before holds on / 请更正数据目录中的 policy.toml；此前的策略继续有效",
    )
}

/// Why a brand gives no answer of its own.
#[must_use]
pub fn pack_decline(reason: PackDecline) -> Bilingual {
    let (zh, en) = match reason {
        PackDecline::Plan => (
            "无法规划该问题：合约不同，或该品牌没有此类数据",
            "it cannot plan the question: its contract differs, or it has no such rows",
        ),
        PackDecline::Budget => (
            "其账户或给予提问品牌的份额不足",
            "its account, or the asking brand's share of it, does not cover the question",
        ),
        PackDecline::Policy => ("其策略不允许", "its policy does not allow it"),
        PackDecline::Failed => ("已记账但未能作答", "it was charged and could not be answered"),
        PackDecline::Busy => ("进行中的问题过多", "too many questions are under way there"),
    };
    Bilingual { zh: zh.to_owned(), en: en.to_owned() }
}

/// It did not answer in time.
#[must_use]
pub fn pack_silent() -> Bilingual {
    Bilingual {
        zh: "未在时限内作答；再次提问时，若其已有答案则不再收费".to_owned(),
        en: "it did not answer in time; asked again, it gives an answer it has by then for nothing"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_value_is_judged_as_at_its_release() {
        let of = |low: f64, high: f64| quality(&AnswerValue { value: 100.0, low, high });
        assert_eq!((of(86.0, 114.0), of(85.0, 115.0)), ("usable", "noisy"));
        assert_eq!(of(f64::NEG_INFINITY, f64::INFINITY), "insufficient");
    }

    #[test]
    fn that_cells_were_chosen_is_said_where_they_were() {
        let words = |note: serde_json::Value| {
            selection_statement(Some(&serde_json::json!({ "selection_note": note })))
        };
        assert!(
            words("cells were chosen".into()).is_some_and(|it| it.en.contains("noised values"))
        );
        assert_eq!(words(serde_json::Value::Null), None);
        // answers of earlier versions have no statement, or none of this
        assert_eq!(selection_statement(None), None);
        assert_eq!(selection_statement(Some(&serde_json::json!({}))), None);
    }
}
