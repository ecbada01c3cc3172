//! `coalition bench`: what this machine makes of it, measured by the very code that runs.
//!
//! Each figure says what is in it and what is not, and stands beside a floor measured in the same run:
//! what the hashes, signatures and syncs it needs would cost alone. Nothing here is used by a node.

mod alliance;
mod api;
mod audit;
mod day;
mod earn;
mod exchange;
mod floor;
mod identity;
mod import;
mod kills;
mod ledgers;
mod memory;
mod postgres;
mod process;
mod query;
mod rooms;
mod rush;
mod useful;
mod witness;

use std::process::ExitCode;

use super::process::Program;
use super::{CliError, Io};

pub use alliance::{Alliance, POINTS, Places, Plan, SETTINGS, card};
pub use api::{ApiArguments, ApiFigures, RequestFigures, measure as measure_api};
pub use audit::{AuditBenchArguments, AuditFigures, Auditing, measure as measure_audit};
pub use day::{DayArguments, DayFigures, measure as measure_day};
pub use earn::{EarnArguments, EarnFigures, measure as measure_earn};
pub use exchange::{ExchangeArguments, ExchangeFigures, measure as measure_exchange};
pub use identity::{IdentityArguments, IdentityFigures, measure as measure_identity};
pub use import::{
    ImportBenchArguments, ImportFigures, NodeFigures, PostgresImportFigures,
    measure as measure_import,
};
pub use kills::{KillsArguments, KillsFigures, measure as measure_kills};
pub use memory::{MemoryArguments, MemoryFigures, measure as measure_memory};
pub use query::{QueryArguments, QueryFigures, measure as measure_query};
pub use rush::{RushArguments, RushFigures, measure as measure_rush};
pub use useful::{UsefulArguments, UsefulFigures, measure as measure_useful};
pub use witness::{SizeFigures, WitnessArguments, WitnessFigures, measure as measure_witness};

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub enum BenchCommand {
    /// Exchanges a second of a whole alliance in this process: certified, durable, on both accounts.
    Exchange(ExchangeArguments),
    /// Purchases a second that a points programme counts, durable, with all its rules.
    Earn(EarnArguments),
    /// What one block costs a brand that only witnesses it, by the number of exchanges in it.
    Witness(WitnessArguments),
    /// Requests a second over HTTPS and their times, beside a server that only says hello.
    Api(ApiArguments),
    /// Seconds and memory that the offline audit of a large alliance takes.
    Audit(AuditBenchArguments),
    /// How often the vault finds whose a purchase is, from identifiers with stated noise.
    Identity(IdentityArguments),
    /// Memory of nodes over time at a steady rate, and how long they take to start again.
    Memory(MemoryArguments),
    /// Rows a second of an import, beside an engine that only reads the same file and the store's own floor;
    /// look-ups meanwhile, and what so many members take.
    Import(ImportBenchArguments),
    /// Nodes killed at random under load: whether anything is lost, or there twice.
    Kills(KillsArguments),
    /// Everybody wants the last pieces of a reward and a coupon at once: who was served, and whether more went out than there
    /// was; purchases meanwhile, and when they are in the facts.
    Rush(RushArguments),
    /// A day of an alliance within minutes: imports, exchanges, questions, keys turned, a cut-off cleared, one node lost
    /// with its disk and put back; memory over time.
    Day(DayArguments),
    /// Seconds of a joint question over real nodes, beside plain SQL and other libraries that answer alone.
    Query(QueryArguments),
    /// What a real workload is answered, refused and how exactly, at two sizes of alliance.
    Useful(UsefulArguments),
}

/// Measures.
///
/// # Errors
/// When what is measured fails, or its result is not sound.
pub async fn run(command: &BenchCommand) -> Result<ExitCode, CliError> {
    match command {
        BenchCommand::Exchange(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = exchange::measure(arguments, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Api(ApiArguments { hello: Some(folder), .. }) => {
            api::say_hello(folder, &mut Io::new(true)).await?;
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Api(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = api::measure(arguments, &Program::this()?, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Audit(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = audit::measure(arguments, Auditing::Process, &io)?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Earn(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = earn::measure(arguments, &io)?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(if figures.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        BenchCommand::Witness(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = witness::measure(arguments, &io)?;
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Identity(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = identity::measure(arguments, &io)?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Memory(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = memory::measure(arguments, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Import(arguments) => {
            let mut io = Io::new(arguments.json);
            let program = Program::this()?;
            let figures = import::measure(arguments, Some(&program), &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Query(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = query::measure(arguments, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Useful(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = useful::measure(arguments, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        BenchCommand::Day(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = day::measure(arguments, &Program::this()?, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(if figures.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        BenchCommand::Rush(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = rush::measure(arguments, &Program::this()?, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(if figures.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        BenchCommand::Kills(arguments) => {
            let mut io = Io::new(arguments.json);
            let figures = kills::measure(arguments, &Program::this()?, &io).await?;
            figures.tell(&io);
            if arguments.json {
                io.json(&figures)?;
            }
            Ok(if figures.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}
