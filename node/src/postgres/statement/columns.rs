//! The columns of a question by its text alone, and what tools put around a question.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableFactor, Value, visit_expressions,
};

use super::super::errors::{NO_COLUMN, Refused, UNSUPPORTED};
use super::{Arranged, AskedQuestion, Ordered, Shown, ShownOf, folded, parts};

/// A question in what a tool puts around it: a part of its columns, an order, a part of its rows.
///
/// # Errors
/// When what is around it names a column that the question does not show, or limits rows by no number.
pub(super) fn wrapped_question(query: &Query) -> Result<Option<AskedQuestion>, Refused> {
    let Some(wrapper) = wrapped(query) else { return Ok(None) };
    let Some(inner) = inner_of(wrapper) else { return Ok(None) };
    let mut question = answered_whole(inner.clone(), None);
    let outer = projected(&wrapper.projection, &question.shown)?;
    let named: Vec<Shown> = outer.iter().chain(&question.shown).cloned().collect();
    let Some(order) = ordered(query, &[], &named) else { return Ok(None) };
    let (limit, offset) = bounds(query)?;
    question.arranged.push(Arranged { order, limit, offset });
    question.shown = outer;
    Ok(Some(question))
}

/// A question without its ORDER BY and LIMIT, which choose among the rows of its answer: whichever of them a
/// tool looks at, the question is the same one, and is paid once.
pub(super) fn answered_whole(mut query: Query, as_written: Option<&str>) -> AskedQuestion {
    let shown = shown(&query);
    let keys = shown.iter().filter(|column| matches!(column.of, ShownOf::Key { .. })).count();
    let arranged: Vec<Arranged> = taken_off(&mut query, &shown).into_iter().collect();
    let sql = match as_written {
        Some(text) if arranged.is_empty() => text.to_owned(),
        _ => query.to_string(),
    };
    AskedQuestion { sql, shown, keys, arranged, instead: None }
}

/// Takes ORDER BY and LIMIT off, where they are about columns that are shown; else they stay.
fn taken_off(query: &mut Query, shown: &[Shown]) -> Option<Arranged> {
    let bare = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if bare || shown.is_empty() {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let order = ordered(query, &select.projection, shown)?;
    let (limit, offset) = bounds(query).ok()?;
    query.order_by = None;
    query.limit_clause = None;
    query.fetch = None;
    Some(Arranged { order, limit, offset })
}

/// ORDER BY as columns that are shown; none where it is about anything else.
fn ordered(query: &Query, projection: &[SelectItem], shown: &[Shown]) -> Option<Vec<Ordered>> {
    let Some(order_by) = &query.order_by else { return Some(Vec::new()) };
    let OrderByKind::Expressions(expressions) = &order_by.kind else { return None };
    if order_by.interpolate.is_some() {
        return None;
    }
    let one = |part: &OrderByExpr| {
        let of = shown_as(&part.expr, projection, shown).filter(|_| part.with_fill.is_none())?;
        Some(Ordered {
            of,
            descending: part.options.asc == Some(false),
            nulls_first: part.options.nulls_first == Some(true),
        })
    };
    expressions.iter().map(one).collect()
}

/// The shown column that an expression of ORDER BY means: by its number, by its name, by what it is.
fn shown_as(expr: &Expr, projection: &[SelectItem], shown: &[Shown]) -> Option<ShownOf> {
    let named = |name: &Ident| {
        let name = folded(name);
        shown.iter().position(|column| column.name == name)
    };
    let selected = || {
        projection.iter().position(|item| match item {
            SelectItem::UnnamedExpr(known) | SelectItem::ExprWithAlias { expr: known, .. } => {
                known == expr
            }
            _ => false,
        })
    };
    let place = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Identifier(name) => named(name).or_else(selected),
        // of what is around a question: its columns have one table
        Expr::CompoundIdentifier(names) if projection.is_empty() => names.last().and_then(named),
        _ => selected(),
    };
    shown.get(place?).map(|column| column.of)
}

/// The outer SELECT of `SELECT columns FROM (question) AS t`, as tools write it around a question.
fn wrapped(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && select.distinct.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && select.projection.iter().all(|item| match item {
            SelectItem::Wildcard(_) => true,
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            }
            SelectItem::QualifiedWildcard(..) => true,
            _ => false,
        })
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    (plain && inner_of(select).is_some()).then_some(select)
}

pub(super) fn inner_of(select: &Select) -> Option<&Query> {
    let [table] = select.from.as_slice() else { return None };
    match &table.relation {
        TableFactor::Derived { lateral: false, subquery, alias, .. }
            if table.joins.is_empty()
                && alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            Some(subquery)
        }
        _ => None,
    }
}

fn bounds(query: &Query) -> Result<(Option<u64>, u64), Refused> {
    let number = |expr: &Expr| -> Result<Option<u64>, Refused> {
        match expr {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => digits.parse().map(Some).map_err(|_| limits()),
                Value::Null => Ok(None),
                // not known before it is filled in
                Value::Placeholder(_) => Ok(None),
                _ => Err(limits()),
            },
            _ => Err(limits()),
        }
    };
    let (mut limit, mut offset) = (None, 0);
    match &query.limit_clause {
        None => {}
        Some(LimitClause::LimitOffset { limit: most, offset: from, .. }) => {
            limit = most.as_ref().map(number).transpose()?.flatten();
            offset =
                from.as_ref().map(|from| number(&from.value)).transpose()?.flatten().unwrap_or(0);
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => return Err(limits()),
    }
    if let Some(fetch) = &query.fetch {
        let most = fetch.quantity.as_ref().filter(|_| !fetch.percent && !fetch.with_ties);
        limit = number(most.ok_or_else(limits)?)?;
    }
    Ok((limit, offset))
}

fn limits() -> Refused {
    Refused::new(
        UNSUPPORTED,
        "LIMIT and OFFSET around a question are whole numbers",
        "write such as LIMIT 1000",
    )
}

/// The columns that a question shows, by its text alone.
fn shown(query: &Query) -> Vec<Shown> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let (mut keys, mut values, mut brands) = (0, 0, 0);
    let mut shown = Vec::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            _ => return Vec::new(),
        };
        let of = if is_aggregate(expr) {
            values += 1;
            ShownOf::Value(values - 1)
        } else {
            let is_brand = matches!(expr, Expr::Identifier(name) if folded(name) == "brand");
            let key = ShownOf::Key { place: keys, beside_brand: keys - brands, is_brand };
            keys += 1;
            brands += usize::from(is_brand);
            key
        };
        shown.push(Shown { name: alias.unwrap_or_else(|| output_name(expr)), of });
    }
    shown
}

/// Whether an expression is noised: SQL has group keys and aggregates in a SELECT list, and nothing else.
fn is_aggregate(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 9] = [
        "count",
        "sum",
        "sum_within",
        "avg",
        "mean",
        "median",
        "quantile",
        "percentile_cont",
        "ratio",
    ];
    visit_expressions(expr, |expr| match expr {
        Expr::Function(function)
            if parts(&function.name)
                .last()
                .is_some_and(|name| AGGREGATES.contains(&name.as_str())) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// What PostgreSQL calls a column without an alias.
pub fn output_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(names) => names.last().map(folded).unwrap_or_default(),
        Expr::Function(function) => parts(&function.name).pop().unwrap_or_default(),
        Expr::Cast { expr, data_type, .. } => match output_name(expr) {
            name if name == "?column?" => {
                let name = data_type.to_string().to_ascii_lowercase();
                name.rsplit('.').next().unwrap_or_default().to_owned()
            }
            name => name,
        },
        Expr::Nested(expr) | Expr::Collate { expr, .. } => output_name(expr),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => output_name(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => folded(alias),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// The columns of an outer SELECT, by the names of the inner ones.
fn projected(projection: &[SelectItem], inner: &[Shown]) -> Result<Vec<Shown>, Refused> {
    let mut shown = Vec::new();
    for item in projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
            _ => {
                shown.extend_from_slice(inner);
                continue;
            }
        };
        let name = output_name(expr);
        let found = inner.iter().find(|column| column.name == name).ok_or_else(|| {
            let names: Vec<&str> = inner.iter().map(|column| column.name.as_str()).collect();
            Refused::new(
                NO_COLUMN,
                format!("column {name:?} does not exist"),
                format!("the question shows {}", names.join(", ")),
            )
        })?;
        shown.push(Shown { name: alias.unwrap_or_else(|| found.name.clone()), of: found.of });
    }
    Ok(shown)
}
