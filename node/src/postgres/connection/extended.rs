//! The extended protocol: statements that are prepared, bound, described and executed.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{
    DescribePortalResponse, DescribeResponse as _, DescribeStatementResponse, FieldInfo, Response,
};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, Parse, ParseComplete,
};
use sqlparser::ast::Value;

use super::super::answer::fields;
use super::super::errors::{LIMIT, PROTOCOL, Refused, SYNTAX};
use super::super::parameters;
use super::super::statement::{self, AskedQuestion, Meaning, Parsed};
use super::{Connection, held};

/// Most prepared statements, and most portals, of a connection.
const NAMES_MAX: usize = 128;
/// A fetch of more rows than this is one of all: no answer has more.
const FETCH_MAX: i32 = 100_000;

/// Counts a name against the limit.
fn enter(names: &Mutex<BTreeSet<String>>, name: &str, what: &str) -> Result<(), Refused> {
    let mut names = held(names);
    if names.len() >= NAMES_MAX && !names.contains(name) {
        return Err(Refused::new(
            LIMIT,
            format!("this connection has {NAMES_MAX} {what} already"),
            "close some, or DEALLOCATE ALL",
        ));
    }
    names.insert(name.to_owned());
    Ok(())
}

/// The literals of a portal's parameters.
fn values_of(portal: &Portal<Arc<Parsed>>) -> Result<Vec<Value>, Refused> {
    let expected = match portal.statement.statement.as_ref() {
        Parsed::Ask(asked) => asked.parameters,
        _ => 0,
    };
    if portal.parameters.len() != expected {
        return Err(Refused::new(
            PROTOCOL,
            format!(
                "{} parameters were bound, the statement has {expected}",
                portal.parameters.len()
            ),
            "bind one for each of $1, $2 ..",
        ));
    }
    let types = &portal.statement.parameter_types;
    let literals = portal.parameters.iter().enumerate().map(|(place, bytes)| {
        let of = types.get(place).cloned().flatten().unwrap_or(Type::UNKNOWN);
        let binary = match &portal.parameter_format {
            Format::UnifiedText => false,
            Format::UnifiedBinary => true,
            Format::Individual(codes) => codes.get(place).copied().unwrap_or(0) == 1,
        };
        parameters::literal(bytes.as_deref(), &of, binary)
    });
    literals.collect()
}

/// Reads texts as statements, one each.
pub struct OneStatement;

#[async_trait]
impl QueryParser for OneStatement {
    type Statement = Arc<Parsed>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Arc<Parsed>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut parsed = statement::parse(sql)?;
        match (parsed.pop(), parsed.is_empty()) {
            (Some(Parsed::Empty) | None, true) => Ok(None),
            (Some(one), true) => Ok(Some(Arc::new(one))),
            _ => Err(Refused::new(
                SYNTAX,
                "cannot insert multiple commands into a prepared statement",
                "prepare one statement at a time",
            )
            .into()),
        }
    }

    fn get_parameter_types(&self, _: &Arc<Parsed>) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(
        &self,
        _: &Arc<Parsed>,
        _: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = Arc<Parsed>;
    type QueryParser = OneStatement;

    fn query_parser(&self) -> Arc<OneStatement> {
        Arc::new(OneStatement)
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        enter(&self.statements, &name, "prepared statements")?;
        match StoredStatement::parse(client, &message, OneStatement).await? {
            Some(stored) => client.portal_store().put_statement(Arc::new(stored)),
            None => client.portal_store().put_empty_statement(&name),
        }
        let parsed = ParseComplete::new();
        client.feed(PgWireBackendMessage::ParseComplete(parsed)).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        enter(&self.portals, portal, "portals")?;
        match client.portal_store().get_statement(statement) {
            Some(Entry::Value(stored)) => {
                let bound = Portal::try_new(&message, stored)?;
                values_of(&bound)?;
                client.portal_store().put_portal(Arc::new(bound));
            }
            Some(Entry::Empty) => client.portal_store().put_empty_portal(portal),
            None => return Err(PgWireError::StatementNotFound(statement.to_owned())),
        }
        let bound = BindComplete::new();
        client.feed(PgWireBackendMessage::BindComplete(bound)).await?;
        Ok(())
    }

    async fn on_execute<C>(&self, client: &mut C, mut message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // room is made for as many rows as are asked for
        if !(0..=FETCH_MAX).contains(&message.max_rows) {
            message.max_rows = 0;
        }
        self._on_execute(client, message).await
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            b'S' => {
                client.portal_store().rm_statement(name);
                held(&self.statements).remove(name);
            }
            _ => {
                client.portal_store().rm_portal(name);
                held(&self.portals).remove(name);
            }
        }
        let closed = CloseComplete::new();
        client.feed(PgWireBackendMessage::CloseComplete(closed)).await?;
        Ok(())
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        target: &StoredStatement<Arc<Parsed>>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let parsed = target.statement.as_ref();
        let count = match parsed {
            Parsed::Ask(asked) => asked.parameters,
            _ => 0,
        };
        let types: Vec<Type> = (0..count)
            .map(|place| target.parameter_types.get(place).cloned().flatten().unwrap_or(Type::TEXT))
            .collect();
        let columns = match parsed {
            // the engine wants values to plan with; a question's columns are told by its text alone, unless it may
            // be something else
            Parsed::Ask(asked)
                if matches!(
                    asked.meaning(None)?,
                    Meaning::Catalogue(_)
                        | Meaning::Question(AskedQuestion { instead: Some(_), .. })
                ) =>
            {
                let none = vec![Value::Null; count];
                self.columns(parsed, Some(&none)).await?
            }
            _ => self.columns(parsed, None).await?,
        };
        Ok(DescribeStatementResponse::new(types, fields(&columns, &Format::UnifiedText)))
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        target: &Portal<Arc<Parsed>>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let values = values_of(target)?;
        let columns = self.columns(&target.statement.statement, Some(&values)).await?;
        if columns.is_empty() {
            return Ok(DescribePortalResponse::no_data());
        }
        Ok(DescribePortalResponse::new(fields(&columns, &target.result_column_format)))
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Arc<Parsed>>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let values = values_of(portal)?;
        let parsed = Arc::clone(&portal.statement.statement);
        let status = client.transaction_status();
        let format = &portal.result_column_format;
        self.carry_out(client, &parsed, Some(&values), format, status).await
    }
}
