//! The catalogue: what `pg_catalog` and `information_schema` answer, by the columnar engine, from the
//! contract alone. By the same engine, what tools ask of an answer that was noised before.
//!
//! The engine of a query is made for it, holds nothing but the tables of [`tables`], may write no file, and
//! has a cap on memory, time and rows; of its functions only those are called that cannot make a long
//! answer of a short question.

mod functions;
mod given;
mod rewrite;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider as _};
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt as _;
use sqlparser::ast::{Query, Value};
use tokio::sync::Semaphore;

use self::rewrite::Surroundings;
use self::tables::Tables;
use super::answer::{Column, Datum, Kind, Table};
use super::errors::{INTERNAL, NO_COLUMN, NO_TABLE, Refused, TOO_COMPLEX, UNSUPPORTED};
use super::settings::Settings;
use super::statement::{ANSWER, DATABASE, SCHEMA};
use crate::service::DatasetView;

/// Longest time of one query; an engine that is not optimised takes several times as long.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 10 });
/// Most memory of one query.
const MEMORY_MAX: usize = 64 << 20;
/// Most rows of an answer.
const ROWS_MAX: usize = 10_000;
/// Queries at a time; more wait, within their time.
const AT_ONCE: usize = 2;

static PERMITS: Semaphore = Semaphore::const_new(AT_ONCE);

/// What a query may know of its connection.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The user.
    pub user: String,
    /// What `version()` says.
    pub version: String,
    /// The connection's settings.
    pub settings: Settings,
}

impl Asker {
    /// The value of a function without arguments.
    fn constant(&self, name: &str) -> Option<Value> {
        let text = |text: &str| Some(Value::SingleQuotedString(text.to_owned()));
        let whole = |number: i64| Some(Value::Number(number.to_string(), false));
        match name {
            "version" => text(&self.version),
            "current_schema" => text(SCHEMA),
            "current_database" | "current_catalog" => text(DATABASE),
            "current_user" | "session_user" | "user" | "current_role" => text(&self.user),
            "current_schemas" => text("{pg_catalog,public}"),
            "pg_backend_pid" | "inet_server_port" => whole(0),
            "pg_is_in_recovery" | "pg_is_wal_replay_paused" => Some(Value::Boolean(true)),
            "inet_server_addr" | "inet_client_addr" | "pg_postmaster_start_time" => {
                Some(Value::Null)
            }
            _ => None,
        }
    }
}

/// Answers a query.
///
/// # Errors
/// When it names what is not there, or takes too much.
pub async fn answer(
    query: Query,
    datasets: &[DatasetView],
    asker: &Asker,
) -> Result<Table, Refused> {
    carried_out(query, Read { datasets: datasets.to_vec(), given: None }, asker.clone()).await
}

/// Answers a query of one table, which stands in it as [`ANSWER`]: of what was noised,
/// or is no secret.
///
/// # Errors
/// As [`answer`].
pub async fn answer_of(query: Query, given: Table, asker: &Asker) -> Result<Table, Refused> {
    carried_out(query, Read { datasets: Vec::new(), given: Some(given) }, asker.clone()).await
}

/// What a query reads: the catalogue of some datasets, and perhaps a table beside it.
struct Read {
    datasets: Vec<DatasetView>,
    given: Option<Table>,
}

async fn carried_out(query: Query, of: Read, asker: Asker) -> Result<Table, Refused> {
    let engine = tokio::runtime::Handle::current();
    let work = async move {
        let permit = PERMITS.acquire().await.map_err(|_| internal())?;
        // the engine keeps a thread busy: not one that messages wait for. It has the permit as long as it is, or
        // what is given up would let more run beside it
        let work = move || {
            let _permit = permit;
            let rows = tokio::time::timeout(TIME_MAX, read_all(query, &of, &asker));
            engine.block_on(rows).map_err(|_| too_long())?
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| internal())?
    };
    tokio::time::timeout(TIME_MAX.saturating_mul(2), work).await.map_err(|_| too_long())?
}

fn too_long() -> Refused {
    let words = format!("the catalogue took longer than {} s", TIME_MAX.as_secs());
    Refused::new(super::errors::CANCELLED, words, "ask for less of it")
}

async fn read_all(query: Query, of: &Read, asker: &Asker) -> Result<Table, Refused> {
    let (frame, names) = planned(query, of, asker).await?;
    let columns: Vec<Column> = columns_of(&frame, names.as_ref());
    // an answer was paid for: as many rows as it has may be made of it
    let most = of.given.as_ref().map_or(ROWS_MAX, |given| given.rows.len().max(ROWS_MAX));
    let mut batches = frame.execute_stream().await.map_err(|error| refused(&error))?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| refused(&error))?;
        if rows.len() + batch.num_rows() > most {
            return Err(Refused::new(
                TOO_COMPLEX,
                format!("the answer has more than {most} rows"),
                "ask for fewer",
            ));
        }
        read(&batch, &columns, &mut rows)?;
    }
    Ok(Table { columns, rows })
}

/// The columns of a query's answer.
///
/// # Errors
/// As [`answer`].
pub async fn describe(
    query: Query,
    datasets: &[DatasetView],
    asker: &Asker,
) -> Result<Vec<Column>, Refused> {
    let of = Read { datasets: datasets.to_vec(), given: None };
    let (frame, names) = planned(query, &of, asker).await?;
    Ok(columns_of(&frame, names.as_ref()))
}

/// The columns of an answer of [`answer_of`], by those of the table that is given.
///
/// # Errors
/// As [`answer`].
pub async fn describe_of(
    query: Query,
    given: Table,
    asker: &Asker,
) -> Result<Vec<Column>, Refused> {
    let of = Read { datasets: Vec::new(), given: Some(given) };
    let (frame, names) = planned(query, &of, asker).await?;
    Ok(columns_of(&frame, names.as_ref()))
}

fn columns_of(frame: &DataFrame, names: Option<&Vec<String>>) -> Vec<Column> {
    let fields = frame.schema().fields().iter().enumerate();
    let column = |(place, field): (usize, &Arc<datafusion::arrow::datatypes::Field>)| Column {
        name: named(names, place, field.name()),
        kind: kind(field.data_type()),
    };
    fields.map(column).collect()
}

fn named(names: Option<&Vec<String>>, place: usize, known: &str) -> String {
    names.and_then(|names| names.get(place)).cloned().unwrap_or_else(|| known.to_owned())
}

async fn planned(
    mut query: Query,
    of: &Read,
    asker: &Asker,
) -> Result<(DataFrame, Option<Vec<String>>), Refused> {
    let (session, names) = prepared(&mut query, of, asker)?;
    let statement = sqlparser::ast::Statement::Query(Box::new(query));
    let statement = Statement::Statement(Box::new(statement));
    let plan = session.state().statement_to_plan(statement).await;
    let plan: LogicalPlan = plan.map_err(|error| refused(&error))?;
    let query_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    query_only.verify_plan(&plan).map_err(|error| refused(&error))?;
    let frame = session.execute_logical_plan(plan).await.map_err(|error| refused(&error))?;
    Ok((frame, names))
}

/// The engine for a query, which is rewritten for it; and what PostgreSQL calls its columns.
fn prepared(
    query: &mut Query,
    of: &Read,
    asker: &Asker,
) -> Result<(SessionContext, Option<Vec<String>>), Refused> {
    let settings: Vec<(&'static str, String)> =
        Settings::names().filter_map(|name| Some((name, asker.settings.show(name)?))).collect();
    let tables = Arc::new(Tables::new(&of.datasets, &asker.user, &settings));
    let functions = functions::all(&tables);
    let around = Surroundings {
        tables: &tables,
        constants: &|name| asker.constant(name),
        setting: &|name| asker.settings.show(name),
        is_allowed: &|name| functions::is_allowed(name, &functions),
    };
    let names = rewrite::rewrite(query, &around)?;
    let session = engine(&tables, &functions, of.given.as_ref()).map_err(|error| {
        tracing::error!("the catalogue cannot be made");
        refused(&error)
    })?;
    Ok((session, names))
}

fn engine(
    tables: &Tables,
    functions: &[ScalarUDF],
    given: Option<&Table>,
) -> Result<SessionContext, DataFusionError> {
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_MAX, 1.0)
        .with_disk_manager_builder(no_files)
        .build_arc()?;
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_default_catalog_and_schema(DATABASE, "pg_catalog");
    let session = SessionContext::new_with_config_rt(config, environment);
    let catalog = session
        .catalog(DATABASE)
        .ok_or_else(|| DataFusionError::Internal("no catalogue".to_owned()))?;
    for schema in ["pg_catalog", "information_schema"] {
        let of = MemorySchemaProvider::new();
        for table in tables.tables.iter().filter(|table| table.schema == schema) {
            let held = MemTable::try_new(Arc::clone(&table.columns), vec![vec![table.batch()?]])?;
            of.register_table(table.name.to_owned(), Arc::new(held))?;
        }
        if schema == "pg_catalog"
            && let Some(given) = given
        {
            let batch = given::batch(given)?;
            let held = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
            of.register_table(ANSWER.to_owned(), Arc::new(held))?;
        }
        catalog.register_schema(schema, Arc::new(of))?;
    }
    for function in functions {
        session.register_udf(function.clone());
    }
    Ok(session)
}

const fn kind(of: &DataType) -> Kind {
    match of {
        DataType::Boolean => Kind::Is,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => Kind::Whole,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Kind::Float,
        _ => Kind::Text,
    }
}

fn read(
    batch: &RecordBatch,
    columns: &[Column],
    rows: &mut Vec<Vec<Datum>>,
) -> Result<(), Refused> {
    let as_type = |array: &ArrayRef, to: DataType| cast(array, &to).map_err(|_| internal());
    let mut read: Vec<Vec<Datum>> = Vec::with_capacity(columns.len());
    for (array, column) in batch.columns().iter().zip(columns) {
        let place = 0..array.len();
        read.push(match column.kind {
            Kind::Is => {
                let array = as_type(array, DataType::Boolean)?;
                let array = array.as_boolean();
                place
                    .map(|row| datum(array.is_valid(row), || Datum::Is(array.value(row))))
                    .collect()
            }
            Kind::Whole => {
                let array = as_type(array, DataType::Int64)?;
                let array = array.as_primitive::<Int64Type>();
                place
                    .map(|row| datum(array.is_valid(row), || Datum::Whole(array.value(row))))
                    .collect()
            }
            Kind::Float => {
                let array = as_type(array, DataType::Float64)?;
                let array = array.as_primitive::<Float64Type>();
                place
                    .map(|row| datum(array.is_valid(row), || Datum::Float(array.value(row))))
                    .collect()
            }
            Kind::Text => {
                let array = as_type(array, DataType::Utf8)?;
                let array = array.as_string::<i32>();
                place
                    .map(|row| {
                        datum(array.is_valid(row), || Datum::Text(array.value(row).to_owned()))
                    })
                    .collect()
            }
        });
    }
    for row in 0..batch.num_rows() {
        rows.push(read.iter().map(|column| column.get(row).cloned().unwrap_or_default()).collect());
    }
    Ok(())
}

fn datum(valid: bool, of: impl FnOnce() -> Datum) -> Datum {
    if valid { of() } else { Datum::Null }
}

fn internal() -> Refused {
    Refused::new(INTERNAL, "the catalogue could not be read", "look at the node's log")
}

/// What the engine says, as PostgreSQL would: the catalogue holds nothing that may not be told.
fn refused(error: &DataFusionError) -> Refused {
    let root = error.find_root();
    let words: String = root.strip_backtrace().chars().take(300).collect();
    let hint = "the catalogue is enough for clients to list schemas; figures are asked from the contract's \
                tables";
    let state = match root {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { .. } | SchemaError::AmbiguousReference { .. } => NO_COLUMN,
            _ => UNSUPPORTED,
        },
        DataFusionError::Plan(_) if words.contains("not found") => NO_TABLE,
        DataFusionError::ResourcesExhausted(_) => TOO_COMPLEX,
        _ if functions::is_unknown_function(error) => super::errors::NO_FUNCTION,
        _ => UNSUPPORTED,
    };
    Refused::new(state, words, hint)
}

#[cfg(test)]
mod tests;
