//! One connection after its TLS handshake: sign-in, then statements, each checked against what its user may
//! do now.

mod extended;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{Sink, SinkExt as _};
use pgwire::api::portal::Format;
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use sqlparser::ast::{Query, Value};
use tokio::time::Instant;

use super::Door;
use super::answer::{Column, Datum, Table};
use super::catalogue::{self, Asker};
use super::errors::{
    ABORTED, CANCELLED, INTERNAL, NO_COLUMN, NO_FUNCTION, NO_SETTING, Refused, UNSUPPORTED,
};
use super::question;
use super::settings::{SERVER_VERSION, Settings};
use super::sign_in::Stage;
use super::statement::{self, Asked, AskedQuestion, Instead, Meaning, Parsed};
use crate::auth::{AuthError, DatabaseUser, perm};
use crate::service::{ColumnView, Scope};

/// Who waits for an answer is told on multiples of this time.
const TICK: Duration = Duration::from_millis(250);
/// Longest wait for an answer: more than every step may take.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A connection's state.
pub struct Connection {
    pub(super) door: Arc<Door>,
    /// How long a message may be.
    pub(super) limit: Arc<AtomicUsize>,
    /// Hash of the certificate that the sign-in is bound to.
    pub(super) certificate_hash: Arc<[u8]>,
    pub(super) stage: Mutex<Stage>,
    user: Mutex<Option<DatabaseUser>>,
    settings: Mutex<Settings>,
    statements: Mutex<BTreeSet<String>>,
    portals: Mutex<BTreeSet<String>>,
}

/// What the text of a question means.
enum Meant {
    /// A question.
    Question(AskedQuestion),
    /// More of the answer to one: what is asked of it.
    Of(AskedQuestion, Query),
    /// What is asked of values that the contract declares.
    Values(Table, Query),
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // every change of it is whole before the lock is let go
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(super) fn new(
        door: Arc<Door>,
        limit: Arc<AtomicUsize>,
        certificate_hash: Arc<[u8]>,
    ) -> Self {
        Self {
            door,
            limit,
            certificate_hash,
            stage: Mutex::default(),
            user: Mutex::default(),
            settings: Mutex::default(),
            statements: Mutex::default(),
            portals: Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        held(&self.settings)
    }

    /// Somebody has signed in.
    pub(super) fn let_in(&self, user: DatabaseUser, limit: usize) {
        *held(&self.user) = Some(user);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The user, if the user may ask now.
    fn asker(&self) -> Result<String, Refused> {
        let user = held(&self.user).clone();
        let user =
            user.ok_or(AuthError::TokenMissing).map_err(|error| Refused::from(error).fatal())?;
        let session = self.door.auth.database_session(&user);
        let allowed = session.and_then(|session| session.authorize::<perm::RunQueries>());
        let allowed = allowed.map_err(|error| Refused::from(error).fatal())?;
        Ok(allowed.user().to_owned())
    }

    fn looker(&self, user: String) -> Asker {
        let version = format!(
            "PostgreSQL {SERVER_VERSION}: Coalition {}, the clean room of {}",
            env!("CARGO_PKG_VERSION"),
            self.door.node.brand()
        );
        Asker { user, version, settings: self.settings().clone() }
    }

    /// One statement; its parameters are literals by now.
    async fn carry_out<C>(
        &self,
        client: &mut C,
        parsed: &Parsed,
        values: Option<&[Value]>,
        format: &Format,
        status: TransactionStatus,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let user = self.asker()?;
        if status == TransactionStatus::Error && !matches!(parsed, Parsed::End(_) | Parsed::Empty) {
            return Err(Refused::new(
                ABORTED,
                "current transaction is aborted, commands ignored until end of transaction block",
                "ROLLBACK first; there are no savepoints to go back to",
            )
            .into());
        }
        let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
        match parsed {
            Parsed::Empty => Ok(Response::EmptyQuery),
            Parsed::Set { name, value, local } => {
                let mut settings = self.settings();
                match (*local, status) {
                    // as PostgreSQL: outside a transaction it has no effect
                    (true, TransactionStatus::Idle) => {}
                    (true, _) => settings.set_local(name, value.as_deref())?,
                    (false, _) => settings.set(name, value.as_deref())?,
                }
                done("SET")
            }
            Parsed::Reset(name) => {
                match name {
                    Some(name) => self.settings().set(name, None)?,
                    None => self.settings().reset(),
                }
                done("RESET")
            }
            Parsed::Show(name) => {
                Ok(Response::Query(self.shown(name.as_deref())?.response(format)?))
            }
            Parsed::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            Parsed::End(tag) => {
                self.settings().end_transaction();
                let tag = if status == TransactionStatus::Error { "ROLLBACK" } else { tag };
                Ok(Response::TransactionEnd(Tag::new(tag)))
            }
            Parsed::Savepoint(tag) | Parsed::Nothing(tag) => done(tag),
            Parsed::Discard(tag) => {
                self.settings().reset();
                self.forget(client, None);
                done(tag)
            }
            Parsed::Deallocate(name) => {
                self.forget(client, name.as_deref());
                done("DEALLOCATE")
            }
            Parsed::Ask(asked) => {
                let table = self.asked(client, asked, values, user).await?;
                Ok(Response::Query(table.response(format)?))
            }
        }
    }

    fn shown(&self, name: Option<&str>) -> Result<Table, Refused> {
        let settings = self.settings();
        let Some(name) = name else {
            let rows = Settings::names().map(|name| {
                let value = settings.show(name).unwrap_or_default();
                [name.to_owned(), value, String::new()].map(Datum::Text).to_vec()
            });
            let columns = ["name", "setting", "description"].map(Column::text).to_vec();
            return Ok(Table { columns, rows: rows.collect() });
        };
        let value = settings.show(name).ok_or_else(|| {
            let name: String = name.chars().take(63).collect();
            let words = format!("unrecognized configuration parameter \"{name}\"");
            Refused::new(NO_SETTING, words, "SHOW ALL lists them")
        })?;
        Ok(Table { columns: vec![Column::text(name)], rows: vec![vec![Datum::Text(value)]] })
    }

    /// Forgets prepared statements: one, or all.
    fn forget<C>(&self, client: &C, name: Option<&str>)
    where
        C: ClientPortalStore,
        C::PortalStore: PortalStore,
    {
        let mut known = held(&self.statements);
        match name {
            Some(name) => {
                client.portal_store().rm_statement(name);
                known.remove(name);
            }
            None => {
                known.iter().for_each(|name| client.portal_store().rm_statement(name));
                known.clear();
            }
        }
    }

    async fn asked<C>(
        &self,
        client: &mut C,
        asked: &Asked,
        values: Option<&[Value]>,
        user: String,
    ) -> PgWireResult<Table>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let node = &self.door.node;
        let metrics = &self.door.metrics;
        let told_by_the_contract = || {
            Refused::new(
                UNSUPPORTED,
                "only questions are explained: the catalogue costs nothing",
                "EXPLAIN SELECT .. FROM a table of the contract",
            )
        };
        let question = match (asked.meaning(values)?, asked.explain) {
            (Meaning::Catalogue(_), Some(_)) => return Err(told_by_the_contract().into()),
            (Meaning::Catalogue(query), None) => {
                metrics.count("postgres_statements", "kind", "catalogue");
                let datasets = self.datasets().await;
                return Ok(catalogue::answer(*query, &datasets, &self.looker(user)).await?);
            }
            (Meaning::Question(question), _) => self.meant(question, &user).await,
        };
        match (question, asked.explain) {
            (Meant::Values(..), Some(_)) => Err(told_by_the_contract().into()),
            (Meant::Values(values, query), None) => {
                metrics.count("postgres_statements", "kind", "catalogue");
                Ok(catalogue::answer_of(query, values, &self.looker(user)).await?)
            }
            (Meant::Question(asked) | Meant::Of(asked, _), Some(form)) => {
                metrics.count("postgres_statements", "kind", "explain");
                let question = question::question(&asked, &self.settings(), &user);
                let plan = node.plan(question).await.map_err(Refused::from)?;
                Ok(question::explained(&plan, form)?)
            }
            (Meant::Question(asked), None) => {
                metrics.count("postgres_statements", "kind", "question");
                self.answered(client, &asked, &user).await
            }
            (Meant::Of(asked, query), None) => {
                metrics.count("postgres_statements", "kind", "question");
                // what is asked of the answer is planned before anything is charged
                let columns = question::columns(&asked, &self.settings());
                let none = Table { columns, rows: Vec::new() };
                catalogue::describe_of(query.clone(), none, &self.looker(user.clone())).await?;
                let answer = self.answered(client, &asked, &user).await?;
                Ok(catalogue::answer_of(query, answer, &self.looker(user)).await?)
            }
        }
    }

    /// What a text means: a question about members where it can be planned as one, and else what tools write.
    async fn meant(&self, mut asked: AskedQuestion, user: &str) -> Meant {
        let Some(instead) = asked.instead.take() else { return Meant::Question(asked) };
        let datasets = self.datasets().await;
        let tables = || datasets.iter().flat_map(|dataset| &dataset.tables);
        if let Instead::Of { keys, .. } = instead.as_ref() {
            let of_member =
                |column: &ColumnView| column.kind == "member" && keys.contains(&column.name);
            // of members, one by one: there is no answer to a question in it
            if tables().any(|table| table.columns.iter().any(of_member)) {
                return Meant::Question(asked);
            }
        }
        let whole = question::question(&asked, &self.settings(), user);
        match self.door.node.plan(whole).await.map_err(Refused::from) {
            Err(refused) if [UNSUPPORTED, NO_COLUMN, NO_FUNCTION].contains(&refused.state) => {}
            _ => return Meant::Question(asked),
        }
        match *instead {
            Instead::Of { question, query, .. } => Meant::Of(question, query),
            Instead::Values { table, column, query } => {
                let named = tables().find(|known| known.name == table);
                let declared = named
                    .and_then(|known| known.columns.iter().find(|known| known.name == column))
                    .map(|column| self.values(column))
                    .filter(|table| !table.rows.is_empty());
                match declared {
                    Some(table) => Meant::Values(table, query),
                    None => Meant::Question(asked),
                }
            }
        }
    }

    /// The values that the contract declares for a column, of those who answer now.
    fn values(&self, column: &ColumnView) -> Table {
        let brand = self.door.node.brand().to_string();
        let scope = self.settings().scope;
        let values = column.values.iter().filter(|value| match scope {
            Some(Scope::Local) => value.carriers.contains(&brand),
            Some(Scope::Pack) => true,
            _ => value.joint,
        });
        let rows = values.map(|value| vec![Datum::Text(value.value.clone())]).collect();
        Table { columns: vec![Column::text(column.name.clone())], rows }
    }

    /// The contract's datasets; none where nothing was agreed on.
    async fn datasets(&self) -> Vec<crate::service::DatasetView> {
        self.door.node.datasets().await.unwrap_or_default()
    }

    /// Plans a question, takes its cost off the budget, asks it and waits for its answer; what was not charged is given
    /// back.
    async fn answered<C>(
        &self,
        client: &mut C,
        asked: &AskedQuestion,
        user: &str,
    ) -> PgWireResult<Table>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let node = &self.door.node;
        let settings = self.settings().clone();
        let mut question = question::question(asked, &settings, user);
        self.give_back_returned().await;
        let plan = node.plan(question.clone()).await.map_err(Refused::from)?;
        if asked.wants_no_row() {
            return Ok(Table { columns: question::columns(asked, &settings), rows: Vec::new() });
        }
        let cost = plan.cost_pico_rho;
        let spent = {
            // checked and taken at once; before it is asked, so that a client that goes away has spent it
            let mut settings = self.settings();
            question::confirmed(&plan, &settings)?;
            settings.spend(cost)
        };
        question.most_pico_rho = Some(cost);
        let began = Instant::now();
        let mut view = match node.query(question, plan.plan).await {
            Ok(view) => view,
            Err(error) => {
                self.settings().charged(spent, 0);
                return Err(Refused::from(error).into());
            }
        };
        let mut spent = Some(spent);
        if !view.newly_asked {
            // it is under way or answered: who asked it first has paid
            spent.take().into_iter().for_each(|spent| self.settings().charged(spent, 0));
        }
        let mut told = String::new();
        let mut tick = began;
        let patience = settings.statement_timeout().unwrap_or(WAIT_MAX).min(WAIT_MAX);
        loop {
            let outcome = question::outcome(&view, asked, &settings);
            if !matches!(outcome, Ok(None))
                && let Some(spent) = spent.take()
            {
                self.settings().charged(spent, view.charged_pico_rho);
                let joint = view.scope == "joint";
                if joint && view.step == "void" && view.charged_pico_rho > 0 {
                    self.settings().may_come_back(view.id.clone(), spent);
                }
            }
            if let Some(table) = outcome? {
                return Ok(table);
            }
            if view.step != told {
                told.clone_from(&view.step);
                self.notice(client, question::step_words(&told)).await?;
            }
            tick += TICK;
            if tick.duration_since(began) > patience {
                return Err(Refused::new(
                    CANCELLED,
                    "the answer has not come in time",
                    "the question goes on: ask it again later, and its answer is given at no further cost",
                )
                .into());
            }
            tokio::time::sleep_until(tick).await;
            view = node.query_by_id(view.id.clone()).await.map_err(Refused::from)?;
        }
    }

    /// Gives back what was taken for questions that came to nothing and whose cost was returned since.
    async fn give_back_returned(&self) {
        let unsettled = self.settings().unsettled();
        for (id, spent) in unsettled {
            let view = self.door.node.query_by_id(id.clone()).await;
            match view.map(|view| view.charged_pico_rho) {
                Ok(0) => self.settings().charged(spent, 0),
                _ => self.settings().may_come_back(id, spent),
            }
        }
    }

    async fn notice<C>(&self, client: &mut C, words: &str) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let level = self.settings().show("client_min_messages").unwrap_or_default();
        if ["warning", "error"].contains(&level.to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        let (severity, state) = ("NOTICE".to_owned(), "00000".to_owned());
        let info = ErrorInfo::new(severity, state, words.to_owned());
        client.send(PgWireBackendMessage::NoticeResponse(info.into())).await?;
        Ok(())
    }

    /// The columns of a statement's answer.
    async fn columns(
        &self,
        parsed: &Parsed,
        values: Option<&[Value]>,
    ) -> Result<Vec<Column>, Refused> {
        let user = self.asker()?;
        match parsed {
            Parsed::Show(Some(name)) => Ok(vec![Column::text(name.clone())]),
            Parsed::Show(None) => Ok(["name", "setting", "description"].map(Column::text).to_vec()),
            Parsed::Ask(asked) if asked.explain.is_some() => Ok(vec![Column::text("QUERY PLAN")]),
            Parsed::Ask(asked) => match asked.meaning(values)? {
                Meaning::Question(asked) => match self.meant(asked, &user).await {
                    Meant::Question(asked) => Ok(question::columns(&asked, &self.settings())),
                    Meant::Values(values, query) => {
                        catalogue::describe_of(query, values, &self.looker(user)).await
                    }
                    Meant::Of(asked, query) => {
                        let columns = question::columns(&asked, &self.settings());
                        let answer = Table { columns, rows: Vec::new() };
                        catalogue::describe_of(query, answer, &self.looker(user)).await
                    }
                },
                Meaning::Catalogue(query) => {
                    let datasets = self.datasets().await;
                    catalogue::describe(*query, &datasets, &self.looker(user)).await
                }
            },
            _ => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = statement::parse(query)?;
        let mut status = client.transaction_status();
        let mut responses = Vec::with_capacity(statements.len());
        for parsed in &statements {
            let format = Format::UnifiedText;
            match self.carry_out(client, parsed, Some(&[]), &format, status).await {
                Ok(response) => {
                    status = match &response {
                        Response::TransactionStart(_) => status.to_in_transaction_state(),
                        Response::TransactionEnd(_) => status.to_idle_state(),
                        _ => status,
                    };
                    responses.push(response);
                }
                // what came before it is sent, what comes after it is not done
                Err(error) if !responses.is_empty() && !error.is_fatal() => {
                    let info = match error {
                        PgWireError::UserError(info) => info,
                        other => Box::new(other.into()),
                    };
                    responses.push(Response::Error(info));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(responses)
    }
}

/// What this crate's own errors do not say: a hint where the library's message has none.
pub fn with_hint(error: PgWireError) -> PgWireError {
    match error {
        PgWireError::QueryCanceled => Refused::new(
            CANCELLED,
            "canceling statement due to user request",
            "a question that was asked goes on: asked again, its answer is given at no further cost",
        )
        .into(),
        PgWireError::UserError(info) => PgWireError::UserError(info),
        PgWireError::ApiError(_) => {
            Refused::new(INTERNAL, "the statement could not be answered", "look at the node's log").into()
        }
        other => other,
    }
}
