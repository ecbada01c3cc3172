//! What is asked of an import, and what it says. Nothing of a row's content is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Bilingual;

/// Where an import reads from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "source")]
pub enum ImportSource {
    /// The shipped sample's part of this brand.
    Sample,
    /// A folder on the node's machine.
    Folder {
        /// Its path.
        path: String,
        /// What the files mean: the name of a shipped mapping or of one in the node's folder `mappings`
        /// (without `.toml`), or a mapping itself.
        mapping: String,
    },
}

/// What the rows of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// People.
    Members,
    /// Lines of receipts.
    Purchases,
}

/// How the rows of a batch are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchFormat {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values with a row of names first.
    Csv,
}

/// Rows that were sent.
#[derive(Clone)]
pub struct ImportBatch {
    /// What they are.
    pub kind: BatchKind,
    /// How they are written.
    pub format: BatchFormat,
    /// As of [`ImportSource::Folder`].
    pub mapping: String,
    /// Whether only to say what would be done.
    pub dry_run: bool,
    /// The rows.
    pub bytes: Bytes,
}

/// What an import did, or with a dry run would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Whether one is under way.
    pub running: bool,
    /// Whether the last one has finished.
    pub done: bool,
    /// Whether it only says what would be done; nothing of it is kept.
    pub dry_run: bool,
    /// Why the last one stopped before its end, if it did.
    pub failed: Option<String>,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub failed_zh: Option<String>,
    /// Whether the same purchases had been imported before by this mapping: nothing was done then.
    pub already_imported: bool,
    /// Name of the mapping.
    pub mapping: String,
    /// Members read and kept, those known before included.
    pub members: u64,
    /// Of them, new ones.
    pub members_enrolled: u64,
    /// New members who consent, by purpose.
    pub consenting: BTreeMap<String, u64>,
    /// Members who were known, and of whom an attribute was changed, as the mapping says (`update = true`).
    #[serde(default)]
    pub members_updated: u64,
    /// Cards that nobody had, entered as further ones of members whom the match key names.
    #[serde(default)]
    pub members_new_cards: u64,
    /// Consents of known members that were entered, by purpose.
    #[serde(default)]
    pub consents_given: BTreeMap<String, u64>,
    /// Refusals and withdrawals of known members that were entered, by purpose.
    #[serde(default)]
    pub consents_withdrawn: BTreeMap<String, u64>,
    /// People whom nobody knew, by a phone number or account: members without a card and without consents now.
    #[serde(default)]
    pub members_sighted: u64,
    /// Members without a name, or never enrolled, who were merged into others by the vault's rules.
    #[serde(default)]
    pub members_merged: u64,
    /// Pairs of members that a person should review.
    #[serde(default)]
    pub pairs_to_review: u64,
    /// Identifiers that were not entered: another member has them, or the member has another of a kind of which a
    /// person has one.
    #[serde(default)]
    pub identifiers_refused: u64,
    /// Purchase lines read.
    pub rows_read: u64,
    /// Purchase lines kept.
    pub rows_kept: u64,
    /// Of them, lines of guests, who are in no joint answer.
    pub guest_rows: u64,
    /// Of them, refunds and cancellations.
    pub refund_rows: u64,
    /// Sum of the lines kept, in fen.
    pub amount_fen: i64,
    /// Baskets that were new or changed.
    pub baskets: u64,
    /// Rows that were dropped, by reason.
    pub dropped: Vec<DroppedRows>,
    /// Rows that were kept with a change, or with something to tell.
    pub adjusted: Vec<AdjustedRows>,
    /// The first dropped rows one by one: file, line, field, what was wrong and what would be right.
    pub rejected: Vec<String>,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub rejected_zh: Vec<String>,
    /// Points earned.
    pub points_earned: u64,
    /// Baskets that were kept and earned nothing, since their members have not agreed to take part in the
    /// programme: consent to the purpose `programme`. One that is given later counts from then on.
    #[serde(default)]
    pub baskets_without_consent: u64,
    /// The rules that were applied, in plain words (consent, currency, earning), Chinese and English.
    pub stated_rules: Vec<Bilingual>,
    /// Place in the file after which this run went on, when an earlier one was interrupted.
    pub resumed_after: u64,
    /// A file whose half-done import was given up for this one.
    pub gave_up: Option<String>,
    /// Total rows of the file, for progress; 0 when it does not say.
    pub rows_total: u64,
    /// Thousandths of the file that are read.
    pub permille: u16,
}

/// Rows an import did not keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DroppedRows {
    /// The file.
    pub file: String,
    /// Why, a stable code.
    pub code: String,
    /// Why, in words.
    pub reason: String,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub reason_zh: String,
    /// How many.
    pub rows: u64,
    /// What would mend it.
    pub remedy: String,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub remedy_zh: String,
}

/// Rows an import kept with a change, or with something to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdjustedRows {
    /// The file.
    pub file: String,
    /// What, a stable code.
    pub code: String,
    /// What, in words.
    pub what: String,
    /// The same in Chinese, for pages.
    #[serde(skip)]
    #[schema(ignore)]
    pub what_zh: String,
    /// How many.
    pub rows: u64,
}
