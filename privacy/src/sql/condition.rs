//! Binds conditions on one row: comparisons within declared domains.

use std::collections::BTreeSet;

use sqlparser::ast::{BinaryOperator, DataType, Expr as Sql, Spanned, UnaryOperator, Value};

use super::expr::{Comparison, Expr, Predicate};
use super::refusal::unsupported;
use super::scalar::{bind_scalar, integer_literal, text_literal};
use super::scope::{Kind, Names, Typed};
use super::{Refusal, RefusalCode};
use crate::civil::CivilDate;

const LITERALS: [&str; 2] = [
    "compare with =, <>, <, <=, >, >=, IN, BETWEEN, joined by AND, OR, NOT",
    "请使用 =、<>、<、<=、>、>=、IN、BETWEEN，并以 AND、OR、NOT 组合",
];

/// Binds a condition.
pub(crate) fn bind_condition(names: &dyn Names, expr: &Sql) -> Result<Predicate, Refusal> {
    match expr {
        Sql::Nested(inner) => bind_condition(names, inner),
        Sql::UnaryOp { op: UnaryOperator::Not, expr } => {
            Ok(Predicate::Not(Box::new(bind_condition(names, expr)?)))
        }
        Sql::BinaryOp { left, op: BinaryOperator::And, right } => {
            Ok(Predicate::And(vec![bind_condition(names, left)?, bind_condition(names, right)?]))
        }
        Sql::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Ok(Predicate::Or(vec![bind_condition(names, left)?, bind_condition(names, right)?]))
        }
        Sql::BinaryOp { left, op, right } => {
            let comparison = comparison(op).ok_or_else(|| {
                unsupported("this operator in a condition", "条件中的该运算符", LITERALS)
                    .at(expr.span())
            })?;
            if is_literal(left) {
                compare(names, right, comparison.flipped(), left)
            } else {
                compare(names, left, comparison, right)
            }
        }
        Sql::InList { expr: of, list, negated } => {
            let any: Result<Vec<_>, _> =
                list.iter().map(|literal| compare(names, of, Comparison::Equal, literal)).collect();
            Ok(negate_if(*negated, one_of(any?)))
        }
        Sql::Between { expr: of, negated, low, high } => {
            let from = compare(names, of, Comparison::GreaterOrEqual, low)?;
            let to = compare(names, of, Comparison::LessOrEqual, high)?;
            Ok(negate_if(*negated, Predicate::And(vec![from, to])))
        }
        Sql::InSubquery { .. } | Sql::Exists { .. } => {
            let hint = ["join the subquery ON the member instead", "请改为按会员列连接子查询"];
            Err(unsupported("a subquery in a condition", "条件中的子查询", hint).at(expr.span()))
        }
        Sql::IsNull(_) | Sql::IsNotNull(_) => {
            let hint = [
                "no value is NULL here: absent texts are OTHER, absent numbers 0",
                "此处没有 NULL：缺失的文本计为 OTHER，缺失的数值计为 0",
            ];
            Err(unsupported("a test for NULL", " NULL 判断", hint).at(expr.span()))
        }
        _ => Err(unsupported("this condition", "该条件", LITERALS).at(expr.span())),
    }
}

/// Binds `left comparison right`; a literal stands on the right.
pub(crate) fn compare(
    names: &dyn Names,
    left: &Sql,
    comparison: Comparison,
    right: &Sql,
) -> Result<Predicate, Refusal> {
    names.binder().compare()?;
    if is_literal(left) {
        return Err(
            unsupported("a comparison without a column", "不含列的比较", LITERALS).at(left.span())
        );
    }
    let typed = bind_scalar(names, left)?;
    let bound = match &typed.kind {
        Kind::Text(labels) => compare_text(&typed, labels, comparison, right),
        Kind::Day(first, last) => compare_day(&typed, *first, *last, comparison, right),
        // a private one is not bound here
        Kind::Number | Kind::Private { .. } => compare_number(names, typed, comparison, right),
    };
    bound.map_err(|refusal| refusal.at(right.span()))
}

fn compare_text(
    left: &Typed,
    labels: &[String],
    comparison: Comparison,
    right: &Sql,
) -> Result<Predicate, Refusal> {
    let found = text_literal(right).and_then(|text| labels.iter().position(|l| l == text));
    let Some(index) = found.and_then(|index| u16::try_from(index).ok()) else {
        return Err(outside("one of the declared values in quotes", "加引号的声明取值之一"));
    };
    let equal = Predicate::Text { of: left.expr.clone(), values: BTreeSet::from([index]) };
    match comparison {
        Comparison::Equal => Ok(equal),
        Comparison::NotEqual => Ok(Predicate::Not(Box::new(equal))),
        _ => {
            let hint = ["use =, <> or IN", "请使用 =、<> 或 IN"];
            Err(unsupported("an order of texts", "文本大小比较", hint))
        }
    }
}

fn compare_day(
    left: &Typed,
    first: CivilDate,
    last: CivilDate,
    comparison: Comparison,
    right: &Sql,
) -> Result<Predicate, Refusal> {
    match (&left.expr, date_literal(right)) {
        (Expr::Column(column), Some(day)) if (first..=last).contains(&day) => {
            Ok(Predicate::Date { column: *column, comparison, day })
        }
        _ => Err(outside(
            &format!("a day from {first} to {last}, written DATE 'YYYY-MM-DD'"),
            &format!("{first} 至 {last} 之间的日期，写作 DATE 'YYYY-MM-DD'"),
        )),
    }
}

fn compare_number(
    names: &dyn Names,
    left: Typed,
    comparison: Comparison,
    right: &Sql,
) -> Result<Predicate, Refusal> {
    let Some((least, greatest)) = names.range(&left.expr).integers() else {
        return Err(outside("a number", "数值"));
    };
    let literal = integer_literal(right);
    let right = match literal {
        Some(value) => Typed { expr: Expr::Literal(value), kind: Kind::Number },
        None if is_literal(right) => {
            return Err(outside(
                &format!("a whole number from {least} to {greatest}"),
                &format!("{least} 至 {greatest} 之间的整数"),
            ));
        }
        None => bind_scalar(names, right)?,
    };
    let within = literal.is_none_or(|value| (least..=greatest).contains(&i128::from(value)));
    if right.kind != Kind::Number || !within {
        return Err(outside(
            &format!("a whole number from {least} to {greatest}"),
            &format!("{least} 至 {greatest} 之间的整数"),
        ));
    }
    Ok(Predicate::Integer { left: left.expr, comparison, right: right.expr })
}

/// Equalities of one text become one set, so that order and repetition do not matter.
fn one_of(any: Vec<Predicate>) -> Predicate {
    let mut merged: Option<(Expr, BTreeSet<u16>)> = None;
    for part in &any {
        match (part, &mut merged) {
            (Predicate::Text { of, values }, None) => merged = Some((of.clone(), values.clone())),
            (Predicate::Text { of, values }, Some((same, all))) if of == same => {
                all.extend(values.iter().copied());
            }
            _ => return Predicate::Or(any),
        }
    }
    match merged {
        Some((of, values)) => Predicate::Text { of, values },
        None => Predicate::Or(any),
    }
}

fn negate_if(negated: bool, predicate: Predicate) -> Predicate {
    if negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}

pub(crate) const fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    match op {
        BinaryOperator::Eq => Some(Comparison::Equal),
        BinaryOperator::NotEq => Some(Comparison::NotEqual),
        BinaryOperator::Lt => Some(Comparison::Less),
        BinaryOperator::LtEq => Some(Comparison::LessOrEqual),
        BinaryOperator::Gt => Some(Comparison::Greater),
        BinaryOperator::GtEq => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

/// Whether it is a constant, of whatever type.
fn is_literal(expr: &Sql) -> bool {
    match expr {
        Sql::Value(_) | Sql::TypedString(_) => true,
        Sql::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr }
        | Sql::Nested(expr) => is_literal(expr),
        _ => false,
    }
}

fn date_literal(expr: &Sql) -> Option<CivilDate> {
    match expr {
        Sql::TypedString(typed) if matches!(typed.data_type, DataType::Date) => {
            match &typed.value.value {
                Value::SingleQuotedString(text) => text.parse().ok(),
                _ => None,
            }
        }
        _ => text_literal(expr).and_then(|text| text.parse().ok()),
    }
}

fn outside(wanted_en: &str, wanted_zh: &str) -> Refusal {
    Refusal::new(
        RefusalCode::OutsideDomain,
        ["this is outside the declared domain", "该值不在声明的取值范围内"],
        [format!("give {wanted_en}"), format!("请给出{wanted_zh}")],
    )
}
