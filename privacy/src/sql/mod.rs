//! SQL in, a bound question or a refusal out.
//!
//! Knows the part of SQL in which one member's contribution has a bound: one table, counts and
//! sums, group keys and conditions on declared domains. Every clause the parser can produce is
//! named here, so that none passes unnoticed. Deliberately touches no rows.
//!
//! Not here yet, and refused: avg, quantiles, ratios, HAVING, ORDER BY, LIMIT, CASE, common table
//! expressions, subqueries, joins. Refused for good: windows and scalar subqueries across members,
//! now(), random(), division, casts and regular expressions before noise.

mod condition;
mod query;
mod refusal;
mod select;

use sqlparser::ast::{Ident, Query, Select, SelectFlavor, SetExpr, Spanned, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};

pub use query::{Aggregate, BoundQuery, Comparison, Key, Measure, Output, Predicate};
pub(crate) use query::{Fact, World};
pub use refusal::{Bilingual, Position, Refusal, RefusalCode};
pub(crate) use refusal::{too_complex, unsupported};

use crate::contract::{Column, Contract, Table};

/// Longest SQL text in bytes.
pub const SQL_MAX_BYTES: usize = 4_096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 24;
/// Most group keys.
pub const KEYS_MAX: usize = 4;
/// Most aggregates.
pub const AGGREGATES_MAX: usize = 4;
/// Most comparisons of a condition, list elements counted.
pub const COMPARISONS_MAX: usize = 256;

/// Parses one SELECT and binds it to the contract.
pub fn bind(contract: &Contract, sql: &str) -> Result<BoundQuery, Refusal> {
    let query = parse(sql)?;
    let select = plain_select(&query)?;
    let scope = select::scope(contract, select)?;
    select::bind_select(&scope, select)
}

fn parse(sql: &str) -> Result<Query, Refusal> {
    if sql.len() > SQL_MAX_BYTES {
        return Err(too_complex("bytes of SQL", "SQL 字节数", SQL_MAX_BYTES));
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

const SIMPLE: [&str; 2] = [
    "write SELECT keys and aggregates FROM one table [WHERE ..] [GROUP BY ..]",
    "请写成 SELECT 分组键与聚合 FROM 单表 [WHERE ..] [GROUP BY ..]",
];

/// The SELECT of a query that has nothing else.
fn plain_select(query: &Query) -> Result<&Select, Refusal> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    if let Some(with) = with {
        return Err(unsupported("WITH", " WITH", SIMPLE).at(with.span()));
    }
    if let Some(order_by) = order_by {
        let hint = [
            "cells come in the order of the public domains; sort them after",
            "结果按公开取值顺序返回，请在得到结果后再排序",
        ];
        return Err(unsupported("ORDER BY", " ORDER BY", hint).at(order_by.span()));
    }
    if limit_clause.is_some() || fetch.is_some() {
        let hint = [
            "every cell is released; choose among them after",
            "所有单元格都会发布，请在得到结果后再选取",
        ];
        return Err(unsupported("LIMIT", " LIMIT", hint));
    }
    let bare = locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty();
    if !bare {
        return Err(unsupported("a clause after the SELECT", " SELECT 之后的子句", SIMPLE));
    }
    match body.as_ref() {
        SetExpr::Select(select) => bare_select(select),
        _ => {
            Err(unsupported("UNION, VALUES or a nested query", " UNION、VALUES 或嵌套查询", SIMPLE)
                .at(body.span()))
        }
    }
}

/// Refuses every clause of a SELECT but projection, FROM, WHERE and GROUP BY.
fn bare_select(select: &Select) -> Result<&Select, Refusal> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from: _,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by: _,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    if let Some(having) = having {
        let hint = [
            "every cell is released; filter the noised values after",
            "所有单元格都会发布，请对加噪结果再筛选",
        ];
        return Err(unsupported("HAVING", " HAVING", hint).at(having.span()));
    }
    if !named_window.is_empty() || qualify.is_some() {
        let hint = [
            "windows compare members and cannot be bounded",
            "窗口函数会跨会员比较，无法限定单个会员的贡献",
        ];
        return Err(unsupported("a window", "窗口函数", hint));
    }
    let bare = optimizer_hints.is_empty()
        && distinct.is_none()
        && select_modifiers.is_none()
        && top.is_none()
        && exclude.is_none()
        && into.is_none()
        && lateral_views.is_empty()
        && prewhere.is_none()
        && connect_by.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && value_table_mode.is_none()
        && matches!(flavor, SelectFlavor::Standard);
    if bare {
        Ok(select)
    } else {
        Err(unsupported("this form of SELECT", "这种形式的 SELECT", SIMPLE))
    }
}

/// What names may refer to.
pub(crate) struct Scope<'c> {
    pub(crate) table_index: u16,
    pub(crate) table: &'c Table,
    /// How columns may be qualified: by the alias when there is one, else by the table's name.
    pub(crate) qualifier: String,
}

impl<'c> Scope<'c> {
    /// A column by its possibly qualified name.
    pub(crate) fn column(&self, parts: &[Ident]) -> Result<(u16, &'c Column), Refusal> {
        let name = self.column_name(parts)?;
        let found = self.table.columns().iter().enumerate().find(|(_, c)| c.name() == name);
        match found.and_then(|(index, column)| Some((u16::try_from(index).ok()?, column))) {
            Some(found) => Ok(found),
            None if name == self.table.owner() => Err(Refusal::new(
                RefusalCode::Unsupported,
                [
                    format!("{name:?} names members and may only be counted"),
                    format!("{name:?} 标识会员，只能用于计数"),
                ],
                [format!("use count(distinct {name})"), format!("请使用 count(distinct {name})")],
            )),
            None => Err(Refusal::new(
                RefusalCode::Unknown,
                [
                    format!("there is no column {name:?} in {:?}", self.table.name()),
                    format!("表 {:?} 中没有列 {name:?}", self.table.name()),
                ],
                [
                    format!("its columns are {}", self.column_names()),
                    format!("可用的列：{}", self.column_names()),
                ],
            )),
        }
        .map_err(|refusal| match parts.first() {
            Some(first) => refusal.at(first.span),
            None => refusal,
        })
    }

    /// Whether this names the owner column.
    pub(crate) fn is_owner(&self, parts: &[Ident]) -> bool {
        self.column_name(parts).is_ok_and(|name| name == self.table.owner())
    }

    fn column_name(&self, parts: &[Ident]) -> Result<String, Refusal> {
        match parts {
            [column] => Ok(folded(column)),
            [table, column] if folded(table) == self.qualifier => Ok(folded(column)),
            _ => {
                let message = ["a name that no table here has", "名称不属于所查询的表"];
                let hint = ["name columns of the one table asked", "请使用所查询单表中的列"];
                Err(Refusal::new(RefusalCode::Unknown, message, hint))
            }
        }
    }

    fn column_names(&self) -> String {
        let names: Vec<&str> = self.table.columns().iter().map(Column::name).collect();
        names.join(", ")
    }
}

/// SQL folds unquoted identifiers to lower case.
pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}

#[cfg(test)]
mod tests;
