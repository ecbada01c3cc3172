//! Step 3 at this brand: noise first, then the bounded query over the own facts.
//!
//! The engine sees the rows of one snapshot whose members consent, under the name that they are kept by and no other
//! ([`crate::purchases::ReadableTable`]): purchases and, where a question names them, what is known of the members; and
//! nothing else. It may not write a file, so that no row lies on a disk in clear, and has a cap on memory and time: one that ran out of
//! time stops, and until it has it keeps its place among those that run at a time. What it returns
//! goes through [`privacy::Collector`], whose integer code is the bound. Why a reading failed is not
//! told: it may depend on data. How long one took is told in steps that double.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use privacy::bounded::Periods;
use privacy::{
    AttemptId, BoundedVector, Collector, DpPlan, NoiseShare, OpendpNoise, ParticipantId, member_sql,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::purchases::{
    CAMPAIGNS_TABLE, Facts, MEMBERS_TABLE, Reading, Refunds, Snapshot, register_members,
};
use crate::vault::{Consenting, FactsSubject, Purpose, Vault};

/// Longest reading.
const READ_TIME_MAX: Duration = Duration::from_secs(60);
/// Most memory that the engine may take for one reading.
const READ_MEMORY_MAX: usize = 1 << 30;
/// Readings at a time; more wait, within their time.
const READS_AT_ONCE: usize = 2;
/// A result is given at this time after the begin, or at twice, four times … this time.
const FIRST_BUCKET: Duration = Duration::from_millis(250);

static PERMITS: Semaphore = Semaphore::const_new(READS_AT_ONCE);

/// What to read, and for which attempt.
#[derive(Debug)]
pub struct ReadJob {
    /// The attempt.
    pub id: AttemptId,
    /// Its plan.
    pub plan: Arc<DpPlan>,
    /// This brand.
    pub participant: ParticipantId,
    /// The facts it is bound to.
    pub snapshot: Snapshot,
    /// First day that retention leaves readable, in days since 1970-01-01.
    pub not_before: i32,
    /// Of a standing question: the period that is read.
    pub period: Option<PeriodJob>,
}

/// A period of a standing question.
#[derive(Debug)]
pub struct PeriodJob {
    /// The plan's periods.
    pub periods: Periods,
    /// Which.
    pub period: u32,
    /// Those that were closed before.
    pub closed: Vec<u32>,
}

/// What came of it.
#[derive(Debug)]
pub struct ReadResult {
    /// The attempt.
    pub id: AttemptId,
    /// Of a standing question: the period.
    pub period: Option<u32>,
    /// Noise and bounded figures; none when anything failed.
    pub drawn: Option<(NoiseShare, BoundedVector)>,
}

/// A reading that failed. Says nothing, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the reading failed")]
pub(crate) struct Failed;

/// Reads, within the caps, and returns on a time bucket.
pub async fn run(job: ReadJob, facts: Arc<Facts>, vault: Arc<Vault>) -> ReadResult {
    let (began, id) = (Instant::now(), job.id);
    let period = job.period.as_ref().map(|job| job.period);
    let read = within(&PERMITS, READ_TIME_MAX, move || async move {
        draw_then_read(&job, &facts, &vault).await
    });
    let drawn = read.await.and_then(|read| read).ok();
    tokio::time::sleep_until(began + bucket(began.elapsed())).await;
    ReadResult { id, period, drawn }
}

/// Does work that keeps a thread busy, beside no more than there are permits for, and stops it when the time is
/// over. The permit and the clock are with the work itself: work that was given up from outside would run on, and
/// as many beside it as were given up. Work that never yields is still waited for no longer than twice the
/// time, and keeps its permit.
pub(super) async fn within<T, F>(
    permits: &'static Semaphore,
    most: Duration,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Failed>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let until = Instant::now() + most;
    let permit = tokio::time::timeout_at(until, permits.acquire()).await;
    let permit = permit.map_err(|_| Failed)?.map_err(|_| Failed)?;
    let engine = tokio::runtime::Handle::current();
    // a thread that no messages wait for
    let busy = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        engine.block_on(async { tokio::time::timeout_at(until, work()).await })
    });
    let done = tokio::time::timeout_at(until + most, busy).await;
    done.map_err(|_| Failed)?.map_err(|_| Failed)?.map_err(|_| Failed)
}

/// The first bucket not before `elapsed`.
fn bucket(elapsed: Duration) -> Duration {
    let mut bucket = FIRST_BUCKET;
    while bucket < elapsed {
        bucket = bucket.saturating_mul(2);
    }
    bucket
}

async fn draw_then_read(
    job: &ReadJob,
    facts: &Facts,
    vault: &Arc<Vault>,
) -> Result<(NoiseShare, BoundedVector), Failed> {
    let mut source = OpendpNoise::from_system_entropy();
    let mut noise = NoiseShare::draw(&job.plan, &mut source).map_err(|_| Failed)?;
    // before it is known who consents: whoever is erased from here on is not stored again
    let reading = job.period.as_ref().map(|_| facts.begin_reading());
    let members = Arc::new(vault.consenting(Purpose::JointAnalytics).map_err(|_| Failed)?);
    let vector = bounded(job, facts, vault, &members, reading.as_ref()).await?;
    noise.cover(&job.plan, &vector, &mut source).map_err(|_| Failed)?;
    Ok((noise, vector))
}

/// Has joins yield. The engine's own rule has those operators yield that read, and takes it that the others make no
/// more than they read: a join makes more, and would not see that its time is over.
#[derive(Debug)]
struct JoinsYield;

impl PhysicalOptimizerRule for JoinsYield {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            let joins = plan.children().len() > 1;
            Ok(if joins {
                Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(plan)
            })
        });
        Ok(wrapped?.data)
    }

    fn name(&self) -> &'static str {
        "joins_yield"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An engine that may not write a file, with a cap on its memory, and that can be stopped.
pub(crate) fn engine() -> Result<SessionContext, Failed> {
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_limit(READ_MEMORY_MAX, 1.0)
        .with_disk_manager_builder(no_files)
        .build_arc()
        .map_err(|_| Failed)?;
    let config = SessionConfig::new().with_target_partitions(1);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(JoinsYield))
        .build();
    Ok(SessionContext::new_with_state(state))
}

async fn bounded(
    job: &ReadJob,
    facts: &Facts,
    vault: &Arc<Vault>,
    members: &Arc<Consenting>,
    reading: Option<&Reading<'_>>,
) -> Result<BoundedVector, Failed> {
    let session = engine()?;
    let sql = member_sql(&job.plan, job.participant);
    let refunds = Refunds::for_query(sql.as_str());
    for table in job.plan.tables() {
        if table.name() == MEMBERS_TABLE {
            register_members(&session, vault, &job.snapshot, members).map_err(|_| Failed)?;
            continue;
        }
        if table.name() == CAMPAIGNS_TABLE {
            facts
                .register_campaigns(&session, vault, &job.snapshot, members, job.not_before)
                .await
                .map_err(|_| Failed)?;
            continue;
        }
        facts
            .register(&session, table.name(), &job.snapshot, members, job.not_before, refunds)
            .await
            .map_err(|_| Failed)?;
    }
    let query_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(sql.as_str(), query_only).await.map_err(|_| Failed)?;
    let mut batches = frame.execute_stream().await.map_err(|_| Failed)?;
    let mut collector = Collector::new(&job.plan, job.participant);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|_| Failed)?;
        if sql.has_private_groups() {
            collect_groups(&mut collector, batch.columns(), sql.aggregates())?;
        } else {
            collect(&mut collector, batch.columns(), sql.aggregates())?;
        }
    }
    let (Some(PeriodJob { periods, period, closed }), Some(reading)) = (&job.period, reading)
    else {
        return collector.finish().map_err(|_| Failed);
    };
    let query = job.id.query.0;
    let mut spent = facts.spent(&query, closed).map_err(|_| Failed)?;
    // as the view of the facts names them
    let name = |subject: &FactsSubject| subject.get().to_string().into_bytes();
    spent.merge(members.aliases().iter().map(|(former, member)| (name(former), name(member))));
    let vector = collector.finish_period(periods, *period, &mut spent).map_err(|_| Failed)?;
    // what it used is on the disk before its noised figures are
    facts.put_spent(reading, &query, &spent, *period).map_err(|_| Failed)?;
    Ok(vector)
}

/// Lines of `member`, `cell` and the sums.
pub(crate) fn collect(
    collector: &mut Collector<'_>,
    columns: &[ArrayRef],
    aggregates: usize,
) -> Result<(), Failed> {
    each_line(columns, aggregates, &mut |member, cell, sums| {
        let taken = match member {
            Owner::Number(member) => collector.push_numbered(member, cell, sums),
            Owner::Name(member) => collector.push(member, cell, sums),
        };
        taken.map_err(|_| Failed)
    })
}

/// Lines of `member`, the private group and the sums.
fn collect_groups(
    collector: &mut Collector<'_>,
    columns: &[ArrayRef],
    aggregates: usize,
) -> Result<(), Failed> {
    let [member, group, sums @ ..] = columns else { return Err(Failed) };
    let text = |column: &ArrayRef| cast(column, &DataType::Utf8).map_err(|_| Failed);
    let (member, group) = (text(member)?, text(group)?);
    let member = member.as_string_opt::<i32>().ok_or(Failed)?;
    let group = group.as_string_opt::<i32>().ok_or(Failed)?;
    let sums = numbers(sums, aggregates)?;
    let mut added = Vec::with_capacity(aggregates);
    for row in 0..member.len() {
        let name = member.is_valid(row).then(|| member.value(row).as_bytes());
        let group = group.is_valid(row).then(|| group.value(row));
        added.clear();
        added.extend(line(&sums, row));
        collector.push_group(name, group, &added).map_err(|_| Failed)?;
    }
    Ok(())
}

/// The sums as columns of whole numbers.
fn numbers(sums: &[ArrayRef], aggregates: usize) -> Result<Vec<Int64Array>, Failed> {
    if sums.len() != aggregates {
        return Err(Failed);
    }
    let whole = |column: &ArrayRef| {
        let column = cast(column, &DataType::Int64).map_err(|_| Failed)?;
        column.as_primitive_opt::<Int64Type>().cloned().ok_or(Failed)
    };
    sums.iter().map(whole).collect()
}

fn line(sums: &[Int64Array], row: usize) -> impl Iterator<Item = Option<i64>> {
    sums.iter().map(move |sums| sums.is_valid(row).then(|| sums.value(row)))
}

/// Whose a line is, as the table names members: the facts by whole numbers, others may by texts.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'a> {
    Number(Option<i64>),
    Name(Option<&'a [u8]>),
}

/// A line's `member`, `cell` and sums.
pub(crate) type TakeLine<'a> = dyn FnMut(Owner<'_>, i64, &[Option<i64>]) -> Result<(), Failed> + 'a;

/// Hands out the lines of a bounded query's result.
pub(crate) fn each_line(
    columns: &[ArrayRef],
    aggregates: usize,
    take: &mut TakeLine<'_>,
) -> Result<(), Failed> {
    let [member, cell, sums @ ..] = columns else { return Err(Failed) };
    let cell = cast(cell, &DataType::Int64).map_err(|_| Failed)?;
    let cell = cell.as_primitive_opt::<Int64Type>().ok_or(Failed)?;
    let sums = numbers(sums, aggregates)?;
    let mut added = Vec::with_capacity(aggregates);
    let mut each = |row: usize, owner: Owner<'_>| {
        if cell.is_null(row) {
            return Err(Failed);
        }
        added.clear();
        added.extend(line(&sums, row));
        take(owner, cell.value(row), &added)
    };
    if let Some(member) = member.as_primitive_opt::<Int64Type>() {
        return (0..member.len()).try_for_each(|row| {
            each(row, Owner::Number(member.is_valid(row).then(|| member.value(row))))
        });
    }
    let member = cast(member, &DataType::Utf8).map_err(|_| Failed)?;
    let member = member.as_string_opt::<i32>().ok_or(Failed)?;
    (0..member.len()).try_for_each(|row| {
        each(row, Owner::Name(member.is_valid(row).then(|| member.value(row).as_bytes())))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use datafusion::arrow::array::{Date32Array, Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};
    use privacy::contract::{RawColumn, RawContract, RawTable};
    use serde_json::{Value, json};

    use super::*;
    use crate::postgres_cluster::PostgresCluster;

    #[test]
    fn buckets_double() {
        let at = |ms| bucket(Duration::from_millis(ms)).as_millis();
        assert_eq!([at(0), at(250), at(251), at(1001)], [250, 250, 500, 2000]);
    }

    /// What was begun, and what has gone on since.
    static SPUN: AtomicU64 = AtomicU64::new(0);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reading_that_runs_out_of_time_stops_and_makes_room_for_the_next() {
        static ONE: Semaphore = Semaphore::const_new(1);
        // within this a busy machine has begun to spin, and within twice as long stopped
        let most = Duration::from_secs(2);
        let spins = || async {
            while SPUN.fetch_add(1, Ordering::Relaxed) < u64::MAX {
                tokio::task::yield_now().await;
            }
        };
        assert!(within(&ONE, most, spins).await.is_err());
        let spun = SPUN.load(Ordering::Relaxed);
        assert!(spun > 0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(SPUN.load(Ordering::Relaxed), spun, "it went on");
        assert!(matches!(within(&ONE, READ_TIME_MAX, || async { 7 }).await, Ok(7)));
        // what does not yield is given up, and keeps its place until it ends
        let most = Duration::from_millis(50);
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let stuck = move || async move {
            let _ = ends.recv();
        };
        assert!(within(&ONE, most, stuck).await.is_err());
        assert_eq!(ONE.available_permits(), 0);
        assert!(within(&ONE, most, || async {}).await.is_err(), "another ran beside it");
        drop(end);
        assert!(matches!(within(&ONE, READ_TIME_MAX, || async { 7 }).await, Ok(7)));
        assert_eq!(ONE.available_permits(), 1);
    }

    /// One member with a thousand rows, joined eight times: more than any machine would finish.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_engine_stops_in_the_middle_of_a_join() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let joins = || async {
            let session = engine().unwrap();
            let member: ArrayRef = Arc::new(StringArray::from(vec!["m"; 1_000]));
            let schema = Schema::new(vec![Field::new("member", DataType::Utf8, true)]);
            let batch = RecordBatch::try_new(Arc::new(schema), vec![member]).unwrap();
            session.register_batch("purchases", batch).unwrap();
            // small batches: some hundred of them pass before the clock is looked at, which is seconds where the engine
            // is not optimised and the machine is busy, and would be more than there are with large ones
            session.sql("SET datafusion.execution.batch_size = 512").await.map(drop).unwrap();
            let more: String = (1..8)
                .map(|at| format!(" JOIN purchases p{at} ON p0.member = p{at}.member"))
                .collect();
            let sql = format!("SELECT p0.member, COUNT(*) FROM purchases p0{more} GROUP BY 1");
            session.sql(&sql).await.unwrap().collect().await.map(|_| ()).unwrap();
        };
        let most = Duration::from_secs(8);
        let began = Instant::now();
        assert!(within(&ONE, most, joins).await.is_err());
        // by its own clock, not because it was given up after twice the time
        assert!(began.elapsed() < 2 * most, "{:?}", began.elapsed());
        assert_eq!(ONE.available_permits(), 1);
    }

    const VECTORS: &str = include_str!("../../../privacy/vectors/bounded-sql.json");

    fn array(kind: &str, values: Vec<&Value>) -> (DataType, ArrayRef) {
        match kind {
            "text" => {
                let texts: StringArray = values.iter().map(|value| value.as_str()).collect();
                (DataType::Utf8, Arc::new(texts))
            }
            "date" => {
                let epoch = jiff::civil::date(1970, 1, 1);
                let days = values.iter().map(|value| {
                    let day: jiff::civil::Date = value.as_str()?.parse().unwrap();
                    Some(day.since(epoch).unwrap().get_days())
                });
                (DataType::Date32, Arc::new(days.collect::<Date32Array>()))
            }
            _ => {
                let numbers: Int64Array = values.iter().map(|value| value.as_i64()).collect();
                (DataType::Int64, Arc::new(numbers))
            }
        }
    }

    fn session(tables: &Value) -> SessionContext {
        let session =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        for (name, table) in tables.as_object().unwrap() {
            let rows = table["rows"].as_array().unwrap();
            let (mut fields, mut arrays) = (Vec::new(), Vec::new());
            for (index, column) in table["columns"].as_array().unwrap().iter().enumerate() {
                let values = rows.iter().map(|row| &row[index]).collect();
                let (kind, array) = array(column[1].as_str().unwrap(), values);
                fields.push(Field::new(column[0].as_str().unwrap(), kind, true));
                arrays.push(array);
            }
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
            session.register_batch(name, batch).unwrap();
        }
        session
    }

    async fn answer(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
        let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What the bounded query returns, by member and cell.
    async fn lines(
        session: &SessionContext,
        question: &Value,
    ) -> BTreeMap<(String, i64), Vec<i64>> {
        let expected = question["lines"].as_array().unwrap();
        let sums = expected.first().map_or(0, |line| line[2].as_array().unwrap().len());
        let mut lines = BTreeMap::new();
        for batch in answer(session, question["bounded"].as_str().unwrap()).await {
            let sums = if batch.num_rows() == 0 { batch.num_columns() - 2 } else { sums };
            let mut take = |member: Owner<'_>, cell, line: &[Option<i64>]| {
                let Owner::Name(Some(member)) = member else { panic!("a member without a name") };
                let member = String::from_utf8(member.to_vec()).unwrap();
                // who gathers leaves them out
                if member.is_empty() {
                    return Ok(());
                }
                let sums = line.iter().map(|sum| sum.unwrap()).collect();
                assert_eq!(lines.insert((member, cell), sums), None, "{question}");
                Ok(())
            };
            each_line(batch.columns(), sums, &mut take).unwrap();
        }
        lines
    }

    fn expected(question: &Value) -> BTreeMap<(String, i64), Vec<i64>> {
        let lines = question["lines"].as_array().unwrap().iter().map(|line| {
            let sums = line[2].as_array().unwrap().iter().map(|sum| sum.as_i64().unwrap());
            let at = (line[0].as_str().unwrap().to_owned(), line[1].as_i64().unwrap());
            (at, sums.collect())
        });
        lines.collect()
    }

    /// Every day of a column that begins and ends within a month is in the cell of its day, and of its week.
    #[tokio::test]
    async fn the_engine_puts_every_day_into_its_day_and_its_week() {
        let (first, days) = (jiff::civil::date(2017, 2, 10), 389_i64);
        let day = |at: i64| first.checked_add(jiff::Span::new().days(at)).unwrap().to_string();
        let column =
            RawColumn::Date { name: "purchased_on".into(), first: day(0), last: day(days - 1) };
        let contract = RawContract {
            dataset: "purchases".into(),
            purposes: vec!["joint_analytics".into()],
            participants: ["a", "b", "c"].map(Into::into).to_vec(),
            minimum_participants: 3,
            profile: "trial".into(),
            members_at_most: 1_000,
            public_tables: Vec::new(),
            tables: vec![RawTable {
                name: "purchases".into(),
                owner: "member".into(),
                rows_bound: 1_000,
                rows_bound_by_brand: BTreeMap::new(),
                columns: vec![column],
            }],
        };
        let contract: privacy::Contract = contract.try_into().unwrap();
        let member = |at: i64| format!("m{at}");
        // a day before and one after are of no cell
        let rows: Vec<Value> = (-1..=days).map(|at| json!([member(at), day(at)])).collect();
        let columns = json!([["member", "text"], ["purchased_on", "date"]]);
        let session = session(&json!({ "purchases": { "columns": columns, "rows": rows } }));
        // the first day is a Friday
        for (unit, into, over, last) in
            [("day", 0, 1, "2018-03-05"), ("week", 4, 7, "2018-03-05"), ("month", 0, 0, "2018-03")]
        {
            let spec = privacy::QuerySpec {
                sql: format!(
                    "SELECT date_trunc('{unit}', purchased_on) AS d, count(*) AS n FROM purchases GROUP BY 1"
                ),
                purpose: "joint_analytics".parse().unwrap(),
                analyst: "desk".parse().unwrap(),
                participants: contract.participants().to_vec(),
                rho: contract.profile().rho_per_query(),
            };
            let plan = DpPlan::new(&contract, &spec).unwrap();
            assert_eq!(plan.cells().last().unwrap().labels(), [last], "{unit}");
            let cell = |at: i64| match over {
                0 => {
                    let day: jiff::civil::Date = day(at).parse().unwrap();
                    i64::from(day.year() - 2017) * 12 + i64::from(day.month()) - 2
                }
                over => (at + into) / over,
            };
            let counted: Vec<Value> =
                (0..days).map(|at| json!([member(at), cell(at), [1]])).collect();
            let bounded = privacy::member_sql(&plan, contract.participants()[0]);
            let question = json!({ "bounded": bounded.as_str(), "lines": counted });
            let found = lines(&session, &question).await;
            assert_eq!(found, expected(&question), "{unit}");
        }
    }

    /// The engine answers every bounded query as the reference evaluator does, over rows as dirty as
    /// they come: guests, absent values, texts and days that nobody declared.
    #[tokio::test]
    async fn the_engine_answers_bounded_queries_as_the_reference_does() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        for part in ["dirty", "clean"] {
            let session = session(&vectors[part]["tables"]);
            let questions = vectors[part]["questions"].as_array().unwrap();
            assert!(questions.len() >= 12, "{}", questions.len());
            for question in questions {
                assert_eq!(lines(&session, question).await, expected(question), "{question}");
            }
        }
    }

    /// A value as SQL writes it.
    fn literal(kind: &str, value: &Value) -> String {
        match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => {
                let quoted = text.replace('\'', "''");
                if kind == "date" { format!("DATE '{quoted}'") } else { format!("'{quoted}'") }
            }
            number => number.to_string(),
        }
    }

    /// The tables in a schema of their own, for a server of SQL.
    fn loading(schema: &str, tables: &Value) -> String {
        let mut sql = format!("CREATE SCHEMA {schema};\nSET search_path TO {schema};\n");
        for (name, table) in tables.as_object().unwrap() {
            let columns = table["columns"].as_array().unwrap();
            let kinds: Vec<&str> =
                columns.iter().map(|column| column[1].as_str().unwrap()).collect();
            let declared = columns.iter().zip(&kinds).map(|(column, kind)| {
                let kind = if *kind == "integer" { "bigint" } else { *kind };
                format!("\"{}\" {kind}", column[0].as_str().unwrap())
            });
            let declared = declared.collect::<Vec<_>>().join(", ");
            sql += &format!("CREATE TABLE \"{name}\" ({declared});\n");
            for row in table["rows"].as_array().unwrap() {
                let cells = row.as_array().unwrap().iter().zip(&kinds);
                let cells = cells.map(|(cell, kind)| literal(kind, cell)).collect::<Vec<_>>();
                sql += &format!("INSERT INTO \"{name}\" VALUES ({});\n", cells.join(", "));
            }
        }
        sql
    }

    /// A whole number as a server writes it, which adds up whole numbers to decimals.
    fn whole(text: &str) -> i64 {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        assert!(fraction.bytes().all(|digit| digit == b'0'), "{text}");
        whole.parse().unwrap()
    }

    /// The text is what any engine understands: where the programs of a PostgreSQL server are installed, it answers
    /// every bounded query as the reference evaluator does too.
    #[test]
    fn postgresql_answers_bounded_queries_as_the_reference_does() {
        let Some(cluster) = PostgresCluster::start().unwrap() else {
            assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
            eprintln!("no PostgreSQL server is installed here: nothing was compared");
            return;
        };
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        for part in ["dirty", "clean"] {
            let questions = vectors[part]["questions"].as_array().unwrap();
            let mut script = loading(part, &vectors[part]["tables"]);
            for (number, question) in questions.iter().enumerate() {
                let bounded = question["bounded"].as_str().unwrap();
                script += &format!("\\echo question {number}\n{bounded};\n");
            }
            let file = cluster.folder().join(format!("{part}.sql"));
            std::fs::write(&file, script).unwrap();
            let file = file.display().to_string();
            let stop = "ON_ERROR_STOP=1";
            let quiet = ["-d", "postgres", "-X", "-A", "-t", "-q", "-F", "\t", "-v", stop, "-f"];
            let said = cluster.client("psql", &[&quiet[..], &[file.as_str()]].concat()).unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            let mut answers: Vec<BTreeMap<(String, i64), Vec<i64>>> = Vec::new();
            for line in said.lines().filter(|line| !line.is_empty()) {
                if let Some(number) = line.strip_prefix("question ") {
                    assert_eq!(number.parse(), Ok(answers.len()));
                    answers.push(BTreeMap::new());
                    continue;
                }
                let cells: Vec<&str> = line.split('\t').collect();
                let [member, cell, sums @ ..] = &cells[..] else { panic!("{line}") };
                // who gathers leaves them out
                if !member.is_empty() {
                    let sums = sums.iter().map(|sum| whole(sum)).collect();
                    let lines = answers.last_mut().unwrap();
                    let before = lines.insert(((*member).to_owned(), whole(cell)), sums);
                    assert_eq!(before, None, "{line}");
                }
            }
            assert_eq!(answers.len(), questions.len());
            for (answer, question) in answers.iter().zip(questions) {
                assert_eq!(*answer, expected(question), "{question}");
            }
        }
    }

    /// What a question is bound to means what its text means: over clean rows and before clipping
    /// and noise, the engine gives the analyst's own text the same answer.
    #[tokio::test]
    async fn a_question_means_what_its_text_means() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let session = session(&vectors["clean"]["tables"]);
        for question in vectors["clean"]["questions"].as_array().unwrap() {
            let sql = question["sql"].as_str().unwrap();
            let mut found = BTreeMap::new();
            for batch in answer(&session, sql).await {
                for row in 0..batch.num_rows() {
                    let text = |column: &ArrayRef| {
                        let column = cast(column, &DataType::Utf8).unwrap();
                        column.as_string::<i32>().value(row).to_owned()
                    };
                    let texts: Vec<String> = batch.columns().iter().map(text).collect();
                    let keys = question["totals"][0][0].as_array().unwrap().len();
                    let (keys, values) = texts.split_at(keys);
                    found.insert(keys.to_vec(), values.to_vec());
                }
            }
            let totals = question["totals"].as_array().unwrap().iter().map(|cell| {
                let texts = |value: &Value| -> Vec<String> {
                    let values = value.as_array().unwrap().iter();
                    values
                        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                        .collect()
                };
                (texts(&cell[0]), texts(&cell[1]))
            });
            assert_eq!(found, totals.collect(), "{sql}");
        }
    }
}
