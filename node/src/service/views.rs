//! What people and programs see: card numbers masked, no keys, no handles. Floats are for display only.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BoundChoiceView, BrandAnswerView, ChosenBoundView};

/// The state of the node, as a status page shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The alliance's name.
    pub alliance: String,
    /// This brand's id.
    pub brand: String,
    /// Epoch of the constitution in force.
    pub epoch: u32,
    /// Number of brands, the faults tolerated, the quorum.
    pub committee: CommitteeView,
    /// Every log's certified head, as this node has verified it.
    pub heads: Vec<LogHead>,
    /// Exchanges of this brand's members, by state.
    pub exchanges: ExchangeCounts,
    /// What this brand owes each other.
    pub exposures: Vec<ExposureView>,
    /// What this brand keeps of others' debts because points are whole.
    pub residues: Vec<ResidueView>,
    /// Points that came back for members who were erased meanwhile: the brand's books say what becomes of
    /// them.
    pub suspense_points: u64,
    /// Members in the vault; for who may know exact sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// Purchase lines imported and kept; for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchases: Option<u64>,
    /// Privacy budget of this brand for the current calendar year.
    pub budget: Option<BudgetView>,
    /// The latest release this node knows of.
    pub latest_release: Option<ReleaseView>,
    /// Node time, Unix milliseconds.
    pub now_ms: u64,
    /// What needs an operator's eye: stalled writer, disputed logs, failed imports. Empty is well.
    pub alerts: Vec<String>,
}

impl Status {
    /// Without exact sizes.
    #[must_use]
    pub fn without_sizes(self) -> Self {
        Self { members: None, purchases: None, ..self }
    }
}

/// n, f and q of the alliance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommitteeView {
    /// n.
    pub brands: u32,
    /// f; at 0 a fork is detected, not prevented.
    pub faults_tolerated: u32,
    /// q.
    pub quorum: u32,
}

/// The certified head of one log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogHead {
    /// Whose log.
    pub brand: String,
    /// Name in Chinese.
    pub name_zh: String,
    /// Name in English.
    pub name_en: String,
    /// Last certified height.
    pub height: u64,
    /// Leaves.
    pub size: u64,
    /// Root, hex.
    pub root: String,
    /// Id of the last certified block, hex.
    pub header: String,
    /// Time of the last certified block, Unix milliseconds; 0 for an empty log.
    pub time_ms: u64,
    /// Whether the node is connected to its writer and speaks a version with it (the own log: always).
    pub connected: bool,
    /// Whether a certified block said something to this node that cannot stand.
    pub disputed: bool,
    /// Whether its writer is proved to have lied: this node votes on it no more.
    pub frozen: bool,
    /// Whether nothing will be appended to it any more.
    pub closed: bool,
    /// How the brand does as a witness of this brand's log; none of the own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessView>,
}

/// How a brand does as a witness of this brand's log, since this node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessView {
    /// How long its last vote on a block took, of those that came before the block was final.
    pub vote_milliseconds: Option<u64>,
    /// When that came, Unix milliseconds.
    pub voted_at_ms: Option<u64>,
    /// The rule by which it last refused a block; 0 when only the round was too low. Numbers are in
    /// protocol/spec/agreement.md.
    pub refused_rule: Option<u16>,
    /// When, Unix milliseconds.
    pub refused_at_ms: Option<u64>,
    /// For how long it has not acknowledged a block that said something to it.
    pub unacknowledged_ms: Option<u64>,
}

/// The keys by which anyone knows a brand's checkpoints and cosignatures: verifier keys of c2sp.org/signed-note.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogKeysView {
    /// Whose.
    pub brand: String,
    /// The origin of its checkpoints.
    pub origin: String,
    /// Of its log, each that a constitution has given it.
    pub log: Vec<String>,
    /// Of its cosignatures, likewise.
    pub witness: Vec<String>,
}

/// A dispute on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisputeView {
    /// Who credits nothing of the log.
    pub accuser: String,
    /// Whose log.
    pub accused: String,
    /// The first block in dispute.
    pub began: u64,
    /// The rule it breaks; numbers are in protocol/spec/agreement.md.
    pub rule: u16,
    /// `open`, `offered` by the accused, or `resolved`.
    pub state: String,
    /// Of the offer: the last block it considers.
    pub last: Option<u64>,
    /// Of the offer: leaves that count.
    pub leaves_counted: Option<u64>,
    /// Of the offer: what those are worth, in micro-fen.
    pub counted_micro_fen: Option<u64>,
    /// Of the offer: what the accuser gives back, in micro-fen.
    pub void_micro_fen: Option<u64>,
    /// What the operator of this brand can do next.
    pub next: Bilingual,
}

/// What the accused proposes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalRequest {
    /// Whether nothing in dispute counts; otherwise what has the constitution's price does.
    #[serde(default)]
    pub void_all: bool,
}

/// Another brand, as this one deals with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerView {
    /// Which.
    pub brand: String,
    /// `running`, `disputed`, `frozen`, `removed`, `closing`, `closed` or `closed_out`.
    pub state: String,
    /// What it is proved to have done, if anything.
    pub evidence: Option<String>,
    /// From when on an adopted constitution ends its log, Unix milliseconds.
    pub removed_from_ms: Option<u64>,
    /// The last certified block of its log.
    pub height: u64,
    /// The last block of this brand's log that it has recognised.
    pub recognised_there: u64,
    /// What this brand ever sent it that counts, in micro-fen.
    pub sent_micro_fen: u64,
    /// What it ever sent this brand, in micro-fen.
    pub received_micro_fen: u64,
    /// What this brand sent it that is void since its log ended, in micro-fen.
    pub void_micro_fen: u64,
    /// What this brand owes it, in micro-fen.
    pub we_owe_micro_fen: u64,
    /// What it owes this brand, in micro-fen.
    pub they_owe_micro_fen: u64,
    /// What it ever confirmed of this brand's payments, in micro-fen.
    pub paid_to_them_micro_fen: u64,
    /// What this brand ever confirmed of its payments, in micro-fen.
    pub paid_by_them_micro_fen: u64,
    /// Since when it has not acknowledged what this brand's log said to it, Unix milliseconds: 0 for longer than this
    /// node remembers; none when it has acknowledged all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged_since_ms: Option<u64>,
    /// Whether that is more than 24 hours ago.
    #[serde(default)]
    pub silent: bool,
    /// The joint question in which it did not open what it had certified, while it is suspended for that.
    pub suspended_for: Option<String>,
    /// Who has agreed to readmit it to joint questions.
    pub readmission_agreed_by: Vec<String>,
    /// What the operator of this brand can do next.
    pub next: Bilingual,
}

/// How many exchanges are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExchangeCounts {
    /// Held, waiting for a block to be certified.
    pub held: u64,
    /// Certified and not yet acknowledged.
    pub r#final: u64,
    /// Acknowledged by the other side.
    pub acknowledged: u64,
    /// Returned by the other side, points given back.
    pub returned: u64,
    /// Void after a dispute or with the end of the other's log, points given back.
    pub void: u64,
    /// Refused by this brand before any block.
    pub refused: u64,
    /// Exchanges of other brands' members credited here.
    pub credited: u64,
    /// Exchanges of other brands' members sent back from here.
    pub sent_back: u64,
}

/// A sentence in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bilingual {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// A member as staff see one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Card number, masked.
    pub card: String,
    /// Points that can be spent.
    pub available: u64,
    /// Points held for exchanges that are not final yet.
    pub held: u64,
    /// Brands to which the member's account is linked, and how far.
    pub links: Vec<LinkView>,
}

/// A link of a member's account to another brand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkView {
    /// The other brand.
    pub brand: String,
    /// `requested`, `linked` or `returned`.
    pub state: String,
}

/// A one-time code for linking, to be shown to the member once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct LinkCodeView {
    /// The code.
    pub code: String,
    /// When it expires, Unix milliseconds.
    pub expires_ms: u64,
}

impl std::fmt::Debug for LinkCodeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // whoever has it links the account to one of their own
        f.write_str("LinkCodeView(..)")
    }
}

/// A member's decision on one purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentRequest {
    /// `programme`, `exchange`, `joint_analytics` or `marketing`.
    pub purpose: String,
    /// Given, or withdrawn.
    pub granted: bool,
    /// Version of the notice the member was shown.
    pub notice_version: u32,
    /// The brand that receives the data, when this is the separate consent to that: exchanging with a
    /// brand needs both the purpose's and the one that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// `parent` or `other` when a guardian decides for a child under 14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardian: Option<String>,
}

/// A request to exchange a member's points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExchangeRequest {
    /// The member's card number.
    pub card: String,
    /// The brand whose points the member wants.
    #[schema(value_type = String)]
    pub to: String,
    /// How many of this brand's points to give.
    pub points: u64,
}

/// One exchange, as its sender sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExchangeView {
    /// Its id: 32 hex digits, made from the idempotency key.
    pub id: String,
    /// The brand whose points were asked for.
    pub to: String,
    /// `held`, `final`, `acknowledged`, `returned`, `withdrawn`, `void` or `refused`.
    pub state: String,
    /// Points given.
    pub points_sent: u64,
    /// Points received at the other brand.
    pub points_received: u64,
    /// Points given that have come back, all or some.
    pub points_back: u64,
    /// Value owed for it, micro-fen.
    pub owed_micro_fen: u64,
    /// Its leaf in this brand's log, once in a block.
    pub leaf: Option<u64>,
    /// The block's height, once final.
    pub height: Option<u64>,
    /// When it was asked for, Unix milliseconds.
    pub requested_ms: u64,
    /// When its block was certified.
    pub final_ms: Option<u64>,
    /// When the other side's acknowledgement (or return) was certified and seen here.
    pub answered_ms: Option<u64>,
    /// Why it was returned, a stable code.
    pub return_reason: Option<String>,
}

/// An exchange that came in from another brand, as its receiver sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceivedView {
    /// The brand it came from.
    pub from: String,
    /// Its leaf in that brand's log.
    pub leaf: u64,
    /// Points credited here.
    pub points_received: u64,
    /// Points of them that have gone back.
    pub points_back: u64,
    /// What was owed for it, micro-fen.
    pub owed_micro_fen: u64,
    /// What this brand keeps of that because points are whole, micro-fen.
    pub residue_micro_fen: u64,
    /// Until when the member can send points back, Unix milliseconds.
    pub returnable_until_ms: u64,
}

/// A member's request to send points back to the brand they came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendBackRequest {
    /// The member's card number here.
    pub card: String,
    /// The brand the exchange came from.
    pub from: String,
    /// The exchange: its leaf in that brand's log.
    pub leaf: u64,
    /// How many of this brand's points to send back.
    pub points: u64,
}

/// What a brand keeps of what another owes it, because points are whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResidueView {
    /// The brand that owes it.
    pub brand: String,
    /// How much, micro-fen.
    pub micro_fen: u64,
}

/// What this brand and another owe each other, as far as limits count it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExposureView {
    /// The other brand.
    pub brand: String,
    /// What this brand owes it, to the micro-fen.
    pub owed_micro_fen: u64,
    /// The same as third parties see it: never less.
    pub public_micro_fen: u64,
    /// The most it may be.
    pub limit_micro_fen: u64,
}

/// One of the cut-offs that this node knows: how far its clearing is, and what this brand is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClearingView {
    /// The cut-off, Unix milliseconds: its name in every route.
    pub cut_off_ms: u64,
    /// The same, RFC 3339 in UTC.
    #[schema(example = "2026-10-31T15:59:59.999Z")]
    pub cut_off: String,
    /// As the statement's: `waiting`, `derived`, `agreed`, `discharged` or `mismatch`.
    #[schema(example = "agreed")]
    pub state: String,
    /// Whether a later statement asks for what is open here as well: then nothing of this one is to be paid.
    pub superseded: bool,
    /// How many brands' closings are certified.
    pub closed: u32,
    /// How many brands have entered the hash that this node derives.
    pub agreed: u32,
    /// This brand's net position, micro-fen, positive to receive; none before there is a statement.
    pub net_micro_fen: Option<i64>,
    /// How many payments the statement asks for, of all brands together.
    pub payments: u32,
    /// Of those, how many this brand is to make and has not stated; none before all brands agree.
    pub to_pay: u32,
    /// Of those, how many this brand is to be paid and has not confirmed; none before all brands agree.
    pub to_confirm: u32,
}

/// A page of cut-offs, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClearingPage {
    /// The cut-offs.
    pub clearings: Vec<ClearingView>,
    /// The `before` of the next page, if there may be one.
    pub next: Option<u64>,
}

impl ClearingPage {
    /// A page of at most `limit`, which is what was asked for.
    #[must_use]
    pub fn new(clearings: Vec<ClearingView>, limit: u32) -> Self {
        let is_full = u32::try_from(clearings.len()).is_ok_and(|length| length >= limit);
        let next = clearings.last().filter(|_| is_full).map(|last| last.cut_off_ms);
        Self { clearings, next }
    }
}

/// A clearing statement, as this node derives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementView {
    /// The cut-off, Unix milliseconds.
    pub cut_off_ms: u64,
    /// `waiting` until every brand's closing is certified, then `derived`, then `agreed` when every
    /// brand has entered the same hash, `discharged` when every payee has confirmed, or `mismatch`.
    pub state: String,
    /// Hash of the statement, hex.
    pub hash: Option<String>,
    /// Net position of each brand, micro-fen; positive is to receive. The sum is zero.
    pub positions: Vec<PositionView>,
    /// The payments that settle it, in whole fen.
    pub payments: Vec<PaymentView>,
    /// What of each position no payment can carry: it is in the next statement.
    pub carried: Vec<PositionView>,
    /// Brands whose closing is certified.
    pub closed: Vec<String>,
    /// Brands that have entered the same hash.
    pub agreed: Vec<String>,
}

/// One brand's net position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PositionView {
    /// The brand.
    pub brand: String,
    /// Micro-fen, positive to receive, negative to pay.
    pub net_micro_fen: i64,
}

/// One payment that a clearing statement asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PaymentView {
    /// Who pays.
    pub payer: String,
    /// Who is paid.
    pub payee: String,
    /// How much, micro-fen; whole fen.
    pub micro_fen: u64,
    /// The same in yuan, with two decimals.
    pub cny: String,
    /// `asked`, `settled` when the payer says that it paid, `confirmed` when the payee says so: only
    /// that counts.
    pub state: String,
    /// The reference of the payment outside, as the last of the two stated it.
    pub reference: Option<String>,
}

/// What a payer or a payee says of a payment that was made outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// The other party: the payee when a payment is stated, the payer when one is confirmed.
    pub brand: String,
    /// Where to find it: 1 to 35 of A-Z, a-z, 0-9 and /-?:().,'+.
    pub reference: String,
}

/// In which form a statement is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ExportFormat {
    /// A table.
    #[serde(rename = "csv")]
    Csv,
    /// ISO 20022 pacs.029.001.02: the request to settle.
    #[serde(rename = "pacs.029")]
    Pacs029,
    /// ISO 20022 camt.053.001.12: this brand's account with the clearing.
    #[serde(rename = "camt.053")]
    Camt053,
}

/// What a query would cost, before anything is spent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// Hash of the plan, hex: what is confirmed.
    pub plan: String,
    /// The query as it was understood.
    pub sql: String,
    /// Who answers: `joint`, `local` or `pack`.
    pub scope: String,
    /// What members were asked consent for.
    pub purpose: String,
    /// Whose share of the quota pays: an account of this brand's analysts.
    pub analyst: String,
    /// Who takes part.
    pub participants: Vec<String>,
    /// Number of cells of the answer, known without data; of private groups the most there can be.
    pub cells: u32,
    /// Cost in pico-rho: of a joint question once, of a pack at each brand that answers.
    pub cost_pico_rho: u64,
    /// The same in rho, for display.
    pub rho: f64,
    /// The same as epsilon at delta 1e-6, for display.
    pub epsilon: f64,
    /// What it costs beside: the probability, in 1e-12, with which it may show a private group that only one
    /// member is in.
    #[serde(default)]
    pub cost_pico_delta: u64,
    /// Standard deviation of the noise, by output column, for display.
    pub sigma: Vec<NoiseView>,
    /// What is left of the proposer's quota this year after it, pico-rho.
    pub left_after_pico_rho: u64,
    /// Of a question whose bound is chosen first: the question for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_choice: Option<BoundChoiceView>,
    /// Plain warnings: an answer that will be too noisy, and why. Chinese and English.
    pub warnings: Vec<Bilingual>,
}

/// Expected noise of one output column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NoiseView {
    /// The column.
    pub column: String,
    /// `memberships`, `rows`, `fen` …
    pub unit: String,
    /// Standard deviation of the whole noise.
    pub sigma: f64,
    /// Mean absolute error of a cell by noise.
    pub expected_error: f64,
    /// Half the width of the 95 % interval.
    pub half_width_95: f64,
    /// The bound on one member's contribution (L2), as text; the largest where brands have bounds of their own.
    pub bound: String,
    /// The bounds of the brands, where they are not all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds_by_brand: Vec<BoundAtView>,
    /// Smallest cell whose median error is at most 5 %.
    pub smallest_cell_5_percent: f64,
}

/// The bound on one member's contribution at one brand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BoundAtView {
    /// The brand.
    pub brand: String,
    /// Its bound (L2), as text.
    pub bound: String,
    /// Mean absolute error by noise of the cell that the brand's bound enters: the joint one, or of a pack the brand's
    /// own.
    pub expected_error: f64,
}

/// A query under way or done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryView {
    /// Its id, hex.
    pub id: String,
    /// Hash of its plan, hex.
    pub plan: String,
    /// Who answers: `joint`, `local` or `pack`.
    pub scope: String,
    /// Protocol step: of a joint question `reserving`, `committing`, `opening`; of a local one `charging`,
    /// `reading`, `releasing`; of a standing one `standing` until its last period is answered; of a pack
    /// `asking`; then `released`, or `void`.
    pub step: String,
    /// Why it is void, or why an answer that is due does not come.
    pub reason: Option<String>,
    /// The answer, once released.
    pub release: Option<ReleaseView>,
    /// Of a pack: what each brand answers.
    pub brands: Vec<BrandAnswerView>,
    /// What stands charged for it, pico-rho: on this brand's account, or of a pack on the account of any brand that
    /// had not answered it before it was asked. 0 once a cost was returned, and for another brand's question.
    #[serde(default)]
    pub charged_pico_rho: u64,
    /// Whether this call has asked it: a question that was answered or under way is not asked again.
    #[serde(default)]
    pub newly_asked: bool,
    /// Of a question whose bound is chosen first: how far that is. Without a bound this is the question for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_bound: Option<ChosenBoundView>,
    /// Of a standing question: how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingView>,
    /// What was asked, as it was written: for who asked it, and for officers; none for others, and where it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// When, Unix milliseconds: for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_ms: Option<u64>,
    /// Which user asked: for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
}

/// How far a standing question is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingView {
    /// Periods that it is answered for: those that are read in the year which paid.
    pub periods: u32,
    /// Periods that are answered.
    pub released: u32,
    /// Periods that could not be read.
    pub failed: u32,
    /// The day from which the next period is answered, `YYYY-MM-DD`.
    pub next_due: Option<String>,
    /// Whether that day is yet to come.
    pub waits: bool,
}

/// A released answer with its privacy statement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// The query's id, hex.
    pub query: String,
    /// Who answered: `joint`, `local` or `pack`.
    pub scope: String,
    /// Hash of the release, hex: every participant's log carries that of a joint one, its brand's log
    /// that of a local one. Of a pack those of all its brands, in their order.
    pub hash: String,
    /// Names of the group columns.
    pub keys: Vec<String>,
    /// Names of the value columns.
    pub values: Vec<String>,
    /// Rows: the first of them where answers are listed, a page of them where one was asked for, else all.
    pub rows: Vec<ReleaseRow>,
    /// How many rows the answer has in all.
    #[serde(default)]
    pub rows_in_all: u32,
    /// Cost, pico-rho.
    pub cost_pico_rho: u64,
    /// The same as epsilon at delta 1e-6, for display.
    pub epsilon: f64,
    /// Who took part.
    pub participants: Vec<String>,
    /// The privacy statement, Chinese and English.
    pub statement: Bilingual,
    /// The whole of it for programs: unit, account, year, cost, bounds, noise and intervals of every
    /// noised column. One of each brand for a pack; empty for answers kept by earlier versions.
    #[schema(value_type = Vec<Object>)]
    pub privacy: Vec<serde_json::Value>,
}

/// One row of a released answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseRow {
    /// Group values.
    pub keys: Vec<String>,
    /// Noised values.
    pub values: Vec<f64>,
    /// Lower ends of the 95 % intervals; null where nothing can be said.
    #[serde(with = "unbounded::below")]
    #[schema(value_type = Vec<Option<f64>>)]
    pub low: Vec<f64>,
    /// Upper ends.
    #[serde(with = "unbounded::above")]
    #[schema(value_type = Vec<Option<f64>>)]
    pub high: Vec<f64>,
    /// Of what use each value is: `usable` (a median error by noise of at most 5 %, as of the plan's
    /// `smallest_cell_5_percent`), `noisy` (a larger one) or `insufficient` (nothing can be said).
    pub quality: Vec<String>,
}

/// JSON has no infinity: an end of an interval that is none is null.
mod unbounded {
    macro_rules! end {
        ($name:ident, $infinity:expr) => {
            pub(in crate::service::views) mod $name {
                use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

                pub(in crate::service::views) fn serialize<S: Serializer>(
                    ends: &[f64],
                    serializer: S,
                ) -> Result<S::Ok, S::Error> {
                    let finite = |end: &f64| end.is_finite().then_some(*end);
                    ends.iter().map(finite).collect::<Vec<_>>().serialize(serializer)
                }

                pub(in crate::service::views) fn deserialize<'de, D: Deserializer<'de>>(
                    deserializer: D,
                ) -> Result<Vec<f64>, D::Error> {
                    let ends = Vec::<Option<f64>>::deserialize(deserializer)?;
                    Ok(ends.into_iter().map(|end| end.unwrap_or($infinity)).collect())
                }
            }
        };
    }
    end!(below, f64::NEG_INFINITY);
    end!(above, f64::INFINITY);
}

/// This brand's budget account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// Calendar year.
    pub year: u16,
    /// Profile: `large`, `standard` or `trial`.
    pub profile: String,
    /// Quota of the year for this brand's joint queries, pico-rho.
    pub quota_pico_rho: u64,
    /// Spent of it.
    pub spent_pico_rho: u64,
    /// Reserved by queries under way.
    pub reserved_pico_rho: u64,
    /// What all accounts together have cost everyone this year, pico-rho.
    pub alliance_spent_pico_rho: u64,
}

/// One of this brand's sealing keys: others seal to the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealingKeyView {
    /// The public half, hex.
    pub key: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// When another took its place, Unix milliseconds.
    pub replaced_ms: Option<u64>,
    /// Whether it is the one that the next block states.
    pub current: bool,
    /// Whether something may still come sealed to it.
    pub in_use: bool,
}

/// A constitution after the first, or a draft of one, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConstitutionView {
    /// Its hash, hex.
    pub hash: String,
    /// Its number.
    pub epoch: u32,
    /// Whether this node has its file: without it the node cannot follow.
    pub is_here: bool,
    /// Brands that have adopted it.
    pub adopted: Vec<String>,
    /// Brands that have declined it.
    pub declined: Vec<String>,
    /// How many adoptions it needs.
    pub needed: u32,
    /// When it takes effect, Unix milliseconds; none before it has them.
    pub effect_ms: Option<u64>,
    /// Brands whose logs are under it, or under a later one.
    pub taken_up: Vec<String>,
}

/// Which own blocks an auditor is to open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DisclosureRequest {
    /// Its name in the constitution.
    pub auditor: String,
    /// The first block's height.
    pub from: u64,
    /// The last block's height.
    pub to: u64,
}

/// What was disclosed; in the own log, for everyone to see, with the next block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisclosureView {
    /// To whom.
    pub auditor: String,
    /// The first block's height.
    pub from: u64,
    /// The last block's height.
    pub to: u64,
    /// How many entries say so.
    pub entries: u64,
}
