//! Expressions and conditions as SQL text.

use core::fmt::{self, Write};

use crate::civil::Bucket;
use crate::civil::CivilDate;
use crate::sql::expr::{Expr, Predicate};

/// An expression over columns named `c` and their number plus `offset`.
pub(super) fn scalar(expr: &Expr, offset: u16) -> Result<String, fmt::Error> {
    let mut w = String::new();
    match expr {
        Expr::Column(column) => write!(w, "{}", name(*column, offset))?,
        Expr::Literal(value) if *value < 0 => write!(w, "({value})")?,
        Expr::Literal(value) => write!(w, "{value}")?,
        Expr::Case { branches, otherwise } => {
            write!(w, "CASE")?;
            for (condition, value) in branches {
                let condition = predicate(condition, offset)?;
                write!(w, " WHEN {condition} THEN {}", scalar(value, offset)?)?;
            }
            write!(w, " ELSE {} END", scalar(otherwise, offset)?)?;
        }
        Expr::Arithmetic { op, left, right } => {
            let (left, right) = (scalar(left, offset)?, scalar(right, offset)?);
            write!(w, "({left} {} {right})", op.sql())?;
        }
        Expr::Extreme { greatest, of } => {
            let parts: Result<Vec<String>, fmt::Error> =
                of.iter().map(|part| scalar(part, offset)).collect();
            let function = if *greatest { "GREATEST" } else { "LEAST" };
            write!(w, "{function}({})", parts?.join(", "))?;
        }
        Expr::Bucket { column, bucket, first, last } if !bucket.is_of_months() => {
            let day = day_number(&name(*column, offset), *first, *last)?;
            match bucket {
                // from the Monday before the first day on
                Bucket::Week => {
                    let into = first.days_since(first.bucket_start(Bucket::Week));
                    write!(w, "(({day} + {into}) / 7)")?;
                }
                _ => write!(w, "{day}")?,
            }
        }
        Expr::Bucket { column, bucket, first, last } => {
            let name = name(*column, offset);
            write!(w, "CASE")?;
            let ends = bucket_ends(*first, *last, *bucket);
            for (index, end) in ends.iter().enumerate() {
                write!(w, " WHEN {name} <= DATE '{end}' THEN {index}")?;
            }
            write!(w, " ELSE {} END", ends.len().saturating_sub(1))?;
        }
        Expr::Extract { column, part } => {
            let name = name(*column, offset);
            write!(w, "CAST(EXTRACT({} FROM {name}) AS BIGINT)", part.sql())?;
        }
        Expr::Lookup { of, values, otherwise } => {
            let of = scalar(of, offset)?;
            let mut found: Vec<u16> = values.values().copied().collect();
            found.sort_unstable();
            found.dedup();
            write!(w, "CASE")?;
            for value in found {
                let keys = values.iter().filter(|(_, v)| **v == value).map(|(k, _)| k.to_string());
                let keys: Vec<String> = keys.collect();
                write!(w, " WHEN {of} IN ({}) THEN {value}", keys.join(", "))?;
            }
            write!(w, " WHEN 1 = 0 THEN 0 ELSE {otherwise} END")?;
        }
    }
    Ok(w)
}

/// A condition over columns named `c` and their number plus `offset`.
pub(super) fn predicate(of: &Predicate, offset: u16) -> Result<String, fmt::Error> {
    Ok(match of {
        Predicate::And(parts) => joined(parts, " AND ", "1 = 1", offset)?,
        Predicate::Or(parts) => joined(parts, " OR ", "1 = 0", offset)?,
        Predicate::Not(inner) => format!("NOT ({})", predicate(inner, offset)?),
        Predicate::Text { values, .. } if values.is_empty() => "1 = 0".to_owned(),
        Predicate::Text { of, values } => {
            let list: Vec<String> = values.iter().map(u16::to_string).collect();
            format!("{} IN ({})", scalar(of, offset)?, list.join(", "))
        }
        Predicate::Date { column, comparison, day } => {
            format!("{} {} DATE '{day}'", name(*column, offset), comparison.sql())
        }
        Predicate::Integer { left, comparison, right } => {
            format!("{} {} {}", scalar(left, offset)?, comparison.sql(), scalar(right, offset)?)
        }
    })
}

fn joined(
    parts: &[Predicate],
    joint: &str,
    nothing: &str,
    offset: u16,
) -> Result<String, fmt::Error> {
    if parts.is_empty() {
        return Ok(nothing.to_owned());
    }
    let parts: Result<Vec<String>, fmt::Error> =
        parts.iter().map(|part| predicate(part, offset)).collect();
    Ok(format!("({})", parts?.join(joint)))
}

fn name(column: u16, offset: u16) -> String {
    format!("c{}", column.saturating_add(offset))
}

/// How many days a column of days from `first` to `last` lies after `first`: by its month, and its day in that. Whole
/// numbers from 0 on, so that every engine divides them alike.
fn day_number(name: &str, first: CivilDate, last: CivilDate) -> Result<String, fmt::Error> {
    let of_month = format!("CAST(EXTRACT(DAY FROM {name}) AS BIGINT)");
    let mut w = String::from("(CASE");
    let mut start = first.bucket_start(Bucket::Month);
    // what a day of the month lies after `first`
    let shift = |start: CivilDate| match start.days_since(first) {
        0 => format!("{of_month} - {}", first.days_since(start).saturating_add(1)),
        days => format!("{of_month} + {}", days.saturating_sub(1)),
    };
    loop {
        match start.next_bucket_start(Bucket::Month).filter(|next| *next <= last) {
            Some(next) => {
                write!(w, " WHEN {name} < DATE '{next}' THEN {}", shift(start))?;
                start = next;
            }
            None => {
                write!(w, " WHEN 1 = 0 THEN 0 ELSE {} END)", shift(start))?;
                return Ok(w);
            }
        }
    }
}

/// The last days of all buckets from that of `first` to that of `last`.
fn bucket_ends(first: CivilDate, last: CivilDate, bucket: Bucket) -> Vec<CivilDate> {
    let mut ends = Vec::new();
    let mut start = first.bucket_start(bucket);
    loop {
        ends.extend(start.bucket_end(bucket).map(|end| end.min(last)));
        match start.next_bucket_start(bucket) {
            Some(next) if next <= last => start = next,
            _ => return ends,
        }
    }
}
