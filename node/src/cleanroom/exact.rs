//! Exact figures of a brand's own members, for its own staff.
//!
//! Nothing of the clean room's is used here, and nothing from here reaches it: no plan, no account, no
//! release, no journal, no log. Only the text of a shipped or saved dashboard is run, or this module's own for a
//! period ([`PeriodJob`]), never one that came with a request; only over members who consent to the programme; and the figures go to the one who asked
//! and nowhere else. They can neither be printed nor be recorded: [`FiguresView`] shows none in `Debug`,
//! and errors say nothing of them.

mod period;

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use tokio::sync::Semaphore;

use super::read::{engine, within};
use crate::purchases::{
    CAMPAIGNS_TABLE, Facts, MEMBERS_TABLE, Refunds, Snapshot, register_members_for_staff,
};
use crate::service::{Bilingual, FiguresView};
use crate::vault::{Purpose, Vault};

pub use period::{PeriodJob, read_period};

/// Longest reading.
const TIME_MAX: Duration = Duration::from_secs(60);
/// Most rows shown.
const ROWS_MAX: usize = 10_000;
/// Readings at a time; more wait, within their time.
const READS_AT_ONCE: usize = 2;

static PERMITS: Semaphore = Semaphore::const_new(READS_AT_ONCE);

/// A dashboard to read.
pub struct ExactJob {
    /// Its name.
    pub template: String,
    /// Its text, filled in.
    pub sql: String,
    /// Tables it may name.
    pub tables: Vec<String>,
    /// How many group keys its columns begin with.
    pub keys: u32,
    /// The facts.
    pub snapshot: Snapshot,
    /// First day that retention leaves readable, in days since 1970-01-01.
    pub not_before: i32,
}

/// It could not be read. Says nothing of the data.
#[derive(Debug, thiserror::Error)]
#[error("the figures could not be read")]
pub struct Unreadable;

/// Reads a dashboard.
///
/// # Errors
/// When the engine, the store or a key fails, or it takes too long.
pub async fn read(
    job: ExactJob,
    facts: Arc<Facts>,
    vault: Arc<Vault>,
) -> Result<FiguresView, Unreadable> {
    let read =
        within(&PERMITS, TIME_MAX, move || async move { figures(&job, &facts, &vault).await });
    read.await.map_err(|_| Unreadable)?
}

async fn figures(
    job: &ExactJob,
    facts: &Facts,
    vault: &Arc<Vault>,
) -> Result<FiguresView, Unreadable> {
    let members = Arc::new(vault.consenting(Purpose::Programme).map_err(|_| Unreadable)?);
    let session: SessionContext = engine().map_err(|_| Unreadable)?;
    let refunds = Refunds::for_query(&job.sql);
    for table in &job.tables {
        if table == MEMBERS_TABLE {
            register_members_for_staff(&session, vault, &job.snapshot, &members)
                .map_err(|_| Unreadable)?;
            continue;
        }
        if table == CAMPAIGNS_TABLE {
            facts
                .register_campaigns_for_staff(
                    &session,
                    vault,
                    &job.snapshot,
                    &members,
                    job.not_before,
                )
                .await
                .map_err(|_| Unreadable)?;
            continue;
        }
        facts
            .register_for_staff(&session, table, &job.snapshot, &members, job.not_before, refunds)
            .await
            .map_err(|_| Unreadable)?;
    }
    let (columns, rows) = asked(&session, &job.sql).await?;
    let shown = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(shown).collect();
    // the engine has no order of its own
    rows.sort_by_key(|row: &Vec<String>| natural(row));
    Ok(FiguresView { template: job.template.clone(), columns, keys: job.keys, rows, note: note() })
}

/// Rows as text; none for null.
type Rows = Vec<Vec<Option<String>>>;

/// The names of a text's columns, and its rows.
async fn asked(session: &SessionContext, sql: &str) -> Result<(Vec<String>, Rows), Unreadable> {
    let query_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(sql, query_only).await.map_err(|_| Unreadable)?;
    let columns: Vec<String> =
        frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    let batches = frame.collect().await.map_err(|_| Unreadable)?;
    let mut rows = Vec::new();
    for batch in batches {
        let texts = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>().map_err(|_| Unreadable)?;
        for row in 0..batch.num_rows() {
            if rows.len() >= ROWS_MAX {
                return Err(Unreadable);
            }
            let cell = |text: &datafusion::arrow::array::ArrayRef| {
                let text = text.as_string_opt::<i32>()?;
                text.is_valid(row).then(|| text.value(row).to_owned())
            };
            rows.push(texts.iter().map(cell).collect());
        }
    }
    Ok((columns, rows))
}

/// Numbers by size, texts by letters.
fn natural(row: &[String]) -> Vec<(i64, String)> {
    row.iter().map(|text| (text.parse().unwrap_or(i64::MAX), text.clone())).collect()
}

fn note() -> Bilingual {
    Bilingual {
        zh: "本品牌会员的精确数值，仅供本品牌员工内部使用：不得对外提供，也不记入任何日志。对外请使用加噪结果。".to_owned(),
        en: "Exact figures of this brand's own members, for its own staff: not to be passed on, and kept in no log. Outside, use the noised answers.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New members are those without a purchase before the period; a second purchase converts one that comes after the
    /// period, and in time.
    #[tokio::test]
    async fn new_members_are_converted_by_a_purchase_behind_the_period() {
        let session = engine().unwrap();
        let lines = "SELECT CAST(member AS BIGINT) AS member, CAST(purchased_on AS DATE) AS purchased_on \
            FROM (VALUES (1, '2017-03-01'), (1, '2017-04-02'), (1, '2017-07-01'), \
            (2, '2017-04-10'), (2, '2017-07-05'), (3, '2017-05-01'), (3, '2017-06-01'), \
            (4, '2017-06-30'), (4, '2017-10-01'), (5, '2017-07-01'), (5, '2017-07-02'), \
            (6, '2017-04-01'), (6, '2017-09-30')) AS l(member, purchased_on)";
        let lines = session.sql(lines).await.unwrap().into_view();
        session.register_table("purchases", lines).unwrap();
        let shipped = alliance_config::questions::shipped().unwrap();
        let template = shipped.iter().find(|it| it.id == "new-member-conversion").unwrap();
        let mut sql = template.sql.clone();
        for parameter in &template.parameters {
            sql = sql.replace(&format!("{{{}}}", parameter.name), &parameter.default);
        }
        let (columns, rows) = asked(&session, &sql).await.unwrap();
        assert_eq!(columns, ["conversion"]);
        // of the members 2, 3, 4 and 6 the second and the last
        let [row] = &rows[..] else { panic!("{}", rows.len()) };
        assert_eq!(row[0].as_deref().map(str::parse::<f64>), Some(Ok(0.5)));
    }
}
