//! A text of a client's, as one of the few things that this door does.
//!
//! Whatever names a table of the contract is a question, whose text the node plans; whatever names the
//! catalogue, or no table, is answered from the catalogue. Parameters become literals in the parsed
//! question, never in its text.

mod columns;
mod commands;
mod instead;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, Statement, TableFactor, Value,
    Visit as _, Visitor, visit_expressions_mut, visit_relations, visit_relations_mut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, Tokenizer};

pub use self::columns::output_name;
use self::columns::{answered_whole, wrapped_question};
use self::commands::{not_here, statement, syntax};
pub use self::instead::{ANSWER, Instead};
use super::errors::{INVALID_VALUE, Refused, TOO_COMPLEX, UNSUPPORTED};
use super::parameters;

/// Longest text of a client's, in bytes. A question has its own, shorter limit.
pub const TEXT_MAX: usize = 32 * 1024;
/// Deepest nesting.
const DEPTH_MAX: usize = 24;
/// Most statements of one text.
const STATEMENTS_MAX: usize = 32;
/// Most semicolons of one text.
const SEPARATORS_MAX: usize = 64;

/// The only schema that has tables.
pub const SCHEMA: &str = "public";
/// The only database.
pub const DATABASE: &str = "coalition";

/// One statement, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Nothing but white space.
    Empty,
    /// `SET`: a setting's name and value; none: as at the beginning.
    Set { name: String, value: Option<String>, local: bool },
    /// `SHOW`: a setting, or all.
    Show(Option<String>),
    /// `RESET`: a setting, or all.
    Reset(Option<String>),
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`, `ROLLBACK`, `ABORT`; with what it answers.
    End(&'static str),
    /// `SAVEPOINT` and its like; with what it answers.
    Savepoint(&'static str),
    /// `DISCARD ALL` and its like.
    Discard(&'static str),
    /// `DEALLOCATE`: a prepared statement, or all.
    Deallocate(Option<String>),
    /// Accepted, and does nothing; with what it answers.
    Nothing(&'static str),
    /// A SELECT.
    Ask(Box<Asked>),
}

/// A SELECT, and what to do with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its text.
    pub text: String,
    /// The same, parsed.
    pub query: Query,
    /// `EXPLAIN`: what it costs, rather than it.
    pub explain: Option<Explain>,
    /// How many parameters it has.
    pub parameters: usize,
}

/// How an explanation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explain {
    /// A line a row.
    Text,
    /// One JSON document.
    Json,
}

/// What a SELECT is.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A question to the clean room.
    Question(AskedQuestion),
    /// Of the catalogue.
    Catalogue(Box<Query>),
}

/// A question, and what is shown of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedQuestion {
    /// The text that the node plans.
    pub sql: String,
    /// Columns in the order in which they are shown; empty where that cannot be told from the text.
    pub shown: Vec<Shown>,
    /// How many group keys the question has.
    pub keys: usize,
    /// What is done with the rows of its answer, one after the other.
    pub arranged: Vec<Arranged>,
    /// What the text means where the node cannot plan it as a question.
    pub instead: Option<Box<Instead>>,
}

impl AskedQuestion {
    /// Whether no row is wanted, as tools do that look for columns: then nothing has to be asked.
    #[must_use]
    pub fn wants_no_row(&self) -> bool {
        self.arranged.iter().any(|arranged| arranged.limit == Some(0))
    }
}

/// Rows in an order, and a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arranged {
    /// By what they are ordered; empty: as they come.
    pub order: Vec<Ordered>,
    /// Most rows that are shown.
    pub limit: Option<u64>,
    /// Rows left out before.
    pub offset: u64,
}

/// One part of ORDER BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    /// The column.
    pub of: ShownOf,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether what has no value comes first.
    pub nulls_first: bool,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub of: ShownOf,
}

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownOf {
    /// A group key.
    Key {
        /// Its place among the keys of the question.
        place: usize,
        /// Its place among those but for `brand`.
        beside_brand: usize,
        /// Whether it is `brand`.
        is_brand: bool,
    },
    /// A noised value, counted from the first.
    Value(usize),
}

/// The statements of a text.
///
/// # Errors
/// When it is no SQL, or something that this door does not do.
pub fn parse(text: &str) -> Result<Vec<Parsed>, Refused> {
    if text.len() > TEXT_MAX {
        return Err(Refused::new(
            TOO_COMPLEX,
            format!("the text has {} bytes", text.len()),
            format!("write at most {TEXT_MAX}"),
        ));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(&error.to_string()))?;
    let separators = tokens.iter().filter(|token| token.token == Token::SemiColon).count();
    if separators > SEPARATORS_MAX {
        let hint = format!("send at most {STATEMENTS_MAX} statements at a time");
        return Err(Refused::new(TOO_COMPLEX, "too many semicolons in one text", hint));
    }
    let mut parsed = Vec::new();
    let mut begin = 0;
    let mut words: Vec<Token> = Vec::new();
    let mut one = |words: &mut Vec<Token>, piece: &str| -> Result<(), Refused> {
        let words = std::mem::take(words);
        if !words.is_empty() {
            if parsed.len() >= STATEMENTS_MAX {
                let hint = format!("send at most {STATEMENTS_MAX} at a time");
                return Err(Refused::new(TOO_COMPLEX, "too many statements in one text", hint));
            }
            parsed.push(statement(&words, piece)?);
        }
        Ok(())
    };
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let end = place(text, token.span.start);
                one(&mut words, text.get(begin..end).unwrap_or_default())?;
                begin = end.saturating_add(1);
            }
            Token::Whitespace(_) | Token::EOF => {}
            other => words.push(other),
        }
    }
    one(&mut words, text.get(begin..).unwrap_or_default())?;
    if parsed.is_empty() {
        parsed.push(Parsed::Empty);
    }
    Ok(parsed)
}

/// Where a line and a column of a text are, in bytes.
fn place(text: &str, at: Location) -> usize {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let mut starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let start = starts.nth(number(at.line)).unwrap_or(text.len());
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(number(at.column)).map_or(rest.len(), |(at, _)| at)
}

/// A text from one of its tokens on, white space not counted.
fn from_token(text: &str, token: usize) -> &str {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location();
    let mut tokens = tokens
        .unwrap_or_default()
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let at = tokens.nth(token).map_or(text.len(), |token| place(text, token.span.start));
    text.get(at..).unwrap_or_default()
}

fn asked(text: &str, explain: Option<Explain>) -> Result<Asked, Refused> {
    if privacy::sql::calls_nested(text) > privacy::sql::CALLS_MAX {
        let hint = format!("use at most {}", privacy::sql::CALLS_MAX);
        return Err(Refused::new(TOO_COMPLEX, "too many function calls inside one another", hint));
    }
    let mut statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(DEPTH_MAX)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| match error {
            ParserError::RecursionLimitExceeded => {
                Refused::new(TOO_COMPLEX, "too many nested levels", "write it with fewer")
            }
            ParserError::TokenizerError(why) | ParserError::ParserError(why) => syntax(&why),
        })?;
    let Some(Statement::Query(query)) = statements.pop().filter(|_| statements.is_empty()) else {
        return Err(not_here("this statement"));
    };
    if !query.locks.is_empty() || writes(&query) {
        return Err(not_here("a SELECT that writes or locks"));
    }
    let parameters = parameters::count(&query)?;
    Ok(Asked { text: text.trim().to_owned(), query: *query, explain, parameters })
}

/// Whether any part of it is more than reading.
fn writes(query: &Query) -> bool {
    struct Writes(bool);
    impl Visitor for Writes {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut bodies = vec![query.body.as_ref()];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::Select(select) => self.0 |= select.into.is_some(),
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                    SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {}
                    _ => self.0 = true,
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Writes(false);
    let _ = query.visit(&mut visitor);
    visitor.0
}

/// The parts of a name, folded as SQL folds them.
pub fn parts(name: &ObjectName) -> Vec<String> {
    let ident = |part: &ObjectNamePart| part.as_ident().map(folded).unwrap_or_default();
    name.0.iter().map(ident).collect()
}

/// A name as SQL folds it.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_lowercase(),
        Some(_) => ident.value.clone(),
    }
}

fn is_of_catalogue(parts: &[String], functions: bool) -> bool {
    match parts {
        [name] => name.starts_with("pg_") || functions,
        [.., schema, _] => schema == "pg_catalog" || schema == "information_schema",
        [] => true,
    }
}

impl Asked {
    /// What it is, with its parameters filled in as literals; without them they stand as they are.
    ///
    /// # Errors
    /// When it mixes the catalogue with the contract's tables, or wraps a question in what cannot be done
    /// to an answer.
    pub fn meaning(&self, values: Option<&[Value]>) -> Result<Meaning, Refused> {
        let mut query = self.query.clone();
        if let Some(values) = values {
            parameters::fill(&mut query, values);
        }
        let mut common = BTreeSet::new();
        collect_common(&query, &mut common);
        let (mut asks, mut looks_up) = (false, false);
        let functions = table_functions(&query);
        let _ = visit_relations(&query, |name| {
            let parts = parts(name);
            match parts.as_slice() {
                [name] if common.contains(name) => {}
                parts => {
                    let function = functions.contains(parts);
                    match is_of_catalogue(parts, function) {
                        true => looks_up = true,
                        false => asks = true,
                    }
                }
            }
            ControlFlow::<()>::Continue(())
        });
        match (asks, looks_up) {
            (true, true) => Err(Refused::new(
                UNSUPPORTED,
                "a question cannot be joined with the catalogue",
                "ask the two one after the other",
            )),
            (false, _) => Ok(Meaning::Catalogue(Box::new(query))),
            (true, false) => self.question(query, values.is_some_and(|values| !values.is_empty())),
        }
    }

    fn question(&self, mut query: Query, filled: bool) -> Result<Meaning, Refused> {
        let mut changed = unqualify(&mut query) || filled;
        changed |= parameters::plain_days(&mut query);
        if filled {
            let _ = visit_expressions_mut(&mut query, |expr| {
                parameters::settle(expr);
                ControlFlow::<()>::Continue(())
            });
            // a literal is read back as what it was, whatever is in it
            if asked(&query.to_string(), None).map_or(true, |again| again.query != query) {
                return Err(Refused::new(
                    INVALID_VALUE,
                    "a parameter cannot be written as a literal",
                    "write it without backslashes and doubled quotes",
                ));
            }
        }
        if let Some(question) = wrapped_question(&query)? {
            return Ok(Meaning::Question(question));
        }
        let as_written = (!changed).then_some(self.text.as_str());
        let mut question = answered_whole(query.clone(), as_written);
        question.instead = instead::of(query)?.map(Box::new);
        Ok(Meaning::Question(question))
    }
}

/// Names of all parts of WITH.
fn collect_common(query: &Query, names: &mut BTreeSet<String>) {
    struct Common<'a>(&'a mut BTreeSet<String>);
    impl Visitor for Common<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let parts = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(parts.map(|part| folded(&part.alias.name)));
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Common(names));
}

/// Names that are called as tables.
fn table_functions(query: &Query) -> BTreeSet<Vec<String>> {
    struct Functions(BTreeSet<Vec<String>>);
    impl Visitor for Functions {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: Some(_), .. } = factor {
                self.0.insert(parts(name));
            }
            ControlFlow::Continue(())
        }
    }
    let mut functions = Functions(BTreeSet::new());
    let _ = query.visit(&mut functions);
    functions.0
}

/// Takes schema and database off the names of tables, as tools write them; says whether there were any.
fn unqualify(query: &mut Query) -> bool {
    let mut changed = false;
    let _ = visit_relations_mut(query, |name| {
        let known = match parts(name).as_slice() {
            [schema, _] => schema == SCHEMA,
            [database, schema, _] => database == DATABASE && schema == SCHEMA,
            _ => false,
        };
        if known && let Some(last) = name.0.pop() {
            name.0 = vec![last];
            changed = true;
        }
        ControlFlow::<()>::Continue(())
    });
    let _ = visit_expressions_mut(query, |expr| {
        if let Expr::CompoundIdentifier(idents) = expr {
            let names: Vec<String> = idents.iter().map(folded).collect();
            let off = match names.as_slice() {
                [schema, _, _] if schema == SCHEMA => 1,
                [database, schema, _, _] if database == DATABASE && schema == SCHEMA => 2,
                _ => 0,
            };
            idents.drain(..off);
            changed |= off > 0;
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

#[cfg(test)]
mod tests;
