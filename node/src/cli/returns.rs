//! Sending points that came from another brand back to it, from the command line.

use super::operations::{NodeArguments, client, random_key};
use super::{CliError, Io};
use crate::service::{ReceivedView, SendBackRequest};

/// What to do about exchanges that came in.
#[derive(Debug, clap::Subcommand)]
pub enum ReceivedCommand {
    /// List exchanges that came in from other brands, newest first: so many, page by page.
    Received {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Only those of the member with this card number.
        #[arg(long)]
        card: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Send points that came from another brand back to it: all of an exchange or a part.
    Return {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The member's card number here.
        #[arg(long)]
        card: String,
        /// The brand the exchange came from.
        #[arg(long)]
        from: String,
        /// The exchange: its leaf in that brand's log, as the list shows it.
        #[arg(long)]
        leaf: u64,
        /// How many of this brand's points to send back.
        #[arg(long)]
        points: u64,
        /// Idempotency key; the same key repeats nothing. A random one if not given.
        #[arg(long)]
        key: Option<String>,
    },
}

/// Does it.
///
/// # Errors
/// When the node refuses.
pub async fn run(command: &ReceivedCommand) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        ReceivedCommand::Received { node, card, limit } => {
            let of = card.as_ref().map(|card| format!("&card={card}")).unwrap_or_default();
            let page = (*limit).clamp(1, 1000);
            let path = format!("/api/v1/exchanges/received?limit={page}{of}");
            let list: Vec<ReceivedView> =
                client(node).await?.get_list(&path, *limit as usize).await?;
            list.iter().try_for_each(|view| io.json(view))
        }
        ReceivedCommand::Return { node, card, from, leaf, points, key } => {
            let client = client(node).await?;
            let (card, from) = (card.clone(), from.clone());
            let request = SendBackRequest { card, from, leaf: *leaf, points: *points };
            let key = key.clone().map_or_else(random_key, Ok)?;
            let headers = [("idempotency-key", key.as_str())];
            let path = "/api/v1/exchanges/received/returns";
            let view: ReceivedView = client.post(path, &headers, &request).await?;
            io.json(&view)
        }
    }
}
