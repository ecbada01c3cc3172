//! A node whose runtime is a task that answers with fixed views, behind the real server and the real
//! client.

use std::path::Path;
use std::sync::Arc;

use protocol::ids::{BrandId, RequestId};
use protocol::log::tlog_witness::Refusal;
use protocol::time::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{RateLimits, ServeOptions, Served, serve};
use crate::auth::{Auth, Role};
use crate::client::Client;
use crate::desk::Desk;
use crate::metrics::Metrics;
use crate::purchases::Facts;
use crate::service::*;
use crate::store::{MemoryStore, Store};
use crate::tls::ServerTls;
use crate::webhooks::{WebhookSettings, Webhooks};
use crate::{console, tls};

pub(super) const PASSWORD: &str = "correct horse battery";
/// Points that members have by the programme's books; no other number is like it.
pub(super) const LIABILITY_POINTS: u64 = 77_455_501;
/// An analyst account of the budget.
pub(super) const BUDGET_ACCOUNT: &str = "desk.mark.7753";

pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) auth: Auth,
    pub(super) served: Served,
    /// What happens at the node; dropping it ends the node's events.
    pub(super) events: EventSource,
    certificate: Vec<u8>,
    /// The node's own audits.
    pub(super) audits: Audits,
    // a node's handle does not keep them alive
    pub(super) desk: (Arc<Desk>, Arc<Facts>),
}

impl Fixture {
    /// Must be called within a tokio runtime. With limits that no test reaches by accident.
    pub(super) fn start() -> Self {
        Self::start_with(RateLimits::widest(), Metrics::default())
    }

    pub(super) fn start_with(rate_limits: RateLimits, metrics: Metrics) -> Self {
        Self::start_tls(rate_limits, metrics, |directory| tls::load(directory).unwrap())
    }

    /// The same, under the TLS that is made in its directory, where certificate and key are.
    pub(super) fn start_tls(
        rate_limits: RateLimits,
        metrics: Metrics,
        tls_of: impl FnOnce(&Path) -> ServerTls,
    ) -> Self {
        Self::start_over(Arc::new(MemoryStore::new()), rate_limits, metrics, tls_of)
    }

    /// With what the desk knows in this store.
    pub(super) fn start_in(store: Arc<dyn Store>) -> Self {
        let tls_of = |directory: &Path| tls::load(directory).unwrap();
        Self::start_over(store, RateLimits::widest(), Metrics::default(), tls_of)
    }

    fn start_over(
        store: Arc<dyn Store>,
        rate_limits: RateLimits,
        metrics: Metrics,
        tls_of: impl FnOnce(&Path) -> ServerTls,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("webhooks.json");
        let settings = WebhookSettings::default();
        let webhooks = Webhooks::open(&path, settings, metrics.clone()).unwrap();
        let options = ServeOptions { rate_limits, metrics, webhooks };
        tls::create(directory.path(), None).unwrap();
        let certificate = std::fs::read(directory.path().join(tls::CERTIFICATE_FILE)).unwrap();
        let auth = Auth::open_stopped(&directory.path().join("users.json")).unwrap();
        auth.add_user("ann", &Role::ALL, PASSWORD).unwrap();
        let brand = BrandId::new("grocer").unwrap();
        let desk = crate::desk::testing::with_one_member(store, brand, directory.path());
        let events = EventSource(Events::new(Timestamp::from_unix_ms(1)));
        let node = node(directory.path(), &desk, events.0.clone());
        let audits = node.audits().clone();
        let served = serve(
            node,
            auth.clone(),
            ([127, 0, 0, 1], 0).into(),
            tls_of(directory.path()),
            options,
        )
        .unwrap();
        Self { directory, auth, served, events, certificate, desk, audits }
    }

    /// How many entries the operation log has.
    pub(super) fn entries(&self) -> u64 {
        self.desk.0.log().head().entries
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.served.address, &self.certificate).unwrap()
    }

    pub(super) fn client_as(&self, roles: &[Role]) -> Client {
        let client = self.client();
        client.use_token(&self.auth.token_for(roles));
        client
    }
}

fn node(published: &Path, (desk, facts): &(Arc<Desk>, Arc<Facts>), events: Events) -> Node {
    let (commands, mut received) = mpsc::channel(64);
    let (status_sender, status) = watch::channel(console::samples::status());
    tokio::spawn(async move {
        while let Some(command) = received.recv().await {
            match command {
                // as when a journal has failed: the runtime ends without an answer
                Command::Member { card, .. } if card == "fatal" => break,
                command => answer(command),
            }
        }
        drop(status_sender);
    });
    let brand = BrandId::new("grocer").unwrap();
    Node::new(commands, status, brand, published.to_owned(), (desk, facts), events)
}

/// Echoes what it was asked, so that a test sees that the parts of a request arrived.
fn answer(command: Command) {
    let found = |id: String| if id == "gone" { Err(not_found()) } else { Ok(id) };
    match command {
        Command::Constitutions { reply } | Command::ReadConstitutions { reply } => {
            reply.send(Ok(Vec::new())).ok().map(drop)
        }
        Command::Drafts(command) => draft(command, found),
        Command::Certified { brand, height, reply } => {
            // of the sample's state: the head, and before it nothing that is kept
            let heads = console::samples::status().heads;
            let head = heads.into_iter().find(|it| (&it.brand, it.height) == (&brand, height));
            let view = head.map(|it| CertifiedBlockView { header: it.header, size: it.size });
            reply.send(Ok(view)).ok().map(drop)
        }
        Command::LogKeys { reply } => reply.send(Ok(Vec::new())).ok(),
        Command::Import { reply, .. } | Command::Stop { reply } => reply.send(Ok(())).ok(),
        Command::BackUp { reply, .. } => reply.send(Ok(())).ok(),
        Command::BackupProgress { reply } => reply.send(Ok(BackupView::default())).ok().map(drop),
        Command::ImportBatch { key, batch, reply } => {
            let rows_read = u64::try_from(batch.bytes.len()).unwrap();
            let mapping = format!("{} {key} {:?}", batch.mapping, batch.kind);
            let view = ImportView { rows_read, mapping, done: true, ..ImportView::default() };
            reply.send(Ok(view)).ok().map(drop)
        }
        Command::ImportProgress { reply } => {
            reply.send(Ok(ImportView { rows_read: 7, ..ImportView::default() })).ok().map(drop)
        }
        Command::Member { card, reply } => {
            let view = found(card).map(|card| MemberView { card, ..MemberView::default() });
            reply.send(view).ok()
        }
        // the member whom the desk knows
        Command::Cards { least_points: 0, reply, .. } => reply.send(Ok(vec!["1".to_owned()])).ok(),
        Command::Cards { least_points, after, limit, reply } => {
            let card = format!("{least_points}-{}-{limit}", after.unwrap_or_default());
            reply.send(Ok(vec![card; 2])).ok()
        }
        Command::LinkCode { brand, reply, .. } => {
            reply.send(Ok(LinkCodeView { code: brand, expires_ms: 1 })).ok()
        }
        Command::Link { brand, code, reply, .. } => {
            reply.send(Ok(LinkView { brand, state: code })).ok()
        }
        Command::Exchange { key, request, reply } => {
            let view = ExchangeView {
                id: key,
                to: request.to,
                points_sent: request.points,
                ..ExchangeView::default()
            };
            let refused = ServiceError::new(
                ErrorKind::Refused,
                "balance_too_low",
                "the member has fewer points",
                "ask for fewer",
            );
            reply.send(if request.points > 1000 { Err(refused) } else { Ok(view) }).ok()
        }
        // no surface of its own: nothing over HTTP asks for it
        Command::ExchangeBatch(batch) => batch.reply.send(Ok(Vec::new())).ok().map(drop),
        Command::ExchangeById { id, reply } => {
            let view = found(id).map(|id| ExchangeView { id, ..ExchangeView::default() });
            reply.send(view).ok()
        }
        Command::Exchanges { page: (before, limit), wanted, reply } => {
            reply.send(Ok(numbered_exchanges(before, limit, wanted))).ok()
        }
        Command::AddCheckpoint { request, reply } => {
            reply.send(Ok(Err(Refusal::Conflict { latest: request.old() }))).ok().map(drop)
        }
        Command::ForeignCheckpoint { reply, .. } => {
            let refused = ServiceError { code: "not_published", ..not_found() };
            reply.send(Err(refused)).ok()
        }
        Command::Received { page: (_, limit), reply, .. } => {
            reply.send(Ok((vec![ReceivedView::default(); limit as usize], None))).ok()
        }
        Command::SendBack { request, reply, .. } => {
            let view = ReceivedView { from: request.from, ..ReceivedView::default() };
            reply.send(Ok(view)).ok()
        }
        Command::Receipt { id, reply } | Command::OpenedReceipt { id, reply } => {
            reply.send(found(id)).ok()
        }
        Command::SealingKeys { reply } => {
            reply.send(Ok(vec![SealingKeyView::default()])).ok().map(drop)
        }
        Command::TurnSealingKey { reply } => {
            reply.send(Ok(SealingKeyView::default())).ok().map(drop)
        }
        Command::DestroySealingKeys { reply } => reply.send(Ok(Vec::new())).ok().map(drop),
        Command::Disclose { request, reply } => {
            let DisclosureRequest { auditor, from, to } = request;
            let view = DisclosureView { auditor, from, to, ..DisclosureView::default() };
            reply.send(Ok(view)).ok().map(drop)
        }
        Command::Close { cut_off_ms, reply } | Command::Statement { cut_off_ms, reply } => {
            let (state, hash) = ("agreed".to_owned(), Some("7e".repeat(32)));
            let view = StatementView { cut_off_ms, state, hash, ..StatementView::default() };
            reply.send(Ok(view)).ok().map(drop)
        }
        Command::Clearings { before_ms, limit, reply } => {
            // one a day, back to the first
            let newest = before_ms.unwrap_or(u64::MAX).min(1_793_548_799_999);
            let days = (1..=u64::from(limit)).map_while(|day| newest.checked_sub(day * 86_400_000));
            let view = |cut_off_ms| ClearingView {
                cut_off_ms,
                cut_off: cut_off_text(cut_off_ms),
                ..ClearingView::default()
            };
            reply.send(Ok(days.map(view).collect())).ok().map(drop)
        }
        Command::Settled { cut_off_ms, request, reply }
        | Command::Confirm { cut_off_ms, request, reply } => {
            let hash = Some(request.reference);
            reply
                .send(Ok(StatementView { cut_off_ms, hash, ..StatementView::default() }))
                .ok()
                .map(drop)
        }
        Command::Export { format, reply, .. } => {
            reply.send(Ok(format!("{format:?}").into_bytes())).ok()
        }
        Command::Disputes { reply } => reply.send(Ok(vec![DisputeView::default()])).ok().map(drop),
        Command::Propose { with, request, reply } => {
            let state = if request.void_all { "void" } else { "counted" }.to_owned();
            reply
                .send(Ok(DisputeView { accuser: with, state, ..DisputeView::default() }))
                .ok()
                .map(drop)
        }
        Command::Agree { with, reply } => {
            reply.send(Ok(DisputeView { accused: with, ..DisputeView::default() })).ok().map(drop)
        }
        Command::Partners { reply } => reply.send(Ok(vec![PartnerView::default()])).ok().map(drop),
        Command::ClosePartner { brand, reply } => {
            reply.send(Ok(PartnerView { brand, ..PartnerView::default() })).ok().map(drop)
        }
        Command::ReadmitPartner { brand, reply } => {
            reply.send(Ok(PartnerView { brand, ..PartnerView::default() })).ok().map(drop)
        }
        Command::Programme(command) => programme(*command),
        Command::Keep { reply, .. }
        | Command::Unlink { reply, .. }
        | Command::FollowBirthday { reply, .. }
        | Command::ForgetMember { reply, .. }
        | Command::ConsentDecided { reply, .. } => reply.send(Ok(())).ok(),
        Command::MoveMember { reply, .. } => reply.send(Ok(true)).ok().map(drop),
        Command::Answered { reply, .. } => reply.send(Ok("receipt".to_owned())).ok(),
        Command::Holdings { reply, .. } => {
            let view = HoldingsView { available: 7, ..HoldingsView::default() };
            reply.send(Ok(view)).ok().map(drop)
        }
        Command::CleanRoom(command) => answer_of_clean_room(command, found),
    };
}

/// Exchanges of the first milliseconds, one each, of which every second is wanted by who wants those to one brand.
fn numbered_exchanges(
    before: Option<ExchangeKey>,
    limit: u32,
    wanted: ExchangeFilter,
) -> ExchangeRows {
    let newest = before.map_or(1_000, |(at, _)| at.unix_ms());
    let views = (1..newest).rev().map(|number| ExchangeView {
        id: format!("{number:032x}"),
        to: ["kids", "drug"][usize::from(number % 2 == 0)].to_owned(),
        state: "final".to_owned(),
        requested_ms: number,
        final_ms: Some(number),
        ..ExchangeView::default()
    });
    let fits = |view: &ExchangeView| wanted.to.is_none_or(|to| to.as_str() == view.to);
    let mut found: Vec<_> = views.filter(fits).take(limit as usize + 1).collect();
    let is_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| is_more).map(|view| view.requested_ms);
    let key = |at| (Timestamp::from_unix_ms(at), RequestId::from_bytes([0; 16]));
    (found, last.map(key))
}

/// Says in the state what was asked.
fn draft(
    command: DraftCommand,
    found: impl Fn(String) -> Result<String, ServiceError>,
) -> Option<()> {
    let view = |hash: String, state: &str| {
        found(hash).map(|hash| DraftView {
            hash,
            state: state.to_owned(),
            ..console::samples::draft()
        })
    };
    match command {
        DraftCommand::All { reply } => {
            reply.send(Ok(vec![console::samples::draft()])).ok().map(drop)
        }
        DraftCommand::One { hash, reply } => reply.send(view(hash, "ready")).ok(),
        DraftCommand::Files { hash, reply } => {
            let files = found(hash).map(|hash| DraftFiles {
                constitution: format!("# {hash}\n"),
                signatures: "format = 0\n".to_owned(),
            });
            reply.send(files).ok()
        }
        DraftCommand::Keep { request, reply } => {
            let DraftRequest { constitution, signatures } = request;
            let hash = format!("{}-{}", constitution.len(), signatures.unwrap_or_default().len());
            reply.send(view(hash, "ready")).ok()
        }
        DraftCommand::AddSignatures { hash, signatures, reply } => {
            let refused = ServiceError::new(
                ErrorKind::Refused,
                "draft_signatures",
                "the signature of brand drug does not match",
                "nothing was taken",
            );
            reply.send(if signatures == "wrong" { Err(refused) } else { view(hash, "ready") }).ok()
        }
        DraftCommand::Sign { hash, reply } => reply.send(view(hash, "signed")).ok(),
        DraftCommand::Decide { hash, adopts, reply } => {
            reply.send(view(hash, if adopts { "adopted" } else { "declined" })).ok()
        }
        DraftCommand::Remove { hash, reply } => reply.send(found(hash).map(drop)).ok(),
    }
}

/// An answered question: `mine` of the fixture's user, any other of somebody else.
fn asked(id: String) -> QueryView {
    let by = if id == "mine" { "test" } else { "zhao" };
    QueryView {
        sql: Some(format!("SELECT {id}")),
        asked_ms: Some(1_790_000_000_000),
        asked_by: Some(by.to_owned()),
        id,
        release: Some(ReleaseView::default()),
        ..QueryView::default()
    }
}

fn answer_of_clean_room(
    command: CleanRoomCommand,
    found: impl Fn(String) -> Result<String, ServiceError>,
) -> Option<()> {
    match command {
        CleanRoomCommand::Plan { question, reply } => {
            let Question { sql, user, .. } = question;
            let analyst = user.unwrap_or_default();
            reply.send(Ok(PlanView { sql, analyst, ..PlanView::default() })).ok()
        }
        CleanRoomCommand::Query { plan, reply, .. } => {
            reply.send(Ok(QueryView { id: "1".to_owned(), plan, ..QueryView::default() })).ok()
        }
        CleanRoomCommand::QueryById { id, reply } => reply.send(found(id).map(asked)).ok(),
        CleanRoomCommand::QueryRows { id, reply, .. } => reply.send(found(id).map(asked)).ok(),
        CleanRoomCommand::Queries { before, limit, reply } => {
            // thirty; a key says how many came before
            let before = before.and_then(|key| key.first().copied()).unwrap_or(0);
            let ids = ["mine".to_owned()].into_iter().chain((1..30).map(|id: u32| id.to_string()));
            let ids = ids.skip(before.into()).take(limit as usize);
            let items: Vec<QueryView> = ids.map(asked).collect();
            let seen = u8::try_from(usize::from(before) + items.len()).unwrap();
            let next = (seen < 30).then(|| AnswerKey::from(vec![seen]));
            reply.send(Ok((items, next))).ok()
        }
        CleanRoomCommand::Budgets { year, reply, .. } => {
            let year = year.unwrap_or_default();
            let analyst = BUDGET_ACCOUNT.to_owned();
            let analysts = vec![AnalystBudgetView { analyst, ..AnalystBudgetView::default() }];
            let brand = "grocer".to_owned();
            let brands = vec![BrandBudgetView { brand, analysts, ..BrandBudgetView::default() }];
            reply.send(Ok(BudgetsView { year, brands, ..BudgetsView::default() })).ok().map(drop)
        }
        CleanRoomCommand::Datasets { reply } => {
            reply.send(Ok(vec![DatasetView::default()])).ok().map(drop)
        }
        CleanRoomCommand::Templates { reply } => {
            reply.send(Ok(vec![TemplateView::default()])).ok().map(drop)
        }
        CleanRoomCommand::Fill { template, scope, parameters, reply } => {
            let scope = scope.unwrap_or(Scope::Local);
            let sql = format!("{template} {parameters:?}");
            reply.send(Ok(FilledTemplate { sql, scope, pico_rho: 1 })).ok().map(drop)
        }
        CleanRoomCommand::Figures { template, reply, .. } => {
            let rows = vec![vec!["1253".to_owned()]];
            reply.send(Ok(FiguresView { template, rows, ..FiguresView::default() })).ok()
        }
        CleanRoomCommand::PeriodFigures { request, reply } => {
            let by = request.by;
            reply.send(Ok(PeriodFiguresView { by, ..PeriodFiguresView::default() })).ok().map(drop)
        }
        CleanRoomCommand::Policy { reply } | CleanRoomCommand::ReadPolicy { reply } => {
            reply.send(Ok(PolicyView::default())).ok().map(drop)
        }
    }
}

fn programme(command: ProgrammeCommand) -> Option<()> {
    use ProgrammeCommand as C;
    let done = |state: String| Ok(DoneView { state, ..DoneView::default() });
    match command {
        C::Rules { reply } => reply.send(Ok(RulesView::default())).ok().map(drop),
        C::TakeRules { reply, .. } => reply.send(Ok(RulesView::default())).ok().map(drop),
        C::Report { reply } => {
            let liability_points = LIABILITY_POINTS;
            let view = ProgrammeReportView { liability_points, ..ProgrammeReportView::default() };
            reply.send(Ok(view)).ok().map(drop)
        }
        C::Member { card, reply } => {
            reply.send(Ok(ProgrammeMemberView { card, ..ProgrammeMemberView::default() })).ok()
        }
        C::History { reply, .. } => reply.send(Ok(ProgrammeHistory::default())).ok().map(drop),
        C::ForMember { key, reply, .. } | C::AtTill { key, reply, .. } => {
            reply.send(done(key)).ok()
        }
        C::Manage { reply, .. } | C::Review { reply, .. } => {
            reply.send(done("done".to_owned())).ok()
        }
        C::Check { reply, .. } => reply.send(Ok(RulesCheckView::default())).ok().map(drop),
        C::Simulate { reply, .. } => reply.send(Ok(SimulationView::default())).ok().map(drop),
        C::Adjust { by, reply, .. } | C::Decide { by, reply, .. } => reply.send(done(by)).ok(),
        C::Adjustments { reply, .. } => reply.send(Ok((Vec::new(), None))).ok().map(drop),
        C::GiveCoupon { key, reply, .. } => reply.send(done(key)).ok(),
        C::Openings { request, reply, .. } => {
            let members = u64::try_from(request.members.len()).unwrap();
            reply.send(Ok(OpeningsView { members, ..OpeningsView::default() })).ok().map(drop)
        }
        C::Coupons { reply, .. } => reply.send(Ok((Vec::new(), None))).ok().map(drop),
        C::Campaigns { reply } => reply.send(Ok(CampaignsView::default())).ok().map(drop),
        C::Segments { reply, .. } => reply.send(Ok(SegmentsView::default())).ok().map(drop),
        C::RulesFile { reply } => reply.send(Ok(RulesFileView::default())).ok().map(drop),
        C::Cases { reply, .. } => reply.send(Ok((Vec::new(), None))).ok().map(drop),
        C::Requests { reply, .. } => reply.send(Ok((Vec::new(), None))).ok().map(drop),
        C::Notices { reply, .. } => reply.send(Ok(NoticesView::default())).ok().map(drop),
    }
}

fn not_found() -> ServiceError {
    ServiceError::new(ErrorKind::NotFound, "unknown", "there is none such", "look at the list")
}
