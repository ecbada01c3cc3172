//! The release: a noised answer with everything needed to read it rightly.
//!
//! The only constructor needs a [`CertifiedCharge`], which only certified entries make. What is in
//! a release is public from then on: cells from public domains, noised values, intervals from
//! public variances, and a statement of what it cost whom. Joint counts say that they count
//! memberships. The stable bytes hold every noised sum, as integers only, whatever HAVING, ORDER BY
//! and LIMIT leave to be shown; floats are made for display.

mod answer;
mod local;
mod noised;
mod period;
mod private;

use std::collections::BTreeMap;

use minicbor::Encode;
use serde::Serialize;

use crate::accounting::CertifiedCharge;
use crate::bounded::StandingError;
use crate::hash;
use crate::ids::{ParticipantId, PlanHash, ReleaseHash, SetHash, SqlHash};
use crate::masked_sum::{self, MaskError, MaskedVector};
use crate::plan::{DpPlan, PlanSummary};
use crate::steps::AttemptId;
use crate::units::{CalendarYear, PicoRho};
use answer::Sums;
pub use answer::{NoisedValue, Quality, ReleasedCell};
pub use local::{BrandPack, LocalRelease, PROTECTED_ALONE, PackError};
pub use period::{Closing, PeriodRelease};

/// Stated coverage of the intervals, in percent.
pub const INTERVAL_PERCENT: u8 = 95;

/// Why there is no release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// Vector, noise and plan do not belong together, or a sum does not fit.
    #[error("these figures and this noise are not of the plan that was charged")]
    Plan,
    /// What was drawn for a choice lies between two bins to all its 256 bits.
    #[error("what was drawn does not decide a quantile; the question has failed")]
    Undecided,
    /// The charge is for something else.
    #[error("the certified charge is for another plan, cost or set of participants")]
    Unpaid,
    /// Not the release whose hash its brand certified.
    #[error("this is not the release that its brand has certified the hash of")]
    NotLogged,
    /// An opening that is not what its owner committed to.
    #[error("the opening of {0} does not match its certified hash")]
    Opening(ParticipantId),
    /// Openings that do not add up to an answer.
    #[error(transparent)]
    Sum(#[from] MaskError),
    /// A period that is not over, or was released.
    #[error(transparent)]
    Standing(#[from] StandingError),
}

/// What every kind of release has.
pub trait Released {
    /// The question it answers.
    fn id(&self) -> AttemptId;
    /// The plan it answers.
    fn plan(&self) -> PlanHash;
    /// The hash that is logged.
    fn hash(&self) -> ReleaseHash;
    /// What it cost.
    fn rho(&self) -> PicoRho;
    /// Names of the columns: group keys, then the others.
    fn columns(&self) -> &[String];
    /// The cells that are shown.
    fn cells(&self) -> &[ReleasedCell];
    /// What it promises.
    fn statement(&self) -> &PrivacyStatement;
}

macro_rules! released {
    ($($release:ty),*) => {$(
        impl Released for $release {
            fn id(&self) -> AttemptId {
                self.id()
            }
            fn plan(&self) -> PlanHash {
                self.plan()
            }
            fn hash(&self) -> ReleaseHash {
                self.hash()
            }
            fn rho(&self) -> PicoRho {
                self.rho()
            }
            fn columns(&self) -> &[String] {
                self.columns()
            }
            fn cells(&self) -> &[ReleasedCell] {
                self.cells()
            }
            fn statement(&self) -> &PrivacyStatement {
                self.statement()
            }
        }
    )*};
}

released!(Release, LocalRelease, PeriodRelease);

/// A noised joint answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    stable: Stable<SetHash>,
    cells: Vec<ReleasedCell>,
    statement: PrivacyStatement,
}

/// What a release hash covers: `S` says which data answered, a set of participants or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
struct Stable<S> {
    #[n(0)]
    version: u8,
    #[n(1)]
    id: AttemptId,
    #[n(2)]
    plan: PlanHash,
    #[n(3)]
    sql: SqlHash,
    #[n(4)]
    source: S,
    #[n(5)]
    rho: PicoRho,
    #[n(6)]
    columns: Vec<String>,
    #[n(7)]
    labels: Vec<Vec<String>>,
    #[n(8)]
    scales: Vec<u64>,
    #[n(9)]
    values: Vec<i64>,
}

impl<S: Encode<()>> Stable<S> {
    /// The noised sums of a plan, with all that names them.
    fn new(
        id: AttemptId,
        plan: &DpPlan,
        source: S,
        labels: Vec<Vec<String>>,
        values: Vec<i64>,
    ) -> Self {
        Self {
            version: 0,
            id,
            plan: plan.hash(),
            sql: plan.sql_hash(),
            source,
            rho: plan.rho(),
            columns: column_names(plan),
            labels,
            scales: plan.columns().iter().map(|column| column.scale()).collect(),
            values,
        }
    }

    /// What is shown of them.
    fn cells(&self, plan: &DpPlan) -> Vec<ReleasedCell> {
        answer::answer(&Sums { plan, labels: &self.labels, values: &self.values })
    }

    /// Deterministic CBOR, integers and texts only.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }
}

/// What a release promises and to whom it was charged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrivacyStatement {
    /// Who is protected and how: see [`PROTECTED`].
    pub unit: &'static str,
    /// Who proposed and paid.
    pub proposer: ParticipantId,
    /// The account's year.
    pub year: u16,
    /// Coverage of the intervals in percent.
    pub interval_percent: u8,
    /// What the intervals do not cover.
    pub interval_note: &'static str,
    /// What it means that the cells shown were chosen by their noised values, if they were.
    pub selection_note: Option<&'static str>,
    /// Cost, bounds, noise, participants.
    #[serde(flatten)]
    pub plan: PlanSummary,
}

impl PrivacyStatement {
    fn new(unit: &'static str, proposer: ParticipantId, year: CalendarYear, plan: &DpPlan) -> Self {
        Self {
            unit,
            proposer,
            year: year.0,
            interval_percent: INTERVAL_PERCENT,
            interval_note: INTERVAL_NOTE,
            selection_note: plan.query().selects().then_some(SELECTION_NOTE),
            plan: plan.summary(),
        }
    }
}

/// The unit of privacy, in words. Two accounts of one person at one brand are two units: then the
/// guarantee weakens as CLEANROOM's group bound says (a accounts cost up to a^2 rho).
pub const PROTECTED: &str = "one person with at most one account at each participating brand, \
     added or removed; counts are of memberships, one person may hold one at each brand";

const INTERVAL_NOTE: &str =
    "intervals cover the noise; clipping of members above the declared bound is not covered";

const SELECTION_NOTE: &str = "cells were chosen by their noised values: those the noise favoured are among them, and \
     their intervals cover less often than stated";

impl Release {
    /// Adds the openings up, if the charge pays for the plan and each opening is what its owner
    /// certified the hash of.
    pub(crate) fn from_openings(
        charge: &CertifiedCharge,
        plan: &DpPlan,
        openings: &BTreeMap<ParticipantId, (MaskedVector, [u8; 32])>,
    ) -> Result<Self, ReleaseError> {
        if !charge.pays_for(plan) {
            return Err(ReleaseError::Unpaid);
        }
        let set = charge.set();
        let set_hash = set.hash();
        for (participant, (vector, nonce)) in openings {
            let certified = charge.commits().get(participant).map(|commit| commit.vector);
            if certified != Some(vector.commitment(*participant, set_hash, nonce)) {
                return Err(ReleaseError::Opening(*participant));
            }
        }
        let vectors: BTreeMap<ParticipantId, &MaskedVector> =
            openings.iter().map(|(from, (vector, _))| (*from, vector)).collect();
        let values = masked_sum::sum(set, plan.coordinates(), &vectors)?;
        // a charge that pays for the plan is of the plan's cost
        let stable = Stable::new(charge.id(), plan, set_hash, public_labels(plan), values);
        let cells = stable.cells(plan);
        let year = charge.reserve().year;
        let statement = PrivacyStatement::new(PROTECTED, charge.id().proposer, year, plan);
        Ok(Self { stable, cells, statement })
    }

    /// The attempt it answers.
    pub const fn id(&self) -> AttemptId {
        self.stable.id
    }

    /// The plan it answers.
    pub const fn plan(&self) -> PlanHash {
        self.stable.plan
    }

    /// The set that answered.
    pub const fn set(&self) -> SetHash {
        self.stable.source
    }

    /// What it cost.
    pub const fn rho(&self) -> PicoRho {
        self.stable.rho
    }

    /// Names of the columns: group keys, then aggregates, in the order of the SELECT list for
    /// each of the two.
    pub fn columns(&self) -> &[String] {
        &self.stable.columns
    }

    /// The cells, in the order of the public domains.
    pub fn cells(&self) -> &[ReleasedCell] {
        &self.cells
    }

    /// What it promises.
    pub const fn statement(&self) -> &PrivacyStatement {
        &self.statement
    }

    /// The bytes the release hash covers: deterministic CBOR, integers and texts only.
    pub fn stable_bytes(&self) -> Vec<u8> {
        self.stable.bytes()
    }

    /// The hash every participant logs.
    pub fn hash(&self) -> ReleaseHash {
        ReleaseHash(hash::tagged("coalition/privacy/release/v0", &[&self.stable_bytes()]))
    }
}

/// As JSON for people and programs: `query`, `attempt`, `hash`, `columns`, `cells`, `privacy`.
impl Serialize for Release {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut json = serializer.serialize_struct("Release", 7)?;
        json.serialize_field("query", &self.stable.id.query)?;
        json.serialize_field("attempt", &self.stable.id.attempt)?;
        json.serialize_field("hash", &self.hash())?;
        json.serialize_field("plan", &self.stable.plan)?;
        json.serialize_field("columns", &self.stable.columns)?;
        json.serialize_field("cells", &self.cells)?;
        json.serialize_field("privacy", &self.statement)?;
        json.end()
    }
}

/// Labels of every cell of a plan whose cells are public.
fn public_labels(plan: &DpPlan) -> Vec<Vec<String>> {
    plan.cells().iter().map(|cell| cell.labels().to_vec()).collect()
}

fn column_names(plan: &DpPlan) -> Vec<String> {
    let keys = plan.query().shown_keys().map(|(name, _)| name.to_owned());
    keys.chain(plan.query().shown_values().map(|output| output.name.clone())).collect()
}
