//! Commands about keys and what is sealed: sealing keys, keys to rotate to, disclosures to auditors,
//! receipts.

use std::path::PathBuf;

use alliance_config::Constitution;
use protocol::exchange::Payload;
use protocol::receipt;

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::config::DataDirectory;
use crate::service::{DisclosureRequest, DisclosureView, SealingKeyView};
use crate::{setup, tls};

/// Keys.
#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// List this brand's sealing keys, oldest first.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Make a new sealing key now; the node does so every month by itself.
    Rotate {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
    /// Make the next set of signing keys (log, vote, checkpoint, witness, governance), and print the
    /// introduction that brings them into the next constitution (see `constitution next`). Nothing signs
    /// with them before this brand's log is under a constitution that names them.
    Next {
        /// Data directory of the node, which may be running.
        #[arg(long)]
        data: PathBuf,
        /// The present constitution.
        #[arg(long)]
        present: PathBuf,
        /// Keep the signing keys: the introduction then only names the newest sealing key, so that a
        /// brand that joins does not seal to a destroyed one.
        #[arg(long)]
        keep_signing: bool,
    },
    /// Make a new key and certificate for HTTPS; the node takes them up when it is started again. The old
    /// ones stay beside them.
    Certificate {
        /// Data directory.
        #[arg(long)]
        data: PathBuf,
        /// The host name or address under which people reach the node.
        #[arg(long)]
        host: Option<String>,
    },
    /// Destroy the keys whose retention is over; the node does so by itself.
    DestroyExpired {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
    },
}

/// Which blocks an auditor is to open.
#[derive(Debug, clap::Args)]
pub struct DiscloseArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The auditor's name in the constitution.
    #[arg(long)]
    auditor: String,
    /// Height of the first block.
    #[arg(long)]
    from: u64,
    /// Height of the last block.
    #[arg(long)]
    to: u64,
}

/// Receipts.
#[derive(Debug, clap::Subcommand)]
pub enum ReceiptCommand {
    /// Print the receipt of a final exchange: a C2SP tlog-proof.
    Show {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// The exchange's id.
        #[arg(long)]
        id: String,
        /// Add what opens this entry, and no other: whoever has the receipt can then read it.
        #[arg(long)]
        open: bool,
    },
    /// Verify an opened receipt offline, and print what its entry says.
    Verify {
        /// The receipt.
        receipt: PathBuf,
        /// The constitution.
        #[arg(long)]
        constitution: PathBuf,
        /// Its signatures.
        #[arg(long)]
        signatures: PathBuf,
    },
}

/// Lists, turns or destroys sealing keys, or makes the next signing keys.
///
/// # Errors
/// When the node refuses, or a file cannot be read or written.
pub async fn keys(command: &KeysCommand, json: bool) -> Result<(), CliError> {
    const PATH: &str = "/api/v1/sealing-keys";
    let mut io = Io::new(true);
    match command {
        KeysCommand::List { node } => {
            let keys: Vec<SealingKeyView> = client(node).await?.get(PATH).await?;
            io.json(&keys)
        }
        KeysCommand::Rotate { node } => {
            let key: SealingKeyView = client(node).await?.post(PATH, &[], &()).await?;
            io.json(&key)
        }
        KeysCommand::Next { data, present, keep_signing } => {
            let bytes = std::fs::read(present)
                .map_err(|source| CliError::File { path: present.clone(), source })?;
            let constitution = Constitution::parse(&bytes)
                .map_err(|error| CliError::Input(format!("{}: {error}", present.display())))?;
            let data = DataDirectory::new(data);
            let next = setup::next_keys(&data, &constitution, *keep_signing)?;
            Io::new(json).document("introduction", &next.introduction)?;
            io.say(match (keep_signing, next.made) {
                (true, _) => "the signing keys stay; the introduction names the newest sealing key",
                (false, true) => "made the next signing keys; they are in the data directory, not in the introduction",
                (false, false) => "no constitution here names the signing keys that were made last: they are introduced again",
            });
            io.say("give the introduction to whoever drafts, and let the others compare its governance key by another way");
            Ok(())
        }
        KeysCommand::Certificate { data, host } => {
            let data = DataDirectory::new(data);
            data.settings()?; // is it one?
            tls::renew(&data.tls(), host.as_deref())
                .map_err(|error| CliError::Input(error.to_string()))?;
            let certificate = data.tls().join(tls::CERTIFICATE_FILE);
            io.json(&certificate)?;
            io.say("a running node takes it up by itself; give it to whoever pins the old one");
            Ok(())
        }
        KeysCommand::DestroyExpired { node } => {
            let path = format!("{PATH}/destruction");
            let destroyed: Vec<String> = client(node).await?.post(&path, &[], &()).await?;
            io.json(&destroyed)
        }
    }
}

/// Lets an auditor open blocks.
///
/// # Errors
/// When the node refuses.
pub async fn disclose(arguments: &DiscloseArguments) -> Result<(), CliError> {
    let DiscloseArguments { node, auditor, from, to } = arguments;
    let request = DisclosureRequest { auditor: auditor.clone(), from: *from, to: *to };
    let view: DisclosureView =
        client(node).await?.post("/api/v1/disclosures", &[], &request).await?;
    Io::new(true).json(&view)
}

/// Prints or verifies a receipt.
///
/// # Errors
/// When the node refuses, a file cannot be read, or the receipt does not show what it should.
pub async fn receipt(command: &ReceiptCommand, json: bool) -> Result<(), CliError> {
    let mut io = Io::new(json);
    match command {
        ReceiptCommand::Show { node, id, open } => {
            let kind = if *open { "opened-receipt" } else { "receipt" };
            let path = format!("/api/v1/exchanges/{id}/{kind}");
            let bytes = client(node).await?.get_bytes(&path).await?;
            io.document("receipt", &String::from_utf8_lossy(&bytes))
        }
        ReceiptCommand::Verify { receipt, constitution, signatures } => {
            let read = |path: &PathBuf| {
                std::fs::read(path).map_err(|source| CliError::File { path: path.clone(), source })
            };
            let constitution = alliance_config::load(&read(constitution)?, &read(signatures)?)
                .map_err(|error| CliError::Input(error.to_string()))?
                .into_constitution();
            let shown = receipt::verify(&read(receipt)?, &constitution.ledger().clone().into())
                .map_err(|error| CliError::Input(error.to_string()))?;
            let says = match &shown.payload {
                Payload::Exchange(exchange) => format!(
                    "an exchange of {} points for {}, request {}, {} micro-fen owed",
                    exchange.sent.get(),
                    exchange.received.get(),
                    exchange.request,
                    exchange.owed.get()
                ),
                Payload::Return(back) => {
                    format!("a return of entry {}, {} micro-fen", back.original, back.value.get())
                }
                // a link's code and handle are for its two brands
                _ => "an entry that is no exchange and no return".to_owned(),
            };
            if json {
                let (log, entry) = (shown.log.to_string(), shown.index.get());
                return io.json(&serde_json::json!({ "log": log, "entry": entry, "says": says }));
            }
            io.line(&format!("entry {} of {} says: {says}", shown.index, shown.log))
        }
    }
}
