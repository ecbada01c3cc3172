//! Drives the state machines.

use tokio::sync::oneshot;

use crate::service::*;

type Reply<T> = oneshot::Sender<Result<T, ServiceError>>;

/// One operation on its way to the runtime, with where its result goes.
#[allow(missing_docs)] // each is described at the operation of [`Node`] that sends it
pub enum Command {
    Import { source: ImportSource, reply: Reply<()> },
    ImportProgress { reply: Reply<ImportView> },
    Member { card: String, reply: Reply<MemberView> },
    Cards { least_points: u64, after: Option<String>, limit: u32, reply: Reply<Vec<String>> },
    LinkCode { card: String, brand: String, reply: Reply<LinkCodeView> },
    Link { card: String, brand: String, code: String, reply: Reply<LinkView> },
    Exchange { key: String, request: ExchangeRequest, reply: Reply<ExchangeView> },
    ExchangeById { id: String, reply: Reply<ExchangeView> },
    Exchanges { limit: u32, reply: Reply<Vec<ExchangeView>> },
    Receipt { id: String, reply: Reply<String> },
    Close { cut_off_ms: u64, reply: Reply<StatementView> },
    Statement { cut_off_ms: u64, reply: Reply<StatementView> },
    Plan { sql: String, reply: Reply<PlanView> },
    Query { sql: String, plan: String, reply: Reply<QueryView> },
    QueryById { id: String, reply: Reply<QueryView> },
    Stop { reply: Reply<()> },
}
