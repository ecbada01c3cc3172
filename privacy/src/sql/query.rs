//! A bound question: SQL after every name has been resolved against the contract.
//!
//! Rows before noise come from *owned relations*: tables with an owner column and what is made of
//! them member by member. A question is a few noised columns over one such relation, and what is
//! computed from the noised values afterwards. It is normalised: two texts that mean the same bind
//! to the same value and the same hash. Deliberately knows no rows.

use std::collections::BTreeSet;

use minicbor::Encode;

use super::expr::{Comparison, Expr, Predicate};
use super::relation::Relation;
use crate::contract::{Contract, Table};
use crate::hash;
use crate::ids::SqlHash;
use crate::units::GridBound;

/// A question over one owned relation.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct BoundQuery {
    /// Where rows come from.
    #[n(0)]
    pub(crate) from: Relation,
    /// Which rows count.
    #[n(1)]
    pub(crate) filter: Option<Predicate>,
    /// Group keys.
    #[n(2)]
    pub(crate) keys: Vec<Key>,
    /// What is noised, each once.
    #[n(3)]
    pub(crate) measures: Vec<Measure>,
    /// What is shown or decided on after noise.
    #[n(4)]
    pub(crate) outputs: Vec<Output>,
    /// HAVING, on noised values.
    #[n(5)]
    pub(crate) having: Option<Condition>,
    /// ORDER BY, on noised values.
    #[n(6)]
    pub(crate) order: Vec<Order>,
    /// LIMIT, after ORDER BY.
    #[n(7)]
    pub(crate) limit: Option<u32>,
    /// Whether every brand answers for itself: `brand` among the group keys.
    #[n(8)]
    pub(crate) by_brand: bool,
    /// The one group key, where its values are not public. `None` for none: then the encoding, and with it
    /// the hash, is that of a question without.
    #[n(9)]
    pub(crate) private: Option<PrivateKey>,
}

/// A group key whose values are not public. [`OutputOf::Key`] of 0 shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct PrivateKey {
    /// The column of the relation.
    #[n(0)]
    pub(crate) column: u16,
    /// The measure that counts members, by which groups are shown.
    #[n(1)]
    pub(crate) members: u16,
    /// In at most how many groups one member counts.
    #[n(2)]
    pub(crate) member_groups: u16,
    /// Public cap on the groups of one brand.
    #[n(3)]
    pub(crate) groups_at_most: u16,
}

/// A group key: an expression with a public list of values.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Key {
    /// The expression.
    #[n(0)]
    pub(crate) expr: Expr,
    /// The value of the first label.
    #[n(1)]
    pub(crate) base: i64,
    /// A label for each value from `base` on.
    #[n(2)]
    pub(crate) labels: Vec<String>,
}

/// An additive amount a member contributes to a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub enum Amount {
    /// `count(*)`
    #[n(0)]
    Rows,
    /// `count(distinct member)`: 1 where the member has a row.
    #[n(1)]
    Members,
    /// `sum(expression)`, refunds netted.
    #[n(2)]
    #[cbor(array)]
    Sum(#[n(0)] Expr),
    /// `sum_within(expression, C)`: the same where a member's sums are bounded by C, or by the contract if that is less.
    #[n(3)]
    #[cbor(array)]
    SumWithin(#[n(0)] Expr, #[n(1)] GridBound),
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Measure {
    /// One amount.
    #[n(0)]
    #[cbor(array)]
    One(#[n(0)] Amount),
    /// The share of rows for which a 0-or-1 expression is 1: yes and no as one vector.
    #[n(1)]
    #[cbor(array)]
    Rate(#[n(0)] Expr),
    /// `offset + numerator / denominator`, a member's two vectors scaled by one factor.
    #[n(2)]
    #[cbor(array)]
    Ratio {
        /// Numerator.
        #[n(0)]
        numerator: Amount,
        /// Denominator.
        #[n(1)]
        denominator: Amount,
        /// Added to the quotient.
        #[n(2)]
        offset: i64,
    },
    /// A dyadic histogram of an expression, of which quantiles are read.
    #[n(3)]
    #[cbor(array)]
    Histogram(#[n(0)] Bins),
}

/// Bins of equal width, as many as a power of two.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Bins {
    /// What is binned.
    #[n(0)]
    pub(crate) expr: Expr,
    /// Lower edge of the first bin.
    #[n(1)]
    pub(crate) least: i64,
    /// Width of a bin.
    #[n(2)]
    pub(crate) width: u64,
    /// There are 2^depth bins.
    #[n(3)]
    pub(crate) depth: u8,
    /// Unit of the expression.
    #[n(4)]
    pub(crate) unit: String,
}

impl Bins {
    /// How many bins there are.
    pub(crate) fn leaves(&self) -> usize {
        1usize.checked_shl(u32::from(self.depth)).unwrap_or(1)
    }
}

/// One column computed from noised values.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Output {
    /// Its name.
    #[n(0)]
    pub(crate) name: String,
    /// Whether it is in the SELECT list.
    #[n(1)]
    pub(crate) shown: bool,
    /// What it is.
    #[n(2)]
    pub(crate) of: OutputOf,
}

/// What an output shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub enum OutputOf {
    /// A group key.
    #[n(0)]
    #[cbor(array)]
    Key(#[n(0)] u16),
    /// A measure's value.
    #[n(1)]
    #[cbor(array)]
    Measure(#[n(0)] u16),
    /// A quantile of a histogram.
    #[n(2)]
    #[cbor(array)]
    Quantile {
        /// The histogram.
        #[n(0)]
        measure: u16,
        /// Which quantile, in thousandths.
        #[n(1)]
        permille: u16,
    },
}

/// A condition on noised values.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Condition {
    /// All hold.
    #[n(0)]
    #[cbor(array)]
    And(#[n(0)] Vec<Condition>),
    /// One holds.
    #[n(1)]
    #[cbor(array)]
    Or(#[n(0)] Vec<Condition>),
    /// Does not hold.
    #[n(2)]
    #[cbor(array)]
    Not(#[n(0)] Box<Condition>),
    /// An output compares so with a literal.
    #[n(3)]
    #[cbor(array)]
    Compare {
        /// Index into the outputs, never a key.
        #[n(0)]
        output: u16,
        /// Comparison.
        #[n(1)]
        comparison: Comparison,
        /// The literal, in millionths.
        #[n(2)]
        micros: i64,
    },
}

/// One part of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Order {
    /// Index into the outputs.
    #[n(0)]
    pub(crate) output: u16,
    /// Whether the greatest comes first.
    #[n(1)]
    pub(crate) descending: bool,
}

impl BoundQuery {
    /// How many group keys are shown.
    pub fn keys_shown(&self) -> usize {
        self.shown_keys().count()
    }

    /// The contract's tables that are read, each once.
    pub fn tables<'c>(&self, contract: &'c Contract) -> impl Iterator<Item = &'c Table> {
        let mut used = BTreeSet::new();
        self.from.tables_used(&mut |table| {
            used.insert(table);
        });
        used.into_iter().filter_map(move |table| contract.tables().get(usize::from(table)))
    }

    /// Whether every brand answers for itself: `brand` is among the group keys.
    pub const fn is_by_brand(&self) -> bool {
        self.by_brand
    }

    /// Hash of the normalised question.
    pub fn hash(&self) -> SqlHash {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        SqlHash(hash::tagged("coalition/privacy/question/v0", &[&bytes]))
    }

    /// Whether cells are chosen by their noised values, so that what is shown is a selection.
    pub fn selects(&self) -> bool {
        self.having.is_some() || self.limit.is_some()
    }

    /// The names of the shown group keys, in the order of the SELECT list.
    pub(crate) fn shown_keys(&self) -> impl Iterator<Item = (&str, usize)> {
        self.outputs.iter().filter(|output| output.shown).filter_map(|output| match output.of {
            OutputOf::Key(index) => Some((output.name.as_str(), usize::from(index))),
            _ => None,
        })
    }

    /// Every shown column that is no key, in the order of the SELECT list.
    pub(crate) fn shown_values(&self) -> impl Iterator<Item = &Output> {
        let shown = self.outputs.iter().filter(|output| output.shown);
        shown.filter(|output| !matches!(output.of, OutputOf::Key(_)))
    }

    /// Calls `visit` with every column of the relation that the question reads.
    pub(crate) fn columns(&self, visit: &mut dyn FnMut(u16)) {
        if let Some(filter) = &self.filter {
            filter.columns(visit);
        }
        for key in &self.keys {
            key.expr.columns(visit);
        }
        if let Some(private) = &self.private {
            visit(private.column);
        }
        for measure in &self.measures {
            measure.columns(visit);
        }
    }
}

impl Measure {
    fn columns(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::One(amount) => amount.columns(visit),
            Self::Rate(expr) => expr.columns(visit),
            Self::Ratio { numerator, denominator, .. } => {
                numerator.columns(visit);
                denominator.columns(visit);
            }
            Self::Histogram(bins) => bins.expr.columns(visit),
        }
    }
}

impl Amount {
    fn columns(&self, visit: &mut dyn FnMut(u16)) {
        match self {
            Self::Rows | Self::Members => {}
            Self::Sum(expr) | Self::SumWithin(expr, _) => expr.columns(visit),
        }
    }
}
