//! Writes the bounded query.
//!
//! The text uses only what every SQL engine has: CASE, COALESCE, comparisons, LEAST and GREATEST,
//! EXTRACT cast to a whole number, + - *, whole numbers from 0 on divided by 7, joins on equality, SUM, COUNT, MIN and MAX over
//! integers and days. Every function in it is total: no row makes it fail, so an error can tell
//! nothing about a row. Texts become indices of the public domain first, `OTHER` for the rest;
//! numbers are moved into their declared range; rows without an owner or outside the declared days are not read. What
//! a subquery adds up is moved into its public range too, so that no later step can overflow.

use core::fmt::{self, Write};
use std::collections::BTreeSet;

use super::words::{predicate, scalar};
use crate::contract::{Domain, Table};
use crate::ids::ParticipantId;
use crate::plan::{Added, DpPlan, carriers};
use crate::sql::expr::{Expr, Predicate, Range};
use crate::sql::relation::{Computed, MemberQuery, Relation, Source, World};
use crate::sql::{Bins, Measure};

/// The bounded query of one participant.
///
/// Its result has one row per member and cell: `member` (text or a whole number, as the tables have it),
/// `cell` (the cell's code, bigint; the group's own text where group names are private), then `a0`, `a1`, ...
/// (bigint), one for each thing the plan adds up. `member` is for the [`Collector`](super::Collector) alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberSql {
    text: String,
    aggregates: usize,
    private: bool,
}

impl MemberSql {
    /// The SQL text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `cell` is the text of a group whose name is private.
    pub const fn has_private_groups(&self) -> bool {
        self.private
    }

    /// How many columns `a0`, `a1`, ... the result has.
    pub const fn aggregates(&self) -> usize {
        self.aggregates
    }
}

/// Writes the bounded query of a plan for one participant. Tables are found under their contract
/// names: a node registers there what it keeps by that very name, of members who consented to joint analytics,
/// the one purpose that it serves, and no rows past retention.
pub fn member_sql(plan: &DpPlan, participant: ParticipantId) -> MemberSql {
    let mut text = String::new();
    let writer = Writer { tables: plan.contract_tables(), participant };
    // Writing to a string cannot fail.
    let _ = writer.question(&mut text, plan);
    MemberSql { text, aggregates: plan.added().len(), private: plan.private().is_some() }
}

struct Writer<'a> {
    tables: &'a [Table],
    participant: ParticipantId,
}

impl Writer<'_> {
    fn question(&self, w: &mut String, plan: &DpPlan) -> fmt::Result {
        let query = plan.query();
        write!(w, "SELECT member, cell")?;
        for (index, added) in plan.added().iter().enumerate() {
            match added {
                Added::Count => write!(w, ", COUNT(*) AS a{index}")?,
                Added::Sum(_) => write!(w, ", SUM(x{index}) AS a{index}")?,
            }
        }
        write!(w, " FROM (SELECT member, {} AS cell", cell_code(plan)?)?;
        for (index, added) in plan.added().iter().enumerate() {
            if let Added::Sum(expr) = added {
                write!(w, ", {} AS x{index}", scalar(expr, 0)?)?;
            }
        }
        let mut used = BTreeSet::new();
        query.columns(&mut |column| {
            used.insert(column);
        });
        write!(w, " FROM (")?;
        self.relation(w, &query.from, &used)?;
        write!(w, ") AS f")?;
        where_(w, query.filter.as_ref(), 0)?;
        write!(w, ") AS coded GROUP BY member, cell")
    }

    /// `member` and the used columns of a relation, as `c0`, `c1`, ...
    fn relation(&self, w: &mut String, from: &Relation, used: &BTreeSet<u16>) -> fmt::Result {
        if let [only] = from.sources.as_slice() {
            return self.source(w, only, 0, used);
        }
        write!(w, "SELECT s0.member AS member")?;
        for column in used {
            write!(w, ", c{column}")?;
        }
        write!(w, " FROM ")?;
        let mut offset = 0u16;
        for (index, source) in from.sources.iter().enumerate() {
            if index > 0 {
                write!(w, " JOIN ")?;
            }
            write!(w, "(")?;
            self.source(w, source, offset, used)?;
            write!(w, ") AS s{index}")?;
            if index > 0 {
                write!(w, " ON s{index}.member = s0.member")?;
            }
            offset = offset.saturating_add(source.width(self.tables));
        }
        Ok(())
    }

    fn source(
        &self,
        w: &mut String,
        source: &Source,
        offset: u16,
        used: &BTreeSet<u16>,
    ) -> fmt::Result {
        let width = source.width(self.tables);
        let own: BTreeSet<u16> = used
            .iter()
            .filter_map(|column| column.checked_sub(offset))
            .filter(|column| *column < width)
            .collect();
        match source {
            Source::Table { table, .. } => {
                let table = self.tables.get(usize::from(*table)).ok_or(fmt::Error)?;
                self.table(w, table, offset, &own)
            }
            Source::Members(query) => self.members(w, query, offset),
        }
    }

    fn table(
        &self,
        w: &mut String,
        table: &Table,
        offset: u16,
        used: &BTreeSet<u16>,
    ) -> fmt::Result {
        write!(w, "SELECT \"{}\" AS member", table.owner())?;
        for index in used {
            let name = index.saturating_add(offset);
            write!(w, ", {} AS c{name}", self.column(table, *index)?)?;
        }
        write!(w, " FROM \"{}\" WHERE ", table.name())?;
        self.row_filter(w, table, used)
    }

    /// A subquery: its expressions on rows; then the groups; then what it added up, moved into its
    /// public range, and which groups count.
    fn members(&self, w: &mut String, query: &MemberQuery, offset: u16) -> fmt::Result {
        let rows = self.member_rows(query)?;
        if !query.grouped {
            let name = |index: usize| usize::from(offset).saturating_add(index);
            write!(w, "SELECT member")?;
            for index in 0..query.columns.len() {
                write!(w, ", r{index} AS c{}", name(index))?;
            }
            return write!(w, " FROM ({rows}) AS r");
        }
        match &query.having {
            None => self.groups(w, query, offset, &rows),
            Some(having) => {
                write!(w, "SELECT * FROM (")?;
                self.groups(w, query, offset, &rows)?;
                write!(w, ") AS h")?;
                where_(w, Some(having), offset)
            }
        }
    }

    /// `member` and every expression of a subquery on a row, as `r0`, `r1`, ...
    fn member_rows(&self, query: &MemberQuery) -> Result<String, fmt::Error> {
        let mut w = String::new();
        write!(w, "SELECT member")?;
        for (index, computed) in query.columns.iter().enumerate() {
            if let Some(expr) = computed.expr() {
                write!(w, ", {} AS r{index}", scalar(expr, 0)?)?;
            }
        }
        let mut used = BTreeSet::new();
        query.columns_read(&mut |column| {
            used.insert(column);
        });
        write!(w, " FROM (")?;
        self.relation(&mut w, &query.from, &used)?;
        write!(w, ") AS f")?;
        where_(&mut w, query.filter.as_ref(), 0)?;
        Ok(w)
    }

    fn groups(&self, w: &mut String, query: &MemberQuery, offset: u16, rows: &str) -> fmt::Result {
        write!(w, "SELECT member")?;
        for (index, computed) in query.columns.iter().enumerate() {
            let name = usize::from(offset).saturating_add(index);
            // What is NULL for an empty group alone is said never to be NULL: engines differ in
            // what they conclude of a CASE over such a column.
            match (computed, self.range(query, index)) {
                (Computed::Count | Computed::Sum(_), Ok((least, greatest))) => write!(
                    w,
                    ", CASE WHEN g{index} > {greatest} THEN {greatest} WHEN g{index} < ({least}) \
                     THEN ({least}) ELSE COALESCE(g{index}, 0) END AS c{name}"
                )?,
                (Computed::Least(_) | Computed::Greatest(_), Ok(_)) => {
                    write!(w, ", COALESCE(g{index}, 0) AS c{name}")?;
                }
                _ => write!(w, ", g{index} AS c{name}")?,
            }
        }
        write!(w, " FROM (SELECT member")?;
        for (index, computed) in query.columns.iter().enumerate() {
            match computed {
                Computed::Row(_) => write!(w, ", r{index} AS g{index}")?,
                Computed::Count => write!(w, ", COUNT(*) AS g{index}")?,
                Computed::Distinct(_) => write!(w, ", COUNT(DISTINCT r{index}) AS g{index}")?,
                Computed::Sum(_) => write!(w, ", SUM(r{index}) AS g{index}")?,
                Computed::Least(_) => write!(w, ", MIN(r{index}) AS g{index}")?,
                Computed::Greatest(_) => write!(w, ", MAX(r{index}) AS g{index}")?,
            }
        }
        write!(w, " FROM ({rows}) AS r GROUP BY member")?;
        for (index, computed) in query.columns.iter().enumerate() {
            if !computed.aggregates() {
                write!(w, ", r{index}")?;
            }
        }
        write!(w, ") AS g")
    }

    fn range(&self, query: &MemberQuery, column: usize) -> Result<(i128, i128), fmt::Error> {
        let column = u16::try_from(column).map_err(|_| fmt::Error)?;
        match query.range(column, self.tables, &World::new()) {
            Range::Integers(least, greatest) => Ok((least, greatest)),
            Range::Days(..) => Err(fmt::Error),
        }
    }

    /// A column mapped to its declared domain: texts to indices, days as they are, numbers clamped.
    fn column(&self, table: &Table, index: u16) -> Result<String, fmt::Error> {
        let column = table.columns().get(usize::from(index)).ok_or(fmt::Error)?;
        let name = column.name();
        let mut w = String::new();
        match column.domain() {
            Domain::Text { values, .. } => {
                let mut branches = String::new();
                for (value, text) in (0u16..).zip(values) {
                    // A value its contract does not let this brand carry counts as OTHER.
                    if carriers(table, index, value).contains(&self.participant) {
                        let quoted = text.text().replace('\'', "''");
                        write!(branches, " WHEN '{quoted}' THEN {value}")?;
                    }
                }
                let other = values.len();
                // Literals alone: engines look such a CASE up. It needs a branch, which a brand that
                // carries no declared value does not have.
                match branches.as_str() {
                    "" => write!(w, "{other}")?,
                    branches => write!(w, "CASE \"{name}\"{branches} ELSE {other} END")?,
                }
            }
            Domain::Date { .. } => write!(w, "\"{name}\"")?,
            // as it is: what it may be is decided when lines are gathered
            Domain::Private { column, .. } => write!(w, "\"{column}\"")?,
            // a number that the contract does not let this brand tell
            Domain::Integer { .. } if !column.is_told_by(self.participant) => write!(w, "0")?,
            Domain::Integer { minimum, maximum, .. } => write!(
                w,
                "CASE WHEN \"{name}\" > {maximum} THEN {maximum} WHEN \"{name}\" < {minimum} THEN \
                 {minimum} ELSE COALESCE(\"{name}\", 0) END"
            )?,
        }
        Ok(w)
    }

    /// Which rows are read at all: those with an owner, inside the declared days, and not under
    /// `OTHER` where the contract says this brand has no such values.
    fn row_filter(&self, w: &mut String, table: &Table, used: &BTreeSet<u16>) -> fmt::Result {
        let owner = table.owner();
        // SQL would group all guests into one member. An owner that is an empty text is one member as well,
        // whom the collector leaves out: here owners may be numbers, which are quicker to group by.
        write!(w, "\"{owner}\" IS NOT NULL")?;
        for index in used {
            let column = table.columns().get(usize::from(*index)).ok_or(fmt::Error)?;
            let name = column.name();
            match column.domain() {
                Domain::Date { first, last } => {
                    write!(w, " AND \"{name}\" >= DATE '{first}' AND \"{name}\" <= DATE '{last}'")?;
                }
                Domain::Text { values, .. } => {
                    let other = u16::try_from(values.len()).map_err(|_| fmt::Error)?;
                    if !carriers(table, *index, other).contains(&self.participant) {
                        write!(w, " AND {} <> {other}", self.column(table, *index)?)?;
                    }
                }
                Domain::Integer { .. } | Domain::Private { .. } => {}
            }
        }
        Ok(())
    }
}

fn where_(w: &mut String, filter: Option<&Predicate>, offset: u16) -> fmt::Result {
    match filter {
        Some(filter) => write!(w, " WHERE {}", predicate(filter, offset)?),
        None => Ok(()),
    }
}

/// The code of a row's cell: the keys' indices as digits, the last key turning fastest; where
/// quantiles are asked for, the bin after them.
fn cell_code(plan: &DpPlan) -> Result<String, fmt::Error> {
    if let Some(private) = &plan.query().private {
        return scalar(&Expr::Column(private.column), 0);
    }
    let mut code = "0".to_owned();
    for key in &plan.query().keys {
        let radix = key.labels.len();
        let value = scalar(&key.expr, 0)?;
        code = match key.base {
            0 => format!("({code}) * {radix} + ({value})"),
            base => format!("({code}) * {radix} + ({value} - ({base}))"),
        };
    }
    for measure in &plan.query().measures {
        if let Measure::Histogram(bins) = measure {
            code = format!("({code}) * {} + ({})", bins.leaves(), bin(bins)?);
        }
    }
    Ok(format!("CAST({code} AS BIGINT)"))
}

/// The index of a row's bin. What is divided is a multiple of the divisor, so that engines which
/// divide into fractions give whole numbers too.
fn bin(bins: &Bins) -> Result<String, fmt::Error> {
    let span = i128::try_from(bins.leaves())
        .unwrap_or(i128::MAX)
        .saturating_mul(i128::from(bins.width))
        .saturating_sub(1);
    let greatest = i128::from(bins.least).saturating_add(span);
    let value = scalar(&bins.expr, 0)?;
    let (least, width) = (bins.least, bins.width);
    let above = format!("(LEAST(GREATEST({value}, ({least})), ({greatest})) - ({least}))");
    Ok(match width {
        1 => above,
        _ => format!("({above} - {above} % {width}) / {width}"),
    })
}

#[cfg(test)]
mod tests;
