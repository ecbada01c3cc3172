//! Binds HAVING and ORDER BY of the outer SELECT: decisions on noised values.
//!
//! Both are post-processing of what is released. A column that only they name is noised and charged
//! like any other.

use sqlparser::ast::{
    BinaryOperator, Expr as Sql, OrderBy, OrderByKind, Spanned, UnaryOperator, Value,
};

use super::condition::comparison;
use super::expr::Comparison;
use super::query::{Condition, Order, OutputOf};
use super::refusal::unsupported;
use super::scope::Names;
use super::select::{Question, measures};
use super::{Refusal, RefusalCode};

/// Most parts of ORDER BY.
const ORDER_MAX: usize = 4;

/// Binds HAVING.
pub(crate) fn bind_having(
    question: &mut Question<'_, '_, '_>,
    expr: &Sql,
) -> Result<Condition, Refusal> {
    match expr {
        Sql::Nested(inner) => bind_having(question, inner),
        Sql::UnaryOp { op: UnaryOperator::Not, expr } => {
            Ok(Condition::Not(Box::new(bind_having(question, expr)?)))
        }
        Sql::BinaryOp { left, op: BinaryOperator::And, right } => {
            Ok(Condition::And(vec![bind_having(question, left)?, bind_having(question, right)?]))
        }
        Sql::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Ok(Condition::Or(vec![bind_having(question, left)?, bind_having(question, right)?]))
        }
        Sql::BinaryOp { left, op, right } => match comparison(op) {
            Some(op) if decimal_micros(left).is_some() => {
                compare(question, right, op.flipped(), left)
            }
            Some(op) => compare(question, left, op, right),
            None => Err(wrong_condition().at(expr.span())),
        },
        Sql::Between { expr: of, negated, low, high } => {
            let from = compare(question, of, Comparison::GreaterOrEqual, low)?;
            let to = compare(question, of, Comparison::LessOrEqual, high)?;
            let both = Condition::And(vec![from, to]);
            Ok(if *negated { Condition::Not(Box::new(both)) } else { both })
        }
        _ => Err(wrong_condition().at(expr.span())),
    }
}

fn compare(
    question: &mut Question<'_, '_, '_>,
    value: &Sql,
    comparison: Comparison,
    literal: &Sql,
) -> Result<Condition, Refusal> {
    question.scope.binder().compare()?;
    let output = noised_output(question, value)?;
    let micros = decimal_micros(literal).ok_or_else(|| {
        Refusal::new(
            RefusalCode::OutsideDomain,
            ["HAVING compares a noised value with a number", "HAVING 须将加噪值与数字比较"],
            ["write a number with six decimals at most", "请写出至多六位小数的数字"],
        )
        .at(literal.span())
    })?;
    Ok(Condition::Compare { output, comparison, micros })
}

/// The output of a value that HAVING decides on.
fn noised_output(question: &mut Question<'_, '_, '_>, value: &Sql) -> Result<u16, Refusal> {
    if measures(value) {
        let of = question.measure(value)?;
        return Ok(question.output(of));
    }
    // a bare number would be an ordinal, which HAVING has not
    let named = match value {
        Sql::Identifier(_) => question.output_of(value)?,
        _ => None,
    };
    let output = named.and_then(|at| question.outputs.get(at)).map(|output| output.of);
    match output {
        Some(of @ (OutputOf::Measure(_) | OutputOf::Quantile { .. })) => Ok(question.output(of)),
        _ => Err(wrong_condition().at(value.span())),
    }
}

fn wrong_condition() -> Refusal {
    let hint = [
        "HAVING decides on aggregates; put conditions on rows and keys into WHERE",
        "HAVING 用于聚合值；行与分组键的条件请写入 WHERE",
    ];
    unsupported("this condition in HAVING", " HAVING 中的该条件", hint)
}

/// Binds ORDER BY.
pub(crate) fn bind_order(
    question: &mut Question<'_, '_, '_>,
    order: &OrderBy,
) -> Result<Vec<Order>, Refusal> {
    let hint = [
        "order by selected columns or aggregates, ASC or DESC",
        "请按所选列或聚合排序，可加 ASC、DESC",
    ];
    let wrong = || unsupported("this ORDER BY", "该 ORDER BY", hint).at(order.span());
    let OrderByKind::Expressions(parts) = &order.kind else { return Err(wrong()) };
    if order.interpolate.is_some() || parts.len() > ORDER_MAX {
        return Err(wrong());
    }
    let mut bound = Vec::with_capacity(parts.len());
    for part in parts {
        if part.with_fill.is_some() || part.options.nulls_first.is_some() {
            return Err(wrong());
        }
        let output = match question.output_of(&part.expr)? {
            Some(at) => u16::try_from(at).map_err(|_| wrong())?,
            None if measures(&part.expr) => {
                let of = question.measure(&part.expr)?;
                question.output(of)
            }
            None => return Err(wrong()),
        };
        bound.push(Order { output, descending: part.options.asc == Some(false) });
    }
    Ok(bound)
}

/// A decimal number in millionths; `None` for anything else or more than six decimals.
pub(crate) fn decimal_micros(expr: &Sql) -> Option<i64> {
    match expr {
        Sql::Nested(inner) => decimal_micros(inner),
        Sql::UnaryOp { op: UnaryOperator::Minus, expr } => {
            decimal_micros(expr).and_then(i64::checked_neg)
        }
        Sql::Value(value) => match &value.value {
            Value::Number(digits, false) => {
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                if fraction.len() > 6 || !plain(whole) || !plain(fraction) {
                    return None;
                }
                let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
                let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
                whole.checked_mul(1_000_000)?.checked_add(fraction)
            }
            _ => None,
        },
        _ => None,
    }
}
