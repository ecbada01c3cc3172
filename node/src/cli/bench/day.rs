//! `coalition bench day`: a day of an alliance within minutes, without a hand: imports, exchanges, questions, keys that
//! are turned, a cut-off that is cleared, one node lost with its disk and put back.
//!
//! Every node is a process of its own and is asked over HTTPS, as by tills and people. The time is cut into 24 hours.
//! In each of them every brand gets its part of the day's purchase lines, questions are asked, and exchanges go on at a
//! steady pace all the time. By the clock of the run:
//!
//! | hour | |
//! |---|---|
//! | 6 | every node turns its sealing key, the second its vault's key, the third its certificate, all while they serve |
//! | 8 | the last node is backed up while it serves; its keys are copied, as they are kept elsewhere |
//! | 12 | the last node is killed and its data directory removed; it is restored from the backup and started |
//! | 18 | a cut-off is closed; the statement is agreed by all |
//!
//! Whoever sent purchases to the lost node since its backup sends them again, under the same keys; exchanges are repeated
//! under theirs until they are answered. What counts in the end is what `bench kills` counts: every account, link and
//! key, and the offline audit. Memory is read of every process all the time.

mod questions;
mod readings;
mod upkeep;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use self::readings::Memory;
use self::upkeep::certificate;
use super::super::operations::sign_in;
use super::super::process::{NodeProcess, Program};
use super::super::{CliError, Io};
use super::alliance::{Alliance, Plan};
use super::input;
use super::kills::{Answered, Load, patient};
use super::query::{GROUPS, department, settings};
use crate::client::{Client, ClientError, Method};
use crate::config::{DataDirectory, SNAPSHOT_MIB};
use crate::service::ImportView;
use crate::tls;

/// Parts of the run.
const HOURS: u32 = 24;
const TURNING_HOUR: u32 = 6;
const BACKUP_HOUR: u32 = 8;
const LOSS_HOUR: u32 = 12;
const CLEARING_HOUR: u32 = 18;
/// Clients of each node that exchange.
const CLIENTS: u32 = 8;
/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);
/// A session lasts half an hour; it is begun anew before.
const SIGN_IN_EVERY: Duration = Duration::from_secs(600);
/// Exchanges that were answered for less than this before the loss may be in no block.
const UNSEEN: Duration = Duration::from_secs(60);
/// What a question may cost: a small part of the year's quota, however many there are.
const PICO_RHO: u64 = 20_000_000;

/// What the made-up batches mean.
const MAPPING: &str = "\
format = \"coalition import 1\"
name = \"till\"

[members]
files = [\"members.csv\"]

[members.columns]
card = \"card\"

[members.consent]
source = \"sample_rule\"
notice_version = 1
receivers = [\"*\"]
because = \"There are no such people. 数据为虚构。\"
programme = { default = \"granted\" }
exchange = { default = \"granted\" }
joint_analytics = { default = \"granted\" }

[purchases]
files = [\"purchases.jsonl\"]
time_zone = \"Asia/Shanghai\"
channel = \"store\"
basket = \"order\"
line = \"no\"
member = \"card\"
purchased_at = \"at\"
department = \"dept\"
quantity = \"pieces\"
amount = \"fen\"
currency = \"CNY\"
fen_per_unit = 1

[purchases.cleaning]
same_order_within_seconds = 0
";

/// How it is done.
#[derive(Debug, Clone, clap::Args)]
pub struct DayArguments {
    /// Minutes that stand for the day; may be a fraction.
    #[arg(long, default_value_t = 20.0)]
    pub minutes: f64,
    /// Brands, each with a node of its own; the last one is lost.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(4..=13))]
    pub nodes: u8,
    /// Members of each brand who exchange; as many again come with the imports.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    pub members: u32,
    /// Exchanges, over all brands.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(24..))]
    pub exchanges: u32,
    /// Purchase lines, over all brands.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(240..=24_000_000))]
    pub lines: u32,
    /// Questions: every sixth to all brands together, the others to one brand about its own members.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(6..=240))]
    pub questions: u32,
    /// Seconds between two readings of memory.
    #[arg(long, default_value_t = 5.0)]
    pub every: f64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// One reading of every process.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryReading {
    /// Since the day began.
    pub seconds: f64,
    /// Resident memory of each node in MiB, in the order of the brands; none while it does not run.
    pub node_mib: Vec<Option<f64>>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct DayFigures {
    /// Brands.
    pub nodes: u8,
    /// How long the day was meant to take, in seconds.
    pub planned_seconds: f64,
    /// How long it took until the last of its work was taken.
    pub seconds: f64,
    /// By how much the work of an hour ended after the hour at most.
    pub latest_hour_seconds: f64,
    /// Exchanges that were answered.
    pub exchanges: u64,
    /// Purchase lines that were kept.
    pub lines: u64,
    /// The slowest batch of an hour, in seconds; a node that was away is waited for.
    pub slowest_batch_seconds: f64,
    /// Questions that were answered.
    pub questions: u64,
    /// How often one was asked again because a brand was away.
    pub questions_again: u64,
    /// Median of their seconds from the plan to the answer.
    pub question_p50_seconds: f64,
    /// Keys and certificates that were turned.
    pub rotations: u64,
    /// Making the backup, while the node served.
    pub backup_seconds: f64,
    /// From the loss of the disk until the node let people in again.
    pub lost_until_answering_seconds: f64,
    /// From the loss until it was ready: connected to a quorum, its own log at its place.
    pub lost_until_ready_seconds: f64,
    /// From the loss until it signed blocks of its own again.
    pub lost_until_own_block_seconds: f64,
    /// From closing the cut-off until every brand had the agreed statement.
    pub clearing_seconds: f64,
    /// Readings of memory.
    pub memory: Vec<MemoryReading>,
    /// How fast the nodes that were not lost grew in the second half, together, in KiB a second.
    pub memory_slope_kib_per_second: f64,
    /// The most that one node held at a reading, in MiB.
    pub memory_most_mib: f64,
    /// Accounts with fewer points than they should have, and exchanges that never were acknowledged.
    pub lost: u64,
    /// Accounts with more points than they should have, and exchanges beyond those asked for.
    pub twice: u64,
    /// Links that are not there any more.
    pub links_lost: u64,
    /// Idempotency keys that stood for something else afterwards.
    pub keys_forgotten: u64,
    /// Brands whose purchase lines, in the end, are not those that were sent.
    pub lines_wrong: u64,
    /// What the audit found.
    pub audit_findings: Vec<String>,
}

impl DayFigures {
    /// Whether nothing is lost and nothing is there twice.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let found =
            self.lost + self.twice + self.links_lost + self.keys_forgotten + self.lines_wrong;
        found == 0 && self.audit_findings.is_empty()
    }

    /// Says it to a person.
    pub fn tell(&self, io: &Io) {
        let line = |what: &str, value: String| io.say(&format!("  {what:<52} {value:>14}"));
        line("seconds, planned", format!("{:.0}, {:.0}", self.seconds, self.planned_seconds));
        line("an hour's work late by at most, s", format!("{:.1}", self.latest_hour_seconds));
        line("exchanges answered", self.exchanges.to_string());
        line("purchase lines kept", self.lines.to_string());
        line("questions, asked again", format!("{}, {}", self.questions, self.questions_again));
        line("keys and certificates turned", self.rotations.to_string());
        line("backup while serving, s", format!("{:.1}", self.backup_seconds));
        line(
            "a lost node answers, is ready, signs again, s",
            format!(
                "{:.1}, {:.1}, {:.1}",
                self.lost_until_answering_seconds,
                self.lost_until_ready_seconds,
                self.lost_until_own_block_seconds
            ),
        );
        line("clearing agreed by all, s", format!("{:.1}", self.clearing_seconds));
        line("memory: one node at most, MiB", format!("{:.0}", self.memory_most_mib));
        line(
            "memory: growth of the others in the second half, KiB/s",
            format!("{:.1}", self.memory_slope_kib_per_second),
        );
        line(
            "lost, twice, links lost, keys forgotten, lines wrong",
            format!(
                "{}, {}, {}, {}, {}",
                self.lost, self.twice, self.links_lost, self.keys_forgotten, self.lines_wrong
            ),
        );
        line("findings of the audit", self.audit_findings.len().to_string());
        self.audit_findings.iter().take(5).for_each(|found| io.say(found));
    }
}

/// What runs beside the hours shares.
struct Day {
    load: Load,
    data: Vec<DataDirectory>,
    began: Instant,
    planned: Duration,
    arguments: DayArguments,
    questions_again: AtomicU64,
    /// When the last node was lost, once it is back.
    loss: OnceLock<Instant>,
}

/// Runs a day. Every node runs as this program says.
///
/// # Errors
/// When something fails that the day needs; what it was is said.
pub async fn measure(
    arguments: &DayArguments,
    program: &Program,
    io: &Io,
) -> Result<DayFigures, CliError> {
    if !(0.1..=1_440.0).contains(&arguments.minutes) || !(0.1..=600.0).contains(&arguments.every) {
        return Err(input("--minutes is 0.1 to 1440, --every 0.1 to 600 seconds"));
    }
    let plan = Plan {
        brands: arguments.nodes,
        members: arguments.members,
        snapshot_mib: SNAPSHOT_MIB,
        served: true,
    };
    io.say(&format!("{} nodes with {} members each start", arguments.nodes, arguments.members));
    let alliance = Alliance::make_with(plan, &settings())?;
    let backups = tempfile::Builder::new().prefix("coalition-day-").tempdir().map_err(input)?;
    let mut nodes = alliance.processes(program);
    for node in &mut nodes {
        let mappings = node.data().mappings();
        fs::create_dir_all(&mappings).map_err(input)?;
        fs::write(mappings.join("till.toml"), MAPPING).map_err(input)?;
        node.start()?;
    }
    for node in &mut nodes {
        node.answers().await?;
    }
    let mut clients = nodes.iter().map(NodeProcess::client).collect::<Result<Vec<_>, _>>()?;
    // who pins the certificate of the third is given the next one before it is served with
    let next_tls = backups.path().join("next-tls");
    tls::create(&next_tls, None).map_err(input)?;
    if let (Some(client), Some(node)) = (clients.get_mut(2), nodes.get(2)) {
        let mut both = certificate(&node.data().tls())?;
        both.extend(certificate(&next_tls)?);
        *client = Client::connect(client.address(), &both)?;
        sign_in(client, node.data(), None).await?;
    }
    let day = Arc::new(Day {
        load: Load {
            clients,
            brands: alliance.ids().iter().map(ToString::to_string).collect(),
            members: arguments.members,
            ends: AtomicBool::new(false),
            numbers: Vec::new(),
        },
        data: nodes.iter().map(|node| node.data().clone()).collect(),
        began: Instant::now(),
        planned: Duration::from_secs_f64(arguments.minutes * 60.0),
        arguments: arguments.clone(),
        questions_again: AtomicU64::new(0),
        loss: OnceLock::new(),
    });
    day.members().await?;
    let told = run_day(&day, &mut nodes, backups.path(), io).await;
    day.load.ends.store(true, Ordering::Relaxed);
    let (mut figures, answered) = told?;
    io.say("the day is over; the alliance comes to rest, and every account is compared");
    day.compare(&mut figures, &answered).await?;
    for node in &mut nodes {
        node.tell_to_stop();
    }
    for node in &mut nodes {
        node.stopped().await;
    }
    io.say("the logs go through the offline audit");
    let (logs, alliance) = alliance.stop().await?;
    let (findings, payloads) = alliance.audit(logs)?;
    figures.audit_findings = findings;
    if payloads != figures.exchanges {
        let words = format!("{payloads} payloads in the logs of {} exchanges", figures.exchanges);
        figures.audit_findings.push(words);
    }
    Ok(figures)
}

async fn run_day(
    day: &Arc<Day>,
    nodes: &mut [NodeProcess],
    backups: &Path,
    io: &Io,
) -> Result<(DayFigures, Vec<Answered>), CliError> {
    let mut senders = JoinSet::new();
    for from in 0..nodes.len() {
        for client in 0..CLIENTS {
            let day = Arc::clone(day);
            senders.spawn(async move { day.exchange(from, client).await });
        }
    }
    let mut sessions = JoinSet::new();
    let of_sessions = Arc::clone(day);
    sessions.spawn(async move { of_sessions.keep_signed_in().await });
    let mut total = Total::default();
    let mut memory = Memory::new(nodes, day.arguments.every, day.began);
    let mut lost = Lost::default();
    let mut answered = Vec::new();
    for hour in 0..HOURS {
        memory.beside(tokio::time::sleep_until((day.began + day.starts(hour)).into())).await;
        let mut work = JoinSet::new();
        for place in 0..nodes.len() {
            let day = Arc::clone(day);
            work.spawn(async move { day.import(place, hour).await.map(Done::Import) });
        }
        let asking = Arc::clone(day);
        work.spawn(async move { asking.ask_all(hour).await.map(Done::Asked) });
        match hour {
            TURNING_HOUR => total.rotations += memory.beside(day.turn_keys(backups)).await?,
            BACKUP_HOUR => total.backup = memory.beside(day.back_up(backups)).await?,
            LOSS_HOUR => {
                io.say("the last node is killed and its data directory removed");
                lost = memory.beside(day.lose_and_restore(nodes, backups)).await?;
                memory.follow(nodes);
                // what came after the backup is in no store: whoever sent it sends it again
                let last = nodes.len().saturating_sub(1);
                for earlier in BACKUP_HOUR..LOSS_HOUR {
                    let day = Arc::clone(day);
                    work.spawn(async move { day.import(last, earlier).await.map(|_| Done::Again) });
                }
            }
            CLEARING_HOUR => total.clearing = memory.beside(day.clear()).await?,
            _ => {}
        }
        memory.beside(total.gather(&mut work)).await?;
        // a client that gave up has found something
        while let Some(ended) = senders.try_join_next() {
            answered.extend(ended.map_err(input)??);
        }
        let late = day.began.elapsed().saturating_sub(day.ends(hour));
        total.latest_hour = total.latest_hour.max(late.as_secs_f64());
        if (hour + 1) % 6 == 0 {
            io.say(&format!("  {} of {HOURS} hours, {} lines", hour + 1, total.lines));
        }
    }
    let rest = async {
        tokio::time::sleep_until((day.began + day.planned).into()).await;
        while let Some(sent) = senders.join_next().await {
            answered.extend(sent.map_err(input)??);
        }
        Ok::<_, CliError>(())
    };
    memory.beside(rest).await?;
    sessions.abort_all();
    let Total { mut asked, lines, slowest_batch, latest_hour, rotations, backup, clearing } = total;
    asked.sort_by(f64::total_cmp);
    let figures = DayFigures {
        nodes: day.arguments.nodes,
        planned_seconds: day.planned.as_secs_f64(),
        seconds: day.began.elapsed().as_secs_f64(),
        latest_hour_seconds: latest_hour,
        exchanges: answered.len() as u64,
        lines,
        slowest_batch_seconds: slowest_batch,
        questions: asked.len() as u64,
        questions_again: day.questions_again.load(Ordering::Relaxed),
        question_p50_seconds: asked.get(asked.len() / 2).copied().unwrap_or_default(),
        rotations,
        backup_seconds: backup,
        lost_until_answering_seconds: lost.answering,
        lost_until_ready_seconds: lost.ready,
        lost_until_own_block_seconds: lost.own_block,
        clearing_seconds: clearing,
        memory_slope_kib_per_second: memory.slope(),
        memory_most_mib: memory.most(),
        memory: memory.readings,
        lost: 0,
        twice: 0,
        links_lost: 0,
        keys_forgotten: 0,
        lines_wrong: 0,
        audit_findings: Vec::new(),
    };
    Ok((figures, answered))
}

/// A part of an hour's work that is done.
enum Done {
    Import((u64, f64)),
    Again,
    Asked(Vec<f64>),
}

/// What the hours' work comes to.
#[derive(Default)]
struct Total {
    asked: Vec<f64>,
    lines: u64,
    slowest_batch: f64,
    latest_hour: f64,
    rotations: u64,
    backup: f64,
    clearing: f64,
}

impl Total {
    /// Waits for an hour's work.
    async fn gather(&mut self, work: &mut JoinSet<Result<Done, CliError>>) -> Result<(), CliError> {
        while let Some(ended) = work.join_next().await {
            match ended.map_err(input)?? {
                Done::Import((kept, seconds)) => {
                    self.lines += kept;
                    self.slowest_batch = self.slowest_batch.max(seconds);
                }
                Done::Asked(seconds) => self.asked.extend(seconds),
                // counted when it was sent first
                Done::Again => {}
            }
        }
        Ok(())
    }
}

/// How long the node that was lost was away, in seconds.
#[derive(Default)]
struct Lost {
    answering: f64,
    ready: f64,
    own_block: f64,
}

impl Day {
    fn starts(&self, hour: u32) -> Duration {
        self.planned * hour / HOURS
    }
    fn ends(&self, hour: u32) -> Duration {
        self.planned * (hour + 1) / HOURS
    }

    fn client(&self, place: usize) -> Result<&Client, CliError> {
        self.load.clients.get(place).ok_or_else(|| input("there is no such node"))
    }

    /// Asks until the node answers: it may be away, or have forgotten its sessions.
    async fn get<T: DeserializeOwned>(&self, client: &Client, path: &str) -> Result<T, CliError> {
        let began = Instant::now();
        loop {
            if let Some(done) = patient(client.get(path).await)? {
                return Ok(done);
            }
            self.pause(began, path).await?;
        }
    }

    /// The same for what changes something; asked again, it must do no harm.
    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        client: &Client,
        path: &str,
        body: &B,
    ) -> Result<T, CliError> {
        let began = Instant::now();
        loop {
            if let Some(done) = patient(client.post(path, &[], body).await)? {
                return Ok(done);
            }
            self.pause(began, path).await?;
        }
    }

    async fn pause(&self, began: Instant, what: &str) -> Result<(), CliError> {
        if began.elapsed() > PATIENCE {
            return Err(input(format!("{what}: not within {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    /// Begins sessions anew before they end.
    async fn keep_signed_in(&self) {
        loop {
            tokio::time::sleep(SIGN_IN_EVERY).await;
            for (client, data) in self.load.clients.iter().zip(&self.data) {
                // a node that is away is signed in to when it is back
                let _ = sign_in(client, data, None).await;
            }
        }
    }

    /// One of a node's clients: its exchanges, at a steady pace over the day.
    async fn exchange(&self, from: usize, client: u32) -> Result<Vec<Answered>, CliError> {
        let nodes = u64::from(self.arguments.nodes);
        let (from_client, clients) = (u64::from(client), u64::from(CLIENTS));
        let count = u64::from(self.arguments.exchanges).div_ceil(nodes);
        let asks = self.client(from)?;
        let mut answered = Vec::new();
        for number in (from_client..count).step_by(CLIENTS as usize) {
            let due = self.planned.mul_f64(number as f64 / count.max(clients) as f64);
            tokio::time::sleep_until((self.began + due).into()).await;
            if self.load.ends.load(Ordering::Relaxed) {
                break;
            }
            answered.push((Instant::now(), number, self.load.ask(asks, from, number).await?));
        }
        // what was taken and in no block yet went with the disk: whoever has not seen it final repeats it
        let is_last = from + 1 == self.data.len();
        if let Some(loss) = self.loss.get().filter(|_| is_last) {
            let of_then = |at: &Instant| at <= loss && loss.duration_since(*at) < UNSEEN;
            let of_then =
                answered.iter().filter(|(at, ..)| of_then(at)).map(|(_, number, _)| *number);
            for number in of_then.collect::<Vec<_>>() {
                self.load.ask(asks, from, number).await?;
            }
        }
        Ok(answered.into_iter().map(|(_, _, answered)| answered).collect())
    }

    /// The members who come with imports, at every brand.
    async fn members(&self) -> Result<(), CliError> {
        let mut csv = String::from("card\n");
        for number in 0..self.arguments.members {
            csv.push_str(&format!("DAY-{number:08}\n"));
        }
        for place in 0..self.data.len() {
            let path = "/api/v1/imports/batches?kind=members&mapping=till";
            self.batch(place, path, "day-members", "text/csv", &csv).await?;
        }
        Ok(())
    }

    /// Purchase lines of one hour for one brand.
    fn lines(&self, place: usize, hour: u32) -> String {
        let of_one = self.arguments.lines / HOURS / u32::from(self.arguments.nodes);
        let mut text = String::new();
        for number in 0..of_one {
            // two lines a basket, spread over members, departments and minutes
            let (order, no) = (number / 2, number % 2 + 1);
            let member = order.wrapping_mul(7_919).wrapping_add(hour) % self.arguments.members;
            let group = u64::from(number.wrapping_mul(13) + hour) % GROUPS;
            let fen = 100 + u64::from(number) * 37 % 20_000;
            text.push_str(&format!(
                "{{\"order\":\"{place}-{hour}-{order}\",\"no\":{no},\"card\":\"DAY-{member:08}\",\
                 \"at\":\"2025-06-15T{hour:02}:{:02}:00+08:00\",\"dept\":\"{}\",\"pieces\":1,\"fen\":{fen}}}\n",
                order % 60,
                department(group),
            ));
        }
        text
    }

    /// Sends an hour's purchases to a brand; gives how many lines it kept, and how long it took.
    async fn import(&self, place: usize, hour: u32) -> Result<(u64, f64), CliError> {
        let began = Instant::now();
        let text = self.lines(place, hour);
        let path = "/api/v1/imports/batches?kind=purchases&mapping=till";
        let key = format!("day-{hour}");
        let view = self.batch(place, path, &key, "application/x-ndjson", &text).await?;
        if let Some(rejected) = view.rejected.first() {
            return Err(input(rejected));
        }
        Ok((view.rows_kept, began.elapsed().as_secs_f64()))
    }

    async fn batch(
        &self,
        place: usize,
        path: &str,
        key: &str,
        kind: &str,
        text: &str,
    ) -> Result<ImportView, CliError> {
        let client = self.client(place)?;
        let headers = [("idempotency-key", key), ("content-type", kind)];
        let body = bytes::Bytes::copy_from_slice(text.as_bytes());
        let began = Instant::now();
        loop {
            let sent = client.send(Method::POST, path, &headers, Some(body.clone())).await;
            match sent {
                Ok(answer) if answer.status.is_success() => {
                    return serde_json::from_slice(&answer.body).map_err(input);
                }
                // away, its sessions forgotten, or another batch under way
                Ok(answer) if matches!(answer.status.as_u16(), 401 | 409 | 429 | 503) => {}
                Ok(answer) => return Err(input(String::from_utf8_lossy(&answer.body))),
                Err(ClientError::Unreachable { .. } | ClientError::Timeout { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if began.elapsed() > PATIENCE {
                return Err(input("a node does not take a batch"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Holds everything against what was asked for.
    async fn compare(
        &self,
        figures: &mut DayFigures,
        answered: &[Answered],
    ) -> Result<(), CliError> {
        for (client, data) in self.load.clients.iter().zip(&self.data) {
            sign_in(client, data, None).await?;
        }
        let counts = self.load.at_rest().await?;
        figures.keys_forgotten = self.load.ask_again(answered).await?;
        (figures.lost, figures.twice, figures.links_lost) = self.load.compare(answered).await?;
        for (from, status) in counts.iter().enumerate() {
            let asked = answered.iter().filter(|it| it.from == from).count() as u64;
            figures.lost += asked.saturating_sub(status.exchanges.acknowledged);
            figures.twice += status.exchanges.acknowledged.saturating_sub(asked);
            let sent: usize = (0..HOURS).map(|hour| self.lines(from, hour).lines().count()).sum();
            figures.lines_wrong += u64::from(status.purchases != Some(sent as u64));
        }
        Ok(())
    }
}
