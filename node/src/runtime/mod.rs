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
mod constitutions;
pub mod core;
pub mod disputes;
mod drafts;
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
mod trace;
mod wires;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use protocol::amount::Points;
use protocol::ids::{BrandId, Height};
use protocol::ledger::Starting;
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::time::{Milliseconds, Timestamp};
use protocol::wire::{Frame, Versions};
use protocol::witness::evidence::Proven;
use protocol::witness::message::Message;
use tokio::sync::{mpsc, oneshot, watch};

use self::clearing::PaymentStep;
use self::clock::ClockRefusals;
use self::constitutions::Following;
use self::core::{Core, Turn, TurnError, cold_error, vault_error};
use self::events::EventCare;
use self::in_flight::InFlight;
use self::pace::{Admission, Paces};
use self::sealed_journal::RecordCipher;
use self::sealing::{SealingCare, keys_error};
use self::snapshot::{SnapshotCare, SnapshotError, WrittenSnapshot};
use self::trace::Traces;
use self::wires::Wires;
use crate::cleanroom::{ReadJob, ReadResult, Room};
use crate::desk::Desk;
use crate::exchange::book::BookedExchange;
use crate::exchange::points::Control;
use crate::journal::{GroupCommit, JournalError, Record};
use crate::metrics::Metrics;
use crate::net::{Inbound, Inbox, NetworkHandle};
use crate::programme::Earned;
use crate::purchases::Facts;
use crate::service::*;
use crate::store::RecordingStore;
use crate::vault::{LinkState, Links};

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
    room: Option<Room>,
    // the clean room acts on nothing before the own log is known
    room_waits: bool,
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
            Err(error) => self.core.alert(error.to_string()),
        }
    }

    /// Sets the figures that are states rather than events.
    fn measure(&self) {
        let (messages, bytes) = self.inbox.waiting();
        for (name, now) in [
            ("inbox_messages", messages),
            ("inbox_bytes", bytes),
            ("commands_waiting", self.commands.len()),
            ("peers_connected", self.reached().count()),
        ] {
            self.metrics.set(name, "", "", u64::try_from(now).unwrap_or(u64::MAX));
        }
        if let Ok(found) = rustix::fs::statvfs(self.following.data.path()) {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            self.metrics.set("disk_free_bytes", "", "", free);
        }
        let quorum = self.core.ledger.constitution().committee().quorum();
        self.metrics.set("quorum_brands", "", "", u64::try_from(quorum).unwrap_or(u64::MAX));
        self.metrics.set("notices_lost", "", "", self.core.notices_lost());
        for (log, witness) in self.core.ledger.witnesses() {
            self.metrics.set("log_height", "log", log, witness.tip().height.get());
            let ledger = &self.core.ledger;
            self.metrics.set("log_frozen", "log", log, u64::from(ledger.is_frozen(log)));
            self.metrics.set("log_closed", "log", log, u64::from(ledger.is_closed(log)));
            self.metrics.set("log_disputed", "log", log, u64::from(witness.is_disputed()));
        }
        let at = now();
        for (log, last) in self.core.log_times() {
            self.metrics.set("log_age_milliseconds", "log", log, at.since(last).get());
        }
        for (brand, since) in self.core.unacknowledged(at) {
            let since = since.map_or(0, |(_, since)| since.get());
            self.metrics.set("unacknowledged_milliseconds", "brand", brand, since);
        }
        let due = self.core.clearing.payments_due();
        for (side, count) in [("pay", due.to_pay), ("confirm", due.to_confirm)] {
            self.metrics.set("clearing_payments_due", "side", side, u64::from(count));
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

    fn command(&mut self, command: Command, turn: &mut Turn) {
        match command {
            Command::Import { source, dry_run, reply } => {
                answer(turn, reply, self.imports().begin(source, dry_run));
            }
            Command::ImportBatch { key, batch, reply } => self.imports().batch(&key, batch, reply),
            Command::ImportProgress { reply } => {
                let view = self.import.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(turn, reply, Ok(view));
            }
            Command::Member { card, reply } => answer(turn, reply, self.member_view(&card)),
            Command::Cards { least_points, after, limit, reply } => {
                answer(turn, reply, self.cards(least_points, after.as_deref(), limit));
            }
            Command::LinkCode { card, brand, reply } => {
                let made = self.core.link_code(&card, &brand, now());
                let view = made
                    .map(|(code, expires)| LinkCodeView { code, expires_ms: expires.unix_ms() });
                answer(turn, reply, view);
            }
            Command::Link { card, brand, code, reply } => {
                let linked = self.core.link(&card, &brand, &code, now(), turn);
                let view = linked.map(|brand| LinkView {
                    brand: brand.to_string(),
                    state: link_state(LinkState::Requested).to_owned(),
                });
                answer(turn, reply, view);
            }
            Command::Exchange { key, request, reply } => {
                let taken = self.core.exchange(&key, &request, now(), turn);
                answer(turn, reply, taken);
            }
            Command::ExchangeBatch(ExchangeBatch { requests, all_final, reply }) => {
                let taken = self.core.exchange_batch(&requests, now(), turn);
                self.until_final.push_back((self.core.will_have_stood(), all_final));
                answer(turn, reply, Ok(taken));
            }
            Command::ExchangeById { id, reply } => {
                answer(turn, reply, self.core.exchange_by_id(&id).map(|booked| booked.view()));
            }
            Command::Exchanges { page: (before, limit), wanted, reply } => {
                let is_wanted = |booked: &BookedExchange| {
                    let state = wanted.state.map(ListedState::name);
                    wanted.to.is_none_or(|to| booked.requested.to == to)
                        && state.is_none_or(|state| booked.state.name() == state)
                };
                let page = self.core.book.page(before, page_length(limit), is_wanted);
                let page = page.map_err(cold_error);
                let views =
                    page.map(|(all, next)| (all.iter().map(BookedExchange::view).collect(), next));
                answer(turn, reply, views);
            }
            Command::Received { card, page: (before, limit), reply } => {
                let limit = page_length(limit);
                let member = card.map(|card| self.core.member(&card)).transpose();
                let received = member.and_then(|member| {
                    self.core.book.received().page(before, limit, member).map_err(cold_error)
                });
                answer(turn, reply, received);
            }
            Command::SendBack { key, request, reply } => {
                let taken = self.core.send_back(&key, &request, now(), turn);
                answer(turn, reply, taken);
            }
            Command::Receipt { id, reply } => answer(turn, reply, self.core.receipt(&id)),
            Command::OpenedReceipt { id, reply } => {
                answer(turn, reply, self.core.opened_receipt(&id));
            }
            Command::SealingKeys { reply } => answer(turn, reply, Ok(self.sealing_key_views())),
            Command::TurnSealingKey { reply } => {
                let turned = self.turn_sealing_key().map_err(|error| keys_error(&error));
                answer(turn, reply, turned);
            }
            Command::DestroySealingKeys { reply } => {
                let done = self.destroy_expired_sealing_keys().map_err(|error| keys_error(&error));
                answer(turn, reply, done);
            }
            Command::LogKeys { reply } => answer(turn, reply, Ok(self.log_key_views())),
            Command::Certified { brand, height, reply } => {
                let log = BrandId::new(&brand).ok();
                let known = log.and_then(|log| self.core.certified(log, Height::new(height)));
                let view = known.map(|(header, block)| CertifiedBlockView {
                    header: header.to_string(),
                    size: block.size().get(),
                });
                answer(turn, reply, Ok(view));
            }
            Command::Constitutions { reply } => {
                answer(turn, reply, Ok(self.constitution_views()));
            }
            Command::ReadConstitutions { reply } => {
                let read = self.read_constitutions(turn);
                answer(turn, reply, read);
            }
            Command::Drafts(command) => self.draft_command(command, turn),
            Command::Disclose { request, reply } => {
                let disclosed = self.core.disclose(&request, now(), turn);
                answer(turn, reply, disclosed);
            }
            Command::AddCheckpoint { request, reply } => {
                let cosigned = self.add_checkpoint(&request, turn);
                answer(turn, reply, Ok(cosigned));
            }
            Command::ForeignCheckpoint { origin_hash, reply } => {
                let note = self.core.foreign.latest(&origin_hash).ok_or_else(|| {
                    ServiceError::new(
                        ErrorKind::NotFound,
                        "not_published",
                        "no checkpoint of such a log was cosigned here",
                        "ask by the SHA-256 of the log's origin, in lower-case hex",
                    )
                });
                answer(turn, reply, note);
            }
            Command::Close { cut_off_ms, reply } => {
                let cut_off = Timestamp::from_unix_ms(cut_off_ms);
                let closed = self.core.close(cut_off, now(), turn);
                answer(turn, reply, closed.and_then(|()| self.statement(cut_off)));
            }
            Command::Clearings { before_ms, limit, reply } => {
                let before = before_ms.map(Timestamp::from_unix_ms);
                let limit = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
                answer(turn, reply, Ok(self.core.clearing.list(before, limit)));
            }
            Command::Statement { cut_off_ms, reply } => {
                answer(turn, reply, self.statement(Timestamp::from_unix_ms(cut_off_ms)));
            }
            Command::Settled { cut_off_ms, request, reply } => {
                let done = self.payment(PaymentStep::Settled, cut_off_ms, &request, turn);
                answer(turn, reply, done);
            }
            Command::Confirm { cut_off_ms, request, reply } => {
                let done = self.payment(PaymentStep::Confirmed, cut_off_ms, &request, turn);
                answer(turn, reply, done);
            }
            Command::Export { cut_off_ms, format, reply } => {
                let cut_off = Timestamp::from_unix_ms(cut_off_ms);
                answer(turn, reply, self.core.export(cut_off, format));
            }
            Command::Disputes { reply } => answer(turn, reply, Ok(self.core.dispute_views())),
            Command::Propose { with, request, reply } => {
                let proposed = self.core.propose(&with, &request, turn);
                answer(turn, reply, proposed);
            }
            Command::Agree { with, reply } => {
                let agreed = self.core.agree(&with, now(), turn);
                answer(turn, reply, agreed);
            }
            Command::Partners { reply } => {
                answer(turn, reply, Ok(self.partner_views()));
            }
            Command::ClosePartner { brand, reply } => {
                let agreed = self.core.agree_to_close(&brand, now(), turn);
                answer(turn, reply, agreed);
            }
            Command::ReadmitPartner { brand, reply } => {
                let agreed = self.readmit(&brand, turn);
                answer(turn, reply, agreed);
            }
            Command::CleanRoom(command) => self.clean_room_command(command, turn),
            Command::BackUp { request, reply } => {
                let (store, view) = (Arc::clone(&self.store), Arc::clone(&self.backup));
                let data = self.following.data.clone();
                let job = backups::prepare(data, self.core.me(), store, request, view);
                answer(turn, reply, job.map(|job| self.snapshots.then_back_up(job)));
            }
            Command::BackupProgress { reply } => {
                let view = self.backup.lock().unwrap_or_else(PoisonError::into_inner).clone();
                answer(turn, reply, Ok(view));
            }
            Command::Programme(command) => match *command {
                ProgrammeCommand::Simulate { file, reply } => {
                    simulation::begin(
                        Arc::clone(&self.facts),
                        self.core.rules(),
                        &file.rules,
                        reply,
                    );
                }
                ProgrammeCommand::Segments { asked, reply } => {
                    segments::begin(&self.core, asked, now(), reply);
                }
                command => self.core.programme_command(command, now(), turn),
            },
            Command::Keep { entry, reply } => {
                let kept = self.core.keep(entry, turn);
                answer(turn, reply, kept);
            }
            Command::Unlink { brand, handle, reply } => {
                let told = self.core.unlink(brand, handle, turn);
                answer(turn, reply, told);
            }
            Command::ForgetMember { member, reply } => {
                let forgotten = self.core.forget_member(member, now(), turn);
                answer(turn, reply, forgotten);
            }
            Command::FollowBirthday { member, reply } => {
                let followed = self.core.follow_birthday(member, now(), turn);
                answer(turn, reply, followed);
            }
            Command::ConsentDecided { member, reply } => {
                let followed = self.core.follow_consent(member, now(), turn);
                answer(turn, reply, followed);
            }
            Command::MoveMember { from, into, reply } => {
                let moved = self.core.move_member(from, into, now(), turn);
                answer(turn, reply, moved);
            }
            Command::Answered { certificate, reply } => {
                answer(turn, reply, self.core.answered(&certificate));
            }
            Command::Holdings { member, reply } => {
                answer(turn, reply, self.holdings(member));
            }
            Command::Stop { reply } => self.stop = Some(reply),
        }
    }

    fn imports(&self) -> import::Imports {
        import::Imports {
            data: self.following.data.clone(),
            brands: self.core.ledger.constitution().committee().brands().to_vec(),
            vault: Arc::clone(&self.core.vault),
            desk: Arc::downgrade(&self.desk),
            facts: Arc::clone(&self.facts),
            commands: self.back.clone(),
            view: Arc::clone(&self.import),
            turns: Arc::clone(&self.turns),
            programme: self.core.rules(),
        }
    }

    fn member_view(&self, card: &str) -> Result<MemberView, ServiceError> {
        let member = self.core.member(card)?;
        let balance = self.core.points.balance(member);
        let links = self.core.vault.links(member).map_err(vault_error)?;
        Ok(MemberView {
            card: self.core.vault.masked_card(member).map_err(vault_error)?,
            available: balance.available.get(),
            held: balance.held.get(),
            links: self.link_views(links),
        })
    }

    fn link_views(&self, links: Links) -> Vec<LinkView> {
        let view = |(brand, state)| {
            let ended = self.core.has_ended(brand);
            let state = if ended { "ended" } else { link_state(state) };
            LinkView { brand: brand.to_string(), state: state.to_owned() }
        };
        links.outgoing.into_iter().map(view).collect()
    }

    /// Card numbers, in clear: for staff who may manage members.
    fn cards(
        &self,
        least_points: u64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ServiceError> {
        let least = Points::new(least_points).unwrap_or(Points::MAX);
        let after = after.map(|card| self.core.member(card)).transpose()?;
        let limit = usize::try_from(limit.min(PAGE_MAX)).unwrap_or(0);
        let members = self.core.points.with_at_least(least, after, limit).into_iter();
        members
            .map(|member| {
                let profile = self.core.vault.profile(member).map_err(vault_error)?;
                Ok(profile.card.expose().to_owned())
            })
            .collect()
    }

    fn statement(&self, cut_off: Timestamp) -> Result<StatementView, ServiceError> {
        self.core.clearing.view(cut_off).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::NotFound,
                "cut_off_unknown",
                "nobody has closed this cut-off",
                "close it first; a cut-off is named by its Unix milliseconds",
            )
        })
    }

    fn payment(
        &mut self,
        step: PaymentStep,
        cut_off_ms: u64,
        request: &PaymentRequest,
        turn: &mut Turn,
    ) -> Result<StatementView, ServiceError> {
        let cut_off = Timestamp::from_unix_ms(cut_off_ms);
        self.core.enter_payment(step, cut_off, request, turn)?;
        self.statement(cut_off)
    }

    /// The state, for whoever looks.
    fn status_now(&mut self) -> Status {
        self.status_taken = Instant::now();
        if let Some(room) = &self.room
            && self.latest_release.0 != room.answers()
        {
            self.latest_release = (room.answers(), room.latest_release());
        }
        let constitution = self.core.ledger.constitution();
        let committee = constitution.committee();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let disputed = self.core.disputed();
        let reached: BTreeSet<BrandId> = self.reached().collect();
        let unanswered: BTreeMap<BrandId, Milliseconds> = self
            .core
            .unacknowledged(now())
            .filter_map(|(brand, since)| since.map(|(_, since)| (brand, since)))
            .collect();
        let heads: Vec<LogHead> = self
            .names
            .iter()
            .filter_map(|names| {
                let tip = self.core.ledger.witness(names.brand)?.tip();
                Some(LogHead {
                    brand: names.brand.to_string(),
                    name_zh: names.zh.clone(),
                    name_en: names.en.clone(),
                    height: tip.height.get(),
                    size: tip.frontier.size().get(),
                    root: tip.frontier.root().to_string(),
                    header: tip.header.to_string(),
                    time_ms: tip.time.unix_ms(),
                    connected: names.brand == self.core.me() || reached.contains(&names.brand),
                    disputed: disputed.contains(&names.brand),
                    frozen: self.core.ledger.is_frozen(names.brand),
                    closed: self.core.ledger.is_closed(names.brand),
                    witness: (names.brand != self.core.me()).then(|| WitnessView {
                        unacknowledged_ms: unanswered.get(&names.brand).map(|since| since.get()),
                        ..self.traces.heard(names.brand)
                    }),
                })
            })
            .collect();
        let connected = heads.iter().filter(|head| head.connected).count();
        let mut alerts: Vec<String> = self.core.alerts.iter().cloned().collect();
        alerts.extend(self.core.standing_alerts(now()));
        if connected < committee.quorum() {
            alerts.push(format!(
                "{connected} brands are connected, a block needs {}: exchanges wait / 已连接品牌 {connected} \
                 个，区块认证需要 {} 个：兑换将等待",
                committee.quorum(),
                committee.quorum()
            ));
        }
        alerts.extend(self.names.iter().filter_map(|names| self.wires.alert(names.brand)));
        alerts.extend(self.clock.alert(committee.faults(), Instant::now()));
        alerts.extend(self.core.ledger.cases().iter().map(|case| case_words(&case.proven)));
        alerts.extend(self.room.iter().flat_map(Room::suspension_alerts));
        alerts.extend(self.room.iter().flat_map(Room::unreadable_alerts));
        alerts.extend(self.core.ledger.starting().map(|starting| starting_words(&starting)));
        let backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.extend(backups::alert(&backup, self.backup_alert_days, now()));
        drop(backup);
        alerts.extend(self.audits.alerts(now().unix_ms()));
        Status {
            alliance: constitution.alliance().to_string(),
            brand: self.core.me().to_string(),
            epoch: constitution.epoch().get(),
            committee: CommitteeView {
                brands: count(committee.size()),
                faults_tolerated: count(committee.faults()),
                quorum: count(committee.quorum()),
            },
            heads,
            exchanges: *self.core.book.counts(),
            exposures: self.core.exposures(),
            residues: self.core.residues(),
            suspense_points: self.core.points.control(Control::Suspense),
            members: self.members,
            purchases: self.purchases,
            budget: self.room.as_ref().map(|room| room.budget(now())),
            latest_release: self.latest_release.1.clone(),
            now_ms: now().unix_ms(),
            alerts,
        }
    }
}

/// Does what takes long where it keeps no other task waiting.
fn apart<R>(heavy: bool, work: impl FnOnce() -> R) -> R {
    if heavy { tokio::task::block_in_place(work) } else { work() }
}

/// That a brand is proved to have lied, for the status page.
fn case_words(proven: &Proven) -> String {
    let (accused, log, offence) = (proven.accused(), proven.log(), proven.offence());
    let (frozen, frozen_zh) = if accused == log && offence.is_of_writer() {
        ("; this node votes on that log no more", "；本节点不再对该账本投票")
    } else {
        ("", "")
    };
    format!(
        "evidence: {accused} signed what contradicts itself in the log of {log} ({}){frozen} / \
         证据：{accused} 在 {log} 的账本中签署了自相矛盾的内容（{}）{frozen_zh}",
        offence.name(),
        offence.name()
    )
}

/// What keeps a node from signing, for the status page.
fn starting_words(starting: &Starting) -> String {
    let list =
        |logs: &[BrandId]| logs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (english, chinese) = match starting {
        Starting::Acknowledgements { received, needed } => (
            format!(
                "starting: {received} of {needed} acknowledgements; nothing is signed until then"
            ),
            format!("启动中：已收到 {received}/{needed} 个确认，在此之前不签署任何内容"),
        ),
        Starting::Undecided(logs) => (
            format!(
                "this node's journal was put back to an older state; it signs nothing in the logs of {} until enough others have said how far these were certified",
                list(logs)
            ),
            format!(
                "本节点的日志被恢复到旧状态；在足够多的其他品牌告知认证高度之前，不对以下账本签名：{}",
                list(logs)
            ),
        ),
        Starting::Fenced(logs) => (
            format!(
                "this node was restored; it votes again in the logs of {} after two more blocks of each",
                list(logs)
            ),
            format!("本节点已恢复；以下账本各再认证两个区块后恢复投票：{}", list(logs)),
        ),
    };
    format!("{english} / {chinese}")
}

/// Answers when this turn's records are durable.
fn answer<T: Send + 'static>(turn: &mut Turn, reply: Reply<T>, result: Result<T, ServiceError>) {
    turn.answers.push(Box::new(move || {
        // whoever asked may be gone
        let _ = reply.send(result);
    }));
}

const fn link_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Requested => "requested",
        LinkState::Accepted => "linked",
        LinkState::Returned => "returned",
    }
}
