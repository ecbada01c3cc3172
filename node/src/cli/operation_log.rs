//! `coalition operations` and `coalition alerts`: who did what with members' data, and whether the list of
//! it is whole: checked offline against what the brand's certified log says of it.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use protocol::ids::BrandId;
use protocol::log::kept::OperationLogHead;
use serde::Serialize;

use super::audit::{AuditArguments, audit};
use super::operations::{NodeArguments, client};
use super::{CliError, Io};
use crate::desk::{Head, Operation};
use crate::service::{AlertsView, OperationView};

/// Entries asked for at a time.
const PAGE: usize = 1_000;

/// The operation log.
#[derive(Debug, clap::Subcommand)]
pub enum OperationsCommand {
    /// Print the operation log, one JSON object a line, oldest first.
    List {
        #[command(flatten)]
        /// Which node.
        node: NodeArguments,
        /// Only entries after this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Verify a printed operation log, offline, against what the brand's log says of it; ends with 1 when
    /// an entry was changed, left out or put in afterwards.
    Verify(Box<VerifyArguments>),
}

/// What is verified against what.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    /// The operation log from its first entry, as `operations list` prints it.
    operations: PathBuf,
    /// Whose it is.
    #[arg(long)]
    brand: String,
    #[command(flatten)]
    audit: AuditArguments,
}

/// Alerts.
#[derive(Debug, clap::Args)]
pub struct AlertsArguments {
    #[command(flatten)]
    /// Which node.
    node: NodeArguments,
    /// Only alerts after this entry of the operation log.
    #[arg(long, default_value_t = 0)]
    after: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries in the list.
    pub entries: u64,
    /// Entries that the brand's log vouches for.
    pub vouched_for: u64,
    /// Heads in the brand's log.
    pub heads: u64,
    /// What does not hold.
    pub findings: Vec<String>,
}

/// Prints or verifies the operation log.
///
/// # Errors
/// When the node refuses, or a file cannot be read.
pub async fn run(command: &OperationsCommand) -> Result<ExitCode, CliError> {
    match command {
        OperationsCommand::List { node, after } => {
            let (client, mut io, mut after) = (client(node).await?, Io::new(true), *after);
            loop {
                let path = format!("/api/v1/operations?after={after}&limit={PAGE}");
                let page: Vec<OperationView> = client.get(&path).await?;
                let Some(last) = page.last() else { return Ok(ExitCode::SUCCESS) };
                after = last.number;
                page.iter().try_for_each(|operation| io.json(operation))?;
            }
        }
        OperationsCommand::Verify(arguments) => {
            let brand = BrandId::new(&arguments.brand)
                .map_err(|error| CliError::Input(error.to_string()))?;
            let report = audit(&arguments.audit)?;
            let heads = report.operations.get(&brand).ok_or_else(|| {
                CliError::Input(format!("there is no log of {brand} in the folder"))
            })?;
            let mut verified = verify(&read(&arguments.operations)?, heads);
            if !report.is_clean() {
                verified.findings.push(format!(
                    "the audit of the logs has {} findings: what they vouch for is not sure",
                    report.findings()
                ));
            }
            let mut io = Io::new(true);
            io.json(&verified)?;
            let sound = verified.findings.is_empty();
            Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

/// Prints alerts: what stands, then what was found.
///
/// # Errors
/// When the node refuses.
pub async fn alerts(arguments: &AlertsArguments) -> Result<(), CliError> {
    let path = format!("/api/v1/alerts?after={}&limit=1000", arguments.after);
    let view: AlertsView = client(&arguments.node).await?.get(&path).await?;
    let mut io = Io::new(true);
    view.standing.iter().for_each(|words| io.say(words));
    view.alerts.iter().try_for_each(|alert| io.json(alert))
}

fn read(path: &Path) -> Result<Vec<Operation>, CliError> {
    let wrong = |source| CliError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut operations = Vec::new();
    for (number, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(wrong)?;
        let view: Option<OperationView> = serde_json::from_str(&line).ok();
        let operation = view.and_then(|view| view.to_operation());
        operations.push(operation.ok_or_else(|| {
            CliError::Input(format!(
                "{}, line {}: not an entry as `operations list` prints it",
                path.display(),
                number + 1
            ))
        })?);
    }
    Ok(operations)
}

/// Checks entries, from the first on, against the heads that a certified log has of them.
#[must_use]
pub fn verify(operations: &[Operation], heads: &[OperationLogHead]) -> Verified {
    let mut findings = Vec::new();
    let mut chain = Head::default();
    let mut hashes = vec![chain.hash];
    for operation in operations {
        if operation.number != chain.entries + 1 {
            let expected = chain.entries + 1;
            let found = operation.number;
            findings.push(format!("entry {expected} is missing: entry {found} stands there"));
            break;
        }
        chain = chain.after(operation);
        hashes.push(chain.hash);
    }
    let mut vouched_for = 0;
    for head in heads {
        let at = usize::try_from(head.entries).ok().and_then(|at| hashes.get(at));
        match at {
            Some(hash) if *hash == head.head => vouched_for = vouched_for.max(head.entries),
            Some(_) => findings.push(format!(
                "of the first {} entries one is not what it was: the brand's log has another hash",
                head.entries
            )),
            None => findings.push(format!(
                "the brand's log vouches for {} entries, and the list has {}",
                head.entries, chain.entries
            )),
        }
    }
    let heads = u64::try_from(heads.len()).unwrap_or(u64::MAX);
    Verified { entries: chain.entries, vouched_for, heads, findings }
}

#[cfg(test)]
mod tests {
    use protocol::time::Timestamp;

    use super::*;
    use crate::desk::Deed;

    fn operations() -> Vec<Operation> {
        let one = |number| Operation {
            number,
            at: Timestamp::from_unix_ms(number),
            by: "ann".to_owned(),
            deed: Deed::Read,
            member: None,
            members: 1,
            what: "a member".to_owned(),
            before: None,
            after: None,
        };
        (1..=5).map(one).collect()
    }

    fn heads(operations: &[Operation]) -> Vec<OperationLogHead> {
        let mut head = Head::default();
        let mut heads = Vec::new();
        for operation in operations {
            head = head.after(operation);
            if [2, 4].contains(&operation.number) {
                heads.push(OperationLogHead { entries: head.entries, head: head.hash });
            }
        }
        heads
    }

    #[test]
    fn a_list_that_is_whole_is_vouched_for_up_to_the_last_head() {
        let all = operations();
        let verified = verify(&all, &heads(&all));
        assert_eq!((verified.entries, verified.vouched_for, verified.heads), (5, 4, 2));
        assert!(verified.findings.is_empty());
    }

    #[test]
    fn what_was_changed_left_out_put_in_or_cut_off_shows() {
        let all = operations();
        let heads = heads(&all);
        let found = |change: &dyn Fn(&mut Vec<Operation>)| {
            let mut changed = all.clone();
            change(&mut changed);
            verify(&changed, &heads).findings.len()
        };
        assert_eq!(found(&|_| {}), 0);
        assert_eq!(found(&|it| it[0].by = "bob".to_owned()), 2);
        assert_eq!(found(&|it| it[3].what = "nothing".to_owned()), 1);
        assert!(found(&|it| drop(it.remove(1))) > 0);
        // left out, and the rest numbered anew
        let renumbered = |it: &mut Vec<Operation>| {
            it.remove(1);
            (1..).zip(it).for_each(|(number, operation)| operation.number = number);
        };
        assert!(found(&renumbered) > 0);
        assert!(found(&|it| it.insert(0, Operation { number: 1, ..it[0].clone() })) > 0);
        assert_eq!(found(&|it| it.truncate(3)), 1);
        // after the last head nobody vouches
        assert_eq!(found(&|it| it[4].by = "bob".to_owned()), 0);
    }
}
