//! Binds WHERE: comparisons of declared-domain columns with literals inside the domains.

use std::collections::BTreeSet;

use sqlparser::ast::{BinaryOperator, DataType, Expr, Spanned, UnaryOperator, Value};

use super::query::{Comparison, Predicate};
use super::refusal::{too_complex, unsupported};
use super::select::name_parts;
use super::{COMPARISONS_MAX, Refusal, RefusalCode, Scope};
use crate::civil::CivilDate;
use crate::contract::{Column, Domain, OTHER};

const LITERALS: [&str; 2] = [
    "compare a column with literals: =, <>, <, <=, >, >=, IN, BETWEEN, joined by AND, OR, NOT",
    "请用列与字面量比较：=、<>、<、<=、>、>=、IN、BETWEEN，并以 AND、OR、NOT 组合",
];

/// Binds a condition.
pub(super) fn bind_condition(scope: &Scope<'_>, expr: &Expr) -> Result<Predicate, Refusal> {
    let mut left = COMPARISONS_MAX;
    Binder { scope, left: &mut left }.condition(expr)
}

struct Binder<'a, 'c> {
    scope: &'a Scope<'c>,
    /// How many comparisons may still come.
    left: &'a mut usize,
}

impl<'c> Binder<'_, 'c> {
    fn condition(&mut self, expr: &Expr) -> Result<Predicate, Refusal> {
        match expr {
            Expr::Nested(inner) => self.condition(inner),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                Ok(Predicate::Not(Box::new(self.condition(expr)?)))
            }
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                Ok(Predicate::And(vec![self.condition(left)?, self.condition(right)?]))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                Ok(Predicate::Or(vec![self.condition(left)?, self.condition(right)?]))
            }
            Expr::BinaryOp { left, op, right } => {
                let comparison = comparison(op).ok_or_else(|| {
                    unsupported("this operator in WHERE", " WHERE 中的该运算符", LITERALS)
                        .at(expr.span())
                })?;
                if name_parts(left).is_empty() {
                    self.compare(right, comparison.flipped(), left)
                } else {
                    self.compare(left, comparison, right)
                }
            }
            Expr::InList { expr: column, list, negated } => {
                let any: Result<Vec<_>, _> = list
                    .iter()
                    .map(|literal| self.compare(column, Comparison::Equal, literal))
                    .collect();
                Ok(negate_if(*negated, one_of(any?)))
            }
            Expr::Between { expr: column, negated, low, high } => {
                let from = self.compare(column, Comparison::GreaterOrEqual, low)?;
                let to = self.compare(column, Comparison::LessOrEqual, high)?;
                Ok(negate_if(*negated, Predicate::And(vec![from, to])))
            }
            _ => Err(unsupported("this condition", "该条件", LITERALS).at(expr.span())),
        }
    }

    fn compare(
        &mut self,
        column: &Expr,
        comparison: Comparison,
        literal: &Expr,
    ) -> Result<Predicate, Refusal> {
        *self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| too_complex("comparisons", "比较条件", COMPARISONS_MAX))?;
        let parts = name_parts(column);
        if parts.is_empty() {
            return Err(unsupported("a comparison without a column", "不含列的比较", LITERALS)
                .at(column.span()));
        }
        let (index, found) = self.scope.column(parts)?;
        typed(index, found, comparison, literal).map_err(|refusal| refusal.at(literal.span()))
    }
}

fn typed(
    column: u16,
    found: &Column,
    comparison: Comparison,
    literal: &Expr,
) -> Result<Predicate, Refusal> {
    match found.domain() {
        Domain::Text { values, .. } => {
            let Some(text) = text_literal(literal) else {
                return Err(outside(found, "a text in quotes", "加引号的文本"));
            };
            let position = if text == OTHER {
                Some(values.len())
            } else {
                values.iter().position(|value| value.text() == text)
            };
            let Some(index) = position.and_then(|index| u16::try_from(index).ok()) else {
                return Err(outside(found, "one of its declared values", "其声明的取值之一"));
            };
            let equal = Predicate::Text { column, values: BTreeSet::from([index]) };
            match comparison {
                Comparison::Equal => Ok(equal),
                Comparison::NotEqual => Ok(Predicate::Not(Box::new(equal))),
                _ => {
                    let hint = ["use =, <> or IN", "请使用 =、<> 或 IN"];
                    Err(unsupported("an order of texts", "文本大小比较", hint))
                }
            }
        }
        Domain::Date { first, last } => match date_literal(literal) {
            Some(day) if (*first..=*last).contains(&day) => {
                Ok(Predicate::Date { column, comparison, day })
            }
            _ => Err(outside(
                found,
                &format!("a day from {first} to {last}, written DATE 'YYYY-MM-DD'"),
                &format!("{first} 至 {last} 之间的日期，写作 DATE 'YYYY-MM-DD'"),
            )),
        },
        Domain::Integer { minimum, maximum, .. } => match integer_literal(literal) {
            Some(value) if (*minimum..=*maximum).contains(&value) => {
                Ok(Predicate::Integer { column, comparison, value })
            }
            _ => Err(outside(
                found,
                &format!("a whole number from {minimum} to {maximum}"),
                &format!("{minimum} 至 {maximum} 之间的整数"),
            )),
        },
    }
}

/// Equalities of one text column become one set, so that order and repetition do not matter.
fn one_of(mut any: Vec<Predicate>) -> Predicate {
    let mut merged: Option<(u16, BTreeSet<u16>)> = None;
    for part in &any {
        let Predicate::Text { column, values } = part else {
            return any_of(any);
        };
        let (_, all) = merged.get_or_insert_with(|| (*column, BTreeSet::new()));
        all.extend(values.iter().copied());
    }
    match merged {
        Some((column, values)) => {
            any.clear();
            Predicate::Text { column, values }
        }
        None => any_of(any),
    }
}

fn any_of(any: Vec<Predicate>) -> Predicate {
    Predicate::Or(any)
}

fn negate_if(negated: bool, predicate: Predicate) -> Predicate {
    if negated { Predicate::Not(Box::new(predicate)) } else { predicate }
}

const fn comparison(op: &BinaryOperator) -> Option<Comparison> {
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

fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => text_literal(inner),
        _ => None,
    }
}

fn date_literal(expr: &Expr) -> Option<CivilDate> {
    match expr {
        Expr::TypedString(typed) if matches!(typed.data_type, DataType::Date) => {
            match &typed.value.value {
                Value::SingleQuotedString(text) => text.parse().ok(),
                _ => None,
            }
        }
        _ => text_literal(expr).and_then(|text| text.parse().ok()),
    }
}

fn integer_literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(_) => integer_literal(expr).and_then(i64::checked_neg),
            _ => None,
        },
        Expr::Nested(inner) => integer_literal(inner),
        _ => None,
    }
}

fn outside(column: &Column, wanted_en: &str, wanted_zh: &str) -> Refusal {
    Refusal::new(
        RefusalCode::OutsideDomain,
        [
            format!("this is not in the declared domain of {:?}", column.name()),
            format!("该值不在 {:?} 的声明取值范围内", column.name()),
        ],
        [format!("give {wanted_en}"), format!("请给出{wanted_zh}")],
    )
}
