//! `coalition backup`: a copy of a node's data without its secrets, and the way back.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::operations::{NodeArguments, POLL, client};
use super::{CliError, Io};
use crate::backup::{self, BackupError, Manifest};
use crate::config::DataDirectory;
use crate::service::{BackupRequest, BackupView};

/// What to do with backups.
#[derive(Debug, clap::Subcommand)]
pub enum BackupCommand {
    /// Make a backup of a running node, while it serves: its store, journal, facts, logs and settings.
    /// Keys, certificates, users and passwords are never in it: keep copies of keys, tls and users.json
    /// apart from it.
    Create {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Folder on the node's machine, which is not there yet.
        #[arg(long)]
        to: PathBuf,
    },
    /// Check every file of a backup, and that the store's contents are the ones it was made of.
    Verify {
        /// The backup.
        folder: PathBuf,
    },
    /// Restore a backup into a new data directory; the store goes where the restored node.toml says. The
    /// node then starts as restored: it asks the other brands before it signs again.
    Restore {
        /// The backup.
        folder: PathBuf,
        /// Data directory, which is not there yet.
        #[arg(long)]
        data: PathBuf,
        /// Folder with what was kept apart: keys, and tls and users.json if there are copies of them.
        #[arg(long)]
        secrets: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// When the node refuses, or the backup is not whole.
pub async fn run(command: &BackupCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    let input = |error: BackupError| CliError::Input(error.to_string());
    match command {
        BackupCommand::Create { node, to } => {
            let client = client(node).await?;
            let folder = std::path::absolute(to)
                .map_err(|source| CliError::File { path: to.clone(), source })?;
            let folder = folder.to_string_lossy().into_owned();
            client.post::<_, ()>("/api/v1/backups", &[], &BackupRequest { folder }).await?;
            let bar = under_way("the node writes the backup and reads it back");
            loop {
                let view: BackupView = client.get("/api/v1/backups/latest").await?;
                if let Some(problem) = view.failed {
                    return Err(CliError::Input(format!(
                        "the backup was not completed: {problem}"
                    )));
                }
                if view.done {
                    bar.finish_and_clear();
                    io.say("keys, tls and users.json are not in it: keep copies of them elsewhere");
                    return io.json(&view);
                }
                tokio::time::sleep(POLL).await;
            }
        }
        BackupCommand::Verify { folder } => {
            let bar = under_way("reading the backup");
            let verified = backup::verify(folder);
            bar.finish_and_clear();
            let manifest = verified.map_err(input)?;
            tell(&manifest, folder, &mut io)
        }
        BackupCommand::Restore { folder, data, secrets } => {
            let bar = under_way("reading and restoring the backup");
            let restored = backup::restore(folder, &DataDirectory::new(data), secrets);
            bar.finish_and_clear();
            let manifest = restored.map_err(input)?;
            io.say(&format!(
                "start it with `coalition run --data {}`; it starts as restored",
                data.display()
            ));
            tell(&manifest, folder, &mut io)
        }
    }
}

/// Shows on a terminal that something goes on whose end is not known, and for how long already.
fn under_way(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed_precise}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(POLL);
    bar
}

fn tell(manifest: &Manifest, folder: &Path, io: &mut Io) -> Result<(), CliError> {
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    io.json(&serde_json::json!({
        "folder": folder, "brand": manifest.brand, "made_ms": manifest.made_ms,
        "pairs": manifest.pairs, "store_digest": manifest.store_digest,
        "files": manifest.files.len(), "bytes": bytes,
    }))
}
