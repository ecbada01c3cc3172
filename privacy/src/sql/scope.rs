//! FROM: which relation a question reads and what names mean in it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr as Sql, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Spanned,
    TableAlias, TableFactor, TableWithJoins,
};

use super::expr::{Expr, Predicate, Range};
use super::member::{Subquery, bind_subquery};
use super::refusal::{too_complex, unsupported};
use super::relation::{Relation, Source, World, weight_in};
use super::{COMPARISONS_MAX, RELATIONS_MAX, Refusal, RefusalCode};
use crate::civil::CivilDate;
use crate::contract::{Column, Contract, Domain, OTHER, PublicTable};

/// An expression with the kind of its values.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) kind: Kind,
}

/// Kinds of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Index into these texts.
    Text(Arc<[String]>),
    /// A day between these.
    Day(CivilDate, CivilDate),
    /// A whole number.
    Number,
    /// A text that is not public: in at most how many groups a member counts, and how many there are at
    /// most.
    Private { member_groups: u16, groups_at_most: u16 },
}

impl Kind {
    fn of(column: &Column) -> Self {
        match column.domain() {
            Domain::Text { values, .. } => {
                let texts = values.iter().map(|value| value.text().to_owned());
                Self::Text(texts.chain([OTHER.to_owned()]).collect())
            }
            Domain::Date { first, last } => Self::Day(*first, *last),
            Domain::Integer { .. } => Self::Number,
            Domain::Private { member_groups, groups_at_most, .. } => {
                Self::Private { member_groups: *member_groups, groups_at_most: *groups_at_most }
            }
        }
    }
}

/// What binding needs everywhere.
pub(crate) struct Binder<'c> {
    pub(crate) contract: &'c Contract,
    /// Comparisons that may still come.
    comparisons: Cell<usize>,
    /// Relations bound so far.
    relations: Cell<u16>,
}

impl<'c> Binder<'c> {
    pub(crate) const fn new(contract: &'c Contract) -> Self {
        Self { contract, comparisons: Cell::new(COMPARISONS_MAX), relations: Cell::new(0) }
    }

    /// Counts one comparison.
    pub(crate) fn compare(&self) -> Result<(), Refusal> {
        let left = self.comparisons.get().checked_sub(1);
        let left = left.ok_or_else(|| too_complex("comparisons", "比较条件", COMPARISONS_MAX))?;
        self.comparisons.set(left);
        Ok(())
    }

    fn relation(&self) -> Result<u16, Refusal> {
        let number = self.relations.get();
        if usize::from(number) >= RELATIONS_MAX {
            return Err(too_complex("tables and subqueries", "表与子查询", RELATIONS_MAX));
        }
        self.relations.set(number.saturating_add(1));
        Ok(number)
    }
}

/// The WITH parts that may be named, in their order.
pub(crate) type Named<'a> = [(String, &'a Query)];

/// What names mean where an expression stands.
pub(crate) trait Names {
    /// The binder.
    fn binder(&self) -> &Binder<'_>;
    /// What an expression means here, if it is a name or something the place gives a meaning to.
    fn resolve(&self, expr: &Sql) -> Option<Result<Typed, Refusal>>;
    /// Where a bound expression's value lies.
    fn range(&self, expr: &Expr) -> Range;
    /// How many steps it takes to work that out.
    fn weight(&self, expr: &Expr) -> u64;
}

struct Field {
    qualifier: String,
    name: String,
    typed: Typed,
}

/// A relation with its names.
pub(crate) struct Scope<'b, 'c> {
    binder: &'b Binder<'c>,
    pub(crate) relation: Relation,
    /// Conditions that inner joins with public tables put on rows.
    pub(crate) joined: Vec<Predicate>,
    fields: Vec<Field>,
    /// Qualifier and name of each source's owner column.
    owners: Vec<(String, String)>,
    /// Of the relation's columns.
    weights: Vec<u64>,
}

impl Names for Scope<'_, '_> {
    fn binder(&self) -> &Binder<'_> {
        self.binder
    }

    fn resolve(&self, expr: &Sql) -> Option<Result<Typed, Refusal>> {
        let parts = name_parts(expr);
        (!parts.is_empty()).then(|| self.column(parts).map_err(|refusal| refusal.at(expr.span())))
    }

    fn range(&self, expr: &Expr) -> Range {
        self.relation.range(expr, self.binder.contract.tables(), &World::new())
    }

    fn weight(&self, expr: &Expr) -> u64 {
        expr.weight(&|column| weight_in(&self.weights, column))
    }
}

impl<'b, 'c> Scope<'b, 'c> {
    /// Binds FROM.
    pub(crate) fn new(
        binder: &'b Binder<'c>,
        named: &Named<'_>,
        from: &[TableWithJoins],
    ) -> Result<Self, Refusal> {
        let [from] = from else {
            let hint = [
                "name one table and JOIN others ON their members",
                "请写一个表，并用 JOIN .. ON 会员列 连接其余表",
            ];
            return Err(unsupported("more or less than one table", " FROM 中的多表或无表", hint));
        };
        let mut scope = Self {
            binder,
            relation: Relation { sources: Vec::new() },
            joined: Vec::new(),
            fields: Vec::new(),
            owners: Vec::new(),
            weights: Vec::new(),
        };
        match scope.factor(named, &from.relation)? {
            Factor::Owned(owned) => scope.add(*owned)?,
            Factor::Public { .. } => {
                let hint = ["start from a table with members", "请从含会员的表开始查询"];
                return Err(unsupported("a public table alone", "单独查询公共表", hint)
                    .at(from.relation.span()));
            }
        }
        for join in &from.joins {
            scope.join(named, join).map_err(|refusal| refusal.at(join.span()))?;
        }
        Ok(scope)
    }

    fn join(&mut self, named: &Named<'_>, join: &sqlparser::ast::Join) -> Result<(), Refusal> {
        let (constraint, left) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (constraint, false),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                (constraint, true)
            }
            _ => {
                let hint = [
                    "use JOIN .. ON the members are equal; cross joins have no bound",
                    "请使用 JOIN .. ON 会员列相等；交叉连接无法限定贡献",
                ];
                return Err(unsupported("this kind of join", "该类连接", hint));
            }
        };
        match self.factor(named, &join.relation)? {
            Factor::Owned(_) if left => {
                let hint = [
                    "count with sum(case ..) in one subquery per member, and compare its columns",
                    "请在按会员分组的子查询中用 sum(case ..) 计数后再比较",
                ];
                Err(unsupported("a left join of members", "会员表的左连接", hint))
            }
            Factor::Owned(owned) => {
                self.same_member(constraint, &owned)?;
                self.add(*owned)
            }
            Factor::Public { table, qualifier } => {
                self.add_public(constraint, table, qualifier, left)
            }
        }
    }

    /// Refuses every join condition but "the members are equal".
    fn same_member(&self, constraint: &JoinConstraint, owned: &Owned) -> Result<(), Refusal> {
        let new = |parts: &[Ident]| match parts {
            [column] => {
                folded(column) == owned.owner && !self.is_owner(core::slice::from_ref(column))
            }
            [qualifier, column] => {
                folded(qualifier) == owned.qualifier && folded(column) == owned.owner
            }
            _ => false,
        };
        let joined = match constraint {
            JoinConstraint::On(Sql::BinaryOp { left, op: BinaryOperator::Eq, right }) => {
                let (left, right) = (name_parts(left), name_parts(right));
                (self.is_owner(left) && new(right)) || (new(left) && self.is_owner(right))
            }
            JoinConstraint::Using(names) => match names.as_slice() {
                [name] => {
                    let name = single_name(name).unwrap_or_default();
                    name == owned.owner && self.owners.iter().all(|(_, owner)| *owner == name)
                }
                _ => false,
            },
            _ => false,
        };
        if joined {
            return Ok(());
        }
        let hint = [
            "join ON a.member = b.member alone, and put other conditions into WHERE; devices, households and referrers link members and cannot be bounded",
            "仅可用 ON a.会员列 = b.会员列 连接，其余条件写入 WHERE；设备、家庭、推荐人会关联不同会员，无法限定贡献",
        ];
        Err(unsupported("a join on anything but the member", "非会员列的连接", hint))
    }

    fn add(&mut self, owned: Owned) -> Result<(), Refusal> {
        let Owned { source, qualifier, owner, columns } = owned;
        self.unused(&qualifier)?;
        let tables = self.binder.contract.tables();
        let offset = self.relation.width(tables);
        for (index, (name, kind)) in (0u16..).zip(columns) {
            let Some(name) = name else { continue };
            let column = offset.saturating_add(index);
            let typed = Typed { expr: Expr::Column(column), kind };
            self.fields.push(Field { qualifier: qualifier.clone(), name, typed });
        }
        self.relation.sources.push(source);
        self.weights = self.relation.weights(tables);
        self.owners.push((qualifier, owner));
        Ok(())
    }

    /// Joins a public table: its columns become look-ups by the text that joins it.
    fn add_public(
        &mut self,
        constraint: &JoinConstraint,
        table: &PublicTable,
        qualifier: String,
        left: bool,
    ) -> Result<(), Refusal> {
        self.unused(&qualifier)?;
        let hint =
            ["join ON the public table's key = a text column", "请用 ON 公共表主键 = 文本列 连接"];
        let wrong = || unsupported("this join of a public table", "该公共表连接", hint);
        let is_key = |parts: &[Ident]| match parts {
            [name, column] => folded(name) == qualifier && folded(column) == table.key(),
            _ => false,
        };
        let JoinConstraint::On(Sql::BinaryOp { left: one, op: BinaryOperator::Eq, right: two }) =
            constraint
        else {
            return Err(wrong());
        };
        let other = match (is_key(name_parts(one)), is_key(name_parts(two))) {
            (true, false) => two,
            (false, true) => one,
            _ => return Err(wrong()),
        };
        let of = self.resolve(other).ok_or_else(wrong)??;
        let Kind::Text(texts) = of.kind else { return Err(wrong()) };
        let row_of = |text: &String| table.rows().iter().find(|row| row.key() == text);
        let known: BTreeMap<u16, &crate::contract::PublicRow> = (0u16..)
            .zip(texts.iter())
            .filter_map(|(index, text)| Some((index, row_of(text)?)))
            .collect();
        for (column, name) in table.columns().iter().enumerate() {
            let labels = table.labels(column);
            let index_of = |text: &str| {
                let found = labels.iter().position(|label| label == text);
                found.and_then(|index| u16::try_from(index).ok())
            };
            let values = known
                .iter()
                .filter_map(|(index, row)| Some((*index, index_of(row.value(column)?)?)))
                .collect();
            let otherwise = index_of(OTHER).unwrap_or(0);
            let expr = Expr::Lookup { of: Box::new(of.expr.clone()), values, otherwise };
            let typed = Typed { expr, kind: Kind::Text(labels.into()) };
            self.fields.push(Field { qualifier: qualifier.clone(), name: name.clone(), typed });
        }
        if !left {
            let values = known.into_keys().collect();
            self.joined.push(Predicate::Text { of: of.expr, values });
        }
        Ok(())
    }

    fn unused(&self, qualifier: &str) -> Result<(), Refusal> {
        let taken = self.fields.iter().map(|field| &field.qualifier);
        let taken = taken.chain(self.owners.iter().map(|(name, _)| name));
        if taken.into_iter().all(|name| name != qualifier) {
            return Ok(());
        }
        let hint = ["give each an alias of its own", "请为每个表取不同的别名"];
        Err(unsupported("one name for two tables", "两个表同名", hint))
    }

    fn factor(&self, named: &Named<'_>, factor: &TableFactor) -> Result<Factor<'c>, Refusal> {
        let number = self.binder.relation()?;
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let wanted = single_name(name).unwrap_or_default();
                let qualifier = alias_name(alias.as_ref())?.unwrap_or_else(|| wanted.clone());
                self.named_table(named, &wanted, qualifier, number)
                    .map_err(|refusal| refusal.at(name.span()))
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let qualifier = alias_name(alias.as_ref())?.unwrap_or_default();
                self.subquery(named, subquery, qualifier)
            }
            _ => {
                let hint = [
                    "read tables of the contract and subqueries of them",
                    "请查询契约中的表或其子查询",
                ];
                Err(unsupported("anything but a plain table in FROM", " FROM 中的非普通表", hint)
                    .at(factor.span()))
            }
        }
    }

    fn named_table(
        &self,
        named: &Named<'_>,
        wanted: &str,
        qualifier: String,
        number: u16,
    ) -> Result<Factor<'c>, Refusal> {
        let contract = self.binder.contract;
        if let Some(at) = named.iter().position(|(name, _)| name == wanted) {
            let (earlier, rest) = named.split_at(at);
            if let Some((_, query)) = rest.first() {
                return self.subquery(earlier, query, qualifier);
            }
        }
        if let Some(table) = contract.public_tables().iter().find(|table| table.name() == wanted) {
            return Ok(Factor::Public { table, qualifier });
        }
        let found = contract.tables().iter().enumerate().find(|(_, t)| t.name() == wanted);
        let Some((index, table)) = found.and_then(|(i, t)| Some((u16::try_from(i).ok()?, t)))
        else {
            let names = contract.tables().iter().map(|table| table.name());
            let public = contract.public_tables().iter().map(PublicTable::name);
            let names: Vec<&str> = names.chain(public).collect();
            let names = names.join(", ");
            return Err(Refusal::new(
                RefusalCode::Unknown,
                [format!("there is no table {wanted:?}"), format!("没有表 {wanted:?}")],
                [format!("the tables are {names}"), format!("可用的表：{names}")],
            ));
        };
        let columns = table.columns().iter();
        let columns =
            columns.map(|column| (Some(column.name().to_owned()), Kind::of(column))).collect();
        Ok(Factor::Owned(Box::new(Owned {
            source: Source::Table { table: index, instance: number },
            qualifier,
            owner: table.owner().to_owned(),
            columns,
        })))
    }

    fn subquery(
        &self,
        named: &Named<'_>,
        query: &Query,
        qualifier: String,
    ) -> Result<Factor<'c>, Refusal> {
        let Subquery { query, owner, columns } = bind_subquery(self.binder, named, query)?;
        let source = Source::Members(Box::new(query));
        Ok(Factor::Owned(Box::new(Owned { source, qualifier, owner, columns })))
    }

    /// Whether this names an owner column.
    pub(crate) fn is_owner(&self, parts: &[Ident]) -> bool {
        match parts {
            [column] => self.owners.iter().any(|(_, owner)| *owner == folded(column)),
            [qualifier, column] => self.owners.iter().any(|(relation, owner)| {
                *relation == folded(qualifier) && *owner == folded(column)
            }),
            _ => false,
        }
    }

    /// The first source's owner column, as it can be named.
    pub(crate) fn owner(&self) -> &str {
        self.owners.first().map_or("member", |(_, owner)| owner)
    }

    /// The same with the name of its source, as it can be named where several have such a column.
    pub(crate) fn qualified_owner(&self) -> String {
        self.owners.first().map_or_else(
            || "member".to_owned(),
            |(qualifier, owner)| format!("{qualifier}.{owner}"),
        )
    }

    fn column(&self, parts: &[Ident]) -> Result<Typed, Refusal> {
        let (qualifier, name) = match parts {
            [column] => (None, folded(column)),
            [qualifier, column] => (Some(folded(qualifier)), folded(column)),
            _ => (Some(String::new()), String::new()),
        };
        let mut found = self.fields.iter().filter(|field| {
            field.name == name
                && qualifier.as_ref().is_none_or(|qualifier| field.qualifier == *qualifier)
        });
        match (found.next(), found.next()) {
            (Some(field), None) => Ok(field.typed.clone()),
            (Some(_), Some(_)) => Err(Refusal::new(
                RefusalCode::Unknown,
                [
                    format!("more than one table here has a column {name:?}"),
                    format!("有多个表包含列 {name:?}"),
                ],
                ["write table.column".to_owned(), "请写作 表.列".to_owned()],
            )),
            (None, _) if self.is_owner(parts) => Err(Refusal::new(
                RefusalCode::Unsupported,
                [
                    format!("{name:?} names members and may only be counted"),
                    format!("{name:?} 标识会员，只能用于计数"),
                ],
                [format!("use count(distinct {name})"), format!("请使用 count(distinct {name})")],
            )),
            (None, _) => {
                let names: Vec<&str> =
                    self.fields.iter().map(|field| field.name.as_str()).collect();
                let names = names.join(", ");
                Err(Refusal::new(
                    RefusalCode::Unknown,
                    [format!("there is no column {name:?} here"), format!("此处没有列 {name:?}")],
                    [format!("the columns are {names}"), format!("可用的列：{names}")],
                ))
            }
        }
    }
}

enum Factor<'c> {
    Owned(Box<Owned>),
    Public { table: &'c PublicTable, qualifier: String },
}

struct Owned {
    source: Source,
    qualifier: String,
    owner: String,
    columns: Vec<(Option<String>, Kind)>,
}

fn alias_name(alias: Option<&TableAlias>) -> Result<Option<String>, Refusal> {
    match alias {
        None => Ok(None),
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => {
            Ok(Some(folded(&alias.name)))
        }
        Some(alias) => {
            let hint = ["name columns inside the subquery", "请在子查询内为列命名"];
            Err(unsupported("renaming columns in FROM", " FROM 中的列重命名", hint)
                .at(alias.name.span))
        }
    }
}

/// The parts of a column name; empty when the expression is none.
pub(crate) fn name_parts(expr: &Sql) -> &[Ident] {
    match expr {
        Sql::Identifier(name) => core::slice::from_ref(name),
        Sql::CompoundIdentifier(parts) => parts,
        _ => &[],
    }
}

pub(crate) fn single_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(folded),
        _ => None,
    }
}

/// SQL folds unquoted identifiers to lower case.
pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}
