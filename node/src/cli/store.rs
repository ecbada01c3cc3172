//! `coalition store`: where members, consent, links and the index of purchases are kept.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, Io};
use crate::config::{DataDirectory, StoreAddress};
use crate::store::{SledStore, Store, copy};

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Copy a stopped node's store to another backend, compare the two, and let node.toml name the new
    /// one. One that was interrupted goes on. The old store is left where it is: delete it when all is
    /// well.
    Migrate {
        /// Data directory of the node, which must not run.
        #[arg(long)]
        data: PathBuf,
        /// `sled` for the data directory, or the address of a PostgreSQL database:
        /// postgresql://USER@HOST/DATABASE, or host=/run/postgresql user=USER dbname=DATABASE. A password is
        /// not part of it: it is read from keys/store-password of the data directory.
        #[arg(long)]
        to: String,
    },
    /// Count the pairs of a stopped node's store, and digest them: equal for equal contents, whatever the
    /// backend.
    Digest {
        /// Data directory of the node, which must not run.
        #[arg(long)]
        data: PathBuf,
    },
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

/// Does it.
///
/// # Errors
/// When a store cannot be opened, fails, or differs from its copy.
pub fn run(command: &StoreCommand, io: &mut Io) -> Result<(), CliError> {
    match command {
        StoreCommand::Migrate { data, to } => migrate(&DataDirectory::new(data), to, io),
        StoreCommand::Digest { data } => {
            let data = DataDirectory::new(data);
            let store = data.settings()?.0.open_store(&data).map_err(input)?;
            let contents = copy::contents(&*store).map_err(input)?;
            tell(&contents, io)
        }
    }
}

fn migrate(data: &DataDirectory, to: &str, io: &mut Io) -> Result<(), CliError> {
    let target = match to {
        "sled" => None,
        address => Some(StoreAddress::try_from(address.to_owned()).map_err(input)?),
    };
    // the command line is everybody's on the machine, and node.toml is in each backup
    if target.as_ref().is_some_and(|target| target.address().has_password()) {
        return Err(CliError::Input(format!(
            "a password stands in the address: write it into {} (chmod 600), leave it out of the address, and set \
             another one, for others may have seen it",
            data.store_password().display()
        )));
    }
    let (settings, _) = data.settings()?;
    if settings.store == target {
        return Err(CliError::Input("node.toml names that store already".to_owned()));
    }
    let from = settings.open_store(data).map_err(input)?;
    let into: Arc<dyn Store> = match &target {
        None => Arc::new(SledStore::open(data.store()).map_err(input)?),
        Some(address) => {
            Arc::new(address.open(data, settings.store_trusted.as_deref()).map_err(input)?)
        }
    };
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{pos} pairs copied, {per_sec}") {
        bar.set_style(style);
    }
    let copied = copy::copy(&*from, &*into, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    let contents = copied.map_err(input)?;
    data.set_store(target.as_ref())?;
    io.say("the copy is equal to what was copied; node.toml names it now. The old store is left as it is");
    tell(&contents, io)
}

fn tell(contents: &copy::Contents, io: &mut Io) -> Result<(), CliError> {
    let digest: String = contents.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    io.json(&serde_json::json!({ "pairs": contents.pairs, "digest": digest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        for to in [
            "postgresql://coalition:hunter2@db.example/coalition",
            "host=db.example user=coalition dbname=coalition password=hunter2",
        ] {
            let command = StoreCommand::Migrate { data: "nowhere".into(), to: to.to_owned() };
            let refused = run(&command, &mut Io::new(true)).unwrap_err().to_string();
            assert!(refused.contains("nowhere/keys/store-password"), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
