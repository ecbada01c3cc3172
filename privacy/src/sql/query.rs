//! A bound question: SQL after every name has been resolved against the contract.
//!
//! Knows columns by index, values by index in their declared domain, and how much of a predicate
//! can be decided from public facts. It is normalised: two texts that mean the same bind to the
//! same value and the same hash. Deliberately knows no rows.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;

use crate::civil::{Bucket, CivilDate};
use crate::contract::{Contract, Table};
use crate::hash;
use crate::ids::SqlHash;

/// A question over one table of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct BoundQuery {
    #[n(0)]
    pub(crate) table: u16,
    #[n(1)]
    pub(crate) keys: Vec<Key>,
    #[n(2)]
    pub(crate) aggregates: Vec<Aggregate>,
    #[n(3)]
    pub(crate) output: Vec<Output>,
    #[n(4)]
    pub(crate) filter: Option<Predicate>,
}

/// A group key.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Key {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) column: u16,
    /// `None` for a text column, grouped by its values.
    #[n(2)]
    pub(crate) bucket: Option<Bucket>,
}

/// An aggregate with its output name.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Aggregate {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) of: Measure,
}

/// What is counted or summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub enum Measure {
    /// `count(*)`
    #[n(0)]
    Rows,
    /// `count(distinct member)`
    #[n(1)]
    Members,
    /// `sum(column)`, refunds netted.
    #[n(2)]
    #[cbor(array)]
    Sum {
        /// Index of the column in the table.
        #[n(0)]
        column: u16,
    },
}

/// One output column, in the order of the SELECT list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub enum Output {
    /// Index into the keys.
    #[n(0)]
    #[cbor(array)]
    Key(#[n(0)] u16),
    /// Index into the aggregates.
    #[n(1)]
    #[cbor(array)]
    Aggregate(#[n(0)] u16),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(index_only)]
pub enum Comparison {
    /// `=`
    #[n(0)]
    Equal,
    /// `<>`
    #[n(1)]
    NotEqual,
    /// `<`
    #[n(2)]
    Less,
    /// `<=`
    #[n(3)]
    LessOrEqual,
    /// `>`
    #[n(4)]
    Greater,
    /// `>=`
    #[n(5)]
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// `a op b` as `b op a`.
    pub(crate) const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

/// A member-local condition on one row. It is never NULL: texts are mapped to their domain first,
/// days outside their range are not read, absent numbers are 0.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Predicate {
    /// All hold.
    #[n(0)]
    #[cbor(array)]
    And(#[n(0)] Vec<Predicate>),
    /// One holds.
    #[n(1)]
    #[cbor(array)]
    Or(#[n(0)] Vec<Predicate>),
    /// Does not hold.
    #[n(2)]
    #[cbor(array)]
    Not(#[n(0)] Box<Predicate>),
    /// The text's index in its domain (`OTHER` last) is one of these.
    #[n(3)]
    #[cbor(array)]
    Text {
        /// Column.
        #[n(0)]
        column: u16,
        /// Indices of values.
        #[n(1)]
        values: BTreeSet<u16>,
    },
    /// The day compares so.
    #[n(4)]
    #[cbor(array)]
    Date {
        /// Column.
        #[n(0)]
        column: u16,
        /// Comparison.
        #[n(1)]
        comparison: Comparison,
        /// The literal.
        #[n(2)]
        day: CivilDate,
    },
    /// The number compares so.
    #[n(5)]
    #[cbor(array)]
    Integer {
        /// Column.
        #[n(0)]
        column: u16,
        /// Comparison.
        #[n(1)]
        comparison: Comparison,
        /// The literal.
        #[n(2)]
        value: i64,
    },
}

/// What is publicly known of a row that would land in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Index of the text's value.
    Text(u16),
    /// First and last day.
    Days(CivilDate, CivilDate),
}

/// Facts by column.
pub(crate) type World = BTreeMap<u16, Fact>;

impl Predicate {
    /// Whether a row of this world could pass: `Some` when public facts decide it.
    pub(crate) fn decided(&self, world: &World) -> Option<bool> {
        match self {
            Self::And(all) => {
                let parts = all.iter().map(|part| part.decided(world));
                fold(parts, false)
            }
            Self::Or(any) => {
                let parts = any.iter().map(|part| part.decided(world));
                fold(parts, true)
            }
            Self::Not(inner) => inner.decided(world).map(|truth| !truth),
            Self::Text { column, values } => match world.get(column) {
                Some(Fact::Text(value)) => Some(values.contains(value)),
                _ => None,
            },
            Self::Date { column, comparison, day } => match world.get(column) {
                Some(Fact::Days(first, last)) => days_decide(*comparison, *first, *last, *day),
                _ => None,
            },
            Self::Integer { .. } => None,
        }
    }

    /// Calls `visit` with every column the predicate reads.
    pub(crate) fn columns(&self, visit: &mut impl FnMut(u16)) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.columns(visit);
                }
            }
            Self::Not(inner) => inner.columns(visit),
            Self::Text { column, .. }
            | Self::Date { column, .. }
            | Self::Integer { column, .. } => {
                visit(*column);
            }
        }
    }
}

/// Kleene's strong conjunction (`absorbing` false) or disjunction (`absorbing` true).
fn fold(parts: impl Iterator<Item = Option<bool>>, absorbing: bool) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match part {
            Some(truth) if truth == absorbing => return Some(absorbing),
            Some(_) => {}
            None => open = true,
        }
    }
    if open { None } else { Some(!absorbing) }
}

fn days_decide(op: Comparison, first: CivilDate, last: CivilDate, day: CivilDate) -> Option<bool> {
    let (all, none) = match op {
        Comparison::Equal => (first == day && last == day, day < first || day > last),
        Comparison::NotEqual => (day < first || day > last, first == day && last == day),
        Comparison::Less => (last < day, first >= day),
        Comparison::LessOrEqual => (last <= day, first > day),
        Comparison::Greater => (first > day, last <= day),
        Comparison::GreaterOrEqual => (first >= day, last < day),
    };
    match (all, none) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

impl BoundQuery {
    /// The table asked, of the contract the question was bound to.
    pub(crate) fn table<'c>(&self, contract: &'c Contract) -> Option<&'c Table> {
        contract.tables().get(usize::from(self.table))
    }

    /// Hash of the normalised question.
    pub fn hash(&self) -> SqlHash {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        SqlHash(hash::tagged("coalition/privacy/question/v0", &[&bytes]))
    }

    /// Every column read: keys, sums and filter.
    pub(crate) fn columns(&self) -> BTreeSet<u16> {
        let mut columns: BTreeSet<u16> = self.keys.iter().map(|key| key.column).collect();
        columns.extend(self.aggregates.iter().filter_map(|aggregate| match aggregate.of {
            Measure::Sum { column } => Some(column),
            Measure::Rows | Measure::Members => None,
        }));
        if let Some(filter) = &self.filter {
            filter.columns(&mut |column| {
                columns.insert(column);
            });
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_public_facts_decide_holds_for_every_day() {
        let day = |d: u8| CivilDate::new(2017, 3, d).unwrap();
        let ops = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ];
        let holds = |op, left: CivilDate, right: CivilDate| match op {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        };
        for op in ops {
            for (first, last) in (1..=6).flat_map(|a| (a..=6).map(move |b| (a, b))) {
                for literal in 1..=6 {
                    let truths: BTreeSet<bool> =
                        (first..=last).map(|d| holds(op, day(d), day(literal))).collect();
                    let expected = (truths.len() == 1).then(|| truths.contains(&true));
                    let decided = days_decide(op, day(first), day(last), day(literal));
                    assert_eq!(decided, expected, "{op:?} {first}..{last} {literal}");
                }
            }
        }
    }

    #[test]
    fn unknown_parts_do_not_hide_a_decision() {
        let text = |values: &[u16]| Predicate::Text {
            column: 0,
            values: values.iter().copied().collect(),
        };
        let open = Predicate::Integer { column: 1, comparison: Comparison::Less, value: 3 };
        let world = World::from([(0, Fact::Text(2))]);
        let and = |parts| Predicate::And(parts);
        assert_eq!(and(vec![open.clone(), text(&[1])]).decided(&world), Some(false));
        assert_eq!(and(vec![open.clone(), text(&[2])]).decided(&world), None);
        assert_eq!(Predicate::Or(vec![open.clone(), text(&[2])]).decided(&world), Some(true));
        assert_eq!(Predicate::Not(Box::new(open)).decided(&world), None);
    }
}
