//! The same work in a database that batches: double entry in PostgreSQL, for comparison in one run.
//!
//! A throw-away cluster in a temporary directory, every transaction durable (fsync and
//! synchronous_commit on), 8,192 transfers in a transaction, made in the server itself: nothing of the way to it
//! is in the figure. Unsigned, on one machine, with one party to trust. Twice:
//!
//! - **double entry**: what an exchange leaves behind: a request's key that is taken once, two
//!   postings, both balances;
//! - **summed**: the least that moves points: one row a transfer, without a key, balances moved by
//!   the sums of the batch.

use super::super::CliError;
use super::input;
use crate::postgres_cluster::PostgresCluster;

/// Transfers in one transaction.
const BATCH: u32 = 8192;

const SCHEMA: &str = "\
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE transfer (id bigserial PRIMARY KEY, debit int NOT NULL, credit int NOT NULL,
  points bigint NOT NULL CHECK (points > 0));
CREATE TABLE request (key uuid PRIMARY KEY, points bigint NOT NULL CHECK (points > 0));
CREATE TABLE posting (request uuid NOT NULL, account int NOT NULL, points bigint NOT NULL);
INSERT INTO account SELECT n, 1000000000000 FROM generate_series(0, 3999) n;
";

// two clients on two halves of the accounts: neither waits for the other's rows
const SUMMED: &str = "\
WITH new AS (
  INSERT INTO transfer (debit, credit, points)
  SELECT :client_id * 2000 + n % 1000, :client_id * 2000 + 1000 + (n * 7) % 1000, 1 + n % 5
  FROM generate_series(1, 8192) n RETURNING debit, credit, points),
legs AS (SELECT debit AS id, -points AS moved FROM new UNION ALL SELECT credit, points FROM new),
sums AS (SELECT id, sum(moved) AS moved FROM legs GROUP BY id ORDER BY id)
UPDATE account SET balance = balance + sums.moved FROM sums WHERE account.id = sums.id;
";

const DOUBLE_ENTRY: &str = "\
WITH asked AS MATERIALIZED (
  SELECT gen_random_uuid() AS key, :client_id * 2000 + n % 1000 AS debit,
    :client_id * 2000 + 1000 + (n * 7) % 1000 AS credit, 1 + n % 5 AS points
  FROM generate_series(1, 8192) n),
taken AS (
  INSERT INTO request SELECT key, points FROM asked ON CONFLICT DO NOTHING RETURNING key),
new AS (SELECT asked.* FROM asked JOIN taken USING (key)),
posted AS (
  INSERT INTO posting
  SELECT key, debit, -points FROM new UNION ALL SELECT key, credit, points FROM new
  RETURNING account AS id, points AS moved),
sums AS (SELECT id, sum(moved) AS moved FROM posted GROUP BY id ORDER BY id)
UPDATE account SET balance = balance + sums.moved FROM sums WHERE account.id = sums.id;
";

/// The least that a purchase leaves behind: a basket's key that is taken once, the member's counts, points by the
/// day on which they expire, an entry of the books.
const EARN: &str = "\
WITH asked AS MATERIALIZED (
  SELECT gen_random_uuid() AS key, :client_id * 10000000 + (random() * MEMBERS)::int AS member,
    100 + n % 29900 AS fen, 20454 + n % 7 AS day
  FROM generate_series(1, 8192) n),
taken AS (
  INSERT INTO basket SELECT key, member, fen FROM asked ON CONFLICT DO NOTHING RETURNING key),
new AS (SELECT asked.*, fen * 3 / 200 AS points FROM asked JOIN taken USING (key)),
booked AS (INSERT INTO entry SELECT key, member, points FROM new),
lots AS (
  INSERT INTO lot SELECT member, day, sum(points) FROM new GROUP BY member, day ORDER BY member, day
  ON CONFLICT (member, day) DO UPDATE SET points = lot.points + excluded.points)
INSERT INTO member SELECT member, sum(points), sum(points), count(*), sum(fen) FROM new
  GROUP BY member ORDER BY member
  ON CONFLICT (id) DO UPDATE SET balance = member.balance + excluded.balance,
    accumulated = member.accumulated + excluded.accumulated,
    purchases = member.purchases + excluded.purchases, fen = member.fen + excluded.fen;
";

/// The programme's logic, set by set.
const EARN_RULES: &str = include_str!("earn/rules.sql");

const EARN_SCHEMA: &str = "\
CREATE TABLE basket (key uuid PRIMARY KEY, member int NOT NULL, fen bigint NOT NULL);
CREATE TABLE entry (key uuid NOT NULL, member int NOT NULL, points bigint NOT NULL);
CREATE TABLE lot (member int NOT NULL, day int NOT NULL, points bigint NOT NULL, PRIMARY KEY (member, day));
CREATE TABLE member (id int PRIMARY KEY, balance bigint NOT NULL, accumulated bigint NOT NULL,
  purchases bigint NOT NULL, fen bigint NOT NULL);
";

/// Transfers a second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// A key that is taken once, two postings, both balances.
    pub double_entry: f64,
    /// One row, and balances moved by sums.
    pub summed: f64,
}

/// Batched transfers a second; none when no server is installed.
///
/// # Errors
/// When a server is installed and does not do it.
pub fn batched_per_second(seconds: u32) -> Result<Option<Rates>, CliError> {
    let Some(cluster) = PostgresCluster::start().map_err(input)? else { return Ok(None) };
    cluster.client("psql", &["-q", "-d", "postgres", "-c", SCHEMA]).map_err(input)?;
    let rate = |script| measure(&cluster, script, seconds);
    Ok(Some(Rates { double_entry: rate(DOUBLE_ENTRY)?, summed: rate(SUMMED)? }))
}

/// What events of a points programme have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reckoned {
    /// Points that members have.
    pub points: u64,
    /// Coupons that triggers gave.
    pub coupons: u64,
    /// Tiers that were reached.
    pub tiers: u64,
    /// Cases of the watch for fraud.
    pub cases: u64,
}

/// Events of a points programme, a second and as they were reckoned.
#[derive(Clone, Copy, Debug)]
pub struct Earning {
    /// Purchases a second, the least bookkeeping.
    pub lean: f64,
    /// Events of a mixed day a second, by the programme's logic.
    pub same: f64,
    /// What the first events of that day come to.
    pub reckoned: Reckoned,
}

/// Purchases and events a second that are counted in batches, and what so many events come to; none when no server is
/// installed. Both clients have half of the members each.
///
/// # Errors
/// When a server is installed and does not do it.
pub fn earned_per_second(
    seconds: u32,
    members: u32,
    events: u32,
) -> Result<Option<Earning>, CliError> {
    let script = EARN.replace("MEMBERS", &members.saturating_sub(1).to_string());
    let Some(cluster) = PostgresCluster::start().map_err(input)? else { return Ok(None) };
    let psql = |sql: &str| {
        cluster.client("psql", &["-q", "-A", "-t", "-d", "postgres", "-c", sql]).map_err(input)
    };
    psql(EARN_SCHEMA)?;
    let lean = measure(&cluster, &script, seconds)?;
    psql("DROP TABLE basket, entry, lot, member")?;
    psql(EARN_RULES)?;
    let half = (members / 2).max(1);
    let script = format!(
        "SELECT earn_events(:client_id, (nextval('stream_' || :client_id) - 1) * {BATCH}, {BATCH}, {half});"
    );
    let same = measure(&cluster, &script, seconds)?;
    psql("TRUNCATE basket, entry, lot, month, member, coupon, notice, review")?;
    let mut first = 0;
    while first < events {
        let count = BATCH.min(events - first);
        psql(&format!("SELECT earn_events(0, {first}, {count}, {members})"))?;
        first += count;
    }
    let found =
        psql("SELECT points, coupons, tiers, cases, entries_differ, lots_differ FROM reckoned")?;
    let words = String::from_utf8_lossy(&found.stdout);
    let numbers: Vec<u64> = words.trim().split('|').map_while(|it| it.parse().ok()).collect();
    // books that differ by something, or below nothing, are no books
    let [points, coupons, tiers, cases, 0, 0] = numbers[..] else {
        return Err(input("PostgreSQL's books do not balance, or it did not tell them"));
    };
    Ok(Some(Earning { lean, same, reckoned: Reckoned { points, coupons, tiers, cases } }))
}

fn measure(cluster: &PostgresCluster, sql: &str, seconds: u32) -> Result<f64, CliError> {
    let script = cluster.folder().join("script.sql");
    std::fs::write(&script, sql.replace('\n', " ") + "\n")
        .map_err(|source| CliError::File { path: script.clone(), source })?;
    let (seconds, script) = (seconds.to_string(), script.display().to_string());
    let arguments = ["-n", "-c", "2", "-j", "2", "-T", &seconds, "-f", &script, "postgres"];
    let output = cluster.client("pgbench", &arguments).map_err(input)?;
    let words = String::from_utf8_lossy(&output.stdout);
    let rate = words
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok())
        .ok_or_else(|| CliError::Input("pgbench did not tell a rate".to_owned()))?;
    Ok(rate * f64::from(BATCH))
}
