//! Step 3 at this brand: noise first, then the bounded query over the own facts.
//!
//! The engine sees the rows of one snapshot whose members consent, and nothing else; it may not write
//! a file, so that no row lies on a disk in clear, and has a cap on memory and time. What it returns
//! goes through [`privacy::Collector`], whose integer code is the bound. Why a reading failed is not
//! told: it may depend on data. How long one took is told in steps that double.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt as _;
use privacy::{
    AttemptId, BoundedVector, Collector, DpPlan, NoiseShare, OpendpNoise, ParticipantId, member_sql,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::purchases::{Facts, Snapshot};
use crate::vault::{Consenting, Purpose, Vault};

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
}

/// What came of it.
#[derive(Debug)]
pub struct ReadResult {
    /// The attempt.
    pub id: AttemptId,
    /// Noise and bounded figures; none when anything failed.
    pub drawn: Option<(NoiseShare, BoundedVector)>,
}

/// A reading that failed. Says nothing, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the reading failed")]
struct Failed;

/// Reads, within the caps, and returns on a time bucket.
pub async fn run(job: ReadJob, facts: Arc<Facts>, vault: Arc<Vault>) -> ReadResult {
    let (began, id) = (Instant::now(), job.id);
    let read = async {
        let _permit = PERMITS.acquire().await.map_err(|_| Failed)?;
        let engine = tokio::runtime::Handle::current();
        // the engine keeps a thread busy: not one that messages wait for
        let work = tokio::task::spawn_blocking(move || {
            engine.block_on(draw_then_read(&job, &facts, &vault))
        });
        work.await.map_err(|_| Failed)?
    };
    let read = tokio::time::timeout(READ_TIME_MAX, read).await;
    let drawn = read.map_err(|_| Failed).and_then(|read| read).ok();
    tokio::time::sleep_until(began + bucket(began.elapsed())).await;
    ReadResult { id, drawn }
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
    vault: &Vault,
) -> Result<(NoiseShare, BoundedVector), Failed> {
    let mut source = OpendpNoise::from_system_entropy();
    let noise = NoiseShare::draw(&job.plan, &mut source).map_err(|_| Failed)?;
    let members = vault.consenting(Purpose::JointAnalytics).map_err(|_| Failed)?;
    let vector = bounded(job, facts, &members).await?;
    Ok((noise, vector))
}

async fn bounded(
    job: &ReadJob,
    facts: &Facts,
    members: &Consenting,
) -> Result<BoundedVector, Failed> {
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_limit(READ_MEMORY_MAX, 1.0)
        .with_disk_manager_builder(no_files)
        .build_arc()
        .map_err(|_| Failed)?;
    let config = SessionConfig::new().with_target_partitions(1);
    let session = SessionContext::new_with_config_rt(config, environment);
    let table = job.plan.table().name();
    facts
        .register(&session, table, &job.snapshot, members, job.not_before)
        .await
        .map_err(|_| Failed)?;
    let sql = member_sql(&job.plan, job.participant);
    let query_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(sql.as_str(), query_only).await.map_err(|_| Failed)?;
    let mut batches = frame.execute_stream().await.map_err(|_| Failed)?;
    let mut collector = Collector::new(&job.plan);
    while let Some(batch) = batches.next().await {
        collect(&mut collector, batch.map_err(|_| Failed)?.columns(), sql.aggregates())?;
    }
    collector.finish().map_err(|_| Failed)
}

/// Lines of `member`, `cell` and the aggregates.
fn collect(
    collector: &mut Collector<'_>,
    columns: &[ArrayRef],
    aggregates: usize,
) -> Result<(), Failed> {
    let [member, cell, sums @ ..] = columns else { return Err(Failed) };
    if sums.len() != aggregates {
        return Err(Failed);
    }
    let whole = |column: &ArrayRef| cast(column, &DataType::Int64).map_err(|_| Failed);
    let member = cast(member, &DataType::Utf8).map_err(|_| Failed)?;
    let member = member.as_string_opt::<i32>().ok_or(Failed)?;
    let cell = whole(cell)?;
    let cell = cell.as_primitive_opt::<Int64Type>().ok_or(Failed)?;
    let sums = sums.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    let sums: Option<Vec<_>> =
        sums.iter().map(|sums| sums.as_primitive_opt::<Int64Type>()).collect();
    let sums = sums.ok_or(Failed)?;
    for row in 0..member.len() {
        let name = member.is_valid(row).then(|| member.value(row).as_bytes());
        if cell.is_null(row) {
            return Err(Failed);
        }
        let line: Vec<Option<i64>> =
            sums.iter().map(|sums| sums.is_valid(row).then(|| sums.value(row))).collect();
        collector.push(name, cell.value(row), &line).map_err(|_| Failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double() {
        let at = |ms| bucket(Duration::from_millis(ms)).as_millis();
        assert_eq!([at(0), at(250), at(251), at(1001)], [250, 250, 500, 2000]);
    }
}
