//! A throw-away PostgreSQL cluster of the programs that are installed: for tests and comparisons.
//!
//! It lives in a temporary directory, listens on a Unix socket there, and over TLS on this machine where that
//! is asked for, and goes with the value. Durable as a real one: fsync and synchronous_commit stay on. A server refuses to run as root,
//! so root runs it as the user `postgres`, whom Debian's package makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The server refuses to run as root; this is who it runs as then.
const USER: &str = "postgres";
/// What the cluster's only role is called.
const ROLE: &str = "coalition";
/// The programs that are needed.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A program of the server failed, with the last line it said.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: String,
        /// Its words.
        said: String,
    },
    /// The system refused.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// Writes a file that its owner alone reads: a server takes no key that others could.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// A server's programs.
struct Programs {
    folder: PathBuf,
    as_user: bool,
}

impl Programs {
    fn find() -> Option<Self> {
        let listed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = listed.map(|entry| entry.path().join("bin")).collect();
        folders.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        folders.splice(0..0, std::env::split_paths(&path));
        let has = |folder: &PathBuf| PROGRAMS.iter().all(|name| folder.join(name).is_file());
        let folder = folders.into_iter().rev().find(has)?;
        let id = Command::new("id").arg("-u").output().ok()?;
        Some(Self { folder, as_user: id.stdout.trim_ascii() == b"0" })
    }

    /// Gives a file or a directory to who runs the server.
    fn give(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.as_user {
            return Ok(());
        }
        let given = Command::new("chown").arg(USER).arg(path).status();
        let given = given
            .map_err(|source| ClusterError::System { action: "give a directory away", source })?;
        if given.success() {
            return Ok(());
        }
        Err(ClusterError::Failed {
            program: "chown".to_owned(),
            said: format!("a file or directory could not be given to the user {USER}"),
        })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, ClusterError> {
        let path = self.folder.join(program);
        let mut command = if self.as_user {
            let mut command = Command::new("setpriv");
            let group = format!("--regid={USER}");
            command.args([&format!("--reuid={USER}"), &group, "--clear-groups"]).arg(&path);
            command
        } else {
            Command::new(&path)
        };
        let output =
            command.args(arguments).current_dir("/").stdin(Stdio::null()).output().map_err(
                |source| ClusterError::System { action: "run PostgreSQL's programs", source },
            )?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let said = words.lines().last().unwrap_or_default().to_owned();
        Err(ClusterError::Failed { program: program.to_owned(), said })
    }
}

/// A running cluster; it stops, and its files go, when this is dropped.
pub struct PostgresCluster {
    programs: Programs,
    folder: TempDir,
    port: u16,
}

impl PostgresCluster {
    /// Makes and starts a cluster; none when no server is installed.
    ///
    /// # Errors
    /// When a server is installed and does not start.
    pub fn start() -> Result<Option<Self>, ClusterError> {
        Self::start_with(None)
    }

    /// The same, listening on this machine over TCP as well, where it takes nobody without TLS.
    ///
    /// # Errors
    /// When a server is installed and does not start.
    pub fn start_over_tls(certificate: &str, key: &str) -> Result<Option<Self>, ClusterError> {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(tls: Option<(&str, &str)>) -> Result<Option<Self>, ClusterError> {
        let Some(programs) = Programs::find() else { return Ok(None) };
        let system = |action| move |source| ClusterError::System { action, source };
        let folder = tempfile::Builder::new()
            .prefix("coalition-pg-")
            .tempdir()
            .map_err(system("make a temporary directory"))?;
        programs.give(folder.path())?;
        let mut cluster = Self { programs, folder, port: 0 };
        let data = cluster.text("data");
        cluster.run(
            "initdb",
            &["-D", &data, "-A", "trust", "-U", ROLE, "--no-instructions", "--encoding=UTF8"],
        )?;
        let socket = cluster.folder.path().display();
        let mut options = format!(
            "-c unix_socket_directories={socket} -c max_wal_size=4GB -c shared_buffers=512MB"
        );
        match tls {
            None => options += " -c listen_addresses=''",
            Some((certificate, key)) => {
                // free a moment ago
                let address = crate::setup::free_loopback_address();
                let port = address.map_err(system("find a free port"))?.port();
                let host = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
                for (name, text) in
                    [("server.pem", certificate), ("server.key", key), ("data/pg_hba.conf", host)]
                {
                    let path = cluster.folder.path().join(name);
                    write_private(&path, text).map_err(system("write the server's files"))?;
                    cluster.programs.give(&path)?;
                }
                let (certificate, key) = (cluster.text("server.pem"), cluster.text("server.key"));
                options += &format!(
                    " -c listen_addresses=127.0.0.1 -c port={port} -c ssl=on \
                     -c ssl_cert_file={certificate} -c ssl_key_file={key}"
                );
                cluster.port = port;
            }
        }
        let log = cluster.text("log");
        // a slow machine takes more than the minute that it would wait
        let patience = "300";
        cluster.run(
            "pg_ctl",
            &["-D", &data, "-w", "-t", patience, "-l", &log, "-o", &options, "start"],
        )?;
        Ok(Some(cluster))
    }

    /// The directory of the socket; also one that the server's user may write in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a client finds the cluster's database, under a schema that it makes.
    #[must_use]
    pub fn address(&self, schema: &str) -> String {
        let socket = self.folder.path().display();
        format!("host={socket} user={ROLE} dbname=postgres options='-c search_path={schema}'")
    }

    /// Where a client finds it over TCP, by a name of this machine, under a schema that it makes; only of one
    /// that was started over TLS.
    #[must_use]
    pub fn address_over_tls(&self, host: &str, schema: &str) -> String {
        let port = self.port;
        format!(
            "host={host} port={port} user={ROLE} dbname=postgres options='-c search_path={schema}'"
        )
    }

    /// Runs one of the server's programs against the cluster.
    ///
    /// # Errors
    /// When it is not there or fails.
    pub fn client(&self, program: &str, arguments: &[&str]) -> Result<Output, ClusterError> {
        let socket = self.folder.path().display().to_string();
        let port = if self.port == 0 { "5432".to_owned() } else { self.port.to_string() };
        let whole = [&["-h", socket.as_str(), "-p", port.as_str(), "-U", ROLE], arguments].concat();
        self.run(program, &whole)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, ClusterError> {
        self.programs.run(program, arguments)
    }

    fn text(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        // its files go in a moment: nothing to keep, and nobody to tell
        let _ = self.run("pg_ctl", &["-D", &self.text("data"), "-w", "-m", "immediate", "stop"]);
    }
}
