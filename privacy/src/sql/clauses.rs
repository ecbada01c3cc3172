//! Which clauses a query may have: every one that the parser can produce is named here, so that
//! none passes unnoticed.

use sqlparser::ast::{
    Distinct, Expr as Sql, LimitClause, OrderBy, Query, Select, SelectFlavor, SetExpr, Spanned,
    With,
};

use super::Refusal;
use super::refusal::unsupported;

pub(crate) const SIMPLE: [&str; 2] = [
    "write [WITH ..] SELECT keys and aggregates FROM .. [JOIN ..] [WHERE ..] [GROUP BY ..] [HAVING ..] [ORDER BY ..] [LIMIT n]",
    "请写成 [WITH ..] SELECT 分组键与聚合 FROM .. [JOIN ..] [WHERE ..] [GROUP BY ..] [HAVING ..] [ORDER BY ..] [LIMIT n]",
];

/// A SELECT with the clauses around it that are known here.
pub(crate) struct Clauses<'a> {
    pub(crate) select: &'a Select,
    pub(crate) with: Option<&'a With>,
    pub(crate) order_by: Option<&'a OrderBy>,
    /// Whether anything limits the rows.
    pub(crate) limited: bool,
}

/// The parts of a query; refuses every clause that is not one of them.
pub(crate) fn plain_select(query: &Query) -> Result<Clauses<'_>, Refusal> {
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
    let bare = locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty();
    if !bare {
        return Err(unsupported("a clause after the SELECT", " SELECT 之后的子句", SIMPLE));
    }
    let select = match body.as_ref() {
        SetExpr::Select(select) => bare_select(select)?,
        _ => {
            let hint = [
                "ask each part by itself; a UNION of members has no bound",
                "请分别提问；会员的 UNION 无法限定贡献",
            ];
            return Err(unsupported("UNION or VALUES", " UNION 或 VALUES", hint).at(body.span()));
        }
    };
    let limited = limit_clause.is_some() || fetch.is_some();
    Ok(Clauses { select, with: with.as_ref(), order_by: order_by.as_ref(), limited })
}

/// The number in LIMIT; refuses OFFSET, FETCH and other forms.
pub(crate) fn limit(query: &Query) -> Result<Option<u32>, Refusal> {
    let hint = ["write LIMIT and a number", "请写作 LIMIT 加数字"];
    let wrong = || unsupported("this form of LIMIT", "该形式的 LIMIT", hint);
    match &query.limit_clause {
        None if query.fetch.is_none() => Ok(None),
        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by })
            if limit_by.is_empty() && query.fetch.is_none() =>
        {
            let number = super::scalar::integer_literal(limit);
            let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
            number.map(Some).ok_or_else(|| wrong().at(limit.span()))
        }
        _ => Err(wrong()),
    }
}

/// Refuses every clause of a SELECT but the known ones.
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
        having: _,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    if !named_window.is_empty() || qualify.is_some() {
        let hint = [
            "windows are not supported, over the rows of one member either; group by the member in a subquery",
            "不支持窗口函数，同一会员的行之内亦然；请在子查询中按会员分组",
        ];
        return Err(unsupported("a window", "窗口函数", hint));
    }
    let bare = optimizer_hints.is_empty()
        && matches!(distinct, None | Some(Distinct::Distinct))
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

/// Every expression below parentheses and casts, which mean nothing after noise.
pub(crate) fn unwrapped(expr: &Sql) -> &Sql {
    match expr {
        Sql::Nested(inner) => unwrapped(inner),
        Sql::Cast { expr, .. } => unwrapped(expr),
        other => other,
    }
}
