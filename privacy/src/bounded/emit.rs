//! Writes the bounded query.
//!
//! The text uses only what every SQL engine has: CASE, COALESCE, comparisons, SUM and COUNT over
//! integers and days. Every function in it is total: no row makes it fail, so an error can tell
//! nothing about a row. Texts become indices of the public domain first, `OTHER` for the rest;
//! numbers are moved into their declared range; rows without an owner or outside the declared
//! days are not read.

use core::fmt::{self, Write};
use std::collections::BTreeSet;

use crate::contract::{Domain, Table};
use crate::ids::ParticipantId;
use crate::plan::{DpPlan, carriers, key_points};
use crate::sql::{Fact, Measure, Predicate};

/// The bounded query of one participant.
///
/// Its result has one row per member and cell: `member` (text), `cell` (the cell's code, bigint),
/// then `a0`, `a1`, ... (bigint), one for each aggregate of the plan. `member` is for the
/// [`Collector`](super::Collector) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSql {
    text: String,
    aggregates: usize,
}

impl MemberSql {
    /// The SQL text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many columns `a0`, `a1`, ... the result has.
    pub const fn aggregates(&self) -> usize {
        self.aggregates
    }
}

/// Writes the bounded query of a plan for one participant. The table is found under its contract
/// name; the node registers there what its policy lets in: members who consented to the plan's
/// purpose, and no rows past retention.
pub fn member_sql(plan: &DpPlan, participant: ParticipantId) -> MemberSql {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_query(&mut text, plan, participant);
    MemberSql { text, aggregates: plan.aggregates().len() }
}

fn write_query(w: &mut String, plan: &DpPlan, participant: ParticipantId) -> fmt::Result {
    let (query, table) = (plan.query(), plan.table());
    write!(w, "SELECT member, cell")?;
    for (index, aggregate) in query.aggregates.iter().enumerate() {
        match aggregate.of {
            // For members the collector makes 1 of any count.
            Measure::Rows | Measure::Members => write!(w, ", COUNT(*) AS a{index}")?,
            Measure::Sum { column } => write!(w, ", SUM(c{column}) AS a{index}")?,
        }
    }
    write!(w, " FROM (SELECT member, ")?;
    write_cell_code(w, plan)?;
    write!(w, " AS cell")?;
    let summed: BTreeSet<u16> = query
        .aggregates
        .iter()
        .filter_map(|aggregate| match aggregate.of {
            Measure::Sum { column } => Some(column),
            Measure::Rows | Measure::Members => None,
        })
        .collect();
    for column in summed {
        write!(w, ", c{column}")?;
    }
    write!(w, " FROM (SELECT \"{}\" AS member", table.owner())?;
    for column in query.columns() {
        write!(w, ", ")?;
        write_column(w, table, column, participant)?;
        write!(w, " AS c{column}")?;
    }
    write!(w, " FROM \"{}\" WHERE ", table.name())?;
    write_row_filter(w, plan, participant)?;
    write!(w, ") AS mapped")?;
    if let Some(filter) = &query.filter {
        write!(w, " WHERE ")?;
        write_predicate(w, filter)?;
    }
    write!(w, ") AS coded GROUP BY member, cell")
}

/// A column mapped to its declared domain: texts to indices, days as they are, numbers clamped.
fn write_column(
    w: &mut String,
    table: &Table,
    index: u16,
    participant: ParticipantId,
) -> fmt::Result {
    let Some(column) = table.columns().get(usize::from(index)) else { return Err(fmt::Error) };
    let name = column.name();
    match column.domain() {
        Domain::Text { values, .. } => {
            write!(w, "CASE")?;
            for (value, text) in (0u16..).zip(values) {
                // A value its contract does not let this brand carry counts as OTHER.
                if carriers(table, index, value).contains(&participant) {
                    let quoted = text.text().replace('\'', "''");
                    write!(w, " WHEN \"{name}\" = '{quoted}' THEN {value}")?;
                }
            }
            // A CASE needs a branch even where the brand carries no declared value.
            write!(w, " WHEN 1 = 0 THEN 0 ELSE {} END", values.len())
        }
        Domain::Date { .. } => write!(w, "\"{name}\""),
        Domain::Integer { minimum, maximum, .. } => write!(
            w,
            "CASE WHEN \"{name}\" > {maximum} THEN {maximum} WHEN \"{name}\" < {minimum} THEN \
             {minimum} ELSE COALESCE(\"{name}\", 0) END"
        ),
    }
}

/// Which rows are read at all: those with an owner, inside the declared days, and not under
/// `OTHER` where the contract says this brand has no such values.
fn write_row_filter(w: &mut String, plan: &DpPlan, participant: ParticipantId) -> fmt::Result {
    let (query, table) = (plan.query(), plan.table());
    let owner = table.owner();
    // SQL would group all guests into one member.
    write!(w, "\"{owner}\" IS NOT NULL AND \"{owner}\" <> ''")?;
    for index in query.columns() {
        let Some(column) = table.columns().get(usize::from(index)) else { return Err(fmt::Error) };
        let name = column.name();
        match column.domain() {
            Domain::Date { first, last } => {
                write!(w, " AND \"{name}\" >= DATE '{first}' AND \"{name}\" <= DATE '{last}'")?;
            }
            Domain::Text { values, .. } => {
                let other = u16::try_from(values.len()).map_err(|_| fmt::Error)?;
                if !carriers(table, index, other).contains(&participant) {
                    write!(w, " AND ")?;
                    write_column(w, table, index, participant)?;
                    write!(w, " <> {other}")?;
                }
            }
            Domain::Integer { .. } => {}
        }
    }
    Ok(())
}

/// The code of a row's cell: the keys' indices as digits, the last key turning fastest.
fn write_cell_code(w: &mut String, plan: &DpPlan) -> fmt::Result {
    let (query, table) = (plan.query(), plan.table());
    let mut code = "0".to_owned();
    for key in &query.keys {
        let points = key_points(table, key.column, key.bucket);
        let radix = points.len();
        let mut digit = String::new();
        match key.bucket {
            None => write!(digit, "c{}", key.column)?,
            Some(_) => {
                write!(digit, "CASE")?;
                for (index, point) in points.iter().enumerate() {
                    if let Fact::Days(_, last) = point.fact {
                        write!(digit, " WHEN c{} <= DATE '{last}' THEN {index}", key.column)?;
                    }
                }
                write!(digit, " ELSE {} END", radix.saturating_sub(1))?;
            }
        }
        code = format!("({code}) * {radix} + ({digit})");
    }
    write!(w, "CAST({code} AS BIGINT)")
}

fn write_predicate(w: &mut String, predicate: &Predicate) -> fmt::Result {
    match predicate {
        Predicate::And(parts) => write_joined(w, parts, " AND "),
        Predicate::Or(parts) => write_joined(w, parts, " OR "),
        Predicate::Not(inner) => {
            write!(w, "NOT (")?;
            write_predicate(w, inner)?;
            write!(w, ")")
        }
        Predicate::Text { column, values } => {
            let list: Vec<String> = values.iter().map(u16::to_string).collect();
            write!(w, "c{column} IN ({})", list.join(", "))
        }
        Predicate::Date { column, comparison, day } => {
            write!(w, "c{column} {} DATE '{day}'", comparison.sql())
        }
        Predicate::Integer { column, comparison, value } => {
            write!(w, "c{column} {} {value}", comparison.sql())
        }
    }
}

fn write_joined(w: &mut String, parts: &[Predicate], joint: &str) -> fmt::Result {
    write!(w, "(")?;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            write!(w, "{joint}")?;
        }
        write_predicate(w, part)?;
    }
    write!(w, ")")
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::GenericDialect;
    use sqlparser::parser::Parser;

    use super::*;
    use crate::testing::{brand, sample_contract, spec};

    fn emitted(sql: &str, participant: usize) -> String {
        let plan = DpPlan::new(&sample_contract(), &spec(sql, 5)).unwrap();
        let text = member_sql(&plan, brand(participant)).as_str().to_owned();
        Parser::parse_sql(&GenericDialect {}, &text).unwrap();
        text
    }

    /// Trap 9: SQL puts all rows without a member into one group, as if they were one member.
    #[test]
    fn trap_9_rows_without_an_owner_are_not_read() {
        let text = emitted("SELECT count(distinct member) FROM purchases", 0);
        assert!(text.contains("WHERE \"member\" IS NOT NULL AND \"member\" <> ''"), "{text}");
    }

    #[test]
    fn the_sample_question_is_written_so() {
        let text = emitted(
            "SELECT half_year(purchased_on) AS half, count(distinct member) AS active \
             FROM purchases GROUP BY half_year(purchased_on)",
            0,
        );
        assert_eq!(
            text,
            "SELECT member, cell, COUNT(*) AS a0 FROM (SELECT member, CAST((0) * 2 + (CASE WHEN \
             c0 <= DATE '2017-06-30' THEN 0 WHEN c0 <= DATE '2017-12-31' THEN 1 ELSE 1 END) AS \
             BIGINT) AS cell FROM (SELECT \"member\" AS member, \"purchased_on\" AS c0 FROM \
             \"purchases\" WHERE \"member\" IS NOT NULL AND \"member\" <> '' AND \"purchased_on\" \
             >= DATE '2017-01-01' AND \"purchased_on\" <= DATE '2017-12-31') AS mapped) AS coded \
             GROUP BY member, cell"
        );
    }

    #[test]
    fn a_value_a_brand_may_not_carry_counts_as_other() {
        let sql = "SELECT department, sum(amount_fen) FROM purchases \
                   WHERE department IN ('GROCERY', 'PRODUCE') AND quantity > 0 GROUP BY 1";
        let grocer = emitted(sql, 2);
        let fuel = emitted(sql, 1);
        assert!(grocer.contains("WHEN \"department\" = 'PRODUCE' THEN 1"), "{grocer}");
        assert!(!fuel.contains("PRODUCE"), "{fuel}");
        assert!(!grocer.contains("'FUEL'"), "{grocer}");
        assert!(grocer.contains("WHERE (c1 IN (0, 1) AND c2 > 0)"), "{grocer}");
    }
}
