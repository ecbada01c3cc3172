//! Everything a brand holds of a member, as one JSON document for the member (PIPL art. 45).
//!
//! Complete: each of the places where something of a member is kept has its part here. A test has the list of every keyspace
//! of the store, each exported or with why not; the programme's state is taken apart part by part, so that a new one does not
//! compile without its place (`programme::state::Held`). What is held as a keyed hash alone is named without a value, for
//! there is none. What is not here: the operation log, which says what the brand's staff did, and the logs of the
//! alliance, where a member stands as a number and exchanges are in [`MemberExport::exchanges`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::service::{ExchangeView, LinkView, ProgrammeExport, ReceivedView};

/// All that is held of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberExport {
    /// The form of this document.
    pub export: String,
    /// The brand.
    pub brand: String,
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// Identifiers, in full where the value is held.
    pub identifiers: Vec<ExportedIdentifier>,
    /// What else is known.
    pub attributes: BTreeMap<String, String>,
    /// Every decision on the use of the data, oldest first.
    pub consents: Vec<ConsentView>,
    /// Points that can be spent.
    pub points_available: u64,
    /// Points promised to an exchange under way.
    pub points_held: u64,
    /// Links to other brands.
    pub links: Vec<LinkView>,
    /// Brands whose account was linked to this one.
    pub linked_from: Vec<String>,
    /// Exchanges to other brands.
    pub exchanges: Vec<ExchangeView>,
    /// Exchanges from other brands.
    pub received: Vec<ReceivedView>,
    /// Purchase lines.
    pub purchases: Vec<ExportedLine>,
    /// What the points programme holds: lots, tier, coupons, rewards, requests to the service, what is remembered, payments,
    /// corrections, reviews, notices; none while the brand has no programme.
    #[serde(default)]
    pub programme: Option<ProgrammeExport>,
    /// Requests.
    pub requests: Vec<RequestView>,
    /// Members who were merged into this one, and when.
    pub merges: Vec<MergeView>,
    /// The law or order under which nothing may be erased.
    pub legal_hold: Option<String>,
}

/// One identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedIdentifier {
    /// Its kind, such as `phone`.
    pub kind: String,
    /// Its value; none of kinds of which only a keyed hash is held.
    pub value: Option<String>,
    /// When it was first seen, Unix milliseconds, if that is known.
    pub first_seen_ms: Option<u64>,
    /// When it was last seen, Unix milliseconds, if that is known.
    pub last_seen_ms: Option<u64>,
}

/// One purchase line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedLine {
    /// The day, `YYYY-MM-DD`.
    pub day: String,
    /// The department.
    pub department: String,
    /// Which lines were bought together.
    pub basket: i64,
    /// How many; below zero for what was given back, as the amount.
    pub quantity: i64,
    /// For how much, in fen.
    pub amount_fen: i64,
    /// `store`, `app`, `mini_program` or `ecommerce`, if that is known.
    pub channel: Option<String>,
    /// What coupons took off it, in fen, if that is known.
    pub coupon_fen: Option<i64>,
    /// Whether an electronic card was shown, if that is known.
    pub electronic_card: Option<bool>,
    /// At which store, if that is kept.
    #[serde(default)]
    pub store: Option<String>,
    /// In which region, if that is kept.
    #[serde(default)]
    pub region: Option<String>,
    /// Of which label, if that is kept.
    #[serde(default)]
    pub label: Option<String>,
    /// In which hour of the day, 0 to 23, if that is kept.
    #[serde(default)]
    pub hour: Option<i64>,
}

/// A decision on the use of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsentView {
    /// To what.
    pub purpose: String,
    /// Given, or withdrawn.
    pub granted: bool,
    /// Version of the notice.
    pub notice_version: u32,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// `member`, `staff` or `sample_rule`.
    pub source: String,
    /// The brand that receives the data, where it is a separate consent to that.
    pub receiver: Option<String>,
    /// Who decided for a child.
    pub guardian: Option<String>,
}

/// A request of a member's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Its id.
    pub id: String,
    /// `access`, `correction`, `erasure` or `explanation`.
    pub kind: String,
    /// The member, as this node numbers members.
    pub member: String,
    /// When it was entered, Unix milliseconds.
    pub opened_ms: u64,
    /// By when the member must have an answer, Unix milliseconds.
    pub answer_by_ms: u64,
    /// By when it must be done, Unix milliseconds.
    pub done_by_ms: u64,
    /// When the member was answered first, Unix milliseconds.
    pub answered_ms: Option<u64>,
    /// Whether a clock has run out.
    pub overdue: bool,
    /// `open`, `done` or `refused`.
    pub state: String,
    /// Why it was refused.
    pub why: Option<String>,
    /// The member's words.
    pub words: Option<String>,
    /// SHA-256 of the certificate, hexadecimal: GET /api/v1/certificates/{hash} gives it.
    pub certificate: Option<String>,
}

/// A merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeView {
    /// The member who was merged, as this node numbers members.
    pub absorbed: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// `no_name` or `halves` by the rules, `reviewed` by a person.
    pub why: String,
    /// When it was undone, Unix milliseconds.
    pub parted_ms: Option<u64>,
}
