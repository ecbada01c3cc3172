//! Owned relations: rows of which each belongs to one member.
//!
//! Tables with an owner column, and what is made of them by filtering, by computing on a row, by
//! grouping *with the owner among the keys*, and by joining on the owner. Each of these maps the
//! rows of one member to rows of that member, so removing a member removes exactly its rows
//! whatever a question does with them. That is what makes the sensitivity of any question over an
//! owned relation a matter of one member's own rows.
//!
//! Everything public about a relation is computed here from the contract: the range of a column,
//! how many rows a member has, what a member's sums are bounded by.

use std::collections::BTreeMap;

use minicbor::Encode;

use super::expr::{Expr, Operator, Predicate, Range};
use crate::contract::{Domain, Table};
use crate::ids::ParticipantId;
use crate::units::GridBound;

/// A member's rows are counted, and added up, as if there were at most this many.
pub(crate) const MEMBER_ROWS_MAX: i64 = 1_000_000;

/// Sources joined on the owner. Their columns follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Relation {
    #[n(0)]
    pub(crate) sources: Vec<Source>,
}

/// One source of rows.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Source {
    /// A table of the contract.
    #[n(0)]
    #[cbor(array)]
    Table {
        /// Index in the contract.
        #[n(0)]
        table: u16,
        /// Number of this use of a table within the question.
        #[n(1)]
        instance: u16,
    },
    /// A subquery, computed member by member.
    #[n(1)]
    #[cbor(array)]
    Members(#[n(0)] Box<MemberQuery>),
}

/// A subquery that keeps the owner.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct MemberQuery {
    /// Where rows come from.
    #[n(0)]
    pub(crate) from: Relation,
    /// Which rows count.
    #[n(1)]
    pub(crate) filter: Option<Predicate>,
    /// Whether rows are grouped by the owner and every [`Computed::Row`].
    #[n(2)]
    pub(crate) grouped: bool,
    /// Its columns beside the owner.
    #[n(3)]
    pub(crate) columns: Vec<Computed>,
    /// Which of the resulting rows count.
    #[n(4)]
    pub(crate) having: Option<Predicate>,
}

/// A column of a subquery.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Computed {
    /// An expression on a row; a group key when the subquery groups.
    #[n(0)]
    #[cbor(array)]
    Row(#[n(0)] Expr),
    /// `count(*)` of the member's rows.
    #[n(1)]
    Count,
    /// `count(distinct expression)` of the member's rows.
    #[n(2)]
    #[cbor(array)]
    Distinct(#[n(0)] Expr),
    /// `sum(expression)`
    #[n(3)]
    #[cbor(array)]
    Sum(#[n(0)] Expr),
    /// `min(expression)`
    #[n(4)]
    #[cbor(array)]
    Least(#[n(0)] Expr),
    /// `max(expression)`
    #[n(5)]
    #[cbor(array)]
    Greatest(#[n(0)] Expr),
}

/// A base column: use of a table and index of the column in it.
pub(crate) type Base = (u16, u16);

/// What is publicly supposed of a base row: ranges of some of its columns.
pub(crate) type World = BTreeMap<Base, Range>;

/// How many rows a member has in a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// L2 bound over cells; where `certain`, also the most rows in all.
    pub(crate) most: u64,
    /// Whether the relation's construction allows no more.
    pub(crate) certain: bool,
}

/// What bounds a member's sums of an expression, in L2 over the cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SumBound {
    pub(crate) most: u128,
    pub(crate) certain: bool,
    /// `None` for a plain number.
    pub(crate) unit: Option<String>,
}

/// The tables of the contract.
pub(crate) type Tables<'c> = &'c [Table];

/// The tables of the contract with the bounds on a member's contribution that hold somewhere. Everything else that is
/// public of them (columns, ranges, values) is the same at every brand, and so are the cells of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundsAt<'c> {
    tables: Tables<'c>,
    brand: Option<ParticipantId>,
}

impl<'c> BoundsAt<'c> {
    /// At one brand: its own where it has some.
    pub(crate) const fn brand(tables: Tables<'c>, brand: ParticipantId) -> Self {
        Self { tables, brand: Some(brand) }
    }

    /// At brands that have none of their own.
    pub(crate) const fn others(tables: Tables<'c>) -> Self {
        Self { tables, brand: None }
    }

    fn rows_bound(self, table: u16) -> Option<GridBound> {
        let table = self.tables.get(usize::from(table))?;
        Some(self.brand.map_or_else(|| table.rows_bound(), |brand| table.rows_bound_at(brand)))
    }

    fn bound(self, table: u16, column: u16) -> Option<GridBound> {
        let column = self.tables.get(usize::from(table))?.columns().get(usize::from(column))?;
        self.brand.map_or_else(|| column.bound(), |brand| column.bound_at(brand))
    }
}

impl Relation {
    /// The source of a column and the column's index in it.
    fn locate(&self, column: u16, tables: Tables<'_>) -> Option<(usize, u16)> {
        let mut offset = 0u16;
        for (index, source) in self.sources.iter().enumerate() {
            let next = offset.checked_add(source.width(tables))?;
            if column < next {
                return Some((index, column.checked_sub(offset)?));
            }
            offset = next;
        }
        None
    }

    /// Number of columns.
    pub(crate) fn width(&self, tables: Tables<'_>) -> u16 {
        self.sources.iter().fold(0, |sum, source| sum.saturating_add(source.width(tables)))
    }

    /// Where a column's value lies in this world.
    pub(crate) fn column_range(&self, column: u16, tables: Tables<'_>, world: &World) -> Range {
        match self.locate(column, tables) {
            Some((source, local)) => self
                .sources
                .get(source)
                .map_or(Range::only(0), |source| source.range(local, tables, world)),
            None => Range::only(0),
        }
    }

    /// Where an expression's value lies in this world.
    pub(crate) fn range(&self, expr: &Expr, tables: Tables<'_>, world: &World) -> Range {
        expr.range(&|column| self.column_range(column, tables, world))
    }

    /// Whether a row of this world passes: `Some` when public facts decide it.
    pub(crate) fn passes(
        &self,
        filter: &Predicate,
        tables: Tables<'_>,
        world: &World,
    ) -> Option<bool> {
        filter.decided(&|column| self.column_range(column, tables, world))
    }

    /// Whether public facts leave it possible that base rows of this world get through.
    pub(crate) fn possible(&self, tables: Tables<'_>, world: &World) -> bool {
        self.sources.iter().all(|source| match source {
            Source::Table { .. } => true,
            Source::Members(query) => {
                let denies = |relation: &Relation, filter: &Option<Predicate>| {
                    let passes = |filter| relation.passes(filter, tables, world);
                    filter.as_ref().and_then(passes) == Some(false)
                };
                let having = query.having.as_ref().and_then(|having| {
                    having.decided(&|column| source.range(column, tables, world))
                });
                query.from.possible(tables, world)
                    && !denies(&query.from, &query.filter)
                    && having != Some(false)
            }
        })
    }

    /// How many steps it takes to work out where a value of each column lies.
    pub(crate) fn weights(&self, tables: Tables<'_>) -> Vec<u64> {
        let mut all = Vec::new();
        for source in &self.sources {
            match source {
                Source::Table { .. } => {
                    all.extend(core::iter::repeat_n(1, usize::from(source.width(tables))));
                }
                Source::Members(query) => all.extend(query.weights(tables)),
            }
        }
        all
    }

    /// How many steps [`Self::possible`] takes.
    pub(crate) fn work(&self, tables: Tables<'_>) -> u64 {
        self.sources.iter().fold(1, |sum, source| match source {
            Source::Table { .. } => sum,
            Source::Members(query) => {
                let of = |filter: &Option<Predicate>, weights: &[u64]| {
                    filter.as_ref().map_or(0, |it| it.weight(&|column| weight_in(weights, column)))
                };
                let filter = of(&query.filter, &query.from.weights(tables));
                let having = of(&query.having, &query.weights(tables));
                let inner = query.from.work(tables);
                sum.saturating_add(inner).saturating_add(filter).saturating_add(having)
            }
        })
    }

    /// How many rows a member has.
    pub(crate) fn rows(&self, bounds: BoundsAt<'_>) -> Rows {
        self.sources.iter().map(|source| source.rows(bounds)).fold(
            Rows { most: 1, certain: true },
            |all, one| Rows {
                most: all.most.saturating_mul(one.most),
                certain: all.certain && one.certain,
            },
        )
    }

    /// The most rows that a join makes of one member's, here or in a subquery, by the tables' declared
    /// bounds; 0 where nothing is joined.
    pub(crate) fn joined_rows(&self, bounds: BoundsAt<'_>) -> u64 {
        let own = if self.sources.len() > 1 { self.rows(bounds).most } else { 0 };
        self.sources.iter().fold(own, |most, source| match source {
            Source::Table { .. } => most,
            Source::Members(query) => most.max(query.from.joined_rows(bounds)),
        })
    }

    /// What bounds a member's sums of an expression; `None` when the contract lets nobody sum a
    /// column in it. The better of two: what it is made of, and its range for every row.
    pub(crate) fn sum_bound(&self, expr: &Expr, bounds: BoundsAt<'_>) -> Option<SumBound> {
        let tables = bounds.tables;
        let rows = self.rows(bounds);
        let (least, greatest) = self.range(expr, tables, &World::new()).integers()?;
        let largest = least.unsigned_abs().max(greatest.unsigned_abs());
        let unit = self.unit(expr, tables)?;
        let by_range = SumBound {
            most: largest.saturating_mul(u128::from(rows.most)),
            certain: rows.certain,
            unit: unit.clone(),
        };
        match self.composed(expr, bounds) {
            Some(most) if most < by_range.most => Some(SumBound { most, certain: false, unit }),
            _ => Some(by_range),
        }
    }

    /// The bound by what the expression is made of; `None` when that says nothing.
    fn composed(&self, expr: &Expr, bounds: BoundsAt<'_>) -> Option<u128> {
        let rows = u128::from(self.rows(bounds).most);
        match expr {
            Expr::Column(column) => {
                let (index, local) = self.locate(*column, bounds.tables)?;
                let own = self.sources.get(index)?.sum_bound(local, bounds)?;
                let others = self.sources.iter().enumerate().filter(|(at, _)| *at != index);
                Some(others.fold(own, |bound, (_, source)| {
                    bound.saturating_mul(u128::from(source.rows(bounds).most))
                }))
            }
            Expr::Literal(value) => Some(u128::from(value.unsigned_abs()).saturating_mul(rows)),
            Expr::Arithmetic { op: Operator::Multiply, left, right } => match (&**left, &**right) {
                (Expr::Literal(factor), other) | (other, Expr::Literal(factor)) => {
                    let factor = u128::from(factor.unsigned_abs());
                    Some(self.composed(other, bounds)?.saturating_mul(factor))
                }
                _ => None,
            },
            Expr::Arithmetic { left, right, .. } => {
                Some(self.composed(left, bounds)?.saturating_add(self.composed(right, bounds)?))
            }
            Expr::Case { branches, otherwise } => {
                let mut sum = 0u128;
                let mut largest_literal = 0u64;
                let values = branches.iter().map(|(_, value)| value).chain([&**otherwise]);
                for value in values {
                    match value {
                        Expr::Literal(value) => {
                            largest_literal = largest_literal.max(value.unsigned_abs());
                        }
                        other => sum = sum.saturating_add(self.composed(other, bounds)?),
                    }
                }
                Some(sum.saturating_add(u128::from(largest_literal).saturating_mul(rows)))
            }
            Expr::Extreme { .. }
            | Expr::Bucket { .. }
            | Expr::Extract { .. }
            | Expr::Lookup { .. } => None,
        }
    }

    /// The unit of an expression: outer `None` when it may not be summed.
    pub(crate) fn unit(&self, expr: &Expr, tables: Tables<'_>) -> Option<Option<String>> {
        let join = |one: Option<String>, two: Option<String>| match (one, two) {
            (Some(one), Some(two)) if one != two => Some("mixed".to_owned()),
            (one, two) => one.or(two),
        };
        match expr {
            Expr::Column(column) => {
                let (index, local) = self.locate(*column, tables)?;
                self.sources.get(index)?.unit(local, tables)
            }
            Expr::Literal(_) | Expr::Extract { .. } => Some(None),
            Expr::Bucket { .. } | Expr::Lookup { .. } => None,
            Expr::Arithmetic { left, right, .. } => {
                Some(join(self.unit(left, tables)?, self.unit(right, tables)?))
            }
            Expr::Extreme { of, .. } => {
                of.iter().try_fold(None, |unit, part| Some(join(unit, self.unit(part, tables)?)))
            }
            Expr::Case { branches, otherwise } => branches
                .iter()
                .map(|(_, value)| value)
                .chain([&**otherwise])
                .try_fold(None, |unit, part| Some(join(unit, self.unit(part, tables)?))),
        }
    }

    /// Calls `visit` with every base column that a column is computed from.
    pub(crate) fn bases_of(
        &self,
        column: u16,
        tables: Tables<'_>,
        visit: &mut dyn FnMut(u16, Base),
    ) {
        let Some((index, local)) = self.locate(column, tables) else { return };
        match self.sources.get(index) {
            Some(Source::Table { table, instance }) => visit(*table, (*instance, local)),
            Some(Source::Members(query)) => {
                if let Some(computed) = query.columns.get(usize::from(local)) {
                    computed.columns(&mut |column| query.from.bases_of(column, tables, visit));
                }
            }
            None => {}
        }
    }

    /// Calls `visit` with every base column that the subqueries read, used or not.
    pub(crate) fn inner_bases(&self, tables: Tables<'_>, visit: &mut dyn FnMut(u16, Base)) {
        for source in &self.sources {
            let Source::Members(query) = source else { continue };
            query.from.inner_bases(tables, visit);
            query.columns_read(&mut |column| query.from.bases_of(column, tables, visit));
        }
    }

    /// Calls `visit` with the index of every table, as often as it is used.
    pub(crate) fn tables_used(&self, visit: &mut dyn FnMut(u16)) {
        for source in &self.sources {
            match source {
                Source::Table { table, .. } => visit(*table),
                Source::Members(query) => query.from.tables_used(visit),
            }
        }
    }
}

impl Source {
    pub(crate) fn width(&self, tables: Tables<'_>) -> u16 {
        let width = match self {
            Self::Table { table, .. } => {
                tables.get(usize::from(*table)).map_or(0, |table| table.columns().len())
            }
            Self::Members(query) => query.columns.len(),
        };
        u16::try_from(width).unwrap_or(u16::MAX)
    }

    fn range(&self, column: u16, tables: Tables<'_>, world: &World) -> Range {
        match self {
            Self::Table { table, instance } => {
                world.get(&(*instance, column)).copied().unwrap_or_else(|| {
                    let table = tables.get(usize::from(*table));
                    table.map_or(Range::only(0), |table| table_range(table, column))
                })
            }
            Self::Members(query) => query.range(column, tables, world),
        }
    }

    pub(crate) fn rows(&self, bounds: BoundsAt<'_>) -> Rows {
        match self {
            Self::Table { table, .. } => Rows {
                most: bounds.rows_bound(*table).map_or(u64::MAX, GridBound::get),
                certain: false,
            },
            Self::Members(query) => query.rows(bounds),
        }
    }

    fn sum_bound(&self, column: u16, bounds: BoundsAt<'_>) -> Option<u128> {
        match self {
            Self::Table { table, .. } => {
                bounds.bound(*table, column).map(|bound| u128::from(bound.get()))
            }
            Self::Members(query) => match query.columns.get(usize::from(column))? {
                Computed::Row(expr) | Computed::Sum(expr) => {
                    query.from.sum_bound(expr, bounds).map(|bound| bound.most)
                }
                Computed::Count => Some(u128::from(query.from.rows(bounds).most)),
                Computed::Distinct(_) | Computed::Least(_) | Computed::Greatest(_) => None,
            },
        }
    }

    fn unit(&self, column: u16, tables: Tables<'_>) -> Option<Option<String>> {
        match self {
            Self::Table { table, .. } => {
                match tables.get(usize::from(*table))?.columns().get(usize::from(column))?.domain()
                {
                    Domain::Integer { unit, bound: Some(_), .. } => Some(Some(unit.clone())),
                    _ => None,
                }
            }
            Self::Members(query) => match query.columns.get(usize::from(column))? {
                Computed::Count => Some(Some("rows".to_owned())),
                Computed::Distinct(_) => Some(None),
                Computed::Row(expr)
                | Computed::Sum(expr)
                | Computed::Least(expr)
                | Computed::Greatest(expr) => query.from.unit(expr, tables),
            },
        }
    }
}

impl MemberQuery {
    /// Where a column's value lies in this world.
    pub(crate) fn range(&self, column: u16, tables: Tables<'_>, world: &World) -> Range {
        let of = |expr: &Expr| self.from.range(expr, tables, world);
        let rows = i128::from(MEMBER_ROWS_MAX);
        match self.columns.get(usize::from(column)) {
            Some(Computed::Row(expr)) => of(expr),
            Some(Computed::Least(expr) | Computed::Greatest(expr)) => {
                // of all the member's rows, not only of one in this world
                self.from.range(expr, tables, &World::new())
            }
            Some(Computed::Count) => Range::Integers(0, rows),
            Some(Computed::Distinct(expr)) => {
                let values = match self.from.range(expr, tables, &World::new()) {
                    Range::Integers(least, greatest) => {
                        greatest.saturating_sub(least).saturating_add(1)
                    }
                    Range::Days(..) => rows,
                };
                Range::Integers(0, values.min(rows))
            }
            Some(Computed::Sum(expr)) => {
                let most = i128::from(GridBound::MAX);
                match self.from.range(expr, tables, &World::new()) {
                    Range::Integers(least, greatest) => Range::Integers(
                        least.min(0).saturating_mul(rows).max(most.saturating_neg()),
                        greatest.max(0).saturating_mul(rows).min(most),
                    ),
                    Range::Days(..) => Range::only(0),
                }
            }
            None => Range::only(0),
        }
    }

    fn weights(&self, tables: Tables<'_>) -> Vec<u64> {
        let inner = self.from.weights(tables);
        let of = |computed: &Computed| {
            computed.expr().map_or(0, |expr| expr.weight(&|column| weight_in(&inner, column)))
        };
        self.columns.iter().map(|computed| of(computed).saturating_add(1)).collect()
    }

    fn rows(&self, bounds: BoundsAt<'_>) -> Rows {
        let inner = self.from.rows(bounds);
        if !self.grouped {
            return inner;
        }
        let keys = self.columns.iter().filter_map(|column| match column {
            Computed::Row(expr) => Some(expr),
            _ => None,
        });
        let groups = keys.fold(1u64, |groups, key| {
            let values = match self.from.range(key, bounds.tables, &World::new()) {
                Range::Integers(least, greatest) => greatest.saturating_sub(least),
                Range::Days(..) => i128::MAX,
            };
            let values = u64::try_from(values.saturating_add(1)).unwrap_or(u64::MAX);
            groups.saturating_mul(values)
        });
        if groups <= inner.most { Rows { most: groups, certain: true } } else { inner }
    }

    /// Calls `visit` with every column of `from` that is read.
    pub(crate) fn columns_read(&self, visit: &mut dyn FnMut(u16)) {
        if let Some(filter) = &self.filter {
            filter.columns(visit);
        }
        for computed in &self.columns {
            computed.columns(visit);
        }
    }
}

impl Computed {
    fn columns(&self, visit: &mut dyn FnMut(u16)) {
        if let Some(expr) = self.expr() {
            expr.columns(visit);
        }
    }

    /// What it is computed from.
    pub(crate) const fn expr(&self) -> Option<&Expr> {
        match self {
            Self::Count => None,
            Self::Row(expr)
            | Self::Distinct(expr)
            | Self::Sum(expr)
            | Self::Least(expr)
            | Self::Greatest(expr) => Some(expr),
        }
    }

    /// Whether an aggregate over the member's rows.
    pub(crate) const fn aggregates(&self) -> bool {
        !matches!(self, Self::Row(_))
    }
}

/// A column's weight among those of its relation.
pub(crate) fn weight_in(weights: &[u64], column: u16) -> u64 {
    weights.get(usize::from(column)).copied().unwrap_or(1)
}

fn table_range(table: &Table, column: u16) -> Range {
    match table.columns().get(usize::from(column)).map(|column| column.domain()) {
        Some(Domain::Text { values, .. }) => {
            Range::Integers(0, i128::try_from(values.len()).unwrap_or(0))
        }
        Some(Domain::Date { first, last }) => Range::Days(*first, *last),
        Some(Domain::Integer { minimum, maximum, .. }) => {
            Range::Integers(i128::from(*minimum), i128::from(*maximum))
        }
        // never compared nor computed with
        Some(Domain::Private { .. }) | None => Range::only(0),
    }
}
