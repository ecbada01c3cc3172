//! Sales of a period by step, store, channel and category, in one reading of the period's purchases; and who bought for
//! the first time, in one of member and day alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use jiff::civil::Date;
use jiff::{ToSpan as _, Unit};

use super::{PERMITS, TIME_MAX, Unreadable, asked, note};
use crate::cleanroom::read::{engine, within};
use crate::purchases::{Facts, Refunds, Snapshot};
use crate::service::{PeriodFiguresView, PeriodRequest, PeriodRow, PeriodStep};
use crate::vault::{Purpose, Vault};

/// What purchases are called in the texts.
const TABLE: &str = "purchases";
/// Days of a period whose first is not said, before its last.
const DAYS: i32 = 90;
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A period to read.
pub struct PeriodJob {
    /// Which.
    pub request: PeriodRequest,
    /// The facts.
    pub snapshot: Snapshot,
    /// First day that retention leaves readable, in days since 1970-01-01.
    pub not_before: i32,
}

/// Reads a period.
///
/// # Errors
/// When the engine, the store or a key fails, or it takes too long.
pub async fn read_period(
    job: PeriodJob,
    facts: Arc<Facts>,
    vault: Arc<Vault>,
) -> Result<PeriodFiguresView, Unreadable> {
    let read =
        within(&PERMITS, TIME_MAX, move || async move { figures(&job, &facts, &vault).await });
    read.await.map_err(|_| Unreadable)?
}

async fn figures(
    job: &PeriodJob,
    facts: &Facts,
    vault: &Arc<Vault>,
) -> Result<PeriodFiguresView, Unreadable> {
    let members = vault.consenting(Purpose::Programme).map_err(|_| Unreadable)?;
    let session: SessionContext = engine().map_err(|_| Unreadable)?;
    let refunds = Refunds::Apart;
    facts
        .register_for_staff(&session, TABLE, &job.snapshot, &members, job.not_before, refunds)
        .await
        .map_err(|_| Unreadable)?;
    let by = job.request.by;
    let nothing = PeriodFiguresView { by, note: note(), ..PeriodFiguresView::default() };
    let last = match job.request.to {
        Some(to) => Some(to),
        None => last_day(&session).await?,
    };
    let Some(to) = last else { return Ok(nothing) };
    let from = first_day(job.request.from, to, by);
    let mut view = PeriodFiguresView { from: from.to_string(), to: to.to_string(), ..nothing };
    let mut steps: BTreeMap<i64, PeriodRow> = BTreeMap::new();
    let (_, rows) = asked(&session, &sales_sql(from, to, by)).await?;
    for row in rows {
        let [step, store, channel, department, sales, baskets, members] = row.as_slice() else {
            return Err(Unreadable);
        };
        let sold = PeriodRow {
            name: String::new(),
            sales_fen: whole(sales.as_deref())?,
            baskets: whole(baskets.as_deref())?,
            members: whole(members.as_deref())?,
            new_members: None,
        };
        let named = |name: &str| PeriodRow { name: name.to_owned(), ..sold.clone() };
        // of a grouping set, the other columns are null
        match [step, store, channel, department].map(Option::as_deref) {
            [Some(step), ..] => {
                steps.insert(step.parse().map_err(|_| Unreadable)?, sold);
            }
            [_, Some(store), ..] => view.stores.push(named(store)),
            [_, _, Some(channel), _] => view.channels.push(named(channel)),
            [_, _, _, Some(department)] => view.departments.push(named(department)),
            [None, None, None, None] => view.total = sold,
        }
    }
    let mut new_members: BTreeMap<i64, u64> = BTreeMap::new();
    let (_, rows) = asked(&session, &new_members_sql(from, to, by)).await?;
    for row in rows {
        let [Some(step), Some(members)] = row.as_slice() else { return Err(Unreadable) };
        let step = step.parse().map_err(|_| Unreadable)?;
        new_members.insert(step, whole(Some(members.as_str()))?);
    }
    view.total.new_members = Some(new_members.values().sum());
    view.steps = (step_of(from, by)..=step_of(to, by))
        .map(|step| PeriodRow {
            name: name_of(step, by),
            new_members: Some(new_members.get(&step).copied().unwrap_or(0)),
            ..steps.remove(&step).unwrap_or_default()
        })
        .collect();
    for rows in [&mut view.stores, &mut view.channels, &mut view.departments] {
        rows.sort_by(|one, other| {
            other.sales_fen.cmp(&one.sales_fen).then_with(|| one.name.cmp(&other.name))
        });
    }
    Ok(view)
}

async fn last_day(session: &SessionContext) -> Result<Option<Date>, Unreadable> {
    let sql = format!("SELECT max(purchased_on) AS last_day FROM {TABLE}");
    let (_, rows) = asked(session, &sql).await?;
    let day = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    day.map(|day| day.parse().map_err(|_| Unreadable)).transpose()
}

/// The first day: the one that was asked for, but never more days before the last than there are steps for.
fn first_day(from: Option<Date>, to: Date, by: PeriodStep) -> Date {
    let before = |days: i32| to.checked_sub((days - 1).days()).unwrap_or(to);
    let from = from.unwrap_or_else(|| before(DAYS.min(by.days_max())));
    from.clamp(before(by.days_max()).min(to), to)
}

/// A number of the step that a day is in, as the engine reckons it of a column.
fn step_sql(day: &str, by: PeriodStep) -> String {
    match by {
        PeriodStep::Day => format!("CAST({day} AS INT)"),
        // 1970-01-01 was a Thursday
        PeriodStep::Week => format!("(CAST({day} AS INT) + 3) / 7"),
        PeriodStep::Month => {
            format!("extract(year FROM {day}) * 12 + extract(month FROM {day}) - 1")
        }
    }
}

/// The same of a day.
fn step_of(day: Date, by: PeriodStep) -> i64 {
    let days = day.since((Unit::Day, EPOCH)).map_or(0, |span| i64::from(span.get_days()));
    match by {
        PeriodStep::Day => days,
        PeriodStep::Week => (days + 3) / 7,
        PeriodStep::Month => i64::from(day.year()) * 12 + i64::from(day.month()) - 1,
    }
}

/// A day, a week by its Monday, or a month.
fn name_of(step: i64, by: PeriodStep) -> String {
    let day =
        |days: i64| EPOCH.checked_add(days.days()).map_or(String::new(), |day| day.to_string());
    match by {
        PeriodStep::Day => day(step),
        PeriodStep::Week => day(step * 7 - 3),
        PeriodStep::Month => format!("{:04}-{:02}", step / 12, step % 12 + 1),
    }
}

fn sales_sql(from: Date, to: Date, by: PeriodStep) -> String {
    let step = step_sql("purchased_on", by);
    format!(
        "SELECT step, store, channel, department, sum(amount_fen) AS sales_fen, \
         count(DISTINCT basket) AS baskets, count(DISTINCT member) AS members \
         FROM (SELECT {step} AS step, coalesce(store, '') AS store, coalesce(channel, '') AS channel, \
         coalesce(department, '') AS department, amount_fen, basket, member FROM {TABLE} \
         WHERE purchased_on BETWEEN DATE '{from}' AND DATE '{to}') AS p \
         GROUP BY GROUPING SETS ((), (step), (store), (channel), (department))"
    )
}

fn new_members_sql(from: Date, to: Date, by: PeriodStep) -> String {
    let step = step_sql("first_day", by);
    format!(
        "SELECT step, count(*) AS members FROM (SELECT {step} AS step FROM \
         (SELECT member, min(purchased_on) AS first_day FROM {TABLE} \
         WHERE purchased_on <= DATE '{to}' GROUP BY member) AS m \
         WHERE first_day >= DATE '{from}') AS f GROUP BY step"
    )
}

/// What a sum or a count came to; a sum over nothing is null.
fn whole(text: Option<&str>) -> Result<u64, Unreadable> {
    text.map_or(Ok(0), |text| text.parse().map_err(|_| Unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn steps_are_named_by_what_they_begin_with() {
        for (of, by, name) in [
            ("2017-03-31", PeriodStep::Day, "2017-03-31"),
            // a Friday, a Sunday, a Monday
            ("2017-03-31", PeriodStep::Week, "2017-03-27"),
            ("2017-04-02", PeriodStep::Week, "2017-03-27"),
            ("2017-04-03", PeriodStep::Week, "2017-04-03"),
            ("2017-12-31", PeriodStep::Month, "2017-12"),
            ("2018-01-01", PeriodStep::Month, "2018-01"),
        ] {
            assert_eq!(name_of(step_of(day(of), by), by), name, "{of}");
        }
    }

    #[test]
    fn a_period_is_never_longer_than_it_has_steps() {
        let to = day("2017-12-31");
        assert_eq!(first_day(None, to, PeriodStep::Week), day("2017-10-03"));
        assert_eq!(first_day(Some(day("1970-01-01")), to, PeriodStep::Day), day("2016-12-31"));
        assert_eq!(first_day(Some(day("2018-03-01")), to, PeriodStep::Day), to);
    }

    /// The engine's own reckoning of steps is this module's, and one reading has every part.
    #[tokio::test]
    async fn one_reading_has_the_sums_of_every_part() {
        let session = engine().unwrap();
        let lines = "SELECT CAST(member AS BIGINT) AS member, CAST(basket AS BIGINT) AS basket, \
            CAST(purchased_on AS DATE) AS purchased_on, store, channel, department, \
            CAST(amount_fen AS BIGINT) AS amount_fen FROM (VALUES \
            (1, 10, '2017-03-31', 'a', 'shop', 'DAIRY', 100), \
            (1, 10, '2017-03-31', 'a', 'shop', 'MEAT', 50), \
            (2, 11, '2017-04-02', NULL, 'app', 'DAIRY', 30), \
            (1, 12, '2017-04-03', 'b', 'shop', 'DAIRY', 7), \
            (3, 13, '2017-01-01', 'b', 'shop', 'DAIRY', 9)) \
            AS l(member, basket, purchased_on, store, channel, department, amount_fen)";
        let lines = session.sql(lines).await.unwrap().into_view();
        session.register_table(TABLE, lines).unwrap();
        let (from, to) = (day("2017-03-01"), last_day(&session).await.unwrap().unwrap());
        assert_eq!(to, day("2017-04-03"));
        for by in PeriodStep::ALL {
            let (_, mut rows) = asked(&session, &sales_sql(from, to, by)).await.unwrap();
            rows.sort();
            let sums = |place: usize| -> Vec<(String, String, String, String)> {
                let of = rows.iter().filter_map(|row| {
                    let cell = |at: usize| row[at].clone().unwrap_or_default();
                    Some((row[place].clone()?, cell(4), cell(5), cell(6)))
                });
                of.collect()
            };
            let row = |name: &str, sales: &str, baskets: &str, members: &str| {
                (name.to_owned(), sales.to_owned(), baskets.to_owned(), members.to_owned())
            };
            assert_eq!(
                sums(1),
                [row("", "30", "1", "1"), row("a", "150", "1", "1"), row("b", "7", "1", "1")]
            );
            assert_eq!(sums(2), [row("app", "30", "1", "1"), row("shop", "157", "2", "1")]);
            assert_eq!(sums(3), [row("DAIRY", "137", "3", "2"), row("MEAT", "50", "1", "1")]);
            let steps: Vec<(String, String)> = sums(0)
                .into_iter()
                .map(|(step, sales, ..)| (name_of(step.parse().unwrap(), by), sales))
                .collect();
            let expected: &[(&str, &str)] = match by {
                PeriodStep::Day => {
                    &[("2017-03-31", "150"), ("2017-04-02", "30"), ("2017-04-03", "7")]
                }
                PeriodStep::Week => &[("2017-03-27", "180"), ("2017-04-03", "7")],
                PeriodStep::Month => &[("2017-03", "150"), ("2017-04", "37")],
            };
            let expected: Vec<(String, String)> =
                expected.iter().map(|(name, sales)| ((*name).into(), (*sales).into())).collect();
            assert_eq!(steps, expected);
            let whole: Vec<_> =
                rows.iter().filter(|row| row[..4].iter().all(Option::is_none)).collect();
            assert_eq!(whole.len(), 1);
            assert_eq!(whole[0][4..], ["187", "3", "2"].map(|it| Some(it.to_owned())));
            // who bought before the period is not new in it
            let (_, new) = asked(&session, &new_members_sql(from, to, by)).await.unwrap();
            let new: u64 = new.iter().map(|row| whole_of(row)).sum();
            assert_eq!(new, 2);
        }
    }

    fn whole_of(row: &[Option<String>]) -> u64 {
        whole(row[1].as_deref()).unwrap()
    }
}
