//! Clearing from the command line: closing, the statement and its exports, payments.

use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::service::{
    ClearingPage, ClearingView, PaymentRequest, StatementView, cut_off_text, parse_cut_off,
};

/// Micro-fen in a yuan.
const YUAN: u64 = 100_000_000;

/// What to do about a cut-off.
#[derive(Debug, clap::Subcommand)]
pub enum ClearingCommand {
    /// List the cut-offs that this node knows, the newest first: how far each is, this brand's net, and how many
    /// payments it is to make and to confirm.
    List(ListArguments),
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

/// Which cut-offs.
#[derive(Debug, clap::Args)]
pub struct ListArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// Only those before this one: RFC 3339 (2026-10-31T23:59:59.999+08:00) or Unix milliseconds.
    #[arg(long, value_name = "TIME", value_parser = cut_off)]
    before: Option<u64>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// One JSON object in place of the table; `next` is the `--before` of the next page.
    #[arg(long)]
    json: bool,
}

/// A cut-off.
#[derive(Debug, clap::Args)]
pub struct CutOffArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// The cut-off: RFC 3339 (2026-10-31T23:59:59.999+08:00) or Unix milliseconds; it must have passed. Those
    /// that are known are listed by `clearing list`.
    #[arg(long, value_name = "TIME", value_parser = cut_off)]
    cut_off: u64,
}

fn cut_off(text: &str) -> Result<u64, String> {
    parse_cut_off(text).ok_or_else(|| {
        "write RFC 3339, such as 2026-10-31T23:59:59.999+08:00, or Unix milliseconds, such as 1793462399999"
            .to_owned()
    })
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
pub async fn run(command: &ClearingCommand, json: bool) -> Result<(), CliError> {
    let mut io = Io::new(true);
    match command {
        ClearingCommand::List(of) => list(of).await,
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
            Io::new(json).document("statement", &String::from_utf8_lossy(&bytes))
        }
        ClearingCommand::Settled { of, payee, reference } => {
            of.post("/payments", payee, reference).await
        }
        ClearingCommand::Confirm { of, payer, reference } => {
            of.post("/confirmations", payer, reference).await
        }
    }
}

async fn list(of: &ListArguments) -> Result<(), CliError> {
    let mut io = Io::new(of.json);
    let before = of.before.map(|before| format!("&before={before}")).unwrap_or_default();
    let path = format!("/api/v1/clearings?limit={}{before}", of.limit);
    let page: ClearingPage = client(&of.node).await?.get(&path).await?;
    if io.is_json() {
        return io.json(&page);
    }
    io.line("cut_off\tcut_off_ms\tstate\tnet_yuan\tto_pay\tto_confirm")?;
    for view in &page.clearings {
        io.line(&row(view))?;
    }
    if let Some(next) = page.next {
        io.say(&format!("earlier ones: --before {}", cut_off_text(next)));
    }
    Ok(())
}

fn row(view: &ClearingView) -> String {
    let state = match view.superseded {
        true => format!("{} (in a later statement)", view.state),
        false => view.state.clone(),
    };
    format!(
        "{}\t{}\t{state}\t{}\t{}\t{}",
        view.cut_off,
        view.cut_off_ms,
        view.net_micro_fen.map_or_else(|| "-".to_owned(), yuan),
        view.to_pay,
        view.to_confirm
    )
}

/// Exact: a net position has parts of a fen.
fn yuan(micro_fen: i64) -> String {
    let sign = if micro_fen < 0 { "-" } else { "" };
    let magnitude = micro_fen.unsigned_abs();
    format!("{sign}{}.{:08}", magnitude / YUAN, magnitude % YUAN)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(line: &str) -> Result<ClearingCommand, String> {
        let words = line.split_whitespace();
        let cli = Cli::try_parse_from(["coalition", "clearing"].into_iter().chain(words))
            .map_err(|error| error.to_string())?;
        match cli.command {
            Command::Clearing { command } => Ok(command),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_cut_off_is_named_by_a_time_or_by_its_number() {
        let end = 1_793_462_399_999;
        for text in ["1793462399999", "2026-10-31T15:59:59.999Z", "2026-10-31T23:59:59.999+08:00"] {
            for command in ["show", "close", "export --format csv"] {
                let at = match parsed(&format!("{command} --data d --cut-off {text}")).unwrap() {
                    ClearingCommand::Show(of) | ClearingCommand::Close(of) => of.cut_off,
                    ClearingCommand::Export { of, .. } => of.cut_off,
                    other => panic!("{other:?}"),
                };
                assert_eq!(at, end, "{command} {text}");
            }
            let payments = ["settled --payee b", "confirm --payer b"];
            for payment in payments {
                let line = format!("{payment} --data d --reference r --cut-off {text}");
                let (ClearingCommand::Settled { of, .. } | ClearingCommand::Confirm { of, .. }) =
                    parsed(&line).unwrap()
                else {
                    panic!("{line}")
                };
                assert_eq!((of.cut_off, of.path("")), (end, format!("/api/v1/clearings/{end}")));
            }
        }
        let refused = parsed("show --data d --cut-off noon").unwrap_err();
        assert!(refused.contains("RFC 3339") && refused.contains("noon"), "{refused}");
    }

    #[test]
    fn a_list_has_a_page_and_a_row_is_exact() {
        let ClearingCommand::List(of) = parsed("list --data d").unwrap() else { panic!("a list") };
        assert_eq!((of.before, of.limit, of.json), (None, 20, false));
        let line = "list --data d --json --limit 3 --before 2026-10-31T15:59:59.999Z";
        let ClearingCommand::List(of) = parsed(line).unwrap() else { panic!("a list") };
        assert_eq!((of.before, of.limit, of.json), (Some(1_793_462_399_999), 3, true));
        for wrong in
            ["list --data d --limit 0", "list --data d --limit 1001", "list --data d --before x"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        let view = ClearingView {
            cut_off_ms: 1_793_462_399_999,
            cut_off: cut_off_text(1_793_462_399_999),
            state: "agreed".to_owned(),
            net_micro_fen: Some(-1_234_567_890),
            to_pay: 1,
            ..ClearingView::default()
        };
        let expected = "2026-10-31T15:59:59.999Z\t1793462399999\tagreed\t-12.34567890\t1\t0";
        assert_eq!(row(&view), expected);
        let old = ClearingView { superseded: true, net_micro_fen: None, to_pay: 0, ..view };
        assert!(row(&old).ends_with("\tagreed (in a later statement)\t-\t0\t0"));
    }
}
