//! Balances that members bring from a programme of before.
//!
//! Two people bring them: what the first sends waits until another sends the same. Each member brings one, once;
//! whatever is sent again gives nothing twice.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Bilingual;

/// Most members of one request.
pub const OPENINGS_MAX: usize = 500;

/// Balances of some members, each whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningsRequest {
    /// 1 to 500 members, each once.
    pub members: Vec<OpeningRequest>,
    /// Only say what would be done, and keep nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Put these in the place of others that were entered before and still wait. For the programme's manager.
    #[serde(default)]
    pub replace: bool,
}

/// What one member brings.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningRequest {
    /// The member's card.
    pub card: String,
    /// Points, at most 64 lots.
    #[serde(default)]
    pub lots: Vec<OpeningLotRequest>,
    /// What counts towards a tier so far.
    #[serde(default)]
    pub tier_points: u64,
}

impl std::fmt::Debug for OpeningRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // a card leads to a person
        f.debug_struct("OpeningRequest").field("lots", &self.lots.len()).finish_non_exhaustive()
    }
}

/// Points that are valid until a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningLotRequest {
    /// How many.
    pub points: u64,
    /// Their last day by the brand's clock, such as `2027-03-31`; without it they are valid as points that are earned
    /// on the day they are given.
    #[serde(default)]
    pub expires_on: Option<String>,
}

/// What became of them, or with a dry run would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpeningsView {
    /// Whether it only says what would be done.
    pub dry_run: bool,
    /// Members of the request.
    pub members: u64,
    /// Of them, those who have their balance now: another person had entered the same.
    pub given: u64,
    /// Of them, those whose balance is entered, now or before, and waits for another person.
    pub waiting: u64,
    /// Of them, those who had been given the same before.
    pub already_there: u64,
    /// Points of those who have their balance now.
    pub points_given: u64,
    /// Points of those that wait.
    pub points_waiting: u64,
    /// Those who bring nothing, and why. They keep no other back.
    pub refused: Vec<RefusedOpening>,
}

/// Why a member brings nothing. Nothing of whom it is about is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedOpening {
    /// Which of the request's members, from 1.
    pub place: u64,
    /// `card`, `points`, `expires_on`, `tier_points` or `lots`, where one is to blame.
    pub field: Option<String>,
    /// Why, a stable code.
    pub code: String,
    /// Why, in words.
    pub reason: Bilingual,
    /// What would be right.
    pub remedy: String,
}
