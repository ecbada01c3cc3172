//! Disputes and failed partners from the command line.

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::service::{DisputeView, PartnerView, ProposalRequest};

/// What to do about disputes.
#[derive(Debug, clap::Subcommand)]
pub enum DisputeCommand {
    /// List every dispute on record, one JSON object a line.
    List(NodeArguments),
    /// Show the disputes with one brand.
    Show(WithArguments),
    /// As the accused: propose what the dispute comes to. What has the constitution's price counts, the
    /// rest is void.
    Propose {
        #[command(flatten)]
        /// Who disputes this brand's log.
        with: WithArguments,
        /// Nothing in dispute counts: all of it is void, and members get their points back.
        #[arg(long)]
        void_all: bool,
    },
    /// As the accuser: agree to what the accused brand's log last proposed. It cannot be taken back.
    Agree(WithArguments),
}

/// Which dispute.
#[derive(Debug, clap::Args)]
pub struct WithArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The other brand.
    #[arg(long)]
    with: String,
}

/// What to do about partners.
#[derive(Debug, clap::Subcommand)]
pub enum PartnerCommand {
    /// List every other brand with its log's state and what is owed, one JSON object a line.
    List(NodeArguments),
    /// Agree that the log of a brand that is proved to have lied, or that a constitution ends, be closed
    /// for good. It cannot be taken back; the log is closed when a quorum agrees.
    Close {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Whose log.
        #[arg(long)]
        brand: String,
    },
    /// Agree that a brand that is suspended from joint questions, because it did not open what it had
    /// certified, be asked again. It is when a quorum of the other brands agrees.
    Readmit {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Who is suspended.
        #[arg(long)]
        brand: String,
    },
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn dispute(command: &DisputeCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        DisputeCommand::List(node) => list(node, |_| true).await,
        DisputeCommand::Show(of) => {
            list(&of.node, |view| view.accuser == of.with || view.accused == of.with).await
        }
        DisputeCommand::Propose { with, void_all } => {
            let path = format!("/api/v1/disputes/{}/proposal", with.with);
            let request = ProposalRequest { void_all: *void_all };
            let view: DisputeView = client(&with.node).await?.post(&path, &[], &request).await?;
            io.json(&view)
        }
        DisputeCommand::Agree(of) => {
            let path = format!("/api/v1/disputes/{}/agreement", of.with);
            let view: DisputeView = client(&of.node).await?.post(&path, &[], &()).await?;
            io.json(&view)
        }
    }
}

async fn list(node: &NodeArguments, wanted: impl Fn(&DisputeView) -> bool) -> Result<(), CliError> {
    let mut io = Io::new(true);
    let views: Vec<DisputeView> = client(node).await?.get("/api/v1/disputes").await?;
    views.iter().filter(|view| wanted(view)).try_for_each(|view| io.json(view))
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn partner(command: &PartnerCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        PartnerCommand::List(node) => {
            let views: Vec<PartnerView> = client(node).await?.get("/api/v1/partners").await?;
            views.iter().try_for_each(|view| io.json(view))
        }
        PartnerCommand::Readmit { node, brand } => {
            let path = format!("/api/v1/partners/{brand}/readmission");
            let view: PartnerView = client(node).await?.post(&path, &[], &()).await?;
            io.json(&view)
        }
        PartnerCommand::Close { node, brand } => {
            let path = format!("/api/v1/partners/{brand}/closing");
            let view: PartnerView = client(node).await?.post(&path, &[], &()).await?;
            io.json(&view)
        }
    }
}
