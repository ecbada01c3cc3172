//! A client's query of the catalogue as the engine takes it.
//!
//! PostgreSQL's catalogue queries use what the engine has not: casts to `regclass`, `OPERATOR(..)`, `= ANY`,
//! `ARRAY(SELECT ..)`, subqueries for each row. Most of the catalogue has no rows here; a part of a query
//! that can have none is taken out before the engine sees it, with whatever it would not have understood.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Value, ValueWithSpan,
    VisitMut as _, VisitorMut, visit_expressions,
};
use sqlparser::tokenizer::Span;

use super::super::errors::{NO_FUNCTION, Refused, TOO_COMPLEX, UNSUPPORTED};
use super::super::statement::{folded, output_name, parts};
use super::functions::REGCLASS;
use super::tables::Tables;

/// Most `||` of one query: each can double a text.
const CONCATENATIONS_MAX: usize = 16;

/// What a query may know of its connection.
pub struct Surroundings<'a> {
    pub tables: &'a Tables,
    /// Functions without arguments, and their values.
    pub constants: &'a dyn Fn(&str) -> Option<Value>,
    /// The connection's settings.
    pub setting: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a function may be called.
    pub is_allowed: &'a dyn Fn(&str) -> bool,
}

/// Rewrites a query; gives the names of its columns, as PostgreSQL has them, where they can be told.
///
/// # Errors
/// When it calls what may not be called, or grows too much.
pub fn rewrite(
    query: &mut Query,
    around: &Surroundings<'_>,
) -> Result<Option<Vec<String>>, Refused> {
    let names = names_of(&query.body);
    let mut visitor = Rewriter { around, refused: None, concatenations: 0 };
    // what is empty goes first, with all in it
    visitor.empty(query);
    let _ = query.visit(&mut visitor);
    if visitor.concatenations > CONCATENATIONS_MAX {
        visitor.refused = Some(Refused::new(
            TOO_COMPLEX,
            "too many texts are joined",
            format!("use || at most {CONCATENATIONS_MAX} times"),
        ));
    }
    if let Some(refused) = visitor.refused {
        return Err(refused);
    }
    name_columns(&mut query.body);
    Ok(names)
}

/// Gives each column without a name one of its own: the engine wants them to differ.
fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for (place, item) in select.projection.iter_mut().enumerate() {
                if let SelectItem::UnnamedExpr(expr) = item
                    && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                {
                    let (expr, alias) = (expr.clone(), Ident::new(format!("column_{place}")));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        SetExpr::SetOperation { left, .. } => name_columns(left),
        SetExpr::Query(query) => name_columns(&mut query.body),
        _ => {}
    }
}

fn names_of(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            })
            .collect(),
        SetExpr::SetOperation { left, .. } => names_of(left),
        SetExpr::Query(query) => names_of(&query.body),
        _ => None,
    }
}

fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

fn text(text: &str) -> Expr {
    literal(Value::SingleQuotedString(text.to_owned()))
}

fn name(of: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(of))])
}

fn call(function: &str, argument: Expr) -> Expr {
    Expr::Function(Function {
        name: name(function),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

struct Rewriter<'a> {
    around: &'a Surroundings<'a>,
    refused: Option<Refused>,
    concatenations: usize,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.empty(query);
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            let hint = "the catalogue has no trees: ask without RECURSIVE";
            self.refuse(Refused::new(UNSUPPORTED, "WITH RECURSIVE is not done here", hint));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            let name = parts(name).pop().unwrap_or_default();
            self.unknown(&name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.subqueries(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.expression(expr);
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn refuse(&mut self, refused: Refused) {
        self.refused.get_or_insert(refused);
    }

    fn unknown(&mut self, function: &str) {
        let name: String = function.chars().take(63).collect();
        self.refuse(Refused::new(
            NO_FUNCTION,
            format!("function {name} is not known here"),
            "the catalogue has what clients list schemas with; figures are asked from the contract's tables",
        ));
    }

    /// A query that can have no rows, as one that the engine sees at once has none.
    fn empty(&self, query: &mut Query) {
        if !self.has_no_rows(query) {
            return;
        }
        let Some(select) = first_select(&query.body) else { return };
        let projection = select.projection.iter().enumerate().map(|(place, item)| {
            let alias = match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
                SelectItem::UnnamedExpr(expr) => {
                    let name = output_name(expr);
                    match name.as_str() {
                        "?column?" | "case" => Ident::new(format!("column_{place}")),
                        _ => Ident::with_quote('"', name),
                    }
                }
                _ => Ident::new(format!("column_{place}")),
            };
            SelectItem::ExprWithAlias { expr: literal(Value::Null), alias }
        });
        let mut projection: Vec<SelectItem> = projection.collect();
        // names that are the same twice
        let mut seen = std::collections::BTreeSet::new();
        for (place, item) in projection.iter_mut().enumerate() {
            if let SelectItem::ExprWithAlias { alias, .. } = item
                && !seen.insert(folded(alias))
            {
                *alias = Ident::new(format!("column_{place}"));
            }
        }
        let mut bare = select.clone();
        bare.projection = projection;
        bare.distinct = None;
        bare.from = Vec::new();
        bare.selection = Some(literal(Value::Boolean(false)));
        bare.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        bare.having = None;
        *query.body = SetExpr::Select(Box::new(bare));
        query.with = None;
        query.order_by = None;
    }

    fn has_no_rows(&self, query: &Query) -> bool {
        self.body_has_no_rows(&query.body)
    }

    fn body_has_no_rows(&self, body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => self.select_has_no_rows(select),
            SetExpr::Query(query) => self.has_no_rows(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.body_has_no_rows(left) && self.body_has_no_rows(right)
            }
            _ => false,
        }
    }

    fn select_has_no_rows(&self, select: &Select) -> bool {
        // an aggregate of nothing is a row
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(by, _) => !by.is_empty(),
            GroupByExpr::All(_) => true,
        };
        let aggregates = select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                is_aggregate(expr)
            }
            _ => false,
        });
        if aggregates && !grouped {
            return false;
        }
        if matches!(&select.selection, Some(Expr::Value(value)) if value.value == Value::Boolean(false))
        {
            return true;
        }
        select.from.iter().any(|table| {
            let mut empty = self.factor_has_no_rows(&table.relation);
            for join in &table.joins {
                let right = self.factor_has_no_rows(&join.relation);
                empty = match &join.join_operator {
                    JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                        empty || right
                    }
                    JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
                    JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
                    _ => empty && right,
                };
            }
            empty
        })
    }

    fn factor_has_no_rows(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => match parts(name).as_slice() {
                [name] => self.around.tables.is_empty(None, name),
                [.., schema, name] => self.around.tables.is_empty(Some(schema), name),
                [] => false,
            },
            // arrays are in columns that are null here
            TableFactor::Table { name, args: Some(_), .. } => {
                parts(name).last().is_some_and(|name| name == "unnest")
            }
            TableFactor::UNNEST { .. } => true,
            TableFactor::Derived { subquery, .. } => self.has_no_rows(subquery),
            _ => false,
        }
    }

    /// Lists and subqueries in expressions, before what is in them is looked at: what is empty is its value,
    /// what is not gives one at most.
    fn subqueries(&self, expr: &mut Expr) {
        match expr {
            Expr::AnyOp { left, right, compare_op, .. } => {
                let (left, list) = ((**left).clone(), list_of(right));
                let negated = match compare_op {
                    BinaryOperator::Eq => false,
                    BinaryOperator::NotEq => true,
                    _ => return *expr = literal(Value::Boolean(false)),
                };
                *expr = match list {
                    Some(list) if !list.is_empty() => {
                        Expr::InList { expr: Box::new(left), list, negated }
                    }
                    _ => literal(Value::Boolean(negated)),
                };
            }
            Expr::AllOp { left, right, .. } => {
                let list = list_of(right).unwrap_or_default();
                *expr = match list.is_empty() {
                    true => literal(Value::Boolean(true)),
                    false => Expr::InList { expr: Box::new((**left).clone()), list, negated: true },
                };
            }
            Expr::Subquery(query) if self.has_no_rows(query) => *expr = literal(Value::Null),
            Expr::Subquery(query) => {
                // one row for each outer one, which the engine wants to see: the least of it
                if let SetExpr::Select(select) = query.body.as_mut()
                    && let [
                        SelectItem::UnnamedExpr(one) | SelectItem::ExprWithAlias { expr: one, .. },
                    ] = select.projection.as_mut_slice()
                    && !is_aggregate(one)
                {
                    *one = call("min", one.clone());
                    query.order_by = None;
                    query.limit_clause = None;
                }
            }
            Expr::Exists { subquery, negated } if self.has_no_rows(subquery) => {
                *expr = literal(Value::Boolean(*negated));
            }
            Expr::InSubquery { subquery, negated, .. } if self.has_no_rows(subquery) => {
                *expr = literal(Value::Boolean(*negated));
            }
            Expr::Function(function)
                if parts(&function.name).last().is_some_and(|name| name == "array") =>
            {
                if let FunctionArguments::Subquery(query) = &function.args {
                    *expr = match self.has_no_rows(query) {
                        true => text("{}"),
                        false => literal(Value::Null),
                    };
                }
            }
            _ => {}
        }
    }

    fn expression(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Collate { expr: inner, .. } => {
                *expr = std::mem::replace(inner, literal(Value::Null))
            }
            Expr::Value(value) => {
                if let Value::EscapedStringLiteral(known) = &value.value {
                    value.value = Value::SingleQuotedString(known.clone());
                }
            }
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(path) = op {
                    *op = match path.last().map(String::as_str) {
                        Some("~") => BinaryOperator::PGRegexMatch,
                        Some("!~") => BinaryOperator::PGRegexNotMatch,
                        Some("~*") => BinaryOperator::PGRegexIMatch,
                        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
                        Some("<>") => BinaryOperator::NotEq,
                        _ => BinaryOperator::Eq,
                    };
                }
                if matches!(op, BinaryOperator::StringConcat) {
                    self.concatenations += 1;
                }
            }
            Expr::Array(_) => *expr = literal(Value::Null),
            Expr::CompoundFieldAccess { .. } => *expr = literal(Value::Null),
            // the table's own name before the column is enough
            Expr::CompoundIdentifier(idents) if idents.len() > 2 => {
                let off = idents.len() - 2;
                idents.drain(..off);
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) = escape_char.take()
                    && let (Value::SingleQuotedString(escape), Some(known)) =
                        (&escape.value, constant(pattern))
                {
                    **pattern = text(&known.replace(escape.as_str(), "\\"));
                }
            }
            Expr::Cast { kind, expr: inner, data_type, .. } => {
                let of = type_path(data_type);
                let inner = std::mem::replace(&mut **inner, literal(Value::Null));
                *kind = CastKind::Cast;
                *expr = self.cast(inner, &of, data_type.clone());
            }
            Expr::Function(_) => self.function(expr),
            _ => {}
        }
    }

    fn cast(&self, inner: Expr, of: &str, data_type: DataType) -> Expr {
        let to = |expr, data_type| Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type,
            array: false,
            format: None,
        };
        if of.ends_with("[]") {
            return inner;
        }
        match of {
            "regclass" => match constant(&inner) {
                Some(named) => {
                    let named = named.rsplit('.').next().unwrap_or_default().trim_matches('"');
                    let oid = self.around.tables.classes.get(named).copied();
                    let oid = oid.or_else(|| named.parse().ok()).unwrap_or_default();
                    literal(Value::Number(oid.to_string(), false))
                }
                None => call(REGCLASS, inner),
            },
            "oid" | "xid" | "cid" | "int8" | "bigint" | "int4" | "int" | "integer" => {
                to(inner, DataType::BigInt(None))
            }
            "int2" | "smallint" => to(inner, DataType::BigInt(None)),
            "bool" | "boolean" => to(inner, DataType::Boolean),
            "float8" | "double precision" | "float4" | "real" | "numeric" => {
                to(inner, DataType::Double(sqlparser::ast::ExactNumberInfo::None))
            }
            "date" => to(inner, data_type),
            _ => to(inner, DataType::Text),
        }
    }

    fn function(&mut self, expr: &mut Expr) {
        let Expr::Function(function) = expr else { return };
        let path = parts(&function.name);
        let called = path.last().cloned().unwrap_or_default();
        let arguments: Vec<Expr> = match &function.args {
            FunctionArguments::List(list) => list
                .args
                .iter()
                .filter_map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        if called == "current_setting" {
            let setting = arguments.first().and_then(constant);
            let setting = setting.and_then(|name| (self.around.setting)(&name));
            *expr = setting.map_or_else(|| literal(Value::Null), |value| text(&value));
            return;
        }
        if let Some(value) = (self.around.constants)(&called).filter(|_| arguments.len() <= 1) {
            *expr = literal(value);
            return;
        }
        if !(self.around.is_allowed)(&called) {
            self.unknown(&called);
        }
        function.name = name(&called);
    }
}

fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 10] = [
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "bool_and",
        "bool_or",
        "array_agg",
        "string_agg",
        "every",
    ];
    visit_expressions(expr, |expr| match expr {
        Expr::Function(function)
            if function.over.is_none()
                && parts(&function.name)
                    .last()
                    .is_some_and(|name| AGGREGATES.contains(&name.as_str())) =>
        {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// The text of an expression that is one, however it is put together.
fn constant(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(text.clone())
            }
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        Expr::Cast { expr, .. } | Expr::Nested(expr) => constant(expr),
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
            Some(constant(left)? + &constant(right)?)
        }
        _ => None,
    }
}

/// The elements of an array that is written out.
fn list_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Nested(expr) | Expr::Cast { expr, .. } => list_of(expr),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(list) => {
                let inner = list.strip_prefix('{')?.strip_suffix('}')?;
                let parts = inner.split(',').filter(|part| !part.is_empty());
                Some(parts.map(|part| text(part.trim().trim_matches('"'))).collect())
            }
            _ => None,
        },
        Expr::Function(function)
            if parts(&function.name).last().is_some_and(|name| name == "current_schemas") =>
        {
            Some(["pg_catalog", "public"].map(text).to_vec())
        }
        _ => None,
    }
}

/// A type's name without its schema, in lower case.
fn type_path(data_type: &DataType) -> String {
    let written = data_type.to_string().to_ascii_lowercase();
    let plain = written.split('(').next().unwrap_or_default();
    plain.rsplit('.').next().unwrap_or_default().trim_matches('"').trim().to_owned()
}
