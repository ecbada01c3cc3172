//! Clearing from the command line: closing, the statement and its exports, payments.

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::service::{PaymentRequest, StatementView};

/// What to do about a cut-off.
#[derive(Debug, clap::Subcommand)]
pub enum ClearingCommand {
    /// Show the clearing statement.
    Show(CutOffArguments),
    /// Enter this brand's closing, so that there can be a statement.
    Close(CutOffArguments),
    /// Write the statement for banks and books to stdout.
    Export {
        #[command(flatten)]
        /// Which cut-off.
        of: CutOffArguments,
        /// A table, ISO 20022 pacs.029.001.02 (the request to settle), or camt.053.001.12 (this brand's
        /// account with the clearing).
        #[arg(long, value_parser = ["csv", "pacs.029", "camt.053"])]
        format: String,
    },
    /// As payer: state that a payment was made outside. Lowers nothing; the payee's word does.
    Settled {
        #[command(flatten)]
        /// Which cut-off.
        of: CutOffArguments,
        /// Who was paid.
        #[arg(long)]
        payee: String,
        /// Reference of the payment outside, such as its end-to-end id.
        #[arg(long)]
        reference: String,
    },
    /// As payee: confirm that a payment has arrived.
    Confirm {
        #[command(flatten)]
        /// Which cut-off.
        of: CutOffArguments,
        /// Who paid.
        #[arg(long)]
        payer: String,
        /// Reference of the payment outside, such as its end-to-end id.
        #[arg(long)]
        reference: String,
    },
}

/// A cut-off.
#[derive(Debug, clap::Args)]
pub struct CutOffArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The cut-off in Unix milliseconds; it must have passed.
    #[arg(long)]
    cut_off: u64,
}

impl CutOffArguments {
    fn path(&self, of: &str) -> String {
        format!("/api/v1/clearings/{}{of}", self.cut_off)
    }

    async fn post(&self, of: &str, brand: &str, reference: &str) -> Result<(), CliError> {
        let client = client(&self.node).await?;
        let request = PaymentRequest { brand: brand.to_owned(), reference: reference.to_owned() };
        let view: StatementView = client.post(&self.path(of), &[], &request).await?;
        Io::new(true).json(&view)
    }
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn run(command: &ClearingCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        ClearingCommand::Show(of) => {
            let view: StatementView = client(&of.node).await?.get(&of.path("")).await?;
            io.json(&view)
        }
        ClearingCommand::Close(of) => {
            let client = client(&of.node).await?;
            let view: StatementView = client.post(&of.path("/closing"), &[], &()).await?;
            io.json(&view)
        }
        ClearingCommand::Export { of, format } => {
            let client = client(&of.node).await?;
            let bytes = client.get_bytes(&of.path(&format!("/export?format={format}"))).await?;
            io.text(&String::from_utf8_lossy(&bytes))
        }
        ClearingCommand::Settled { of, payee, reference } => {
            of.post("/payments", payee, reference).await
        }
        ClearingCommand::Confirm { of, payer, reference } => {
            of.post("/confirmations", payer, reference).await
        }
    }
}
