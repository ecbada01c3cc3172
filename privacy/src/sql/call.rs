//! Function calls, reduced to a name and plain arguments.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, OrderByExpr,
};

use super::refusal::unsupported;
use super::scope::single_name;
use super::{Refusal, RefusalCode};

/// A call without windows, filters and other clauses.
pub(crate) struct Call<'a> {
    pub(crate) name: String,
    pub(crate) distinct: bool,
    pub(crate) arguments: Vec<Argument<'a>>,
    /// `WITHIN GROUP (ORDER BY ..)`
    pub(crate) within: Option<&'a Sql>,
}

/// An argument.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    Star,
    Expr(&'a Sql),
}

/// Functions that look at many rows.
const AGGREGATES: [&str; 10] = [
    "count",
    "sum",
    "sum_within",
    "avg",
    "min",
    "max",
    "quantile",
    "median",
    "percentile_cont",
    "percentile_disc",
];

/// Whether an expression is a call of an aggregate function.
pub(crate) fn is_aggregate(expr: &Sql) -> bool {
    match expr {
        Sql::Nested(inner) => is_aggregate(inner),
        Sql::Function(function) => {
            let name = single_name(&function.name).unwrap_or_default();
            AGGREGATES.contains(&name.as_str())
        }
        _ => false,
    }
}

impl<'a> Call<'a> {
    pub(crate) fn of(function: &'a Function) -> Result<Self, Refusal> {
        let Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = function;
        let name = single_name(name).unwrap_or_default();
        if over.is_some() {
            // rows of one member alone could be ranked, each brand by itself: its engine then holds and sorts all
            // rows of a reading, and where that is more than it may hold the question fails after it was charged
            let hint = match name.as_str() {
                "row_number" | "rank" | "dense_rank" | "first_value" | "last_value"
                | "nth_value" | "lag" | "lead" => [
                    "windows are not supported, over the rows of one member either; group by the member in a subquery: min(purchased_on) is a member's first day, max(amount_fen) the largest row, and sum_within(amount_fen, 20000) adds no more than that of one member",
                    "不支持窗口函数，同一会员的行之内亦然；请在子查询中按会员分组：min(purchased_on) 为首日，max(amount_fen) 为最大一行，sum_within(amount_fen, 20000) 限定单一会员的合计",
                ],
                _ => [
                    "windows are not supported, over the rows of one member either; group by the member in a subquery, or rank the noised answer",
                    "不支持窗口函数，同一会员的行之内亦然；请在子查询中按会员分组，或对加噪结果排序",
                ],
            };
            return Err(unsupported("a window function", "窗口函数", hint));
        }
        if filter.is_some() {
            let hint = [
                "write sum(case when .. then .. else 0 end), or put the condition into WHERE",
                "请写作 sum(case when .. then .. else 0 end)，或将条件写入 WHERE",
            ];
            return Err(unsupported("FILTER in an aggregate", "聚合函数中的 FILTER", hint));
        }
        let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) =
            args
        else {
            return Err(unknown_function(&name));
        };
        let plain = !uses_odbc_syntax
            && matches!(parameters, FunctionArguments::None)
            && null_treatment.is_none()
            && clauses.is_empty();
        let within = match within_group.as_slice() {
            [] => Some(None),
            [OrderByExpr { expr, options, with_fill: None }]
                if options.asc != Some(false) && options.nulls_first.is_none() =>
            {
                Some(Some(expr))
            }
            _ => None,
        };
        let (true, Some(within)) = (plain, within) else {
            let hint = ["write the function with plain arguments", "请只使用普通参数"];
            return Err(unsupported("a clause inside a function", "函数内的子句", hint));
        };
        let arguments: Option<Vec<Argument<'_>>> = args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Some(Argument::Star),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(Argument::Expr(expr)),
                _ => None,
            })
            .collect();
        let arguments = arguments.ok_or_else(|| unknown_function(&name))?;
        let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
        Ok(Self { name, distinct, arguments, within })
    }
}

pub(crate) fn unknown_function(name: &str) -> Refusal {
    const KNOWN: &str = "count, sum, sum_within, avg, median, quantile, percentile_cont, half_year, \
                         date_trunc, extract, coalesce, least, greatest, abs";
    Refusal::new(
        RefusalCode::Unknown,
        [format!("the function {name:?} is not known here"), format!("不支持函数 {name:?}")],
        [format!("there are {KNOWN}"), format!("可用：{KNOWN}")],
    )
}
