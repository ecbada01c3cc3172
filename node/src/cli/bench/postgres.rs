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

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::super::CliError;
use super::input;

/// Transfers in one transaction.
const BATCH: u32 = 8192;
/// The server refuses to run as root; this is who it runs as then.
const USER: &str = "postgres";

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

/// Transfers a second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// A key that is taken once, two postings, both balances.
    pub double_entry: f64,
    /// One row, and balances moved by sums.
    pub summed: f64,
}

/// A server's programs.
struct Server {
    programs: PathBuf,
    as_user: bool,
}

impl Server {
    fn find() -> Option<Self> {
        let listed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = listed.map(|entry| entry.path().join("bin")).collect();
        folders.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        folders.splice(0..0, std::env::split_paths(&path));
        let has = |folder: &PathBuf| {
            ["initdb", "pg_ctl", "pgbench", "psql"].iter().all(|name| folder.join(name).is_file())
        };
        let programs = folders.into_iter().rev().find(has)?;
        let id = Command::new("id").arg("-u").output().ok()?;
        Some(Self { programs, as_user: id.stdout.trim_ascii() == b"0" })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, CliError> {
        let path = self.programs.join(program);
        let mut command = if self.as_user {
            let mut command = Command::new("setpriv");
            let group = format!("--regid={USER}");
            command.args([&format!("--reuid={USER}"), &group, "--clear-groups"]).arg(&path);
            command
        } else {
            Command::new(&path)
        };
        let output = command
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| CliError::File { path: path.clone(), source })?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().last().unwrap_or_default();
        Err(CliError::Input(format!("{program} failed: {last}")))
    }
}

/// Batched transfers a second; none when no server is installed.
///
/// # Errors
/// When a server is installed and does not do it.
pub fn batched_per_second(seconds: u32) -> Result<Option<Rates>, CliError> {
    let Some(server) = Server::find() else { return Ok(None) };
    let folder = tempfile::Builder::new().prefix("coalition-pg-").tempdir().map_err(input)?;
    if server.as_user {
        let given = Command::new("chown").arg(USER).arg(folder.path()).status().map_err(input)?;
        if !given.success() {
            return Err(CliError::Input(format!("cannot give a directory to the user {USER}")));
        }
    }
    let data = folder.path().join("data");
    let text = |path: &Path| path.display().to_string();
    let (data, socket) = (text(&data), text(folder.path()));
    server.run("initdb", &["-D", &data, "-A", "trust", "-U", "bench", "--no-instructions"])?;
    let options = format!(
        "-c listen_addresses='' -c unix_socket_directories={socket} -c max_wal_size=4GB \
         -c shared_buffers=512MB"
    );
    let log = text(&folder.path().join("log"));
    server.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "-o", &options, "start"])?;
    let measured = prepare(&server, &socket).and_then(|()| {
        let rate = |script| measure(&server, folder.path(), &socket, (script, seconds));
        Ok(Rates { double_entry: rate(DOUBLE_ENTRY)?, summed: rate(SUMMED)? })
    });
    let stopped = server.run("pg_ctl", &["-D", &data, "-w", "-m", "immediate", "stop"]);
    let rate = measured?;
    stopped?;
    Ok(Some(rate))
}

fn prepare(server: &Server, socket: &str) -> Result<(), CliError> {
    let arguments = ["-h", socket, "-U", "bench", "-q", "-d", "postgres", "-c", SCHEMA];
    server.run("psql", &arguments).map(drop)
}

fn measure(
    server: &Server,
    folder: &Path,
    socket: &str,
    (sql, seconds): (&str, u32),
) -> Result<f64, CliError> {
    let script = folder.join("script.sql");
    std::fs::write(&script, sql.replace('\n', " ") + "\n")
        .map_err(|source| CliError::File { path: script.clone(), source })?;
    let (seconds, script) = (seconds.to_string(), script.display().to_string());
    let mut arguments = vec!["-h", socket, "-U", "bench", "-n", "-c", "2", "-j", "2"];
    arguments.extend(["-T", &seconds, "-f", &script, "postgres"]);
    let output = server.run("pgbench", &arguments)?;
    let words = String::from_utf8_lossy(&output.stdout);
    let rate = words
        .lines()
        .find_map(|line| line.strip_prefix("tps = "))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok())
        .ok_or_else(|| CliError::Input("pgbench did not tell a rate".to_owned()))?;
    Ok(rate * f64::from(BATCH))
}
