//! What a node does for people and programs: one set of operations under the HTTP surface, the
//! console and the command line.
//!
//! Knows views (what may be shown: card numbers masked, no keys, no handles) and the way to the
//! runtime, which owns all state. Does not authorize: a caller holds an `Authorized` token of
//! [`crate::auth`] before it gets here. Does not render.

mod audits;
mod backups;
mod campaigns;
mod cleanroom;
mod consents;
mod counter;
mod cut_offs;
mod deeds;
mod drafts;
mod events;
mod figures;
mod imports;
mod listing;
mod members;
mod openings;
mod own;
mod programme;
mod programme_export;
mod programme_rules;
mod programme_staff;
mod records;
mod requests;
mod reviews;
mod running_audit;
mod users;
mod views;

use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, oneshot, watch};

use protocol::ids::{BrandId, MemberHandle, RequestId};
use protocol::log::block::PublicEntry;
use protocol::log::tlog_witness::{AddCheckpoint, Refusal};

use crate::desk::Desk;
use crate::purchases::Facts;
use crate::vault::{DataKey, MemberId};

pub use audits::*;
pub use backups::*;
pub use campaigns::*;
pub use cleanroom::*;
pub use consents::*;
pub use counter::*;
pub use cut_offs::*;
pub use deeds::{ListedMember, Staff};
pub use drafts::*;
pub use events::*;
pub use figures::*;
pub use imports::*;
pub use listing::*;
pub use members::*;
pub use openings::*;
pub use own::*;
pub use programme::*;
pub use programme_export::*;
pub use programme_rules::*;
pub use programme_staff::*;
pub use records::*;
pub use requests::*;
pub use running_audit::*;
pub use views::*;

/// Where a result goes.
pub type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

/// Why an operation was not done. `Display` is fit for a log and for people: no personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// Stable code, such as `balance_too_low`.
    pub code: &'static str,
    /// What was wrong, and where.
    pub message: String,
    /// What would be right, or what to do next.
    pub remedy: String,
    /// The same in Chinese, where it is written down with what it names; pages know other codes by themselves.
    pub chinese: Option<Box<Chinese>>,
}

/// A refusal in Chinese.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chinese {
    /// What was wrong, and where.
    pub message: String,
    /// What would be right, or what to do next.
    pub remedy: String,
}

/// Kinds of failure, each with its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed or asks for what cannot be (400).
    Invalid,
    /// There is no such thing (404).
    NotFound,
    /// It clashes with what is there, an idempotency key with another body for one (409).
    Conflict,
    /// Understood, and refused by a rule: balance, limit, budget (422).
    Refused,
    /// Not now; try again later (503).
    Unavailable,
    /// A fault of this node (500). The message says no more than that.
    Internal,
}

impl ServiceError {
    /// An error of a kind.
    pub fn new(
        kind: ErrorKind,
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { kind, code, message: message.into(), remedy: remedy.into(), chinese: None }
    }

    /// The same, in Chinese too.
    #[must_use]
    pub fn in_chinese(mut self, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        self.chinese = Some(Box::new(Chinese { message, remedy }));
        self
    }

    /// The node is stopping or its journal has failed.
    #[must_use]
    pub fn stopped() -> Self {
        Self::new(
            ErrorKind::Unavailable,
            "node_stopped",
            "the node is stopping",
            "look at the node's log, start it again and repeat the request: it is idempotent",
        )
    }
}

/// One operation on its way to the runtime, with where its result goes.
#[allow(missing_docs)] // each is described at the operation of [`Node`] that sends it
pub enum Command {
    Import { source: ImportSource, dry_run: bool, reply: Reply<()> },
    ImportBatch { key: String, batch: ImportBatch, reply: Reply<ImportView> },
    ImportProgress { reply: Reply<ImportView> },
    Member { card: String, reply: Reply<MemberView> },
    Cards { least_points: u64, after: Option<String>, limit: u32, reply: Reply<Vec<String>> },
    LinkCode { card: String, brand: String, reply: Reply<LinkCodeView> },
    Link { card: String, brand: String, code: String, reply: Reply<LinkView> },
    Exchange { key: String, request: ExchangeRequest, reply: Reply<ExchangeView> },
    ExchangeBatch(ExchangeBatch),
    ExchangeById { id: String, reply: Reply<ExchangeView> },
    Exchanges { page: Behind<ExchangeKey>, wanted: ExchangeFilter, reply: Reply<ExchangeRows> },
    Received { card: Option<String>, page: Behind<ReceivedKey>, reply: Reply<ReceivedRows> },
    SendBack { key: String, request: SendBackRequest, reply: Reply<ReceivedView> },
    Receipt { id: String, reply: Reply<String> },
    OpenedReceipt { id: String, reply: Reply<String> },
    SealingKeys { reply: Reply<Vec<SealingKeyView>> },
    TurnSealingKey { reply: Reply<SealingKeyView> },
    DestroySealingKeys { reply: Reply<Vec<String>> },
    LogKeys { reply: Reply<Vec<LogKeysView>> },
    Certified { brand: String, height: u64, reply: Reply<Option<CertifiedBlockView>> },
    Constitutions { reply: Reply<Vec<ConstitutionView>> },
    ReadConstitutions { reply: Reply<Vec<ConstitutionView>> },
    Drafts(DraftCommand),
    Disclose { request: DisclosureRequest, reply: Reply<DisclosureView> },
    AddCheckpoint { request: AddCheckpoint, reply: Reply<Result<String, Refusal>> },
    ForeignCheckpoint { origin_hash: String, reply: Reply<String> },
    Close { cut_off_ms: u64, reply: Reply<StatementView> },
    Clearings { before_ms: Option<u64>, limit: u32, reply: Reply<Vec<ClearingView>> },
    Statement { cut_off_ms: u64, reply: Reply<StatementView> },
    Settled { cut_off_ms: u64, request: PaymentRequest, reply: Reply<StatementView> },
    Confirm { cut_off_ms: u64, request: PaymentRequest, reply: Reply<StatementView> },
    Export { cut_off_ms: u64, format: ExportFormat, reply: Reply<Vec<u8>> },
    Disputes { reply: Reply<Vec<DisputeView>> },
    Propose { with: String, request: ProposalRequest, reply: Reply<DisputeView> },
    Agree { with: String, reply: Reply<DisputeView> },
    Partners { reply: Reply<Vec<PartnerView>> },
    ClosePartner { brand: String, reply: Reply<PartnerView> },
    ReadmitPartner { brand: String, reply: Reply<PartnerView> },
    CleanRoom(CleanRoomCommand),
    BackUp { request: BackupRequest, reply: Reply<()> },
    BackupProgress { reply: Reply<BackupView> },
    Programme(Box<ProgrammeCommand>),
    Keep { entry: PublicEntry, reply: Reply<()> },
    Unlink { brand: BrandId, handle: MemberHandle, reply: Reply<()> },
    ForgetMember { member: MemberId, reply: Reply<()> },
    FollowBirthday { member: MemberId, reply: Reply<()> },
    ConsentDecided { member: MemberId, reply: Reply<()> },
    MoveMember { from: MemberId, into: Option<MemberId>, reply: Reply<bool> },
    Answered { certificate: [u8; 32], reply: Reply<String> },
    Holdings { member: MemberId, reply: Reply<HoldingsView> },
    Stop { reply: Reply<()> },
}

/// Many requests on their way to the runtime, with where it tells what became of them.
pub struct ExchangeBatch {
    pub(crate) requests: Vec<KeyedExchange>,
    pub(crate) all_final: oneshot::Sender<()>,
    pub(crate) reply: Reply<Vec<Result<RequestId, ServiceError>>>,
}

/// A request to exchange points under its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedExchange {
    /// The key.
    pub key: String,
    /// The request.
    pub request: ExchangeRequest,
}

/// What became of many requests.
#[derive(Debug)]
pub struct BatchTaken {
    /// The exchange of each request, or why it was not taken, in their order. What is here is durable.
    pub taken: Vec<Result<RequestId, ServiceError>>,
    /// Ends when all that were taken are final.
    pub all_final: oneshot::Receiver<()>,
}

/// A handle to a running node.
#[derive(Clone)]
pub struct Node {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    brand: BrandId,
    published: std::path::PathBuf,
    // the runtime's: when it ends, nobody holds the store any more
    desk: Weak<Desk>,
    facts: Weak<Facts>,
    events: Events,
    audits: Audits,
    // what seals where pages of lists begin
    cursors: Arc<DataKey>,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident ( $($argument:ident : $type:ty),* ) -> $output:ty = $command:ident);* $(;)?) => {
        impl Node {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// See [`ServiceError`]; also when the node is stopping.
            pub async fn $name(&self, $($argument: $type),*) -> Result<$output, ServiceError> {
                let (reply, answer) = oneshot::channel();
                self.commands
                    .send(Command::$command { $($argument,)* reply })
                    .await
                    .map_err(|_| ServiceError::stopped())?;
                answer.await.map_err(|_| ServiceError::stopped())?
            }
        )*}
    };
}

operations! {
    /// Starts an import, or says what one would do; progress is read with [`Node::import_progress`].
    start_import(source: ImportSource, dry_run: bool) -> () = Import;
    /// Imports rows that were sent, all at once. The idempotency key makes repeating it safe; other rows
    /// under the same key are refused.
    import_batch(key: String, batch: ImportBatch) -> ImportView = ImportBatch;
    /// How far the last import has come.
    import_progress() -> ImportView = ImportProgress;
    /// One member, by card number.
    member(card: String) -> MemberView = Member;
    /// Card numbers of members with at least so many points, a page of them: for staff and the demo.
    cards(least_points: u64, after: Option<String>, limit: u32) -> Vec<String> = Cards;
    /// Makes a one-time code with which the member links this account from another brand, `brand`.
    link_code(card: String, brand: String) -> LinkCodeView = LinkCode;
    /// Links a member's account to another brand by the code that brand gave.
    link(card: String, brand: String, code: String) -> LinkView = Link;
    /// Exchanges points. The idempotency key makes repeating it safe; another request under the same
    /// key is refused.
    exchange(key: String, request: ExchangeRequest) -> ExchangeView = Exchange;
    /// One exchange by its id.
    exchange_by_id(id: String) -> ExchangeView = ExchangeById;
    /// Exchanges before a key, newest first, those that are wanted: see [`Node::exchanges_page`].
    listed_exchanges(page: Behind<ExchangeKey>, wanted: ExchangeFilter) -> ExchangeRows = Exchanges;
    /// Exchanges that came in from other brands before a key, newest first; of one member, if a card is
    /// given: see [`Node::received_page`].
    listed_received(card: Option<String>, page: Behind<ReceivedKey>) -> ReceivedRows = Received;
    /// Sends points that came from another brand back to it; the key makes repeating it safe.
    send_back(key: String, request: SendBackRequest) -> ReceivedView = SendBack;
    /// The receipt of a final exchange: a C2SP tlog-proof that stock tools verify.
    receipt(id: String) -> String = Receipt;
    /// The same with what opens its entry, and no other entry.
    opened_receipt(id: String) -> String = OpenedReceipt;
    /// This brand's sealing keys, oldest first.
    sealing_keys() -> Vec<SealingKeyView> = SealingKeys;
    /// Makes a new sealing key, which the next block states.
    turn_sealing_key() -> SealingKeyView = TurnSealingKey;
    /// Destroys the sealing keys whose retention is over; gives their public halves.
    destroy_sealing_keys() -> Vec<String> = DestroySealingKeys;
    /// The keys of every log and of every witness, under each constitution.
    log_keys() -> Vec<LogKeysView> = LogKeys;
    /// The block of a log at a height, if this node has seen it certified and has it still.
    certified(brand: String, height: u64) -> Option<CertifiedBlockView> = Certified;
    /// Every constitution after the first, drafts too, and how far each has come.
    constitutions() -> Vec<ConstitutionView> = Constitutions;
    /// Reads the constitutions that have come into the data directory, and says in the own log what this
    /// brand has decided on them.
    read_constitutions() -> Vec<ConstitutionView> = ReadConstitutions;
    /// Lets an auditor open own blocks, on the record.
    disclose(request: DisclosureRequest) -> DisclosureView = Disclose;
    /// Cosigns another log's checkpoint, or says why not: C2SP tlog-witness.
    add_checkpoint(request: AddCheckpoint) -> Result<String, Refusal> = AddCheckpoint;
    /// What was last cosigned of a foreign log, by the SHA-256 of its origin in hex.
    foreign_checkpoint(origin_hash: String) -> String = ForeignCheckpoint;
    /// Enters this brand's closing for a cut-off (Unix milliseconds) that has passed.
    close(cut_off_ms: u64) -> StatementView = Close;
    /// The cut-offs that this node knows, the newest first: at most so many, before one if that is given.
    clearings(before_ms: Option<u64>, limit: u32) -> Vec<ClearingView> = Clearings;
    /// The clearing statement of a cut-off.
    statement(cut_off_ms: u64) -> StatementView = Statement;
    /// States, as payer, that a payment of a statement was made outside. Lowers nothing.
    settled(cut_off_ms: u64, request: PaymentRequest) -> StatementView = Settled;
    /// Confirms, as payee, that a payment of a statement has arrived.
    confirm(cut_off_ms: u64, request: PaymentRequest) -> StatementView = Confirm;
    /// The statement of a cut-off for banks and books.
    export(cut_off_ms: u64, format: ExportFormat) -> Vec<u8> = Export;
    /// All disputes on record.
    disputes() -> Vec<DisputeView> = Disputes;
    /// As the accused: proposes what the dispute of `with` comes to, in this brand's log.
    propose(with: String, request: ProposalRequest) -> DisputeView = Propose;
    /// As the accuser: agrees to what the log of `with` last proposed.
    agree(with: String) -> DisputeView = Agree;
    /// Every other brand, as this one deals with it.
    partners() -> Vec<PartnerView> = Partners;
    /// Agrees that the log of a brand that lied or failed be closed for good.
    close_partner(brand: String) -> PartnerView = ClosePartner;
    /// Starts a backup of the node's data into a folder of its machine.
    back_up(request: BackupRequest) -> () = BackUp;
    /// How far the last backup has come.
    backup_progress() -> BackupView = BackupProgress;
    /// Agrees that a brand that is suspended from joint questions be asked again.
    readmit_partner(brand: String) -> PartnerView = ReadmitPartner;
    /// Enters something of the desk's into the own log: how far the operation log has come, that a
    /// request was answered.
    keep(entry: PublicEntry) -> () = Keep;
    /// Tells a brand that the member it knows by a handle is gone.
    unlink(brand: BrandId, handle: MemberHandle) -> () = Unlink;
    /// Has the points programme forget an erased member: coupons, requests, alerts, what was bought. The
    /// books keep the account's sums under its random number.
    forget_member(member: MemberId) -> () = ForgetMember;
    /// Has the points programme take up the birthday of a member whose birth date was corrected.
    follow_birthday(member: MemberId) -> () = FollowBirthday;
    /// Has the points programme go by what a member has decided: who has withdrawn the consent to take part is
    /// remembered there no more, whoever gives it is from now on.
    consent_decided(member: MemberId) -> () = ConsentDecided;
    /// Has the points programme take over into one member's account what another has who was merged into
    /// that one, or leave the other's alone again. False while some of the points are promised: to be asked
    /// again.
    move_member(from: MemberId, into: Option<MemberId>) -> bool = MoveMember;
    /// The receipt that a certificate's hash is in the own log, with the entry.
    answered(certificate: [u8; 32]) -> String = Answered;
    /// A member's points, exchanges and links.
    holdings(member: MemberId) -> HoldingsView = Holdings;
    /// Stops the node after what is under way is durable.
    stop() -> () = Stop;
}

impl Node {
    /// A handle, made by the runtime.
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        status: watch::Receiver<Status>,
        brand: BrandId,
        published: std::path::PathBuf,
        (desk, facts): (&Arc<Desk>, &Arc<Facts>),
        events: Events,
    ) -> Self {
        let (audits, cursors) = (Audits::default(), Arc::new(desk.cursor_key()));
        let (desk, facts) = (Arc::downgrade(desk), Arc::downgrade(facts));
        Self { commands, status, brand, published, desk, facts, events, audits, cursors }
    }

    /// The same with audits of which somebody else tells too.
    pub(crate) fn with_audits(self, audits: Audits) -> Self {
        Self { audits, ..self }
    }

    /// What happens at the node, as it happens.
    #[must_use]
    pub const fn events(&self) -> &Events {
        &self.events
    }

    /// Exchanges points for many members at once. Each request is taken or refused by itself.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn exchange_batch(
        &self,
        requests: Vec<KeyedExchange>,
    ) -> Result<BatchTaken, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let (told, all_final) = oneshot::channel();
        self.commands
            .send(Command::ExchangeBatch(ExchangeBatch { requests, all_final: told, reply }))
            .await
            .map_err(|_| ServiceError::stopped())?;
        let taken = answer.await.map_err(|_| ServiceError::stopped())??;
        Ok(BatchTaken { taken, all_final })
    }

    /// Starts an import; progress is read with [`Node::import_progress`].
    ///
    /// # Errors
    /// See [`ServiceError`]; also when the node is stopping.
    pub async fn import(&self, source: ImportSource) -> Result<(), ServiceError> {
        self.start_import(source, false).await
    }

    /// The state as of the last change; cheap.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Whether the runtime has ended: no operation will be done any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    /// Whose node this is.
    #[must_use]
    pub const fn brand(&self) -> BrandId {
        self.brand
    }

    /// The folder with this brand's published log: `checkpoint`, `tile/…`, `certificates`. Served as
    /// it is, to anyone.
    #[must_use]
    pub fn published(&self) -> &std::path::Path {
        &self.published
    }
}
