//! Expressions and conditions on one row, before noise.
//!
//! Everything here is a total function of one member's own row: no division, no cast, nothing that
//! can fail or look at another member. Values are whole numbers or days and never NULL; a text is
//! its index in a public list. [`Expr::range`] evaluates over intervals, which serves three ends:
//! proving that the engine cannot overflow, bounding what can be summed, and deciding from public
//! facts whether a row can pass a condition at all.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;

use crate::civil::{Bucket, CivilDate};

/// Largest magnitude of a value before noise: sums of two stay inside 64 bits.
pub(crate) const MAGNITUDE_MAX: i128 = 1 << 60;

/// An expression on one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub enum Expr {
    /// A column of the relation.
    #[n(0)]
    #[cbor(array)]
    Column(#[n(0)] u16),
    /// A whole number, or the index of a text.
    #[n(1)]
    #[cbor(array)]
    Literal(#[n(0)] i64),
    /// The first branch whose condition holds.
    #[n(2)]
    #[cbor(array)]
    Case {
        /// Condition and value.
        #[n(0)]
        branches: Vec<(Predicate, Expr)>,
        /// Value when none holds.
        #[n(1)]
        otherwise: Box<Expr>,
    },
    /// `left op right`
    #[n(3)]
    #[cbor(array)]
    Arithmetic {
        /// The operator.
        #[n(0)]
        op: Operator,
        /// Left operand.
        #[n(1)]
        left: Box<Expr>,
        /// Right operand.
        #[n(2)]
        right: Box<Expr>,
    },
    /// `least(..)` or `greatest(..)`
    #[n(4)]
    #[cbor(array)]
    Extreme {
        /// Whether the greatest.
        #[n(0)]
        greatest: bool,
        /// At least one.
        #[n(1)]
        of: Vec<Expr>,
    },
    /// How many calendar buckets a day column lies after the one that holds `first`.
    #[n(5)]
    #[cbor(array)]
    Bucket {
        /// A column of days.
        #[n(0)]
        column: u16,
        /// Kind of bucket.
        #[n(1)]
        bucket: Bucket,
        /// First and last day of the column.
        #[n(2)]
        first: CivilDate,
        /// Last day of the column.
        #[n(3)]
        last: CivilDate,
    },
    /// `extract(part from column)`
    #[n(6)]
    #[cbor(array)]
    Extract {
        /// A column of days.
        #[n(0)]
        column: u16,
        /// Which part.
        #[n(1)]
        part: Part,
    },
    /// A public table's column, found by the text that joins it.
    #[n(7)]
    #[cbor(array)]
    Lookup {
        /// Index of a text.
        #[n(0)]
        of: Box<Expr>,
        /// Value by index.
        #[n(1)]
        values: BTreeMap<u16, u16>,
        /// Value for every other index.
        #[n(2)]
        otherwise: u16,
    },
}

/// An operator on whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(index_only)]
pub enum Operator {
    /// `+`
    #[n(0)]
    Add,
    /// `-`
    #[n(1)]
    Subtract,
    /// `*`
    #[n(2)]
    Multiply,
}

/// A part of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(index_only)]
pub enum Part {
    /// 1 to 12
    #[n(0)]
    Month,
    /// 1 to 4
    #[n(1)]
    Quarter,
    /// The year.
    #[n(2)]
    Year,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
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

/// A condition on one row. It is never NULL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
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
    /// The text's index is one of these.
    #[n(3)]
    #[cbor(array)]
    Text {
        /// Index of a text.
        #[n(0)]
        of: Expr,
        /// Indices of values.
        #[n(1)]
        values: BTreeSet<u16>,
    },
    /// The day compares so.
    #[n(4)]
    #[cbor(array)]
    Date {
        /// A column of days.
        #[n(0)]
        column: u16,
        /// Comparison.
        #[n(1)]
        comparison: Comparison,
        /// The literal.
        #[n(2)]
        day: CivilDate,
    },
    /// The numbers compare so.
    #[n(5)]
    #[cbor(array)]
    Integer {
        /// Left operand.
        #[n(0)]
        left: Expr,
        /// Comparison.
        #[n(1)]
        comparison: Comparison,
        /// Right operand.
        #[n(2)]
        right: Expr,
    },
}

/// What is known of a value: it lies between these, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// First and last day.
    Days(CivilDate, CivilDate),
    /// Least and greatest number, or index of a text.
    Integers(i128, i128),
}

impl Range {
    pub(crate) fn only(value: i128) -> Self {
        Self::Integers(value, value)
    }

    /// Least and greatest number; days have none.
    pub(crate) fn integers(self) -> Option<(i128, i128)> {
        match self {
            Self::Integers(least, greatest) => Some((least, greatest)),
            Self::Days(..) => None,
        }
    }

    fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integers(a, b), Self::Integers(c, d)) => Self::Integers(a.min(c), b.max(d)),
            (Self::Days(a, b), Self::Days(c, d)) => Self::Days(a.min(c), b.max(d)),
            (first, _) => first,
        }
    }
}

/// Ranges of a relation's columns.
pub(crate) type Ranges<'a> = &'a dyn Fn(u16) -> Range;

/// How many steps each column of a relation takes.
pub(crate) type Weights<'a> = &'a dyn Fn(u16) -> u64;

impl Expr {
    /// Where the value lies when the columns lie in `columns`. Saturates far outside
    /// [`MAGNITUDE_MAX`].
    pub(crate) fn range(&self, columns: Ranges<'_>) -> Range {
        match self {
            Self::Column(column) => columns(*column),
            Self::Literal(value) => Range::only(i128::from(*value)),
            Self::Case { branches, otherwise } => {
                let mut range: Option<Range> = None;
                let mut join = |found: Range| {
                    range = Some(range.map_or(found, |range| range.union(found)));
                };
                for (condition, value) in branches {
                    match condition.decided(columns) {
                        Some(true) => {
                            join(value.range(columns));
                            return range.unwrap_or(Range::only(0));
                        }
                        Some(false) => {}
                        None => join(value.range(columns)),
                    }
                }
                join(otherwise.range(columns));
                range.unwrap_or(Range::only(0))
            }
            Self::Arithmetic { op, left, right } => {
                match (left.range(columns), right.range(columns)) {
                    (Range::Integers(a, b), Range::Integers(c, d)) => op.range((a, b), (c, d)),
                    (other, _) => other,
                }
            }
            Self::Extreme { greatest, of } => of
                .iter()
                .map(|part| part.range(columns))
                .reduce(|one, two| match (one, two) {
                    (Range::Integers(a, b), Range::Integers(c, d)) if *greatest => {
                        Range::Integers(a.max(c), b.max(d))
                    }
                    (Range::Integers(a, b), Range::Integers(c, d)) => {
                        Range::Integers(a.min(c), b.min(d))
                    }
                    (other, _) => other,
                })
                .unwrap_or(Range::only(0)),
            Self::Bucket { column, bucket, first, last } => match columns(*column) {
                Range::Days(from, to) => {
                    let index =
                        |day: CivilDate| i128::from(day.min(*last).buckets_since(*first, *bucket));
                    Range::Integers(index(from), index(to))
                }
                other @ Range::Integers(..) => other,
            },
            Self::Extract { column, part } => match columns(*column) {
                Range::Days(from, to) => part.range(from, to),
                other @ Range::Integers(..) => other,
            },
            Self::Lookup { of, values, otherwise } => {
                let Range::Integers(least, greatest) = of.range(columns) else {
                    return Range::only(i128::from(*otherwise));
                };
                let found = |index: i128| {
                    let index = u16::try_from(index).ok();
                    let value = index.and_then(|index| values.get(&index)).unwrap_or(otherwise);
                    Range::only(i128::from(*value))
                };
                let all = (least..=greatest).map(found);
                all.reduce(Range::union).unwrap_or(Range::only(i128::from(*otherwise)))
            }
        }
    }

    /// How many steps it takes to work out where the value lies, when a column takes so many: a column of a
    /// subquery is worked out anew wherever it is named.
    pub(crate) fn weight(&self, columns: Weights<'_>) -> u64 {
        let of = match self {
            Self::Column(column) => return columns(*column),
            Self::Literal(_) => 0,
            Self::Bucket { column, .. } | Self::Extract { column, .. } => columns(*column),
            Self::Case { branches, otherwise } => branches
                .iter()
                .map(|(condition, value)| {
                    condition.weight(columns).saturating_add(value.weight(columns))
                })
                .fold(otherwise.weight(columns), u64::saturating_add),
            Self::Arithmetic { left, right, .. } => {
                left.weight(columns).saturating_add(right.weight(columns))
            }
            Self::Extreme { of, .. } => {
                of.iter().map(|part| part.weight(columns)).fold(0, u64::saturating_add)
            }
            Self::Lookup { of, .. } => of.weight(columns),
        };
        of.saturating_add(1)
    }

    /// Calls `visit` with every column read.
    pub(crate) fn columns(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::Literal(_) => {}
            Self::Column(column) | Self::Bucket { column, .. } | Self::Extract { column, .. } => {
                visit(*column)
            }
            Self::Case { branches, otherwise } => {
                for (condition, value) in branches {
                    condition.columns(visit);
                    value.columns(visit);
                }
                otherwise.columns(visit);
            }
            Self::Arithmetic { left, right, .. } => {
                left.columns(visit);
                right.columns(visit);
            }
            Self::Extreme { of, .. } => of.iter().for_each(|part| part.columns(visit)),
            Self::Lookup { of, .. } => of.columns(visit),
        }
    }
}

impl Operator {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
        }
    }

    fn range(self, (a, b): (i128, i128), (c, d): (i128, i128)) -> Range {
        match self {
            Self::Add => Range::Integers(a.saturating_add(c), b.saturating_add(d)),
            Self::Subtract => Range::Integers(a.saturating_sub(d), b.saturating_sub(c)),
            Self::Multiply => {
                let corners = [(a, c), (a, d), (b, c), (b, d)].map(|(x, y)| x.saturating_mul(y));
                let least = corners.iter().copied().min().unwrap_or(0);
                Range::Integers(least, corners.iter().copied().max().unwrap_or(0))
            }
        }
    }
}

impl Part {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Month => "MONTH",
            Self::Quarter => "QUARTER",
            Self::Year => "YEAR",
        }
    }

    pub(crate) fn of(self, day: CivilDate) -> i128 {
        match self {
            Self::Month => i128::from(day.month()),
            Self::Quarter => i128::from(day.month().div_ceil(3)),
            Self::Year => i128::from(day.year()),
        }
    }

    fn range(self, from: CivilDate, to: CivilDate) -> Range {
        match self {
            Self::Year => Range::Integers(self.of(from), self.of(to)),
            Self::Month | Self::Quarter if from.year() == to.year() => {
                Range::Integers(self.of(from), self.of(to))
            }
            Self::Month => Range::Integers(1, 12),
            Self::Quarter => Range::Integers(1, 4),
        }
    }
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

    /// Whether it holds of all pairs, or of none, of one value in each range.
    fn decided<T: Ord>(self, (a, b): (T, T), (c, d): (T, T)) -> Option<bool> {
        let apart = b < c || d < a;
        let same = a == b && c == d && a == c;
        let (all, none) = match self {
            Self::Equal => (same, apart),
            Self::NotEqual => (apart, same),
            Self::Less => (b < c, a >= d),
            Self::LessOrEqual => (b <= c, a > d),
            Self::Greater => (a > d, b <= c),
            Self::GreaterOrEqual => (a >= d, b < c),
        };
        match (all, none) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// Whether `left op right`.
    pub(crate) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Predicate {
    /// How many steps it takes to decide, when a column takes so many.
    pub(crate) fn weight(&self, columns: Weights<'_>) -> u64 {
        let of = match self {
            Self::And(all) | Self::Or(all) => {
                all.iter().map(|part| part.weight(columns)).fold(0, u64::saturating_add)
            }
            Self::Not(inner) => inner.weight(columns),
            Self::Text { of, .. } => of.weight(columns),
            Self::Date { column, .. } => columns(*column),
            Self::Integer { left, right, .. } => {
                left.weight(columns).saturating_add(right.weight(columns))
            }
        };
        of.saturating_add(1)
    }

    /// Whether a row whose columns lie in these ranges passes: `Some` when that decides it.
    pub(crate) fn decided(&self, columns: Ranges<'_>) -> Option<bool> {
        match self {
            Self::And(all) => fold(all.iter().map(|part| part.decided(columns)), false),
            Self::Or(any) => fold(any.iter().map(|part| part.decided(columns)), true),
            Self::Not(inner) => inner.decided(columns).map(|truth| !truth),
            Self::Text { of, values } => {
                let (least, greatest) = of.range(columns).integers()?;
                // not index by index: a column may have many days
                let within = |value: &&u16| (least..=greatest).contains(&i128::from(**value));
                let found = i128::try_from(values.iter().filter(within).count()).ok()?;
                let all = greatest.saturating_sub(least).saturating_add(1);
                match found {
                    0 => Some(false),
                    found if found == all => Some(true),
                    _ => None,
                }
            }
            Self::Date { column, comparison, day } => match columns(*column) {
                Range::Days(first, last) => comparison.decided((first, last), (*day, *day)),
                Range::Integers(..) => None,
            },
            Self::Integer { left, comparison, right } => {
                let left = left.range(columns).integers()?;
                comparison.decided(left, right.range(columns).integers()?)
            }
        }
    }

    /// Calls `visit` with every column read.
    pub(crate) fn columns(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.columns(visit);
                }
            }
            Self::Not(inner) => inner.columns(visit),
            Self::Text { of, .. } => of.columns(visit),
            Self::Date { column, .. } => visit(*column),
            Self::Integer { left, right, .. } => {
                left.columns(visit);
                right.columns(visit);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    /// For every pair of small ranges: decided exactly when all pairs of values agree.
    #[test]
    fn what_public_facts_decide_holds_for_every_value() {
        for op in ALL {
            for (a, b) in (1..=4).flat_map(|a| (a..=4).map(move |b| (a, b))) {
                for (c, d) in (1..=4).flat_map(|c| (c..=4).map(move |d| (c, d))) {
                    let truths: BTreeSet<bool> =
                        (a..=b).flat_map(|x| (c..=d).map(move |y| op.holds(&x, &y))).collect();
                    let expected = (truths.len() == 1).then(|| truths.contains(&true));
                    assert_eq!(op.decided((a, b), (c, d)), expected, "{op:?} {a}..{b} {c}..{d}");
                }
            }
        }
    }

    /// For every small set of values and every range of indices.
    #[test]
    fn a_text_is_decided_where_all_its_values_agree() {
        for bits in 0u16..32 {
            let values: BTreeSet<u16> = (0..5).filter(|at| (bits >> at) & 1 == 1).collect();
            let text = Predicate::Text { of: Expr::Column(0), values: values.clone() };
            for (least, greatest) in (0..6u16).flat_map(|a| (a..6).map(move |b| (a, b))) {
                let truths: BTreeSet<bool> =
                    (least..=greatest).map(|index| values.contains(&index)).collect();
                let expected = (truths.len() == 1).then(|| truths.contains(&true));
                let range = |_: u16| Range::Integers(least.into(), greatest.into());
                assert_eq!(text.decided(&range), expected, "{values:?} {least}..{greatest}");
            }
        }
    }

    #[test]
    fn unknown_parts_do_not_hide_a_decision() {
        let text = |values: &[u16]| Predicate::Text {
            of: Expr::Column(0),
            values: values.iter().copied().collect(),
        };
        let open = Predicate::Integer {
            left: Expr::Column(1),
            comparison: Comparison::Less,
            right: Expr::Literal(3),
        };
        let world = |column| match column {
            0 => Range::only(2),
            _ => Range::Integers(0, 9),
        };
        let and = |parts| Predicate::And(parts);
        assert_eq!(and(vec![open.clone(), text(&[1])]).decided(&world), Some(false));
        assert_eq!(and(vec![open.clone(), text(&[2])]).decided(&world), None);
        assert_eq!(Predicate::Or(vec![open.clone(), text(&[2])]).decided(&world), Some(true));
        assert_eq!(Predicate::Not(Box::new(open)).decided(&world), None);
    }

    fn expression() -> impl Strategy<Value = Expr> {
        let leaf =
            prop_oneof![(0u16..3).prop_map(Expr::Column), (-20i64..20).prop_map(Expr::Literal),];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let op = prop_oneof![
                Just(Operator::Add),
                Just(Operator::Subtract),
                Just(Operator::Multiply)
            ];
            prop_oneof![
                (op, inner.clone(), inner.clone()).prop_map(|(op, left, right)| {
                    Expr::Arithmetic { op, left: Box::new(left), right: Box::new(right) }
                }),
                (any::<bool>(), prop::collection::vec(inner.clone(), 1..3))
                    .prop_map(|(greatest, of)| Expr::Extreme { greatest, of }),
                (0usize..6, inner.clone(), inner.clone(), inner.clone(), inner).prop_map(
                    |(op, a, b, then, otherwise)| Expr::Case {
                        branches: vec![(
                            Predicate::Integer { left: a, comparison: ALL[op], right: b },
                            then
                        )],
                        otherwise: Box::new(otherwise),
                    }
                ),
            ]
        })
    }

    proptest! {
        /// A value never leaves its range: a point's own range, through the same code, is inside.
        #[test]
        fn a_value_never_leaves_its_range(
            expr in expression(),
            ends in prop::collection::vec((-9i128..9, 0i128..6), 3),
            offsets in prop::collection::vec(0i128..6, 3),
        ) {
            let whole = |column: u16| {
                let (least, width) = ends[usize::from(column)];
                Range::Integers(least, least + width)
            };
            let point = |column: u16| {
                let (least, width) = ends[usize::from(column)];
                Range::only(least + offsets[usize::from(column)].min(width))
            };
            let (least, greatest) = expr.range(&whole).integers().unwrap();
            let (value, same) = expr.range(&point).integers().unwrap();
            prop_assert_eq!(value, same);
            prop_assert!((least..=greatest).contains(&value), "{} not in {}..{}", value, least, greatest);
        }
    }
}
