//! SQL in, a bound question or a refusal out.
//!
//! Knows the part of SQL in which one member's contribution has a bound: counts, sums, means,
//! rates and quantiles over tables with a member column, over subqueries that keep that column,
//! over joins on it and with public tables; group keys and conditions on declared domains; HAVING,
//! ORDER BY and LIMIT on noised values. Every clause the parser can produce is named
//! ([`clauses`]), so that none passes unnoticed. Deliberately touches no rows.
//!
//! Refused for good: windows and scalar subqueries across members, joins on anything but the
//! member, LIMIT inside a subquery, now(), random(), and before noise division, casts and regular
//! expressions. Not here yet, and refused: left joins of members, arithmetic of noised columns
//! other than one quotient, windows within one member, days compared with days.

mod after;
mod bound_choice;
mod call;
mod clauses;
mod condition;
pub(crate) mod expr;
mod member;
mod nesting;
mod query;
mod refusal;
pub(crate) mod relation;
mod scalar;
mod scope;
mod select;

use sqlparser::ast::{Query, Spanned, Statement, With};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};

pub use bound_choice::{BOUND_PERMILLE, BoundChoice};
pub use nesting::{CALLS_MAX, calls_nested};
pub use query::BoundQuery;
pub(crate) use query::{Amount, Bins, Condition, Key, Measure, Output, OutputOf, PrivateKey};
pub use refusal::{Bilingual, Position, Refusal, RefusalCode};
pub(crate) use refusal::{too_complex, unsupported};

use crate::contract::Contract;

/// Longest SQL text in bytes.
pub const SQL_MAX_BYTES: usize = 4_096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 24;
/// Most group keys.
pub const KEYS_MAX: usize = 4;
/// Most values of one numeric group key.
pub const KEY_POINTS_MAX: i128 = 1_001;
/// Most periods of one date column: eleven years of days. A question may have fewer cells.
pub const BUCKETS_MAX: usize = 4_018;
/// Most aggregates.
pub const AGGREGATES_MAX: usize = 4;
/// Most comparisons of a question, list elements counted.
pub const COMPARISONS_MAX: usize = 256;
/// Most steps to work out one expression, with what it names of subqueries.
pub const WEIGHT_MAX: u64 = 4_096;
/// Most tables and subqueries of a question, each use counted.
pub const RELATIONS_MAX: usize = 8;
/// Most columns of a subquery.
pub const SUBQUERY_COLUMNS_MAX: usize = 16;

/// Parses one SELECT and binds it to the contract.
pub fn bind(contract: &Contract, sql: &str) -> Result<BoundQuery, Refusal> {
    let query = parse(sql)?;
    let named = query.with.as_ref().map_or(Ok(Vec::new()), named_parts)?;
    let binder = scope::Binder::new(contract);
    select::bind_question(&binder, &named, &query)
}

/// The parts of WITH by name.
fn named_parts(with: &With) -> Result<Vec<(String, &Query)>, Refusal> {
    let hint = [
        "write WITH name AS (SELECT member, .. GROUP BY member)",
        "请写作 WITH 名称 AS (SELECT 会员列, .. GROUP BY 会员列)",
    ];
    if with.recursive {
        return Err(unsupported("WITH RECURSIVE", " WITH RECURSIVE", hint).at(with.span()));
    }
    let mut named: Vec<(String, &Query)> = Vec::with_capacity(with.cte_tables.len());
    for part in &with.cte_tables {
        let name = scope::folded(&part.alias.name);
        let plain = part.from.is_none() && part.alias.columns.is_empty();
        if !plain || named.iter().any(|(known, _)| *known == name) {
            return Err(unsupported("this part of WITH", " WITH 中的该部分", hint).at(part.span()));
        }
        named.push((name, &part.query));
    }
    Ok(named)
}

fn parse(sql: &str) -> Result<Query, Refusal> {
    if sql.len() > SQL_MAX_BYTES {
        return Err(too_complex("bytes of SQL", "SQL 字节数", SQL_MAX_BYTES));
    }
    if calls_nested(sql) > CALLS_MAX {
        return Err(too_complex("function calls inside one another", "函数嵌套", CALLS_MAX));
    }
    let mut statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(DEPTH_MAX)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(syntax)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(*query),
        _ => Err(Refusal::new(
            RefusalCode::Syntax,
            ["the text must be exactly one SELECT", "必须是且仅是一条 SELECT 语句"],
            ["write a single SELECT", "请只写一条 SELECT"],
        )),
    }
}

fn syntax(error: ParserError) -> Refusal {
    match error {
        ParserError::RecursionLimitExceeded => too_complex("nested levels", "嵌套层数", DEPTH_MAX),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => Refusal::new(
            RefusalCode::Syntax,
            [format!("this is not SQL: {text}"), format!("SQL 语法错误：{text}")],
            ["check the text at the place named".to_owned(), "请检查所指位置的文本".to_owned()],
        ),
    }
}

#[cfg(test)]
mod tests;
