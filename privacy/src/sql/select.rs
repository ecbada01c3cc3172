//! Binds the SELECT list, FROM and GROUP BY.

use std::collections::BTreeSet;

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, ObjectName, Select, SelectItem, Spanned, TableFactor,
    Value,
};

use super::condition::bind_condition;
use super::query::{Aggregate, BoundQuery, Key, Measure, Output};
use super::refusal::{too_complex, unsupported};
use super::{AGGREGATES_MAX, KEYS_MAX, Refusal, RefusalCode, SIMPLE, Scope, folded};
use crate::civil::Bucket;
use crate::contract::{Contract, Domain};

/// Longest output name in bytes.
const NAME_MAX_BYTES: usize = 63;

/// Finds the one table of FROM in the contract.
pub(super) fn scope<'c>(contract: &'c Contract, select: &Select) -> Result<Scope<'c>, Refusal> {
    let [from] = select.from.as_slice() else {
        return Err(unsupported("more or less than one table", "非单表查询", SIMPLE));
    };
    if let Some(join) = from.joins.first() {
        return Err(unsupported("a join", "连接（JOIN）", SIMPLE).at(join.span()));
    }
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = &from.relation
    else {
        let refusal =
            unsupported("anything but a plain table in FROM", " FROM 中的非普通表", SIMPLE);
        return Err(refusal.at(from.relation.span()));
    };
    if !(with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty()) {
        return Err(unsupported("a table hint", "表提示", SIMPLE).at(name.span()));
    }
    let wanted = single_name(name).unwrap_or_default();
    let tables = contract.tables();
    let found = tables.iter().enumerate().find(|(_, table)| table.name() == wanted);
    let Some((index, table)) = found.and_then(|(i, table)| Some((u16::try_from(i).ok()?, table)))
    else {
        let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
        let names = names.join(", ");
        return Err(Refusal::new(
            RefusalCode::Unknown,
            [format!("there is no table {wanted:?}"), format!("没有表 {wanted:?}")],
            [format!("the tables are {names}"), format!("可用的表：{names}")],
        )
        .at(name.span()));
    };
    let qualifier = match alias {
        None => wanted,
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => folded(&alias.name),
        Some(alias) => {
            return Err(unsupported("renaming columns in FROM", " FROM 中的列重命名", SIMPLE)
                .at(alias.name.span));
        }
    };
    Ok(Scope { table_index: index, table, qualifier })
}

/// Binds everything below the checked clauses.
pub(super) fn bind_select(scope: &Scope<'_>, select: &Select) -> Result<BoundQuery, Refusal> {
    let mut keys = Vec::new();
    let mut aggregates = Vec::new();
    let mut output = Vec::new();
    let mut names = BTreeSet::new();
    let mut items = Vec::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            _ => {
                let hint = ["name each group key and aggregate", "请逐一写出分组键与聚合"];
                return Err(unsupported("'*' in the SELECT list", " SELECT 列表中的 *", hint)
                    .at(item.span()));
            }
        };
        let bound = bind_item(scope, expr)?;
        let name = alias.map_or_else(|| bound.default_name(scope), folded);
        output_name(&name, &mut names).map_err(|refusal| refusal.at(item.span()))?;
        match &bound {
            Item::Key { column, bucket } => {
                output.push(Output::Key(position(keys.len())));
                keys.push(Key { name: name.clone(), column: *column, bucket: *bucket });
            }
            Item::Measure(of) => {
                output.push(Output::Aggregate(position(aggregates.len())));
                aggregates.push(Aggregate { name: name.clone(), of: *of });
            }
        }
        items.push((name, bound));
        if keys.len() > KEYS_MAX {
            return Err(too_complex("group keys", "分组键", KEYS_MAX));
        }
        if aggregates.len() > AGGREGATES_MAX {
            return Err(too_complex("aggregates", "聚合", AGGREGATES_MAX));
        }
    }
    if aggregates.is_empty() {
        return Err(Refusal::new(
            RefusalCode::Unsupported,
            ["a question without an aggregate would show rows", "没有聚合的查询会暴露明细行"],
            ["count or sum something", "请使用 count 或 sum"],
        ));
    }
    grouped_as_selected(scope, &select.group_by, &items)?;
    let filter = select.selection.as_ref().map(|expr| bind_condition(scope, expr)).transpose()?;
    Ok(BoundQuery { table: scope.table_index, keys, aggregates, output, filter })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Key { column: u16, bucket: Option<Bucket> },
    Measure(Measure),
}

impl Item {
    fn default_name(&self, scope: &Scope<'_>) -> String {
        let column = |index: u16| {
            let column = scope.table.columns().get(usize::from(index));
            column.map_or_else(String::new, |column| column.name().to_owned())
        };
        match self {
            Self::Key { column: index, bucket: None } => column(*index),
            Self::Key { bucket: Some(Bucket::Month), .. } => "month".to_owned(),
            Self::Key { bucket: Some(Bucket::Quarter), .. } => "quarter".to_owned(),
            Self::Key { bucket: Some(Bucket::HalfYear), .. } => "half_year".to_owned(),
            Self::Key { bucket: Some(Bucket::Year), .. } => "year".to_owned(),
            Self::Measure(Measure::Rows) => "count".to_owned(),
            Self::Measure(Measure::Members) => "count_members".to_owned(),
            Self::Measure(Measure::Sum { column: index }) => format!("sum_{}", column(*index)),
        }
    }
}

fn bind_item(scope: &Scope<'_>, expr: &Expr) -> Result<Item, Refusal> {
    let parts = name_parts(expr);
    if !parts.is_empty() {
        let (column, found) = scope.column(parts)?;
        return match found.domain() {
            Domain::Text { .. } => Ok(Item::Key { column, bucket: None }),
            Domain::Date { .. } => {
                let hint = [
                    "use half_year(..) or date_trunc('month', ..)",
                    "请使用 half_year(..) 或 date_trunc('month', ..)",
                ];
                Err(unsupported("grouping by single days", "按天分组", hint).at(expr.span()))
            }
            Domain::Integer { .. } => {
                let hint = ["sum it, or use it in WHERE", "请对其求和，或用于 WHERE 条件"];
                Err(unsupported("a number as a group key", "以数值列分组", hint).at(expr.span()))
            }
        };
    }
    match expr {
        Expr::Nested(inner) => bind_item(scope, inner),
        Expr::Function(function) => bind_function(scope, function).map_err(|r| r.at(expr.span())),
        Expr::Value(_) => {
            let hint = ["select group keys and aggregates only", "只能选择分组键与聚合"];
            Err(unsupported("a constant in the SELECT list", " SELECT 列表中的常量", hint))
        }
        _ => {
            let hint = [
                "select group keys, count(*), count(distinct ..) and sum(..); compute with them after",
                "请只选择分组键、count(*)、count(distinct ..) 与 sum(..)，得到结果后再计算",
            ];
            Err(unsupported("this expression", "该表达式", hint).at(expr.span()))
        }
    }
}

fn bind_function(scope: &Scope<'_>, function: &Function) -> Result<Item, Refusal> {
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
    let called = single_name(name).unwrap_or_default();
    if over.is_some() {
        let hint = [
            "windows compare members and cannot be bounded",
            "窗口函数会跨会员比较，无法限定单个会员的贡献",
        ];
        return Err(unsupported("a window function", "窗口函数", hint));
    }
    let plain = !uses_odbc_syntax
        && matches!(parameters, FunctionArguments::None)
        && filter.is_none()
        && null_treatment.is_none()
        && within_group.is_empty();
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) = args
    else {
        return Err(unknown_function(&called));
    };
    if !plain || !clauses.is_empty() {
        let hint = ["put the condition into WHERE", "请将条件写入 WHERE"];
        return Err(unsupported("a clause inside an aggregate", "聚合函数内的子句", hint));
    }
    let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
    match (called.as_str(), distinct, args.as_slice()) {
        ("count", false, [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]) => {
            Ok(Item::Measure(Measure::Rows))
        }
        ("count", true, [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))])
            if scope.is_owner(name_parts(expr)) =>
        {
            Ok(Item::Measure(Measure::Members))
        }
        ("count", _, _) => {
            let hint = [
                format!("use count(*) or count(distinct {})", scope.table.owner()),
                format!("请使用 count(*) 或 count(distinct {})", scope.table.owner()),
            ];
            let message = ["this count has no bound", "该计数没有界"].map(str::to_owned);
            Err(Refusal::new(RefusalCode::Unsupported, message, hint))
        }
        ("sum", false, [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))]) => {
            bind_sum(scope, expr)
        }
        ("half_year", false, [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))]) => {
            bind_bucket(scope, expr, Bucket::HalfYear)
        }
        (
            "date_trunc",
            false,
            [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(unit))),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)),
            ],
        ) => bind_bucket(scope, expr, truncation(&unit.value)?),
        _ => Err(unknown_function(&called)),
    }
}

fn bind_sum(scope: &Scope<'_>, expr: &Expr) -> Result<Item, Refusal> {
    let parts = name_parts(expr);
    if parts.is_empty() {
        let hint = ["sum a column of the contract", "请对契约中的列求和"];
        return Err(unsupported("a sum of an expression", "对表达式求和", hint));
    }
    let (column, found) = scope.column(parts)?;
    match found.domain() {
        Domain::Integer { bound: Some(_), .. } => Ok(Item::Measure(Measure::Sum { column })),
        _ => Err(Refusal::new(
            RefusalCode::Unbounded,
            [
                format!("the contract has no bound for sums of {:?}", found.name()),
                format!("契约未声明 {:?} 的求和上界", found.name()),
            ],
            [
                "sum a column with a declared bound, or have one agreed on".to_owned(),
                "请选择声明了上界的列，或先约定上界".to_owned(),
            ],
        )),
    }
}

fn bind_bucket(scope: &Scope<'_>, expr: &Expr, bucket: Bucket) -> Result<Item, Refusal> {
    let (column, found) = scope.column(name_parts(expr))?;
    match found.domain() {
        Domain::Date { .. } => Ok(Item::Key { column, bucket: Some(bucket) }),
        _ => Err(Refusal::new(
            RefusalCode::OutsideDomain,
            [
                format!("{:?} is not a date column", found.name()),
                format!("{:?} 不是日期列", found.name()),
            ],
            ["bucket a date column".to_owned(), "请对日期列分桶".to_owned()],
        )),
    }
}

fn truncation(unit: &Value) -> Result<Bucket, Refusal> {
    match unit {
        Value::SingleQuotedString(text) if text.eq_ignore_ascii_case("month") => Ok(Bucket::Month),
        Value::SingleQuotedString(text) if text.eq_ignore_ascii_case("quarter") => {
            Ok(Bucket::Quarter)
        }
        Value::SingleQuotedString(text) if text.eq_ignore_ascii_case("year") => Ok(Bucket::Year),
        _ => {
            let hint = [
                "use 'month', 'quarter' or 'year', or half_year(..)",
                "请使用 'month'、'quarter'、'year' 或 half_year(..)",
            ];
            Err(unsupported("this date_trunc unit", "该 date_trunc 单位", hint))
        }
    }
}

fn unknown_function(name: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Unknown,
        [format!("the function {name:?} is not known here"), format!("不支持函数 {name:?}")],
        [
            "use count(*), count(distinct ..), sum(..), half_year(..), date_trunc(..)".to_owned(),
            "可用：count(*)、count(distinct ..)、sum(..)、half_year(..)、date_trunc(..)".to_owned(),
        ],
    )
}

/// GROUP BY must list exactly the selected keys: by expression, by output name or by ordinal.
fn grouped_as_selected(
    scope: &Scope<'_>,
    group_by: &GroupByExpr,
    items: &[(String, Item)],
) -> Result<(), Refusal> {
    let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
        return Err(unsupported("GROUP BY ALL", " GROUP BY ALL", SIMPLE));
    };
    if !modifiers.is_empty() {
        return Err(unsupported("a modifier of GROUP BY", " GROUP BY 修饰符", SIMPLE));
    }
    let mut grouped = BTreeSet::new();
    for expr in expressions {
        let position = grouped_item(scope, expr, items).map_err(|r| r.at(expr.span()))?;
        grouped.insert(position);
    }
    let keys: BTreeSet<usize> = items
        .iter()
        .enumerate()
        .filter(|(_, (_, item))| matches!(item, Item::Key { .. }))
        .map(|(index, _)| index)
        .collect();
    let mut columns = BTreeSet::new();
    let repeated = items.iter().any(|(_, item)| match item {
        Item::Key { column, .. } => !columns.insert(*column),
        Item::Measure(_) => false,
    });
    if repeated {
        let hint = ["use each column as one key", "每列只能作为一个分组键"];
        return Err(unsupported("a column in two group keys", "同一列用于两个分组键", hint));
    }
    if grouped == keys {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Unsupported,
        ["GROUP BY and the selected keys differ", "GROUP BY 与所选分组键不一致"],
        [
            "select every key you group by, and group by every key you select",
            "请让 SELECT 的键与 GROUP BY 的键完全一致",
        ],
    ))
}

fn grouped_item(
    scope: &Scope<'_>,
    expr: &Expr,
    items: &[(String, Item)],
) -> Result<usize, Refusal> {
    let is_key = |at: &usize| matches!(items.get(*at), Some((_, Item::Key { .. })));
    let found = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => {
                digits.parse::<usize>().ok().and_then(|ordinal| ordinal.checked_sub(1))
            }
            _ => None,
        },
        Expr::Identifier(name) if items.iter().any(|(item, _)| *item == folded(name)) => {
            items.iter().position(|(item, _)| *item == folded(name))
        }
        _ => {
            let bound = bind_item(scope, expr)?;
            items.iter().position(|(_, item)| *item == bound)
        }
    };
    found.filter(is_key).ok_or_else(|| {
        Refusal::new(
            RefusalCode::Unsupported,
            ["GROUP BY names no selected key", "GROUP BY 未对应任何所选分组键"],
            ["select the key too", "请同时在 SELECT 中写出该键"],
        )
    })
}

fn output_name(name: &str, names: &mut BTreeSet<String>) -> Result<(), Refusal> {
    let legal =
        !name.is_empty() && name.len() <= NAME_MAX_BYTES && !name.chars().any(char::is_control);
    if legal && names.insert(name.to_owned()) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Unsupported,
        ["two output columns have one name, or a name is too long", "输出列重名，或名称过长"],
        ["give each its own short alias with AS", "请用 AS 为每列取不同的短别名"],
    ))
}

/// The parts of a column name; empty when the expression is none.
pub(super) fn name_parts(expr: &Expr) -> &[Ident] {
    match expr {
        Expr::Identifier(name) => core::slice::from_ref(name),
        Expr::CompoundIdentifier(parts) => parts,
        _ => &[],
    }
}

fn single_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    }
}

fn position(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
