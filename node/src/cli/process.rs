//! A node as a process of its own, and a client that is signed in to it: started, killed, stopped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use protocol::ids::BrandId;
use tokio::process::{Child, Command};

use super::CliError;
use super::operations::{connect, sign_in};
use crate::client::Client;
use crate::config::DataDirectory;

/// How long a node may take to start.
const START: Duration = Duration::from_secs(180);
/// How long a node may take to stop by itself.
const STOP: Duration = Duration::from_secs(60);
/// How often a node that starts is asked whether it is there.
const POLL: Duration = Duration::from_millis(50);

/// The program that nodes run: `coalition`, wherever it is.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// This very program.
    ///
    /// # Errors
    /// When the system does not say where it is.
    pub fn this() -> Result<Self, CliError> {
        std::env::current_exe().map(Self).map_err(input)
    }

    /// The one at a path.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn command(&self, data: &DataDirectory) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["run", "--until-stdin-ends", "--data"]).arg(data.path());
        command
    }
}

/// One node.
pub struct NodeProcess {
    id: BrandId,
    data: DataDirectory,
    program: Program,
    child: Option<Child>,
    client: Option<Client>,
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

impl NodeProcess {
    /// A node that does not run yet.
    #[must_use]
    pub const fn new(id: BrandId, data: DataDirectory, program: Program) -> Self {
        Self { id, data, program, child: None, client: None }
    }

    /// A client of the node, signed in.
    ///
    /// # Errors
    /// When it has never answered.
    pub fn client(&self) -> Result<Client, CliError> {
        self.client.clone().ok_or_else(|| CliError::Input("the node is not running".into()))
    }

    /// Starts it, and does not wait.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn start(&mut self) -> Result<(), CliError> {
        let path = self.data.path().join("node.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| CliError::File { path, source })?;
        let child = self
            .program
            .command(&self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(input)?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it lets its operator in.
    ///
    /// # Errors
    /// When it has ended, with its last words, or takes too long.
    pub async fn answers(&mut self) -> Result<(), CliError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                let log = self.data.path().join("node.log");
                let text = fs::read_to_string(&log).unwrap_or_default();
                // what still ran beside it may have said something after
                let last = text.lines().rfind(|line| line.starts_with("error: "));
                let last = last.or_else(|| text.lines().last()).unwrap_or_default();
                return Err(CliError::Input(format!("{} ended ({status}): {last}", self.id)));
            }
            // whoever holds the client goes on with it: a restart ends its session, not its address
            let ready = match &self.client {
                Some(client) => sign_in(client, &self.data, None).await,
                None => connect(self.data.path(), None).await.map(|client| {
                    self.client = Some(client);
                }),
            };
            match ready {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > START => return Err(error),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Makes another client: the node's certificate is another than when the first was made.
    ///
    /// # Errors
    /// When the node does not answer, or does not let its operator in.
    pub async fn connect_anew(&mut self) -> Result<(), CliError> {
        self.client = Some(connect(self.data.path(), None).await?);
        Ok(())
    }

    /// The process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whose node it is.
    #[must_use]
    pub const fn brand(&self) -> BrandId {
        self.id
    }

    /// Its data directory.
    #[must_use]
    pub const fn data(&self) -> &DataDirectory {
        &self.data
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Kills it as a power cut would: with SIGKILL, after which nothing of the process runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> Result<(), CliError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(input)?;
        }
        // the killed node could not take it away
        let _ = fs::remove_file(self.data.addresses());
        Ok(())
    }

    /// Tells it to stop, by the end of its input; it finishes what is under way.
    pub fn tell_to_stop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.stdin.take());
        }
    }

    /// Waits until it has stopped; kills it when it does not.
    pub async fn stopped(&mut self) {
        if let Some(mut child) = self.child.take()
            && tokio::time::timeout(STOP, child.wait()).await.is_err()
        {
            let _ = child.kill().await;
        }
    }

    /// Kills it without waiting: closing its input would end it too.
    pub fn abandon(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
    }
}
