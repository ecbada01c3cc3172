//! Drives the state machines: handle, then persist, then send. The one place with a clock and a
//! generator, and the only owner of a node's state.
//!
//! One task takes what has come (messages, commands, ticks), a batch at a time; what that changes is
//! one append of the journal, and the next batch is taken while that is on its way to the disk. Messages leave
//! and answers return when it has got there ([`in_flight`]). Decides nothing itself.

pub mod applications;
mod audits;
mod backups;
mod campaign_members;
mod clean_room;
pub mod clearing;
mod clock;
mod commands;
mod constitutions;
pub mod core;
pub mod disputes;
mod drafts;
mod early_questions;
mod events;
mod import;
mod in_flight;
mod joint;
mod members;
pub mod own_blocks;
pub mod pace;
pub mod published;
mod publisher;
pub mod rebuild;
pub mod sealed_journal;
mod sealing;
mod segments;
mod simulation;
pub mod snapshot;
mod start;
pub mod state_record;
mod status;
mod trace;
mod wires;
mod witnessing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use protocol::ids::BrandId;
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::time::{Milliseconds, Timestamp};
use protocol::wire::{Frame, Versions};
use protocol::witness::message::Message;
use tokio::sync::{mpsc, oneshot, watch};

use self::clock::ClockRefusals;
use self::constitutions::Following;
use self::core::{Core, Turn, TurnError};
use self::early_questions::EarlyQuestions;
use self::events::EventCare;
use self::in_flight::InFlight;
use self::pace::{Admission, Paces};
use self::sealed_journal::RecordCipher;
use self::sealing::SealingCare;
use self::snapshot::{SnapshotCare, SnapshotError, WrittenSnapshot};
use self::trace::Traces;
use self::wires::Wires;
use crate::cleanroom::{Gated, ReadJob, ReadResult};
use crate::desk::Desk;
use crate::journal::{GroupCommit, JournalError, Record};
use crate::metrics::Metrics;
use crate::net::{Inbound, Inbox, NetworkHandle};
use crate::programme::Earned;
use crate::purchases::Facts;
use crate::service::*;
use crate::store::RecordingStore;

pub(crate) use start::check_membership;
pub use start::{Running, StartError, start, start_restored, start_speaking, start_with};

/// How often time passes for the state machines.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of messages after which a turn takes no more: the vote on one block is on its way while the next is
/// judged. What a turn records must fit one append, whatever the last message and an own block add (see
/// [`crate::journal::BATCH_MAX`]). From so many on it is not done amid the other tasks: reading and checking
/// a block takes longer than a vote of another brand should wait to be read. What is longer than a vote can be
/// is a block.
const HEAVY_BYTES: usize = crate::net::BRIEF_MAX;
/// Exchanges under way from which on any turn may be one that builds a block of many.
const MANY_EXCHANGES: u64 = 512;
/// A turn that took longer is told in the log of who debugs.
const LONG_TURN_MS: u64 = 250;
/// Turns that nobody asked for take the status anew when it is as old as this.
const STATUS_AFTER: Duration = Duration::from_millis(5);
/// Most inputs handled in one turn.
const BATCH: usize = 256;
/// How often what is kept of others' logs is brought to the disk.
const FRAGMENTS_SYNC_AFTER: Milliseconds = Milliseconds::from_seconds(1);
/// How often it is looked at what of it is older than the retention.
const FRAGMENTS_LOOK_AFTER: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);
/// How many milliseconds the end of a node waits for what is under way at the desk.
const DESK_PATIENCE: u32 = 5_000;
/// Most exchanges in one answer.
const PAGE_MAX: u32 = 1000;

/// Why a node had to stop. What it did since its last record never was, for others as for itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The published log or the vault.
    #[error(transparent)]
    Turn(#[from] TurnError),
}

/// What the runtime's own jobs bring back into the loop.
enum Internal {
    /// Purchases for the programme; the answer says what they earned, and that it is durable.
    Purchases { purchases: Vec<::programme::state::Purchase>, reply: Reply<Earned> },
    /// How much there is after an import.
    Counted { members: u64, purchases: u64 },
    /// A witness outside the alliance has answered, or not.
    Witness(Box<witnessing::Heard>),
    /// A reading for a joint question has ended.
    Read(Box<ReadResult>),
    /// An opening that was kept, for a participant who lacks it.
    Attached(BrandId, Vec<u8>),
    /// A snapshot is written, or not.
    Snapshot(Result<WrittenSnapshot, SnapshotError>),
}

/// What people see of a brand besides its id.
#[derive(Debug, Clone)]
struct BrandNames {
    brand: BrandId,
    zh: String,
    en: String,
}

/// One node at work.
struct Runtime {
    core: Core,
    // none when the constitution has no clean room
    room: Option<Gated>,
    // questions that wait for what the own log has charged
    early: EarlyQuestions,
    // the latest answer, as of how many there were
    latest_release: (usize, Option<ReleaseView>),
    cipher: Arc<RecordCipher>,
    journal: GroupCommit,
    in_flight: InFlight<Outputs>,
    snapshots: SnapshotCare,
    network: NetworkHandle,
    inbox: Inbox,
    commands: mpsc::Receiver<Command>,
    internal: mpsc::Receiver<Internal>,
    // the way in for the runtime's own jobs
    back: mpsc::Sender<Internal>,
    status: watch::Sender<Status>,
    status_taken: Instant,
    names: Vec<BrandNames>,
    facts: Arc<Facts>,
    desk: Arc<Desk>,
    import: Arc<Mutex<ImportView>>,
    turns: Arc<import::Turns>,
    store: Arc<RecordingStore>,
    backup: Arc<Mutex<BackupView>>,
    backup_alert_days: u32,
    audits: audits::Schedule,
    connected: BTreeSet<BrandId>,
    members: u64,
    purchases: u64,
    wires: Wires,
    sealing: SealingCare,
    following: Following,
    // witnesses outside the alliance
    asked: Vec<witnessing::Asked>,
    paces: Paces,
    metrics: Metrics,
    traces: Traces,
    clock: ClockRefusals,
    stop: Option<Reply<()>>,
    // who waits until so many exchanges stand
    until_final: VecDeque<(u64, oneshot::Sender<()>)>,
    // the operator says that the journal was put back
    restored: bool,
    fragments_synced: Timestamp,
    fragments_looked: Timestamp,
    events: EventCare,
}

/// What a turn would have others see, once it is durable.
struct Outputs {
    messages: Vec<(BrandId, Message)>,
    answers: Vec<Box<dyn FnOnce() + Send>>,
    reads: Vec<ReadJob>,
    checkpoint: Option<SignedCheckpoint>,
    // none when it was taken a moment before
    status: Option<Status>,
    // how many exchanges stood after it
    stood: u64,
    final_after: Vec<Milliseconds>,
    happened: Vec<Happened>,
}

enum Input {
    Network(Inbound),
    Command(Command),
    Internal(Internal),
    Tick,
    // of a block that was put off
    Build,
    Ended,
}

impl Input {
    const fn message_bytes(&self) -> usize {
        match self {
            Self::Network(Inbound::Message { bytes, .. }) => bytes.len(),
            _ => 0,
        }
    }

    /// Whether it is not to be handled amid the other tasks.
    const fn is_heavy(&self) -> bool {
        matches!(self, Self::Command(_)) || self.message_bytes() > HEAVY_BYTES
    }
}

/// The time now.
pub(crate) fn now() -> Timestamp {
    unix(SystemTime::now())
}

fn unix(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Runtime {
    /// Runs until it is told to stop, or a disk fails: then nothing is ever said again.
    async fn run(mut self) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn = Turn::default();
        if self.restored {
            self.core.declare_restored(&mut turn);
        }
        self.core.resume(now(), &mut turn);
        self.resume_joint(&mut turn);
        let resumed = apart(true, || self.conclude(turn))?;
        self.persist(resumed).await?;
        while self.stop.is_none() {
            let has_room = !self.in_flight.is_full();
            let builds = has_room && self.core.has_to_build();
            let input = tokio::select! {
                // first what others wait for, and what comes seldom: peers that never pause must not
                // keep time from passing
                biased;
                durable = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    if let Some((outputs, took)) = durable? {
                        self.say(outputs, took)?;
                    }
                    continue;
                }
                _ = ticks.tick(), if has_room => Input::Tick,
                Some(done) = self.internal.recv(), if has_room => Input::Internal(done),
                inbound = self.inbox.recv(), if has_room => {
                    inbound.map_or(Input::Ended, Input::Network)
                }
                command = self.commands.recv(), if has_room => {
                    command.map_or(Input::Ended, Input::Command)
                }
                // when nobody waits for anything else; otherwise the turn for that does it
                () = std::future::ready(()), if builds => Input::Build,
            };
            let begun = Instant::now();
            // building a block of many exchanges takes a while; of few, less than a thread costs
            let many = input.is_heavy() || self.core.book.counts().held > MANY_EXCHANGES;
            let Some(turn) = apart(many, || self.turn(input))? else { break };
            self.persist(turn).await?;
            self.metrics.observe("turn_seconds", begun.elapsed());
            let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            if milliseconds >= LONG_TURN_MS {
                tracing::debug!(milliseconds, "a long turn");
            }
            self.care_for_snapshots().await?;
        }
        while let Some((outputs, took)) = self.in_flight.next().await? {
            self.say(outputs, took)?;
        }
        if let Some(resolving) = self.following.resolving.take() {
            resolving.abort();
        }
        self.network.clone().shut_down().await;
        // a thread that still writes has the store open
        self.core.published.close();
        self.snapshots.hurried.store(true, Ordering::Relaxed);
        while self.snapshots.under_way
            && let Some(done) = self.internal.recv().await
        {
            if let Internal::Snapshot(written) = done {
                self.snapshot_written(written);
            }
        }
        // what is under way at the desk: whoever starts the node again must find the store free
        for _ in 0..DESK_PATIENCE {
            if Arc::strong_count(&self.desk) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let Some(reply) = self.stop.take() {
            // whoever asked may be gone
            let _ = reply.send(Ok(()));
        }
        Ok(())
    }

    /// One turn: handles an input and what has come meanwhile, which shares the turn's records. None when the
    /// node is to end.
    fn turn(&mut self, input: Input) -> Result<Option<(Vec<Record>, Outputs)>, RunError> {
        let mut turn = Turn::default();
        let mut bytes = input.message_bytes();
        if !self.take(input, &mut turn) {
            return Ok(None);
        }
        for _ in 0..BATCH {
            if bytes > HEAVY_BYTES {
                break;
            }
            // dropping this wait loses nothing
            match self.inbox.recv().now_or_never() {
                Some(Some(inbound)) => {
                    let input = Input::Network(inbound);
                    bytes += input.message_bytes();
                    self.take(input, &mut turn);
                }
                Some(None) | None => break,
            }
        }
        for _ in 0..BATCH {
            match self.commands.try_recv() {
                Ok(command) => drop(self.take(Input::Command(command), &mut turn)),
                Err(_) => break,
            }
        }
        self.settle(&mut turn);
        self.conclude(turn).map(Some)
    }

    /// Handles one input; false when the node is to end.
    fn take(&mut self, input: Input, turn: &mut Turn) -> bool {
        match input {
            Input::Network(Inbound::Message { from, bytes }) => {
                apart(bytes.len() > HEAVY_BYTES, || self.message(from, &bytes, turn));
            }
            Input::Network(Inbound::Connected(brand)) => {
                self.connected.insert(brand);
                // the first frame of a connection; what the peer said on an earlier one counts until
                // it says it again
                let hello = self.wires.with(brand).hello();
                if let Err(error) = self.network.send(brand, hello) {
                    tracing::debug!(brand = %brand, error = %error, "not greeted");
                }
                self.core.ledger.ask(brand, &mut turn.out);
            }
            Input::Network(Inbound::Disconnected(brand)) => drop(self.connected.remove(&brand)),
            Input::Command(command) => {
                tokio::task::block_in_place(|| self.command(command, turn));
            }
            Input::Internal(done) => self.internal(done, turn),
            // all turns end with it
            Input::Build => {}
            Input::Tick => {
                self.measure();
                self.core.tick(now(), turn);
                self.core.tick_programme(now(), turn);
                self.care_for_sealing_keys();
                self.care_for_fragments();
                self.joint_tick(turn);
            }
            Input::Ended => return false,
        }
        true
    }

    /// Once a second brings what is kept of others' logs to the disk, and once a day forgets what is older
    /// than the retention.
    fn care_for_fragments(&mut self) {
        let Some(fragments) = &mut self.core.fragments else { return };
        let at = now();
        if at.since(self.fragments_synced) < FRAGMENTS_SYNC_AFTER {
            return;
        }
        self.fragments_synced = at;
        let files = fragments.to_sync();
        // the journal has it as well: nothing waits for this
        tokio::task::spawn_blocking(move || {
            for file in files {
                if let Err(error) = file.sync_data() {
                    tracing::error!(error = %error, "kept fragments cannot be synced");
                }
            }
        });
        if at.since(self.fragments_looked) < FRAGMENTS_LOOK_AFTER {
            return;
        }
        self.fragments_looked = at;
        // months of 31 days: never before the retention is over
        let days = u64::from(self.sealing.months).saturating_mul(31);
        let age = Milliseconds::from_seconds(days.saturating_mul(24 * 60 * 60));
        let before = at.unix_ms().saturating_sub(age.get());
        match fragments.forget_before(Timestamp::from_unix_ms(before)) {
            Ok(0) => {}
            Ok(blocks) => tracing::info!(blocks, "fragments older than the retention are gone"),
            Err(error) => self.core.alert_error(&error),
        }
    }

    fn message(&mut self, from: BrandId, bytes: &[u8], turn: &mut Turn) {
        match self.wires.with(from).receive(bytes) {
            Ok(Frame::Hello(versions)) => self.greeted(from, versions),
            Ok(Frame::Message(Message::Application(message))) => {
                self.joint_message(from, message, turn);
            }
            Ok(Frame::Message(message)) => {
                self.metrics.received(&message);
                if let Admission::TooFast { tell } = self.paces.admit(from, &message) {
                    self.metrics.count("blocks_held_back", "brand", from);
                    if tell {
                        self.core.alert(format!(
                            "{from} writes its log faster than any node may: its blocks wait / {from} 写入日志过快，其区块须等待"
                        ));
                    }
                    return;
                }
                self.traces.received(&self.core.ledger, from, &message, &self.metrics);
                if let Message::Refusal(refusal) = &message {
                    self.clock.received(from, refusal, self.core.me(), Instant::now());
                }
                self.core.message(from, message, now(), turn);
            }
            Err(error) => {
                self.metrics.count("messages_not_understood", "brand", from);
                tracing::warn!(brand = %from, error = %error, "a message was not understood");
            }
        }
    }

    /// A peer has said which versions it speaks. The operator sees it in the status for as long as it is so.
    fn greeted(&self, brand: BrandId, versions: Versions) {
        if !self.wires.reach(brand) {
            let range = format!("{} to {}", versions.least(), versions.most());
            tracing::warn!(brand = %brand, version = %range, "no version of the wire in common");
        }
    }

    /// Peers that are connected and speak a version that this node speaks.
    fn reached(&self) -> impl Iterator<Item = BrandId> + '_ {
        self.connected.iter().copied().filter(|brand| self.wires.reach(*brand))
    }

    /// What a turn has to record, and what it has to say then.
    fn conclude(&mut self, mut turn: Turn) -> Result<(Vec<Record>, Outputs), RunError> {
        if let Some(error) = self.core.take_failure() {
            tracing::error!(error = %error, "the node stops");
            return Err(error.into());
        }
        self.watch_growth(&turn.gained);
        let records = turn.take_records();
        let Turn { out, answers, reads, final_after, .. } = turn;
        let sealed: Result<Vec<_>, _> =
            records.iter().map(|record| self.cipher.seal(record)).collect();
        let sealed = sealed.map_err(|error| {
            tracing::error!(error = %error, "the journal cannot be written");
            JournalError::NotSealed
        })?;
        self.core.note_recorded(&records);
        // who asked for something sees what has come of it; the rest is for people, and ticks come
        let is_due = !answers.is_empty() || self.status_taken.elapsed() >= STATUS_AFTER;
        let status = is_due.then(|| self.status_now());
        let outputs = Outputs {
            messages: out.messages,
            answers,
            reads,
            checkpoint: self.core.new_checkpoint(),
            status,
            stood: self.core.stood(),
            final_after,
            happened: self.take_happened(),
        };
        Ok((sealed, outputs))
    }

    /// Gives a turn's records to the journal; what it has to say waits until they are durable.
    async fn persist(&mut self, turn: (Vec<Record>, Outputs)) -> Result<(), RunError> {
        let (records, outputs) = turn;
        let bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
        self.snapshots.since += bytes as u64;
        let appending = match records.is_empty() {
            true => None,
            false => Some((self.journal.begin(records).await?, bytes)),
        };
        self.in_flight.push(appending, outputs);
        Ok(())
    }

    /// Publishes, then sends, then answers: what a durable turn has left to be said.
    fn say(&mut self, outputs: Outputs, took: Option<Duration>) -> Result<(), RunError> {
        if let Some(took) = took {
            self.metrics.observe("journal_append_seconds", took);
        }
        let is_final = !outputs.final_after.is_empty();
        for after in outputs.final_after {
            self.metrics.observe("finality_seconds", Duration::from_millis(after.get()));
        }
        if let Some(checkpoint) = outputs.checkpoint {
            self.core.show_checkpoint(checkpoint).map_err(TurnError::from)?;
        }
        self.ask_witnesses();
        for (to, message) in outputs.messages {
            self.metrics.sent(&message);
            self.traces.sent(&self.core.ledger, to, &message);
            if let Message::Refusal(refusal) = &message {
                self.clock.sent(refusal, self.core.me(), Instant::now());
            }
            // a peer that is away, or behind, hears it again when it asks
            let Some(bytes) = self.wires.with(to).send(message) else { continue };
            if let Err(error) = self.network.send(to, bytes) {
                self.metrics.count("messages_not_sent", "brand", to);
                tracing::debug!(brand = %to, error = %error, "not sent");
            }
        }
        self.traces.settled(&self.core.ledger);
        // who is answered, or told, finds what was done in the status
        if let Some(status) = outputs.status {
            self.status.send_replace(status);
        }
        self.events.tell(outputs.happened);
        self.start_reads(outputs.reads);
        for answer in outputs.answers {
            answer();
        }
        while let Some((_, all_final)) =
            self.until_final.pop_front_if(|(until, _)| *until <= outputs.stood)
        {
            // whoever asked may be gone
            let _ = all_final.send(());
        }
        if is_final {
            self.core.final_is_said();
        }
        self.follow_constitution();
        Ok(())
    }

    fn internal(&mut self, done: Internal, turn: &mut Turn) {
        match done {
            Internal::Purchases { purchases, reply } => {
                let earned = self.core.purchases(purchases, now(), turn);
                answer(turn, reply, Ok(earned));
            }
            Internal::Counted { members, purchases } => {
                (self.members, self.purchases) = (members, purchases);
            }
            Internal::Witness(heard) => self.witness_answered(*heard),
            Internal::Read(result) => self.joint_read(*result, turn),
            Internal::Attached(to, body) => Self::attach(to, body, turn),
            Internal::Snapshot(written) => self.snapshot_written(written),
        }
    }
}

/// Does what takes long where it keeps no other task waiting.
fn apart<R>(heavy: bool, work: impl FnOnce() -> R) -> R {
    if heavy { tokio::task::block_in_place(work) } else { work() }
}

/// Answers when this turn's records are durable.
fn answer<T: Send + 'static>(turn: &mut Turn, reply: Reply<T>, result: Result<T, ServiceError>) {
    turn.answers.push(Box::new(move || {
        // whoever asked may be gone
        let _ = reply.send(result);
    }));
}
