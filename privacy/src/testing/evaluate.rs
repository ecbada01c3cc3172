//! A reference for the bounded query: a bound question evaluated row by row on whole numbers.
//!
//! Written against the meaning of a question, far from the SQL that is emitted for it: no text, no
//! engine, no clipping. Rows are as an engine holds them, with absent values and without owners.

use std::collections::{BTreeMap, BTreeSet};

use crate::civil::CivilDate;
use crate::contract::{Column, Domain, Table};
use crate::ids::ParticipantId;
use crate::plan::{Added, DpPlan};
use crate::sql::Measure;
use crate::sql::expr::{Expr, Operator, Predicate};
use crate::sql::relation::{Computed, MEMBER_ROWS_MAX, MemberQuery, Relation, Source};

/// A value as an engine holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Text(Option<String>),
    Day(Option<CivilDate>),
    Number(Option<i64>),
}

/// A row as an engine holds it, columns in the contract's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRow {
    pub(crate) member: Option<String>,
    pub(crate) values: Vec<Raw>,
}

/// Rows by the name of their table.
pub(crate) type Database = BTreeMap<String, Vec<RawRow>>;

/// What the bounded query returns, by member and cell code.
pub(crate) type Lines = BTreeMap<(String, i64), Vec<i64>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i128),
    Day(CivilDate),
}

impl Value {
    fn number(self) -> i128 {
        match self {
            Self::Number(number) => number,
            Self::Day(day) => panic!("{day} is no number"),
        }
    }

    fn day(self) -> CivilDate {
        match self {
            Self::Day(day) => day,
            Self::Number(number) => panic!("{number} is no day"),
        }
    }
}

#[derive(Clone, Debug)]
struct Row {
    member: String,
    values: Vec<Value>,
}

/// All lines of a plan's bounded query at one participant.
pub(crate) fn evaluate(plan: &DpPlan, participant: ParticipantId, database: &Database) -> Lines {
    let query = plan.query();
    let evaluator = Evaluator { tables: plan.contract_tables(), participant, database };
    let mut used = BTreeSet::new();
    query.columns(&mut |column| {
        used.insert(column);
    });
    let mut lines: BTreeMap<(String, i64), Vec<i128>> = BTreeMap::new();
    for row in evaluator.relation(&query.from, &used) {
        if !query.filter.as_ref().is_none_or(|filter| holds(filter, &row.values)) {
            continue;
        }
        let mut code = 0i128;
        for key in &query.keys {
            let digit = scalar(&key.expr, &row.values).number() - i128::from(key.base);
            assert!((0..key.labels.len() as i128).contains(&digit), "{digit} of {:?}", key.labels);
            code = code * key.labels.len() as i128 + digit;
        }
        for measure in &query.measures {
            if let Measure::Histogram(bins) = measure {
                let above = scalar(&bins.expr, &row.values).number() - i128::from(bins.least);
                let bin = above.div_euclid(i128::from(bins.width));
                code = code * bins.leaves() as i128 + bin.clamp(0, bins.leaves() as i128 - 1);
            }
        }
        let line = lines
            .entry((row.member.clone(), i64::try_from(code).unwrap()))
            .or_insert_with(|| vec![0; plan.added().len()]);
        for (sum, added) in line.iter_mut().zip(plan.added()) {
            *sum += match added {
                Added::Count => 1,
                Added::Sum(expr) => scalar(expr, &row.values).number(),
            };
        }
    }
    let narrow = |sums: Vec<i128>| sums.into_iter().map(|sum| i64::try_from(sum).unwrap());
    lines.into_iter().map(|(at, sums)| (at, narrow(sums).collect())).collect()
}

struct Evaluator<'a> {
    tables: &'a [Table],
    participant: ParticipantId,
    database: &'a Database,
}

impl Evaluator<'_> {
    fn relation(&self, relation: &Relation, used: &BTreeSet<u16>) -> Vec<Row> {
        let mut all: Option<Vec<Row>> = None;
        let mut offset = 0;
        for source in &relation.sources {
            let rows = match source {
                Source::Table { table, .. } => {
                    let table = &self.tables[usize::from(*table)];
                    let own = used.iter().filter_map(|column| column.checked_sub(offset));
                    let own = own.filter(|column| usize::from(*column) < table.columns().len());
                    self.table(table, &own.collect())
                }
                Source::Members(query) => self.members(query),
            };
            offset += source.width(self.tables);
            all = Some(match all {
                None => rows,
                Some(before) => before
                    .iter()
                    .flat_map(|left| {
                        let same = rows.iter().filter(|right| right.member == left.member);
                        same.map(|right| Row {
                            member: left.member.clone(),
                            values: [left.values.clone(), right.values.clone()].concat(),
                        })
                    })
                    .collect(),
            });
        }
        all.unwrap_or_default()
    }

    fn table(&self, table: &Table, used: &BTreeSet<u16>) -> Vec<Row> {
        let rows = self.database.get(table.name()).map_or(&[][..], Vec::as_slice);
        rows.iter()
            .filter_map(|raw| {
                let member = raw.member.clone().filter(|member| !member.is_empty())?;
                let values: Option<Vec<Value>> = (0u16..)
                    .zip(table.columns().iter().zip(&raw.values))
                    .map(|(index, (column, value))| {
                        if used.contains(&index) {
                            self.mapped(column, value)
                        } else {
                            Some(Value::Number(0))
                        }
                    })
                    .collect();
                Some(Row { member, values: values? })
            })
            .collect()
    }

    /// A value in its declared domain; `None` when the row is not read.
    fn mapped(&self, column: &Column, value: &Raw) -> Option<Value> {
        match (column.domain(), value) {
            (Domain::Text { values, other_carriers }, Raw::Text(text)) => {
                let declared = values.iter().position(|declared| {
                    Some(declared.text()) == text.as_deref()
                        && declared.carriers().contains(&self.participant)
                });
                match declared {
                    Some(index) => Some(Value::Number(index as i128)),
                    None if other_carriers.contains(&self.participant) => {
                        Some(Value::Number(values.len() as i128))
                    }
                    None => None,
                }
            }
            (Domain::Date { first, last }, Raw::Day(day)) => {
                day.filter(|day| first <= day && day <= last).map(Value::Day)
            }
            (Domain::Integer { minimum, maximum, .. }, Raw::Number(number)) => {
                let number = number.filter(|_| column.is_told_by(self.participant));
                let number = number.unwrap_or(0).clamp(*minimum, *maximum);
                Some(Value::Number(i128::from(number)))
            }
            // its text is looked at by those who ask for private groups
            (Domain::Private { .. }, Raw::Text(_)) => Some(Value::Number(0)),
            _ => panic!("a value of another type than its column"),
        }
    }

    fn members(&self, query: &MemberQuery) -> Vec<Row> {
        let mut used = BTreeSet::new();
        query.columns_read(&mut |column| {
            used.insert(column);
        });
        let mut rows = self.relation(&query.from, &used);
        rows.retain(|row| query.filter.as_ref().is_none_or(|filter| holds(filter, &row.values)));
        let of = |row: &Row| -> Vec<Value> {
            let values = query.columns.iter().map(|computed| match computed.expr() {
                Some(expr) => scalar(expr, &row.values),
                None => Value::Number(1),
            });
            values.collect()
        };
        let computed = rows.iter().map(|row| Row { member: row.member.clone(), values: of(row) });
        if !query.grouped {
            return computed.collect();
        }
        let mut groups: BTreeMap<(String, Vec<Value>), Vec<Vec<Value>>> = BTreeMap::new();
        for row in computed {
            let keys = query.columns.iter().zip(&row.values);
            let keys = keys.filter(|(computed, _)| !computed.aggregates()).map(|(_, value)| *value);
            groups.entry((row.member, keys.collect())).or_default().push(row.values);
        }
        let grouped = groups.into_iter().map(|((member, _), rows)| {
            let values = query.columns.iter().enumerate().map(|(index, computed)| {
                let all = || rows.iter().map(|row| row[index]);
                let most = i128::from(MEMBER_ROWS_MAX);
                match computed {
                    Computed::Row(_) => rows[0][index],
                    Computed::Count => Value::Number((rows.len() as i128).min(most)),
                    Computed::Distinct(_) => {
                        Value::Number(all().collect::<BTreeSet<Value>>().len() as i128)
                    }
                    Computed::Sum(_) => Value::Number(all().map(Value::number).sum()),
                    Computed::Least(_) => all().min().unwrap(),
                    Computed::Greatest(_) => all().max().unwrap(),
                }
            });
            Row { member, values: values.collect() }
        });
        grouped
            .filter(|row| query.having.as_ref().is_none_or(|having| holds(having, &row.values)))
            .collect()
    }
}

fn scalar(expr: &Expr, row: &[Value]) -> Value {
    Value::Number(match expr {
        Expr::Column(column) => return row[usize::from(*column)],
        Expr::Literal(value) => i128::from(*value),
        Expr::Case { branches, otherwise } => {
            let branch = branches.iter().find(|(condition, _)| holds(condition, row));
            return scalar(branch.map_or(otherwise, |(_, value)| value), row);
        }
        Expr::Arithmetic { op, left, right } => {
            let (left, right) = (scalar(left, row).number(), scalar(right, row).number());
            match op {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
            }
        }
        Expr::Extreme { greatest, of } => {
            let values = of.iter().map(|part| scalar(part, row).number());
            if *greatest { values.max().unwrap() } else { values.min().unwrap() }
        }
        Expr::Bucket { column, bucket, first, .. } => {
            let day = row[usize::from(*column)].day();
            let mut start = first.bucket_start(*bucket);
            let mut index = 0;
            while start.next_bucket_start(*bucket).is_some_and(|next| next <= day) {
                start = start.next_bucket_start(*bucket).unwrap();
                index += 1;
            }
            index
        }
        Expr::Extract { column, part } => part.of(row[usize::from(*column)].day()),
        Expr::Lookup { of, values, otherwise } => {
            let index = u16::try_from(scalar(of, row).number()).unwrap();
            i128::from(*values.get(&index).unwrap_or(otherwise))
        }
    })
}

fn holds(predicate: &Predicate, row: &[Value]) -> bool {
    match predicate {
        Predicate::And(parts) => parts.iter().all(|part| holds(part, row)),
        Predicate::Or(parts) => parts.iter().any(|part| holds(part, row)),
        Predicate::Not(inner) => !holds(inner, row),
        Predicate::Text { of, values } => {
            let index = scalar(of, row).number();
            values.iter().any(|value| i128::from(*value) == index)
        }
        Predicate::Date { column, comparison, day } => {
            comparison.holds(&row[usize::from(*column)].day(), day)
        }
        Predicate::Integer { left, comparison, right } => {
            comparison.holds(&scalar(left, row).number(), &scalar(right, row).number())
        }
    }
}
