//! A whole node with so many members: what a counter's look-up takes while it imports, and what its start takes.
//!
//! The node is a process of its own, with journal, snapshots, programme and desk, in an alliance with one more node that has no
//! members. It imports as an operator has it import, at the pace that leaves it a quarter of the time: first the
//! members, who all take part in the programme, then one purchase of each, so that every member has points and lots. Meanwhile
//! one connection opens members over HTTPS, a hundred a second; a look-up that is late because the one before was slow
//! counts from when it was due. Then the node is stopped and started again, and has to have everything.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::super::operations::sign_in;
use super::super::super::process::{NodeProcess, Program};
use super::super::super::{CliError, Io};
use super::super::alliance::{Alliance, Plan};
use super::super::{input, process};
use super::{
    LOOK_UP_EVERY, LOOK_UPS_MAX, MAPPING, card_of, make_members, make_purchases, next_number,
    percentile,
};
use crate::client::Client;
use crate::config::SNAPSHOT_MIB;
use crate::desk::MemberRecordView;
use crate::service::{ImportSource, ImportView, ProgrammeReportView, Status};

/// How often it is asked how far the import has come.
const POLL: Duration = Duration::from_millis(100);
/// A session is begun anew before it ends.
const SIGN_IN_EVERY: Duration = Duration::from_secs(600);
/// How long the counts may take to be there after a start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured of a whole node.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NodeFigures {
    /// Members, each with one purchase and what it earned.
    pub members: u64,
    /// Seconds of the members' import, at the pace of a node that serves.
    pub members_seconds: f64,
    /// Seconds of the import of as many purchases, with the points' journal.
    pub purchases_seconds: f64,
    /// Members opened over HTTPS while the purchases were imported: found by card, entered in the operation log,
    /// decrypted, shown masked, with points and links.
    pub look_ups: u64,
    /// Their median, in milliseconds, from when each was due.
    pub look_up_p50_ms: f64,
    /// Their 99th percentile.
    pub look_up_p99_ms: f64,
    /// Points that the programme has issued, the same before and after the start.
    pub issued_points: u64,
    /// Snapshots of the journals of both nodes at the start.
    pub snapshots: usize,
    /// Bytes of the journals of both nodes at the start, snapshots among them.
    pub journal_bytes: u64,
    /// Seconds from the start of the process until it has let its operator in and opened a member; it is asked every 50 ms.
    pub start_seconds: f64,
    /// Resident memory of the process then, in MiB.
    pub memory_mib: f64,
    /// The same at its largest until then.
    pub start_peak_mib: u64,
}

impl NodeFigures {
    pub(super) fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<48} {value:>14}"));
        line("whole node: import of members, s", format!("{:.1}", self.members_seconds));
        line("whole node: import of purchases, s", format!("{:.1}", self.purchases_seconds));
        line("whole node: look-up over HTTPS p50, ms", format!("{:.2}", self.look_up_p50_ms));
        line("whole node: look-up over HTTPS p99, ms", format!("{:.2}", self.look_up_p99_ms));
        line("whole node: start until it answers, s", format!("{:.2}", self.start_seconds));
        line("whole node: memory then, MiB", format!("{:.0}", self.memory_mib));
    }
}

/// Measures. The nodes run as this program says.
///
/// # Errors
/// When a node does not start, an import stops, or something is not there after the start.
pub(super) async fn measure(
    members: u32,
    folder: &Path,
    program: &Program,
    io: &Io,
) -> Result<NodeFigures, CliError> {
    io.say("a whole node starts as a process");
    let (people, bought) = (folder.join("people"), folder.join("bought"));
    for path in [&people, &bought] {
        fs::create_dir(path).map_err(|source| CliError::File { path: path.clone(), source })?;
    }
    make_members(&people.join("members.csv"), members)?;
    make_purchases(&bought.join("purchases.csv"), members, members, 1)?;
    let plan = Plan { brands: 2, members: 0, snapshot_mib: SNAPSHOT_MIB, served: true };
    let alliance = Alliance::make(plan)?;
    let mut nodes = alliance.processes(program);
    for node in &mut nodes {
        node.start()?;
    }
    for node in &mut nodes {
        node.answers().await?;
    }
    let node = nodes.first_mut().ok_or_else(|| input("there is no node"))?;
    let client = node.client()?;

    io.say(&format!("it imports {members} members, then a purchase of each"));
    let (list, members_seconds) = import(node, &client, &people).await?;
    if list.members_enrolled != u64::from(members) {
        return Err(input("the node did not enrol every member"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn(look_up(client.clone(), members, Arc::clone(&stop)));
    let imported = import(node, &client, &bought).await;
    stop.store(true, Ordering::Relaxed);
    let look_ups = looking.await.map_err(input)?;
    let (lines, purchases_seconds) = imported?;
    let mut look_ups = look_ups?;
    look_ups.sort_unstable();
    if lines.rows_kept != u64::from(members) {
        return Err(input("the node did not keep every purchase"));
    }
    sign_in(&client, node.data(), None).await?;
    let issued_points = issued(&client).await?;

    io.say("it is stopped and started again");
    node.tell_to_stop();
    node.stopped().await;
    let (snapshots, journal_bytes) = (alliance.snapshots(), alliance.journal_bytes());
    let began = Instant::now();
    node.start()?;
    node.answers().await?;
    opened(&client, &card_of(next_number(1), members)).await?;
    let start_seconds = began.elapsed().as_secs_f64();
    let id = node.process_id().ok_or_else(|| input("the node has ended"))?;
    let memory_mib = process::memory_mib(id).ok_or_else(|| input("the node has ended"))?;
    let start_peak_mib = process::peak_memory_mib(&id.to_string()).unwrap_or_default();
    has_all(&client, u64::from(members)).await?;
    if issued_points == 0 || issued(&client).await? != issued_points {
        return Err(input("the programme is not what it was: no figure counts"));
    }
    for node in &mut nodes {
        node.tell_to_stop();
    }
    for node in &mut nodes {
        node.stopped().await;
    }
    let ms = |percent| percentile(&look_ups, percent) / 1e3;
    Ok(NodeFigures {
        members: u64::from(members),
        members_seconds,
        purchases_seconds,
        look_ups: look_ups.len() as u64,
        look_up_p50_ms: ms(50),
        look_up_p99_ms: ms(99),
        issued_points,
        snapshots,
        journal_bytes,
        start_seconds,
        memory_mib,
        start_peak_mib,
    })
}

/// Has the node import a folder; gives its report and how many seconds it took.
async fn import(
    node: &NodeProcess,
    client: &Client,
    folder: &Path,
) -> Result<(ImportView, f64), CliError> {
    // who does not take part earns nothing, and would have no state to start with
    let taking_part = "because = \"made up for a bench: all take part\"\n\
        programme = { default = \"granted\" }\njoint_analytics =";
    let mapping = MAPPING.replacen("joint_analytics =", taking_part, 1);
    let path = folder.display().to_string();
    let source = ImportSource::Folder { path, mapping };
    let (began, mut signed_in) = (Instant::now(), Instant::now());
    client.post::<_, ()>("/api/v1/imports", &[], &source).await?;
    loop {
        let view: ImportView = client.get("/api/v1/imports/latest").await?;
        if let Some(problem) = view.failed {
            return Err(input(format!("the import stopped: {problem}")));
        }
        if view.done {
            return Ok((view, began.elapsed().as_secs_f64()));
        }
        if signed_in.elapsed() > SIGN_IN_EVERY {
            sign_in(client, node.data(), None).await?;
            signed_in = Instant::now();
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Opens members until told to stop.
async fn look_up(
    client: Client,
    members: u32,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Duration>, CliError> {
    let (mut taken, mut number, mut due) = (Vec::new(), 1_u64, Instant::now());
    // once even where the import is over before this begins
    while taken.is_empty() || (!stop.load(Ordering::Relaxed) && taken.len() < LOOK_UPS_MAX) {
        let early = due.saturating_duration_since(Instant::now());
        // the timer's own coarseness is nobody's wait
        let from = if early.is_zero() {
            due
        } else {
            tokio::time::sleep(early).await;
            Instant::now()
        };
        due += LOOK_UP_EVERY;
        number = next_number(number);
        opened(&client, &card_of(number, members)).await?;
        taken.push(from.elapsed());
    }
    Ok(taken)
}

/// Opens a member as a counter does.
async fn opened(client: &Client, card: &str) -> Result<(), CliError> {
    let shown: MemberRecordView = client.get(&format!("/api/v1/members/{card}/record")).await?;
    if shown.identifiers.is_empty() || shown.points_available.is_none() {
        return Err(input("a member who was opened has no identifier, or no points"));
    }
    Ok(())
}

async fn issued(client: &Client) -> Result<u64, CliError> {
    let report: ProgrammeReportView = client.get("/api/v1/programme/report").await?;
    if report.trial_balance != 0 || report.differences != 0 {
        return Err(input("the node's books do not balance: no figure counts"));
    }
    Ok(report.issued_points)
}

/// Waits until the node counts every member and purchase.
async fn has_all(client: &Client, members: u64) -> Result<(), CliError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let status: Status = client.get("/api/v1/status").await?;
        if status.members == Some(members) && status.purchases == Some(members) {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
    Err(input("not all that was imported is there after the start: no figure counts"))
}
