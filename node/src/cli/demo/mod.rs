//! `coalition demo`: five brands on this machine, on real data, end to end.
//!
//! Every brand is a process of its own with its own keys and stores; the demonstration is only their
//! operator and their members, over the same HTTPS surface that anyone uses. What it alone can know
//! (the exact answer to the joint question, which accounts are one household's) it takes from the
//! shipped sample, never from a node. Every figure is measured by the run itself.

mod alliance;
pub mod exact;
mod members;
mod report;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use super::run::told_to_stop;
use super::{CliError, Io};
use alliance::Alliance;
use report::Report;

/// How the demonstration is run.
#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    /// End when it is done, instead of leaving the alliance running.
    #[arg(long)]
    once: bool,
    /// Print one JSON object with all figures on stdout.
    #[arg(long)]
    json: bool,
    /// Exchanges to make.
    #[arg(long, default_value_t = 1040, value_parser = clap::value_parser!(u32).range(40..=20_000))]
    exchanges: u32,
    /// Keep everything in this directory instead of a temporary one.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Runs the demonstration.
///
/// # Errors
/// When a step fails; what it needed is said, and the nodes are stopped.
pub async fn run(arguments: &DemoArguments) -> Result<ExitCode, CliError> {
    let mut io = Io::new(arguments.json);
    let mut alliance = Alliance::create(arguments.directory.as_deref(), &io).await?;
    let told = tokio::select! {
        told = tell(&mut alliance, arguments, &io) => told?,
        () = told_to_stop(false) => {
            alliance.stop().await;
            return Ok(ExitCode::from(130));
        }
    };
    if arguments.json {
        io.json(&told)?;
    }
    let sound = told.is_sound();
    if !sound {
        io.say(
            "\nNOT as it should be: see the figures above. / 有结果与预期不符，请看上面的数字。",
        );
    }
    if !arguments.once {
        alliance.say_where(&io);
        told_to_stop(false).await;
    }
    alliance.stop().await;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn tell(
    alliance: &mut Alliance,
    arguments: &DemoArguments,
    io: &Io,
) -> Result<Report, CliError> {
    let mut report = Report { brands: alliance.brands().len(), ..Report::default() };
    steps::import(alliance, &mut report, io).await?;
    steps::exchange(alliance, arguments.exchanges, &mut report, io).await?;
    steps::clear(alliance, &mut report, io).await?;
    steps::ask(alliance, &mut report, io).await?;
    steps::ask_each(alliance, &mut report, io).await?;
    steps::audit(alliance, &mut report, io).await?;
    report.say(io);
    Ok(report)
}
