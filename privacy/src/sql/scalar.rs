//! Binds expressions on one row: what cannot fail and looks at nothing but that row.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, DateTimeField, Expr as Sql, Function, Spanned, UnaryOperator, Value,
};

use super::call::{Argument, Call, unknown_function};
use super::condition::{bind_condition, compare};
use super::expr::{Comparison, Expr, MAGNITUDE_MAX, Operator, Part, Predicate};
use super::refusal::unsupported;
use super::scope::{Kind, Names, Typed};
use super::{BUCKETS_MAX, Refusal, RefusalCode, WEIGHT_MAX};
use crate::civil::{Bucket, CivilDate};

/// Binds an expression on one row.
pub(crate) fn bind_scalar(names: &dyn Names, expr: &Sql) -> Result<Typed, Refusal> {
    match names.resolve(expr) {
        Some(Ok(Typed { kind: Kind::Private { .. }, .. })) => return Err(private(expr)),
        Some(found) => return found,
        None => {}
    }
    let bound = match expr {
        Sql::Nested(inner) => return bind_scalar(names, inner),
        Sql::Value(value) => literal(&value.value),
        Sql::UnaryOp { op: UnaryOperator::Plus, expr } => bind_number(names, expr).map(number),
        Sql::UnaryOp { op: UnaryOperator::Minus, expr } => match integer_literal(expr) {
            Some(value) => Ok(number(Expr::Literal(value.saturating_neg()))),
            None => {
                let right = bind_number(names, expr)?;
                arithmetic(names, Operator::Subtract, Expr::Literal(0), right)
            }
        },
        Sql::BinaryOp { left, op, right } => match operator(op) {
            Some(op) => {
                let (left, right) = (bind_number(names, left)?, bind_number(names, right)?);
                arithmetic(names, op, left, right)
            }
            None => Err(wrong_operator(op)),
        },
        Sql::Case { operand, conditions, else_result, .. } => {
            bind_case(names, operand.as_deref(), conditions, else_result.as_deref())
        }
        Sql::Extract { field, expr, .. } => bind_extract(names, field, expr),
        Sql::Function(function) => bind_function(names, function),
        Sql::Cast { .. } => {
            let hint = [
                "compare and add values as the contract declares them",
                "请按契约声明的类型比较与计算",
            ];
            Err(unsupported("a cast before noise", "加噪前的类型转换", hint))
        }
        Sql::Subquery(_) | Sql::Exists { .. } | Sql::InSubquery { .. } => {
            let hint = [
                "a scalar subquery looks at other members; join a subquery ON the member",
                "标量子查询会涉及其他会员；请按会员列连接子查询",
            ];
            Err(unsupported("a subquery inside an expression", "表达式内的子查询", hint))
        }
        _ => {
            let hint = [
                "use columns, whole numbers, + - *, CASE, extract, date_trunc, least, greatest, abs",
                "请使用列、整数、+ - *、CASE、extract、date_trunc、least、greatest、abs",
            ];
            Err(unsupported("this expression", "该表达式", hint))
        }
    };
    bound.and_then(|bound| light(names, bound)).map_err(|refusal| refusal.at(expr.span()))
}

/// Refuses what would take long to plan: a question is looked at before anybody is known to pay for it.
fn light(names: &dyn Names, bound: Typed) -> Result<Typed, Refusal> {
    if names.weight(&bound.expr) <= WEIGHT_MAX {
        return Ok(bound);
    }
    Err(Refusal::new(
        RefusalCode::TooComplex,
        [
            format!("this expression takes more than {WEIGHT_MAX} steps to work out"),
            format!("计算该表达式所需步骤超过 {WEIGHT_MAX} 步"),
        ],
        [
            "name a subquery's computed columns less often, and nest abs(..) less",
            "请减少对子查询计算列的引用次数，并减少 abs(..) 的嵌套",
        ],
    ))
}

/// Values that are not public are grouped by, and nothing else.
fn private(expr: &Sql) -> Refusal {
    let hint = [
        "the values of this column are not public: only GROUP BY the column itself is possible, locally",
        "该列取值不公开：只能在本地查询中直接以该列 GROUP BY",
    ];
    unsupported("a private column in an expression", "在表达式中使用私有列", hint).at(expr.span())
}

/// Binds an expression whose value is a number.
pub(crate) fn bind_number(names: &dyn Names, expr: &Sql) -> Result<Expr, Refusal> {
    let Typed { expr: bound, kind } = bind_scalar(names, expr)?;
    match kind {
        Kind::Number => Ok(bound),
        Kind::Text(_) | Kind::Day(..) | Kind::Private { .. } => Err(Refusal::new(
            RefusalCode::OutsideDomain,
            ["this is not a number", "此处不是数值"],
            ["use a column of whole numbers", "请使用整数列"],
        )
        .at(expr.span())),
    }
}

pub(crate) const fn number(expr: Expr) -> Typed {
    Typed { expr, kind: Kind::Number }
}

fn arithmetic(names: &dyn Names, op: Operator, left: Expr, right: Expr) -> Result<Typed, Refusal> {
    let expr = Expr::Arithmetic { op, left: Box::new(left), right: Box::new(right) };
    in_range(names, expr)
}

/// Refuses what could leave 64 bits in an engine.
fn in_range(names: &dyn Names, expr: Expr) -> Result<Typed, Refusal> {
    let within = |value: i128| (-MAGNITUDE_MAX..=MAGNITUDE_MAX).contains(&value);
    match names.range(&expr).integers() {
        Some((least, greatest)) if within(least) && within(greatest) => Ok(number(expr)),
        _ => Err(Refusal::new(
            RefusalCode::Overflow,
            ["this can leave the range of 60 bits", "该表达式可能超出 60 位整数范围"],
            [
                "use least(.., n) and greatest(.., n), or smaller factors",
                "请用 least(.., n)、greatest(.., n) 限定范围，或使用更小的系数",
            ],
        )),
    }
}

const fn operator(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::Plus => Some(Operator::Add),
        BinaryOperator::Minus => Some(Operator::Subtract),
        BinaryOperator::Multiply => Some(Operator::Multiply),
        _ => None,
    }
}

fn wrong_operator(op: &BinaryOperator) -> Refusal {
    match op {
        BinaryOperator::Divide | BinaryOperator::Modulo => {
            let hint = [
                "divide after noise: SELECT sum(a) / sum(b)",
                "请在加噪后相除：SELECT sum(a) / sum(b)",
            ];
            unsupported("a division before noise", "加噪前的除法", hint)
        }
        _ => {
            let hint = [
                "use + - * on numbers, and conditions inside CASE or WHERE",
                "数值请用 + - *，条件请写入 CASE 或 WHERE",
            ];
            unsupported("this operator here", "此处的该运算符", hint)
        }
    }
}

fn literal(value: &Value) -> Result<Typed, Refusal> {
    match value {
        Value::Number(digits, false) => match digits.parse::<i64>() {
            Ok(value) => Ok(number(Expr::Literal(value))),
            Err(_) => Err(Refusal::new(
                RefusalCode::OutsideDomain,
                ["before noise there are whole numbers only", "加噪前仅支持整数"],
                ["write a whole number of the column's unit", "请以该列单位写出整数"],
            )),
        },
        _ => {
            let hint = [
                "texts stand in comparisons and as results of CASE",
                "文本只能用于比较或作为 CASE 的结果",
            ];
            Err(unsupported("this constant here", "此处的该常量", hint))
        }
    }
}

fn bind_case(
    names: &dyn Names,
    operand: Option<&Sql>,
    conditions: &[CaseWhen],
    otherwise: Option<&Sql>,
) -> Result<Typed, Refusal> {
    let Some(otherwise) = otherwise else {
        let hint = ["say what holds otherwise: CASE .. ELSE .. END", "请补充 ELSE 分支"];
        return Err(unsupported("a CASE without ELSE", "缺少 ELSE 的 CASE", hint));
    };
    let guards: Vec<Predicate> = conditions
        .iter()
        .map(|when| match operand {
            None => bind_condition(names, &when.condition),
            Some(operand) => compare(names, operand, Comparison::Equal, &when.condition),
        })
        .collect::<Result<_, _>>()?;
    let results: Vec<&Sql> =
        conditions.iter().map(|when| &when.result).chain([otherwise]).collect();
    let texts: Option<Vec<&str>> = results.iter().map(|result| text_literal(result)).collect();
    let (mut values, kind) = match texts {
        Some(texts) => {
            let mut labels: Vec<String> = Vec::new();
            let mut values = Vec::new();
            for text in texts {
                label_is_legal(text)?;
                let at = labels.iter().position(|label| label == text).unwrap_or(labels.len());
                if at == labels.len() {
                    labels.push(text.to_owned());
                }
                values.push(Expr::Literal(i64::try_from(at).unwrap_or(i64::MAX)));
            }
            (values, Kind::Text(Arc::from(labels)))
        }
        None => {
            let values: Result<Vec<Expr>, Refusal> =
                results.iter().map(|result| bind_number(names, result)).collect();
            (values?, Kind::Number)
        }
    };
    let otherwise = Box::new(values.pop().unwrap_or(Expr::Literal(0)));
    let branches = guards.into_iter().zip(values).collect();
    Ok(Typed { expr: Expr::Case { branches, otherwise }, kind })
}

/// Labels are shown and hashed: short and printable.
fn label_is_legal(text: &str) -> Result<(), Refusal> {
    if text.len() <= 128 && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let hint = [
        "use at most 128 bytes without control characters",
        "请使用不超过 128 字节且无控制字符的文本",
    ];
    Err(unsupported("this label", "该标签", hint))
}

fn bind_extract(names: &dyn Names, field: &DateTimeField, expr: &Sql) -> Result<Typed, Refusal> {
    let part = match field {
        DateTimeField::Month => Part::Month,
        DateTimeField::Quarter => Part::Quarter,
        DateTimeField::Year => Part::Year,
        _ => {
            let hint = ["extract month, quarter or year", "可提取 month、quarter 或 year"];
            return Err(unsupported("this part of a date", "该日期部分", hint));
        }
    };
    let (column, ..) = day_column(names, expr)?;
    Ok(number(Expr::Extract { column, part }))
}

/// A column of days with its first and last day.
fn day_column(names: &dyn Names, expr: &Sql) -> Result<(u16, CivilDate, CivilDate), Refusal> {
    match bind_scalar(names, expr)? {
        Typed { expr: Expr::Column(column), kind: Kind::Day(first, last) } => {
            Ok((column, first, last))
        }
        _ => Err(Refusal::new(
            RefusalCode::OutsideDomain,
            ["this is not a date column", "此处不是日期列"],
            ["bucket a date column", "请对日期列分桶"],
        )
        .at(expr.span())),
    }
}

fn bind_function(names: &dyn Names, function: &Function) -> Result<Typed, Refusal> {
    let call = Call::of(function)?;
    let whole: Option<Vec<&Sql>> = call
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Expr(expr) => Some(*expr),
            Argument::Star => None,
        })
        .collect();
    let (Some(arguments), false, None) = (whole, call.distinct, call.within) else {
        return Err(unknown_function(&call.name));
    };
    match (call.name.as_str(), arguments.as_slice()) {
        ("half_year", [expr]) => bind_bucket(names, expr, Bucket::HalfYear),
        ("date_trunc", [unit, expr]) => bind_bucket(names, expr, truncation(unit)?),
        // No value here is ever NULL.
        ("coalesce", [first, ..]) => bind_scalar(names, first),
        ("abs", [expr]) => {
            let inner = bind_number(names, expr)?;
            let Typed { expr: negated, .. } =
                arithmetic(names, Operator::Subtract, Expr::Literal(0), inner.clone())?;
            Ok(number(Expr::Extreme { greatest: true, of: vec![inner, negated] }))
        }
        (extreme @ ("least" | "greatest"), [_, ..]) => {
            let of: Result<Vec<Expr>, Refusal> =
                arguments.iter().map(|argument| bind_number(names, argument)).collect();
            Ok(number(Expr::Extreme { greatest: extreme == "greatest", of: of? }))
        }
        ("count" | "sum" | "avg" | "min" | "max" | "median" | "quantile", _) => {
            let hint = [
                "aggregate per member in a subquery with GROUP BY the member, or select the aggregate itself",
                "请在按会员分组的子查询中聚合，或直接选择该聚合",
            ];
            Err(unsupported("an aggregate here", "此处的聚合函数", hint))
        }
        _ => Err(unknown_function(&call.name)),
    }
}

fn bind_bucket(names: &dyn Names, expr: &Sql, bucket: Bucket) -> Result<Typed, Refusal> {
    let (column, first, last) = day_column(names, expr)?;
    if usize::try_from(last.buckets_since(first, bucket)).is_ok_and(|most| most >= BUCKETS_MAX) {
        let hint = [
            format!("use longer periods: at most {BUCKETS_MAX} from {first} to {last}"),
            format!("请使用更长的周期：{first} 至 {last} 之间最多 {BUCKETS_MAX} 个"),
        ];
        let message = ["the column has too many such periods", "该列的此类周期过多"];
        let message = message.map(str::to_owned);
        return Err(Refusal::new(RefusalCode::Unsupported, message, hint).at(expr.span()));
    }
    let labels = bucket_labels(first, last, bucket);
    let expr = Expr::Bucket { column, bucket, first, last };
    Ok(Typed { expr, kind: Kind::Text(labels.into()) })
}

/// Names of all buckets from that of `first` to that of `last`.
fn bucket_labels(first: CivilDate, last: CivilDate, bucket: Bucket) -> Vec<String> {
    let mut labels = Vec::new();
    let mut start = first.bucket_start(bucket);
    loop {
        labels.push(start.bucket_label(bucket));
        match start.next_bucket_start(bucket) {
            Some(next) if next <= last => start = next,
            _ => return labels,
        }
    }
}

fn truncation(unit: &Sql) -> Result<Bucket, Refusal> {
    let text = text_literal(unit).unwrap_or_default();
    let known = BTreeMap::from([
        ("day", Bucket::Day),
        ("week", Bucket::Week),
        ("month", Bucket::Month),
        ("quarter", Bucket::Quarter),
        ("year", Bucket::Year),
    ]);
    known.get(text.to_lowercase().as_str()).copied().ok_or_else(|| {
        let hint = [
            "use 'day', 'week', 'month', 'quarter' or 'year', or half_year(..)",
            "请使用 'day'、'week'、'month'、'quarter'、'year' 或 half_year(..)",
        ];
        unsupported("this date_trunc unit", "该 date_trunc 单位", hint)
    })
}

pub(crate) fn text_literal(expr: &Sql) -> Option<&str> {
    match expr {
        Sql::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Sql::Nested(inner) => text_literal(inner),
        _ => None,
    }
}

pub(crate) fn integer_literal(expr: &Sql) -> Option<i64> {
    match expr {
        Sql::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse().ok(),
            _ => None,
        },
        Sql::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Sql::Value(_) => integer_literal(expr).and_then(i64::checked_neg),
            _ => None,
        },
        Sql::Nested(inner) => integer_literal(inner),
        _ => None,
    }
}
