//! Binds subqueries and WITH parts: computed member by member, exact, and never released.
//!
//! A subquery must keep the member column, ungrouped or among its group keys. Then every row of it
//! belongs to one member, and what a question does with it later is bounded like anything else.

use std::cell::RefCell;

use sqlparser::ast::{
    Expr as Sql, Function, GroupByExpr, Query, Select, SelectItem, Spanned, Value,
};

use super::call::{Argument, Call, is_aggregate, unknown_function};
use super::clauses::{Clauses, plain_select};
use super::condition::bind_condition;
use super::expr::{Expr, Predicate, Range};
use super::refusal::{too_complex, unsupported};
use super::relation::{Computed, MemberQuery, Relation, World, weight_in};
use super::scalar::{bind_number, bind_scalar};
use super::scope::{Binder, Kind, Named, Names, Scope, Typed, folded, name_parts};
use super::{Refusal, RefusalCode, SUBQUERY_COLUMNS_MAX};

/// A bound subquery: what it computes and how it is named.
pub(crate) struct Subquery {
    pub(crate) query: MemberQuery,
    /// Name of the owner column.
    pub(crate) owner: String,
    /// Name and kind of each computed column; hidden ones have no name.
    pub(crate) columns: Vec<(Option<String>, Kind)>,
}

struct Column {
    name: Option<String>,
    computed: Computed,
    kind: Kind,
}

/// Binds a subquery.
pub(crate) fn bind_subquery(
    binder: &Binder<'_>,
    named: &Named<'_>,
    query: &Query,
) -> Result<Subquery, Refusal> {
    let Clauses { select, order_by, limited, with } = plain_select(query)?;
    if with.is_some() {
        let hint = ["put every WITH at the beginning", "请将 WITH 写在最前面"];
        return Err(unsupported("WITH inside a subquery", "子查询内的 WITH", hint));
    }
    if order_by.is_some() || limited {
        let hint = [
            "an order or LIMIT inside compares members; order the noised cells at the end; to keep a member's largest row select max(amount_fen) and GROUP BY the member, sum_within(amount_fen, 20000) adds no more than that of one member",
            "子查询内的排序或 LIMIT 会跨会员比较；请在最外层对加噪结果排序；取会员最大一行可用 max(amount_fen) 并按会员分组，sum_within(amount_fen, 20000) 限定单一会员的合计",
        ];
        return Err(unsupported(
            "ORDER BY or LIMIT in a subquery",
            "子查询中的 ORDER BY 或 LIMIT",
            hint,
        )
        .at(query.span()));
    }
    let scope = Scope::new(binder, named, &select.from)?;
    let filter = row_filter(&scope, select)?;
    let mut owner = None;
    let mut columns = Vec::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            _ => {
                let hint = ["name each column", "请逐一写出各列"];
                return Err(unsupported("'*' in a subquery", "子查询中的 *", hint).at(item.span()));
            }
        };
        let default = name_parts(expr).last().map(folded);
        if scope.is_owner(name_parts(expr)) {
            owner = owner.or_else(|| alias.or(default));
            continue;
        }
        let (computed, kind) = computed(&scope, expr)?;
        columns.push(Column { name: alias.or(default), computed, kind });
    }
    let Some(owner) = owner else {
        let hint = [
            format!("select {} too, and group by it", scope.owner()),
            format!("请同时选择 {} 并按其分组", scope.owner()),
        ];
        let message =
            ["a subquery must keep the member column", "子查询必须保留会员列"].map(str::to_owned);
        return Err(Refusal::new(RefusalCode::Unsupported, message, hint).at(query.span()));
    };
    let distinct = select.distinct.is_some();
    let aggregates = columns.iter().any(|column| column.computed.aggregates());
    let grouped = group(&scope, select, aggregates, &mut columns)? || distinct;
    let (columns, having) = match &select.having {
        None => (columns, None),
        Some(having) if grouped => {
            let names = After { scope: &scope, columns: RefCell::new(columns) };
            let having = bind_condition(&names, having)?;
            (names.columns.into_inner(), Some(having))
        }
        Some(having) => {
            let hint = ["use WHERE", "请使用 WHERE"];
            return Err(unsupported("HAVING without GROUP BY", "无 GROUP BY 的 HAVING", hint)
                .at(having.span()));
        }
    };
    if columns.len() > SUBQUERY_COLUMNS_MAX {
        return Err(too_complex("columns of a subquery", "子查询列", SUBQUERY_COLUMNS_MAX));
    }
    let mut names = Vec::with_capacity(columns.len());
    let mut bound = Vec::with_capacity(columns.len());
    for column in columns {
        names.push((column.name, column.kind));
        bound.push(column.computed);
    }
    let query = MemberQuery { from: scope.relation, filter, grouped, columns: bound, having };
    Ok(Subquery { query, owner, columns: names })
}

/// WHERE, and what inner joins with public tables demand.
pub(crate) fn row_filter(
    scope: &Scope<'_, '_>,
    select: &Select,
) -> Result<Option<Predicate>, Refusal> {
    let selection =
        select.selection.as_ref().map(|expr| bind_condition(scope, expr)).transpose()?;
    let mut all: Vec<Predicate> = scope.joined.clone();
    all.extend(selection);
    Ok(match all.len() {
        0 | 1 => all.pop(),
        _ => Some(Predicate::And(all)),
    })
}

fn computed(scope: &Scope<'_, '_>, expr: &Sql) -> Result<(Computed, Kind), Refusal> {
    match expr {
        Sql::Nested(inner) => computed(scope, inner),
        Sql::Function(function) if is_aggregate(expr) => {
            aggregate(scope, function).map_err(|refusal| refusal.at(expr.span()))
        }
        _ => {
            let Typed { expr, kind } = bind_scalar(scope, expr)?;
            Ok((Computed::Row(expr), kind))
        }
    }
}

fn aggregate(scope: &Scope<'_, '_>, function: &Function) -> Result<(Computed, Kind), Refusal> {
    let call = Call::of(function)?;
    if call.within.is_some() {
        return Err(unknown_function(&call.name));
    }
    match (call.name.as_str(), call.distinct, call.arguments.as_slice()) {
        ("count", false, [Argument::Star]) => Ok((Computed::Count, Kind::Number)),
        ("count", true, [Argument::Expr(expr)]) if !scope.is_owner(name_parts(expr)) => {
            Ok((Computed::Distinct(bind_scalar(scope, expr)?.expr), Kind::Number))
        }
        ("sum", false, [Argument::Expr(expr)]) => {
            Ok((Computed::Sum(bind_number(scope, expr)?), Kind::Number))
        }
        (name @ ("min" | "max"), false, [Argument::Expr(expr)]) => {
            let Typed { expr: of, kind } = bind_scalar(scope, expr)?;
            if matches!(kind, Kind::Text(_)) {
                let hint = ["take min or max of numbers or days", "min、max 仅用于数值或日期"];
                return Err(unsupported("an order of texts", "文本大小比较", hint));
            }
            let computed = if name == "min" { Computed::Least(of) } else { Computed::Greatest(of) };
            Ok((computed, kind))
        }
        _ => {
            let hint = [
                "per member there are count(*), count(distinct column), sum, min and max",
                "按会员可用 count(*)、count(distinct 列)、sum、min、max",
            ];
            Err(unsupported("this aggregate in a subquery", "子查询中的该聚合", hint))
        }
    }
}

/// Checks GROUP BY; keys that are not selected become hidden columns. Says whether rows group.
fn group(
    scope: &Scope<'_, '_>,
    select: &Select,
    aggregates: bool,
    columns: &mut Vec<Column>,
) -> Result<bool, Refusal> {
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else {
        let hint = ["name the group keys", "请写出分组键"];
        return Err(unsupported("GROUP BY ALL", " GROUP BY ALL", hint));
    };
    if !modifiers.is_empty() {
        let hint = ["group by plain keys", "请使用普通分组键"];
        return Err(unsupported("a modifier of GROUP BY", " GROUP BY 修饰符", hint));
    }
    if expressions.is_empty() {
        if !aggregates {
            return Ok(false);
        }
        return Err(by_member(scope));
    }
    let (mut owner, mut keys) = (false, Vec::new());
    for expr in expressions {
        let item = ordinal(expr).and_then(|at| select.projection.get(at));
        let expr = match item {
            Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
            _ => expr,
        };
        if scope.is_owner(name_parts(expr)) {
            owner = true;
            continue;
        }
        let alias = name_parts(expr).first().map(folded);
        let named = columns.iter().find(|column| {
            alias.is_some() && column.name == alias && !column.computed.aggregates()
        });
        match named {
            Some(column) => keys.push(column.computed.clone()),
            None => {
                let Typed { expr, kind } = bind_scalar(scope, expr)?;
                let computed = Computed::Row(expr);
                if columns.iter().all(|column| column.computed != computed) {
                    columns.push(Column { name: None, computed: computed.clone(), kind });
                }
                keys.push(computed);
            }
        }
    }
    if !owner {
        return Err(by_member(scope));
    }
    let stray = columns
        .iter()
        .any(|column| !column.computed.aggregates() && !keys.contains(&column.computed));
    if stray {
        let hint = ["group by every column that is no aggregate", "请将所有非聚合列加入 GROUP BY"];
        return Err(unsupported("a column that is not grouped by", "未分组的列", hint));
    }
    Ok(true)
}

fn by_member(scope: &Scope<'_, '_>) -> Refusal {
    let hint = [
        format!("GROUP BY {}, alone or with other keys", scope.owner()),
        format!("请使用 GROUP BY {}，可另加其他键", scope.owner()),
    ];
    let message =
        ["a subquery that aggregates must group by the member", "聚合子查询必须按会员分组"];
    Refusal::new(RefusalCode::Unsupported, message.map(str::to_owned), hint)
}

/// `GROUP BY 2`: index of the second item.
pub(crate) fn ordinal(expr: &Sql) -> Option<usize> {
    match expr {
        Sql::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        _ => None,
    }
}

/// Names in the HAVING of a subquery: its columns, its group keys, aggregates over its rows.
struct After<'s, 'b, 'c> {
    scope: &'s Scope<'b, 'c>,
    columns: RefCell<Vec<Column>>,
}

impl After<'_, '_, '_> {
    fn column(&self, found: Result<(Computed, Kind), Refusal>) -> Result<Typed, Refusal> {
        let (computed, kind) = found?;
        let mut columns = self.columns.borrow_mut();
        let at = columns.iter().position(|column| column.computed == computed);
        let at = at.unwrap_or_else(|| {
            columns.push(Column { name: None, computed, kind: kind.clone() });
            columns.len().saturating_sub(1)
        });
        Ok(Typed { expr: Expr::Column(u16::try_from(at).unwrap_or(u16::MAX)), kind })
    }
}

impl Names for After<'_, '_, '_> {
    fn binder(&self) -> &Binder<'_> {
        self.scope.binder()
    }

    fn resolve(&self, expr: &Sql) -> Option<Result<Typed, Refusal>> {
        if let [name] = name_parts(expr) {
            let name = folded(name);
            let columns = self.columns.borrow();
            let named = columns.iter().enumerate().find(|(_, c)| c.name.as_ref() == Some(&name));
            if let Some((at, column)) = named {
                let expr = Expr::Column(u16::try_from(at).unwrap_or(u16::MAX));
                return Some(Ok(Typed { expr, kind: column.kind.clone() }));
            }
        }
        if is_aggregate(expr) {
            return Some(self.column(computed(self.scope, expr)));
        }
        // a group key by its expression
        let bound = bind_scalar(self.scope, expr).ok()?;
        let key = Computed::Row(bound.expr);
        let known = self.columns.borrow().iter().any(|column| column.computed == key);
        known.then(|| self.column(Ok((key, bound.kind))))
    }

    fn range(&self, expr: &Expr) -> Range {
        let tables = self.scope.binder().contract.tables();
        let columns = self.columns.borrow();
        let query = MemberQuery {
            from: Relation { sources: self.scope.relation.sources.clone() },
            filter: None,
            grouped: true,
            columns: columns.iter().map(|column| column.computed.clone()).collect(),
            having: None,
        };
        expr.range(&|column| query.range(column, tables, &World::new()))
    }

    fn weight(&self, expr: &Expr) -> u64 {
        let columns = self.columns.borrow();
        let of = |computed: &Computed| computed.expr().map_or(0, |expr| self.scope.weight(expr));
        let weights: Vec<u64> =
            columns.iter().map(|column| of(&column.computed).saturating_add(1)).collect();
        expr.weight(&|column| weight_in(&weights, column))
    }
}
