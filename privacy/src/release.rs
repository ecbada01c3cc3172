//! The release: a noised answer with everything needed to read it rightly.
//!
//! The only constructor needs a [`CertifiedCharge`], which only certified entries make. What is in
//! a release is public from then on: cells from public domains, noised values, intervals from
//! public variances, and a statement of what it cost whom. Joint counts say that they count
//! memberships. The stable bytes hold integers only; floats are made for display.
//!
//! Not here yet: derived columns (ratios, shares), ordering and selection after noise.

use std::collections::BTreeMap;

use minicbor::Encode;
use serde::Serialize;

use crate::accounting::CertifiedCharge;
use crate::hash;
use crate::ids::{ParticipantId, PlanHash, ReleaseHash, SetHash, SqlHash};
use crate::masked_sum::{self, MaskError, MaskedVector};
use crate::plan::{DpPlan, PlanSummary, interval_half_width};
use crate::sql::Output;
use crate::steps::AttemptId;
use crate::units::PicoRho;

/// Stated coverage of the intervals, in percent.
pub const INTERVAL_PERCENT: u8 = 95;

/// Why there is no release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The charge is for something else.
    #[error("the certified charge is for another plan, cost or set of participants")]
    Unpaid,
    /// An opening that is not what its owner committed to.
    #[error("the opening of {0} does not match its certified hash")]
    Opening(ParticipantId),
    /// Openings that do not add up to an answer.
    #[error(transparent)]
    Sum(#[from] MaskError),
}

/// A noised joint answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    stable: Stable,
    cells: Vec<ReleasedCell>,
    statement: PrivacyStatement,
}

/// What the release hash covers.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
struct Stable {
    #[n(0)]
    version: u8,
    #[n(1)]
    id: AttemptId,
    #[n(2)]
    plan: PlanHash,
    #[n(3)]
    sql: SqlHash,
    #[n(4)]
    set: SetHash,
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

/// One cell of a release.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedCell {
    /// Labels, one per group key.
    pub keys: Vec<String>,
    /// One value per aggregate.
    pub values: Vec<NoisedValue>,
}

/// A noised value with its interval, in its aggregate's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NoisedValue {
    /// The noised value; can be negative.
    pub value: f64,
    /// Lower end of the 95 % interval for the noise.
    pub low: f64,
    /// Upper end.
    pub high: f64,
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
    /// Cost, bounds, noise, participants.
    #[serde(flatten)]
    pub plan: PlanSummary,
}

/// The unit of privacy, in words. Two accounts of one person at one brand are two units: then the
/// guarantee weakens as CLEANROOM's group bound says (a accounts cost up to a^2 rho).
pub const PROTECTED: &str = "one person with at most one account at each participating brand, \
     added or removed; counts are of memberships, one person may hold one at each brand";

const INTERVAL_NOTE: &str =
    "intervals cover the noise; clipping of members above the declared bound is not covered";

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
        let vectors = openings.iter().map(|(from, (vector, _))| (*from, vector.clone())).collect();
        let values = masked_sum::sum(set, plan.coordinates(), &vectors)?;
        let stable = Stable {
            version: 0,
            id: charge.id(),
            plan: plan.hash(),
            sql: plan.sql_hash(),
            set: set_hash,
            rho: charge.rho(),
            columns: column_names(plan),
            labels: plan.cells().iter().map(|cell| cell.labels().to_vec()).collect(),
            scales: plan.aggregates().iter().map(|aggregate| aggregate.scale()).collect(),
            values,
        };
        let cells = released_cells(plan, &stable.values);
        let statement = PrivacyStatement {
            unit: PROTECTED,
            proposer: charge.id().proposer,
            year: charge.reserve().year.0,
            interval_percent: INTERVAL_PERCENT,
            interval_note: INTERVAL_NOTE,
            plan: plan.summary(),
        };
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
        self.stable.set
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
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(&self.stable, &mut bytes);
        bytes
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

fn column_names(plan: &DpPlan) -> Vec<String> {
    let query = plan.query();
    let keys = query.output.iter().filter_map(|output| match output {
        Output::Key(index) => query.keys.get(usize::from(*index)).map(|key| key.name.clone()),
        Output::Aggregate(_) => None,
    });
    let aggregates = plan.aggregates().iter().map(|aggregate| aggregate.name().to_owned());
    keys.chain(aggregates).collect()
}

fn released_cells(plan: &DpPlan, values: &[i64]) -> Vec<ReleasedCell> {
    let n = plan.participants().len();
    let cells = plan.cells().len();
    let noised = |aggregate: usize, cell: usize| {
        let planned = plan.aggregates().get(aggregate)?;
        let at = aggregate.checked_mul(cells)?.checked_add(cell)?;
        let value = *values.get(at)? as f64 / planned.scale() as f64;
        let half = interval_half_width(planned, n);
        Some(NoisedValue { value, low: value - half, high: value + half })
    };
    plan.cells()
        .iter()
        .enumerate()
        .map(|(index, cell)| ReleasedCell {
            keys: cell.labels().to_vec(),
            values: (0..plan.aggregates().len()).filter_map(|a| noised(a, index)).collect(),
        })
        .collect()
}
